"""Token stores: built once, whole or not at all, in constant memory; the published counts of known texts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from elman.codecs.text import CharacterCodec, build_codec
from elman.codecs.token_store import TokenStore
from elman.errors import DataError


def make(folder: Path, text: str) -> Path:
    path = folder / "text.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_store_holds_the_tokens_and_what_was_counted(tmp_path: Path) -> None:
    path = make(tmp_path, "hello wörld\n" * 3)
    codec = CharacterCodec.build(["helo wrd\n"])
    store = TokenStore.build(path, codec, tmp_path / "store")
    assert store.tokens.tolist() == codec.encode("hello wörld\n" * 3).tolist()
    assert store.unknown == 3
    assert store.meta["characters"] == len(store) == 36
    assert store.tokens.dtype == np.uint16


def test_a_store_has_modes_by_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        TokenStore.build(make(tmp_path, "abab\n"), CharacterCodec.build(["ab\n"]), tmp_path / "store")
    finally:
        os.umask(before)
    assert (tmp_path / "store").stat().st_mode & 0o777 == 0o750
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "store").iterdir()} == {0o640}


@pytest.mark.parametrize(("level", "text"), [("character", "\ufeff"), ("word", " \t ")])
def test_a_text_without_a_token_has_an_empty_store(tmp_path: Path, level: str, text: str) -> None:
    (tmp_path / "known.txt").write_text("to be or not\n", encoding="utf-8")
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    store = TokenStore.build(tmp_path / "text.txt", build_codec([tmp_path / "known.txt"], level), tmp_path / "store")
    assert len(store) == 0 and len(TokenStore.open(tmp_path / "store")) == 0


def test_an_equal_store_is_used_again_and_a_changed_text_is_not(tmp_path: Path) -> None:
    path = make(tmp_path, "abab\n")
    codec = CharacterCodec.build(["ab\n"])
    TokenStore.build(path, codec, tmp_path / "store")
    before = (tmp_path / "store" / "tokens.bin").stat().st_mtime_ns
    TokenStore.build(path, codec, tmp_path / "store")
    assert (tmp_path / "store" / "tokens.bin").stat().st_mtime_ns == before
    make(tmp_path, "bbbbb\n")
    assert TokenStore.build(path, codec, tmp_path / "store").tokens.tolist() == codec.encode("bbbbb\n").tolist()


def test_a_damaged_store_is_built_again_and_never_opened(tmp_path: Path) -> None:
    path = make(tmp_path, "abab\n")
    codec = CharacterCodec.build(["ab\n"])
    TokenStore.build(path, codec, tmp_path / "store")
    binary = tmp_path / "store" / "tokens.bin"
    binary.write_bytes(binary.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"must have 10 bytes; got 9"):
        TokenStore.open(tmp_path / "store")
    assert len(TokenStore.build(path, codec, tmp_path / "store")) == 5
    whole = binary.read_bytes()
    binary.write_bytes(b"\1\0" + whole[2:])  # another token of the vocabulary
    TokenStore.build(path, codec, tmp_path / "store")
    assert binary.read_bytes() == whole


KILLED = """
import os, signal, sys
from pathlib import Path
from elman.codecs.text import CharacterCodec
from elman.codecs import token_store
from elman.codecs.token_store import TokenStore
calls, stop = 0, int(sys.argv[2])
def counting(real):
    def call(*args, **kwargs):
        global calls
        calls += 1
        if calls == stop:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    return call
for name in ("fsync", "rename", "replace", "write", "mkdir"):
    setattr(os, name, counting(getattr(os, name)))
folder = Path(sys.argv[1])
TokenStore.build(folder / "text.txt", CharacterCodec.build(["ab\\n"]), folder / "store")
"""


def test_a_build_killed_at_any_call_leaves_a_whole_store_or_none(tmp_path: Path) -> None:
    path = make(tmp_path, "abab\n")
    codec = CharacterCodec.build(["ab\n"])
    for stop in range(1, 40):
        done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(stop)], check=False)
        if (tmp_path / "store").exists():
            assert TokenStore.open(tmp_path / "store").tokens.tolist() == codec.encode("abab\n").tolist()
        if done.returncode == 0:
            break
        for item in (tmp_path / "store").glob("*") if (tmp_path / "store").exists() else ():
            item.unlink()
        if (tmp_path / "store").exists():
            (tmp_path / "store").rmdir()
    else:
        pytest.fail("the build never ran to its end")
    assert len(TokenStore.build(path, codec, tmp_path / "store")) == 5
    assert sorted(item.name for item in tmp_path.iterdir()) == ["store", "text.txt"]


def test_a_large_text_is_read_in_constant_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    path.write_bytes(b"one giant line without an end " * 1_000_000)
    script = (
        "import sys, resource; from pathlib import Path; from elman.codecs.text import build_codec;"
        "from elman.codecs.token_store import TokenStore; p = Path(sys.argv[1]);"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "s = TokenStore.build(p, build_codec([p], 'word'), p.parent / 'store');"
        "print(len(s), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    run = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    tokens, mebibytes = map(int, run.stdout.split())
    assert tokens == 6_000_001
    assert mebibytes < 250, "30 MB of text; the whole list of its words alone would need more"


@pytest.mark.parametrize(
    ("name", "level", "tokens", "size"),
    [
        ("tinyshakespeare/input.txt", "character", 1_115_394, 65 + 1),
        ("ptb/ptb.train.txt", "word", 929_589, 10_000),
        ("ptb/ptb.valid.txt", "word", 73_760, None),
        ("ptb/ptb.test.txt", "word", 82_430, None),
    ],
)
def test_known_texts_have_their_published_counts(
    data_folder: Path, tmp_path: Path, name: str, level: str, tokens: int, size: int | None
) -> None:
    path = data_folder / name
    codec = build_codec([path], level)
    store = TokenStore.build(path, codec, tmp_path / "store")
    assert len(store) == tokens
    assert size is None or codec.size == size
    assert json.loads((tmp_path / "store" / "meta.json").read_text())["tokens"] == tokens
