"""The measurements of the expansion: the bound holds in the trials, and the norms are those of the orders."""

from __future__ import annotations

import torch
from gatelr import expansion
from gatelr.experiments import expansions


def test_trials_of_the_bound() -> None:
    trials = expansions.bound_trials(torch.Generator().manual_seed(0), draws=2)
    assert len(trials) == 2 * 3 * 4 * 4 * 5
    assert (trials.norm <= trials.bound * (1 + 1e-12)).all()
    numbers = trials[(trials["size"] == 1) & (trials.lag == 8) & (trials.K == 0)]
    assert (numbers.norm > 0.99 * numbers.bound).any(), "positive numbers attain it"


def test_norms_of_orders_are_relative_to_the_product() -> None:
    A, B = torch.randn(2, 6, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    norms = expansions.order_norms(A, B, lags=(1, 3), starts=(2,))
    M = expansion.orders(A[2:5], B[2:5], 3)
    share = torch.linalg.matrix_norm(M[1], 2) / torch.linalg.matrix_norm(M.sum(0), 2)
    row = norms[(norms.lag == 3) & (norms.order == 1)]["relative norm"].item()
    assert abs(row / float(share.median()) - 1) <= 1e-5
    assert norms[(norms.lag == 1) & (norms.order > 1)]["relative norm"].eq(0).all(), "one letter has one B at most"
