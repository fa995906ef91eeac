"""One to one, many to one, many to many in step: each sequence as if it were alone, poolings by hand, what learns."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from elman.architectures import (
    POOLINGS,
    Encoder,
    ManyToManyInStep,
    ManyToOne,
    Numbers,
    OneToMany,
    OneToOne,
    Places,
    Ragged,
    SpelledWords,
    StackedFrames,
    StepPatterns,
    TokenVectors,
    WordsAndLetters,
)
from elman.architectures.dense import Dense
from elman.errors import ShapeError, UsageError
from elman.heads import BinaryHead, CrfHead, CtcHead, RegressionHead, SoftmaxHead
from elman.layers.regularisers import drop
from elman.randomness import drawing

V, K, LENGTHS = 9, 3, (4, 1, 6)


def sentences(seed: int = 0) -> Ragged:
    tokens = torch.randint(0, V, (len(LENGTHS), max(LENGTHS)), generator=torch.Generator().manual_seed(seed))
    return Ragged(tokens, torch.tensor(LENGTHS))


def alone(x: Ragged, row: int) -> Ragged:
    length = int(x.lengths[row])
    return Ragged(x.values[row : row + 1, :length], torch.tensor([length]))


def many_to_one(**options) -> ManyToOne:
    chosen = {"hidden_size": 5, "layers": 2, "cell": "gru", "seed": 3, **options}
    return ManyToOne(TokenVectors(V, 4, seed=3), partial(SoftmaxHead, classes=K), **chosen).double()


def in_step(head=None, **options) -> ManyToManyInStep:
    chosen = {"hidden_size": 5, "cell": "lstm", "seed": 3, **options}
    return ManyToManyInStep(TokenVectors(V, 4, seed=3), head or partial(SoftmaxHead, classes=K), **chosen).double()


# ---- ragged batches


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_each_sequence_gets_what_it_gets_alone(pooling, bidirectional):
    network, x = many_to_one(pooling=pooling, bidirectional=bidirectional, dense=(7,)).eval(), sentences()
    together = network(x)
    for row in range(len(LENGTHS)):
        torch.testing.assert_close(together[row : row + 1], network(alone(x, row)), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_each_step_gets_what_it_gets_alone(bidirectional):
    network, x = in_step(bidirectional=bidirectional, dense=(6,)).eval(), sentences()
    together, lengths = network(x)
    assert lengths.tolist() == list(LENGTHS)
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(together[row, :length], network(alone(x, row))[0][0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 4, 5])
def test_poolings_are_their_definitions(length):
    y = torch.randn(1, length, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    padded = torch.cat([y, torch.full((1, 2, 6), torch.nan, dtype=torch.float64)], dim=1)
    network = {kind: many_to_one(pooling=kind, bidirectional=True, hidden_size=3) for kind in POOLINGS}
    found = {kind: network[kind].pooling(padded, torch.tensor([length]))[0] for kind in POOLINGS}
    attention = network["attention"].pooling
    weights = torch.softmax(torch.tanh(y[0] @ attention.W.T + attention.b) @ attention.v, dim=0)
    expected = {
        "last": torch.cat([y[0, length - 1, :3], y[0, 0, 3:]]),
        "mean": y[0].mean(0),
        "max": y[0].max(0).values,
        "attention": (weights.unsqueeze(1) * y[0]).sum(0),
        "centre": y[0, {1: 0, 2: 0, 4: 1, 5: 2}[length]],
    }
    for kind in POOLINGS:
        torch.testing.assert_close(found[kind], expected[kind], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(attention.shares(padded, torch.tensor([length]))[0, :length], weights)


@pytest.mark.parametrize("kind", POOLINGS)
def test_what_stands_beyond_a_length_reaches_no_derivative(kind):
    pooling = many_to_one(pooling=kind, bidirectional=True, hidden_size=3).pooling
    y = torch.full((1, 7, 6), torch.nan, dtype=torch.float64)
    y[0, :5] = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pooling(y.requires_grad_(), torch.tensor([5])).square().sum().backward()
    for slope in [y.grad, *(weight.grad for weight in pooling.parameters())]:
        assert bool(slope.isfinite().all())
    assert bool((y.grad[0, 5:] == 0).all()) and bool((y.grad[0, :5] != 0).any())


def test_last_of_both_directions_is_what_each_says_when_it_has_read_everything():
    """The output at t = 1 of the direction that reads forwards has read one token, and no pooling may take it."""
    network = many_to_one(bidirectional=True, layers=1, pooling="last").eval()
    x = sentences()
    read = network.encoder(x)
    _, state = network.encoder.recurrent(network.encoder.inputs(x).values, x.lengths)
    both = torch.cat([state[0][0].c, state[0][1].c], dim=1)
    torch.testing.assert_close(network.pooling(read.values, x.lengths), both, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("head", "targets"),
    [
        (partial(SoftmaxHead, classes=K), torch.tensor([[0, 1, 2, 0, 0, 0], [1] * 6, [2, 2, 1, 1, 0, 0]])),
        (partial(CrfHead, labels=K), torch.tensor([[0, 1, 2, 0, 0, 0], [1] * 6, [2, 2, 1, 1, 0, 0]])),
        (partial(BinaryHead, labels=2), torch.ones(3, 6, 2)),
        (partial(RegressionHead, outputs=2, kind="gaussian"), torch.ones(3, 6, 2, dtype=torch.float64)),
        (partial(CtcHead, labels=K), (torch.tensor([[1, 2], [3, 1], [3, 3]]), torch.tensor([2, 1, 2]))),
    ],
)
def test_every_head_stands_on_every_step_and_every_parameter_learns(head, targets):
    network = in_step(head, bidirectional=True, dense=(7,), layers=2)
    loss = network.loss(sentences(), targets)
    assert loss.items in (11, 22, 5)
    loss.mean.backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


# ---- what is taken


ROWS = [torch.tensor([1, 2, 3, 4]), torch.tensor([5]), torch.tensor([6, 7, 8, 0, 1, 2])]


def test_a_list_a_tensor_with_lengths_and_a_ragged_are_the_same():
    one, each, padded = many_to_one().eval(), in_step().eval(), torch.nn.utils.rnn.pad_sequence(ROWS, batch_first=True)
    given = [(ROWS,), (padded, list(LENGTHS)), (padded, torch.tensor(LENGTHS)), (Ragged(padded, list(LENGTHS)),)]
    wanted, targets = one(Ragged(padded, torch.tensor(LENGTHS))), torch.tensor([0, 1, 2])
    for x, *lengths in given:
        assert torch.equal(one(x, *lengths), wanted)
        assert torch.equal(one.loss(x, targets, *lengths).nats, one.loss(Ragged(padded, LENGTHS), targets).nats)
        assert each(x, *lengths)[1].tolist() == list(LENGTHS)
        assert each.loss(x, padded.clamp(max=2), *lengths).items == sum(LENGTHS)
        assert torch.equal(one.encoder.inputs(x).values, one.encoder.inputs(padded).values) or lengths


def test_numbers_are_taken_as_layers_take_them():
    network = ManyToOne(Numbers(3), partial(SoftmaxHead, classes=4), hidden_size=5).eval()
    x = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    whole = network(Ragged(x, torch.tensor([4, 4])))
    assert torch.equal(network(x), whole) and torch.equal(network(list(x)), whole)


@pytest.mark.parametrize(
    ("x", "lengths", "message"),
    [
        ([], None, "x must have at least one sequence; got an empty list"),
        ([torch.zeros(2, 3), torch.zeros(2, 4)], None, r"sequence 1 must have shape \(T, 3\) with T >= 1; got shape"),
        ([torch.zeros(2, 3), [1.0]], None, "sequence 1 must have shape .*; got list"),
        ([torch.zeros(2, 3)], [2], "lengths must be left out for a list of sequences"),
        (Ragged(torch.zeros(2, 3, 3), [3, 2]), [3, 2], "lengths must be left out for a Ragged"),
        (torch.zeros(2, 3, 3), [3, 4], "every length must be from 1 to T = 3; got 4 for sequence 1"),
        (torch.zeros(2, 3, 3), [3], r"lengths must have shape \(2,\), one for each sequence; got \(1,\)"),
        (torch.zeros(2, 0, 3), None, r"at least one sequence and one step; got \(2, 0, 3\)"),
        (torch.zeros(3), None, r"x must have shape \(B, T, ...\).*; got \(3,\)"),
        (torch.zeros(2, 3), None, r"x must have shape \(B, T, I\) with I = 3; got a tensor of shape \(2, 3\)"),
        (torch.zeros(2, 3, 2), None, r"x must have shape \(B, T, I\) with I = 3; got a tensor of shape \(2, 3, 2\)"),
    ],
)
def test_what_cannot_be_taken_is_refused(x, lengths, message):
    network = ManyToOne(Numbers(3), partial(SoftmaxHead, classes=4), hidden_size=5)
    with pytest.raises(ShapeError, match=message):
        network(x, lengths)


@pytest.mark.parametrize(
    ("x", "got"),
    [
        (torch.zeros(2, 4), r"torch\.float32 of shape \(2, 4\)"),
        (torch.zeros(3), r"torch\.float32 of shape \(3,\)\n\nhint: one vector \(I,\) becomes a batch"),
        (torch.zeros(2, 3, dtype=torch.int64), "torch.int64"),
        ([1.0, 2.0, 3.0], "list"),
    ],
)
def test_shapes_that_take_one_vector_refuse_another(x, got):
    for network in (OneToOne(3, partial(SoftmaxHead, classes=2)), OneToMany(3, 9, hidden_size=4)):
        where = type(network).__name__
        with pytest.raises(
            ShapeError, match=rf"{where}: x must be floating point of shape \(B, I\) with I = 3; got {got}"
        ):
            network.begin(x) if isinstance(network, OneToMany) else network(x)


def test_lengths_of_a_ragged_must_be_whole_numbers():
    assert Ragged(torch.zeros(2, 3), [3, 2]).lengths.tolist() == [3, 2]
    for lengths in ([3.0, 2.0], ["a", "b"], [3]):
        with pytest.raises(ShapeError, match="Ragged: lengths must"):
            Ragged(torch.zeros(2, 3), lengths)


@pytest.mark.parametrize("forgetting", [None, torch.zeros(V)])
@pytest.mark.parametrize("token", [V, -1])
def test_a_token_without_a_vector_is_refused_and_named_and_padding_is_not_read(forgetting, token):
    vectors = TokenVectors(V, 4, forgetting=forgetting)
    x = torch.tensor([[1, 2, 3], [4, token, token]])
    with drawing(0, "x"):
        assert torch.equal(vectors(Ragged(x, [3, 1])).values[0], vectors.weight[1:4])
        message = rf"TokenVectors: tokens must be from 0 to 8; got {token} at tokens\[1, 1\]"
        with pytest.raises(ShapeError, match=message):
            vectors(Ragged(x, [3, 2]))
        with pytest.raises(ShapeError, match=r"tokens must be a tensor of whole numbers; got torch\.float32"):
            vectors(torch.zeros(2, 3))


# ---- direction


def test_causal_answers_do_not_depend_on_what_comes_later_and_others_do():
    x = sentences()
    changed = Ragged(x.values.clone(), x.lengths)
    changed.values[2, 4] = (changed.values[2, 4] + 1) % V
    for bidirectional in (False, True):
        network = in_step(bidirectional=bidirectional, causal=not bidirectional).eval()
        same = torch.isclose(network(x)[0][2, :4], network(changed)[0][2, :4]).all()
        assert bool(same) is not bidirectional


def test_bidirectional_is_refused_where_the_future_is_not_known():
    with pytest.raises(UsageError, match="causal: cannot be bidirectional: the direction that reads from the end sees"):
        in_step(bidirectional=True, causal=True)


@pytest.mark.parametrize(
    "ahead",
    [
        lambda inputs: StepPatterns(inputs, 3, 3),
        lambda inputs: Places(inputs, 2),
        lambda inputs: Encoder(inputs, "gru", 3, bidirectional=True),
        lambda inputs: StackedFrames(StepPatterns(inputs, 3, 3), 2),
    ],
)
def test_inputs_that_look_ahead_are_refused_where_the_future_is_not_known(ahead):
    head = partial(SoftmaxHead, classes=3)
    ManyToManyInStep(ahead(Numbers(2)), head, hidden_size=3)
    with pytest.raises(UsageError, match=r"causal: inputs must not know what comes after t; (StepP|Places|Encoder)"):
        ManyToManyInStep(ahead(Numbers(2)), head, hidden_size=3, causal=True)


def test_inputs_that_do_not_look_ahead_are_taken():
    speller = WordsAndLetters(TokenVectors(V, 4), TokenVectors(5, 2), 3)
    for inputs in (
        StepPatterns(Numbers(2), 3, 1),
        Encoder(Numbers(2), "gru", 3),
        StackedFrames(Numbers(2), 2),
        speller,
    ):
        ManyToManyInStep(inputs, partial(SoftmaxHead, classes=3), hidden_size=3, causal=True)


# ---- inputs


def test_forgotten_tokens_become_the_unknown_one_in_training_only():
    vectors = TokenVectors(V, 4, forgetting=torch.tensor([0.0, 1.0] + [0.0] * 7))
    x = Ragged(torch.tensor([[1, 2, 1]]), torch.tensor([3]))
    with drawing(0, "x"):
        trained = vectors(x).values
    assert torch.equal(trained[0, [0, 2]], vectors.weight[[0, 0]]) and torch.equal(trained[0, 1], vectors.weight[2])
    assert torch.equal(vectors.eval()(x).values[0], vectors.weight[[1, 2, 1]])
    assert set(vectors.state_dict()) == {"weight"}


def test_input_dropout_holds_over_a_sequence():
    numbers = Numbers(6, dropout=0.5)
    with drawing(0, "x"):
        found = numbers(Ragged(torch.ones(3, 5, 6), torch.tensor([5, 5, 5]))).values
    assert set(found.unique().tolist()) == {0.0, 2.0}
    assert bool((found == found[:, :1]).all())
    assert torch.equal(numbers.eval()(Ragged(torch.ones(1, 2, 6), torch.tensor([2]))).values, torch.ones(1, 2, 6))


@pytest.mark.parametrize("kind", ["tokens", "words"])
def test_dropped_components_of_vectors_are_the_same_at_all_steps_of_a_sequence(kind):
    x = Ragged(torch.full((3, 5), 2), torch.tensor([5, 5, 5]))
    if kind == "tokens":
        inputs = TokenVectors(V, 40, dropout=0.5, first=torch.ones(V, 40))
    else:
        inputs = WordsAndLetters(TokenVectors(V, 36, first=torch.ones(V, 36)), TokenVectors(5, 2), 2, dropout=0.5)
        x = SpelledWords(x, Ragged(torch.tensor([[4]]), torch.tensor([1])), torch.zeros(3, 5, dtype=torch.int64))
    with drawing(0, "x"):
        found = inputs(x).values
    assert torch.equal(found, found[:, :1].expand_as(found)) and not torch.equal(found[0], found[1])
    assert set(found[:, :, :36].unique().tolist()) == {0.0, 2.0} and bool((found[:, :, 36:] == 0).any())
    assert bool((inputs.eval()(x).values != 0).all())


def test_plain_layers_drop_what_each_reads_and_what_the_last_says():
    dense, x = Dense(6, (5, 4), 0.4, torch.Generator().manual_seed(0)), torch.rand(3, 6)
    with torch.no_grad():
        for bias in dense.biases:
            bias.fill_(0.3)
    with drawing(0, "x"):
        found = dense(x)
    y = x
    with drawing(0, "x"):
        for n in range(2):
            y = (drop(y, 0.4, f"dense {n}") @ dense.weights[n].T + 0.3).clamp(min=0)
        wanted = drop(y, 0.4, "dense 2")
    torch.testing.assert_close(found, wanted)
    assert not torch.equal(dense.eval()(x), found) and dense.output_size == 4


@pytest.mark.parametrize("layers", [1, 2])
def test_dropout_of_an_encoder_stands_between_its_layers(layers):
    assert Encoder(Numbers(2), "gru", 3, layers, dropout=0.3).recurrent.dropout == (0.3 if layers > 1 else 0.0)


def test_spelled_words_are_spelled_once_and_stand_where_they_belong():
    words, letters = TokenVectors(V, 4, seed=1), TokenVectors(5, 3, seed=2)
    network = WordsAndLetters(words, letters, 2, seed=3).eval()
    spelled = Ragged(torch.tensor([[1, 2, 3], [4, 0, 0]]), torch.tensor([3, 1]))
    x = SpelledWords(
        Ragged(torch.tensor([[1, 2, 1], [2, 0, 0]]), torch.tensor([3, 1])),
        spelled,
        torch.tensor([[0, 1, 0], [1, 0, 0]]),
    )
    found = network(x).values
    assert network.output_size == found.shape[2] == 8
    assert torch.equal(found[0, 0], found[0, 2])
    torch.testing.assert_close(found[0, 1], found[1, 0])
    torch.testing.assert_close(found[0, 1, :4], words.weight[2])
    read = network.speller(Ragged(torch.tensor([[4]]), torch.tensor([1]))).values[0, 0]
    torch.testing.assert_close(found[0, 1, 4:], read)


def test_first_vectors_can_be_given_and_must_fit():
    given = torch.arange(36.0).reshape(V, 4)
    assert torch.equal(TokenVectors(V, 4, first=given).weight, given)
    with pytest.raises(ShapeError, match=r"must have shape \(9, 4\); got \(4, 9\)"):
        TokenVectors(V, 4, first=given.T)


def test_options_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="did you mean 'mean'"):
        many_to_one(pooling="meen")
    with pytest.raises(UsageError, match="pooling 'attention'; got 'max'"):
        many_to_one(pooling="max").pooling.shares(torch.zeros(1, 2, 5), torch.tensor([2]))


def test_first_values_are_a_function_of_the_seed_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, same, other = (
        many_to_one(pooling="attention", dense=(4,)),
        many_to_one(pooling="attention", dense=(4,)),
        many_to_one(pooling="attention", dense=(4,), seed=4),
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters(), strict=True))
    assert not torch.equal(first.head.weight, other.head.weight)


# ---- what learns


def trained(network, batches, rate=0.02, steps=150):
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    for step in range(steps):
        with drawing(0, step):
            loss = network.loss(*batches(step))
        optimizer.zero_grad()
        loss.mean.backward()
        optimizer.step()
    return network.eval()


def test_one_to_one_learns_exclusive_or():
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([0, 1, 1, 0])
    network = trained(OneToOne(2, partial(SoftmaxHead, classes=2), dense=(16,), seed=0), lambda _: (x, y))
    assert torch.equal(network(x).argmax(1), y)


def bits(step: int) -> tuple[Ragged, torch.Tensor]:
    """Ragged sentences of tokens 1 and 2, and lengths."""
    source = torch.Generator().manual_seed(step)
    lengths = torch.randint(1, 7, (64,), generator=source)
    return Ragged(torch.randint(1, 3, (64, 6), generator=source), lengths), lengths


@pytest.mark.parametrize("pooling", ["last", "attention"])
def test_many_to_one_learns_the_first_token_of_a_ragged_sentence(pooling):
    def batch(step):
        x, _ = bits(step)
        return x, x.values[:, 0] - 1

    network = ManyToOne(
        TokenVectors(3, 4, seed=0), partial(SoftmaxHead, classes=2), hidden_size=8, pooling=pooling, dropout=0.1, seed=0
    )
    x, y = batch(10_000)
    assert float((trained(network, batch)(x).argmax(1) == y).float().mean()) > 0.98


def test_many_to_many_in_step_learns_to_look_both_ways():
    """The answer at t says whether the tokens before and after t are equal: one direction alone cannot know."""

    def batch(step):
        x, lengths = bits(step)
        real = torch.arange(6) < lengths.unsqueeze(1)
        tokens = torch.where(real, x.values, 0)
        ends = torch.nn.functional.pad(tokens, (1, 1))
        return x, (ends[:, :-2] == ends[:, 2:]).long()

    def share(bidirectional):
        network = ManyToManyInStep(
            TokenVectors(3, 4, seed=0),
            partial(SoftmaxHead, classes=2),
            hidden_size=12,
            bidirectional=bidirectional,
            dense=(24,),
            seed=0,
        )
        x, y = batch(10_000)
        right = trained(network, batch, steps=200)(x)[0].argmax(2) == y
        return float(right[torch.arange(6) < x.lengths.unsqueeze(1)].float().mean())

    assert share(True) > 0.98
    assert share(False) < 0.9


def test_stacked_frames_stand_side_by_side_and_padding_is_zero():
    x = torch.arange(1.0, 31.0).reshape(2, 5, 3)
    x[1, 2:] = torch.nan  # beyond the length
    stacked = StackedFrames(Numbers(3), 2)
    y = stacked(Ragged(x, torch.tensor([5, 2])))
    assert (y.values.shape, y.lengths.tolist(), stacked.output_size) == ((2, 3, 6), [3, 1], 6)
    assert torch.equal(y.values[0, :2].flatten(), x[0, :4].flatten())
    assert torch.equal(y.values[0, 2], torch.cat([x[0, 4], torch.zeros(3)]))
    assert torch.equal(y.values[1, 0], x[1, :2].flatten()) and not y.values[1, 1:].any()
    for steps in (1, 2, 3, 4):  # as many as vectors have components, and others
        made = StackedFrames(Numbers(3), 3)(Ragged(x[:1, :steps], torch.tensor([steps])))
        assert made.lengths.tolist() == [(steps + 2) // 3] and made.values.shape == (1, (steps + 2) // 3, 9)
        assert torch.equal(made.values.flatten()[: 3 * steps], x[0, :steps].flatten())
    whole = StackedFrames(Numbers(3), 1)(Ragged(x, torch.tensor([5, 2])))
    assert torch.equal(whole.values[0], x[0]) and whole.lengths.tolist() == [5, 2]


# ---- what is refused


REFUSED = {
    "head: must make a head for vectors of a given length; got a SoftmaxHead made already": (
        lambda: OneToOne(2, SoftmaxHead(2, classes=K))
    ),
    "inputs: must make a vector of each step; got int": lambda: ManyToOne(V, partial(SoftmaxHead, classes=K)),
    r"dense: must be sizes of layers, each at least 1; got \(0,\)": lambda: many_to_one(dense=(0,)),
    "dense: must be sizes of layers, each at least 1; got 16": lambda: many_to_one(dense=16),
}


@pytest.mark.parametrize("message", REFUSED)
def test_parts_of_another_kind_are_refused_by_name(message):
    with pytest.raises(UsageError, match=message):
        REFUSED[message]()


def test_heads_of_steps_do_not_stand_on_a_whole_sequence():
    network = ManyToOne(TokenVectors(V, 4), partial(CrfHead, labels=2), hidden_size=5)
    with pytest.raises(
        ShapeError, match=r"CrfHead: scores must be those of steps, \(B, T, outputs\); got shape \(3, 2"
    ):
        network.loss(sentences(), torch.tensor([0, 1, 1]))
    network = ManyToOne(TokenVectors(V, 4), partial(CtcHead, labels=2), hidden_size=5)
    with pytest.raises(
        ShapeError, match=r"CtcHead: scores must be those of steps, \(B, T, outputs\); got shape \(3, 3"
    ):
        network.loss(sentences(), (torch.ones(3, 1, dtype=torch.long), torch.ones(3, dtype=torch.long)))
