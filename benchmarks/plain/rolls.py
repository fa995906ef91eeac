"""Piano rolls: an LSTM says of each of 88 keys whether it sounds next, the keys independent of each other."""

from __future__ import annotations

from pathlib import Path

import scipy.io
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from benchmarks.plain.fit import fit, reached


class RollNet(nn.Module):
    """Steps (B, T, 88) to scores of the keys of the steps after them."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(88, 256, batch_first=True)
        self.out = nn.Linear(256, 88)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(functional.dropout(self.rnn(x)[0], 0.3, self.training))  # type: ignore[no-any-return]


def nottingham_independent(data: Path) -> dict[str, float]:
    file = scipy.io.loadmat(data / "nottingham" / "Nottingham.mat")
    train, test = ([torch.from_numpy(roll).float() for roll in file[f"{part}data"][0]] for part in ("train", "test"))
    net = RollNet()

    def nats(rolls: list[Tensor]) -> tuple[Tensor, int]:
        x = pad_sequence(rolls, batch_first=True)  # (B, T, 88)
        lengths = torch.tensor([len(roll) for roll in rolls])
        each = functional.binary_cross_entropy_with_logits(net(x[:, :-1]), x[:, 1:], reduction="none").sum(2)
        live = torch.arange(1, x.shape[1]) < lengths[:, None]  # (B, T - 1)
        return (each * live).sum(), int(live.sum())

    def loss_of(chosen: list[int]) -> Tensor:
        total, count = nats([train[n] for n in chosen])
        return total / count

    seconds = fit(net, [len(roll) for roll in train], loss_of, epochs=40, size=8, rate=4e-3)
    with torch.no_grad():
        found = [nats([roll]) for roll in test]
    return reached(float(sum(total for total, _ in found)) / sum(count for _, count in found), seconds, net)
