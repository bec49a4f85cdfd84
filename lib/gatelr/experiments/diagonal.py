"""Networks whose gates and candidates read the input alone: given a recurrence little by little, and stacked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import log10
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from gatelr import adjoint, expansion, jacobian, rates, tasks, training
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments import digits
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


def _flat(gradient: dict[str, Tensor]) -> Float[Tensor, "S w"]:
    return torch.cat([gradient[name].flatten(1) for name in ("W_i", "W_ig", "b", "b_g")], 1)
