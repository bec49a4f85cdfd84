"""One run of a model on a batch, watched: what went into each recurrent layer, what came out, what a loss sends back.

Nothing stays changed: hooks go, buffers and the state of random numbers are put back, and ``.grad`` is not written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

#: What takes the model's output, and the target if there is one, to one number.
Loss = Callable[..., Tensor]
#: What is watched.
#:
#: :meta hide-value:
RECURRENT = (nn.RNNBase, nn.RNNCellBase)


@dataclass
class Seen:
    """What one recurrent module saw and said in one run.

    Attributes:
        name: of the module within the model; empty for the model itself.
        module: the module.
        inputs: as the module takes them, padded; of a cell ``(T, B, m)``.
        lengths: ``(B,)``; None where all sequences have T steps.
        h0: the initial state that was given, or None.
        outputs: the output sequence as the module returns it, padded; of a cell ``(T, B, n)``.
        delta: the loss's gradient with respect to ``outputs``; None without a loss. Of a layer it is the direct one, of
            a cell the whole, since a loop's later steps read the earlier ones.
        states: of a cell, what it returned at each step.
    """

    name: str
    module: nn.Module
    inputs: Tensor
    lengths: Tensor | None
    h0: Any
    outputs: Tensor
    delta: Tensor | None = None
    states: list[Any] | None = None

    @property
    def batch_first(self) -> bool:
        """Whether the module has the batch in front of time."""
        return bool(getattr(self.module, "batch_first", False)) and self.inputs.ndim == 3

    def time_first(self, v: Tensor) -> Tensor:
        """``(T, B, ...)`` of what is laid out as the module's inputs."""
        if v.ndim == 2:
            return v.unsqueeze(1)
        return v.transpose(0, 1) if self.batch_first else v


@dataclass
class Observation:
    """One run of the model.

    Attributes:
        output: what the loss takes: the output sequence of a recurrent module, or whatever another model returned.
        seen: the recurrent modules, in the order in which they were called.
        loss: the loss, a number with a graph; None without one.
        output_gradient: its gradient with respect to ``output``; None without a loss or if the output is no tensor.
        gradients: its gradient by parameter name; empty without a loss.
    """

    output: Any
    seen: list[Seen]
    loss: Tensor | None = None
    output_gradient: Tensor | None = None
    gradients: dict[str, Tensor] = field(default_factory=dict)


class Looped(nn.Module):
    """A cell run over a sequence, so that it can be watched as a model."""

    def __init__(self, cell: nn.RNNCellBase) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, u: Tensor) -> Tensor:
        """The states of a loop over the steps of u."""
        state, outputs = None, []
        for step in u:
            state = self.cell(step) if state is None else self.cell(step, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(outputs)


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Run a model on copies of its buffers, and put random states back, whatever a run does to them."""
    places = [(module, name, buffer) for module in model.modules() for name, buffer in module._buffers.items()]
    devices = sorted({p.device.index for p in [*model.parameters(), *model.buffers()] if p.device.type == "cuda"})
    for module, name, buffer in places:
        module._buffers[name] = None if buffer is None else buffer.detach().clone()
    try:
        # cuDNN has no backward pass for a module in evaluation mode
        with torch.random.fork_rng(devices), torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        for module, name, buffer in places:
            module._buffers[name] = buffer


def drops_out(model: nn.Module) -> bool:
    """Whether anything in the model draws a mask of dropout, as it does in training mode."""
    shares = [
        module.dropout if isinstance(module, nn.RNNBase) else getattr(module, "p", 0.0)
        for module in model.modules()
        if module.training
    ]
    return any(isinstance(share, float) and share > 0 for share in shares)


def call(model: nn.Module, u: Any, lengths: Tensor | None) -> Any:
    """The model's output as a loss takes it: of a recurrent module its output sequence, padded."""
    if isinstance(model, nn.RNNBase):
        total = None
        if lengths is not None:
            total = u.shape[1 if model.batch_first else 0]
            u = pack_padded_sequence(u, lengths.cpu(), batch_first=model.batch_first, enforce_sorted=False)
        output = model(u)[0]
        if isinstance(output, PackedSequence):
            output, _ = pad_packed_sequence(output, batch_first=model.batch_first, total_length=total)
        return output
    if isinstance(u, dict):
        return model(**u)
    if isinstance(u, (tuple, list)) and not isinstance(u, PackedSequence):
        return model(*u)
    return model(u) if lengths is None else model(u, lengths)


def observe(
    model: nn.Module, u: Any, lengths: Tensor | None = None, loss: Callable[[Any], Tensor] | None = None
) -> Observation:
    """Run the model once, watch its recurrent modules and send the loss back.

    Args:
        model: a recurrent module, a cell in :class:`Looped`, or a model that has some inside.
        u: what the model takes; a tuple or a dict of arguments as well.
        lengths: of a padded batch for a recurrent module; a second argument for any other model.
        loss: a function of the output to one number.

    Returns:
        What was seen, without graphs but for the loss.

    Raises:
        ValueError: if the loss does not return one number that depends on the output.
    """
    calls: list[tuple[str, nn.Module, Any, Any, Any]] = []
    handles = []

    def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # a gradient has a path through the module even if everything below and in it is frozen
        given = args[0] if args else kwargs["input"]
        if not _data(given).requires_grad:
            alone = _data(given).detach().requires_grad_()
            given = given._replace(data=alone) if isinstance(given, PackedSequence) else alone
        rest = {key: value for key, value in kwargs.items() if key != "input"}
        return (given, *args[1:]), rest

    def leave(name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], returned: Any) -> None:
        hx = args[1] if len(args) > 1 else kwargs.get("hx")
        calls.append((name, module, args[0], hx, returned))

    with unchanged(model):
        for name, module in model.named_modules():
            if isinstance(module, RECURRENT):
                bound = "" if isinstance(model, Looped) else name
                handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
                handles.append(
                    module.register_forward_hook(
                        lambda module, args, kwargs, returned, name=bound: leave(name, module, args, kwargs, returned),
                        with_kwargs=True,
                    )
                )
        try:
            output = call(model, u, lengths)
        finally:
            for handle in handles:
                handle.remove()
        seen, wanted = _seen(calls)
        value = None if loss is None else _one_number(loss(output))
        result = Observation(output, seen, value)
        if value is not None:
            _send_back(model, result, value, wanted)
    return result


