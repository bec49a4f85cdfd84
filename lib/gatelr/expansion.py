r"""Products of Jacobians that are a sum of two parts, expanded in the second part to any order.

For :math:`J_j = A_j + ε B_j` the product is :math:`M(ε) = \sum_r ε^r M^{(r)}` (claim C3), and what is left after
order K obeys a recursion of its own (C4), so that it is known to full relative precision however small it is.
Factors come oldest first, ``(L, *batch, n, n)``; L is the lag.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from gatelr import arguments
from gatelr.jacobian import Terms, check_terms

#: What :func:`split` can take for the small part, which is all but the leak or the gate term alone.
SPLITTINGS = ("leak", "gate")


def split(terms: Terms, splitting: str) -> tuple[Tensor, Tensor]:
    r"""The two parts of every Jacobian (claim C5).

    ``"leak"``: :math:`A = \Lambda, B = R + G`, how time-scales alone carry gradients. ``"gate"``:
    :math:`A = \Lambda + R, B = G`, what the gate's own sensitivity adds.

    Args:
        terms: from :func:`gatelr.jacobian.terms`.
        splitting: ``"leak"`` or ``"gate"``.

    Returns:
        ``(A, B)``, each ``(T, *batch, n, n)``; their sum is J.

    Raises:
        ValueError: for an unknown splitting, or terms that do not fit each other.
        TypeError: for what are no terms.

    Example:
        >>> import torch
        >>> from gatelr import expansion
        >>> from gatelr.jacobian import Terms
        >>> generator = torch.Generator().manual_seed(0)
        >>> terms = Terms(*torch.randn(3, 5, 2, 2, generator=generator))
        >>> A, B = expansion.split(terms, "gate")
        >>> bool((B == terms.gate).all()), torch.allclose(A + B, sum(terms))
        (True, True)
    """
    check_terms(terms)
    if isinstance(splitting, str) and splitting == "leak":
        return terms.leak, terms.recurrent + terms.gate
    if isinstance(splitting, str) and splitting == "gate":
        return terms.leak + terms.recurrent, terms.gate
    raise ValueError(f"got splitting {splitting!r}, expected one of {', '.join(map(repr, SPLITTINGS))}")


def orders(
    A: Float[Tensor, "L *batch n n"], B: Float[Tensor, "L *batch n n"], order: int
) -> Float[Tensor, "K *batch n n"]:
    r"""The coefficients of the expansion up to an order, in one sweep (claim C3).

    .. math:: M^{(r)}_j = A_j M^{(r)}_{j-1} + B_j M^{(r-1)}_{j-1}, \qquad M^{(0)}_0 = I

    Args:
        A: unperturbed factors, oldest first.
        B: perturbing factors.
        order: K, at least 0.

    Returns:
        ``(K+1, *batch, n, n)``; index r holds :math:`M^{(r)}`, the sum of all products with r factors B.

    Raises:
        ValueError: for a negative order or factors that do not fit each other.
        TypeError: for an order that is no whole number, or factors that are no tensors of float32 or float64.

    Example:
        >>> import torch
        >>> from gatelr import expansion
        >>> generator = torch.Generator().manual_seed(0)
        >>> A, B = torch.randn(2, 5, 3, 3, generator=generator).double()  # five factors
        >>> M = expansion.orders(A, B, order=5)
        >>> M.shape
        torch.Size([6, 3, 3])
        >>> torch.allclose(M[0], torch.linalg.multi_dot(A.flip(0).unbind()))  # no factor B
        True
        >>> product = torch.linalg.multi_dot((A + B).flip(0).unbind())
        >>> torch.allclose(M.sum(0), product)  # all orders together
        True
    """
    order = _checked(A, B, order)
    M = _no_factors(A, order)
    for A_j, B_j in zip(A.unbind(), B.unbind(), strict=True):
        M = _next_orders(A_j, B_j, M)
    return M


def orders_at(A: Tensor, B: Tensor, order: int, at: Collection[int]) -> Iterator[tuple[int, Tensor]]:
    r"""The orders of several lags from one sweep, all from the same first factor.

    Args:
        A: unperturbed factors ``(L, *batch, n, n)``, or ``(L, *batch, n)`` where they are diagonal, which saves time.
        B: perturbing factors ``(L, *batch, n, n)``.
        order: K, at least 0.
        at: the lags wanted, 1 … L.

    Yields:
        Each lag ℓ in ascending order and the ``(K+1, *batch, n, n)`` that :func:`orders` gives for ``A[:ℓ], B[:ℓ]``.

    Raises:
        ValueError: as :func:`orders`, or for a lag outside 1 … L; when the first is asked for.
        TypeError: as :func:`orders`, or for lags that are no whole numbers.
    """
    arguments.tensor("factors A", A)
    arguments.tensor("factors B", B)
    diagonal = A.shape == B.shape[:-1]
    order = _checked(A.unsqueeze(-1).expand_as(B) if diagonal else A, B, order)
    at = set(arguments.wholes("at", at))
    if not at or not 1 <= min(at) <= max(at) <= len(B):
        raise ValueError(f"got lags {sorted(at)}, expected at least one, each from 1 to the {len(B)} factors")
    M = _no_factors(B, order)
    for lag, (A_j, B_j) in enumerate(zip(A[: max(at)], B[: max(at)], strict=True), 1):
        M = _next_orders(A_j, B_j, M)
        if lag in at:
            yield lag, M


def remainder(
    A: Float[Tensor, "L *batch n n"], B: Float[Tensor, "L *batch n n"], order: int, eps: float
) -> Float[Tensor, "*batch n n"]:
    r"""What the expansion up to an order leaves out, exactly (claim C4).

    .. math:: \mathcal{E}_K(j) = (A_j + ε B_j) \mathcal{E}_K(j-1) + ε^{K+1} B_j M^{(K)}_{j-1},\; \mathcal{E}_K(0) = 0

    No nearly equal numbers are subtracted: the result has full relative precision down to ε = 1e-12 and below, where
    :math:`M(ε) - \sum_r ε^r M^{(r)}` would be nothing but rounding.

    Args:
        A, B, order: as for :func:`orders`.
        eps: ε.

    Returns:
        :math:`M(ε) - \sum_{r \le K} ε^r M^{(r)}`, ``(*batch, n, n)``.

    Raises:
        ValueError: as :func:`orders`, or for an ε that is not finite.
        TypeError: as :func:`orders`, or for an ε that is no number.

    Example:
        >>> import torch
        >>> from gatelr import expansion
        >>> generator = torch.Generator().manual_seed(0)
        >>> A, B = torch.randn(2, 5, 3, 3, generator=generator).double()  # five factors
        >>> M = expansion.orders(A, B, order=1)
        >>> R = expansion.remainder(A, B, order=1, eps=0.1)
        >>> product = torch.linalg.multi_dot((A + 0.1 * B).flip(0).unbind())
        >>> torch.allclose(M[0] + 0.1 * M[1] + R, product)
        True
    """
    order, eps = _checked(A, B, order), arguments.real("eps", eps)
    M = _no_factors(A, order)
    R = torch.zeros_like(A[0])
    for A_j, B_j in zip(A.unbind(), B.unbind(), strict=True):
        R = (A_j + eps * B_j) @ R + eps ** (order + 1) * (B_j @ M[order])
        M = _next_orders(A_j, B_j, M)
    return R


def remainder_bound(
    A: Float[Tensor, "L *batch n n"], B: Float[Tensor, "L *batch n n"], order: int, eps: float
) -> Float[Tensor, "*batch"]:
    r"""A number that the spectral norm of the remainder cannot exceed (claim C4).

    The sweep of :func:`remainder` on the norms :math:`a_j = \|A_j\|_2, b_j = \|B_j\|_2`: by the triangle inequality and
    :math:`\|XY\| \le \|X\| \|Y\|` every line of it is an upper bound of the line that it replaces.

    Args:
        A, B, order: as for :func:`orders`.
        eps: ε.

    Returns:
        :math:`e_K \ge \|\mathcal{E}_K\|_2`, ``(*batch,)``.

    Raises:
        ValueError: as :func:`remainder`, or for factors that are not finite.
        TypeError: as :func:`remainder`.

    Example:
        >>> import torch
        >>> from gatelr import expansion
        >>> generator = torch.Generator().manual_seed(0)
        >>> A, B = torch.randn(2, 5, 3, 3, generator=generator).double()  # five factors
        >>> R = expansion.remainder(A, B, order=1, eps=0.1)
        >>> bound = expansion.remainder_bound(A, B, order=1, eps=0.1)
        >>> bool(torch.linalg.matrix_norm(R, 2) <= bound)
        True
    """
    order, eps = _checked(A, B, order), arguments.real("eps", eps)
    for what, factors in (("factors A", A), ("factors B", B)):
        arguments.finite(what, factors, "they have no norm")
    a, b = (torch.linalg.matrix_norm(factor, 2) for factor in (A, B))
    m = a.new_zeros(order + 1, *a.shape[1:])
    m[0] = 1
    rho = torch.zeros_like(a[0])
    for a_j, b_j in zip(a.unbind(), b.unbind(), strict=True):
        rho = (a_j + abs(eps) * b_j) * rho + abs(eps) ** (order + 1) * b_j * m[order]
        shifted = torch.cat([torch.zeros_like(m[:1]), m[:-1]])
        m = a_j * m + b_j * shifted
    return rho


def _no_factors(A: Tensor, order: int) -> Tensor:
    """All orders of the product of no factors: the identity, and nothing of higher order."""
    M = A.new_zeros(order + 1, *A.shape[1:])
    M[0] = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    return M


def _next_orders(A_j: Tensor, B_j: Tensor, M: Tensor) -> Tensor:
    """All orders one step on; order 0 has no order below it."""
    out = A_j @ M if A_j.ndim == B_j.ndim else A_j.unsqueeze(-1) * M
    if len(M) > 1:
        out[1:] += B_j @ M[:-1]
    return out


def _checked(A: Tensor, B: Tensor, order: int) -> int:
    """The order, as an int."""
    arguments.tensor("factors A", A)
    arguments.tensor("factors B", B)
    if A.shape != B.shape or A.ndim < 3 or A.shape[-1] != A.shape[-2] or 0 in A.shape:
        raise ValueError(
            f"got factors A of shape {tuple(A.shape)} and B of shape {tuple(B.shape)}, expected the same shape "
            "(L, *batch, n, n) for both, no axis empty, oldest factor first"
        )
    if A.dtype != B.dtype or A.device != B.device:
        raise ValueError(
            f"got A in {A.dtype} on {A.device} and B in {B.dtype} on {B.device}, expected the same for both"
        )
    if (order := arguments.whole("order", order)) < 0:
        raise ValueError(f"got order={order}, expected at least 0")
    return order
