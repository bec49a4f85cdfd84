"""What is measured on real data is what the library and autograd say of the same networks."""

import pytest
import torch
from gatelr import jacobian, networks, rates, tasks, training
from gatelr.cells import GatedRNN
from gatelr.experiments import protocol, real_data
from gatelr.experiments.protocol import Setup
from gatelr.experiments.stacked_layers import KINDS, StackedLayers

SEEDS = (3, 5)
models = pytest.mark.parametrize("model", real_data.MODELS)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"NEURONS": 6, "BATCH": 8, "FRESH": 10, "PROBED": 3, "KNOWN": 100}.items():
        monkeypatch.setattr(real_data, name, value)


def measured(model: str, data: str = "mnist1d", width: int = 4) -> training.Run:
    setup = Setup(tasks.get(data), model, "Adam", SEEDS, 2, (0, 1, 2), rate=0.01, progress=False)
    return real_data.measure(setup, width=width)


def test_the_plan_has_every_model_on_every_data_set() -> None:
    parameters = {"seeds": 2, "data_here": ["digits", "co2"], "updates": 50}
    plan = real_data.plan(parameters)
    assert [(run.task, run.gate) for run in plan[:5]] == [("digits", model) for model in real_data.MODELS]
    assert len(plan) == 10
    assert len({run.name for run in plan}) == 10
    half = plan[0].settings["steps"]
    assert half == real_data.SETTINGS["digits"]["steps"] // 2
    assert plan[0].settings["checkpoints"] == [0, half // 2, half]
    assert plan[-1].labels == {"data": "co2", "model": "multi"}


@pytest.mark.slow
@models
def test_every_network_is_measured_at_every_checkpoint(model: str) -> None:
    run = measured(model)
    assert list(run.probes) == [0, 1, 2]
    for probe in run.probes.values():
        assert [record["seed"] for record in probe["training"]] == list(SEEDS)
        assert [record["seed"] for record in probe["memory"]] == list(SEEDS)
        bins = [(record["from"], record["to"]) for record in probe["lags"] if record["seed"] == SEEDS[0]]
        assert bins == [(4 * b, 4 * b + 3) for b in range(10)]
        for record in probe["lags"]:
            assert record["sensitivity"] > 0
            assert record["gradient"] >= 0
            assert 1 <= record["directions"] <= 2 * real_data.NEURONS
            if model != "LSTM":  # whose rates have no budget
                assert 0 <= record["rate"] <= 1


def test_the_last_bin_may_be_shorter() -> None:
    bins = [(record["from"], record["to"]) for record in measured("GRU", width=16).probes[2]["lags"]][:3]
    assert bins == [(0, 15), (16, 31), (32, 39)]


def test_numbers_have_no_accuracy() -> None:
    record = measured("scalar", "co2", 104).probes[0]["training"][0]
    assert record["accuracy"] != record["accuracy"]
    assert record["constant"] == 1


def reading(model: str) -> tuple[real_data.Reading, GatedRNN | StackedLayers, torch.Tensor]:
    task, sources = tasks.get("mnist1d"), training.generators(SEEDS)
    network: GatedRNN | StackedLayers
    if model in KINDS:
        network = StackedLayers(model, 1, 6, 10, sources)
    else:
        network = protocol.network(task, model, SEEDS, 6, bias=True)
    u = task.draw(7, training.generators([1])[0], torch.float64).u
    return real_data.read(network, 1, u), network, u


@models
def test_rates_share_a_budget_wherever_what_is_written_is_what_is_not_kept(model: str) -> None:
    read, network, u = reading(model)
    assert read.rates.shape == (40,)
    if model == "RNN":
        assert read.rates[0] == 1
        assert not read.rates[1:].any()
        assert torch.equal(read.even, read.rates)
    elif model != "LSTM":
        assert 0.9 < float(read.rates.sum()) <= 1 + 1e-12
        assert float(read.even.sum()) == pytest.approx(1 - float(1 - read.even[0]) ** 40)
    if model in ("scalar", "multi"):
        assert isinstance(network, GatedRNN)
        run = protocol.in_float64(network).replica(1).run(u)
        for lag in (0, 1, 7):
            expected = rates.effective(run, 1.0, lag)[-1].mean()
            assert float(read.rates[lag]) == pytest.approx(float(expected))
    assert (read.memory >= 0).all()


@models
def test_the_answer_is_that_of_the_replica(model: str) -> None:
    read, network, u = reading(model)
    both = torch.stack([u, u], 1).float()
    torch.testing.assert_close(read.answer(u.float()), network(both)[1].detach())


@pytest.mark.parametrize("model", ["LSTM", "multi"])
def test_transports_are_products_of_the_steps_with_the_newest_on_the_left(model: str) -> None:
    read, network, u = reading(model)
    few = u[:, :3]
    if isinstance(network, StackedLayers):
        J = networks.blocks(network.replica(1)[0], few)
    else:
        alone = protocol.in_float64(network).replica(1)
        J = jacobian.blocks(alone, alone.run(few))
    sigma = real_data.spectra(read.blocks, [0, 2])
    torch.testing.assert_close(sigma[0], torch.ones_like(sigma[0]))
    torch.testing.assert_close(sigma[1], torch.linalg.svdvals(J[-1] @ J[-2]))
