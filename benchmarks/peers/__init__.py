"""What a competent reader would otherwise write or use, each behind the same few functions.

``training_step(model, u, target, lr)``, ``per_sample(model, u, target)``, ``jacobian_blocks(model, u)`` and
``sensitivities(J)``: every one prepares outside what is timed (weights copied, optimiser made, code compiled), and
returns a function without arguments to be timed. A peer leaves out what it has no way to do.

Shapes: ``u (T, *S, B, m)`` and ``target (*S, B, o)``, where ``*S`` is a replicated model's axis, or nothing. The loss
is the mean squared error of each replica, summed over replicas. ``k = n + h`` stacks candidate and gate. Weights have
their inputs first, ``(n, k)``, which is faster than ``(k, n)`` in some products and slower in none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from gatelr.cells import GatedRNN
from torch import Tensor, nn

Weights = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Step:
    """A training step to be timed. A call updates the weights and returns the losses from before, ``(*S,)``."""

    run: Callable[[], Any]
    weights: Callable[[], Mapping[str, Tensor]]
    """The weights as they now are, by the model's names and in its shapes; not timed."""
    compile_seconds: float | None = None
    """What compiling took, which is not timed either."""

    def __call__(self) -> Any:
        return self.run()


def stacked(model: GatedRNN) -> Weights:
    """Copies of the weights: ``W (*S, n, k)``, ``W_in (*S, m, k)`` and ``W_o (*S, n, o)``.

    Raises:
        ValueError: if the model has biases.
    """
    if model.b is not None:
        raise ValueError("got a model with biases, expected bias=False: the peers have none, as the released code")

    def joined(*weights: Tensor | None) -> Tensor:
        return torch.cat([w.detach() for w in weights if w is not None], -2).mT.contiguous()

    return joined(model.W_r, model.W_rg), joined(model.W_i, model.W_ig), joined(model.W_o)


def named(model: GatedRNN, weights: Weights) -> dict[str, Tensor]:
    """What :func:`stacked` joined, or its gradient, by the model's names; axes in front stay in front."""
    n = model.n_hidden
    W, W_in, W_o = (w.detach().mT for w in weights)
    by_name = {"W_r": W[..., :n, :], "W_i": W_in[..., :n, :], "W_o": W_o}
    if model.W_rg is not None:
        by_name |= {"W_rg": W[..., n:, :], "W_ig": W_in[..., n:, :]}
    return by_name


def named_rows(model: GatedRNN, rows: Tensor) -> dict[str, Tensor]:
    """Rows of per-sample gradients ``(B, P)``, as a peer with stacked weights returns them, by the model's names."""
    shapes = [w.shape for w in stacked(model)]
    parts = rows.split([shape.numel() for shape in shapes], -1)
    W, W_in, W_o = (part.unflatten(-1, shape) for part, shape in zip(parts, shapes, strict=True))
    return named(model, (W, W_in, W_o))


def backward(output: Tensor, target: Tensor) -> Tensor:
    """Go back from the loss; the losses ``(*S,)``. That of a lone network is PyTorch's own, as one would write it."""
    if output.ndim == 2:
        losses = nn.functional.mse_loss(output, target)
        losses.backward()
    else:
        losses = (output - target).square().mean((-2, -1))
        losses.sum().backward()
    return losses.detach()


def fixed_gate(model: GatedRNN) -> float | Tensor | None:
    """The gate that is not learned, one number or one per neuron: 1 for ``"none"``. None if the gate is learned."""
    if model.gate == "none":
        return 1.0
    if model.alpha is None:
        return None
    return model.alpha[0] if len(model.alpha) == 1 else model.W_r.new_tensor(model.alpha)


def single(model: GatedRNN) -> GatedRNN:
    """The model, if it has no replicas.

    Raises:
        ValueError: if it has.
    """
    if model.replicas is not None:
        raise ValueError(f"got a model with replicas={model.replicas}, expected none: pass replicas one by one")
    return model
