"""What is claimed of effective rates on real data: apart from the experiment, so that a new word runs nothing again.

A network gives one number for each measure: how well a profile over lags agrees with the profile of what masking takes
away. A setting is a data set and a model; seeds are its replicates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from gatelr.experiments.real_data import GATED

#: What tells one network at one checkpoint from another.
KEYS = ["data", "model", "seed", "step"]

#: What is compared with the profile of masking.
PROFILES = ("rate", "read rate", "even", "start", "gradient", "sensitivity", "linear")

#: The score that counts as useful, by data set. It is the share of classes named correctly, of which guessing gets a
#: tenth, and for numbers how many times smaller the squared error is than that of the best constant. It was chosen
#: after a pilot with the seeds 901 and 902, and all that is claimed below before any network was trained.
USEFUL: Mapping[str, float] = MappingProxyType({"digits": 0.6, "mnist1d": 0.4, "co2": 5.0})

#: Decimals of a loss that count, in nats or in squared errors. What masking changes by less is nothing, and a tie.
DECIMALS = 5

#: The smallest rank correlation, and the smallest difference of correlations or overlaps, that matter.
SMALLEST, SMALLEST_DIFFERENCE = 0.3, 0.1

#: The tables that are compared with ``reference/e5-<name>.csv``, and what tells their rows apart.
TABLES: Mapping[str, Sequence[str]] = MappingProxyType(
    {"agreement": KEYS, "lags": [*KEYS, "bin", "from", "to"], "memory": KEYS}
)


class Claim(NamedTuple):
    """A difference of two measures of agreement, and what it must exceed.

    Attributes:
        more: the measure.
        less: what is taken off; empty for nothing.
        threshold: the smallest that matters.
        statement: what is claimed.
        primary: whether it is a main claim.
    """

    more: str
    less: str
    threshold: float
    statement: str
    primary: bool = False


#: By name, what is claimed.
CLAIMS: Mapping[str, Claim] = MappingProxyType(
    {
        "rates-agree": Claim(
            "rate",
            "",
            SMALLEST,
            "lags with a larger effective rate are those from which more has been learned (rank correlation)",
            primary=True,
        ),
        "beyond-recency": Claim(
            "rate",
            "even",
            SMALLEST_DIFFERENCE,
            "effective rates agree better with what has been learned than recent before old does, which is how one "
            "constant gate ranks lags (difference of rank correlations)",
            primary=True,
        ),
        "shape-beyond-constant": Claim(
            "overlap",
            "even overlap",
            SMALLEST_DIFFERENCE,
            "the profile of effective rates has more in common with that of what has been learned than the profile of "
            "one constant gate with the same mean has (difference of overlaps)",
            primary=True,
        ),
        "after-not-before": Claim(
            "rate",
            "start",
            SMALLEST_DIFFERENCE,
            "the rates of the trained network agree better with what it has learned than its rates before training do "
            "(difference of rank correlations)",
        ),
        "given-the-data": Claim(
            "rate given data",
            "",
            SMALLEST,
            "the same with the ranks of what the data have at each lag held fixed, as a linear reader without memory "
            "finds it (partial rank correlation)",
        ),
        "gradient-more": Claim(
            "gradient",
            "rate",
            SMALLEST_DIFFERENCE,
            "the gradient by input agrees better with what has been learned than effective rates do (difference of "
            "rank correlations)",
        ),
    }
)


def scores(training: pd.DataFrame) -> pd.Series:
    """For each row the score that its data set is measured by."""
    ratio = training.constant / training.loss
    return training["accuracy"].where(training.data != "co2", ratio)


def agreement(lags: pd.DataFrame) -> pd.DataFrame:
    """How well each profile over lags agrees with what masking takes away, a row for each network and checkpoint.

    Args:
        lags: the records ``"lags"`` of all runs, from before training on.

    Returns:
        The keys; rank correlations with ``"masked"`` of each of :data:`PROFILES`, where ``"start"`` is the rates before
        training; ``"rate given data"``, the partial one of the rates with ``"linear"`` held fixed; and how much rates
        and the constant gate have in common with it, ``"overlap"`` and ``"even overlap"``.
    """
    same = ["data", "model", "seed", "bin"]
    first = lags[lags.step == 0].rename(columns={"rate": "start"})[[*same, "start"]]
    rows = []
    for key, network in lags.merge(first, on=same).groupby(KEYS, sort=False):
        place = dict(zip(KEYS, key, strict=True))
        profiles = {name: network[name].to_numpy() for name in PROFILES}
        learned = network.masked.round(DECIMALS).to_numpy()
        ranks = {name: rank_correlation(profile, learned) for name, profile in profiles.items()}
        given = partial(ranks["rate"], ranks["linear"], rank_correlation(profiles["rate"], profiles["linear"]))
        overlaps = {"overlap": overlap(profiles["rate"], learned), "even overlap": overlap(profiles["even"], learned)}
        rows.append(place | ranks | {"rate given data": given} | overlaps)
    return pd.DataFrame(rows)


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's; 0 where one of them is the same at all lags."""
    x, y = stats.rankdata(x), stats.rankdata(y)
    return float(np.corrcoef(x, y)[0, 1]) if np.ptp(x) and np.ptp(y) else 0.0


