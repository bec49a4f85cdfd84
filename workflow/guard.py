"""What a chapter may write: its folder of artefacts, and nothing else among the reader's files.

The driver has the kernel call :func:`watch` before the first cell. From then on Python's audit hooks see each file that
is opened for writing, made, renamed or removed. What lies in the checkout or in the home directory is refused, but for
the chapter's own folder, the runs, temporary files and caches. What C++ or another process writes is not seen, and what
lies elsewhere is not refused: this catches mistakes, and is no wall against a program that means harm.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

#: Events of the audit hook that change files, and which of their arguments are paths.
CHANGES = {
    "os.rmdir": (0,),
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.link": (1,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.chmod": (0,),
    "shutil.rmtree": (0,),
}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def watch(checkout: str, allowed: Iterable[str]) -> None:
    """Refuse, from now on and for this process, what the chapter has no business to write.

    Args:
        checkout: the root of the repository.
        allowed: the folders in it that may be written to.
    """
    root, home = os.path.realpath(checkout), os.path.realpath(Path.home())
    free = [os.path.realpath(folder) for folder in allowed]
    temporary = os.path.realpath(tempfile.gettempdir())

    def within(path: str, folder: str) -> bool:
        return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)

    def refused(path: str) -> bool:
        if any(within(path, folder) for folder in free) or f"{os.sep}__pycache__" in path:
            return False
        if within(path, root):
            return True
        if within(path, temporary) or not within(path, home):
            return False
        return not os.path.relpath(path, home).startswith(".")  # settings and caches

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = flags & WRITES if isinstance(flags, int) else set(mode or "") & set("wax+")
            paths = [path] if writes else []
        else:
            paths = [arguments[place] for place in CHANGES.get(event, ())]
        for path in paths:
            if isinstance(path, str | bytes | os.PathLike) and refused(os.path.realpath(os.fsdecode(path))):
                raise PermissionError(
                    f"got {os.fsdecode(path)} to write, expected a path in the chapter's own folder: write below `out`"
                )

    sys.addaudithook(hook)


def line(checkout: Path, allowed: Iterable[Path]) -> str:
    """The statement by which a kernel watches itself; it leaves no name behind."""
    arguments = repr(str(checkout)), repr([str(folder) for folder in allowed])
    return f"__import__('runpy').run_path({str(Path(__file__).resolve())!r})['watch']({', '.join(arguments)})"
