"""What is claimed of anisotropy: apart from the experiment, so that a word changed here runs nothing again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from gatelr.experiments.joint_anisotropy import LAGS

#: Each measure of anisotropy as one number for each row of the table; log10 of AI, and CE; of propagation, the mean
#: over lags.
MEASURES: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "propagation AI": lambda rows: np.log10(rows[[f"AI @{lag}" for lag in LAGS]]).mean(axis=1),
    "propagation CE": lambda rows: rows[[f"CE @{lag}" for lag in LAGS]].mean(axis=1),
    "update AI": lambda rows: np.log10(rows["update AI"]),
    "update CE": lambda rows: rows["update CE"],
}

#: Differences of two cells of the design, the first minus the second.
CONTRASTS = {
    "published": (("multi", "SGD"), ("none", "Adam")),
    "scalar, published": (("scalar", "SGD"), ("none", "Adam")),
    "gates under SGD": (("multi", "SGD"), ("none", "SGD")),
    "gates under Adam": (("multi", "Adam"), ("none", "Adam")),
    "Adam in none": (("none", "Adam"), ("none", "SGD")),
    "Adam in scalar": (("scalar", "Adam"), ("scalar", "SGD")),
    "Adam in multi": (("multi", "Adam"), ("multi", "SGD")),
}

#: How much less still counts as matching, of log10 AI and of CE; chosen before any run.
MARGINS = {"AI": float(np.log10(0.9)), "CE": -0.01}

#: The smallest effects that matter, chosen after a pilot. A tenth of AI or a hundredth of the energy is what one would
#: still call the same, as the margins have it.
SMALLEST = {"AI": float(np.log10(1.1)), "CE": 0.01}

#: By name, whose second part is the measure, the contrasts by what tells their settings apart beside the task, and what
#: is said of them.
CLAIMS: dict[str, tuple[dict[str, str], str]] = {
    "matches-adam-{}": (
        {"multi": "published", "scalar": "scalar, published"},
        "a gated network under SGD matches or exceeds none under Adam, falling short by no more than the margin",
    ),
    "gates-{}": (
        {"SGD": "gates under SGD", "Adam": "gates under Adam"},
        "with the optimiser held fixed, multi-gates are more anisotropic than none",
    ),
    "adam-{}": (
        {"none": "Adam in none", "scalar": "Adam in scalar", "multi": "Adam in multi"},
        "with the model held fixed, Adam makes a network more anisotropic than SGD does",
    ),
    "learned-{}": (
        {"SGD": "gates under SGD", "Adam": "gates under Adam"},
        "training makes the gates' part larger than it was at initialisation",
    ),
}

#: The main claims of the chapter.
PRIMARY = ("matches-adam-propagation-ai", "matches-adam-update-ai", "gates-update-ai")


def claims(final: pd.DataFrame, before: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """As ``gatelr.record.Chapter.claim`` takes them; the null of each is the same contrast before training.

    Args:
        final, before: the table's rows at the last step, and those before training.
    """
    for measure in MEASURES:
        slug, kind = measure.lower().replace(" ", "-"), measure[-2:]
        unit = "difference of $\\log_{10}$ AI" if kind == "AI" else "difference of CE"
        for pattern, (parts, statement) in CLAIMS.items():
            after: pd.Series
            null: pd.Series | float
            after, null = (_by_setting(rows, measure, parts) for rows in (final, before))
            if pattern.startswith("learned"):
                after, null = (after - null).dropna(), 0.0
            name = pattern.format(slug)
            yield {
                "name": name,
                "statement": f"{statement}: {measure} ({unit})",
                "values": after,
                "null": null,
                "threshold": MARGINS[kind] if pattern.startswith("matches") else SMALLEST[kind],
                "smallest": SMALLEST[kind],
                "primary": name in PRIMARY,
                "about": "anisotropy",
                "note": "the null is the same contrast before training; the smallest effect was chosen after a pilot",
            }


def _by_setting(rows: pd.DataFrame, measure: str, parts: dict[str, str]) -> pd.Series:
    """Contrasts by task, what tells them apart, and seed."""
    both = pd.concat({part: contrast(rows, measure, name) for part, name in parts.items()}, names=["part"])
    return both.reorder_levels(["task", "part", "seed"]).sort_index()


def contrast(rows: pd.DataFrame, measure: str, name: str) -> pd.Series:
    """The difference of two cells of the design, by task and seed, where both have been measured.

    Args:
        rows: of :func:`gatelr.experiments.joint_anisotropy.table`, at one step.
        measure, name: of :data:`MEASURES` and :data:`CONTRASTS`.
    """
    values = MEASURES[measure](rows)
    values.index = pd.MultiIndex.from_frame(rows[["gate", "optimiser", "task", "seed"]])
    more, less = CONTRASTS[name]
    return values.sort_index().loc[more] - values.sort_index().loc[less]
