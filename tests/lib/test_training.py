"""Replicas are lone runs, a killed run goes on with the same numbers, and one that diverges disturbs nobody."""

from __future__ import annotations

import os
import re
import signal
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import warm
from gatelr import tasks, training
from gatelr.cells import GATES, GatedRNN
from gatelr.kernels.sweep import BACKWARD, Backward
from networks import relative
from torch.optim import lr_scheduler

SEEDS = (3, 4, 5)
TASK = tasks.get("adding", steps=12, n_inputs=3)


def network(gate: str = "multi", seeds: tuple[int, ...] | int = SEEDS, dtype: torch.dtype = torch.float64) -> GatedRNN:
    lone = isinstance(seeds, int)
    generators = [torch.Generator().manual_seed(s) for s in ((seeds,) if isinstance(seeds, int) else seeds)]
    return GatedRNN(
        3, 6, gate, alpha=0.7 if gate == "constant" else None, bias=True, replicas=None if lone else len(generators),
        generator=generators[0] if lone else generators, dtype=dtype,
    )  # fmt: skip


def data(seeds: tuple[int, ...] | int = SEEDS) -> list[torch.Generator] | torch.Generator:
    if isinstance(seeds, int):
        return torch.Generator().manual_seed(seeds + 123)
    return [torch.Generator().manual_seed(s + 123) for s in seeds]


def sgd(model: GatedRNN) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05)


def fit(model: GatedRNN, steps: int = 20, seeds: tuple[int, ...] | int = SEEDS, **options: object) -> training.Run:
    optimiser = options.pop("optimiser", None) or sgd(model)
    return training.train(model, TASK, optimiser, steps, data(seeds), batch=8, **options)  # type: ignore[arg-type]


OPTIMISERS: dict[str, Callable[[GatedRNN], tuple]] = {
    "SGD": lambda m: (torch.optim.SGD(m.parameters(), lr=0.1), None),
    "momentum": lambda m: (torch.optim.SGD(m.parameters(), lr=0.02, momentum=0.9, nesterov=True), None),
    "Adam": lambda m: (torch.optim.Adam(m.parameters(), lr=1e-2), None),
    "Adam, cosine schedule": lambda m: (
        optimiser := torch.optim.Adam(m.parameters(), lr=1e-2),
        lr_scheduler.CosineAnnealingLR(optimiser, 100),
    ),
}


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize(
    "name", [name if name == "SGD" else pytest.param(name, marks=pytest.mark.slow) for name in OPTIMISERS]
)
def test_a_replica_is_the_run_it_would_be_alone(name: str, gate: str) -> None:
    """After 100 steps in float64, every weight and every loss to 1e-10."""
    model = network(gate)
    optimiser, schedule = OPTIMISERS[name](model)
    together = fit(model, 100, optimiser=optimiser, schedule=schedule)
    assert together.losses.shape == (100, 3)
    for i, seed in enumerate(SEEDS):
        lone = network(gate, seed)
        optimiser, schedule = OPTIMISERS[name](lone)
        alone = fit(lone, 100, seed, optimiser=optimiser, schedule=schedule)
        assert relative(together.losses[:, i], alone.losses[:, 0]) <= 1e-10
        for parameter_name, parameter in lone.named_parameters():
            assert relative(getattr(model, parameter_name)[i], parameter) <= 1e-10, parameter_name
    moved = [relative(a, b) for a, b in zip(model.parameters(), network(gate).parameters(), strict=True)]
    assert min(moved) > 1e-3


def test_the_loop_is_the_one_a_reader_would_write() -> None:
    model, reference = network(), network()
    run = fit(model, 10)
    optimiser, sources = sgd(reference), data()
    for step in range(10):
        batch = TASK.draw(8, sources, dtype=torch.float64)
        states = reference.run(batch.u).x[-1]
        output = states @ reference.W_o.mT + reference.b_o.unsqueeze(1)
        losses = (output - batch.target).square().mean((1, 2))
        assert relative(run.losses[step], losses) <= 1e-12
        optimiser.zero_grad()
        losses.sum().backward()
        optimiser.step()
    for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        assert relative(ours, theirs) <= 1e-12


@pytest.mark.parametrize("backward", BACKWARD)
def test_the_backward_pass_is_the_one_asked_for(backward: Backward) -> None:
    model, reference = network(), network()
    fit(model, 3, backward=backward)
    optimiser, sources = sgd(reference), data()
    for _ in range(3):
        batch = TASK.draw(8, sources, dtype=torch.float64)
        optimiser.zero_grad()
        TASK.loss(reference(batch.u, backward=backward), batch.target).sum().backward()
        optimiser.step()
    for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_generators_have_their_seeds() -> None:
    found = training.generators((3, 5), 100)
    assert [source.initial_seed() for source in found] == [103, 105]
    assert found[0] is not found[1]


