"""Diagnosis of a language model: how much of the loss of one token reaches the states of the tokens before it."""

from __future__ import annotations

import torch
from torch import Tensor

from elman.architectures import LanguageModel
from elman.diagnosis.diagnose import FRACTION, diagnose_inputs
from elman.diagnosis.report import Diagnosis
from elman.errors import ShapeError


def diagnose_language_model(
    model: LanguageModel, tokens: Tensor, *, fraction: float = FRACTION, title: str = "language model", data: str = ""
) -> Diagnosis:
    """Diagnose a language model on given tokens, each row read from the initial state.

    The late loss is -ln P(y<T+1> | y<1..T>), the loss of each row's last token; see `diagnose` for all else.

    Args:
        model: The model; left unchanged.
        tokens: (B, T + 1) token numbers, T at least 2.
        fraction: Relative gradient norm that still counts as remembered, in (0, 1).
        title: Heading of the report.
        data: What the tokens are, in words.

    Returns:
        One entry for each recurrent layer.

    Raises:
        ShapeError: tokens have another shape.
        UsageError: fraction is outside its range.
    """
    if tokens.dim() != 2 or tokens.shape[1] < 3:
        raise ShapeError(f"diagnosis: tokens must have shape (B, T + 1) with T >= 2; got {tuple(tokens.shape)}")
    with torch.no_grad():
        x = model.embed(tokens[:, :-1])  # (B, T, I)

    def last_token(y: Tensor) -> Tensor:
        weight, bias = model.head.weight.detach().double(), model.head.bias
        logits = torch.nn.functional.linear(y[:, -1], weight, None if bias is None else bias.detach().double())
        return torch.nn.functional.cross_entropy(logits, tokens[:, -1], reduction="sum")

    return diagnose_inputs(model.recurrent, [x], fraction=fraction, seed=0, title=title, data=data, loss=last_token)
