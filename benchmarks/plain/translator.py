"""Translation: a bidirectional GRU reads, a GRU with additive attention writes; pieces of words, beam search."""

from __future__ import annotations

from pathlib import Path

import sacrebleu
import tokenizers
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from benchmarks.plain.fit import fit

PIECES, WIDTH, BEAM, LONGEST = 4000, 256, 5, 60
PAD, START, END = 0, 1, 2


class Translator(nn.Module):
    """Attention looks with the state before the step, so that all steps but the recurrence itself are one product."""

    def __init__(self) -> None:
        super().__init__()
        self.source, self.target = (nn.Embedding(PIECES, WIDTH, padding_idx=PAD) for _ in range(2))
        self.reader = nn.GRU(WIDTH, WIDTH, batch_first=True, bidirectional=True)
        self.first = nn.Linear(2 * WIDTH, 2 * WIDTH)
        self.writer = nn.GRU(WIDTH, 2 * WIDTH, batch_first=True)
        self.query, self.key = nn.Linear(2 * WIDTH, WIDTH), nn.Linear(2 * WIDTH, WIDTH, bias=False)
        self.score = nn.Linear(WIDTH, 1, bias=False)
        self.join = nn.Linear(4 * WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, PIECES)
        self.out.weight = self.target.weight
        nn.init.normal_(self.source.weight, std=WIDTH**-0.5)
        nn.init.normal_(self.target.weight, std=WIDTH**-0.5)

    def read(self, x: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        lengths = torch.tensor([len(row) for row in x])
        vectors = functional.dropout(
            self.source(pad_sequence(x, batch_first=True)) * 16, 0.2, self.training
        )  # (B, S, E)
        packed, h = self.reader(pack_padded_sequence(vectors, lengths, batch_first=True, enforce_sorted=False))
        y, _ = pad_packed_sequence(packed, batch_first=True)  # (B, S, 2 E)
        live = torch.arange(y.shape[1]) < lengths[:, None]  # (B, S)
        return y, self.key(y), live, torch.tanh(self.first(torch.cat(list(h), 1)))[None]

    def write(self, words: Tensor, memory: tuple[Tensor, Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        y, keys, live, state = memory
        h, state = self.writer(functional.dropout(self.target(words) * 16, 0.2, self.training), state)  # (B, U, 2 E)
        scores = self.score(torch.tanh(self.query(h)[:, :, None] + keys[:, None]))[..., 0]  # (B, U, S)
        shares = scores.masked_fill(~live[:, None], float("-inf")).softmax(2)
        seen = torch.cat([h, shares @ y], 2)  # (B, U, 4 E)
        return self.out(functional.dropout(torch.tanh(self.join(seen)), 0.2, self.training)), state

    def beam(self, x: Tensor) -> list[int]:
        y, keys, live, state = (
            t.expand(*(BEAM if n == i else -1 for n in range(t.dim())))
            for t, i in zip(self.read([x]), (0, 0, 0, 1), strict=True)
        )
        rows, scores, done = torch.full((BEAM, 1), START), torch.tensor([0.0] + [-1e9] * (BEAM - 1)), []
        for length in range(1, LONGEST):
            logits, state = self.write(rows[:, -1:], (y, keys, live, state.contiguous()))
            best, places = (scores[:, None] + logits[:, 0].log_softmax(1)).flatten().topk(2 * BEAM)
            kept: list[tuple[float, int]] = []
            for score, place in zip(best.tolist(), places.tolist(), strict=True):
                if place % PIECES == END:
                    done.append((score / length, rows[place // PIECES, 1:].tolist()))
                elif len(kept) < BEAM:
                    kept.append((score, place))
            if len(done) >= BEAM:
                break
            at = torch.tensor([place // PIECES for _, place in kept])
            scores, state = torch.tensor([score for score, _ in kept]), state[:, at]
            rows = torch.cat([rows[at], torch.tensor([[place % PIECES] for _, place in kept])], 1)
        return max(done, default=(0.0, rows[0, 1:].tolist()))[1]


def _pieces(path: Path) -> tuple[tokenizers.Tokenizer, list[Tensor]]:
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    tokenizer.decoder = tokenizers.decoders.Metaspace()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=PIECES, special_tokens=["<pad>", "<s>", "</s>"], show_progress=False
    )
    lines = path.read_text(encoding="utf-8").splitlines()
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer, [torch.tensor([START, *e.ids, END]) for e in tokenizer.encode_batch(lines)]


def multi30k(data: Path) -> dict[str, float]:
    base = data / "multi30k_en_de"
    (english, x), (german, y) = (_pieces(base / f"train.{language}") for language in ("en", "de"))
    net = Translator()

    def loss_of(chosen: list[int]) -> Tensor:
        words = pad_sequence([y[n] for n in chosen], batch_first=True)  # (B, U + 1)
        logits, _ = net.write(words[:, :-1], net.read([x[n] for n in chosen]))
        return functional.cross_entropy(
            logits.flatten(0, 1), words[:, 1:].flatten(), ignore_index=PAD, label_smoothing=0.1
        )

    seconds = fit(net, [len(row) for row in y], loss_of, epochs=12, size=64, rate=2e-3)
    sources, wanted = (
        (base / f"test_2016_flickr.{language}").read_text(encoding="utf-8").splitlines() for language in ("en", "de")
    )
    with torch.no_grad():
        found = [german.decode(net.beam(torch.tensor([START, *english.encode(s).ids, END]))) for s in sources]
    return {
        "value": sacrebleu.corpus_bleu(found, [wanted]).score,
        "seconds": seconds,
        "parameters": sum(p.numel() for p in net.parameters()),
    }
