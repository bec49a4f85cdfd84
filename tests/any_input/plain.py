"""What the numeric library computes, again, in loops over single steps and sequences: slow, and nothing shared."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from gatelr.cells import GatedRNN, Trajectory
from networks import reference_step
from torch import Tensor


def flat(model: GatedRNN, x: Tensor) -> Tensor:
    """``(T, *batch, ·)`` as ``(T, S, B, ·)``."""
    return x.reshape(len(x), model.replicas or 1, -1, x.shape[-1])


def last_readout(model: GatedRNN, u: Tensor, x0: Tensor | None = None) -> Tensor:
    """The readout after the last step, sequence by sequence."""
    x = states(model, u, x0)[-1:]
    S = model.replicas
    out = []
    for s, rows in enumerate(flat(model, x)[0]):
        W, b = (w if w is None or S is None else w[s] for w in (model.W_o, model.b_o))
        out.append(rows @ W.T + (0 if b is None else b))
    return torch.stack(out).reshape(*u.shape[1:-1], model.n_outputs).detach()


def states(model: GatedRNN, u: Tensor, x0: Tensor | None = None) -> Tensor:
    """The states of a run, ``(T, *batch, n)``."""
    start = torch.zeros(*u.shape[1:-1], model.n_hidden, dtype=u.dtype) if x0 is None else x0
    if start.shape != (*u.shape[1:-1], model.n_hidden) or u.ndim < 2 + (model.replicas is not None):
        raise ValueError
    rows, x = flat(model, u), flat(model, start.unsqueeze(0))[0].clone()
    if model.replicas is not None and u.shape[1] != model.replicas:
        raise ValueError
    made = []
    for u_t in rows:
        x = torch.stack(
            [
                torch.stack(
                    [
                        reference_step(model, None if model.replicas is None else s, v, w)
                        for v, w in zip(us, xs, strict=True)
                    ]
                )
                for s, (us, xs) in enumerate(zip(u_t, x, strict=True))
            ]
        )
        made.append(x)
    return torch.stack(made).reshape(*u.shape[:-1], model.n_hidden).detach()


def terms(model: GatedRNN, run: Trajectory) -> tuple[Tensor, Tensor, Tensor]:
    """Leak, recurrent and gate term, written out for each step and sequence."""
    n = run.x.shape[-1]
    leak, recurrent, gate = (torch.zeros(*run.x.shape, n, dtype=run.x.dtype) for _ in range(3))
    shape = (len(run.x), model.replicas or 1, -1, n, n)
    parts = [part.reshape(shape) for part in (leak, recurrent, gate)]
    g, phi, x = (flat(model, v.detach().expand_as(run.x)) for v in (run.g, run.phi, run.x_prev))
    for t, s, b in np.ndindex(*parts[0].shape[:3]):
        W, V = (w if w is None or model.replicas is None else w[s] for w in (model.W_r, model.W_rg))
        g_t, phi_t, x_t = g[t, s, b], phi[t, s, b], x[t, s, b]
        parts[0][t, s, b] = torch.diag(1 - g_t)
        parts[1][t, s, b] = (g_t * (1 - phi_t**2))[:, None] * W.detach()
        if V is not None:
            parts[2][t, s, b] = ((phi_t - x_t) * g_t * (1 - g_t))[:, None] * V.detach().expand(n, n)
    return leak, recurrent, gate


def jacobians(model: GatedRNN, run: Trajectory) -> Tensor:
    """Their sum."""
    return sum(terms(model, run)[1:], terms(model, run)[0])


def product(factors: Tensor, unit: Tensor) -> Tensor:
    """The product of some matrices, the newest on the left."""
    if not len(factors):
        return unit
    made = factors[0]  # and not times the identity, which would spread a NaN over its row
    for factor in factors[1:]:
        made = factor @ made
    return made


def products(J: Tensor, lag: int) -> Tensor:
    """Those of all windows of ``lag`` steps."""
    T, eye = len(_square(J)), torch.eye(J.shape[-1], dtype=J.dtype).expand(J.shape[1:])
    _within(lag, 0, T)
    return torch.stack([product(J[t - lag : t], eye) for t in range(lag, T + 1)])


def sensitivities(J: Tensor) -> Tensor:
    """The spectral norms of all products."""
    T, batch = len(_square(J)), J.shape[1:-2]
    S = torch.zeros(T + 1, T + 1, *batch, dtype=torch.float64)
    for t in range(T + 1):
        for k in range(t + 1):
            eye = torch.eye(J.shape[-1], dtype=torch.float64).expand(J.shape[1:])
            S[t, k] = torch.linalg.matrix_norm(product(J[k:t].double(), eye), 2)
    return S


def orders(A: Tensor, B: Tensor, order: int) -> Tensor:
    """The coefficients of ε in the product of A + ε B, as of polynomials."""
    _within(order, 0, 10**6)
    if A.shape != B.shape:
        raise ValueError
    _square(A)
    eye = torch.eye(A.shape[-1], dtype=A.dtype).expand(A.shape[1:])
    made = [eye] + [torch.zeros_like(eye)] * order
    for a, b in zip(A, B, strict=True):
        made = [a @ made[r] + (b @ made[r - 1] if r else 0) for r in range(order + 1)]
    return torch.stack(made)


def remainder(A: Tensor, B: Tensor, order: int, eps: float) -> Tensor:
    """The product less its first orders: orders beyond, summed."""
    every = orders(A, B, max(order, len(A)))
    powers = torch.tensor([eps**r for r in range(len(every))], dtype=A.dtype)
    _within(order, 0, 10**6)
    beyond = every[order + 1 :] * powers[order + 1 :].reshape(-1, *[1] * (A.ndim - 1))
    return beyond.sum(0) + 0 * every.sum(0)  # NaN where anything was


def costates(model: GatedRNN, run: Trajectory, delta: Tensor, s: float = 1.0) -> Tensor:
    """The adjoint, step by step, with the Jacobian written out; what is too small to count is not zero here."""
    leak, recurrent, gate = terms(model, run)
    J = leak + recurrent + s * gate
    lam = [delta[-1]]
    for t in range(len(delta) - 1, -1, -1):
        back = (J[t].mT @ lam[0].unsqueeze(-1)).squeeze(-1)
        lam.insert(0, back + (delta[t - 1] if t else 0))
    return torch.stack(lam)


def weight_gradients(model: GatedRNN, run: Trajectory, to_candidate: Tensor, to_gate: Tensor) -> dict[str, Tensor]:
    """The gradient of each weight from what reaches its pre-activation, a sum over steps and sequences."""
    one = torch.ones_like(run.x[..., :1])
    places = {"W_r": run.x_prev, "W_i": run.u, "b": one, "W_rg": run.x_prev, "W_ig": run.u, "b_g": one}
    made = {}
    for name, source in places.items():
        weight = getattr(model, name)
        if weight is None:
            continue
        signal = flat(model, (to_gate if name in ("W_rg", "W_ig", "b_g") else to_candidate).detach())
        if model.gate == "scalar" and name in ("W_rg", "W_ig", "b_g"):
            signal = signal.sum(-1, keepdim=True)
        rows, total = flat(model, source.detach()), 0
        for t, b in np.ndindex(rows.shape[0], rows.shape[2]):
            total = total + signal[t, :, b, :, None] * rows[t, :, b, None, :]
        made[name] = total.reshape(weight.shape)
    return made


def gradients(model: GatedRNN, run: Trajectory, delta: Tensor, s: float = 1.0) -> dict[str, Tensor]:
    """The gradient of a loss with respect to each weight that makes states."""
    lam = costates(model, run, delta, s)[1:]
    g = run.g.detach()
    to_gate = (run.phi - run.x_prev) * g * (1 - g) * lam
    return weight_gradients(model, run, g * (1 - run.phi**2) * lam, to_gate)


def retention(run: Trajectory, lag: int) -> Tensor:
    """What is kept over a lag, one factor after the other."""
    kept, T = (1 - run.g.detach()).expand(run.x.shape), len(run.x)
    _within(lag, 0, T)
    made = []
    for t in range(lag, T + 1):
        total = torch.ones_like(kept[0])
        for factor in kept[t - lag : t]:
            total = total * factor
        made.append(total)
    return torch.stack(made)


def effective(run: Trajectory, lr: float, lag: int) -> Tensor:
    """μ g P, window by window."""
    T = len(run.x)
    _within(lag, 0, T - 1)
    if not 0 <= lr < math.inf:
        raise ValueError
    return lr * run.g.detach()[: T - lag] * retention(run, lag)[1:]


def signal(run: Trajectory, delta: Tensor) -> Tensor:
    """What reaches each step by the leaks alone, backwards."""
    if delta.shape != run.x.shape or delta.dtype != run.x.dtype:
        raise ValueError
    g, carried, made = run.g.detach().expand(run.x.shape), torch.zeros_like(run.x[0]), []
    for k in reversed(range(len(delta))):
        carried = carried + delta[k]
        made.insert(0, g[k] * carried)
        carried = (1 - g[k]) * carried
    return torch.stack(made).detach()


def eligibility(run: Trajectory) -> Tensor:
    """The trace, as a weighted sum over steps."""
    share = shares(run)
    return sum(
        (share[t] * (1 - run.phi[t] ** 2))[..., :, None] * run.x_prev[t][..., None, :] for t in range(len(run.x))
    ).detach()


def shares(run: Trajectory) -> Tensor:
    """g_k times what is kept from k to the end."""
    return torch.stack([run.g.detach()[k] * retention(run, len(run.x) - k - 1)[-1] for k in range(len(run.x))])


def corrected(leak: Tensor, change: Tensor, lag: int) -> Tensor:
    """Retention and the sum of all products in which one leak is a change."""
    T = len(leak)
    _within(lag, 0, T)
    made = []
    for t in range(lag, T + 1):
        steps = range(t - lag, t)
        total = torch.ones_like(leak[0])
        for i in steps:
            total = total * leak[i]
        for i in steps:
            one = change[i]
            for j in steps:
                one = one if i == j else one * leak[j]
            total = total + one
        made.append(total)
    return torch.stack(made)


def spread(P: Tensor) -> Tensor:
    """The largest over the smallest, along the last axis."""
    return P.amax(-1) / P.amin(-1)


def exponents(J: Tensor, k: int | None = None, start: Tensor | None = None) -> Tensor:
    """Lyapunov exponents of single sequences, in float64, by numpy."""
    _square(J)
    n, batch = J.shape[-1], J.shape[1:-2]
    rows = []
    columns = n if start is None else start.shape[-1]
    if k is not None:
        _within(k, 1, columns)
    starts = torch.eye(n, dtype=torch.float64) if start is None else start.double()
    starts = starts.expand(*batch, n, columns)
    for where in np.ndindex(*batch):
        Q = np.linalg.qr(starts[where].numpy())[0]
        total = np.zeros(columns)
        for J_t in J:
            pushed = J_t[where].double().numpy() @ Q
            Q, R = np.linalg.qr(pushed)
            stretch = np.abs(np.diag(R))
            lost = stretch <= n * torch.finfo(J.dtype).eps * np.linalg.norm(pushed, axis=0)
            with np.errstate(divide="ignore"):
                total += np.where(lost, -np.inf, np.log(stretch))
        rows.append(np.sort(total / len(J))[::-1].copy())
    made = torch.as_tensor(np.array(rows)).reshape(*batch, columns)
    return made[..., :k]


def rightmost(leak: Tensor, strength: Tensor) -> Tensor:
    """The edge, by bisection in float64, one matrix after the other."""
    if leak.shape != strength.shape or not leak.ndim or 0 in leak.shape or bool((strength < 0).any()):
        raise ValueError
    made = []
    for kept, s in zip(
        leak.double().reshape(-1, leak.shape[-1]), strength.double().reshape(-1, leak.shape[-1]), strict=True
    ):
        low = float(kept.max())
        high = low + math.sqrt(float(s.sum())) + 1.0
        for _ in range(200):
            z = (low + high) / 2
            terms = [float(a) / max((z - float(b)) ** 2, 1e-300) for a, b in zip(s, kept, strict=True) if float(a) > 0]
            low, high = (z, high) if sum(terms) / len(kept) > 1 else (low, z)
        made.append(high)
    return torch.tensor(made, dtype=torch.float64).reshape(leak.shape[:-1])


def outlier(z: Tensor, rest: Tensor, column: Tensor, row: Tensor) -> Tensor:
    """1 - wᵀ (z - rest)⁻¹ s, one z after the other, by numpy."""
    if rest.ndim != 2 or column.shape != rest.shape[:1] or row.shape != rest.shape[1:] or not rest.numel():
        raise ValueError
    with np.errstate(invalid="ignore"):
        made = _outliers(z, rest, column, row)
    return torch.tensor(made, dtype=torch.complex128).reshape(z.shape)


def _outliers(z: Tensor, rest: Tensor, column: Tensor, row: Tensor) -> list[complex]:
    return [
        1 - row.numpy() @ np.linalg.inv(complex(each) * np.eye(len(rest)) - rest.numpy()) @ column.numpy()
        for each in z.reshape(-1)
    ]


def measures(s: Tensor, r: int) -> dict[str, Tensor]:
    """What anisotropy measures, spectrum by spectrum, in float64."""
    _within(r, 1, s.shape[-1] if s.ndim else 0)
    rows = {"index": [], "energy": [], "participation": [], "rank": []}
    for values in s.double().reshape(-1, s.shape[-1]):
        if bool((values < 0).any()) or not bool(values.isfinite().all()) or bool((values.diff() > 0).any()):
            raise ValueError
        v = [float(x) / float(values[0]) if float(values[0]) else math.nan for x in values]
        squares, share = [x**2 for x in v], [x / sum(v) for x in v]
        rows["index"].append(math.nan if math.isnan(v[0]) else math.inf if v[r - 1] == 0 else 1 / v[r - 1])
        rows["energy"].append(sum(squares[:r]) / sum(squares))
        rows["participation"].append(sum(squares) ** 2 / sum(x**2 for x in squares))
        rows["rank"].append(
            math.exp(-sum(p * math.log(p) for p in share if p > 0)) if share[0] == share[0] else math.nan
        )
    return {name: torch.tensor(each, dtype=torch.float64).reshape(s.shape[:-1]) for name, each in rows.items()}


def overlaps(M: Tensor, delta: Tensor, r: int) -> tuple[list[Tensor], list[Tensor]]:
    """Left and right share and gain by eigenvectors of M Mᵀ, and where each is determined."""
    n = M.shape[-1]
    _within(r, 1, n)
    wide, d = (x.double() for x in (M, delta))
    if not wide.isfinite().all() or not d.isfinite().all():
        raise ValueError
    values, U = torch.linalg.eigh(wide @ wide.mT)  # ascending
    split = (U.mT @ d.unsqueeze(-1)).squeeze(-1).square()
    carried = values * split
    left, right = (part[..., n - r :].sum(-1) / part.sum(-1) for part in (split, carried))
    left = left.where(values[..., -1] > 0, math.nan)
    right = right.where(values[..., -1] > 0, math.nan)
    gain = n * (wide.mT @ d.unsqueeze(-1)).square().sum((-1, -2)) / (wide.square().sum((-1, -2)) * d.square().sum(-1))
    everywhere = torch.ones_like(gain).bool()
    apart = everywhere
    if r < n:  # two that are alike may be exchanged
        apart = everywhere & (values[..., n - r] - values[..., n - r - 1] > 0.01 * values[..., -1])
    carries = carried.sum(-1) > 1e-3 * values[..., -1] * split.sum(-1)
    return [left, right, gain], [apart, apart & carries, everywhere]


def update_spectrum(G: Tensor) -> Tensor:
    """Singular values of rows of unit length less their mean."""
    if G.ndim < 2 or G.shape[-2] < 2 or not G.shape[-1] or not bool(G.isfinite().all()):
        raise ValueError
    made = []
    for rows in G.detach().double().reshape(-1, *G.shape[-2:]):
        X = np.array([row / np.linalg.norm(row) if np.linalg.norm(row) else row for row in rows.numpy()])
        made.append(np.linalg.svd(X - X.mean(0), compute_uv=False))
    return torch.tensor(np.array(made)).reshape(*G.shape[:-2], min(G.shape[-2:]))


def _square(J: Tensor) -> Tensor:
    if J.ndim < 3 or J.shape[-1] != J.shape[-2] or 0 in J.shape:
        raise ValueError
    return J


def _within(value: Any, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ValueError
