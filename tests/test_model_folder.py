"""Model folders: what is written comes back, safetensors agrees, and a damaged or hostile folder is an error."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from elman.errors import ElmanError, MissingInputError, ModelFileError, StorageError, UsageError
from elman.model_folder import read_config, read_extra_file, read_model_folder, write_model_folder
from elman.storage import write_file
from elman.tensor_file import DTYPES, read_entries, read_tensors, write_tensors


def some_tensors() -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return {
        "W_r": torch.randn(3, 5, generator=draw),
        "b~": torch.randn(3, generator=draw).double(),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 4),
        "half": torch.randn(7, generator=draw).bfloat16(),
        "strided": torch.randn(4, 6, generator=draw).T[::2],
        "mask": torch.tensor([True, False, True]),
        "count": torch.arange(3),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model_folder(
        tmp_path / "model",
        {"model_type": "tiny", "size": 3},
        some_tensors(),
        {"vocabulary.json": '["ä"]', "README.md": "#"},
    )
    return tmp_path / "model"


def test_what_could_not_be_read_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elman.model_folder.JSON_LIMIT", 100)
    write_model_folder(tmp_path / "model", {}, some_tensors(), {"words.json": "x" * 100})
    with pytest.raises(UsageError, match="must have at most 100 bytes, or it could not be read; got 101"):
        write_model_folder(tmp_path / "other", {}, some_tensors(), {"words.json": "x" * 101})
    assert not (tmp_path / "other").exists()


def test_what_is_written_comes_back_bit_for_bit(folder: Path) -> None:
    config, tensors = read_model_folder(folder, some_tensors())
    assert config == {"model_type": "tiny", "size": 3}
    for name, tensor in some_tensors().items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)
    assert json.loads(read_extra_file(folder, "vocabulary.json")) == ["ä"]


def test_the_safetensors_library_reads_what_we_write_and_we_read_what_it_writes(tmp_path: Path) -> None:
    tensors = {name: tensor.contiguous() for name, tensor in some_tensors().items()}
    write_tensors(tmp_path / "ours", tensors)
    theirs = safetensors.torch.load_file(tmp_path / "ours")
    assert set(theirs) == set(tensors)
    assert all(torch.equal(theirs[name], tensor) for name, tensor in tensors.items())
    safetensors.torch.save_file(tensors, tmp_path / "theirs")
    ours = read_tensors(tmp_path / "theirs", tensors)
    assert all(torch.equal(ours[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_every_type_goes_there_and_back(tmp_path: Path, dtype: torch.dtype) -> None:
    tensor = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(dtype)
    write_tensors(tmp_path / "file", {"a": tensor})
    assert torch.equal(read_tensors(tmp_path / "file")["a"], tensor)


def test_the_model_card_may_be_edited_and_other_files_may_be_added(folder: Path) -> None:
    (folder / "README.md").write_text("# my model")
    (folder / "notes.txt").write_text("mine")
    read_model_folder(folder)


def corrupt(name: str, position: int) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[position] ^= 0x40
        (folder / name).write_bytes(data)

    return damage


def change_config(**changes: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **changes}))

    return damage


def cut(name: str, by: int) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, (folder / name).stat().st_size - by)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (corrupt("model.safetensors", -1), "SHA-256"),
        (corrupt("model.safetensors", 3), "header"),
        (cut("model.safetensors", 1), "bytes of data"),
        (cut("model.safetensors", 300), "model.safetensors"),
        (corrupt("vocabulary.json", 2), "vocabulary.json"),
        (cut("vocabulary.json", 1), "vocabulary.json"),
        (cut("config.json", 5), "JSON"),
        (change_config(format_version=2), "made by a newer Elman"),
        (change_config(format_version="1"), "positive integer"),
        (change_config(library_name="keras"), "model of elman"),
        (change_config(files={}), "model.safetensors"),
        (change_config(files={"model.safetensors": 3}), "files"),
        (change_config(files={"../model.safetensors": {}, "model.safetensors": {}}), "plain names"),
        (lambda folder: (folder / "config.json").write_text("[" * 10**5), "nested"),
        (lambda folder: (folder / "config.json").write_text('{"a": NaN}'), "NaN"),
        (lambda folder: (folder / "config.json").write_text('{"a": 1, "a": 1}'), "twice"),
        (lambda folder: (folder / "config.json").write_bytes(b'{"a": "\xff"}'), "JSON"),
        (lambda folder: (folder / "config.json").write_text('{"a": ' + "9" * 10**5 + "}"), "JSON"),
    ],
)
def test_damage_is_one_error_that_names_the_file_and_the_reason(
    folder: Path, damage: Callable[[Path], object], reason: str
) -> None:
    damage(folder)
    with pytest.raises(ModelFileError) as caught:
        read_model_folder(folder)
    assert reason in str(caught.value)
    assert str(folder) in str(caught.value)


def test_missing_files_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="nowhere"):
        read_model_folder(tmp_path / "nowhere")
    (folder / "model.safetensors").unlink()
    with pytest.raises(MissingInputError, match=r"model\.safetensors"):
        read_model_folder(folder)


def test_links_and_pipes_are_not_opened(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").rename(tmp_path / "elsewhere")
    (folder / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelFileError, match="regular file"):
        read_model_folder(folder)
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    with pytest.raises(ModelFileError, match="regular file"):
        read_model_folder(folder)


def write_header(path: Path, header: bytes, data: bytes = b"", length: int | None = None) -> None:
    path.write_bytes((len(header) if length is None else length).to_bytes(8, "little") + header + data)


def entry(shape: list[Any], offsets: list[Any], dtype: str = "F32") -> bytes:
    return json.dumps({"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}).encode()


@pytest.mark.parametrize(
    ("header", "data", "length"),
    [
        (b"{}", b"", 2**62),
        (b"{}", b"", 3),
        (b"{}", b"x", None),
        (b"[]", b"", None),
        (b'{"a": 1}', b"", None),
        (entry([2**31, 2**31, 4], [0, 0]), b"", None),  # 2**64 elements: a 64-bit product would be 0
        (entry([10**18], [0, 4 * 10**18]), b"", None),
        (entry([0, 2**61, 2**61], [0, 0]), b"", None),  # no bytes, and strides that no 64 bits hold
        (entry([2**61, 0], [0, 0]), b"", None),
        (entry([1], [0, 8]), b"x" * 8, None),
        (entry([1], [4, 8]), b"x" * 8, None),
        (entry([-1], [0, -4]), b"", None),
        (entry([True], [0, 4]), b"x" * 4, None),
        (entry([1.0], [0, 4]), b"x" * 4, None),
        (entry([1], [0]), b"x" * 4, None),
        (entry([1] * 9, [0, 4]), b"x" * 4, None),
        (entry([1], [0, 4], dtype="F8"), b"x" * 4, None),
        (entry([1], [0, 1], dtype="BOOL"), b"\x02", None),
        (b'{"a": {"dtype": "F32", "dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', b"x" * 4, None),
        (b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], "more": 1}}', b"x" * 4, None),
        (b'{"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}', b"x" * 4, None),
    ],
)
def test_impossible_headers_are_refused_before_anything_is_allocated(
    tmp_path: Path, header: bytes, data: bytes, length: int | None
) -> None:
    write_header(tmp_path / "file", header, data, length)
    with pytest.raises(ModelFileError):
        read_tensors(tmp_path / "file")


def test_too_many_tensors_and_too_long_headers_are_refused(tmp_path: Path) -> None:
    row = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    write_header(tmp_path / "many", json.dumps({f"t{number}": row for number in range(100_001)}).encode())
    with pytest.raises(ModelFileError, match="100000 tensors"):
        read_entries(tmp_path / "many")
    write_header(tmp_path / "long", b" " * (11 << 20))
    with pytest.raises(ModelFileError, match="allowed"):
        read_entries(tmp_path / "long")


@pytest.mark.parametrize(
    ("expected", "reason"),
    [
        ({"a": (2, 3), "b": (1,)}, "'b'; got none"),
        ({}, "got 'a'"),
        ({"a": (3, 2)}, r"shape \(3, 2\); got \(2, 3\)"),
        ({"a": torch.zeros(2, 3, dtype=torch.float64)}, "float64; got torch.float32"),
        ({"aa": (2, 3)}, "'aa'; got none"),
    ],
)
def test_only_the_expected_names_shapes_and_types_are_read(tmp_path: Path, expected: Any, reason: str) -> None:
    write_tensors(tmp_path / "file", {"a": torch.zeros(2, 3)})
    read_tensors(tmp_path / "file", {"a": torch.zeros(2, 3, device="meta")})
    with pytest.raises(ModelFileError, match=reason):
        read_tensors(tmp_path / "file", expected)


def test_expectations_are_computed_from_the_config_before_weights_are_read(folder: Path) -> None:
    def expected(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
        assert config["size"] == 3
        return {"other": (10**9, 10**9)}

    with pytest.raises(ModelFileError, match="'other'"):
        read_model_folder(folder, expected)


@settings(max_examples=150)
@given(data=st.data())
def test_any_mutation_reads_right_or_is_our_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("mutated")
    write_model_folder(folder, {"model_type": "tiny"}, {"a": torch.ones(2, 2)}, {"v.json": "[]"})
    name = data.draw(st.sampled_from(["config.json", "model.safetensors", "v.json"]))
    content = bytearray((folder / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    (folder / name).write_bytes(content)
    with contextlib.suppress(ElmanError):
        assert torch.equal(read_model_folder(folder)[1]["a"], torch.ones(2, 2))


def test_loading_executes_and_imports_nothing(folder: Path) -> None:
    (folder / "model.pkl").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    change_config(architecture="os.system", auto_map={"AutoModel": "evil.Model"})(folder)
    script = (
        "import sys, torch, elman.model_folder as m\n"
        "m.read_model_folder(sys.argv[1]); seen = []\n"
        "sys.addaudithook(lambda event, arguments: seen.append(event))\n"
        "m.read_model_folder(sys.argv[1])\n"
        "bad = {'exec', 'compile', 'import', 'os.system', 'subprocess.Popen', 'socket.connect', 'pickle.find_class'}\n"
        "assert 'open' in seen and not bad & set(seen), bad & set(seen)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(folder)], check=True, timeout=120)


@pytest.mark.parametrize("name", ["files", "format_version"])
def test_reserved_names_in_the_config_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=name):
        write_model_folder(tmp_path / "model", {name: 1}, {})


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "config.json", "model.safetensors", ""])
def test_extra_files_have_plain_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="plain name"):
        write_model_folder(tmp_path / "model", {}, {}, {name: "x"})


def test_replacing_a_model_leaves_no_moment_in_which_a_wrong_one_loads(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = []
    replace = os.replace

    def spying_replace(source: Path, target: Path) -> None:
        replace(source, target)
        try:
            outcomes.append(read_model_folder(folder)[0]["size"])
        except ModelFileError:
            outcomes.append(None)

    monkeypatch.setattr(os, "replace", spying_replace)
    write_model_folder(folder, {"size": 4}, {"a": torch.ones(1)}, {"vocabulary.json": "[]"})
    assert outcomes == [None, None, 4]


def test_a_full_disk_names_path_and_bytes_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_file(path, [b"old"])

    def full(handle: int, data: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageError, match=r"file: must be writable; needs 5 bytes, \d+ bytes are free; got No space"):
        write_file(path, [b"fresh"], 5)
    assert path.read_bytes() == b"old"
    assert [name.name for name in tmp_path.iterdir()] == ["file"]


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, bytes(data[:7])))
    weights = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 5)))
    write_tensors(tmp_path / "file", {"a": weights})
    assert torch.equal(read_tensors(tmp_path / "file")["a"], weights)


def test_read_config_reads_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")
    assert read_config(folder)["size"] == 3
