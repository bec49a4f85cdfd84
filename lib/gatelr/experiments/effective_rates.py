r"""Effective rates (experiment E1): how sensitivity falls with the lag along training, and what predicts it.

A predictor X of the sensitivity :math:`S_{t,k} = \|M_{t,k}\|_2` is judged by the straight line
:math:`\log S ≈ a + s \log X` in two ways. *Pooled* over all pairs (t, k), where anything that falls with the lag does
well; and *within a lag*, with the mean of each lag taken out of both sides, where only what is special about a pair
counts. Beside each stands the same with gates that are wrong on purpose.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gatelr import jacobian, training, transport
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments import pilot, protocol
from gatelr.experiments.protocol import Records
from gatelr.experiments.runs import Run
from gatelr.kernels import sweep

#: What may predict the sensitivity of t to k. The lag alone; the norm of transport at order 0, max_q ∏(1 - g), and the
#: mean over q in its place; the norm with the first-order correction of each neuron's own rate (C8); and what the paper
#: plots, the mean over q of ∏ g.
PREDICTORS = ("lag", "order 0", "order 0, mean", "order 1", "published")

#: Gates that are wrong on purpose, those of the same sequence in random order of time and those of another sequence.
NULLS = ("shuffled", "foreign")

#: The gates compared; the first cannot learn.
GATES = ("constant", "scalar", "multi")

#: What is trained, by protocol and setting. The paper's protocol, and one under which networks learn.
SETTINGS: dict[tuple[str, str], dict[str, Any]] = {
    **{
        ("paper", task): {"task": task, "checkpoints": (0, 50, 200, 400, 600, 800)}
        for task in ("adding", "recall", "sinmix", "short")
    },
    ("trained", "adding, 30 steps, Adam"): {
        "task": "adding",
        "task_options": {"steps": 30},
        "optimiser": "Adam",
        "rate": 3e-3,
        "checkpoints": (0, 300, 1000, 3000),
    },
    ("trained", "short, SGD at 0.05"): {"task": "short", "rate": 5e-2, "checkpoints": (0, 300, 600, 1200)},
}

#: The seed whose sensitivities are kept for all pairs of steps.
MAPPED = pilot.FIRST_SEED

#: The lags at which profiles are tabulated, relative to lag 1.
LAGS = (2, 4, 8, 16, 28, 64)

#: What is tabulated there.
SERIES = ("S", "published", "order 0", "order 1")

#: What tells the rows of a table apart.
KEYS = ["protocol", "setting", "gate", "seed", "step"]


# The protocol


def plan(parameters: Mapping[str, Any]) -> list[Run]:
    """The runs of a chapter with these parameters.

    Args:
        parameters: ``seeds``, how many; ``tasks_here``, of the paper's protocol; ``paper_until`` and
            ``trained_until``, the last step of each protocol.
    """
    seeds, runs = pilot.deciding(parameters["seeds"]), []
    for (name, setting), gate in product(SETTINGS, GATES):
        if name == "paper" and setting not in parameters["tasks_here"]:
            continue
        settings = dict(SETTINGS[name, setting])
        task, optimiser = settings.pop("task"), settings.pop("optimiser", "SGD")
        reached = [step for step in settings.pop("checkpoints") if step <= parameters[f"{name}_until"]]
        settings |= {"steps": reached[-1], "checkpoints": reached}
        labels = {"protocol": name, "setting": setting, "gate": gate}
        runs.append(Run("effective_rates", task, gate, optimiser, seeds, settings, labels))
    return runs


def measure(
    setup: protocol.Setup, *, n: int = 64, batch: int = 64, probed: int = 12, fresh: int = 512, alpha: float = 0.8
) -> training.Run:
    """Train, and measure at each checkpoint how sensitivity falls with the lag and what predicts it.

    Args:
        setup: with a gate that is ``"constant"``, of ``alpha``, ``"scalar"`` or ``"multi"``; plain SGD is as published.
        n, batch: neurons, and sequences a step.
        probed, fresh: sequences of a probe, and for the loss, which training never sees.

    Returns:
        The run; each of its probes holds records ``"profiles"``, ``"fits"`` and ``"spread"`` as :func:`explain`
        returns them, each with its seed; ``"training"``: the fresh loss, that of the best constant, and mean and
        standard deviation of the gate; and ``"map"``, the sensitivities S of t to k of :data:`MAPPED` along its first
        sequence.
    """
    model, unseen = setup.network(n, alpha), setup.draw(fresh, protocol.FRESH)
    u = setup.draw(probed, protocol.PROBE, torch.float64).u.to(setup.device)

    def probe(step: int, model: GatedRNN) -> Records:
        S, run, wide = sensitivities(model, u)
        records: Records = {"training": setup.losses(model, unseen)}
        for s, seed in enumerate(setup.seeds):
            if seed == MAPPED:
                pairs = [(t, k) for t in range(1, len(S)) for k in range(t)]
                records["map"] = [{"seed": seed, "t": t, "k": k, "S": float(S[t, k, s, 0])} for t, k in pairs]
            part = Trajectory(*(member[:, s] for member in run))
            gates = {"mean gate": float(part.g.mean()), "gate spread": float(part.g.std(correction=0))}
            records["training"][s] |= gates
            null = torch.Generator().manual_seed(seed + protocol.NULL)
            for name, rows in explain(S[:, :, s], wide.replica(s), part, null).items():
                records.setdefault(name, []).extend({"seed": seed} | row for row in rows)
        return records

    return setup.train(model, probe, batch=batch)


def sensitivities(model: GatedRNN, u: Tensor) -> tuple[Tensor, Trajectory, GatedRNN]:
    """Of every transport along ``u (T, S, B, m)``: ``(T+1, T+1, S, B)``; the run, and the model in its dtype."""
    model = protocol.in_float64(model)
    run = model.run(u)
    norms = []
    for s in range(u.shape[1]):  # one after the other: the products of all would take gigabytes
        J = jacobian.blocks(model.replica(s), Trajectory(*(member[:, s] for member in run)))
        norms.append(transport.sensitivities(J).cpu())
    return torch.stack(norms, 2), run, model


# What predicts sensitivity


def _sums(model: GatedRNN, trajectory: Trajectory, order: Int[Tensor, "T B"] | None = None) -> tuple[Tensor, ...]:
    r"""Running sums over time in an order of steps, whose differences are predictors; index t = 0 … T has steps 1 … t.

    Of :math:`\log(1 - g)` and :math:`\log g`, ``(T+1, B, h)`` each, and ``(T+1, B, n)`` of a neuron's own part of R + G
    over what it keeps, :math:`[R + G]_{qq} / (1 - g^q)`.
    """
    if not (trajectory.g < 1).all():
        raise ValueError("got a gate of 1, expected gates below 1: without a leak there is no profile to predict")
    scale = sweep.coefficients(trajectory.phi, trajectory.g, trajectory.x_prev)
    own = scale.recurrent * model.W_r.diagonal(dim1=-2, dim2=-1)
    if model.W_rg is not None:
        own = own + scale.gate * (model.W_rg.diagonal() if model.gate == "multi" else model.W_rg[0])
    parts = [torch.log1p(-trajectory.g), trajectory.g.log(), own / scale.leak]
    if order is not None:
        parts = [part.take_along_dim(order.unsqueeze(-1), 0) for part in parts]
    return tuple(torch.cat([torch.zeros_like(part[:1]), part.cumsum(0)]) for part in parts)


def _predictions(sums: tuple[Tensor, ...], lag: int) -> dict[str, Float[Tensor, "W B"]]:
    """The logarithm of every predictor at one lag, for t = lag … T; of the lag itself, minus the lag."""
    kept, written, crossed = (part[lag:] - part[: len(part) - lag] for part in sums)
    return {
        "lag": torch.full_like(kept[..., 0], -lag),
        "order 0": kept.amax(-1),
        "order 0, mean": _log_mean(kept),
        "order 1": (kept + (1 + crossed).abs().log()).amax(-1),
        "published": _log_mean(written),
    }


def explain(S: Float[Tensor, "K K B"], model: GatedRNN, trajectory: Trajectory, generator: torch.Generator) -> Records:
    """Profiles and fits of one network along B sequences.

    Args:
        S: from :func:`gatelr.transport.sensitivities`.
        model, trajectory: the network, without replicas and with gates below 1, and what it did.
        generator: of the order in which the null shuffles time.

    Returns:
        ``"profiles"``, a record for each lag: the median of S and of every predictor, and the correlation of their
        logarithms within that lag, true and null (NaN where a predictor does not vary). ``"fits"``, a record for
        each predictor and source of gates: slope and R² pooled, slope and correlation within lags. ``"spread"``: the
        share of the variance of log S that no function of the lag can explain, and how many pairs had to be left
        out because S was zero or not finite.
    """
    T, B = trajectory.x.shape[:2]
    draw = torch.rand(T, B, generator=generator, device=generator.device)
    sources = {
        "true": _sums(model, trajectory),
        "shuffled": _sums(model, trajectory, draw.argsort(0).to(trajectory.x.device)),
    }
    if B > 1:
        sources["foreign"] = tuple(part.roll(1, 1) for part in sources["true"])
    columns: dict[tuple[str, str], list[Tensor]] = {}
    log_S, profiles = [], []
    for lag in range(1, T + 1):
        y = S.diagonal(-lag).T.log().to(trajectory.x.device).flatten()  # of (W, B)
        record: dict[str, Any] = {"lag": lag, "S": float(y.median().exp())}
        for source, running in sources.items():
            for name, predicted in _predictions(running, lag).items():
                if source == "true" or name != "lag":
                    columns.setdefault((name, source), []).append(predicted.flatten())
                if name != "lag":
                    record |= {name: float(predicted.median().exp())} if source == "true" else {}
                    record[f"r {name} {source}"] = _line(predicted.flatten(), y)[1]
        log_S.append(y)
        profiles.append(record)
    y, lag_of = torch.cat(log_S), torch.cat([torch.full_like(y, lag, dtype=torch.long) for lag, y in enumerate(log_S)])
    good = y.isfinite()
    y, lag_of = y[good], lag_of[good]
    y_within = _within(y, lag_of)
    fits = []
    for (name, source), parts in columns.items():
        x = torch.cat(parts)[good]
        slope, r = _line(x, y)
        within_slope, within_r = _line(_within(x, lag_of), y_within)
        fits.append(
            {"predictor": name, "gates": source, "slope": slope, "r2": r**2}
            | {"within slope": within_slope, "within r": within_r}
        )
    unexplained = float(y_within.square().sum() / (y - y.mean()).square().sum())
    return {
        "profiles": profiles,
        "fits": fits,
        "spread": [{"within lags": unexplained, "left out": int((~good).sum())}],
    }


def _log_mean(logs: Tensor) -> Tensor:
    """The logarithm of the mean over neurons."""
    return logs.logsumexp(-1) - math.log(logs.shape[-1])


def _within(x: Tensor, lag_of: Tensor) -> Tensor:
    """With the mean of its lag taken out of each value."""
    return x - (torch.bincount(lag_of, x) / torch.bincount(lag_of).clamp_min(1))[lag_of]


def _line(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Slope of y on x where y is finite, and their correlation; NaN where x does not vary beyond rounding."""
    x, y = x[y.isfinite()], y[y.isfinite()]
    x, y = x - x.mean(), y - y.mean()
    xx, xy, yy = (float((a * b).sum()) for a, b in ((x, x), (x, y), (y, y)))
    if len(x) < 3 or xx <= 1e-18 * len(x) or yy <= 0:
        return float("nan"), float("nan")
    return xy / xx, xy / (xx * yy) ** 0.5


