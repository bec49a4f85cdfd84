"""The figure of the first page has every setting of every word, as its chapter's record has it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflow"))
import six_words


def records() -> dict[str, dict[str, Any]]:
    """Two chapters with six claims of two settings each, one of them with a single seed."""
    runs: dict[str, dict[str, Any]] = {}
    for chapter, name, _ in six_words.WORDS.values():
        settings = [
            {"setting": "moving_average, multi", "effect": 0.3, "interval": [0.2, 0.4], "verdict": "supported"}
            | {"seeds": 9},
            {"setting": "adding, multi", "effect": 0.0, "interval": None, "verdict": "undecided", "seeds": 1},
        ]
        smallest = None if name == "small" else 0.1
        claim = {"id": name, "threshold": 0.1, "smallest": smallest, "by setting": settings}
        runs.setdefault(chapter, {"results": {"claims": []}})["results"]["claims"].append(claim)
    return runs


def test_every_setting_is_a_point(tmp_path: Path) -> None:
    assert six_words.write(records(), tmp_path)
    table = pd.read_csv(tmp_path / "six-words.csv")
    assert table.word.tolist() == [word for word in six_words.WORDS for _ in range(2)]
    assert set(table.setting) == {"moving average, multi", "adding, multi"}
    assert table.low.tolist() == [0.2, 0.0] * 6
    assert table.verdict.tolist() == ["supported", "undecided"] * 6
    svg = (tmp_path / "six-words.svg").read_text()
    assert "Settings in which a word is supported: small 1 of 2, persistent 1 of 2" in svg
    assert six_words.COLOURS["supported"] in svg
    again = tmp_path / "again"
    again.mkdir()
    six_words.write(records(), again)
    assert (again / "six-words.svg").read_text() == svg


def test_a_book_without_these_chapters_has_no_such_figure(tmp_path: Path) -> None:
    assert not six_words.write({}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_claim_that_there_is_not_is_named(tmp_path: Path) -> None:
    runs = records()
    runs["gate-corrections"]["results"]["claims"].pop()
    with pytest.raises(ValueError, match="not enough values to unpack"):
        six_words.write(runs, tmp_path)
