"""Cells come back from disk, and are made anew when their settings or the code behind their numbers change."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import grimp
import pandas as pd
import pytest
from gatelr.experiments import runs

SMALL = {"n": 4, "batch": 3, "steps": 2, "checkpoints": [0, 2], "fresh": 5, "task_options": {"steps": 6}}
SEEDS = (3, 5)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which experiments were really run."""
    ran: list[str] = []
    for name, protocol in runs.PROTOCOLS.items():

        def count(*arguments, name=name, protocol=protocol, **options):  # type: ignore[no-untyped-def]
            ran.append(name)
            return protocol(*arguments, **options)

        monkeypatch.setitem(runs.PROTOCOLS, name, count)
    return ran


def test_a_cell_is_made_once(tmp_path: Path, counted: list[str]) -> None:
    first = runs.cells(tmp_path)("E1", "adding", "multi", "SGD", SEEDS, probed=2, **SMALL)
    again = runs.cells(tmp_path)("E1", "adding", "multi", "SGD", [*SEEDS], probed=2, **SMALL)
    assert counted == ["E1"]
    for name, table in first.items():
        pd.testing.assert_frame_equal(table, again[name])
    assert set(first["training"].step) == {0, 2}
    assert list(first["training"].seed) == [*SEEDS] * 2
    assert list(first["run"].diverged) == [-1, -1]
    assert first["cost"].seconds[0] > 0


def test_other_settings_and_other_code_make_another_cell(
    tmp_path: Path, counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = SMALL | {"lags": (1,), "pairs": 2, "rows": 5, "r": 2}
    for seeds, changed in (SEEDS, {}), (SEEDS, {"rate": 0.1}), (SEEDS[:1], {}):
        runs.cells(tmp_path)("E2", "adding", "none", "SGD", seeds, **options | changed)
    assert len(counted) == 3
    monkeypatch.setattr(experiments, "digest", lambda experiment: "other")
    runs.cells(tmp_path)("E2", "adding", "none", "SGD", SEEDS, **options)
    assert len(counted) == 4


REACHED = {
    name.removeprefix("gatelr.")
    for name in grimp.build_graph("gatelr", cache_dir=None).find_upstream_modules("gatelr.experiments") - {"gatelr"}
} | {"experiments"}


def test_the_digests_cover_what_the_protocols_can_reach() -> None:
    assert set().union(*runs.MODULES.values()) == REACHED
    assert set(runs.MODULES) == set(runs.PROTOCOLS)


@pytest.mark.parametrize("experiment", runs.PROTOCOLS)
def test_what_an_experiment_leaves_out_of_its_digest_it_does_not_call(
    experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise AssertionError("called")

    for name in REACHED - set(runs.MODULES[experiment]):
        module = importlib.import_module(f"gatelr.{name}")
        for member, value in vars(module).items():
            if inspect.isfunction(value) and value.__module__ == module.__name__:
                monkeypatch.setattr(module, member, fail)
    options = {
        "E1": {"probed": 2},
        "E2": {"lags": (1,), "pairs": 2, "rows": 5, "r": 2},
        "E3": {"sizes": [0], "windows": [0], "window": 2, "distances": [1], "every": 1, "probed": 2, "traced": 1},
        "E4": {"probed": 4, "rate": 0.1},
    }[experiment]
    runs.cells(tmp_path)(experiment, "adding", "multi", "SGD", SEEDS, **SMALL, **options)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("def f(x):\n    '''Doc.'''\n    return x  # why\n", "def f(x):\n    return x\n", True),
        ("'''Module.'''\nx = 1\n", "'''Other.'''\nx = 1\n", True),
        ("x = 1\n", "x = 2\n", False),
    ],
)
def test_comments_and_docstrings_do_not_count(one: str, other: str, same: bool) -> None:
    assert (runs._code(one) == runs._code(other)) is same
