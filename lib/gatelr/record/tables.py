"""Tables as the book has them: a file, the Markdown that it is shown by, and the two that sum a chapter up."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gatelr import statistics

#: What a check supports that belongs to no claim of the notation page.
REPRODUCIBILITY = "reproducibility"

#: Numbers that were not formatted by hand have more digits than this.
DIGITS = 6

_BOUND = re.compile(r"\d|[=<>≤≥]|\b(up to|drawn|tried|one|two|three|four|five|six)\b")
_NUMBER = re.compile(r"-?\d*\.\d+(e[+-]?\d+)?|-?\d+e[+-]?\d+")


def read(path: str | Path) -> pd.DataFrame:
    """A table of a chapter, each cell as a reader sees it: text as it stands, numbers with six digits."""
    return pd.read_csv(path, dtype=str, keep_default_na=False).map(_shorten)


def markdown(data: pd.DataFrame) -> str:
    """A table in Markdown; its cells may hold Markdown too."""
    # a bar would end the cell; Markdown takes the backslash away again, in mathematics too
    cells = data.map(lambda cell: cell.replace("|", r"\|") if isinstance(cell, str) else cell)
    return cells.to_markdown(index=False, disable_numparse=True)


def general(scope: str) -> bool:
    """Whether a scope leaves nothing out: it says *every*, and no size, order or number of cases is bounded in it."""
    return scope.startswith("every ") and not _BOUND.search(scope)


def verdicts(claims: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a claim; the p values are adjusted after Holm for the number of rows."""
    adjusted = statistics.holm([claim["p"] for claim in claims]) if claims else []
    return pd.DataFrame(
        {
            "claim": f"`{claim['id']}`",
            "effect": f"{claim['effect']:.3g}",
            "95 % interval": f"{claim['interval'][0]:.3g} to {claim['interval'][1]:.3g}",
            "needs": f"{'more' if claim['greater'] else 'less'} than {claim['threshold']:.3g}",
            "null": f"{claim['null']:.2g}",
            "p, after Holm": f"{p:.2g}",
            "verdict": claim["verdict"],
        }
        for claim, p in zip(claims, adjusted, strict=True)
    )


def validation(checks: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a check: claim, statement, scope, value, tolerance, verdict."""
    return pd.DataFrame(
        {
            "claim": check["claim"] or REPRODUCIBILITY,
            "statement": check["statement"],
            "scope": check["scope"],
            "by": check["kind"],
            "value": check["value"] if isinstance(check["value"], str) else f"{check['value']:.2g}",
            "tolerance": f"{check['tolerance']:.2g}",
            "verdict": "holds" if check["passed"] else "FAILS",
        }
        for check in checks
    )


def _shorten(cell: str) -> str:
    digits = len(re.sub(r"e.*|[-.]", "", cell).lstrip("0"))
    return f"{float(cell):g}" if _NUMBER.fullmatch(cell) and digits > DIGITS else cell
