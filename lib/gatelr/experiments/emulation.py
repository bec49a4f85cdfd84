"""The released experiments run by emulation: networks trained as the scripts train them, and what those measure.

Networks of all seeds are trained side by side, each with the draws of its own seed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gatelr import tasks, training
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments import joint_anisotropy, protocol, released
from gatelr.experiments.effective_rates import GATES
from gatelr.experiments.joint_anisotropy import LAGS
from gatelr.experiments.protocol import Records
from gatelr.experiments.released import AS_DEFINED, AS_RELEASED, Departures


class Network(NamedTuple):
    """A network, the inputs that it is probed with, and what it does on them.

    Attributes:
        model: the network.
        u: the inputs, (T, B, m).
        run: what it does on them.
    """

    model: GatedRNN
    u: Tensor
    run: Trajectory

    def in_float64(self) -> Network:
        """The same weights and inputs in double precision."""
        model, u = protocol.in_float64(self.model), self.u.double()
        return Network(model, u, model.run(u))


#: Networks by gate and seed.
Networks = dict[tuple[str, int], Network]


# The script for effective rates

#: The constant gate.
ALPHA = 0.8

#: The steps before which the script for effective rates probes.
PROBED = (0, 50, 200, 400, 600, 800)


def effective_rate_runs(
    seeds: Sequence[int], checkpoints: Sequence[int], *, length: int = 80, n: int = 64, probed: int = 12
) -> tuple[pd.DataFrame, Networks]:
    """Train on adding as the script for effective rates does, and fit as it does before each of these steps.

    Args:
        seeds: of the networks.
        checkpoints: when to fit, such as all of :data:`PROBED` or some; the last is the last step.
        length: steps of a sequence.
        n: neurons.
        probed: sequences of a fit.

    Returns:
        Slope and R² by gate, seed and step; and the networks at the last step.
    """
    rows: list[dict[str, Any]] = []
    last: Networks = {}
    for gate in GATES:
        setup = protocol.Setup(tasks.get("adding", steps=length), gate, "SGD", seeds, checkpoints[-1], checkpoints)
        u = setup.draw(probed, protocol.PROBE).u

        def probe(step: int, model: GatedRNN, setup: protocol.Setup = setup, u: Tensor = u) -> Records:
            last.update(networks(setup, model, u))
            for seed, stream in zip(seeds, starts(setup, step, n=n, probed=probed), strict=True):
                network = last[setup.gate, seed]
                fit = slope(network, sensitivities(network, stream, AS_RELEASED), AS_RELEASED)
                rows.append({"gate": setup.gate, "seed": seed, "step": step} | fit._asdict())
            return {}

        setup.train(setup.network(n, ALPHA), probe)
    return pd.DataFrame(rows), last


def networks(setup: protocol.Setup, model: GatedRNN, u: Tensor) -> Networks:
    """The network of every seed along its own sequences, of ``u`` (T, S, B, m)."""
    alone = {seed: model.replica(s) for s, seed in enumerate(setup.seeds)}
    return {
        (setup.gate, seed): Network(network, u[:, s], network.run(u[:, s]))
        for s, (seed, network) in enumerate(alone.items())
    }


def starts(setup: protocol.Setup, step: int, *, n: int = 64, probed: int = 12) -> list[torch.Generator]:
    """The streams of the power iterations' starts as a probe finds them, one for each seed.

    A stream first gives the weights, and then the starts of one probe after the other. So what a probe finds depends on
    how many of :data:`PROBED` came before, whether they were made here or not.
    """
    streams, T = training.generators(setup.seeds), setup.task.steps
    protocol.network(setup.task, setup.gate, setup.seeds, n, alpha=ALPHA, generator=streams)
    for stream in streams:
        for _ in range(sum(earlier < step for earlier in PROBED)):
            torch.randn(probed, T * (T - 1) // 2, n, generator=stream)
    return streams


def sensitivities(network: Network, stream: torch.Generator, departures: Departures) -> Tensor:
    """As :func:`gatelr.experiments.released.sensitivities`, along the network's run."""
    J = released.blocks(network.model, network.run, departures)
    return released.sensitivities(J, stream, departures)


