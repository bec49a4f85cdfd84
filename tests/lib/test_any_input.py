"""Whatever a public function is given, it answers rightly or says in one sentence what is wrong.

Every argument of every function of the numeric library is spoiled in every way of ``tests/strange.py``, alone and with
another. What then comes is an error that the docstring names, or the answer of a plain reference, ``tests/plain.py``.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import plain
import pytest
import torch
from gatelr import adjoint, anisotropy, cells, expansion, jacobian, rates, stability, tasks, training, transport
from gatelr.cells import GATES, GatedRNN, Trajectory
from gatelr.jacobian import Terms
from gatelr.kernels.sweep import Workspace
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import config
from networks import Case
from strange import (
    CHOICE,
    DEVICE,
    DTYPE,
    GENERATOR,
    MODEL,
    NONE,
    NUMBER,
    TENSOR,
    TERMS,
    TRAJECTORY,
    TRUTH,
    WHOLE,
    WHOLES,
    Strange,
    of_the_model,
    places,
)
from torch import Tensor

#: Examples of each function by hand and every week; together, a week's are the 20,000 that the book promises.
QUICK, WEEKLY = 12, 500


@pytest.fixture(autouse=True, scope="module")
def as_installed_everywhere() -> Iterator[None]:
    """Without the shape checker, as a user has it."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


class Subject(NamedTuple):
    """One function at one setting.

    Attributes:
        call: it.
        given: plain arguments, by name.
        strange: ways to spoil each.
        judge: raises unless an answer is right for these arguments.
        said: whose docstring names the errors; the function's own by default.
    """

    call: Callable[..., Any]
    given: dict[str, Any]
    strange: Mapping[str, list[Strange]]
    judge: Callable[..., None]
    said: Any = None


def against(reference: Callable[..., Any]) -> Callable[..., None]:
    """A judge that compares with a reference."""

    def judge(answer: Any, arguments: dict[str, Any]) -> None:
        close(answer, reference(**arguments), arguments.values())

    return judge


def close(ours: Any, theirs: Any, given: Any = ()) -> None:
    """Equal up to rounding in the lower precision of what was given; where one is not finite, neither is the other."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            close(ours[name], value, given)
        return
    if isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            close(a, b, given)
        return
    if not isinstance(theirs, Tensor):
        assert ours == theirs or (ours != ours and theirs != theirs)
        return
    assert ours.shape == theirs.shape, f"got {tuple(ours.shape)}, expected {tuple(theirs.shape)}"
    tensors = [v for each in given for v in (each if isinstance(each, Trajectory | Terms) else [each])]
    low = any(isinstance(v, Tensor) and v.dtype in (torch.float32, torch.complex64) for v in (*tensors, ours))
    precision = 1e-3 if low else 1e-8
    ours, theirs = (v.detach().to(torch.complex128 if v.is_complex() else torch.float64) for v in (ours, theirs))
    good = theirs.isfinite()
    assert torch.equal(good, ours.isfinite()), f"got {ours}, expected {theirs}"
    if good.any():
        size = theirs[good].abs()
        apart = (ours[good] - theirs[good]).abs()
        assert (apart <= precision * (size + size.max())).all(), f"got {ours}, expected {theirs}"


def plainly(value: Any) -> Any:
    """What a reference is given: tensors of their own without a graph, Python's numbers."""
    if isinstance(value, Trajectory | Terms):
        return type(value)(*map(plainly, value))
    if isinstance(value, Tensor) and not value.is_floating_point() and not value.is_complex():
        return value.tolist()
    if isinstance(value, Tensor):
        return value.detach().clone()
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def documented(thing: Any) -> set[str]:
    """The errors that a docstring names, in it or where it says that they stand."""
    text = inspect.getdoc(thing) or ""
    if said := re.search(r"^Raises:\n((?:[ ]+.*\n?|\n)+)", text, flags=re.MULTILINE):
        return set(re.findall(r"^ {4}(\w+):", said[1], flags=re.MULTILINE))
    if elsewhere := re.search(r"Raises as for :\w+:`[~.]?([\w.]+)`", text):
        module, _, name = elsewhere[1].rpartition(".")
        return documented(getattr(import_module(module or inspect.getmodule(thing).__name__), name))
    return set()


def check(subject: Subject, spoiled: list[tuple[str, Strange, int]]) -> None:
    """Call, and hold the outcome against what must become of it."""
    arguments = dict(subject.given)
    for name, way, place in spoiled:
        try:
            arguments[name] = way.make(arguments[name], place)
        except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):
            return  # spoiled twice, it cannot be spoiled in this way
    fates = {way.fate for _, way, _ in spoiled}
    what = ", ".join(f"{name} is {way.what}" for name, way, _ in spoiled) or "plain"
    error: Exception | None = None
    try:
        answer = subject.call(**arguments)
    except Exception as raised:
        error = raised
    if error is not None:
        assert fates - {"same"}, f"{what}: refused with {type(error).__name__}: {error}"
        named = documented(subject.said or subject.call)
        kind, sentence = type(error).__name__, str(error)
        assert kind in named, f"{what}: {kind}: {sentence}, but the docstring names {named}"
        assert re.fullmatch(r".*\bgot .*expected .*", sentence), f"{what}: {sentence}"
        return
    assert "refused" not in fates, f"{what}: answered {answer}"
    try:
        subject.judge(answer, {name: plainly(value) for name, value in arguments.items()})
    except Exception as wrong:
        raise AssertionError(f"{what}: {type(wrong).__name__}: {wrong}; answered {answer}") from wrong


