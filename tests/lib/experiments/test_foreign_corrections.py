"""Foreign corrections are as long as the own ones, come from a fixed partner, and leave a run what it was otherwise."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from gatelr import tasks, training
from gatelr.cells import GatedRNN
from gatelr.experiments import corrections, foreign_corrections, protocol, runs
from gatelr.experiments.runs import Run

SEEDS = (21, 22, 23, 24)
TASK = tasks.get("adding", steps=6)
SMALL = {"steps": 12, "checkpoints": [0, 6, 12], "task_options": {"steps": 6}, "rate": 0.1, "foreign": True}
SMALL |= {"n": 8, "batch": 8, "fresh": 8, "probed": 4}


@pytest.mark.parametrize("S", range(2, 12))
def test_everyone_gives_to_one_other(S: int) -> None:
    order = foreign_corrections.partners(S).tolist()
    assert sorted(order) == list(range(S))
    assert all(partner != own for own, partner in enumerate(order))


@pytest.mark.parametrize("S", [4, 9, 20, 21])
def test_partners_are_the_same_in_blocks_of_an_even_number(S: int) -> None:
    run = Run("gate_corrections_training", "adding", "multi", "SGD", tuple(range(S)))
    whole = foreign_corrections.partners(S).tolist()
    for block in (2, 4, 10):
        parts = [part.seeds for part in runs.split([run], block)]
        assert [part[i] for part in parts for i in foreign_corrections.partners(len(part)).tolist()] == whole


def test_a_network_alone_has_no_partner() -> None:
    with pytest.raises(ValueError, match="got 1 networks, expected at least 2"):
        foreign_corrections.partners(1)


def test_a_foreign_correction_has_the_length_of_the_own_one_and_the_direction_of_the_partners() -> None:
    generator = torch.Generator().manual_seed(0)
    own = [torch.randn(4, 3, 3, generator=generator), torch.randn(4, 2, generator=generator)]
    own = [each * torch.tensor([1.0, 2.0, 3.0, 4.0]).view(4, *(1,) * (each.ndim - 1)) for each in own]
    order = foreign_corrections.partners(4)
    given = foreign_corrections.foreign(own, order)
    before, after = (torch.cat([each.flatten(1) for each in parts], 1) for parts in (own, given))
    torch.testing.assert_close(after.norm(dim=1), before.norm(dim=1))
    torch.testing.assert_close(torch.cosine_similarity(after, before[order], dim=1), torch.ones(4))


def test_who_has_diverged_gives_nothing_and_spoils_nobody() -> None:
    own = [torch.ones(4, 3), torch.ones(4, 2)]
    own[0][0, 1] = torch.nan
    own[1][3] = torch.inf
    given = foreign_corrections.foreign(own, foreign_corrections.partners(4))
    assert all((each == 0).all() for each in given)
    own = [torch.zeros(2, 3)]
    own[0][1] = 2.0
    (given,) = [each.tolist() for each in foreign_corrections.foreign(own, foreign_corrections.partners(2))]
    assert given == [[0.0] * 3, [0.0] * 3]  # nothing to scale, and nothing to be scaled to


@pytest.mark.parametrize("gate", ["scalar", "multi"])
@pytest.mark.parametrize("optimiser", ["SGD", "Adam"])
def test_training_takes_the_steps_that_a_plain_loop_takes(gate: str, optimiser: str) -> None:
    def networks() -> GatedRNN:
        options = {"replicas": len(SEEDS), "generator": training.generators(SEEDS)}
        return GatedRNN(TASK.n_inputs, 4, gate, dtype=torch.float64, **options)

    trained = networks()
    engine = protocol.optimised(trained, optimiser, 0.1)
    task = foreign_corrections.exchange(trained, TASK, engine)
    training.train(trained, task, engine, 3, training.generators(SEEDS, 5), batch=3, progress=False)

    model, sources = networks(), training.generators(SEEDS, 5)
    engine = protocol.optimised(model, optimiser, 0.1)
    for _ in range(3):
        data = TASK.draw(3, sources, torch.float64)
        engine.zero_grad()
        TASK.loss(model(data.u), data.target).sum().backward()
        parts = corrections.split(model, TASK, data)
        own = corrections.flat(parts.correction)
        theirs = own[[1, 0, 3, 2]]
        theirs = theirs * (own.norm(dim=1) / theirs.norm(dim=1)).unsqueeze(1)
        begin = 0
        for name, gradient in parts.gradient.items():
            width = gradient[0].numel()
            foreign = theirs[:, begin : begin + width].reshape(gradient.shape)
            model.get_parameter(name).grad = gradient - parts.correction[name] + foreign
            begin += width
        engine.step()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(trained.get_parameter(name), weight, msg=name)


def test_the_cosine_is_the_mean_over_all_pairs_with_the_partner() -> None:
    vectors = torch.randn(5, 4, 7, generator=torch.Generator().manual_seed(0))
    unit = vectors / vectors.norm(dim=-1, keepdim=True)
    expected = [(unit[:, s] @ unit[:, partner].mT).mean() for s, partner in enumerate((1, 0, 3, 2))]
    torch.testing.assert_close(foreign_corrections.cosine(vectors), torch.stack(expected))


def test_blocks_of_seeds_and_a_kill_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run("gate_corrections_training", "adding", "multi", "Adam", SEEDS, SMALL)
    whole = runs.load([run], folder=tmp_path / "whole")["training"]
    blocks = runs.load([run], block=2, folder=tmp_path / "blocks")["training"]
    pd.testing.assert_frame_equal(whole, blocks, check_exact=True)

    # killed after the file of step 6 has been written
    draw, drawn = tasks.Task.draw, []

    def dying(self: tasks.Task, *arguments: object, **options: object) -> tasks.Batch:
        drawn.append(self)
        if len(drawn) == 2 + 8:  # those for the probes, and the training batches of steps 0 to 7
            raise KeyboardInterrupt
        return draw(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "train", partial(training.train, save_every=3))
    with monkeypatch.context() as patched:
        patched.setattr(tasks.Task, "draw", dying)
        with pytest.raises(KeyboardInterrupt):
            runs.make(run, folder=tmp_path / "killed")
    (left,) = (tmp_path / "killed" / run.experiment).iterdir()
    assert torch.load(left)["step"] == 6
    resumed = runs.load([run], folder=tmp_path / "killed")["training"]
    pd.testing.assert_frame_equal(whole, resumed, check_exact=True)
    plain = Run("gate_corrections_training", "adding", "multi", "Adam", SEEDS, SMALL | {"foreign": False})
    assert not whole.equals(runs.load([plain], folder=tmp_path / "plain")["training"])
