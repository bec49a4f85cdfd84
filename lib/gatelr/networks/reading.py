"""A module's inputs, read and checked: which order of axes, which lengths, which initial state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from gatelr import arguments
from gatelr.networks.lstm import LSTM
from gatelr.networks.recurrence import Recurrence
from gatelr.networks.state import mask
from gatelr.networks.weights import recurrences

#: What a module takes as its inputs; for a cell, also a list of what it was given at each step.
#:
#: :meta hide-value:
Inputs = Tensor | PackedSequence | Sequence[Tensor]
#: An initial state as the module takes it.
#:
#: :meta hide-value:
Initial = Tensor | tuple[Tensor, Tensor] | None
#: The number of steps of every sequence of a padded batch.
#:
#: :meta hide-value:
Lengths = Tensor | Sequence[int] | None
#: What a loop over a cell recorded, as a tensor or as a list with an entry for each step; for an LSTM h and c in pairs.
#:
#: :meta hide-value:
Recorded = Tensor | Sequence[Tensor] | Sequence[tuple[Tensor, Tensor]] | None


@dataclass(frozen=True)
class Network:
    """A module's layers and the inputs that they are given.

    Attributes:
        layers: each layer's directions, one or two.
        u: the inputs, zero in padding.
        x0: the initial states, as ``layers``.
        lengths: of every sequence; None where all have T.
        packing: how the module would pack them, if it would.
        dropout: the probability that an output between layers is dropped; 0 outside training.
        batched: whether the inputs have a batch axis.
        batch_first: whether it stands before time.
        packed: whether the inputs came packed.
        recorded: the states that a loop recorded, or None.
    """

    layers: list[list[Recurrence]]
    u: Float[Tensor, "T B m"]
    x0: list[list[Float[Tensor, "B d"]]]
    lengths: Int[Tensor, " B"] | None
    packing: PackedSequence | None
    dropout: float
    batched: bool
    batch_first: bool
    packed: bool
    recorded: Float[Tensor, "T B d"] | None

    def output(self, y: Float[Tensor, "T B c"]) -> Tensor | PackedSequence:
        """An output sequence as the module would return it.

        Args:
            y: the output, time-major and padded.
        """
        if self.packed:
            packing = cast(PackedSequence, self.packing)
            if packing.sorted_indices is not None:
                y = y.index_select(1, packing.sorted_indices)
            ends = (packing.batch_sizes.unsqueeze(-1) > torch.arange(y.shape[1])).sum(0)
            return packing._replace(data=pack_padded_sequence(y, ends).data)
        if not self.batched:
            return y.squeeze(1)
        return y.transpose(0, 1) if self.batch_first else y

    def drop(self, y: Float[Tensor, "T B c"]) -> Float[Tensor, "T B c"]:
        """What dropout multiplies an output between layers by, drawn as the module on a CPU would draw it.

        Args:
            y: the output.
        """
        if self.packing is None:
            return nn.functional.dropout(torch.ones_like(y), self.dropout)
        kept = nn.functional.dropout(y.new_ones(len(self.packing.data), y.shape[-1]), self.dropout)
        return pad_packed_sequence(self.packing._replace(data=kept), total_length=len(y))[0]


@torch.no_grad()
def read(module: nn.Module, u: Inputs, h0: Initial = None, lengths: Lengths = None, states: Recorded = None) -> Network:
    """The layers of a module, and its inputs in the one form that every noun here takes.

    Args:
        module: a recurrent layer of torch, or a cell.
        u: its inputs.
        h0: the initial state as the module takes it.
        lengths: of a padded batch.
        states: for a cell, what a loop recorded.

    Raises:
        TypeError: for another module, or inputs that are no floating-point numbers.
        ValueError: where anything does not fit.
    """
    layers = recurrences(module)
    cell = isinstance(module, nn.RNNCellBase)
    if isinstance(module, nn.RNNBase):
        dropout = module.dropout if module.training and module.num_layers > 1 else 0.0
        batch_first = module.batch_first
        if states is not None:
            raise ValueError(
                f"got states for nn.{layers[0][0].kind}, expected them for a cell alone: this module runs its own "
                "steps, so leave states out"
            )
    else:
        dropout, batch_first, u = 0.0, False, _stacked(u)
    packed = u if isinstance(u, PackedSequence) else None
    first = layers[0][0]
    u_time, batched, ends = _inputs(u, first, batch_first, lengths)
    T, B = u_time.shape[:2]
    x0 = _initial(h0, layers, B, batched, cell)
    recorded = None if states is None else _recorded(states, first, T, B, batched)
    if ends is not None:
        padding = ~mask(T, ends).unsqueeze(-1)
        u_time = u_time.masked_fill(padding, 0)
        recorded = None if recorded is None else recorded.masked_fill(padding, 0)
    for name, v in (("u", u_time), ("states", recorded)):
        if v is not None:
            arguments.finite(name, v, "look at the data first")
    packing = packed
    if ends is not None and packed is None:
        packing = pack_padded_sequence(u_time, ends.cpu(), enforce_sorted=False)
    return Network(layers, u_time, x0, ends, packing, dropout, batched, batch_first, packed is not None, recorded)


def whole_number(name: str, value: Any, low: int, high: int, why: str) -> int:
    """A whole number within bounds, or a sentence.

    Args:
        name: what it is called.
        value: what was given.
        low: the least that is allowed.
        high: the most.
        why: what the bounds come from, after the colon.

    Raises:
        TypeError: if it is not a whole number; True and 1.0 are not.
        ValueError: if it is out of bounds.
    """
    number = arguments.whole(name, value)
    if not low <= number <= high:
        raise ValueError(f"got {name}={number}, expected {low} to {high}: {why}")
    return number


def _stacked(u: Inputs) -> Inputs:
    """What a cell was given, step by step, as one tensor."""
    if isinstance(u, PackedSequence):
        raise TypeError("got a PackedSequence for a cell, expected the inputs of its steps: pad it and pass lengths")
    if isinstance(u, Tensor):
        return u
    if not u or not all(isinstance(step, Tensor) and step.shape == u[0].shape for step in u):
        raise ValueError("got a list of inputs that differ in shape or are none, expected one tensor for each step")
    return torch.stack(list(u))


def _inputs(u: Inputs, first: Recurrence, batch_first: bool, lengths: Lengths) -> tuple[Tensor, bool, Tensor | None]:
    """The inputs time-major, whether they had a batch axis, and the lengths."""
    ends = None
    if isinstance(u, PackedSequence):
        if lengths is not None:
            raise ValueError("got lengths beside a PackedSequence, expected one of the two: the packed one has its own")
        _floats("u", u.data, first, "embed whole numbers first, as with nn.Embedding")
        u, ends = pad_packed_sequence(u)
        ends, batched = ends.to(u.device), True
    else:
        if not isinstance(u, Tensor):
            raise TypeError(f"got u of type {type(u).__name__}, expected a tensor or a PackedSequence")
        _floats("u", u, first, "embed whole numbers first, as with nn.Embedding")
        if u.ndim not in (2, 3) or 0 in u.shape:
            axes = "(batch, T, m)" if batch_first else "(T, batch, m)"
            raise ValueError(f"got u of shape {tuple(u.shape)}, expected {axes} or (T, m) with no axis empty")
        batched = u.ndim == 3
        if not batched:
            u = u.unsqueeze(1)
        elif batch_first:
            u = u.transpose(0, 1)
    if u.shape[-1] != first.W_ih.shape[1]:
        raise ValueError(
            f"got inputs of width {u.shape[-1]}, expected {first.W_ih.shape[1]} as the module's input_size: "
            "the last axis of u holds the inputs of one step"
        )
    if lengths is not None:
        ends = _lengths(lengths, u)
    return u.detach().contiguous(), batched, ends


def _floats(name: str, v: Tensor, like: Recurrence, fix: str) -> None:
    if not v.is_floating_point():
        raise TypeError(f"got {name} in {v.dtype}, expected {like.W_hh.dtype} as the weights: {fix}")
    if v.dtype != like.W_hh.dtype or v.device != like.W_hh.device:
        raise ValueError(
            f"got {name} in {v.dtype} on {v.device}, expected {like.W_hh.dtype} on {like.W_hh.device} as the weights: "
            f"convert it with .to({str(like.W_hh.device)!r}, {like.W_hh.dtype})"
        )


def _lengths(lengths: Tensor | Sequence[int], u: Tensor) -> Tensor:
    T, B = u.shape[:2]
    numbers = lengths if isinstance(lengths, Sequence) else torch.as_tensor(lengths).tolist()
    if not isinstance(numbers, Sequence) or len(numbers) != B or any(isinstance(each, list) for each in numbers):
        raise ValueError(f"got lengths {numbers!r}, expected {B}, one for each sequence of the batch")
    why = f"a sequence has one step at least, and the padded batch has {T}"
    return torch.tensor([whole_number("lengths", each, 1, T, why) for each in numbers], device=u.device)


def _initial(h0: Initial, layers: list[list[Recurrence]], B: int, batched: bool, cell: bool) -> list[list[Tensor]]:
    """The initial state of every layer and direction, h and c side by side."""
    first, flat = layers[0][0], [each for directions in layers for each in directions]
    widths = [first.outputs, first.units] if isinstance(first, LSTM) else [first.outputs]
    if h0 is None:
        zeros = first.W_hh.new_zeros(B, first.size)
        return [[zeros for _ in directions] for directions in layers]
    pair = isinstance(first, LSTM)
    if pair and not (isinstance(h0, tuple | list) and len(h0) == 2):
        raise TypeError(f"got h0 of type {type(h0).__name__}, expected the pair (h0, c0) that an LSTM takes")
    if not pair and not isinstance(h0, Tensor):
        raise TypeError(f"got h0 of type {type(h0).__name__}, expected one tensor")
    parts = []
    for name, part, width in zip(("h0", "c0"), h0 if pair else (h0,), widths, strict=False):
        if not isinstance(part, Tensor):
            raise TypeError(f"got {name} of type {type(part).__name__}, expected a tensor")
        _floats(name, part, first, "pass the state itself")
        expected = (*(() if cell else (len(flat),)), *((B,) if batched else ()), width)
        if tuple(part.shape) != expected:
            raise ValueError(
                f"got {name} of shape {tuple(part.shape)}, expected {expected}"
                + ("" if cell else ": layers times directions, batch, size; batch_first does not concern it")
            )
        arguments.finite(name, part, "look at the data first")
        parts.append(part.detach().reshape(len(flat), B, width))
    each = iter(torch.cat(parts, -1).unbind())
    return [[next(each) for _ in directions] for directions in layers]


def _recorded(states: Any, first: Recurrence, T: int, B: int, batched: bool) -> Tensor:
    """The states that a loop over a cell recorded, h and c side by side."""
    widths = [first.outputs, first.units] if isinstance(first, LSTM) else [first.outputs]
    if isinstance(first, LSTM):
        if not isinstance(states, tuple | list):
            raise TypeError(f"got states of type {type(states).__name__}, expected (h, c) or a list of such pairs")
        if not all(isinstance(part, Tensor) for part in states):
            states = tuple(torch.stack(list(part)) for part in zip(*states, strict=True))
        if len(states) != 2:
            raise ValueError(f"got states in {len(states)} parts, expected h and c, or a list of such pairs")
    else:
        if not isinstance(states, Tensor):
            if not isinstance(states, Sequence) or not all(isinstance(part, Tensor) for part in states):
                raise TypeError(f"got states as {arguments.kind(states)}, expected a tensor or a list of tensors")
            states = torch.stack(list(states))
        states = (states,)
    expected = (T, B) if batched else (T,)
    for part, width in zip(states, widths, strict=True):
        _floats("states", part, first, "pass the states themselves")
        if tuple(part.shape) != (*expected, width):
            raise ValueError(
                f"got states of shape {tuple(part.shape)}, expected {(*expected, width)}, one after each step"
            )
    return torch.cat([part.detach().reshape(T, B, -1) for part in states], -1)