SUBJECTS: dict[str, Callable[[Case, int], Subject]] = {}


def subject(make: Callable[[Case, int], Subject]) -> Callable[[Case, int], Subject]:
    """Enter one in the list."""
    SUBJECTS[make.__name__.replace("_of_", ".")] = make
    return make


def optional(strange: list[Strange]) -> list[Strange]:
    """Where None is an answer too."""
    return [way for way in strange if way is not NONE]


def recorded(case: Case) -> tuple[GatedRNN, Trajectory, Tensor]:
    """A network, its run, and a delta for each state."""
    model = case.model()
    with torch.no_grad():
        run = model.run(*case.inputs())
    generator = torch.Generator().manual_seed(case.seed)
    return model, run, torch.randn(run.x.shape, generator=generator, dtype=case.dtype)


def matrices(case: Case, *more: int) -> Tensor:
    """Random Jacobians ``(T, *batch, n, n)``."""
    generator = torch.Generator().manual_seed(case.seed)
    return torch.randn(*more, case.T, *case.batch, case.n, case.n, generator=generator, dtype=case.dtype)


@subject
def run_of_model(case: Case, place: int) -> Subject:
    model, (u, x0) = case.model(), case.inputs()
    return Subject(
        lambda u, x0: model.run(u, x0).x,
        {"u": u, "x0": x0},
        {"u": TENSOR, "x0": optional(TENSOR)},
        against(lambda u, x0: plain.states(model, u, x0)),
        GatedRNN.run,
    )


@subject
def call_of_model(case: Case, place: int) -> Subject:
    model, (u, x0) = case.model(), case.inputs()
    kept = Workspace() if place % 2 else None
    strangers = [Strange("a list", "refused", lambda v, i: []), Strange("a number", "refused", lambda v, i: 1)]
    return Subject(
        model,
        {"u": u, "x0": x0, "workspace": kept, "backward": "full"},
        {"u": TENSOR, "x0": optional(TENSOR), "workspace": strangers, "backward": CHOICE},
        against(lambda u, x0, workspace, backward: plain.last_readout(model, u, x0)),
        GatedRNN.forward,
    )


@subject
def the_network(case: Case, place: int) -> Subject:
    sizes = {"n_inputs": case.m, "n_hidden": case.n, "n_outputs": 2, "replicas": case.replicas or 1}
    alpha = 0.3 if case.gate == "constant" else None
    alphas = [
        *(way for way in NUMBER if way.what not in ("a list of it", "two in a tensor", "whole")),
        Strange("two many", "refused", lambda v, i: [0.1] * (case.n + 2)),
        Strange("a word in a list", "refused", lambda v, i: ["a"]),
        Strange("one each", "judged", lambda v, i: [0.5] * case.n),
    ]

    def judge(model: GatedRNN, given: dict[str, Any]) -> None:
        lead, n, h = (given["replicas"],), given["n_hidden"], {"multi": given["n_hidden"], "scalar": 1}.get(case.gate)
        assert model.W_r.shape == (*lead, n, n)
        assert model.W_i.shape == (*lead, n, given["n_inputs"])
        assert model.W_o.shape == (*lead, given["n_outputs"], n)
        assert (model.W_rg is None) if h is None else (model.W_rg.shape == (*lead, h, n))
        assert (model.b is None) == (not given["bias"])
        assert {p.dtype for p in model.parameters()} == {given["dtype"]}
        assert model.alpha == (None if alpha is None else tuple(np.atleast_1d(given["alpha"]).tolist()))

    return Subject(
        GatedRNN,
        sizes
        | {"gate": case.gate, "alpha": alpha, "bias": case.bias, "dtype": case.dtype, "device": "cpu"}
        | {"generator": torch.Generator()},
        {name: optional(WHOLE) if name == "replicas" else WHOLE for name in sizes}
        | {"gate": CHOICE, "bias": TRUTH, "dtype": optional(DTYPE), "device": DEVICE, "generator": optional(GENERATOR)}
        | ({} if alpha is None else {"alpha": alphas}),
        judge,
    )


@subject
def replica_of_model(case: Case, place: int) -> Subject:
    model = GatedRNN(2, 3, "multi", replicas=3)

    def judge(alone: GatedRNN, given: dict[str, Any]) -> None:
        assert 0 <= given["s"] < 3
        assert torch.equal(alone.W_r, model.W_r[given["s"]])

    return Subject(model.replica, {"s": place % 3}, {"s": WHOLE}, judge)


@subject
def per_step_of_model(case: Case, place: int) -> Subject:
    model = case.model()
    axes = len(case.batch) + (case.replicas is not None)
    expected = (*((case.replicas, *[1] * (axes - 1)) if case.replicas else ()), case.n, case.n)

    def judge(weight: Tensor, given: dict[str, Any]) -> None:
        assert torch.equal(weight.detach().flatten(), given["weight"].flatten())
        assert given["batch_axes"] != axes or given["weight"].shape != model.W_r.shape or weight.shape == expected

    kinds = [way for way in TENSOR if way.fate == "same" or way.what in ("a list", "a numpy array", "None", "a word")]
    return Subject(
        model.per_step,
        {"weight": model.W_r.detach(), "batch_axes": axes},
        {"weight": kinds, "batch_axes": WHOLE},
        judge,
    )


