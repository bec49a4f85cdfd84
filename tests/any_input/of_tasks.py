"""Tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from gatelr import tasks
from networks import Case
from torch import Tensor

from any_input.strange import (
    CHOICE,
    DEVICE,
    DTYPE,
    GENERATOR,
    NONE,
    TENSOR,
    TRUTH,
    WHOLE,
    WHOLES,
    Strange,
)
from any_input.subjects import Subject, against, close, optional, subject


def drawn(
    case: Case, place: int, function: Callable[..., Any], target: Callable[..., Tensor | None], **more: Any
) -> Subject:
    """A task's function; the target is made again from the inputs."""
    kinds = {"delays": WHOLES}
    given = {"steps": 12, "batch": 3, "n_inputs": 4, "generator": torch.Generator(), "dtype": case.dtype} | more
    strange = {name: kinds.get(name, WHOLE) for name in given} | {
        "generator": [*GENERATOR, NONE],
        "dtype": [*DTYPE, NONE],
    }

    def judge(made: Any, arguments: dict[str, Any]) -> None:
        u, found = made
        sizes = {name: arguments[name] for name in ("steps", "batch", "n_inputs")}
        assert u.shape == tuple(sizes.values())
        assert min(sizes.values()) >= 1
        assert u.dtype == arguments["dtype"] == found.dtype
        expected = target(u, **{name: arguments[name] for name in more})
        if expected is not None:
            close(found[:, 0], expected)

    return Subject(function, given, strange, judge)


def _marked(u: Tensor, marks: int = 2) -> Tensor:
    assert ((u[..., -1] == 1).sum(0) == marks).all()
    return (u[..., 0] * u[..., -1]).sum(0)


def _last(u: Tensor, window: int) -> Tensor:
    assert 1 <= window <= len(u)
    return u[-window:, :, 0].sum(0)


def _narma(u: Tensor, order: int) -> Tensor:
    a, b, c = {10: (0.3, 0.05, 0.1), 20: (0.1, 0.04, 0.2)}[order]
    y = [torch.zeros(u.shape[1], dtype=torch.float64)]
    x = u[..., 0].double()
    for t in range(len(x)):
        window = sum(y[max(0, t + 1 - order) : t + 1])
        late = 1.5 * x[t - order + 1] * x[t] if t >= order - 1 else 0
        y.append(a * y[-1] + b * y[-1] * window + late + c)
    return y[-1]


@subject
def tasks_adding(case: Case, place: int) -> Subject:
    return drawn(case, place, tasks.adding, lambda u: _marked(u))


@subject
def tasks_recall(case: Case, place: int) -> Subject:
    return drawn(case, place, tasks.recall, _marked, marks=1 + place % 4)


@subject
def tasks_short(case: Case, place: int) -> Subject:
    return drawn(case, place, tasks.short, _last, window=1 + place % 12)


@subject
def tasks_moving_average(case: Case, place: int) -> Subject:
    target = lambda u, window: _last(u, window) / window  # noqa: E731
    return drawn(case, place, tasks.moving_average, target, window=1 + place % 12)


@subject
def tasks_delay_sum(case: Case, place: int) -> Subject:
    def target(u: Tensor, delays: list[int]) -> Tensor:
        assert len(set(delays)) == len(delays) > 0
        assert 0 <= min(delays) <= max(delays) < len(u)
        return torch.stack([u[len(u) - 1 - delay, :, 0] for delay in delays]).mean(0)

    return drawn(case, place, tasks.delay_sum, target, delays=[0, 3, 11])


