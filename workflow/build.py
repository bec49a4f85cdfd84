"""Run the workflow and say how it went: what `make book` calls.

Snakemake decides what runs; this checks what was asked for, keeps two runs from meeting in one folder, and
ends with a summary that a reader can act on.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import address
import failures
import figure
import pandas as pd
import parameters
import toc

ROOT = Path(__file__).resolve().parents[1]
PROFILE = "workflow/profiles/default"
PAGE = Path("_build/html/index.html")
PDF = Path("_build/gates-as-learning-rates.pdf")
PAPERS = ("A4", "Letter")
LOG = Path("_build/snakemake.log")
#: What is made, in a word, and the file of it that a reader opens.
SHOWN = {".html": ("book", ".html"), ".pdf": ("book", ".pdf"), ".csv": ("figure", ".svg")}


def check(profile: str, device: str, here: bool) -> None:
    """Refuse before anything runs what could not end well.

    Args:
        profile: as in profiles.yaml.
        device: as a chapter takes it.
        here: whether the chapters run on this machine, so that it must have the device.

    Raises:
        parameters.BadInput: with the reason.
    """
    chapters = toc.chapters(Path())
    sources = {chapter: Path("notebooks") / f"{chapter}.py" for chapter in chapters}
    if missing := [source for source in sources.values() if not source.is_file()]:
        raise parameters.BadInput(f"_toc.yml names {missing[0].stem}, but there is no {missing[0]}: write it")
    if strangers := sorted({path.stem for path in Path("notebooks").glob("*.py")} - set(chapters)):
        raise parameters.BadInput(f"notebooks/{strangers[0]}.py stands in no part of _toc.yml: add it there")
    profiles = parameters.load(Path("profiles.yaml"), chapters)
    parameters.check_device(device)
    for each in dict.fromkeys([profile, *profiles]):  # a mistake in another profile is better known today
        for source in sources.values():
            parameters.check(source, parameters.resolve(profiles, each, source, device))
    address.repository(), address.url()  # refused now, not after the chapters have run
    if device == "cuda" and here:
        import torch

        if not torch.cuda.is_available():
            raise parameters.BadInput(
                "DEVICE=cuda, but PyTorch sees no CUDA device here: use DEVICE=auto, or install a "
                "driver and a build of PyTorch with CUDA"
            )


def summary(status: int, begin: float, made: Path) -> None:
    """Say what ran, what failed and why, and where the page, or the PDF, is."""
    records = [json.loads(p.read_text()) | {"made": p.stat().st_mtime} for p in Path("artifacts").glob("*/run.json")]
    ran = sum(record["made"] >= begin for record in records)
    seconds = time.time() - begin
    if status == 0:
        print(f"\nChapters run: {ran}. Unchanged: {len(records) - ran}. In all {seconds:.0f} s.")
        what, suffix = SHOWN[made.suffix]
        print(f"The {what}: {made.with_suffix(suffix).resolve()}")
        return
    failed = failures.found()
    print(f"\n{made.name} was not made; {seconds:.0f} s.", file=sys.stderr)
    for failure in failed:
        where = f", cell {failure['cell']} ({failure['title']})" if failure["cell"] else ""
        print(f"\n  {failure['chapter']}{where}\n    {failure['error']}", file=sys.stderr)
        if failure["notebook"]:
            print(f"    as far as it ran: {failure['notebook']}", file=sys.stderr)
    if not failed:
        print("".join(LOG.read_text().splitlines(keepends=True)[-15:]), file=sys.stderr)
    if made.exists():
        print(f"\n{made} is still that of an earlier run.", file=sys.stderr)


def locked(lock: int, patience: float = 2.0) -> bool:
    """Take the lock, waiting a moment for a run that has just been killed to be gone; whether it was had."""
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.1)


def build(args: argparse.Namespace, more: list[str], lock: int) -> int:
    """Run Snakemake, holding the lock, and report; its exit status."""
    failures.clear()
    begin = time.time()
    command = [sys.executable, "-m", "snakemake", "--cores", args.cores, "--workflow-profile", PROFILE, *more]
    command += ["--config", f"profile={args.profile}", f"device={args.device}"]
    made, before = PAGE, None
    if args.pdf:
        made = PDF
        command += [f"paper={args.pdf}", "--", "pdf"]
    if args.figure is not None:
        made = figure.data(args.figure)
        before = pd.read_csv(made) if made.exists() else None
        results = str(made.parents[1] / "results.json")
        command += ["--forcerun", results, "--", results]
    with LOG.open("w") as log:
        try:
            status = subprocess.run(command, stderr=log, pass_fds=[lock], check=False).returncode
        except KeyboardInterrupt:
            print("\nStopped. What was done is kept, and the next `make book` goes on from there.", file=sys.stderr)
            return 130
    summary(status, begin, made)
    if args.figure is not None and status == 0:
        print(f"Figure {made.stem} of {made.parents[1].name}: {figure.distance(before, pd.read_csv(made))}.")
    return status


def main() -> int:
    """Check, run, report; the exit status is Snakemake's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="ci")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--cores", default=str(os.cpu_count()))
    parser.add_argument("--figure", help="make this figure again, and say how far its numbers are from those before")
    parser.add_argument("--pdf", choices=PAPERS, help="bind the book into one PDF, on paper of this size")
    args, more = parser.parse_known_args()
    os.chdir(ROOT)

    try:
        check(args.profile, args.device, here="--executor" not in more)
        if args.figure is not None:
            figure.chapter(args.figure)
        if not args.cores.isdecimal() or int(args.cores) < 1:
            raise parameters.BadInput(f"got CORES={args.cores}, expected a whole number of at least 1")
    except parameters.BadInput as error:
        print(error, file=sys.stderr)
        return 2

    LOG.parent.mkdir(exist_ok=True)
    # The system takes the lock back when its holders die, however they die; Snakemake, which may outlive us, is one.
    with open("_build/.lock", "w") as lock:
        if not locked(lock.fileno()):
            print("another `make book` is at work in this folder: wait for it to end, or stop it", file=sys.stderr)
            return 2
        return build(args, more, lock.fileno())


if __name__ == "__main__":
    sys.exit(main())