@subject
def jacobian_terms(case: Case, place: int) -> Subject:
    model, run, _ = recorded(case)
    return Subject(
        jacobian.terms,
        {"model": model, "trajectory": run},
        {"model": MODEL, "trajectory": of_the_model(case)},
        against(lambda model, trajectory: plain.terms(model, trajectory)),
    )


@subject
def jacobian_blocks(case: Case, place: int) -> Subject:
    model, run, _ = recorded(case)
    return Subject(
        jacobian.blocks,
        {"model": model, "trajectory": run},
        {"model": MODEL, "trajectory": of_the_model(case)},
        against(lambda model, trajectory: plain.jacobians(model, trajectory)),
    )


@subject
def transport_windows(case: Case, place: int) -> Subject:
    eye = torch.eye(case.n, dtype=case.dtype)
    return Subject(
        lambda factors, lag, unit: transport.windows(factors, lag, torch.matmul, unit),
        {"factors": matrices(case), "lag": place % (case.T + 1), "unit": eye},
        # values and lags are judged at `products`: here it is the caller who says what a product is
        {
            "factors": [w for w in TENSOR if w.fate != "judged"],
            "lag": WHOLE,
            "unit": [w for w in TENSOR if w.fate != "judged"],
        },
        against(lambda factors, lag, unit: plain.products(factors, lag)),
        transport.windows,
    )


@subject
def transport_products(case: Case, place: int) -> Subject:
    return Subject(
        transport.products,
        {"J": matrices(case), "lag": place % (case.T + 1)},
        {"J": TENSOR, "lag": WHOLE},
        against(plain.products),
    )


@subject
def transport_lags(case: Case, place: int) -> Subject:
    def every(J: Tensor, longest: int | None) -> list[tuple[int, Tensor]]:
        last = len(J) if longest is None else longest
        if not 0 <= last <= len(J):
            raise ValueError
        return [(lag, plain.products(J, lag)) for lag in range(1, last + 1)]

    return Subject(
        lambda J, longest: list(transport.lags(J, longest)),
        {"J": matrices(case), "longest": place % (case.T + 1)},
        {"J": TENSOR, "longest": optional(WHOLE)},
        against(every),
        transport.lags,
    )


@subject
def transport_sensitivities(case: Case, place: int) -> Subject:
    return Subject(
        transport.sensitivities,
        {"J": matrices(case), "memory": 10**6},
        {"J": TENSOR, "memory": [w for w in optional(WHOLE) if w.what != "numpy's, short"]},
        lambda answer, given: close(answer.float(), plain.sensitivities(given["J"])),
    )


@subject
def transport_spectral_norm(case: Case, place: int) -> Subject:
    def norms(M: Tensor) -> Tensor:
        if M.ndim < 2 or M.shape[-1] != M.shape[-2] or 0 in M.shape:
            raise ValueError
        bad = ~M.isfinite().all(-1).all(-1)
        return torch.linalg.matrix_norm(M.nan_to_num(0, 0, 0), 2).masked_fill(bad, torch.inf)

    return Subject(
        transport.spectral_norm,
        {"M": matrices(case)},
        {"M": TENSOR},
        lambda answer, given: close(answer.float(), norms(given["M"])),
    )


@subject
def transport_spectra(case: Case, place: int) -> Subject:
    def every(J: Tensor, at: list[int], memory: int | None) -> dict[int, Tensor]:
        return {lag: torch.linalg.svdvals(plain.products(J, lag)) for lag in at}

    return Subject(
        transport.spectra,
        {"J": matrices(case), "at": [place % (case.T + 1)], "memory": 10**6},
        {"J": TENSOR, "at": WHOLES, "memory": [w for w in optional(WHOLE) if w.what != "numpy's, short"]},
        against(every),
    )


@subject
def expansion_split(case: Case, place: int) -> Subject:
    terms = Terms(*matrices(case, 3))
    parts = {"leak": lambda t: (t.leak, t.recurrent + t.gate), "gate": lambda t: (t.leak + t.recurrent, t.gate)}
    return Subject(
        expansion.split,
        {"terms": terms, "splitting": ("leak", "gate")[place % 2]},
        {"terms": TERMS, "splitting": CHOICE},
        against(lambda terms, splitting: parts[splitting](terms)),
    )


def factors(case: Case, place: int) -> dict[str, Any]:
    A, B = matrices(case, 2)
    return {"A": A, "B": B, "order": place % 3}


@subject
def expansion_orders(case: Case, place: int) -> Subject:
    strange = {"A": TENSOR, "B": TENSOR, "order": WHOLE}
    return Subject(expansion.orders, factors(case, place), strange, against(plain.orders))


@subject
def expansion_orders_at(case: Case, place: int) -> Subject:
    def every(A: Tensor, B: Tensor, order: int, at: list[int]) -> list[tuple[int, Tensor]]:
        A = torch.diag_embed(A) if A.shape == B.shape[:-1] else A
        if not at or not 1 <= min(at) <= max(at) <= len(B):
            raise ValueError
        return [(lag, plain.orders(A[:lag], B[:lag], order)) for lag in sorted(set(at))]

    return Subject(
        lambda A, B, order, at: list(expansion.orders_at(A, B, order, at)),
        factors(case, place) | {"at": [1 + place % case.T]},
        {"A": TENSOR, "B": TENSOR, "order": WHOLE, "at": WHOLES},
        against(every),
        expansion.orders_at,
    )


