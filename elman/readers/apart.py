"""Decoders of native formats run in a process of their own: one that crashes or hangs costs the file in hand alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, TracebackType
from typing import IO, Any, cast

from elman.errors import DataError, MissingExtraError, MissingInputError
from elman.readers import decoder_loop


class Apart:
    """A program that decodes files, run beside this one for as long as the block lasts.

    The program reads lines, each a path as JSON, and answers each with a line of JSON, {"bytes": N, ...} or
    {"error": what must hold and what it got, "bytes": 0}, and N bytes.

    Args:
        program: File of the program; it imports nothing of Elman.
        needs: The library it decodes with, or several.
        extra: The extra of Elman that has them.
        arguments: Of the program.
        seconds: Longest time for one file.

    Raises:
        MissingExtraError: a library is not installed.
    """

    def __init__(
        self,
        program: Path,
        needs: str | Sequence[str],
        extra: str,
        arguments: Sequence[str] = (),
        seconds: float = 600.0,
    ) -> None:
        for name in [needs] if isinstance(needs, str) else needs:
            if find_spec(name) is None:
                raise MissingExtraError(f"{extra}: {name} must be installed; got none", f"pip install 'elman[{extra}]'")
        self.program, self.arguments, self.seconds = program, arguments, seconds
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def decoder(
        cls, module: ModuleType, needs: str | Sequence[str], extra: str, arguments: Sequence[str] = ()
    ) -> Apart:
        """Return the program that answers by `module.decode(path, *arguments)`; the module imports nothing of Elman."""
        return cls(Path(decoder_loop.__file__), needs, extra, [str(module.__file__), *arguments])

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is not None:
            self._process.kill()
            self._end()

    def decode(self, path: Path) -> tuple[Mapping[str, Any], bytes]:
        """Return what the program says of a file, and the bytes that it made of it.

        Raises:
            MissingInputError: there is no such file.
            DataError: it cannot be decoded.
        """
        if not path.is_file():
            found = "a folder" if path.is_dir() else "a pipe or device" if path.exists() else "none"
            raise MissingInputError(f"{path}: file must exist; got {found}", "check the path and the working folder")
        if path.stat().st_size == 0:
            raise DataError(f"{path}: must hold something; the file is empty")
        facts, data = self._answer(path)
        if "error" in facts:
            raise DataError(f"{path}: {facts['error']}")
        return facts, data

    def _answer(self, path: Path) -> tuple[dict[str, Any], bytes]:
        process = self._process = self._process or self._begin()
        asked, told = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
        watch = threading.Timer(self.seconds, process.kill)
        watch.start()
        try:
            asked.write(json.dumps(str(path.absolute())).encode() + b"\n")
            asked.flush()
            line = told.readline()
            facts = json.loads(line) if line.endswith(b"\n") else {}
            data = told.read(facts.get("bytes", 0))
        except BrokenPipeError:
            facts, data = {}, b""
        finally:
            watch.cancel()
        if len(data) != facts.get("bytes"):
            return {"error": f"must be decodable; the decoder ended with {self._end()}"}, b""
        return facts, data

    def _begin(self) -> subprocess.Popen[bytes]:
        # -P: the program's folder is not a place to import from. One thread: files are decoded one by one.
        return subprocess.Popen(
            [sys.executable, "-P", str(self.program), *self.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt from the terminal is this process's business
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )

    def _end(self) -> str:
        """Wait for the end of the process; return how it ended."""
        process, self._process = cast("subprocess.Popen[bytes]", self._process), None
        with suppress(BrokenPipeError):  # what it did not read any more
            cast(IO[bytes], process.stdin).close()
        cast(IO[bytes], process.stdout).close()
        code = process.wait()
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"
