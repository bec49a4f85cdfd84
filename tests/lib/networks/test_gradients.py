"""The gradient at every state, by step and by lag, against autograd through a loop of torch's own cells."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from gatelr import networks
from hypothesis import given
from networks import relative
from recurrent import CELLS, ODD, Recurrent, initial, recurrents
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence


def weighted(y: Tensor | PackedSequence) -> Tensor:
    """A loss that reads every entry of an output with a weight of its own, whatever form it comes in."""
    v = y.data if isinstance(y, PackedSequence) else y
    return (torch.linspace(-1, 2, v.numel(), dtype=v.dtype).reshape(v.shape) * v.sin()).sum()


@pytest.mark.parametrize("loss", [None, weighted])
@pytest.mark.filterwarnings("ignore:the module is in training mode")
def test_gradients_at_the_initial_states_are_autograds(loss: Callable[[Any], Tensor] | None) -> None:
    @given(recurrents)
    def holds(case: Recurrent) -> None:
        check_initial(case, loss)

    holds()
    for case in ODD:
        check_initial(case, loss)
    check_initial(Recurrent("gru", layers=3, dropout=0.4, bidirectional=True, lengths="packed", B=3), loss)


def check_initial(case: Recurrent, loss: Callable[[Any], Tensor] | None) -> None:
    module = case.module()
    u, h0, told, ends = case.inputs()
    if h0 is None:
        return
    leaves = [h.clone().requires_grad_() for h in (h0 if isinstance(h0, tuple) else (h0,))]
    start = tuple(leaves) if case.kind == "lstm" else leaves[0]
    before = torch.get_rng_state()
    if told:  # the module itself takes these packed; the library's loss is then given zeros in padding
        u_packed = nn.utils.rnn.pack_padded_sequence(
            u, told["lengths"], batch_first=case.batch_first, enforce_sorted=False
        )
        packed, last = module(u_packed, start)
        output, _ = nn.utils.rnn.pad_packed_sequence(packed, case.batch_first, total_length=case.T)
    else:
        output, last = module(u, start)
    torch.set_rng_state(before)
    if loss is None:
        top = (last[0] if isinstance(last, tuple) else last)[-case.directions :]
        value = top.sum()  # the last states of the last layer, each direction's own
    else:
        value = loss(output)
    gradients = torch.autograd.grad(value, leaves)
    for direction in range(case.directions):
        costates = networks.costates(module, u, loss, h0, direction=direction, **told)
        by_lag = networks.gradient_by_lag(module, u, loss, h0, direction=direction, **told)
        for layer in range(case.layers):
            row = layer * case.directions + direction
            reference = torch.cat([g[row].reshape(case.batch, -1) for g in gradients], -1)
            scale = max(1e-300, float(costates[layer].abs().max()))
            assert float((costates[layer][0] - reference).abs().max()) <= 1e-12 * scale
            lag = by_lag[layer][ends, range(case.batch)]
            assert float((lag - reference.norm(dim=-1)).abs().max()) <= 1e-12 * scale


def loop(module: nn.RNNBase, case: Recurrent, u: Tensor) -> tuple[Tensor, list[list[Tensor]]]:
    """A stack of torch's own cells: the output, and by layer the joint state that each step hands to the next."""
    extra = {"nonlinearity": "relu"} if case.kind == "relu" else {}
    handed: list[list[Tensor]] = []
    for layer in range(case.layers):
        cell = CELLS[case.kind](u.shape[-1], case.n, bias=case.bias, dtype=case.dtype, **extra)
        cell.load_state_dict({name: module.state_dict()[f"{name}_l{layer}"] for name in cell.state_dict()})
        states, outputs = [initial(case, layer, 0).requires_grad_()], []
        for u_t in u:
            if case.kind == "lstm":
                h, c = cell(u_t, states[-1].split(case.n, -1))
                joint = torch.cat([h, c], -1)
            else:
                joint = cell(u_t, states[-1])
            states.append(joint)
            # what the layer above reads is the h that is handed on, so that its gradient counts as the state's
            outputs.append(joint[:, : case.n])
        u = torch.stack(outputs)
        handed.append(states)
    return u, handed


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("layers", [1, 3])
def test_every_lag_of_every_layer_is_autograds(kind: str, layers: int) -> None:
    case = Recurrent(kind, layers=layers, T=9, B=3, n=6)
    module = case.module()
    u, h0, _, _ = case.inputs()
    output, handed = loop(module, case, u)
    assert relative(networks.run(module, u, layers - 1, h0).x[..., : case.n], output) <= 1e-12
    states = [x for layer in handed for x in layer]
    gradients = torch.autograd.grad(weighted(output), states)
    costates = networks.costates(module, u, weighted, h0)
    by_lag = networks.gradient_by_lag(module, u, weighted, h0)
    for layer in range(layers):
        reference = torch.stack(gradients[layer * 10 : layer * 10 + 10])
        assert relative(costates[layer], reference) <= 1e-10
        assert relative(by_lag[layer], reference.flip(0).norm(dim=-1)) <= 1e-10


