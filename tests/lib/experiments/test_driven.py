"""Exponents under a drive, where they are known: at rest, and of a straight line."""

import math

import pandas as pd
import pytest
import torch
from gatelr.experiments import driven


def test_without_a_drive_the_exponent_is_that_of_the_eigenvalues() -> None:
    rows = driven.exponents(8, (0.5, 0.9), 0.3, 0.0, 3000, seed=1)
    for gain, exponent, slope in zip(rows.gain, rows.exponent, rows["slope gain"], strict=True):
        W = driven.network(8, [gain], "none", 1).W_r[0]
        J = 0.7 * torch.eye(8, dtype=torch.float64) + 0.3 * W
        assert exponent == pytest.approx(math.log(float(torch.linalg.eigvals(J).abs().max())), abs=2e-3)
        assert slope == pytest.approx(gain)


def test_one_draw_of_weights_serves_every_gain_and_every_gate() -> None:
    model = driven.network(5, (1.0, 2.0), "multi", 4)
    torch.testing.assert_close(2 * model.W_r[0], model.W_r[1])
    torch.testing.assert_close(model.W_r, driven.network(5, (1.0, 2.0), "constant", 4, alpha=0.1).W_r)
    assert not model.W_ig.any()
    trajectory = driven.driven(model, 0.5, 20, 4)
    assert len(trajectory.x) == 20
    torch.testing.assert_close(trajectory.u[:, 0], trajectory.u[:, 1], atol=0, rtol=0)


def test_a_crossing_is_interpolated_or_refused() -> None:
    rows = pd.DataFrame({"gain": [1.0, 2.0, 4.0], "exponent": [-0.3, -0.1, 0.3]})
    assert driven.crossing(rows, "gain") == pytest.approx(2.5)
    with pytest.raises(ValueError, match="do not cross zero, expected a change of sign: widen the range of gains"):
        driven.crossing(rows.iloc[:2], "gain")


def test_crossings_are_taken_case_by_case() -> None:
    rows = pd.DataFrame({"gain": [1.0, 2.0] * 2, "exponent": [-1.0, 1.0, -1.0, 3.0], "drive": 1.0, "seed": 1})
    rows["alpha"] = [0.1, 0.1, 1.0, 1.0]
    found = driven.crossings(rows, "gain")
    assert found[1.0, 0.1, 1] == pytest.approx(1.5)
    assert found[1.0, 1.0, 1] == pytest.approx(1.25)


def test_a_leak_moves_the_cloud_of_eigenvalues_towards_one() -> None:
    clouds = driven.static_clouds(6, (1.0, 0.1), seed=2)
    plain, slow = (clouds[clouds.alpha == a].sort_values(["real", "imaginary"]) for a in (1.0, 0.1))
    assert (0.9 + 0.1 * plain.real).tolist() == pytest.approx(slow.real.tolist())
    assert (0.1 * plain.imaginary).tolist() == pytest.approx(slow.imaginary.tolist())


def test_the_edge_of_one_jacobian_is_where_its_equation_says() -> None:
    edges = driven.static_edges(300, [(1.2, 0.0), (1.2, 2.0)])
    assert (edges.measured / edges.predicted - 1).abs().max() < 0.05
    assert edges.predicted[1] > edges.predicted[0]


def test_a_scalar_gate_sends_some_eigenvalues_out() -> None:
    share, residual = driven.scalar_outliers(40, 30)
    assert 0 < share < 1
    assert residual < 1e-8
    assert driven.scalar_outliers(40, 5, gate_gain=0.0) == (0.0, 0.0)
