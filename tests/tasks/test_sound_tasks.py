"""Tasks of sounds: they learn generated tones, refuse what cannot be learnt with file and line, and decode as asked."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from click.testing import CliRunner

from elman.cli import application
from elman.errors import DataError, UsageError
from elman.heads.ctc_decoding import PrefixBeam
from elman.metrics import character_error_rate, word_error_rate
from elman.randomness import drawing
from elman.readers import Example
from elman.search_options import SearchOptions
from elman.tasks import TASKS, load
from elman.tasks.generated_sounds import RATE, write_spoken, write_tunes, write_wave
from elman.tasks.language_model import LanguageModelConfig, LanguageModelProblem
from elman.tasks.language_model import load as load_language_model
from elman.tasks.letter_model import LetterModel, letter_model
from elman.tasks.sound import SoundTask
from elman.tasks.supervised_model import SupervisedModel
from elman.tasks.supervised_problem import SupervisedProblem

PITCHES = {"a": 400, "b": 900, "c": 1800}


def tones(text: str, seed: int, seconds: float = 0.08) -> torch.Tensor:
    """A tone for each letter, all of them joined, some noise over them."""
    time = torch.arange(int(seconds * RATE)) / RATE
    parts = [0.4 * torch.sin(2 * math.pi * PITCHES[letter] * time) for letter in text]
    sound = torch.cat([part for tone in parts for part in (tone, torch.zeros(160))])
    return sound + 0.01 * torch.randn(len(sound), generator=torch.Generator().manual_seed(seed))


def write_tones(folder: Path, count: int = 48) -> Path:
    """Sounds of two to four letters with a manifest."""
    folder.mkdir(exist_ok=True)
    draws = torch.Generator().manual_seed(1)
    rows = ["path,transcript"]
    for n in range(count):
        length = int(torch.randint(2, 5, (), generator=draws))
        text = "".join("abc"[k] for k in torch.randint(3, (length,), generator=draws).tolist())
        write_wave(folder / f"{n:02d}.wav", tones(text, n))
        rows.append(f"{n:02d}.wav,{text}")
    (folder / "tones.csv").write_text("\n".join(rows) + "\n")
    return folder / "tones.csv"


def run(*words: Any) -> str:
    done = CliRunner().invoke(application, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def problem_of(name: str, data: Path, seed: int = 0, **options: Any) -> SupervisedProblem:
    task: Any = TASKS[name]
    made = task.problem(data, task.config(hidden_size=16, **options), seed, data.parent)
    assert isinstance(made, SupervisedProblem)
    return made


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a manifest of tones and a model that was trained on it from the command line."""
    folder = tmp_path_factory.mktemp("tones")
    manifest = write_tones(folder / "data")
    torch.set_num_threads(1)
    masks = "--time-masks 0 --frequency-masks 0".split()
    options = "--hidden-size 24 --layers 1 --batch-size 4 --epochs 10 --learning-rate 0.01 --threads 1".split()
    run("train", "speech-recognition", manifest, "-o", folder / "model", "--quiet", *options, *masks)
    return folder


def test_recognition_learns_tones_in_seconds(recogniser: Path) -> None:
    found = json.loads(run("evaluate", recogniser / "model", recogniser / "data" / "tones.csv", "--json"))
    assert found["cer"] <= 0.02 and found["examples"] == 48
    best = json.loads((recogniser / "model" / "metrics.json").read_text())
    assert best["validation"]["cer"] <= 0.1


def test_prediction_says_what_and_when_and_draws_it(recogniser: Path, tmp_path: Path) -> None:
    write_wave(tmp_path / "new.wav", tones("cab", 99))
    assert run("predict", recogniser / "model", tmp_path / "new.wav").split("\t")[0] == "cab"
    document = json.loads(run("predict", recogniser / "model", tmp_path / "new.wav", "--json", "-o", tmp_path / "out"))
    (answer,) = document["answers"]
    assert [time["symbol"] for time in answer["times"]] == list("cab")
    for n, time in enumerate(answer["times"]):  # a letter takes 0.1 s; CTC says it at some time while it sounds
        assert 0.1 * n - 0.05 <= time["from"] < time["to"] <= 0.1 * (n + 1) + 0.05
    assert (tmp_path / "out" / "01-new.png").read_bytes().startswith(b"\x89PNG")
    assert math.log(0.05) < answer["log_probability"] < 0


