r"""What the code released with the paper computes, emulated from its description, with each departure a switch.

For comparison only: the definitions stand in the other modules. All departures on are the released estimators; all off
are the definitions, up to which pairs are counted. Draws are those of the released scripts, number by number, so that
a seed means the same network, the same data and the same start of a power iteration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gatelr import jacobian, tasks, transport
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments import joint_anisotropy


@dataclass(frozen=True)
class Departures:
    """Which departures are on; all of them by default."""

    state_after: bool = True  #: the gate term at x_j instead of x_{j-1}
    reversed_order: bool = True  #: products J_{k+1} … J_t
    spectral_radius: bool = True  #: five power iterations on P instead of on PᵀP
    #: the mean of ∏ g as predictor instead of the largest ∏ (1 - g), with one factor more than the lag where gates are
    #: learned
    gate_product: bool = True
    trimmed: bool = True  #: a hundredth of the pairs left out at either end of the predictor

    def without(self, *names: str) -> Departures:
        """The same with some switched off."""
        return replace(self, **dict.fromkeys(names, False))


#: All departures on.
AS_RELEASED = Departures()

#: All off.
AS_DEFINED = AS_RELEASED.without(*vars(AS_RELEASED))


class Fit(NamedTuple):
    """A straight line through log S over the logarithm of the predictor.

    Attributes:
        slope: of the line.
        r2: the share of the variance that it explains.
    """

    slope: float
    r2: float


def blocks(model: GatedRNN, run: Trajectory, departures: Departures = AS_RELEASED) -> Tensor:
    """Step Jacobians; only the gate term reads the state before the update."""
    return jacobian.blocks(model, read(run, departures))


def read(run: Trajectory, departures: Departures) -> Trajectory:
    """The run with the states at which step Jacobians are evaluated."""
    return run._replace(x_prev=run.x) if departures.state_after else run


@torch.no_grad()
def sensitivities(
    J: Float[Tensor, "T B n n"], stream: torch.Generator, departures: Departures = AS_RELEASED, iterations: int = 5
) -> Float[Tensor, "T T B"]:
    """S by the released estimator: index [t, k] counts steps from 0, and the first Jacobian is never used.

    Args:
        J: step Jacobians.
        stream: source of the power iterations' starts, in the order sequence, end, length.
        departures: those of order and norm count here.
        iterations: of the power iteration.

    Returns:
        (T, T, B), 0 where there is no transport.
    """
    if not departures.spectral_radius:  # the norm of a product is that of its transpose, in the other order
        S = transport.sensitivities(J[1:].mT if departures.reversed_order else J[1:])
        S[range(len(J)), range(len(J))] = 0
        return S
    T, B, n = J.shape[:3]
    S = J.new_zeros(T, T, B)
    start = torch.randn(B, T * (T - 1) // 2, n, generator=stream)
    P = J[1:]  # P[i] ends at step t = lag + i
    for lag in range(1, T):
        if lag > 1:
            older = J[1 : T - lag + 1]
            P = older @ P[1:] if departures.reversed_order else P[1:] @ older
        t = torch.arange(lag, T)
        v = start[:, t * (t - 1) // 2 + lag - 1].transpose(0, 1).to(J).unsqueeze(-1)
        v = v / (v.norm(dim=-2, keepdim=True) + 1e-12)
        for _ in range(iterations):
            v = P @ v
            v = v / (v.norm(dim=-2, keepdim=True) + 1e-12)
        S[t, t - lag] = (P @ v).norm(dim=-2).squeeze(-1)
    return S


def predictor(model: GatedRNN, run: Trajectory, departures: Departures = AS_RELEASED) -> Float[Tensor, "T T B"]:
    """What is to predict S, with the indices of :func:`sensitivities`; 0 where there is no transport."""
    T, B = run.x.shape[:2]
    predicted = run.x.new_zeros(T, T, B)
    factor = run.g if departures.gate_product else 1 - run.g
    extra = int(departures.gate_product and model.gate != "constant")  # g_k counts as well
    total = torch.cat([torch.zeros_like(factor[:1]), factor.log().cumsum(0)])
    for lag in range(0 if extra else 1, T):
        t = torch.arange(lag, T)
        if model.alpha is not None:  # one number a lag, to the last bit: trimming cuts between equal ones
            (alpha,) = model.alpha
            predicted[t, t - lag] = (alpha if departures.gate_product else 1 - alpha) ** lag
        else:
            products = (total[t + 1] - total[t - lag + 1 - extra]).exp()
            predicted[t, t - lag] = products.mean(-1) if departures.gate_product else products.amax(-1)
    return predicted


def fit(S: Tensor, X: Tensor, departures: Departures = AS_RELEASED) -> Fit:
    """Least squares in logarithms over all pairs where both are positive."""
    x, y = X.flatten().double(), S.flatten().double()
    good = x.isfinite() & y.isfinite() & (x > 0) & (y > 0)
    if departures.trimmed:
        low, high = x[good].quantile(torch.tensor([0.01, 0.99], dtype=x.dtype))
        good &= (x >= low) & (x <= high)
    x, y = x[good].log(), y[good].log()
    x, y = x - x.mean(), y - y.mean()
    slope = float((x @ y) / (x @ x))
    return Fit(slope, float((x @ y) ** 2 / ((x @ x) * (y @ y))))


# S2

#: The tasks of the script for anisotropy that ask for a mean of channel 0, and how many steps back its inputs stand.
STEPS_BACK = {"moving_average": tuple(range(8)), "delay_sum": (4, 12, 24, 36)}


def drawn_as_released(name: str, steps: int = 120) -> tasks.Task:
    """A task of the script for anisotropy, with the script's own draws.

    The script draws all six channels, sequence by sequence, and for a mean of channel 0 it then sets the other five to
    zero. So a seed means other sequences than in :mod:`gatelr.tasks`, except for adding.

    Args:
        name: ``"adding"`` or one of :data:`STEPS_BACK`.
        steps: T.

    Raises:
        ValueError: for another task.
    """
    if name not in ("adding", *STEPS_BACK):
        raise ValueError(
            f"got task {name!r}, expected adding, {' or '.join(STEPS_BACK)}: no other has released draws here"
        )
    defined = tasks.get(name, steps=steps, n_inputs=6)
    return defined if name == "adding" else replace(defined, make=partial(_one_channel, defined))


def _one_channel(
    defined: tasks.Task, batch: int, generator: tasks.Source, *, dtype: torch.dtype, held_out: bool
) -> tasks.Batch:
    sources = [generator] if isinstance(generator, torch.Generator) else generator
    shape = batch, defined.steps, defined.n_inputs
    u = torch.stack([torch.rand(shape, generator=source, dtype=dtype).transpose(0, 1) for source in sources], 1)
    u[..., 1:] = 0
    asked = u[[defined.steps - 1 - back for back in STEPS_BACK[defined.name]], ..., :1]
    target = reduce(torch.add, asked) / len(asked)  # term by term: a mean may order its terms by the size of the whole
    return _as_asked(tasks.Batch(u, target), generator)


def _as_asked(drawn: tasks.Batch, generator: tasks.Source) -> tasks.Batch:
    """Without replicas for one generator that was handed in alone."""
    alone = isinstance(generator, torch.Generator)
    return tasks.Batch(drawn.u[:, 0], drawn.target[0]) if alone else drawn


class OneBatch(tasks.Task):
    """A task whose every draw is the same batch, which is what a generator that nobody has seeded gives.

    As in the script, the generators that are handed in add noise of a standard deviation of 1e-6 to the inputs.
    """

    def draw(
        self, batch: int, generator: tasks.Source, dtype: torch.dtype = torch.float32, *, held_out: bool = False
    ) -> tasks.Batch:
        """As :meth:`gatelr.tasks.contract.Task.draw`, but for the noise whatever the generators say."""
        sources = [generator] if isinstance(generator, torch.Generator) else generator
        drawn = super().draw(batch, [torch.Generator() for _ in sources], dtype, held_out=held_out)
        shape = batch, self.steps, self.n_inputs
        noise = [torch.randn(shape, generator=source, dtype=dtype).transpose(0, 1) for source in sources]
        u = drawn.u + 1e-6 * torch.stack(noise, 1)
        return _as_asked(tasks.Batch(u, drawn.target), generator)


def one_batch(task: tasks.Task) -> OneBatch:
    """The task, frozen to one batch."""
    return OneBatch(**vars(task))


def pairs(
    steps: int, batch: int, lags: Sequence[int], count: int, draw: np.random.RandomState
) -> dict[int, tuple[Tensor, Tensor]]:
    """For each lag, sequences and steps at which a transport ends, all different, as the released script draws them."""
    ends = {}
    for lag in lags:
        chosen = torch.from_numpy(draw.choice(batch * (steps - lag), size=count, replace=False))
        ends[lag] = chosen // (steps - lag), lag + chosen % (steps - lag)
    return ends


@torch.no_grad()
def transports(
    model: GatedRNN, run: Trajectory, ends: dict[int, tuple[Tensor, Tensor]], departures: Departures = AS_RELEASED
) -> dict[int, Float[Tensor, "pairs n"]]:
    """As :func:`gatelr.experiments.joint_anisotropy.spectra`, with the departures of state and order."""
    forward = partial(blocks, departures=departures)
    return joint_anisotropy.spectra(model, run, ends, forward, reverse=departures.reversed_order)


def anisotropy(sigma: Float[Tensor, "*batch n"], r: int = 10, top: int = 16) -> tuple[Tensor, Tensor]:
    """AI and CE as released: with 1e-12 added to what is divided by, and CE among the largest values alone."""
    energy = sigma[..., :top].square()
    return sigma[..., 0] / (sigma[..., r - 1] + 1e-12), energy[..., :r].sum(-1) / (energy.sum(-1) + 1e-12)
