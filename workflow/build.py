"""Run the workflow and say how it went: what `make book` calls.

Snakemake decides what runs; this checks what was asked for, keeps two runs from meeting in one folder, and
ends with a summary that a reader can act on.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import address
import environment
import failures
import figure
import fork_server
import integrity
import limits
import lock
import pandas as pd
import parameters
import progress
import psutil
import references
import slurm
import toc

ROOT = Path(__file__).resolve().parents[1]
PROFILES = Path("workflow/profiles")
#: Where jobs may run but here.
ELSEWHERE = {"slurm": slurm.arguments}
PAGE = Path("_build/html/index.html")
PDF = Path("_build/gates-as-learning-rates.pdf")
PAPERS = ("A4", "Letter")
LOG = Path("_build/snakemake.log")
PROGRESS = Path("_build/progress")
#: Seconds for Snakemake to end its jobs, once it is told to; a second Ctrl-C waits no longer.
GRACE = 300


def check(profile: str, device: str, here: bool, study: bool, unlocked: bool) -> None:
    """Refuse before anything runs what could not end well.

    Args:
        profile: as in profiles.yaml.
        device: as a chapter takes it.
        here: whether the chapters run on this machine, so that it must have the device.
        study: whether tables of runs are asked for and no book.
        unlocked: whether other packages will do than those of the lock file.

    Raises:
        parameters.BadInput: with the reason.
    """
    if not unlocked and (changed := environment.changed(Path("requirements.lock"))):
        raise parameters.BadInput(
            f"what is installed is not what requirements.lock says: {', '.join(changed[:5])}"
            f"{' …' if len(changed) > 5 else ''}; `make distclean env` installs it anew, --unlocked takes it as it is"
        )
    chapters = toc.chapters(Path())
    sources = {chapter: Path("notebooks") / f"{chapter}.py" for chapter in chapters}
    if missing := [source for source in sources.values() if not source.is_file()]:
        raise parameters.BadInput(f"_toc.yml names {missing[0].stem}, but there is no {missing[0]}: write it")
    if strangers := sorted({path.stem for path in Path("notebooks").glob("*.py")} - set(chapters)):
        raise parameters.BadInput(f"notebooks/{strangers[0]}.py stands in no part of _toc.yml: add it there")
    profiles = parameters.load(Path("profiles.yaml"), chapters)
    parameters.check_device(device)
    limits.load()
    for each in dict.fromkeys([profile, *profiles]):  # a mistake in another profile is better known today
        for source in sources.values():
            parameters.check(source, parameters.resolve(profiles, each, source, device))
    if study != ("only" in profiles[profile]):
        raise parameters.BadInput(
            f"profile '{profile}' makes a book: use `make book`, or a profile with 'only'"
            if study
            else f"profile '{profile}' makes tables of runs and no book: use `make study`"
        )
    if changed := references.problems():
        raise parameters.BadInput("\n".join(changed))
    address.repository(), address.url()  # refused now, not after the chapters have run
    if device == "cuda" and here:
        import torch

        if not torch.cuda.is_available():
            raise parameters.BadInput(
                "DEVICE=cuda, but PyTorch sees no CUDA device here: use DEVICE=auto, or install a "
                "driver and a build of PyTorch with CUDA"
            )


def summary(status: int, begin: float, made: Path, what: str) -> None:
    """Say what ran, what failed and why, and where the page, or the PDF, is."""
    seconds = time.time() - begin
    if status == 0:
        dates = [path.stat().st_mtime for path in Path("artifacts").glob("*/run.json")]
        ran = sum(date >= begin for date in dates)
        print(f"\nChapters run: {ran}. Unchanged: {len(dates) - ran}. In all {seconds:.0f} s.")
        print(f"The {what}: {made.resolve()}")
        return
    print(f"\n{made.name} was not made; {seconds:.0f} s.", file=sys.stderr)
    if status < 0:
        print(f"Snakemake was killed, by signal {-status}: the next build goes on from there.", file=sys.stderr)
    failed = [*failures.found(), *failures.silent(LOG)]
    for failure in failed:
        where = f", cell {failure['cell']} ({failure['title']})" if failure["cell"] else ""
        print(f"\n  {failure['chapter']}{where}\n    {failure['error']}", file=sys.stderr)
        if failure["notebook"]:
            print(f"    as far as it ran: {failure['notebook']}", file=sys.stderr)
    if "No space left on device" in (said := LOG.read_text(errors="replace")):
        print("\n  no space left on the disk: free some", file=sys.stderr)
    elif not failed:
        print("".join(said.splitlines(keepends=True)[-15:]), file=sys.stderr)
    if made.exists():
        print(f"\n{made} is still that of an earlier run.", file=sys.stderr)


def family(process: int) -> list[psutil.Process]:
    """A process and those that it began, as far as Ctrl-C would reach them: kernels have a group of their own."""
    try:
        head = psutil.Process(process)
        return [each for each in [head, *head.children(recursive=True)] if os.getpgid(each.pid) == os.getpgrp()]
    except (psutil.NoSuchProcess, ProcessLookupError):
        return []


def snakemake(command: list[str], held: lock.Lock, forking: bool) -> int:
    """Run it to its end; its exit status, or 130 if it was stopped by hand or by a signal.

    Args:
        command, held: what to run, and the lock that it holds too.
        forking: whether its jobs are forked from a process that has imported what they need.
    """
    variables = environment.variables(fork_server.THREADS)
    with LOG.open("w") as log, fork_server.started(variables, log, forking) as server:
        process = subprocess.Popen(command, stderr=log, pass_fds=[held.fileno(), *server])
        held.name(process.pid)
        try:
            return process.wait()
        except KeyboardInterrupt:
            # Ctrl-C reaches all of them; a signal to us alone does not, and Snakemake waits for its jobs to end.
            for each in family(process.pid):
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.send_signal(signal.SIGINT)
            try:
                process.wait(GRACE)
            except (KeyboardInterrupt, subprocess.TimeoutExpired):
                process.kill()
                process.wait()
            return 130


def build(args: argparse.Namespace, more: list[str], held: lock.Lock) -> int:
    """Run Snakemake, holding the lock, and report; its exit status."""
    failures.clear()
    for sentence in integrity.mend(toc.chapters(Path())):
        print(sentence, flush=True)
    begin = time.time()
    command = [sys.executable, "-m", "snakemake", "--cores", args.cores]
    command += ["--workflow-profile", str(PROFILES / "default")]
    if args.on:
        command += ["--profile", str(PROFILES / args.on), *ELSEWHERE[args.on]()]
        os.environ[progress.VARIABLE] = str(PROGRESS.resolve())
    command += [*more, "--config", f"profile={args.profile}", f"device={args.device}"]
    made, what, before = PAGE, "book", None
    if args.pdf:
        made = PDF
        command += [f"paper={args.pdf}", "--", "pdf"]
    if args.study:
        made, what = Path("artifacts/studies") / args.profile / "run.csv", "tables"
        command += ["--", "study"]
    if args.figure is not None:
        data = figure.data(args.figure)
        made, what = data.with_suffix(".svg"), "figure"
        before = pd.read_csv(data) if data.exists() else None
        results = str(data.parents[1] / "results.json")
        command += ["--forcerun", results, "--", results]
    with progress.followed(PROGRESS) if args.on else contextlib.nullcontext():
        # a device that was looked for before a fork is none after it
        forking = not _elsewhere(args, more) and (args.device == "cpu" or not Path("/dev/nvidiactl").exists())
        status = snakemake(command, held, forking)
    if status == 130:
        print("\nStopped. What was done is kept, and the next `make book` goes on from there.", file=sys.stderr)
        for failure in failures.found():
            if failure["cell"]:
                print(f"  {failure['chapter']} was in cell {failure['cell']} ({failure['title']})", file=sys.stderr)
        return status
    summary(status, begin, made, what)
    if args.figure is not None and status == 0:
        print(f"Figure {data.stem} of {data.parents[1].name}: {figure.distance(before, pd.read_csv(data))}.")
    return abs(status)


def _elsewhere(args: argparse.Namespace, more: list[str]) -> bool:
    return bool(args.on) or "--executor" in more


def stop(*_: object) -> None:
    """What a signal to end does: the same as Ctrl-C."""
    raise KeyboardInterrupt


def main() -> int:
    """Check, run, report; the exit status is Snakemake's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="ci")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--cores", default=str(os.cpu_count()))
    parser.add_argument("--on", default="", help=f"where jobs run, if not here: {', '.join(ELSEWHERE)}")
    parser.add_argument("--figure", help="make this figure again, and say how far its numbers are from those before")
    parser.add_argument("--pdf", choices=PAPERS, help="bind the book into one PDF, on paper of this size")
    parser.add_argument("--study", action="store_true", help="make the tables of a profile with 'only', and no book")
    parser.add_argument("--unlocked", action="store_true", help="go on with packages that requirements.lock has not")
    args, more = parser.parse_known_args()
    os.chdir(ROOT)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)  # which who starts us in the background has ignored, here and in our children

    try:
        check(args.profile, args.device, here=not _elsewhere(args, more), study=args.study, unlocked=args.unlocked)
        if args.figure is not None:
            figure.chapter(args.figure)
        if args.on and args.on not in ELSEWHERE:
            raise parameters.BadInput(f"unknown place '{args.on}': ON is one of {', '.join(ELSEWHERE)}, or nothing")
        if not args.cores.isdecimal() or int(args.cores) < 1:
            raise parameters.BadInput(f"got CORES={args.cores}, expected a whole number of at least 1")
        with lock.held(Path("_build/.lock")) as held:
            return build(args, more, held)
    except parameters.BadInput as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in failures.ADVICE:
            raise
        print(failures.ADVICE[error.errno].format(error.filename or "a file"), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
