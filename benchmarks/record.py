"""The file of one machine: who measured what with which, checked against ``schema.json`` before it is written."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import cpuinfo
import jsonschema
import torch
from gatelr import files
from gatelr.kernels import which

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SCHEMA = json.loads((ROOT / "benchmarks" / "schema.json").read_text())


def machine(threads: int) -> dict[str, Any]:
    """What a reader must know of the machine."""
    cpu = cpuinfo.get_cpu_info()
    return {
        "cpu": brand(cpu),
        "level": level(cpu.get("flags", [])),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "system": f"{platform.system()} {platform.machine()}",
    }


def brand(cpu: Mapping[str, Any]) -> str:
    """The processor's name; where a virtual machine leaves its number out, with the family that it belongs to."""
    name = cpu.get("brand_raw") or platform.machine()
    family = cpu.get("family")
    return name if family is None or re.search(r"\d", name) else f"{name}, family {family}"


def level(flags: Sequence[str]) -> str:
    """The vector instructions that PyTorch makes use of: a kind of processor, such as ``avx512-bf16``."""
    capability = torch.backends.cpu.get_cpu_capability().lower()
    halves = "avx512_bf16" if capability == "avx512" else "bf16"
    return f"{capability}-bf16" if halves in flags else capability


def path(machine: Mapping[str, Any]) -> Path:
    """Where the results of a machine belong, such as ``amd-epyc-avx512-bf16-2-threads.json``."""
    kind = f"{machine['cpu']} {machine.get('level', '')}".lower()
    name = re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((r|tm)\)", "", kind)).strip("-")
    return RESULTS / f"{name}-{machine['threads']}-threads.json"


def provenance(seconds: float) -> dict[str, Any]:
    """When a group was measured, and with which code."""
    clone = os.environ.get("GATELR_RELEASED")
    status = _git(ROOT, "status", "--porcelain", "--", "lib", "benchmarks", ":!benchmarks/results")
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "versions": {
            "python": platform.python_version(),
            **{p: _version(p) for p in ("torch", "numpy", "jax", "gatelr")},
        },
        "kernel": which(),
        "commit": _git(ROOT, "rev-parse", "HEAD"),
        "edited": None if status is None else bool(status),
        "released": _git(Path(clone), "rev-parse", "HEAD") if clone else None,
    }


def check(content: Mapping[str, Any]) -> None:
    """Raises jsonschema.ValidationError unless the content has the form that the book reads."""
    jsonschema.validate(content, SCHEMA, format_checker=jsonschema.FormatChecker())


def merged(
    earlier: Mapping[str, Any] | None,
    machine: Mapping[str, Any],
    quick: bool,
    rows: Sequence[Mapping[str, Any]],
    measured: Mapping[str, Any],
) -> dict[str, Any]:
    """The groups just measured in place of those of the same name; other groups of an earlier file stay.

    Raises:
        ValueError: if the earlier file is of another machine, or one of the two is a trial run.
    """
    if earlier is not None and (earlier["machine"], earlier["quick"]) != (machine, quick):
        raise ValueError(
            f"got a file of {earlier['machine']} (quick: {earlier['quick']}), expected one of {dict(machine)} "
            f"(quick: {quick}): name another with --out, or delete it"
        )
    kept = [] if earlier is None else [row for row in earlier["rows"] if row["group"] not in measured]
    return {
        "schema": 1,
        "quick": quick,
        "machine": dict(machine),
        "measured": {**({} if earlier is None else earlier["measured"]), **measured},
        "rows": [*kept, *rows],
    }


def read(file: Path) -> dict[str, Any] | None:
    """The content of a file that fits the schema; None if there is no file."""
    if not file.exists():
        return None
    content: dict[str, Any] = json.loads(file.read_text())
    check(content)
    return content


def write(file: Path, content: Mapping[str, Any]) -> None:
    """Write the file, if its content fits the schema."""
    check(content)
    files.write_json(file, content)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
