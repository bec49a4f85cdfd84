"""A chapter that runs anywhere: the executed notebook, with the library in its first cell and prose in plain Markdown.

The book's own notebooks need the repository around them, and their prose is written for Sphinx. What a reader takes
away, or opens in Colab or Binder, is made here of the same cells and outputs; the chapter's code is left as it is.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import dependencies
import jinja2
import nbformat
from gatelr.record import tables
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from mdit_py_plugins.myst_role.index import myst_role
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = Path(__file__).parent / "templates"
LIBRARY = "gatelr"
#: What of the library's extras every chapter needs, where there are such.
EXTRAS = ("record", "experiments")
#: Directives that show code, and those whose box has no title of its own.
CODE = {"code", "code-block", "code-cell"}
BARE = {"container", "div", "figure", "table", "list-table", "math"}

#: Says a MyST role, such as ``{numref}`fig-x```, in plain Markdown.
Resolve = Callable[[str], str]
#: A place in a text, and what is to stand there.
Edit = tuple[int, int, str]


# The prose


def _located(state: StateInline, silent: bool) -> bool:
    """The rule for roles, which also notes where in the text the role stands."""
    start = state.pos
    if not myst_role(state, silent):
        return False
    if not silent:
        state.tokens[-1].meta["source"] = state.src[start : state.pos]
    return True


def _parser() -> MarkdownIt:
    extensions = {"amsmath", "colon_fence", "deflist", "dollarmath"}
    parser = create_md_parser(MdParserConfig(enable_extensions=extensions), RendererHTML)
    parser.inline.ruler.at("myst_role", _located)
    return parser


PARSER = _parser()


def soften(text: str, resolve: Resolve) -> str:
    """Markdown that reads well without Sphinx: references as text, theorems as quotations, numbers on equations.

    Args:
        text: MyST Markdown.
        resolve: asked for each role, as it is written.
    """
    lines = text.split("\n")
    offset = [0]
    for line in lines:
        offset.append(offset[-1] + len(line) + 1)

    def span(token: Token) -> tuple[int, int]:
        first, last = token.map or (0, 0)
        return offset[first], offset[max(last, first + 1)] - 1  # the term of a definition has an empty map

    edits: list[Edit] = []
    term = 0  # where the last term of a definition, or definition, was found
    for token in PARSER.parse(text):
        if token.type == "inline":
            edits += _roles(token, text, *span(token), resolve)
        elif token.type in ("fence", "colon_fence") and (directive := _directive(token)):
            edits.append((*span(token), _box(*directive, resolve)))
        elif token.type == "math_block_label":
            edits.append((*span(token), _equation(token.content, token.info, resolve)))
        elif token.type in ("myst_target", "myst_line_comment", "myst_block_break"):
            start, end = span(token)
            edits.append((start, min(end + 1, len(text)), ""))
        elif token.type == "dt_open":
            start, end = span(token)
            edits += [(start, start, "**"), (end, end, "**\n")]
            term = end
        elif token.type == "dd_open":
            colon = re.compile(r"^ *: *", re.MULTILINE).search(text, term)
            assert colon, "lost the place of a definition"
            edits.append((*colon.span(), ""))
            term = colon.end()
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text.strip("\n")


def foreign(text: str) -> list[str]:
    """What of a text only Sphinx understands."""
    found = []
    for token in _every(PARSER.parse(text)):
        if token.type == "myst_role":
            found.append(token.meta["source"])
        elif token.type in ("fence", "colon_fence") and (directive := _directive(token)):
            found.append(f"{{{directive[0]}}}")
        elif token.type == "math_block_label":
            found.append(f"({token.info})")
        elif token.type == "myst_target":
            found.append(f"({token.content})=")
    return found


def _every(tokens: list[Token]) -> Iterator[Token]:
    """Tokens, and those inside of them."""
    for token in tokens:
        yield token
        yield from _every(token.children or [])


def _roles(token: Token, text: str, start: int, end: int, resolve: Resolve) -> Iterator[Edit]:
    """An edit for each role of a paragraph, whose lines may stand in a list or a quotation."""

    for child in _every(token.children or []):
        # What looks like a role in code or mathematics is none, and is passed over.
        source = child.meta["source"] if child.type == "myst_role" else child.content
        if child.type == "myst_role" or child.type in ("code_inline", "math_inline", "math_inline_double"):
            # Between its words a line of a list or a quotation may end, and in a table its bars are escaped.
            pattern = r"[\s>]+".join(re.escape(word).replace(r"\|", r"\\?\|") for word in source.split())
            found = re.compile(pattern).search(text, start, end)
            assert found, f"lost the place of {source!r}"
            start = found.end()
            if child.type == "myst_role":
                yield found.start(), found.end(), resolve(source)


def _directive(token: Token) -> tuple[str, str, dict[str, str], str] | None:
    """Name, argument, options and body, if a fence is a directive and no plain code."""
    if not (named := re.fullmatch(r"\{([^}]+)\} *(.*)", token.info.strip())):
        return None
    options, body = {}, token.content.split("\n")
    while body and (option := re.fullmatch(r":([\w-]+): *(.*)|: +.*", body[0].strip())):
        options.update({option[1]: option[2]} if option[1] else {})  # a long option goes on after a colon
        body.pop(0)
    return named[1], named[2], options, "\n".join(body).strip("\n")


def _box(name: str, argument: str, options: dict[str, str], body: str, resolve: Resolve) -> str:
    """A directive as Markdown has it."""
    if name in CODE:
        return f"```{argument}\n{body}\n```"
    if name == "math":
        return _equation(body, options.get("label", ""), resolve)
    label = options.get("label", options.get("name", ""))
    body = soften(body, resolve)
    if name in ("figure", "table", "table-file"):  # of the first and the last the cell above shows the thing itself
        caption, rest = (soften(argument, resolve), body) if name == "table" else (body, "")
        number = f"**{resolve(f'{{numref}}`{label}`')}.** " if label else ""
        return f"{number}{caption}\n\n{rest}".strip()
    if name in BARE:
        return body
    if name == "prf:proof":
        title, end = "*Proof.* ", " ∎"
    elif name.startswith("prf:"):
        title = f"**{resolve(f'{{prf:ref}}`{label}`') if label else name[4:].capitalize()}**"
        title, end = f"{title} ({argument})\n\n" if argument else f"{title}\n\n", ""
    else:
        title, end = f"**{argument or name.capitalize()}**\n\n", ""
    return textwrap.indent(_flat(f"{title}{body}{end}"), "> ", lambda line: True)


def _equation(formula: str, label: str, resolve: Resolve) -> str:
    number = re.search(r"\(([^()]+)\)", resolve(f"{{eq}}`{label}`")) if label else None  # it may be a link
    tag = rf" \tag{{{number[1]}}}" if number else ""
    return f"$$\n{formula.strip()}{tag}\n$$"


def _flat(text: str) -> str:
    """The same with each paragraph and formula on one line: inside of a quotation, Jupyter would take the mark of the
    next line for a part of the mathematics."""
    lines = text.split("\n")
    for token in reversed(PARSER.parse(text)):
        if token.map and token.type in ("inline", "math_block"):
            first, last = token.map
            if len(lines[first:last]) > 1 and "|" not in lines[first + 1][:1]:
                rest = [line.strip() for line in lines[first + 1 : last]]
                lines[first:last] = [" ".join(filter(None, [lines[first], *rest]))]
    return "\n".join(lines)


# What the notebook carries


def wheel(folder: Path) -> Path:
    """Build the library's wheel, the same bytes from the same files."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "315532800", "PIP_NO_INPUT": "1"}
    with tempfile.TemporaryDirectory() as aside:
        # Setuptools leaves folders where it builds.
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            (Path(aside) / name).write_bytes((ROOT / name).read_bytes())
        for path in (ROOT / "lib" / LIBRARY).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                copy = Path(aside) / path.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(path.read_bytes())
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
        command += ["--disable-pip-version-check", "--wheel-dir", str(folder), aside]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"the library cannot be made into a wheel:\n{run.stderr}")
    (built,) = folder.glob(f"{LIBRARY}-*.whl")
    return built


