"""The language model as a network: causality, stepping, one-hot input, tied weights, output equations, first values."""

from __future__ import annotations

import pytest
import torch

from elman import Cell
from elman.architectures import LanguageModel
from elman.errors import ShapeError, UsageError
from elman.heads import SoftmaxHead
from elman.layers.regularisers import drop
from elman.randomness import drawing

V = 7
VANILLA = "a = tanh(W_aa a<t-1> + W_ax x + b_a)\n"


def small(cell="gru", **options) -> LanguageModel:
    chosen = {"layers": 2, "hidden_size": 6, "embedding_size": 5, "seed": 1, **options}
    return LanguageModel(V, cell, **chosen).double()


def tokens(rows=3, steps=8, seed=0) -> torch.Tensor:
    return torch.randint(0, V, (rows, steps), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("embedding_size", [0, 5])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "indrnn"])
def test_steps_equal_the_whole(cell, embedding_size):
    model, read = small(cell, embedding_size=embedding_size).eval(), tokens()
    with torch.no_grad():
        whole, after = model(read)
        state = model.initial_state(3)
        for t in range(8):
            logits, state = model.step(read[:, t], state)
            torch.testing.assert_close(logits, whole[:, t], rtol=1e-10, atol=1e-12)
    for layer, expected in zip(state, after, strict=True):
        for name in layer:
            torch.testing.assert_close(layer[name], expected[name], rtol=1e-10, atol=1e-12)


def test_output_does_not_depend_on_what_comes_later():
    model, read = small().eval(), tokens()
    changed = read.clone()
    changed[:, 5] = (changed[:, 5] + 1) % V
    before, after = model(read)[0], model(changed)[0]
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.isclose(before[:, 5:], after[:, 5:]).all(dim=-1).any()


def test_one_hot_input_is_an_embedding_by_the_unit_matrix():
    one_hot, embedded = small(embedding_size=0).eval(), small(embedding_size=V).eval()
    embedded.recurrent.load_state_dict(one_hot.recurrent.state_dict())
    embedded.head.load_state_dict(one_hot.head.state_dict())
    with torch.no_grad():
        embedded.embedding.weight.copy_(torch.eye(V))
    torch.testing.assert_close(one_hot(tokens())[0], embedded(tokens())[0], rtol=1e-12, atol=1e-12)


