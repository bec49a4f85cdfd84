"""The measures against values worked out by hand, and the spectrum against a plain singular value decomposition."""

import math
import re

import numpy as np
import pytest
import torch
from gatelr import adjoint, anisotropy
from gatelr.cells import GatedRNN
from hypothesis import given
from hypothesis import strategies as st

MEASURES = {
    "anisotropy_index": lambda s: anisotropy.anisotropy_index(s, min(3, s.shape[-1])),
    "energy_concentration": lambda s: anisotropy.energy_concentration(s, min(3, s.shape[-1])),
    "participation_ratio": anisotropy.participation_ratio,
    "effective_rank": anisotropy.effective_rank,
}
measures = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
spectra = st.lists(st.floats(1e-6, 1), min_size=1, max_size=12).map(
    lambda values: torch.tensor(sorted(values, reverse=True), dtype=torch.float64)
)


def test_values_worked_out_by_hand() -> None:
    s = torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)
    assert [float(anisotropy.anisotropy_index(s, r)) for r in (1, 2, 3)] == [1, 2, 4]
    assert [float(anisotropy.energy_concentration(s, r)) for r in (1, 2, 3)] == pytest.approx([16 / 21, 20 / 21, 1])
    assert float(anisotropy.participation_ratio(s)) == pytest.approx(21**2 / (256 + 16 + 1))
    # shares 4/7, 2/7, 1/7
    entropy = (4 * math.log(7 / 4) + 2 * math.log(7 / 2) + math.log(7)) / 7
    assert float(anisotropy.effective_rank(s)) == pytest.approx(math.exp(entropy))


@pytest.mark.parametrize("n", [1, 2, 7])
def test_one_direction_counts_as_one_and_equal_ones_count_as_many(n: int) -> None:
    one, alike = torch.zeros(n, dtype=torch.float64), torch.full((n,), 0.3, dtype=torch.float64)
    one[0] = 5
    for count in (anisotropy.participation_ratio, anisotropy.effective_rank):
        assert float(count(one)) == pytest.approx(1)
        assert float(count(alike)) == pytest.approx(n)
    assert float(anisotropy.energy_concentration(one, 1)) == 1
    assert float(anisotropy.energy_concentration(alike, 1)) == pytest.approx(1 / n)


@measures
@given(s=spectra, scale=st.floats(1e-3, 1e3))
def test_measures_are_free_of_scale(measure, s: torch.Tensor, scale: float) -> None:
    assert float(measure(scale * s)) == pytest.approx(float(measure(s)), rel=1e-9)


@given(s=spectra)
def test_measures_keep_their_ranges(s: torch.Tensor) -> None:
    n = len(s)
    rounding = 1e-9
    for count in (anisotropy.participation_ratio, anisotropy.effective_rank):
        assert 1 - rounding <= float(count(s)) <= n + rounding
    index = [float(anisotropy.anisotropy_index(s, r)) for r in range(1, n + 1)]
    energy = [float(anisotropy.energy_concentration(s, r)) for r in range(1, n + 1)]
    assert index[0] == 1
    assert index == sorted(index)
    assert energy == sorted(energy)
    assert all(share >= r / n - rounding for r, share in enumerate(energy, 1))
    assert energy[-1] == 1


@measures
@pytest.mark.parametrize("tiny", [1e-30, 1e-40])
def test_products_over_long_lags_do_not_underflow(measure, tiny: float) -> None:
    s = torch.tensor([4.0, 2.0, 1.0])
    # at 1e-30 the squares are no floats any more, at 1e-40 the values themselves have few bits left
    assert float(measure(tiny * s)) == pytest.approx(float(measure(s)), rel=1e-6 if tiny > 1e-38 else 1e-4)


@measures
def test_spectra_are_measured_one_by_one_along_the_batch(measure, generator: torch.Generator) -> None:
    s = torch.rand(2, 3, 5, generator=generator, dtype=torch.float64).sort(-1, descending=True).values
    found = measure(s)
    assert found.shape == (2, 3)
    assert torch.equal(found, torch.stack([torch.stack([measure(row) for row in rows]) for rows in s]))


def test_a_direction_that_carries_nothing_makes_the_index_infinite() -> None:
    s = torch.tensor([2.0, 1.0, 0.0])
    assert anisotropy.anisotropy_index(s, 3) == math.inf
    assert anisotropy.anisotropy_index(s, 2) == 2


@measures
def test_a_spectrum_of_zeros_has_no_direction_and_leaves_its_neighbours_alone(measure) -> None:
    s = torch.tensor([[4.0, 2.0, 1.0], [0.0, 0.0, 0.0]])
    found = measure(s)
    assert float(found[0]) == float(measure(s[0]))
    assert found[1].isnan()