def partial(xy: float, yz: float, xz: float) -> float:
    """The correlation of x and y with z held fixed, from the three between them; 0 where z says all of one."""
    left = (1 - xz**2) * (1 - yz**2)
    return float((xy - xz * yz) / left**0.5) if left > 1e-12 else 0.0


def overlap(rates: np.ndarray, learned: np.ndarray) -> float:
    """How much two profiles have in common, each as shares of its sum: 1 for the same shape, 0 for lags apart.

    Args:
        rates: not negative.
        learned: where masking helps, nothing counts as learned.
    """
    learned = learned.clip(min=0)
    if not rates.sum() or not learned.sum():
        return 0.0
    return float(np.minimum(rates / rates.sum(), learned / learned.sum()).sum())


def table(measured: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What is compared with ``reference/e5-agreement.csv``, from the records of the runs."""
    training = measured["training"]
    training = training.assign(score=scores(training), **{"linear score": linear_scores(training)})
    return training[[*KEYS, "loss", "score", "linear score"]].merge(agreement(measured["lags"]), on=KEYS)


def tables(measured: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """All that is compared, by name: how profiles agree, the profiles themselves, and the units' time constants."""
    return {"agreement": table(measured), "lags": measured["lags"], "memory": measured["memory"]}


def linear_scores(training: pd.DataFrame) -> pd.Series:
    """The same score of the linear reader, of the same sequences."""
    return scores(training.assign(loss=training["linear loss"], accuracy=training["linear accuracy"]))


def trained(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last step of each data set, with a column ``"useful"``."""
    last = rows[rows.step == rows.groupby("data").step.transform("max")]
    return last.assign(useful=last.score >= last.data.map(USEFUL))


def values(rows: pd.DataFrame, claim: Claim) -> pd.Series:
    """What a claim is about, one number for each gated network that has learned something useful.

    Args:
        rows: of :func:`trained`.
        claim: of :data:`CLAIMS`.
    """
    counted = rows[rows.useful & rows.model.isin(GATED)].set_index(["data", "model", "seed"])
    return counted[claim.more] - (counted[claim.less] if claim.less else 0.0)


def claims(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """As ``gatelr.record.Chapter.claim`` takes them; the null of an agreement is that of recency.

    Args:
        rows: of :func:`trained`.
    """
    for name, claim in CLAIMS.items():
        yield {
            "name": name,
            "statement": claim.statement,
            "values": values(rows, claim),
            "null": 0.0 if claim.less else values(rows, Claim("even", "", 0.0, "")),
            "threshold": claim.threshold,
            "smallest": claim.threshold,
            "about": "lag-dependent",
            "primary": claim.primary,
            "note": "networks with a gate that learned something useful",
        }


def mean_lag(lags: pd.DataFrame, column: str) -> pd.Series:
    """The mean lag of a profile, weighted by its shares, for each network and checkpoint; NaN for one without any.

    Args:
        lags: the records ``"lags"``.
        column: the profile; where masking helps, nothing counts as learned.
    """
    weight = lags[column].clip(lower=0)
    middle = (lags["from"] + lags["to"]) / 2
    sums = (
        lags[KEYS].assign(weight=weight, moment=weight * middle).groupby(KEYS, sort=False)[["weight", "moment"]].sum()
    )
    return (sums.moment / sums.weight).rename(column)


def course(lags: pd.DataFrame, memory: pd.DataFrame) -> pd.DataFrame:
    """What training changes: medians over seeds before, halfway and after, as text with arrows.

    Args:
        lags, memory: the records of those names.

    Returns:
        A row for each data set and model: the median time constant of the units, the mean lag of effective rates and of
        what is learned, all in steps, and how many directions the transport over half a sequence carries.
    """
    ends = memory.groupby("data").step.max()
    lags, memory = (rows[(2 * rows.step) % rows.data.map(ends) == 0] for rows in (lags, memory))
    middle = lags[lags.bin == lags.groupby("data").bin.transform("max") // 2 + 1].set_index(KEYS)
    measures = {
        "time constant": (memory.set_index(KEYS)["median"], ".1f"),
        "mean lag of rates": (mean_lag(lags, "rate"), ".1f"),
        "mean lag learned": (mean_lag(lags, "masked"), ".1f"),
        "directions": (middle.directions, ".1f"),
    }
    columns = {}
    for name, (numbers, digits) in measures.items():
        by_step = numbers.groupby(level=["data", "model", "step"], sort=False).median().map(f"{{:{digits}}}".format)
        columns[name] = by_step.groupby(level=["data", "model"], sort=False).agg(" → ".join)
    return pd.DataFrame(columns).reset_index()
