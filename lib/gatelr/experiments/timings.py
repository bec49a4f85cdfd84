"""What was timed on machines, read for the book: the files in ``benchmarks/results/``, as tables.

A machine is known by its processor, the instructions that were used and its threads, such as
``"AMD EPYC, avx512-bf16, 2 threads"``. One processor that was held to fewer instructions stands for another kind.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """What ``make bench`` wrote, by machine; trial runs and files with groups yet to be measured are left out.

    Raises:
        FileNotFoundError: if no machine was measured.
        jsonschema.ValidationError: for a file that does not follow the schema.
    """
    import jsonschema

    schema = json.loads((folder / "schema.json").read_text())
    groups = set(schema["$defs"]["row"]["properties"]["group"]["enum"]) - {"protocol"}
    machines = {}
    for path in sorted((folder / "results").glob("*.json")):
        content = json.loads(path.read_text())
        jsonschema.validate(content, schema)
        if groups <= set(content["measured"]) and not content["quick"]:
            machine = content["machine"]
            kind = f"{machine['cpu']}, {machine['level']}, {machine['threads']} threads"
            machines[kind] = content | {"file": path.stem}
    if not machines:
        raise FileNotFoundError(f"got no measured machine in {folder / 'results'}: run `make bench`, which writes one")
    return machines


def table(machines: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Every row of every file: machine, group, peer, sizes, seconds (median), ratio with quartiles, and more."""
    return pd.DataFrame([_flat(name, row) for name, content in machines.items() for row in content["rows"]])


def provenance(content: Mapping[str, Any]) -> dict[str, str]:
    """With what a machine was measured; more than one value where its groups were measured on several days."""
    runs = content["measured"].values()
    values = {
        "kernel": {run["kernel"] for run in runs},
        "date": {run["created"][:10] for run in runs},
        "torch": {run["versions"]["torch"] or "–" for run in runs},
        "JAX": {run["versions"]["jax"] or "–" for run in runs},
        "released code": {(run["released"] or "–")[:10] for run in runs},
    }
    return {what: ", ".join(sorted(some)) for what, some in values.items()}


def growth(machines: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """How the cost of each path grows with each size: exponents, and the size at which it passes 8 GB by that law.

    A machine of which this was not measured has one line, whose path is ``"not measured"``.
    """
    lines = []
    for name, content in machines.items():
        grown = [row for row in content["rows"] if "growth" in row]
        lines += [] if grown else [{"machine": name, "path": "not measured"}]
        for row in grown:
            fitted = {key: value for key, value in row["growth"].items() if key not in ("sizes", "seconds", "bytes")}
            largest = {"largest": row["growth"]["sizes"][-1], "seconds": row["growth"]["seconds"][-1]}
            lines.append({"machine": name, "path": row["peer"], **fitted, **largest})
    exponents = ["time_exponent", "memory_exponent"]
    return pd.DataFrame(lines, columns=["machine", "path", "axis", "largest", "seconds", *exponents, "at_limit"])


def costs(file: Path) -> pd.DataFrame:
    """The ten largest costs of a build that ``benchmarks.costs`` wrote: what, seconds, share of all, what was done."""
    content = json.loads(file.read_text())
    table = pd.DataFrame(content["costs"])
    return table.assign(share=table["seconds"] / content["all"])[["what", "seconds", "share", "done"]]


def sizes(content: Mapping[str, Any]) -> dict[str, Any]:
    """The sizes from which the scaling starts."""
    rows = (row for row in content["rows"] if (row["group"], row["peer"]) == ("ceiling", "ours"))
    return dict(next(rows)["parameters"])


def at_base(rows: pd.DataFrame, machines: Mapping[str, Mapping[str, Any]], *but: str) -> pd.DataFrame:
    """The rows with those sizes, but for the columns named."""
    keep = pd.Series(True, rows.index)
    for name, content in machines.items():
        elsewhere = rows["machine"] != name
        for column, value in sizes(content).items():
            if column not in but:
                keep &= elsewhere | (rows[column] == value)
    return rows[keep]


def _flat(machine: str, row: Mapping[str, Any]) -> dict[str, Any]:
    line = {"machine": machine, "group": row["group"], "peer": row["peer"]}
    line |= row["parameters"] | {"absent": row.get("absent")}
    if "seconds" in row:
        line["seconds"] = row["seconds"]["median"]
        line["seconds each"] = row.get("per", row["seconds"]).get("seconds")
    if "ratio" in row:
        line["ratio"] = row["ratio"]["median"]
        line["lower quartile"], line["upper quartile"] = row["ratio"]["quartiles"]
    line |= {f"error {name}": value for name, value in row.get("error", {}).items() if name != "lags"}
    line |= {f"agreement {name}": value for name, value in row.get("agreement", {}).items()}
    return line | row.get("memory", {}) | row.get("values", {})
