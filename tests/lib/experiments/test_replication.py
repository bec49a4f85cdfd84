"""The released experiments as runs: what is planned, and that a run measures what the emulation says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gatelr.experiments import emulation, replication, runs
from gatelr.experiments.departures import ANISOTROPY_STATIONS, PREDICTOR_FIRST, STATIONS
from gatelr.experiments.runs import Run

SMALL: dict[str, Any] = {"n": 16, "batch": 64, "fresh": 5, "probed": 3, "lags": [1], "pairs": 2, "rows": 5, "r": 2}


def made(folder: Path, gate: str = "multi", **settings: Any) -> runs.Tables:
    settings = SMALL | {"task_options": {"steps": 8}} | settings
    run = Run("replication", "adding", gate, emulation.PAIRS.get(gate, "SGD"), (1, 2), settings)
    return runs.load([run], folder=folder, progress=False)


def test_a_plan_has_three_gates_and_the_pairs_of_each_task() -> None:
    parameters = {"seeds": 2, "slopes_until": 300, "anisotropy_until": 400, "tasks_here": ["adding", "delay_sum"]}
    plan = replication.plan(parameters)
    slopes, spectra = plan[:3], plan[3:]
    assert [run.gate for run in slopes] == ["constant", "scalar", "multi"]
    assert slopes[0].settings["checkpoints"] == [0, 50, 200]
    assert slopes[0].settings["steps"] == 200
    trained = [(run.labels["task"], run.labels["data"]) for run in spectra]
    assert trained == [("adding", "one batch")] * 3 + [("adding", "fresh")] * 3 + [("delay_sum", "one batch")] * 3
    assert [(run.gate, run.optimiser) for run in spectra[:3]] == [("none", "Adam"), ("scalar", "SGD"), ("multi", "SGD")]
    assert spectra[0].settings["checkpoints"] == [0, 400]


def test_a_run_of_effective_rates_gives_the_emulated_slopes(tmp_path: Path) -> None:
    tables = made(tmp_path, script="effective rates", steps=2, checkpoints=[0, 2])
    expected = emulation.effective_rate_runs((1, 2), (0, 2), length=8, n=16, probed=3)[0].query("gate == 'multi'")
    assert tables["slopes"].slope.tolist() == pytest.approx(expected.slope.tolist(), rel=1e-6)
    assert tables["slopes"].seed.tolist() == [1, 2, 1, 2]
    stations = tables["stations"]
    assert set(stations.step) == {2}
    assert list(stations.stage.unique()) == [*STATIONS, PREDICTOR_FIRST, "as defined"]
    last = tables["slopes"].query("step == 2").slope.tolist()
    assert stations.query("stage == 'as released'").slope.tolist() == last
    assert len(tables["reversals"]) == 2 * 3
    assert len(tables["shares"]) == 2 * 7
    assert len(tables["constant"]) == len(tables["gate terms"]) == 2


def test_a_constant_gate_has_no_gate_term(tmp_path: Path) -> None:
    tables = made(tmp_path, "constant", script="effective rates", steps=0, checkpoints=[0])
    assert "gate terms" not in tables or tables["gate terms"].empty
    assert len(tables["fits"])


@pytest.mark.parametrize("data", emulation.DATA)
def test_a_run_of_anisotropy_probes_around_its_checkpoints(data: str, tmp_path: Path) -> None:
    tables = made(tmp_path, script="anisotropy", data=data, steps=3, checkpoints=[0, 3])
    assert sorted(set(tables["losses"].step)) == [0, 1, 3, 4]
    spectra = tables["spectra"]
    assert set(spectra.stage) == {name for name, (trained, *_) in ANISOTROPY_STATIONS.items() if trained == data}
    late = {name: updates for name, (_, updates, _) in ANISOTROPY_STATIONS.items()}
    assert (spectra.step - spectra.checkpoint == spectra.stage.map(late)).all()
    assert set(spectra.checkpoint) == ({0, 3} if data == "one batch" else {3})
    assert ("first step" in tables) == (data == "one batch")
    assert ("concentrations" in tables) == (data == "fresh")
