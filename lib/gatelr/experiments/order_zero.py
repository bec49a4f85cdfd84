"""Order 0 along trained networks: how neurons divide the budget, and what rates leave out of transport and gradient."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cosine_similarity

from gatelr import adjoint, rates, transport
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments import digits
from gatelr.jacobian import Terms


def budget_by_lag(trajectory: Trajectory, edges: Sequence[int]) -> pd.DataFrame:
    """How each neuron of the first network divides the last step's rate over groups of lags, as means over sequences.

    Neurons are ordered by how far back their budget reaches; what is ``"not given out"`` belongs to the initial state.
    """
    T = len(trajectory.x)
    share, left = rates.shares(trajectory)[:, 0].flip(0), rates.retention(trajectory, T)[:1, 0]
    parts = torch.cat([share, left]).cpu()  # the initial state last, as if it were lag T
    reach = torch.einsum("tbn,t->n", parts, torch.arange(T + 1, dtype=parts.dtype))
    means = parts.permute(2, 0, 1).contiguous().mean(-1)[reach.argsort(descending=True)]
    names = ["now" if high == 1 else f"{low}–{high - 1}" for low, high in pairwise(edges)] + ["not given out"]
    groups = means.split([high - low for low, high in pairwise(edges)] + [1], 1)
    return pd.DataFrame({name: group.sum(1).numpy() for name, group in zip(names, groups, strict=True)})


def deal_anew(trajectory: Trajectory, generator: torch.Generator) -> Trajectory:
    """The same gates, dealt out to other neurons at each step: the placebo of neurons that are slow for long."""
    g = trajectory.g
    deal = torch.rand(g.shape, generator=generator).argsort(-1).to(g.device)
    return trajectory._replace(g=g.gather(-1, deal))


def diagonal_errors(trajectory: Trajectory, terms: Terms, lag: int) -> dict[str, Float[Tensor, "W S B"]]:
    """How far three estimates are from the diagonal of transport, relative to it, and what share is not on it.

    The ``"placebo"`` is corrected to first order with another sequence's terms.
    """
    M = transport.products(sum(terms[1:], terms.leak), lag)
    diagonal = M.diagonal(dim1=-2, dim2=-1)
    other = Terms(terms.leak, terms.recurrent.roll(1, 2), terms.gate.roll(1, 2))
    estimates = {
        "order 0": rates.retention(trajectory, lag),
        "corrected": rates.corrected(terms, lag),
        "placebo": rates.corrected(other, lag),
    }
    size = diagonal.norm(dim=-1)
    errors = {name: (estimate - diagonal).norm(dim=-1) / size for name, estimate in estimates.items()}
    off = (M - torch.diag_embed(diagonal)).flatten(-2)
    return errors | {"off the diagonal": off.norm(dim=-1) / M.flatten(-2).norm(dim=-1)}


def corrected_to_last(terms: Terms) -> Float[Tensor, "T S B n"]:
    """What each step's state is kept of at the last step, corrected to first order: ``rates.corrected`` at every lag.

    Index ``j`` holds step ``j + 1``; one sweep backwards, where a call for each lag would go over all windows.
    """
    kept, change = (part.diagonal(dim1=-2, dim2=-1) for part in (terms.leak, terms.recurrent + terms.gate))
    order0, order1 = torch.ones_like(kept[0]), torch.zeros_like(kept[0])
    retained = []
    for kept_t, change_t in zip(kept.flip(0), change.flip(0), strict=True):
        retained.append(order0 + order1)
        order0, order1 = order0 * kept_t, order1 * kept_t + order0 * change_t
    return torch.stack(retained[::-1])


def imitations(
    model: GatedRNN, trajectory: Trajectory, terms: Terms, target: Int[Tensor, " B"]
) -> dict[str, tuple[Float[Tensor, "S B"], Float[Tensor, "S B"]]]:
    """Relative error and cosine of gradients by W_r that are made of rates, against the exact one of each sequence.

    Three are nulls: order 0 with the rates of ``"another digit"``, with each gate replaced by its mean over steps and
    sequences (``"mean gates"``), and the term of ``"lag 0 alone"``, which knows no time-scale.
    """
    delta = digits.delta(model, trajectory, target)
    with torch.no_grad():
        exact = adjoint.gradients(model, trajectory, delta, per_sample=True)["W_r"].flatten(-2)
        share = rates.shares(trajectory)
        fixed = trajectory._replace(g=trajectory.g.mean((0, 2), keepdim=True).expand_as(trajectory.g))
        newest = torch.zeros_like(share)
        newest[-1] = share[-1]
        by_rates = {
            "order 0": share,
            "corrected": trajectory.g * corrected_to_last(terms),
            "another digit": share.roll(1, 2),
            "mean gates": rates.shares(fixed),
            "lag 0 alone": newest,
        }
        compared = {}
        for name, rate in by_rates.items():
            signal = rate * (1 - trajectory.phi**2) * delta[-1]
            gradient = torch.einsum("tsbq,tsbp->sbqp", signal, trajectory.x_prev).flatten(-2)
            error = (gradient - exact).norm(dim=-1) / exact.norm(dim=-1)
            compared[name] = (error, cosine_similarity(gradient, exact, dim=-1))
    return compared
