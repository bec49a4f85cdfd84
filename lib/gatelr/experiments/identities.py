r"""A gate against the optimiser that it should equal, step by step (E4): a schedule for one lag, and momentum.

By C11 what one lag learns under a gate that moves, :math:`α(s)`, is what it learns without the gate's factor under the
schedule :math:`μ\, α(s) (1 - α(s))^\ell`. By C12 the trace of a gate is momentum with :math:`β = 1 - g`, as long as the
error stays what it is. Each identity is trained, with torch's own schedule and momentum on the other side; then what it
rests on is taken away, and the weights of the two sides part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from gatelr import adjoint, rates, tasks, training
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments import protocol

#: Neurons of both experiments. Of the ladder, the lag that learns alone, the task, its batch and its learning rate.
NEURONS = 16
#: The lag that is looked at, what is learned, sequences a step, and the learning rate.
LAG, TASK, BATCH, RATE = 4, tasks.get("adding", steps=12), 16, 0.5

#: Of the momentum experiment, the gate, the learning rate, and the two knobs.
ALPHA, ONLINE_RATE = 0.2, 0.01
#: Where the trace and the momentum are compared, in steps, and how far the gate swings.
TIMES, SWINGS = (0.0, 2.0, 8.0, 32.0, 128.0, 512.0), (0.25, 0.5, 1.0, 2.0, 4.0)

#: The weights that learn; the readout stays as it is drawn.
LEARNED = ("W_r", "W_i")

#: From a network, inputs and targets to the gradient of its weights.
Gradient = Callable[[GatedRNN, Tensor, Tensor], dict[str, Tensor]]


def network(gate: str, seeds: int, device: torch.device | str, **options: Any) -> GatedRNN:
    """One replica for each seed from 1 on, without gradients of its own."""
    options |= {"dtype": torch.float64, "device": device}
    return protocol.network(TASK, gate, range(1, seeds + 1), NEURONS, **options).requires_grad_(False)


def apart(one: Tensor, other: Tensor, begin: Tensor) -> Float[Tensor, " S"]:
    """How far two networks are apart, over the way that the first has gone."""
    return (one - other).flatten(1).norm(dim=1) / (one - begin).flatten(1).norm(dim=1)


# The ladder: a gate that opens against a schedule


def opening(step: int, steps: int) -> float:
    """α(s), from 0.1 to 0.6."""
    return 0.1 * 6 ** (step / steps)


def contributions(
    model: GatedRNN, u: Tensor, target: Tensor, *, lags: Sequence[int] = (), gated: bool
) -> dict[str, Tensor]:
    """The gradient at order 0 from some lags, or from all, with the gate's factor or without it."""
    run = model.run(u)
    factor = torch.zeros_like(run.x)
    factor[[-1 - lag for lag in lags or range(len(u))]] = 1
    left = factor * (rates.shares(run) if gated else 1) * (1 - run.phi**2) * _error(model, run, target)
    sums = {"W_r": ("tsbq,tsbp->sqp", run.x_prev), "W_i": ("tsbq,tsbm->sqm", run.u)}
    return {name: torch.einsum(axes, left, read) for name, (axes, read) in sums.items()}


