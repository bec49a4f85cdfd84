"""Networks whose gates and candidates read the input alone: given a recurrence little by little, and stacked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import log10
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

from gatelr import adjoint, expansion, jacobian, rates, tasks, training, transport
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments import digits
from gatelr.experiments.agreement import discrepancy
from gatelr.kernels import sweep

#: Which recurrent weights are on, of candidate and gate.
PARTS = {"both": (1.0, 1.0), "candidate only": (1.0, 0.0), "gate only": (0.0, 1.0)}


class Selective(NamedTuple):
    """S replicas of a trained network whose W_r and W_rg are zero, what these were, and what is to be tested.

    Attributes:
        model: the network.
        drawn: its W_r and W_rg as they were drawn.
        u: digits to test on.
        target: their names.
        guess: the commonest class of the digits trained on.
    """

    model: GatedRNN
    drawn: tuple[Float[Tensor, "S n n"], Float[Tensor, "S n n"]]
    u: Float[Tensor, "T B 1"]
    target: Int[Tensor, " B"]
    guess: int


def train(n_hidden: int, seeds: int, steps: int, device: torch.device | str = "cpu") -> Selective:
    """Teach a multi-gate network without recurrence to name digits read pixel by pixel, by Adam.

    Its gates start at 1/(1 + ℓ) for lags ℓ between one step and the whole sequence, its W_r and W_rg stay zero.
    """
    draws = training.generators(range(seeds))
    model = GatedRNN(1, n_hidden, "multi", n_outputs=10, bias=True, replicas=seeds, generator=draws, device=device)
    u, target = tasks.digits(1797, torch.Generator().manual_seed(0), device=device)
    seen = 1297
    assert model.W_rg is not None
    assert model.b_g is not None
    drawn = model.W_r.detach().double(), model.W_rg.detach().double()
    with torch.no_grad():
        model.W_r.zero_()
        model.W_rg.zero_()
        horizons = torch.logspace(0, log10(len(u)), n_hidden, device=device)
        model.b_g.copy_(-horizons.log().expand_as(model.b_g))
    blind = [weight for name, weight in model.named_parameters() if name not in ("W_r", "W_rg")]
    optimiser = torch.optim.Adam(blind, lr=2e-2)
    for _ in range(steps):
        rows = torch.stack([torch.randint(seen, (64,), generator=draw) for draw in draws]).to(device)
        loss = cross_entropy(model(u[:, rows]).flatten(0, 1), target[rows].flatten(), reduction="sum") / 64
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return Selective(
        model.requires_grad_(False), drawn, u[:, seen:], target[seen:], int(target[:seen].bincount().argmax())
    )


def compare_gradients(
    model: GatedRNN, u: Float[Tensor, "T *batch m"], delta: Float[Tensor, "T *batch n"]
) -> pd.DataFrame:
    """How far two ways to the gradient of a loss that reads every state are from autograd's (claim C15).

    Args:
        model: a network without recurrence.
        u: its inputs.
        delta: the loss's direct gradient with respect to each state.

    Returns:
        A row a weight, the columns ``"effective rates"``, which sweep over lags and never backwards through the steps,
        and ``"adjoint sweep"``: the largest difference, relative to the largest entry.
    """
    with torch.no_grad():
        run = model.run(u)
    signal = torch.zeros_like(run.x)
    for lag in range(len(u)):
        signal[: len(u) - lag] += rates.effective(run, 1.0, lag) * delta[lag:]
    ways = {"effective rates": rates.gradients(model, run, signal)}
    ways["adjoint sweep"] = adjoint.gradients(model, run, delta)
    learns = next(model.parameters()).requires_grad
    loss = (model.requires_grad_().run(u).x * delta).sum()
    names = list(ways["effective rates"])
    exact = torch.autograd.grad(loss, [getattr(model, name) for name in names])
    model.requires_grad_(learns)
    gaps = {way: [discrepancy(own[k], e) for k, e in zip(names, exact, strict=True)] for way, own in ways.items()}
    return pd.DataFrame(gaps, index=pd.Index(names, name="weight"))


def divided(run: Trajectory, neurons: Mapping[str, int]) -> pd.DataFrame:
    """How the last step divides its learning rate over the steps of one sequence, beside gates that do not move (C9).

    Args:
        run: of S replicas and a batch; the first sequence of the first replica is taken.
        neurons: which ones, by the name of their series.

    Returns:
        ``series``, ``step`` (k = 1 … T), ``rate`` (g P) and ``constant``, the rate of a gate of the same mean.
    """
    g, share, T = run.g[:, 0, 0], rates.shares(run)[:, 0, 0], len(run.x)
    steps, tables = np.arange(1, T + 1), []
    for name, neuron in neurons.items():
        mean, rate = float(g[:, neuron].mean()), share[:, neuron].cpu().numpy()
        constant = mean * (1 - mean) ** (T - steps)
        tables.append(pd.DataFrame({"series": name, "step": steps, "rate": rate, "constant": constant}))
    return pd.concat(tables, ignore_index=True)


def s6_states(run: Trajectory) -> Float[Tensor, "T *batch n"]:
    r"""The states of an S6 step with A = -1 whose clock is the run's own gate (claim C15).

    .. math:: x_t = e^{-Δ_t} x_{t-1} + (1 - e^{-Δ_t}) φ_t, \qquad Δ_t = \operatorname{softplus}(a^g_t)
    """
    x, states = torch.zeros_like(run.x[0]), []
    for step, candidate in zip(softplus(run.a_g), run.phi, strict=True):
        x = torch.exp(-step) * x - torch.expm1(-step) * candidate
        states.append(x)
    return torch.stack(states)


class Spent(NamedTuple):
    r"""What a state hands out over a sequence, by the rule that discretises its input (claim C9).

    Attributes:
        hold: by zero-order hold, each step writes :math:`1 - e^{-h}`.
        euler: by Euler's rule, each step writes h.
        budget: :math:`1 - P`.
    """

    hold: Tensor
    euler: Tensor
    budget: Tensor


def spent(h: Float[Tensor, " T *batch"]) -> Spent:
    """The sums that two rules hand out over steps of width h = νΔ, and the budget (claim C9)."""
    hold = euler = torch.zeros_like(h[0])
    for step in h:
        hold = torch.exp(-step) * hold - torch.expm1(-step)
        euler = torch.exp(-step) * euler + step
    return Spent(hold, euler, -torch.expm1(-h.sum(0)))


def clocks(clock: Float[Tensor, " T"], decays: Sequence[float | int], z: np.ndarray) -> pd.DataFrame:
    r"""Gates :math:`1 - (1 - σ(z))^ν` over z, and what states keep of a sequence by lag, :math:`e^{-ν \sum Δ}` (C15).

    Args:
        clock: Δ at each step.
        decays: ν, one a state.
        z: pre-activations, ``(points,)``.

    Returns:
        ``panel`` (``"gate"`` or ``"retention"``), ``nu``, ``x`` (z or the lag) and ``y``.
    """
    elapsed = np.r_[0.0, clock.flip(0).cumsum(0).cpu().numpy()]
    tables = []
    for nu in decays:
        gates = -np.expm1(-nu * np.logaddexp(0, z))
        tables.append(pd.DataFrame({"panel": "gate", "nu": nu, "x": z, "y": gates}))
        kept = np.exp(-nu * elapsed)
        tables.append(pd.DataFrame({"panel": "retention", "nu": nu, "x": np.arange(len(kept)), "y": kept}))
    return pd.concat(tables, ignore_index=True)


@torch.no_grad()
def recur(selective: Selective, candidate: float, gate: float) -> None:
    """Set W_r and W_rg to what was drawn, times a factor each."""
    assert selective.model.W_rg is not None
    selective.model.W_r.copy_(candidate * selective.drawn[0])
    selective.model.W_rg.copy_(gate * selective.drawn[1])


@torch.no_grad()
def order_one(model: GatedRNN, trajectory: Trajectory, delta: Float[Tensor, "S B n"]) -> Float[Tensor, "T S B n"]:
    r"""The signal of a loss at the last step at orders 0 and 1, :math:`g_k ⊙ (λ^{(0)}_k + λ^{(1)}_k)` (claim C3).

    .. math::
        λ^{(0)}_{k-1} = \Lambda_k λ^{(0)}_k, \qquad
        λ^{(1)}_{k-1} = \Lambda_k λ^{(1)}_k + (R_k + G_k)^\top λ^{(0)}_k
    """
    _, B = expansion.split(jacobian.terms(model, trajectory), "leak")
    order0, order1 = delta, torch.zeros_like(delta)
    signals = []
    for g_k, B_k in zip(trajectory.g.flip(0), B.flip(0), strict=True):
        signals.append(g_k * (order0 + order1))
        order1 = (1 - g_k) * order1 + torch.einsum("sbqp,sbq->sbp", B_k, order0)
        order0 = (1 - g_k) * order0
    return torch.stack(signals[::-1])


def switched_on(
    selective: Selective, u: Float[Tensor, "T S B 1"], target: Int[Tensor, " B"], scales: Sequence[float]
) -> pd.DataFrame:
    """How wrong the gradient is at order 0, at order 1, and with gates shuffled over time, as the recurrence grows.

    The loss is the cross entropy at the last step, the error that of all weights that read the input, relative to the
    norm of their true gradient. Recurrent weights are the drawn ones, scaled, and zero in the end.
    """
    model = selective.model
    shuffled = torch.randperm(len(u), generator=torch.Generator().manual_seed(3))
    rows: list[tuple[str, float, str, int, float]] = []
    for (part, on), scale in product(PARTS.items(), scales):
        recur(selective, scale * on[0], scale * on[1])
        with torch.no_grad():
            run = model.run(u)
        delta = digits.delta(model, run, target)
        signals = {"order 0": rates.shares(run) * delta[-1]}
        if part == "both":
            signals["order 1"] = order_one(model, run, delta[-1])
            signals["shuffled"] = rates.shares(run._replace(g=run.g[shuffled])) * delta[-1]
        truth = _flat(adjoint.gradients(model, run, delta))
        for name, signal in signals.items():
            wrong = _flat(rates.gradients(model, run, signal)) - truth
            errors = (wrong.norm(dim=1) / truth.norm(dim=1)).tolist()
            rows += [(part, scale, name, seed, error) for seed, error in enumerate(errors)]
    recur(selective, 0.0, 0.0)
    return pd.DataFrame(rows, columns=["recurrence", "scale", "signal", "seed", "error"])


def reach(errors: pd.DataFrame) -> pd.DataFrame:
    """The scale of the recurrent weights at which the median error first is a tenth, and all, of the gradient.

    A row for each part of the recurrence and each signal, as text; between two scales on logarithmic axes.
    """
    medians = errors[errors.scale > 0].groupby(["recurrence", "signal", "scale"])["error"].median()
    last = errors.scale.max()

    def first(line: pd.Series, level: float) -> str:
        logs = np.log(line.cummax()), np.log(line.index)
        scale = np.exp(np.interp(np.log(level), *logs, left=-np.inf, right=np.inf))
        return {0.0: "every scale", np.inf: f"beyond {last:.2g}"}.get(float(scale), f"{scale:.2g}")

    rows = [
        {
            "recurrence": part,
            "signal": signal,
            "10 % wrong at": first(medians[part, signal], 0.1),
            "100 % wrong at": first(medians[part, signal], 1.0),
            "error at scale 1": f"{medians[part, signal][1.0]:.2g}",
        }
        for part, signal in errors[["recurrence", "signal"]].drop_duplicates().itertuples(index=False)
    ]
    return pd.DataFrame(rows).sort_values("signal", key=lambda signals: signals == "shuffled", kind="stable")


def layers(width: int, depth: int, generator: torch.Generator) -> list[GatedRNN]:
    """Multi-gate networks without recurrence, as wide as their inputs, in double precision."""
    drawn = [GatedRNN(width, width, "multi", bias=True, generator=generator, dtype=torch.float64) for _ in range(depth)]
    for layer in drawn:
        assert layer.W_rg is not None
        layer.requires_grad_(False)
        layer.W_r.zero_()
        layer.W_rg.zero_()
    return drawn


def stacked(stack: Sequence[GatedRNN], u: Float[Tensor, "T m"]) -> tuple[Tensor, Tensor]:
    r"""The leak splitting of the joint state of layers that read each other at the same step (claim C15).

    .. math:: B^{l f}_t = V^l_t (A_t + B_t)^{l-1, f}, \quad f < l, \qquad V^l_t = ∂x^l_t/∂x^{l-1}_t

    Returns:
        ``(A, B)``, each ``(T, L n, L n)``: A diagonal, B strictly below the diagonal blocks.
    """
    n = stack[0].n_hidden
    A = u.new_zeros(len(u), len(stack) * n, len(stack) * n)
    B = torch.zeros_like(A)
    for start, layer in zip(range(0, len(stack) * n, n), stack, strict=True):
        assert layer.W_ig is not None
        here, below = slice(start, start + n), slice(start - n, start)
        run = layer.run(u)
        A[:, here, here] = jacobian.terms(layer, run).leak
        scale = sweep.coefficients(run.phi, run.g, run.x_prev)
        V = scale.recurrent.unsqueeze(-1) * layer.W_i + scale.gate.unsqueeze(-1) * layer.W_ig
        if start:
            B[:, here, :start] = V @ (A + B)[:, below, :start]
        u = run.x
    return A, B


def left_out(A: Float[Tensor, "T d d"], B: Float[Tensor, "T d d"], width: int) -> pd.DataFrame:
    """The remainder after each order in the stacks of the first layers, relative to their joint transport (claim C15).

    Args:
        A, B: from :func:`stacked`.
        width: n, the neurons of a layer.

    Returns:
        A row a number of layers, a column an order; spectral norms.
    """
    depth = A.shape[-1] // width
    rows = []
    for d in range(width, A.shape[-1] + 1, width):
        own = A[:, :d, :d], B[:, :d, :d]
        whole = transport.products(own[0] + own[1], len(A))[0]
        missed = torch.stack([expansion.remainder(*own, K, 1.0) for K in range(depth)])
        rows.append((torch.linalg.matrix_norm(missed, 2) / torch.linalg.matrix_norm(whole, 2)).tolist())
    return pd.DataFrame(rows, index=pd.RangeIndex(1, depth + 1, name="layers"), columns=range(depth))


def _flat(gradient: dict[str, Tensor]) -> Float[Tensor, "S w"]:
    return torch.cat([gradient[name].flatten(1) for name in ("W_i", "W_ig", "b", "b_g")], 1)
