"""Tables are read back as a reader sees them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from gatelr.record import tables


def test_a_bar_does_not_end_a_cell() -> None:
    assert r"| $\|a\| = 1$ |" in tables.markdown(pd.DataFrame({"x": ["$|a| = 1$", 2]}))


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("0.3333333333333333", "0.333333"),
        ("1.2345678e-12", "1.23457e-12"),
        ("123456789.5", "1.23457e+08"),
        ("0.500", "0.500"),  # formatted by hand
        ("1e-12", "1e-12"),
        ("20260101", "20260101"),
        ("$0.3333333333$", "$0.3333333333$"),
        ("", ""),
        ("NA", "NA"),
    ],
)
def test_numbers_have_six_digits_and_text_stays(tmp_path: Path, cell: str, shown: str) -> None:
    file = tmp_path / "t.csv"
    pd.DataFrame({"x": [cell, "1"]}).to_csv(file, index=False)
    assert tables.read(file).x.tolist() == [shown, "1"]


def test_no_claims_are_an_empty_table() -> None:
    assert tables.verdicts([]).empty
    assert tables.validation([]).empty


@pytest.mark.parametrize("scope", ["every n and ℓ", "every n", "every lag", "every n, matrices included", "every z"])
def test_a_scope_that_leaves_nothing_out_is_general(scope: str) -> None:
    assert tables.general(scope)


@pytest.mark.parametrize(
    "scope",
    ["", "n = 2", "every n, T ≤ 6", "every ℓ, K ≤ 6", "every gate, n = 5", "points drawn", "one case", "every n drawn"],
)
def test_a_scope_with_a_bound_is_not(scope: str) -> None:
    assert not tables.general(scope)
