"""The emulation against its description: without departures it is the definitions; draws are the released ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from gatelr import anisotropy, jacobian, tasks, training, transport
from gatelr.experiments import joint_anisotropy, protocol, released
from networks import relative
from torch import nn

GATES = ["constant", "scalar", "multi"]
NONE = released.AS_RELEASED.without(*vars(released.AS_RELEASED))
TASK = tasks.get("adding")


def made(gate: str, T: int = 9, B: int = 3) -> tuple:
    stream = torch.Generator().manual_seed(1)
    model = protocol.network(TASK, gate, [1], 5, alpha=0.8, generator=[stream]).double().replica(0)
    run = model.run(torch.rand(T, B, 4, generator=stream, dtype=torch.float64))
    return model, run, stream


@pytest.mark.parametrize("gate", GATES)
def test_the_network_is_drawn_as_modules_are(gate: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        weights = [nn.Linear(5, 5, bias=False).weight, nn.Linear(4, 5, bias=False).weight]
        weights.append(nn.Linear(5, 1, bias=False).weight)
        if gate != "constant":
            h = 5 if gate == "multi" else 1
            weights += [nn.Linear(5, h, bias=False).weight, nn.Linear(4, h, bias=False).weight]
        after = torch.randn(3)
    streams = [torch.Generator().manual_seed(seed) for seed in (7, 8)]
    model = protocol.network(TASK, gate, (7, 8), 5, alpha=0.8, generator=streams)
    for found, expected in zip(model.parameters(), weights, strict=True):
        assert torch.equal(found[0], expected)
    assert torch.equal(torch.randn(3, generator=streams[0]), after)


@pytest.mark.parametrize("gate", GATES)
def test_without_departures_it_is_the_definition(gate: str) -> None:
    model, run, stream = made(gate)
    J = released.blocks(model, run, NONE)
    assert torch.equal(J, jacobian.blocks(model, run))
    S = released.sensitivities(J, stream, NONE)
    defined = transport.sensitivities(J)
    for t in range(1, len(J)):
        for k in range(t):
            assert relative(S[t, k], defined[t + 1, k + 1]) <= 1e-6
    X = released.predictor(model, run, NONE)
    kept = (1 - run.g).expand_as(run.x)
    assert relative(X[7, 2], kept[3:8].prod(0).amax(-1)) <= 1e-12
    assert (X.diagonal() == 0).all()


def test_the_gate_term_reads_the_state_after_the_update() -> None:
    model, run, _ = made("multi")
    J = released.blocks(model, run)
    j, b, g = 4, 1, run.g[4, 1]
    expected = torch.diag(1 - g) + torch.diag(g * (1 - run.phi[j, b] ** 2)) @ model.W_r
    expected = expected + torch.diag((run.phi[j, b] - run.x[j, b]) * g * (1 - g)) @ model.W_rg
    assert relative(J[j, b], expected) <= 1e-14
    # (1 - g) times the true one, which is why it is about halved
    terms, after = jacobian.terms(model, run), jacobian.terms(model, run._replace(x_prev=run.x))
    assert relative(after.gate, (1 - run.g).unsqueeze(-1) * terms.gate) <= 1e-12


def test_power_iteration_is_step_by_step_what_its_description_says() -> None:
    model, run, _ = made("scalar", T=5, B=2)
    J = released.blocks(model, run)
    found = released.sensitivities(J, torch.Generator().manual_seed(3))
    stream = torch.Generator().manual_seed(3)
    starts = iter(torch.randn(2 * 10, 5, generator=stream, dtype=torch.float32).double())
    for b in range(2):
        for t in range(5):
            P = torch.eye(5, dtype=torch.float64)
            for j in range(t, 0, -1):
                P = J[j, b] @ P
                v = next(starts)
                v = v / v.norm()
                for _ in range(5):
                    v = P @ v / (P @ v).norm()
                assert relative(found[t, j - 1, b], (P @ v).norm()) <= 1e-9


@pytest.mark.parametrize("gate", GATES)
def test_the_released_predictor_has_its_factors(gate: str) -> None:
    model, run, _ = made(gate)
    X = released.predictor(model, run)
    if gate == "constant":
        assert X[7, 2, 0] == pytest.approx(0.8**5)
        assert X[7, 7, 0] == 0
    else:
        assert relative(X[7, 2], run.g[2:8].prod(0).mean(-1)) <= 1e-12  # one more than the lag
        assert relative(X[7, 7], run.g[7].mean(-1)) <= 1e-12


def test_a_fit_is_numpys_and_trims_a_hundredth() -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(2000, generator=draw, dtype=torch.float64) + 0.1
    y = x**1.7 * torch.exp(0.1 * torch.randn(2000, generator=draw, dtype=torch.float64))
    untrimmed = released.fit(y, x, NONE)
    expected = torch.stack([x.log(), y.log()]).corrcoef()[0, 1] ** 2
    assert untrimmed.r2 == pytest.approx(float(expected))
    low, high = x.quantile(torch.tensor([0.01, 0.99], dtype=torch.float64))
    inside = (x >= low) & (x <= high)
    assert released.fit(y, x) == pytest.approx(released.fit(y[inside], x[inside], NONE))
    assert released.fit(y, x) != untrimmed
    y[3] = 0.0
    assert released.fit(y, x, NONE).slope == pytest.approx(untrimmed.slope, rel=1e-2)


def test_one_batch_is_that_of_a_new_generator_with_noise_from_those_handed_in() -> None:
    fresh = tasks.get("adding", steps=6)
    task, batch = released.one_batch(fresh), fresh.draw(3, torch.Generator())
    draws = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    for _ in range(2):
        drawn = task.draw(3, draws)
        for s in range(2):
            assert torch.equal(drawn.target[s], batch.target)
            assert 0 < (drawn.u[:, s] - batch.u).abs().max() < 1e-5
    stream = torch.Generator().manual_seed(2)
    torch.randn(3, 6, 4, generator=stream)  # the first batch's
    noise = torch.randn(3, 6, 4, generator=stream).transpose(0, 1)
    assert torch.equal(drawn.u[:, 1], batch.u + 1e-6 * noise)
    alone = task.draw(3, torch.Generator().manual_seed(1))
    assert torch.equal(alone.u, task.draw(3, training.generators([1])).u[:, 0])
    assert torch.equal(alone.target, batch.target)


@pytest.mark.parametrize(("name", "back"), [("moving_average", range(8)), ("delay_sum", (4, 12, 24, 36))])
def test_a_mean_of_one_channel_is_drawn_with_six(name: str, back: Sequence[int]) -> None:
    task = released.drawn_as_released(name, 40)
    drawn = torch.rand(3, 40, 6, generator=torch.Generator().manual_seed(2))
    batch = task.draw(3, torch.Generator().manual_seed(2))
    assert torch.equal(batch.u[..., 0], drawn[..., 0].T)
    assert not batch.u[..., 1:].any()
    expected = torch.stack([drawn[:, 39 - steps, :1] for steps in back]).mean(0)
    assert relative(batch.target, expected) <= 1e-6
    side_by_side = task.draw(3, training.generators([1, 2]))
    assert torch.equal(side_by_side.u[:, 1], batch.u)
    assert torch.equal(side_by_side.target[1], batch.target)


def test_adding_is_drawn_as_it_is_and_others_are_refused() -> None:
    drawn, defined = released.drawn_as_released("adding"), tasks.get("adding", steps=120, n_inputs=6)
    batches = [task.draw(3, torch.Generator().manual_seed(2)) for task in (drawn, defined)]
    assert torch.equal(batches[0].u, batches[1].u)
    with pytest.raises(ValueError, match="got task 'narma10', expected adding, moving_average or delay_sum"):
        released.drawn_as_released("narma10")


def test_pairs_are_drawn_from_a_list_of_all() -> None:
    found = released.pairs(9, 3, (1, 4), 6, np.random.RandomState(5))
    again = np.random.RandomState(5)
    for lag, (sequence, t) in found.items():
        every = [(b, t) for b in range(3) for t in range(lag, 9)]
        expected = [every[i] for i in again.choice(len(every), size=6, replace=False)]
        assert list(zip(sequence.tolist(), t.tolist(), strict=True)) == expected


@pytest.mark.parametrize("gate", GATES)
def test_transports_without_departures_are_the_protocols(gate: str) -> None:
    model, run, stream = made(gate)
    ends = joint_anisotropy.windows(9, 3, (1, 4), 5, stream)
    found = released.transports(model, run, ends, NONE)
    M = transport.products(jacobian.blocks(model, run), 4)
    expected = torch.stack([M[t - 4, b] for b, t in zip(*ends[4], strict=True)])
    assert relative(found[4], torch.linalg.svdvals(expected)) <= 1e-12
    # the other order: the transpose of a product of transposes
    M = transport.products(jacobian.blocks(model, run).mT, 4).mT
    expected = torch.stack([M[t - 4, b] for b, t in zip(*ends[4], strict=True)])
    found = released.transports(model, run, ends, NONE.__class__(**vars(NONE) | {"reversed_order": True}))
    assert relative(found[4], torch.linalg.svdvals(expected)) <= 1e-12


def test_anisotropy_as_released() -> None:
    sigma = torch.logspace(0, -11.8, 60, dtype=torch.float64)
    AI, _ = released.anisotropy(sigma)
    assert float(AI) == pytest.approx(float(anisotropy.anisotropy_index(sigma, 10)), rel=1e-6)
    assert float(released.anisotropy(1e-13 * sigma)[0]) < 0.1
    flat = torch.ones(64, dtype=torch.float64)
    assert float(released.anisotropy(flat)[1]) == pytest.approx(10 / 16)
    assert float(anisotropy.energy_concentration(flat, 10)) == pytest.approx(10 / 64)
