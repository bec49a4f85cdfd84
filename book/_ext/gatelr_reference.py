"""The library's reference: docstrings that lead to claims, and chapters and reference that lead to each other.

sphinx-codeautolink finds in the code of a chapter what is documented, and links it. Here each entry of the reference
gets a line with the chapters that use it.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import patches
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def link_claims(app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """A claim that a docstring names, such as C7, leads to where it is stated."""
    lines[:] = [re.sub(r'(?<!["\w])C(\d+)(?!["\w])', r":ref:`C\1 <claim-c\1>`", line) for line in lines]


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


def secnumber(env: BuildEnvironment, chapter: str) -> tuple[int, ...]:
    """A chapter's number; empty without one."""
    return tuple(env.toc_secnumbers.get(chapter, {}).get("", ()))


def list_uses(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Below each entry of the reference: the chapters whose code names it, each at the first section that does."""
    first: dict[str, dict[str, str | None]] = {}  # name in the library -> chapter -> section
    for place, names in patches.code_names(app.env):
        if place.document.startswith("notebooks/"):
            for name in names:
                first.setdefault(name.resolved_location, {}).setdefault(place.document, place.ref_id)

    def link(chapter: str, section: str | None) -> nodes.reference:
        number = secnumber(app.env, chapter)
        title = app.env.titles[chapter].astext()
        uri = app.builder.get_relative_uri(docname, chapter) + (f"#{section}" if section else "")
        text = f"chapter {'.'.join(map(str, number))}" if number else title
        return nodes.reference(text, text, internal=True, refuri=uri, reftitle=title)

    for entry in list(doctree.findall(addnodes.desc)):
        chapters = first.get(next(iter(entry[0]["ids"]), ""), {})
        if not chapters or entry["objtype"] == "attribute":
            continue
        line = nodes.paragraph("", "Used in ", classes=["used-in"])
        for i, chapter in enumerate(sorted(chapters, key=lambda chapter: (secnumber(app.env, chapter), chapter))):
            line += [nodes.Text(", ")] if i else []
            line += link(chapter, chapters[chapter])
        content = entry[-1]
        inner = content.first_child_matching_class(addnodes.desc)  # a class's line stands before its methods
        content.insert(len(content) if inner is None else inner, line)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", link_claims)
    app.connect("autodoc-process-signature", short_signature)
    app.connect("autodoc-skip-member", skip_aliases)
    app.connect("doctree-resolved", list_uses)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
