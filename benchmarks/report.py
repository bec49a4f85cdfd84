"""What was found, as a table, and which targets are met: ``python -m benchmarks.report [FILE …]``.

A target is a wish from before the measurement. One that is missed is printed like any other, and fails nothing: how
fast a machine is cannot be a test of the code.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from . import record
from .contests import SIZES, TINY

Rows = Sequence[Mapping[str, Any]]
#: What of a row a target is about.
VALUES: dict[str, Callable[[Mapping[str, Any]], float]] = {
    "ratio": lambda row: row["ratio"]["median"],
    "share": lambda row: row["values"]["share_of_product"]["median"],
    "memory": lambda row: row["memory"]["times_trajectory"],
    "minutes": lambda row: row["seconds"]["median"] / 60,
}


@dataclass(frozen=True)
class Target:
    """A wish, and the rows that answer it, of which the worst counts."""

    id: str
    statement: str
    bound: float
    group: str
    peers: tuple[str, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    free: tuple[str, ...] = ()
    """Sizes of a training step that may differ from those of the paper's second experiment."""
    value: str = "ratio"
    sense: str = "at least"

    def found(self, rows: Rows, base: Mapping[str, int]) -> float | None:
        """What the rows say; None if there is none."""
        sizes = {name: value for name, value in base.items() if name not in self.free}
        wanted = {**(sizes if self.group == "training step" else {}), **self.parameters}
        values = [
            VALUES[self.value](row)
            for row in rows
            if row["group"] == self.group
            and row["peer"] in self.peers
            and "absent" not in row
            and wanted.items() <= row["parameters"].items()
        ]
        return (min if self.sense == "at least" else max)(values, default=None)


#: How a reader calls the groups whose names say less.
WORDS = {"sensitivities": "norms of all lags", "ceiling": "training step, multi gate, 20 seeds"}
JAX = ("jax", "jax, seeds in turn")
TWENTY, FOUR, ONE = {"gate": "multi", "S": 20}, {"gate": "multi", "S": 4}, {"S": 1}
TARGETS = (
    Target("step-autograd", "multi gate, 20 seeds: autograd over ours", 3, "training step", ("autograd",), TWENTY),
    Target("step-jax-in-turn", "multi gate, 20 seeds: JAX in turn over ours", 4, "training step", JAX[1:], TWENTY),
    Target("step-jax", "multi gate, 20 seeds: JAX with vmap over ours", 5.5, "training step", JAX[:1], TWENTY),
    Target("step-released", "multi gate, 20 seeds: released over ours", 8, "training step", ("released",), TWENTY),
    Target("step-ceiling", "share of the rate of its products alone", 0.85, "ceiling", ("ours",), value="share"),
    Target("step-four-jax", "multi gate, 4 seeds: the better JAX over ours", 3, "training step", JAX, FOUR),
    Target("step-one-jax", "one seed, the worst of three gates: JAX over ours", 3, "training step", JAX, ONE),
    Target("step-one-autograd", "one seed, likewise: autograd over ours", 4, "training step", ("autograd",), ONE),
    Target(
        "step-sizes",
        "multi gate, 20 seeds, the worst of 16 to 128 neurons and 30 to 240 steps: autograd over ours",
        2.5,
        "training step",
        ("autograd",),
        TWENTY,
        free=("T", "n"),
    ),
    Target("sensitivities-released", "released over ours", 12, "sensitivities", ("released",)),
    Target("per-sample-released", "released over ours", 50, "per-sample gradients", ("released",)),
    Target("per-sample-functorch", "functorch over ours", 2, "per-sample gradients", ("functorch",)),
    Target("blocks-functorch", "functorch over ours", 5, "Jacobian blocks", ("functorch",)),
    Target(
        "memory", "peak of a training step over its trajectory", 1.5, "memory", ("ours",), {}, (), "memory", "at most"
    ),
    Target(
        "protocol-e1",
        "E1, 20 seeds, minutes",
        3,
        "protocol",
        ("ours",),
        {"protocol": "E1", "device": "cpu"},
        (),
        "minutes",
        "at most",
    ),
    Target(
        "protocol-e2",
        "E2, one task, 20 seeds, minutes",
        2,
        "protocol",
        ("ours",),
        {"protocol": "E2", "device": "cpu"},
        (),
        "minutes",
        "at most",
    ),
)


def targets(rows: Rows, quick: bool) -> list[dict[str, Any]]:
    """Every target with what was found; both None where nothing was."""
    base = TINY if quick else SIZES
    lines = []
    for target in TARGETS:
        found = target.found(rows, base)
        met = (
            None
            if found is None
            else bool(found >= target.bound if target.sense == "at least" else found <= target.bound)
        )
        statement = f"{WORDS.get(target.group, target.group)}, {target.statement}"
        lines.append({"id": target.id, "statement": statement, "sense": target.sense, "bound": target.bound})
        lines[-1] |= {"found": found, "met": met}
    return lines


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
    if "growth" in row:
        growth, axis = row["growth"], row["growth"]["axis"]
        parts.append(f"{axis} {growth['sizes'][0]} to {growth['sizes'][-1]}, {1e3 * growth['seconds'][-1]:.4g} ms")
        parts.append(f"time as {axis}^{growth['time_exponent']:.2f}, memory as {axis}^{growth['memory_exponent']:.2f}")
        parts.append("8 GB at no size" if growth["at_limit"] is None else f"8 GB at {axis} {growth['at_limit']:,}")
    for name, value in row.get("values", {}).items():
        if name == "share_of_product":
            parts.append(f"{100 * value['median']:.0f} % of the product's rate")
        elif name == "compile_seconds":
            parts.append(f"compiled in {value:.1f} s")
        elif name.endswith("_per_second"):
            parts.append(f"{value / 1e9:.1f} G{name.replace('_', ' ')}")
    return "; ".join(parts)


def text(content: Mapping[str, Any]) -> str:
    """The whole report of one file."""
    machine = content["machine"]
    kind = f"{machine['cpu']}, {machine['level']}"
    lines = [f"{kind}, {machine['threads']} of {machine['cores']} cores, {machine['system']}"]
    lines += [
        f"Kernel: {kernel}" for kernel in sorted({m["kernel"] for m in content["measured"].values() if "kernel" in m})
    ]
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
