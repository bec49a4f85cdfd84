"""Rules of judgement: when a claim about training counts as supported. They are in force for the whole book.

A *setting* is one task with one model. Settings were picked by hand, so a mean over them is a number and no verdict.
Each setting is judged by itself, its seeds being the replicates, and the claim by what its settings come to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

try:
    import pandas as pd
    from scipy import stats
except ImportError as error:
    raise ImportError("gatelr.judgement needs pandas and scipy: pip install 'gatelr[experiments]'") from error

#: Coverage of the intervals of a family together, by Bonferroni.
LEVEL = 0.95

#: A chapter has at most so many primary claims. Their settings are one family.
MOST_PRIMARY = 3

#: What a claim can come to.
VERDICTS = ("supported", "refuted", "absent", "mixed", "undecided")


class InSetting(NamedTuple):
    """What the seeds of one setting say.

    Attributes:
        setting: its name, such as ``"adding, 50, multi"``; empty where a claim has but one.
        mean: over seeds.
        low: the lower end of its interval; NaN for fewer than two seeds.
        high: the upper end.
        seeds: how many.
        verdict: ``"supported"``, ``"refuted"``, ``"absent"`` or ``"undecided"``.
    """

    setting: str
    mean: float
    low: float
    high: float
    seeds: int
    verdict: str


class Judgement(NamedTuple):
    """What a claim comes to.

    Attributes:
        verdict: one of :data:`VERDICTS`.
        settings: one by one.
        level: coverage of the interval of one setting, such that a family's intervals hold together.
    """

    verdict: str
    settings: tuple[InSetting, ...]
    level: float

    @property
    def supported(self) -> tuple[str, ...]:
        """The settings in which it is supported."""
        return tuple(each.setting for each in self.settings if each.verdict == "supported")


def judge(
    values: pd.Series,
    *,
    threshold: float,
    smallest: float | None = None,
    greater: bool = True,
    primary: bool = False,
) -> Judgement:
    """Judge a claim in each setting, and over all of them.

    Args:
        values: one finite number for each setting and seed; the level named ``seed``, or the last one, is the seed.
        threshold: what a setting must exceed, or stay below.
        smallest: the smallest effect that matters, if one was chosen.
        greater: whether the claim says "more than the threshold"; otherwise "less".
        primary: whether it is one of the few claims of its chapter that share a family.

    Returns:
        The judgement. A setting's interval is Student's for the mean over seeds, at 1 − 0.05/m for the m settings of
        the claim, and at 1 − 0.05/(3 m) for a primary one. *Supported*: the whole interval lies beyond the threshold.
        *Absent*: the whole interval is smaller in size than the smallest effect that matters. *Refuted*: the whole
        interval falls short of the threshold. *Undecided*: none of these.

        Over settings: supported, absent or refuted where all settings are; refuted also where some are absent and the
        others refuted; mixed where it is supported in some settings and not in others; undecided otherwise.

    Raises:
        ValueError: without a value, for one that is not finite, or for a smallest effect that is not positive.
    """
    if values.empty or not np.isfinite(values.to_numpy(dtype=float)).all():
        raise ValueError(
            f"got {len(values)} values of which {int(np.isfinite(values.to_numpy(dtype=float)).sum())} are finite, "
            "expected one finite number for each setting and seed: count the runs that diverged instead"
        )
    if smallest is not None and not 0 < smallest < math.inf:
        raise ValueError(f"got a smallest effect of {smallest}, expected a positive number, or None for none")
    by_setting = grouped(values)
    level = 1 - (1 - LEVEL) / (len(by_setting) * (MOST_PRIMARY if primary else 1))
    settings = []
    for name, seeds in by_setting.items():
        low, high = interval(seeds, level)
        verdict = _in_setting(low, high, threshold, smallest, greater)
        settings.append(InSetting(name, float(seeds.mean()), low, high, len(seeds), verdict))
    return Judgement(over([each.verdict for each in settings]), tuple(settings), level)


def interval(seeds: np.ndarray, level: float) -> tuple[float, float]:
    """Student's interval for the mean of one number a seed; NaN for fewer than two."""
    if len(seeds) < 2:
        return math.nan, math.nan
    half = float(stats.t.ppf((1 + level) / 2, len(seeds) - 1) * seeds.std(ddof=1) / math.sqrt(len(seeds)))
    return float(seeds.mean()) - half, float(seeds.mean()) + half


def grouped(values: pd.Series) -> dict[str, np.ndarray]:
    """The values of each setting, by its name; one setting without a name where the only level is the seed."""
    numbers = values.astype(float)
    if numbers.index.nlevels == 1:
        return {"": numbers.to_numpy()}
    names = list(numbers.index.names)
    seed = names.index("seed") if "seed" in names else len(names) - 1
    others = [level for level in range(len(names)) if level != seed]
    groups = numbers.groupby(level=others, sort=False)
    return {", ".join(map(str, _parts(key))): seeds.to_numpy() for key, seeds in groups}


def over(verdicts: Sequence[str]) -> str:
    """What a claim comes to whose settings came to these."""
    kinds = set(verdicts)
    if len(kinds) == 1:
        return kinds.pop()
    if "supported" in kinds:
        return "mixed"
    return "refuted" if kinds == {"refuted", "absent"} else "undecided"


def _in_setting(low: float, high: float, threshold: float, smallest: float | None, greater: bool) -> str:
    if math.isnan(low):
        return "undecided"
    beyond, short = (low > threshold, high < threshold) if greater else (high < threshold, low > threshold)
    if beyond:
        return "supported"
    if smallest is not None and -smallest < low and high < smallest:
        return "absent"
    return "refuted" if short else "undecided"


def _parts(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)
