"""The first page's figure: six words, every setting a point with its interval, and the smallest effect that matters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from gatelr import files
from gatelr.record import figures
from matplotlib.figure import Figure

NAME = "six-words"
#: For each word the claim that decides it, and what its axis measures.
WORDS = {
    "small": ("gate-corrections", "small", "share of the gradient; less is needed"),
    "persistent": ("gate-corrections", "persistent", "mean cosine"),
    "effective": ("gate-corrections", "effective", "decades of loss"),
    "schedule": ("gates-against-optimisers", "schedule", "decades of loss"),
    "momentum": ("gates-against-optimisers", "momentum", "difference of R²"),
    "Adam": ("gates-against-optimisers", "adam", "rank correlation"),
}
#: How a setting of each verdict is drawn.
COLOURS = {
    "supported": figures.PALETTE["green"][0],
    "refuted": figures.PALETTE["vermilion"][0],
    "absent": figures.PALETTE["vermilion"][0],
    "undecided": figures.MUTED,
}
MARKERS = {"supported": "o", "refuted": "X", "absent": "s", "undecided": "d"}


def rows(runs: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """One row for each word and setting: effect, low, high, verdict, and the threshold of the claim."""
    lines = []
    for word, (chapter, name, _) in WORDS.items():
        [claim] = [claim for claim in runs[chapter]["results"]["claims"] if claim["id"] == name]
        for each in claim["by setting"]:
            low, high = each["interval"] or (each["effect"],) * 2
            lines.append(
                {
                    "word": word,
                    "setting": each["setting"].replace("_", " "),
                    "effect": each["effect"],
                    "low": low,
                    "high": high,
                    "verdict": each["verdict"],
                    "threshold": claim["threshold"],
                    "smallest": claim["smallest"],
                    "seeds": each["seeds"],
                }
            )
    return pd.DataFrame(lines)


def draw(table: pd.DataFrame) -> Figure:
    """A panel for each word; the dotted line is what a setting must pass, the band what counts as nothing."""
    with figures.style():
        figure, axes = plt.subplots(3, 2, figsize=(9.2, 8.6))
        for axis, (word, settings) in zip(axes.flat, table.groupby("word", sort=False), strict=True):
            # the first setting on top
            place = {setting: -i for i, setting in enumerate(settings.setting)}
            for verdict, group in settings.groupby("verdict"):
                reach = (group.effect - group.low, group.high - group.effect)
                look = {
                    "color": COLOURS[str(verdict)],
                    "linestyle": "none",
                    "marker": MARKERS[str(verdict)],
                    "markersize": 6,
                }
                axis.errorbar(group.effect, group.setting.map(place), xerr=reach, **look)
            threshold, smallest = settings.threshold.iloc[0], settings.smallest.iloc[0]
            if pd.notna(smallest):
                axis.axvspan(-smallest, smallest, color=figures.GRID, linewidth=0, zorder=0)
            axis.axvline(threshold, color=figures.INK, linewidth=1, linestyle=":")
            supported = int((settings.verdict == "supported").sum())
            axis.set(title=f"{word}: {supported} of {len(settings)}", xlabel=WORDS[str(word)][2])
            axis.set_yticks(list(place.values()), list(place))
            axis.grid(visible=False, axis="y")
        verdicts = [verdict for verdict in COLOURS if verdict in set(table.verdict)]
        for verdict in verdicts:
            axes.flat[0].plot([], [], MARKERS[verdict], color=COLOURS[verdict], label=verdict)
        figure.legend(loc="outside lower center", ncols=len(verdicts))
    return figure


def alternative(table: pd.DataFrame) -> str:
    """What one sees, for a reader who cannot."""
    counts = table.assign(supported=table.verdict == "supported").groupby("word", sort=False).supported
    said = ", ".join(f"{word} {int(each.sum())} of {len(each)}" for word, each in counts)
    return f"Six panels of settings as points with intervals. Settings in which a word is supported: {said}."


def write(runs: dict[str, dict[str, Any]], out: Path) -> bool:
    """Draw it from the records of the chapters that decide the words; False where one of them is not in the book."""
    if not {chapter for chapter, *_ in WORDS.values()} <= runs.keys():
        return False
    table = rows(runs)
    figure = draw(table)
    with figures.style():
        figure.savefig(out / f"{NAME}.svg", transparent=True, metadata={"Date": None, "Title": alternative(table)})
    plt.close(figure)
    files.write(out / f"{NAME}.csv", table.to_csv(index=False))
    return True
