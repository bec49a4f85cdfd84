"""Each arm learns by its own gradient, and imposed rates are those of the network that learns."""

from __future__ import annotations

import pytest
import torch
from gatelr import adjoint, rates, tasks, training
from gatelr.experiments import imposed_rates, protocol
from gatelr.experiments.imposed_rates import ARMS, Imposed
from networks import relative

TASK = tasks.get("adding", steps=7)
SEEDS = (3, 5)
WEIGHTS = ("W_r", "W_i", "W_o", "W_rg", "W_ig")

gates = pytest.mark.parametrize("gate", ["scalar", "multi"])


@pytest.fixture
def data() -> tasks.Batch:
    return TASK.draw(6, training.generators([*SEEDS] * len(ARMS), protocol.TRAINING), torch.float64)


def moved(gate: str) -> Imposed:
    """Networks in float64 of which each arm has gone another way, so that their rates differ."""
    model = imposed_rates.network(TASK, gate, SEEDS, 5).double()
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.3 * torch.randn(weight.shape, generator=draw, dtype=torch.float64)
    return model


def taught(model: Imposed, data: tasks.Batch) -> dict[str, torch.Tensor]:
    model.zero_grad()
    TASK.loss(model(data.u), data.target).sum().backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters()}


def alone(model: Imposed, data: tasks.Batch, r: int) -> dict[str, torch.Tensor]:
    """The gradient of network r by autograd, as if it were trained by itself."""
    one = model.replica(r).requires_grad_()
    TASK.loss(one.run(data.u[:, r]).x[-1] @ one.W_o.mT, data.target[r]).backward()
    return {name: weight.grad for name, weight in one.named_parameters()}


@gates
def test_all_arms_begin_with_the_same_weights_and_compute_the_same(gate: str) -> None:
    model = imposed_rates.network(TASK, gate, SEEDS, 5)
    like = protocol.network(TASK, gate, SEEDS, 5)
    for name, weight in model.named_parameters():
        for arm in weight.chunk(len(ARMS)):
            assert torch.equal(arm, getattr(like, name))
    u = TASK.draw(6, training.generators([*SEEDS] * len(ARMS))).u
    with torch.no_grad():
        torch.testing.assert_close(model(u)[:2], like(u[:, :2]))
    torch.testing.assert_close(model(u), model.run(u).x[-1] @ model.W_o.mT)


@gates
def test_what_learns_has_autograds_gradient_and_what_is_frozen_all_of_it_but_the_gates(
    gate: str, data: tasks.Batch
) -> None:
    model = moved(gate)
    found = taught(model, data)
    for r in range(4):
        for name, expected in alone(model, data, r).items():
            if r >= 2 and name in ("W_rg", "W_ig"):
                assert not found[name][r].any()
            else:
                assert relative(found[name][r], expected) <= 1e-10, (r, name)
    for name in ("W_rg", "W_ig"):
        assert not found[name][2:].any()


@gates
def test_the_rate_of_each_lag_is_that_of_the_network_that_learns(gate: str, data: tasks.Batch) -> None:
    """Each step's part of the gradient, times the rate that it is to have over the rate that it has."""
    model = moved(gate)
    found = taught(model, data)
    for r, learner in ((4, 0), (5, 1), (6, 0), (7, 1)):
        wanted = mean_rates(model, data, learner)
        expected = scaled(model, data, r, wanted)
        if r >= 6:  # the null: the same rates of other lags, and steps as long as with the rates in their places
            order = model.orders[:, learner]
            assert order.sort().values.tolist() == list(range(TASK.steps))
            in_place, elsewhere = expected, scaled(model, data, r, wanted[order])
            expected = elsewhere * in_place.norm() / elsewhere.norm()
        assert relative(torch.cat([found["W_r"][r], found["W_i"][r]], 1), expected) <= 1e-10, r
        assert relative(found["W_o"][r], alone(model, data, r)["W_o"]) <= 1e-10


def mean_rates(model: Imposed, data: tasks.Batch, r: int) -> torch.Tensor:
    """Of network r, the mean over neurons and sequences of what each step's contribution is multiplied by."""
    run = model.replica(r).run(data.u[:, r])
    return rates.shares(run).expand_as(run.x).mean((1, 2))


def scaled(model: Imposed, data: tasks.Batch, r: int, wanted: torch.Tensor) -> torch.Tensor:
    """The gradients of W_r and W_i of network r, order 0 of each lag times the rate that is wanted over its own."""
    one = model.replica(r)
    run = one.run(data.u[:, r])
    last = run.x[-1].clone().requires_grad_()
    TASK.loss(last @ one.W_o.mT, data.target[r]).backward()
    delta = torch.zeros_like(run.x)
    delta[-1] = last.grad
    whole, order_0 = (adjoint.costates(one, run, delta, backward=kind)[1:] for kind in ("full", "order 0"))
    factor = (wanted / mean_rates(model, data, r))[:, None, None]
    left = run.g * (1 - run.phi**2) * (whole - order_0 + factor * order_0)
    return torch.einsum("tbq,tbp->qp", left, torch.cat([run.x_prev, run.u], -1))


def test_the_null_has_an_order_of_its_own_for_each_seed() -> None:
    orders = imposed_rates.permutations((3, 5, 7), 20)
    assert torch.equal(orders, imposed_rates.permutations((3, 5, 7), 20))
    assert len({tuple(order) for order in orders.tolist()}) == 3
    assert torch.equal(orders[1], imposed_rates.permutations((5,), 20)[0])


def test_a_network_that_has_diverged_disturbs_nobody(data: tasks.Batch) -> None:
    model = moved("multi")
    healthy = taught(model, data)
    with torch.no_grad():
        model.W_o[0] = torch.nan
    for name, gradient in taught(model, data).items():
        assert torch.equal(gradient[1::2], healthy[name][1::2]), name


def test_a_gate_without_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="no weights that could be frozen"):
        imposed_rates.network(TASK, "constant", SEEDS, 5)
