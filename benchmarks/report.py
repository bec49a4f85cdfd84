"""What was found, as a table, and which targets are met: ``python -m benchmarks.report [FILE …]``.

A target is a wish from before the measurement. One that is missed is printed like any other, and fails nothing: how
fast a machine is cannot be a test of the code.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from . import record
from .contests import SIZES, TINY

Rows = Sequence[Mapping[str, Any]]


def targets(rows: Rows, quick: bool) -> list[dict[str, Any]]:
    """Every target with what was found; both None where nothing was."""
    base = TINY if quick else SIZES

    def at(group: str, peer: str, **parameters: Any) -> list[Mapping[str, Any]]:
        return [
            row
            for row in rows
            if (row["group"], row["peer"]) == (group, peer)
            and "absent" not in row
            and parameters.items() <= row["parameters"].items()
        ]

    def ratio(group: str, peer: str, **parameters: Any) -> float | None:
        """The least of the ratios, if there are several."""
        return min((row["ratio"]["median"] for row in at(group, peer, **parameters)), default=None)

    def first(found: list[Mapping[str, Any]], value: Callable[[Mapping[str, Any]], float]) -> float | None:
        return value(found[0]) if found else None

    step = {"gate": "multi", "S": 20, **base}
    cpu = {"device": "cpu"}
    wishes: list[tuple[str, str, str, float, float | None]] = [
        ("step-autograd", "training step, multi gate, 20 seeds: autograd over ours", "at least", 2,
         ratio("training step", "autograd", **step)),
        ("step-jax", "training step, multi gate, 20 seeds: jax with vmap over ours", "at least", 4,
         ratio("training step", "jax", **step)),
        ("step-jax-in-turn", "training step, multi gate, 20 seeds: jax with its seeds in turn over ours", "at least", 4,
         ratio("training step", "jax, seeds in turn", **step)),
        ("step-released", "training step, multi gate, 20 seeds: released over ours", "at least", 8,
         ratio("training step", "released", **step)),
        ("step-ceiling", "training step, multi gate, 20 seeds: share of the rate of its products alone", "at least",
         0.45, first(at("ceiling", "ours"), lambda row: row["values"]["share_of_product"]["median"])),
        ("step-one-seed", "training step, one seed, the worst of three gates: autograd over ours", "at least", 1,
         ratio("training step", "autograd", S=1, **base)),
        ("per-sample-released", "per-sample gradients: released over ours", "at least", 50,
         ratio("per-sample gradients", "released")),
        ("per-sample-functorch", "per-sample gradients: functorch over ours", "at least", 2,
         ratio("per-sample gradients", "functorch")),
        ("sensitivities-released", "norms of all lags: released over ours", "at least", 10,
         ratio("sensitivities", "released")),
        ("blocks-functorch", "Jacobian blocks: functorch over ours", "at least", 5,
         ratio("Jacobian blocks", "functorch")),
        ("memory", "peak memory of a training step over its trajectory", "at most", 1.5,
         first(at("memory", "ours"), lambda row: row["memory"]["times_trajectory"])),
        ("protocol-e1", "protocol E1, 20 seeds, minutes", "at most", 6,
         first(at("protocol", "ours", protocol="E1", **cpu), lambda row: row["seconds"]["median"] / 60)),
        ("protocol-e2", "protocol E2, one task, 20 seeds, minutes", "at most", 5,
         first(at("protocol", "ours", protocol="E2", **cpu), lambda row: row["seconds"]["median"] / 60)),
    ]  # fmt: skip
    return [
        {
            "id": name,
            "statement": statement,
            "sense": sense,
            "bound": bound,
            "found": found,
            "met": None if found is None else bool(found >= bound if sense == "at least" else found <= bound),
        }
        for name, statement, sense, bound, found in wishes
    ]


def tables(rows: Rows) -> dict[str, pd.DataFrame]:
    """A table for each contest, by its name and parameters."""
    found: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        line = {"": row["peer"]}
        if "seconds" in row:
            low, high = row["seconds"]["quartiles"]
            line |= {"ms": f"{1e3 * row['seconds']['median']:.4g}", "iqr": f"{1e3 * (high - low):.2g}"}
            line["rounds"] = str(row["seconds"]["rounds"])
        if "per" in row and row["per"]["unit"] != "call":
            line[f"ms a {row['per']['unit']}"] = f"{1e3 * row['per']['seconds']:.4g}"
        if "ratio" in row:
            line["over ours"] = f"{row['ratio']['median']:.2f}"
        parameters = ", ".join(f"{name} {value}" for name, value in row["parameters"].items())
        found.setdefault(f"{row['group']}: {parameters}", []).append(
            line | {"remarks": row.get("absent") or _more(row)}
        )
    return {title: pd.DataFrame(lines).fillna("") for title, lines in found.items()}


def _more(row: Mapping[str, Any]) -> str:
    parts = [row["note"]] if "note" in row else []
    if "error" in row:
        parts.append(f"error {row['error']['median']:.2g}, at most {row['error']['largest']:.2g}")
    if "memory" in row:
        memory = row["memory"]
        sizes = ", ".join(f"{name} {memory[f'{name}_bytes'] / 2**20:.0f} MiB" for name in ("first", "later", "kept"))
        parts.append(f"{sizes}; {memory['times_trajectory']:.2f} times the trajectory")
    for name, value in row.get("values", {}).items():
        if name == "share_of_product":
            parts.append(f"{100 * value['median']:.0f} % of the product's rate")
        elif name.endswith("_per_second"):
            parts.append(f"{value / 1e9:.1f} G{name.replace('_', ' ')}")
    return "; ".join(parts)


def text(content: Mapping[str, Any]) -> str:
    """The whole report of one file."""
    machine = content["machine"]
    lines = [f"{machine['cpu']}, {machine['threads']} of {machine['cores']} cores, {machine['system']}"]
    if content["quick"]:
        lines.append("A trial run with tiny sizes and one round: its times mean nothing.")
    for title, table in tables(content["rows"]).items():
        remarks = table.pop("remarks")
        table[""] = table[""].str.ljust(20)
        table["remarks"] = "  " + remarks if remarks.any() else ""
        lines += ["", title, table.to_string(index=False, justify="left")]
    lines.append("")
    words = {True: "met", False: "NOT MET", None: "not measured"}
    for target in content["targets"]:
        found = "" if target["found"] is None else f", found {target['found']:.3g}"
        lines.append(f"{words[target['met']]:>12}  {target['statement']}: {target['sense']} {target['bound']:g}{found}")
    return "\n".join(lines)


def main(files: Sequence[str]) -> int:
    """Print the report of each file, or of all that are committed."""
    paths = [Path(file) for file in files] or sorted(record.RESULTS.glob("*.json"))
    if not paths:
        print("nothing has been measured yet: run `make bench`", file=sys.stderr)
        return 1
    for path in paths:
        content = record.read(path)
        if content is None:
            print(f"there is no {path}", file=sys.stderr)
            return 1
        print(text(content), end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
