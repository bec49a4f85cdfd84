"""The largest singular value against LAPACK, on matrices that are easy and on matrices made to deceive."""

import pytest
import torch
from gatelr import jacobian, lanczos, transport
from gatelr.cells import GATES, GatedRNN
from torch import Tensor


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def worst(M: Tensor) -> float:
    exact = torch.linalg.svdvals(M.double())[..., 0]
    found = lanczos.spectral_norms(M)[0].double()
    return float(((found - exact) / exact).abs().max())


@pytest.mark.parametrize("n", [1, 2, 11, 12, 13, 40, 64])
def test_random_matrices(n: int) -> None:
    assert worst(draw(500, n, n, seed=n)) <= 1e-6
    assert worst(draw(500, n, n, seed=n).float()) <= 1e-6


@pytest.mark.parametrize("shape", [(20, 40), (40, 20), (12, 64), (5, 64), (1, 3)])
def test_matrices_that_are_not_square(shape: tuple[int, int]) -> None:
    assert worst(draw(100, *shape)) <= 1e-6


@pytest.mark.parametrize("ratio", [0.1, 0.7, 0.99, 0.999999])
def test_one_value_that_outweighs_all_others(ratio: float) -> None:
    """Where Temple's inequality lets the process stop early, and where it must not."""
    U, _, V = torch.linalg.svd(draw(200, 24, 24))
    second = ratio * torch.linspace(0, 1, 200, dtype=torch.float64)
    values = torch.cat([torch.ones(200, 1).double(), second[:, None], 0.03 * draw(200, 22, seed=1).abs()], -1)
    assert worst(U * values.unsqueeze(-2) @ V) <= 1e-6


@pytest.mark.parametrize("gate", GATES)
def test_transport_of_real_networks_over_every_lag(gate: str) -> None:
    generator = torch.Generator().manual_seed(1)
    model = GatedRNN(4, 24, gate, alpha=0.8 if gate == "constant" else None, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        J = jacobian.blocks(model, model.run(torch.rand(40, 3, 4, generator=generator, dtype=torch.float64)))
    S = transport.sensitivities(J)
    for lag, M in transport.lags(J):
        exact = torch.linalg.svdvals(M)[..., 0]
        assert ((S[range(lag, 41), range(41 - lag)] - exact) / exact).abs().max() <= 1e-6


def test_matrices_made_to_deceive() -> None:
    n, N = 32, 200
    diagonal = torch.diag_embed(draw(N, n).abs())  # every singular vector is an axis: no product mixes them
    blocks = torch.zeros(N, n, n, dtype=torch.float64)
    blocks[:, :16, :16], blocks[:, 16:, 16:] = draw(N, 16, 16, seed=1), draw(N, 16, 16, seed=2)
    U, _, V = torch.linalg.svd(draw(N, n, n, seed=3))
    steps = torch.arange(n, dtype=torch.float64)
    close = U @ torch.diag_embed((1 - 1e-5 * steps).expand(N, n)) @ V  # a spectrum that is almost flat
    twins = (
        U
        @ torch.diag_embed(
            torch.cat([torch.ones(1), torch.full((1,), 1 - 1e-4), 0.3 * torch.ones(n - 2)]).double().expand(N, n)
        )
        @ V
    )
    decaying = U @ torch.diag_embed((10.0**-steps).expand(N, n)) @ V
    rank_one = draw(N, n, 1) @ draw(N, 1, n, seed=5)
    for name, M in {
        "diagonal": diagonal, "blocks": blocks, "close": close, "twins": twins, "decaying": decaying,
        "rank one": rank_one, "orthogonal": U, "identity": torch.eye(n, dtype=torch.float64).expand(3, n, n),
        "nilpotent": torch.diag_embed(draw(5, n - 1), 1),
    }.items():  # fmt: skip
        assert worst(M) <= 1e-6, name


def test_a_matrix_does_not_feel_its_neighbours() -> None:
    M = draw(50, 20, 20)
    M[10:40] *= torch.diag_embed(torch.full((30, 20), 1e-3, dtype=torch.float64)) + 1e-2
    together, alone = lanczos.spectral_norms(M)[0], torch.cat([lanczos.spectral_norms(m[None])[0] for m in M])
    assert torch.allclose(together, alone, rtol=1e-6, atol=0)


def test_sizes_at_the_edge_of_what_a_number_can_hold() -> None:
    M = draw(3, 16, 16)
    exact = torch.linalg.svdvals(M)[..., 0]
    for scale in (1e-250, 1e250):
        assert torch.allclose(lanczos.spectral_norms(M * scale)[0], exact * scale, rtol=1e-6, atol=0)
    M[1] = 0
    M[2, 3, 3] = torch.inf
    found = lanczos.spectral_norms(M)[0]
    assert torch.allclose(found[0], exact[0], rtol=1e-6)
    assert found[1] == 0
    assert found[2] == torch.inf
    assert torch.equal(lanczos.spectral_norms(M * 0)[0][:2], torch.zeros(2, dtype=torch.float64))


def test_the_steps_that_were_needed_are_reported() -> None:
    U, _, V = torch.linalg.svd(draw(40, 32, 32))
    quick = U @ torch.diag_embed((4.0 ** -torch.arange(32, dtype=torch.float64)).expand(40, 32)) @ V
    assert lanczos.spectral_norms(quick, 4)[1] < lanczos.spectral_norms(U * 1.0 + draw(40, 32, 32, seed=9), 4)[1]
