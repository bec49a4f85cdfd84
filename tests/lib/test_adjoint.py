"""C7: closed form against autograd for every parameter, per sample too, and what dropping the gate term means."""

import itertools
import re

import pytest
import torch
from gatelr import adjoint, jacobian, transport
from gatelr.cells import GATES, GatedRNN, Trajectory
from gatelr.kernels.sweep import BACKWARD, Backward
from hypothesis import given
from networks import BlindGate, Case, OnlyLeak, and_the_smallest, cases, relative
from torch import Tensor

NAMES = ("W_r", "W_i", "W_rg", "W_ig", "b", "b_g")


def deltas(case: Case, x: Tensor) -> Tensor:
    return torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(case.seed + 2))


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-10) -> bool:
    return bool((ours - theirs).abs().max() <= tolerance * max(1.0, float(theirs.abs().max())))


@and_the_smallest
@given(cases)
def test_gradients_equal_autograd(case: Case) -> None:
    model, (u, x0) = case.model(), case.inputs()
    x0.requires_grad_()
    run = model.run(u, x0)
    delta = deltas(case, run.x)
    wanted = {name: getattr(model, name) for name in NAMES if getattr(model, name) is not None}
    reference = torch.autograd.grad((delta * run.x).sum(), [*wanted.values(), x0])
    with torch.no_grad():
        run = model.run(u, x0)
        ours = adjoint.gradients(model, run, delta)
        first = adjoint.costates(model, run, delta)[0]
    assert set(ours) == set(wanted)
    for (name, parameter), expected in zip(wanted.items(), reference, strict=False):
        assert ours[name].shape == parameter.shape, name
        assert close(ours[name], expected), name
    assert close(first, reference[-1])


@and_the_smallest
@given(cases)
def test_per_sample_gradients_equal_a_loop(case: Case) -> None:
    """Sequence by sequence through autograd; with replicas each sequence belongs to one."""
    model, (u, x0) = case.model(), case.inputs()
    with torch.no_grad():
        run = model.run(u, x0)
        delta = deltas(case, run.x)
        ours = adjoint.gradients(model, run, delta, per_sample=True)
        total = adjoint.gradients(model, run, delta)
    batch = run.x.shape[1:-1]
    for name, gradient in ours.items():
        core = getattr(model, name).shape[1:] if case.replicas else getattr(model, name).shape
        assert gradient.shape == (*batch, *core), name
        summed = gradient.reshape(case.replicas or 1, -1, *core).sum(1).reshape(getattr(model, name).shape)
        assert close(total[name], summed), name
    for index in itertools.product(*map(range, batch)):
        x = model.run(u, x0).x
        at = (slice(None), *index)
        loss = (delta[at] * x[at]).sum()
        reference = torch.autograd.grad(loss, [getattr(model, name) for name in ours])
        for (name, gradient), expected in zip(ours.items(), reference, strict=True):
            expected = expected[index[0]] if case.replicas else expected
            assert close(gradient[index], expected), name


@and_the_smallest
@given(cases)
def test_adjoints_are_transported_deltas(case: Case) -> None:
    r"""λ_k = Σ_t M_{t,k}ᵀ δ_t, with the products of transport."""
    model, (u, x0) = case.model(), case.inputs()
    with torch.no_grad():
        run = model.run(u, x0)
        J, delta = jacobian.blocks(model, run), deltas(case, run.x)
        lam = adjoint.costates(model, run, delta)
    for k in range(case.T + 1):
        expected = delta[k - 1].clone() if k else torch.zeros_like(delta[0])
        for t in range(k + 1, case.T + 1):
            expected += (transport.products(J, t - k)[k].mT @ delta[t - 1].unsqueeze(-1)).squeeze(-1)
        assert close(lam[k], expected, 1e-12)


@and_the_smallest
@given(cases)
def test_dropping_the_gate_term_is_a_detached_gate_input(case: Case) -> None:
    model, (u, x0) = case.model(), case.inputs()
    model.__class__ = BlindGate
    run = model.run(u, x0)
    delta = deltas(case, run.x)
    with torch.no_grad():
        ours = adjoint.gradients(model, model.run(u, x0), delta, gate_sensitivity=0.0)
    reference = torch.autograd.grad((delta * run.x).sum(), [getattr(model, name) for name in ours])
    for (name, gradient), expected in zip(ours.items(), reference, strict=True):
        assert close(gradient, expected), name


