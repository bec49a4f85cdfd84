"""The readout's gradient in closed form, for autograd: what training calls instead of a graph of T steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gatelr.kernels import compiled, sweep


class LastState(torch.autograd.Function):
    """x_T with its closed-form backward: the trajectory is kept, the graph of T steps is not.

    What the backward pass reads is saved though a workspace holds it too. Autograd then refuses a backward pass through
    a workspace that has been filled anew, and frees the trajectory where there is none.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        u, x0, W, alpha, workspace, backward = inputs
        ctx.workspace, ctx.carried, ctx.compiled = workspace, backward, compiled.serves(W)
        if ctx.compiled:
            swept = compiled.forward(u, x0, W, alpha, into=workspace.compiled if workspace else None)
            if workspace:
                workspace.compiled = swept
            ctx.alpha = swept.alpha
            ctx.save_for_backward(swept.u, swept.x, swept.phi, swept.g, W)
            return swept.x[-1].clone()
        plain = sweep.forward(u, x0, W, alpha, workspace)
        ctx.alpha, ctx.sizes = alpha, (x0.shape[-1], u.shape[-1])
        ctx.save_for_backward(plain.x, plain.z, plain.W)
        return plain.states[-1].mT.clone()

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "got create_graph=True, or a second derivative, through model(u), whose gradient is a closed form that "
                "cannot be differentiated: differentiate model.run(u) instead"
            )
        wanted = {"input_gradient": ctx.needs_input_grad[0], "backward": ctx.carried}
        if ctx.compiled:
            u, x, phi, g, W = ctx.saved_tensors
            gradients = compiled.adjoint(compiled.Swept(u, x, phi, g, W, ctx.alpha), cotangents[0], **wanted)
        else:
            x, z, W = ctx.saved_tensors
            plain = ctx.workspace or sweep.Workspace(record=False).hold(x, z, W, ctx.alpha, *ctx.sizes)
            gradients = sweep.adjoint(plain, cotangents[0], **wanted)
        return *gradients, None, None, None
