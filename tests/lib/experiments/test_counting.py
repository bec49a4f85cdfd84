"""Operators, memory taken and memory kept, counted by hand on three lines of torch."""

import torch
from gatelr.experiments.counting import Counting, kept


def test_operators_and_the_memory_that_they_take() -> None:
    x, y, out = torch.ones(4, 5), torch.ones(4, 5), torch.empty(4, 5)
    with Counting() as counted:
        z = x + y  # takes 20 numbers
        z.mul_(2)  # in place
        torch.add(x, y, out=out)  # into memory that is there
        z.T.view(-1, 2, 2)  # views
    assert counted.operators == {"add": 2, "mul_": 1}
    assert counted.taken == 20


def test_what_is_kept_for_the_way_back() -> None:
    x = torch.ones(7, requires_grad=True)
    assert kept(lambda: torch.tanh(x).sum()) == 7  # tanh keeps its result
    assert kept(lambda: (x * x).sum()) == 7  # twice the same
    assert kept(lambda: (2 * x).sum()) == 0
    assert kept(lambda: torch.tanh(x.detach()).sum()) == 0