def test_adjoint_is_the_jacobians_transpose_at_work() -> None:
    case = Recurrent("lstm", T=6, projected=True, n=6)
    module = case.module()
    u, h0, _, _ = case.inputs()
    J = networks.blocks(module, u, h0=h0)
    (lam,) = networks.costates(module, u, None, h0)
    back = lam[-1]
    for j in range(5, -1, -1):
        back = torch.einsum("bij,bi->bj", J[j], back)
        assert relative(lam[j], back) <= 1e-12


def test_along_the_users_own_states_of_a_cell() -> None:
    cell = nn.GRUCell(3, 4, dtype=torch.float64)
    u, states = torch.randn(6, 2, 3, dtype=torch.float64), torch.randn(6, 2, 4, dtype=torch.float64)
    (lam,) = networks.costates(cell, u, weighted, states=states)
    J = networks.blocks(cell, u, states=states)
    leaf = states.clone().requires_grad_()
    (delta,) = torch.autograd.grad(weighted(leaf), leaf)
    back = torch.zeros_like(delta[0])
    for j in range(5, -1, -1):
        back = back + delta[j]
        assert relative(lam[j + 1], back) <= 1e-12
        back = torch.einsum("bij,bi->bj", J[j], back)
    assert relative(lam[0], back) <= 1e-12


def test_a_norm_does_not_vanish_before_its_gradient_does() -> None:
    """Squares of 1e-200 are zero; the norm is not."""
    rnn = nn.RNN(1, 2, bias=False, dtype=torch.float64)
    with torch.no_grad():
        rnn.weight_ih_l0.zero_()
        rnn.weight_hh_l0.copy_(torch.eye(2).double() * 1e-10)
    (by_lag,) = networks.gradient_by_lag(rnn, torch.zeros(40, 1, 1, dtype=torch.float64))
    expected = 2**0.5 * 10.0 ** (-10.0 * torch.arange(29, dtype=torch.float64))
    assert torch.allclose(by_lag[:29, 0], expected, rtol=1e-10, atol=0)
    assert not by_lag[33:].any()  # too small to count


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize(
    ("loss", "sentence"),
    [
        (lambda y: y, "got a loss of shape (5, 2, 4), expected one number as a tensor: end it with .mean() or .sum()"),
        (lambda y: 1.0, "got a loss of type float, expected one number as a tensor"),
        (lambda y: y.detach().sum(), "got a loss that does not depend on the output"),
        (lambda y: (y * torch.nan).sum(), "got NaN or infinity in the loss's gradient"),
    ],
)
def test_a_loss_that_is_none_gets_a_sentence(loss: Callable[[Any], Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        networks.gradient_by_lag(nn.GRU(3, 4), torch.zeros(5, 2, 3), loss)


@pytest.mark.usefixtures("as_installed")
def test_a_loss_is_a_function() -> None:
    with pytest.raises(TypeError, match="got a loss as an int, expected a function of the output to one number"):
        networks.gradient_by_lag(nn.GRU(3, 4), torch.zeros(5, 2, 3), 3)


def test_a_gradient_that_overflows_is_infinite_and_not_nan() -> None:
    rnn = nn.RNN(2, 3, nonlinearity="relu", bias=False, dtype=torch.float64)
    with torch.no_grad():
        for parameter in rnn.parameters():
            parameter.fill_(1e150)
    (by_lag,) = networks.gradient_by_lag(rnn, torch.ones(2, 1, 2, dtype=torch.float64), h0=torch.ones(1, 1, 3).double())
    assert by_lag[:2, 0].isfinite().all()
    (by_lag,) = networks.gradient_by_lag(rnn, torch.ones(6, 1, 2, dtype=torch.float64))
    assert by_lag[3:].isinf().all()
