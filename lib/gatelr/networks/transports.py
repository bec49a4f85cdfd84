r"""Transport through a recurrent layer of torch: products of its Jacobians over many steps, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gatelr.networks.layers import Initial, Inputs, Recorded


def transport(
    module: nn.Module,
    u: Inputs,
    lags: Sequence[int],
    layer: int = 0,
    h0: Initial = None,
    *,
    lengths: Tensor | Sequence[int] | None = None,
    direction: int = 0,
    states: Recorded = None,
) -> Float[Tensor, "L B d d"]:
    r"""How a push of the state arrives at the end of its sequence, :math:`M_{T,T-\ell}` for some lags.

    Returns:
        ``(lags, B, d, d)``; zero for a lag longer than its sequence.
    """
    raise NotImplementedError


def sensitivities(
    module: nn.Module,
    u: Inputs,
    lags: Sequence[int],
    layer: int = 0,
    h0: Initial = None,
    *,
    lengths: Tensor | Sequence[int] | None = None,
    direction: int = 0,
    states: Recorded = None,
) -> Float[Tensor, "L B"]:
    r"""The norm of that transport, :math:`\|M_{T,T-\ell}\|_2`, for some lags.

    Returns:
        ``(lags, B)``; zero for a lag longer than its sequence.
    """
    raise NotImplementedError


def lyapunov(
    module: nn.Module,
    u: Inputs,
    layer: int = 0,
    h0: Initial = None,
    *,
    k: int | None = None,
    skip: int = 0,
    lengths: Tensor | Sequence[int] | None = None,
    direction: int = 0,
    states: Recorded = None,
) -> Float[Tensor, "B c"]:
    r"""The Lyapunov exponents of a layer under these inputs, in nats a step, descending (claim C17).

    Args:
        k: how many to follow; all d by default.
        skip: how many first steps to leave out.
    """
    raise NotImplementedError
