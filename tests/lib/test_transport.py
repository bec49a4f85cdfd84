"""Products by doubling against products one by one, and norms against singular values."""

import itertools
import re
from collections.abc import Callable

import pytest
import torch
from gatelr import transport
from gatelr.kernels import plain
from hypothesis import given
from hypothesis import strategies as st
from networks import relative

shapes = st.tuples(
    st.integers(1, 9), st.lists(st.integers(1, 2), max_size=2).map(tuple), st.integers(1, 4), st.integers(0, 2**31)
)


def jacobians(T: int, batch: tuple[int, ...], n: int, seed: int) -> torch.Tensor:
    return torch.randn(T, *batch, n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@given(shapes, st.data())
def test_products_of_every_lag(shape: tuple, data: st.DataObject) -> None:
    J = jacobians(*shape)
    T, n = J.shape[0], J.shape[-1]
    lag = data.draw(st.integers(0, T))
    M = transport.products(J, lag)
    assert M.shape == (T - lag + 1, *J.shape[1:])
    for i in range(T - lag + 1):  # M_{lag+i, i} = J_{lag+i} … J_{i+1}, the newest factor on the left
        expected = torch.eye(n, dtype=J.dtype).expand(J.shape[1:])
        for j in range(i, i + lag):
            expected = J[j] @ expected
        assert relative(M[i], expected) <= 1e-12


@given(shapes)
def test_lags_one_after_the_other(shape: tuple) -> None:
    J = jacobians(*shape)
    seen = 0
    for lag, M in transport.lags(J):
        assert relative(M, transport.products(J, lag)) <= 1e-12
        seen += 1
    assert seen == J.shape[0]


@given(shapes)
def test_sensitivities_are_spectral_norms(shape: tuple) -> None:
    J = jacobians(*shape)
    T = J.shape[0]
    S = transport.sensitivities(J)
    assert S.shape == (T + 1, T + 1, *J.shape[1:-2])
    assert torch.equal(S.diagonal(), torch.ones_like(S.diagonal()))
    assert not S[torch.ones(T + 1, T + 1, dtype=torch.bool).triu(1)].any()
    for lag in range(1, T + 1):
        exact = torch.linalg.svdvals(transport.products(J, lag))[..., 0]
        ours = torch.stack([S[lag + i, i] for i in range(T - lag + 1)])
        assert torch.allclose(ours, exact, rtol=1e-10, atol=0)


def worst(J: torch.Tensor) -> float:
    S = transport.sensitivities(J)
    errors = []
    for lag, M in transport.lags(J):
        exact = torch.linalg.svdvals(M)[..., 0]
        errors.append(((S.diagonal(-lag).movedim(-1, 0) - exact) / exact).abs().max())
    return float(torch.stack(errors).max())


@pytest.mark.parametrize("scale", [1e-5, 0.2, 1e4])
def test_sensitivities_over_lags_that_leave_few_directions(scale: float) -> None:
    """Products lose most of their rank over sixty steps, and reach 1e-258 or 1e282."""
    assert worst(scale * jacobians(60, (2,), 24, 5)) <= 1e-6


def test_directions_that_were_left_out_and_come_back() -> None:
    """Twelve steps let half the directions die, wherever they begin; thirteen can let the other half die instead."""
    n, T = 32, 50
    half = torch.arange(n) < n // 2
    step, burst = torch.where(half, 1.0, 0.03).double(), torch.where(half, 1e-9, 1.0).double()
    Q = torch.linalg.qr(jacobians(1, (), n, 0)[0]).Q
    J = Q @ torch.diag_embed(torch.stack([step if j % 12 else burst for j in range(T)])).unsqueeze(1) @ Q.mT
    assert worst(J) <= 1e-6


def test_products_that_overflow() -> None:
    S = transport.sensitivities(1e12 * jacobians(40, (2,), 16, 0))
    assert S.diagonal(-20).isfinite().all()
    assert S.diagonal(-40).isinf().all()


def peak(call: Callable[[], object]) -> int:
    """The most bytes that PyTorch held at a time during the call, beside what it held before."""
    with torch.profiler.profile(profile_memory=True) as profile:
        call()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = itertools.accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
    return max(held)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("memory", [50_000, 200_000, 1_000_000, 10**9])
def test_sensitivities_within_a_budget(memory: int, dtype: torch.dtype) -> None:
    J = jacobians(40, (3,), 16, 3).to(dtype) / 4
    whole, S = transport.sensitivities(J), transport.sensitivities(J, memory=memory)
    assert torch.equal(whole, S)
    returned = S.numel() * S.element_size()
    assert peak(lambda: transport.sensitivities(J, memory=memory)) - returned <= memory
    with plain():
        enough = max(memory, 100_000)
        assert torch.allclose(transport.sensitivities(J, memory=enough), whole, rtol=1e-6, atol=0)
        assert peak(lambda: transport.sensitivities(J, memory=enough)) - returned <= enough


@pytest.mark.parametrize("memory", [250_000, 500_000])
def test_spectra_within_a_budget(memory: int) -> None:
    J, at = jacobians(20, (5,), 16, 3) / 4, [1, 2, 7, 20]
    whole, within = transport.spectra(J, at), transport.spectra(J, at, memory=memory)
    assert all(torch.equal(within[lag], whole[lag]) for lag in at)
    returned = sum(s.numel() * s.element_size() for s in whole.values())
    assert peak(lambda: transport.spectra(J, at)) - returned > memory  # else nothing was tried
    assert peak(lambda: transport.spectra(J, at, memory=memory)) - returned <= memory


def test_norms_of_tiny_and_zero_matrices() -> None:
    M = jacobians(3, (), 5, 0)
    exact = torch.linalg.svdvals(M)[..., 0]
    assert torch.allclose(transport.spectral_norm(M * 1e-250), exact * 1e-250, rtol=1e-12, atol=0)
    assert torch.equal(transport.spectral_norm(M * 0), torch.zeros(3, dtype=M.dtype))


def test_spectra_are_all_singular_values() -> None:
    J = jacobians(6, (2,), 3, 1)
    spectra = transport.spectra(J, [1, 4])
    assert set(spectra) == {1, 4}
    assert torch.allclose(spectra[1], torch.linalg.svdvals(J))
    assert spectra[4].shape == (3, 2, 3)


def test_products_never_alias_their_input() -> None:
    J = jacobians(4, (), 2, 2)
    before = J.clone()
    transport.products(J, 1).zero_()
    transport.products(J, 0).zero_()
    assert torch.equal(J, before)


@pytest.mark.usefixtures("as_installed")
def test_bad_lags_and_shapes_are_refused() -> None:
    J = jacobians(4, (), 2, 0)
    for call, sentence in (
        (lambda: transport.products(J, -1), "got lag=-1, expected a lag from 0 to the 4 steps"),
        (lambda: transport.products(J, 5), "got lag=5, expected a lag from 0 to the 4 steps"),
        (lambda: next(transport.lags(J, 5)), "got longest=5, expected a lag from 0 to the 4 steps"),
        (lambda: transport.products(J[..., :1], 1), "got Jacobians of shape (4, 2, 1), expected (T, *batch, n, n)"),
        (lambda: transport.sensitivities(J, memory=9), "got memory=9, expected at least"),
        (lambda: transport.spectra(J, [1], memory=9), "got memory=9, expected at least"),
        (lambda: transport.sensitivities(J * torch.nan), "got NaN or infinity in the Jacobians"),
        (lambda: transport.sensitivities(J[0]), "got Jacobians of shape (2, 2), expected (T, *batch, n, n)"),
    ):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            call()
