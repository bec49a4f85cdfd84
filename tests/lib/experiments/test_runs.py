"""Runs come back from disk as they were made, are made anew when their code changes, and go on after a kill."""

from __future__ import annotations

import importlib
import inspect
import json
import math
import os
import signal
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
import warm
from gatelr.experiments import effective_rates, fingerprint, plans, runs
from gatelr.experiments.protocol import Setup
from gatelr.experiments.runs import Run

SMALL = {"n": 4, "batch": 3, "steps": 12, "checkpoints": [0, 6, 12], "fresh": 5, "task_options": {"steps": 6}}
#: What makes each experiment a small one.
SETTINGS: dict[str, dict[str, Any]] = {
    "effective_rates": SMALL | {"probed": 2},
    "joint_anisotropy": SMALL | {"lags": [1], "pairs": 2, "rows": 5, "r": 2},
    "alignment": SMALL | {"probed": 3, "lags": [1, 2], "r": 2},
    "gate_corrections": {"steps": 12, "checkpoints": [0, 6, 12], "task_options": {"steps": 6}}
    | {"rate": 0.1, "sizes": [0, 12], "windows": [4], "every": 5, "n": 8, "batch": 8, "fresh": 8, "probed": 4}
    | {"traced": 2, "lags": [1, 6], "window": 6, "distances": [1, 2]},
    "against_optimisers": {"steps": 12, "checkpoints": [0, 6, 12], "task_options": {"steps": 6}, "rate": 0.1},
    "trainability": {"steps": 12, "checkpoints": [12], "task_options": {"steps": 6}},
    "real_data": {"steps": 12, "checkpoints": [0, 6, 12], "task_options": {"steps": 6}, "rate": 0.01},
    "replication": SMALL | {"probed": 2, "lags": [1], "pairs": 2, "rows": 5, "r": 2},
}
#: What makes it a small one where a module has its sizes as constants.
CONSTANTS: dict[str, dict[str, Any]] = {
    "against_optimisers": {"NEURONS": 8, "BATCH": 8, "FRESH": 8, "PROBED": 4},
    "trainability": {"NEURONS": 8, "BATCH": 8, "FRESH": 8, "PROBED": 4, "RATES": (0.01, 0.1)},
    "real_data": {"NEURONS": 8, "BATCH": 8, "FRESH": 8, "PROBED": 4, "KNOWN": 20},
}
EXPERIMENTS = pytest.mark.parametrize("experiment", SETTINGS)


def small(experiment: str, seeds: tuple[int, ...] = (3, 5), **settings: Any) -> Run:
    return Run(experiment, "adding", "multi", "SGD", seeds, SETTINGS[experiment] | settings, {"kind": "small"})


