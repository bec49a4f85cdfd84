"""Each finding names the fault that was planted, with its number, and nothing where there is none."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from gatelr.experiments.diagnosis_trials import STRENGTHS, fault_row, healthy_row
from gatelr.experiments.healthy_networks import seeded
from gatelr.experiments.planted_faults import FAULTS, Readout
from gatelr.networks import diagnose, remedies
from gatelr.networks.diagnosis import CODES, Finding
from torch import nn
from torch.nn import functional as F


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def planted(fault: str, strength: str, seed: int) -> Finding:
    what = FAULTS[fault]
    made = what.plant(seed, what.strengths[STRENGTHS.index(strength)])
    [first, *_] = [f for f in diagnose(made.module, made.u, **made.options).findings if f.code == what.code]
    return first


@pytest.mark.parametrize("fault", FAULTS)
def test_a_medium_fault_is_found_and_says_all_that_it_should(fault: str) -> None:
    finding = planted(fault, "medium", 11)
    assert finding.severity in ("note", "warning", "error")
    assert finding.sentence.endswith(".")
    assert finding.remedy.endswith(".")
    assert finding.limits.endswith(".")
    assert math.isfinite(finding.value)
    assert finding.code in CODES


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "seed"), list(product(FAULTS, [21, 22])))
def test_a_strong_fault_is_found_on_other_seeds(fault: str, seed: int) -> None:
    assert fault_row(fault, "strong", seed)["found"] == 1


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_network_that_has_learned_has_none(kind: str) -> None:
    row = healthy_row("next value of a wave", kind, 8, 31)
    assert row["healthy"] == 1
    assert row["findings"] == ""


def test_the_number_of_a_clipped_step_is_norm_over_threshold() -> None:
    assert planted("tight clip", "medium", 12).value == pytest.approx(100.0, rel=1e-3)


def test_one_sequence_far_above_the_others_passes_a_loose_threshold() -> None:
    model, u = seeded(0, lambda: Readout(nn.GRU(3, 16))), torch.randn(20, 32, 3, generator=source())
    target = model(u).detach() + 1e-3
    target[5] += 100.0
    named = [f for f in diagnose(model, u, loss=F.mse_loss, target=target, clip=1e3).findings if f.code == "clip-loose"]
    assert len(named) == 1
    assert named[0].value == pytest.approx(1e5, rel=0.5)  # the gradient of a squared error goes with the error
    assert named[0].evidence["norm"] < named[0].evidence["clip"]
    tight = diagnose(model, u, loss=F.mse_loss, target=target, clip=1e-3 * named[0].evidence["norm"])
    assert "clip-loose" not in {f.code for f in tight.findings}


def test_the_number_of_a_large_step_is_step_over_weight() -> None:
    model = seeded(0, lambda: Readout(nn.GRU(3, 16)))
    u = torch.randn(20, 32, 3, generator=source())
    lr = 0.5
    [finding] = [
        f
        for f in diagnose(model, u, loss=F.mse_loss, target=u[-1, :, :1], optimizer="adam", lr=lr).findings
        if f.code == "step-large"
    ]
    weight = model.get_parameter(finding.where).detach().square().mean().sqrt()
    assert finding.value == pytest.approx(lr / float(weight), rel=1e-2)  # Adam's first step is the rate


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_the_number_of_a_saturated_gate_is_the_share_of_units(share: float) -> None:
    lstm = seeded(0, lambda: nn.LSTM(3, 16))
    with torch.no_grad():
        lstm.bias_hh_l0[48 : 48 + round(16 * share)] = -12.0
    u = torch.randn(20, 8, 3, generator=source())
    diagnosis = diagnose(lstm, u)
    [finding] = diagnosis.findings
    assert finding.code == "gates-saturated"
    assert finding.where == "LSTM, layer 0, gate o"
    assert finding.value == share
    assert diagnosis.layers[0].saturated.double().mean() == share
    assert "the cell shows nothing" in finding.sentence


def test_dead_units_are_counted_and_named() -> None:
    gru = seeded(0, lambda: nn.GRU(3, 16))
    with torch.no_grad():
        for weight in gru.parameters():
            for block in weight.split(16):
                block[[3, 7]] = 0.0
    u = torch.randn(20, 8, 3, generator=source())
    [finding] = diagnose(gru, u).findings
    assert (finding.code, finding.value) == ("units-dead", 2.0)
    assert ": 3, 7." in finding.sentence
    remedies.reset_dead_units(gru, [3, 7], generator=source(1))
    assert diagnose(gru, u).findings == []


def test_an_explosion_is_mended_by_orthogonal_weights() -> None:
    what = FAULTS["explosion"]
    made = what.plant(13, 4.0)
    [finding] = diagnose(made.module, made.u).findings
    assert finding.code == "exploding-and-vanishing"
    assert finding.value == float(diagnose(made.module, made.u).layers[0].lyapunov[0])
    remedies.orthogonal_recurrent(made.module, 1.0, generator=source(1))
    assert diagnose(made.module, made.u).findings == []


@pytest.mark.parametrize("way", ["one", "other", "both"])
def test_a_bias_that_is_set_in_one_layer_only_is_seen_after_training(way: str) -> None:
    lstm = seeded(0, lambda: nn.LSTM(1, 8, num_layers=2))
    with torch.no_grad():
        if way in ("one", "both"):
            lstm.bias_ih_l1[8:16] = 1.0
        if way in ("other", "both"):
            lstm.bias_hh_l1[8:16] = 1.0
    model = seeded(1, lambda: Readout(lstm))
    optimizer, data = torch.optim.Adam(model.parameters(), lr=1e-2), source(2)
    for _ in range(40):
        u = torch.randn(8, 16, 1, generator=data)
        optimizer.zero_grad()
        F.mse_loss(model(u), u[-3]).backward()
        optimizer.step()
    u = torch.randn(8, 16, 1, generator=data)
    found = {f.code: f for f in diagnose(lstm, u).findings}
    assert found["forget-bias-uneven"].value == 1.0
    assert ("forget-bias-doubled" in found) is (way == "both")
    if way == "both":
        both = remedies.keep_biases(lstm, 1)
        assert both is not None
        assert found["forget-bias-doubled"].value == pytest.approx(float((both[0] + both[1]).mean()))
    remedies.set_forget_bias(lstm, 1.0)
    assert diagnose(lstm, u).findings == []


def test_a_lag_is_found_in_what_the_network_gets_wrong() -> None:
    made = FAULTS["hidden lag"].plant(14, 20.0)
    diagnosis = diagnose(made.module, made.u, **made.options)
    assert diagnosis.lag == 20
    [finding] = [f for f in diagnosis.findings if f.code == "memory-short"]
    assert "inputs 20 steps back explain" in finding.sentence
    assert finding.value < 20


def test_a_window_that_is_shorter_than_the_lag_is_named_whatever_the_gradient() -> None:
    rnn = seeded(0, lambda: nn.RNN(3, 16))
    u = torch.randn(40, 8, 3, generator=source())
    codes = {f.code for f in diagnose(rnn, u, lag=20, window=8).findings}
    assert codes == {"memory-short", "window-short"}
