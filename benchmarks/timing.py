"""Seconds of several callables, taken in turn: A C B, B A C, … A busy moment of the machine then falls on all alike.

This is not left to pytest-benchmark, which takes all rounds of a row before the next row begins: on a machine that has
other things to do, a ratio of two of its rows says as much about the minutes in which they ran.
"""

from __future__ import annotations

import gc
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Effort:
    """How long to look at each row."""

    rounds: int = 15
    """Turns that a row has at most."""
    fewest: int = 3
    """And at least, however long one takes."""
    budget: float = 5.0
    """Seconds for all turns of a row; a slow row has fewer, the first ones."""
    burst: float = 0.1
    """Seconds of a turn: a shorter call is repeated, for its first run finds the caches full of another row's data."""


QUICK = Effort(rounds=1, fewest=1, budget=0, burst=0)


def rotate(
    calls: Mapping[str, Callable[[], object]], effort: Effort, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of one call, for each callable and turn; each is called once before, to warm up and to plan its turns.

    Garbage is collected before each round of turns and never during one, as ``timeit`` does.
    """

    def turn(name: str) -> float:
        begin = clock()
        for _ in range(number[name]):
            calls[name]()
        return (clock() - begin) / number[name]

    number, turns = dict.fromkeys(calls, 1), {}
    for name, call in calls.items():
        call()
        once = max(turn(name), 1e-9)
        number[name] = max(1, math.ceil(effort.burst / once))
        turns[name] = max(effort.fewest, min(effort.rounds, int(effort.budget / (once * number[name]))))
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    order, shuffle = list(calls), random.Random(0).shuffle
    for i in range(max(turns.values(), default=0)):
        shuffle(order)  # so that no row always comes after the same one
        gc.collect()
        gc.disable()
        try:
            for name in order:
                if i < turns[name]:
                    seconds[name].append(turn(name))
        finally:
            gc.enable()
    return seconds


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Median, quartiles and how many."""
    low, median, high = (float(value) for value in np.quantile(values, (0.25, 0.5, 0.75)))
    return {"median": median, "quartiles": [low, high], "rounds": len(values)}


def ratios(theirs: Sequence[float], ours: Sequence[float]) -> list[float]:
    """Theirs over ours, turn by turn: two times of one turn were taken within a moment of each other."""
    return [a / b for a, b in zip(theirs, ours, strict=False)]
