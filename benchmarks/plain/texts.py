"""A label for a text: embeddings of words, a bidirectional LSTM, the largest value over time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.plain.labels import Net, run, tenths

Texts = list[tuple[list[str], int]]
"""Words and the number of the label."""


class TextNet(nn.Module):
    """Numbers of words (T,), to scores of labels."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, 200)
        self.rest = Net(200, 128, 2, "max")

    def forward(self, x: list[Tensor]) -> Tensor:
        vectors = functional.dropout(self.words(torch.cat(x)), 0.5, self.training)
        return self.rest(list(vectors.split([len(row) for row in x])))  # type: ignore[no-any-return]


def _judge(train: Texts, test: Texts, epochs: int) -> dict[str, float]:
    seen = Counter(word for words, _ in train for word in words)
    numbers = {word: n for n, word in enumerate(seen, 1)}

    def ready(texts: Texts) -> list[tuple[Tensor, int]]:
        return [(torch.tensor([numbers.get(word, 0) for word in words]), label) for words, label in texts]

    def forgetting(x: Tensor) -> Tensor:
        return torch.where(torch.rand(len(x)) < 0.1, 0, x)

    net = TextNet(len(numbers) + 1)
    return run(ready(train), ready(test), net, epochs=epochs, size=32, rate=2e-3, change=forgetting)


def sst(data: Path) -> dict[str, float]:
    parts: list[Texts] = []
    for part in ("train", "test"):
        lines = (data / "sst" / f"stsa.binary.{part}").read_text(encoding="utf-8").splitlines()
        parts.append([(line[2:].lower().split(), int(line[0])) for line in lines])
    return _judge(parts[0], parts[1], epochs=6)


def subj(data: Path) -> dict[str, float]:
    lines = (data / "subj" / "subj.all").read_text(encoding="cp1252").splitlines()
    train, test = tenths([(line[2:].lower().split(), int(line[0])) for line in lines if line.strip()])
    return _judge(train, test, epochs=6)
