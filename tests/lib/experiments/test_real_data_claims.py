"""What is claimed on real data follows from profiles whose agreement can be told by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from gatelr import judgement
from gatelr.experiments import real_data_claims as claims
from scipy import stats

FALLING = np.array([8.0, 4.0, 2.0, 1.0])
RISING = FALLING[::-1].copy()


def lags(**columns: np.ndarray) -> pd.DataFrame:
    """Two checkpoints of two seeds of one setting; the rates before training rise with the lag."""
    plain = dict.fromkeys(("rate", "read rate", "even", "gradient", "sensitivity", "linear", "masked"), FALLING)
    parts = []
    for seed in (1, 2):
        for step in (0, 10):
            profile = plain | columns | ({"rate": RISING} if step == 0 else {})
            parts.append(pd.DataFrame(profile).assign(data="digits", model="GRU", seed=seed, step=step, bin=range(4)))
    return pd.concat(parts, ignore_index=True)


def networks(**columns: float) -> pd.DataFrame:
    """Rows as ``trained`` makes them: 10 seeds of two data sets and three models."""
    draw = np.random.default_rng(0)
    rows = [
        {"data": data, "model": model, "seed": seed, "step": 10, "score": 9.0}
        | {name: value + 0.01 * draw.standard_normal() for name, value in columns.items()}
        for data in ("digits", "co2")
        for model in ("RNN", "GRU", "multi")
        for seed in range(10)
    ]
    return claims.trained(pd.DataFrame(rows))


def test_a_profile_agrees_with_itself_and_disagrees_with_its_reverse() -> None:
    rows = claims.agreement(lags(gradient=RISING, linear=np.array([1.0, 3.0, 2.0, 4.0])))
    assert len(rows) == 4
    last = rows[rows.step == 10].iloc[0]
    assert last.rate == pytest.approx(1)
    assert last.start == pytest.approx(-1)
    assert last.gradient == pytest.approx(-1)
    assert last.linear == pytest.approx(-0.8)
    assert last.overlap == pytest.approx(1)
    assert rows[rows.step == 0].rate.tolist() == pytest.approx([-1, -1])


def test_ranks_are_spearmans_and_a_flat_profile_says_nothing() -> None:
    x, y = np.random.default_rng(1).standard_normal((2, 12))
    assert claims.rank_correlation(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert claims.rank_correlation(np.ones(12), y) == 0


def test_a_partial_correlation_is_that_of_what_regression_leaves() -> None:
    x, y, z = np.random.default_rng(2).standard_normal((3, 30))
    x, y = x + z, y - z

    def left(values: np.ndarray) -> np.ndarray:
        return values - np.polyval(np.polyfit(z, values, 1), z)

    r = np.corrcoef([x, y, z])
    assert claims.partial(r[0, 1], r[1, 2], r[0, 2]) == pytest.approx(np.corrcoef(left(x), left(y))[0, 1])
    assert claims.partial(0.5, 1.0, 0.5) == 0


def test_overlap_is_the_share_that_two_profiles_have_in_common() -> None:
    assert claims.overlap(FALLING, 3 * FALLING) == pytest.approx(1)
    assert claims.overlap(np.array([1.0, 0, 0]), np.array([0, 2.0, 1.0])) == 0
    assert claims.overlap(np.array([1.0, 1.0]), np.array([1.0, -5.0])) == pytest.approx(0.5)  # masking helps: no share
    assert claims.overlap(np.array([1.0, 1.0]), np.array([-1.0, -1.0])) == 0


def test_the_score_is_accuracy_or_how_many_times_better_than_the_constant() -> None:
    training = pd.DataFrame(
        {
            "data": ["digits", "co2"],
            "loss": [0.5, 0.1],
            "constant": [2.3, 1.0],
            "accuracy": [0.9, np.nan],
            "linear loss": [0.3, 0.05],
            "linear accuracy": [0.95, np.nan],
        }
    )
    assert claims.scores(training).tolist() == [0.9, 10.0]
    assert claims.linear_scores(training).tolist() == [0.95, 20.0]


def test_the_table_has_a_row_for_each_network_and_checkpoint() -> None:
    profiles = lags()
    training = profiles[claims.KEYS].drop_duplicates().assign(loss=1.0, constant=2.3, accuracy=0.85)
    training = training.assign(**{"linear loss": 0.5, "linear accuracy": 0.9})
    table = claims.table({"training": training, "lags": profiles})
    assert len(table) == 4
    every = claims.tables({"training": training, "lags": profiles, "memory": training})
    assert every.keys() == claims.TABLES.keys()
    assert not every["agreement"].duplicated(claims.TABLES["agreement"]).any()
    assert set(table.score) == {0.85}
    rows = claims.trained(table)
    assert set(rows.step) == {10}
    assert rows.useful.all()


def test_claims_count_gated_networks_that_learned_something_useful() -> None:
    rows = networks(**dict.fromkeys((*claims.PROFILES, "rate given data", "overlap", "even overlap"), 0.6))
    rows.loc[(rows.data == "digits") & (rows.seed < 3), "useful"] = False
    for claim in claims.claims(rows):
        counted = claim["values"]
        assert set(counted.index.get_level_values("model")) == {"GRU", "multi"}
        assert len(counted) == 2 * (7 + 10)
    by_name = {claim["name"]: claim for claim in claims.claims(rows)}
    assert by_name["rates-agree"]["values"].mean() == pytest.approx(0.6, abs=0.01)
    assert by_name["beyond-recency"]["values"].mean() == pytest.approx(0, abs=0.01)
    assert by_name["rates-agree"]["null"].mean() == pytest.approx(0.6, abs=0.01)


def test_each_data_set_with_each_model_is_a_setting() -> None:
    rows = networks(**dict.fromkeys((*claims.PROFILES, "rate given data", "overlap", "even overlap"), 0.6))
    rows.loc[rows.data == "co2", "rate"] = 0.1
    rows.loc[(rows.data == "digits") & (rows.model == "multi"), "useful"] = False
    claim = next(claim for claim in claims.claims(rows) if claim["name"] == "rates-agree")
    judged = judgement.judge(claim["values"], threshold=claim["threshold"], smallest=claim["smallest"])
    assert {each.setting: each.verdict for each in judged.settings} == {
        "digits, GRU": "supported",
        "co2, GRU": "absent",
        "co2, multi": "absent",
    }


def places(rows: pd.DataFrame) -> pd.DataFrame:
    """The same lags with their places, four to a bin."""
    return rows.assign(**{"from": 4 * rows.bin, "to": 4 * rows.bin + 3, "directions": 1.0 + rows.bin})


def test_the_mean_lag_is_that_of_the_shares() -> None:
    rows = places(lags(masked=np.array([0.0, 2.0, -5.0, 2.0])))
    assert claims.mean_lag(rows, "masked").tolist() == pytest.approx([(5.5 + 13.5) / 2] * 4)
    assert claims.mean_lag(rows, "rate").iloc[0] > claims.mean_lag(rows, "rate").iloc[1]  # rising before training
    assert claims.mean_lag(rows.assign(masked=-1.0), "masked").isna().all()


def test_the_course_has_a_median_for_each_checkpoint() -> None:
    rows = places(lags())
    memory = rows[claims.KEYS].drop_duplicates().assign(median=[1.0, 2.0, 3.0, 6.0])
    (course,) = claims.course(rows, memory).to_dict("records")
    assert course["time constant"] == "2.0 → 4.0"
    assert course["directions"] == "3.0 → 3.0"
    assert course["mean lag of rates"].count("→") == 1
