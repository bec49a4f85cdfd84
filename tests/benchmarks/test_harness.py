"""The harness: turns, what a row says, the file and the targets. No time that a machine takes is ever asserted."""

from __future__ import annotations

import copy
import gc
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from gatelr.kernels import which

from benchmarks import __main__, contests, growth, record, report
from benchmarks.contests import Contest, Row
from benchmarks.timing import QUICK, Effort, ratios, rotate, summary

ROOT = Path(__file__).resolve().parents[2]


class Clock:
    """A clock that calls move on."""

    def __init__(self) -> None:
        self.now, self.calls = 0.0, []

    def __call__(self) -> float:
        return self.now

    def taking(self, seconds: float, name: str) -> Callable[[], None]:
        def call() -> None:
            self.now += seconds
            self.calls.append(name)

        return call


def test_rows_are_taken_in_turn_each_as_often_as_it_can_afford() -> None:
    clock = Clock()
    calls = {"fast": clock.taking(0.5, "f"), "slow": clock.taking(4, "s"), "tiny": clock.taking(0.25, "t")}
    effort = Effort(rounds=6, fewest=2, budget=8, burst=0.5)
    assert rotate(calls, effort, clock) == {"fast": [0.5] * 6, "slow": [4] * 2, "tiny": [0.25] * 6}
    warm, turns = "".join(clock.calls[:6]), "".join(clock.calls[6:])
    assert warm == "ffsstt"
    rounds = [sorted(turns[i : i + 4].replace("tt", "t")) for i in (0, 4)]
    assert rounds == [["f", "s", "t"]] * 2, "the slow row has the first turns"
    assert sorted(turns[8:].replace("tt", "t")) == ["f"] * 4 + ["t"] * 4


def test_garbage_waits_for_the_end_of_a_turn() -> None:
    collecting: list[bool] = []

    def stubborn() -> None:
        collecting.append(gc.isenabled())
        if len(collecting) > 2:
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        rotate({"a": stubborn}, QUICK)
    assert collecting[-1] is False
    assert gc.isenabled()


def test_what_is_kept_of_the_times() -> None:
    assert summary([4.0, 1.0, 3.0, 2.0, 5.0]) == {"median": 3.0, "quartiles": [2.0, 4.0], "rounds": 5}
    assert ratios([2.0, 9.0], [1.0, 3.0, 5.0]) == [2.0, 3.0]


def contest(**rows: Row) -> Contest:
    return Contest("training step", {"S": 2}, rows, lambda peer, call: {"x": torch.tensor(call())}, "seed")


def missing() -> Callable[[], Any]:
    raise ModuleNotFoundError("there is no such package")


def test_a_row_says_how_far_it_is_from_the_library_and_one_that_is_absent_says_why() -> None:
    rows = contest(
        ours=Row(lambda: lambda: [1.0, 4.0], units=2),
        near=Row(lambda: lambda: [1.0], units=1, note="the first only"),
        far=Row(lambda: lambda: [1.0, 5.0], units=2, exact=False),
        gone=Row(missing),
    )
    ours, near, far, gone = contests.run(rows, QUICK)
    assert ours["ratio"]["median"] == 1
    assert ours["agreement"] == {"exact": True, "discrepancy": 0}
    assert near["agreement"] == {"exact": True, "discrepancy": 0}
    assert near["note"] == "the first only"
    assert far["agreement"] == {"exact": False, "discrepancy": 0.25}
    assert far["per"] == {"unit": "seed", "units": 2, "seconds": far["seconds"]["median"] / 2}
    expected = {"group": "training step", "peer": "gone", "parameters": {"S": 2}, "absent": "there is no such package"}
    assert gone == expected


def test_a_row_of_another_model_is_timed_and_not_compared() -> None:
    rows = contest(
        ours=Row(lambda: lambda: [1.0, 4.0], units=2),
        another=Row(lambda: lambda: ["no number"], exact=False, comparable=False, note="another model"),
    )
    _, another = contests.run(rows, QUICK)
    assert another["agreement"] == {"exact": False}
    assert another["seconds"]["rounds"] == 1
    assert another["note"] == "another model"


