"""Decodes sound files in a process of its own; see elman.readers.apart.

It knows nothing of Elman, so that it starts fast and whatever a damaged file does to libsndfile ends here.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

_OGG_PAGE = 27
_FIRST_PAGE, _LAST_PAGE = 2, 4
_LARGEST_PAGE = _OGG_PAGE + 255 + 255 * 255
# What programs write that did not know the length when they began.
_UNKNOWN_LENGTHS = (0, 0x7FFFFFFF, 0xFFFFFFFF)
_UNKNOWN_TO_SOX = range(0x7FFFF000 - 0xFFFE, 0x7FFFF000 + 1)  # rounded down to whole frames
_NO_LENGTH = 2**63 - 1
# Bit rates of layer III in kbit a second, of MPEG 1 and of 2 and 2.5.
_RATES_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)
_RATES_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
# What an encoder may say is to be left out of its frames, and the frame that says it.
_LEFT_OUT = 4 * 1152
# Full scale is 1; the energy of far larger samples would be infinite as float32.
_LARGEST_SAMPLE = 1e12


def decode(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return rate, frames and channels of a sound, and its samples, channels averaged, as float32."""
    import numpy as np
    import soundfile  # type: ignore[import-untyped]

    if problem := missing_end(path):
        return {"error": problem}, b""
    try:
        with soundfile.SoundFile(path) as file:
            promised, compressed = file.frames, file.format == "MP3"
            if promised == _NO_LENGTH:
                got = "a stream of unknown length, as written to a pipe"
                return {"error": f"must say how many samples it has; got {got}"}, b""
            samples = file.read(promised, dtype="float32", always_2d=True)  # (N, channels)
            facts = {"rate": file.samplerate, "frames": len(samples), "channels": file.channels}
    except soundfile.LibsndfileError as error:
        return {"error": f"must be a sound file that libsndfile can read; got {error.error_string}"}, b""
    if len(samples) < promised:
        return {"error": f"must have the {promised:,} samples that it announces; got {len(samples):,}"}, b""
    if compressed and len(samples) < (held := samples_of_mp3(path.read_bytes()) - _LEFT_OUT):
        got = f"got {len(samples):,}, where its header, or the bit rate of its first frame, lets it end"
        return {"error": f"must be decodable to its end, after {held:,} samples or more; {got}"}, b""
    mono = samples.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mono).all():
        return {"error": "must have finite samples; got NaN or infinity"}, b""
    if len(mono) and (largest := float(np.abs(mono).max())) > _LARGEST_SAMPLE:
        return {"error": f"must have samples of at most {_LARGEST_SAMPLE:g}; got {largest:g}"}, b""
    return facts, mono.tobytes()


def samples_of_mp3(data: bytes) -> int:
    """Return how many samples the frames of an MP3 hold, up to what is no frame of layer III.

    libsndfile stops where it expects the end: where a header tells it, which of two files in one is the first's, and
    without a header where a file of the first frame's bit rate would end.
    """
    at, count = 0, 0
    if data[:3] == b"ID3":  # tags, their length in 4 times 7 bits
        at = 10 + sum(byte << 7 * place for place, byte in enumerate(reversed(data[6:10])))
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] & 0xE6 == 0xE2:  # in step, and of layer III
        version, rates = data[at + 1] >> 3 & 3, _RATES_1 if data[at + 1] & 8 else _RATES_2
        bits, third = rates[data[at + 2] >> 4], data[at + 2] >> 2 & 3
        if not bits or third == 3 or version == 1:
            break
        rate = (44_100, 48_000, 32_000)[third] >> {3: 0, 2: 1, 0: 2}[version]
        samples = 1152 if version == 3 else 576
        count += samples
        at += samples // 8 * bits * 1000 // rate + (data[at + 2] >> 1 & 1)
    return count


def missing_end(path: Path) -> str | None:
    """Return what is wrong with a file that was cut off where libsndfile would not notice; None where nothing is."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF" and head[8:] == b"WAVE":
            return _missing_wave(file, path.stat().st_size)
        if head[:4] == b"fLaC":
            return _flac_behind(path.read_bytes())
        if head[:4] == b"OggS":
            file.seek(max(path.stat().st_size - _LARGEST_PAGE, 0))
            return _missing_page(file.read()) or _streams_behind(path.read_bytes())
    return None


def _missing_wave(file: Any, size: int) -> str | None:
    while len(chunk := file.read(8)) == 8:
        name, announced = struct.unpack("<4sI", chunk)
        there = size - file.tell()
        if name == b"data":
            if announced in _UNKNOWN_LENGTHS or announced in _UNKNOWN_TO_SOX:
                return None
            if announced > there:
                return f"must have the {announced:,} bytes of samples that it announces; got {there:,}"
            return _wave_behind(file, announced)
        file.seek(announced + announced % 2, 1)
    return None  # without samples: libsndfile says so


def _wave_behind(file: Any, samples: int) -> str | None:
    """What is wrong where another file stands behind the chunks of a WAVE, which libsndfile does not read."""
    file.seek(samples + samples % 2, 1)
    while len(chunk := file.read(8)) == 8:
        name, announced = struct.unpack("<4sI", chunk)
        if name == b"RIFF" and file.read(4) == b"WAVE":
            return "must be one WAVE file; got several, one behind the other"
        file.seek(announced + announced % 2, 1)
    return None


def _flac_behind(data: bytes) -> str | None:
    """What is wrong where a FLAC stream stands behind another, of which libsndfile reads the first."""
    beginnings = (b"fLaC" + flag + b"\0\0\x22" for flag in (b"\0", b"\x80"))  # a block of facts, of 34 bytes
    if any(data.find(beginning, 4) >= 0 for beginning in beginnings):
        return "must be one FLAC stream; got several, one behind the other"
    return None


def _streams_behind(data: bytes) -> str | None:
    """What is wrong where streams stand one behind the other, of which libsndfile reads the first."""
    at, ended = 0, 0
    while data[at : at + 4] == b"OggS" and len(data) >= at + _OGG_PAGE:
        segments = data[at + _OGG_PAGE - 1]
        if ended and data[at + 5] & _FIRST_PAGE:
            return "must be one Ogg stream; got several, one behind the other"
        ended |= data[at + 5] & _LAST_PAGE
        at += _OGG_PAGE + segments + sum(data[at + _OGG_PAGE : at + _OGG_PAGE + segments])
    return None


def _missing_page(tail: bytes) -> str | None:
    at = tail.rfind(b"OggS")
    page = tail[at:] if at >= 0 else b""
    segments = page[_OGG_PAGE - 1] if len(page) >= _OGG_PAGE else 0
    table = page[_OGG_PAGE : _OGG_PAGE + segments]
    whole = len(table) == segments and len(page) >= _OGG_PAGE + segments + sum(table)
    if len(page) < _OGG_PAGE or not whole or not page[5] & _LAST_PAGE:
        return "must end with the last page of its Ogg stream; got one that is cut off"
    return None
