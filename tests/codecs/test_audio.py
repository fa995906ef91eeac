"""Features of sound against librosa and scipy; resampling, statistics, masks, speed, crops."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import scipy.fft
import scipy.signal
import torch

from elman.codecs.audio import FORMS, SoundFeatures, cosines, mel, mel_filters, resampled
from elman.codecs.saved import codecs_from_json, codecs_to_json
from elman.codecs.sound_augmentation import WIDEST_FREQUENCY, WIDEST_TIME, cropped, drawn_speed, masked
from elman.errors import ModelFileError, UsageError
from elman.randomness import drawing
from elman.readers.recordings import Recording, SampleFile

GOLDEN = json.loads((Path(__file__).parent / "golden_audio.json").read_text(encoding="utf-8"))
RATE = 8000


def chirp() -> npt.NDArray[np.float32]:
    """The sound that the golden numbers were made of: a chirp, and a tone that comes in later."""
    t = np.arange(967) / RATE
    tone = 0.1 * np.sin(2 * np.pi * 2500 * t) * (t > 0.05)
    return (0.5 * np.sin(2 * np.pi * (300 * t + 6000 * t * t)) + tone).astype(np.float32)


def recording(samples: npt.NDArray[np.float32], rate: int = RATE) -> Recording:
    file = SampleFile()
    return Recording(Path("x.wav"), rate, len(samples), "", file.keep(samples.tobytes()), file)


@pytest.mark.parametrize("form", FORMS)
def test_features_are_those_of_librosa(form: str) -> None:
    found = SoundFeatures(RATE, form=form, bands=10, coefficients=5).spectra(chirp())
    # The golden numbers are rounded to 4 places and logarithms of sums taken in float64.
    assert torch.allclose(found, torch.tensor(GOLDEN[form]), atol=2e-4, rtol=0)


def test_golden_numbers_see_another_scale_window_or_range() -> None:
    made = SoundFeatures(RATE, bands=10)
    for wrong in (
        SoundFeatures(RATE, bands=10, window=0.024),
        SoundFeatures(RATE, bands=10, hop=0.0099),
        SoundFeatures(RATE + 100, bands=10),
    ):
        steps = min(13, len(wrong.spectra(chirp())))
        difference = wrong.spectra(chirp())[:steps] - torch.tensor(GOLDEN["log-mel"])[:steps]
        assert float(difference.abs().max()) > 0.01
    assert float((made.spectra(2 * chirp()) - made.spectra(chirp())).max()) == pytest.approx(np.log(4), abs=1e-4)


def test_filters_are_triangles_that_sum_to_one_between_their_corners() -> None:
    filters = mel_filters(16_000, 512, 40)
    assert filters.shape == (257, 40) and float(filters.max()) <= 1
    corner = 700 * (10 ** (mel(8000.0) / 41 / 2595) - 1)
    last = 700 * (10 ** (mel(8000.0) * 40 / 41 / 2595) - 1)
    bins = torch.linspace(0, 8000, 257)
    inner = (bins >= corner) & (bins <= last)
    assert torch.allclose(filters[inner].sum(dim=1), torch.ones(int(inner.sum())), atol=1e-5)


def test_cosines_are_scipys() -> None:
    x = np.random.default_rng(0).normal(size=(4, 20)).astype(np.float32)
    expected = scipy.fft.dct(x, type=2, norm="ortho", axis=1)[:, :13]
    assert torch.allclose(torch.tensor(x) @ cosines(20, 13), torch.tensor(expected), atol=1e-5)


@pytest.mark.parametrize("count", [1, 79, 80, 967, 8000])
def test_steps_are_known_before_features_are_made(count: int) -> None:
    samples = np.random.default_rng(count).normal(size=count).astype(np.float32)
    for rate, speed in ((8000, 1.0), (11_025, 1.0), (44_100, 1.07), (8000, 0.91)):
        sound, made = recording(samples, rate), SoundFeatures(RATE)
        features = made(sound, speed)
        assert features.shape == (made.steps(sound, speed), 40) and bool(features.isfinite().all())


@pytest.mark.parametrize("rate", [11_025, 16_000, 44_100, 8321.7])
def test_resampling_keeps_length_and_tone(rate: float) -> None:
    count = 4000
    tone = np.sin(2 * np.pi * 440 * np.arange(count) / rate).astype(np.float32)
    made = resampled(tone, rate, RATE)
    assert len(made) == round(count * RATE / rate)
    wanted = np.sin(2 * np.pi * 440 * np.arange(len(made)) / RATE)
    middle = slice(200, len(made) - 200)  # filters ring at both ends
    assert np.abs(made[middle] - wanted[middle]).max() < 1e-3
    assert resampled(tone, RATE, RATE) is tone


def test_what_the_lower_rate_cannot_hold_is_filtered_out() -> None:
    tone = np.sin(2 * np.pi * 6000 * np.arange(16_000) / 16_000).astype(np.float32)
    assert np.abs(resampled(tone, 16_000, 8000)[200:-200]).max() < 1e-3


def test_speed_shortens_and_raises_the_pitch() -> None:
    tone = recording(np.sin(2 * np.pi * 1000 * np.arange(8000) / RATE).astype(np.float32))
    made = SoundFeatures(RATE)
    slow, fast = (made.spectra(resampled(tone.samples(), RATE * s, RATE)) for s in (1.0, 1.1))
    assert len(fast) == made.steps(tone, 1.1) == 1 + round(8000 / 1.1) // 80
    assert int(fast.mean(dim=0).argmax()) > int(slow.mean(dim=0).argmax())


def test_features_are_made_once_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    file, sounds = SampleFile(), [chirp(), chirp()[:600] / 2]
    recordings = [
        Recording(Path("x.wav"), RATE, len(x), str(n), file.keep(x.astype(np.float32).tobytes()), file)
        for n, x in enumerate(sounds)
    ]
    codecs = [SoundFeatures(RATE), SoundFeatures(RATE, form="mfcc")]
    cases = [(codec, one, speed) for codec in codecs for one in recordings for speed in (0.9, 1.0)]
    for codec, one, speed in cases:
        assert torch.equal(codec.kept(one, speed), codec(one, speed))
    monkeypatch.setattr(SoundFeatures, "spectra", None)
    kept = [codec.kept(one, speed) for codec, one, speed in cases]
    monkeypatch.undo()
    for features, (codec, one, speed) in zip(kept, cases, strict=True):
        assert torch.equal(features, codec(one, speed))
    assert [len(x) for x in sounds] == [one.count for one in recordings]
    assert all((one.samples() == x.astype(np.float32)).all() for one, x in zip(recordings, sounds, strict=True))


def test_normalisation_over_the_recording() -> None:
    features = SoundFeatures(RATE, bands=10)(recording(chirp()))
    assert torch.allclose(features.mean(dim=0), torch.zeros(10), atol=1e-5)
    assert torch.allclose(features.std(dim=0, correction=0), torch.ones(10), atol=1e-4)
    silent = SoundFeatures(RATE)(recording(np.zeros(800, dtype=np.float32)))
    assert bool((silent == 0).all())


def test_normalisation_over_training_data_and_through_a_file() -> None:
    draws = np.random.default_rng(0)
    sounds = [recording(draws.normal(size=n).astype(np.float32)) for n in (500, 4000)]
    made = SoundFeatures(RATE, normalisation="training").fit(sounds)
    together = torch.cat([made(sound) for sound in sounds])
    assert torch.allclose(together.mean(dim=0), torch.zeros(40), atol=1e-4)
    assert torch.allclose(together.std(dim=0, correction=0), torch.ones(40), atol=1e-4)
    fast = [recording(draws.normal(size=4000).astype(np.float32), 16_000)]
    of_fast = SoundFeatures(RATE, normalisation="training").fit(fast)(fast[0])
    assert torch.allclose(of_fast.mean(dim=0), torch.zeros(40), atol=1e-4), "statistics are of what is listened to"
    silent = SoundFeatures(RATE, normalisation="training").fit([recording(np.zeros(800, dtype=np.float32))])
    assert silent.deviations is not None and silent.deviations.tolist() == pytest.approx([1e-3] * 40)
    again = codecs_from_json(json.loads(json.dumps(codecs_to_json({"sound": made}))))["sound"]
    assert torch.equal(again(sounds[0]), made(sounds[0]))
    plain = SoundFeatures(RATE, bands=12, coefficients=12, form="mfcc")
    assert plain.fit(sounds) is plain
    assert codecs_from_json(codecs_to_json({"sound": plain}))["sound"].to_json() == plain.to_json()


@pytest.mark.parametrize(
    "options",
    [
        {"window": 0.001, "hop": 1 / RATE, "bands": 1},  # 8 samples, from each to the next
        {"window": 0.032, "hop": 0.032, "bands": 64},  # 256 samples, which are their own transform
        {"form": "mfcc", "coefficients": 1},
        {"form": "mfcc", "coefficients": 40},
    ],
)
def test_numbers_at_the_ends_of_their_range_are_taken(options: dict[str, object]) -> None:
    made = SoundFeatures(RATE, **options)  # type: ignore[arg-type]
    assert made.fourier_size == {0.001: 8, 0.032: 256}.get(made.window, 256), "the smallest power of 2"
    assert made(recording(chirp())).shape == (made.steps(recording(chirp())), made.size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "logmel"}, "form must be one of log-mel, mfcc; got 'logmel'"),
        ({"normalisation": "none"}, "normalisation must be one of"),
        ({"rate": 300}, "rate must be 1,000 to 768,000 Hz; got 300"),
        ({"window": 0.0005}, "window must be at least 8 samples; got 4"),
        ({"window": 2.0}, "window must be at most 1 second"),
        ({"hop": 0.05}, "hop must be 1 sample to the window, 200; got 400"),
        ({"bands": 65}, "bands must be 1 to 64, a quarter of the transform; got 65"),
        ({"form": "mfcc", "coefficients": 41}, "coefficients must be 1 to bands, 40; got 41"),
    ],
)
def test_numbers_outside_their_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SoundFeatures(**{"rate": RATE, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": "8000"}, "rate must be"),
        ({"rate": 10}, "rate must be"),
        ({"means": [0.0]}, "for 'training' only"),
        ({"normalisation": "training"}, "must have means and deviations"),
        ({"normalisation": "training", "means": [0.0], "deviations": [1.0]}, "must have means and deviations"),
        ({"means": "x"}, "must be a list of numbers"),
    ],
)
def test_damaged_descriptions_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        SoundFeatures.from_json({**SoundFeatures(RATE).to_json(), **change})


def test_masks_cover_spans_no_wider_than_said() -> None:
    features = torch.ones(100, 40)
    covered = []
    for n in range(60):
        with drawing(n):
            made = masked(features, 1, 1)
        steps, bands = (made == 0).all(dim=1), (made == 0).all(dim=0)
        assert int(steps.sum()) <= WIDEST_TIME * 100 and int(bands.sum()) <= WIDEST_FREQUENCY * 40
        for line in (steps, bands):
            at = line.nonzero().flatten()
            assert len(at) == 0 or int(at[-1] - at[0]) + 1 == len(at), "a mask has a hole"
        expected = torch.ones(100, 40)
        expected[steps] = 0
        expected[:, bands] = 0
        assert torch.equal(made, expected)
        covered.append((int(steps.sum()), int(bands.sum())))
    assert {steps for steps, _ in covered} == set(range(11)) and {bands for _, bands in covered} == set(range(9))
    assert torch.equal(features, torch.ones(100, 40)), "the features themselves must stay"
    assert torch.equal(masked(features, 0, 0), features)


def test_draws_are_functions_of_the_seed() -> None:
    features = torch.arange(60.0).reshape(30, 2)
    made = []
    for seed in (1, 1, 2):
        with drawing(seed, "train"):
            made.append(([drawn_speed(0.1) for _ in range(8)], cropped(features, 10)))
    assert made[0][0] == made[1][0] != made[2][0] and len(set(made[0][0])) > 1
    assert torch.equal(made[0][1], made[1][1])


def test_sounds_are_played_at_three_speeds() -> None:
    speeds = []
    for seed in range(40):
        with drawing(seed, "train"):
            speeds.append(drawn_speed(0.1))
    assert set(speeds) == {0.9, 1.0, 1.1} and drawn_speed(0) == 1


def test_crops_are_consecutive_and_begin_anywhere() -> None:
    features = torch.arange(12.0).unsqueeze(1)
    begins = set()
    with drawing(0):
        for _ in range(100):
            crop = cropped(features, 10)
            assert len(crop) == 10 and torch.equal(crop.diff(dim=0), torch.ones(9, 1))
            begins.add(int(crop[0]))
        assert begins == {0, 1, 2}
        assert cropped(features, 12) is features
