"""What is claimed of alignment: apart from the experiment, so that a word changed here runs nothing again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from gatelr.experiments.alignment import GATES, LAGS, OPTIMISERS, N, R

#: The smallest effects that matter, of a share of energy and of log10 of a gain; chosen after a pilot with the seeds 1
#: to 3, before any of the seeds that decide was run.
SMALLEST: Mapping[str, float] = MappingProxyType(
    {"left": 0.05, "right": 0.05, "gain": math.log10(1.25), "own left": 0.05, "own right": 0.05}
)

#: Each measure as one number for each row of the table, 0 by chance. It is the mean over lags of a share less what a
#: random direction has, or of log10 of the gain, or of a share less that of another sequence's error.
MEASURES: Mapping[str, Callable[[pd.DataFrame], pd.Series]] = MappingProxyType(
    {
        "left": lambda rows: mean(rows, "left") - R / N,
        "right": lambda rows: mean(rows, "right") - mean(rows, "chance"),
        "gain": lambda rows: mean(rows, "gain"),
        "own left": lambda rows: mean(rows, "left") - mean(rows, "left of another"),
        "own right": lambda rows: mean(rows, "right") - mean(rows, "right of another"),
    }
)

#: What is measured, in the words of a statement.
_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "left": f"share of the error in the first {R} left directions of transport, less that of a random direction",
        "right": f"share of the adjoint in the first {R} right directions, less that of a random error",
        "gain": "$\\log_{10}$ of how much more of the error is carried back than of a random direction",
        "own left": f"share of the error in the first {R} left directions, less that of another sequence's error",
        "own right": f"share of the adjoint in the first {R} right directions, less that with another sequence's error",
    }
)

#: The gates that are learned.
GATED = tuple(gate for gate in GATES if gate != "none")

#: The only task whose errors have more than one direction, since with one output all are multiples of one vector.
SEVERAL_OUTPUTS = "digits"


class Claim(NamedTuple):
    """A claim about one measure.

    Attributes:
        measure: of :data:`MEASURES`.
        kind: which numbers are taken, of gated networks, say, or of one optimiser less the other.
        statement: what is said.
        primary: whether it is a main claim.
    """

    measure: str
    kind: str
    statement: str
    primary: bool = False


#: By name, what is claimed.
CLAIMS: Mapping[str, Claim] = MappingProxyType(
    {
        "aligned-left": Claim("left", "gated", "a trained network with a gate is aligned", primary=True),
        "gates-left": Claim("left", "gates", "a network with a gate is more aligned than one without", primary=True),
        "adam-raises-left": Claim("left", "Adam", "a network under Adam is more aligned than under SGD", primary=True),
        "adam-lowers-left": Claim("left", "SGD", "a network under Adam is less aligned than under SGD"),
        "ungated-left": Claim("left", "none", "a trained network without a gate is aligned"),
        "learned-left": Claim("left", "learned", "training makes a network more aligned, with a gate or without"),
        "aligned-right": Claim("right", "gated", "a trained network with a gate is aligned"),
        "ungated-right": Claim("right", "none", "a trained network without a gate is aligned"),
        "gates-right": Claim("right", "gates", "a network with a gate is more aligned than one without"),
        "adam-raises-right": Claim("right", "Adam", "a network under Adam is more aligned than under SGD"),
        "aligned-gain": Claim("gain", "gated", "a trained network with a gate carries its error back well"),
        "gates-gain": Claim("gain", "gates", "a network with a gate carries its error back better than one without"),
        "own-left": Claim("own left", "digits", "transport is aligned with the sequence's own error"),
        "own-right": Claim("own right", "digits", "transport is aligned with the sequence's own error"),
    }
)


def mean(rows: pd.DataFrame, series: str) -> pd.Series:
    """The mean over lags of what is measured at each."""
    return rows[[f"{series} @{lag}" for lag in LAGS]].mean(axis=1)


def values(rows: pd.DataFrame, measure: str) -> pd.Series:
    """A measure, indexed by task, gate, optimiser and seed.

    Args:
        rows: of :func:`gatelr.experiments.alignment.table`, at one step.
        measure: of :data:`MEASURES`.
    """
    measured = MEASURES[measure](rows)
    measured.index = pd.MultiIndex.from_frame(rows[["task", "gate", "optimiser", "seed"]])
    return measured.sort_index()


def _of_gates(measured: pd.Series, *gates: str) -> pd.Series:
    return measured[measured.index.get_level_values("gate").isin(gates)]


def _less_none(measured: pd.Series) -> pd.Series:
    """Gated networks less the one without a gate, the optimiser and the seed held fixed."""
    by_gate = measured.unstack("gate")
    differences = by_gate[list(GATED)].sub(by_gate["none"], axis=0).stack()
    return pd.Series(differences).reorder_levels([0, 3, 1, 2]).sort_index()  # the gate after the task, as elsewhere


def _less_other(measured: pd.Series, more: str) -> pd.Series:
    """One optimiser less the other, the model and the seed held fixed."""
    (less,) = set(OPTIMISERS) - {more}
    return measured.xs(more, level="optimiser") - measured.xs(less, level="optimiser")


#: Which numbers a claim is about, from those of all networks.
_KINDS: Mapping[str, Callable[[pd.Series], pd.Series]] = MappingProxyType(
    {
        "gated": lambda measured: _of_gates(measured, *GATED),
        "none": lambda measured: _of_gates(measured, "none"),
        "gates": _less_none,
        "Adam": lambda measured: _less_other(measured, "Adam"),
        "SGD": lambda measured: _less_other(measured, "SGD"),
        "digits": lambda measured: measured.loc[[SEVERAL_OUTPUTS]],
        "learned": lambda measured: measured,
    }
)


def claims(final: pd.DataFrame, before: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """As ``gatelr.record.Chapter.claim`` takes them; the null of each is the same before training.

    Args:
        final, before: the table's rows at the last step, and those before training.
    """
    for name, claim in CLAIMS.items():
        after, null = (_KINDS[claim.kind](values(rows, claim.measure)) for rows in (final, before))
        if claim.kind == "learned":
            after, null = (after - null).dropna(), 0.0 * null
        yield {
            "name": name,
            "statement": f"{claim.statement}: {_WORDS[claim.measure]}",
            "values": after,
            "null": null,
            "threshold": SMALLEST[claim.measure],
            "smallest": SMALLEST[claim.measure],
            "primary": claim.primary,
            "about": "alignment",
            "note": "the null is the same before training; the smallest effect was chosen after a pilot",
        }
