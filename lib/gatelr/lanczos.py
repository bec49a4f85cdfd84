r"""The largest singular value of many small matrices at once, by Lanczos iteration.

A singular value decomposition finds n values where one is asked for, matrix by matrix. The Lanczos process on
:math:`M^T M` needs a handful of matrix-vector products, and a batch of matrices takes them together: after k steps
:math:`V^T (M^T M) V = T` is tridiagonal, and its largest eigenvalue θ approaches :math:`σ_1^2` from below. There is an
eigenvalue of :math:`M^T M` within the residual :math:`r = β_k |s_k|` of θ, where s is the eigenvector of T, so

.. math:: r \le τ θ \quad\Longrightarrow\quad |\sqrt θ - σ| \le τ σ

for some singular value σ: the largest one, since a random start has a part along every singular vector. The bound holds
however close the next one lies. Where one singular value outweighs all others, half the digits are enough: the squares
of all sum to :math:`\|M\|_F^2`, so no other is above :math:`\|M\|_F^2 - θ`, and by Temple's inequality

.. math:: 0 \le σ_1^2 - θ \le \frac{r^2}{2θ - \|M\|_F^2} \qquad\text{if } θ > \tfrac12 \|M\|_F^2

whatever the start. What is not settled after 2n steps goes to LAPACK. (Golub & Van Loan, *Matrix Computations*, 4th
edition, 2013, chapter 10; Parlett, *The Symmetric Eigenvalue Problem*, 1998, chapter 10.)
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

#: Steps to begin with.
STEPS = 8

#: Residual, or Temple's bound, relative to θ, at which a value is taken.
TOLERANCE = 1e-6

#: Bytes of the matrices that go through the process together, few enough to stay in a processor's cache meanwhile.
CACHE = 2**23

#: Sizes below this go to LAPACK, which is as fast.
SMALLEST = 12


def spectral_norms(M: Float[Tensor, "N m n"], steps: int = STEPS) -> tuple[Float[Tensor, " N"], int]:
    r"""The largest singular value of every matrix, with a relative error below 1e-6.

    The process runs in float64 whatever the matrices are: in float32 its vectors lose their orthogonality so soon that
    it takes more steps, and more time.

    Args:
        M: any matrices.
        steps: Lanczos steps to begin with; matrices that they do not settle are given more.

    Returns:
        ``(N,)``, infinite where a matrix has an entry that is not finite; and the number of steps to begin with for
        matrices of the same kind.
    """
    if M.shape[1] < M.shape[2]:
        M = M.mT  # the process runs on the shorter side
    N, _, n = M.shape
    if n < SMALLEST:
        return _by_lapack(M), steps
    chunk = max(1, CACHE // (8 * n * M.shape[1])) if M.device.type == "cpu" else N
    sigma, left, k, advice = M.new_zeros(N), torch.arange(N, device=M.device), steps, steps
    while k <= 2 * n:
        processes = [_process(part, k) for part in (M if k == steps else M[left]).split(chunk)]
        diagonal, coupling, scale = (torch.cat(parts, -1) for parts in zip(*processes, strict=True))
        theta, residual = _largest_ritz(diagonal, coupling)
        temple = residual * residual / (2 * theta - 1).clamp_min(torch.finfo(theta.dtype).tiny)
        sigma[left] = torch.where(scale.isfinite(), theta.sqrt() * scale, torch.inf).to(M.dtype)
        unsettled = torch.minimum(residual, temple) > TOLERANCE * theta
        count = int(unsettled.sum())
        if k == steps:
            advice = k - max(1, k // 8) if count <= N // 32 else k + (count > N // 8)
        if not count:
            return sigma, max(advice, 3)
        left = left[unsettled]
        k += max(2, k // 4)
    sigma[left] = _by_lapack(M[left])
    return sigma, max(advice, 3)


def _scale(M: Tensor) -> tuple[Tensor, Tensor]:
    """The Frobenius norm, and what to multiply the matrix by: squares of what long lags leave would underflow.

    The second is 0, so that the matrix counts for nothing, where the first is zero or not finite.
    """
    scale = torch.linalg.vector_norm(M, dim=(-2, -1))
    if not ((scale > 1e-140) & (scale < 1e140)).all():  # out there the norm itself is made of such squares
        largest = M.abs().amax((-2, -1))
        unit = M / largest.where(largest > 0, torch.ones_like(largest))[:, None, None]
        scale = largest * torch.linalg.vector_norm(unit, dim=(-2, -1))
    scale = scale.where(~scale.isnan(), torch.full_like(scale, torch.inf))
    usable = scale.isfinite() & (scale > 0)
    return scale, torch.where(usable, 1 / scale.where(usable, torch.ones_like(scale)), 0.0)


def _by_lapack(M: Tensor) -> Tensor:
    scale, shrink = _scale(M)
    unit = torch.where(shrink[:, None, None] > 0, M * shrink[:, None, None], 0.0)
    root = torch.linalg.eigvalsh(unit.mT @ unit)[..., -1].clamp_min(0).sqrt()
    return torch.where(scale.isfinite(), root * scale, torch.inf)


def _process(M: Float[Tensor, "N m n"], steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Diagonal and squared couplings of T, (k, N), from the same start for every matrix; and their scales, (N,)."""
    M = M.double()
    N, _, n = M.shape
    scale, shrink = _scale(M)
    shrink = shrink[:, None, None]
    if not ((scale > 1e-140) & (scale < 1e140)).all():  # the scaling below would come too late
        M, shrink = torch.where(shrink > 0, M * shrink, 0.0), torch.ones_like(shrink)
    shrink = shrink * shrink
    start = torch.randn(n, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(M.device)
    v = (start / start.norm()).expand(N, 1, n)
    before, beta = torch.zeros_like(v), torch.zeros_like(shrink)
    tiny = torch.finfo(torch.float64).tiny
    diagonal, coupling = M.new_empty(2, steps, N, 1)
    M_T = M.mT
    for k in range(steps):
        # a row times a matrix is twice as fast as a matrix times a column
        w = torch.bmm(torch.bmm(v, M_T), M).mul_(shrink)
        alpha = torch.linalg.vecdot(v, w, out=diagonal[k]).unsqueeze(-1)
        w.addcmul_(alpha, v, value=-1).addcmul_(beta, before, value=-1)
        beta = torch.linalg.vecdot(w, w, out=coupling[k]).sqrt().unsqueeze(-1)
        before, v = v, w.div_(beta.clamp_min(tiny))
    return diagonal[..., 0], coupling[..., 0], scale


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
    # Above all roots: Gershgorin, or the Frobenius norm, which is close where one eigenvalue outweighs the rest.
    x = torch.minimum(reach.amax(0), ((a * a).sum(0) + 2 * b2[:-1].sum(0)).sqrt()) * (1 + 1e-12)
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
