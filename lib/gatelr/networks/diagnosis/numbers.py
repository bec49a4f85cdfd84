"""The numbers of each recurrent layer, from what a watched run saw."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from gatelr.networks.diagnosis.observe import Seen, ends
from gatelr.networks.diagnosis.result import LayerDiagnosis
from gatelr.networks.diagnosis.thresholds import ALWAYS, DEAD, GATE_END, TANH_END
from gatelr.networks.gradients import costates
from gatelr.networks.layers import run
from gatelr.networks.measures import budget, time_constants
from gatelr.networks.state import State
from gatelr.networks.transports import lyapunov

#: Exponents are followed on so many sequences, all of them up to this size of the state and this many of a larger one.
SEQUENCES, ALL_EXPONENTS, SOME_EXPONENTS = 2, 128, 16


def layers(seen: Seen) -> Iterator[tuple[LayerDiagnosis, State]]:
    """The numbers and the record of every layer of a module, in each direction."""
    module = seen.module
    count, directions = getattr(module, "num_layers", 1), 2 if getattr(module, "bidirectional", False) else 1
    for direction in range(directions):
        read = last_read(seen, direction)
        reached = _costates(seen, read, direction)
        for layer in range(count):
            state = run(
                module, seen.inputs, layer, seen.h0, lengths=seen.lengths, direction=direction, states=seen.states
            )
            yield _numbers(seen, state, layer, direction, _by_lag(reached[layer], read, state, direction)), state


def last_read(seen: Seen, direction: int = 0) -> Int[Tensor, " B"]:
    """The last step of each sequence that the loss reads, from 1; a backward direction's last is the earliest in time.

    A cell's gradient is the whole one, which is not 0 before the last step that is read, and so it has the same last.
    """
    last = ends(seen)
    if seen.delta is None:
        return last
    delta = seen.time_first(seen.delta)
    read = delta.abs().amax(-1) > 0  # (T, B)
    step = torch.arange(1, len(read) + 1, device=read.device).unsqueeze(-1)
    if direction:
        first = torch.where(read, step, len(read) + 1).amin(0)
        return torch.where(first > len(read), last, last + 1 - first)
    latest = torch.where(read, step, 0).amax(0)
    return torch.where(latest == 0, last, latest)


def _costates(seen: Seen, read: Int[Tensor, " B"], direction: int) -> list[Tensor]:
    """For each layer the gradient at every state, ``(T+1, B, d)``, of what the loss reads at its last step alone."""
    if seen.states is not None:
        if seen.delta is None:
            return costates(seen.module, seen.inputs, h0=seen.h0, states=seen.states)
        return [torch.cat([torch.zeros_like(seen.delta[:1]), seen.delta])]
    loss = None
    if seen.delta is not None:
        delta = seen.time_first(seen.delta)
        step = torch.arange(1, len(delta) + 1, device=delta.device).unsqueeze(-1)
        at = ends(seen) + 1 - read if direction else read
        alone = torch.where((step == at).unsqueeze(-1), delta, 0.0)
        weight = alone.squeeze(1) if seen.delta.ndim == 2 else alone.transpose(0, 1) if seen.batch_first else alone
        loss = lambda output: (output * weight).sum()  # noqa: E731
    return costates(seen.module, seen.inputs, loss, seen.h0, lengths=seen.lengths, direction=direction)


def _by_lag(reached: Tensor, read: Int[Tensor, " B"], state: State, direction: int) -> Float[Tensor, " lags"]:
    """The norm over the batch at each lag from the step that is read."""
    norms = reached.norm(dim=-1)  # (T+1, B), index k is the state after step k
    T = len(norms) - 1
    index = read.unsqueeze(0) - torch.arange(T, device=read.device).unsqueeze(-1)
    return torch.where(index > 0, norms.gather(0, index.clamp(min=0)), 0.0).norm(dim=1)


def _numbers(seen: Seen, state: State, layer: int, direction: int, gradient: Float[Tensor, " lags"]) -> LayerDiagnosis:
    valid = state.valid()
    shares = budget(state).mean((1, 2))
    retained = state.retained[valid].double().log().mean(0).exp()
    return LayerDiagnosis(
        module=seen.name,
        kind=state.kind,
        layer=layer,
        direction="reverse" if direction else "forward",
        time_constants=time_constants(state),
        retained=retained.to(state.x.dtype),
        budget=shares,
        gradient_by_lag=gradient,
        saturated=saturated(seen.module, state),
        dead=dead(state),
        lyapunov=_exponents(seen, layer, direction, state),
        gates={letter: gate[valid].mean(0) for letter, gate in state.gates.items()},
        budget_total=float(shares.sum()),
    )


def at_ends(state: State) -> dict[str, tuple[Tensor, Tensor]]:
    """For each gate the share of steps and sequences at its lower and at its upper end, each ``(n,)``."""
    valid = state.valid()
    return {
        letter: (
            (gate[valid] < GATE_END).to(gate.dtype).mean(0),
            (gate[valid] > 1 - GATE_END).to(gate.dtype).mean(0),
        )
        for letter, gate in state.gates.items()
    }


def saturated(module: nn.Module, state: State) -> Bool[Tensor, " n"]:
    """Whether a gate of the unit, or of an RNN with tanh the unit itself, is nearly always at an end of its range."""
    if state.kind == "RNN":
        h = state.candidate[state.valid()].abs()
        if getattr(module, "nonlinearity", "tanh") != "tanh":
            return torch.zeros(h.shape[-1], dtype=torch.bool, device=h.device)
        return (h > TANH_END).to(h.dtype).mean(0) >= ALWAYS
    shares = [low + high >= ALWAYS for low, high in at_ends(state).values()]
    return torch.stack(shares).any(0)


def shown(state: State) -> Float[Tensor, "N n"]:
    """What each unit shows to others, for all steps of all sequences; of an LSTM before any projection."""
    x = state.x[state.valid()]
    if state.kind == "LSTM":
        n = state.candidate.shape[-1]
        return state.gates["o"][state.valid()] * x[..., -n:].tanh()
    return x


def dead(state: State) -> Bool[Tensor, " n"]:
    """Whether a unit moves by next to nothing beside the median unit, over steps and sequences."""
    units = shown(state)
    moved = units.std(0, correction=0)
    return moved <= DEAD * max(float(moved.median()), torch.finfo(moved.dtype).eps)


def _exponents(seen: Seen, layer: int, direction: int, state: State) -> Float[Tensor, " k"]:
    """The exponents of a few of the longest sequences, their mean."""
    d = state.x.shape[-1]
    if not torch.isfinite(state.x).all():
        return state.x.new_full((1,), torch.nan)
    chosen = ends(seen).argsort(descending=True, stable=True)[:SEQUENCES].sort().values
    u = seen.inputs
    if u.ndim == 3:
        u = u.index_select(0 if seen.batch_first else 1, chosen)
    lengths = None if seen.lengths is None else seen.lengths[chosen]
    states, h0 = seen.states, seen.h0
    if states is not None:
        states = [_columns(step, chosen, 0) for step in states]
        h0 = None if h0 is None else _columns(h0, chosen, 0)
    elif h0 is not None and u.ndim == 3:
        h0 = _columns(h0, chosen, 1)
    k = None if d <= ALL_EXPONENTS else SOME_EXPONENTS
    return lyapunov(seen.module, u, layer, h0, k=k, lengths=lengths, direction=direction, states=states).mean(0)


def _columns(state: Tensor | tuple[Tensor, ...], chosen: Tensor, axis: int) -> Tensor | tuple[Tensor, ...]:
    if isinstance(state, tuple):
        return tuple(part.index_select(axis, chosen) for part in state)
    return state.index_select(axis, chosen)
