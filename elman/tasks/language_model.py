"""Language model: text in, the probability of text out; trained by truncated back-propagation over parallel streams."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
from torch import Tensor

from elman.codecs.streams import Streams
from elman.codecs.text import TextCodec, build_codec
from elman.codecs.token_store import TokenStore
from elman.errors import DataError
from elman.layers import StackState, activation_penalty
from elman.model_config import describe_cell
from elman.model_folder import write_model_folder
from elman.readers import check_readable
from elman.readers.cells import read_cell
from elman.tasks.language_model_building import build_model, checked_parameter_count
from elman.tasks.language_model_measure import measure
from elman.tasks.language_model_options import LanguageModelConfig, LanguageModelTraining
from elman.tasks.model_card import language_model_card
from elman.training import Carry, LossResult

if TYPE_CHECKING:
    from elman.tasks.language_model_use import LoadedLanguageModel

__all__ = ["NAME", "VOCABULARY", "LanguageModelConfig", "LanguageModelProblem", "LanguageModelTraining", "load"]

NAME = "language-model"
VOCABULARY = "vocabulary.json"
_EVALUATION_STREAMS = 20


class LanguageModelProblem:
    """The task as the training loop sees it.

    The vocabulary is that of the whole file, its validation part included, so that both have the same tokens.

    Args:
        file: Training text.
        config: Options; resolved here.
        seed: Seed of first values and random lengths.
        folder: Where token stores are kept.

    Raises:
        DataError, MissingInputError: a text cannot be used.
        UsageError: options do not fit.
    """

    selection, unit = "loss", "tokens"

    def __init__(self, file: Path, config: LanguageModelConfig, seed: int, folder: Path) -> None:
        self.file, self.seed = Path(file), seed
        self.cell = read_cell(config.cell)
        check_readable(self.file)
        self.codec: TextCodec = build_codec([self.file], config.level, config.vocabulary_size, config.min_count)
        parameters = checked_parameter_count(self.codec.size, self.cell, config.resolved())
        store = TokenStore.build(self.file, self.codec, folder / "train")
        self.stores = {"train": store}
        self.training_tokens, self.validation_tokens = self._split(store, config, folder)
        if config.test is not None:
            self.stores["test"] = self._further(config.test, folder / "test")
        self.config = config.resolved(len(self.training_tokens), parameters)
        self.streams = self._streams()
        self.model = build_model(self.codec.size, self.cell, self.config, seed)

    def _further(self, path: Path, folder: Path) -> TokenStore:
        """Return the store of a text that is only measured."""
        store = TokenStore.build(path, self.codec, folder)
        if len(store) < 2:
            raise DataError(f"{path}: must have at least 2 tokens; got {len(store)}")
        return store

    def _split(
        self, store: TokenStore, config: LanguageModelConfig, folder: Path
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        if config.validation is not None:
            self.stores["validation"] = self._further(config.validation, folder / "validation")
            return store.tokens, self.stores["validation"].tokens
        cut = len(store) - int(len(store) * config.validation_fraction)
        if min(cut, len(store) - cut) < 2:
            raise DataError(
                f"{self.file}: must be long enough to keep {config.validation_fraction:g} of it for validation and to "
                f"train on the rest; {len(store):,} tokens leave {cut:,} to train on, {len(store) - cut:,} to validate",
                "give more text, another fraction, or a file as validation",
            )
        return store.tokens[:cut], store.tokens[cut:]

    def _streams(self) -> Streams:
        config = self.config
        return Streams(
            self.training_tokens,
            config.streams or 1,
            config.sequence_length or 1,
            random_length=config.random_length,
            seed=self.seed,
            where=str(self.file),
        )

    @property
    def data(self) -> dict[str, Any]:
        """Fingerprints of the texts, for run.json."""
        return {name: store.meta["source"] for name, store in self.stores.items()}

    def summary(self) -> list[str]:
        """Return lines that say what was read and what was chosen by itself."""
        unknown = sum(store.unknown for store in self.stores.values())
        size = sum(p.numel() for p in self.model.parameters())
        config = self.config
        return [
            f"text: {len(self.training_tokens):,} tokens to train on, {len(self.validation_tokens):,} to validate; "
            f"vocabulary {self.codec.size:,} ({config.level}), {unknown:,} unknown",
            f"model: {config.layers} x {config.hidden_size} {self.cell.name}, "
            f"{f'embedding {config.embedding_size}' if config.embedding_size else 'one-hot input'}, "
            f"dropout {config.dropout}, {size:,} parameters; engine {self.model.engine}",
            f"reading: {config.streams} stream{'s' * (config.streams != 1)}, "
            f"{config.sequence_length} steps of back-propagation"
            f"{' on average' if config.random_length else ''}; {self.batches_per_epoch(0):,} batches an epoch",
        ]

    # ---- what the loop asks for

    def batches_per_epoch(self, epoch: int) -> int:
        """Return how many segments an epoch has."""
        return self.streams.batches_per_epoch(epoch)

    def batch(self, epoch: int, index: int) -> tuple[Tensor, Tensor]:
        """Return inputs and targets (B, T)."""
        return self.streams.batch(epoch, index)

    def loss(self, batch: tuple[Tensor, Tensor], carry: Carry) -> LossResult:
        """Return the cross-entropy of a segment, going on from the state after the segment before.

        With random lengths it is scaled by length / sequence_length, so that every token of the text weighs the same
        (Merity et al. 2018, section 5.1, who scale the learning rate).
        """
        device = self.model.head.weight.device
        inputs, targets = (tokens.to(device) for tokens in batch)
        state = None if carry is None else StackState.from_state_dict(carry)
        y, after = self.model.outputs(inputs, state)
        nats = self.model.head.nats(self.model.logits(y), targets)
        loss = nats / self._weight(targets)
        if self.config.activation_penalty or self.config.change_penalty:
            alpha, beta = self.config.activation_penalty, self.config.change_penalty
            loss = loss + activation_penalty(y, None, alpha, beta)
        return LossResult(loss, float(nats.detach()), targets.numel(), after.state_dict())

    def _weight(self, targets: Tensor) -> int:
        """What the sum over a segment is divided by."""
        if self.config.random_length:
            return targets.shape[0] * (self.config.sequence_length or 1)
        return targets.numel()

    def evaluate(self) -> dict[str, float]:
        """Return loss (nats per token) and perplexity on the validation text, read as up to 20 streams."""
        return measure(self.model, self.codec, self.validation_tokens, _EVALUATION_STREAMS)

    def test(self) -> dict[str, float]:
        """Return loss (nats per token) and perplexity on the test text, read as one stream; nothing without one."""
        store = self.stores.get("test")
        return {} if store is None else measure(self.model, self.codec, store.tokens, 1)

    def save_model(self, folder: Path) -> None:
        """Write the model folder: options, the cell as equations, vocabulary, weights, model card."""
        options = self.config.model_dump(mode="json", exclude={"validation", "test"})
        described = {**options, "cell": self.cell.name, "vocabulary_size": self.codec.size}
        config = {"task": NAME, "model": described, "cell": describe_cell(self.cell)}
        vocabulary = json.dumps(self.codec.to_json(), ensure_ascii=False)
        card = language_model_card(self.cell, options, self.codec.size, self.model)
        write_model_folder(folder, config, self.model.state_dict(), {VOCABULARY: vocabulary, "README.md": card})


def load(folder: Path | str) -> LoadedLanguageModel:
    """Load a trained language model from its folder; see elman.tasks.language_model_use."""
    from elman.tasks.language_model_use import LoadedLanguageModel

    return LoadedLanguageModel.load(Path(folder))
