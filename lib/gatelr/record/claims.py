"""A claim about training as the record has it: its mean over settings, and what each setting came to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gatelr import judgement, statistics


@dataclass(frozen=True)
class Finding:
    """What the seeds say of a claim."""

    mean: float  #: over settings and seeds, the effect
    low: float  #: the lower end of its interval
    high: float  #: the upper end
    p: float  #: of the sign-flip test of the mean against the threshold
    seeds: int  #: how many
    verdict: str  #: one of :data:`gatelr.judgement.VERDICTS`
    settings: tuple[judgement.InSetting, ...] = ()  #: what each setting came to

    @property
    def interval(self) -> tuple[float, float]:
        """The two ends."""
        return self.low, self.high

    def _ipython_display_(self) -> None:
        """Show nothing at the end of a cell: the claim has shown its line."""


def judged(
    name: str,
    statement: str,
    values: pd.Series,
    *,
    about: str,
    threshold: float | None,
    null: float | pd.Series,
    greater: bool,
    unit: str,
    note: str,
    smallest: float | None,
    primary: bool,
) -> tuple[dict[str, Any], Finding]:
    """Judge a claim; the arguments are those of :meth:`gatelr.record.chapter.Chapter.claim`.

    Returns:
        Its row in ``results.json``, and the same for the chapter to go on with.

    Raises:
        ValueError: for fewer than two seeds, or a number that is not finite.
    """
    if threshold is None:
        threshold = (smallest or 0.0) * (1.0 if greater else -1.0)
    null_mean = float(_per_seed(null).mean()) if isinstance(null, pd.Series) else float(null)
    for what, number in (("threshold", threshold), ("null", null_mean)):
        if not math.isfinite(number):
            raise ValueError(
                f"claim {name!r} got {what} {number}, expected a finite number: count what diverged instead"
            )
    estimate = statistics.estimate(_per_seed(values).to_numpy(dtype=float), threshold=threshold)
    outcome = judgement.judge(values, threshold=threshold, smallest=smallest, greater=greater, primary=primary)
    (low, high), level = estimate.interval, judgement.LEVEL
    if len(outcome.settings) == 1:  # the interval that is shown is the one that decides
        low, high, level = outcome.settings[0].low, outcome.settings[0].high, outcome.level
    nulls = judgement.grouped(null) if isinstance(null, pd.Series) else {}
    rows = [
        {
            "setting": each.setting,
            "effect": each.mean,
            "interval": [each.low, each.high] if math.isfinite(each.low) else None,
            "null": float(nulls[each.setting].mean()) if each.setting in nulls else null_mean,
            "seeds": each.seeds,
            "verdict": each.verdict,
        }
        for each in outcome.settings
    ]
    row = {
        "id": name,
        "claim": about,
        "about": about,
        "statement": " ".join(statement.split()),
        "effect": estimate.mean,
        "interval": [low, high],
        "level": level,
        "threshold": float(threshold),
        "greater": greater,
        "null": null_mean,
        "p": estimate.p,
        "seeds": estimate.seeds,
        "settings": len(rows),
        "unit": unit,
        "verdict": outcome.verdict,
        "supported in": len(outcome.supported),
        "by setting": rows,
        "level by setting": outcome.level,
        "primary": primary,
        "smallest": smallest,
        "note": note,
    }
    return row, Finding(estimate.mean, low, high, estimate.p, estimate.seeds, outcome.verdict, outcome.settings)


def _per_seed(values: pd.Series) -> pd.Series:
    """One number a seed: the mean of its settings."""
    if values.index.nlevels == 1:
        return values
    level = "seed" if "seed" in values.index.names else values.index.nlevels - 1
    return values.groupby(level=level).mean()
