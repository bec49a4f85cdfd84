"""Figures and tables as things that can be cited: files, code, provenance and reference stand under each of them.

A figure or table that a chapter made gets one line below it: links to its files, at addresses that do not change
(``files/<chapter>/<id>.<suffix>``), to the cell that made it, and two parts that open: how it was made, and how to cite
it. A chapter gets the same at its end. It is all HTML; only the buttons that copy a reference need a script.

``{gallery} figures <chapter>`` and ``{gallery} tables <chapter>`` list what a chapter shows, and ``{reference} gatelr``
shows how to cite the book, or with another key an entry of the bibliography.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cells
from docutils import nodes
from docutils.nodes import Element, Node
from pybtex.database import parse_file
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.osutil import relative_uri
from sphinx.writers.html5 import HTML5Translator

sys.path.append(str(Path(__file__).resolve().parents[2] / "workflow"))
import address
import citation

logger = logging.getLogger(__name__)

#: The files of each kind of thing, as a menu names them.
SUFFIXES = {"figure": {"svg": "SVG", "pdf": "PDF", "png": "PNG", "csv": "Data (CSV)"}, "table": {"csv": "Data (CSV)"}}
#: What a chapter says about all its results.
RECORDS = ("results.json", "manifest.json")


@dataclass(frozen=True)
class Citable:
    """A figure or a table of a chapter, as a reader sees it."""

    kind: str
    chapter: str
    name: str
    number: str
    node: Element

    @property
    def id(self) -> str:
        return f"{self.kind[:3]}-{self.name}"

    @property
    def caption(self) -> Element:
        """Its caption, which a table calls its title."""
        return next(child for child in self.node.children if isinstance(child, (nodes.caption, nodes.title)))

    def artefact(self, suffix: str) -> str:
        return f"artifacts/{self.chapter}/{self.kind}s/{self.name}.{suffix}"


def citables(env: BuildEnvironment, docname: str, doctree: nodes.document) -> Iterator[Citable]:
    """What a page shows of its own chapter's artefacts, in its order."""
    folder, _, chapter = docname.rpartition("/")
    if folder != "notebooks":
        return
    for node in doctree.findall(lambda node: isinstance(node, (nodes.figure, nodes.table))):
        kind = "figure" if isinstance(node, nodes.figure) else "table"
        for label in node["ids"]:
            name = label.removeprefix(f"{kind[:3]}-")
            citable = Citable(kind, chapter, name, _number(env, docname, kind, label), node)
            if name != label and (Path(env.srcdir) / citable.artefact("csv")).exists():
                yield citable


def _number(env: BuildEnvironment, docname: str, kind: str, label: str) -> str:
    """What the page prints before its caption, such as ``Figure 1.2``."""
    digits = env.toc_fignumbers.get(docname, {}).get(kind, {}).get(label, ())
    return str(env.config.numfig_format[kind] % ".".join(map(str, digits)))


def _chapter(env: BuildEnvironment, chapter: str) -> tuple[str, str]:
    """A chapter's label and title, such as ``Chapter 1`` and ``Time-scales``."""
    docname = f"notebooks/{chapter}"
    digits = env.toc_secnumbers.get(docname, {}).get("", ())
    return f"Chapter {'.'.join(map(str, digits))}", env.titles[docname].astext()


class element(nodes.comment):
    """An HTML element that docutils has no node for: ``tag``, with ``attributes``.

    Of all nodes the search leaves out only comments. It would find versions and parameters, the same under each figure,
    in every chapter.
    """


def _visit(translator: HTML5Translator, node: element) -> None:
    translator.body.append(translator.starttag(node, node["tag"], **node["attributes"]))


def _depart(translator: HTML5Translator, node: element) -> None:
    translator.body.append(f"</{node['tag']}>\n")


def _element(tag: str, *children: Node, classes: tuple[str, ...] = (), **attributes: str) -> element:
    return element("", "", *children, tag=tag, attributes=attributes, classes=list(classes))


