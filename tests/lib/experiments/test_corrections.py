"""Corrections against autograd through a blind gate, and their measures against what they are defined to be."""

from __future__ import annotations

import math

import pytest
import torch
from gatelr import jacobian, tasks, training, transport
from gatelr.cells import GatedRNN
from gatelr.experiments import corrections, protocol
from networks import BlindGate, relative
from torch import Tensor

SEEDS = (3, 5)
TASK = tasks.get("adding", steps=6)
GATES = ("scalar", "multi")


def network(gate: str, dtype: torch.dtype = torch.float64) -> GatedRNN:
    weights = training.generators(SEEDS)
    return GatedRNN(TASK.n_inputs, 4, gate, replicas=len(SEEDS), generator=weights, dtype=dtype)


def batch(offset: int = 0, dtype: torch.dtype = torch.float64) -> tasks.Batch:
    return TASK.draw(5, training.generators(SEEDS, offset), dtype)


def by_autograd(model: GatedRNN, data: tasks.Batch) -> list[Tensor]:
    last = model.run(data.u).x[-1]
    loss = TASK.loss(model._affine(last, model.W_o), data.target).sum()
    return list(torch.autograd.grad(loss, [model.W_r, model.W_i, model.W_rg, model.W_ig]))


@pytest.mark.parametrize("gate", GATES)
def test_a_correction_is_what_a_blind_gate_lacks(gate: str) -> None:
    model = network(gate)
    found = corrections.split(model, TASK, batch())
    whole = by_autograd(model, batch())
    model.__class__ = BlindGate
    blind = by_autograd(model, batch())
    assert list(found.gradient) == ["W_r", "W_i", "W_rg", "W_ig"]
    for name, a, b in zip(found.gradient, whole, blind, strict=True):
        assert relative(found.gradient[name], a) <= 1e-12, name
        assert (found.correction[name] - (a - b)).abs().max() <= 1e-12 * a.abs().max(), name
    assert float(found.correction["W_r"].abs().max()) > 1e-6


@pytest.mark.usefixtures("as_installed")
def test_a_fixed_gate_corrects_nothing_and_is_refused() -> None:
    model = GatedRNN(TASK.n_inputs, 4, "none", replicas=2, dtype=torch.float64)
    with pytest.raises(ValueError, match="got a network with gate='none', expected 'scalar' or 'multi'"):
        corrections.split(model, TASK, batch())


def test_size_of_known_vectors() -> None:
    gradient = {"a": torch.tensor([[[3.0, 0.0]], [[1.0, 0.0]]]), "b": torch.tensor([[4.0], [0.0]])}
    correction = {"a": torch.tensor([[[0.0, 0.0]], [[0.0, 2.0]]]), "b": torch.tensor([[-1.0], [0.0]])}
    size = corrections.size(corrections.Split(gradient, correction))
    assert size["share"].tolist() == pytest.approx([0.2, 2.0])
    assert size["cosine"].tolist() == pytest.approx([-0.8, 0.0])
    assert size["a"].tolist() == pytest.approx([0.0, 2.0])


@pytest.mark.parametrize("gate", GATES)
def test_terms_are_those_of_the_blocks(gate: str) -> None:
    model, u = network(gate).requires_grad_(False), batch().u
    medians = corrections.terms(model, u, (1, 3, 6))
    leak, recurrent, gates = jacobian.terms(model, model.run(u))
    norm = torch.linalg.matrix_norm
    step = norm(gates, 2) / norm(leak + recurrent, 2)
    assert relative(medians.pop("G"), torch.stack([step[:, s].median() for s in (0, 1)])) <= 1e-12
    assert list(medians) == ["M @1", "M @3", "M @6"]
    for lag, ratio in zip((1, 3, 6), medians.values(), strict=True):
        whole, without = (transport.products(J, lag)[-1] for J in (leak + recurrent + gates, leak + recurrent))
        expected = (norm(whole - without) / norm(whole)).median(1).values
        assert relative(ratio, expected) <= 1e-12


def test_one_direction_lasts_for_ever() -> None:
    found = corrections.persistence(torch.ones(8, 2, 3, dtype=torch.float64), (1, 7))
    for value in (*found.cosine.values(), found.shuffled, found.resultant):
        assert value.tolist() == pytest.approx([1.0, 1.0])
    assert found.random.tolist() == pytest.approx([8**-0.5] * 2)


def test_independent_directions_do_not_last(generator: torch.Generator) -> None:
    vectors = torch.randn(64, 1, 4096, generator=generator, dtype=torch.float64)
    found = corrections.persistence(vectors, (1, 2, 4))
    for value in (*found.cosine.values(), found.shuffled):
        assert abs(float(value)) < 0.01
    assert float(found.resultant) == pytest.approx(float(found.random), rel=0.02)


def test_the_shuffled_null_is_the_mean_over_orders(generator: torch.Generator) -> None:
    """Many random orders of a drifting direction have on average the closed form, at every distance."""
    vectors = torch.randn(12, 1, 3, generator=generator, dtype=torch.float64).cumsum(0)
    found = corrections.persistence(vectors, (1, 5))
    total = {1: 0.0, 5: 0.0}
    for _ in range(400):
        order = torch.randperm(12, generator=generator)
        for distance, value in corrections.persistence(vectors[order], (1, 5)).cosine.items():
            total[distance] += float(value) / 400
    assert total[1] == pytest.approx(float(found.shuffled), abs=0.03)
    assert total[5] == pytest.approx(float(found.shuffled), abs=0.03)
    assert float(found.cosine[1]) > float(found.shuffled) + 0.1


@pytest.mark.usefixtures("as_installed")
def test_a_distance_beyond_the_window_is_refused() -> None:
    with pytest.raises(ValueError, match="got a distance of 8 iterations in a window of 8, expected 1 to 7"):
        corrections.persistence(torch.ones(8, 1, 2), (1, 8))


def test_displacement_of_known_vectors() -> None:
    way = corrections.Displacement()
    way.add(torch.tensor([[3.0, 0.0]]), torch.tensor([[1.0, 1.0]]))
    way.add(torch.tensor([[3.0, 8.0]]), torch.tensor([[1.0, -1.0]]))
    shares = {name: float(value) for name, value in way.shares().items()}
    step = 2 * math.sqrt(2) / (3 + math.sqrt(73))
    assert shares == pytest.approx({"length": 0.2, "along": 0.12, "steps": step, "random": 0.2})


def test_under_sgd_the_gradients_sum_to_the_way_that_was_gone() -> None:
    start, seen = network("multi", torch.float32), []

    def probe(step: int, model: GatedRNN) -> None:
        seen.append(
            corrections.flat(corrections.split(model, TASK, TASK.draw(3, [s.clone_state() for s in sources])).gradient)
        )

    model, sources = network("multi", torch.float32), training.generators(SEEDS, protocol.TRAINING)
    training.train(
        model, TASK, torch.optim.SGD(model.parameters(), lr=0.1), 5, sources, batch=3, probe=probe, checkpoints=range(5)
    )
    moved = torch.cat([(getattr(start, w) - getattr(model, w)).flatten(1) for w in ("W_r", "W_i", "W_rg", "W_ig")], 1)
    assert relative(0.1 * torch.stack(seen).sum(0), moved) <= 1e-4
