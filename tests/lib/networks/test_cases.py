"""What people who train recurrent networks ask: the symptom appears, a finding names it, the remedy removes it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from gatelr import tasks
from gatelr.experiments.healthy_networks import seeded
from gatelr.experiments.remedy_trials import OwnTimeConstants, Reader
from gatelr.networks import diagnose, remedies
from gatelr.networks.diagnosis import Diagnosis, Finding
from gatelr.networks.diagnosis.evidence import left_at
from torch import Tensor, nn
from torch.nn import functional as F

Draw = Callable[[torch.Generator], tuple[Tensor, Tensor]]


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def finding(diagnosis: Diagnosis, code: str) -> Finding:
    [named] = [finding for finding in diagnosis.findings if finding.code == code]
    assert all((named.sentence, named.remedy, named.limits))
    return named


def codes(diagnosis: Diagnosis) -> set[str]:
    return {finding.code for finding in diagnosis.findings}


def train(
    model: nn.Module, draw: Draw, loss: Callable[[Tensor, Tensor], Tensor], steps: int, **settings: float
) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.get("lr", 1e-2))
    data = source(1)
    for _ in range(steps):
        optimizer.zero_grad()
        u, target = draw(data)
        loss(model(u), target).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


# 1 — "My LSTM's cell gradient should explode; it fades."


def test_a_cell_gradient_that_fades_is_told_by_its_forget_gate() -> None:
    lstm = seeded(0, lambda: nn.LSTM(3, 32))
    remedies.set_forget_bias(lstm, math.log(0.81 / 0.19))
    with torch.no_grad():
        lstm.weight_hh_l0 *= 0.3
    u = torch.randn(20, 8, 3, generator=source())

    def left() -> float:
        c0 = torch.zeros(1, 8, 32, requires_grad=True)
        c1 = lstm(u[:1], (torch.zeros(1, 8, 32), c0))[1][1]
        c20 = lstm(u, (torch.zeros(1, 8, 32), c0))[1][1]
        one, twenty = (torch.autograd.grad(c.sum(), c0)[0].norm() for c in (c1, c20))
        return float(twenty / one)

    faded = left()
    assert faded < 0.05  # the symptom

    diagnosis = diagnose(lstm, u, lag=20)
    named = finding(diagnosis, "memory-short")
    assert named.evidence["mean retention"] == pytest.approx(faded ** (1 / 19), abs=0.02)  # 0.81
    assert named.evidence["median time constant"] == pytest.approx(-1 / math.log(0.81), rel=0.1)  # about 5 steps
    assert named.evidence["bias that holds the lag"] == pytest.approx(math.log(20), abs=0.05)
    assert named.evidence["bias now"] == pytest.approx(math.log(0.81 / 0.19), abs=1e-5)
    assert f"keeps {named.evidence['mean retention']:.3g} a step" in named.sentence

    remedies.set_timescales(lstm, (1, 20))
    assert left() > 3 * faded
    assert codes(diagnose(lstm, u, lag=20)) == set()


# 2 — "Adding problem, error will not go below 0.04."


def adding(data: torch.Generator) -> tuple[Tensor, Tensor]:
    u, target = tasks.adding(40, 64, data, n_inputs=2)
    return u, target / 2


@pytest.mark.slow
def test_an_error_that_stays_is_the_constants_and_the_gradient_ends() -> None:
    layer = seeded(0, lambda: nn.LSTM(2, 2, num_layers=3))
    model = seeded(0, lambda: Reader(layer, 1))
    optimizer, data = torch.optim.SGD(model.parameters(), lr=0.5), source(1)
    for _ in range(60):
        optimizer.zero_grad()
        u, target = adding(data)
        F.mse_loss(model(u), target).backward()
        optimizer.step()
    u, target = (torch.cat(parts, -2) for parts in zip(*(adding(source(2 + k)) for k in range(4)), strict=True))
    error = float(F.mse_loss(model(u), target).detach())
    assert error == pytest.approx(1 / 24, rel=0.15)  # the symptom, 0.0417

    diagnosis = diagnose(model, u, loss=F.mse_loss, target=target, lag=20)
    named = finding(diagnosis, "loss-not-better")
    assert diagnosis.baseline == pytest.approx(float(target.var(correction=0)), rel=1e-3)
    assert named.value == pytest.approx(error / float(target.var(correction=0)), rel=1e-3)
    assert finding(diagnosis, "memory-short").value < 20
    assert named.evidence["reach"] < 20

    model = seeded(0, lambda: Reader(nn.GRU(2, 24), 1))
    remedies.set_timescales(model, (1, 40))
    train(model, adding, F.mse_loss, 250, lr=2e-2)
    assert {"loss-not-better", "memory-short"}.isdisjoint(
        codes(diagnose(model, u, loss=F.mse_loss, target=target, lag=20))
    )


# 3 — "By rows 98 %, by pixels 40 %."


def rows(data: torch.Generator) -> tuple[Tensor, Tensor]:
    u, target = tasks.digits(64, data, split="train")
    return u.view(8, 8, 64).transpose(1, 2).contiguous(), target


def pixels(data: torch.Generator) -> tuple[Tensor, Tensor]:
    return tuple(tasks.digits(64, data, split="train"))  # type: ignore[return-value]


def accuracy(model: nn.Module, draw: Draw) -> float:
    u, target = draw(source(99))
    with torch.no_grad():
        return float((model(u).argmax(-1) == target).double().mean())


@pytest.mark.slow
def test_pixels_that_are_not_learned_lie_beyond_the_gradient() -> None:
    by_rows, by_pixels, mended = (seeded(0, lambda m=m: Reader(nn.LSTM(m, 32), 10)) for m in (8, 1, 1))
    remedies.set_timescales(mended, (1, 64))
    u, target = pixels(source(7))
    before = diagnose(by_pixels, u, loss=F.cross_entropy, target=target, lag=48)
    assert finding(before, "memory-short").value < 48
    assert "memory-short" not in codes(diagnose(mended, u, loss=F.cross_entropy, target=target, lag=48))

    for model, draw in ((by_rows, rows), (by_pixels, pixels), (mended, pixels)):
        train(model, draw, F.cross_entropy, 150)
    assert accuracy(by_rows, rows) > accuracy(by_pixels, pixels) + 0.3  # the symptom
    after = diagnose(by_pixels, u, loss=F.cross_entropy, target=target, lag=48)
    reaches = [left_at(made.layers[0].gradient_by_lag, 48) for made in (before, after)]
    assert reaches[0] == pytest.approx(finding(before, "memory-short").evidence["gradient left at the lag"])
    assert reaches[0] < 0.05 < reaches[1]  # what it learned, it learned by reaching back
    assert accuracy(mended, pixels) > accuracy(by_pixels, pixels) + 0.1
    assert "memory-short" not in codes(diagnose(mended, u, loss=F.cross_entropy, target=target, lag=48))


# 4 — "Accuracy 11 %, loss stays at 2."


def samples_first(data: torch.Generator) -> tuple[Tensor, Tensor]:
    u, target = rows(data)
    return u.transpose(0, 1).contiguous(), target


@pytest.mark.slow
def test_swapped_axes_are_suspected_and_shown() -> None:
    swapped = seeded(0, lambda: Reader(nn.LSTM(8, 32), 10, time=1))
    mended = seeded(0, lambda: Reader(nn.LSTM(8, 32, batch_first=True), 10, time=1))
    for model in (swapped, mended):
        train(model, samples_first, F.cross_entropy, 120)
    assert accuracy(swapped, samples_first) < 0.5 < accuracy(mended, samples_first)  # the symptom
    u, target = samples_first(source(7))
    named = finding(diagnose(swapped, u, loss=F.cross_entropy, target=target), "axes-swapped")
    order = torch.arange(64).roll(32)
    with torch.no_grad():
        said, again = swapped(u)[order], swapped(u[order])
    changed = (again - said).double().abs().mean() / (said.double().std() + said.double().abs().mean() * 1e-3)
    assert named.value == pytest.approx(float(changed), rel=1e-3)
    assert named.evidence == {"steps": 64.0, "sequences": 8.0}
    assert "axes-swapped" not in codes(diagnose(mended, u, loss=F.cross_entropy, target=target))


@pytest.mark.parametrize("told", ["target", "loss"])
def test_swapped_axes_of_a_bare_layer(told: str) -> None:
    lstm, readout = seeded(0, lambda: nn.LSTM(8, 16)), seeded(1, lambda: nn.Linear(16, 10))
    u, target = samples_first(source(7))
    if told == "target":
        options = {"loss": lambda states, wanted: F.cross_entropy(readout(states[:, -1]), wanted), "target": target}
    else:
        options = {"loss": lambda states: F.cross_entropy(readout(states[:, -1]), target)}
    assert finding(diagnose(lstm, u, **options), "axes-swapped").severity == "error"
    lstm.batch_first = True
    assert "axes-swapped" not in codes(diagnose(lstm, u, **options))


# 5 — "Truncation at 8 or 16 steps changes everything."


def total(data: torch.Generator) -> tuple[Tensor, Tensor]:
    u = torch.randn(64, 32, 1, generator=data)
    return u, u.sum(0) / 8


@pytest.mark.slow
def test_the_share_beyond_a_window_is_what_truncation_cuts() -> None:
    u, target = total(source(7))
    losses, models = {}, {}
    for window in (8, 64):
        model = seeded(0, lambda window=window: Reader(nn.LSTM(1, 16), 1, window=window))
        remedies.set_timescales(model, (4, 64))
        models[window] = model
        train(model, total, F.mse_loss, 120)
        with torch.no_grad():
            losses[window] = float(F.mse_loss(model(u), target))
    assert losses[64] < losses[8]  # the symptom

    lstm = models[64].layer
    states = lstm(u)[0].detach()
    assert states.shape[0] == 64
    for window in (8, 16):
        diagnosis = diagnose(lstm, u, loss=lambda out: F.mse_loss(models[64].readout(out[-1]), target), window=window)
        named = finding(diagnosis, "window-short")
        gradient = diagnosis.layers[0].gradient_by_lag
        assert named.value == pytest.approx(float(gradient[window:].sum() / gradient.sum()))
        assert named.evidence["rates beyond"] > 0.1
    whole = diagnose(lstm, u, loss=lambda out: F.mse_loss(models[64].readout(out[-1]), target), window=64)
    assert "window-short" not in codes(whole)


# 6 — "NaN in the first epoch."


def test_the_parameter_that_leaves_first_is_named_with_its_step() -> None:
    u = torch.randn(20, 16, 2, generator=source())
    target = u[-1, :, :1]
    model, lstm = seeded(0, lambda: OwnTimeConstants(8, safe=False)), seeded(0, lambda: Reader(nn.LSTM(2, 8), 1))
    named = finding(
        diagnose(model, u, loss=F.mse_loss, target=target, optimizer=torch.optim.Adam, lr=0.01), "runs-to-nan"
    )

    def until_nan(model: nn.Module) -> tuple[int, dict[str, float]]:
        optimizer, ratios = torch.optim.Adam(model.parameters(), lr=0.01), {"": 0.0}
        for step in range(1, 101):
            optimizer.zero_grad()
            F.mse_loss(model(u), target).backward()
            before = {name: p.detach().clone() for name, p in model.named_parameters()}
            optimizer.step()
            if not all(p.isfinite().all() for p in model.parameters()):
                return step, ratios
            ratios = {
                name: float((p.detach() - before[name]).square().mean().sqrt() / before[name].square().mean().sqrt())
                for name, p in model.named_parameters()
            }
        return 0, ratios

    step, ratios = until_nan(model)
    assert step > 0  # the symptom
    assert until_nan(lstm)[0] == 0  # and a plain LSTM of the same size stays
    assert named.evidence["iteration"] == step
    assert named.where == "tau"  # all are NaN in the same step, and others moved more beside their size
    assert ratios["tau"] < max(ratios.values())
    assert named.value == pytest.approx(ratios["tau"], rel=1e-4)

    mended = seeded(0, lambda: OwnTimeConstants(8, safe=True))
    assert until_nan(mended)[0] == 0
    assert "runs-to-nan" not in codes(
        diagnose(mended, u, loss=F.mse_loss, target=target, optimizer=torch.optim.Adam, lr=0.01)
    )


# 7 — "z = r = 0, so why does the gradient not vanish?"


@pytest.mark.parametrize(("bias", "kept"), [(12.0, 1.0), (-12.0, 0.0)])
def test_a_closed_gru_keeps_or_forgets_by_convention(bias: float, kept: float) -> None:
    gru = seeded(0, lambda: nn.GRU(3, 16))
    with torch.no_grad():
        gru.bias_hh_l0[:16] = -12.0  # r = 0
        gru.bias_hh_l0[16:32] = bias
    u = torch.randn(20, 8, 3, generator=source())
    h0 = torch.zeros(1, 8, 16, requires_grad=True)
    [gradient] = torch.autograd.grad(gru(u, h0)[1].sum(), h0)
    assert float(gradient.mean()) == pytest.approx(kept, abs=1e-3)  # the symptom: it stays, or is gone

    named = [f for f in diagnose(gru, u).findings if f.code == "gates-saturated"]
    [z] = [f for f in named if f.where.endswith("z")]
    assert any(f.where.endswith("r") for f in named)
    assert z.value == 1.0
    assert z.evidence["mean gate"] == pytest.approx(kept, abs=1e-3)
    assert "1 - z" in z.sentence
    assert "keeps" in z.sentence
    assert math.exp(z.evidence["largest exponent"]) == pytest.approx(kept, abs=0.01)

    for gate in "rz":
        remedies.open_gate(gru, gate, generator=source(1))
    assert codes(diagnose(gru, u)) == set()
