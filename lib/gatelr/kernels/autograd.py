"""The readout's gradient in closed form, for autograd: what training calls instead of a graph of T steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gatelr.kernels import build, compiled, sweep


def joined(
    W_r: Tensor, W_rg: Tensor | None, W_i: Tensor, W_ig: Tensor | None, b: Tensor | None, b_g: Tensor | None
) -> Tensor:
    """One matrix a replica, ``(S, k, q)``: candidate over gate; state, input and bias beside each other."""
    W = _beside(W_r, W_i, b)
    if W_rg is not None:
        W = torch.cat([W, _beside(W_rg, W_ig, b_g)], -2)
    return W if W.ndim == 3 else W.unsqueeze(0)


def _beside(state: Tensor, *others: Tensor | None) -> Tensor:
    parts = [w if w.ndim == state.ndim else w.unsqueeze(-1) for w in others if w is not None]
    return torch.cat([state, *parts], -1)


class LastState(torch.autograd.Function):
    """x_T with its closed-form backward: the trajectory is kept, the graph of T steps is not.

    The weights come one by one, in the order of :func:`joined`, and are joined in here: autograd then has no graph of
    that either. What the backward pass reads is saved though a workspace holds it too. Autograd then refuses a backward
    pass through a workspace that has been filled anew, and frees the trajectory where there is none.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        """x_T of u, x0, alpha, workspace, backward and the weights, shaped as x0."""
        all_u, all_x0, alpha, workspace, backward, *weights = inputs
        W = joined(*weights)
        ctx.shapes, S = (all_u.shape, all_x0.shape), len(W)
        u, x0 = all_u.reshape(len(all_u), S, -1, all_u.shape[-1]), all_x0.reshape(S, -1, all_x0.shape[-1])
        ctx.shapes_of_weights = [None if weight is None else weight.shape for weight in weights]
        ctx.workspace, ctx.carried, ctx.compiled = workspace, backward, build.serves(W)
        if ctx.compiled:
            swept = compiled.forward(u, x0, W, alpha, into=workspace.compiled if workspace else None)
            if workspace:
                workspace.compiled = swept
            ctx.alpha = swept.alpha
            ctx.save_for_backward(swept.u, swept.x, swept.phi, swept.g, W)
            return swept.x[-1].clone().reshape(all_x0.shape)
        plain = sweep.forward(u, x0, W, alpha, workspace)
        ctx.alpha = alpha
        ctx.save_for_backward(plain.x, plain.z, plain.W)
        return plain.states[-1].mT.clone().reshape(all_x0.shape)

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> tuple[Tensor | None, ...]:
        """The gradients at u, x0 and the weights; None for what is no tensor."""
        if torch.is_grad_enabled():
            raise RuntimeError(
                "got create_graph=True, or a second derivative, through model(u), whose gradient is a closed form that "
                "cannot be differentiated: differentiate model.run(u) instead"
            )
        (shape_u, shape_x0), wanted = ctx.shapes, {"input_gradient": ctx.needs_input_grad[0], "backward": ctx.carried}
        n, m = shape_x0[-1], shape_u[-1]
        if ctx.compiled:
            u, x, phi, g, W = ctx.saved_tensors
            delta = cotangents[0].reshape(x.shape[1:])
            gradients = compiled.adjoint(compiled.Swept(u, x, phi, g, W, ctx.alpha), delta, **wanted)
        else:
            x, z, W = ctx.saved_tensors
            plain = ctx.workspace or sweep.Workspace(record=False).hold(x, z, W, ctx.alpha, n, m)
            gradients = sweep.adjoint(plain, cotangents[0].reshape(len(W), -1, n), **wanted)
        of_each = (half for part in gradients.W for half in part.tensor_split((n,), -2))  # candidate over gate
        parts = [
            None if shape is None else half.reshape(shape)
            for half, shape in zip(of_each, ctx.shapes_of_weights, strict=True)
        ]
        grad_u = None if gradients.u is None else gradients.u.reshape(shape_u)
        return grad_u, gradients.x0.reshape(shape_x0), None, None, None, *parts