def test_every_parameter_learns():
    model = small("lstm", residual=True)
    model.head.nats(model(tokens())[0], tokens(seed=1)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_tied_matrix_is_one_parameter_with_the_sum_of_both_gradients():
    tied, free = small(embedding_size=6, tied=True), small(embedding_size=6)
    assert tied.is_tied and not free.is_tied
    assert len(list(free.parameters())) == len(list(tied.parameters())) + 1
    free.load_state_dict(tied.state_dict())
    for model in (tied, free):
        model.head.nats(model(tokens())[0], tokens(seed=1)).backward()
    both = free.embedding.weight.grad + free.head.weight.grad
    torch.testing.assert_close(tied.head.weight.grad, both, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tied": True}, r"tied: embedding_size must equal the output size of the recurrent part, 6; got 5"),
        ({"tied": True, "embedding_size": 0}, r"tied: must have an embedding to act on"),
        ({"input_dropout": 0.1, "embedding_size": 0}, r"input_dropout: must have an embedding to act on"),
        ({"bidirectional": True}, r"cannot be bidirectional: the direction that reads from the end sees the token"),
        ({"dropout": 1.0}, r"dropout must be a probability"),
        ({"residual": True, "layers": 1}, r"residual must find a layer"),
        ({"cell": "rnn", "forget_bias": 1.0}, r"forget_bias: must"),
        ({"cell": "gruu"}, r"did you mean 'gru'"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        small(**options)


def test_dropout_is_drawn_by_function_and_in_training_only():
    model, read = small(dropout=0.4, input_dropout=0.3), tokens()

    def run(*where):
        with drawing(0, *where):
            return model(read)[0]

    assert torch.equal(run("a"), run("a"))
    assert not torch.equal(run("a"), run("b"))
    model.eval()
    assert torch.equal(run("a"), run("b"))


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_dropout_stands_between_layers_and_below_the_head(layers):
    model, read = small(layers=layers, dropout=0.4), tokens()
    with drawing(0, "x"):
        found, _ = model(read)
    y = model.embed(read)
    with drawing(0, "x"):
        for n, layer in enumerate(model.recurrent.layers):
            y = drop(y, 0.4, f"between layers {n - 1}") if n else y
            y, _ = layer(y)
        wanted = model.head(drop(y, 0.4, "output dropout"))
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def test_output_dropout_acts_on_a_single_layer():
    model = small(layers=1, dropout=0.5)
    y = torch.ones(1, 400, 6, dtype=torch.float64)
    with drawing(0, "x"), torch.no_grad():
        model.head.weight.copy_(torch.eye(V, 6))
        values = (model.logits(y) - model.head.bias)[..., :6]
    assert set(values.unique().tolist()) == {0.0, 2.0}
    assert 0.45 < (values > 0).double().mean() < 0.55


def test_first_values_are_a_function_of_the_seed_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, same, other = small(), small(), small(seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters(), strict=True))
    assert not torch.equal(first.embedding.weight, other.embedding.weight)
    assert not torch.equal(first.recurrent.layers[0].weights["W_r"], other.recurrent.layers[0].weights["W_r"])


def test_uniform_for_all_reaches_every_matrix_and_the_forget_bias():
    """Zaremba's initialisation; the cell's own would set the forget bias to one."""
    model = LanguageModel(40, "lstm", 2, 30, 20, init={"*": "uniform:0.1"}, seed=0)
    for name, weight in model.named_parameters():
        if name == "head.bias":
            continue
        assert 0.08 < float(weight.detach().abs().max()) <= 0.1, name
    assert float(small("lstm").recurrent.layers[0].weights["b_f"].detach().min()) == 1.0


def test_token_vectors_begin_with_variance_one_unless_they_are_the_head():
    vectors = LanguageModel(400, "gru", 1, 64, 64, seed=0).embedding.weight.detach()
    assert float(vectors.std()) == pytest.approx(1.0, abs=0.02) and float(vectors.mean().abs()) < 0.02
    assert float(vectors.abs().max()) > 3
    shared = LanguageModel(400, "gru", 1, 64, 64, tied=True, seed=0).embedding.weight.detach()
    assert 0.12 < float(shared.abs().max()) <= 0.125


def test_forget_bias_is_set_and_read_by_the_cell_only():
    model = small("lstm", forget_bias=2.5)
    assert all(float(layer.weights["b_f"].detach().min()) == 2.5 for layer in model.recurrent.layers)
    assert float(model.recurrent.layers[0].weights["b_i"].detach().abs().max()) == 0.0


# ---- the output equation of a cell


@pytest.mark.parametrize(
    ("equation", "names"),
    [
        ("y^ = softmax(W_ya a + b_y)", ("W_ya", "b_y")),
        ("y^ = softmax(b_o + V a)", ("V", "b_o")),
        ("y^ = softmax(W_ya a)", ("W_ya",)),
    ],
)
def test_output_equation_names_the_head(equation, names):
    model = small(Cell(VANILLA + equation))
    shapes = {name: tuple(weight.shape) for name, weight in model.head.weights.items()}
    assert shapes == {name: ((V, 6) if name[0] in "WV" else (V,)) for name in names}


def test_notes_output_equation_computes_softmax_of_w_a_plus_b():
    text = r"""
    a^{<t>} = g_1(W_{aa} a^{<t-1>} + W_{ax} x^{<t>} + b_a)
    \hat{y}^{<t>} = g_2(W_{ya} a^{<t>} + b_y)
    """
    model = small(Cell(text, functions={"g_1": "tanh", "g_2": "softmax"}), layers=1).eval()
    with torch.no_grad():
        model.head.bias.uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
    weights = dict(model.recurrent.layers[0].weights)
    a = torch.zeros(3, 6, dtype=torch.float64)
    for t in range(8):
        x = model.embedding.weight[tokens()[:, t]]
        a = torch.tanh(a @ weights["W_aa"].T + x @ weights["W_ax"].T + weights["b_a"])
    expected = a @ model.head.weights["W_ya"].T + model.head.weights["b_y"]
    torch.testing.assert_close(model(tokens())[0][:, -1], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("equation", "message"),
    [
        ("y^ = sigmoid(W_ya a + b_y)", "must be a softmax; got sigmoid"),
        ("y^ = softmax(W_ya a<t-1> + b_y)", "with a value a of this step"),
        ("y^ = softmax(2 * W_ya a + b_y)", r"must be softmax\(W a \+ b\)"),
        ("y^ = softmax(W_ya a + U a + b_y)", r"must be softmax\(W a \+ b\)"),
    ],
)
def test_output_equations_of_other_form_are_refused(equation, message):
    with pytest.raises(UsageError, match=message):
        small(Cell(VANILLA + equation))


def test_bidirectional_output_equation_is_refused():
    text = r"""
    a^{<t>} = \tanh(W_{aa} a^{<t-1>} + W_{ax} x^{<t>} + b_a)
    \hat{y}^{<t>} = g(W_y[\overrightarrow{a}^{<t>}, \overleftarrow{a}^{<t>}] + b_y)
    """
    with pytest.raises(UsageError, match="cannot be bidirectional"):
        small(Cell(text, functions={"g": "softmax"}))


def test_shared_matrix_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"must have shape \(7, 6\); got \(7, 5\)"):
        SoftmaxHead(6, V, tied=torch.nn.Parameter(torch.zeros(7, 5)))


def test_ignored_targets_count_nothing():
    head = SoftmaxHead(3, V)
    logits = torch.randn(2, 4, V, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[1, -100, 2, 3], [-100, -100, 0, 6]])
    rows = [(b, t) for b in range(2) for t in range(4) if targets[b, t] >= 0]
    expected = sum(float(torch.logsumexp(logits[b, t], 0) - logits[b, t, targets[b, t]]) for b, t in rows)
    assert float(head.nats(logits, targets)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("embedding_size", [0, 5])
@pytest.mark.parametrize("token", [V, -1])
def test_a_token_that_does_not_exist_is_refused_and_named(embedding_size, token):
    model, read = small(embedding_size=embedding_size), tokens()
    read[1, 2] = token
    with pytest.raises(ShapeError, match=rf"LanguageModel: tokens must be from 0 to 6; got {token} at tokens\[1, 2\]"):
        model(read)
    with pytest.raises(ShapeError, match=r"tokens must be a tensor of whole numbers; got torch\.float32"):
        model(read.float())
