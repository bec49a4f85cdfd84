"""E4, gates against optimisers: every gate under every optimiser, with what a step multiplies contributions by.

Beside each run an Adam looks at the very gradients that the run produces
(:class:`~gatelr.experiments.preconditioners.Shadow`), so that the gate's multiplier and the one that Adam would use
can be compared coordinate by coordinate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.optim import lr_scheduler

from gatelr import statistics, tasks, training
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments import preconditioners, protocol
from gatelr.experiments.runs import Run

#: SGD alone, with Polyak's momentum, under a cosine schedule to zero; and Adam.
Optimiser = Literal["SGD", "momentum", "cosine", "Adam"]

#: A gate and an optimiser.
Method = tuple[str, str]

#: What is compared, and the null of a gate that training moves.
METHODS: tuple[Method, ...] = (
    *product(["none"], ["SGD", "cosine", "momentum", "Adam"]),
    *product(["constant", "scalar", "multi"], ["SGD"]),
    ("multi", "Adam"),
)
#: The multi-gate under SGD, and the same with its gate held as it was drawn.
MULTI, FROZEN = ("multi", "SGD"), ("multi, frozen", "SGD")

#: Rates that were tried, on seeds that occur nowhere else.
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
    "adding": dict(zip(METHODS, (0.1, 0.1, 0.03, 0.003, 0.1, 0.3, 0.3, 0.01), strict=True)),
    "moving_average": dict(zip(METHODS, (0.3, 0.3, 0.1, 0.001, 1.0, 0.3, 0.3, 0.03), strict=True)),
}

#: What the tasks are called.
NAMES = {"adding": "adding", "moving_average": "moving average"}

#: Of every task, steps; neurons, sequences of a batch, of the probe and of fresh ones for the loss.
STEPS, NEURONS, BATCH, PROBED, FRESH = 20, 32, 32, 64, 512

#: The constant gate; momentum as most people set it, and as Adam's first moment has it.
ALPHA, BETA = 0.2, 0.9

#: The weights of a gate.
GATE_WEIGHTS = ("W_rg", "W_ig", "b_g")

#: The lags that are tabulated.
LAGS = (0, 1, 2, 4, 8, 12, 16)

#: What says which row of a table is which, and how far two runs of it may differ (absolute, relative).
KEYS = ["task", "gate", "optimiser", "seed", "step"]
#: How far a column may lie from the reference, absolutely and relative to it.
TOLERANCES: dict[str, dict[str, tuple[float, float]]] = {
    "training": {"loss": (0.0, 0.1)},
    "steps": dict.fromkeys(
        ("spread", "rows", "Adam rows", "rows like Adam", "over sequences", "fixed beta"), (0.05, 0.0)
    ),
    "lags": {f"factor @{lag}": (0.02, 0.02) for lag in LAGS},
}


def plan(parameters: Mapping[str, Any]) -> list[Run]:
    """Every method at its best rate on every task that is run here, and the search for that rate if it is.

    Args:
        parameters: ``seeds``, ``tasks_here``, ``training_steps`` and ``grid_here``.

    Returns:
        Runs, whose label ``"search"`` says whether they belong to the search.
    """
    last = parameters["training_steps"]
    quarters = [round(last * part / 4) for part in range(5)]

    def run(task: str, method: Method, rate: float, seeds: Sequence[int], checkpoints: list[int]) -> Run:
        gate, optimiser = method
        settings = {"rate": rate, "steps": last, "checkpoints": checkpoints, "task_options": {"steps": STEPS}}
        settings |= {"frozen": True} if method == FROZEN else {}
        labels = {"task": task, "gate": gate, "optimiser": optimiser, "rate": rate, "search": seeds == GRID_SEEDS}
        drawn = gate.removesuffix(", frozen")
        return Run("against_optimisers", task, drawn, optimiser, tuple(seeds), settings, labels)

    here, seeds = parameters["tasks_here"], tuple(range(1, parameters["seeds"] + 1))
    runs = [run(task, method, RATES[task][method], seeds, quarters) for task, method in product(here, METHODS)]
    runs += [run(task, FROZEN, RATES[task][MULTI], seeds, quarters) for task in here]
    for task, method in product(here if parameters["grid_here"] else [], METHODS):
        runs += [run(task, method, rate, GRID_SEEDS, [last]) for rate in GRID[method[1]]]
    return runs


def made(
    model: GatedRNN, optimiser: Optimiser, rate: float, steps: int, *, frozen: bool = False
) -> tuple[torch.optim.Optimizer, lr_scheduler.LRScheduler | None]:
    """Torch's optimiser of a name, and its schedule if it has one.

    Args:
        model: whose weights it moves.
        optimiser: which.
        rate: μ.
        steps: of the whole run, at whose end the cosine is zero.
        frozen: whether the gate's weights stay as they were drawn.

    Raises:
        ValueError: for an unknown optimiser.
    """
    if optimiser not in GRID:
        raise ValueError(f"got optimiser {optimiser!r}, expected one of {', '.join(GRID)}: check the spelling")
    groups = [
        {"params": [weight], "lr": 0.0 if frozen and name in GATE_WEIGHTS else rate}
        for name, weight in model.named_parameters()
    ]
    if optimiser == "Adam":
        return torch.optim.Adam(groups, lr=rate), None
    descent = torch.optim.SGD(groups, lr=rate, momentum=BETA if optimiser == "momentum" else 0.0)
    return descent, lr_scheduler.CosineAnnealingLR(descent, steps) if optimiser == "cosine" else None


def measure(
    task: tasks.Task,
    gate: str,
    optimiser: Optimiser,
    seeds: Sequence[int],
    *,
    rate: float,
    steps: int,
    checkpoints: Sequence[int],
    frozen: bool = False,
    device: torch.device | str = "cpu",
    save: str | Path | None = None,
    progress: bool | None = None,
) -> training.Run:
    """Train, and measure at each checkpoint what a step multiplies contributions by.

    Args:
        task: what to learn.
        gate: one of the four.
        optimiser: which.
        seeds: one replica for each.
        rate: μ.
        steps: number of updates.
        checkpoints: the steps before which to probe.
        frozen: whether the gate's weights stay as they were drawn.
        device: where to compute; every draw is made on the CPU.
        save: a file from which a run that was killed goes on.
        progress: whether to show a bar, as for ``training.train``.

    Returns:
        The run. Each of its probes holds a record for each seed under ``"training"`` (the loss on fresh data and that
        of the best constant), for each seed and lag under ``"lags"`` (:meth:`Measured.by_lag`) and, from the first
        update on, for each seed under ``"steps"`` (:meth:`Measured.compared`) and for each seed and neuron under
        ``"rows"`` (what the gate and the shadow multiply a row by).
    """
    model = protocol.network(task, gate, seeds, NEURONS, alpha=ALPHA if gate == "constant" else None, device=device)
    engine, schedule = made(model, optimiser, rate, steps, frozen=frozen)
    shadow = preconditioners.Shadow(engine, model.W_r)
    data = task.draw(PROBED, training.generators(seeds, protocol.PROBE), torch.float64)
    unseen = task.draw(FRESH, training.generators(seeds, protocol.FRESH), held_out=True)

    def batch_loss(model: GatedRNN) -> Tensor:
        target = data.target.to(device)
        target = target.to(model.W_r.dtype) if target.is_floating_point() else target
        return task.loss(model(data.u.to(model.W_r)), target)

    def probe(step: int, model: GatedRNN) -> protocol.Records:
        losses = protocol.losses(model, task, unseen).tolist()
        adam = shadow.rates() if step else None
        memory = preconditioners.remembered(model, engine, batch_loss) if step else None
        records: protocol.Records = {"training": [], "lags": [], "steps": [], "rows": []}
        for s, seed in enumerate(seeds):
            records["training"].append({"seed": seed, "loss": losses[s], "constant": task.constant_loss})
            network = Measured(model, task, data, s)
            # a network that has diverged has a loss, and nothing else to measure
            if not network.alive or (adam is not None and not adam[s].isfinite().all()):
                continue
            by_lag = network.by_lag(None if adam is None else adam[s])
            records["lags"] += [{"seed": seed} | record for record in by_lag]
            if adam is not None and memory is not None:
                null = torch.Generator().manual_seed(seed + protocol.NULL)
                at_step = {"seed": seed, "rate now": engine.param_groups[0]["lr"], "along iterations": float(memory[s])}
                records["steps"].append(at_step | network.compared(adam[s], optimiser == "Adam", null))
                pairs = zip(network.steps.rows.tolist(), row_rates(adam[s]).tolist(), strict=True)
                records["rows"] += [
                    {"seed": seed, "neuron": q, "by gate": of_gate, "by Adam": of_adam}
                    for q, (of_gate, of_adam) in enumerate(pairs)
                ]
        return records

    return training.train(
        model,
        task,
        engine,
        steps,
        training.generators(seeds, protocol.TRAINING),
        batch=BATCH,
        schedule=schedule,
        probe=probe,
        checkpoints=checkpoints,
        save=save,
        companions={"shadow": shadow},
        progress=progress,
    )


def row_rates(steps: Tensor) -> Tensor:
    """The geometric mean of each row."""
    return steps.log().mean(1).exp()


class Measured:
    """One network of a model at one checkpoint, along the sequences of the probe, in float64.

    Args:
        model: all networks.
        task: what they learn.
        data: the sequences, in float64.
        s: which network.
    """

    def __init__(self, model: GatedRNN, task: tasks.Task, data: tasks.Batch, s: int):
        alone = protocol.in_float64(model.replica(s))
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
        """For each lag the gate's factor, its mean over neurons and sequences, and whether Adam's rows are like it."""
        rows = None if adam is None else row_rates(adam)
        records = []
        for lag, factor in enumerate(self.factor.flip(0)):
            alike = math.nan if rows is None else preconditioners.agreement(factor.mean(0), rows).rank
            records.append({"lag": lag, "factor": float(factor.mean()), "rows like Adam": alike})
        return records

    def compared(self, adam: Tensor, by_adam: bool, null: torch.Generator) -> dict[str, float]:
        """One record: the structure of the whole step, of the gate's part and of Adam's, and their agreement.

        Args:
            adam: what the shadow would multiply by, ``(n, n)``.
            by_adam: whether the run is Adam's, so that its rates are part of the step.
            null: source of shuffled gates.

        Returns:
            Numbers by name.
        """
        step = self.steps.coordinates * adam if by_adam else self.steps.coordinates
        of_step, of_adam = row_rates(step), row_rates(adam)
        whole, other = preconditioners.structure(step), preconditioners.structure(adam)
        in_rows = preconditioners.agreement(self.steps.rows, of_adam)
        in_all = preconditioners.agreement(self.steps.coordinates, adam)
        trace = preconditioners.fixed_momentum(self.run, null) if self.gated else None
        return {
            "log step": float(step.log10().mean()),
            "spread": whole.spread,
            "even": whole.even,
            "rows": whole.rows,
            "Adam spread": other.spread,
            "Adam rows": other.rows,
            "Adam columns": other.columns,
            "normalised": preconditioners.agreement(step, self.steps.size).rank,
            "rows normalised": preconditioners.agreement(of_step, self.steps.size.square().mean(1).sqrt()).rank,
            "step like Adam": preconditioners.agreement(of_step, of_adam).rank,
            "rows like Adam": in_rows.rank,
            "rows cosine": in_rows.cosine,
            "rows cosine, null": in_rows.cosine_null,
            "all like Adam": in_all.rank,
            "all cosine": in_all.cosine,
            "all cosine, null": in_all.cosine_null,
            "along the sequence": float((1 - self.run.g).mean()),
            "over sequences": float(self.factor.log10().std(1, correction=0).mean()),
            "fixed beta": trace.fixed if trace else math.nan,
            "shuffled gates": trace.shuffled if trace else math.nan,
            "last credit": trace.last if trace else math.nan,
        }


# What the chapter makes of the records


def score(training_table: pd.DataFrame) -> pd.Series:
    """log10 of the loss over the best constant's; 2 for a run that diverged, a hundred times worse than that."""
    logs = (training_table.loss / training_table.constant).apply(np.log10)
    return logs.replace(np.inf, 2.0).fillna(2.0).clip(upper=2.0)


