"""How often a diagnosis raises a false alarm on healthy networks, and which planted faults it finds.

Thresholds were set on seeds below :data:`FIRST_SEED` and are frozen in :mod:`gatelr.networks.diagnosis.thresholds`.
What is reported has seeds from there on. Two tables, a row a network, are written as they come: a killed run goes on.

``python -m gatelr.experiments.diagnosis_trials`` makes both in ``reference/diagnosis``.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import torch

from gatelr import files
from gatelr.experiments import healthy_networks, planted_faults, runs
from gatelr.networks import diagnose

#: The first seed of what is reported, and how many seeds each setting has.
FIRST_SEED, HEALTHY_SEEDS, FAULT_SEEDS = 100, 4, 20
#: How strong a planted fault is.
STRENGTHS = ("mild", "medium", "strong")
#: One row of a table.
Row = dict[str, Any]


def healthy_row(task: str, kind: str, n: int, seed: int) -> Row:
    """Train a network and diagnose it, all that can be given being given.

    Args:
        task: one of :data:`~gatelr.experiments.healthy_networks.TASKS`.
        kind: one of :data:`~gatelr.experiments.healthy_networks.KINDS`.
        n: hidden units.
        seed: of weights and data.

    Returns:
        What it was, how many times better than the constant it is, whether that is healthy, and what was found; a
        network that is not healthy is not diagnosed.
    """
    model, optimizer, better = healthy_networks.train(task, kind, n, seed)
    healthy, codes = better >= healthy_networks.FACTOR, ""
    if healthy:
        what = healthy_networks.TASKS[task]
        u, target = what.draw(healthy_networks.PROBE, torch.Generator().manual_seed(20_000 + seed))
        diagnosis = diagnose(
            model,
            u,
            loss=what.loss,
            target=target,
            lag=what.lag,
            window=what.steps,
            clip=healthy_networks.CLIP,
            optimizer=optimizer,
        )
        codes = " ".join(sorted({finding.code for finding in diagnosis.findings}))
    return {
        "task": task,
        "kind": kind,
        "n": n,
        "seed": seed,
        "better": f"{better:.4g}",
        "healthy": int(healthy),
        "findings": codes,
    }


def fault_row(fault: str, strength: str, seed: int) -> Row:
    """Plant a fault and diagnose the network.

    Args:
        fault: one of :data:`~gatelr.experiments.planted_faults.FAULTS`.
        strength: ``"mild"``, ``"medium"`` or ``"strong"``.
        seed: of the network and the place of the fault.

    Returns:
        What it was, whether the finding that names it is there, its number, and what else was found.
    """
    kind = planted_faults.FAULTS[fault]
    value = kind.strengths[STRENGTHS.index(strength)]
    planted = kind.plant(seed, value)
    diagnosis = diagnose(planted.module, planted.u, **planted.options)
    named = [finding for finding in diagnosis.findings if finding.code == kind.code]
    return {
        "fault": fault,
        "code": kind.code,
        "strength": strength,
        "value": value,
        "seed": seed,
        "found": int(bool(named)),
        "number": f"{named[0].value:.4g}" if named else "",
        "others": " ".join(sorted({finding.code for finding in diagnosis.findings} - {kind.code})),
    }


def healthy_settings(first: int, seeds: int) -> Iterator[tuple[str, str, int, int]]:
    """Every task, kind and size with each seed, seed by seed."""
    for seed in range(first, first + seeds):
        for task, kind, n in product(healthy_networks.TASKS, healthy_networks.KINDS, healthy_networks.SIZES):
            yield task, kind, n, seed


def fault_settings(first: int, seeds: int) -> Iterator[tuple[str, str, int]]:
    """Every fault and strength with each seed, seed by seed."""
    for seed in range(first, first + seeds):
        for fault, strength in product(planted_faults.FAULTS, STRENGTHS):
            yield fault, strength, seed


class Table:
    """A table on disk that grows by a row at a time; each row says which code made it."""

    def __init__(self, path: Path, keys: tuple[str, ...], code: str) -> None:
        self.path, self.keys, self.code = path, keys, code
        self.rows: list[dict[str, str]] = []
        if path.exists():
            with path.open(newline="") as lines:
                self.rows = list(csv.DictReader(lines))

    def find(self, *values: Any) -> dict[str, str] | None:
        """The row with these keys, or None."""
        wanted = tuple(map(str, values))
        return next((row for row in self.rows if tuple(row[key] for key in self.keys) == wanted), None)

    def add(self, row: Row) -> dict[str, str]:
        """Write one more row."""
        text = {name: str(value) for name, value in row.items()} | {"code": self.code}
        fresh = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", newline="") as lines:
            writer = csv.DictWriter(lines, list(text), lineterminator="\n")
            if fresh:
                writer.writeheader()
            writer.writerow(text)
        self.rows.append(text)
        return text


def false_alarms(folder: Path, *, first: int = FIRST_SEED, seeds: int = HEALTHY_SEEDS) -> Table:
    """Diagnose healthy networks; one that did not learn keeps its row, and the setting gets a seed after the last.

    Args:
        folder: where ``false-alarms.csv`` is, or comes to be.
        first, seeds: the seeds of each setting.

    Returns:
        The table, complete.
    """
    table = Table(folder / "false-alarms.csv", ("task", "kind", "n", "seed"), runs.code("diagnosis_trials"))
    for task, kind, n, seed in healthy_settings(first, seeds):
        for tried in (seed, seed + seeds, seed + 2 * seeds):
            row = table.find(task, kind, n, tried) or table.add(healthy_row(task, kind, n, tried))
            if row["healthy"] == "1":
                break
    return table


def planted(folder: Path, *, first: int = FIRST_SEED, seeds: int = FAULT_SEEDS) -> Table:
    """Diagnose networks with a fault.

    Args:
        folder: where ``planted-faults.csv`` is, or comes to be.
        first, seeds: the seeds of each fault and strength.

    Returns:
        The table, complete.
    """
    table = Table(folder / "planted-faults.csv", ("fault", "strength", "seed"), runs.code("diagnosis_trials"))
    for fault, strength, seed in fault_settings(first, seeds):
        if table.find(fault, strength, seed) is None:
            table.add(fault_row(fault, strength, seed))
    return table


def summary(alarms: Table, faults: Table) -> dict[str, Any]:
    """Shares of both tables.

    Returns:
        ``networks`` that were healthy, ``not healthy`` and so replaced, ``false alarms`` among the healthy with their
        ``share``, and ``found``: for each fault and strength the share that was found.
    """
    healthy = [row for row in alarms.rows if row["healthy"] == "1"]
    alarmed = [row for row in healthy if row["findings"]]
    shares: dict[str, dict[str, float]] = {}
    for fault, strength in product(planted_faults.FAULTS, STRENGTHS):
        hits = [int(row["found"]) for row in faults.rows if (row["fault"], row["strength"]) == (fault, strength)]
        if hits:
            shares.setdefault(fault, {})[strength] = sum(hits) / len(hits)
    return {
        "networks": len(healthy),
        "not healthy": len(alarms.rows) - len(healthy),
        "false alarms": len(alarmed),
        "share": len(alarmed) / len(healthy) if healthy else float("nan"),
        "found": shares,
    }


def main(arguments: list[str] | None = None) -> None:
    """Make or complete both tables, and write what they say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("reference/diagnosis"))
    parser.add_argument("--first", type=int, default=FIRST_SEED)
    parser.add_argument("--healthy", type=int, default=HEALTHY_SEEDS, help="seeds of each task, kind and size")
    parser.add_argument("--faults", type=int, default=FAULT_SEEDS, help="seeds of each fault and strength")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    faults = planted(args.out, first=args.first, seeds=args.faults)
    alarms = false_alarms(args.out, first=args.first, seeds=args.healthy)
    made = {"torch": runs.torch_version(), "machine": runs.machine()}
    files.write_json(args.out / "summary.json", {**made, **summary(alarms, faults)})


if __name__ == "__main__":
    main()
