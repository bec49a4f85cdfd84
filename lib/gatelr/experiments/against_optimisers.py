"""E4, gates against optimisers: every gate under every optimiser, with what a step multiplies contributions by.

Beside each run an Adam looks at the very gradients that the run produces
(:class:`~gatelr.experiments.optimiser_steps.Shadow`), so that the gate's multiplier and the one that Adam would use
can be compared coordinate by coordinate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import lr_scheduler

from gatelr import tasks, training
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments import online_rules, optimiser_steps, pilot, preconditioners, protocol, step_structure
from gatelr.experiments.runs import Run

#: This experiment, as a run names it.
NAME = "against_optimisers"

#: A gate and an optimiser.
Method = tuple[str, str]

#: What is compared.
METHODS: tuple[Method, ...] = (
    *product(["none"], ["SGD", "cosine", "momentum", "Adam"]),
    *product(["constant", "scalar", "multi"], ["SGD"]),
    ("multi", "Adam"),
)
#: The multi-gate under SGD.
MULTI: Method = ("multi", "SGD")

#: Rates that were tried, for SGD alone, under a cosine schedule to zero and with Polyak's momentum, and for Adam.
GRID = {
    "SGD": (0.03, 0.1, 0.3, 1.0, 3.0),
    "cosine": (0.03, 0.1, 0.3, 1.0, 3.0),
    "momentum": (0.003, 0.01, 0.03, 0.1, 0.3),
    "Adam": (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1),
}
#: Seeds of the search for rates, which occur nowhere else.
GRID_SEEDS = (101, 102, 103)

#: The best rate of each method by ``reference/e4-grid.csv``, in the order of the methods.
RATES = {
    "adding": dict(zip(METHODS, (0.1, 0.1, 0.03, 0.003, 0.3, 0.3, 0.3, 0.03), strict=True)),
    "moving_average": dict(zip(METHODS, (0.1, 0.3, 0.1, 0.001, 1.0, 0.3, 0.3, 0.03), strict=True)),
    "delay_sum": dict(zip(METHODS, (0.1, 0.3, 0.1, 0.003, 1.0, 0.3, 0.3, 0.003), strict=True)),
}

#: The tasks, with what :func:`gatelr.tasks.get` takes beside the number of steps.
TASKS: dict[str, dict[str, Any]] = {"adding": {}, "moving_average": {}, "delay_sum": {"delays": (1, 3, 5)}}

#: Of every task, steps; neurons, sequences of a batch, of the probe and of fresh ones for the loss.
STEPS, NEURONS, BATCH, PROBED, FRESH = 20, 32, 32, 64, 512

#: The constant gate; momentum as most people set it, and as Adam's first moment has it.
ALPHA, BETA = 0.2, 0.9

#: The lags that are tabulated.
LAGS = (0, 1, 2, 4, 8, 12, 16)


def plan(parameters: Mapping[str, Any]) -> list[Run]:
    """Every method at its best rate on every task that is run here, the interventions, and the search if it is run.

    Args:
        parameters: ``seeds``, ``tasks_here``, ``training_steps`` and ``grid_here``.

    Returns:
        Runs, whose label ``"search"`` says whether they belong to the search. Those of
        :mod:`gatelr.experiments.interventions` have the rate of the gate that learns, and with multi-gates also that of
        no gate.
    """
    last = parameters["training_steps"]
    quarters = [round(last * part / 4) for part in range(5)]

    def run(task: str, method: Method, rate: float, *, search: bool = False, of: str = NAME, **more: Any) -> Run:
        gate, optimiser = method
        settings = {"rate": rate, "steps": last, "checkpoints": [last] if search else quarters}
        settings |= {"task_options": {"steps": STEPS} | TASKS[task]} | more
        labels = {"task": task, "gate": gate, "optimiser": optimiser, "rate": rate, "search": search}
        seeds = GRID_SEEDS if search else pilot.deciding(parameters["seeds"])
        return Run(of, task, gate, optimiser, seeds, settings, labels)

    here = parameters["tasks_here"]
    runs = [run(task, method, RATES[task][method]) for task, method in product(here, METHODS)]
    for task in here:
        ungated = RATES[task]["none", "SGD"]
        runs += [run(task, ("scalar", "SGD"), RATES[task]["scalar", "SGD"], of="interventions")]
        runs += [run(task, MULTI, RATES[task][MULTI], of="interventions", ungated_rate=ungated)]
    for task, method in product(here if parameters["grid_here"] else [], METHODS):
        runs += [run(task, method, rate, search=True) for rate in GRID[method[1]]]
    return runs


def made(
    model: GatedRNN, optimiser: str, rate: float, steps: int
) -> tuple[torch.optim.Optimizer, lr_scheduler.LRScheduler | None]:
    """Torch's optimiser of a name, and its schedule if it has one.

    Args:
        model: whose weights it moves.
        optimiser: which.
        rate: μ.
        steps: of the whole run, at whose end the cosine is zero.

    Raises:
        ValueError: for an unknown optimiser.
    """
    if optimiser not in GRID:
        raise ValueError(f"got optimiser {optimiser!r}, expected one of {', '.join(GRID)}: check the spelling")
    if optimiser == "Adam":
        return torch.optim.Adam(model.parameters(), lr=rate), None
    descent = torch.optim.SGD(model.parameters(), lr=rate, momentum=BETA if optimiser == "momentum" else 0.0)
    return descent, lr_scheduler.CosineAnnealingLR(descent, steps) if optimiser == "cosine" else None


def measure(setup: protocol.Setup) -> training.Run:
    """Train, and measure at each checkpoint what a step multiplies contributions by.

    Args:
        setup: with a rate, and an optimiser of :data:`GRID`.

    Returns:
        The run. Each of its probes holds a record for each seed under ``"training"`` (the loss on fresh data and that
        of the best constant), for each seed and lag under ``"lags"`` (:func:`by_lag`) and, from the first update on,
        for each seed under ``"steps"`` (:func:`compared` and :func:`memories`) and for each seed and neuron under
        ``"rows"`` (what the gate and the shadow multiply a row by).

    Raises:
        ValueError: without a rate.
    """
    if setup.rate is None:
        raise ValueError("got no rate, expected one: each method has its own best, which the search has to find")
    task, model = setup.task, setup.network(NEURONS, ALPHA)
    engine, schedule = made(model, setup.optimiser, setup.rate, setup.steps)
    shadow = optimiser_steps.Shadow(engine, model.W_r)
    data, unseen = setup.draw(PROBED, protocol.PROBE, torch.float64), setup.draw(FRESH, protocol.FRESH)

    def batch_loss(model: GatedRNN) -> Tensor:
        target = data.target.to(setup.device)
        target = target.to(model.W_r.dtype) if target.is_floating_point() else target
        return task.loss(model(data.u.to(model.W_r)), target)

    def probe(step: int, model: GatedRNN) -> protocol.Records:
        adams = shadow.rates() if step else [None] * len(setup.seeds)
        memory = optimiser_steps.remembered(model, engine, batch_loss).tolist() if step else []
        records: protocol.Records = {"training": setup.losses(model, unseen), "lags": [], "steps": [], "rows": []}
        for s, (seed, adam) in enumerate(zip(setup.seeds, adams, strict=True)):
            run, factor, signal = along(model, task, data, s)
            weights = preconditioners.weights(signal, run.x_prev)
            # a network that has diverged has a loss, and nothing else to measure; nor has one whose neurons saturate
            if not (weights.isfinite() & (weights > 0)).all() or (adam is not None and not adam.isfinite().all()):
                continue
            records["lags"] += [{"seed": seed} | record for record in by_lag(factor, adam)]
            if adam is None:
                continue
            gate = preconditioners.gate_steps(factor, signal, run.x_prev)
            null = torch.Generator().manual_seed(seed + protocol.NULL) if setup.gate != "none" else None
            at_step = {"seed": seed, "rate now": engine.param_groups[0]["lr"], "along iterations": memory[s]}
            at_step |= compared(gate, adam, by_adam=setup.optimiser == "Adam") | memories(run, factor, null)
            records["steps"].append(at_step)
            pairs = zip(gate.rows.tolist(), row_rates(adam).tolist(), strict=True)
            records["rows"] += [
                {"seed": seed, "neuron": q, "by gate": of_gate, "by Adam": of_adam}
                for q, (of_gate, of_adam) in enumerate(pairs)
            ]
        return records

    return setup.train(model, probe, engine=engine, batch=BATCH, schedule=schedule, companions={"shadow": shadow})


def row_rates(steps: Tensor) -> Tensor:
    """The geometric mean of each row."""
    return steps.log().mean(1).exp()


def along(
    model: GatedRNN, task: tasks.Task, data: tasks.Batch, s: int
) -> tuple[Trajectory, Float[Tensor, "T B n"], Float[Tensor, "T B n"]]:
    """What network s does along the sequences of the probe, in float64, the gate's factor there, and the signal."""
    alone = protocol.in_float64(model.replica(s))
    run = alone.run(data.u[:, s].to(alone.W_r))
    delta = protocol.error(alone, task, run, data.target[s])[:, 0] @ alone.W_o
    return run, preconditioners.factors(alone, run), preconditioners.signals(alone, run, delta)


