"""What a chapter found: checks against a tolerance, claims about training, numbers that prose quotes, figures, tables.

A :class:`Chapter` collects them while the chapter runs and writes ``results.json`` and ``manifest.json`` at its end.
A red check raises after it has been written down, so that it is seen and also stops the build. A claim about training
may be refuted: that is a result, and it stops nothing.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure

from gatelr import files, judgement
from gatelr.record import claims, figures, forms, reference, source, tables
from gatelr.record.claims import Finding
from gatelr.record.manifest import manifest

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

#: Profiles whose runs may have no row in common with what is committed. One stops early, the other makes it anew.
APART = ("quick", "paper")


class CheckFailed(AssertionError):
    """A check of algebra or numerics did not hold; the book must not be built from it."""


class Chapter:
    """The record of one chapter.

    Args:
        slug: the chapter's id, such as ``"exact-jacobians"``: the name of its source without ``.py``.
        parameters: by name; by default the values that the caller has now for what the cell ``parameters`` assigns.
        folder: where the source lies.

    Raises:
        FileNotFoundError: if the source is not there.
        ValueError: if the source has no title or no parameters, if ``out`` is not among these, or it is empty.
    """

    def __init__(self, slug: str, parameters: Mapping[str, Any] | None = None, folder: str | Path = "."):
        self.slug = slug
        self.source = source.read(Path(folder) / f"{slug}.py")
        self.title = self.source.title
        values = _callers() if parameters is None else parameters
        if missing := [name for name in self.source.parameters if name not in values]:
            raise ValueError(f"chapter {slug} has no value for {', '.join(missing)}: run the cell of parameters first")
        taken = {name: values[name] for name in self.source.parameters}
        if not str(taken.get("out", "")):
            raise ValueError(
                f"chapter {slug} got no artefact folder: give its cell of parameters a line such as "
                f'out = "../artifacts/draft/{slug}"'
            )
        self.out = Path(taken.pop("out"))
        self.parameters: dict[str, Any] = taken
        self.checks: list[dict[str, Any]] = []
        self.claims: list[dict[str, Any]] = []
        self.numbers: dict[str, dict[str, Any]] = {}
        self.clocked: dict[str, dict[str, Any]] = {}
        self.figures: list[dict[str, Any]] = []
        self.tables: list[dict[str, Any]] = []

    @property
    def seeds(self) -> int:
        """How many independent runs."""
        return int(self.parameters["seeds"])

    @cached_property
    def device(self) -> Any:
        """The ``torch.device`` that the parameter ``device`` names."""
        from gatelr.record import devices

        return devices.resolve(self.parameters.get("device", "auto"))

    def check(
        self,
        name: str,
        statement: str,
        value: float | bool,
        tolerance: float = 0.0,
        *,
        claim: str | None = None,
        scope: str = "",
        note: str = "",
    ) -> None:
        r"""Record that ``value`` must be at most ``tolerance`` (NaN never is), and show the verdict in place.

        Args:
            name: permanent id of the check within the chapter.
            statement: what is claimed, one sentence, may hold ``$mathematics$``.
            value: the discrepancy, or the truth of a statement (``True`` counts as 0, ``False`` as 1).
            tolerance: the largest value that passes.
            claim: the claim it supports, as numbered in the notation page (``"C2"``); None: reproducibility.
            scope: what it was checked for, such as ``"n = 2, ℓ ≤ 4"``; what supports a claim must say so.
            note: how it was checked, for the reader of the table.

        Raises:
            ValueError: for a name used before, a tolerance that is negative or not finite, or a claim without a scope.
        """
        self._new(name, [row["id"] for row in self.checks], "check")
        if claim and not scope.strip():
            raise ValueError(
                f"check {name!r} got no scope, expected one since it supports {claim}: say for what it was made, "
                "such as scope='n = 2, ℓ ≤ 4'"
            )
        if not (math.isfinite(tolerance) and tolerance >= 0):
            raise ValueError(f"check {name!r} got tolerance {tolerance}, expected a finite number of at least 0")
        number = (0.0 if value else 1.0) if isinstance(value, (bool, np.bool_)) else float(value)
        self.checks.append(
            {
                "id": name,
                "claim": claim,
                "statement": " ".join(statement.split()),
                "kind": "numeric",
                "general": False,
                "scope": scope,
                # JSON has no NaN or infinity: a value that is not finite is written as its name, and fails
                "value": number if math.isfinite(number) else str(number),
                "tolerance": float(tolerance),
                "passed": number <= tolerance,
                "note": note,
            }
        )
        display(forms.check(self.slug, self.checks[-1]))

    def prove(self, name: str, statement: str, *facts: Any, claim: str, scope: str, note: str = "") -> None:
        """Record a proof by computer algebra: every fact must hold; what SymPy cannot decide does not.

        Args:
            name, statement, claim, scope, note: as for :meth:`check`. It is counted as a proof for every n and ℓ only
                if its scope says *every* and bounds nothing.
            facts: each a truth value, or an expression or matrix of SymPy that must simplify to zero.

        Raises:
            ValueError: for a name used before, or without a fact.
            TypeError: for a fact that is neither.
        """
        if not facts:
            raise ValueError(f"proof {name!r} got no fact, expected at least one that could turn out false")
        held = all(_holds(name, fact) for fact in facts)
        self.check(name, statement, held, claim=claim, scope=scope, note=note)
        self.checks[-1] |= {"kind": "symbolic", "general": tables.general(scope)}

    def claim(
        self,
        name: str,
        statement: str,
        values: pd.Series,
        *,
        about: str,
        threshold: float | None = None,
        null: float | pd.Series = 0.0,
        greater: bool = True,
        unit: str = "",
        note: str = "",
        smallest: float | None = None,
        primary: bool = False,
    ) -> Finding:
        r"""Record a claim about training, which can turn out false, and show its verdict in place.

        Each setting is judged by itself and the claim by its settings, by the rules of :mod:`gatelr.judgement`. The
        mean over settings is recorded beside it, and decides nothing where there is more than one.

        Args:
            name, statement: as for :meth:`check`.
            values: one number a seed, or one for each setting and seed (the last level, or the one named ``seed``).
            about: what it is evidence for: a claim of the notation page (``"C8"``) or the word in question.
            threshold: what a setting must exceed (or stay below) for the claim to hold; by default the smallest effect
                that matters, in the direction that the claim says, or 0 without one.
            null: the effect that the null gives: shuffled gates, another seed's data, no gate at all; a number, or a
                series as ``values``.
            greater: whether the claim says "more than the threshold"; otherwise "less".
            unit: of the values.
            note: how effect and null were found; that a threshold was chosen after a pilot.
            smallest: the smallest effect that matters, if one was chosen; what is surely smaller is *absent*.
            primary: whether it is one of the chapter's few main claims; the others are exploratory.

        Returns:
            The mean over settings and seeds with its interval, the verdict, and what each setting came to.

        Raises:
            ValueError: for a name used before, fewer than two seeds, or a number that is not finite.
        """
        self._new(name, [row["id"] for row in self.claims], "claim")
        row, finding = claims.judged(
            name,
            statement,
            values,
            about=about,
            threshold=threshold,
            null=null,
            greater=greater,
            unit=unit,
            note=note,
            smallest=smallest,
            primary=primary,
        )
        self.claims.append(row)
        display(forms.claim(self.slug, row))
        return finding

    def number(self, name: str, value: float | int | str, text: str | None = None, unit: str = "") -> None:
        """Record a number that prose quotes, by ``{result}`slug/name``` on any page.

        Args:
            name, value: its permanent id within the chapter, and the number itself.
            text, unit: how prose prints it, three significant digits by default, and its unit if it has one.

        Raises:
            ValueError: for a name used before, or a number that is not finite.
        """
        self.numbers[name] = self._quoted(name, value, text, unit)

    def clock(self, name: str, value: float | int, text: str | None = None, unit: str = "") -> None:
        """Record a number that a clock gave, which prose quotes as any other.

        It is no result: no two runs have it alike. It goes to ``clock.json``, which the workflow takes into
        ``run.json``, so that ``results.json`` is the same file after every run.

        Args:
            name, value, text, unit: as for :meth:`number`.

        Raises:
            ValueError: as :meth:`number`.
        """
        self.clocked[name] = self._quoted(name, value, text, unit)

    def _quoted(self, name: str, value: float | int | str, text: str | None, unit: str) -> dict[str, Any]:
        """A number as the record has it."""
        self._new(name, [*self.numbers, *self.clocked], "number")
        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"number {name!r} is {value}: prose can only quote a finite number")
        printed = (f"{value:.3g}" if isinstance(value, float) else str(value)) if text is None else text
        return {"value": value, "text": printed, "unit": unit}

    def figure(self, name: str, figure: Figure, data: pd.DataFrame) -> None:
        """Write a figure, which the directive ``fig-<name>`` of the chapter's prose shows, and the numbers it plots.

        Args:
            name: permanent id, in lower-case letters, digits and hyphens.
            figure: drawn inside :func:`gatelr.record.figures.style`; it is closed.
            data: the plotted numbers, tidy: one row a point, one column a variable.

        Raises:
            ValueError: for a name used before, no directive, no alternative text, or no data.
            OSError: if the disk is full.
        """
        self._new(name, [row["id"] for row in self.figures], "figure")
        caption = self._caption("figure", "figure", "fig", name)
        if not caption.alt:
            raise ValueError(
                f"figure {name!r} has no alternative text: give its directive a line ':alt: …' that says what one sees"
            )
        svg = figures.write(figure, name, data, alt=caption.alt, chapter=self.slug, out=self.out)
        written = [f"figures/{name}.{suffix}" for suffix in ("svg", "png", "pdf", "csv")]
        self.figures.append({"id": name, "files": written})
        display(forms.figure(name, svg, caption.alt))

    def table(self, name: str, data: pd.DataFrame) -> None:
        """Write ``tables/<name>.csv``, which the directive ``tab-<name>`` of the chapter's prose shows.

        Raises:
            ValueError: for a name used before, no directive, or an empty table.
        """
        self._new(name, [row["id"] for row in self.tables], "table")
        if data.empty:
            raise ValueError(f"table {name!r} is empty: it must have at least one row")
        self._caption("table", "table-file", "tab", name)
        files.write(self.out / "tables" / f"{name}.csv", data.to_csv(index=False))
        self.tables.append({"id": name, "file": f"tables/{name}.csv", "rows": len(data)})
        display(forms.table(name, data))

    def compare(
        self,
        rows: pd.DataFrame,
        name: str,
        keys: Sequence[str],
        tolerances: Mapping[str, tuple[float, float]] | None = None,
        *,
        claim: str | None = None,
        folder: str | Path = "../reference",
    ) -> pd.DataFrame:
        """Complete this run's rows from ``<folder>/<name>.csv``, and check that the rows which both have agree.

        Args:
            rows: one for each seed and setting.
            name: of the table, such as ``"e2-anisotropy"``.
            keys: the columns that say which row is which.
            tolerances: for each column compared (absolute, relative). By default every number is compared, and may be
                off by a multiple of what was measured on other arithmetic (:mod:`gatelr.record.reference`). With an
                empty mapping nothing is checked.
            claim: what the check supports, whose id is ``reference-`` and the name without the experiment's number.
            folder: where the references lie.

        Returns:
            All rows, those of this run first, with a column ``here`` that says whose they are. The check is red if a
            row is too far off. It is also red if there is no row that both have: then nothing was compared. Drafts and
            the profiles of :data:`APART` may have none.

        Raises:
            ValueError: if rows of this run have the same keys, the reference lacks one of their columns, no differences
                were measured, or the name is none: the rows are written under it.
        """
        self._new(name, [], "reference")
        whole, gap, shared = reference.compare(rows, name, keys, tolerances, folder=folder, out=self.out)
        short = re.sub(r"^e\d+-", "", name)
        if tolerances is None or tolerances:
            must_share = self.parameters.get("profile") not in APART and "draft" not in self.out.parts and len(rows)
            self.check(
                f"reference-{short}",
                f"this run and the committed one agree: {short}, largest difference over its tolerance",
                gap if shared or not must_share else math.inf,
                1.0,
                claim=claim,
                scope=f"{shared} rows that both have",
            )
        return whole

    def verdicts(self, name: str) -> None:
        """The table of all claims so far, with the settings in which each is supported."""
        self.table(name, tables.verdicts(self.claims))

    def validation(self, name: str = "validation") -> None:
        """The table ``<slug>-<name>`` of all checks so far: claim, statement, scope, value, tolerance, verdict."""
        self.table(f"{self.slug}-{name}", tables.validation(self.checks))

    def close(self) -> None:
        """Write ``results.json``, ``manifest.json``, perhaps ``clock.json``; then raise if a check is red or missing.

        Raises:
            ValueError: for more primary claims than the rules of judgement allow for.
            CheckFailed: naming every check that does not hold.
            OSError: if the disk is full.
        """
        main = [row["id"] for row in self.claims if row["primary"]]
        if len(main) > judgement.MOST_PRIMARY:
            raise ValueError(
                f"chapter {self.slug} has {len(main)} primary claims ({', '.join(main)}), expected at most "
                f"{judgement.MOST_PRIMARY}: the others are exploratory"
            )
        failed = [row for row in self.checks if not row["passed"]]
        results = {
            "schema": 2,
            "chapter": self.slug,
            "title": self.title,
            "passed": bool(self.checks) and not failed,
        } | {what: getattr(self, what) for what in ("checks", "claims", "numbers", "figures", "tables")}
        if self.clocked:
            files.write_json(self.out / "clock.json", self.clocked)
        files.write_json(self.out / "manifest.json", manifest(self.slug, self.parameters, self.source.digest))
        files.write_json(self.out / "results.json", results)
        if not self.checks:
            raise CheckFailed(f"chapter {self.slug} closed without a single check: a chapter must be able to fail")
        if failed:
            lines = "; ".join(f"{row['id']} ({row['value']} > {row['tolerance']})" for row in failed)
            raise CheckFailed(f"{len(failed)} of {len(self.checks)} checks fail in {self.slug}: {lines}")

    def _new(self, name: str, taken: list[str], what: str) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"got {what} name {name!r}, expected lower-case letters, digits and single hyphens")
        if name in taken:
            raise ValueError(f"{what} {name!r} is already in the record of {self.slug}: give each its own name")

    def _caption(self, what: str, directive: str, kind: str, name: str) -> source.Caption:
        """The directive that shows a figure or table, which must show the very file that is written."""
        label, suffix = f"{kind}-{name}", "svg" if what == "figure" else "csv"
        path = f"/artifacts/{self.slug}/{what}s/{name}.{suffix}"
        if label not in self.source.captions:
            raise ValueError(
                f"{self.source.path.name} shows no {what} {name!r}: add a Markdown cell with the directive "
                f":::{{{directive}}} {path} and the line :name: {label}"
            )
        caption = self.source.captions[label]
        if caption.path != path:
            raise ValueError(f"the directive {label!r} shows {caption.path!r}, expected {path!r}: correct its path")
        if not caption.text:
            raise ValueError(f"the directive {label!r} has no caption: say in a sentence or two what one sees")
        return caption


def _callers() -> Mapping[str, Any]:
    """The names of the notebook that asks: the nearest caller's that has an artefact folder."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and "out" not in frame.f_globals:
        frame = frame.f_back
    return frame.f_globals if frame else {}


def _holds(name: str, fact: Any) -> bool:
    """The truth of a fact; an expression of SymPy is true when it simplifies to zero."""
    if fact is None or isinstance(fact, (bool, np.bool_)):
        return bool(fact)  # None is what SymPy answers to a question that it cannot decide
    import sympy as sp

    if isinstance(fact, sp.logic.boolalg.Boolean):
        return sp.simplify(fact) == sp.true
    if isinstance(fact, sp.MatrixBase):
        return all(sp.simplify(entry) == 0 for entry in fact)
    if isinstance(fact, sp.Basic):
        return sp.simplify(fact) == 0
    raise TypeError(f"proof {name!r} got {fact!r}, expected a truth value or an expression of SymPy that must vanish")
