"""The figure with sliders: its numbers are the library's, and a picture stands for it on paper and without a script."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from gatelr import rates
from gatelr.cells import GatedRNN
from gatelr.record import figures
from playwright.sync_api import Browser, Locator, Page, expect

from .conftest import HTML, open_page
from .test_weight import travels

CHAPTER, ELSEWHERE = "notebooks/one-neuron", "notebooks/time-scales"
FIGURE = "#fig-one-gate"
DATA = Path(__file__).resolve().parents[2] / "artifacts/one-neuron/figures/one-gate.csv"
LONGEST, STEPS = 50, 200  # of the lags; of a slider

pytestmark = [pytest.mark.xdist_group("book")]


@pytest.fixture(scope="module")
def page(browser: Browser, book: str) -> Iterator[Page]:
    """One for all tests: each sets the sliders that it reads, and leaves the window as it was."""
    page = open_page(browser, book, CHAPTER).page
    yield page
    page.context.close()


def slider(page: Page, name: str) -> Locator:
    return page.locator(f"#live-{name}")


def says(page: Page, name: str) -> str:
    """What stands beside a slider, or among the results."""
    return page.locator(f".live output:is([for='live-{name}'], [name='{name}'])").inner_text()


def number(text: str) -> tuple[float, float]:
    """A number as it is shown, such as "0.107", "61.3 %" or "1.20 × 10−5", and half a unit of its last digit."""
    match = re.fullmatch(r"([\d.]+)(?: × 10−(\d+))?( %)?(?: steps?)?", text)
    assert match, text
    places = len(match[1].partition(".")[2])
    factor = 10.0 ** -int(match[2] or 0) / (100 if match[3] else 1)
    return float(match[1]) * factor, 0.5 * 10.0**-places * factor


def agrees(text: str, exact: float) -> bool:
    """To the digits that are shown, which may be a rounding error of float64 away from a half."""
    value, half = number(text)
    return abs(value - exact) <= half * (1 + 1e-9)


def library(gate: float, lag: int) -> dict[str, float]:
    """What the library measures on a network with this gate."""
    silence = torch.zeros(lag + 1, 1, dtype=torch.float64)
    with torch.no_grad():
        run = GatedRNN(1, 1, "constant", alpha=gate, dtype=torch.float64).run(silence)
    given = rates.shares(run).flip(0)[: lag + 1].sum()
    best = GatedRNN(1, 1, "constant", alpha=1 / (lag + 1), dtype=torch.float64)
    with torch.no_grad():
        most = rates.effective(best.run(silence), 1.0, lag)[-1].item()
    rate = rates.effective(run, 1.0, lag)[-1].item()
    return {
        "memory": rates.retention(run, lag)[-1].item(),
        "rate": rate,
        "spent": given.item(),
        "left": rates.retention(run, lag + 1)[-1].item(),
        "most": most,
        "share": rate / most,
        "matched": 1 / (lag + 1),
    }


@pytest.mark.parametrize(("position", "lag"), [(0, 1), (0, 50), (37, 10), (98, 10), (133, 4), (200, 1), (200, 50)])
def test_the_numbers_are_those_of_the_library(page: Page, position: int, lag: int) -> None:
    slider(page, "gate").fill(str(position))
    slider(page, "lag").fill(str(lag))
    gate, _ = number(says(page, "gate"))
    assert gate == pytest.approx(0.01 * 90 ** (position / STEPS), rel=6e-3)
    assert says(page, "lag") == ("1 step" if lag == 1 else f"{lag} steps")
    wrong = {n: (says(page, n), v) for n, v in library(gate, lag).items() if not agrees(says(page, n), v)}
    assert wrong == {}


def test_gate_and_time_constant_are_two_handles_of_one_number(page: Page) -> None:
    gate, constant = slider(page, "gate"), slider(page, "constant")
    gate.fill("60")
    for moved, other, place in ((gate, constant, 20), (constant, gate, 150), (constant, gate, 9), (gate, constant, 99)):
        before = other.input_value()
        moved.fill(str(place))
        assert other.input_value() != before
        assert moved.input_value() == str(place), "the handle that the reader holds stays where it is"
        value, _ = number(says(page, "gate"))
        assert agrees(says(page, "constant"), -1 / math.log1p(-value))
    slow, fast = 150, 30
    constant.fill(str(slow))
    slow_gate = number(says(page, "gate"))[0]
    constant.fill(str(fast))
    assert number(says(page, "gate"))[0] > slow_gate, "a short time constant is a large gate"


def test_the_keyboard_does_all(page: Page) -> None:
    slider(page, "gate").fill("100")
    slider(page, "lag").fill("10")
    slider(page, "gate").focus()
    for name in ("gate", "constant", "lag"):
        expect(slider(page, name)).to_be_focused()
        before = says(page, name)
        page.keyboard.press("ArrowRight")
        assert number(says(page, name))[0] > number(before)[0]
        expect(slider(page, name)).to_have_attribute("aria-valuetext", says(page, name))
        page.keyboard.press("Tab")
    expect(page.locator(".live button")).to_be_focused()
    page.keyboard.press("Enter")
    lag = round(number(says(page, "lag"))[0])
    assert says(page, "gate") == says(page, "matched") == f"{1 / (lag + 1):.3g}"
    assert says(page, "share") == "100.0 %"
    slider(page, "lag").focus()
    page.keyboard.press("End")
    assert says(page, "lag") == f"{LONGEST} steps"
    assert says(page, "share") != "100.0 %"


def points(page: Page, name: str) -> list[tuple[float, float]]:
    """A curve of a plot, in the units of its axes, which are read off its grid."""
    plot = page.locator(f".live-plot:has(output[name='{name}'])")
    ticks = plot.locator(":scope > svg > text:not(:has(.symbol))").evaluate_all(
        """all => all.map(
          text => [text.textContent.replace("−", "e-"), ...["x", "y"].map(name => Number(text.getAttribute(name)))]
        )"""
    )
    beside, below = ticks[: -LONGEST // 10 - 1], ticks[-LONGEST // 10 - 1 :]
    powers = any("e" in text for text, _, _ in beside)
    values = [math.log10(float(t.replace("10e", "1e"))) if powers else float(t) for t, _, _ in beside]
    low, high, y_low, y_high = values[0], values[-1], beside[0][2], beside[-1][2]
    (first, x_first, _), (last, x_last, _) = below[0], below[-1]
    drawn = plot.locator("polyline.curve").get_attribute("points") or ""
    found = []
    for pair in drawn.split():
        x, y = map(float, pair.split(","))
        lag = float(first) + (x - x_first) / (x_last - x_first) * (float(last) - float(first))
        value = low + (y - y_low) / (y_high - y_low) * (high - low)
        found.append((lag, 10**value if powers else value))
    return found


@pytest.mark.parametrize("name", ["memory", "rate", "spent"])
def test_the_curves_are_those_of_the_picture(page: Page, name: str) -> None:
    """The picture's data has the gate that is matched to lag 10; live it has three digits."""
    slider(page, "lag").fill("10")
    page.locator(".live button").click()
    data = pd.read_csv(DATA)
    data = data[(data.gate - 1 / 11).abs() < 1e-9]
    drawn = points(page, name)
    assert len(drawn) == len(data) == LONGEST + 1
    for (lag, value), row in zip(drawn, data.to_dict("records"), strict=True):
        assert lag == pytest.approx(row["lag"], abs=0.05)
        if name == "rate":  # a tenth of a pixel on a logarithmic axis
            assert value == pytest.approx(row["rate"], rel=0.02)
        else:
            assert value == pytest.approx(row[name], abs=0.002)


