"""The file from which a training run that was killed goes on as if nothing had happened.

It holds all that moves along training, and says which run it belongs to, so that another one cannot go on from it.
After what ``torch.save`` writes stands its digest: in a file of numbers a flipped bit would only give other numbers.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from gatelr import files
from gatelr.kernels.sweep import Backward, Workspace
from gatelr.tasks import Task

#: Bytes of the digest at the end of a file.
DIGEST = 32


@runtime_checkable
class Stateful(Protocol):
    """What can be saved and read back, as torch's modules and optimisers can."""

    def state_dict(self) -> dict[str, Any]:
        """What it holds, for a file."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Hold again what was saved."""


@runtime_checkable
class Trainable(Stateful, Protocol):
    """A network that can be trained, or S of them side by side: a :class:`gatelr.cells.GatedRNN`, and what is like it.

    Calling it with inputs ``(T, B, m)``, or ``(T, S, B, m)``, returns the readout of the last state. A parameter of S
    networks has a leading axis S.
    """

    n_inputs: int  #: m
    n_outputs: int  #: o
    replicas: int | None  #: S; None for one network without that axis

    # No parameter is named: from Python 3.12 on isinstance would not find it, since a module keeps those elsewhere.
    def parameters(self) -> Iterator[nn.Parameter]:
        """What is learned, all of one dtype on one device."""

    def __call__(self, u: Tensor, /, *, workspace: Workspace, backward: Backward) -> Tensor:
        """The readout; a network that has no use for a workspace leaves it alone."""


class Kept(dict[str, Any]):
    """A dictionary that is saved with a run: tensors, numbers, text, and lists and dictionaries of them."""

    def state_dict(self) -> dict[str, Any]:
        """What it holds."""
        return dict(self)

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Hold what was saved instead."""
        self.clear()
        self.update(state_dict)


@dataclass
class Checkpoint:
    """All that a run needs to go on, and the file that holds it."""

    run: dict[str, Any]  #: losses, divergences and probes so far, changed in place
    moving: Mapping[str, Stateful]  #: all else that moves along training, by name
    sources: Sequence[torch.Generator]  #: of the data, one for each replica
    identity: dict[str, str]  #: which run this is, as :func:`identity` says
    path: Path | None  #: the file; None saves nothing

    def write(self, step: int) -> None:
        """Save the state before the update of a step."""
        if self.path is None:
            return
        content = {
            "identity": self.identity,
            "step": step,
            "run": self.run,
            "moving": {name: each.state_dict() for name, each in self.moving.items()},
            "sources": [source.get_state() for source in self.sources],
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        files.write(self.path, buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest())

    def read(self) -> int:
        """The step to go on from: 0 where there is no file.

        Raises:
            ValueError: if the file is none of ours, is damaged, or belongs to another run.
        """
        if self.path is None or not self.path.exists():
            return 0
        try:
            written = self.path.read_bytes()
            saved, digest = written[:-DIGEST], written[-DIGEST:]
            if hashlib.sha256(saved).digest() != digest:
                raise ValueError("its digest is another")
            # tensors and plain values alone: a pickled object could run code of its own
            content = torch.load(io.BytesIO(saved), map_location="cpu", weights_only=True)
            theirs = content["identity"]
        except Exception as error:
            raise ValueError(
                f"got a file that holds no run in {self.path}, expected one that train() wrote, whole: "
                "delete it, or save to another"
            ) from error
        for name, mine in self.identity.items():
            if theirs.get(name) != mine:
                raise ValueError(
                    f"got the file of another run in {self.path}: its {name} is {theirs.get(name)}, expected {mine}: "
                    "delete it, or save to another"
                )
        self.run.update(content["run"])
        for source, state in zip(self.sources, content["sources"], strict=True):
            source.set_state(state)
        for name, each in self.moving.items():
            each.load_state_dict(content["moving"][name])
        return int(content["step"])


def identity(
    model: Trainable,
    task: Task,
    optimiser: torch.optim.Optimizer,
    schedule: lr_scheduler.LRScheduler | None,
    steps: int,
    batch: int,
    sources: Sequence[torch.Generator],
    checkpoints: Collection[int],
    backward: Backward,
) -> dict[str, str]:
    """What makes two runs the same, from before their first step; text, so that a difference can be shown."""

    def digest(tensors: Sequence[Tensor]) -> str:
        total = hashlib.sha256()
        for tensor in tensors:
            total.update(tensor.detach().cpu().numpy().tobytes())
        return total.hexdigest()[:12]

    plain = {} if schedule is None else {k: v for k, v in schedule.state_dict().items() if isinstance(v, int | float)}
    return {
        "task": f"{task.name} ({task.steps} steps, {task.n_inputs} inputs"
        + (")" if task.delays is None else f", delays {task.delays})"),
        "model": f"{model} in {next(model.parameters()).dtype}"
        + ("" if backward == "full" else f", backward pass: {backward}"),
        "optimiser": repr(optimiser),
        "schedule": "none" if schedule is None else f"{type(schedule).__name__} {plain}",
        "number of steps": str(steps),
        "batch": str(batch),
        "list of checkpoints": str(sorted(checkpoints)),
        "digest of the initial weights": digest(list(model.parameters())),
        "digest of the data generators": digest([source.get_state() for source in sources]),
    }
