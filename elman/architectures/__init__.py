"""Architectures: inputs, recurrent part and head put together, by the shape of what goes in and comes out."""

from __future__ import annotations

from elman.architectures.convolution import FramePatterns, Places, StepPatterns
from elman.architectures.decoder import Decoder, DecoderState
from elman.architectures.encoder import Encoder
from elman.architectures.encoder_decoder import EncoderDecoder
from elman.architectures.inputs import Inputs, Numbers, Ragged, StackedFrames, TokenVectors
from elman.architectures.language_model import LanguageModel
from elman.architectures.one_to_many import OneToMany, Vectors
from elman.architectures.pooling import POOLINGS, Pooling
from elman.architectures.shapes import MakeHead, ManyToManyInStep, ManyToOne, OneToOne
from elman.architectures.spelled_words import SpelledWords, WordsAndLetters

__all__ = [
    "POOLINGS",
    "Decoder",
    "DecoderState",
    "Encoder",
    "EncoderDecoder",
    "FramePatterns",
    "Inputs",
    "LanguageModel",
    "MakeHead",
    "ManyToManyInStep",
    "ManyToOne",
    "Numbers",
    "OneToMany",
    "OneToOne",
    "Places",
    "Pooling",
    "Ragged",
    "SpelledWords",
    "StackedFrames",
    "StepPatterns",
    "TokenVectors",
    "Vectors",
    "WordsAndLetters",
]
