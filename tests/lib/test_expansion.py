"""C3-C5 in numbers: the sum of all orders is the product, the remainder is exact, the bound is a bound."""

import itertools
import re

import pytest
import torch
from gatelr import expansion, jacobian
from gatelr.cells import GatedRNN, Trajectory
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Case, relative


def factors(L: int, batch: tuple[int, ...], n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    A, B = (torch.randn(L, *batch, n, n, dtype=torch.float64, generator=draw) for _ in range(2))
    return A, B


def product(J: torch.Tensor) -> torch.Tensor:
    M = torch.eye(J.shape[-1], dtype=J.dtype).expand(J.shape[1:])
    for J_j in J:
        M = J_j @ M
    return M


random_factors = st.builds(
    factors,
    st.integers(1, 5),
    st.lists(st.integers(1, 2), max_size=2).map(tuple),
    st.integers(1, 4),
    st.integers(0, 2**31),
)


@given(random_factors)
def test_each_order_is_the_sum_over_all_words(AB: tuple) -> None:
    """Order r by its definition: every way of choosing B in r of L places."""
    A, B = AB
    L = len(A)
    M = expansion.orders(A, B, L)
    for r in range(L + 1):
        words = itertools.combinations(range(L), r)
        expected = sum(product(torch.stack([B[j] if j in word else A[j] for j in range(L)])) for word in words)
        assert relative(M[r], expected) <= 1e-12


@given(random_factors, st.integers(0, 3))
def test_one_sweep_gives_the_orders_of_every_lag(AB: tuple, order: int) -> None:
    A, B = AB
    lags = sorted({1, len(A)})
    swept = dict(expansion.orders_at(A, B, order, lags))
    assert list(swept) == lags
    assert all(torch.equal(M, expansion.orders(A[:lag], B[:lag], order)) for lag, M in swept.items())


@given(random_factors)
def test_a_diagonal_factor_may_be_its_diagonal(AB: tuple) -> None:
    diagonal, B = AB[0].diagonal(dim1=-2, dim2=-1), AB[1]
    ((_, M),) = expansion.orders_at(diagonal, B, 2, [len(B)])
    assert relative(M, expansion.orders(torch.diag_embed(diagonal), B, 2)) <= 1e-13


@given(random_factors, st.integers(0, 5), st.floats(-2, 2))
def test_orders_and_remainder_make_the_product(AB: tuple, order: int, eps: float) -> None:
    A, B = AB
    M = expansion.orders(A, B, order)
    series = sum(eps**r * M[r] for r in range(order + 1))
    whole = product(A + eps * B)
    scale = sum(abs(eps) ** r * M[r].abs().max() for r in range(order + 1)) + whole.abs().max()
    assert (series + expansion.remainder(A, B, order, eps) - whole).abs().max() <= 1e-12 * scale


@given(random_factors, st.integers(0, 3))
def test_the_remainder_is_exact_where_subtraction_drowns(AB: tuple, order: int) -> None:
    """At ε = 1e-12 the remainder is ε^(K+1) M^(K+1) to twelve digits; the difference of products is rounding."""
    A, B = AB
    eps = 1e-12
    leading = expansion.orders(A, B, order + 1)[order + 1]
    R = expansion.remainder(A, B, order, eps) / eps ** (order + 1)
    if order >= len(A):
        assert not R.any(), "a word of L letters has no more than L letters B"
    else:
        assert relative(R, leading) <= 1e-9


@settings(max_examples=250)
@given(random_factors, st.integers(0, 3), st.floats(1e-12, 10))
def test_the_bound_is_never_violated(AB: tuple, order: int, eps: float) -> None:
    A, B = AB
    norm = torch.linalg.matrix_norm(expansion.remainder(A, B, order, eps), 2)
    bound = expansion.remainder_bound(A, B, order, eps)
    assert bound.shape == A.shape[1:-2]
    assert (norm <= bound * (1 + 1e-12)).all()


def test_the_bound_is_attained_by_scalars() -> None:
    """For positive numbers every inequality is an equality: the bound is no larger than it must be."""
    A, B = (torch.rand(6, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    for order in range(4):
        exact = expansion.remainder(A, B, order, 0.7)[0, 0]
        assert float(expansion.remainder_bound(A, B, order, 0.7)) == pytest.approx(float(exact), rel=1e-12)


@torch.no_grad()
def trajectory(gate: str, alpha: float | None = None) -> tuple[jacobian.Terms, Trajectory]:
    """The terms of three networks of nine neurons over twelve steps, two sequences each, and their run."""
    draws = [torch.Generator().manual_seed(seed) for seed in range(3)]
    model = GatedRNN(3, 9, gate, alpha=alpha, bias=True, replicas=3, generator=draws, dtype=torch.float64)
    run = model.run(torch.randn(12, 3, 2, 3, generator=draws[0], dtype=torch.float64))
    return jacobian.terms(model, run), run


@pytest.mark.parametrize("kind", ["none", "constant", "scalar", "multi"])
def test_both_splittings_add_up_and_are_what_they_say(kind: str) -> None:
    case = Case(kind, n=4, m=2, T=5, batch=(2,), replicas=None, bias=False, seed=3)
    model, (u, x0) = case.model(), case.inputs()
    with torch.no_grad():
        run = model.run(u, x0)
        terms, J = jacobian.terms(model, run), jacobian.blocks(model, run)
    for splitting in expansion.SPLITTINGS:
        A, B = expansion.split(terms, splitting)
        assert relative(A + B, J) <= 1e-14
        assert relative(expansion.orders(A, B, 5).sum(0), product(J)) <= 1e-12
    assert torch.equal(expansion.split(terms, "leak")[0], terms.leak)
    assert torch.equal(expansion.split(terms, "gate")[1], terms.gate)
    if kind == "none":  # a vanilla network keeps nothing: order 0 of the leak splitting is zero
        A, B = expansion.split(terms, "leak")
        assert not expansion.orders(A, B, 0).any()


@pytest.mark.parametrize("lag", [1, 12])
@pytest.mark.parametrize("around", ["leak", "gate", "recurrent"])
def test_all_orders_add_up_around_any_part(around: str, lag: int) -> None:
    terms, _ = trajectory("multi")
    kept = {"leak": terms.leak, "gate": terms.leak + terms.recurrent, "recurrent": terms.recurrent}[around][:lag]
    J = sum(terms)[:lag]
    assert relative(expansion.orders(kept, J - kept, lag).sum(0), product(J)) <= 1e-12


def test_special_cases_of_the_leak_splitting() -> None:
    """One constant: every crossing weighs the same; one scalar gate: both waits run on one clock."""
    alpha = 0.3
    terms, run = trajectory("constant", alpha=alpha)
    steps = len(run.x)
    swept = expansion.orders(*expansion.split(terms, "leak"), 1)[1]
    assert relative(swept, (1 - alpha) ** (steps - 1) * terms.recurrent.sum(0)) <= 1e-12
    terms, run = trajectory("scalar")
    kept = 1 - run.g.unsqueeze(-1)
    swept = expansion.orders(*expansion.split(terms, "leak"), 1)[1]
    assert relative(swept, kept.prod(0) * ((terms.recurrent + terms.gate) / kept).sum(0)) <= 1e-12


def test_rank_of_order_one_in_the_gate_splitting() -> None:
    """At most one for each step that a scalar gate crosses; more for a gate a neuron."""
    lag, beyond = 3, {}
    for gate in ("scalar", "multi"):
        A, B = (part[:lag] for part in expansion.split(trajectory(gate)[0], "gate"))
        values = torch.linalg.svdvals(expansion.orders(A, B, 1)[1])
        beyond[gate] = float((values[..., lag] / values[..., 0]).max())
    assert beyond["scalar"] <= 1e-12
    assert beyond["multi"] > 1e-6


def test_commuting_factors() -> None:
    """Diagonal factors: order 1 is the product of all A times the sum of B / A."""
    draw = torch.Generator().manual_seed(0)
    A, B = (torch.rand(5, 4, generator=draw, dtype=torch.float64) + 0.1 for _ in "AB")
    swept = expansion.orders(torch.diag_embed(A), torch.diag_embed(B), 1)[1]
    assert relative(swept, torch.diag_embed(A.prod(0) * (B / A).sum(0))) <= 1e-12


@pytest.mark.usefixtures("as_installed")
def test_bad_input_is_refused() -> None:
    A, B = factors(3, (), 2, 0)
    for call, sentence in (
        (lambda: expansion.orders(A, B, -1), "got order=-1, expected at least 0"),
        (lambda: next(expansion.orders_at(A, B, 1, [4])), "got lags [4], expected at least one, each from 1 to the 3"),
        (lambda: expansion.orders(A, B[:2], 1), "got factors A of shape (3, 2, 2) and B of shape (2, 2, 2)"),
        (lambda: expansion.remainder(A[..., :1], B[..., :1], 1, 1.0), "expected the same shape (L, *batch, n, n)"),
        (
            lambda: expansion.remainder_bound(A, B.float(), 1, 1.0),
            "got A in torch.float64 on cpu and B in torch.float32",
        ),
        (
            lambda: expansion.split(jacobian.Terms(A, A, A), "both"),
            "got splitting 'both', expected one of 'leak', 'gate'",
        ),
    ):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            call()
