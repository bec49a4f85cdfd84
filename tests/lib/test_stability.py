"""Lyapunov exponents against determinants, eigenvalues and factors with known ones; edges against eigenvalues."""

import math
import re

import pytest
import torch
from gatelr import jacobian, stability
from gatelr.cells import GatedRNN
from hypothesis import given
from hypothesis import strategies as st


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=draw(seed), dtype=dtype)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 1000))
def test_all_exponents_sum_to_the_mean_log_determinant(T: int, n: int, seed: int) -> None:
    J = gaussian(T, 2, n, n, seed=seed) / math.sqrt(n)
    sums = stability.lyapunov(J).sum(-1)
    torch.testing.assert_close(sums, torch.linalg.slogdet(J).logabsdet.mean(0), atol=1e-8, rtol=0)


def test_the_sum_holds_on_the_jacobians_of_every_gate() -> None:
    for gate, alpha in (("constant", 0.1), ("scalar", None), ("multi", None)):
        model = GatedRNN(3, 16, gate, alpha=alpha, generator=draw(1), dtype=torch.float64)
        J = jacobian.blocks(model, model.run(gaussian(200, 4, 3)))
        sums = stability.lyapunov(J).sum(-1)
        torch.testing.assert_close(sums, torch.linalg.slogdet(J).logabsdet.mean(0), atol=1e-8, rtol=0)


def test_diagonal_factors_give_their_mean_logs_exactly() -> None:
    entries = gaussian(30, 3, 7)
    expected = entries.abs().log().mean(0).sort(-1, descending=True).values
    exponents = stability.lyapunov(torch.diag_embed(entries))
    torch.testing.assert_close(exponents, expected, atol=1e-8, rtol=0)
    torch.testing.assert_close(stability.lyapunov(torch.diag_embed(entries), 2), expected[:, :2], atol=1e-8, rtol=0)


def test_scaled_orthogonal_factors_give_the_mean_log_of_their_scale_exactly() -> None:
    scales = gaussian(25, 2).abs() + 0.1
    J = scales[..., None, None] * torch.linalg.qr(gaussian(25, 2, 6, 6)).Q
    expected = scales.log().mean(0).unsqueeze(-1).expand(2, 6)
    torch.testing.assert_close(stability.lyapunov(J), expected, atol=1e-8, rtol=0)


def test_for_a_constant_jacobian_the_error_falls_as_one_over_T() -> None:
    basis = torch.eye(5, dtype=torch.float64) + 0.3 * gaussian(5, 5, seed=3)
    J = basis @ torch.diag(torch.tensor([2.0, -1.2, 0.8, 0.4, 0.1], dtype=torch.float64)) @ basis.inverse()
    expected = torch.linalg.eigvals(J).abs().log().sort(descending=True).values
    lengths = torch.tensor([100.0, 200, 400, 800, 1600], dtype=torch.float64)
    errors = torch.stack([(stability.lyapunov(J.expand(int(T), 5, 5)) - expected).abs().max() for T in lengths])
    design = torch.stack([lengths.log(), torch.ones(5, dtype=torch.float64)], -1)
    slope = torch.linalg.lstsq(design, errors.log().unsqueeze(-1)).solution[0]
    assert float(slope) == pytest.approx(-1, abs=0.01)


def test_a_block_finds_the_largest_exponents() -> None:
    J = gaussian(2000, 12, 12) / math.sqrt(12)
    whole, block = stability.lyapunov(J), stability.lyapunov(J, start=gaussian(12, 3, seed=5))
    assert block.shape == (3,)
    torch.testing.assert_close(block, whole[:3], atol=5e-3, rtol=0)
    torch.testing.assert_close(stability.lyapunov(J, 2), whole[:2], atol=0, rtol=0)


def test_a_singular_factor_gives_minus_infinity() -> None:
    J = gaussian(20, 4, 4)
    J[7, 2] = J[7, 0] + J[7, 1]  # rank 3, to rounding
    exponents = stability.lyapunov(J)
    assert exponents.isfinite().tolist() == [True, True, True, False]
    assert float(exponents[-1]) == -math.inf
    zero = stability.lyapunov(torch.zeros(3, 2, 2))
    assert (zero == -torch.inf).all()


