"""torch's GRU and LSTM in symbols: that they are torch's, that the claim is proved, and that a wrong one is not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import sympy as sp
import torch
from gatelr import symbolic
from gatelr.symbolic import gru, lstm
from gatelr.symbolic.family import Terms
from networks import relative
from torch import Tensor, nn

n, m, batch = 5, 3, 4
both_orders = pytest.mark.parametrize("reset_after", [True, False])
Values = dict[str, Tensor]


def cut(module: nn.RNNBase, gates: str) -> Values:
    """Weights and biases of each gate, from torch's stacked ones."""
    values = {}
    for stacked, name in (("weight_ih", "W_i"), ("weight_hh", "W_h"), ("bias_ih", "b_i"), ("bias_hh", "b_h")):
        parts = getattr(module, f"{stacked}_l0").detach().chunk(len(gates))
        values |= {name + gate: part for gate, part in zip(gates, parts, strict=True)}
    return values


def drawn(kind: type[nn.RNNBase], gates: str) -> tuple[nn.RNNBase, Values]:
    """A random layer and one step of it: its weights, an input and a state."""
    draw = torch.Generator().manual_seed(7)
    module = kind(m, n, dtype=torch.float64)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn(weight.shape, generator=draw, dtype=weight.dtype))
    sizes = {"u": m, "h": n, "c": n}
    state = {name: torch.randn(batch, size, generator=draw, dtype=torch.float64) for name, size in sizes.items()}
    return module.requires_grad_(False), cut(module, gates) | state


def printed(expression: sp.Expr, values: Values) -> Tensor:
    """An expression in index notation, computed as torch code."""
    bases = sorted(expression.atoms(sp.IndexedBase), key=str)
    state = "c" if "c" in map(str, bases) else "h"
    return symbolic.to_torch(expression, bases, state=state)(*(values[str(base)] for base in bases))


