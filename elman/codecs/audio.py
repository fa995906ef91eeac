"""Sound to features: the short-time spectrum on the mel scale, its logarithm or cepstrum, normalised."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from elman.errors import DataError, MissingExtraError, ModelFileError, UsageError
from elman.readers.recordings import FASTEST, SLOWEST, Recording, SampleFile

FORMS = ("log-mel", "mfcc")
NORMALISATIONS = ("utterance", "training")
_RANGE = 80.0 * math.log(10) / 10
_TINY = 1e-10
_LEAST_DEVIATION = 1e-3


def mel(frequency: float | Tensor) -> Any:
    """Return m = 2595 log10(1 + f / 700) of a frequency in Hz.

    Source: O'Shaughnessy 1987, "Speech communication", as in HTK.

    Example:
        >>> round(mel(1000.0))
        1000
    """
    if isinstance(frequency, Tensor):
        return 2595 * torch.log10(1 + frequency / 700)
    return 2595 * math.log10(1 + frequency / 700)


def mel_filters(rate: int, size: int, bands: int) -> Tensor:
    """Return triangular filters (size / 2 + 1, bands) from 0 Hz to rate / 2, their corners equally far apart in mel.

    Filter n rises from corner n to 1 at corner n + 1 and falls to 0 at corner n + 2, linearly in Hz.

    Args:
        rate: Samples a second.
        size: Of the Fourier transform.
        bands: How many filters.
    """
    corners = 700 * (
        10 ** (torch.linspace(0, mel(rate / 2), bands + 2, dtype=torch.float64) / 2595) - 1
    )  # (bands + 2,)
    bins = torch.linspace(0, rate / 2, size // 2 + 1, dtype=torch.float64).unsqueeze(1)  # (size / 2 + 1, 1)
    widths = corners.diff()
    rising = (bins - corners[:-2]) / widths[:-1]
    falling = (corners[2:] - bins) / widths[1:]
    return torch.minimum(rising, falling).clamp_min(0).float()


def cosines(bands: int, coefficients: int) -> Tensor:
    """Return the first columns (bands, coefficients) of the orthonormal discrete cosine transform (type 2).

    D[n, k] = sqrt((2 - [k = 0]) / bands) cos(pi k (n + 1/2) / bands)
    """
    n, k = torch.arange(bands, dtype=torch.float64).unsqueeze(1), torch.arange(coefficients, dtype=torch.float64)
    scale = torch.where(k == 0, 1 / bands, 2 / bands).sqrt()
    return (scale * torch.cos(math.pi * k * (n + 0.5) / bands)).float()


def resampled(samples: npt.NDArray[np.float32], rate: float, wanted: int) -> npt.NDArray[np.float32]:
    """Return samples (N,) of one rate at another: max(1, round(N wanted / rate)) of them.

    Raises:
        MissingExtraError: soxr is not installed.
    """
    if rate == wanted:
        return samples
    try:
        import soxr  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError(
            "audio: soxr must be installed to change the rate of sounds; got none", "pip install 'elman[audio]'"
        ) from error
    made = soxr.resample(samples, rate, wanted)
    count = max(1, round(len(samples) * wanted / rate))
    return np.pad(made[:count], (0, max(count - len(made), 0)))


class SoundFeatures:
    """Recordings to features x<t> of equal steps of time.

        S[t, f] = | sum over n of w[n] x[t hop + n - window / 2] exp(-2 pi i f n / size) | ^ 2
        log-mel    ln sum over f of S[t, f] filter[f, band], not lower than 80 dB under the recording's largest
        mfcc       the first coefficients of its cosine transform

    w is Hann's window and step t lies around sample t hop, zeros standing beyond both ends: T = 1 + floor(N / hop).
    Normalised, a feature has mean 0 and deviation 1, over its recording or over all training steps.

    Args:
        rate: Samples a second that are looked at; recordings of higher rates are resampled, lower ones refused.
        form: "log-mel" or "mfcc".
        bands: Mel filters.
        coefficients: Of mfcc, at most `bands`.
        window: Length of the window in seconds.
        hop: From one step to the next, in seconds.
        normalisation: "utterance" or "training".
        means, deviations: (F,) of the training steps; None before `fit`, and for "utterance".

    Raises:
        UsageError: a number outside its range.

    Source: Davis and Mermelstein 1980, "Comparison of parametric representations for monosyllabic word recognition".
    """

    kind = "sound features"

    def __init__(
        self,
        rate: int,
        *,
        form: str = "log-mel",
        bands: int = 40,
        coefficients: int = 13,
        window: float = 0.025,
        hop: float = 0.01,
        normalisation: str = "utterance",
        means: Tensor | None = None,
        deviations: Tensor | None = None,
    ) -> None:
        self.rate, self.form, self.bands, self.coefficients = rate, form, bands, coefficients
        self.window, self.hop, self.normalisation = window, hop, normalisation
        self.means, self.deviations = means, deviations
        self.window_samples, self.hop_samples = round(window * rate), round(hop * rate)
        self._kept: WeakKeyDictionary[SampleFile, dict[tuple[int, float], tuple[int, int]]] = WeakKeyDictionary()
        self._check()

    def _check(self) -> None:
        checks: list[tuple[bool, str]] = [
            (self.form in FORMS, f"form must be one of {', '.join(FORMS)}; got {self.form!r}"),
            (
                self.normalisation in NORMALISATIONS,
                f"normalisation must be one of {', '.join(NORMALISATIONS)}; got {self.normalisation!r}",
            ),
            (SLOWEST <= self.rate <= FASTEST, f"rate must be {SLOWEST:,} to {FASTEST:,} Hz; got {self.rate}"),
            (self.window_samples >= 8, f"window must be at least 8 samples; got {self.window_samples}"),
            (self.window <= 1, f"window must be at most 1 second; got {self.window:g}"),
            (
                1 <= self.hop_samples <= self.window_samples,
                f"hop must be 1 sample to the window, {self.window_samples}; got {self.hop_samples}",
            ),
            (
                1 <= self.bands <= self.fourier_size // 4,
                f"bands must be 1 to {self.fourier_size // 4}, a quarter of the transform; got {self.bands}",
            ),
            (
                self.form != "mfcc" or 1 <= self.coefficients <= self.bands,
                f"coefficients must be 1 to bands, {self.bands}; got {self.coefficients}",
            ),
        ]
        for holds, problem in checks:
            if not holds:
                raise UsageError(f"sound: {problem}")

    @property
    def fourier_size(self) -> int:
        """Size of the Fourier transform: the smallest power of 2 that the window fits into."""
        return 1 << (self.window_samples - 1).bit_length()

    @property
    def size(self) -> int:
        """Length F of a step's vector."""
        return self.bands if self.form == "log-mel" else self.coefficients

    @property
    def step_seconds(self) -> float:
        """Seconds from one step to the next: those of `hop`, rounded to whole samples."""
        return self.hop_samples / self.rate

    @cached_property
    def _fixed(self) -> tuple[Tensor, Tensor, Tensor]:
        """Window, filters, cosines."""
        filters = mel_filters(self.rate, self.fourier_size, self.bands)
        return torch.hann_window(self.window_samples), filters, cosines(self.bands, self.coefficients)

    def check(self, recording: Recording, where: str) -> None:
        """Refuse a recording that does not hold the frequencies that are listened to.

        Raises:
            DataError: its rate is too low.
        """
        if recording.rate < self.rate:
            raise DataError(
                f"{where}: rate must be at least {self.rate:,} Hz, at which sounds are listened to; "
                f"got {recording.rate:,}{'' if where == str(recording.path) else f' ({recording.path})'}",
                f"train with --rate {recording.rate}, or leave such sounds out with --on-error skip",
            )

    def steps(self, recording: Recording, speed: float = 1.0) -> int:
        """Return T of a recording."""
        count = max(1, round(recording.count * self.rate / (recording.rate * speed)))
        return 1 + count // self.hop_samples

    def spectra(self, samples: npt.NDArray[np.float32]) -> Tensor:
        """Return features (T, F) of samples (N,) at `rate`, before normalisation."""
        window, filters, transform = self._fixed
        x = torch.tensor(samples)  # a copy: what was read from a file cannot be written
        spectrum = torch.stft(
            x,
            self.fourier_size,
            self.hop_samples,
            self.window_samples,
            window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )  # (size / 2 + 1, T)
        power = spectrum.real.square() + spectrum.imag.square()
        logs = (power.T @ filters).clamp_min(_TINY).log()  # (T, bands)
        logs = torch.maximum(logs, logs.max() - _RANGE)
        return logs if self.form == "log-mel" else logs @ transform  # (T, F)

    def __call__(self, recording: Recording, speed: float = 1.0) -> Tensor:
        """Return normalised features (T, F) of a recording.

        Args:
            recording: Of at least this rate.
            speed: Played so many times faster, which raises its pitch.
        """
        return self.normalised(self.spectra(resampled(recording.samples(), recording.rate * speed, self.rate)))

    def kept(self, recording: Recording, speed: float = 1.0) -> Tensor:
        """Return normalised features (T, F), made once: from then on they are read from where the samples are kept.

        Args:
            recording, speed: As of a call.

        Raises:
            StorageError: the disk is full or fails.
        """
        file = recording.file
        places, key = self._kept.setdefault(file, {}), (recording.begin, speed)
        if key not in places:
            features = self(recording, speed)
            places[key] = file.keep(features.numpy().tobytes()), len(features)
            return features
        begin, steps = places[key]
        return torch.tensor(file.read(begin, steps * self.size)).view(steps, self.size)  # (T, F)

    def normalised(self, features: Tensor) -> Tensor:
        """Return features (T, F) with mean 0 and deviation 1."""
        if self.means is not None and self.deviations is not None:
            return (features - self.means) / self.deviations
        deviations, means = torch.std_mean(features, dim=0, correction=0)
        return (features - means) / deviations.clamp_min(_LEAST_DEVIATION)

    def fit(self, recordings: Iterable[Recording]) -> SoundFeatures:
        """Return the same with the means and deviations of training recordings, if those normalise."""
        if self.normalisation == "utterance":
            return self
        count, total, squares = 0, torch.zeros(self.size).double(), torch.zeros(self.size).double()
        for recording in recordings:
            features = self.spectra(resampled(recording.samples(), recording.rate, self.rate)).double()
            count += len(features)
            total += features.sum(dim=0)
            squares += features.square().sum(dim=0)
        means = total / count
        deviations = (squares / count - means.square()).clamp_min(_LEAST_DEVIATION**2).sqrt()
        return SoundFeatures.from_json(
            {**self.to_json(), "means": means.float().tolist(), "deviations": deviations.float().tolist()}
        )

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` rebuilds."""
        names = ("rate", "form", "bands", "coefficients", "window", "hop", "normalisation")
        value: dict[str, Any] = {name: getattr(self, name) for name in names}
        if self.means is not None and self.deviations is not None:
            value |= {"means": self.means.tolist(), "deviations": self.deviations.tolist()}
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SoundFeatures:
        """Rebuild what `to_json` gave.

        Raises:
            ModelFileError: it is not the description of sound features.
        """
        numbers: dict[str, type | tuple[type, ...]] = {
            **dict.fromkeys(("rate", "bands", "coefficients"), int),
            **dict.fromkeys(("window", "hop"), (int, float)),
            **dict.fromkeys(("form", "normalisation"), str),
        }
        for name, kind in numbers.items():
            if not isinstance(value.get(name), kind):
                raise ModelFileError(f"sound features: {name} must be a number or name; got {value.get(name)!r}")
        trained: dict[str, Any] = {name: _vector(value, name) for name in ("means", "deviations") if name in value}
        try:
            made = cls(**{name: value[name] for name in numbers}, **trained)
        except UsageError as error:
            raise ModelFileError(f"sound features: {error.message}") from None
        wanted = 2 if made.normalisation == "training" else 0
        if len(trained) != wanted or any(len(vector) != made.size for vector in trained.values()):
            raise ModelFileError(f"sound features: must have means and deviations ({made.size},) for 'training' only")
        return made


def _vector(value: Mapping[str, Any], name: str) -> Tensor:
    found = value[name]
    if not isinstance(found, list) or not all(isinstance(number, (int, float)) for number in found):
        raise ModelFileError(f"sound features: {name} must be a list of numbers")
    return torch.tensor(found, dtype=torch.float32)
