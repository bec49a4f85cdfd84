r"""E3, gate corrections: how large they are, whether they last, and what training without them changes.

The gate term G of the step Jacobian adds a correction :math:`c = ∇L - ∇L|_{G = 0}` to every gradient. Along a run with
the full gradient the correction is measured (:mod:`gatelr.experiments.corrections`); beside that run, networks with the
same weights at the start are trained on the same data with less of the Jacobian in their backward pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gatelr import statistics, tasks, training
from gatelr.cells import GatedRNN
from gatelr.checkpoint import Kept
from gatelr.experiments import corrections, pilot, protocol
from gatelr.experiments.runs import Run
from gatelr.experiments.tables import by_lag
from gatelr.kernels.sweep import BACKWARD, Backward, Workspace

#: Task, its options, optimiser, rate and updates, chosen on seeds from 101 on with the full backward pass, so that no
#: pass but the reference was tuned.
SETTINGS: dict[str, tuple[str, dict[str, Any], str, float, int]] = {
    "moving average": ("moving_average", {"steps": 12, "n_inputs": 2}, "SGD", 0.3, 1000),
    "delay-sum": ("delay_sum", {"steps": 8, "n_inputs": 2, "delays": (1, 3, 5)}, "SGD", 0.4, 2400),
    "adding, 20": ("adding", {"steps": 20}, "SGD", 0.2, 2400),
    "adding, 50": ("adding", {"steps": 50}, "Adam", 0.01, 1000),
    "digits": ("digits", {}, "Adam", 0.005, 2400),
}
#: The gates that read the state.
GATES = ("scalar", "multi")

#: Each setting with each gate.
MODELS = tuple(product(SETTINGS, GATES))

#: The four backward passes, and the null, which is the full one on other training data.
PASSES: dict[str, dict[str, Any]] = {name: {"backward": name} for name in BACKWARD} | {"other data": {"data": 321}}

#: Neurons, sequences of a batch, of the batch on which the size is measured, of those whose Jacobians are taken, and of
#: fresh ones for the loss.
NEURONS, BATCH, PROBED, TRACED, FRESH = 32, 32, 64, 4, 500

#: The loss is taken at the start and sixteen times along training; W iterations make a window.
PARTS, WINDOW = 16, 64

#: Distances between iterations, and lags of transports; those longer than the task are left out.
DISTANCES, LAGS = (1, 2, 4, 8, 16, 32), (1, 2, 4, 8, 16)

#: Under plain SGD gradients are summed at every seventh iteration, an odd number, since SGD may swing with period two.
EVERY = 7

#: What says which model a number is of, and of which seed; seeds come first, since a claim averages within them.
MODEL = ["setting", "gate"]
#: What tells one network from another.
SEEDED = ["seed", *MODEL]

#: What says which row of a table is which, and how far two runs of it may differ (absolute, relative).
KEYS = {name: [*MODEL, "seed", "step"] for name in ("training", "size", "displacement")}
KEYS["persistence"] = [*MODEL, "seed", "window"]
#: How far a column may lie from the reference, absolutely and relative to it.
TOLERANCES: dict[str, dict[str, tuple[float, float]]] = {
    "training": dict.fromkeys(PASSES, (0.0, 0.05)),
    "size": {"share": (0.005, 0.05), "G": (0.0, 0.05)},
    "persistence": dict.fromkeys(("c @1", "c @8", "c shuffled", "g @1"), (0.02, 0.0)),
    "displacement": dict.fromkeys(("length", "along", "steps"), (0.01, 0.05)),
}


def plan(parameters: Mapping[str, Any]) -> list[Run]:
    """All runs of the chapter: both gates, four backward passes and the null, in the settings that are trained here.

    Args:
        parameters: ``seeds``, ``settings_here`` and ``until``, the last training step.

    Returns:
        The runs; along those with the full gradient, corrections are measured.
    """
    seeds, runs = pilot.deciding(parameters["seeds"]), []
    for (setting, gate), (name, options) in product(MODELS, PASSES.items()):
        if setting not in parameters["settings_here"]:
            continue
        task, task_options, optimiser, rate, steps = SETTINGS[setting]
        reached = [step for i in range(PARTS + 1) if (step := steps * i // PARTS) <= parameters["until"]]
        settings = options | {"task_options": task_options, "rate": rate, "steps": reached[-1], "checkpoints": reached}
        if name == "full":
            starts = [steps * i // 4 - (WINDOW if i == 4 else 0) for i in range(5)]
            settings |= {
                "sizes": reached[::4] if len(reached) > 4 else [0, reached[-1]],
                "windows": [start for start in starts if start + WINDOW <= reached[-1]],
                "every": EVERY if optimiser == "SGD" else 0,
            }
        labels = {"setting": setting, "gate": gate, "run": name}
        runs.append(Run("gate_corrections", task, gate, optimiser, seeds, settings, labels))
    return runs


def measure(
    setup: protocol.Setup,
    *,
    backward: Backward = "full",
    data: int = protocol.TRAINING,
    sizes: Sequence[int] = (),
    windows: Sequence[int] = (),
    every: int = 0,
) -> training.Run:
    """Train with one backward pass, and measure on the way how large corrections are and how long they last.

    Args:
        setup: with a gate that is ``"scalar"`` or ``"multi"``; at its checkpoints the loss on fresh data is taken.
        backward: what each backward pass carries from step to step.
        data: added to a seed for its training data: another number is the same network on other data.
        sizes: the steps before which the correction is measured in float64, on a fresh batch.
        windows: the first steps of windows of iterations whose training gradients are split, batch by batch.
        every: training gradients are also split at every step that this divides, for their sums; 0 for none.

    Returns:
        The run. Its probes hold a record for each seed under ``"training"`` (the loss on fresh data), ``"size"``
        (:func:`~gatelr.experiments.corrections.size`, what the diagonal and order 0 leave out, and
        :func:`~gatelr.experiments.corrections.terms`), ``"displacement"``
        (:meth:`~gatelr.experiments.corrections.Displacement.shares` of all steps before) and, at the last step of a
        window, ``"persistence"`` (:func:`~gatelr.experiments.corrections.persistence`, ``c`` of corrections and ``g``
        of gradients).
    """
    task, seeds, checkpoints, model = setup.task, setup.seeds, setup.checkpoints, setup.network(NEURONS)
    sources, unseen = training.generators(seeds, data), setup.draw(FRESH, protocol.FRESH)
    on_probe = _to(setup.device, setup.draw(PROBED, protocol.PROBE, torch.float64))
    reached = [lag for lag in LAGS if lag <= task.steps]
    workspace, way = Workspace(), corrections.Displacement()
    start_of = {step: start for start in windows for step in range(start, start + WINDOW)}
    summed = range(0, setup.steps, every) if every else range(0)
    series = Kept(c=[], g=[])  # the vectors of the window so far

    def size(model: GatedRNN) -> dict[str, Tensor]:
        wide = protocol.in_float64(model).requires_grad_()
        columns = corrections.size(corrections.split(wide, task, on_probe))
        without: tuple[Backward, ...] = ("diagonal", "order 0")
        for name in without:
            columns[f"beyond {name}"] = corrections.size(corrections.split(wide, task, on_probe, without=name))["share"]
        return columns | corrections.terms(wide.requires_grad_(False), on_probe.u[:, :, :TRACED], reached)

    def persistence() -> dict[str, Tensor]:
        columns: dict[str, Tensor] = {}
        for kind in ("c", "g"):
            lasting = corrections.persistence(torch.stack(series[kind]), DISTANCES)
            columns |= {f"{kind} @{distance}": cosine for distance, cosine in lasting.cosine.items()}
            columns |= {f"{kind} {name}": getattr(lasting, name) for name in ("shuffled", "resultant", "random")}
            series[kind] = []
        return columns

    def probe(step: int, model: GatedRNN) -> protocol.Records:
        records: protocol.Records = {}
        if step in checkpoints:
            records["training"] = protocol.by_seed(seeds, {"loss": protocol.losses(model, task, unseen)})
        if step in sizes:
            records["size"] = protocol.by_seed(seeds, size(model))
            if step and every:
                records["displacement"] = protocol.by_seed(seeds, way.shares())
        if step in start_of or step in summed:
            # the batch that this step is about to be trained on, from the states in which its sources are
            next_batch = _to(setup.device, task.draw(BATCH, [source.clone_state() for source in sources]))
            parts = corrections.split(model, task, next_batch, workspace)
            gradient, correction = (corrections.flat(part).cpu() for part in parts)
            if step in summed:
                way.add(gradient, correction)
            if step in start_of:
                series["c"].append(correction)
                series["g"].append(gradient)
                if step == start_of[step] + WINDOW - 1:
                    records["persistence"] = protocol.by_seed(seeds, persistence(), window=start_of[step])
        return records

    return setup.train(
        model,
        probe,
        sources=sources,
        batch=BATCH,
        backward=backward,
        checkpoints=sorted({*checkpoints, *sizes, *start_of, *summed}),
        companions={"series": series, "way": way},
    )


def _to(device: torch.device | str, data: tasks.Batch) -> tasks.Batch:
    return tasks.Batch(data.u.to(device), data.target.to(device))


# What the chapter makes of the records


def tables(records: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables that are compared with the committed ones, without those that a short run does not come to.

    Args:
        records: what :func:`gatelr.experiments.runs.load` returns.

    Returns:
        ``"training"`` with a column for each backward pass, and ``"size"``, ``"persistence"`` and ``"displacement"``.
    """
    losses = records["training"].pivot(index=KEYS["training"], columns="run", values="loss").rename(columns=str)
    by_name = {"training": losses.reset_index()}
    for name in ("size", "persistence", "displacement"):
        if name in records:
            others = [column for column in records[name] if column not in (*KEYS[name], "run", "step")]
            by_name[name] = records[name][[*KEYS[name], *others]]
    return by_name


