"""What a training run can be told: one class from which the command line, the docs and the saved run are made."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator

from elman.config import Options
from elman.errors import UsageError
from elman.plans.native import MOST_THREADS


class TrainingConfig(Options):
    """Options of `elman.training.train`; frozen, checked on construction, unknown names refused.

    A task gives its own defaults by a subclass that declares fields again. When no budget is given, `epochs` becomes
    `default_epochs`, and `patience`, if not given, `default_patience`, which their descriptions say; with several
    budgets, training ends with whichever is used up first.
    """

    default_epochs: ClassVar[int] = 10
    default_patience: ClassVar[int | None] = None

    epochs: int | None = Field(None, ge=1, le=10**9, description="passes over the data")
    steps: int | None = Field(None, ge=1, le=10**12, description="optimizer steps")
    minutes: float | None = Field(
        None, gt=0, le=10**6, description="minutes of training by the clock, pauses between resumed parts not counted"
    )

    optimizer: Literal["adamw", "sgd", "asgd"] = Field(
        "adamw", description="adamw; sgd: gradient descent; asgd: the same with averaged weights for evaluation"
    )
    learning_rate: float = Field(2e-3, gt=0, le=1e4, description="highest learning rate")
    weight_decay: float = Field(0.0, ge=0, le=1e3, description="decay of matrices; biases and other vectors have none")
    momentum: float = Field(0.0, ge=0, lt=1, description="momentum of sgd and asgd")
    beta1: float = Field(0.9, ge=0, lt=1, description="decay of adamw's mean of gradients")
    beta2: float = Field(0.99, ge=0, lt=1, description="decay of adamw's mean of squared gradients")
    average_trigger: int = Field(
        5, ge=0, le=10**6, description="asgd averages once no loss of the last n evaluations is a new best; 0: at once"
    )

    schedule: Literal["cosine", "step", "constant"] = Field(
        "cosine", description="cosine: down over the whole budget; step: by decay_factor; constant"
    )
    warmup_steps: int = Field(
        0, ge=0, le=10**9, description="steps over which the learning rate rises; a fifth of --steps at most"
    )
    final_rate: float = Field(0.0, ge=0, le=1, description="where cosine ends, as a fraction of learning_rate")
    decay_factor: float = Field(0.5, gt=0, lt=1, description="what step multiplies the learning rate by")
    decay_after: int | None = Field(
        None, ge=0, le=10**9, description="step decays every epoch after this many; without it, when validation worsens"
    )

    clip_norm: float | None = Field(1.0, gt=0, description="longest gradient norm; longer gradients are scaled down")
    clip_value: float | None = Field(None, gt=0, description="largest magnitude of one gradient entry, cut before norm")
    accumulate: int = Field(1, ge=1, le=10**6, description="batches per optimizer step")
    max_bad_steps: int = Field(
        5, ge=1, le=10**6, description="non-finite steps in a row, all skipped, before giving up"
    )
    precision: Literal["float32", "bf16"] = Field("float32", description="bf16: forward pass under bfloat16 autocast")

    evaluate_every: int | None = Field(
        None, ge=1, le=10**9, description="steps between evaluations; without it, one at the end of every epoch"
    )
    patience: int | None = Field(None, ge=1, le=10**6, description="stop after n evaluations without a new best")
    checkpoint_every: int | None = Field(
        None, ge=1, le=10**9, description="steps between checkpoints, besides one for every evaluation"
    )
    keep: int = Field(2, ge=1, le=10**6, description="checkpoints kept, besides the best one")
    log_every: int = Field(10, ge=1, le=10**9, description="steps between records in metrics.jsonl")

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU where torch has one, else the CPU")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of every random draw")
    threads: int | None = Field(None, ge=1, le=MOST_THREADS, description="CPU threads; without it, torch decides")

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        """Say in the descriptions of a subclass what its defaults without a budget are."""
        super().__pydantic_init_subclass__(**options)
        for name, usual in (("epochs", cls.default_epochs), ("patience", cls.default_patience)):
            if usual is not None:
                told = TrainingConfig.model_fields[name].description
                cls.model_fields[name].description = f"{told}; {usual} when no budget is given"

    def chosen_device(self) -> torch.device:
        """Return the device that `device` means here.

        Raises:
            UsageError: a GPU is asked for and torch has none.
        """
        here = torch.cuda.is_available()
        if self.device == "cuda" and not here:
            raise UsageError("device: must be one that torch has here; got cuda, and there is no GPU", "leave it out")
        return torch.device("cuda" if here and self.device != "cpu" else "cpu")

    @model_validator(mode="before")
    @classmethod
    def _give_a_budget(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        defaults = {name: cls.model_fields[name].default for name in ("epochs", "steps", "minutes")}
        if any(values.get(name, default) is not None for name, default in defaults.items()):
            return values
        if cls.default_patience is None or values.get("patience") is not None:
            return {**values, "epochs": cls.default_epochs}
        return {**values, "epochs": cls.default_epochs, "patience": cls.default_patience}

    @model_validator(mode="after")
    def _refuse_options_without_effect(self) -> TrainingConfig:
        plain, averaged = self.optimizer != "adamw", self.optimizer == "asgd"
        step = self.schedule == "step"
        rules = [
            ("momentum", plain, "optimizer=sgd or asgd"),
            ("beta1", not plain, "optimizer=adamw"),
            ("beta2", not plain, "optimizer=adamw"),
            ("average_trigger", averaged, "optimizer=asgd"),
            ("final_rate", self.schedule == "cosine", "schedule=cosine"),
            ("decay_factor", step, "schedule=step"),
            ("decay_after", step, "schedule=step"),
        ]
        idle = [(name, needed) for name, effective, needed in rules if not effective and self.differs(name)]
        if idle:
            raise ValueError("\n".join(self._without_effect(name, needed) for name, needed in idle))
        return self

    def _without_effect(self, name: str, needed: str) -> str:
        other = needed.split("=")[0]
        return f"{name} has an effect with {needed} only; got {other}={getattr(self, other)}"
