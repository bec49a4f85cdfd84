r"""The largest singular value of many small matrices at once, by Lanczos iteration.

A singular value decomposition finds n values where one is asked for, matrix by matrix. The Lanczos process on
:math:`M^T M` needs a handful of matrix-vector products, and a batch of matrices takes them together: after k steps
:math:`V^T (M^T M) V = T` is tridiagonal, and its largest eigenvalue θ approaches :math:`σ_1^2` from below. There is an
eigenvalue of :math:`M^T M` within the residual :math:`r = β_k |s_k|` of θ, where s is the eigenvector of T, so

.. math:: r \le τ θ \quad\Longrightarrow\quad |\sqrt θ - σ| \le τ σ

for some singular value σ: the largest one, since a random start has a part along every singular vector. The bound holds
however close the next one lies. What is not settled after 2n steps goes to LAPACK. (Golub & Van Loan, *Matrix
Computations*, 4th edition, 2013, chapter 10.)
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

#: Below this size LAPACK on the whole Gram matrix is as fast.
SMALLEST = 12

#: Steps before the first look at the residual.
FIRST = 8

#: Residual, relative to θ, at which a value is taken; in float32 the residual itself is not known better than this.
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-5}


def spectral_norms(M: Float[Tensor, "N n n"], first: int = FIRST) -> tuple[Float[Tensor, " N"], int]:
    r"""The largest singular value of every matrix.

    Args:
        M: any matrices.
        first: after how many steps to look at the residual for the first time.

    Returns:
        (N,), infinite where a matrix has an entry that is not finite; and the number of steps that three quarters of
        the matrices needed, a good ``first`` for matrices of the same kind.
    """
    n = M.shape[-1]
    scale = M.abs().amax((-2, -1))  # the squares of what transport over long lags leaves would underflow
    usable = scale.isfinite() & (scale > 0)
    unit = M / scale.where(usable, torch.ones_like(scale))[:, None, None]
    if not usable.all():
        unit = unit.where(usable[:, None, None], torch.zeros_like(unit))
    if n < SMALLEST:
        values, needed = _by_lapack(unit), first
    else:
        values, needed = _by_lanczos(unit, first)
    values = torch.where(scale.isfinite(), values * scale.where(usable, torch.ones_like(scale)), torch.inf)
    return values.where(scale != 0, torch.zeros_like(values)), needed


def _by_lapack(M: Tensor) -> Tensor:
    return torch.linalg.eigvalsh(M.mT @ M)[..., -1].clamp_min(0).sqrt()


def _by_lanczos(M: Tensor, first: int) -> tuple[Tensor, int]:
    N, n = M.shape[:2]
    M_T = M.mT.contiguous()  # a row times a matrix is three times as fast as a matrix times a column
    start = torch.randn(n, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(M)
    v = (start / start.norm()).expand(N, 1, n)
    before, beta = torch.zeros_like(v), M.new_zeros(N, 1, 1)
    theta, at = M.new_empty(N), torch.arange(N, device=M.device)
    diagonal: list[Tensor] = []
    coupling: list[Tensor] = []  # squares
    needed, look = first, first
    tiny = torch.finfo(M.dtype).tiny
    for k in range(1, 2 * n + 1):
        y = torch.bmm(v, M_T)
        w = torch.bmm(y, M)
        alpha = torch.linalg.vecdot(y, y).unsqueeze(-1)
        w.addcmul_(alpha, v, value=-1).addcmul_(beta, before, value=-1)
        squared = torch.linalg.vecdot(w, w).unsqueeze(-1)
        diagonal.append(alpha[:, 0, 0])
        coupling.append(squared[:, 0, 0])
        beta = squared.sqrt()
        before, v = v, w / beta.clamp_min(tiny)
        if k < look:
            continue
        found, residual = _largest_ritz(torch.stack(diagonal).double(), torch.stack(coupling).double())
        theta[at] = found.to(theta)
        left = ~(residual <= TOLERANCE[M.dtype] * found)
        count = int(left.sum())
        if count > N // 4:
            needed = k + 1
        if count == 0:
            return theta.sqrt(), needed
        if count <= len(at) // 2:  # go on with those alone
            at, M, M_T, v, before, beta = (tensor[left] for tensor in (at, M, M_T, v, before, beta))
            diagonal, coupling = ([entry[left] for entry in entries] for entries in (diagonal, coupling))
        look = k + 1 + k // 8
    result = theta.sqrt()
    result[at] = _by_lapack(M)
    return result, needed


def _largest_ritz(a: Float[Tensor, "k N"], b2: Float[Tensor, "k N"]) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    r"""Largest eigenvalue θ of many tridiagonal matrices, and the residual :math:`β_k |s_k|` of its vector.

    Laguerre's method on the characteristic polynomial: from above all roots it comes down to the largest without
    passing it, and triples its digits with every step.

    Args:
        a: diagonals.
        b2: squares of the couplings to the next row; the last one leads out of the matrix.
    """
    k = len(a)
    b = b2.sqrt()
    reach = a.clone()
    reach[:-1] += b[:-1]
    reach[1:] += b[:-1]
    x = torch.minimum(reach.amax(0), a.sum(0)) * (1 + 1e-12)  # Gershgorin, or the trace of a positive matrix
    couplings = b2.unbind()
    derivatives = a.new_tensor([[1.0], [2.0]])
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    for _ in range(50):
        shifted = (a - x).unbind()
        older = torch.stack([one, zero, zero])  # p, p' and p'', by the three-term recurrence
        p = torch.stack([shifted[0], -one, zero])
        for j in range(1, k):
            newer = torch.mul(shifted[j], p).addcmul_(couplings[j - 1], older, value=-1)
            newer[1:].addcmul_(derivatives, p[:2], value=-1)
            older, p = p, newer
        G = p[1] / p[0]
        H = G * G - p[2] / p[0]
        step = (k / (G + ((k - 1) * (k * H - G * G)).clamp_min(0).sqrt())).nan_to_num(0.0)
        x = x - step
        if bool((step <= 1e-6 * x).all()):
            break
    # The eigenvector from its last entry upwards: in this direction it grows, and rounding errors do not.
    below, entry, square = torch.zeros_like(x), torch.ones_like(x), torch.ones_like(x)
    for j in range(k - 1, 0, -1):
        above = ((x - a[j]) * entry - b[j] * below * (j < k - 1)) / b[j - 1].clamp_min(1e-150)
        below, entry = entry, above
        square = torch.addcmul(square, entry, entry)
    return x, b[-1] * square.rsqrt()
