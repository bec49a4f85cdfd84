"""The wheel in an environment of its own: what the paper's nouns need comes with it, and no more."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEPT = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON", "COV", "VIRTUAL_ENV"))}

LOCK = ROOT / "requirements.lock"
QUIET = ("--quiet", "--disable-pip-version-check")

pytestmark = pytest.mark.weekly


def run(*command: str | Path, where: Path) -> str:
    done = subprocess.run(command, cwd=where, env=KEPT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built in a copy: building leaves a folder behind."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "lib", folder / "lib", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, folder]
    run(*build, *QUIET, where=folder)
    (built,) = folder.glob("gatelr-*.whl")
    return built


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs of a clean environment lie in which the wheel is installed, without an extra."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder / "environment", where=folder)
    programs = folder / "environment" / "bin"
    run(programs / "python", "-m", "pip", "install", "--constraint", LOCK, wheel, *QUIET, where=folder)
    return programs


def test_the_wheel_has_types_templates_and_the_package_s_own_readme(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as unpacked:
        names = set(unpacked.namelist())
        (metadata,) = (unpacked.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
    assert {"gatelr/py.typed", "gatelr/networks/report/page.html.jinja", "gatelr/networks/report/page.css"} <= names
    assert "Description-Content-Type: text/markdown" in metadata
    assert metadata.endswith((ROOT / "lib" / "README.md").read_text())


def test_it_brings_torch_jaxtyping_jinja_numpy_and_no_extra(programs: Path, tmp_path: Path) -> None:
    listed = json.loads(run(programs / "python", "-m", "pip", "list", "--format", "json", where=tmp_path))
    installed = {package["name"].lower() for package in listed}
    assert {"gatelr", "torch", "jaxtyping", "jinja2", "numpy"} <= installed
    assert not {"numba", "pandas", "scipy", "matplotlib", "scikit-learn", "tqdm", "grimp", "ipython"} & installed
    said = subprocess.run(
        [programs / "python", "-c", "from gatelr import record"], capture_output=True, text=True, check=False
    )
    assert "pip install 'gatelr[" in said.stderr.splitlines()[-1]


def test_its_nouns_work(programs: Path, tmp_path: Path) -> None:
    code = (
        "import torch; from gatelr import GatedRNN, jacobian\n"
        "model = GatedRNN(3, 4, 'multi')\n"
        "print(jacobian.blocks(model, model.run(torch.randn(5, 2, 3))).shape)"
    )
    assert run(programs / "python", "-c", code, where=tmp_path).strip() == "torch.Size([5, 2, 4, 4])"
    code = "from gatelr import kernels; print(kernels.which())"
    assert run(programs / "python", "-c", code, where=tmp_path).startswith("compiled")  # its sources are in the wheel


def test_the_readme_s_lines_and_the_command_work(programs: Path, tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "lib" / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    run(programs / "python", "-W", "error", "-c", code, where=tmp_path)
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    files = (
        "import numpy, torch; torch.save(torch.nn.LSTM(3, 8).state_dict(), 'model.pt')\n"
        "numpy.save('data.npy', numpy.random.default_rng(0).normal(size=(20, 4, 3)))"
    )
    run(programs / "python", "-c", files, where=tmp_path)
    options = ["--module", "LSTM", "--hidden", "8", "--lag", "15", "-o", "page.html", "--json", "page.json"]
    said = run(programs / "gatelr", "diagnose", "model.pt", "data.npy", *options, where=tmp_path)
    assert said.startswith("4 sequences of 20 steps")
    assert json.loads((tmp_path / "page.json").read_text())["layers"][0]["kind"] == "LSTM"
    assert "<h1>Diagnosis of an LSTM</h1>" in (tmp_path / "page.html").read_text()
