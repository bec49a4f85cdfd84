"""Each remedy sets what it says, in every layer and direction, both biases minded."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from gatelr import networks
from gatelr.experiments.healthy_networks import seeded
from gatelr.networks import remedies
from torch import Tensor, nn


def sums(module: nn.RNNBase, place: int) -> list[Tensor]:
    """The sum of both biases of one gate in every layer and direction."""
    n = module.hidden_size
    names = [name for name, _ in module.named_parameters() if name.startswith("bias_ih")]
    return [
        (module.get_parameter(name) + module.get_parameter(name.replace("ih", "hh"))).detach()[place * n :][:n]
        for name in names
    ]


@pytest.mark.parametrize("cls", [nn.GRU, nn.LSTM])
@pytest.mark.parametrize("options", [{}, {"num_layers": 3}, {"bidirectional": True, "num_layers": 2}])
def test_the_forget_bias_is_set_in_every_layer_once(cls: type[nn.RNNBase], options: dict[str, Any]) -> None:
    module = seeded(0, lambda: cls(3, 6, **options))
    others = [sums(module, place) for place in (0, 2)]
    remedies.set_forget_bias(nn.Sequential(module), 1)
    assert len(sums(module, 1)) == options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    assert all(torch.equal(total, torch.ones(6)) for total in sums(module, 1))
    for place, before in zip((0, 2), others, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(before, sums(module, place), strict=True))
    first, second = remedies.keep_biases(module) or (None, None)
    assert first is not None
    assert second is not None
    assert torch.equal(first + second, torch.ones(6))


@pytest.mark.parametrize("cls", [nn.GRU, nn.LSTM, nn.GRUCell, nn.LSTMCell])
def test_time_constants_are_those_asked_for(cls: Any) -> None:
    module = seeded(0, lambda: cls(3, 6)).double()
    with torch.no_grad():
        module.weight_ih_l0.zero_() if hasattr(module, "weight_ih_l0") else module.weight_ih.zero_()
        module.weight_hh_l0.zero_() if hasattr(module, "weight_hh_l0") else module.weight_hh.zero_()
    u = torch.randn(10, 2, 3, dtype=torch.float64)
    remedies.set_timescales(module, (1, 32))
    tau = networks.time_constants(networks.run(module, u))
    assert torch.allclose(tau, 2.0 ** torch.arange(6, dtype=torch.float64), rtol=1e-9)
    remedies.set_timescales(module, 32)
    assert torch.allclose(networks.time_constants(networks.run(module, u)), tau)
    remedies.set_timescales(module, [5.0, 4.0, 3.0, 2.0, 1.0, 0.5])
    assert float(networks.time_constants(networks.run(module, u))[0]) == pytest.approx(5.0)
    state = networks.run(module, u)
    if state.kind == "LSTM":  # what is written is what is not kept
        assert torch.allclose(state.written, 1 - state.retained)


def test_a_gate_is_opened_and_others_stay() -> None:
    lstm = seeded(0, lambda: nn.LSTM(3, 6, num_layers=2))
    with torch.no_grad():
        for bias in (lstm.bias_hh_l0, lstm.bias_hh_l1):
            bias += 20.0
    remedies.open_gate(lstm, "o", layer=1, generator=torch.Generator().manual_seed(0))
    u = torch.randn(10, 2, 3)
    assert networks.run(lstm, u, 0).gates["o"].min() > 0.99
    assert 0.2 < networks.run(lstm, u, 1).gates["o"].mean() < 0.8
    assert networks.run(lstm, u, 1).gates["i"].min() > 0.99
    assert float(lstm.weight_hh_l1.detach()[18:].abs().max()) <= 1 / math.sqrt(6)


@pytest.mark.parametrize("cls", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("as_mask", [True, False])
def test_dead_units_live_again_and_others_stay(cls: type[nn.RNNBase], as_mask: bool) -> None:
    module = seeded(0, lambda: cls(3, 6))
    with torch.no_grad():
        for weight in module.parameters():
            for block in weight.split(6):
                block[[1, 4]] = 0.0
    u = torch.randn(20, 4, 3, generator=torch.Generator().manual_seed(1))
    [layer] = networks.diagnose(module, u).layers
    assert layer.dead.tolist() == [False, True, False, False, True, False]
    before = module.weight_ih_l0.detach().clone()
    units = layer.dead if as_mask else [1, 4]
    remedies.reset_dead_units(module, units, generator=torch.Generator().manual_seed(2))
    assert not networks.diagnose(module, u).layers[0].dead.any()
    kept = torch.tensor([0, 2, 3, 5])
    for old, new in zip(before.split(6), module.weight_ih_l0.detach().split(6), strict=True):
        assert torch.equal(old[kept], new[kept])


@pytest.mark.parametrize("cls", [nn.RNN, nn.GRU, nn.LSTM])
def test_recurrent_weights_are_orthogonal(cls: type[nn.RNNBase]) -> None:
    module = seeded(0, lambda: cls(3, 6)).double()
    remedies.orthogonal_recurrent(module, 0.9, generator=torch.Generator().manual_seed(0))
    for block in module.weight_hh_l0.detach().split(6):
        assert torch.allclose(torch.linalg.svdvals(block), torch.full((6,), 0.9, dtype=torch.float64))


def test_draws_come_from_the_generator_alone() -> None:
    before = torch.get_rng_state()
    modules = [seeded(0, lambda: nn.GRU(3, 6)) for _ in range(2)]
    for module in modules:
        generator = torch.Generator().manual_seed(5)
        remedies.open_gate(module, "r", generator=generator)
        remedies.orthogonal_recurrent(module, generator=generator)
        remedies.reset_dead_units(module, [0], generator=generator)
    assert all(torch.equal(a, b) for a, b in zip(modules[0].parameters(), modules[1].parameters(), strict=True))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: remedies.set_forget_bias(nn.RNN(3, 6)), TypeError, "no nn.LSTM, nn.GRU in it"),
        (lambda: remedies.set_forget_bias(nn.LSTM(3, 6, bias=False)), ValueError, "make it with bias=True"),
        (lambda: remedies.set_forget_bias(nn.LSTM(3, 6), math.inf), ValueError, "expected a finite number"),
        (lambda: remedies.set_timescales(nn.GRU(3, 6), (1, 2, 3)), ValueError, "got 3 lags for 6 units"),
        (lambda: remedies.set_timescales(nn.GRU(3, 6), (0, 2)), ValueError, "expected positive numbers"),
        (lambda: remedies.open_gate(nn.GRU(3, 6), "f"), ValueError, "got gate='f'"),
        (lambda: remedies.open_gate(nn.GRU(3, 6), "z", layer=1), ValueError, "got layer=1, expected 0 to 0"),
        (lambda: remedies.reset_dead_units(nn.GRU(3, 6), [6]), ValueError, "expected numbers from 0 to 5"),
        (lambda: remedies.orthogonal_recurrent(nn.GRU(3, 6), 0.0), ValueError, "got gain=0.0"),
        (lambda: remedies.orthogonal_recurrent(nn.Linear(3, 6)), TypeError, "got a Linear"),
    ],
)
def test_bad_input_gets_a_sentence(call: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error) as raised:
        call()
    assert sentence in str(raised.value)
