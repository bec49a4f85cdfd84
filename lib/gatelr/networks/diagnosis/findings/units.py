"""Are there units that do nothing?"""

from __future__ import annotations

from collections.abc import Iterator

from gatelr.networks.diagnosis.evidence import Evidence
from gatelr.networks.diagnosis.result import Finding
from gatelr.networks.diagnosis.thresholds import DEAD_SHARE


def find(evidence: Evidence) -> Iterator[Finding]:
    """``units-dead``."""
    for layer in evidence.layers:
        numbers = layer.numbers
        count, n = int(numbers.dead.sum()), len(numbers.dead)
        if count == 0 or count < DEAD_SHARE * n:
            continue
        some = numbers.dead.nonzero().flatten().tolist()
        named = ", ".join(map(str, some[:8])) + (", …" if count > 8 else "")
        yield Finding(
            code="units-dead",
            severity="warning",
            sentence=f"{count} of {n} units of {numbers.name} never change what they show: {named}.",
            value=float(count),
            remedy=(
                "Draw their weights anew: remedies.reset_dead_units(module, units, layer). "
                "With ReLU, a smaller learning rate and a smaller weight gain keep them alive."
            ),
            limits="It does not help if inputs that are constant, or a mask, silence them again.",
            where=numbers.name,
            evidence={"units": float(count), "of": float(n)},
        )
