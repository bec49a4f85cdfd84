"""What E4's records show: the search for rates, the tables that are compared, and the statistics of the chapter.

Apart from the experiment, so that a word changed here runs no training again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch

from gatelr import statistics
from gatelr.experiments import step_structure
from gatelr.experiments.against_optimisers import FROZEN, GRID, LAGS, METHODS, MULTI, RATES, Method

#: What the tasks are called.
NAMES = {"adding": "adding", "moving_average": "moving average"}

#: What says which row of a table is which.
KEYS = ["task", "gate", "optimiser", "seed", "step"]
#: How far a column may lie from the reference, absolutely and relative to it.
TOLERANCES: dict[str, dict[str, tuple[float, float]]] = {
    "training": {"loss": (0.0, 0.1)},
    "steps": dict.fromkeys(
        ("spread", "rows", "Adam rows", "rows like Adam", "over sequences", "fixed beta"), (0.05, 0.0)
    ),
    "lags": {f"factor @{lag}": (0.02, 0.02) for lag in LAGS},
}


def score(training_table: pd.DataFrame) -> pd.Series:
    """log10 of the loss over the best constant's; 2 for a run that diverged, a hundred times worse than that."""
    logs = (training_table.loss / training_table.constant).apply(np.log10)
    return logs.replace(np.inf, 2.0).fillna(2.0).clip(upper=2.0)


