"""A function at one setting, and what must become of its arguments when they are spoiled."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import torch
from gatelr.cells import GatedRNN, Trajectory
from gatelr.jacobian import Terms
from networks import Case
from torch import Tensor

from any_input.strange import NONE, Strange


class Subject(NamedTuple):
    """One function at one setting.

    Attributes:
        call: it.
        given: plain arguments, by name.
        strange: ways to spoil each.
        judge: raises unless an answer is right for these arguments.
        said: whose docstring names the errors; the function's own by default.
    """

    call: Callable[..., Any]
    given: dict[str, Any]
    strange: Mapping[str, list[Strange]]
    judge: Callable[..., None]
    said: Any = None


def against(reference: Callable[..., Any]) -> Callable[..., None]:
    """A judge that compares with a reference."""

    def judge(answer: Any, arguments: dict[str, Any]) -> None:
        close(answer, reference(**arguments), arguments.values())

    return judge


def close(ours: Any, theirs: Any, given: Any = ()) -> None:
    """Equal up to rounding in the lower precision of what was given; where one is not finite, neither is the other."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            close(ours[name], value, given)
        return
    if isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            close(a, b, given)
        return
    if not isinstance(theirs, Tensor):
        assert ours == theirs or (ours != ours and theirs != theirs)
        return
    assert ours.shape == theirs.shape, f"got {tuple(ours.shape)}, expected {tuple(theirs.shape)}"
    tensors = [v for each in given for v in (each if isinstance(each, Trajectory | Terms) else [each])]
    low = any(isinstance(v, Tensor) and v.dtype in (torch.float32, torch.complex64) for v in (*tensors, ours))
    precision = 1e-3 if low else 1e-8
    ours, theirs = (v.detach().to(torch.complex128 if v.is_complex() else torch.float64) for v in (ours, theirs))
    good = theirs.isfinite()
    assert torch.equal(good, ours.isfinite()), f"got {ours}, expected {theirs}"
    if good.any():
        size = theirs[good].abs()
        apart = (ours[good] - theirs[good]).abs()
        assert (apart <= precision * (size + size.max())).all(), f"got {ours}, expected {theirs}"


def plainly(value: Any) -> Any:
    """What a reference is given: tensors of their own without a graph, Python's numbers."""
    if isinstance(value, Trajectory | Terms):
        return type(value)(*map(plainly, value))
    if isinstance(value, Tensor) and not value.is_floating_point() and not value.is_complex():
        return value.tolist()
    if isinstance(value, Tensor):
        return value.detach().clone()
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def documented(thing: Any) -> set[str]:
    """The errors that a docstring names, in it or where it says that they stand."""
    text = inspect.getdoc(thing) or ""
    if said := re.search(r"^Raises:\n((?:[ ]+.*\n?|\n)+)", text, flags=re.MULTILINE):
        return set(re.findall(r"^ {4}(\w+):", said[1], flags=re.MULTILINE))
    if elsewhere := re.search(r"Raises as for :\w+:`[~.]?([\w.]+)`", text):
        module, _, name = elsewhere[1].rpartition(".")
        return documented(getattr(import_module(module or inspect.getmodule(thing).__name__), name))
    return set()


def check(subject: Subject, spoiled: list[tuple[str, Strange, int]]) -> bool:
    """Call, and hold the outcome against what must become of it; whether there was anything to call."""
    arguments = dict(subject.given)
    for name, way, place in spoiled:
        try:
            arguments[name] = way.make(arguments[name], place)
        except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):
            return False  # spoiled twice, it cannot be spoiled in this way
    fates = {way.fate for _, way, _ in spoiled}
    what = ", ".join(f"{name} is {way.what}" for name, way, _ in spoiled) or "plain"
    error: Exception | None = None
    try:
        answer = subject.call(**arguments)
    except Exception as raised:
        error = raised
    if error is not None:
        assert fates - {"same"}, f"{what}: refused with {type(error).__name__}: {error}"
        named = documented(subject.said or subject.call)
        kind, sentence = type(error).__name__, str(error)
        assert kind in named, f"{what}: {kind}: {sentence}, but the docstring names {named}"
        assert re.fullmatch(r".*\bgot .*expected .*", sentence), f"{what}: {sentence}"
        return True
    assert "refused" not in fates, f"{what}: answered {answer}"
    try:
        subject.judge(answer, {name: plainly(value) for name, value in arguments.items()})
    except Exception as wrong:
        raise AssertionError(f"{what}: {type(wrong).__name__}: {wrong}; answered {answer}") from wrong
    return True


SUBJECTS: dict[str, Callable[[Case, int], Subject]] = {}


def subject(make: Callable[[Case, int], Subject]) -> Callable[[Case, int], Subject]:
    """Enter one in the list."""
    SUBJECTS[make.__name__.replace("_of_", ".")] = make
    return make


def optional(strange: list[Strange]) -> list[Strange]:
    """Where None is an answer too."""
    return [way for way in strange if way is not NONE]


def recorded(case: Case) -> tuple[GatedRNN, Trajectory, Tensor]:
    """A network, its run, and a delta for each state."""
    model = case.model()
    with torch.no_grad():
        run = model.run(*case.inputs())
    generator = torch.Generator().manual_seed(case.seed)
    return model, run, torch.randn(run.x.shape, generator=generator, dtype=case.dtype)


def matrices(case: Case, *more: int) -> Tensor:
    """Random Jacobians ``(T, *batch, n, n)``."""
    generator = torch.Generator().manual_seed(case.seed)
    return torch.randn(*more, case.T, *case.batch, case.n, case.n, generator=generator, dtype=case.dtype)
