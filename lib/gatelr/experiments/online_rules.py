"""Learning while reading: rules with an eligibility trace, beside the gradient that they stand for (claim C12)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cosine_similarity, one_hot

from gatelr import adjoint, jacobian
from gatelr.cells import GatedRNN, Trajectory


def credits(trajectory: Trajectory) -> Float[Tensor, "T *batch n n"]:
    r"""What a trace averages, :math:`φ'(a_t) x_{t-1}^\top`, for every step."""
    return (1 - trajectory.phi**2).unsqueeze(-1) * trajectory.x_prev.unsqueeze(-2)


def online(
    trajectory: Trajectory, delta: Float[Tensor, "T *batch n"], decay: Float[Tensor, "T *batch h"]
) -> Float[Tensor, "*batch n n"]:
    r"""The gradient of W_r that a trace gives, one step at a time.

    .. math::
        \sum_t \mathrm{diag}(δ_t) E_t, \qquad
        E_t = \mathrm{diag}(β_t) E_{t-1} + \mathrm{diag}(g_t) φ'(a_t) x_{t-1}^\top

    The decay β is 1 - g for order 0 and RFLO, the diagonal of J for e-prop.
    """
    write = trajectory.g.expand_as(trajectory.x).unsqueeze(-1)
    E = total = torch.zeros_like(trajectory.x[0]).unsqueeze(-1) * trajectory.x[0].unsqueeze(-2)
    for t, credit in enumerate(credits(trajectory)):
        E = decay[t].unsqueeze(-1) * E + write[t] * credit
        total = total + delta[t].unsqueeze(-1) * E
    return total


@torch.no_grad()
def cosines(
    model: GatedRNN, trajectory: Trajectory, target: Int[Tensor, " B"]
) -> tuple[dict[str, Float[Tensor, "S B"]], Float[Tensor, "T S B n"]]:
    """How far each rule points along the gradient of W_r, digit by digit, for a cross entropy at the last step.

    Also returns the delta of that loss with the readout's own weights.
    """
    assert model.b_o is not None
    error = trajectory.x[-1] @ model.W_o.mT + model.b_o.unsqueeze(1)
    error = error.softmax(-1) - one_hot(target, model.n_outputs)
    draw = torch.Generator().manual_seed(0)
    stray = torch.randn(model.W_o.shape, generator=draw, dtype=torch.float64).to(error.device)
    delta, random = torch.zeros_like(trajectory.x), torch.zeros_like(trajectory.x)
    delta[-1], random[-1] = error @ model.W_o, error @ stray
    exact = adjoint.gradients(model, trajectory, delta, per_sample=True)["W_r"].flatten(2)
    own = jacobian.blocks(model, trajectory).diagonal(dim1=-2, dim2=-1)
    rules = {
        "order-0 trace": online(trajectory, delta, 1 - trajectory.g),
        "trace with the diagonal": online(trajectory, delta, own),
        "order-0 trace, random feedback": online(trajectory, random, 1 - trajectory.g),
    }
    return {rule: cosine_similarity(ours.flatten(2), exact, dim=-1) for rule, ours in rules.items()}, delta
