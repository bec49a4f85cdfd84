"""Index notation, printed as LaTeX for the book and as torch for a computer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sympy as sp
import torch
from sympy.concrete.expr_with_limits import AddWithLimits
from sympy.printing.latex import LatexPrinter
from sympy.printing.pytorch import TorchPrinter
from torch import Tensor

from gatelr.symbolic.family import gate, p, preactivation, q, sigmoid


class IndexLatex(LatexPrinter):
    """Prints index notation as the book writes it: neurons above, names of weights below."""

    def _print_Idx(self, e: sp.Idx) -> str:
        return str(e.label)

    def _print_Indexed(self, e: sp.Indexed, exp: str | None = None) -> str:
        name, _, label = str(e.base.label).partition("_")
        name = {"alpha": r"\alpha", "phi": r"\varphi", "psi": r"\psi"}.get(name, name)
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


def latex(expression: sp.Expr) -> str:
    """The expression in the book's index notation, as LaTeX."""
    return str(IndexLatex().doprint(expression))


def abbreviate(expression: sp.Expr, kind: str) -> sp.Expr:
    """Long sums by their names: the pre-activation as a^q and the gate as g^q (g for the scalar gate)."""
    g = sp.IndexedBase("g")[q] if kind == "multi" else sp.Symbol("g")
    named = expression.subs(gate(kind), g) if kind in ("scalar", "multi") else expression
    return named.subs(sp.tanh(preactivation()), sp.IndexedBase("phi")[q])


class IndexPrinter(TorchPrinter):
    """Prints index notation with free indices (q, p) as batched torch code whose last two axes are q and p.

    Args:
        state: the name of the vector by whose size an identity matrix is made.
    """

    def __init__(self, state: str = "x") -> None:
        super().__init__({"fully_qualified_modules": True})
        self.state = state

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
        x = self.state
        return f"torch.eye({x}.shape[-1], dtype={x}.dtype, device={x}.device)"

    def _print_sigmoid(self, e: sigmoid) -> str:
        return f"torch.sigmoid({self._print(e.args[0])})"


def torch_code(expression: sp.Expr, state: str = "x") -> str:
    """The expression in index notation, printed as one line of torch; ``state`` as for :func:`to_torch`."""
    return str(IndexPrinter(state).doprint(expression))


def to_torch(expression: sp.Expr, arguments: Sequence[sp.IndexedBase | str], state: str = "x") -> Callable[..., Tensor]:
    """SymPy's expression as a torch function of its symbols: entry (q, p) becomes a matrix, for any n and any batch.

    Vectors are passed as ``(..., n)``, matrices as ``(..., n, n)``; leading axes broadcast.

    Args:
        expression: in index notation, with free indices q and p.
        arguments: the symbols, or their names, in the order in which the function takes them.
        state: the argument whose size a Kronecker delta has, x in the family.

    Returns:
        A function of tensors that returns ``(..., n, n)``.
    """
    names = [sp.Symbol(str(base)) for base in arguments]
    function: Callable[..., Tensor] = sp.lambdify(
        names, expression, modules=[{"torch": torch}], printer=IndexPrinter(state)
    )
    return function
