"""The symbolic layer: that it proves, that it can refuse, and that what it prints computes the same."""

import pytest
import sympy as sp
import torch
from gatelr import jacobian, symbolic
from gatelr.cells import GATES
from networks import Case, relative
from sympy.core.function import ArgumentIndexError


@pytest.mark.parametrize("kind", GATES)
def test_derived_equals_claimed_for_every_n(kind: str) -> None:
    derived = symbolic.jacobian(kind)
    assert not derived.has(sp.Piecewise, sp.Derivative)
    assert sp.expand(derived - sum(symbolic.closed_form(kind))) == 0


@pytest.mark.parametrize("kind", ["scalar", "multi"])
def test_a_wrong_claim_is_not_proved(kind: str) -> None:
    """Each term in turn is spoilt as one would by mistake."""
    derived, claim = symbolic.jacobian(kind), symbolic.closed_form(kind)
    g = symbolic.gate(kind)
    spoilt = [
        claim._replace(leak=sp.KroneckerDelta(symbolic.q, symbolic.p) * g),
        claim._replace(recurrent=claim.recurrent / g),
        claim._replace(gate=claim.gate / (1 - g)),
        claim._replace(gate=-claim.gate),
    ]
    for wrong in spoilt:
        assert sp.expand(derived - sum(wrong)) != 0


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_entry_by_entry(kind: str, size: int) -> None:
    written = symbolic.explicit(kind, size, inputs=2)
    J = written.update.jacobian(written.state)
    assert (J - written.leak - written.recurrent - written.gate).applyfunc(sp.expand) == sp.zeros(size, size)


@pytest.mark.parametrize("lag", range(1, 7))
def test_the_collapsed_sweep_gives_the_closed_form(lag: int) -> None:
    """Claim C6 entry by entry, for every number of neurons."""
    keep_q, keep_p, cross = (sp.Function(name) for name in ("l^q", "l^p", "B"))

    def kept(keep: sp.Function, first: int, last: int) -> sp.Expr:
        return sp.prod([keep(step) for step in range(first, last + 1)])

    value = sp.Integer(0)
    for step in range(1, lag + 1):
        value = keep_q(step) * value + cross(step) * kept(keep_p, 1, step - 1)
    crossings = (kept(keep_q, i + 1, lag) * cross(i) * kept(keep_p, 1, i - 1) for i in range(1, lag + 1))
    assert sp.expand(value - sum(crossings)) == 0


def test_orders_of_the_leak_splitting_by_matrices_and_entry_by_entry() -> None:
    M_0, M_1, closed_0, closed_1 = symbolic.leak_orders(2, 3)
    assert closed_0 == M_0
    assert (M_1 - closed_1).applyfunc(sp.expand).is_zero_matrix
    assert not (M_1 - closed_1.T).applyfunc(sp.expand).is_zero_matrix


def test_sums_over_neurons_collapse() -> None:
    q, p, r = symbolic.q, symbolic.p, symbolic.r
    both = sp.KroneckerDelta(q, r) * sp.KroneckerDelta(r, p)
    assert symbolic.over_neurons(symbolic.W_r[q, r] * sp.KroneckerDelta(r, p)) == symbolic.W_r[q, p]
    assert symbolic.over_neurons(both) == sp.KroneckerDelta(q, p)


def test_the_derivative_by_the_state_collapses_for_any_function() -> None:
    f, y = sp.Function("f"), sp.Dummy("y")
    a = symbolic.preactivation()
    expected = f(y).diff(y).subs(y, a) * symbolic.W_r[symbolic.q, symbolic.p]
    assert (symbolic.by_state(f(a)) - expected).doit() == 0
    assert symbolic.by_state(symbolic.u[symbolic.q]) == 0