@subject
def tasks_sinmix(case: Case, place: int) -> Subject:
    def target(u: Tensor) -> Tensor:
        waves, T = u[..., :2], len(u)
        change = waves[3 * T // 4 :].mean(0) - waves[: T // 4].mean(0)
        return change[:, 0] - change[:, 1]

    return drawn(case, place, tasks.sinmix, target)


@subject
def tasks_ar2(case: Case, place: int) -> Subject:
    return drawn(case, place, tasks.ar2, lambda u: None)


@subject
def tasks_narma(case: Case, place: int) -> Subject:
    return drawn(case, place, tasks.narma, _narma, order=10)


@subject
def tasks_digits(case: Case, place: int) -> Subject:
    every = tasks.digits()
    known = {tuple(row) for row in every.u[..., 0].T.tolist()}

    def judge(made: tasks.Batch, given: dict[str, Any]) -> None:
        u, labels = made
        size = {"all": 1797, "train": 1297, "test": 500}[given["split"]]
        assert u.shape == (64, size if given["batch"] is None else given["batch"], 1)
        assert 1 <= u.shape[1] <= size
        assert labels.shape == u.shape[1:2]
        assert u.dtype == given["dtype"]
        assert {tuple(row) for row in u[:, :5, 0].T.float().tolist()} <= known

    given = {"batch": 3, "generator": torch.Generator(), "split": ("all", "train", "test")[place % 3]}
    strange = {"batch": optional(WHOLE), "generator": [*GENERATOR, NONE], "split": CHOICE, "dtype": [*DTYPE, NONE]}
    return Subject(tasks.digits, given | {"dtype": torch.float32, "device": "cpu"}, strange | {"device": DEVICE}, judge)


@subject
def tasks_get(case: Case, place: int) -> Subject:
    name = tasks.NAMES[place % 7]

    def judge(task: tasks.Task, given: dict[str, Any]) -> None:
        u, target = task.draw(2, torch.Generator())
        assert (task.name, task.steps, task.n_inputs) == tuple(given.values())
        assert u.shape == (task.steps, 2, task.n_inputs)
        assert torch.isfinite(target).all()

    strange = {"name": CHOICE, "steps": optional(WHOLE), "n_inputs": optional(WHOLE)}
    return Subject(tasks.get, {"name": name, "steps": 40, "n_inputs": 4}, strange, judge)


ADDING, DIGITS = tasks.get("adding", steps=5), tasks.get("digits")


@subject
def draw_of_task(case: Case, place: int) -> Subject:
    def judge(made: tasks.Batch, given: dict[str, Any]) -> None:
        assert made.u.shape == (5, given["batch"], 4)
        assert made.u.dtype == given["dtype"]
        close(made.target[:, 0], _marked(made.u))

    given = {"batch": 3, "generator": torch.Generator(), "dtype": torch.float32, "held_out": False}
    strange = {"batch": WHOLE, "generator": [*GENERATOR, NONE], "dtype": [*DTYPE, NONE], "held_out": TRUTH}
    return Subject(ADDING.draw, given, strange, judge, tasks.Task.draw)


@subject
def loss_of_numbers(case: Case, place: int) -> Subject:
    generator = torch.Generator().manual_seed(case.seed)
    shape = (2, 3, 1) if place % 2 else (3, 1)
    output, target = (torch.randn(shape, generator=generator, dtype=case.dtype) for _ in range(2))

    def reference(output: Tensor, target: Tensor) -> Tensor:
        if output.shape != target.shape or output.shape[-1] != 1 or output.ndim not in (2, 3) or not output.numel():
            raise ValueError
        rows = [
            sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) / len(x)
            for x, y in zip(output.reshape(-1, output.shape[-2]), target.reshape(-1, output.shape[-2]), strict=True)
        ]
        return torch.stack(rows).reshape(output.shape[:-2])

    return Subject(
        ADDING.loss, {"output": output, "target": target}, {"output": TENSOR, "target": TENSOR}, against(reference)
    )


@subject
def loss_of_labels(case: Case, place: int) -> Subject:
    generator = torch.Generator().manual_seed(case.seed)
    output = torch.randn(3, 10, generator=generator, dtype=case.dtype)
    target = torch.randint(10, (3,), generator=generator)
    labels = [
        *(way for way in TENSOR if way.fate == "refused" and way.what not in ("integers", "on meta")),
        Strange("floats", "refused", lambda v, i: v.double()),
        Strange("short integers", "refused", lambda v, i: v.int()),
        Strange("a label beyond", "refused", lambda v, i: v + 10),
        Strange("a negative label", "refused", lambda v, i: v - 10),
        Strange("one less", "refused", lambda v, i: v[:2]),
        Strange("an axis more", "refused", lambda v, i: v.unsqueeze(-1)),
        Strange("apart in memory", "same", lambda v, i: apart_labels(v)),
    ]

    def reference(output: Tensor, target: list[int]) -> Tensor:
        if output.shape != (3, 10):
            raise ValueError
        return -torch.stack(
            [torch.log_softmax(row, 0)[label] for row, label in zip(output, target, strict=True)]
        ).mean()

    return Subject(
        DIGITS.loss, {"output": output, "target": target}, {"output": TENSOR, "target": labels}, against(reference)
    )


def apart_labels(v: Tensor) -> Tensor:
    return torch.stack([v, v + 1], -1)[..., 0]
