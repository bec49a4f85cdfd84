"""Files that a reader can trust: written aside, then renamed, so that a file is either whole or absent."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write(path: str | Path, content: bytes | str) -> Path:
    """Write a file aside and rename it into place.

    A reader of ``path`` sees the old file or the new one, never a part of one, whatever kills the writer.

    Args:
        path: where the file goes; missing folders are made.
        content: its bytes, or text to be encoded as UTF-8.

    Returns:
        The path written.

    Raises:
        OSError: if the disk is full or the folder cannot be written to; an earlier file stays as it was.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    aside: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(aside, 0o644)  # mkstemp makes files private; artefacts are to be read by anyone
        os.replace(aside, path)
    except OSError as error:
        if aside is not None:
            Path(aside).unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(
                error.errno,
                f"no space left to write {len(data)} bytes to {path}: free some disk space and run again "
                "(nothing that was already there has been changed)",
            ) from error
        raise
    return path


def write_json(path: str | Path, content: Any) -> Path:
    """Write JSON with sorted keys, two spaces and a final newline, so that two runs can be compared by ``diff``.

    Raises:
        ValueError: if a number is NaN or infinite, which JSON cannot hold.
        OSError: as :func:`write`.
    """
    return write(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def digest(path: str | Path) -> str | None:
    """The SHA-256 of a file, or None if there is none: a chapter that was downloaded runs without its source."""
    path = Path(path)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None
