"""What a task is: a batch to train on, the sizes and losses of a task, and what all draws have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gatelr import arguments

#: One generator, or one for each replica.
Source = torch.Generator | Sequence[torch.Generator]


@dataclass(frozen=True, eq=False)
class Batch:
    """Inputs ``u``, ``(T, B, m)``, and targets, ``(B, o)`` numbers or ``(B,)`` class labels; unpacks as ``u, target``.

    Attributes:
        u: the inputs; with replicas ``(T, S, B, m)``.
        target: what is to be said at the end; with replicas ``(S, B, o)`` or ``(S, B)``.
        redrawn: sequences that were refused and drawn again, one number for each replica; 0 for every task but NARMA.
    """

    u: Float[Tensor, "T *batch m"]
    target: Float[Tensor, "*batch o"] | Int[Tensor, "*batch"]
    redrawn: Int[Tensor, "*replicas"] | int = 0

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.u, self.target))


@dataclass(frozen=True)
class Task:
    """A task at fixed sizes, and the losses that a learner is measured against.

    Attributes:
        name: as :func:`.get` takes it.
        steps: T.
        n_inputs: m.
        n_outputs: o, or the number of classes.
        kind: which loss, ``"mse"`` or ``"cross-entropy"``.
        constant_loss: what :meth:`loss` returns for the best predictor that ignores the inputs, on the training part of
            a data set.
        best_loss: the least that any predictor can have; None where it is not known.
        delays: those of ``delay_sum``, where they are not the published ones.
        make: what draws, of ``batch``, ``generator``, ``dtype`` and ``held_out``.
    """

    name: str
    steps: int
    n_inputs: int
    n_outputs: int
    kind: Literal["mse", "cross-entropy"]
    constant_loss: float
    best_loss: float | None
    delays: tuple[int, ...] | None = None
    make: Callable[..., Batch] = field(kw_only=True, repr=False, compare=False)

    def draw(
        self, batch: int, generator: Source, dtype: torch.dtype = torch.float32, *, held_out: bool = False
    ) -> Batch:
        """A batch to train on, or to test on.

        Args:
            batch: B, sequences for each generator.
            generator: one, or a sequence of S for as many replicas.
            dtype: of the inputs, and of targets that are no labels.
            held_out: draw from the test part of a finite data set. Other tasks are new at every draw, so that nothing
                needs to be held out.

        Returns:
            ``u`` ``(T, B, m)`` and ``target`` ``(B, o)`` or ``(B,)``, or with replicas ``(T, S, B, m)`` and
            ``(S, B, o)`` or ``(S, B)``.

        Raises:
            ValueError: as the task's own function.
            TypeError: as the task's own function.
        """
        arguments.truth("held_out", held_out)
        return self.make(batch, generator, dtype=dtype, held_out=held_out)

    def loss(self, output: Float[Tensor, "*batch o"], target: Tensor) -> Float[Tensor, "*S"]:
        r"""Mean squared error, or mean cross entropy in nats, one number for each replica.

        .. math:: \frac{1}{B o} \sum_{b, i} (z_{bi} - y_{bi})^2, \qquad
            -\frac{1}{B} \sum_b \ln \mathrm{softmax}(z_b)_{y_b}

        Args:
            output: ``(B, o)`` or ``(S, B, o)``, numbers or the logits of o classes.
            target: as :meth:`draw` returns it.

        Returns:
            A scalar, or ``(S,)``.

        Raises:
            ValueError: if the shapes do not fit, which broadcasting would hide, if there is no sequence, or for a label
                that is no class.
            TypeError: for what are no tensors, or a target of another kind of number than :meth:`draw` returns.
        """
        arguments.tensor("output", output)
        arguments.dense("target", target)
        expected = output.shape if self.kind == "mse" else output.shape[:-1]
        if (
            target.shape != expected
            or output.ndim not in (2, 3)
            or output.shape[-1] != self.n_outputs
            or 0 in output.shape
            or target.device != output.device
        ):
            raise ValueError(
                f"got output {tuple(output.shape)} and target {tuple(target.shape)} for {self.name}, expected output "
                f"(B, {self.n_outputs}) or (S, B, {self.n_outputs}) and the target that draw returned: "
                f"give the model n_outputs={self.n_outputs} and as many replicas as generators"
            )
        if target.is_floating_point() != (self.kind == "mse") or target.dtype not in (*arguments.DTYPES, torch.int64):
            wanted = "numbers, float32 or float64" if self.kind == "mse" else "labels, int64"
            raise TypeError(f"got a target in {target.dtype} for {self.name}, expected {wanted}, as draw returns it")
        if self.kind == "mse":
            return (output - target).square().mean((-2, -1))
        try:
            return -output.log_softmax(-1).gather(-1, target.unsqueeze(-1)).mean((-2, -1))
        except RuntimeError as error:  # on CUDA the process ends with a message of its own
            raise ValueError(f"got a label that is no class, expected 0 to {self.n_outputs - 1}") from error


def _sources(generator: Source) -> list[torch.Generator]:
    """The generators, one for each replica."""
    sources = arguments.generators(generator)
    if not sources or len({id(source) for source in sources}) < len(sources):
        raise ValueError(
            f"got {len(sources)} generators, {len({id(source) for source in sources})} of them different, expected a "
            "torch.Generator of its own for each replica: make them in a list, one with each seed"
        )
    if len({source.device for source in sources}) > 1:
        raise ValueError(
            f"got generators on {', '.join(sorted({str(source.device) for source in sources}))}, expected one device: "
            "make all of them with torch.Generator(device)"
        )
    return sources


def _start(
    steps: int, batch: int, n_inputs: int, generator: Source, dtype: torch.dtype, *, channels: int = 0
) -> tuple[Float[Tensor, "T S B m"], list[torch.Generator]]:
    """Inputs with uniform noise in the first channels and zeros in the others, and the generators of the replicas."""
    sources = _sources(generator)
    arguments.dtype(dtype)
    u = torch.zeros(steps, len(sources), batch, n_inputs, device=sources[0].device, dtype=dtype)
    if channels:
        for replica, source in enumerate(sources):
            u[:, replica, :, :channels] = torch.rand(
                steps, batch, channels, generator=source, device=u.device, dtype=dtype
            )
    return u, sources


def _total(parts: Float[Tensor, "K S B"]) -> Float[Tensor, "S B"]:
    """The sum over the first axis, term by term: ``torch.sum`` may order its terms by the size of the whole."""
    return reduce(torch.add, parts.unbind())


def _marked(u: Float[Tensor, "T S B m"], marks: Int[Tensor, "K S B"], generator: Source) -> Batch:
    """Ones in the last channel at the marks, and the sum of channel 0 there."""
    u[..., -1].scatter_(0, marks, 1.0)
    return _finished(u, _total(u[..., 0].gather(0, marks)), generator)


def _finished(
    u: Float[Tensor, "T S B m"], target: Float[Tensor, "S B"], generator: Source, redrawn: Tensor | None = None
) -> Batch:
    """The batch, with an axis for outputs, and without one for replicas if there was a lone generator."""
    redrawn = torch.zeros(len(target), dtype=torch.int64, device=u.device) if redrawn is None else redrawn
    if isinstance(generator, torch.Generator):
        u, target, redrawn = u[:, 0], target[0], redrawn[0]
    return Batch(u, target.unsqueeze(-1), redrawn)


def _at_least(task: str, **sizes: tuple[int, int]) -> None:
    for name, (size, least) in sizes.items():
        if arguments.whole(name, size) < least:
            raise ValueError(f"got {name}={size}, expected at least {least} for {task}")
