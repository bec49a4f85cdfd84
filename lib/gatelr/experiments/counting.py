"""What a computation costs, counted: operators, memory that was taken, and what waits for the way back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Counting(TorchDispatchMode):
    """Counts the operators that compute inside its ``with`` block; views compute nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: Counter[str] = Counter()  # how often each ran, by name
        self.taken = 0  # the numbers that memory was taken for, since they did not go into an argument's

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if not function.is_view:
            self.operators[str(function.overloadpacket).removeprefix("aten.")] += 1
            given = _storages((args, kwargs))
            self.taken += sum(size for start, size in _storages(result).items() if start not in given)
        return result


def kept(forward: Callable[[], Tensor]) -> int:
    """How many different numbers a forward pass keeps for the way back."""
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storages.update(_storages(tensor))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        answer = forward()  # alive until they are counted
    return sum(storages.values()) if answer.requires_grad else 0


def _storages(tree: Any) -> dict[int, int]:
    """The memory of the tensors in nested arguments: how many numbers it has, by where it starts."""
    storages = ((t.untyped_storage(), t.element_size()) for t in tree_leaves(tree) if isinstance(t, Tensor))
    return {storage.data_ptr(): storage.nbytes() // size for storage, size in storages}
