"""What the machine can do at most: the product of the hot loop alone, and a copy; how near a training step comes."""

from __future__ import annotations

from typing import Any

import torch

from .contests import OURS, RATE, SIZES, TINY, data, network
from .ours import training_step
from .timing import Effort, ratios, rotate, summary

PRODUCTS = 50
COPIED = 2**28


def run(quick: bool, effort: Effort) -> list[dict[str, Any]]:
    """Rates of the product and of the copy, and the share of the first that a training step reaches."""
    sizes, S = TINY if quick else SIZES, 20
    model, (u, target) = network("multi", sizes, S), data(sizes, S)
    n, q, k = sizes["n"], sizes["n"] + sizes["m"], 2 * sizes["n"]
    W, x, out = torch.rand(S, k, q), torch.rand(S, q, sizes["B"]), torch.empty(S, k, sizes["B"])
    source = torch.zeros((2**10 if quick else COPIED) // 4)
    target_of_copy = torch.empty_like(source)

    def product() -> None:
        for _ in range(PRODUCTS):
            torch.bmm(W, x, out=out)

    seconds = rotate(
        {
            OURS: training_step(model, u, target, RATE),
            "product": product,
            "copy": lambda: target_of_copy.copy_(source),
        },
        effort,
    )
    # Useful operations only, a multiplication and an addition each: forward, back to the state (which needs no column
    # of the inputs), and the gradient of the weights.
    of_a_step = 2 * S * sizes["B"] * sizes["T"] * k * (q + n + q)
    of_a_product = 2 * S * sizes["B"] * k * q * PRODUCTS
    moved = 2 * source.numel() * source.element_size()
    share = [of_a_step / of_a_product * r for r in ratios(seconds["product"], seconds[OURS])]
    rates = {
        OURS: {"operations": of_a_step, "share_of_product": summary(share)},
        "product": {"operations_per_second": of_a_product / summary(seconds["product"])["median"]},
        "copy": {"bytes_per_second": moved / summary(seconds["copy"])["median"]},
    }
    notes = {
        "product": f"{PRODUCTS} times ({S}, {k}, {q}) by ({S}, {q}, {sizes['B']})",
        "copy": "bytes read and bytes written",
    }
    parameters = {"gate": "multi", "S": S, **sizes, "dtype": "float32"}
    row = {"group": "ceiling", "parameters": parameters}
    return [
        row
        | {"peer": name, "seconds": summary(seconds[name]), "values": values}
        | ({"note": notes[name]} if name in notes else {})
        for name, values in rates.items()
    ]
