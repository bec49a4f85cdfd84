"""The readout's gradient in closed form, for autograd: what training calls instead of a graph of T steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from gatelr.kernels import sweep


class LastState(torch.autograd.Function):
    """x_T with its closed-form backward: the trajectory is kept, the graph of T steps is not."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        """The last state of a sweep, which is kept for the way back."""
        u, x0, W, alpha, workspace, backward = inputs
        swept = sweep.forward(u, x0, W, alpha, workspace)
        # Saved even where they are read from the workspace: autograd then refuses a backward pass through a workspace
        # that has been filled anew, and frees the trajectory as soon as it is not needed where there is none.
        ctx.save_for_backward(swept.x, swept.z, swept.W)
        ctx.workspace, ctx.alpha, ctx.sizes = workspace, alpha, (x0.shape[-1], u.shape[-1])
        ctx.carried = backward
        return swept.states[-1].mT.clone()

    @staticmethod
    @once_differentiable  # a second derivative raises instead of being silently wrong
    def backward(ctx: Any, *cotangents: Any) -> tuple[Tensor | None, ...]:
        """The gradients of inputs, first state and weights, from that of the last state."""
        x, z, W = ctx.saved_tensors
        n, m = ctx.sizes
        swept = ctx.workspace or sweep.Workspace(record=False).hold(x, z, W, ctx.alpha, n, m)
        gradients = sweep.adjoint(swept, cotangents[0], input_gradient=ctx.needs_input_grad[0], backward=ctx.carried)
        return *gradients, None, None, None
