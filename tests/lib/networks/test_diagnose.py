"""What a diagnosis takes, what it returns, and what it leaves as it was."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest
import torch
from gatelr import networks
from gatelr.experiments.healthy_networks import seeded
from gatelr.networks import diagnose
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

KINDS: dict[str, type[nn.RNN | nn.GRU | nn.LSTM]] = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(kind: str, *sizes: int, **options: Any) -> nn.RNNBase:
    return seeded(0, lambda: KINDS[kind](*sizes, **options))


class Deep(nn.Module):
    """Words through an embedding, an encoder, dropout and a decoder that reads the encoder's states."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.encoder = nn.Embedding(7, 4), nn.ModuleDict({"lstm": nn.LSTM(4, 6, batch_first=True)})
        self.norm, self.dropout = nn.BatchNorm1d(6), nn.Dropout(0.5)
        self.decoder, self.readout = nn.GRU(6, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, words: Tensor) -> Tensor:
        states, _ = self.encoder["lstm"](self.embedding(words))
        states = self.dropout(self.norm(states.transpose(1, 2)).transpose(1, 2))
        return self.readout(self.decoder(states)[0][:, -1])


class Last(nn.Module):
    """A readout of the last state."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.layer, self.readout = nn.GRU(3, 5, batch_first=batch_first), nn.Linear(5, 1)

    def forward(self, u: Tensor) -> Tensor:
        return self.readout(self.layer(u)[0].select(1 if self.layer.batch_first else 0, -1))


class Loop(nn.Module):
    """A loop over a cell, written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.readout = nn.LSTMCell(3, 6), nn.Linear(6, 1)

    def forward(self, u: Tensor) -> Tensor:
        h = c = u.new_zeros(u.shape[1], 6)
        for step in u:
            h, c = self.cell(step, (h, c))
        return self.readout(h)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("batch_first", [False, True])
def test_the_numbers_are_those_of_the_library(kind: str, layers: int, batch_first: bool) -> None:
    module = make(kind, 3, 5, num_layers=layers, batch_first=batch_first).double()
    u = torch.randn(12, 4, 3, generator=source(), dtype=torch.float64)
    given = u.transpose(0, 1) if batch_first else u
    diagnosis = diagnose(module, given)
    assert (diagnosis.steps, diagnosis.sequences) == (12, 4)
    assert [layer.layer for layer in diagnosis.layers] == list(range(layers))
    for index, layer in enumerate(diagnosis.layers):
        state = networks.run(module, given, index)
        assert torch.equal(layer.time_constants, networks.time_constants(state))
        assert torch.allclose(layer.budget, networks.budget(state).mean((1, 2)))
        expected = networks.gradient_by_lag(module, given)[index].norm(dim=1)[:12]
        assert torch.allclose(layer.gradient_by_lag, expected)
        assert layer.saturated.dtype == torch.bool
        assert layer.saturated.shape == layer.dead.shape == (5,)
        assert torch.allclose(layer.lyapunov, networks.lyapunov(module, given, index)[:2].mean(0))
        assert layer.kind == kind
    assert diagnosis.findings == []


def test_the_gradient_by_lag_is_that_of_the_loss() -> None:
    gru, readout = make("GRU", 3, 5).double(), seeded(1, lambda: nn.Linear(5, 2)).double()
    u, target = torch.randn(9, 4, 3, generator=source()).double(), torch.randn(4, 2, generator=source(1)).double()
    diagnosis = diagnose(gru, u, loss=lambda states, wanted: F.mse_loss(readout(states[-1]), wanted), target=target)
    h = torch.zeros(4, 5, dtype=torch.float64, requires_grad=True)
    states = [h]
    for step in u:
        states.append(gru(step.unsqueeze(0), states[-1].unsqueeze(0))[1][0])
    grads = torch.autograd.grad(F.mse_loss(readout(states[-1]), target), states[1:])
    expected = torch.stack([gradient.norm() for gradient in reversed(grads)])
    assert torch.allclose(diagnosis.layers[0].gradient_by_lag, expected, rtol=1e-10)
    constant = target.mean(0)
    assert diagnosis.baseline == pytest.approx(float((target - constant).square().mean()), rel=1e-6)


def test_a_loss_of_every_step_is_read_at_its_last() -> None:
    gru = make("GRU", 3, 5)
    u = torch.randn(9, 4, 3, generator=source())
    every = diagnose(gru, u, loss=lambda states: states.sum())
    last = diagnose(gru, u, loss=lambda states: states[-1].sum())
    assert torch.allclose(every.layers[0].gradient_by_lag, last.layers[0].gradient_by_lag)
    earlier = diagnose(gru, u, loss=lambda states: states[5].sum()).layers[0].gradient_by_lag
    whole = diagnose(gru, u[:6], loss=lambda states: states[-1].sum()).layers[0].gradient_by_lag
    assert torch.allclose(earlier[:6], whole)
    assert not earlier[6:].any()


