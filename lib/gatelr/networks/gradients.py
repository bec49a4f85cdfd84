r"""How a loss's gradient reaches back through a network of torch, by lag, in closed form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gatelr.networks.layers import Initial, Inputs, Recorded


def costates(
    module: nn.Module,
    u: Inputs,
    loss: Callable[[Any], Tensor] | None = None,
    h0: Initial = None,
    *,
    lengths: Tensor | Sequence[int] | None = None,
    direction: int = 0,
    states: Recorded = None,
) -> list[Float[Tensor, "T+1 B d"]]:
    r"""The gradient of a loss with respect to every state of every layer.

    Args:
        loss: a function of the output sequence as the module returns it, to one number. By default the sum of the last
            layer's last outputs, in each direction its own last.

    Returns:
        For each layer ``(T+1, B, d)``; index k holds the gradient at :math:`x_k`, index 0 that at the initial state.
    """
    raise NotImplementedError


def gradient_by_lag(
    module: nn.Module,
    u: Inputs,
    loss: Callable[[Any], Tensor] | None = None,
    h0: Initial = None,
    *,
    lengths: Tensor | Sequence[int] | None = None,
    direction: int = 0,
    states: Recorded = None,
) -> list[Float[Tensor, "T+1 B"]]:
    r"""The norm of the loss's gradient by lag from the end, :math:`\|∂L/∂x_{T-\ell}\|` for ℓ = 0 … T.

    Returns:
        For each layer ``(T+1, B)``, one norm for each sequence; ``.norm(dim=1)`` is that of the whole batch. Zero for a
        lag longer than its sequence. Lag T (or its length) is the initial state.
    """
    raise NotImplementedError
