r"""Training S networks side by side: replica i is, draw by draw, the run that it would be alone.

One loop for every experiment of the book: fresh data at each step, torch's own optimisers and schedules, probes before
the step, and a file from which a killed run goes on as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.optim import lr_scheduler

from gatelr import arguments, checkpoint
from gatelr.cells import check_backward
from gatelr.kernels.sweep import Backward, Workspace
from gatelr.tasks import Task

#: Optimisers that treat each number by itself, so that replicas in one tensor cannot feel each other.
ELEMENTWISE = ("SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop", "Adagrad", "Adadelta", "Rprop", "ASGD")

#: What is trained.
Model = TypeVar("Model", bound=checkpoint.Trainable)


@dataclass
class Run:
    """What a training run leaves behind; a model without replicas counts as one.

    Attributes:
        losses: the loss of each step's batch before the update, NaN from the step on at which a replica diverged.
        diverged: that step, or -1.
        redrawn: how many sequences the task refused and drew again.
        probes: what ``probe`` returned, by step.
    """

    losses: Float[Tensor, "steps S"]
    diverged: Int[Tensor, " S"]
    redrawn: Int[Tensor, " S"]
    probes: dict[int, Any] = field(default_factory=dict)

    @property
    def alive(self) -> Bool[Tensor, " S"]:
        """The replicas that have not diverged."""
        return self.diverged < 0


def generators(seeds: Iterable[int], offset: int = 0) -> list[torch.Generator]:
    """One generator for each replica, seeded with its seed plus an offset: another offset for every use of a seed.

    Raises:
        ValueError: for a sum that torch does not take for a seed.
        TypeError: for seeds or an offset that are no whole numbers.
    """
    offset = arguments.whole("offset", offset)
    sums = [seed + offset for seed in arguments.wholes("seeds", seeds)]
    if wrong := [total for total in sums if not -(2**63) <= total < 2**64]:
        raise ValueError(f"got seed plus offset = {wrong[0]}, expected a number from -2**63 to 2**64 - 1")
    return [torch.Generator().manual_seed(total) for total in sums]


def train(
    model: Model,
    task: Task,
    optimiser: torch.optim.Optimizer,
    steps: int,
    generators: torch.Generator | Sequence[torch.Generator],
    *,
    batch: int = 64,
    schedule: lr_scheduler.LRScheduler | None = None,
    backward: Backward = "full",
    probe: Callable[[int, Model], Any] | None = None,
    checkpoints: Collection[int] = (),
    save: str | Path | None = None,
    save_every: int = 200,
    companions: Mapping[str, checkpoint.Stateful] | None = None,
    progress: bool | None = None,
) -> Run:
    r"""Train a network, or S of them in one pass, on fresh data at every step.

    Each replica minimises its own loss, :math:`L_i`: the gradient of :math:`\sum_i L_i` with respect to replica i's
    weights is that of :math:`L_i`, and an optimiser that works number by number keeps it so. A replica whose loss is
    not finite has diverged: the step is recorded, its weights stay those of its last finite loss, and the others go on.

    Args:
        model: the network, with replicas or without; its weights are changed in place.
        task: what to learn.
        optimiser: one of torch's, made with ``model.parameters()``.
        steps: number of updates.
        generators: source of the data, one for each replica; draws are made where it lives and then moved to the model.
        batch: B, sequences a step.
        schedule: one of torch's, made with ``optimiser``; moved on after each update.
        backward: what each backward pass carries from step to step, as :meth:`gatelr.cells.GatedRNN.forward` takes it.
        probe: called as ``probe(step, model)`` at each checkpoint, before the update of that step; what it returns
            (tensors, numbers, text, and lists and dicts of them) is kept in ``Run.probes``.
        checkpoints: the steps to probe at, 0 … ``steps``; ``steps`` itself is after the last update.
        save: a file from which a run that was killed goes on, with the same numbers as if it had not been; it is
            written aside and renamed. A finished run is read back instead of being done again.
        save_every: updates from one writing of it to the next.
        companions: whatever else moves along with training, such as what a probe sums up, by name: it is saved and
            read back with the run.
        progress: whether to show a progress bar; by default, where standard error is a terminal.

    Returns:
        Losses, divergences and probes.

    Raises:
        ValueError: for a number of generators other than S, a checkpoint outside 0 … ``steps``, sizes of the task that
            do not fit the model, an unknown backward pass, an optimiser or a schedule under which replicas would feel
            each other, or a file that belongs to another run.
        TypeError: for a model, a task, an optimiser, a schedule, a generator, a probe or a companion that is none, or
            numbers that are not whole.
        OSError: if the file cannot be written; what was there stays.

    Example:
        >>> import torch
        >>> from gatelr import tasks, training
        >>> from gatelr.cells import GatedRNN
        >>> task = tasks.get("adding", steps=8)
        >>> weights = training.generators([0, 1])
        >>> model = GatedRNN(task.n_inputs, 4, "multi", replicas=2, generator=weights)
        >>> optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> data = training.generators([0, 1], offset=123)
        >>> run = training.train(model, task, optimiser, 5, data, progress=False)
        >>> run.losses.shape  # steps, replicas
        torch.Size([5, 2])
        >>> bool(run.alive.all())
        True
    """
    sources = arguments.generators(generators)
    check_backward(backward)
    checkpoints, batch = arguments.wholes("checkpoints", checkpoints), arguments.whole("batch", batch, 1)
    steps, save_every = arguments.whole("steps", steps), arguments.whole("save_every", save_every)
    _check_kinds(model, task, optimiser, schedule, probe, save, companions)
    _check(model, task, optimiser, schedule, steps, sources, checkpoints, save_every)
    S, learned = len(sources), next(model.parameters())
    device, dtype = learned.device, learned.dtype
    source = sources[0] if model.replicas is None else sources
    run = Run(
        losses=torch.full((steps, S), torch.nan, dtype=dtype),
        diverged=torch.full((S,), -1),
        redrawn=torch.zeros(S, dtype=torch.long),
    )
    identity = checkpoint.identity(model, task, optimiser, schedule, steps, batch, sources, checkpoints, backward)
    path = None if save is None else Path(save)
    moving: dict[str, checkpoint.Stateful] = {"model": model, "optimiser": optimiser, **(companions or {})}
    if schedule is not None:
        moving["schedule"] = schedule
    state = checkpoint.Checkpoint(vars(run), moving, sources, identity, path)
    start = state.read()

    parameters: list[Tensor] = list(model.parameters())
    last_finite = [parameter.detach().clone() for parameter in parameters]
    workspace = Workspace()
    with progress_bar(progress, initial=start, total=steps, unit="step") as bar:
        for step in range(start, steps + 1):
            began = time.perf_counter()
            if probe is not None and step in checkpoints and step not in run.probes:
                run.probes[step] = probe(step, model)
            # a probe that took long is not to be made twice; writing after every quick one would take longer than it
            long = time.perf_counter() - began > 1.0
            if long or (step > start and (step == steps or step % save_every == 0)):
                state.write(step)
            if step == steps:
                break
            data = task.draw(batch, source, dtype=dtype)
            run.redrawn += torch.as_tensor(data.redrawn).reshape(-1).cpu()
            optimiser.zero_grad()
            losses = task.loss(model(data.u.to(device), workspace=workspace, backward=backward), data.target.to(device))
            losses.sum().backward()

            step_losses = losses.detach().reshape(S).cpu()
            run.diverged[run.alive & ~step_losses.isfinite()] = step
            run.losses[step] = torch.where(run.alive, step_losses, torch.nan)
            _copy_rows(parameters, last_finite, run.alive)
            optimiser.step()
            _copy_rows(last_finite, parameters, ~run.alive)
            if schedule is not None:
                schedule.step()
            if bar is not None:
                bar.set_postfix(median_loss=f"{float(run.losses[step].nanmedian()):.3g}", refresh=False)
                bar.update()
    return run


def progress_bar(wanted: bool | None, **options: Any) -> contextlib.AbstractContextManager[Any]:
    """One of tqdm's with its own options, shown by default on a terminal; nothing where tqdm is not installed.

    Raises:
        ImportError: if it is wanted and cannot be had.
    """
    try:
        from tqdm import tqdm
    except ImportError as error:
        if wanted:
            raise ImportError("a progress bar needs tqdm: pip install 'gatelr[experiments]'") from error
        return contextlib.nullcontext()
    return tqdm(disable=None if wanted is None else not wanted, **options)


@torch.no_grad()
def _copy_rows(source: list[Tensor], target: list[Tensor], which: Bool[Tensor, " S"]) -> None:
    """Copy the weights of some replicas, or of the one there is."""
    if which.all():
        torch._foreach_copy_(target, source)
    elif which.any():
        for a, b in zip(source, target, strict=True):
            b[which] = a[which]


def _check_kinds(
    model: object, task: object, optimiser: object, schedule: object, probe: object, save: object, companions: object
) -> None:
    wanted: list[tuple[str, object, type | tuple[type, ...]]] = [
        ("model", model, checkpoint.Trainable),
        ("task", task, Task),
        ("optimiser", optimiser, torch.optim.Optimizer),
        ("schedule", schedule, (lr_scheduler.LRScheduler, lr_scheduler.ReduceLROnPlateau, type(None))),
        ("save", save, (str, Path, type(None))),
        ("companions", companions, (Mapping, type(None))),
    ]
    if isinstance(companions, Mapping):
        wanted += [(f"companion {name!r}", each, checkpoint.Stateful) for name, each in companions.items()]
    for what, value, kinds in wanted:
        if not isinstance(value, kinds):
            names = " or ".join(each.__name__ for each in (kinds if isinstance(kinds, tuple) else (kinds,)))
            raise TypeError(f"got {arguments.kind(value)} as {what}, expected {names.replace('NoneType', 'None')}")
    if probe is not None and not callable(probe):
        raise TypeError(f"got {arguments.kind(probe)} as probe, expected a function of a step and the model")


def _check(
    model: checkpoint.Trainable,
    task: Task,
    optimiser: torch.optim.Optimizer,
    schedule: lr_scheduler.LRScheduler | None,
    steps: int,
    sources: Sequence[torch.Generator],
    checkpoints: Collection[int],
    save_every: int,
) -> None:
    S = 1 if model.replicas is None else model.replicas
    if steps < 0 or save_every < 1:
        raise ValueError(
            f"got steps={steps} and save_every={save_every}, expected a number of updates from 0, and from 1"
        )
    if len(sources) != S:
        raise ValueError(f"got {len(sources)} generators, expected {S}, one for each replica")
    outside = [step for step in checkpoints if not 0 <= step <= steps]
    if outside:
        raise ValueError(f"got a checkpoint at step {outside[0]}, expected steps from 0 to the {steps} of the run")
    if (task.n_inputs, task.n_outputs) != (model.n_inputs, model.n_outputs):
        raise ValueError(
            f"got a model with {model.n_inputs} inputs and {model.n_outputs} outputs, expected {task.n_inputs} and "
            f"{task.n_outputs} for the task {task.name!r}"
        )
    held = {id(parameter) for group in optimiser.param_groups for parameter in group["params"]}
    if held != {id(parameter) for parameter in model.parameters()}:
        raise ValueError("got an optimiser of other parameters, expected one made with model.parameters()")
    kind = type(optimiser).__name__
    if model.replicas is not None and kind not in ELEMENTWISE:
        raise ValueError(
            f"got {kind} for a model with replicas, expected one that treats each number by itself "
            f"({', '.join(ELEMENTWISE)}): with another, replicas would feel each other"
        )
    if schedule is not None and schedule.optimizer is not optimiser:
        raise ValueError("got a schedule of another optimiser, expected one made with this one: it would move nothing")
    if isinstance(schedule, lr_scheduler.ReduceLROnPlateau):
        raise ValueError(
            "got ReduceLROnPlateau, expected a schedule that depends on the step alone: it would look at the loss of "
            "all replicas together"
        )