def _bundle(built: Path, source: Path, data: list[Path]) -> bytes:
    """The library, the chapter's source and the data it reads, laid out as in the repository."""
    with zipfile.ZipFile(built) as unpacked:
        files = {f"lib/{name}": unpacked.read(name) for name in unpacked.namelist()}
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


def lock() -> dict[str, str]:
    """The versions that the book is made with, by canonical name."""
    lines = (ROOT / "requirements.lock").read_text().split()
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def needs(source: str) -> dict[str, str]:
    """What a chapter needs installed, and the version of each that is locked: the library's needs and its own imports.

    Raises:
        ValueError: if the chapter imports what pyproject.toml does not name.
    """
    project = _project()
    extras = project["optional-dependencies"]
    declared = [*project["dependencies"], *(text for extra in extras.values() for text in extra)]
    known = {canonicalize_name(r.name): r for r in map(Requirement, declared)}
    always = [*project["dependencies"], *(text for extra in EXTRAS for text in extras.get(extra, []))]
    wanted = {canonicalize_name(Requirement(text).name) for text in always}
    in_turn = closure(wanted)  # what comes with these, such as NumPy
    providers = metadata.packages_distributions()
    for module in sorted(_imports(source) - sys.stdlib_module_names - {LIBRARY}):
        distributions = {canonicalize_name(name) for name in providers.get(module, [])}
        if not distributions & (known.keys() | in_turn.keys()):
            raise ValueError(
                f"a chapter imports {module!r}, which comes from {', '.join(distributions) or 'nothing installed'}: "
                "name it in pyproject.toml and in requirements.lock, or the downloaded notebook could not install it"
            )
        wanted |= distributions & known.keys()
    versions = lock()
    return {str(known[name]): versions[name] for name in sorted(wanted)}


