"""Does the clipping threshold fit the gradient's norm?"""

from __future__ import annotations

from collections.abc import Iterator

from gatelr.networks.diagnosis.evidence import Evidence
from gatelr.networks.diagnosis.result import Finding
from gatelr.networks.diagnosis.thresholds import CLIP_SPREAD, CLIPPED, CLIPPED_LEARNED


def find(evidence: Evidence) -> Iterator[Finding]:
    """``clip-always`` and ``clip-loose``."""
    clip, norm, norms = evidence.clip, evidence.gradient_norm, evidence.gradient_norms
    if clip is None or norm is None:
        return
    learned = evidence.baseline is not None and not evidence.learned_nothing
    if norm > (CLIPPED_LEARNED if learned else CLIPPED) * clip:
        above = (
            "" if norms is None else f" {float((norms > clip).double().mean()):.0%} of sequences are above it alone."
        )
        yield Finding(
            code="clip-always",
            severity="warning",
            sentence=(
                f"The gradient has a norm of {norm:.3g}, {norm / clip:.3g} times the clipping threshold {clip:.3g}: "
                f"every step is clipped, and the learning rate is as good as divided by that.{above}"
            ),
            value=norm / clip,
            remedy=f"Clip at a norm that few batches pass, about {2 * norm:.2g} here, or divide the loss instead.",
            limits=(
                "With Adam a common factor changes little, and where gradients explode the threshold is not the cause."
            ),
            evidence={"norm": norm, "clip": clip},
        )
    if norms is not None and norm <= clip and float(norms.median()) > 0:
        spread = float(norms.max() / norms.median())
        if spread > CLIP_SPREAD:
            yield Finding(
                code="clip-loose",
                severity="note",
                sentence=(
                    f"One sequence's gradient is {spread:.3g} times the median sequence's, and the clipping threshold "
                    f"{clip:.3g} is above the norm of the batch, {norm:.3g}."
                ),
                value=spread,
                remedy=f"Clip at a few times the usual norm, about {3 * float(norms.median()):.2g}.",
                limits="Clipping bounds a step; it does not make an exploding direction stable.",
                evidence={"norm": norm, "clip": clip, "largest": float(norms.max()), "median": float(norms.median())},
            )
