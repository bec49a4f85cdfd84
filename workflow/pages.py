"""Write the pages that nobody writes by hand: how the book was run, the claims ledger, all figures and all tables."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import failures
import jinja2
import references
import toc

TEMPLATES = Path(__file__).parent / "templates"
OUT = Path("book/generated")
#: Where each claim of the theory is stated.
NOTATION = Path("book/notation.md")
#: What jobs were measured to need, one file for each machine; the first is told of.
SCALE = Path("benchmarks/results/scale")
#: What a check stands under that belongs to no claim.
REPRODUCIBILITY = "reproducibility"


def order(claim: str) -> tuple[str, int, str]:
    """Sorts C2 before C10."""
    match = re.fullmatch(r"([A-Za-z]*)(\d+)(.*)", claim)
    return (match[1], int(match[2]), match[3]) if match else (claim, 0, "")


def number(value: float | str) -> str:
    """Two digits: a discrepancy is read for its size. A value that is not a number comes as text."""
    return value if isinstance(value, str) else f"{value:.2g}"


def load(chapter: str) -> dict[str, Any]:
    """All that a chapter's run left in JSON, by the name of the file."""
    folder = Path("artifacts") / chapter
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in ("results", "manifest", "run")}


def problems(runs: dict[str, dict[str, Any]]) -> list[str]:
    """One sentence for each check that is red or missing."""
    faults = []
    for chapter, run in runs.items():
        checks = run["results"]["checks"]
        if not checks:
            faults.append(f"{chapter} has no check: a chapter must be able to fail")
        faults += [
            f"{chapter}: check '{c['id']}' of {c['claim'] or REPRODUCIBILITY} does not hold: got {number(c['value'])}, "
            f"tolerance {number(c['tolerance'])}"
            for c in checks
            if not c["passed"]
        ]
        if checks and all(c["passed"] for c in checks) and not run["results"]["passed"]:
            faults.append(f"{chapter} says that it did not pass, though its checks do")
    return [*faults, *twice(runs)]


def twice(runs: dict[str, dict[str, Any]]) -> list[str]:
    """One sentence for each name of a figure or table that two chapters use: it is cited without its chapter."""
    owners: dict[str, list[str]] = {}
    for chapter, run in runs.items():
        for kind in ("figure", "table"):
            for made in run["results"].get(f"{kind}s", []):
                owners.setdefault(f"{kind} '{made['id']}'", []).append(chapter)
    return [
        f"{' and '.join(chapters)} both have a {what}: rename one of them"
        for what, chapters in owners.items()
        if len(chapters) > 1
    ]


def stated(notation: Path) -> dict[str, tuple[str, str]]:
    """The name of each claim, and what it says up to its first stop, from the notation page; nothing without one."""
    text = notation.read_text() if notation.exists() else ""
    paragraphs = re.findall(r"^\*\*(C\d+) (.+?)\.\*\* (.+?)(?=\n\n|\Z)", text, flags=re.MULTILINE | re.DOTALL)
    claims = {}
    for claim, name, words in paragraphs:
        plain = " ".join(re.sub(r"\s*\{cite\}`[^`]*`", "", words).split())
        claims[claim] = (name, re.split(r"[.;:](?:\s|$)", plain, maxsplit=1)[0])
    return claims


def tally(verdicts: list[str]) -> str:
    """How often each was said, the most frequent first: "3 supported, 1 refuted"."""
    return ", ".join(f"{count} {verdict}" for verdict, count in Counter(verdicts).most_common())


def reach(rows: list[dict[str, Any]]) -> str:
    """For what the checks of a claim were made, in short."""
    kinds = Counter(row["kind"] for row in rows)
    words = {"proof": "proved for every n and ℓ", "case": "by algebra at stated sizes", "numeric": "on numbers"}
    return ", ".join(f"{kinds[kind]} {said}" for kind, said in words.items() if kinds[kind])


