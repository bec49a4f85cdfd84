"""Networks, and the Jacobians and gradients of their runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gatelr import adjoint, cells, jacobian
from gatelr.cells import GatedRNN
from gatelr.kernels.sweep import Workspace
from networks import Case
from torch import Tensor

from any_input import plain
from any_input.strange import (
    CHOICE,
    DEVICE,
    DTYPE,
    GENERATOR,
    MODEL,
    NUMBER,
    TENSOR,
    TRUTH,
    WHOLE,
    Strange,
    of_the_model,
)
from any_input.subjects import Subject, against, close, optional, recorded, subject


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


@subject
def check_backward(case: Case, place: int) -> Subject:
    return Subject(cells.check_backward, {"backward": "full"}, {"backward": CHOICE}, lambda *_: None)
