"""How far the same networks come apart on other arithmetic; how far a build may be from the reference follows from it.

    python workflow/spread.py                            # of every chapter with runs
    python workflow/spread.py joint-anisotropy real-data # of these, and keep what the table has of the others

The networks that `ci` trains are trained to the last step again, with wider and with narrower vectors
(ATEN_CPU_CAPABILITY). A few of them are also trained without vectors, with two threads, and without the compiled
kernel, where a network takes minutes. What comes out is compared number by number. `reference/spread.csv` gets the
largest difference for each table, column, setting and training step. Runs are kept in `_build/spread`, so that what was
killed goes on.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import environment
import parameters
import toc

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "lib"))  # this checkout's library, even when another is installed

if TYPE_CHECKING:
    import pandas as pd
    from gatelr.experiments.runs import Run

#: Where the runs go, and the table.
FOLDER, TABLE = ROOT / "_build" / "spread", ROOT / "reference" / "spread.csv"

#: Networks that train side by side in a cell.
SEEDS = 2

#: The cells of each experiment that are trained in every way, by some of the labels of their runs: a tame one first,
#: one under Adam and those that swing, where there are such. The first alone is trained without the kernel.
CELLS: dict[str, list[dict[str, Any]]] = {
    "effective-rate-profiles": [
        {"setting": "adding", "gate": "multi"},
        {"setting": "adding, 30 steps, Adam", "gate": "scalar"},
        {"setting": "short, SGD at 0.05", "gate": "constant"},
        {"setting": "recall", "gate": "constant"},
    ],
    "joint-anisotropy": [
        {"task": "adding", "gate": "multi", "optimiser": "Adam"},
        {"task": "narma10", "gate": "scalar", "optimiser": "SGD"},
        {"task": "narma10", "gate": "none", "optimiser": "Adam"},
        {"task": "ar2", "gate": "none", "optimiser": "Adam"},
    ],
    "alignment": [
        {"task": "adding", "optimiser": "Adam"},
        {"task": "adding", "gate": "scalar", "optimiser": "SGD"},
        {"task": "moving_average", "optimiser": "SGD"},
        {"task": "moving_average", "gate": "none", "optimiser": "Adam"},
        {"task": "digits", "gate": "multi", "optimiser": "SGD"},
        {"task": "digits", "gate": "scalar", "optimiser": "Adam"},
    ],
    "gate-corrections": [
        {"task": "moving average", "gate": "scalar", "search": False},
        {"task": "adding, 50", "gate": "multi", "search": False},
    ],
    "gates-against-optimisers": [
        {"task": "adding", "gate": "multi", "optimiser": "SGD", "search": False},
        {"task": "moving_average", "gate": "none", "optimiser": "Adam", "search": False},
        {"task": "moving_average", "gate": "scalar", "optimiser": "SGD", "search": False},
    ],
    "real-data": [
        {"data": "digits", "model": "GRU"},
        {"data": "mnist1d", "model": "LSTM"},
        {"data": "co2", "model": "multi"},
    ],
    "stability": [
        {"arm": "none", "lag": 10, "after": "silence"},
        {"lag": 10, "after": "silence"},  # of every arm, since a single network near the border moves an area
        {"arm": "scalar", "lag": 20, "after": "silence"},
    ],
}

#: The tables that a chapter computes itself, without runs: two identities, trained step by step.
COMPUTED = ("e4-ladder", "e4-momentum")


class Arithmetic(NamedTuple):
    """One way in which the same numbers are computed."""

    level: str  #: which vectors PyTorch uses, as in ATEN_CPU_CAPABILITY
    threads: int  #: of the numeric libraries
    kernel: str  #: the compiled one or plain PyTorch

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.level}, {self.threads} thread{'s' * (self.threads > 1)}, {self.kernel} kernel"

    @property
    def folder(self) -> Path:
        """Where its runs lie."""
        return FOLDER / f"{self.level}-{self.threads}-{self.kernel}"


def arithmetics() -> list[Arithmetic]:
    """Every width of vectors that the processor has; the widest also without kernel, and with two threads."""
    import torch

    levels = ["default"]
    if platform.machine() in ("x86_64", "AMD64"):
        levels += ["avx2", "avx512"]
    best = torch.backends.cpu.get_cpu_capability().lower()
    known = levels[: levels.index(best) + 1] if best in levels else levels[:1]
    chosen = [Arithmetic(level, 1, "compiled") for level in reversed(known)]
    return [*chosen, Arithmetic(known[-1], 1, "plain"), Arithmetic(known[-1], 2, "compiled")]


#: The ways in which all runs of ``ci`` are made.
WHOLE = (Arithmetic("avx512", 1, "compiled"), Arithmetic("avx2", 1, "compiled"))


def plan(chapter: str, profile: str, **other: Any) -> list[Run]:
    """The runs that a chapter reads in a profile, with some parameters set otherwise."""
    from gatelr.experiments import plans

    source, profiles = Path("notebooks") / f"{chapter}.py", parameters.load(Path("profiles.yaml"), toc.chapters())
    asked = parameters.declared(source) | parameters.resolve(profiles, profile, source, "cpu") | other
    return plans.plan(chapter, asked | {"block": 0})


def cells(chapter: str, way: Arithmetic | None = None) -> list[Run]:
    """The runs of a chapter's cells, with fewer seeds than in ``paper``; where vectors differ, also all of ``ci``."""
    wanted = CELLS[chapter][: 1 if way is not None and way.kernel == "plain" else None]
    whole = plan(chapter, "paper", seeds=SEEDS)
    chosen = [run for run in whole if any(cell.items() <= run.labels.items() for cell in wanted)]
    if way is not None and way in WHOLE:
        chosen += [run for run in plan(chapter, "ci") if run not in chosen]
    return chosen


