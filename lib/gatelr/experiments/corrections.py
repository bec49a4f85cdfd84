r"""Corrections that gates induce in gradients: how large they are and whether they last (measured by experiment E3).

The step Jacobian has a gate term G, and so has the gradient. Their correction is what that term adds:

.. math:: c = ∇L - ∇L|_{G = 0}

with the second gradient from a backward pass that carries :math:`\Lambda + R` from step to step. It is *small* if its
norm is, beside that of the gradient, and *persistent* if its direction lasts from one iteration to those after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from gatelr import jacobian, tasks
from gatelr.cells import GatedRNN, Trajectory
from gatelr.kernels.sweep import Backward, Workspace

#: The weights that make states; the readout's gradient does not pass through the transport.
WEIGHTS = ("W_r", "W_i", "W_rg", "W_ig", "b", "b_g")


class Split(NamedTuple):
    """A gradient and the correction in it, by name of the weight; with replicas each in its own row.

    Attributes:
        gradient: the whole.
        correction: what of it comes through the gate term.
    """

    gradient: dict[str, Tensor]
    correction: dict[str, Tensor]


def split(
    model: GatedRNN,
    task: tasks.Task,
    data: tasks.Batch,
    workspace: Workspace | None = None,
    *,
    without: Backward = "gate dropped",
) -> Split:
    r"""The gradient of the loss and its correction, :math:`c = ∇L - ∇L|_{G=0}`, for the weights that make states.

    Args:
        model, workspace: the network, whose weights require gradients, and memory for it to work in.
        task, data: whose loss, and a batch of the model's dtype.
        without: the backward pass that is taken off; another than the gate's asks for what is missing there.

    Returns:
        Both, each a dict by name of the parameter, in the parameter's shape.

    Raises:
        ValueError: for a network without a learned gate.

    Example:
        >>> import torch
        >>> from gatelr import tasks
        >>> from gatelr.experiments import corrections
        >>> from gatelr.cells import GatedRNN
        >>> generator = torch.Generator().manual_seed(0)
        >>> task = tasks.get("adding", steps=12)
        >>> model = GatedRNN(task.n_inputs, 8, "multi", generator=generator)
        >>> parts = corrections.split(model, task, task.draw(16, generator))
        >>> bool(parts.correction["W_r"].norm() < parts.gradient["W_r"].norm())
        True
    """
    if model.W_rg is None:
        raise ValueError(
            f"got a network with gate={model.gate!r}, expected 'scalar' or 'multi': "
            "a gate that does not read the state has no gate term, and corrects nothing"
        )
    wanted = {name: weight for name, weight in model.named_parameters() if name in WEIGHTS}
    passes: tuple[Backward, Backward] = ("full", without)
    whole, part = (
        torch.autograd.grad(
            task.loss(model(data.u, workspace=workspace, backward=backward), data.target).sum(), list(wanted.values())
        )
        for backward in passes
    )
    gradient = dict(zip(wanted, whole, strict=True))
    return Split(gradient, {name: a - b for (name, a), b in zip(gradient.items(), part, strict=True)})


def flat(parts: dict[str, Tensor]) -> Float[Tensor, "S P"]:
    """All weights of each replica in one row."""
    return torch.cat([part.flatten(1) for part in parts.values()], 1)


def size(parts: Split) -> dict[str, Tensor]:
    r"""The correction beside the gradient that it is part of, for each replica.

    Returns:
        ``"share"``, :math:`\lVert c \rVert / \lVert ∇L \rVert` of all weights together, ``"cosine"`` between the two
        vectors, and by the name of each weight its own share.
    """
    gradient, correction = flat(parts.gradient), flat(parts.correction)
    by_weight = {
        name: part.flatten(1).norm(dim=1) / parts.gradient[name].flatten(1).norm(dim=1)
        for name, part in parts.correction.items()
    }
    share = correction.norm(dim=1) / gradient.norm(dim=1)
    return {"share": share, "cosine": torch.cosine_similarity(correction, gradient, dim=1), **by_weight}


def terms(model: GatedRNN, u: Float[Tensor, "T S B m"], lags: Sequence[int]) -> dict[str, Tensor]:
    r"""How much the gate term weighs in one Jacobian, and in products of them that end at the last step.

    .. math::
        \frac{\lVert G_t \rVert_2}{\lVert \Lambda_t + R_t \rVert_2}, \qquad
        \frac{\lVert M_{T,T-\ell} - M_{T,T-\ell}|_{G=0} \rVert_F}{\lVert M_{T,T-\ell} \rVert_F}

    Args:
        model, u: with replicas and a learned gate, and inputs of its dtype.
        lags: ℓ, at most T.

    Returns:
        For each replica medians over sequences: ``"G"`` of the first, over steps too, and of the second ``"M @lag"``.
    """
    with torch.no_grad():
        run = model.run(u)
        ratios: dict[str, list[Tensor]] = {name: [] for name in ("G", *(f"M @{lag}" for lag in sorted(lags)))}
        for s in range(u.shape[1]):  # one after the other: the Jacobians of all would take gigabytes
            leak, recurrent, gate = jacobian.terms(model.replica(s), Trajectory(*(v[:, s] for v in run)))
            rest = leak + recurrent
            ratios["G"].append((torch.linalg.matrix_norm(gate, 2) / torch.linalg.matrix_norm(rest, 2)).median())
            whole, without = torch.eye(rest.shape[-1], dtype=u.dtype, device=u.device).expand(2, *rest[0].shape)
            for lag in range(1, max(lags) + 1):  # the oldest factor stands on the right
                whole, without = whole @ (rest[-lag] + gate[-lag]), without @ rest[-lag]
                if lag in lags:
                    share = torch.linalg.matrix_norm(whole - without) / torch.linalg.matrix_norm(whole)
                    ratios[f"M @{lag}"].append(share.median())
    return {name: torch.stack(medians) for name, medians in ratios.items()}


class Persistence(NamedTuple):
    """How far a direction lasts over W iterations, each for every replica.

    Attributes:
        cosine: by distance, the mean cosine of two vectors that many iterations apart.
        shuffled: what the same mean is in random order: the mean cosine of all pairs.
        resultant: the norm of the mean vector over the mean norm; 1 for one direction.
        random: the same with random signs, about :math:`1/\\sqrt{W}`.
    """

    cosine: dict[int, Tensor]
    shuffled: Float[Tensor, " S"]
    resultant: Float[Tensor, " S"]
    random: Float[Tensor, " S"]


def persistence(vectors: Float[Tensor, "W S P"], distances: Sequence[int]) -> Persistence:
    r"""Whether vectors of successive iterations point the same way.

    .. math::
        a(Δ) = \frac{1}{W - Δ} \sum_s \cos(c_s, c_{s+Δ}), \qquad
        \bar a = \frac{2}{W (W-1)} \sum_{s < s'} \cos(c_s, c_{s'}), \qquad
        \frac{\lVert \sum_s c_s \rVert}{\sum_s \lVert c_s \rVert}

    Independent directions have :math:`a = 0`. In random order the mean of :math:`a(Δ)` is :math:`\bar a` at every
    distance, and what exceeds it is memory beyond the mean. With random signs the squared norm of the sum is
    :math:`\sum_s \lVert c_s \rVert^2` on average, whose root is the null of the last ratio.

    Args:
        vectors: of successive iterations.
        distances: Δ, from 1 to W - 1.

    Raises:
        ValueError: for a distance outside 1 … W - 1.

    Example:
        >>> import torch
        >>> from gatelr.experiments import corrections
        >>> swinging = torch.tensor([1.0, 1.0, -1.0, -1.0] * 16).reshape(64, 1, 1)
        >>> lasting = corrections.persistence(swinging, [2, 4])
        >>> float(lasting.cosine[2]), float(lasting.cosine[4])
        (-1.0, 1.0)
        >>> float(lasting.resultant)
        0.0
    """
    W = len(vectors)
    if wrong := [distance for distance in distances if not 1 <= distance < W]:
        raise ValueError(f"got a distance of {wrong[0]} iterations in a window of {W}, expected 1 to {W - 1}")
    norms = vectors.norm(dim=-1)
    unit = (vectors / norms.unsqueeze(-1)).transpose(0, 1)
    cosines = unit @ unit.mT  # (S, W, W)
    pairs = cosines.sum((1, 2)) - cosines.diagonal(dim1=1, dim2=2).sum(1)
    return Persistence(
        {distance: cosines.diagonal(distance, 1, 2).mean(1) for distance in distances},
        pairs / (W * (W - 1)),
        vectors.sum(0).norm(dim=-1) / norms.sum(0),
        norms.square().sum(0).sqrt() / norms.sum(0),
    )


class Displacement:
    r"""What a sum of corrections is beside the sum of the gradients, which under plain SGD is where training went.

    .. math::
        \frac{\lVert \sum_s c_s \rVert}{\lVert \sum_s ∇_s \rVert}, \qquad
        \frac{\langle \sum_s c_s, \sum_s ∇_s \rangle}{\lVert \sum_s ∇_s \rVert^2}, \qquad
        \frac{\sum_s \lVert c_s \rVert}{\sum_s \lVert ∇_s \rVert}

    The first says how long the summed corrections are beside the way, the second how much of the way they make; the
    third how large they were step by step. If corrections add up as gradients do, the first is as large as the third.
    """

    def __init__(self) -> None:
        self._sums: list[Tensor] = []

    def add(self, gradient: Float[Tensor, "S P"], correction: Float[Tensor, "S P"]) -> None:
        """Take in one iteration."""
        now = [gradient, correction, gradient.norm(dim=1), correction.norm(dim=1), correction.square().sum(1)]
        if not self._sums:
            self._sums = [torch.zeros_like(vector, dtype=torch.float64) for vector in now]
        for total, vector in zip(self._sums, now, strict=True):
            total += vector

    def state_dict(self) -> dict[str, Any]:
        """The sums."""
        return {"sums": self._sums}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Go on from there."""
        self._sums = state_dict["sums"]

    def shares(self) -> dict[str, Tensor]:
        """``"length"``, ``"along"`` and ``"steps"`` as above, and ``"random"``: the first with random signs."""
        gradient, correction, all_gradients, all_corrections, squares = self._sums
        way = gradient.norm(dim=1)
        return {
            "length": correction.norm(dim=1) / way,
            "along": (correction * gradient).sum(1) / way.square(),
            "steps": all_corrections / all_gradients,
            "random": squares.sqrt() / way,
        }
