"""What is claimed of alignment follows from the cells of the design."""

from __future__ import annotations

from itertools import product

import pandas as pd
import pytest
from gatelr import judgement
from gatelr.experiments import alignment, alignment_claims
from gatelr.experiments.alignment import GATES, LAGS, OPTIMISERS, TASKS, N, R

GATE = {"none": 0.1, "scalar": 0.3, "multi": 0.6}
ADAM = {"SGD": 0.0, "Adam": -0.08}


def table(scale: float) -> pd.DataFrame:
    """A table whose shares, less what chance gives, are scale * (gate + optimiser), the larger the longer the lag."""
    rows = []
    for task, gate, optimiser, seed in product(TASKS, GATES, OPTIMISERS, (21, 22)):
        value = scale * (GATE[gate] + ADAM[optimiser])
        row = {"task": task, "gate": gate, "optimiser": optimiser, "seed": seed}
        for i, lag in enumerate(LAGS):
            uneven = 0.01 * (i - 2)  # the mean over lags is none of it
            row |= {f"left @{lag}": R / N + value + uneven, f"left of another @{lag}": R / N + value / 2 + uneven}
            row |= {f"right @{lag}": 0.5 + value, f"right of another @{lag}": 0.5, f"chance @{lag}": 0.5}
            row |= {f"gain @{lag}": value, f"CE @{lag}": 0.9}
        rows.append(row)
    return pd.DataFrame(rows)


def test_claims_are_those_of_their_cells() -> None:
    claims = {claim["name"]: claim for claim in alignment_claims.claims(table(1.0), table(0.25))}
    assert claims.keys() == alignment_claims.CLAIMS.keys()
    means = {}
    for name, claim in claims.items():
        judged = judgement.judge(claim["values"], threshold=claim["threshold"], smallest=claim["smallest"])
        means[name] = {each.setting: each.mean for each in judged.settings}
        assert claim["threshold"] == claim["smallest"] > 0
    assert len(means["aligned-left"]) == len(means["gates-left"]) == 3 * 2 * 2
    assert means["aligned-left"]["adding, multi, Adam"] == pytest.approx(0.52)
    assert means["ungated-left"] == pytest.approx(
        {f"{task}, none, {opt}": 0.1 + ADAM[opt] for task in TASKS for opt in OPTIMISERS}
    )
    assert means["gates-left"]["digits, scalar, SGD"] == pytest.approx(0.2)
    assert means["gates-right"]["digits, multi, Adam"] == pytest.approx(0.5)
    assert means["adam-raises-left"] == pytest.approx({f"{task}, {gate}": -0.08 for task in TASKS for gate in GATES})
    assert means["adam-lowers-left"] == pytest.approx({f"{task}, {gate}": 0.08 for task in TASKS for gate in GATES})
    assert means["learned-left"]["moving_average, multi, SGD"] == pytest.approx(0.75 * 0.6)
    assert means["aligned-gain"]["adding, scalar, SGD"] == pytest.approx(0.3)
    own = {f"digits, {gate}, {opt}": GATE[gate] + ADAM[opt] for gate in GATES for opt in OPTIMISERS}
    assert means["own-right"] == pytest.approx(own)
    assert means["own-left"] == pytest.approx({setting: value / 2 for setting, value in own.items()})
    assert claims["gates-left"]["null"].mean() == pytest.approx(0.25 * (0.2 + 0.5) / 2)


def test_the_main_claims_are_few_and_the_others_exploratory() -> None:
    primary = [name for name, claim in alignment_claims.CLAIMS.items() if claim.primary]
    assert primary == ["aligned-left", "gates-left", "adam-raises-left"]
    assert len(primary) <= judgement.MOST_PRIMARY


def test_the_task_with_several_outputs_is_the_one_that_has_them() -> None:
    from gatelr import tasks

    outputs = {name: tasks.get(name, **options).n_outputs for name, options in alignment.TASKS.items()}
    assert [name for name, count in outputs.items() if count > 1] == [alignment_claims.SEVERAL_OUTPUTS]
