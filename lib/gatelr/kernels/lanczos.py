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

On a CPU the matrices are served one after the other by :mod:`gatelr.kernels.lanczos_compiled`, elsewhere all in a
batch.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from gatelr.kernels import lanczos_compiled

#: Temple's bound, relative to θ, at which a value is taken.
ERROR_AT_MOST = 1e-6

#: Residual, relative to θ, at which a value is taken whatever the bound.
RESIDUAL_AT_MOST = 1e-8

#: Steps between two looks at the residuals of a batch.
STEPS = 4

#: The largest size that is given all its steps, after which the value is exact but for rounding.
SMALL = 12


def spectral_norms(M: Float[Tensor, "N m n"], near: Float[Tensor, "N k"] | None = None) -> Float[Tensor, " N"]:
    r"""The largest singular value of every matrix, with a relative error below 1e-6.

    A larger one takes singular values within a few millionths of each other and an unlucky start, see above. The
    process runs in float64 whatever the matrices are. No gradient flows through it.

    Args:
        M: any matrices, float32 or float64.
        near: float64, k the smaller of m and n: guesses at the first singular vectors of that side, or zeros. They save
            steps, on a CPU; what is found is written over them.

    Returns:
        ``(N,)``, infinite where a matrix has an entry that is not finite.

    Raises:
        ValueError: for another dtype.
    """
    if M.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"got matrices of {M.dtype}, expected torch.float32 or torch.float64: convert them first")
    if M.shape[1] > M.shape[2]:
        M = M.mT  # the process runs on the shorter side
    start = _start(M.shape[1])
    if M.device.type == "cpu":
        near = M.new_zeros(M.shape[:2], dtype=torch.float64) if near is None else near
        return lanczos_compiled.largest(
            M, start, near, residual_at_most=RESIDUAL_AT_MOST, error_at_most=ERROR_AT_MOST, small=SMALL
        )
    return _in_batch(M.detach(), start.to(M.device))


@lru_cache
def _start(m: int) -> Float[Tensor, " m"]:
    start = torch.randn(m, generator=torch.Generator().manual_seed(0), dtype=torch.float64, device="cpu")
    return start / start.norm()


def _in_batch(M: Float[Tensor, "N m n"], start: Float[Tensor, " m"]) -> Float[Tensor, " N"]:
    """All matrices together, until the slowest is settled; what is not after twice its size goes to LAPACK."""
    A = M.double()
    m = A.shape[1]
    scale = A.abs().amax((-2, -1))
    usable = scale.isfinite() & (scale > 0)
    A = torch.where(usable[:, None, None], A / scale.where(usable, 1.0)[:, None, None], 0.0)
    square = A.square().sum((-2, -1)).where(usable, 1.0)
    theta, found = torch.zeros_like(square), ~usable
    if m > SMALL:
        v, before, beta = start.expand(len(A), 1, m), torch.zeros(1, device=A.device).double(), torch.zeros_like(square)
        alphas: list[Tensor] = []
        betas: list[Tensor] = []
        while len(alphas) < 2 * m and not bool(found.all()):
            for _ in range(STEPS):
                w = torch.bmm(torch.bmm(v, A), A.mT) / square[:, None, None]
                alphas.append(torch.linalg.vecdot(v, w)[:, 0])
                w = w - alphas[-1][:, None, None] * v - beta[:, None, None] * before
                beta = w.norm(dim=-1)[:, 0]
                betas.append(beta)
                before, v = v, w / beta.clamp_min(1e-150)[:, None, None]
            largest, residual = _largest_ritz(torch.stack(alphas), torch.stack(betas))
            # vectors that are not kept orthogonal count some of tr T twice: ν is then no more than 1 - θ
            temple = residual.square() / (2 * largest - 1).clamp_min(torch.finfo(square.dtype).tiny)
            settled = ~found & ((residual <= RESIDUAL_AT_MOST * largest) | (temple <= ERROR_AT_MOST * largest))
            theta, found = torch.where(settled, largest, theta), found | settled
    if not bool(found.all()):
        rest = A[~found]
        theta[~found] = torch.linalg.eigvalsh(rest @ rest.mT)[..., -1].clamp_min(0) / square[~found]
    return torch.where(usable, (theta * square).sqrt() * scale, torch.where(scale == 0, 0.0, torch.inf)).to(M.dtype)


def _largest_ritz(a: Float[Tensor, "k N"], b: Float[Tensor, "k N"]) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    r"""Largest eigenvalue θ of many tridiagonal matrices, and the residual :math:`β_k |s_k|` of its vector.

    Laguerre's method on the characteristic polynomial: from above all roots it comes down to the largest without
    passing it, and triples its digits with every step.

    Args:
        a: diagonals.
        b: couplings to the next row; the last one leads out of the matrix.
    """
    k = len(a)
    reach = a.clone()
    reach[:-1] += b[:-1]
    reach[1:] += b[:-1]
    # Above all roots: Gershgorin, or the Frobenius norm, which is close where one eigenvalue outweighs the rest.
    x = torch.minimum(reach.amax(0), (a.square().sum(0) + 2 * b[:-1].square().sum(0)).sqrt()) * (1 + 1e-12)
    couplings = b.square().unbind()
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    derivatives = torch.stack([one, 2 * one])
    for _ in range(50):
        shifted = (a - x).unbind()
        older = torch.stack([one, zero, zero])  # p, p' and p'', by the three-term recurrence
        p = torch.stack([shifted[0], -one, zero])
        for j in range(1, k):
            newer = shifted[j] * p - couplings[j - 1] * older
            newer[1:] -= derivatives * p[:2]
            older, p = p / newer[0].abs(), newer / newer[0].abs()  # only ratios count, and these stay in range
        G = p[1] / p[0]
        H = G * G - p[2] / p[0]
        step = k / (G + ((k - 1) * (k * H - G * G)).clamp_min(0).sqrt())
        step = step.where((G > 0) & G.isfinite(), 0.0)  # else on the root, or past it by a rounding error
        x = x - step
        if bool((step <= 1e-7 * x).all()):
            break
    # The eigenvector from its last entry upwards: in this direction it grows, and rounding errors do not.
    below, entry, square = zero, one, one
    for j in range(k - 1, 0, -1):
        above = ((x - a[j]) * entry - b[j] * below * (j < k - 1)) / b[j - 1].clamp_min(1e-150)
        below, entry = entry, above
        square = square + entry * entry
    return x, b[-1] * square.rsqrt()
