"""The music task: nats by hand, no look ahead, steps and whole pieces alike, and it learns made-up pieces."""

from __future__ import annotations

import json
import math
import wave
from pathlib import Path

import mido
import numpy as np
import pytest
import torch

from elman.cells import cells
from elman.cli import main
from elman.errors import DataError, DivergedError, UsageError
from elman.randomness import generator
from elman.readers import Example
from elman.readers.notes import KEYS, Note
from elman.tasks import load
from elman.tasks.generated_music import write_melodies
from elman.tasks.music import Music, MusicOptions, NextKeys
from elman.tasks.music_sampling import written_pieces
from elman.tasks.supervised import Setting


def setting(**options) -> Setting[MusicOptions]:
    units = {} if options.get("keys") == "independent" else {"units": 5}
    config = MusicOptions(hidden_size=6, **units, **options)
    return Setting(config, Music().fit([], config), cells["gru"])


def network(made: Setting[MusicOptions]) -> NextKeys:
    """A network whose parameters are all drawn, so that every key depends on everything that it may."""
    built = Music().network(made, seed=1).eval()
    draws = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draws))
    return built


def rolls(*lengths: int) -> list[np.ndarray]:
    draws = np.random.default_rng(5)
    return [draws.random((length, KEYS)) < 0.1 for length in lengths]


def batch(made: Setting[MusicOptions], *pieces: np.ndarray):
    task = Music()
    return task.collate([task.encode(Example(f"piece {n}", roll), made) for n, roll in enumerate(pieces)], made)[0]


def nats_by_hand(built: NextKeys, roll: np.ndarray) -> list[float]:
    """-ln P of every step, key by key, each step read alone after the state before it."""
    state, before, found = None, np.zeros(KEYS, dtype=bool), []
    for now in roll:
        scores, state = built.step(torch.tensor(before, dtype=torch.float32)[None], state)
        total, known = 0.0, torch.zeros(1, KEYS)
        for k in range(KEYS):
            z = built.head.logits(scores, known) if hasattr(built.head, "logits") else scores
            p = 1 / (1 + math.exp(-float(z[0, k].detach())))
            total -= math.log(p if now[k] else 1 - p)
            known[0, k] = float(now[k])
        found.append(total)
        before = now
    return found


@pytest.mark.parametrize("keys", ["dependent", "independent"])
def test_nats_per_step_are_summed_over_keys_and_averaged_over_steps(keys):
    made, pieces = setting(keys=keys), rolls(4, 7)
    built = network(made)
    by_hand = [nats_by_hand(built, roll) for roll in pieces]
    answers = Music().answers(built, batch(made, *pieces), made)
    for answer, hand in zip(answers, by_hand, strict=True):
        assert answer["surprise"] == pytest.approx(hand, rel=1e-4)
        assert answer["nats_per_step"] == pytest.approx(sum(hand[1:]) / (len(hand) - 1), rel=1e-4)
    wanted = sum(sum(hand[1:]) for hand in by_hand) / (3 + 6)
    assert Music().measure(answers, [None, None])["nats_per_step"] == pytest.approx(wanted, rel=1e-4)
    loss = built.loss(batch(made, *pieces))
    assert loss.items == 11
    assert float(loss.nats.detach()) == pytest.approx(sum(map(sum, by_hand)), rel=1e-4)


@pytest.mark.parametrize("keys", ["dependent", "independent"])
def test_what_comes_later_changes_nothing(keys):
    made, (roll,) = setting(keys=keys), rolls(8)
    built = network(made)
    changed = roll.copy()
    changed[5] = ~changed[5]
    before, after = (built.surprise(batch(made, piece))[0].detach() for piece in (roll, changed))
    assert torch.equal(before[:5], after[:5])
    assert (before[5:] != after[5:]).all()


def test_it_cannot_read_from_the_end():
    with pytest.raises(UsageError, match="what comes after t"):
        NextKeys(Music().network(setting(), 0).encoder.inputs, None, causal=True, bidirectional=True)


def test_a_crop_begins_with_the_step_before_it():
    made, task, (roll,) = setting(crop=5), Music(), rolls(40)
    item = task.encode(Example("a", roll), made)
    frames = np.concatenate([np.zeros((1, KEYS), dtype=bool), roll])
    begins = set()
    for seed in range(40):
        torch.manual_seed(seed)
        crop = task.augmented(item, made)
        assert crop.length == 5 and crop.x.shape == (6, KEYS)
        begins |= {n for n in range(36) if np.array_equal(frames[n : n + 6], crop.x.numpy())}
    assert len(begins) > 15
    assert task.augmented(task.encode(Example("a", roll[:5]), made), made).length == 5


def test_the_first_guess_is_how_often_keys_sound():
    made, pieces = setting(), rolls(30, 50)
    built = Music().network(made, seed=0, examples=[Example("a", roll) for roll in pieces])
    share = np.concatenate(pieces).sum(axis=0)
    wanted = torch.logit(torch.tensor((share + 1) / 82))
    assert torch.allclose(built.head.bias[:KEYS].detach().double(), wanted, atol=1e-6)
    assert not built.head.bias[KEYS:].any()


