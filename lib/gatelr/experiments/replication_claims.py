"""What is said of the released experiments: apart from their runs, so that a word changed here runs nothing again.

Tables are those of the runs of :mod:`gatelr.experiments.replication`, by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from scipy import stats

from gatelr.experiments.departures import ANISOTROPY_STATIONS, LEARNED, PREDICTOR_FIRST
from gatelr.experiments.emulation import PAIRS
from gatelr.experiments.joint_anisotropy import LAGS
from gatelr.experiments.runs import Tables

#: The commit whose scripts are meant, and its day.
COMMIT, DAY = "d70851c4ce8e235b4c513dab410e5d0a49cd08b9", "10 March 2026"

_RATIO = (
    "{gate}: {{ratio-released-{gate}}}, with all seeds {{ratio-all-{gate}}}, as defined {{ratio-defined-{gate}}}; "
    "largest {{largest-released-{gate}}} → {{largest-defined-{gate}}}; seeds dropped: {{dropped-seeds-{gate}}}"
)

#: The twelve departures, what each is, its files and lines, and what is measured, with names of the chapter's numbers.
DEPARTURES = {
    "gate term at $x_j$ instead of $x_{j-1}$": (
        "s1_effective_lr.py 257, 273, 288; s2_joint_anisotropy.py 296, 307, 317, 328; appendixA_check.py 137, 139, 152",
        "gate term × {gate-term-kept} (median); $J$ off by up to {jacobian-error-scalar} % (scalar), "
        "{jacobian-error-multi} % (multi)",
    ),
    "products in reversed order": (
        "s1_effective_lr.py 309–310; s2_joint_anisotropy.py 356–357; appendixA_check.py 28–29",
        "matrices off by {order-matrices} % at lag 79, norms by {order-norms} %",
    ),
    "spectral radius for spectral norm": (
        "s1_effective_lr.py 312–318",
        "lag 1: {norm-short-range-lag-1} % too small; lag 10: {norm-short-range-lag-10} % too small; lag 79: "
        "{norm-short-range-lag-79} % too small",
    ),
    r"predictor $\prod g$ for $\prod(1-g)$": (
        "s1_effective_lr.py 336, 346–347, 357–358",
        r"scalar, as defined otherwise: slope {slope-written} with $\prod g$, {slope-kept} with $\prod(1-g)$; within "
        "lags $r$ = {within-written} and {within-kept}",
    ),
    "fit without the lag as a baseline": (
        "s1_effective_lr.py 384–406",
        r"$R^2$: lag alone {r2-lag}, $\prod g$ {r2-written}, $\prod(1-g)$ {r2-kept}",
    ),
    "one batch for every step, seed and model": (
        "s2_joint_anisotropy.py 75–76, 135–136, 148–149, 387",
        "vanilla + Adam, step {memorised-step}: loss {loss-one-batch} on the batch, {loss-fresh} on fresh data (best "
        "constant {loss-constant})",
    ),
    "models that do not learn the task": (
        "s1_robust.py 237; run_all_robust.py 47",
        "adding, step {slopes-step}: loss of the best constant over the network's, on the same sequences, "
        "{constant-over-loss} (the constant's is {loss-constant-sample} there, {loss-constant} in the mean)",
    ),
    "CE of sixteen values, $10^{-12}$, float32": (
        "s2_joint_anisotropy.py 363–365, 371, 377, 508",
        "CE at lag 1, before training: {ce-sixteen} of sixteen, {ce-all} of all",
    ),
    "slope of two as evidence": (
        "appendixA_check.py 225–234, 257; appendixA_robust.py 97–101",
        "slope {growth-true} true, {growth-wrong} shuffled or random",
    ),
    "$r_j$ with departure 1, seeds dropped": (
        "appendixA_robust.py 54–63, 132–137",
        "; ".join(_RATIO.format(gate=gate) for gate in LEARNED),
    ),
    "divergent targets dropped": (
        "s2_joint_anisotropy.py 95–103; s2_robust.py 92–93, 106",
        "NARMA-10: {narma-10-refused} refused for {narma-10-good} good ones; NARMA-20: {narma-20-share} % refused",
    ),
    "checkpoint after the step": (
        "s2_joint_anisotropy.py 391–393",
        "AI at “0” moves by up to {checkpoint-moves-most} %",
    ),
}


def departures(numbers: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The twelve departures, where they stand and what was measured, from the numbers of the chapter.

    Args:
        numbers: by name, each with its ``"text"``, as ``Chapter.numbers``.
    """
    said = {name: number["text"] for name, number in numbers.items()}
    rows = [[i, what, where, text.format_map(said)] for i, (what, (where, text)) in enumerate(DEPARTURES.items(), 1)]
    return pd.DataFrame(rows, columns=["#", "departure", "file and lines", "measured here"])


