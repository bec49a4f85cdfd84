"""What an optimiser's next step does to each parameter, and which parameter leaves the numbers first if it goes on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gatelr.networks.diagnosis.result import ParameterStep

#: An optimiser, its class, or its name as torch has it, such as ``"adam"``.
Optimizer = torch.optim.Optimizer | type[torch.optim.Optimizer] | str


@dataclass(frozen=True)
class Departure:
    """Where trying out some steps led.

    Attributes:
        name: the parameter that was the first not to be finite.
        iteration: after how many steps, from 1.
        step: root mean square of its last step while it was finite.
        weight: root mean square of the weight just before that.
    """

    name: str
    iteration: int
    step: float
    weight: float

    @property
    def ratio(self) -> float:
        """The step beside the weight."""
        return self.step / self.weight if self.weight > 0 else float("inf")


def build(optimizer: Optimizer | None, lr: int | float | None, named: dict[str, Tensor], model: nn.Module) -> Any:
    """An optimiser of copies of the parameters, in the state that the given one is in.

    Args:
        optimizer: as :func:`~gatelr.networks.diagnosis.diagnose.diagnose` takes it; None is plain SGD.
        lr: the learning rate; of an optimiser that exists, in place of its own.
        named: the copies, by the parameters' names.
        model: whose parameters they are.

    Raises:
        ValueError: for a name that torch has no optimiser of, or a class without a learning rate.
        TypeError: for anything else.
    """
    if isinstance(optimizer, torch.optim.Optimizer):
        return _in_the_place_of(optimizer, lr, named, model)
    if optimizer is None:
        optimizer = torch.optim.SGD
    if isinstance(optimizer, str):
        known = {name.lower(): kind for name, kind in vars(torch.optim).items() if isinstance(kind, type)}
        if optimizer.lower() not in known or optimizer.lower() == "optimizer":
            raise ValueError(
                f"got optimizer={optimizer!r}, expected a name that torch.optim has, such as 'adam': "
                "give the optimiser itself if it is another"
            )
        optimizer = known[optimizer.lower()]
    if not (isinstance(optimizer, type) and issubclass(optimizer, torch.optim.Optimizer)):
        raise TypeError(
            f"got optimizer of type {type(optimizer).__name__}, expected an optimiser of torch, its class or its name"
        )
    if lr is None:
        raise ValueError(f"got {optimizer.__name__} without a learning rate, expected lr as well: give lr=1e-3")
    kind: Any = optimizer
    return kind(list(named.values()), lr=lr)


def _in_the_place_of(
    optimizer: torch.optim.Optimizer, lr: float | None, named: dict[str, Tensor], model: nn.Module
) -> torch.optim.Optimizer:
    """A copy of an optimiser, with its state, that moves the copies of the parameters."""
    copies = {id(p): named[name] for name, p in model.named_parameters() if name in named}
    twin = copy.copy(optimizer)  # without the hooks of its own
    twin.param_groups = [
        {**group, "params": [copies[id(p)] for p in group["params"] if id(p) in copies]}
        for group in optimizer.param_groups
    ]
    twin.state = type(optimizer.state)(dict)
    for p, state in optimizer.state.items():
        if id(p) in copies:
            twin.state[copies[id(p)]] = copy.deepcopy(state)
    if lr is not None:
        for group in twin.param_groups:
            group["lr"] = lr
    return twin


def _rms(v: Tensor) -> float:
    return float(v.detach().double().square().mean().sqrt()) if v.numel() else 0.0


def _mended_by(
    twin: nn.Module,
    evaluate: Callable[[nn.Module], Tensor],
    named: dict[str, Tensor],
    current: dict[str, Tensor],
    earlier: dict[str, Tensor],
) -> list[str]:
    """The parameters each of which, put back by one step alone, makes the loss and its gradients numbers again."""

    def put(values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            named[name].data.copy_(value)

    mending = []
    for name in named:
        put(current | {name: earlier[name]})
        value = evaluate(twin)
        grads = torch.autograd.grad(value, list(named.values()), allow_unused=True)
        if value.isfinite().all() and all(g is None or g.isfinite().all() for g in grads):
            mending.append(name)
    return mending


def parameter_steps(
    model: nn.Module,
    gradients: dict[str, Tensor],
    optimizer: Optimizer | None,
    lr: int | float | None,
    clip: int | float | None,
) -> list[ParameterStep]:
    """The next step of each parameter, taken by copies; the largest beside its weight first.

    Args:
        model: the model.
        gradients: of the loss, by parameter name.
        optimizer, lr: as :func:`build`.
        clip: the norm that the gradient is clipped to; None for no clipping.
    """
    parameters = {name: p for name, p in model.named_parameters() if name in gradients}
    copies: dict[str, Tensor] = {name: nn.Parameter(p.detach().clone()) for name, p in parameters.items()}
    for name, twin in copies.items():
        twin.grad = gradients[name].clone()
    moving = build(optimizer, lr, copies, model)
    if clip is not None:
        nn.utils.clip_grad_norm_(list(copies.values()), clip)
    moving.step()
    steps = []
    for name, p in parameters.items():
        weight, step = _rms(p), _rms(copies[name].detach() - p.detach())
        ratio = step / weight if weight > 0 else float("inf") if step > 0 else 0.0
        steps.append(ParameterStep(name, weight, _rms(gradients[name]), step, ratio))
    return sorted(steps, key=lambda step: -step.ratio if step.ratio == step.ratio else -float("inf"))


def look_ahead(
    model: nn.Module,
    evaluate: Callable[[nn.Module], Tensor],
    optimizer: Optimizer | None,
    lr: int | float | None,
    clip: int | float | None,
    iterations: int,
) -> Departure | None:
    """Train a copy on the same batch for some steps, and say which parameter is the first that is no number.

    Args:
        model: the model; a copy of it is trained.
        evaluate: the loss of a model.
        optimizer, lr, clip: as :func:`parameter_steps`.
        iterations: how many steps at most.

    Returns:
        The first to go, with its last finite step; None if all stay.
    """
    twin = copy.deepcopy(model)
    names = {name for name, p in model.named_parameters() if p.requires_grad}
    named: dict[str, Tensor] = {name: p for name, p in twin.named_parameters() if name in names}
    moving = build(optimizer, lr, named, model)
    before = {name: p.detach().clone() for name, p in named.items()}
    earlier = before
    last = {name: (0.0, _rms(p)) for name, p in named.items()}
    for iteration in range(1, iterations + 1):
        # not backward(), which would also reach what the loss reads beside the model
        grads = torch.autograd.grad(evaluate(twin), list(named.values()), allow_unused=True)
        for p, gradient in zip(named.values(), grads, strict=True):
            p.grad = gradient
        if clip is not None:
            nn.utils.clip_grad_norm_(list(named.values()), clip)
        unsound = [name for name, p in named.items() if p.grad is not None and not p.grad.isfinite().all()]
        moving.step()
        left = [name for name, p in named.items() if not p.detach().isfinite().all()]
        if left or unsound:
            # All leave together once the loss is no number. To blame is the one without whose last step it is one; of
            # several, or if there is none, the one whose step was the largest beside its weight.
            blamed = _mended_by(twin, evaluate, named, before, earlier) or left or unsound
            name = max(blamed, key=lambda name: last[name][0] / max(last[name][1], 1e-30))
            return Departure(name, iteration, *last[name])
        last = {name: (_rms(p.detach() - before[name]), _rms(before[name])) for name, p in named.items()}
        earlier, before = before, {name: p.detach().clone() for name, p in named.items()}
    return None
