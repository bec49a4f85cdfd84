"""Shapes are checked at run time in every test: the hook must stand before the first import of the library."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from jaxtyping import config, install_import_hook

from workflow import fewer_imports  # noqa: F401

gc.disable()  # until all is imported and collected, which stays to the end: looking through it takes half as long again

LIBRARY = Path(__file__).parents[1] / "lib"
# Files only: the hook of a package is also that of every module in it.
MODULES = {".".join(path.relative_to(LIBRARY).with_suffix("").parts) for path in LIBRARY.rglob("[a-z]*.py")}
# Not symbolic: beartype refuses SymPy's classes, whose repr is not that of a class; it has no tensors in it but one.
CHECKED = sorted(name for name in MODULES if not name.startswith("gatelr.symbolic."))
install_import_hook(CHECKED, "beartype.beartype")

import torch  # noqa: E402
from hypothesis import settings  # noqa: E402

settings.register_profile("book", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("book")
torch.set_num_threads(1)  # the test runner already uses every core


def pytest_collection_finish() -> None:
    gc.freeze()  # nor is it looked through later, or taken apart at the end
    gc.enable()


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(20250816)


@pytest.fixture
def as_installed() -> Iterator[None]:
    """Without the shape checker, as a user has it: the library's own sentences must come."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
