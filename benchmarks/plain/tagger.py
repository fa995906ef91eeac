"""A tag for every word: embeddings beside an LSTM over the letters, an LSTM over the sentence; softmax or CRF."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from benchmarks.plain.fit import fit, reached

Sentence = list[tuple[str, str]]


class Tagger(nn.Module):
    """Numbers of words (B, T) and of their letters (B T, C) to scores (B, T, K)."""

    def __init__(self, words: int, letters: int, tags: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
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
            torch.cat([self.words(pad_sequence(words, batch_first=True)), ends], 2), self.dropout, self.training
        )
        y, _ = self.rnn(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        return self.out(functional.dropout(pad_packed_sequence(y, batch_first=True)[0], self.dropout, self.training))  # type: ignore[no-any-return]


class Chain(nn.Module):
    """A sequence of tags scores the sum of its scores and of its steps from tag to tag."""

    def __init__(self, tags: int) -> None:
        super().__init__()
        self.first, self.step = nn.Parameter(torch.zeros(tags)), nn.Parameter(torch.zeros(tags, tags))

    def loss(self, scores: Tensor, tags: Tensor, live: Tensor) -> Tensor:
        """Return -ln P of tags (B, T) by scores (B, T, K), a word, where `live` (B, T)."""
        own = scores.gather(2, tags[..., None])[..., 0] * live  # (B, T)
        steps = self.step[tags[:, :-1], tags[:, 1:]] * live[:, 1:]
        paths = self.first + scores[:, 0]  # (B, K)
        for t in range(1, scores.shape[1]):
            longer = (paths[:, :, None] + self.step).logsumexp(1) + scores[:, t]
            paths = torch.where(live[:, t, None], longer, paths)
        return (paths.logsumexp(1) - self.first[tags[:, 0]] - own.sum(1) - steps.sum(1)).sum() / live.sum()

    def best(self, scores: Tensor) -> list[int]:
        """Return the best tags of a sentence with scores (T, K)."""
        paths, back = self.first + scores[0], []
        for row in scores[1:]:
            paths, came = (paths[:, None] + self.step).max(0)
            paths = paths + row
            back.append(came)
        found = [int(paths.argmax())]
        for came in reversed(back):
            found.append(int(came[found[-1]]))
        return found[::-1]


class Words:
    """Words, letters and tags of the training sentences, by number."""

    def __init__(self, train: list[Sentence]) -> None:
        seen = Counter(word.lower() for sentence in train for word, _ in sentence)
        self.words = {word: n for n, word in enumerate(seen, 2)}
        self.letters = {c: n for n, c in enumerate(sorted({c for s in train for word, _ in s for c in word}), 2)}
        self.tags = {tag: n for n, tag in enumerate(sorted({tag for s in train for _, tag in s}))}
        self.rare = torch.zeros(len(seen) + 2, dtype=torch.bool)
        self.rare[[n for word, n in self.words.items() if seen[word] == 1]] = True

    def numbers(self, sentence: Sentence) -> tuple[Tensor, list[Tensor]]:
        words = torch.tensor([self.words.get(word.lower(), 1) for word, _ in sentence])
        return words, [torch.tensor([self.letters.get(c, 1) for c in word]) for word, _ in sentence]

    def net(self, dropout: float) -> Tagger:
        return Tagger(len(self.rare), len(self.letters) + 2, len(self.tags), dropout)


def _train(
    words: Words,
    train: list[Sentence],
    net: Tagger,
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    epochs: int,
    more: nn.Module,
) -> float:
    ready = [(*words.numbers(s), torch.tensor([words.tags[tag] for _, tag in s])) for s in train]

    def loss_of(chosen: list[int]) -> Tensor:
        x = [ready[n][0] for n in chosen]
        x = [torch.where(words.rare[row] & (torch.rand(len(row)) < 0.5), 1, row) for row in x]
        live = pad_sequence([torch.ones(len(row), dtype=torch.bool) for row in x], batch_first=True)
        tags = pad_sequence([ready[n][2] for n in chosen], batch_first=True)
        return loss(net(x, [w for n in chosen for w in ready[n][1]]), tags, live)

    return fit(nn.ModuleList([net, more]), [len(s) for s in train], loss_of, epochs=epochs, size=32, rate=4e-3)


def _treebank(path: Path) -> list[Sentence]:
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
    train, test = (_treebank(base / f"en_ewt-ud-{part}.conllu.gz") for part in ("train", "test"))
    words = Words(train)
    net = words.net(0.4)

    def loss(scores: Tensor, tags: Tensor, live: Tensor) -> Tensor:
        return functional.cross_entropy(scores[live], tags[live])

    seconds = _train(words, train, net, loss, 10, nn.Identity())
    right = count = 0
    with torch.no_grad():
        for sentence in test:
            x, letters = words.numbers(sentence)
            found = net([x], letters)[0].argmax(1)
            right += sum(words.tags[tag] == n for n, (_, tag) in zip(found.tolist(), sentence, strict=True))
            count += len(sentence)
    return reached(right / count, seconds, net)


def _columns(path: Path) -> list[Sentence]:
    found: list[Sentence] = [[]]
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line.strip():
            word, tag = line.rstrip().split("\t")
            found[-1].append((word, tag))
        elif found[-1]:  # some lines between sentences hold a tab
            found.append([])
    return [sentence for sentence in found if sentence]


def _spans(tags: list[str]) -> set[tuple[int, int, str]]:
    """Begin, end and kind of every span, as conlleval has them."""
    found, begin = set(), 0
    for n, (before, tag) in enumerate(zip(["O", *tags], [*tags, "O"], strict=True)):
        goes_on = tag[:1] == "I" and before[1:] == tag[1:]
        if before != "O" and not goes_on:
            found.add((begin, n, before[2:]))
        if not goes_on:
            begin = n
    return found


def wnut17(data: Path) -> dict[str, float]:
    base = data / "wnut17"
    train, test = (_columns(base / name) for name in ("wnut17train.conll", "emerging.test.annotated"))
    words = Words(train)
    net, chain, names = words.net(0.5), Chain(len(words.tags)), list(words.tags)
    seconds = _train(words, train, net, chain.loss, 15, chain)
    right = said = true = 0
    with torch.no_grad():
        for sentence in test:
            x, letters = words.numbers(sentence)
            found = _spans([names[n] for n in chain.best(net([x], letters)[0])])
            wanted = _spans([tag for _, tag in sentence])
            right, said, true = right + len(found & wanted), said + len(found), true + len(wanted)
    return reached(2 * right / (said + true), seconds, net, chain)
