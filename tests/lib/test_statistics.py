"""Intervals that cover, tests that hold their level, and refusals of what cannot be averaged."""

from __future__ import annotations

import numpy as np
import pytest
from gatelr import statistics
from statsmodels.stats.power import TTestPower


def test_the_interval_covers_about_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    covered = [
        found.low <= 0.0 <= found.high for found in (statistics.estimate(draw.normal(size=20)) for _ in range(120))
    ]
    assert 0.86 <= np.mean(covered) <= 1.0


def test_p_is_that_of_all_sign_flips() -> None:
    x = np.array([0.3, 0.1, 0.4, -0.2, 0.5])
    signs = np.array(np.meshgrid(*[[-1, 1]] * 5)).reshape(5, -1)
    exact = np.mean(np.abs(signs.T @ x) >= abs(x.sum()) - 1e-12)
    found = statistics.estimate(x)
    assert found.p == pytest.approx(exact)
    assert found.mean == pytest.approx(x.mean())
    assert found.low < found.mean < found.high
    assert statistics.estimate(x + 3, threshold=3.0).p == pytest.approx(exact)


def test_it_is_the_same_every_time() -> None:
    x = np.random.default_rng(0).normal(size=20)
    assert statistics.estimate(x) == statistics.estimate(x)


def test_seeds_that_agree_have_an_interval_of_no_width() -> None:
    assert statistics.estimate([2.0, 2.0, 2.0]).interval == (2.0, 2.0)


@pytest.mark.parametrize("values", [[1.0], [1.0, float("nan")], [[1.0, 2.0], [3.0, 4.0]]])
def test_what_cannot_be_averaged_is_refused(values: list) -> None:
    with pytest.raises(ValueError, match="at least 2 seeds"):
        statistics.estimate(values)


def test_holm_multiplies_the_smallest_by_the_number_of_tests() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_power_of_a_known_effect() -> None:
    """The textbook: an effect of half a standard deviation takes 33.4 pairs for 80 % at 5 %."""
    values = np.array([-1.0, 1.0] * 10)
    values = 0.5 + values / values.std(ddof=1)
    found = statistics.power(values)
    assert found.seeds_needed == pytest.approx(33.37, abs=0.01)
    assert found.detectable == pytest.approx(0.66, abs=0.005)
    assert TTestPower().solve_power(nobs=20, alpha=0.05, power=0.8) == pytest.approx(found.detectable, rel=1e-6)
    assert statistics.power(10 * values) == pytest.approx((found.seeds_needed, 10 * found.detectable))


@pytest.mark.parametrize(
    ("values", "needed"), [([1.0, 1.0, 1.0], 2.0), ([0.0, 0.0], np.inf), ([1.0, -1.0], np.inf), ([100.0, 100.1], 2.0)]
)
def test_power_at_both_ends(values: list[float], needed: float) -> None:
    assert statistics.power(values).seeds_needed == needed


def test_power_of_values_that_are_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="got 2 values, expected one finite number"):
        statistics.power([1.0, np.nan])
