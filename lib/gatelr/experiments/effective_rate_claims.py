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
WHO = {"paper": "paper's protocol", "adding": "trained, adding", "short": "trained, short"}

#: The gates that can learn.
LEARNED = GATES[1:]

_UNSIGNED = "(difference of $R^2$, which does not see the sign of a slope)"

#: By name, what it is about, which column is larger, than which, and in words.
POOLED = {
    "more-than-lag": (
        "lag-dependent",
        "order 0 r2",
        "lag r2",
        rf"$\prod(1-g)$ explains more of $\log S$ than the lag alone {_UNSIGNED}",
    ),
    "more-than-lag-forward": (
        "lag-dependent",
        "order 0 forward",
        "lag forward",
        r"$\prod(1-g)$ explains more of $\log S$ than the lag alone, where a slope below zero counts as explaining "
        "nothing (difference of $R^2$)",
    ),
    "order-one": (
        "C8",
        "order 1 r2",
        "order 0 r2",
        f"the first-order correction explains more than order 0 {_UNSIGNED}",
    ),
    "kept-not-written": (
        "C8",
        "order 0 r2",
        "published r2",
        rf"$\prod(1-g)$ explains more than $\prod g$ {_UNSIGNED}",
    ),
}


def pooled(fits: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Over all pairs: one predictor explains more than another. Fits are those at the last step."""
    for group, gate, (name, (about, more, less, statement)) in product(GROUPS, LEARNED, POOLED.items()):
        rows = select(with_signs(fits), group, gate)
        yield _claim(name, group, gate, statement, rows[more] - rows[less], about=about)


def within(fits: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Within a lag: gates predict, and better than wrong ones. Fits are those at the last step."""
    whose = dict(zip(NULLS, ("shuffled gates", "those of another sequence"), strict=True))
    for group, gate in product(GROUPS, LEARNED):
        rows = select(with_signs(fits), group, gate)
        r, size = rows["order 0 within r"], rows["order 0 within |r|"]
        statement = r"within a lag, sensitivity rises with $\prod(1-g)$ (correlation)"
        yield _claim("within-sign", group, gate, statement, r, null=rows["order 0 shuffled r"])
        for null, words in whose.items():
            statement = (
                r"within a lag, the correlation of sensitivity with $\prod(1-g)$ is more positive with the true gates "
                f"than with {words} (difference of correlations)"
            )
            yield _claim(f"within-{null}", group, gate, statement, r - rows[f"order 0 {null} r"])
            statement = (
                f"within a lag, the true gates predict sensitivity better than {words} do, whichever the sign "
                "(difference of $|r|$)"
            )
            yield _claim(f"predicts-{null}", group, gate, statement, size - rows[f"order 0 {null} |r|"])


def profiles(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The profile falls, follows the gates, and changes with training. Rows before training and at the last step."""
    last, start = at_end(rows), rows[rows.step == 0]
    for group in GROUPS:
        before, after = (
            pd.DataFrame({gate: select(part, group, gate)["S @16"] for gate in GATES}) for part in (start, last)
        )
        statement = (
            r"lag 16 is less sensitive than lag 1, for the gate of each seed where it falls least ($-\log_{10}$ of the "
            "ratio)"
        )
        yield _claim("falls", group, "", statement, (-after.groupby("seed").mean()).min(axis=1))
        for gate in LEARNED:
            by_task = select(last, group, gate).groupby("setting")
            statement = (
                r"between seeds, sensitivity falls more slowly up to lag 16 where $\prod(1-g)$ does (correlation of "
                "the two falls; mean over tasks)"
            )
            shares = [correlation_shares(task["S @16"], task["order 0 @16"]) for _, task in by_task]
            yield _claim("follows-gates", group, gate, statement, pd.concat(shares))
        for gate in GATES:
            statement = r"training makes lag 16 more sensitive relative to lag 1 (change of $\log_{10}$)"
            yield _claim("reaches", group, gate, statement, (after - before)[gate])


def _claim(name: str, group: str, gate: str, statement: str, values: pd.Series, **more: Any) -> dict[str, Any]:
    return {
        "name": f"{name}-{group}-{gate}".removesuffix("-"),
        "statement": f"{WHO[group]}, {gate} gate: {statement}" if gate else f"{WHO[group]}: {statement}",
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


def correlation_shares(x: pd.Series, y: pd.Series) -> pd.Series:
    """What each row adds to the correlation r of x and y.

    With standard scores x and y that is r + xy - r (x² + y²) / 2. Its mean is r, and its spread, to first order, that
    of r.
    """
    x, y = ((values - values.mean()) / values.std(ddof=0) for values in (x, y))
    return (x * y).mean() + x * y - (x * y).mean() * (x**2 + y**2) / 2
