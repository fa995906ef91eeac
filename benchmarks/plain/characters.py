"""A language model of characters as most scripts have it: an LSTM, streams of text, AdamW, a falling rate."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.plain.fit import reached

STREAMS, STEPS, RATE = 32, 64, 3e-3
States = tuple[Tensor, Tensor] | None


class CharacterNet(nn.Module):
    """Numbers of characters (B, T), to scores of the next ones (B, T, V)."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, 128)
        self.rnn = nn.LSTM(128, 512, num_layers=2, dropout=0.1, batch_first=True)
        self.out = nn.Linear(512, characters)

    def forward(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        y, states = self.rnn(self.embedding(x), states)
        return self.out(functional.dropout(y, 0.1, self.training)), states


def loss_of(net: CharacterNet, text: Tensor, start: int, states: States, precision: str) -> tuple[Tensor, States]:
    """Return the mean loss of the characters behind `start` of every stream (B, N), and where the states end."""
    x, y = text[:, start : start + STEPS], text[:, start + 1 : start + STEPS + 1]
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        scores, states = net(x[:, : y.shape[1]], states)
    return functional.cross_entropy(scores.float().flatten(0, 1), y.flatten()), states


@torch.no_grad()
def nats_per_character(net: CharacterNet, text: Tensor, precision: str) -> float:
    """Return the mean loss over a text that is read from its start to its end."""
    net.eval()
    total, states = 0.0, None
    for start in range(0, len(text) - 1, STEPS):
        loss, states = loss_of(net, text[None], start, states, precision)
        total += float(loss) * min(STEPS, len(text) - 1 - start)
    net.train()
    return total / (len(text) - 1)


def tinyshakespeare(data: Path, minutes: float, precision: str) -> dict[str, float]:
    """Train for some minutes, evaluations not counted, and return what was reached on the last tenth."""
    text = (data / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    numbers = {c: n for n, c in enumerate(sorted(set(text)))}
    tokens = torch.tensor([numbers[c] for c in text])
    cut = len(tokens) * 9 // 10
    streams = tokens[: cut // STREAMS * STREAMS].view(STREAMS, -1)  # (B, N)
    net = CharacterNet(len(numbers))
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    segments = (streams.shape[1] - 1) // STEPS
    steps, spent = 0, 0.0
    states: States = None
    while spent < 60 * minutes:
        start = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (steps + 1) / 50) * (1 + math.cos(math.pi * spent / (60 * minutes))) / 2
        states = states and (states[0].detach(), states[1].detach()) if steps % segments else None
        loss, states = loss_of(net, streams, steps % segments * STEPS, states, precision)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        steps += 1
        spent += time.perf_counter() - start
    found = reached(nats_per_character(net, tokens[cut:], precision), spent, net)
    return found | {"characters_per_second": steps * STREAMS * STEPS / spent, "steps": float(steps)}
