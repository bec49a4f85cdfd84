"""Where a chapter computes: the one place that turns a reader's word into a torch device."""

from __future__ import annotations

import torch

#: What a chapter may be asked to run on.
NAMES = ("auto", "cpu", "cuda")


def resolve(name: str) -> torch.device:
    """The device of one of the :data:`NAMES`; ``"auto"`` is CUDA where there is one.

    Raises:
        ValueError: for another name, or for ``"cuda"`` on a machine without it.
    """
    if name not in NAMES:
        raise ValueError(f"got device {name!r}, expected one of {', '.join(map(repr, NAMES))}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "got device 'cuda', expected a CUDA device that torch can see: use device 'auto' or 'cpu' here"
        )
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
