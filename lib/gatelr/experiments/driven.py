r"""Networks driven by white noise: where their largest Lyapunov exponent crosses zero, and what one J would say.

Recurrent weights are Gaussian with the gain :math:`γ = σ\sqrt n`. Every neuron has an input of its own, white in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gatelr import jacobian, stability
from gatelr.cells import GatedRNN, Trajectory

#: Steps before those that count, in which a network forgets where it began.
WASHOUT = 200


def network(n: int, gains: Sequence[float], gate: str, seed: int, *, alpha: float | None = None) -> GatedRNN:
    """A network for each gain, with the same draw of weights; those of a learned gate have the gain 2 and no input.

    Args:
        n: neurons.
        gains: γ, one a replica.
        gate: which.
        seed: of the weights.
        alpha: of a constant gate.
    """
    draw = torch.Generator().manual_seed(seed)
    options: dict[str, Any] = {"alpha": alpha, "replicas": len(gains), "dtype": torch.float64}
    model = GatedRNN(n, n, gate, generator=torch.Generator(), **options).requires_grad_(False)
    model.W_r.copy_(torch.randn(n, n, generator=draw, dtype=torch.float64) / n**0.5)
    model.W_r.mul_(torch.tensor(gains, dtype=torch.float64)[:, None, None])
    model.W_i.copy_(torch.eye(n, dtype=torch.float64))
    if model.W_rg is not None and model.W_ig is not None:
        model.W_rg.copy_(2 * torch.randn(model.W_rg.shape[1:], generator=draw, dtype=torch.float64) / n**0.5)
        model.W_ig.zero_()
    return model


def driven(model: GatedRNN, drive: float, steps: int, seed: int) -> Trajectory:
    """A run under white noise, the same for all replicas, without its first :data:`WASHOUT` steps."""
    draw = torch.Generator().manual_seed(seed + 1_000_000)
    noise = drive * torch.randn(WASHOUT + steps, 1, model.n_inputs, generator=draw, dtype=torch.float64)
    trajectory = model.run(noise.expand(-1, model.replicas or 1, -1))
    return Trajectory(*(series[WASHOUT:] for series in trajectory))


def largest(J: Tensor, seed: int = 0) -> Tensor:
    """The largest exponent alone, from a random first direction."""
    draw = torch.Generator().manual_seed(seed)
    start = torch.randn(J.shape[-1], 1, generator=draw, dtype=J.dtype)
    return stability.lyapunov(J, start=start).squeeze(-1)


def exponents(n: int, gains: Sequence[float], alpha: float, drive: float, steps: int, seed: int) -> pd.DataFrame:
    r"""The largest exponent of leaky integrators under white noise, by gain.

    Args:
        n, gains, alpha: of the networks.
        drive: standard deviation of each input.
        steps: that count.
        seed: of weights and noise.

    Returns:
        A row for each gain: ``"gain"``, ``"slope gain"``, which is :math:`γ \operatorname{rms} φ'` over neurons and
        steps, and ``"exponent"`` per step.
    """
    rows = []
    for gain in gains:  # one after the other: the Jacobians of all would take gigabytes
        model = network(n, [gain], "constant", seed, alpha=alpha)
        trajectory = driven(model, drive, steps, seed)
        slope = float((1 - trajectory.phi.square()).square().mean().sqrt())
        rows.append((gain, gain * slope, float(largest(jacobian.blocks(model, trajectory), seed))))
    table = pd.DataFrame(rows, columns=["gain", "slope gain", "exponent"])
    return table.assign(alpha=alpha, drive=drive, seed=seed)


def crossing(rows: pd.DataFrame, column: str) -> float:
    """Where the exponent first becomes positive, in a column that grows with the gain, by linear interpolation.

    Raises:
        ValueError: if it does not within the gains.
    """
    exponent, place = rows["exponent"].to_numpy(), rows[column].to_numpy()
    above = np.flatnonzero((exponent[1:] > 0) & (exponent[:-1] <= 0))
    if len(above) == 0:
        raise ValueError(
            f"got exponents from {exponent.min():.2g} to {exponent.max():.2g} that do not cross zero, expected a "
            "change of sign: widen the range of gains"
        )
    i = above[0]
    share = exponent[i] / (exponent[i] - exponent[i + 1])
    return float(place[i] + share * (place[i + 1] - place[i]))


def crossings(rows: pd.DataFrame, column: str) -> pd.Series:
    """:func:`crossing` for each drive, α and seed of :func:`exponents`."""
    groups = rows.groupby(["drive", "alpha", "seed"])
    return pd.Series({key: crossing(group, column) for key, group in groups}).rename_axis(["drive", "alpha", "seed"])


def static_clouds(n: int, alphas: Sequence[float], seed: int) -> pd.DataFrame:
    """The eigenvalues of one J at rest and gain 1, for each constant gate, of one draw of weights."""
    parts = []
    for alpha in alphas:
        model = network(n, [1.0], "constant", seed, alpha=alpha)
        rest = model.run(torch.zeros(1, 1, n, dtype=torch.float64))
        z = torch.linalg.eigvals(jacobian.blocks(model, rest)[0, 0]).numpy()
        parts.append(pd.DataFrame({"real": z.real, "imaginary": z.imag, "alpha": alpha}))
    return pd.concat(parts, ignore_index=True)


def _one_state(n: int, draw: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A state, a candidate and a gate at random, and not of any run: the weights are then independent of them."""
    x, a, a_g = (torch.randn(n, generator=draw, dtype=torch.float64) for _ in range(3))
    return 0.5 * x, torch.tanh(0.7 * a), torch.sigmoid(a_g)


