"""Translation, and any other text from a text: names from dates, sounds from spellings; many to many out of step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import torch
from pydantic import Field

from elman.architectures import Encoder, EncoderDecoder, Ragged, TokenVectors
from elman.codecs.sentences import Sentences
from elman.config import FullPath
from elman.decoding import Beam, Hypothesis, search
from elman.errors import DataError
from elman.metrics import accuracy, bleu, bleu_signature, chrf
from elman.readers import Example, Reading
from elman.readers.pairs import PairReading, read_pairs
from elman.search_options import SearchOptions
from elman.tasks.attention_picture import Look, draw_looks, write_looks
from elman.tasks.generated import write_dates
from elman.tasks.options import SmallBatches, SupervisedOptions
from elman.tasks.supervised import Answer, Item, Setting, SupervisedTask, padded
from elman.tasks.writing import without
from elman.training import TrainingConfig

if TYPE_CHECKING:
    from elman.tasks.supervised_model import SupervisedModel

_WIDTH, MOST_PICTURES = 5, 20


class TranslationOptions(SmallBatches, SupervisedOptions):
    """Options of translation."""

    beside: ClassVar[tuple[str, ...]] = ("target", "validation_target", "test_target")
    of_training: ClassVar[frozenset[str]] = frozenset({"validation", "test", *beside})

    target: FullPath | None = Field(None, description="file whose line n is what line n of the data becomes")
    validation_target: FullPath | None = Field(None, description="the same for validation")
    test_target: FullPath | None = Field(None, description="the same for test")
    level: Literal["character", "word", "subword"] = Field("subword", description="what a token is")
    vocabulary_size: int | None = Field(
        None, ge=2, le=1_000_000, description="most tokens to keep on each side; without it all, of subwords 4000"
    )
    min_count: int = Field(1, ge=1, le=10**9, description="tokens met less often become unknown")
    cell: str = Field("gru", description="name of a cell, a file of equations (.tex, .txt), or the equations")
    hidden_size: int = Field(
        256, ge=1, le=65_536, description="units of an encoder's layer and direction; the decoder's have twice as many"
    )
    embedding_size: int = Field(256, ge=1, le=65_536, description="length of token vectors and of readouts")
    bidirectional: bool = Field(True, description="read from both ends; the decoder writes from the first token on")
    attention: Literal["additive", "multiplicative"] = Field(
        "additive", description="how the decoder compares itself with what was read"
    )
    input_feeding: bool = Field(False, description="feed the readout back; training then runs step by step, slowly")
    scheduled_sampling: float = Field(
        0.0, ge=0, lt=1, description="probability that training reads a token of the model's own"
    )
    tied: bool = Field(True, description="share the decoder's token vectors with its output")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="share of the truth given to all tokens")
    dropout: float = Field(
        0.2, ge=0, lt=1, description="between layers, of what attention reads, and before the output"
    )
    input_dropout: float = Field(0.1, ge=0, lt=1, description="of token vectors, the same at all steps")
    batch_size: int = Field(64, ge=1, le=65_536, description="examples of a batch")

    def reading(self, labelled: bool = True) -> PairReading:
        """Return how pairs are read."""
        how = super().reading(labelled)
        return PairReading(**vars(how), target=self.target if labelled else None)


class TranslationTraining(TrainingConfig):
    """Options of training, with the defaults of translation."""

    default_epochs: ClassVar[int] = 12

    learning_rate: float = Field(4e-3, gt=0, le=1e4, description="highest learning rate")
    warmup_steps: int = Field(200, ge=0, le=10**9, description="steps over which the learning rate rises linearly")


class Translation(SupervisedTask[TranslationOptions]):
    """A text for each text, P(y | x) = product over t of P(y<t> | y<1..t-1>, x)."""

    name = "translation"
    summary = "what a text becomes: a translation, or any other text from a text"
    shape = "many to many out of step"
    config = TranslationOptions
    training = TranslationTraining
    selection = "bleu"
    unit = "tokens"
    searching = ("beam", "n_best", "normalisation", "alpha")

    def read(self, path: Path, how: Reading, config: TranslationOptions) -> Iterator[Example]:
        """Yield pairs of texts; see elman.readers.pairs."""
        return read_pairs(path, how if isinstance(how, PairReading) else PairReading(**vars(how)))

    def fit(self, examples: Sequence[Example], config: TranslationOptions) -> dict[str, Any]:
        """Return the tokens of both sides of the training pairs."""
        sides = {"source": [example.x for example in examples], "target": [example.y for example in examples]}
        return {
            name: Sentences.build(texts, config.level, config.vocabulary_size, config.min_count)
            for name, texts in sides.items()
        }

    def batch_size(self, count: int, config: TranslationOptions) -> int:
        """Return the option's, or less where examples are few."""
        return config.batch_of(count, config.batch_size)

    def told(self, example: Example) -> dict[str, Any]:
        """Return the source."""
        return super().told(example) | {"source": example.x}

    def encode(self, example: Example, setting: Setting[TranslationOptions]) -> Item:
        """Return token numbers (S,) and (T,)."""
        if not isinstance(example.x, str) or not example.x.strip():
            raise DataError(f"{example.where}: source must be a text; got {str(example.x)[:80]!r}")
        source = torch.tensor(setting.codecs["source"].encode(example.x))
        target = None if example.y is None else torch.tensor(setting.codecs["target"].encode(example.y))
        return Item(source, target, len(source) + (0 if target is None else len(target)))

    def network(
        self, setting: Setting[TranslationOptions], seed: int, examples: Sequence[Example] = ()
    ) -> EncoderDecoder:
        """Token vectors, an encoder, attention, a decoder, softmax."""
        config, recurrent = setting.config, setting.config.recurrent(setting.cell)
        vectors = TokenVectors(
            setting.codecs["source"].size, config.embedding_size, dropout=config.input_dropout, seed=seed
        )
        encoder = Encoder(vectors, bidirectional=config.bidirectional, seed=seed, **recurrent)
        return EncoderDecoder(
            encoder,
            setting.codecs["target"].size + 1,
            embedding_size=config.embedding_size,
            attention=config.attention,
            input_feeding=config.input_feeding,
            scheduled_sampling=config.scheduled_sampling,
            tied=config.tied,
            input_dropout=config.input_dropout,
            label_smoothing=config.label_smoothing,
            seed=seed + 1,
            **{**recurrent, "hidden_size": 2 * config.hidden_size},
        )

    def collate(self, items: Sequence[Item], setting: Setting[TranslationOptions]) -> tuple[Ragged, Ragged | None]:
        """Return token numbers (B, S) and (B, T) with lengths."""
        labelled = all(item.y is not None for item in items)
        return padded([item.x for item in items]), padded([item.y for item in items]) if labelled else None

    def validated(self, network: Any, x: Ragged, setting: Setting[TranslationOptions]) -> list[Answer]:
        """Return the texts that greedy search finds."""
        return _written(network, x, setting, beam_of(SearchOptions(beam=1), setting))

    def answers(self, network: Any, x: Ragged, setting: Setting[TranslationOptions]) -> list[Answer]:
        """Return the texts that beam search finds: the best as "text", all of them, best first, as "n_best"."""
        return _written(network, x, setting, beam_of(setting.search, setting))

    def measure(self, answers: Sequence[Answer], truths: Sequence[Any]) -> dict[str, float]:
        """Return BLEU, chrF and the share of texts that are right to the letter."""
        found = [answer["text"] for answer in answers]
        return {
            "bleu": bleu(found, [[text] for text in truths]),
            "chrf": chrf(found, truths),
            "exact_match": accuracy(found, truths),
        }

    def notes(self) -> dict[str, str]:
        """Return sacrebleu's signature of the BLEU."""
        return {"bleu_signature": bleu_signature()}

    def show(self, model: SupervisedModel, x: Any, answer: Answer, *, colour: bool = False) -> str:
        """Return the best text; with n_best as many as it says, each with ln P, and an empty line after the last."""
        count = model.setting.search.n_best
        if count is None:
            return str(answer["text"])
        lines = [f"{best['log_probability']:.4f}\t{best['text']}" for best in answer["n_best"][:count]]
        return "\n".join([*lines, ""])

    def draw(
        self, model: SupervisedModel, examples: Sequence[Example], answers: Sequence[Answer], folder: Path
    ) -> list[Path]:
        """Draw where the decoder looked: pictures of the first texts, and a page of these."""
        pairs = zip(examples[:MOST_PICTURES], answers, strict=False)
        looks = [look(model, example.x, answer) for example, answer in pairs]
        return [*draw_looks(looks, folder), write_looks(looks, folder / "attention.html")]

    def example(self, folder: Path) -> list[str]:
        """Write made-up dates, as people write them and as machines do."""
        write_dates(folder / "dates.tsv")
        return [
            "elman train translation dates.tsv --level character --hidden-size 64 --embedding-size 32 -o dates-model",
            "echo '13 June 2031' | elman predict dates-model - --n-best 3",
        ]


