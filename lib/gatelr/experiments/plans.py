"""Which chapter reads which experiment. No run reaches this module: a new experiment makes no other one stale."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from gatelr.experiments import runs

#: The experiment that each chapter with runs reads, by the chapter's slug.
CHAPTERS = {
    "effective-rate-profiles": "effective_rates",
    "joint-anisotropy": "joint_anisotropy",
    "alignment": "alignment",
    "gate-corrections": "gate_corrections",
    "gates-against-optimisers": "against_optimisers",
    "stability": "trainability",
    "real-data": "real_data",
    "replication": "replication",
}


def plan(chapter: str, parameters: Mapping[str, Any]) -> list[runs.Run]:
    """The runs that a chapter reads, none for most.

    Args:
        chapter, parameters: its slug, and all of its parameters; ``block`` among them says how many seeds a run has.
    """
    if chapter not in CHAPTERS:
        return []
    whole = import_module(f"gatelr.experiments.{CHAPTERS[chapter]}").plan(parameters)
    return runs.split(whole, int(parameters.get("block", 0)))