def carried(terms: jacobian.Terms, backward: Backward) -> Tensor:
    """The matrix that a backward pass carries, from the dense terms of J."""
    leak, recurrent, gate = terms
    own = torch.diag_embed((recurrent + gate).diagonal(dim1=-2, dim2=-1))
    return leak + {"full": recurrent + gate, "gate dropped": recurrent, "diagonal": own, "order 0": 0 * own}[backward]


@pytest.mark.parametrize("backward", BACKWARD)
@and_the_smallest
@given(cases)
def test_what_is_carried_is_the_masked_jacobian(backward: Backward, case: Case) -> None:
    """Both sweeps, and a loop with dense blocks: the adjoint of every state, and from it the gradients step by step."""
    model, (u, x0) = case.model(), case.inputs()
    run = Trajectory(*(member.detach() for member in model.run(u, x0)))
    delta = deltas(case, run.x)
    J = carried(jacobian.terms(model, run), backward).detach()
    lam = [torch.zeros_like(delta[0])] * case.T + [delta[-1]]
    for k in reversed(range(case.T)):
        lam[k] = (J[k].mT @ lam[k + 1].unsqueeze(-1)).squeeze(-1) + (delta[k - 1] if k else 0)
    assert close(adjoint.costates(model, run, delta, backward=backward), torch.stack(lam), 1e-12)

    # each step alone, from the recorded state before it: what is carried has no part in a step's own gradient
    ours = adjoint.gradients(model, run, delta, backward=backward)
    total = 0.0
    for k in range(case.T):
        total = total + (lam[k + 1] * model.run(u[k : k + 1], run.x_prev[k]).x[0]).sum()
    reference = torch.autograd.grad(total, [getattr(model, name) for name in ours])
    for (name, gradient), expected in zip(ours.items(), reference, strict=True):
        assert close(gradient, expected), name


@pytest.mark.parametrize("backward", BACKWARD)
@and_the_smallest
@given(cases)
def test_training_and_measuring_carry_the_same(backward: Backward, case: Case) -> None:
    """The sweep in place behind ``model(u)`` and the one of this module, for a loss of the last state."""
    model, (u, x0) = case.model(), case.inputs()
    model(u, x0, backward=backward).sum().backward()
    with torch.no_grad():
        run = model.run(u, x0)
        delta = torch.zeros_like(run.x)
        delta[-1] = model.per_step(model.W_o, delta[-1].ndim - 1).sum(-2)
        ours = adjoint.gradients(model, run, delta, backward=backward)
    for name, gradient in ours.items():
        assert close(getattr(model, name).grad, gradient, 1e-12), name


@pytest.mark.parametrize("backward", ["gate dropped", "order 0"])
@and_the_smallest
@given(cases)
def test_what_is_dropped_is_a_detached_state(backward: Backward, case: Case) -> None:
    """Autograd through the same network, in which a gate, or all but the leak, reads a state that it cannot see."""
    model, (u, x0) = case.model(), case.inputs()
    x0.requires_grad_()
    wanted = [x0, *model.parameters()]
    ours = torch.autograd.grad(model(u, x0, backward=backward).sum(), wanted)
    model.__class__ = BlindGate if backward == "gate dropped" else OnlyLeak
    last = model.run(u, x0).x[-1]
    reference = torch.autograd.grad(model._affine(last, model.W_o, model.b_o).sum(), wanted)
    for gradient, expected in zip(ours, reference, strict=True):
        assert close(gradient, expected)


@pytest.mark.parametrize("gate", GATES)
def test_the_backward_passes_differ(gate: str) -> None:
    case = Case(gate, n=4, m=2, T=6, batch=(3,), replicas=None, bias=True, seed=5)
    model, (u, x0) = case.model(), case.inputs()
    found = {b: torch.autograd.grad(model(u, x0, backward=b).sum(), model.W_r)[0] for b in BACKWARD}
    for one, other in itertools.combinations(BACKWARD, 2):
        alike = {one, other} == {"full", "gate dropped"} and gate in ("none", "constant")
        assert (relative(found[one], found[other]) < 1e-12) is alike, (one, other)