def _seen(calls: list[tuple[str, nn.Module, Any, Any, Any]]) -> tuple[list[Seen], list[list[Any]]]:
    """What each module saw, and the outputs, packed or not, whose gradients are wanted for it."""
    seen: list[Seen] = []
    wanted: list[list[Any]] = []
    cells: dict[str, list[tuple[nn.Module, Tensor, Any, Any]]] = {}
    for name, module, given, hx, returned in calls:
        if isinstance(module, nn.RNNCellBase):
            cells.setdefault(name, []).append((module, given, hx, returned))
            continue
        output, lengths = returned[0], None
        wanted.append([output])
        if isinstance(given, PackedSequence):
            first = bool(getattr(module, "batch_first", False))
            given, lengths = pad_packed_sequence(given, batch_first=first)
            output, _ = pad_packed_sequence(output, batch_first=first)
            lengths = lengths.to(given.device)
        state = None if hx is None else _detached(hx)
        seen.append(Seen(name, module, given.detach(), lengths, state, output.detach()))
    for name, steps in cells.items():
        inputs = torch.stack([given.detach() for _, given, _, _ in steps])
        outputs = [returned[0] if isinstance(returned, tuple) else returned for *_, returned in steps]
        hx = steps[0][2]
        seen.append(
            Seen(
                name,
                steps[0][0],
                inputs,
                None,
                None if hx is None else _detached(hx),
                torch.stack([output.detach() for output in outputs]),
                states=[_detached(returned) for *_, returned in steps],
            )
        )
        wanted.append(outputs)
    return seen, wanted


def _send_back(model: nn.Module, result: Observation, value: Tensor, wanted: list[list[Any]]) -> None:
    """Fill in the gradients of outputs and parameters."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    whole = [result.output] if isinstance(result.output, Tensor) and result.output.requires_grad else []
    targets = [*whole, *(_data(output) for outputs in wanted for output in outputs), *(p for _, p in named)]
    if not value.requires_grad or not targets:
        raise ValueError(
            "got a loss that does not depend on the output, expected one that does: "
            "compute it from what the function is given, without .detach() or .item()"
        )
    grads = list(torch.autograd.grad(value, targets, allow_unused=True, retain_graph=True))
    if whole:
        result.output_gradient = _or_zeros(grads.pop(0), result.output)
    for seen, outputs in zip(result.seen, wanted, strict=True):
        parts = [_or_zeros(grads.pop(0), _data(output)) for output in outputs]
        if seen.states is not None:
            seen.delta = torch.stack(parts)
        elif isinstance(outputs[0], PackedSequence):
            packed = outputs[0]._replace(data=parts[0])
            seen.delta = pad_packed_sequence(packed, batch_first=bool(getattr(seen.module, "batch_first", False)))[0]
        else:
            seen.delta = parts[0]
    for (name, p), gradient in zip(named, grads, strict=True):
        result.gradients[name] = _or_zeros(gradient, p)


def _data(output: Any) -> Tensor:
    """What has a gradient: a packed sequence's data."""
    return output.data if isinstance(output, PackedSequence) else output


def _or_zeros(gradient: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if gradient is None else gradient.detach()


def _detached(state: Any) -> Any:
    return tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()


def _one_number(value: Any) -> Tensor:
    if not isinstance(value, Tensor) or value.numel() != 1:
        got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"got a loss of {got}, expected one number in a tensor: take the mean over the batch")
    return value.reshape(())


def ends(seen: Seen) -> Tensor:
    """How many steps each sequence has, ``(B,)``."""
    T, B = seen.time_first(seen.inputs).shape[:2]
    if seen.lengths is None:
        return torch.full((B,), T, device=seen.inputs.device)
    return seen.lengths


def sized(lengths: Tensor | Sequence[int] | None, device: torch.device) -> Tensor | None:
    """Lengths as a tensor, or None."""
    return None if lengths is None else torch.as_tensor(lengths, device=device)
