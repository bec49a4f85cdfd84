"""The C++ of this folder, built on first use where there is a compiler, and kept for the next process.

The shared library lies in a cache folder under a name that holds a digest of its sources, the compiler, the flags and
the processor. It is written aside and renamed, so that two processes that build it at once both end with a whole one.
Without a compiler, on CUDA and where ``GATELR_KERNEL=plain`` asks for it, plain PyTorch serves.
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
from typing import Any

import torch
from torch import Tensor

#: Where the sources lie.
FOLDER = Path(__file__).parent

#: Without -ffast-math, which breaks NaN and infinity; a library linked with it makes its process flush denormals.
FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fPIC")

#: An x86 processor that PyTorch is told to use up to a level (ATEN_CPU_CAPABILITY) is used up to it here too.
BELOW = {"avx2": ("-mno-avx512f",), "default": ("-mno-avx",)}

#: The C functions of each dtype are named after it.
_NAMES = {torch.float32: "float32", torch.float64: "float64"}

_ADDRESS, _LONG, _DOUBLE = ctypes.c_void_p, ctypes.c_long, ctypes.c_double

#: The kinds of arguments of each C function. A call with others is refused by ctypes.
#:
#: :meta hide-value:
SIGNATURES = {
    "forward": (_ADDRESS, _LONG, *[_ADDRESS] * 7),
    "adjoint": (_ADDRESS, _LONG, _LONG, *[_ADDRESS] * 7, _LONG, *[_ADDRESS] * 5),
    "tall": (*[_LONG] * 7, *[_ADDRESS] * 3),
    "norms": (*[_LONG] * 4, *[_ADDRESS] * 3, _DOUBLE, _DOUBLE, _LONG, _ADDRESS),
}

_plain = 0


class Unavailable(RuntimeError):
    """The compiled kernels cannot be had here; the message says why."""


def which() -> str:
    """Which kernels a CPU gets: ``"compiled, 512-bit vectors"``, or ``"plain"`` and why."""
    if _plain_asked():
        return "plain, as asked for"
    try:
        return f"compiled, {8 * bytes_of_a_vector()}-bit vectors"
    except Unavailable as error:
        return f"plain, {error}"


@contextmanager
def plain() -> Iterator[None]:
    """In this context, plain PyTorch serves: for an emulation, or to compare the two."""
    global _plain
    _plain += 1
    try:
        yield
    finally:
        _plain -= 1


def serves(like: Tensor) -> bool:
    """Whether the compiled kernels can be used for tensors of this dtype and device."""
    if like.device.type != "cpu" or like.dtype not in _NAMES or _plain_asked():
        return False
    return not isinstance(_loaded(), Unavailable)


def _plain_asked() -> bool:
    return _plain > 0 or os.environ.get("GATELR_KERNEL") == "plain"


def bytes_of_a_vector() -> int:
    """How wide the processor's vectors are."""
    return int(_library().bytes_of_a_vector())


def call(name: str, dtype: torch.dtype, *arguments: Any) -> None:
    """Hand numbers and addresses to the C function of this dtype. ctypes lets other Python threads run meanwhile.

    Args:
        name: the function.
        dtype: float32 or float64.
        arguments: a tensor stands for its address, None for no address.
    """
    _function(name, dtype)(*[value.data_ptr() if isinstance(value, Tensor) else value for value in arguments])


@lru_cache
def _function(name: str, dtype: torch.dtype) -> Any:
    function = getattr(_library(), f"{name}_{_NAMES[dtype]}")
    function.argtypes, function.restype = SIGNATURES[name], None
    return function


def _library() -> ctypes.CDLL:
    library = _loaded()
    if isinstance(library, Unavailable):
        raise library
    return library


@lru_cache  # of a failure too: a compiler that fails is asked once
def _loaded() -> ctypes.CDLL | Unavailable:
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        return Unavailable("since there is no C++ compiler: install one, such as g++, or name it in CXX")
    wrong, level = "", os.environ.get("ATEN_CPU_CAPABILITY", "") if platform.machine() in ("x86_64", "AMD64") else ""
    chosen = (*FLAGS, *BELOW.get(level, ()))
    for flags in ((*chosen, "-fopenmp"), chosen):  # threads by the OpenMP that PyTorch brings, if it brings one
        try:
            return ctypes.CDLL(str(_built(compiler, flags)))
        except (OSError, subprocess.SubprocessError) as error:
            wrong = (getattr(error, "stderr", "") or str(error)).strip().partition("\n")[0]
    return Unavailable(f"since {compiler} failed: {wrong}")


def _built(compiler: str, flags: tuple[str, ...]) -> Path:
    """The shared library, which is compiled if it is not there yet."""
    sources, stamp = sorted(FOLDER.glob("*.cpp")), os.stat(compiler)
    contents = [path.read_bytes() for path in [*sources, *sorted(FOLDER.glob("*.h"))]]
    identity = (contents, compiler, stamp.st_size, stamp.st_mtime_ns, flags, _processor(), torch.__version__)
    path = _cache() / f"kernels-{hashlib.sha256(repr(identity).encode()).hexdigest()[:20]}.so"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=path.parent) as aside:
            objects = [f"{aside}/{source.stem}.o" for source in sources]
            commands = [[*flags, "-c", str(source), "-o", made] for source, made in zip(sources, objects, strict=True)]
            linked = f"{aside}/kernels.so"
            for command in (*commands, ["-shared", *objects, "-o", linked]):
                subprocess.run([compiler, *command], check=True, capture_output=True, text=True, timeout=300)
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
