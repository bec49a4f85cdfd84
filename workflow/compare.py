"""What moved between two builds: what `make compare WITH=path` calls.

    python workflow/compare.py ../another-checkout

Compared is what chapters found: checks, claims and numbers of ``results.json`` by their ids, and the rows of tables and
of figures. What a clock says is not: it stands in ``run.json`` alone. The exit status is 0 if nothing moved, 1 if
something did, 2 for a path where there is no build.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from parameters import BadInput

#: What is compared of each entry of results.json.
PARTS = {
    "checks": ("statement", "scope", "value", "tolerance", "passed"),
    "claims": ("statement", "effect", "interval", "null", "p", "seeds", "verdict"),
    "numbers": ("value", "text", "unit"),
}
#: Lines that the report has for a chapter.
MOST = 25
#: The files of a figure or table, besides the rows behind it.
DRAWN = (".svg", ".png", ".pdf")


class Move(NamedTuple):
    """One thing that differs.

    Attributes:
        chapter: where.
        what: which of its things, such as ``"check adds-up, value"``.
        old: what the other build has; None if it has none.
        new: what this build has.
        apart: how far they are apart, relative to the larger; None where that says nothing.
    """

    chapter: str
    what: str
    old: Any
    new: Any
    apart: float | None


def builds(path: Path) -> dict[str, Path]:
    """The folders of the chapters of a build, by chapter.

    Args:
        path: of a checkout, or of its folder ``artifacts``.

    Raises:
        BadInput: if no chapter has results there.
    """
    for folder in (path / "artifacts", path):
        if chapters := {each.parent.name: each.parent for each in sorted(folder.glob("*/results.json"))}:
            return chapters
    raise BadInput(
        f"there is no build in {path}: WITH is the path of another checkout in which `make book` has run, or of its "
        "folder artifacts"
    )


def distance(old: Any, new: Any) -> float | None:
    """|old - new| over the larger of the two, the largest of a list; None where one is no number."""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        each = [distance(*pair) for pair in zip(old, new, strict=True)]
        return None if None in each else max((far for far in each if far is not None), default=None)
    pair = [each for each in (old, new) if isinstance(each, int | float) and not isinstance(each, bool)]
    if len(pair) < 2 or not all(map(math.isfinite, pair)):
        return None
    size = max(abs(old), abs(new))
    return abs(old - new) / size if size else 0.0


def lacking(chapter: str, what: str, old: bool, new: bool) -> Move:
    """What only one of two builds has."""
    return Move(chapter, what, "there" if old else None, "there" if new else None, None)


def entries(results: dict[str, Any], part: str) -> dict[str, dict[str, Any]]:
    """One part of results.json, by id."""
    rows = results.get(part, [])
    return dict(rows) if isinstance(rows, dict) else {row["id"]: row for row in rows}


def recorded(chapter: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Move]:
    """What differs in two results.json."""
    for part, fields in PARTS.items():
        theirs, ours = entries(old, part), entries(new, part)
        for name in dict.fromkeys([*theirs, *ours]):
            what = f"{part.removesuffix('s')} {name}"
            if name not in theirs or name not in ours:
                yield lacking(chapter, what, name in theirs, name in ours)
                continue
            for field in fields:
                a, b = theirs[name].get(field), ours[name].get(field)
                if a != b:
                    yield Move(chapter, f"{what}, {field}", a, b, distance(a, b))


def rows(chapter: str, what: str, old: Path, new: Path) -> Iterator[Move]:
    """What differs in two files of rows: a line for each column that does, with its largest move."""
    if not old.exists() or not new.exists():
        yield lacking(chapter, what, old.exists(), new.exists())
        return
    if old.read_bytes() == new.read_bytes():
        return
    theirs, ours = (pd.read_csv(path) for path in (old, new))
    if list(theirs.columns) != list(ours.columns):
        yield Move(chapter, f"{what}, columns", list(theirs.columns), list(ours.columns), None)
    if len(theirs) != len(ours):
        yield Move(chapter, f"{what}, rows", len(theirs), len(ours), distance(len(theirs), len(ours)))
        return
    moved = False
    for column in [name for name in ours.columns if name in theirs.columns]:
        pairs = [
            (a, b) for a, b in zip(theirs[column], ours[column], strict=True) if a != b and not (a != a and b != b)
        ]
        if pairs:
            moved = True
            far = max(pairs, key=lambda pair: distance(*map(_plain, pair)) or 0.0)
            a, b = map(_plain, far)
            yield Move(
                chapter, f"{what}, column {column}, {len(pairs)} of {len(ours)}, the farthest", a, b, distance(a, b)
            )
    if not moved and list(theirs.columns) == list(ours.columns):
        yield Move(chapter, f"{what}, as written", "other bytes", "the same numbers", None)


def files(chapter: str, old: Path, new: Path) -> Iterator[Move]:
    """What differs in the tables and figures of a chapter."""
    for kind in ("tables", "figures"):
        names = {path.name for folder in (old, new) for path in (folder / kind).glob("*") if path.is_file()}
        for name in sorted(names):
            a, b, what = old / kind / name, new / kind / name, f"{kind.removesuffix('s')} {name}"
            if name.endswith(".csv"):
                yield from rows(chapter, what, a, b)
            elif not a.exists() or not b.exists():
                yield lacking(chapter, what, a.exists(), b.exists())
            elif Path(name).suffix in DRAWN and a.read_bytes() != b.read_bytes():
                yield Move(chapter, f"{what}, as drawn", f"{a.stat().st_size} bytes", f"{b.stat().st_size} bytes", None)


def _plain(value: Any) -> Any:
    """A number of numpy's as Python's."""
    return value.item() if hasattr(value, "item") else value


def compare(old: Path, new: Path) -> list[Move]:
    """All that moved from one build to another.

    Raises:
        BadInput: as :func:`builds`.
    """
    theirs, ours = builds(old), builds(new)
    moves: list[Move] = []
    for chapter in dict.fromkeys([*theirs, *ours]):
        if chapter not in theirs or chapter not in ours:
            moves.append(lacking(chapter, "the chapter", chapter in theirs, chapter in ours))
            continue
        pair = [json.loads((side[chapter] / "results.json").read_text()) for side in (theirs, ours)]
        moves += [*recorded(chapter, *pair), *files(chapter, theirs[chapter], ours[chapter])]
    return moves


def said(value: Any) -> str:
    """A value as the report shows it."""
    if value is None:
        return "missing"
    if isinstance(value, list):
        return f"[{', '.join(map(said, value))}]"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 70 else text[:69] + "…"


def report(moves: list[Move], old: Path, new: Path, most: int | None = MOST) -> str:
    """What moved, for a reader: chapter by chapter what is other than a number, then numbers, the farthest first."""
    chapters = len(builds(new))
    if not moves:
        return f"Nothing moved in {chapters} chapters, from {old} to {new}."
    groups: dict[str, list[Move]] = {}
    for move in moves:
        groups.setdefault(move.chapter, []).append(move)
    lines = [f"{len(moves)} things moved in {len(groups)} of {chapters} chapters, from {old} to {new}."]
    for chapter, group in groups.items():
        lines += ["", f"{chapter}: {len(group)}"]
        group.sort(key=lambda move: -math.inf if move.apart is None else -move.apart)
        for move in group[:most]:
            apart = "" if move.apart is None else f"  ({move.apart:.2g} of the larger)"
            lines.append(f"  {move.what}: {said(move.old)} -> {said(move.new)}{apart}")
        if rest := group[len(group) if most is None else most :]:
            far = "" if rest[0].apart is None else f", none farther than {rest[0].apart:.2g} of the larger"
            lines.append(f"  and {len(rest)} more{far}: workflow/compare.py --all shows them")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Compare and report; the exit status says whether anything moved."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="a checkout with a build, or its folder artifacts")
    parser.add_argument("--all", action="store_true", help=f"show more than {MOST} lines a chapter")
    parser.add_argument("--new", type=Path, default=Path(), help="the build to compare with it; this one by default")
    args = parser.parse_args(arguments)
    try:
        if not args.old:
            raise BadInput("there is nothing to compare with: say WITH=path, of another checkout with a build")
        moves = compare(Path(args.old), args.new)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    print(report(moves, Path(args.old), args.new.resolve(), None if args.all else MOST))
    return int(bool(moves))


if __name__ == "__main__":
    sys.exit(main())
