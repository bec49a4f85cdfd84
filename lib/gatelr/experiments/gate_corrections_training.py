r"""The runs of E3: training with one backward pass, and what is measured of corrections on the way.

Apart from the plan, so that a learning rate which the search has found makes none of its runs again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gatelr import tasks, training
from gatelr.cells import GatedRNN
from gatelr.checkpoint import Kept
from gatelr.experiments import corrections, foreign_corrections, protocol
from gatelr.kernels.sweep import Backward, Workspace

#: Iterations of a window, and the distances between them that are kept one by one, odd and even.
WINDOW, DISTANCES = 64, (1, 2, 3, 4, 7, 8, 15, 16, 31, 32)

#: Lags of transports; those longer than the task are left out.
LAGS = (1, 2, 4, 8, 16)


def measure(
    setup: protocol.Setup,
    *,
    backward: Backward = "full",
    foreign: bool = False,
    data: int = protocol.TRAINING,
    sizes: Sequence[int] = (),
    windows: Sequence[int] = (),
    every: int = 0,
    n: int = 32,
    batch: int = 32,
    probed: int = 64,
    traced: int = 4,
    fresh: int = 500,
    window: int = WINDOW,
    distances: Sequence[int] = DISTANCES,
    lags: Sequence[int] = LAGS,
) -> training.Run:
    """Train with one backward pass, and measure on the way how large corrections are and how long they last.

    Args:
        setup: with a gate that is ``"scalar"`` or ``"multi"``; at its checkpoints the loss on fresh data is taken.
        backward: what each backward pass carries from step to step.
        foreign: whether each network's correction is replaced by its partner's
            (:mod:`gatelr.experiments.foreign_corrections`); then ``backward`` is ``"full"``.
        data: added to a seed for its training data: another number is the same network on other data.
        sizes: the steps before which the correction is measured in float64, on a fresh batch.
        windows: the first steps of windows of iterations whose training gradients are split, batch by batch.
        every: training gradients are also split at every step that this divides, for their sums; 0 for none.
        n, batch: neurons, and sequences of a batch.
        probed, traced: sequences on which the size is measured, and of those whose Jacobians are taken.
        fresh: sequences for the loss.
        window: W, iterations of a window.
        distances: between iterations, that are kept one by one; the mean is over each from 1 to the largest.
        lags: of transports.

    Returns:
        The run. Its probes hold a record for each seed under ``"training"`` (the loss on fresh data), ``"size"``
        (:func:`~gatelr.experiments.corrections.size`, what order 0 leaves out, and
        :func:`~gatelr.experiments.corrections.terms`), ``"displacement"``
        (:meth:`~gatelr.experiments.corrections.Displacement.shares` of all steps before) and, at the last step of a
        window, ``"persistence"``: of corrections ``c`` and of gradients ``g``
        :func:`~gatelr.experiments.corrections.persistence`, with the mean over distances, the cosine of two fresh
        batches at the weights of the window's start (``"c fresh"``), and that of corrections with those of the partner
        (``"c foreign"``).

    Raises:
        ValueError: for foreign corrections of a backward pass that is not full, or of fewer than two networks.
    """
    if foreign and backward != "full":
        raise ValueError(f"got foreign corrections and backward={backward!r}, expected 'full', which they are part of")
    task, seeds, checkpoints, model = setup.task, setup.seeds, setup.checkpoints, setup.network(n)
    engine = protocol.optimised(model, setup.optimiser, setup.rate)
    sources, unseen = training.generators(seeds, data), setup.draw(fresh, protocol.FRESH)
    on_probe = _to(setup.device, setup.draw(probed, protocol.PROBE, torch.float64))
    reached = [lag for lag in lags if lag <= task.steps]
    workspace, way = Workspace(), corrections.Displacement()
    start_of = {step: start for start in windows for step in range(start, start + window)}
    summed = range(0, setup.steps, every) if every else range(0)
    series = Kept(c=[], g=[], fresh={})  # the vectors of the window so far

    def size(model: GatedRNN) -> dict[str, Tensor]:
        wide = protocol.in_float64(model).requires_grad_()
        columns = corrections.size(corrections.split(wide, task, on_probe))
        beyond = corrections.size(corrections.split(wide, task, on_probe, without="order 0"))
        columns["beyond order 0"] = beyond["share"]
        return columns | corrections.terms(wide.requires_grad_(False), on_probe.u[:, :, :traced], reached)

    def split(model: GatedRNN, data: tasks.Batch) -> list[Tensor]:
        """The gradient and the correction of a batch, a row for each network."""
        parts = corrections.split(model, task, _to(setup.device, data), workspace)
        return [corrections.flat(part).cpu() for part in parts]

    def on_fresh_batches(model: GatedRNN) -> dict[str, Tensor]:
        """How alike two batches make the gradient, and the correction, at the same weights."""
        both = setup.draw(2 * batch, protocol.PROBE)
        halves = (slice(None, batch), slice(batch, None))
        one, other = (split(model, tasks.Batch(both.u[:, :, h], both.target[:, h])) for h in halves)
        return {kind: torch.cosine_similarity(one[i], other[i], dim=1) for i, kind in enumerate("gc")}

    def persistence() -> dict[str, Tensor]:
        columns: dict[str, Tensor] = {}
        for kind in ("c", "g"):
            vectors = torch.stack(series[kind])
            lasting = corrections.persistence(vectors, range(1, max(distances) + 1))
            columns |= {f"{kind} @{distance}": lasting.cosine[distance] for distance in distances}
            columns[f"{kind} mean"] = torch.stack(list(lasting.cosine.values())).mean(0)
            columns |= {f"{kind} {name}": getattr(lasting, name) for name in ("shuffled", "resultant", "random")}
            columns |= {f"{kind} fresh": series["fresh"][kind], f"{kind} foreign": foreign_corrections.cosine(vectors)}
            series[kind] = []
        return columns

    def probe(step: int, model: GatedRNN) -> protocol.Records:
        records: protocol.Records = {}
        if step in checkpoints:
            records["training"] = protocol.by_seed(seeds, {"loss": protocol.losses(model, task, unseen)})
        if step in sizes:
            records["size"] = protocol.by_seed(seeds, size(model))
            if step and every:
                records["displacement"] = protocol.by_seed(seeds, way.shares())
        if step in start_of or step in summed:
            # the batch that this step is about to be trained on, from the states in which its sources are
            gradient, correction = split(model, task.draw(batch, [source.clone_state() for source in sources]))
            if step in summed:
                way.add(gradient, correction)
            if step in start_of:
                series["c"].append(correction)
                series["g"].append(gradient)
                if step == start_of[step]:
                    series["fresh"] = on_fresh_batches(model)
                if step == start_of[step] + window - 1:
                    records["persistence"] = protocol.by_seed(seeds, persistence(), window=start_of[step])
        return records

    if foreign:
        setup = replace(setup, task=foreign_corrections.exchange(model, task, engine))
    return setup.train(
        model,
        probe,
        engine=engine,
        sources=sources,
        batch=batch,
        backward=backward,
        checkpoints=sorted({*checkpoints, *sizes, *start_of, *summed}),
        companions={"series": series, "way": way},
    )


def _to(device: torch.device | str, data: tasks.Batch) -> tasks.Batch:
    return tasks.Batch(data.u.to(device), data.target.to(device))
