"""The language model as the loop sees it: loss against loops by hand, carried state, truncation, learning."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from elman.architectures import LanguageModel
from elman.codecs.text import CharacterCodec
from elman.errors import DataError, UsageError
from elman.randomness import drawing
from elman.tasks.language_model import NAME, LanguageModelConfig, LanguageModelProblem, LanguageModelTraining
from elman.tasks.language_model_measure import measure
from elman.training import RunFolder, train

TEXT = "".join(f"{n} green bottles hanging on the wall\n" for n in range(40))


def problem_of(folder: Path, text: str = TEXT, seed: int = 0, **options) -> LanguageModelProblem:
    chosen = {
        "cell": "rnn",
        "layers": 2,
        "hidden_size": 6,
        "embedding_size": 5,
        "dropout": 0.0,
        "streams": 3,
        "sequence_length": 7,
        **options,
    }
    path = folder / "text.txt"
    path.write_text(text, encoding="utf-8")
    return LanguageModelProblem(path, LanguageModelConfig(**chosen), seed, folder / "stores")


def by_hand(model: LanguageModel, tokens: list[int]) -> list[float]:
    """Return -ln P of each token but the first: Elman's equations, layer by layer, step by step, in plain numpy."""
    layers = [{n: w.detach().double().numpy() for n, w in layer.weights.items()} for layer in model.recurrent.layers]
    vectors = model.embedding.weight.detach().double().numpy()
    head = {n: w.detach().double().numpy() for n, w in model.head.weights.items()}
    states = [np.zeros(w["W_h"].shape[0]) for w in layers]
    surprise = []
    for token, following in itertools.pairwise(tokens):
        x = vectors[token]
        for n, w in enumerate(layers):
            states[n] = x = np.tanh(w["W_h"] @ states[n] + w["W_x"] @ x + w["b"])
        logits = head["W_y"] @ x + head["b_y"]
        surprise.append(math.log(sum(math.exp(v) for v in logits)) - logits[following])
    return surprise


# ---- the loss


def test_perplexity_is_that_of_a_loop_step_by_step(tmp_path):
    problem = problem_of(tmp_path)
    problem.model.eval()
    tokens = problem.validation_tokens.tolist()
    surprise = by_hand(problem.model, tokens)
    found = measure(problem.model, problem.codec, problem.validation_tokens, 1)
    assert found["tokens"] == len(tokens) - 1 == len(surprise)
    assert found["loss"] == pytest.approx(np.mean(surprise), rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(np.mean(surprise)), rel=1e-5)
    assert found["bits_per_character"] == pytest.approx(np.mean(surprise) / math.log(2), rel=1e-5)


@pytest.mark.parametrize("count", [2, 3, 255, 256, 257, 258, 1025, 1026, 1900])
@pytest.mark.parametrize("streams", [1, 3, 20])
def test_every_token_but_the_first_counts_once(count, streams):
    """Each token of the text is another one, and the model forgets at once: the sum of what each adds is known."""
    model = LanguageModel(2000, "rnn", 1, 4, 3, seed=0).double().eval()
    with torch.no_grad():
        model.recurrent.layers[0].weights["W_h"].zero_()
    codec = CharacterCodec(["<unk>", *map(chr, range(1000, 2999))])
    tokens = np.random.Generator(np.random.PCG64(0)).permutation(np.arange(1, 2000))[:count].astype(np.uint16)
    with torch.no_grad():
        logits, _ = model(torch.from_numpy(tokens[:-1].astype(np.int64)).unsqueeze(1))
    each = (
        torch.logsumexp(logits[:, 0], 1) - logits[:, 0].gather(1, torch.tensor(tokens[1:].astype(int))[:, None])[:, 0]
    )
    found = measure(model, codec, tokens, streams)
    assert found["tokens"] == count - 1
    assert found["loss"] == pytest.approx(float(each.mean()), rel=1e-6)


def test_streams_of_an_evaluation_read_what_stands_before_them(tmp_path):
    problem = problem_of(tmp_path, TEXT * 2, cell="gru")
    problem.model.eval()
    exact = measure(problem.model, problem.codec, problem.training_tokens, 1)
    several = measure(problem.model, problem.codec, problem.training_tokens, 8)
    assert several["tokens"] == exact["tokens"]
    assert several["loss"] == pytest.approx(exact["loss"], rel=1e-7)


