"""A diagnosis as a page and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gatelr import files
from gatelr.networks.report.data import SCHEMA, content
from gatelr.networks.report.pages import page

__all__ = ["SCHEMA", "content", "page", "to_html", "to_json"]


def to_html(diagnosis: Any, path: str | Path) -> None:
    """Write a diagnosis as one page that stands alone.

    Args:
        diagnosis: what :func:`~gatelr.networks.diagnosis.diagnose.diagnose` returned.
        path: the file to write; its folder must exist.

    Raises:
        OSError: if the file cannot be written; an earlier one stays as it was.
    """
    files.write(_place(path), page(content(diagnosis)))


def to_json(diagnosis: Any, path: str | Path | None = None) -> str:
    """A diagnosis in JSON.

    NaN and infinity, for which JSON has no word, are the texts ``NaN``, ``Infinity`` and ``-Infinity``.

    Args:
        diagnosis: what :func:`~gatelr.networks.diagnosis.diagnose.diagnose` returned.
        path: the file to write as well; its folder must exist.

    Returns:
        The text, with a final newline.

    Raises:
        OSError: if the file cannot be written; an earlier one stays as it was.
    """
    text = json.dumps(content(diagnosis), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if path is not None:
        files.write(_place(path), text)
    return text


def _place(path: str | Path) -> Path:
    """The path, if its folder is there: one that was misspelt is not made."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"got {path}, but there is no folder {path.parent}: make it first")
    return path
