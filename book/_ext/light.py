"""A book that arrives quickly and takes little room.

* A picture is fetched when it comes near the window: of a figure's two colours the hidden one never is. Its place is
  kept, so that nothing jumps.
* Of MathJax only what the pages load goes with the book: without its menu nothing asks for the rest.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.images import get_image_size

PICTURE = re.compile(r'<img(?P<rest>\b[^>]*\bsrc="[^"]*_images/(?P<name>[^"/]+)"[^>]*>)')
CSS_PIXELS = {"px": 1.0, "pt": 4 / 3}


@functools.cache
def size(picture: Path) -> tuple[int, int] | None:
    """Width and height of a picture in CSS pixels, or None if it does not say."""
    if picture.suffix != ".svg":
        return get_image_size(str(picture))
    root = re.search(r"<svg\b[^>]*>", picture.read_text())
    sides = re.findall(r'\s(width|height)="([\d.]+)(pt|px|)"', root[0] if root else "")
    found = {side: float(number) * CSS_PIXELS[unit or "px"] for side, number, unit in sides}
    return (round(found["width"]), round(found["height"])) if len(found) == 2 else None


def wait(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object) -> None:
    """Let the pictures of a page wait until they are looked at."""
    folder = Path(app.outdir, app.builder.imagedir)
    sources = {name: Path(app.srcdir, source) for source, name in app.builder.images.items()}  # not copied yet

    def waiting(tag: re.Match[str]) -> str:
        more = "" if " loading=" in tag["rest"] else ' loading="lazy" decoding="async"'
        picture = sources.get(tag["name"], folder / tag["name"])
        if not re.search(r"\s(width|height|style)=", tag["rest"]) and picture.is_file() and (found := size(picture)):
            more += f' width="{found[0]}" height="{found[1]}"'
        return f"<img{more}{tag['rest']}"

    if "body" in context:
        context["body"] = PICTURE.sub(waiting, context["body"])


def prune(app: Sphinx, exception: Exception | None) -> None:
    """Remove what pages never load of MathJax: more than half of the book's bytes on disk."""
    folder, used = Path(app.outdir, "_static", "mathjax"), Path(app.config.mathjax_path).name
    kept = (used, "output/chtml/fonts/", "input/tex/extensions/")
    if exception is None and (folder / used).is_file():
        for file in [p for p in folder.rglob("*") if p.is_file()]:
            if not file.relative_to(folder).as_posix().startswith(kept):
                file.unlink()


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("html-page-context", wait)
    app.connect("build-finished", prune, priority=900)  # after MathJax has been copied
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
