"""Each chapter to take away: as a notebook that runs anywhere and as Python, and opened in Colab or Binder.

What the buttons of a page give lies at permanent addresses: ``downloads/<chapter>.ipynb`` and ``.py``, beside the wheel
of the library and what pip reads, ``requirements.txt`` and ``constraints.txt``. Colab and Binder open the same
notebooks on the branch ``notebooks`` of the repository; where that is not known there are no such buttons.
"""

from __future__ import annotations

import functools
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import nbformat
from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.utils import new_document
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import sphinx_domains

sys.path.append(str(Path(__file__).resolve().parents[2] / "workflow"))
import address
import portable
import publish_notebooks
import side_by_side

FOLDER = "downloads"


def launch(app: Sphinx, config: Config) -> None:
    """Tell the theme where the notebooks are published."""
    options = config.html_theme_options
    options.pop("launch_buttons", None)
    if repository := address.repository():
        options["repository_url"] = f"https://github.com/{repository}"
        options["repository_branch"] = publish_notebooks.BRANCH
        options["path_to_docs"] = address.published_as() or address.NEWEST
        options["launch_buttons"] = {
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
            "notebook_interface": "jupyterlab",
        }


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write what the buttons give."""
    if exception is None and app.builder.name == "html":
        side_by_side.later(functools.partial(pack, app))


def pack(app: Sphinx) -> None:
    """Make the downloads, beside what else is done when the pages are written."""
    folder = Path(app.outdir) / FOLDER
    folder.mkdir(exist_ok=True)
    built = portable.wheel(folder)
    pages = sorted(name for name in app.env.found_docs if name.startswith("notebooks/"))
    (folder / "requirements.txt").write_text(portable.requirements())
    shutil.copyfile(portable.ROOT / "requirements.lock", folder / "constraints.txt")
    resolve = resolver(app)
    for page in pages:
        chapter = Path(page).name
        notebook = portable.make(chapter, built, resolve, address.url())
        nbformat.write(notebook, folder / f"{chapter}.ipynb")
        shutil.copyfile(portable.ROOT / "notebooks" / f"{chapter}.py", folder / f"{chapter}.py")


def resolver(app: Sphinx) -> Callable[[str], str]:
    """Says a role in plain Markdown: what a page shows for it, linked to the book if that has an address."""
    page = app.config.root_doc  # as if it stood on the first page, since from there a chapter's own parts are links too
    settings = get_default_settings(MystParser)
    home = address.url()
    known: dict[str, str] = {}

    def resolve(role: str) -> str:
        if cited := re.fullmatch(r"\{cite[a-z:]*\}`([^`]+)`", role):
            return f"({'; '.join(cite(app, key.strip()) for key in cited[1].split(','))})"
        if role not in known:
            app.env.prepare_settings(page)
            vars(settings).update(app.env.settings, env=app.env)
            document = new_document(app.env.doc2path(page), settings)
            with sphinx_domains(app.env):
                MystParser().parse(role, document)
            app.env.resolve_references(document, page, app.builder)
            known[role] = "".join(markdown(document[0]))
        return known[role]

    def markdown(node: nodes.Node) -> Iterator[str]:
        for child in node.children:
            if isinstance(child, nodes.reference) and home and child.get("refuri"):
                here = urljoin(home, app.builder.get_target_uri(page))
                yield f"[{child.astext()}]({urljoin(here, child['refuri'])})"
            elif isinstance(child, nodes.Text):
                yield child.astext()
            else:
                yield from markdown(child)

    return resolve


def cite(app: Sphinx, key: str) -> str:
    """Authors and year, linked to the work itself."""
    entry = app.env.get_domain("cite").bibdata.data.entries[key]
    names = ["".join(map(str, person.rich_last_names)) for person in entry.persons["author"]]
    who = f"{names[0]} et al." if len(names) > 2 else " & ".join(names)
    text = f"{who}, {entry.fields['year']}"
    for field, home in (("doi", "https://doi.org/"), ("eprint", "https://arxiv.org/abs/"), ("url", "")):
        if field in entry.fields:
            return f"[{text}]({home}{entry.fields[field]})"
    return text


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("side_by_side")
    app.connect("config-inited", launch)
    app.connect("build-finished", write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
