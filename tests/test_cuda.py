"""The same numbers on a CUDA device; skipped, by name, where there is none."""

import pytest
import torch
from gatelr import adjoint, devices, jacobian, tasks
from gatelr.cells import GATES
from networks import Case, relative

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
