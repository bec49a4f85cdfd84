"""How good an expansion is: the bound against random matrices, and the first orders in networks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from gatelr import expansion, transport


def bound_trials(generator: torch.Generator, draws: int = 20) -> pd.DataFrame:
    """Norm and certified bound of the remainder for random factors; every other draw is positive, so that none cancel.

    Args:
        generator: source of the factors.
        draws: for each size, lag, order and ε.

    Returns:
        One row a draw: ``size``, ``lag``, ``K``, ``eps``, ``norm``, ``bound``.
    """
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
    """The spectral norm of orders 0 to 3 over that of the whole product, medians over starts and batch.

    Args:
        A: unperturbed factors.
        B: perturbing factors.
        lags: lengths of the products.
        starts: the steps k at which they begin.

    Returns:
        One row a lag and order: ``lag``, ``order``, ``relative norm``.
    """
    rows = []
    for lag in lags:
        A_k, B_k = (torch.stack([part[k : k + lag] for k in starts], 1) for part in (A, B))
        whole = transport.spectral_norm(expansion.orders(A_k + B_k, torch.zeros_like(B_k), 0)[0])
        sizes = transport.spectral_norm(expansion.orders(A_k, B_k, 3)) / whole
        rows += [(lag, order, float(share.median())) for order, share in enumerate(sizes)]
    return pd.DataFrame(rows, columns=["lag", "order", "relative norm"])
