"""What ``make bench PROTOCOLS=1`` times: the two protocols of the paper, training and probes together.

On a CPU as the workflow runs them: as many cells side by side as there are threads, each with one. A cell is one model
with half of the seeds, which do not know of each other. On CUDA one after the other, all seeds of a model at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import joblib
import torch
from gatelr import tasks
from gatelr.experiments import effective_rates, joint_anisotropy
from gatelr.experiments.protocol import Setup

#: For each protocol its models: gate and optimiser.
MODELS = {
    "E1": (("constant", "SGD"), ("scalar", "SGD"), ("multi", "SGD")),
    "E2": (("none", "Adam"), ("scalar", "SGD"), ("multi", "SGD")),
}
TINY: dict[str, dict[str, Any]] = {
    "E1": {"n": 4, "batch": 3, "probed": 2},
    "E2": {"n": 4, "batch": 3, "lags": (1, 3), "pairs": 4, "rows": 5, "r": 2},
}


def seconds(protocol: str, gate: str, optimiser: str, seeds: range, device: str, quick: bool) -> float:
    """Train and probe one model with these seeds; how long it took."""
    begin = time.perf_counter()
    e1: tuple[Any, ...] = (effective_rates, 80, effective_rates.SETTINGS["paper", "adding"]["checkpoints"])
    e2: tuple[Any, ...] = (joint_anisotropy, 120, joint_anisotropy.CHECKPOINTS)
    experiment, length, checkpoints = e1 if protocol == "E1" else e2
    task, checkpoints = tasks.get("adding", steps=6 if quick else length), (0, 2) if quick else checkpoints
    setup = Setup(task, gate, optimiser, seeds, checkpoints[-1], checkpoints, device=device, progress=False)
    experiment.measure(setup, **(TINY[protocol] if quick else {}))
    return time.perf_counter() - begin


def run(quick: bool, threads: int, say: Callable[[str], object]) -> list[dict[str, Any]]:
    """Both protocols with twenty seeds, once, on the CPU and on CUDA where there is one."""
    seeds = range(2 if quick else 20)
    half = len(seeds) // 2
    rows = []
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        parameters = {"seeds": len(seeds), "device": device}
        parameters |= {"gpu": torch.cuda.get_device_name()} if device == "cuda" else {}
        for protocol, models in MODELS.items():
            parts = (seeds[:half], seeds[half:]) if device == "cpu" else (seeds,)
            cells = [(protocol, *model, part, device, quick) for model in models for part in parts]
            begin = time.perf_counter()
            if device == "cpu":
                with joblib.parallel_config("loky", n_jobs=threads, inner_max_num_threads=1):
                    each = joblib.Parallel()(joblib.delayed(seconds)(*cell) for cell in cells)
            else:
                each = [seconds(*cell) for cell in cells]
            total = time.perf_counter() - begin
            of_each: dict[str, float] = {}
            for (_, gate, optimiser, *_), taken in zip(cells, each, strict=True):
                of_each[f"{gate} by {optimiser}"] = of_each.get(f"{gate} by {optimiser}", 0.0) + taken
            for model, taken in of_each.items():
                say(f"protocol {protocol}, {model}, {device}: {taken:.1f} s")
            row = {
                "group": "protocol",
                "peer": "ours",
                "parameters": {"protocol": protocol, **parameters},
                "seconds": {"median": total, "quartiles": [total, total], "rounds": 1},
                "values": {"seconds_of_each": of_each},
            }
            side_by_side = f"cells of {half} seeds, {threads} at a time with a thread each; their times are summed"
            rows.append(row | ({"note": side_by_side} if device == "cpu" else {}))
    return rows
