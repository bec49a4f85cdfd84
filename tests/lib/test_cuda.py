"""The same numbers on a CUDA device; skipped, by name, where there is none."""

import pytest
import torch
from gatelr import adjoint, jacobian, networks, tasks, training, transport
from gatelr.cells import GATES, GatedRNN
from gatelr.kernels import sweep
from gatelr.record import devices
from networks import Case, relative
from recurrent import KINDS, Recurrent

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@pytest.mark.parametrize("replicas", [None, 3])
@pytest.mark.parametrize("gate", GATES)
def test_states_jacobians_and_gradients(gate: str, replicas: int | None) -> None:
    case = Case(gate, n=9, m=3, T=12, batch=(4,), replicas=replicas, bias=True, seed=1)
    results = []
    for device in ("cpu", devices.resolve("cuda")):
        model = case.model().to(device)
        u, x0 = (tensor.to(device) for tensor in case.inputs())
        loss = model(u, x0).square().sum()
        loss.backward()
        with torch.no_grad():
            run = model.run(u, x0)
            found = {"x": run.x, "J": jacobian.blocks(model, run), **adjoint.gradients(model, run, run.x)}
        found |= {f"grad {name}": p.grad for name, p in model.named_parameters()}
        results.append(found)
    for name, expected in results[0].items():
        assert results[1][name].device.type == "cuda"
        assert relative(results[1][name].cpu(), expected) <= 1e-12, name


def test_a_batch_is_made_where_it_is_wanted() -> None:
    assert tasks.digits(device="cuda").u.is_cuda
    assert tasks.adding(10, 4, torch.Generator("cuda").manual_seed(0)).u.is_cuda


@pytest.mark.parametrize("gate", GATES)
def test_a_recorded_graph_replays_the_sweeps(gate: str) -> None:
    """Each backward pass twice with one workspace: every loop is captured once, and replayed with new numbers."""
    case = Case(gate, n=9, m=3, T=12, batch=(4,), replicas=3, bias=True, seed=1)
    results = []
    for device in ("cpu", "cuda"):
        model, workspace = case.model().to(device), sweep.Workspace()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
        outputs = []
        for step, backward in enumerate(sweep.BACKWARD * 2, 1):
            u, x0 = ((0.5 * step * tensor).to(device) for tensor in case.inputs())
            out = model(u, x0, workspace=workspace, backward=backward)
            optimiser.zero_grad()
            out.square().sum().backward()
            optimiser.step()
            outputs.append(out.detach())
        results.append([*outputs, *(p.detach() for p in model.parameters())])
    assert all(relative(ours.cpu(), theirs) <= 1e-10 for theirs, ours in zip(*results, strict=True))


def test_sensitivities_and_per_sample_gradients() -> None:
    case = Case("multi", n=16, m=3, T=20, batch=(4,), replicas=None, bias=False, seed=2)
    found = []
    for device in ("cpu", "cuda"):
        model, (u, x0) = case.model().to(device), (tensor.to(device) for tensor in case.inputs())
        with torch.no_grad():
            run = model.run(u, x0)
            S = transport.sensitivities(jacobian.blocks(model, run))
            found.append({"S": S, **adjoint.gradients(model, run, run.x, per_sample=True)})
    for name, expected in found[0].items():
        assert relative(found[1][name].cpu(), expected) <= 1e-6, name


def test_training_draws_the_same_data_and_comes_to_the_same_weights() -> None:
    task = tasks.get("adding", steps=12, n_inputs=3)
    found = []
    for device in ("cpu", "cuda"):
        seeds = (1, 2, 3)
        model = GatedRNN(
            3, 6, "multi", replicas=3, generator=[torch.Generator().manual_seed(s) for s in seeds],
            device=device, dtype=torch.float64,
        )  # fmt: skip
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
        run = training.train(model, task, optimiser, 30, [torch.Generator().manual_seed(s) for s in seeds], batch=8)
        found.append([run.losses, *(p.detach().cpu() for p in model.parameters())])
    assert all(relative(ours, theirs) <= 1e-8 for theirs, ours in zip(*found, strict=True))


@pytest.mark.parametrize("lengths", ["none", "padded", "packed"])
@pytest.mark.parametrize("kind", KINDS)
def test_torchs_own_layers(kind: str, lengths: str) -> None:
    case = Recurrent(kind, n=6, layers=2, bidirectional=True, projected=True, lengths=lengths, B=3)
    results = []
    for device in ("cpu", "cuda"):
        module = case.module().to(device)
        u, h0, told, _ = case.inputs()
        u = u.to(device)
        h0 = tuple(h.to(device) for h in h0) if isinstance(h0, tuple) else h0.to(device)
        state = networks.run(module, u, 1, h0, direction=1, **told)
        found = {"x": state.x, "J": networks.blocks(module, u, 1, h0, direction=1, **told)}
        found |= {"budget": networks.budget(state), "exponents": networks.lyapunov(module, u, 1, h0, **told)}
        found |= {f"λ {i}": lam for i, lam in enumerate(networks.costates(module, u, None, h0, **told))}
        results.append(found)
    for name, expected in results[0].items():
        assert results[1][name].device.type == "cuda"
        if name != "exponents" or kind != "relu":  # of directions that are lost altogether nothing but rounding is left
            assert relative(results[1][name].cpu(), expected) <= 1e-10, name
