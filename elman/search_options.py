"""How answers are searched for when a model is used; each task takes some of these options."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from elman.config import FullPath, Options
from elman.errors import UsageError


class SearchOptions(Options):
    """How answers are searched for."""

    beam: int | None = Field(
        None, ge=1, le=10_000, description="readings kept at each step of a search; without it, the task's own"
    )
    n_best: int | None = Field(
        None, ge=1, le=10_000, description="answers to show for each example, of a beam at most its width; 1 without it"
    )
    normalisation: Literal["none", "length", "gnmt"] | None = Field(
        None, description="what ln P of a text is divided by, so that long ones are not worse; gnmt without it"
    )
    alpha: float | None = Field(None, ge=0, le=10, description="exponent of the normalisation; 1 without it")
    language_model: FullPath | None = Field(
        None, description="folder of a language model of characters that helps to choose among readings"
    )
    language_weight: float | None = Field(
        None, gt=0, le=100, description="weight of ln P of the language model; 0.5 when there is one"
    )
    symbol_bonus: float | None = Field(
        None,
        ge=-100,
        le=100,
        description="added to a reading's score for each symbol; language_weight ln K with a language model, else 0",
    )

    def width(self, usual: int) -> int:
        """Return how many readings a beam keeps, as many as `usual` where nobody says.

        Raises:
            UsageError: more answers are to be shown than it holds.
        """
        width = self.beam or usual
        if self.n_best is not None and self.n_best > width:
            raise UsageError(f"n_best: must be at most the beam, {width}; got {self.n_best}", "make the beam wider")
        return width

    @model_validator(mode="after")
    def _refuse_options_without_effect(self) -> SearchOptions:
        if self.language_weight is not None and self.language_model is None:
            raise ValueError("language_weight has an effect with language_model only; got it alone")
        if self.alpha is not None and self.normalisation == "none":
            raise ValueError("alpha has an effect with a normalisation only; got normalisation=none")
        return self
