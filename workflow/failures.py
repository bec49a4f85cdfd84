"""What failed, told by the step to the summary at the end: one small file each in ``_build/run``."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

RUN = Path(__file__).resolve().parents[1] / "_build" / "run"


def record(step: str, error: str, *, cell: int | None = None, title: str = "", notebook: str | None = None) -> None:
    """Say now that a step failed, and keep it for the summary.

    Args:
        step: a chapter, or ``book`` or ``pages``.
        error: one sentence, or the last line of a traceback.
        cell: the number that the notebook shows beside the failing cell, if it was a cell.
        title: the heading that the cell stands under.
        notebook: where the notebook lies as far as it ran.
    """
    print(f"{step}  FAILED", flush=True)
    failure = {"chapter": step, "cell": cell, "title": title, "error": error, "notebook": notebook}
    # Snakemake's log has it even when the disk is full and the file cannot be written.
    print(json.dumps(failure), file=sys.stderr, flush=True)
    with contextlib.suppress(OSError):
        (RUN / step).mkdir(parents=True, exist_ok=True)
        (RUN / step / "failure.json").write_text(json.dumps(failure, indent=2) + "\n")


def found() -> list[dict[str, Any]]:
    """What has failed since :func:`clear`."""
    return [json.loads(p.read_text()) for p in sorted(RUN.glob("*/failure.json"))]


def clear() -> None:
    """Forget the failures of an earlier run."""
    for path in RUN.glob("*/failure.json"):
        path.unlink()
