"""The appendix's networks and numbers against their description."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from gatelr import expansion, jacobian
from gatelr.experiments import appendix, released
from networks import relative


@pytest.mark.parametrize("departures", [released.AS_DEFINED, released.Departures(False, True, False, False, False)])
def test_truncation_is_what_two_orders_leave_of_the_product(departures: released.Departures) -> None:
    model, run = appendix.network("multi", 0, T=12, n=6)
    A, B = expansion.split(jacobian.terms(model, run), "gate")
    # the newest factor stands on the left, with this departure on the right
    place = (lambda factors: factors) if departures.reversed_order else (lambda factors: factors.flip(0))
    whole = torch.linalg.multi_dot(place(A + B).unbind())
    first = [torch.linalg.multi_dot(place(torch.cat([A[:j], B[j : j + 1], A[j + 1 :]])).unbind()) for j in range(12)]
    left = whole - torch.linalg.multi_dot(place(A).unbind()) - torch.stack(first).sum(0)
    assert appendix.truncation(model, run, departures) == pytest.approx((float(left.norm()), float(whole.norm())))
    r = appendix.ratios(model, run, released.AS_DEFINED)
    assert relative(r[3], torch.linalg.matrix_norm(B[3], 2) / torch.linalg.matrix_norm(A[3], 2)) <= 1e-12


def test_the_filter_drops_what_lies_far_out() -> None:
    assert appendix.kept_by_iqr([1.0, 2.0, 3.0, 4.0, 5.0, 100.0]) == [True] * 5 + [False]


def test_rows_are_those_of_each_network() -> None:
    rows = appendix.by_network(3).set_index(["gate", "seed", "gate term"])
    assert len(rows) == 2 * 3 * 2
    r = appendix.ratios(*appendix.network("multi", 2))
    assert rows["median"]["multi", 2, "released"] == float(np.median(r))
    assert rows.largest["multi", 2, "released"] == float(r.max())
    errors = [appendix.truncation(*appendix.network("scalar", seed))[0] for seed in range(3)]
    assert [rows.kept["scalar", seed, "defined"] for seed in range(3)] == appendix.kept_by_iqr(errors)


def test_the_published_number_is_a_mean_over_the_kept_networks() -> None:
    medians = {("released", 0): 1.0, ("released", 1): 2.0, ("defined", 0): 3.0, ("defined", 1): 6.0}
    networks = pd.DataFrame(
        [
            {"gate": "multi", "seed": seed, "gate term": word, "kept": seed == 0, "median": value, "largest": 2 * value}
            for (word, seed), value in medians.items()
        ]
    )
    rows = appendix.by_station(networks).set_index("stage")
    assert rows.ratio.to_dict() == {"as released": 1.0, "all seeds": 1.5, "state before the update": 4.5}
    assert rows.largest.to_dict() == {"as released": 2.0, "all seeds": 4.0, "state before the update": 12.0}
    assert list(rows.networks) == [1, 2, 2]


def test_any_correction_has_a_slope_of_two() -> None:
    rows = appendix.truncation_slopes()
    assert set(rows.corrections) == {"true", "shuffled", "random"}
    assert rows.slope.to_numpy() == pytest.approx(2, abs=0.02)


def test_at_one_only_true_corrections_give_the_derivative() -> None:
    off = appendix.deviations_at_one().groupby("corrections").off
    assert off.max()["true"] <= 1e-9
    assert (off.min()[["shuffled", "random", "released"]] > 1e-3).all()