def first_step(tables: Tables) -> pd.Series:
    """Departure 12: by how much the first update changes the median AI, relative, by task, gate, seed and lag."""
    AI = tables["first step"].set_index(["task", "gate", "seed", "lag", "step"]).AI.unstack()
    return AI[1] / AI[0] - 1


# Released values beside the emulated ones


def slopes_beside(tables: Tables, theirs: pd.DataFrame) -> pd.DataFrame:
    """Slope and R² of every fit that both have, and how far they are off beyond the decimals that were kept.

    Args:
        tables: with ``"slopes"``.
        theirs: by ``"gate"``, ``"seed"`` and ``"step"``, from runs of the released script, with the number of
            ``"decimals"`` to which they are known.

    Returns:
        Both, ``"off"``, of the slope, relative, and ``"r2 off"``.
    """
    both = tables["slopes"].merge(theirs, on=["gate", "seed", "step"], suffixes=("", " released"))
    half = 0.5 * 10.0**-both.decimals  # what rounds to a released value is not off at all
    off = {name: ((both[name] - both[f"{name} released"]).abs() - half).clip(lower=0) for name in ("slope", "r2")}
    return both.assign(**{"off": off["slope"] / both["slope released"].abs(), "r2 off": off["r2"]})


def spectra_beside(tables: Tables, theirs: pd.DataFrame) -> pd.DataFrame:
    """Every AI and CE that both have, long, and how far it is off, relative.

    Args:
        tables: with ``"spectra"``.
        theirs: by ``"task"``, ``"gate"``, ``"seed"``, ``"step"`` and ``"quantity"``, from runs of the released script.
    """
    names = [*(f"{index} @{lag}" for lag in LAGS for index in ("AI", "CE")), "update AI", "update CE"]
    ours = tables["spectra"].query("stage == 'as released'").assign(step=lambda rows: rows.checkpoint)
    keys = ["task", "gate", "seed", "step"]
    both = ours.melt(keys, names, "quantity", "emulated").merge(theirs.rename(columns={"value": "released"}))
    return both.assign(off=(both.emulated / both.released - 1).abs())


# From as released to as defined

#: What stands at both ends of a line, its column, and whether its mean over seeds is a geometric one.
QUANTITIES = {
    "AI at lag 40": ("AI @40", True),
    "CE at lag 1": ("CE @1", False),
    "update AI": ("update AI", True),
    "update CE": ("update CE", False),
}


def waterfall(tables: Tables, ratios: pd.DataFrame) -> pd.DataFrame:
    """Every quantity at every station, by gate and seed, as a long table.

    Args:
        tables: with ``"stations"`` and ``"spectra"``, of which adding at the last checkpoint counts.
        ratios: of the appendix, from :func:`gatelr.experiments.appendix.by_station`.
    """
    rows = _stations(tables, ratios)
    return rows[rows.quantity != "update CE"]


def _stations(tables: Tables, ratios: pd.DataFrame) -> pd.DataFrame:
    spectra = tables["spectra"].query("task == 'adding' and checkpoint == checkpoint.max()")
    spectra = spectra.assign(place=spectra.stage.map(list(ANISOTROPY_STATIONS).index)).sort_values("place")
    slopes = tables["stations"].query("stage != @PREDICTOR_FIRST", local_dict={"PREDICTOR_FIRST": PREDICTOR_FIRST})
    panels = {"pooled slope": (slopes, "slope")}
    panels |= {name: (spectra, column) for name, (column, _) in QUANTITIES.items()}
    panels["ratio $r_j$"] = ratios.assign(seed=0), "ratio"
    columns = ["stage", "seed", "value", "gate"]
    return pd.concat(
        rows.rename(columns={column: "value"})[columns].assign(quantity=quantity)
        for quantity, (rows, column) in panels.items()
    )


def ends(tables: Tables, ratios: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds as released and as defined, by quantity and gate; the optimiser in words where it matters."""
    rows = []
    for (quantity, gate), line in _stations(tables, ratios).groupby(["quantity", "gate"], sort=False):
        geometric = quantity in QUANTITIES and QUANTITIES[quantity][1]
        means = line.groupby("stage", sort=False).value.agg(stats.gmean if geometric else "mean")
        row = {"quantity": quantity, "gate": gate}
        row["optimiser"] = f" under {PAIRS[str(gate)]}" if quantity in QUANTITIES else ""
        rows.append(row | {"released": float(means.iloc[0]), "defined": float(means.iloc[-1])})
    return pd.DataFrame(rows)
