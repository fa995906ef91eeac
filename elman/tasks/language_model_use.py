"""A trained language model in use: sampling, the probability of sentences, evaluation of texts."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from elman.architectures import LanguageModel
from elman.codecs.text import TextCodec, codec_from_json
from elman.codecs.token_store import TokenStore
from elman.decoding import Choice, generate
from elman.errors import DataError, ElmanError, ModelFileError, UsageError
from elman.metrics import perplexity
from elman.model_folder import read_extra_file, read_model_folder
from elman.storage import parse_json
from elman.tasks.cell_option import restored_cell
from elman.tasks.language_model import NAME, VOCABULARY, LanguageModelConfig
from elman.tasks.language_model_building import build_model, check_parameter_count
from elman.tasks.language_model_measure import measure

_PIECE = 256


@dataclass(frozen=True)
class ScoredSentence:
    """A sentence and its probability.

    Args:
        text: The sentence.
        steps: Each token with P(y<t> | y<1..t-1>).
        unknown: How many tokens are not in the vocabulary.
    """

    text: str
    steps: list[tuple[str, float]]
    unknown: int
    log_probability: float

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return len(self.steps)

    @property
    def perplexity(self) -> float:
        """Perplexity of the sentence's tokens."""
        return perplexity(-self.log_probability, max(self.tokens, 1))


