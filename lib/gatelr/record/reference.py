"""Committed results beside those of this run: what was run again must agree, what was not is read.

A reference is a table with one row for each seed and setting, written by a run of the profile ``paper`` and committed.
A shorter run compares the rows that it has, and takes the others from it, so that every figure stands on all seeds.

The same network comes out a little otherwise on other arithmetic. By how much was measured for each setting, since some
trainings are chaotic and others tame. It stands in ``spread.csv`` beside the references (``workflow/spread.py``). How
far a row may be off follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from gatelr import files

#: Where the measured differences lie, among the references.
SPREAD = "spread.csv"

#: How many times the largest difference that was measured a row may be off, at most, and at least where that would let
#: the row of another seed pass.
TIMES, LEAST = 20.0, 3.0

#: A reference has five digits, so that rounding alone moves a number by up to half of this, relative to itself.
ROUNDED = 1e-4

#: Columns that say how long a network had been trained.
WHEN = ("step", "window")


class Spread(NamedTuple):
    """How far one column of the same networks of one setting came apart on other arithmetic.

    Attributes:
        relative: whether differences are taken relative to the number.
        steps: of training, ascending; differences grow along training, so a row is judged by those up to its step.
        differences: the largest up to each of these steps.
        seeds: how far two seeds lay apart there, in the median; as far as that only chaos may take a row.
    """

    relative: bool
    steps: tuple[float, ...]
    differences: tuple[float, ...]
    seeds: tuple[float, ...]

    def allowed(self, size: np.ndarray, step: np.ndarray | float = 0.0) -> np.ndarray:
        """How far two numbers may lie apart: :data:`TIMES` the spread d, and at least the rounding.

        Where that is more than two seeds lie apart, s, as in trainings that are chaotic, it is the larger of s and
        :data:`LEAST` d.

        Args:
            size: of the smaller of the two, so that nothing is near to everything.
            step: of training, of each or of all.
        """
        place = np.searchsorted(np.asarray(self.steps), np.broadcast_to(step, size.shape), side="right") - 1
        spread, seeds = (np.asarray(each)[place.clip(min=0)] for each in (self.differences, self.seeds))
        widest = np.minimum(TIMES * spread, np.maximum(LEAST * spread, seeds))
        return np.maximum(widest * size if self.relative else widest, ROUNDED * size)


#: How far off a column may be, by the spread of each setting or by a difference, absolute and relative, of which the
#: larger is allowed. The setting ``""`` stands for one that was not measured, and has the largest differences of all.
Tolerance = Mapping[str, Spread] | tuple[float, float]


def settings(rows: pd.DataFrame, keys: Sequence[str]) -> pd.Series:
    """The setting of each row in words: what its keys say that are no numbers."""
    words = rows[[key for key in keys if not pd.api.types.is_numeric_dtype(rows[key])]].astype(str)
    return pd.Series([", ".join(row) for row in words.to_numpy()], rows.index, dtype=str)


def spreads(name: str, folder: str | Path) -> dict[str, dict[str, Spread]]:
    """What was measured of each column of a table, by setting.

    Raises:
        ValueError: if nothing was.
    """
    path = Path(folder) / SPREAD
    rows = pd.read_csv(path) if path.exists() else pd.DataFrame({"table": []})
    rows = rows[rows.table == name]
    if rows.empty:
        raise ValueError(
            f"got no differences of {name} in {path.name}, expected a row for each of its columns: measure them with "
            "`python workflow/spread.py <chapter>`"
        )
    rows = rows.assign(setting=rows.setting.fillna("") if "setting" in rows else "")
    whole = rows.groupby(["column", "kind", "step"], as_index=False).agg({"difference": "max", "seeds": "median"})
    both = pd.concat([whole.assign(setting=""), rows[rows.setting != ""]]).sort_values(["column", "setting", "step"])
    both["difference"] = both.groupby(["column", "setting"]).difference.cummax()
    measured = both[["column", "setting", "kind", "step", "difference", "seeds"]].itertuples(index=False, name=None)
    by_column: dict[str, dict[str, Spread]] = {}
    for (column, setting, kind), each in groupby(measured, key=lambda row: row[:3]):
        _, _, _, steps, sizes, seeds = zip(*each, strict=True)
        by_column.setdefault(column, {})[setting] = Spread(kind == "relative", steps, sizes, seeds)
    return by_column


def seeds_here(rows: pd.DataFrame) -> str:
    """Which seeds of a completed table this run trained, in words: ``"21 and 22"``, ``"21 to 40"`` or ``"none"``."""
    seeds = sorted({int(seed) for seed in rows[rows.here].seed})
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    first, last = ", ".join(map(str, seeds[:-1])), str(seeds[-1]) if seeds else "none"
    return f"{first} and {last}" if first else last


def numbers(rows: pd.DataFrame, keys: Sequence[str]) -> list[str]:
    """The columns of a table that hold what was measured."""
    return [str(name) for name in rows.select_dtypes("number").columns if name not in (*keys, "here")]


def when(rows: pd.DataFrame) -> pd.Series:
    """The training step of each row, 0 for a table without."""
    return next((rows[name].astype(float) for name in WHEN if name in rows), pd.Series(0.0, rows.index))


def compare(
    own: pd.DataFrame,
    name: str,
    keys: Sequence[str],
    tolerances: Mapping[str, tuple[float, float]] | None = None,
    *,
    folder: str | Path,
    out: str | Path,
) -> tuple[pd.DataFrame, float, int]:
    """Compare a table with its reference, and complete it from there, as ``Chapter.compare`` says.

    Args:
        own: the rows of this run; also written to ``<out>/reference/<name>.csv``, from where a run of all seeds can be
            committed.
        name, keys, tolerances, folder: as there; the difference allowed is the larger of the two.
        out: the artefact folder of this run.

    Returns:
        All rows; the largest difference on shared rows as a multiple of its tolerance; and how many rows are shared.
    """
    keys = list(keys)
    if own.duplicated(keys).any():
        twice = own[own.duplicated(keys)][keys].iloc[0].to_dict()
        raise ValueError(
            f"got two rows of {name} with {twice}, expected one: name what tells them apart among the keys"
        )
    files.write(Path(out) / "reference" / f"{name}.csv", own.to_csv(index=False, float_format="%.5g"))
    path = Path(folder) / f"{name}.csv"
    kept = pd.read_csv(path) if path.exists() else own.iloc[:0]
    if missing := set(own.columns) - set(kept.columns):
        raise ValueError(
            f"the reference {path.name} lacks {', '.join(sorted(missing))}, expected the columns of this run: "
            "run the profile 'paper', and commit what it wrote"
        )
    both = own.merge(kept, on=keys, suffixes=("", " kept"))
    allowed: Mapping[str, Tolerance] = measured(own, name, keys, folder) if tolerances is None else tolerances
    where = settings(both, keys)
    gaps = [deviation(both, column, tolerance, where).max(initial=0.0) for column, tolerance in allowed.items()]
    others = kept[(kept[keys].merge(own[keys], how="left", indicator=True)["_merge"] == "left_only").to_numpy()]
    rows = pd.concat([own.assign(here=True), others[own.columns].assign(here=False)], ignore_index=True)
    return rows, float(max(gaps, default=0.0)), len(both)


def measured(own: pd.DataFrame, name: str, keys: Sequence[str], folder: str | Path) -> dict[str, dict[str, Spread]]:
    """The spread of every number in a table, by setting.

    Raises:
        ValueError: for a number whose differences were not measured.
    """
    by_column, needed = spreads(name, folder), numbers(own, keys)
    if missing := sorted(set(needed) - set(by_column)):
        raise ValueError(
            f"got no differences of {', '.join(missing)} of {name} in {SPREAD}, expected those of all its numbers: "
            "measure them with `python workflow/spread.py <chapter>`"
        )
    return {column: by_column[column] for column in needed}


def deviation(both: pd.DataFrame, column: str, tolerance: Tolerance, where: pd.Series) -> np.ndarray:
    """How far each row is from the committed one, as a multiple of its tolerance; infinite where one has no number.

    Args:
        both: rows that both have, with ``"<column> kept"`` beside the column.
        column, tolerance: which, and what it may be off.
        where: the setting of each row.
    """
    here, there = (both[name].to_numpy(dtype=float) for name in (column, f"{column} kept"))
    with np.errstate(divide="ignore", invalid="ignore"):
        if isinstance(tolerance, tuple):
            allowed = np.maximum(tolerance[0], tolerance[1] * np.abs(there))
        else:
            allowed, steps = np.zeros(len(both)), when(both).to_numpy()
            for setting in where.unique():
                of, spread = (where == setting).to_numpy(), tolerance.get(setting, tolerance[""])
                allowed[of] = spread.allowed(np.minimum(np.abs(here), np.abs(there))[of], steps[of])
        apart = np.abs(here - there) / allowed
    apart[(here == there) | (np.isnan(here) & np.isnan(there))] = 0.0
    return np.nan_to_num(apart, nan=np.inf)
