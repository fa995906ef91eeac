"""Bikes rented in each hour, from the weather and the calendar so far: one LSTM, windows of two weeks."""

from __future__ import annotations

import csv
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.plain.fit import fit, reached

WARM_UP, SCORED = 168, 168


class RideNet(nn.Module):
    """Steps (B, T, I) to a number each (B, T)."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.rnn = nn.LSTM(inputs, 64, batch_first=True)
        self.out = nn.Sequential(nn.Dropout(0.2), nn.Linear(64, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0])[..., 0]  # type: ignore[no-any-return]


def _hours(data: Path) -> tuple[Tensor, Tensor, int, int]:
    """Inputs (T, I), counts (T,), the end of training, the begin of the test."""
    with (data / "bike_sharing" / "hour.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    y = torch.tensor([float(row["cnt"]) for row in rows])
    columns = [torch.tensor([[float(r[name]) for name in ("temp", "atemp", "hum", "windspeed", "yr")] for r in rows])]
    for name in ("hr", "weekday", "mnth", "season", "weathersit", "workingday", "holiday"):
        columns.append(functional.one_hot(torch.tensor([int(row[name]) for row in rows])).float())
    ends = [next(n for n, row in enumerate(rows) if row["dteday"] >= day) for day in ("2012-07-01", "2012-10-01")]
    return torch.cat(columns, 1), y, ends[0], ends[1]


def _forecast(data: Path, lag: bool, epochs: int) -> dict[str, float]:
    x, y, train, test = _hours(data)
    mean, deviation = y[:train].mean(), y[:train].std()
    if lag:
        before = torch.cat([y[:1], y[:-1]])
        x = torch.cat([x, ((before - mean) / deviation)[:, None]], 1)
    last, net = train - WARM_UP - SCORED, RideNet(x.shape[1])
    windows_an_epoch = last // SCORED  # drawn anew each time

    def loss_of(chosen: list[int]) -> Tensor:
        drawn = torch.randint(last, (len(chosen),)).tolist()
        windows = torch.stack([x[n : n + WARM_UP + SCORED] for n in drawn])  # (B, T, I)
        wanted = torch.stack([y[n + WARM_UP : n + WARM_UP + SCORED] for n in drawn])
        return functional.mse_loss(net(windows)[:, WARM_UP:], (wanted - mean) / deviation)

    seconds = fit(net, [1] * windows_an_epoch, loss_of, epochs=epochs, size=8, rate=4e-3)
    with torch.no_grad():
        found = net(x[None])[0, test:] * deviation + mean
    return reached(float((found - y[test:]).square().mean().sqrt()), seconds, net)


def bikes(data: Path) -> dict[str, float]:
    return _forecast(data, lag=False, epochs=60)


def bikes_with_lag(data: Path) -> dict[str, float]:
    return _forecast(data, lag=True, epochs=60)
