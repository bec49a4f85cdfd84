"""Sequences to learn from: what is drawn, what is to be said at the end, and what a constant would score.

Every task returns a :class:`Batch` of time-major inputs and targets. Draws come from the generator that is passed in,
on the device where it lives, so that one seed means one data set. A sequence of S generators gives S replicas side by
side, and replica i is to the bit what generator i alone would have given.

:func:`get` finds a task by its name, with the sizes at which it was published and the losses to compare with.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial, reduce
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn import datasets
from torch import Tensor

#: One generator, or one for each replica.
Source = torch.Generator | Sequence[torch.Generator]

#: Steps in a digit sequence, 8 x 8 pixels read row by row, and the number of classes.
DIGIT_STEPS, DIGIT_CLASSES = 64, 10

#: A NARMA target above this has run away. Of 200,000 sequences of each order none was seen to come back from here.
NARMA_BOUND = 2.0


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
        name: as :func:`get` takes it.
        steps: T.
        n_inputs: m.
        n_outputs: o, or the number of classes.
        kind: which loss, ``"mse"`` or ``"cross-entropy"``.
        constant_loss: what :meth:`loss` returns for the best predictor that ignores the inputs, on the training part of
            a data set.
        best_loss: the least that any predictor can have; None where it is not known.
        delays: those of ``delay_sum``, where they are not the published ones.
    """

    name: str
    steps: int
    n_inputs: int
    n_outputs: int
    kind: Literal["mse", "cross-entropy"]
    constant_loss: float
    best_loss: float | None
    delays: tuple[int, ...] | None = None

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
        """
        if self.name in _SETS:
            return _SETS[self.name](batch, generator, split="test" if held_out else "train", dtype=dtype)
        options = {} if self.delays is None else {"delays": self.delays}
        return _DRAWN[self.name].make(self.steps, batch, generator, n_inputs=self.n_inputs, dtype=dtype, **options)

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
            ValueError: if the shapes do not fit, which broadcasting would hide.
        """
        expected = output.shape if self.kind == "mse" else output.shape[:-1]
        if target.shape != expected or output.shape[-1] != self.n_outputs or output.ndim not in (2, 3):
            raise ValueError(
                f"got output {tuple(output.shape)} and target {tuple(target.shape)} for {self.name}, expected output "
                f"(B, {self.n_outputs}) or (S, B, {self.n_outputs}) and the target that draw returned: "
                f"give the model n_outputs={self.n_outputs} and as many replicas as generators"
            )
        if self.kind == "mse":
            return (output - target).square().mean((-2, -1))
        return -output.log_softmax(-1).gather(-1, target.unsqueeze(-1)).mean((-2, -1))


def adding(
    steps: int, batch: int, generator: Source, *, n_inputs: int = 4, dtype: torch.dtype = torch.float32
) -> Batch:
    r"""The adding problem (Hochreiter & Schmidhuber 1997): the sum of channel 0 at two marked steps.

    Channels 0 … m-2 are noise, uniform in [0, 1); the last is zero but for a 1 at two steps, one drawn from each
    half of the sequence. The target is the sum of two independent uniform numbers, so the best constant is 1, with a
    mean squared error of :math:`2 · 1/12 = 1/6`; the best attainable loss is 0. Used in experiments E1 and E2.

    Args:
        steps: T, at least 2.
        batch: B, at least 1.
        generator: where the draws come from, one or S; noise first, then the mark of the first half, then of the
            second.
        n_inputs: m, at least 2.
        dtype: of the inputs and targets.

    Returns:
        ``u`` ``(T, B, m)`` and ``target`` ``(B, 1)``, or ``(T, S, B, m)`` and ``(S, B, 1)``, on the generator's device.

    Raises:
        ValueError: if a size is too small.

    Example:
        >>> import torch
        >>> from gatelr import tasks
        >>> generator = torch.Generator().manual_seed(0)
        >>> u, target = tasks.adding(steps=10, batch=3, generator=generator)
        >>> u.shape, target.shape
        (torch.Size([10, 3, 4]), torch.Size([3, 1]))
        >>> noise, marks = u[..., 0], u[..., -1]
        >>> marks.sum(0)  # two steps of each sequence
        tensor([2., 2., 2.])
        >>> torch.allclose((noise * marks).sum(0), target[:, 0])
        True
    """
    _at_least("the adding problem", steps=(steps, 2), batch=(batch, 1), n_inputs=(n_inputs, 2))
    u, sources = _start(steps, batch, n_inputs, generator, dtype)
    marks, half = u.new_empty(2, len(sources), batch, dtype=torch.int64), steps // 2
    for replica, source in enumerate(sources):
        noise = torch.rand(batch, steps, n_inputs - 1, generator=source, device=u.device, dtype=dtype)
        u[:, replica, :, :-1] = noise.transpose(0, 1)
        marks[0, replica].random_(0, half, generator=source)
        marks[1, replica].random_(half, steps, generator=source)
    return _marked(u, marks, generator)


