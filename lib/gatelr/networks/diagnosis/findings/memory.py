"""Do the gradient and the rates reach the lag that matters?"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gatelr.networks.diagnosis.evidence import Evidence, Layer, beyond, left_at, reach
from gatelr.networks.diagnosis.result import Finding
from gatelr.networks.diagnosis.thresholds import AT_LAG


def find(evidence: Evidence) -> Iterator[Finding]:
    """``memory-short``: once a model, since one layer that holds a lag is enough."""
    if evidence.lag is None or evidence.lag < 1 or not evidence.layers:
        return
    # states of the first layer have the paths through all layers above
    lag = evidence.lag
    best = max(evidence.layers, key=lambda layer: left_at(layer.numbers.gradient_by_lag, lag))
    left = left_at(best.numbers.gradient_by_lag, lag)
    if left >= AT_LAG:
        return
    numbers = best.numbers
    end = reach(numbers.gradient_by_lag, AT_LAG)
    source = (
        f" (inputs {lag} steps back explain {evidence.missed[1]:.0%} of what the network gets wrong)"
        if evidence.missed is not None
        else ""
    )
    facts = {
        "lag": float(lag),
        "reach": float(end),
        "gradient left at the lag": left,
        "rates beyond the lag": beyond(numbers.budget, lag),
    }
    told = ""
    if numbers.kind != "RNN":
        keeper = "forget gate" if numbers.kind == "LSTM" else "update gate z"
        hold = -math.log(math.expm1(1 / lag))  # at which the gate keeps exp(-1/lag)
        kept, tau = float(numbers.retained.mean()), float(numbers.time_constants.median())
        facts |= {
            "mean retention": kept,
            "median time constant": tau,
            "longest time constant": float(numbers.time_constants.max()),
            "bias that holds the lag": hold,
            "bias now": _bias(best),
        }
        told = (
            f" Its {keeper} keeps {kept:.3g} a step, a time constant of {tau:.3g} steps; "
            f"a bias of {hold:.2f} would hold {lag}, and it is {_bias(best):.2f} now."
        )
    yield Finding(
        code="memory-short",
        severity="warning",
        sentence=(
            f"At lag {lag}{source}, {left:.2g} of the gradient is left: "
            f"in {numbers.name} it is above a twentieth up to {end} steps back, and below from there on.{told}"
        ),
        value=float(end),
        remedy=_remedy(numbers.kind, lag),
        limits=(
            "It does not help where the inputs at that lag say nothing about the target, or where a window of "
            "truncation or a learning rate stands in the way. Units that must react at once need short lags still."
        ),
        where=numbers.name,
        evidence=facts,
    )


def _remedy(kind: str, lag: int) -> str:
    if kind == "RNN":
        return (
            "Use nn.GRU or nn.LSTM and spread their time constants with "
            f"remedies.set_timescales(module, (1, {lag})); a plain RNN keeps nothing by itself."
        )
    return f"Spread the time constants up to that lag: remedies.set_timescales(module, (1, {lag})), before training."


def _bias(layer: Layer) -> float:
    """The mean of both biases of the gate that keeps."""
    from gatelr.networks.remedies import keep_biases

    both = keep_biases(layer.seen.module, layer.numbers.layer, layer.numbers.direction == "reverse")
    return 0.0 if both is None else float((both[0] + both[1]).mean())