def ledger(runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the ledger's template needs."""
    numbers = toc.chapters()
    titles = {chapter: run["results"]["title"] for chapter, run in runs.items()}
    names = stated(NOTATION)
    claims: dict[str, list[dict[str, Any]]] = {claim: [] for claim in names}
    for chapter, run in runs.items():
        for check in run["results"]["checks"]:
            symbolic = check["kind"] == "symbolic"
            claims.setdefault(check["claim"] or REPRODUCIBILITY, []).append(
                {
                    # A list-table's cell ends where its line does.
                    "statement": " ".join(check["statement"].split()),
                    # An identity holds or does not: a discrepancy of zero would say less.
                    "checked": "exact" if symbolic else f"{number(check['value'])} ≤ {number(check['tolerance'])}",
                    "kind": ("proof" if check["general"] else "case") if symbolic else "numeric",
                    "scope": check["scope"],
                    "verdict": "holds" if check["passed"] else "fails",
                    "chapter": chapter,
                    "id": check["id"],
                    "number": numbers.get(chapter, chapter),
                }
            )
    rows = [row for group in claims.values() for row in group]
    findings = [
        {
            "claim": claim["claim"],
            "statement": " ".join(claim["statement"].split()),
            "effect": f"{claim['effect']:.3g}" + (f" {claim['unit']}" if claim["unit"] else ""),
            "interval": " to ".join(f"{end:.3g}" for end in claim["interval"]),
            "needs": f"{'more' if claim['greater'] else 'less'} than {claim['threshold']:.3g}",
            "null": f"{claim['null']:.3g}",
            "seeds": claim["seeds"],
            "kind": "primary" if claim["primary"] else "exploratory",
            "supported": f"{claim['supported in']} of {claim['settings']}",
            "verdict": claim["verdict"],
            "chapter": chapter,
            "id": claim["id"],
            "number": numbers.get(chapter, chapter),
        }
        for chapter, run in runs.items()
        for claim in run["results"]["claims"]
    ]
    by_chapter = {
        chapter: sorted((row for row in findings if row["chapter"] == chapter), key=lambda row: order(row["claim"]))
        for chapter in dict.fromkeys(row["chapter"] for row in findings)
    }
    about: dict[tuple[str, str], list[str]] = {}
    for chapter, group in by_chapter.items():
        for row in group:
            about.setdefault((chapter, row["claim"]), []).append(row["verdict"])
    return {
        "claims": [
            {
                "id": claim,
                "title": f"{claim} {names[claim][0]}" if claim in names else claim.capitalize(),
                "words": names[claim][1] if claim in names else "",
                "scope": reach(group),
                "verdict": outcome(group),
                "rows": group,
            }
            for claim, group in sorted(claims.items(), key=lambda item: order(item[0]))
        ],
        "findings": [
            {
                "chapter": chapter,
                "title": titles[chapter],
                "rows": group,
                "verdicts": tally([row["verdict"] for row in group]),
            }
            for chapter, group in by_chapter.items()
        ],
        "measured": [
            {
                "chapter": chapter,
                "title": titles[chapter],
                "about": word,
                "total": len(verdicts),
                "verdicts": tally(verdicts),
            }
            for (chapter, word), verdicts in about.items()
        ],
        "verdicts": list(dict.fromkeys(row["verdict"] for row in [*rows, *findings])),
        "chapters": list(runs),
        "others": references.made_by_other_code(),
        "held": sum(row["verdict"] == "holds" for row in rows),
        "total": len(rows),
    }


def outcome(rows: list[dict[str, Any]]) -> str:
    """What the checks of a claim came to, in a word or two."""
    failed = sum(row["verdict"] == "fails" for row in rows)
    return "not yet" if not rows else f"{failed} of {len(rows)} fail" if failed else "holds"


def execution(runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the execution page's template needs."""
    versions: dict[str, set[str]] = {}
    for run in runs.values():
        for package, version in run["manifest"]["versions"].items():
            versions.setdefault(package, set()).add(version)
    chapters = []
    for chapter, run in runs.items():
        checks, manifest = run["results"]["checks"], run["manifest"]
        commit = (manifest["commit"] or "")[:10]
        chapters.append(
            {
                "chapter": chapter,
                "seconds": f"{run['run']['seconds']:.1f}",
                "checks": f"{sum(c['passed'] for c in checks)} of {len(checks)}",
                "verdict": "passed" if run["results"]["passed"] else "failed",
                "device": manifest["device"],
                "commit": (f"`{commit}`" + (", edited" if manifest["dirty"] else "")) if commit else "not in git",
                # What the chapter says it ran with, its own defaults among it; where it wrote to is of no interest.
                "parameters": {k: v for k, v in manifest["parameters"].items() if k != "out"},
            }
        )
    return {
        "chapters": chapters,
        "seconds": f"{sum(run['run']['seconds'] for run in runs.values()):.0f}",
        "profiles": sorted({str(run["run"]["profile"]) for run in runs.values()}),
        "versions": [(package, ", ".join(sorted(known))) for package, known in sorted(versions.items())],
        "tables": committed(),
    }


def committed() -> list[dict[str, str]]:
    """A row for each committed table: by whom and when it was made, and whether today's code is what made it."""
    others = references.made_by_other_code()
    return [
        {
            "name": name,
            "by": f"{{doc}}`/notebooks/{entry['chapter']}`" if "chapter" in entry else f"`{entry['by']}`",
            "date": entry["date"],
            "commit": f"`{entry['commit'][:10]}`" if entry["commit"] else "–",
            "sha256": entry["sha256"][:12],
            "code": others.get(name, "as it is today"),
        }
        for name, entry in references.manifest().items()
    ]


def contents(runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the templates of the figures and of the tables need; the book's extension does the rest."""
    return {"chapters": [{"id": chapter, "title": run["results"]["title"]} for chapter, run in runs.items()]}


def scale() -> dict[str, Any]:
    """What the template of the page on clusters needs, from the file of the first machine that was measured."""
    measured: dict[str, Any] = {"study": None} | json.loads(min(SCALE.glob("*.json")).read_text())
    rows = measured["rows"]
    largest = max(rows, key=lambda row: (row["seeds"], row["megabytes"]))
    base = {name: Counter(row[name] for row in rows).most_common(1)[0][0] for name in ("seeds", "n", "T")}
    side_by_side = int(16_000 // largest["megabytes"])
    return measured | {"largest": largest, "base": base, "blocks_in_16": side_by_side, "tab": "{numref}`tab-scale`"}


def main(chapters: list[str]) -> int:
    """Write the pages, unless something is red."""
    place = list(toc.chapters())
    if lost := [chapter for chapter in chapters if chapter not in place]:
        failures.record("pages", f"{', '.join(lost)} is not in _toc.yml: add it where it belongs in the book")
        return 1
    runs = {chapter: load(chapter) for chapter in sorted(chapters, key=place.index)}
    if faults := problems(runs):
        failures.record("pages", "\n    ".join(faults))
        return 1
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    OUT.mkdir(parents=True, exist_ok=True)
    pages = {"ledger": ledger, "execution": execution, "figures": contents, "tables": contents}
    for name, content in pages.items():
        (OUT / f"{name}.md").write_text(templates.get_template(f"{name}.md.j2").render(content(runs)))
    if "gates-against-optimisers" in runs:
        import six_words  # which imports what draws

        six_words.write(runs, OUT)
    if SCALE.is_dir():
        (OUT / "scale.md").write_text(templates.get_template("scale.md.j2").render(scale()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