def static_edges(n: int, gains: Sequence[tuple[float, float]], seed: int = 0) -> pd.DataFrame:
    """Where the eigenvalues of one J with a learned gate for each neuron end, measured and by its equation.

    Args:
        n: neurons.
        gains: pairs (γ, γ_g) of the candidate's weights and of the gate's.
        seed: of the draw, which all pairs share.

    Returns:
        A row for each pair: ``"gain"``, ``"gate gain"``, ``"measured"`` and ``"predicted"``, by
        :func:`gatelr.stability.rightmost`.
    """
    draw, rows = torch.Generator().manual_seed(seed), []
    x, phi, g = _one_state(n, draw)
    W, W_g = (torch.randn(n, n, generator=draw, dtype=torch.float64) / n**0.5 for _ in range(2))
    for gain, gate_gain in gains:
        recurrent, gate = gain * g * (1 - phi.square()), gate_gain * g * (1 - g) * (phi - x)
        J = torch.diag(1 - g) + recurrent.unsqueeze(-1) * W + gate.unsqueeze(-1) * W_g
        predicted = float(stability.rightmost(1 - g, recurrent.square() + gate.square()))
        rows.append((gain, gate_gain, float(torch.linalg.eigvals(J).real.max()), predicted))
    return pd.DataFrame(rows, columns=["gain", "gate gain", "measured", "predicted"])


def scalar_outliers(n: int, draws: int, gain: float = 0.9, gate_gain: float = 2.0) -> tuple[float, float]:
    """How often a scalar gate of 1/2 sends an eigenvalue of one J out of the unit circle, alone.

    Args:
        n: neurons.
        draws: of state and weights.
        gain, gate_gain: of the candidate's weights and of the gate's.

    Returns:
        The share of draws in which J has an eigenvalue outside the circle and Λ + R has none; and how far, at most,
        such an eigenvalue is from solving :func:`gatelr.stability.outlier_condition`.
    """
    draw, residuals = torch.Generator().manual_seed(0), []
    for _ in range(draws):
        x, phi, _ = _one_state(n, draw)
        W, row = (torch.randn(*shape, generator=draw, dtype=torch.float64) / n**0.5 for shape in ((n, n), (n,)))
        rest = 0.5 * (torch.eye(n, dtype=torch.float64) + gain * (1 - phi.square()).unsqueeze(-1) * W)
        column, row = 0.25 * (phi - x), gate_gain * row
        z = torch.linalg.eigvals(rest + torch.outer(column, row))
        farthest = z[z.abs().argmax()]
        if torch.linalg.eigvals(rest).abs().max() < 1 < farthest.abs():
            residuals.append(float(stability.outlier_condition(farthest, rest, column, row).abs()))
    return len(residuals) / draws, max(residuals, default=0.0)
