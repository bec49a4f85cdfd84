"""Multipliers are those of the gradient itself, comparisons are scipy's, and the shadow is torch's Adam."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gatelr import adjoint, rates, tasks
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments import preconditioners
from networks import Case, relative
from scipy import stats
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


def test_conditions_of_two_constants() -> None:
    model = GatedRNN(1, 2, "constant", alpha=[0.25, 0.5], dtype=torch.float64)
    table = preconditioners.conditions({"two": model.run(torch.zeros(5, 1, dtype=torch.float64))}, range(3))
    by_kind = {of: rows.condition.tolist() for of, rows in table.groupby("of")}
    assert by_kind["transport"] == pytest.approx([1, 1.5, 2.25])
    assert by_kind["preconditioner"] == pytest.approx([2, 4 / 3, 9 / 8])


def test_weights_of_the_gate_have_no_signed_factor() -> None:
    model, run, delta = recorded("multi")
    with pytest.raises(ValueError, match="expected W_r, W_i or b"):
        preconditioners.signed(model, run, at_the_end(delta, run), "W_rg")


def test_the_last_step_knows_what_the_optimiser_remembers() -> None:
    old, new = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 4.0])
    assert torch.allclose(preconditioners.last_step(torch.optim.SGD, old, new), -new)
    assert torch.allclose(preconditioners.last_step(torch.optim.SGD, old, new, momentum=0.5), -(0.5 * old + new))
    assert torch.allclose(preconditioners.last_step(torch.optim.Adam, new, eps=0.0), -new.sign())


def test_the_shadow_has_adams_second_moment_and_moves_nothing() -> None:
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 2, generator=draw).requires_grad_()
    optimiser = torch.optim.SGD([weight], lr=0.1)
    shadow = preconditioners.Shadow(optimiser, weight)
    with pytest.raises(ValueError, match="no gradient yet"):
        shadow.rates()
    moment = torch.zeros(3, 2, dtype=torch.float64)
    alone = weight.detach().clone()
    for step in range(1, 4):
        weight.grad = torch.randn(3, 2, generator=draw)
        optimiser.step()
        alone -= 0.1 * weight.grad
        moment = 0.999 * moment + 0.001 * weight.grad.double() ** 2
        assert relative(shadow.rates(), 1 / ((moment / (1 - 0.999**step)).sqrt() + 1e-8)) <= 1e-12
    assert relative(weight, alone) <= 1e-7
    assert not shadow.twin.any()


def test_structure_is_the_analysis_of_variance() -> None:
    draw = np.random.default_rng(0)
    rows, columns, rest = 2 * draw.normal(size=(6, 1)), 0.5 * draw.normal(size=(1, 6)), 0.05 * draw.normal(size=(6, 6))
    log = rows + columns + rest
    found = preconditioners.structure(torch.tensor(10**log))
    assert found.spread == pytest.approx(log.std())
    assert found.rows == pytest.approx(log.mean(1).var() / log.var())
    left = log - log.mean(1, keepdims=True) - log.mean(0, keepdims=True) + log.mean()
    assert found.rest == pytest.approx(left.var() / log.var())
    assert found.rows + found.columns + found.rest == pytest.approx(1)
    assert found.rows > found.columns > found.rest
    assert preconditioners.structure(torch.tensor([[1.0, 1.0], [100.0, 100.0]], dtype=torch.float64)).rows == 1.0


def test_a_matrix_without_structure_has_the_share_of_rows_that_the_docstring_says() -> None:
    draw = torch.Generator().manual_seed(0)
    shares = [
        preconditioners.structure(torch.randn(8, 8, generator=draw, dtype=torch.float64).exp()).rows for _ in range(400)
    ]
    assert np.mean(shares) == pytest.approx(1 / 9, abs=0.01)


def test_steps_all_alike_have_no_structure() -> None:
    found = preconditioners.structure(torch.full((3, 3), 0.7))
    assert (found.spread, found.even) == (0.0, pytest.approx(1.0))
    assert math.isnan(found.rows)
    one = torch.full((4, 4), 1e-12, dtype=torch.float64)
    one[2, 1] = 1.0
    assert preconditioners.structure(one).even == pytest.approx(1 / 16)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan])
def test_steps_that_are_no_multipliers_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="not positive and finite"):
        preconditioners.structure(torch.tensor([[1.0, bad]]))


def test_agreement_is_scipys_and_its_null_that_of_permutations() -> None:
    draw = np.random.default_rng(1)
    x, y = np.exp(draw.normal(size=(2, 30)))
    found = preconditioners.agreement(torch.tensor(x), torch.tensor(y))
    assert found.rank == pytest.approx(stats.spearmanr(x, y).statistic)
    permuted = [draw.permutation(x) for _ in range(4000)]
    assert np.mean([p @ y for p in permuted]) / np.linalg.norm(x) / np.linalg.norm(y) == pytest.approx(
        found.cosine_null, rel=0.01
    )
    same = preconditioners.agreement(torch.tensor(x), torch.tensor(x))
    assert (same.rank, same.cosine) == (pytest.approx(1.0), pytest.approx(1.0))


def test_agreement_with_what_is_everywhere_the_same_is_not_a_number() -> None:
    ones = torch.ones(5, dtype=torch.float64)
    found = preconditioners.agreement(ones, torch.arange(1.0, 6.0))
    assert math.isnan(found.rank)
    assert found.cosine == pytest.approx(found.cosine_null)


def test_steps_of_other_places_are_refused(as_installed: None) -> None:
    with pytest.raises(ValueError, match="same places"):
        preconditioners.agreement(torch.ones(5), torch.ones(3))


@pytest.mark.parametrize(("options", "expected"), [({}, 0.0), ({"momentum": 0.9}, None)])
def test_what_an_optimiser_remembers(options: dict, expected: float | None) -> None:
    model = Case("multi", 4, 3, 5, (6,), 2, False, 1).model()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, **options)
    u, _ = Case("multi", 4, 3, 5, (6,), 2, False, 1).inputs()

    def loss(model: torch.nn.Module) -> Tensor:
        return model(u).square().mean((-2, -1))

    for _ in range(3):
        optimiser.zero_grad()
        loss(model).sum().backward()
        optimiser.step()
    before = [weight.detach().clone() for weight in model.parameters()]
    found = preconditioners.remembered(model, optimiser, loss)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    if expected is None:
        buffer = optimiser.state[model.W_r]["momentum_buffer"].flatten(1).double()
        gradient = torch.autograd.grad(loss(model).sum(), model.W_r)[0].flatten(1).double()
        old, new = 0.9 * buffer.norm(dim=1), gradient.norm(dim=1)
        assert relative(found, old / (old + new)) <= 1e-9
    else:
        assert (found == expected).all()


def test_a_fixed_gate_is_fixed_momentum_and_a_moving_one_is_not() -> None:
    T, B = 30, 20
    for gate, exact in (("constant", True), ("multi", False)):
        task = tasks.get("adding", steps=T)
        model = Case(gate, 4, task.n_inputs, T, (B,), None, False, 1).model().requires_grad_(False)
        if gate == "constant":
            model.alpha = (0.37,)
        else:
            model.W_ig.mul_(10)
        run = model.run(task.draw(B, torch.Generator().manual_seed(0), torch.float64).u)
        found = preconditioners.fixed_momentum(run, torch.Generator().manual_seed(0))
        if exact:
            assert found.fixed == pytest.approx(1, abs=1e-12)
            assert found.shuffled == pytest.approx(1, abs=1e-12)
            assert found.beta.tolist() == pytest.approx([0.63] * 4)
        else:
            assert found.fixed < 0.98
            assert found.shuffled < found.fixed
            assert found.last < found.fixed
    with pytest.raises(ValueError, match="at least 4 sequences"):
        preconditioners.fixed_momentum(Trajectory(*(v[:, :3] for v in run)), torch.Generator())


def test_steps_that_underflow_when_squared_still_agree() -> None:
    a = torch.tensor([1.0, 2.0, 9.0], dtype=torch.float64)
    found = preconditioners.agreement(a * 1e-200, a)
    assert found.rank == pytest.approx(1.0)
    assert found.cosine == pytest.approx(1.0)
    assert np.isnan(preconditioners.agreement(0 * a, a)).all()


def test_a_neuron_that_only_ever_reads_zeros_is_seen_before_its_steps_are_taken() -> None:
    signal, x = torch.zeros(3, 2, 4, dtype=torch.float64), torch.ones(3, 2, 4, dtype=torch.float64)
    signal[0], x[0] = 1.0, 0.0  # the only signal meets the state before the first step
    assert (preconditioners.weights(signal, x) == 0).all()
    with pytest.raises(ValueError, match="16 coordinates without any contribution"):
        preconditioners.gate_steps(signal, signal, x)
