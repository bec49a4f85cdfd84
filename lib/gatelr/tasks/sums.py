"""Sums of what was drawn: at marked steps, over the last ones, or some steps ago."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gatelr import arguments
from gatelr.tasks.contract import Batch, Source, _at_least, _finished, _marked, _start, _total


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
        TypeError: if a size is no whole number, or what is given is no generator or another dtype than float32 and
            float64.

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
        steps, batch, generator, n_inputs, dtype: as for :func:`~gatelr.tasks.sums.adding`;
            T at least 3 K, m at least 2.
        marks: K, at least 1.

    Returns and Raises as for :func:`~gatelr.tasks.sums.adding`.
    """
    marks = arguments.whole("marks", marks)
    _at_least("recall", marks=(marks, 1), steps=(steps, 3 * marks), batch=(batch, 1), n_inputs=(n_inputs, 2))
    u, sources = _start(steps, batch, n_inputs, generator, dtype, channels=n_inputs - 1)
    chosen = u.new_empty(marks, len(sources), batch, dtype=torch.int64)
    for replica, source in enumerate(sources):
        # the steps with the K largest of independent scores are a random subset of K
        score = torch.rand(batch, steps // 3, generator=source, device=u.device)
        chosen[:, replica] = score.topk(marks).indices.T
    return _marked(u, chosen, generator)


def short(
    steps: int, batch: int, generator: Source, *, n_inputs: int = 4, window: int = 6, dtype: torch.dtype = torch.float32
) -> Batch:
    r"""Short memory: the sum of channel 0 over the last steps.

    Channels 0 … m-2 are noise, uniform in [0, 1); the last is zero. The target is the sum of L independent uniform
    numbers, so the best constant is L/2, with a mean squared error of L/12; the best attainable loss is 0. Used in
    experiment E1.

    Args:
        steps, batch, generator, n_inputs, dtype: as for :func:`~gatelr.tasks.sums.adding`; T at least L, m at least 2.
        window: L, at least 1.

    Returns and Raises as for :func:`~gatelr.tasks.sums.adding`.
    """
    _at_least("short", window=(window, 1), steps=(steps, window), batch=(batch, 1), n_inputs=(n_inputs, 2))
    u, _ = _start(steps, batch, n_inputs, generator, dtype, channels=n_inputs - 1)
    return _finished(u, _total(u[-window:, ..., 0]), generator)


def moving_average(
    steps: int, batch: int, generator: Source, *, n_inputs: int = 6, window: int = 8, dtype: torch.dtype = torch.float32
) -> Batch:
    r"""The mean of channel 0 over the last steps.

    Channel 0 is noise, uniform in [0, 1); the others are zero. The target is the mean of W independent uniform
    numbers, so the best constant is 1/2, with a mean squared error of 1/(12 W), 1/96 by default; the best attainable
    loss is 0. Used in experiment E2.

    Args:
        steps, batch, generator, n_inputs, dtype: as for :func:`~gatelr.tasks.sums.adding`; T at least W, m at least 1.
        window: W, at least 1.

    Returns and Raises as for :func:`~gatelr.tasks.sums.adding`.
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
        steps, batch, generator, n_inputs, dtype: as for :func:`~gatelr.tasks.sums.adding`;
            T more than the longest delay, m at least 1.
        delays: D different numbers of steps; 0 is the last step.

    Returns:
        As :func:`~gatelr.tasks.sums.adding`.

    Raises:
        ValueError: if a size is too small, or the delays are none, negative or repeated.
        TypeError: as :func:`~gatelr.tasks.sums.adding`, or for delays that are no whole numbers.
    """
    delays = arguments.wholes("delays", delays)
    if not delays or min(delays) < 0 or len(set(delays)) < len(delays):
        raise ValueError(
            f"got delays={tuple(delays)}, expected different whole numbers from 0 on: name each step once, 0 the last"
        )
    _at_least("delay_sum", steps=(steps, max(delays) + 1), batch=(batch, 1), n_inputs=(n_inputs, 1))
    u, _ = _start(steps, batch, n_inputs, generator, dtype, channels=1)
    taps = u[[steps - 1 - delay for delay in delays], ..., 0]
    return _finished(u, _total(taps) / len(delays), generator)