def computed(chapter: str) -> dict[str, pd.DataFrame]:
    """Those of :data:`COMPUTED` that belong to a chapter."""
    from gatelr.experiments import identities

    if chapter != "gates-against-optimisers":
        return {}
    steps = parameters.declared(Path("notebooks") / f"{chapter}.py")["identity_steps"]
    ladder, parted = identities.ladder(SEEDS, steps, "cpu")[0], identities.momentum(SEEDS, 2 * steps, "cpu")[0]
    return dict(zip(COMPUTED, (ladder, parted), strict=True))


class Compared(NamedTuple):
    """What a chapter compares with its references."""

    keys: dict[str, Sequence[str]]  #: by table, the columns that say which row is which
    make: Callable[[Any], Mapping[str, pd.DataFrame]]  #: the tables from records of runs, without the experiment's name


def compared(chapter: str) -> Compared:
    """What a chapter compares."""
    from gatelr.experiments import (
        against_optimisers_claims,
        alignment,
        effective_rates,
        gate_corrections_claims,
        joint_anisotropy,
        real_data_claims,
        trainability_claims,
    )

    def named(experiment: str, keys: Mapping[str, Sequence[str]], make: Callable[..., Any]) -> Compared:
        return Compared({f"{experiment}-{name}": columns for name, columns in keys.items()}, make)

    corrections = {name: columns for name, columns in gate_corrections_claims.KEYS.items() if name != "grid"}
    profiles, anisotropy = ("training", "fits", "profiles"), joint_anisotropy
    against = dict.fromkeys(("training", "steps", "lags"), against_optimisers_claims.KEYS)
    against |= {"arms": against_optimisers_claims.ARM_KEYS}
    against |= {"ladder": ["rung", "seed", "step"], "momentum": ["cause", "place", "seed"]}
    by_chapter = {
        "effective-rate-profiles": named("e1", dict.fromkeys(profiles, effective_rates.KEYS), effective_rates.tables),
        "joint-anisotropy": named("e2", {"anisotropy": anisotropy.KEYS}, lambda r: {"anisotropy": anisotropy.table(r)}),
        "alignment": named("e7", {"alignment": alignment.KEYS}, lambda r: {"alignment": alignment.table(r)}),
        "gate-corrections": named("e3", corrections, gate_corrections_claims.tables),
        "gates-against-optimisers": named("e4", against, against_optimisers_claims.tables),
        "real-data": named("e5", real_data_claims.TABLES, real_data_claims.tables),
        "stability": named("e6", trainability_claims.TABLES, trainability_claims.tables),
    }
    return by_chapter[chapter]


def keys(chapter: str) -> dict[str, Sequence[str]]:
    """The tables that a chapter compares with its references, each with the columns that say which row is which."""
    return compared(chapter).keys