# Tables with a row for each network and checkpoint


def tables(measured: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """What is compared with ``reference/e1-<name>.csv``, by name, from the records of the runs.

    ``"training"``: losses and gates. ``"fits"``: what each predictor explains, with true gates and with wrong ones.
    ``"profiles"``: log10 of medians at some lags, relative to lag 1, and correlations within these lags.
    """
    values = ["slope", "r2", "within r"]
    fits = measured["fits"].pivot(index=KEYS, columns=["gates", "predictor"], values=values).sort_index(axis=1)
    explained = [fits[value, "true"].add_suffix(f" {value}") for value in values]
    explained += [fits["within r", null].add_suffix(f" {null} r") for null in NULLS]
    profiles = measured["profiles"].pivot(index=KEYS, columns="lag").sort_index(axis=1)
    logs = profiles[list(SERIES)].apply(np.log10)
    relative = pd.concat({name: logs[name].sub(logs[name, 1], axis=0) for name in SERIES}, axis=1)
    within = pd.concat({f"r {gates}": profiles[f"r order 0 {gates}"] for gates in ("true", "shuffled")}, axis=1)
    wide = relative.join(within)
    wide = wide.loc[:, wide.columns.get_level_values(1).isin(LAGS)]
    wide.columns = wide.columns.map("{0[0]} @{0[1]}".format)
    return {
        "training": measured["training"][[*KEYS, "loss", "constant", "mean gate", "gate spread"]],
        "fits": pd.concat(explained, axis=1).drop(columns="lag within r").reset_index(),
        "profiles": wide.reset_index(),
    }


def maps(measured: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """log10 of the sensitivity of every other t (rows) to every k < t (columns), at the last step."""
    pairs = at_end(measured["map"]).query("t % 2 == 0")
    pairs = pairs.assign(log10=np.log10(pairs.S).round(2))
    wide = pairs.pivot(index=["protocol", "setting", "gate", "step", "t"], columns="k", values="log10")
    return wide.reindex(columns=range(80)).add_prefix("k = ").reset_index()


def at_end(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows at the last step of each setting."""
    return rows[rows.step == rows.groupby(["protocol", "setting"]).step.transform("max")]
