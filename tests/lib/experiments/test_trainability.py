"""What the trainability map starts from, and that each arm changes what it says and nothing else."""

import copy
from functools import partial

import pytest
import torch
from gatelr import jacobian, tasks, training
from gatelr.cells import GatedRNN
from gatelr.experiments import trainability
from gatelr.experiments.protocol import Setup
from gatelr.experiments.trainability import ARMS, LAGS, MAIN, RATES

TASK = tasks.get("delay_sum", steps=7, n_inputs=1, delays=(6,))
SEEDS = (3, 5)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"NEURONS": 6, "BATCH": 4, "FRESH": 5, "PROBED": 3, "EVERY": 2, "RATES": (0.01, 0.1)}.items():
        monkeypatch.setattr(trainability, name, value)


def weights(gate: str, gain: float = 1.3, **options: bool) -> GatedRNN:
    return trainability.network(TASK, gate, SEEDS, gain, **options)


def data(batch: int = 4) -> tasks.Batch:
    return trainability.held(TASK, 0.0).draw(batch, training.generators(SEEDS))


def gradients(model: GatedRNN, **options: str) -> dict[str, torch.Tensor]:
    u, target = data()
    model.zero_grad()
    TASK.loss(model(u, **options), target).sum().backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def test_the_plan_names_every_arm_at_every_lag_and_the_main_ones_in_noise() -> None:
    parameters = {"seeds": 3, "arms_here": list(ARMS), "lags_here": list(LAGS), "noise_here": True, "updates": 10}
    plan = trainability.plan(parameters)
    with_donor = [run for run in plan if "donor" in run.settings]
    assert len(plan) == len(ARMS) * len(LAGS) - 2 + len(MAIN)
    assert {run.labels["lag"] for run in with_donor} == {10, 20}
    assert len({run.name for run in plan}) == len(plan)
    assert {run.settings["noise"] for run in plan if run.labels["arm"] not in MAIN} == {0.0}
    assert len(RATES) == 15
    fewer = trainability.plan(parameters | {"noise_here": False, "lags_here": [20], "arms_here": ["none"]})
    assert {(run.gate, run.settings["task_options"]["steps"]) for run in fewer} == {("none", 21)}


def test_only_the_first_input_is_heard_in_silence() -> None:
    quiet, noisy = (trainability.held(TASK, noise).draw(4, training.generators(SEEDS)) for noise in (0.0, 1.0))
    torch.testing.assert_close(quiet.u[0], noisy.u[0], atol=0, rtol=0)
    torch.testing.assert_close(quiet.target, quiet.u[0, ..., :1], atol=0, rtol=0)
    assert not quiet.u[1:].any()
    assert noisy.u[1:].all()


def test_the_same_seed_has_the_same_weights_with_every_gate() -> None:
    models = [weights(gate) for gate in ("none", "constant", "scalar", "multi")]
    for name in ("W_r", "W_i", "W_o"):
        for model in models[1:]:
            torch.testing.assert_close(getattr(model, name), getattr(models[0], name), atol=0, rtol=0)
    many = trainability.network(TASK, "none", range(60), 1.3).W_r.detach()
    assert float(many.std()) * 6**0.5 == pytest.approx(1.3, rel=0.02)


@pytest.mark.parametrize("gate", ["constant", "scalar", "multi"])
def test_a_gate_starts_at_its_mean(gate: str) -> None:
    model = weights(gate)
    g = model.run(torch.zeros(1, 2, 1, 1)).g
    torch.testing.assert_close(g, torch.full_like(g, 1 / 7))


def test_near_the_identity_is_the_linear_network_of_the_constant_gate() -> None:
    slow, constant = weights("none", near_identity=True), weights("constant")
    silence = torch.zeros(1, 2, 1, 1)
    J = [jacobian.blocks(model, model.run(silence)) for model in (slow, constant)]
    torch.testing.assert_close(J[0], J[1])
    torch.testing.assert_close(slow.W_i, constant.W_i / 7)


def test_a_profile_is_the_norm_of_the_backward_signal() -> None:
    model, batch = weights("multi"), data()
    x, states = torch.zeros(2, 4, 6), []
    for step in batch.u.split(1):
        x = model.run(step, x).x[-1]
        x.retain_grad()
        states.append(x)
    TASK.loss(model._affine(x, model.W_o, model.b_o), batch.target).sum().backward()
    norms = torch.stack([state.grad.flatten(1).norm(dim=1) for state in states])
    expected = (norms[:-1] / norms[-1]).flip(0)
    torch.testing.assert_close(trainability.profile(model, TASK, batch), expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("gate", ["none", "scalar"])
def test_a_transplant_of_its_own_profile_changes_nothing_and_another_sets_the_norms(gate: str) -> None:
    model = weights(gate)
    changed = trainability.network(TASK, gate, SEEDS, 1.3, make=trainability.Transplanted)
    changed.register_buffer("profile", trainability.profile(model, TASK, data()))
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradients(changed)[name], gradient, atol=1e-6, rtol=1e-3)
    # with norms of zero at every lag but the first, nothing comes from before the last two steps
    changed.profile = torch.zeros(6, 2)
    at_end = gradients(changed)["W_i"]
    assert not at_end.any() or gate != "none"  # the input is shown at the first step only
    u, _ = data()
    torch.testing.assert_close(changed(u), model(u), atol=1e-6, rtol=1e-5)