def test_padding_and_packing_are_the_same() -> None:
    lstm = make("LSTM", 3, 5)
    u, lengths = torch.randn(9, 4, 3, generator=source()), torch.tensor([9, 4, 7, 2])
    padded = diagnose(lstm, u, lengths=lengths, loss=lambda states: states.square().sum())
    packed = diagnose(
        lstm,
        pack_padded_sequence(u, lengths, enforce_sorted=False),
        loss=lambda states: states.square().sum(),
    )
    for one, other in zip(padded.layers, packed.layers, strict=True):
        assert torch.allclose(one.gradient_by_lag, other.gradient_by_lag)
        assert torch.allclose(one.time_constants, other.time_constants)
        assert torch.allclose(one.lyapunov, other.lyapunov)


def test_every_recurrent_layer_inside_a_model_is_found_by_name() -> None:
    model = seeded(0, Deep).eval()
    words, labels = torch.randint(7, (8, 10), generator=source()), torch.randint(3, (8,), generator=source(1))
    whole = diagnose(model, words, loss=F.cross_entropy, target=labels)
    assert [layer.module for layer in whole.layers] == ["encoder.lstm", "decoder"]
    assert [layer.name for layer in whole.layers] == ["encoder.lstm, layer 0", "decoder, layer 0"]
    alone = diagnose(model.encoder["lstm"], model.embedding(words))
    assert torch.allclose(alone.layers[0].time_constants, whole.layers[0].time_constants)
    assert alone.layers[0].module == ""
    tupled = diagnose(model, (words,), loss=F.cross_entropy, target=labels)
    assert torch.equal(tupled.layers[1].gradient_by_lag, whole.layers[1].gradient_by_lag)


def test_a_loop_over_a_cell_is_a_layer() -> None:
    model = seeded(0, Loop)
    u = torch.randn(12, 8, 3, generator=source())
    [layer] = diagnose(model, u, loss=F.mse_loss, target=u[-1, :, :1]).layers
    lstm = nn.LSTM(3, 6)
    lstm.load_state_dict({f"{name}_l0": weight for name, weight in model.cell.state_dict().items()})
    [same] = diagnose(lstm, u).layers
    assert layer.module == "cell"
    assert torch.allclose(layer.time_constants, same.time_constants, rtol=1e-5)
    [bare] = diagnose(model.cell, u).layers
    assert torch.allclose(bare.time_constants, same.time_constants, rtol=1e-5)
    assert torch.allclose(bare.gradient_by_lag, same.gradient_by_lag, rtol=1e-4)


def test_both_directions_of_a_bidirectional_layer() -> None:
    module = make("GRU", 3, 5, bidirectional=True)
    u = torch.randn(9, 4, 3, generator=source())
    forward, reverse = diagnose(module, u).layers
    assert (forward.direction, reverse.direction) == ("forward", "reverse")
    assert torch.equal(reverse.time_constants, networks.time_constants(networks.run(module, u, direction=1)))
    assert reverse.gradient_by_lag[0] > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("proj_size", [0, 3])
@pytest.mark.filterwarnings("ignore:LSTM with projections")  # which torch says once, that it takes the slower way
def test_dtype_and_projection_follow(dtype: torch.dtype, proj_size: int) -> None:
    module = make("LSTM", 3, 5, num_layers=2, proj_size=proj_size).to(dtype)
    diagnosis = diagnose(module, torch.randn(9, 4, 3, generator=source(), dtype=dtype))
    for layer in diagnosis.layers:
        assert layer.time_constants.dtype == layer.gradient_by_lag.dtype == layer.lyapunov.dtype == dtype
        assert layer.saturated.shape == layer.dead.shape == (5,)


