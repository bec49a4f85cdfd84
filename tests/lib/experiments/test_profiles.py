"""Predictors against their definitions, pair by pair, and fits against numpy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gatelr import jacobian, rates, transport
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments import profiles
from torch import Tensor

T, B, n = 7, 5, 4


@pytest.fixture(params=["constant", "scalar", "multi"])
def made(request: pytest.FixtureRequest) -> tuple[GatedRNN, Trajectory, Tensor]:
    draw = torch.Generator().manual_seed(4)
    alpha = 0.3 if request.param == "constant" else None
    model = GatedRNN(2, n, request.param, alpha=alpha, generator=draw, dtype=torch.float64).requires_grad_(False)
    run = model.run(torch.randn(T, B, 2, generator=draw, dtype=torch.float64))
    return model, run, transport.sensitivities(jacobian.blocks(model, run))


def test_predictions_are_the_products_that_they_say(made: tuple[GatedRNN, Trajectory, Tensor]) -> None:
    model, run, _ = made
    terms = jacobian.terms(model, run)
    of = profiles.sums(model, run)
    for lag in (1, 2, 5, T):
        found = profiles.predictions(of, lag)
        kept = rates.retention(run, lag)
        torch.testing.assert_close(found["order 0"].exp(), kept.amax(-1))
        torch.testing.assert_close(found["order 0, mean"].exp(), kept.mean(-1))
        torch.testing.assert_close(found["order 1"].exp(), rates.corrected(terms, lag).abs().amax(-1))
        g = run.g.expand_as(run.x)
        written = torch.stack([g[t - lag : t].prod(0).mean(-1) for t in range(lag, T + 1)])
        torch.testing.assert_close(found["published"].exp(), written)
        assert (found["lag"] == -lag).all()


def test_shuffling_moves_the_steps_of_all_terms_together(made: tuple[GatedRNN, Trajectory, Tensor]) -> None:
    model, run, _ = made
    order = torch.stack([torch.randperm(T, generator=torch.Generator().manual_seed(b)) for b in range(B)], 1)
    moved = Trajectory(*(member.take_along_dim(order.unsqueeze(-1), 0) for member in run))
    for a, b in zip(profiles.sums(model, run, order), profiles.sums(model, moved), strict=True):
        torch.testing.assert_close(a, b)


def test_fits_are_numpys(made: tuple[GatedRNN, Trajectory, Tensor]) -> None:
    model, run, S = made
    found = profiles.measure(S, model, run, torch.Generator().manual_seed(0))
    lag = np.array([t - k for t in range(T + 1) for k in range(t)]).repeat(B)
    y = np.log(np.concatenate([S[t, k].numpy() for t in range(T + 1) for k in range(t)]))
    of = profiles.sums(model, run)
    within_y = y - np.array([y[lag == length].mean() for length in lag])
    assert found["spread"] == [{"within lags": pytest.approx((within_y**2).sum() / y.var() / len(y)), "left out": 0}]
    for name in ("order 0", "order 0, mean", "order 1", "published"):
        x = np.concatenate([profiles.predictions(of, t - k)[name][k].numpy() for t in range(T + 1) for k in range(t)])
        (fit,) = [f for f in found["fits"] if (f["predictor"], f["gates"]) == (name, "true")]
        slope = np.polyfit(x, y, 1)[0]
        assert fit["slope"] == pytest.approx(slope, rel=1e-9)
        assert fit["r2"] == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2, rel=1e-9)
        within_x = x - np.array([x[lag == length].mean() for length in lag])
        if model.gate == "constant" and name != "order 1":
            assert np.isnan(fit["within r"])
            continue
        assert fit["within r"] == pytest.approx(np.corrcoef(within_x, within_y)[0, 1], rel=1e-9)
        assert fit["within slope"] == pytest.approx((within_x @ within_y) / (within_x @ within_x), rel=1e-9)
        record = found["profiles"][1]
        expected = np.corrcoef(x[lag == 2], y[lag == 2])[0, 1]
        assert record[f"r {name} true"] == pytest.approx(expected, rel=1e-9)
        assert record["S"] == pytest.approx(np.quantile(np.exp(y[lag == 2]), 0.5, method="lower"))


def test_true_gates_beat_the_nulls_where_the_leak_is_all_there_is() -> None:
    # with tiny weights onto the candidate, S is order 0 up to a small correction
    draw = torch.Generator().manual_seed(1)
    model = GatedRNN(2, n, "scalar", generator=draw, dtype=torch.float64).requires_grad_(False)
    model.W_r.mul_(1e-4)
    model.W_rg.mul_(1e-4)
    run = model.run(3 * torch.randn(30, 8, 2, generator=draw, dtype=torch.float64))
    S = transport.sensitivities(jacobian.blocks(model, run))
    fits = profiles.measure(S, model, run, torch.Generator().manual_seed(0))["fits"]
    r = {(f["predictor"], f["gates"]): f["within r"] for f in fits}
    assert r["order 0", "true"] > 0.999
    assert r["order 0", "shuffled"] < 0.7
    assert r["order 0", "foreign"] < 0.7
    assert r["published", "true"] < 0


def test_what_cannot_be_taken_a_logarithm_of_is_left_out_and_counted() -> None:
    draw = torch.Generator().manual_seed(1)
    model = GatedRNN(2, n, "scalar", generator=draw, dtype=torch.float64).requires_grad_(False)
    run = model.run(torch.randn(T, B, 2, generator=draw, dtype=torch.float64))
    S = transport.sensitivities(jacobian.blocks(model, run))
    S[5, 2, 1], S[4, 0, 3] = 0.0, torch.inf
    found = profiles.measure(S, model, run, draw)
    assert found["spread"][0]["left out"] == 2
    assert all(np.isfinite(f["r2"]) for f in found["fits"])


def test_a_gate_of_one_is_refused() -> None:
    model = GatedRNN(2, n, "none").requires_grad_(False)
    with pytest.raises(ValueError, match="without a leak"):
        profiles.sums(model, model.run(torch.randn(T, B, 2)))
