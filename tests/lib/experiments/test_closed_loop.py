"""One linear neuron: its states and derivatives are the sums that one can write down, and it learns its teacher."""

from __future__ import annotations

import pytest
import torch
from gatelr.experiments import closed_loop


def test_states_and_derivatives_are_sums_over_lags() -> None:
    w, g, T = 0.7, 0.2, 12
    lag = torch.arange(T - 1, -1, -1, dtype=torch.float64)  # of the impulse at each step
    found = closed_loop.features(w, g, torch.eye(T, dtype=torch.float64))
    kernel = g * (1 - g) ** lag
    by_gate = w * (1 - g) ** lag - w * g * lag * (1 - g) ** (lag - 1)
    assert found["state"] == pytest.approx(w * kernel, abs=1e-9)
    assert found["weight"] == pytest.approx(kernel, abs=1e-9)
    assert found["pre-activation"] == pytest.approx(by_gate * g * (1 - g), abs=1e-9)


@pytest.mark.slow
def test_it_learns_its_teacher() -> None:
    path = closed_loop.train((1.0, 0.4), (0.8, 0.6), steps=250, rate=2.0, seeds=[0, 1], length=12, batch=16)
    last = path[path.time == path.time.max()]
    assert list(path.columns) == ["time", "seed", "weight", "gate"]
    assert last.weight.to_numpy() == pytest.approx(0.8, abs=0.02)
    assert last.gate.to_numpy() == pytest.approx(0.6, abs=0.02)


def test_a_seed_has_its_own_data_wherever_it_stands() -> None:
    options = {"steps": 40, "rate": 0.5, "length": 10, "batch": 4}
    both = closed_loop.train((1.0, 0.5), (1.0, 0.1), seeds=[3, 4], **options)  # type: ignore[arg-type]
    alone = closed_loop.train((1.0, 0.5), (1.0, 0.1), seeds=[4], **options)  # type: ignore[arg-type]
    assert both[both.seed == 4].gate.to_numpy() == pytest.approx(alone.gate.to_numpy(), abs=1e-12)
    assert both[both.seed == 3].gate.iloc[-1] != both[both.seed == 4].gate.iloc[-1]


@pytest.mark.parametrize("gate", [0.0, 1.0, -0.2])
def test_a_gate_must_be_a_sigmoid(gate: float) -> None:
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        closed_loop.neuron(1.0, gate)
