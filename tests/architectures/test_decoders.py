"""Encoder-decoder and one to many: step by step and whole, each sequence alone, what is drawn, what learns."""

from __future__ import annotations

import itertools

import pytest
import torch

from elman.architectures import Decoder, Encoder, EncoderDecoder, OneToMany, Ragged, TokenVectors
from elman.decoding import Beam, generate, search
from elman.errors import ShapeError, UsageError
from elman.randomness import drawing

V, W = 9, 6  # tokens that are read, and that are written, the boundary counted
X = Ragged(torch.tensor([[1, 2, 3, 4], [5, 0, 0, 0], [6, 7, 8, 0]]), torch.tensor([4, 1, 3]))
Y = Ragged(torch.tensor([[0, 1, 2], [3, 0, 0], [4, 4, 0]]), torch.tensor([3, 1, 2]))

KINDS = {
    "additive": {"attention": "additive"},
    "multiplicative": {"attention": "multiplicative"},
    "two layers": {"attention": "multiplicative", "layers": 2, "cell": "gru"},
    "three layers": {"attention": "additive", "layers": 3},
    "input feeding": {"attention": "additive", "input_feeding": True, "layers": 2},
    "a mean": {"attention": None, "layers": 2},
    "tied": {"attention": "multiplicative", "tied": True, "cell": "lstm_peephole"},
}


def network(kind: str = "two layers", **options) -> EncoderDecoder:
    chosen = {"hidden_size": 5, "embedding_size": 4, "seed": 3, **KINDS[kind], **options}
    encoder = Encoder(TokenVectors(V, 4, seed=3), "gru", 3, 2, bidirectional=True, seed=3)
    return EncoderDecoder(encoder, W, **chosen).double()


def one_to_many(**options) -> OneToMany:
    return OneToMany(3, W, **{"hidden_size": 5, "embedding_size": 4, "layers": 2, "seed": 3, **options}).double()


def alone(x: Ragged, row: int) -> Ragged:
    length = int(x.lengths[row])
    return Ragged(x.values[row : row + 1, :length], torch.tensor([length]))


def log_probability(model, state, tokens: list[int]) -> float:
    """ln P(tokens, boundary), one step after the other."""
    total = 0.0
    for before, token in itertools.pairwise([model.boundary, *tokens, model.boundary]):
        logits, state = model.step(torch.tensor([before]), state)
        total += float(torch.log_softmax(logits[0], 0)[token])
    return total


# ---- the chain rule, ragged batches


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_the_loss_of_a_batch_is_that_of_its_sequences_written_alone_step_by_step(kind):
    model = network(kind).eval()
    rows = range(3)
    steps = [log_probability(model, model.begin(alone(X, row)), alone(Y, row).values[0].tolist()) for row in rows]
    loss = model.loss(X, Y)
    assert loss.items == 3 + 1 + 2 + 3
    assert float(loss.nats) == pytest.approx(-sum(steps), rel=1e-10)
    assert float(loss.mean) == pytest.approx(-sum(steps) / 9, rel=1e-10)


@torch.no_grad()
def test_one_to_many_obeys_the_chain_rule_wherever_its_vector_goes():
    x = torch.eye(3, dtype=torch.float64)
    for given in ({}, {"to_start": False}, {"to_steps": False}, {"dense": (7,)}):
        model = one_to_many(**given).eval()
        steps = [log_probability(model, model.begin(x[n : n + 1]), alone(Y, n).values[0].tolist()) for n in range(3)]
        assert float(model.loss(x, Y).nats) == pytest.approx(-sum(steps), rel=1e-10)
        first = model.step(torch.tensor([model.boundary] * 3), model.begin(x))[0]
        assert not torch.allclose(first[0], first[1])


@pytest.mark.parametrize("kind", KINDS)
def test_padding_reaches_no_loss_and_no_gradient(kind):
    model = network(kind)
    read = model.encoder.inputs
    found = []
    for filling in (0.0, torch.nan):
        model.zero_grad()

        def padded(x, filling=filling):
            vectors = TokenVectors.forward(read, x)
            beyond = torch.arange(x.values.shape[1]) >= x.lengths.unsqueeze(1)
            return Ragged(vectors.values.masked_fill(beyond.unsqueeze(2), filling), x.lengths)

        read.forward = padded
        with drawing(0, "x"):
            model.loss(X, Y).mean.backward()
        found.append([p.grad.clone() for p in model.parameters()])
    for zeros, nans in zip(*found, strict=True):
        assert torch.equal(zeros, nans)


