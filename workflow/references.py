"""The committed tables of ``reference/``: whether they are as committed, which code made them, how new ones come in.

    python workflow/references.py                           # are all tables as their manifest has them?
    python workflow/references.py current                   # did today's code make all of them?
    python workflow/references.py adopt joint-anisotropy    # take in what these chapters wrote in the profile paper
    python workflow/references.py take joint-anisotropy     # the same of a build that stopped at the comparison
    python workflow/references.py confirm joint-anisotropy  # today's code makes the same numbers, to every digit
    python workflow/references.py adopt --table diagnosis/remedies \\
        --by gatelr.experiments.remedy_trials --command "python -m gatelr.experiments.remedy_trials"
    python workflow/references.py adopt --table released-slopes \\
        --by github.com/lorenzolivi/effective-learning-rates --code d70851c --command "python <its script>"

The last two note who made a table that no chapter wrote: a module of the library, a script of this repository, or code
that is not here, of which the commit is then to be named.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import subprocess
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


def there(folder: Path = FOLDER) -> dict[str, Path]:
    """All tables and what sums them up, by their place in the folder; a table's name is without its suffix."""
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix in (".csv", ".json")]
    names = [path.relative_to(folder).as_posix().removesuffix(".csv") for path in paths]
    return {name: path for name, path in zip(names, paths, strict=True) if name != "manifest.json"}


def problems(folder: Path = FOLDER) -> list[str]:
    """One sentence for each table that is not as the manifest has it; reads three megabytes and computes nothing."""
    known, tables = manifest(folder), there(folder)
    faults = []
    for name in known.keys() - tables:
        place = folder / (name if name.endswith(".json") else f"{name}.csv")
        faults.append(f"{place} is missing, expected it since manifest.json lists it")
    for name, path in tables.items():
        if name not in known:
            faults.append(f"{path} is in no manifest: take it in with `python workflow/references.py adopt <chapter>`")
        elif digest(path) != known[name]["sha256"]:
            faults.append(
                f"{path} is not the table that was committed: its sum is not the one in manifest.json; restore it with "
                f"`git checkout {path}`, or make it again with PROFILE=paper and adopt it"
            )
    return sorted(faults)


def current(chapter: str) -> tuple[str, str]:
    """The code that makes a chapter's tables as it stands now, and that of the rules that judge them.

    The numbers of a chapter with runs come from its experiment; those of another from all that the chapter can reach.
    """
    from gatelr.experiments import fingerprint, plans

    experiment = plans.CHAPTERS.get(chapter)
    source = Path("notebooks") / f"{chapter}.py"
    names = [f"gatelr.experiments.{experiment}", "gatelr.experiments.runs"] if experiment else []
    return fingerprint.code(names) if names else dependencies.code(source), fingerprint.code(RULES)


def maker(by: str) -> tuple[str | None, str]:
    """The same for a module of the library or a script of this repository; no code for a maker that is not here."""
    from gatelr.experiments import fingerprint

    code = None
    if by in fingerprint.files():
        code = fingerprint.code([by, "gatelr.experiments.runs"])
    elif Path(by).is_file():
        code = hashlib.sha256(Path(by).read_bytes()).hexdigest()[:16]
    return code, fingerprint.code(RULES)


def made_by_other_code(folder: Path = FOLDER) -> dict[str, str]:
    """For each table that today's code did not make, what differs in a few words."""
    said: dict[str, str] = {}
    now: dict[str, tuple[str | None, str]] = {}
    for name, entry in manifest(folder).items():
        by = entry.get("chapter") or entry["by"]
        if by not in now:
            now[by] = current(by) if "chapter" in entry else maker(by)
        code, rules = now[by]
        known = (None, entry["code"], entry.get("confirmed", {}).get("code"))
        differs = ["code"] * (code not in known) + ["rules"] * (entry["rules"] != rules)
        if differs:
            said[name] = f"other {' and other '.join(differs)} of {entry['date']}"
    return said


