"""Language model: text in, the probability of text out; trained by truncated back-propagation over parallel streams."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from elman.architectures import LanguageModel
from elman.cells import cells
from elman.codecs.streams import Streams
from elman.codecs.text import TextCodec, build_codec
from elman.codecs.token_store import TokenStore
from elman.equations import Cell
from elman.errors import DataError, EquationError, MissingInputError, UsageError, nearest
from elman.heads.softmax import IGNORED
from elman.layers import StackState, activation_penalty
from elman.metrics import bits_per_character, perplexity
from elman.model_folder import write_model_folder
from elman.readers import check_readable
from elman.tasks.model_card import language_model_card
from elman.training import Carry, LossResult, TrainingConfig

NAME = "language-model"
VOCABULARY = "vocabulary.json"
_EVALUATION_STREAMS = 20
_EVALUATION_STEPS = 256
_LARGEST_LAYER, _MOST_LAYERS = 65_536, 1024

# What is best depends on how much a token says: defaults by level, where the option is left out.
_BY_LEVEL: dict[str, dict[str, Any]] = {
    "character": {"hidden_size": 512, "embedding_size": 128, "dropout": 0.1, "streams": 32, "sequence_length": 64},
    "subword": {"hidden_size": 512, "embedding_size": 256, "dropout": 0.2, "streams": 32, "sequence_length": 64},
    "word": {"hidden_size": 400, "embedding_size": 400, "dropout": 0.4, "streams": 20, "sequence_length": 35},
}


class LanguageModelConfig(BaseModel):
    """Options of the language model; None means: chosen by level."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    level: Literal["character", "word", "subword"] = Field("character", description="what a token is")
    vocabulary_size: int | None = Field(
        None, ge=2, le=10_000_000, description="most tokens to keep; without it all (subword: 2,000)"
    )
    min_count: int = Field(1, ge=1, le=10**9, description="tokens met less often become <unk>")
    validation: Path | None = Field(None, description="validation text; without it, the end of the training text")
    validation_fraction: float = Field(0.1, gt=0, lt=1, description="share of the text kept for validation")

    cell: str = Field("lstm", description="name of a cell, a file of equations (.tex, .txt), or the equations")
    layers: int = Field(2, ge=1, le=_MOST_LAYERS, description="recurrent layers")
    hidden_size: int | None = Field(
        None, ge=1, le=_LARGEST_LAYER, description="units of a layer; character 512, word 400"
    )
    projection_size: int | None = Field(
        None, ge=1, le=_LARGEST_LAYER, description="value of a size that the cell declares (lstm_projected)"
    )
    embedding_size: int | None = Field(
        None, ge=0, le=_LARGEST_LAYER, description="length of token vectors, 0 for one-hot; character 128, word 400"
    )
    tied: bool = Field(False, description="share the embedding with the output layer")
    residual: bool = Field(False, description="add a layer's input to its output where sizes agree")
    init: str | None = Field(
        None, description="initialiser of all parameters, such as uniform:0.1; else the cell's own"
    )
    forget_bias: float | None = Field(None, description="first value of the forget gate's bias; else the cell's own")

    dropout: float | None = Field(None, ge=0, lt=1, description="between layers and before the output; character 0.1")
    input_dropout: float = Field(0.0, ge=0, lt=1, description="of token vectors, the same at all steps")
    variational_dropout: float = Field(0.0, ge=0, lt=1, description="of input and state in every layer (Gal)")
    zoneout: float = Field(0.0, ge=0, lt=1, description="probability that a unit keeps its old value")
    weight_drop: float = Field(0.0, ge=0, lt=1, description="of entries of recurrent matrices")
    activation_penalty: float = Field(0.0, ge=0, description="weight of squared outputs in the loss (AR)")
    change_penalty: float = Field(0.0, ge=0, description="weight of squared changes of outputs in the loss (TAR)")

    streams: int | None = Field(None, ge=1, le=65_536, description="parts of the text read side by side; 32, word 20")
    sequence_length: int | None = Field(None, ge=1, le=1_000_000, description="steps of back-propagation; 64, word 35")
    random_length: bool = Field(False, description="draw the length of every segment around sequence_length")

    def resolved(self) -> LanguageModelConfig:
        """Return the options with everything that depends on the level filled in."""
        chosen = {name: value for name, value in _BY_LEVEL[self.level].items() if getattr(self, name) is None}
        return self.model_copy(update=chosen)


class LanguageModelTraining(TrainingConfig):
    """Options of training, with the defaults of language models."""

    default_epochs: ClassVar[int] = 10
    learning_rate: float = Field(3e-3, gt=0, le=1e4, description="highest learning rate")
    weight_decay: float = Field(0.01, ge=0, le=1e3, description="decay of matrices; biases and other vectors have none")
    warmup_steps: int = Field(50, ge=0, le=10**9, description="steps over which the learning rate rises linearly")
    final_rate: float = Field(0.02, ge=0, le=1, description="where cosine ends, as a fraction of learning_rate")


