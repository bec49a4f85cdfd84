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

#: How much less still counts as matching, of log10 AI and of CE.
MARGINS = {"AI": float(np.log10(0.9)), "CE": -0.01}


#: By name, whose second part is the measure, a contrast and what is said of it.
CLAIMS = {
    "matches-adam-{}-multi": ("published", "a multi gate under SGD matches or exceeds none under Adam"),
    "matches-adam-{}-scalar": ("scalar, published", "a scalar gate under SGD matches or exceeds none under Adam"),
    "gates-{}": ("gates", "with the optimiser held fixed, multi-gates are more anisotropic than none"),
    "adam-{}": ("Adam in none", "with the model held fixed, Adam makes none more anisotropic than SGD does"),
    "learned-{}": ("learned", "training under SGD makes the gates' part larger than it was at initialisation"),
}


def claims(final: pd.DataFrame, before: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """As ``gatelr.record.Chapter.claim`` takes them; the null of each is the same contrast before training.

    Args:
        final, before: the table's rows at the last step, and those before training.
    """
    for measure in MEASURES:
        slug, kind = measure.lower().replace(" ", "-"), measure[-2:]
        after, null = ({name: contrast(rows, measure, name) for name in CONTRASTS} for rows in (final, before))
        for part in (after, null):
            part["gates"] = (part["gates under SGD"] + part["gates under Adam"]) / 2
        after["learned"] = (after["gates under SGD"] - null["gates under SGD"]).dropna()
        for name, (of, statement) in CLAIMS.items():
            unit = "difference of $\\log_{10}$ AI" if kind == "AI" else "difference of CE"
            unit += ", mean over SGD and Adam" if of == "gates" else ""
            yield {
                "name": name.format(slug),
                "statement": f"{statement}: {measure} ({unit})",
                "values": after[of],
                "null": null.get(of, 0.0),
                "threshold": MARGINS[kind] if name.startswith("matches") else 0.0,
                "about": "anisotropy",
                "note": "mean over tasks and seeds, BCa bootstrap over seeds; the null is the same contrast before "
                "training",
            }


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
