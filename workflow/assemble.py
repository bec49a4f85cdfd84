"""Put the versions of the book together into one site: what the Pages workflow calls before it deploys.

    python workflow/assemble.py --url https://example.org/book/ --main _build/html --releases releases --out _build/site

A deployment replaces the whole site, so that it must hold every version: the newest state as ``main/``, and each
release as ``v0.1.0/`` out of the archive ``book-v0.1.0.zip`` that hangs on it. An archive is never changed, and is
taken as it is: what was cited stays where it was, as it was. The root leads to the newest release, or to ``main`` while
there is none.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import jinja2
from address import NEWEST, number, well_formed
from parameters import BadInput

TEMPLATES = Path(__file__).parent / "templates"
ROOT_FILES = ("index.html", "sitemap.xml", "robots.txt")


def unpack(archive: Path, site: Path) -> str:
    """Unpack the archive of a release into the site; the name of the release.

    Raises:
        BadInput: if the archive is not that of the release it is named after.
    """
    release = archive.stem.removeprefix("book-")
    number(release)
    with zipfile.ZipFile(archive) as packed:
        strangers = [name for name in packed.namelist() if not name.startswith(f"{release}/")]
        if strangers or f"{release}/index.html" not in packed.namelist():
            raise BadInput(
                f"{archive.name} holds {strangers[0] if strangers else 'no index.html'}, expected the book in one "
                f"folder {release}/: pack it as the release workflow does"
            )
        packed.extractall(site)
    return release


def listing(url: str, releases: list[str]) -> list[dict[str, object]]:
    """What the switcher on each page offers, in the theme's format: the newest release first, the unreleased last."""
    path = urlsplit(url).path
    entries: list[dict[str, object]] = [
        {"version": release, "url": f"{path}{release}/", "name": release} for release in releases
    ]
    if entries:
        entries[0] |= {"name": f"{releases[0]} (newest)", "preferred": True}
    return [*entries, {"version": NEWEST, "url": f"{path}{NEWEST}/", "name": f"{NEWEST} (unreleased)"}]


def assemble(url: str, main: Path, archives: Iterable[Path], out: Path, live: Iterable[str] = ()) -> list[str]:
    """Write the site into an empty folder.

    Args:
        url: the public address of the site's root, with a slash at its end.
        main: the newest book, built for the address ``main/`` below it.
        archives: one for each release.
        out: where the site goes; what was there is removed.
        live: the versions that are published now, all of which must be there again.

    Returns:
        The releases, newest first.

    Raises:
        BadInput: if a build or an archive is not what it should be, or a published version would vanish.
    """
    sitemap = main / "sitemap.xml"
    if not sitemap.is_file() or f"<loc>{url}{NEWEST}/" not in sitemap.read_text():
        raise BadInput(f"the book in {main} was not built for {url}{NEWEST}/: build it with GATELR_URL={url}{NEWEST}/")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    shutil.copytree(main, out / NEWEST)
    releases = sorted((unpack(archive, out) for archive in archives), key=number, reverse=True)
    if lost := sorted(set(live) - {NEWEST, *releases}):
        raise BadInput(
            f"{lost[0]} is published now and has no archive here: a version that was published stays, so give its "
            f"release book-{lost[0]}.zip again"
        )

    current = releases[0] if releases else NEWEST
    (out / "versions.json").write_text(json.dumps(listing(url, releases), indent=1) + "\n")
    shutil.copy(out / current / "404.html", out / "404.html")  # all its links start at the root of the host
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES / "site"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    for name in ROOT_FILES:
        text = templates.get_template(f"{name}.j2").render(url=url, current=current, versions=[*releases, NEWEST])
        (out / name).write_text(text)
    return releases


def main() -> int:
    """Assemble as args; say one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="public address of the root of the site")
    parser.add_argument("--main", type=Path, default=Path("_build/html"), help="the newest book")
    parser.add_argument("--releases", type=Path, required=True, help="folder with the archives of the releases")
    parser.add_argument("--live", type=Path, help="versions.json as it is published now, if there is one")
    parser.add_argument("--out", type=Path, default=Path("_build/site"), help="where the site goes")
    args = parser.parse_args()
    try:
        if not well_formed(args.url):
            raise BadInput(f"got --url {args.url!r}, expected an address such as 'https://example.org/book/'")
        archives = sorted(args.releases.glob("book-*.zip"))
        live = [entry["version"] for entry in json.loads(args.live.read_text())] if args.live else []
        releases = assemble(f"{args.url.rstrip('/')}/", args.main, archives, args.out, live)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{args.out}: {', '.join([*releases, NEWEST])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
