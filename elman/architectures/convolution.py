"""Convolutions below the recurrent part: patterns of neighbouring steps, and of neighbouring pixels of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from elman.architectures.inputs import Inputs, Ragged
from elman.engines.ragged import valid_steps, without_padding
from elman.errors import UsageError
from elman.layers.initialisers import fill_normal
from elman.layers.regularisers import check_probability, drop
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


class Places(nn.Module):
    """Where a step is, beside its vector: [x<t>, sin(2^k pi u), cos(2^k pi u) for k = 0 ... n-1], u = (t - 1/2) / T.

    A pattern that matters at one place of sequences that are cut alike, as windows around a site are, can be told from
    the same pattern elsewhere.

    Args:
        inputs: What makes x<t>.
        octaves: n.
    """

    def __init__(self, inputs: Inputs, octaves: int) -> None:
        super().__init__()
        self.inputs, self.octaves = inputs, octaves
        self.output_size = inputs.output_size + 2 * octaves

    def forward(self, x: Ragged) -> Ragged:
        """Return vectors (B, T, output_size)."""
        vectors = self.inputs(x)
        values = vectors.values
        step = torch.arange(values.shape[1], device=values.device) + 0.5  # (T,)
        share = (step / vectors.lengths.to(values.device)[:, None]).to(values.dtype)  # (B, T)
        angles = share[..., None] * torch.pi * 2.0 ** torch.arange(self.octaves, device=values.device)  # (B, T, n)
        return Ragged(torch.cat([values, torch.sin(angles), torch.cos(angles)], dim=2), vectors.lengths)


class FramePatterns(nn.Module):
    """Frames of pixels to vectors: layers of relu(convolution), each halving width and height, then all that is left.

    Args:
        size: S, width and height of a frame.
        channels: C of a pixel.
        filters: Patterns of each layer, lowest first; with none, the pixels themselves are the vector.
        motion: Beside each pixel stands its change since the frame before, 0 in the first.
        scale: Mean and deviation of each channel, by which bytes are standardised; None for -1 to 1.
        dropout: Probability of dropping components of a clip's vectors, the same at all steps, in training.
        seed: First values as a function of this number.
    """

    KERNEL = 3
    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        size: int,
        channels: int,
        filters: Sequence[int],
        *,
        motion: bool = False,
        scale: Sequence[tuple[float, float]] | None = None,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        mean, deviation = torch.tensor(scale or [(127.5, 127.5)] * channels).T  # (C,) both
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("deviation", deviation, persistent=False)
        self.motion, channels = motion, 2 * channels if motion else channels
        self.dropout = check_probability("input_dropout", dropout)
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
        frames = ((x.values - self.mean) / self.deviation).movedim(4, 2)  # (B, T, C, S, S)
        if self.motion:
            change = torch.diff(frames, dim=1, prepend=frames[:, :1])
            frames = torch.cat([frames, change], dim=2)  # (B, T, 2 C, S, S)
        frames = frames[real]  # (N, C, S, S)
        for weight, bias in zip(self.weights, self.biases, strict=True):
            frames = torch.relu(nn.functional.conv2d(frames, weight, bias, stride=2, padding=1))
        vectors = frames.new_zeros(*real.shape, self.output_size)
        vectors[real] = frames.flatten(1)
        if self.training:
            vectors = drop(vectors, self.dropout, "input dropout", locked=True)
        return Ragged(vectors, x.lengths)


def _first_values(shape: tuple[int, ...], seed: int, purpose: str) -> tuple[nn.Parameter, nn.Parameter]:
    """Weights normal with variance 2 / (values that an output reads), zero biases (He et al. 2015, equation 10)."""
    weight = nn.Parameter(torch.empty(shape))
    with torch.no_grad():
        fill_normal(weight, generator(seed, "initialise", purpose))
        weight.mul_((2 / weight[0].numel()) ** 0.5)
    return weight, nn.Parameter(torch.zeros(shape[0]))
