"""Every gate under every optimiser (E4): trained side by side, with what a step multiplies contributions by.

Beside each run an Adam looks at the very gradients that the run produces
(:class:`~gatelr.experiments.preconditioners.Shadow`), so that the gate's multiplier and the one that Adam would use
can be compared coordinate by coordinate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import lr_scheduler

from gatelr import tasks, training
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments import preconditioners, protocols

#: SGD alone, with Polyak's momentum, under a cosine schedule to zero; and Adam.
Method = Literal["SGD", "momentum", "cosine", "Adam"]

#: Of the momentum, as most people set it, and as Adam's first moment has it.
BETA = 0.9

#: The weights of a gate.
GATE_WEIGHTS = ("W_rg", "W_ig", "b_g")


def made(
    model: GatedRNN, method: Method, rate: float, steps: int, *, frozen: bool = False
) -> tuple[torch.optim.Optimizer, lr_scheduler.LRScheduler | None]:
    """Torch's optimiser of a name, and its schedule if it has one.

    Args:
        model: whose weights it moves.
        method: which.
        rate: μ.
        steps: of the whole run, at whose end the cosine is zero.
        frozen: whether the gate's weights stay as they were drawn.

    Returns:
        Optimiser and schedule.

    Raises:
        ValueError: for an unknown method.
    """
    if method not in ("SGD", "momentum", "cosine", "Adam"):
        raise ValueError(f"got method {method!r}, expected 'SGD', 'momentum', 'cosine' or 'Adam': check the spelling")
    groups = [
        {"params": [weight], "lr": 0.0 if frozen and name in GATE_WEIGHTS else rate}
        for name, weight in model.named_parameters()
    ]
    if method == "Adam":
        return torch.optim.Adam(groups, lr=rate), None
    optimiser = torch.optim.SGD(groups, lr=rate, momentum=BETA if method == "momentum" else 0.0)
    return optimiser, lr_scheduler.CosineAnnealingLR(optimiser, steps) if method == "cosine" else None


def against_optimisers(
    task: tasks.Task,
    gate: str,
    seeds: Sequence[int],
    *,
    optimiser: Method = "SGD",
    rate: float,
    steps: int = 1200,
    checkpoints: Sequence[int] = (0, 300, 600, 900, 1200),
    n: int = 32,
    batch: int = 32,
    probed: int = 64,
    fresh: int = 512,
    alpha: float = 0.2,
    frozen: bool = False,
    device: torch.device | str = "cpu",
    progress: bool | None = None,
) -> training.Run:
    """Train, and measure at each checkpoint what a step multiplies contributions by.

    Args:
        task: what to learn.
        gate: one of the four.
        seeds: one replica for each.
        optimiser: ``"SGD"``, ``"momentum"``, ``"cosine"`` or ``"Adam"``.
        rate: μ.
        steps: number of updates.
        checkpoints: the steps before which to probe.
        n: neurons.
        batch: sequences a step.
        probed: sequences of a probe, drawn once for each replica.
        fresh: sequences for the loss, which training never sees.
        alpha: the constant gate.
        frozen: whether the gate's weights stay as they were drawn: the null of a gate that training moves.
        device: where to compute; every draw is made on the CPU.
        progress: whether to show a bar, as for ``training.train``.

    Returns:
        The run; each of its probes holds records ``"training"`` (seed; fresh loss and that of the best constant),
        ``"lags"`` (seed, lag; the gate's factor and its agreement with the shadow) and, from the first update on,
        ``"steps"`` (seed; all that :meth:`Measured.compared` measures).
    """
    model = protocols.network(task, gate, seeds, n, alpha=alpha if gate == "constant" else None, device=device)
    engine, schedule = made(model, optimiser, rate, steps, frozen=frozen)
    shadow = preconditioners.Shadow(engine, model.W_r)
    data = task.draw(probed, training.generators(seeds, protocols.PROBE), torch.float64)
    unseen = task.draw(fresh, training.generators(seeds, protocols.FRESH), held_out=True)

    def batch_loss(model: GatedRNN) -> Tensor:
        found = data.target.to(device)
        found = found.to(model.W_r.dtype) if found.is_floating_point() else found
        return task.loss(model(data.u.to(model.W_r)), found)

    def probe(step: int, model: GatedRNN) -> protocols.Records:
        loss = protocols.losses(model, task, unseen)
        found: protocols.Records = {"training": [], "lags": [], "steps": []}
        for seed, value in zip(seeds, loss.tolist(), strict=True):
            found["training"].append({"seed": seed, "loss": value, "constant": task.constant_loss})
        adam = shadow.rates() if step else None
        memory = preconditioners.remembered(model, engine, batch_loss) if step else None
        networks = {s: Measured(model, task, data, s) for s in range(len(seeds))}
        # a network that has diverged has a loss, and nothing else to measure
        alive = [s for s, one in networks.items() if one.alive and (adam is None or bool(adam[s].isfinite().all()))]
        for s, other in zip(alive, [*alive[-1:], *alive[:-1]], strict=True):
            seed = seeds[s]
            by_lag = networks[s].by_lag(None if adam is None else adam[s])
            found["lags"] += [{"seed": seed} | record for record in by_lag]
            if adam is not None and memory is not None:
                null = torch.Generator().manual_seed(seed + protocols.NULL)
                found["steps"].append(
                    {"seed": seed, "rate now": engine.param_groups[0]["lr"], "along iterations": float(memory[s])}
                    | networks[s].compared(adam[s], optimiser == "Adam", networks[other].steps, null)
                )
        return found

    return training.train(
        model,
        task,
        engine,
        steps,
        training.generators(seeds, protocols.TRAINING),
        batch=batch,
        schedule=schedule,
        probe=probe,
        checkpoints=checkpoints,
        progress=progress,
    )


class Measured:
    """One network of a model at one checkpoint, along the sequences of the probe, in float64.

    Args:
        model: all networks.
        task: what they learn.
        data: the sequences, in float64.
        s: which network.
    """

    def __init__(self, model: GatedRNN, task: tasks.Task, data: tasks.Batch, s: int):
        alone = protocols.in_float64(model.replica(s))
        run = alone.run(data.u[:, s].to(alone.W_r))
        # to the task every sequence is a replica: a loss of its own, and so its gradient at the readout
        out = (run.x[-1] @ alone.W_o.mT).unsqueeze(1).requires_grad_()
        (error,) = torch.autograd.grad(task.loss(out, data.target[s].to(out.device).unsqueeze(1)).sum(), out)
        self.run: Trajectory = run
        self.gated = alone.gate != "none"
        self.factor = preconditioners.factors(alone, run)
        self.signal = preconditioners.signals(alone, run, error[:, 0] @ alone.W_o)

    @property
    def alive(self) -> bool:
        """Whether something is contributed to every weight; a neuron that is saturated throughout has no steps."""
        weights = preconditioners.weights(self.signal, self.run.x_prev)
        return bool(weights.isfinite().all() and (weights > 0).all())

    @cached_property
    def steps(self) -> preconditioners.Steps:
        """What the gate multiplies by."""
        return preconditioners.gate_steps(self.factor, self.signal, self.run.x_prev)

    def by_lag(self, adam: Tensor | None) -> list[dict[str, Any]]:
        """For each lag the gate's factor: its mean over neurons and sequences, its spreads, whether Adam has it too."""
        rows = None if adam is None else adam.log().mean(1).exp()
        found = []
        for lag, factor in enumerate(self.factor.flip(0)):
            log = factor.log10()
            alike = math.nan if rows is None else preconditioners.agreement(factor.mean(0), rows).rank
            found.append(
                {"lag": lag, "factor": float(factor.mean()), "over neurons": float(log.mean(0).std(correction=0))}
                | {"over sequences": float(log.std(0, correction=0).mean()), "rows like Adam": alike}
            )
        return found

    def compared(
        self, adam: Tensor, by_adam: bool, foreign: preconditioners.Steps, null: torch.Generator
    ) -> dict[str, float]:
        """One record: the structure of the whole step, of the gate's part and of Adam's, and their agreement.

        Args:
            adam: what the shadow would multiply by, ``(n, n)``.
            by_adam: whether the run is Adam's, so that its rates are part of the step.
            foreign: the gate's steps in a network that has nothing to do with this one.
            null: source of shuffled gates.

        Returns:
            Numbers by name.
        """
        step = self.steps.coordinates * adam if by_adam else self.steps.coordinates
        rows = adam.log().mean(1).exp()
        whole, other = preconditioners.structure(step), preconditioners.structure(adam)
        in_rows = preconditioners.agreement(self.steps.rows, rows)
        in_all = preconditioners.agreement(self.steps.coordinates, adam)
        found = {name: getattr(whole, name) for name in whole._fields}
        found |= {f"Adam {name}": getattr(other, name) for name in other._fields}
        found |= {
            "log step": float(step.log10().mean()),
            "normalised": preconditioners.agreement(step, self.steps.size).rank,
            "rows normalised": preconditioners.agreement(
                step.log().mean(1).exp(), self.steps.size.square().mean(1).sqrt()
            ).rank,
            "step like Adam": preconditioners.agreement(step.log().mean(1).exp(), rows).rank,
            "rows like Adam": in_rows.rank,
            "rows like Adam, foreign": preconditioners.agreement(foreign.rows, rows).rank,
            "rows cosine": in_rows.cosine,
            "rows cosine, null": in_rows.cosine_null,
            "all like Adam": in_all.rank,
            "all cosine": in_all.cosine,
            "all cosine, null": in_all.cosine_null,
            "along the sequence": float((1 - self.run.g).mean()),
            "over sequences": float(self.factor.log10().std(1, correction=0).mean()),
        }
        if not self.gated:
            return found | dict.fromkeys(("fixed beta", "shuffled gates", "last credit"), math.nan)
        trace = preconditioners.fixed_momentum(self.run, null)
        return found | {"fixed beta": trace.fixed, "shuffled gates": trace.shuffled, "last credit": trace.last}
