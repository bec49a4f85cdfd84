"""Measure: what ``make bench`` calls.

``GATELR_RELEASED`` names a clone of the code released with the paper, and JAX is used where it is installed; the rows
of what is not here say so.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from . import ceiling, contests, growth, memory, protocols, record, report
from .peers import released
from .timing import QUICK, Effort

Say = Callable[[str], object]


def groups(quick: bool, threads: int, say: Say) -> dict[str, Callable[[], list[dict[str, Any]]]]:
    """What can be measured, by the names that rows have."""
    effort = QUICK if quick else Effort()

    def of(kind: Callable[[bool], Any]) -> Callable[[], list[dict[str, Any]]]:
        def rows() -> list[dict[str, Any]]:
            measured: list[dict[str, Any]] = []
            for contest in kind(quick):
                measured += contests.run(contest, effort)
                say(f"{contest.group}: {' '.join(f'{k}={v}' for k, v in contest.parameters.items())}")
            return measured

        return rows

    return {
        "ceiling": lambda: ceiling.run(quick, effort),
        "training step": of(contests.trainings),
        "per-sample gradients": of(contests.per_sample),
        "Jacobian blocks": of(contests.blocks),
        "sensitivities": of(contests.sensitivities),
        "memory": lambda: memory.run(quick, threads),
        "growth": lambda: growth.run(quick, threads),
        "protocol": lambda: protocols.run(quick, threads, say),
    }


#: What each library is told so that a processor stands for one that has no more than this level.
LEVELS = {
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    }
}


def hold(level: str, arguments: Sequence[str]) -> None:
    """Start anew with instructions up to this level, since libraries look at their environment once.

    Raises:
        ValueError: if this processor has no such level.
    """
    if os.environ.get("ATEN_CPU_CAPABILITY") != level:
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks", *arguments], os.environ | LEVELS[level])
    if (own := torch.backends.cpu.get_cpu_capability().lower()) != level:
        raise ValueError(f"got --level {level}, expected a level of this processor: PyTorch has {own} here")


def use(threads: int) -> None:
    """So many threads, for torch and for JAX, which takes as many as it may have processors."""
    torch.set_num_threads(threads)
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[:threads])


def main(arguments: list[str] | None = None) -> int:
    """Measure, write one file, print the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round: to see that everything runs")
    parser.add_argument("--protocols", action="store_true", help="the two protocols, which take minutes, and no more")
    parser.add_argument("--only", metavar="GROUP", action="append", help="one group; the file's others stay")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--level", choices=LEVELS, help="no wider vectors than these: to stand for another processor")
    parser.add_argument("--out", type=Path, help="by default benchmarks/results/<cpu>-<level>-<threads>-threads.json")
    arguments = sys.argv[1:] if arguments is None else arguments
    asked = parser.parse_args(arguments)
    if asked.level:
        try:
            hold(asked.level, arguments)
        except ValueError as error:
            parser.error(str(error))
    use(asked.threads)
    known = groups(asked.quick, asked.threads, lambda line: print(line, flush=True))
    chosen = asked.only or (["protocol"] if asked.protocols else [name for name in known if name != "protocol"])
    if strangers := [name for name in chosen if name not in known]:
        parser.error(f"there is no group {strangers[0]!r}: it is one of {', '.join(known)}")
    if "GATELR_RELEASED" in os.environ:
        released.script("s1_effective_lr")  # a wrong path should not cost half an hour

    here = record.machine(asked.threads)
    # the numbers of a trial run do not belong beside real ones
    out = asked.out or (Path("_build") / "bench-quick.json" if asked.quick else record.path(here))
    earlier = None if asked.quick and asked.out is None else record.read(out)
    record.merged(earlier, here, asked.quick, [], {})
    rows, measured = [], {}
    for name in chosen:
        begin = time.perf_counter()
        rows += known[name]()
        seconds = time.perf_counter() - begin
        measured[name] = record.provenance(seconds)
        print(f"{name}: done in {seconds:.0f} s", flush=True)
    content = record.merged(earlier, here, asked.quick, rows, measured)
    content["targets"] = report.targets(content["rows"], asked.quick)
    record.write(out, content)
    print(f"\n{report.text(content)}\n\nWritten to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
