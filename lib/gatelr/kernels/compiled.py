"""The two sweeps compiled by :mod:`gatelr.kernels.build`; without it, :mod:`gatelr.kernels.sweep` serves."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from gatelr.kernels import build
from gatelr.kernels.sweep import BACKWARD, Backward, Gradients

#: Sequences that one thread takes through all steps. The order of sums follows from it, so it is the same everywhere.
SLICE = 32


class Swept(NamedTuple):
    """What the adjoint needs of a forward sweep; rows are sequences, as everywhere outside this room.

    Attributes:
        u: the inputs.
        x: the states, the initial one first.
        phi: the candidates; empty without any gate, where they are the states.
        g: the learned gates; empty without one.
        W: all weights, candidate over gate.
        alpha: the fixed gate, one number a neuron.
    """

    u: Float[Tensor, "T S B m"]
    x: Float[Tensor, "T+1 S B n"]
    phi: Float[Tensor, "steps S B n"]
    g: Float[Tensor, "T S B h"]
    W: Float[Tensor, "S k q"]
    alpha: Float[Tensor, " n"] | None


def forward(
    u: Float[Tensor, "T S B m"],
    x0: Float[Tensor, "S B n"],
    W: Float[Tensor, "S k q"],
    alpha: Float[Tensor, " h"] | None,
    *,
    into: Swept | None = None,
    pre_activations: Float[Tensor, "T S B k"] | None = None,
) -> Swept:
    """As :func:`gatelr.kernels.sweep.forward`.

    Args:
        u: inputs.
        x0: state before the first step.
        W: all weights, as for the plain sweep.
        alpha: the fixed gate, or None.
        into: an earlier result of the same sizes, whose memory is used again.
        pre_activations: where those of candidate and gate are written, if they are wanted.
    """
    (T, S, B, _), n, k = u.shape, x0.shape[-1], W.shape[-2]
    h, gated = k - n, k > n or alpha is not None
    shapes = (T + 1, S, B, n), (T if gated else 0, S, B, n), (T, S, B, h)
    if into is None or (into.x.shape, into.phi.shape, into.g.shape, into.x.dtype) != (*shapes, u.dtype):
        x, phi, g = (u.new_empty(shape) for shape in shapes)
        into = Swept(u, x, phi, g, W, None)
    swept = into._replace(
        u=u.contiguous(), W=W.contiguous(), alpha=None if alpha is None else alpha.expand(n).contiguous()
    )
    swept.x[0] = x0  # in Python, so that autograd sees that memory has been filled anew
    _call("forward", swept, pre_activations)
    return swept


def adjoint(
    swept: Swept,
    delta: Float[Tensor, "S B n"] | Float[Tensor, "T S B n"],
    *,
    input_gradient: bool = False,
    backward: Backward = "full",
) -> Gradients:
    """As :func:`gatelr.kernels.sweep.adjoint`."""
    (S, k, q), n, m = swept.W.shape, swept.x.shape[-1], swept.u.shape[-1]
    grad_u = torch.empty_like(swept.u) if input_gradient else None
    grad_x0, grad_W = torch.empty_like(swept.x[0]), swept.W.new_empty(S * k * q)
    _adjoint(swept, delta, backward, grad_u, grad_x0, grad_W, None, None)
    # each lies without gaps, so that autograd keeps it as it is
    state, inputs, bias = grad_W.split((S * k * n, S * k * m, S * k * (q - n - m)))
    return Gradients(grad_u, grad_x0, (state.view(S, k, n), inputs.view(S, k, m), bias.view(S, k, q - n - m)))


def costates(
    swept: Swept, delta: Float[Tensor, "T S B n"], backward: Backward
) -> tuple[Float[Tensor, "T+1 S B n"], Float[Tensor, "T S B k"]]:
    """The adjoint of every state, and the gradient at every pre-activation, candidate beside gate.

    Args:
        swept: a forward sweep, with the weights through which the adjoint goes from step to step.
        delta: direct loss gradient of every state.
        backward: what the pass carries from step to step.
    """
    (T, S, B, _), k = swept.u.shape, swept.W.shape[-2]
    all_costates, signals = torch.empty_like(swept.x), swept.x.new_empty(T, S, B, k)
    _adjoint(swept, delta, backward, None, torch.empty_like(swept.x[0]), None, all_costates, signals)
    return all_costates, signals


def _adjoint(swept: Swept, delta: Tensor, backward: Backward, *results: Tensor | None) -> None:
    _call("adjoint", swept, BACKWARD.index(backward), delta.contiguous(), delta.ndim == 4, *results)


def tall_products(
    left: Float[Tensor, "B rows n"], right: Float[Tensor, "B n n"], out: Float[Tensor, "B rows n"]
) -> None:
    """``out = left @ right`` for many rows; each matrix of rows lies without gaps, and all may lie apart."""
    B, rows, n = left.shape
    if not build.serves(left) or (left.stride(-1), right.stride(-1), out.stride(-1)) != (1, 1, 1):
        torch.bmm(left, right, out=out)
        return
    strides = (tensor.stride(0) for tensor in (left, right, out))
    build.call("tall", left.dtype, B, rows, n, *strides, torch.get_num_threads(), left, right, out)


def _call(name: str, swept: Swept, *rest: Any) -> None:
    (T, S, B, m), n, (k, q) = swept.u.shape, swept.x.shape[-1], swept.W.shape[-2:]
    sizes = (ctypes.c_long * 8)(T, S, B, n, m, k - n, SLICE, q - n - m)
    threads, u, x, g = torch.get_num_threads(), swept.u, swept.x, swept.g
    tensors = [value for value in (*swept, *rest) if isinstance(value, Tensor)]
    if g.shape[-1] != k - n or any(value.dtype != u.dtype or not value.is_contiguous() for value in tensors):
        raise ValueError("got tensors of several dtypes or sizes, expected one: C would read them as what they are not")
    phi = swept.phi if len(swept.phi) else None
    if name == "forward":
        (a,) = rest
        build.call(name, u.dtype, sizes, threads, u, swept.W, swept.alpha, x, phi, g, a)
    else:
        carry, delta, every, *results = rest
        of_run = [u, swept.W, swept.alpha, x, phi, g]
        build.call(name, u.dtype, sizes, carry, threads, *of_run, delta, int(every), *results)
