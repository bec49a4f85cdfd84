"""Blocks of seeds, made by the workflow, reduce to the table of all seeds together."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from .conftest import Project, studied

pytestmark = pytest.mark.xdist_group("workflow")

#: How far a measure of one network may be from itself among others, of its own size: a sum rounds otherwise there.
ROUNDING = 1e-9
#: Tables of training, which is the same to the last digit.
EXACT = ("run", "training")


def tables(project: Project, profile: str) -> dict[str, pd.DataFrame]:
    """The tables of a study by name, but what it cost."""
    folder = project.root / "artifacts" / "studies" / profile
    return {path.stem: pd.read_csv(path) for path in sorted(folder.glob("*.csv")) if path.stem != "cost"}


def compare(here: dict[str, pd.DataFrame], there: dict[str, pd.DataFrame]) -> None:
    """Raises AssertionError unless they are equal, to the last digit or to rounding."""
    assert here.keys() == there.keys() >= {*EXACT, "profiles", "fits"}
    for name, table in here.items():
        exact = {"check_exact": True} if name in EXACT else {"rtol": ROUNDING, "atol": 1e-12}
        pd.testing.assert_frame_equal(table, there[name], **exact)  # type: ignore[arg-type]


@pytest.mark.weekly
def test_seven_blocks_give_the_table_of_one(tmp_path: Path) -> None:
    project = studied(tmp_path / "study")
    for profile, blocks in {"whole": 1, "seven": 7}.items():
        done = project.build("--study", "--profile", profile)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"14 seeds in {blocks} blocks" in done.stdout
    assert list(tables(project, "whole")["run"].seed) == list(range(21, 35))
    compare(tables(project, "whole"), tables(project, "seven"))


def test_a_study_makes_no_book_and_a_book_no_study(tmp_path: Path) -> None:
    project = studied(tmp_path / "study")
    refused = project.build("--profile", "seven")
    assert refused.returncode == 2
    assert refused.stderr == "profile 'seven' makes tables of runs and no book: use `make study`\n"
    profiles = project.root / "profiles.yaml"
    profiles.write_text(profiles.read_text().replace("gate: constant", "gate: konstant"))
    done = project.build("--study", "--profile", "seven")
    assert done.returncode == 1
    assert "got labels {'gate': 'konstant', " in done.stderr
    assert "in profiles.yaml, which no run of effective-rate-profiles has" in done.stderr
