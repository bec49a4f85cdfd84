"""Make one run of an experiment, as the Snakefile calls it, or say which runs chapters read.

    python workflow/run.py --device cpu '{"experiment": "joint_anisotropy", "task": "adding", …}'
    python workflow/run.py --plans < parameters-by-chapter.json

A run that is killed goes on from its checkpoint when it is called again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import environment

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "lib"))  # this checkout's library, even when another is installed

import failures  # noqa: E402
import fork_server  # noqa: E402
import progress  # noqa: E402

FOLDER = ROOT / "artifacts" / "runs"


def plans() -> str:
    """The plans of the chapters whose parameters stand on standard input, as JSON."""
    from gatelr.experiments import plans, runs

    planned: dict[str, list[dict[str, Any]]] = {}
    for chapter, parameters in json.load(sys.stdin).items():
        try:
            plan = plans.plan(chapter, parameters)
        except Exception:
            plan = []  # the chapter makes the same plan, and will say in its own words what is wrong
        planned[chapter] = [
            {
                "path": str(run.path("artifacts/runs")),
                "run": run.identity,
                "labels": dict(run.labels),
                "code": runs.code(run.experiment),
            }
            for run in plan
        ]
    return json.dumps(planned)


def make(text: str, device: str, attempt: int) -> int:
    """Make the run that is written out as JSON; 0 if its file is there."""
    from gatelr.experiments import runs

    content = json.loads(text)
    run = runs.Run(**content | {"seeds": tuple(content["seeds"])})
    step = f"{run.experiment} {run.name}"
    if failures.final(step, attempt):
        return 1
    begin = time.perf_counter()
    try:
        if list(run.path(FOLDER).parent.glob(f"{run.name}-*.checkpoint")):
            progress.say(f"{run.experiment}  {run.name}  goes on from its file")
        runs.make(run, folder=FOLDER, device=environment.device(device))
    except Exception as error:
        failures.record(step, f"{type(error).__name__}: {error}")
        return 1
    progress.say(f"{run.experiment}  {run.name}  {time.perf_counter() - begin:.1f} s")
    return 0


def imports(args: argparse.Namespace) -> list[str]:
    """The modules that take long to import, of those that this run needs."""
    needed = ["gatelr.experiments.plans"]
    if not args.plans:
        experiment = json.loads(args.run)["experiment"]
        needed += ["gatelr.tasks", "gatelr.experiments.protocol", f"gatelr.experiments.{experiment}"]
    return needed


def main() -> int:
    """Do as asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", help="what the run is, a JSON object")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=1, help="of the numeric libraries")
    parser.add_argument("--attempt", type=int, default=1, help="which this is of the same job")
    parser.add_argument("--plans", action="store_true", help="say which runs chapters read")
    args = parser.parse_args()
    if args.threads == fork_server.THREADS:
        fork_server.hand_over(imports(args))
    os.environ.update(environment.variables(args.threads))  # before torch is imported
    warnings.filterwarnings("error", module=r"gatelr(\.|$)")
    if args.plans:
        print(plans())
        return 0
    return make(args.run, args.device, args.attempt)


if __name__ == "__main__":
    sys.exit(main())