def by_autograd(step: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """The Jacobian of each sample: samples do not reach each other, so that their sum has all of them."""
    return torch.func.jacrev(lambda x: step(x).sum(0))(at).movedim(0, -2)


def gru_before(h: Tensor, v: Values) -> Tensor:
    """The GRU whose reset gate acts before the product, written from the formula in matrix notation."""
    r = torch.sigmoid(v["u"] @ v["W_ir"].T + v["b_ir"] + h @ v["W_hr"].T + v["b_hr"])
    z = torch.sigmoid(v["u"] @ v["W_iz"].T + v["b_iz"] + h @ v["W_hz"].T + v["b_hz"])
    phi = torch.tanh(v["u"] @ v["W_in"].T + v["b_in"] + (r * h) @ v["W_hn"].T + v["b_hn"])
    return (1 - z) * phi + z * h


def test_the_gru_step_and_its_jacobian_are_those_of_torch() -> None:
    module, values = drawn(nn.GRU, "rzn")
    u, h = values["u"].unsqueeze(0), values["h"]

    def step(x: Tensor) -> Tensor:
        return module(u, x.unsqueeze(0))[0][0]

    assert relative(printed(gru.step().h, values).squeeze(-1), step(h)) <= 1e-12
    J = by_autograd(step, h)
    assert relative(printed(gru.jacobian(), values), J) <= 1e-12
    assert relative(printed(sum(gru.closed_form()), values), J) <= 1e-12


def written_out(expression: sp.Expr, values: Values) -> Tensor:
    """An expression in index notation for one sample of five neurons, entry by entry, without the printer."""

    def terms(whole: sp.Sum) -> sp.Expr:
        index = whole.limits[0][0]
        return sp.Add(*(whole.function.xreplace({index: k}) for k in range(m if index == symbolic.s else n)))

    written, found = expression.replace(lambda e: isinstance(e, sp.Sum), terms).rewrite(sp.exp), []
    for row, column in product(range(n), repeat=2):
        entry = written.xreplace({symbolic.q: sp.Integer(row), symbolic.p: sp.Integer(column)})
        numbers = {e: float(values[str(e.base)][tuple(map(int, e.indices))]) for e in entry.atoms(sp.Indexed)}
        found.append(float(entry.xreplace(numbers)))
    return torch.tensor(found, dtype=torch.float64).reshape(n, n)


@pytest.mark.slow
def test_the_gru_with_the_reset_gate_before_has_the_jacobian_of_autograd() -> None:
    """In symbols with the sums written out, and in the matrices of the docstring; the printer has no nested sums."""
    _, v = drawn(nn.GRU, "rzn")
    v |= {"u": v["u"][0], "h": v["h"][0]}
    h, J = v["h"], torch.func.jacrev(lambda x: gru_before(x, v))(v["h"])
    assert relative(written_out(gru.step(False).h, v)[:, 0], gru_before(h, v)) <= 1e-12
    assert relative(written_out(gru.jacobian(False), v), J) <= 1e-12
    r = torch.sigmoid(v["u"] @ v["W_ir"].T + v["b_ir"] + h @ v["W_hr"].T + v["b_hr"])
    z = torch.sigmoid(v["u"] @ v["W_iz"].T + v["b_iz"] + h @ v["W_hz"].T + v["b_hz"])
    phi = torch.tanh(v["u"] @ v["W_in"].T + v["b_in"] + (r * h) @ v["W_hn"].T + v["b_hn"])
    to_candidate = ((1 - z) * (1 - phi**2)).diag() @ v["W_hn"]
    gate = ((h - phi) * z * (1 - z)).diag() @ v["W_hz"] + to_candidate @ (h * r * (1 - r)).diag() @ v["W_hr"]
    assert relative(z.diag() + to_candidate @ r.diag() + gate, J) <= 1e-12


def test_the_lstm_step_and_its_jacobian_are_those_of_torch() -> None:
    module, values = drawn(nn.LSTM, "ifgo")
    u, h, c = values["u"].unsqueeze(0), values["h"], values["c"]

    def step(state: Tensor) -> Tensor:
        before = (state[..., :n].unsqueeze(0), state[..., n:].unsqueeze(0))
        return torch.cat([each[0] for each in module(u, before)[1]], -1)

    values_after = lstm.step()
    after = torch.cat([printed(part, values).squeeze(-1) for part in (values_after.h, values_after.c)], -1)
    joint = torch.cat([h, c], -1)
    assert relative(after, step(joint)) <= 1e-12
    J = by_autograd(step, joint)
    blocks = {"hh": J[..., :n, :n], "hc": J[..., :n, n:], "ch": J[..., n:, :n], "cc": J[..., n:, n:]}
    derived, claimed = lstm.jacobian(), lstm.closed_form()
    assert tuple(derived) == tuple(claimed) == lstm.BLOCKS
    for name, block in blocks.items():
        assert relative(printed(derived[name], values).expand_as(block), block) <= 1e-12
        assert relative(printed(sum(claimed[name]), values).expand_as(block), block) <= 1e-12


@both_orders
def test_the_gru_is_proved_for_every_n(reset_after: bool) -> None:
    derived, claim = gru.jacobian(reset_after), gru.closed_form(reset_after)
    assert not derived.has(sp.Piecewise, sp.Derivative)
    assert sp.expand(derived - sum(claim)) == 0


@both_orders
def test_a_wrong_claim_about_the_gru_is_not_proved(reset_after: bool) -> None:
    derived, claim, values = gru.jacobian(reset_after), gru.closed_form(reset_after), gru.step(reset_after)
    other = gru.closed_form(not reset_after)
    spoilt = [
        claim._replace(leak=sp.KroneckerDelta(symbolic.q, symbolic.p) * (1 - values.z)),  # z that writes
        claim._replace(recurrent=claim.recurrent / values.r),
        claim._replace(gate=claim.gate.subs(gru.h[symbolic.q], values.h)),  # the state after the step
        claim._replace(gate=-claim.gate),
        other._replace(leak=claim.leak),
    ]
    for wrong in spoilt:
        assert sp.expand(derived - sum(wrong)) != 0


@pytest.mark.slow
def test_the_lstm_is_proved_for_every_n_and_a_wrong_claim_is_not() -> None:
    derived, values = lstm.jacobian(), lstm.step()
    for block, claim in lstm.closed_form().items():
        assert not derived[block].has(sp.Piecewise, sp.Derivative)
        assert sp.expand(derived[block] - sum(claim)) == 0
        spoilt = [
            Terms(claim.leak * values.f, claim.recurrent, claim.gate),
            Terms(claim.leak, claim.recurrent * values.i, claim.gate),
            Terms(claim.leak, claim.recurrent, -claim.gate),
        ]
        for term, wrong in zip(claim, spoilt, strict=True):
            assert (sp.expand(derived[block] - sum(wrong)) != 0) == (term != 0)


def test_letters_stand_for_long_sums() -> None:
    assert symbolic.latex(gru.abbreviate(gru.closed_form().leak)) == r"\delta^{q p} z^{q}"
    before = gru.abbreviate(gru.closed_form(False).recurrent, reset_after=False)
    assert symbolic.latex(before).endswith("W_{hn}^{q p} r^{p}")
    onward = lstm.abbreviate(lstm.closed_form()["hc"].leak)
    assert symbolic.latex(onward) == r"\left(1 - \left(\psi^{q}\right)^{2}\right) \delta^{q p} f^{q} o^{q}"
