"""Runs: one experiment on one task with one gate, one optimiser and a block of seeds, each kept as one file of tables.

An experiment is a module of this room with two functions: ``plan(parameters)`` says which runs a chapter's parameters
ask for, and ``measure(setup, …)`` makes one. The workflow makes them side by side, before the chapter; a
chapter that is opened alone makes by the same code what it finds missing.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatelr import files
from gatelr.experiments import fingerprint

if TYPE_CHECKING:
    import pandas as pd

#: Where files of runs lie, seen from a chapter.
FOLDER = "../artifacts/runs"

#: Results by the name of their records, each a table with a row for each record, seed and step among its columns.
Tables = dict[str, "pd.DataFrame"]


@dataclass(frozen=True)
class Run:
    """One run, before it is made."""

    experiment: str  #: a module of this room
    task: str  #: the name of a task
    gate: str  #: of the networks
    optimiser: str  #: which trains them
    seeds: tuple[int, ...]  #: one network for each
    #: of ``Setup`` and ``measure`` by name, and ``task_options`` for :func:`gatelr.tasks.get`; what JSON can hold
    settings: Mapping[str, Any] = field(default_factory=dict)
    #: columns that tell a chapter which run a row is of; they do not make another run of it
    labels: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides its numbers but the code, as JSON holds it."""
        names = ("experiment", "task", "gate", "optimiser", "seeds", "settings")
        return dict(json.loads(json.dumps({name: getattr(self, name) for name in names}, sort_keys=True)))

    @property
    def name(self) -> str:
        """Readable, and another one for any other run."""
        short = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:10]
        words = [self.task, self.gate, self.optimiser, f"seeds-{self.seeds[0]}-{self.seeds[-1]}", short]
        return re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(words))

    def path(self, folder: str | Path) -> Path:
        """Its file."""
        return Path(folder) / self.experiment / f"{self.name}.json"


def split(plan: Iterable[Run], block: int = 0) -> list[Run]:
    """The same runs in blocks of so many seeds; 0 leaves all seeds of a run together.

    A network alone takes another way through BLAS than networks side by side, and so rounds otherwise: a last block of
    one joins the block before it.

    Raises:
        ValueError: for a block of one, or a negative one.
    """
    if block < 0 or block == 1:
        raise ValueError(f"got a block of {block} seeds, expected 0 for all together, or at least 2")
    parts = []
    for run in plan:
        starts = list(range(0, len(run.seeds), block or len(run.seeds)))
        if len(starts) > 1 and starts[-1] == len(run.seeds) - 1:
            starts.pop()
        for start, end in zip(starts, [*starts[1:], len(run.seeds)], strict=True):
            parts.append(replace(run, seeds=run.seeds[start:end]))
    return parts


def load(
    plan: Iterable[Run],
    *,
    block: int = 0,
    folder: str | Path = FOLDER,
    device: object = "cpu",
    progress: bool = True,
) -> Tables:
    """The tables of all runs, read where this code has made them before and made where not.

    Args:
        plan: the runs.
        block: seeds of one file, 0 for all of a run; it decides where numbers lie and not what they are.
        folder, device: where the files lie, which can be deleted at any time, and where to compute what is missing.
        progress: whether to show a bar over the runs that are missing, with the time that is left.

    Returns:
        By the name of the records, the rows of all runs with the columns of their labels: in the order of the plan,
        then of steps, then of seeds. ``"run"`` has for each seed the step at which it diverged (-1: not) and how many
        sequences were redrawn, and ``"cost"`` for each run seconds, CPU seconds and the machine.
    """
    from gatelr.training import progress_bar

    whole = list(plan)
    # two runs of a plan may differ in their labels alone
    missing = list({run.path(folder): run for run in split(whole, block) if not fresh(run, folder, device)}.values())
    if missing:
        with progress_bar(progress, total=len(missing), unit="run", desc="runs that are not on disk yet") as bar:
            for run in missing:
                make(run, folder=folder, device=device)
                if bar is not None:
                    bar.update()
    parts: dict[str, list[pd.DataFrame]] = {}
    for run in whole:
        tables = _joined([_read(part.path(folder)) for part in split([run], block)], run.seeds)
        for name, table in tables.items():
            parts.setdefault(name, []).append(table.assign(**run.labels))
    return {name: _stacked(part) for name, part in parts.items()}


def fresh(run: Run, folder: str | Path, device: object = "cpu") -> bool:
    """Whether its file is there, whole, made by the code that there is now, on the same kind of device."""
    content = kept(run.path(folder)) or {}
    made = (content.get("code"), content.get("torch"), content.get("device"), content.get("run"))
    return made == (code(run.experiment), torch_version(), str(device), run.identity)


