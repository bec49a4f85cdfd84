"""What experiments share measures what it says."""

from __future__ import annotations

import pytest
import torch
from gatelr import tasks, training
from gatelr.experiments import protocol
from networks import relative

SEEDS = (3, 5)


@pytest.mark.parametrize("name", ["adding", "mnist1d"])
def test_losses_are_those_of_each_network_on_its_data(name: str) -> None:
    task = tasks.get(name) if name == "mnist1d" else tasks.get(name, steps=6)
    model = protocol.network(task, "scalar", SEEDS, 4)
    data = task.draw(5, training.generators(SEEDS), held_out=True)
    with torch.no_grad():
        expected = task.loss(model(data.u), data.target)
    assert relative(protocol.losses(model, task, data), expected) <= 1e-6
