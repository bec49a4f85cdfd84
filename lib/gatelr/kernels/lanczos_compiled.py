"""The Lanczos process for one matrix after the other, compiled: each stays in the processor's nearest cache meanwhile.

The steps are those of :mod:`gatelr.kernels.lanczos`, with every vector kept orthogonal to all before it. In a batch
each step would read all matrices again, from a cache far away, and all would go on until the slowest is settled.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import numba
import numpy as np
import torch

#: Matrices below which a second thread costs more than it gains.
WORTHWHILE = 64

#: Numbers of which only ratios count are divided by this where they fall below it.
TINY = 1e-100

#: A coupling below this, relative to θ, ends the process; the next vector would be nothing but rounding errors.
ENDED = 1e-12

# Sums may be taken in any order, which lets them be vectors; NaN and infinity mean what they do elsewhere.
_compiled: Any = numba.njit(cache=True, fastmath={"reassoc", "contract", "nsz", "arcp"}, error_model="numpy")
_compiled_for_threads: Any = numba.njit(cache=True, parallel=True)
_one_at_a_time = threading.Lock()  # not every library of threads that numba may find can be called by two


def largest(
    M: torch.Tensor,
    start: torch.Tensor,
    near: torch.Tensor,
    *,
    residual_at_most: float,
    error_at_most: float,
    small: int,
) -> torch.Tensor:
    """The largest singular value of each of ``(N, m, n)`` matrices on a CPU, m at most n.

    As many threads take part as PyTorch has.

    Args:
        M: float32 or float64.
        start: ``(m,)``, of length 1, in float64.
        near: ``(N, m)`` in float64: guesses at the vectors, or zeros; what is found is written over them.
        residual_at_most: a residual that is taken, relative to θ.
        error_at_most: a bound by Temple's inequality that is taken, relative to θ.
        small: the largest m for which all m steps are made.

    Returns:
        ``(N,)``, in the matrices' dtype.
    """
    matrices = M.detach().contiguous().numpy()
    found = np.empty(len(matrices), matrices.dtype)
    first = matrices.shape[1] if matrices.shape[1] <= small else 3  # step at which to look for the first time
    arguments = matrices, start.numpy(), near.numpy(), residual_at_most, error_at_most, first, found
    threads = min(torch.get_num_threads(), -(-len(matrices) // WORTHWHILE))
    if threads <= 1:
        _largest(*arguments, 0, 1)
        return torch.from_numpy(found)
    with _one_at_a_time:
        allowed = numba.get_num_threads()
        threads = min(threads, allowed)
        numba.set_num_threads(threads)
        try:
            _in_parts(*arguments, threads)
        finally:
            numba.set_num_threads(allowed)
    return torch.from_numpy(found)


@_compiled_for_threads
def _in_parts(matrices, start, near, residual_at_most, error_at_most, first, found, parts):  # type: ignore[no-untyped-def]
    for part in numba.prange(parts):
        _largest(matrices, start, near, residual_at_most, error_at_most, first, found, part, parts)


@_compiled
def _largest(matrices, start, near, residual_at_most, error_at_most, first, found, part, parts):  # type: ignore[no-untyped-def]
    """Every so many matrices from one on: neighbours take about as many steps, and the parts about as long."""
    N, m, n = matrices.shape
    A, V = np.zeros((_padded(m), n)), np.zeros((_padded(m), _padded(m)))
    y, w, overlap, known = np.empty(n), np.empty(len(A)), np.empty(len(V)), np.empty(len(A))
    a, b, s = np.empty(m), np.empty(m), np.empty(len(V))
    for index in range(part, N, parts):
        scale, square = _load(matrices[index], A)
        if scale == 0.0 or scale == np.inf:
            found[index] = scale
            continue
        V[:8] = 0.0
        asked = residual_at_most * _mix(near[index], start, V[0])
        trace, theta, check, k = 0.0, 0.0, first, 0
        while True:
            v, older = V[k], V[max(0, k - 1)]
            _rows_times(v, A, y)
            _times_column(A, y, w)
            alpha, beta, length = 0.0, b[k - 1] if k else 0.0, 0.0
            for i in range(len(w)):
                w[i] /= square
                alpha += v[i] * w[i]
            for i in range(len(w)):
                w[i] -= alpha * v[i] + beta * older[i]
            # What is left is small, and so are its parts along older vectors: taken away earlier, rounding errors grow.
            past = V[: _padded(k + 1)]
            _times_column(past, w, overlap)
            _rows_times(overlap, past, known)
            for i in range(len(w)):
                w[i] -= known[i]
                length += w[i] * w[i]
            a[k] = alpha
            b[k] = math.sqrt(length)
            trace += a[k]
            k += 1
            ended = b[k - 1] <= ENDED * a[0]
            if k >= check or ended:
                theta, residual, gap = _largest_ritz(a, b, k, s)
                apart = gap - max(0.0, 1.0 - trace)
                excess = residual / (asked * theta)
                if apart > 0.0:
                    excess = min(excess, residual * residual / (apart * error_at_most * theta))
                if excess <= 1.0 or ended or k == m:
                    break
                check = min(m, k + max(1, int(0.5 * math.log10(excess))))  # no step is expected to gain two digits
            if k % 8 == 0:
                V[k : k + 8] = 0.0
            newer, unit = V[k], 1.0 / b[k - 1]
            for i in range(len(w)):
                newer[i] = w[i] * unit
        found[index] = math.sqrt(theta * square) * scale
        _rows_times(s, V[: _padded(k)], w)
        near[index] = w[:m]


@_compiled
def _padded(m):  # type: ignore[no-untyped-def]
    """Rows are served eight at a time; those beyond m stay zero."""
    return -(-m // 8) * 8


@_compiled
def _mix(near, start, v):  # type: ignore[no-untyped-def]
    """A start of length 1 near to a guess, with a tenth of the random one: it must have a part along every vector.

    Returns that share, 1 without a guess: the residual has to be smaller by as much, see :mod:`gatelr.kernels.lanczos`.
    """
    product = square = length = 0.0
    for i in range(len(near)):
        product += near[i] * start[i]
        length += near[i] * near[i]
    share = 0.1 if product >= 0.0 else -0.1
    for i in range(len(near)):
        v[i] = near[i] + share * start[i]
        square += v[i] * v[i]
    for i in range(len(near)):
        v[i] /= math.sqrt(square)
    return abs(share) if length > 0.0 else 1.0


@_compiled
def _load(M, A):  # type: ignore[no-untyped-def]
    """Copy M to A, and return the scale that was divided by and the square of A's Frobenius norm.

    The scale is 1 unless squares would leave the range of a number; 0 for nothing but zeros, infinite where an entry
    is not finite.
    """
    m, n = M.shape
    square = 0.0
    for i in range(m):
        entries, copied = M[i], A[i]
        for j in range(n):
            copied[j] = entries[j]
            square += copied[j] * copied[j]
    if 1e-280 < square < 1e280:
        return 1.0, square
    scale = 0.0
    for i in range(m):
        for j in range(n):
            if not math.isfinite(A[i, j]):
                return np.inf, square
            scale = max(scale, abs(A[i, j]))
    if scale == 0.0:
        return scale, square
    square = 0.0
    for i in range(m):
        for j in range(n):
            A[i, j] /= scale
            square += A[i, j] * A[i, j]
    return scale, square


@_compiled
def _rows_times(v, A, y):  # type: ignore[no-untyped-def]
    """y = vᵀA: with eight rows at a time, the sums are read and written an eighth as often."""
    rows, n = A.shape
    y[:] = 0.0
    for i in range(0, rows, 8):
        A0, A1, A2, A3, A4, A5, A6, A7 = A[i], A[i + 1], A[i + 2], A[i + 3], A[i + 4], A[i + 5], A[i + 6], A[i + 7]
        v0, v1, v2, v3, v4, v5, v6, v7 = v[i], v[i + 1], v[i + 2], v[i + 3], v[i + 4], v[i + 5], v[i + 6], v[i + 7]
        for j in range(n):
            y[j] += (
                v0 * A0[j] + v1 * A1[j] + v2 * A2[j] + v3 * A3[j] + v4 * A4[j] + v5 * A5[j] + v6 * A6[j] + v7 * A7[j]
            )


@_compiled
def _times_column(A, y, w):  # type: ignore[no-untyped-def]
    """w = Ay, likewise."""
    rows, n = A.shape
    for i in range(0, rows, 8):
        A0, A1, A2, A3, A4, A5, A6, A7 = A[i], A[i + 1], A[i + 2], A[i + 3], A[i + 4], A[i + 5], A[i + 6], A[i + 7]
        w0 = w1 = w2 = w3 = w4 = w5 = w6 = w7 = 0.0
        for j in range(n):
            w0 += A0[j] * y[j]
            w1 += A1[j] * y[j]
            w2 += A2[j] * y[j]
            w3 += A3[j] * y[j]
            w4 += A4[j] * y[j]
            w5 += A5[j] * y[j]
            w6 += A6[j] * y[j]
            w7 += A7[j] * y[j]
        w[i], w[i + 1], w[i + 2], w[i + 3], w[i + 4], w[i + 5], w[i + 6], w[i + 7] = w0, w1, w2, w3, w4, w5, w6, w7


@_compiled
def _largest_ritz(a, b, k, s):  # type: ignore[no-untyped-def]
    """Largest eigenvalue θ of T, the residual of its vector s, and less than how far the next one lies below it.

    Laguerre's method on the characteristic polynomial: from above all roots it comes down to the largest without
    passing it, and triples its digits with every step.
    """
    reach = square = 0.0
    for j in range(k):
        right = b[j] if j < k - 1 else 0.0
        reach = max(reach, a[j] + right + (b[j - 1] if j else 0.0))
        square += a[j] * a[j] + 2.0 * right * right
    x = min(reach, math.sqrt(square)) * (1.0 + 1e-12)
    gap = x
    for _ in range(50):
        p_older = d_older = e_older = 0.0  # p, p' and p'', by the three-term recurrence
        p, d, e = 1.0, 0.0, 0.0
        for j in range(k):
            shifted = a[j] - x
            coupling = b[j - 1] * b[j - 1] if j else 0.0
            p_newer = shifted * p - coupling * p_older
            d_newer = shifted * d - coupling * d_older - p
            e_newer = shifted * e - coupling * e_older - 2.0 * d
            p_older, d_older, e_older, p, d, e = p, d, e, p_newer, d_newer, e_newer
            if abs(p) < TINY:  # only ratios count, and a product of many distances would leave the range of a number
                p_older, d_older, e_older = p_older / TINY, d_older / TINY, e_older / TINY
                p, d, e = p / TINY, d / TINY, e / TINY
        gap = min(x, abs(2.0 * d / e)) if e != 0.0 else x
        G = d / p
        H = G * G - e / p
        if not 0.0 < G < np.inf:  # on the root, or past it by a rounding error
            break
        step = k / (G + math.sqrt(max(0.0, (k - 1) * (k * H - G * G))))
        x -= step
        if step <= 1e-7 * x:
            break
    s[:] = 0.0
    s[k - 1] = square = 1.0
    for j in range(k - 1, 0, -1):
        s[j - 1] = ((x - a[j]) * s[j] - (b[j] * s[j + 1] if j < k - 1 else 0.0)) / b[j - 1]
        square += s[j - 1] * s[j - 1]
    last = 1.0 / math.sqrt(square)
    for j in range(k):
        s[j] *= last
    return x, b[k - 1] * last, gap
