"""The library beside what a reader would otherwise write, in one run: compare the rows of a group.

Sizes are those of the paper's second experiment: T = 120, n = 64, batch 64.
"""

import pytest
import torch
from gatelr import jacobian
from gatelr.cells import GATES, GatedRNN
from pytest_benchmark.fixture import BenchmarkFixture


def network(gate: str, batch: int) -> tuple[GatedRNN, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    model = GatedRNN(6, 64, gate, alpha=0.8 if gate == "constant" else None, generator=draw)
    return model, torch.randn(120, batch, 6, generator=draw)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("way", ["closed form", "autograd"])
def test_gradient(benchmark: BenchmarkFixture, gate: str, way: str) -> None:
    """One gradient of a loss on the last state."""
    benchmark.group = f"gradient, {gate}"
    model, u = network(gate, 64)

    def step() -> None:
        model.zero_grad()
        out = model(u) if way == "closed form" else model.run(u).x[-1] @ model.W_o.T
        out.square().mean().backward()

    benchmark(step)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("way", ["closed form", "vmap(jacrev)"])
def test_jacobian_blocks(benchmark: BenchmarkFixture, gate: str, way: str) -> None:
    """All step Jacobians of a batch of four."""
    benchmark.group = f"Jacobian blocks, {gate}"
    model, u = network(gate, 4)
    with torch.no_grad():
        run = model.run(u)

        def one(v: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return model.run(v.unsqueeze(0), x).x[0]

        every = torch.func.vmap(torch.func.jacrev(one, argnums=1))
        u_flat, x_flat = u.flatten(0, 1), run.x_prev.flatten(0, 1)
        benchmark((lambda: jacobian.blocks(model, run)) if way == "closed form" else (lambda: every(u_flat, x_flat)))
