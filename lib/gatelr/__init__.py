"""Gates as learning rates: the library under the book.

``from gatelr import GatedRNN, jacobian, transport`` works: a name is looked up when it is first asked for (PEP 562),
so that importing the package costs nothing and a chapter depends on the modules that it names and on no others.
Symbols, and claims such as C7 that docstrings name as the source of a formula, are defined in ``book/notation.md``.
"""

from importlib import import_module
from typing import Any

__title__ = "Gates as Learning Rates"
__author__ = "The Gates as Learning Rates authors"
__license__ = "MIT"
__version__ = "0.1.0"

#: Names that stand for something inside a module.
_OBJECTS = {"GatedRNN": "cells", "Trajectory": "cells"}
#: Modules and rooms.
_MODULES = (
    "adjoint",
    "anisotropy",
    "cells",
    "expansion",
    "experiments",
    "files",
    "jacobian",
    "judgement",
    "kernels",
    "networks",
    "rates",
    "record",
    "stability",
    "statistics",
    "symbolic",
    "tasks",
    "training",
    "transport",
)

__all__ = ["GatedRNN", "Trajectory", *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _OBJECTS:
        return getattr(import_module(f"gatelr.{_OBJECTS[name]}"), name)
    if name in _MODULES:
        return import_module(f"gatelr.{name}")
    raise AttributeError(f"module 'gatelr' has no attribute {name!r}, expected one of {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
