"""The same claims for a given size or a given lag, as explicit matrices of symbols."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import sympy as sp

from gatelr.symbolic.family import gate, sigmoid


class Explicit(NamedTuple):
    """The update for a given size, written out as matrices, beside the claimed terms in matrix notation.

    Attributes:
        state: x before the update, one symbol a neuron.
        update: x after it.
        leak: Λ as claimed.
        recurrent: R as claimed.
        gate: G as claimed.
        drive: u, one symbol an input.
        weights: weights and biases, one symbol an entry.
        phi: the candidate.
        g: the gate, one entry a neuron.
    """

    state: sp.Matrix
    update: sp.Matrix
    leak: sp.Matrix
    recurrent: sp.Matrix
    gate: sp.Matrix
    drive: sp.Matrix
    weights: dict[str, sp.Matrix]
    phi: sp.Matrix
    g: sp.Matrix


def explicit(kind: str, size: int, inputs: int = 1, tanh: Callable[[sp.Expr], sp.Expr] = sp.tanh) -> Explicit:
    r"""Update and claim C2 as matrices, for ``Matrix.jacobian`` to differentiate entry by entry.

    Nothing here is taken from the index notation: it is a second, independent statement of the same claim:

    .. math:: \mathrm{diag}(1-g) + \mathrm{diag}(g) D W_r + \mathrm{diag}((φ-x) ⊙ g ⊙ (1-g)) W_{rg}
    """

    def matrix(name: str, rows: int, columns: int) -> sp.Matrix:
        return sp.Matrix(rows, columns, lambda i, j: sp.Symbol(f"{name}_{i}{j}" if columns > 1 else f"{name}_{i}"))

    state, drive = matrix("x", size, 1), matrix("u", inputs, 1)
    weights = {"W_r": matrix("W_r", size, size), "W_i": matrix("W_i", size, inputs), "b": matrix("b", size, 1)}
    a = weights["W_r"] * state + weights["W_i"] * drive + weights["b"]
    ones = sp.ones(size, 1)
    if kind in ("scalar", "multi"):
        h = size if kind == "multi" else 1
        weights["W_rg"] = gate_weights = sp.Matrix(h, size, lambda i, j: sp.Symbol(f"W_rg_{i}{j}"))
        weights["W_ig"] = sp.Matrix(h, inputs, lambda i, j: sp.Symbol(f"W_ig_{i}{j}"))
        weights["b_g"] = matrix("b_g", h, 1)
        g = (gate_weights * state + weights["W_ig"] * drive + weights["b_g"]).applyfunc(sigmoid)
        if kind == "scalar":
            g, gate_weights = ones * g, ones * gate_weights
    else:
        g = {"none": ones, "constant": matrix("alpha", size, 1)}.get(kind)
        gate_weights = sp.zeros(size, size)
        if g is None:
            gate(kind)  # raises the sentence that names the gates
    phi = a.applyfunc(tanh)
    kept = ones - g
    slope = (ones - phi.multiply_elementwise(phi)).multiply_elementwise(g)
    return Explicit(
        state=state,
        update=kept.multiply_elementwise(state) + g.multiply_elementwise(phi),
        leak=sp.diag(*kept),
        recurrent=sp.diag(*slope) * weights["W_r"],
        gate=sp.diag(*(phi - state).multiply_elementwise(g).multiply_elementwise(kept)) * gate_weights,
        drive=drive,
        weights=weights,
        phi=phi,
        g=g,
    )


class plain_tanh(sp.Function):
    """tanh, known only by its rule: SymPy's own asks of every argument whether it is special, which takes long."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """The derivative, in terms of the function itself."""
        return 1 - self**2


