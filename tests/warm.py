"""Run a Python program as a command would, in a process that has imported already what takes seconds to import.

Tests of tiny books and tiny projects run hundreds of programs. A server that imports Sphinx, Snakemake and papermill
once, and forks for each program, spares each of them that.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

#: Never the library itself: a project may have one of its own.
IMPORTED = (
    "bs4",
    "grimp",
    "jsonschema",
    "jupytext",
    "matplotlib.pyplot",
    "myst_nb.sphinx_ext",
    "pandas",
    "papermill",
    "psutil",
    "pybtex.database",
    "pydata_sphinx_theme",
    "scipy.stats",
    "snakemake.api",
    "snakemake.cli",
    "sphinx.builders.html",
    "sphinx.cmd.build",
    "sphinx_book_theme",
    "sphinxcontrib.bibtex",
    "torch",
)


def run(arguments: Sequence[str | Path], cwd: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """What ``python`` with these arguments does: a script, ``-m`` a module, or ``-c`` code."""
    words = [str(argument) for argument in arguments]
    with tempfile.TemporaryDirectory() as folder:
        said = [f"{folder}/{name}" for name in ("stdout", "stderr")]
        server = _server()
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps([words, str(cwd), dict(environment), said]) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        stdout, stderr = (Path(file).read_text() for file in said)
        return subprocess.CompletedProcess([sys.executable, *words], status, stdout, stderr)


@functools.cache
def _server() -> subprocess.Popen[str]:
    """One for this process, with which it ends."""
    server = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(server.communicate)  # which closes its input, and so ends it
    return server


def _serve() -> None:
    """Fork for each program that is asked for, and answer with its exit status."""
    runpy.run_path(str(Path(__file__).parents[1] / "workflow" / "fewer_imports.py"))
    gc.disable()  # while all this is imported
    for name in IMPORTED:
        import_module(name)
    gc.freeze()  # so that a fork does not look through all that, and copy it
    gc.enable()
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            _become(*json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _become(words: list[str], cwd: str, environment: dict[str, str], said: list[str]) -> NoReturn:
    """Run the program in this process, which ends with it."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for stream, file in enumerate([os.devnull, *said]):
        os.dup2(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND), stream)
    status: object = 0
    try:
        _execute(*words)
    except SystemExit as ended:
        status = ended.code
    except BaseException:
        traceback.print_exc()
        status = 1
    if isinstance(status, str):
        print(status, file=sys.stderr)
    atexit._run_exitfuncs()
    sys.stdout.flush(), sys.stderr.flush()
    # Python's own end would take all modules apart, one by one.
    os._exit(status if isinstance(status, int) else status is not None)


def _execute(first: str, *more: str) -> None:
    if first in ("-m", "-c"):
        program, *more = more
        sys.argv, sys.path[0] = [first, *more], str(Path.cwd())
        if first == "-m":
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        else:
            exec(program, {"__name__": "__main__"})
    else:
        sys.argv, sys.path[0] = [first, *more], str(Path(first).resolve().parent)
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    _serve()
