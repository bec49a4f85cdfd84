"""The library behind the functions of its :mod:`.peers`: what is timed is what a chapter calls."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from gatelr import adjoint, anisotropy, jacobian, transport
from gatelr.cells import GatedRNN
from gatelr.kernels.sweep import Workspace
from torch import Tensor

from .peers import Step, backward, single


def training_step(model: GatedRNN, u: Tensor, target: Tensor, lr: float, *, keep: bool = True) -> Step:
    """One step of SGD; the workspace is kept between steps, as ``training.train`` does, or made anew in each."""
    model = copy.deepcopy(model)
    optimiser = torch.optim.SGD(model.parameters(), lr=lr)
    workspace = Workspace() if keep else None

    def run() -> Tensor:
        optimiser.zero_grad()
        losses = backward(model(u, workspace=workspace), target)
        optimiser.step()
        return losses

    return Step(run, lambda: {name: weight.detach() for name, weight in model.named_parameters()})


def per_sample(model: GatedRNN, u: Tensor, target: Tensor) -> Callable[[], Tensor]:
    """Every gradient, ``(B, P)``, columns as ``model.parameters()``, from the inputs to the last weight."""
    names = [name for name, _ in single(model).named_parameters()]

    def run() -> Tensor:
        trajectory = model.run(u)
        last = trajectory.x[-1]
        error = 2 / model.n_outputs * (last @ model.W_o.mT - target)
        delta = torch.zeros_like(trajectory.x)
        delta[-1] = error @ model.W_o
        gradients = adjoint.gradients(model, trajectory, delta, per_sample=True)
        gradients["W_o"] = error.unsqueeze(-1) * last.unsqueeze(-2)
        return anisotropy.sample_matrix({name: gradients[name] for name in names})

    return torch.no_grad()(run)


def jacobian_blocks(model: GatedRNN, u: Tensor) -> Callable[[], Tensor]:
    """All step Jacobians, ``(T, B, n, n)``; the states are there before, as they are for every peer."""
    with torch.no_grad():
        trajectory = single(model).run(u)
    return torch.no_grad()(lambda: jacobian.blocks(model, trajectory))


def sensitivities(J: Tensor) -> Callable[[], Tensor]:
    """``S[t, k] = ‖M_{t,k}‖₂``, ``(T+1, T+1, *batch)``."""
    return lambda: transport.sensitivities(J)
