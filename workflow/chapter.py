"""Run one chapter: percent source -> notebook -> papermill -> executed notebook and artefacts in place.

Everything is made aside, in ``_build/run/<chapter>/``, and moved into place by rename once it is complete. A
chapter that fails leaves nothing in place: its partly executed notebook and ``failure.json`` stay aside.
"""

from __future__ import annotations

import argparse
import datetime
import errno
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import environment
import failures
import parameters

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = ("results.json", "manifest.json")


class ChapterFailed(Exception):
    """The chapter did not run to its end.

    Args:
        error: one sentence, or the last line of the traceback.
        cell: the number that the notebook shows beside the failing cell, if it was a cell.
        title: the heading that the cell stands under.
    """

    def __init__(self, error: str, cell: int | None = None, title: str = ""):
        super().__init__(error)
        self.error, self.cell, self.title = error, cell, title


def titles(cells: list[Any]) -> list[str]:
    """For each cell the heading it stands under."""
    found, current = [], ""
    for cell in cells:
        if cell.cell_type == "markdown":
            headings = re.findall(r"^#{1,6} +(.+?) *$", cell.source, flags=re.MULTILINE)
            current = headings[-1] if headings else current
        found.append(current)
    return found


class Progress:
    """One line a cell as it ends, and the seconds of each for run.json.

    Papermill hands nbclient's hooks through, so that no engine of ours is needed.
    """

    def __init__(self, chapter: str, notebook: Any):
        # Papermill is about to insert one cell, that of the injected parameters.
        self.chapter, self.total = chapter, 1 + sum(c.cell_type == "code" for c in notebook.cells)
        self.cells: list[dict[str, Any]] = []
        self.title, self._start = "", time.perf_counter()

    def start(self, cell: Any, cell_index: int) -> None:
        """Called before every cell, of prose too."""
        if cell.cell_type == "markdown":
            self.title = titles([cell])[0] or self.title
        self._start = time.perf_counter()

    def end(self, cell: Any, cell_index: int, execute_reply: Any) -> None:
        """Called after a cell of code, failed or not."""
        seconds = time.perf_counter() - self._start
        index = len(self.cells) + 1
        self.cells.append({"index": index, "title": self.title, "seconds": round(seconds, 3)})
        mark = "" if execute_reply["content"]["status"] == "ok" else "  FAILED"
        width = len(str(self.total))
        title = self.title if len(self.title) <= 50 else self.title[:49] + "…"
        say(f"{self.chapter}  cell {index:>{width}}/{self.total}  {title:<50} {seconds:7.1f} s{mark}")


def say(line: str) -> None:
    """Print at once: a reader watches, and several chapters may be speaking."""
    print(line, flush=True)


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
    plain = aside / "source.ipynb"
    jupytext.write(notebook, plain)
    return plain, notebook


def execute(source: Path, values: dict[str, Any], threads: int, aside: Path) -> list[dict[str, Any]]:
    """Run the chapter aside; the seconds of each cell.

    Raises:
        ChapterFailed: if a cell raises, the kernel dies, or the chapter writes no results.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    chapter = source.stem
    plain, notebook = prepare(source, values, aside)
    staging = aside / "artifacts"
    staging.mkdir()
    os.environ.update(environment.variables(threads))
    progress = Progress(chapter, notebook)
    try:
        papermill.execute_notebook(
            str(plain),
            str(aside / f"{chapter}.ipynb"),
            {**values, "out": os.path.relpath(staging, source.parent)},
            cwd=str(source.parent),
            progress_bar=False,
            record_timing=False,  # clock times would make two runs differ
            on_cell_start=progress.start,
            on_cell_executed=progress.end,
        )
    except PapermillExecutionError as error:
        trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback)).strip().splitlines()
        last = trace[-1].strip() if trace else f"{error.ename}: {error.evalue}"
        raise ChapterFailed(last, error.exec_count, progress.title) from error
    except DeadKernelError as error:
        raise ChapterFailed(
            "the kernel died, most likely for want of memory: close something, or run with CORES=1",
            len(progress.cells) + 1,
            progress.title,
        ) from error
    if missing := [name for name in REQUIRED if not (staging / name).is_file()]:
        raise ChapterFailed(
            f"{source.name} ran to its end but wrote no {' and no '.join(missing)} into the folder `out`: "
            "its last cell must call `chapter.close()`"
        )
    return progress.cells


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
    """Move artefacts and notebook into place; a crash in between leaves one missing, so both are redone."""
    chapter = source.stem
    artefacts = ROOT / "artifacts" / chapter
    artefacts.parent.mkdir(exist_ok=True)
    shutil.rmtree(artefacts, ignore_errors=True)
    (aside / "artifacts").rename(artefacts)
    (aside / f"{chapter}.ipynb").rename(source.with_suffix(".ipynb"))


def run(source: Path, values: dict[str, Any], threads: int) -> None:
    """Run a chapter from its source to its place.

    Raises:
        ChapterFailed: with all that the summary prints.
    """
    started = datetime.datetime.now(datetime.UTC)
    begin = time.perf_counter()
    aside = ROOT / "_build" / "run" / source.stem
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    # Results of an earlier run must not stand there as if they were this one's.
    source.with_suffix(".ipynb").unlink(missing_ok=True)
    shutil.rmtree(ROOT / "artifacts" / source.stem, ignore_errors=True)

    cells = execute(source, values, threads, aside)
    seconds = time.perf_counter() - begin
    record = {
        "chapter": source.stem,
        "profile": values.get("profile"),
        "parameters": values,
        "seconds": round(seconds, 3),
        "cells": cells,
        "started": started.isoformat(timespec="seconds"),
    }
    (aside / "artifacts" / "run.json").write_text(json.dumps(record, indent=2) + "\n")
    finish(source, aside)
    publish(source, aside)
    shutil.rmtree(aside)
    say(f"{source.stem}  done, {len(cells)} cells in {seconds:.1f} s")


def main(arguments: list[str] | None = None) -> int:
    """The command that the Snakefile calls; 0 if the chapter stands in its place, 1 if not."""
    parser = argparse.ArgumentParser(description="Run one chapter and put its notebook and artefacts in place.")
    parser.add_argument("source", type=Path, help="such as notebooks/time-scales.py")
    parser.add_argument("--parameters", type=json.loads, required=True, help="a JSON object")
    parser.add_argument("--threads", type=int, default=1, help="of the numeric libraries")
    args = parser.parse_args(arguments)
    source = args.source.resolve()

    try:
        run(source, args.parameters, args.threads)
    except ChapterFailed as failed:
        failure = failed
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        failure = ChapterFailed(f"no space left on the disk while writing {error.filename or 'a file'}: free some")
    else:
        return 0

    partly = ROOT / "_build" / "run" / source.stem / f"{source.stem}.ipynb"
    failures.record(
        source.stem,
        failure.error,
        cell=failure.cell,
        title=failure.title,
        notebook=str(partly.relative_to(ROOT)) if partly.exists() else None,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