def recall(
    steps: int, batch: int, generator: Source, *, n_inputs: int = 4, marks: int = 5, dtype: torch.dtype = torch.float32
) -> Batch:
    r"""Early recall: the sum of channel 0 at several marked steps, all in the first third of the sequence.

    Channels 0 … m-2 are noise, uniform in [0, 1); the last is zero but for a 1 at K distinct steps among the first
    ⌊T/3⌋. The target is the sum of K independent uniform numbers, so the best constant is K/2, with a mean squared
    error of K/12; the best attainable loss is 0. Used in experiment E1.

    Args:
        steps, batch, generator, n_inputs, dtype: as for :func:`adding`; T at least 3 K, m at least 2.
        marks: K, at least 1.

    Returns:
        As :func:`adding`.

    Raises:
        ValueError: if a size is too small.
    """
    _at_least("recall", marks=(marks, 1), steps=(steps, 3 * marks), batch=(batch, 1), n_inputs=(n_inputs, 2))
    u, sources = _start(steps, batch, n_inputs, generator, dtype, channels=n_inputs - 1)
    chosen = u.new_empty(marks, len(sources), batch, dtype=torch.int64)
    for replica, source in enumerate(sources):
        # the steps with the K largest of independent scores are a random subset of K
        score = torch.rand(batch, steps // 3, generator=source, device=u.device)
        chosen[:, replica] = score.topk(marks).indices.T
    return _marked(u, chosen, generator)


def sinmix(
    steps: int, batch: int, generator: Source, *, n_inputs: int = 4, dtype: torch.dtype = torch.float32
) -> Batch:
    r"""Mixed sinusoids: how the mean of each of two waves differs between the first and the last quarter.

    Channels 0 and 1 are :math:`\sin(2π f t + p)` at T times t from 0 to 1, both ends included, with independent
    frequencies f uniform in [1, 7) and phases p uniform in [0, 2π); then come m-3 channels of Gaussian noise of
    standard deviation 0.1, and one of zeros. With w = 1/⌈T/4⌉ over the last quarter, -1/⌊T/4⌋ over the first and 0
    between, the target is :math:`\sum_j w_j (u^0_j - u^1_j)`. The best constant is 0, with a mean squared error of

    .. math:: \sum_{j,k} w_j w_k \, E_f \cos 2π f (t_j - t_k), \qquad
        E_f \cos 2π f τ = \frac{\sin 14πτ - \sin 2πτ}{12πτ}

    The inputs determine the target: the best attainable loss is 0. Used in experiment E1.

    Args:
        steps, batch, generator, n_inputs, dtype: as for :func:`adding`; T at least 4, m at least 3.

    Returns:
        As :func:`adding`.

    Raises:
        ValueError: if a size is too small.
    """
    _at_least("sinmix", steps=(steps, 4), batch=(batch, 1), n_inputs=(n_inputs, 3))
    u, sources = _start(steps, batch, n_inputs, generator, dtype)
    target = u.new_empty(len(sources), batch)
    t = torch.linspace(0, 1, steps, device=u.device, dtype=dtype)[:, None, None]
    for replica, source in enumerate(sources):
        # sines and means replica by replica: of many at once they may round in another way
        frequency, phase = torch.rand(2, batch, 2, generator=source, device=u.device, dtype=dtype)
        waves = torch.sin(2 * torch.pi * ((6 * frequency + 1) * t + phase))
        noise = torch.randn(steps, batch, n_inputs - 3, generator=source, device=u.device, dtype=dtype)
        u[:, replica, :, :2], u[:, replica, :, 2:-1] = waves, 0.1 * noise
        change = waves[3 * steps // 4 :].mean(0) - waves[: steps // 4].mean(0)
        target[replica] = change[:, 0] - change[:, 1]
    return _finished(u, target, generator)


def short(
    steps: int, batch: int, generator: Source, *, n_inputs: int = 4, window: int = 6, dtype: torch.dtype = torch.float32
) -> Batch:
    r"""Short memory: the sum of channel 0 over the last steps.

    Channels 0 … m-2 are noise, uniform in [0, 1); the last is zero. The target is the sum of L independent uniform
    numbers, so the best constant is L/2, with a mean squared error of L/12; the best attainable loss is 0. Used in
    experiment E1.

    Args:
        steps, batch, generator, n_inputs, dtype: as for :func:`adding`; T at least L, m at least 2.
        window: L, at least 1.

    Returns:
        As :func:`adding`.

    Raises:
        ValueError: if a size is too small.
    """
    _at_least("short", window=(window, 1), steps=(steps, window), batch=(batch, 1), n_inputs=(n_inputs, 2))
    u, _ = _start(steps, batch, n_inputs, generator, dtype, channels=n_inputs - 1)
    return _finished(u, _total(u[-window:, ..., 0]), generator)


def ar2(steps: int, batch: int, generator: Source, *, n_inputs: int = 6, dtype: torch.dtype = torch.float32) -> Batch:
    r"""The last value of an autoregression that the inputs say nothing about.

    The target is :math:`y_T` of :math:`y_t = 1.6\, y_{t-1} - 0.7\, y_{t-2} + 0.05\, ε_t`, t = 0 … T, from
    :math:`y_{-1} = y_{-2} = 0`, with ε standard Gaussian. All m channels are noise, uniform in [0, 1), and **the
    process does not read them**: so it is defined in the code released with the paper, and kept here. The best
    constant is 0, and with the impulse response :math:`h_j = 1.6\, h_{j-1} - 0.7\, h_{j-2}`, :math:`h_0 = 1`, its mean
    squared error is

    .. math:: 0.05^2 \sum_{j=0}^{T} h_j^2 \to 0.05^2 · \frac{1.7}{0.3\,(1.7^2 - 1.6^2)} ≈ 0.0429

    which is also the best attainable loss: a network can only learn to ignore its inputs. Used in experiment E2.

    Args:
        steps, batch, generator, n_inputs, dtype: as for :func:`adding`; T at least 1, m at least 1.

    Returns:
        As :func:`adding`.

    Raises:
        ValueError: if a size is too small.
    """
    _at_least("ar2", steps=(steps, 1), batch=(batch, 1), n_inputs=(n_inputs, 1))
    u, sources = _start(steps, batch, n_inputs, generator, dtype, channels=n_inputs)
    target = u.new_empty(len(sources), batch)
    weights = torch.tensor(_ar2_weights(steps)[::-1], device=u.device, dtype=dtype)
    for replica, source in enumerate(sources):
        # replica by replica: of many at once a matrix product may round in another way
        target[replica] = torch.randn(batch, steps + 1, generator=source, device=u.device, dtype=dtype) @ weights
    return _finished(u, target, generator)


def moving_average(
    steps: int, batch: int, generator: Source, *, n_inputs: int = 6, window: int = 8, dtype: torch.dtype = torch.float32
) -> Batch:
    r"""The mean of channel 0 over the last steps.

    Channel 0 is noise, uniform in [0, 1); the others are zero. The target is the mean of W independent uniform
    numbers, so the best constant is 1/2, with a mean squared error of 1/(12 W), 1/96 by default; the best attainable
    loss is 0. Used in experiment E2.

    Args:
        steps, batch, generator, n_inputs, dtype: as for :func:`adding`; T at least W, m at least 1.
        window: W, at least 1.

    Returns:
        As :func:`adding`.

    Raises:
        ValueError: if a size is too small.
    """
    _at_least("moving_average", window=(window, 1), steps=(steps, window), batch=(batch, 1), n_inputs=(n_inputs, 1))
    u, _ = _start(steps, batch, n_inputs, generator, dtype, channels=1)
    return _finished(u, _total(u[-window:, ..., 0]) / window, generator)


def delay_sum(
    steps: int,
    batch: int,
    generator: Source,
    *,
    n_inputs: int = 6,
    delays: Sequence[int] = (4, 12, 24, 36),
    dtype: torch.dtype = torch.float32,
) -> Batch:
    r"""The mean of channel 0 at fixed delays before the last step, :math:`\frac{1}{D} \sum_d u^0_{T-d}`.

    Channel 0 is noise, uniform in [0, 1); the others are zero. The target is the mean of D independent uniform
    numbers, so the best constant is 1/2, with a mean squared error of 1/(12 D), 1/48 by default; the best attainable
    loss is 0. Used in experiment E2.

    Args:
        steps, batch, generator, n_inputs, dtype: as for :func:`adding`; T more than the longest delay, m at least 1.
        delays: D different numbers of steps; 0 is the last step.

    Returns:
        As :func:`adding`.

    Raises:
        ValueError: if a size is too small, or the delays are none, negative or repeated.
    """
    if not delays or min(delays) < 0 or len(set(delays)) < len(delays):
        raise ValueError(
            f"got delays={tuple(delays)}, expected different whole numbers from 0 on: name each step once, 0 the last"
        )
    _at_least("delay_sum", steps=(steps, max(delays) + 1), batch=(batch, 1), n_inputs=(n_inputs, 1))
    u, _ = _start(steps, batch, n_inputs, generator, dtype, channels=1)
    taps = u[[steps - 1 - delay for delay in delays], ..., 0]
    return _finished(u, _total(taps) / len(delays), generator)


def narma(
    steps: int,
    batch: int,
    generator: Source,
    *,
    n_inputs: int = 6,
    order: Literal[10, 20] = 10,
    dtype: torch.dtype = torch.float32,
) -> Batch:
    r"""The last value of a nonlinear autoregression with long memory (Atiya & Parlos 2000), which may run away.

    Channel 0 is noise, uniform in [0, 1/2); the others are zero. The target is :math:`y_T` of

    .. math:: y_{t+1} = a y_t + b y_t \sum_{i=0}^{p-1} y_{t-i} + 1.5\, u_{t-p+1} u_t + c

    t = 0 … T-1, with y = 0 up to t = 0, u = 0 before, and a, b, c = 0.3, 0.05, 0.1 for order p = 10, and 0.1, 0.04, 0.2
    for order 20, as in the code released with the paper. **Targets diverge**: with its mean drive, order 10 has an
    unstable fixed point at 1.02, which some sequences cross; order 20 has no fixed point at all, and sooner or later
    every sequence goes to infinity. At T = 120, of 200,000 sequences each, about 2 in 8192 of order 10 end above the
    bound of 2, and 96 % of order 20, most of them not finite (89 % of all in float32, 85 % in float64). A sequence
    whose target is not finite or above :data:`NARMA_BOUND` is refused, replaced by the next good one that its own
    generator gives, and counted in ``redrawn``. So the inputs of order 20 are no longer uniform: they are what is left.

    No closed form is known for the best constant's loss: :func:`get` measures the variance of 32,768 targets in float64
    (for order 10 at T = 120 about 0.012, with a standard error of one per cent). The best attainable loss is 0. Order
    10 is used in experiment E2.

    Args:
        steps, batch, generator, n_inputs, dtype: as for :func:`adding`; T at least the order, m at least 1.
        order: p, 10 or 20.

    Returns:
        As :func:`adding`, with ``redrawn`` a number, or ``(S,)``.

    Raises:
        ValueError: if a size is too small, the order is another, or nearly all sequences diverge.
    """
    if order not in _NARMA:
        raise ValueError(f"got order={order}, expected 10 or 20: these are the two NARMA tasks that were published")
    _at_least(f"NARMA-{order}", steps=(steps, order), batch=(batch, 1), n_inputs=(n_inputs, 1))
    u, sources = _start(steps, batch, n_inputs, generator, dtype, channels=1)
    drive = u[..., 0].mul_(0.5)
    target = _narma_response(drive.contiguous(), order)
    redrawn = torch.zeros(len(sources), dtype=torch.int64, device=u.device)
    for replica in _refused(target).any(-1).nonzero().flatten().tolist():
        redrawn[replica] = _redraw(drive[:, replica], target[replica], sources[replica], order)
    return _finished(u, target, generator, redrawn)


def digits(
    batch: int | None = None,
    generator: Source | None = None,
    *,
    split: Literal["all", "train", "test"] = "all",
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Batch:
    r"""Handwritten digits, read pixel by pixel: 1,797 images of 8 x 8 grey values, a real data set inside scikit-learn.

    The UCI test set of optical digits (Alpaydin & Kaynak 1998), row by row from the upper left, scaled from 0 … 16 to
    [0, 1]. The ten classes are near balance, so the best constant guess is wrong about nine times in ten; its cross
    entropy is the entropy of the class frequencies, about ln 10. The best attainable loss is not known. Used in
    experiment E5.

    Args:
        batch: how many sequences to draw without replacement; all of them, in their order, by default.
        generator: where the draw comes from, one or S; needed with ``batch``.
        split: the first 1,297 in their order to train, the other 500 to test, or all.
        dtype: of the inputs.
        device: where the batch is wanted; the generator's device by default, or the CPU if there is none.

    Returns:
        ``u`` ``(64, B, 1)`` and ``target`` ``(B,)``, or ``(64, S, B, 1)`` and ``(S, B)``, whole numbers 0 … 9.

    Raises:
        ValueError: if ``batch`` is not between 1 and the size of the set, or comes without a generator.
    """
    return _labelled("digits", split, batch, generator, dtype, device)


def mnist1d(
    batch: int | None = None,
    generator: Source | None = None,
    *,
    split: Literal["all", "train", "test"] = "train",
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Batch:
    r"""MNIST-1D (Greydanus & Kobak 2024): ten shapes on a line, stretched, moved, sheared and noisy, 40 steps each.

    The package ``mnist1d`` makes the published 4,000 training and 1,000 test sequences from their seed, and downloads
    nothing: they equal the published file to 1e-15. The ten classes are near balance, so the best constant guess is
    wrong about nine times in ten; its cross entropy is the entropy of the class frequencies, about ln 10. The best
    attainable loss is not known. Used in experiment E5.

    Args:
        batch: how many sequences to draw without replacement; all of them, in their order, by default.
        generator: where the draw comes from, one or S; needed with ``batch``.
        split: the published training part, the test part, or both.
        dtype: of the inputs.
        device: where the batch is wanted; the generator's device by default, or the CPU if there is none.

    Returns:
        ``u`` ``(40, B, 1)`` and ``target`` ``(B,)``, or ``(40, S, B, 1)`` and ``(S, B)``, whole numbers 0 … 9.

    Raises:
        ValueError: if ``batch`` is not between 1 and the size of the set, or comes without a generator.
    """
    return _labelled("mnist1d", split, batch, generator, dtype, device)


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

    Example:
        >>> import torch
        >>> from gatelr import tasks
        >>> task = tasks.get("adding", steps=10)
        >>> u, target = task.draw(3, torch.Generator().manual_seed(0))
        >>> always_one = torch.ones(3, 1)  # the best guess for who does not look
        >>> task.loss(always_one, target).shape, task.constant_loss == 1 / 6
        (torch.Size([]), True)
    """
    if name not in NAMES:
        raise ValueError(f"got task {name!r}, expected one of {', '.join(NAMES)}: check the spelling")
    if delays is not None and name != "delay_sum":
        raise ValueError(f"got delays={tuple(delays)} for {name!r}, expected none: only 'delay_sum' has delays")
    if name in _SETS:
        known = _SETS[name](split="train")
        length, frequency = len(known.u), known.target.bincount().double() / len(known.target)
        if steps not in (None, length) or n_inputs not in (None, 1):
            raise ValueError(
                f"got steps={steps} and n_inputs={n_inputs} for {name}, expected steps={length} and n_inputs=1, "
                "which the data set has: leave them out"
            )
        entropy = float(torch.special.entr(frequency).sum())
        return Task(name, length, 1, len(frequency), "cross-entropy", entropy, None)
    drawn = _DRAWN[name]
    steps = drawn.steps if steps is None else steps
    n_inputs = drawn.n_inputs if n_inputs is None else n_inputs
    # a size that cannot be is refused here, before a run begins
    own: dict[str, Any] = {} if delays is None else {"delays": tuple(delays)}
    drawn.make(steps, 1, torch.Generator(), n_inputs=n_inputs, dtype=torch.float32, **own)
    constant = drawn.constant(steps) if delays is None else 1 / (12 * len(delays))
    # the inputs determine every target but that of the autoregression, which does not depend on them
    return Task(name, steps, n_inputs, 1, "mse", constant, constant if name == "ar2" else 0.0, **own)


class _Drawn(NamedTuple):
    make: Callable[..., Batch]
    steps: int
    n_inputs: int
    constant: Callable[[int], float]


def _sources(generator: Source) -> list[torch.Generator]:
    """The generators, one for each replica."""
    if isinstance(generator, torch.Generator):
        return [generator]
    sources = list(generator)
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
        if size < least:
            raise ValueError(f"got {name}={size}, expected at least {least} for {task}")


def _sinmix_constant(steps: int) -> float:
    t = torch.linspace(0, 1, steps, dtype=torch.float64)
    early, late = steps // 4, 3 * steps // 4
    w = torch.zeros_like(t)
    w[:early], w[late:] = -1 / early, 1 / (steps - late)
    lag = t[:, None] - t
    # torch.sinc(x) is sin(πx)/(πx)
    return float(w @ (14 * torch.sinc(14 * lag) - 2 * torch.sinc(2 * lag)) @ w / 12)


def _ar2_weights(steps: int) -> list[float]:
    """What the noise of 0 … T steps ago adds to the last value."""
    response = [1.0, 1.6]
    while len(response) <= steps:
        response.append(1.6 * response[-1] - 0.7 * response[-2])
    return [0.05 * h for h in response]


#: a, b and c of the recursion, by order.
_NARMA = {10: (0.3, 0.05, 0.1), 20: (0.1, 0.04, 0.2)}


def _narma_response(u: Tensor, order: int) -> Tensor:
    """The last value of every sequence, for drives (T, ...)."""
    a, b, c = _NARMA[order]
    drive = torch.full_like(u, c)
    drive[order - 1 :] += 1.5 * u[: len(u) - order + 1] * u[order - 1 :]
    y = [torch.zeros_like(u[0])]
    window = torch.zeros_like(u[0])
    for t, drive_t in enumerate(drive.unbind()):
        # one rounding an operation, so that the size of the batch cannot change a bit
        y.append((window * b).add_(a).mul_(y[-1]).add_(drive_t))
        window.add_(y[-1])
        if t >= order - 1:
            window.sub_(y[t + 1 - order])
    return y[-1]


def _refused(target: Tensor) -> Tensor:
    return ~(target <= NARMA_BOUND)  # so that NaN is, too


def _redraw(u: Float[Tensor, "T B"], target: Tensor, source: torch.Generator, order: int) -> int:
    """Replaces the sequences that are refused, in place, and says how many were."""
    steps, batch = u.shape
    slots = _refused(target).nonzero().flatten()
    refused, drawn = len(slots), batch
    for _ in range(64):
        block = 32 * len(slots)  # about 1 in 28 of order 20 is good
        fresh = torch.rand(steps, block, generator=source, device=source.device, dtype=u.dtype) / 2
        value = _narma_response(fresh, order)
        good = (~_refused(value)).nonzero().flatten()[: len(slots)]
        u[:, slots[: len(good)]], target[slots[: len(good)]] = fresh[:, good], value[good]
        slots, drawn = slots[len(good) :], drawn + block
        if not len(slots):
            return refused + int(good[-1]) + 1 - len(good)
        refused += block - len(good)
    raise ValueError(
        f"got {batch - len(slots)} sequences of NARMA-{order} over {steps} steps that stay below {NARMA_BOUND} "
        f"among {drawn} drawn, expected {batch}: take fewer steps, or order 10"
    )


@cache
def _narma_constant(steps: int, order: Literal[10, 20]) -> float:
    source = torch.Generator().manual_seed(0)
    draws = [narma(steps, 1024, source, n_inputs=1, order=order, dtype=torch.float64).target for _ in range(32)]
    return float(torch.cat(draws).var())


def _labelled(
    name: str,
    split: str,
    batch: int | None,
    generator: Source | None,
    dtype: torch.dtype,
    device: torch.device | str | None,
) -> Batch:
    """All sequences of a split of a data set, or a draw of them without replacement."""
    parts = _data(name)
    if split not in (*parts, "all"):
        raise ValueError(f"got split={split!r}, expected 'all', 'train' or 'test': name the part that you want")
    chosen = list(parts.values()) if split == "all" else [parts[split]]
    sequences, labels = (torch.cat(part) for part in zip(*chosen, strict=True))
    redrawn: Tensor | int = 0
    noun = "digits" if name == "digits" else f"{name} sequences"
    if batch is not None:
        if not 1 <= batch <= len(labels):
            raise ValueError(f"got batch={batch}, expected between 1 and the {len(labels)} {noun} there are")
        if generator is None:
            raise ValueError(
                f"got a batch of {noun} to draw but no generator, expected a torch.Generator with your seed"
            )
        sources = _sources(generator)
        device = sources[0].device if device is None else device
        draws = [torch.randperm(len(labels), generator=source, device=source.device)[:batch] for source in sources]
        index = draws[0].cpu() if isinstance(generator, torch.Generator) else torch.stack(draws).cpu()
        sequences, labels = sequences[index], labels[index]
        redrawn = torch.zeros(index.shape[:-1], dtype=torch.int64, device=device)
    device = "cpu" if device is None else device
    u = sequences.to(device=device, dtype=dtype).movedim(-1, 0).unsqueeze(-1).contiguous()
    return Batch(u, labels.to(device), redrawn)


@cache
def _data(name: str) -> dict[str, tuple[Tensor, Tensor]]:
    """Sequences (N, T) in float64 and labels (N,) of the two parts of a data set."""
    if name == "digits":
        found = datasets.load_digits()
        x, y = torch.from_numpy(found.data / 16.0), torch.from_numpy(found.target)
        return {"train": (x[:1297], y[:1297]), "test": (x[1297:], y[1297:])}
    from mnist1d.data import get_dataset_args, make_dataset  # not above: it loads pyplot and an HTTP client

    # it seeds and uses the two global generators, which are the caller's
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        made = make_dataset(get_dataset_args())
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
    parts = {"train": ("x", "y"), "test": ("x_test", "y_test")}
    return {part: (torch.from_numpy(made[x]), torch.from_numpy(made[y])) for part, (x, y) in parts.items()}


_DRAWN = {
    "adding": _Drawn(adding, 80, 4, lambda steps: 2 / 12),
    "recall": _Drawn(recall, 80, 4, lambda steps: 5 / 12),
    "sinmix": _Drawn(sinmix, 80, 4, _sinmix_constant),
    "short": _Drawn(short, 80, 4, lambda steps: 6 / 12),
    "ar2": _Drawn(ar2, 120, 6, lambda steps: sum(weight**2 for weight in _ar2_weights(steps))),
    "moving_average": _Drawn(moving_average, 120, 6, lambda steps: 1 / (12 * 8)),
    "delay_sum": _Drawn(delay_sum, 120, 6, lambda steps: 1 / (12 * 4)),
    "narma10": _Drawn(partial(narma, order=10), 120, 6, partial(_narma_constant, order=10)),
    "narma20": _Drawn(partial(narma, order=20), 120, 6, partial(_narma_constant, order=20)),
}
_SETS: dict[str, Callable[..., Batch]] = {"digits": digits, "mnist1d": mnist1d}

#: The tasks that :func:`get` knows.
NAMES = (*_DRAWN, *_SETS)
