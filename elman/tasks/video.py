"""Video activity recognition: a clip in, one of K labels out, or one for every frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from elman.architectures import FramePatterns, Inputs
from elman.codecs.columns import Columns
from elman.codecs.saved import Codec
from elman.errors import DataError
from elman.readers import Example, Reading
from elman.readers.videos import Clip, VideoReading, read_videos
from elman.tasks.clip_picture import draw_clips
from elman.tasks.generated_signals import write_moving_blobs
from elman.tasks.options import LayerSizeOrNone
from elman.tasks.sequence_labels import LabelOptions, LabelTask, spread
from elman.tasks.supervised import Answer, Setting

if TYPE_CHECKING:
    from elman.tasks.supervised_model import SupervisedModel

_MOST_CLIPS = 12


class VideoOptions(LabelOptions):
    """Options of video activity recognition."""

    frame_size: int = Field(32, ge=2, le=1024, description="width and height that frames are made")
    colour: bool = Field(False, description="three channels; otherwise brightness alone")
    frames_per_second: float | None = Field(None, gt=0, le=1000, description="frames kept of videos; without it all")
    filters: tuple[LayerSizeOrNone, ...] = Field(
        (16, 32), description="patterns of each convolution of a frame; repeat for several, 0 reads the pixels"
    )
    motion: bool = Field(True, description="read the change since the frame before beside each frame")
    dropout: float = Field(0.3, ge=0, lt=1, description="between layers and before the output")


class Video(LabelTask[VideoOptions]):
    """A label for each clip, or for each frame."""

    name = "video"
    summary = "what happens in a clip, or in each of its frames"
    config: ClassVar[type[Any]] = VideoOptions
    steps = "frames"
    manifests = True

    def read(self, path: Path, how: Reading, config: VideoOptions) -> Iterator[Example]:
        """Yield clips with their labels; see elman.readers.videos."""
        frames = {name: getattr(config, name) for name in ("colour", "frames_per_second")}
        return read_videos(path, VideoReading(**vars(how), size=config.frame_size, **frames))

    def fit_inputs(self, examples: Sequence[Example], config: VideoOptions) -> dict[str, Codec]:
        """Return mean and deviation of each channel."""
        names = ("red", "green", "blue") if config.colour else ("brightness",)
        pixels = [example.x.frames.reshape(-1, len(names)).astype(np.float64) for example in examples]
        return {"pixels": Columns.of_numbers(dict(zip(names, np.concatenate(pixels).T, strict=True)))}

    def vectors(self, example: Example, setting: Setting[VideoOptions]) -> Tensor:
        """Return frames (T, S, S, C) of bytes."""
        size, channels = setting.config.frame_size, 3 if setting.config.colour else 1
        if not isinstance(example.x, Clip) or example.x.frames.shape[1:] != (size, size, channels):
            found = example.x.frames.shape[1:] if isinstance(example.x, Clip) else type(example.x).__name__
            raise DataError(f"{example.where}: must be frames of {size} x {size} x {channels}; got {found}")
        return torch.tensor(example.x.frames)

    def inputs(self, setting: Setting[VideoOptions], seed: int) -> Inputs:
        """Patterns of each frame."""
        config = setting.config
        filters = tuple(n for n in config.filters if n)
        scale = [(channel.mean, channel.deviation) for channel in setting.codecs["pixels"].columns]
        return FramePatterns(
            config.frame_size,
            3 if config.colour else 1,
            filters,
            motion=config.motion,
            scale=scale,
            dropout=config.input_dropout,
            seed=seed,
        )

    def named(self, x: Any, answer: Answer) -> str:
        """Return the path of a clip."""
        return str(x.path)

    def draw(
        self, model: SupervisedModel, examples: Sequence[Example], answers: Sequence[Answer], folder: Path
    ) -> list[Path]:
        """Draw frames with their labels, and the confusion matrix where labels are known."""
        chosen = spread(len(examples), _MOST_CLIPS)
        some = [examples[n] for n in chosen], [answers[n] for n in chosen]
        sheet = draw_clips(*some, folder / "contact_sheet.png")
        return [sheet, *super().draw(model, examples, answers, folder)]

    def example(self, folder: Path) -> list[str]:
        """Write made-up clips of moving blobs, as folders of images."""
        write_moving_blobs(folder / "blobs")
        return ["elman train video blobs --epochs 10", "elman predict blobs-model blobs/left -o answers"]
