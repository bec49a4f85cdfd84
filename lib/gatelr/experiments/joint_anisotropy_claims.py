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


def claims(final: pd.DataFrame, before: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """As ``gatelr.record.Chapter.claim`` takes them; the null of each is the same contrast before training.

    Args:
        final: the table's rows at the last step.
        before: those before training.
    """
    for measure in MEASURES:
        slug, kind = measure.lower().replace(" ", "-"), measure[-2:]
        unit = "difference of $\\log_{10}$ AI" if kind == "AI" else "difference of CE"
        part = {name: contrast(final, measure, name) for name in CONTRASTS}
        null = {name: contrast(before, measure, name) for name in CONTRASTS}

        def claim(name: str, statement: str, values: pd.Series, null: Any, threshold: float = 0.0) -> dict[str, Any]:
            note = "mean over tasks and seeds, BCa bootstrap over seeds; the null is the same contrast before training"
            return {"name": name, "statement": statement, "values": values, "null": null, "threshold": threshold} | {
                "about": "anisotropy",
                "note": note,
            }

        for gate, name in (("multi", "published"), ("scalar", "scalar, published")):
            statement = f"a {gate} gate under SGD matches or exceeds none under Adam: {measure} ({unit})"
            yield claim(f"matches-adam-{slug}-{gate}", statement, part[name], null[name], MARGINS[kind])
        yield claim(
            f"gates-{slug}",
            f"with the optimiser held fixed, multi-gates are more anisotropic than none: {measure} ({unit}, mean over "
            "SGD and Adam)",
            (part["gates under SGD"] + part["gates under Adam"]) / 2,
            (null["gates under SGD"] + null["gates under Adam"]) / 2,
        )
        yield claim(
            f"adam-{slug}",
            f"with the model held fixed, Adam makes none more anisotropic than SGD does: {measure} ({unit})",
            part["Adam in none"],
            null["Adam in none"],
        )
        yield claim(
            f"learned-{slug}",
            f"training under SGD makes the gates' part larger than it was at initialisation: {measure} ({unit})",
            (part["gates under SGD"] - null["gates under SGD"]).dropna(),
            0.0,
        )


def contrast(rows: pd.DataFrame, measure: str, name: str) -> pd.Series:
    """The difference of two cells of the design, by task and seed, where both have been measured.

    Args:
        rows: of :func:`gatelr.experiments.joint_anisotropy.table`, at one step.
        measure: of :data:`MEASURES`.
        name: of :data:`CONTRASTS`.
    """
    values = MEASURES[measure](rows)
    values.index = pd.MultiIndex.from_frame(rows[["gate", "optimiser", "task", "seed"]])
    more, less = CONTRASTS[name]
    return values.sort_index().loc[more] - values.sort_index().loc[less]
