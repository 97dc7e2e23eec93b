"""Settings of attacks, and lengths in pixel space as the papers write them."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from robustbench_safety.records.base import Record, is_empty

__all__ = ["Attack", "Norm", "PixelFraction", "PixelLength", "pixel_fraction"]


def _is_length(text: str) -> str:
    if pixel_fraction(text) <= 0:
        raise ValueError("a length in pixel space is above 0")
    return text


def _is_share(text: str) -> str:
    if pixel_fraction(text) > 1:
        raise ValueError("a share of the pixel range lies in (0, 1]")
    return text


def pixel_fraction(text: str) -> float:
    """Return the value of ``"2/255"`` or ``"0.5/255"``: a share of the pixel range [0, 1]."""
    top, _, bottom = text.partition("/")
    return float(Fraction(top) / Fraction(bottom or "1"))


#: A length in pixel space, as the papers write it: ``"2/255"``, or ``"0.5"`` in L2.
PixelLength = Annotated[
    str,
    Field(pattern=r"^[0-9]+(\.[0-9]+)?(/[1-9][0-9]*)?$", max_length=12),
    AfterValidator(_is_length),
]

#: A length that is a share of the pixel range, at most all of it.
PixelFraction = Annotated[PixelLength, AfterValidator(_is_share)]

Norm = Literal["linf", "l2"]

#: Characters that the name of a condition may have, and the largest seed, whose name is the longest.
_LONGEST_NAME, _LARGEST_SEED = 80, 2**63 - 1


class Attack(Record):
    """Settings of an adversarial condition. The pixel range is [0, 1].

    ``pgd`` is projected gradient descent on the cross entropy, with a random start; ``autoattack`` is the
    standard version of AutoAttack, which has no other settings than norm and eps.
    """

    name: Literal["pgd", "autoattack"]
    norm: Norm
    eps: PixelLength
    """How far an image may be moved: each of its values in ``linf``, its Euclidean length in ``l2``."""
    steps: int | None = Field(default=None, gt=0, le=10_000, exclude_if=lambda value: value is None)
    """Of PGD."""
    step: PixelLength | None = Field(default=None, exclude_if=lambda value: value is None)
    """Of PGD: how far one step goes."""
    paper_faithful: bool = Field(default=False, exclude_if=is_empty)
    """Of PGD in ``linf``: centre the ball on the noised image, as PixMix's code does, and so reach up to
    twice as far."""
    images: int | None = Field(default=None, gt=0, exclude_if=lambda value: value is None)
    """Source images attacked, drawn by the seed and their ids; None for all."""

    @model_validator(mode="after")
    def _settings_are_its_own(self) -> Self:
        for field in ("steps", "step"):
            if self.name == "pgd" and getattr(self, field) is None:
                raise ValueError(f"{field} is missing, pgd needs steps and step")
        if self.name == "autoattack" and not (self.steps is None and self.step is None):
            raise ValueError("autoattack chooses its steps itself: it goes without steps and step")
        for field in ("eps", "step"):
            text = getattr(self, field)
            if self.norm == "linf" and text is not None and pixel_fraction(text) > 1:
                raise ValueError(f'{field} is "{text}", in linf a share of the pixel range lies in (0, 1]')
        if self.paper_faithful and (self.name, self.norm) != ("pgd", "linf"):
            raise ValueError("paper_faithful is of pgd in linf")
        if len(self.condition_name(_LARGEST_SEED)) > _LONGEST_NAME:
            raise ValueError(f"the settings make a name of more than {_LONGEST_NAME} characters")
        return self

    @property
    def reach(self) -> float:
        """How far from the image the attack may end, in its norm."""
        return pixel_fraction(self.eps) * (2 if self.paper_faithful else 1)

    def condition_name(self, seed: int) -> str:
        """Return the name that tells this attack from every other: it carries each setting and the seed."""
        parts = [self.name, self.norm, f"eps{self.eps}"]
        if self.steps is not None:
            parts += [f"steps{self.steps}", f"step{self.step}"]
        if self.paper_faithful:
            parts.append("paper")
        if self.images is not None:
            parts.append(f"n{self.images}")
        return "-".join([*parts, f"seed{seed}"]).replace("/", "_")
