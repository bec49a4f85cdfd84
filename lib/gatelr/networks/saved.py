"""A recurrent network and its data out of files: tensors by name, and never code.

Torch's own files are read by ``torch.load(weights_only=True)``, NumPy's with ``allow_pickle=False``; a file of
safetensors is a header in JSON and the numbers, so that it needs no package.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

KINDS: dict[str, type[nn.RNNBase]] = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}
#: The kind by how many blocks of rows, one a gate and one for the candidate, its recurrent weight has.
_BLOCKS = {1: "RNN", 3: "GRU", 4: "LSTM"}

_NUMPY = {".npy", ".npz"}
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
    if path.suffix in _NUMPY:
        return _from_numpy(path)
    return _from_safetensors(path) if path.suffix == ".safetensors" else _from_torch(path)


def tensor(path: str | Path, key: str | None = None) -> Tensor:
    """The one tensor of a file, or the one named ``key``.

    Raises:
        ValueError: if there are several and none is named, or none of that name; else as :func:`tensors`.
    """
    stored = tensors(path)
    if key is None and len(stored) == 1:
        return next(iter(stored.values()))
    names = ", ".join(repr(name) for name in sorted(stored)[:10]) or "none"
    if key is None:
        raise ValueError(f"got {len(stored)} arrays in {path}, expected one: say which of {names} is meant")
    if key not in stored:
        raise ValueError(f"got no array {key!r} in {path}, expected one of {names}")
    return stored[key]


def prefixes(stored: Mapping[str, Tensor]) -> list[str]:
    """What stands before ``weight_hh_l0`` (of a cell, ``weight_hh``) in the names of each recurrent module.

    Returns:
        Names such as ``encoder.lstm``; "" for the file of a module itself.
    """
    first = (re.fullmatch(r"(?:(.*)\.)?weight_hh(_l0)?", name) for name in stored)
    return sorted(match[1] or "" for match in first if match)


def module(
    stored: Mapping[str, Tensor],
    *,
    prefix: str | None = None,
    kind: str | None = None,
    nonlinearity: str = "tanh",
    batch_first: bool = False,
    **expected: int | bool | None,
) -> nn.RNNBase:
    """The recurrent module whose weights a file holds, in evaluation mode; its sizes are read from their shapes.

    The weights of ``RNNCell``, ``GRUCell`` and ``LSTMCell`` give a module of one layer, which computes the same.

    Args:
        stored: what :func:`tensors` returned.
        prefix: its name within a larger model, such as ``encoder.lstm``; not needed where there is only one.
        kind: ``RNN``, ``GRU`` or ``LSTM``, to be compared with the shapes.
        nonlinearity: ``tanh`` or ``relu``, of an RNN, whose weights do not tell.
        batch_first: whether its data have the batch before the time.
        **expected: ``hidden``, ``layers``, ``proj_size``, ``bidirectional``, each to be compared with the shapes.

    Returns:
        The module, with its weights; float16 and bfloat16 become float32.

    Raises:
        ValueError: if there is no recurrent module of this name or kind, if a weight is missing, has another shape
            or is not finite, or if a size is not what was expected.
    """
    prefix = _choose(stored, prefix)
    start = f"{prefix}." if prefix else ""
    own = {name.removeprefix(start): weight for name, weight in stored.items() if name.startswith(start)}
    if "weight_hh" in own:
        own = {f"{name}_l0": own[name] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if name in own}
    read = _sizes(own, start)
    if kind is not None and kind != read["kind"]:
        raise ValueError(f"got {start}weight_hh_l0 of shape {_shape(own['weight_hh_l0'])}, which is that of an "
                         f"{read['kind']}, expected an {kind}: name the kind that was trained")  # fmt: skip
    for name, size in expected.items():
        if size is not None and size != read[name]:
            raise ValueError(
                f"got {name.replace('_', ' ')} {read[name]} from the shapes of {start or 'the '}weights, expected "
                f"{size}: leave the size out, or name the file that has it"
            )
    return _filled(own, start, read, nonlinearity, batch_first)


def _choose(stored: Mapping[str, Tensor], prefix: str | None) -> str:
    """The full prefix; the given one may lack what a checkpoint puts in front, such as ``state_dict``."""
    known = prefixes(stored)
    names = ", ".join(repr(name) for name in known)
    if not known:
        raise ValueError(
            "got no name that ends in weight_hh_l0, expected the state_dict of a model with nn.RNN, nn.GRU or nn.LSTM: "
            f"it has {', '.join(sorted(stored)[:5]) or 'no tensor at all'}"
        )
    if prefix is None:
        chosen = known
    else:
        chosen = [name for name in known if name == prefix] or [n for n in known if n.endswith(f".{prefix}")]
        if not chosen:
            raise ValueError(f"got the prefix {prefix!r}, expected one of the recurrent modules {names}")
    if len(chosen) > 1:
        raise ValueError(f"got {len(chosen)} recurrent modules, expected one: say which of {names} is meant")
    return chosen[0]


def _sizes(own: Mapping[str, Tensor], start: str) -> dict[str, Any]:
    """Kind and sizes of a module, from the shapes of its weights."""
    recurrent = own["weight_hh_l0"]
    projection = own.get("weight_hr_l0")
    units = (recurrent if projection is None else projection).shape[-1]
    blocks, rest = divmod(len(recurrent), units) if recurrent.ndim == 2 and units else (0, 0)
    if rest or blocks not in _BLOCKS or "weight_ih_l0" not in own or own["weight_ih_l0"].ndim != 2:
        raise ValueError(
            f"got {start}weight_hh_l0 of shape {_shape(recurrent)}, expected rows that are 1, 3 or 4 times the columns "
            f"(RNN, GRU, LSTM) and a weight_ih_l0 beside it: a module of another kind cannot be diagnosed"
        )
    return {
        "kind": _BLOCKS[blocks],
        "inputs": own["weight_ih_l0"].shape[1],
        "hidden": units,
        "layers": sum(re.fullmatch(r"weight_hh_l\d+", name) is not None for name in own),
        "proj_size": 0 if projection is None else projection.shape[0],
        "bidirectional": "weight_hh_l0_reverse" in own,
        "bias": "bias_ih_l0" in own,
    }


def _filled(
    own: Mapping[str, Tensor], start: str, read: Mapping[str, Any], nonlinearity: str, batch_first: bool
) -> nn.RNNBase:
    options = {key: read[key] for key in ("bias", "bidirectional")} | {"batch_first": batch_first}
    if read["kind"] == "RNN":
        options["nonlinearity"] = nonlinearity
    if read["proj_size"]:
        options["proj_size"] = read["proj_size"]
    # Without a draw from anybody's random numbers: the weights are overwritten anyway.
    made = skip_init(KINDS[read["kind"]], read["inputs"], read["hidden"], read["layers"], **options)
    dtype = torch.float64 if own["weight_hh_l0"].dtype == torch.float64 else torch.float32
    made = made.to(dtype).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name not in own:
                raise ValueError(f"got no {start}{name}, expected all weights of {made}: the file is not whole")
            weight = own[name]
            if weight.shape != parameter.shape or not weight.is_floating_point():
                raise ValueError(
                    f"got {start}{name} of shape {_shape(weight)} in {weight.dtype}, expected "
                    f"{_shape(parameter)} in floating point, as {made} has it"
                )
            if not weight.isfinite().all():
                raise ValueError(
                    f"got {start}{name} with {int((~weight.isfinite()).sum())} entries that are NaN or infinite, "
                    "expected finite weights: diagnose a checkpoint from before they left"
                )
            parameter.copy_(weight)
    return made


def _shape(weight: Tensor) -> str:
    return str(tuple(weight.shape))


def _from_numpy(path: Path) -> dict[str, Tensor]:
    try:
        loaded = np.load(path, allow_pickle=False)
        arrays = {"": loaded} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
        return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    except Exception as error:  # NumPy has many words for a file that is not its own
        raise ValueError(
            f"got {path}, which does not hold plain numbers ({_first(error)}): save it again by numpy.save, as an "
            "array of floating point and without objects"
        ) from error


def _from_torch(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive, an old format and a pickled class each raise something else
        raise ValueError(
            f"got {path}, which cannot be read without running code from it ({_first(error)}): save the weights alone, "
            "by torch.save(model.state_dict(), path)"
        ) from error
    found: dict[str, Tensor] = {}
    _flatten(content, "", found)
    return found


def _flatten(content: Any, name: str, found: dict[str, Tensor]) -> None:
    """A checkpoint holds other things beside the weights, which are passed over."""
    if isinstance(content, Tensor):
        found[name] = content.detach()
    elif isinstance(content, Mapping):
        for key, value in content.items():
            _flatten(value, f"{name}.{key}" if name else str(key), found)


def _from_safetensors(path: Path) -> dict[str, Tensor]:
    """Eight bytes with the length of the header, the header in JSON, and the numbers one after the other."""
    content = path.read_bytes()
    try:
        begin = 8 + int.from_bytes(content[:8], "little")
        header: dict[str, Any] = json.loads(content[8:begin])
        header.pop("__metadata__", None)
        found = {}
        for name, entry in header.items():
            start, end = (begin + offset for offset in entry["data_offsets"])
            numbers = torch.frombuffer(bytearray(content[start:end]), dtype=torch.uint8)
            found[name] = numbers.view(_SAFE_DTYPES[entry["dtype"]]).reshape(entry["shape"])
        return found
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"got {path}, which is no whole file of safetensors ({_first(error)})") from error


def _first(error: Exception) -> str:
    """The first line of what a library says, without its full stop."""
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
