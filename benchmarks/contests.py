"""What is timed side by side: training steps, per-sample gradients, Jacobian blocks, and the norms of all lags.

A contest is one piece of work, and its rows are the ways to do it. Before a row is timed its outcome is compared with
the library's; that discrepancy is written down beside the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.utils.dlpack
from gatelr import jacobian
from gatelr.cells import GatedRNN
from torch import Tensor

from . import ours
from .peers import Step, autograd, functorch, gru, inductor, jax_peer, loops, named_rows, released
from .timing import Effort, ratios, rotate, summary

OURS = "ours"
#: Sizes of the paper's second experiment, and sizes at which everything runs once in some seconds.
SIZES = {"B": 64, "T": 120, "n": 64, "m": 6}
TINY = {"B": 3, "T": 6, "n": 4, "m": 2}
ALPHA, RATE = 0.8, 1e-2


@dataclass(frozen=True)
class Row:
    """One way to do the work of a contest."""

    prepare: Callable[[], Callable[[], Any]]
    """Returns the function to be timed; raises ModuleNotFoundError or FileNotFoundError where the peer is not here."""
    units: int = 1
    """How many seeds or sequences one call is for."""
    exact: bool = True
    """Whether it computes what the library computes."""
    comparable: bool = True
    """Whether its outcome can be compared with the library's; that of another model cannot."""
    note: str = ""


@dataclass(frozen=True)
class Contest:
    """Rows to be timed in turn."""

    group: str
    parameters: Mapping[str, Any]
    rows: Mapping[str, Row]
    outcome: Callable[[str, Callable[[], Any]], dict[str, Tensor]]
    """Calls a row's function once, and makes of it tensors that can be compared; takes the row's name too."""
    unit: str = "call"
    error: Callable[[dict[str, Tensor]], dict[str, Any]] | None = None
    """What an outcome is off by, where there is something better than the library to compare it with."""


def run(contest: Contest, effort: Effort) -> list[dict[str, Any]]:
    """Time all rows of a contest; a row that cannot be had is there with the reason.

    The first row is the library's: ratios are times over its time, a seed or a sequence each, turn by turn.
    """
    calls: dict[str, Callable[[], Any]] = {}
    discrepancy: dict[str, float] = {}
    errors: dict[str, dict[str, Any]] = {}
    absent: dict[str, str] = {}
    expected: dict[str, Tensor] = {}
    for name, row in contest.rows.items():
        try:
            calls[name] = row.prepare()
        except (ModuleNotFoundError, FileNotFoundError) as error:
            absent[name] = str(error)
            continue
        if not row.comparable:
            continue
        outcome = contest.outcome(name, calls[name])
        expected = expected or outcome
        discrepancy[name] = max(_relative(outcome[key], expected[key]) for key in expected)
        if contest.error is not None:
            errors[name] = contest.error(outcome)
    seconds = rotate(calls, effort)
    first, *_ = contest.rows.values()
    best = [s / first.units for s in seconds[OURS]]
    rows = []
    for name, row in contest.rows.items():
        content: dict[str, Any] = {"group": contest.group, "peer": name, "parameters": dict(contest.parameters)}
        if name in absent:
            rows.append(content | {"absent": absent[name]})
            continue
        each = [s / row.units for s in seconds[name]]
        content["seconds"] = summary(seconds[name])
        content["per"] = {"unit": contest.unit, "seconds": summary(each)["median"], "units": row.units}
        content["ratio"] = summary(ratios(each, best))
        content["agreement"] = {"exact": row.exact}
        content["agreement"] |= {"discrepancy": discrepancy[name]} if name in discrepancy else {}
        compiling = getattr(calls[name], "compile_seconds", None)
        content |= {} if compiling is None else {"values": {"compile_seconds": round(compiling, 2)}}
        content |= {"error": errors[name]} if name in errors else {}
        rows.append(content | ({"note": row.note} if row.note else {}))
    return rows


def _relative(values: Tensor, expected: Tensor) -> float:
    """Largest difference over largest entry. A row that served the first few only is compared with those."""
    values, expected = values.double(), expected[: len(values)].double()
    return float((values - expected).abs().max() / expected.abs().max())


# Training steps


def network(gate: str, sizes: Mapping[str, int], S: int | None, dtype: torch.dtype = torch.float32) -> GatedRNN:
    """A network, or S of them, with seeds 0, 1, …"""
    seeds = [torch.Generator().manual_seed(seed) for seed in range(S or 1)]
    alpha = ALPHA if gate == "constant" else None
    options: dict[str, Any] = {"replicas": S, "generator": seeds, "dtype": dtype}
    return GatedRNN(sizes["m"], sizes["n"], gate, alpha=alpha, **options)


