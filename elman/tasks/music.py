"""Music: pieces as piano rolls in, at each step which keys sound next; many to many in step, and new pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from elman.architectures import ManyToManyInStep, Numbers, Ragged
from elman.codecs.piano_roll import PianoRoll
from elman.engines.ragged import valid_steps
from elman.errors import DataError
from elman.heads import AutoregressiveBinaryHead, BinaryHead, Loss
from elman.layers import StackState
from elman.randomness import draw_generator
from elman.readers import Example, Reading
from elman.readers.music import file_of, read_music
from elman.readers.notes import KEYS
from elman.tasks.generated_music import write_melodies
from elman.tasks.music_files import write_piece
from elman.tasks.music_sampling import written_pieces
from elman.tasks.options import PlainLayers, SupervisedOptions
from elman.tasks.piano_roll_picture import draw_roll
from elman.tasks.supervised import Answer, Item, Setting, SupervisedTask, padded
from elman.training import TrainingConfig

if TYPE_CHECKING:
    from elman.tasks.supervised_model import SupervisedModel

_MOST_PICTURES = 8


class MusicOptions(PlainLayers, SupervisedOptions):
    """Options of music."""

    steps_per_beat: int = Field(4, ge=1, le=96, description="steps of the piano roll in a beat; rolls have theirs")
    keys: Literal["dependent", "independent"] = Field(
        "dependent", description="whether P of a key knows the lower keys of its step"
    )
    units: int = Field(256, ge=1, le=65_536, description="hidden units through which keys know each other")
    crop: int = Field(128, ge=1, le=10**6, description="steps that training reads of a piece, from anywhere")
    hidden_size: int = Field(256, ge=1, le=65_536, description="units of a layer")
    dropout: float = Field(0.5, ge=0, lt=1, description="between layers and before the output")
    batch_size: int = Field(8, ge=1, le=65_536, description="pieces of a batch")

    @model_validator(mode="after")
    def _refuse_units_of_nothing(self) -> MusicOptions:
        if self.keys == "independent" and self.differs("units"):
            raise ValueError("units has an effect with keys=dependent only; got keys=independent")
        return self


class MusicTraining(TrainingConfig):
    """Options of training, with the defaults of music."""

    default_epochs: ClassVar[int] = 40

    learning_rate: float = Field(5e-3, gt=0, le=1e4, description="highest learning rate")


class NextKeys(ManyToManyInStep):
    """Keys of a step in, those of the step after it out.

    What it reads are frames (B, T + 1, 88): silence or what sounded before, and then the T steps that it is to say.
    """

    def surprise(self, frames: Ragged) -> Tensor:
        """Return -ln P(y<t> | y<1..t-1>) (B, T) in nats, summed over keys; 0 beyond each length."""
        x, wanted = _shifted(frames)
        scores, lengths = self(x)
        head: Any = self.head
        nats: Tensor = head.steps(scores, wanted)
        return torch.where(valid_steps(lengths, nats.shape[1], nats.device), nats, 0.0)

    def loss(self, x: Ragged, targets: Any = None) -> Loss:  # type: ignore[override]
        """Return the loss of frames; they hold their own targets."""
        return super().loss(*_shifted(x))

    def step(self, keys: Tensor, state: StackState | None) -> tuple[Tensor, StackState]:
        """Return the head's scores of the step after keys (B, 88), and the state."""
        y, after = self.encoder.recurrent.step(keys, state)
        return self.head(self.top(y)), after


def _shifted(frames: Ragged) -> tuple[Ragged, Tensor]:
    """What is read at each step (B, T, 88), and what is to be said (B, T, 88)."""
    keys = frames.values.float()
    return Ragged(keys[:, :-1], frames.lengths - 1), keys[:, 1:]


