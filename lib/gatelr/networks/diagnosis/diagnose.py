"""The one function that looks at a network, on its inputs, and says what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatelr.networks.diagnosis import findings, lags, steps
from gatelr.networks.diagnosis.constant import best_constant
from gatelr.networks.diagnosis.evidence import Evidence, Layer, left_at, reach
from gatelr.networks.diagnosis.numbers import last_read, layers
from gatelr.networks.diagnosis.observe import (
    Looped,
    Loss,
    Observation,
    Seen,
    call,
    drops_out,
    ends,
    observe,
    sized,
    unchanged,
)
from gatelr.networks.diagnosis.result import Diagnosis
from gatelr.networks.diagnosis.thresholds import (
    AT_LAG,
    LOOK_AHEAD,
    LOOK_AHEAD_AT_LEAST,
    LOOK_AHEAD_COST,
    MISSED,
    REACH,
)

#: Sequences of which the gradient's norm is taken one by one.
NORMS_OF = 32


def diagnose(
    module: nn.Module,
    u: Any,
    *,
    lengths: Tensor | Sequence[int] | None = None,
    loss: Loss | None = None,
    target: Tensor | None = None,
    lag: int | None = None,
    window: int | None = None,
    clip: int | float | None = None,
    optimizer: steps.Optimizer | None = None,
    lr: int | float | None = None,
) -> Diagnosis:
    r"""Say what is wrong with a recurrent network, each finding with its number, its remedy and the remedy's limits.

    Nothing in the module changes: weights, ``.grad``, mode, buffers, hooks and random states are as before. It is run
    as it stands; if it is in training mode, with its dropout, which a note says. Hooks of yours are called as in any
    run.

    Args:
        module: an ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM``, a cell, or a model with some inside, which are found.
        u: what the module takes: a tensor, a packed sequence, or for a model a tuple or dict of its arguments.
        lengths: of a padded batch for a recurrent module; for a model its second argument.
        loss: a function of the output to one number: of a recurrent module's output sequence ``(T, B, n)``, laid out as
            the module returns it and padded, or of what a model returns. With ``target``, of the two.
        target: what the output is compared with, the second argument of ``loss``.
        lag: how many steps back the inputs are that matter, if you know it.
        window: steps after which backpropagation is truncated, if it is.
        clip: the norm to which the gradient is clipped, if it is.
        optimizer: the optimiser, its class or its name such as ``"adam"``; with ``lr`` alone plain SGD.
        lr: the learning rate; for an optimiser that exists, in place of its own.

    Returns:
        What was found. What needs a loss is left out without one, such as the comparison with the best constant.

    Raises:
        TypeError: for a module that is none, or has nothing recurrent inside and no loss to go by.
        ValueError: for lengths, a lag, a window, a threshold or a learning rate that do not fit, a target without a
            loss, or a loss that is not one number.

    Example:
        >>> import torch
        >>> from gatelr.networks import diagnose
        >>> generator = torch.Generator().manual_seed(0)
        >>> lstm = torch.nn.LSTM(2, 8)
        >>> diagnosis = diagnose(lstm, torch.randn(50, 4, 2, generator=generator), lag=40)
        >>> [finding.code for finding in diagnosis.findings]
        ['memory-short']
        >>> diagnosis.layers[0].time_constants.shape
        torch.Size([8])
    """
    _refuse(module, loss, target, lag, window, clip, lr)
    with torch.inference_mode(False), torch.enable_grad():
        return _diagnose(module, u, lengths, loss, target, lag, window, clip, optimizer, lr)


def _diagnose(
    module: nn.Module,
    u: Any,
    lengths: Tensor | Sequence[int] | None,
    loss: Loss | None,
    target: Tensor | None,
    lag: int | None,
    window: int | None,
    clip: int | float | None,
    optimizer: steps.Optimizer | None,
    lr: int | float | None,
) -> Diagnosis:
    model = Looped(module) if isinstance(module, nn.RNNCellBase) else module
    u = _usable(u)
    target = _usable(target)
    evaluate = _evaluate(loss, target)
    if lengths is not None:
        lengths = _checked(sized(lengths, _device(model)), model, u)
    observation = observe(model, u, lengths, evaluate)
    if not observation.seen and evaluate is None:
        raise TypeError(
            f"got a {type(module).__name__} that ran no nn.RNN, nn.GRU, nn.LSTM or cell of these, expected one inside: "
            "give the recurrent layer itself, or a loss if you only want its steps looked at"
        )

    def rerun(inputs: Any) -> Any:
        with unchanged(model), torch.no_grad():
            return call(model, inputs, lengths)

    unsound = _unsound(model, observation)
    evidence = Evidence(
        model=model,
        u=u,
        lengths=lengths,
        target=target,
        observation=observation,
        layers=[]
        if unsound
        else [Layer(numbers, state, seen) for seen in observation.seen for numbers, state in layers(seen)],
        evaluate=evaluate,
        rerun=rerun,
        lag=lag,
        window=window,
        clip=clip,
        unsound=unsound,
    )
    if evaluate is not None and observation.loss is not None:
        evidence.loss = float(observation.loss.detach())
        if not unsound:
            _against_the_loss(evidence, evaluate, optimizer, lr)
    if not unsound and evidence.layers:
        evidence.used_by_lag = _used(evidence)
    return _result(module, evidence)


def _refuse(module: Any, loss: Any, target: Any, lag: Any, window: Any, clip: float | None, lr: float | None) -> None:
    if not isinstance(module, nn.Module):
        raise TypeError(f"got a {type(module).__name__}, expected a torch.nn.Module: give the network itself")
    if target is not None and loss is None:
        raise ValueError("got a target without a loss, expected both: give loss=torch.nn.functional.mse_loss, say")
    for name, number in (("lag", lag), ("window", window)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
            raise ValueError(f"got {name}={number!r}, expected a whole number of steps, 1 or more")
    for name, value in (("clip", clip), ("lr", lr)):
        if value is not None and not (0 < value < float("inf")):
            raise ValueError(f"got {name}={value!r}, expected a positive number")


def _evaluate(loss: Loss | None, target: Tensor | None) -> Callable[[Any], Tensor] | None:
    if loss is None:
        return None
    if target is None:
        return loss
    return lambda output: loss(output, target)


def _usable(u: Any) -> Any:
    """A copy of inputs that were made in inference mode, which no gradient passes."""
    return u.clone() if isinstance(u, Tensor) and u.is_inference() else u


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _checked(lengths: Tensor | None, model: nn.Module, u: Any) -> Tensor | None:
    if lengths is None or not isinstance(model, nn.RNNBase) or not isinstance(u, Tensor) or u.ndim != 3:
        return lengths
    T, B = (u.shape[1], u.shape[0]) if model.batch_first else (u.shape[0], u.shape[1])
    if lengths.ndim != 1 or len(lengths) != B or not (lengths >= 1).all() or not (lengths <= T).all():
        swapped = ": time and batch seem to be swapped, set batch_first or transpose u" if len(lengths) == T else ""
        raise ValueError(
            f"got {lengths.numel()} lengths from {int(lengths.min())} to {int(lengths.max())}, expected one for each "
            f"of the {B} sequences, from 1 to their {T} steps{swapped}"
        )
    return lengths


def _unsound(model: nn.Module, observation: Observation) -> list[str]:
    """What is not finite, in the order in which it would have spoiled the rest."""
    named = [(f"the inputs of {seen.name or 'the layer'}", seen.inputs) for seen in observation.seen]
    named += [(f"the parameter {name}", p) for name, p in model.named_parameters()]
    named += [(f"the outputs of {seen.name or 'the layer'}", seen.outputs) for seen in observation.seen]
    if observation.loss is not None:
        named.append(("the loss", observation.loss))
    named += [(f"the gradient of {name}", gradient) for name, gradient in observation.gradients.items()]
    return [name for name, v in named if not v.detach().isfinite().all()]


def _against_the_loss(
    evidence: Evidence, evaluate: Callable[[Any], Tensor], optimizer: steps.Optimizer | None, lr: float | None
) -> None:
    """What takes a loss: the best constant, the steps, the norms, and the lag that would mend the error."""
    observation, model = evidence.observation, evidence.model
    evidence.baseline = best_constant(evaluate, observation.output)
    if not observation.gradients:  # everything is frozen
        return
    norm = torch.stack([g.double().square().sum() for g in observation.gradients.values()]).sum().sqrt()
    evidence.gradient_norm = float(norm)
    if evidence.clip is not None:
        evidence.gradient_norms = _sequence_norms(evidence)
    if optimizer is not None or lr is not None:
        evidence.parameters = steps.parameter_steps(model, observation.gradients, optimizer, lr, evidence.clip)
        with unchanged(model):
            evidence.departure = steps.look_ahead(
                model,
                lambda twin: evaluate(call(twin, evidence.u, evidence.lengths)),
                optimizer,
                lr,
                evidence.clip,
                _iterations(evidence),
            )
    if evidence.lag is None and evidence.layers:
        evidence.missed = _missed(evidence)
        if evidence.missed is not None:
            evidence.lag = evidence.missed[0]


def _iterations(evidence: Evidence) -> int:
    """How many steps to try out, by what one costs."""
    parameters = sum(p.numel() for p in evidence.model.parameters())
    entries = max((seen.inputs.numel() // seen.inputs.shape[-1] for seen in evidence.observation.seen), default=1)
    return max(LOOK_AHEAD_AT_LEAST, min(LOOK_AHEAD, int(LOOK_AHEAD_COST / max(1, parameters * entries))))


def _sequences(output: Any, seen: Seen) -> int | None:
    """The axis of the output that counts sequences; None if that is not plain."""
    B = seen.time_first(seen.inputs).shape[1]
    if not isinstance(output, Tensor):
        return None
    axes = [axis for axis in range(min(2, output.ndim)) if output.shape[axis] == B]
    if seen.inputs.ndim == 3 and (seen.name == "" or output.shape[:2] == seen.inputs.shape[:2]):
        return 0 if seen.batch_first else 1
    return axes[0] if axes else None


def _sequence_norms(evidence: Evidence) -> Tensor | None:
    """The norm of the gradient that each sequence alone would give, of the first ones of a large batch."""
    output, whole = evidence.observation.output, evidence.observation.output_gradient
    if not evidence.observation.seen or whole is None:
        return None
    axis = _sequences(output, evidence.observation.seen[0])
    if axis is None or output.shape[axis] < 2:
        return None
    parameters = [p for p in evidence.model.parameters() if p.requires_grad]
    B, norms = output.shape[axis], []
    for b in range(min(B, NORMS_OF)):
        alone = torch.zeros_like(whole)
        alone.select(axis, b).copy_(whole.select(axis, b))
        grads = torch.autograd.grad(output, parameters, alone, retain_graph=True, allow_unused=True)
        norms.append(torch.stack([g.square().sum() for g in grads if g is not None]).sum().sqrt() * B)
    return torch.stack(norms).detach()


def _missed(evidence: Evidence) -> tuple[int, float] | None:
    """The lag beyond the gradient's end at which inputs predict the error."""
    observation, gradient = evidence.observation, evidence.observation.output_gradient
    if gradient is None:
        return None
    seen = observation.seen[0]
    axis, inputs, end = _sequences(observation.output, seen), seen.time_first(seen.inputs), last_read(seen)
    if axis is None or seen.states is not None:
        return None
    error = gradient.movedim(axis, 0)
    if gradient.ndim == 3:  # a sequence of outputs: the step that is read last
        error = error.gather(1, (end - 1).clamp(max=error.shape[1] - 1).view(-1, 1, 1).expand(-1, 1, error.shape[2]))
    beyond = max(reach(layer.numbers.gradient_by_lag, REACH) for layer in evidence.layers)
    if not evidence.loss or evidence.loss <= 0:
        return None
    open_part = 1.0 if evidence.baseline is None else min(1.0, evidence.loss / max(evidence.baseline, 1e-30))
    missed = lags.missed(error.reshape(len(error), -1), inputs, end, beyond, MISSED / open_part)
    if missed is None or any(left_at(layer.numbers.gradient_by_lag, missed[0]) >= AT_LAG for layer in evidence.layers):
        return None
    return missed