def test_a_manifest_from_stdin_counts_paths_from_the_working_folder(
    recogniser: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(recogniser / "data")
    manifest = Path("tones.csv").read_bytes()
    for verb in ("evaluate", "predict"):
        words = [verb, str(recogniser / "model"), "-", "--format", "csv", "--json"]
        done = CliRunner().invoke(application, words, input=manifest, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    assert [answer["path"] for answer in json.loads(done.stdout)["answers"]][:2] == ["00.wav", "01.wav"]
    with pytest.raises(DataError, match=r"^stdin:2: none\.wav: file must exist; got none"):
        CliRunner().invoke(application, words, input=b"path\nnone.wav\n", catch_exceptions=False)


def test_times_are_those_of_steps_of_whole_samples(tmp_path: Path) -> None:
    manifest = write_tones(tmp_path / "data", count=4)
    made = problem_of("speech-recognition", manifest, stack=2, hop=0.00031, window=0.002, bands=4, validation=manifest)
    model: Any = SupervisedModel(made.task, made.model, made.setting)
    with torch.no_grad():  # a network that says one symbol from the first step to the last
        model.network.head.weight.zero_()
        model.network.head.bias.copy_(torch.eye(len(model.network.head.bias))[1] * 20)
    item = made.items["train"][0]
    (answer,) = model.predict([item.x])
    # 0.31 ms are 2.48 samples at 8,000 Hz: a step is 2 samples, and two of them are one for the layers.
    assert made.setting.codecs["sound"].hop_samples == 2
    assert [(time["from"], time["to"]) for time in answer["times"]] == [(0, round(-(-item.length // 2) * 4 / 8000, 4))]


def test_a_wider_beam_finds_nothing_less_probable(recogniser: Path) -> None:
    model: Any = load(recogniser / "model")
    sounds = [e.x for e in model.read(recogniser / "data" / "tones.csv", model.reading())[:6]]
    model.search(beam=1)
    narrow = model.predict(sounds)
    model.search(beam=30)
    for one, wide in zip(narrow, model.predict(sounds), strict=True):
        assert wide["log_probability"] >= one["log_probability"] - 1e-9


def test_search_options_without_effect_are_refused(recogniser: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="language_weight has an effect with language_model only"):
        SearchOptions(language_weight=1.0)
    write_tunes(tmp_path / "tunes", count=2)
    problem = problem_of("audio-classification", tmp_path / "tunes", validation_fraction=0.5)
    problem.save_model(tmp_path / "model")
    model: Any = load(tmp_path / "model")
    with pytest.raises(UsageError, match="beam would have no effect on a model of audio-classification"):
        model.search(beam=3)


# ---- a language model in the beam


def write_letters(folder: Path, seed: int) -> Path:
    """An untrained language model of the letters a, b, c, whose probabilities are as good as any."""
    (folder / "text.txt").write_text("abc\ncab\n" * 20)
    chosen = {"cell": "gru", "hidden_size": 8, "embedding_size": 5, "streams": 1, "sequence_length": 5}
    problem = LanguageModelProblem(folder / "text.txt", LanguageModelConfig(**chosen), seed, folder / "stores")
    with torch.no_grad():
        for weight in problem.model.parameters():
            weight.mul_(2.0)  # further from uniform
    problem.save_model(folder / "model")
    return folder / "model"


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_letters(tmp_path_factory.mktemp("letters"), seed=3)


def test_letters_have_the_probabilities_that_the_language_model_gives_to_the_text(letters: Path) -> None:
    loaded = load_language_model(letters)
    adapted = LetterModel(loaded, "abc")
    for labels in itertools.product((1, 2, 3), repeat=3):
        state, total = adapted.start(), 0.0
        for label in labels:
            log, state = adapted.after(state, label)
            total += log
        tokens = [loaded.start, *(int(loaded.codec.encode("abc"[label - 1])[0]) for label in labels)]
        with torch.no_grad():
            logs = torch.log_softmax(loaded.model(torch.tensor([tokens]))[0][0], dim=1)  # (T, V)
        assert total == pytest.approx(sum(float(logs[t, k]) for t, k in enumerate(tokens[1:])), abs=1e-4)


def test_the_language_model_decides_between_readings_alike(letters: Path) -> None:
    adapted = LetterModel(load_language_model(letters), "abc")
    even = torch.log(torch.tensor([[0.1, 0.3, 0.3, 0.3]]))  # any letter, once
    scores = {label: adapted.after(adapted.start(), label)[0] for label in (1, 2, 3)}
    best = max(scores, key=scores.__getitem__)
    found = PrefixBeam(8, weight=1.0, bonus=3.0, language=adapted).search(even)[0]
    assert found.labels == (best,)
    assert found.score == pytest.approx(math.log(0.3) + scores[best] + 3.0)


def test_predict_takes_a_language_model(recogniser: Path, letters: Path) -> None:
    sound = recogniser / "data" / "00.wav"
    plain = json.loads(run("predict", recogniser / "model", sound, "--json"))["answers"][0]
    led = run("predict", recogniser / "model", sound, "--json", "--language-model", letters, "--language-weight", 0.001)
    assert json.loads(led)["answers"][0]["transcript"] == plain["transcript"]
    ruled = run("predict", recogniser / "model", sound, "--json", "--language-model", letters, "--symbol-bonus", -50)
    assert json.loads(ruled)["answers"][0]["transcript"] == ""


def test_a_language_model_trained_anew_in_its_folder_is_taken(tmp_path: Path) -> None:
    folder = write_letters(tmp_path, seed=3)
    before = letter_model(folder, ("a", "b"))
    assert letter_model(folder, ("a", "b")) is before
    write_letters(tmp_path, seed=4)
    after = letter_model(folder, ("a", "b"))
    assert after.after(after.start(), 1)[0] != before.after(before.start(), 1)[0]


def test_a_language_model_that_does_not_fit_is_refused(letters: Path) -> None:
    with pytest.raises(UsageError, match="must know every symbol; it does not know 'x', 'y'"):
        LetterModel(load_language_model(letters), "axby")


# ---- what cannot be learnt


def test_transcripts_longer_than_ctc_allows_are_refused_with_their_line(tmp_path: Path) -> None:
    manifest = write_tones(tmp_path / "data", count=6)
    with manifest.open("a") as file:
        file.write("00.wav," + "abc" * 20 + "\n")
        file.write("01.wav," + "b" * 17 + "\n")  # needs a blank between every two
    with pytest.raises(
        DataError, match=rf"^{manifest}:8: transcript must have 1 symbol or more that training met, and"
    ):
        problem_of("speech-recognition", manifest, validation_fraction=0.3, seed=2)
    made = problem_of("speech-recognition", manifest, validation_fraction=0.3, on_error="skip", seed=2)
    rows = [json.loads(line) for line in (tmp_path / "data" / "rejects.jsonl").read_text().splitlines()]
    assert sorted(row["where"] for row in rows) == [f"{manifest}:8", f"{manifest}:9"]
    assert sum(len(examples) for examples in made.examples.values()) == 6


def test_sounds_below_the_rate_are_refused_with_their_line(tmp_path: Path) -> None:
    manifest = write_tones(tmp_path / "data", count=6)
    with pytest.raises(DataError, match=rf"^{manifest}:\d: rate must be at least 9,000 Hz.*got 8,000"):
        problem_of("speech-recognition", manifest, validation_fraction=0.3, rate=9000)
    with pytest.raises(DataError):
        problem_of("speech-recognition", manifest, validation_fraction=0.3, rate=9000, on_error="skip")


def test_symbols_that_training_never_met_count_as_errors(recogniser: Path, tmp_path: Path) -> None:
    write_wave(tmp_path / "x.wav", tones("ab", 0))
    model: Any = load(recogniser / "model")
    (tmp_path / "x.txt").write_text("ab\n")
    known = model.judge(tmp_path / "x.wav")
    (tmp_path / "x.txt").write_text("abzö\n")
    strange = model.judge(tmp_path / "x.wav")
    said = strange.answers[0]["transcript"]
    assert strange.metrics["cer"] == character_error_rate([said], ["abzö"]) >= 0.5
    assert strange.metrics["loss"] == known.metrics["loss"]  # of a and b
    assert model.remarks(strange.examples) == [
        "transcripts hold 2 symbols that training did not meet ('z', 'ö'): they count as errors, and not in the loss"
    ]
    assert model.remarks(known.examples) == []
    (tmp_path / "x.txt").write_text("zö\n")
    with pytest.raises(DataError, match=r"x\.wav: transcript must have 1 symbol or more that training met.*got none"):
        model.judge(tmp_path / "x.wav")


def test_a_sound_of_a_low_rate_that_lowers_all_is_named(tmp_path: Path) -> None:
    manifest = write_tones(tmp_path / "data", count=6)
    assert not any("note" in line for line in problem_of("speech-recognition", manifest).summary())
    soundfile.write(manifest.parent / "slow.wav", tones("ab", 0)[::2].numpy(), RATE // 2)
    with manifest.open("a") as file:
        file.write("slow.wav,ab\n")
    with pytest.raises(UsageError, match=rf"bands must be 1 to 32.*at 4,000 Hz, the lowest rate.*that of {manifest}:8"):
        problem_of("speech-recognition", manifest, bands=40)
    told = problem_of("speech-recognition", manifest, bands=20, seed=3).summary()
    assert "4,000 Hz" in told[0]
    assert told[-1] == (
        "note: sounds are listened to at 4,000 Hz, the rate of 1 of 6, "
        f"the first {manifest}:8; --rate 8000 refuses such"
    )
    refused = problem_of("speech-recognition", manifest, rate=8000, on_error="skip", seed=3)
    assert [row["where"] for row in refused.rejects.rows] == [f"{manifest}:8"]


def test_speech_shows_as_many_readings_as_are_asked_for(recogniser: Path, tmp_path: Path) -> None:
    write_wave(tmp_path / "x.wav", tones("abc", 0))
    model: Any = load(recogniser / "model")
    how = model.reading(labelled=False)
    model.search(n_best=3)
    examples, (answer,) = model.answer(model.read(tmp_path / "x.wav", how), how)
    found = [one["transcript"] for one in answer["n_best"]]
    logs = [one["log_probability"] for one in answer["n_best"]]
    assert found[0] == answer["transcript"] and len(set(found)) == 3 and logs == sorted(logs, reverse=True)
    assert model.task.show(model, examples[0].x, answer).count("\n") == 2
    model.search(n_best=9)
    with pytest.raises(UsageError, match="n_best: must be at most the beam, 8; got 9"):
        model.answer(examples, how)


def test_options_of_features_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="coefficients has an effect with features=mfcc only"):
        TASKS["speech-recognition"].config(coefficients=20)
    manifest = write_tones(tmp_path / "data", count=6)
    with pytest.raises(UsageError, match="bands must be 1 to 64"):
        problem_of("speech-recognition", manifest, bands=100)


# ---- training examples


def test_training_hears_every_sound_anew_and_the_same_in_a_repetition(tmp_path: Path) -> None:
    made = problem_of("speech-recognition", write_tones(tmp_path / "data", count=6), batch_size=8)

    def batch(epoch: int) -> torch.Tensor:
        with drawing(0, "train", epoch, 0):
            return made.batch(epoch, 0)[0].values

    assert torch.equal(batch(0), batch(0))
    rows = {float(batch(epoch).abs().sum()) for epoch in range(3)}
    assert len(rows) == 3
    plain = problem_of("speech-recognition", made.path, speed=0, time_masks=0, frequency_masks=0, batch_size=8)
    with drawing(0, "train", 0, 0):
        x, (targets, counts) = plain.batch(0, 0)
    task, setting = plain.task, plain.setting
    rows_of = plain.batches.rows(0, 0)
    again, _ = task.collate([plain.items["train"][row] for row in rows_of], setting)
    assert torch.equal(x.values, again.values)
    texts = [plain.examples["train"][row].y for row in rows_of]
    assert ["".join("abc"[k - 1] for k in row[:n]) for row, n in zip(targets.tolist(), counts, strict=True)] == texts


def test_speed_leaves_enough_steps_for_ctc(tmp_path: Path) -> None:
    manifest = write_tones(tmp_path / "data", count=4)
    write_wave(tmp_path / "data" / "tight.wav", tones("abc", 5)[:1600])  # 21 steps
    with manifest.open("a") as file:
        file.write("tight.wav," + "abc" * 7 + "\n")
    made = problem_of("speech-recognition", manifest, stack=1, speed=0.5, validation=manifest)
    for epoch in range(6):
        with drawing(0, "train", epoch, 0):
            loss = made.loss(made.batch(epoch, 0), None)
        assert math.isfinite(loss.nats)


def test_crops_take_the_seconds_that_are_asked_for(tmp_path: Path) -> None:
    write_tunes(tmp_path / "tunes", count=4)
    made = problem_of("audio-classification", tmp_path / "tunes", crop=0.2, time_masks=0, batch_size=16)
    with drawing(0, "train", 0, 0):
        x, _ = made.batch(0, 0)
    assert x.values.shape[1] == 20 and x.lengths.tolist() == [20] * len(x.lengths)
    task: SoundTask[Any] = made.task  # type: ignore[assignment]
    whole, _ = task.collate(made.items["validation"], made.setting)
    assert int(whole.lengths.min()) > 50


def test_crops_count_steps_of_whole_samples(tmp_path: Path) -> None:
    write_tunes(tmp_path / "tunes", count=2)
    options = {"crop": 0.02, "hop": 0.00031, "window": 0.002, "bands": 4, "validation_fraction": 0.5}
    made = problem_of("audio-classification", tmp_path / "tunes", **options)
    with drawing(0, "train", 0, 0):
        x, _ = made.batch(0, 0)
    assert set(x.lengths.tolist()) == {80}  # of 2 samples each at 8,000 Hz


def test_classification_learns_the_generated_example(tmp_path: Path) -> None:
    commands = TASKS["audio-classification"].example(tmp_path)
    assert commands[0].startswith("elman train audio-classification tunes")
    options = "--epochs 8 --hidden-size 48 --batch-size 8 --learning-rate 0.006 --threads 1 --quiet".split()
    run("train", "audio-classification", tmp_path / "tunes", "-o", tmp_path / "model", *options)
    found = json.loads(run("evaluate", tmp_path / "model", tmp_path / "tunes", "--json"))
    assert found["accuracy"] >= 0.9 and found["examples"] == 120
    lines = run("predict", tmp_path / "model", tmp_path / "tunes" / "rising").splitlines()
    assert sum(line.startswith("rising\t") for line in lines) >= 34
    answer = json.loads(run("predict", tmp_path / "model", tmp_path / "tunes" / "level" / "00.wav", "--json"))
    assert sum(answer["answers"][0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_one_label_is_nothing_to_learn(tmp_path: Path) -> None:
    write_tunes(tmp_path / "tunes", count=2)
    for label in ("falling", "level"):
        for file in (tmp_path / "tunes" / label).iterdir():
            file.unlink()
    with pytest.raises(DataError, match="labels: must be at least 2"):
        problem_of("audio-classification", tmp_path / "tunes", validation_fraction=0.5)


def test_the_same_sound_in_two_parts_is_noted(tmp_path: Path) -> None:
    manifest = write_tones(tmp_path / "data", count=4)
    (tmp_path / "data" / "copy.wav").write_bytes((tmp_path / "data" / "02.wav").read_bytes())
    write_wave(tmp_path / "data" / "other.wav", tones("ab", 50))
    (tmp_path / "data" / "held.csv").write_text("path,transcript\ncopy.wav,ab\nother.wav,ab\n")
    made = problem_of("speech-recognition", manifest, validation=tmp_path / "data" / "held.csv")
    assert made.repeated == 1


def test_the_run_knows_its_sounds(tmp_path: Path) -> None:
    manifest = write_tones(tmp_path / "data", count=4)
    task = TASKS["speech-recognition"]
    before = task.fingerprints(manifest, task.config())
    assert before == task.fingerprints(manifest, task.config())
    write_wave(tmp_path / "data" / "00.wav", tones("abc", 77))
    after = task.fingerprints(manifest, task.config())
    assert after["train"]["files"] != before["train"]["files"]
    assert after["train"]["sha256"] == before["train"]["sha256"]


def test_generated_examples_are_the_same_everywhere(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_spoken(tmp_path / name, count=3)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 4
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_error_rates_by_hand() -> None:
    wanted, found = ["one two three", "four"], ["one tow three", "four five"]
    assert word_error_rate(found, wanted) == pytest.approx(2 / 4)  # one substituted, one inserted
    assert character_error_rate(found, wanted) == pytest.approx((2 + 5) / 17)
    assert character_error_rate([""], ["abc"]) == 1
    assert character_error_rate([" a c "], ["a b c "]) == pytest.approx(2 / 5)  # blanks within a text count


def test_what_is_no_recording_is_refused(recogniser: Path) -> None:
    model: Any = load(recogniser / "model")
    with pytest.raises(DataError, match="input 1: must be a recording; got str"):
        model.predict(["x.wav"])
    assert model.answer([Example("x", None)], model.reading({"on_error": "skip"}))[0] == []
