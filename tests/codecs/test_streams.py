"""Parallel streams: continuous from batch to batch, every token a target once, random lengths by seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from elman.codecs.streams import Streams
from elman.errors import DataError


def widths(streams: Streams) -> list[int]:
    return [streams.batch(0, n)[0].shape[1] for n in range(streams.batches_per_epoch(0))]


def whole(streams: Streams, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
    batches = [streams.batch(epoch, n) for n in range(streams.batches_per_epoch(epoch))]
    return torch.cat([x for x, _ in batches], 1), torch.cat([y for _, y in batches], 1)


@pytest.mark.parametrize("random_length", [False, True])
def test_batches_are_continuous_and_each_token_is_a_target_once(random_length: bool) -> None:
    tokens = np.arange(1003, dtype=np.uint16)
    streams = Streams(tokens, 4, 16, random_length=random_length, seed=5)
    inputs, targets = whole(streams, 0)
    rows = torch.from_numpy(tokens[:1000].astype(np.int64)).view(4, 250)
    assert torch.equal(inputs, rows[:, :-1])
    assert torch.equal(targets, rows[:, 1:])


@pytest.mark.parametrize(
    ("count", "wanted"), [(2, [1]), (16, [15]), (17, [16]), (18, [16, 1]), (33, [16, 16]), (40, [16, 16, 7])]
)
def test_segments_have_their_length_and_the_last_what_is_left(count: int, wanted: list[int]) -> None:
    assert widths(Streams(np.zeros(3 * count + 2, dtype=np.uint16), 3, 16)) == wanted


def test_a_batch_is_a_function_of_seed_epoch_and_number() -> None:
    tokens = np.arange(1000, dtype=np.uint32)
    one, two = (Streams(tokens, 2, 16, random_length=True, seed=1) for _ in range(2))
    assert torch.equal(two.batch(3, 4)[0], one.batch(3, 4)[0])
    lengths = [[s.batch(e, n)[0].shape[1] for n in range(8)] for s, e in ((one, 0), (one, 1))]
    assert lengths[0] != lengths[1]
    assert lengths[0] != [Streams(tokens, 2, 16, random_length=True, seed=2).batch(0, n)[0].shape[1] for n in range(8)]


def test_random_lengths_stay_near_their_mean() -> None:
    streams = Streams(np.zeros(200_000, dtype=np.uint16), 1, 40, random_length=True, seed=0)
    lengths = np.array(widths(streams)[:-1])
    # One in twenty is drawn around 20, the rest around 40, both with a deviation of 40 / 14; what is drawn is cut off.
    short, usual = lengths[lengths < 30], lengths[lengths >= 30]
    assert len(short) / len(lengths) == pytest.approx(0.05, abs=0.015)
    assert (short.mean(), usual.mean()) == (pytest.approx(19.5, abs=0.8), pytest.approx(39.5, abs=0.2))
    assert (short.std(), usual.std()) == (pytest.approx(40 / 14, abs=0.6), pytest.approx(40 / 14, abs=0.15))
    assert set(widths(Streams(np.zeros(300, dtype=np.uint16), 1, 1, random_length=True))) == {1, 2}, "from 1 to 2 T"


def test_a_text_too_short_for_its_streams_is_refused() -> None:
    with pytest.raises(DataError, match="poem: must have at least 2 tokens for each of 8 streams; got 12 in all"):
        Streams(np.zeros(12, dtype=np.uint16), 8, 4, where="poem")
