"""What failed, told by the step to the summary at the end: one small file each in ``_build/run``."""

from __future__ import annotations

import contextlib
import errno
import json
import re
import sys
from pathlib import Path
from typing import Any

import progress

RUN = Path(__file__).resolve().parents[1] / "_build" / "run"
#: What an operating system says when a file cannot be written, and what to do about it.
ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "no space left on the disk while writing {0}: free some"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "{0} cannot be written: make its folder writable"),
    errno.EFBIG: "{0} would be larger than a file may be here: raise the limit (ulimit -f)",
}


def record(
    step: str,
    error: str,
    *,
    cell: int | None = None,
    title: str = "",
    notebook: str | None = None,
    again: bool = False,
) -> None:
    """Say now that a step failed, and keep it for the summary.

    Args:
        step: a chapter, or ``book`` or ``pages``.
        error: one sentence, or the last line of a traceback.
        cell: the number that the notebook shows beside the failing cell, if it was a cell.
        title: the heading that the cell stands under.
        notebook: where the notebook lies as far as it ran.
        again: whether another try may go better, as after a kill.
    """
    progress.say(f"{step}  FAILED")
    failure = {"chapter": step, "cell": cell, "title": title, "error": error, "notebook": notebook, "again": again}
    # Snakemake's log has it even when the disk is full and the file cannot be written.
    print(json.dumps(failure), file=sys.stderr, flush=True)
    with contextlib.suppress(OSError):
        (RUN / step).mkdir(parents=True, exist_ok=True)
        (RUN / step / "failure.json").write_text(json.dumps(failure, indent=2) + "\n")


def final(step: str, attempt: int) -> bool:
    """Whether an earlier attempt of this build has failed for a reason that will not go away.

    A scheduler tries a job again whatever it died of.
    """
    path = RUN / step / "failure.json"
    return attempt > 1 and path.exists() and not json.loads(path.read_text())["again"]


def found() -> list[dict[str, Any]]:
    """What has failed since :func:`clear`."""
    return [json.loads(p.read_text()) for p in sorted(RUN.glob("*/failure.json"))]


def silent(log: Path) -> list[dict[str, Any]]:
    """The jobs that ended without a word of their own, as one does that was killed: from what Snakemake wrote down."""
    text = log.read_text()
    told = {failure["chapter"] for failure in found()}
    found_here: dict[str, dict[str, Any]] = {}
    for block in re.findall(r"^Error in (?:rule|group).*\n(?:    .*\n)*", text, flags=re.MULTILINE):
        output = re.search(r"^    output: ([^,\n]+)", block, flags=re.MULTILINE)
        why = re.search(r"^    message: (.+)", block, flags=re.MULTILINE)
        job = Path(output[1]) if output else Path("a job")
        step = f"{job.parent.name} {job.stem}" if job.suffix == ".json" else job.stem
        if step not in told:
            error = f"it ended without a word, as a job does that is killed{': ' + why[1] if why else ''}"
            found_here[step] = {"chapter": step, "cell": None, "title": "", "error": error, "notebook": None}
    return list(found_here.values())


def clear() -> None:
    """Forget the failures of an earlier run."""
    for path in RUN.glob("*/failure.json"):
        path.unlink()
