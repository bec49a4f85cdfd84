"""The page that compares three optimisers with three gates, property by property, and the course along training."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd

from gatelr import statistics
from gatelr.experiments.against_optimisers import MULTI, Method
from gatelr.experiments.against_optimisers_claims import of_method


def over_tasks(rows: pd.DataFrame, column: str, method: Method) -> pd.Series:
    """One column of one method: the mean over tasks, of the seeds that have all of them."""
    return of_method(rows, column, method).unstack("task").dropna().mean(axis=1)


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
        return lambda method: over_tasks(steps[steps.step == step], column, method)

    def falls(method: Method) -> pd.Series:
        if method[0] == "none":  # without a gate every lag has the factor 1
            return 0 * measured("spread")(method)
        near, far = (over_tasks(ends, f"factor @{lag}", method) for lag in (0, 8))
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
