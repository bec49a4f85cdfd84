"""Where a Chromium is: it reads the book in the tests, and prints it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, Error, Playwright


class NoBrowser(Exception):
    """There is no browser here that starts; says in one sentence what to do."""


def launch(playwright: Playwright, *, why: str) -> Browser:
    """Start Chromium.

    Args:
        playwright: started.
        why: what a browser is needed for, as in "there is no browser to <why>".

    Raises:
        NoBrowser: if there is none, or it does not start.
    """
    reason = (
        f"there is no browser to {why}: install Chromium ('apt install chromium'), or name one "
        "with GATELR_CHROMIUM=/path/to/it"
    )
    path = _find(playwright)
    if path is None:
        raise NoBrowser(reason)
    try:
        # A page on the disk may then load the fonts that lie beside it.
        return playwright.chromium.launch(executable_path=path, args=["--allow-file-access-from-files"])
    except Error as error:
        raise NoBrowser(f"{path} does not start ({str(error).splitlines()[0]}): {reason}") from error


def _find(playwright: Playwright) -> str | None:
    """Its path; where there is none, Playwright is asked to fetch its own."""
    if named := os.environ.get("GATELR_CHROMIUM"):
        return named
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if program := shutil.which(name):
            return program
    own = playwright.chromium.executable_path
    if not Path(own).exists():
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], capture_output=True, check=False)
    return own if Path(own).exists() else None
