"""What the library says of itself: its examples do what they show, and whoever comes first finds one."""

from __future__ import annotations

import doctest
import inspect

import pytest
from names import MODULES, public, thing
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.pycode import ModuleAnalyzer

# What a newcomer calls first: each shows how.
SHOWN = {
    "cells": ["GatedRNN", "GatedRNN.run", "GatedRNN.forward"],
    "jacobian": ["terms", "blocks"],
    "transport": ["products", "sensitivities"],
    "expansion": ["split", "orders", "remainder", "remainder_bound"],
    "adjoint": ["costates", "gradients"],
    "rates": ["retention", "effective", "shares", "eligibility"],
    "networks.layers": ["run", "terms", "blocks"],
    "networks.measures": ["effective", "budget", "time_constants"],
    "networks.gradients": ["gradient_by_lag"],
    "networks.transports": ["lyapunov"],
    "anisotropy": ["anisotropy_index", "energy_concentration"],
    "tasks": ["get"],
    "tasks.sums": ["adding"],
    "training": ["train"],
    "experiments.corrections": ["split", "persistence"],
}

DOCUMENTED = {
    path: thing(path)
    for module in MODULES
    for path in public(module)
    if inspect.isroutine(thing(path)) or inspect.isclass(thing(path))
}
# Without globals of the module's: an example imports what it uses, so that a reader can paste it.
_FINDER = doctest.DocTestFinder(recurse=False)
EXAMPLES = {
    test.name: test
    for path, each in DOCUMENTED.items()
    for test in _FINDER.find(each, path, module=False, globs={})
    if test.examples
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_does_what_it_shows(name: str) -> None:
    said: list[str] = []
    results = doctest.DocTestRunner(verbose=False).run(EXAMPLES[name], out=said.append)
    assert not results.failed, "".join(said)


@pytest.mark.parametrize("name", [f"{module}.{name}" for module, names in SHOWN.items() for name in names])
def test_what_a_newcomer_calls_first_has_an_example(name: str) -> None:
    assert name in EXAMPLES


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_docstring_is_there_and_begins_with_a_sentence(name: str) -> None:
    first = (inspect.getdoc(DOCUMENTED[name]) or "").partition("\n\n")[0]
    assert first.endswith((".", "…")), f"{name}: {first!r}"


@pytest.mark.parametrize("module", MODULES)
def test_a_comment_on_a_constant_is_not_read_as_a_type(module: str) -> None:
    """Sphinx takes what stands before a colon for the constant's type, and then cannot find it."""
    comments = ModuleAnalyzer.for_module(f"gatelr.{module}").find_attr_docs()
    taken = [
        name
        for (_, name), lines in comments.items()
        if ":type:" in str(GoogleDocstring(lines, Config(), what="data", name=name))
    ]
    assert not taken, f"write the comment on {', '.join(taken)} in {module}.py without a colon"
