"""What is claimed of effective rates follows from the tables."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from gatelr import judgement
from gatelr.experiments import effective_rate_claims, effective_rates


def test_rows_are_selected_by_gate_and_keep_their_setting() -> None:
    rows = pd.DataFrame(
        [
            ("paper", "recall", "multi", 2, 800, 1.0),
            ("paper", "recall", "multi", 1, 800, 2.0),
            ("paper", "recall", "constant", 1, 800, 3.0),
            ("trained", "short, SGD at 0.05", "scalar", 1, 300, 4.0),
            ("paper", "recall", "multi", 1, 0, 5.0),
        ],
        columns=["protocol", "setting", "gate", "seed", "step", "value"],
    )
    last = effective_rates.at_end(rows)
    assert effective_rate_claims.select(last, ("scalar", "multi")).value.to_dict() == {
        ("recall", "multi", 1): 2.0,
        ("recall", "multi", 2): 1.0,
        ("short, SGD at 0.05", "scalar", 1): 4.0,
    }


def test_a_slope_below_zero_explains_nothing_and_the_size_of_r_has_no_sign() -> None:
    fits = pd.DataFrame({"order 0 slope": [1.0, -1.0], "order 0 r2": 0.5, "lag slope": 2.0, "lag r2": 0.25})
    fits = fits.assign(**{f"order 0 {gates} r": [0.5, -0.75] for gates in ("within", "shuffled", "foreign")})
    signed = effective_rate_claims.with_signs(fits)
    assert signed["order 0 forward"].tolist() == [0.5, 0.0]
    assert signed["lag forward"].tolist() == [0.25, 0.25]
    assert signed["order 0 foreign |r|"].tolist() == [0.5, 0.75]


def test_shares_of_a_correlation_average_to_it_and_scatter_as_it_does() -> None:
    draw = np.random.default_rng(0)
    x = pd.Series(draw.normal(size=400))
    y = 0.5 * x + pd.Series(draw.normal(size=400))
    shares = effective_rate_claims._correlation_shares(x, y)
    r = np.corrcoef(x, y)[0, 1]
    assert shares.mean() == pytest.approx(r)
    again = [np.corrcoef(*np.stack([x, y])[:, draw.integers(400, size=400)])[0, 1] for _ in range(2000)]
    assert shares.std() / 20 == pytest.approx(np.std(again), rel=0.1)


def networks(step: int) -> pd.DataFrame:
    """Two seeds of every model, each column of which is a number of its own."""
    columns = [f"{name} {kind}" for name in effective_rates.PREDICTORS for kind in ("r2", "slope")]
    columns += [f"order 0 {gates} r" for gates in ("within", *effective_rates.NULLS)] + ["S @16", "order 0 @16"]
    draw = np.random.default_rng(step)
    rows = [
        (*setting, gate, seed)
        for setting, gate, seed in product(effective_rates.SETTINGS, effective_rates.GATES, (1, 2, 3))
    ]
    table = pd.DataFrame(rows, columns=["protocol", "setting", "gate", "seed"]).assign(step=step)
    return table.assign(**{name: draw.uniform(size=len(rows)) for name in columns})


def test_claims_compare_the_columns_that_they_name_in_each_setting() -> None:
    fits = networks(0)
    pooled = {claim["name"]: claim for claim in effective_rate_claims.pooled(fits)}
    within = {claim["name"]: claim for claim in effective_rate_claims.within(fits)}
    assert (len(pooled), len(within)) == (4, 6)
    rows = effective_rate_claims.select(fits, ("scalar", "multi"))
    nulls = rows[["order 0 shuffled r", "order 0 foreign r"]].abs().max(axis=1)
    pairs = {
        "more-than-lag": rows["order 0 r2"] - rows["lag r2"],
        "order-one": rows["order 1 r2"] - rows["order 0 r2"],
        "kept-not-written": rows["order 0 r2"] - rows["published r2"],
        "within-sign": rows["order 0 within r"],
        "within-foreign": rows["order 0 within r"] - rows["order 0 foreign r"],
        "predicts": rows["order 0 within r"].abs() - nulls,
        "predicts-shuffled": rows["order 0 within r"].abs() - rows["order 0 shuffled r"].abs(),
    }
    for name, values in pairs.items():
        claim = (pooled | within)[name]
        pd.testing.assert_series_equal(claim["values"], values, check_names=False)
        judged = judgement.judge(claim["values"], threshold=claim["smallest"], smallest=claim["smallest"])
        assert len(judged.settings) == 6 * 2, "each task with each learned gate"
        assert judged.settings[0].seeds == 3
    assert pooled["order-one"]["about"] == "C8"
    np.testing.assert_allclose(within["within-sign"]["null"], rows["order 0 shuffled r"])


def test_claims_on_profiles_are_those_of_lag_16() -> None:
    start, end = networks(0), networks(7)
    claims = {claim["name"]: claim for claim in effective_rate_claims.profiles(pd.concat([start, end]))}
    assert list(claims) == ["falls", "follows-gates", "reaches"]
    before, after = (effective_rate_claims.select(rows, effective_rates.GATES) for rows in (start, end))
    np.testing.assert_allclose(claims["reaches"]["values"], after["S @16"] - before["S @16"])
    np.testing.assert_allclose(claims["falls"]["values"], -after["S @16"])
    one = after.loc["short, SGD at 0.05", "multi"]
    shares = claims["follows-gates"]["values"].loc["short, SGD at 0.05", "multi"]
    assert shares.mean() == pytest.approx(one["S @16"].corr(one["order 0 @16"]))


def test_no_more_than_three_claims_are_primary() -> None:
    claims = [*effective_rate_claims.pooled(networks(0)), *effective_rate_claims.within(networks(0))]
    claims += effective_rate_claims.profiles(pd.concat([networks(0), networks(7)]))
    assert sorted(claim["name"] for claim in claims if claim["primary"]) == sorted(effective_rate_claims.PRIMARY)
    assert len(effective_rate_claims.PRIMARY) <= judgement.MOST_PRIMARY
