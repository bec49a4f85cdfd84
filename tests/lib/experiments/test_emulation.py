"""The emulated runs against what the description of the released scripts says, draw by draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from gatelr import jacobian, tasks, training
from gatelr.experiments import emulation, protocol, released
from networks import relative

SEEDS = (1, 2)
SMALL = {"length": 8, "n": 16, "probed": 3}


@pytest.fixture(scope="module")
def snapshots() -> emulation.Snapshots:
    return emulation.anisotropy_runs(SEEDS, (0,))


@pytest.mark.parametrize("gate", ["constant", "scalar", "multi"])
def test_a_fit_before_training_is_that_of_the_seed_alone(gate: str) -> None:
    fits, networks = emulation.effective_rate_runs(SEEDS, (0, 2), **SMALL)
    assert len(fits) == 3 * 2 * 2
    stream = torch.Generator().manual_seed(2)  # of the weights, and then of the starts of the power iterations
    task = tasks.get("adding", steps=8)
    model = protocol.network(task, gate, (2,), 16, alpha=0.8, generator=[stream]).replica(0)
    run = model.run(task.draw(3, torch.Generator().manual_seed(2 + protocol.PROBE)).u)
    S = released.sensitivities(released.blocks(model, run), stream)
    expected = released.fit(S, released.predictor(model, run))
    (found,) = fits.query("gate == @gate and seed == 2 and step == 0").itertuples()
    assert (found.slope, found.r2) == pytest.approx(expected, rel=1e-4)
    assert relative(networks[gate, 2].model.W_r, model.W_r) > 0  # kept at the last step
    wide = networks[gate, 2].in_float64()
    assert wide.run.x.dtype == torch.float64
    assert relative(wide.run.x.float(), networks[gate, 2].run.x) <= 1e-5


@pytest.mark.parametrize("checkpoints", [(0, 50, 51), (51,)])
def test_a_probe_starts_behind_all_that_the_script_made_before(checkpoints: Sequence[int]) -> None:
    """Whether they were made here or not: at step 51 two probes have been, of 28 starts a sequence each."""
    fits, networks = emulation.effective_rate_runs((2,), checkpoints, **SMALL)
    stream = torch.Generator().manual_seed(2)
    protocol.network(tasks.get("adding", steps=8), "multi", (2,), 16, generator=[stream])
    torch.randn(2 * 3 * 28, 16, generator=stream)
    network = networks["multi", 2]
    expected = emulation.slope(
        network, emulation.sensitivities(network, stream, released.AS_RELEASED), released.AS_RELEASED
    )
    (found,) = fits.query("gate == 'multi' and step == 51").itertuples()
    assert (found.slope, found.r2) == tuple(expected)


def test_networks_of_one_seed_come_from_one_stream_in_the_order_of_the_script(
    snapshots: emulation.Snapshots,
) -> None:
    streams = training.generators(SEEDS)
    for gate in emulation.PAIRS:
        model = protocol.network(released.drawn_as_released("adding"), gate, SEEDS, 64, generator=streams)
        assert torch.equal(snapshots[gate, 0].W_r, model.W_r)
        assert not torch.equal(snapshots[gate, 1].W_r, model.W_r)


def test_noise_on_the_batches_goes_on_behind_that_of_the_models_before(monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[torch.Generator] = []
    train = protocol.Setup.train

    def watched(setup: protocol.Setup, *arguments: Any, sources: Sequence[torch.Generator], **options: Any) -> Any:
        assert isinstance(setup.task, released.OneBatch)
        handed.extend(source.clone_state() for source in sources)
        return train(setup, *arguments, sources=sources, **options)

    monkeypatch.setattr(protocol.Setup, "train", watched)
    setup = protocol.Setup(released.drawn_as_released("adding", 4), "scalar", "SGD", SEEDS, 1, ())
    emulation.train_for_anisotropy(setup, lambda *_: {}, "one batch", n=16, batch=4)
    stream = torch.Generator().manual_seed(2)
    for gate in emulation.PAIRS:
        protocol.network(setup.task, gate, (2,), 16, generator=[stream])
    torch.randn(1201 * 4 * 4 * 6, generator=stream)  # those of the network without a gate
    assert torch.equal(torch.randn(96, generator=handed[1]), torch.randn(96, generator=stream))


def test_fresh_data_are_not_the_one_batch(snapshots: emulation.Snapshots) -> None:
    fresh = emulation.anisotropy_runs(SEEDS, (0,), data="fresh")
    assert torch.equal(fresh["scalar", 0].W_r, snapshots["scalar", 0].W_r)
    assert relative(fresh["scalar", 1].W_r, snapshots["scalar", 1].W_r) > 1e-6


@pytest.mark.parametrize("step", [0, 401])
def test_pairs_are_drawn_on_from_checkpoint_to_checkpoint(snapshots: emulation.Snapshots, step: int) -> None:
    model, task = snapshots["scalar", 0].replica(0), released.drawn_as_released("adding")
    found = emulation.spectra(model, 1, step, task=task, lags=(1,))[1]
    draw = np.random.RandomState(1)
    for _ in range(1 + (step > 400)):
        sequence, t = released.pairs(120, 64, emulation.LAGS, 64, draw)[1]
    u = task.draw(64, torch.Generator().manual_seed(1)).u.double()
    wide = protocol.in_float64(model)
    J = jacobian.blocks(wide, wide.run(u))
    assert relative(found, torch.linalg.svdvals(J[t - 1, sequence])) <= 1e-12
    assert relative(emulation.spectra(model, 1, step, task=task, wide=False, lags=(1,))[1], found) <= 1e-3
