"""What is made of the trainability map: areas, their ratios, and the contrasts between arms that the chapter claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from gatelr.experiments.trainability import BETTER, GAINS, RATES

#: What tells one area from another.
AREA = ["after", "updates", "arm", "lag", "seed"]
#: What tells one row of the map from another.
ROW = [*AREA, "gain"]
#: The columns of the map, by learning rate.
COLUMNS = {rate: f"rate {rate:g}" for rate in RATES}
#: The tables that are compared with ``reference/e6-<name>.csv``, and what tells their rows apart.
TABLES = {"map": ROW, "areas": AREA}
#: The smallest difference of areas that matters.
SMALLEST = 0.05
#: The loss of the best constant, which is the variance of a number that is uniform in (0, 1).
CONSTANT = 1 / 12


class Contrast(NamedTuple):
    """Weighted sums of areas, and what they must exceed.

    Attributes:
        parts: the weights of each arm, by what tells the settings of a lag apart; an empty name where there is but one.
        statement: what is claimed if it is large.
        primary: whether it is a main claim.
    """

    parts: Mapping[str, Mapping[str, float]]
    statement: str
    primary: bool = False


def _gates_less(arm: str) -> dict[str, dict[str, float]]:
    """Each learned gate by itself, less an arm."""
    return {gate: {gate: 1.0, arm: -1.0} for gate in ("scalar", "multi")}


#: Chosen after a pilot, and before these seeds were run. That each learned gate is judged by itself came later.
CONTRASTS: Mapping[str, Contrast] = MappingProxyType(
    {
        "gates-widen": Contrast(
            _gates_less("none"),
            "a network with a learned gate trains on a larger part of the map than a network without a gate, by more "
            "than the smallest difference that matters",
            primary=True,
        ),
        "gates-beyond-slow": Contrast(
            _gates_less("near identity"),
            "a network with a learned gate trains on a larger part of the map than a network without a gate that "
            "starts as slow, by more than the smallest difference that matters",
            primary=True,
        ),
        "norms-explain": Contrast(
            {"": {"none, norms of scalar": 1.0, "none": -0.5, "scalar": -0.5}},
            "given the gradient norms of the scalar gate lag by lag, a network without a gate gains more than half of "
            "what the gate gains",
            primary=True,
        ),
        "learning-the-gate": Contrast(
            _gates_less("constant"),
            "a network with a learned gate trains on a larger part of the map than one with a constant gate, by more "
            "than the smallest difference that matters",
        ),
        "leak-out-of-reach": Contrast(
            {"": {"constant": 1.0, "near identity": -1.0}},
            "a network with a constant gate trains on a larger part of the map than an ungated network with the same "
            "linear start, by more than the smallest difference that matters (asked after three seeds had been seen)",
        ),
        "moving-the-gate": Contrast(
            {"": {"scalar": 1.0, "scalar, frozen": -1.0}},
            "a scalar gate that learns trains on a larger part of the map than one whose weights are frozen, by more "
            "than the smallest difference that matters",
        ),
        "gate-term": Contrast(
            {"": {"scalar": 1.0, "scalar, gate term dropped": -1.0}},
            "leaving the gate term out of the backward pass takes away a part of the map that matters",
        ),
        "beyond-order-0": Contrast(
            {"": {"scalar": 1.0, "scalar, order 0": -1.0}},
            "a backward pass with the leak alone takes away a part of the map that matters",
        ),
        "clipping": Contrast(
            {"": {"none, clipped": 1.0, "none": -1.0}},
            "clipping the gradient of a network without a gate adds a part of the map that matters",
        ),
        "norms-of-none": Contrast(
            {"": {"scalar": 1.0, "scalar, norms of none": -1.0}},
            "given the gradient norms of a network without a gate, the scalar gate loses a part of the map that "
            "matters",
        ),
    }
)


def tables(measured: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """What is compared with the references, from the records of the runs: the map, and its areas."""
    table = ratios(measured["map"])
    return {"map": table, "areas": areas(table)}


def claims(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """As ``gatelr.record.Chapter.claim`` takes them; a lag, and where each is tried a gate, is a setting.

    Args:
        table: from :func:`areas`, after silence.
    """
    for name, claimed in CONTRASTS.items():
        parts = {part: contrast(table, weights) for part, weights in claimed.parts.items()}
        if any(values.empty for values in parts.values()):
            continue  # arms that were not run and are in no reference
        values = pd.concat(parts, names=["gate"]).reorder_levels(["lag", "gate", "seed"])
        values = values.rename("lag {}".format, level="lag")
        yield {
            "name": name,
            "statement": claimed.statement,
            "values": values if len(parts) > 1 else values.droplevel("gate"),
            "about": "robust trainability",
            "threshold": 0.0 if name == "norms-explain" else SMALLEST,
            "smallest": SMALLEST,
            "primary": claimed.primary,
            "note": "area in log gain × log rate; paired seeds; after a pilot",
        }


def ratios(records: pd.DataFrame) -> pd.DataFrame:
    """The map, a row for each gain and a column for each learning rate: the best constant's loss over the network's.

    Args:
        records: ``"map"``, of :func:`gatelr.experiments.runs.load`.
    """
    better = records.assign(ratio=CONSTANT / records.loss, column=records.rate.map(COLUMNS))
    wide = better.pivot(index=ROW, columns="column", values="ratio")[list(COLUMNS.values())]
    return wide.rename_axis(columns=None).reset_index()


def trained(table: pd.DataFrame) -> pd.DataFrame:
    """For each row of the map and each learning rate whether the network is trained, in long form."""
    long = table.melt(ROW, list(COLUMNS.values()), "column", "ratio")
    rates = {name: rate for rate, name in COLUMNS.items()}
    return long.assign(rate=long["column"].map(rates), trained=long.ratio >= BETTER).drop(columns="column")


def areas(table: pd.DataFrame) -> pd.DataFrame:
    """The share of the map in which a network is trained, for each seed of each setting."""
    return trained(table).groupby(AREA, sort=False).trained.mean().rename("area").reset_index()


def on_border(table: pd.DataFrame) -> pd.DataFrame:
    """By arm, how much of each side of the map is trained: an area that reaches a side goes on beyond it."""
    cells = trained(table)
    sides = {
        "smallest gain": cells.gain == min(GAINS),
        "largest gain": cells.gain == max(GAINS),
        "smallest rate": cells.rate == min(RATES),
        "largest rate": cells.rate == max(RATES),
    }
    return pd.DataFrame({side: cells[here].groupby("arm").trained.mean() for side, here in sides.items()})


def contrast(table: pd.DataFrame, weights: Mapping[str, float]) -> pd.Series:
    """A weighted sum of areas, by lag and seed; empty where an arm is missing.

    Args:
        table: from :func:`areas`, after silence or after noise.
        weights: of each arm.
    """
    wide = table.pivot(index=["lag", "seed"], columns="arm", values="area")
    if not set(weights) <= set(wide.columns):
        return pd.Series(dtype=float)
    total: pd.Series = sum((weight * wide[arm] for arm, weight in weights.items()), pd.Series(0.0, wide.index))
    return total.dropna()


class Ratio(NamedTuple):
    """One mean area over another.

    Attributes:
        value: of the means over seeds.
        low: the lower end of its interval.
        high: the upper end.
    """

    value: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        """The ratio and its interval."""
        return f"{self.value:{spec}} ({self.low:{spec}} to {self.high:{spec}})"


def ratio(above: np.ndarray, below: np.ndarray, *, level: float = 0.95, draws: int = 9999) -> Ratio:
    """The ratio of two mean areas with a percentile interval from a bootstrap of paired seeds.

    Args:
        above, below: (S,), areas of the same seeds.
        level, draws: coverage of the interval, and how many times seeds are drawn.

    Returns:
        The ratio; an end is infinite where a draw of seeds leaves nothing below.

    Raises:
        ValueError: for areas that are not of the same seeds, or fewer than two.
    """
    above, below = np.asarray(above, dtype=float), np.asarray(below, dtype=float)
    if above.shape != below.shape or above.ndim != 1 or len(above) < 2:
        raise ValueError(f"got areas of {above.shape} and {below.shape} seeds, expected the same seeds, at least 2")

    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.nan_to_num(above.mean() / below.mean(), nan=1.0, posinf=np.inf)
        seeds = np.random.default_rng(0).integers(len(above), size=(draws, len(above)))
        drawn = np.nan_to_num(above[seeds].mean(1) / below[seeds].mean(1), nan=1.0, posinf=np.inf)
    # no interpolation, since some of the draws may be infinite
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], method="closest_observation")
    return Ratio(float(value), float(low), float(high))


def by_lag(table: pd.DataFrame, below: str = "none") -> pd.DataFrame:
    """For each arm and lag the mean area, and its ratio to the area of another arm, as text.

    Args:
        table: from :func:`areas`, after silence or after noise.
        below: the arm to compare with.
    """
    rows = []
    for (arm, lag), seeds in table.groupby(["arm", "lag"], sort=False):
        other = table[(table.arm == below) & (table.lag == lag)].set_index("seed").area
        area = seeds.set_index("seed").area
        both = area.index.intersection(other.index)
        quotient = ratio(area[both].to_numpy(), other[both].to_numpy()) if len(both) > 1 else None
        rows.append((arm, lag, f"{area.mean():.2f}", "–" if quotient is None else f"{quotient:.2g}"))
    wide = pd.DataFrame(rows, columns=["arm", "lag", "area", f"over {below}"])
    return wide.assign(text=wide.area + "; " + wide[f"over {below}"]).pivot(index="arm", columns="lag", values="text")
