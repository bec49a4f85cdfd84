"""What failed, told by the step to the summary at the end: one small file each in ``_build/run``."""

from __future__ import annotations

import contextlib
import errno
import json
import re
import shlex
import sys
from collections import Counter
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


#: How often a scheduler is given a job: once, and ``retries`` in workflow/profiles/slurm.
ATTEMPTS = 4


def silent(log: Path) -> list[dict[str, Any]]:
    """The jobs that ended without a word of their own, as one does that is killed: from what Snakemake wrote down."""
    text = log.read_text(errors="replace")
    ended: dict[str, str] = {}
    command = r"(workflow/(?:run|chapter)\.py .*)' (died with <Signals\.\w+|returned non-zero exit status \d+)"
    for call, how in re.findall(command, text):
        _, first, *_ = shlex.split(call)
        if first.startswith("{"):
            run = json.loads(first)
            words = [run["task"], run["gate"], run["optimiser"], "seeds", str(run["seeds"][0]), str(run["seeds"][-1])]
            first = f"{run['experiment']} {'-'.join(words)}"
        ended[Path(first).stem] = how.replace("<Signals.", "")
    submitted = Counter(re.findall(r"log: .*/rule_\w+?/([^/]+)/\d+\.log\)", text))
    ended |= {job: f"was tried {count} times" for job, count in submitted.items() if count >= ATTEMPTS}
    told = [failure["chapter"] for failure in found()]
    return [
        {"chapter": step, "cell": None, "title": "", "notebook": None, "error": f"it ended without a word: it {how}"}
        for step, how in ended.items()
        if not any(name.replace(" ", "_").startswith(step.replace(" ", "_")) for name in told)
    ]


def clear() -> None:
    """Forget the failures of an earlier run."""
    for path in RUN.glob("*/failure.json"):
        path.unlink()
