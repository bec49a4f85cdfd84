"""Areas, ratios and contrasts of maps that are written by hand."""

import numpy as np
import pandas as pd
import pytest
from gatelr import judgement
from gatelr.experiments import trainability_claims as claims
from gatelr.experiments.trainability import ARMS, GAINS, RATES


def records(arms: dict[str, float], seeds: int = 3) -> pd.DataFrame:
    """Networks that are trained at rates below a limit of their arm, at every gain."""
    return pd.DataFrame(
        {
            "after": "silence",
            "updates": 9,
            "arm": arm,
            "lag": 20,
            "seed": seed,
            "gain": gain,
            "rate": rate,
            "loss": loss,
        }
        for arm, limit in arms.items()
        for seed in range(1, seeds + 1)
        for gain in GAINS
        for rate in RATES
        for loss in [claims.CONSTANT / (10 if rate < limit * seed else 2)]
    )


def test_areas_are_shares_of_the_map() -> None:
    table = claims.ratios(records({"none": 0.005}))
    assert list(table.columns) == [*claims.ROW, *claims.COLUMNS.values()]
    assert len(table) == 3 * len(GAINS)
    shares = claims.areas(table).set_index("seed").area
    # below 0.005, 0.01 and 0.015 lie six, six and seven of the rates
    assert shares.tolist() == pytest.approx([6 / 15, 6 / 15, 7 / 15])
    border = claims.on_border(table).loc["none"]
    assert border["smallest rate"] == 1
    assert border["largest rate"] == 0


def test_a_diverged_network_is_not_trained() -> None:
    rows = records({"none": 0.005})
    rows["loss"] = np.inf
    assert not claims.areas(claims.ratios(rows)).area.any()


def test_a_contrast_is_taken_within_a_seed_and_is_empty_where_an_arm_is_missing() -> None:
    areas = claims.areas(claims.ratios(records({"none": 0.005, "scalar": 0.05})))
    difference = claims.contrast(areas, {"scalar": 1.0, "none": -1.0})
    assert difference.index.names == ["lag", "seed"]
    assert difference.tolist() == pytest.approx([2 / 15, 2 / 15, 2 / 15])
    assert claims.contrast(areas, {"scalar": 1.0, "multi": -1.0}).empty


def test_every_contrast_names_arms_and_no_more_than_three_are_primary() -> None:
    weights = [part for contrast in claims.CONTRASTS.values() for part in contrast.parts.values()]
    assert {arm for part in weights for arm in part} <= set(ARMS)
    assert sum(contrast.primary for contrast in claims.CONTRASTS.values()) == 3
    assert all(abs(sum(part.values())) < 1e-12 for part in weights)


def test_each_lag_and_each_learned_gate_is_a_setting() -> None:
    limits = {"none": 0.005, "scalar": 0.05, "multi": 0.5, "constant": 0.05}
    two = [records(limits).assign(lag=lag) for lag in (10, 20)]
    areas = claims.tables({"map": pd.concat(two)})["areas"]
    found = {claim["name"]: claim for claim in claims.claims(areas)}
    assert set(found) == {"gates-widen", "learning-the-gate"}, "those whose arms are all there"
    judged = judgement.judge(found["gates-widen"]["values"], threshold=0.05)
    assert [each.setting for each in judged.settings] == [
        "lag 10, scalar",
        "lag 20, scalar",
        "lag 10, multi",
        "lag 20, multi",
    ]
    assert [each.mean for each in judged.settings[:2]] == pytest.approx([2 / 15, 2 / 15])


def test_a_ratio_of_means_and_its_interval() -> None:
    above, below = np.array([0.2, 0.4, 0.6]), np.array([0.1, 0.2, 0.3])
    quotient = claims.ratio(above, below)
    assert tuple(quotient) == pytest.approx((2, 2, 2))  # pairs have one ratio: nothing varies
    wider = claims.ratio(above, below[::-1])
    assert wider.low < 2 < wider.high
    assert claims.ratio(above, 0 * below).high == np.inf
    with pytest.raises(ValueError, match="expected the same seeds, at least 2"):
        claims.ratio(above, below[:2])


def test_the_table_by_lag_has_a_row_for_each_arm() -> None:
    areas = claims.areas(claims.ratios(records({"none": 0.005, "scalar": 0.05})))
    told = claims.by_lag(areas)
    assert told.loc["none", 20].startswith("0.42; 1 (1 to 1)")
    assert told.loc["scalar", 20].startswith("0.56; 1.3")
