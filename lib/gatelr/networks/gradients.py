r"""How a loss's gradient reaches back through a network of torch, by lag, in closed form.

.. math:: λ_{k-1} = J_k^\top λ_k + δ_{k-1}, \qquad λ_T = δ_T

δ is what reaches a state directly: from the loss for the last layer, from the layer above for any other. The Jacobian
is never formed, and memory grows with T and n, not with n². An LSTM's h and c count as two things that a step hands to
the next: the gradient at :math:`c_k` is what goes through :math:`c_{k+1}` and :math:`h_{k+1}`, and not by way of
:math:`h_k`. What is too small to count is set to zero, as :func:`gatelr.kernels.sweep.flush` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gatelr import arguments
from gatelr.kernels import sweep
from gatelr.networks.passes import inputs, outputs, record
from gatelr.networks.reading import Initial, Inputs, Lengths, Network, Recorded, read, whole_number
from gatelr.networks.recurrence import Recurrence
from gatelr.networks.state import State, mask, reverse

#: A function of the output sequence as the module returns it, to one number.
#:
#: :meta hide-value:
Loss = Callable[[Any], Tensor]


def costates(
    module: nn.Module,
    u: Inputs,
    loss: Loss | None = None,
    h0: Initial = None,
    *,
    lengths: Lengths = None,
    direction: int = 0,
    states: Recorded = None,
) -> list[Float[Tensor, "K B d"]]:
    r"""The gradient of a loss with respect to every state of every layer, :math:`λ_k` for k = 0 … T.

    Args:
        module: a recurrent layer of torch, or a cell.
        u: its inputs.
        loss: a function of the output sequence as the module returns it (``batch_first``, packed, without a batch
            axis), to one number. By default the sum of the last layer's last outputs, each direction's own last.
        h0: the initial state as the module takes it.
        lengths: of a padded batch; the loss is then given zeros in padding.
        direction: 0, or 1 for the states of the backward direction. The loss sees both.
        states: for a cell, what a loop recorded.

    Returns:
        For each layer ``(T+1, B, d)``. Index k holds the gradient at :math:`x_k`, the state after the k-th step that
        this direction takes, and index 0 that at the initial state. Zero in padding.

    Raises:
        TypeError: as :func:`gatelr.networks.layers.run`.
        ValueError: as :func:`gatelr.networks.layers.run`, or for a loss that is not one number made of the output, with
            a finite gradient.
    """
    swept, lengths = _sweep(module, u, loss, h0, lengths, direction, states)
    return [reverse(adjoint, None if lengths is None else lengths + 1) for adjoint in swept]


def gradient_by_lag(
    module: nn.Module,
    u: Inputs,
    loss: Loss | None = None,
    h0: Initial = None,
    *,
    lengths: Lengths = None,
    direction: int = 0,
    states: Recorded = None,
) -> list[Float[Tensor, "K B"]]:
    r"""The norm of a loss's gradient by lag from the end, :math:`\|∂L/∂x_{T-\ell}\|_2` for ℓ = 0 … T.

    Args:
        module: a recurrent layer of torch, or a cell.
        u: its inputs.
        loss: as :func:`costates`.
        h0: the initial state as the module takes it.
        lengths: of a padded batch; a lag then counts from each sequence's own end.
        direction: 0, or 1 for the states of the backward direction.
        states: for a cell, what a loop recorded.

    Returns:
        For each layer ``(T+1, B)``, a norm for each sequence; ``.norm(dim=1)`` is that of the whole batch. Zero for a
        lag longer than its sequence, infinite where it overflows. The longest lag is that of the initial state.

    Raises:
        TypeError: as :func:`costates`.
        ValueError: as :func:`costates`.

    Example:
        >>> import torch
        >>> from gatelr import networks
        >>> lstm = torch.nn.LSTM(3, 8, num_layers=2)
        >>> u = torch.randn(50, 4, 3)
        >>> loss = lambda output: output[-1].square().mean()
        >>> first, second = networks.gradient_by_lag(lstm, u, loss)
        >>> first.shape  # lags 0 … 50 of four sequences
        torch.Size([51, 4])
    """
    swept, _ = _sweep(module, u, loss, h0, lengths, direction, states)
    return [_norm(adjoint) for adjoint in swept]


def _sweep(
    module: nn.Module, u: Inputs, loss: Loss | None, h0: Initial, lengths: Lengths, direction: int, states: Recorded
) -> tuple[list[Tensor], Tensor | None]:
    """The adjoint of every layer by lag, the longest lag last, and the lengths."""
    network = read(module, u, h0, lengths, states)
    direction = whole_number(
        "direction", direction, 0, len(network.layers[0]) - 1, "only a bidirectional module has a backward one, 1"
    )
    given = inputs(network, len(network.layers))
    delta = _direct(network, given[-1].u, loss)
    swept: list[Tensor] = []
    for layer in reversed(range(len(network.layers))):
        below = torch.zeros_like(given[layer].u)
        ways = delta.chunk(len(network.layers[layer]), -1)
        for way, recurrence in enumerate(network.layers[layer]):
            # a backward direction reads from the end of time, so that its lags are in the order of time
            by_lag = ways[way] if way else reverse(ways[way], network.lengths)
            state = record(network, layer, way, given[layer].u).by_lag()
            adjoint = _back(recurrence, state, by_lag)
            if way == direction:
                swept.insert(0, adjoint)
            if layer:
                reached = recurrence.to_input(state, adjoint[:-1])
                below += reached if way else reverse(reached, network.lengths)
        kept = given[layer].kept
        delta = below if kept is None else below * kept
    return swept, network.lengths


def _direct(network: Network, u: Tensor, loss: Loss | None) -> Float[Tensor, "T B c"]:
    """The loss's gradient with respect to the output, in the order of time."""
    last = len(network.layers) - 1
    first = network.layers[last][0]
    y = outputs(network, last, u) if network.recorded is None else network.recorded[..., : first.outputs]
    if loss is None:
        delta = torch.zeros_like(y)
        ways = delta.chunk(len(network.layers[last]), -1)
        ends = len(y) - 1 if network.lengths is None else network.lengths - 1
        ways[0][ends, torch.arange(y.shape[1], device=y.device)] = 1
        for backward in ways[1:]:
            backward[0] = 1
        return delta
    if not callable(loss):
        raise TypeError(f"got a loss as {arguments.kind(loss)}, expected a function of the output to one number")
    with torch.random.fork_rng([y.device] if y.is_cuda else []), torch.enable_grad():  # a loss may draw
        leaf = y.detach().clone().requires_grad_()
        value = loss(network.output(leaf))
        if not isinstance(value, Tensor) or value.numel() != 1:
            got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"type {type(value).__name__}"
            raise ValueError(f"got a loss of {got}, expected one number as a tensor: end it with .mean() or .sum()")
        if not value.requires_grad:
            raise ValueError("got a loss that does not depend on the output, expected a function of its argument")
        (delta,) = torch.autograd.grad(value.sum(), leaf, allow_unused=True, materialize_grads=True)
    arguments.finite("the loss's gradient", delta, "look at its value")
    if network.lengths is None:
        return delta
    return delta.masked_fill(~mask(len(y), network.lengths).unsqueeze(-1), 0)


def _back(recurrence: Recurrence, state: State, delta: Float[Tensor, "T B p"]) -> Float[Tensor, "T+1 B d"]:
    """The adjoint by lag: index ℓ holds that of the state ℓ steps before the end."""
    T, B, d = state.x.shape
    pull, p = recurrence.pull(state), recurrence.outputs
    adjoint = state.x.new_zeros(T + 1, B, d)
    adjoint[:T, :, :p] = delta
    for lag in range(T):
        adjoint[lag + 1] += pull(lag, adjoint[lag])
        if lag % sweep.FLUSH_EVERY == 0:
            sweep.flush(adjoint[lag + 1])
    return adjoint


def _norm(v: Float[Tensor, "K B d"]) -> Float[Tensor, "K B"]:
    """The Euclidean norm, also where squares would vanish; infinite where a gradient overflowed, and beyond."""
    scale = v.abs().amax(-1, keepdim=True)
    norms = (v / scale.clamp_min(torch.finfo(v.dtype).tiny)).norm(dim=-1) * scale.squeeze(-1)
    return norms.masked_fill(norms.isnan(), torch.inf)
