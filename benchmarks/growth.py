"""How the cost of four paths through the library grows with steps, neurons and seeds, and where it leaves 8 GB.

Each path is measured in a process of its own. Exponents are fitted to the three largest sizes, where what does not
grow weighs least.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from gatelr import jacobian, transport
from torch import Tensor

from . import memory, ours
from .contests import RATE, SIZES, TINY, data, network

AXES = {"T": (64, 128, 256, 512, 1024), "n": (16, 32, 64, 128, 256), "S": (4, 8, 16, 32, 64)}
TINY_AXES = {"T": (3, 6), "n": (2, 4), "S": (1, 2)}
#: What the other two sizes are. One sequence of one seed has as many products as a reader looks at.
SEEDS = {"run": 20, "training step": 20, "sensitivities": 1, "spectra": 1}
LAG = 16
LIMIT = 8 * 2**30
#: Seconds of a call after which no larger size is tried, and of all calls at one size but the first.
LONGEST, ENOUGH = 8.0, 0.3


def run(quick: bool, threads: int) -> list[dict[str, Any]]:
    """A row for each path and size."""
    rows: list[dict[str, Any]] = []
    for path in SEEDS:
        measured = memory.elsewhere(threads, measure, path, quick)
        parameters = {"gate": "multi", **base(path, quick), "dtype": "float32"}
        row = {"group": "growth", "peer": path, "parameters": parameters}
        if "absent" in measured:
            rows.append(row | measured)
            continue
        for growth in measured["axes"]:
            others = {name: value for name, value in parameters.items() if name != growth["axis"]}
            rows.append(row | {"parameters": others, "growth": growth})
    return rows


def base(path: str, quick: bool) -> dict[str, int]:
    """The sizes from which one at a time is changed; transports are those of one sequence of each seed."""
    sizes = (TINY if quick else SIZES) | {"S": SEEDS[path]}
    return sizes | ({"B": 1} if path in ("sensitivities", "spectra") else {})


def measure(path: str, quick: bool) -> dict[str, Any]:
    """Seconds and bytes of one path, along each axis."""
    prepare(path, base(path, True))[0]()  # loads what is loaded late, and makes the threads
    axes: list[dict[str, Any]] = []
    for axis, values in (TINY_AXES if quick else AXES).items():
        sizes, seconds, taken = [], [], []
        for value in values:
            call, given = prepare(path, {**base(path, quick), axis: value})
            before = memory.reset()
            times = [timed(call)]
            taken.append(max(1, memory.peak() - before + given))
            while sum(times[1:]) < ENOUGH and times[0] < LONGEST / 4 and not quick:
                times.append(timed(call))
            sizes.append(value)
            seconds.append(statistics.median(times[1:] or times))
            del call
            if seconds[-1] > LONGEST:
                break
        growth = law(sizes, seconds, taken)
        if (path, axis) == ("sensitivities", "T") and growth["at_limit"] is not None:
            # T² norms, of which these lengths show little, fill it before the law does
            growth["at_limit"] = min(growth["at_limit"], math.isqrt(LIMIT // (4 * SEEDS[path])))
        axes.append({"axis": axis, "sizes": sizes, "seconds": seconds, "bytes": taken, **growth})
    return {"axes": axes}


def law(sizes: list[int], seconds: list[float], taken: list[int]) -> dict[str, Any]:
    """The exponents of time and memory, and the size at which memory passes the limit if the law goes on."""
    last = slice(-3, None)
    time_exponent, _ = np.polyfit(np.log(sizes[last]), np.log(seconds[last]), 1)
    exponent, offset = np.polyfit(np.log(sizes[last]), np.log(taken[last]), 1)
    grows = exponent > 0.1  # else no size is large enough
    at_limit = round(float(np.exp((np.log(LIMIT) - offset) / exponent))) if grows else None
    return {"time_exponent": float(time_exponent), "memory_exponent": float(exponent), "at_limit": at_limit}


def prepare(path: str, sizes: Mapping[str, int]) -> tuple[Callable[[], object], int]:
    """The call, and the bytes of what it is given."""
    S = sizes["S"]
    model, (u, target) = network("multi", sizes, S), data(sizes, S)
    if path == "training step":
        return ours.training_step(model, u, target, RATE), size(u, target)
    if path == "run":
        return torch.no_grad()(lambda: model.run(u)), size(u)
    with torch.no_grad():
        J = jacobian.blocks(model, model.run(u))
    if path == "sensitivities":
        return lambda: transport.sensitivities(J), size(J)
    return lambda: transport.spectra(J, [min(LAG, len(J))]), size(J)


def size(*tensors: Tensor) -> int:
    """Bytes of these tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin
