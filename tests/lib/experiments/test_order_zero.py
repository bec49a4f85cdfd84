"""What order 0 leaves out, where one knows it: networks that are their own leak, and lags of one step."""

from __future__ import annotations

import pytest
import torch
from gatelr import jacobian, rates
from gatelr.cells import GatedRNN
from gatelr.experiments import order_zero


@pytest.fixture
def network() -> GatedRNN:
    draws = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    return GatedRNN(1, 4, "multi", n_outputs=3, bias=True, replicas=2, generator=draws, dtype=torch.float64)


@pytest.fixture
def u() -> torch.Tensor:
    return torch.randn(20, 2, 5, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def test_rates_are_the_gradient_where_nothing_recurs(network: GatedRNN, u: torch.Tensor) -> None:
    assert network.W_rg is not None
    with torch.no_grad():
        network.W_r.zero_()
        network.W_rg.zero_()
        run = network.run(u)
        terms = jacobian.terms(network, run)
    for error in order_zero.diagonal_errors(run, terms, 3).values():
        assert error.max() <= 1e-12
    compared = order_zero.imitations(network, run, terms, torch.tensor([0, 1, 2, 0, 1]))
    for name in ("order 0", "corrected"):
        error, cosine = compared[name]
        assert error.shape == (2, 5)
        assert error.max() <= 1e-12
        assert cosine.min() >= 1 - 1e-12
    for null in ("another digit", "mean gates", "lag 0 alone"):
        assert compared[null][0].min() > 1e-6


def test_nulls_of_order_0_are_order_0_where_they_have_nothing_to_change(u: torch.Tensor) -> None:
    """A constant gate is its own mean and that of every digit, and a single step has one lag."""
    options = {"n_outputs": 3, "bias": True, "replicas": 2, "dtype": torch.float64}
    network = GatedRNN(1, 4, "constant", alpha=[0.1, 0.2, 0.5, 0.9], **options)  # type: ignore[arg-type]
    target = torch.tensor([0, 1, 2, 0, 1])
    for steps, same in ((20, ("mean gates", "another digit")), (1, ("mean gates", "another digit", "lag 0 alone"))):
        with torch.no_grad():
            run = network.run(u[:steps], torch.ones(2, 5, 4, dtype=torch.float64))
            terms = jacobian.terms(network, run)
        compared = order_zero.imitations(network, run, terms, target)
        for null in same:
            for got, wanted in zip(compared[null], compared["order 0"], strict=True):
                assert torch.allclose(got, wanted, atol=1e-12)


def test_the_correction_is_exact_over_one_step(network: GatedRNN, u: torch.Tensor) -> None:
    with torch.no_grad():
        run = network.run(u)
        errors = order_zero.diagonal_errors(run, jacobian.terms(network, run), 1)
    assert errors["corrected"].max() <= 1e-12
    assert errors["order 0"].min() > 1e-6
    assert errors["placebo"].median() > 1e-6
    assert 0 < errors["off the diagonal"].median() < 1


def test_the_last_step_is_corrected_as_every_window_is(network: GatedRNN, u: torch.Tensor) -> None:
    with torch.no_grad():
        terms = jacobian.terms(network, network.run(u))
    retained = order_zero.corrected_to_last(terms)
    for lag in range(20):
        assert torch.allclose(retained[19 - lag], rates.corrected(terms, lag)[-1], atol=1e-14)


def test_a_budget_is_divided_into_groups_of_lags(network: GatedRNN, u: torch.Tensor) -> None:
    with torch.no_grad():
        run = network.run(u)
    budget = order_zero.budget_by_lag(run, [0, 1, 4, 20])
    assert list(budget.columns) == ["now", "1–3", "4–19", "not given out"]
    assert budget.sum(axis=1).to_numpy() == pytest.approx(1.0)
    assert sorted(budget["now"]) == pytest.approx(sorted(rates.shares(run)[-1, 0].mean(0).tolist()))


def test_gates_dealt_anew_are_the_same_gates(network: GatedRNN, u: torch.Tensor) -> None:
    with torch.no_grad():
        run = network.run(u)
    dealt = order_zero.deal_anew(run, torch.Generator().manual_seed(0))
    assert torch.equal(dealt.g.sort(-1).values, run.g.sort(-1).values)
    assert not torch.equal(dealt.g, run.g)
