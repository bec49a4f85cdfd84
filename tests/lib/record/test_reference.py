"""Rows that were run again are compared, the others are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gatelr.record import reference

KEYS = ("task", "seed")


def table(seeds: list[int], shift: float = 0.0) -> pd.DataFrame:
    return pd.DataFrame({"task": "adding", "seed": seeds, "slope": [seed + shift for seed in seeds], "note": "x"})


def compare(own: pd.DataFrame, tmp_path: Path, **tolerances: tuple[float, float]) -> tuple[pd.DataFrame, float, int]:
    return reference.compare(
        own, "fits", KEYS, tolerances or {"slope": (0.1, 0.0)}, folder=tmp_path / "kept", out=tmp_path / "out"
    )


def commit(tmp_path: Path) -> None:
    (tmp_path / "out" / "reference").rename(tmp_path / "kept")


def test_without_a_reference_there_is_only_this_run(tmp_path: Path) -> None:
    rows, gap, shared = compare(table([1, 2]), tmp_path)
    assert (gap, shared) == (0.0, 0)
    assert rows.here.all()
    assert len(rows) == 2


def test_what_was_not_run_is_read_and_what_was_is_compared(tmp_path: Path) -> None:
    compare(table([1, 2, 3]), tmp_path)
    commit(tmp_path)
    rows, gap, shared = compare(table([1, 2], shift=0.05), tmp_path)
    assert dict(zip(rows.seed, rows.here, strict=True)) == {1: True, 2: True, 3: False}
    assert list(rows.slope) == [1.05, 2.05, 3.0]
    assert gap == pytest.approx(0.5)
    assert shared == 2
    assert compare(table([1, 2], shift=0.2), tmp_path)[1] == pytest.approx(2.0)
    assert compare(table([2], shift=0.2), tmp_path, slope=(0.0, 0.1))[1] == pytest.approx(1.0)


def test_a_number_that_is_missing_on_one_side_only_is_a_gap(tmp_path: Path) -> None:
    compare(table([1, 2]).assign(slope=[np.nan, 2.0]), tmp_path)
    commit(tmp_path)
    assert compare(table([1, 2]).assign(slope=[np.nan, 2.0]), tmp_path)[1] == 0
    assert compare(table([1, 2]), tmp_path)[1] == np.inf


def test_a_key_is_a_number_however_it_is_kept(tmp_path: Path) -> None:
    compare(table([1, 2]), tmp_path)
    commit(tmp_path)
    rows, _, shared = compare(table([1, 2]).astype({"seed": float}), tmp_path)
    assert (len(rows), shared) == (2, 2)


def test_rows_must_be_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"two rows of fits with .*'seed': 1"):
        compare(table([1, 1]), tmp_path)


def test_a_reference_must_have_the_columns(tmp_path: Path) -> None:
    compare(table([1]).drop(columns="note"), tmp_path)
    commit(tmp_path)
    with pytest.raises(ValueError, match="lacks note"):
        compare(table([1]), tmp_path)
