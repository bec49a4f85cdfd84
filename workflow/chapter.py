"""Run one chapter: percent source -> notebook -> papermill -> executed notebook and artefacts in place.

Everything is made aside, in a folder of its own below ``_build/run/<chapter>/``, and moved into place by rename once it
is complete. A chapter that fails leaves nothing in place: its partly executed notebook and ``failure.json`` stay aside.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import datetime
import json
import math
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import environment
import failures
import fork_server
import guard
import integrity
import parameters
from progress import Cells, say

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = ("results.json", "manifest.json")
#: What papermill reads, in the folder aside.
PLAIN = "source.ipynb"


class ChapterFailed(Exception):
    """The chapter did not run to its end.

    Args:
        error: one sentence, or the last line of the traceback.
        cell: the number that the notebook shows beside the failing cell, if it was a cell.
        title: the heading that the cell stands under.
        again: whether another try may go better.
    """

    def __init__(self, error: str, cell: int | None = None, title: str = "", again: bool = False):
        super().__init__(error)
        self.error, self.cell, self.title, self.again = error, cell, title, again


def prepare(source: Path, values: dict[str, Any], aside: Path) -> tuple[Path, Any]:
    """Turn the source into a notebook that papermill can run, and check that it can.

    Raises:
        ChapterFailed: if the kernel is missing, or a parameter is not declared or is of another type.
    """
    import jupytext
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    notebook = jupytext.read(source)
    kernel = notebook.metadata.setdefault(
        "kernelspec", {"name": "python3", "display_name": "Python 3", "language": "python"}
    )
    try:
        KernelSpecManager().get_kernel_spec(kernel["name"])
    except NoSuchKernel as error:
        known = ", ".join(sorted(KernelSpecManager().find_kernel_specs())) or "none"
        raise ChapterFailed(
            f"kernel '{kernel['name']}' of {source.name} is not installed (there is: {known}): write "
            "'python3' in the chapter's header, or run `make distclean book` if there is none"
        ) from error

    try:
        parameters.check(source, values)
    except parameters.BadInput as error:
        raise ChapterFailed(str(error)) from error
    plain = aside / PLAIN
    jupytext.write(notebook, plain)
    return plain, notebook


def execute(
    source: Path, values: dict[str, Any], threads: int, aside: Path, seconds: float = math.inf
) -> list[dict[str, Any]]:
    """Run the chapter aside, for so many seconds at most; the seconds of each cell.

    Raises:
        ChapterFailed: if a cell raises or does not end, the kernel dies, or the chapter writes no results.
        KeyboardInterrupt: if it is told to stop, with the number of the cell and its title.
    """
    import papermill
    from jupyter_client.manager import AsyncKernelManager
    from nbclient.exceptions import CellTimeoutError
    from papermill.exceptions import PapermillExecutionError

    chapter = source.stem
    plain, notebook = prepare(source, values, aside)
    staging = aside / "artifacts"
    staging.mkdir()
    os.environ.update(environment.variables(threads))
    cells = Cells(chapter, notebook)
    end = time.monotonic() + seconds

    class Forked(AsyncKernelManager):
        """Kernels from the server, if there is one."""

        def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
            python, *words = super().format_kernel_cmd(extra_arguments)
            return [python, fork_server.__file__, *words[1:]] if words[0] == "-m" else [python, *words]

    def left(cell: Any) -> float | None:
        return None if math.isinf(end) else max(1.0, end - time.monotonic())

    try:
        papermill.execute_notebook(
            str(plain),
            str(aside / f"{chapter}.ipynb"),
            {**values, "out": os.path.relpath(staging, source.parent)},
            cwd=str(source.parent),
            progress_bar=False,
            record_timing=False,  # clock times would make two runs differ
            start_timeout=600,  # a busy machine may take minutes to start a kernel
            on_cell_start=cells.start,
            on_cell_executed=cells.end,
            timeout_func=left,
            kernel_manager_class=Forked,
            extra_arguments=[
                f"--IPKernelApp.exec_lines={guard.line(ROOT, [staging, ROOT / 'artifacts' / 'runs'])}",
            ],
        )
    except PapermillExecutionError as error:
        trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback)).strip().splitlines()
        last = trace[-1].strip() if trace else f"{error.ename}: {error.evalue}"
        raise ChapterFailed(last, error.exec_count, cells.title) from error
    except CellTimeoutError as error:
        raise ChapterFailed(
            f"the chapter did not end within its {seconds / 60:.3g} minutes, of which this cell, which was still "
            f"running, had {cells.seconds / 60:.2g}: mend the cell, or give the chapter more in workflow/limits.yaml",
            cells.number,
            cells.title,
        ) from error
    except RuntimeError as error:
        if "Kernel" not in str(error):  # as nbclient calls one that dies, at its start or later
            raise
        raise ChapterFailed(
            "the kernel died, most likely for want of memory: close something, or run with CORES=1",
            cells.number,
            cells.title,
            again=True,
        ) from error
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(cells.number, cells.title) from stop
    finally:
        cells.stop()
    if missing := [name for name in REQUIRED if not (staging / name).is_file()]:
        raise ChapterFailed(
            f"{source.name} ran to its end but wrote no {' and no '.join(missing)} into the folder `out`: "
            "its last cell must call `chapter.close()`"
        )
    return cells.cells


def finish(source: Path, aside: Path) -> None:
    """Make the executed notebook fit to read: no trace of where and how it was made aside."""
    import nbformat

    chapter = source.stem
    path = aside / f"{chapter}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("papermill", None)
    for index, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{index}"  # jupytext draws them at random
        cell.metadata.pop("papermill", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata.tags.append("hide-input")
            cell.source = cell.source.replace("# Parameters\n", "", 1)
            cell.metadata["mystnb"] = {
                "code_prompt_show": "Show what this run set",
                "code_prompt_hide": "Hide what this run set",
            }
    nbformat.write(notebook, path)

    made = os.path.relpath(aside / "artifacts", source.parent)
    lies = os.path.relpath(ROOT / "artifacts" / chapter, source.parent)
    for file in [path, *(aside / "artifacts").glob("*.json")]:
        file.write_text(file.read_text().replace(made, lies))


def publish(source: Path, aside: Path) -> None:
    """Move artefacts and notebook into place; a crash in between leaves one missing, so both are redone.

    Raises:
        ChapterFailed: if this run was left behind, and another has begun since.
    """
    if not (aside / PLAIN).exists():
        raise ChapterFailed("another run of this chapter has begun since: this one, which was left behind, gives up")
    chapter = source.stem
    artefacts = ROOT / "artifacts" / chapter
    artefacts.parent.mkdir(exist_ok=True)
    shutil.rmtree(artefacts, ignore_errors=True)
    (aside / "artifacts").rename(artefacts)
    (aside / f"{chapter}.ipynb").rename(source.with_suffix(".ipynb"))


def run(source: Path, values: dict[str, Any], threads: int, seconds: float = math.inf) -> None:
    """Run a chapter from its source to its place.

    Raises:
        ChapterFailed: with all that the summary prints.
    """
    started = datetime.datetime.now(datetime.UTC)
    begin = time.perf_counter()
    place = ROOT / "_build" / "run" / source.stem
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    # A run that a kill left behind may still be at work: no two write into one folder.
    aside = Path(tempfile.mkdtemp(dir=place))
    # Results of an earlier run must not stand there as if they were this one's.
    source.with_suffix(".ipynb").unlink(missing_ok=True)
    shutil.rmtree(ROOT / "artifacts" / source.stem, ignore_errors=True)

    try:
        cells = execute(source, values, threads, aside, seconds)
    except BaseException:
        if (partly := aside / f"{source.stem}.ipynb").exists():
            partly.rename(place / partly.name)
        raise
    spent = time.perf_counter() - begin
    record = {
        "chapter": source.stem,
        "profile": values.get("profile"),
        "parameters": values,
        "seconds": round(spent, 3),
        "cells": cells,
        "started": started.isoformat(timespec="seconds"),
    }
    if (clock := aside / "artifacts" / "clock.json").exists():  # what runs took: of no two builds the same
        record["clock"] = json.loads(clock.read_text())
        clock.unlink()
    finish(source, aside)
    record["files"] = integrity.digests(aside / "artifacts", aside / f"{source.stem}.ipynb")
    (aside / "artifacts" / "run.json").write_text(json.dumps(record, indent=2) + "\n")
    publish(source, aside)
    shutil.rmtree(place)
    say(f"{source.stem}  done, {len(cells)} cells in {spent:.1f} s")


def imports(source: Path) -> list[str]:
    """The modules that take long to import, of those that the chapter and its kernel need."""
    needed = ["parameters", "integrity", "jupytext", "jupyter_client", "papermill", "ipykernel.ipkernel"]
    with contextlib.suppress(OSError, SyntaxError):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Import):
                needed += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                needed += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return needed


def main(arguments: list[str] | None = None) -> int:
    """The command that the Snakefile calls; 0 if the chapter stands in its place, 1 if not."""
    parser = argparse.ArgumentParser(description="Run one chapter and put its notebook and artefacts in place.")
    parser.add_argument("source", type=Path, help="such as notebooks/time-scales.py")
    parser.add_argument("--parameters", type=json.loads, required=True, help="a JSON object")
    parser.add_argument("--threads", type=int, default=1, help="of the numeric libraries")
    parser.add_argument("--seconds", type=float, default=math.inf, help="the most that it may take; no limit without")
    parser.add_argument("--attempt", type=int, default=1, help="which this is of the same job")
    args = parser.parse_args(arguments)
    source = args.source.resolve()
    if args.threads == fork_server.THREADS:
        fork_server.hand_over(imports(source))
    if failures.final(source.stem, args.attempt):
        return 1

    try:
        run(source, args.parameters, args.threads, args.seconds)
    except ChapterFailed as failed:
        failure = failed
    except KeyboardInterrupt as stopped:
        cell, title = stopped.args or (None, "")
        failure = ChapterFailed("it was stopped here", cell, title, again=True)
    except OSError as error:
        if error.errno not in failures.ADVICE:
            raise
        failure = ChapterFailed(failures.ADVICE[error.errno].format(error.filename or "a file"))
    else:
        return 0

    partly = ROOT / "_build" / "run" / source.stem / f"{source.stem}.ipynb"
    failures.record(
        source.stem,
        failure.error,
        cell=failure.cell,
        title=failure.title,
        notebook=str(partly.relative_to(ROOT)) if partly.exists() else None,
        again=failure.again,
    )
    return 1


def stop(*_: object) -> None:
    """What a scheduler's signal does: the same as Ctrl-C."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    sys.exit(main())
