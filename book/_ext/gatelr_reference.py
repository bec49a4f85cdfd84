"""The library's reference: docstrings that lead to claims, and chapters and reference that lead to each other.

sphinx-codeautolink finds in the code of a chapter what is documented, and links it. Here these links are kept to names
that say where they lead, and each entry of the reference gets a line with the chapters that use it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def trim(app: Sphinx, doctree: nodes.document) -> None:
    """Takes away the empty lines that a cell begins with: Pygments prints none, and code is matched with its print."""
    for block in doctree.findall(nodes.literal_block):
        if block.astext().startswith("\n"):
            block.rawsource = block.astext().lstrip("\n")
            block[:] = [nodes.Text(block.rawsource)]


def link_claims(app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """A claim that a docstring names, such as C7, leads to where it is stated."""
    lines[:] = [re.sub(r'(?<!["\w])C(\d+)(?!["\w])', r":ref:`C\1 <claim-c\1>`", line) for line in lines]


def type_fields(app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """The type of a field, which napoleon writes into its text, where Sphinx reads it as a type, by its short name."""
    own = r"(?:(?!\.\. attribute::).)*?"  # up to the next field
    pattern = rf"(\.\. attribute:: \w+\n)({own})\n\n   :type: ([^\n]+)"

    def moved(match: re.Match[str]) -> str:
        short = re.sub(r"(?<![~.\w])(?=[a-z]\w*[.])", "~", match[3])
        return f"{match[1]}   :type: {short}\n{match[2]}"

    lines[:] = re.sub(pattern, moved, "\n".join(lines), flags=re.DOTALL).split("\n")


def skip_aliases(app: Sphinx, what: str, name: str, obj: object, skip: bool, options: Any) -> bool | None:
    """A field of a named tuple is described in its docstring, not as "Alias for field number 0"."""
    return True if str(getattr(obj, "__doc__", "")).startswith("Alias for field number") else None


def short_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, arguments: str, returns: str
) -> tuple[str, str] | None:
    """The fields of a record by name: their types stand below, where they are described."""
    if not isinstance(obj, type):
        return None
    if dataclasses.is_dataclass(obj):
        return f"({', '.join(field.name for field in dataclasses.fields(obj))})", ""
    return (f"({', '.join(obj._fields)})", "") if hasattr(obj, "_fields") else None


def keep_names(app: Sphinx, env: BuildEnvironment) -> None:
    """Of the links in code those whose text is a name of the library: `model.run`, but not each `model`."""
    for transform in _transforms(env):
        transform.names = [
            name for name in transform.names if name.code_str.split(".")[-1] == name.resolved_location.split(".")[-1]
        ]


def _transforms(env: BuildEnvironment) -> Iterator[Any]:
    for transforms in getattr(env, "sphinx_codeautolink_transforms", {}).values():
        yield from transforms


def list_uses(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Below each entry of the reference: the chapters whose code names it, each at the first section that does."""
    first: dict[str, dict[str, str | None]] = {}  # name in the library -> chapter -> section
    for transform in _transforms(app.env):
        place = transform.example
        if place.document.startswith("notebooks/"):
            for name in transform.names:
                first.setdefault(name.resolved_location, {}).setdefault(place.document, place.ref_id)

    def link(chapter: str, section: str | None) -> nodes.reference:
        number = app.env.toc_secnumbers.get(chapter, {}).get("", ())
        title = app.env.titles[chapter].astext()
        uri = app.builder.get_relative_uri(docname, chapter) + (f"#{section}" if section else "")
        text = f"chapter {'.'.join(map(str, number))}" if number else title
        return nodes.reference(text, text, internal=True, refuri=uri, reftitle=title)

    for entry in list(doctree.findall(addnodes.desc)):
        chapters = first.get(next(iter(entry[0]["ids"]), ""), {})
        if not chapters or entry["objtype"] == "attribute":
            continue
        line = nodes.paragraph("", "Used in ", classes=["used-in"])
        for i, chapter in enumerate(sorted(chapters)):
            line += [nodes.Text(", ")] if i else []
            line += link(chapter, chapters[chapter])
        content = entry[-1]
        inner = content.first_child_matching_class(addnodes.desc)  # a class's line stands before its methods
        content.insert(len(content) if inner is None else inner, line)


def mend_signatures(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Sphinx sets a long signature as a list of descriptions without words described: lines of code say the same."""

    def lines(match: re.Match[str]) -> str:
        return match[1].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")

    if "body" in context:
        pattern = r'<dl>\s*((?:<dd><em class="sig-param">.*?</dd>\s*)+)</dl>'
        context["body"] = re.sub(pattern, lines, context["body"])


def preview_code(app: Sphinx, exception: Exception | None) -> None:
    """sphinx-tippy has read the pages before their code had links: what these lead to gets a preview, too."""
    pages, objects = getattr(app.env, "tippy_data", {"pages": {}})["pages"], app.env.domains["py"].data["objects"]
    for transform in _transforms(app.env):
        for name in transform.names if transform.example.document in pages else ():
            entry = objects[name.resolved_location]
            pages[transform.example.document]["refs_in_page"].add((entry.docname, entry.node_id))


def forget_builtins(app: Sphinx) -> Iterator[Any]:
    """An alias such as ``dict[str, Any]`` says that it comes from a module without a source, which has no page."""
    modules = getattr(app.env, "_viewcode_modules", {})
    for name in [name for name, entry in modules.items() if not entry]:
        del modules[name]
    return iter(())


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-read", trim, priority=400)  # before sphinx-codeautolink looks
    app.connect("autodoc-process-docstring", link_claims)
    app.connect("autodoc-process-docstring", type_fields, priority=600)  # after napoleon
    app.connect("autodoc-process-signature", short_signature)
    app.connect("autodoc-skip-member", skip_aliases)
    app.connect("env-updated", keep_names, priority=600)  # when the names have been resolved
    app.connect("doctree-resolved", list_uses)
    app.connect("html-page-context", mend_signatures, priority=400)  # sphinx-tippy reads the page at 450
    app.connect("html-collect-pages", forget_builtins, priority=400)  # before viewcode lists its pages
    app.connect("build-finished", preview_code, priority=300)  # before gatelr_reading puts the previews in order
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
