r"""What a step multiplies each contribution by: the gate's factor f, beside Adam's s (C8, C13).

The gradient of W_r is a sum over lags of contributions, here with the gate's factor taken out,

.. math:: c_k = (φ'(a_k) ⊙ δ_T)\, x_{k-1}^\top, \qquad k = T - \ell .

A step of training enters it on the coordinate (q, p) with the multiplier

.. math:: μ \, f^{qp}_{\ell}\, s^{qp}, \qquad f = g^q_k P^q_{T,k} \text{ of a gate, } s = 1/(\sqrt{\hat v_{qp}} + ε)
    \text{ of Adam},

where f = 1 without a gate and s = 1 without Adam. A network without a gate carries gradients back through W_r alone:
its contributions hold the whole adjoint λ_k where those of a gated one hold δ_T, the order 0. The loss reads the last
state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from gatelr import adjoint, rates
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments.digits import Reading


def factors(model: GatedRNN, trajectory: Trajectory) -> Float[Tensor, "T *batch n"]:
    r"""What the gate multiplies a contribution of each step by, :math:`f = g_k P_{T,k}`, or 1 without a gate (C8).

    Args:
        model, trajectory: the network and what ``model.run`` returned.

    Returns:
        ``(T, *batch, n)``; index ``j`` holds step ``j + 1``, lag ``T - 1 - j``.
    """
    return torch.ones_like(trajectory.x) if model.gate == "none" else rates.shares(trajectory)


def signals(model: GatedRNN, trajectory: Trajectory, delta: Float[Tensor, "*batch n"]) -> Float[Tensor, "T *batch n"]:
    r"""The left factor of each step's contribution, :math:`φ'(a_k) ⊙ δ_T`; without a gate :math:`φ'(a_k) ⊙ λ_k`.

    Args:
        model, trajectory: as for :func:`factors`.
        delta: the gradient of the loss with respect to the last state, δ_T.

    Returns:
        ``(T, *batch, n)``; the contribution of step k is its outer product with :math:`x_{k-1}`.

    Raises:
        ValueError: if ``delta`` does not have the shape of the last state.
    """
    if delta.shape != trajectory.x.shape[1:]:
        raise ValueError(
            f"got delta of shape {tuple(delta.shape)}, expected {tuple(trajectory.x.shape[1:])}: the gradient with "
            "respect to the last state, one for each sequence"
        )
    slope = 1 - trajectory.phi**2
    if model.gate != "none":
        return slope * delta
    every = torch.zeros_like(trajectory.x)
    every[-1] = delta
    return slope * adjoint.costates(model, trajectory, every)[1:]


class Steps(NamedTuple):
    """What the gates of one network multiply its contributions by: means, weighted by the contributions' absolute size.

    Attributes:
        coordinates: of each weight.
        rows: of each neuron that is written to.
        size: the root mean square over sequences of what is multiplied, the sum over lags of contributions.
    """

    coordinates: Float[Tensor, "n n"]
    rows: Float[Tensor, " n"]
    size: Float[Tensor, "n n"]


def weights(signal: Float[Tensor, "T B n"], x_prev: Float[Tensor, "T B n"]) -> Float[Tensor, "n n"]:
    r"""How much is contributed to each coordinate, :math:`\sum_{k,b} |c|`; zero for a saturated neuron."""
    return torch.einsum("tbq,tbp->qp", signal.abs(), x_prev.abs())


def gate_steps(factor: Float[Tensor, "T B n"], signal: Float[Tensor, "T B n"], x_prev: Float[Tensor, "T B n"]) -> Steps:
    r"""The gate's mean multiplier at each coordinate, :math:`\sum_{k,b} f |c| / \sum_{k,b} |c|`, and of each row.

    With weights that have no sign it lies between the least and the largest f, by construction. What the sum over steps
    is really multiplied by has a sign, and no bound: :func:`signed` has it.

    Args:
        factor, signal: from :func:`factors` and :func:`signals`, for one network.
        x_prev: the states that the weights read.

    Raises:
        ValueError: if all contributions to a coordinate are zero, which then has no mean.
    """
    left, right = signal.abs(), x_prev.abs()
    weight = weights(signal, x_prev)
    if not (weight > 0).all():
        raise ValueError(
            f"got {int((weight == 0).sum())} coordinates without any contribution, expected none: take more sequences, "
            "or an initial state that is not zero if there is one step only"
        )
    weighted = torch.einsum("tbq,tbp->qp", left * factor, right)
    total = torch.einsum("tbq,tbp->bqp", signal, x_prev)
    return Steps(weighted / weight, weighted.sum(1) / weight.sum(1), total.square().mean(0).sqrt())


class Signed(NamedTuple):
    """What order 0 does to a gradient after the sum over steps and sequences, coordinate by coordinate (claim C8).

    Attributes:
        factor: order 0 over the gradient with all rates one; it may be negative, and is large where the latter cancels.
        against: whether order 0 and the true gradient have opposite signs.
        cosine: between order 0 and the true gradient, of each replica.
        unit: the same between order 0 and the gradient with all rates one.
    """

    factor: Float[Tensor, "*S n p"]
    against: Bool[Tensor, "*S n p"]
    cosine: Float[Tensor, "*S"]
    unit: Float[Tensor, "*S"]


def signed(model: GatedRNN, trajectory: Trajectory, delta: Float[Tensor, "T *batch n"], weight: str = "W_r") -> Signed:
    r"""The factor of the summed gradient, :math:`\sum_{t,k} μ_{t,k} V_{t,k} / \sum_{t,k} V_{t,k}` at μ = 1 (C8).

    Args:
        model, trajectory: the network and what ``model.run`` returned.
        delta: the loss's direct gradient with respect to each state, δ.
        weight: ``"W_r"``, ``"W_i"`` or ``"b"``, which all carry the same rates.

    Raises:
        ValueError: for another weight: those of the gate have factors of their own.
    """
    if weight not in ("W_r", "W_i", "b"):
        raise ValueError(f"got weight={weight!r}, expected W_r, W_i or b: only the candidate's weights carry the rates")
    order_0 = adjoint.gradients(model, trajectory, delta, backward="order 0")[weight]
    exact = adjoint.gradients(model, trajectory, delta)[weight]
    later = delta.flip(0).cumsum(0).flip(0)  # all that step k is taught if every rate is one
    unit = rates.gradients(model, trajectory, later)[weight]
    flat = [gradient.flatten(0 if model.replicas is None else 1) for gradient in (order_0, exact, unit)]
    cosines = [cosine_similarity(flat[0], other, dim=-1) for other in flat[1:]]
    return Signed(order_0 / unit, order_0 * exact < 0, *cosines)


def survey(readings: Mapping[str, Reading]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The signed factors of W_r in trained networks of each kind, counted and listed.

    Returns:
        A row for each kind of gate: the percentage of weights whose factor is negative, and of those where order 0 has
        the sign opposite to the true gradient's (``"against"``), the largest size of a factor, and in how many networks
        order 0 has a positive inner product with the true gradient (``"true"``) and with the one with all rates one
        (``"unit"``). And the factors, in columns gate and factor.
    """
    counted, listed = {}, {}
    for gate, (model, run, _, delta) in readings.items():
        factor, against, to_true, to_unit = signed(model, run, delta)
        counted[gate] = {
            "negative": 100 * float((factor < 0).double().mean()),
            "against": 100 * float(against.double().mean()),
            "largest": float(factor.abs().max()),
            "true": int((to_true > 0).sum()),
            "unit": int((to_unit > 0).sum()),
        }
        listed[gate] = factor.flatten().cpu()
    return pd.DataFrame(counted).T, pd.DataFrame(listed).melt(var_name="gate", value_name="factor")
