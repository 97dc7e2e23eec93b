"""What a check of a submitted record finds: one sentence each, with what was expected and what to do."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding", "near"]

#: Numbers in a record have ten decimal digits, so a mean of them has nine that hold.
ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something about a record that cannot be right."""

    what: str
    expected: str = ""
    found: str = ""
    fix: str = ""

    def __str__(self) -> str:
        """Return it in one line."""
        parts = [self.what]
        parts += [f"expected {self.expected}"] if self.expected else []
        parts += [f"found {self.found}"] if self.found else []
        parts += [self.fix] if self.fix else []
        return "; ".join(parts)


def near(first: float, second: float, *, tolerance: float = ROUNDING) -> bool:
    """Tell whether two numbers are one but for rounding; of large ones, relative to their size.

    Example:
        >>> near(0.1234567891, 0.1234567892), near(0.12, 0.13)
        (True, False)
    """
    return abs(first - second) <= tolerance * max(1.0, abs(first), abs(second))
