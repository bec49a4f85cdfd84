"""Lay out the branch `notebooks`, which Colab and Binder open: what the Notebooks workflow calls and then pushes.

    python workflow/publish_notebooks.py --site _build/site --out _build/notebooks

The site has the notebooks of each version in ``<version>/downloads/``; on the branch they lie in
``<version>/notebooks/``, as the buttons of that version's pages have it. Of the book's environment this needs PyYAML.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import address
import toc
from parameters import BadInput

#: The name of the branch.
BRANCH = "notebooks"
ROOT = Path(__file__).resolve().parents[1]


def colab(repository: str, path: str) -> str:
    """Where Colab opens a notebook of the branch."""
    return f"https://colab.research.google.com/github/{repository}/blob/{BRANCH}/{path}"


def binder(repository: str, path: str) -> str:
    """Where Binder opens a notebook of the branch."""
    return f"https://mybinder.org/v2/gh/{repository}/{BRANCH}?urlpath=lab/tree/{path}"


def title(notebook: Path) -> str:
    """The first heading."""
    cells = json.loads(notebook.read_text())["cells"]
    text = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return text.split("\n", 1)[0].lstrip("# ")


def in_order(folder: Path) -> list[Path]:
    """The notebooks as the contents have them; those of a release that named them by number, in that order."""
    places = {name: place for place, name in enumerate(toc.chapters())}
    return sorted(folder.glob("*.ipynb"), key=lambda path: (places.get(path.stem, -1), path.name))


def readme(folder: Path, versions: list[str], repository: str | None) -> str:
    """What the branch says of itself: the chapters of each version, and where to open them."""
    lines = [
        "# Gates as Learning Rates: the notebooks",
        "",
        "Each chapter of the book as a notebook that runs anywhere: its first cell installs what is missing and brings",
        "the library. They are made from the sources on `main`, not edited here, and this branch has no history.",
    ]
    for version in versions:
        lines += ["", f"## {version}", ""]
        for path in in_order(folder / version / "notebooks"):
            here = path.relative_to(folder).as_posix()
            links = [f"[{title(path)}]({here})"]
            if repository:
                links += [f"[Colab]({colab(repository, here)})", f"[Binder]({binder(repository, here)})"]
            lines.append(f"- {' · '.join(links)}")
    return "\n".join(lines) + "\n"


def lay_out(site: Path, out: Path, repository: str | None) -> list[str]:
    """Fill a folder with what the branch holds; the versions, the newest first.

    Raises:
        BadInput: if the site has no newest version with notebooks.
    """
    newest = site / address.NEWEST / "downloads"
    if not list(newest.glob("*.ipynb")):
        raise BadInput(f"there is no notebook in {newest}: build the book and put the site together first")
    shutil.rmtree(out, ignore_errors=True)
    releases = [path.parent.name for path in site.glob("*/downloads") if address.RELEASE.fullmatch(path.parent.name)]
    releases.sort(key=address.number, reverse=True)
    versions = [address.NEWEST, *releases]
    for version in versions:
        (out / version / "notebooks").mkdir(parents=True)
        for notebook in sorted((site / version / "downloads").glob("*.ipynb")):
            shutil.copy(notebook, out / version / "notebooks")
    shutil.copytree(ROOT / "binder", out / "binder")
    shutil.copy(ROOT / "LICENSE", out)
    shutil.copy(newest / "requirements.txt", out)
    shutil.copy(newest / "constraints.txt", out / "requirements.lock")
    (out / "README.md").write_text(readme(out, versions, repository))
    return versions


def main() -> int:
    """Lay out the branch and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--site", type=Path, default=Path("_build/site"), help="with a folder for each version")
    parser.add_argument("--out", type=Path, default=Path("_build/notebooks"))
    args = parser.parse_args()
    try:
        versions = lay_out(args.site, args.out, address.repository())
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{args.out}: the notebooks of {', '.join(versions)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
