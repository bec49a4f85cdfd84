"""What is claimed of anisotropy follows from the cells of the design."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from gatelr import judgement
from gatelr.experiments import joint_anisotropy, joint_anisotropy_claims


def test_a_contrast_is_the_difference_of_two_cells_of_the_design_by_task_and_seed() -> None:
    value = {model: float(i) for i, model in enumerate(joint_anisotropy.MODELS)}
    rows = pd.DataFrame(
        [
            {"gate": gate, "optimiser": optimiser, "task": task, "seed": seed, "update AI": 10 ** (seed * value[model])}
            | {f"CE @{lag}": value[model] + seed for lag in joint_anisotropy.LAGS}
            for model in joint_anisotropy.MODELS
            for gate, optimiser in [model]
            for task in ("ar2", "adding")
            for seed in (2, 1)
        ]
    )
    for name, (more, less) in joint_anisotropy_claims.CONTRASTS.items():
        difference = joint_anisotropy_claims.contrast(rows, "update AI", name)
        assert difference.index.names == ["task", "seed"]
        for task, seed in (("ar2", 1), ("adding", 2)):
            assert difference[task, seed] == pytest.approx(seed * (value[more] - value[less]))
        spread = joint_anisotropy_claims.contrast(rows, "propagation CE", name)
        np.testing.assert_allclose(spread, value[more] - value[less])


def test_the_published_contrast_is_what_gates_do_less_what_adam_does() -> None:
    (multi, adam), (gated, plain) = (
        joint_anisotropy_claims.CONTRASTS[name] for name in ("published", "gates under SGD")
    )
    assert (multi, (adam, plain)) == (gated, joint_anisotropy_claims.CONTRASTS["Adam in none"])


def test_claims_are_those_of_their_contrasts() -> None:
    models, seeds = joint_anisotropy.MODELS, (1, 2)
    columns = ["update AI", "update CE"] + [f"{kind} @{lag}" for kind in ("AI", "CE") for lag in joint_anisotropy.LAGS]

    def table(value: dict[tuple[str, str], float]) -> pd.DataFrame:
        keys = [(gate, optimiser, "adding", seed) for gate, optimiser in models for seed in seeds]
        rows = pd.DataFrame(keys, columns=["gate", "optimiser", "task", "seed"])
        return rows.assign(
            **{name: [10.0 ** value[gate, optimiser] for gate, optimiser, *_ in keys] for name in columns}
        )

    gates, adam = {"none": 0.0, "scalar": 1.0, "multi": 2.0}, {"SGD": 0.0, "Adam": 0.5}
    after = table({(gate, optimiser): gates[gate] + adam[optimiser] for gate, optimiser in models})
    before = table({(gate, optimiser): 0.25 * gates[gate] for gate, optimiser in models})
    claims = {claim["name"]: claim for claim in joint_anisotropy_claims.claims(after, before)}
    assert len(claims) == 4 * 4
    for place in ("propagation", "update"):
        expected = {
            f"matches-adam-{place}-ai": {"multi": 1.5, "scalar": 0.5},
            f"gates-{place}-ai": {"SGD": 2.0, "Adam": 2.0},
            f"adam-{place}-ai": {"none": 0.5, "scalar": 0.5, "multi": 0.5},
            f"learned-{place}-ai": {"SGD": 1.5, "Adam": 1.5},
        }
        for name, by_part in expected.items():
            claim = claims[name]
            judged = judgement.judge(claim["values"], threshold=claim["threshold"], smallest=claim["smallest"])
            found = {each.setting: each.mean for each in judged.settings}
            assert found == pytest.approx({f"adding, {part}": value for part, value in by_part.items()})
        assert claims[f"matches-adam-{place}-ai"]["threshold"] == np.log10(0.9)
        assert claims[f"matches-adam-{place}-ce"]["threshold"] == -0.01
        assert claims[f"gates-{place}-ai"]["threshold"] == np.log10(1.1)
        np.testing.assert_allclose(claims[f"gates-{place}-ai"]["null"], 0.5)
    primary = [name for name, claim in claims.items() if claim["primary"]]
    assert sorted(primary) == sorted(joint_anisotropy_claims.PRIMARY)
    assert len(primary) <= judgement.MOST_PRIMARY
