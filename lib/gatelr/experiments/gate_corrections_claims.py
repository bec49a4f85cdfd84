"""What E3's records show: the search for rates, the tables that are compared, and what the chapter claims of them.

Apart from the experiment, so that a word changed here runs no training again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from gatelr import tasks
from gatelr.experiments.gate_corrections import DECIDING, GATES, MODELS, OTHERS, RATES, SEARCHED, SETTINGS
from gatelr.experiments.gate_corrections_training import DISTANCES
from gatelr.experiments.tables import by_lag

#: What says which model a number is of, and of which seed.
MODEL = ["task", "gate"]
#: What tells one network from another.
SEEDED = [*MODEL, "seed"]

#: What says which row of a table is which.
KEYS = {name: [*SEEDED, "step"] for name in ("training", "others", "size", "displacement")}
KEYS |= {"persistence": [*SEEDED, "window"], "grid": [*MODEL, "run", "rate", "seed"]}

#: A loss that is so many times the best constant's, or no number, counts as that, since the network has diverged.
WORST = 100.0


def settings() -> pd.DataFrame:
    """What is trained in each setting, and the loss of the best constant prediction."""
    rows = []
    for name, (task, options, optimiser, steps, grid) in SETTINGS.items():
        chosen = tasks.get(task, **options)
        rates = ", ".join(f"{rate:g}" for rate in grid)
        rows.append((name, chosen.steps, optimiser, rates, steps, chosen.constant_loss))
    columns = ["task", "T", "optimiser", "rates tried", "updates", "constant's loss"]
    return pd.DataFrame(rows, columns=columns).set_index("task")


# The search for learning rates


def score(rows: pd.DataFrame) -> pd.Series:
    """log10 of the loss over the best constant's; 2 for a network that diverged."""
    constants = rows.task.map(settings()["constant's loss"])
    return (rows.loss / constants).fillna(WORST).clip(upper=WORST).apply(np.log10)


def searched(records: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The search: a score for each model, pass, rate and seed; without a row where none was run."""
    rows = records["training"][records["training"].search.astype(bool)]
    return rows.assign(score=score(rows))[[*KEYS["grid"], "score"]]


def best_rates(search: pd.DataFrame) -> pd.Series:
    """The rate with the best mean score, by model and pass."""
    means = search.groupby([*MODEL, "run", "rate"]).score.mean()
    return means.groupby([*MODEL, "run"]).idxmin().str[-1]


def not_best(search: pd.DataFrame) -> int:
    """How many of :data:`~gatelr.experiments.gate_corrections.RATES` are not the best of a search."""
    best: dict[Any, float] = best_rates(search).to_dict()
    wanted = {
        (*model, name): rate for model, rates in RATES.items() for name, rate in zip(SEARCHED, rates, strict=True)
    }
    return sum(best.get(key) != rate for key, rate in wanted.items())


def at_edge(setting: str, rate: float) -> bool:
    """Whether a rate is the lowest or the highest that was tried: a better one may lie beyond."""
    return rate in (min(SETTINGS[setting].grid), max(SETTINGS[setting].grid))


def rates_table() -> pd.DataFrame:
    """The rate of each pass by model, as text, marked where it lies at the edge of the grid."""
    rows = [
        (*model, *(f"{rate:g}" + " (edge)" * at_edge(model[0], rate) for rate in rates))
        for model, rates in RATES.items()
    ]
    return pd.DataFrame(rows, columns=[*MODEL, *SEARCHED])


# The tables that are compared with the committed ones


def tables(records: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables by name, without those that a short run does not come to.

    Args:
        records: what :func:`gatelr.experiments.runs.load` returns.

    Returns:
        ``"training"``, with a column for each pass that decides, and ``"others"``, with one for each of the others,
        both of losses; ``"size"``, ``"persistence"`` and ``"displacement"``.
    """
    rows = records["training"][~records["training"].search.astype(bool)]
    losses = rows.pivot(index=KEYS["training"], columns="run", values="loss").rename(columns=str)
    kinds = {"training": list(DECIDING), "others": list(OTHERS)}
    by_name = {name: losses.reindex(columns=passes).dropna(how="all").reset_index() for name, passes in kinds.items()}
    for name in ("size", "persistence", "displacement"):
        if name in records:
            left_out = {*KEYS[name], "run", "rate", "search", "step"}
            others = [column for column in records[name] if column not in left_out]
            by_name[name] = records[name][[*KEYS[name], *others]]
    return by_name


def models(rows: pd.DataFrame | pd.Series) -> list[tuple[str, str]]:
    """The models that have rows, in the order of the settings."""
    return [model for model in MODELS if model in rows.groupby(MODEL).groups]


def in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows that are indexed by model and seed, in the order of the settings."""
    return pd.concat([rows[[key[:2] == model for key in rows.index]] for model in models(rows)])


def at_end(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last step of each setting, indexed by model and seed."""
    last = rows[rows.step == rows.groupby("task").step.transform("max")]
    return in_order(last.drop(columns="step").set_index(SEEDED).sort_index())


def told(found: Iterable[str]) -> str:
    """Settings in words, as prose lists them.

    Example:
        >>> from gatelr.experiments import gate_corrections_claims
        >>> names = ["delay-sum, scalar", "adding, 50, scalar", "adding, 50, multi"]
        >>> gate_corrections_claims.told(names)
        'delay-sum (scalar) and adding over 50 steps (both gates)'
        >>> gate_corrections_claims.told([])
        'none of them'
    """
    names, parts = set(found), []
    for task in SETTINGS:
        gates = [gate for gate in GATES if f"{task}, {gate}" in names]
        if gates:
            words = re.sub(r", (\d+)$", r" over \1 steps", task)
            parts.append(f"{words} ({'both gates' if len(gates) > 1 else gates[0]})")
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:]))) or "none of them"


