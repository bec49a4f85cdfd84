r"""The SymPy objects that the theory chapters share, and their printing to torch.

The update rule is written once, in index notation, for a symbolic number of neurons ``n``: neuron ``q`` of the new
state as a function of all neurons of the old one. SymPy differentiates it; :func:`to_torch` prints what comes out as a
torch function, so that symbol and code cannot drift apart. A ``kind`` of gate that :func:`gate` refuses, all refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

try:
    import sympy as sp
except ImportError as error:
    raise ImportError("gatelr.symbolic needs SymPy: pip install 'gatelr[symbolic]'") from error
import torch
from sympy.concrete.expr_with_limits import AddWithLimits
from sympy.core.function import ArgumentIndexError
from sympy.printing.latex import LatexPrinter
from sympy.printing.pytorch import TorchPrinter
from torch import Tensor

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


def by_state(expression: sp.Expr) -> sp.Expr:
    r"""The derivative :math:`∂/∂x_{t-1}^p` of an expression of neuron q; sums over neurons collapse."""
    return _among_neurons(expression.diff(x[p]).doit())


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

    Nothing here is taken from the index notation above: it is a second, independent statement of the same claim:

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


class IndexLatex(LatexPrinter):
    """Prints index notation as the book writes it: neurons above, names of weights below."""

    def _print_Idx(self, e: sp.Idx) -> str:
        return str(e.label)

    def _print_Indexed(self, e: sp.Indexed, exp: str | None = None) -> str:
        name, _, label = str(e.base.label).partition("_")
        name = {"alpha": r"\alpha", "phi": r"\varphi"}.get(name, name)
        indices = " ".join(self._print(i) for i in e.indices)
        body = f"{name}_{{{label}}}^{{{indices}}}" if label else f"{name}^{{{indices}}}"
        return body if exp is None else rf"\left({body}\right)^{{{exp}}}"

    def _print_Pow(self, e: sp.Pow) -> str:
        if isinstance(e.base, sp.Indexed):  # TeX refuses a power straight after an upper index
            return self._print_Indexed(e.base, self._print(e.exp))
        return str(super()._print_Pow(e))

    def _print_KroneckerDelta(self, e: sp.KroneckerDelta, exp: str | None = None) -> str:
        row, column = sorted(e.args, key=lambda index: "q r p".find(str(index)))  # as J^{qp}, rows first
        return rf"\delta^{{{self._print(row)} {self._print(column)}}}"


def adam_moments(gradients: Sequence[sp.Expr], beta_1: sp.Expr, beta_2: sp.Expr) -> tuple[sp.Expr, sp.Expr]:
    r"""Adam's bias-corrected moments of one coordinate after these gradients, :math:`\hat m` and :math:`\hat v`."""
    m = v = sp.Integer(0)
    for gradient in gradients:
        m = beta_1 * m + (1 - beta_1) * gradient
        v = beta_2 * v + (1 - beta_2) * gradient**2
    steps = len(gradients)
    return sp.cancel(m / (1 - beta_1**steps)), sp.cancel(v / (1 - beta_2**steps))


def latex(expression: sp.Expr) -> str:
    """The expression in the book's index notation, as LaTeX."""
    return str(IndexLatex().doprint(expression))


def abbreviate(expression: sp.Expr, kind: str) -> sp.Expr:
    """Long sums by their names: the pre-activation as a^q and the gate as g^q (g for the scalar gate)."""
    g = sp.IndexedBase("g")[q] if kind == "multi" else sp.Symbol("g")
    named = expression.subs(gate(kind), g) if kind in ("scalar", "multi") else expression
    return named.subs(sp.tanh(preactivation()), sp.IndexedBase("phi")[q])


class IndexPrinter(TorchPrinter):
    """Prints index notation with free indices (q, p) as batched torch code whose last two axes are q and p."""

    def _print_Indexed(self, e: sp.Indexed) -> str:
        name = str(e.base.label)
        if all(i.is_Integer for i in e.indices):  # b_g[0], the one bias of the scalar gate
            return f"{name}[..., None]"
        axes = {(q, p): "", (q,): "[..., :, None]", (p,): "[..., None, :]"}
        return name + axes[tuple(e.indices)]

    def _print_Sum(self, e: AddWithLimits) -> str:
        """A sum of products over one index is an einsum."""
        (index, _, _), factors = e.limits[0], sp.Mul.make_args(e.function)
        operands = ["".join(str(i) for i in f.indices) for f in factors]
        free = "q" if any("q" in o for o in operands) else ""
        spec = ",".join(f"...{o}" for o in operands) + f"->...{free}"
        if str(index) in free:
            raise ValueError(f"cannot print {e}: the summation index is also free")
        code = f"torch.einsum({spec!r}, {', '.join(str(f.base.label) for f in factors)})"
        return code + ("[..., None]" if free else "[..., None, None]")

    def _print_KroneckerDelta(self, e: sp.KroneckerDelta) -> str:
        return "torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)"

    def _print_sigmoid(self, e: sigmoid) -> str:
        return f"torch.sigmoid({self._print(e.args[0])})"


def torch_code(expression: sp.Expr) -> str:
    """The expression in index notation, printed as one line of torch."""
    return str(IndexPrinter({"fully_qualified_modules": True}).doprint(expression))


def to_torch(expression: sp.Expr, arguments: Sequence[sp.IndexedBase]) -> Callable[..., Tensor]:
    """SymPy's expression as a torch function of its symbols: entry (q, p) becomes a matrix, for any n and any batch.

    Vectors are passed as ``(..., n)``, matrices as ``(..., n, n)``; leading axes broadcast.

    Args:
        expression: in index notation, with free indices q and p.
        arguments: the symbols in the order in which the function takes them.

    Returns:
        A function of tensors that returns ``(..., n, n)``.
    """
    names = [sp.Symbol(str(base.label)) for base in arguments]
    function: Callable[..., Tensor] = sp.lambdify(
        names, expression, modules=[{"torch": torch}], printer=IndexPrinter({"fully_qualified_modules": True})
    )
    return function
