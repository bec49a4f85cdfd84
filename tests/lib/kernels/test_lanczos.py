"""The largest singular value against LAPACK, on matrices that are easy and on matrices made to deceive."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from gatelr import jacobian, transport
from gatelr.cells import GATES, GatedRNN
from gatelr.kernels import lanczos, plain, which
from torch import Tensor


@pytest.fixture(autouse=True)
def a_compiler() -> None:
    assert which().startswith("compiled"), which()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


Norms = Callable[[Tensor], Tensor]


def in_batch(M: Tensor) -> Tensor:
    """As on a GPU, but here."""
    M = M.mT if M.shape[1] > M.shape[2] else M
    return lanczos._by_gram(M)


both = pytest.mark.parametrize("norms", [lanczos.spectral_norms, in_batch], ids=["one by one", "in batch"])


def worst(norms: Norms, M: Tensor) -> float:
    exact = torch.linalg.svdvals(M.double())[..., 0]
    return float(((norms(M).double() - exact) / exact).abs().max())


@pytest.fixture
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@both
@pytest.mark.parametrize("n", [1, 2, 11, 12, 13, 40, 64])
def test_random_matrices(norms: Norms, n: int) -> None:
    assert worst(norms, draw(500, n, n, seed=n)) <= 1e-6
    assert worst(norms, draw(500, n, n, seed=n).float()) <= 1e-6


@both
@pytest.mark.parametrize("shape", [(20, 40), (40, 20), (12, 64), (5, 64), (1, 3)])
def test_matrices_that_are_not_square(norms: Norms, shape: tuple[int, int]) -> None:
    assert worst(norms, draw(100, *shape)) <= 1e-6


@both
@pytest.mark.parametrize("ratio", [0.1, 0.7, 0.99, 0.999999])
def test_one_value_that_outweighs_all_others(norms: Norms, ratio: float) -> None:
    """Where Temple's inequality lets the process stop early, and where it must not."""
    U, _, V = torch.linalg.svd(draw(200, 24, 24))
    second = ratio * torch.linspace(0, 1, 200, dtype=torch.float64)
    values = torch.cat([torch.ones(200, 1).double(), second[:, None], 0.03 * draw(200, 22, seed=1).abs()], -1)
    assert worst(norms, U * values.unsqueeze(-2) @ V) <= 1e-6


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


@both
@pytest.mark.parametrize("spacing", [1e-3, 1e-4, 1e-5])
def test_a_spectrum_that_is_almost_flat(norms: Norms, spacing: float) -> None:
    """A start with little of the first vector may seem settled on the second: the residual must be far below ε."""
    n, N = 24, 1500
    U, _, V = torch.linalg.svd(draw(N, n, n, seed=3))
    values = 1 - spacing * torch.arange(n, dtype=torch.float64)
    assert (norms(U * values @ V) - 1).abs().max() <= 1e-6


@pytest.mark.parametrize("spacing", [1e-4, 1e-5])
@pytest.mark.parametrize("guess", [1, 5])
def test_a_wrong_guess_where_the_spectrum_is_almost_flat(guess: int, spacing: float) -> None:
    n, N = 24, 4000
    U, _, V = torch.linalg.svd(draw(N, n, n, seed=3))
    values = 1 - spacing * torch.arange(n, dtype=torch.float64)
    found = lanczos.spectral_norms(U * values @ V, U[..., guess].contiguous())
    assert (found - 1).abs().max() <= 1e-6


@both
@pytest.mark.parametrize("spacing", [1e-4, 1e-6])
def test_products_of_many_distances_stay_in_range(norms: Norms, spacing: float) -> None:
    """The characteristic polynomial of a large matrix with a flat spectrum multiplies hundreds of small numbers."""
    n, N = 256, 4
    U, _, V = torch.linalg.svd(draw(N, n, n, seed=3))
    values = 1 - spacing * torch.arange(n, dtype=torch.float64)
    assert (norms(U * values @ V) - 1).abs().max() <= 1e-6


@both
@pytest.mark.parametrize("n", [5, 24, 64])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_few_values_that_are_not_zero(norms: Norms, rank: int, n: int) -> None:
    """The process ends after rank + 1 steps; from then on there is nothing but rounding errors to go on with."""
    U, _, V = torch.linalg.svd(draw(20, n, n, seed=3))
    M = U[..., :rank] * (1 - 0.1 * torch.arange(rank, dtype=torch.float64)) @ V[:, :rank]
    assert (norms(M) - 1).abs().max() <= 1e-7
    if norms is not in_batch:
        for guess in range(n):  # of the range of M, and not
            near = U[..., guess].contiguous()
            assert (lanczos.spectral_norms(M, near) - 1).abs().max() <= 1e-7
            assert near.isfinite().all()


