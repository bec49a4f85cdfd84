r"""How unequal the directions are: of a transport over many steps, and of the updates that a batch asks for.

Everything is read from singular values :math:`σ_1 ≥ σ_2 ≥ … ≥ σ_n ≥ 0`, those of a product of Jacobians
(:func:`gatelr.transport.spectra`) or those of the gradients of many sequences (:func:`update_spectrum`). All measures
are free of scale. A spectrum of zeros only has no direction, and every measure of it is NaN.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from gatelr import arguments


def anisotropy_index(s: Float[Tensor, "*batch n"], r: int) -> Float[Tensor, "*batch"]:
    r"""The first singular value over the r-th, :math:`\mathrm{AI}_r = σ_1 / σ_r` (experiment E2).

    Args:
        s: singular values in descending order.
        r: which one to compare with, counted from 1 to n.

    Returns:
        ``(*batch,)``, at least 1. Infinity if σ_r is 0, for then the r-th direction carries nothing, and no small
        number is added that would hide it; NaN if all are 0.

    Raises:
        ValueError: if r is not between 1 and n, or the values are negative, not finite or not in descending order.
        TypeError: if r is no whole number, or the values are no tensor of float32 or float64.

    Example:
        >>> import torch
        >>> from gatelr import anisotropy
        >>> s = torch.tensor([[4.0, 2.0, 1.0], [3.0, 3.0, 3.0]])
        >>> anisotropy.anisotropy_index(s, r=2)
        tensor([2., 1.])
    """
    _checked(s, r)
    return s[..., 0] / s[..., r - 1]


def energy_concentration(s: Float[Tensor, "*batch n"], r: int) -> Float[Tensor, "*batch"]:
    r"""The share of the first r directions, :math:`\mathrm{CE}_r = \sum_{i≤r} σ_i^2 / \sum_i σ_i^2` (experiment E2).

    Args:
        s: all n singular values in descending order: with some left out, the share would be of the rest only.
        r: how many directions to count, from 1 to n.

    Returns:
        ``(*batch,)``, from r/n to 1; NaN if all values are 0.

    Raises:
        ValueError: as :func:`anisotropy_index`.
        TypeError: as :func:`anisotropy_index`.

    Example:
        >>> import torch
        >>> from gatelr import anisotropy
        >>> s = torch.tensor([[2.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
        >>> anisotropy.energy_concentration(s, r=2)  # 5/6 of it, and the least there can be
        tensor([0.8333, 0.5000])
    """
    _checked(s, r)
    energy = _scaled(s).square()
    return energy[..., :r].sum(-1) / energy.sum(-1)


def participation_ratio(s: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
    r"""How many directions share the energy, :math:`(\sum_i σ_i^2)^2 / \sum_i σ_i^4`.

    Args:
        s: singular values in descending order.

    Returns:
        ``(*batch,)``, from 1 (one direction) to n (all alike); NaN if all values are 0.

    Raises:
        ValueError: if the values are negative, not finite or not in descending order.
        TypeError: if they are no tensor of float32 or float64.
    """
    _checked(s)
    energy = _scaled(s).square()
    return energy.sum(-1).square() / energy.square().sum(-1)


def effective_rank(s: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
    r"""The effective rank (Roy & Vetterli 2007), :math:`\exp(-\sum_i p_i \ln p_i)` with :math:`p_i = σ_i / \sum_j σ_j`.

    Args:
        s: singular values in descending order.

    Returns:
        As :func:`participation_ratio`.

    Raises:
        ValueError: as :func:`participation_ratio`.
        TypeError: as :func:`participation_ratio`.
    """
    _checked(s)
    share = _scaled(s)
    share = share / share.sum(-1, keepdim=True)
    return torch.special.entr(share).sum(-1).exp()


def sample_matrix(gradients: dict[str, Tensor], batch_axes: int = 1) -> Float[Tensor, "*batch P"]:
    """Per-sample gradients of several parameters as one matrix, a row for each sample.

    Args:
        gradients: by parameter name, each with the batch axes in front, ``(*batch, ...)``, as
            :func:`gatelr.adjoint.gradients` returns them per sample; add the readout's to have all parameters.
        batch_axes: how many axes stand in front: 1 for a batch (B,), 2 for replicas with a batch each (S, B).

    Returns:
        ``(*batch, P)``, in the order of the dictionary.

    Raises:
        ValueError: if there are no gradients, or their batch axes, dtypes or devices differ.
        TypeError: if they are no dictionary of tensors, or the number of axes is not whole.
    """
    if not isinstance(gradients, dict):
        raise TypeError(f"got {arguments.kind(gradients)}, expected a dictionary of gradients by parameter name")
    for name, gradient in gradients.items():
        arguments.tensor(f"the gradient of {name}", gradient)
    batch_axes = arguments.whole("batch_axes", batch_axes)
    shapes = {name: tuple(gradient.shape[:batch_axes]) for name, gradient in gradients.items()}
    if len(set(shapes.values())) != 1 or any(g.ndim <= batch_axes or batch_axes < 1 for g in gradients.values()):
        raise ValueError(
            f"got gradients with leading axes {shapes}, expected the same {batch_axes} of every parameter: "
            "take all from one call with per_sample=True, and set batch_axes to the number of axes of its batch"
        )
    if len({(gradient.dtype, gradient.device) for gradient in gradients.values()}) > 1:
        raise ValueError("got gradients of several dtypes or devices, expected one: take all from one call")
    return torch.cat([gradient.flatten(batch_axes) for gradient in gradients.values()], -1)


def update_spectrum(gradients: Float[Tensor, "*batch N P"]) -> Float[Tensor, "*batch K"]:
    r"""Singular values of how the update's direction varies from sample to sample (experiment E2).

    .. math:: X = (I - \tfrac{1}{N} \mathbf{1}\mathbf{1}^\top) \, \mathrm{diag}(\|G_i\|)^{-1} G

    The rows of G are normalised first, so that a sequence counts by its direction and not by its loss, then the mean
    direction is taken out. So at most N - 1 values differ from 0.

    Args:
        gradients: G, one row for each of N sequences, over P parameters; see :func:`sample_matrix`. A row of zeros has
            no direction and stays zero.

    Returns:
        K = min(N, P) singular values in descending order, in float64; those below about 1e-15 are rounding.

    Raises:
        ValueError: if there are fewer than two rows, or values that are not finite.
        TypeError: for what is no tensor of float32 or float64.
    """
    X = _directions(gradients)
    # Through the small triangle of a QR decomposition, which is orthogonal and so keeps every σ to 1e-15 σ_1. The
    # eigenvalues of the N x N Gram matrix would square the condition number: at N = 256, P = 9,024 they take 25 ms
    # instead of 37 (and a full decomposition 81), but are 1e-3 off at σ = 1e-7 σ_1 and mere noise at 1e-8.
    tall = X.mT if X.shape[-2] <= X.shape[-1] else X
    return torch.linalg.svdvals(torch.linalg.qr(tall, mode="r").R)


def _directions(gradients: Tensor) -> Tensor:
    """Rows of unit length in float64, less their mean."""
    arguments.tensor("gradients", gradients)
    if gradients.ndim < 2 or gradients.shape[-2] < 2 or not gradients.shape[-1]:
        raise ValueError(
            f"got gradients of shape {tuple(gradients.shape)}, expected (*batch, N, P) with at least two samples N: "
            "pass what sample_matrix returned"
        )
    if not gradients.isfinite().all():
        raise ValueError("got gradients that are not finite, expected numbers: leave out the sequences that diverged")
    rows = gradients.double()
    # by the largest entry first: the square of a tiny gradient would underflow
    largest = rows.abs().amax(-1, keepdim=True)
    rows = rows / largest.where(largest > 0, 1)
    length = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    rows = rows / length.where(length > 0, 1)
    return rows - rows.mean(-2, keepdim=True)


def _scaled(s: Tensor) -> Tensor:
    """Relative to the first, so that squares neither overflow nor underflow; NaN if that is 0."""
    return s / s[..., :1]


def _checked(s: Tensor, r: int = 1) -> None:
    arguments.tensor("singular values", s)
    r, n = arguments.whole("r", r), s.shape[-1] if s.ndim else 0
    if not 1 <= r <= n:
        raise ValueError(
            f"got r={r} for {n} singular values, expected r from 1 to their number: the first is counted as 1"
        )
    if not (s.isfinite().all() and (s >= 0).all() and (s[..., 1:] <= s[..., :-1]).all()):
        raise ValueError(
            "got singular values that are negative, not finite or not in descending order, expected "
            "σ_1 ≥ … ≥ σ_n ≥ 0 along the last axis: pass what torch.linalg.svdvals returned"
        )
