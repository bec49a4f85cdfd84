"""Are time and batch swapped?"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from gatelr.networks.diagnosis.evidence import Evidence
from gatelr.networks.diagnosis.observe import Seen, drops_out
from gatelr.networks.diagnosis.result import Finding
from gatelr.networks.diagnosis.thresholds import ALIKE_IN_BATCH, ALIKE_IN_TIME, PERMUTED


def find(evidence: Evidence) -> Iterator[Finding]:
    """``axes-swapped``, suspected from shapes or from what the loss reads, and shown by permuting samples."""
    layers = [seen for seen in evidence.observation.seen if isinstance(seen.module, nn.RNNBase)]
    if not layers or evidence.lengths is not None or layers[0].lengths is not None or layers[0].inputs.ndim != 3:
        return
    seen = layers[0]
    T, B = seen.time_first(seen.inputs).shape[:2]
    changed = _permuted(evidence, seen)
    reads_one = _reads_one_entry(layers[-1])
    suspected = _target_has_time(evidence, T, B) or reads_one
    if changed is not None and changed > PERMUTED and (suspected or not _is_layer(evidence)):
        yield _swapped(evidence, seen, T, B, changed, f"permuting the samples changes their outputs by {changed:.0%}")
    elif reads_one:
        shown = f"the loss reads all {T} steps of 1 of the {B} sequences, and no other sequence"
        yield _swapped(evidence, seen, T, B, 1 / B, shown)
    elif suspected:
        shown = f"the target has {T} entries, as many as there are steps, for {B} sequences"
        yield _swapped(evidence, seen, T, B, float(T), shown)
    else:
        time, batch = _alike(seen.time_first(seen.inputs))
        if abs(time) < ALIKE_IN_TIME and batch > ALIKE_IN_BATCH:
            shown = (
                f"neighbours in what it takes for the batch are alike (correlation {batch:.2f}), "
                f"those in time are not ({time:.2f})"
            )
            yield _swapped(evidence, seen, T, B, batch, shown)


def _is_layer(evidence: Evidence) -> bool:
    return isinstance(evidence.model, nn.RNNBase)


def _target_has_time(evidence: Evidence, T: int, B: int) -> bool:
    """Whether the target has an entry for each step and not for each sequence."""
    target = evidence.target
    if not isinstance(target, Tensor) or target.ndim == 0 or B in (1, T) or target.shape[0] != T:
        return False
    return target.ndim == 1 or target.shape[1] != B


def _reads_one_entry(seen: Seen) -> bool:
    """Whether the loss reads many steps of a single sequence of the batch."""
    if seen.delta is None:
        return False
    read = seen.time_first(seen.delta).abs().amax(-1) > 0  # (T, B)
    sequences, steps = int(read.any(0).sum()), int(read.any(1).sum())
    return sequences == 1 < read.shape[1] and steps > max(1, len(read) // 2)


def _permuted(evidence: Evidence, seen: Seen) -> float | None:
    """How much samples' outputs change if the samples are put in another order; None where it cannot be tried.

    Samples are what the target counts; for a model without a target, what both input and output have in front.
    """
    u, output = evidence.u, evidence.observation.output
    if not isinstance(u, Tensor) or not isinstance(output, Tensor) or u.ndim < 2 or output.ndim < 1:
        return None
    if drops_out(evidence.model):  # each place has its own mask, which changes what comes out as well
        return None
    T, B = seen.time_first(seen.inputs).shape[:2]
    samples = evidence.target.shape[0] if isinstance(evidence.target, Tensor) and evidence.target.ndim else None
    if _is_layer(evidence):
        axis = 1 if seen.batch_first else 0  # the axis that the module takes for time
        if not (_target_has_time(evidence, T, B) or _reads_one_entry(seen)):
            return None
    else:
        axis = 0
        if T == B and not _reads_one_entry(seen):  # what is in front of the inputs may be time or samples
            return None
        if output.shape[0] != u.shape[0] or (samples is not None and samples != u.shape[0]):
            return None
        if output.shape[:2] == (T, B) and not seen.batch_first:
            return None  # a sequence of outputs with time in front: what is in front is no sample
    count = u.shape[axis]
    if count < 2 or (output.shape[axis] if output.ndim > axis else 0) != count:
        return None
    order = torch.arange(count, device=u.device).roll(count // 2)
    again = evidence.rerun(u.index_select(axis, order))
    expected = output.detach().index_select(axis, order)
    scale = expected.double().std() + expected.double().abs().mean() * 1e-3
    return float((again.detach() - expected).double().abs().mean() / scale) if scale > 0 else 0.0


def _alike(x: Tensor) -> tuple[float, float]:
    """The correlation of neighbours along time and along the batch, without what all entries have in common."""
    x = x.double()
    x = x - x.mean((0, 1))
    power = float(x.square().mean())
    if power == 0 or min(x.shape[:2]) < 4:
        return 1.0, 0.0
    return float((x[1:] * x[:-1]).mean()) / power, float((x[:, 1:] * x[:, :-1]).mean()) / power


def _swapped(evidence: Evidence, seen: Seen, T: int, B: int, value: float, shown: str) -> Finding:
    first = bool(getattr(seen.module, "batch_first", False))
    name = seen.name or type(seen.module).__name__
    return Finding(
        code="axes-swapped",
        severity="error",
        sentence=(
            f"{name} has batch_first={first} and takes its inputs for {T} steps of {B} sequences, and {shown}: "
            "time and batch seem to be swapped, so that states run across samples."
        ),
        value=value,
        remedy=f"Make {name} with batch_first={not first}, or swap the axes with u.transpose(0, 1).",
        limits=(
            "It does not help where samples are meant to be read one after the other, as in one long stream, "
            "or where something else mixes them, such as batch normalisation."
        ),
        where=name,
        evidence={"steps": float(T), "sequences": float(B)},
    )
