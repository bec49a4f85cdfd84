"""A diagnosis as plain data: what the page shows and what its JSON holds."""

from __future__ import annotations

import dataclasses
import math
import platform
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gatelr import __version__

#: The version of the layout; it goes up by one when a name changes its meaning or goes.
SCHEMA = 1


def content(diagnosis: Any) -> dict[str, Any]:
    """All fields of a diagnosis by name, with the layout's version and those of the packages.

    Args:
        diagnosis: what :func:`~gatelr.networks.diagnosis.diagnose.diagnose` returned.

    Returns:
        Dictionaries, lists, texts, numbers, truth values and None. JSON has no word for NaN and infinity: they are the
        texts ``NaN``, ``Infinity`` and ``-Infinity``, which Python's ``float`` and JavaScript's ``Number`` read.
    """
    fields: dict[str, Any] = plain(diagnosis)
    layers = [{"name": layer.name, **fields["layers"][at]} for at, layer in enumerate(diagnosis.layers)]
    versions = {"gatelr": __version__, "torch": torch.__version__, "Python": platform.python_version()}
    return {"schema": SCHEMA, "versions": versions, **fields, "layers": layers}


def plain(value: Any) -> Any:
    """A dataclass as a dictionary, a tensor as lists, and a number that JSON has no word for as a text.

    Raises:
        TypeError: for anything that is none of these.
    """
    if isinstance(value, Tensor):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    raise TypeError(f"got a {type(value).__name__}, expected a dataclass, a tensor, a container, a number or a text")
