"""Which lags a network uses, by putting other inputs there; and which it would need, by what it gets wrong."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gatelr.networks.diagnosis.thresholds import MISSED_SIGMAS

#: Lags are looked at one by one up to so many, and in ever wider blocks beyond.
ONE_BY_ONE = 32
#: Parts of a feature and of an error that are looked at, the largest ones.
PARTS = 6
#: Products of pairs are looked at of so many inputs at most.
PAIRS_OF = 4


def blocks_of(longest: int) -> list[range]:
    """Lags 0 … longest - 1, one by one at first and then in blocks a quarter wider than the lag they begin with."""
    blocks, start = [], 0
    while start < longest:
        stop = min(longest, start + 1 if start < ONE_BY_ONE else start + start // 4)
        blocks.append(range(start, stop))
        start = stop
    return blocks


@torch.no_grad()
def used_by_lag(
    output: Callable[[Tensor], Tensor], u: Float[Tensor, "T B *m"] | Int[Tensor, "T B *m"], ends: Int[Tensor, " B"]
) -> Float[Tensor, " lags"]:
    """How much the output changes if the inputs of a lag are another sequence's.

    Args:
        output: what the model says at the end, ``(B, ...)``, as a function of such inputs.
        u: the inputs, time first.
        ends: the step from which lags count back, for each sequence.

    Returns:
        For lags 0 … T-1 the root mean square of the change, divided by that of changing all lags; a block of lags that
        was changed together has the same number at each. Zeros where nothing changes the output.
    """
    T, B = u.shape[:2]
    other = torch.arange(B, device=u.device).roll(1)

    def changed(lags: range) -> Tensor:
        lag = torch.as_tensor(list(lags), device=u.device).unsqueeze(-1)
        here, there = ends - 1 - lag, ends[other] - 1 - lag
        inside = (here >= 0) & (there >= 0)
        columns, sources = torch.arange(B, device=u.device).expand_as(here)[inside], other.expand_as(here)[inside]
        replaced = u.clone()
        replaced[here[inside], columns] = u[there[inside], sources]
        return (output(replaced) - before).square().mean().sqrt()

    before = output(u)
    longest = int(ends.max())
    whole = changed(range(longest))
    used = before.new_zeros(T)
    if whole > 0:
        for block in blocks_of(longest):
            used[block.start : block.stop] = changed(block) / whole
    return used


@torch.no_grad()
def missed(
    error: Float[Tensor, "B o"], inputs: Float[Tensor, "T B m"], ends: Int[Tensor, " B"], beyond: int, least: float
) -> tuple[int, float] | None:
    r"""The longest lag beyond ``beyond`` at which the inputs predict what the network gets wrong.

    A linear fit of the error on the inputs of one lag, and on their sum over the lags of a block; the same with
    products of pairs of inputs, if there are few. Of B sequences, k features explain the part k/B of an error by
    chance; what counts is the excess over it.

    Args:
        error: the loss's gradient with respect to the output.
        inputs: what went into the recurrent layer.
        ends: the step from which lags count back.
        beyond: the lag where the gradient ends.
        least: the part of the error's variance that has to be explained.

    Returns:
        The lag at which the farthest such block begins, and the part of the error's variance that is explained; None
        if there is none.
    """
    T, B, m = inputs.shape
    if B < 24 or not error.isfinite().all():
        return None
    y = _directions(error.double())
    if y.shape[-1] == 0:
        return None
    features = [inputs]
    if m <= PAIRS_OF:
        first, second = torch.triu_indices(m, m, device=inputs.device)
        features.append(inputs[..., first] * inputs[..., second])
    farthest: tuple[int, float] | None = None
    singles = [range(lag, lag + 1) for lag in range(beyond + 1, T)]
    doubling, start = [], beyond + 1
    while start < T:
        doubling.append(range(start, min(T, 2 * start + 1)))
        start = 2 * start + 1
    for block in [*singles, *doubling]:
        step = ends.unsqueeze(0) - 1 - torch.as_tensor(list(block), device=ends.device).unsqueeze(-1)
        if not (step >= 0).all():
            continue
        for v in features:
            part = _explained(v[step, torch.arange(B, device=ends.device)].sum(0).double(), y)
            if part > least and (farthest is None or block.start > farthest[0]):
                farthest = block.start, part
    return farthest


def _explained(x: Float[Tensor, "B k"], y: Float[Tensor, "B o"]) -> float:
    """The part of y's variance that a linear fit on x explains beyond chance; 0 where chance could explain it."""
    x = _directions(x)
    B, k, o = len(x), x.shape[-1], y.shape[-1]
    if k == 0 or k > B // 4:
        return 0.0
    excess = float((x.mT @ y).square().sum()) - k * o / (B - 1)
    return excess / o if excess > MISSED_SIGMAS * (2 * k * o) ** 0.5 / (B - 1) else 0.0


def _directions(v: Float[Tensor, "B k"]) -> Float[Tensor, "B r"]:
    """An orthonormal basis of the centred columns' main directions."""
    centred = v - v.mean(0)
    scale = centred.abs().amax()
    if scale == 0:
        return centred[:, :0]
    U, s, _ = torch.linalg.svd(centred / scale, full_matrices=False)
    return U[:, : min(PARTS, int((s > 1e-6 * s[0]).sum()))]
