"""Committed results beside those of this run: what was run again must agree, what was not is read.

A reference is a table with one row for each seed and setting, written by a run of the profile ``paper`` and committed.
A shorter run compares the rows that it has, and takes the others from it, so that every figure stands on all seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from gatelr import files


def compare(
    own: pd.DataFrame,
    name: str,
    keys: Sequence[str],
    tolerances: Mapping[str, tuple[float, float]],
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
    gaps = [0.0]
    for column, (absolute, relative) in tolerances.items():
        here, there = (both[name].to_numpy(dtype=float) for name in (column, f"{column} kept"))
        deviation = np.abs(here - there) / np.maximum(absolute, relative * np.abs(there))
        deviation[np.isnan(here) & np.isnan(there)] = 0.0
        gaps.append(float(np.max(np.nan_to_num(deviation, nan=np.inf), initial=0.0)))
    others = kept[(kept[keys].merge(own[keys], how="left", indicator=True)["_merge"] == "left_only").to_numpy()]
    rows = pd.concat([own.assign(here=True), others[own.columns].assign(here=False)], ignore_index=True)
    return rows, max(gaps), len(both)
