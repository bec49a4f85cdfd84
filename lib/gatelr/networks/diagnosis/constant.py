"""The loss of the best constant output: what a network that ignores its inputs can reach."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def best_constant(loss: Callable[[Any], Tensor], output: Any) -> float | None:
    """The least loss of an output that is the same for every sequence and step.

    It is looked for by L-BFGS, from the mean of the output that there is. For a loss that is convex in the output, such
    as a squared error or a cross entropy of logits, that finds the least.

    Args:
        loss: a function of the output to one number.
        output: what the model returned.

    Returns:
        The loss; None where it cannot be had: an output that is no tensor, or a loss that refuses a constant.
    """
    if not isinstance(output, Tensor) or output.ndim < 1 or not output.is_floating_point():
        return None
    start = output.detach()
    if not start.isfinite().all():
        start = torch.zeros_like(start)
    constant = start.reshape(-1, start.shape[-1]).mean(0).requires_grad_()
    optimizer = torch.optim.LBFGS([constant], max_iter=60, line_search_fn="strong_wolfe")
    losses: list[float] = []

    def evaluate() -> Tensor:
        optimizer.zero_grad()
        value = loss(constant.expand(start.shape)).reshape(())
        value.backward(inputs=[constant])
        losses.append(float(value.detach()))
        return value

    with contextlib.suppress(RuntimeError, ValueError):  # such as a loss of probabilities, given a number above 1
        optimizer.step(evaluate)  # type: ignore[arg-type, unused-ignore]
    finite = [value for value in losses if value == value and abs(value) != float("inf")]
    return min(finite) if finite else None