def by_task(numbers: Mapping[Any, float], rows: pd.DataFrame) -> pd.Series:
    """A number for each row, that of its task."""
    return pd.Series([numbers[key[0]] for key in rows.index], rows.index)


# What is claimed


def effects(losses: pd.DataFrame) -> pd.DataFrame:
    """What each pass costs: log10 of its final loss over that of another one, of the same seed.

    Args:
        losses: the tables ``"training"`` and ``"others"`` side by side.

    Returns:
        One row for each model and seed; a column for each pass but the full one, over the full one, and
        ``"foreign over dropped"``.
    """
    final = at_end(losses)[[*DECIDING, *OTHERS]]
    limit = WORST * by_task(settings()["constant's loss"].to_dict(), final)
    logs = final.fillna(np.inf).clip(upper=limit, axis=0).apply(np.log10)
    costs = logs.drop(columns="full").sub(logs["full"], axis=0)
    return costs.assign(**{"foreign over dropped": logs["foreign"] - logs["gate dropped"]})


def likeness(persistence: pd.DataFrame) -> pd.DataFrame:
    """How alike the corrections of a window are.

    Args:
        persistence: the table of that name.

    Returns:
        For each model and seed means over windows. Of the mean cosine over each distance from 1 to 32:
        ``"all windows"``, ``"later windows"`` (all but the first), and ``"gradient"``, the gradients' own. The cosine
        at distance 32, ``"far"``, of neighbours, ``"neighbours"``, of all pairs, ``"shuffled"``, with the partner's
        corrections, ``"foreign"``, and of two fresh batches at the same weights, ``"fresh"``. Of the resultant, what
        exceeds that of random signs, ``"resultant"``.
    """
    rows = persistence.set_index(SEEDED)
    columns = {
        "all windows": rows["c mean"],
        "later windows": rows["c mean"].where(rows.window > 0),
        "gradient": rows["g mean"],
        "far": rows[f"c @{DISTANCES[-1]}"],
        "neighbours": rows["c @1"],
        "shuffled": rows["c shuffled"],
        "foreign": rows["c foreign"],
        "fresh": rows["c fresh"],
        "resultant": rows["c resultant"] - rows["c random"],
    }
    return in_order(pd.DataFrame(columns).groupby(SEEDED).mean())


def cosines(persistence: pd.DataFrame) -> pd.DataFrame:
    """The mean cosine of corrections, and of gradients, by distance: a row for each, and for each seed and model.

    At the distance 0 stand two fresh batches at the same weights.
    """
    windows = persistence.groupby(SEEDED).mean(numeric_only=True).reset_index()
    windows = windows.rename(columns={"c fresh": "c @0", "g fresh": "g @0"})
    rows = by_lag(windows, SEEDED, ["c", "g"]).rename(columns={"lag": "distance", "value": "cosine"})
    kinds = rows.series.map({"c": "correction", "g": "gradient"})
    return rows[[*SEEDED, "distance", "cosine"]].assign(of=kinds)


