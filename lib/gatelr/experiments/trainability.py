r"""E6, the trainability map: at which gains and learning rates which kind of network learns to remember an input.

A number is shown at the first step and is to be said ℓ steps later, after silence or after noise. A network is trained
at each gain of the recurrent weights and each learning rate; what is compared is the area of the map in which it
learns. Beside the gates stand networks that share with them one thing each: the slow start without a gate, the gate
without its learning, the gradient without its gate term, and the other network's gradient norms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from gatelr import adjoint, tasks, training
from gatelr.cells import GatedRNN
from gatelr.experiments import protocol
from gatelr.experiments.runs import Run
from gatelr.kernels.sweep import Backward, Workspace

#: Gains :math:`γ = σ\sqrt n` of the recurrent weights, in equal steps of their logarithm.
GAINS = (0.25, 0.47, 0.87, 1.61, 3.0)
#: Learning rates of plain SGD, two a decade.
RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 1e1, 3e1, 1e2)
#: Lags of the task.
LAGS = (10, 20, 40)

#: Neurons, sequences of a batch, of fresh ones for the loss, and of those on which a profile is measured.
NEURONS, BATCH, FRESH, PROBED = 32, 16, 400, 32
#: Updates between two looks at the profile of the network that gives its own.
EVERY = 50
#: A network is trained if its loss on fresh data is so many times smaller than the best constant's.
BETTER = 5.0
#: The norm to which a clipped gradient is shortened.
CLIP = 1.0

#: The arms, each with its kind of gate and what else of :func:`measure` is set.
ARMS: dict[str, tuple[str, dict[str, Any]]] = {
    "none": ("none", {}),
    "near identity": ("none", {"near_identity": True}),
    "constant": ("constant", {}),
    "scalar": ("scalar", {}),
    "multi": ("multi", {}),
    "scalar, frozen": ("scalar", {"frozen": True}),
    "scalar, gate term dropped": ("scalar", {"backward": "gate dropped"}),
    "scalar, order 0": ("scalar", {"backward": "order 0"}),
    "none, clipped": ("none", {"clip": CLIP}),
    "none, norms of scalar": ("none", {"donor": "scalar"}),
    "scalar, norms of none": ("scalar", {"donor": "none"}),
}
#: Those without an ablation, which are also trained in noise, at one lag.
MAIN = ("none", "near identity", "constant", "scalar", "multi")
#: The lag of those.
NOISY_LAG = 10
#: The longest lag of the arms with a donor, which take four times as long.
DONOR_LAG = 20


def plan(parameters: Mapping[str, Any]) -> list[Run]:
    """All runs of the chapter: one for each arm and lag, each with all seeds, gains and learning rates side by side.

    Args:
        parameters: ``seeds``, ``arms_here``, ``lags_here``, ``noise_here`` (whether the main arms are also trained in
            noise) and ``updates``, how many each network gets.

    Returns:
        The runs.
    """
    seeds, runs = tuple(range(1, parameters["seeds"] + 1)), []
    settings_here = [(0.0, lag, arm) for arm in parameters["arms_here"] for lag in parameters["lags_here"]]
    settings_here = [case for case in settings_here if case[1] <= DONOR_LAG or "donor" not in ARMS[case[2]][1]]
    settings_here += [(1.0, NOISY_LAG, arm) for arm in MAIN if parameters["noise_here"]]
    for noise, lag, arm in settings_here:
        gate, options = ARMS[arm]
        shared = {"task_options": {"steps": lag + 1, "n_inputs": 1, "delays": [lag]}, "noise": noise}
        shared |= {"steps": parameters["updates"], "checkpoints": [parameters["updates"]]} | options
        labels = {"after": "noise" if noise else "silence", "arm": arm, "lag": lag, "updates": parameters["updates"]}
        runs.append(Run("trainability", "delay_sum", gate, "SGD", seeds, shared, labels))
    return runs


def held(task: tasks.Task, noise: float, copies: int = 1) -> tasks.Task:
    """The same task with all inputs but the first scaled by ``noise``: at 0 what is shown is followed by silence.

    Of each ``copies`` generators the first draws, and the others' networks see the same sequences.
    """

    def make(batch: int, generator: Any, *, dtype: torch.dtype, held_out: bool = False) -> tasks.Batch:
        data = task.make(batch, generator[::copies], dtype=dtype, held_out=held_out)
        data.u[1:] *= noise
        u, target = data.u.repeat_interleave(copies, 1), data.target.repeat_interleave(copies, 0)
        return tasks.Batch(u, target, torch.as_tensor(data.redrawn).repeat_interleave(copies))

    return replace(task, make=make)


def network(
    task: tasks.Task,
    gate: str,
    seeds: Sequence[int],
    gain: float | Sequence[float],
    *,
    near_identity: bool = False,
    make: type[GatedRNN] = GatedRNN,
    device: torch.device | str = "cpu",
) -> GatedRNN:
    r"""Networks at the start: recurrent weights of one gain, gates with the mean :math:`\bar g = 1/T`.

    A fixed gate has the value ḡ. A learned one has a bias of logit ḡ, which is its pre-activation in silence and near
    the zero state. Candidate and readout have no bias: theirs are zero, and :func:`measure` leaves them so.

    Args:
        task: what to learn, over T steps.
        gate: which.
        seeds: one replica for each; the same seed has the same W_r (but for the gain), W_i and W_o for every gate.
        gain: γ, the standard deviation of an entry of W_r times √n, one for all or one for each replica.
        near_identity: without a gate, start from the same linear network as a constant gate does:
            :math:`W_r = (1 - \bar g) I + \bar g W_0` and :math:`W_i` times ḡ.
        make: the class.
        device: where.

    Returns:
        The networks.
    """
    mean_gate = 1 / task.steps
    options: dict[str, Any] = {"bias": True, "replicas": len(seeds), "device": device}
    options |= {"generator": training.generators(seeds), "alpha": mean_gate if gate == "constant" else None}
    model = make(task.n_inputs, NEURONS, gate, n_outputs=task.n_outputs, **options)
    with torch.no_grad():
        scale = torch.as_tensor(gain, dtype=torch.float64) * 3**0.5  # nn.Linear draws uniformly, with a gain of 1/√3
        model.W_r.mul_(scale.to(model.W_r).view(-1, 1, 1))
        for bias in (model.b, model.b_o):
            if bias is not None:
                bias.zero_()
        if near_identity:
            model.W_r.mul_(mean_gate).diagonal(dim1=-2, dim2=-1).add_(1 - mean_gate)
            model.W_i.mul_(mean_gate)
        if model.b_g is not None:
            model.b_g.fill_(float(torch.logit(torch.tensor(mean_gate, dtype=torch.float64))))
    return model


def profile(model: GatedRNN, task: tasks.Task, data: tasks.Batch) -> Float[Tensor, "lags S"]:
    r"""How the norm of the backward signal changes with the lag: :math:`\|λ_{T-\ell}\| / \|λ_T\|` for ℓ = 1 … T−1.

    Args:
        model: networks with replicas.
        task: whose loss is taken at the last step.
        data: on which; norms are over its sequences and over neurons.

    Returns:
        Row ℓ − 1 has lag ℓ; ones where there is no signal at all.
    """
    u, target = data.u.to(model.W_r.device), data.target.to(model.W_r.device)
    with torch.no_grad():
        trajectory = model.run(u)
        last = trajectory.x[-1].clone().requires_grad_()
        with torch.enable_grad():
            loss = task.loss(last @ model.W_o.mT + cast(Tensor, model.b_o).unsqueeze(-2), target).sum()
        delta = torch.zeros_like(trajectory.x)
        (delta[-1],) = torch.autograd.grad(loss, last)
        norms = adjoint.costates(model, trajectory, delta)[1:].flatten(2).norm(dim=-1)
    return (norms[:-1] / norms[-1]).nan_to_num(1.0, posinf=1.0).flip(0)


class Transplanted(GatedRNN):
    r"""Networks whose backward signal has at each lag the norm that :attr:`profile` says; its direction stays.

    Without a loss before the last step, :math:`λ_{t-1} = J_t^\top λ_t` is linear. To give λ its norms step by step is
    therefore to scale what plain backpropagation carries, replica by replica:

    .. math:: λ'_{T-\ell} = p_\ell \frac{\|λ_T\|}{\|λ_{T-\ell}\|} λ_{T-\ell}
    """

    profile: Tensor  #: the norms that the signal takes, a row for each lag from 1 on and a column for each network

    def forward(
        self,
        u: Float[Tensor, "T S B m"],
        x0: Float[Tensor, "S B n"] | None = None,
        *,
        workspace: Workspace | None = None,
        backward: Backward = "full",
    ) -> Float[Tensor, "S B o"]:
        """The readout of the last state, as :meth:`gatelr.cells.GatedRNN.forward`, with the transplanted backward."""
        if not torch.is_grad_enabled():
            return super().forward(u, x0, workspace=workspace, backward=backward)
        return self._affine(_LastState.apply(self, u, x0, *self._weights().values()), self.W_o, self.b_o)

    def _weights(self) -> dict[str, Tensor]:
        """Those that make states."""
        return {name: weight for name, weight in self.named_parameters() if name not in ("W_o", "b_o")}


class _LastState(torch.autograd.Function):
    """x_T of the transplanted networks, with the backward pass that :class:`Transplanted` describes."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        """x_T of a model, u, x0, and the weights that get a gradient."""
        ctx.model, u, x0, *_ = inputs
        ctx.trajectory = ctx.model.run(u, x0)
        return cast(Tensor, ctx.trajectory.x[-1].clone())

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> tuple[Tensor | None, ...]:
        """The gradients at the weights."""
        delta = torch.zeros_like(ctx.trajectory.x)
        delta[-1] = cotangents[0]
        costates, signals = adjoint._sweep(ctx.model, ctx.trajectory, delta, 1.0, "full")
        # a square of what is about to vanish has no place in float32
        norms = torch.linalg.vector_norm(costates[1:], dim=(2, 3), dtype=torch.float64)
        scale = ctx.model.profile.flip(0) * norms[-1] / norms[:-1]
        signals[:-1] *= scale.nan_to_num(0.0, posinf=0.0).to(signals)[..., None, None]
        gradients = adjoint._gathered(ctx.model, ctx.trajectory, signals)
        return None, None, None, *(gradients[name] for name in ctx.model._weights())


def measure(
    setup: protocol.Setup,
    *,
    gains: Sequence[float] = GAINS,
    noise: float = 0.0,
    near_identity: bool = False,
    frozen: bool = False,
    backward: Backward = "full",
    clip: float | None = None,
    donor: str | None = None,
) -> training.Run:
    """Train a network for each seed, gain and rate of :data:`RATES` by plain SGD, and take its loss on fresh data.

    The networks of one seed start from the same weights and see the same data.

    Args:
        setup: whose rate and checkpoints are not used.
        gains: of the recurrent weights.
        noise: what inputs after the first are scaled by.
        near_identity: the slow start without a gate, as for :func:`network`.
        frozen: whether the gate's own weights keep their first values.
        backward: what each backward pass carries from step to step.
        clip: the norm to which a longer gradient of all weights is shortened; None for none.
        donor: the gate of the networks, of the same seed, gain, rate and data, whose profile of norms the backward
            signal takes. They are trained before, and their profile of every :data:`EVERY` updates is used for as many.

    Returns:
        A run with one replica for each seed, whose losses are medians over gains and rates and whose ``diverged`` is
        the first step at which a network of the seed did. Its probe of the last step holds in ``"map"`` for each seed,
        gain and rate the loss on fresh data, infinite for a network that diverged.
    """
    cells = [(seed, gain, rate) for seed in setup.seeds for gain in gains for rate in RATES]
    seeds, gain_of, rate_of = (list(column) for column in zip(*cells, strict=True))
    wide = replace(setup, task=held(setup.task, noise, len(gains) * len(RATES)), seeds=seeds, checkpoints=[setup.steps])
    rates, unseen = torch.tensor(rate_of, device=setup.device), wide.draw(FRESH, protocol.FRESH)

    def train(model: GatedRNN, probe: Callable[[int, GatedRNN], Any], **options: Any) -> training.Run:
        engine = torch.optim.SGD(model.parameters(), lr=1.0)
        engine.register_step_pre_hook(lambda *_: _prepare(model, rates, clip, frozen))
        return wide.train(model, probe, engine=engine, batch=BATCH, **options)

    @torch.no_grad()
    def fresh_losses(step: int, model: GatedRNN) -> Tensor:
        output = model(unseen.u.to(setup.device))
        return wide.task.loss(output, unseen.target.to(setup.device)).cpu()

    start = partial(network, wide.task, seeds=wide.seeds, gain=gain_of, device=setup.device)
    if donor is None:
        run = train(start(setup.gate, near_identity=near_identity), fresh_losses, backward=backward)
    else:
        run = _transplanted(start, train, fresh_losses, wide, donor)
    losses = torch.where(run.alive, run.probes[setup.steps].nan_to_num(torch.inf), torch.inf).tolist()
    records = [
        {"seed": seed, "gain": gain, "rate": rate, "loss": loss}
        for (seed, gain, rate), loss in zip(cells, losses, strict=True)
    ]
    steps = torch.where(run.alive, setup.steps, run.diverged).view(len(setup.seeds), -1).amin(1)
    return training.Run(
        losses=run.losses.view(setup.steps, len(setup.seeds), -1).nanmedian(-1).values,
        diverged=torch.where(run.alive.view(len(setup.seeds), -1).all(1), -1, steps),
        redrawn=run.redrawn.view(len(setup.seeds), -1).sum(1),
        probes={setup.steps: {"map": records}},
    )


def _transplanted(
    start: Callable[..., GatedRNN],
    train: Callable[..., training.Run],
    fresh_losses: Callable[[int, GatedRNN], Tensor],
    setup: protocol.Setup,
    donor: str,
) -> training.Run:
    """Train the donors, whose profiles are kept, and then the networks that follow them."""
    probed, at = setup.draw(PROBED, protocol.PROBE), range(0, setup.steps, EVERY)
    aside = None if setup.save is None else Path(setup.save).with_name(f"{Path(setup.save).stem}-donor.checkpoint")
    given = train(start(donor), lambda _, model: profile(model, setup.task, probed), checkpoints=at, save=aside)
    model = start(setup.gate, make=Transplanted)
    # a buffer, so that it is saved with the weights
    model.register_buffer("profile", given.probes[0].clone())

    def follow(step: int, model: GatedRNN) -> Tensor | None:
        if step == setup.steps:
            return fresh_losses(step, model)
        model.profile = given.probes[step]
        return None

    return train(model, follow, checkpoints=[*at, setup.steps])


@torch.no_grad()
def _prepare(model: GatedRNN, rates: Tensor, clip: float | None, frozen: bool) -> None:
    """Each network's gradient, clipped and times its own rate, so that plain SGD with the rate 1 takes its step."""
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    scale = rates
    for name in {"b", "b_o"} | ({"W_rg", "W_ig", "b_g"} if frozen else set()):
        if name in gradients:
            gradients[name].zero_()
    if clip is not None:
        squares = [gradient.flatten(1).square().sum(1) for gradient in gradients.values()]
        scale = rates * (clip / torch.stack(squares).sum(0).sqrt()).clamp(max=1.0)
    for gradient in gradients.values():
        gradient.mul_(scale.view(-1, *(1,) * (gradient.ndim - 1)))