@subject
def expansion_remainder(case: Case, place: int) -> Subject:
    return Subject(
        expansion.remainder,
        factors(case, place) | {"eps": 0.3},
        {"A": TENSOR, "B": TENSOR, "order": WHOLE, "eps": NUMBER},
        against(plain.remainder),
    )


@subject
def expansion_remainder_bound(case: Case, place: int) -> Subject:
    def judge(bound: Tensor, given: dict[str, Any]) -> None:
        left = torch.linalg.matrix_norm(plain.remainder(**given), 2)
        assert (left <= bound * (1 + 1e-4) + 1e-12).all()

    return Subject(
        expansion.remainder_bound,
        factors(case, place) | {"eps": 0.3},
        {"A": TENSOR, "B": TENSOR, "order": WHOLE, "eps": NUMBER},
        judge,
    )


def swept(case: Case) -> tuple[dict[str, Any], dict[str, list[Strange]]]:
    model, run, delta = recorded(case)
    given = {"model": model, "trajectory": run, "delta": delta, "gate_sensitivity": 0.7, "backward": "full"}
    strange = {"model": MODEL, "trajectory": of_the_model(case), "delta": TENSOR, "gate_sensitivity": NUMBER}
    return given, strange | {"backward": CHOICE}


@subject
def adjoint_costates(case: Case, place: int) -> Subject:
    def reference(model: Any, trajectory: Any, delta: Any, gate_sensitivity: float, backward: str) -> Tensor:
        return plain.costates(model, trajectory, delta, gate_sensitivity)

    return Subject(adjoint.costates, *swept(case), against(reference))


@subject
def adjoint_gradients(case: Case, place: int) -> Subject:
    given, strange = swept(case)

    def judge(answer: dict[str, Tensor], arguments: dict[str, Any]) -> None:
        model, run, delta, s, _, each = arguments.values()
        if each:
            axes = range(len(case.batch) + (case.replicas is not None))
            answer = {
                name: (
                    g.sum(tuple(axes)[case.replicas is not None :]) if len(axes) > (case.replicas is not None) else g
                )
                for name, g in answer.items()
            }
        close(answer, plain.gradients(model, run, delta, s), [run.x])

    return Subject(adjoint.gradients, given | {"per_sample": bool(place % 2)}, strange | {"per_sample": TRUTH}, judge)


def along(case: Case, place: int, call: Callable[..., Any], reference: Callable[..., Any], **more: Any) -> Subject:
    """A function of a trajectory alone, or of it and a lag."""
    kinds: dict[str, list[Strange]] = {"trajectory": TRAJECTORY, "lag": WHOLE, "lr": NUMBER, "delta": TENSOR}
    given = {"trajectory": recorded(case)[1]} | more
    return Subject(call, given, {name: kinds[name] for name in given}, against(reference))


@subject
def rates_retention(case: Case, place: int) -> Subject:
    reference = lambda trajectory, lag: plain.retention(trajectory, lag)  # noqa: E731
    return along(case, place, rates.retention, reference, lag=place % (case.T + 1))


@subject
def rates_effective(case: Case, place: int) -> Subject:
    reference = lambda trajectory, lag, lr: plain.effective(trajectory, lr, lag)  # noqa: E731
    return along(case, place, rates.effective, reference, lag=place % case.T, lr=0.2)


@subject
def rates_signal(case: Case, place: int) -> Subject:
    reference = lambda trajectory, delta: plain.signal(trajectory, delta)  # noqa: E731
    return along(case, place, rates.signal, reference, delta=recorded(case)[2])


@subject
def rates_step(case: Case, place: int) -> Subject:
    def reference(trajectory: Trajectory, delta: Tensor, lr: float) -> Tensor:
        if not 0 <= lr < math.inf:
            raise ValueError
        rows = (1 - trajectory.phi**2) * plain.signal(trajectory, delta)
        return -lr * (rows[..., :, None] * trajectory.x_prev[..., None, :]).sum(0)

    return along(case, place, rates.step, reference, delta=recorded(case)[2], lr=0.2)


@subject
def rates_shares(case: Case, place: int) -> Subject:
    return along(case, place, rates.shares, lambda trajectory: plain.shares(trajectory))


@subject
def rates_eligibility(case: Case, place: int) -> Subject:
    model, run, _ = recorded(case)
    return Subject(
        rates.eligibility,
        {"model": model, "trajectory": run},
        {"model": MODEL, "trajectory": of_the_model(case)},
        against(lambda model, trajectory: plain.eligibility(trajectory)),
    )


@subject
def rates_gradients(case: Case, place: int) -> Subject:
    model, run, delta = recorded(case)

    def reference(model: GatedRNN, trajectory: Trajectory, signal: Tensor) -> dict[str, Tensor]:
        if signal.shape != trajectory.x.shape:
            raise ValueError
        to_gate = (trajectory.phi - trajectory.x_prev) * (1 - trajectory.g) * signal
        return plain.weight_gradients(model, trajectory, (1 - trajectory.phi**2) * signal, to_gate)

    return Subject(
        rates.gradients,
        {"model": model, "trajectory": run, "signal": delta},
        {"model": MODEL, "trajectory": of_the_model(case), "signal": TENSOR},
        against(reference),
    )


@subject
def rates_corrected(case: Case, place: int) -> Subject:
    def reference(terms: Terms, lag: int) -> Tensor:
        leak, change = (part.diagonal(dim1=-2, dim2=-1) for part in (terms.leak, terms.recurrent + terms.gate))
        return plain.corrected(leak, change, lag)

    given = {"terms": Terms(*matrices(case, 3)), "lag": place % (case.T + 1)}
    return Subject(rates.corrected, given, {"terms": TERMS, "lag": WHOLE}, against(reference))


