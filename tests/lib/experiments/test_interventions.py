"""The interventions train what they say, go on after a kill, and give each arm what it is to have."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from gatelr import checkpoint, tasks, training
from gatelr.experiments import against_optimisers, imposed_rates, interventions, preconditioners, protocol, runs
from gatelr.experiments.interventions import ARMS, ROW_ARMS
from networks import relative

TASK = tasks.get("adding", steps=6)
SEEDS = (3, 5)
RUN = {"steps": 4, "checkpoints": (0, 2, 4)}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in {"NEURONS": 8, "BATCH": 8, "FRESH": 8, "PROBED": 6}.items():
        monkeypatch.setattr(interventions, name, size)
        monkeypatch.setattr(against_optimisers, name, size)


def measured(gate: str = "multi", rate: float | None = 0.3, **options: float) -> training.Run:
    setup = protocol.Setup(TASK, gate, "SGD", SEEDS, rate=rate, progress=False, **RUN)
    return interventions.measure(setup, **options)


def arm(run: training.Run, step: int, name: str) -> pd.DataFrame:
    rows = pd.DataFrame(run.probes[step]["arms"])
    return rows[rows.arm == name].set_index("seed")


@pytest.mark.parametrize("gate", ["scalar", "multi"])
def test_the_arm_that_learns_is_trained_as_any_other_network(gate: str) -> None:
    found = measured(gate)
    plain = against_optimisers.measure(protocol.Setup(TASK, gate, "SGD", SEEDS, rate=0.3, progress=False, **RUN))
    torch.testing.assert_close(found.losses, plain.losses, atol=1e-5, rtol=1e-5)
    loss = pd.DataFrame(plain.probes[4]["training"]).set_index("seed").loss
    assert arm(found, 4, "learns").loss.tolist() == pytest.approx(loss.tolist(), rel=1e-4)
    assert found.diverged.tolist() == [-1, -1]
    assert found.redrawn.tolist() == [0, 0]


def test_all_arms_begin_alike_and_then_part() -> None:
    found = measured(ungated_rate=0.1)
    names = [record["arm"] for record in found.probes[4]["arms"]]
    assert names == [name for name in (*ARMS, *ROW_ARMS) for _ in SEEDS]
    begin = [arm(found, 0, name).loss.tolist() for name in (*ARMS, *ROW_ARMS)]
    for losses in begin[1:4]:
        assert losses == pytest.approx(begin[0], rel=1e-6)
    assert begin[4] == pytest.approx(begin[5], rel=1e-6)
    end = {tuple(arm(found, 4, name).loss) for name in (*ARMS, *ROW_ARMS)}
    assert len(end) == 6
    rates = arm(found, 4, "imposed").filter(like="factor")
    assert list(rates) == ["factor @0", "factor @1", "factor @2", "factor @4"]
    assert arm(found, 4, "rows").filter(like="factor").isna().all(axis=None)


def test_without_a_rate_of_its_own_nothing_is_trained_without_a_gate() -> None:
    assert {record["arm"] for record in measured().probes[4]["arms"]} == set(ARMS)


def test_a_network_without_a_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="got no rate"):
        measured(rate=None)


def test_each_row_learns_by_its_own_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """One step of plain SGD from the same weights, each row of the gradient times the gate's step there."""
    monkeypatch.setitem(RUN, "steps", 1)
    monkeypatch.setitem(RUN, "checkpoints", (0, 1))
    before = protocol.network(TASK, "none", SEEDS * 2, 8)
    moved: list[torch.Tensor] = []
    steps = torch.tensor([[0.5] * 4 + [2.0] * 4, [1.0] * 8], dtype=torch.float64)
    train = training.train

    def watched(model: checkpoint.Trainable, *arguments: object, **options: object) -> training.Run:
        done = train(model, *arguments, **options)
        moved.extend(model.W_r.detach().clone() - before.W_r)
        return done

    monkeypatch.setattr(training, "train", watched)
    setup = protocol.Setup(TASK, "multi", "SGD", SEEDS, rate=0.3, progress=False, **RUN)
    interventions._by_rows(setup, steps, 0.1)
    interventions._by_rows(setup, torch.ones_like(steps), 0.1)
    given, permuted, plain = moved[0], moved[2], moved[4]
    assert relative(given, steps[0].float().unsqueeze(1) * plain) <= 1e-5
    order = imposed_rates.permutations(SEEDS, 8)[0]
    assert relative(permuted, steps[0, order].float().unsqueeze(1) * plain) <= 1e-5
    assert relative(moved[1], moved[5]) <= 1e-6


def test_row_steps_are_those_of_the_probe_over_their_geometric_mean() -> None:
    model = protocol.network(TASK, "multi", SEEDS, 8)
    data = TASK.draw(6, training.generators(SEEDS, protocol.PROBE), torch.float64)
    rows = interventions.row_steps(model, TASK, data, 1)
    run, factor, signal = against_optimisers.along(model, TASK, data, 1)
    expected = preconditioners.gate_steps(factor, signal, run.x_prev).rows
    assert float(rows.log().sum()) == pytest.approx(0.0, abs=1e-12)
    torch.testing.assert_close(rows / rows[0], expected / expected[0])
    with torch.no_grad():
        model.W_r[1] *= 1e6  # neurons that saturate pass nothing on
    assert interventions.row_steps(model, TASK, data, 1).tolist() == [1.0] * 8


@pytest.mark.slow
def test_blocks_of_seeds_give_the_same_table_and_so_does_a_run_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"steps": 12, "checkpoints": [0, 6, 12], "task_options": {"steps": 6}, "rate": 0.3, "ungated_rate": 0.1}
    run = runs.Run("interventions", "adding", "multi", "SGD", (1, 2, 3, 4, 5), settings)
    whole = runs.load([run], folder=tmp_path / "whole", progress=False)
    parts = runs.load([run], folder=tmp_path / "parts", block=2, progress=False)
    keys = ["step", "arm", "seed"]
    one, other = (tables["arms"].sort_values(keys, ignore_index=True) for tables in (whole, parts))
    pd.testing.assert_frame_equal(one, other, rtol=1e-4)
    # killed in the second of the two trainings, which goes on, and the first is read back
    write = checkpoint.Checkpoint.write

    def dying(self: checkpoint.Checkpoint, step: int) -> None:
        if step == 9 and "rows" in str(self.path):
            raise KeyboardInterrupt
        write(self, step)

    monkeypatch.setattr(training, "train", partial(training.train, save_every=3))
    monkeypatch.setattr(checkpoint.Checkpoint, "write", dying)
    with pytest.raises(KeyboardInterrupt):
        runs.load([run], folder=tmp_path / "killed", progress=False)
    monkeypatch.setattr(checkpoint.Checkpoint, "write", write)
    left = sorted(torch.load(path)["step"] for path in (tmp_path / "killed" / "interventions").iterdir())
    assert left == [6, 12]
    resumed = runs.load([run], folder=tmp_path / "killed", progress=False)
    pd.testing.assert_frame_equal(resumed["arms"], whole["arms"], check_exact=True)
    assert len(list((tmp_path / "killed" / "interventions").iterdir())) == 1