@pytest.mark.parametrize("backward", BACKWARD)
def test_float32_is_float64_rounded(backward: Backward) -> None:
    found = []
    for dtype in (torch.float32, torch.float64):
        case = Case("multi", n=8, m=3, T=40, batch=(5,), replicas=2, bias=True, seed=4)
        model, (u, x0) = case.model().to(dtype), (tensor.to(dtype) for tensor in case.inputs())
        found.append(torch.autograd.grad(model(u, x0, backward=backward).sum(), [model.W_r, model.W_rg]))
    for single, double in zip(*found, strict=True):
        assert relative(single.double(), double) <= 2e-5


@pytest.mark.usefixtures("as_installed")
def test_an_unknown_backward_pass_is_refused() -> None:
    case = Case("multi", n=4, m=2, T=6, batch=(3,), replicas=None, bias=True, seed=5)
    model, (u, x0) = case.model(), case.inputs()
    run = model.run(u, x0)
    calls = [
        lambda: model(u, x0, backward="order 1"),  # type: ignore[arg-type]
        lambda: adjoint.gradients(model, run, run.x, backward="order 1"),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(ValueError, match="got backward='order 1', expected one of 'full', 'gate dropped', "):
            call()


def test_dropping_it_makes_a_difference() -> None:
    case = Case("multi", n=4, m=2, T=6, batch=(3,), replicas=None, bias=True, seed=5)
    model, (u, x0) = case.model(), case.inputs()
    with torch.no_grad():
        run = model.run(u, x0)
        delta = deltas(case, run.x)
        kept, dropped = (adjoint.gradients(model, run, delta, gate_sensitivity=s) for s in (1.0, 0.0))
    assert relative(dropped["W_r"], kept["W_r"]) > 1e-3


@pytest.mark.usefixtures("as_installed")
def test_a_delta_that_does_not_fit_is_refused() -> None:
    case = Case("multi", n=4, m=2, T=6, batch=(3,), replicas=None, bias=True, seed=5)
    model, (u, x0) = case.model(), case.inputs()
    run = model.run(u, x0)
    for delta in (torch.zeros(3, 4, dtype=torch.float64), torch.zeros(6, 3, 4)):
        sentence = f"got delta {tuple(delta.shape)} in {delta.dtype} on cpu, expected (6, 3, 4) "
        with pytest.raises(ValueError, match=re.escape(sentence)):
            adjoint.gradients(model, run, delta)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("other", GATES)
def test_a_run_of_another_network_is_refused(gate: str, other: str) -> None:
    u, delta = torch.ones(5, 3, 2, dtype=torch.float64), torch.ones(5, 3, 4, dtype=torch.float64)
    model, stranger = (
        GatedRNN(2, 4, kind, alpha=0.3 if kind == "constant" else None, dtype=torch.float64) for kind in (gate, other)
    )
    said = r"gates of width \d, expected \d for|other gates than those of|a network with other weights"
    with pytest.raises(ValueError, match=said):
        adjoint.costates(model, stranger.run(u), delta)


@pytest.mark.parametrize("gate", GATES)
def test_a_run_before_an_update_is_refused_after_it(gate: str) -> None:
    source = torch.Generator().manual_seed(0)
    model = GatedRNN(2, 4, gate, alpha=0.3 if gate == "constant" else None, generator=source)
    trajectory = model.run(torch.ones(5, 3, 2))
    adjoint.costates(model, trajectory, torch.ones(5, 3, 4))
    with torch.no_grad():
        model.W_r += 0.3
    with pytest.raises(ValueError, match="a network with other weights, expected this network's: run it again"):
        adjoint.costates(model, trajectory, torch.ones(5, 3, 4))


@pytest.mark.parametrize("gate", ["none", "constant"])
def test_gates_put_in_the_place_of_fixed_ones_count(gate: str) -> None:
    generator = torch.Generator().manual_seed(0)
    options = {"alpha": 0.3 if gate == "constant" else None, "dtype": torch.float64, "generator": generator}
    model = GatedRNN(2, 4, gate, **options)
    trajectory = model.run(torch.ones(5, 3, 2, dtype=torch.float64))
    mixed = trajectory._replace(g=torch.rand(5, 3, 4, generator=generator, dtype=torch.float64))
    lam = adjoint.costates(model, mixed, torch.ones_like(trajectory.x))
    J = torch.diag_embed(1 - mixed.g) + (mixed.g * (1 - mixed.phi**2)).unsqueeze(-1) * model.W_r
    torch.testing.assert_close(lam[3], (J[3].mT @ lam[4].unsqueeze(-1)).squeeze(-1) + 1)