def test_a_screen_reader_hears_where_the_sliders_come_to_rest(page: Page) -> None:
    status = page.locator(".live [role=status]")
    heard = slider(page, "gate").evaluate(
        """gate => {
          const status = document.querySelector(".live [role=status]");
          status.textContent = "";
          return [60, 70, 80].map(position => {
            gate.value = position;
            gate.dispatchEvent(new Event("input"));
            return status.textContent;
          });
        }"""
    )
    assert heard == ["", "", ""], "not each step of the way"
    expect(status).to_have_text(re.compile(rf"^Memory {re.escape(says(page, 'memory'))}, .+ spent [\d.]+ %\.$"))
    for output in page.locator(".live output").all():
        expect(output).to_have_attribute("aria-live", "off")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_its_colours_are_the_figures_and_it_offends_nobody(page: Page, scheme: Literal["light", "dark"]) -> None:
    slider(page, "lag").fill("23")
    page.emulate_media(color_scheme=scheme)
    expect(page.locator("html")).to_have_attribute("data-theme", scheme)
    look = page.locator(".live").evaluate(
        """e => Object.fromEntries(["ink", "muted", "grid", "line"].map(
          name => [name, getComputedStyle(e).getPropertyValue(`--${name}`).trim()]
        ))"""
    )
    names = {"ink": "ink", "muted": "muted", "grid": "grid", "line": "blue"}
    assert look == {name: figures.PALETTE[colour][scheme == "dark"] for name, colour in names.items()}
    found = Axe().run(page, context=FIGURE, options={"resultTypes": ["violations"], "preload": False})
    page.emulate_media(color_scheme="light")
    assert found.response["violations"] == []


