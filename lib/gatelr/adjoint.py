r"""What a reader asks of the backward sweep: the adjoint, and gradients in closed form (claim C7).

.. math:: λ_{k-1} = J_k^\top λ_k + δ_{k-1}, \qquad λ_T = δ_T

The Jacobian is never formed. The weight of its gate term is a parameter: 1 is the gradient, 0 is what backpropagation
gives through a network whose gate does not see that the state moves. Less can be carried from step to step as well:
a neuron's own part of J, or the leak alone. What is too small to count is set to zero
(:func:`gatelr.kernels.sweep.adjoint` says how small), and nothing here can itself be differentiated.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from gatelr import arguments, trajectories
from gatelr.cells import GatedRNN, Trajectory, check_backward
from gatelr.kernels import build, compiled, sweep


def costates(
    model: GatedRNN,
    trajectory: Trajectory,
    delta: Float[Tensor, "T *batch n"],
    *,
    gate_sensitivity: float = 1.0,
    backward: sweep.Backward = "full",
) -> Float[Tensor, "T+1 *batch n"]:
    r"""The adjoint of every state, :math:`λ_k = \sum_{t \ge k} M_{t,k}^\top δ_t` for k = 0 … T.

    Args:
        model: the network that made the trajectory.
        trajectory: what ``model.run`` returned.
        delta: direct gradient of the loss, δ_1 … δ_T; zero where the loss does not read the state.
        gate_sensitivity: s, weight of the gate term: :math:`J = \Lambda + R + s G`.
        backward: which part of that J is carried from step to step, as :meth:`gatelr.cells.GatedRNN.forward` takes it.

    Returns:
        ``(T+1, *batch, n)``; index k holds λ_k, and index 0 the gradient with respect to the initial state.

    Raises:
        ValueError: if ``delta`` does not have the shape, dtype and device of the trajectory's states, if the trajectory
            is not the model's, or for an unknown ``backward`` or a weight of the gate term that is not finite.
        TypeError: for what is no tensor, no trajectory, no model or no number.

    Example:
        >>> import torch
        >>> from gatelr import adjoint, jacobian
        >>> from gatelr.cells import GatedRNN
        >>> model = GatedRNN(2, 4, "multi", generator=torch.Generator().manual_seed(0))
        >>> trajectory = model.run(torch.ones(10, 3, 2))
        >>> delta = torch.ones_like(trajectory.x)
        >>> lam = adjoint.costates(model, trajectory, delta)
        >>> lam.shape  # λ_0 … λ_T
        torch.Size([11, 3, 4])
        >>> J = jacobian.blocks(model, trajectory)
        >>> one_back = (J.mT @ lam[1:].unsqueeze(-1)).squeeze(-1)
        >>> torch.allclose(lam[1:-1], one_back[1:] + delta[:-1])
        True
    """
    return _sweep(model, trajectory, delta, gate_sensitivity, backward)[0].reshape(-1, *trajectory.x.shape[1:])


def gradients(
    model: GatedRNN,
    trajectory: Trajectory,
    delta: Float[Tensor, "T *batch n"],
    *,
    per_sample: bool = False,
    gate_sensitivity: float = 1.0,
    backward: sweep.Backward = "full",
) -> dict[str, Tensor]:
    r"""The gradient of a loss with respect to every weight that makes states, in closed form (claim C7).

    .. math::
        ∇_{W_r} L = \sum_k (g_k ⊙ φ'(a_k) ⊙ λ_k) x_{k-1}^\top, \qquad
        ∇_{W_{rg}} L = \sum_k ((φ_k - x_{k-1}) ⊙ g_k (1 - g_k) ⊙ λ_k) x_{k-1}^\top

    The same with :math:`u_k` for W_i and W_ig and with 1 for the biases; a scalar gate sums over neurons first.

    Args:
        model: the network that made the trajectory.
        trajectory: what ``model.run`` returned.
        delta: direct gradient of the loss with respect to each state.
        per_sample: keep the gradient of every sequence: each result then has its ``*batch`` axes in front.
        gate_sensitivity: weight of the gate term in the adjoint. The gate's own weights keep their gradient at 0, as
            through ``a_g = W_rg @ x.detach() + …``.
        backward: which part of J is carried from step to step; with ``"gate dropped"`` its weight is 0.

    Returns:
        By parameter name, summed over the batch, in the parameter's shape; or ``(*batch, ...)`` per sample. The
        readout (W_o, b_o) is not among them: it belongs to whoever made ``delta``.

    Raises:
        ValueError: as :func:`costates`.
        TypeError: as :func:`costates`.

    Example:
        >>> import torch
        >>> from gatelr import adjoint
        >>> from gatelr.cells import GatedRNN
        >>> model = GatedRNN(2, 4, "multi", generator=torch.Generator().manual_seed(0))
        >>> trajectory = model.run(torch.ones(10, 3, 2))
        >>> delta = trajectory.x.detach()  # ∂L/∂x of L = ½ Σ x²
        >>> gradients = adjoint.gradients(model, trajectory, delta)
        >>> gradients["W_rg"].shape
        torch.Size([4, 4])
        >>> loss = 0.5 * trajectory.x.square().sum()
        >>> (by_autograd,) = torch.autograd.grad(loss, [model.W_rg])
        >>> torch.allclose(gradients["W_rg"], by_autograd, atol=1e-6)
        True
        >>> adjoint.gradients(model, trajectory, delta, per_sample=True)["W_rg"].shape
        torch.Size([3, 4, 4])
    """
    arguments.truth("per_sample", per_sample)
    return _gathered(model, trajectory, _sweep(model, trajectory, delta, gate_sensitivity, backward)[1], per_sample)


def _gathered(
    model: GatedRNN, trajectory: Trajectory, signal: Float[Tensor, "T S B k"], per_sample: bool = False
) -> dict[str, Tensor]:
    """The weights' gradients of that at the pre-activations: each signal meets what its step had read."""
    n, batch = model.n_hidden, trajectory.x.shape[1:-1]
    ones = [] if model.b is None else [torch.ones_like(trajectory.x[..., :1])]
    source = torch.cat([trajectory.x_prev, trajectory.u, *ones], -1).reshape(*signal.shape[:-1], -1).detach()
    # (…, T, ·): Σ_t signal_t source_tᵀ is then one batched product, over time, or over time and the batch
    signal, source = (v.movedim(0, -2) for v in (signal, source))
    if per_sample:
        outer = (signal.mT @ source).reshape(*batch, signal.shape[-1], -1)
    else:
        outer = (signal.flatten(1, 2).mT @ source.flatten(1, 2)).reshape(
            *batch[: model.replicas is not None], signal.shape[-1], -1
        )
    candidate, gate = outer[..., :n, :], outer[..., n:, :]
    to_input = slice(n, n + model.n_inputs)
    gradients = {"W_r": candidate[..., :n], "W_i": candidate[..., to_input]}
    if model.W_rg is not None:
        gradients |= {"W_rg": gate[..., :n], "W_ig": gate[..., to_input]}
    if model.b is not None:
        gradients |= {"b": candidate[..., -1]} | ({} if model.b_g is None else {"b_g": gate[..., -1]})
    return gradients


def _is_fixed(g: Tensor, model: GatedRNN) -> bool:
    """Whether these are the gates of a network that learns none; others may be put in their place."""
    return bool((g == (1.0 if model.alpha is None else g.new_tensor(model.alpha))).all())


@torch.no_grad()
def _sweep(
    model: GatedRNN, trajectory: Trajectory, delta: Tensor, gate_sensitivity: float, backward: sweep.Backward
) -> tuple[Tensor, Tensor]:
    """The adjoint (T+1, S, B, n), and the gradient at the pre-activations, candidate beside gate (T, S, B, k)."""
    trajectories.check_belongs(model, trajectory)
    arguments.tensor("delta", delta)
    gate_sensitivity, x = arguments.real("gate_sensitivity", gate_sensitivity), trajectory.x
    if delta.shape != x.shape or delta.dtype != x.dtype or delta.device != x.device:
        raise ValueError(
            f"got delta {tuple(delta.shape)} in {delta.dtype} on {delta.device}, expected {tuple(x.shape)} "
            f"in {x.dtype} on {x.device}, one for each state: fill in zeros where the loss does not read the state"
        )
    check_backward(backward)
    if backward == "gate dropped":
        gate_sensitivity = 0.0
    T, n, S = len(x), model.n_hidden, model.replicas or 1
    h = 0 if model.W_rg is None else model.W_rg.shape[-2]
    W = model.W_r if model.W_rg is None else torch.cat([model.W_r, gate_sensitivity * model.W_rg], -2)
    W = W.reshape(S, n + h, n)
    if build.serves(x) and W.dtype == x.dtype and (h or _is_fixed(trajectory.g, model)):
        states = torch.cat([trajectory.x_prev[:1], x]).reshape(T + 1, S, -1, n)
        rows = states.shape[2]
        phi, g = (v.reshape(T, S, rows, -1).contiguous() for v in (trajectory.phi, trajectory.g))
        alpha = None if h or model.gate == "none" else g[0, 0, 0].expand(n).contiguous()
        phi, g = phi if h or alpha is not None else phi[:0], g if h else g[..., :0].contiguous()
        u = trajectory.u.reshape(T, S, rows, -1).contiguous()
        swept = compiled.Swept(u, states, phi, g, torch.nn.functional.pad(W, (0, u.shape[-1])), alpha)
        return compiled.costates(swept, delta.reshape(T, S, rows, n), backward)
    scalings = sweep.coefficients(trajectory.phi, trajectory.g, trajectory.x_prev)
    wide = sweep.Coefficients(*(v.expand(x.shape).reshape(T, S, -1, n) for v in scalings))
    alone = wide.leak  # the part of J that a neuron has for itself
    if backward == "diagonal":
        alone = alone + wide.recurrent * sweep.diagonal(W[:, :n]).unsqueeze(-2)
        if h:
            alone = alone + wide.gate * sweep.diagonal(W[:, n:]).unsqueeze(-2)
    coupled = backward in ("full", "gate dropped")
    leak, recurrent, gate = alone.unbind(), wide.recurrent.unbind(), wide.gate.unbind()
    direct = delta.reshape(T, S, -1, n).unbind()
    read = (delta != 0).reshape(T, -1).any(1).tolist()  # most losses read one state: no need to add zeros
    adjoint = x.new_empty(T + 1, *direct[0].shape)
    signal = x.new_empty(T, *direct[0].shape[:-1], n + h)
    to_candidate, to_gate = signal[..., :n].unbind(), signal[..., n:].unbind()
    signals, lam = signal.unbind(), adjoint.unbind()
    lam[T].copy_(direct[-1])
    for k in range(T - 1, -1, -1):
        torch.mul(recurrent[k], lam[k + 1], out=to_candidate[k])
        if h == n:
            torch.mul(gate[k], lam[k + 1], out=to_gate[k])
        elif h:  # one scalar gate collects from all neurons
            torch.sum(gate[k] * lam[k + 1], -1, keepdim=True, out=to_gate[k])
        torch.mul(leak[k], lam[k + 1], out=lam[k])
        if coupled:
            lam[k].baddbmm_(signals[k], W)
        if k and read[k - 1]:
            lam[k].add_(direct[k - 1])
        if k % sweep.FLUSH_EVERY == 0:
            sweep.flush(lam[k])
    return adjoint, signal