@pytest.fixture(autouse=True)
def small_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    for experiment, constants in CONSTANTS.items():
        for name, value in constants.items():
            monkeypatch.setattr(f"gatelr.experiments.{experiment}.{name}", value)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs that were really made."""
    made: list[str] = []
    make = runs.make

    def count(run: Run, **options: Any) -> Path:
        made.append(run.name)
        return make(run, **options)

    monkeypatch.setattr(runs, "make", count)
    return made


def test_every_chapter_with_runs_has_an_experiment() -> None:
    assert set(SETTINGS) == set(plans.CHAPTERS.values())
    for name in plans.CHAPTERS.values():
        experiment = importlib.import_module(f"gatelr.experiments.{name}")
        assert list(inspect.signature(experiment.plan).parameters) == ["parameters"]
        setup, *others = inspect.signature(experiment.measure).parameters.values()
        assert setup.name == "setup"
        assert all(other.kind is other.KEYWORD_ONLY and other.default is not other.empty for other in others)
    assert plans.plan("time-scales", {}) == []
    assert runs.load([], folder="nowhere") == {}


def test_a_run_is_made_once(tmp_path: Path, counted: list[str]) -> None:
    run = small("effective_rates")
    first = runs.load([run], folder=tmp_path)
    again = runs.load([run], folder=tmp_path)
    assert counted == [run.name]
    for name, table in first.items():
        pd.testing.assert_frame_equal(table, again[name], check_exact=True)
    assert list(first["training"].seed) == [3, 5] * 3
    assert list(first["training"].step) == [0, 0, 6, 6, 12, 12]
    assert list(first["run"].diverged) == [-1, -1]
    assert first["cost"].seconds[0] > 0
    assert all((table.kind == "small").all() for table in first.values())


def test_a_table_is_what_was_measured(tmp_path: Path) -> None:
    run = small("effective_rates")
    tables = runs.load([run], folder=tmp_path)
    from gatelr import tasks

    options = dict(run.settings)
    task = tasks.get(run.task, **options.pop("task_options"))
    trained = {name: options.pop(name) for name in ("steps", "checkpoints")}
    measured = effective_rates.measure(Setup(task, run.gate, run.optimiser, run.seeds, **trained), **options)
    for name in measured.probes[0]:
        records = [{"step": step} | record for step, probe in measured.probes.items() for record in probe[name]]
        expected = pd.DataFrame(records).assign(kind="small")
        pd.testing.assert_frame_equal(tables[name], expected, check_exact=True)


def test_other_settings_make_another_run_and_other_labels_do_not(tmp_path: Path, counted: list[str]) -> None:
    run = small("effective_rates", steps=0, checkpoints=[0])
    others = [
        small("effective_rates", steps=0, checkpoints=[0], rate=0.1),
        small("effective_rates", (3,), steps=0, checkpoints=[0]),
    ]
    labelled = Run("effective_rates", "adding", "multi", "SGD", run.seeds, run.settings, {"kind": "another"})
    runs.load([run, *others, labelled], folder=tmp_path)
    assert counted == [run.name, *(other.name for other in others)]


def test_other_code_torch_or_device_makes_it_again(
    tmp_path: Path, counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small("effective_rates", steps=0, checkpoints=[0])
    runs.load([run], folder=tmp_path)
    for name, function in {"code": lambda _: "other", "torch_version": lambda: "0.1"}.items():
        with monkeypatch.context() as changed:
            changed.setattr(runs, name, function)
            runs.load([run], folder=tmp_path)
        runs.load([run], folder=tmp_path)
    assert len(counted) == 5
    assert not runs.fresh(run, tmp_path, "cuda")
    run.path(tmp_path).write_text("{}")
    assert not runs.fresh(run, tmp_path)


@pytest.mark.slow
@EXPERIMENTS
def test_blocks_of_seeds_give_the_same_tables(experiment: str, tmp_path: Path, counted: list[str]) -> None:
    # networks of a size that fills a processor's vectors; of smaller ones sums may round otherwise
    sizes = {} if experiment in CONSTANTS else {"n": 8, "batch": 8, "fresh": 8}
    run = small(experiment, (1, 2, 3, 4, 5), **sizes)
    whole = runs.load([run], folder=tmp_path)
    parts = runs.load([run], block=2, folder=tmp_path)
    assert [name.rpartition("-")[0].partition("seeds")[2] for name in counted] == ["-1-5", "-1-2", "-3-5"]
    assert whole.keys() == parts.keys()
    for name in whole.keys() - {"cost"}:
        # training is the same to the bit; a sum in a measure may round as the number of networks beside it has it
        exact = name in ("training", "run")
        pd.testing.assert_frame_equal(whole[name], parts[name], check_exact=exact, **({} if exact else {"rtol": 1e-5}))
    assert len(parts["cost"]) == 1


def test_a_table_without_rows_makes_no_other_kind_of_number() -> None:
    full, empty = pd.DataFrame({"seed": [1, 2], "lag": [0, 8]}), pd.DataFrame({"seed": [], "lag": []})
    assert runs._stacked([full, empty]).dtypes.tolist() == full.dtypes.tolist()
    assert runs._stacked([empty, empty]).empty


def test_a_block_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="got a block of 1 seeds, expected 0 for all together, or at least 2"):
        runs.split([small("effective_rates")], 1)


@pytest.mark.slow
@EXPERIMENTS
def test_a_killed_run_goes_on_with_the_same_numbers(experiment: str, tmp_path: Path) -> None:
    """Killed by the signal that no program can catch, when step 9 was about to be saved after step 6."""
    run = small(experiment)
    script = textwrap.dedent(
        f"""
        import os, signal
        import torch
        from gatelr import checkpoint, training
        from gatelr.experiments import {experiment}, runs

        torch.set_num_threads(1)
        vars({experiment}).update({CONSTANTS.get(experiment, {})!r})
        training.train.__kwdefaults__["save_every"] = 3
        write = checkpoint.Checkpoint.write

        def dying(self, step):
            if step == 9:
                os.kill(os.getpid(), signal.SIGKILL)
            write(self, step)

        checkpoint.Checkpoint.write = dying
        runs.make(runs.Run(**{run.identity | {"seeds": run.seeds}!r}), folder={str(tmp_path / "killed")!r})
        """
    )
    killed = warm.run(["-c", script], tmp_path, {**os.environ, "OMP_NUM_THREADS": "1"})
    assert killed.returncode == -signal.SIGKILL
    (left,) = (tmp_path / "killed" / experiment).iterdir()
    assert torch.load(left)["step"] == 6
    resumed, whole = (runs.load([run], folder=tmp_path / name) for name in ("killed", "whole"))
    assert not left.exists()
    for name in whole.keys() - {"cost"}:
        pd.testing.assert_frame_equal(resumed[name], whole[name], check_exact=True)


@EXPERIMENTS
def test_what_an_experiment_cannot_reach_it_does_not_call(
    experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its fingerprint follows import statements, and so would miss a module that is imported in another way."""

    def fail(*arguments: object, **options: object) -> None:
        raise AssertionError("called")

    reached = fingerprint.reach([f"gatelr.experiments.{experiment}", "gatelr.experiments.runs"])
    others = [name for name in set(fingerprint.files()) - set(reached) if not name.startswith("gatelr.record")]
    # all are imported first: one that came later would keep what it imports from one that is spoiled
    for name, module in [(name, importlib.import_module(name)) for name in others]:
        for member, value in vars(module).items():
            if inspect.isfunction(value) and value.__module__ == name:
                monkeypatch.setattr(module, member, fail)
    runs.load([small(experiment)], folder=tmp_path)


def test_numbers_that_json_has_not_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [
        {"seed": 3, "loss": math.inf, "share": math.nan, "whole": 1.0, "name": "a", "on": True},
        {"seed": 5, "loss": -math.inf, "share": 0.1, "whole": 2.0, "name": "b", "on": False, "late": 7},
    ]
    each = torch.zeros(2, dtype=torch.long)
    monkeypatch.setattr(
        effective_rates,
        "measure",
        lambda *_, **__: SimpleNamespace(probes={0: {"t": records}}, diverged=each, redrawn=each),
    )
    run = small("effective_rates")
    table = runs.load([run], folder=tmp_path)["t"]
    expected = pd.DataFrame([{"step": 0} | record for record in records]).assign(kind="small")
    pd.testing.assert_frame_equal(table, expected, check_exact=True)
    json.loads(run.path(tmp_path).read_text(), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    run = small("effective_rates", steps=0, checkpoints=[0])
    content = json.loads(runs.make(run, folder=tmp_path).read_text())
    assert content["run"] == run.identity
    assert content["code"] == runs.code("effective_rates")
    assert content["device"] == "cpu"
    assert run.name.startswith("adding-multi-SGD-seeds-3-5-")
