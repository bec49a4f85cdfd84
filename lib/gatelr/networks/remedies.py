"""What to do about a finding, one function a remedy; each changes the parameters of a network in place.

Each takes a ``torch.nn.GRU`` or ``LSTM`` (where it says so, an ``nn.RNN``), or a model that has some inside, and serves
every layer and direction. torch adds two biases for each gate: a remedy gives the value to one and 0 to the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

#: The rows of each gate by its torch letter, in blocks of n; n is the candidate of a GRU, g that of an LSTM.
_ROWS = {"LSTM": "ifgo", "GRU": "rzn", "RNN": "h"}
#: The gate that keeps.
_KEEPS = {"LSTM": "f", "GRU": "z"}


def kind(module: nn.Module) -> str | None:
    """``"LSTM"``, ``"GRU"`` or ``"RNN"``, of a layer or a cell; None for any other module."""
    kinds = (
        (nn.LSTM, "LSTM"),
        (nn.LSTMCell, "LSTM"),
        (nn.GRU, "GRU"),
        (nn.GRUCell, "GRU"),
        (nn.RNN, "RNN"),
        (nn.RNNCell, "RNN"),
    )
    return next((name for cls, name in kinds if isinstance(module, cls)), None)


def _parameter(module: nn.Module, name: str, layer: int, reverse: bool) -> Tensor | None:
    """``weight_hh`` and the like of a layer; None where there is none, as without biases."""
    suffix = "" if isinstance(module, nn.RNNCellBase) else f"_l{layer}{'_reverse' if reverse else ''}"
    weight = getattr(module, name + suffix, None)
    return weight if isinstance(weight, Tensor) else None


def _rows(module: nn.Module, letter: str) -> slice:
    n, place = int(module.hidden_size), _ROWS[str(kind(module))].index(letter)  # type: ignore[arg-type]
    return slice(place * n, (place + 1) * n)


def keep_biases(module: nn.Module, layer: int = 0, reverse: bool = False) -> tuple[Tensor, Tensor] | None:
    """Both biases of the gate that keeps, f of an LSTM and z of a GRU, which torch adds.

    Args:
        module: a recurrent layer or cell.
        layer: which layer of it.
        reverse: the second direction of a bidirectional one.

    Returns:
        Copies, each ``(n,)``: that beside the inputs' weights and that beside the state's. None for an RNN, or without
        biases.
    """
    if kind(module) not in _KEEPS:
        return None
    first, second = (_parameter(module, name, layer, reverse) for name in ("bias_ih", "bias_hh"))
    if first is None or second is None:
        return None
    rows = _rows(module, _KEEPS[str(kind(module))])
    return first.detach()[rows].clone(), second.detach()[rows].clone()


def _places(model: nn.Module, kinds: Sequence[str], layer: int | None = None) -> Iterator[tuple[nn.Module, int, bool]]:
    """Every layer and direction of every recurrent module of these kinds."""
    chosen = [module for module in model.modules() if kind(module) in kinds]
    if not chosen:
        raise TypeError(
            f"got a {type(model).__name__} with no nn.{', nn.'.join(kinds)} in it, expected one: "
            "give the recurrent layer, or a model that has it inside"
        )
    for module in chosen:
        count = int(getattr(module, "num_layers", 1))
        if layer is not None and not 0 <= layer < count:
            raise ValueError(f"got layer={layer}, expected 0 to {count - 1} of the layers that there are")
        for index in range(count) if layer is None else [layer]:
            for reverse in (False, True) if getattr(module, "bidirectional", False) else (False,):
                yield module, index, reverse


def _fill(module: nn.Module, layer: int, reverse: bool, letter: str, value: Tensor | float) -> None:
    """Give a gate's two biases a sum."""
    first, second = (_parameter(module, name, layer, reverse) for name in ("bias_ih", "bias_hh"))
    if first is None or second is None:
        raise ValueError(
            f"got a {type(module).__name__} without biases, expected one with them: make it with bias=True"
        )
    rows = _rows(module, letter)
    first[rows] = 0.0
    second[rows] = value if isinstance(value, float) else value.to(second)


