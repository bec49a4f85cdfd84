"""How far a figure is from the one before, in words."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

BEFORE = pd.DataFrame({"gate": ["none", "multi"], "loss": [0.0, 2.0], "lag": [1, 2]})


@pytest.fixture
def figure(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """workflow/figure.py."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "workflow"))
    return import_module("figure")


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (BEFORE, "6 numbers, all equal to those before"),
        (
            BEFORE.assign(loss=[0.0, 2.5]),
            "6 numbers, at most 0.25 of a column's range from those before, in 'loss'",
        ),
        (BEFORE.assign(gate=["none", "scalar"]), "6 numbers and words, and other words than before in gate"),
        (
            BEFORE.assign(loss=[0.0, np.nan]),
            "6 numbers, at most 0 of a column's range from those before, in 'loss'; 1 are missing on one side alone",
        ),
        (BEFORE[:1], "1 rows of gate, loss, lag; before there were 2 rows of gate, loss, lag"),
        (BEFORE[["loss"]], "2 rows of loss; before there were 2 rows of gate, loss, lag"),
    ],
)
def test_a_distance_in_words(figure: ModuleType, after: pd.DataFrame, said: str) -> None:
    assert figure.distance(BEFORE, after) == said


def test_the_first_time_there_is_nothing_to_compare_with(figure: ModuleType) -> None:
    assert figure.distance(None, BEFORE) == "6 numbers; there were none before to compare them with"
