"""Does a window of truncation cut what is learned from?"""

from __future__ import annotations

from collections.abc import Iterator

from jaxtyping import Float
from torch import Tensor

from gatelr.networks.diagnosis.evidence import Evidence, beyond
from gatelr.networks.diagnosis.result import Finding
from gatelr.networks.diagnosis.thresholds import BEYOND_WINDOW, USED

#: Windows of which the shares are told as well.
_OTHERS = (8, 16, 32, 64, 128)


def find(evidence: Evidence) -> Iterator[Finding]:
    """``window-short``."""
    window = evidence.window
    if window is None or not evidence.layers:
        return
    worst = max(evidence.layers, key=lambda layer: beyond(layer.numbers.gradient_by_lag, window)).numbers
    gradient, rates = beyond(worst.gradient_by_lag, window), beyond(worst.budget, window)
    used = None if evidence.used_by_lag is None else (evidence.used_by_lag >= USED).nonzero()
    farthest = int(used.max()) if used is not None and len(used) else 0
    needs = max(evidence.lag or 0, 0)
    if gradient < BEYOND_WINDOW and needs < window:
        return
    why = f"{gradient:.0%} of the gradient and {rates:.0%} of the rates lie beyond it"
    if needs >= window:
        why += f", and so does the lag that matters, {needs}"
    elif farthest >= window:
        why += f"; the output still depends on inputs {farthest} steps back"
    yield Finding(
        code="window-short",
        severity="warning",
        sentence=f"Truncation after {window} steps cuts what is learned from: {why}.",
        value=gradient,
        remedy=(
            f"Use a window of {_window(worst.gradient_by_lag, BEYOND_WINDOW, needs)} steps or more, "
            "and carry the state across windows."
        ),
        limits=(
            "A longer window does not help beyond the lag where the gradient ends by itself, "
            "and it costs memory in proportion."
        ),
        where=worst.name,
        evidence={
            "window": float(window),
            "gradient beyond": gradient,
            "rates beyond": rates,
            **{f"gradient beyond {w}": beyond(worst.gradient_by_lag, w) for w in _OTHERS if w != window},
            **{f"rates beyond {w}": beyond(worst.budget, w) for w in _OTHERS if w != window},
        },
    )


def _window(gradient: Float[Tensor, " lags"], least: float, needs: int) -> int:
    """The shortest window that leaves less than this beyond it and holds the lag that matters."""
    shortest = next(w for w in range(1, len(gradient) + 1) if beyond(gradient, w) < least)
    return max(shortest, needs + 1)
