r"""Effective-rate profiles: how sensitivity falls with the lag, and what predicts it (experiment E1).

A predictor X of the sensitivity :math:`S_{t,k} = \|M_{t,k}\|_2` is judged by the straight line
:math:`\log S ≈ a + s \log X` in two ways. *Pooled* over all pairs (t, k), where anything that falls with the lag does
well; and *within a lag*, with the mean of each lag taken out of both sides, where only what is special about a pair
counts. Beside each stands the same with gates that are wrong on purpose.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gatelr.cells import GatedRNN, Trajectory
from gatelr.kernels import sweep

#: What may predict the sensitivity of t to k. The lag alone; the norm of transport at order 0, max_q ∏(1 - g), and the
#: mean over q in its place; the norm with the first-order correction of each neuron's own rate (C8); and what the paper
#: plots, the mean over q of ∏ g.
PREDICTORS = ("lag", "order 0", "order 0, mean", "order 1", "published")

#: Gates that are wrong on purpose, those of the same sequence in random order of time and those of another sequence.
NULLS = ("shuffled", "foreign")


class Sums(NamedTuple):
    """Running sums over time; every predictor of a pair is a difference. Index t = 0 … T holds steps 1 … t.

    Attributes:
        kept: of log(1 - g).
        written: of log g.
        crossed: of a neuron's own part of R + G over what it keeps.
    """

    kept: Float[Tensor, "K B h"]
    written: Float[Tensor, "K B h"]
    crossed: Float[Tensor, "K B n"]


def sums(model: GatedRNN, trajectory: Trajectory, order: Int[Tensor, "T B"] | None = None) -> Sums:
    r"""Running sums of :math:`\log(1 - g)`, :math:`\log g` and :math:`[R + G]_{qq} / (1 - g^q)`.

    Args:
        model: the network, without replicas, with gates below 1.
        trajectory: what it did on B sequences.
        order: of the steps of each sequence; as they were by default.

    Returns:
        The sums, in the trajectory's dtype.

    Raises:
        ValueError: if a gate is 1, so that nothing is kept and the predictors of order 0 and 1 are zero.
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
    return Sums(*(torch.cat([torch.zeros_like(part[:1]), part.cumsum(0)]) for part in parts))


def predictions(sums: Sums, lag: int) -> dict[str, Float[Tensor, "W B"]]:
    """The logarithm of every predictor at one lag, for t = lag … T; of the lag itself, minus the lag."""
    kept, written, crossed = (part[lag:] - part[: len(part) - lag] for part in sums)
    return {
        "lag": torch.full_like(kept[..., 0], -lag),
        "order 0": kept.amax(-1),
        "order 0, mean": _log_mean(kept),
        "order 1": (kept + (1 + crossed).abs().log()).amax(-1),
        "published": _log_mean(written),
    }


def measure(
    S: Float[Tensor, "K K B"], model: GatedRNN, trajectory: Trajectory, generator: torch.Generator
) -> dict[str, list[dict[str, Any]]]:
    """Profiles and fits of one network along B sequences.

    Args:
        S: sensitivities, (T+1, T+1, B), from :func:`gatelr.transport.sensitivities`.
        model: the network, without replicas.
        trajectory: what it did.
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
        "true": sums(model, trajectory),
        "shuffled": sums(model, trajectory, draw.argsort(0).to(trajectory.x.device)),
    }
    if B > 1:
        sources["foreign"] = Sums(*(part.roll(1, 1) for part in sources["true"]))
    columns: dict[tuple[str, str], list[Tensor]] = {}
    log_S, lags, profiles = [], [], []
    for lag in range(1, T + 1):
        y = S.diagonal(-lag).T.log().to(trajectory.x.device)  # (W, B)
        record: dict[str, Any] = {"lag": lag, "S": float(y.median().exp())}
        for source, of in sources.items():
            found = predictions(of, lag)
            for name in PREDICTORS if source == "true" else PREDICTORS[1:]:
                columns.setdefault((name, source), []).append(found[name].flatten())
                if name != "lag":
                    if source == "true":
                        record[name] = float(found[name].median().exp())
                    record[f"r {name} {source}"] = _correlation(y.flatten(), found[name].flatten())
        log_S.append(y.flatten())
        lags.append(torch.full((y.numel(),), lag - 1, device=y.device))
        profiles.append(record)
    y, lag_of = torch.cat(log_S), torch.cat(lags)
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
    count = torch.bincount(lag_of).clamp_min(1)
    return x - (torch.bincount(lag_of, x) / count)[lag_of]


def _line(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Slope of y on x, and their correlation; NaN where x does not vary beyond rounding."""
    x, y = x - x.mean(), y - y.mean()
    xx, xy, yy = (float((a * b).sum()) for a, b in ((x, x), (x, y), (y, y)))
    if xx <= 1e-18 * len(x) or yy <= 0:
        return float("nan"), float("nan")
    return xy / xx, xy / (xx * yy) ** 0.5


def _correlation(x: Tensor, y: Tensor) -> float:
    good = x.isfinite()
    return _line(y[good], x[good])[1] if good.sum() > 2 else float("nan")
