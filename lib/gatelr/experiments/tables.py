"""Tables of experiments, reshaped for a reader: columns by lag as rows, and what seeds have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd


def by_lag(rows: pd.DataFrame, keys: Sequence[str], series: Sequence[str]) -> pd.DataFrame:
    """Columns such as ``"S @16"`` as rows.

    Args:
        rows: with a column ``"<series> @<lag>"`` for each series and lag.
        keys, series: the columns to keep, and the series to take.

    Returns:
        The keys, ``"series"``, ``"lag"`` and ``"value"``, without values that are missing.
    """
    chosen = [column for column in rows if str(column).rpartition(" @")[0] in series]
    long = rows.melt(list(keys), chosen, "column").dropna(subset="value")
    parts = long["column"].str.rpartition(" @")
    return long.drop(columns="column").assign(series=parts[0], lag=parts[2].astype(int)).reset_index(drop=True)


def quartiles(rows: pd.DataFrame, keys: Sequence[str], value: str = "value") -> pd.DataFrame:
    """Lower quartile, median and upper quartile of a column, for each combination of the keys, in their order."""
    table = rows.groupby(list(keys), sort=False)[value].quantile(np.array([0.25, 0.5, 0.75])).unstack()
    return table.set_axis(["lower quartile", "median", "upper quartile"], axis=1).reset_index()


def told(columns: Mapping[str, pd.Series], digits: Mapping[str, str] = MappingProxyType({})) -> pd.DataFrame:
    """What seeds have in common, in words, a row for each setting: of numbers the mean, of truths how many.

    Args:
        columns: each indexed by setting, on any number of levels, with a row for each seed.
        digits: how a mean is written, ``"+.2f"`` by default.
    """
    table = {}
    for name, values in columns.items():
        rows = values.groupby(level=list(range(values.index.nlevels)))
        if values.dtype == bool:
            table[name] = rows.sum().astype(str) + " of " + rows.size().astype(str)
        else:
            table[name] = rows.mean().map(f"{{:{digits.get(name, '+.2f')}}}".format)
    return pd.DataFrame(table)
