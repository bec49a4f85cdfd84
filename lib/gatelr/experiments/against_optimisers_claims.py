"""What E4's records show: the search for rates, the tables that are compared, and what the chapter claims of them.

Apart from the experiment, so that a word changed here runs no training again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from gatelr import statistics
from gatelr.experiments import step_structure
from gatelr.experiments.against_optimisers import GRID, LAGS, METHODS, MULTI, RATES, Method

#: What the tasks are called.
NAMES = {"adding": "adding", "moving_average": "moving average", "delay_sum": "delay-sum"}
#: What a claim says whose threshold was chosen when seeds 1 to 20 had been seen.
PILOT = "threshold after a pilot"

#: What says which row of a table is which.
KEYS = ["task", "gate", "optimiser", "seed", "step"]
#: The same of the interventions, where a row is of an arm.
ARM_KEYS = ["task", "gate", "arm", "seed", "step"]
#: How many times worse than the best constant a network counts as that diverged.
WORST = 100.0
#: The log10 of the smallest rate that counts, since a saturated gate leaves none.
LEAST = -16.0


def score(training_table: pd.DataFrame) -> pd.Series:
    """log10 of the loss over the best constant's; 2 for a run that diverged, a hundred times worse than that."""
    ratio = (training_table.loss / training_table.constant).fillna(WORST).clip(upper=WORST)
    return ratio.apply(np.log10)


# The search for rates


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
    return sum(best.get((task, *method)) != rate for task, rates in RATES.items() for method, rate in rates.items())


def at_edge(task: str, method: Method) -> bool:
    """Whether a method's rate is the lowest or the highest tried: a better one may lie beyond."""
    return RATES[task][method] in (min(GRID[method[1]]), max(GRID[method[1]]))


def rates_table() -> pd.DataFrame:
    """The rate of each method on each task, and the grid that it was chosen from, as text."""
    rows = []
    for method in METHODS:
        chosen = [f"{rates[method]:g}" + " (edge)" * at_edge(task, method) for task, rates in RATES.items()]
        rows.append((" + ".join(method), *chosen, ", ".join(f"{rate:g}" for rate in GRID[method[1]])))
    return pd.DataFrame(rows, columns=["method", *(NAMES[task] for task in RATES), "grid"])


# The tables that are compared with the committed ones


