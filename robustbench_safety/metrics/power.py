"""Which drop a paired test can find: power of the one-sided McNemar test with a tolerance.

A candidate and a baseline are compared on the same images. What tells them apart are the images that one gets
right and the other wrong, and power depends on how many there are as much as on the drop itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betainc, gammaln, ndtri, xlog1py, xlogy

from robustbench_safety.errors import UsageError
from robustbench_safety.metrics.checks import FloatArray, IntArray, count_option, fraction_option

__all__ = ["McnemarRule", "detectable_drop", "mcnemar_power"]

#: Images. The sums below have 13 standard deviations of terms, at most 20,000 for this, and take 2 s.
_MOST_UNITS = 10**7
#: Chance, on either side, of the numbers of discordant images that are left out of the sums.
_LEFT_OUT = 1e-9
#: To which a detectable drop is found, as a share of one image: two answers differ by whole images.
_STEP = 0.01


@dataclass(frozen=True, kw_only=True)
class McnemarRule:
    """When a column of one condition fails: its drop is above the tolerance, and "no drop" is rejected."""

    tolerance: float = 0.0
    """Drop that is allowed, a fraction in [0, 1)."""
    alpha: float = 0.05
    """Chance, at most, that any column fails where none is worse; a fraction in (0, 1)."""
    n_columns: int = 5
    """Columns that are tested. The first step of Holm tests each at ``alpha / n_columns``."""

    @property
    def level(self) -> float:
        """Level that one column is tested at: that of Holm's first step."""
        return self.alpha / self.n_columns

    def check(self) -> None:
        """Refuse a rule that cannot be applied.

        Raises:
            UsageError: A value is outside its range.
        """
        fraction_option(self.alpha, "alpha")
        count_option(self.n_columns, "n_columns")
        if not 0 <= self.tolerance < 1:
            raise UsageError(
                "tolerance cannot be used",
                expected="a fraction of at least 0 and below 1",
                found=repr(self.tolerance),
            )


def mcnemar_power(n: int, *, discordance: float, drop: float, rule: McnemarRule) -> float:
    """Measure how often a true drop in accuracy fails the gate. Higher is better.

    With N images, of which a share ``d`` is right with one model and wrong with the other, and a true drop
    ``delta``: the number of discordant images is ``M ~ Bin(N, d)``, of which ``B | M ~ Bin(M, (d + delta) /
    2d)`` are newly wrong. The power is ``P(p(B, M) <= alpha / k and (2B - M) / N > tolerance)``, ``p`` being
    the chance of B or more under ``Bin(M, 1/2)``: the p-value of
    :func:`~robustbench_safety.metrics.significance.mcnemar_test`.

    Args:
        n: Images (or other units) that both models are measured on, N, at least 1.
        discordance: Share of images on which exactly one of both is right, d, a fraction in (0, 1].
        drop: True drop in accuracy, delta, a fraction in [0, discordance].
        rule: When a column fails.

    Returns:
        Fraction in [0, 1]; at drop 0 the chance of a false alarm, at most ``alpha / k``.

    Raises:
        UsageError: A value is outside its range, or the drop is above the discordance.

    Conventions:
        Exact but for chances of 2e-9 that the sum leaves out; there is no normal approximation. Holm's later
        steps test at a higher level, so where other columns fail too the power is a little higher. The mean
        over several conditions, whose mean discordance is d, varies at most as much as one condition: there
        the power is a cautious figure.

    Source:
        McNemar, Note on the Sampling Error of the Difference between Correlated Proportions, Psychometrika,
        1947. Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scand. J. Statist., 1979.

    Example:
        >>> rule = McnemarRule(alpha=0.05, n_columns=1)
        >>> round(mcnemar_power(5, discordance=1.0, drop=1.0, rule=rule), 4)  # five newly wrong: p = 1/32
        1.0
        >>> round(mcnemar_power(5, discordance=1.0, drop=0.6, rule=rule), 4)  # 0.8^5
        0.3277
    """
    _check_design(n, discordance, rule)
    _check_drop(drop, discordance)
    return _Design.of(n, discordance, rule).power(drop)


def detectable_drop(n: int, *, discordance: float, power: float, rule: McnemarRule) -> float | None:
    """Measure the smallest true drop that fails the gate as often as asked. Lower is better.

    Args:
        n: Images that both models are measured on, at least 1.
        discordance: Share of images on which exactly one of both is right, a fraction in (0, 1].
        power: How often the drop shall fail, a fraction in (0, 1).
        rule: When a column fails.

    Returns:
        Fraction in (0, discordance], found to a hundredth of an image; None where even a drop as large as the
        discordance, where every discordant image is newly wrong, fails less often.

    Raises:
        UsageError: A value is outside its range.

    Conventions:
        As :func:`mcnemar_power`. The discordance is held fixed: a drop cannot be above it.

    Source:
        As :func:`mcnemar_power`. For large N Connor, Sample Size for Testing Differences in Proportions for
        the Paired-Sample Design, Biometrics, 1987, has an approximation (recalled).

    Example:
        >>> rule = McnemarRule(alpha=0.05, n_columns=1)
        >>> drop = detectable_drop(5, discordance=1.0, power=0.5, rule=rule)  # q^5 = 1/2, drop = 2q - 1
        >>> round(drop, 2)
        0.74
    """
    _check_design(n, discordance, rule)
    fraction_option(power, "power")
    design = _Design.of(n, discordance, rule)
    if design.power(discordance) < power:
        return None
    low, high = 0.0, discordance
    while (high - low) * n > _STEP:
        middle = (low + high) / 2
        if design.power(middle) < power:
            low = middle
        else:
            high = middle
    return high


