"""Steps and memory are those of torch's optimisers, and the shadow is torch's Adam."""

from __future__ import annotations

import pytest
import torch
from gatelr.experiments import optimiser_steps
from networks import Case, relative
from torch import Tensor


def test_the_last_step_knows_what_the_optimiser_remembers() -> None:
    old, new = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 4.0])
    assert torch.allclose(optimiser_steps.last_step(torch.optim.SGD, old, new), -new)
    assert torch.allclose(optimiser_steps.last_step(torch.optim.SGD, old, new, momentum=0.5), -(0.5 * old + new))
    assert torch.allclose(optimiser_steps.last_step(torch.optim.Adam, new, eps=0.0), -new.sign())


def test_adam_drops_the_scale_and_goes_on_along_an_old_gradient() -> None:
    gradient = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    facts = optimiser_steps.adam_on(gradient)
    assert max(facts["scaled"], facts["SGD scaled"], facts["by row"]) <= 1e-12
    assert facts["against"] == gradient.numel()  # all of them: β₁ is more than one half


def test_the_shadow_has_adams_second_moment_and_moves_nothing() -> None:
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 2, generator=draw).requires_grad_()
    optimiser = torch.optim.SGD([weight], lr=0.1)
    shadow = optimiser_steps.Shadow(optimiser, weight)
    with pytest.raises(ValueError, match="no gradient yet"):
        shadow.rates()
    moment = torch.zeros(3, 2, dtype=torch.float64)
    alone = weight.detach().clone()
    for step in range(1, 4):
        weight.grad = torch.randn(3, 2, generator=draw)
        optimiser.step()
        alone -= 0.1 * weight.grad
        moment = 0.999 * moment + 0.001 * weight.grad.double() ** 2
        assert relative(shadow.rates(), 1 / ((moment / (1 - 0.999**step)).sqrt() + 1e-8)) <= 1e-12
    assert relative(weight, alone) <= 1e-7
    assert not shadow.twin.any()


@pytest.mark.parametrize(("options", "expected"), [({}, 0.0), ({"momentum": 0.9}, None)])
def test_what_an_optimiser_remembers(options: dict, expected: float | None) -> None:
    model = Case("multi", 4, 3, 5, (6,), 2, False, 1).model()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, **options)
    u, _ = Case("multi", 4, 3, 5, (6,), 2, False, 1).inputs()

    def loss(model: torch.nn.Module) -> Tensor:
        return model(u).square().mean((-2, -1))

    for _ in range(3):
        optimiser.zero_grad()
        loss(model).sum().backward()
        optimiser.step()
    before = [weight.detach().clone() for weight in model.parameters()]
    found = optimiser_steps.remembered(model, optimiser, loss)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    if expected is None:
        buffer = optimiser.state[model.W_r]["momentum_buffer"].flatten(1).double()
        gradient = torch.autograd.grad(loss(model).sum(), model.W_r)[0].flatten(1).double()
        old, new = 0.9 * buffer.norm(dim=1), gradient.norm(dim=1)
        assert relative(found, old / (old + new)) <= 1e-9
    else:
        assert (found == expected).all()
