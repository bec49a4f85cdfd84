"""The norms of all lags, exactly, by what ``torch.linalg`` offers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def by_svdvals(M: Tensor) -> Tensor:
    """The largest of all singular values."""
    return torch.linalg.svdvals(M)[..., 0]


def by_matrix_norm(M: Tensor) -> Tensor:
    """The spectral norm by its name."""
    return torch.linalg.matrix_norm(M, ord=2)


def sensitivities(J: Tensor, *, norm: Callable[[Tensor], Tensor] = by_svdvals) -> Callable[[], Tensor]:
    """``S[t, k] = ‖M_{t,k}‖``, ``(T+1, T+1, *batch)``; the products of a lag come from the lag before, all at once."""
    T = len(J)

    def run() -> Tensor:
        S = J.new_zeros(T + 1, T + 1, *J.shape[1:-2])
        S.diagonal().fill_(1)
        M = J
        for lag in range(1, T + 1):
            if lag > 1:
                M = M[1:] @ J[: T - lag + 1]
            S.diagonal(-lag).copy_(norm(M).movedim(0, -1))
        return S

    return run