@dataclass(frozen=True, kw_only=True)
class _Design:
    """What does not depend on the drop: how many discordant images there may be, and when they fail."""

    discordance: float
    n_discordant: IntArray
    """[M] numbers of discordant images, all that are likely."""
    chance: FloatArray
    """[M] chance of each."""
    fails_from: IntArray
    """[M] newly wrong images from which on the column fails."""

    @staticmethod
    def of(n: int, discordance: float, rule: McnemarRule) -> _Design:
        n_discordant = _likely(n, discordance)
        rejected = _critical(n_discordant, rule.level)
        # (2b - m) / n > tolerance; a drop that is the tolerance but for rounding is not above it.
        most_allowed = np.floor(n * rule.tolerance + 1e-9 * max(1.0, n * rule.tolerance))
        above = np.floor((most_allowed + n_discordant) / 2).astype(np.int64) + 1
        return _Design(
            discordance=discordance,
            n_discordant=n_discordant,
            chance=_binomial(n_discordant, n, discordance),
            fails_from=np.maximum(rejected, above),
        )

    def power(self, drop: float) -> float:
        share = (self.discordance + drop) / (2 * self.discordance)
        return min(1.0, float(np.sum(self.chance * _tail(self.fails_from, self.n_discordant, share))))


def _likely(n: int, rate: float) -> IntArray:
    """Return the counts of ``Bin(n, rate)`` but for a tail of ``_LEFT_OUT`` on either side."""
    # Bernstein: P(|X - nr| > t) <= 2 exp(-t^2 / (2 n r (1 - r) + 2t / 3)), solved for t.
    bound = -np.log(_LEFT_OUT)
    reach = bound / 3 + np.sqrt((bound / 3) ** 2 + 2 * bound * n * rate * (1 - rate))
    low, high = max(0, int(n * rate - reach)), min(n, int(n * rate + reach) + 1)
    return np.arange(low, high + 1, dtype=np.int64)


def _binomial(counts: IntArray, n: int, rate: float) -> FloatArray:
    ways = gammaln(n + 1) - gammaln(counts + 1) - gammaln(n - counts + 1)
    return np.asarray(np.exp(ways + xlogy(counts, rate) + xlog1py(n - counts, -rate)))


def _tail(at_least: IntArray, n: IntArray, rate: float) -> FloatArray:
    """Return ``P(X >= at_least)`` of ``X ~ Bin(n, rate)``, entry by entry."""
    inside = (at_least >= 1) & (at_least <= n)
    chance = betainc(np.where(inside, at_least, 1), np.where(inside, n - at_least + 1, 1), rate)
    return np.where(inside, chance, np.where(at_least < 1, 1.0, 0.0))


def _critical(n_discordant: IntArray, level: float) -> IntArray:
    """Return the smallest count of newly wrong images whose p-value is at most ``level``, entry by entry.

    One above the number of discordant images where there is none.
    """
    # The p-value falls as the count rises: the answer lies in (low, high] throughout.
    reach = (3 + abs(float(ndtri(level)))) * np.sqrt(n_discordant)
    low = np.maximum(-1, np.floor(n_discordant / 2 - reach)).astype(np.int64)
    high = n_discordant + 1
    while np.any(high - low > 1):
        middle = (low + high) // 2
        rejects = _tail(middle, n_discordant, 0.5) <= level
        low, high = np.where(rejects, low, middle), np.where(rejects, middle, high)
    return high


def _check_design(n: int, discordance: float, rule: McnemarRule) -> None:
    rule.check()
    count_option(n, "n")
    if n > _MOST_UNITS:
        raise UsageError("n cannot be used", expected=f"at most {_MOST_UNITS:,} images", found=f"{n:,}")
    fraction_option(discordance, "discordance", one_allowed=True)


def _check_drop(drop: float, discordance: float) -> None:
    if not 0 <= drop <= discordance:
        raise UsageError(
            "drop cannot be used",
            expected=f"a fraction from 0 to the discordance, {discordance:g}: only images on which exactly "
            "one of both models is right can make a drop",
            found=f"{drop:g}",
            fix="give the discordance that the drop would come with, or a smaller drop",
        )