@torch.no_grad()
def set_forget_bias(module: nn.Module, value: int | float = 1.0) -> None:
    """Set the bias of the gate that keeps in every layer: both biases together have this value.

    Args:
        module: a GRU or an LSTM, or a model with some inside.
        value: the sum of both biases of f (LSTM) or z (GRU); 1 keeps 0.73 a step where the rest of the gate is 0.

    Raises:
        TypeError: if there is no GRU or LSTM.
        ValueError: for a value that is no number, or a layer without biases.

    Example:
        >>> import torch
        >>> from gatelr.networks import remedies
        >>> lstm = torch.nn.LSTM(2, 3, num_layers=2)
        >>> remedies.set_forget_bias(lstm, 1.0)
        >>> lstm.bias_ih_l1[3:6] + lstm.bias_hh_l1[3:6]  # f comes second of i, f, g, o
        tensor([1., 1., 1.], grad_fn=<AddBackward0>)
    """
    if not math.isfinite(value):
        raise ValueError(f"got value={value}, expected a finite number, such as 1")
    for place in list(_places(module, ("LSTM", "GRU"))):
        _fill(*place, _KEEPS[str(kind(place[0]))], float(value))


@torch.no_grad()
def set_timescales(module: nn.Module, lags: int | float | Sequence[int | float] | Tensor) -> None:
    r"""Spread the time constants of the units over lags, by the biases alone (after chrono initialisation, C10, C21).

    .. math:: b_q = \ln \frac{r_q}{1 - r_q}, \qquad r_q = e^{-1/τ_q}

    It is the bias at which the gate keeps :math:`r_q` where the rest of its pre-activation is 0. An LSTM's input gate
    gets :math:`-b_q`, so that what it writes is what it does not keep (Tallec & Ollivier, arXiv:1804.11188).

    Args:
        module: a GRU or an LSTM, or a model with some inside.
        lags: the shortest and the longest time constant in steps, between which the units are spread evenly in their
            logarithm; one number for 1 to that; or one for each of n > 2 units.

    Raises:
        TypeError: if there is no GRU or LSTM.
        ValueError: for lags that are not positive or of another number than the units, or a layer without biases.

    Example:
        >>> import torch
        >>> from gatelr.networks import remedies
        >>> gru = torch.nn.GRU(2, 3)
        >>> remedies.set_timescales(gru, (1, 100))
        >>> z = slice(3, 6)  # comes second of r, z, n
        >>> kept = (gru.bias_ih_l0 + gru.bias_hh_l0)[z].sigmoid()
        >>> [round(tau, 2) for tau in (-1 / kept.log()).tolist()]
        [1.0, 10.0, 100.0]
    """
    given = torch.as_tensor(lags, dtype=torch.float64).flatten()
    if not len(given) or not (given > 0).all() or not given.isfinite().all():
        raise ValueError(f"got lags={lags}, expected positive numbers of steps, such as (1, 100)")
    ends = torch.tensor([min(1.0, float(given[0])), float(given[0])]) if len(given) == 1 else given
    for place in list(_places(module, ("LSTM", "GRU"))):
        n = int(place[0].hidden_size)  # type: ignore[arg-type]
        if len(ends) not in (2, n):
            raise ValueError(
                f"got {len(ends)} lags for {n} units, expected the shortest and the longest, or one for each unit"
            )
        low, high = float(ends[0].log()), float(ends[-1].log())
        tau = ends if len(ends) == n else torch.linspace(low, high, n, dtype=torch.float64).exp()
        bias = -torch.special.expm1(1 / tau).log()  # ln(r / (1 - r)) with r = exp(-1/τ)
        letter = _KEEPS[str(kind(place[0]))]
        _fill(*place, letter, bias)
        if letter == "f":
            _fill(*place, "i", -bias)


