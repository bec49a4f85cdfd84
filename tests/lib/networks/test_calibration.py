"""What the committed trials say of the frozen thresholds: few false alarms, and planted faults that are found."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import pytest
from gatelr.experiments import planted_faults
from gatelr.experiments.diagnosis_trials import FAULT_SEEDS, FIRST_SEED, STRENGTHS
from gatelr.experiments.healthy_networks import FACTOR
from gatelr.networks.diagnosis import CODES, thresholds

FOLDER = Path(__file__).parents[3] / "reference" / "diagnosis"


def rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_thresholds_are_as_they_were_frozen() -> None:
    frozen = {
        "REACH": 0.01,
        "AT_LAG": 0.05,
        "LOSS": 0.9,
        "GATE_END": 0.01,
        "TANH_END": 0.99,
        "ALWAYS": 0.95,
        "SATURATED_SHARE": 0.35,
        "DEAD": 1e-3,
        "DEAD_SHARE": 0.1,
        "BIAS_SET": 0.3,
        "BIAS_DOUBLED": 0.75,
        "ALIKE_IN_TIME": 0.1,
        "ALIKE_IN_BATCH": 0.3,
        "PERMUTED": 1e-3,
        "BEYOND_WINDOW": 0.1,
        "STEP": 0.5,
        "STEP_SMALL": 1e-6,
        "LOOK_AHEAD": 100,
        "LOOK_AHEAD_AT_LEAST": 10,
        "LOOK_AHEAD_COST": 1e8,
        "CLIPPED": 10.0,
        "CLIPPED_LEARNED": 100.0,
        "CLIP_SPREAD": 1000.0,
        "GROWTH": 4.6,
        "MISSED": 0.1,
        "MISSED_SIGMAS": 8.0,
        "USED": 0.05,
    }
    assert {name: value for name, value in vars(thresholds).items() if name.isupper()} == frozen


def test_few_healthy_networks_raise_an_alarm() -> None:
    table = rows("false-alarms.csv")
    keys = [(row["task"], row["kind"], row["n"], row["seed"]) for row in table]
    assert len(set(keys)) == len(keys)
    assert all(int(row["seed"]) >= FIRST_SEED for row in table)
    assert all((float(row["better"]) >= FACTOR) == (row["healthy"] == "1") for row in table)
    healthy = [row for row in table if row["healthy"] == "1"]
    assert len({row["task"] for row in healthy}) >= 4
    assert len({(row["kind"], row["n"]) for row in healthy}) == 9  # three kinds in three sizes
    assert len(healthy) >= 200
    assert sum(bool(row["findings"]) for row in healthy) <= 0.05 * len(healthy)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_planted_faults_are_found_at_every_strength(strength: str) -> None:
    found = defaultdict(list)
    for row in rows("planted-faults.csv"):
        assert int(row["seed"]) >= FIRST_SEED
        assert row["code"]
        if row["strength"] == strength:
            found[row["fault"]].append(int(row["found"]))
    assert found.keys() == planted_faults.FAULTS.keys()
    assert len(found) >= 8
    assert all(len(hits) == FAULT_SEEDS for hits in found.values())
    hits = [hit for each in found.values() for hit in each]
    assert sum(hits) >= 0.9 * len(hits)


def test_every_planted_fault_has_a_finding_of_its_name() -> None:
    assert {fault.code for fault in planted_faults.FAULTS.values()} <= CODES.keys()
