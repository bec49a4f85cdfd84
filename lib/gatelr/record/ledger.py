"""What a chapter found: checks against a tolerance, claims about training, the numbers that prose quotes, tables.

A :class:`Ledger` collects them while the chapter runs and writes ``results.json`` and ``manifest.json`` at its end.
A red check raises after it has been written down, so that it is seen and also stops the build. A claim about training
may be refuted: that is a result, and it stops nothing.
"""

from __future__ import annotations

import datetime
import html
import math
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import display

from gatelr import files

_PACKAGES = (
    "gatelr",
    "torch",
    "sympy",
    "numpy",
    "scikit-learn",
    "matplotlib",
    "seaborn",
    "pandas",
    "papermill",
)
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class CheckFailed(AssertionError):
    """A check of algebra or numerics did not hold; the book must not be built from it."""


class Ledger:
    """The record of one chapter.

    Args:
        chapter: the chapter's id, such as ``"02-exact-jacobians"``: the name of its source without ``.py``.
        title: its title, as the reader sees it.
        out: the folder of its artefacts.
        parameters: what papermill set, JSON-ready; ``seeds`` and ``device`` among them.

    Raises:
        ValueError: if ``out`` is empty.
    """

    def __init__(self, chapter: str, title: str, out: str | Path, parameters: Mapping[str, Any]):
        if not str(out):
            raise ValueError("got an empty artefact folder, expected a path such as 'artifacts/draft/my-chapter'")
        self.chapter, self.title, self.out = chapter, title, Path(out)
        self.parameters = dict(parameters)
        self.checks: list[dict[str, Any]] = []
        self.claims: list[dict[str, Any]] = []
        self.numbers: dict[str, dict[str, Any]] = {}
        self.tables: list[dict[str, Any]] = []

    def check(
        self,
        name: str,
        claim: str,
        statement: str,
        value: float | bool,
        tolerance: float = 0.0,
        *,
        kind: str = "numeric",
        note: str = "",
    ) -> None:
        r"""Record that ``value`` must be at most ``tolerance`` (NaN never is), and show the verdict in place.

        Args:
            name: permanent id of the check within the chapter.
            claim: the claim it supports, as numbered in the notation page (``"C2"``).
            statement: what is claimed, one sentence, may hold ``$mathematics$``.
            value: the discrepancy, or the truth of an identity (``True`` counts as 0, ``False`` as 1).
            tolerance: the largest value that passes.
            kind: ``"symbolic"`` (a proof by computer algebra) or ``"numeric"``.
            note: how it was checked, for the reader of the table.

        Raises:
            ValueError: for a name used before, an unknown kind or a tolerance that is negative or not finite.
        """
        self._new(name, [c["id"] for c in self.checks], "check")
        if kind not in ("symbolic", "numeric"):
            raise ValueError(f"check {name!r} got kind {kind!r}, expected 'symbolic' or 'numeric'")
        if not (math.isfinite(tolerance) and tolerance >= 0):
            raise ValueError(f"check {name!r} got tolerance {tolerance}, expected a finite number of at least 0")
        number = (0.0 if value else 1.0) if isinstance(value, bool) else float(value)
        passed = number <= tolerance
        self.checks.append(
            {
                "id": name,
                "claim": claim,
                "statement": " ".join(statement.split()),
                "kind": kind,
                # JSON has no NaN or infinity: a value that is not finite is written as its name, and fails
                "value": number if math.isfinite(number) else str(number),
                "tolerance": float(tolerance),
                "passed": passed,
                "note": note,
            }
        )
        display(_verdict(self.chapter, self.checks[-1]))

    def claim(
        self,
        name: str,
        claim: str,
        statement: str,
        effect: float,
        interval: tuple[float, float],
        *,
        threshold: float,
        null: float,
        seeds: int,
        greater: bool = True,
        level: float = 0.95,
        unit: str = "",
        note: str = "",
    ) -> str:
        r"""Record a claim about training, which can turn out false, and show its verdict in place.

        The verdict follows from the numbers: *supported* if the whole interval lies beyond ``threshold`` on the side
        that the claim says, *refuted* if the whole interval lies on the other side, *undecided* otherwise.

        Args:
            name: permanent id of the claim within the chapter.
            claim: what it is evidence for: a number of the notation page (``"C8"``) or a word of the paper's abstract
                (``"small"``).
            statement: what is claimed, one sentence, may hold ``$mathematics$``.
            effect: the size of the effect that was measured.
            interval: its confidence interval, lower end first.
            threshold: what the effect must exceed (or stay below) for the claim to hold, chosen before the run.
            null: the effect that the null gives: shuffled gates, another seed's data, no gate at all.
            seeds: how many independent runs stand behind it.
            greater: whether the claim says "more than the threshold"; otherwise "less".
            level: the interval's coverage.
            unit: of effect, interval, null and threshold.
            note: how effect, interval and null were found.

        Returns:
            The verdict.

        Raises:
            ValueError: for a name used before, a number that is not finite, an interval that is upside down or does
                not hold the effect, fewer than two seeds, or a coverage outside (0, 1).
        """
        self._new(name, [c["id"] for c in self.claims], "claim")
        low, high = (float(end) for end in interval)
        numbers = {"effect": effect, "lower end": low, "upper end": high, "threshold": threshold, "null": null}
        for what, value in numbers.items():
            if not math.isfinite(value):
                raise ValueError(
                    f"claim {name!r} got {what} {value}, expected a finite number: count what diverged instead"
                )
        if not low <= effect <= high:
            raise ValueError(
                f"claim {name!r} got effect {effect} and interval ({low}, {high}), expected lower end <= effect <= "
                "upper end: pass the interval of the same statistic"
            )
        if seeds < 2:
            raise ValueError(f"claim {name!r} got {seeds} seeds, expected at least 2: one run has no uncertainty")
        if not 0 < level < 1:
            raise ValueError(f"claim {name!r} got level {level}, expected a coverage between 0 and 1 such as 0.95")
        beyond, short = (low > threshold, high < threshold) if greater else (high < threshold, low > threshold)
        verdict = "supported" if beyond else "refuted" if short else "undecided"
        self.claims.append(
            {
                "id": name,
                "claim": claim,
                "statement": " ".join(statement.split()),
                "effect": float(effect),
                "interval": [low, high],
                "level": float(level),
                "threshold": float(threshold),
                "greater": greater,
                "null": float(null),
                "seeds": int(seeds),
                "unit": unit,
                "verdict": verdict,
                "note": note,
            }
        )
        display(_finding(self.chapter, self.claims[-1]))
        return verdict

    def number(self, name: str, value: float | int | str, text: str | None = None, unit: str = "") -> str:
        """Record a number that prose quotes, by ``{result}`chapter/name``` on any page.

        Args:
            name: permanent id within the chapter.
            value: the number itself.
            text: how prose prints it; three significant digits by default.
            unit: its unit, if it has one.

        Returns:
            The text.

        Raises:
            ValueError: for a name used before, or a number that is not finite.
        """
        self._new(name, list(self.numbers), "number")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"number {name!r} is {value}: prose can only quote a finite number")
        printed = (f"{value:.3g}" if isinstance(value, float) else str(value)) if text is None else text
        self.numbers[name] = {"value": value, "text": printed, "unit": unit}
        return printed

    def table(self, data: pd.DataFrame, name: str, *, caption: str) -> files.Display:
        """Write ``tables/<name>.csv`` and return the table as the cell shows it, labelled ``tab-<name>`` in the book.

        Raises:
            ValueError: for a name used before, or an empty table.
        """
        self._new(name, [t["id"] for t in self.tables], "table")
        if data.empty:
            raise ValueError(f"table {name!r} is empty: it must have at least one row")
        files.write(self.out / "tables" / f"{name}.csv", data.to_csv(index=False))
        self.tables.append({"id": name, "file": f"tables/{name}.csv", "rows": len(data)})
        caption = " ".join(caption.split())
        # a bar would end the cell; Markdown takes the backslash away again, in mathematics too
        cells = data.map(lambda cell: cell.replace("|", r"\|") if isinstance(cell, str) else cell)
        body = cells.to_markdown(index=False, disable_numparse=True)
        return files.Display(
            markdown=f":::{{table}} {caption}\n:name: tab-{name}\n:class: gatelr-table\n\n{body}\n:::\n",
            html=data.to_html(index=False),
            text=data.to_string(index=False),
        )

    def validation(self, name: str = "validation", *, caption: str) -> files.Display:
        """The table of all checks so far: claim, statement, value, tolerance, verdict."""
        rows = [
            {
                "claim": c["claim"],
                "statement": c["statement"],
                "by": c["kind"],
                "value": c["value"] if isinstance(c["value"], str) else f"{c['value']:.2g}",
                "tolerance": f"{c['tolerance']:.2g}",
                "verdict": "holds" if c["passed"] else "FAILS",
            }
            for c in self.checks
        ]
        return self.table(pd.DataFrame(rows), f"{self.chapter}-{name}", caption=caption)

    def close(self, source: str | Path | None = None) -> None:
        """Write ``results.json`` and ``manifest.json``; then raise if a check is red or if there was none.

        Args:
            source: the chapter's percent script, for its digest; by default ``<chapter>.py`` in the working folder.

        Raises:
            CheckFailed: naming every check that does not hold.
            OSError: if the disk is full.
        """
        failed = [c for c in self.checks if not c["passed"]]
        figures = sorted((self.out / "figures").glob("*.svg"))
        results = {
            "schema": 1,
            "chapter": self.chapter,
            "title": self.title,
            "passed": bool(self.checks) and not failed,
            "checks": self.checks,
            "claims": self.claims,
            "numbers": self.numbers,
            "figures": [
                {"id": f.stem, "files": [f"figures/{f.stem}.{s}" for s in ("svg", "png", "pdf", "csv")]}
                for f in figures
            ],
            "tables": self.tables,
        }
        files.write_json(self.out / "manifest.json", self._manifest(Path(source or f"{self.chapter}.py")))
        files.write_json(self.out / "results.json", results)
        if not self.checks:
            raise CheckFailed(f"chapter {self.chapter} closed without a single check: a chapter must be able to fail")
        if failed:
            lines = "; ".join(f"{c['id']} ({c['value']} > {c['tolerance']})" for c in failed)
            raise CheckFailed(f"{len(failed)} of {len(self.checks)} checks fail in {self.chapter}: {lines}")

    def _new(self, name: str, taken: list[str], what: str) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"got {what} name {name!r}, expected lower-case letters, digits and single hyphens")
        if name in taken:
            raise ValueError(f"{what} {name!r} is already in the ledger of {self.chapter}: give each its own name")

    def _manifest(self, source: Path) -> dict[str, Any]:
        import torch

        versions = {}
        for package in _PACKAGES:
            try:
                versions[package] = metadata.version(package)
            except metadata.PackageNotFoundError:  # papermill is not needed to run a chapter in JupyterLab
                continue
        device = str(self.parameters.get("device", "cpu"))
        cuda = torch.cuda.is_available() and device != "cpu"
        return {
            "chapter": self.chapter,
            "parameters": self.parameters,
            "seeds": self.parameters.get("seeds"),
            "source": files.digest(source),
            "commit": _git("rev-parse", "HEAD"),
            "dirty": None if (status := _git("status", "--porcelain")) is None else bool(status),
            "device": torch.cuda.get_device_name() if cuda else "cpu",
            "machine": {
                "system": platform.system(),
                "architecture": platform.machine(),
                "cores": os.cpu_count(),
                "threads": torch.get_num_threads(),
            },
            "versions": {"python": platform.python_version(), **versions},
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }


