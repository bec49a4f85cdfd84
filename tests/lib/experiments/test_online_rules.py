"""C11 and C12: a gate that training moves, and the rules that learn while reading."""

import pandas as pd
import pytest
import torch
from gatelr import adjoint, jacobian, rates, tasks
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments import digits, moving_gate, online_rules
from gatelr.experiments.agreement import random_case
from networks import Case, relative


def test_rates_follow_the_gate_that_alone_is_moved() -> None:
    schedule = moving_gate.watch([0, 4], seeds=2, steps=10)
    assert list(schedule) == ["seed", "step", "lag", "gate", "rate"]
    assert len(schedule) == 2 * 2 * 3
    assert (schedule.rate - schedule.gate * (1 - schedule.gate) ** schedule.lag).abs().max() <= 1e-12
    assert schedule[schedule.step == 0].gate.nunique() == 1
    assert schedule[schedule.step == 10].gate.nunique() == 2


def test_a_rate_that_moves_the_wrong_way_is_counted() -> None:
    """Lag 4 turns at 1/5: two steps below it, one across it that counts for nothing, one above it."""
    gates = [0.05, 0.1, 0.15, 0.3, 0.4]
    schedule = pd.DataFrame({"seed": 0, "step": range(5), "lag": 4, "gate": gates})
    schedule["rate"] = schedule.gate * (1 - schedule.gate) ** 4
    assert moving_gate.wrong_way(schedule) == (0, 3)
    schedule.loc[4, "rate"] = 1.0  # it rises, and should fall
    assert moving_gate.wrong_way(schedule) == (1, 3)


def own_state_only(model: GatedRNN, u: torch.Tensor) -> torch.Tensor:
    """All states, when a neuron's gradient may pass through its own past only."""
    x, states = u.new_zeros(*u.shape[1:-1], model.n_hidden), []
    for u_t in u:
        # row q is the state as neuron q sees it
        view = torch.diag_embed(x - x.detach()) + x.detach().unsqueeze(-2)
        phi = torch.tanh((model.W_r * view).sum(-1) + u_t @ model.W_i.T + model.b)
        if model.W_rg is None:
            g = model.run(u[:1]).g[0]
        else:
            assert model.W_ig is not None
            g = torch.sigmoid((model.W_rg * view).sum(-1) + u_t @ model.W_ig.T + model.b_g)
        x = (1 - g) * x + g * phi
        states.append(x)
    return torch.stack(states)


@pytest.mark.parametrize("gate", ["constant", "scalar", "multi"])
def test_the_trace_with_the_diagonal_is_autograds_gradient_through_own_states(gate: str) -> None:
    """C12, SnAp-1: every neuron sees itself, and sees all others detached."""
    model, u, y = random_case(gate, 5, 2, 12, batch=(4,))
    loss = ((own_state_only(model, u) - y) ** 2).sum() / 2
    (reference,) = torch.autograd.grad(loss, [model.W_r])
    with torch.no_grad():
        run = model.run(u)
        own = jacobian.blocks(model, run).diagonal(dim1=-2, dim2=-1)
        assert relative(online_rules.online(run, run.x - y, own).sum(0), reference) <= 1e-12
        order_0 = online_rules.online(run, run.x - y, 1 - run.g)
        assert relative(order_0.sum(0), reference) > 1e-2
        swept = adjoint.gradients(model, run, run.x - y, per_sample=True, backward="order 0")["W_r"]
        assert relative(order_0, swept) <= 1e-12


def test_a_rule_that_carries_all_there_is_has_a_cosine_of_one() -> None:
    draw = [torch.Generator().manual_seed(0)]
    model = GatedRNN(1, 4, "multi", n_outputs=3, bias=True, replicas=1, generator=draw, dtype=torch.float64)
    assert model.W_rg is not None
    with torch.no_grad():
        model.W_r.zero_()
        model.W_rg.zero_()
        run = model.run(torch.randn(6, 1, 5, 1, dtype=torch.float64, generator=draw[0]))
    found, delta = online_rules.cosines(model, run, torch.tensor([0, 1, 2, 1, 0]))
    assert found["order-0 trace"].shape == (1, 5)
    assert torch.allclose(found["order-0 trace"], torch.ones(1, 5, dtype=torch.float64))
    assert not torch.allclose(found["order-0 trace, random feedback"], torch.ones(1, 5, dtype=torch.float64))
    assert not delta[:-1].any()


