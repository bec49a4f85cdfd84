"""torch's layers by symbol and by autograd, and the family as a GRU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gatelr import jacobian, networks
from gatelr.cells import GatedRNN
from gatelr.experiments import torch_layers
from networks import relative
from torch import nn

layers = pytest.mark.parametrize(
    ("kind", "options"),
    [
        (nn.GRU, {}),
        (nn.LSTM, {}),
        (nn.GRU, {"num_layers": 2}),
        (nn.LSTM, {"num_layers": 2, "proj_size": 3}),
    ],
)


def noise(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(6, 4, 2, generator=generator, dtype=torch.float64)


@layers
def test_three_ways_to_one_matrix(kind: Any, options: dict[str, int], generator: torch.Generator) -> None:
    module, u = torch_layers.draw(kind, 2, 5, seed=3, scale=3.0, **options), noise(generator)
    for layer in range(module.num_layers):
        symbol = torch_layers.terms_by_symbol(module, networks.run(module, u, layer), layer)
        for ours, theirs in zip(symbol, networks.terms(module, u, layer), strict=True):
            assert relative(ours, theirs) <= 1e-12
        autograd = torch_layers.blocks_by_autograd(module, u, layer)
        assert relative(sum(symbol), autograd) <= 1e-12


def test_weights_are_drawn_as_torch_draws_them() -> None:
    module = torch_layers.draw(nn.LSTM, 3, 400, seed=0)
    again = torch_layers.draw(nn.LSTM, 3, 400, seed=0, scale=2.0)
    for ours, twice, theirs in zip(module.parameters(), again.parameters(), nn.LSTM(3, 400).parameters(), strict=True):
        assert torch.equal(2 * ours, twice)
        assert ours.abs().max() <= 1 / 20
        assert abs(ours.std() / theirs.std() - 1) < 0.05


def test_weights_are_cut_by_gate() -> None:
    module = torch_layers.draw(nn.LSTM, 3, 4, seed=0, num_layers=2)
    weights = torch_layers.by_gate(module, 1)
    assert torch.equal(weights["W_hf"], module.weight_hh_l1[4:8])
    assert torch.equal(weights["b_ig"], module.bias_ih_l1[8:12])
    other = torch_layers.draw(nn.GRU, 3, 4, seed=0)
    assert torch.equal(torch_layers.by_gate(other)["W_in"], other.weight_ih_l0[8:])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("gate", ["constant", "scalar", "multi"])
def test_the_family_is_a_gru(gate: str, bias: bool, generator: torch.Generator) -> None:
    alpha = [0.01, 0.2, 0.5, 0.9, 0.999] if gate == "constant" else None
    model = GatedRNN(2, 5, gate, alpha=alpha, bias=bias, generator=generator, dtype=torch.float64)
    model.requires_grad_(False)
    for weight in model.parameters():
        weight.normal_(generator=generator)
    u = noise(generator)
    module, run = torch_layers.as_gru(model), model.run(u)
    assert relative(module(u)[0], run.x) <= 1e-12
    for ours, theirs in zip(networks.terms(module, u), jacobian.terms(model, run), strict=True):
        assert (ours - theirs).abs().max() <= 1e-12


def test_what_is_no_gru_is_refused() -> None:
    for model in (GatedRNN(2, 3, "none"), GatedRNN(2, 3, "constant", alpha=[0.5, 1.0, 0.5])):
        with pytest.raises(ValueError, match="got a gate that is 1, expected one below 1"):
            torch_layers.as_gru(model)
    with pytest.raises(ValueError, match="got 2 replicas, expected a single network"):
        torch_layers.as_gru(GatedRNN(2, 3, "multi", replicas=2))
