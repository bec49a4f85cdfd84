"""The record of a run is the module's own, the module stays as it was, and what does not fit gets a sentence."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from typing import Any

import pytest
import torch
from gatelr import networks
from gatelr.networks.state import reverse
from hypothesis import given
from networks import relative
from recurrent import CELLS, KINDS, Recurrent, alone, and_the_odd, below, called, recurrents
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.rnn import pack_sequence


@and_the_odd
@given(recurrents)
def test_states_are_the_modules_own_outputs(case: Recurrent) -> None:
    module = case.module()
    u, h0, told, ends = case.inputs()
    for layer in range(case.layers):
        output = below(module, case, layer + 1) if layer + 1 < case.layers else called(module, case)[0]
        for direction in range(case.directions):
            state = networks.run(module, u, layer, h0, direction=direction, **told)
            h = state.x[..., : case.p]
            h = reverse(h, state.lengths) if direction else h
            own = output[..., direction * case.p : (direction + 1) * case.p]
            assert float((h[: len(own)] - own).abs().max()) <= 1e-12
            assert not h[max(ends) :].any()
            reached = below(module, case, layer)
            seen = reverse(state.u, state.lengths) if direction else state.u
            for b, end in enumerate(ends):
                assert float((seen[:end, b] - reached[:end, b]).abs().max()) <= 1e-12
                assert not seen[end:, b].any()
            if case.kind == "lstm":  # the last cell is handed out, too
                last = called(module, case)[1][1][layer * case.directions + direction].reshape(case.batch, -1)
                ours = torch.stack([state.x[end - 1, b, case.p :] for b, end in enumerate(ends)])
                assert float((ours - last).abs().max()) <= 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_fields_say_what_the_step_does(kind: str) -> None:
    """The new state of a unit is what it retains of the old and what is written of the candidate."""
    case = Recurrent(kind, lengths="padded", B=3)
    u, h0, told, ends = case.inputs()
    state = networks.run(case.module(), u, h0=h0, **told)
    old, new = (v[..., case.p :] if kind == "lstm" else v for v in (state.x_prev, state.x))
    assert relative(state.retained * old + state.written * state.candidate, new) <= 1e-12
    assert set(state.gates) == set({"gru": "rz", "lstm": "ifo"}.get(kind, ""))
    assert state.kind == {"gru": "GRU", "lstm": "LSTM"}.get(kind, "RNN")
    assert torch.equal(state.ends(), torch.tensor(ends))
    padding = ~state.valid()
    assert int(padding.sum()) == sum(case.T - end for end in ends) > 0
    for v in (state.u, state.x_prev, state.x, state.candidate, state.written, state.retained, *state.gates.values()):
        assert not v[padding].any()
    assert torch.equal(state.between(1, 3).x, state.x[1:3])
    assert torch.equal(state.between(1, 3).ends(), (torch.tensor(ends) - 1).clamp(0, 2))
    last = torch.stack([state.x[end - 1, b] for b, end in enumerate(ends)])
    assert torch.equal(state.by_lag().x[0], last)


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("batched", [True, False])
def test_a_loop_over_a_cell(kind: str, batched: bool) -> None:
    extra = {"nonlinearity": "relu"} if kind == "relu" else {}
    cell = CELLS[kind](3, 4, dtype=torch.float64, **extra)
    shape = (2,) if batched else ()
    u = [torch.randn(*shape, 3, dtype=torch.float64) for _ in range(5)]
    pair = kind == "lstm"
    h = (
        tuple(torch.randn(*shape, 4, dtype=torch.float64) for _ in range(2))
        if pair
        else torch.randn(*shape, 4).double()
    )
    start, states = h, []
    for u_t in u:
        h = cell(u_t, h)
        states.append(h)
    joint = torch.stack([torch.cat(s, -1) if pair else s for s in states]).reshape(5, len(shape) * 2 or 1, -1)
    state = networks.run(cell, torch.stack(u), h0=start)
    assert relative(state.x, joint) <= 1e-12
    assert torch.equal(networks.run(cell, u, h0=start).x, state.x)  # a list of steps is as good

    # along states of the user's own, here with noise put in after each step: evaluated where the loop was
    noisy = [tuple(part + 0.1 for part in s) if pair else s + 0.1 for s in states]
    along = networks.run(cell, u, h0=start, states=noisy)
    assert torch.equal(along.x, joint + 0.1)
    J = networks.blocks(cell, u, h0=start, states=noisy)
    for t in range(5):
        lone = networks.blocks(cell, u[t].unsqueeze(0), h0=start if t == 0 else noisy[t - 1])
        assert relative(J[t], lone[0]) <= 1e-14
    as_tensors = tuple(map(torch.stack, zip(*noisy, strict=True))) if pair else torch.stack(noisy)
    assert torch.equal(networks.blocks(cell, u, h0=start, states=as_tensors), J)


@pytest.mark.parametrize("lengths", ["none", "padded", "packed"])
@pytest.mark.parametrize("kind", ["tanh", "gru", "lstm"])
def test_dropout_is_drawn_as_the_modules_next_call_draws_it(kind: str, lengths: str) -> None:
    case = Recurrent(kind, layers=3, dropout=0.4, bidirectional=True, lengths=lengths, T=6, B=3)
    module = case.module()
    u, h0, told, _ = case.inputs()
    before = torch.get_rng_state()
    with pytest.warns(UserWarning, match=re.escape("training mode, so that dropout between its layers is drawn")):
        state = networks.run(module, u, 2, h0, **told)
    assert torch.equal(torch.get_rng_state(), before)
    output = called(module, case)[0]
    assert float((state.x[: len(output), :, : case.p] - output[..., : case.p]).abs().max()) <= 1e-12
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        networks.run(module, u, 0, h0, **told)  # below it there is no dropout
        module.eval()
        state = networks.run(module, u, 2, h0, **told)
    output = called(module, case)[0]
    assert float((state.x[: len(output), :, : case.p] - output[..., : case.p]).abs().max()) <= 1e-12


def test_nothing_in_the_module_changes() -> None:
    case = Recurrent("lstm", layers=2, dropout=0.5, bidirectional=True)
    module = case.module()
    calls: list[object] = []
    module.register_forward_hook(lambda *_: calls.append("after"))
    module.register_forward_pre_hook(lambda *_: calls.append("before"))
    module.weight_hh_l0.requires_grad_(False)
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    weights = {name: value.clone() for name, value in module.state_dict().items()}
    u, h0, _, _ = case.inputs()
    u.requires_grad_()
    rng, mode, hooks = torch.get_rng_state(), module.training, len(module._forward_hooks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        J = networks.blocks(module, u, 1, h0)
        networks.gradient_by_lag(module, u, lambda y: (y * torch.rand(1)).sum(), h0)
        networks.lyapunov(module, u, 1, h0)
        networks.sensitivities(module, u, [1, 2], 1, h0)
    assert not J.requires_grad
    assert not calls
    assert module.training is mode
    assert len(module._forward_hooks) == hooks
    assert torch.equal(torch.get_rng_state(), rng)
    assert u.grad is None
    assert not module.weight_hh_l0.requires_grad
    assert module.weight_hh_l1.requires_grad
    for name, parameter in module.named_parameters():
        assert torch.equal(parameter, weights[name])
        assert torch.equal(parameter.grad, torch.ones_like(parameter))


def test_weights_are_those_that_the_next_call_uses() -> None:
    """Normed, pruned and spectrally normed weights are made anew at each call."""
    case = Recurrent("gru", n=6)
    u, h0, _, _ = case.inputs()

    def deviation(module: nn.Module) -> float:
        ours = networks.run(module, u, h0=h0).x
        return relative(ours, module(u, h0)[0])

    module = case.module()
    parametrizations.weight_norm(module, "weight_hh_l0")
    with torch.no_grad():
        module.parametrizations.weight_hh_l0.original0.mul_(2)
    assert deviation(module) <= 1e-12

    module = case.module()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still in use
        nn.utils.weight_norm(module, "weight_hh_l0")
    with torch.no_grad():
        module.weight_hh_l0_g.mul_(2)  # the attribute is stale until the next call
    assert deviation(module) <= 1e-12

    module = case.module()
    prune.random_unstructured(module, "weight_hh_l0", amount=0.5)
    with torch.no_grad():
        module.weight_hh_l0_orig.mul_(2)
    assert deviation(module) <= 1e-12

    module = case.module()
    parametrizations.spectral_norm(module, "weight_hh_l0")
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    networks.run(module, u, h0=h0)
    assert all(torch.equal(value, buffers[name]) for name, value in module.named_buffers())


def test_one_layer_of_a_stack_equals_that_layer_alone() -> None:
    case = Recurrent("gru", layers=3)
    module = case.module()
    u, h0, _, _ = case.inputs()
    reached = below(module, case, 2).detach()
    lone = networks.blocks(alone(module, case, 2, 0), reached, h0=h0[2:])
    assert relative(networks.blocks(module, u, 2, h0), lone) <= 1e-14


def test_float32_stays_float32() -> None:
    case = Recurrent("lstm", dtype=torch.float32, n=6)
    u, h0, _, _ = case.inputs()
    J = networks.blocks(case.module(), u, h0=h0)
    assert J.dtype == torch.float32
    double = networks.blocks(case.module().double(), u.double(), h0=tuple(part.double() for part in h0))
    assert relative(J.double(), double) <= 1e-5


GRU = nn.GRU(3, 4, 2)
U = torch.zeros(5, 2, 3)
LSTM = nn.LSTM(3, 4)
WRONG: list[tuple[type[Exception], str, Any, Any, dict[str, Any]]] = [
    (TypeError, "got Linear, expected nn.RNN, nn.GRU, nn.LSTM or one of their cells", nn.Linear(3, 4), U, {}),
    (TypeError, "pass the recurrent layer inside it, module.1.0", nn.Sequential(nn.Tanh(), nn.Sequential(GRU)), U, {}),
    (TypeError, "got type, expected nn.RNN", nn.GRU, U, {}),
    (TypeError, "got u in torch.int64, expected torch.float32 as the weights: embed whole numbers", GRU, U.long(), {}),
    (TypeError, "got u of type ndarray, expected a tensor", GRU, U.numpy(), {}),
    (ValueError, "got u in torch.float64 on cpu, expected torch.float32 on cpu as the weights", GRU, U.double(), {}),
    (ValueError, "got inputs of width 4, expected 3 as the module's input_size", GRU, torch.zeros(5, 2, 4), {}),
    (ValueError, "got u of shape (5,), expected (T, batch, m) or (T, m)", GRU, torch.zeros(5), {}),
    (ValueError, "got u of shape (0, 2, 3)", GRU, torch.zeros(0, 2, 3), {}),
    (ValueError, "got NaN or infinity in u", GRU, U * torch.nan, {}),
    (ValueError, "got lengths=6, expected 1 to 5", GRU, U, {"lengths": [6, 1]}),
    (ValueError, "got lengths=0, expected 1 to 5", GRU, U, {"lengths": torch.tensor([5, 0])}),
    (ValueError, "got lengths [3], expected 2, one for each sequence of the batch", GRU, U, {"lengths": [3]}),
    (TypeError, "got lengths=3.0, expected a whole number", GRU, U, {"lengths": [3.0, 1]}),
    (TypeError, "got lengths=True, expected a whole number", GRU, U, {"lengths": [True, 1]}),
    (ValueError, "got lengths beside a PackedSequence", GRU, pack_sequence([U[:, 0]]), {"lengths": [5]}),
    (ValueError, "got layer=2, expected 0 to 1", GRU, U, {"layer": 2}),
    (ValueError, "got layer=-1, expected 0 to 1", GRU, U, {"layer": -1}),
    (TypeError, "got layer=True, expected a whole number", GRU, U, {"layer": True}),
    (TypeError, "got layer=1.0, expected a whole number", GRU, U, {"layer": 1.0}),
    (ValueError, "got direction=1, expected 0 to 0: only a bidirectional module", GRU, U, {"direction": 1}),
    (ValueError, "got h0 of shape (1, 2, 4), expected (2, 2, 4)", GRU, U, {"h0": torch.zeros(1, 2, 4)}),
    (TypeError, "got h0 of type tuple, expected one tensor", GRU, U, {"h0": (torch.zeros(2, 2, 4),) * 2}),
    (TypeError, "got h0 of type Tensor, expected the pair (h0, c0)", LSTM, U, {"h0": torch.zeros(1, 2, 4)}),
    (ValueError, "got NaN or infinity in h0", GRU, U, {"h0": torch.full((2, 2, 4), torch.inf)}),
    (ValueError, "got states for nn.GRU, expected them for a cell alone", GRU, U, {"states": torch.zeros(5, 2, 4)}),
    (ValueError, "expected (5, 2, 4), one after each step", nn.GRUCell(3, 4), U, {"states": torch.zeros(4, 2, 4)}),
    (ValueError, "expected 0 to 0", nn.GRUCell(3, 4), U, {"layer": 1}),
    (TypeError, "got weights in torch.float16, expected float32 or float64", nn.GRU(3, 4).half(), U.half(), {}),
]


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize(("error", "sentence", "module", "u", "told"), WRONG, ids=[each[1] for each in WRONG])
def test_what_does_not_fit_gets_a_sentence(
    error: type[Exception], sentence: str, module: Any, u: Any, told: dict[str, Any]
) -> None:
    for call in (networks.run, networks.terms, networks.blocks):
        with pytest.raises(error, match=re.escape(sentence)) as raised:
            call(module, u, **told)
        assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("as_installed")
def test_weights_that_are_not_finite_are_named() -> None:
    gru = nn.GRU(3, 4)
    with torch.no_grad():
        gru.weight_hh_l0[0, 0] = torch.nan
    with pytest.raises(
        ValueError, match="got NaN or infinity in weight_hh_l0, expected finite numbers: load an earlier"
    ):
        networks.run(gru, U)


@pytest.mark.slow
def test_importing_it_needs_torch_alone() -> None:
    code = (
        "import sys; import gatelr.networks; from gatelr import networks; networks.run; "
        "assert not {'pandas', 'scipy', 'matplotlib', 'sympy.physics'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