@torch.no_grad()
def test_without_attention_the_second_layer_adds_what_it_reads():
    plain, adding = (one_to_many(cell="gru", residual=residual).eval() for residual in (False, True))
    adding.load_state_dict(plain.state_dict())
    for model in (plain, adding):
        model.decoder.head.weight.copy_(torch.eye(W, 5))
        model.decoder.head.bias.zero_()  # logits are the outputs of the second layer
    (said, state), (sum_of_both, _) = (
        model.step(torch.tensor([W - 1]), model.begin(torch.eye(3, dtype=torch.float64)[:1]))
        for model in (plain, adding)
    )
    torch.testing.assert_close(sum_of_both[:, :5] - said[:, :5], state.layers[0][0].c)


@pytest.mark.parametrize("option", ["dropout", "input_dropout"])
@pytest.mark.parametrize("kind", KINDS)
def test_dropout_acts_in_training_only_and_by_the_draw(kind, option):
    model, plain = network(kind, **{option: 0.5}), network(kind)

    def loss(number):
        with drawing(0, number), torch.no_grad():
            return float(model.loss(X, Y).nats)

    wanted = float(plain.loss(X, Y).nats.detach())
    assert loss(1) == loss(1) and len({loss(1), loss(2), wanted}) == 3
    above = model.decoder.above
    assert above is None or above.dropout == (0.5 if option == "dropout" and len(above.layers) > 1 else 0.0)
    model.eval()
    assert loss(1) == pytest.approx(wanted, rel=1e-12)


@torch.no_grad()
def test_what_an_encoder_says_is_dropped_before_it_is_looked_at():
    model = network(dropout=0.5)
    with drawing(0, "x"):
        found = model.begin(X).memory.values
    whole = model.eval().begin(X).memory.values
    dropped = found == 0
    assert 0.2 < float(dropped[0].double().mean()) < 0.8
    torch.testing.assert_close(found, (2 * whole).masked_fill(dropped, 0.0))


def test_the_vector_of_one_to_many_goes_where_it_is_said_to_go():
    x = torch.eye(3, dtype=torch.float64)
    for to_start, to_steps in ((True, True), (True, False), (False, True)):
        model = one_to_many(to_start=to_start, to_steps=to_steps).eval()
        state = model.begin(x)
        assert (state.vector is None) == (not to_steps)
        assert bool(state.layers[0][0].c.any()) == to_start


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns(kind):
    model = network(kind, dropout=0.1, input_dropout=0.1, label_smoothing=0.1)
    with drawing(0, "x"):
        model.loss(X, Y).mean.backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


@torch.no_grad()
def test_input_feeding_feeds_the_readout_back():
    """Against the equations, written out for one layer of the simple cell."""
    model = network("additive", input_feeding=True, cell="rnn", layers=1).eval()
    decoder, x = model.decoder, alone(X, 2)
    layer = decoder.lowest.layers[0]
    memory = decoder.attention.memory(model.encoder(x).values, x.lengths)
    s, r, logs = model.begin(x).layers[0][0], torch.zeros(1, 4, dtype=torch.float64), []
    for token in (model.boundary, 4, 1):
        read = torch.cat([decoder.embedding.weight[token].unsqueeze(0), r], dim=1)
        y, s = layer.step(read, s)
        context = decoder.attention(y.unsqueeze(1), memory)[0][:, 0]
        r = torch.tanh(torch.cat([y, context], dim=1) @ decoder.readout.W.T + decoder.readout.b)
        logs.append(torch.log_softmax(decoder.head(r), dim=1)[0])
    wanted = -sum(log[token] for log, token in zip(logs, (4, 1, model.boundary), strict=True))
    target = Ragged(torch.tensor([[4, 1]]), torch.tensor([2]))
    torch.testing.assert_close(model.loss(x, target).nats, wanted)


@pytest.mark.parametrize("kind", ["additive", "two layers", "input feeding"])
@torch.no_grad()
def test_shares_are_of_what_was_read(kind):
    shares = network(kind).eval().shares(X, Y)
    assert shares.shape == (3, 4, 4)
    torch.testing.assert_close(shares.sum(dim=2), torch.ones(3, 4, dtype=torch.float64))
    for row, length in enumerate(X.lengths.tolist()):
        assert bool((shares[row, :, length:] == 0).all())


# ---- writing


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_search_finds_the_same_for_a_sentence_in_any_batch_and_tells_its_probability(kind):
    model = network(kind).eval()
    beam = Beam(4, longest=5)
    together = search(model.step, model.begin(X), 3, model.boundary, beam)
    for row, hypotheses in enumerate(together):
        (found,) = search(model.step, model.begin(alone(X, row)), 1, model.boundary, beam)
        assert [h.tokens for h in found] == [h.tokens for h in hypotheses]
        for h in hypotheses:
            told = log_probability(model, model.begin(alone(X, row)), list(h.tokens))
            assert h.log_probability == pytest.approx(told, rel=1e-9)


