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


def measure(tmp_path: Path, rows: str) -> None:
    (tmp_path / "kept").mkdir(exist_ok=True)
    (tmp_path / "kept" / "spread.csv").write_text("table,column,step,kind,difference,seeds\n" + rows)


def by_default(own: pd.DataFrame, tmp_path: Path, keys: tuple[str, ...] = KEYS) -> float:
    return reference.compare(own, "fits", keys, folder=tmp_path / "kept", out=tmp_path / "out")[1]


def test_by_default_a_number_may_be_off_by_twenty_times_what_was_measured(tmp_path: Path) -> None:
    compare(table([1, 2]), tmp_path)
    commit(tmp_path)
    measure(tmp_path, "fits,slope,0,absolute,0.01,9\nothers,slope,0,absolute,9,9\n")
    assert by_default(table([1, 2], shift=0.05), tmp_path) == pytest.approx(0.25)
    measure(tmp_path, "fits,slope,0,relative,0.01,9\n")
    assert by_default(table([2], shift=0.3), tmp_path) == pytest.approx(0.3 / (20 * 0.01 * 2))
    assert by_default(table([2], shift=-0.3), tmp_path) == pytest.approx(0.3 / (20 * 0.01 * 1.7)), "of the smaller one"
    measure(tmp_path, "fits,slope,0,absolute,0,9\n")
    assert by_default(table([1, 2]), tmp_path) == 0
    assert by_default(table([2], shift=1e-4), tmp_path) == pytest.approx(0.5), "what rounding may do"


def test_a_chaotic_setting_makes_no_other_one_loose(tmp_path: Path) -> None:
    rows = pd.DataFrame({"gate": ["none", "multi", "new"], "seed": 1, "slope": 1.0})
    (tmp_path / "kept").mkdir()
    rows.to_csv(tmp_path / "kept" / "fits.csv", index=False)
    (tmp_path / "kept" / "spread.csv").write_text(
        "table,column,setting,step,kind,difference,seeds\n"
        "fits,slope,none,0,absolute,0.01,9\nfits,slope,multi,0,absolute,0.0001,9\n"
    )
    for gate, gap in (("none", 0.05), ("multi", 5.0), ("new", 0.05)):
        own = rows[rows.gate == gate].assign(slope=1.01)
        assert by_default(own, tmp_path, ("gate", "seed")) == pytest.approx(gap), (
            "what was not measured has the largest"
        )


def test_a_row_is_judged_by_what_was_measured_up_to_its_step(tmp_path: Path) -> None:
    rows = pd.DataFrame({"seed": 1, "step": [0, 50, 400], "slope": 1.0})
    measure(
        tmp_path, "fits,slope,0,absolute,0.0001,9\nfits,slope,200,absolute,0.01,9\nfits,slope,300,absolute,0.001,9\n"
    )
    keys = ("seed", "step")
    rows.to_csv(tmp_path / "kept" / "fits.csv", index=False)
    for step, gap in ((0, 5.0), (50, 5.0), (400, 0.05)):
        own = rows[rows.step == step].assign(slope=1.01)
        assert by_default(own, tmp_path, keys) == pytest.approx(gap)


def test_the_row_of_another_seed_does_not_pass_unless_arithmetic_alone_makes_it(tmp_path: Path) -> None:
    compare(table([1, 2]), tmp_path)
    commit(tmp_path)
    for seeds, allowed in (("0.4", 0.4), ("0.1", 0.3), ("5", 2.0)):
        measure(tmp_path, f"fits,slope,0,absolute,0.1,{seeds}\n")
        assert by_default(table([2], shift=0.2), tmp_path) == pytest.approx(0.2 / allowed)


def test_every_number_must_have_been_measured(tmp_path: Path) -> None:
    compare(table([1]), tmp_path)
    commit(tmp_path)
    with pytest.raises(ValueError, match=r"got no differences of fits in spread\.csv"):
        by_default(table([1]), tmp_path)
    measure(tmp_path, "fits,other,0,absolute,0.01,9\n")
    with pytest.raises(ValueError, match="got no differences of slope of fits"):
        by_default(table([1]), tmp_path)


def test_equal_infinities_agree(tmp_path: Path) -> None:
    compare(table([1]).assign(slope=np.inf), tmp_path)
    commit(tmp_path)
    assert compare(table([1]).assign(slope=np.inf), tmp_path)[1] == 0
    assert compare(table([1]), tmp_path)[1] == np.inf


@pytest.mark.parametrize(
    ("seeds", "words"), [([21, 22, 21], "21 and 22"), ([23, 22, 21], "21 to 23"), ([3, 1, 9], "1, 3 and 9"), ([7], "7")]
)
def test_the_seeds_of_this_run_in_words(seeds: list[int], words: str) -> None:
    rows = pd.concat([table(seeds).assign(here=True), table([99]).assign(here=False)])
    assert reference.seeds_here(rows) == words
    assert reference.seeds_here(rows[~rows.here]) == "none"
