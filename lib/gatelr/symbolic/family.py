"""The family in index notation: its update, the Jacobian and the derivative by each weight, derived and claimed."""

from __future__ import annotations

from typing import Any, NamedTuple

import sympy as sp
from sympy.core.function import ArgumentIndexError

#: How many neurons and inputs there are.
n, m = sp.symbols("n m", integer=True, positive=True)
#: A neuron of the new state, one of the old, and the two that sums run over.
q, p, r = (sp.Idx(name, n) for name in ("q", "p", "r"))
#: The input that a sum runs over.
s = sp.Idx("s", m)
#: Row and column of a weight, and the column of one that reads inputs.
i, j, c = sp.Idx("i", n), sp.Idx("j", n), sp.Idx("c", m)

#: State before the update, input, and the constant gate.
x, u, alpha = sp.IndexedBase("x"), sp.IndexedBase("u"), sp.IndexedBase("alpha")
#: Weights and bias of the candidate.
W_r, W_i, b = sp.IndexedBase("W_r"), sp.IndexedBase("W_i"), sp.IndexedBase("b")
#: Weights and bias of the gate.
W_rg, W_ig, b_g = sp.IndexedBase("W_rg"), sp.IndexedBase("W_ig"), sp.IndexedBase("b_g")
#: The scalar gate's one row of weights, over the old state and over the inputs.
w_rg, w_ig = sp.IndexedBase("w_rg"), sp.IndexedBase("w_ig")


class sigmoid(sp.Function):
    r"""The logistic function :math:`σ(z) = 1/(1 + e^{-z})`, with :math:`σ' = σ(1 - σ)`."""

    nargs = (1,)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """The derivative, in terms of the function itself: this keeps Jacobians short."""
        if argindex != 1:
            raise ArgumentIndexError(self, argindex)
        return self * (1 - self)

    def _eval_rewrite_as_exp(self, z: sp.Expr, **_: Any) -> sp.Expr:
        return 1 / (1 + sp.exp(-z))

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        power = "" if exp is None else rf"^{{{exp}}}"
        return rf"\sigma{power}\left({printer._print(self.args[0])}\right)"


class Terms(NamedTuple):
    """The three terms of an entry of the Jacobian, as in :class:`gatelr.jacobian.Terms`.

    Attributes:
        leak: Λ.
        recurrent: R.
        gate: G.
    """

    leak: sp.Expr
    recurrent: sp.Expr
    gate: sp.Expr


def preactivation(q: sp.Expr = q) -> sp.Expr:
    r""":math:`a^q = \sum_r W_r^{qr} x^r + \sum_s W_i^{qs} u^s + b^q`, the candidate's pre-activation."""
    return sp.Sum(W_r[q, r] * x[r], (r, 0, n - 1)) + sp.Sum(W_i[q, s] * u[s], (s, 0, m - 1)) + b[q]


def gate(kind: str, q: sp.Expr = q) -> sp.Expr:
    r"""The gate :math:`g^q`, the fraction written: 1, :math:`α^q`, or σ of its own pre-activation.

    Raises:
        ValueError: for an unknown gate.
    """
    if kind == "none":
        return sp.Integer(1)
    if kind == "constant":
        return alpha[q]
    if kind == "scalar":
        return sigmoid(sp.Sum(w_rg[r] * x[r], (r, 0, n - 1)) + sp.Sum(w_ig[s] * u[s], (s, 0, m - 1)) + b_g[0])
    if kind == "multi":
        return sigmoid(sp.Sum(W_rg[q, r] * x[r], (r, 0, n - 1)) + sp.Sum(W_ig[q, s] * u[s], (s, 0, m - 1)) + b_g[q])
    raise ValueError(f"got gate {kind!r}, expected one of 'none', 'constant', 'scalar', 'multi'")


def update(kind: str, q: sp.Expr = q) -> sp.Expr:
    r"""Neuron q of the new state, :math:`(1 - g^q) x^q + g^q \tanh a^q`, as a function of the old one."""
    g = gate(kind, q)
    return (1 - g) * x[q] + g * sp.tanh(preactivation(q))


def jacobian(kind: str) -> sp.Expr:
    r"""Entry :math:`J^{qp} = ∂x_t^q/∂x_{t-1}^p`, derived: SymPy differentiates the update and collapses the sums."""
    return by_state(update(kind))


def by_state(expression: sp.Expr, state: sp.IndexedBase = x) -> sp.Expr:
    r"""The derivative :math:`∂/∂x_{t-1}^p` of an expression of neuron q; sums over neurons collapse.

    Args:
        expression: in index notation.
        state: the letter of the state, x in the family.
    """
    return _among_neurons(expression.diff(state[p]).doit())


def over_neurons(summand: sp.Expr) -> sp.Expr:
    """The sum over neuron r, as a matrix product takes it; Kronecker deltas collapse it."""
    return _among_neurons(sp.Sum(summand, (r, 0, n - 1)).doit())


def _among_neurons(expression: sp.Expr) -> sp.Expr:
    """The expression for q and p that number a neuron.

    ``Sum(W_r[q, r] δ_{rp})`` collapses to ``W_r[q, p]`` *if* p is one of 0 … n-1; SymPy keeps that condition in a
    ``Piecewise``. It holds, since p numbers a neuron, and is dropped here, and nowhere else.
    """
    holds = {n >= q + 1, n >= p + 1}
    return expression.replace(
        lambda e: isinstance(e, sp.Piecewise) and e.args[0].cond in holds, lambda e: e.args[0].expr
    )


def closed_form(kind: str) -> Terms:
    r"""The claim C2, entry (q, p): :math:`δ_{qp}(1 - g^q)`, :math:`g^q φ'(a^q) W_r^{qp}` and the gate's term."""
    g, phi = gate(kind), sp.tanh(preactivation())
    row = {"scalar": w_rg[p], "multi": W_rg[q, p]}.get(kind, sp.Integer(0))
    return Terms(
        leak=sp.KroneckerDelta(q, p) * (1 - g),
        recurrent=g * (1 - phi**2) * W_r[q, p],
        gate=g * (1 - g) * (phi - x[q]) * row,
    )


def weight_derivatives(kind: str) -> dict[sp.Expr, sp.Expr]:
    r"""The claim C7 for one step: :math:`∂x_t^q` by entry (i, j) of each weight, (i, c) of those that read inputs.

    Row i of a weight reaches neuron i alone; the one row of a scalar gate reaches every neuron.
    """
    g, phi, own_row = gate(kind), sp.tanh(preactivation()), sp.KroneckerDelta(q, i)
    signal = own_row * g * (1 - phi**2)
    derivatives = {W_r[i, j]: signal * x[j], W_i[i, c]: signal * u[c], b[i]: signal}
    signal = g * (1 - g) * (phi - x[q])
    if kind == "multi":
        signal *= own_row
        derivatives |= {W_rg[i, j]: signal * x[j], W_ig[i, c]: signal * u[c], b_g[i]: signal}
    if kind == "scalar":
        derivatives |= {w_rg[j]: signal * x[j], w_ig[c]: signal * u[c], b_g[0]: signal}
    return derivatives


def by_weight(kind: str, weight: sp.Expr) -> sp.Expr:
    """The same, derived: SymPy differentiates the update; j numbers a neuron and c an input, so sums collapse."""
    derivative = update(kind).diff(weight).doit()
    return derivative.replace(lambda e: isinstance(e, sp.Piecewise), lambda e: e.args[0].expr)
