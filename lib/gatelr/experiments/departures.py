"""What each departure of the released experiments does, measured on networks that were trained as released.

Departures are mended one by one; a *station* is what is mended so far, and every station keeps what was mended before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gatelr import anisotropy, jacobian, tasks, training, transport
from gatelr.cells import GatedRNN
from gatelr.experiments import effective_rates, emulation, joint_anisotropy, protocol, released
from gatelr.experiments.effective_rates import GATES
from gatelr.experiments.emulation import PAIRS, Networks, sensitivities, slope
from gatelr.experiments.released import AS_DEFINED, AS_RELEASED, Departures

#: The gates that can learn.
LEARNED = GATES[1:]

#: The stations of the pooled slope; *as defined*, in float64 and over all pairs, follows.
STATIONS = {
    "as released": AS_RELEASED,
    "state before": AS_RELEASED.without("state_after"),
    "order": AS_RELEASED.without("state_after", "reversed_order"),
    "norm": AS_RELEASED.without("state_after", "reversed_order", "spectral_radius"),
    r"$\prod(1-g)$": AS_RELEASED.without("state_after", "reversed_order", "spectral_radius", "gate_product"),
    "no trimming": AS_DEFINED,
}

#: Those at which sensitivities are estimated anew; the others keep the norm's.
ESTIMATED = tuple(STATIONS)[:4]

#: Off the way, with the predictor mended before the norm.
PREDICTOR_FIRST = "predictor before the norm"

#: The stations of AI and CE, with what the network trained on, updates by which the probe is late, and which departures
#: are on; the last is in float64 and of all singular values.
ANISOTROPY_STATIONS: dict[str, tuple[str, int, Departures]] = {
    "as released": ("one batch", 1, AS_RELEASED),
    "fresh data": ("fresh", 1, AS_RELEASED),
    "before the step": ("fresh", 0, AS_RELEASED),
    "state before": ("fresh", 0, AS_RELEASED.without("state_after")),
    "order": ("fresh", 0, AS_DEFINED),
    "float64, all values": ("fresh", 0, AS_DEFINED),
}


# The script for effective rates


def gate_terms(networks: Networks, step: int) -> pd.DataFrame:
    """Departure 1, for networks with learned gates: a row for each.

    Returns:
        ``"error"``: the largest relative error of a step Jacobian; ``"halved"``: the median norm of the released gate
        term over the defined one; ``"deviation"``: the larger of two, the defined Jacobian against ``jacrev`` at one
        step, and the released gate term against 1 - g times the defined one.
    """
    rows = []
    for (gate, seed), network in networks.items():
        if gate not in LEARNED:
            continue
        model, u, run = network.in_float64()
        true, after = (released.blocks(model, run, departures) for departures in (AS_DEFINED, AS_RELEASED))
        errors = torch.linalg.matrix_norm(after - true, 2) / torch.linalg.matrix_norm(true, 2)
        G, G_after = (jacobian.terms(model, part).gate for part in (run, run._replace(x_prev=run.x)))
        shrunk = (G_after - (1 - run.g).unsqueeze(-1) * G).abs().max() / G.abs().max()
        by_autograd = torch.func.jacrev(
            lambda x, model=model, u=u[step : step + 1, :1]: model.run(u, x.unsqueeze(0)).x[-1, 0]
        )(run.x_prev[step, 0])
        apart = (true[step, 0] - by_autograd).abs().max() / by_autograd.abs().max()
        halved = (G_after.norm(dim=(-2, -1)) / G.norm(dim=(-2, -1))).median()
        row = {"error": errors.max(), "halved": halved, "deviation": max(shrunk, apart)}
        rows.append({"gate": gate, "seed": seed} | {name: float(value) for name, value in row.items()})
    return pd.DataFrame(rows)


def reversals(networks: Networks, lag: int) -> pd.DataFrame:
    """Departure 2: relative distance of reversed products from transports, and of their norms, for each sequence."""
    tables = []
    for (gate, seed), network in networks.items():
        model, _, run = network.in_float64()
        J = jacobian.blocks(model, run)[1:]
        M, R = transport.products(J, lag)[0], transport.products(J.mT, lag)[0].mT
        norm_M, norm_R = (torch.linalg.matrix_norm(product, 2) for product in (M, R))
        matrix = (R - M).norm(dim=(-2, -1)) / M.norm(dim=(-2, -1))
        norm = (norm_R / norm_M - 1).abs().tolist()
        tables.append(pd.DataFrame({"gate": gate, "seed": seed, "matrix": matrix.tolist(), "norm": norm}))
    return pd.concat(tables, ignore_index=True)


def estimates(
    networks: Networks, streams: Mapping[tuple[str, int], torch.Generator], stations: Sequence[str] = ESTIMATED
) -> dict[tuple[str, int, str], Tensor]:
    """Sensitivities, as :func:`gatelr.experiments.released.sensitivities`, by gate, seed and station.

    Args:
        networks: which.
        streams: of the power iterations' starts, by gate and seed; every station begins where they are.
        stations: of :data:`STATIONS`.
    """
    return {
        (*key, station): sensitivities(network, streams[key].clone_state(), STATIONS[station])
        for key, network in networks.items()
        for station in stations
    }


def shares_of_norm(S: dict[tuple[str, int, str], Tensor]) -> pd.DataFrame:
    """Departure 3: the spectral radius over the spectral norm, median and lowest by gate, seed and lag."""
    rows = []
    for gate, seed in dict.fromkeys(key[:2] for key in S):
        radius, norm = S[gate, seed, "order"], S[gate, seed, "norm"]
        for lag in range(1, len(norm)):
            share = (radius.diagonal(-lag) / norm.diagonal(-lag)).flatten()
            row = {"gate": gate, "seed": seed, "lag": lag}
            rows.append(row | {"share": float(share.median()), "lowest": float(share.min())})
    return pd.DataFrame(rows)


def fits_as_defined(networks: Networks) -> pd.DataFrame:
    """What each predictor explains of the norms, as :func:`~gatelr.experiments.effective_rates.explain` tells."""
    rows = []
    for (gate, seed), network in networks.items():
        model, _, run = network.in_float64()
        S = transport.sensitivities(jacobian.blocks(model, run))
        fits = effective_rates.explain(S, model, run, torch.Generator().manual_seed(seed))["fits"]
        rows += [{"gate": gate, "seed": seed} | fit for fit in fits if fit["gates"] == "true"]
    return pd.DataFrame(rows)


def beside_constant(networks: Networks, task: tasks.Task, count: int) -> pd.DataFrame:
    """Departure 7: the best constant's ``"loss"`` on fresh sequences, and its ``"ratio"`` to the network's."""
    rows, seeds = [], list(dict.fromkeys(seed for _, seed in networks))
    unseen = task.draw(count, training.generators(seeds, protocol.FRESH))
    for (gate, seed), network in networks.items():
        s = seeds.index(seed)
        target = unseen.target[s]
        constant = float(task.loss(torch.ones_like(target), target))
        loss = float(task.loss(network.model(unseen.u[:, s]), target))
        rows.append({"gate": gate, "seed": seed, "loss": constant, "ratio": constant / loss})
    return pd.DataFrame(rows)


def slopes(networks: Networks, S: dict[tuple[str, int, str], Tensor], defined: pd.DataFrame) -> pd.DataFrame:
    """Slope and R² by gate, seed and station, from the estimates and the fits as defined."""
    rows = []
    for (gate, seed), network in networks.items():
        estimates = {station: S[gate, seed, station if station in ESTIMATED else ESTIMATED[-1]] for station in STATIONS}
        ways = {station: (estimates[station], departures) for station, departures in STATIONS.items()}
        ways[PREDICTOR_FIRST] = estimates["order"], STATIONS["order"].without("gate_product")
        for station, (estimate, departures) in ways.items():
            fit = slope(network, estimate, departures)
            rows.append({"gate": gate, "seed": seed, "stage": station} | fit._asdict())
    table = pd.DataFrame(rows)
    last = defined[defined.predictor == "order 0"].assign(stage="as defined")
    return pd.concat([table, last[table.columns]], ignore_index=True)


# The script for joint anisotropy


def spectra(
    setup: protocol.Setup, model: GatedRNN, data: str, checkpoint: int, late: int, *, rows: int, r: int, **sizes: Any
) -> list[dict[str, Any]]:
    """AI and CE of transports at each lag and of updates, a record for each seed and station of this data and probe.

    Args:
        setup, model: the networks of all seeds.
        data: what they trained on.
        checkpoint, late: which of the script's checkpoints, and how many updates after it the networks were kept.
        rows: sequences whose gradients are taken.
        r: the singular value that the first is compared with, and how many make the top.
        sizes: of :func:`gatelr.experiments.emulation.spectra`.
    """
    here = {name: on for name, (*probed, on) in ANISOTROPY_STATIONS.items() if probed == [data, late]}
    if not here:
        return []
    updates = joint_anisotropy.update(model, setup.task, _probed(setup, checkpoint, rows, sizes["batch"]))
    records, last = [], tuple(ANISOTROPY_STATIONS)[-1]
    for (station, departures), (s, seed) in product(here.items(), enumerate(setup.seeds)):
        options = sizes | {"task": setup.task, "wide": station == last}
        record: dict[str, Any] = {"seed": seed, "stage": station, "checkpoint": checkpoint}
        for lag, sigma in emulation.spectra(model.replica(s), seed, checkpoint, departures, **options).items():
            AI, CE = _defined(sigma, r) if station == last else released.anisotropy(sigma, r)
            record |= {f"AI @{lag}": _median(AI), f"CE @{lag}": _median(CE)}
        AI, CE = _defined(updates[s], r)
        records.append(record | {"update AI": float(AI), "update CE": float(CE)})
    return records


def concentrations(setup: protocol.Setup, model: GatedRNN, *, r: int, **sizes: Any) -> list[dict[str, Any]]:
    """Departure 8: CE at lag 1 before training, ``"sixteen"`` as released and ``"all"`` as defined, by seed."""
    records = []
    for s, seed in enumerate(setup.seeds):
        sigma = emulation.spectra(model.replica(s), seed, 0, task=setup.task, **sizes | {"lags": (1,)})[1]
        CE = {"sixteen": released.anisotropy(sigma, r)[1], "all": _defined(sigma, r)[1]}
        records.append({"seed": seed} | {name: _median(values) for name, values in CE.items()})
    return records


def indices(setup: protocol.Setup, model: GatedRNN, step: int, *, r: int, **sizes: Any) -> list[dict[str, Any]]:
    """Departure 12: AI as defined around the first update, by seed and lag."""
    return [
        {"seed": seed, "lag": lag, "AI": _median(_defined(sigma, r)[0])}
        for s, seed in enumerate(setup.seeds)
        for lag, sigma in emulation.spectra(model.replica(s), seed, step, task=setup.task, **sizes).items()
    ]


def _median(values: Tensor) -> float:
    """As the script takes it: of an even number of values the mean of the middle two."""
    return float(np.median(values))


def _defined(sigma: Tensor, r: int) -> tuple[Tensor, Tensor]:
    return anisotropy.anisotropy_index(sigma, r), anisotropy.energy_concentration(sigma, r)


def _probed(setup: protocol.Setup, step: int, rows: int, batch: int) -> tasks.Batch:
    """The sequences of each seed whose gradients the released script takes."""
    base = step + 100_000 + 1000 * list(PAIRS).index(setup.gate)
    parts = [setup.task.draw(batch, training.generators(setup.seeds, base + done)) for done in range(0, rows, batch)]
    # drawn in float32, as released: in float64 a generator gives other numbers
    return tasks.Batch(
        torch.cat([part.u for part in parts], 2)[:, :, :rows].double(),
        torch.cat([part.target for part in parts], 1)[:, :rows].double(),
    )
