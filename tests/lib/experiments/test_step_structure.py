"""The structure of steps is the analysis of variance, and comparisons are scipy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gatelr.experiments import step_structure
from scipy import stats


def test_between_rows_is_one_for_whole_rows_and_blind_to_signs() -> None:
    draw = torch.Generator().manual_seed(0)
    rows = torch.rand(2, 5, 1, generator=draw, dtype=torch.float64).expand(2, 5, 6) + 0.1
    signs = torch.randn(2, 5, 6, generator=draw, dtype=torch.float64).sign()
    assert step_structure.between_rows(rows * signs) == pytest.approx(1, abs=1e-12)
    assert step_structure.between_rows(rows.mT) == pytest.approx(0, abs=1e-12)


def test_structure_is_the_analysis_of_variance() -> None:
    draw = np.random.default_rng(0)
    rows, columns, rest = 2 * draw.normal(size=(6, 1)), 0.5 * draw.normal(size=(1, 6)), 0.05 * draw.normal(size=(6, 6))
    log = rows + columns + rest
    found = step_structure.structure(torch.tensor(10**log))
    assert found.spread == pytest.approx(log.std())
    assert found.rows == pytest.approx(log.mean(1).var() / log.var())
    left = log - log.mean(1, keepdims=True) - log.mean(0, keepdims=True) + log.mean()
    assert found.rest == pytest.approx(left.var() / log.var())
    assert found.rows + found.columns + found.rest == pytest.approx(1)
    assert found.rows > found.columns > found.rest
    assert step_structure.structure(torch.tensor([[1.0, 1.0], [100.0, 100.0]], dtype=torch.float64)).rows == 1.0


def test_a_matrix_without_structure_has_the_share_of_rows_that_the_docstring_says() -> None:
    draw = torch.Generator().manual_seed(0)
    shares = [
        step_structure.structure(torch.randn(8, 8, generator=draw, dtype=torch.float64).exp()).rows for _ in range(400)
    ]
    assert np.mean(shares) == pytest.approx(1 / 9, abs=0.01)


def test_steps_all_alike_have_no_structure() -> None:
    found = step_structure.structure(torch.full((3, 3), 0.7))
    assert (found.spread, found.even) == (0.0, pytest.approx(1.0))
    assert math.isnan(found.rows)
    one = torch.full((4, 4), 1e-12, dtype=torch.float64)
    one[2, 1] = 1.0
    assert step_structure.structure(one).even == pytest.approx(1 / 16)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan])
def test_steps_that_are_no_multipliers_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="not positive and finite"):
        step_structure.structure(torch.tensor([[1.0, bad]]))


def test_agreement_is_scipys_and_its_null_that_of_permutations() -> None:
    draw = np.random.default_rng(1)
    x, y = np.exp(draw.normal(size=(2, 30)))
    found = step_structure.agreement(torch.tensor(x), torch.tensor(y))
    assert found.rank == pytest.approx(stats.spearmanr(x, y).statistic)
    permuted = [draw.permutation(x) for _ in range(4000)]
    assert np.mean([p @ y for p in permuted]) / np.linalg.norm(x) / np.linalg.norm(y) == pytest.approx(
        found.cosine_null, rel=0.01
    )
    same = step_structure.agreement(torch.tensor(x), torch.tensor(x))
    assert (same.rank, same.cosine) == (pytest.approx(1.0), pytest.approx(1.0))


def test_agreement_with_what_is_everywhere_the_same_is_not_a_number() -> None:
    ones = torch.ones(5, dtype=torch.float64)
    found = step_structure.agreement(ones, torch.arange(1.0, 6.0))
    assert math.isnan(found.rank)
    assert found.cosine == pytest.approx(found.cosine_null)


def test_steps_of_other_places_are_refused(as_installed: None) -> None:
    with pytest.raises(ValueError, match="same places"):
        step_structure.agreement(torch.ones(5), torch.ones(3))


def test_steps_that_underflow_when_squared_still_agree() -> None:
    a = torch.tensor([1.0, 2.0, 9.0], dtype=torch.float64)
    found = step_structure.agreement(a * 1e-200, a)
    assert found.rank == pytest.approx(1.0)
    assert found.cosine == pytest.approx(1.0)
    assert np.isnan(step_structure.agreement(0 * a, a)).all()