@torch.no_grad()
def open_gate(
    module: nn.Module, gate: str, layer: int | None = None, *, generator: torch.Generator | None = None
) -> None:
    """Draw a gate's weights anew, as torch does at the start, with biases of 0: it stands about the middle again.

    Args:
        module: a GRU or an LSTM, or a model with some inside.
        gate: torch's letter: i, f or o of an LSTM, r or z of a GRU.
        layer: which layer; all by default.
        generator: where draws come from; torch's own by default.

    Raises:
        TypeError: if there is no GRU or LSTM.
        ValueError: for a letter that no gate has, or a layer that is not there.
    """
    places = [place for place in _places(module, ("LSTM", "GRU"), layer) if gate in _ROWS[str(kind(place[0]))]]
    if not places or gate in ("g", "n"):
        raise ValueError(f"got gate={gate!r}, expected i, f or o of an LSTM, or r or z of a GRU")
    for place in places:
        rows, bound = _rows(place[0], gate), 1 / math.sqrt(int(place[0].hidden_size))  # type: ignore[arg-type]
        for name in ("weight_ih", "weight_hh"):
            weight = _parameter(place[0], name, *place[1:])
            if weight is not None:
                weight[rows].uniform_(-bound, bound, generator=generator)
        if _parameter(place[0], "bias_ih", *place[1:]) is not None:
            _fill(*place, gate, 0.0)


@torch.no_grad()
def reset_dead_units(
    module: nn.Module, units: Sequence[int] | Tensor, layer: int = 0, *, generator: torch.Generator | None = None
) -> None:
    """Draw everything anew that some units read, in every gate, and what others read of them in the same layer.

    Args:
        module: an RNN, GRU or LSTM without a projection, or a model with one inside.
        units: their numbers, or a mask ``(n,)`` such as ``diagnosis.layers[0].dead``.
        layer: which layer.
        generator: where draws come from; torch's own by default.

    Raises:
        TypeError: if there is no recurrent layer.
        ValueError: for a unit or a layer that is not there.
    """
    for place in list(_places(module, ("LSTM", "GRU", "RNN"), layer)):
        n = int(place[0].hidden_size)  # type: ignore[arg-type]
        chosen = torch.as_tensor(units)
        chosen = chosen.nonzero().flatten() if chosen.dtype == torch.bool else chosen.long().flatten()
        if chosen.numel() and not (int(chosen.min()) >= 0 and int(chosen.max()) < n):
            raise ValueError(f"got units={chosen.tolist()}, expected numbers from 0 to {n - 1}")
        bound = 1 / math.sqrt(n)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            weight = _parameter(place[0], name, *place[1:])
            if weight is None:
                continue
            at = chosen.to(weight.device)
            fresh = torch.empty_like(weight).uniform_(-bound, bound, generator=generator)
            for block in range(len(weight) // n):
                weight[block * n + at] = fresh[block * n + at]
            if name == "weight_hh" and weight.shape[1] == n:
                weight[:, at] = fresh[:, at]


@torch.no_grad()
def orthogonal_recurrent(
    module: nn.Module, gain: int | float = 1.0, *, generator: torch.Generator | None = None
) -> None:
    """Make the state's weights of every gate orthogonal times a gain: no direction of theirs grows or fades beside it.

    Args:
        module: an RNN, GRU or LSTM, or a model with some inside.
        gain: the singular value that all of them get.
        generator: where draws come from; torch's own by default.

    Raises:
        TypeError: if there is no recurrent layer.
        ValueError: for a gain that is no positive number.
    """
    if not (math.isfinite(gain) and gain > 0):
        raise ValueError(f"got gain={gain}, expected a positive number, such as 1")
    for place in list(_places(module, ("LSTM", "GRU", "RNN"))):
        weight = _parameter(place[0], "weight_hh", *place[1:])
        if weight is not None:
            for block in weight.split(int(place[0].hidden_size)):  # type: ignore[arg-type]
                block.copy_(nn.init.orthogonal_(torch.empty_like(block), gain, generator=generator))
