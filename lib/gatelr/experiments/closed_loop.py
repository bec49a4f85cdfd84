"""A linear neuron whose gate learns too: the library's smallest network, trained on white inputs (claims C18, C19)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from gatelr import adjoint, training
from gatelr.cells import GatedRNN

#: Inputs are multiplied by this and outputs divided, so that a tanh is linear to about its square.
SCALE = 1e-5


def neuron(weight: float, gate: float, replicas: int = 1) -> GatedRNN:
    """Networks of one neuron, :math:`x_t = (1 - g) x_{t-1} + g w u_t`, whose inputs must be multiplied by ``SCALE``.

    The weight w is ``W_i``; the gate is g = σ(a), and its pre-activation a is ``b_g``.

    Args:
        weight: w.
        gate: g, in (0, 1).
        replicas: S, how many side by side, all alike.

    Returns:
        The network; its readout is x/SCALE.

    Raises:
        ValueError: for a gate outside (0, 1).
    """
    if not 0 < gate < 1:
        raise ValueError(f"got gate={gate!r}, expected a number strictly between 0 and 1: the gate is a sigmoid")
    model = GatedRNN(1, 1, "scalar", bias=True, replicas=replicas, dtype=torch.float64)
    assert model.b_g is not None
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.W_i.fill_(weight)
        model.b_g.fill_(torch.logit(torch.tensor(gate, dtype=torch.float64)).item())
        model.W_o.fill_(1 / SCALE)
    return model


def train(
    start: tuple[float, float],
    teacher: tuple[float, float],
    *,
    steps: int,
    rate: float,
    seeds: Sequence[int],
    length: int = 50,
    batch: int = 64,
    every: int = 4,
) -> pd.DataFrame:
    r"""Gradient descent on w and a, :math:`L = \frac12 E(x_T - x^*_T)^2`, with fresh white inputs at every step (C18).

    Args:
        start, teacher: weight and gate, of the neuron and of the one that it is to imitate.
        steps: updates.
        rate: μ.
        seeds: one for each neuron.
        length: T, long enough for both to have forgotten the start.
        batch: sequences a step.
        every: updates from one record to the next.

    Returns:
        One row for each record and seed: ``time`` (μ times the updates so far), ``seed``, ``weight``, ``gate``.
    """
    model, imitated = (neuron(*pair, replicas=len(seeds)) for pair in (start, teacher))
    assert model.b_g is not None
    optimiser = torch.optim.SGD([model.W_i, model.b_g], lr=rate)
    draws, rows = training.generators(seeds), []
    for step in range(steps + 1):
        if step % every == 0:
            weights, gates = model.W_i.flatten().tolist(), model.b_g.sigmoid().flatten().tolist()
            rows += [(rate * step, *row) for row in zip(seeds, weights, gates, strict=True)]
        u = torch.stack([torch.randn(length, batch, 1, generator=g, dtype=torch.float64) for g in draws], 1) * SCALE
        with torch.no_grad():
            wanted = imitated(u)
        optimiser.zero_grad()
        ((model(u) - wanted) ** 2).mean((-2, -1)).sum().div(2).backward()
        optimiser.step()
    return pd.DataFrame(rows, columns=["time", "seed", "weight", "gate"])


def features(weight: float, gate: float, u: Float[Tensor, "T B"]) -> dict[str, Float[Tensor, " B"]]:
    """The last state of each sequence, and its derivatives by the weight and by the gate's pre-activation.

    Args:
        weight: w.
        gate: g.
        u: inputs; the identity matrix gives the responses to an impulse at each step, and a sum over these squared is
            an expectation over white inputs.

    Returns:
        ``"state"``, ``"weight"`` and ``"pre-activation"``.
    """
    model = neuron(weight, gate)
    with torch.no_grad():
        run = model.run(u[:, None, :, None] * SCALE)
        delta = torch.zeros_like(run.x)
        delta[-1] = 1 / SCALE
        by = adjoint.gradients(model, run, delta, per_sample=True)
    derivatives = {"weight": by["W_i"].flatten(), "pre-activation": by["b_g"].flatten()}
    return {"state": run.x[-1].flatten() / SCALE} | derivatives
