"""The tables of a study: of the runs that one chapter would read those with certain labels, as the Snakefile calls it.

However many blocks of seeds they were made in, rows come in the order of runs, then of steps, then of seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import environment
import failures
import progress

sys.path.insert(0, str(environment.LIBRARY))  # this checkout's library, even when another is installed


def make(chapter: str, parameters: dict[str, Any], labels: dict[str, Any], out: Path) -> None:
    """Join the runs, and write a file for each table.

    Raises:
        ValueError: if no run has these labels.
    """
    from gatelr import files
    from gatelr.experiments import plans, runs

    whole = [run for run in plans.plan(chapter, parameters | {"block": 0}) if labels.items() <= run.labels.items()]
    if not whole:
        raise ValueError(f"got labels {labels} in profiles.yaml, which no run of {chapter} has")
    block, device = parameters.get("block", 0), environment.device(parameters["device"])
    tables = runs.load(whole, block=block, folder="artifacts/runs", device=device, progress=False)
    for name, table in tables.items():
        files.write(out / f"{name}.csv", table.to_csv(index=False))
    blocks = len(runs.split(whole, block))
    progress.say(
        f"{out.name}  done, {len(tables['run'])} seeds in {blocks} blocks, which took "
        f"{tables['cost'].seconds.sum():.0f} s in all"
    )


def main() -> int:
    """Make the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapter")
    parser.add_argument("--parameters", type=json.loads, required=True, help="a JSON object")
    parser.add_argument("--labels", type=json.loads, required=True, help="a JSON object")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the tables")
    args = parser.parse_args()
    try:
        make(args.chapter, args.parameters, args.labels, args.out)
    except Exception as error:
        failures.record(args.out.name, f"{type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
