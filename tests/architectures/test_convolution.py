"""Convolutions below the recurrent part: by their sums, ragged, and with gradients by finite differences."""

from __future__ import annotations

import math

import pytest
import torch

from elman.architectures import FramePatterns, Numbers, Places, Ragged, StepPatterns
from elman.errors import UsageError

LENGTHS = torch.tensor([5, 1, 3])


def steps(dtype: torch.dtype = torch.float64) -> Ragged:
    values = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0), dtype=dtype)
    for row, length in enumerate(LENGTHS):
        values[row, length:] = torch.nan  # never read
    return Ragged(values, LENGTHS)


def test_step_patterns_are_their_sum() -> None:
    x, patterns = steps(), StepPatterns(Numbers(2), 4, 3).double()
    with torch.no_grad():
        patterns.bias.copy_(torch.tensor([0.1, -0.2, 0.3, 0.0]))
    found = patterns(x)
    assert found.values.shape == (3, 5, 4) and found.lengths is LENGTHS
    for row, length in enumerate(LENGTHS.tolist()):
        for t in range(length):
            total = patterns.bias.clone()
            for k in (-1, 0, 1):
                if 0 <= t + k < length:
                    total = total + patterns.weight[:, :, k + 1] @ x.values[row, t + k]
            torch.testing.assert_close(found.values[row, t], total.clamp(min=0))


def test_places_are_their_sines_and_cosines_of_each_sequence_s_own_length() -> None:
    x, places = steps(), Places(Numbers(2), 3)
    found = places(x)
    assert found.values.shape == (3, 5, places.output_size) == (3, 5, 2 + 2 * 3) and found.lengths is LENGTHS
    for row, length in enumerate(LENGTHS.tolist()):
        torch.testing.assert_close(found.values[row, :length, :2], x.values[row, :length])
        for t in range(1, length + 1):
            angles = [2**k * math.pi * (t - 0.5) / length for k in range(3)]
            wanted = [*map(math.sin, angles), *map(math.cos, angles)]
            assert found.values[row, t - 1, 2:].tolist() == pytest.approx(wanted, abs=1e-6)


def test_frame_patterns_are_torch_s_layer_by_layer() -> None:
    frames = torch.randint(0, 256, (3, 5, 7, 7, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    patterns = FramePatterns(7, 3, (4, 6)).double()
    found = patterns(Ragged(frames, LENGTHS))
    assert found.values.shape == (3, 5, patterns.output_size) == (3, 5, 2 * 2 * 6)
    layers = [torch.nn.Conv2d(3, 4, 3, 2, 1).double(), torch.nn.Conv2d(4, 6, 3, 2, 1).double()]
    for layer, weight, bias in zip(layers, patterns.weights, patterns.biases, strict=True):
        layer.weight, layer.bias = weight, bias
    network = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), torch.nn.Flatten())
    for row, length in enumerate(LENGTHS.tolist()):
        for t in range(5):
            wanted = network(frames[row, t].double().permute(2, 0, 1)[None] / 127.5 - 1)[0]
            torch.testing.assert_close(found.values[row, t], wanted if t < length else torch.zeros_like(wanted))


def test_motion_is_the_change_since_the_frame_before() -> None:
    frames = torch.randint(0, 256, (3, 5, 2, 2, 1), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = FramePatterns(2, 1, (), motion=True)(Ragged(frames, LENGTHS)).values  # (3, 5, 8)
    pixels = frames.float().reshape(3, 5, 4) / 127.5 - 1
    torch.testing.assert_close(found[0, :, :4], pixels[0])
    torch.testing.assert_close(found[0, 1:, 4:], pixels[0, 1:] - pixels[0, :-1])
    assert not found[:, 0, 4:].any() and not found[1, 1:].any()


def test_the_channels_of_change_stand_behind_those_of_the_frame_each_standardised_by_its_own_scale() -> None:
    scale = [(100.0, 50.0), (20.0, 4.0)]
    frames = torch.randint(0, 256, (1, 2, 2, 2, 2), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = FramePatterns(2, 2, (), motion=True, scale=scale)(Ragged(frames, torch.tensor([2])))
    before, after = (
        [[(v - mean) / by for v in frames[0, t, :, :, c].flatten().tolist()] for c, (mean, by) in enumerate(scale)]
        for t in range(2)
    )
    change = [[b - a for a, b in zip(*pair, strict=True)] for pair in zip(before, after, strict=True)]
    wanted = [value for channel in (*after, *change) for value in channel]
    assert found.values[0, 1].tolist() == pytest.approx(wanted, rel=1e-5)


def test_dropout_of_frames_holds_one_mask_for_a_clip_in_training_only() -> None:
    frames, patterns = torch.full((2, 4, 6, 6, 1), 255, dtype=torch.uint8), FramePatterns(6, 1, (), dropout=0.5)
    found = patterns(Ragged(frames, torch.tensor([4, 4]))).values  # of ones: dropped, or scaled up
    assert set(found.unique().tolist()) == {0.0, 2.0} and not torch.equal(found[0], found[1])
    assert torch.equal(found, found[:, :1].expand_as(found))
    assert bool((patterns.eval()(Ragged(frames, torch.tensor([4, 4]))).values == 1).all())


def test_without_patterns_pixels_are_the_vector() -> None:
    frames = torch.tensor([0, 51, 204, 255], dtype=torch.uint8).reshape(1, 1, 2, 2, 1)
    patterns = FramePatterns(2, 1, ())
    assert patterns(Ragged(frames, torch.tensor([1]))).values.tolist() == [
        [[-1.0, pytest.approx(-0.6), pytest.approx(0.6), 1.0]]
    ]


def test_gradients_are_those_of_finite_differences() -> None:
    patterns = StepPatterns(Numbers(2), 3, 3, seed=1).double()
    values = steps().values

    def output(weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        found = torch.func.functional_call(patterns, {"weight": weight, "bias": bias}, (Ragged(values, LENGTHS),))
        return found.values[0].sum() + found.values[2, :3].square().sum()

    assert torch.autograd.gradcheck(
        output, (patterns.weight.detach().requires_grad_(), (patterns.bias + 0.1).detach().requires_grad_())
    )
    small = FramePatterns(3, 1, (2,), seed=1).double()
    frames = torch.randint(0, 256, (2, 2, 3, 3, 1), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    read = small(Ragged(frames, torch.tensor([2, 1]))).values
    read.sum().backward()
    assert small.weights[0].grad is not None and bool(small.weights[0].grad.abs().sum() > 0)


def test_first_values_keep_the_size_of_what_is_read() -> None:
    x = torch.randn(64, 9, 8, generator=torch.Generator().manual_seed(0))
    found = StepPatterns(Numbers(8), 200, 5)(Ragged(x, torch.full((64,), 9))).values[:, 2:-2]
    assert float(found.detach().square().mean()) == pytest.approx(1, abs=0.1)
    assert not torch.equal(StepPatterns(Numbers(8), 2, 3, seed=1).weight, StepPatterns(Numbers(8), 2, 3).weight)


def test_an_even_width_is_refused() -> None:
    with pytest.raises(UsageError, match=r"filter_width: must be odd.*got 4"):
        StepPatterns(Numbers(2), 3, 4)
