r"""Corrections that gates induce in gradients: how large they are, whether they last, and what they do (protocol E3).

The step Jacobian has a gate term G, and so has the gradient. Their correction is what that term adds:

.. math:: c = ∇L - ∇L|_{G = 0}

with the second gradient from a backward pass that carries :math:`\Lambda + R` from step to step. It is *small* if its
norm is, beside that of the gradient; *persistent* if its direction lasts from one iteration to those after it; and
*effective* if networks that are trained without it end elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from gatelr import jacobian, tasks, training
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments import protocols
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
        model: the network, whose weights require gradients.
        task: whose loss.
        data: a batch of the model's dtype.
        workspace: memory to work in, as for the model.
        without: the backward pass that is taken off; another than the gate's asks for what is missing there.

    Returns:
        Both, each a dict by name of the parameter, in the parameter's shape.

    Raises:
        ValueError: for a network without a learned gate.

    Example:
        >>> import torch
        >>> from gatelr import corrections, tasks
        >>> from gatelr.cells import GatedRNN
        >>> generator = torch.Generator().manual_seed(0)
        >>> task = tasks.get("adding", steps=12)
        >>> model = GatedRNN(task.n_inputs, 8, "multi", generator=generator)
        >>> found = corrections.split(model, task, task.draw(16, generator))
        >>> bool(found.correction["W_r"].norm() < found.gradient["W_r"].norm())
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


class Size(NamedTuple):
    """How large a correction is, for each replica.

    Attributes:
        share: its norm over that of the gradient, all weights together.
        by_weight: the same, weight by weight.
        cosine: between the two vectors.
    """

    share: Float[Tensor, " S"]
    by_weight: dict[str, Tensor]
    cosine: Float[Tensor, " S"]


def size(found: Split) -> Size:
    r"""The correction beside the gradient that it is part of, :math:`\lVert c \rVert / \lVert ∇L \rVert`.

    Args:
        found: of a model with replicas.

    Returns:
        The ratio of all weights together and of each, and the cosine between correction and gradient.
    """
    gradient, correction = flat(found.gradient), flat(found.correction)
    by_weight = {
        name: part.flatten(1).norm(dim=1) / found.gradient[name].flatten(1).norm(dim=1)
        for name, part in found.correction.items()
    }
    return Size(
        correction.norm(dim=1) / gradient.norm(dim=1),
        by_weight,
        torch.cosine_similarity(correction, gradient, dim=1),
    )


class Terms(NamedTuple):
    """The gate term beside the others, medians for each replica.

    Attributes:
        step: in a step Jacobian.
        transport: in products of them, by lag.
    """

    step: Float[Tensor, " S"]
    transport: dict[int, Tensor]


def terms(model: GatedRNN, u: Float[Tensor, "T S B m"], lags: Sequence[int]) -> Terms:
    r"""How much the gate term weighs in one Jacobian, and in products of them that end at the last step.

    .. math::
        \frac{\lVert G_t \rVert_2}{\lVert \Lambda_t + R_t \rVert_2}, \qquad
        \frac{\lVert M_{T,T-\ell} - M_{T,T-\ell}|_{G=0} \rVert_F}{\lVert M_{T,T-\ell} \rVert_F}

    Args:
        model: with replicas and a learned gate.
        u: inputs of the model's dtype.
        lags: ℓ, at most T.

    Returns:
        The median over steps and sequences, and for each lag that over sequences.
    """
    with torch.no_grad():
        run = model.run(u)
        step, transport = [], []
        for s in range(u.shape[1]):  # one after the other: the Jacobians of all would take gigabytes
            leak, recurrent, gate = jacobian.terms(model.replica(s), Trajectory(*(v[:, s] for v in run)))
            rest = leak + recurrent
            norm = torch.linalg.matrix_norm(gate, 2) / torch.linalg.matrix_norm(rest, 2)
            step.append(norm.median())
            whole, without = torch.eye(rest.shape[-1], dtype=u.dtype, device=u.device).expand(2, *rest[0].shape)
            ratios = []
            for lag in range(1, max(lags) + 1):  # the oldest factor stands on the right
                whole, without = whole @ (rest[-lag] + gate[-lag]), without @ rest[-lag]
                if lag in lags:
                    size = torch.linalg.matrix_norm(whole - without) / torch.linalg.matrix_norm(whole)
                    ratios.append(size.median())
            transport.append(torch.stack(ratios))
    by_lag = torch.stack(transport, 1)
    return Terms(torch.stack(step), dict(zip(sorted(lags), by_lag, strict=True)))


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

    Independent directions have :math:`a = 0`. A direction that is always there survives any shuffling: in random
    order the mean of :math:`a(Δ)` is :math:`\bar a` at every distance, and what exceeds it is memory beyond the mean.
    With random signs the squared norm of the sum is :math:`\sum_s \lVert c_s \rVert^2` on average, whose root is the
    null of the last ratio.

    Args:
        vectors: of successive iterations.
        distances: Δ, from 1 to W - 1.

    Returns:
        The mean cosines with their null, and the resultant with its own.

    Raises:
        ValueError: for a distance outside 1 … W - 1.

    Example:
        >>> import torch
        >>> from gatelr import corrections
        >>> swinging = torch.tensor([1.0, 1.0, -1.0, -1.0] * 16).reshape(64, 1, 1)
        >>> found = corrections.persistence(swinging, [2, 4])
        >>> float(found.cosine[2]), float(found.cosine[4])
        (-1.0, 1.0)
        >>> float(found.resultant)
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


def small_persistent_effective(
    task: tasks.Task,
    gate: str,
    seeds: Sequence[int],
    *,
    optimiser: protocols.Optimiser = "SGD",
    rate: float | None = None,
    backward: Backward = "full",
    data: int = protocols.TRAINING,
    steps: int = 2000,
    checkpoints: Sequence[int] = (0, 500, 1000, 1500, 2000),
    sizes: Sequence[int] = (),
    windows: Sequence[int] = (),
    window: int = 64,
    every: int = 0,
    distances: Sequence[int] = (1, 2, 4, 8, 16, 32),
    lags: Sequence[int] = (1, 2, 4, 8, 16),
    probed: int = 64,
    traced: int = 4,
    fresh: int = 500,
    n: int = 32,
    batch: int = 32,
    device: torch.device | str = "cpu",
    progress: bool | None = None,
) -> training.Run:
    """Train with one backward pass, and measure on the way how large corrections are and how long they last.

    Args:
        task: what to learn.
        gate: ``"scalar"`` or ``"multi"``.
        seeds: one replica for each.
        optimiser: which.
        rate: of the optimiser; as published by default.
        backward: what each backward pass carries from step to step.
        data: added to a seed for its training data: another number is the same network on other data.
        steps: number of updates.
        checkpoints: the steps before which the loss on fresh data is taken.
        sizes: the steps before which the correction is measured in float64, on a fresh batch.
        windows: the first steps of windows of iterations whose training gradients are split, batch by batch.
        window: W, iterations of each.
        every: training gradients are also split at every step that this divides, for their sums; 0 for none.
        distances: between iterations, up to W - 1.
        lags: of transports; those longer than the task are left out.
        probed: sequences of a fresh batch.
        traced: how many of them Jacobians are taken along.
        fresh: sequences for the loss, which training never sees.
        n: neurons.
        batch: sequences a step.
        device: where to compute; every draw is made on the CPU.
        progress: whether to show a bar, as for ``training.train``.

    Returns:
        The run; its probes hold records ``"training"`` (seed; fresh loss and that of the best constant); ``"size"``
        (seed; as :func:`size`, and what the diagonal and order 0 leave out), ``"terms"`` (seed, lag; as :func:`terms`,
        with lag 0 for the step) and ``"displacement"`` (seed; as :meth:`Displacement.shares`, of all steps before);
        and at the last step of a window ``"persistence"`` (seed, window, kind, distance; as :func:`persistence`) and
        ``"resultant"`` (seed, window, kind), with the gradient itself as the other kind.
    """
    model = protocols.network(task, gate, seeds, n, device=device)
    sources = training.generators(seeds, data)
    unseen = task.draw(fresh, training.generators(seeds, protocols.FRESH), held_out=True)
    on_probe = task.draw(probed, training.generators(seeds, protocols.PROBE), torch.float64)
    on_probe = tasks.Batch(on_probe.u.to(device), on_probe.target.to(device))
    reached = [lag for lag in lags if lag <= task.steps]
    workspace, way = Workspace(), Displacement()
    within = {step: start for start in windows for step in range(start, start + window)}
    summed = range(0, steps, every) if every else range(0)
    series: dict[str, list[Tensor]] = {}

    def measured(model: GatedRNN) -> dict[str, list[dict[str, Any]]]:
        wide = protocols.in_float64(model)
        of = size(split(wide.requires_grad_(), task, on_probe))
        beyond = {name: size(split(wide, task, on_probe, without=name)).share for name in ("diagonal", "order 0")}
        ratio = terms(wide.requires_grad_(False), on_probe.u[:, :, :traced], reached)
        found: dict[str, list[dict[str, Any]]] = {"size": [], "terms": []}
        for s, seed in enumerate(seeds):
            each = {name: float(share[s]) for name, share in of.by_weight.items()}
            found["size"].append(
                {"seed": seed, "share": float(of.share[s]), "cosine": float(of.cosine[s])}
                | each
                | {f"beyond {name}": float(share[s]) for name, share in beyond.items()}
            )
            for lag, values in {0: ratio.step, **ratio.transport}.items():
                found["terms"].append({"seed": seed, "lag": lag, "share": float(values[s])})
        return found

    def probe(step: int, model: GatedRNN) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        if step in checkpoints:
            loss = protocols.losses(model, task, unseen)
            found["training"] = [
                {"seed": seed, "loss": float(loss[s]), "constant": task.constant_loss} for s, seed in enumerate(seeds)
            ]
        if step in sizes:
            found |= measured(model)
            if step and every:
                shares = {name: share.tolist() for name, share in way.shares().items()}
                found["displacement"] = [
                    {"seed": seed} | {name: share[s] for name, share in shares.items()} for s, seed in enumerate(seeds)
                ]
        if step in within or step in summed:
            # the batch that this step is about to be trained on, from the states in which its sources are
            ahead = task.draw(batch, [source.clone_state() for source in sources])
            here = tasks.Batch(ahead.u.to(device), ahead.target.to(device))
            both = split(model, task, here, workspace)
            now = {"gradient": flat(both.gradient).cpu(), "correction": flat(both.correction).cpu()}
            if step in summed:
                way.add(**now)
            if step in within:
                for kind, vectors in now.items():
                    series.setdefault(kind, []).append(vectors)
                if step == within[step] + window - 1:
                    found |= {"persistence": [], "resultant": []}
                    for kind in now:
                        lasting = persistence(torch.stack(series.pop(kind)), distances)
                        for s, seed in enumerate(seeds):
                            key = {"seed": seed, "window": within[step], "kind": kind}
                            shuffled = {"shuffled": float(lasting.shuffled[s])}
                            found["persistence"] += [
                                key | {"distance": distance, "cosine": float(cosine[s])} | shuffled
                                for distance, cosine in lasting.cosine.items()
                            ]
                            found["resultant"].append(
                                key | {"resultant": float(lasting.resultant[s])} | {"random": float(lasting.random[s])}
                            )
        return found

    return training.train(
        model,
        task,
        protocols.optimised(model, optimiser, rate),
        steps,
        sources,
        batch=batch,
        backward=backward,
        probe=probe,
        checkpoints=sorted({*checkpoints, *sizes, *within, *summed}),
        progress=progress,
    )
