r"""What the code released with the paper computes, emulated from its description, with each departure a switch.

For comparison only: the definitions stand in the other modules. All departures on are the released estimators; all off
are the definitions, up to which pairs are counted. Draws are those of the released scripts, number by number, so that
a seed means the same network, the same data and the same start of a power iteration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from gatelr import jacobian, tasks, transport
from gatelr.cells import GatedRNN, Trajectory


@dataclass(frozen=True)
class Departures:
    """Which departures are on; all of them by default.

    Attributes:
        state_after: the gate term at x_j instead of x_{j-1}.
        reversed_order: products J_{k+1} … J_t.
        spectral_radius: five power iterations on P instead of on PᵀP.
        gate_product: the mean of ∏ g as predictor instead of the largest ∏ (1 - g), with one factor more than the lag
            where gates are learned.
        trimmed: a hundredth of the pairs left out at either end of the predictor.
    """

    state_after: bool = True
    reversed_order: bool = True
    spectral_radius: bool = True
    gate_product: bool = True
    trimmed: bool = True

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
    return jacobian.blocks(model, run._replace(x_prev=run.x) if departures.state_after else run)


def networks(
    gate: str, streams: Sequence[torch.Generator], *, n_inputs: int, n: int = 64, alpha: float = 0.8
) -> GatedRNN:
    """The released script's networks, a replica for each stream, in float32; the streams go on from where they were.

    Args:
        gate: as for :class:`gatelr.cells.GatedRNN`.
        streams: one generator for each seed, in place of the global one that the scripts seed.
        n_inputs: m.
        n: neurons.
        alpha: the constant gate.
    """
    options: dict[str, Any] = {"replicas": len(streams), "generator": streams}
    return GatedRNN(n_inputs, n, gate, alpha=alpha if gate == "constant" else None, **options)


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
    found = run.x.new_zeros(T, T, B)
    factor = run.g if departures.gate_product else 1 - run.g
    extra = int(departures.gate_product and model.gate != "constant")  # g_k counts as well
    total = torch.cat([torch.zeros_like(factor[:1]), factor.log().cumsum(0)])
    for lag in range(0 if extra else 1, T):
        t = torch.arange(lag, T)
        if model.alpha is not None:  # one number a lag, to the last bit: trimming cuts between equal ones
            (alpha,) = model.alpha
            found[t, t - lag] = (alpha if departures.gate_product else 1 - alpha) ** lag
        else:
            products = (total[t + 1] - total[t - lag + 1 - extra]).exp()
            found[t, t - lag] = products.mean(-1) if departures.gate_product else products.amax(-1)
    return found


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


class OneBatch(tasks.Task):
    """A task whose every draw is the same batch, for every seed: what a generator that nobody has seeded gives."""

    def draw(
        self, batch: int, generator: tasks.Source, dtype: torch.dtype = torch.float32, *, held_out: bool = False
    ) -> tasks.Batch:
        """As :meth:`gatelr.tasks.contract.Task.draw`, whatever the generators say."""
        unseeded: tasks.Source = (
            torch.Generator() if isinstance(generator, torch.Generator) else [torch.Generator() for _ in generator]
        )
        return super().draw(batch, unseeded, dtype, held_out=held_out)


def one_batch(task: tasks.Task) -> OneBatch:
    """The task, frozen to one batch."""
    return OneBatch(**vars(task))


def pairs(
    steps: int, batch: int, lags: Sequence[int], count: int, draw: np.random.RandomState
) -> dict[int, tuple[Tensor, Tensor]]:
    """For each lag, sequences and steps at which a transport ends, all different, as the released script draws them."""
    found = {}
    for lag in lags:
        chosen = torch.from_numpy(draw.choice(batch * (steps - lag), size=count, replace=False))
        found[lag] = chosen // (steps - lag), lag + chosen % (steps - lag)
    return found


@torch.no_grad()
def transports(
    model: GatedRNN,
    run: Trajectory,
    ends: dict[int, tuple[Tensor, Tensor]],
    departures: Departures = AS_RELEASED,
) -> dict[int, Float[Tensor, "pairs n"]]:
    """Singular values of the transports over each lag that end there, taken in float64 of products in the run's dtype.

    Args:
        model: the network, without replicas.
        run: what it did on some sequences.
        ends: for each lag the sequences and the steps, as :func:`gatelr.experiments.joint_anisotropy.windows` draws.
        departures: those of state and order count here.
    """
    found = {}
    for lag, (sequence, t) in ends.items():
        P: Tensor | None = None
        for step in range(lag):
            here = Trajectory(*(member[t - lag + step, sequence].unsqueeze(0) for member in run))
            J = blocks(model, here, departures)[0]
            P = J if P is None else (P @ J if departures.reversed_order else J @ P)
        assert P is not None
        found[lag] = torch.linalg.svdvals(P.double())
    return found


def anisotropy(sigma: Float[Tensor, "*batch n"], r: int = 10, top: int = 16) -> tuple[Tensor, Tensor]:
    """AI and CE as released: with 1e-12 added to what is divided by, and CE among the largest values alone."""
    energy = sigma[..., :top].square()
    return sigma[..., 0] / (sigma[..., r - 1] + 1e-12), energy[..., :r].sum(-1) / (energy.sum(-1) + 1e-12)


# The appendix


def appendix(gate: str, seed: int, *, T: int = 100, n: int = 64, m: int = 3) -> tuple[GatedRNN, Trajectory]:
    """The network of the appendix and its run along one sequence, in float64, from the released draws of a seed."""
    h = 1 if gate == "scalar" else n
    stream = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {}
    for pair in ({"W_i": (n, m), "W_r": (n, n)}, {"W_rg": (h, n), "W_ig": (h, m)}):
        drawn = {name: torch.empty(shape, dtype=torch.float64) for name, shape in pair.items()}
        for weight in drawn.values():  # the default draw of nn.Linear, which is then replaced
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=stream)
        for weight in drawn.values():
            nn.init.normal_(weight, std=0.2, generator=stream)
        weights |= drawn
    model = GatedRNN(m, n, gate, generator=torch.Generator(), dtype=torch.float64).requires_grad_(False)
    model.load_state_dict(weights | {"W_o": model.W_o})
    return model, model.run(_signal(T, m, seed))


def ratios(model: GatedRNN, run: Trajectory, departures: Departures = AS_RELEASED) -> Float[Tensor, " T"]:
    r""":math:`r_j = \|B_j\|_2 / \|A_j\|_2` of the gate splitting, along one sequence (T, n)."""
    terms = jacobian.terms(model, run._replace(x_prev=run.x) if departures.state_after else run)
    norms = [torch.linalg.matrix_norm(part, 2) for part in (terms.gate, terms.leak + terms.recurrent)]
    return norms[0] / norms[1]


def truncation(model: GatedRNN, run: Trajectory, departures: Departures = AS_RELEASED) -> tuple[float, float]:
    """Frobenius norms of what orders 0 and 1 of the gate splitting leave out of the product, and of the product."""
    terms = jacobian.terms(model, run._replace(x_prev=run.x) if departures.state_after else run)
    A, B = terms.leak + terms.recurrent, terms.gate
    if departures.reversed_order:
        A, B = A.flip(0), B.flip(0)
    zero = torch.eye(A.shape[-1], dtype=A.dtype)
    M, first = zero, torch.zeros_like(zero)
    rest = torch.zeros_like(zero)
    for A_j, B_j in zip(A.unbind(), B.unbind(), strict=True):
        rest = (A_j + B_j) @ rest + B_j @ first
        first = A_j @ first + B_j @ M
        M = A_j @ M
    return float(rest.norm()), float((M + first + rest).norm())


def kept_by_iqr(values: Sequence[float]) -> list[bool]:
    """Which values lie within one and a half interquartile ranges of the quartiles: the filter that drops seeds."""
    x = torch.tensor(values, dtype=torch.float64)
    low, high = x.quantile(torch.tensor([0.25, 0.75], dtype=x.dtype)).tolist()
    reach = 1.5 * (high - low)
    return [bool(low - reach <= value <= high + reach) for value in x.tolist()]


def _signal(T: int, m: int, seed: int) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    t = torch.linspace(0, 12, T, dtype=torch.float64)
    waves = []
    for omega in torch.linspace(0.03, 0.09, m, dtype=torch.float64):
        phase = torch.randn((), generator=stream, dtype=torch.float64)
        waves.append(torch.sin(omega * t + phase))
    u = torch.stack(waves, 1)
    return u + 0.05 * torch.randn(T, 1, m, generator=stream, dtype=torch.float64)[:, 0]
