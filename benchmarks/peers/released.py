"""The code released with the paper, run as it is: github.com/lorenzolivi/effective-learning-rates.

``GATELR_RELEASED`` is the path of a clone; nothing of it is copied here. Networks come from ``s1_effective_lr.py``; the
one without a gate, which that file lacks, from ``s2_joint_anisotropy.py``. Losses and gradients are those of the
library. Jacobians are not where the gate is learned, since its term reads the state after the update; nor are
sensitivities, a few power iterations on products in the other order. There compare times only.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from gatelr.cells import GatedRNN
from torch import Tensor, nn

from . import Step, fixed_gate, single, stacked

KINDS = {"constant": "leaky", "scalar": "scalar", "multi": "multigate"}
NAMES = {"W_r": "Wr", "W_i": "Wi", "W_o": "Wo", "W_rg": "Wrg", "W_ig": "Wig"}


@cache
def script(name: str) -> ModuleType:
    """One of its scripts as a module.

    Raises:
        FileNotFoundError: if ``GATELR_RELEASED`` is not the path of a clone.
    """
    clone = os.environ.get("GATELR_RELEASED")
    if clone is None or not (path := Path(clone) / f"{name}.py").is_file():
        raise FileNotFoundError(
            f"got GATELR_RELEASED={clone!r}, where there is no {name}.py, expected the path of a clone of "
            "github.com/lorenzolivi/effective-learning-rates: make one and set the variable"
        )
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def network(model: GatedRNN, replica: int | None = None) -> Any:
    """Its network with our weights, those of one replica if there are several."""
    stacked(model)  # refuses biases, which it does not have
    sizes = model.n_inputs, model.n_hidden, model.n_outputs
    if model.gate == "none":
        net = script("s2_joint_anisotropy").PlainRNN(*sizes)
    else:
        alpha = fixed_gate(model)
        if isinstance(alpha, Tensor):
            raise ValueError("got one alpha per neuron, expected one number: the released network has no other")
        net = script("s1_effective_lr").build_model(KINDS[model.gate], *sizes, alpha)
    net.to(model.W_r)  # device and dtype
    with torch.no_grad():
        for ours, theirs in NAMES.items():
            weight = getattr(model, ours)
            if weight is not None:
                getattr(net, theirs).weight.copy_(weight if replica is None else weight[replica])
    return net


def predict(net: Any, u: Tensor) -> Tensor:
    """The readout for batch-first inputs ``(B, T, m)``; all buffers are recorded too, as it always does."""
    return net.forward_full(u)[-1] if hasattr(net, "forward_full") else net.forward_buffers(u)[0]


def training_step(model: GatedRNN, u: Tensor, target: Tensor, lr: float) -> Step:
    """One step of SGD as its training loops write it; replicas in turn, as its runs over seeds do."""
    replicas = [None] if model.replicas is None else range(model.replicas)
    nets = [network(model, s) for s in replicas]
    inputs = [(u if s is None else u[:, s]).transpose(0, 1).contiguous() for s in replicas]
    targets = [target if s is None else target[s] for s in replicas]
    optimisers = [torch.optim.SGD(net.parameters(), lr=lr) for net in nets]
    loss_fn = nn.MSELoss()

    def run() -> Tensor:
        losses = []
        for net, optimiser, u_s, target_s in zip(nets, optimisers, inputs, targets, strict=True):
            loss = loss_fn(predict(net, u_s), target_s)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        return torch.stack(losses) if model.replicas else losses[0]

    def weights() -> dict[str, Tensor]:
        gradients = {}
        for ours, theirs in NAMES.items():
            if hasattr(nets[0], theirs):
                each = [getattr(net, theirs).weight.detach() for net in nets]
                gradients[ours] = torch.stack(each) if model.replicas else each[0]
        return gradients

    return Step(run, weights)


def per_sample(model: GatedRNN, u: Tensor, target: Tensor) -> Callable[[], Tensor]:
    """One backward a sequence, as ``collect_grad_matrix``: ``(B, P)`` in float64, columns as ``model.parameters()``.

    Its time grows as B: a harness may pass some of the sequences, and say so.
    """
    net, flatten_grads = network(single(model)), script("s2_joint_anisotropy").flatten_grads
    batch_first, loss_fn = u.transpose(0, 1).contiguous(), nn.MSELoss()

    def run() -> Tensor:
        rows = []
        for b in range(len(batch_first)):
            net.zero_grad(set_to_none=True)
            loss_fn(predict(net, batch_first[b : b + 1]), target[b : b + 1]).backward()
            rows.append(flatten_grads(net).detach().cpu().to(torch.float64))
        return torch.stack(rows)

    return run


def jacobian_blocks(model: GatedRNN, u: Tensor) -> Callable[[], list[Tensor]]:
    """T blocks ``(B, n, n)``. No graph is recorded, to its favour: its first script records one."""
    net = network(single(model))
    batch_first = u.transpose(0, 1).contiguous()
    arguments: tuple[Any, ...]
    with torch.no_grad():
        if model.gate == "none":
            states, a, _ = net.forward_buffers(batch_first)[1]
            build, arguments = script("s2_joint_anisotropy").jacobian_blocks_plain, (net, states, a)
        else:
            states, a, _, g, a_g, _ = net.forward_full(batch_first)
            build, arguments = script("s1_effective_lr").compute_J_blocks, (net, states, a, g, a_g)
    return torch.no_grad()(lambda: build(*arguments))


def sensitivities(J: Tensor) -> Callable[[], Tensor]:
    """``(B, T, T)`` by power iterations, for Jacobians ``(T, B, n, n)``; no graph is recorded, to its favour."""
    product_sensitivities, blocks = script("s1_effective_lr").product_sensitivities, list(J.detach().unbind())
    return lambda: product_sensitivities(blocks, iters=5)