def test_the_same_piece_is_the_same_as_notes_and_as_a_roll() -> None:
    roll = np.zeros((3, 88), dtype=bool)
    for x, other in ((roll, roll | True), ((Note(0.0, 1.0, 60),), (Note(0.0, 1.0, 61),))):
        copy = x.copy() if isinstance(x, np.ndarray) else tuple(x)
        one, same, another = (Music().identity(Example("", value)) for value in (x, copy, other))
        assert one == same and hash(one) == hash(same) and one != another


def test_one_step_is_no_piece():
    with pytest.raises(DataError, match="x: must last at least 2 steps; got 1"):
        Music().encode(Example("x", (Note(0, 0.25, 60),)), setting())


def test_samples_depend_on_the_seed_and_their_number_only():
    built = network(setting())
    three, two = (written_pieces(built, None, 12, count, 1.0, seed=4) for count in (3, 2))
    assert [piece.shape for piece in three] == [(12, KEYS)] * 3
    assert all(np.array_equal(a, b) for a, b in zip(three, two, strict=False))
    assert not np.array_equal(three[0], three[1])
    assert not np.array_equal(three[0], written_pieces(built, None, 12, 1, 1.0, seed=5)[0])


def test_samples_go_on_from_an_opening():
    built, (roll,) = network(setting()), rolls(6)
    (piece,) = written_pieces(built, roll, 4, 1, 1.0, seed=4)
    assert len(piece) == 10 and np.array_equal(piece[:6], roll)
    assert not np.array_equal(piece[6:], written_pieces(built, None, 4, 1, 1.0, seed=4)[0])


@pytest.mark.parametrize("keys", ["dependent", "independent"])
def test_a_key_sounds_where_its_number_is_less_than_its_probability(keys):
    built = network(setting(keys=keys))
    (piece,) = written_pieces(built, None, 9, 1, 0.7, seed=4)
    state, before, draws = None, torch.zeros(1, KEYS), generator(4, "sample", 0)
    for now in torch.from_numpy(piece).float():
        scores, state = built.step(before, state)
        z = built.head.logits(scores, now[None]) if keys == "dependent" else scores
        assert torch.equal(torch.rand(KEYS, generator=draws) < torch.sigmoid(z[0] / 0.7), now.bool())
        before = now[None]


def test_a_model_that_has_diverged_writes_nothing():
    built = network(setting())
    with torch.no_grad():
        built.head.bias[3] = torch.nan
    with pytest.raises(DivergedError, match="got NaN in step 1"):
        written_pieces(built, None, 3, 1, 1.0, seed=0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("music")
    write_melodies(folder / "pieces", 48)
    words = ["train", "music", folder / "pieces", "-o", folder / "model", "--steps-per-beat", "1", "--quiet"]
    words += ["--hidden-size", "64", "--units", "64", "--epochs", "30", "--batch-size", "8", "--learning-rate", "0.02"]
    assert main([str(word) for word in words]) == 0
    return folder


def test_it_learns_made_up_pieces(trained):
    """Four keys of each step are known but for the figure; independent keys of the same shares cost 13 nats."""
    metrics = load(trained / "model").evaluate(trained / "pieces")
    assert metrics["nats_per_step"] < 4


def test_it_writes_midi_sound_and_picture(trained, tmp_path, capsys):
    words = ["sample", trained / "model", "--length", "20", "--tempo", "60", "-o", tmp_path / "new", "--json"]
    words += ["--prompt", trained / "pieces" / "piece000.mid"]
    assert main([str(word) for word in words]) == 0
    (sample,) = json.loads(capsys.readouterr().out)["samples"]
    assert sample["steps"] == 52
    midi, sound, picture = map(Path, sample["files"])
    assert mido.MidiFile(midi).length == pytest.approx(52, abs=3)
    with wave.open(str(sound)) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(52, abs=3)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_it_says_how_surprising_pieces_are(trained, tmp_path, capsys):
    words = ["predict", trained / "model", trained / "pieces" / "piece001.mid", "-o", tmp_path / "said"]
    assert main([str(word) for word in words]) == 0
    assert "nats per step\t32 steps" in capsys.readouterr().out
    (answer,) = [json.loads(line) for line in (tmp_path / "said" / "predictions.jsonl").read_text().splitlines()]
    assert len(answer["surprise"]) == answer["steps"] == 32
    assert (tmp_path / "said" / "piece-1.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--top-k", "3"], "--top-k has no effect on a model of music"),
        (["--greedy"], "--greedy has no effect on a model of music"),
        (["--prompt", "no.mid"], "music must exist"),
    ],
)
def test_options_that_music_does_not_take(trained, capsys, words, problem):
    assert main(["sample", str(trained / "model"), *words]) != 0
    assert problem in capsys.readouterr().err