@subject
def rates_condition(case: Case, place: int) -> Subject:
    reference = lambda trajectory, lag: plain.spread(plain.retention(trajectory, lag))  # noqa: E731
    return along(case, place, rates.condition, reference, lag=place % (case.T + 1))


@subject
def rates_preconditioner_condition(case: Case, place: int) -> Subject:
    reference = lambda trajectory, lag: plain.spread(plain.effective(trajectory, 1.0, lag))  # noqa: E731
    return along(case, place, rates.preconditioner_condition, reference, lag=place % case.T)


def spectrum(case: Case) -> Tensor:
    generator = torch.Generator().manual_seed(case.seed)
    values = torch.rand(*case.batch, case.n, generator=generator, dtype=case.dtype)
    return values.sort(-1, descending=True).values


def _measure(case: Case, place: int, function: Callable[..., Tensor], name: str, counted: bool) -> Subject:
    given: dict[str, Any] = {"s": spectrum(case)} | ({"r": 1 + place % case.n} if counted else {})
    strange = {"s": TENSOR, "r": WHOLE} if counted else {"s": TENSOR}
    return Subject(function, given, strange, against(lambda s, r=1: plain.measures(s, r)[name]))


@subject
def anisotropy_index(case: Case, place: int) -> Subject:
    return _measure(case, place, anisotropy.anisotropy_index, "index", True)


@subject
def anisotropy_energy(case: Case, place: int) -> Subject:
    return _measure(case, place, anisotropy.energy_concentration, "energy", True)


@subject
def anisotropy_participation(case: Case, place: int) -> Subject:
    return _measure(case, place, anisotropy.participation_ratio, "participation", False)


@subject
def anisotropy_rank(case: Case, place: int) -> Subject:
    return _measure(case, place, anisotropy.effective_rank, "rank", False)


@subject
def anisotropy_sample_matrix(case: Case, place: int) -> Subject:
    generator = torch.Generator().manual_seed(case.seed)
    W, b = (torch.randn(3, *shape, generator=generator, dtype=case.dtype) for shape in ((2, case.n), (case.n,)))
    kinds = [way for way in TENSOR if way.what not in ("a class", "an object", "a dictionary")]
    dictionaries = [
        *(Strange(f"W: {way.what}", way.fate, lambda v, i, way=way: v | {"W": way.make(v["W"], i)}) for way in kinds),
        Strange("a list", "refused", lambda v, i: list(v.values())),
        Strange("none", "judged", lambda v, i: {}),
        Strange("nothing at all", "refused", lambda v, i: None),
    ]

    def judge(G: Tensor, given: dict[str, Any]) -> None:
        axes, parts = given["batch_axes"], [plainly(v) for v in given["gradients"].values()]
        assert parts
        assert axes >= 1
        lead = parts[0].shape[:axes]
        assert all(part.shape[:axes] == lead and part.ndim > axes for part in parts)
        assert len({part.dtype for part in parts}) == 1
        rows = [np.concatenate([part[where].flatten().numpy() for part in parts]) for where in np.ndindex(*lead)]
        assert np.array_equal(G.detach().flatten().numpy(), np.concatenate(rows or [np.zeros(0)]), equal_nan=True)

    given = {"gradients": {"W": W, "b": b}, "batch_axes": 1}
    return Subject(anisotropy.sample_matrix, given, {"gradients": dictionaries, "batch_axes": WHOLE}, judge)


@subject
def anisotropy_update_spectrum(case: Case, place: int) -> Subject:
    generator = torch.Generator().manual_seed(case.seed)
    G = torch.randn(*case.batch, 2 + place % 3, case.n + 1, generator=generator, dtype=case.dtype)
    return Subject(
        anisotropy.update_spectrum,
        {"gradients": G},
        {"gradients": TENSOR},
        against(lambda gradients: plain.update_spectrum(gradients)),
    )


@subject
def stability_lyapunov(case: Case, place: int) -> Subject:
    generator = torch.Generator().manual_seed(case.seed + 1)
    start = torch.randn(case.n, 1 + place % case.n, generator=generator, dtype=case.dtype)

    def reference(J: Tensor, k: int | None, start: Tensor) -> Tensor:
        if (
            start.ndim < 2
            or start.shape[-2] != J.shape[-1]
            or bool((torch.linalg.matrix_rank(start) < start.shape[-1]).any())
        ):
            raise ValueError
        return plain.exponents(J, k, start)

    return Subject(
        stability.lyapunov,
        {"J": matrices(case), "k": 1, "start": start},
        {"J": TENSOR, "k": optional(WHOLE), "start": optional(TENSOR)},
        against(reference),
    )


@subject
def stability_follow(case: Case, place: int) -> Subject:
    generator = torch.Generator().manual_seed(case.seed + 1)
    start = torch.randn(case.n, 1 + place % case.n, generator=generator, dtype=torch.float64)
    frame = torch.linalg.qr(start).Q.to(case.dtype)

    def judge(answer: tuple[Tensor, Tensor], given: dict[str, Any]) -> None:
        J, frame = given.values()
        assert (frame.mT @ frame - torch.eye(frame.shape[-1]).to(frame)).abs().max() < 2e-3
        ends, logs = answer
        mean = logs.mean(0).sort(-1, descending=True).values
        close(mean, plain.exponents(J, None, frame), [J])
        assert ends.shape == (*J.shape[1:-2], *frame.shape[-2:])

    given = {"J": matrices(case), "frame": frame}
    return Subject(stability.follow, given, {"J": TENSOR, "frame": TENSOR}, judge)


