"""``torch.nn.GRU`` of the same size with a linear readout: what most readers have in hand.

It is another model, with two gates and a candidate, hence half as many operations again as the multi gate: its time can
be compared, its numbers cannot.
"""

from __future__ import annotations

import torch
from gatelr.cells import GatedRNN
from torch import Tensor, nn

from . import Step, backward


def training_step(model: GatedRNN, u: Tensor, target: Tensor, lr: float) -> Step:
    """One step of SGD; replicas in turn, since the module has no axis for them."""
    inputs = [u] if model.replicas is None else [each.contiguous() for each in u.unbind(1)]
    targets = [target] if model.replicas is None else list(target)
    kind = {"bias": False, "dtype": u.dtype, "device": u.device}
    networks = [nn.GRU(model.n_inputs, model.n_hidden, **kind) for _ in inputs]
    readouts = [nn.Linear(model.n_hidden, model.n_outputs, **kind) for _ in inputs]
    optimisers = [
        torch.optim.SGD([*network.parameters(), *readout.parameters()], lr=lr)
        for network, readout in zip(networks, readouts, strict=True)
    ]

    def run() -> Tensor:
        losses = []
        for network, readout, optimiser, u_s, target_s in zip(
            networks, readouts, optimisers, inputs, targets, strict=True
        ):
            optimiser.zero_grad()
            _, last = network(u_s)
            losses.append(backward(readout(last[0]), target_s))
            optimiser.step()
        return torch.stack(losses) if model.replicas else losses[0]

    return Step(run, dict)
