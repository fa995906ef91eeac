"""Text files: UTF-8 with the byte of the first error, ends of line, chunks, and files that are not text."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elman.errors import DataError, MissingInputError, StorageError
from elman.readers import Reading, text_chunks, word_pieces
from elman.readers import text as readers
from elman.readers.lines import lines


@pytest.fixture(params=[1, 2, 3, 5, 1 << 20])
def any_chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Read in pieces of this many bytes."""
    monkeypatch.setattr(readers, "CHUNK", request.param)
    size: int = request.param
    return size


def write(folder: Path, data: bytes) -> Path:
    path = folder / "text.txt"
    path.write_bytes(data)
    return path


def test_chunks_join_to_the_text(any_chunk: int, tmp_path: Path) -> None:
    text = "naïve λ 漢字 🙂\nsecond\n"
    assert "".join(text_chunks(write(tmp_path, text.encode()))) == text


def test_ends_of_line_become_newlines(any_chunk: int, tmp_path: Path) -> None:
    path = write(tmp_path, b"a\r\nb\rc\n\r\nd\r")
    assert "".join(text_chunks(path)) == "a\nb\nc\n\nd\n"


def test_a_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    assert "".join(text_chunks(write(tmp_path, b"\xef\xbb\xbfab"))) == "ab"


@pytest.mark.parametrize(
    ("data", "offset", "line"),
    [(b"ab\xff", 2, 1), (b"\xc3\xa9\n\xe6\xbc", 3, 2), (b"a\nb\n\xe6\xbcx", 4, 3), ("é".encode() + b"\xc3(", 2, 1)],
)
def test_the_first_bad_byte_is_named(any_chunk: int, tmp_path: Path, data: bytes, offset: int, line: int) -> None:
    with pytest.raises(DataError) as caught:
        list(text_chunks(write(tmp_path, data)))
    assert f"text.txt: byte offset {offset} (line {line}): must be UTF-8; got byte 0x" in caught.value.message


@pytest.mark.parametrize(
    ("data", "kind", "remedy"),
    [
        ("ab".encode("utf-16"), "UTF-16", "iconv -f utf-16 -t utf-8"),
        (gzip.compress(b"ab"), "a gzip archive", "zcat"),
        (b"PK\x03\x04\x14\0", "a zip archive", "unzip"),
    ],
    ids=["UTF-16", "gzip", "zip"],  # gzip writes the time of day: as a name, each worker would have its own
)
def test_what_is_no_text_is_told_with_a_remedy(tmp_path: Path, data: bytes, kind: str, remedy: str) -> None:
    path = write(tmp_path, data)
    for read in (text_chunks, lambda text: lines(text, Reading())):
        with pytest.raises(DataError, match=f"must be text; it begins as {kind} does") as caught:
            list(read(path))
        assert caught.value.hint is not None and f"{remedy} text.txt" in caught.value.hint


def test_binary_empty_missing_and_folders_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"byte offset 2: must be text; got a NUL byte, as in a binary file"):
        list(text_chunks(write(tmp_path, b"ab\0c")))
    with pytest.raises(DataError, match="must hold text; the file is empty"):
        list(text_chunks(write(tmp_path, b"")))
    with pytest.raises(MissingInputError, match="there is no such file"):
        list(text_chunks(tmp_path / "none.txt"))
    with pytest.raises(DataError, match="must be a text file; got a folder"):
        list(text_chunks(tmp_path))


def test_a_pipe_is_refused_before_anything_is_taken_from_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="must be a file that can be read more than once; got a pipe"):
        list(text_chunks(tmp_path / "pipe"))


def test_a_file_that_may_not_be_read_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, b"a")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StorageError, match=r"cannot be read: Permission denied"):
        list(text_chunks(path))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(" \n\tabcé", min_size=1, max_size=40))
def test_words_of_chunks_are_words_of_the_whole(text: str, any_chunk: int, tmp_path: Path) -> None:
    words = [word for piece in word_pieces(write(tmp_path, text.encode()), "<eos>") for word in piece]
    whole = text if text.endswith("\n") else text + "\n" * bool(text.rsplit("\n", 1)[-1].strip())
    assert words == whole.replace("\n", " <eos> ").split()
