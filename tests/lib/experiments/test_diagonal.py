"""C15 where the recurrence is switched on: what must be exact without it, and how it departs."""

import numpy as np
import pandas as pd
import pytest
import torch
from gatelr import expansion, jacobian, rates, transport
from gatelr.cells import GatedRNN
from gatelr.experiments import diagonal
from gatelr.experiments.digits import for_each_seed
from networks import relative


@pytest.fixture(scope="module")
def selective() -> diagonal.Selective:
    trained = diagonal.train(6, seeds=2, steps=3)
    return trained._replace(model=trained.model.double())


def test_the_recurrence_stays_off_in_training_and_comes_back_as_drawn(selective: diagonal.Selective) -> None:
    model = selective.model
    assert model.W_rg is not None
    assert not model.W_r.any()
    assert not model.W_rg.any()
    assert selective.u.shape == (64, 500, 1)
    diagonal.recur(selective, 1.0, 0.0)
    first = GatedRNN(1, 6, "multi", n_outputs=10, bias=True, generator=torch.Generator().manual_seed(1))
    assert torch.equal(model.W_r[1].float(), first.W_r)
    assert not model.W_rg.any()
    diagonal.recur(selective, 0.0, 0.0)


def test_errors_vanish_without_recurrence_and_grow_with_its_order(selective: diagonal.Selective) -> None:
    u, target = for_each_seed(selective.u[:, :4].double(), 2), selective.target[:4]
    errors = diagonal.switched_on(selective, u, target, [0.0, 1e-3, 1e-2])
    at = errors.groupby(["recurrence", "signal", "scale"])["error"].median()
    assert errors[(errors.scale == 0) & (errors.signal != "shuffled")].error.max() <= 1e-12
    assert errors[errors.signal == "shuffled"].error.min() > 1e-3
    for part in diagonal.PARTS:
        assert np.log10(at[part, "order 0", 1e-2] / at[part, "order 0", 1e-3]) == pytest.approx(1, abs=0.05)
    assert np.log10(at["both", "order 1", 1e-2] / at["both", "order 1", 1e-3]) == pytest.approx(2, abs=0.05)
    assert not selective.model.W_r.any()


def test_reach_is_read_between_two_scales_on_logarithmic_axes() -> None:
    lines = {"order 0": [0.01, 0.04, 0.4], "shuffled": [0.3, 0.3, 1.3], "order 1": [0.001, 0.01, 0.05]}
    errors = pd.DataFrame(
        [
            {"recurrence": "both", "scale": scale, "signal": signal, "seed": 0, "error": error}
            for signal, line in lines.items()
            for scale, error in zip([0.0, 0.1, 1.0, 10.0], [0.0, *line], strict=True)
        ]
    )
    table = diagonal.reach(errors).set_index("signal")
    assert list(table.index) == ["order 0", "order 1", "shuffled"]
    assert list(table["10 % wrong at"]) == ["2.5", "beyond 10", "every scale"]
    assert table.loc["shuffled", "100 % wrong at"] == "6.6"
    assert table.loc["order 0", "error at scale 1"] == "0.04"


