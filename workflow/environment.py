"""What the process that computes is to see: the locked packages, threads, hashes, the library, warnings as errors."""

from __future__ import annotations

import os
import re
from importlib import metadata
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1] / "lib"
POOLS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")


def variables(threads: int) -> dict[str, str]:
    """The variables of a process that computes with so many threads."""
    modules = [
        ".".join(p.relative_to(LIBRARY).with_suffix("").parts).removesuffix(".__init__")
        for p in sorted(LIBRARY.rglob("*.py"))
    ]
    return {
        # Jobs share the cores by running side by side; a sum then has the same order on any machine.
        **{f"{pool}_NUM_THREADS": str(threads) for pool in POOLS},
        "PYTHONHASHSEED": "0",
        # The library whose files decided that this job runs, even when another copy is installed.
        "PYTHONPATH": os.pathsep.join(filter(None, [str(LIBRARY), os.environ.get("PYTHONPATH")])),
        # A warning raised in a chapter or in the library is an error; those of others are theirs.
        "PYTHONWARNINGS": ",".join(f"error:::{module}" for module in ["__main__", *modules]),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def changed(lock: Path) -> list[str]:
    """What is installed otherwise than the lock file says, a few words for each package.

    Packages that the lock file does not name do not count.
    """
    installed = {_canonical(each.name): each.version for each in metadata.distributions() if each.name}
    changed = []
    for line in lock.read_text().splitlines():
        name, _, version = line.partition("==")
        here = installed.get(_canonical(name))
        # builds of torch for one device or another have a local version, such as 2.13.0+cpu
        if here is None or version not in (here, here.partition("+")[0]):
            changed.append(f"{name} is {here or 'missing'} (locked: {version})")
    return changed


def device(asked: str) -> str:
    """Where runs are computed: ``cpu`` or ``cuda``, for ``auto`` the second if there is one."""
    if asked == "cpu":
        return asked
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
