"""Processes in time: waves, an autoregression that the inputs say nothing about, and a nonlinear moving average."""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from gatelr import arguments
from gatelr.tasks.contract import Batch, Source, _at_least, _finished, _start

#: A NARMA target above this has run away. Of 200,000 sequences of each order none was seen to come back from here.
NARMA_BOUND = 2.0

#: a, b and c of the recursion, by order.
_NARMA = {10: (0.3, 0.05, 0.1), 20: (0.1, 0.04, 0.2)}


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
        steps, batch, generator, n_inputs, dtype: as for :func:`~gatelr.tasks.sums.adding`; T at least 4, m at least 3.

    Returns and Raises as for :func:`~gatelr.tasks.sums.adding`.
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
        steps, batch, generator, n_inputs, dtype: as for :func:`~gatelr.tasks.sums.adding`; T at least 1, m at least 1.

    Returns and Raises as for :func:`~gatelr.tasks.sums.adding`.
    """
    _at_least("ar2", steps=(steps, 1), batch=(batch, 1), n_inputs=(n_inputs, 1))
    u, sources = _start(steps, batch, n_inputs, generator, dtype, channels=n_inputs)
    target = u.new_empty(len(sources), batch)
    weights = torch.tensor(_ar2_weights(steps)[::-1], device=u.device, dtype=dtype)
    for replica, source in enumerate(sources):
        # replica by replica: of many at once a matrix product may round in another way
        target[replica] = torch.randn(batch, steps + 1, generator=source, device=u.device, dtype=dtype) @ weights
    return _finished(u, target, generator)


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
    whose target is not finite or above :data:`.NARMA_BOUND` is refused, replaced by the next good one that its own
    generator gives, and counted in ``redrawn``. So the inputs of order 20 are no longer uniform: they are what is left.

    No closed form is known for the best constant's loss: :func:`.get` measures the variance of 32768 targets in float64
    (for order 10 at T = 120 about 0.012, with a standard error of one per cent). The best attainable loss is 0. Order
    10 is used in experiment E2.

    Args:
        steps, batch, generator, n_inputs, dtype: as for :func:`~gatelr.tasks.sums.adding`;
            T at least the order, m at least 1.
        order: p, 10 or 20.

    Returns:
        As :func:`~gatelr.tasks.sums.adding`, with ``redrawn`` a number, or ``(S,)``.

    Raises:
        ValueError: if a size is too small, the order is another, or nearly all sequences diverge.
        TypeError: as :func:`~gatelr.tasks.sums.adding`, or for an order that is no whole number.
    """
    if arguments.whole("order", order) not in _NARMA:
        raise ValueError(f"got order={order}, expected 10 or 20: these are the two NARMA tasks that were published")
    _at_least(f"NARMA-{order}", steps=(steps, order), batch=(batch, 1), n_inputs=(n_inputs, 1))
    u, sources = _start(steps, batch, n_inputs, generator, dtype, channels=1)
    drive = u[..., 0].mul_(0.5)
    target = _narma_response(drive.contiguous(), order)
    redrawn = torch.zeros(len(sources), dtype=torch.int64, device=u.device)
    for replica in _refused(target).any(-1).nonzero().flatten().tolist():
        redrawn[replica] = _redraw(drive[:, replica], target[replica], sources[replica], order)
    return _finished(u, target, generator, redrawn)


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