def random_gradients(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def explicit(G: torch.Tensor) -> np.ndarray:
    rows = G.numpy()
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return rows - rows.mean(0)


@pytest.mark.parametrize(("N", "P"), [(6, 40), (40, 6), (7, 7), (2, 1)])
def test_the_spectrum_is_that_of_the_centred_unit_rows(N: int, P: int, generator: torch.Generator) -> None:
    G = random_gradients(generator, N, P)
    s = anisotropy.update_spectrum(G)
    assert s.shape == (min(N, P),)
    np.testing.assert_allclose(s.numpy(), np.linalg.svd(explicit(G), compute_uv=False), rtol=0, atol=1e-14)


def test_small_directions_are_resolved_far_below_the_square_root_of_rounding(generator: torch.Generator) -> None:
    # rows ±e_1 ± 1e-11 e_2, every pair of signs alike often: σ_1 = √N and σ_2 = 1e-11 √N
    N, P, small = 64, 300, 1e-11
    sign = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(N // 2)
    G = torch.zeros(N, P, dtype=torch.float64)
    G[:, 0] = sign
    G[:, 1] = small * torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=torch.float64).repeat(N // 4)
    rotation = torch.linalg.qr(random_gradients(generator, P, P)).Q
    s = anisotropy.update_spectrum(G @ rotation)
    assert float(anisotropy.anisotropy_index(s, 2)) == pytest.approx(1 / small, rel=1e-3)


@given(seed=st.integers(0, 10**6), scales=st.lists(st.floats(1e-200, 1e100), min_size=5, max_size=5))
def test_the_spectrum_ignores_the_scale_of_a_row_and_the_axes(seed: int, scales: list[float]) -> None:
    source = torch.Generator().manual_seed(seed)
    G = random_gradients(source, 5, 8)
    rotation = torch.linalg.qr(random_gradients(source, 8, 8)).Q
    changed = torch.tensor(scales, dtype=torch.float64)[:, None] * (G @ rotation)
    torch.testing.assert_close(anisotropy.update_spectrum(changed), anisotropy.update_spectrum(G), rtol=0, atol=1e-13)


def test_a_row_of_zeros_stays_zero() -> None:
    # unit rows e_1, 0, less their mean e_1/2: both are e_1/2 long, along one line
    s = anisotropy.update_spectrum(torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    assert s.tolist() == pytest.approx([math.sqrt(0.5), 0])
    assert anisotropy.update_spectrum(torch.zeros(4, 3)).tolist() == [0, 0, 0]


def test_single_precision_is_computed_in_double(generator: torch.Generator) -> None:
    G = random_gradients(generator, 5, 30).float()
    s = anisotropy.update_spectrum(G)
    assert s.dtype == torch.float64
    assert torch.equal(s, anisotropy.update_spectrum(G.double()))


def test_the_covariance_of_the_unit_rows_has_the_spectrum_squared(generator: torch.Generator) -> None:
    G = random_gradients(generator, 2, 9, 4)
    for s, rows in zip(anisotropy.update_spectrum(G), G, strict=True):
        variances = torch.linalg.eigvalsh(torch.cov(torch.from_numpy(explicit(rows)).mT)).flip(-1)
        torch.testing.assert_close(variances, s.square() / 8)


def test_gradients_of_a_replicated_model_become_a_matrix_for_each_replica(generator: torch.Generator) -> None:
    S, B = 2, 5
    torch.manual_seed(0)
    model = GatedRNN(3, 4, "multi", bias=True, replicas=S).double()
    trajectory = model.run(random_gradients(generator, 6, S, B, 3))
    delta = random_gradients(generator, 6, S, B, 4)
    found = adjoint.gradients(model, trajectory, delta, per_sample=True)
    G = anisotropy.sample_matrix(found, batch_axes=2)
    assert G.shape == (S, B, sum(parameter[0].numel() for name, parameter in model.named_parameters() if name in found))
    start = 0
    for gradient in found.values():
        width = gradient[0, 0].numel()
        assert torch.equal(G[1, 3, start : start + width], gradient[1, 3].flatten())
        start += width
    spectra = anisotropy.update_spectrum(G)
    assert spectra.shape == (S, B)
    for s, rows in zip(spectra, G, strict=True):
        torch.testing.assert_close(s, anisotropy.update_spectrum(rows), rtol=0, atol=1e-14)


@pytest.mark.usefixtures("as_installed")
def test_bad_input_is_refused_with_a_sentence() -> None:
    good = torch.tensor([3.0, 2.0, 1.0])
    for measure in (anisotropy.anisotropy_index, anisotropy.energy_concentration):
        for r in (0, 4, -1):
            with pytest.raises(ValueError, match=re.escape(f"got r={r} for 3 singular values, expected r from 1")):
                measure(good, r)
    bad = ([1.0, 2.0], [1.0, -0.5], [math.nan, 1.0], [2.0, math.nan], [math.inf, 1.0])
    for measure in MEASURES.values():
        for values in bad:
            with pytest.raises(ValueError, match="negative, not finite or not in descending order"):
                measure(torch.tensor(values))
            with pytest.raises(ValueError, match="negative, not finite or not in descending order"):
                measure(torch.tensor([[2.0, 1.0], values]))
    for G, sentence in (
        (torch.ones(3), "got gradients of shape (3,), expected (*batch, N, P)"),
        (torch.ones(1, 3), "got gradients of shape (1, 3), expected (*batch, N, P) with at least two"),
        (torch.ones(3, 0), "got gradients of shape (3, 0), expected (*batch, N, P)"),
        (torch.tensor([[1.0, math.nan], [1.0, 2.0]]), "got gradients that are not finite"),
    ):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            anisotropy.update_spectrum(G)
    for gradients in ({}, {"W": torch.ones(3, 2), "b": torch.ones(4, 2)}, {"W": torch.ones(3)}):
        with pytest.raises(ValueError, match="got gradients with leading axes"):
            anisotropy.sample_matrix(gradients)
