"""The rows of benchmarks.applications: data as the task reads it, the words of `elman train`, what a row must reach."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.speech_data import write_digits, write_strings

Words = list[str | Path]


@dataclass(frozen=True)
class Row:
    """One application on one set of data.

    Args:
        name: Of the row.
        data: Of the data, in words.
        metric: Name of the metric in `elman train --json`.
        metric_in_words: In words.
        must: What it must reach.
        plain: What another plain PyTorch script reached on two faster cores (AVX-512), and in which time.
        words: Makes the data in a folder, if need be, and returns the words behind `elman train`.
        rising: Whether more is better.
        percent: Whether the metric is a share that is shown in per cent.
    """

    name: str
    data: str
    metric: str
    metric_in_words: str
    must: float
    plain: str
    words: Callable[[Path, Path], Words]
    rising: bool = True
    percent: bool = True

    def met(self, value: float) -> bool:
        """Return whether a value is good enough."""
        return value >= self.must if self.rising else value <= self.must

    def shown(self, value: float) -> str:
        """Return a value as the table shows it."""
        return f"{100 * value:.2f} %" if self.percent else f"{value:.3f}"


def part_of(number: int) -> str:
    """Return the part of the number-th example, from 0: every tenth is test, the one after it validation."""
    return {0: "test", 1: "validation"}.get(number % 10, "train")


def write_parts(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Path:
    """Write rows as CSV with a last column "part" by their number; return the path."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*header, "part"])
        writer.writerows([*row, part_of(n)] for n, row in enumerate(rows))
    return path


def sst(data: Path, folder: Path) -> Words:
    """Sentences of the Stanford Sentiment Treebank, binary labels."""
    base = data / "sst" / "stsa.binary"
    parts = [f"{base}.train", "--validation", f"{base}.dev", "--test", f"{base}.test"]
    return ["text-classification", *parts, "--format", "label-first"]


def subj(data: Path, folder: Path) -> Words:
    """Subjective and objective sentences; lines in cp1252."""
    lines = (data / "subj" / "subj.all").read_text(encoding="cp1252").splitlines()
    rows = [(line[0], line[2:]) for line in lines if line.strip()]
    path = write_parts(folder / "subj.csv", ("label", "text"), rows)
    return ["text-classification", path, "--column", "part=part"]


def names(data: Path, folder: Path) -> Words:
    """Names by nationality, every tenth of each file for the test."""
    path = folder / "names.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("label", "text", "part"))
        for source in sorted((data / "names" / "names").glob("*.txt")):
            lines = [line.strip() for line in source.read_text(encoding="utf-8").splitlines() if line.strip()]
            writer.writerows((source.stem, line, part_of(n)) for n, line in enumerate(lines))
    return [
        "text-classification",
        path,
        "--column",
        "part=part",
        "--level",
        "character",
        "--no-lowercase",
        "--learning-rate",
        "0.004",
    ]


def wnut17(data: Path, folder: Path) -> Words:
    """Emerging entities of WNUT 2017."""
    base = data / "wnut17"
    parts = ["--validation", base / "emerging.dev.conll", "--test", base / "emerging.test.annotated"]
    return ["tagging", base / "wnut17train.conll", *parts]


def ewt(data: Path, folder: Path) -> Words:
    """Parts of speech of the English Web Treebank."""
    base = data / "ud_english_ewt"
    train, dev, test = (base / f"en_ewt-ud-{part}.conllu.gz" for part in ("train", "dev", "test"))
    # Words here are more often met again than names are: less dropout than the defaults, and a quicker end.
    options = "--epochs 10 --hidden-size 200 --letter-hidden-size 64 --forgetting 0.3 --dropout 0.4 --input-dropout 0.2"
    options += " --learning-rate 0.004 --warmup-steps 390 --beta2 0.999"
    return ["tagging", train, "--validation", dev, "--test", test, *options.split()]


def nottingham(data: Path, folder: Path) -> Words:
    """Nottingham folk tunes as piano rolls, which name their parts."""
    return ["music", data / "nottingham" / "Nottingham.mat"]


def nottingham_independent(data: Path, folder: Path) -> Words:
    """The same with keys that know nothing of each other, as the plain script has them."""
    return [*nottingham(data, folder), "--keys", "independent"]


def fsdd_digits(data: Path, folder: Path) -> Words:
    """Spoken digits of six speakers; index 0 to 4 is test."""
    return ["audio-classification", write_digits(data / "fsdd", folder), "--column", "part=part"]


def fsdd_strings(data: Path, folder: Path) -> Words:
    """Strings of 2 to 7 of these digits of one speaker, 0.1 s of silence between them."""
    return ["speech-recognition", write_strings(data / "fsdd", folder), "--column", "part=part"]


def multi30k(data: Path, folder: Path) -> Words:
    """Captions of Multi30k from English to German; test 2016."""
    base = data / "multi30k_en_de"
    words: Words = ["translation", base / "train.en", "--target", base / "train.de"]
    for part, name in (("validation", "val"), ("test", "test_2016_flickr")):
        words += [f"--{part}", base / f"{name}.en", f"--{part}-target", base / f"{name}.de"]
    return words


def dates(data: Path, folder: Path) -> Words:
    """Dates as people write them to dates as machines do."""
    base = data / "dates_synthetic"
    parts = [base / "train.tsv", "--validation", base / "valid.tsv", "--test", base / "test.tsv"]
    small = ["--level", "character", "--hidden-size", "64", "--embedding-size", "32", "--label-smoothing", "0"]
    return ["translation", *parts, *small, "--learning-rate", "0.006", "--epochs", "4"]


ROWS = (
    Row("sst", "SST binary, sentences only", "accuracy", "accuracy", 0.80, "80.7 %, 103 s", sst),
    Row("subj", "Subj, i % 10", "accuracy", "accuracy", 0.915, "91.9 %, 132 s", subj),
    Row("names", "names by nationality, i % 10 of each file", "accuracy", "accuracy", 0.80, "not run", names),
    Row("wnut17", "WNUT-17, no outside vectors", "span_f1", "span F1", 0.20, "19.7 %, 196 s", wnut17),
    Row("ewt", "UD English EWT, UPOS", "accuracy", "accuracy", 0.953, "95.46 %, 282 s", ewt),
    Row(
        "nottingham",
        "Nottingham piano rolls",
        "nats_per_step",
        "nats per step",
        3.28,
        "not run",
        nottingham,
        rising=False,
        percent=False,
    ),
    Row(
        "nottingham_independent",
        "Nottingham piano rolls, keys independent",
        "nats_per_step",
        "nats per step",
        3.28,
        "3.280, 202 s",
        nottingham_independent,
        rising=False,
        percent=False,
    ),
    Row("fsdd_digits", "FSDD digits, index 0-4", "accuracy", "accuracy", 0.99, "99.33 %, 32 s", fsdd_digits),
    Row(
        "fsdd_strings",
        "FSDD strings of 2-7 digits",
        "cer",
        "character error rate",
        0.015,
        "1.5 %, 246 s",
        fsdd_strings,
        rising=False,
    ),
    Row(
        "multi30k",
        "Multi30k English to German, test 2016",
        "bleu",
        "BLEU (13a, cased, beam 5)",
        35.5,
        "35.9, 600 s",
        multi30k,
        percent=False,
    ),
    Row("dates", "dates to ISO dates", "exact_match", "exact match", 1.0, "100 %, 77 s", dates),
)
