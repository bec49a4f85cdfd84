"""What a diagnosis says: findings in plain sentences, and the numbers of each layer behind them."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor

#: How wide a diagnosis is printed.
WIDTH = 84
#: What may hurt, what hurts, and what keeps a network from learning at all.
Severity = Literal["note", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, with the number that shows it.

    Attributes:
        code: its name, such as ``memory-short``; :data:`~gatelr.networks.diagnosis.findings.CODES` has all of them.
        severity: ``note``, ``warning`` or ``error``.
        sentence: what was found, with its number, in one plain sentence.
        value: the number behind it; the sentence says of what.
        remedy: what to do, as a sentence; where the library has a function for it, the sentence calls it.
        limits: when the remedy does not help.
        where: which layer, gate or parameter it is about, such as ``lstm, layer 1``; empty for the whole model.
        evidence: more numbers by name, such as ``{"mean forget gate": 0.81, "bias that holds the lag": 3.0}``.
    """

    code: str
    severity: Severity
    sentence: str
    value: float
    remedy: str
    limits: str
    where: str = ""
    evidence: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class LayerDiagnosis:
    """The numbers of one recurrent layer, n hidden units wide, averaged over sequences and steps.

    Attributes:
        module: the name of the torch module within the model, such as ``encoder.lstm``; empty if it is the model.
        kind: ``RNN``, ``GRU`` or ``LSTM``.
        layer: which layer of the module, from 0.
        direction: ``forward``, or ``reverse`` for the second direction of a bidirectional module.
        time_constants: ``(n,)`` in steps, :math:`τ = -1 / \\text{mean} \\log \\text{retention}` (C16); 0 for an RNN.
        retained: ``(n,)``, the fraction kept a step, :math:`\\exp(\\text{mean} \\log \\text{retention})`.
        budget: ``(lags,)``, mean effective rate of lag 0, 1, …, T-1, for a global learning rate of 1 (claims C8, C9).
        gradient_by_lag: ``(lags,)``, norm over the batch of the gradient with respect to the state at lag 0, 1, …, T-1
            before the last step that the loss reads, of what it reads there; without a loss, of the sum of the outputs
            at the last step.
        saturated: ``(n,)``, whether a gate of the unit (of an RNN the unit itself) stands at an end of its range.
        dead: ``(n,)``, whether the unit's state never changes.
        lyapunov: ``(k,)``, exponents in nats a step, descending, the mean of the two longest sequences: all of a state
            of up to 128 entries, the 16 largest of a larger one.
        gates: the mean of each gate by its torch letter, ``(n,)``: i, f, o of an LSTM, r, z of a GRU, none of an RNN.
        budget_total: the sum of ``budget``: at most 1 for a GRU (claim C9), anything for an LSTM.
    """

    module: str
    kind: str
    layer: int
    direction: str
    time_constants: Float[Tensor, " n"]
    retained: Float[Tensor, " n"]
    budget: Float[Tensor, " lags"]
    gradient_by_lag: Float[Tensor, " lags"]
    saturated: Bool[Tensor, " n"]
    dead: Bool[Tensor, " n"]
    lyapunov: Float[Tensor, " k"]
    gates: dict[str, Tensor]
    budget_total: float

    @property
    def name(self) -> str:
        """What a reader calls the layer, such as ``encoder.lstm, layer 0``."""
        backwards = ", reverse" if self.direction == "reverse" else ""
        return f"{self.module or self.kind}, layer {self.layer}{backwards}"


@dataclass(frozen=True)
class ParameterStep:
    """What one step of the optimiser does to one parameter.

    Attributes:
        name: the parameter's name in the model.
        weight: root mean square of the weight.
        gradient: root mean square of its gradient, before any clipping.
        step: root mean square of the step that the optimiser takes.
        ratio: ``step / weight``; infinite for a weight of zeros that moves.
    """

    name: str
    weight: float
    gradient: float
    step: float
    ratio: float


@dataclass(frozen=True)
class Diagnosis:
    """All that :func:`~gatelr.networks.diagnosis.diagnose.diagnose` has to say; ``print`` shows it as a table.

    Attributes:
        layers: one for each layer, and direction, of each recurrent module.
        findings: the worst first; empty if nothing is wrong.
        steps: T, the longest sequence's length.
        sequences: B, how many sequences there were.
        loss: the loss of the model on them; None if no loss was given.
        baseline: the loss of the best constant output; None without a loss.
        lag: the lag that matters, as it was given or as it was found in what the model gets wrong; None if unknown.
        window: the window of truncation that was given.
        clip: the clipping threshold that was given.
        used_by_lag: ``(lags,)``, how much the output changes if the input of that lag is another sequence's, beside a
            change of all inputs; None where the inputs are no plain batch of sequences.
        gradient_norms: ``(B,)``, the norm of the gradient that each sequence alone would give, of the first 32; None
            without a loss and a clipping threshold.
        parameters: the steps of all parameters, the largest ratio first; empty without a loss and a learning rate.
        notes: what a reader should know and is no fault, such as dropout that was on.
        given: what was diagnosed, in words, such as ``{"module": "GRU(3, 128)", "input": "(50, 8, 3), float32"}``.
    """

    layers: list[LayerDiagnosis]
    findings: list[Finding]
    steps: int
    sequences: int
    loss: float | None = None
    baseline: float | None = None
    lag: int | None = None
    window: int | None = None
    clip: int | float | None = None
    used_by_lag: Float[Tensor, " lags"] | None = None
    gradient_norms: Float[Tensor, " B"] | None = None
    parameters: list[ParameterStep] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    given: dict[str, str] = field(default_factory=dict)

    def to_html(self, path: str | Path) -> None:
        """Write a page that stands alone: findings, tables and figures.

        Args:
            path: the file to write; its folder must exist.
        """
        from gatelr.networks.report import to_html

        to_html(self, path)

    def to_json(self, path: str | Path | None = None) -> str:
        """The same as text in JSON.

        Args:
            path: a file to write it to as well.

        Returns:
            The text.
        """
        from gatelr.networks.report import to_json

        return to_json(self, path)

    def __str__(self) -> str:
        lines = [f"{self.sequences} sequences of {self.steps} steps"]
        if self.loss is not None and self.baseline is not None:
            lines.append(f"loss {self.loss:.4g}, best constant {self.baseline:.4g}")
        lines.append(f"{'layer':24} {'τ median':>9} {'τ max':>9} {'rates':>7} {'saturated':>9} {'exponent':>9}")
        for layer in self.layers:
            tau, top = layer.time_constants, layer.lyapunov
            lines.append(
                f"{layer.name:24} {float(tau.median()):9.3g} {float(tau.max()):9.3g} {layer.budget_total:7.3g} "
                f"{int(layer.saturated.sum()):4d}/{len(tau):<4d} {float(top[0]) if len(top) else float('nan'):9.3g}"
            )
        for finding in self.findings:
            said = f"[{finding.severity}] {finding.code}: {finding.sentence}"
            lines += [textwrap.fill(said, WIDTH, subsequent_indent="    ")]
            lines += [textwrap.fill(f"→ {finding.remedy}", WIDTH, initial_indent="    ", subsequent_indent="      ")]
        if not self.findings:
            lines.append("nothing was found")
        return "\n".join([*lines, *(textwrap.fill(f"({note})", WIDTH) for note in self.notes)])
