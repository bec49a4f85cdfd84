r"""Frozen gates that are given, step by step, the rates by lag of gates that learn (E4, claims C8 and C11).

The gradient has an order 0, what the leaks alone carry back over a lag, and a rest. In it the order 0 of each lag is
multiplied by one number a network,

.. math:: λ_k \mapsto λ_k + \Bigl(\frac{m_\ell}{\bar m_\ell} - 1\Bigr) P_{T,k} ⊙ δ_T,
    \qquad \bar m_\ell = E[g_k P_{T,k}], \quad k = T - \ell ,

where :math:`\bar m_\ell` is the network's own mean rate of the lag, over neurons and sequences, and :math:`m_\ell` that
of a network that learns beside it, on the same batch. So its mean rate of each lag is the other's at every step of
training, while its gates, what it computes and the rest of its gradient stay its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gatelr import adjoint, rates, tasks, training
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments import protocol
from gatelr.kernels.sweep import Backward, Workspace

#: Four networks of each seed, with the same weights at the start and the same data. All of the first learns. The gates
#: of the others keep their weights. The third is given the rates of the first, and the null gives them to other lags.
ARMS = ("learns", "frozen", "imposed", "permuted")


class Imposed(GatedRNN):
    """Networks of S seeds in the four :data:`ARMS`, one block of S replicas after the other, which learn side by side.

    The steps of the null are as long as those that it would take with the rates in their places. Networks have no
    biases, and the loss reads the last state.
    """

    orders: Tensor  #: ``(T, S)``, for each step and seed the step whose rate it gets in the null

    def forward(
        self,
        u: Float[Tensor, "T *batch m"],
        x0: Float[Tensor, "*batch n"] | None = None,
        *,
        workspace: Workspace | None = None,
        backward: Backward = "full",
    ) -> Float[Tensor, "*batch o"]:
        """The readout of the last state; its backward pass gives each arm the gradient that is its own."""
        if not torch.is_grad_enabled():
            return super().forward(u, x0, workspace=workspace, backward=backward)
        with torch.no_grad():
            run = self.run(u, x0)
        last = run.x[-1].clone().requires_grad_()
        last.register_hook(partial(self._teach, run))
        return self._affine(last, self.W_o)

    @torch.no_grad()
    def _teach(self, run: Trajectory, delta: Float[Tensor, "R B n"]) -> None:
        """Set the gradients of all weights but the readout's, from that of the last state."""
        direct = torch.zeros_like(run.x)
        direct[-1] = delta
        signal = adjoint.costates(self, run, direct)[1:]
        seeds = run.x.shape[1] // len(ARMS)
        learns, given, null = slice(seeds), slice(2 * seeds, None), slice(3 * seeds, None)
        learned = rates.shares(_of(run, learns)).mean((2, 3))  # (T, S)
        share = rates.shares(_of(run, given))
        own, order_0 = share.mean((2, 3)), share * delta[given]
        left = run.g * signal
        elsewhere = left[:, null] + _weighted(order_0[:, seeds:], learned.gather(0, self.orders) / own[:, seeds:] - 1)
        left[:, given] += _weighted(order_0, learned.repeat(1, 2) / own - 1)
        slope, source = 1 - run.phi**2, _rows(torch.cat([run.x_prev, run.u], -1))
        step = _rows(slope * left).mT @ source
        other = _rows(slope[:, null] * elsewhere).mT @ source[null]
        length = step[null].flatten(1).norm(dim=1) / other.flatten(1).norm(dim=1)
        step[null] = other * length.nan_to_num(0.0, posinf=0.0)[:, None, None]
        self.W_r.grad, self.W_i.grad = (part.contiguous() for part in step.split([self.n_hidden, self.n_inputs], -1))
        self._teach_gates(_of(run, learns), signal[:, learns])

    def _teach_gates(self, run: Trajectory, signal: Float[Tensor, "T S B n"]) -> None:
        """The gradients of the gates' own weights, zero where they are frozen (claim C7)."""
        assert self.W_rg is not None
        assert self.W_ig is not None
        at_gate = (run.phi - run.x_prev) * run.g * (1 - run.g) * signal
        if self.gate == "scalar":
            at_gate = at_gate.sum(-1, keepdim=True)
        for weight, read in ((self.W_rg, run.x_prev), (self.W_ig, run.u)):
            weight.grad = torch.zeros_like(weight)
            weight.grad[: run.x.shape[1]] = _rows(at_gate).mT @ _rows(read)


def network(task: tasks.Task, gate: str, seeds: Sequence[int], n: int, device: torch.device | str = "cpu") -> Imposed:
    """The networks of some seeds in all four arms, before training.

    Args:
        task: what to learn.
        gate: ``"scalar"`` or ``"multi"``.
        seeds: one network of each arm for each; the order of lags in the null is drawn from it too.
        n: neurons.
        device: where.

    Returns:
        The networks, those of one arm after those of the other.

    Raises:
        ValueError: for a gate that has no weights to freeze.
    """
    if gate not in ("scalar", "multi"):
        raise ValueError(f"got gate={gate!r}, expected scalar or multi: another has no weights that could be frozen")
    drawn = training.generators([*seeds] * len(ARMS))
    model = Imposed(
        task.n_inputs, n, gate, n_outputs=task.n_outputs, replicas=len(drawn), generator=drawn, device=device
    )
    model.register_buffer("orders", permutations(seeds, task.steps).T.contiguous().to(device), persistent=False)
    return model


def permutations(seeds: Sequence[int], count: int) -> Int[Tensor, "S count"]:
    """One order of so many things for each seed."""
    return torch.stack([torch.randperm(count, generator=g) for g in training.generators(seeds, protocol.NULL)])


def _weighted(order_0: Float[Tensor, "T R B n"], by: Float[Tensor, "T R"]) -> Float[Tensor, "T R B n"]:
    """Each step's part times a number; of a network that has diverged nothing is left."""
    return order_0 * by.nan_to_num(0.0, posinf=0.0, neginf=0.0)[..., None, None]


def _rows(series: Float[Tensor, "T R B d"]) -> Float[Tensor, "R rows d"]:
    """All steps and sequences of a network below each other."""
    return series.movedim(1, 0).flatten(1, 2)


def _of(run: Trajectory, which: slice) -> Trajectory:
    """The trajectories of some of the networks."""
    return Trajectory(*(member[:, which] for member in run))
