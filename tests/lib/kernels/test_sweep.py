"""The sweeps in place against plain autograd, in float64."""

import copy
import dataclasses

import pytest
import torch
from gatelr.cells import GATES
from gatelr.kernels import autograd, sweep
from hypothesis import given
from jaxtyping import TypeCheckError
from networks import Case, and_the_smallest, cases, relative


@and_the_smallest
@given(cases)
def test_forward_equals_the_recorded_run(case: Case) -> None:
    model, (u, x0) = case.model(), case.inputs()
    with torch.no_grad():
        last, run = model(u, x0), model.run(u, x0)
        readout = model._affine(run.x[-1], model.W_o, model.b_o)
    assert relative(last, readout) <= 1e-13


@and_the_smallest
@given(cases)
def test_closed_form_backward_equals_autograd(case: Case) -> None:
    """C7 for the last state: inputs, initial state and every parameter."""
    model, (u, x0) = case.model(), case.inputs()
    u.requires_grad_()
    x0.requires_grad_()
    wanted = {"u": u, "x0": x0, **dict(model.named_parameters())}
    weight = torch.randn(model(u, x0).shape, dtype=case.dtype, generator=torch.Generator().manual_seed(case.seed))

    closed = torch.autograd.grad((model(u, x0) * weight).sum(), list(wanted.values()))
    run = model.run(u, x0)
    readout = model._affine(run.x[-1], model.W_o, model.b_o)
    reference = torch.autograd.grad((readout * weight).sum(), list(wanted.values()))
    for name, ours, theirs in zip(wanted, closed, reference, strict=True):
        assert ours.shape == theirs.shape, name
        assert (ours - theirs).abs().max() <= 1e-12 * max(1.0, float(theirs.abs().max())), name


@and_the_smallest
@given(cases)
def test_direct_gradients_at_every_step(case: Case) -> None:
    """The adjoint sweep takes a δ at each step, not only at the last."""
    model, (u, _) = case.model(), case.inputs()
    S = case.replicas or 1
    u = u.reshape(case.T, S, -1, case.m)
    W_all = autograd.joined(model.W_r, model.W_rg, model.W_i, model.W_ig, None, None).detach()
    W, W_in = W_all[..., : case.n], W_all[..., case.n :]
    alpha = None if case.gate == "none" else model._fixed_gate()
    x0 = u.new_zeros(S, u.shape[2], case.n)
    swept = sweep.forward(u, x0, W_all, alpha)
    delta = torch.randn(*u.shape[:-1], case.n, dtype=u.dtype, generator=torch.Generator().manual_seed(1))
    gradients = sweep.adjoint(swept, delta)

    W_ag, state, loss = W.clone().requires_grad_(), x0, torch.zeros((), dtype=u.dtype)
    fixed = 1.0 if alpha is None else alpha
    for u_t, delta_t in zip(u, delta, strict=True):
        z = state @ W_ag.mT + u_t @ W_in.mT
        learned = z.shape[-1] > case.n
        phi, gate = torch.tanh(z[..., : case.n]), torch.sigmoid(z[..., case.n :]) if learned else fixed
        state = (1 - gate) * state + gate * phi
        loss = loss + (delta_t * state).sum()
    (reference,) = torch.autograd.grad(loss, W_ag)
    ours, *_ = gradients.W
    assert (ours - reference).abs().max() <= 1e-12 * max(1.0, float(reference.abs().max()))


@and_the_smallest
@given(cases)
def test_a_workspace_changes_no_number(case: Case) -> None:
    """Used again, for other inputs and weights, it holds nothing of the run before."""
    workspace, seen = sweep.Workspace(), []
    for seed in (case.seed, case.seed + 1):
        again = dataclasses.replace(case, seed=seed)
        model, (u, x0) = again.model(), again.inputs()
        for memory in (workspace, None):
            model.zero_grad()
            out = model(u, x0, workspace=memory)
            out.square().sum().backward()
            seen.append([out, *(p.grad for p in model.parameters())])
        assert all(torch.equal(a, b) for a, b in zip(*seen[-2:], strict=True))
    kept = [tensor.clone() for tensor in seen[0]]
    model(u, x0, workspace=workspace)
    assert all(torch.equal(a, b) for a, b in zip(kept, seen[0], strict=True))  # results are never views of it


def test_a_workspace_filled_anew_cannot_be_differentiated() -> None:
    case = Case("multi", n=3, m=2, T=4, batch=(2,), replicas=None, bias=False, seed=3)
    model, (u, x0), workspace = case.model(), case.inputs(), sweep.Workspace()
    first = model(u, x0, workspace=workspace)
    model(u, x0, workspace=workspace)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        first.sum().backward()


@pytest.mark.parametrize("gate", GATES)
def test_float32_is_float64_rounded(gate: str) -> None:
    """The candidate by way of the sigmoid: an absolute error of a few units in the last place of 1."""
    case = Case(gate, n=8, m=3, T=40, batch=(5,), replicas=2, bias=True, seed=4, dtype=torch.float32)
    model, (u, x0) = case.model(), case.inputs()
    found = []
    for network in (model, copy.deepcopy(model).double()):
        out = network(u.to(network.W_r.dtype), x0.to(network.W_r.dtype))
        out.sum().backward()
        found.append([out, *(p.grad for p in network.parameters())])
    for single, double in zip(*found, strict=True):
        assert relative(single.double(), double) <= 2e-5


def test_adjoints_that_count_for_nothing_are_zero_and_the_rest_is_exact() -> None:
    """Long before the first step of this run the adjoint is denormal; what the sweep flushes changes no gradient."""
    case = Case("none", n=4, m=2, T=400, batch=(3,), replicas=None, bias=False, seed=5, dtype=torch.float32)
    model, (u, _) = case.model(), case.inputs()
    x0 = torch.zeros(3, 4, requires_grad=True)
    with torch.no_grad():
        model.W_r.mul_(0.3)
    model(u, x0).sum().backward()
    assert torch.equal(x0.grad, torch.zeros(3, 4))
    assert torch.tensor([1e-40]).mul(1.0).item() > 0  # the process still has denormals
    double = copy.deepcopy(model).double()
    double.zero_grad()
    (double.run(u.double()).x[-1] @ double.W_o.T).sum().backward()
    for ours, theirs in zip(model.parameters(), double.parameters(), strict=True):
        assert relative(ours.grad.double(), theirs.grad) <= 2e-5


def test_gradcheck() -> None:
    """torch's own numerical check of the backward pass."""
    for gate in ("none", "constant", "scalar", "multi"):
        case = Case(gate, n=3, m=2, T=4, batch=(2,), replicas=2, bias=True, seed=3)
        model, (u, x0) = case.model(), case.inputs()
        assert torch.autograd.gradcheck(model, (u.requires_grad_(), x0.requires_grad_()))


def test_shapes_are_checked_at_run_time() -> None:
    """If the hook in conftest were lost, no annotation would be tested any more."""
    x = torch.zeros(1, 2, 3)
    with pytest.raises(TypeCheckError):
        sweep.forward(torch.zeros(4, 1, 5, 2), x, torch.zeros(1, 3, 5), torch.ones(1))
