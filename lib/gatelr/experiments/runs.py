"""Runs of the protocols kept on disk, so that a killed chapter goes on where it was and chapters share what they can.

A *cell* is one experiment on one task with one gate and one optimiser, all seeds side by side. It is found again by all
its settings and a digest of the code that makes its numbers, in which comments and docstrings do not count.
"""

from __future__ import annotations

import ast
import hashlib
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import torch

from gatelr import tasks
from gatelr.experiments import against_optimisers, corrections, protocols

#: What each experiment does.
PROTOCOLS: dict[str, Callable[..., Any]] = {
    "E1": protocols.effective_rates,
    "E2": protocols.joint_anisotropy,
    "E3": corrections.small_persistent_effective,
    "E4": against_optimisers.against_optimisers,
}

#: What decides the numbers of every experiment.
SHARED = ("artifacts", "cells", "experiments", "jacobian", "products", "protocols", "recurrence", "tasks", "training")

#: The modules that decide an experiment's numbers; its cells outlive a change in any other.
MODULES: dict[str, tuple[str, ...]] = {
    "E1": (*SHARED, "lanczos", "lanczos_cpu", "profiles", "transport"),
    "E2": (*SHARED, "adjoint", "anisotropy"),
    "E3": (*SHARED, "corrections"),
    "E4": (*SHARED, "adjoint", "optimisers", "preconditioners", "rates"),
}

#: Results of one cell by name, each a table with a row for each record, seed and step among its columns.
Tables = dict[str, pd.DataFrame]


def cells(location: str | Path) -> Callable[..., Tables]:
    """How to have a cell: ``cell = cells(location)``, then ``cell("E1", "adding", "multi", "SGD", (1, 2, 3))``.

    Args:
        location: the folder that holds what was computed; it can be deleted at any time.

    Returns:
        A function of experiment, task, gate, optimiser and seeds, with settings of the protocol by name, and
        ``task_options`` for :func:`gatelr.tasks.get`. Its tables are those of the protocol's records, to each of which
        ``"step"`` is added; ``"run"``: for each seed the step at which it diverged (-1: not) and how many sequences
        were redrawn; and ``"cost"``, one row: seconds, CPU seconds and the machine.
    """
    kept = joblib.Memory(location, verbose=0).cache(_cell)

    def cell(experiment: str, task: str, gate: str, optimiser: str, seeds: Any, **settings: Any) -> Tables:
        plain = {name: tuple(v) if isinstance(v, list | range) else v for name, v in sorted(settings.items())}
        return kept(experiment, task, gate, optimiser, tuple(seeds), plain, digest(experiment))

    return cell


def digest(experiment: str) -> str:
    """A fingerprint of the code that makes an experiment's numbers, and of the torch that runs it."""
    total = hashlib.sha256(torch.__version__.encode())
    for name in sorted(MODULES[experiment]):
        total.update(_code((Path(__file__).parent / f"{name}.py").read_text()).encode())
    return total.hexdigest()[:16]


def machine() -> str:
    """The processor and the number of threads, in words."""
    found = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        found = names[0] if names else found
    return f"{found}, {torch.get_num_threads()} of {os.cpu_count()} cores"


def _cell(
    experiment: str,
    task: str,
    gate: str,
    optimiser: str,
    seeds: tuple[int, ...],
    settings: Mapping[str, Any],
    made_with: str,
) -> Tables:
    options = dict(settings)
    wall, cpu = time.perf_counter(), time.process_time()
    chosen = tasks.get(task, **options.pop("task_options", {}))
    run = PROTOCOLS[experiment](chosen, gate, optimiser=optimiser, seeds=seeds, **options)
    rows: dict[str, list[dict[str, Any]]] = {}
    for step, probe in run.probes.items():
        for name, records in probe.items():
            rows.setdefault(name, []).extend({"step": step} | record for record in records)
    found = {name: pd.DataFrame(records) for name, records in rows.items()}
    found["run"] = pd.DataFrame({"seed": seeds, "diverged": run.diverged.numpy(), "redrawn": run.redrawn.numpy()})
    spent = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    found["cost"] = pd.DataFrame([spent | {"machine": machine()}])
    return found


def _code(source: str) -> str:
    """A module's code without what only people read."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