def _verdict(chapter: str, check: Mapping[str, Any]) -> files.Display:
    """One line under the cell that checked: a tick and what holds, or a cross and by how much it does not."""
    value, tolerance = check["value"], check["tolerance"]
    mark, measured = "✓", ""
    if check["passed"] and tolerance:
        measured = f": {value:.2g} ≤ {tolerance:.2g}"
    elif not check["passed"]:
        mark, measured = "✗", f": FAILS, got {value}, expected at most {tolerance:.2g}"
    line = f"{mark} {check['statement']}{measured}"
    return files.Display(
        # the name is where the claims ledger's links lead
        markdown=f":::{{container}} gatelr-check\n:name: check-{chapter}-{check['id']}\n\n{line}\n:::\n",
        html=f"<div>{html.escape(line)}</div>",
        text=line,
    )


def _finding(chapter: str, claim: Mapping[str, Any]) -> files.Display:
    """One line under the cell that measured: the verdict, the effect with its interval, and what the null gives."""
    low, high = claim["interval"]
    unit = f" {claim['unit']}" if claim["unit"] else ""
    side = "more" if claim["greater"] else "less"
    line = (
        f"{claim['verdict'].capitalize()}: {claim['statement']} Measured {claim['effect']:.3g}{unit} "
        f"({claim['level'] * 100:g} % interval {low:.3g} to {high:.3g}, {claim['seeds']} seeds); the claim needs "
        f"{side} than {claim['threshold']:.3g}, the null gives {claim['null']:.3g}."
    )
    return files.Display(
        markdown=(
            f":::{{container}} gatelr-claim {claim['verdict']}\n:name: claim-{chapter}-{claim['id']}\n\n{line}\n:::\n"
        ),
        html=f"<div>{html.escape(line)}</div>",
        text=line,
    )


def _git(*arguments: str) -> str | None:
    """What git says here, or None without git or outside a repository: a downloaded chapter runs there too."""
    try:
        run = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout.strip()
