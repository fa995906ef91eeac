"""Model folders without torch: what they say is what the models say with it; imports, and refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import elman
from elman import runtime
from elman.architectures import ManyToManyInStep, ManyToOne, Numbers, OneToMany, Ragged, TokenVectors
from elman.cells import cells
from elman.errors import DivergedError, MissingInputError, ModelFileError, ShapeError, UsageError
from elman.heads import RegressionHead, SoftmaxHead
from elman.model_config import describe_cell
from elman.model_folder import read_model_folder, write_model_folder
from elman.plans.native import available
from elman.runtime.layer import Layer
from elman.runtime.stack import Stack
from elman.tasks.language_model import LanguageModelConfig, LanguageModelProblem
from elman.tasks.language_model import load as load_with_torch

pytestmark = pytest.mark.skipif(not available(), reason="the engine was not built")

TEXT = "the cat sat on the mat\nthe dog sat on the cat\n" * 20
MODELS: list[dict[str, Any]] = [
    {"cell": "lstm", "layers": 2},
    {"cell": "gru", "level": "word", "tied": True, "hidden_size": 5},
    {"cell": "lstm_projected", "projection_size": 6, "embedding_size": 0},
    {"cell": "rnn", "residual": True, "hidden_size": 5, "layers": 3},
    {"cell": "lstm", "zoneout": 0.3},
]


def saved(folder: Path, options: dict[str, Any]) -> Path:
    """Save an untrained language model."""
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    chosen = {"hidden_size": 16, "embedding_size": 5, "streams": 1, "sequence_length": 5, **options}
    problem = LanguageModelProblem(folder / "text.txt", LanguageModelConfig(**chosen), 3, folder / "stores")
    with torch.no_grad():
        for weight in problem.model.parameters():
            weight.mul_(2.0)
    problem.save_model(folder / "model")
    return folder / "model"


@pytest.mark.parametrize("options", MODELS, ids=str)
def test_a_language_model_says_the_same_without_torch(tmp_path: Path, options: dict[str, Any]) -> None:
    folder = saved(tmp_path, options)
    model, other = runtime.load(folder), load_with_torch(folder)
    assert isinstance(model, runtime.LanguageModel)
    how: dict[str, Any] = {"samples": 2, "length": 40, "seed": 3, "temperature": 0.8, "prompt": "the "}
    assert model.sample(**how) == other.sample(**how)
    assert model.score(["the cat", "mat on"]) == other.score(["the cat", "mat on"])
    assert model.precision_loss("int8") == other.precision_loss("int8")


def test_zoneout_blends_in_scores_as_it_does_in_evaluation(tmp_path: Path) -> None:
    folder = saved(tmp_path, {"cell": "lstm", "zoneout": 0.3})
    text = "the cat sat on the mat"
    (tmp_path / "line.txt").write_text(f"\n{text}", encoding="utf-8")
    model = load_with_torch(folder)
    wanted = -model.evaluate(tmp_path / "line.txt")["loss"] * len(text)
    for scored in (model.score([text])[0], runtime.load(folder).score([text])[0]):
        assert scored.log_probability == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize(
    ("part", "name", "value", "said"),
    [
        ("model", "zoneout", 1.5, r"zoneout must be from 0 up to, not including, 1; got 1\.5"),
        ("model", "projection_size", "x", "projection_size must be from 1 to 65,536; got x"),
        ("model", "residual", "no", "residual must be true or false; got no"),
        ("model", "tied", True, "tied weights must be one matrix; got two that differ"),
        ("cell", "init", "x", "init must be a table of parameters; got 'x'"),
    ],
)
def test_options_of_a_damaged_folder_are_refused(
    tmp_path: Path, part: str, name: str, value: object, said: str
) -> None:
    config, tensors = read_model_folder(saved(tmp_path, {"cell": "lstm"}))
    config[part][name] = value
    extra = {"vocabulary.json": (tmp_path / "model" / "vocabulary.json").read_bytes()}
    write_model_folder(tmp_path / "changed", config, tensors, extra)
    with pytest.raises(ModelFileError, match=said):
        runtime.load(tmp_path / "changed")


def test_matrices_that_are_said_to_be_tied_are_one(tmp_path: Path) -> None:
    """With torch one of the two was taken, without it the other."""
    folder = saved(tmp_path, {"cell": "gru", "tied": True, "hidden_size": 5})
    config, tensors = read_model_folder(folder)
    tensors["head.weight"] = tensors["head.weight"] + 1
    write_model_folder(folder, config, tensors, {"vocabulary.json": (folder / "vocabulary.json").read_bytes()})
    for load in (runtime.load, load_with_torch):
        with pytest.raises(ModelFileError, match=r"model\.safetensors: tied weights must be one matrix"):
            load(folder)


@pytest.mark.parametrize("pooling", ["last", "centre"])
def test_classes_of_a_network_with_zoneout(tmp_path: Path, pooling: str) -> None:
    how = {"hidden_size": 8, "layers": 1, "zoneout": 0.4}
    network = ManyToOne(
        TokenVectors(20, 8, seed=2), lambda width: SoftmaxHead(width, 3), cell="gru", pooling=pooling, seed=1,
        bidirectional=False, **how,  # type: ignore[arg-type]
    ).eval()  # fmt: skip
    model = runtime.load(write(tmp_path / "model", network, "gru", pooling=pooling, **how))
    assert isinstance(model, runtime.Network)
    tokens = [3, 5, 19, 0]
    with torch.no_grad():
        wanted = network(Ragged(torch.tensor([tokens]), torch.tensor([4])))[0]
    np.testing.assert_allclose(model.scores([tokens])[0], wanted.numpy(), atol=1e-5)


def test_no_other_library_is_imported(tmp_path: Path) -> None:
    """In a process where everything but NumPy and lark is missing."""
    folder = saved(tmp_path, {"cell": "lstm"})
    missing = ["torch", "pydantic", "click", "rich", "matplotlib", "safetensors", "tokenizers", "scipy"]
    code = (
        f"import sys\nsys.modules.update(dict.fromkeys({missing}))\n"
        "import elman.runtime\nimport json\n"
        f"model = elman.runtime.load({str(folder)!r})\n"
        "scored = model.score(['the cat'])[0].log_probability\n"
        "print(json.dumps([model.sample(length=30, seed=2), scored]))"
    )
    root = Path(elman.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    other = load_with_torch(folder)
    assert json.loads(done.stdout) == [other.sample(length=30, seed=2), other.score(["the cat"])[0].log_probability]


def shake(network: torch.nn.Module) -> None:
    """Give every parameter a value of its own: biases are zero at first, and could be left out or taken away."""
    draws = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=draws))


def write(folder: Path, network: torch.nn.Module, cell: str, **options: Any) -> Path:
    """Save a network, its parameters shaken, as a task by examples does."""
    shake(network)
    config = {"task": "some-task", "model": options, "cell": describe_cell(cells[cell])}
    write_model_folder(folder, config, network.state_dict(), {"codecs.json": '{"labels": {"kind": "labels"}}'})
    return folder


@pytest.mark.parametrize("pooling", ["last", "mean", "max", "centre"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_classes_of_token_sequences(tmp_path: Path, pooling: str, bidirectional: bool) -> None:
    how = {"hidden_size": 8, "layers": 2, "residual": not bidirectional}
    network = ManyToOne(
        TokenVectors(20, 8, seed=2),
        lambda width: SoftmaxHead(width, 3),
        cell="gru",
        pooling=pooling,
        dense=(7, 6),
        bidirectional=bidirectional,
        seed=1,
        **how,  # type: ignore[arg-type]
    ).eval()
    model = runtime.load(write(tmp_path / "model", network, "gru", pooling=pooling, **how))
    assert isinstance(model, runtime.Network) and model.codecs == {"labels": {"kind": "labels"}}
    sequences = [[3, 5, 19, 0], [7], [1, 2, 3, 4, 5, 6, 7]]
    for tokens, found, shares in zip(sequences, model.scores(sequences), model.probabilities(sequences), strict=True):
        with torch.no_grad():
            wanted = network(Ragged(torch.tensor([tokens]), torch.tensor([len(tokens)])))[0]
        np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)
        np.testing.assert_allclose(shares, torch.softmax(wanted, 0).numpy(), atol=1e-5)
    assert model.scores([]) == []
    for wrong in ([20], [3, 20], [20, 3], [3, -1], [0.5], [[1, 2]]):
        with pytest.raises(ShapeError, match="from 0 to 19"):
            model.scores([wrong])
    with pytest.raises(ShapeError, match="sequence 1"):
        model.scores([[1], []])


def test_numbers_at_each_step(tmp_path: Path) -> None:
    """A regression on vectors, whose size is seen from the weights."""
    network = ManyToManyInStep(
        Numbers(3), lambda width: RegressionHead(width, 2), cell="lstm_peephole", hidden_size=9, seed=1
    ).eval()
    model = runtime.load(write(tmp_path / "model", network, "lstm_peephole", hidden_size=9, layers=1))
    assert isinstance(model, runtime.Network)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = network(Ragged(x.unsqueeze(0), torch.tensor([5])))[0][0].flatten(1)  # (T, K)
    found = model.scores([x[:2].numpy(), x.numpy()])
    np.testing.assert_allclose(found[1], wanted.numpy(), atol=1e-5)
    np.testing.assert_array_equal(found[0], found[1][:2])
    for wrong in (np.zeros((4, 2)), np.zeros((0, 3)), np.zeros(3)):
        with pytest.raises(ShapeError, match=r"shape \(T, 3\)"):
            model.scores([wrong])
    network.head.transitions = torch.nn.Parameter(torch.zeros(2))
    with pytest.raises(ModelFileError, match=r"must hold tensors that elman\.runtime knows; got head\.transitions"):
        runtime.load(write(tmp_path / "other", network, "lstm_peephole", hidden_size=9, layers=1))


def test_probabilities_are_of_classes_only(tmp_path: Path) -> None:
    network = ManyToManyInStep(Numbers(3), lambda width: RegressionHead(width, 2), cell="gru", hidden_size=6)
    folder = write(tmp_path / "model", network, "gru", hidden_size=6, layers=1)
    config, tensors = read_model_folder(folder)
    write_model_folder(folder, {**config, "task": "series-regression"}, tensors, {"codecs.json": '{"targets": {}}'})
    model = runtime.load(folder)
    assert isinstance(model, runtime.Network) and model.scores([np.zeros((4, 3))])[0].shape == (4, 2)
    with pytest.raises(UsageError, match="must be of a network of classes; got one of series-regression"):
        model.probabilities([np.zeros((4, 3))])


def test_labels_at_each_step_whatever_pooling_the_options_hold(tmp_path: Path) -> None:
    """The options of tasks that label a sequence or its steps hold a pooling in either case."""
    network = ManyToManyInStep(
        Numbers(4), lambda width: SoftmaxHead(width, 3), cell="gru", hidden_size=6, bidirectional=True, seed=1
    ).eval()
    shake(network)
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = network(Ragged(x.unsqueeze(0), torch.tensor([5])))[0][0].numpy()  # (T, K)
    for pooling in ("attention", "mean"):
        config = {"task": "dna", "model": {"pooling": pooling, "hidden_size": 6, "layers": 1}}
        config["cell"] = describe_cell(cells["gru"])
        folder = tmp_path / pooling
        write_model_folder(folder, config, network.state_dict(), {"codecs.json": '{"step_labels": {"kind": "labels"}}'})
        model = runtime.load(folder)
        assert isinstance(model, runtime.Network)
        np.testing.assert_allclose(model.scores([x.numpy()])[0], wanted, atol=1e-5)
        shares = torch.softmax(torch.from_numpy(wanted), dim=1).numpy()
        np.testing.assert_allclose(model.probabilities([x.numpy()])[0], shares, atol=1e-5)


def layer_of(cell: str, input_size: int, hidden_size: int, reverse: bool = False) -> tuple[elman.Recurrent, Layer]:
    own = elman.Recurrent(cell, input_size, hidden_size, reverse=reverse, seed=4)
    weights = {name: weight.detach().numpy() for name, weight in own.weights.items()}
    return own, Layer(own.cell, input_size, hidden_size, weights, reverse=reverse)


def test_a_stack_streams_and_reads_from_the_end() -> None:
    x = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))
    lengths = [6, 2, 4]
    for reverse in (False, True):
        own, layer = layer_of("lstm", 4, 5, reverse)
        padded = x.clone()
        padded[1, 2:] = torch.nan
        with torch.no_grad():
            y, state = own(x, lengths)
        found, after = Stack([[layer]]).run(padded.numpy(), lengths)
        np.testing.assert_allclose(found, y.numpy(), atol=1e-6)
        np.testing.assert_allclose(after[0][0]["c"], state["c"].numpy(), atol=1e-6)
    forwards = Stack([[layer_of("lstm", 4, 5)[1]], [layer_of("gru", 5, 3)[1]]])
    whole, end = forwards.run(x.numpy())
    carried = None
    for t in range(6):
        y_t, carried = forwards.step(x[:, t].numpy(), carried)
        np.testing.assert_array_equal(y_t, whole[:, t])
    assert carried is not None
    assert all(np.array_equal(a[0][s], b[0][s]) for a, b in zip(carried, end, strict=True) for s in a[0])
    with pytest.raises(ShapeError, match="reads from the end"):
        Stack([[layer]]).step(x[:, 0].numpy())
    with pytest.raises(ShapeError, match="from 1 to 6"):
        forwards.run(x.numpy(), [6, 7, 1])
    with pytest.raises(ShapeError, match="state must be that of 2 layers"):
        forwards.run(x.numpy(), None, end[:1])


# ---- refusals


def changed(folder: Path, **tensors: torch.Tensor | None) -> Path:
    """Write a folder again with other tensors, None to leave one out."""
    config, found = read_model_folder(folder)
    files = {"vocabulary.json": (folder / "vocabulary.json").read_bytes()}
    new = {name.replace("__", "."): value for name, value in tensors.items()}
    write_model_folder(folder, config, {k: v for k, v in {**found, **new}.items() if v is not None}, files)
    return folder


@pytest.mark.parametrize(
    ("tensors", "error", "said"),
    [
        (
            {"head__bias": torch.tensor([0.0] * 13 + [torch.nan])},
            DivergedError,
            "'head.bias' must hold finite numbers; got nan",
        ),
        ({"head__weight": torch.zeros(14, 15)}, ModelFileError, r"must have shape \(14, 16\); got \(14, 15\)"),
        ({"head__weight": None}, ModelFileError, "must hold tensor 'head.weight'; got none"),
        ({"head__bias": torch.zeros(14, dtype=torch.float64)}, ModelFileError, "type F32; got F64"),
        ({"head__transitions": torch.zeros(2)}, ModelFileError, "got head.transitions"),
    ],
)
def test_folders_that_hold_something_else(
    tmp_path: Path, tensors: dict[str, torch.Tensor | None], error: type[Exception], said: str
) -> None:
    folder = saved(tmp_path, {"cell": "rnn"})
    assert runtime.load(folder)
    changed(folder, **tensors)
    with pytest.raises(error, match=said):
        runtime.load(folder)


@pytest.mark.parametrize("name", ["encoder.inputs.weight", "top.weights.0", "head.weight"])
@pytest.mark.parametrize("shape", [(), (3,), (0,), (6, 0), (2, 3, 4)])
def test_tensors_of_other_shapes_are_refused(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    network = ManyToOne(
        TokenVectors(20, 8), lambda width: SoftmaxHead(width, 3), cell="gru", pooling="last", dense=(5,), hidden_size=6
    )
    folder = write(tmp_path / "model", network, "gru", pooling="last", hidden_size=6, layers=1)
    config, tensors = read_model_folder(folder)
    write_model_folder(folder, config, {**tensors, name: torch.zeros(shape)}, {"codecs.json": "{}"})
    with pytest.raises((ModelFileError, ShapeError)):
        runtime.load(folder)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
def test_a_size_is_not_seen_from_a_tensor_of_another_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    network = ManyToManyInStep(Numbers(3), lambda width: RegressionHead(width, 2), cell="gru", hidden_size=6)
    folder = write(tmp_path / "model", network, "gru", hidden_size=6, layers=1)
    config, tensors = read_model_folder(folder)
    first = next(name for name in tensors if ".recurrent." in name)
    write_model_folder(folder, config, {**tensors, first: torch.zeros(shape)}, {"codecs.json": "{}"})
    with pytest.raises(ModelFileError, match=f"tensor '{first}' must have 2 axes; got shape"):
        runtime.load(folder)


def test_codecs_and_equations_that_are_none(tmp_path: Path) -> None:
    network = ManyToManyInStep(Numbers(3), lambda width: RegressionHead(width, 2), cell="gru", hidden_size=6)
    folder = write(tmp_path / "model", network, "gru", hidden_size=6, layers=1)
    config, tensors = read_model_folder(folder)
    write_model_folder(folder, config, tensors, {"codecs.json": "null"})
    with pytest.raises(ModelFileError, match=r"codecs\.json: must be a table of codecs by name; got None"):
        runtime.load(folder)
    config["cell"]["equations"] = "h = " + "(" * 5000 + "x" + ")" * 5000
    write_model_folder(folder, config, tensors, {"codecs.json": "{}"})
    with pytest.raises(ModelFileError, match="must describe a cell; equations must not be nested this deeply"):
        runtime.load(folder)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("hidden_size", "16", "hidden_size must be from 1 to 65,536; got 16"),
        ("layers", 0, "layers must be from 1"),
        ("vocabulary_size", True, "vocabulary_size must be from 2"),
        ("layers", 3, "must hold tensor 'recurrent.layers.2.W"),
    ],
)
def test_configs_that_do_not_describe_the_weights(tmp_path: Path, name: str, value: Any, said: str) -> None:
    folder = saved(tmp_path, {"cell": "rnn"})
    config, tensors = read_model_folder(folder)
    config["model"][name] = value
    files = {"vocabulary.json": (folder / "vocabulary.json").read_bytes()}
    write_model_folder(folder, config, tensors, files)
    with pytest.raises(ModelFileError, match=said):
        runtime.load(folder)


def test_damaged_and_missing_folders(tmp_path: Path) -> None:
    folder = saved(tmp_path, {"cell": "rnn"})
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(data))
    with pytest.raises(ModelFileError, match="SHA-256"):
        runtime.load(folder)
    with pytest.raises(MissingInputError):
        runtime.load(tmp_path / "nothing")


def test_an_answer_about_both_strands_needs_torch(tmp_path: Path) -> None:
    """It is the mean of what the network says of a sequence and of its other strand."""
    network = ManyToOne(
        Numbers(4), lambda width: SoftmaxHead(width, 2), cell="gru", pooling="mean", hidden_size=6, bidirectional=True
    )
    how = {"pooling": "mean", "hidden_size": 6, "layers": 1}
    assert runtime.load(write(tmp_path / "one", network, "gru", strands="one", **how))
    with pytest.raises(ModelFileError, match="strands must be one; got 'both'"):
        runtime.load(write(tmp_path / "both", network, "gru", strands="both", **how))


def test_a_network_of_another_shape_is_sent_to_torch(tmp_path: Path) -> None:
    """Nothing is damaged: the runtime does not know one to many."""
    network = OneToMany(3, 20, cell="lstm", hidden_size=8, embedding_size=4)
    folder = write(tmp_path / "model", network, "lstm", hidden_size=8, layers=1)
    with pytest.raises(ModelFileError, match="got none") as caught:
        runtime.load(folder)
    assert caught.value.hint == "load the model with elman.tasks.load, which needs torch"


def test_attention_needs_torch(tmp_path: Path) -> None:
    network = ManyToOne(TokenVectors(20, 8), lambda width: SoftmaxHead(width, 3), cell="gru", pooling="attention")
    folder = write(tmp_path / "model", network, "gru", pooling="attention", hidden_size=128, layers=1)
    with pytest.raises(ModelFileError, match="pooling must be one of last, mean, max, centre; got 'attention'"):
        runtime.load(folder)