def by_lag(factors: Float[Tensor, "T B n"], adam: Float[Tensor, "n n"] | None) -> list[dict[str, Any]]:
    """For each lag the gate's factor, its mean over neurons and sequences, and whether Adam's rows are like it."""
    records = []
    for lag, factor in enumerate(factors.flip(0)):
        alike = math.nan if adam is None else step_structure.agreement(factor.mean(0), row_rates(adam)).rank
        records.append({"lag": lag, "factor": float(factor.mean()), "rows like Adam": alike})
    return records


def compared(gate: preconditioners.Steps, adam: Float[Tensor, "n n"], *, by_adam: bool) -> dict[str, float]:
    """The structure of a whole step, which Adam's rates are part of in its own run, and how gate and shadow agree."""
    step = gate.coordinates * adam if by_adam else gate.coordinates
    of_step, of_adam = row_rates(step), row_rates(adam)
    whole, other = step_structure.structure(step), step_structure.structure(adam)
    in_rows = step_structure.agreement(gate.rows, of_adam)
    in_all = step_structure.agreement(gate.coordinates, adam)
    return {
        "log step": float(step.log10().mean()),
        "spread": whole.spread,
        "even": whole.even,
        "rows": whole.rows,
        "Adam spread": other.spread,
        "Adam rows": other.rows,
        "Adam columns": other.columns,
        "normalised": step_structure.agreement(step, gate.size).rank,
        "rows normalised": step_structure.agreement(of_step, gate.size.square().mean(1).sqrt()).rank,
        "step like Adam": step_structure.agreement(of_step, of_adam).rank,
        "rows like Adam": in_rows.rank,
        "rows cosine": in_rows.cosine,
        "rows cosine, null": in_rows.cosine_null,
        "all like Adam": in_all.rank,
        "all cosine": in_all.cosine,
        "all cosine, null": in_all.cosine_null,
    }


def memories(run: Trajectory, factor: Float[Tensor, "T B n"], shuffled: torch.Generator | None) -> dict[str, float]:
    """What is kept along a sequence, how it varies over sequences, and what momentum explains of a gated trace."""
    trace = online_rules.fixed_momentum(run, shuffled) if shuffled else None
    return {
        "along the sequence": float((1 - run.g).mean()),
        "over sequences": float(factor.log10().std(1, correction=0).mean()),
        "fixed beta": trace.fixed if trace else math.nan,
        "shuffled gates": trace.shuffled if trace else math.nan,
        "last credit": trace.last if trace else math.nan,
    }
