r"""What a step multiplies each contribution by: the gate's factor, the optimiser's, and how the two compare (C11-C13).

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

import copy
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from scipy import stats
from torch import Tensor
from torch.nn.functional import cosine_similarity

from gatelr import adjoint, rates
from gatelr.cells import GatedRNN, Trajectory


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


def conditions(runs: Mapping[str, Trajectory], lags: Iterable[int]) -> pd.DataFrame:
    """Both condition numbers at order 0 by lag: medians over steps and sequences (claim C14).

    Returns:
        Columns name, lag, of (``"transport"`` or ``"preconditioner"``), condition.
    """
    kinds = {"transport": rates.condition, "preconditioner": rates.preconditioner_condition}
    rows = [
        (name, lag, of, float(condition(run, lag).median()))
        for (name, run), lag, (of, condition) in product(runs.items(), lags, kinds.items())
    ]
    return pd.DataFrame(rows, columns=["name", "lag", "of", "condition"])


def last_step(optimiser: Callable[..., torch.optim.Optimizer], *gradients: Tensor, **options: Any) -> Tensor:
    """The last step of an optimiser of torch that sees these gradients one after the other, at the rate 1."""
    weight = torch.zeros_like(gradients[0], requires_grad=True)
    engine = optimiser([weight], lr=1.0, **options)
    for gradient in gradients:
        weight.data, weight.grad = torch.zeros_like(gradient), gradient.clone()
        engine.step()
    return weight.detach()


class Shadow:
    """An Adam that looks at the gradients of a run without moving anything: its rate at the weights of another.

    Before each step of the optimiser it is given the same gradient of one parameter, in float64; ``torch.optim.Adam``
    itself keeps the moments.

    Args:
        optimiser: the one that trains; a hook is registered with it.
        parameter: whose gradient to look at.

    Example:
        >>> import torch
        >>> from gatelr.experiments import preconditioners
        >>> weight = torch.zeros(2, requires_grad=True)
        >>> optimiser = torch.optim.SGD([weight], lr=0.1)
        >>> shadow = preconditioners.Shadow(optimiser, weight)
        >>> weight.grad = torch.tensor([4.0, 0.5])
        >>> optimiser.step()
        >>> shadow.rates()  # 1/|gradient| after the first
        tensor([0.2500, 2.0000], dtype=torch.float64)
    """

    def __init__(self, optimiser: torch.optim.Optimizer, parameter: Tensor):
        self.parameter = parameter
        self.twin = torch.zeros_like(parameter, dtype=torch.float64).requires_grad_()
        self.adam = torch.optim.Adam([self.twin], lr=0.0)
        optimiser.register_step_pre_hook(self._look)

    def _look(self, optimiser: torch.optim.Optimizer, *_: object) -> None:
        if self.parameter.grad is not None:
            self.twin.grad = self.parameter.grad.double()
            self.adam.step()

    def state_dict(self) -> dict[str, Any]:
        """Its moments."""
        return self.adam.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Go on from there."""
        self.adam.load_state_dict(state_dict)

    def rates(self) -> Tensor:
        r"""What Adam would multiply its mean gradient by, :math:`1/(\sqrt{\hat v} + ε)`, in the parameter's shape.

        Raises:
            ValueError: before the first step.
        """
        if not self.adam.state[self.twin]:
            raise ValueError("got no gradient yet, expected at least one step of the optimiser: look after it")
        state, group = self.adam.state[self.twin], self.adam.param_groups[0]
        unbiased = state["exp_avg_sq"] / (1 - group["betas"][1] ** state["step"].item())
        return 1 / (unbiased.sqrt() + group["eps"])


class Structure(NamedTuple):
    r"""How positive steps differ over the coordinates of a matrix.

    The shares of rows, columns and rest add to one, and are NaN for steps all alike.

    Attributes:
        spread: the standard deviation of their log10.
        even: the share of coordinates among which an even split would be as concentrated,
            :math:`(\sum s)^2 / (n^2 \sum s^2)`.
        rows: the share of the variance of log10 that lies between rows.
        columns: the share that lies between columns.
        rest: the share that neither explains.
    """

    spread: float
    even: float
    rows: float
    columns: float
    rest: float


def structure(steps: Float[Tensor, "n p"]) -> Structure:
    r"""Spread and concentration of steps over coordinates, and the part that one rate a row could supply.

    The two-way analysis of variance of :math:`\log_{10} s^{qp}`. Of a matrix without structure rows explain
    :math:`1/(n + 1)` for n columns and rows.

    Args:
        steps: positive numbers, rows the neurons that are written to.

    Raises:
        ValueError: for a number that is not positive and finite.
    """
    if not (steps.isfinite().all() and (steps > 0).all()):
        raise ValueError("got steps that are not positive and finite, expected multipliers: take their absolute value")
    log = steps.double().log10()
    even = float(steps.sum() ** 2 / steps.square().sum() / steps.numel())
    total = float(log.var(correction=0))
    if total <= 1e-24:
        return Structure(0.0, even, np.nan, np.nan, np.nan)
    rows, columns = (float(log.mean(axis).var(correction=0)) / total for axis in (1, 0))
    return Structure(total**0.5, even, rows, columns, 1 - rows - columns)


class Agreement(NamedTuple):
    """How two sets of steps agree.

    Attributes:
        rank: Spearman's correlation, whose mean over permutations is 0.
        cosine: of the two vectors.
        cosine_null: its mean over permutations.
    """

    rank: float
    cosine: float
    cosine_null: float


