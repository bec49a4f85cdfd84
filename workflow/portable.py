"""A chapter that runs anywhere: the executed notebook, with the library in its first cell and prose in plain Markdown.

The book's own notebooks need the repository around them, and their prose is written for Sphinx. What a reader takes
away, or opens in Colab or Binder, is made here of the same cells and outputs; the chapter's code is left as it is.
What it needs is installed by pip: the first cell brings the files `requirements.txt` and `constraints.txt`.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import dependencies
import jinja2
import nbformat
from gatelr.record import tables
from plain import Resolve, soften

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = Path(__file__).parent / "templates"
LIBRARY = "gatelr"
#: What of the library's extras the chapters need.
EXTRAS = ("symbolic", "experiments", "record")


# What the notebook carries


def wheel(folder: Path) -> Path:
    """Build the library's wheel, the same bytes from the same files."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "315532800", "PIP_NO_INPUT": "1"}
    with tempfile.TemporaryDirectory() as aside:
        # Setuptools leaves folders where it builds.
        shutil.copytree(ROOT / "lib" / LIBRARY, Path(aside) / "lib" / LIBRARY, ignore=lambda *_: ["__pycache__"])
        for name in ("pyproject.toml", "lib/README.md", "LICENSE"):
            shutil.copyfile(ROOT / name, Path(aside) / name)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
        command += ["--disable-pip-version-check", "--wheel-dir", str(folder), aside]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"the library cannot be made into a wheel:\n{run.stderr}")
    (built,) = folder.glob(f"{LIBRARY}-*.whl")
    return built


def requirements() -> str:
    """What the chapters need, as pip reads it: the needs of the library and of its extras."""
    project = _project()
    extras = project["optional-dependencies"]
    return "".join(f"{need}\n" for need in sorted({*project["dependencies"], *(n for e in EXTRAS for n in extras[e])}))


def _bundle(built: Path, source: Path, data: list[Path]) -> bytes:
    """What pip reads, the library, the chapter's source and the data it reads, laid out as in the repository."""
    files = {"requirements.txt": requirements().encode(), "constraints.txt": (ROOT / "requirements.lock").read_bytes()}
    with zipfile.ZipFile(built) as unpacked:
        files |= {f"lib/{name}": unpacked.read(name) for name in unpacked.namelist()}
    files |= {f"notebooks/{source.name}": source.read_bytes()}
    files |= {path.as_posix(): (ROOT / path).read_bytes() for path in data}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for name in sorted(files):
            packed.writestr(zipfile.ZipInfo(name), files[name], zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()


def _project() -> dict[str, Any]:
    """What pyproject.toml says of the library."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project


def _setup(chapter: str, built: Path, url: str | None) -> str:
    """The first cell's code."""
    source = ROOT / "notebooks" / f"{chapter}.py"
    manifest = json.loads((ROOT / "artifacts" / chapter / "manifest.json").read_text())
    data = dependencies.data(source)
    packed = _bundle(built, source, data)
    project = _project()
    python = project["requires-python"].removeprefix(">=")
    templates = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined)
    return templates.get_template("setup.py.j2").render(
        chapter=chapter,
        version=project["version"],
        commit=manifest["commit"] and manifest["commit"][:10] + (", edited" if manifest["dirty"] else ""),
        python=python,
        python_tuple=tuple(map(int, python.split("."))),
        folder=f"{project['name']}-{project['version']}",
        wheel=url and f"{LIBRARY}[{','.join(EXTRAS)}] @ {url}downloads/{built.name}",
        data=data,
        size=len(packed) // 1000,
        digest=hashlib.sha256(packed).hexdigest(),
        bundle=textwrap.fill(base64.b64encode(packed).decode(), 110),
    )


# The notebook


def make(chapter: str, built: Path, resolve: Resolve, url: str | None) -> nbformat.NotebookNode:
    """The portable form of an executed chapter.

    Args:
        chapter: its id, such as "time-scales".
        built: the library's wheel.
        resolve: says a role of this chapter in plain Markdown.
        url: the public address of the book, if it has one.
    """
    notebook = nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4)
    for cell in notebook.cells:
        tags, prompts = cell.metadata.pop("tags", []), cell.metadata.pop("mystnb", {})
        if cell.cell_type == "markdown":
            cell.source = soften(cell.source, resolve)
            continue
        cell.outputs = [_outputs(output, resolve, ROOT / "artifacts" / chapter) for output in cell.outputs]
        cell.metadata.tags = [tag for tag in tags if not tag.startswith(("hide-", "remove-"))]
        if "injected-parameters" in tags:
            cell.source = f"# What this run set, instead of the above: change it here.\n{cell.source.strip()}"
        elif "parameters" not in tags:
            _fold(cell, tags, prompts.get("code_prompt_show", ""))
    title = f"*Gates as Learning Rates*, version {_project()['version']}"
    title = f"[{title}]({url}notebooks/{chapter}.html)" if url else title
    first = notebook.cells[0]
    heading, rest = first.source.split("\n", 1)
    first.source = f"{heading}\n\n{title}. The cell above lets this notebook run anywhere: run it first.\n{rest}"
    notebook.cells.insert(
        0,
        nbformat.v4.new_code_cell(
            _setup(chapter, built, url),
            id="setup",
            metadata={"jupyter": {"source_hidden": True}, "cellView": "form", "tags": ["setup"]},
        ),
    )
    notebook.metadata.language_info.pop("version", None)
    nbformat.validate(notebook)
    return notebook


def _fold(cell: Any, tags: list[str], prompt: str) -> None:
    """Fold a cell in Jupyter that is folded, or left out, on its page; what its button says becomes its first line."""
    if prompt:
        what = prompt.removeprefix("Show ")
        cell.source = f"# {what[0].upper()}{what[1:]}\n{cell.source}"
    if {"hide-input", "hide-cell", "remove-input", "remove-cell"} & {*tags}:
        cell.metadata.jupyter = {"source_hidden": True}
    if {"hide-output", "hide-cell", "remove-output", "remove-cell"} & {*tags}:
        cell.metadata.setdefault("jupyter", {})["outputs_hidden"] = True


def _outputs(output: Any, resolve: Resolve, artefacts: Path) -> Any:
    """An output in a form that every front end can show."""
    text = output.get("data", {}).get("text/markdown")
    if text is None:
        return output
    file = output.metadata.pop("gatelr", {}).get("file", "")
    output.data.pop("text/html", None)  # the same for JupyterLab, but Colab sets no mathematics in it
    if file.startswith("figures/"):
        output.data.pop("text/markdown")
        picture = (artefacts / file).with_suffix(".png")
        output.data["image/png"] = base64.b64encode(picture.read_bytes()).decode()
        output.metadata["image/png"] = {"alt": output.data["text/plain"].partition(": ")[2]}
    elif file:
        output.data["text/markdown"] = soften(tables.markdown(tables.read(artefacts / file)), resolve)
    else:
        output.data["text/markdown"] = soften(text, resolve)
    return output
