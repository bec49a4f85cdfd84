r"""Time-ordered products of Jacobians: how a push of the state at step k arrives at step t.

.. math:: M_{t,k} = J_t J_{t-1} \cdots J_{k+1}, \qquad M_{k,k} = I, \qquad \ell = t - k

The newest factor stands on the left. Index ``j`` of ``J`` holds :math:`J_{j+1}`, as :mod:`gatelr.jacobian` returns it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from gatelr import arguments
from gatelr.kernels import build, lanczos
from gatelr.kernels.compiled import tall_products

#: Bytes of the Jacobians whose products are held at a time, few enough to stay in a processor's cache with them.
CACHE = 2**23


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
        ValueError: for a lag that is negative or longer than the sequence, or a unit that does not fit a factor.
        TypeError: for a lag that is no whole number, or what is no tensor or no function.
    """
    arguments.tensor("factors", factors)
    arguments.tensor("the unit", unit)
    if not callable(combine):
        raise TypeError(f"got {arguments.kind(combine)} to combine with, expected a function of two tensors")
    lag = arguments.whole("lag", lag)
    if factors.ndim < 1 or unit.shape != factors.shape[1:][factors.ndim - 1 - unit.ndim :]:
        raise ValueError(
            f"got factors of shape {tuple(factors.shape)} and a unit of shape {tuple(unit.shape)}, expected (T, ...) "
            "and the shape of one factor, or of its last axes"
        )
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
        TypeError: for a lag that is no whole number, or Jacobians that are no tensor of float32 or float64.

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
    arguments.jacobians("Jacobians", J)
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
        ValueError: as :func:`products`, when the first is asked for.
        TypeError: likewise.
    """
    arguments.jacobians("Jacobians", J)
    T = J.shape[0]
    longest = T if longest is None else arguments.whole("longest", longest)
    if not 0 <= longest <= T:
        raise ValueError(f"got longest={longest}, expected a lag from 0 to the {T} steps of the sequence")
    M = J
    for lag in range(1, longest + 1):
        if lag > 1:
            M = M[1:] @ J[: T - lag + 1]
        yield lag, M


def sensitivities(J: Float[Tensor, "T *batch n n"], *, memory: int | None = None) -> Float[Tensor, "T+1 T+1 *batch"]:
    r"""The norm of every transport, :math:`S_{t,k} = \|M_{t,k}\|_2`, within 1e-6.

    That is beside the rounding of the products, in the precision of ``J``.

    Args:
        J: step Jacobians.
        memory: bytes that may be held at a time beside ``J`` and what is returned. Fewer make it slower, and change no
            bit of a compiled outcome. By default as many sequences (entries of ``*batch``) are served together as
            stay in a processor's cache, one at least.

    Returns:
        ``(T+1, T+1, *batch)``: row t, column k; 1 on the diagonal, 0 above it; infinite where a product overflows.

    Raises:
        ValueError: if the Jacobians are not square or not finite, or ``memory`` does not suffice for a single product.
        TypeError: for Jacobians that are no tensor of float32 or float64, or a memory that is no whole number.

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
    arguments.jacobians("Jacobians", J)
    arguments.finite("the Jacobians", J, "look at the trajectory first")
    T, n = J.shape[0], J.shape[-1]
    sequences = J.reshape(T, -1, n, n)
    most, rows = max(1, CACHE // (T * n * n * J.element_size())), T
    if memory is not None:
        rows = _rows(arguments.whole("memory", memory), J)
        most, rows = max(1, rows // T), min(rows, T)
    together = min(most, sequences.shape[1])
    S = J.new_zeros(T + 1, T + 1, sequences.shape[1])
    S[range(T + 1), range(T + 1)] = 1
    places = sequences.new_empty(2, rows * together, n, n)
    for start in range(0, sequences.shape[1], most):
        part = slice(start, start + most)
        for first in range(0, T, rows):
            _sweep(sequences[:, part].transpose(0, 1), first, min(first + rows, T), places, S[..., part])
    return S.reshape(T + 1, T + 1, *J.shape[1:-2])


def _rows(memory: int, J: Tensor) -> int:
    """Products of one column of S for which so many bytes suffice: each in two places, with its vectors found last."""
    n = J.shape[-1]
    each, once = 2 * n * n * J.element_size() + 32 * n + 64, 0
    if build.serves(J):
        once = torch.get_num_threads() * 8 * (n + 8) * (3 * n + 64)  # what threads of the compiled process work with
    else:
        each += 64 * n * n  # Gram matrices and their factors, in float64
    if memory < once + each:
        raise ValueError(f"got memory={memory}, expected at least {once + each} bytes, which one product needs")
    return (memory - once) // each


def _sweep(
    J: Float[Tensor, "B T n n"], first: int, last: int, places: Float[Tensor, "2 N n n"], S: Float[Tensor, "T+1 T+1 B"]
) -> None:
    """Fill rows ``first + 1`` to ``last`` of S a column at a time, from the last column.

    All windows that begin with step k + 1 have that factor in common, so they are one tall product for each sequence.
    The products of one column come to lie in one place, of the next in the other.
    """
    B, _, n, _ = J.shape
    M = J[:, :0]
    near = J.new_zeros(B, 0, n, dtype=torch.float64)  # by the step at which a window ends, the vector found last
    for k in reversed(range(last)):
        begins, count = k >= first, last - max(k, first)
        older, M = M, places[k % 2, : B * count].view(B, count, n, n)
        tall_products(older.flatten(1, 2), J[:, k], M[:, begins:].flatten(1, 2))
        if begins:  # a window of one step, of which nothing is known yet
            M[:, 0] = J[:, k]
            near = torch.nn.functional.pad(near, (0, 0, 1, 0))
        norms = lanczos.spectral_norms(M.flatten(0, 1), near.flatten(0, 1))
        S[last - count + 1 : last + 1, k] = norms.view(B, count).T


def spectral_norm(M: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch"]:
    """The largest singular value of every matrix, by :mod:`gatelr.kernels.lanczos`.

    Args:
        M: any square matrices.

    Returns:
        ``(*batch,)``; 0 for a zero matrix, infinite for one with an entry that is not finite.

    Raises:
        ValueError: if they are not square.
        TypeError: for what is no tensor of float32 or float64.
    """
    arguments.tensor("matrices", M)
    if M.ndim < 2 or M.shape[-1] != M.shape[-2] or 0 in M.shape:
        raise ValueError(f"got matrices of shape {tuple(M.shape)}, expected (*batch, n, n) with no axis empty")
    return lanczos.spectral_norms(M.reshape(-1, *M.shape[-2:])).reshape(M.shape[:-2])


def spectra(J: Float[Tensor, "T *batch n n"], at: Sequence[int], *, memory: int | None = None) -> dict[int, Tensor]:
    """All singular values of the transports over the given lags.

    Args:
        J: step Jacobians.
        at: the lags wanted.
        memory: bytes that may be held at a time beside ``J`` and what is returned. By default all sequences (entries of
            ``*batch``) are served together.

    Returns:
        For each lag ``(T - lag + 1, *batch, n)``, in descending order.

    Raises:
        ValueError: as :func:`products`, if ``memory`` does not suffice for a single sequence, if the Jacobians are not
            finite, or if a product of them overflows.
        TypeError: as :func:`products`, or for lags and a memory that are no whole numbers.
    """
    arguments.jacobians("Jacobians", J)
    arguments.finite("the Jacobians", J, "look at the trajectory first")
    at = arguments.wholes("at", at)
    T, n = J.shape[0], J.shape[-1]
    sequences = J.reshape(T, -1, n, n)
    # doubling holds a product and a power, and makes the next of one of them; decompositions are made in copies
    each, together = 4 * (T + 1) * n * (n + 2) * J.element_size(), max(1, sequences.shape[1])
    if memory is not None:
        memory = arguments.whole("memory", memory)
        if memory < each:
            raise ValueError(f"got memory={memory}, expected at least {each} bytes, which one sequence needs")
        together = memory // each
    parts = sequences.split(together, 1)
    values = {}
    for lag in at:
        s = J.new_empty(max(0, T - lag + 1), sequences.shape[1], n)
        for part, out in zip(parts, s.split(together, 1), strict=True):
            M = products(part, lag)
            arguments.finite(f"products over {lag} steps", M, "take shorter lags, or Jacobians in float64")
            out.copy_(torch.linalg.svdvals(M))
        values[lag] = s.reshape(len(s), *J.shape[1:-2], n)
    return values