def settings() -> pd.DataFrame:
    """What is trained in each setting, and the loss of the best constant prediction."""
    rows = []
    for name, (task, options, optimiser, rate, steps) in SETTINGS.items():
        chosen = tasks.get(task, **options)
        rows.append((name, task, chosen.steps, optimiser, rate, steps, chosen.constant_loss))
    columns = ["setting", "task", "T", "optimiser", "rate", "updates", "constant's loss"]
    return pd.DataFrame(rows, columns=columns).set_index("setting")


def models(rows: pd.DataFrame | pd.Series) -> list[tuple[str, str]]:
    """The models that have rows, in the order of the settings."""
    return [model for model in MODELS if model in rows.groupby(MODEL).groups]


def at_end(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last step of each setting, indexed by seed and model."""
    last = rows[rows.step == rows.groupby("setting").step.transform("max")]
    return last.set_index(SEEDED).sort_index()


def effects(training_table: pd.DataFrame) -> pd.DataFrame:
    """What each other pass costs: log10 of its final loss over that with the full gradient, of the same seed.

    Args:
        training_table: the table ``"training"``.

    Returns:
        One row for each model and seed, one column for each pass but the full one.
    """
    final = at_end(training_table)
    others = [name for name in PASSES if name != "full"]
    return final[others].div(final["full"], axis=0).apply(np.log10)


def likeness(persistence: pd.DataFrame) -> pd.DataFrame:
    """How alike the corrections of a window are, by the names of the chapter's claims.

    Args:
        persistence: the table of that name.

    Returns:
        For each model and seed, means over windows: of the cosine over all distances, ``"persistent"``; of that at the
        largest, ``"-far"``; of what the first exceeds that of the gradients by, ``"-beyond-gradient"``; the cosine of
        neighbours, of all pairs, ``"-memory"``; the resultant that of random signs, ``"-resultant"``. And
        ``"gradient"``, the gradients' own mean cosine.
    """
    mean, gradient = (persistence[[f"{kind} @{distance}" for distance in DISTANCES]].mean(axis=1) for kind in "cg")
    measures = {
        "persistent": mean,
        "persistent-far": persistence[f"c @{DISTANCES[-1]}"],
        "persistent-beyond-gradient": mean - gradient,
        "persistent-memory": persistence["c @1"] - persistence["c shuffled"],
        "persistent-resultant": persistence["c resultant"] - persistence["c random"],
        "gradient": gradient,
    }
    return persistence[SEEDED].assign(**measures).groupby(SEEDED).mean()


def cosines(persistence: pd.DataFrame) -> pd.DataFrame:
    """The mean cosine of corrections, and of gradients, by distance: a row for each, and for each seed and model."""
    windows = persistence.groupby(SEEDED).mean(numeric_only=True).reset_index()
    rows = by_lag(windows, SEEDED, ["c", "g"]).rename(columns={"lag": "distance", "value": "cosine"})
    kinds = rows.series.map({"c": "correction", "g": "gradient"})
    return rows[[*SEEDED, "distance", "cosine"]].assign(of=kinds)


def arrivals(training_table: pd.DataFrame, level: Mapping[str, float]) -> pd.DataFrame:
    """When the loss is first below a level, by model and pass.

    Args:
        training_table: the table ``"training"``.
        level: of the loss, for each setting.

    Returns:
        The median step (infinite where most seeds never arrive), how many seeds arrive, and of how many.
    """
    losses = training_table.melt(KEYS["training"], list(PASSES), var_name="run", value_name="loss")
    below = losses.loss < losses.setting.map(level)
    first = losses.step.where(below, np.inf).groupby([losses[key] for key in (*SEEDED, "run")]).min()
    by_run = first.groupby([*MODEL, "run"])
    arrived = by_run.agg(lambda steps: int(np.isfinite(steps).sum()))
    return pd.DataFrame({"median": by_run.median(), "reached": arrived, "seeds": by_run.size()})


def summary(values: pd.Series, spec: str = ".2f") -> pd.Series:
    """Mean and interval of each model, as text."""
    return values.groupby(MODEL).agg(lambda seeds: f"{statistics.estimate(seeds):{spec}}")


def power(effects: pd.DataFrame) -> pd.DataFrame:
    """What the seeds of each model can show, as text.

    Args:
        effects: from :func:`effects`, of the passes that are asked about.

    Returns:
        For each model and pass the mean effect, its interval, the p value of its test against zero adjusted for the
        number of rows, and :func:`gatelr.statistics.power`.
    """
    rows, p = [], []
    for model, name in product(models(effects), effects):
        values = effects[name].xs(model, level=(1, 2))
        estimate, (needed, detectable) = statistics.estimate(values), statistics.power(values)
        interval = f"{estimate.low:+.3f} to {estimate.high:+.3f}"
        rows.append((*model, name, f"{estimate.mean:+.3f}", interval, "", f"{detectable:.2g}", count(needed)))
        p.append(estimate.p)
    columns = ["backward pass", "effect", "95 % interval", "p, after Holm", "least effect seen", "seeds needed"]
    table = pd.DataFrame(rows, columns=[*MODEL, *columns])
    return table.assign(**{"p, after Holm": [f"{adjusted:.2g}" for adjusted in statistics.holm(p)]})


def count(needed: float) -> str:
    """A number of seeds, as text."""
    return f"{np.ceil(needed):.0f}" if needed < 1e4 else "over 10 000"


def side(values: pd.Series, threshold: float | pd.Series, *, greater: bool = True) -> pd.Series:
    """On which side of a threshold the whole interval of each model lies.

    Args:
        values: by model and seed.
        threshold: one, or one for each model.
        greater: whether the side asked about is above it.

    Returns:
        By model ``"yes"``, ``"no"``, or ``"open"`` where the threshold lies within the interval.
    """
    by_model = values.groupby(MODEL)
    ends = pd.DataFrame({model: statistics.estimate(seeds).interval for model, seeds in by_model}, ["low", "high"]).T
    above, below = ends.low > threshold, ends.high < threshold
    yes, no = (above, below) if greater else (below, above)
    return pd.Series(np.select([yes, no], ["yes", "no"], "open"), ends.index)
