r"""What a reader asks of the backward sweep: the adjoint, and gradients in closed form (claim C7).

.. math:: λ_{k-1} = J_k^T λ_k + δ_{k-1}, \qquad λ_T = δ_T

The Jacobian is never formed. The weight of its gate term is a parameter: 1 is the gradient, 0 is what backpropagation
gives through a network whose gate does not see that the state moves.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from gatelr import recurrence
from gatelr.cells import GatedRNN, Trajectory


def costates(
    model: GatedRNN, trajectory: Trajectory, delta: Float[Tensor, "T *batch n"], *, gate_sensitivity: float = 1.0
) -> Float[Tensor, "T+1 *batch n"]:
    r"""The adjoint of every state, :math:`λ_k = \sum_{t \ge k} M_{t,k}^T δ_t` for k = 0 … T.

    Args:
        model: the network that made the trajectory.
        trajectory: what ``model.run`` returned.
        delta: direct gradient of the loss, δ_1 … δ_T; zero where the loss does not read the state.
        gate_sensitivity: s, weight of the gate term: :math:`J = Λ + R + s G`.

    Returns:
        ``(T+1, *batch, n)``; index k holds λ_k, and index 0 the gradient with respect to the initial state.

    Raises:
        ValueError: if ``delta`` does not have the shape, dtype and device of the trajectory's states.
    """
    x = trajectory.x
    if delta.shape != x.shape or delta.dtype != x.dtype or delta.device != x.device:
        raise ValueError(
            f"got delta {tuple(delta.shape)} in {delta.dtype} on {delta.device}, expected {tuple(x.shape)} "
            f"in {x.dtype} on {x.device}, one for each state: fill in zeros where the loss does not read the state"
        )
    leak, recurrent, gate = recurrence.coefficients(trajectory.phi, trajectory.g, trajectory.x_prev)
    adjoint = [delta[-1]]
    steps = zip(leak.unbind(), recurrent.unbind(), gate.unbind(), delta.unbind(), strict=True)
    for leak_k, recurrent_k, gate_k, delta_k in reversed(list(steps)):
        if len(adjoint) > 1:
            adjoint[-1] = adjoint[-1] + delta_k
        lam = adjoint[-1]
        back = leak_k * lam + _through(model, recurrent_k * lam, model.W_r)
        if model.W_rg is not None and gate_sensitivity:
            back = back + gate_sensitivity * _through(model, _to_gate(model, gate_k * lam), model.W_rg)
        adjoint.append(back)
    return torch.stack(adjoint[::-1])


def gradients(
    model: GatedRNN,
    trajectory: Trajectory,
    delta: Float[Tensor, "T *batch n"],
    *,
    per_sample: bool = False,
    gate_sensitivity: float = 1.0,
) -> dict[str, Tensor]:
    r"""The gradient of a loss with respect to every weight that makes states, in closed form (claim C7).

    .. math::
        ∇_{W_r} L = \sum_k (g_k ⊙ φ'(a_k) ⊙ λ_k) x_{k-1}^T, \qquad
        ∇_{W_{rg}} L = \sum_k ((φ_k - x_{k-1}) ⊙ g_k (1 - g_k) ⊙ λ_k) x_{k-1}^T

    The same with :math:`u_k` for W_i and W_ig and with 1 for the biases; a scalar gate sums over neurons first.

    Args:
        model: the network that made the trajectory.
        trajectory: what ``model.run`` returned.
        delta: direct gradient of the loss with respect to each state.
        per_sample: keep the gradient of every sequence: each result then has its ``*batch`` axes in front.
        gate_sensitivity: weight of the gate term in the adjoint. The gate's own weights keep their gradient at 0, as
            through ``a_g = W_rg @ x.detach() + …``.

    Returns:
        By parameter name, summed over the batch, in the parameter's shape; or ``(*batch, ...)`` per sample. The
        readout (W_o, b_o) is not among them: it belongs to whoever made ``delta``.

    Raises:
        ValueError: as :func:`costates`.
    """
    lam = costates(model, trajectory, delta, gate_sensitivity=gate_sensitivity)[1:]
    _, recurrent, gate = recurrence.coefficients(trajectory.phi, trajectory.g, trajectory.x_prev)
    to_candidate, to_gate = recurrent * lam, _to_gate(model, gate * lam)
    ones = torch.ones_like(lam[..., :1])
    pairs = {
        "W_r": (to_candidate, trajectory.x_prev),
        "W_i": (to_candidate, trajectory.u),
        "W_rg": (to_gate, trajectory.x_prev),
        "W_ig": (to_gate, trajectory.u),
        "b": (to_candidate, ones),
        "b_g": (to_gate, ones),
    }
    found = {}
    for name, (signal, source) in pairs.items():
        parameter = getattr(model, name)
        if parameter is None:
            continue
        outer = _outer(signal, source, 0 if per_sample else 1 + (model.replicas is not None))
        found[name] = outer.squeeze(-1) if name.startswith("b") else outer
    return found


def _through(model: GatedRNN, signal: Tensor, weight: Tensor) -> Tensor:
    """``weightᵀ signal`` for ``(*batch, ·)``; each replica through its own weight."""
    if model.replicas is None:
        return signal @ weight
    return (signal.reshape(model.replicas, -1, signal.shape[-1]) @ weight).reshape(*signal.shape[:-1], -1)


def _to_gate(model: GatedRNN, signal: Tensor) -> Tensor:
    """The gradient at the gate's pre-activation; one scalar gate collects it from all neurons."""
    return signal.sum(-1, keepdim=True) if model.gate == "scalar" else signal


def _outer(signal: Tensor, source: Tensor, summed_from: int) -> Tensor:
    """Σ_t signal_t source_tᵀ, one batched product: per sample (0), or summed over batch axes from the given one on."""
    if summed_from:
        signal, source = (v.movedim(0, -2).flatten(summed_from - 1, -2) for v in (signal, source))
        return signal.mT @ source
    return signal.movedim(0, -2).mT @ source.movedim(0, -2)
