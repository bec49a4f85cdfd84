"""Tables reshaped for figures."""

from __future__ import annotations

import numpy as np
import pandas as pd
from gatelr.experiments import tables


def test_columns_by_lag_become_rows() -> None:
    rows = pd.DataFrame({"seed": [1, 2], "S @2": [0.5, 0.25], "S @16": [0.125, np.nan], "order 0 @2": 1.0})
    long = tables.by_lag(rows, ["seed"], ["S"])
    assert long.to_dict("list") == {
        "seed": [1, 2, 1],
        "value": [0.5, 0.25, 0.125],
        "series": ["S"] * 3,
        "lag": [2, 2, 16],
    }


def test_quartiles_are_numpys_in_the_order_of_the_rows() -> None:
    draw = np.random.default_rng(0)
    rows = pd.DataFrame({"gate": np.repeat(["scalar", "multi"], 7), "value": draw.normal(size=14)})
    table = tables.quartiles(rows, ["gate"])
    assert table.gate.tolist() == ["scalar", "multi"]
    expected = [np.quantile(part.value, [0.25, 0.5, 0.75]) for _, part in rows.groupby("gate", sort=False)]
    np.testing.assert_allclose(table[["lower quartile", "median", "upper quartile"]], expected)


def test_seeds_are_told_in_words() -> None:
    index = pd.MultiIndex.from_tuples([("adding", "multi")] * 2 + [("adding", "scalar")] * 2)
    r = pd.Series([0.5, 0.25, -1.0, -0.5], index)
    told = tables.told({"r": r, "r > 0": r > 0, "short": r}, {"short": ".1f"})
    assert told.loc[("adding", "multi")].to_dict() == {"r": "+0.38", "r > 0": "2 of 2", "short": "0.4"}
    assert told.loc[("adding", "scalar")].to_dict() == {"r": "-0.75", "r > 0": "0 of 2", "short": "-0.8"}