def test_what_compiling_took_stands_beside_the_time() -> None:
    class Compiled:
        compile_seconds = 2.5

        def __call__(self) -> list[float]:
            return [1.0]

    plain, compiled = contests.run(contest(ours=Row(lambda: lambda: [1.0]), compiled=Row(Compiled)), QUICK)
    assert "values" not in plain
    assert compiled["values"] == {"compile_seconds": 2.5}


def test_another_error_of_a_peer_is_not_an_absence() -> None:
    def broken() -> Callable[[], Any]:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        contests.run(contest(ours=Row(lambda: lambda: [1.0]), broken=Row(broken)), QUICK)


def environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV"))}


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", "--threads", "1", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of one trial run, and then of the protocols."""
    out = tmp_path_factory.mktemp("bench") / "out.json"
    before = sorted(record.RESULTS.glob("*"))
    for more in ([], ["--protocols"]):
        done = bench("--quick", "--out", str(out), *more)
        assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(record.RESULTS.glob("*")) == before, "the numbers of a trial run do not belong beside real ones"
    return out


def test_a_trial_run_fills_every_group(quick: Path) -> None:
    content = record.read(quick)
    assert content is not None
    assert content["quick"] is True
    groups = record.SCHEMA["$defs"]["row"]["properties"]["group"]["enum"]
    assert {row["group"] for row in content["rows"]} == set(groups) == set(content["measured"])
    for row in content["rows"]:
        if row.get("agreement", {}).get("exact"):
            assert row["agreement"]["discrepancy"] <= (1e-5 if row["peer"] == "torch.compile" else 1e-3), row
        if not row["peer"].startswith(("jax", "released", "torch.compile")):
            assert "absent" not in row or row["group"] in ("memory", "growth"), row
    assert {group["kernel"] for group in content["measured"].values()} == {which()}
    assert content["machine"]["level"].startswith(torch.backends.cpu.get_cpu_capability().lower())
    assert all(target["found"] is None for target in content["targets"] if "released" in target["id"]) is (
        "GATELR_RELEASED" not in os.environ
    )


