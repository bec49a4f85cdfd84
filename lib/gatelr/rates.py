r"""Gates as learning rates: what one step of gradient descent gives to each lag and neuron (claims C8-C14).

With transport at order 0, :math:`M_{t,k} \approx \mathrm{diag}(P_{t,k})`, a step of SGD with rate μ acts as if each
neuron and each lag had a learning rate of its own,

.. math:: μ^q_{t,k} = μ\, g^q_k P^q_{t,k}, \qquad P^q_{t,k} = \prod_{j=k+1}^{t} (1 - g^q_j) .
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from gatelr import arguments, trajectories
from gatelr.cells import GatedRNN, Trajectory
from gatelr.jacobian import Terms, check_terms
from gatelr.kernels import sweep
from gatelr.transport import windows


def retention(trajectory: Trajectory, lag: int) -> Float[Tensor, "W *batch n"]:
    r"""The fraction of the state kept over a lag, :math:`P_{t,t-\ell}` for t = ℓ … T (claim C6).

    Args:
        trajectory: what ``model.run`` returned.
        lag: ℓ, from 0 to T.

    Returns:
        ``(T - lag + 1, *batch, n)``; lag 0 gives ones.

    Raises:
        ValueError: for a lag that is negative or longer than the sequence, or members of a trajectory that do not fit.
        TypeError: for a lag that is no whole number, or what is no trajectory.

    Example:
        >>> import torch
        >>> from gatelr import rates
        >>> from gatelr.cells import GatedRNN
        >>> model = GatedRNN(2, 4, "constant", alpha=0.25)
        >>> trajectory = model.run(torch.ones(10, 3, 2))
        >>> P = rates.retention(trajectory, lag=2)
        >>> P.shape  # one for each window of two steps
        torch.Size([9, 3, 4])
        >>> float(P[0, 0, 0])  # (1 - α)²
        0.5625
    """
    trajectories.check(trajectory)
    kept = (1 - trajectory.g).expand_as(trajectory.x)
    return windows(kept, lag, torch.mul, torch.ones((), dtype=kept.dtype, device=kept.device))


def effective(trajectory: Trajectory, lr: float, lag: int) -> Float[Tensor, "W *batch n"]:
    r"""The effective learning rate of a lag, :math:`μ_{t,t-\ell} = μ g_{t-\ell} P_{t,t-\ell}`, t = ℓ+1 … T (C8).

    Args:
        trajectory: what ``model.run`` returned.
        lr: μ, the global learning rate, at least 0.
        lag: ℓ, from 0 to T - 1.

    Returns:
        ``(T - lag, *batch, n)``.

    Raises:
        ValueError: for a lag outside 0 … T-1, or a rate that is negative or not finite.
        TypeError: as :func:`retention`, or for a rate that is no number.

    Example:
        >>> import torch
        >>> from gatelr import rates
        >>> from gatelr.cells import GatedRNN
        >>> model = GatedRNN(2, 4, "constant", alpha=0.25)
        >>> trajectory = model.run(torch.ones(10, 3, 2))
        >>> mu = rates.effective(trajectory, lr=0.5, lag=2)
        >>> mu.shape
        torch.Size([8, 3, 4])
        >>> float(mu[0, 0, 0])  # μ α (1 - α)²
        0.0703125
    """
    trajectories.check(trajectory)
    T, lag, lr = len(trajectory.x), arguments.whole("lag", lag), _rate(lr)
    if not 0 <= lag < T:
        raise ValueError(f"got lag={lag}, expected a lag from 0 to {T - 1}: step k = t - lag must be one of 1 … {T}")
    return lr * trajectory.g[: T - lag] * retention(trajectory, lag)[1:]


def signal(trajectory: Trajectory, delta: Float[Tensor, "T *batch n"]) -> Float[Tensor, "T *batch n"]:
    r"""What reaches each step if the leaks alone carry errors back, :math:`s_k = \sum_{t \ge k} g_k P_{t,k} δ_t` (C8).

    Args:
        trajectory: what ``model.run`` returned.
        delta: the loss's direct gradient with respect to each state, δ.

    Returns:
        ``(T, *batch, n)``, summed lag by lag from :func:`effective`; :func:`gradients` makes a gradient of it.

    Raises:
        ValueError: if ``delta`` has not the shape, dtype and device of the states.
        TypeError: for what is no trajectory or no tensor.
    """
    _one_each("delta", delta, trajectory)
    total = torch.zeros_like(delta)
    for lag in range(len(delta)):
        total[: len(delta) - lag] += effective(trajectory, 1.0, lag) * delta[lag:]
    return total


def step(trajectory: Trajectory, delta: Float[Tensor, "T *batch n"], lr: float) -> Float[Tensor, "*batch n n"]:
    r"""One step of gradient descent for W_r with errors carried back by the leaks alone (C8).

    .. math:: ΔW_r = -\sum_t \sum_{k \le t} \mathrm{diag}(μ_{t,k})\, D_k\, δ_t\, x_{k-1}^\top

    Args:
        trajectory: what ``model.run`` returned.
        delta: the loss's direct gradient with respect to each state, δ.
        lr: μ, at least 0.

    Returns:
        The step of each sequence, summed lag by lag.

    Raises:
        ValueError: for a rate that is negative or not finite, or as :func:`signal`.
        TypeError: for a rate that is no number, or as :func:`signal`.
    """
    lr, reached = _rate(lr), signal(trajectory, delta)
    return -lr * torch.einsum("t...q,t...p->...qp", (1 - trajectory.phi**2) * reached, trajectory.x_prev)


def shares(trajectory: Trajectory) -> Float[Tensor, "T *batch n"]:
    r"""How the last step divides its learning rate over all steps, :math:`g_k P_{T,k}` for k = 1 … T (C9).

    They are the breaks of a stick: with the part that is left, :math:`P_{T,0}`, they sum to one, whatever the gates do.

    Args:
        trajectory: what ``model.run`` returned.

    Returns:
        ``(T, *batch, n)``; index ``j`` holds the share of step ``j + 1``.

    Raises:
        ValueError: if the members of the trajectory do not fit each other.
        TypeError: for what is no trajectory.

    Example:
        >>> import torch
        >>> from gatelr import rates
        >>> from gatelr.cells import GatedRNN
        >>> model = GatedRNN(2, 4, "multi", generator=torch.Generator().manual_seed(0))
        >>> trajectory = model.run(torch.ones(10, 3, 2))
        >>> left = rates.retention(trajectory, lag=10)
        >>> budget = rates.shares(trajectory).sum(0) + left[0]
        >>> torch.allclose(budget, torch.ones(3, 4))
        True
    """
    trajectories.check(trajectory)
    kept = (1 - trajectory.g).expand_as(trajectory.x)
    # P_{T,k} for k = T … 1: one, then the products of ever more factors from the newest on
    later = torch.cat([torch.ones_like(kept[:1]), kept.flip(0)[:-1].cumprod(0)]).flip(0)
    return trajectory.g * later


def eligibility(model: GatedRNN, trajectory: Trajectory) -> Float[Tensor, "*batch n n"]:
    r"""The order-0 eligibility trace at the end of the sequence, computed online (C12).

    .. math:: E_t = \mathrm{diag}(1 - g_t) E_{t-1} + \mathrm{diag}(g_t) (φ'(a_t) x_{t-1}^\top), \qquad E_0 = 0

    An exponential moving average of :math:`φ'(a_t) x_{t-1}^\top` with data-dependent :math:`β_t = 1 - g_t`; memory
    O(n²), whatever T is. It is the trace of RFLO (Murray 2019).

    Args:
        model: the network that made the trajectory; the trace itself does not read its weights.
        trajectory: what ``model.run`` returned.

    Returns:
        :math:`E_T`, ``(*batch, n, n)``: rows are neurons, columns the states that they read.

    Raises:
        ValueError: if the trajectory is not the model's.
        TypeError: for what is no trajectory, or no model.

    Example:
        >>> import torch
        >>> from gatelr import rates
        >>> from gatelr.cells import GatedRNN
        >>> model = GatedRNN(2, 4, "multi", generator=torch.Generator().manual_seed(0))
        >>> trajectory = model.run(torch.ones(10, 3, 2))
        >>> E = rates.eligibility(model, trajectory)
        >>> E.shape
        torch.Size([3, 4, 4])
        >>> slope = 1 - trajectory.phi**2
        >>> credit = slope.unsqueeze(-1) * trajectory.x_prev.unsqueeze(-2)  # φ' xᵀ
        >>> weighted = rates.shares(trajectory).unsqueeze(-1) * credit
        >>> torch.allclose(E, weighted.sum(0))  # a weighted sum over steps
        True
    """
    trajectories.check_belongs(model, trajectory)
    leak, recurrent, _ = sweep.coefficients(trajectory.phi, trajectory.g, trajectory.x_prev)
    E = trajectory.x.new_zeros(*trajectory.x.shape[1:], model.n_hidden)
    for leak_t, write_t, x_t in zip(leak.unbind(), recurrent.unbind(), trajectory.x_prev.unbind(), strict=True):
        E = leak_t.unsqueeze(-1) * E + write_t.unsqueeze(-1) * x_t.unsqueeze(-2)
    return E


def gradients(model: GatedRNN, trajectory: Trajectory, signal: Float[Tensor, "T *batch n"]) -> dict[str, Tensor]:
    r"""The gradient of every weight that makes states, from the signal that reached each step (claims C7 and C8).

    .. math::
        ∇_{W_r} L = \sum_k (φ'(a_k) ⊙ s_k) x_{k-1}^\top, \qquad
        ∇_{W_{rg}} L = \sum_k ((φ_k - x_{k-1}) ⊙ (1 - g_k) ⊙ s_k) x_{k-1}^\top

    The same with :math:`u_k` for W_i and W_ig and with 1 for the biases. :math:`s_k = g_k ⊙ λ_k` gives the whole
    gradient, :math:`s_k = \sum_{t \ge k} g_k ⊙ P_{t,k} ⊙ δ_t`, which is :func:`signal`, its order 0.

    Args:
        model: the network that made the trajectory.
        trajectory: what ``model.run`` returned.
        signal: s.

    Returns:
        By parameter name, summed over the batch, in the parameter's shape.

    Raises:
        ValueError: if the signal has not the shape, dtype and device of the states, or the trajectory is not the
            model's.
        TypeError: for what is no trajectory, no model or no tensor.
    """
    trajectories.check_belongs(model, trajectory)
    _one_each("a signal", signal, trajectory)
    x = trajectory.x
    to_candidate = (1 - trajectory.phi**2) * signal
    to_gate = (trajectory.phi - trajectory.x_prev) * (1 - trajectory.g) * signal
    if model.gate == "scalar":  # one gate collects from all neurons
        to_gate = to_gate.sum(-1, keepdim=True)
    one = torch.ones_like(x[..., :1])
    pairs = {
        "W_r": (to_candidate, trajectory.x_prev),
        "W_i": (to_candidate, trajectory.u),
        "b": (to_candidate, one),
        "W_rg": (to_gate, trajectory.x_prev),
        "W_ig": (to_gate, trajectory.u),
        "b_g": (to_gate, one),
    }
    summed = {}
    for name, pair in pairs.items():
        if (weight := getattr(model, name)) is not None:
            wide = (v.reshape(len(x), model.replicas or 1, -1, v.shape[-1]) for v in pair)
            summed[name] = torch.einsum("tsbq,tsbp->sqp", *wide).reshape(weight.shape)
    return summed


def corrected(terms: Terms, lag: int) -> Float[Tensor, "W *batch n"]:
    r"""Retention with its first-order correction on the diagonal (C8).

    .. math:: P^q_{t,k} \Big(1 + \sum_{i=k+1}^{t} \frac{[R_i + G_i]_{qq}}{1 - g^q_i}\Big)

    Computed by the sweep of claim C3 on diagonals, so that no gate of 1 divides by zero.

    Args:
        terms: from :func:`gatelr.jacobian.terms`.
        lag: ℓ, from 0 to T.

    Returns:
        ``(T - lag + 1, *batch, n)``, t = ℓ … T.

    Raises:
        ValueError: for a lag that is negative or longer than the sequence, or terms that do not fit each other.
        TypeError: for a lag that is no whole number, or what are no terms.
    """
    check_terms(terms)
    lag = arguments.whole("lag", lag)
    kept, change = (part.diagonal(dim1=-2, dim2=-1) for part in (terms.leak, terms.recurrent + terms.gate))
    T = len(kept)
    if not 0 <= lag <= T:
        raise ValueError(f"got lag={lag}, expected a lag from 0 to the {T} steps of the sequence")
    order0 = torch.ones(T + 1, *kept.shape[1:], dtype=kept.dtype, device=kept.device)
    order1 = torch.zeros_like(order0)
    for length in range(1, lag + 1):
        older = slice(0, T - length + 1)
        order1 = order1[1:] * kept[older] + order0[1:] * change[older]
        order0 = order0[1:] * kept[older]
    return order0 + order1


def condition(trajectory: Trajectory, lag: int) -> Float[Tensor, " W *batch"]:
    r"""The order-0 condition number of transport, :math:`κ = \max_q P^q / \min_q P^q` (C14).

    Of constants it is :math:`((1-α_{\min})/(1-α_{\max}))^{\ell}`. It says how unequally neurons pass errors back, and
    not how unequally they learn: that is :func:`preconditioner_condition`.

    Args:
        trajectory: what ``model.run`` returned.
        lag: ℓ, from 0 to T.

    Returns:
        ``(T - lag + 1, *batch)``; infinite where a neuron kept nothing and another something, NaN where none did.

    Raises:
        ValueError: as :func:`retention`.
        TypeError: as :func:`retention`.
    """
    P = retention(trajectory, lag)
    return P.amax(-1) / P.amin(-1)


def preconditioner_condition(trajectory: Trajectory, lag: int) -> Float[Tensor, " W *batch"]:
    r"""How unequally neurons learn at a lag, :math:`κ_μ = \max_q g^q_k P^q_{t,k} / \min_q g^q_k P^q_{t,k}` (C14).

    Two constants swap rank at :math:`\ell^* = \ln(α_1/α_2) / \ln((1-α_2)/(1-α_1))`. With the smallest and the largest
    constant in it, κ_μ falls up to that lag and grows beyond.

    Args:
        trajectory: what ``model.run`` returned.
        lag: ℓ, from 0 to T - 1.

    Returns:
        ``(T - lag, *batch)``, t = ℓ+1 … T, as :func:`effective` without its neurons; infinite where a neuron learns
        nothing and another something, NaN where none learns.

    Raises:
        ValueError: for a lag outside 0 … T-1, or as :func:`retention`.
        TypeError: as :func:`retention`.

    Example:
        >>> import torch
        >>> from gatelr import rates
        >>> from gatelr.cells import GatedRNN
        >>> model = GatedRNN(2, 2, "constant", alpha=[0.25, 0.5])
        >>> trajectory = model.run(torch.ones(10, 3, 2))
        >>> [float(rates.preconditioner_condition(trajectory, lag)[0, 0]) for lag in (0, 1, 2)]
        [2.0, 1.3333333730697632, 1.125]
        >>> [float(rates.condition(trajectory, lag)[0, 0]) for lag in (0, 1, 2)]
        [1.0, 1.5, 2.25]
    """
    rate = effective(trajectory, 1.0, lag)
    return rate.amax(-1) / rate.amin(-1)


def _rate(lr: float) -> float:
    """A learning rate that can be one."""
    if isinstance(lr, float) and not lr >= 0:  # NaN too
        raise ValueError(f"got lr={lr}, expected a learning rate of at least 0")
    if (lr := arguments.real("lr", lr)) < 0:
        raise ValueError(f"got lr={lr}, expected a learning rate of at least 0")
    return lr


def _one_each(what: str, value: Tensor, trajectory: Trajectory) -> None:
    """Refuse what is not one number for each state."""
    trajectories.check(trajectory)
    arguments.tensor(what, value)
    x = trajectory.x
    if value.shape != x.shape:
        raise ValueError(
            f"got {what} of shape {tuple(value.shape)}, expected {tuple(x.shape)}, one for each state: "
            "put zeros where the loss does not read the state"
        )
    arguments.alike(what, value, "the states", x)
