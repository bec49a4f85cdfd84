"""A changed number of a reference stops the build: one that `ci` makes again by comparison, any other by its sum.

Each change is made as a careful forger would make it where that is possible: the manifest is made to fit.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gatelr.experiments import plans
from gatelr.record import reference

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow"))
import references  # noqa: E402
import spread  # noqa: E402

REFERENCE = ROOT / "reference"
KEYS = {name: (chapter, keys) for chapter in spread.CELLS for name, keys in spread.keys(chapter).items()}
#: The tables whose differences have been measured.
TABLES = sorted(KEYS.keys() & set(pd.read_csv(REFERENCE / "spread.csv").table))


@cache
def kept(name: str) -> pd.DataFrame:
    """A reference as it is committed."""
    return pd.read_csv(REFERENCE / f"{name}.csv")


def own(name: str) -> pd.DataFrame:
    """The rows that the profile `ci` makes again: of a build that is there, or else as the reference has them."""
    chapter, keys = KEYS[name]
    made = ROOT / "artifacts" / chapter
    if (made / "manifest.json").exists():
        run = json.loads((made / "manifest.json").read_text())
        rows = pd.read_csv(made / "reference" / f"{name}.csv")
        if run["parameters"].get("profile") == "ci" and len(rows.merge(kept(name), on=list(keys))):
            return rows
    rows = kept(name)
    return rows[rows.seed <= spread.SEEDS if name in spread.COMPUTED else spread.planned(chapter, rows)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the references, and a manifest that fits them."""
    monkeypatch.chdir(ROOT)
    shutil.copytree(REFERENCE, tmp_path / "reference")
    fit(tmp_path / "reference")
    return tmp_path / "reference"


def fit(folder: Path) -> None:
    """Make the manifest fit the tables."""
    tables = {name: {"sha256": references.digest(path)} for name, path in references.there(folder).items()}
    (folder / "manifest.json").write_text(json.dumps({"schema": 1, "tables": tables}))


def changed(
    table: pd.DataFrame, row: int, column: str, spreads: dict[str, reference.Spread], setting: str
) -> pd.DataFrame:
    """The table with one number changed by three tolerances; one that is missing becomes 1."""
    table = table.astype({column: float})
    value, step = table.loc[row, column], float(reference.when(table)[row])
    allowed = spreads.get(setting, spreads[""])
    by = 3 * float(allowed.allowed(np.abs(np.array([value])), np.array([step]))[0])
    table.loc[row, column] = 1.0 if np.isnan(value) else value + max(by, 1e-9)
    return table


def stops(name: str, rows: pd.DataFrame, folder: Path) -> bool:
    """Whether rows of a build are too far from the references there."""
    _, keys = KEYS[name]
    _, gap, shared = reference.compare(rows, name, keys, folder=folder, out=folder.parent / "out")
    return gap > 1 or not shared


def mutations(name: str, folder: Path, *, of_a_column: int | None) -> tuple[int, int]:
    """How many changes of a table were made, and how many of them stopped the build."""
    rows, (_, keys) = own(name), KEYS[name]
    places = kept(name)[list(keys)].reset_index().merge(rows[list(keys)], on=list(keys))["index"].to_numpy()
    assert len(places) == len(rows), f"{name}: `ci` makes rows that the reference lacks"
    assert not stops(name, rows, folder), f"{name}: an unchanged reference stops the build"
    made = stopped = 0
    draw, path = np.random.default_rng(0), folder / f"{name}.csv"
    again = kept(name).loc[places]
    settings = reference.settings(again, keys)
    for column, allowed in reference.measured(rows, name, keys, folder).items():
        chosen = places if of_a_column is None else draw.choice(places, min(of_a_column, len(places)), replace=False)
        for row in chosen:
            changed(again, row, column, allowed, settings[row]).to_csv(path, index=False)
            made, stopped = made + 1, stopped + stops(name, rows, folder)
    fit(folder)
    assert references.problems(folder) == [], "its sum does not give the last one away: comparison has to"
    return made, stopped


@pytest.mark.parametrize("name", TABLES)
def test_a_changed_number_that_ci_makes_again_stops_the_build(
    name: str, folder: Path, record_property: Callable[[str, object], None]
) -> None:
    made, stopped = mutations(name, folder, of_a_column=2)
    record_property("mutations", {"table": name, "made": made, "stopped": stopped})
    print(f"{name}: {stopped} of {made} changed numbers stop the build")
    assert stopped == made > 0


@pytest.mark.weekly
@pytest.mark.parametrize("name", TABLES)
def test_each_changed_number_that_ci_makes_again_stops_the_build(name: str, folder: Path) -> None:
    made, stopped = mutations(name, folder, of_a_column=None)
    print(f"{name}: {stopped} of {made} changed numbers stop the build")
    assert stopped == made > 0


@pytest.mark.parametrize("name", sorted(references.there(REFERENCE)))
def test_any_other_change_is_stopped_by_the_sum(name: str, folder: Path) -> None:
    path = references.there(folder)[name]
    assert references.problems(folder) == []
    lines = path.read_text().splitlines(keepends=True)
    for at in range(1, len(lines), max(1, len(lines) // 20)):
        digit = next((i for i, letter in enumerate(lines[at]) if letter.isdigit()), None)
        if digit is None:
            continue
        other = f"{lines[at][:digit]}{(int(lines[at][digit]) + 1) % 10}{lines[at][digit + 1 :]}"
        path.write_text("".join([*lines[:at], other, *lines[at + 1 :]]))
        (said,) = references.problems(folder)
        assert said.startswith(f"{path} is not the table that was committed")


@pytest.mark.parametrize("chapter", sorted(plans.CHAPTERS.keys() - {"replication"}))
def test_every_number_of_a_chapter_has_been_measured(chapter: str) -> None:
    measured = pd.read_csv(REFERENCE / "spread.csv").groupby("table").column.agg(set)
    for name, keys in spread.keys(chapter).items():
        assert measured[name] == set(reference.numbers(kept(name), keys)), name


def test_what_is_not_compared_is_no_evidence() -> None:
    """The search for rates, what a clock said, a figure that every build makes whole."""
    left = set()
    for path in (ROOT / "notebooks").glob("*.py"):
        for call in re.findall(r"chapter\.compare\((.*?)\)\n", path.read_text(), flags=re.DOTALL):
            left |= set(re.findall(r'"(e\d-\w+)"', call)) if "{}" in call else set()
    assert left == {"e1-maps", "e1-cost", "e2-cost", "e3-grid", "e4-grid", "e7-cost"}
