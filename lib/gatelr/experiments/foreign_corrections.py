r"""Foreign corrections: each network is moved by the correction of another one, as long as its own.

.. math:: ∇L|_{G = 0} + \frac{\lVert c \rVert}{\lVert c' \rVert} c'

with :math:`c = ∇L - ∇L|_{G = 0}` of the network and :math:`c'` of its partner, both of this very step. It is the null
of an own correction: of the same length and made in the same way, but it belongs to other weights and other data.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gatelr import tasks
from gatelr.cells import GatedRNN
from gatelr.kernels.sweep import Workspace


def partners(replicas: int) -> Int[Tensor, " S"]:
    """Whose correction each of S networks gets: in pairs, and the last three of an odd number in a circle.

    Blocks of an even number of seeds give each network the partner that it has among all of them.

    Raises:
        ValueError: for fewer than two networks.

    Example:
        >>> from gatelr.experiments import foreign_corrections
        >>> foreign_corrections.partners(5).tolist()
        [1, 0, 4, 2, 3]
    """
    if replicas < 2:
        raise ValueError(f"got {replicas} networks, expected at least 2: a foreign correction needs another network")
    order = torch.arange(replicas) ^ 1
    if replicas % 2:
        order[-3:] = torch.tensor([replicas - 1, replicas - 3, replicas - 2])
    return order


def exchange(model: GatedRNN, task: tasks.Task, engine: torch.optim.Optimizer) -> tasks.Task:
    """Have each update of an optimiser made with foreign corrections, once training has taken the full gradient.

    The step depends on nothing before it, so that a run which was killed goes on without having saved anything of it.

    Args:
        model: networks with replicas and a learned gate.
        task: what they learn.
        engine: the optimiser of all their weights.

    Returns:
        The task to train on: the same one, which remembers the batch that it has drawn last.

    Raises:
        ValueError: for fewer than two networks.
    """
    order, workspace = partners(model.replicas or 1).to(model.W_r.device), Workspace()
    drawn: list[tasks.Batch] = []

    def make(*arguments: Any, **options: Any) -> tasks.Batch:
        drawn[:] = [task.make(*arguments, **options)]
        return drawn[0]

    def swap(*_: object) -> None:
        u, target = (part.to(model.W_r.device) for part in drawn[0])
        losses = task.loss(model(u, workspace=workspace, backward="gate dropped"), target)
        weights = list(model.parameters())
        without = torch.autograd.grad(losses.sum(), weights)
        full = [weight.grad for weight in weights if weight.grad is not None]
        own = [whole - part for whole, part in zip(full, without, strict=True)]
        for gradient, part, correction in zip(full, without, foreign(own, order), strict=True):
            torch.add(part, correction, out=gradient)

    engine.register_step_pre_hook(swap)
    return replace(task, make=make)


def foreign(corrections: list[Float[Tensor, "S ..."]], order: Int[Tensor, " S"]) -> list[Float[Tensor, "S ..."]]:
    """The corrections of partners, each as long as the own one, over all weights together.

    A partner whose correction is not finite, or zero, gives none: it has diverged.

    Args:
        corrections: of each weight, with a row for each network.
        order: whose each network gets.
    """
    squares = [each.flatten(1).double().square().sum(1) for each in corrections]
    length = torch.stack(squares).sum(0).sqrt()
    scale = length / length[order]
    usable = scale.isfinite() & length.isfinite()
    given = []
    for each in corrections:
        shape = (-1, *(1,) * (each.ndim - 1))
        theirs = each[order] * scale.to(each).view(shape)
        given.append(torch.where((usable & usable[order]).view(shape), theirs, 0.0))
    return given


def cosine(vectors: Float[Tensor, "W S P"]) -> Float[Tensor, " S"]:
    """The mean cosine of each network's vectors with those of its partner, over all pairs of iterations."""
    mean = (vectors / vectors.norm(dim=-1, keepdim=True)).mean(0)
    return (mean * mean[partners(len(mean)).to(mean.device)]).sum(1)
