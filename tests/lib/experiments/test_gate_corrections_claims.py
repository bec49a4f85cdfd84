"""E3's statistics are what they say on tables made by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from gatelr.experiments import gate_corrections
from gatelr.experiments import gate_corrections_claims as claims

CONSTANT = claims.settings()["constant's loss"]


def losses(**passes: list[float]) -> pd.DataFrame:
    """Of one model, two seeds, at steps 0 and 1000; seed by seed, in units of the best constant's loss."""
    keys = {"task": "moving average", "gate": "multi", "seed": [21, 21, 22, 22], "step": [0, 1000, 0, 1000]}
    table = pd.DataFrame(keys | dict.fromkeys(gate_corrections.PASSES, 1.0) | passes)
    table[list(gate_corrections.PASSES)] *= CONSTANT["moving average"]
    return table


def searched(**scores: list[float]) -> pd.DataFrame:
    """Of the first model, each pass with a score for each rate of the grid and each of two seeds."""
    grid = gate_corrections.SETTINGS["moving average"].grid
    rows = [
        ("moving average", "scalar", name, rate, seed, value)
        for name, values in scores.items()
        for rate, value in zip(grid, values, strict=True)
        for seed in (101, 102)
    ]
    return pd.DataFrame(rows, columns=[*claims.KEYS["grid"], "score"])


def test_settings_have_the_loss_of_the_best_constant() -> None:
    table = claims.settings()
    assert list(table.index) == list(gate_corrections.SETTINGS)
    assert table.loc["adding, 20", ["T", "optimiser", "updates"]].tolist() == [20, "SGD", 2400]
    assert table.loc["adding, 20", "constant's loss"] == pytest.approx(1 / 6)


def test_a_network_that_diverged_scores_a_hundred_times_the_constant() -> None:
    rows = losses(full=[0.1, math.nan, math.inf, 1e9])
    rows = rows.assign(loss=rows.full)
    assert claims.score(rows).tolist() == pytest.approx([-1.0, 2.0, 2.0, 2.0])