def adopt(chapters: list[str], folder: Path = FOLDER, artifacts: Path = Path("artifacts")) -> list[str]:
    """Copy the tables that chapters wrote in the profile paper, and note in the manifest how each was made.

    Raises:
        ValueError: for a chapter that was not run, or in another profile.
    """
    return _copied({chapter: artifacts / chapter for chapter in chapters}, folder)


def take(chapters: list[str], folder: Path = FOLDER, builds: Path = Path("_build/run")) -> list[str]:
    """The same for chapters that ran to their end and stopped at the comparison, since numbers were meant to move.

    Raises:
        ValueError: for a chapter that did not stop there, or in another profile.
    """
    places = {}
    for chapter in chapters:
        made = sorted(builds.glob(f"{chapter}/*/artifacts"), key=lambda place: place.stat().st_mtime)
        places[chapter] = made[-1] if made else builds / chapter
    return _copied(places, folder)


def _copied(places: dict[str, Path], folder: Path) -> list[str]:
    """Copy the tables of each chapter from its place; all or none."""
    tables, new = manifest(folder), {}
    for chapter, place in places.items():
        if not (place / "manifest.json").exists():
            raise ValueError(f"got no {place / 'manifest.json'}, expected one: run `make book PROFILE=paper` first")
        made = json.loads((place / "manifest.json").read_text())
        if (profile := made["parameters"].get("profile")) != "paper":
            raise ValueError(f"got {chapter} in the profile {profile!r}, expected 'paper': a reference has all seeds")
        code, rules = current(chapter)
        for path in sorted((place / "reference").glob("*.csv")):
            new[path] = {
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
    for path in new:
        (folder / path.name).write_bytes(path.read_bytes())
    _write(tables | {path.stem: entry for path, entry in new.items()}, folder)
    return [path.stem for path in new]


def confirm(chapters: list[str], folder: Path = FOLDER, artifacts: Path = Path("artifacts")) -> list[str]:
    """Note in the manifest that today's code made some rows of the tables of chapters again, equal in every digit.

    A change of code that moves no number then leaves a table valid. Every row that the build has made is compared, in
    all columns, as the files have them. Seconds cannot come out the same, so a table of costs goes with the others. A
    table of which the build made no row, such as a search for a learning rate, is left as it is and named.

    Raises:
        ValueError: for a chapter that was not run, and for a row of this build that the table does not have.
    """
    tables, said = manifest(folder), []
    for chapter in chapters:
        place = artifacts / chapter
        if not (place / "manifest.json").exists():
            raise ValueError(f"got no {place / 'manifest.json'}, expected one: run `make book` first")
        own = [name for name, entry in tables.items() if entry.get("chapter") == chapter]
        equal = {name: _equal_rows(place / "reference" / f"{name}.csv", folder / f"{name}.csv") for name in own}
        measured = {name: count for name, count in equal.items() if not name.endswith("-cost")}
        none_made = not any(rows for _, rows in measured.values())
        if missing := [name for name, (same, rows) in measured.items() if same < rows or none_made]:
            counts = ", ".join(f"{name}: {measured[name][0]} of {measured[name][1]}" for name in missing)
            raise ValueError(
                f"got rows of {chapter} that its tables do not have ({counts} are equal), expected all of them: run "
                "`make book PROFILE=paper` and adopt what it makes"
            )
        code, today = current(chapter)[0], datetime.date.today().isoformat()
        for name, (same, rows) in equal.items():
            if rows:
                tables[name]["confirmed"] = {"code": code, "rows": same, "date": today}
        said += [f"confirmed {name}: {rows} rows" if rows else f"left {name}" for name, (_, rows) in measured.items()]
    _write(tables, folder)
    return said


def _equal_rows(made: Path, kept: Path) -> tuple[int, int]:
    """How many rows that a build made stand in the committed table as well, letter by letter, and how many it made."""
    import pandas as pd

    if not made.exists():
        return 0, 0
    rows, table = (pd.read_csv(path, dtype=str, keep_default_na=False) for path in (made, kept))
    if not set(rows.columns) <= set(table.columns):
        return 0, len(rows)
    there = set(table[rows.columns].itertuples(index=False, name=None))
    return sum(row in there for row in rows.itertuples(index=False, name=None)), len(rows)


def adopt_table(name: str, by: str, command: str, code: str | None = None, folder: Path = FOLDER) -> str:
    """Note in the manifest who made a table that no chapter wrote; when is what its last commit says, or today.

    Args:
        name: its place in the folder, without the suffix of a table.
        by: a module of the library, a script of this repository, or where other code is to be found.
        command: what made it.
        code: the commit of code that is not here.
        folder: of the tables.

    Raises:
        ValueError: for a table that is not there, or a maker that is neither here nor named by a commit.
    """
    path = there(folder).get(name)
    if path is None:
        raise ValueError(f"got no table {name!r}, expected one of {', '.join(there(folder))}")
    here, rules = maker(by)
    if (here is None) == (code is None):
        raise ValueError(
            f"got {by!r} with the code {code!r}, expected a module or a script that is here, without --code, or one "
            "that is not, with its commit as --code"
        )
    commit, date = _committed(path)
    entry = {"sha256": digest(path), "by": by, "code": here or code, "rules": rules, "commit": commit, "date": date}
    entry |= _machine() | {"command": command}
    _write(manifest(folder) | {name: entry}, folder)
    return name


def _write(tables: dict[str, dict[str, Any]], folder: Path) -> None:
    content = {"schema": 1, "tables": dict(sorted(tables.items()))}
    (folder / "manifest.json").write_text(json.dumps(content, indent=1) + "\n")


def _committed(path: Path) -> tuple[str | None, str]:
    """The last commit of a file that has not been changed since, and its date; of another none, and today."""
    asked = ["git", "log", "-1", "--format=%H %cs", "--", path.name]
    changed = ["git", "status", "--porcelain", "--", path.name]
    answers = [
        subprocess.run(command, cwd=path.parent, capture_output=True, text=True).stdout.strip()
        for command in (asked, changed)
    ]
    commit, _, date = answers[0].partition(" ")
    return (None, datetime.date.today().isoformat()) if answers[1] or not commit else (commit, date)


def _machine() -> dict[str, Any]:
    """The machine and the versions, as the manifest of a chapter has them."""
    from gatelr.record.manifest import manifest as made

    return {name: value for name, value in made("", {}, None).items() if name in ("machine", "versions")}


def main() -> int:
    """Do as asked; 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("verify", "current", "adopt", "take", "confirm"), default="verify")
    parser.add_argument("chapters", nargs="*")
    parser.add_argument("--table", help="one that no chapter wrote, such as diagnosis/remedies")
    parser.add_argument("--by", default="", help="who made it: a module, a script, or where its code is")
    parser.add_argument("--code", help="the commit of code that is not here")
    parser.add_argument("--command", default="", help="what made it")
    args = parser.parse_args()
    try:
        if args.what == "verify":
            said = problems()
        elif args.what == "current":
            said = [f"{name} was made by {what}: make it again" for name, what in made_by_other_code().items()]
        elif args.table:
            said = [f"adopted {adopt_table(args.table, args.by, args.command, args.code)}"]
        elif args.what == "confirm":
            said = confirm(args.chapters)
        elif args.what == "take":
            said = [f"took {name}: build again, and adopt" for name in take(args.chapters)]
        else:
            said = [f"adopted {name}" for name in adopt(args.chapters)]
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    print(
        "\n".join(said or ["all tables are as committed" if args.what == "verify" else "today's code made all tables"])
    )
    return int(args.what in ("verify", "current") and bool(said))


if __name__ == "__main__":
    sys.exit(main())
