"""Does a push of the state grow over the sequence?"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gatelr.networks.diagnosis.evidence import Evidence
from gatelr.networks.diagnosis.observe import ends
from gatelr.networks.diagnosis.result import Finding
from gatelr.networks.diagnosis.thresholds import GROWTH


def find(evidence: Evidence) -> Iterator[Finding]:
    """``exploding``, or ``exploding-and-vanishing`` if most directions shrink by as much."""
    for layer in evidence.layers:
        numbers, exponents = layer.numbers, layer.numbers.lyapunov
        if not len(exponents):
            continue
        T, top, middle = int(ends(layer.seen).max()), float(exponents[0]), float(exponents[len(exponents) // 2])
        if not top * T > GROWTH:
            continue
        both = middle * T < -GROWTH
        grows = f"the fastest direction of {numbers.name} grows by a factor {math.exp(min(top, 700.0)):.3g} a step"
        over = f"10^{top * T / math.log(10):.2g} over {T} steps"
        shrinks = f", while half of them shrink by {math.exp(middle):.3g} a step or more" if both else ""
        yield Finding(
            code="exploding-and-vanishing" if both else "exploding",
            severity="warning",
            sentence=f"{grows[0].upper()}{grows[1:]}, {over}{shrinks}.",
            value=top,
            remedy=(
                "Make the recurrent weights smaller, or orthogonal: remedies.orthogonal_recurrent(module, gain). "
                "Clip the gradient while it trains."
            ),
            limits=(
                "Clipping holds the step and not the directions: what vanishes beside what explodes stays lost. "
                "Orthogonal weights help at the start of training only."
            ),
            where=numbers.name,
            evidence={"largest exponent": top, "middle exponent": middle, "steps": float(T)},
        )
