"""Recordings: sound files decoded once, their samples kept in a temporary file, so that memory stays bounded."""

from __future__ import annotations

import hashlib
import os
import tempfile
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from elman.errors import DataError
from elman.readers import sound_decoder
from elman.readers.apart import Apart
from elman.storage import reading, storing

SLOWEST, FASTEST = 1_000, 768_000
_SAMPLE = np.dtype(np.float32)


class SampleFile:
    """Numbers one behind the other, samples above all, in a file that has no name and ends with its last user."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.gettempdir())
        with storing(self.folder):
            self._handle, name = tempfile.mkstemp()
            Path(name).unlink()
        weakref.finalize(self, os.close, self._handle)
        self._end = 0

    def keep(self, data: bytes) -> int:
        """Append float32 numbers; return the byte where they begin.

        Raises:
            StorageError: the disk is full or fails.
        """
        begin, view = self._end, memoryview(data)
        with storing(self.folder, len(data)):
            while view:
                written = os.pwrite(self._handle, view, self._end)
                self._end, view = self._end + written, view[written:]
        return begin

    def read(self, begin: int, count: int) -> npt.NDArray[np.float32]:
        """Return `count` numbers from byte `begin` on."""
        end, found = begin + count * _SAMPLE.itemsize, b""
        with reading(self.folder):
            # One call reads less than 2 GiB, three hours at 48 kHz.
            while part := os.pread(self._handle, end - begin - len(found), begin + len(found)):
                found += part
        return np.frombuffer(found, dtype=_SAMPLE)


@dataclass(frozen=True)
class Recording:
    """A sound as it was recorded, its channels averaged. Two of the same samples and rate are equal.

    Args:
        path: Where it came from.
        rate: Samples a second.
        count: N, how many samples, at least 1.
        digest: Hash of the samples.
        begin: Where they begin in `file`.
        file: Where they are kept.
    """

    path: Path = field(compare=False)
    rate: int
    count: int
    digest: str
    begin: int = field(compare=False, repr=False)
    file: SampleFile = field(compare=False, repr=False)

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.count / self.rate

    def samples(self) -> npt.NDArray[np.float32]:
        """Return its samples (N,), which lie within [-1, 1] unless the file holds larger ones."""
        return self.file.read(self.begin, self.count)


class Recorder:
    """Decodes sound files, for as long as the block lasts, and keeps their samples.

    Raises:
        MissingExtraError: soundfile is not installed.
    """

    def __init__(self) -> None:
        self._decoder = Apart.decoder(sound_decoder, "soundfile", "audio")
        self._file = SampleFile()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._decoder.__exit__(kind, error, at)

    def record(self, path: Path) -> Recording:
        """Return a sound file (WAV, FLAC, OGG, MP3) as a recording.

        Raises:
            MissingInputError: there is no such file.
            DataError: it is not a sound, is cut off, has no sample, or a rate outside 1,000 to 768,000 Hz.
            StorageError: its samples cannot be kept.
        """
        facts, data = self._decoder.decode(path)
        if not data:
            raise DataError(f"{path}: must have at least one sample; got a sound of length 0")
        if not SLOWEST <= facts["rate"] <= FASTEST:
            raise DataError(f"{path}: rate must be {SLOWEST:,} to {FASTEST:,} Hz; got {facts['rate']:,}")
        digest = hashlib.sha256(data).hexdigest()
        return Recording(path, facts["rate"], facts["frames"], digest, self._file.keep(data), self._file)
