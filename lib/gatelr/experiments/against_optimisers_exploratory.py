"""E4's exploratory claims: what stands beside the three that decide, as ``Chapter.claim`` takes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from gatelr.experiments.against_optimisers_claims import PILOT, moves, of_gates, of_method

#: Claims by name, each with its statement, its values and the options of ``Chapter.claim``.
Claims = dict[str, dict[str, Any]]

#: The smallest difference of losses that matters, and of movements of a rate, in decades.
DECADES: dict[str, Any] = {"smallest": 0.1, "unit": "decades", "note": PILOT}
#: The smallest rank correlation that matters.
RANK: dict[str, Any] = {"smallest": 0.2, "note": PILOT}


def learned(losses: pd.DataFrame) -> Claims:
    """That the tasks are learned, by task and seed.

    Args:
        losses: log10 of the final loss over the constant's, a column for each gate and optimiser.
    """
    weakest = -losses[[("multi", "SGD"), ("none", "Adam"), ("multi", "Adam")]].max(axis=1)
    words = "the weakest of multi + SGD, none + Adam and both is at least five times better than the best constant "
    words += "($\\log_{10}$ of the ratio)"
    return {"learns": {"statement": words, "values": weakest, "about": "trained", "threshold": float(np.log10(5))}}


def schedule(rows: pd.DataFrame, losses: pd.DataFrame) -> Claims:
    """That training moves the rates, and what imposed rates gain, by task, gate and seed.

    Args:
        rows: the table ``"arms"``.
        losses: log10 of the final loss, a column for each arm.
    """
    gain, null = losses["frozen"] - losses["imposed"], losses["frozen"] - losses["permuted"]
    to_regain = losses["frozen"] - losses["learns"]
    moved = "training moves the rates of lags 1 to 16 by more than a quarter beyond what frozen gates do"
    regained = "imposed on frozen gates, the rates by lag of a learning gate lower the final loss "
    regained += "($\\log_{10}$ of the ratio)"
    learning = "a gate that learns ends with a smaller loss than a frozen one ($\\log_{10}$ of the ratio)"
    shared: dict[str, Any] = {"about": "schedule"} | DECADES
    movement = shared | {"note": "threshold written down before seeds 1 to 20; judged by setting after a pilot"}
    return {
        "schedule-moves": {"statement": moved, "values": moves(rows)} | movement,
        "schedule-gap": {"statement": learning, "values": to_regain} | shared,
        "schedule-gain": {"statement": regained, "values": gain, "null": null} | shared,
    }


def momentum(last: pd.DataFrame) -> Claims:
    """How much of a trace one fixed β explains, by task, gate and seed.

    Args:
        last: the table ``"steps"`` after the last update.
    """
    fixed, shuffled, credit = (of_gates(last, name) for name in ("fixed beta", "shuffled gates", "last credit"))
    words = "one fixed $\\beta$ for each neuron explains "
    explains = f"{words}nine tenths of the trace of a trained gate"
    remembers = f"{words}more of the trace than the last credit alone (difference of $R^2$)"
    shared = {"about": "momentum"}
    return {
        "momentum-explains": shared | {"statement": explains, "values": fixed, "null": shuffled, "threshold": 0.9},
        "momentum-remembers": shared
        | {"statement": remembers, "values": fixed - credit, "smallest": 0.1, "note": PILOT},
    }


def adam(last: pd.DataFrame) -> Claims:
    """What else the steps of multi-gates and of their shadow Adam have in common, by task and seed.

    A network that has diverged has no steps, and is left out.

    Args:
        last: the table ``"steps"`` after the last update.
    """
    alike, normalised = of_method(last, "rows like Adam"), of_method(last, "rows normalised")
    constant = ("constant", "SGD")
    beyond = normalised - of_method(last, "rows normalised", constant)
    ranks = {
        "adam-over-constant": (
            "row steps of a multi-gate agree with its shadow better than those of a constant gate do (difference of "
            "ranks)",
            alike - of_method(last, "rows like Adam", constant),
        ),
        "adam-own-gates": (
            "a network's own gates agree with its shadow better than the gates of another network do (difference of "
            "rank correlations)",
            alike - of_method(last, "rows like Adam, foreign"),
        ),
        "adam-coordinates": (
            "coordinate by coordinate, gate and Adam agree",
            of_method(last, "all like Adam"),
        ),
        "adam-normalises": (
            "a gate's row steps are smaller where contributions are larger, as Adam's are (rank correlation with their "
            "root mean square)",
            normalised,
        ),
        "adam-normalises-over-constant": (
            "a multi-gate's row steps go against the size of contributions more than a constant gate's do (difference "
            "of ranks)",
            beyond,
        ),
    }
    claims: Claims = {
        name: {"statement": words, "values": values.dropna(), "about": "Adam", "greater": "normalises" not in name}
        | RANK
        for name, (words, values) in ranks.items()
    }
    # a matrix without structure has 1/(n + 1) between its rows
    claims["adam-rows"] = {
        "statement": "half of the variance of Adam's log rates lies between rows, where a gate could supply it",
        "values": of_method(last, "Adam rows"),
        "about": "Adam",
        "threshold": 0.5,
        "null": 1 / 33,
    }
    return claims


def preconditioned(losses: pd.DataFrame, rows: pd.DataFrame) -> Claims:
    """That the row steps of a trained multi-gate help a network without a gate, by task and seed.

    Args:
        losses: log10 of the final loss, a column for each gate and optimiser.
        rows: the same of the interventions, a column for each arm.
    """
    given = rows.xs("multi", level="gate")
    best = np.minimum(losses["none", "SGD"], given["rows permuted"])
    words = "a network without a gate ends with a smaller loss if each row learns as fast as in a trained multi-gate, "
    words += "than with equal rows and with rows permuted ($\\log_{10}$ of the ratio to the better)"
    return {"adam-rows-help": {"statement": words, "values": best - given["rows"], "about": "Adam"} | DECADES}


def complementary(losses: pd.DataFrame) -> Claims:
    """That gates and Adam together do better than either, and than their sum, by task and seed.

    Args:
        losses: log10 of the final loss, a column for each gate and optimiser.
    """
    together, gates = losses["multi", "Adam"], losses["multi", "SGD"]
    by_adam, neither = losses["none", "Adam"], losses["none", "SGD"]
    better = "gates and Adam together end with a smaller loss than the better of the two alone ($\\log_{10}$ of the "
    better += "ratio)"
    more = "together they help more than the sum of what each does alone (interaction in $\\log_{10}$ of the loss)"
    shared: dict[str, Any] = {"about": "complementary"} | DECADES
    interaction = (together - by_adam) - (gates - neither)
    return {
        "complementary": {"statement": better, "values": np.minimum(gates, by_adam) - together} | shared,
        "more-than-additive": {"statement": more, "values": interaction, "greater": False} | shared,
    }
