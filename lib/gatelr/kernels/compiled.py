"""The two sweeps compiled: built on first use where there is a C++ compiler, and kept for the next process.

The shared library lies in a cache folder under a name that holds a digest of its source, the compiler, the flags and
the processor. It is written aside and renamed, so that two processes that build it at once both end with a whole one.
Without a compiler, on CUDA and where ``GATELR_KERNEL=plain`` asks for it, :mod:`gatelr.kernels.sweep` serves.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from gatelr.kernels.sweep import BACKWARD, Backward, Gradients, diagonal

SOURCE = Path(__file__).with_suffix(".cpp")

#: Sequences that one thread takes through all steps. The order of sums follows from it, so it is the same everywhere.
SLICE = 32

#: Without -ffast-math, which breaks NaN and infinity; a library linked with it makes its process flush denormals.
FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fPIC")

#: The C functions of each dtype are named after it.
_NAMES = {torch.float32: "float32", torch.float64: "float64"}

_plain = 0


class Unavailable(RuntimeError):
    """The compiled sweep cannot be had here; the message says why."""


def which() -> str:
    """Which sweep a CPU gets: ``"compiled, 512-bit vectors"``, or ``"plain"`` and why."""
    if _plain or os.environ.get("GATELR_KERNEL") == "plain":
        return "plain, as asked for"
    try:
        return f"compiled, {8 * _library().bytes_of_a_vector()}-bit vectors"
    except Unavailable as error:
        return f"plain, {error}"


@contextmanager
def plain() -> Iterator[None]:
    """In this context, the plain sweep serves: for an emulation, or to compare the two."""
    global _plain
    _plain += 1
    try:
        yield
    finally:
        _plain -= 1


def serves(like: Tensor) -> bool:
    """Whether the compiled sweep can be used for tensors of this dtype and device."""
    return like.device.type == "cpu" and like.dtype in _NAMES and which().startswith("compiled")


@lru_cache
def _library() -> ctypes.CDLL:
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        raise Unavailable("since there is no C++ compiler: install one, such as g++, or name it in CXX")
    wrong = ""
    for flags in ((*FLAGS, "-fopenmp"), FLAGS):  # threads by the OpenMP that PyTorch brings, if it brings one
        try:
            return ctypes.CDLL(str(_built(compiler, flags)))
        except (OSError, subprocess.SubprocessError) as error:
            wrong = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[0]
    raise Unavailable(f"since {compiler} failed: {wrong}")


def _built(compiler: str, flags: tuple[str, ...]) -> Path:
    """The shared library, which is compiled if it is not there yet."""
    stamp = os.stat(compiler)
    identity = (SOURCE.read_bytes(), compiler, stamp.st_size, stamp.st_mtime_ns, flags, _processor(), torch.__version__)
    path = _cache() / f"sweep-{hashlib.sha256(repr(identity).encode()).hexdigest()[:20]}.so"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=path.parent) as aside:
            made, linked = Path(aside) / "sweep.o", Path(aside) / "sweep.so"
            for command in (
                [compiler, *flags, "-c", str(SOURCE), "-o", str(made)],
                [compiler, "-shared", str(made), "-o", str(linked)],
            ):
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
            os.replace(linked, path)
    return path


def _cache() -> Path:
    """A folder for what was compiled, the user's if it can be written to."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(home) / "gatelr"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.gettempdir()) / f"gatelr-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _processor() -> str:
    """What -march=native depends on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    return f"{platform.machine()} {flags}"


class Swept(NamedTuple):
    """What the adjoint needs of a forward sweep; rows are sequences, as everywhere outside this room.

    Attributes:
        u: the inputs.
        x: the states, the initial one first.
        phi: the candidates; empty without any gate, where they are the states.
        g: the learned gates; empty without one.
        W: all weights, candidate over gate.
        alpha: the fixed gate, one number a neuron.
    """

    u: Float[Tensor, "T S B m"]
    x: Float[Tensor, "T+1 S B n"]
    phi: Float[Tensor, "steps S B n"]
    g: Float[Tensor, "T S B h"]
    W: Float[Tensor, "S k q"]
    alpha: Float[Tensor, " n"] | None


def forward(
    u: Float[Tensor, "T S B m"],
    x0: Float[Tensor, "S B n"],
    W: Float[Tensor, "S k q"],
    alpha: Float[Tensor, " h"] | None,
    *,
    into: Swept | None = None,
    pre_activations: Float[Tensor, "T S B k"] | None = None,
) -> Swept:
    """As :func:`gatelr.kernels.sweep.forward`.

    Args:
        u: inputs.
        x0: state before the first step.
        W: all weights, as for the plain sweep.
        alpha: the fixed gate, or None.
        into: an earlier result of the same sizes, whose memory is used again.
        pre_activations: where those of candidate and gate are written, if they are wanted.
    """
    (T, S, B, _), n, k = u.shape, x0.shape[-1], W.shape[-2]
    h, gated = k - n, k > n or alpha is not None
    shapes = (T + 1, S, B, n), (T if gated else 0, S, B, n), (T, S, B, h)
    if into is None or (into.x.shape, into.phi.shape, into.g.shape, into.x.dtype) != (*shapes, u.dtype):
        x, phi, g = (u.new_empty(shape) for shape in shapes)
        into = Swept(u, x, phi, g, W, None)
    swept = into._replace(u=u.contiguous(), W=W, alpha=None if alpha is None else alpha.expand(n).contiguous())
    swept.x[0] = x0  # in Python, so that autograd sees that memory has been filled anew
    width = _width(u.dtype)
    padded = torch.nn.functional.pad(W.mT, (0, -k % width)).contiguous()
    _call("forward", swept, padded, pre_activations)
    return swept


def adjoint(
    swept: Swept,
    delta: Float[Tensor, "S B n"] | Float[Tensor, "T S B n"],
    *,
    input_gradient: bool = False,
    backward: Backward = "full",
) -> Gradients:
    """As :func:`gatelr.kernels.sweep.adjoint`."""
    k, q, slices = *swept.W.shape[-2:], -(-swept.u.shape[2] // SLICE)
    grad_u = torch.empty_like(swept.u) if input_gradient else None
    grad_x0 = torch.empty_like(swept.x[0])
    grad_W = swept.W.new_zeros(len(swept.W), slices, q, k + -k % _width(swept.W.dtype))
    _adjoint(swept, swept.W, delta, backward, grad_u, grad_x0, grad_W, None, None)
    total = grad_W[:, 0]
    for part in grad_W[:, 1:].unbind(1):
        total = total + part
    return Gradients(grad_u, grad_x0, total[..., :k].mT)


def costates(
    swept: Swept, carried: Float[Tensor, "S k q"], delta: Float[Tensor, "T S B n"], backward: Backward
) -> tuple[Float[Tensor, "T+1 S B n"], Float[Tensor, "T S B k"]]:
    """The adjoint of every state, and the gradient at every pre-activation, candidate beside gate.

    Args:
        swept: a forward sweep, whose own weights are not looked at.
        carried: the weights through which the adjoint goes from step to step.
        delta: direct loss gradient of every state.
        backward: what the pass carries from step to step.
    """
    (T, S, B, _), k = swept.u.shape, carried.shape[-2]
    all_costates, signals = torch.empty_like(swept.x), swept.x.new_empty(T, S, B, k)
    _adjoint(swept, carried, delta, backward, None, torch.empty_like(swept.x[0]), None, all_costates, signals)
    return all_costates, signals


def _adjoint(swept: Swept, W: Tensor, delta: Tensor, backward: Backward, *results: Tensor | None) -> None:
    n, m, k, width = swept.x.shape[-1], swept.u.shape[-1], W.shape[-2], _width(W.dtype)
    to_state = torch.nn.functional.pad(W[..., :n], (0, -n % width)).contiguous()
    to_input = torch.nn.functional.pad(swept.W[..., n : n + m], (0, -m % width)).contiguous()
    gate = diagonal(W[:, n:, :n]) if k > n else torch.zeros_like(W[:, 0, :n])
    own = torch.stack([diagonal(W[:, :n, :n]), gate], 1).contiguous()
    carry, every = BACKWARD.index(backward), delta.ndim == 4
    _call("adjoint", swept, carry, to_state, to_input, own, delta.contiguous(), every, *results)


def tall_products(
    left: Float[Tensor, "B rows n"], right: Float[Tensor, "B n n"], out: Float[Tensor, "B rows n"]
) -> None:
    """``out = left @ right`` for many rows; each matrix of rows lies without gaps, and all may lie apart."""
    B, rows, n = left.shape
    if not serves(left) or (left.stride(-1), right.stride(-1), out.stride(-1)) != (1, 1, 1):
        torch.bmm(left, right, out=out)
        return
    function = getattr(_library(), f"tall_{_NAMES[left.dtype]}")
    function.restype = None
    strides = (ctypes.c_long(tensor.stride(0)) for tensor in (left, right, out))
    places = (ctypes.c_void_p(tensor.data_ptr()) for tensor in (left, right, out))
    function(ctypes.c_long(B), ctypes.c_long(rows), ctypes.c_long(n), *strides, torch.get_num_threads(), *places)


def _width(dtype: torch.dtype) -> int:
    """Numbers in a vector; rows are padded to whole ones."""
    return int(_library().bytes_of_a_vector()) // dtype.itemsize


def _call(name: str, swept: Swept, *rest: Any) -> None:
    """Hand sizes and addresses to C. ctypes lets other Python threads run meanwhile."""
    (T, S, B, m), n, (k, q) = swept.u.shape, swept.x.shape[-1], swept.W.shape[-2:]
    sizes = (ctypes.c_long * 8)(T, S, B, n, m, k - n, SLICE, q - n - m)
    threads, u, x, g = torch.get_num_threads(), swept.u, swept.x, swept.g
    phi = swept.phi if len(swept.phi) else None
    function = getattr(_library(), f"{name}_{_NAMES[u.dtype]}")
    if name == "forward":
        padded, a = rest
        arguments = [sizes, threads, u, padded, swept.alpha, x, phi, g, a]
    else:
        carry, to_state, to_input, own, delta, every, *results = rest
        of_run = [u, to_state, to_input, own, swept.alpha, x, phi, g]
        arguments = [sizes, carry, threads, *of_run, delta, int(every), *results]
    function.restype = None
    function(*(ctypes.c_void_p(a.data_ptr()) if isinstance(a, Tensor) else a for a in arguments))
