"""One build at a time in one folder, and whose it is.

The system takes the lock back when its holders die, however they die; Snakemake, which may outlive `make book`, is one.
Snakemake's own lock would stay behind after a kill and block every later build.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from parameters import BadInput

#: Seconds in which a build that has just been killed may be gone.
PATIENCE = 2.0


@dataclass
class Lock:
    """A file that this process has locked, and in which it says who it is."""

    file: IO[str]

    def fileno(self) -> int:
        """For a process that is to hold the lock too."""
        return self.file.fileno()

    def name(self, snakemake: int | None = None) -> None:
        """Write down who holds it, and the number of its Snakemake."""
        holder = {"process": os.getpid(), "snakemake": snakemake, "host": socket.gethostname()}
        self.file.truncate(0)
        self.file.write(json.dumps(holder | {"since": time.strftime("%H:%M")}))
        self.file.flush()


@contextlib.contextmanager
def held(path: Path) -> Iterator[Lock]:
    """The lock, for as long as this lasts.

    Raises:
        BadInput: if another build has it, with the number of its process.
    """
    path.parent.mkdir(exist_ok=True)
    with path.open("a+") as file:
        file.seek(0)
        if not _taken(file):
            raise BadInput(_refusal(_holder(file)))
        if last := _holder(file):
            print(f"The last `make book`, {_words(last)}, was killed: its lock is lifted.", file=sys.stderr)
        lock = Lock(file)
        lock.name()
        yield lock
        file.truncate(0)


def _taken(file: IO[str]) -> bool:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.1)


def _holder(file: IO[str]) -> dict[str, Any]:
    """Who wrote into it last; nothing if that build has ended, or was killed as it wrote."""
    file.seek(0)
    with contextlib.suppress(ValueError):
        return dict(json.loads(file.read()))
    return {}


def _words(holder: dict[str, Any]) -> str:
    return f"process {holder['process']} on {holder['host']} since {holder['since']}"


def _refusal(holder: dict[str, Any]) -> str:
    sentence = "another `make book` is at work in this folder"
    if not holder:
        return f"{sentence}: wait for it to end, or stop it"
    stop = f"kill {holder['process']}"
    if holder["snakemake"] and holder["host"] == socket.gethostname() and not _alive(holder["process"]):
        sentence += ", or rather its Snakemake, which outlived it"
        stop = f"kill -9 {holder['snakemake']}"
    return f"{sentence}: {_words(holder)}; wait for it to end, or stop it with `{stop}`"


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    return True
