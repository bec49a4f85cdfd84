"""What a network was trained for, from files: a target, and the linear layer that reads the states out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

#: The losses by the names that the command gives them.
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": functional.mse_loss,
    "cross-entropy": functional.cross_entropy,
}


@dataclass(frozen=True)
class Objective:
    """A loss of a recurrent module's output sequence.

    Attributes:
        loss: one of :data:`LOSSES`.
        readout: the layer between the states and the loss; ``nn.Identity`` if there is none.
        batch_first: how the module lays its output out.
        steps: ``(count,)``, the steps that have a target.
        sequences: ``(count,)``, the sequence of each.
        target: ``(count, o)``, or ``(count,)`` classes.
    """

    loss: str
    readout: nn.Module
    batch_first: bool
    steps: Tensor
    sequences: Tensor
    target: Tensor

    def __call__(self, output: Tensor) -> Tensor:
        time_first = output.transpose(0, 1) if self.batch_first else output
        return LOSSES[self.loss](self.readout(time_first[self.steps, self.sequences]), self.target)


def readout(stored: Mapping[str, Tensor], prefix: str | None, width: int, dtype: torch.dtype) -> nn.Module:
    """The linear layer of this name, to which nothing is given but states.

    Args:
        stored: the tensors of the model's file.
        prefix: its name in the model, such as ``head``; None for no layer at all.
        width: how wide the states are.
        dtype: of the states.

    Returns:
        The layer.

    Raises:
        ValueError: if there is none of this name or width.
    """
    if prefix is None:
        return nn.Identity()
    starts = [name.removesuffix("weight") for name in stored if f".{name}".endswith(f".{prefix}.weight")]
    if len(starts) != 1:
        raise ValueError(f"got {len(starts)} tensors named {prefix}.weight, expected that of one nn.Linear")
    weight, bias = stored[f"{starts[0]}weight"], stored.get(f"{starts[0]}bias")
    if weight.ndim != 2 or weight.shape[1] != width:
        raise ValueError(
            f"got {prefix}.weight of shape {tuple(weight.shape)}, expected (outputs, {width}): a linear layer that "
            "reads the states and nothing else"
        )
    made = nn.utils.skip_init(nn.Linear, width, len(weight), bias=bias is not None, dtype=dtype)
    made.load_state_dict({"weight": weight} if bias is None else {"weight": weight, "bias": bias})
    return made.requires_grad_(False)


def objective(
    target: Tensor, read: nn.Module, module: nn.RNNBase, u: Tensor, lengths: Sequence[int] | None, loss: str | None
) -> Objective:
    """The loss that compares a module's output with a target.

    Args:
        target: ``(B,)`` or ``(B, o)`` for the last step of each sequence, or with the same layout as ``u`` for every
            step, with or without an axis of outputs. Whole numbers are classes.
        read: what :func:`readout` returned.
        module: the recurrent module.
        u: its inputs.
        lengths: of each sequence; None if all are whole.
        loss: one of :data:`LOSSES`; by default the mean squared error, or the cross entropy for classes.

    Returns:
        The loss as a function of the output.

    Raises:
        ValueError: if the target has another shape, is not finite, or has classes that the readout has not.
    """
    if u.ndim != 3:
        raise ValueError(f"got a target and data of shape {tuple(u.shape)}, expected data with a batch axis as well")
    T, B = (u.shape[1], u.shape[0]) if module.batch_first else (u.shape[0], u.shape[1])
    states = (module.proj_size or module.hidden_size) * (2 if module.bidirectional else 1)
    outputs = read.out_features if isinstance(read, nn.Linear) else states
    classes = not (target.is_floating_point() or target.is_complex()) if loss is None else loss == "cross-entropy"
    width = () if classes else (outputs,)
    bare = target.unsqueeze(-1) if not classes and outputs == 1 and target.shape[-1:] != (1,) else target
    if bare.shape == (*u.shape[:2], *width):
        bare = bare.transpose(0, 1) if module.batch_first else bare
        real = torch.arange(T)[:, None] < torch.tensor(lengths or [T] * B)
        steps, sequences = real.nonzero(as_tuple=True)
        bare = bare[steps, sequences]
    elif bare.shape == (B, *width) and not module.bidirectional:
        steps, sequences = torch.tensor(lengths or [T] * B) - 1, torch.arange(B)
    else:
        last = "" if module.bidirectional else f"{(B, *width)} for the last step or "
        raise ValueError(
            f"got a target of shape {tuple(target.shape)}, expected {last}{(*u.shape[:2], *width)} for every step"
        )
    if classes and (bare.is_floating_point() or bare.min() < 0 or bare.max() >= outputs):
        raise ValueError(f"got a target in {bare.dtype} for a cross entropy, expected classes from 0 to {outputs - 1}")
    if not bare.isfinite().all():
        raise ValueError("got a target with NaN or infinite numbers, expected finite ones")
    ready = bare.long() if classes else bare.to(u.dtype)
    return Objective(loss or ("cross-entropy" if classes else "mse"), read, module.batch_first, steps, sequences, ready)