def test_order_one_is_the_transposed_expansion(selective: diagonal.Selective) -> None:
    """C3: at every step g (M⁽⁰⁾ + M⁽¹⁾)ᵀ δ_T."""
    diagonal.recur(selective, 1.0, 1.0)
    with torch.no_grad():
        run = selective.model.run(for_each_seed(selective.u[:8, :3].double(), 2))
        A, B = expansion.split(jacobian.terms(selective.model, run), "leak")
    delta = torch.randn(run.x[-1].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours = diagonal.order_one(selective.model, run, delta)
    for k in range(8):
        M = expansion.orders(A[k + 1 :], B[k + 1 :], 1).sum(0) if k < 7 else torch.eye(6, dtype=torch.float64)
        assert relative(ours[k], run.g[k] * (M.mT @ delta.unsqueeze(-1)).squeeze(-1)) <= 1e-12
    diagonal.recur(selective, 0.0, 0.0)


def test_the_jacobian_of_a_stack_is_autograds() -> None:
    """C15: A + B, with A diagonal and B strictly below the blocks of the diagonal."""
    draw = torch.Generator().manual_seed(4)
    stack = diagonal.layers(6, 3, draw)
    u = torch.randn(12, 6, generator=draw, dtype=torch.float64)

    def step(states: torch.Tensor, u_t: torch.Tensor) -> torch.Tensor:
        new = []
        for layer, x in zip(stack, states.split(6), strict=True):
            u_t = layer.run(u_t[None], x).x[0]
            new.append(u_t)
        return torch.cat(new)

    A, B = diagonal.stacked(stack, u)
    x = torch.zeros(18, dtype=torch.float64)
    for A_t, B_t, u_t in zip(A, B, u, strict=True):
        assert relative(A_t + B_t, torch.func.jacrev(step)(x, u_t)) <= 1e-12
        x = step(x, u_t)
    assert torch.equal(A, torch.diag_embed(A.diagonal(dim1=-2, dim2=-1)))
    for start in (0, 6, 12):
        assert not B[:, start : start + 6, start:].any()


def test_a_diagonal_recurrence_keeps_products_diagonal_and_needs_all_orders(selective: diagonal.Selective) -> None:
    """C3: no entry off the diagonal, not one bit; all orders together are the product."""
    model, lag = selective.model, 16
    with torch.no_grad():
        model.W_r.copy_(torch.diag_embed(selective.drawn[0].diagonal(dim1=-2, dim2=-1)))
        run = model.run(for_each_seed(selective.u[:, :4].double(), 2))
        products = transport.products(jacobian.blocks(model, run), lag)
        A, B = (part[-lag:] for part in expansion.split(jacobian.terms(model, run), "leak"))
    diagonal.recur(selective, 0.0, 0.0)
    assert torch.equal(products, torch.diag_embed(products.diagonal(dim1=-2, dim2=-1)))
    assert relative(expansion.orders(A, B, lag).sum(0), products[-1]) <= 1e-12


def test_squares_of_rates_that_turn_have_a_budget() -> None:
    """C9: with γ² = 1 - |λ|² they add to 1 - ∏|λ|², whatever λ is at each step."""
    draw = torch.Generator().manual_seed(2)
    modulus, phase = torch.rand(2, 64, 100, generator=draw, dtype=torch.float64)
    lam = torch.polar(modulus**0.1, 2 * torch.pi * phase)
    gamma = (1 - lam.abs() ** 2).sqrt()
    later = torch.cat([torch.ones_like(lam[:1]), lam.flip(0)[:-1].cumprod(0)]).flip(0)
    spent = ((gamma * later).abs() ** 2).sum(0)
    assert (spent - (1 - (lam.abs() ** 2).prod(0))).abs().max() <= 1e-12


def test_without_recurrence_rates_and_sweep_give_autograds_gradient(selective: diagonal.Selective) -> None:
    """C15: every weight, for a loss that reads every state; with a recurrence the rates are off."""
    u = for_each_seed(selective.u[:12, :3].double(), 2)
    delta = torch.randn(12, 2, 3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gaps = diagonal.compare_gradients(selective.model, u, delta)
    assert {"W_r", "W_i", "W_rg", "W_ig", "b", "b_g"} == set(gaps.index)
    assert gaps.to_numpy().max() <= 1e-12
    assert not any(weight.requires_grad for weight in selective.model.parameters())
    diagonal.recur(selective, 1.0, 1.0)
    off = diagonal.compare_gradients(selective.model, u, delta)
    diagonal.recur(selective, 0.0, 0.0)
    assert off["effective rates"].min() > 1e-6
    assert off["adjoint sweep"].max() <= 1e-12


def test_shares_stand_beside_a_constant_gate_of_the_same_mean(selective: diagonal.Selective) -> None:
    with torch.no_grad():
        run = selective.model.run(for_each_seed(selective.u[:8, :2].double(), 2))
    table = diagonal.divided(run, {"slow": 2, "fast": 0}).set_index(["series", "step"])
    assert len(table) == 16
    g = run.g[:, 0, 0, 2]
    assert abs(table.rate["slow", 7] - float(g[6] * (1 - g[7]))) <= 1e-15
    assert abs(table.constant["slow", 7] - float(g.mean() * (1 - g.mean()))) <= 1e-15


def test_an_s6_step_is_the_gated_network_and_its_budget_is_kept(selective: diagonal.Selective) -> None:
    """C15 and C9: zero-order hold spends 1 - P, and Euler's rule more."""
    with torch.no_grad():
        run = selective.model.run(for_each_seed(selective.u[:, :2].double(), 2))
    assert relative(diagonal.s6_states(run), run.x) <= 1e-12
    spent = diagonal.spent(-torch.log1p(-run.g))
    assert relative(spent.budget, 1 - rates.retention(run, len(run.x))[0]) <= 1e-12
    assert relative(spent.hold, spent.budget) <= 1e-12
    assert (spent.euler > spent.budget).all()


def test_one_clock_is_read_by_many_states() -> None:
    clock = torch.tensor([0.5, 0.1], dtype=torch.float64)
    table = diagonal.clocks(clock, [1, 2], np.array([-1.0, 0.0])).set_index(["panel", "nu", "x"]).y
    assert table["gate", 1, 0.0] == pytest.approx(0.5)
    assert table["gate", 2, 0.0] == pytest.approx(0.75)
    assert table["retention", 2, 1] == pytest.approx(np.exp(-0.2))
    assert table["retention", 1, 2] == pytest.approx(np.exp(-0.6))


def test_a_stack_needs_an_order_less_than_it_has_layers() -> None:
    """C15: exactly zero from order L - 1 on, and not before."""
    draw = torch.Generator().manual_seed(4)
    stack = diagonal.layers(4, 3, draw)
    table = diagonal.left_out(*diagonal.stacked(stack, torch.randn(8, 4, generator=draw, dtype=torch.float64)), 4)
    assert table.shape == (3, 3)
    for L in (1, 2, 3):
        assert (table.loc[L, L - 1 :] == 0).all()
        assert (table.loc[L, : L - 2] > 1e-6).all()