@pytest.mark.parametrize("kind", GATES)
def test_derivatives_by_every_weight(kind: str) -> None:
    """C7 for one step, and that a wrong claim is not proved."""
    for weight, claim in symbolic.weight_derivatives(kind).items():
        derivative = symbolic.by_weight(kind, weight)
        assert not derivative.has(sp.Piecewise, sp.Derivative)
        assert sp.expand(derivative - claim) == 0
        assert sp.expand(derivative - 2 * claim) != 0


@pytest.mark.parametrize("kind", GATES)
def test_an_unrolled_network_has_the_claimed_gradient(kind: str) -> None:
    """C7 by brute force, in both ways to compare."""
    pairs = symbolic.unrolled(kind, 2)
    assert len(pairs) == {"none": 8, "constant": 8, "scalar": 12, "multi": 16}[kind]
    for derivative, claim in pairs:
        assert sp.expand(derivative - claim) == 0
        assert symbolic.at_a_point(derivative - claim) == 0
        assert symbolic.at_a_point(derivative - 2 * claim) != 0


def test_sigmoid_is_the_logistic_function() -> None:
    z = sp.Symbol("z")
    s = symbolic.sigmoid(z)
    assert sp.simplify((s.diff(z) - s.rewrite(sp.exp).diff(z)).rewrite(sp.exp)) == 0
    with pytest.raises(ArgumentIndexError):
        s.fdiff(2)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("replicas", [None, 2])
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_printed_expression_computes_the_library_jacobian(
    kind: str, replicas: int | None, batch: tuple[int, ...]
) -> None:
    case = Case(kind, n=5, m=3, T=4, batch=batch, replicas=replicas, bias=True, seed=8)
    model, (u, x0) = case.model(), case.inputs()
    expression = symbolic.jacobian(kind)
    names = sorted({base.label.name for base in expression.atoms(sp.IndexedBase)})
    function = symbolic.to_torch(expression, [sp.IndexedBase(name) for name in names])
    with torch.no_grad():
        run = model.run(u, x0)
        axes = run.x.ndim - 2
        values = {name: model.per_step(w, axes) for name, w in model.named_parameters()}
        values |= {"x": run.x_prev, "u": run.u, "alpha": run.g}
        if kind == "scalar":
            values |= {"w_rg": values["W_rg"][..., 0, :], "w_ig": values["W_ig"][..., 0, :]}
        printed = function(*(values[name] for name in names))
        assert relative(printed.expand(*run.x.shape, 5), jacobian.blocks(model, run)) <= 1e-12


def test_printing_names_no_gate() -> None:
    code = symbolic.torch_code(symbolic.jacobian("multi"))
    assert "torch.einsum('...r,...qr->...q', x, W_rg)" in code
    assert "torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)" in code


def test_latex_is_the_notation_of_the_book() -> None:
    assert symbolic.latex(symbolic.W_rg[symbolic.q, symbolic.p]) == "W_{rg}^{q p}"
    assert symbolic.latex(symbolic.x[symbolic.q] ** 2) == r"\left(x^{q}\right)^{2}"
    inner = symbolic.preactivation().diff(symbolic.x[symbolic.p])
    assert symbolic.latex(inner) == r"\sum_{r=0}^{n - 1} \delta^{r p} W_{r}^{q r}"
    assert symbolic.latex(symbolic.closed_form("scalar").leak).endswith(r"\delta^{q p}")
    short = symbolic.abbreviate(symbolic.closed_form("scalar").gate, "scalar")
    assert symbolic.latex(short) == r"g \left(1 - g\right) \left(\varphi^{q} - x^{q}\right) w_{rg}^{p}"


def test_an_unknown_gate_is_refused() -> None:
    for call in (symbolic.gate, symbolic.update, symbolic.jacobian, symbolic.closed_form):
        with pytest.raises(ValueError, match="got gate 'lstm', expected one of 'none'"):
            call("lstm")
    with pytest.raises(ValueError, match="got gate 'lstm', expected one of 'none'"):
        symbolic.explicit("lstm", 2)
