"""What may be wrong, one concept a module; each module's ``find`` looks at the evidence and says what it found."""

from __future__ import annotations

from gatelr.networks.diagnosis.evidence import Evidence
from gatelr.networks.diagnosis.findings import axes, bias, clipping, gates, loss, memory, stability, step, units, window
from gatelr.networks.diagnosis.result import Finding

#: Every finding there is, and what it says in a few words.
CODES = {
    "not-finite": "a number is NaN or infinite",
    "runs-to-nan": "some more steps on the same batch end in NaN",
    "axes-swapped": "time and batch are swapped",
    "loss-not-better": "the loss is no better than the best constant's",
    "memory-short": "gradient and rates end before the lag that matters",
    "gates-saturated": "a gate stands at an end of its range in most units",
    "units-saturated": "most units of an RNN stand at an end of their range",
    "units-dead": "units do nothing",
    "forget-bias-uneven": "the bias of the gate that keeps is set in some layers only",
    "forget-bias-doubled": "the bias of the gate that keeps is set twice, and the two add up",
    "window-short": "the window of truncation is shorter than the memory",
    "step-large": "a parameter's step is large beside its weight",
    "step-small": "no parameter moves",
    "clip-always": "the clipping threshold is far below the gradient's norm",
    "clip-loose": "the clipping threshold does not hold back the sequences with a large gradient",
    "exploding": "a push of the state grows over the sequence",
    "exploding-and-vanishing": "some directions grow over the sequence while most vanish",
}

_SEVERITIES = ("error", "warning", "note")


def find(evidence: Evidence) -> list[Finding]:
    """All findings, the worst first."""
    if evidence.unsound:  # where a number is none, the others mean nothing
        return list(step.find(evidence))
    modules = (step, axes, loss, memory, gates, units, bias, window, clipping, stability)
    findings = [finding for module in modules for finding in module.find(evidence)]
    return sorted(findings, key=lambda finding: _SEVERITIES.index(finding.severity))