def searched(records: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The search for rates: a score for each task, method, rate and seed; without a row where none was run."""
    rows = records["training"][records["training"].search.astype(bool)]
    return rows.assign(score=score(rows))[[*KEYS[:3], "rate", "seed", "score"]]


def best_rates(search: pd.DataFrame) -> pd.Series:
    """The rate with the best mean score, by task, gate and optimiser."""
    means = search.groupby([*KEYS[:3], "rate"]).score.mean()
    return means.groupby(KEYS[:3]).idxmin().str[-1]


def not_best(search: pd.DataFrame) -> int:
    """How many of :data:`~gatelr.experiments.against_optimisers.RATES` are not the best of a search."""
    best: dict[Any, float] = best_rates(search).to_dict()
    return sum(RATES[task][gate, optimiser] != rate for (task, gate, optimiser), rate in best.items())


def at_edge(task: str, method: Method) -> bool:
    """Whether a method's rate is the lowest or the highest tried: a better one may lie beyond."""
    return RATES[task][method] in (min(GRID[method[1]]), max(GRID[method[1]]))


def rates_table() -> pd.DataFrame:
    """The rate of each method on each task, and the grid that it was chosen from, as text."""
    rows = []
    for method in METHODS:
        chosen = [f"{rates[method]:g}" + " (edge)" * at_edge(task, method) for task, rates in RATES.items()]
        rows.append((" + ".join(method), *chosen, ", ".join(f"{rate:g}" for rate in GRID[method[1]])))
    return pd.DataFrame(rows, columns=["method", *NAMES.values(), "grid"])


def tables(records: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables that are compared with the committed ones: ``"training"``, ``"steps"`` and ``"lags"``.

    Args:
        records: what :func:`gatelr.experiments.runs.load` returns.

    Returns:
        The loss; the records of steps, with :func:`foreign`; and, by lag, log10 of the mean factor of a gated network
        and its agreement with Adam.
    """
    training_table, steps, lags, rows = (
        records[name][~records[name].search.astype(bool)].drop(columns=["search", "rate"])
        for name in ("training", "steps", "lags", "rows")
    )
    lags = lags[lags.lag.isin(LAGS) & (lags.gate != "none")].assign(factor=lambda table: table.factor.apply(np.log10))
    wide = lags.pivot(index=KEYS, columns="lag", values=["factor", "rows like Adam"])
    wide.columns = wide.columns.map("{0[0]} @{0[1]}".format)
    return {"training": training_table, "steps": steps.merge(foreign(rows), on=KEYS), "lags": wide.reset_index()}


def foreign(rows: pd.DataFrame) -> pd.DataFrame:
    """The null of another network's gates: rank correlation of a shadow's rows with the gate's of the seed before.

    Args:
        rows: by seed and neuron, what gate and shadow multiply a row by.

    Returns:
        One row for each network and step, the column ``"rows like Adam, foreign"``.
    """
    ranks = []
    for key, group in rows.groupby([name for name in KEYS if name != "seed"]):
        gates, adam = (group.pivot(index="seed", columns="neuron", values=f"by {who}") for who in ("gate", "Adam"))
        # the seed before the first is the last
        for seed, of_gate, of_adam in zip(gates.index, np.roll(gates.to_numpy(), 1, 0), adam.to_numpy(), strict=True):
            alike = step_structure.agreement(torch.from_numpy(of_gate), torch.from_numpy(of_adam.copy())).rank
            ranks.append((*key[:3], seed, key[3], alike))
    return pd.DataFrame(ranks, columns=[*KEYS, "rows like Adam, foreign"])


def at_quarters(evidence: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The rows of the start and of each quarter of the longest run; losses with their score, and 10 to its minus."""
    end = evidence["training"].step.max()
    kept = {name: rows[rows.step.isin([round(end * part / 4) for part in range(5)])] for name, rows in evidence.items()}
    scores = score(kept["training"])
    return kept | {"training": kept["training"].assign(score=scores, ratio=10**-scores)}


def by_seed(rows: pd.DataFrame, column: str, method: Method = MULTI) -> pd.DataFrame:
    """One column of one method: a row for each seed, a column for each task."""
    chosen = rows[(rows.gate == method[0]) & (rows.optimiser == method[1])]
    return chosen.pivot(index="seed", columns="task", values=column)


def over_tasks(values: pd.DataFrame) -> pd.Series:
    """The mean over tasks, of the seeds that have all of them."""
    return values.dropna().mean(axis=1)


def by_claim(name: str, values: pd.DataFrame, *, mean: bool = True) -> dict[str, tuple[str, pd.Series]]:
    """A claim of the mean over tasks and one of each task: by its id, how its statement begins and its values."""
    claims = {name: ("", over_tasks(values))} if mean else {}
    for task in map(str, values):
        claims[f"{name}-{NAMES[task]}".replace(" ", "-")] = (f"{NAMES[task]}: ", values[task])
    return claims


def by_lag(lags: pd.DataFrame) -> pd.DataFrame:
    """The table of lags with a row for each lag: the log10 of its factor, and the rank correlation with Adam's rows."""
    parts = [
        lags[KEYS].assign(lag=lag, factor=lags[f"factor @{lag}"], rank=lags[f"rows like Adam @{lag}"]) for lag in LAGS
    ]
    return pd.concat(parts, ignore_index=True)


def changes(lags: pd.DataFrame) -> pd.DataFrame:
    """By lag, how log10 of the factor of multi-gates under SGD changes along training, and that of frozen ones.

    Args:
        lags: the table of that name.

    Returns:
        Columns gates (``"learn"`` or ``"frozen"``), lag, task, seed and change.
    """
    rows, index = by_lag(lags), ["gate", "optimiser", "lag", "task", "seed"]
    begin, end = (rows[rows.step == step].set_index(index).factor for step in (rows.step.min(), rows.step.max()))
    change = (end - begin).sort_index()
    kinds = {"learn": change.loc[MULTI], "frozen": change.loc[FROZEN]}
    return pd.concat(kinds, names=["gates"]).rename("change").reset_index()


def course(steps: pd.DataFrame) -> pd.DataFrame:
    """Multi-gates under SGD and their shadow along training: means over tasks with intervals, as text."""
    rows = steps[(steps.gate == MULTI[0]) & (steps.optimiser == MULTI[1])]
    columns = {
        "rank, rows": rows["rows like Adam"],
        "rank, coordinates": rows["all like Adam"],
        "cosine over its null": rows["all cosine"] - rows["all cosine, null"],
        "gate: spread": rows["spread"],
        "Adam: spread": rows["Adam spread"],
        "Adam: rows": rows["Adam rows"],
        "Adam: columns": rows["Adam columns"],
    }
    means = pd.DataFrame(columns).groupby([rows.step.rename("training step"), rows.seed]).mean()

    def text(seeds: pd.Series) -> str:
        return f"{statistics.estimate(seeds):.2f}".replace(" to ", ", ")

    return means.groupby("training step").agg(text).reset_index()


#: The columns of the page that compares three optimisers without a gate and three gates under plain SGD.
COLUMNS: dict[str, Method] = {
    "schedule": ("none", "cosine"),
    "momentum": ("none", "momentum"),
    "Adam": ("none", "Adam"),
    **{gate: (gate, "SGD") for gate in ("constant", "scalar", "multi")},
}


def one_page(steps: pd.DataFrame, lags: pd.DataFrame) -> pd.DataFrame:
    """What a step of each method multiplies contributions by, property by property.

    Args:
        steps: the table of that name, with five checkpoints that divide training into quarters or four without the
            first.
        lags: the table of that name.

    Returns:
        Property and method, how many seeds have it, and the mean of these over tasks with its interval.
    """
    *_, first, _, third, last = sorted(steps.step.unique().tolist())
    rates_now = steps["rate now"].clip(lower=1e-300).apply(np.log10)
    steps, ends = steps.assign(whole=steps["log step"] + rates_now), lags[lags.step == last]

    def measured(column: str, step: int = last) -> Callable[[Method], pd.Series]:
        return lambda method: over_tasks(by_seed(steps[steps.step == step], column, method))

    def falls(method: Method) -> pd.Series:
        if method[0] == "none":  # without a gate every lag has the factor 1
            return 0 * measured("spread")(method)
        near, far = (over_tasks(by_seed(ends, f"factor @{lag}", method)) for lag in (0, 8))
        return near - far

    properties: dict[str, Callable[[Method], pd.Series]] = {
        "differs over coordinates: sd of log₁₀": measured("spread"),
        "… of which between rows: share": measured("rows"),
        "follows gradient size: rank r, −1 normalises": measured("normalised"),
        "rows agree with Adam: rank r": measured("step like Adam"),
        "falls with the lag: decades, lag 0 to 8": falls,
        "depends on the sequence: sd of log₁₀": measured("over sequences"),
        "drifts over training: decades, ¼ to ¾": lambda method: (
            measured("whole", third)(method) - measured("whole", first)(method)
        ),
        "memory along sequence: mean of 1 − g": measured("along the sequence"),
        "memory along iterations: share of the step": measured("along iterations"),
    }
    rows = []
    for (name, measure_of), (column, method) in product(properties.items(), COLUMNS.items()):
        values = measure_of(method)
        mean, low, high = (math.nan,) * 3
        if len(values) > 1:
            mean, low, high, *_ = statistics.estimate(values)
        rows.append((name, column, len(values), mean, low, high))
    return pd.DataFrame(rows, columns=["property", "method", "seeds", "mean", "low", "high"])


def page_text(page: pd.DataFrame) -> pd.DataFrame:
    """The page as text, properties by methods; what holds by construction has no interval."""

    def text(row: pd.Series) -> str:
        if np.isnan(row["mean"]):
            return "all alike"
        return f"{row['mean']:.2f}" + f" ({row.low:.2f}, {row.high:.2f})" * bool(row.high - row.low > 1e-9)

    wide = page.assign(text=page.apply(text, axis=1)).pivot(index="property", columns="method", values="text")
    return wide.reindex(index=page.property.unique(), columns=list(COLUMNS))