def test_large_vocabulary_is_measured_in_narrow_pieces(tmp_path, monkeypatch):
    problem = problem_of(tmp_path)
    problem.model.eval()
    whole = [measure(problem.model, problem.codec, problem.training_tokens, n)["loss"] for n in (1, 4)]
    monkeypatch.setattr("elman.tasks.language_model_measure._MOST_LOGITS", 10 * problem.codec.size)
    narrow = [measure(problem.model, problem.codec, problem.training_tokens, n)["loss"] for n in (1, 4)]
    assert narrow == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize(
    ("count", "streams", "logits", "read"),
    [
        (601, 1, None, [(1, 256), (1, 256), (1, 88)]),
        (601, 20, None, [(2, 256), (2, 256), (2, 44)]),  # the first of them before the part of a stream
        (1025, 3, None, [(3, 256), (3, 256), (3, 86)]),
        (201, 5, None, [(1, 200)]),  # too few for two streams
        (601, 20, 200, [(2, 100), (2, 100), (2, 56), (2, 100), (2, 100), (2, 100)]),
        (601, 1, 200, [(1, 200), (1, 200), (1, 200)]),
        (4, 1, 0, [(1, 1)] * 3),  # a vocabulary too large for two tokens
    ],
)
def test_an_evaluation_reads_as_many_streams_and_steps_as_it_may(monkeypatch, count, streams, logits, read):
    model, seen = LanguageModel(30, "rnn", 1, 4, 3, seed=0).eval(), []
    if logits is not None:
        monkeypatch.setattr("elman.tasks.language_model_measure._MOST_LOGITS", logits * 30)
    outputs = model.outputs
    monkeypatch.setattr(
        model, "outputs", lambda tokens, state: seen.append(tuple(tokens.shape)) or outputs(tokens, state)
    )
    codec = CharacterCodec(["<unk>", *map(chr, range(1000, 1029))])
    tokens = np.arange(count).astype(np.uint16) % 29 + 1
    assert measure(model, codec, tokens, streams)["tokens"] == count - 1
    assert seen == read


def test_words_know_their_bits_per_character(tmp_path):
    text = "the cat sat\non the mat\n" * 30
    problem = problem_of(tmp_path, text, level="word", sequence_length=5)
    problem.model.eval()
    found = measure(problem.model, problem.codec, problem.stores["train"].tokens, 1)
    characters = len(text) - len("the")
    expected = sum(by_hand(problem.model, problem.stores["train"].tokens.tolist())) / math.log(2) / characters
    assert found["bits_per_character"] == pytest.approx(expected, rel=1e-5)


def test_unknown_words_hide_the_bits_per_character(tmp_path):
    problem = problem_of(tmp_path, "the cat sat\non the mat\n" * 30, level="word", min_count=31, sequence_length=5)
    problem.model.eval()
    assert "bits_per_character" not in measure(problem.model, problem.codec, problem.stores["train"].tokens, 1)


# ---- carried state and truncation


def test_segments_with_carried_state_are_one_text(tmp_path):
    problem = problem_of(tmp_path)
    carry, nats, items = None, 0.0, 0
    for index in range(problem.batches_per_epoch(0)):
        result = problem.loss(problem.batch(0, index), carry)
        carry = {name: value.detach() for name, value in result.carry.items()}
        nats, items = nats + result.nats, items + result.items
    rows = problem.streams.rows
    surprise = [sum(by_hand(problem.model, row.tolist())) for row in rows]
    assert items == rows.size - len(rows)
    assert nats == pytest.approx(sum(surprise), rel=1e-5)
    alone = sum(problem.loss(problem.batch(0, i), None).nats for i in range(problem.batches_per_epoch(0)))
    assert alone != pytest.approx(nats, rel=1e-4)


def test_gradient_is_truncated_at_the_segment(tmp_path):
    """The second segment's gradient, unrolled by hand from the state after the first, which counts as a constant."""
    problem = problem_of(tmp_path, layers=1)
    problem.model.double()
    first = problem.loss(problem.batch(0, 0), None)
    carry = {name: value.detach() for name, value in first.carry.items()}
    problem.loss(problem.batch(0, 1), carry).loss.backward()
    parameters = dict(problem.model.named_parameters())
    truncated = {name: p.grad.clone() for name, p in parameters.items()}

    def unrolled(cut: bool) -> dict[str, torch.Tensor]:
        w, embedding, head = problem.model.recurrent.layers[0].weights, problem.model.embedding, problem.model.head
        h = torch.zeros(3, 6, dtype=torch.float64)
        loss = torch.zeros((), dtype=torch.float64)
        for index in (0, 1):
            inputs, targets = problem.batch(0, index)
            h = h.detach() if cut else h
            for t in range(inputs.shape[1]):
                h = torch.tanh(h @ w["W_h"].T + embedding.weight[inputs[:, t]] @ w["W_x"].T + w["b"])
                logs = torch.log_softmax(h @ head.weight.T + head.bias, dim=1)
                if index == 1:
                    loss = loss - logs[torch.arange(3), targets[:, t]].sum() / targets.numel()
        return dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))

    cut, whole = unrolled(True), unrolled(False)
    for name, gradient in truncated.items():
        torch.testing.assert_close(gradient, cut[name], rtol=1e-10, atol=1e-13)
    weight = next(name for name in parameters if name.endswith("W_h"))
    assert not torch.allclose(truncated[weight], whole[weight], rtol=1e-3)


