"""The letters of DNA, and the check that a sequence holds nothing else."""

from __future__ import annotations

import re

from elman.errors import DataError

BASES = "ACGT"

_CODES = "A=A C=C G=G T=T U=T R=AG Y=CT S=CG W=AT K=GT M=AC B=CGT D=AGT H=ACT V=ACG N=ACGT"
MEANINGS: dict[str, str] = dict(code.split("=") for code in _CODES.split())
"""Which bases a letter stands for (IUPAC-IUB nomenclature, 1984); U of RNA is read as T."""

_OTHER = re.compile(f"[^{''.join(MEANINGS)}]", re.IGNORECASE | re.ASCII)


def check_nucleotides(where: str, letters: str) -> None:
    """Refuse letters that stand for no base.

    Raises:
        DataError: there is one; told with its place.
    """
    if found := _OTHER.search(letters):
        raise DataError(
            f"{where}: must hold letters of DNA, {''.join(MEANINGS)}; got {found.group()!r} at letter "
            f"{found.start() + 1} of {len(letters)}",
            "gaps and proteins cannot be read; leave such sequences out with --on-error skip",
        )
