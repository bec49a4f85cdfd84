"""Tables as the book has them: a file, the Markdown that it is shown by, and the two that sum a chapter up."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

#: What a check supports that belongs to no claim of the notation page.
REPRODUCIBILITY = "reproducibility"

#: Numbers that were not formatted by hand have more digits than this.
DIGITS = 6

_BOUND = re.compile(r"\d|[=<>≤≥]|\b(up to|drawn|tried|one|two|three|four|five|six)\b")
_UNIT = re.compile(r"\bin [(\[]0, 1[)\]]|\b0 < \w+ < 1\b")
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
    """Whether a scope leaves nothing out: it says *every*, and no size, order or number of cases is bounded in it.

    That a gate lies between 0 and 1 bounds nothing.
    """
    return scope.startswith("every ") and not _BOUND.search(_UNIT.sub("", scope))


def verdicts(claims: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a claim: its mean over settings, what it needs, and in how many settings it is supported."""
    return pd.DataFrame(
        {
            "claim": f"`{claim['id']}`",
            "kind": "primary" if claim["primary"] else "exploratory",
            "effect": f"{claim['effect']:.3g}",
            "interval": f"{claim['interval'][0]:.3g} to {claim['interval'][1]:.3g}",
            "needs": f"{'more' if claim['greater'] else 'less'} than {claim['threshold']:.3g}",
            "null": f"{claim['null']:.2g}",
            "supported in": f"{claim['supported in']} of {claim['settings']}",
            "verdict": claim["verdict"],
        }
        for claim in claims
    )


def by_setting(claims: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row for each claim and setting: mean over seeds, the interval that decides, seeds and verdict."""
    return pd.DataFrame(
        {
            "claim": f"`{claim['id']}`",
            "setting": row["setting"] or "all",
            "effect": f"{row['effect']:.3g}",
            "interval": "–" if row["interval"] is None else "{:.3g} to {:.3g}".format(*row["interval"]),
            "seeds": row["seeds"],
            "verdict": row["verdict"],
        }
        for claim in claims
        for row in claim["by setting"]
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


def decided(rows: str, columns: Sequence[str], checks: Sequence[Mapping[str, Any]]) -> tuple[pd.DataFrame, bool]:
    """A table of verdicts, and whether each of them rests on checks that hold.

    Args:
        rows: a line for each, such as ``"a gate is a schedule;false;check-one check-two"``.
        columns: three names, of the statement, the verdict and the checks that decide it.
        checks: of the chapter so far.
    """
    table = pd.read_csv(StringIO(rows), sep=";", names=[*columns], dtype=str)
    deciding = table[columns[2]].str.split()
    rests = deciding.map({check["id"] for check in checks if check["passed"]}.issuperset).all()
    table[columns[1]] = "**" + table[columns[1]] + "**"
    table[columns[2]] = "`" + deciding.str.join("`, `") + "`"
    return table, bool(rests)