def test_tokens_of_random_segments_weigh_the_same(tmp_path):
    problem = problem_of(tmp_path, random_length=True, sequence_length=20)
    widths = {problem.batch(0, i)[0].shape[1] for i in range(problem.batches_per_epoch(0))}
    assert len(widths) > 2
    for index in range(problem.batches_per_epoch(0)):
        result = problem.loss(problem.batch(0, index), None)
        assert float(result.loss.detach()) * 3 * 20 == pytest.approx(result.nats, rel=1e-5)


def test_penalties_are_in_the_loss_and_not_in_the_nats(tmp_path):
    plain = problem_of(tmp_path)
    batch = plain.batch(0, 0)
    y = plain.model.outputs(batch[0])[0].detach()
    for option, expected in (
        ("activation_penalty", float((y**2).mean())),
        ("change_penalty", float(((y[:, 1:] - y[:, :-1]) ** 2).mean())),
    ):
        found = problem_of(tmp_path, **{option: 3.0}).loss(batch, None)
        assert float(found.loss.detach()) - found.nats / found.items == pytest.approx(3.0 * expected, rel=1e-4)


# ---- what is refused


@pytest.mark.parametrize(
    ("text", "options", "error", "message"),
    [
        ("abc", {}, DataError, "3 tokens leave 3 to train on, 0 to validate"),
        ("abc", {"validation_fraction": 0.9}, DataError, "3 tokens leave 1 to train on, 2 to validate"),
        ("", {}, DataError, "the file is empty"),
        (TEXT, {"streams": 10_000}, DataError, "must have at least 2 tokens for each of 10000 streams"),
        (TEXT, {"hidden_size": 65_536, "layers": 3}, UsageError, "must have at most 2,000,000,000 parameters"),
        (TEXT, {"projection_size": 3}, UsageError, "the cell 'rnn' declares none"),
        (TEXT, {"cell": "lstm_projected"}, UsageError, "projection_size: must be given for the cell 'lstm_projected'"),
        (TEXT, {"cell": "rn"}, UsageError, "did you mean 'rnn'"),
        (TEXT, {"tied": True}, UsageError, "embedding_size must equal"),
    ],
)
def test_what_cannot_be_trained_is_refused(tmp_path, text, options, error, message):
    with pytest.raises(error, match=message):
        problem_of(tmp_path, text, **options)


# ---- learning


@pytest.mark.parametrize("level", ["character", "word"])
def test_a_periodic_text_is_learned(tmp_path, level):
    text = ("abcde" if level == "character" else "to be or not to see \n") * 250
    problem = problem_of(
        tmp_path, text, level=level, cell="lstm", layers=1, hidden_size=24, embedding_size=8, streams=4
    )
    training = LanguageModelTraining(steps=150, learning_rate=0.03, warmup_steps=5, threads=1)
    with RunFolder.create(tmp_path / "run", task=NAME, config={}, data=problem.data) as run:
        result = train(problem, training, run, resume=False)
    assert result.best["loss"] < 0.03
    assert result.best["perplexity"] == pytest.approx(math.exp(result.best["loss"]))


def test_same_seed_same_weights(tmp_path):
    def trained(name: str, seed: int) -> list[torch.Tensor]:
        problem = problem_of(tmp_path, dropout=0.2, seed=seed)
        training = LanguageModelTraining(steps=5, seed=seed, threads=1)
        with RunFolder.create(tmp_path / name, task=NAME, config={}, data=problem.data) as run:
            train(problem, training, run, resume=False)
        return list(problem.model.state_dict().values())

    first, same, other = trained("a", 1), trained("b", 1), trained("c", 2)
    assert all(map(torch.equal, first, same))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True) if a.ndim == 2)


def test_dropout_of_a_batch_is_a_function_of_where_it_is(tmp_path):
    problem = problem_of(tmp_path, dropout=0.3, zoneout=0.2, weight_drop=0.2, variational_dropout=0.1)

    def nats(*where) -> float:
        with drawing(0, *where):
            return problem.loss(problem.batch(0, 0), None).nats

    assert nats("train", 0, 0) == nats("train", 0, 0) != nats("train", 0, 1)
