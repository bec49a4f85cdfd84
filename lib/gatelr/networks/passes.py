"""The pass through the layers of a network of torch: what reaches each, and the record of the one that is asked for."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gatelr import arguments
from gatelr.networks.reading import Initial, Inputs, Lengths, Network, Recorded, read, whole_number
from gatelr.networks.recurrence import Recurrence
from gatelr.networks.state import State, mask, reverse


def pieces(recurrence: Recurrence, state: State, memory: int = 2**26) -> Iterator[Float[Tensor, "t B d d"]]:
    """The Jacobians of a record in pieces of consecutive steps.

    Args:
        recurrence: the layer.
        state: its record.
        memory: bytes of a piece, which has one step at least.

    Yields:
        ``(t, B, d, d)``.
    """
    T, B, d = state.x.shape
    steps = max(1, arguments.whole("memory", memory) // (B * d * d * state.x.element_size()))
    for start in range(0, T, steps):
        yield recurrence.blocks(state.between(start, min(T, start + steps)))


def locate(
    module: nn.Module,
    u: Inputs,
    layer: int,
    h0: Initial,
    *,
    lengths: Lengths,
    direction: int,
    states: Recorded,
) -> tuple[Recurrence, State]:
    """The layer that was meant, and the record of its run.

    Args:
        module: a recurrent layer of torch, or a cell.
        u: its inputs.
        layer: which layer, from 0.
        h0: the initial state as the module takes it.
        lengths: of a padded batch.
        direction: 0, or 1 for the backward direction.
        states: for a cell, what a loop recorded.

    Raises:
        TypeError: as :func:`gatelr.networks.layers.run`.
        ValueError: as :func:`gatelr.networks.layers.run`.
    """
    network = read(module, u, h0, lengths, states)
    count, ways = len(network.layers), len(network.layers[0])
    layer = whole_number("layer", layer, 0, count - 1, f"the module's layers are {count}, counted from 0")
    direction = whole_number(
        "direction", direction, 0, ways - 1, "only a bidirectional module has a backward direction, 1"
    )
    given = inputs(network, layer + 1)[-1]
    return network.layers[layer][direction], record(network, layer, direction, given.u)


def record(network: Network, layer: int, direction: int, u: Float[Tensor, "T B m"]) -> State:
    """The run of one layer in one direction on the inputs that reach it.

    Args:
        network: the module as it was read.
        layer: which layer.
        direction: 0 or 1.
        u: its inputs in the order of time.
    """
    u = reverse(u, network.lengths) if direction else u
    return network.layers[layer][direction].record(u, network.x0[layer][direction], network.lengths, network.recorded)


class Given(NamedTuple):
    """What reaches a layer.

    Attributes:
        u: its inputs in the order of time.
        kept: what dropout multiplied them by; None where there was none.
    """

    u: Float[Tensor, "T B m"]
    kept: Float[Tensor, "T B m"] | None


def inputs(network: Network, count: int) -> list[Given]:
    """What reaches each of the first layers.

    Args:
        network: the module as it was read.
        count: how many layers.
    """
    given = [Given(network.u, None)]
    draws = network.dropout > 0 and count > 1
    if draws:
        warnings.warn(
            "the module is in training mode, so that dropout between its layers is drawn: call module.eval() to leave "
            "it out",
            stacklevel=4,
        )
    with torch.random.fork_rng([network.u.device] if network.u.is_cuda else [], enabled=draws):
        for layer in range(count - 1):
            y, kept = outputs(network, layer, given[-1].u), None
            if draws:
                kept = network.drop(y)
                y = y * kept
            given.append(Given(y, kept))
    return given


def outputs(network: Network, layer: int, u: Float[Tensor, "T B m"]) -> Float[Tensor, "T B c"]:
    """What a layer hands on, its directions side by side; zero in padding.

    Args:
        network: the module as it was read.
        layer: which layer.
        u: its inputs in the order of time.
    """
    ways = []
    for direction, recurrence in enumerate(network.layers[layer]):
        x = recurrence.states(reverse(u, network.lengths) if direction else u, network.x0[layer][direction])
        h = x[..., : recurrence.outputs]
        ways.append(reverse(h, network.lengths) if direction else h)
    y = torch.cat(ways, -1)
    if network.lengths is None:
        return y
    return y.masked_fill(~mask(len(y), network.lengths).unsqueeze(-1), 0)