def slope(network: Network, S: Tensor, departures: Departures) -> released.Fit:
    """The pooled fit of these sensitivities."""
    return released.fit(S, released.predictor(network.model, network.run, departures), departures)


# The script for joint anisotropy

#: Its models, gate and optimiser, in the order in which it makes and trains them.
PAIRS: dict[str, protocol.Optimiser] = {"none": "Adam", "scalar": "SGD", "multi": "SGD"}

#: Updates of each model. The script makes one more after its last checkpoint's number.
UPDATES = 1201

#: What a network is trained on, the one batch, as released, or fresh data.
DATA = ("one batch", "fresh")

#: Networks of all seeds by gate and step.
Snapshots = dict[tuple[str, int], GatedRNN]


def anisotropy_runs(
    seeds: Sequence[int], checkpoints: Sequence[int], name: str = "adding", data: str = "one batch"
) -> Snapshots:
    """Train as the script for anisotropy does.

    Args:
        seeds: of the networks.
        checkpoints: steps to keep the networks at, as they are before the step and after it; the script keeps the
            latter.
        name: of the task.
        data: one of :data:`DATA`.

    Returns:
        The networks.
    """
    snapshots: Snapshots = {}
    around = sorted({step + late for step in checkpoints for late in (0, 1)})
    for gate, optimiser in PAIRS.items():
        setup = protocol.Setup(released.drawn_as_released(name), gate, optimiser, seeds, around[-1], around)

        def probe(step: int, model: GatedRNN, gate: str = gate) -> Records:
            snapshots[gate, step] = copy.deepcopy(model)
            return {}

        train_for_anisotropy(setup, probe, data)
    return snapshots


def train_for_anisotropy(
    setup: protocol.Setup, probe: Callable[[int, GatedRNN], Records], data: str, *, n: int = 64, batch: int = 64
) -> training.Run:
    """Train one model of the script for anisotropy, on the one batch or on fresh data.

    All models of a seed come from one stream, which then gives the noise on the batches of the first, of the second
    and of the third.

    Args:
        setup: with a task that has the script's draws, and one of :data:`PAIRS`.
        probe: as for :func:`gatelr.training.train`.
        data: one of :data:`DATA`.
        n, batch: neurons, and sequences of a batch.
    """
    task, streams = setup.task, training.generators(setup.seeds)
    models = {gate: protocol.network(task, gate, setup.seeds, n, generator=streams) for gate in PAIRS}
    model = models[setup.gate]
    if data == "fresh":
        return setup.train(model, probe, batch=batch)
    for stream in streams:
        for _ in range(UPDATES * list(PAIRS).index(setup.gate)):
            torch.randn(batch, task.steps, task.n_inputs, generator=stream)
    return replace(setup, task=released.one_batch(task)).train(model, probe, sources=streams, batch=batch)


def spectra(
    model: GatedRNN,
    seed: int,
    step: int,
    departures: Departures = AS_DEFINED,
    *,
    task: tasks.Task,
    wide: bool = True,
    lags: Sequence[int] = LAGS,
    batch: int = 64,
    pairs: int = 64,
) -> dict[int, Tensor]:
    """Singular values of the transports over the pairs that the released script draws, (pairs, n) by lag.

    Args:
        model: the network of this seed, without replicas.
        seed: of the pairs and of the sequences.
        step: at which the network was kept.
        departures: those of state and order count.
        task: with the script's draws.
        wide: whether to measure in float64.
        lags: which.
        batch, pairs: sequences, and pairs of a lag.
    """
    draw = np.random.RandomState(seed)  # goes on from checkpoint to checkpoint
    drawn = [lag for lag in LAGS if lag < task.steps]
    for _ in range(sum(checkpoint <= step for checkpoint in joint_anisotropy.CHECKPOINTS)):
        ends = released.pairs(task.steps, batch, drawn, pairs, draw)
    u = task.draw(batch, torch.Generator().manual_seed(seed)).u
    model = protocol.in_float64(model) if wide else model
    return released.transports(model, model.run(u.to(model.W_r)), {lag: ends[lag] for lag in lags}, departures)
