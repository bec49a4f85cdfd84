r"""torch's LSTM in index notation: its step, and the blocks of its Jacobian, derived and claimed (claim C16).

Letters are torch's, with one exception: the candidate, torch's g, is φ, since g is the fraction written.

.. math::
    \begin{aligned}
    i &= σ(W_{ii} u + b_{ii} + W_{hi} h + b_{hi}), & φ &= \tanh(W_{ig} u + b_{ig} + W_{hg} h + b_{hg}), \\
    f &= σ(W_{if} u + b_{if} + W_{hf} h + b_{hf}), & c' &= f ⊙ c + i ⊙ φ, \\
    o &= σ(W_{io} u + b_{io} + W_{ho} h + b_{ho}), & h' &= o ⊙ ψ, \quad ψ = \tanh(c') .
    \end{aligned}

The state is :math:`(h, c)`, h first. A block is named by what it leads to and what it comes from, as in
:math:`J^{hc} = ∂h'/∂c`.
"""

from __future__ import annotations

from typing import NamedTuple

import sympy as sp

from gatelr.symbolic.family import Terms, by_state, j, m, n, p, q, s, sigmoid, u

#: The state before the step, and the cell before it.
h, c = sp.IndexedBase("h"), sp.IndexedBase("c")
#: Weights on the input, of the gates i, f and o and, named g, of the candidate.
W_ii, W_if, W_ig, W_io = (sp.IndexedBase(name) for name in ("W_ii", "W_if", "W_ig", "W_io"))
#: Weights on the state.
W_hi, W_hf, W_hg, W_ho = (sp.IndexedBase(name) for name in ("W_hi", "W_hf", "W_hg", "W_ho"))
#: Biases beside the input.
b_ii, b_if, b_ig, b_io = (sp.IndexedBase(name) for name in ("b_ii", "b_if", "b_ig", "b_io"))
#: Biases beside the state.
b_hi, b_hf, b_hg, b_ho = (sp.IndexedBase(name) for name in ("b_hi", "b_hf", "b_hg", "b_ho"))
#: The blocks in the order in which they are read.
BLOCKS = ("hh", "hc", "ch", "cc")


class Step(NamedTuple):
    """Neuron q of one step, as a function of the old state and cell.

    Attributes:
        i: the input gate, the fraction written.
        f: the forget gate, the fraction kept.
        phi: the candidate.
        o: the output gate.
        c: the new cell.
        psi: tanh of it.
        h: the new state.
    """

    i: sp.Expr
    f: sp.Expr
    phi: sp.Expr
    o: sp.Expr
    c: sp.Expr
    psi: sp.Expr
    h: sp.Expr


def step() -> Step:
    """One step of torch."""
    i, f = sigmoid(_read(W_ii, b_ii, W_hi, b_hi)), sigmoid(_read(W_if, b_if, W_hf, b_hf))
    phi, o = sp.tanh(_read(W_ig, b_ig, W_hg, b_hg)), sigmoid(_read(W_io, b_io, W_ho, b_ho))
    new = f * c[q] + i * phi
    return Step(i, f, phi, o, new, sp.tanh(new), o * sp.tanh(new))


def jacobian() -> dict[str, sp.Expr]:
    """Entry (q, p) of each block of the step Jacobian, derived by SymPy."""
    values, states = step(), {"h": h, "c": c}
    return {block: by_state(getattr(values, block[0]), states[block[1]]) for block in BLOCKS}


def closed_form() -> dict[str, Terms]:
    r"""The claim C16, entry (q, p) of leak, recurrent and gate term of each block.

    .. math::
        J^{cc} = \mathrm{diag}(f), \qquad J^{ch} = \mathrm{diag}(i ⊙ (1 - φ^2)) W_{hg} + K, \qquad
        K = \mathrm{diag}(c ⊙ f(1-f)) W_{hf} + \mathrm{diag}(φ ⊙ i(1-i)) W_{hi} .

    The first is leak, the second recurrent and gate term. With :math:`s = o ⊙ (1 - ψ^2)`, by which a change of the cell
    goes on to h,

    .. math::
        J^{hc} = \mathrm{diag}(s) J^{cc}, \qquad
        J^{hh} = \mathrm{diag}(s) J^{ch} + \mathrm{diag}(ψ ⊙ o(1-o)) W_{ho},

    term by term; the output gate adds to the gate term.
    """
    i, f, phi, o, _, psi, _ = step()
    onward, own, none = o * (1 - psi**2), sp.KroneckerDelta(q, p), sp.Integer(0)
    recurrent = i * (1 - phi**2) * W_hg[q, p]
    gate = c[q] * f * (1 - f) * W_hf[q, p] + phi * i * (1 - i) * W_hi[q, p]
    return {
        "hh": Terms(none, onward * recurrent, onward * gate + psi * o * (1 - o) * W_ho[q, p]),
        "hc": Terms(onward * f * own, none, none),
        "ch": Terms(none, recurrent, gate),
        "cc": Terms(f * own, none, none),
    }


def abbreviate(expression: sp.Expr) -> sp.Expr:
    """Long sums by their letters, with the neuron above: gates i, f and o, the candidate φ, and ψ = tanh(c')."""
    values = step()
    named = {getattr(values, name): sp.IndexedBase(name)[q] for name in ("i", "f", "phi", "o", "psi")}
    return expression.xreplace(named)


def _read(W_i: sp.IndexedBase, b_i: sp.IndexedBase, W_h: sp.IndexedBase, b_h: sp.IndexedBase) -> sp.Expr:
    """Pre-activation of neuron q: weights on input and state, and the two biases."""
    from_input = sp.Sum(W_i[q, s] * u[s], (s, 0, m - 1)) + b_i[q]
    return from_input + sp.Sum(W_h[q, j] * h[j], (j, 0, n - 1)) + b_h[q]
