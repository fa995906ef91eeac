"""Speech recognition: a sound in, its transcript out; many to many out of step, by CTC."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from elman.architectures import ManyToManyInStep, Ragged
from elman.codecs.labels import Labels
from elman.errors import DataError
from elman.heads import CtcHead
from elman.heads.ctc import steps_needed
from elman.heads.ctc_decoding import PrefixBeam, align, greedy
from elman.metrics import character_error_rate, word_error_rate
from elman.readers import Example
from elman.search_options import SearchOptions
from elman.tasks.alignment_picture import draw_alignment
from elman.tasks.generated_sounds import write_spoken
from elman.tasks.letter_model import letter_model
from elman.tasks.options import BothDirections, PlainLayers
from elman.tasks.sound import SoundOptions, SoundTask
from elman.tasks.supervised import Answer, Item, Setting
from elman.tasks.supervised_model import SupervisedModel
from elman.training import TrainingConfig

USUAL_BEAM, USUAL_WEIGHT, MOST_PICTURES, MOST_SYMBOLS = 8, 0.5, 10, 8


class SpeechRecognitionOptions(BothDirections, PlainLayers, SoundOptions):
    """Options of speech recognition."""

    layers: int = Field(2, ge=1, le=1024, description="recurrent layers")
    dropout: float = Field(0.2, ge=0, lt=1, description="between layers and before the output")


class SpeechRecognitionTraining(TrainingConfig):
    """Options of training, with the defaults of speech recognition."""

    default_epochs: ClassVar[int] = 20

    learning_rate: float = Field(3e-3, gt=0, le=1e4, description="highest learning rate")
    warmup_steps: int = Field(100, ge=0, le=10**9, description="steps over which the learning rate rises linearly")


class SpeechRecognition(SoundTask[SpeechRecognitionOptions]):
    """A transcript for each sound. Symbol n of the training transcripts is label n + 1 of CTC."""

    name = "speech-recognition"
    summary = "what is said in a sound"
    shape = "many to many out of step"
    config = SpeechRecognitionOptions
    training = SpeechRecognitionTraining
    selection = "cer"
    unit = "characters"
    answer = "transcript"
    searching = ("beam", "n_best", "language_model", "language_weight", "symbol_bonus")

    def fit_answers(self, examples: Sequence[Example], config: SpeechRecognitionOptions) -> dict[str, Any]:
        """Return the characters of the training transcripts."""
        return {"symbols": Labels.build(symbol for example in examples for symbol in example.y or "")}

    def encode_answer(self, example: Example, steps: int, setting: Setting[SpeechRecognitionOptions]) -> Tensor:
        """Return the labels (U,) of the transcript, without symbols that training did not meet: no loss knows them."""
        symbols: Labels = setting.codecs["symbols"]
        labels = [symbols.encode(symbol, example.where) + 1 for symbol in example.y or "" if symbol in symbols]
        needed = steps_needed(labels)
        if not 0 < needed <= steps:
            got = f"{len(labels)} symbols in {example.x.seconds:.2f} s, which need {needed}" if labels else "none"
            raise DataError(
                f"{example.where}: transcript must have 1 symbol or more that training met, and no more than fit into "
                f"{steps} steps; got {got}",
                "check that sound and transcript belong together; --stack 1 or a shorter --hop give more steps",
            )
        return torch.tensor(labels)

    def remarks(self, parts: Mapping[str, Sequence[Example]], setting: Setting[SpeechRecognitionOptions]) -> list[str]:
        """Say also which symbols training did not meet."""
        symbols: Labels = setting.codecs["symbols"]
        said = (symbol for name in parts if name != "train" for example in parts[name] for symbol in example.y or "")
        strange = Counter(symbol for symbol in said if symbol not in symbols)
        found = super().remarks(parts, setting)
        if strange:
            told = ", ".join(map(repr, sorted(strange)[:MOST_SYMBOLS])) + ", ..." * (len(strange) > MOST_SYMBOLS)
            count = f"transcripts hold {strange.total():,} symbols that training did not meet ({told})"
            found.append(f"{count}: they count as errors, and not in the loss")
        return found

    def playable(self, item: Item, speed: float, setting: Setting[SpeechRecognitionOptions]) -> float:
        """Return the speed, or 1 where CTC would have too few steps left."""
        steps = -(-setting.codecs["sound"].steps(item.x, speed) // setting.config.stack)
        return speed if steps >= steps_needed(item.y.tolist()) else 1.0

    def network(
        self, setting: Setting[SpeechRecognitionOptions], seed: int, examples: Sequence[Example] = ()
    ) -> ManyToManyInStep:
        """Stacked frames, recurrent layers, CTC."""
        config = setting.config
        return ManyToManyInStep(
            self.inputs(setting),
            partial(CtcHead, labels=setting.codecs["symbols"].size),
            bidirectional=config.bidirectional,
            dense=config.dense,
            seed=seed,
            **config.recurrent(setting.cell),
        )

    def collate_answers(self, answers: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return labels (B, U), zero beyond each length, and their numbers (B,)."""
        counts = torch.tensor([len(answer) for answer in answers])
        return torch.nn.utils.rnn.pad_sequence(list(answers), batch_first=True), counts

    def answers(self, network: Any, x: Ragged, setting: Setting[SpeechRecognitionOptions]) -> list[Answer]:
        """Return the best transcript that beam search finds, ln of its probability, and when each symbol is said.

        With the option n_best also so many best ones, with ln P of each.
        """
        names, count = setting.codecs["symbols"].names, setting.search.n_best
        beam = prefix_beam(setting.search, names)
        found = []
        for logs in _logs(network, x):
            best = beam.search(logs, count or 1)
            answer = self._answer(best[0].labels, logs, setting) | {"log_probability": best[0].log_probability}
            if count is not None:
                answer["n_best"] = [
                    {"transcript": _text(one.labels, names), "log_probability": one.log_probability} for one in best
                ]
            found.append(answer)
        return found

    def validated(self, network: Any, x: Ragged, setting: Setting[SpeechRecognitionOptions]) -> list[Answer]:
        """Return what the most probable paths say."""
        names = setting.codecs["symbols"].names
        return [{"transcript": _text(greedy(logs), names)} for logs in _logs(network, x)]

    def _answer(self, labels: Sequence[int], logs: Tensor, setting: Setting[SpeechRecognitionOptions]) -> Answer:
        names, seconds = setting.codecs["symbols"].names, setting.codecs["sound"].step_seconds * setting.config.stack
        times = [
            {"symbol": names[label - 1], "from": round(begin * seconds, 4), "to": round(end * seconds, 4)}
            for label, (begin, end) in zip(labels, align(logs, labels), strict=True)
        ]
        return {"transcript": _text(labels, names), "times": times}

    def measure(self, answers: Sequence[Answer], truths: Sequence[Any]) -> dict[str, float]:
        """Return character and word error rate."""
        found = [answer["transcript"] for answer in answers]
        return {"cer": character_error_rate(found, truths), "wer": word_error_rate(found, truths)}

    def show(self, model: SupervisedModel, x: Any, answer: Answer, *, colour: bool = False) -> str:
        """Return transcript and file; with n_best each transcript with its ln P."""
        if "n_best" not in answer:
            return f"{answer['transcript']}\t{x.path}"
        return "\n".join(f"{one['log_probability']:.4f}\t{one['transcript']}\t{x.path}" for one in answer["n_best"])

    def draw(
        self, model: SupervisedModel, examples: Sequence[Example], answers: Sequence[Answer], folder: Path
    ) -> list[Path]:
        """Draw the first sounds with what was said when."""
        made = []
        for number, (example, answer) in enumerate(zip(examples[:MOST_PICTURES], answers, strict=False), 1):
            x, _ = self.collate([self.encode(replace(example, y=None), model.setting)], model.setting)
            with torch.no_grad():
                (logs,) = _logs(model.network, x)
            path = folder / f"{number:02d}-{example.x.path.stem}.png"
            symbols, sound = model.setting.codecs["symbols"].names, model.setting.codecs["sound"]
            made.append(draw_alignment(example.x, answer, logs.exp(), symbols, sound, path))
        return made

    def example(self, folder: Path) -> list[str]:
        """Write made-up speech."""
        write_spoken(folder)
        return [
            "elman train speech-recognition spoken.csv --epochs 15 --batch-size 8",
            "elman predict spoken-model sounds/000.wav",
        ]


def prefix_beam(search: SearchOptions, symbols: Sequence[str]) -> PrefixBeam:
    """Return the beam search that options ask for.

    Raises:
        MissingInputError, ModelFileError, UsageError: the language model cannot be used.
    """
    width = search.width(USUAL_BEAM)
    if search.language_model is None:
        return PrefixBeam(width, bonus=search.symbol_bonus or 0.0)
    weight = USUAL_WEIGHT if search.language_weight is None else search.language_weight
    # As if the model said ln P - ln(1 / K): one that knows nothing then neither lengthens nor shortens texts.
    bonus = weight * math.log(len(symbols)) if search.symbol_bonus is None else search.symbol_bonus
    return PrefixBeam(width, weight, bonus, letter_model(search.language_model, tuple(symbols)))


def _logs(network: Any, x: Ragged) -> list[Tensor]:
    """ln P (T, K + 1) of each sequence, on the CPU."""
    scores, lengths = network(x)
    logs = network.head.log_probabilities(scores).cpu()
    return [row[:length] for row, length in zip(logs, lengths.tolist(), strict=True)]


def _text(labels: Sequence[int], names: Sequence[str]) -> str:
    return "".join(names[label - 1] for label in labels)
