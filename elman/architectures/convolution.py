"""Convolutions below the recurrent part: patterns of neighbouring steps, and of neighbouring pixels of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from elman.architectures.inputs import Inputs, Ragged
from elman.engines.ragged import valid_steps, without_padding
from elman.errors import UsageError
from elman.layers.initialisers import fill_normal
from elman.randomness import generator


class StepPatterns(nn.Module):
    """a<t> = relu(sum over k of W_k x<t+k> + b), k from -(w-1)/2 to (w-1)/2: detectors of motifs of w steps.

    Beyond the ends of a sequence x is zero. An output sees (w-1)/2 steps of the future.

    Args:
        inputs: What makes x<t>.
        filters: Number of patterns, the length of a<t>.
        width: w, odd.
        seed: First values as a function of this number.

    Raises:
        UsageError: the width is not odd.
    """

    def __init__(self, inputs: Inputs, filters: int, width: int, *, seed: int = 0) -> None:
        super().__init__()
        if width % 2 == 0:
            raise UsageError(f"filter_width: must be odd, so that a pattern has a centre; got {width}")
        self.inputs, self.output_size = inputs, filters
        self.weight, self.bias = _first_values((filters, inputs.output_size, width), seed, "step patterns")

    def forward(self, x: Ragged) -> Ragged:
        """Return vectors (B, T, filters)."""
        vectors = self.inputs(x)
        clean = without_padding(vectors.values, vectors.lengths).transpose(1, 2)  # (B, I, T)
        found = nn.functional.conv1d(clean, self.weight, self.bias, padding="same")  # (B, filters, T)
        return Ragged(torch.relu(found).transpose(1, 2), vectors.lengths)


class FramePatterns(nn.Module):
    """Frames of pixels to vectors: layers of relu(convolution), each halving width and height, then all that is left.

    Args:
        size: S, width and height of a frame.
        channels: C of a pixel.
        filters: Patterns of each layer, lowest first; with none, the pixels themselves are the vector.
        seed: First values as a function of this number.

    Pixels are bytes; they become numbers from -1 to 1.
    """

    KERNEL = 3

    def __init__(self, size: int, channels: int, filters: Sequence[int], *, seed: int = 0) -> None:
        super().__init__()
        made = [
            _first_values((above, below, self.KERNEL, self.KERNEL), seed, f"frame patterns {n}")
            for n, (below, above) in enumerate(pairwise((channels, *filters)))
        ]
        self.weights = nn.ParameterList(weight for weight, _ in made)
        self.biases = nn.ParameterList(bias for _, bias in made)
        for _ in filters:
            size = (size + 1) // 2
        self.output_size = size * size * (channels, *filters)[-1]

    def forward(self, x: Ragged) -> Ragged:
        """Return vectors (B, T, output_size) of frames (B, T, S, S, C)."""
        real = valid_steps(x.lengths, x.values.shape[1], x.values.device)  # (B, T)
        frames = x.values[real].to(self._type()) / 127.5 - 1  # (N, S, S, C)
        frames = frames.permute(0, 3, 1, 2)  # (N, C, S, S)
        for weight, bias in zip(self.weights, self.biases, strict=True):
            frames = torch.relu(nn.functional.conv2d(frames, weight, bias, stride=2, padding=1))
        vectors = frames.new_zeros(*real.shape, self.output_size)
        vectors[real] = frames.flatten(1)
        return Ragged(vectors, x.lengths)

    def _type(self) -> torch.dtype:
        return self.weights[0].dtype if len(self.weights) else torch.get_default_dtype()


def _first_values(shape: tuple[int, ...], seed: int, purpose: str) -> tuple[nn.Parameter, nn.Parameter]:
    """Weights normal with variance 2 / (values that an output reads), zero biases (He et al. 2015, equation 10)."""
    weight = nn.Parameter(torch.empty(shape))
    with torch.no_grad():
        fill_normal(weight, generator(seed, "initialise", purpose))
        weight.mul_((2 / weight[0].numel()) ** 0.5)
    return weight, nn.Parameter(torch.zeros(shape[0]))
