"""What a chapter may be run with, and where it may write: all else is refused before it has run or is written."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from gatelr.experiments import (
    against_optimisers,
    alignment,
    effective_rates,
    gate_corrections,
    joint_anisotropy,
    real_data,
)
from gatelr.experiments import trainability as trained

from .conftest import REPOSITORY, Project

pytestmark = pytest.mark.xdist_group("workflow")

SCHEMA = yaml.safe_load((REPOSITORY / "workflow" / "schema.yaml").read_text())
CELL = """# %% tags=["parameters"]
profile = "ci"
seeds = 3
block = 0
rate = 0.5
fast = False
lags = [0, 4]
names = ["adding"]
nothing = []
out = "there"
"""


@pytest.fixture
def parameters(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """workflow/parameters.py."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "workflow"))
    return import_module("parameters")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "a-chapter.py"
    path.write_text(CELL)
    return path


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("seeds", 0, "0 is less than the minimum of 1"),
        ("seeds", -3, "-3 is less than the minimum of 1"),
        ("block", -1, "-1 is less than the minimum of 0"),
        ("rate", 0.0, "0.0 is less than or equal to the minimum of 0"),
        ("rate", -0.5, "-0.5 is less than or equal to the minimum of 0"),
        ("lags", [], "[] should be non-empty"),
        ("lags", [1, -1], "-1 is less than the minimum of 0"),
        ("lags", [1, "two"], "'two' is not of type 'integer'"),
        ("lags", [1, 1], "[1, 1] has non-unique elements"),
        ("lags", [True], "True is not of type 'integer'"),
        ("names", [""], "'' should be non-empty"),
        ("profile", "", "'' should be non-empty"),
    ],
)
def test_a_value_that_a_parameter_cannot_have(
    parameters: ModuleType, source: Path, name: str, value: object, reason: str
) -> None:
    with pytest.raises(parameters.BadInput) as refused:
        parameters.check(source, {name: value})
    assert str(refused.value) == (
        f"parameter '{name}' of a-chapter.py is {value!r}: {reason} (workflow/schema.yaml): correct it in "
        "profiles.yaml or in the cell tagged 'parameters'"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("seeds", value) for value in (3.0, True, "3", None)),
        *(("rate", value) for value in (float("nan"), float("inf"), True)),
        *(("fast", value) for value in (1, "yes")),
        *(("lags", 3), ("names", "adding"), ("profile", 3)),
    ],
)
def test_a_value_of_another_type(parameters: ModuleType, source: Path, name: str, value: object) -> None:
    with pytest.raises(parameters.BadInput, match=f"parameter '{name}' is .*, but a-chapter.py declares"):
        parameters.check(source, {name: value})


def test_values_that_a_parameter_can_have(parameters: ModuleType, source: Path) -> None:
    parameters.check(
        source, {"seeds": 1, "rate": 1, "fast": True, "lags": [0], "names": ["a", "b"], "nothing": [1, "a"]}
    )


def test_what_a_cell_declares_is_looked_at_too(parameters: ModuleType, source: Path) -> None:
    source.write_text(CELL.replace("seeds = 3", "seeds = 0"))
    with pytest.raises(parameters.BadInput, match=r"'seeds' of a-chapter\.py is 0: 0 is less than the minimum of 1"):
        parameters.check(source, {})


def test_a_task_that_there_is_not_is_refused_before_anything_runs(project: Project) -> None:
    text = project.source("one").read_text().replace("seeds = 1\n", 'seeds = 1\ntasks_here = ["adding"]\n')
    project.source("one").write_text(text)
    schema = project.root / "workflow" / "schema.yaml"
    schema.write_text(yaml.safe_dump(SCHEMA | {"chapters": {"one": {"tasks_here": {"items": {"enum": ["adding"]}}}}}))
    (project.root / "profiles.yaml").write_text("ci: {shared: {}, chapters: {one: {tasks_here: [addin]}}}")
    done = project.build()
    assert done.returncode == 2
    assert "parameter 'tasks_here' of one.py is ['addin']: 'addin' is not one of ['adding']" in done.stderr
    assert not (project.root / "artifacts").exists()