def read_cell(text: str) -> Cell:
    """Return the cell that an option names: of the catalogue, of a file, or by its equations.

    Raises:
        UsageError: no cell and no file has that name.
        EquationError: the equations do not describe a cell; with the file's name.
    """
    if text in cells:
        return cells[text]
    if "=" in text:
        return Cell(text)
    path = Path(text)
    if path.suffix in (".tex", ".txt", ".eq") or path.exists():
        if not path.exists():
            raise MissingInputError(f"{path}: must be a file of equations; there is no such file")
        check_readable(path)
        try:
            return Cell(path.read_text(encoding="utf-8"), name=path.stem)
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: byte offset {error.start:,}: must be UTF-8") from None
        except EquationError as error:
            raise EquationError(f"{path}: {error.message}", error.hint) from None
    raise UsageError(
        f"cell: unknown name {text!r}{nearest(text, cells)}",
        f"known cells: {', '.join(sorted(cells))}; or a file .tex, or equations with '='",
    )


def describe_cell(cell: Cell) -> dict[str, Any]:
    """Return a cell as JSON values; its equations as text."""
    return {
        "name": cell.name,
        "equations": cell.plain(),
        "output": cell.output,
        "init": dict(cell.init),
        "source": cell.source,
    }


def build_model(vocabulary_size: int, cell: Cell, config: LanguageModelConfig, seed: int) -> LanguageModel:
    """Build the model that resolved options describe."""
    init: dict[str, str | float] = {} if config.init is None else {"*": config.init}
    if config.forget_bias is not None:
        if "b_f" not in cell.parameters(2, 2, dict.fromkeys(cell.free_sizes, 2)):
            raise UsageError(f"forget_bias: must have a bias b_f to act on; the cell {cell.name!r} has none")
        init["b_f"] = config.forget_bias
    if config.projection_size is not None and not cell.free_sizes:
        raise UsageError(
            f"projection_size: must have a declared size to set; the cell {cell.name!r} declares none",
            "use lstm_projected",
        )
    sizes = {} if config.projection_size is None else dict.fromkeys(cell.free_sizes, config.projection_size)
    return LanguageModel(
        vocabulary_size,
        cell,
        config.layers,
        config.hidden_size or 1,
        config.embedding_size or 0,
        sizes=sizes,
        dropout=config.dropout or 0.0,
        input_dropout=config.input_dropout,
        variational_dropout=config.variational_dropout,
        zoneout=config.zoneout,
        weight_drop=config.weight_drop,
        residual=config.residual,
        tied=config.tied,
        init=init,
        seed=seed,
    )


def parameter_count(vocabulary_size: int, cell: Cell, config: LanguageModelConfig) -> int:
    """Count parameters without allocating any, to refuse absurd sizes early."""
    hidden, size = config.hidden_size or 1, config.embedding_size or vocabulary_size
    sizes = dict.fromkeys(cell.free_sizes, config.projection_size or hidden)
    total = vocabulary_size * (config.embedding_size or 0)
    for _ in range(min(config.layers, 3)):
        count = sum(math.prod(shape) for shape in cell.parameters(size, hidden, sizes).values())
        size = cell.output_size(size, hidden, sizes)
        total += count
    total += max(config.layers - 3, 0) * count
    return total + vocabulary_size * (size + 1)


_MOST_PARAMETERS = 2_000_000_000