@pytest.mark.parametrize("training", [True, False])
def test_nothing_changes(training: bool) -> None:
    model = seeded(0, Deep).train(training)
    words, labels = torch.randint(7, (8, 10), generator=source()), torch.randint(3, (8,), generator=source(1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    F.cross_entropy(model(words), labels).backward()
    optimizer.step()
    kept = model.decoder.register_forward_hook(lambda *_: None)
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    before, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    hooks = [
        (len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks))
        for module in model.modules()
    ]
    modes, random = [module.training for module in model.modules()], torch.get_rng_state()
    inputs = words.clone()
    diagnosis = diagnose(
        model, words, loss=F.cross_entropy, target=labels, optimizer=optimizer, clip=1.0, window=4, lag=3
    )
    assert any("training mode" in note for note in diagnosis.notes) is training
    assert "axes-swapped" not in {finding.code for finding in diagnosis.findings}
    assert all(torch.equal(one, other) for one, other in zip(before.values(), model.state_dict().values(), strict=True))
    for name, p in model.named_parameters():
        assert p.grad is not None
        assert torch.equal(p.grad, grads[name])
        assert p.requires_grad
    after = optimizer.state_dict()
    for key, values in state["state"].items():
        assert all(torch.equal(values[name], after["state"][key][name]) for name in values)
    assert state["param_groups"] == after["param_groups"]
    assert torch.equal(random, torch.get_rng_state())
    assert modes == [module.training for module in model.modules()]
    assert torch.equal(inputs, words)
    kept.remove()
    hooks = [(a - (module is model.decoder), *rest) for (a, *rest), module in zip(hooks, model.modules(), strict=True)]
    assert hooks == [
        (len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks))
        for module in model.modules()
    ]


def test_what_a_loss_reads_beside_the_module_stays_as_it_is() -> None:
    gru, readout = make("GRU", 3, 5), seeded(1, lambda: nn.Linear(5, 1))
    u = torch.randn(9, 4, 3, generator=source())
    before = copy.deepcopy(readout.state_dict())
    diagnosis = diagnose(gru, u, loss=lambda s: readout(s[-1]).square().mean(), optimizer="adam", lr=0.01, clip=1.0)
    assert diagnosis.parameters
    assert all(p.grad is None for p in readout.parameters())
    assert all(torch.equal(before[name], value) for name, value in readout.state_dict().items())


@pytest.mark.parametrize(("T", "B"), [(16, 16), (20, 1), (12, 20)])
def test_axes_that_are_right_are_left_alone(T: int, B: int) -> None:
    u = torch.randn(T, B, 3, generator=source())
    last = seeded(0, lambda: Last(batch_first=False))
    every = make("GRU", 3, 5)
    for diagnosis in (
        diagnose(last, u, loss=F.mse_loss, target=u[-1, :, :1]),
        diagnose(every, u, loss=lambda s, wanted: F.mse_loss(s[..., :1].squeeze(), wanted), target=u[..., 0].squeeze()),
        diagnose(every, u, loss=lambda states: states.square().mean()),
        diagnose(seeded(0, lambda: Last(batch_first=True)), u.transpose(0, 1), loss=lambda said: said.square().mean()),
    ):
        assert "axes-swapped" not in {finding.code for finding in diagnosis.findings}


def test_frozen_layers_and_no_grad_are_no_obstacle() -> None:
    gru = make("GRU", 3, 5).requires_grad_(False)
    u = torch.randn(9, 4, 3, generator=source())
    with torch.no_grad():
        frozen = diagnose(gru, u, loss=lambda states: states[-1].square().mean())
    with torch.inference_mode():
        inferred = diagnose(gru, torch.randn(9, 4, 3, generator=source()), loss=lambda s: s[-1].square().mean())
    assert frozen.layers[0].gradient_by_lag[0] > 0
    assert torch.equal(frozen.layers[0].gradient_by_lag, inferred.layers[0].gradient_by_lag)


def test_the_step_is_the_optimisers_own() -> None:
    model = seeded(0, Loop)
    u = torch.randn(12, 8, 3, generator=source())
    target = u[-1, :, :1]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        F.mse_loss(model(u), target).backward()
        optimizer.step()
    diagnosis = diagnose(model, u, loss=F.mse_loss, target=target, optimizer=optimizer, clip=0.01)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer.zero_grad()
    F.mse_loss(model(u), target).backward()
    norm = float(nn.utils.clip_grad_norm_(model.parameters(), 0.01))
    optimizer.step()
    for step in diagnosis.parameters:
        taken = (model.get_parameter(step.name).detach() - before[step.name]).double().square().mean().sqrt()
        assert step.step == pytest.approx(float(taken), rel=1e-4)
        assert step.ratio == pytest.approx(step.step / step.weight)
    assert diagnosis.gradient_norms is not None
    assert len(diagnosis.gradient_norms) == 8
    assert norm <= float(diagnosis.gradient_norms.mean()) * (1 + 1e-5)  # a mean's norm is no more than the norms' mean


