"""Multipliers are those of the gradient itself, and a summed gradient's factor has a sign."""

from __future__ import annotations

import pytest
import torch
from gatelr import adjoint, rates
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments import digits, preconditioners
from networks import Case, relative
from torch import Tensor


def recorded(gate: str, batch: tuple[int, ...] = (6,), T: int = 5) -> tuple:
    """A network without replicas, its run, and a gradient at the last state."""
    model = Case(gate, 4, 3, T, batch, None, True, 1).model().requires_grad_(False)
    u = torch.randn(T, *batch, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    run = model.run(u)
    return model, run, torch.randn(run.x[-1].shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def at_the_end(delta: Tensor, run: Trajectory) -> Tensor:
    every = torch.zeros_like(run.x)
    every[-1] = delta
    return every


@pytest.mark.parametrize("gate", ["constant", "scalar", "multi"])
def test_factors_times_contributions_are_the_order_0_gradient(gate: str) -> None:
    model, run, delta = recorded(gate)
    factor = preconditioners.factors(model, run)
    signal = preconditioners.signals(model, run, delta)
    found = torch.einsum("tbq,tbp->qp", factor * signal, run.x_prev)
    trace = rates.eligibility(model, run)
    assert relative(found, (delta.unsqueeze(-1) * trace).sum(0)) <= 1e-12


def test_factors_of_a_constant_gate_are_powers() -> None:
    model = GatedRNN(2, 4, "constant", alpha=0.5)
    f = preconditioners.factors(model, model.run(torch.ones(3, 6, 2)))
    assert f[:, 0, 0].tolist() == [0.125, 0.25, 0.5]  # lags 2, 1 and 0


def test_without_a_gate_contributions_are_the_whole_gradient() -> None:
    model, run, delta = recorded("none")
    assert (preconditioners.factors(model, run) == 1).all()
    signal = preconditioners.signals(model, run, delta)
    found = torch.einsum("tbq,tbp->qp", signal, run.x_prev)
    assert relative(found, adjoint.gradients(model, run, at_the_end(delta, run))["W_r"]) <= 1e-12


def test_a_gradient_of_another_shape_is_refused() -> None:
    model, run, delta = recorded("multi")
    with pytest.raises(ValueError, match="gradient with respect to the last state"):
        preconditioners.signals(model, run, delta[:2])


@pytest.mark.parametrize("gate", ["none", "multi"])
def test_gate_steps_are_weighted_means_of_factors(gate: str) -> None:
    model, run, delta = recorded(gate)
    factor, signal = preconditioners.factors(model, run), preconditioners.signals(model, run, delta)
    found = preconditioners.gate_steps(factor, signal, run.x_prev)
    credit = signal.unsqueeze(-1) * run.x_prev.unsqueeze(-2)  # written out, (T, B, n, n)
    weight = credit.abs()
    coordinates = (factor.unsqueeze(-1) * weight).sum((0, 1)) / weight.sum((0, 1))
    assert relative(found.coordinates, coordinates) <= 1e-12
    assert relative(found.rows, (factor.unsqueeze(-1) * weight).sum((0, 1, 3)) / weight.sum((0, 1, 3))) <= 1e-12
    assert relative(found.size, credit.sum(0).square().mean(0).sqrt()) <= 1e-12
    assert ((found.coordinates > 0) & (found.coordinates <= 1 + 1e-12)).all()


def test_a_coordinate_without_contributions_is_refused() -> None:
    model, run, delta = recorded("multi", T=1)  # the first step reads the state zero
    factor, signal = preconditioners.factors(model, run), preconditioners.signals(model, run, delta)
    with pytest.raises(ValueError, match="without any contribution"):
        preconditioners.gate_steps(factor, signal, run.x_prev)


@pytest.mark.parametrize("weight", ["W_r", "W_i", "b"])
@pytest.mark.parametrize("replicas", [None, 2])
def test_signed_factors_are_sums_over_pairs_of_steps(weight: str, replicas: int | None) -> None:
    """C8: every pair (t, k) written out, with its rate and without."""
    case = Case("multi", 3, 2, 4, (5,), replicas, True, 1)
    model, (u, x0) = case.model().requires_grad_(False), case.inputs()
    run = model.run(u, x0)
    delta = torch.randn(run.x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    read = {"W_r": run.x_prev, "W_i": run.u, "b": torch.ones_like(run.x[..., :1])}[weight]
    with_rates = without = torch.zeros(())
    for t in range(4):
        for k in range(t + 1):
            left = (1 - run.phi[k] ** 2) * delta[t]
            rate = run.g[k] * (1 - run.g[k + 1 : t + 1]).prod(0)
            with_rates = with_rates + torch.einsum("...bq,...bp->...qp", rate * left, read[k])
            without = without + torch.einsum("...bq,...bp->...qp", left, read[k])
    signed = preconditioners.signed(model, run, delta, weight)
    exact = adjoint.gradients(model, run, delta)[weight].reshape(with_rates.shape)
    assert relative(signed.factor.reshape(with_rates.shape), with_rates / without) <= 1e-10
    assert torch.equal(signed.against.reshape(with_rates.shape), with_rates.sign() == -exact.sign())
    for cosine, other in ((signed.cosine, exact), (signed.unit, without)):
        expected = (with_rates * other).sum((-2, -1)) / (with_rates.norm(dim=(-2, -1)) * other.norm(dim=(-2, -1)))
        assert relative(cosine, expected) <= 1e-12


def test_the_factor_of_a_linear_neuron_is_minus_one_half() -> None:
    """C8, the counter-example: g = 1/2, inputs 1 and -3/4, the loss at the second step; at the first it is g."""
    model = GatedRNN(1, 1, "constant", alpha=0.5, dtype=torch.float64).requires_grad_(False)
    model.W_r.zero_()
    model.W_i.fill_(1e-6)  # tanh is linear here
    run = model.run(torch.tensor([[1.0], [-0.75]], dtype=torch.float64))
    for losses, factor in (([0.0, 1.0], -0.5), ([1.0, 0.0], 0.5)):
        delta = torch.tensor(losses, dtype=torch.float64).unsqueeze(-1)
        assert abs(float(preconditioners.signed(model, run, delta, "W_i").factor) - factor) <= 1e-9


def test_the_survey_counts_signs() -> None:
    readings = digits.readings(("constant", "multi"), n_hidden=4, seeds=2, steps=2, probes=3)
    counted, listed = preconditioners.survey(readings)
    model, run, _, delta = readings["multi"]
    signed = preconditioners.signed(model, run, delta)
    row = counted.loc["multi"]
    assert row.negative == 100 * sum(f < 0 for f in signed.factor.flatten().tolist()) / 32
    assert row.against == 100 * sum(signed.against.flatten().tolist()) / 32
    assert row.largest == max(abs(f) for f in signed.factor.flatten().tolist())
    assert row.true == sum(c > 0 for c in signed.cosine.tolist())
    assert row.unit == sum(c > 0 for c in signed.unit.tolist())
    assert listed.factor[listed.gate == "multi"].tolist() == signed.factor.flatten().tolist()


def test_weights_of_the_gate_have_no_signed_factor() -> None:
    model, run, delta = recorded("multi")
    with pytest.raises(ValueError, match="expected W_r, W_i or b"):
        preconditioners.signed(model, run, at_the_end(delta, run), "W_rg")


def test_a_neuron_that_only_ever_reads_zeros_is_seen_before_its_steps_are_taken() -> None:
    signal, x = torch.zeros(3, 2, 4, dtype=torch.float64), torch.ones(3, 2, 4, dtype=torch.float64)
    signal[0], x[0] = 1.0, 0.0  # the only signal meets the state before the first step
    assert (preconditioners.weights(signal, x) == 0).all()
    with pytest.raises(ValueError, match="16 coordinates without any contribution"):
        preconditioners.gate_steps(signal, signal, x)
