"""What public functions ask of their arguments, so that a wrong one gets a sentence and never a number.

A thing of the wrong kind is a ``TypeError``, a wrong value a ``ValueError``. A sentence says what was got, what was
expected, and how to mend it. Nothing here knows of networks.
"""

from __future__ import annotations

import math
import numbers
import operator
import reprlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

#: What the library computes in.
DTYPES = (torch.float32, torch.float64)


def kind(value: Any) -> str:
    """What a value is, in few words: ``"a list"``, ``"a numpy array"``, ``"a tensor of shape (3, 2)"``."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    name = type(value).__name__
    if name == "ndarray":
        return "a numpy array"
    return "None" if value is None else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def whole(name: str, value: Any, least: int | None = None) -> int:
    """A whole number, as Python's or numpy's integers are; a truth value or a float is none.

    Raises:
        TypeError: if it is none.
        ValueError: if it is below ``least``.
    """
    dtype = str(getattr(value, "dtype", type(value).__name__))
    try:
        if "bool" in dtype:
            raise TypeError
        number = operator.index(value)
    except (TypeError, RuntimeError, NotImplementedError):  # a tensor of several numbers, or of none
        raise TypeError(f"got {name}={_short(value)}, expected a whole number: give an int, such as {name}=3") from None
    if least is not None and number < least:
        raise ValueError(f"got {name}={number}, expected a whole number of at least {least}")
    return number


def real(name: str, value: Any) -> float:
    """A finite number.

    Raises:
        TypeError: for what is no real number: a truth value, a word, a tensor.
        ValueError: if it is NaN or infinite.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"got {name}={_short(value)}, expected a number: give a float, such as {name}=0.1")
    if not math.isfinite(value):
        raise ValueError(f"got {name}={value}, expected a finite number")
    return float(value)


def truth(name: str, value: Any) -> None:
    """Refuse, with a TypeError, what is neither True nor False."""
    if not isinstance(value, bool):
        raise TypeError(f"got {name}={_short(value)}, expected True or False")


def tensor(what: str, value: Any) -> None:
    """Refuse what is no dense tensor of float32 or float64 that holds numbers.

    Args:
        what: its name, as a sentence has it: ``"the Jacobians"``.
        value: what was given.

    Raises:
        TypeError: if it is none.
    """
    dense(what, value)
    if value.dtype not in DTYPES:
        raise TypeError(f"got {what} in {value.dtype}, expected float32 or float64: convert them with .double()")
    if value.is_meta:
        raise TypeError(f"got {what} on meta, where a tensor has no numbers, expected another device")


def dense(what: str, value: Any) -> None:
    """Refuse, with a TypeError, what is no tensor, or a sparse one; its dtype is not looked at."""
    if not isinstance(value, Tensor):
        raise TypeError(f"got {what} as {kind(value)}, expected a torch.Tensor: make one with torch.as_tensor")
    if value.layout is not torch.strided:
        raise TypeError(f"got {what} in the layout {value.layout}, expected a dense tensor: convert with .to_dense()")


def alike(what: str, value: Any, as_what: str, like: Tensor) -> None:
    """Refuse a tensor that has not the shape, dtype and device of another.

    Raises:
        TypeError: if it is no tensor.
        ValueError: if it differs.
    """
    tensor(what, value)
    if value.shape != like.shape or value.dtype != like.dtype or value.device != like.device:
        raise ValueError(
            f"got {what} of shape {tuple(value.shape)} in {value.dtype} on {value.device}, expected "
            f"{tuple(like.shape)} in {like.dtype} on {like.device}, as {as_what}"
        )


def jacobians(what: str, J: Any) -> None:
    """Refuse what are not square matrices, one for each step.

    Raises:
        TypeError: if it is no tensor of float32 or float64.
        ValueError: if it has another shape than ``(T, *batch, n, n)``, or none of something.
    """
    tensor(what, J)
    if J.ndim < 3 or J.shape[-1] != J.shape[-2] or 0 in J.shape:
        raise ValueError(
            f"got {what} of shape {tuple(J.shape)}, expected (T, *batch, n, n) with no axis empty: "
            "pass what jacobian.blocks returned"
        )


def finite(what: str, value: Tensor, advice: str) -> None:
    """Refuse NaN and infinity with a ValueError; in one pass over the numbers."""
    if value.numel() and not torch.stack(torch.aminmax(value)).isfinite().all():  # a NaN is both
        raise ValueError(f"got NaN or infinity in {what}, expected finite numbers: {advice}")


def dtype(value: Any) -> None:
    """Refuse, with a TypeError, what is neither float32 nor float64."""
    if value not in DTYPES:
        raise TypeError(f"got dtype={_short(value)}, expected torch.float32 or torch.float64")


def device(value: Any) -> None:
    """Refuse, with a ValueError, a device that is not there."""
    if value is None:
        return
    try:
        torch.empty(0, device=value)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise ValueError(f"got device={_short(value)}, expected one that PyTorch can use here: {reason}") from None


def generators(value: Any) -> list[torch.Generator]:
    """One generator, or a sequence of them, as a list.

    Raises:
        TypeError: if it is something else.
    """
    if isinstance(value, torch.Generator):
        return [value]
    sources = list(value) if isinstance(value, Iterable) and not isinstance(value, str | Tensor) else [value]
    if strangers := [source for source in sources if not isinstance(source, torch.Generator)]:
        raise TypeError(
            f"got {_short(strangers[0])} as a generator, expected a torch.Generator, or a list of them: "
            "make one with torch.Generator().manual_seed(seed)"
        )
    return sources


def wholes(name: str, value: Any) -> list[int]:
    """Several whole numbers, as a list.

    Raises:
        TypeError: if it is one number, a word, or holds what is no whole number.
    """
    if isinstance(value, str) or not isinstance(value, Iterable) or getattr(value, "ndim", 1) != 1:
        raise TypeError(f"got {name}={_short(value)}, expected several whole numbers: give a list, such as [1, 2]")
    return [whole(name, each) for each in value]


def _short(value: Any) -> str:
    """A value as a sentence shows it: itself where that is short."""
    plain = isinstance(value, str | int | float | complex | list | tuple | type(None) | torch.dtype)
    return reprlib.repr(value) if plain else kind(value)
