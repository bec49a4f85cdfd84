"""How far networks come apart on other arithmetic is measured column by column, and tolerances follow from it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gatelr.experiments import plans, runs
from gatelr.experiments.runs import Run

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow"))
import spread  # noqa: E402


def table(r2: float, loss: float) -> pd.DataFrame:
    rows = {"gate": "scalar", "seed": [21, 22] * 2, "step": [0, 0, 50, 50], "note": "x"}
    return pd.DataFrame(rows | {"r2": [0.5, 0.4, 0.3, r2], "loss": [1.0, 1.0, loss, 0.01]})


def test_the_largest_difference_of_each_column_and_step() -> None:
    found = spread.differences(
        [table(0.25, 0.02), table(0.26, 0.022).sample(frac=1, random_state=0)], ["gate", "seed", "step"]
    )
    assert found[["column", "setting", "step", "kind"]].to_numpy().tolist() == [
        ["r2", "scalar", 0, "absolute"],
        ["r2", "scalar", 50, "absolute"],
        ["loss", "scalar", 0, "relative"],
        ["loss", "scalar", 50, "relative"],
    ]
    assert found.difference.tolist() == pytest.approx([0, 0.01, 0, 0.1])
    assert found.seeds.tolist() == pytest.approx([0.1, 0.05, 0, 1.0]), "of the first table"


def test_a_number_that_is_missing_once_is_infinitely_far_off_and_one_that_is_missing_always_is_not() -> None:
    once, always = table(0.25, np.nan), table(0.25, np.nan)
    assert spread.differences([once, always], ["gate", "seed", "step"]).difference.tolist() == [0, 0, 0, 0]
    assert spread.differences([once, table(0.25, 0.02)], ["gate", "seed", "step"]).difference.tolist() == [
        0,
        0,
        0,
        np.inf,
    ]


def test_a_table_may_have_part_of_the_networks_and_settings_stand_apart() -> None:
    whole = pd.concat([table(0.25, 0.02), table(0.25, 0.02).assign(gate="multi")])
    found = spread.differences([whole, table(0.26, 0.02)], ["gate", "seed", "step"])
    last = found[(found.column == "r2") & (found.step == 50)].set_index("setting").difference
    assert last.to_dict() == pytest.approx({"multi": 0, "scalar": 0.01})


def test_other_networks_are_not_compared() -> None:
    with pytest.raises(ValueError, match="expected the same networks in all"):
        spread.differences([table(0.25, 0.02), table(0.25, 0.02).assign(seed=[21, 23] * 2)], ["gate", "seed", "step"])


def test_new_rows_of_a_table_take_the_place_of_the_old(tmp_path: Path) -> None:
    rows = pd.DataFrame({"table": ["e2-x", "e2-x", "e1-x"], "column": ["b", "a", "b"], "step": 2336.0})
    rows["difference"] = [1.0, 2.0, 3.0]
    spread.write(rows, tmp_path / "spread.csv")
    spread.write(rows[:1].assign(difference=0.12345), tmp_path / "spread.csv")
    assert (tmp_path / "spread.csv").read_text() == "table,column,step,difference\ne1-x,b,2336,3\ne2-x,b,2336,0.12\n"


@pytest.mark.parametrize("chapter", spread.CELLS)
def test_every_cell_is_among_the_runs_of_paper_and_trains_to_its_last_step(
    chapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    cells, whole = spread.cells(chapter), spread.plan(chapter, "paper", seeds=spread.SEEDS)
    for way in spread.WHOLE:
        assert all(run in spread.cells(chapter, way) for run in [*cells, *spread.plan(chapter, "ci")])
    for cell in spread.CELLS[chapter]:
        assert any(cell.items() <= run.labels.items() for run in cells), cell
    assert all(run in whole and len(run.seeds) == spread.SEEDS for run in cells)
    assert set(spread.CELLS) <= set(plans.CHAPTERS)


def test_a_process_of_its_own_computes_as_it_is_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two kernels round otherwise, so their networks differ, and by little."""
    settings = {"task_options": {"steps": 6}, "steps": 3, "checkpoints": [0, 3]}
    tiny = Run("joint_anisotropy", "adding", "scalar", "SGD", (21, 22), settings | {"lags": [1, 2], "n": 12}, {})
    made = []
    for kernel in ("compiled", "plain"):
        way = spread.Arithmetic("default", 1, kernel)
        monkeypatch.setenv("GATELR_KERNEL", kernel)
        monkeypatch.setattr(spread, "FOLDER", tmp_path)
        runs.make(tiny, folder=way.folder)
        made.append(runs.load([tiny], folder=way.folder, progress=False)["training"])
    found = spread.differences(made, ["seed", "step"])
    assert set(found.column) == {"loss", "constant"}
    assert found.difference.max() < 1e-4
