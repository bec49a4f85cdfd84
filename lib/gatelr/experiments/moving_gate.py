"""One scalar gate that reads nothing, moved by training, and what that does to the rate of each lag (claim C11)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from gatelr import rates, tasks, training
from gatelr.cells import GatedRNN
from gatelr.experiments import digits, protocol

#: Learning rates of the gate, whose weights stay zero, and of everything else.
GATE, OTHERS = {"W_rg": 0.0, "W_ig": 0.0, "b_g": 5e-2}, 1e-2


def watch(lags: Sequence[int], seeds: int, steps: int, device: torch.device | str = "cpu") -> pd.DataFrame:
    """Train on digits, and read gate and rates off the network at every fifth step.

    The gate starts nearly shut, at σ(-4). Replica i has weights from seed i, digits from 123 + i. The rate of each lag
    is read at the end of one digit.
    """
    task = tasks.get("digits")
    u = digits.for_each_seed(tasks.digits(split="test", dtype=torch.float64, device=device).u[:, :1], seeds)
    model = protocol.network(task, "scalar", range(seeds), 16, bias=True, dtype=torch.float64, device=device)
    assert model.W_rg is not None
    assert model.W_ig is not None
    assert model.b_g is not None
    with torch.no_grad():
        model.W_rg.zero_()
        model.W_ig.zero_()
        model.b_g.fill_(-4.0)
    groups = [{"params": [weight], "lr": GATE.get(name, OTHERS)} for name, weight in model.named_parameters()]

    @torch.no_grad()
    def read(step: int, model: GatedRNN) -> list[tuple[int, int, int, float, float]]:
        run = model.run(u)
        gates = run.g[-1, :, 0, 0].tolist()
        by_lag = {lag: rates.effective(run, 1.0, lag)[-1, :, 0, 0].tolist() for lag in lags}
        return [(seed, step, lag, gates[seed], by_lag[lag][seed]) for lag in lags for seed in range(seeds)]

    data = training.generators(range(seeds), protocol.TRAINING)
    optimiser = torch.optim.Adam(groups)
    checkpoints = range(0, steps + 1, 5)
    history = training.train(model, task, optimiser, steps, data, batch=48, probe=read, checkpoints=checkpoints)
    rows = [row for rows in history.probes.values() for row in rows]
    return pd.DataFrame(rows, columns=["seed", "step", "lag", "gate", "rate"])


def wrong_way(schedule: pd.DataFrame) -> tuple[int, int]:
    """How many rates moved against C10 between two readings on the same side of the matched gate, and of how many.

    Below 1/(ℓ+1) a gate that opens raises the rate of lag ℓ, above it lowers it.
    """
    side = np.sign(1 - (schedule.lag + 1) * schedule.gate)
    lines = schedule.assign(side=side).groupby(["seed", "lag"])
    looked = (side == lines.side.shift()) & (side != 0)
    expected = np.sign(lines.gate.diff()) * side
    return int((np.sign(lines.rate.diff()) != expected)[looked].sum()), int(looked.sum())
