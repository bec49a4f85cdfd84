"""The emulated runs against what the description of the released scripts says, draw by draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gatelr import jacobian, tasks, training
from gatelr.experiments import emulation, protocol, released
from networks import relative

SEEDS = (1, 2)


@pytest.fixture(scope="module")
def anisotropy_runs() -> tuple:
    return emulation.anisotropy_runs(SEEDS, (0,))


@pytest.mark.parametrize("gate", ["constant", "scalar", "multi"])
def test_a_fit_before_training_is_that_of_the_seed_alone(gate: str) -> None:
    fits, networks = emulation.effective_rate_runs(SEEDS, (0, 2), length=8, n=5, probed=3)
    assert len(fits) == 3 * 2 * 2
    stream = torch.Generator().manual_seed(2)  # of the weights, and then of the starts of the power iterations
    task = tasks.get("adding", steps=8)
    model = protocol.network(task, gate, (2,), 5, alpha=0.8, generator=[stream]).replica(0)
    run = model.run(task.draw(3, torch.Generator().manual_seed(2 + protocol.PROBE)).u)
    S = released.sensitivities(released.blocks(model, run), stream)
    expected = released.fit(S, released.predictor(model, run))
    (found,) = fits.query("gate == @gate and seed == 2 and step == 0").itertuples()
    assert (found.slope, found.r2) == pytest.approx(expected, rel=1e-4)
    assert relative(networks[gate, 2].model.W_r, model.W_r) > 0  # kept at the last step
    wide = networks[gate, 2].in_float64()
    assert wide.run.x.dtype == torch.float64
    assert relative(wide.run.x.float(), networks[gate, 2].run.x) <= 1e-5


def test_networks_of_one_seed_come_from_one_stream_in_the_order_of_the_script(anisotropy_runs: tuple) -> None:
    _, snapshots = anisotropy_runs
    streams = training.generators(SEEDS)
    for gate in emulation.PAIRS:
        model = protocol.network(emulation.adding(), gate, SEEDS, 64, generator=streams)
        for data in ("one batch", "fresh"):
            assert torch.equal(snapshots[data, gate, 0].W_r, model.W_r)
            assert not torch.equal(snapshots[data, gate, 1].W_r, model.W_r)


def test_losses_are_those_of_the_one_batch_and_of_fresh_data(anisotropy_runs: tuple) -> None:
    losses, snapshots = anisotropy_runs
    assert len(losses) == 2 * 3 * 2 * 2
    task = emulation.adding()
    batch = released.one_batch(task).draw(64, torch.Generator())
    row = losses.query("data == 'fresh' and gate == 'multi' and seed == 2 and step == 1").iloc[0]
    found = task.loss(snapshots["fresh", "multi", 1].replica(1)(batch.u), batch.target)
    assert row["the one batch"] == pytest.approx(float(found), rel=1e-4)
    one_batch = losses.query("data == 'one batch' and step == 1")
    assert not np.allclose(one_batch["the one batch"], one_batch["fresh data"], rtol=1e-3)


@pytest.mark.parametrize("step", [0, 401])
def test_pairs_are_drawn_on_from_checkpoint_to_checkpoint(anisotropy_runs: tuple, step: int) -> None:
    model = anisotropy_runs[1]["fresh", "scalar", 0].replica(0)
    found = emulation.spectra(model, 1, step, lags=(1,))[1]
    draw = np.random.RandomState(1)
    for _ in range(1 + (step > 400)):
        sequence, t = released.pairs(120, 64, emulation.LAGS, 64, draw)[1]
    u = emulation.adding().draw(64, torch.Generator().manual_seed(1)).u.double()
    wide = protocol.in_float64(model)
    J = jacobian.blocks(wide, wide.run(u))
    assert relative(found, torch.linalg.svdvals(J[t - 1, sequence])) <= 1e-12
    assert relative(emulation.spectra(model, 1, step, wide=False, lags=(1,))[1], found) <= 1e-3
