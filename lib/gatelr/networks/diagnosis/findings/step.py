"""Is a step too large beside its weight, too small, or already no number?"""

from __future__ import annotations

from collections.abc import Iterator

from gatelr.networks.diagnosis.evidence import Evidence
from gatelr.networks.diagnosis.result import Finding
from gatelr.networks.diagnosis.thresholds import STEP, STEP_SMALL


def find(evidence: Evidence) -> Iterator[Finding]:
    """``not-finite``, ``runs-to-nan``, ``step-large`` and ``step-small``."""
    if evidence.unsound:
        first = evidence.unsound[0]
        yield Finding(
            code="not-finite",
            severity="error",
            sentence=(
                f"NaN or infinity stands in {first}, the first of {len(evidence.unsound)} such: "
                "the model cannot be trained on from here."
            ),
            value=float(len(evidence.unsound)),
            remedy="Go back to a checkpoint whose numbers are finite, and diagnose that with the optimiser you use.",
            limits="If inputs or targets hold the NaN, every checkpoint shows it: look at the data first.",
            where=first,
        )
        return
    if (gone := evidence.departure) is not None:
        yield Finding(
            code="runs-to-nan",
            severity="error",
            sentence=(
                f"After {gone.iteration} steps on this batch a parameter is no number; the first to leave is "
                f"{gone.name}, whose last step was {gone.ratio:.3g} times its weight."
            ),
            value=gone.ratio,
            remedy=(
                f"Give {gone.name} a parameter group of its own with a learning rate {_less(gone.ratio):.0g} times "
                "as large, clip the gradient, or write it so that every real number is allowed, as softplus does."
            ),
            limits="If the forward pass overflows by itself, no learning rate helps: bound that quantity instead.",
            where=gone.name,
            evidence={"iteration": float(gone.iteration), "step": gone.step, "weight": gone.weight},
        )
    if not evidence.parameters:
        return
    weights = sorted(step.weight for step in evidence.parameters)
    usual = weights[len(weights) // 2]  # zeros that begin to move, as biases do, are measured by what others have
    large = [step for step in evidence.parameters if step.step > STEP * max(step.weight, usual)]
    if large:
        worst = max(large, key=lambda step: step.ratio if step.weight > 0 else 0.0)
        ratio = worst.ratio
        yield Finding(
            code="step-large",
            severity="warning",
            sentence=(
                f"The next step of {worst.name} is {ratio:.3g} times its weight, the largest of "
                f"{len(evidence.parameters)} parameters: it replaces the weight instead of changing it."
            ),
            value=ratio,
            remedy=f"Lower the learning rate by a factor of {ratio / 0.01:.1g}, or give {worst.name} one of its own.",
            limits=(
                "A first step of Adam is as large as the learning rate whatever the gradient; a warm-up helps as well."
            ),
            where=worst.name,
            evidence={"step": worst.step, "weight": worst.weight},
        )
        return
    worst = max(evidence.parameters, key=lambda step: step.step / max(step.weight, usual, 1e-30))
    ratio = worst.step / max(worst.weight, usual, 1e-30)
    if ratio < STEP_SMALL and evidence.learned_nothing:
        yield Finding(
            code="step-small",
            severity="warning",
            sentence=(
                f"The largest step of any parameter, of {worst.name}, is {ratio:.2g} of its weight: "
                "nothing will change in ten thousand steps."
            ),
            value=ratio,
            remedy="Raise the learning rate, use Adam, or mend the finding that says why the gradient is small.",
            limits="It does not help where the gradient is no more than rounding.",
            where=worst.name,
            evidence={"step": worst.step, "weight": worst.weight},
        )


def _less(ratio: float) -> float:
    return min(0.1, 0.01 / ratio) if ratio > 0 else 0.1
