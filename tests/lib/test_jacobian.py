"""C2: the closed form against torch.func.jacrev, over gates, shapes and replicas, in float64."""

import re

import pytest
import torch
from gatelr import jacobian
from hypothesis import given
from networks import Case, and_the_smallest, cases, reference_step, relative


@and_the_smallest
@given(cases)
def test_blocks_equal_jacrev(case: Case) -> None:
    model, (u, x0) = case.model(), case.inputs()
    with torch.no_grad():
        run = model.run(u, x0)
        J = jacobian.blocks(model, run)
        terms = jacobian.terms(model, run)
    assert J.shape == (*run.x.shape, case.n)
    assert relative(sum(terms), J) <= 1e-14

    S = case.replicas or 1
    reference = torch.empty_like(J).reshape(case.T, S, -1, case.n, case.n)
    flat_u, flat_x = u.reshape(case.T, S, -1, case.m), run.x_prev.reshape(case.T, S, -1, case.n)
    for i in range(S):
        step = torch.func.jacrev(lambda v, x, i=i: reference_step(model, i if case.replicas else None, v, x), argnums=1)
        for t in range(case.T):
            for j in range(flat_x.shape[2]):
                reference[t, i, j] = step(flat_u[t, i, j], flat_x[t, i, j]).detach()
    assert relative(J, reference.reshape(J.shape)) <= 1e-12


@and_the_smallest
@given(cases)
def test_each_term_is_what_its_name_says(case: Case) -> None:
    """The leak is diagonal; the scalar gate's term has rank one; without a learned gate there is no gate term."""
    model, (u, x0) = case.model(), case.inputs()
    with torch.no_grad():
        run = model.run(u, x0)
        leak, recurrent, gate = jacobian.terms(model, run)
    assert torch.equal(leak, torch.diag_embed((1 - run.g).expand_as(run.x)))
    if case.gate in ("none", "constant"):
        assert not gate.any()
    else:
        # freezing the gate removes exactly this term
        frozen = leak + recurrent
        assert relative(frozen + gate, jacobian.blocks(model, run)) <= 1e-14
    if case.gate == "scalar" and case.n > 1:
        singular = torch.linalg.svdvals(gate)
        assert (singular[..., 1] <= 1e-13 * singular[..., 0].clamp_min(1e-300)).all()
    if case.gate == "none":
        assert not leak.any()


def test_evaluated_before_the_update() -> None:
    """At the state after the update the gate term would be too small by 1 - g: the two must not be confused."""
    case = Case("multi", n=5, m=3, T=4, batch=(2,), replicas=None, bias=False, seed=11)
    model, (u, x0) = case.model(), case.inputs()
    with torch.no_grad():
        run = model.run(u, x0)
        right = jacobian.terms(model, run).gate
        wrong = jacobian.terms(model, run._replace(x_prev=run.x)).gate
    assert torch.allclose(wrong, (1 - run.g).unsqueeze(-1) * right, atol=1e-15)
    assert relative(wrong, right) > 0.1


def test_differentiable_when_asked() -> None:
    """A reader may put a norm of J into a loss: the in-place sum must leave autograd right."""
    case = Case("multi", n=3, m=2, T=3, batch=(), replicas=None, bias=True, seed=2)
    model, (u, x0) = case.model(), case.inputs()
    grads = [
        torch.autograd.grad(J.square().sum(), list(model.parameters()), allow_unused=True)
        for J in (jacobian.blocks(model, model.run(u, x0)), sum(jacobian.terms(model, model.run(u, x0))))
    ]
    for ours, theirs in zip(*grads, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.usefixtures("as_installed")
def test_a_trajectory_of_another_model_is_refused() -> None:
    small, large = (Case("multi", n, 2, 3, (), None, False, 0) for n in (3, 4))
    run = small.model().run(small.inputs()[0])
    with pytest.raises(ValueError, match=re.escape("got a trajectory of states (3, 3), expected n = 4")):
        jacobian.blocks(large.model(), run)
    with pytest.raises(ValueError, match=re.escape("got a trajectory in torch.float64 on cpu, expected torch.float32")):
        jacobian.terms(small.model().float(), run)
    replicated = Case("multi", 3, 2, 3, (), 2, False, 0).model()
    with pytest.raises(ValueError, match=re.escape("expected n = 3 and S = 2 behind time")):
        jacobian.blocks(replicated, run)
