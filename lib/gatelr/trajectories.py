"""Whether a trajectory is one, and whether it belongs to a network: asked by all that is computed from a run."""

from __future__ import annotations

from typing import Any

import torch

from gatelr import arguments
from gatelr.cells import GatedRNN, Trajectory


def check(trajectory: Any) -> None:
    """Refuse what no network's run returned.

    Args:
        trajectory: what should be one; gates put in the place of others are taken, one a step or one a neuron.

    Raises:
        TypeError: if it is no ``Trajectory``, or holds what is no tensor of float32 or float64.
        ValueError: if its members do not fit each other.
    """
    if not isinstance(trajectory, Trajectory):
        raise TypeError(f"got {arguments.kind(trajectory)}, expected a Trajectory: pass what model.run returned")
    for name, member in zip(trajectory._fields, trajectory, strict=True):
        arguments.tensor(f"{name} of the trajectory", member)
    x, steps = trajectory.x, trajectory.x.shape[:-1]
    gates = (1, x.shape[-1:].numel())
    fits = all(v.shape == x.shape for v in (trajectory.x_prev, trajectory.a, trajectory.phi)) and all(
        v.shape[:-1] == steps and (v is trajectory.u or v.shape[-1] in gates)
        for v in (trajectory.u, trajectory.g, trajectory.a_g)
    )
    if x.ndim < 2 or 0 in x.shape or not fits:
        shapes = ", ".join(f"{name} {tuple(v.shape)}" for name, v in zip(trajectory._fields, trajectory, strict=True))
        raise ValueError(
            f"got a trajectory with {shapes}, expected (T, *batch, ·) of all, no axis empty: pass what model.run "
            "returned, and cut all members alike"
        )
    if len({(v.dtype, v.device) for v in trajectory}) > 1:
        raise ValueError(
            "got a trajectory whose members differ in dtype or device, expected the same for all: convert all of them"
        )


def check_belongs(model: Any, trajectory: Any) -> None:
    """Refuse a trajectory of another network, before its numbers are taken for this one's.

    Sizes, dtype, device and kind of gate must be the model's. Whether the weights are is looked up at the last step,
    which costs one of T steps: its pre-activations must be those that the model gives, to a hundredth of the largest.
    A check by sample proves nothing, but weights that were trained or drawn anew since the run do not pass it.

    Args:
        model: a :class:`gatelr.cells.GatedRNN`.
        trajectory: what its ``run`` returned. In place of the states before the steps it may have those after them,
            the very same tensor: a mistake that the book shows. Then weights are not compared.

    Raises:
        TypeError: as :func:`check`, or if the model is no ``GatedRNN``.
        ValueError: as :func:`check`, or if the trajectory is not the model's.
    """
    if not isinstance(model, GatedRNN):
        raise TypeError(f"got {arguments.kind(model)} as the model, expected a GatedRNN: pass the one that ran")
    check(trajectory)
    x, like = trajectory.x, model.W_r
    replicated = model.replicas is not None
    if x.shape[-1] != model.n_hidden or (replicated and (x.ndim < 3 or x.shape[1] != model.replicas)):
        raise ValueError(
            f"got a trajectory of states {tuple(x.shape)}, expected n = {model.n_hidden}"
            + (f" and S = {model.replicas} behind time" if replicated else "")
            + ": pass the model that made it"
        )
    if trajectory.u.shape[-1] != model.n_inputs:
        raise ValueError(
            f"got a trajectory of inputs {tuple(trajectory.u.shape)}, expected m = {model.n_inputs}: pass the model "
            "that made it"
        )
    if x.dtype != like.dtype or x.device != like.device:
        raise ValueError(
            f"got a trajectory in {x.dtype} on {x.device}, expected {like.dtype} on {like.device} as the weights: "
            "run the model again after moving it"
        )
    width = None if model.W_rg is None else model.W_rg.shape[-2]
    if width and trajectory.g.shape[-1] != width:
        raise ValueError(
            f"got a trajectory with gates of width {trajectory.g.shape[-1]}, expected {width} for {model.gate!r}: pass "
            "what this network's run returned"
        )
    if not torch._C._are_functorch_transforms_active():  # inside vmap no single value can be looked at
        _check_last_step(model, trajectory)


@torch.no_grad()
def _check_last_step(model: GatedRNN, trajectory: Trajectory) -> None:
    """Compare the last pre-activations with the model's; where they are not finite, nothing is to be said."""
    x, u, a, a_g = (v[-1] for v in (trajectory.x_prev, trajectory.u, trajectory.a, trajectory.a_g))
    fixed = model._fixed_gate()
    if fixed is not None and not (
        fixed.numel() in (1, a_g.shape[-1]) and torch.allclose(a_g, torch.logit(fixed), rtol=1e-4, atol=1e-5)
    ):
        raise ValueError(
            f"got a trajectory with other gates than those of {model.gate!r}"
            + ("" if model.alpha is None else f" with alpha={model.alpha[0] if len(set(model.alpha)) == 1 else '…'}")
            + ", expected this network's: pass what its run returned"
        )
    pairs = [(a, model.W_r, model.W_i, model.b)]
    if model.W_rg is not None and model.W_ig is not None:
        pairs.append((a_g, model.W_rg, model.W_ig, model.b_g))
    for theirs, to_state, to_input, bias in [] if trajectory.x_prev is trajectory.x else pairs:
        ours = model._affine(x, to_state) + model._affine(u, to_input, bias)
        apart, allowed = (ours - theirs).abs(), 0.01 * theirs.abs().max()
        if not (apart > allowed).logical_not().all():  # NaN is apart from nothing
            raise ValueError(
                "got the trajectory of a network with other weights, expected this network's: run it again, as "
                "after each update of its weights"
            )