@subject
def stability_retention_exponents(case: Case, place: int) -> Subject:
    def reference(trajectory: Trajectory) -> Tensor:
        kept = torch.log1p(-trajectory.g.detach().double()).expand(trajectory.x.shape)
        return torch.stack(list(kept)).mean(0).sort(-1, descending=True).values

    return along(case, place, stability.retention_exponents, reference)


@subject
def stability_rightmost(case: Case, place: int) -> Subject:
    generator = torch.Generator().manual_seed(case.seed)
    leak, strength = torch.rand(2, *case.batch, case.n, generator=generator, dtype=case.dtype)
    return Subject(
        stability.rightmost,
        {"leak": leak, "strength": strength, "iterations": 200},
        # with few halvings it is not yet there, as it says
        {"leak": TENSOR, "strength": TENSOR, "iterations": [w for w in WHOLE if w.fate != "judged"]},
        against(lambda leak, strength, iterations: plain.rightmost(leak, strength)),
    )


@subject
def stability_outlier(case: Case, place: int) -> Subject:
    generator = torch.Generator().manual_seed(case.seed)
    rest = matrices(case)[(0,) * (1 + len(case.batch))]
    s, w = torch.randn(2, case.n, generator=generator, dtype=case.dtype)
    z = torch.randn(2, generator=generator, dtype=case.dtype) + 1j * torch.randn(
        2, generator=generator, dtype=case.dtype
    )
    kinds = [way for way in TENSOR if way.what not in ("the other precision", "integers", "half precision", "bfloat16")]
    return Subject(
        stability.outlier_condition,
        {"z": z, "rest": rest, "column": s, "row": w},
        {"z": kinds, "rest": TENSOR, "column": TENSOR, "row": TENSOR},
        against(plain.outlier),
    )


def drawn(
    case: Case, place: int, function: Callable[..., Any], target: Callable[..., Tensor | None], **more: Any
) -> Subject:
    """A task's function; the target is made again from the inputs."""
    kinds = {"delays": WHOLES}
    given = {"steps": 12, "batch": 3, "n_inputs": 4, "generator": torch.Generator(), "dtype": case.dtype} | more
    strange = {name: kinds.get(name, WHOLE) for name in given} | {
        "generator": [*GENERATOR, NONE],
        "dtype": [*DTYPE, NONE],
    }

    def judge(made: Any, arguments: dict[str, Any]) -> None:
        u, found = made
        sizes = {name: arguments[name] for name in ("steps", "batch", "n_inputs")}
        assert u.shape == tuple(sizes.values())
        assert min(sizes.values()) >= 1
        assert u.dtype == arguments["dtype"] == found.dtype
        expected = target(u, **{name: arguments[name] for name in more})
        if expected is not None:
            close(found[:, 0], expected)

    return Subject(function, given, strange, judge)


def _marked(u: Tensor, marks: int = 2) -> Tensor:
    assert ((u[..., -1] == 1).sum(0) == marks).all()
    return (u[..., 0] * u[..., -1]).sum(0)


def _last(u: Tensor, window: int) -> Tensor:
    assert 1 <= window <= len(u)
    return u[-window:, :, 0].sum(0)


def _narma(u: Tensor, order: int) -> Tensor:
    a, b, c = {10: (0.3, 0.05, 0.1), 20: (0.1, 0.04, 0.2)}[order]
    y = [torch.zeros(u.shape[1], dtype=torch.float64)]
    x = u[..., 0].double()
    for t in range(len(x)):
        window = sum(y[max(0, t + 1 - order) : t + 1])
        late = 1.5 * x[t - order + 1] * x[t] if t >= order - 1 else 0
        y.append(a * y[-1] + b * y[-1] * window + late + c)
    return y[-1]


@subject
def tasks_adding(case: Case, place: int) -> Subject:
    return drawn(case, place, tasks.adding, lambda u: _marked(u))


@subject
def tasks_recall(case: Case, place: int) -> Subject:
    return drawn(case, place, tasks.recall, _marked, marks=1 + place % 4)


@subject
def tasks_short(case: Case, place: int) -> Subject:
    return drawn(case, place, tasks.short, _last, window=1 + place % 12)


@subject
def tasks_moving_average(case: Case, place: int) -> Subject:
    target = lambda u, window: _last(u, window) / window  # noqa: E731
    return drawn(case, place, tasks.moving_average, target, window=1 + place % 12)


@subject
def tasks_delay_sum(case: Case, place: int) -> Subject:
    def target(u: Tensor, delays: list[int]) -> Tensor:
        assert len(set(delays)) == len(delays) > 0
        assert 0 <= min(delays) <= max(delays) < len(u)
        return torch.stack([u[len(u) - 1 - delay, :, 0] for delay in delays]).mean(0)

    return drawn(case, place, tasks.delay_sum, target, delays=[0, 3, 11])


