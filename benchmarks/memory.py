"""Peak memory of a training step, each peer in a process of its own: memory that one freed would hide another's.

Each says how far its resident set rose above what it was when model, data and optimiser were there: during the first
step, and during a later one.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from .contests import OURS, RATE, SIZES, TINY, TRAINERS, data, network
from .peers import Step

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
S = 20
#: Not of torch.compile: the peak of its first step is the compiler's.
PEERS = tuple(peer for peer in TRAINERS if peer != "torch.compile")
NOTES = {
    "jax, seeds in turn": "one seed at a time is held",
    "nn.GRU": "another model of this size, with one gate more; its seeds come in turn, and one at a time is held",
    "released": "its seeds come in turn, and one at a time is held",
}
NO_PEAK = "this system does not let a process ask for its peak memory, as Linux does"


def run(quick: bool, threads: int) -> list[dict[str, Any]]:
    """A row for each peer; what counts is the higher of its two peaks."""
    sizes = TINY if quick else SIZES
    trajectory = 3 * sizes["T"] * S * sizes["B"] * sizes["n"] * 4
    rows: list[dict[str, Any]] = []
    peaks: dict[str, int] = {}
    parameters = {"gate": "multi", "S": S, **sizes, "dtype": "float32"}
    for peer in PEERS:
        row: dict[str, Any] = {"group": "memory", "peer": peer, "parameters": parameters}
        try:  # a process of its own takes seconds to begin
            ready(peer)
        except (ModuleNotFoundError, FileNotFoundError) as error:
            rows.append(row | {"absent": str(error)})
            continue
        measured = elsewhere(threads, measure, peer, sizes)
        if "absent" in measured:
            rows.append(row | measured)
            continue
        peaks[peer] = max(measured["first_bytes"], measured["later_bytes"])
        row["memory"] = {**measured, "trajectory_bytes": trajectory, "times_trajectory": peaks[peer] / trajectory}
        if peaks.get(OURS):
            row["memory"]["times_ours"] = peaks[peer] / peaks[OURS]
        rows.append(row | ({"note": NOTES[peer]} if peer in NOTES else {}))
    return rows


def elsewhere(threads: int, measure: Callable[..., dict[str, Any]], *asked: Any) -> dict[str, Any]:
    """What a function returns in a process of its own with so many threads, or why it cannot.

    The process is forked from one that has imported what each would import for seconds.
    """
    if not RESET.exists():
        return {"absent": NO_PEAK}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", __name__])
    # An array is taken from the system and given back to it: glibc would keep what one step has freed for the next, so
    # that the peak of a step would depend on what ran before it.
    before = os.environ.copy()
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
    try:
        with ProcessPoolExecutor(1, context) as process:
            process.submit(torch.set_num_threads, threads).result()
            return process.submit(measure, *asked).result()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        return {"absent": str(error)}
    except PermissionError:
        return {"absent": NO_PEAK}
    finally:
        os.environ.clear()
        os.environ.update(before)


def measure(peer: str, sizes: Mapping[str, int]) -> dict[str, int]:
    """Bytes of resident set above the one before the first step.

    Raises:
        ModuleNotFoundError, FileNotFoundError: if the peer is not here.
        PermissionError: if a process may not count its peak anew, as in some containers.
    """
    ready(peer)()  # loads what is loaded late, and makes the threads
    step = TRAINERS[peer](network("multi", sizes, S), *data(sizes, S), RATE)
    before = reset()
    step()
    first = peak() - before
    for _ in range(3):
        step()
    kept = reset() - before
    step()
    return {"first_bytes": first, "later_bytes": peak() - before, "kept_bytes": kept}


def ready(peer: str) -> Step:
    """A tiny step of this peer.

    Raises:
        ModuleNotFoundError, FileNotFoundError: if the peer is not here.
    """
    tiny = {"B": 2, "T": 3, "n": 4, "m": 2}
    return TRAINERS[peer](network("multi", tiny, 2), *data(tiny, 2), RATE)


def reset() -> int:
    """The resident set now, from which a new peak is counted."""
    time.sleep(0.2)  # XLA's threads free what a step needed a moment after its results are there
    RESET.write_text("5")
    return _status("VmRSS")


def peak() -> int:
    """The largest resident set since then."""
    return _status("VmHWM")


def _status(field: str) -> int:
    match = re.search(rf"^{field}:\s+(\d+) kB$", STATUS.read_text(), flags=re.MULTILINE)
    if match is None:
        raise OSError(f"got no {field} from the system, expected one as Linux has it")
    return 1024 * int(match[1])
