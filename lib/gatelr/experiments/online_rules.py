"""Learning while reading: rules with an eligibility trace, beside the gradient that they stand for (claim C12)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cosine_similarity, one_hot

from gatelr import adjoint, jacobian, rates
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments.agreement import discrepancy, random_case
from gatelr.experiments.digits import Reading
from gatelr.kernels import sweep


def credits(trajectory: Trajectory) -> Float[Tensor, "T *batch n n"]:
    r"""What a trace averages, :math:`φ'(a_t) x_{t-1}^\top`, for every step."""
    return (1 - trajectory.phi**2).unsqueeze(-1) * trajectory.x_prev.unsqueeze(-2)


def online(
    trajectory: Trajectory, delta: Float[Tensor, "T *batch n"], decay: Float[Tensor, "T *batch h"]
) -> Float[Tensor, "*batch n n"]:
    r"""The gradient of W_r that a trace gives, one step at a time.

    .. math::
        \sum_t \mathrm{diag}(δ_t) E_t, \qquad
        E_t = \mathrm{diag}(β_t) E_{t-1} + \mathrm{diag}(g_t) φ'(a_t) x_{t-1}^\top

    The decay β is 1 - g for order 0 and RFLO, the diagonal of J for a neuron's whole own past (SnAp-1).
    """
    write = trajectory.g.expand_as(trajectory.x).unsqueeze(-1)
    E = total = torch.zeros_like(trajectory.x[0]).unsqueeze(-1) * trajectory.x[0].unsqueeze(-2)
    for t, credit in enumerate(credits(trajectory)):
        E = decay[t].unsqueeze(-1) * E + write[t] * credit
        total = total + delta[t].unsqueeze(-1) * E
    return total


def torch_momentum(trajectory: Trajectory) -> Float[Tensor, "n n"]:
    r"""The buffer of ``torch.optim.SGD`` after one sequence, fed with credits, ``momentum`` and ``dampening`` 1 - g_t.

    Each row of weights is a parameter group, so that each neuron has a momentum of its own.
    """
    fresh, keep = credits(trajectory), 1 - trajectory.g.expand_as(trajectory.x)
    fresh[0] *= 1 - keep[0].unsqueeze(-1)  # torch does not dampen the first gradient
    rows = [torch.zeros_like(row) for row in fresh[0]]
    sgd = torch.optim.SGD([{"params": [row]} for row in rows], lr=0.0, momentum=0.5)
    for credit, beta in zip(fresh, keep.tolist(), strict=True):
        for q, group in enumerate(sgd.param_groups):
            group["momentum"] = group["dampening"] = beta[q]
            rows[q].grad = credit[q]
        sgd.step()
    return torch.stack([sgd.state[row]["momentum_buffer"] for row in rows])


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


def deviations(n: int, m: int, T: int, device: torch.device | str | None = "cpu") -> pd.DataFrame:
    """How far the traces are from what they stand for, on one random network with each kind of gate.

    Returns:
        A row for each gate: torch's momentum against the trace; the online rule with the leak and with the diagonal of
        J as its decay, each against the backward sweep that carries as much (``"order 0"``, ``"diagonal"``); and these
        two rules against each other (``"apart"``).
    """
    rows = {}
    for gate in ("constant", "scalar", "multi"):
        model, u, y = random_case(gate, n, m, T, batch=(4,), device=device or "cpu")
        run = model.requires_grad_(False).run(u)
        single = model.run(u[:, 0])
        row = {"torch's momentum": discrepancy(torch_momentum(single), rates.eligibility(model, single))}
        own = jacobian.blocks(model, run).diagonal(dim1=-2, dim2=-1)
        leak, whole = (online(run, run.x - y, decay).sum(0) for decay in (1 - run.g, own))
        row["order 0"] = discrepancy(leak, _swept(model, run, run.x - y, "order 0"))
        row["diagonal"] = discrepancy(whole, _swept(model, run, run.x - y, "diagonal"))
        rows[gate] = row | {"apart": discrepancy(leak, whole)}
    return pd.DataFrame(rows).T


def _swept(model: GatedRNN, run: Trajectory, delta: Tensor, carried: sweep.Backward) -> Tensor:
    return adjoint.gradients(model, run, delta, backward=carried)["W_r"]


def rflo(trajectory: Trajectory, tau: float) -> Float[Tensor, "n n"]:
    r"""RFLO's trace as its paper writes it, synapse by synapse (Murray 2019), with a time-scale of ``tau`` steps.

    .. math:: p_{ab}(t) = \tfrac1τ φ'(u_a(t)) h_b(t-1) + (1 - \tfrac1τ) p_{ab}(t-1)
    """
    n = trajectory.x.shape[-1]
    p = np.zeros((n, n))
    for h, u in zip(trajectory.x_prev.tolist(), trajectory.a.tolist(), strict=True):
        for a, b in np.ndindex(n, n):
            p[a, b] = (1 - np.tanh(u[a]) ** 2) * h[b] / tau + (1 - 1 / tau) * p[a, b]
    return trajectory.x.new_tensor(p)


def one_entry(trajectory: Trajectory) -> pd.DataFrame:
    """One entry of the trace step by step, beside a moving average with the mean β of its neuron.

    Of the first network and its first sequence: the neuron whose gate moves most, and its largest credit. Columns step,
    credit, trace, moving average, beta.
    """
    keep, fresh = 1 - trajectory.g[:, 0, 0].cpu(), credits(trajectory)[:, 0, 0].cpu()
    neuron = int(keep.std(0).argmax())
    source = int(fresh[:, neuron].abs().mean(0).argmax())
    mean, trace, average, rows = float(keep.mean(0)[neuron]), 0.0, 0.0, []
    pairs = torch.stack([keep[:, neuron], fresh[:, neuron, source]], 1).tolist()
    for step, (beta, credit) in enumerate(pairs, 1):
        trace = beta * trace + (1 - beta) * credit
        average = mean * average + (1 - mean) * credit
        rows.append((step, credit, trace, average, beta))
    return pd.DataFrame(rows, columns=["step", "credit", "trace", "moving average", "beta"])


def quality(readings: Mapping[str, Reading]) -> pd.DataFrame:
    """Cosine of each rule's gradient with the true one: median and quartiles over digits and networks."""
    rows = []
    for gate, (model, run, target, _) in readings.items():
        for rule, cosine in cosines(model, run, target)[0].items():
            levels = cosine.flatten().quantile(cosine.new_tensor([0.5, 0.25, 0.75]))
            rows.append((gate, rule, *levels.tolist()))
    return pd.DataFrame(rows, columns=["gate", "rule", "cosine", "lower quartile", "upper quartile"])