@subject
def tasks_sinmix(case: Case, place: int) -> Subject:
    def target(u: Tensor) -> Tensor:
        waves, T = u[..., :2], len(u)
        change = waves[3 * T // 4 :].mean(0) - waves[: T // 4].mean(0)
        return change[:, 0] - change[:, 1]

    return drawn(case, place, tasks.sinmix, target)


@subject
def tasks_ar2(case: Case, place: int) -> Subject:
    return drawn(case, place, tasks.ar2, lambda u: None)


@subject
def tasks_narma(case: Case, place: int) -> Subject:
    return drawn(case, place, tasks.narma, _narma, order=10)


@subject
def tasks_digits(case: Case, place: int) -> Subject:
    every = tasks.digits()
    known = {tuple(row) for row in every.u[..., 0].T.tolist()}

    def judge(made: tasks.Batch, given: dict[str, Any]) -> None:
        u, labels = made
        size = {"all": 1797, "train": 1297, "test": 500}[given["split"]]
        assert u.shape == (64, size if given["batch"] is None else given["batch"], 1)
        assert 1 <= u.shape[1] <= size
        assert labels.shape == u.shape[1:2]
        assert u.dtype == given["dtype"]
        assert {tuple(row) for row in u[:, :5, 0].T.float().tolist()} <= known

    given = {"batch": 3, "generator": torch.Generator(), "split": ("all", "train", "test")[place % 3]}
    strange = {"batch": optional(WHOLE), "generator": [*GENERATOR, NONE], "split": CHOICE, "dtype": [*DTYPE, NONE]}
    return Subject(tasks.digits, given | {"dtype": torch.float32, "device": "cpu"}, strange | {"device": DEVICE}, judge)


@subject
def tasks_get(case: Case, place: int) -> Subject:
    name = tasks.NAMES[place % 7]

    def judge(task: tasks.Task, given: dict[str, Any]) -> None:
        u, target = task.draw(2, torch.Generator())
        assert (task.name, task.steps, task.n_inputs) == tuple(given.values())
        assert u.shape == (task.steps, 2, task.n_inputs)
        assert torch.isfinite(target).all()

    strange = {"name": CHOICE, "steps": optional(WHOLE), "n_inputs": optional(WHOLE)}
    return Subject(tasks.get, {"name": name, "steps": 40, "n_inputs": 4}, strange, judge)


ADDING, DIGITS = tasks.get("adding", steps=5), tasks.get("digits")


@subject
def draw_of_task(case: Case, place: int) -> Subject:
    def judge(made: tasks.Batch, given: dict[str, Any]) -> None:
        assert made.u.shape == (5, given["batch"], 4)
        assert made.u.dtype == given["dtype"]
        close(made.target[:, 0], _marked(made.u))

    given = {"batch": 3, "generator": torch.Generator(), "dtype": torch.float32, "held_out": False}
    strange = {"batch": WHOLE, "generator": [*GENERATOR, NONE], "dtype": [*DTYPE, NONE], "held_out": TRUTH}
    return Subject(ADDING.draw, given, strange, judge, tasks.Task.draw)


@subject
def loss_of_numbers(case: Case, place: int) -> Subject:
    generator = torch.Generator().manual_seed(case.seed)
    shape = (2, 3, 1) if place % 2 else (3, 1)
    output, target = (torch.randn(shape, generator=generator, dtype=case.dtype) for _ in range(2))

    def reference(output: Tensor, target: Tensor) -> Tensor:
        if output.shape != target.shape or output.shape[-1] != 1 or output.ndim not in (2, 3) or not output.numel():
            raise ValueError
        rows = [
            sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) / len(x)
            for x, y in zip(output.reshape(-1, output.shape[-2]), target.reshape(-1, output.shape[-2]), strict=True)
        ]
        return torch.stack(rows).reshape(output.shape[:-2])

    return Subject(
        ADDING.loss, {"output": output, "target": target}, {"output": TENSOR, "target": TENSOR}, against(reference)
    )


@subject
def loss_of_labels(case: Case, place: int) -> Subject:
    generator = torch.Generator().manual_seed(case.seed)
    output = torch.randn(3, 10, generator=generator, dtype=case.dtype)
    target = torch.randint(10, (3,), generator=generator)
    labels = [
        *(way for way in TENSOR if way.fate == "refused" and way.what not in ("integers", "on meta")),
        Strange("floats", "refused", lambda v, i: v.double()),
        Strange("short integers", "refused", lambda v, i: v.int()),
        Strange("a label beyond", "refused", lambda v, i: v + 10),
        Strange("a negative label", "refused", lambda v, i: v - 10),
        Strange("one less", "refused", lambda v, i: v[:2]),
        Strange("an axis more", "refused", lambda v, i: v.unsqueeze(-1)),
        Strange("apart in memory", "same", lambda v, i: apart_labels(v)),
    ]

    def reference(output: Tensor, target: list[int]) -> Tensor:
        if output.shape != (3, 10):
            raise ValueError
        return -torch.stack(
            [torch.log_softmax(row, 0)[label] for row, label in zip(output, target, strict=True)]
        ).mean()

    return Subject(
        DIGITS.loss, {"output": output, "target": target}, {"output": TENSOR, "target": labels}, against(reference)
    )


def apart_labels(v: Tensor) -> Tensor:
    return torch.stack([v, v + 1], -1)[..., 0]


@subject
def training_generators(case: Case, place: int) -> Subject:
    seeds = [
        *WHOLES,
        Strange("a large one", "judged", lambda v, i: [2**64]),
        Strange("a large negative one", "judged", lambda v, i: [-(2**63) - 1]),
    ]

    def judge(made: list[torch.Generator], given: dict[str, Any]) -> None:
        sums = [seed + given["offset"] for seed in given["seeds"]]
        assert [each.initial_seed() for each in made] == [total % 2**64 for total in sums]

    given = {"seeds": [0, place], "offset": 3}
    return Subject(training.generators, given, {"seeds": seeds, "offset": WHOLE}, judge)


