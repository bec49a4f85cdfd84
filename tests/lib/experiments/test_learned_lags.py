"""Masking, gradients and the linear reader, against sums that can be done by hand."""

import copy

import pytest
import torch
from gatelr import tasks, training
from gatelr.experiments import learned_lags
from torch import Tensor


class Weighted(torch.nn.Module):
    """A sum of the inputs of channel 0 with a weight for each step."""

    def __init__(self, weights: Tensor):
        super().__init__()
        self.weights = weights

    def forward(self, u: Tensor) -> Tensor:
        return torch.einsum("tb,t->b", u[..., 0], self.weights).unsqueeze(-1)


TASK = tasks.get("moving_average", steps=8, n_inputs=1)


def data(count: int = 500) -> tuple[Tensor, Tensor]:
    u, _ = TASK.draw(count, torch.Generator().manual_seed(1), torch.float64)
    return u, Weighted(torch.arange(8.0, dtype=torch.float64))(u)


def test_masking_a_perfect_reader_costs_the_variance_of_what_it_reads() -> None:
    u, target = data()
    weights = torch.arange(8.0, dtype=torch.float64)
    steps = [torch.tensor([k]) for k in range(8)] + [torch.tensor([2, 5])]
    cost = learned_lags.masked(Weighted(weights), TASK, u, target, steps)
    variance = u[..., 0].var(1, correction=0)
    torch.testing.assert_close(cost[:8], weights**2 * variance)
    both = (2 * u[2, :, 0] + 5 * u[5, :, 0]).var(correction=0)
    torch.testing.assert_close(cost[8], both)


def test_masking_leaves_its_inputs_alone_and_helps_who_reads_noise() -> None:
    u, target = data()
    before, weights = u.clone(), torch.arange(8.0, dtype=torch.float64)
    weights[0] = 3.0  # the target does not have it
    cost = learned_lags.masked(Weighted(weights), TASK, u, target, [torch.tensor([0])])
    assert torch.equal(u, before)
    assert float(cost) < 0


def test_classes_are_masked_in_nats() -> None:
    task = tasks.get("digits")
    u, target = task.draw(50, torch.Generator().manual_seed(1), torch.float64)
    readout = torch.randn(64, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    answer = lambda u: u[..., 0].mT @ readout  # noqa: E731
    blind = u.clone()
    blind[7:9] = u[7:9].mean(1, keepdim=True)
    expected = task.loss(answer(blind), target) - task.loss(answer(u), target)
    cost = learned_lags.masked(answer, task, u, target, [torch.tensor([7, 8])])
    torch.testing.assert_close(cost, expected.unsqueeze(0))


def test_the_gradient_is_that_of_each_sequence_alone() -> None:
    u, target = data(5)
    answer = Weighted(torch.linspace(-1, 1, 8, dtype=torch.float64))
    error = (answer(u) - target)[:, 0]
    expected = (2 * error.square().mean().sqrt() * answer.weights).abs()
    torch.testing.assert_close(learned_lags.input_gradient(answer, TASK, u, target), expected)


def test_a_linear_reader_learns_what_is_linear_and_has_all_steps_at_once() -> None:
    u, target = data()
    reader = learned_lags.linear_reader(TASK, u, target)
    fresh, expected = data(50)
    assert float(TASK.loss(reader(fresh.float()), expected.float())) < 0.02 * float(expected.var())
    task = tasks.get("digits")
    known, unseen = (task.draw(400, training.generators([1])[0], held_out=held) for held in (False, True))
    reader = learned_lags.linear_reader(task, known.u, known.target)
    right = reader(unseen.u).argmax(-1) == unseen.target
    assert float(right.float().mean()) > 0.8


def test_a_linear_reader_of_classes_is_the_minimum_whatever_the_processor() -> None:
    task = tasks.get("digits")
    known = task.draw(400, training.generators([1])[0])
    reader = copy.deepcopy(learned_lags.linear_reader(task, known.u, known.target)).double().requires_grad_()
    weight, bias = reader.parameters()
    misfit = torch.nn.functional.cross_entropy(reader(known.u.double()), known.target, reduction="sum")
    slopes = torch.autograd.grad(misfit + weight.square().sum() / 2, (weight, bias))
    # what stops at the default of scikit-learn is 0.03 away, and elsewhere on each processor
    assert max(float(slope.abs().max()) for slope in slopes) < 1e-5


def test_without_scikit_learn_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.linear_model", None)
    with pytest.raises(ImportError, match=r"a linear reader needs scikit-learn: pip install 'gatelr\[experiments\]'"):
        learned_lags.linear_reader(TASK, *data(5))