def test_without_a_script_the_picture_stands_there(browser: Browser, book: str) -> None:
    context = browser.new_context(java_script_enabled=False, base_url=book)
    page = context.new_page()
    page.goto(f"/{CHAPTER}.html")
    expect(page.locator(f"{FIGURE} img.only-light")).to_be_visible()
    expect(page.locator(f"{FIGURE} figcaption")).to_be_visible()
    expect(page.locator(".live")).to_have_count(0)
    context.close()


def test_on_paper_the_picture_stands_there(page: Page) -> None:
    picture, live = page.locator(f"{FIGURE} img.only-light"), page.locator(f"{FIGURE} .live")
    expect(live).to_be_visible()
    expect(picture).to_be_hidden()
    page.emulate_media(media="print")
    try:
        expect(picture).to_be_visible()
        expect(live).to_be_hidden()
        picture.scroll_into_view_if_needed()
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    finally:
        page.emulate_media(media="screen")
    expect(live).to_be_visible()
    expect(picture).to_be_hidden()
    expect(page.locator(f"{FIGURE} + .citable")).to_be_visible()


def test_its_old_address_leads_here(browser: Browser, book: str) -> None:
    page = browser.new_context(base_url=book).new_page()
    page.goto(f"/notebooks/bptt-and-rates.html{FIGURE}")
    page.wait_for_url(f"**/{CHAPTER}.html{FIGURE}")
    page.context.close()
    for suffix in ("svg", "png", "pdf", "csv"):
        new = HTML / "files/one-neuron" / f"fig-one-gate.{suffix}"
        assert (HTML / "files/bptt-and-rates" / new.name).read_bytes() == new.read_bytes()


def test_it_fits_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    try:
        for plot in page.locator(".live-plot > svg").all():
            # Drawn anew for its width, in letters that keep their size.
            expect(plot.get_by_text("50", exact=True)).to_have_attribute("x", re.compile(r"^3[2-5]\d"))
            box = plot.bounding_box()
            assert box
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 390
        assert page.evaluate("() => document.scrollingElement.scrollWidth") == 390
    finally:
        page.set_viewport_size({"width": 1280, "height": 844})


def test_it_asks_for_nothing_and_nothing_moves_by_itself(page: Page) -> None:
    page.locator(FIGURE).scroll_into_view_if_needed()
    page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for name in ("gate", "constant", "lag"):
        slider(page, name).fill("25")
    moving = "e => [e, ...e.querySelectorAll('*')].flatMap(e => e.getAnimations())"
    page.emulate_media(reduced_motion="no-preference")
    slider(page, "gate").fill("77")
    found = page.locator(".live").evaluate(moving)
    page.emulate_media(reduced_motion="reduce")
    assert found == []
    assert [url for url in asked if "_images/" not in url] == []


def test_only_the_page_that_has_it_loads_it_and_it_is_small(look: Callable[[str], Any]) -> None:
    files = ["_static/live.js", "_static/live.css"]
    fetched = [url.split("?")[0] for url in look(CHAPTER).fetched]
    assert all(any(url.endswith(file) for url in fetched) for file in files)
    assert not [url for url in look(ELSEWHERE).fetched if "live." in url]
    assert sum(map(travels, files)) < 6
