r"""The forward and the adjoint sweep on plain tensors, in place: the only hot loop of the library.

Axis legend: ``T`` time, ``S`` replicas (1 if there are none), ``B`` batch (1 if there is none), ``n`` hidden units,
``m`` inputs, ``h`` gate units: 0 (no learned gate), 1 (scalar) or ``n`` (multi), and ``k = n + h``.

Three decisions make it fast. All weights are one matrix, :math:`W = [W_r, W_i, b; W_{rg}, W_{ig}, b_g]`, that acts on
the state, the input and a one below each other, ``q = n + m (+ 1)`` rows: a step is one matrix product, and so is its
weight gradient, which is summed inside the backward loop. Features stand before the batch, ``(S, q, B)``, so that the
candidate and the gate are contiguous blocks of one array. And every array is written in place, into a
:class:`Workspace` that the next call may use again: beyond the trajectory, nothing grows with T.

It serves on CUDA and where there is no C++ compiler; elsewhere :mod:`gatelr.kernels.compiled` does the same.

Every function here trusts its caller; :mod:`gatelr.cells` is where input is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor

_aten = torch.ops.aten

#: Steps between two looks at the adjoint for numbers too small to count.
FLUSH_EVERY = 8

#: What the backward pass carries from a step to the one before. The whole Jacobian J = Λ + R + G; J without its gate
#: term G; Λ + diag(R + G), as SnAp-1 does online; or Λ alone, as RFLO does.
Backward = Literal["full", "gate dropped", "diagonal", "order 0"]
#: All of them.
BACKWARD: tuple[Backward, ...] = get_args(Backward)


class Coefficients(NamedTuple):
    r"""The Jacobian's row scalings, :math:`J = \mathrm{diag}(l) + \mathrm{diag}(r) W_r + \mathrm{diag}(s) W_{rg}`.

    Attributes:
        leak: l.
        recurrent: r.
        gate: s.
    """

    leak: Tensor
    recurrent: Tensor
    gate: Tensor


def coefficients(phi: Tensor, g: Tensor, x_prev: Tensor) -> Coefficients:
    r"""Row scalings of the step Jacobian, for any gate (claim C2).

    .. math:: 1 - g, \qquad g φ'(a) = g (1 - φ^2), \qquad g (1 - g) (φ - x_{t-1})

    Args:
        phi: candidate, ``(..., n)``.
        g: gate, the fraction written, ``(..., n)`` or ``(..., 1)``.
        x_prev: state before the update, ``(..., n)``.

    Returns:
        Three tensors that broadcast to ``(..., n)``.
    """
    leak = 1 - g
    return Coefficients(leak, g * (1 - phi * phi), g * leak * (phi - x_prev))


class Gradients(NamedTuple):
    """The gradient of a loss with respect to all that enters the sweep.

    Attributes:
        u: the inputs' gradient; None where it was not asked for.
        x0: the initial state's.
        W: those of the weights that read the state, the input, and nothing: the biases, none or one a row. Candidate
            over gate, as :func:`forward` takes them.
    """

    u: Float[Tensor, "T S B m"] | None
    x0: Float[Tensor, "S B n"]
    W: tuple[Float[Tensor, "S k n"], Float[Tensor, "S k m"], Float[Tensor, "S k b"]]


def flush(adjoint: Tensor) -> None:
    """Set to zero, in place, what is too small to count; see :func:`adjoint`. On CUDA small numbers cost nothing."""
    if not adjoint.is_cuda:
        info = torch.finfo(adjoint.dtype)
        _aten.hardshrink.out(adjoint, info.tiny / info.eps, out=adjoint)


def diagonal(W: Float[Tensor, "S h n"]) -> Float[Tensor, "S n"]:
    """The weight with which a neuron reads itself: the diagonal, or all of the row of a gate that serves everyone."""
    return W[:, 0] if W.shape[-2] == 1 else W.diagonal(dim1=-2, dim2=-1)


class Workspace:
    """The arrays of one sweep, kept for the next: the trajectory, and what a step needs beside it.

    Large arrays are handed back to the operating system when they are freed, and fresh ones are cleared before they are
    given out: time that a training loop need not spend. On CUDA the kept arrays also let a loop be recorded once and
    replayed as one graph, without the cost of launching some thousand small kernels.

    A workspace is filled by each forward sweep: run the backward pass before the next one.

    Args:
        record: whether a loop on CUDA is recorded and replayed; pointless for arrays that are used once.
    """

    def __init__(self, record: bool = True) -> None:
        self.record = record
        self.compiled: Any = None  # what the compiled sweep keeps here
        self._made_for: tuple[object, ...] | None = None
        self._graphs: dict[str, torch.cuda.CUDAGraph] = {}

    x: Float[Tensor, "T+1 S q B"]
    """In its rows the state before each step, the input of the step, and a one if there are biases."""
    z: Float[Tensor, "T S k B"]
    """In its rows the candidate φ and the learned gate g; empty without any gate, where the candidate is the state."""

    def prepare(
        self,
        u: Float[Tensor, "T S B m"],
        x0: Float[Tensor, "S B n"],
        W: Float[Tensor, "S k q"],
        alpha: Float[Tensor, " h"] | None,
    ) -> None:
        """Make the arrays if their sizes are new, and take in the inputs, the initial state and the weights."""
        (T, S, B, m), n, (k, q) = u.shape, x0.shape[-1], W.shape[-2:]
        made_for = (T, S, B, m, n, k, q, alpha is None, W.dtype, W.device, torch.is_inference_mode_enabled())
        if made_for != self._made_for:
            gated = k > n or alpha is not None
            x, z = W.new_empty(T + 1, S, q, B), W.new_empty(T if gated else 0, S, k, B)
            x[:, :, n + m :] = 1
            self.hold(x, z, W.new_empty(S, k, q), alpha, n, m)
            self._made_for, self._graphs = made_for, {}
        self.x[0, :, :n] = x0.mT
        self.x[:-1, :, n : n + m] = u.mT
        self.W.copy_(W)
        if alpha is not None:
            self.alpha.copy_(alpha.unsqueeze(-1))

    def hold(
        self,
        x: Float[Tensor, "states S q B"],
        z: Float[Tensor, "steps S k B"],
        W: Float[Tensor, "S k q"],
        alpha: Float[Tensor, " h"] | None,
        n: int,
        m: int,
    ) -> Workspace:
        """Take these arrays for the trajectory and the weights, and make the small ones beside them."""
        (S, k, q), B, T = W.shape, x.shape[-1], len(x) - 1
        self.x, self.z, self.W, self.n, self.m, self.h = x, z, W, n, m, k - n
        self.gated = k > n or alpha is not None
        self.alpha = W.new_ones(n, 1) if alpha is None else alpha.expand(n).unsqueeze(-1).clone()
        self.W_step, self.W_back, self.grad_W = torch.empty_like(W), W.new_empty(S, n, k), W.new_empty(S, q, k)
        self.delta, self.adj, self.product = (x.new_empty(S, n, B) for _ in range(3))
        self.d = x.new_empty(S, k, B)
        # One view a step, made once: indexing a (T, ...) tensor costs a dispatch at every step.
        self.steps, self.states = x[:-1].unbind(), x[:, :, :n].unbind()
        self.rows = z.unbind() if self.gated else (self.d,) * T
        self.candidates = z[:, :, :n].unbind() if self.gated else self.states[1:]
        self.gates = z[:, :, n:].unbind() if self.h else (self.alpha,) * T
        self.wide_gates = [gate.expand(S, n, B) for gate in self.gates]
        return self

    def run(self, name: str, loop: Callable[[Workspace], None]) -> None:
        """Run a loop over the arrays; on CUDA record it the first time, and from then on replay it."""
        if not (self.record and self.x.is_cuda):
            loop(self)
            return
        if name not in self._graphs:
            # CUDA wants one run on a side stream before a capture; a loop may be run any number of times
            here, aside = torch.cuda.current_stream(self.x.device), torch.cuda.Stream(self.x.device)
            aside.wait_stream(here)
            with torch.cuda.stream(aside):
                loop(self)
            here.wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                loop(self)
            self._graphs[name] = graph
        self._graphs[name].replay()


def forward(
    u: Float[Tensor, "T S B m"],
    x0: Float[Tensor, "S B n"],
    W: Float[Tensor, "S k q"],
    alpha: Float[Tensor, " h"] | None,
    workspace: Workspace | None = None,
) -> Workspace:
    r"""Run the update rule :math:`x_t = (1 - g_t) x_{t-1} + g_t φ_t` over a whole sequence.

    In float32 on a CPU the candidate is computed as :math:`\tanh a = 2σ(2a) - 1`, several times faster there than
    ``torch.tanh``. Its error is absolute, at most :math:`2^{-23}`: a unit in the last place of 1, not of a small φ.

    Args:
        u: inputs.
        x0: state before the first step.
        W: all weights, candidate over gate; columns for the state, the input, and the bias if q = n + m + 1.
        alpha: the fixed gate, one number or one per neuron; None if the gate is learned, or if there is none (k = n).
        workspace: where to write; a new one by default.

    Returns:
        The workspace, which holds what the adjoint sweep needs.
    """
    workspace = Workspace(record=False) if workspace is None else workspace
    workspace.prepare(u, x0, W, alpha)
    workspace.run("forward", _forward)
    return workspace


def _forward(ws: Workspace) -> None:
    n = ws.n
    by_sigmoid = ws.W.dtype == torch.float32 and not ws.W.is_cuda
    minus_one = torch.tensor(-1.0)
    ws.W_step.copy_(ws.W)
    if by_sigmoid:
        ws.W_step[:, :n].mul_(2)
    d, d_phi, d_g = ws.d, ws.d[:, :n], ws.d[:, n:]  # small, and in the cache: the trajectory is then written only once
    series = (ws.steps, ws.states[:-1], ws.states[1:], ws.rows, ws.candidates, ws.gates, ws.wide_gates)
    for all_t, x_t, x_next, z_t, phi_t, g_t, wide_t in zip(*series, strict=True):
        torch.bmm(ws.W_step, all_t, out=d)
        if by_sigmoid:
            torch.sigmoid(d, out=z_t)
            torch.add(minus_one, phi_t if ws.gated else d_phi, alpha=2, out=phi_t)
        else:
            torch.tanh(d_phi, out=phi_t)
            if ws.h:
                torch.sigmoid(d_g, out=g_t)
        if ws.gated:
            torch.lerp(x_t, phi_t, wide_t, out=x_next)


def adjoint(
    workspace: Workspace,
    delta: Float[Tensor, "S B n"] | Float[Tensor, "T S B n"],
    *,
    input_gradient: bool = False,
    backward: Backward = "full",
) -> Gradients:
    r"""Backpropagation through time in closed form, with the weight gradients summed on the way (claim C7).

    .. math::
        λ_{k-1} = J_k^\top λ_k + δ_{k-1}, \qquad
        ∇_{W_r} L = \sum_k (g_k ⊙ φ'(a_k) ⊙ λ_k) x_{k-1}^\top, \qquad
        ∇_{W_{rg}} L = \sum_k ((φ_k - x_{k-1}) ⊙ g_k (1 - g_k) ⊙ λ_k) x_{k-1}^\top

    The Jacobian is never formed:

    .. math:: J^\top λ = (1 - g) ⊙ λ + W_r^\top (g φ' ⊙ λ) + W_{rg}^\top (\dots ⊙ λ)

    Over long lags the adjoint dies out until its numbers are denormal, with which a CPU is much slower.
    Instead of changing how the process treats them, the sweep sets to zero what is smaller than tiny/eps
    (1e-31 in float32, 1e-292 in float64), so that a product with any number above eps is still a normal one.

    A smaller ``backward`` leaves terms out of :math:`J` between steps. Within a step nothing changes: every weight, the
    gate's too, has its local gradient.

    Args:
        workspace: what :func:`forward` returned.
        delta: direct loss gradient of the last state, or of every state, δ_1 … δ_T.
        input_gradient: whether to compute the gradient with respect to ``u``.
        backward: what the pass carries from step to step.

    Returns:
        The gradients, summed over the batch, in memory of their own.
    """
    ws = workspace
    if delta.ndim == 3 and not input_gradient:
        ws.delta.copy_(delta.mT)
        ws.run(f"adjoint, {backward}", partial(_adjoint, backward=backward))
        return _gradients(ws, None)
    grad_u = torch.empty_like(ws.x[:-1, :, ws.n : ws.n + ws.m]) if input_gradient else None
    ws.delta.copy_(delta[-1].mT if delta.ndim == 4 else delta.mT)
    _adjoint(ws, delta.mT.unbind()[:-1] if delta.ndim == 4 else None, grad_u, backward)
    return _gradients(ws, grad_u)


def _gradients(ws: Workspace, grad_u: Tensor | None) -> Gradients:
    at_state, at_input, at_bias = ws.grad_W.mT.clone().split((ws.n, ws.m, ws.W.shape[-1] - ws.n - ws.m), -1)
    return Gradients(None if grad_u is None else grad_u.mT, ws.adj.mT.clone(), (at_state, at_input, at_bias))


def _adjoint(
    ws: Workspace,
    earlier: tuple[Tensor, ...] | None = None,
    grad_u: Tensor | None = None,
    backward: Backward = "full",
) -> None:
    """δ_T is in ``ws.delta``, the deltas before it in ``earlier``; leaves ∂L/∂x_0 in ``ws.adj``."""
    n, h, adj, product, d = ws.n, ws.h, ws.adj, ws.product, ws.d
    d_T, d_phi, d_g = d.mT, d[:, :n], d[:, n:]
    to_state, to_input, source = ws.W_back, ws.W[:, :, n : n + ws.m].mT, d
    to_state.copy_(ws.W[:, :, :n].mT)  # lying as it is multiplied: oneDNN would copy it at every step
    # a neuron's own weights beside the signals that they carry; those of a scalar gate neuron by neuron
    own: list[tuple[Tensor, Tensor]] = []
    each: Tensor | None = None
    if backward == "gate dropped":
        to_state, source = to_state[:, :, :n], d_phi
    elif backward == "diagonal":
        each = torch.empty_like(adj) if 0 < h < n else None
        rows = [(ws.W[:, :n, :n], d_phi)] + ([(ws.W[:, n:, :n], d_g if each is None else each)] if h else [])
        own = [(diagonal(W).unsqueeze(-1), signal) for W, signal in rows]
    leaking = ws.gated or backward != "full"  # without a gate Λ = 0, and g = 1 stands in ``ws.gates``
    adj.copy_(ws.delta)
    ws.grad_W.zero_()
    for j in range(len(ws.steps) - 1, -1, -1):
        phi, g = ws.candidates[j], ws.gates[j]
        if h:
            torch.sub(phi, ws.states[j], out=product).mul_(adj)
            if each is not None:
                _aten.sigmoid_backward.grad_input(product, ws.wide_gates[j], grad_input=each)
            signal = product.sum(-2, keepdim=True) if h < n else product
            _aten.sigmoid_backward.grad_input(signal, g, grad_input=d_g)
        if leaking:
            torch.mul(adj, g, out=product)
            _aten.tanh_backward.grad_input(product, phi, grad_input=d_phi)
            adj.sub_(product)
            if backward in ("full", "gate dropped"):
                adj.baddbmm_(to_state, source)
            for weight, carried in own:
                adj.addcmul_(weight, carried)
        else:
            _aten.tanh_backward.grad_input(adj, phi, grad_input=d_phi)
            torch.bmm(to_state, d, out=adj)
        # Transposed, (q, k): this orientation of the product is the faster one.
        ws.grad_W.baddbmm_(ws.steps[j], d_T)
        if grad_u is not None:
            torch.bmm(to_input, d, out=grad_u[j])
        if earlier is not None and j:
            adj.add_(earlier[j - 1])
        if j % FLUSH_EVERY == 0:
            flush(adj)
