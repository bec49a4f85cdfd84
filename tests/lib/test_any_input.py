"""Whatever a public function is given, it answers rightly or says in one sentence what is wrong.

Every argument of every function of the numeric library is spoiled in every way of ``any_input/strange.py``, alone and
with another. What then comes is an error that the docstring names, or the answer of a plain reference,
``any_input/plain.py``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest
import torch
from any_input import of_measures, of_networks, of_products, of_rates, of_tasks, of_training
from any_input.strange import places
from any_input.subjects import SUBJECTS, check
from gatelr import adjoint, alignment, anisotropy, expansion, jacobian, rates, stability, tasks, training, transport
from gatelr.cells import GATES
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import config
from networks import Case

ROOMS = (of_networks, of_products, of_rates, of_measures, of_tasks, of_training)

#: Examples of each function by hand and every week, and how many of these must come to a call: some cannot be made.
QUICK, WEEKLY, LEAST = 12, 500, 400


@pytest.fixture(autouse=True, scope="module")
def as_installed_everywhere() -> Iterator[None]:
    """Without the shape checker, as a user has it."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


cases = st.builds(
    Case,
    gate=st.sampled_from(GATES),
    n=st.integers(1, 3),
    m=st.integers(1, 3),
    T=st.integers(1, 4),
    batch=st.sampled_from([(), (1,), (2,), (2, 1)]),
    replicas=st.sampled_from([None, None, 1, 2]),
    bias=st.booleans(),
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from([torch.float64, torch.float32]),
)


def fuzz(name: str, examples: int) -> int:
    """Spoil the arguments of one function so often; how often it was called."""
    count = 0

    @settings(max_examples=examples)
    @given(case=cases, place=places, data=st.data())
    def spoil(case: Case, place: int, data: st.DataObject) -> None:
        nonlocal count
        made = SUBJECTS[name](case, place)
        names = data.draw(st.lists(st.sampled_from(sorted(made.strange)), max_size=2, unique=True))
        spoiled = [(each, data.draw(st.sampled_from(made.strange[each])), data.draw(places)) for each in names]
        count += check(made, spoiled)

    spoil()
    return count


@pytest.mark.filterwarnings("ignore:Casting complex values:UserWarning")
@pytest.mark.parametrize("name", SUBJECTS)
def test_any_input_is_answered_rightly_or_refused(name: str) -> None:
    fuzz(name, QUICK)


@pytest.mark.weekly
@pytest.mark.filterwarnings("ignore:Casting complex values:UserWarning")
@pytest.mark.parametrize("name", SUBJECTS)
def test_any_of_many_inputs_is_answered_rightly_or_refused(name: str) -> None:
    assert fuzz(name, WEEKLY) >= LEAST
    assert LEAST * len(SUBJECTS) >= 20_000


MODULES = (adjoint, alignment, anisotropy, expansion, jacobian, rates, stability, tasks, training, transport)


def test_every_public_function_is_among_them() -> None:
    """Each is called by some subject, by name in this file; what only checks or shows progress is left out."""
    source = "".join(map(inspect.getsource, ROOMS))
    left_out = {"jacobian.check_terms", "training.progress_bar", "tasks.mnist1d", "tasks.co2"}
    functions = {
        f"{module.__name__.removeprefix('gatelr.')}.{name}"
        for module in MODULES
        for name, each in vars(module).items()
        if inspect.isfunction(each) and not name.startswith("_") and each.__module__.startswith(module.__name__)
    }
    assert {name for name in functions - left_out if name not in source} == set()
