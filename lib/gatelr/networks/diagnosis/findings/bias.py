"""Is the bias of the gate that keeps set in every layer, and once?"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gatelr.networks.diagnosis.evidence import Evidence, Layer
from gatelr.networks.diagnosis.result import Finding
from gatelr.networks.diagnosis.thresholds import BIAS_DOUBLED, BIAS_SET
from gatelr.networks.remedies import keep_biases


def find(evidence: Evidence) -> Iterator[Finding]:
    """``forget-bias-doubled`` for each layer and ``forget-bias-uneven`` for each module.

    torch adds two biases, which get the same gradient: their difference is as it was when they were set, however long
    the network was trained.
    """
    by_module: dict[str, list[tuple[Layer, Tensor, Tensor]]] = {}
    for layer in evidence.layers:
        numbers = layer.numbers
        both = keep_biases(layer.seen.module, numbers.layer, numbers.direction == "reverse")
        if both is not None:
            by_module.setdefault(numbers.module, []).append((layer, *both))
    for layers in by_module.values():
        for layer, first, second in layers:
            if _doubled(first, second):
                yield _twice(layer, first, second)
        yield from _uneven(layers)


def _equal(first: Tensor, second: Tensor) -> bool:
    """Filled with the same numbers: default ones differ, and training keeps the difference."""
    return bool((first - second).abs().max() <= 1e-4 * (1 + first.abs().max()))


def _doubled(first: Tensor, second: Tensor) -> bool:
    typical, spread = float(first.mean()), float(first.std(correction=0))
    return _equal(first, second) and typical >= BIAS_DOUBLED and typical >= 2 * spread


def _set(first: Tensor, second: Tensor) -> bool:
    """Whether someone gave this bias a value."""
    n = len(first)
    lifted = abs(float((first - second).mean()))
    # n differences of two uniform numbers within 1/√n: their mean has a standard deviation of 0.82/n
    return lifted > max(BIAS_SET, 5 * 0.82 / n) or _doubled(2 * first, 2 * second)


def _twice(layer: Layer, first: Tensor, second: Tensor) -> Finding:
    total, one = float((first + second).mean()), float(first.mean())
    gate = float(torch.sigmoid(torch.tensor(total)))
    name = layer.numbers.name
    return Finding(
        code="forget-bias-doubled",
        severity="note",
        sentence=(
            f"Both biases of the gate that keeps in {name} are about {one:.3g}, and torch adds them: the gate starts "
            f"from {total:.3g}, which keeps {gate:.3g} a step."
        ),
        value=total,
        remedy=f"Set their sum: remedies.set_forget_bias(module, {one:.3g}) gives it to one and 0 to the other.",
        limits="If the doubled value is what you want, nothing is wrong; say it as one number all the same.",
        where=name,
        evidence={"one bias": one, "sum": total, "gate": gate},
    )


def _uneven(layers: list[tuple[Layer, Tensor, Tensor]]) -> Iterator[Finding]:
    given = [(layer, float((first + second).mean())) for layer, first, second in layers if _set(first, second)]
    left = [(layer, float((first + second).mean())) for layer, first, second in layers if not _set(first, second)]
    if not given or not left:
        return
    value, rest = given[0][1], left[0][1]
    names = ", ".join(layer.numbers.name for layer, _ in left)
    yield Finding(
        code="forget-bias-uneven",
        severity="warning",
        sentence=(
            f"The bias of the gate that keeps is set in {len(given)} of {len(layers)} layers, to {value:.3g}; "
            f"it is {rest:.3g} in {names}."
        ),
        value=float(len(left)),
        remedy=f"Set it in every layer: remedies.set_forget_bias(module, {value:.3g}).",
        limits="If layers are meant to have different time-scales, nothing is wrong.",
        where=left[0][0].numbers.name,
        evidence={"set": value, "not set": rest},
    )
