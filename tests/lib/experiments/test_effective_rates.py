"""Experiment E1: predictors against their definitions, fits against numpy's, the protocol against plain calls."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from gatelr import jacobian, rates, tasks, training, transport
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments import effective_rates, protocol, runs
from networks import relative
from torch import Tensor

SEEDS = (21, 25)  # a map is kept of the first
SMALL = {"n": 4, "batch": 3, "fresh": 5, "probed": 2}
WHEN = {"steps": 3, "checkpoints": (0, 3)}
T, B, n = 7, 5, 4


@pytest.fixture(params=["constant", "scalar", "multi"])
def made(request: pytest.FixtureRequest) -> tuple[GatedRNN, Trajectory, Tensor]:
    draw = torch.Generator().manual_seed(4)
    alpha = 0.3 if request.param == "constant" else None
    model = GatedRNN(2, n, request.param, alpha=alpha, generator=draw, dtype=torch.float64).requires_grad_(False)
    run = model.run(torch.randn(T, B, 2, generator=draw, dtype=torch.float64))
    return model, run, transport.sensitivities(jacobian.blocks(model, run))


def test_predictions_are_the_products_that_they_say(made: tuple[GatedRNN, Trajectory, Tensor]) -> None:
    model, run, _ = made
    terms = jacobian.terms(model, run)
    running = effective_rates._sums(model, run)
    for lag in (1, 2, 5, T):
        predicted = effective_rates._predictions(running, lag)
        kept = rates.retention(run, lag)
        torch.testing.assert_close(predicted["order 0"].exp(), kept.amax(-1))
        torch.testing.assert_close(predicted["order 0, mean"].exp(), kept.mean(-1))
        torch.testing.assert_close(predicted["order 1"].exp(), rates.corrected(terms, lag).abs().amax(-1))
        g = run.g.expand_as(run.x)
        written = torch.stack([g[t - lag : t].prod(0).mean(-1) for t in range(lag, T + 1)])
        torch.testing.assert_close(predicted["published"].exp(), written)
        assert (predicted["lag"] == -lag).all()


def test_shuffling_moves_the_steps_of_all_terms_together(made: tuple[GatedRNN, Trajectory, Tensor]) -> None:
    model, run, _ = made
    order = torch.stack([torch.randperm(T, generator=torch.Generator().manual_seed(b)) for b in range(B)], 1)
    moved = Trajectory(*(member.take_along_dim(order.unsqueeze(-1), 0) for member in run))
    for a, b in zip(effective_rates._sums(model, run, order), effective_rates._sums(model, moved), strict=True):
        torch.testing.assert_close(a, b)


def test_fits_are_numpys(made: tuple[GatedRNN, Trajectory, Tensor]) -> None:
    model, run, S = made
    records = effective_rates.explain(S, model, run, torch.Generator().manual_seed(0))
    lag = np.array([t - k for t in range(T + 1) for k in range(t)]).repeat(B)
    y = np.log(np.concatenate([S[t, k].numpy() for t in range(T + 1) for k in range(t)]))
    running = effective_rates._sums(model, run)
    within_y = y - np.array([y[lag == length].mean() for length in lag])
    assert records["spread"] == [{"within lags": pytest.approx((within_y**2).sum() / y.var() / len(y)), "left out": 0}]
    for name in ("order 0", "order 0, mean", "order 1", "published"):
        x = np.concatenate(
            [effective_rates._predictions(running, t - k)[name][k].numpy() for t in range(T + 1) for k in range(t)]
        )
        (fit,) = [f for f in records["fits"] if (f["predictor"], f["gates"]) == (name, "true")]
        slope = np.polyfit(x, y, 1)[0]
        assert fit["slope"] == pytest.approx(slope, rel=1e-9)
        assert fit["r2"] == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2, rel=1e-9)
        within_x = x - np.array([x[lag == length].mean() for length in lag])
        if model.gate == "constant" and name != "order 1":
            assert np.isnan(fit["within r"])
            continue
        assert fit["within r"] == pytest.approx(np.corrcoef(within_x, within_y)[0, 1], rel=1e-9)
        assert fit["within slope"] == pytest.approx((within_x @ within_y) / (within_x @ within_x), rel=1e-9)
        record = records["profiles"][1]
        expected = np.corrcoef(x[lag == 2], y[lag == 2])[0, 1]
        assert record[f"r {name} true"] == pytest.approx(expected, rel=1e-9)
        assert record["S"] == pytest.approx(np.quantile(np.exp(y[lag == 2]), 0.5, method="lower"))


def test_true_gates_beat_the_nulls_where_the_leak_is_all_there_is() -> None:
    # with tiny weights onto the candidate, S is order 0 up to a small correction
    draw = torch.Generator().manual_seed(1)
    model = GatedRNN(2, n, "scalar", generator=draw, dtype=torch.float64).requires_grad_(False)
    model.W_r.mul_(1e-4)
    model.W_rg.mul_(1e-4)
    run = model.run(3 * torch.randn(30, 8, 2, generator=draw, dtype=torch.float64))
    S = transport.sensitivities(jacobian.blocks(model, run))
    fits = effective_rates.explain(S, model, run, torch.Generator().manual_seed(0))["fits"]
    r = {(f["predictor"], f["gates"]): f["within r"] for f in fits}
    assert r["order 0", "true"] > 0.999
    assert r["order 0", "shuffled"] < 0.7
    assert r["order 0", "foreign"] < 0.7
    assert r["published", "true"] < 0


def test_what_cannot_be_taken_a_logarithm_of_is_left_out_and_counted() -> None:
    draw = torch.Generator().manual_seed(1)
    model = GatedRNN(2, n, "scalar", generator=draw, dtype=torch.float64).requires_grad_(False)
    run = model.run(torch.randn(T, B, 2, generator=draw, dtype=torch.float64))
    S = transport.sensitivities(jacobian.blocks(model, run))
    S[5, 2, 1], S[4, 0, 3] = 0.0, torch.inf
    records = effective_rates.explain(S, model, run, draw)
    assert records["spread"][0]["left out"] == 2
    assert all(np.isfinite(f["r2"]) for f in records["fits"])


def test_a_gate_of_one_is_refused() -> None:
    model = GatedRNN(2, n, "none").requires_grad_(False)
    with pytest.raises(ValueError, match="without a leak"):
        effective_rates._sums(model, model.run(torch.randn(T, B, 2)))


def jacobians(model: GatedRNN, u: Tensor) -> Tensor:
    wide = protocol.in_float64(model)
    return jacobian.blocks(wide, wide.run(u))


def test_sensitivities_of_replicas() -> None:
    task = tasks.get("adding", steps=6)
    model = protocol.network(task, "multi", SEEDS, 4)
    u = task.draw(3, training.generators(SEEDS), torch.float64).u
    norms, run, wide = effective_rates.sensitivities(model, u)
    assert norms.shape == (7, 7, 2, 3)
    assert relative(norms, transport.sensitivities(jacobians(model, u))) <= 1e-6
    assert model.W_r.dtype == torch.float32
    assert wide.W_r.dtype == run.x.dtype == torch.float64


def test_effective_rates_trains_and_probes_when_it_says() -> None:
    task = tasks.get("adding", steps=6)
    run = effective_rates.measure(protocol.Setup(task, "multi", "Adam", SEEDS, rate=1e-3, **WHEN), **SMALL)
    assert run.losses.shape == (3, 2)
    assert set(run.probes) == {0, 3}
    sizes = {name: len(records) for name, records in run.probes[3].items()}
    predictors = 1 + (len(effective_rates.PREDICTORS) - 1) * (1 + len(effective_rates.NULLS))
    assert sizes == {"training": 2, "map": 21, "profiles": 2 * 6, "fits": 2 * predictors, "spread": 2}
    assert run.probes[0]["training"] != run.probes[3]["training"]
    assert {record["seed"] for record in run.probes[3]["fits"]} == set(SEEDS)

    # the same from plain library calls, before the first step
    model = protocol.network(task, "multi", SEEDS, 4)
    u = task.draw(2, training.generators(SEEDS, protocol.PROBE), torch.float64).u
    S = transport.sensitivities(jacobians(model, u))
    medians = {(r["seed"], r["lag"]): r["S"] for r in run.probes[0]["profiles"]}
    assert medians[SEEDS[1], 2] == pytest.approx(float(S.diagonal(-2)[1].median()), rel=1e-6)
    assert run.probes[0]["map"][-1] == {
        "seed": SEEDS[0],
        "t": 6,
        "k": 5,
        "S": pytest.approx(float(S[6, 5, 0, 0]), rel=1e-6),
    }


def test_a_rate_of_its_own_reaches_the_optimiser() -> None:
    task = tasks.get("adding", steps=6)
    still = effective_rates.measure(protocol.Setup(task, "scalar", "SGD", SEEDS, rate=0.0, **WHEN), **SMALL)
    assert still.probes[0]["training"] == still.probes[3]["training"]


def records(seeds: tuple[int, ...]) -> dict[str, pd.DataFrame]:
    """Those of a short run in two settings, as ``runs.load`` gives them."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for setting, steps in (("long", 9), ("short", 5)):
        task = tasks.get("adding", steps=steps)
        done = effective_rates.measure(protocol.Setup(task, "multi", "SGD", seeds, progress=False, **WHEN), **SMALL)
        for step, probe in done.probes.items():
            for name, rows in probe.items():
                labels = {"protocol": "paper", "setting": setting, "gate": "multi", "step": step}
                parts.setdefault(name, []).append(pd.DataFrame(rows).assign(**labels))
    return {name: pd.concat(tables, ignore_index=True) for name, tables in parts.items()}


