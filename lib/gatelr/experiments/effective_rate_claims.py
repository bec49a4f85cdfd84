"""What is claimed of effective rates: apart from the experiment, so that a word changed here runs nothing again.

Claims are as ``gatelr.record.Chapter.claim`` takes them, with one number for each task, gate and seed: a task with a
gate is a setting, and is judged by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from gatelr.experiments.effective_rates import GATES, NULLS, at_end

#: The gates that can learn.
LEARNED = GATES[1:]

#: What tells the settings of a claim and their seeds apart.
SETTING = ["setting", "gate", "seed"]

#: The smallest effects that matter, chosen after a pilot. They are, of R², a fiftieth of the variance; of correlations,
#: a tenth, which says a hundredth of the variance; of profiles, which fall by whole decades, a factor of two.
R2, CORRELATION, DECADES = 0.02, 0.1, float(np.log10(2))

#: By name, the column that is larger, than which, and what it is about.
POOLED = {
    "more-than-lag": ("order 0 r2", "lag r2", "lag-dependent"),
    "more-than-lag-forward": ("order 0 forward", "lag forward", "lag-dependent"),
    "order-one": ("order 1 r2", "order 0 r2", "C8"),
    "kept-not-written": ("order 0 r2", "published r2", "C8"),
}

#: The main claims of the chapter.
PRIMARY = ("more-than-lag", "predicts", "follows-gates")

_UNSIGNED = "(difference of $R^2$, which does not see the sign of a slope)"
_TIMING = r"within a lag, the correlation of sensitivity with $\prod(1-g)$ is more positive with the true gates"
_EITHER = "whichever the sign (difference of $|r|$)"

#: By name, what is claimed.
STATEMENTS = {
    "more-than-lag": rf"$\prod(1-g)$ explains more of $\log S$ than the lag alone {_UNSIGNED}",
    "more-than-lag-forward": r"$\prod(1-g)$ explains more of $\log S$ than the lag alone, where a slope below zero "
    "counts as explaining nothing (difference of $R^2$)",
    "order-one": f"the first-order correction explains more than order 0 {_UNSIGNED}",
    "kept-not-written": rf"$\prod(1-g)$ explains more than $\prod g$ {_UNSIGNED}",
    "within-sign": r"within a lag, sensitivity rises with $\prod(1-g)$ (correlation)",
    "within-shuffled": f"{_TIMING} than with shuffled gates (difference of correlations)",
    "within-foreign": f"{_TIMING} than with those of another sequence (difference of correlations)",
    "predicts": "within a lag, the true gates predict sensitivity better than the better of both nulls, shuffled gates "
    f"and those of another sequence, {_EITHER}",
    "predicts-shuffled": f"within a lag, the true gates predict sensitivity better than shuffled gates do, {_EITHER}",
    "predicts-foreign": "within a lag, the true gates predict sensitivity better than those of another sequence do, "
    f"{_EITHER}",
    "falls": r"lag 16 is less sensitive than lag 1, by more than a factor of two ($-\log_{10}$ of the ratio)",
    "follows-gates": r"between seeds, sensitivity falls more slowly up to lag 16 where $\prod(1-g)$ does (correlation "
    "of the two falls)",
    "reaches": r"training makes lag 16 more sensitive relative to lag 1, by more than a factor of two (change of "
    r"$\log_{10}$)",
}


def pooled(fits: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Over all pairs: one predictor explains more than another. Fits are those at the last step."""
    rows = select(with_signs(fits), LEARNED)
    for name, (more, less, about) in POOLED.items():
        yield _claim(name, rows[more] - rows[less], R2, about=about)


def within(fits: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Within a lag: gates predict, and better than wrong ones. Fits are those at the last step."""
    rows = select(with_signs(fits), LEARNED)
    r, size = rows["order 0 within r"], rows["order 0 within |r|"]
    wrong = rows[[f"order 0 {null} |r|" for null in NULLS]]
    yield _claim("predicts", size - wrong.max(axis=1), CORRELATION)
    yield _claim("within-sign", r, CORRELATION, null=rows["order 0 shuffled r"])
    for null in NULLS:
        yield _claim(f"within-{null}", r - rows[f"order 0 {null} r"], CORRELATION)
        yield _claim(f"predicts-{null}", size - rows[f"order 0 {null} |r|"], CORRELATION)


def profiles(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The profile falls, follows the gates, and changes with training. Rows before training and at the last step."""
    last, start = select(at_end(rows), GATES), select(rows[rows.step == 0], GATES)
    yield _claim("falls", -last["S @16"], DECADES)
    settings = select(at_end(rows), LEARNED).groupby(["setting", "gate"], sort=False, group_keys=False)
    shares = [_correlation_shares(setting["S @16"], setting["order 0 @16"]) for _, setting in settings]
    yield _claim("follows-gates", pd.concat(shares), CORRELATION)
    yield _claim("reaches", (last["S @16"] - start["S @16"]).dropna(), DECADES)


def _claim(name: str, values: pd.Series, smallest: float, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "statement": STATEMENTS[name],
        "values": values,
        "about": "lag-dependent",
        "smallest": smallest,
        "primary": name in PRIMARY,
        "note": "the smallest effect that matters was chosen after a pilot",
    } | more


def select(rows: pd.DataFrame, gates: tuple[str, ...]) -> pd.DataFrame:
    """The rows of some gates, by task, gate and seed."""
    return rows[rows.gate.isin(gates)].set_index(SETTING).sort_index()


def with_signs(fits: pd.DataFrame) -> pd.DataFrame:
    """Fits with two things that do not stand in R² and r.

    ``"<predictor> forward"``: its R², or 0 where the slope is below zero. ``"order 0 <gates> |r|"``: the size of the
    correlation within lags.
    """
    sizes = {f"order 0 {gates} |r|": fits[f"order 0 {gates} r"].abs() for gates in ("within", *NULLS)}
    forward = {
        f"{name} forward": fits[f"{name} r2"].where(fits[f"{name} slope"] > 0, 0.0) for name in ("order 0", "lag")
    }
    return fits.assign(**forward, **sizes)


def _correlation_shares(x: pd.Series, y: pd.Series) -> pd.Series:
    """What each row adds to the correlation: their mean is r, and their spread, to first order, that of r."""
    x, y = ((values - values.mean()) / values.std(ddof=0) for values in (x, y))
    return (x * y).mean() + x * y - (x * y).mean() * (x**2 + y**2) / 2