class LanguageModelProblem:
    """The task as the training loop sees it.

    Args:
        file: Training text.
        config: Options; resolved here.
        seed: Seed of first values and random lengths.
        folder: Where token stores are kept.

    Raises:
        DataError, MissingInputError: a text cannot be used.
        UsageError: options do not fit.
    """

    def __init__(self, file: Path, config: LanguageModelConfig, seed: int, folder: Path) -> None:
        self.file, self.config, self.seed = Path(file), config.resolved(), seed
        self.cell = read_cell(config.cell)
        check_readable(self.file)
        self.codec: TextCodec = build_codec([self.file], config.level, config.vocabulary_size, config.min_count)
        self._check_size()
        store = TokenStore.build(self.file, self.codec, folder / "train")
        self.stores = {"train": store}
        self.training_tokens, self.validation_tokens = self._split(store, folder)
        streams, length = self.config.streams or 1, self.config.sequence_length or 1
        self.streams = Streams(
            self.training_tokens, streams, length, random_length=config.random_length, seed=seed, where=str(self.file)
        )
        self.model = build_model(self.codec.size, self.cell, self.config, seed)

    def _check_size(self) -> None:
        count = parameter_count(self.codec.size, self.cell, self.config)
        if count > _MOST_PARAMETERS:
            raise UsageError(
                f"model: must have at most {_MOST_PARAMETERS:,} parameters; these sizes make {count:,}",
                "lower hidden_size, layers or vocabulary_size",
            )

    def _split(self, store: TokenStore, folder: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        if self.config.validation is not None:
            other = TokenStore.build(self.config.validation, self.codec, folder / "validation")
            self.stores["validation"] = other
            if len(other) < 2:
                raise DataError(f"{self.config.validation}: must have at least 2 tokens; got {len(other)}")
            return store.tokens, other.tokens
        cut = len(store) - int(len(store) * self.config.validation_fraction)
        if len(store) - cut < 2:
            raise DataError(
                f"{self.file}: must be long enough to keep {self.config.validation_fraction:.0%} for validation; "
                f"it has {len(store):,} tokens",
                "give more text, or a file as validation",
            )
        return store.tokens[:cut], store.tokens[cut:]

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
            f"reading: {config.streams} streams, {config.sequence_length} steps of back-propagation"
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
        """Return the cross-entropy of a segment, going on from the state after the segment before."""
        inputs, targets = batch
        state = None if carry is None else StackState.from_state_dict(carry)
        y, after = self.model.outputs(inputs, state)
        nats = self.model.head.nats(self.model.logits(y), targets)
        loss = nats / targets.numel()
        if self.config.activation_penalty or self.config.change_penalty:
            alpha, beta = self.config.activation_penalty, self.config.change_penalty
            loss = loss + activation_penalty(y, None, alpha, beta)
        return LossResult(loss, float(nats.detach()), targets.numel(), after.state_dict())

    def evaluate(self) -> dict[str, float]:
        """Return loss (nats per token) and perplexity on the validation text, read as up to 20 streams."""
        return measure(self.model, self.codec, self.validation_tokens, _EVALUATION_STREAMS)

    def save_model(self, folder: Path) -> None:
        """Write the model folder."""
        config = {
            "task": NAME,
            "model": {
                **self.config.model_dump(mode="json", exclude={"validation"}),
                "vocabulary_size": self.codec.size,
            },
            "cell": describe_cell(self.cell),
        }
        vocabulary = json.dumps(self.codec.to_json(), ensure_ascii=False)
        card = language_model_card(self.cell, self.config.model_dump(mode="json"), self.codec.size, self.model)
        write_model_folder(folder, config, self.model.state_dict(), {VOCABULARY: vocabulary, "README.md": card})


@torch.no_grad()
def measure(model: LanguageModel, codec: TextCodec, tokens: npt.NDArray[Any], streams: int) -> dict[str, float]:
    """Measure a model on tokens; each but the first is predicted once.

    With several streams, each reads up to 256 tokens before its part without counting them, so that the state at its
    start is nearly what a single stream would have carried there.

    Args:
        model: In evaluation mode.
        codec: Level of the tokens, for bits per character.
        tokens: At least 2.
        streams: Most streams read side by side; 1 for the exact value.

    Returns:
        "loss" (nats per token), "perplexity", "tokens", and "bits_per_character" at character level.
    """
    total = len(tokens) - 1
    rows = max(1, min(streams, total // _EVALUATION_STEPS))
    share = -(-total // rows)
    lead = _EVALUATION_STEPS if rows > 1 else 0
    starts = np.arange(rows) * share
    state, nats, counted = None, 0.0, 0
    device = model.head.weight.device
    for offset in range(-lead, share, _EVALUATION_STEPS):
        width = min(_EVALUATION_STEPS, share - offset)
        at = starts[:, None] + np.arange(offset, offset + width)[None]  # (B, T)
        inside = (at < np.minimum(starts + share, total)[:, None]) & (at >= starts[:, None])
        safe = np.clip(at, 0, total - 1)
        inputs = torch.from_numpy(tokens[safe].astype(np.int64)).to(device)
        wanted = np.where(inside, tokens[safe + 1].astype(np.int64), IGNORED)
        logits, state = model(inputs, state)
        if offset < 0:
            # The first stream has nothing before it: it starts from the initial state.
            fresh = torch.from_numpy(starts == 0).to(device)
            state = state.reset(fresh, model.initial_state(rows))
            continue
        nats += float(model.head.nats(logits, torch.from_numpy(wanted).to(device)))
        counted += int(inside.sum())
    found = {"loss": nats / counted, "perplexity": perplexity(nats, counted), "tokens": counted}
    if codec.level == "character":
        found["bits_per_character"] = bits_per_character(nats, counted)
    return found


def restore_options(values: Mapping[str, Any]) -> tuple[LanguageModelConfig, LanguageModelTraining]:
    """Rebuild both groups of options from what run.json holds."""
    return LanguageModelConfig(**values["task"]), LanguageModelTraining(**values["training"])


def load(folder: Path | str) -> Any:
    """Load a trained language model; see elman.tasks.language_model_use.LoadedLanguageModel."""
    from elman.tasks.language_model_use import LoadedLanguageModel

    return LoadedLanguageModel.load(Path(folder))
