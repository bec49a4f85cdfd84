"""What ``make bench PROTOCOLS=1`` times: the two protocols of the paper, training and probes together."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from gatelr import tasks, training
from gatelr.protocols import effective_rates, joint_anisotropy


def run(quick: bool, say: Callable[[str], object]) -> list[dict[str, Any]]:
    """Both protocols with twenty seeds, once, on the CPU and on CUDA where there is one."""
    seeds = range(2 if quick else 20)
    tiny: dict[str, Any] = {"n": 4, "batch": 3, "checkpoints": (0, 2), "steps": 2, "progress": False}
    rates_tiny, anisotropy_tiny = tiny | {"probed": 2}, tiny | {"lags": (1, 3), "pairs": 4, "rows": 5, "r": 2}
    first, second = (tasks.get("adding", steps=6 if quick else steps) for steps in (80, 120))

    def e1(gate: str, device: str) -> training.Run:
        return effective_rates(first, gate, seeds, device=device, **(rates_tiny if quick else {}))

    def e2(gate: str, optimiser: Literal["SGD", "Adam"], device: str) -> training.Run:
        sizes = anisotropy_tiny if quick else {}
        return joint_anisotropy(second, gate, optimiser, seeds, device=device, **sizes)

    protocols: dict[str, dict[str, Callable[[str], training.Run]]] = {
        "E1": {gate: partial(e1, gate) for gate in ("constant", "scalar", "multi")},
        "E2": {
            "none by Adam": partial(e2, "none", "Adam"),
            "scalar by SGD": partial(e2, "scalar", "SGD"),
            "multi by SGD": partial(e2, "multi", "SGD"),
        },
    }
    rows = []
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        parameters = {"seeds": len(seeds), "device": device}
        parameters |= {"gpu": torch.cuda.get_device_name()} if device == "cuda" else {}
        for protocol, models in protocols.items():
            seconds = {}
            for model, train in models.items():
                begin = time.perf_counter()
                train(device)
                seconds[model] = time.perf_counter() - begin
                say(f"protocol {protocol}, {model}, {device}: {seconds[model]:.1f} s")
            total = sum(seconds.values())
            rows.append(
                {
                    "group": "protocol",
                    "peer": "ours",
                    "parameters": {"protocol": protocol, **parameters},
                    "seconds": {"median": total, "quartiles": [total, total], "rounds": 1},
                    "values": {"seconds_of_each": seconds},
                }
            )
    return rows
