"""What is done for one page after the other once all are written is done side by side, by as many as the build may use.

Each task runs in a process of its own: it writes files, and what else it changes is lost.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.parallel import ParallelTasks, SerialTasks, parallel_available

#: Tells how many processes may read and write pages: workflow/book.py sets it.
VARIABLE = "GATELR_JOBS"

waiting: list[Callable[[], object]] = []


def jobs() -> int:
    """How many processes the build may use."""
    return int(os.environ.get(VARIABLE, "1"))


def later(task: Callable[[], object]) -> None:
    """Have a task done among the last."""
    waiting.append(task)


def do(app: Sphinx, exception: Exception | None) -> None:
    """Do all that waits, the last first: it takes longest."""
    tasks = ParallelTasks(app.parallel) if parallel_available and app.parallel > 1 else SerialTasks()
    for task in waiting if exception is None else ():
        tasks.add_task(task)
    tasks.join()
    waiting.clear()


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("build-finished", do, priority=600)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
