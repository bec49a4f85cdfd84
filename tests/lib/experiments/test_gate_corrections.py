"""E3 measures what plain library calls give, and its statistics are what they say on tables made by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from gatelr import adjoint, statistics, tasks, training
from gatelr.cells import GatedRNN
from gatelr.experiments import corrections, gate_corrections, protocol

SEEDS = (3, 5)
TASK = tasks.get("adding", steps=6)


def network(gate: str, dtype: torch.dtype = torch.float64) -> GatedRNN:
    weights = training.generators(SEEDS)
    return GatedRNN(TASK.n_inputs, 4, gate, replicas=len(SEEDS), generator=weights, dtype=dtype)


OPTIONS = {"steps": 6, "checkpoints": (0, 6)}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"NEURONS": 4, "BATCH": 3, "FRESH": 5, "PROBED": 4, "TRACED": 2, "LAGS": (1, 6)}
    for name, size in (sizes | {"WINDOW": 4, "DISTANCES": (1, 2)}).items():
        monkeypatch.setattr(gate_corrections, name, size)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("gate", gate_corrections.GATES)
def test_the_protocol_measures_what_it_says(gate: str) -> None:
    setup = protocol.Setup(TASK, gate, "SGD", SEEDS, rate=0.1, **OPTIONS)
    run = gate_corrections.measure(setup, sizes=(0, 6), windows=(1,), every=2)
    counts = {step: {name: len(records) for name, records in probe.items()} for step, probe in run.probes.items()}
    assert counts[0] == {"training": 2, "size": 2}
    assert counts[6] == counts[0] | {"displacement": 2}
    assert counts[4] == {"persistence": 2}
    assert counts[2] == counts[3] == {}
    assert {"share", "cosine", "W_r", "G", "M @1", "M @6"} <= set(run.probes[6]["size"][0])

    # beside it the plain loop, its gradients split batch by batch
    model = network(gate, torch.float32)
    optimiser, sources = torch.optim.SGD(model.parameters(), lr=0.1), training.generators(SEEDS, protocol.TRAINING)
    splits = []
    for step in range(6):
        data = TASK.draw(3, sources)
        splits.append(corrections.split(model, TASK, data))
        optimiser.zero_grad()
        losses = TASK.loss(model(data.u), data.target)
        assert torch.equal(losses.detach(), run.losses[step])
        losses.sum().backward()
        optimiser.step()
    kinds = {
        kind: torch.stack([corrections.flat(getattr(each, kind)) for each in splits])
        for kind in ("gradient", "correction")
    }
    for kind, vectors in kinds.items():
        expected = corrections.persistence(vectors[1:5], (1, 2))
        for s, record in enumerate(run.probes[4]["persistence"]):
            assert (record["seed"], record["window"]) == (SEEDS[s], 1)
            assert record[f"{kind[0]} @2"] == pytest.approx(float(expected.cosine[2][s]), rel=1e-5)
            for name in ("shuffled", "resultant", "random"):
                assert record[f"{kind[0]} {name}"] == pytest.approx(float(getattr(expected, name)[s]), rel=1e-5)
    summed = {kind: vectors[::2].double().sum(0).norm(dim=1) for kind, vectors in kinds.items()}
    lengths = [record["length"] for record in run.probes[6]["displacement"]]
    assert lengths == pytest.approx((summed["correction"] / summed["gradient"]).tolist(), rel=1e-5)

    # and the size on the fresh batch, in float64, after the last step
    wide = protocol.in_float64(model).requires_grad_()
    fresh = TASK.draw(4, training.generators(SEEDS, protocol.PROBE), torch.float64)
    for column, without in {"share": "gate dropped", "beyond order 0": "order 0"}.items():
        expected = corrections.size(corrections.split(wide, TASK, fresh, without=without))
        assert [r[column] for r in run.probes[6]["size"]] == pytest.approx(expected["share"].tolist(), rel=1e-5)


@pytest.mark.usefixtures("small")
def test_backward_passes_and_data_are_those_asked_for() -> None:
    run = {
        name: gate_corrections.measure(protocol.Setup(TASK, "multi", "SGD", SEEDS, rate=0.5, **OPTIONS), **options)
        for name, options in {
            "full": {},
            "again": {},
            "dropped": {"backward": "gate dropped"},
            "other data": {"data": 321},
        }.items()
    }
    first = {name: each.probes[0]["training"] for name, each in run.items()}
    last = {name: [record["loss"] for record in each.probes[6]["training"]] for name, each in run.items()}
    assert first["full"] == first["dropped"] == first["other data"]
    assert last["again"] == last["full"]
    assert torch.equal(run["full"].losses[0], run["dropped"].losses[0])
    assert not torch.equal(run["full"].losses[1:], run["dropped"].losses[1:])
    assert not torch.equal(run["full"].losses[0], run["other data"].losses[0])
    assert len({tuple(last[name]) for name in ("full", "dropped", "other data")}) == 3


def test_dropping_the_gate_term_is_giving_it_no_weight() -> None:
    model = network("multi").requires_grad_(False)
    run = model.run(TASK.draw(5, training.generators(SEEDS), torch.float64).u)
    dropped = adjoint.gradients(model, run, run.x, backward="gate dropped")
    for name, gradient in adjoint.gradients(model, run, run.x, gate_sensitivity=0.0).items():
        assert torch.equal(gradient, dropped[name]), name


PARAMETERS = {"seeds": 3, "settings_here": ["moving average", "adding, 50"], "until": 1000}


def test_the_plan_has_every_pass_and_measures_along_the_full_one() -> None:
    plan = gate_corrections.plan(PARAMETERS)
    assert len(plan) == 2 * 2 * 5
    assert len({run.name for run in plan}) == len(plan)
    assert all(run.seeds == (1, 2, 3) and run.settings["checkpoints"][-1] == 1000 for run in plan)
    for run in plan:
        json.dumps(run.settings)
        assert run.settings["steps"] == 1000
        assert ("sizes" in run.settings) is (run.labels["run"] == "full")
    (sgd, adam) = (run for run in plan if run.labels["run"] == "full" and run.gate == "multi")
    assert (sgd.settings["every"], adam.settings["every"]) == (7, 0)
    assert sgd.settings["windows"] == [0, 250, 500, 750, 936]
    assert sgd.settings["sizes"] == [0, 250, 500, 750, 1000]


def test_a_short_plan_stops_where_it_is_told_to() -> None:
    plan = gate_corrections.plan(PARAMETERS | {"settings_here": ["moving average"], "until": 125})
    assert {run.settings["steps"] for run in plan} == {125}
    assert plan[0].settings["sizes"] == [0, 125]
    assert plan[0].settings["windows"] == [0]


def losses(**passes: list[float]) -> pd.DataFrame:
    """Of one model, two seeds, at steps 0 and 8; seed by seed."""
    keys = {"setting": "digits", "gate": "multi", "seed": [1, 1, 2, 2], "step": [0, 8, 0, 8]}
    return pd.DataFrame(keys | dict.fromkeys(gate_corrections.PASSES, 1.0) | passes)


def test_tables_have_a_column_for_each_pass() -> None:
    rows = losses(**{"full": [4.0, 1.0, 4.0, 2.0], "order 0": [4.0, 3.0, 4.0, 3.0]})
    long = rows.melt(gate_corrections.KEYS["training"], var_name="run", value_name="loss")
    size = rows[gate_corrections.KEYS["size"]].assign(run="full", share=0.1)
    tables = gate_corrections.tables({"training": long, "size": size, "cost": pd.DataFrame()})
    assert list(tables) == ["training", "size"]
    assert list(tables["size"]) == [*gate_corrections.KEYS["size"], "share"]
    pd.testing.assert_frame_equal(tables["training"][list(rows)], rows, check_names=False)


def test_effects_are_those_of_the_last_step() -> None:
    rows = losses(**{"full": [4.0, 1.0, 4.0, 2.0], "gate dropped": [4.0, 10.0, 4.0, 2.0]})
    effects = gate_corrections.effects(rows)
    assert "full" not in effects
    assert effects["gate dropped"].tolist() == pytest.approx([1.0, 0.0])
    assert effects.index.names == gate_corrections.SEEDED


def test_arrivals_count_those_who_never_arrive() -> None:
    rows = losses(
        **{"full": [4.0, 0.5, 0.5, 0.1], "diagonal": [4.0, 4.0, 4.0, 0.5], "order 0": [4.0, math.nan, 4.0, 4.0]}
    )
    arrivals = gate_corrections.arrivals(rows, {"digits": 0.9}).loc["digits", "multi"]
    assert arrivals["reached"].to_dict() == {"full": 2, "diagonal": 1, "gate dropped": 0, "order 0": 0, "other data": 0}
    assert arrivals["median"]["full"] == 4  # between 8 and 0
    assert np.isinf(arrivals["median"][["diagonal", "order 0"]]).all()
    assert (arrivals["seeds"] == 2).all()


def test_likeness_reads_the_columns_of_each_window_and_averages_them() -> None:
    row = {"setting": "digits", "gate": "multi", "seed": 1, "window": 0, "c shuffled": 0.4, "c resultant": 0.6}
    row |= {f"{kind} @{d}": 0.2 for kind in "cg" for d in gate_corrections.DISTANCES} | {"c random": 0.1, "c @1": 0.8}
    windows = pd.DataFrame([row, row | {"window": 64, "c @32": 0.8}])
    alike = gate_corrections.likeness(windows).loc[(1, "digits", "multi")].to_dict()
    expected = {"": 0.35, "-far": 0.5, "-beyond-gradient": 0.15, "-memory": 0.4, "-resultant": 0.5}
    assert alike == pytest.approx({f"persistent{name}": v for name, v in expected.items()} | {"gradient": 0.2})


def by_model(**values: list[float]) -> pd.Series:
    seeds = {(seed, "digits", gate): v for gate, each in values.items() for seed, v in enumerate(each, 1)}
    return pd.Series(seeds).rename_axis(gate_corrections.SEEDED)


def test_a_side_is_taken_by_the_whole_interval() -> None:
    values = by_model(scalar=[0.1, 0.2, 0.3], multi=[-0.1, 0.0, 0.2])
    assert gate_corrections.side(values, 0.0).to_dict() == {("digits", "multi"): "open", ("digits", "scalar"): "yes"}
    assert gate_corrections.side(values, 0.5)["digits", "scalar"] == "no"
    assert gate_corrections.side(values, 0.5, greater=False)["digits", "scalar"] == "yes"
    limits = pd.Series({("digits", "multi"): -1.0, ("digits", "scalar"): 0.2})
    assert gate_corrections.side(values, limits).tolist() == ["yes", "open"]


def test_power_has_a_row_for_each_model_and_pass() -> None:
    effects = by_model(scalar=[0.1, 0.2, 0.3], multi=[-0.1, 0.0, 0.2]).to_frame("order 0")
    table = gate_corrections.power(effects.assign(diagonal=1.0)).set_index(["gate", "backward pass"])
    assert list(table.index) == [(gate, run) for gate in ("scalar", "multi") for run in ("order 0", "diagonal")]
    row = table.loc[("scalar", "order 0")]
    one, strength = statistics.estimate([0.1, 0.2, 0.3]), statistics.power([0.1, 0.2, 0.3])
    assert row["effect"] == "+0.200"
    assert row["95 % interval"] == f"{one.low:+.3f} to {one.high:+.3f}"
    assert one.p <= float(row["p, after Holm"]) <= 1
    assert row["seeds needed"] == f"{math.ceil(strength.seeds_needed)}"
    assert row["least effect seen"] == f"{strength.detectable:.2g}"
    assert gate_corrections.count(math.inf) == "over 10 000"


def test_cosines_are_means_over_windows() -> None:
    row = {"setting": "digits", "gate": "multi", "seed": 1, "window": 0}
    row |= {f"{kind} @{d}": 0.2 for kind in "cg" for d in gate_corrections.DISTANCES}
    cosines = gate_corrections.cosines(pd.DataFrame([row, row | {"window": 64, "g @8": 0.6}]))
    assert len(cosines) == 2 * len(gate_corrections.DISTANCES)
    other = cosines[cosines.cosine != 0.2]
    assert other[["of", "distance", "cosine"]].values.tolist() == [["gradient", 8, 0.4]]


def test_summary_is_mean_and_interval() -> None:
    text = gate_corrections.summary(by_model(multi=[0.1, 0.2, 0.3]))
    assert text["digits", "multi"].startswith("0.20 (0.1")


def test_settings_have_the_loss_of_the_best_constant() -> None:
    table = gate_corrections.settings()
    assert list(table.index) == list(gate_corrections.SETTINGS)
    assert table.loc["adding, 20", ["T", "optimiser", "updates"]].tolist() == [20, "SGD", 2400]
    assert table.loc["adding, 20", "constant's loss"] == pytest.approx(1 / 6)
