r"""E3, gate corrections: how large they are, whether they last, and what training without them changes.

The gate term G of the step Jacobian adds a correction :math:`c = ∇L - ∇L|_{G = 0}` to every gradient. Along a run with
the full gradient the correction is measured (:mod:`gatelr.experiments.corrections`). Beside that run, networks with the
same weights at the start are trained on the same data without the correction, and with a foreign one
(:mod:`gatelr.experiments.foreign_corrections`), each at the learning rate that suits it best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from gatelr.experiments import pilot
from gatelr.experiments.gate_corrections_training import WINDOW, measure
from gatelr.experiments.runs import Run

__all__ = [
    "DECIDING",
    "GATES",
    "MODELS",
    "OTHERS",
    "PASSES",
    "RATES",
    "SEARCHED",
    "SETTINGS",
    "Setting",
    "measure",
    "plan",
    "rate_of",
]


class Setting(NamedTuple):
    """A task, how it is trained, and the learning rates among which each pass has its own.

    Attributes:
        task: a name for :func:`gatelr.tasks.get`.
        options: of the task.
        optimiser: which trains.
        steps: updates.
        grid: rates that were tried, from low to high.
    """

    task: str
    options: dict[str, Any]
    optimiser: str
    steps: int
    grid: tuple[float, ...]


#: What is trained. Updates were chosen on seeds from 101 on, so that the full gradient learns.
SETTINGS: dict[str, Setting] = {
    "moving average": Setting("moving_average", {"steps": 12, "n_inputs": 2}, "SGD", 1000, (0.1, 0.3, 1.0)),
    "delay-sum": Setting("delay_sum", {"steps": 8, "n_inputs": 2, "delays": (1, 3, 5)}, "SGD", 2400, (0.13, 0.4, 1.2)),
    "adding, 20": Setting("adding", {"steps": 20}, "SGD", 2400, (0.07, 0.2, 0.6)),
    "adding, 50": Setting("adding", {"steps": 50}, "Adam", 1000, (0.001, 0.003, 0.01, 0.03, 0.1)),
    "adding, 100": Setting("adding", {"steps": 100}, "Adam", 1000, (0.003, 0.01, 0.03, 0.1)),
    "adding, 200": Setting("adding", {"steps": 200}, "Adam", 1000, (0.003, 0.01, 0.03, 0.1)),
    "adding, 400": Setting("adding", {"steps": 400}, "Adam", 1000, (0.003, 0.01, 0.03, 0.1)),
    "digits": Setting("digits", {}, "Adam", 2400, (0.0017, 0.005, 0.015)),
}
#: The gates that read the state.
GATES = ("scalar", "multi")

#: Each setting with each gate.
MODELS = tuple(product(SETTINGS, GATES))

#: The three ways to move the weights that are compared.
DECIDING: dict[str, dict[str, Any]] = {
    "full": {},
    "gate dropped": {"backward": "gate dropped"},
    "foreign": {"foreign": True},
}
#: What is looked at beside them, the full gradient on other training data.
OTHERS: dict[str, dict[str, Any]] = {"other data": {"data": 321}}
#: All of them.
PASSES = DECIDING | OTHERS

#: The passes for which a rate is searched; other data have that of the full gradient.
SEARCHED = tuple(DECIDING)
#: Seeds of the search, which occur nowhere else.
SEARCH_SEEDS = (101, 102, 103)

#: The best rate of each of these by ``reference/e3-grid.csv``, in their order.
RATES: dict[tuple[str, str], tuple[float, ...]] = {
    ("moving average", "scalar"): (0.3, 0.3, 0.3),
    ("moving average", "multi"): (0.3, 0.3, 0.3),
    ("delay-sum", "scalar"): (0.4, 0.4, 0.4),
    ("delay-sum", "multi"): (0.4, 0.4, 0.4),
    ("adding, 20", "scalar"): (0.2, 0.2, 0.2),
    ("adding, 20", "multi"): (0.2, 0.2, 0.2),
    ("adding, 50", "scalar"): (0.03, 0.03, 0.01),
    ("adding, 50", "multi"): (0.03, 0.03, 0.003),
    ("adding, 100", "scalar"): (0.03, 0.03, 0.01),
    ("adding, 100", "multi"): (0.03, 0.03, 0.01),
    ("adding, 200", "scalar"): (0.03, 0.03, 0.03),
    ("adding, 200", "multi"): (0.03, 0.03, 0.01),
    ("adding, 400", "scalar"): (0.01, 0.03, 0.03),
    ("adding, 400", "multi"): (0.03, 0.03, 0.01),
    ("digits", "scalar"): (0.005, 0.005, 0.0017),
    ("digits", "multi"): (0.005, 0.005, 0.005),
}

#: The loss is taken at the start and so many times along training.
PARTS = 24

#: Under plain SGD gradients are summed at every seventh iteration, an odd number, since SGD may swing with period two.
EVERY = 7


def rate_of(setting: str, gate: str, name: str) -> float:
    """The learning rate of one pass."""
    return RATES[setting, gate][SEARCHED.index("full" if name == "other data" else name)]


def plan(parameters: Mapping[str, Any]) -> list[Run]:
    """All runs of the chapter: every pass in the settings that are trained here, with both gates.

    Args:
        parameters: ``seeds``, ``settings_here``, ``passes_here``, ``search_here`` (whether the search for learning
            rates is run) and ``until``, the last training step.

    Returns:
        The runs, whose label ``"search"`` says whether they belong to the search; along those with the full gradient,
        corrections are measured.
    """
    seeds, until = pilot.deciding(parameters["seeds"]), parameters["until"]
    here = [model for model in MODELS if model[0] in parameters["settings_here"]]
    runs = []
    for (setting, gate), name in product(here, parameters["passes_here"]):
        steps = SETTINGS[setting].steps
        reached = [step for i in range(PARTS + 1) if (step := steps * i // PARTS) <= until]
        options = PASSES[name] | (_measured(setting, reached) if name == "full" else {})
        runs.append(_run(setting, gate, name, rate_of(setting, gate, name), seeds, reached, options))
    for (setting, gate), name in product(here if parameters["search_here"] else [], SEARCHED):
        last = [min(SETTINGS[setting].steps, until)]
        runs += [_run(setting, gate, name, rate, SEARCH_SEEDS, last, PASSES[name]) for rate in SETTINGS[setting].grid]
    return runs


def _run(
    setting: str,
    gate: str,
    name: str,
    rate: float,
    seeds: Sequence[int],
    checkpoints: Sequence[int],
    options: Mapping[str, Any],
) -> Run:
    task, task_options, optimiser, *_ = SETTINGS[setting]
    settings = {"task_options": task_options, "rate": rate, "steps": checkpoints[-1], "checkpoints": [*checkpoints]}
    labels = {"task": setting, "gate": gate, "run": name, "rate": rate, "search": seeds == SEARCH_SEEDS}
    return Run("gate_corrections_training", task, gate, optimiser, tuple(seeds), settings | dict(options), labels)


def _measured(setting: str, reached: Sequence[int]) -> dict[str, Any]:
    """When corrections are measured: their size in quarters of training, their direction in five windows."""
    steps = SETTINGS[setting].steps
    starts = [steps * i // 4 - (WINDOW if i == 4 else 0) for i in range(5)]
    quarters = PARTS // 4
    return {
        "sizes": reached[::quarters] if len(reached) > quarters else [0, reached[-1]],
        "windows": [start for start in starts if start + WINDOW <= reached[-1]],
        "every": EVERY if SETTINGS[setting].optimiser == "SGD" else 0,
    }
