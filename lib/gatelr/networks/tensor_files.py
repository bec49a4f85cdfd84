"""Tensors out of files, by name, and never code.

Torch's own files are read by ``torch.load(weights_only=True)``, NumPy's with ``allow_pickle=False``. A file of
safetensors is a header in JSON and the numbers, so that it needs no package.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

_SAFE_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def tensors(path: str | Path) -> dict[str, Tensor]:
    """All tensors of a file by name; those of nested dictionaries by their names joined with dots.

    Args:
        path: ``.npy``, ``.npz``, ``.safetensors``, or a file that ``torch.save`` wrote, under any other ending. An
            array or a tensor that stands alone has the name "".

    Returns:
        A dictionary by name, on the CPU.

    Raises:
        ValueError: for a file that is damaged, is of another kind, or would need code to be read.
        OSError: if it cannot be opened.
    """
    path = Path(path)
    with path.open("rb"):  # what is wrong with the path itself is said by the system
        pass
    if path.suffix in (".npy", ".npz"):
        return _from_numpy(path)
    return _from_safetensors(path) if path.suffix == ".safetensors" else _from_torch(path)


def tensor(path: str | Path, key: str | None = None) -> Tensor:
    """The one tensor of a file, or the one named ``key``.

    Args:
        path: as for :func:`tensors`.
        key: its name; not needed where the file holds one.

    Returns:
        The tensor, on the CPU.

    Raises:
        ValueError: if there are several and none is named, or none of that name; else as :func:`tensors`.
        OSError: if the file cannot be opened.
    """
    stored = tensors(path)
    if key is None and len(stored) == 1:
        return next(iter(stored.values()))
    names = ", ".join(repr(name) for name in sorted(stored)[:10]) or "no array at all"
    if key is None:
        raise ValueError(f"got {len(stored)} arrays in {path}, expected one: say by its key which is meant of {names}")
    if key not in stored:
        raise ValueError(f"got no array {key!r} in {path}, expected one of {names}")
    return stored[key]


def _from_numpy(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            arrays = {"": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
            return {name: torch.from_numpy(array) for name, array in arrays.items()}
    except Exception as error:  # NumPy has a word of its own for each way in which a file is not its own
        raise ValueError(
            f"got {path}, which holds no plain numbers ({_first_line(error)}): save an array of floating point, "
            "without objects, by numpy.save"
        ) from error


def _from_torch(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive, an old format and a pickled class each raise something else
        # Torch's own words would advise to run what is in the file.
        reason = "pickled objects, or damaged" if isinstance(error, pickle.UnpicklingError) else _first_line(error)
        raise ValueError(
            f"got {path}, which cannot be read without running code from it ({reason}): save the tensors alone, "
            "such as by torch.save(model.state_dict(), path)"
        ) from error
    by_name: dict[str, Tensor] = {}
    _flatten(content, "", by_name)
    return by_name


def _flatten(content: Any, name: str, by_name: dict[str, Tensor]) -> None:
    """Put what is a tensor into ``by_name``; a checkpoint holds other things beside, which are passed over."""
    if isinstance(content, Tensor):
        by_name[name] = content.detach()
    elif isinstance(content, Mapping):
        for key, value in content.items():
            _flatten(value, f"{name}.{key}" if name else str(key), by_name)


def _from_safetensors(path: Path) -> dict[str, Tensor]:
    """Eight bytes with the length of the header, the header in JSON, and the numbers one after the other."""
    content = path.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    try:
        header: dict[str, Any] = json.loads(content[8:begin])
        header.pop("__metadata__", None)
        by_name = {}
        for name, entry in header.items():
            start, end = (begin + offset for offset in entry["data_offsets"])
            if entry["dtype"] not in _SAFE_DTYPES:
                raise ValueError(f"{name} has numbers of the type {entry['dtype']}")
            dtype, numbers = _SAFE_DTYPES[entry["dtype"]], bytearray(content[start:end])
            flat = torch.frombuffer(numbers, dtype=dtype) if numbers else torch.empty(0, dtype=dtype)
            by_name[name] = flat.reshape(entry["shape"])
        return by_name
    except (ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise ValueError(
            f"got {path}, which cannot be read as safetensors ({_first_line(error)}): save it again"
        ) from error


def _first_line(error: Exception) -> str:
    """The first line of what a library says, without its full stop."""
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
