"""What is claimed of effective rates: apart from the experiment, so that a word changed here runs nothing again.

Claims are as ``gatelr.record.Chapter.claim`` takes them, with one number for each setting and seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pandas as pd

from gatelr.experiments.effective_rates import GATES, NULLS, SETTINGS, at_end

#: The settings that a claim averages over, by the name of their group, and the group in words.
GROUPS = {"paper": list(SETTINGS)[:4], "adding": list(SETTINGS)[4:5], "short": list(SETTINGS)[5:]}
#: How a claim names each group.
WHO = {"paper": "paper's protocol", "adding": "trained, adding", "short": "trained, short"}

#: The gates that can learn.
LEARNED = GATES[1:]

#: By name, the column that is larger, than which, and what it is about.
POOLED = {
    "more-than-lag": ("order 0 r2", "lag r2", "lag-dependent"),
    "more-than-lag-forward": ("order 0 forward", "lag forward", "lag-dependent"),
    "order-one": ("order 1 r2", "order 0 r2", "C8"),
    "kept-not-written": ("order 0 r2", "published r2", "C8"),
}

_UNSIGNED = "(difference of $R^2$, which does not see the sign of a slope)"
_TIMING = r"within a lag, the correlation of sensitivity with $\prod(1-g)$ is more positive with the true gates"

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
    "predicts-shuffled": "within a lag, the true gates predict sensitivity better than shuffled gates do, whichever "
    "the sign (difference of $|r|$)",
    "predicts-foreign": "within a lag, the true gates predict sensitivity better than those of another sequence do, "
    "whichever the sign (difference of $|r|$)",
    "falls": "lag 16 is less sensitive than lag 1, for the gate of each seed where it falls least "
    r"($-\log_{10}$ of the ratio)",
    "follows-gates": r"between seeds, sensitivity falls more slowly up to lag 16 where $\prod(1-g)$ does (correlation "
    "of the two falls; mean over tasks)",
    "reaches": r"training makes lag 16 more sensitive relative to lag 1 (change of $\log_{10}$)",
}


def pooled(fits: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Over all pairs: one predictor explains more than another. Fits are those at the last step."""
    for group, gate, (name, (more, less, about)) in product(GROUPS, LEARNED, POOLED.items()):
        rows = select(with_signs(fits), group, gate)
        yield _claim(name, group, gate, rows[more] - rows[less], about=about)


def within(fits: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Within a lag: gates predict, and better than wrong ones. Fits are those at the last step."""
    for group, gate in product(GROUPS, LEARNED):
        rows = select(with_signs(fits), group, gate)
        r, size = rows["order 0 within r"], rows["order 0 within |r|"]
        yield _claim("within-sign", group, gate, r, null=rows["order 0 shuffled r"])
        for null in NULLS:
            yield _claim(f"within-{null}", group, gate, r - rows[f"order 0 {null} r"])
            yield _claim(f"predicts-{null}", group, gate, size - rows[f"order 0 {null} |r|"])


def profiles(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The profile falls, follows the gates, and changes with training. Rows before training and at the last step."""
    last, start = at_end(rows), rows[rows.step == 0]
    for group in GROUPS:
        before, after = (
            pd.DataFrame({gate: select(part, group, gate)["S @16"] for gate in GATES}) for part in (start, last)
        )
        yield _claim("falls", group, "", (-after.groupby("seed").mean()).min(axis=1))
        for gate in LEARNED:
            by_task = select(last, group, gate).groupby("setting")
            shares = [_correlation_shares(task["S @16"], task["order 0 @16"]) for _, task in by_task]
            yield _claim("follows-gates", group, gate, pd.concat(shares))
        for gate in GATES:
            yield _claim("reaches", group, gate, (after - before)[gate])


def _claim(name: str, group: str, gate: str, values: pd.Series, **more: Any) -> dict[str, Any]:
    return {
        "name": f"{name}-{group}-{gate}".removesuffix("-"),
        "statement": f"{WHO[group]}{f', {gate} gate' if gate else ''}: {STATEMENTS[name]}",
        "values": values,
        "about": "lag-dependent",
        "note": "mean over seeds; BCa bootstrap",
    } | more


def select(rows: pd.DataFrame, group: str, gate: str) -> pd.DataFrame:
    """The rows of one group of settings and one gate, by setting and seed."""
    settings = pd.MultiIndex.from_frame(rows[["protocol", "setting"]])
    return rows[settings.isin(GROUPS[group]) & (rows.gate == gate)].set_index(["setting", "seed"]).sort_index()


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
