"""Old addresses answer: chapters once had a number in their names.

A page at each old address leads to the new one and keeps the fragment, and each file that could be cited lies at its
old address too.
"""

from __future__ import annotations

import html
import json
import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

#: What a chapter was called, and what it is called now.
CHAPTERS = {
    "01-time-scales": "time-scales",
    "02-exact-jacobians": "exact-jacobians",
    "03-agreement": "agreement",
    "04-products-expanded": "products-expanded",
    "05-validity": "validity",
    "06-bptt-and-rates": "bptt-and-rates",
    "07-gates-as-optimisers": "gates-as-optimisers",
    "08-diagonal-recurrences": "diagonal-recurrences",
    "09-effective-rate-profiles": "effective-rate-profiles",
    "10-joint-anisotropy": "joint-anisotropy",
    "11-replication": "replication",
    "12-small-persistent-effective": "gate-corrections",
    "13-gates-against-optimisers": "gates-against-optimisers",
    "90-benchmarks": "benchmarks",
}

# A fragment may hold the chapter's name, as that of a check does. Without a script it is lost, and the page is found.
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="robots" content="noindex">
<title>{title}</title>
<script>location.replace("{new}.html" + location.search + location.hash.replace({old}, {chapter}))</script>
<meta http-equiv="refresh" content="1; url={new}.html">
<p>This chapter has moved: <a href="{new}.html">{title}</a>.</p>
</html>
"""


def lead(app: Sphinx, exception: Exception | None) -> None:
    """Write what stands at the old addresses; the files have been put at the new ones by then."""
    if exception or app.builder.name != "html":
        return
    out = Path(app.outdir)
    for old, new in CHAPTERS.items():
        if f"notebooks/{new}" not in app.env.found_docs:
            continue
        title = html.escape(app.env.titles[f"notebooks/{new}"].astext())
        page = PAGE.format(title=title, new=new, old=json.dumps(old), chapter=json.dumps(new))
        (out / "notebooks" / f"{old}.html").write_text(page)
        copy(out / "files" / new, out / "files" / old, new, old)


def copy(there: Path, here: Path, new: str, old: str) -> None:
    """Files by their old names, of which the chapter's is a part in the table of all its checks."""
    here.mkdir(parents=True, exist_ok=True)
    for file in there.glob("*"):
        name = file.name
        if name.startswith(f"tab-{new}-"):
            name = f"tab-{old}-{name.removeprefix(f'tab-{new}-')}"
        shutil.copyfile(file, here / name)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("build-finished", lead, priority=800)  # after citable
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
