"""E4's interventions: what a learned gate does to steps, given to networks that have no such gate.

Two are made. Networks with frozen gates are given the rates by lag of the network whose gate learns
(:mod:`gatelr.experiments.imposed_rates`). And networks without a gate are given, row by row, what the gates of a
trained network multiply contributions by. The null of each has the same numbers in other places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gatelr import tasks, training
from gatelr.cells import GatedRNN
from gatelr.experiments import imposed_rates, preconditioners, protocol
from gatelr.experiments.against_optimisers import BATCH, FRESH, LAGS, NEURONS, PROBED, along
from gatelr.experiments.imposed_rates import ARMS

#: Networks without a gate whose rows learn as fast as those of a trained gated network, and the same with the rows in
#: another order.
ROW_ARMS = ("rows", "rows permuted")


def measure(setup: protocol.Setup, *, ungated_rate: float | None = None) -> training.Run:
    """Train a network whose gate learns and, beside it, networks with frozen gates that are given its rates.

    Args:
        setup: with a rate, and a gate that has weights; the optimiser is plain SGD.
        ungated_rate: that of networks without a gate, which are then trained with the row steps of the network that has
            learned; None for none.

    Returns:
        The run of the learning networks. Its probes hold in ``"arms"`` a record for each seed and arm: the loss on
        fresh data and that of the best constant; and, of gated arms, log10 of the mean rate of each of the
        :data:`~gatelr.experiments.against_optimisers.LAGS`, in units of the learning rate.

    Raises:
        ValueError: without a rate, or for a gate without weights.
    """
    if setup.rate is None:
        raise ValueError("got no rate, expected one: that of the network whose gate learns, which the search found")
    seeds, (wide, arms) = setup.seeds, _side_by_side(setup, ARMS)
    task, unseen = setup.task, wide.draw(FRESH, protocol.FRESH)
    data = wide.draw(PROBED, protocol.PROBE, torch.float64)
    model = imposed_rates.network(task, setup.gate, seeds, NEURONS, setup.device)

    def probe(step: int, model: GatedRNN) -> protocol.Records:
        records = wide.losses(model, unseen)
        for s, (record, arm) in enumerate(zip(records, arms, strict=True)):
            factor = along(model, task, data, s)[1].mean((1, 2)).log10().flip(0).tolist()
            record |= {"arm": arm} | {f"factor @{lag}": factor[lag] for lag in LAGS if lag < task.steps}
        return {"arms": records}

    run = wide.train(model, probe, engine=torch.optim.SGD(model.parameters(), lr=setup.rate), batch=BATCH)
    probes = dict(run.probes)
    ended = [run]
    if ungated_rate is not None:
        steps = torch.stack([row_steps(model, task, data, s) for s in range(len(seeds))])
        ended.append(_by_rows(setup, steps, ungated_rate))
        probes = {step: {"arms": probe["arms"] + ended[1].probes[step]["arms"]} for step, probe in probes.items()}
    diverged = torch.cat([each.diverged.view(-1, len(seeds)) for each in ended])
    first = torch.where(diverged < 0, setup.steps, diverged).amin(0)
    return training.Run(
        losses=run.losses[:, : len(seeds)],
        diverged=torch.where((diverged < 0).all(0), -1, first),
        redrawn=run.redrawn[: len(seeds)],
        probes=probes,
    )


def row_steps(model: GatedRNN, task: tasks.Task, data: tasks.Batch, s: int) -> Float[Tensor, " n"]:
    """What the gates of network s multiply contributions to each row by, over their geometric mean.

    Args:
        model: the networks.
        task: what they were trained for.
        data: the sequences of the probe, in float64.
        s: which network.

    Returns:
        One number for each neuron; ones for a network that has diverged, or whose neurons saturate.
    """
    run, factor, signal = along(model, task, data, s)
    weights = preconditioners.weights(signal, run.x_prev)
    if not (weights.isfinite() & (weights > 0)).all():
        return torch.ones_like(weights[0])
    rows = preconditioners.gate_steps(factor, signal, run.x_prev).rows
    return rows / rows.log().mean().exp()


def _by_rows(setup: protocol.Setup, steps: Float[Tensor, "S n"], rate: float) -> training.Run:
    """Train networks without a gate whose rows are given these steps, and the null with the rows permuted."""
    wide, arms = _side_by_side(replace(setup, gate="none", save=_aside(setup)), ROW_ARMS)
    unseen, model = wide.draw(FRESH, protocol.FRESH), wide.network(NEURONS)
    orders = imposed_rates.permutations(setup.seeds, NEURONS)
    by_row = torch.cat([steps, steps.gather(1, orders)]).to(model.W_r).unsqueeze(-1)

    def scaled(*_: object) -> None:
        for weight in (model.W_r, model.W_i):
            if weight.grad is not None:
                weight.grad.mul_(by_row)

    def probe(step: int, model: GatedRNN) -> protocol.Records:
        records = wide.losses(model, unseen)
        return {"arms": [record | {"arm": arm} for record, arm in zip(records, arms, strict=True)]}

    engine = torch.optim.SGD(model.parameters(), lr=rate)
    engine.register_step_pre_hook(scaled)
    return wide.train(model, probe, engine=engine, batch=BATCH)


def _side_by_side(setup: protocol.Setup, arms: Sequence[str]) -> tuple[protocol.Setup, list[str]]:
    """The same with a replica for each arm and seed, arm by arm, and the arm of each."""
    return replace(setup, seeds=[*setup.seeds] * len(arms)), [arm for arm in arms for _ in setup.seeds]


def _aside(setup: protocol.Setup) -> Any:
    """Where the second training of a run is kept, beside the first."""
    return None if setup.save is None else Path(setup.save).with_name(f"{Path(setup.save).stem}-rows.checkpoint")
