"""A module's weights: which layers it has, and with what its next call would compute.

Nothing is called, so that no hook fires. Weights that a module makes anew at each call are made here as it would make
them, and what that moves is put back.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.weight_norm import WeightNorm

from gatelr import arguments
from gatelr.networks.gru import GRU
from gatelr.networks.lstm import LSTM
from gatelr.networks.recurrence import Recurrence
from gatelr.networks.rnn import RNN

_KINDS: tuple[tuple[type[nn.RNNBase], type[nn.RNNCellBase], type[Recurrence]], ...] = (
    (nn.RNN, nn.RNNCell, RNN),
    (nn.GRU, nn.GRUCell, GRU),
    (nn.LSTM, nn.LSTMCell, LSTM),
)


@torch.no_grad()
def recurrences(module: nn.Module) -> list[list[Recurrence]]:
    """The layers of a module, each with its one or two directions.

    Args:
        module: a recurrent layer of torch, or a cell.

    Raises:
        TypeError: for another module, or weights of another type than float32 and float64.
        ValueError: for weights that are not finite.
    """
    for whole, cell, kind in _KINDS:
        if isinstance(module, cell):
            return [[_recurrence(kind, module, "", str(getattr(module, "nonlinearity", "tanh")))]]
        if isinstance(module, whole):
            nonlinearity = "relu" if module.mode == "RNN_RELU" else "tanh"
            suffixes = ("", "_reverse") if module.bidirectional else ("",)
            return [
                [_recurrence(kind, module, f"_l{layer}{suffix}", nonlinearity) for suffix in suffixes]
                for layer in range(int(module.num_layers))
            ]
    raise TypeError(f"got {_described(module)}")


def _described(module: object) -> str:
    """What is said of something that is no recurrent layer."""
    expected = "expected nn.RNN, nn.GRU, nn.LSTM or one of their cells"
    if not isinstance(module, nn.Module):
        return f"{type(module).__name__}, {expected}: pass the module itself"
    known = tuple(cls for whole, cell, _ in _KINDS for cls in (whole, cell))
    inside = [name for name, each in module.named_modules() if isinstance(each, known)]
    if inside:
        return f"{type(module).__name__}, {expected}: pass the recurrent layer inside it, module.{inside[0]}"
    return f"{type(module).__name__}, {expected}: it has no recurrent layer inside it"


def _recurrence(kind: type[Recurrence], module: nn.Module, suffix: str, nonlinearity: str) -> Recurrence:
    names = {"W_ih": "weight_ih", "W_hh": "weight_hh", "b_ih": "bias_ih", "b_hh": "bias_hh", "W_hr": "weight_hr"}
    # a parametrisation such as spectral normalisation moves its buffers when it is read
    before = [(buffer, buffer.clone()) for buffer in module.buffers()]
    weights = {ours: _effective(module, f"{theirs}{suffix}") for ours, theirs in names.items()}
    for buffer, value in before:
        buffer.copy_(value)
    W = weights["W_hh"]
    if W is None or W.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"got weights in {None if W is None else W.dtype}, expected float32 or float64: convert with module.float()"
        )
    for name, weight in weights.items():
        if weight is not None:
            arguments.finite(f"{names[name]}{suffix}", weight, "load an earlier checkpoint")
    return kind(**weights, nonlinearity=nonlinearity)  # type: ignore[arg-type]


def _effective(module: nn.Module, name: str) -> Tensor | None:
    """The weight that the module's next call would use."""
    for hook in module._forward_pre_hooks.values():  # which would make it anew
        if isinstance(hook, WeightNorm) and hook.name == name:
            return hook.compute_weight(module).detach()
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            return hook.apply_mask(module).detach()
    weight = getattr(module, name, None)
    return None if weight is None else weight.detach()
