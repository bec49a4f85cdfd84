"""What is drawn is what the docstrings say."""

import re

import pytest
import torch
from gatelr import tasks


def test_adding_marks_one_step_in_each_half_and_sums_them(generator: torch.Generator) -> None:
    u, target = tasks.adding(11, 64, generator, n_inputs=3, dtype=torch.float64)
    assert u.shape == (11, 64, 3)
    assert target.shape == (64, 1)
    marker = u[..., -1]
    assert torch.equal(marker[:5].sum(0), torch.ones(64, dtype=torch.float64))
    assert torch.equal(marker[5:].sum(0), torch.ones(64, dtype=torch.float64))
    assert torch.equal((u[..., 0] * marker).sum(0), target[:, 0])
    assert u[..., :-1].min() >= 0
    assert u[..., :-1].max() < 1


def test_adding_follows_the_released_order_of_draws() -> None:
    u, _ = tasks.adding(80, 12, torch.Generator().manual_seed(3))
    source = torch.Generator().manual_seed(3)
    noise = torch.rand(12, 80, 3, generator=source)
    first, second = (torch.randint(a, b, (12,), generator=source) for a, b in ((0, 40), (40, 80)))
    assert torch.equal(u[..., :3], noise.transpose(0, 1))
    assert torch.equal(u[..., 3].T.nonzero()[:, 1].reshape(12, 2), torch.stack([first, second], 1))


def test_the_best_constant_for_adding_scores_a_sixth(generator: torch.Generator) -> None:
    _, target = tasks.adding(10, 20000, generator)
    # the mean squared error of 1 has standard error sqrt(7/180 - 1/36)/sqrt(20000), about 0.0008; this allows five
    assert float((target - 1).square().mean()) == pytest.approx(1 / 6, abs=0.004)


def test_digits_are_the_images_read_row_by_row() -> None:
    from sklearn.datasets import load_digits

    data = load_digits()
    u, target = tasks.digits(dtype=torch.float64)
    assert u.shape == (tasks.DIGIT_STEPS, 1797, 1)
    assert torch.equal(u[:, 5, 0].reshape(8, 8) * 16, torch.from_numpy(data.images[5]))
    assert torch.equal(target, torch.from_numpy(data.target))
    assert set(target.tolist()) == set(range(tasks.DIGIT_CLASSES))
    assert u.min() == 0
    assert u.max() == 1


def test_digits_drawn_are_distinct_and_follow_the_generator() -> None:
    first, again, other = (tasks.digits(200, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first.u, again.u)
    assert torch.equal(first.target, again.target)
    assert not torch.equal(first.target, other.target)
    whole = tasks.digits().u[..., 0].T
    rows = {tuple(sequence.tolist()) for sequence in first.u[..., 0].T}
    assert len(rows) == 200
    assert rows <= {tuple(sequence.tolist()) for sequence in whole}


@pytest.mark.usefixtures("as_installed")
def test_bad_sizes_are_refused(generator: torch.Generator) -> None:
    for call, sentence in (
        (lambda: tasks.adding(1, 4, generator), "got steps=1, expected at least 2"),
        (lambda: tasks.adding(8, 0, generator), "got batch=0, expected at least 1"),
        (lambda: tasks.adding(8, 4, generator, n_inputs=1), "got n_inputs=1, expected at least 2"),
        (lambda: tasks.digits(0, generator), "got batch=0, expected between 1 and the 1797 digits"),
        (lambda: tasks.digits(9999, generator), "got batch=9999, expected between 1 and the 1797 digits"),
        (lambda: tasks.digits(3), "no generator, expected a torch.Generator"),
    ):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            call()