def test_named_optimisers_and_a_rate_alone() -> None:
    gru, u = make("GRU", 3, 5), torch.randn(9, 4, 3, generator=source())
    loss = lambda states: (states[-1] - 1).square().mean()  # noqa: E731
    named = diagnose(gru, u, loss=loss, optimizer="adam", lr=0.01)
    by_class = diagnose(gru, u, loss=loss, optimizer=torch.optim.Adam, lr=0.01)
    assert named.parameters == by_class.parameters
    plain = diagnose(gru, u, loss=loss, lr=0.1)
    assert all(step.step == pytest.approx(0.1 * step.gradient, rel=1e-3) for step in plain.parameters)


def test_the_best_constant_of_labels_is_their_entropy() -> None:
    model = seeded(0, lambda: Deep()).eval()
    words, labels = torch.randint(7, (60, 10), generator=source()), torch.arange(60) % 3 // 2
    shares = labels.bincount(minlength=3)[:2].double() / 60
    diagnosis = diagnose(model, words, loss=F.cross_entropy, target=labels)
    assert diagnosis.baseline == pytest.approx(float(-(shares * shares.log()).sum()), abs=1e-2)


def test_masking_tells_which_lags_are_used() -> None:
    gru = make("GRU", 1, 8)
    u = torch.randn(20, 32, 1, generator=source())
    used = diagnose(gru, u).used_by_lag
    assert used is not None
    assert used.shape == (20,)
    assert used[0] > 0.5 > used[5] > used[15]
    lengths = torch.full((32,), 10)
    shorter = diagnose(gru, u, lengths=lengths).used_by_lag
    assert shorter is not None
    assert shorter.shape == (10,)
    assert shorter[0] > 0.5 > shorter[5]


def test_a_model_without_a_recurrent_layer_is_looked_at_through_its_loss() -> None:
    model, u = seeded(0, lambda: nn.Linear(3, 1)), torch.randn(32, 3, generator=source())
    diagnosis = diagnose(model, u, loss=F.mse_loss, target=u[:, :1], optimizer="sgd", lr=1e-12)
    assert diagnosis.layers == []
    assert {finding.code for finding in diagnosis.findings} == {"loss-not-better", "step-small"}
    with pytest.raises(TypeError, match=r"no nn\.RNN"):
        diagnose(model, u)


def test_numbers_that_are_none_are_named() -> None:
    gru, u = make("GRU", 3, 5), torch.randn(9, 4, 3, generator=source())
    with torch.no_grad():
        gru.weight_hh_l0[0, 0] = math.nan
    [finding] = diagnose(gru, u, loss=lambda states: states.sum()).findings
    assert finding.code == "not-finite"
    assert finding.where == "the parameter weight_hh_l0"


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"lag": 0}, ValueError, "got lag=0, expected a whole number"),
        ({"window": 2.5}, ValueError, "got window=2.5"),
        ({"clip": -1.0}, ValueError, "got clip=-1.0, expected a positive number"),
        ({"lr": math.nan}, ValueError, "got lr=nan"),
        ({"target": torch.zeros(4)}, ValueError, "target without a loss"),
        ({"lengths": [9, 9]}, ValueError, "expected one for each of the 4 sequences"),
        ({"lengths": [4] * 9}, ValueError, "time and batch seem to be swapped"),
        ({"loss": lambda states: states}, ValueError, "expected one number in a tensor"),
        ({"loss": lambda states: states.detach().sum()}, ValueError, "does not depend on the output"),
        ({"loss": lambda s: s.sum(), "optimizer": "adamm", "lr": 0.1}, ValueError, "a name that torch.optim has"),
        ({"loss": lambda s: s.sum(), "optimizer": "adam"}, ValueError, "expected lr as well"),
        ({"loss": lambda s: s.sum(), "optimizer": 3, "lr": 0.1}, TypeError, "an optimiser of torch"),
    ],
)
def test_bad_input_gets_a_sentence(options: dict[str, Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        diagnose(make("GRU", 3, 5), torch.randn(9, 4, 3), **options)


@pytest.mark.usefixtures("as_installed")
def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(TypeError, match=r"expected a torch\.nn\.Module"):
        diagnose("GRU", torch.zeros(3, 2, 1))  # type: ignore[arg-type]


def test_it_prints_as_a_table_and_writes_its_page(tmp_path: Any) -> None:
    diagnosis = diagnose(make("LSTM", 3, 5), torch.randn(30, 4, 3, generator=source()), lag=25)
    text = str(diagnosis)
    assert "LSTM, layer 0" in text
    assert "memory-short" in text
    diagnosis.to_html(tmp_path / "page.html")
    assert "memory-short" in (tmp_path / "page.html").read_text()
    assert json.loads(diagnosis.to_json())["findings"][0]["code"] == "memory-short"
