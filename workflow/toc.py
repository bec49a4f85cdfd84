"""The order and the numbers of the chapters, which stand in `_toc.yml` and nowhere else."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


def chapters(root: Path = ROOT) -> dict[str, int]:
    """The chapters' names in the order of the book, each with its number: the parts count on, as the pages do."""
    contents = yaml.safe_load((root / "_toc.yml").read_text())
    files = [Path(entry["file"]) for part in contents["parts"] for entry in part["chapters"]]
    names = [file.name for file in files if file.parent.name == "notebooks"]
    return {name: number for number, name in enumerate(names, start=1)}