class LoadedLanguageModel:
    """A language model with its codec.

    Args:
        model: The model, in evaluation mode.
        codec: Text to tokens and back.
        config: Its options.
    """

    def __init__(self, model: LanguageModel, codec: TextCodec, config: LanguageModelConfig) -> None:
        self.model, self.codec, self.config = model.eval(), codec, config

    @classmethod
    def load(cls, folder: Path) -> LoadedLanguageModel:
        """Load a model folder; nothing in it is executed.

        Raises:
            MissingInputError: there is no model.
            ModelFileError: it is damaged, or of another task.
        """
        built: list[tuple[LanguageModel, LanguageModelConfig]] = []

        def expected(config: dict[str, Any]) -> dict[str, torch.Tensor]:
            built.append(_described(folder, config))
            return built[0][0].state_dict()

        _, tensors = read_model_folder(folder, expected)
        model, config = built[0]
        model.load_state_dict(tensors, assign=True)
        if config.tied:
            model.tie()
        codec = codec_from_json(parse_json(read_extra_file(folder, VOCABULARY), str(folder / VOCABULARY)))
        if codec.size != model.vocabulary_size:
            raise ModelFileError(
                f"{folder / VOCABULARY}: must have {model.vocabulary_size:,} tokens; got {codec.size:,}"
            )
        return cls(model, codec, config)

    @property
    def start(self) -> int:
        """The token before the first: the end of a line, or the unknown token where no line ended in training."""
        if self.codec.end is not None:
            return self.codec.end
        return int(self.codec.encode("\n")[0])

    def _known(self, text: str, where: str) -> list[int]:
        ids = [int(i) for i in self.codec.encode(text)]
        if self.codec.unknown is not None and self.codec.unknown in ids:
            pieces = text if self.codec.level == "character" else text.split()
            bad = sorted({p for p in pieces if int(self.codec.encode(p)[0]) == self.codec.unknown})
            raise UsageError(
                f"{where}: must use the vocabulary of the model; it does not have {', '.join(map(repr, bad[:5]))}"
            )
        return ids

    @torch.no_grad()
    def sample(
        self,
        *,
        length: int = 500,
        samples: int = 1,
        prompt: str = "",
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        greedy: bool = False,
        stop: tuple[str, ...] = (),
        seed: int = 0,
    ) -> list[str]:
        """Write texts; each chosen token is the next input.

        Args:
            length: Most tokens to write.
            samples: How many texts; text i depends on `seed` and i only.
            prompt: Text to go on from; without it, the start of a line.
            temperature, top_k, top_p, greedy: See elman.decoding.Choice.
            stop: A text ends before the first of these strings.
            seed: Seed of the draws.

        The token that stands for unknown text is never written: its probability is shared out among the others.

        Returns:
            The texts, each beginning with the prompt.

        Raises:
            UsageError: the prompt has characters or words that the model does not know, or an option does not fit.
        """
        if any(not s for s in stop):
            raise UsageError("stop: must not be an empty string")
        choice = Choice(temperature, top_k, top_p, greedy)
        ids = [self.start, *self._known(prompt, "prompt")]

        def finished(tokens: list[int]) -> bool:
            # A stop string is at most as many tokens as characters; looking at the tail keeps this linear.
            tail = self.codec.decode(tokens[-max(map(len, stop)) - 8 :])
            return any(s in tail for s in stop)

        written = generate(
            self._step,
            None,
            ids,
            length,
            samples=samples,
            seed=seed,
            choice=choice,
            finished=finished if stop else None,
        )
        return [self._text(prompt, ids[1:], tokens, stop) for tokens in written]

    def _step(self, tokens: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        """One step of the model; the token that stands for unknown text is never written."""
        logits, after = self.model.step(tokens, state)
        if self.codec.unknown is not None:
            logits[:, self.codec.unknown] = -torch.inf
        return logits, after

    def _text(self, prompt: str, ids: list[int], tokens: list[int], stop: tuple[str, ...]) -> str:
        whole = self.codec.decode([*ids, *tokens])
        head = self.codec.decode(ids) if ids else ""
        new = whole.removeprefix(head)
        cuts = [new.find(s) for s in stop if s in new]
        return prompt + (new[: min(cuts)] if cuts else new)

    @torch.no_grad()
    def score(self, sentences: list[str]) -> list[ScoredSentence]:
        """Return the probability of sentences, each as if at the start of a line, without the end of the line.

            ln P(sentence) = sum over t of ln P(y<t> | y<1..t-1>)

        The first token is conditioned on the end of a line, read from the initial state, and on nothing else.
        """
        return [self._scored(sentence) for sentence in sentences]

    def _scored(self, sentence: str) -> ScoredSentence:
        ids = [int(i) for i in self.codec.encode(sentence)]
        logs = self._log_probabilities(ids)
        unknown = 0 if self.codec.unknown is None else ids.count(self.codec.unknown)
        names = [self.codec.tokens[i] if self.codec.level != "subword" else self.codec.decode([i]) for i in ids]
        steps = [(name, math.exp(log)) for name, log in zip(names, logs, strict=True)]
        return ScoredSentence(sentence, steps, unknown, math.fsum(logs))

    def _log_probabilities(self, ids: list[int]) -> list[float]:
        """Return ln P of each token after those before it."""
        inputs, state = [self.start, *ids[:-1]], None
        logs: list[float] = []
        for at in range(0, len(ids), _PIECE):
            logits, state = self.model(torch.tensor([inputs[at : at + _PIECE]]), state)
            wanted = torch.tensor(ids[at : at + _PIECE]).unsqueeze(1)
            logs += torch.log_softmax(logits[0].double(), dim=-1).gather(1, wanted).squeeze(1).tolist()
        return logs

    def evaluate(self, path: Path | str, streams: int = 1) -> dict[str, float]:
        """Measure the model on a text, read as one stream with its state carried from end to end.

        Returns:
            "loss" (nats per token), "perplexity", "tokens" (each but the first), "unknown", and "bits_per_character"
            where no token stands for unknown text.

        Raises:
            DataError: the text has fewer than 2 tokens or cannot be read.
        """
        with tempfile.TemporaryDirectory(prefix="elman-") as folder:
            store = TokenStore.build(Path(path), self.codec, Path(folder) / "text")
            if len(store) < 2:
                raise DataError(f"{path}: must have at least 2 tokens; got {len(store)}")
            found = measure(self.model, self.codec, store.tokens, streams)
            return {**found, "unknown": store.unknown}


def _described(folder: Path, config: dict[str, Any]) -> tuple[LanguageModel, LanguageModelConfig]:
    """Build the model that a config describes, after checking that it is one."""
    where = folder / "config.json"
    if config.get("task") != NAME:
        raise ModelFileError(f"{where}: task must be {NAME!r}; got {str(config.get('task'))[:40]!r}")
    values, cell_values = config.get("model"), config.get("cell")
    if not isinstance(values, dict) or not isinstance(cell_values, dict):
        raise ModelFileError(f"{where}: must describe a model and a cell")
    vocabulary = values.get("vocabulary_size")
    if type(vocabulary) is not int or not 2 <= vocabulary <= 10_000_000:
        raise ModelFileError(f"{where}: vocabulary_size must be from 2 to 10,000,000; got {str(vocabulary)[:40]}")
    try:
        options = LanguageModelConfig(**values).resolved()
        cell = restored_cell(cell_values)
        check_parameter_count(vocabulary, cell, options)
        with torch.device("meta"):  # shapes without memory: the weights are checked before any is allocated
            return build_model(vocabulary, cell, options, seed=0), options
    except ModelFileError:
        raise
    except ValidationError as error:
        wrong = error.errors()[0]
        name = ".".join(map(str, wrong["loc"])) or "options"
        raise ModelFileError(f"{where}: must describe a language model; {name[:80]}: {wrong['msg']}") from None
    except (ElmanError, KeyError, TypeError) as error:
        first = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ModelFileError(f"{where}: must describe a language model; {first}") from None
