"""The twelve departures of the released experiments, each measured, and what they give from as released to as defined.

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

from gatelr import anisotropy, expansion, jacobian, tasks, training, transport
from gatelr.experiments import effective_rates, joint_anisotropy, protocol, released
from gatelr.experiments.effective_rates import GATES
from gatelr.experiments.emulation import PAIRS, Networks, Snapshots, adding, sensitivities, slope, spectra
from gatelr.experiments.joint_anisotropy import LAGS
from gatelr.experiments.released import AS_DEFINED, AS_RELEASED, Departures

#: The gates that can learn.
LEARNED = GATES[1:]

_RATIO = (
    "{gate}: median {{ratio-released-{gate}:.3f}}, with all seeds {{ratio-all-{gate}:.3f}}, as defined "
    "{{ratio-defined-{gate}:.3f}}; largest {{largest-released-{gate}}} → {{largest-defined-{gate}}}, "
    "{{dropped-{gate}}} of {{appendix-seeds}} seeds dropped"
)

#: The twelve departures, and what is measured of each, with the names of numbers of the chapter.
DEPARTURES = {
    "gate term at $x_j$ instead of $x_{j-1}$": "gate term × {gate-term-kept} (median); $J$ off by up to "
    "{jacobian-error-scalar} % (scalar), {jacobian-error-multi} % (multi)",
    "products in reversed order": "matrices off by {order-matrices} % at lag 79, norms by {order-norms} %",
    "spectral radius for spectral norm": "lag 1: {norm-short-range-lag-1} % too small; "
    "lag 10: {norm-short-range-lag-10} % too small; lag 79: {norm-short-range-lag-79} % too small",
    r"predictor $\prod g$ for $\prod(1-g)$": r"scalar, as defined otherwise: slope {slope-written} with $\prod g$, "
    r"{slope-kept} with $\prod(1-g)$; within lags $r$ = {within-written} and {within-kept}",
    "fit without the lag as a baseline": r"$R^2$: lag alone {r2-lag}, $\prod g$ {r2-written}, $\prod(1-g)$ {r2-kept}",
    "one batch for every step, seed and model": "vanilla + Adam, step {memorised-step}: loss {loss-one-batch} on the "
    "batch, {loss-fresh} on fresh data (best constant {loss-constant})",
    "models that do not learn the task": "adding, step {slopes-step}: loss of the best constant over the network's, on "
    "the same sequences, {constant-over-loss} (the constant's is {loss-constant-sample} there, {loss-constant} in the "
    "mean)",
    "CE of sixteen values, $10^{-12}$, float32": "CE at lag 1, before training: {ce-sixteen} of sixteen, {ce-all} of "
    "all",
    "slope of two as evidence": "slope {growth-true} true, {growth-wrong} shuffled or random",
    "$r_j$ with departure 1, seeds dropped": "; ".join(_RATIO.format(gate=gate) for gate in LEARNED),
    "divergent targets dropped": "NARMA-10: {narma-10-refused} refused for {narma-10-good} good ones; NARMA-20: "
    "{narma-20-share} % refused",
    "checkpoint after the step": "AI at “0” moves by up to {checkpoint-moves-most} %",
}


# What is measured of each departure


def gate_terms(networks: Networks, step: int = 40) -> pd.DataFrame:
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
        tables.append(pd.DataFrame({"matrix": matrix.tolist(), "norm": (norm_R / norm_M - 1).abs().tolist()}))
        tables[-1].insert(0, "gate", gate)
        tables[-1].insert(1, "seed", seed)
    return pd.concat(tables, ignore_index=True)


def estimates(networks: Networks) -> dict[tuple[str, int, str], Tensor]:
    """Sensitivities, as :func:`gatelr.experiments.released.sensitivities`, by gate, seed and station."""
    return {
        (gate, seed, station): sensitivities(network, torch.Generator().manual_seed(seed), STATIONS[station])
        for (gate, seed), network in networks.items()
        for station in ESTIMATED
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


def beside_constant(networks: Networks, count: int = 512) -> pd.DataFrame:
    """Departure 7: the best constant's ``"loss"`` on fresh sequences, and its ``"ratio"`` to the network's."""
    rows, task, seeds = [], tasks.get("adding"), list(dict.fromkeys(seed for _, seed in networks))
    unseen = task.draw(count, training.generators(seeds, protocol.FRESH))
    for (gate, seed), network in networks.items():
        s = seeds.index(seed)
        target = unseen.target[s]
        constant = float(task.loss(torch.ones_like(target), target))
        loss = float(task.loss(network.model(unseen.u[:, s]), target))
        rows.append({"gate": gate, "seed": seed, "loss": constant, "ratio": constant / loss})
    return pd.DataFrame(rows)


def concentrations(snapshots: Snapshots, seeds: Sequence[int]) -> pd.DataFrame:
    """Departure 8: CE at lag 1 before training, ``"sixteen"`` as released and ``"all"`` as defined."""
    rows = []
    for gate, (s, seed) in product(PAIRS, enumerate(seeds)):
        sigma = spectra(snapshots["fresh", gate, 0].replica(s), seed, 0, lags=(1,))[1]
        CE = {"sixteen": released.anisotropy(sigma)[1].median(), "all": _defined(sigma)[1].median()}
        rows.append({"gate": gate, "seed": seed} | {name: float(value) for name, value in CE.items()})
    return pd.DataFrame(rows)


def truncation_slopes() -> pd.DataFrame:
    """Departure 9: log-log slope of what order 1 leaves out, with true corrections and with wrong ones, by gate."""
    scales, rows = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3], []
    for gate in LEARNED:
        A, B = expansion.split(jacobian.terms(*released.appendix(gate, 0)), "gate")
        order = torch.randperm(len(B), generator=torch.Generator().manual_seed(0))
        random = torch.randn(B.shape, generator=torch.Generator().manual_seed(1), dtype=B.dtype) * B.std()
        for name, corrections in {"true": B, "shuffled": B[order], "random": random}.items():
            rest = [float(expansion.remainder(A, corrections, 1, scale).norm()) for scale in scales]
            slope = float(np.polyfit(np.log(scales), np.log(rest), 1)[0])
            rows.append({"gate": gate, "corrections": name, "slope": slope})
    return pd.DataFrame(rows)


def ratios(count: int) -> pd.DataFrame:
    """Departure 10: median and largest r_j over so many networks, and how many of them count, by gate and station."""
    rows = []
    for gate in LEARNED:
        networks = [released.appendix(gate, seed) for seed in range(count)]
        kept = released.kept_by_iqr([released.truncation(*network)[0] for network in networks])
        before, after = (
            [released.ratios(*network, departures) for network in networks] for departures in (AS_DEFINED, AS_RELEASED)
        )
        filtered = [r for r, keep in zip(after, kept, strict=True) if keep]
        for station, values in zip(RATIO_STATIONS, (filtered, after, before), strict=True):
            r = torch.cat(values)
            row = {"gate": gate, "stage": station, "median": float(r.median()), "largest": float(r.max())}
            rows.append(row | {"networks": len(values)})
    return pd.DataFrame(rows)


def first_step(snapshots: Snapshots, seeds: Sequence[int], lags: Sequence[int] = LAGS) -> pd.Series[float]:
    """Departure 12: by how much the first update changes the median AI, relative, by gate, seed and lag."""
    changes = {}
    for gate, (s, seed) in product(PAIRS, enumerate(seeds)):
        before, after = (
            spectra(snapshots["one batch", gate, step].replica(s), seed, step, lags=lags) for step in (0, 1)
        )
        for lag in lags:
            AI = [float(_defined(sigma[lag])[0].median()) for sigma in (before, after)]
            changes[gate, seed, lag] = AI[1] / AI[0] - 1
    return pd.Series(changes)


# From as released to as defined

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

#: The stations of the ratio in the appendix, each with its short name.
RATIO_STATIONS = {"as released": "released", "all seeds": "all", "state before the update": "defined"}

#: What stands at both ends of a line, its column, and whether its mean over seeds is a geometric one.
QUANTITIES = {
    "AI at lag 40": ("AI @40", True),
    "CE at lag 1": ("CE @1", False),
    "update AI": ("update AI", True),
    "update CE": ("update CE", False),
}


def slopes(networks: Networks, S: dict[tuple[str, int, str], Tensor], defined: pd.DataFrame) -> pd.DataFrame:
    """Slope and R² by gate, seed and station, from the estimates and the fits as defined."""
    rows = []
    for (gate, seed), network in networks.items():
        for station, departures in STATIONS.items():
            estimate = S[gate, seed, station if station in ESTIMATED else ESTIMATED[-1]]
            fit = slope(network, estimate, departures)
            rows.append({"gate": gate, "seed": seed, "stage": station} | fit._asdict())
    table = pd.DataFrame(rows)
    last = defined[defined.predictor == "order 0"].assign(stage="as defined")
    return pd.concat([table, last[table.columns]], ignore_index=True)


def anisotropies(
    snapshots: Snapshots, seeds: Sequence[int], step: int, *, lags: Sequence[int] = LAGS, rows: int = 256
) -> pd.DataFrame:
    """AI and CE of transports at each lag and of updates (from so many ``rows``), by gate, seed and station."""
    table, last = [], tuple(ANISOTROPY_STATIONS)[-1]
    for gate, (station, (data, late, departures)) in product(PAIRS, ANISOTROPY_STATIONS.items()):
        model = snapshots[data, gate, step + late]
        updates = joint_anisotropy.update(model, adding(), _probed(gate, seeds, step, rows))
        for s, seed in enumerate(seeds):
            row: dict[str, Any] = {"gate": gate, "seed": seed, "stage": station}
            measured = spectra(model.replica(s), seed, step, departures, wide=station == last, lags=lags)
            for lag, sigma in measured.items():
                AI, CE = _defined(sigma) if station == last else released.anisotropy(sigma)
                row |= {f"AI @{lag}": float(AI.median()), f"CE @{lag}": float(CE.median())}
            AI, CE = _defined(updates[s])
            table.append(row | {"update AI": float(AI), "update CE": float(CE)})
    return pd.DataFrame(table)


def _defined(sigma: Tensor) -> tuple[Tensor, Tensor]:
    return anisotropy.anisotropy_index(sigma, 10), anisotropy.energy_concentration(sigma, 10)


def _probed(gate: str, seeds: Sequence[int], step: int, rows: int) -> tasks.Batch:
    """The sequences of each seed whose gradients the released script takes."""
    base = step + 100_000 + 1000 * list(PAIRS).index(gate)
    parts = [adding().draw(64, training.generators(seeds, base + done)) for done in range(0, rows, 64)]
    # drawn in float32, as released: in float64 a generator gives other numbers
    return tasks.Batch(
        torch.cat([part.u for part in parts], 2).double(), torch.cat([part.target for part in parts], 1).double()
    )


def waterfall(slopes: pd.DataFrame, anisotropies: pd.DataFrame, ratios: pd.DataFrame) -> pd.DataFrame:
    """Every quantity at every station, by gate and seed, as a long table."""
    panels = {"pooled slope": (slopes, "slope")}
    panels |= {name: (anisotropies, QUANTITIES[name][0]) for name in tuple(QUANTITIES)[:3]}
    panels["median $r_j$"] = ratios.assign(seed=0), "median"
    columns = ["stage", "seed", "value", "gate"]
    return pd.concat(
        rows.rename(columns={column: "value"})[columns].assign(quantity=quantity)
        for quantity, (rows, column) in panels.items()
    )


def ends(slopes: pd.DataFrame, anisotropies: pd.DataFrame, ratios: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds as released and as defined, by quantity and gate; the optimiser in words where it matters."""
    stage = ["stage", "gate"]
    means: dict[str, tuple[pd.Series[float], str]] = {
        "pooled slope": (slopes.groupby(stage).slope.mean(), "as defined")
    }
    for name, (column, geometric) in QUANTITIES.items():
        values = anisotropies.pivot(index=stage, columns="seed", values=column)
        mean = np.exp(np.log(values).mean(axis=1)) if geometric else values.mean(axis=1)
        means[name] = mean, "float64, all values"
    means["median $r_j$"] = ratios.set_index(stage)["median"], tuple(RATIO_STATIONS)[-1]
    rows = []
    for quantity, (mean, last) in means.items():
        for gate in PAIRS if quantity in QUANTITIES else GATES:
            if (last, gate) in mean.index:
                row = {"quantity": quantity, "gate": gate}
                row["optimiser"] = f" under {PAIRS[gate]}" if quantity in QUANTITIES else ""
                rows.append(row | {"released": float(mean["as released", gate]), "defined": float(mean[last, gate])})
    return pd.DataFrame(rows)


