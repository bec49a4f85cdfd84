r"""Transport through a recurrent layer of torch: products of its Jacobians over many steps, in bounded memory.

.. math:: M_{t,k} = J_t J_{t-1} \cdots J_{k+1}, \qquad \ell = t - k

All windows end with the last step of their sequence, so that one product is carried back, a step at a time. For a short
sequence :func:`gatelr.transport.sensitivities` of :func:`gatelr.networks.layers.blocks` has every window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gatelr import arguments, stability
from gatelr.kernels import sweep
from gatelr.networks.passes import locate, pieces
from gatelr.networks.reading import Initial, Inputs, Lengths, Recorded, whole_number
from gatelr.networks.recurrence import Recurrence
from gatelr.networks.state import State
from gatelr.transport import spectral_norm


def transport(
    module: nn.Module,
    u: Inputs,
    lags: Sequence[int],
    layer: int = 0,
    h0: Initial = None,
    *,
    lengths: Lengths = None,
    direction: int = 0,
    states: Recorded = None,
) -> Float[Tensor, "L B d d"]:
    r"""How a push of the state arrives at the end of its sequence, :math:`M_{T,T-\ell}` for some lags.

    Args:
        module: a recurrent layer of torch, or a cell.
        u: its inputs.
        lags: those wanted, each from 0 to T.
        layer: which layer, from 0.
        h0: the initial state as the module takes it.
        lengths: of a padded batch; a lag then counts from each sequence's own end.
        direction: 0, or 1 for the backward direction.
        states: for a cell, what a loop recorded.

    Returns:
        ``(lags, B, d, d)``; the identity at lag 0, zero for a lag longer than its sequence.

    Raises:
        TypeError: as :func:`gatelr.networks.layers.run`, or for a lag that is no whole number.
        ValueError: as :func:`gatelr.networks.layers.run`, or for a lag outside 0 … T.
    """
    recurrence, state = locate(module, u, layer, h0, lengths=lengths, direction=direction, states=states)
    wanted = _checked(lags, len(state.x))
    products = {lag: M.clone() for lag, M in _products(recurrence, state, wanted)}
    return torch.stack([products[lag] for lag in wanted])


def sensitivities(
    module: nn.Module,
    u: Inputs,
    lags: Sequence[int],
    layer: int = 0,
    h0: Initial = None,
    *,
    lengths: Lengths = None,
    direction: int = 0,
    states: Recorded = None,
) -> Float[Tensor, "L B"]:
    r"""The norm of that transport, :math:`\|M_{T,T-\ell}\|_2`, for some lags, within 1e-6.

    Args:
        module: a recurrent layer of torch, or a cell.
        u: its inputs.
        lags: those wanted, each from 0 to T.
        layer: which layer, from 0.
        h0: the initial state as the module takes it.
        lengths: of a padded batch; a lag then counts from each sequence's own end.
        direction: 0, or 1 for the backward direction.
        states: for a cell, what a loop recorded.

    Returns:
        ``(lags, B)``; zero for a lag longer than its sequence, infinite where a product overflows.

    Raises:
        TypeError: as :func:`transport`.
        ValueError: as :func:`transport`.
    """
    recurrence, state = locate(module, u, layer, h0, lengths=lengths, direction=direction, states=states)
    wanted = _checked(lags, len(state.x))
    norms = {lag: spectral_norm(M) for lag, M in _products(recurrence, state, wanted)}
    return torch.stack([norms[lag] for lag in wanted])


def lyapunov(
    module: nn.Module,
    u: Inputs,
    layer: int = 0,
    h0: Initial = None,
    *,
    k: int | None = None,
    skip: int = 0,
    lengths: Lengths = None,
    direction: int = 0,
    states: Recorded = None,
) -> Float[Tensor, "B c"]:
    r"""The Lyapunov exponents of a layer under these inputs, in nats a step (claim C17).

    They are those of :func:`gatelr.stability.lyapunov`, without holding the Jacobians.

    Args:
        module: a recurrent layer of torch, or a cell.
        u: its inputs.
        layer: which layer, from 0.
        h0: the initial state as the module takes it.
        k: how many to follow, from random directions, always the same; all d, from the identity, by default.
        skip: how many first steps to leave out of the mean, while directions turn to where they grow most.
        lengths: of a padded batch.
        direction: 0, or 1 for the backward direction.
        states: for a cell, what a loop recorded.

    Returns:
        ``(B, k)``, descending; −inf where a direction is lost altogether.

    Raises:
        TypeError: as :func:`gatelr.networks.layers.run`, or for a number that is not whole.
        ValueError: as :func:`gatelr.networks.layers.run`, for k outside 1 … d, a skip as long as a sequence, or a layer
            that explodes.

    Example:
        >>> import torch
        >>> from gatelr import networks, stability
        >>> gru, u = torch.nn.GRU(3, 8), torch.randn(50, 4, 3)
        >>> exponents = networks.lyapunov(gru, u)
        >>> torch.allclose(exponents, stability.lyapunov(networks.blocks(gru, u)))
        True
    """
    recurrence, state = locate(module, u, layer, h0, lengths=lengths, direction=direction, states=states)
    (_, B, d), x = state.x.shape, state.x
    shortest = int(state.ends().min())
    skip = whole_number("skip", skip, 0, shortest - 1, f"the shortest sequence has {shortest} steps")
    identity = torch.eye(d, dtype=x.dtype, device=x.device)
    frame = identity
    if k is not None:
        k = whole_number("k", k, 1, d, f"the state has {d} entries")
        drawn = torch.randn(d, k, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        frame = torch.linalg.qr(drawn.to(x)).Q
    frame = frame.expand(B, d, -1)
    total, done, valid = x.new_zeros(B, frame.shape[-1]), 0, state.valid()
    for J in pieces(recurrence, state):
        arguments.finite("the Jacobians", J, "the layer explodes on these inputs")
        if state.lengths is not None:  # padding leaves a frame as it is
            J = J + identity * ~valid[done : done + len(J), :, None, None]
        frame, logs = stability.follow(J, frame)
        total += logs[max(0, skip - done) :].sum(0)
        done += len(J)
    return (total / (state.ends() - skip).unsqueeze(-1)).sort(-1, descending=True).values


def _checked(lags: Sequence[int], T: int) -> list[int]:
    wanted = [whole_number("lags", lag, 0, T, f"the sequence has {T} steps") for lag in arguments.wholes("lags", lags)]
    if not wanted:
        raise ValueError("got no lags, expected one at least")
    return wanted


def _products(recurrence: Recurrence, state: State, wanted: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
    """The product of every wanted lag, shortest first, each carried one factor further."""
    B, d = state.x.shape[1:]
    M = torch.eye(d, dtype=state.x.dtype, device=state.x.device).expand(B, d, d)
    at, longest, lag = set(wanted), max(wanted), 0
    if 0 in at:
        yield 0, M
    if not longest:
        return
    for J in pieces(recurrence, state.by_lag().between(0, longest)):
        for J_t in J:
            M, lag = M @ J_t, lag + 1
            if lag % sweep.FLUSH_EVERY == 0:
                sweep.flush(M)
            if lag in at:
                yield lag, M