def whole(model: GatedRNN, u: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Backpropagation through time."""
    run = model.run(u)
    delta = torch.zeros_like(run.x)
    delta[-1] = _error(model, run, target)
    return adjoint.gradients(model, run, delta)


class Rung(NamedTuple):
    """Two networks that learn side by side: one whose gate opens, and one under a schedule.

    Attributes:
        gated: what the first network follows.
        other: what the other follows.
        gate: of the other.
    """

    gated: Gradient
    other: Gradient
    gate: str = "constant"


#: From the identity to the plain network, what a schedule must stand for.
RUNGS = {
    "one lag, order 0": Rung(
        partial(contributions, lags=(LAG,), gated=True), partial(contributions, lags=(LAG,), gated=False)
    ),
    "all lags, order 0": Rung(partial(contributions, gated=True), partial(contributions, gated=False)),
    "the whole gradient": Rung(whole, partial(contributions, gated=False)),
    "its own forward pass": Rung(whole, whole, "none"),
}


def climb(
    rung: Rung,
    seeds: int,
    steps: int,
    *,
    alpha: Callable[[int], float] | None = None,
    lag: int | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Float[Tensor, "steps S P"], Float[Tensor, "steps S P"], Float[Tensor, "S P"]]:
    """Train both networks of a rung from the same weights on the same data, the gate ``alpha`` or :func:`opening`.

    Args:
        lag: whose schedule the other network gets, as predicted; by default the schedule is fitted, step by step the
            factor that brings the other's gradient closest to the gated one, at the gated network's weights.

    Returns:
        The weights of both after each step, and those that both began with.
    """
    opens = alpha or partial(opening, steps=steps)
    options = {} if rung.gate == "none" else {"alpha": opens(0)}
    gated, other = network("constant", seeds, device, alpha=opens(0)), network(rung.gate, seeds, device, **options)
    begin = _flat(gated)

    def nearest(gradient: dict[str, Tensor], u: Tensor, target: Tensor) -> Tensor:
        for name in LEARNED:
            getattr(other, name).copy_(getattr(gated, name))
        other.alpha = gated.alpha if rung.gate == "constant" else None
        theirs = rung.other(other, u, target)
        return _dot(theirs, gradient) / _dot(theirs, theirs)

    steady = torch.ones(steps + 1, seeds, dtype=torch.float64)
    one, fitted = _learn(gated, rung.gated, steady, opens, nearest)
    schedule = torch.stack([*fitted, fitted[-1]])
    if lag is not None:
        moving = torch.tensor([opens(step) for step in range(steps + 1)], dtype=torch.float64)
        schedule = (moving * (1 - moving) ** lag).unsqueeze(1).expand_as(steady)
    other = network(rung.gate, seeds, device, **options)
    return one, _learn(other, rung.other, schedule, opens)[0], begin


def ladder(seeds: int, steps: int, device: torch.device | str = "cpu") -> tuple[pd.DataFrame, float]:
    """How far the two networks of each rung are apart along training, and by how much at most those of the identity."""
    looked = sorted({1, 3, 10, 30, 100, steps} & set(range(steps + 1)))
    rows, deviation = [], math.nan
    for name, rung in RUNGS.items():
        identity = name == "one lag, order 0"
        one, other, begin = climb(rung, seeds, steps, lag=LAG if identity else None, device=device)
        if identity:
            deviation = float(((one - other).abs().amax(2) / one.abs().amax(2)).max())
        for step in looked:
            gaps = apart(one[step - 1], other[step - 1], begin).tolist()
            rows += [(name, seed, step, gap) for seed, gap in enumerate(gaps, 1)]
    return pd.DataFrame(rows, columns=["rung", "seed", "step", "apart"]), deviation


def _error(model: GatedRNN, run: Trajectory, target: Tensor) -> Tensor:
    """δ_T of the mean squared error."""
    return 2 * (run.x[-1] @ model.W_o.mT - target) @ model.W_o / target.shape[-2]


def _dot(one: dict[str, Tensor], other: dict[str, Tensor]) -> Tensor:
    return torch.stack([(one[name] * other[name]).sum((1, 2)) for name in LEARNED]).sum(0)


def _flat(model: GatedRNN) -> Tensor:
    return torch.cat([getattr(model, name).flatten(1) for name in LEARNED], 1)


def _learn(
    model: GatedRNN,
    gradient: Gradient,
    schedule: Float[Tensor, "steps S"],
    alpha: Callable[[int], float],
    watch: Callable[[dict[str, Tensor], Tensor, Tensor], Tensor] | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """All weights after every step, and what ``watch`` says before each."""
    seeds, steps = schedule.shape[1], len(schedule) - 1
    weights = [[getattr(model, name)[s] for name in LEARNED] for s in range(seeds)]
    optimiser = SGD([{"params": group} for group in weights], lr=RATE)
    moves = LambdaLR(optimiser, [by_step.__getitem__ for by_step in schedule.T.tolist()])
    data = training.generators(range(1, seeds + 1), protocol.TRAINING)
    path, watched = [], []
    for step in range(steps):
        if model.gate == "constant":
            model.alpha = (alpha(step),)
        u, target = (part.to(model.W_r.device) for part in TASK.draw(BATCH, data, torch.float64))
        gradients = gradient(model, u, target)
        if watch is not None:
            watched.append(watch(gradients, u, target))
        for s, name in product(range(seeds), LEARNED):
            weights[s][LEARNED.index(name)].grad = gradients[name][s]
        optimiser.step()
        moves.step()
        path.append(_flat(model))
    return torch.stack(path), watched


# Momentum: a trace kept by the gate against torch's buffer


def streams(seeds: int, steps: int, correlation: float = 0.0) -> tuple[Tensor, Tensor]:
    """White inputs, and targets that forget with the given time constant: ``(steps, S, ·)`` each."""
    sources = training.generators(range(1, seeds + 1), protocol.TRAINING)
    width = TASK.n_inputs + NEURONS
    drawn = torch.stack([torch.randn(steps, width, generator=g, dtype=torch.float64) for g in sources], 1)
    u, noise = drawn.split([TASK.n_inputs, NEURONS], -1)
    keep = 0.0 if correlation == 0 else float(np.exp(-1 / correlation))
    target = [noise[0]]
    for fresh in noise[1:]:
        target.append(keep * target[-1] + (1 - keep**2) ** 0.5 * fresh)
    return u, torch.stack(target)


def read(
    model: GatedRNN,
    u: Float[Tensor, "T S m"],
    delta: Callable[[int, Tensor], Tensor],
    betas: Sequence[float] | str | None = None,
) -> tuple[Tensor, Tensor]:
    """Learn W_r in place while reading an endless input: W_r at the end, and the gates at every step.

    Args:
        delta: the gradient of the loss with respect to the state, from the step and the state.
        betas: of torch's momentum, one for each replica, or ``"moving"``: 1 - g at each step; None: the gate's trace.
    """
    rows = list(model.W_r)  # one group of weights for each replica
    optimiser = SGD([{"params": [row]} for row in rows], lr=ONLINE_RATE, momentum=0.5, dampening=0.5)
    for row in rows:
        row.grad = torch.zeros_like(row)
    optimiser.step()  # torch does not dampen the first gradient: let that one be zero
    x, trace, gates = u.new_zeros(len(rows), NEURONS), torch.zeros_like(model.W_r), []
    for t in range(len(u)):
        run = model.run(u[t : t + 1], x)
        x, g = run.x[0], run.g[0].expand_as(run.x[0])
        gates.append(g[:, 0])
        credit = (1 - run.phi[0] ** 2).unsqueeze(-1) * run.x_prev[0].unsqueeze(-2)
        signal = delta(t, x).unsqueeze(-1)
        if betas is None:
            trace = torch.lerp(trace, credit, g.unsqueeze(-1))
            model.W_r -= ONLINE_RATE * signal * trace
            continue
        for s, (row, group) in enumerate(zip(rows, optimiser.param_groups, strict=True)):
            beta = float(1 - g[s, 0]) if isinstance(betas, str) else float(betas[s])
            group["momentum"] = group["dampening"] = beta
            row.grad = (signal * credit)[s]
        optimiser.step()
    return model.W_r.clone(), torch.stack(gates)


def momentum(seeds: int, steps: int, device: torch.device | str = "cpu") -> tuple[pd.DataFrame, dict[str, float]]:
    """A gate's trace against torch's momentum with one fixed β, where errors move and where gates move.

    Returns:
        Columns cause, knob (correlation time of the target, or standard deviation of the gate over time), seed, apart,
        place (of the knob in its order). And the largest relative difference of the weights of two identities: with a
        gate and an error that stay, ``"fixed"``, and with β set to 1 - g at every step, ``"moving"``.
    """
    u, target = (part.to(device) for part in streams(seeds, steps))
    fixed, rows, exact = [1 - ALPHA] * seeds, [], []

    def still(t: int, x: Tensor) -> Tensor:
        return target[0]

    def constant() -> GatedRNN:
        return network("constant", seeds, device, alpha=ALPHA)

    begin = constant().W_r.clone()
    by_gate, by_torch = (read(constant(), u, still, betas)[0] for betas in (None, fixed))
    for place, time in enumerate(TIMES):
        squared = partial(_squared, streams(seeds, steps, time)[1].to(device))
        one, other = (read(constant(), u, squared, betas)[0] for betas in (None, fixed))
        gaps = apart(one, other, begin).tolist()
        rows += [("errors that move", time, seed, gap, place) for seed, gap in enumerate(gaps, 1)]
    for place, size in enumerate(SWINGS):
        one, gates = read(swinging(size, seeds, device), u, still)
        other, _ = read(swinging(size, seeds, device), u, still, (1 - gates.mean(0)).tolist())
        same, _ = read(swinging(size, seeds, device), u, still, "moving")
        exact.append(_deviation(one, same))
        parted = zip(gates.std(0).tolist(), apart(one, other, begin).tolist(), strict=True)
        rows += [("gates that move", spread, seed, gap, place) for seed, (spread, gap) in enumerate(parted, 1)]
    table = pd.DataFrame(rows, columns=["cause", "knob", "seed", "apart", "place"])
    return table, {"fixed": _deviation(by_gate, by_torch), "moving": max(exact)}


def swinging(size: float, seeds: int, device: torch.device | str = "cpu") -> GatedRNN:
    """Scalar gates around 0.2 that follow the inputs, the more the larger ``size``."""
    model = network("scalar", seeds, device, bias=True)
    for name, scale, shift in (("W_rg", 0, 0), ("b", 0, 0), ("b_g", 0, math.log(0.25)), ("W_ig", size, 0)):
        getattr(model, name).mul_(scale).add_(shift)
    return model


def _squared(target: Tensor, t: int, x: Tensor) -> Tensor:
    return x - target[t]


def _deviation(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / one.abs().max())