def tables(chapter: str, measured: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The same tables, from the records of runs."""
    by_name = {name.partition("-")[2]: name for name in keys(chapter)}
    return {by_name[name]: rows for name, rows in compared(chapter).make(measured).items() if name in by_name}


def planned(chapter: str, rows: pd.DataFrame) -> pd.Series:
    """Which rows of a chapter's reference its profile ``ci`` trains again."""
    import pandas as pd

    found = pd.Series(False, rows.index)
    for run in plan(chapter, "ci"):
        own = rows.seed.isin(run.seeds)
        for name, value in run.labels.items():
            own &= (rows[name] == value) if name in rows else True
        if "step" in rows and "checkpoints" in run.settings:
            own &= rows.step.isin(run.settings["checkpoints"])
        found |= own
    return found


def make(chapter: str, way: Arithmetic) -> None:
    """Make the runs of all cells in this process, whose environment has them computed that way, and computed tables."""
    from gatelr.experiments import runs

    for run in cells(chapter, way):
        if not runs.fresh(run, way.folder):
            runs.make(run, folder=way.folder)
    for name, rows in computed(chapter).items():
        rows.to_pickle(way.folder / f"{name}.pickle")


def elsewhere(chapter: str, way: Arithmetic) -> None:
    """The same in a process of its own, since PyTorch looks at its environment once, when it starts.

    Raises:
        subprocess.CalledProcessError: if it fails.
    """
    asked = {"ATEN_CPU_CAPABILITY": way.level, "GATELR_KERNEL": way.kernel}
    command = [sys.executable, __file__, chapter, "--way", *map(str, way)]
    subprocess.run(command, check=True, cwd=ROOT, env=os.environ | environment.variables(way.threads) | asked)


def differences(parts: Sequence[pd.DataFrame], keys: Sequence[str]) -> pd.DataFrame:
    """The largest difference of each column, by setting and training step, between tables of the same networks.

    Args:
        parts: the tables; the first has all rows, another may have some of them.
        keys: what says which row is which.

    Returns:
        ``column``, ``setting``, ``step``, ``kind``, ``difference`` and ``seeds``, how far two seeds lie apart. A
        column of positive numbers that spans more than a factor of ten is compared relative to its size, and any other
        as it is. A number that is missing in some tables and not in all is infinitely far off.
    """
    import numpy as np
    import pandas as pd
    from gatelr.record import reference

    whole = parts[0].sort_values(list(keys)).reset_index(drop=True)
    aligned = [whole]
    for part in parts[1:]:
        own = whole.reset_index()[["index", *keys]].merge(part, on=list(keys))
        if len(own) != len(part):
            raise ValueError(f"got tables with other {', '.join(keys)}, expected the same networks in all")
        other = whole.copy()
        other.loc[own["index"], list(part.columns)] = own[list(part.columns)].set_index(own["index"])
        aligned.append(other)
    steps, rows = reference.when(aligned[0]).rename("step"), []
    settings = reference.settings(aligned[0], keys).rename("setting")
    cell = aligned[0].groupby([key for key in keys if key != "seed"], sort=False).ngroup()
    for column in reference.numbers(aligned[0], keys):
        values = np.stack([part[column].to_numpy(dtype=float) for part in aligned])
        known = values[np.isfinite(values)]
        relative = bool(known.size and known.min() > 0 and known.max() > 10 * known.min())
        with np.errstate(invalid="ignore"):
            apart = values.max(0) - values.min(0)
            apart = apart / np.abs(values).min(0) if relative else apart
            least, most = (pd.Series(values[0]).groupby(cell).transform(what) for what in ("min", "max"))
            seeds = (most - least) / (least if relative else 1.0)
        same = (values == values[0]).all(0) | np.isnan(values).all(0)
        apart = np.where(same, 0.0, np.nan_to_num(apart, nan=np.inf))
        largest = pd.Series(apart).groupby([settings, steps]).max()
        kind, between = "relative" if relative else "absolute", seeds.groupby([settings, steps]).median().fillna(np.inf)
        found = pd.DataFrame({"difference": largest, "seeds": between}).reset_index()
        rows.append(
            found.assign(column=column, kind=kind)[["column", "setting", "step", "kind", "difference", "seeds"]]
        )
    return pd.concat(rows, ignore_index=True)


def measure(chapter: str, ways: Sequence[Arithmetic]) -> pd.DataFrame:
    """The table of largest differences of a chapter."""
    import pandas as pd
    from gatelr.experiments import runs

    prefix = next(iter(keys(chapter))).partition("-")[0]
    for way in ways:
        elsewhere(chapter, way)
        print(f"{chapter}  {way.name}", flush=True)
    made = [
        tables(chapter, runs.load(cells(chapter, way), folder=way.folder, progress=False))
        | {path.stem: pd.read_pickle(path) for path in sorted(way.folder.glob(f"{prefix}-*.pickle"))}
        for way in ways
    ]
    parts = []
    for name in made[0]:
        found = differences([each[name] for each in made], keys(chapter)[name])
        parts.append(found.assign(table=name)[["table", *found.columns]])
    return pd.concat(parts, ignore_index=True)


def write(found: pd.DataFrame, path: Path = TABLE) -> None:
    """Put the rows of some tables in the place of those that are there; tables stand by name."""
    import pandas as pd

    if path.exists():
        kept = pd.read_csv(path)
        found = pd.concat([kept[~kept.table.isin(found.table)], found], ignore_index=True)
    found = found.sort_values("table", kind="stable")
    rounded = {name: found[name].map("{:.2g}".format) for name in ("difference", "seeds") if name in found}
    path.write_text(found.assign(**rounded).to_csv(index=False, float_format="%g"))


def main() -> int:
    """Do as asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapters", nargs="*", metavar="chapter", help=", ".join(CELLS))
    parser.add_argument("--way", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if unknown := set(args.chapters) - set(CELLS):
        parser.error(f"got {', '.join(sorted(unknown))}, expected some of {', '.join(CELLS)}")
    os.chdir(ROOT)
    for chapter in args.chapters or CELLS:
        if args.way:
            level, threads, kernel = args.way
            make(chapter, Arithmetic(level, int(threads), kernel))
        else:
            write(measure(chapter, arithmetics()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
