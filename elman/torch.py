"""Torch's recurrent layers on Elman's engine, and its packing of sequences: `elman.torch.LSTM`, `GRU`, `RNN`,
`pack_padded_sequence`, `pad_packed_sequence`; see elman.bridges.torch and elman.bridges.packing."""

from elman.bridges.packing import pack_padded_sequence, pad_packed_sequence
from elman.bridges.torch import GRU, LSTM, RNN

__all__ = ["GRU", "LSTM", "RNN", "pack_padded_sequence", "pad_packed_sequence"]
