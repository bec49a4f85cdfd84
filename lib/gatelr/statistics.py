"""What S seeds say about an effect: its mean, an interval, and a p value; all from scipy and statsmodels.

Seeds are the units: what a seed gives is one number, and where two settings are compared, seeds are paired.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

try:
    from scipy import optimize, stats
    from statsmodels.stats.multitest import multipletests
except ImportError as error:
    raise ImportError("gatelr.statistics needs scipy and statsmodels: pip install 'gatelr[experiments]'") from error


class Estimate(NamedTuple):
    """What seeds say of one number.

    Attributes:
        mean: over seeds.
        low: the lower end of its interval.
        high: the upper end.
        p: of the test against the threshold.
        seeds: how many.
    """

    mean: float
    low: float
    high: float
    p: float
    seeds: int

    @property
    def interval(self) -> tuple[float, float]:
        """The two ends."""
        return self.low, self.high

    def __format__(self, spec: str) -> str:
        """Mean and interval, each number as ``spec`` says: ``0.13 (0.12 to 0.14)``."""
        return f"{self.mean:{spec}} ({self.low:{spec}} to {self.high:{spec}})"


def estimate(values: Iterable[Any], *, threshold: float = 0.0, level: float = 0.95) -> Estimate:
    """The mean of one number a seed, with a BCa bootstrap interval and an exact or sampled sign-flip test.

    Args:
        values: (S,), finite; for a comparison, the differences of paired seeds.
        threshold: the mean that the test is against.
        level: coverage of the interval.

    Returns:
        The estimate; the same numbers for the same values, since the draws have a fixed seed.

    Raises:
        ValueError: for fewer than two seeds, or values that are not finite: what diverged is counted, not averaged.
    """
    x = np.asarray(list(values), dtype=float)
    if x.ndim != 1 or len(x) < 2 or not np.isfinite(x).all():
        raise ValueError(
            f"got {x.size} values, {int(np.isfinite(x).sum())} of them finite, expected one finite number for each of "
            "at least 2 seeds: count the runs that diverged, and leave them out in the open"
        )
    mean = float(x.mean())
    if np.ptp(x) <= 1e-12 * max(1.0, abs(mean)):
        low = high = mean
    else:
        drawn = stats.bootstrap((x,), np.mean, confidence_level=level, method="BCa", rng=np.random.default_rng(0))
        low, high = (float(end) for end in drawn.confidence_interval)
    test = stats.permutation_test(
        (x - threshold,), np.mean, permutation_type="samples", n_resamples=9999, rng=np.random.default_rng(0)
    )
    return Estimate(mean, min(low, mean), max(high, mean), float(test.pvalue), len(x))


def holm(p: Sequence[float]) -> list[float]:
    """The p values of a family of tests, adjusted after Holm."""
    return [float(value) for value in multipletests(p, method="holm")[1]]


class Power(NamedTuple):
    """What a number of seeds can show.

    Attributes:
        seeds_needed: how many the effect found would take.
        detectable: the least effect that S of them reveal.
    """

    seeds_needed: float
    detectable: float


def power(values: Iterable[Any], *, probability: float = 0.8, level: float = 0.05) -> Power:
    """How strong a comparison of paired seeds is, by the power of the t test of its differences.

    Args:
        values: (S,), one difference a seed, as for :func:`estimate`; their standard deviation is taken as known.
        probability: with which an effect is to be seen.
        level: of the test, two-sided.

    Returns:
        The number of seeds with which an effect as large as the mean found would be seen with that probability, at
        least 2, infinite where the mean is zero; and the mean that S seeds see with it, in the values' own unit.

    Raises:
        ValueError: for fewer than two seeds, or values that are not finite.
    """
    x = np.asarray(list(values), dtype=float)
    if x.ndim != 1 or len(x) < 2 or not np.isfinite(x).all():
        raise ValueError(f"got {x.size} values, expected one finite number for each of at least 2 seeds")
    spread, mean = float(x.std(ddof=1)), float(abs(x.mean()))
    if spread <= 1e-12 * max(1.0, mean):
        return Power(2.0 if mean > 0 else np.inf, 0.0)
    effect = mean / spread

    def lacking(size: float, seeds: float) -> float:
        # the square of t has a noncentral F distribution, which scipy has for few seeds too, where that of t is NaN
        critical = stats.f.isf(level, 1, seeds - 1)
        return float(stats.ncf.sf(critical, 1, seeds - 1, seeds * size**2)) - probability

    if lacking(min(effect, 30.0), 2.0) >= 0:
        needed = 2.0
    elif effect < 1e-3:  # a million seeds and more
        needed = np.inf
    else:
        needed = float(optimize.brentq(lambda seeds: lacking(effect, seeds), 2.0, 10 + (4 / effect) ** 2))
    return Power(needed, spread * float(optimize.brentq(lambda size: lacking(size, float(len(x))), 1e-6, 30.0)))