def test_the_report_reads_it(quick: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = record.read(quick)
    assert content is not None
    assert report.main([str(quick)]) == 0
    said = capsys.readouterr().out
    assert "its times mean nothing" in said
    assert all(f"{group}: " in said for group in content["measured"])
    assert all(target["statement"] in said for target in content["targets"])
    assert report.main([str(quick.parent / "none.json")]) == 1


def test_a_wrong_clone_and_a_strange_group_are_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    strange = bench("--quick", "--only", "trainings")
    assert strange.returncode == 2
    assert "there is no group 'trainings': it is one of ceiling, training step" in strange.stderr
    monkeypatch.setenv("GATELR_RELEASED", "nowhere")
    wrong = bench("--quick")
    assert wrong.returncode != 0
    assert "expected the path of a clone" in wrong.stderr


HERE = {"cpu": "Some(R) CPU @ 2", "cores": 4, "threads": 2, "memory_bytes": 1, "system": "Linux", "level": "avx2"}


def file(rows: list[dict[str, Any]], group: str = "memory", **changes: Any) -> dict[str, Any]:
    versions = dict.fromkeys(("python", "torch", "numpy", "gatelr"), "1") | {"jax": None}
    when = {"created": "2026-01-01T00:00:00+00:00", "seconds": 1, "versions": versions}
    when |= {"kernel": "plain", "commit": None, "edited": None, "released": None}
    content = record.merged(None, HERE, False, rows, {group: when}) | changes
    return content | {"targets": report.targets(content["rows"], content["quick"])}


def row(group: str, peer: str, ratio: float | None = None, **more: Any) -> dict[str, Any]:
    parameters = {"gate": "multi", "S": 20, **contests.SIZES}
    content = {"group": group, "peer": peer, "parameters": parameters} | more
    if ratio is not None:
        content |= {"seconds": summary([1.0]), "ratio": summary([ratio])}
    return content


def test_a_file_is_named_by_the_kind_of_processor_and_threads() -> None:
    assert record.path(HERE | {"level": "avx512-bf16"}).name == "some-cpu-2-avx512-bf16-2-threads.json"


def test_a_virtual_machine_s_processor_is_known_by_its_family() -> None:
    assert record.brand({"brand_raw": "AMD EPYC", "family": 26}) == "AMD EPYC, family 26"
    assert record.brand({"brand_raw": "AMD EPYC 9654", "family": 25}) == "AMD EPYC 9654"
    assert record.brand({"brand_raw": "Some CPU"}) == "Some CPU"


@pytest.mark.parametrize(
    ("capability", "flags", "level"),
    [
        ("AVX512", ["avx512f", "avx512_bf16"], "avx512-bf16"),
        ("AVX512", ["avx512f"], "avx512"),
        ("AVX2", ["avx512f", "avx512_bf16"], "avx2"),
        ("DEFAULT", ["asimd", "bf16"], "default-bf16"),
    ],
)
def test_a_level_is_what_pytorch_uses_whatever_the_processor_has(
    monkeypatch: pytest.MonkeyPatch, capability: str, flags: list[str], level: str
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert record.level(flags) == level


def test_a_level_is_told_to_every_library_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Replaced(BaseException):
        pass

    def execve(path: str, command: list[str], environment: dict[str, str]) -> None:
        assert path == command[0] == sys.executable
        assert command[1:] == ["-m", "benchmarks", "--level", "avx2", "--quick"]
        assert {name: environment[name] for name in __main__.LEVELS["avx2"]} == __main__.LEVELS["avx2"]
        raise Replaced

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    with pytest.raises(Replaced):
        __main__.main(["--level", "avx2", "--quick"])
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")  # as it is then
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    __main__.hold("avx2", [])
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    with pytest.raises(ValueError, match="got --level avx2, expected a level of this processor: PyTorch has default"):
        __main__.hold("avx2", [])


def test_exponents_and_limit_are_those_of_the_largest_sizes() -> None:
    sizes = [1, 10, 20, 40, 80]
    seconds = [9.0, 9.0, *(1e-3 * size**1.5 for size in sizes[2:])]
    found = growth.law(sizes, seconds, [7, 7, *(100 * size**2 for size in sizes[2:])])
    assert found["time_exponent"] == pytest.approx(1.5)
    assert found["memory_exponent"] == pytest.approx(2)
    assert found["at_limit"] == round((growth.LIMIT / 100) ** 0.5)
    assert growth.law(sizes, seconds, [5] * 5)["at_limit"] is None, "what does not grow never gets there"


def test_a_group_measured_again_replaces_its_rows_and_no_others() -> None:
    steps = [row("training step", "jax", 3.0)]
    earlier = file(steps, "training step")
    measured = {"memory": earlier["measured"]["training step"]}
    both = record.merged(earlier, HERE, False, [row("memory", "jax", absent="no")], measured)
    assert [r["group"] for r in both["rows"]] == ["training step", "memory"]
    assert set(both["measured"]) == {"training step", "memory"}
    again = record.merged(both, HERE, False, [row("memory", "jax", absent="still not")], measured)
    assert [r.get("absent") for r in again["rows"]] == [None, "still not"]


@pytest.mark.parametrize(("machine", "quick"), [(HERE | {"threads": 1}, False), (HERE, True)])
def test_runs_that_cannot_be_compared_are_not_put_into_one_file(machine: dict[str, Any], quick: bool) -> None:
    with pytest.raises(ValueError, match="name another with --out, or delete it"):
        record.merged(file([row("memory", "jax", absent="no")]), machine, quick, [], {})


def test_targets_are_met_or_not_or_not_measured() -> None:
    rows = [
        row("training step", "autograd", 1.5),
        row("training step", "jax", absent="not installed"),
        row("training step", "released", 9.0),
        row("training step", "released", 7.0) | {"parameters": {"gate": "multi", "S": 40, **contests.SIZES}},
        row("memory", "ours", memory={"times_trajectory": 1.2}),
        row("protocol", "ours", seconds=summary([400.0])) | {"parameters": {"protocol": "E1", "device": "cpu"}},
        row("protocol", "ours", seconds=summary([60.0])) | {"parameters": {"protocol": "E2", "device": "cuda"}},
    ]
    found = {target["id"]: (target["found"], target["met"]) for target in report.targets(rows, quick=False)}
    assert found["step-autograd"] == (1.5, False)
    assert found["step-sizes"] == (1.5, False)
    assert found["step-jax"] == (None, None)
    assert found["step-released"] == (9.0, True)
    assert found["memory"] == (1.2, True)
    assert found["protocol-e1"] == (400 / 60, False)
    assert found["protocol-e2"] == (None, None), "a target of the CPU says nothing about a GPU"


def test_each_of_two_ways_to_write_a_peer_has_its_target() -> None:
    rows = [row("training step", "jax", 6.0), row("training step", "jax, seeds in turn", 2.0)]
    found = {target["id"]: (target["found"], target["met"]) for target in report.targets(rows, quick=False)}
    assert found["step-jax"] == (6.0, True)
    assert found["step-jax-in-turn"] == (2.0, False)


def test_the_worst_gate_counts() -> None:
    rows = [row("training step", "autograd", r) for r in (1.4, 0.9, 1.2)]
    for gate, each in zip(("multi", "scalar", "constant"), rows, strict=True):
        each["parameters"] = each["parameters"] | {"gate": gate, "S": 1}
    (target,) = (t for t in report.targets(rows, quick=False) if t["id"] == "step-one-autograd")
    assert (target["found"], target["met"]) == (0.9, False)


def test_the_better_of_two_ways_to_write_a_peer_counts_for_four_seeds() -> None:
    rows = [row("training step", "jax", 3.5), row("training step", "jax, seeds in turn", 5.0)]
    for each in rows:
        each["parameters"] = each["parameters"] | {"S": 4}
    (target,) = (t for t in report.targets(rows, quick=False) if t["id"] == "step-four-jax")
    assert (target["found"], target["met"]) == (3.5, True)


def test_other_sizes_count_for_the_target_of_sizes_and_for_no_other() -> None:
    rows = [row("training step", "autograd", 4.0), row("training step", "autograd", 2.0)]
    rows[1]["parameters"] = rows[1]["parameters"] | {"n": 128}
    found = {target["id"]: (target["found"], target["met"]) for target in report.targets(rows, quick=False)}
    assert found["step-autograd"] == (4.0, True)
    assert found["step-sizes"] == (2.0, False)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"rows": []},
        {"rows": [row("memory", "jax", absent="")]},
        {"rows": [row("memory", "jax", 2.0, absent="but timed")]},
        {"rows": [row("memory", "jax")]},
        {"rows": [row("another group", "jax", 2.0)]},
        {"measured": {}},
        {"rows": [row("memory", "jax", 2.0, agreement={"exact": True})]},
        {"machine": {k: v for k, v in HERE.items() if k != "cpu"}},
        {"machine": {k: v for k, v in HERE.items() if k != "level"}},
    ],
)
def test_a_file_of_another_form_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    good = file([row("memory", "jax", absent="not installed")])
    record.write(tmp_path / "good.json", good)
    assert record.read(tmp_path / "good.json") == good
    with pytest.raises(jsonschema.ValidationError):
        record.write(tmp_path / "bad.json", copy.deepcopy(good) | change)
    assert not (tmp_path / "bad.json").exists()


def test_what_is_committed_fits_and_its_verdicts_are_those_of_its_rows() -> None:
    for path in record.RESULTS.glob("*.json"):
        content = record.read(path)
        assert content is not None
        assert not content["quick"]
        assert path == record.path(content["machine"])
        assert content["targets"] == report.targets(content["rows"], quick=False), f"{path.name}: measure again"
        assert not re.search(r"/(home|root|tmp|Users)/", json.dumps(content))
