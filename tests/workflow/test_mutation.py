"""A changed number of a reference stops the build: one that `ci` makes again by comparison, any other by its sum.

Each change is made as a careful forger would make it where that is possible: the manifest is made to fit.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gatelr import judgement
from gatelr.experiments import (
    effective_rate_claims,
    effective_rates,
    joint_anisotropy_claims,
    real_data_claims,
    trainability_claims,
)
from gatelr.record import reference

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow"))
import references  # noqa: E402
import spread  # noqa: E402

REFERENCE = ROOT / "reference"
KEYS = {name: (chapter, keys) for chapter in spread.CELLS for name, keys in spread.keys(chapter).items()}
#: The tables whose differences have been measured.
TABLES = sorted(KEYS.keys() & set(pd.read_csv(REFERENCE / "spread.csv").table))

#: Of each chapter, the claims of its tables by name, each without its experiment.
CLAIMS: dict[str, Callable[[dict[str, pd.DataFrame]], Iterator[dict[str, Any]]]] = {
    "effective-rate-profiles": lambda tables: (
        claim
        for claims in (
            effective_rate_claims.pooled(effective_rates.at_end(tables["fits"])),
            effective_rate_claims.within(effective_rates.at_end(tables["fits"])),
            effective_rate_claims.profiles(tables["profiles"]),
        )
        for claim in claims
    ),
    "joint-anisotropy": lambda tables: joint_anisotropy_claims.claims(
        tables["anisotropy"].query("step == step.max()"), tables["anisotropy"].query("step == 0")
    ),
    "real-data": lambda tables: real_data_claims.claims(real_data_claims.trained(tables["agreement"])),
    "stability": lambda tables: trainability_claims.claims(tables["areas"].query("after == 'silence'")),
}


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
    return kept(name)[spread.planned(chapter, kept(name))]


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


def changed(table: pd.DataFrame, row: int, column: str, allowed: reference.Spread) -> pd.DataFrame:
    """The table with one number changed by three tolerances; one that is missing becomes 1."""
    table = table.astype({column: float})
    value, step = table.loc[row, column], float(reference.when(table)[row])
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
    for column, allowed in reference.measured(rows, name, keys, folder).items():
        chosen = places if of_a_column is None else draw.choice(places, min(of_a_column, len(places)), replace=False)
        for row in chosen:
            changed(again, row, column, allowed).to_csv(path, index=False)
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


@pytest.mark.parametrize("chapter", CLAIMS)
def test_a_verdict_reads_nothing_that_is_not_compared(chapter: str) -> None:
    names = {name: keys for name, keys in spread.keys(chapter).items() if name in TABLES}
    whole = {name.partition("-")[2]: kept(name) for name in names}
    compared = {
        name.partition("-")[2]: kept(name)[[*keys, *reference.measured(kept(name), name, keys, REFERENCE)]]
        for name, keys in names.items()
    }
    for one, other in zip(CLAIMS[chapter](whole), CLAIMS[chapter](compared), strict=True):
        pd.testing.assert_series_equal(one["values"], other["values"])
        options = {"threshold": one.get("threshold", one["smallest"]), "smallest": one["smallest"]}
        assert judgement.judge(one["values"], **options) == judgement.judge(other["values"], **options)


def test_every_chapter_with_claims_has_been_measured() -> None:
    missing = {name for chapter in CLAIMS for name in spread.keys(chapter)} - set(TABLES)
    assert not missing
