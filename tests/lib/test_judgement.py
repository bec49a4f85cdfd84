"""The rules of judgement: what a setting and a claim come to."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from gatelr import judgement
from scipy import stats


def series(**by_setting: list[float]) -> pd.Series:
    index = [(setting, seed) for setting, values in by_setting.items() for seed in range(len(values))]
    values = [value for values in by_setting.values() for value in values]
    return pd.Series(values, pd.MultiIndex.from_tuples(index, names=["setting", "seed"]))


SUPPORTED, ABSENT, REFUTED = [0.9, 1.0, 1.1], [-0.01, 0.0, 0.01], [-1.1, -1.0, -0.9]
UNDECIDED = [-1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("settings", "verdict"),
    [
        ({"a": SUPPORTED, "b": SUPPORTED}, "supported"),
        ({"a": ABSENT, "b": ABSENT}, "absent"),
        ({"a": REFUTED, "b": REFUTED}, "refuted"),
        ({"a": REFUTED, "b": ABSENT}, "refuted"),
        ({"a": SUPPORTED, "b": REFUTED}, "mixed"),
        ({"a": SUPPORTED, "b": ABSENT}, "mixed"),
        ({"a": SUPPORTED, "b": UNDECIDED}, "mixed"),
        ({"a": REFUTED, "b": UNDECIDED}, "undecided"),
        ({"a": UNDECIDED, "b": UNDECIDED}, "undecided"),
    ],
)
def test_a_claim_comes_to_what_its_settings_come_to(settings: dict[str, list[float]], verdict: str) -> None:
    judged = judgement.judge(series(**settings), threshold=0.1, smallest=0.1)
    assert judged.verdict == verdict
    assert judged.supported == tuple(name for name, values in settings.items() if values is SUPPORTED)


def test_the_whole_interval_decides() -> None:
    values = np.array([0.05, 0.3, 0.4, 0.45])
    wide, narrow = judgement.interval(values, 0.99), judgement.interval(values, 0.5)
    assert wide[0] < 0.1 < narrow[0]
    assert judgement.judge(pd.Series(values), threshold=0.1).verdict == "undecided"
    assert judgement.judge(pd.Series(values), threshold=-0.2).verdict == "supported"
    assert judgement.judge(pd.Series(-values), threshold=0.2, greater=False).verdict == "supported"


def test_intervals_are_students_and_hold_together() -> None:
    values = np.random.default_rng(0).standard_normal(12)
    expected = stats.t.interval(0.99, 11, loc=values.mean(), scale=stats.sem(values))
    assert judgement.interval(values, 0.99) == pytest.approx(expected)
    many = series(a=SUPPORTED, b=SUPPORTED, c=SUPPORTED, d=SUPPORTED)
    assert judgement.judge(many, threshold=0.0).level == pytest.approx(1 - 0.05 / 4)
    assert judgement.judge(many, threshold=0.0, primary=True).level == pytest.approx(1 - 0.05 / 12)


def test_a_null_effect_in_every_setting_is_rarely_supported() -> None:
    # of 400 primary claims without an effect in six settings, at most a twentieth may find one anywhere, beyond chance
    draws = np.random.default_rng(1).standard_normal((400, 6, 10))
    names = [f"s{i}" for i in range(6)]
    found = 0
    for draw in draws:
        judged = judgement.judge(series(**dict(zip(names, draw.tolist(), strict=True))), threshold=0.0)
        found += bool(judged.supported) or any(each.verdict == "refuted" for each in judged.settings)
    assert found <= stats.binom.isf(0.001, 400, 0.05)


def test_absent_needs_a_smallest_effect() -> None:
    assert judgement.judge(series(a=ABSENT), threshold=0.0).verdict == "undecided"
    assert judgement.judge(series(a=ABSENT), threshold=0.1).verdict == "refuted"
    assert judgement.judge(series(a=ABSENT), threshold=0.1, smallest=0.1).verdict == "absent"
    assert judgement.judge(series(a=ABSENT), threshold=0.1, smallest=0.001).verdict == "refuted"


def test_settings_are_named_by_all_levels_but_the_seed() -> None:
    index = pd.MultiIndex.from_tuples(
        [(seed, task, gate) for seed in (1, 2) for task in ("adding", "recall") for gate in ("scalar", "multi")],
        names=["seed", "setting", "gate"],
    )
    judged = judgement.judge(pd.Series(range(8), index), threshold=0.0)
    names = [each.setting for each in judged.settings]
    assert names == ["adding, scalar", "adding, multi", "recall, scalar", "recall, multi"]
    assert [each.mean for each in judged.settings] == [2.0, 3.0, 4.0, 5.0]


def test_one_seed_decides_nothing() -> None:
    judged = judgement.judge(series(a=[5.0], b=SUPPORTED), threshold=0.0)
    assert [each.verdict for each in judged.settings] == ["undecided", "supported"]
    assert judged.verdict == "mixed"


@pytest.mark.parametrize(
    ("values", "options", "sentence"),
    [
        (pd.Series(dtype=float), {}, "got 0 values of which 0 are finite"),
        (pd.Series([1.0, np.nan]), {}, "got 2 values of which 1 are finite"),
        (pd.Series([1.0, 2.0]), {"smallest": 0.0}, "got a smallest effect of 0.0, expected a positive number"),
    ],
)
def test_what_cannot_be_judged_is_refused(values: pd.Series, options: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        judgement.judge(values, threshold=0.0, **options)