def test_probes_see_the_weights_before_the_step() -> None:
    seen = []

    def probe(step: int, model: GatedRNN) -> torch.Tensor:
        seen.append(step)
        return model.W_r.detach().clone()

    model = network()
    run = fit(model, 10, probe=probe, checkpoints=(0, 4, 10))
    assert seen == [0, 4, 10]
    assert torch.equal(run.probes[0], network().W_r)
    assert torch.equal(run.probes[10], model.W_r)
    early = network()
    fit(early, 4)
    assert torch.equal(run.probes[4], early.W_r)


def test_data_are_fresh_at_every_step_and_the_schedule_moves() -> None:
    model = network()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.0)
    run = fit(model, 5, optimiser=optimiser)
    assert run.losses.unique().numel() == run.losses.numel()  # the weights stand still, the batches do not
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    fit(model, 5, optimiser=optimiser, schedule=lr_scheduler.ExponentialLR(optimiser, 0.5))
    assert optimiser.param_groups[0]["lr"] == pytest.approx(0.5**5)


def test_one_divergence_is_recorded_and_disturbs_nobody() -> None:
    model, spoilt = network(dtype=torch.float32), network(dtype=torch.float32)
    with torch.no_grad():
        spoilt.W_o[1] = 1e25
    finite = spoilt.W_o[1].detach().clone()
    healthy = fit(model, 30, optimiser=torch.optim.Adam(model.parameters()))
    run = fit(
        spoilt, 30, optimiser=torch.optim.Adam(spoilt.parameters()), probe=lambda s, m: m.W_o.clone(), checkpoints=[30]
    )
    assert run.diverged.tolist() == [-1, 0, -1]
    assert run.alive.tolist() == [True, False, True]
    assert run.losses[:, 1].isnan().all()
    assert torch.equal(run.losses[:, ::2], healthy.losses[:, ::2])
    for ours, theirs in zip(spoilt.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours[::2], theirs[::2])
    assert torch.equal(run.probes[30][1], finite)  # its weights are those of before, and can be looked at
    assert healthy.alive.all()


def test_a_divergence_on_the_way_keeps_the_last_weights_with_a_finite_loss() -> None:
    model = network(dtype=torch.float32)
    optimiser = torch.optim.SGD([{"params": [p]} for p in model.parameters()], lr=1e-3)
    history: dict[int, torch.Tensor] = {}

    def probe(step: int, network: GatedRNN) -> None:
        history[step] = network.W_o.detach().clone()
        if step == 3:
            with torch.no_grad():
                network.W_o[2] = torch.nan

    run = fit(model, 8, optimiser=optimiser, probe=probe, checkpoints=range(9))
    assert run.diverged.tolist() == [-1, -1, 3]
    assert run.losses[:3].isfinite().all()
    assert torch.equal(history[8][2], history[2][2])
    assert not torch.equal(history[8][0], history[3][0])


def stop_at(step: int) -> Callable[[int, GatedRNN], torch.Tensor]:
    def probe(now: int, model: GatedRNN) -> torch.Tensor:
        if now == step:
            raise KeyboardInterrupt
        return model.W_o.detach().clone()

    return probe


@pytest.mark.parametrize("name", OPTIMISERS)
def test_an_interrupted_run_goes_on_with_the_same_numbers(name: str, tmp_path: Path) -> None:
    checkpoints = (0, 10, 25, 30)

    def go(save: Path | None, stop: int = -1) -> tuple[training.Run, GatedRNN]:
        model = network()
        optimiser, schedule = OPTIMISERS[name](model)
        options = {"optimiser": optimiser, "schedule": schedule, "probe": stop_at(stop), "checkpoints": checkpoints}
        return fit(model, 30, save=save, save_every=7, **options), model

    whole, weights = go(None)
    for stop in (10, 25):
        with pytest.raises(KeyboardInterrupt):
            go(tmp_path / "run.pt", stop)
    resumed, again = go(tmp_path / "run.pt")
    for _ in range(2):  # a finished run is read back
        assert torch.equal(resumed.losses, whole.losses)
        assert all(torch.equal(a, b) for a, b in zip(weights.parameters(), again.parameters(), strict=True))
        assert list(resumed.probes) == list(checkpoints)
        assert all(torch.equal(resumed.probes[step], whole.probes[step]) for step in checkpoints)
        resumed, again = go(tmp_path / "run.pt", stop=30)
    assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]  # nothing half-written lies about


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_same_numbers(tmp_path: Path) -> None:
    """Killed by the signal that no program can catch, at a step that was not saved."""
    script = textwrap.dedent(
        f"""
        import os, signal, sys
        sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1])!r}]
        import test_training as t

        def probe(step, model):
            if step == 19:
                os.kill(os.getpid(), signal.SIGKILL)

        t.fit(t.network(), 30, probe=probe, checkpoints=(19,), save={str(tmp_path / "run.pt")!r}, save_every=5)
        """
    )
    killed = warm.run(["-c", script], tmp_path, {**os.environ, "OMP_NUM_THREADS": "1"})
    assert killed.returncode == -signal.SIGKILL
    assert torch.load(tmp_path / "run.pt")["step"] == 15
    whole, model, resumed = fit(network(), 30), network(), network()
    run = fit(resumed, 30, probe=lambda *_: None, checkpoints=(19,), save=tmp_path / "run.pt", save_every=5)
    fit(model, 30)
    assert torch.equal(run.losses, whole.losses)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), resumed.parameters(), strict=True))


