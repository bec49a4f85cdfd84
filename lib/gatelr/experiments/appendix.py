r"""The appendix's check of the first-order expansion, emulated: random networks that are not trained.

For each network the script reports how fast the error of the expansion falls with its scale ε, and the ratio
:math:`r_j = \|B_j\|_2 / \|A_j\|_2` of the gate splitting. Seeds with an outlying error are left out of both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from gatelr import expansion, jacobian, transport
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments import released
from gatelr.experiments.released import AS_DEFINED, AS_RELEASED, Departures

#: The gates of its networks.
GATES = ("scalar", "multi")


def network(gate: str, seed: int, *, T: int = 100, n: int = 64, m: int = 3) -> tuple[GatedRNN, Trajectory]:
    """A network and its run along one sequence, in float64, from the released draws of a seed."""
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


def _signal(T: int, m: int, seed: int) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    t = torch.linspace(0, 12, T, dtype=torch.float64).unsqueeze(1)
    omega = torch.linspace(0.03, 0.09, m, dtype=torch.float64)
    phase = torch.stack([torch.randn((), generator=stream, dtype=torch.float64) for _ in range(m)])
    return torch.sin(omega * t + phase) + 0.05 * torch.randn(T, m, generator=stream, dtype=torch.float64)


def splitting(model: GatedRNN, run: Trajectory, departures: Departures = AS_RELEASED) -> tuple[Tensor, Tensor]:
    """A and B of the gate splitting of every step, (T, n, n) each; the gate term with its departure or without."""
    return expansion.split(jacobian.terms(model, released.read(run, departures)), "gate")


def ratios(model: GatedRNN, run: Trajectory, departures: Departures = AS_RELEASED) -> Float[Tensor, " T"]:
    r""":math:`r_j` along one sequence."""
    A, B = splitting(model, run, departures)
    return torch.linalg.matrix_norm(B, 2) / torch.linalg.matrix_norm(A, 2)


def truncation(model: GatedRNN, run: Trajectory, departures: Departures = AS_RELEASED) -> tuple[float, float]:
    """Frobenius norms of what orders 0 and 1 of the gate splitting leave out of the product, and of the product."""
    A, B = splitting(model, run, departures)
    if departures.reversed_order:
        A, B = A.flip(0), B.flip(0)
    rest = expansion.remainder(A, B, 1, 1.0)
    return float(rest.norm()), float((expansion.orders(A, B, 1).sum(0) + rest).norm())


def kept_by_iqr(values: Sequence[float]) -> list[bool]:
    """Which values lie within one and a half interquartile ranges of the quartiles: the filter that drops seeds."""
    low, high = np.quantile(values, [0.25, 0.75])
    reach = 1.5 * (high - low)
    return [bool(low - reach <= value <= high + reach) for value in values]


def by_network(count: int) -> pd.DataFrame:
    """The ratios of so many networks a gate, a row for each network and reading of the gate term.

    Returns:
        ``"gate"``, ``"seed"``, ``"gate term"`` (``"released"`` or ``"defined"``); ``"median"`` and ``"largest"`` ratio
        over steps; and whether the filter would have ``"kept"`` the network.
    """
    rows = []
    for gate in GATES:
        networks = [network(gate, seed) for seed in range(count)]
        kept = kept_by_iqr([truncation(*each)[0] for each in networks])
        for seed, (each, keep) in enumerate(zip(networks, kept, strict=True)):
            for word, departures in {"released": AS_RELEASED, "defined": AS_DEFINED}.items():
                r = ratios(*each, departures)
                row = {"gate": gate, "seed": seed, "gate term": word, "kept": keep}
                rows.append(row | {"median": float(np.median(r)), "largest": float(r.max())})
    return pd.DataFrame(rows)


#: The stations of the ratio from as released to as defined, each with its short name.
STATIONS = {"as released": "released", "all seeds": "all", "state before the update": "defined"}


def by_station(networks: pd.DataFrame) -> pd.DataFrame:
    """The appendix's published statistic, a mean over networks of medians over steps, by gate and station.

    Args:
        networks: from :func:`by_network`.

    Returns:
        ``"gate"``, ``"stage"``, ``"ratio"``, ``"largest"`` and how many ``"networks"`` count.
    """
    after, before = (networks[networks["gate term"] == word] for word in ("released", "defined"))
    rows = [
        {"gate": gate, "stage": station, "ratio": of_gate["median"].mean()}
        | {"largest": of_gate.largest.max(), "networks": len(of_gate)}
        for station, part in zip(STATIONS, (after[after.kept], after, before), strict=True)
        for gate, of_gate in part.groupby("gate", sort=False)
    ]
    return pd.DataFrame(rows)


def truncation_slopes() -> pd.DataFrame:
    """Log-log slope of what order 1 leaves out, with true corrections and with wrong ones, by gate."""
    scales, rows = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3], []
    for gate in GATES:
        A, B = splitting(*network(gate, 0), AS_DEFINED)
        for name, corrections in {"true": B, **wrong(B)}.items():
            rest = [float(expansion.remainder(A, corrections, 1, scale).norm()) for scale in scales]
            slope = float(np.polyfit(np.log(scales), np.log(rest), 1)[0])
            rows.append({"gate": gate, "corrections": name, "slope": slope})
    return pd.DataFrame(rows)


def wrong(B: Float[Tensor, "T n n"]) -> dict[str, Tensor]:
    """Corrections that are not those of the network: of other steps, and random ones of the same spread."""
    order = torch.randperm(len(B), generator=torch.Generator().manual_seed(0))
    random = torch.randn(B.shape, generator=torch.Generator().manual_seed(1), dtype=B.dtype) * B.std()
    return {"shuffled": B[order], "random": random}


def deviations_at_one() -> pd.DataFrame:
    """How far ∏ (A_j + B_j) is from the derivative by autograd, relative, with true corrections and with wrong ones.

    Unlike :func:`truncation_slopes` this knows wrong corrections from right ones.
    """
    rows = []
    for gate in GATES:
        model, run = network(gate, 0)
        A, B = splitting(model, run, AS_DEFINED)
        u = _signal(len(A), model.n_inputs, 0)
        derivative = torch.func.jacrev(lambda x, model=model, u=u: model.run(u, x).x[-1])(torch.zeros_like(run.x[0]))
        for name, corrections in {"true": B, "released": splitting(model, run)[1], **wrong(B)}.items():
            (product,) = transport.products(A + corrections, len(A))
            off = float((product - derivative).norm() / derivative.norm())
            rows.append({"gate": gate, "corrections": name, "off": off})
    return pd.DataFrame(rows)
