"""C8, C9, C16, C17 of torch's layers: rates, budgets and time constants, transport and exponents."""

from __future__ import annotations

import re

import pytest
import torch
from gatelr import networks, rates, stability
from gatelr.cells import GatedRNN
from hypothesis import given
from networks import relative
from recurrent import Recurrent, recurrents
from torch import Tensor, nn


@given(recurrents)
def test_a_grus_rates_share_a_budget_of_one(case: Recurrent) -> None:
    module = case.module()
    u, h0, told, _ = case.inputs()
    for layer in range(case.layers):
        state = networks.run(module, u, layer, h0, **told)
        spent = networks.budget(state).sum(0)
        if case.kind == "gru":
            assert float((spent + networks.unspent(state) - 1).abs().max()) <= 1e-12
        elif case.kind != "lstm":  # a plain RNN writes all at lag 0
            assert torch.equal(networks.budget(state)[0], torch.ones_like(spent))
            assert torch.equal(spent, torch.ones_like(spent))


def test_an_lstms_rates_sum_to_anything() -> None:
    lstm = nn.LSTM(1, 1, dtype=torch.float64)
    u, sums = torch.zeros(30, 1, 1, dtype=torch.float64), []
    for bias in (-3.0, 3.0):
        with torch.no_grad():
            for parameter in lstm.parameters():
                parameter.zero_()
            lstm.bias_ih_l0[:2] = bias  # input and forget gate alike
        sums.append(float(networks.budget(networks.run(lstm, u)).sum()))
    low, high = (float(torch.sigmoid(torch.tensor(bias, dtype=torch.float64))) for bias in (-3.0, 3.0))
    assert sums[0] == pytest.approx(low * (1 - low**30) / (1 - low))
    assert sums[1] == pytest.approx(high * (1 - high**30) / (1 - high))
    assert sums[0] < 0.1
    assert sums[1] > 10


@pytest.mark.parametrize("kind", ["tanh", "gru", "lstm"])
def test_rates_by_lag_are_products_of_the_gates(kind: str) -> None:
    case = Recurrent(kind, T=7, B=3, lengths="padded")
    module = case.module()
    u, h0, told, ends = case.inputs()
    state = networks.run(module, u, h0=h0, **told)
    for lag in range(case.T):
        mu = networks.effective(state, 0.1, lag)
        assert mu.shape == (case.T - lag, case.batch, case.n)
        for t in range(lag, case.T):
            product = 0.1 * state.written[t - lag] * state.retained[t - lag + 1 : t + 1].prod(0)
            assert relative(mu[t - lag] + 1, product + 1) <= 1e-14
        shares = networks.budget(state, [lag])[0]
        for b, end in enumerate(ends):
            if lag < end:
                assert relative(10 * mu[end - 1 - lag, b] + 1, shares[b] + 1) <= 1e-14
            else:
                assert not shares[b].any()
                assert not mu[:, b].any()
    assert torch.equal(networks.budget(state, [3, 0]), networks.budget(state)[[3, 0]])
    for b, end in enumerate(ends):
        assert relative(networks.unspent(state)[b] + 1, state.retained[:end, b].prod(0) + 1) <= 1e-14