def agreement(a: Float[Tensor, "*n"], b: Float[Tensor, "*n"]) -> Agreement:
    r"""Whether steps are large in the same places; with the null of permuted places.

    Positive numbers always have a large cosine; that over random places is
    :math:`n \bar a \bar b / (\|a\| \|b\|)`, exactly.

    Args:
        a, b: steps for the same places.

    Returns:
        The correlation (NaN where one of the two is the same everywhere), the cosine and its null (NaN where one is
        zero everywhere).

    Raises:
        ValueError: if the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"got steps of shapes {tuple(a.shape)} and {tuple(b.shape)}, expected the same places")
    x, y = (v.detach().double().cpu().numpy().ravel() for v in (a, b))
    x, y = (v / (np.abs(v).max() or 1.0) for v in (x, y))  # squares of steps over long lags would underflow
    if not (x.any() and y.any()):
        return Agreement(np.nan, np.nan, np.nan)
    norms = np.linalg.norm(x) * np.linalg.norm(y)
    cosine, null = float(x @ y / norms), float(x.size * x.mean() * y.mean() / norms)
    if min(np.ptp(x), np.ptp(y)) <= 1e-12:
        return Agreement(np.nan, cosine, null)
    return Agreement(float(stats.spearmanr(x, y).statistic), cosine, null)


def remembered(
    model: GatedRNN, optimiser: torch.optim.Optimizer, loss: Callable[[GatedRNN], Tensor]
) -> Float[Tensor, " S"]:
    r"""The part of the next step of W_r that earlier gradients decide: :math:`\|Δ_0\| / (\|Δ_0\| + \|Δ - Δ_0\|)`.

    Δ is the step on a gradient, Δ_0 the step that the same optimiser takes when the gradient is zero. Both are taken
    by copies, at the learning rate 1.

    Args:
        model, optimiser: the network, and what trains it, with what it remembers.
        loss: of a network, one number for each replica.

    Returns:
        ``(S,)``, from 0 (no memory) to 1.
    """
    moves = []
    for weight in (0.0, 1.0):
        twin, engine = copy.deepcopy((model, optimiser))
        for group in engine.param_groups:
            group["lr"] = 1.0
        engine.zero_grad()
        loss(twin).sum().backward()
        for parameter in twin.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(weight)
        engine.step()
        moves.append((twin.W_r - model.W_r).detach().double().reshape(model.replicas or 1, -1))
    old, new = moves[0].norm(dim=1), (moves[1] - moves[0]).norm(dim=1)
    return old / (old + new)


class Trace(NamedTuple):
    """How much of the variance of a network's eligibility trace a simpler one explains, on sequences left out.

    Attributes:
        fixed: R² of momentum with one fixed β a neuron, the best.
        shuffled: R² of the network's own gates in a random order of time.
        last: R² of the last credit alone, times the best number for each neuron, which is no memory at all.
        beta: the best β of each neuron.
    """

    fixed: float
    shuffled: float
    last: float
    beta: Float[Tensor, " n"]


def fixed_momentum(trajectory: Trajectory, generator: torch.Generator) -> Trace:
    r"""How far a gated trace is textbook momentum: the best β for each neuron, against the trace itself (C12).

    .. math:: E_T = \sum_k g_k P_{T,k}\, φ'(a_k) x_{k-1}^\top \approx \sum_k (1 - β) β^{T-k} φ'(a_k) x_{k-1}^\top

    β is chosen among 0.01, 0.02 … 0.99 on the first half of the sequences;
    :math:`R^2 = 1 - \sum (E - \hat E)^2 / \sum (E - \bar E)^2` is taken on the second, with the mean over sequences
    :math:`\bar E` of each coordinate.

    Args:
        trajectory: of one network, ``(T, B, ·)``, on at least four sequences.
        generator: source of the random order.

    Raises:
        ValueError: for fewer than four sequences, or a trajectory with more batch axes than one.
    """
    if trajectory.x.ndim != 3 or trajectory.x.shape[1] < 4:
        raise ValueError(
            f"got states of shape {tuple(trajectory.x.shape)}, expected (T, B, n) with at least 4 sequences: "
            "take one network at a time"
        )
    T, B, n = trajectory.x.shape
    x = trajectory.x
    credit = (1 - trajectory.phi**2).unsqueeze(-1) * trajectory.x_prev.unsqueeze(-2)  # (T, B, n, n)
    gates = trajectory.g.expand_as(x)
    order = torch.stack([torch.randperm(T, generator=generator) for _ in range(B)], 1).to(x.device)
    mixed = gates.gather(0, order.unsqueeze(-1).expand_as(x))

    def trace(g: Tensor) -> Tensor:
        return torch.einsum("tbq,tbqp->bqp", rates.shares(trajectory._replace(g=g)), credit)

    true, random = trace(gates), trace(mixed)
    alpha = torch.as_tensor(np.linspace(0.01, 0.99, 99), dtype=x.dtype, device=x.device)
    weights = alpha[:, None] * (1 - alpha[:, None]) ** torch.arange(T - 1, -1, -1, dtype=x.dtype, device=x.device)
    fixed = torch.tensordot(weights, credit, 1)  # (A, B, n, n)
    half = B // 2
    best = (fixed[:, :half] - true[:half]).square().sum((1, 3)).argmin(0)  # for each neuron
    chosen = fixed[best, :, torch.arange(n, device=x.device)].movedim(0, 1)  # (B, n, n)
    newest = credit[-1]
    scale = (newest * true)[:half].sum((0, 2)) / newest[:half].square().sum((0, 2))
    scatter = (true[half:] - true[half:].mean(0)).square().sum()
    simpler = (chosen, random, scale.unsqueeze(-1) * newest)
    kept = [float(1 - (other[half:] - true[half:]).square().sum() / scatter) for other in simpler]
    return Trace(kept[0], kept[1], kept[2], 1 - alpha[best])
