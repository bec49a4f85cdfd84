"""Where this book is published: the one place that knows, and it knows only what the environment says.

``GATELR_REPOSITORY``  its repository on GitHub, as "owner/name"
``GATELR_URL``         the public address of the root of this version, such as "https://example.org/book/v0.1.0/"

Both are set by the workflows that publish. Without them the book is a local one: it has no launch buttons, no canonical
addresses and no other versions. (The module cannot be called `site`: Python has one of that name, loaded before ours.)
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from parameters import BadInput

ROOT = Path(__file__).resolve().parents[1]
#: Under which names versions are published: the newest state, and releases.
NEWEST = "main"
RELEASE = re.compile(r"v(\d+)\.(\d+)\.(\d+)")
#: What GitHub allows as the name of an owner, and of a repository.
REPOSITORY = re.compile(r"[A-Za-z0-9](?:-?[A-Za-z0-9]){0,38}/(?!\.\.?$)[A-Za-z0-9._-]{1,100}")


def repository() -> str | None:
    """The repository on GitHub as "owner/name", or None if it is not known.

    Raises:
        BadInput: if ``GATELR_REPOSITORY`` is set to something else.
    """
    name = os.environ.get("GATELR_REPOSITORY", "")
    if name and not REPOSITORY.fullmatch(name):
        raise BadInput(
            f"got GATELR_REPOSITORY={name!r}, expected a repository on GitHub as 'owner/name': correct or unset it"
        )
    return name or None


def url() -> str | None:
    """The public address of the root of this version of the book, with a slash at its end, or None if it has none.

    Raises:
        BadInput: if ``GATELR_URL`` is set to something else.
    """
    text = os.environ.get("GATELR_URL", "")
    if text and not well_formed(text):
        raise BadInput(
            f"got GATELR_URL={text!r}, expected the public address of a folder such as "
            "'https://example.org/book/main/': correct or unset it"
        )
    return f"{text.rstrip('/')}/" if text else None


def well_formed(text: str) -> bool:
    """Whether it is an address on the web, of nothing less than a folder."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    plain = re.fullmatch(r"[!-~]+", text) and not re.search(r"[?#@\"'<>\\]", text)
    return bool(plain and host and parts.scheme in ("http", "https") and not parts.path.endswith(".html"))


def published_as() -> str | None:
    """The name of this version among those published side by side, such as "v0.1.0"; None if it stands alone."""
    name = urlsplit(url() or "").path.rstrip("/").rpartition("/")[2]
    return name if name == NEWEST or RELEASE.fullmatch(name) else None


def number(release: str) -> tuple[int, ...]:
    """The number of a release, which sorts v0.10.0 after v0.9.1.

    Raises:
        BadInput: if it is not named as a release.
    """
    match = RELEASE.fullmatch(release)
    if match is None:
        raise BadInput(f"got a release named {release!r}, expected a name such as 'v0.1.0'")
    return tuple(map(int, match.groups()))


def version() -> str:
    """The version of the book in CITATION.cff, which is that of the library too."""
    return str(yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"])