def test_the_names_that_are_taken_are_those_of_the_experiments() -> None:
    known = {
        ("effective-rate-profiles", "tasks_here"): [
            name for protocol, name in effective_rates.SETTINGS if protocol == "paper"
        ],
        ("gate-corrections", "settings_here"): list(gate_corrections.SETTINGS),
        ("gate-corrections", "passes_here"): list(gate_corrections.PASSES),
        ("gates-against-optimisers", "tasks_here"): list(against_optimisers.RATES),
        ("joint-anisotropy", "tasks_here"): list(joint_anisotropy.TASKS),
        ("alignment", "tasks_here"): list(alignment.TASKS),
        ("real-data", "data_here"): list(real_data.SETTINGS),
        ("stability", "arms_here"): list(trained.ARMS),
    }
    for (chapter, name), names in known.items():
        assert SCHEMA["chapters"][chapter][name]["items"]["enum"] == names, chapter


def test_the_schema_speaks_of_parameters_that_there_are(parameters: ModuleType) -> None:
    for chapter, more in SCHEMA["chapters"].items():
        declared = parameters.declared(REPOSITORY / "notebooks" / f"{chapter}.py")
        assert set(more) <= set(declared), chapter


def test_no_grammars_are_made_to_check_a_parameter() -> None:
    """Which jsonschema would do for a second, whenever it is imported: see workflow/fewer_imports.py."""
    code = "import sys; sys.path.insert(0, 'workflow'); import parameters; sys.exit('lark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


WRITES = {
    "a file beside the source": 'open("stray.txt", "w").close()',
    "a file of the project": 'Path("../profiles.yaml").write_text("")',
    "another chapter's folder": 'Path("../artifacts/two.json").write_text("")',
    "a file renamed": 'Path(out, "a").write_text(""); Path(out, "a").rename("../a")',
    "a file removed": 'Path("../profiles.yaml").unlink()',
    "a link": 'Path("../book/link").symlink_to("index.md")',
    "by the system's call": 'os.open("stray.txt", os.O_CREAT | os.O_WRONLY)',
}


@pytest.mark.parametrize("what", WRITES)
def test_a_notebook_cannot_write_outside_its_folder(project: Project, what: str) -> None:
    before = {path: path.read_bytes() for path in project.root.rglob("*") if path.is_file()}
    source = project.source("one")
    source.write_text(f"{source.read_text()}\nimport os\n{WRITES[what]}\n")
    done = project.python("workflow/chapter.py", "notebooks/one.py", "--parameters", '{"seeds": 1}')
    assert done.returncode == 1, done.stdout
    error = json.loads((project.root / "_build/run/one/failure.json").read_text())["error"]
    assert "to write, expected a path in the chapter's own folder: write below `out`" in error
    kept = {path: path.read_bytes() for path in before if path.exists() and path != source}
    assert kept == {path: text for path, text in before.items() if path != source}
    made = {path for path in project.root.rglob("*") if path.is_file()} - set(before)
    assert all({"_build", "__pycache__"} & set(path.parts) for path in made)


def test_a_notebook_writes_in_its_folder_and_aside(project: Project) -> None:
    source = project.source("one")
    more = "import tempfile\nPath(out, 'more').mkdir()\nPath(out, 'more', 'a').write_text('a')\n"
    source.write_text(source.read_text() + f"\n{more}tempfile.NamedTemporaryFile().close()\n")
    done = project.python("workflow/chapter.py", "notebooks/one.py", "--parameters", '{"seeds": 1}')
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project.root / "artifacts/one/more/a").read_text() == "a"
    assert "runpy" not in project.notebook("one").read_text()  # the guard leaves no trace
