r"""Time-ordered products of Jacobians: how a push of the state at step k arrives at step t.

.. math:: M_{t,k} = J_t J_{t-1} \cdots J_{k+1}, \qquad M_{k,k} = I, \qquad \ell = t - k

The newest factor stands on the left. Index ``j`` of ``J`` holds :math:`J_{j+1}`, as :mod:`gatelr.jacobian` returns it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from gatelr import lanczos

#: What may be left out of a product, relative to its largest row, in the hope that no later factor makes it matter.
NEGLIGIBLE = 1e-4


def windows(factors: Tensor, lag: int, combine: Callable[[Tensor, Tensor], Tensor], unit: Tensor) -> Tensor:
    r"""The time-ordered product of every window of ``lag`` consecutive factors, by doubling.

    :math:`M^{(a+b)}_t = M^{(a)}_t M^{(b)}_{t-a}` needs about :math:`2 \log_2 \ell` batched products instead of
    :math:`\ell`.

    Args:
        factors: ``(T, ...)``, oldest first.
        lag: number of factors in a window, 0 … T.
        combine: how a newer product (first argument) meets an older one.
        unit: the product of no factors, broadcast to one entry of ``factors``.

    Returns:
        ``(T - lag + 1, ...)``; index ``i`` belongs to the window that ends with step t = lag + i.

    Raises:
        ValueError: for a lag that is negative or longer than the sequence.
    """
    T = factors.shape[0]
    if not 0 <= lag <= T:
        raise ValueError(f"got lag={lag}, expected a lag from 0 to the {T} steps of the sequence")
    product, length = unit.expand(T + 1, *factors.shape[1:]), 0
    power, width, rest = factors, 1, lag
    while rest:
        if rest & 1:
            # the window so far holds the newest factors, the power the older ones
            product = power if not length else combine(product[width:], power[: T - length - width + 1])
            length += width
        rest >>= 1
        if rest:
            power = combine(power[width:], power[: T - 2 * width + 1])
            width *= 2
    return product.clone() if lag < 2 else product  # never a view of the caller's tensor


def products(J: Float[Tensor, "T *batch n n"], lag: int) -> Float[Tensor, "W *batch n n"]:
    r"""Transport over a fixed lag, :math:`M_{t,t-\ell}` for t = ℓ … T.

    Args:
        J: step Jacobians.
        lag: ℓ, from 0 to T.

    Returns:
        ``(T - lag + 1, *batch, n, n)``; index ``i`` holds :math:`M_{\ell+i,\,i}`. Lag 0 gives identities.

    Raises:
        ValueError: for a lag that is negative or longer than the sequence, or Jacobians that are not square.

    Example:
        >>> import torch
        >>> from gatelr import transport
        >>> generator = torch.Generator().manual_seed(0)
        >>> J = torch.randn(5, 3, 4, 4, generator=generator)  # T = 5, a batch of 3, n = 4
        >>> M = transport.products(J, lag=2)
        >>> M.shape
        torch.Size([4, 3, 4, 4])
        >>> torch.allclose(M[0], J[1] @ J[0])  # the newest factor stands on the left
        True
    """
    _square(J)
    return windows(J, lag, torch.matmul, torch.eye(J.shape[-1], dtype=J.dtype, device=J.device))


def lags(J: Float[Tensor, "T *batch n n"], longest: int | None = None) -> Iterator[tuple[int, Tensor]]:
    r"""The products of every lag in turn, 1, 2, …, each from the one before by a single batched product.

    .. math:: M_{t,\,t-\ell} = M_{t,\,t-\ell+1} J_{t-\ell+1}

    Args:
        J: step Jacobians.
        longest: the last lag; T by default.

    Yields:
        The lag ℓ and ``(T - ℓ + 1, *batch, n, n)``, as :func:`products`.

    Raises:
        ValueError: as :func:`products`.
    """
    _square(J)
    T = J.shape[0]
    longest = T if longest is None else longest
    if not 0 <= longest <= T:
        raise ValueError(f"got longest={longest}, expected a lag from 0 to the {T} steps of the sequence")
    M = J
    for lag in range(1, longest + 1):
        if lag > 1:
            M = M[1:] @ J[: T - lag + 1]
        yield lag, M


def sensitivities(J: Float[Tensor, "T *batch n n"], *, chunk: int | None = None) -> Float[Tensor, "T+1 T+1 *batch"]:
    r"""The norm of every transport, :math:`S_{t,k} = \|M_{t,k}\|_2`, within 1e-6.

    That is beside the rounding of the products, in the precision of ``J``.

    Args:
        J: step Jacobians.
        chunk: sequences (entries of ``*batch``) whose products are held at a time; some four times
            ``chunk * T * n * n`` numbers are in memory. By default as many as make 32 MB.

    Returns:
        ``(T+1, T+1, *batch)``: row t, column k; 1 on the diagonal, 0 above it; infinite where a product overflows.

    Raises:
        ValueError: if the Jacobians are not square or not finite, or ``chunk`` is below 1.

    Example:
        >>> import torch
        >>> from gatelr import transport
        >>> leak = torch.tensor([0.5, 0.25])  # of two neurons
        >>> J = torch.diag(leak).expand(3, 2, 2)  # the same at three steps
        >>> transport.sensitivities(J)
        tensor([[1.0000, 0.0000, 0.0000, 0.0000],
                [0.5000, 1.0000, 0.0000, 0.0000],
                [0.2500, 0.5000, 1.0000, 0.0000],
                [0.1250, 0.2500, 0.5000, 1.0000]])
    """
    _square(J)
    if not J.isfinite().all():
        raise ValueError("got NaN or infinity in the Jacobians, expected finite numbers: look at the trajectory first")
    T, n = J.shape[0], J.shape[-1]
    sequences = J.reshape(T, -1, n, n)
    chunk = max(1, 2**25 // (T * n * n * J.element_size())) if chunk is None else chunk
    if chunk < 1:
        raise ValueError(f"got chunk={chunk}, expected at least 1 sequence at a time")
    S = J.new_zeros(T + 1, T + 1, sequences.shape[1])
    S[range(T + 1), range(T + 1)] = 1
    for start in range(0, sequences.shape[1], chunk):
        part = slice(start, start + chunk)
        _sweep(sequences[:, part].contiguous(), S[..., part])
    return S.reshape(T + 1, T + 1, *J.shape[1:-2])


def _sweep(J: Float[Tensor, "T B n n"], S: Float[Tensor, "T+1 T+1 B"]) -> None:
    r"""Fill S by one sweep over the lags, with products that lose rows as they lose rank.

    Over m steps most directions die out. By a QR decomposition :math:`\|M x\|^2 = \|R x\|^2`; of R = (A; E) we keep the
    rows A, and later factors act on those alone. What is lost is bounded by norms that are known by then,

    .. math:: 0 \le \|M_{t,k}\|^2 - \|A M_{t-m,k}\|^2 \le \|E\|^2 \, S_{t-m,k}^2

    summed over all m at which rows were left out. Where that is too much, the sweep goes on from whole products.
    """
    T = len(J)
    steps = 3 * lanczos.STEPS  # short lags need the most
    negligible, turn = NEGLIGIBLE, 12
    left_out: list[tuple[int, Tensor]] = []
    M = J
    for lag in range(1, T + 1):
        if lag > 1:
            M = M[1:] @ J[: T - lag + 1]
        if lag >= turn and M.shape[-2] > lanczos.SMALLEST:
            M, lost = _without_negligible_rows(M, negligible)
            left_out.append((lag, lost))
            turn = lag + lag // 2
        norms, steps = lanczos.spectral_norms(M.flatten(0, 1), steps)
        # of every window the factors older than those m; the square root of a sum of squares is below the sum
        bounds = [lost[lag - m :] * S.diagonal(m - lag).mT[: T + 1 - lag] for m, lost in left_out]
        if bounds and not bool((sum(bounds) <= 1e-3 * norms.view(M.shape[:2])).all()):
            M, left_out, negligible = products(J, lag), [], negligible / 1000
            norms, steps = lanczos.spectral_norms(M.flatten(0, 1), steps)
        S.diagonal(-lag).mT.copy_(norms.view(M.shape[:2]))


def _without_negligible_rows(M: Tensor, negligible: float) -> tuple[Tensor, Tensor]:
    """The leading rows of every R in M = QR, as many for all, and a bound on the norms of the rows left out."""
    R = torch.linalg.qr(M.double(), mode="r").R
    size = torch.linalg.vector_norm(R, dim=-1)
    rest = size.flip(-1).cumsum(-1).flip(-1)  # above the norm of this row and all below, without squares that underflow
    needed = int((~(rest <= negligible * size.amax(-1, keepdim=True))).sum(-1).max())  # a NaN is not negligible
    kept = max(lanczos.SMALLEST, -(-needed // 4) * 4)
    if kept >= M.shape[-2]:
        return M, rest.new_zeros(M.shape[:2])
    return R[..., :kept, :].to(M.dtype, copy=True), rest[..., kept]


def spectral_norm(M: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch"]:
    """The largest singular value of every matrix, by :mod:`gatelr.lanczos`.

    Args:
        M: any matrices.

    Returns:
        ``(*batch,)``; 0 for a zero matrix, infinite for one with an entry that is not finite.
    """
    return lanczos.spectral_norms(M.reshape(-1, *M.shape[-2:]))[0].reshape(M.shape[:-2])


def spectra(J: Float[Tensor, "T *batch n n"], at: Sequence[int]) -> dict[int, Tensor]:
    """All singular values of the transports over the given lags.

    Args:
        J: step Jacobians.
        at: the lags wanted.

    Returns:
        For each lag ``(T - lag + 1, *batch, n)``, in descending order.

    Raises:
        ValueError: as :func:`products`.
    """
    return {lag: torch.linalg.svdvals(products(J, lag)) for lag in at}


def _square(J: Tensor) -> None:
    if J.ndim < 3 or J.shape[-1] != J.shape[-2] or J.shape[0] == 0:
        raise ValueError(
            f"got Jacobians of shape {tuple(J.shape)}, expected (T, *batch, n, n) with T of at least 1: "
            "pass what jacobian.blocks returned"
        )
