"""``gatelr diagnose``: a network and its data from files, a page and JSON to files."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from gatelr import networks
from gatelr.command.objective import Objective, objective, readout
from gatelr.networks import saved, tensor_files


def diagnose(options: argparse.Namespace) -> None:
    """Read, diagnose, print and write.

    Args:
        options: what stands on the command line.

    Raises:
        ValueError: if a file, a shape or an option does not fit; nothing has been written then.
        TypeError: if the library refuses a value.
        OSError: if a file cannot be read or written.
    """
    outputs = [path for path in (options.output, options.json) if path is not None]
    _refuse_places(outputs, [options.model, options.data, options.target])

    stored = tensor_files.tensors(options.model)
    prefix, module = _module(options, stored)
    u = _inputs(tensor_files.tensor(options.data, options.key), module, options)
    lengths = _lengths(options, u)
    asked = {name: getattr(options, name) for name in ("lag", "window", "clip", "optimizer", "lr")}
    diagnosis = networks.diagnose(module, u, lengths=lengths, loss=_loss(options, stored, module, u, lengths), **asked)
    files = {"model file": f"{options.model.name}{f', {prefix}' if prefix else ''}", "data file": options.data.name}
    diagnosis = replace(diagnosis, given={**files, **diagnosis.given})
    print(diagnosis)
    if options.json is not None:
        diagnosis.to_json(options.json)
    if options.output is not None:
        diagnosis.to_html(options.output)
    for path in outputs:
        print(f"written: {path}")


def _refuse_places(outputs: Sequence[Path], inputs: Sequence[Path | None]) -> None:
    """Say before the work what would fail after it."""
    for path in outputs:
        if not path.parent.is_dir():
            raise ValueError(f"got {path}, but there is no folder {path.parent}: make it first")
        if path.is_dir():
            raise ValueError(f"got {path}, which is a folder, expected the name of a file to write")
        if any(read is not None and path.resolve() == read.resolve() for read in inputs):
            raise ValueError(f"got {path} to write and to read, expected another name to write")
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise ValueError(f"got {outputs[0]} for the page and for the JSON, expected two names")


def _module(options: argparse.Namespace, stored: Mapping[str, Tensor]) -> tuple[str, nn.RNNBase]:
    """The layer that is meant, and its full name."""
    prefix = saved.choose(stored, options.prefix)
    own = saved.weights(stored, prefix)
    read = saved.sizes(own)
    expected = {
        "kind": options.module,
        **{name: getattr(options, name) for name in ("hidden", "layers", "proj_size", "bidirectional")},
    }
    for name, value in expected.items():
        if value is not None and value != getattr(read, name):
            option = "--module" if name == "kind" else f"--{name.replace('_', '-')}"
            raise ValueError(
                f"got {option}{'' if value is True else f' {value}'}, but {options.model} has weight_hh_l0 of shape "
                f"{tuple(own['weight_hh_l0'].shape)}: {read}"
            )
    if options.nonlinearity is not None and read.kind != "RNN":
        raise ValueError(f"got --nonlinearity {options.nonlinearity} for {read}, expected it for an RNN alone")
    return prefix, saved.module(own, nonlinearity=options.nonlinearity or "tanh", batch_first=options.batch_first)


def _inputs(u: Tensor, module: nn.RNNBase, options: argparse.Namespace) -> Tensor:
    """The data in the module's dtype, if it can read them."""
    width = module.input_size
    shape = "(B, T, m)" if options.batch_first else "(T, B, m)"
    if u.ndim not in (2, 3) or u.shape[-1] != width:
        hint = "embed tokens first" if not u.is_floating_point() else "move the axes, or name another --prefix"
        raise ValueError(
            f"got data of shape {tuple(u.shape)} in {options.data}, expected {shape} or (T, m) with m = {width}, "
            f"the width that the layer reads: {hint}"
        )
    if u.is_complex() or not u.numel():
        raise ValueError(f"got data of shape {tuple(u.shape)} in {u.dtype}, expected at least one step of real numbers")
    u = u.to(next(module.parameters()).dtype)
    wrong = ~u.isfinite()
    if wrong.any():
        raise ValueError(
            f"got data with {int(wrong.sum())} entries that are NaN or infinite, the first at "
            f"{tuple(wrong.nonzero()[0].tolist())}, expected finite numbers: fill them in, or pad and give --lengths"
        )
    return u


def _loss(
    options: argparse.Namespace,
    stored: Mapping[str, Tensor],
    module: nn.RNNBase,
    u: Tensor,
    lengths: Sequence[int] | None,
) -> Objective | None:
    """The loss that target and readout make; None without a target."""
    if options.target is None:
        for name in ("target_key", "readout", "loss"):
            if getattr(options, name) is not None:
                raise ValueError(f"got --{name.replace('_', '-')} without --target, expected both")
        return None
    target = tensor_files.tensor(options.target, options.target_key)
    states = (module.proj_size or module.hidden_size) * (2 if module.bidirectional else 1)
    read = readout(stored, options.readout, states, u.dtype)
    return objective(target, read, module, u, lengths, options.loss)


def _lengths(options: argparse.Namespace, u: Tensor) -> list[int] | None:
    """Numbers with commas between them, or those of a file."""
    text: str | None = options.lengths
    if text is None:
        return None
    try:
        read = tensor_files.tensor(text).flatten().tolist() if Path(text).is_file() else text.split(",")
        lengths = [int(str(number).removesuffix(".0")) for number in read]
    except ValueError as error:
        raise ValueError(f"got --lengths {text}, expected whole numbers such as 5,7,9, or a file with them") from error
    B, T = u.shape[:2] if options.batch_first else u.shape[1::-1]
    if u.ndim != 3 or len(lengths) != B or not all(1 <= length <= T for length in lengths):
        raise ValueError(
            f"got {len(lengths)} lengths from {min(lengths, default=0)} to {max(lengths, default=0)} for data of shape "
            f"{tuple(u.shape)}, expected one for each sequence, from 1 to the number of steps"
        )
    return lengths