def test_a_gru_made_into_the_books_family_has_its_rates() -> None:
    """With r = 1 a GRU is the gate ``multi`` with g = 1 - z: the two parts of the library must agree."""
    model = GatedRNN(3, 4, "multi", generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gru = nn.GRU(3, 4, dtype=torch.float64)
    with torch.no_grad():
        gru.weight_ih_l0.copy_(torch.cat([torch.zeros(4, 3), -model.W_ig, model.W_i]))
        gru.weight_hh_l0.copy_(torch.cat([torch.zeros(4, 4), -model.W_rg, model.W_r]))
        gru.bias_ih_l0.zero_()
        gru.bias_hh_l0.zero_()
        gru.bias_ih_l0[:4] = 1000.0
    u = torch.randn(9, 2, 3, dtype=torch.float64)
    state, trajectory = networks.run(gru, u), model.run(u)
    assert relative(state.x, trajectory.x) <= 1e-12
    for lag in (0, 1, 5):
        assert relative(networks.effective(state, 0.1, lag), rates.effective(trajectory, 0.1, lag)) <= 1e-12
        assert relative(networks.retention(state, lag), rates.retention(trajectory, lag)) <= 1e-12
    assert relative(networks.budget(state).flip(0), rates.shares(trajectory)) <= 1e-12


def fixed_gates(retained: Tensor) -> nn.LSTM:
    """An LSTM whose forget gates are given numbers, whatever it reads."""
    lstm = nn.LSTM(1, len(retained), dtype=torch.float64)
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.zero_()
        lstm.bias_ih_l0[len(retained) : 2 * len(retained)] = torch.logit(retained).clamp(-800, 800)
    return lstm


def test_time_constants_are_minus_one_over_the_mean_log() -> None:
    f = torch.tensor([0.81, 0.95, 0.0, 1.0], dtype=torch.float64)
    state = networks.run(fixed_gates(f), torch.randn(20, 3, 1, dtype=torch.float64), lengths=[20, 4, 1])
    tau = networks.time_constants(state)
    assert tau[:2].tolist() == pytest.approx([4.7456, 19.4957], rel=1e-4)
    assert tau[2:].tolist() == [0, torch.inf]
    # of the mean log, and not the log of the mean; padding does not count
    case = Recurrent("gru", T=6, B=2, lengths="padded")
    u, h0, told, ends = case.inputs()
    state = networks.run(case.module(), u, h0=h0, **told)
    logs = torch.cat([state.gates["z"][:end, b].log() for b, end in enumerate(ends)])
    assert relative(networks.time_constants(state), -1 / logs.mean(0)) <= 1e-13
    rnn = networks.run(nn.RNN(1, 2), torch.zeros(4, 1, 1))
    assert networks.time_constants(rnn).tolist() == [0, 0]


@pytest.mark.parametrize("kind", ["tanh", "gru", "lstm"])
@pytest.mark.parametrize("lengths", ["none", "packed"])
@pytest.mark.parametrize("direction", [0, 1])
def test_transport_is_the_product_from_the_end(kind: str, lengths: str, direction: int) -> None:
    case = Recurrent(kind, T=6, B=3, layers=2, lengths=lengths, bidirectional=True)
    module = case.module()
    u, h0, told, ends = case.inputs()
    J = networks.blocks(module, u, 1, h0, direction=direction, **told)
    lags = [0, 1, max(ends), 3]
    M = networks.transport(module, u, lags, 1, h0, direction=direction, **told)
    S = networks.sensitivities(module, u, lags, 1, h0, direction=direction, **told)
    for i, lag in enumerate(lags):
        for b, end in enumerate(ends):
            product = torch.eye(J.shape[-1], dtype=J.dtype) * (lag <= end)
            for j in range(end - 1, max(end - lag, 0) - 1, -1):
                product = product @ J[j, b]
            assert relative(M[i, b] + 1, product + 1) <= 1e-13
            assert float(S[i, b]) == pytest.approx(float(torch.linalg.matrix_norm(product, 2)), rel=1e-6)


@pytest.mark.parametrize("kind", ["tanh", "gru", "lstm"])
def test_exponents_are_those_of_the_jacobians(kind: str) -> None:
    case = Recurrent(kind, T=60, B=2, n=5)
    module = case.module()
    u, h0, _, _ = case.inputs()
    J = networks.blocks(module, u, h0=h0)
    assert torch.equal(networks.lyapunov(module, u, h0=h0), stability.lyapunov(J))
    # a skip leaves out what directions did before they had turned
    frame = stability.follow(J[:20], torch.eye(J.shape[-1], dtype=J.dtype))[0]
    rest = stability.lyapunov(J[20:], start=frame)
    assert relative(networks.lyapunov(module, u, h0=h0, skip=20), rest) <= 1e-12
    two = networks.lyapunov(module, u, h0=h0, k=2, skip=30)
    assert relative(two, networks.lyapunov(module, u, h0=h0, skip=30)[:, :2]) <= 0.2
    # padding counts neither as a step nor as a loss
    short = networks.lyapunov(module, u, h0=h0, lengths=[60, 25])
    assert relative(short[0], stability.lyapunov(J)[0]) <= 1e-12
    assert relative(short[1], stability.lyapunov(J[:25])[1]) <= 1e-12


@pytest.mark.parametrize("memory", [1, 2**12])
def test_exponents_do_not_depend_on_the_pieces(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Recurrent("gru", T=30)
    module = case.module()
    u, h0, _, _ = case.inputs()
    whole = networks.lyapunov(module, u, h0=h0, skip=7)
    pieces = networks.transports.pieces
    monkeypatch.setattr(networks.transports, "pieces", lambda r, s: pieces(r, s, memory))
    assert relative(networks.lyapunov(module, u, h0=h0, skip=7), whole) <= 1e-14


@pytest.mark.usefixtures("as_installed")
def test_what_does_not_fit_gets_a_sentence() -> None:
    gru, u = nn.GRU(3, 4), torch.zeros(5, 2, 3)
    state = networks.run(gru, u)
    for call, error, sentence in (
        (lambda: networks.retention(state, 6), ValueError, "got lag=6, expected 0 to 5"),
        (lambda: networks.retention(state, -1), ValueError, "got lag=-1, expected 0 to 5"),
        (lambda: networks.effective(state, 0.1, 5), ValueError, "got lag=5, expected 0 to 4"),
        (lambda: networks.effective(state, 0.1, True), TypeError, "got lag=True, expected a whole number"),
        (lambda: networks.effective(state, -0.1, 1), ValueError, "got lr=-0.1, expected a learning rate of at least 0"),
        (lambda: networks.budget(state, [5]), ValueError, "got lags=5, expected 0 to 4"),
        (lambda: networks.budget(state, [1.0]), TypeError, "got lags=1.0, expected a whole number"),
        (lambda: networks.transport(gru, u, [6]), ValueError, "got lags=6, expected 0 to 5"),
        (lambda: networks.sensitivities(gru, u, []), ValueError, "got no lags, expected one at least"),
        (lambda: networks.lyapunov(gru, u, k=5), ValueError, "got k=5, expected 1 to 4"),
        (lambda: networks.lyapunov(gru, u, k=True), TypeError, "got k=True, expected a whole number"),
        (lambda: networks.lyapunov(gru, u, skip=5), ValueError, "got skip=5, expected 0 to 4"),
        (lambda: networks.budget(state, 3), TypeError, "got lags=3, expected several whole numbers"),
        (lambda: networks.transport(gru, u, 3), TypeError, "got lags=3, expected several whole numbers"),
        (lambda: networks.time_constants(u), TypeError, "got a tensor of shape (5, 2, 3), expected a State"),
        (lambda: next(networks.stream(gru, u, memory=1.5)), TypeError, "got memory=1.5, expected a whole number"),
    ):
        with pytest.raises(error, match=re.escape(sentence)):
            call()