@torch.no_grad()
def cosines(
    model: GatedRNN, trajectory: Trajectory, target: Int[Tensor, " B"]
) -> tuple[dict[str, Float[Tensor, "S B"]], Float[Tensor, "T S B n"]]:
    """How far each rule points along the gradient of W_r, digit by digit, for a cross entropy at the last step.

    Also returns the delta of that loss with the readout's own weights.
    """
    assert model.b_o is not None
    error = trajectory.x[-1] @ model.W_o.mT + model.b_o.unsqueeze(1)
    error = error.softmax(-1) - one_hot(target, model.n_outputs)
    draw = torch.Generator().manual_seed(0)
    stray = torch.randn(model.W_o.shape, generator=draw, dtype=torch.float64).to(error.device)
    delta, random = torch.zeros_like(trajectory.x), torch.zeros_like(trajectory.x)
    delta[-1], random[-1] = error @ model.W_o, error @ stray
    exact = adjoint.gradients(model, trajectory, delta, per_sample=True)["W_r"].flatten(2)
    own = jacobian.blocks(model, trajectory).diagonal(dim1=-2, dim2=-1)
    rules = {
        "order-0 trace": online(trajectory, delta, 1 - trajectory.g),
        "trace with the diagonal": online(trajectory, delta, own),
        "order-0 trace, random feedback": online(trajectory, random, 1 - trajectory.g),
    }
    return {rule: cosine_similarity(ours.flatten(2), exact, dim=-1) for rule, ours in rules.items()}, delta
