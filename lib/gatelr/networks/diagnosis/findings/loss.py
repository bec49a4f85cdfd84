"""Is the loss any better than that of the best constant?"""

from __future__ import annotations

from collections.abc import Iterator

from gatelr.networks.diagnosis.evidence import Evidence, reach
from gatelr.networks.diagnosis.result import Finding
from gatelr.networks.diagnosis.thresholds import REACH


def find(evidence: Evidence) -> Iterator[Finding]:
    """``loss-not-better``."""
    if not evidence.learned_nothing or evidence.loss is None or evidence.baseline is None:
        return
    reaches = [reach(layer.numbers.gradient_by_lag, REACH) for layer in evidence.layers]
    far = f" Its gradient reaches back {max(reaches)} steps." if reaches else ""
    yield Finding(
        code="loss-not-better",
        severity="warning",
        sentence=(
            f"The loss is {evidence.loss:.4g}, and the best constant output has {evidence.baseline:.4g}: "
            f"nothing was learned from these inputs yet.{far}"
        ),
        value=evidence.loss / evidence.baseline if evidence.baseline > 0 else float("inf"),
        remedy=(
            "Look at the other findings first. If there are none, train longer or at another learning rate, "
            "and compare with this constant again."
        ),
        limits=(
            "Longer training does not help where the gradient ends before the lag that matters, "
            "or where the target cannot be told from the inputs at all."
        ),
        evidence={"loss": evidence.loss, "best constant": evidence.baseline, "reach": float(max(reaches, default=0))},
    )
