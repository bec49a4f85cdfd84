"""The SymPy objects that the theory chapters share, and their printing to torch.

The update rule is written once, in index notation, for a symbolic number of neurons ``n``: neuron ``q`` of the new
state as a function of all neurons of the old one. SymPy differentiates it; :func:`.to_torch` prints what comes out as a
torch function, so that symbol and code cannot drift apart. A ``kind`` of gate that
:func:`~gatelr.symbolic.family.gate` refuses, all refuse.

The names stand in :mod:`~gatelr.symbolic.family`, :mod:`~gatelr.symbolic.matrices` and
:mod:`~gatelr.symbolic.printing`. torch's own layers have names of their own, in :mod:`~gatelr.symbolic.gru` and
:mod:`~gatelr.symbolic.lstm`.
"""

try:
    from gatelr.symbolic.family import (
        Terms,
        W_i,
        W_ig,
        W_r,
        W_rg,
        alpha,
        b,
        b_g,
        by_state,
        by_weight,
        c,
        closed_form,
        gate,
        i,
        j,
        jacobian,
        m,
        n,
        over_neurons,
        p,
        preactivation,
        q,
        r,
        s,
        sigmoid,
        u,
        update,
        w_ig,
        w_rg,
        weight_derivatives,
        x,
    )
    from gatelr.symbolic.matrices import Explicit, at_a_point, explicit, leak_orders, plain_tanh, unrolled
    from gatelr.symbolic.printing import IndexLatex, IndexPrinter, abbreviate, latex, to_torch, torch_code
except ModuleNotFoundError as error:
    raise ImportError("gatelr.symbolic needs SymPy: pip install 'gatelr[symbolic]'") from error

__all__ = [
    "Explicit",
    "IndexLatex",
    "IndexPrinter",
    "Terms",
    "W_i",
    "W_ig",
    "W_r",
    "W_rg",
    "abbreviate",
    "alpha",
    "at_a_point",
    "b",
    "b_g",
    "by_state",
    "by_weight",
    "c",
    "closed_form",
    "explicit",
    "gate",
    "i",
    "j",
    "jacobian",
    "latex",
    "leak_orders",
    "m",
    "n",
    "over_neurons",
    "p",
    "plain_tanh",
    "preactivation",
    "q",
    "r",
    "s",
    "sigmoid",
    "to_torch",
    "torch_code",
    "u",
    "unrolled",
    "update",
    "w_ig",
    "w_rg",
    "weight_derivatives",
    "x",
]