def test_a_file_of_another_run_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    fit(network(), 5, save=path)
    before = path.read_bytes()
    for sentence, other in {
        "its number of steps is 5, expected 6": lambda: fit(network(), 6, save=path),
        "its digest of the data generators is": lambda: fit(network(), 5, (7, 8, 9), save=path),
        "its digest of the initial weights is": lambda: fit(network(seeds=(7, 8, 9)), 5, save=path),
        "its model is": lambda: fit(network("scalar"), 5, save=path),
        "replicas=3) in torch.float64, backward pass: order 0": lambda: fit(
            network(), 5, save=path, backward="order 0"
        ),
        "its optimiser is": lambda: fit(m := network(), 5, optimiser=torch.optim.Adam(m.parameters()), save=path),
    }.items():
        with pytest.raises(ValueError, match=re.escape(sentence)):
            other()
    assert path.read_bytes() == before
    path.write_bytes(b"not a run")
    with pytest.raises(ValueError, match="got a file that holds no run"):
        fit(network(), 5, save=path)


def test_narma_counts_what_it_draws_again() -> None:
    task = tasks.get("narma10")
    model = GatedRNN(task.n_inputs, 2, "none", replicas=2)
    sources = [torch.Generator().manual_seed(s) for s in (1, 2)]
    run = training.train(model, task, sgd(model), 60, sources, batch=128)
    again = [torch.Generator().manual_seed(s) for s in (1, 2)]
    expected = sum(torch.as_tensor(task.draw(128, again).redrawn) for _ in range(60))
    assert torch.equal(run.redrawn, expected)
    assert run.redrawn.sum() > 0


def test_digits_are_learnt_as_classes() -> None:
    task = tasks.get("digits")
    model = GatedRNN(1, 16, "multi", n_outputs=10, generator=torch.Generator().manual_seed(0))
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-2)
    run = training.train(model, task, optimiser, 150, torch.Generator().manual_seed(1), batch=32)
    assert float(run.losses[-20:].mean()) < 0.85 * task.constant_loss


def test_the_progress_bar_says_rate_and_time(capsys: pytest.CaptureFixture[str]) -> None:
    fit(network(), 5, progress=True)
    shown = capsys.readouterr().err
    assert "5/5" in shown
    assert re.search(r"step/s|s/step", shown)
    assert "median_loss" in shown
    fit(network(), 5)
    assert capsys.readouterr().err == ""  # not a terminal


@pytest.mark.usefixtures("as_installed")
def test_bad_requests_are_refused() -> None:
    model = network()
    plateau = sgd(model)
    for sentence, call in {
        "got 2 generators, expected 3, one for each replica": lambda: training.train(
            model, TASK, sgd(model), 5, data((1, 2))
        ),
        "got a checkpoint at step 6, expected steps from 0 to the 5": lambda: fit(model, 5, checkpoints=(6,)),
        "got steps=-1 and save_every=200": lambda: fit(model, -1),
        "got a model with 3 inputs and 1 outputs, expected 4 and 1 for the task 'adding'": lambda: training.train(
            model, tasks.get("adding"), sgd(model), 5, data()
        ),
        "got an optimiser of other parameters": lambda: fit(model, 5, optimiser=sgd(network())),
        "got LBFGS for a model with replicas": lambda: fit(model, 5, optimiser=torch.optim.LBFGS(model.parameters())),
        "got ReduceLROnPlateau": lambda: fit(
            model, 5, optimiser=plateau, schedule=lr_scheduler.ReduceLROnPlateau(plateau)
        ),
    }.items():
        with pytest.raises(ValueError, match=re.escape(sentence)):
            call()
