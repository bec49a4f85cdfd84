"""From which lags something has been learned: masking, the gradient by input, and a reader that needs no memory.

``answer`` is whatever says something of sequences ``(T, B, m)``: a network of any kind, as a function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gatelr.tasks import Task

#: What says something of sequences.
Answer = Callable[[Tensor], Tensor]


def masked(
    answer: Answer,
    task: Task,
    u: Float[Tensor, "T B m"],
    target: Tensor,
    steps: Sequence[Int[Tensor, " _"]],
) -> Float[Tensor, " bins"]:
    """How much the loss grows when the inputs at some steps are replaced by their mean over sequences.

    Args:
        answer: what is asked.
        task, u, target: sequences, unseen ones for what holds beyond those that were learned from, and their loss.
        steps: for each masking, the steps whose inputs are replaced.

    Returns:
        For each masking the loss with it less the loss without; below zero where masking helps.
    """
    hidden = u.unsqueeze(1).repeat(1, len(steps), 1, 1)
    for b, at in enumerate(steps):
        hidden[at, b] = u[at].mean(1, keepdim=True)
    with torch.no_grad():
        whole, without = answer(u), answer(hidden.flatten(1, 2)).unflatten(0, (len(steps), -1))
    return task.loss(without, target.expand(len(steps), *target.shape)) - task.loss(whole, target)


def input_gradient(answer: Answer, task: Task, u: Float[Tensor, "T B m"], target: Tensor) -> Float[Tensor, " T"]:
    """The size of a sequence's own loss gradient with respect to the input of each step, root mean square over B.

    Args:
        answer, task, u, target: as for :func:`masked`.
    """
    u = u.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(task.loss(answer(u), target), u)
    return len(target) * gradient.square().sum(-1).mean(-1).sqrt()  # the loss is a mean over sequences


def linear_reader(task: Task, u: Float[Tensor, "T B m"], target: Tensor) -> nn.Module:
    """A reader that has all steps before it at once: logistic regression, or ridge regression of numbers.

    Args:
        task, u, target: sequences to learn from, on the CPU, some of every class.

    Returns:
        What answers ``(T, B, m)`` with ``(B, o)``, in float32.

    Raises:
        ImportError: without scikit-learn.
    """
    try:
        from sklearn.linear_model import LogisticRegression, Ridge
    except ImportError as error:
        raise ImportError("a linear reader needs scikit-learn: pip install 'gatelr[experiments]'") from error
    by_sequence = _BySequence()
    # to the end and in float64: where an iteration stops early depends on the processor
    x, y = by_sequence(u).double().numpy(), target.numpy()
    regression = Ridge() if task.kind == "mse" else LogisticRegression(solver="newton-cholesky", tol=1e-9)
    fitted = regression.fit(x, y)
    readout = nn.Linear(x.shape[1], task.n_outputs)
    with torch.no_grad():
        readout.weight.copy_(torch.as_tensor(fitted.coef_))
        readout.bias.copy_(torch.as_tensor(fitted.intercept_))
    return nn.Sequential(by_sequence, readout).requires_grad_(False)


class _BySequence(nn.Module):
    """All steps of a sequence as one vector."""

    def forward(self, u: Float[Tensor, "T B m"]) -> Float[Tensor, "B Tm"]:
        return u.movedim(0, 1).flatten(1)