def test_tables_have_a_row_for_each_network_and_checkpoint() -> None:
    measured = records(SEEDS)
    tables = effective_rates.tables(measured)
    key = ("paper", "long", "multi", 25, 3)
    for name, table in tables.items():
        assert len(table) == 2 * len(SEEDS) * 2, name
        assert not table.duplicated(effective_rates.KEYS).any()

    (fit,) = measured["fits"].query(
        "predictor == 'order 0' and gates == 'foreign' and setting == 'long' and seed == 25 and step == 3"
    )["within r"]
    assert tables["fits"].set_index(effective_rates.KEYS).sort_index().loc[key, "order 0 foreign r"] == fit
    at = measured["profiles"].query("setting == 'long' and seed == 25 and step == 3").set_index("lag")
    row = tables["profiles"].set_index(effective_rates.KEYS).sort_index().loc[key]
    assert row["order 1 @4"] == pytest.approx(np.log10(at["order 1"][4] / at["order 1"][1]))
    assert row["r shuffled @8"] == at["r order 0 shuffled"][8]


def test_maps_are_those_of_every_other_step_at_the_end() -> None:
    measured = records(SEEDS)
    maps = effective_rates.maps(measured).set_index(["setting", "step", "t"])
    assert list(maps.index) == [("long", 3, t) for t in (2, 4, 6, 8)] + [("short", 3, t) for t in (2, 4)]
    (S,) = measured["map"].query("setting == 'short' and step == 3 and t == 4 and k == 1").S
    assert maps.loc[("short", 3, 4), "k = 1"] == round(np.log10(S), 2)
    assert maps.loc[("short", 3, 4), "k = 4":].isna().all()


def test_the_last_step_is_that_of_each_setting() -> None:
    rows = pd.DataFrame({"protocol": "paper", "setting": ["adding", "short", "adding"], "step": [0, 300, 800]})
    assert effective_rates.at_end(rows).step.tolist() == [300, 800]


def test_the_plan_goes_to_the_last_checkpoint_in_reach() -> None:
    plan = effective_rates.plan({"seeds": 3, "tasks_here": ["recall"], "paper_until": 399, "trained_until": 0})
    assert all(isinstance(run, runs.Run) and run.seeds == (21, 22, 23) for run in plan)
    assert len(plan) == 3 * 3
    assert {run.labels["setting"] for run in plan} == {"recall", "adding, 30 steps, Adam", "short, SGD at 0.05"}
    assert plan[0].settings == {"steps": 200, "checkpoints": [0, 50, 200]}
    (adam,) = [run for run in plan if run.optimiser == "Adam" and run.gate == "multi"]
    assert adam.settings == {"task_options": {"steps": 30}, "rate": 3e-3, "steps": 0, "checkpoints": [0]}
