"""A diagnosis every so many steps of a training loop, and its history."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from gatelr.networks.diagnosis.diagnose import diagnose
from gatelr.networks.diagnosis.result import Diagnosis
from gatelr.networks.diagnosis.steps import Departure


class Watch:
    """Diagnose a network while it trains: call it once after each step of the optimiser.

    Args:
        module: the network.
        u: the inputs that it is diagnosed on, best ones that it is not trained on.
        every: how many steps lie between two diagnoses; the first is made at the first call.
        options: further arguments of :func:`~gatelr.networks.diagnosis.diagnose.diagnose`, such as ``loss`` and
            ``target``.

    Attributes:
        history: the diagnoses so far by the number of steps before them.
        departure: the parameter that was the first not to be finite, with its last finite step; None while all are. It
            is looked for at every call, and nothing is diagnosed from there on.

    Raises:
        ValueError: if ``every`` is not 1 or more.

    Example:
        >>> import torch
        >>> from gatelr.networks.callback import Watch
        >>> gru = torch.nn.GRU(2, 4)
        >>> u = torch.randn(10, 3, 2, generator=torch.Generator().manual_seed(0))
        >>> watch = Watch(gru, u, every=5)
        >>> for step in range(10):
        ...     _ = watch()  # after optimizer.step()
        >>> list(watch.history)
        [0, 5]
    """

    history: dict[int, Diagnosis]
    departure: Departure | None

    def __init__(self, module: nn.Module, u: Any, *, every: int = 100, **options: Any) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"got every={every!r}, expected a whole number of steps, 1 or more")
        self.module, self.u, self.every, self.options = module, u, every, options
        self.history = {}
        self.departure = None
        self._calls = 0
        self._before: dict[str, torch.Tensor] = {}
        self._last: dict[str, tuple[float, float]] = {}

    def __call__(self) -> Diagnosis | None:
        """Note a step, and diagnose if it is time.

        Returns:
            The diagnosis if one was made.
        """
        step, self._calls = self._calls, self._calls + 1
        if self.departure is not None or self._gone(step) or step % self.every:
            return None
        self.history[step] = diagnose(self.module, self.u, **self.options)
        return self.history[step]

    def _gone(self, step: int) -> bool:
        """Whether a parameter is no number; the one whose last step was the largest beside its weight went first."""
        now = {name: p.detach().clone() for name, p in self.module.named_parameters()}
        gone = [name for name, p in now.items() if not p.isfinite().all()]
        if gone:
            name = max(gone, key=lambda name: _ratio(self._last.get(name, (0.0, 0.0))))
            self.departure = Departure(name, step, *self._last.get(name, (math.nan, math.nan)))
            return True
        for name, p in now.items():
            if name in self._before:
                before = self._before[name]
                self._last[name] = _rms(p - before), _rms(before)
        self._before = now
        return False

    def first(self, code: str) -> int | None:
        """The first step at which a finding was there, such as ``gates-saturated``; None if it never was."""
        return next(
            (step for step, made in self.history.items() if any(finding.code == code for finding in made.findings)),
            None,
        )

    def rows(self) -> list[dict[str, Any]]:
        """The history as rows of a table, one for each diagnosis and layer: what changes while a network trains."""
        return [
            {
                "step": step,
                "layer": layer.name,
                "loss": made.loss,
                "time constant": float(layer.time_constants.median()),
                "longest time constant": float(layer.time_constants.max()),
                "saturated": float(layer.saturated.double().mean()),
                "largest exponent": float(layer.lyapunov[0]),
                "findings": " ".join(finding.code for finding in made.findings),
            }
            for step, made in self.history.items()
            for layer in made.layers
        ]


def _rms(v: torch.Tensor) -> float:
    return float(v.double().square().mean().sqrt()) if v.numel() else 0.0


def _ratio(step_and_weight: tuple[float, float]) -> float:
    step, weight = step_and_weight
    return step / weight if weight > 0 else math.inf if step > 0 else 0.0
