"""Notes to sound: a few harmonics a key that fade like a plucked string's, as a WAV file."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from elman.readers.notes import Note

RATE = 22_050
_HARMONICS = (1.0, 0.5, 0.3, 0.15, 0.08, 0.05)
_FADE_SECONDS, _ATTACK_SECONDS, _RELEASE_SECONDS = 1.2, 0.005, 0.06


def sound(notes: Iterable[Note], tempo: float = 120.0, rate: int = RATE) -> npt.NDArray[np.float32]:
    """Return the sound of notes, within +-1.

        note(t) = e(t) sum over h = 1..6 of a_h sin(2 pi h f t),    f = 440 * 2 ** ((key - 69) / 12) Hz

    with amplitudes a_h, and an envelope e(t) that rises within 5 ms, fades with a time constant of 1.2 s and ends
    within 60 ms after the key is let go; harmonics of half the rate and above are left out.

    Args:
        notes: In beats.
        tempo: Beats a minute.
        rate: Samples a second.
    """
    notes, second = list(notes), 60.0 / tempo
    last = max((note.end for note in notes), default=0.0) * second + _RELEASE_SECONDS
    samples = np.zeros(int(np.ceil(last * rate)) + 1)
    for begin, end, key in notes:
        tone = _tone(key, (end - begin) * second, rate)
        at = round(begin * second * rate)
        samples[at : at + len(tone)] += tone[: len(samples) - at]
    peak = float(np.abs(samples).max(initial=0.0))
    return (samples * (0.9 / peak) if peak else samples).astype(np.float32)


def _tone(key: int, seconds: float, rate: int) -> npt.NDArray[np.float64]:
    frequency = 440.0 * 2.0 ** ((key - 69) / 12)
    t = np.arange(round((seconds + _RELEASE_SECONDS) * rate)) / rate
    heard = [(h, a) for h, a in enumerate(_HARMONICS, 1) if h * frequency < rate / 2]
    waves = sum((a * np.sin(2 * np.pi * h * frequency * t) for h, a in heard), np.zeros_like(t))
    rise = np.minimum(t / _ATTACK_SECONDS, 1.0)
    release = np.clip(1.0 - (t - seconds) / _RELEASE_SECONDS, 0.0, 1.0)
    return waves * rise * release * np.exp(-t / _FADE_SECONDS)


def wav_bytes(samples: npt.NDArray[np.float32], rate: int = RATE) -> bytes:
    """Return a WAV file, 16 bits and one channel, of samples within +-1."""
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())
    return data.getvalue()
