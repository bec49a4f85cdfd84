"""The sweeps in place against plain autograd, in float64."""

import pytest
import torch
from gatelr import recurrence
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
    W, W_in = (model._stacked(*pair).detach() for pair in ((model.W_r, model.W_rg), (model.W_i, model.W_ig)))
    alpha = model._fixed_gate()
    x0 = u.new_zeros(S, u.shape[2], case.n)
    sweep = recurrence.forward(u, x0, W, W_in, None, alpha)
    delta = torch.randn(sweep.phi.shape, dtype=u.dtype, generator=torch.Generator().manual_seed(1))
    gradients = recurrence.adjoint(sweep, u, W, W_in, delta.unbind())

    W_ag, state, loss = W.clone().requires_grad_(), x0, torch.zeros((), dtype=u.dtype)
    for u_t, delta_t in zip(u, delta, strict=True):
        z = state @ W_ag.mT + u_t @ W_in.mT
        phi, gate = torch.tanh(z[..., : case.n]), torch.sigmoid(z[..., case.n :]) if alpha is None else alpha
        state = (1 - gate) * state + gate * phi
        loss = loss + (delta_t * state).sum()
    (reference,) = torch.autograd.grad(loss, W_ag)
    assert (gradients.W - reference).abs().max() <= 1e-12 * max(1.0, float(reference.abs().max()))


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
        recurrence.forward(torch.zeros(4, 1, 5, 2), x, torch.zeros(1, 3, 3), torch.zeros(1, 3, 2), None, torch.ones(1))
