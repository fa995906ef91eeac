"""Many to many out of step: an encoder reads everything, then a decoder writes, looking at what was read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from elman.architectures.decoder import Decoder, DecoderState, Tokens
from elman.architectures.inputs import Inputs, Ragged, ragged
from elman.engines.ragged import valid_steps
from elman.equations import Cell
from elman.heads import Loss
from elman.layers.regularisers import drop


class EncoderDecoder(nn.Module):
    """A sequence in, a sequence of tokens out, of any length.

    Args:
        encoder: What reads: an Encoder, in both directions or one, or any Inputs.
        vocabulary_size: V of what is written, the boundary counted; see Decoder.
        cell, hidden_size, layers, embedding_size: Of the decoder.
        attention: "additive", "multiplicative"; None lets the decoder read the mean of what was read at every step.
        dropout: As of Decoder, and of the outputs of the encoder.
        bidirectional: Of the decoder, and refused; that of the encoder is the encoder's.
        seed: First values as a function of this number.
        options: Of Decoder: input_feeding, scheduled_sampling, tied, input_dropout, label_smoothing; of Stack.of.

    The first states of the decoder are made of the mean of what was read.

    Raises:
        UsageError, ShapeError: an option does not fit or has no effect.

    Example:
        >>> import torch
        >>> from elman.architectures import Encoder, Ragged, TokenVectors
        >>> network = EncoderDecoder(Encoder(TokenVectors(9, 4), bidirectional=True), 7)
        >>> x = Ragged(torch.tensor([[1, 2, 3], [4, 0, 0]]), torch.tensor([3, 1]))
        >>> logits, state = network.step(torch.tensor([6, 6]), network.begin(x))
        >>> logits.shape
        torch.Size([2, 7])

    Source: Sutskever et al. 2014, "Sequence to sequence learning with neural networks"; Bahdanau et al. 2015; first
        states, Sennrich et al. 2017, "Nematus", section 2.
    """

    def __init__(
        self,
        encoder: Inputs,
        vocabulary_size: int,
        *,
        cell: Cell | str = "lstm",
        hidden_size: int = 128,
        layers: int = 1,
        embedding_size: int = 128,
        attention: str | None = "multiplicative",
        dropout: float = 0.0,
        bidirectional: bool = False,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        width = encoder.output_size
        self.decoder = Decoder(
            vocabulary_size,
            cell,
            hidden_size,
            layers,
            embedding_size,
            attention=attention,
            memory_size=width if attention else 0,
            start_size=width,
            vector_size=0 if attention else width,
            dropout=dropout,
            bidirectional=bidirectional,
            seed=seed,
            **options,
        )

    @property
    def boundary(self) -> int:
        """Number of the token that begins and ends every sequence."""
        return self.decoder.boundary

    def begin(self, x: Any, lengths: Tensor | Sequence[int] | None = None) -> DecoderState:
        """Read x and return the state before the first token; x and lengths as of Encoder.forward."""
        read: Ragged = self.encoder(ragged("EncoderDecoder", x, lengths))
        values = drop(read.values, self.decoder.dropout, "encoder") if self.training else read.values
        real = valid_steps(read.lengths, values.shape[1], values.device).unsqueeze(2)  # (B, S, 1)
        mean = values.where(real, 0.0).sum(dim=1) / real.sum(dim=1)  # (B, M)
        if self.decoder.attention is None:
            return self.decoder.begin(len(mean), start=mean, vector=mean)
        return self.decoder.begin(len(mean), start=mean, memory=self.decoder.attention.memory(values, read.lengths))

    def step(self, tokens: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Return logits (B, V) of the token after tokens (B,), and the state."""
        return self.decoder.step(tokens, state)

    def loss(self, x: Any, targets: Tokens, lengths: Tensor | Sequence[int] | None = None) -> Loss:
        """Return the cross-entropy of targets, token numbers (B, T) without boundaries.

        Args:
            x, lengths: As of Encoder.forward.
            targets: As of Decoder.loss.

        Raises:
            ShapeError: as of both.
        """
        return self.decoder.loss(self.begin(x, lengths), targets)

    def shares(self, x: Any, targets: Tokens, lengths: Tensor | Sequence[int] | None = None) -> Tensor:
        """Return (B, T + 1, S), how much each token of targets and the last boundary look at each step of x."""
        return self.decoder.shares(self.begin(x, lengths), targets)
