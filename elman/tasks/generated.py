"""Small made-up data of language, so that a task of texts can be tried without a download."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from elman.randomness import generator
from elman.storage import make_folder, storing

_THINGS = ("film", "book", "dinner", "concert", "hotel", "walk", "game", "speech")
_OPINIONS = {
    "negative": ("dull", "tiring", "awful", "boring", "a mess", "too long"),
    "positive": ("wonderful", "moving", "a joy", "great fun", "clever", "beautiful"),
}
_PATTERNS = (
    "the {thing} was {opinion}",
    "what a {thing} , {opinion} from start to end",
    "we found the {thing} {opinion}",
    "i expected it to be {other} but the {thing} was {opinion}",
    "the {thing} was not {other} , it was {opinion}",
)
_PEOPLE = ("Ada", "Grace Hopper", "Alan Turing", "Emmy Noether", "Kurt", "Sofia Kowalewskaja", "Jeffrey Elman")
_PLACES = ("Paris", "New York", "Cape Town", "Oslo", "San Diego", "Rio de Janeiro")
_SENTENCES = (
    "{person} flew from {place} to {other} .",
    "in {place} , {person} met an old friend .",
    "{person} likes tea .",
    "it rained in {place} all day .",
    "nothing happened .",
    "the train to {place} was late , said {person} .",
)


Drawn = TypeVar("Drawn")


class Choices:
    """Draws from a fixed seed: the same example data on every machine."""

    def __init__(self, purpose: str) -> None:
        self._draws = generator(0, "example", purpose)

    def one_of(self, options: Sequence[str]) -> str:
        """Return one of the options."""
        return options[int(torch.randint(len(options), (), generator=self._draws))]


def different(draw: Callable[[], Drawn], key: Callable[[Drawn], object], count: int) -> Iterator[Drawn]:
    """Yield `count` drawn things that all differ, so that no part of a data set holds what another one does.

    Args:
        draw: Draws one.
        key: What makes two the same.
        count: How many; there must be plenty.
    """
    known: set[object] = set()
    while len(known) < count:
        drawn = draw()
        if key(drawn) not in known:
            known.add(key(drawn))
            yield drawn


def write_reviews(path: Path, count: int = 600) -> None:
    """Write a CSV of made-up reviews: columns label and text."""
    choose = Choices("reviews")
    rows = []
    for _ in range(count):
        label = choose.one_of(sorted(_OPINIONS))
        other = next(name for name in _OPINIONS if name != label)
        words = {"thing": _THINGS, "opinion": _OPINIONS[label], "other": _OPINIONS[other]}
        rows.append((label, choose.one_of(_PATTERNS).format(**{name: choose.one_of(of) for name, of in words.items()})))
    write_table(path, ("label", "text"), rows)


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a CSV file, its folder made when missing.

    Raises:
        StorageError: it cannot be written.
    """
    make_folder(path.parent)
    with storing(path), path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def write_entities(path: Path, count: int = 400) -> None:
    """Write made-up sentences with the people and places in them, as CoNLL columns: word and BIO tag."""
    choose = Choices("entities")
    make_folder(path.parent)
    with storing(path):
        path.write_text("\n".join("\n".join(_tagged(choose)) + "\n" for _ in range(count)), encoding="utf-8")


def _tagged(choose: Choices) -> Iterator[str]:
    of = {"{person}": ("person", _PEOPLE), "{place}": ("place", _PLACES), "{other}": ("place", _PLACES)}
    for word in choose.one_of(_SENTENCES).split():
        if word not in of:
            yield f"{word} O"
            continue
        kind, names = of[word]
        for n, part in enumerate(choose.one_of(names).split()):
            yield f"{part} {'I' if n else 'B'}-{kind}"


def write_sayings(path: Path, count: int = 3000) -> None:
    """Write a text of made-up weather sayings, one a line."""
    choose = Choices("sayings")
    signs = ("red sky", "a ring round the moon", "low swallows", "thick onion skins", "early frost", "a south wind")
    times = ("at night", "in the morning", "in May", "before harvest", "by the sea")
    follows = (
        "brings rain",
        "means a mild winter",
        "keeps the sailor home",
        "fills the barn",
        "is the shepherd's delight",
    )
    lines = (f"{choose.one_of(signs)} {choose.one_of(times)} {choose.one_of(follows)}." for _ in range(count))
    make_folder(path.parent)
    with storing(path):
        path.write_text("\n".join(line.capitalize() for line in lines) + "\n", encoding="utf-8")


_SYLLABLES = {
    "machines": (("zor", "tek", "vox", "rix", "kil"), ("a", "o"), ("tron", "max", "dyne", "9")),
    "rivers": (("wen", "thal", "mur", "lis", "orn"), ("a", "e", "o"), ("na", "ra", "lle", "sk")),
    "stars": (("Al", "Be", "Si", "Ve", "Ra"), ("ta", "lo", "ri"), ("rion", "ra", "gel", "bar")),
}


def write_names(folder: Path, count: int = 300) -> None:
    """Write made-up names, those of a kind in a file, one a line."""
    choose = Choices("names")
    make_folder(folder)
    for kind, parts in _SYLLABLES.items():
        lines = ["".join(choose.one_of(syllables) for syllables in parts) for _ in range(count)]
        with storing(folder / f"{kind}.txt"):
            (folder / f"{kind}.txt").write_text("\n".join(line.capitalize() for line in lines) + "\n", encoding="utf-8")


_MONTHS = tuple("January February March April May June July August September October November December".split())
_DATES = ("{day} {month} {year}", "{month} {day}, {year}", "{day}.{number}.{year}", "{short} {day} {year}")


def write_dates(path: Path, count: int = 4000) -> None:
    """Write made-up dates, a line each: as people write it, a tab, and as machines do."""
    choose = Choices("dates")
    lines = different(lambda: _date(choose), str, count)
    make_folder(path.parent)
    with storing(path):
        path.write_text("".join(lines), encoding="utf-8")


def _date(choose: Choices) -> str:
    number = int(choose.one_of([str(n) for n in range(1, 13)]))
    day, year = choose.one_of([str(n) for n in range(1, 29)]), choose.one_of([str(n) for n in range(1950, 2050)])
    month = _MONTHS[number - 1]
    words = {"day": day, "month": month, "short": month[:3].lower(), "number": number, "year": year}
    return f"{choose.one_of(_DATES).format(**words)}\t{year}-{number:02d}-{int(day):02d}\n"
