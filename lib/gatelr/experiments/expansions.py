"""How good an expansion is: the bound against random matrices, and the first orders in networks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from gatelr import expansion, jacobian, transport
from gatelr.cells import GatedRNN, Trajectory

#: What can be expanded, as splitting and gate; a constant gate has no gate term.
CASES = (("leak", "constant"), ("leak", "scalar"), ("leak", "multi"), ("gate", "scalar"), ("gate", "multi"))


def bound_trials(generator: torch.Generator, draws: int = 20) -> pd.DataFrame:
    """Norm and certified bound of the remainder for random factors, a row a draw; every other one is positive."""
    tables = []
    for size, lag, K, eps in itertools.product((1, 2, 5), (1, 2, 4, 8), (0, 1, 2, 3), (1e-12, 1e-6, 1e-2, 1.0, 10.0)):
        A, B = (torch.randn(lag, draws, size, size, generator=generator, dtype=torch.float64) for _ in "AB")
        A[:, ::2], B[:, ::2] = A[:, ::2].abs(), B[:, ::2].abs()
        norm = torch.linalg.matrix_norm(expansion.remainder(A, B, K, eps), 2)
        bound = expansion.remainder_bound(A, B, K, eps)
        tables.append(pd.DataFrame({"size": size, "lag": lag, "K": K, "eps": eps, "norm": norm, "bound": bound}))
    return pd.concat(tables, ignore_index=True)


def order_norms(
    A: Float[Tensor, "T *batch n n"], B: Float[Tensor, "T *batch n n"], lags: Sequence[int], starts: Sequence[int]
) -> pd.DataFrame:
    """The spectral norm of orders 0 to 3 over that of the whole product, a row a lag: medians over starts and batch."""
    rows = []
    for lag in lags:
        A_k, B_k = (torch.stack([part[k : k + lag] for k in starts], 1) for part in (A, B))
        whole = transport.spectral_norm(expansion.orders(A_k + B_k, torch.zeros_like(B_k), 0)[0])
        sizes = transport.spectral_norm(expansion.orders(A_k, B_k, 3)) / whole
        rows += [(lag, order, float(share.median())) for order, share in enumerate(sizes)]
    return pd.DataFrame(rows, columns=["lag", "order", "relative norm"])


@torch.no_grad()
def untrained(
    gate: str,
    scale: float,
    count: int,
    *,
    n: int = 64,
    m: int = 3,
    T: int = 100,
    alpha: float = 0.5,
    first: int = 0,
    device: torch.device | str | None = None,
) -> tuple[GatedRNN, Float[Tensor, "T S m"], Trajectory]:
    """Networks as the paper's appendix draws them, with noisy sines as inputs, and their run, in float64.

    Networks have the numbers ``first``, ``first`` + 1, …, and number s is the same whatever the count; ``scale`` is the
    standard deviation of its weights. Inputs are sines of frequency 0.03 to 0.09, whose phase is drawn, and noise of
    0.05; their argument runs from 0 to 12.
    """
    draws = [torch.Generator().manual_seed(s) for s in range(first, first + count)]
    options: dict[str, Any] = {"replicas": count, "dtype": torch.float64, "device": device}
    model = GatedRNN(m, n, gate, alpha=alpha if gate == "constant" else None, generator=draws, **options)
    s = torch.linspace(0, 12, T, dtype=torch.float64)[:, None]
    omega = torch.linspace(0.03, 0.09, m, dtype=torch.float64)
    inputs = []
    for network, draw in enumerate(draws):
        phase = 2 * math.pi * torch.rand(m, generator=draw, dtype=torch.float64)
        noise = torch.randn(T, m, generator=draw, dtype=torch.float64)
        inputs.append(torch.sin(omega * s + phase) + 0.05 * noise)
        for weight in model.parameters():
            normal = torch.randn(weight[network].shape, generator=draw, dtype=torch.float64)
            weight[network] = scale * normal
    u = torch.stack(inputs, 1).to(model.W_r.device)
    return model.requires_grad_(False), u, model.run(u)


def by_autograd(
    model: GatedRNN, u: Float[Tensor, "L S m"], x: Float[Tensor, "S n"], copies: int = 16
) -> Float[Tensor, "S n n"]:
    """The transport ∂x_{k+ℓ}/∂x_k of S networks from the run after step k: copy q of the state gives row q."""
    rows, n = [], x.shape[-1]
    for first in range(0, n, copies):
        own = range(first, min(first + copies, n))
        copied = x.unsqueeze(1).repeat(1, len(own), 1).requires_grad_()
        last = model.run(u.unsqueeze(2).expand(-1, -1, len(own), -1), copied).x[-1]
        rows.append(torch.autograd.grad(last[:, range(len(own)), own].sum(), copied)[0])
    return torch.cat(rows, 1)


def size(X: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch"]:
    """Frobenius norm of each matrix."""
    return X.flatten(-2).norm(dim=-1)


def lean(A: Float[Tensor, "L *batch n n"]) -> Tensor:
    """The diagonals if all factors are diagonal, which saves time in a sweep; otherwise the factors themselves."""
    diagonal = A.diagonal(dim1=-2, dim2=-1)
    return diagonal if torch.equal(torch.diag_embed(diagonal), A) else A


def step_norms(A: Float[Tensor, "T *batch n n"]) -> Float[Tensor, " T *batch"]:
    """The spectral norm of each factor; of diagonal ones exactly."""
    diagonal = lean(A)
    return diagonal.abs().amax(-1) if diagonal.ndim < A.ndim else transport.spectral_norm(A)


def ratios(parts: Mapping[tuple[str, str], tuple[Tensor, Tensor]]) -> pd.DataFrame:
    """The ratio of the spectral norms of B and A in every step of every network, a row each, with its rank.

    Args:
        parts: by splitting and gate the two parts, each ``(T, S, n, n)``.

    Returns:
        ``splitting``, ``gate``, ``network``, ``ratio``, and ``fraction``, the share of ratios of its case up to it.
    """
    tables = []
    for (splitting, gate), (A, B) in parts.items():
        table = pd.DataFrame((step_norms(B) / step_norms(A)).cpu().numpy()).melt(var_name="network", value_name="ratio")
        fraction = table.ratio.rank(pct=True)
        tables.append(table.assign(splitting=splitting, gate=gate, fraction=fraction))
    return pd.concat(tables, ignore_index=True)


def ratio_quantiles(table: pd.DataFrame) -> pd.DataFrame:
    """Quantiles of :func:`ratios`, a row a case, and how many networks a filter of outliers would drop.

    A network counts as one whose mean ratio lies more than 1.5 interquartile ranges outside the quartiles.
    """

    def outside(own: pd.Series) -> int:
        low, high = own.quantile([0.25, 0.75])
        return int((~own.between(low - 1.5 * (high - low), high + 1.5 * (high - low))).sum())

    cases = table.groupby(["splitting", "gate"], sort=False)
    quantiles = cases.ratio.quantile(np.array([0.5, 0.9, 0.99, 1.0])).unstack()
    quantiles.columns = pd.Index(["median", "90th", "99th", "largest"])
    means = table.groupby(["splitting", "gate", "network"], sort=False).ratio.mean()
    dropped = means.groupby(["splitting", "gate"], sort=False).apply(outside)
    return quantiles.assign(**{"networks an IQR filter would drop": dropped})


def errors(
    A: Float[Tensor, "L S n n"], B: Float[Tensor, "L S n n"], truth: Mapping[int, Tensor], order: int
) -> pd.DataFrame:
    """By how much the sums of orders 0 … K miss the true transports by lag, relative to their size.

    All begin at the first factor. One row a lag, K and network: ``K``, ``network``, ``error``, ``added`` (the size of
    order K itself, over that of order 0), ``lag``.
    """
    tables = []
    for lag, M in expansion.orders_at(lean(A), B, order, list(truth)):
        columns = {"error": size(M.cumsum(0) - truth[lag]) / size(truth[lag]), "added": size(M) / size(M[0])}
        frames = {name: pd.DataFrame(column.cpu().numpy()).stack() for name, column in columns.items()}
        table = pd.DataFrame(frames).rename_axis(["K", "network"]).reset_index()
        tables.append(table.assign(lag=lag))
    return pd.concat(tables, ignore_index=True)


def rule(x: pd.Series) -> pd.Series:
    r"""The relative error after order 1 where all factors are numbers, :math:`1 - (1 + x) e^{-x}` (claim C4).

    Args:
        x: the size of order 1 over that of order 0; with the same ratio r at each of ℓ steps it is ℓ r.

    Returns:
        The error that the rule predicts, between 0 and 1, exact in the limit of small r.
    """
    return -np.expm1(-x) - x * np.exp(-x)


def bounds(A: Float[Tensor, "L S n n"], B: Float[Tensor, "L S n n"], lags: Iterable[int], order: int) -> pd.DataFrame:
    """Spectral norms of remainder and transport at ε = 1, and the certified bound, for every lag above K up to order.

    One row a lag, K and network: ``network``, ``remainder``, ``bound``, ``transport``, ``lag``, ``K``.
    """
    a, b = (step_norms(X)[..., None, None] for X in (A, B))  # the norms of 1-by-1 matrices: none is taken twice
    tables = []
    for lag, K in itertools.product(lags, range(order + 1)):
        if lag > K:
            columns = {
                "remainder": transport.spectral_norm(expansion.remainder(A[:lag], B[:lag], K, 1.0)),
                "bound": expansion.remainder_bound(a[:lag], b[:lag], K, 1.0),
                "transport": transport.spectral_norm(transport.products(A[:lag] + B[:lag], lag)[0]),
            }
            table = pd.DataFrame({name: column.cpu() for name, column in columns.items()})
            tables.append(table.rename_axis("network").reset_index().assign(lag=lag, K=K))
    return pd.concat(tables, ignore_index=True)


@torch.no_grad()
def error_map(
    scales: Iterable[float],
    lags: Sequence[int],
    count: int,
    start: int,
    cases: Iterable[tuple[str, str]] = CASES,
    **protocol: Any,
) -> pd.DataFrame:
    """How far orders 0 and 1 together miss the transport from ``start`` on, by scale of the weights and lag.

    One row a case, scale and lag, each number a median over networks: the ``ratio`` of the spectral norms of B and A in
    one step, that of their Frobenius norms (``typical``), the size of order 1 over that of order 0 (``added``) and the
    ``error``. The ``protocol`` is what :func:`untrained` takes.
    """
    rows = []
    for gate in dict.fromkeys(gate for _, gate in cases):
        for scale in scales:
            model, _, run = untrained(gate, scale, count, **protocol)
            terms = jacobian.Terms(*(term[start:] for term in jacobian.terms(model, run)))
            J = terms.leak + terms.recurrent + terms.gate
            truth = {lag: M[0].clone() for lag, M in expansion.orders_at(J, torch.zeros_like(J), 0, lags)}
            for splitting in (splitting for splitting, other in cases if other == gate):
                A, B = expansion.split(terms, splitting)
                ratio, typical = (float((norm(B[::16]) / norm(A[::16])).median()) for norm in (step_norms, size))
                table = errors(A, B, truth, 1).query("K == 1").groupby("lag")[["added", "error"]]
                medians = table.quantile(0.5, interpolation="lower").reset_index()
                case = medians.assign(splitting=splitting, gate=gate, scale=scale, ratio=ratio, typical=typical)
                rows.append(case)
    return pd.concat(rows, ignore_index=True)


def predictions(cells: pd.DataFrame) -> pd.DataFrame:
    """What :func:`rule` says of each cell of :func:`error_map`, for three readings of its x.

    They are the lag times the ratio of one step, in spectral norms (``"worst case"``) and in Frobenius norms
    (``"typical push"``), and the measured ``"size of order 1"`` beside order 0.

    Returns:
        A row a cell and reading: the columns of ``cells``, ``reading``, ``x`` and ``predicted``.
    """
    readings = {"worst case": cells.lag * cells.ratio, "typical push": cells.lag * cells.typical}
    readings["size of order 1"] = cells.added
    tables = [cells.assign(reading=name, x=x, predicted=rule(x)) for name, x in readings.items()]
    return pd.concat(tables, ignore_index=True)


def within(table: pd.DataFrame, factor: float) -> pd.Series:
    """The share of cells whose error :func:`predictions` has right within a factor, by reading and splitting.

    Only cells count where order 1 is of any use, with an error below a half.
    """
    useful = table[table.error < 0.5]
    near = (useful.predicted / useful.error).between(1 / factor, factor)
    return near.groupby([useful.reading, useful.splitting]).mean()