def unrolled(kind: str, T: int, size: int = 2) -> list[tuple[sp.Expr, sp.Expr]]:
    r"""The claim C7 for a network of one input written out as one nested expression, over T steps.

    Its loss is :math:`\sum_t δ_t^\top x_t`.

    Returns:
        For each entry of each weight the derivative of the loss, by brute force, and as the claim has it; both with a
        symbol for each value of tanh and of σ, in which they are polynomials.
    """
    one = explicit(kind, size, tanh=plain_tanh)
    J = one.leak + one.recurrent + one.gate
    x, loss, steps, names = one.state, sp.Integer(0), [], dict[sp.Expr, sp.Symbol]()
    for t in range(1, T + 1):
        u, delta = sp.Symbol(f"u{t}"), sp.Matrix(sp.symbols(f"delta{t}_:{size}"))
        here = dict(zip([*one.state, *one.drive], [*x, u], strict=True))
        for label, values in (("phi", one.phi), ("g", one.g)):
            for row, value in enumerate(values.xreplace(here)):
                if value.func in (plain_tanh, sigmoid):  # a scalar gate's one value keeps its first name
                    names.setdefault(value, sp.Symbol(f"{label}{t}_{row}"))
        steps.append([part.xreplace(here).xreplace(names) for part in (J, one.state, one.phi, one.g)] + [u, delta])
        x = one.update.xreplace(here)
        loss += (delta.T * x)[0]

    adjoint, gradients = sp.zeros(size, 1), {name: sp.zeros(*weight.shape) for name, weight in one.weights.items()}
    for J_k, x_k, phi, g, u, delta in reversed(steps):
        adjoint += delta
        signal = sp.Matrix([g[k] * (1 - phi[k] ** 2) * adjoint[k] for k in range(size)])
        at_gate = sp.Matrix([(phi[k] - x_k[k]) * g[k] * (1 - g[k]) * adjoint[k] for k in range(size)])
        if kind == "scalar":
            at_gate = sp.Matrix([sum(at_gate)])
        shares = {"W_r": signal * x_k.T, "W_i": signal * u, "b": signal}
        shares |= {"W_rg": at_gate * x_k.T, "W_ig": at_gate * u, "b_g": at_gate}
        gradients = {name: gradient + shares[name] for name, gradient in gradients.items()}
        adjoint = J_k.T * adjoint
    return [
        (loss.diff(entry).xreplace(names), claim)
        for name, weight in one.weights.items()
        for entry, claim in zip(weight, gradients[name], strict=True)
    ]


def at_a_point(expression: sp.Expr) -> sp.Expr:
    """The expression at one rational point, exactly: for polynomials that are too long to expand."""
    symbols = sorted(expression.free_symbols, key=str)
    return expression.xreplace({v: sp.Rational(7919 * k % 1013 - 506, 1013) for k, v in enumerate(symbols, 1)})


def leak_orders(size: int, lag: int) -> tuple[sp.Matrix, sp.Matrix, sp.Matrix, sp.Matrix]:
    r"""Orders 0 and 1 of the leak splitting for a given size and lag: by the sweep (claim C3), then as C6 has them.

    .. math:: \mathrm{diag}(P_{t,k}), \qquad \sum_i P^q_{t,i} B_i^{qp} P^p_{i-1,k}

    Nothing collapses on the side of the sweep: it multiplies explicit matrices of symbols.
    """
    kept = sp.Matrix(lag, size, sp.symbols(f"l:{lag}_:{size}"))
    B = [sp.Matrix(size, size, sp.symbols(f"b_{i}_:{size}_:{size}")) for i in range(lag)]
    M_0, M_1 = sp.eye(size), sp.zeros(size, size)
    for i in range(lag):
        A_i = sp.diag(*kept[i, :])
        M_0, M_1 = A_i * M_0, A_i * M_1 + B[i] * M_0

    def P(neuron: int, first: int, last: int) -> sp.Expr:
        return sp.prod(kept[first:last, neuron])

    def crossings(q: int, p: int) -> sp.Expr:
        return sp.Add(*(P(q, i + 1, lag) * B[i][q, p] * P(p, 0, i) for i in range(lag)))

    return M_0, M_1, sp.diag(*(P(q, 0, lag) for q in range(size))), sp.Matrix(size, size, crossings)
