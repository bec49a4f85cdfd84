"""All that findings are made from: what was given, what was seen, and what was measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from gatelr.networks.diagnosis.observe import Observation, Seen
from gatelr.networks.diagnosis.result import LayerDiagnosis, ParameterStep
from gatelr.networks.diagnosis.steps import Departure
from gatelr.networks.state import State


@dataclass
class Layer:
    """One layer's numbers, with the record they are from and the module that it belongs to.

    Attributes:
        numbers: what is said of the layer.
        state: its run.
        seen: the module, and what went in and out.
    """

    numbers: LayerDiagnosis
    state: State
    seen: Seen


@dataclass
class Evidence:
    """What a finding may look at; see :class:`~gatelr.networks.diagnosis.result.Diagnosis` for what has the same name.

    Attributes:
        model: what was diagnosed.
        u: its inputs, as they were given.
        lengths: as they were given.
        target: as it was given.
        observation: the watched run.
        layers: of all recurrent modules.
        evaluate: the loss of an output; None without a loss.
        rerun: the model's output for other inputs, with the same random numbers.
        loss: as there.
        baseline: as there.
        lag: as there.
        window: as there.
        clip: as there.
        used_by_lag: as there.
        gradient_norms: as there.
        parameters: as there.
        missed: the lag beyond the gradient's end that would mend the error, and the part of it; None if there is none.
        departure: the parameter that leaves the numbers first; None if none does or it was not tried.
        unsound: names of parameters, gradients and outputs that are not finite.
        gradient_norm: of the whole batch.
    """

    model: nn.Module
    u: Any
    lengths: Tensor | None
    target: Tensor | None
    observation: Observation
    layers: list[Layer]
    evaluate: Callable[[Any], Tensor] | None
    rerun: Callable[[Any], Any]
    loss: float | None = None
    baseline: float | None = None
    lag: int | None = None
    missed: tuple[int, float] | None = None
    window: int | None = None
    clip: int | float | None = None
    used_by_lag: Float[Tensor, " lags"] | None = None
    parameters: list[ParameterStep] = field(default_factory=list)
    departure: Departure | None = None
    unsound: list[str] = field(default_factory=list)
    gradient_norm: float | None = None
    gradient_norms: Float[Tensor, " B"] | None = None

    @property
    def learned_nothing(self) -> bool:
        """Whether the loss is known to be no better than the best constant's."""
        from gatelr.networks.diagnosis.thresholds import LOSS

        return self.loss is not None and self.baseline is not None and not self.loss < LOSS * self.baseline


def reach(gradient: Float[Tensor, " lags"], least: float) -> int:
    """The longest lag at which a gradient by lag is at least this part of its largest entry; 0 if it is nowhere."""
    top = float(gradient.max()) if gradient.numel() else 0.0
    if not top > 0:
        return 0
    return int((gradient >= least * top).nonzero().max())


def left_at(gradient: Float[Tensor, " lags"], lag: int) -> float:
    """A gradient at a lag as a part of its largest entry; beyond the sequence, at the longest lag that there is."""
    top = float(gradient.max()) if gradient.numel() else 0.0
    return float(gradient[min(lag, len(gradient) - 1)]) / top if top > 0 else 0.0


def beyond(numbers: Float[Tensor, " lags"], window: int) -> float:
    """The share of the sum over lags that lies at ``window`` and beyond, where truncation cuts."""
    total = float(numbers.sum())
    return float(numbers[window:].sum()) / total if total > 0 else 0.0
