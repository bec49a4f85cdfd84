"""A diagnosis as a page and as JSON: all of it is there, anything may be in it, and nothing is half-written."""

from __future__ import annotations

import dataclasses
import html
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from gatelr.networks import report
from gatelr.networks.diagnosis import Diagnosis, Finding, LayerDiagnosis, ParameterStep
from gatelr.networks.report import figures
from gatelr.networks.report.data import plain
from hypothesis import given
from hypothesis import strategies as st


def layer(**changed: Any) -> LayerDiagnosis:
    """Four units over thirty lags; one never forgets."""
    numbers: dict[str, Any] = {
        "module": "encoder.gru",
        "kind": "GRU",
        "layer": 0,
        "direction": "forward",
        "time_constants": torch.tensor([0.5, 3.0, 40.0, math.inf]),
        "retained": torch.tensor([0.1, 0.7, 0.97, 1.0]),
        "budget": 0.1 * 0.9 ** torch.arange(30.0),
        "gradient_by_lag": 5 * 0.5 ** torch.arange(30.0),
        "saturated": torch.tensor([False, True, False, True]),
        "dead": torch.tensor([False, False, False, True]),
        "lyapunov": torch.tensor([-0.01, -0.5, -math.inf]),
        "gates": {"r": torch.full((4,), 0.5), "z": torch.tensor([0.1, 0.7, 0.97, 1.0])},
        "budget_total": 0.9576,
    }
    return LayerDiagnosis(**{**numbers, **changed})


FINDINGS = [
    Finding("memory-short", "error", "The gradient ends at lag 9.", 9.0, "Lengthen it.", "If x > y.", "encoder.gru"),
    Finding("saturated", "warning", "2 of 4 units are at an end.", 0.5, "Start anew.", "", evidence={"mean z": 0.69}),
    Finding("clip-high", "note", "The threshold is never met.", math.nan, "Lower it.", "If all is well."),
]
FULL = Diagnosis(
    [layer(), layer(layer=1)],
    FINDINGS,
    steps=30,
    sequences=8,
    loss=0.5,
    baseline=1.0,
    lag=20,
    window=12,
    clip=1.5,
    used_by_lag=torch.rand(30, generator=torch.Generator().manual_seed(0)),
    gradient_norms=torch.linspace(0.5, 2.0, 8),
    parameters=[ParameterStep("encoder.gru.bias_hh_l0", 0.0, 0.1, 0.01, math.inf)],
    notes=["Dropout was on."],
    given={"module": "GRU(3, 4, num_layers=2)", "input": "(30, 8, 3), float32"},
)
BARE = Diagnosis([layer(kind="RNN", module="", gates={}, time_constants=torch.zeros(4))], [], steps=30, sequences=1)


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


@pytest.mark.parametrize("diagnosis", [FULL, BARE])
def test_json_has_every_field_and_every_parser_reads_it(diagnosis: Diagnosis) -> None:
    read = json.loads(diagnosis.to_json(), parse_constant=refuse)
    assert read.pop("schema") == report.SCHEMA
    assert set(read.pop("versions")) == {"gatelr", "torch", "Python"}
    assert set(read) == {field.name for field in dataclasses.fields(Diagnosis)}
    for kind, rows in ((LayerDiagnosis, read["layers"]), (Finding, read["findings"])):
        assert all({field.name for field in dataclasses.fields(kind)} <= set(row) for row in rows)


def test_json_gives_the_numbers_back_infinite_ones_too() -> None:
    first = json.loads(FULL.to_json(), parse_constant=refuse)["layers"][0]
    assert first["name"] == FULL.layers[0].name
    for name in ("time_constants", "lyapunov", "budget"):
        assert torch.equal(torch.tensor([float(value) for value in first[name]]), getattr(FULL.layers[0], name))
    assert first["saturated"] == [False, True, False, True]


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="got a complex, expected"):
        plain(FULL.layers[0].gates | {"r": 1j})


def test_the_page_is_made_from_the_json_alone() -> None:
    assert report.page(json.loads(FULL.to_json())) == report.page(report.content(FULL))


def test_the_page_says_what_was_found_first_and_all_of_it() -> None:
    page = report.page(report.content(FULL))
    for finding in FINDINGS:
        assert page.count(f"{finding.severity.capitalize()}:") == 1
        for said in (finding.code, finding.sentence, finding.remedy, finding.limits):
            assert html.escape(said) in page
            assert page.index(html.escape(said)) < page.index("encoder.gru, layer 0</h2>")
    assert page.count("When that does not help:") == 2  # one finding has no such limit
    for said in (
        "not a number",
        "<dt>mean z</dt><dd>0.69</dd>",
        "Dropout was on.",
        "GRU(3, 4, num_layers=2)",
        torch.__version__,
    ):
        assert said in page
    assert "Findings: 1 error, 1 warning, 1 note." in page


def test_the_page_of_a_healthy_network_says_so() -> None:
    page = report.page(report.content(BARE))
    assert page.count("Nothing was found.") == 2
    assert "<h1>Diagnosis of an RNN</h1>" in page
    assert "time constant in steps" not in page  # an RNN has none


