"""DNA to numbers, and the other strand of it, against the table of the nomenclature."""

from __future__ import annotations

import pytest
import torch

from elman.codecs.dna import Nucleotides, reverse_complement
from elman.codecs.saved import codecs_from_json, codecs_to_json
from elman.errors import DataError

# Cornish-Bowden 1985, "Nomenclature for incompletely specified bases in nucleic acid sequences", table 1.
BASES = dict(zip("ACGTRYSWKMBDHVN", "A C G T AG CT CG AT GT AC CGT AGT ACT ACG ACGT".split(), strict=True))
COMPLEMENTS = dict(zip("ACGTRYSWKMBDHVN", "TGCAYRSWMKVHDBN", strict=True))


def test_a_letter_is_the_mean_of_its_bases() -> None:
    for letter, bases in BASES.items():
        wanted = [1 / len(bases) if base in bases else 0.0 for base in "ACGT"]
        assert torch.allclose(Nucleotides().encode(letter), torch.tensor([wanted]))
    assert torch.equal(Nucleotides().encode("U"), Nucleotides().encode("T"))


def test_the_other_strand_is_the_flip_of_steps_and_axes() -> None:
    letters = "".join(BASES)
    other = reverse_complement(letters)
    assert other == "".join(COMPLEMENTS[letter] for letter in reversed(letters))
    assert torch.equal(Nucleotides().encode(other), Nucleotides().encode(letters).flip(0, 1))
    assert reverse_complement(other) == letters


def test_small_letters_are_bases_and_other_letters_are_refused() -> None:
    letters = "".join(BASES)
    assert torch.equal(Nucleotides().encode(letters.lower()), Nucleotides().encode(letters))
    assert reverse_complement(letters.lower()) == reverse_complement(letters).lower()
    for wrong in ("ACGX", "AC-T", "AC\u00e9"):
        with pytest.raises(DataError, match=r"^here: must hold letters of DNA.* at letter [34]"):
            Nucleotides().encode(wrong, "here")


def test_the_code_is_saved_with_a_model() -> None:
    (found,) = codecs_from_json(codecs_to_json({"x": Nucleotides()})).values()
    assert isinstance(found, Nucleotides)
