"""What torch's optimisers make of gradients: their steps, their rates, and what they remember (C12, C13)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gatelr.cells import GatedRNN
from gatelr.experiments.agreement import discrepancy


def last_step(optimiser: Callable[..., torch.optim.Optimizer], *gradients: Tensor, **options: Any) -> Tensor:
    """The last step of an optimiser of torch that sees these gradients one after the other, at the rate 1."""
    weight = torch.zeros_like(gradients[0], requires_grad=True)
    engine = optimiser([weight], lr=1.0, **options)
    for gradient in gradients:
        weight.data, weight.grad = torch.zeros_like(gradient), gradient.clone()
        engine.step()
    return weight.detach()


def adam_on(gradient: Float[Tensor, "*S n p"]) -> dict[str, float]:
    """What ``torch.optim.Adam`` makes of a gradient at ε = 0, beside plain SGD (claim C13).

    Returns:
        ``"scaled"``, how far its first step moves if the loss is 1,024 times as large, and ``"SGD scaled"``, how far
        the step of SGD is then from 1,024 times what it was; ``"against"``, how many weights step against a second
        gradient of minus half the first; and ``"by row"``, what remains of the first two differences if one second
        moment serves a row: the largest change of a ratio within a row, or of the step with the scale.
    """
    large = 1024 * gradient  # a power of two: nothing is rounded
    first, scaled = (last_step(torch.optim.Adam, g, eps=0.0) for g in (gradient, large))
    plain, plain_scaled = (last_step(torch.optim.SGD, g) for g in (gradient, large))
    turned = last_step(torch.optim.Adam, gradient, -gradient / 2, eps=0.0)
    row, row_scaled = (g / g.square().mean(-1, keepdim=True).sqrt() for g in (gradient, large))
    ratio, ratio_by_row = (g[..., 1:] / g[..., :-1] for g in (gradient, row))
    return {
        "scaled": discrepancy(scaled, first),
        "SGD scaled": discrepancy(plain_scaled, 1024 * plain),
        "against": int((turned * (-gradient / 2) > 0).sum()),
        "by row": max(discrepancy(ratio_by_row, ratio), discrepancy(row_scaled, row)),
    }


class Shadow:
    """An Adam that looks at the gradients of a run without moving anything: its rate at the weights of another.

    Before each step of the optimiser it is given the same gradient of one parameter, in float64; ``torch.optim.Adam``
    itself keeps the moments.

    Args:
        optimiser: the one that trains; a hook is registered with it.
        parameter: whose gradient to look at.

    Example:
        >>> import torch
        >>> from gatelr.experiments import optimiser_steps
        >>> weight = torch.zeros(2, requires_grad=True)
        >>> optimiser = torch.optim.SGD([weight], lr=0.1)
        >>> shadow = optimiser_steps.Shadow(optimiser, weight)
        >>> weight.grad = torch.tensor([4.0, 0.5])
        >>> optimiser.step()
        >>> shadow.rates()  # 1/|gradient| after the first
        tensor([0.2500, 2.0000], dtype=torch.float64)
    """

    def __init__(self, optimiser: torch.optim.Optimizer, parameter: Tensor):
        self.parameter = parameter
        self.twin = torch.zeros_like(parameter, dtype=torch.float64).requires_grad_()
        self.adam = torch.optim.Adam([self.twin], lr=0.0)
        optimiser.register_step_pre_hook(self._look)

    def _look(self, optimiser: torch.optim.Optimizer, *_: object) -> None:
        if self.parameter.grad is not None:
            self.twin.grad = self.parameter.grad.double()
            self.adam.step()

    def state_dict(self) -> dict[str, Any]:
        """Its moments."""
        return self.adam.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Go on from there."""
        self.adam.load_state_dict(state_dict)

    def rates(self) -> Tensor:
        r"""What Adam would multiply its mean gradient by, :math:`1/(\sqrt{\hat v} + ε)`, in the parameter's shape.

        Raises:
            ValueError: before the first step.
        """
        if not self.adam.state[self.twin]:
            raise ValueError("got no gradient yet, expected at least one step of the optimiser: look after it")
        state, group = self.adam.state[self.twin], self.adam.param_groups[0]
        unbiased = state["exp_avg_sq"] / (1 - group["betas"][1] ** state["step"].item())
        return 1 / (unbiased.sqrt() + group["eps"])


def remembered(
    model: GatedRNN, optimiser: torch.optim.Optimizer, loss: Callable[[GatedRNN], Tensor]
) -> Float[Tensor, " S"]:
    r"""The part of the next step of W_r that earlier gradients decide: :math:`\|Δ_0\| / (\|Δ_0\| + \|Δ - Δ_0\|)`.

    Δ is the step on a gradient, Δ_0 the step that the same optimiser takes when the gradient is zero. Both are taken
    by copies, at the learning rate 1.

    Args:
        model, optimiser: the network, and what trains it, with what it remembers.
        loss: of a network, one number for each replica.

    Returns:
        ``(S,)``, from 0 (no memory) to 1.
    """
    moves = []
    for weight in (0.0, 1.0):
        twin, engine = copy.deepcopy((model, optimiser))
        for group in engine.param_groups:
            group["lr"] = 1.0
        engine.zero_grad()
        loss(twin).sum().backward()
        for parameter in twin.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(weight)
        engine.step()
        moves.append((twin.W_r - model.W_r).detach().double().reshape(model.replicas or 1, -1))
    old, new = moves[0].norm(dim=1), (moves[1] - moves[0]).norm(dim=1)
    return old / (old + new)