def test_a_direction_that_shrinks_fast_is_not_taken_for_a_singular_one() -> None:
    J = torch.diag(torch.tensor([1.0, 1e-30], dtype=torch.float64)).expand(10, 2, 2)
    torch.testing.assert_close(stability.lyapunov(J)[1].exp(), J[0, 1, 1])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_the_dtype_is_kept(dtype: torch.dtype, tolerance: float) -> None:
    J = gaussian(50, 3, 8, 8) / math.sqrt(8)
    exponents = stability.lyapunov(J.to(dtype))
    assert exponents.dtype == dtype
    torch.testing.assert_close(exponents.double(), stability.lyapunov(J), atol=tolerance, rtol=0)
    assert not stability.lyapunov(J.requires_grad_()).requires_grad


@pytest.mark.parametrize(
    ("J", "options", "error", "message"),
    [
        (torch.zeros(3, 2, 4), {}, ValueError, "got Jacobians of shape (3, 2, 4), expected (T, *batch, n, n)"),
        (torch.zeros(0, 2, 2), {}, ValueError, "got Jacobians of shape (0, 2, 2), expected (T, *batch, n, n)"),
        (torch.full((3, 2, 2), torch.nan), {}, ValueError, "got NaN or infinity in the Jacobians, expected finite"),
        (torch.zeros(3, 2, 2, dtype=torch.int64), {}, TypeError, "got Jacobians in torch.int64, expected float32 or"),
        (torch.zeros(3, 2, 2), {"k": 3}, ValueError, "got k=3, expected 1 to the 2 exponents that are followed"),
        (torch.zeros(3, 2, 2), {"start": torch.ones(3, 1)}, ValueError, "got a start of shape (3, 1), expected (2,)"),
    ],
)
@pytest.mark.usefixtures("as_installed")
def test_bad_input_is_refused(J: torch.Tensor, options: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        stability.lyapunov(J, **options)


def test_order_0_exponents_are_those_of_the_leak() -> None:
    model = GatedRNN(2, 5, "multi", generator=draw(2), dtype=torch.float64)
    trajectory = model.run(gaussian(40, 3, 2))
    leak = jacobian.terms(model, trajectory).leak
    torch.testing.assert_close(stability.retention_exponents(trajectory), stability.lyapunov(leak), atol=1e-12, rtol=0)
    scalar = GatedRNN(2, 5, "scalar", generator=draw(2), dtype=torch.float64)
    assert stability.retention_exponents(scalar.run(gaussian(40, 3, 2))).shape == (3, 5)


def test_the_rightmost_eigenvalue_of_independent_weights() -> None:
    n = 800
    leak = torch.linspace(0.2, 0.9, n, dtype=torch.float64)
    strength = torch.linspace(0.1, 0.6, n, dtype=torch.float64).square()
    J = torch.diag(leak) + strength.sqrt().unsqueeze(-1) * gaussian(n, n) / math.sqrt(n)
    z = stability.rightmost(leak, strength)
    assert float((strength / (z - leak).square()).mean()) == pytest.approx(1, abs=1e-9)
    assert float(torch.linalg.eigvals(J).real.max()) == pytest.approx(float(z), rel=0.02)
    assert float(stability.rightmost(leak, 0 * strength)) == pytest.approx(0.9, abs=1e-12)


def test_the_outliers_of_a_rank_one_term_solve_its_equation() -> None:
    rest, column, row = gaussian(9, 9) / 3, gaussian(9, seed=1), gaussian(9, seed=2)
    z = torch.linalg.eigvals(rest + torch.outer(column, row))
    assert float(stability.outlier_condition(z, rest, column, row).abs().max()) < 1e-8
    assert float(stability.outlier_condition(z + 0.1, rest, column, row).abs().min()) > 1e-4


def test_one_place_for_one_neuron_keeps_its_axis() -> None:
    """Of one equation in one unknown the solver could take the column for a batch of numbers."""
    z, rest, one = torch.tensor([2.0 + 1.0j]), torch.tensor([[0.5]]), torch.ones(1)
    found = stability.outlier_condition(z, rest, one, one)
    torch.testing.assert_close(found, 1 - 1 / (z - 0.5))
