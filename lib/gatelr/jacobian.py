r"""The step Jacobian :math:`J_t = ∂x_t/∂x_{t-1}` in closed form: leak, recurrent and gate term (claim C2).

.. math::
    J_t = \underbrace{\mathrm{diag}(1 - g_t)}_{\text{leak } \Lambda_t}
        + \underbrace{\mathrm{diag}(g_t) D_t W_r}_{\text{recurrent } R_t}
        + \underbrace{\mathrm{diag}((φ_t - x_{t-1}) ⊙ g_t ⊙ (1 - g_t)) W_{rg}}_{\text{gate } G_t}

A scalar gate has one row :math:`w_{rg}^\top` in place of :math:`W_{rg}`, so that its gate term has rank one; without a
learned gate the gate term is zero. Everything is evaluated at :math:`x_{t-1}`, the state *before* the update.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from gatelr import arguments, trajectories
from gatelr.cells import GatedRNN, Trajectory
from gatelr.kernels import sweep


class Terms(NamedTuple):
    r"""The three terms of the Jacobian; index ``j`` belongs to step ``j + 1``.

    Rows are :math:`x_t`, columns :math:`x_{t-1}`.

    Attributes:
        leak: :math:`\Lambda_t`, diagonal: what a neuron keeps of itself.
        recurrent: :math:`R_t`: what reaches the candidate.
        gate: :math:`G_t`: what reaches the gate; zero where no gate is learned.
    """

    leak: Float[Tensor, "T *batch n n"]
    recurrent: Float[Tensor, "T *batch n n"]
    gate: Float[Tensor, "T *batch n n"]


def terms(model: GatedRNN, trajectory: Trajectory) -> Terms:
    r"""Leak, recurrent and gate term of every step.

    Args:
        model: the network that made the trajectory.
        trajectory: what ``model.run`` returned.

    Returns:
        ``Terms(leak, recurrent, gate)``, each ``(T, *batch, n, n)``.

    Raises:
        ValueError: if the trajectory is not this model's, as :func:`gatelr.trajectories.check_belongs` says.
        TypeError: for what is no trajectory, or no model.

    Example:
        >>> import torch
        >>> from gatelr import jacobian
        >>> from gatelr.cells import GatedRNN
        >>> model = GatedRNN(2, 4, "scalar", generator=torch.Generator().manual_seed(0))
        >>> leak, recurrent, gate = jacobian.terms(model, model.run(torch.ones(10, 3, 2)))
        >>> gate.shape
        torch.Size([10, 3, 4, 4])
        >>> int(torch.linalg.matrix_rank(gate).max())  # a scalar gate's term has rank one
        1
    """
    scale = _scalings(model, trajectory)
    axes = trajectory.x.ndim - 2
    recurrent = scale.recurrent.unsqueeze(-1) * model.per_step(model.W_r, axes)
    if model.W_rg is None:
        gate = torch.zeros_like(recurrent)
    else:
        gate = scale.gate.unsqueeze(-1) * model.per_step(model.W_rg, axes)
    return Terms(torch.diag_embed(scale.leak.expand_as(trajectory.x)), recurrent, gate)


def blocks(model: GatedRNN, trajectory: Trajectory) -> Float[Tensor, "T *batch n n"]:
    r"""The Jacobian of every step, :math:`J_t = \Lambda_t + R_t + G_t`.

    The terms are added in place, so that the peak is two blocks rather than four.

    Args:
        model: the network that made the trajectory.
        trajectory: what ``model.run`` returned.

    Returns:
        ``(T, *batch, n, n)``; index ``j`` holds :math:`J_{j+1}`.

    Raises:
        ValueError: as :func:`terms`.
        TypeError: as :func:`terms`.

    Example:
        >>> import torch
        >>> from gatelr import jacobian
        >>> from gatelr.cells import GatedRNN
        >>> model = GatedRNN(2, 4, "multi", generator=torch.Generator().manual_seed(0))
        >>> trajectory = model.run(torch.ones(10, 3, 2))
        >>> J = jacobian.blocks(model, trajectory)
        >>> torch.allclose(J, sum(jacobian.terms(model, trajectory)))
        True
        >>> step = lambda x: model.run(torch.ones(1, 2), x).x[0]
        >>> by_autograd = torch.func.jacrev(step)(torch.zeros(4))
        >>> torch.allclose(J[0, 0], by_autograd)
        True
    """
    scale = _scalings(model, trajectory)
    axes = trajectory.x.ndim - 2
    J = scale.recurrent.unsqueeze(-1) * model.per_step(model.W_r, axes)
    if model.W_rg is not None:
        J = J.addcmul_(scale.gate.unsqueeze(-1), model.per_step(model.W_rg, axes))
    J.diagonal(dim1=-2, dim2=-1).add_(scale.leak)
    return J


def check_terms(terms: Any) -> None:
    """Refuse what :func:`terms` does not return.

    Raises:
        TypeError: if it is no ``Terms`` of tensors.
        ValueError: if these differ, or are not square.
    """
    if not isinstance(terms, Terms):
        raise TypeError(f"got {arguments.kind(terms)}, expected Terms: pass what jacobian.terms returned")
    for name, term in zip(terms._fields, terms, strict=True):
        arguments.alike(f"the {name} term", term, "the leak term", terms.leak)
    arguments.jacobians("terms", terms.leak)


def _scalings(model: GatedRNN, trajectory: Trajectory) -> sweep.Coefficients:
    trajectories.check_belongs(model, trajectory)
    return sweep.coefficients(trajectory.phi, trajectory.g, trajectory.x_prev)