def test_names_of_a_model_are_text() -> None:
    name = "<script>alert('&')</script>"
    hostile = Finding(name, "note", name, 1.0, name, name, name, {name: 1.0})
    diagnosis = dataclasses.replace(
        FULL, layers=[layer(module=name)], findings=[hostile], notes=[name], given={name: name}
    )
    page = report.page(report.content(diagnosis))
    assert "<script" not in page
    assert page.count(html.escape(name, quote=False).replace("'", "&#39;")) >= 8


def test_the_page_refers_to_nothing_outside_it() -> None:
    page = report.page(report.content(FULL))
    assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["data:,"]
    assert "url(" not in page
    assert "@import" not in page


def test_every_figure_has_words_and_its_numbers() -> None:
    page = report.page(report.content(FULL))
    pictures = re.findall(r"<svg.*?</svg>\s*<details>", page, flags=re.DOTALL)
    assert len(pictures) == 7  # three of each layer, and which lags the output uses
    for picture in pictures:
        [names] = re.findall(r'aria-labelledby="([^"]*)"', picture)
        for name in names.split():
            assert re.search(rf'<(?:title|desc) id="{name}">[^<]+<', picture)
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(set(ids)) == len(ids)


def test_a_curve_stands_where_its_numbers_say() -> None:
    figure = figures.curve([1.0, 0.1, 0.01], {"lag": 2, "window": 9, "none": None})
    assert figure is not None
    assert [mark.label for mark in figure.y] == ["10⁻²", "10⁻¹", "10⁰"]
    middle = (figures.LEFT + figures.RIGHT) / 2, (figures.TOP + figures.BOTTOM) / 2
    points = [tuple(map(float, point.split(","))) for point in figure.lines[0].split()]
    assert points == [(figures.LEFT, figures.TOP), middle, (figures.RIGHT, figures.BOTTOM)]
    assert figure.rules == [figures.Mark(float(figures.RIGHT), "lag")]
    assert figure.rows == [["0", "1"], ["1", "0.1"], ["2", "0.01"]]


@pytest.mark.parametrize("gap", [0.0, "NaN", "Infinity", -1.0, 1e-20])
def test_what_has_no_place_on_the_axis_leaves_a_gap(gap: float | str) -> None:
    figure = figures.curve([1.0, 0.5, gap, 0.5], {})
    assert figure is not None
    assert [len(line.split()) for line in figure.lines] == [2, 2]  # a piece of one point is a dot: its point twice
    assert len(figure.rows) == 4


@pytest.mark.parametrize("values", [[], [0.0], ["NaN", 0.0]])
def test_a_curve_of_nothing_is_none(values: list[float | str]) -> None:
    assert figures.curve(values, {}) is None


def test_a_long_curve_keeps_its_ends_and_a_short_table() -> None:
    figure = figures.curve([0.999**lag for lag in range(10_000)], {})
    assert figure is not None
    assert len(figure.lines[0].split()) == figures.POINTS
    lags = [int(row[0]) for row in figure.rows]
    assert lags[:4] == [0, 1, 2, 3]
    assert lags[-1] == 9_999
    assert len(lags) <= figures.ROWS
    assert figure.left_out == 10_000 - len(lags)


@given(st.lists(st.floats(0, allow_infinity=True), min_size=1, max_size=50))
def test_a_histogram_counts_every_unit_once(values: list[float]) -> None:
    figure = figures.histogram(values)
    assert sum(bar.count for bar in figure.bars) == len(values)
    for bar in figure.bars:
        low, _, high = bar.label.partition(" to ")
        inside = [
            float(low.split()[0]) <= value < float(high or "inf") or (not high and value == math.inf)
            for value in values
        ]
        assert bar.count == sum(inside)
        assert bar.x >= figures.LEFT
        assert bar.x + bar.width <= figures.RIGHT
        assert bar.y >= figures.TOP
        assert bar.y + bar.height == pytest.approx(figures.BOTTOM)


@pytest.mark.parametrize("last", [0, 1, 3, 7, 63, 199, 783, 10_000])
def test_an_axis_has_few_round_marks(last: int) -> None:
    marks = figures.steps(last)
    assert marks[0] == 0
    assert len(marks) <= 6
    assert marks[-1] <= max(last, 1)
    assert len(marks) >= 3 or last < 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (31.0, "31"),
        (-0.1234, "−0.123"),
        (1234.0, "1.23\u00a0×\u00a010³"),
        (1.5e-9, "1.5\u00a0×\u00a010⁻⁹"),
        ("Infinity", "∞"),
        (-math.inf, "−∞"),
        ("NaN", "not a number"),
    ],
)
def test_numbers_are_written_for_readers(value: float | str, text: str) -> None:
    assert figures.number(value) == text


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    for write in (FULL.to_html, FULL.to_json):
        with pytest.raises(FileNotFoundError, match="there is no folder"):
            write(tmp_path / "none" / "report")
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_page_stays_where_a_new_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "report.html"
    FULL.to_html(page)
    before = page.read_bytes()

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space left"):
        BARE.to_html(page)
    assert page.read_bytes() == before
    assert list(tmp_path.iterdir()) == [page]
