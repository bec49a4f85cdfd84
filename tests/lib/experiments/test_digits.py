"""The networks that read digits: replica i is the network of seed i, whatever stands beside it."""

from __future__ import annotations

import pytest
import torch
from gatelr.experiments import digits


@pytest.mark.parametrize("gate", ["constant", "multi"])
def test_a_replica_is_the_network_it_would_be_alone(gate: str) -> None:
    both, alone = (digits.train(gate, 4, seeds, 2, alpha=0.1, batch=5, device="cpu") for seeds in (2, 1))
    assert torch.allclose(both.W_r[0], alone.W_r[0], atol=1e-5)
    assert both.b_o is not None
    assert both.b_o.shape == (2, 10)


def test_every_replica_reads_the_same_digits() -> None:
    u = torch.randn(3, 2, 1)
    wide = digits.for_each_seed(u, 4)
    assert wide.shape == (3, 4, 2, 1)
    assert all(torch.equal(wide[:, s], u) for s in range(4))


def test_accuracy_is_the_share_of_digits_named() -> None:
    model = digits.train("scalar", 4, 2, 0, device="cpu")
    u, target = torch.rand(5, 8, 1), torch.arange(8)
    named = [sum(int(model.replica(s)(u[:, i]).argmax()) == i for i in range(8)) / 8 for s in range(2)]
    assert digits.accuracy(model, u, target).tolist() == named
