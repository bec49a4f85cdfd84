"""What was timed on machines, read for the book: the files in ``benchmarks/results/``, as tables.

A machine is known by its processor and threads, such as ``"AMD EPYC, 2 threads"``.
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
            name = f"{content['machine']['cpu']}, {content['machine']['threads']} threads"
            machines[name] = content | {"file": path.stem}
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
        "date": {run["created"][:10] for run in runs},
        "torch": {run["versions"]["torch"] or "–" for run in runs},
        "JAX": {run["versions"]["jax"] or "–" for run in runs},
        "released code": {(run["released"] or "–")[:10] for run in runs},
    }
    return {what: ", ".join(sorted(some)) for what, some in values.items()}


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