def _imports(source: str) -> set[str]:
    """The top of every module that a piece of Python imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def closure(names: set[str]) -> dict[str, str]:
    """The locked versions of packages and of all that they need in turn."""
    versions, found, waiting = lock(), set[str](), set(names)
    while waiting:
        found.add(name := waiting.pop())
        for text in metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting |= {canonicalize_name(requirement.name)} - found
    return {name: versions[name] for name in sorted(found & versions.keys())}


def requirements(chapters: list[str]) -> str:
    """All that the chapters need, as pip reads it, for an environment that is made beforehand."""
    sources = [(ROOT / "notebooks" / f"{chapter}.py").read_text() for chapter in chapters]
    wanted: set[str] = {canonicalize_name(Requirement(need).name) for source in sources for need in needs(source)}
    return "".join(f"{name}=={version}\n" for name, version in closure(wanted).items())


def _setup(chapter: str, built: Path, url: str | None) -> str:
    """The first cell's code."""
    source = ROOT / "notebooks" / f"{chapter}.py"
    manifest = json.loads((ROOT / "artifacts" / chapter / "manifest.json").read_text())
    wanted = needs(source.read_text())
    data = dependencies.data(source)
    packed = _bundle(built, source, data)
    project = _project()
    python = project["requires-python"].removeprefix(">=")
    pins = closure({canonicalize_name(Requirement(need).name) for need in wanted})
    templates = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined)
    return templates.get_template("setup.py.j2").render(
        chapter=chapter,
        version=project["version"],
        commit=manifest["commit"] and manifest["commit"][:10] + (", edited" if manifest["dirty"] else ""),
        python=python,
        python_tuple=tuple(map(int, python.split("."))),
        folder=f"{project['name']}-{project['version']}",
        wheel=url and f"{url}downloads/{built.name}",
        data=data,
        needs=wanted,
        pins=textwrap.fill(
            " ".join(f"{name}=={version}" for name, version in pins.items()), 110, break_on_hyphens=False
        ),
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
