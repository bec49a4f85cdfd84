r"""The largest singular value of many small matrices, by Lanczos iteration.

A singular value decomposition finds n values where one is asked for. The Lanczos process on
:math:`G = M M^T / \|M\|_F^2` needs a handful of matrix-vector products: after k steps :math:`V^T G V = T` is
tridiagonal, and its largest eigenvalue θ approaches :math:`λ_1 = σ_1^2 / \|M\|_F^2` from below. When to stop is read
from the residual :math:`r = β_k |s_k|`, where s is the eigenvector of T.

Where the next eigenvalue is known to be far, :math:`r^2` counts. The eigenvalues of G sum to 1, and from the third on
none is below that of T in its place; so the second is at most :math:`ν = 1 - \mathrm{tr}\,T + θ_2`, and by Temple's
inequality

.. math:: 0 \le λ_1 - θ \le \frac{r^2}{θ - ν} \qquad\text{if } θ > ν

whatever the start. With p the characteristic polynomial of T, :math:`θ - θ_2 \ge 2 |p'(θ) / p''(θ)|`, so that
:math:`θ_2` need not be found.

Where it is not known, r counts: an eigenvalue of G lies within r of θ. It is the largest one unless the start happens
to be nearly orthogonal to the first singular vector. For a value that lies :math:`ε λ_1` below to be taken for it, the
start's part along the first must be below some r/(ε θ) of that along the other. That is never excluded; but r is asked
for to be a hundredth of the error that is allowed, and where a start is a guess with a random part, smaller by that
part again. (Golub & Van Loan, *Matrix Computations*, 4th edition, 2013, chapter 10;
Parlett, *The Symmetric Eigenvalue Problem*, 1998, chapters 10 and 13.)

On a CPU with a compiler the matrices are served one after the other, each in the processor's nearest cache; the outcome
does not depend on the number of threads. Elsewhere a batched eigenvalue solver takes the Gram matrices whole.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from gatelr.kernels import build

#: Temple's bound, relative to θ, at which a value is taken.
ERROR_AT_MOST = 1e-6

#: Residual, relative to θ, at which a value is taken whatever the bound.
RESIDUAL_AT_MOST = 1e-8

#: The largest size that is given all its steps, after which the value is exact but for rounding.
SMALL = 12

#: Matrices below which a second thread costs more than it gains.
WORTHWHILE = 64


def spectral_norms(M: Float[Tensor, "N m n"], near: Float[Tensor, "N k"] | None = None) -> Float[Tensor, " N"]:
    r"""The largest singular value of every matrix, with a relative error below 1e-6.

    A larger one takes singular values within a few millionths of each other and an unlucky start, see above. The
    process runs in float64 whatever the matrices are. No gradient flows through it.

    Args:
        M: any matrices, float32 or float64.
        near: float64, k the smaller of m and n: guesses at the first singular vectors of that side, or zeros. They save
            steps of the compiled process, which writes what it finds over them.

    Returns:
        ``(N,)``, infinite where a matrix has an entry that is not finite.

    Raises:
        ValueError: for another dtype.
    """
    if M.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"got matrices of {M.dtype}, expected torch.float32 or torch.float64: convert them first")
    if M.shape[1] > M.shape[2]:
        M = M.mT  # the process runs on the shorter side
    return _one_by_one(M.detach(), near) if build.serves(M) else _by_gram(M.detach())


def _one_by_one(M: Float[Tensor, "N m n"], near: Float[Tensor, "N m"] | None) -> Float[Tensor, " N"]:
    N, m, n = M.shape
    guesses = M.new_zeros(N, m, dtype=torch.float64) if near is None else near.contiguous()
    first = m if m <= SMALL else 3  # step at which to look for the first time
    threads = min(torch.get_num_threads(), -(-N // WORTHWHILE))
    norms = M.new_empty(N)
    arguments = M.contiguous(), _start(m), guesses, RESIDUAL_AT_MOST, ERROR_AT_MOST, first, norms
    build.call("norms", M.dtype, N, m, n, max(1, threads), *arguments)
    if near is not None and guesses is not near:
        near.copy_(guesses)
    return norms


@lru_cache
def _start(m: int) -> Float[Tensor, " m"]:
    start = torch.randn(m, generator=torch.Generator().manual_seed(0), dtype=torch.float64, device="cpu")
    return start / start.norm()


def _by_gram(M: Float[Tensor, "N m n"]) -> Float[Tensor, " N"]:
    """The root of the largest eigenvalue of M Mᵀ; each matrix is first divided by its largest entry, to stay in range.

    Squaring costs a small singular value its digits, the largest none.
    """
    A = M.double()
    scale = A.abs().amax((-2, -1))
    usable = scale.isfinite() & (scale > 0)
    A = torch.where(usable[:, None, None], A / scale.where(usable, 1.0)[:, None, None], 0.0)
    largest = torch.linalg.eigvalsh(A @ A.mT)[:, -1].clamp_min(0)
    return torch.where(usable, largest.sqrt() * scale, torch.where(scale == 0, 0.0, torch.inf)).to(M.dtype)
