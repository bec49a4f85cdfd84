"""What one job needs as seeds, neurons and steps grow: ``python -m benchmarks.scale``, on one core.

Each size is measured in a process of its own: the CPU seconds of one update of all seeds, those of one probe of one
seed, and the most memory that the process had. The cell is that of the profile ``thousand``; ``--study FOLDER --wall
SECONDS`` adds what that study took. The file ``results/scale/<machine>.json`` is what the book reads.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from gatelr import files, tasks
from gatelr.experiments import effective_rates, protocol

from . import record

FOLDER = record.RESULTS / "scale"
#: The sizes, of which one at a time is changed.
BASE = {"seeds": 50, "n": 64, "T": 30}
AXES = {"seeds": (10, 50, 200), "n": (32, 64, 128), "T": (30, 60, 120)}
#: How many updates are timed, and the seeds of one probe.
UPDATES, PROBED = 10, 4


def measure(seeds: int, n: int, T: int) -> dict[str, Any]:
    """Seconds and megabytes at one size, in this process."""
    torch.set_num_threads(1)
    task = tasks.get("adding", steps=T)

    def taken(seeds: int, steps: int, checkpoints: list[int]) -> float:
        setup = protocol.Setup(task, "constant", "Adam", range(1, seeds + 1), steps, checkpoints, 3e-3, progress=False)
        begin = time.process_time()
        effective_rates.measure(setup, n=n)
        return time.process_time() - begin

    taken(2, 1, [0])  # loads what is loaded late
    update = (taken(seeds, UPDATES, []) - taken(seeds, 0, [])) / UPDATES
    probe = (taken(PROBED, 0, [0]) - taken(PROBED, 0, [])) / PROBED
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # of kB, as Linux has it
    return {"seeds": seeds, "n": n, "T": T, "update_seconds": update, "probe_seconds": probe, "megabytes": peak}


def rows() -> list[dict[str, Any]]:
    """A row for each size."""
    sizes = [BASE | {axis: value} for axis, values in AXES.items() for value in values]
    measured = []
    for size in dict.fromkeys(json.dumps(size) for size in sizes):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.scale", "--one", size], stdout=subprocess.PIPE, text=True, check=True
        )
        measured.append(json.loads(done.stdout))
        print(done.stdout.strip(), flush=True)
    return measured


def exponents(measured: list[dict[str, Any]]) -> dict[str, float]:
    """How the seconds of an update grow along each axis: the slope of their logarithm, at the largest sizes."""
    slopes = {}
    for axis in AXES:
        line = [row for row in measured if all(row[other] == BASE[other] for other in BASE if other != axis)]
        last = sorted(line, key=lambda row: int(row[axis]))[-2:]
        x, y = (np.log([row[name] for row in last]) for name in (axis, "update_seconds"))
        slopes[axis] = float((y[1] - y[0]) / (x[1] - x[0]))
    return slopes


def study(folder: Path, wall: float, jobs: int) -> dict[str, Any]:
    """What a study took, from its tables."""
    runs, cost = pd.read_csv(folder / "run.csv"), pd.read_csv(folder / "cost.csv")
    spent = {"seconds": float(cost.seconds.sum()), "cpu_seconds": float(cost.cpu_seconds.sum())}
    return {"seeds": len(runs), "wall_seconds": wall, "jobs": jobs, **spent}


def main() -> int:
    """Measure, and write the file of this machine; what is not measured anew stays in it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--study", type=Path, help="the folder of its tables; nothing else is measured")
    parser.add_argument("--wall", type=float, help="the seconds that the build of the study said it took")
    parser.add_argument("--jobs", type=int, default=2, help="how many of its jobs ran side by side")
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(**asked.one)))
        return 0
    machine = record.machine(1)
    out = FOLDER / record.path(machine).name
    content = json.loads(out.read_text()) if out.exists() else {}
    if asked.study:
        content["study"] = study(asked.study, asked.wall, asked.jobs)
    else:
        begin = time.perf_counter()
        content |= {"machine": machine, "rows": (measured := rows()), "exponents": exponents(measured)}
        content["load"] = os.getloadavg()[2]  # what else ran meanwhile makes seconds of a core longer
        content["measured"] = record.provenance(time.perf_counter() - begin)
    out.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(out, content)
    print(f"Written to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
