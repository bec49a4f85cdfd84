r"""Whether a transport favours the directions that the loss asks about (experiment E7).

A transport :math:`M = \sum_i σ_i u_i v_i^\top` takes a push of the state at step k to step t. Its transpose takes the
error :math:`δ_t` back to :math:`M^\top δ_t`, the part of the adjoint :math:`λ_k` that step t sends. Split δ over the
left singular directions, :math:`c_i = (u_i^\top δ)^2 / \|δ\|^2`. Then :math:`M^\top δ` has the share
:math:`σ_i^2 c_i / \sum_j σ_j^2 c_j` of its energy in the right direction :math:`v_i`.

A direction drawn at random has :math:`E\,c_i = 1/n`. So on average a share r/n of it lies in the first r left
directions, and in :math:`E\,\|M^\top δ\|^2` these hold the share :math:`\mathrm{CE}_r`
(:func:`gatelr.anisotropy.energy_concentration`). The mean of the *share* itself is smaller than that, and
:func:`expected_right` has it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from gatelr import anisotropy, arguments

#: Where the integral of :func:`expected_right` is summed, the first and the last logarithm of t and their distance.
#: Outside less than 1e-13 is left, and for n up to 100 the sum over equal steps is off by less.
FIRST, LAST, STEP = -45.0, 65.0, 0.25


class Overlaps(NamedTuple):
    r"""How a direction lies to a transport.

    Attributes:
        left: share of :math:`\|δ\|^2` in the first r left singular directions; by chance r/n.
        right: share of :math:`\|M^\top δ\|^2` in the first r right ones; by chance :func:`expected_right`.
        gain: :math:`n \|M^\top δ\|^2 / (\|M\|_F^2 \|δ\|^2)`, how much more of δ is carried back than of a random
            direction; by chance 1.
    """

    left: Float[Tensor, "*more"]
    right: Float[Tensor, "*more"]
    gain: Float[Tensor, "*more"]


def overlaps(M: Float[Tensor, "*batch n n"], delta: Float[Tensor, "*more n"], r: int) -> Overlaps:
    r"""The shares of a direction, and of what a transport makes of it, in the first r singular directions.

    Args:
        M: transports.
        delta: one direction for each, or several: ``(*more, n)``, where ``*more`` ends with ``*batch``.
        r: how many directions count, from 1 to n. Where :math:`σ_r = σ_{r+1}` they are not determined, and the shares
            are those of one choice.

    Returns:
        Left and right share and gain, ``(*more,)`` each; NaN for a direction or a transport of zeros, and the right
        share also where nothing of δ is carried.

    Raises:
        ValueError: if shapes, dtypes or devices do not fit, values are not finite, or r is not between 1 and n.
        TypeError: if r is no whole number, or what is given no tensor of float32 or float64.

    Example:
        >>> import torch
        >>> from gatelr import alignment
        >>> M = torch.diag(torch.tensor([2.0, 1.0]))
        >>> shares = alignment.overlaps(M, torch.ones(2), r=1)
        >>> [round(float(share), 6) for share in shares]
        [0.5, 0.8, 1.0]
    """
    arguments.tensor("transports", M)
    arguments.tensor("delta", delta)
    r, n = arguments.whole("r", r), M.shape[-1] if M.ndim else 0
    if M.ndim < 2 or M.shape[-2] != n or 0 in M.shape:
        raise ValueError(f"got transports of shape {tuple(M.shape)}, expected (*batch, n, n) with no axis empty")
    if delta.shape[max(0, delta.ndim - M.ndim + 1) :] != M.shape[:-1] or 0 in delta.shape:
        raise ValueError(
            f"got delta of shape {tuple(delta.shape)} for transports of shape {tuple(M.shape)}, expected "
            f"{tuple(M.shape[:-1])}, perhaps with more axes in front"
        )
    if M.dtype != delta.dtype or M.device != delta.device:
        raise ValueError(
            f"got transports in {M.dtype} on {M.device} and delta in {delta.dtype} on {delta.device}, expected the same"
        )
    if not 1 <= r <= n:
        raise ValueError(f"got r={r} for {n} directions, expected r from 1 to their number: the first is counted as 1")
    arguments.finite("the transports", M, "look at the trajectory first")
    arguments.finite("delta", delta, "look at the loss first")
    # relative to the largest entry first, so that squares neither overflow nor underflow
    U, s, _ = torch.linalg.svd(_scaled(M.double(), (-2, -1)))
    c = (U.mT @ _scaled(delta.double(), (-1,)).unsqueeze(-1)).squeeze(-1).square()
    c = c / c.sum(-1, keepdim=True)
    energy = s.square() / s.square().sum(-1, keepdim=True)
    carried = energy * c
    left = c[..., :r].sum(-1) + 0 * energy.sum(-1)  # a transport of zeros has no directions
    right = carried[..., :r].sum(-1) / carried.sum(-1)
    return Overlaps(*(each.to(M.dtype) for each in (left, right, n * carried.sum(-1))))


def _scaled(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Over its largest entry; zeros stay as they are."""
    largest = x.abs().amax(axes, keepdim=True)
    return x / largest.where(largest > 0, 1)


def expected_right(s: Float[Tensor, "*batch n"], r: int) -> Float[Tensor, "*batch"]:
    r"""The mean share of :math:`M^\top δ` in the first r right singular directions, for a random direction δ.

    .. math::
        E \frac{\sum_{i \le r} σ_i^2 c_i}{\sum_i σ_i^2 c_i}
        = \int_0^\infty \sum_{i \le r} \frac{σ_i^2}{1 + 2 t σ_i^2} \prod_j (1 + 2 t σ_j^2)^{-1/2} \, dt

    The direction of n independent normal numbers :math:`z_i` is uniform, so :math:`c_i = z_i^2 / \|z\|^2`, and
    :math:`1/y = \int_0^\infty e^{-ty} dt`. For n = 2, r = 1 it is :math:`σ_1 / (σ_1 + σ_2)`, while
    :math:`\mathrm{CE}_1 = σ_1^2 / (σ_1^2 + σ_2^2)`.

    Args:
        s: all n singular values of a transport in descending order.
        r: how many directions count, from 1 to n.

    Returns:
        ``(*batch,)``, within 1e-12 for float64; NaN if all values are 0.

    Raises:
        ValueError: as :func:`gatelr.anisotropy.anisotropy_index`.
        TypeError: as :func:`gatelr.anisotropy.anisotropy_index`.

    Example:
        >>> import torch
        >>> from gatelr import alignment
        >>> s = torch.tensor([2.0, 1.0], dtype=torch.float64)
        >>> round(float(alignment.expected_right(s, r=1)), 9)
        0.666666667
    """
    nothing = anisotropy.energy_concentration(s, r).isnan()
    scaled = s.double() / s[..., :1].double().where(s[..., :1] > 0, 1)
    steps = torch.arange(round((LAST - FIRST) / STEP) + 1, dtype=torch.float64, device=s.device)
    t = (FIRST + STEP * steps).exp().reshape(-1, *[1] * s.ndim)
    y = 2 * t * scaled.square()
    inner = (y / (1 + y))[..., :r].sum(-1) / 2 * torch.exp(-torch.log1p(y).sum(-1) / 2)
    return (STEP * inner.sum(0)).masked_fill(nothing, math.nan).to(s.dtype)
