"""The ledger keeps what was found, and a red check stops the chapter."""

import hashlib
import json
import math
from pathlib import Path

import pandas as pd
import pytest
from gatelr.record import ledger


@pytest.fixture
def record(tmp_path: Path) -> ledger.Ledger:
    return ledger.Ledger("09-test", "A test", tmp_path, {"seeds": 2, "device": "cpu", "profile": "ci"})


def results(record: ledger.Ledger) -> dict:
    return json.loads((record.out / "results.json").read_text())


def test_a_chapter_that_holds(record: ledger.Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record.check("identity", "C1", "one  is\none", True, kind="symbolic")
    record.check("close", "C2", "near", 1e-13, 1e-12, note="by looking")
    assert record.number("found", 0.123456) == "0.123"
    assert record.number("count", 12, unit="cases") == "12"
    source = tmp_path / "09-test.py"
    source.write_text("x = 1\n")
    record.close(source)

    found = results(record)
    assert found["passed"]
    assert [c["value"] for c in found["checks"]] == [0.0, 1e-13]
    assert found["checks"][0]["statement"] == "one is one"
    assert found["numbers"]["count"] == {"value": 12, "text": "12", "unit": "cases"}
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["seeds"] == 2
    assert manifest["source"] == hashlib.sha256(b"x = 1\n").hexdigest()
    assert manifest["device"] == "cpu"
    assert {"python", "torch", "sympy"} <= set(manifest["versions"])
    shown = capsys.readouterr().out
    assert "✓ one is one" in shown
    assert "✓ near: 1e-13 ≤ 1e-12" in shown


@pytest.mark.parametrize("value", [2e-12, math.nan, math.inf, False])
def test_a_red_check_is_written_down_and_then_raised(record: ledger.Ledger, value: float) -> None:
    record.check("good", "C1", "holds", 0.0)
    record.check("bad", "C2", "does not hold", value, 1e-12)
    with pytest.raises(ledger.CheckFailed, match=r"1 of 2 checks fail in 09-test: bad \(.* > 1e-12\)"):
        record.close()
    assert not results(record)["passed"]
    assert [c["passed"] for c in results(record)["checks"]] == [True, False]


def test_a_chapter_without_a_check_fails(record: ledger.Ledger) -> None:
    with pytest.raises(ledger.CheckFailed, match="without a single check"):
        record.close()
    assert not results(record)["passed"]


def test_a_failing_check_shows_by_how_much(record: ledger.Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    record.check("bad", "C2", "too far", 0.5, 0.1)
    assert "✗ too far: FAILS, got 0.5, expected at most 0.1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("interval", "greater", "verdict"),
    [
        ((0.2, 0.6), True, "supported"),
        ((0.02, 0.6), True, "undecided"),
        ((-0.3, 0.05), True, "refuted"),
        ((-0.3, 0.05), False, "supported"),
        ((0.02, 0.6), False, "undecided"),
        ((0.2, 0.6), False, "refuted"),
        ((0.1, 0.6), True, "undecided"),  # an interval that touches the threshold has not passed it
    ],
)
def test_a_verdict_follows_from_the_interval(
    record: ledger.Ledger,
    capsys: pytest.CaptureFixture[str],
    interval: tuple[float, float],
    greater: bool,
    verdict: str,
) -> None:
    effect = sum(interval) / 2
    given = {"threshold": 0.1, "null": 0.0, "seeds": 5, "greater": greater, "unit": "bits"}
    assert record.claim("found", "small", "It  is.", effect, interval, **given) == verdict
    record.check("identity", "C1", "one", True)
    record.close()  # refuted stops nothing
    [claim] = results(record)["claims"]
    assert claim["verdict"] == verdict
    assert (claim["interval"], claim["seeds"], claim["statement"]) == (list(interval), 5, "It is.")
    shown = capsys.readouterr().out
    assert f"{verdict.capitalize()}: It is. Measured {effect:.3g} bits" in shown
    assert f"needs {'more' if greater else 'less'} than 0.1" in shown


def test_a_claim_without_uncertainty_is_refused(record: ledger.Ledger) -> None:
    good = {"effect": 1.0, "interval": (0.5, 1.5), "threshold": 0.0, "null": 0.0, "seeds": 3}
    for changes, sentence in (
        ({"interval": (1.5, 0.5)}, "expected lower end <= effect <= upper end"),
        ({"interval": (2.0, 3.0)}, r"got effect 1.0 and interval \(2.0, 3.0\)"),
        ({"effect": math.nan}, "got effect nan, expected a finite number"),
        ({"null": math.inf}, "got null inf"),
        ({"seeds": 1}, "got 1 seeds, expected at least 2"),
        ({"level": 95.0}, "got level 95.0, expected a coverage between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=sentence):
            record.claim("c", "small", "s", **(good | changes))
    assert record.claims == []
    record.claim("c", "small", "s", **good)
    with pytest.raises(ValueError, match="claim 'c' is already in the ledger"):
        record.claim("c", "small", "s", **good)


def test_tables_are_files_and_captioned(record: ledger.Ledger) -> None:
    record.check("identity", "C1", "$x$", True, kind="symbolic")
    shown = record.validation(caption="All\nchecks.")
    csv = pd.read_csv(record.out / "tables" / "09-test-validation.csv")
    assert csv.verdict.tolist() == ["holds"]
    assert ":name: tab-09-test-validation" in shown.markdown
    assert ":::{table} All checks." in shown.markdown
    bars = record.table(pd.DataFrame({"x": ["$|a| = 1$", 2]}), "bars", caption="c")
    assert r"| $\|a\| = 1$ |" in bars.markdown
    assert pd.read_csv(record.out / "tables" / "bars.csv").x.tolist() == ["$|a| = 1$", "2"]
    record.tables.pop()
    record.close()
    assert results(record)["tables"] == [
        {"id": "09-test-validation", "file": "tables/09-test-validation.csv", "rows": 1}
    ]


def test_bad_entries_are_refused(record: ledger.Ledger) -> None:
    record.check("once", "C1", "s", 0.0)
    record.number("once", 1.0)
    refused = [
        (lambda: record.check("once", "C1", "s", 0.0), "check 'once' is already in the ledger of 09-test"),
        (lambda: record.check("Bad Name", "C1", "s", 0.0), "got check name 'Bad Name', expected lower-case"),
        (lambda: record.check("k", "C1", "s", 0.0, kind="magic"), "expected 'symbolic' or 'numeric'"),
        (lambda: record.check("t", "C1", "s", 0.0, -1.0), "got tolerance -1.0, expected a finite number of at least 0"),
        (lambda: record.check("t", "C1", "s", 0.0, math.inf), "got tolerance inf"),
        (lambda: record.number("once", 2.0), "number 'once' is already in the ledger"),
        (lambda: record.number("nan", math.nan), "prose can only quote a finite number"),
        (lambda: record.table(pd.DataFrame(), "empty", caption="c"), "table 'empty' is empty"),
        (lambda: ledger.Ledger("c", "t", "", {}), "got an empty artefact folder"),
    ]
    for call, sentence in refused:
        with pytest.raises(ValueError, match=sentence):
            call()
