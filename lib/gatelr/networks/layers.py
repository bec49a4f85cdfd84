r"""Recurrent layers of torch, run and differentiated in closed form (claim C16).

``module`` is a ``torch.nn.RNN``, ``GRU`` or ``LSTM``, or the cell of a loop, ``RNNCell``, ``GRUCell`` or ``LSTMCell``.
Nothing in it changes, and it is not called: no hook fires. ``u`` is what the module itself takes: time-major or
``batch_first``, without a batch axis, padded with ``lengths``, or packed. For a cell it is the sequence of its inputs.

Every function takes the same words for which run is meant. ``layer`` counts from 0. ``direction`` 1 is the backward
direction of a bidirectional layer: its first step reads the last input. ``h0`` is what the module takes, a pair for an
LSTM. ``lengths`` mean what packing means. ``states`` is for a cell alone: the states that a loop recorded after each
step, when they are not those of a plain run.

In training mode dropout between layers is drawn as the module's own next call would draw it on a CPU, and the state of
the random numbers is put back.
"""

from __future__ import annotations

from collections.abc import Iterator

from jaxtyping import Float
from torch import Tensor, nn

from gatelr.jacobian import Terms
from gatelr.networks.passes import locate, pieces
from gatelr.networks.reading import Initial, Inputs, Lengths, Recorded
from gatelr.networks.state import State


def run(
    module: nn.Module,
    u: Inputs,
    layer: int = 0,
    h0: Initial = None,
    *,
    lengths: Lengths = None,
    direction: int = 0,
    states: Recorded = None,
) -> State:
    """Run one layer and record its states and gates; the layers below it are run as well.

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
        TypeError: for another module, inputs that are no floating-point numbers, or a size that is no whole number.
        ValueError: where inputs, initial state, lengths, layer or direction do not fit the module.

    Example:
        >>> import torch
        >>> from gatelr import networks
        >>> gru = torch.nn.GRU(3, 8, num_layers=2)
        >>> u = torch.randn(50, 4, 3)  # T = 50 steps, a batch of 4, m = 3
        >>> state = networks.run(gru, u, layer=1)
        >>> torch.allclose(state.x, gru(u)[0], atol=1e-6)
        True
        >>> state.retained is state.gates["z"]  # torch's z keeps
        True
    """
    return locate(module, u, layer, h0, lengths=lengths, direction=direction, states=states)[1]


def terms(
    module: nn.Module,
    u: Inputs,
    layer: int = 0,
    h0: Initial = None,
    *,
    lengths: Lengths = None,
    direction: int = 0,
    states: Recorded = None,
) -> Terms:
    r"""Leak, recurrent and gate term of every step's Jacobian (claim C16).

    What each kind counts to which term is said in :mod:`~gatelr.networks.rnn`, :mod:`~gatelr.networks.gru` and
    :mod:`~gatelr.networks.lstm`.

    Args:
        module: a recurrent layer of torch, or a cell.
        u: its inputs.
        layer: which layer, from 0.
        h0: the initial state as the module takes it.
        lengths: of a padded batch.
        direction: 0, or 1 for the backward direction.
        states: for a cell, what a loop recorded.

    Returns:
        ``Terms(leak, recurrent, gate)``, each ``(T, B, d, d)``; zero in padding.

    Raises:
        TypeError: as :func:`run`.
        ValueError: as :func:`run`.

    Example:
        >>> import torch
        >>> from gatelr import networks
        >>> lstm = torch.nn.LSTM(3, 8, proj_size=2)
        >>> leak, recurrent, gate = networks.terms(lstm, torch.randn(50, 4, 3))
        >>> leak.shape  # h has 2 entries, c has 8
        torch.Size([50, 4, 10, 10])
        >>> bool(recurrent[..., 2:].any())  # the candidate reads h alone
        False
    """
    recurrence, state = locate(module, u, layer, h0, lengths=lengths, direction=direction, states=states)
    return recurrence.terms(state)


def blocks(
    module: nn.Module,
    u: Inputs,
    layer: int = 0,
    h0: Initial = None,
    *,
    lengths: Lengths = None,
    direction: int = 0,
    states: Recorded = None,
) -> Float[Tensor, "T B d d"]:
    r"""The Jacobian of every step, the sum of the three terms.

    Args:
        module: a recurrent layer of torch, or a cell.
        u: its inputs.
        layer: which layer, from 0.
        h0: the initial state as the module takes it.
        lengths: of a padded batch.
        direction: 0, or 1 for the backward direction.
        states: for a cell, what a loop recorded.

    Returns:
        ``(T, B, d, d)``; index ``j`` holds :math:`J_{j+1}`; zero in padding.

    Raises:
        TypeError: as :func:`run`.
        ValueError: as :func:`run`.

    Example:
        >>> import torch
        >>> from gatelr import networks
        >>> gru, u = torch.nn.GRU(3, 4), torch.randn(50, 1, 3)
        >>> J = networks.blocks(gru, u)
        >>> step = lambda x: gru(u[0], x)[1].squeeze(0)
        >>> by_autograd = torch.func.jacrev(step)(torch.zeros(1, 4))
        >>> torch.allclose(J[0, 0], by_autograd.squeeze(1), atol=1e-6)
        True
    """
    recurrence, state = locate(module, u, layer, h0, lengths=lengths, direction=direction, states=states)
    return recurrence.blocks(state)


def stream(
    module: nn.Module,
    u: Inputs,
    layer: int = 0,
    h0: Initial = None,
    *,
    lengths: Lengths = None,
    direction: int = 0,
    states: Recorded = None,
    memory: int = 2**26,
) -> Iterator[Float[Tensor, "t B d d"]]:
    """The Jacobians of :func:`blocks` in pieces of consecutive steps, for sequences too long to hold them all.

    Args:
        module: a recurrent layer of torch, or a cell.
        u: its inputs.
        layer: which layer, from 0.
        h0: the initial state as the module takes it.
        lengths: of a padded batch.
        direction: 0, or 1 for the backward direction.
        states: for a cell, what a loop recorded.
        memory: bytes of a piece, which has one step at least.

    Returns:
        Pieces ``(t, B, d, d)``, the first steps first.

    Raises:
        TypeError: as :func:`run`.
        ValueError: as :func:`run`.
    """
    recurrence, state = locate(module, u, layer, h0, lengths=lengths, direction=direction, states=states)
    return pieces(recurrence, state, memory)
