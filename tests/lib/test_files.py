"""Files are whole or absent."""

import errno
import json
import os
import re
from pathlib import Path

import pytest
from gatelr import files


def test_writes_text_and_bytes_and_makes_folders(tmp_path: Path) -> None:
    assert files.write(tmp_path / "a" / "b.txt", "φ").read_bytes() == "φ".encode()
    assert files.write(tmp_path / "a" / "b.txt", b"\x00").read_bytes() == b"\x00"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.txt"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_says_so_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    target = files.write(tmp_path / "results.json", "old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, step, full)
    sentence = f"no space left to write 3 bytes to {target}: free some disk space and run again"
    with pytest.raises(OSError, match=re.escape(sentence)):
        files.write(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target], "nothing half-written stays behind"


def test_other_errors_are_passed_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((NotADirectoryError, FileExistsError)):
        files.write(tmp_path / "file" / "below", "x")


def test_json_is_stable_and_refuses_what_json_cannot_hold(tmp_path: Path) -> None:
    path = files.write_json(tmp_path / "r.json", {"b": 1, "a": [0.1]})
    assert path.read_text() == '{\n  "a": [\n    0.1\n  ],\n  "b": 1\n}\n'
    assert json.loads(path.read_text()) == {"a": [0.1], "b": 1}
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(path, {"x": float("nan")})
    assert json.loads(path.read_text()) == {"a": [0.1], "b": 1}
