"""With what a chapter was run: source, commit, parameters, versions and machine."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from typing import Any

_PACKAGES = (
    "gatelr",
    "torch",
    "sympy",
    "numpy",
    "scikit-learn",
    "matplotlib",
    "seaborn",
    "pandas",
    "papermill",
)


def manifest(chapter: str, parameters: Mapping[str, Any], source: str | None) -> dict[str, Any]:
    """All that another run needs to give the same results; ``source`` is the SHA-256 of the chapter's script."""
    import torch

    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # papermill is not needed to run a chapter in JupyterLab
            continue
    device = str(parameters.get("device", "cpu"))
    cuda = torch.cuda.is_available() and device != "cpu"
    status = _git("status", "--porcelain")
    return {
        "chapter": chapter,
        "parameters": dict(parameters),
        "seeds": parameters.get("seeds"),
        "source": source,
        "commit": _git("rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "machine": {
            "system": platform.system(),
            "architecture": platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
        },
        "versions": {"python": platform.python_version(), **versions},
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _git(*arguments: str) -> str | None:
    """What git says here, or None without git or outside a repository: a downloaded chapter runs there too."""
    try:
        run = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout.strip()
