"""The committed tables of ``reference/``: whether they are as committed, which code made them, how new ones come in.

python workflow/references.py                          # are all tables as their manifest has them?
python workflow/references.py adopt joint-anisotropy   # take in what these chapters wrote in the profile paper
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import dependencies

FOLDER = Path("reference")
#: The modules that turn rows into verdicts.
RULES = ("gatelr.judgement", "gatelr.statistics")


def manifest(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """What is known of each table, by its name."""
    path = folder / "manifest.json"
    tables: dict[str, dict[str, Any]] = json.loads(path.read_text())["tables"] if path.exists() else {}
    return tables


def digest(path: Path) -> str:
    """The SHA-256 of a table as it lies there."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def problems(folder: Path = FOLDER) -> list[str]:
    """One sentence for each table that is not as the manifest has it; reads three megabytes and computes nothing."""
    known, there = manifest(folder), {path.stem: path for path in sorted(folder.glob("*.csv"))}
    found = [
        f"{folder / name}.csv is missing, expected it since manifest.json lists it" for name in known.keys() - there
    ]
    for name, path in there.items():
        if name not in known:
            found.append(f"{path} is in no manifest: take it in with `python workflow/references.py adopt <chapter>`")
        elif digest(path) != known[name]["sha256"]:
            found.append(
                f"{path} is not the table that was committed: its sum is not the one in manifest.json; restore it with "
                f"`git checkout {path}`, or make it again with PROFILE=paper and adopt it"
            )
    return sorted(found)


def current(chapter: str) -> tuple[str, str]:
    """The code that makes a chapter's tables as it stands now, and that of the rules that judge them.

    The numbers of a chapter with runs come from its experiment; those of another from all that the chapter can reach.
    """
    from gatelr.experiments import fingerprint, plans

    experiment = plans.CHAPTERS.get(chapter)
    source = Path("notebooks") / f"{chapter}.py"
    names = [f"gatelr.experiments.{experiment}", "gatelr.experiments.runs"] if experiment else []
    return fingerprint.code(names) if names else dependencies.code(source), fingerprint.code(RULES)


def made_by_other_code(folder: Path = FOLDER) -> dict[str, str]:
    """For each table that today's code did not make, what differs in a few words."""
    said: dict[str, str] = {}
    now: dict[str, tuple[str, str]] = {}
    for name, entry in manifest(folder).items():
        chapter = entry["chapter"]
        code, rules = now.setdefault(chapter, current(chapter))
        differs = [
            what for what, own, one in (("code", entry["code"], code), ("rules", entry["rules"], rules)) if own != one
        ]
        if differs:
            said[name] = f"other {' and other '.join(differs)} of {entry['date']}"
    return said


def adopt(chapters: list[str], folder: Path = FOLDER, artifacts: Path = Path("artifacts")) -> list[str]:
    """Copy the tables that chapters wrote in the profile paper, and note in the manifest how each was made.

    Raises:
        ValueError: for a chapter that was not run, or in another profile, or whose runs are of other code than today's.
    """
    tables, taken = manifest(folder), []
    for chapter in chapters:
        place = artifacts / chapter
        if not (place / "manifest.json").exists():
            raise ValueError(f"got no {place / 'manifest.json'}, expected one: run `make book PROFILE=paper` first")
        made = json.loads((place / "manifest.json").read_text())
        if (profile := made["parameters"].get("profile")) != "paper":
            raise ValueError(f"got {chapter} in the profile {profile!r}, expected 'paper': a reference has all seeds")
        code, rules = current(chapter)
        for path in sorted((place / "reference").glob("*.csv")):
            (folder / path.name).write_bytes(path.read_bytes())
            tables[path.stem] = {
                "sha256": digest(path),
                "chapter": chapter,
                "code": code,
                "rules": rules,
                "commit": made["commit"],
                "date": made["created"][:10],
                "machine": made["machine"],
                "versions": made["versions"],
                "command": "make book PROFILE=paper",
            }
            taken.append(path.stem)
    content = {"schema": 1, "tables": dict(sorted(tables.items()))}
    (folder / "manifest.json").write_text(json.dumps(content, indent=1) + "\n")
    return taken


def main() -> int:
    """Do as asked; 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("verify", "adopt"), default="verify")
    parser.add_argument("chapters", nargs="*")
    args = parser.parse_args()
    try:
        said = problems() if args.what == "verify" else [f"adopted {name}" for name in adopt(args.chapters)]
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(said or ["all tables are as committed"]))
    return int(args.what == "verify" and bool(said))


if __name__ == "__main__":
    sys.exit(main())
