"""The released experiments run by emulation: networks trained as the scripts train them, and what those measure.

Networks of all seeds are trained side by side, each with the draws of its own seed.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
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
from gatelr.kernels import plain

#: The models of the anisotropy experiment, gate and optimiser.
PAIRS: dict[str, protocol.Optimiser] = {"none": "Adam", "scalar": "SGD", "multi": "SGD"}


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


@plain()  # rounds as the released code does, product by product
def effective_rate_runs(
    seeds: Sequence[int], checkpoints: Sequence[int], *, length: int = 80, n: int = 64, probed: int = 12
) -> tuple[pd.DataFrame, Networks]:
    """Train on adding as the script for effective rates does, and fit as it does before each of these steps.

    Args:
        seeds: of the networks.
        checkpoints: when to fit; the last is the last step.
        length: steps of a sequence.
        n: neurons.
        probed: sequences of a fit.

    Returns:
        Slope and R² by gate, seed and step; and the networks at the last step.
    """
    task = tasks.get("adding", steps=length)
    u = task.draw(probed, training.generators(seeds, protocol.PROBE)).u
    rows: list[dict[str, Any]] = []
    networks: Networks = {}
    for gate in GATES:
        streams = training.generators(seeds)  # first of the weights, then of the power iterations' starts
        model = protocol.network(task, gate, seeds, n, alpha=0.8, generator=streams)

        def probe(step: int, model: GatedRNN, gate: str = gate, streams: list[torch.Generator] = streams) -> Records:
            for s, seed in enumerate(seeds):
                alone = model.replica(s)
                networks[gate, seed] = Network(alone, u[:, s], alone.run(u[:, s]))
                S = sensitivities(networks[gate, seed], streams[s], AS_RELEASED)
                fit = slope(networks[gate, seed], S, AS_RELEASED)
                rows.append({"gate": gate, "seed": seed, "step": step} | fit._asdict())
            return {}

        optimiser, draws = protocol.optimised(model, "SGD"), training.generators(seeds, protocol.TRAINING)
        training.train(model, task, optimiser, checkpoints[-1], draws, probe=probe, checkpoints=checkpoints)
    return pd.DataFrame(rows), networks


def sensitivities(network: Network, stream: torch.Generator, departures: Departures) -> Tensor:
    """As :func:`gatelr.experiments.released.sensitivities`, along the network's run."""
    J = released.blocks(network.model, network.run, departures)
    return released.sensitivities(J, stream, departures)


def slope(network: Network, S: Tensor, departures: Departures) -> released.Fit:
    """The pooled fit of these sensitivities."""
    return released.fit(S, released.predictor(network.model, network.run, departures), departures)


# The script for joint anisotropy

#: Networks of all seeds by what they trained on, gate and step.
Snapshots = dict[tuple[str, str, int], GatedRNN]


def adding() -> tasks.Task:
    """The adding task as the script for anisotropy has it."""
    return tasks.get("adding", steps=120, n_inputs=6)


@plain()
def anisotropy_runs(seeds: Sequence[int], checkpoints: Sequence[int]) -> tuple[pd.DataFrame, Snapshots]:
    """Train on adding as the script for anisotropy does, on the one batch and on fresh data.

    Args:
        seeds: of the networks.
        checkpoints: steps to keep the networks at, before the step and after it.

    Returns:
        Losses on the one batch and on fresh data by what was trained on, gate, seed and step; and the networks.
    """
    fresh = adding()
    one = released.one_batch(fresh)
    unseen = fresh.draw(512, training.generators(seeds, protocol.FRESH))
    batch = one.draw(64, training.generators(seeds))
    around = sorted({step + late for step in checkpoints for late in (0, 1)} | {*range(0, checkpoints[-1], 100)})
    rows: list[dict[str, Any]] = []
    snapshots: Snapshots = {}
    for name, task in {"one batch": one, "fresh": fresh}.items():
        streams = training.generators(seeds)
        for gate, optimiser in PAIRS.items():  # in the order of the script: one stream for all
            model = protocol.network(fresh, gate, seeds, 64, generator=streams)

            def probe(step: int, model: GatedRNN, name: str = name, gate: str = gate) -> Records:
                snapshots[name, gate, step] = copy.deepcopy(model)
                losses = zip(*(protocol.losses(model, fresh, part).tolist() for part in (batch, unseen)), strict=True)
                for seed, (seen, new) in zip(seeds, losses, strict=True):
                    row = {"data": name, "gate": gate, "seed": seed, "step": step}
                    rows.append(row | {"the one batch": seen, "fresh data": new})
                return {}

            trained = protocol.optimised(model, optimiser)
            draws = training.generators(seeds, protocol.TRAINING)
            training.train(model, task, trained, around[-1], draws, probe=probe, checkpoints=around)
    return pd.DataFrame(rows), snapshots


def spectra(
    model: GatedRNN,
    seed: int,
    step: int,
    departures: Departures = AS_DEFINED,
    *,
    wide: bool = True,
    lags: Sequence[int] = LAGS,
) -> dict[int, Tensor]:
    """Singular values of the transports over the 64 pairs a lag that the released script draws, (64, n) by lag.

    Args:
        model: the network of this seed, without replicas.
        seed: of the pairs and of the sequences.
        step: at which the network was kept.
        departures: those of state and order count.
        wide: whether to measure in float64.
        lags: which.
    """
    draw = np.random.RandomState(seed)  # goes on from checkpoint to checkpoint
    for checkpoint in joint_anisotropy.CHECKPOINTS:
        if checkpoint <= step:
            ends = released.pairs(120, 64, LAGS, 64, draw)
    u = adding().draw(64, torch.Generator().manual_seed(seed)).u
    model = protocol.in_float64(model) if wide else model
    return released.transports(model, model.run(u.to(model.W_r)), {lag: ends[lag] for lag in lags}, departures)
