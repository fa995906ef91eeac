"""Strings of spoken digits: two bidirectional LSTMs, CTC, the best symbol of each step."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import soundfile
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from benchmarks.plain.fit import fit, reached
from benchmarks.plain.labels import log_spectrum, masked
from benchmarks.speech_data import write_strings


class Recogniser(nn.Module):
    """Three windows a step (T, 120) to logarithms of probabilities (T, B, 11); symbol 0 is the blank."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(120, 128, num_layers=2, dropout=0.2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(256, 11)

    def forward(self, x: list[Tensor]) -> Tensor:
        lengths = torch.tensor([len(row) for row in x])
        packed = pack_padded_sequence(
            pad_sequence(x, batch_first=True), lengths, batch_first=True, enforce_sorted=False
        )
        y, _ = pad_packed_sequence(self.rnn(packed)[0])  # (T, B, 256)
        return self.out(functional.dropout(y, 0.2, self.training)).log_softmax(2)  # type: ignore[no-any-return]


def _distance(found: str, wanted: str) -> int:
    row = list(range(len(wanted) + 1))
    for n, a in enumerate(found, 1):
        before, row[0] = row[0], n
        for m, b in enumerate(wanted, 1):
            before, row[m] = row[m], min(row[m] + 1, row[m - 1] + 1, before + (a != b))
    return row[-1]


def fsdd_strings(data: Path) -> dict[str, float]:
    parts: dict[str, list[tuple[Tensor, str]]] = {"train": [], "validation": [], "test": []}
    with tempfile.TemporaryDirectory() as place:
        table = write_strings(data / "fsdd", Path(place))
        with table.open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                samples, rate = soundfile.read(table.parent / row["path"], dtype="float32")
                parts[row["part"]].append((log_spectrum(samples, rate), row["transcript"]))
    train, net = parts["train"], Recogniser()
    symbols = [torch.tensor([int(digit) + 1 for digit in text]) for _, text in train]

    def loss_of(chosen: list[int]) -> Tensor:
        scores = net([masked(train[n][0]) for n in chosen])
        lengths = torch.tensor([len(train[n][0]) for n in chosen])
        wanted = [symbols[n] for n in chosen]
        return functional.ctc_loss(scores, torch.cat(wanted), lengths, torch.tensor([len(row) for row in wanted]))

    seconds = fit(net, [len(x) for x, _ in train], loss_of, epochs=20, size=32, rate=4e-3)
    wrong = 0
    with torch.no_grad():
        for x, text in parts["test"]:
            best = net([x])[:, 0].argmax(1).unique_consecutive().tolist()
            wrong += _distance("".join(str(n - 1) for n in best if n), text)
    return reached(wrong / sum(len(text) for _, text in parts["test"]), seconds, net)
