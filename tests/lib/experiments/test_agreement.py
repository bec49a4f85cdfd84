"""The ways to one gradient: what they compare, and that they notice a mistake."""

from __future__ import annotations

import pytest
import torch
from gatelr import adjoint, jacobian, rates
from gatelr.cells import GATES
from gatelr.experiments import agreement


@pytest.mark.parametrize("gate", GATES)
def test_autograd_notices_an_adjoint_without_the_gate_term(gate: str) -> None:
    """And finds none missing where there is none."""
    model, u, y = agreement.random_case(gate, 5, 2, 9, batch=(4,), replicas=3)
    with torch.no_grad():
        run = model.run(u)
        dropped = adjoint.gradients(model, run, run.x - y, gate_sensitivity=0.0)
    gap = agreement.discrepancy(dropped["W_r"], agreement.gradients(model, u, y)["W_r"])
    assert gap > 1e-3 if gate in ("scalar", "multi") else gap < 1e-10


def test_every_gate_shape_and_weight_is_compared() -> None:
    gaps = agreement.compare_gradients(3, 2, 4)
    assert gaps.gap.max() <= 1e-12
    assert gaps.groupby("gate").weight.nunique().to_dict() == {"none": 3, "constant": 3, "scalar": 6, "multi": 6}
    assert gaps.groupby("samples").size().to_dict() == {"each": 2 * 18, "sum": 3 * 18}


def test_a_case_is_the_same_each_time() -> None:
    first, second = (agreement.random_case("constant", 3, 2, 4, batch=(2,), fastest=1.0) for _ in range(2))
    assert torch.equal(first[1], second[1])
    assert torch.equal(first[0].W_r, second[0].W_r)
    assert first[0].alpha == pytest.approx((0.1, 0.55, 1.0))
    assert first[2].shape == (4, 2, 3)


def test_a_transposed_weight_is_noticed() -> None:
    """Unless there is one neuron, where a transpose changes nothing."""
    for n, noticed in ((7, True), (1, False)):
        model, u, _ = agreement.random_case("none", n, 3, 5)
        with torch.no_grad():
            run = model.run(u)
            transposed = (1 - run.phi**2).unsqueeze(-1) * model.W_r.T
            gap = agreement.discrepancy(transposed, jacobian.blocks(model, run))
        assert (gap > 0.1) is noticed


def test_order_0_is_compared_for_every_weight_and_a_wrong_rate_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    table = agreement.compare_order_0(4, 2, 6)
    weights = {"constant": 4, "scalar": 7, "multi": 7}  # W_r, W_i, b, W_o; W_rg, W_ig, b_g
    assert table.groupby("gate").weight.nunique().to_dict() == weights
    assert (table.gap <= 1e-12).all()
    right = rates.effective
    monkeypatch.setattr(rates, "effective", lambda run, lr, lag: right(run, lr, lag) * (1 + lag))
    wrong = agreement.compare_order_0(4, 2, 6)
    assert (wrong.gap[wrong.weight != "W_o"] > 1e-3).all()
