"""Translation: a bidirectional GRU reads, a GRU with additive attention writes; pieces of words, beam search."""

from __future__ import annotations

from pathlib import Path

import sacrebleu
import tokenizers
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from benchmarks.plain.fit import fit, reached

BEAM, LONGEST = 5, 60
PAD, START, END = 0, 1, 2
SPECIAL = ("<pad>", "<s>", "</s>")


class Translator(nn.Module):
    """Attention looks with the state before the step, so that all steps but the recurrence itself are one product."""

    def __init__(self, source: int, target: int, width: int, dropout: float) -> None:
        super().__init__()
        self.scale, self.dropout = width**0.5, dropout
        self.source, self.target = (nn.Embedding(count, width, padding_idx=PAD) for count in (source, target))
        self.reader = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.first = nn.Linear(2 * width, 2 * width)
        self.writer = nn.GRU(width, 2 * width, batch_first=True)
        self.query, self.key = nn.Linear(2 * width, width), nn.Linear(2 * width, width, bias=False)
        self.score = nn.Linear(width, 1, bias=False)
        self.join = nn.Linear(4 * width, width)
        self.out = nn.Linear(width, target)
        self.out.weight = self.target.weight
        nn.init.normal_(self.source.weight, std=width**-0.5)
        nn.init.normal_(self.target.weight, std=width**-0.5)

    def read(self, x: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        lengths = torch.tensor([len(row) for row in x])
        vectors = functional.dropout(
            self.source(pad_sequence(x, batch_first=True)) * self.scale, self.dropout, self.training
        )  # (B, S, E)
        packed, h = self.reader(pack_padded_sequence(vectors, lengths, batch_first=True, enforce_sorted=False))
        y, _ = pad_packed_sequence(packed, batch_first=True)  # (B, S, 2 E)
        live = torch.arange(y.shape[1]) < lengths[:, None]  # (B, S)
        return y, self.key(y), live, torch.tanh(self.first(torch.cat(list(h), 1)))[None]

    def write(self, words: Tensor, memory: tuple[Tensor, Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        y, keys, live, state = memory
        h, state = self.writer(
            functional.dropout(self.target(words) * self.scale, self.dropout, self.training), state
        )  # (B, U, 2 E)
        scores = self.score(torch.tanh(self.query(h)[:, :, None] + keys[:, None]))[..., 0]  # (B, U, S)
        shares = scores.masked_fill(~live[:, None], float("-inf")).softmax(2)
        seen = torch.cat([h, shares @ y], 2)  # (B, U, 4 E)
        return self.out(functional.dropout(torch.tanh(self.join(seen)), self.dropout, self.training)), state

    def beam(self, x: Tensor) -> list[int]:
        y, keys, live, state = (
            t.expand(*(BEAM if n == i else -1 for n in range(t.dim())))
            for t, i in zip(self.read([x]), (0, 0, 0, 1), strict=True)
        )
        pieces = len(self.target.weight)
        rows, scores, done = torch.full((BEAM, 1), START), torch.tensor([0.0] + [-1e9] * (BEAM - 1)), []
        for length in range(1, LONGEST):
            logits, state = self.write(rows[:, -1:], (y, keys, live, state.contiguous()))
            best, places = (scores[:, None] + logits[:, 0].log_softmax(1)).flatten().topk(2 * BEAM)
            kept: list[tuple[float, int]] = []
            for score, place in zip(best.tolist(), places.tolist(), strict=True):
                if place % pieces == END:
                    done.append((score / length, rows[place // pieces, 1:].tolist()))
                elif len(kept) < BEAM:
                    kept.append((score, place))
            if len(done) >= BEAM:
                break
            at = torch.tensor([place // pieces for _, place in kept])
            scores, state = torch.tensor([score for score, _ in kept]), state[:, at]
            rows = torch.cat([rows[at], torch.tensor([[place % pieces] for _, place in kept])], 1)
        return max(done, default=(0.0, rows[0, 1:].tolist()))[1]


def _pieces(lines: list[str]) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    tokenizer.decoder = tokenizers.decoders.Metaspace()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=4000, special_tokens=list(SPECIAL), show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def _train(net: Translator, x: list[Tensor], y: list[Tensor], epochs: int, rate: float, smoothing: float) -> float:
    def loss_of(chosen: list[int]) -> Tensor:
        words = pad_sequence([y[n] for n in chosen], batch_first=True)  # (B, U + 1)
        logits, _ = net.write(words[:, :-1], net.read([x[n] for n in chosen]))
        return functional.cross_entropy(
            logits.flatten(0, 1), words[:, 1:].flatten(), ignore_index=PAD, label_smoothing=smoothing
        )

    return fit(net, [len(row) for row in y], loss_of, epochs=epochs, size=64, rate=rate)


def multi30k(data: Path) -> dict[str, float]:
    def lines(name: str) -> list[str]:
        return (data / "multi30k_en_de" / name).read_text(encoding="utf-8").splitlines()

    texts = [lines(f"train.{language}") for language in ("en", "de")]
    english, german = map(_pieces, texts)
    x, y = (
        [torch.tensor([START, *e.ids, END]) for e in tokenizer.encode_batch(text)]
        for tokenizer, text in zip((english, german), texts, strict=True)
    )
    net = Translator(4000, 4000, 256, 0.2)
    seconds = _train(net, x, y, epochs=12, rate=2e-3, smoothing=0.1)
    with torch.no_grad():
        found = [
            german.decode(net.beam(torch.tensor([START, *english.encode(source).ids, END])))
            for source in lines("test_2016_flickr.en")
        ]
    return reached(sacrebleu.corpus_bleu(found, [lines("test_2016_flickr.de")]).score, seconds, net)


def dates(data: Path) -> dict[str, float]:
    def pairs(part: str) -> list[list[str]]:
        lines = (data / "dates_synthetic" / f"{part}.tsv").read_text(encoding="utf-8").splitlines()
        return [line.split("\t") for line in lines]

    train, test = pairs("train"), pairs("test")
    letters = [*SPECIAL, *sorted({c for pair in train for text in pair for c in text})]

    def numbers(text: str) -> Tensor:
        return torch.tensor([START, *(letters.index(c) for c in text), END])

    x, y = ([numbers(pair[side]) for pair in train] for side in range(2))
    net = Translator(len(letters), len(letters), 64, 0.1)
    seconds = _train(net, x, y, epochs=10, rate=6e-3, smoothing=0.0)
    with torch.no_grad():
        found = ["".join(letters[n] for n in net.beam(numbers(source))) for source, _ in test]
    return reached(sum(a == wanted for a, (_, wanted) in zip(found, test, strict=True)) / len(test), seconds, net)