class Music(SupervisedTask[MusicOptions]):
    """The keys of a piano that sound next, given all steps before."""

    name = "music"
    summary = "which keys sound next in a piece; writes new pieces as MIDI, sound and picture"
    shape = "many to many in step"
    config = MusicOptions
    training = MusicTraining
    selection = "nats_per_step"
    unit = "steps"
    sampling = ("length", "samples", "prompt", "temperature", "seed", "tempo", "output")

    def read(self, path: Path, how: Reading, config: MusicOptions) -> Iterator[Example]:
        """Yield pieces; see elman.readers.music."""
        return read_music(path, how)

    def fit(self, examples: Sequence[Example], config: MusicOptions) -> dict[str, Any]:
        """Return the steps of a beat; nothing is learnt of the pieces."""
        return {"roll": PianoRoll(config.steps_per_beat)}

    def identity(self, example: Example) -> Any:
        """Return the notes, or what a roll holds."""
        return (example.x.shape, example.x.tobytes()) if isinstance(example.x, np.ndarray) else example.x

    def told(self, example: Example) -> dict[str, Any]:
        """Return the file of the piece."""
        return {"path": file_of(example.where)}

    def described(self, setting: Setting[MusicOptions]) -> str:
        """Return how pieces are seen."""
        return f"{KEYS} keys, {setting.codecs['roll'].steps_per_beat} steps a beat"

    def encode(self, example: Example, setting: Setting[MusicOptions]) -> Item:
        """Return the frames (T + 1, 88) of a piece: silence, and its roll."""
        roll = setting.codecs["roll"].encode(example.x)
        if len(roll) < 2:
            raise DataError(f"{example.where}: must last at least 2 steps; got {len(roll)}", "raise steps_per_beat")
        frames = np.concatenate([np.zeros((1, KEYS), dtype=np.bool_), roll])
        return Item(torch.from_numpy(frames), None, len(roll))

    def augmented(self, item: Item, setting: Setting[MusicOptions]) -> Item:
        """Return some successive steps of a piece, with the one before them."""
        crop = setting.config.crop
        if item.length <= crop:
            return item
        begin = int(torch.randint(item.length - crop + 1, (), generator=draw_generator("crop")))
        return Item(item.x[begin : begin + crop + 1], None, crop)

    def network(self, setting: Setting[MusicOptions], seed: int, examples: Sequence[Example] = ()) -> NextKeys:
        """Keys, recurrent layers, a yes or no for each key."""
        config = setting.config
        head = (
            partial(AutoregressiveBinaryHead, labels=KEYS, units=config.units, seed=seed)
            if config.keys == "dependent"
            else partial(BinaryHead, labels=KEYS)
        )
        inputs = Numbers(KEYS, dropout=config.input_dropout)
        network = NextKeys(inputs, head, causal=True, dense=config.dense, seed=seed, **config.recurrent(setting.cell))
        if examples and network.head.bias is not None:
            with torch.no_grad():
                network.head.bias[:KEYS] = self._log_odds(examples, setting)
        return network

    @staticmethod
    def _log_odds(examples: Sequence[Example], setting: Setting[MusicOptions]) -> Tensor:
        """ln(p / (1 - p)) (88,) of each key's share p of the steps: what to say of a key before anything is learnt."""
        rolls = [setting.codecs["roll"].encode(example.x) for example in examples]
        sounding = torch.tensor(sum(roll.sum(axis=0) for roll in rolls))  # (88,)
        return torch.logit((sounding + 1) / (sum(map(len, rolls)) + 2))

    def collate(self, items: Sequence[Item], setting: Setting[MusicOptions]) -> tuple[Ragged, None]:
        """Return frames (B, T + 1, 88) with lengths."""
        return padded([item.x for item in items]), None

    def answers(self, network: Any, x: Ragged, setting: Setting[MusicOptions]) -> list[Answer]:
        """Return how surprising each step of a piece was, and how surprising all but the first on average."""
        found = []
        for row, length in zip(network.surprise(x).tolist(), (x.lengths - 1).tolist(), strict=True):
            found.append(
                {
                    "nats_per_step": sum(row[1:length]) / (length - 1),
                    "steps": length,
                    "steps_per_beat": setting.codecs["roll"].steps_per_beat,
                    "surprise": row[:length],
                }
            )
        return found

    def measure(self, answers: Sequence[Answer], truths: Sequence[Any]) -> dict[str, float]:
        """Return nats per step: the sum over keys of -ln P(y<t> | y<1..t-1>), its mean over t = 2..T of all pieces."""
        nats = sum(sum(answer["surprise"][1:]) for answer in answers)
        return {"nats_per_step": nats / sum(answer["steps"] - 1 for answer in answers)}

    def show(self, model: SupervisedModel, x: Any, answer: Answer, *, colour: bool = False) -> str:
        """Return nats per step, how many steps, and where the piece stands."""
        return f"{answer['nats_per_step']:.3f} nats per step\t{answer['steps']:,} steps\t{answer.get('where', '')}"

    def draw(
        self, model: SupervisedModel, examples: Sequence[Example], answers: Sequence[Answer], folder: Path
    ) -> list[Path]:
        """Draw the rolls of the first pieces, with how surprising each step was."""
        found = []
        for n, (example, answer) in enumerate(zip(examples, answers, strict=True), 1):
            if n <= _MOST_PICTURES:
                codec, title = PianoRoll(answer["steps_per_beat"]), Path(example.where).name
                path = folder / f"piece-{n}.png"
                found.append(draw_roll(codec.encode(example.x), path, codec.steps_per_beat, answer["surprise"], title))
        return found

    def sample(self, network: Any, setting: Setting[MusicOptions], options: Mapping[str, Any]) -> list[Answer]:
        """Write pieces into the folder `output`, each as MIDI, WAV and PNG; with a prompt they go on from that file."""
        roll: PianoRoll = setting.codecs["roll"]
        prompt = options["prompt"]
        opening = roll.encode(next(read_music(Path(prompt), Reading())).x) if prompt else None
        drawing = (options[name] for name in ("length", "samples", "temperature", "seed"))
        found: list[Answer] = []
        for n, piece in enumerate(written_pieces(network, opening, *drawing), 1):
            files = write_piece(options["output"], f"piece-{n}", piece, roll, options["tempo"])
            found.append({"steps": len(piece), "files": [str(file) for file in files]})
        return found

    def example(self, folder: Path) -> list[str]:
        """Write made-up pieces."""
        write_melodies(folder / "pieces")
        return [
            "elman train music pieces --steps-per-beat 2 --epochs 20",
            "elman sample pieces-model --samples 2 -o new",
            "elman predict pieces-model pieces -o looked-at",
        ]
