"""A diagnosis every few steps of a training loop."""

from __future__ import annotations

import pytest
import torch
from gatelr.experiments.healthy_networks import seeded
from gatelr.experiments.planted_faults import OwnTimeConstants, Readout
from gatelr.networks.callback import Watch
from torch import nn
from torch.nn import functional as F


def test_it_keeps_a_history_of_what_was_found() -> None:
    model = seeded(0, lambda: Readout(nn.GRU(1, 8)))
    u = torch.randn(10, 64, 1, generator=torch.Generator().manual_seed(0))
    target = u[-2]
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    watch = Watch(model, u, every=50, loss=F.mse_loss, target=target)
    made = []
    for _ in range(101):
        optimizer.zero_grad()
        F.mse_loss(model(u), target).backward()
        optimizer.step()
        made.append(watch())
    assert list(watch.history) == [0, 50, 100]
    assert [step for step, diagnosis in enumerate(made) if diagnosis is not None] == [0, 50, 100]
    assert watch.first("loss-not-better") == 0
    assert watch.first("axes-swapped") is None
    assert not watch.history[100].findings
    rows = watch.rows()
    assert [row["step"] for row in rows] == [0, 50, 100]
    assert rows[0]["loss"] > 5 * rows[-1]["loss"]
    assert rows[0]["findings"] == "loss-not-better"
    assert watch.departure is None


def test_it_says_which_parameter_left_first() -> None:
    model = seeded(0, lambda: OwnTimeConstants(8))
    u = torch.randn(20, 16, 3, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    watch = Watch(model, u, every=1000, loss=F.mse_loss, target=u[-1, :, :1])
    before, ratio = model.tau.detach().clone(), 0.0
    steps = 0
    while watch.departure is None and steps < 200:
        optimizer.zero_grad()
        F.mse_loss(model(u), u[-1, :, :1]).backward()
        optimizer.step()
        watch()
        steps += 1
        if watch.departure is not None:
            break
        ratio = float((model.tau.detach() - before).square().mean().sqrt() / before.square().mean().sqrt())
        before = model.tau.detach().clone()
    assert watch.departure is not None
    assert watch.departure.iteration == steps - 1
    if watch.departure.name == "tau":
        assert watch.departure.ratio == pytest.approx(ratio, rel=1e-4)
    assert watch.departure.ratio > 0
    assert watch() is None


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize("every", [0, 1.5, True])
def test_bad_input_gets_a_sentence(every: object) -> None:
    with pytest.raises(ValueError, match="expected a whole number of steps"):
        Watch(nn.GRU(1, 2), torch.zeros(3, 1, 1), every=every)  # type: ignore[arg-type]
