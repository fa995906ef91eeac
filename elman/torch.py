"""Torch's recurrent layers on Elman's engine: `elman.torch.LSTM`, `GRU` and `RNN`; see elman.bridges.torch."""

from elman.bridges.torch import GRU, LSTM, RNN

__all__ = ["GRU", "LSTM", "RNN"]
