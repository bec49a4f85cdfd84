"""Effective learning rates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gatelr import rates
from gatelr.cells import GatedRNN, Trajectory
from gatelr.jacobian import Terms
from networks import Case
from torch import Tensor

from any_input import plain
from any_input.strange import (
    MODEL,
    NUMBER,
    TENSOR,
    TERMS,
    TRAJECTORY,
    WHOLE,
    Strange,
    of_the_model,
)
from any_input.subjects import Subject, against, matrices, recorded, subject


def along(case: Case, place: int, call: Callable[..., Any], reference: Callable[..., Any], **more: Any) -> Subject:
    """A function of a trajectory alone, or of it and a lag."""
    kinds: dict[str, list[Strange]] = {"trajectory": TRAJECTORY, "lag": WHOLE, "lr": NUMBER, "delta": TENSOR}
    given = {"trajectory": recorded(case)[1]} | more
    return Subject(call, given, {name: kinds[name] for name in given}, against(reference))


@subject
def rates_retention(case: Case, place: int) -> Subject:
    reference = lambda trajectory, lag: plain.retention(trajectory, lag)  # noqa: E731
    return along(case, place, rates.retention, reference, lag=place % (case.T + 1))


@subject
def rates_effective(case: Case, place: int) -> Subject:
    reference = lambda trajectory, lag, lr: plain.effective(trajectory, lr, lag)  # noqa: E731
    return along(case, place, rates.effective, reference, lag=place % case.T, lr=0.2)


@subject
def rates_signal(case: Case, place: int) -> Subject:
    reference = lambda trajectory, delta: plain.signal(trajectory, delta)  # noqa: E731
    return along(case, place, rates.signal, reference, delta=recorded(case)[2])


@subject
def rates_step(case: Case, place: int) -> Subject:
    def reference(trajectory: Trajectory, delta: Tensor, lr: float) -> Tensor:
        if not 0 <= lr < math.inf:
            raise ValueError
        rows = (1 - trajectory.phi**2) * plain.signal(trajectory, delta)
        return -lr * (rows[..., :, None] * trajectory.x_prev[..., None, :]).sum(0)

    return along(case, place, rates.step, reference, delta=recorded(case)[2], lr=0.2)


@subject
def rates_shares(case: Case, place: int) -> Subject:
    return along(case, place, rates.shares, lambda trajectory: plain.shares(trajectory))


@subject
def rates_eligibility(case: Case, place: int) -> Subject:
    model, run, _ = recorded(case)
    return Subject(
        rates.eligibility,
        {"model": model, "trajectory": run},
        {"model": MODEL, "trajectory": of_the_model(case)},
        against(lambda model, trajectory: plain.eligibility(trajectory)),
    )


@subject
def rates_gradients(case: Case, place: int) -> Subject:
    model, run, delta = recorded(case)

    def reference(model: GatedRNN, trajectory: Trajectory, signal: Tensor) -> dict[str, Tensor]:
        if signal.shape != trajectory.x.shape:
            raise ValueError
        to_gate = (trajectory.phi - trajectory.x_prev) * (1 - trajectory.g) * signal
        return plain.weight_gradients(model, trajectory, (1 - trajectory.phi**2) * signal, to_gate)

    return Subject(
        rates.gradients,
        {"model": model, "trajectory": run, "signal": delta},
        {"model": MODEL, "trajectory": of_the_model(case), "signal": TENSOR},
        against(reference),
    )


@subject
def rates_corrected(case: Case, place: int) -> Subject:
    def reference(terms: Terms, lag: int) -> Tensor:
        leak, change = (part.diagonal(dim1=-2, dim2=-1) for part in (terms.leak, terms.recurrent + terms.gate))
        return plain.corrected(leak, change, lag)

    given = {"terms": Terms(*matrices(case, 3)), "lag": place % (case.T + 1)}
    return Subject(rates.corrected, given, {"terms": TERMS, "lag": WHOLE}, against(reference))


@subject
def rates_condition(case: Case, place: int) -> Subject:
    reference = lambda trajectory, lag: plain.spread(plain.retention(trajectory, lag))  # noqa: E731
    return along(case, place, rates.condition, reference, lag=place % (case.T + 1))


@subject
def rates_preconditioner_condition(case: Case, place: int) -> Subject:
    reference = lambda trajectory, lag: plain.spread(plain.effective(trajectory, 1.0, lag))  # noqa: E731
    return along(case, place, rates.preconditioner_condition, reference, lag=place % case.T)