@both
def test_matrices_made_to_deceive(norms: Norms) -> None:
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
        "diagonal": diagonal,
        "blocks": blocks,
        "close": close,
        "twins": twins,
        "decaying": decaying,
        "rank one": rank_one,
        "orthogonal": U,
        "identity": torch.eye(n, dtype=torch.float64).expand(3, n, n),
        "nilpotent": torch.diag_embed(draw(5, n - 1), 1),
    }.items():
        assert worst(norms, M) <= 1e-6, name


@both
def test_a_matrix_does_not_feel_its_neighbours(norms: Norms) -> None:
    M = draw(50, 20, 20)
    M[10:40] *= torch.diag_embed(torch.full((30, 20), 1e-3, dtype=torch.float64)) + 1e-2
    together, alone = norms(M), torch.cat([norms(m[None]) for m in M])
    assert torch.allclose(together, alone, rtol=1e-6, atol=0)


@both
def test_sizes_at_the_edge_of_what_a_number_can_hold(norms: Norms) -> None:
    M = draw(3, 16, 16)
    exact = torch.linalg.svdvals(M)[..., 0]
    for scale in (1e-250, 1e250):
        assert torch.allclose(norms(M * scale), exact * scale, rtol=1e-6, atol=0)
    M[1] = 0
    M[2, 3, 3] = torch.inf
    found = norms(M)
    assert torch.allclose(found[0], exact[0], rtol=1e-6)
    assert found[1] == 0
    assert found[2] == torch.inf
    assert torch.equal(norms(M * 0)[:2], torch.zeros(2, dtype=torch.float64))


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("N", [1, 70, 131, 500])
def test_threads_share_the_matrices(N: int) -> None:
    M = draw(N, 16, 20)
    together = lanczos.spectral_norms(M)
    torch.set_num_threads(1)
    assert torch.equal(together, lanczos.spectral_norms(M))


@pytest.mark.usefixtures("two_threads")
def test_callers_in_several_threads_wait_for_each_other() -> None:
    M = draw(500, 16, 16)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lanczos.spectral_norms, [M] * 8))
    assert all(torch.equal(one, found[0]) for one in found)
    assert worst(lambda _: found[0], M) <= 1e-6


def test_a_guess_that_does_not_lie_in_one_piece() -> None:
    M, near = draw(9, 6, 8), torch.zeros(6, 9, dtype=torch.float64).mT
    assert torch.equal(lanczos.spectral_norms(M, near), lanczos.spectral_norms(M))
    along = torch.linalg.vecdot(near, torch.linalg.svd(M).U[..., 0]).abs()
    assert (along - 1).abs().max() <= 1e-6  # what is found is written over it all the same


def test_without_a_compiler_the_gram_matrices_serve() -> None:
    M = draw(30, 16, 20)
    with plain():
        assert torch.equal(lanczos.spectral_norms(M), in_batch(M))


@pytest.mark.parametrize("n", [8, 32])
def test_a_good_guess_and_a_bad_one_give_the_same(n: int) -> None:
    M = draw(300, n, n + 3)
    U, exact, _ = torch.linalg.svd(M)
    bad = U[..., 1].contiguous()  # the second vector: nothing of it along the first but what is random
    for near in (U[..., 0].contiguous(), bad, torch.zeros(300, n).double()):
        assert ((lanczos.spectral_norms(M, near) - exact[:, 0]) / exact[:, 0]).abs().max() <= 1e-6
        along = torch.linalg.vecdot(near, U[..., 0]).abs()
        assert (along[exact[:, 1] < 0.9 * exact[:, 0]] - 1).abs().max() <= 1e-4  # and the vector is left there


@pytest.mark.parametrize("N", [0, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_matrices_are_left_as_they_were(N: int, dtype: torch.dtype) -> None:
    M = draw(N, 7, 9).to(dtype)
    given = M.clone().requires_grad_()
    found = lanczos.spectral_norms(given)
    assert torch.equal(given, M)
    assert (found.shape, found.dtype, found.requires_grad) == ((N,), dtype, False)


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got matrices of torch.float16, expected torch.float32 or torch.float64"):
        lanczos.spectral_norms(draw(2, 3, 3).half())