@torch.no_grad()
def test_a_wide_beam_finds_the_most_probable_of_all_sequences():
    model = network("three layers").eval()
    for row in range(3):
        x = alone(X, row)
        every = [t for n in range(3) for t in itertools.product(range(W - 1), repeat=n)]
        logs = {tokens: log_probability(model, model.begin(x), list(tokens)) for tokens in every}
        (found,) = search(model.step, model.begin(x), 1, model.boundary, Beam(31, "none", longest=2))
        assert [h.tokens for h in found] == sorted(every, key=lambda tokens: -logs[tokens])


@torch.no_grad()
def test_states_are_selected_row_by_row():
    model = network("input feeding").eval()
    _, state = model.step(torch.tensor([5, 5, 5]), model.begin(X))
    rows = torch.tensor([2, 0, 0, 2, 1])
    chosen, _ = model.step(torch.tensor([1, 2, 3, 4, 0]), state.select(rows))
    for place, (row, token) in enumerate(zip(rows.tolist(), [1, 2, 3, 4, 0], strict=True)):
        torch.testing.assert_close(chosen[place], model.step(torch.tensor([token] * 3), state)[0][row])


# ---- scheduled sampling


def test_scheduled_sampling_is_a_function_of_the_draw_and_acts_in_training_only():
    model, plain = network(scheduled_sampling=0.9), network()
    torch.manual_seed(0)
    before = torch.get_rng_state()

    def loss(number):
        with drawing(0, number):
            return float(model.loss(X, Y).nats.detach())

    assert loss(1) == loss(1)
    assert len({loss(number) for number in range(6)}) > 1
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training and model.decoder.attention.training
    with torch.no_grad():
        assert torch.equal(model.eval().loss(X, Y).nats, plain.eval().loss(X, Y).nats)


@torch.no_grad()
def test_scheduled_sampling_replaces_tokens_as_often_as_it_says_by_what_the_model_says():
    """A model that always says 4: what training reads is 4 in so many places, and the boundary stays the first."""
    model = network(scheduled_sampling=0.25)
    model.decoder.head.bias[4] = 1e4
    targets = Ragged(torch.zeros(3, 400, dtype=torch.int64), torch.tensor([400] * 3))
    with drawing(0, "x"):
        read = model.decoder._mixed(model.decoder._framed(targets)[0], model.begin(X)).values
    assert bool((read[:, 0] == model.boundary).all())
    assert set(read[:, 1:].unique().tolist()) == {0, 4}
    # 1200 draws of probability 1/4: four standard deviations are 0.05.
    assert float((read[:, 1:] == 4).double().mean()) == pytest.approx(0.25, abs=0.05)


# ---- what is refused


def test_options_without_effect_and_sight_of_the_future_are_refused():
    with pytest.raises(UsageError, match="decoder: cannot be bidirectional: the direction that reads from the end"):
        network(bidirectional=True)
    with pytest.raises(UsageError, match="decoder: cannot be bidirectional"):
        one_to_many(bidirectional=True)
    with pytest.raises(UsageError, match="attention: must have a memory to look at, memory_size at least 1; got 0"):
        one_to_many(attention="additive")
    with pytest.raises(UsageError, match="memory_size: has an effect with attention only; got 3"):
        Decoder(W, memory_size=3)
    with pytest.raises(UsageError, match="input_feeding: must come with attention"):
        network("a mean", input_feeding=True)
    with pytest.raises(UsageError, match="variational_dropout: holds one mask"):
        network("input feeding", variational_dropout=0.1)
    with pytest.raises(UsageError, match="tied: embedding_size must equal the output size of the layers, 5; got 4"):
        network("a mean", tied=True)
    with pytest.raises(UsageError, match="must go to_start, to_steps or both; got neither"):
        one_to_many(to_start=False, to_steps=False)
    with pytest.raises(UsageError, match="residual: acts from the third layer of a decoder on; it has 2"):
        network(residual=True)
    with pytest.raises(UsageError, match="residual: acts from the second layer of a decoder on; it has 1"):
        one_to_many(residual=True, layers=1)
    with pytest.raises(UsageError, match="shares: must come from a decoder with attention"):
        network("a mean").shares(X, Y)


def test_as_many_sequences_must_be_written_as_were_read():
    model = network()
    for targets in (Ragged(Y.values[:1], Y.lengths[:1]), [torch.tensor([1])]):
        with pytest.raises(ShapeError, match="as many sequences; the source has B = 3, the target B = 1"):
            model.loss(X, targets)
        with pytest.raises(ShapeError, match="the source has B = 3, the target B = 1"):
            one_to_many().loss(torch.eye(3, dtype=torch.float64), targets)