def data(sizes: Mapping[str, int], S: int | None, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Inputs and targets as a task draws them, uniform in [0, 1)."""
    draw, lead = torch.Generator().manual_seed(0), () if S is None else (S,)
    u = torch.rand(sizes["T"], *lead, sizes["B"], sizes["m"], generator=draw, dtype=dtype)
    return u, torch.rand(*lead, sizes["B"], 1, generator=draw, dtype=dtype)


#: Every peer that trains.
TRAINERS: dict[str, Callable[[GatedRNN, Tensor, Tensor, float], Step]] = {
    OURS: ours.training_step,
    "ours, no workspace": partial(ours.training_step, keep=False),
    "autograd": autograd.training_step,
    "functorch": functorch.training_step,
    "torch.compile": inductor.training_step,
    "jax": jax_peer.training_step,
    "jax, seeds in turn": partial(jax_peer.training_step, in_parallel=False),
    "nn.GRU": gru.training_step,
    "released": released.training_step,
}
IN_TURN = "one seed; its seeds come in turn, each at the same cost"
#: What their rows say.
NOTES = {
    "torch.compile": "the update of one step is compiled, not the loop",
    "nn.GRU": f"another model of this size, with one gate more; {IN_TURN}",
    "released": IN_TURN,
}
#: Those that take seeds in turn: the time of one is the time of each.
ALONE = ("nn.GRU", "released")


def training(gate: str, sizes: Mapping[str, int], S: int, peers: tuple[str, ...]) -> Contest:
    """One step of SGD; a single seed is a network without replicas, as one would write it."""
    replicas = None if S == 1 else S
    model, (u, target) = network(gate, sizes, replicas), data(sizes, replicas)
    lone, (lone_u, lone_target) = network(gate, sizes, None), data(sizes, None)
    if replicas is not None:
        lone_u, lone_target = u[:, 0], target[0]

    def prepare(peer: str) -> Step:
        if peer in ALONE:
            return TRAINERS[peer](lone, lone_u, lone_target, RATE)
        return TRAINERS[peer](model, u, target, RATE)

    def outcome(peer: str, step: Any) -> dict[str, Tensor]:
        """The update that one step makes."""
        before = {name: weight.clone() for name, weight in step.weights().items()}
        step()
        update = {name: weight - before[name] for name, weight in step.weights().items()}
        return {name: v if v.ndim == 3 else v.unsqueeze(0) for name, v in update.items()}

    same = {peer: peer != "nn.GRU" for peer in peers}
    rows = {
        peer: Row(partial(prepare, peer), 1 if peer in ALONE else S, same[peer], same[peer], NOTES.get(peer, ""))
        for peer in peers
    }
    return Contest("training step", {"gate": gate, "S": S, **sizes, "dtype": "float32"}, rows, outcome, "seed")


def trainings(quick: bool) -> Iterator[Contest]:
    """Three gates and three numbers of seeds with every peer; then the multi gate over seeds, steps and neurons."""
    sizes = TINY if quick else SIZES
    both = ("jax", "jax, seeds in turn")
    one, main = (OURS, "autograd", "jax", "released"), (OURS, "autograd", *both, "released")
    for gate in ("multi", "scalar", "constant"):
        for S in ((1, 20) if gate == "multi" else (1,)) if quick else (1, 4, 20):
            peers = one if S == 1 else main
            if gate == "multi" and not quick:
                peers = (*peers[:-1], "torch.compile", "nn.GRU", "released")
            yield training(gate, sizes, S, tuple(TRAINERS) if (gate, S) == ("multi", 20) else peers)
    scaled = [("T", 3)] if quick else [("T", 30), ("T", 60), ("T", 240), ("n", 16), ("n", 32), ("n", 128)]
    for S in () if quick else (2, 8, 40):
        yield training("multi", sizes, S, (OURS, "autograd", *both))
    for axis, value in scaled:
        yield training("multi", {**sizes, axis: value}, 20, (OURS, "autograd", *both))


# Per-sample gradients, Jacobian blocks and the norms of all lags: one network


def per_sample(quick: bool) -> Iterator[Contest]:
    """The gradient of every sequence with respect to every weight."""
    sizes = {**TINY, "B": 5} if quick else {**SIZES, "B": 256}
    few = 2 if quick else 8
    model, (u, target) = network("multi", sizes, None), data(sizes, None)

    def outcome(peer: str, call: Callable[[], Any]) -> dict[str, Tensor]:
        rows = _tensor(call())
        if peer not in (OURS, "released"):
            return named_rows(model, rows)
        names = [(name, weight.shape) for name, weight in model.named_parameters()]
        parts = rows.split([shape.numel() for _, shape in names], -1)
        return {name: part.unflatten(-1, shape) for (name, shape), part in zip(names, parts, strict=True)}

    rows = {
        OURS: Row(lambda: ours.per_sample(model, u, target), sizes["B"]),
        "autograd": Row(lambda: autograd.per_sample(model, u, target), sizes["B"]),
        "functorch": Row(lambda: functorch.per_sample(model, u, target), sizes["B"]),
        "jax": Row(lambda: jax_peer.per_sample(model, u, target), sizes["B"]),
        "released": Row(
            lambda: released.per_sample(model, u[:, :few], target[:few]),
            few,
            note=f"{few} sequences; they come in turn, each at the same cost",
        ),
    }
    parameters = {"gate": "multi", **sizes, "dtype": "float32"}
    yield Contest("per-sample gradients", parameters, rows, outcome, "sequence")


def blocks(quick: bool) -> Iterator[Contest]:
    """The Jacobian of every step; the states are there before."""
    sizes = TINY if quick else {**SIZES, "B": 12}
    model, (u, _) = network("multi", sizes, None), data(sizes, None)

    def outcome(peer: str, call: Callable[[], Any]) -> dict[str, Tensor]:
        J = call()
        return {"J": torch.stack(J) if peer == "released" else _tensor(J)}

    rows = {
        OURS: Row(lambda: ours.jacobian_blocks(model, u)),
        "autograd": Row(lambda: autograd.jacobian_blocks(model, u)),
        "functorch": Row(lambda: functorch.jacobian_blocks(model, u)),
        "jax": Row(lambda: jax_peer.jacobian_blocks(model, u)),
        "released": Row(
            lambda: released.jacobian_blocks(model, u),
            exact=False,
            note="its gate term reads the state after the update",
        ),
    }
    yield Contest("Jacobian blocks", {"gate": "multi", **sizes, "dtype": "float32"}, rows, outcome)


def sensitivities(quick: bool) -> Iterator[Contest]:
    """The spectral norms of the products over all lags, in both precisions, with what they are off by."""
    sizes = TINY if quick else {**SIZES, "B": 12, "T": 80, "m": 4}
    model, (u, _) = network("multi", sizes, None, torch.float64), data(sizes, None, torch.float64)
    with torch.no_grad():
        exact = jacobian.blocks(model, model.run(u))
    T = sizes["T"]
    reference = {lag: _by_decomposition(exact, lag) for lag in ((1, T - 1) if quick else (1, T // 8, T // 2, T - 1))}

    def error(outcome: dict[str, Tensor]) -> dict[str, Any]:
        """Relative, entry by entry: over long lags the norms are tiny."""
        each = []
        for lag, norms in reference.items():
            # of index 0 the released code has no norm
            there = outcome["S"].double().diagonal(-lag)[..., 1:].movedim(-1, 0)
            each.append(((there - norms[1:]) / norms[1:]).abs().flatten())
        relative = torch.cat(each)
        return {"median": float(relative.median()), "largest": float(relative.max()), "lags": list(reference)}

    for dtype in (torch.float32, torch.float64):
        J = exact.to(dtype)
        rows = {
            OURS: Row(partial(ours.sensitivities, J)),
            "svdvals": Row(partial(loops.sensitivities, J)),
        }
        if dtype == torch.float32:
            rows["released"] = Row(
                partial(released.sensitivities, J),
                exact=False,
                note="power iterations on products in the other order",
            )
        name = str(dtype).removeprefix("torch.")
        yield Contest("sensitivities", {"gate": "multi", **sizes, "dtype": name}, rows, _norms, error=error)


def _by_decomposition(J: Tensor, lag: int) -> Tensor:
    """Norms of all products of ``lag`` factors, ``(T - lag + 1, B)``."""
    M = J[lag - 1 :]
    for back in range(1, lag):
        M = M @ J[lag - 1 - back : len(J) - back]
    return torch.linalg.svdvals(M)[..., 0]


def _norms(peer: str, call: Callable[[], Any]) -> dict[str, Tensor]:
    """As ``(T+1, T+1, B)``; the released code has neither the first row nor the first column, nor a diagonal."""
    S: Tensor = call()
    if peer == "released":
        whole = torch.eye(S.shape[1] + 1).unsqueeze(-1).repeat(1, 1, len(S))
        whole[1:, 1:] += S.movedim(0, -1)
        S = whole
    return {"S": S}


def _tensor(array: Any) -> Tensor:
    return array if isinstance(array, Tensor) else torch.utils.dlpack.from_dlpack(array)
