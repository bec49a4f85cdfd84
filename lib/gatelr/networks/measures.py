r"""What a recorded run says of learning rates and time-scales, unit by unit (claims C8, C9 and C16).

With transport at order 0 a lag ℓ has, for each unit, the effective learning rate μ times what was written ℓ steps ago
times what was retained since. A GRU writes what it does not keep, so that the rates of all lags share a budget of one.
An LSTM's input and forget gates are free of each other: its rates add up to anything, and no budget is claimed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from gatelr import arguments
from gatelr.networks.reading import whole_number
from gatelr.networks.state import State, reverse
from gatelr.transport import windows


def retention(state: State, lag: int) -> Float[Tensor, "W B n"]:
    r"""The fraction of itself that a unit keeps over a lag, the product of the last ℓ factors retained.

    .. math:: P_{t,t-\ell} = \prod_{j=t-\ell+1}^{t} \mathrm{retained}_j, \qquad t = \ell, …, T

    Args:
        state: what :func:`gatelr.networks.layers.run` returned.
        lag: ℓ, from 0 to T.

    Returns:
        ``(T - lag + 1, B, n)``; zero for a window that reaches into padding.

    Raises:
        ValueError: for a lag that is negative or longer than the sequence.
        TypeError: for a lag that is not a whole number.
    """
    _check(state)
    lag = whole_number("lag", lag, 0, len(state.retained), f"the sequence has {len(state.retained)} steps")
    return windows(state.retained, lag, torch.mul, state.retained.new_ones(()))


def effective(state: State, lr: float, lag: int) -> Float[Tensor, "W B n"]:
    r"""The effective learning rate of a lag, :math:`μ\, \mathrm{written}_{t-\ell}\, P_{t,t-\ell}` (claims C8 and C16).

    Args:
        state: what :func:`gatelr.networks.layers.run` returned.
        lr: μ, the global learning rate, at least 0.
        lag: ℓ, from 0 to T - 1.

    Returns:
        ``(T - lag, B, n)`` for t = ℓ+1 … T; zero for a window that reaches into padding.

    Raises:
        ValueError: for a lag outside 0 … T-1 or a negative rate.
        TypeError: for a lag that is not a whole number.

    Example:
        >>> import torch
        >>> from gatelr import networks
        >>> state = networks.run(torch.nn.LSTM(3, 8), torch.randn(50, 4, 3))
        >>> mu = networks.effective(state, lr=1e-3, lag=10)
        >>> mu.shape  # 40 windows, a batch of 4, 8 units
        torch.Size([40, 4, 8])
        >>> f, i = state.gates["f"], state.gates["i"]
        >>> torch.allclose(mu[0], 1e-3 * i[0] * f[1:11].prod(0))
        True
    """
    _check(state)
    T = len(state.written)
    lag = whole_number("lag", lag, 0, T - 1, f"step k = t - lag must be one of 1 … {T}")
    if not arguments.real("lr", lr) >= 0:
        raise ValueError(f"got lr={lr}, expected a learning rate of at least 0")
    return lr * state.written[: T - lag] * retention(state, lag)[1:]


def budget(state: State, lags: Sequence[int] | None = None) -> Float[Tensor, "L B n"]:
    r"""How the last step of every sequence divides a learning rate of one over the lags (claim C9).

    .. math:: \mathrm{written}_{T-\ell}\, P_{T,T-\ell}, \qquad \ell = 0, …, T-1

    For a GRU they sum, with :func:`unspent`, to one. For an LSTM they sum to anything.

    Args:
        state: what :func:`gatelr.networks.layers.run` returned.
        lags: those wanted, each from 0 to T - 1; all of them in order by default.

    Returns:
        ``(lags, B, n)``; zero for a lag longer than its sequence.

    Raises:
        ValueError: for a lag outside 0 … T-1.
        TypeError: for a lag that is not a whole number.

    Example:
        >>> import torch
        >>> from gatelr import networks
        >>> state = networks.run(torch.nn.GRU(3, 8), torch.randn(50, 4, 3))
        >>> shares = networks.budget(state)
        >>> torch.allclose(shares.sum(0) + networks.unspent(state), torch.ones(4, 8))
        True
    """
    _check(state)
    T = len(state.written)
    retained, written = (reverse(v, state.lengths) for v in (state.retained, state.written))
    later = torch.cat([torch.ones_like(retained[:1]), retained[:-1].cumprod(0)])
    shares = written * later
    if lags is None:
        return shares
    return shares[
        [whole_number("lags", lag, 0, T - 1, f"the sequence has {T} steps") for lag in arguments.wholes("lags", lags)]
    ]


def unspent(state: State) -> Float[Tensor, "B n"]:
    r"""What is kept of the initial state at the end of every sequence, :math:`P_{T,0}` (claim C9).

    Args:
        state: what :func:`gatelr.networks.layers.run` returned.

    Returns:
        ``(B, n)``.
    """
    _check(state)
    return state.retained.masked_fill(~state.valid().unsqueeze(-1), 1).prod(0)


def time_constants(state: State) -> Float[Tensor, " n"]:
    r"""The memory of every unit in steps, :math:`τ = -1 / \text{mean} \ln \mathrm{retained}` (claim C16).

    The mean runs over all steps of all sequences, padding left out.

    Args:
        state: what :func:`gatelr.networks.layers.run` returned.

    Returns:
        ``(n,)``, in steps; 0 for a unit that once kept nothing, as in an RNN; infinite for one that forgets nothing.

    Example:
        >>> import torch
        >>> from gatelr import networks
        >>> lstm = torch.nn.LSTM(3, 8)
        >>> _ = lstm.requires_grad_(False)
        >>> lstm.bias_ih_l0[8:16] = 100.0  # all forget gates are 1
        >>> networks.time_constants(networks.run(lstm, torch.randn(50, 4, 3)))
        tensor([inf, inf, inf, inf, inf, inf, inf, inf])
    """
    _check(state)
    valid = state.valid().unsqueeze(-1)
    total = state.retained.log().masked_fill(~valid, 0).sum((0, 1))
    # a sum of -0.0 or 0.0 is a unit that forgets nothing
    return torch.where(total == 0, torch.inf, -valid.sum() / total)


def _check(state: object) -> None:
    if not isinstance(state, State):
        raise TypeError(f"got {arguments.kind(state)}, expected a State: pass what networks.run returned")