@torch.no_grad()
def test_lists_and_tensors_are_read_and_written_as_raggeds_are():
    model, one = network().eval(), one_to_many().eval()
    x, y = ([r[:n] for r, n in zip(z.values, z.lengths.tolist(), strict=True)] for z in (X, Y))
    wanted = model.loss(X, Y).nats
    assert torch.equal(model.loss(x, y).nats, wanted)
    assert torch.equal(model.loss(X.values, y, X.lengths).nats, wanted)
    assert torch.equal(model.shares(x, y), model.shares(X, Y))
    classes = torch.eye(3, dtype=torch.float64)
    assert torch.equal(one.loss(classes, y).nats, one.loss(classes, Y).nats)
    nothing = [torch.empty(0, dtype=torch.int64), *y[1:]]
    empty = Ragged(Y.values, torch.tensor([0, 1, 2]))
    torch.testing.assert_close(one.loss(classes, nothing).nats, one.loss(classes, empty).nats)


def test_a_token_that_cannot_be_written_is_named():
    with pytest.raises(ShapeError, match=r"TokenVectors: tokens must be from 0 to 5; got 6 at tokens\[0, 2\]"):
        network().loss(X, [torch.tensor([1, 6]), *[torch.tensor([1])] * 2])


@pytest.mark.parametrize("asked", ["loss", "shares"])
def test_a_boundary_within_a_sequence_is_named_and_one_in_its_padding_is_not_read(asked):
    model = network().eval()
    with pytest.raises(ShapeError, match=r"must be tokens from 0 to 4; got 5, the boundary, at targets\[1, 0\]"):
        getattr(model, asked)(X, [torch.tensor([1, 2]), torch.tensor([5]), torch.tensor([4])])
    padded = Ragged(torch.where(Y.values == 0, W - 1, Y.values), Y.lengths)
    padded.values[0, 0] = 0
    assert torch.equal(model.loss(X, padded).nats, model.loss(X, Y).nats)


# ---- what learns


def trained(model, batch, rate=0.02, steps=120):
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for step in range(steps):
        with drawing(0, step):
            loss = model.loss(*batch(step))
        optimizer.zero_grad()
        loss.mean.backward()
        optimizer.step()
    return model.eval()


def reversal(step: int) -> tuple[Ragged, Ragged]:
    """Ragged strings of five letters, and the same from the end."""
    draws = torch.Generator().manual_seed(step)
    lengths = torch.randint(1, 5, (64,), generator=draws)
    letters = torch.randint(0, 5, (64, 4), generator=draws)
    back = (lengths.unsqueeze(1) - 1 - torch.arange(4)).clamp(min=0)
    return Ragged(letters, lengths), Ragged(letters.gather(1, back), lengths)


@pytest.mark.parametrize("options", [{}, {"input_feeding": True, "scheduled_sampling": 0.1}], ids=["whole", "fed"])
def test_many_to_many_out_of_step_learns_to_reverse(options):
    encoder = Encoder(TokenVectors(5, 8, seed=0), "gru", 16, bidirectional=True, seed=0)
    model = EncoderDecoder(
        encoder, 6, cell="gru", hidden_size=32, embedding_size=12, attention="additive", seed=0, **options
    )
    model = trained(model, reversal)
    x, y = reversal(10_000)
    with torch.no_grad():
        found = search(model.step, model.begin(x), 64, model.boundary, Beam(2, longest=8))
    right = [list(h[0].tokens) == row[:n].tolist() for h, row, n in zip(found, y.values, y.lengths, strict=True)]
    assert sum(right) >= 60


def test_one_to_many_learns_the_string_of_each_class():
    strings = Ragged(torch.tensor([[0, 1, 2, 3], [3, 3, 0, 0], [4, 0, 4, 0]]), torch.tensor([4, 2, 3]))
    classes = torch.eye(3)
    model = OneToMany(3, W, cell="gru", hidden_size=16, embedding_size=8, seed=0)
    model = trained(model, lambda _: (classes, strings), rate=0.02, steps=80)
    with torch.no_grad():
        found = search(model.step, model.begin(classes), 3, model.boundary, Beam(1, longest=8))
        drawn = generate(
            model.step,
            model.begin(classes),
            [model.boundary],
            8,
            samples=3,
            finished=lambda row: row[-1] == model.boundary,
        )
    assert [h[0].tokens for h in found] == [(0, 1, 2, 3), (3, 3), (4, 0, 4)]
    assert [tuple(row[:-1]) for row in drawn] == [(0, 1, 2, 3), (3, 3), (4, 0, 4)]
