r"""torch's GRU in index notation: its step, and the three terms of its Jacobian, derived and claimed (claim C16).

Letters are torch's, with one exception: the candidate, torch's n, is φ, since n counts neurons.

.. math::
    \begin{aligned}
    r &= σ(W_{ir} u + b_{ir} + W_{hr} h + b_{hr}), &
    φ &= \tanh(W_{in} u + b_{in} + r ⊙ v), \quad v = W_{hn} h + b_{hn}, \\
    z &= σ(W_{iz} u + b_{iz} + W_{hz} h + b_{hz}), &
    h' &= (1 - z) ⊙ φ + z ⊙ h .
    \end{aligned}

z is the fraction *kept*: the gate of the book's family is :math:`g = 1 - z`.
"""

from __future__ import annotations

from typing import NamedTuple

import sympy as sp

from gatelr.symbolic.family import Terms, by_state, i, j, m, n, p, q, s, sigmoid, u

#: The state before the step.
h = sp.IndexedBase("h")
#: Weights on the input, of the reset gate, the update gate and the candidate.
W_ir, W_iz, W_in = (sp.IndexedBase(name) for name in ("W_ir", "W_iz", "W_in"))
#: Weights on the state.
W_hr, W_hz, W_hn = (sp.IndexedBase(name) for name in ("W_hr", "W_hz", "W_hn"))
#: Biases beside the input.
b_ir, b_iz, b_in = (sp.IndexedBase(name) for name in ("b_ir", "b_iz", "b_in"))
#: Biases beside the state.
b_hr, b_hz, b_hn = (sp.IndexedBase(name) for name in ("b_hr", "b_hz", "b_hn"))


class Step(NamedTuple):
    """Neuron q of one step, as a function of the old state.

    Attributes:
        r: the reset gate.
        z: the update gate, the fraction kept.
        v: what the state adds to the candidate's pre-activation, before r multiplies it.
        phi: the candidate.
        h: the new state.
    """

    r: sp.Expr
    z: sp.Expr
    v: sp.Expr
    phi: sp.Expr
    h: sp.Expr


def step(reset_after: bool = True) -> Step:
    r"""One step, of torch or of the other convention.

    Args:
        reset_after: whether the reset gate multiplies the product with W_hn, as in torch, or the state before it, as in
            Cho et al. (2014). Then :math:`v = W_{hn} (r ⊙ h) + b_{hn}`, and r multiplies nothing more.
    """
    z = sigmoid(_read(W_iz, b_iz, u, q) + _read(W_hz, b_hz, h, q))
    a_in = _read(W_in, b_in, u, q)
    if reset_after:
        v = _read(W_hn, b_hn, h, q)
        phi = sp.tanh(a_in + _reset(q) * v)
    else:
        v = sp.Sum(W_hn[q, i] * _reset(i) * h[i], (i, 0, n - 1)) + b_hn[q]
        phi = sp.tanh(a_in + v)
    return Step(_reset(q), z, v, phi, (1 - z) * phi + z * h[q])


def jacobian(reset_after: bool = True) -> sp.Expr:
    """Entry (q, p) of the step Jacobian, derived: SymPy differentiates the step and collapses the sums."""
    return by_state(step(reset_after).h, h)


def closed_form(reset_after: bool = True) -> Terms:
    r"""The claim C16, entry (q, p) of leak, recurrent and gate term.

    .. math::
        \mathrm{diag}(z), \qquad \mathrm{diag}(s ⊙ r) W_{hn}, \qquad
        \mathrm{diag}((h - φ) ⊙ z(1-z)) W_{hz} + \mathrm{diag}(s ⊙ v ⊙ r(1-r)) W_{hr},

    with :math:`s = (1-z) ⊙ (1 - φ^2)`. With the reset gate before the product r goes to the other side of W_hn:
    :math:`\mathrm{diag}(s) W_{hn} \mathrm{diag}(r)`, and in the gate term
    :math:`\mathrm{diag}(s) W_{hn} \mathrm{diag}(h ⊙ r(1-r)) W_{hr}`.
    """
    r, z, v, phi, _ = step(reset_after)
    to_candidate = (1 - z) * (1 - phi**2)
    through_z = (h[q] - phi) * z * (1 - z) * W_hz[q, p]
    if reset_after:
        recurrent = to_candidate * r * W_hn[q, p]
        through_r = to_candidate * v * r * (1 - r) * W_hr[q, p]
    else:
        recurrent = to_candidate * W_hn[q, p] * _reset(p)
        moved = W_hn[q, i] * h[i] * _reset(i) * (1 - _reset(i)) * W_hr[i, p]
        through_r = to_candidate * sp.Sum(moved, (i, 0, n - 1))
    return Terms(leak=sp.KroneckerDelta(q, p) * z, recurrent=recurrent, gate=through_z + through_r)


def abbreviate(expression: sp.Expr, reset_after: bool = True) -> sp.Expr:
    """Long sums by their letters, with the neuron above: gates r and z, v, and the candidate φ."""
    values = step(reset_after)
    letters = {
        value.xreplace({q: row}): sp.IndexedBase(name)[row]
        for name, value in zip(values._fields[:-1], values, strict=False)
        for row in (q, p, i)
    }
    return expression.xreplace(letters)


def _reset(row: sp.Expr) -> sp.Expr:
    return sigmoid(_read(W_ir, b_ir, u, row) + _read(W_hr, b_hr, h, row))


def _read(W: sp.IndexedBase, b: sp.IndexedBase, source: sp.IndexedBase, row: sp.Expr) -> sp.Expr:
    """Row of W times the input or the state, with its bias."""
    index, length = (s, m) if source == u else (j, n)
    return sp.Sum(W[row, index] * source[index], (index, 0, length - 1)) + b[row]