def kept(path: Path) -> dict[str, Any] | None:
    """What the file of a run holds; None where it is not there, or is not as it was written."""
    try:
        content = dict(json.loads(path.read_text()))
        digest = content.pop("digest")
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return content if digest == _digest(content) else None


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def code(experiment: str) -> str:
    """A fingerprint of the code that makes an experiment's numbers."""
    return fingerprint.code([f"gatelr.experiments.{experiment}", __name__])


def torch_version() -> str:
    """Of the torch that is installed, which need not be imported for that."""
    from importlib.metadata import version

    return version("torch")


def make(run: Run, *, folder: str | Path = FOLDER, device: object = "cpu", progress: bool | None = False) -> Path:
    """Make one run and write its file; where it was killed before, go on from there.

    Args:
        run, folder, device: which, where its file goes, and where to compute.
        progress: whether to show a bar over its steps.

    Returns:
        The file.

    Raises:
        ModuleNotFoundError: if there is no such experiment.
        OSError: if the file cannot be written.
    """
    from gatelr import tasks
    from gatelr.experiments import protocol

    measure = import_module(f"gatelr.experiments.{run.experiment}").measure
    path, made_by = run.path(folder), code(run.experiment)
    # named after the code too: what other code has begun is begun again
    save = path.with_name(f"{run.name}-{made_by}.checkpoint")
    wall, cpu = time.perf_counter(), time.process_time()
    options = dict(run.settings)
    task = tasks.get(run.task, **options.pop("task_options", {}))
    shared: dict[str, Any] = {"device": str(device), "save": save, "progress": progress}
    shared |= {name: options.pop(name) for name in ("steps", "checkpoints", "rate") if name in options}
    done = measure(protocol.Setup(task, run.gate, run.optimiser, run.seeds, **shared), **options)
    rows: dict[str, list[dict[str, Any]]] = {}
    for step, probe in done.probes.items():
        for name, records in probe.items():
            rows.setdefault(name, []).extend({"step": step} | record for record in records)
    seeds = zip(run.seeds, done.diverged.tolist(), done.redrawn.tolist(), strict=True)
    rows["run"] = [{"seed": seed, "diverged": step, "redrawn": redrawn} for seed, step, redrawn in seeds]
    spent = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    rows["cost"] = [spent | {"machine": machine()}]
    content = {
        "run": run.identity,
        "code": made_by,
        "torch": torch_version(),
        "device": str(device),
        "tables": {name: _columns(records) for name, records in rows.items()},
    }
    files.write(path, json.dumps({"digest": _digest(content), **content}, allow_nan=False) + "\n")
    for left in path.parent.glob(f"{run.name}-*.checkpoint"):
        left.unlink(missing_ok=True)
    return path


def machine() -> str:
    """The processor and the number of threads, in words."""
    import torch

    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        processor = names[0] if names else processor
    return f"{processor}, {torch.get_num_threads()} of {os.cpu_count()} cores"


def _columns(records: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Records as columns; a number that is missing or NaN is null, and infinity a word, which JSON can hold."""

    def plain(value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            return None if math.isnan(value) else str(value)
        return value

    names = dict.fromkeys(name for record in records for name in record)
    return {name: [plain(record.get(name)) for record in records] for name in names}


def _read(path: Path) -> Tables:
    import pandas as pd

    tables = json.loads(path.read_text())["tables"]
    return {
        name: pd.DataFrame({column: _values(values) for column, values in table.items()})
        for name, table in tables.items()
    }


def _values(column: list[Any]) -> list[Any]:
    numbers = all(value is None or isinstance(value, int | float) or value in ("inf", "-inf") for value in column)
    if numbers and any(value is None or isinstance(value, str | float) for value in column):
        return [math.nan if value is None else float(value) for value in column]
    return column


def _stacked(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """All rows; a table without any, as of networks that diverged, has no say in the kind of numbers of a column."""
    import pandas as pd

    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def _joined(blocks: list[Tables], seeds: tuple[int, ...]) -> Tables:
    """The tables of a run from those of its blocks of seeds, rows in the order of steps and then of seeds."""
    place = {seed: i for i, seed in enumerate(seeds)}
    joined: Tables = {}
    for name in dict.fromkeys(name for block in blocks for name in block):
        table = _stacked([block[name] for block in blocks if name in block])
        if name == "cost":
            table = table.iloc[:1].assign(seconds=table.seconds.sum(), cpu_seconds=table.cpu_seconds.sum())
        elif keys := [key for key in ("step", "seed") if key in table]:
            table = table.sort_values(keys, key=lambda c: c.map(place) if c.name == "seed" else c, kind="stable")
        joined[name] = table.reset_index(drop=True)
    return joined