def test_the_best_rate_has_the_smallest_mean_score(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = gate_corrections.SETTINGS["moving average"].grid
    worse = [1.0] * (len(grid) - 2)
    search = searched(full=[-1.0, -2.0, *worse], foreign=[-1.0, -0.5, *worse])
    best = claims.best_rates(search)
    assert best.to_dict() == {
        ("moving average", "scalar", "full"): grid[1],
        ("moving average", "scalar", "foreign"): grid[0],
    }
    monkeypatch.setattr(claims, "SEARCHED", ("full", "foreign"))
    for rates, wrong in {(grid[1], grid[0]): 0, (grid[1], grid[1]): 1, (grid[0], grid[1]): 2}.items():
        monkeypatch.setattr(claims, "RATES", {("moving average", "scalar"): rates})
        assert claims.not_best(search) == wrong
    assert claims.not_best(search[search.run == "full"]) == 2  # a rate that was not searched is not known to be best


def test_the_search_is_told_from_the_runs_that_decide() -> None:
    rows = losses(full=[1.0, 0.1, 1.0, 0.01])
    rows = rows.assign(loss=rows.full, run="full", rate=0.3, search=rows.seed == 22)
    assert claims.searched({"training": rows}).score.tolist() == pytest.approx([0.0, -2.0])
    assert claims.tables({"training": rows})["training"].seed.tolist() == [21, 21]


def test_rates_at_an_edge_are_marked() -> None:
    grid = gate_corrections.SETTINGS["digits"].grid
    assert [claims.at_edge("digits", rate) for rate in grid] == [True, *[False] * (len(grid) - 2), True]
    table = claims.rates_table()
    assert len(table) == len(gate_corrections.MODELS)
    marked = table[list(gate_corrections.SEARCHED)].map(lambda text: text.endswith("(edge)"))
    edges = [claims.at_edge(model[0], rate) for model, rates in gate_corrections.RATES.items() for rate in rates]
    assert marked.to_numpy().ravel().tolist() == edges


def test_tables_have_a_column_for_each_pass_and_part_those_that_decide() -> None:
    rows = losses(**{"full": [4.0, 1.0, 4.0, 2.0], "other data": [4.0, 3.0, 4.0, 3.0]})
    long = rows.melt(claims.KEYS["training"], var_name="run", value_name="loss").assign(search=False, rate=0.1)
    size = rows[claims.KEYS["size"]].assign(run="full", share=0.1, search=False, rate=0.1)
    tables = claims.tables({"training": long, "size": size, "cost": pd.DataFrame()})
    assert list(tables) == ["training", "others", "size"]
    assert list(tables["size"]) == [*claims.KEYS["size"], "share"]
    for name, passes in {"training": gate_corrections.DECIDING, "others": gate_corrections.OTHERS}.items():
        pd.testing.assert_frame_equal(tables[name], rows[[*claims.KEYS[name], *passes]], check_names=False)


def test_without_the_other_passes_their_table_has_no_rows() -> None:
    rows = losses().melt(claims.KEYS["training"], list(gate_corrections.DECIDING), "run", "loss").assign(search=False)
    others = claims.tables({"training": rows})["others"]
    assert others.empty
    assert list(others) == [*claims.KEYS["others"], *gate_corrections.OTHERS]


def test_effects_are_those_of_the_last_step() -> None:
    rows = losses(**{"full": [4.0, 1.0, 4.0, 2.0], "gate dropped": [4.0, 10.0, 4.0, 2.0], "foreign": [1, 100, 1, 1e9]})
    effects = claims.effects(rows)
    assert "full" not in effects
    assert effects["gate dropped"].tolist() == pytest.approx([1.0, 0.0])
    assert effects["foreign over dropped"].tolist() == pytest.approx([1.0, math.log10(50)])  # 100 times the constant
    assert effects.index.names == claims.SEEDED


def test_who_never_arrives_counts_as_the_last_step() -> None:
    rows = losses(**{"full": [1, 0.1, 0.1, 0.1], "gate dropped": [1, 1, 1, 0.1], "foreign": [1, math.nan, 1, 0.21]})
    rows = rows.assign(step=[10, 1000, 10, 1000])
    first = claims.arrivals(rows)
    assert first.to_numpy().tolist() == [[1000, np.inf, np.inf], [10, 1000, np.inf]]
    assert claims.delays(first)["gate dropped"].tolist() == pytest.approx([0.0, 2.0])
    assert claims.delays(first)["foreign"].tolist() == pytest.approx([0.0, 2.0])


def test_likeness_averages_over_windows() -> None:
    row = {"task": "digits", "gate": "multi", "seed": 21, "window": 0, "c mean": 0.2, "g mean": 0.1}
    row |= {"c @1": 0.8, "c @32": 0.0, "c shuffled": 0.4, "c foreign": 0.0, "c fresh": 0.9}
    row |= {"c resultant": 0.6, "c random": 0.1}
    alike = claims.likeness(pd.DataFrame([row, row | {"window": 64, "c mean": 0.4, "c @32": 0.5}]))
    assert alike.loc[("digits", "multi", 21)].to_dict() == pytest.approx(
        {"all windows": 0.3, "later windows": 0.4, "gradient": 0.1, "far": 0.25, "neighbours": 0.8}
        | {"shuffled": 0.4, "foreign": 0.0, "fresh": 0.9, "resultant": 0.5}
    )


def test_cosines_are_means_over_windows() -> None:
    row = {"task": "digits", "gate": "multi", "seed": 21, "window": 0}
    row |= {f"{kind} @{d}": 0.2 for kind in "cg" for d in (1, 2, 8)} | {"c mean": 1.0, "c fresh": 0.9}
    cosines = claims.cosines(pd.DataFrame([row, row | {"window": 64, "g @8": 0.6}]))
    assert len(cosines) == 2 * 3 + 1
    other = cosines[cosines.cosine != 0.2].sort_values("of")
    assert other[["of", "distance", "cosine"]].values.tolist() == [["correction", 0, 0.9], ["gradient", 8, 0.4]]


def test_models_come_in_the_order_of_the_settings() -> None:
    index = pd.MultiIndex.from_tuples(
        [("digits", "scalar", 21), ("adding, 20", "multi", 21), ("adding, 20", "scalar", 21)], names=claims.SEEDED
    )
    assert claims.in_order(pd.DataFrame({"rank": [1, 2, 3]}, index))["rank"].tolist() == [3, 2, 1]


def test_exploratory_claims_are_differences_and_logarithms_of_ratios() -> None:
    index = pd.MultiIndex.from_tuples([("digits", "multi", 21), ("digits", "multi", 22)], names=claims.SEEDED)
    alike = pd.DataFrame(0.5, index, ["all windows", "later windows", "far", "neighbours", "resultant"])
    alike = alike.assign(gradient=0.2, shuffled=0.1)
    sums = pd.DataFrame({"length": [1.0, 10.0], "random": 0.1, "steps": 1.0}, index)
    asked = claims.on_direction(alike, sums)
    values = {name.removeprefix("persistent-"): each.tolist() for name, (_, each, _) in asked.items()}
    assert values["beyond-gradient"] == pytest.approx([0.3, 0.3])
    assert values["memory"] == pytest.approx([0.4, 0.4])
    assert values["beyond-random"] == pytest.approx([1.0, 2.0])
    assert values["adds-up"] == pytest.approx([0.0, 1.0])
    rows = claims.effects(losses(**{"gate dropped": [1, 10, 1, 1], "other data": [1, 1, 1, 10]}))
    training = claims.on_training(rows, rows)
    assert training["effective-beside-null"][1].tolist() == pytest.approx([1.0, -1.0])
    assert all(least in (None, 0.1) for _, _, least in (*asked.values(), *training.values()))
