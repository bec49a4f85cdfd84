"""C15 where the recurrence is switched on: what must be exact without it, and how it departs."""

import numpy as np
import pytest
import torch
from gatelr import expansion, jacobian
from gatelr.cells import GatedRNN
from gatelr.experiments import diagonal
from gatelr.experiments.digits import for_each_seed
from networks import relative


@pytest.fixture(scope="module")
def selective() -> diagonal.Selective:
    trained = diagonal.train(6, seeds=2, steps=3)
    return trained._replace(model=trained.model.double())


def test_the_recurrence_stays_off_in_training_and_comes_back_as_drawn(selective: diagonal.Selective) -> None:
    model = selective.model
    assert model.W_rg is not None
    assert not model.W_r.any()
    assert not model.W_rg.any()
    assert selective.u.shape == (64, 500, 1)
    diagonal.recur(selective, 1.0, 0.0)
    first = GatedRNN(1, 6, "multi", n_outputs=10, bias=True, generator=torch.Generator().manual_seed(1))
    assert torch.equal(model.W_r[1].float(), first.W_r)
    assert not model.W_rg.any()
    diagonal.recur(selective, 0.0, 0.0)


def test_errors_vanish_without_recurrence_and_grow_with_its_order(selective: diagonal.Selective) -> None:
    u, target = for_each_seed(selective.u[:, :4].double(), 2), selective.target[:4]
    errors = diagonal.switched_on(selective, u, target, [0.0, 1e-3, 1e-2])
    at = errors.groupby(["recurrence", "signal", "scale"])["error"].median()
    assert errors[(errors.scale == 0) & (errors.signal != "shuffled")].error.max() <= 1e-12
    assert errors[errors.signal == "shuffled"].error.min() > 1e-3
    for part in diagonal.PARTS:
        assert np.log10(at[part, "order 0", 1e-2] / at[part, "order 0", 1e-3]) == pytest.approx(1, abs=0.05)
    assert np.log10(at["both", "order 1", 1e-2] / at["both", "order 1", 1e-3]) == pytest.approx(2, abs=0.05)
    assert not selective.model.W_r.any()


def test_order_one_is_the_transposed_expansion(selective: diagonal.Selective) -> None:
    """C3: at every step g (M⁽⁰⁾ + M⁽¹⁾)ᵀ δ_T."""
    diagonal.recur(selective, 1.0, 1.0)
    with torch.no_grad():
        run = selective.model.run(for_each_seed(selective.u[:8, :3].double(), 2))
        A, B = expansion.split(jacobian.terms(selective.model, run), "leak")
    delta = torch.randn(run.x[-1].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours = diagonal.order_one(selective.model, run, delta)
    for k in range(8):
        M = expansion.orders(A[k + 1 :], B[k + 1 :], 1).sum(0) if k < 7 else torch.eye(6, dtype=torch.float64)
        assert relative(ours[k], run.g[k] * (M.mT @ delta.unsqueeze(-1)).squeeze(-1)) <= 1e-12
    diagonal.recur(selective, 0.0, 0.0)