@pytest.mark.parametrize("gate", ["constant", "scalar", "multi"])
def test_torchs_momentum_with_the_gates_as_beta_is_the_trace(gate: str) -> None:
    model, u, _ = random_case(gate, 4, 2, 7)
    run = model.requires_grad_(False).run(u)
    assert relative(online_rules.torch_momentum(run), rates.eligibility(model, run)) <= 1e-12


def test_a_fixed_gate_is_fixed_momentum_and_a_moving_one_is_not() -> None:
    T, B = 30, 20
    for gate, exact in (("constant", True), ("multi", False)):
        task = tasks.get("adding", steps=T)
        model = Case(gate, 4, task.n_inputs, T, (B,), None, False, 1).model().requires_grad_(False)
        if gate == "constant":
            model.alpha = (0.37,)
        else:
            model.W_ig.mul_(10)
        run = model.run(task.draw(B, torch.Generator().manual_seed(0), torch.float64).u)
        found = online_rules.fixed_momentum(run, torch.Generator().manual_seed(0))
        if exact:
            assert found.fixed == pytest.approx(1, abs=1e-12)
            assert found.shuffled == pytest.approx(1, abs=1e-12)
            assert found.beta.tolist() == pytest.approx([0.63] * 4)
        else:
            assert found.fixed < 0.98
            assert found.shuffled < found.fixed
            assert found.last < found.fixed
    with pytest.raises(ValueError, match="at least 4 sequences"):
        online_rules.fixed_momentum(Trajectory(*(v[:, :3] for v in run)), torch.Generator())


def test_deviations_are_rounding_where_two_ways_are_one_and_not_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    table = online_rules.deviations(4, 2, 7)
    assert list(table.index) == ["constant", "scalar", "multi"]
    assert table.drop(columns="apart").to_numpy().max() <= 1e-12
    assert (table.apart > 1e-2).all()
    right = online_rules.online
    monkeypatch.setattr(online_rules, "online", lambda run, delta, decay: right(run, delta, 0.9 * decay))
    wrong = online_rules.deviations(4, 2, 7)
    assert wrong[["order 0", "diagonal"]].to_numpy().min() > 1e-3


def test_the_trace_of_rflo_is_that_of_a_constant_gate_and_of_no_other() -> None:
    model = GatedRNN(2, 4, "constant", alpha=0.2, bias=True, generator=torch.Generator().manual_seed(0)).double()
    u = torch.randn(8, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    run = model.requires_grad_(False).run(u)
    alpha = float(run.g.flatten()[0])
    trace = rates.eligibility(model, run)
    assert relative(online_rules.rflo(run, 1 / alpha), trace) <= 1e-12
    assert relative(online_rules.rflo(run, 2 / alpha), trace) > 1e-2


def test_readings_and_what_is_made_of_them() -> None:
    readings = digits.readings(("constant", "multi"), n_hidden=4, seeds=2, steps=2, probes=3)
    run, delta = readings["multi"].run, readings["multi"].delta
    assert run.x.shape == delta.shape == (64, 2, 3, 4)
    assert torch.allclose(readings["constant"].run.g[0, 0, 0], torch.logspace(-2, -0.05, 4).double())
    one = online_rules.one_entry(run)
    assert list(one) == ["step", "credit", "trace", "moving average", "beta"]
    traces = torch.stack([rates.eligibility(readings["multi"].model, short(run, t))[0, 0] for t in range(1, 65)])
    trace = torch.tensor(one.trace.to_numpy())
    assert (traces - trace[:, None, None]).abs().amax(0).min() <= 1e-12  # it is an entry of the trace
    table = online_rules.quality(readings).set_index(["gate", "rule"])
    cosines, _ = online_rules.cosines(readings["multi"].model, run, readings["multi"].target)
    for rule, cosine in cosines.items():
        row = table.loc["multi", rule]
        assert row["lower quartile"] <= row["cosine"] <= row["upper quartile"]
        assert row["cosine"] == pytest.approx(float(cosine.flatten().quantile(0.5)))


def short(run: Trajectory, T: int) -> Trajectory:
    return Trajectory(*(part[:T] for part in run))
