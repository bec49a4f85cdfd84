"""What the benchmarks compare with computes what the library computes; else its time would say nothing."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType

import pytest
import torch
from gatelr import adjoint, jacobian, transport
from gatelr.cells import GATES, GatedRNN
from networks import Case, relative
from torch import Tensor

from benchmarks import peers
from benchmarks.peers import autograd, gru, inductor, jax_peer, loops, released

STACKED = ["autograd", "functorch", "jax_peer"]
TOLERANCE = 1e-10


@pytest.fixture
def peer(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    module = importlib.import_module(f"benchmarks.peers.{request.param}")
    if module is jax_peer:
        jax = pytest.importorskip("jax", reason="no JAX here, an optional extra: pip install 'jax[cpu]'")
        with jax.enable_x64(True):
            yield module
    elif module is released:
        if "GATELR_RELEASED" not in os.environ:
            pytest.skip("GATELR_RELEASED does not name a clone of github.com/lorenzolivi/effective-learning-rates")
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)  # its first script makes the initial state in this type
        yield module
        torch.set_default_dtype(default)
    else:
        yield module


def of_all(names: list[str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return pytest.mark.parametrize("peer", names, indirect=True)


def setting(gate: str, replicas: int | None = None) -> tuple[GatedRNN, Tensor, Tensor]:
    """A model, inputs (T, *S, B, m) and targets (*S, B, o)."""
    case = Case(gate, n=5, m=2, T=7, batch=(3,), replicas=replicas, bias=False, seed=3)
    model, (u, _) = case.model(), case.inputs()
    if gate == "constant":
        model.alpha = (0.3,)  # the released network has one for all neurons
    target = torch.randn(*u.shape[1:-1], 2, dtype=u.dtype, generator=torch.Generator().manual_seed(4))
    return model, u, target


def tensor(array: object) -> Tensor:
    return array.detach() if isinstance(array, Tensor) else torch.from_dlpack(array)


@of_all([*STACKED, "released"])
@pytest.mark.parametrize("replicas", [None, 1, 3])
@pytest.mark.parametrize("gate", GATES)
def test_a_training_step_has_the_losses_and_gradients_of_the_library(
    peer: ModuleType, gate: str, replicas: int | None
) -> None:
    model, u, target = setting(gate, replicas)
    step = peer.training_step(model, u, target, lr=1.0)
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    for _ in range(2):  # the second shows that no gradient is left over from the first
        before = {name: weight.clone() for name, weight in step.weights().items()}
        losses = (model(u) - target).square().mean((-2, -1))
        optimiser.zero_grad()
        losses.sum().backward()
        optimiser.step()
        found = tensor(step())
        assert found.shape == losses.shape
        assert relative(found, losses) <= TOLERANCE
        after = step.weights()
        assert set(after) == {name for name, _ in model.named_parameters()}
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            assert relative(before[name] - after[name], parameter.grad) <= TOLERANCE, name


@of_all([*STACKED, "released"])
@pytest.mark.parametrize("gate", GATES)
def test_per_sample_gradients(peer: ModuleType, gate: str) -> None:
    model, u, target = setting(gate)
    rows = tensor(peer.per_sample(model, u, target)())
    with torch.no_grad():
        run = model.run(u)
        error = 2 / target.shape[-1] * (run.x[-1] @ model.W_o.T - target)
        delta = torch.zeros_like(run.x)
        delta[-1] = error @ model.W_o
        expected = adjoint.gradients(model, run, delta, per_sample=True)
        expected["W_o"] = error.unsqueeze(-1) * run.x[-1].unsqueeze(-2)
    if peer is released:
        parts = rows.split([p.numel() for p in model.parameters()], -1)
        columns = zip(model.named_parameters(), parts, strict=True)
        found = {name: part.unflatten(-1, p.shape) for (name, p), part in columns}
    else:
        found = peers.named_rows(model, rows)
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        assert relative(found[name], gradient) <= TOLERANCE, name


@of_all(STACKED)
@pytest.mark.parametrize("gate", GATES)
def test_jacobian_blocks(peer: ModuleType, gate: str) -> None:
    model, u, _ = setting(gate)
    with torch.no_grad():
        expected = jacobian.blocks(model, model.run(u))
    found = tensor(peer.jacobian_blocks(model, u)())
    assert found.shape == expected.shape
    assert relative(found, expected) <= TOLERANCE


@of_all(["released"])
@pytest.mark.parametrize("gate", GATES)
def test_the_released_blocks_read_the_state_after_the_update(peer: ModuleType, gate: str) -> None:
    model, u, _ = setting(gate)
    with torch.no_grad():
        run = model.run(u)
        late = jacobian.blocks(model, run._replace(x_prev=run.x))
    found = torch.stack(peer.jacobian_blocks(model, u)())
    assert relative(found, late) <= TOLERANCE
    if gate in ("scalar", "multi"):
        assert relative(found, jacobian.blocks(model, run)) > 1e-3


@of_all(["released"])
def test_the_released_sensitivities_have_their_shape(peer: ModuleType) -> None:
    model, u, _ = setting("multi")
    with torch.no_grad():
        J = jacobian.blocks(model, model.run(u))
        assert peer.sensitivities(J)().shape == (3, 7, 7)


@pytest.mark.parametrize("norm", [loops.by_svdvals, loops.by_matrix_norm])
def test_sensitivities(norm: Callable[[Tensor], Tensor]) -> None:
    model, u, _ = setting("multi")
    with torch.no_grad():
        J = jacobian.blocks(model, model.run(u))
        assert relative(loops.sensitivities(J, norm=norm)(), transport.sensitivities(J)) <= TOLERANCE


@of_all(STACKED)
def test_a_gate_for_each_neuron(peer: ModuleType) -> None:
    model, u, target = setting("constant", replicas=2)
    model.alpha = (0.1, 0.3, 0.5, 0.7, 0.9)
    losses = (model(u) - target).square().mean((-2, -1))
    assert relative(tensor(peer.training_step(model, u, target, lr=0.1)()), losses) <= TOLERANCE


@of_all(["jax_peer"])
def test_jax_refuses_float64_where_it_would_round(peer: ModuleType) -> None:
    import jax

    model, u, target = setting("multi")
    with jax.enable_x64(False):
        with pytest.raises(ValueError, match=r"got a model in torch.float64, but JAX would compute in float32"):
            peer.training_step(model, u, target, lr=0.1)


@pytest.mark.slow
# PyTorch's compiler runs into warnings of PyTorch
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_a_compiled_update_has_the_losses_and_weights_of_autograd(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the C++ is compiled here: that takes many seconds, and the trial run of the harness has it."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    model, u, target = setting("multi", replicas=2)
    step, plain = inductor.training_step(model, u, target, lr=1.0), autograd.training_step(model, u, target, lr=1.0)
    assert relative(tensor(step()), tensor(plain())) <= TOLERANCE
    for name, weight in plain.weights().items():
        assert relative(step.weights()[name], weight) <= TOLERANCE, name
    assert step.compile_seconds is not None
    assert step.compile_seconds > 0


@pytest.mark.parametrize("replicas", [None, 2])
def test_a_gru_of_the_same_size_trains(replicas: int | None) -> None:
    model, u, target = setting("multi", replicas)
    step = gru.training_step(model, u, target, lr=0.1)
    first, later = tensor(step()), tensor(step())
    assert first.shape == (() if replicas is None else (replicas,))
    assert (later < first).all()


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model, u, target = setting("multi")
    monkeypatch.setitem(sys.modules, "jax", None)
    jax_peer._jax.cache_clear()
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'jax\[cpu\]'"):
        jax_peer.training_step(model, u, target, lr=0.1)
    monkeypatch.setenv("GATELR_RELEASED", "nowhere")
    released.script.cache_clear()
    with pytest.raises(FileNotFoundError, match="expected the path of a clone of github"):
        released.training_step(model, u, target, lr=0.1)
    monkeypatch.setenv("CXX", "no-compiler")
    with pytest.raises(FileNotFoundError, match="there is no no-compiler here"):
        inductor.training_step(model, u, target, lr=0.1)


def test_what_the_peers_cannot_do_is_refused() -> None:
    replicated, u, target = setting("multi", replicas=2)
    with pytest.raises(ValueError, match="expected none: pass replicas one by one"):
        autograd.per_sample(replicated, u, target)
    biased = GatedRNN(2, 5, "multi", bias=True)
    with pytest.raises(ValueError, match="expected bias=False"):
        autograd.training_step(biased, u, target, lr=0.1)
