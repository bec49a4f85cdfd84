"""The identities hold to rounding, and what rests on them parts; each side is what plain library calls give."""

from __future__ import annotations

import pytest
import torch
from gatelr import adjoint, rates, training
from gatelr.experiments import identities, protocol
from networks import relative

SEEDS, STEPS = 2, 12


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    data = training.generators(range(1, SEEDS + 1), protocol.TRAINING)
    return identities.TASK.draw(5, data, torch.float64)


def test_contributions_of_all_lags_with_the_gate_are_order_0() -> None:
    model, (u, target) = identities.network("constant", SEEDS, "cpu", alpha=0.3), batch()
    gradients = identities.contributions(model, u, target, gated=True)
    run = model.run(u)
    delta = torch.zeros_like(run.x)
    delta[-1] = 2 * (run.x[-1] @ model.W_o.mT - target) @ model.W_o / 5
    expected = adjoint.gradients(model, run, delta, backward="order 0")
    for name in identities.LEARNED:
        assert relative(gradients[name], expected[name]) <= 1e-12, name
    by_lag = [identities.contributions(model, u, target, lags=(lag,), gated=True)["W_r"] for lag in range(12)]
    assert relative(torch.stack(by_lag).sum(0), gradients["W_r"]) <= 1e-12
    bare = identities.contributions(model, u, target, lags=(4,), gated=False)["W_i"]
    assert (
        relative(bare * 0.3 * 0.7**4, identities.contributions(model, u, target, lags=(4,), gated=True)["W_i"]) <= 1e-12
    )


def test_the_whole_gradient_is_autograds() -> None:
    model, (u, target) = identities.network("none", SEEDS, "cpu"), batch()
    gradients = identities.whole(model, u, target)
    loss = identities.TASK.loss(model.requires_grad_()(u), target).sum()
    expected = torch.autograd.grad(loss, [model.W_r, model.W_i])
    for name, gradient in zip(identities.LEARNED, expected, strict=True):
        assert relative(gradients[name], gradient) <= 1e-12, name


def test_only_the_identity_of_the_ladder_holds() -> None:
    ladder, deviation = identities.ladder(SEEDS, STEPS)
    assert deviation <= 1e-12
    assert list(ladder.columns) == ["rung", "seed", "step", "apart"]
    assert sorted(ladder.step.unique()) == [1, 3, 10, STEPS]
    last = ladder[ladder.step == STEPS].groupby("rung", sort=False).apart
    assert list(last.max().index) == list(identities.RUNGS)
    assert last.max()["one lag, order 0"] <= 1e-12
    assert (last.min()[1:] > 1e-3).all()


def test_the_best_factor_of_a_gate_that_stands_still_at_one_lag_is_the_predicted_one() -> None:
    rung = identities.RUNGS["one lag, order 0"]
    fitted = identities.climb(rung, SEEDS, STEPS, alpha=lambda step: 0.3)
    predicted = identities.climb(rung, SEEDS, STEPS, alpha=lambda step: 0.3, lag=identities.LAG)
    for one, other in zip(fitted, predicted, strict=True):
        assert relative(one, other) <= 1e-12


def test_reading_by_the_gate_follows_the_eligibility_trace() -> None:
    """With an error of zero but at the last step, the weights move by that step's trace alone."""
    u, target = identities.streams(SEEDS, STEPS)
    model = identities.swinging(2.0, SEEDS)
    before, run = model.W_r.clone(), model.run(u)
    delta = target[0]
    after, gates = identities.read(model, u, lambda t, x: delta if t == STEPS - 1 else torch.zeros_like(x))
    step = identities.ONLINE_RATE * delta.unsqueeze(-1) * rates.eligibility(model, run)
    assert relative(before - after, step) <= 1e-9
    assert relative(gates, run.g[..., 0]) <= 1e-12


def test_streams_are_white_or_forget_slowly() -> None:
    _, white = identities.streams(SEEDS, 400)
    _, slow = identities.streams(SEEDS, 400, 32.0)
    neighbours = [float((x[1:] * x[:-1]).mean() / x.square().mean()) for x in (white, slow)]
    assert abs(neighbours[0]) < 0.1
    assert neighbours[1] == pytest.approx(torch.exp(torch.tensor(-1 / 32)).item(), abs=0.1)


def test_momentum_equals_the_trace_until_errors_or_gates_move() -> None:
    table, deviations = identities.momentum(SEEDS, 40)
    assert set(deviations) == {"fixed", "moving"}
    assert max(deviations.values()) <= 1e-12
    assert len(table) == SEEDS * (len(identities.TIMES) + len(identities.SWINGS))
    assert not table.duplicated(["cause", "place", "seed"]).any()
    assert (table.apart > 1e-6).all()
    swings = table[table.cause == "gates that move"].groupby("place").knob.mean()
    assert swings.is_monotonic_increasing