class Menus(SphinxPostTransform):
    """The line below each figure and table of a chapter, and at the end of the chapter."""

    default_priority = 150  # when a reference is resolved, and a cell not yet wrapped to be folded
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        docname = self.env.docname
        file = Path(self.env.srcdir) / "artifacts" / Path(docname).name / "manifest.json"
        if not (docname.startswith("notebooks/") and file.exists()):
            return
        self.manifest = json.loads(file.read_text())
        self.makers = cells.makers(self.document, self.manifest["chapter"])
        label, title = _chapter(self.env, self.manifest["chapter"])
        within = f"{label[0].lower()}{label[1:]}, {title}"
        for citable in list(citables(self.env, docname, self.document)):
            parent = citable.node.parent
            parent.insert(parent.index(citable.node) + 1, self._menu(citable, within))
        here = nodes.reference("", label, refuri="#", internal=True)
        records = [here, *(self._link(record, _file(self.manifest["chapter"], record)) for record in RECORDS)]
        end = self._line(citation.Part(self.manifest["chapter"], label, title), records, "chapter")
        next(child for child in self.document.children if isinstance(child, nodes.section)).append(end)

    def _menu(self, citable: Citable, within: str) -> element:
        links = [
            self._link(text, _file(citable.chapter, f"{citable.id}.{suffix}"))
            for suffix, text in SUFFIXES[citable.kind].items()
        ]
        if code := self._code(citable):
            links.append(nodes.reference("", "Code", refuri=f"#{code}", internal=True))
        words = citable.name.removeprefix(f"{citable.chapter}-").replace("-", " ")
        return self._line(citation.Part(citable.id, citable.number, words, within), links, citable.kind)

    def _line(self, part: citation.Part, links: list[nodes.reference], kind: str) -> element:
        page = self.app.builder.get_target_uri(self.env.docname)
        anchor = f"#{part.id}" if part.within else ""
        url = f"{root}{page}{anchor}" if (root := address.url()) else None
        entry = citation.part(part, citation.commit(self.manifest["commit"], self.manifest["dirty"]), url)
        parts = [
            self._details(part.id, "Provenance", _provenance(self.manifest)),
            self._details(part.id, f"Cite this {kind}", *_reference(f"{citation.KEY}:{part.id}", entry)),
        ]
        # What is left of it on paper.
        printed = nodes.inline("", url or part.id, classes=["citable-address"])
        label = {"role": "group", "aria-label": f"Files, provenance and citation of {part.label}"}
        classes = ("citable", f"citable-{kind}")
        return _element("div", *links, *parts, printed, classes=classes, **label)

    def _details(self, name: str, summary: str, *content: Node) -> element:
        body = _element("div", *content, classes=("citable-body",))
        # Details of one name close each other.
        return _element("details", _element("summary", nodes.Text(summary)), body, name=f"citable-{name}")

    def _link(self, text: str, path: str) -> nodes.reference:
        here = self.app.builder.get_target_uri(self.env.docname)
        return nodes.reference("", text, refuri=relative_uri(here, path), internal=True)

    def _code(self, citable: Citable) -> str | None:
        """An address at the source of the cell that made it."""
        cell = self.makers.get(citable.id)
        source = cells.source(cell) if cell else None
        if source is None:
            return None
        source["ids"].append(f"code-{citable.id}")
        return str(source["ids"][0])


def _file(chapter: str, name: str) -> str:
    """Where a file of a chapter lies in the built book."""
    return f"files/{chapter}/{name}"


def _reference(key: str, entry: citation.Entry) -> list[Node]:
    """A reference in words and as BibTeX, in blocks that have a button to copy them."""
    blocks: list[Node] = []
    for language, content in (("text", citation.text(entry)), ("bibtex", citation.bibtex(key, entry))):
        blocks.append(nodes.literal_block(content, content, language=language, classes=["citable-reference"]))
    return blocks


def _provenance(manifest: dict[str, Any]) -> nodes.definition_list:
    """What a chapter's manifest says, for a reader."""
    chapter, commit, digest, machine = (manifest[key] for key in ("chapter", "commit", "source", "machine"))
    repository = address.repository()
    github = f"https://github.com/{repository}" if repository and commit else None
    script = f"notebooks/{chapter}.py"
    rows: dict[str, list[Node]] = {
        "Source": [_code(script, github and f"{github}/blob/{commit}/{script}")],
        "Commit": [_code(commit, github and f"{github}/commit/{commit}")] if commit else [nodes.Text("not in git")],
        "Parameters": _list(f"{key} = {value}" for key, value in manifest["parameters"].items() if key != "out"),
        "Seeds": [nodes.Text(str(manifest["seeds"]))],
        "Versions": _list(f"{package} {version}" for package, version in manifest["versions"].items()),
        "Device": [
            nodes.Text(
                f"{manifest['device']}; {machine['system']} on {machine['architecture']}, {machine['cores']} cores, "
                f"threads used: {machine['threads']}"
            )
        ],
        "Run": [nodes.Text(manifest["created"].replace("T", " ").replace("+00:00", " UTC"))],
    }
    if digest:
        rows["Source"] += [nodes.Text(", SHA-256 "), _code(digest)]
    if manifest["dirty"]:
        rows["Commit"].append(nodes.Text(" with local changes"))
    items = []
    for term, content in rows.items():
        definition = nodes.definition("", nodes.paragraph("", "", *content))
        items.append(nodes.definition_list_item("", nodes.term("", term), definition))
    return nodes.definition_list("", *items)


def _code(text: str, link: str | None = None) -> Node:
    literal = nodes.literal("", text)
    return nodes.reference("", "", literal, refuri=link, internal=False) if link else literal


def _list(items: Iterable[str]) -> list[Node]:
    """Pieces of code with commas between them."""
    return [node for item in items for node in (nodes.Text(", "), _code(item))][1:]


