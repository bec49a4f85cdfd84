"""What E4's chapter shows and claims is what a reader would compute from the records."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gatelr.experiments import against_optimisers, interventions, runs
from gatelr.experiments import against_optimisers_claims as claims
from gatelr.experiments import against_optimisers_exploratory as exploratory
from gatelr.experiments import against_optimisers_page as pages
from gatelr.judgement import judge
from scipy import stats

pytestmark = pytest.mark.slow


REFERENCE = Path(__file__).parents[3] / "reference"
PARAMETERS = {"seeds": 3, "tasks_here": ["adding", "moving_average"], "training_steps": 4, "grid_here": False}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (against_optimisers, interventions):
        for name, size in {"NEURONS": 4, "BATCH": 3, "FRESH": 5, "PROBED": 6}.items():
            monkeypatch.setattr(module, name, size)


def test_the_rates_are_the_best_of_the_committed_search(monkeypatch: pytest.MonkeyPatch) -> None:
    search = pd.read_csv(REFERENCE / "e4-grid.csv")
    assert len(claims.best_rates(search)) == 8 * len(against_optimisers.TASKS)
    assert claims.not_best(search) == 0
    monkeypatch.setitem(against_optimisers.RATES["adding"], against_optimisers.MULTI, 7.0)
    assert claims.not_best(search) == 1
    assert claims.not_best(search[search.task != "adding"]) == 8


def test_a_run_that_diverged_scores_a_hundred_times_worse_than_the_constant() -> None:
    table = pd.DataFrame({"loss": [0.01, 1.0, math.inf, math.nan, 1e9], "constant": 0.1})
    assert claims.score(table).tolist() == pytest.approx([-1.0, 1.0, 2.0, 2.0, 2.0])


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> runs.Tables:
    with pytest.MonkeyPatch.context() as patch:
        small.__wrapped__(patch)
        return runs.load(against_optimisers.plan(PARAMETERS), folder=tmp_path_factory.mktemp("runs"), progress=False)


def test_tables_have_one_row_for_each_network_and_step(records: runs.Tables) -> None:
    tables = claims.tables(records)
    networks = 2 * 3  # tasks and seeds
    assert {name: len(table) for name, table in tables.items()} == {
        "training": networks * 8 * 5,
        "steps": networks * 8 * 4,
        "lags": networks * 4 * 5,
        "arms": networks * (4 + 4 + 2) * 5,
    }
    for name, table in tables.items():
        keys = claims.ARM_KEYS if name == "arms" else claims.KEYS
        assert not table.duplicated(keys).any(), name
    chosen = "task == 'adding' and gate == 'multi' and optimiser == 'SGD' and seed == 22 and step == 3"
    whole = records["lags"].query(f"{chosen} and lag == 8")
    assert tables["lags"].query(chosen)["factor @8"].tolist() == pytest.approx(np.log10(whole.factor).tolist())


def test_a_network_that_diverged_has_a_loss_and_rates_that_can_be_compared(records: runs.Tables) -> None:
    arms = records["arms"].copy()
    seed = (arms.arm == "learns") & (arms.seed == 21)
    arms.loc[seed, ["loss", "factor @4"]] = [math.inf, -math.inf]
    tables = claims.tables(records | {"arms": arms})
    learns = tables["arms"].query("arm == 'learns'").set_index("seed")
    assert (learns.loss[21] == 100 * learns.constant[21]).all()
    assert (learns["factor @4"][21] == -16).all()
    assert (learns["factor @4"][22] > -16).all()
    assert tables["arms"].query("arm in ('imposed', 'permuted')")["factor @4"].isna().all()


def test_the_arm_that_learns_is_the_network_of_that_method(records: runs.Tables) -> None:
    tables = claims.at_quarters(claims.tables(records))
    arms, losses = claims.arms(claims.at_end(tables["arms"])), claims.losses(tables["training"])
    for gate in ("scalar", "multi"):
        learns = arms.xs(gate, level="gate")["learns"]
        np.testing.assert_allclose(learns, losses[gate, "SGD"].loc[learns.index], atol=1e-4)
    factors = tables["arms"].query("arm == 'learns' and gate == 'multi'").set_index(["task", "seed", "step"])
    expected = tables["lags"].query("gate == 'multi' and optimiser == 'SGD'").set_index(["task", "seed", "step"])
    np.testing.assert_allclose(factors["factor @4"], expected["factor @4"].loc[factors.index], atol=1e-4)


def test_foreign_gates_are_those_of_the_neighbour(records: runs.Tables) -> None:
    rows = records["rows"].query("task == 'adding' and gate == 'multi' and optimiser == 'SGD' and step == 4")
    ranks = claims.foreign(rows).set_index("seed")["rows like Adam, foreign"]
    for seed, other in {21: 22, 22: 21, 23: 21}.items():
        gate, adam = rows[rows.seed == other]["by gate"], rows[rows.seed == seed]["by Adam"]
        assert ranks[seed] == pytest.approx(stats.spearmanr(gate, adam).statistic)
    two = claims.foreign(rows[rows.seed < 23]).set_index("seed")["rows like Adam, foreign"]
    assert two.to_dict() == ranks.loc[[21, 22]].to_dict()


def test_quarters_are_those_of_the_longest_run() -> None:
    table = pd.DataFrame({"step": [0, 2, 4, 750, 3000], "loss": 0.01, "constant": 0.1})
    quarters = claims.at_quarters({"training": table, "arms": table, "steps": table})
    assert quarters["steps"].step.tolist() == [0, 750, 3000]
    assert quarters["training"].ratio.tolist() == pytest.approx([10.0] * 3)
    assert quarters["arms"].score.tolist() == pytest.approx([-1.0] * 3)


def by_hand(**arms: tuple[float, float]) -> pd.DataFrame:
    """Of each arm a score, and how much the rate of lag ℓ moves, over 1 + ℓ: one task, one gate and two seeds."""
    rows = []
    for (arm, (score, change)), seed, step in [
        (each, seed, step) for each in arms.items() for seed in (1, 2) for step in (0, 8)
    ]:
        moved = {f"factor @{lag}": -1 - lag + (step > 0) * change * (1 + lag) for lag in against_optimisers.LAGS}
        keys = {"task": "adding", "gate": "multi", "arm": arm, "seed": seed, "step": step}
        rows.append(keys | {"score": score if step else 0.0} | moved)
    return pd.DataFrame(rows)


def test_changes_are_the_end_less_the_start_and_moves_their_size_beyond_frozen_gates() -> None:
    rows = by_hand(learns=(-2.0, -0.5), frozen=(-1.0, 0.1))
    changes = claims.changes(rows).set_index(["arm", "lag", "seed"]).change
    assert [changes["learns", 0, 1], changes["learns", 4, 2], changes["frozen", 1, 1]] == pytest.approx(
        [-0.5, -2.5, 0.2]
    )
    assert len(changes) == 2 * 2 * len(against_optimisers.LAGS)
    mean = np.mean([1 + lag for lag in against_optimisers.LAGS if lag])
    assert claims.moves(rows).tolist() == pytest.approx([0.4 * mean] * 2)
    diverged = rows.assign(score=rows.score.where((rows.arm != "frozen") | (rows.seed == 1), 2.0))
    assert claims.moves(diverged).tolist() == pytest.approx([0.4 * mean, 0.0])
    without = rows.assign(arm=rows.arm.replace("frozen", "rows"))
    without.loc[without.arm == "rows", [f"factor @{lag}" for lag in against_optimisers.LAGS]] = math.nan
    assert set(claims.changes(without).arm) == {"learns"}


def test_gains_are_decades_below_the_frozen_gate() -> None:
    rows = by_hand(learns=(-2.0, 0.0), frozen=(-1.0, 0.0), imposed=(-1.75, 0.0), permuted=(-0.5, 0.0))
    losses = claims.arms(claims.at_end(rows))
    table = claims.imposed_table(losses)
    assert table.iloc[0].tolist()[:2] == ["adding", "multi"]
    begins = [text.split(" ")[0] for text in table.iloc[0].tolist()[2:]]
    assert begins == ["+1.00", "+0.75", "-0.50"]
    found = exploratory.schedule(rows, losses)
    assert found["schedule-gain"]["values"].tolist() == pytest.approx([0.75] * 2)
    assert found["schedule-gain"]["null"].tolist() == pytest.approx([-0.5] * 2)
    assert found["schedule-gap"]["values"].tolist() == pytest.approx([1.0] * 2)


def test_every_exploratory_claim_is_judged_in_each_setting(records: runs.Tables) -> None:
    tables = claims.at_quarters(claims.tables(records))
    arms, losses = claims.arms(claims.at_end(tables["arms"])), claims.losses(tables["training"])
    last = claims.at_end(tables["steps"])
    by_gate = exploratory.schedule(tables["arms"], arms) | exploratory.momentum(last)
    by_task = exploratory.learned(losses) | exploratory.adam(last) | exploratory.complementary(losses)
    by_task |= exploratory.preconditioned(losses, arms)
    tasks = ["adding", "moving average"]
    for settings, group in ((tasks, by_task), ([f"{t}, {g}" for t in tasks for g in ("scalar", "multi")], by_gate)):
        for name, claim in group.items():
            options = {key: claim[key] for key in ("smallest", "greater") if key in claim}
            judged = judge(claim["values"], threshold=claim.get("threshold", 0.0), **options)
            assert {each.setting for each in judged.settings} == set(settings), name
            assert {each.seeds for each in judged.settings} == {3}, name
    assert len(by_gate) + len(by_task) == 5 + 10


def test_the_interaction_is_what_both_do_beyond_the_sum(records: runs.Tables) -> None:
    columns = pd.MultiIndex.from_product([["none", "multi"], ["SGD", "Adam"]], names=["gate", "optimiser"])
    index = pd.MultiIndex.from_tuples([("adding", 1)], names=["task", "seed"])
    losses = pd.DataFrame([[-0.5, -1.0, -1.5, -3.0]], index=index, columns=columns)
    found = exploratory.complementary(losses)
    assert found["complementary"]["values"].tolist() == [1.5]
    assert found["more-than-additive"]["values"].tolist() == [-1.0]
    assert exploratory.learned(losses)["learns"]["values"].tolist() == [1.0]
    arms = pd.DataFrame({"rows": [-0.75], "rows permuted": [-0.6]}, index=[("adding", "multi", 1)])
    arms.index = pd.MultiIndex.from_tuples(arms.index, names=["task", "gate", "seed"])
    assert exploratory.preconditioned(losses, arms)["adam-rows-help"]["values"].tolist() == pytest.approx([0.15])


def test_rows_differ_by_their_share_of_the_variance() -> None:
    keys = {"task": ["adding", "adding", "delay-sum"], "gate": "multi", "optimiser": "SGD", "seed": [21, 22, 21]}
    steps = {"spread": [0.2, 0.4, 1.0], "rows": [0.25, 0.25, 0.0], "Adam spread": 2.0, "Adam rows": 1.0}
    spreads = claims.row_spreads(pd.DataFrame(keys | steps))
    assert spreads["gate"].to_dict() == pytest.approx({"adding": 0.15, "delay-sum": 0.0})
    assert spreads["Adam"].tolist() == [2.0, 2.0]


def test_settings_are_named_where_a_claim_is_supported() -> None:
    rows = [
        {"setting": "adding, multi", "verdict": "supported", "effect": 0.125},
        {"setting": "moving average, multi", "verdict": "absent", "effect": -0.5},
    ]
    found = claims.quoted([{"id": "adam", "by setting": rows}, {"id": "learns", "by setting": rows[1:]}])
    assert found == {
        "adam-where": ("adding, multi", "adding, multi"),
        "adam-adding-multi": (0.125, "0.12"),
        "adam-moving-average-multi": (-0.5, "-0.50"),
        "learns-where": ("none", "none"),
        "learns-moving-average-multi": (-0.5, "-0.50"),
    }


def test_the_table_of_rates_marks_those_at_an_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(against_optimisers.RATES["adding"], against_optimisers.MULTI, 3.0)
    monkeypatch.setitem(against_optimisers.RATES["adding"], ("none", "SGD"), 0.3)
    table = claims.rates_table().set_index("method")
    assert list(table) == ["adding", "moving average", "delay-sum", "grid"]
    assert table.loc["multi + SGD", "adding"] == "3 (edge)"
    assert table.loc["none + SGD", ["adding", "grid"]].tolist() == ["0.3", "0.03, 0.1, 0.3, 1, 3"]


def test_the_course_has_a_row_for_each_step(records: runs.Tables) -> None:
    steps = claims.tables(records)["steps"]
    course = pages.course(steps)
    assert course["training step"].tolist() == [1, 2, 3, 4]
    last = steps.query("gate == 'multi' and optimiser == 'SGD' and step == 4")
    assert course["Adam: spread"].iloc[-1].startswith(f"{last['Adam spread'].mean():.2f} (")


def test_the_page_has_each_property_of_each_method(records: runs.Tables) -> None:
    tables = claims.tables(records)
    page = pages.one_page(tables["steps"], tables["lags"]).set_index(["method", "property"])
    assert len(page) == 9 * 6
    assert page.loc["schedule"]["mean"].isna().any()  # its steps are all alike
    multi = page.loc["multi"]
    last = tables["steps"].query("gate == 'multi' and optimiser == 'SGD' and step == 4")
    assert multi.loc["differs over coordinates: sd of log₁₀", "mean"] == pytest.approx(last.spread.mean())
    steps = tables["steps"].query("gate == 'multi' and optimiser == 'SGD'").groupby("step")["log step"].mean()
    assert multi.loc["drifts over training: decades, ¼ to ¾", "mean"] == pytest.approx(steps[3] - steps[1])
    assert (multi.low <= multi["mean"]).all()
    assert (multi.seeds == 3).all()
    text = pages.page_text(page.reset_index())
    assert text.shape == (9, 6)
    assert text.loc["rows agree with Adam: rank r", "momentum"] == "all alike"
    assert text.loc["memory along iterations: share of the step", "multi"] == "0.00"
