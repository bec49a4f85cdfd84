"""What a chapter's source says of itself: its title, its parameters, and the captions of its figures and tables."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gatelr import files

#: The directives that show a figure or a table, and what the labels of each begin with.
DIRECTIVES = {"figure": "fig-", "table-file": "tab-", "csv-table": "tab-"}

_CELL = re.compile(r"^# %%(.*)$", flags=re.MULTILINE)
_OPENING = re.compile(r"\s*(:{3,}|`{3,})\{([a-z-]+)\}\s*(.*)")
_OPTION = re.compile(r"\s*:([a-z-]+):\s*(.*)|\s*:\s+(.*)")  # the second goes on with the option before it


@dataclass(frozen=True)
class Caption:
    """What stands in Markdown about one figure or table."""

    label: str  #: such as ``"fig-impulse-responses"``
    path: str  #: of the file that is shown, as the directive has it
    alt: str  #: what one would see, for a reader who cannot; tables have none
    text: str  #: the caption, MyST Markdown


@dataclass(frozen=True)
class Source:
    """A chapter's source, read once."""

    path: Path  #: of the percent script
    title: str  #: its first heading
    parameters: tuple[str, ...]  #: the names that the cell tagged ``parameters`` assigns
    captions: dict[str, Caption]  #: by label
    digest: str | None  #: its SHA-256


def read(path: str | Path) -> Source:
    """Read the percent script of a chapter.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: without a heading or a cell of parameters, or if two directives have one label.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"got chapter {path.stem!r}, but there is no {path.name} in {path.resolve().parent}: correct the name, or "
            "run the chapter in the folder where its source lies"
        )
    title, parameters, captions = None, None, {}
    for header, body in cells(path.read_text(encoding="utf-8")):
        if "[markdown]" in header:
            prose = re.sub(r"^# ?", "", body, flags=re.MULTILINE)
            heading = re.search(r"^# (.+)$", prose, flags=re.MULTILINE)
            title = title or (heading and heading[1].strip())
            for caption in directives(prose):
                if caption.label in captions:
                    raise ValueError(f"{path.name} has two directives named {caption.label!r}: rename one of them")
                captions[caption.label] = caption
        elif re.search(r"tags=\[[^]]*\"parameters\"", header):
            parameters = tuple(assigned(body))
    if not title:
        raise ValueError(
            f"{path.name} has no title: begin its first Markdown cell with a heading such as '# Time-scales'"
        )
    if parameters is None:
        raise ValueError(f'{path.name} has no cell of parameters: add one with the header # %% tags=["parameters"]')
    return Source(path, title, parameters, captions, files.digest(path))


def cells(script: str) -> Iterator[tuple[str, str]]:
    """Header and body of each cell of a percent script; what stands above the first is the script's own header."""
    _, *parts = _CELL.split(script)
    yield from zip(parts[::2], parts[1::2], strict=True)


def assigned(code: str) -> list[str]:
    """The names that a piece of code assigns at its top level."""
    names = []
    for statement in ast.parse(code).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        names += [target.id for target in targets if isinstance(target, ast.Name)]
    return names


def directives(prose: str) -> Iterator[Caption]:
    """The directives in a piece of Markdown that show a figure or a table and have a label."""
    lines = prose.splitlines()
    for start, line in enumerate(lines):
        opening = _OPENING.fullmatch(line)
        if not (opening and opening[2] in DIRECTIVES):
            continue
        fence, kind, argument = opening.groups()
        options: dict[str, str] = {}
        text: list[str] = []
        key = ""
        for following in lines[start + 1 :]:
            if following.strip() == fence:
                break
            option = _OPTION.fullmatch(following)
            if option and not text:
                key = option[1] or key
                options[key] = f"{options.get(key, '')} {option[2] or option[3] or ''}".strip()
            elif following.strip() or text:
                text.append(following)
        label = options.get("name", "")
        if label.startswith(DIRECTIVES[kind]):
            caption = argument if kind == "csv-table" else " ".join(" ".join(text).split())
            file = options.get("file", "") if kind == "csv-table" else argument
            yield Caption(label, file.strip(), options.get("alt", ""), caption)
