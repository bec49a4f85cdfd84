"""The committed measurements as tables."""

import json
import shutil
from pathlib import Path

import pytest
from gatelr.experiments import timings

FOLDER = Path(__file__).resolve().parents[3] / "benchmarks"


def test_every_row_of_every_machine_is_in_the_table() -> None:
    machines = timings.read(FOLDER)
    rows = timings.table(machines)
    assert len(rows) == sum(len(content["rows"]) for content in machines.values())
    first = next(iter(machines.values()))["rows"]
    place = next(place for place, row in enumerate(first) if "ratio" in row)
    assert rows.loc[place, "seconds"] == first[place]["seconds"]["median"]
    assert [rows.loc[place, f"{end} quartile"] for end in ("lower", "upper")] == first[place]["ratio"]["quartiles"]
    for content in machines.values():
        assert {"kernel", "date", "torch", "JAX", "released code"} == timings.provenance(content).keys()


def test_rows_at_the_sizes_from_which_the_scaling_starts() -> None:
    machines = timings.read(FOLDER)
    rows = timings.table(machines)
    steps = rows[rows["group"] == "training step"]
    base = timings.at_base(steps, machines)
    assert 0 < len(base) < len(steps)
    assert set(base["peer"]) >= {"ours", "autograd"}
    for machine, some in base.groupby("machine"):
        assert (some["T"] == timings.sizes(machines[machine])["T"]).all()
    assert timings.at_base(steps, machines, "T")["T"].nunique() > 1


def test_growth_is_a_line_for_each_path_and_size() -> None:
    law = {"axis": "T", "time_exponent": 1.1, "memory_exponent": 0.9, "at_limit": 5000}
    measured = {"sizes": [64, 128], "seconds": [0.1, 0.2], "bytes": [1, 2], **law}
    row = {"group": "growth", "peer": "run", "parameters": {}, "growth": measured}
    (line,) = timings.growth({"one": {"rows": [row, {"group": "memory"}]}}).to_dict("records")
    assert line == {"machine": "one", "path": "run", "largest": 128, "seconds": 0.2, **law}
    (line,) = timings.growth({"one": {"rows": []}})["path"]
    assert line == "not measured"


def test_costs_are_shares_of_the_whole_build() -> None:
    costs = timings.costs(FOLDER / "results" / "costs" / "ci.json")
    assert len(costs) == 10
    assert costs["seconds"].is_monotonic_decreasing
    assert 0 < costs["share"].sum() <= 1


def test_a_folder_without_a_whole_measurement_is_refused(tmp_path: Path) -> None:
    shutil.copytree(FOLDER / "results", tmp_path / "results")
    shutil.copy(FOLDER / "schema.json", tmp_path)
    for path in (tmp_path / "results").glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"quick": True}))
    with pytest.raises(FileNotFoundError, match="make bench"):
        timings.read(tmp_path)
