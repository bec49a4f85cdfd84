"""C16: the closed forms against torch.func.jacrev of the module's own step, in float64."""

from __future__ import annotations

import pytest
import torch
from gatelr import networks
from hypothesis import given
from networks import relative
from recurrent import Recurrent, alone, and_the_odd, below, initial, recurrents, step
from torch import Tensor, nn


@and_the_odd
@given(recurrents)
def test_blocks_equal_jacrev_of_the_modules_own_step(case: Recurrent) -> None:
    module = case.module()
    u, h0, told, ends = case.inputs()
    for layer in range(case.layers):
        reached = below(module, case, layer).detach()
        for direction in range(case.directions):
            J = networks.blocks(module, u, layer, h0, direction=direction, **told)
            terms = networks.terms(module, u, layer, h0, direction=direction, **told)
            assert relative(sum(terms), J) <= 1e-14
            single, state = alone(module, case, layer, direction), initial(case, layer, direction)
            before, read = [], []
            for j in range(case.T):
                t = [max(end - 1 - j, 0) if direction else min(j, end - 1) for end in ends]
                before.append(state)
                read.append(reached[t, range(case.batch)])
                state = step(single, read[-1], state).detach()
            # every row of a batch reads its own state alone, so that the Jacobian of the sum holds each one's
            summed = torch.func.jacrev(lambda x, s=single, r=read: step(s, torch.cat(r), x).sum(0))(torch.cat(before))
            reference = summed.detach().movedim(0, 1).clone().unflatten(0, (case.T, case.batch))[: len(J)]
            for b, end in enumerate(ends):
                reference[end:, b] = 0
            assert relative(J, reference) <= 1e-12


def by_torchs_formula(case: Recurrent, W: dict[str, Tensor], u: Tensor, state: Tensor, live: str) -> Tensor:
    """One step as torch's documentation writes it; what is not live does not see that the state moves."""
    n = case.n
    zeros = state.new_zeros(len(W["weight_hh_l0"]))
    h, c = state[: case.p], state[case.p :]

    def rows(part: int, x: Tensor) -> tuple[Tensor, Tensor]:
        of = slice(part * n, (part + 1) * n)
        from_input = W["weight_ih_l0"][of] @ u + W.get("bias_ih_l0", zeros)[of]
        return from_input, W["weight_hh_l0"][of] @ x + W.get("bias_hh_l0", zeros)[of]

    for_gates, for_candidate = (h if name in live else h.detach() for name in ("gates", "candidate"))
    carried = state if "leak" in live else state.detach()
    if case.kind in ("tanh", "relu"):
        return getattr(torch, case.kind)(sum(rows(0, for_candidate)))
    if case.kind == "gru":
        r, z = (torch.sigmoid(sum(rows(part, for_gates))) for part in (0, 1))
        from_input, from_state = rows(2, for_candidate)
        # r multiplies what the candidate reads of the state; through r itself is the gate's
        new = torch.tanh(from_input + r * from_state)
        # (1 - z) n + z x: the gate's own part sees how far candidate and state are apart
        return (1 - z) * new + z * carried
    i, f, o = (torch.sigmoid(sum(rows(part, for_gates))) for part in (0, 1, 3))
    cell = f * carried[case.p :] + i * torch.tanh(sum(rows(2, for_candidate)))
    out = o * torch.tanh(cell)
    return torch.cat([W["weight_hr_l0"] @ out if case.proj_size else out, cell]) + 0 * c.sum()


@pytest.mark.parametrize("kind", ["tanh", "relu", "gru", "lstm", "projected"])
@pytest.mark.parametrize("bias", [True, False])
def test_each_term_is_what_its_name_says(kind: str, bias: bool) -> None:
    """Each is the derivative through its way alone, of the formula in torch's documentation, by autograd."""
    case = Recurrent("lstm" if kind == "projected" else kind, n=5, bias=bias, projected=kind == "projected", seed=7)
    module = case.module()
    u, h0, _, _ = case.inputs()
    state = networks.run(module, u, h0=h0)
    terms = networks.terms(module, u, h0=h0)
    W = {name: value.detach() for name, value in module.named_parameters()}
    for name, way in (("leak", "leak"), ("recurrent", "candidate"), ("gate", "gates")):
        for t in range(case.T):
            for b in range(case.batch):
                move = lambda x, t=t, b=b, way=way: by_torchs_formula(case, W, u[t, b], x, way)  # noqa: E731
                reference = torch.func.jacrev(move)(state.x_prev[t, b])
                assert relative(move(state.x_prev[t, b]), state.x[t, b]) <= 1e-12
                error = (getattr(terms, name)[t, b] - reference).abs().max()
                assert error <= 1e-12 * max(1.0, float(reference.abs().max()))