def beam_of(options: SearchOptions, setting: Setting[TranslationOptions]) -> Beam:
    """Return the search that options ask for; a text has at most half as many tokens again as the longest met.

    Raises:
        UsageError: more texts are to be shown than the beam holds.
    """
    width = options.width(_WIDTH)
    longest = setting.codecs["target"].longest * 3 // 2 + 5
    alpha = 1.0 if options.alpha is None else options.alpha
    return Beam(width, options.normalisation or "gnmt", alpha, longest)


def _written(network: Any, x: Ragged, setting: Setting[TranslationOptions], beam: Beam) -> list[Answer]:
    target: Sentences = setting.codecs["target"]
    found: list[Answer] = []
    for hypotheses in _searched(network, x, target, beam):
        texts = [
            {"text": target.decode(h.tokens), "log_probability": h.log_probability, "score": h.score}
            for h in hypotheses
        ]
        found.append({**texts[0], "n_best": texts})
    return found


def _searched(network: Any, x: Ragged, target: Sentences, beam: Beam) -> list[list[Hypothesis]]:
    # No target holds an end of line, which would break an answer in two, nor what training did not know.
    step = without(network.step, [n for n in (target.codec.unknown, target.codec.end) if n is not None])
    return search(step, network.begin(x), len(x.values), network.boundary, beam)


@torch.no_grad()
def look(model: SupervisedModel, source: str, answer: Answer) -> Look:
    """Return where the decoder looks while it writes an answer."""
    codecs, network = model.setting.codecs, cast(Any, model.network)
    read, target = codecs["source"].encode(source), codecs["target"]
    x = padded([torch.tensor(read)])
    # Its tokens are those that were written; a text of subwords could be cut in other ways, too.
    (hypotheses,) = _searched(network, x, target, beam_of(model.setting.search, model.setting))
    written = (list(h.tokens) for h in hypotheses if target.decode(h.tokens) == answer["text"])
    said = next(written, target.encode(answer["text"]))
    y = padded([torch.tensor(said, dtype=torch.int64)])
    shares = network.shares(x, y)[0, : len(said)]  # (T, S)
    names = [[codecs[side].tokens[n] for n in numbers] for side, numbers in (("source", read), ("target", said))]
    texts = [(best["text"], best["log_probability"]) for best in answer["n_best"]]
    return Look(source, texts, names[0], names[1], shares.tolist())
