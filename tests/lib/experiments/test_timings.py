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
    first = next(iter(machines.values()))["rows"][0]
    assert rows.loc[0, "seconds"] == first["seconds"]["median"]
    assert [rows.loc[0, "lower quartile"], rows.loc[0, "upper quartile"]] == first["ratio"]["quartiles"]
    for content in machines.values():
        assert {"date", "torch", "JAX", "released code"} == timings.provenance(content).keys()


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


def test_a_folder_without_a_whole_measurement_is_refused(tmp_path: Path) -> None:
    shutil.copytree(FOLDER / "results", tmp_path / "results")
    shutil.copy(FOLDER / "schema.json", tmp_path)
    for path in (tmp_path / "results").glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"quick": True}))
    with pytest.raises(FileNotFoundError, match="make bench"):
        timings.read(tmp_path)