def tables(records: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables that are compared with the committed ones.

    Args:
        records: what :func:`gatelr.experiments.runs.load` returns.

    Returns:
        ``"training"``, the loss; ``"steps"``, its records with :func:`foreign`; ``"lags"``, of gated networks log10 of
        the mean factor by lag and its agreement with Adam; ``"arms"``, losses of the interventions, and the factors of
        those that learn and that are frozen. A loss is at most :data:`WORST` times the best constant's.
    """
    training_table, steps, lags, rows, arms = (
        records[name][~records[name].search.astype(bool)].drop(columns=["search", "rate"])
        for name in ("training", "steps", "lags", "rows", "arms")
    )
    steps = steps.drop(columns=["even", "rows cosine", "rows cosine, null"])  # nothing reads them
    lags = lags[lags.lag.isin(LAGS) & (lags.gate != "none")]
    lags = lags.assign(factor=lags.factor.clip(lower=10**LEAST).apply(np.log10))
    wide = lags.pivot(index=KEYS, columns="lag", values=["factor", "rows like Adam"])
    wide.columns = wide.columns.map("{0[0]} @{0[1]}".format)
    factors = [f"factor @{lag}" for lag in LAGS]
    kept = arms.arm.isin(["learns", "frozen"])
    arms = arms.assign(**{name: arms[name].clip(lower=LEAST).where(kept) for name in factors if name in arms})
    training_table, arms = (rows.assign(loss=rows.constant * 10 ** score(rows)) for rows in (training_table, arms))
    return {
        "training": training_table,
        "steps": steps.merge(foreign(rows), on=KEYS),
        "lags": wide.reset_index(),
        "arms": arms.drop(columns="optimiser"),
    }


def foreign(rows: pd.DataFrame) -> pd.DataFrame:
    """The null of another network's gates: rank correlation of a shadow's rows with the gate's of its neighbour.

    Seeds are neighbours in pairs, so that it does not matter how many pairs a run has; a last one alone takes the
    first.

    Args:
        rows: by seed and neuron, what gate and shadow multiply a row by.

    Returns:
        One row for each network and step, the column ``"rows like Adam, foreign"``.
    """
    ranks = []
    for key, group in rows.groupby([name for name in KEYS if name != "seed"]):
        gates, adam = (group.pivot(index="seed", columns="neuron", values=f"by {who}") for who in ("gate", "Adam"))
        others = [place ^ 1 if place ^ 1 < len(gates) else 0 for place in range(len(gates))]
        for seed, of_gate, of_adam in zip(gates.index, gates.to_numpy()[others], adam.to_numpy(), strict=True):
            alike = step_structure.agreement(torch.from_numpy(of_gate), torch.from_numpy(of_adam.copy())).rank
            ranks.append((*key[:3], seed, key[3], alike))
    return pd.DataFrame(ranks, columns=[*KEYS, "rows like Adam, foreign"])


def at_quarters(evidence: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The rows of the start and of each quarter of the longest run; losses with their score, and 10 to its minus."""
    end = evidence["training"].step.max()
    kept = {name: rows[rows.step.isin([round(end * part / 4) for part in range(5)])] for name, rows in evidence.items()}
    for name in ("training", "arms"):
        scores = score(kept[name])
        kept[name] = kept[name].assign(score=scores, ratio=10**-scores)
    return kept


def by_lag(lags: pd.DataFrame) -> pd.DataFrame:
    """The table of lags with a row for each lag: the log10 of its factor, and the rank correlation with Adam's rows."""
    parts = [
        lags[KEYS].assign(lag=lag, factor=lags[f"factor @{lag}"], rank=lags[f"rows like Adam @{lag}"]) for lag in LAGS
    ]
    return pd.concat(parts, ignore_index=True)


# What is claimed: one number for each setting and seed


def at_end(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last step, with the tasks as they are called."""
    return rows[rows.step == rows.step.max()].replace({"task": NAMES})


def losses(training_table: pd.DataFrame) -> pd.DataFrame:
    """The score after the last step, by task and seed, with a column for each gate and optimiser."""
    return at_end(training_table).pivot(index=["task", "seed"], columns=["gate", "optimiser"], values="score")


def of_method(rows: pd.DataFrame, column: str, method: Method = MULTI) -> pd.Series:
    """One column of one method, by task and seed."""
    chosen = rows[(rows.gate == method[0]) & (rows.optimiser == method[1])]
    return chosen.set_index(["task", "seed"])[column]


def of_gates(rows: pd.DataFrame, column: str, gates: Iterable[str] = ("scalar", "multi")) -> pd.Series:
    """One column of gates under plain SGD, by task, gate and seed."""
    return pd.concat({gate: of_method(rows, column, (gate, "SGD")) for gate in gates}, names=["gate"]).swaplevel(0, 1)


def arms(rows: pd.DataFrame, column: str = "score") -> pd.DataFrame:
    """One column of the interventions, by task, gate and seed, with a column for each arm."""
    return rows.pivot(index=["task", "gate", "seed"], columns="arm", values=column)


def changes(rows: pd.DataFrame) -> pd.DataFrame:
    """By lag, how log10 of the mean rate changes along training in the arms of the interventions.

    Args:
        rows: the table ``"arms"``.

    Returns:
        Columns task, gate, seed, arm, lag and change, of the arms that learn and that are frozen.
    """
    index, columns = ["task", "gate", "seed", "arm"], {f"factor @{lag}": lag for lag in LAGS}
    begin, end = (
        rows[rows.step == step].set_index(index)[list(columns)] for step in (rows.step.min(), rows.step.max())
    )
    change = (end - begin).rename(columns=columns).rename_axis(columns="lag").stack()
    return change.dropna().rename("change").reset_index().replace({"task": NAMES})


def moves(rows: pd.DataFrame) -> pd.Series:
    """How much more the rates of lags from 1 on move with gates that learn than with frozen ones, by task and gate.

    Args:
        rows: the table ``"arms"``.

    Returns:
        The mean over lags of the size of the change, in decades; 0 where one of the two has diverged.
    """
    sizes = changes(rows).query("lag > 0").assign(change=lambda table: table.change.abs())
    means = sizes.groupby(["task", "gate", "seed", "arm"]).change.mean().unstack("arm")
    ended = arms(at_end(rows))[["learns", "frozen"]].reindex(means.index)
    return (means["learns"] - means["frozen"]).where((ended < np.log10(WORST) - 1e-3).all(axis=1), 0.0)


def imposed_table(losses: pd.DataFrame) -> pd.DataFrame:
    """What a gate gains by learning, and what frozen gates gain with its rates and with the null, as text.

    Args:
        losses: of :func:`arms`, by task, gate and seed.

    Returns:
        One row for each task and gate, decades of loss below the frozen gate's: means with 95 % intervals.
    """
    names = {"learns": "gate learns", "imposed": "its rates imposed", "permuted": "its rates at other lags"}
    gains = -losses[list(names)].sub(losses["frozen"], axis=0).rename(columns=names)

    def text(seeds: pd.Series) -> str:
        return f"{statistics.estimate(seeds):+.2f}"

    return gains.groupby(["task", "gate"]).agg(text).reset_index().rename_axis(columns=None)


def row_spreads(last: pd.DataFrame) -> pd.DataFrame:
    """How much steps differ between the rows of one network: of a multi-gate, and of its shadow Adam.

    Args:
        last: the table ``"steps"`` after the last update.

    Returns:
        By task, in the columns ``"gate"`` and ``"Adam"``, the standard deviation of log10, means over seeds.
    """
    kinds = {"gate": ("spread", "rows"), "Adam": ("Adam spread", "Adam rows")}
    spreads = {kind: of_method(last, whole) * of_method(last, share) ** 0.5 for kind, (whole, share) in kinds.items()}
    return pd.DataFrame(spreads).groupby("task").mean()


def quoted(claims: Iterable[Mapping[str, Any]]) -> dict[str, tuple[float | str, str]]:
    """What prose quotes of each claim beside its verdict, by name: a value, and how it is printed.

    Args:
        claims: as a chapter's record has them.

    Returns:
        For each claim ``"<claim>-where"``, the settings in which it is supported; and for each of its settings
        ``"<claim>-<setting>"``, the mean over seeds.
    """
    numbers: dict[str, tuple[float | str, str]] = {}
    for claim in claims:
        rows = claim["by setting"]
        where = "; ".join(row["setting"] for row in rows if row["verdict"] == "supported") or "none"
        numbers[f"{claim['id']}-where"] = (where, where)
        for row in rows:
            name = f"{claim['id']} {row['setting']}".replace(",", "").replace(" ", "-")
            numbers[name] = (row["effect"], f"{row['effect']:.2f}")
    return numbers
