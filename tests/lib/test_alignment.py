"""Alignment against plain definitions, and what chance gives against sampling and against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from gatelr import adjoint, alignment, anisotropy, jacobian, transport
from gatelr.cells import GatedRNN
from torch import Tensor


def transports(*shape: int, n: int = 6) -> Tensor:
    """Random matrices whose singular values are well apart."""
    draw = torch.Generator().manual_seed(7)
    M = torch.randn(*shape, n, n, generator=draw, dtype=torch.float64)
    U, _, V = torch.linalg.svd(M)
    return U @ torch.diag(0.6 ** torch.arange(n, dtype=torch.float64)) @ V


def directions(count: int, n: int) -> Tensor:
    return torch.randn(count, n, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("r", [1, 3, 6])
def test_shares_are_those_of_projections(r: int) -> None:
    M, delta = transports(4), directions(4, 6)
    found = alignment.overlaps(M, delta, r)
    for b in range(4):
        U, s, Vh = torch.linalg.svd(M[b])
        back = M[b].T @ delta[b]
        on_left, on_right = U[:, :r] @ U[:, :r].T @ delta[b], Vh[:r].T @ Vh[:r] @ back
        assert float(found.left[b]) == pytest.approx(float(on_left.norm() ** 2 / delta[b].norm() ** 2), rel=1e-12)
        assert float(found.right[b]) == pytest.approx(float(on_right.norm() ** 2 / back.norm() ** 2), rel=1e-12)
        random = float(s.square().sum()) * float(delta[b].norm() ** 2) / 6
        assert float(found.gain[b]) == pytest.approx(float(back.norm() ** 2) / random, rel=1e-12)


@pytest.mark.parametrize("gate", ["none", "scalar", "multi"])
def test_what_is_carried_back_is_the_adjoint(gate: str) -> None:
    """With a loss at the last step alone, the right share is that of the adjoint, as the backward sweep has it."""
    draw = torch.Generator().manual_seed(1)
    model = GatedRNN(2, 5, gate, generator=draw, dtype=torch.float64)
    run = model.run(torch.randn(7, 3, 2, generator=draw, dtype=torch.float64))
    delta = torch.zeros_like(run.x)
    delta[-1] = directions(3, 5)
    adjoints, J = adjoint.costates(model, run, delta), jacobian.blocks(model, run)
    for lag in (1, 4, 7):
        M = transport.products(J, lag)[-1]
        right = torch.linalg.svd(M).Vh[:, :2]
        own = adjoints[7 - lag]
        expected = (right @ own.unsqueeze(-1)).square().sum((1, 2)) / own.square().sum(-1)
        torch.testing.assert_close(alignment.overlaps(M, delta[-1], 2).right, expected, rtol=1e-9, atol=0)


def test_the_best_and_the_worst_direction() -> None:
    M = transports()
    U, s, _ = torch.linalg.svd(M)
    best, worst = alignment.overlaps(M, U[:, 0], 2), alignment.overlaps(M, U[:, -1], 2)
    assert [float(x) for x in best[:2]] == pytest.approx([1, 1])
    assert [float(x) for x in worst[:2]] == pytest.approx([0, 0], abs=1e-12)
    energy = 6 * s.square() / s.square().sum()
    assert [float(best.gain), float(worst.gain)] == pytest.approx([float(energy[0]), float(energy[-1])])


@pytest.mark.parametrize("r", [1, 2, 5])
def test_chance_against_sampling(r: int) -> None:
    """Of a random direction r/n lies left, and of the mean energy that comes back a share CE lies right."""
    n, count = 6, 200_000
    M, delta = transports(), directions(count, n)
    delta = delta / delta.norm(dim=-1, keepdim=True)
    found = alignment.overlaps(M, delta, r)
    s = torch.linalg.svdvals(M)
    carried = found.gain * found.right
    CE = float(anisotropy.energy_concentration(s, r))
    for sampled, expected in (
        (found.left, r / n),
        (found.gain, 1.0),
        (carried, CE),
        (found.right, float(alignment.expected_right(s, r))),
    ):
        error = float(sampled.std()) / math.sqrt(count)
        assert abs(float(sampled.mean()) - expected) <= 4 * error
        assert error < 0.003
    # and the means of shares are not CE: the sample is large enough to tell
    assert float(found.right.mean()) < CE - 0.005 or CE > 0.99


@pytest.mark.parametrize("a", [1.0, 0.5, 1e-3, 1e-8])
def test_the_expected_share_of_two_directions_in_closed_form(a: float) -> None:
    s = torch.tensor([1.0, a], dtype=torch.float64)
    assert float(alignment.expected_right(s, 1)) == pytest.approx(1 / (1 + a), rel=1e-12)


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_expected_shares_add_to_one_whatever_the_scale(scale: float) -> None:
    for n in (1, 3, 100):
        s = scale * 0.1 ** torch.arange(n, dtype=torch.float64)
        assert float(alignment.expected_right(s, n)) == pytest.approx(1, rel=1e-12)
        assert float(alignment.expected_right(scale * torch.ones(n).double(), 1)) == pytest.approx(1 / n, rel=1e-12)
    M, delta = transports(), directions(1, 6)[0]
    for ours, plain in zip(
        alignment.overlaps(scale * M, delta / scale, 2), alignment.overlaps(M, delta, 2), strict=True
    ):
        assert float(ours) == pytest.approx(float(plain), rel=1e-9)


def test_several_directions_of_each_transport() -> None:
    M, delta = transports(2, 3), directions(4 * 2 * 3, 6).reshape(4, 2, 3, 6)
    found = alignment.overlaps(M, delta, 2)
    assert found.left.shape == (4, 2, 3)
    one = alignment.overlaps(M[1, 2], delta[3, 1, 2], 2)
    assert [float(x[3, 1, 2]) for x in found] == pytest.approx([float(x) for x in one])


def test_nothing_has_no_direction() -> None:
    M, delta = transports(), directions(1, 6)[0]
    assert all(x.isnan() for x in alignment.overlaps(M, 0 * delta, 2))
    assert all(x.isnan() for x in alignment.overlaps(0 * M, delta, 2))
    assert alignment.expected_right(torch.zeros(3, dtype=torch.float64), 1).isnan()


@pytest.mark.parametrize(
    ("M", "delta", "r", "said"),
    [
        (torch.eye(3), torch.ones(3), 4, "expected r from 1"),
        (torch.eye(3), torch.ones(3).double(), 1, "expected the same"),
        (torch.eye(3) * math.nan, torch.ones(3), 1, "NaN or infinity in the transports"),
        (torch.eye(3), torch.ones(3) * math.inf, 1, "NaN or infinity in delta"),
    ],
)
def test_what_does_not_fit_is_refused(M: Tensor, delta: Tensor, r: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        alignment.overlaps(M, delta, r)
