"""Nothing is made on the wrong device: every function of the nouns on tensors that pretend to lie on a CUDA device.

Such tensors have shapes, dtypes and a device, and no numbers (torch.compile traces with them); an operation on two
devices is refused as it would be. A build of PyTorch for CPUs can do this where no gradient is recorded.
"""

import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from gatelr import adjoint, anisotropy, expansion, jacobian, rates, stability, transport
from gatelr.cells import GATES, GatedRNN
from torch import Tensor
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

from benchmarks import gpu

NOUNS = ("adjoint", "anisotropy", "expansion", "jacobian", "rates", "stability", "transport")
#: Given a combination of tensors by the caller, or returns none; tested through `transport.products` and the rest.
GENERAL = {"jacobian.check_terms", "stability.outlier_condition", "transport.windows"}


class Pretended(TorchFunctionMode):
    """What a build for CPUs cannot do on such tensors: take a part, copy into one, look at a truth (taken to hold)."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is Tensor.copy_:  # from any device
            return args[0]
        if function is Tensor.__setitem__:
            value = args[2]
            if isinstance(value, Tensor) and value.ndim and value.device != args[0].device:
                raise RuntimeError(f"a part of a tensor on {args[0].device} is set to one on {value.device}")
            return None
        if function is Tensor.__getitem__:
            whole, index = tree_map_only(Tensor, lambda t: torch.empty(t.shape, dtype=t.dtype, device="meta"), args)
            return args[0].new_empty(whole[index].shape)
        if function is Tensor.new_tensor:
            return args[0].new_empty(torch.tensor(args[1], device="meta").shape)
        if function in (Tensor.__bool__, torch.allclose):
            return True
        return function(*args, **(kwargs or {}))


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(FakeTensor, "tolist", lambda truths: [True] * len(truths))  # no mode sees it
    with FakeTensorMode(), Pretended(), torch.no_grad():
        yield


def calls(gate: str, replicas: int | None) -> dict[str, Callable[[], Any]]:
    T, n, m, batch = 6, 5, 3, (4,) if replicas is None else (replicas, 4)
    alpha = 0.8 if gate == "constant" else None
    model = GatedRNN(m, n, gate, alpha=alpha, bias=True, replicas=replicas, device="meta")
    for name, weight in list(model.named_parameters()):
        setattr(model, name, torch.nn.Parameter(torch.empty(weight.shape, device="cuda")))
    u, x0, s = (torch.empty(shape, device="cuda") for shape in ((T, *batch, m), (*batch, n), (*batch, n)))
    run = model.run(u, x0)
    terms, J, delta = jacobian.terms(model, run), jacobian.blocks(model, run), torch.empty_like(run.x)
    A, B = expansion.split(terms, "leak")
    return {
        "GatedRNN": lambda: (model(u, x0), model(u)),
        "GatedRNN.run": lambda: (model.run(u, x0), model.run(u)),
        "adjoint.costates": lambda: adjoint.costates(model, run, delta),
        "adjoint.gradients": lambda: [adjoint.gradients(model, run, delta, per_sample=each) for each in (False, True)],
        "anisotropy.anisotropy_index": lambda: anisotropy.anisotropy_index(s, 2),
        "anisotropy.effective_rank": lambda: anisotropy.effective_rank(s),
        "anisotropy.energy_concentration": lambda: anisotropy.energy_concentration(s, 2),
        "anisotropy.participation_ratio": lambda: anisotropy.participation_ratio(s),
        "anisotropy.sample_matrix": lambda: anisotropy.sample_matrix(
            adjoint.gradients(model, run, delta, per_sample=True), len(batch)
        ),
        "anisotropy.update_spectrum": lambda: anisotropy.update_spectrum(J[:, 0] if replicas is None else J[:, 0, 0]),
        "expansion.orders": lambda: expansion.orders(A, B, 2),
        "expansion.orders_at": lambda: list(expansion.orders_at(A, B, 2, [2, 3])),
        "expansion.remainder": lambda: expansion.remainder(A, B, 2, 0.1),
        "expansion.remainder_bound": lambda: expansion.remainder_bound(A, B, 2, 0.1),
        "expansion.split": lambda: [expansion.split(terms, splitting) for splitting in ("leak", "gate")],
        "jacobian.blocks": lambda: jacobian.blocks(model, run),
        "jacobian.terms": lambda: jacobian.terms(model, run),
        "rates.condition": lambda: rates.condition(run, 2),
        "rates.corrected": lambda: rates.corrected(terms, 2),
        "rates.effective": lambda: rates.effective(run, 0.1, 2),
        "rates.eligibility": lambda: rates.eligibility(model, run),
        "rates.gradients": lambda: rates.gradients(model, run, rates.signal(run, delta)),
        "rates.preconditioner_condition": lambda: rates.preconditioner_condition(run, 2),
        "rates.retention": lambda: rates.retention(run, 2),
        "rates.shares": lambda: rates.shares(run),
        "rates.signal": lambda: rates.signal(run, delta),
        "rates.step": lambda: rates.step(run, delta, 0.1),
        "stability.follow": lambda: stability.follow(J, torch.empty(*batch, n, 2, device="cuda")),
        "stability.lyapunov": lambda: (stability.lyapunov(J), stability.lyapunov(J, 2)),
        "stability.retention_exponents": lambda: stability.retention_exponents(run),
        "stability.rightmost": lambda: stability.rightmost(s, s, iterations=3),
        "transport.lags": lambda: list(transport.lags(J)),
        "transport.products": lambda: [transport.products(J, lag) for lag in (0, 1, 5)],
        "transport.sensitivities": lambda: (transport.sensitivities(J), transport.sensitivities(J, memory=50_000)),
        "transport.spectra": lambda: transport.spectra(J, [1, 3]),
        "transport.spectral_norm": lambda: transport.spectral_norm(J),
    }


@pytest.mark.slow
@pytest.mark.usefixtures("pretended")
@pytest.mark.parametrize("replicas", [None, 2])
@pytest.mark.parametrize("gate", GATES)
def test_everything_stays_where_it_was(gate: str, replicas: int | None) -> None:
    for name, call in calls(gate, replicas).items():
        tensors = [leaf for leaf in tree_leaves(call()) if isinstance(leaf, Tensor)]
        assert tensors, name
        assert {tensor.device.type for tensor in tensors} == {"cuda"}, name


@pytest.mark.usefixtures("pretended")
def test_no_function_is_left_out() -> None:
    public = {
        f"{noun}.{name}"
        for noun in NOUNS
        for name, thing in vars(importlib.import_module(f"gatelr.{noun}")).items()
        if inspect.isfunction(thing) and not name.startswith("_") and thing.__module__ == f"gatelr.{noun}"
    }
    assert public - GENERAL == {name for name in calls("multi", None) if not name.startswith("GatedRNN")}


@pytest.mark.usefixtures("pretended")
def test_a_tensor_on_the_wrong_device_is_found() -> None:
    """If the pretence were lost, the tests above would find nothing."""
    there, here = torch.empty(3, 3, device="cuda"), torch.empty(3, 3, device="cpu")
    with pytest.raises(RuntimeError, match=r"on the same device|two different devices"):
        there + here
    with pytest.raises(RuntimeError, match="is set to one on cpu"):
        there[0] = here[0]


def test_make_gpu_without_one_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main() == 2
    assert capsys.readouterr().err.startswith("There is no CUDA device here")


def test_updates_are_compared_over_what_they_change() -> None:
    before = torch.tensor([1.0, 2.0])
    assert gpu._discrepancy(before + torch.tensor([0.0, 0.11]), before + torch.tensor([0.0, 0.1]), before) == (
        pytest.approx(0.1, rel=1e-5)
    )