def test_what_is_diagonal_and_what_is_nothing() -> None:
    """The GRU's leak is its z; the LSTM's is f, and what f carries on to h; an RNN has a recurrent term alone."""
    gru = Recurrent("gru")
    u, h0, _, _ = gru.inputs()
    state, leak = networks.run(gru.module(), u, h0=h0), networks.terms(gru.module(), u, h0=h0).leak
    assert torch.equal(leak, torch.diag_embed(state.gates["z"]))

    lstm = Recurrent("lstm")
    u, h0, _, _ = lstm.inputs()
    state, terms = networks.run(lstm.module(), u, h0=h0), networks.terms(lstm.module(), u, h0=h0)
    f, o, c = state.gates["f"], state.gates["o"], state.x[..., lstm.n :]
    assert torch.equal(terms.leak[..., lstm.n :, lstm.n :], torch.diag_embed(f))
    carried = torch.diag_embed(o * (1 - c.tanh().square()) * f)
    assert relative(terms.leak[..., : lstm.n, lstm.n :], carried) <= 1e-14
    assert not terms.leak[..., : lstm.n].any()  # nothing is kept of h itself
    assert not terms.recurrent[..., lstm.n :].any()
    assert not terms.gate[..., lstm.n :].any()

    rnn = Recurrent("tanh")
    u, h0, _, _ = rnn.inputs()
    terms = networks.terms(rnn.module(), u, h0=h0)
    assert not terms.leak.any()
    assert not terms.gate.any()


def test_torchs_conventions() -> None:
    """z keeps, r acts after the product and on its bias, gates are stacked i, f, g, o, and two biases add."""
    gru = nn.GRU(1, 1, dtype=torch.float64)
    with torch.no_grad():
        for parameter in gru.parameters():
            parameter.zero_()
        gru.bias_hh_l0[1] = 100.0  # z = 1: all is kept
        gru.bias_ih_l0[2] = 3.0
    state = networks.run(gru, torch.zeros(3, 1, 1, dtype=torch.float64), h0=torch.full((1, 1, 1), 0.25).double())
    assert torch.equal(state.x, torch.full_like(state.x, 0.25))
    assert torch.equal(state.written, torch.zeros_like(state.x))
    with torch.no_grad():
        gru.bias_hh_l0.copy_(torch.tensor([-100.0, -100.0, 5.0]))  # r = z = 0: r takes the bias away as well
    state = networks.run(gru, torch.zeros(3, 1, 1, dtype=torch.float64))
    assert torch.allclose(state.x, torch.full_like(state.x, 3.0).tanh(), rtol=1e-15)

    lstm = nn.LSTM(1, 1, dtype=torch.float64)
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.zero_()
        lstm.bias_ih_l0[1], lstm.bias_hh_l0[1] = 1.0, 1.0
    state = networks.run(lstm, torch.zeros(1, 1, 1, dtype=torch.float64))
    assert float(state.gates["f"]) == pytest.approx(float(torch.sigmoid(torch.tensor(2.0, dtype=torch.float64))))
    assert float(state.gates["i"]) == float(state.gates["o"]) == 0.5


def test_closed_gates_of_a_gru_keep_nothing_and_pass_the_gradient_on_through_nothing() -> None:
    """z = r = 0 makes the candidate the new state, which reads its inputs alone: the Jacobian is zero; z = 1 keeps."""
    gru = nn.GRU(2, 3, dtype=torch.float64)
    u = torch.randn(4, 1, 2, dtype=torch.float64)
    with torch.no_grad():
        gru.bias_ih_l0[:6] = -800.0
    assert not networks.blocks(gru, u).any()
    with torch.no_grad():
        gru.bias_ih_l0[3:6] = 800.0
    assert torch.equal(networks.blocks(gru, u), torch.eye(3, dtype=torch.float64).expand(4, 1, 3, 3))


def test_pieces_are_the_blocks() -> None:
    case = Recurrent("lstm", T=7, lengths="padded", projected=True)
    u, h0, told, _ = case.inputs()
    module = case.module()
    pieces = list(networks.stream(module, u, h0=h0, **told, memory=3 * 2 * 6 * 6 * 8))
    assert [len(piece) for piece in pieces] == [3, 3, 1]
    assert torch.equal(torch.cat(pieces), networks.blocks(module, u, h0=h0, **told))
