"""The wheel in an environment of its own: what the paper's nouns need comes with it, and no more."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEPT = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON", "COV", "VIRTUAL_ENV"))}

pytestmark = pytest.mark.weekly


def run(*command: str | Path, where: Path) -> str:
    done = subprocess.run(command, cwd=where, env=KEPT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_wheel_brings_torch_jaxtyping_numpy_and_no_extra(tmp_path: Path) -> None:
    options = ["--quiet", "--disable-pip-version-check"]
    source = tmp_path / "source"  # building leaves a folder behind
    shutil.copytree(ROOT / "lib", source / "lib", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, source]
    run(*build, *options, where=tmp_path)
    run(sys.executable, "-m", "venv", tmp_path / "environment", where=tmp_path)
    python = tmp_path / "environment" / "bin" / "python"
    (wheel,) = tmp_path.glob("gatelr-*.whl")
    install = [python, "-m", "pip", "install", "--constraint", ROOT / "requirements.lock", wheel]
    run(*install, *options, where=tmp_path)
    listed = json.loads(run(python, "-m", "pip", "list", "--format", "json", where=tmp_path))
    installed = {package["name"].lower() for package in listed}
    assert {"gatelr", "torch", "jaxtyping", "numpy"} <= installed
    assert not {"numba", "pandas", "scipy", "matplotlib", "scikit-learn", "tqdm", "grimp", "ipython"} & installed
    code = (
        "import torch; from gatelr import GatedRNN, jacobian\n"
        "model = GatedRNN(3, 4, 'multi')\n"
        "print(jacobian.blocks(model, model.run(torch.randn(5, 2, 3))).shape)"
    )
    assert run(python, "-c", code, where=tmp_path).strip() == "torch.Size([5, 2, 4, 4])"
    code = "from gatelr import kernels; print(kernels.which())"
    assert run(python, "-c", code, where=tmp_path).startswith("compiled")  # its sources are in the wheel
    said = subprocess.run([python, "-c", "from gatelr import record"], capture_output=True, text=True, check=False)
    assert "pip install 'gatelr[" in said.stderr.splitlines()[-1]