def by_hooks(model: trainability.Transplanted) -> dict[str, torch.Tensor]:
    """The gradients by a plain loop in autograd: a hook on each state gives the signal there its new norm."""
    u, target = (value.to(model.W_r) for value in data())
    model.zero_grad()
    at_end: list[torch.Tensor] = []

    def rescaled(lag: int, signal: torch.Tensor) -> torch.Tensor:
        norm = signal.flatten(1).norm(dim=1)
        if lag == 0:  # the backward pass comes here first
            at_end.append(norm)
            return signal
        return signal * (model.profile[lag - 1] * at_end[0] / norm)[:, None, None]

    x = u.new_zeros(2, 4, 6)
    for t, step in enumerate(u.split(1)):
        x = model.run(step, x).x[-1]
        x.register_hook(partial(rescaled, len(u) - 1 - t))
    TASK.loss(model._affine(x, model.W_o, model.b_o), target).sum().backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("gate", ["none", "constant", "scalar", "multi"])
def test_a_transplant_is_the_loop_that_rescales_the_signal_at_every_state(gate: str) -> None:
    model = trainability.network(TASK, gate, SEEDS, 1.3, make=trainability.Transplanted).double()
    model.register_buffer("profile", torch.rand(6, 2, generator=torch.Generator().manual_seed(0)).double() + 0.1)
    u, target = (value.double() for value in data())
    TASK.loss(model(u), target).sum().backward()
    expected = by_hooks(copy.deepcopy(model))
    assert expected.keys() == dict(model.named_parameters()).keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(model.get_parameter(name).grad, gradient, atol=1e-14, rtol=1e-11, msg=name)


def test_all_networks_of_a_seed_see_the_sequences_that_one_alone_would_see() -> None:
    shared = trainability.held(TASK, 1.0, copies=3).draw(4, training.generators([3, 3, 3, 5, 5, 5]))
    alone = trainability.held(TASK, 1.0).draw(4, training.generators([3, 5]))
    for place in range(6):
        torch.testing.assert_close(shared.u[:, place], alone.u[:, place // 3], atol=0, rtol=0)
        torch.testing.assert_close(shared.target[place], alone.target[place // 3], atol=0, rtol=0)
    assert shared.redrawn.shape == (6,)


def test_a_transplant_that_has_diverged_disturbs_nobody() -> None:
    model = trainability.network(TASK, "none", SEEDS, 1.3, make=trainability.Transplanted)
    model.register_buffer("profile", trainability.profile(model, TASK, data()))
    healthy = gradients(model)
    with torch.no_grad():
        model.W_r[0] = torch.nan
    for name, gradient in gradients(model).items():
        assert not gradient[0].isfinite().all(), name
        torch.testing.assert_close(gradient[1], healthy[name][1])


def test_each_network_takes_its_own_step_clipped_to_its_own_norm() -> None:
    model = weights("scalar")
    before, found = copy.deepcopy(model.state_dict()), gradients(model)
    trained = [gradient for name, gradient in found.items() if name not in ("b", "b_o")]
    size = torch.stack([g.flatten(1).square().sum(1) for g in trained]).sum(0).sqrt()
    clip = float(size.mean())  # of the two networks one is clipped
    trainability._prepare(model, torch.tensor([0.5, 2.0]), clip, frozen=False)
    assert [bool(norm > clip) for norm in size].count(True) == 1
    scale = torch.tensor([0.5, 2.0]) * (clip / size).clamp(max=1)
    torch.testing.assert_close(model.W_r.grad, scale[:, None, None] * found["W_r"])
    assert not model.b.grad.any()
    assert not model.b_o.grad.any()
    gradients(model)
    trainability._prepare(model, torch.ones(2), None, frozen=True)
    assert not any(getattr(model, name).grad.any() for name in ("W_rg", "W_ig", "b_g"))
    assert model.W_r.grad.any()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_trains(arm: str) -> None:
    gate, options = ARMS[arm]
    run = trainability.measure(Setup(TASK, gate, "SGD", SEEDS, 5, [5], progress=False), gains=(1.1, 1.3), **options)
    (records,) = run.probes[5].values()
    expected = [(seed, gain, rate) for seed in SEEDS for gain in (1.1, 1.3) for rate in trainability.RATES]
    assert [(record["seed"], record["gain"], record["rate"]) for record in records] == expected
    assert all(0 < record["loss"] < 10 for record in records)
    assert run.losses.shape == (5, 2)
    assert run.diverged.tolist() == [-1, -1]


def test_a_gain_does_not_feel_its_neighbours() -> None:
    setup = Setup(TASK, "scalar", "SGD", SEEDS, 5, [5], progress=False)
    together, alone = (trainability.measure(setup, gains=gains).probes[5]["map"] for gains in ((0.5, 1.3), (1.3,)))
    assert [record for record in together if record["gain"] == 1.3] == alone


def test_what_diverges_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainability, "RATES", (0.01, 1e6))
    run = trainability.measure(Setup(TASK, "none", "SGD", SEEDS, 30, [30], progress=False), gains=(3.0,))
    losses = [record["loss"] for record in run.probes[30]["map"]]
    assert [loss < 10 for loss in losses] == [True, False, True, False]
    assert losses[1] == float("inf")
    assert all(0 < step <= 30 for step in run.diverged.tolist())