def arrivals(losses: pd.DataFrame, names: Iterable[str] = tuple(DECIDING), share: float = 0.2) -> pd.DataFrame:
    """When the loss on fresh data is first below a share of the best constant's.

    Args:
        losses: the table ``"training"``.
        names: of the passes.
        share: of the constant's loss.

    Returns:
        For each model and seed and each pass the step, infinite for a network that never arrives.
    """
    level = losses.task.map(settings()["constant's loss"]) * share
    steps = {name: losses.step.where(losses[name] < level, np.inf) for name in names}
    return in_order(pd.DataFrame(steps).groupby([losses[key] for key in SEEDED]).min())


def delays(first: pd.DataFrame) -> pd.DataFrame:
    """log10 of the updates that a pass needs over those of the full one; who never arrives counts as the last step.

    Args:
        first: from :func:`arrivals`.

    Returns:
        For each model and seed a column for each pass but the full one.
    """
    last = by_task({name: float(each.steps) for name, each in SETTINGS.items()}, first)
    logs = first.clip(upper=last, axis=0).apply(np.log10)
    return logs.drop(columns="full").sub(logs["full"], axis=0)


# The exploratory claims: by name the statement, a value for each model and seed, and the smallest effect that matters

#: A claim before it is judged.
Asked = tuple[str, pd.Series, float | None]

#: What a claim about losses measures, in words.
RATIO = r"$\log_{10}$ of the ratio of final losses on fresh data"
#: What a claim about time measures, in words.
UPDATES = r"$\log_{10}$ of the ratio of updates"


def on_direction(alike: pd.DataFrame, sums: pd.DataFrame) -> dict[str, Asked]:
    """What else is asked of windows, and of sums over the whole of training.

    Args:
        alike: from :func:`likeness`.
        sums: the end of the table ``"displacement"``.
    """
    mean, many = alike["all windows"], r"over the whole of training corrections add up"
    return {
        "persistent-later": ("the same without the window at the start of training", alike["later windows"], 0.1),
        "persistent-far": ("the same at 32 iterations apart", alike["far"], 0.1),
        "persistent-beyond-gradient": (
            "corrections are more alike than the gradients that they are part of: difference of the mean cosines",
            mean - alike["gradient"],
            0.1,
        ),
        "persistent-memory": (
            "neighbours are more alike than the same corrections in random order: difference of the mean cosines",
            alike["neighbours"] - alike["shuffled"],
            0.1,
        ),
        "persistent-resultant": (
            "the mean of a window is longer than with random signs, as a share of the mean length",
            alike["resultant"],
            0.1,
        ),
        "persistent-beyond-random": (
            rf"{many} to more than with random signs: $\log_{{10}}$ of the ratio of lengths",
            (sums.length / sums.random).apply(np.log10),
            0.1,
        ),
        "persistent-adds-up": (
            rf"{many} as gradients do: $\log_{{10}}$ of their length over the way's, over that ratio step by step",
            (sums.length / sums.steps).apply(np.log10),
            None,
        ),
    }


def on_training(effects: pd.DataFrame, slower: pd.DataFrame) -> dict[str, Asked]:
    """What else is asked of training: foreign corrections, the time that it takes, and the null.

    Args:
        effects: from :func:`effects`.
        slower: from :func:`delays`.
    """
    later = "a fifth of the constant's loss is reached later"
    return {
        "effective-foreign": (
            f"training with a foreign correction ends worse than in full: {RATIO}",
            effects["foreign"],
            0.1,
        ),
        "effective-own": (f"a foreign correction is worse than none: {RATIO}", effects["foreign over dropped"], 0.1),
        "effective-time": (f"without the gate term {later}: {UPDATES}", slower["gate dropped"], 0.1),
        "effective-time-foreign": (f"with a foreign correction {later}: {UPDATES}", slower["foreign"], 0.1),
        "effective-beside-null": (
            f"leaving out the gate term costs more than other data do: {RATIO}",
            effects["gate dropped"] - effects["other data"],
            None,
        ),
    }
