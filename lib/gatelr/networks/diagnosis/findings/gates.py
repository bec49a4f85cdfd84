"""Do gates still answer their inputs?"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gatelr.networks.diagnosis.evidence import Evidence, Layer
from gatelr.networks.diagnosis.numbers import at_ends
from gatelr.networks.diagnosis.result import Finding
from gatelr.networks.diagnosis.thresholds import ALWAYS, SATURATED_SHARE

#: What it means that a gate stands at 0, at 1, or jumps between them, by kind and letter.
_MEANING = {
    ("LSTM", "i"): ("input gate i", "nothing is written", "everything is written, whatever it is"),
    ("LSTM", "f"): ("forget gate f", "nothing is kept for a second step", "nothing is ever forgotten"),
    ("LSTM", "o"): ("output gate o", "the cell shows nothing", "the cell is always shown"),
    ("GRU", "r"): ("reset gate r", "the candidate does not read the state", "the candidate always reads the state"),
    ("GRU", "z"): (
        "update gate z",
        "torch's z keeps, so that nothing is kept: the Jacobian is that of the candidate alone",
        "torch's z keeps, so that nothing is written: the Jacobian is near the identity, and the gradient stays",
    ),
}
_CONVENTION = (
    " Other texts write 1 - z for it, and there a gate of 0 keeps; torch's r acts after the product with the state's "
    "weights, not before it."
)


def find(evidence: Evidence) -> Iterator[Finding]:
    """``gates-saturated`` for each gate of each layer, and ``units-saturated`` for an RNN with tanh."""
    for layer in evidence.layers:
        if layer.numbers.kind == "RNN":
            yield from _units(layer)
            continue
        for letter, (low, high) in at_ends(layer.state).items():
            stands = low + high >= ALWAYS
            share = float(stands.double().mean())
            if share >= SATURATED_SHARE:
                yield _gate(layer, letter, share, float(low[stands].mean()), float(high[stands].mean()))


def _gate(layer: Layer, letter: str, share: float, low: float, high: float) -> Finding:
    numbers, state = layer.numbers, layer.state
    name, at_zero, at_one = _MEANING[numbers.kind, letter]
    mean = float(numbers.gates[letter].mean())
    if low >= ALWAYS:
        where, means = "at 0", at_zero
    elif high >= ALWAYS:
        where, means = "at 1", at_one
    elif min(low, high) < 0.05:
        where, means = ("mostly at 0", at_zero) if low > high else ("mostly at 1", at_one)
    else:
        where, means = "at 0 or at 1", "it jumps between them, or differs from unit to unit"
    large = float(state.u[state.valid()].square().mean().sqrt()) if layer.numbers.layer == 0 else 0.0
    inputs = f" The inputs are large, {large:.3g} in root mean square." if large > 5 else ""
    growth = float(numbers.lyapunov[0]) if len(numbers.lyapunov) else float("nan")
    jacobian = ""
    if letter == "z":
        factor = math.exp(growth) if growth < 700 else float("inf")
        jacobian = f"{_CONVENTION} The Jacobian's fastest direction changes by a factor {factor:.4g} a step."
    return Finding(
        code="gates-saturated",
        severity="warning",
        sentence=(
            f"The {name} of {numbers.name} stands {where} in {share:.0%} of units, {mean:.4g} on average: {means}."
            f"{jacobian}{inputs}"
        ),
        value=share,
        remedy=(
            "Scale the inputs to unit variance and lower the learning rate; to open the gate again, "
            f"remedies.open_gate(module, {letter!r})."
        ),
        limits=(
            "A gate that is meant to hold its state for the whole sequence, or one that is not needed, "
            "stands at an end without harm; opening it then only costs training time."
        ),
        where=f"{numbers.name}, gate {letter}",
        evidence={"units": share, "mean gate": mean, "share at 0": low, "share at 1": high, "largest exponent": growth},
    )


def _units(layer: Layer) -> Iterator[Finding]:
    share = float(layer.numbers.saturated.double().mean())
    if share < SATURATED_SHARE:
        return
    yield Finding(
        code="units-saturated",
        severity="warning",
        sentence=(
            f"{share:.0%} of the units of {layer.numbers.name} stand at -1 or 1 at nearly all steps: "
            "they pass back less than a fiftieth of the gradient."
        ),
        value=share,
        remedy=(
            "Scale the inputs to unit variance, and start from smaller weights: "
            "remedies.reset_dead_units(module, units, layer) draws those of some units anew."
        ),
        limits="It does not help if a learning rate that is too large drives the units back to the ends.",
        where=layer.numbers.name,
        evidence={"units": share},
    )
