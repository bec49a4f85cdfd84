"""Imports within the library go one way, and what needs an extra is asked for late, in one sentence."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from itertools import product

import grimp
import pytest

GRAPH = grimp.build_graph("gatelr", cache_dir=None)
MODULES = GRAPH.modules - {"gatelr"}

KERNELS = {name for name in MODULES if name.startswith("gatelr.kernels")}
TASKS = {name for name in MODULES if name.startswith("gatelr.tasks")} | {"gatelr.training", "gatelr.checkpoint"}
EXPERIMENTS = {name for name in MODULES if name.startswith("gatelr.experiments")}
RECORD = {name for name in MODULES if name.startswith("gatelr.record")}
SYMBOLIC = {name for name in MODULES if name.startswith("gatelr.symbolic")}
#: What serves all and knows nothing of networks.
SHARED = {"gatelr.files", "gatelr.judgement", "gatelr.statistics"}
NETWORKS = {name for name in MODULES if name.startswith("gatelr.networks")}
COMMAND = {name for name in MODULES if name.startswith("gatelr.command")} | {"gatelr.__main__"}
NOUNS = MODULES - KERNELS - TASKS - EXPERIMENTS - RECORD - SHARED - NETWORKS - COMMAND

#: Each floor, and the floors that it may look down on.
FLOORS = {
    "kernels": (KERNELS, set[str]()),
    "shared": (SHARED, set[str]()),
    "nouns": (NOUNS, KERNELS),
    "networks": (NETWORKS, KERNELS | NOUNS | {"gatelr.files"}),
    "command": (COMMAND, NOUNS | NETWORKS | {"gatelr.files"}),
    "tasks and training": (TASKS, KERNELS | NOUNS | SHARED),
    "experiments": (EXPERIMENTS, KERNELS | NOUNS | SHARED | TASKS | NETWORKS),
    "record": (RECORD, SHARED),
}


@pytest.mark.parametrize("floor", FLOORS)
def test_nothing_imports_upwards(floor: str) -> None:
    modules, below = FLOORS[floor]
    assert modules
    found = {
        (importer, imported)
        for importer in modules
        for imported in GRAPH.find_modules_directly_imported_by(importer) - {"gatelr"}
        if imported not in modules | below
    }
    assert found == set()


def test_no_two_modules_import_each_other() -> None:
    found = [name for name in MODULES if name in GRAPH.find_upstream_modules(name)]
    assert found == []


def test_the_package_itself_imports_nothing() -> None:
    assert GRAPH.find_modules_directly_imported_by("gatelr") == set()


#: What comes with each extra and is imported by the library.
EXTRAS = {
    "symbolic": ("sympy",),
    "experiments": ("grimp", "mnist1d", "pandas", "scipy", "sklearn", "statsmodels", "tqdm"),
    "record": ("IPython", "matplotlib", "seaborn", "tabulate"),
}


def without(extras: tuple[str, ...], code: str) -> subprocess.CompletedProcess[str]:
    """Run a piece of Python where nothing of some extras is installed."""
    names = [module for extra in extras for module in EXTRAS[extra]]
    blocked = f"import sys\nsys.modules.update(dict.fromkeys({names!r}))\n"
    command = [sys.executable, "-c", blocked + textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_nouns_need_no_extra() -> None:
    names = sorted(KERNELS | NOUNS - SYMBOLIC | TASKS | NETWORKS | COMMAND - {"gatelr.__main__"} | {"gatelr.files"})
    done = without(
        tuple(EXTRAS),
        f"""
        import importlib
        for name in {names!r}:
            importlib.import_module(name)
        del sys.modules["sympy"]  # torch has it too, for its own
        import torch
        from gatelr import GatedRNN, jacobian, tasks, training, transport
        task = tasks.get("adding", steps=4)
        model = GatedRNN(task.n_inputs, 3, "multi")
        source = torch.Generator().manual_seed(0)
        training.train(model, task, torch.optim.SGD(model.parameters(), lr=0.1), 2, source)
        model.requires_grad_(False)
        transport.sensitivities(jacobian.blocks(model, model.run(task.draw(2, source).u)))
        """,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ("experiments", "from gatelr import tasks; tasks.get('digits')"),
        ("experiments", "from gatelr import tasks; tasks.get('mnist1d')"),
        ("experiments", "from gatelr import training; training.progress_bar(True)"),
        ("experiments", "from gatelr.experiments import runs; runs.load([])"),
        ("experiments", "from gatelr import statistics"),
        ("experiments", "from gatelr import judgement"),
        ("record", "from gatelr import record"),
        ("symbolic", "from gatelr import symbolic"),
    ],
)
def test_what_needs_an_extra_says_which(extra: str, code: str) -> None:
    done = without((extra,), code)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert f"pip install 'gatelr[{extra}]'" in last


def test_a_floor_has_every_module_and_none_twice() -> None:
    floors = [modules for modules, _ in FLOORS.values()]
    assert set().union(*floors) == MODULES
    assert all(not a & b for a, b in product(floors, floors) if a is not b)
