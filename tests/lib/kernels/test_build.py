"""The compiled kernels are built once, whole, and only where they can be; and loading them does nothing else."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import warm
from gatelr.kernels import build

pytestmark = pytest.mark.slow


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "XDG_CACHE_HOME": str(folder), "OMP_NUM_THREADS": "1"}


def script(code: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return warm.run(["-c", code], folder, environment(folder) | variables)


LOOK = "from gatelr import kernels; print(kernels.which())"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Into which two processes have built at once, and both ended well."""
    folder = tmp_path_factory.mktemp("kernels")
    command = [sys.executable, "-c", LOOK]
    runs = [subprocess.Popen(command, env=environment(folder), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [run.communicate()[0].startswith("compiled") for run in runs] == [True, True]
    return folder


def test_two_processes_that_build_at_once_leave_one_file(folder: Path) -> None:
    assert len(list((folder / "gatelr").iterdir())) == 1


def test_loading_changes_no_denormal(folder: Path) -> None:
    code = "import torch; from gatelr import kernels; before = float(torch.tensor(1e-40) * 0.5); kernels.which()"
    run = script(f"{code}; after = float(torch.tensor(1e-40) * 0.5); print(before == after > 0)", folder)
    assert run.stdout.strip() == "True", run.stderr


def test_it_is_built_once_and_found_again(folder: Path) -> None:
    (made,) = (folder / "gatelr").iterdir()
    when = made.stat().st_mtime_ns
    assert script(LOOK, folder).stdout.startswith("compiled")
    assert made.stat().st_mtime_ns == when


def test_without_a_compiler_plain_pytorch_serves_and_says_so(tmp_path: Path) -> None:
    assert script(LOOK, tmp_path, CXX="no-such-compiler").stdout.startswith("plain, since there is no C++ compiler")
    assert script(LOOK, tmp_path, CXX="false").stdout.startswith("plain, since")
    assert script(LOOK, tmp_path, GATELR_KERNEL="plain").stdout.strip() == "plain, as asked for"
    code = "import torch; from gatelr import GatedRNN; print(GatedRNN(2, 3, 'multi')(torch.ones(4, 2, 2)).shape)"
    assert "torch.Size([2, 1])" in script(code, tmp_path, CXX="no-such-compiler").stdout


@pytest.mark.parametrize(("machine", "kept"), [("x86_64", True), ("aarch64", False)])
def test_a_level_that_pytorch_is_told_is_the_compilers_too(
    monkeypatch: pytest.MonkeyPatch, machine: str, kept: bool
) -> None:
    asked: list[tuple[str, ...]] = []

    def built(compiler: str, flags: tuple[str, ...]) -> Path:
        asked.append(flags)
        raise OSError("only its flags are looked at")

    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    monkeypatch.setattr(build.platform, "machine", lambda: machine)
    monkeypatch.setattr(build, "_built", built)
    assert isinstance(build._loaded.__wrapped__(), build.Unavailable)
    assert len(asked) == 2
    assert all(("-mno-avx512f" in flags) is kept for flags in asked)


def test_a_call_with_other_arguments_never_reaches_c() -> None:
    rows = torch.zeros(1)
    with pytest.raises(ctypes.ArgumentError):
        build.call("tall", torch.float32, *[1.5] * 7, rows, rows, rows)
    with pytest.raises(TypeError, match="at least 10 arguments"):
        build.call("tall", torch.float32, 1, 1, 1)