def searched(records: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The search for rates: a score for each task, method, rate and seed; without a row where none was run."""
    rows = records["training"][records["training"].search.astype(bool)]
    return rows.assign(score=score(rows))[[*KEYS[:3], "rate", "seed", "score"]]


def best_rates(search: pd.DataFrame) -> pd.Series:
    """The rate with the best mean score, by task, gate and optimiser."""
    means = search.groupby([*KEYS[:3], "rate"]).score.mean()
    return means.groupby(KEYS[:3]).idxmin().str[-1]


def not_best(search: pd.DataFrame) -> int:
    """How many of :data:`RATES` are not the best of a search."""
    best: dict[Any, float] = best_rates(search).to_dict()
    return sum(RATES[task][gate, optimiser] != rate for (task, gate, optimiser), rate in best.items())


def at_edge(task: str, method: Method) -> bool:
    """Whether a method's rate is the lowest or the highest tried: a better one may lie beyond."""
    return RATES[task][method] in (min(GRID[method[1]]), max(GRID[method[1]]))


def rates_table() -> pd.DataFrame:
    """The rate of each method on each task, and the grid that it was chosen from, as text."""
    rows = []
    for method in METHODS:
        chosen = [f"{rates[method]:g}" + " (edge)" * at_edge(task, method) for task, rates in RATES.items()]
        rows.append((" + ".join(method), *chosen, ", ".join(f"{rate:g}" for rate in GRID[method[1]])))
    return pd.DataFrame(rows, columns=["method", *NAMES.values(), "grid"])


def tables(records: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables that are compared with the committed ones: ``"training"``, ``"steps"`` and ``"lags"``.

    Args:
        records: what :func:`gatelr.experiments.runs.load` returns.

    Returns:
        The loss; what :meth:`Measured.compared` measures, with :func:`foreign`; and, by lag, log10 of the mean factor
        of a gated network and its agreement with Adam.
    """
    training_table, steps, lags, rows = (
        records[name][~records[name].search.astype(bool)].drop(columns=["search", "rate"])
        for name in ("training", "steps", "lags", "rows")
    )
    lags = lags[lags.lag.isin(LAGS) & (lags.gate != "none")].assign(factor=lambda table: table.factor.apply(np.log10))
    wide = lags.pivot(index=KEYS, columns="lag", values=["factor", "rows like Adam"])
    wide.columns = wide.columns.map("{0[0]} @{0[1]}".format)
    return {"training": training_table, "steps": steps.merge(foreign(rows), on=KEYS), "lags": wide.reset_index()}


def foreign(rows: pd.DataFrame) -> pd.DataFrame:
    """The null of another network's gates: rank correlation of a shadow's rows with the gate's of the seed before.

    Args:
        rows: by seed and neuron, what gate and shadow multiply a row by.

    Returns:
        One row for each network and step, the column ``"rows like Adam, foreign"``.
    """
    ranks = []
    for key, group in rows.groupby([name for name in KEYS if name != "seed"]):
        gates, adam = (group.pivot(index="seed", columns="neuron", values=f"by {who}") for who in ("gate", "Adam"))
        # the seed before the first is the last
        for seed, of_gate, of_adam in zip(gates.index, np.roll(gates.to_numpy(), 1, 0), adam.to_numpy(), strict=True):
            alike = preconditioners.agreement(torch.from_numpy(of_gate), torch.from_numpy(of_adam.copy())).rank
            ranks.append((*key[:3], seed, key[3], alike))
    return pd.DataFrame(ranks, columns=[*KEYS, "rows like Adam, foreign"])


def at_quarters(evidence: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The rows of the start and of each quarter of the longest run; losses with their score, and 10 to its minus."""
    end = evidence["training"].step.max()
    kept = {name: rows[rows.step.isin([round(end * part / 4) for part in range(5)])] for name, rows in evidence.items()}
    scores = score(kept["training"])
    return kept | {"training": kept["training"].assign(score=scores, ratio=10**-scores)}


def by_seed(rows: pd.DataFrame, column: str, method: Method = MULTI) -> pd.DataFrame:
    """One column of one method: a row for each seed, a column for each task."""
    chosen = rows[(rows.gate == method[0]) & (rows.optimiser == method[1])]
    return chosen.pivot(index="seed", columns="task", values=column)


def over_tasks(values: pd.DataFrame) -> pd.Series:
    """The mean over tasks, of the seeds that have all of them."""
    return values.dropna().mean(axis=1)


def by_claim(name: str, values: pd.DataFrame, *, mean: bool = True) -> dict[str, tuple[str, pd.Series]]:
    """A claim of the mean over tasks and one of each task: by its id, how its statement begins and its values."""
    claims = {name: ("", over_tasks(values))} if mean else {}
    for task in map(str, values):
        claims[f"{name}-{NAMES[task]}".replace(" ", "-")] = (f"{NAMES[task]}: ", values[task])
    return claims


def by_lag(lags: pd.DataFrame) -> pd.DataFrame:
    """The table of lags with a row for each lag: the log10 of its factor, and the rank correlation with Adam's rows."""
    parts = [
        lags[KEYS].assign(lag=lag, factor=lags[f"factor @{lag}"], rank=lags[f"rows like Adam @{lag}"]) for lag in LAGS
    ]
    return pd.concat(parts, ignore_index=True)


def changes(lags: pd.DataFrame) -> pd.DataFrame:
    """By lag, how log10 of the factor of multi-gates under SGD changes along training, and that of frozen ones.

    Args:
        lags: the table of that name.

    Returns:
        Columns gates (``"learn"`` or ``"frozen"``), lag, task, seed and change.
    """
    rows, index = by_lag(lags), ["gate", "optimiser", "lag", "task", "seed"]
    begin, end = (rows[rows.step == step].set_index(index).factor for step in (rows.step.min(), rows.step.max()))
    change = (end - begin).sort_index()
    kinds = {"learn": change.loc[MULTI], "frozen": change.loc[FROZEN]}
    return pd.concat(kinds, names=["gates"]).rename("change").reset_index()


def course(steps: pd.DataFrame) -> pd.DataFrame:
    """Multi-gates under SGD and their shadow along training: means over tasks with intervals, as text."""
    rows = steps[(steps.gate == MULTI[0]) & (steps.optimiser == MULTI[1])]
    columns = {
        "rank, rows": rows["rows like Adam"],
        "rank, coordinates": rows["all like Adam"],
        "cosine over its null": rows["all cosine"] - rows["all cosine, null"],
        "gate: spread": rows["spread"],
        "Adam: spread": rows["Adam spread"],
        "Adam: rows": rows["Adam rows"],
        "Adam: columns": rows["Adam columns"],
    }
    means = pd.DataFrame(columns).groupby([rows.step.rename("training step"), rows.seed]).mean()

    def text(seeds: pd.Series) -> str:
        return f"{statistics.estimate(seeds):.2f}".replace(" to ", ", ")

    return means.groupby("training step").agg(text).reset_index()


#: The columns of the page that compares three optimisers without a gate and three gates under plain SGD.
COLUMNS: dict[str, Method] = {
    "schedule": ("none", "cosine"),
    "momentum": ("none", "momentum"),
    "Adam": ("none", "Adam"),
    **{gate: (gate, "SGD") for gate in ("constant", "scalar", "multi")},
}


def one_page(steps: pd.DataFrame, lags: pd.DataFrame) -> pd.DataFrame:
    """What a step of each method multiplies contributions by, property by property.

    Args:
        steps: the table of that name, with five checkpoints that divide training into quarters or four without the
            first.
        lags: the table of that name.

    Returns:
        Property and method, how many seeds have it, and the mean of these over tasks with its interval.
    """
    *_, first, _, third, last = sorted(steps.step.unique().tolist())
    rates_now = steps["rate now"].clip(lower=1e-300).apply(np.log10)
    steps, ends = steps.assign(whole=steps["log step"] + rates_now), lags[lags.step == last]

    def measured(column: str, step: int = last) -> Callable[[Method], pd.Series]:
        return lambda method: over_tasks(by_seed(steps[steps.step == step], column, method))

    def falls(method: Method) -> pd.Series:
        if method[0] == "none":  # without a gate every lag has the factor 1
            return 0 * measured("spread")(method)
        near, far = (over_tasks(by_seed(ends, f"factor @{lag}", method)) for lag in (0, 8))
        return near - far

    properties: dict[str, Callable[[Method], pd.Series]] = {
        "differs over coordinates: sd of log₁₀": measured("spread"),
        "… of which between rows: share": measured("rows"),
        "follows gradient size: rank r, −1 normalises": measured("normalised"),
        "rows agree with Adam: rank r": measured("step like Adam"),
        "falls with the lag: decades, lag 0 to 8": falls,
        "depends on the sequence: sd of log₁₀": measured("over sequences"),
        "drifts over training: decades, ¼ to ¾": lambda method: (
            measured("whole", third)(method) - measured("whole", first)(method)
        ),
        "memory along sequence: mean of 1 − g": measured("along the sequence"),
        "memory along iterations: share of the step": measured("along iterations"),
    }
    rows = []
    for (name, measure_of), (column, method) in product(properties.items(), COLUMNS.items()):
        values = measure_of(method)
        mean, low, high = (math.nan,) * 3
        if len(values) > 1:
            mean, low, high, *_ = statistics.estimate(values)
        rows.append((name, column, len(values), mean, low, high))
    return pd.DataFrame(rows, columns=["property", "method", "seeds", "mean", "low", "high"])


def page_text(page: pd.DataFrame) -> pd.DataFrame:
    """The page as text, properties by methods; what holds by construction has no interval."""

    def text(row: pd.Series) -> str:
        if np.isnan(row["mean"]):
            return "all alike"
        return f"{row['mean']:.2f}" + f" ({row.low:.2f}, {row.high:.2f})" * bool(row.high - row.low > 1e-9)

    wide = page.assign(text=page.apply(text, axis=1)).pivot(index="property", columns="method", values="text")
    return wide.reindex(index=page.property.unique(), columns=list(COLUMNS))
