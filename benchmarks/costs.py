"""The ten largest costs of a build, from what the workflow wrote down: ``python -m benchmarks.costs`` after it.

A cost is a chapter, or all runs of one experiment. The file ``results/costs/<profile>.json`` is what the book reads.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from gatelr import files

from . import record

FOLDER = record.RESULTS / "costs"
#: What was done about each that is or was among the largest.
DONE = {
    "runs of effective rates": "training compiled; norms of all lags by Lanczos in C++, from the neighbour's vector",
    "runs of gate corrections training": "training compiled, whichever backward pass it is",
    "runs of against optimisers": "training compiled, all seeds side by side",
    "runs of joint anisotropy": "training compiled; gradients of single sequences in closed form",
    "runs of trainability": "training compiled, all seeds side by side; norms transplanted in one backward pass",
    "runs of replication": "its emulation of the released code stays plain, so as to do what that code does",
    "runs of real data": "a step of torch's layers for all seeds at once",
}
OTHERWISE = "left as it is"


def measure(artifacts: Path) -> dict[str, Any]:
    """Wall seconds of every chapter and of every experiment's runs, and the ten largest.

    Raises:
        FileNotFoundError: if nothing was built there.
        ValueError: if the chapters were run in several profiles.
    """
    chapters = [json.loads(path.read_text()) for path in sorted(artifacts.glob("*/run.json"))]
    if not chapters:
        raise FileNotFoundError(f"got no run.json in {artifacts}, expected those of a build: run `make book` first")
    if len(profiles := sorted({chapter["profile"] for chapter in chapters})) > 1:
        raise ValueError(f"got chapters of the profiles {', '.join(profiles)}, expected one: run `make book` again")
    seconds = {f"chapter {chapter['chapter']}": float(chapter["seconds"]) for chapter in chapters}
    for folder in sorted(artifacts.glob("runs/*/")):
        contents = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"), key=_made)]
        # files of earlier code stay where they are until somebody cleans up; they are not of this build
        of_build = [content for content in contents if content["code"] == contents[-1]["code"]]
        taken = sum(sum(content["tables"]["cost"]["seconds"]) for content in of_build)
        seconds[f"runs of {folder.name.replace('_', ' ')}"] = taken
    costs = []
    for what, taken in sorted(seconds.items(), key=lambda cost: -cost[1])[:10]:
        costs.append({"what": what, "seconds": round(taken, 1), "done": DONE.get(what, OTHERWISE)})
    date = max(chapter["started"][:10] for chapter in chapters)
    return {"profile": profiles[0], "date": date, "all": round(sum(seconds.values()), 1), "costs": costs}


def _made(path: Path) -> float:
    return path.stat().st_mtime


def main(arguments: list[str] | None = None) -> int:
    """Write the file of the profile that was built, and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.costs", description=__doc__)
    parser.add_argument("artifacts", type=Path, nargs="?", default=record.ROOT / "artifacts")
    parser.add_argument("--out", type=Path, help="by default benchmarks/results/costs/<profile>.json")
    parser.add_argument("--threads", type=int, default=2, help="how many cores the build had")
    asked = parser.parse_args(arguments)
    content = measure(asked.artifacts) | {"machine": record.machine(asked.threads)}
    out = asked.out or FOLDER / f"{content['profile']}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(out, content)
    for cost in content["costs"]:
        print(f"{cost['seconds']:8.1f} s  {cost['what']}: {cost['done']}")
    print(f"{content['all']:8.1f} s  in all\n\nWritten to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
