"""Sequences to learn from: what is drawn, what is to be said at the end, and what a constant would score.

Every task returns a :class:`.Batch` of time-major inputs and targets. Draws come from the generator that is passed in,
on the device where it lives, so that one seed means one data set. A sequence of S generators gives S replicas side by
side, and replica i is to the bit what generator i alone would have given.

:func:`.get` finds a task by its name, with the sizes at which it was published and the losses to compare with.
The functions stand in :mod:`~gatelr.tasks.sums`, :mod:`~gatelr.tasks.processes` and :mod:`~gatelr.tasks.datasets`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch

from gatelr import arguments
from gatelr.tasks import processes
from gatelr.tasks.contract import Batch, Source, Task
from gatelr.tasks.datasets import CO2_AHEAD, CO2_STEPS, DIGIT_CLASSES, DIGIT_STEPS, co2, digits, mnist1d
from gatelr.tasks.processes import NARMA_BOUND, ar2, narma, sinmix
from gatelr.tasks.sums import adding, delay_sum, moving_average, recall, short

__all__ = [
    "CO2_AHEAD",
    "CO2_STEPS",
    "DIGIT_CLASSES",
    "DIGIT_STEPS",
    "NAMES",
    "NARMA_BOUND",
    "Batch",
    "Source",
    "Task",
    "adding",
    "ar2",
    "co2",
    "delay_sum",
    "digits",
    "get",
    "mnist1d",
    "moving_average",
    "narma",
    "recall",
    "short",
    "sinmix",
]


def get(
    name: str, *, steps: int | None = None, n_inputs: int | None = None, delays: Sequence[int] | None = None
) -> Task:
    """The task of a name, with the losses that belong to its sizes.

    Args:
        name: one of :data:`NAMES`.
        steps: T; as published by default: 80 for adding, recall, sinmix and short, 120 for the other drawn tasks.
            A data set has its own length.
        n_inputs: m; 4 and 6 by default, likewise.
        delays: of ``delay_sum`` alone; as published by default.

    Returns:
        The task; train on ``task.draw(batch, generator)``.

    Raises:
        ValueError: for a name that is not known, or a size that the task cannot have.
        TypeError: for sizes or delays that are no whole numbers.

    Example:
        >>> import torch
        >>> from gatelr import tasks
        >>> task = tasks.get("adding", steps=10)
        >>> u, target = task.draw(3, torch.Generator().manual_seed(0))
        >>> always_one = torch.ones(3, 1)  # the best guess for who does not look
        >>> task.loss(always_one, target).shape, task.constant_loss == 1 / 6
        (torch.Size([]), True)
    """
    if not isinstance(name, str) or name not in NAMES:
        raise ValueError(f"got task {name!r}, expected one of {', '.join(NAMES)}: check the spelling")
    delays = None if delays is None else arguments.wholes("delays", delays)
    for what, size in (("steps", steps), ("n_inputs", n_inputs)):
        if size is not None:
            arguments.whole(what, size)
    if delays is not None and name != "delay_sum":
        raise ValueError(f"got delays={tuple(delays)} for {name!r}, expected none: only 'delay_sum' has delays")
    if name in _SETS:
        return _of_set(name, steps, n_inputs)
    family = _DRAWN[name]
    steps = family.steps if steps is None else steps
    n_inputs = family.n_inputs if n_inputs is None else n_inputs
    own: dict[str, Any] = {} if delays is None else {"delays": tuple(delays)}

    def make(batch: int, generator: Source, *, dtype: torch.dtype, held_out: bool = False) -> Batch:
        return family.make(steps, batch, generator, n_inputs=n_inputs, dtype=dtype, **own)

    make(1, torch.Generator(), dtype=torch.float32)  # a size that cannot be is refused here, before a run begins
    constant = family.constant(steps) if delays is None else 1 / (12 * len(delays))
    # the inputs determine every target but that of the autoregression, which does not depend on them
    return Task(name, steps, n_inputs, 1, "mse", constant, constant if name == "ar2" else 0.0, **own, make=make)


def _of_set(name: str, steps: int | None, n_inputs: int | None) -> Task:
    """The task of a data set, which has its own sizes."""
    known = _SETS[name](split="train")
    length, labels = len(known.u), known.target.ndim == 1
    if steps not in (None, length) or n_inputs not in (None, 1):
        raise ValueError(
            f"got steps={steps} and n_inputs={n_inputs} for {name}, expected steps={length} and n_inputs=1, "
            "which the data set has: leave them out"
        )

    def make(batch: int, generator: Source, *, dtype: torch.dtype, held_out: bool = False) -> Batch:
        return _SETS[name](batch, generator, split="test" if held_out else "train", dtype=dtype)

    if not labels:  # numbers, which the data set has in units of their standard deviation
        return Task(name, length, 1, 1, "mse", 1.0, None, make=make)
    frequency = known.target.bincount().double() / len(known.target)
    entropy = float(torch.special.entr(frequency).sum())
    return Task(name, length, 1, len(frequency), "cross-entropy", entropy, None, make=make)


class _Family(NamedTuple):
    make: Callable[..., Batch]
    steps: int
    n_inputs: int
    constant: Callable[[int], float]


_DRAWN = {
    "adding": _Family(adding, 80, 4, lambda steps: 2 / 12),
    "recall": _Family(recall, 80, 4, lambda steps: 5 / 12),
    "sinmix": _Family(sinmix, 80, 4, processes._sinmix_constant),
    "short": _Family(short, 80, 4, lambda steps: 6 / 12),
    "ar2": _Family(ar2, 120, 6, lambda steps: sum(weight**2 for weight in processes._ar2_weights(steps))),
    "moving_average": _Family(moving_average, 120, 6, lambda steps: 1 / (12 * 8)),
    "delay_sum": _Family(delay_sum, 120, 6, lambda steps: 1 / (12 * 4)),
    "narma10": _Family(partial(narma, order=10), 120, 6, partial(processes._narma_constant, order=10)),
    "narma20": _Family(partial(narma, order=20), 120, 6, partial(processes._narma_constant, order=20)),
}
_SETS: dict[str, Callable[..., Batch]] = {"digits": digits, "mnist1d": mnist1d, "co2": co2}

#: The tasks that :func:`.get` knows.
NAMES = (*_DRAWN, *_SETS)
