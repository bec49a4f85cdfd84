r"""Recurrent layers of torch, run and differentiated in closed form (claim C16).

``module`` is a ``torch.nn.RNN``, ``GRU`` or ``LSTM``, or the cell of a loop, ``RNNCell``, ``GRUCell`` or ``LSTMCell``.
Nothing in it changes, and it is not called: no hook fires. ``u`` is what the module itself takes: time-major or
``batch_first``, without a batch axis, padded with ``lengths``, or packed. For a cell it is the sequence of its inputs.

Every function takes the same words for which run is meant. ``layer`` counts from 0. ``direction`` 1 is the backward
direction of a bidirectional layer: its first step reads the last input. ``h0`` is what the module takes, a pair for an
LSTM. ``lengths`` mean what packing means. ``states`` is for a cell alone: the states that a loop recorded after each
step, when they are not those of a plain run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatelr.jacobian import Terms
from gatelr.networks.state import State

#: What a module takes as its inputs; for a cell, also a list of what it was given at each step.
Inputs = Tensor | PackedSequence | Sequence[Tensor]
#: An initial state as the module takes it.
Initial = Tensor | tuple[Tensor, Tensor] | None
#: What a loop over a cell recorded: a tensor, a list with an entry for each step, or for an LSTM pairs of h and c.
Recorded = Tensor | Sequence[Tensor] | Sequence[tuple[Tensor, Tensor]] | None


def run(
    module: nn.Module,
    u: Inputs,
    layer: int = 0,
    h0: Initial = None,
    *,
    lengths: Tensor | Sequence[int] | None = None,
    direction: int = 0,
    states: Recorded = None,
) -> State:
    """Run one layer and record its states and gates; layers below it are run as well.

    Args:
        module: a recurrent layer of torch, or a cell.
        u: its inputs.
        layer: which layer, from 0.
        h0: the initial state as the module takes it; zeros by default.
        lengths: of a padded batch, ``(B,)``, each from 1 to T.
        direction: 0, or 1 for the backward direction.
        states: for a cell, what a loop recorded after each step.

    Returns:
        The record, time first, without gradients.

    Raises:
        TypeError: for another module, inputs that are not floating-point numbers, or a size that is no whole number.
        ValueError: where inputs, initial state, lengths, layer or direction do not fit the module.
    """
    raise NotImplementedError


def terms(
    module: nn.Module,
    u: Inputs,
    layer: int = 0,
    h0: Initial = None,
    *,
    lengths: Tensor | Sequence[int] | None = None,
    direction: int = 0,
    states: Recorded = None,
) -> Terms:
    r"""Leak, recurrent and gate term of every step's Jacobian (claim C16).

    Args:
        module, u, layer, h0, lengths, direction, states: as :func:`run`.

    Returns:
        ``Terms(leak, recurrent, gate)``, each ``(T, B, d, d)``; zero in padding.
    """
    raise NotImplementedError


def blocks(
    module: nn.Module,
    u: Inputs,
    layer: int = 0,
    h0: Initial = None,
    *,
    lengths: Tensor | Sequence[int] | None = None,
    direction: int = 0,
    states: Recorded = None,
) -> Float[Tensor, "T B d d"]:
    """The Jacobian of every step, the sum of the three terms.

    Returns:
        ``(T, B, d, d)``; index ``j`` holds the Jacobian of the ``j + 1``-th step; zero in padding.
    """
    raise NotImplementedError


def stream(
    module: nn.Module,
    u: Inputs,
    layer: int = 0,
    h0: Initial = None,
    *,
    lengths: Tensor | Sequence[int] | None = None,
    direction: int = 0,
    states: Recorded = None,
    backwards: bool = False,
    memory: int = 2**26,
) -> Iterator[Float[Tensor, "t B d d"]]:
    """The Jacobians of :func:`blocks` in pieces of consecutive steps, each of at most ``memory`` bytes.

    Args:
        backwards: the last piece first; within a piece time runs forward all the same.
        memory: bytes of a piece; it has one step at least.
    """
    raise NotImplementedError