@subject
def training_train(case: Case, place: int) -> Subject:
    model = GatedRNN(4, 2, "multi", replicas=2, generator=training.generators([0, 1]))
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    nothing = [
        way for way in (*CHOICE, NONE) if way.fate == "refused" and way.what not in ("in capitals", "a list of it")
    ]
    callables = [way for way in nothing if way.what not in ("a class", "None")]
    given = {
        "model": model,
        "task": ADDING,
        "optimiser": optimiser,
        "steps": 3,
        "generators": training.generators([5, 6]),
        "batch": 2,
        "schedule": None,
        "backward": "full",
        "probe": None,
        "checkpoints": [0, 3],
        "save": None,
        "save_every": 2,
        "companions": None,
        "progress": False,
    }
    strange = {
        "model": nothing,
        "task": nothing,
        "optimiser": nothing,
        "steps": WHOLE,
        "generators": [*GENERATOR, NONE],
        "batch": WHOLE,
        "backward": CHOICE,
        "probe": callables,
        "checkpoints": WHOLES,
        "save_every": WHOLE,
        "schedule": [way for way in nothing if way is not NONE],
        "save": [w for w in nothing if w.what not in ("None", "a word", "empty")],
        "companions": [w for w in nothing if w is not NONE],
    }

    def judge(run: training.Run, arguments: dict[str, Any]) -> None:
        steps = arguments["steps"]
        assert run.losses.shape == (steps, 2)
        assert all(0 <= step <= steps for step in arguments["checkpoints"])
        sources, weights = training.generators([5, 6]), {name: w.clone() for name, w in before.items()}
        for step in range(steps):
            batches = [ADDING.draw(arguments["batch"], source) for source in sources]
            leaves = {name: w.clone().requires_grad_() for name, w in weights.items()}
            losses = []
            for s, (u, target) in enumerate(batches):
                alone = GatedRNN(4, 2, "multi")
                x = torch.func.functional_call(_Run(alone), {f"net.{n}": w[s] for n, w in leaves.items()}, (u,))
                losses.append(((x @ leaves["W_o"][s].T - target) ** 2).mean())
            close(run.losses[step], torch.stack(losses))
            grads = torch.autograd.grad(sum(losses), list(leaves.values()))
            weights = {name: w - 0.1 * g for (name, w), g in zip(weights.items(), grads, strict=True)}
        close(dict(model.named_parameters()), weights)

    return Subject(training.train, given, strange, judge)


class _Run(torch.nn.Module):
    """The last state, as a module that functional_call can take."""

    def __init__(self, net: GatedRNN):
        super().__init__()
        self.net = net

    def forward(self, u: Tensor) -> Tensor:
        return self.net.run(u).x[-1]


@subject
def check_backward(case: Case, place: int) -> Subject:
    return Subject(cells.check_backward, {"backward": "full"}, {"backward": CHOICE}, lambda *_: None)


cases = st.builds(
    Case,
    gate=st.sampled_from(GATES),
    n=st.integers(1, 3),
    m=st.integers(1, 3),
    T=st.integers(1, 4),
    batch=st.sampled_from([(), (1,), (2,), (2, 1)]),
    replicas=st.sampled_from([None, None, 1, 2]),
    bias=st.booleans(),
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from([torch.float64, torch.float32]),
)


def fuzz(name: str, examples: int) -> int:
    """Spoil the arguments of one function so often; how often it was called."""
    count = 0

    @settings(max_examples=examples)
    @given(case=cases, place=places, data=st.data())
    def spoil(case: Case, place: int, data: st.DataObject) -> None:
        nonlocal count
        made = SUBJECTS[name](case, place)
        names = data.draw(st.lists(st.sampled_from(sorted(made.strange)), max_size=2, unique=True))
        check(made, [(each, data.draw(st.sampled_from(made.strange[each])), data.draw(places)) for each in names])
        count += 1

    spoil()
    return count


@pytest.mark.filterwarnings("ignore:Casting complex values:UserWarning")
@pytest.mark.parametrize("name", SUBJECTS)
def test_any_input_is_answered_rightly_or_refused(name: str) -> None:
    fuzz(name, QUICK)


@pytest.mark.weekly
@pytest.mark.filterwarnings("ignore:Casting complex values:UserWarning")
@pytest.mark.parametrize("name", SUBJECTS)
def test_any_of_many_inputs_is_answered_rightly_or_refused(name: str) -> None:
    assert fuzz(name, WEEKLY) >= WEEKLY
    assert WEEKLY * len(SUBJECTS) >= 20_000


MODULES = (adjoint, anisotropy, expansion, jacobian, rates, stability, tasks, training, transport)


def test_every_public_function_is_among_them() -> None:
    """Each is called by some subject, by name in this file; what only checks or shows progress is left out."""
    source = inspect.getsource(inspect.getmodule(Subject))
    left_out = {"jacobian.check_terms", "training.progress_bar", "tasks.mnist1d", "tasks.co2"}
    functions = {
        f"{module.__name__.removeprefix('gatelr.')}.{name}"
        for module in MODULES
        for name, each in vars(module).items()
        if inspect.isfunction(each) and not name.startswith("_") and each.__module__.startswith(module.__name__)
    }
    assert {name for name in functions - left_out if name not in source} == set()
