"""What is said of the released experiments, from tables made by hand."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pandas as pd
import pytest
from gatelr.experiments import emulation
from gatelr.experiments import replication_claims as claims
from gatelr.experiments.departures import PREDICTOR_FIRST
from gatelr.experiments.runs import Tables


def by_hand() -> tuple[Tables, pd.DataFrame]:
    """Two seeds at both ends of every line."""
    two = product(("as released", PREDICTOR_FIRST, "as defined"), ("constant", "scalar", "multi"), (1, 2))
    slopes = pd.DataFrame([{"stage": a, "gate": g, "seed": s, "slope": float(s)} for a, g, s in two])
    two = product(("float64, all values", "as released"), emulation.PAIRS, (1, 2), ("adding", "delay_sum"), (0, 400))
    measures = ("AI @40", "CE @1", "update AI", "update CE")
    spectra = pd.DataFrame(
        [
            {"stage": a, "gate": g, "seed": s, "task": task, "checkpoint": step}
            | dict.fromkeys(measures, 100.0**s if (task, step) == ("adding", 400) else 7.0)
            for a, g, s, task, step in two
        ]
    )
    two = product(("as released", "state before the update"), ("scalar", "multi"))
    ratios = pd.DataFrame([{"stage": a, "gate": g, "ratio": 0.5} for a, g in two])
    return {"stations": slopes, "spectra": spectra}, ratios


def test_both_ends_are_means_over_seeds_and_of_ai_geometric_ones() -> None:
    ends = claims.ends(*by_hand()).set_index(["quantity", "gate"])
    assert len(ends) == 3 + 4 * 3 + 2
    assert ends.defined["pooled slope", "multi"] == 1.5
    assert ends.released["AI at lag 40", "none"] == pytest.approx(1000)
    assert ends.released["CE at lag 1", "none"] == pytest.approx(5050)
    assert ends.optimiser["update AI", "none"] == " under Adam"


def test_the_waterfall_has_every_quantity_at_every_station_in_their_order() -> None:
    rows = claims.waterfall(*by_hand())
    assert list(rows) == ["stage", "seed", "value", "gate", "quantity"]
    assert len(rows) == 2 * 3 * 2 + 3 * 2 * 3 * 2 + 2 * 2
    assert not rows.value.isna().any()
    assert PREDICTOR_FIRST not in set(rows.stage)
    assert list(rows[rows.quantity == "AI at lag 40"].stage.unique()) == ["as released", "float64, all values"]


def test_slopes_are_set_beside_those_that_both_have_to_the_decimals_that_are_known() -> None:
    ours = [{"gate": "multi", "seed": s, "step": 0, "slope": 1.00049, "r2": 0.9} for s in (1, 2, 3, 4)]
    known = {2: (1.0, 0.8, 3), 3: (1.0, 0.8, 4), 4: (1.0, 0.9, 12), 5: (1.0, 0.9, 4)}
    theirs = pd.DataFrame(
        [
            {"gate": "multi", "seed": seed, "step": 0, "slope": slope, "r2": r2, "decimals": decimals}
            for seed, (slope, r2, decimals) in known.items()
        ]
    )
    both = claims.slopes_beside({"slopes": pd.DataFrame(ours)}, theirs)
    assert both.seed.tolist() == [2, 3, 4]
    assert both.off.tolist() == pytest.approx([0, 4.4e-4, 4.9e-4], abs=1e-9)
    assert both["r2 off"].tolist() == pytest.approx([0.0995, 0.09995, 0], abs=1e-9)


def test_spectra_are_set_beside_those_that_both_have() -> None:
    rows = by_hand()[0]["spectra"]
    rows = rows.assign(**{f"{index} @{lag}": rows["CE @1"] for index in ("AI", "CE") for lag in claims.LAGS}, step=401)
    key = {"task": "adding", "gate": "none", "seed": 1, "step": 400, "quantity": "CE @1"}
    both = claims.spectra_beside({"spectra": rows}, pd.DataFrame([key | {"value": 80.0}]))
    assert both.to_dict("records") == [key | {"emulated": 100.0, "released": 80.0, "off": 0.25}]


def test_the_first_step_is_a_relative_change() -> None:
    key = {"task": "adding", "gate": "none", "seed": 1, "lag": 2}
    table = pd.DataFrame([key | {"step": 0, "AI": 2.0}, key | {"step": 1, "AI": 3.0}])
    assert claims.first_step({"first step": table}).to_dict() == {("adding", "none", 1, 2): 0.5}


def test_departures_are_numbered_and_filled_in() -> None:
    names = {name for _, text in claims.DEPARTURES.values() for name in re.findall(r"{([a-z0-9-]+)", text)}
    numbers = {name: {"value": np.float64(0.12345), "text": "some"} for name in names}
    rows = claims.departures(numbers)
    assert list(rows["#"]) == list(range(1, 13))
    assert "with all seeds some" in rows["measured here"][9]
    assert not rows["measured here"].str.contains("{", regex=False).any()
    assert rows["file and lines"].str.match(r"\w+\.py \d").all()
    with pytest.raises(KeyError, match="order-norms"):
        claims.departures({name: number for name, number in numbers.items() if name != "order-norms"})
