r"""Batched matrix products in float32 on a CPU at the full width of its vectors, where they are exact.

PyTorch gives such products to MKL, which reaches about half the rate of an AMD processor with vectors of 512 bits, as
if they had 256. The other library that PyTorch carries, oneDNN, uses them whole, but is given these products only by a
caller who allows it to round their factors to bfloat16. Whether it then does depends on the processor: without a matrix
unit for bfloat16 it has nothing to gain, and computes in float32.

So it is allowed here where a trial shows that nothing is rounded, and nowhere else. The setting belongs to the whole
process; it is put back when the products are done.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch

#: Multiplications below which a product is over before oneDNN has found its kernel.
WORTHWHILE = 2**21

#: Factors and rows of the product by which all with many rows are judged.
TRIED = (8, 256)

_matmul: Any = getattr(torch.backends.mkldnn, "matmul", None)  # the setting came with PyTorch 2.9
_lock = threading.Lock()
_inside = 0
_before = "none"


@contextmanager
def full_width(W: torch.Tensor, *shapes: tuple[int, int, int, int]) -> Iterator[None]:
    """In this context, products of these shapes may use the processor's vectors in full.

    It does nothing for other dtypes and on CUDA, for products that are too small to gain, and where one of them would
    be rounded: see :func:`exact`.

    Args:
        W: a factor of the products, for its dtype and device.
        shapes: ``(S, k, q, B)`` for each product of ``(S, k, q)`` by ``(S, q, B)``; without any, nothing is allowed.

    Example:
        >>> import torch
        >>> from gatelr.kernels import matmul
        >>> A, B = torch.randn(40, 64, 64), torch.randn(40, 64, 32)
        >>> with matmul.full_width(A, (40, 64, 64, 32)):
        ...     fast = A @ B
        >>> torch.allclose(fast, A @ B, atol=1e-5)
        True
    """
    global _inside, _before
    if not shapes or W.is_cuda or W.dtype != torch.float32 or not all(map(exact, shapes)):
        yield
        return
    with _lock:  # two threads may be in here at once: the first sets, the last puts back
        _before = _matmul.fp32_precision if _inside == 0 else _before
        _inside += 1
        _matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _matmul.fp32_precision = _before


@lru_cache
@torch.no_grad()
def exact(shape: tuple[int, int, int, int]) -> bool:
    """Whether the fast product of this shape is worth its while and as exact as the usual one, tried once.

    The trial multiplies random numbers. Its largest error must be at most four times that of PyTorch's usual product;
    with factors rounded to bfloat16 it would be some ten thousand times larger, with each kept as two such numbers
    some hundred times.

    Args:
        shape: ``(S, k, q, B)``, for the product of ``(S, k, q)`` by ``(S, q, B)``.
    """
    S, k, q, B = shape
    if S * k * q * B < WORTHWHILE or _matmul is None:
        return False
    random = torch.Generator().manual_seed(0)
    left = torch.randn(S, k, q, generator=random, dtype=torch.float32, device="cpu")
    right = torch.randn(S, B, q, generator=random, dtype=torch.float32, device="cpu")
    true = left.double() @ right.double().mT
    with _lock:
        before = _matmul.fp32_precision
        try:
            errors = {}
            for precision in ("ieee", "bf16"):
                _matmul.fp32_precision = precision
                # as the sweep has its right factors: lying as they are multiplied, and transposed
                tried = [left @ right.mT.contiguous(), left @ right.mT]
                errors[precision] = max(float((product - true).abs().max()) for product in tried)
        finally:
            _matmul.fp32_precision = before
    return errors["bf16"] <= 4 * errors["ieee"]


def matmul(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """The products of ``(S, rows, q)`` by ``(S, q, B)``, at full width where the rows are many.

    One trial serves all numbers of rows: they decide how the work is divided, not how a number is kept.

    Args:
        left: first factors.
        right: second factors.
        out: what the products are written to, ``(S, rows, B)``.
    """
    many = len(left) * left.shape[1] >= TRIED[0] * TRIED[1]
    with full_width(left, *[(*TRIED, *right.shape[1:])] * many):
        return torch.bmm(left, right, out=out)