class Gallery(SphinxDirective):
    """``{gallery} figures time-scales``: what there is to see in a chapter, with links to it."""

    required_arguments = 2

    def run(self) -> list[Node]:
        kind, chapter = self.arguments
        if kind not in ("figures", "tables"):
            raise self.error(f"got a gallery of {kind!r}, expected 'figures' or 'tables'")
        if f"notebooks/{chapter}" not in self.env.found_docs:
            raise self.error(f"got a gallery of chapter {chapter!r}, which is not in notebooks/: correct its name")
        return [gallery("", kind=kind[:-1], chapter=chapter)]


class gallery(nodes.General, Element):
    """Stands for what a chapter shows until all chapters have been read."""


class Galleries(SphinxPostTransform):
    """Fill the galleries, before references in the captions that they repeat are resolved."""

    default_priority = 5

    def run(self, **kwargs: Any) -> None:
        for place in list(self.document.findall(gallery)):
            docname = f"notebooks/{place['chapter']}"
            page = self.app.builder.get_relative_uri(self.env.docname, docname)
            items = [
                nodes.list_item("", *self._item(citable, f"{page}#{citable.id}"))
                for citable in citables(self.env, docname, self.env.get_doctree(docname))
                if citable.kind == place["kind"]
            ]
            none = nodes.paragraph("", f"There is no {place['kind']} in this chapter.")
            classes = [f"citable-{place['kind']}s"]
            place.replace_self(nodes.bullet_list("", *items, classes=classes) if items else none)
        if any(self.document.findall(nodes.math)):
            # Noted when the page was read, before it had any: without it the page would not load MathJax.
            self.env.domaindata["math"]["has_equations"][self.env.docname] = True

    def _item(self, citable: Citable, there: str) -> list[Node]:
        text = nodes.paragraph("", "", _reference_to(there, nodes.Text(citable.number)), nodes.Text(" "))
        text += first_sentence(citable.caption)
        for reference in text.findall(addnodes.pending_xref):
            reference["refdoc"] = self.env.docname  # its address is counted from here, not from the chapter
        if citable.kind == "table":
            here = self.app.builder.get_target_uri(self.env.docname)
            csv = relative_uri(here, _file(citable.chapter, f"{citable.id}.csv"))
            text += [nodes.Text(" "), _reference_to(csv, nodes.Text("CSV"))]
            return [text]
        image = next(citable.node.findall(nodes.image)).deepcopy()
        image["loading"] = "lazy"  # also keeps the twin of the other colour from being fetched
        return [nodes.paragraph("", "", _reference_to(there, image)), text]


def _reference_to(uri: str, content: Node) -> nodes.reference:
    return nodes.reference("", "", content, refuri=uri, internal=True)


def first_sentence(caption: Element) -> list[Node]:
    """What a caption begins with: up to the first full stop or colon that a space follows."""
    sentence: list[Node] = []
    for child in caption.children:
        if isinstance(child, nodes.Text) and (end := re.search(r"[.:](?=\s|$)", child)):
            return [*sentence, nodes.Text(child[: end.start()] + ".")]
        sentence.append(child.deepcopy())
    return sentence


class Reference(SphinxDirective):
    """``{reference} gatelr``: how to cite the book; with another key, an entry of the bibliography."""

    required_arguments = 1

    def run(self) -> list[Node]:
        (key,) = self.arguments
        if key == citation.KEY:
            self.env.note_dependency(str(citation.SOURCE))
            return _reference(key, citation.book(citation.head(), address.url()))
        for file in self.config.bibtex_bibfiles:
            self.env.note_dependency(file)
            entries = parse_file(Path(self.env.srcdir) / file).entries
            if key in entries:
                return _reference(key, entries[key])
        raise self.error(f"got a reference to {key!r}, expected {citation.KEY!r} or a key of the bibliography")


def copy(app: Sphinx, exception: Exception | None) -> None:
    """Put the files of every chapter where the menus say that they are."""
    if exception or app.builder.format != "html":
        return
    for docname in app.env.found_docs:
        folder, _, chapter = docname.rpartition("/")
        artefacts = Path(app.srcdir) / "artifacts" / chapter
        if folder != "notebooks" or not artefacts.exists():
            continue
        files = Path(app.outdir) / "files" / chapter
        files.mkdir(parents=True, exist_ok=True)
        for path in artefacts.rglob("*"):
            prefix = {"figures": "fig-", "tables": "tab-"}.get(path.parent.name, "")
            if prefix or path.name in RECORDS:
                shutil.copyfile(path, files / f"{prefix}{path.name}")


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("cells")
    app.add_node(element, html=(_visit, _depart))
    app.add_directive("gallery", Gallery)
    app.add_directive("reference", Reference)
    app.add_post_transform(Galleries)
    app.add_post_transform(Menus)
    app.add_css_file("citable.css")
    app.connect("build-finished", copy)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
