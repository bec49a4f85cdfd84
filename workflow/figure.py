"""One figure made again: which chapter draws it, and how far its numbers are from those that stood there before."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import pandas as pd
from parameters import BadInput


def chapter(name: str) -> str:
    """The chapter whose source shows the figure of this name.

    Args:
        name: such as ``impulse-responses``; ``fig-`` before it does not matter.

    Raises:
        BadInput: if no chapter shows it, with names that are near.
    """
    name = name.removeprefix("fig-")
    shown = {
        figure: source.stem
        for source in sorted(Path("notebooks").glob("*.py"))
        for figure in re.findall(r"^# :name: fig-(\S+)$", source.read_text(), flags=re.MULTILINE)
    }
    if name not in shown:
        near = difflib.get_close_matches(name, shown, n=3, cutoff=0.4)
        raise BadInput(
            f"there is no figure '{name}': ID is what follows #fig- in its address"
            + (f"; near it are {', '.join(near)}" if near else "")
        )
    return shown[name]


def data(name: str) -> Path:
    """Where the plotted numbers of a figure lie."""
    name = name.removeprefix("fig-")
    return Path("artifacts") / chapter(name) / "figures" / f"{name}.csv"


def distance(before: pd.DataFrame | None, after: pd.DataFrame) -> str:
    """How far the numbers of a figure are from those of the run before, in words."""
    if before is None:
        return f"{after.size} numbers; there were none before to compare them with"
    if list(before.columns) != list(after.columns) or len(before) != len(after):
        return (
            f"{len(after)} rows of {', '.join(map(str, after.columns))}; before there were {len(before)} rows of "
            f"{', '.join(map(str, before.columns))}"
        )
    if after.equals(before):
        return f"{after.size} numbers, all equal to those before"
    numeric = [name for name in after.select_dtypes("number") if pd.api.types.is_numeric_dtype(before[name])]
    words = [name for name in after.columns.difference(numeric) if not after[name].equals(before[name])]
    if words:
        return f"{after.size} numbers and words, and other words than before in {', '.join(words)}"
    scale = (before[numeric].max() - before[numeric].min()).abs().replace(0, 1)
    apart = ((after[numeric] - before[numeric]).abs() / scale).max()
    lost = sum(int((after[name].isna() != before[name].isna()).sum()) for name in numeric)
    said = (
        f"{after.size} numbers, at most {apart.max():.2g} of a column's range from those before, in '{apart.idxmax()}'"
    )
    return said + (f"; {lost} are missing on one side alone" if lost else "")
