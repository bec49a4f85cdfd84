"""A chapter keeps what was found, and a red check stops it."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import sympy as sp
import torch
from gatelr import judgement, statistics
from gatelr.record import Chapter, CheckFailed, figures, tables

SOURCE = """# %% [markdown]
# # A test

# %% tags=["parameters"]
seeds = 2
device = "cpu"
profile = "ci"
out = ""

# %% [markdown]
# :::{figure} /artifacts/a-test/figures/a-line.svg
# :name: fig-a-line
# :alt: A line that rises.
#
# What $x$ shows.
# :::
#
# :::{figure} /artifacts/a-test/figures/no-words.svg
# :name: fig-no-words
#
# A caption.
# :::
#
# :::{figure} /artifacts/elsewhere/figures/astray.svg
# :name: fig-astray
# :alt: A line.
#
# A caption.
# :::
#
# :::{figure} /artifacts/a-test/figures/no-caption.svg
# :name: fig-no-caption
# :alt: A line.
# :::
#
# :::{table-file} /artifacts/a-test/tables/bars.csv
# :name: tab-bars
#
# Bars.
# :::
#
# :::{table-file} /artifacts/a-test/tables/empty.csv
# :name: tab-empty
#
# Nothing.
# :::
#
# :::{table-file} /artifacts/a-test/tables/all.csv
# :name: tab-all
#
# All claims.
# :::
#
# :::{table-file} /artifacts/a-test/tables/a-test-validation.csv
# :name: tab-a-test-validation
#
# All checks.
# :::
"""


@pytest.fixture
def chapter(tmp_path: Path) -> Chapter:
    return make(tmp_path)


def make(folder: Path, source: str = SOURCE, **changes: Any) -> Chapter:
    (folder / "a-test.py").write_text(source)
    parameters = {"seeds": 2, "device": "cpu", "profile": "ci", "out": str(folder / "out")} | changes
    return Chapter("a-test", parameters, folder)


def results(chapter: Chapter) -> dict[str, Any]:
    return json.loads((chapter.out / "results.json").read_text())


def a_line() -> Any:
    with figures.style():
        figure, axes = plt.subplots(figsize=(3, 2))
        axes.plot([0, 1], [0, 1])
    return figure


DATA = pd.DataFrame({"x": [0, 1]})
SEEDS = pd.Index([1, 2, 3, 4, 5], name="seed")


def test_a_chapter_that_holds(chapter: Chapter, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chapter.prove("identity", "one  is\none", True, claim="C1", scope="every n and ℓ")
    chapter.check("close", "near", 1e-13, 1e-12, claim="C2", scope="n = 2", note="by looking")
    chapter.number("found", 0.123456)
    chapter.number("count", 12, unit="cases")
    chapter.close()

    found = results(chapter)
    assert found["passed"]
    assert (found["schema"], found["chapter"], found["title"]) == (2, "a-test", "A test")
    assert [row["value"] for row in found["checks"]] == [0.0, 1e-13]
    assert [row["kind"] for row in found["checks"]] == ["symbolic", "numeric"]
    assert [row["scope"] for row in found["checks"]] == ["every n and ℓ", "n = 2"]
    assert [row["general"] for row in found["checks"]] == [True, False]
    assert found["checks"][0]["statement"] == "one is one"
    assert found["numbers"]["found"]["text"] == "0.123"
    assert found["numbers"]["count"] == {"value": 12, "text": "12", "unit": "cases"}
    manifest = json.loads((chapter.out / "manifest.json").read_text())
    assert manifest["seeds"] == 2
    assert manifest["source"] == hashlib.sha256((tmp_path / "a-test.py").read_bytes()).hexdigest()
    assert manifest["device"] == "cpu"
    assert manifest["parameters"] == {"seeds": 2, "device": "cpu", "profile": "ci"}
    assert {"python", "torch", "sympy"} <= set(manifest["versions"])
    shown = capsys.readouterr().out
    assert "✓ one is one" in shown
    assert "✓ near: 1e-13 ≤ 1e-12" in shown


def test_parameters_are_the_caller_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-test.py").write_text(SOURCE)
    cell = "from gatelr.record import Chapter\nchapter = Chapter('a-test')"
    names = {"seeds": 7, "device": "cpu", "profile": "quick", "out": "there", "unrelated": object()}
    exec(cell, names)
    chapter: Any = names["chapter"]
    assert chapter.parameters == {"seeds": 7, "device": "cpu", "profile": "quick"}
    assert (chapter.seeds, chapter.device, chapter.out) == (7, torch.device("cpu"), Path("there"))
    with pytest.raises(ValueError, match="no value for seeds, profile: run the cell of parameters first"):
        exec(cell, {"device": "cpu", "out": "there"})
    capsys.readouterr()


@pytest.mark.parametrize("value", [2e-12, math.nan, math.inf, False])
def test_a_red_check_is_written_down_and_then_raised(chapter: Chapter, value: float) -> None:
    chapter.check("good", "holds", 0.0, claim="C1", scope="one point")
    chapter.check("bad", "does not hold", value, 1e-12, claim="C2", scope="one point")
    with pytest.raises(CheckFailed, match=r"1 of 2 checks fail in a-test: bad \(.* > 1e-12\)"):
        chapter.close()
    assert not results(chapter)["passed"]
    assert [row["passed"] for row in results(chapter)["checks"]] == [True, False]


def test_a_chapter_without_a_check_fails(chapter: Chapter) -> None:
    with pytest.raises(CheckFailed, match="without a single check"):
        chapter.close()
    assert not results(chapter)["passed"]


def test_a_failing_check_shows_by_how_much(chapter: Chapter, capsys: pytest.CaptureFixture[str]) -> None:
    chapter.check("bad", "too far", 0.5, 0.1)
    assert "✗ too far: FAILS, got 0.5, expected at most 0.1" in capsys.readouterr().out
    assert chapter.checks[0]["claim"] is None


x = sp.Symbol("x", real=True)


@pytest.mark.parametrize(
    ("fact", "holds"),
    [
        (True, True),
        (np.bool_(False), False),
        ((x + 1) ** 2 - x**2 - 2 * x - 1, True),
        ((x + 1) ** 2 - x**2 - 2 * x, False),
        (sp.Matrix([[x - x, sp.sin(x) ** 2 + sp.cos(x) ** 2 - 1]]), True),
        (sp.Matrix([[0, x]]), False),
        (sp.Eq(sp.sin(x) ** 2 + sp.cos(x) ** 2, 1), True),
        (x > 0, False),  # it may be
        ((x**2 + 1).is_positive, True),
        (sp.Symbol("z").is_positive, False),  # SymPy cannot tell
        (sp.true, True),
    ],
)
def test_a_proof_is_a_list_of_facts(chapter: Chapter, fact: Any, holds: bool) -> None:
    chapter.prove("fact", "it holds", True, fact, claim="C1", scope="n = 2")
    assert chapter.checks[0]["passed"] is holds
    assert chapter.checks[0]["value"] == (0.0 if holds else 1.0)


def test_a_proof_of_nothing_is_refused(chapter: Chapter) -> None:
    with pytest.raises(ValueError, match="proof 'nothing' got no fact"):
        chapter.prove("nothing", "it holds", claim="C1", scope="n = 2")
    with pytest.raises(TypeError, match="proof 'number' got 0, expected a truth value or an expression of SymPy"):
        chapter.prove("number", "it holds", 0, claim="C1", scope="n = 2")


# Five seeds of one setting, whose interval is Student's.
@pytest.mark.parametrize(
    ("values", "greater", "verdict"),
    [
        ([0.2, 0.3, 0.4, 0.5, 0.6], True, "supported"),
        ([0.0, 0.1, 0.4, 0.5, 0.6], True, "undecided"),
        ([-0.3, -0.2, -0.1, 0.0, 0.05], True, "refuted"),
        ([-0.3, -0.2, -0.1, 0.0, 0.05], False, "supported"),
        ([0.0, 0.1, 0.4, 0.5, 0.6], False, "undecided"),
        ([0.2, 0.3, 0.4, 0.5, 0.6], False, "refuted"),
        ([0.1, 0.1, 0.1, 0.1, 0.1], True, "undecided"),  # an interval that touches the threshold has not passed it
    ],
)
def test_a_verdict_follows_from_the_interval(
    chapter: Chapter, capsys: pytest.CaptureFixture[str], values: list[float], greater: bool, verdict: str
) -> None:
    given = {"about": "small", "threshold": 0.1, "greater": greater, "unit": "bits"}
    found = chapter.claim("found", "It  is.", pd.Series(values, SEEDS), **given)
    estimate = statistics.estimate(values, threshold=0.1)
    interval = judgement.interval(np.array(values), 0.95)
    assert (found.mean, found.interval, found.p, found.seeds) == (estimate.mean, interval, estimate.p, 5)
    assert found.verdict == verdict
    chapter.check("identity", "one", True, claim="C1", scope="n = 2")
    chapter.close()  # refuted stops nothing
    [claim] = results(chapter)["claims"]
    assert claim["verdict"] == verdict
    assert (claim["interval"], claim["seeds"], claim["statement"]) == (list(interval), 5, "It is.")
    assert (claim["about"], claim["claim"], claim["settings"], claim["primary"]) == ("small", "small", 1, False)
    shown = capsys.readouterr().out
    assert f"{verdict.capitalize()}, exploratory: It is. Measured {estimate.mean:.3g} bits" in shown
    assert f"needs {'more' if greater else 'less'} than 0.1" in shown


def test_the_mean_over_settings_decides_nothing(chapter: Chapter, capsys: pytest.CaptureFixture[str]) -> None:
    index = pd.MultiIndex.from_product([["adding", "recall"], [1, 2, 3]], names=["task", "seed"])
    values = pd.Series([-1.0, -1.1, -0.9, 3.0, 3.1, 2.9], index)
    found = chapter.claim("both", "s", values, about="small", null=values / 2, smallest=0.5, primary=True)
    assert found.mean == pytest.approx(1.0)
    assert found.interval == statistics.estimate([1.0, 1.0, 1.0]).interval
    assert (found.seeds, chapter.claims[0]["settings"], chapter.claims[0]["threshold"]) == (3, 2, 0.5)
    assert found.verdict == "mixed"
    assert [row["verdict"] for row in chapter.claims[0]["by setting"]] == ["refuted", "supported"]
    assert [row["null"] for row in chapter.claims[0]["by setting"]] == pytest.approx([-0.5, 1.5])
    assert chapter.claims[0]["level by setting"] == pytest.approx(1 - 0.05 / 6)
    assert "Mixed, supported in 1 of 2 settings: s. Mean over settings 1 " in capsys.readouterr().out
    nameless = values.rename_axis([None, None])
    assert chapter.claim("last-level", "s", nameless, about="small").interval == found.interval


def test_a_chapter_has_few_primary_claims(chapter: Chapter) -> None:
    chapter.check("identity", "one", True, claim="C1", scope="n = 2")
    for name in ("one", "two", "three", "four"):
        chapter.claim(name, "s", pd.Series([1.0, 2.0, 3.0, 4.0, 5.0], SEEDS), about="small", primary=True)
    with pytest.raises(ValueError, match=r"has 4 primary claims \(one, two, three, four\), expected at most 3"):
        chapter.close()


def test_a_claim_without_uncertainty_is_refused(chapter: Chapter) -> None:
    good = pd.Series([1.0, 2.0, 3.0, 4.0, 5.0], SEEDS)
    refused = [
        ({"values": good.replace(3.0, math.nan)}, "expected one finite number for each of at least 2 seeds"),
        ({"values": good[:1]}, "got 1 values"),
        ({"null": math.inf}, "got null inf, expected a finite number"),
        ({"threshold": math.nan}, "got threshold nan"),
    ]
    for changes, sentence in refused:
        with pytest.raises(ValueError, match=sentence):
            chapter.claim("c", "s", **({"values": good, "about": "small"} | changes))
    assert chapter.claims == []
    chapter.claim("c", "s", good, about="small")
    with pytest.raises(ValueError, match="claim 'c' is already in the record"):
        chapter.claim("c", "s", good, about="small")


def test_a_figure_has_its_words_from_the_source(chapter: Chapter, capsys: pytest.CaptureFixture[str]) -> None:
    chapter.figure("a-line", a_line(), DATA)
    written = sorted(path.name for path in (chapter.out / "figures").iterdir())
    assert written == [f"a-line.{suffix}" for suffix in ("csv", "pdf", "png", "svg")]
    assert "A line that rises." in (chapter.out / "figures" / "a-line.svg").read_text()
    assert "Figure a-line: A line that rises." in capsys.readouterr().out
    assert not plt.get_fignums()
    (chapter.out / "figures" / "of-another-run.svg").write_text("")
    chapter.check("identity", "one", True)
    chapter.close()
    files = [f"figures/a-line.{suffix}" for suffix in ("svg", "png", "pdf", "csv")]
    assert results(chapter)["figures"] == [{"id": "a-line", "files": files}], (
        "those that were made, whatever lies there"
    )


def test_bad_figures_are_refused(chapter: Chapter) -> None:
    refused = [
        ("A figure", DATA, "got figure name 'A figure', expected lower-case letters"),
        ("no-words", DATA, "figure 'no-words' has no alternative text"),
        ("no-caption", DATA, "the directive 'fig-no-caption' has no caption"),
        ("astray", DATA, "shows '/artifacts/elsewhere/figures/astray.svg', expected '/artifacts/a-test/figures/astray"),
        ("unknown", DATA, r"a-test.py shows no figure 'unknown': add a Markdown cell .* :name: fig-unknown"),
        ("a-line", DATA[:0], "figure 'a-line' got no data"),
    ]
    for name, data, sentence in refused:
        with pytest.raises(ValueError, match=sentence):
            chapter.figure(name, a_line(), data)
    assert not (chapter.out / "figures").exists()
    chapter.figure("a-line", a_line(), DATA)
    with pytest.raises(ValueError, match="figure 'a-line' is already in the record of a-test"):
        chapter.figure("a-line", a_line(), DATA)
    plt.close("all")


def test_tables_are_files(chapter: Chapter) -> None:
    chapter.check("identity", "$x$", True, claim="C1", scope="n = 2")
    chapter.check("again", "this run and the last", 0.0)
    chapter.validation()
    csv = pd.read_csv(chapter.out / "tables" / "a-test-validation.csv")
    assert csv.verdict.tolist() == ["holds", "holds"]
    assert csv.claim.tolist() == ["C1", "reproducibility"]
    chapter.table("bars", pd.DataFrame({"x": ["$|a| = 1$", 2]}))
    assert pd.read_csv(chapter.out / "tables" / "bars.csv").x.tolist() == ["$|a| = 1$", "2"]
    chapter.close()
    assert results(chapter)["tables"] == [
        {"id": "a-test-validation", "file": "tables/a-test-validation.csv", "rows": 2},
        {"id": "bars", "file": "tables/bars.csv", "rows": 2},
    ]


def test_the_tables_of_claims(chapter: Chapter) -> None:
    for name, shift in (("one", 1.0), ("other", 0.0)):
        chapter.claim(name, "s", pd.Series([shift, shift + 1, shift + 2, shift + 3, shift + 4], SEEDS), about="small")
    chapter.verdicts("all")
    table = pd.read_csv(chapter.out / "tables" / "all.csv")
    assert table.claim.tolist() == ["`one`", "`other`"]
    assert table["supported in"].tolist() == ["1 of 1", "1 of 1"]
    assert table.kind.tolist() == ["exploratory", "exploratory"]
    assert table.needs.tolist() == ["more than 0", "more than 0"]
    settings = tables.by_setting(chapter.claims)
    assert settings.claim.tolist() == ["`one`", "`other`"]
    assert settings.setting.tolist() == ["all", "all"]
    assert settings.verdict.tolist() == ["supported", "supported"]


def test_a_reference_completes_the_rows_and_is_checked(chapter: Chapter, tmp_path: Path) -> None:
    own = pd.DataFrame({"seed": [1, 2], "slope": [1.0, 2.0]})
    kept = tmp_path / "kept"
    kept.mkdir()
    pd.DataFrame({"seed": [2, 3], "slope": [2.05, 3.0]}).to_csv(kept / "e9-fits.csv", index=False)
    rows = chapter.compare(own, "e9-fits", ["seed"], {"slope": (0.1, 0.0)}, folder=kept, claim="C8")
    assert rows.here.tolist() == [True, True, False]
    [check] = chapter.checks
    assert (check["id"], check["claim"], check["tolerance"]) == ("reference-fits", "C8", 1.0)
    assert check["value"] == pytest.approx(0.5)
    assert check["scope"] == "1 rows that both have"
    chapter.compare(own, "e9-cost", ["seed"], {}, folder=kept)
    assert len(chapter.checks) == 1, "what is not compared is not checked"


@pytest.mark.parametrize(
    ("profile", "out", "seed", "passes"),
    [
        ("ci", "built", 1, False),
        ("ci", "built", 2, True),
        ("ci", "draft", 1, True),
        ("quick", "built", 1, True),
        ("paper", "built", 1, True),
        ("ci", "built", None, True),
    ],
)
def test_a_build_that_shares_no_row_has_compared_nothing(
    chapter: Chapter, tmp_path: Path, profile: str, out: str, seed: int | None, passes: bool
) -> None:
    chapter.parameters["profile"], chapter.out = profile, tmp_path / out
    kept = tmp_path / "kept"
    kept.mkdir()
    pd.DataFrame({"seed": [2, 3], "slope": [2.0, 3.0]}).to_csv(kept / "e9-fits.csv", index=False)
    own = pd.DataFrame({"seed": [1 if seed is None else seed], "slope": [2.0]}).iloc[: 0 if seed is None else 1]
    chapter.compare(own, "e9-fits", ["seed"], {"slope": (0.1, 0.0)}, folder=kept)
    assert chapter.checks[0]["passed"] is passes


def test_what_a_clock_gave_is_no_result(chapter: Chapter, tmp_path: Path) -> None:
    chapter.check("sums", "1 + 1 = 2", True)
    chapter.clock("minutes", np.float64(1.25), "1.2", "min")
    with pytest.raises(ValueError, match="number 'minutes' is already in the record"):
        chapter.number("minutes", 1.25)
    with pytest.raises(ValueError, match="number 'hours' is nan"):
        chapter.clock("hours", math.nan)
    chapter.close()
    assert json.loads((chapter.out / "clock.json").read_text()) == {
        "minutes": {"value": 1.25, "text": "1.2", "unit": "min"}
    }
    assert "minutes" not in (chapter.out / "results.json").read_text()


@pytest.mark.parametrize("name", ["../stray", "a/b", "/stray", "..", ""])
def test_no_name_leads_out_of_the_folder(chapter: Chapter, name: str) -> None:
    rows = pd.DataFrame({"seed": [1]})
    for write in (
        lambda: chapter.compare(rows, name, ["seed"], {}),
        lambda: chapter.table(name, rows),
        lambda: chapter.number(name, 1),
        lambda: chapter.figure(name, plt.figure(), rows),
    ):
        with pytest.raises(ValueError, match="expected lower-case letters, digits and single hyphens"):
            write()
    plt.close("all")


def test_bad_entries_are_refused(chapter: Chapter, tmp_path: Path) -> None:
    chapter.check("once", "s", 0.0)
    chapter.number("once", 1.0)
    refused = [
        (lambda: chapter.check("once", "s", 0.0), "check 'once' is already in the record of a-test"),
        (lambda: chapter.check("Bad Name", "s", 0.0), "got check name 'Bad Name', expected lower-case"),
        (lambda: chapter.check("t", "s", 0.0, -1.0), "got tolerance -1.0, expected a finite number of at least 0"),
        (lambda: chapter.check("t", "s", 0.0, math.inf), "got tolerance inf"),
        (lambda: chapter.check("t", "s", 0.0, claim="C1"), "check 't' got no scope, expected one since it supports C1"),
        (lambda: chapter.number("once", 2.0), "number 'once' is already in the record"),
        (lambda: chapter.number("nan", math.nan), "prose can only quote a finite number"),
        (lambda: chapter.table("empty", pd.DataFrame()), "table 'empty' is empty"),
        (lambda: chapter.table("unknown", DATA), "a-test.py shows no table 'unknown': .*{table-file}"),
        (lambda: make(tmp_path, out=""), "got no artefact folder: give its cell of parameters a line"),
    ]
    for call, sentence in refused:
        with pytest.raises(ValueError, match=sentence):
            call()
