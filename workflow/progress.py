"""What a reader sees while jobs run: a line as each cell ends, and one for a cell that takes long.

Jobs on other machines print where nobody looks. They write their lines into a folder instead, which ``make book``
follows.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: The variable that names the folder for lines of jobs elsewhere; without it a job prints.
VARIABLE = "GATELR_PROGRESS"
#: Seconds after which a cell that is still running is named; then after twice as many, and so on.
LONG = 60.0


def say(line: str) -> None:
    """Say a line at once: a reader watches, and several jobs may be speaking."""
    if folder := os.environ.get(VARIABLE):
        with contextlib.suppress(OSError):  # a full disk has its own message
            with (Path(folder) / f"{socket.gethostname()}-{os.getpid()}.log").open("a") as file:
                file.write(f"{line}\n")
        return
    print(line, flush=True)


@contextlib.contextmanager
def followed(folder: Path, every: float = 1.0) -> Iterator[None]:
    """Print what jobs elsewhere say, as long as this lasts.

    Args:
        folder: for their files; those of an earlier build are deleted.
        every: seconds from one look to the next.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.log"):
        old.unlink()
    told: dict[Path, int] = {}
    over = threading.Event()

    def look() -> None:
        for path in sorted(folder.glob("*.log")):
            with path.open() as file:
                file.seek(told.get(path, 0))
                while (line := file.readline()).endswith("\n"):
                    print(line, end="", flush=True)
                    told[path] = file.tell()

    def watch() -> None:
        while not over.wait(every):
            look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        look()


class Cells:
    """The cells of a chapter as they run, and the seconds of each for run.json.

    Papermill hands nbclient's hooks through, so that no engine of ours is needed.
    """

    def __init__(self, chapter: str, notebook: Any):
        # Papermill is about to insert one cell, that of the injected parameters.
        self.chapter, self.total = chapter, 1 + sum(c.cell_type == "code" for c in notebook.cells)
        self.cells: list[dict[str, Any]] = []
        self.title, self._start = "", time.perf_counter()
        self._timer: threading.Timer | None = None

    @property
    def number(self) -> int:
        """Of the cell that is running, or about to."""
        return len(self.cells) + 1

    @property
    def seconds(self) -> float:
        """Since that cell began."""
        return time.perf_counter() - self._start

    def start(self, cell: Any, cell_index: int) -> None:
        """Called before every cell, of prose too."""
        self.stop()
        self._start = time.perf_counter()
        if cell.cell_type == "markdown":
            headings = re.findall(r"^#{1,6} +(.+?) *$", cell.source, flags=re.MULTILINE)
            self.title = headings[-1] if headings else self.title
        else:
            self._call_in(LONG, LONG)

    def end(self, cell: Any, cell_index: int, execute_reply: Any) -> None:
        """Called after a cell of code, failed or not."""
        self.stop()
        seconds = self.seconds
        mark = "" if execute_reply["content"]["status"] == "ok" else "  FAILED"
        self._say(f"{seconds:7.1f} s{mark}")
        self.cells.append({"index": self.number, "title": self.title, "seconds": round(seconds, 3)})

    def stop(self) -> None:
        """Say nothing more of this cell."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _call_in(self, wait: float, after: float) -> None:
        self._timer = threading.Timer(wait, self._still, [after])
        self._timer.daemon = True
        self._timer.start()

    def _still(self, after: float) -> None:
        if self._timer is threading.current_thread():  # the cell may have ended in this moment
            self._say(f"{after:7.0f} s  and still running")
            self._call_in(after, 2 * after)

    def _say(self, rest: str) -> None:
        width = len(str(self.total))
        title = self.title if len(self.title) <= 50 else self.title[:49] + "…"
        say(f"{self.chapter}  cell {self.number:>{width}}/{self.total}  {title:<50} {rest}")