def _used(evidence: Evidence) -> Tensor | None:
    """By lag, how much another sequence's input changes the output; None where inputs are no plain batch."""
    u, seen = evidence.u, evidence.observation.seen[0]
    if not isinstance(u, Tensor) or isinstance(u, PackedSequence) or seen.inputs.ndim != 3:
        return None
    if evidence.lengths is None and u.shape[:2] != seen.inputs.shape[:2]:
        return None
    if u.ndim not in (2, 3) or not isinstance(evidence.observation.output, Tensor):
        return None
    end, output = last_read(seen), evidence.observation.output
    axis = _sequences(output, seen)
    if axis is None or len(end) < 2:
        return None

    def said(inputs: Tensor) -> Tensor:
        new = evidence.rerun(inputs.transpose(0, 1) if seen.batch_first else inputs).movedim(axis, 0)
        if output.shape[:2] == u.shape[:2]:
            step = (end - 1).clamp(max=new.shape[1] - 1)
            new = new[torch.arange(len(new), device=new.device), step]
        return new.to(torch.get_default_dtype()) if not new.is_floating_point() else new

    used = lags.used_by_lag(said, u.transpose(0, 1) if seen.batch_first else u, end)
    return used[: len(seen.time_first(seen.inputs))]


def _result(module: nn.Module, evidence: Evidence) -> Diagnosis:
    shapes = [seen.time_first(seen.inputs).shape for seen in evidence.observation.seen]
    steps_of, sequences = (int(shapes[0][0]), int(shapes[0][1])) if shapes else (0, 0)
    if evidence.layers:
        steps_of = max(int(ends(layer.seen).max()) for layer in evidence.layers)
    return Diagnosis(
        layers=[layer.numbers for layer in evidence.layers],
        findings=findings.find(evidence),
        steps=steps_of,
        sequences=sequences,
        loss=evidence.loss,
        baseline=evidence.baseline,
        lag=evidence.lag,
        window=evidence.window,
        clip=evidence.clip,
        used_by_lag=evidence.used_by_lag,
        gradient_norms=evidence.gradient_norms,
        parameters=evidence.parameters,
        notes=_notes(module, evidence),
        given=_given(module, evidence),
    )


def _notes(module: nn.Module, evidence: Evidence) -> list[str]:
    notes = []
    if drops_out(module):
        notes.append("the model is in training mode and drops out at random: call model.eval() to see it without")
    if any(layer.numbers.kind == "LSTM" for layer in evidence.layers):
        notes.append("an LSTM's input and forget gates are free of each other: its rates have no budget of one")
    if not evidence.observation.seen:
        notes.append("no nn.RNN, nn.GRU or nn.LSTM was run: only the loss and the steps were looked at")
    if evidence.loss is None and not evidence.unsound:
        notes.append("without a loss there is no comparison with the best constant, and no step to look at")
    return notes


def _given(module: nn.Module, evidence: Evidence) -> dict[str, str]:
    u = evidence.u
    shape = f"{tuple(u.shape)}, {str(u.dtype).removeprefix('torch.')}" if type(u) is Tensor else type(u).__name__
    return {"module": str(module) if isinstance(module, nn.RNNBase) else type(module).__name__, "input": shape}
