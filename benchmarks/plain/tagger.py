"""A tag for every word: embeddings of words beside an LSTM over their letters, an LSTM over the sentence, softmax."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from benchmarks.plain.fit import fit

Sentence = list[tuple[str, str]]


class Tagger(nn.Module):
    """Numbers of words (B, T) and of their letters (B T, C) to scores (B, T, K)."""

    def __init__(self, words: int, letters: int, tags: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, 100, padding_idx=0)
        self.letters = nn.Embedding(letters, 32, padding_idx=0)
        self.spelling = nn.LSTM(32, 64, batch_first=True, bidirectional=True)
        self.rnn = nn.LSTM(228, 200, batch_first=True, bidirectional=True)
        self.out = nn.Linear(400, tags)

    def forward(self, words: list[Tensor], letters: list[Tensor]) -> Tensor:
        lengths = torch.tensor([len(row) for row in words])
        sizes = torch.tensor([len(word) for word in letters])
        spelt = self.letters(pad_sequence(letters, batch_first=True))  # (B T, C, 32)
        _, (h, _) = self.spelling(pack_padded_sequence(spelt, sizes, batch_first=True, enforce_sorted=False))
        ends = pad_sequence(list(torch.cat(list(h), 1).split(lengths.tolist())), batch_first=True)  # (B, T, 128)
        x = functional.dropout(
            torch.cat([self.words(pad_sequence(words, batch_first=True)), ends], 2), 0.4, self.training
        )
        y, _ = self.rnn(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        return self.out(functional.dropout(pad_packed_sequence(y, batch_first=True)[0], 0.4, self.training))  # type: ignore[no-any-return]


def _sentences(path: Path) -> list[Sentence]:
    found: list[Sentence] = [[]]
    for line in gzip.decompress(path.read_bytes()).decode("utf-8").split("\n"):
        cells = line.split("\t")
        if len(cells) > 3 and cells[0].isdigit():
            found[-1].append((cells[1], cells[3]))
        elif not line and found[-1]:
            found.append([])
    return [sentence for sentence in found if sentence]


def ewt(data: Path) -> dict[str, float]:
    base = data / "ud_english_ewt"
    train, test = (_sentences(base / f"en_ewt-ud-{part}.conllu.gz") for part in ("train", "test"))
    seen = Counter(word.lower() for sentence in train for word, _ in sentence)
    words = {word: n for n, word in enumerate(seen, 2)}
    letters = {c: n for n, c in enumerate(sorted({c for s in train for word, _ in s for c in word}), 2)}
    tags = {tag: n for n, tag in enumerate(sorted({tag for s in train for _, tag in s}))}

    def numbers(sentence: Sentence) -> tuple[Tensor, list[Tensor], Tensor]:
        return (
            torch.tensor([words.get(word.lower(), 1) for word, _ in sentence]),
            [torch.tensor([letters.get(c, 1) for c in word]) for word, _ in sentence],
            torch.tensor([tags[tag] for _, tag in sentence]),
        )

    ready, rare = [numbers(s) for s in train], torch.zeros(len(words) + 2, dtype=torch.bool)
    rare[[n for word, n in words.items() if seen[word] == 1]] = True
    net = Tagger(len(words) + 2, len(letters) + 2, len(tags))

    def loss_of(chosen: list[int]) -> Tensor:
        x = [ready[n][0] for n in chosen]
        x = [torch.where(rare[row] & (torch.rand(len(row)) < 0.5), 1, row) for row in x]
        y = pad_sequence([ready[n][2] for n in chosen], batch_first=True, padding_value=-100)
        return functional.cross_entropy(net(x, [w for n in chosen for w in ready[n][1]]).flatten(0, 1), y.flatten())

    seconds = fit(net, [len(s) for s in train], loss_of, epochs=10, size=32, rate=4e-3)
    right = count = 0
    with torch.no_grad():
        for sentence in test:
            x, spelt, y = numbers(sentence)
            right, count = right + int((net([x], spelt)[0].argmax(1) == y).sum()), count + len(y)
    return {"value": right / count, "seconds": seconds, "parameters": sum(p.numel() for p in net.parameters())}
