"""A problem small enough to train in milliseconds: carried state, random dropout, mid-epoch steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from elman.model_folder import write_model_folder
from elman.randomness import bernoulli_mask, generator
from elman.training import Carry, LossResult, RunFolder, TrainingConfig, TrainingResult, train

BATCHES = 5


class Tiny(nn.Module):
    """h<t> = tanh(W [h, x] + b), y = w h: three parameters, one of them a vector."""

    def __init__(self) -> None:
        super().__init__()
        draw = generator(7, "weights")
        self.W = nn.Parameter(torch.randn(3, 5, generator=draw) * 0.5)
        self.b = nn.Parameter(torch.zeros(3))
        self.out = nn.Parameter(torch.randn(1, 3, generator=draw) * 0.5)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        outputs = []
        for t in range(x.shape[1]):
            h = torch.tanh(torch.cat([h, x[:, t]], dim=1) @ self.W.T + self.b)
            mask = bernoulli_mask(h.shape, 0.8, "dropout") if self.training else torch.ones(())
            outputs.append((h * mask) @ self.out.T)
        return torch.stack(outputs, dim=1), h


class TinyProblem:
    """Predict the running mean of two channels; `poison` maps (epoch, batch) to a factor on the loss."""

    selection, unit = "loss", "tokens"

    def __init__(self, seed: int = 0, poison: Callable[[int, int], float] | None = None) -> None:
        self.model: nn.Module = Tiny()
        self.seed, self.poison = seed, poison
        self.evaluations = 0
        self.carries: list[bool] = []

    def batches_per_epoch(self, epoch: int) -> int:
        return BATCHES

    def batch(self, epoch: int, index: int) -> Any:
        x = torch.randn(2, 3, 2, generator=generator(self.seed, "data", epoch, index))
        factor = self.poison(epoch, index) if self.poison else 1.0
        return x, x.mean(dim=2, keepdim=True), factor

    def loss(self, batch: Any, carry: Carry) -> LossResult:
        x, target, factor = batch
        self.carries.append(carry is not None)
        y, h = self.model(x, torch.zeros(2, 3) if carry is None else carry["h"])
        loss = ((y - target) ** 2).mean() * factor
        return LossResult(loss, float(loss.detach()) * 6, 6, {"h": h})

    def evaluate(self) -> dict[str, float]:
        self.evaluations += 1
        x = torch.randn(4, 3, 2, generator=generator(self.seed, "validation"))
        y, _ = self.model(x, torch.zeros(4, 3))
        return {"loss": float(((y - x.mean(dim=2, keepdim=True)) ** 2).mean())}

    def save_model(self, folder: Path) -> None:
        write_model_folder(folder, {"model_type": "tiny"}, self.model.state_dict(), {"README.md": "# tiny\n"})


CONFIG: dict[str, Any] = {
    "steps": 12,
    "learning_rate": 0.02,
    "log_every": 2,
    "evaluate_every": 4,
    "checkpoint_every": 1,
    "threads": 1,
}


def run_tiny(path: Path, *, resume: bool = False, problem: TinyProblem | None = None, **changes: Any) -> TrainingResult:
    """Train the tiny problem in a run folder, from the start or resumed."""
    config = TrainingConfig(**{**CONFIG, **changes})
    folder = (
        RunFolder.open(path)
        if resume
        else RunFolder.create(path, task="tiny", config=config.model_dump(), data={"sha256": "00"})
    )
    with folder:
        return train(problem or TinyProblem(), config, folder, resume=resume)
