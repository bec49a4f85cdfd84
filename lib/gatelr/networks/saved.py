"""A recurrent module from the tensors of a file: its kind and its sizes are read from the weights' shapes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

_KINDS: dict[str, Callable[..., nn.RNNBase]] = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}
#: How many blocks of rows the recurrent weight has, one for each gate and one for the candidate.
_BLOCKS = {1: "RNN", 3: "GRU", 4: "LSTM"}


@dataclass(frozen=True)
class Sizes:
    """What the shapes of a module's weights say.

    Attributes:
        kind: ``RNN``, ``GRU`` or ``LSTM``.
        inputs: m, the width of the input.
        hidden: n, the hidden units.
        layers: how many layers lie above each other.
        proj_size: the width of an LSTM's projection; 0 without one.
        bidirectional: whether there is a second direction.
        bias: whether there are biases.
    """

    kind: str
    inputs: int
    hidden: int
    layers: int
    proj_size: int
    bidirectional: bool
    bias: bool


def prefixes(stored: Mapping[str, Tensor]) -> list[str]:
    """The names of the recurrent modules in a file, such as ``encoder.lstm``; "" for the file of a module itself.

    Args:
        stored: tensors by name, as of :func:`gatelr.networks.tensor_files.tensors`.

    Returns:
        What stands before ``weight_hh_l0``, or before a cell's ``weight_hh``; in alphabetical order.
    """
    first = (re.fullmatch(r"(?:(.*)\.)?weight_hh(_l0)?", name) for name in stored)
    return sorted(match[1] or "" for match in first if match)


def choose(stored: Mapping[str, Tensor], prefix: str | None = None) -> str:
    """The full name of the module that is meant.

    Args:
        stored: as for :func:`prefixes`.
        prefix: its name in the model; what a checkpoint puts in front, such as ``state_dict.``, may be left out. None
            if there is only one.

    Returns:
        One of :func:`prefixes`.

    Raises:
        ValueError: if there is no recurrent module, none of this name, or more than one that may be meant.
    """
    known = prefixes(stored)
    names = ", ".join(repr(name) for name in known)
    if not known:
        raise ValueError(
            "got no tensor named weight_hh_l0, expected the state_dict of a model with an nn.RNN, nn.GRU or nn.LSTM in "
            f"it: the first names here are {', '.join(sorted(stored)[:5]) or 'none at all'}"
        )
    chosen = known
    if prefix is not None:
        chosen = [name for name in known if name == prefix] or [name for name in known if name.endswith(f".{prefix}")]
        if not chosen:
            raise ValueError(f"got the prefix {prefix!r}, expected that of a recurrent module: {names}")
    if len(chosen) > 1:
        raise ValueError(f"got {len(chosen)} recurrent modules, expected one: say which by its prefix, of {names}")
    return chosen[0]


def weights(stored: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors of one module by torch's own names; those of a cell by the names of a module of one layer.

    Args:
        stored: as for :func:`prefixes`.
        prefix: one of :func:`prefixes`.

    Returns:
        Tensors by names such as ``weight_ih_l0``.
    """
    start = f"{prefix}." if prefix else ""
    own = {name.removeprefix(start): weight for name, weight in stored.items() if name.startswith(start)}
    if "weight_hh" in own:
        return {f"{name}_l0": own[name] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if name in own}
    return own


def sizes(own: Mapping[str, Tensor]) -> Sizes:
    """Kind and sizes of a module, from the shapes of its weights.

    Args:
        own: what :func:`weights` returned.

    Returns:
        The sizes; that all weights agree with them is seen by :func:`module`.

    Raises:
        ValueError: for shapes that no module of torch has.
    """
    recurrent, projection = own["weight_hh_l0"], own.get("weight_hr_l0")
    units = (recurrent if projection is None else projection).shape[-1] if recurrent.ndim == 2 else 0
    blocks, rest = divmod(len(recurrent), units) if units else (0, 0)
    if rest or blocks not in _BLOCKS:
        raise ValueError(
            f"got weight_hh_l0 of shape {tuple(recurrent.shape)}, expected 1, 3 or 4 times as many rows as columns, as "
            "an RNN, a GRU or an LSTM has: a module of another kind cannot be diagnosed"
        )
    if "weight_ih_l0" not in own or own["weight_ih_l0"].ndim != 2:
        raise ValueError("got weight_hh_l0 without a matrix weight_ih_l0, expected both: the file is not whole")
    return Sizes(
        kind=_BLOCKS[blocks],
        inputs=own["weight_ih_l0"].shape[1],
        hidden=units,
        layers=sum(re.fullmatch(r"weight_hh_l\d+", name) is not None for name in own),
        proj_size=0 if projection is None else projection.shape[0],
        bidirectional="weight_hh_l0_reverse" in own,
        bias="bias_ih_l0" in own,
    )


def module(own: Mapping[str, Tensor], *, nonlinearity: str = "tanh", batch_first: bool = False) -> nn.RNNBase:
    """The recurrent module that has these weights, in evaluation mode.

    The weights of ``RNNCell``, ``GRUCell`` and ``LSTMCell`` give a module of one layer, which computes the same.

    Args:
        own: what :func:`weights` returned.
        nonlinearity: ``tanh`` or ``relu``, of an RNN, whose weights do not tell.
        batch_first: whether its data have the batch before the time.

    Returns:
        The module in float64 if its recurrent weight is, else in float32.

    Raises:
        ValueError: if a weight is missing or has another shape.

    Example:
        >>> import torch
        >>> from gatelr.networks import saved
        >>> weights = torch.nn.GRU(3, 8).state_dict()
        >>> stored = {f"encoder.{name}": weight for name, weight in weights.items()}
        >>> saved.prefixes(stored)
        ['encoder']
        >>> saved.module(saved.weights(stored, "encoder"))
        GRU(3, 8)
    """
    read = sizes(own)
    options: dict[str, Any] = {
        "bias": read.bias,
        "bidirectional": read.bidirectional,
        "batch_first": batch_first,
        **({"nonlinearity": nonlinearity} if read.kind == "RNN" else {}),
        **({"proj_size": read.proj_size} if read.proj_size else {}),
    }
    with torch.device("meta"):  # draws nothing from anybody's random numbers
        made = _KINDS[read.kind](read.inputs, read.hidden, read.layers, **options)
    made = made.to(torch.float64 if own["weight_hh_l0"].dtype == torch.float64 else torch.float32)
    made = made.to_empty(device="cpu").eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            parameter.copy_(_checked(own, name, parameter, made))
    return made


def _checked(own: Mapping[str, Tensor], name: str, parameter: Tensor, made: nn.RNNBase) -> Tensor:
    if name not in own:
        raise ValueError(f"got no {name}, expected all weights of {made}: the file is not whole")
    weight = own[name]
    if weight.shape != parameter.shape or not weight.is_floating_point():
        raise ValueError(
            f"got {name} of shape {tuple(weight.shape)} in {weight.dtype}, expected {tuple(parameter.shape)} in "
            f"floating point, as {made} has it: the weights are of two modules"
        )
    return weight