def beside_released(anisotropies: pd.DataFrame, theirs: pd.DataFrame, step: int) -> pd.DataFrame:
    """Some AI and CE of seed 1 as released beside those of a run of the released script, and how far they are off."""
    names = ["AI @1", "AI @12", "AI @40", "CE @1", "CE @12", "update AI", "update CE"]
    ours = anisotropies[(anisotropies.stage == "as released") & (anisotropies.seed == 1)]
    ours = ours.melt("gate", names, "quantity", "emulated")
    there = theirs[theirs.step == step].drop(columns="step").rename(columns={"value": "released"})
    both = pd.DataFrame(product(PAIRS, names), columns=["gate", "quantity"]).merge(ours).merge(there)
    return both.assign(off=(both.emulated / both.released - 1).abs())


def departures(numbers: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The twelve departures with what was measured, from the numbers of the chapter; those of ratios to three places.

    Args:
        numbers: by name, each with its ``"value"`` and its ``"text"``, as ``Chapter.numbers``.
    """
    said = {name: number["value" if name.startswith("ratio-") else "text"] for name, number in numbers.items()}
    rows = [[i, what, text.format_map(said)] for i, (what, text) in enumerate(DEPARTURES.items(), 1)]
    return pd.DataFrame(rows, columns=["#", "departure", "measured here"])
