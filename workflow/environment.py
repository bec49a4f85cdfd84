"""What the process that computes is to see: threads, hashes, the library, and warnings as errors."""

from __future__ import annotations

import os
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
