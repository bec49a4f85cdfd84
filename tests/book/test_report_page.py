"""The command on a network that nothing of this project has trained, and its page in a browser."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from .test_accessibility import DESK, PHONE, sniffed

STEPS = 30

pytestmark = pytest.mark.xdist_group("book")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An LSTM that was to name its first input after thirty steps, in a loop of plain torch; and what is said of it."""
    folder = tmp_path_factory.mktemp("report")
    draw = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = torch.nn.ModuleDict({"lstm": torch.nn.LSTM(1, 16, 2, batch_first=True), "head": torch.nn.Linear(16, 1)})
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(50):
        u = torch.randn(32, STEPS, 1, generator=draw)
        loss = torch.nn.functional.mse_loss(model["head"](model["lstm"](u)[0][:, -1]), u[:, 0])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    torch.save(model.state_dict(), folder / "model.pt")
    np.savez(folder / "batch.npz", u=u.numpy(), y=u[:, 0].numpy())
    data = [
        "batch.npz",
        "--key",
        "u",
        "--batch-first",
        "--target",
        "batch.npz",
        "--target-key",
        "y",
        "--readout",
        "head",
    ]
    training = ["--optimizer", "sgd", "--lr", "0.1", "--clip", "1", "--lag", str(STEPS - 1), "--window", "10"]
    command = [sys.executable, "-m", "gatelr", "diagnose", "model.pt", *data, *training]
    done = subprocess.run(
        [*command, "-o", "report.html", "--json", "report.json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(params=[("light", "desk"), ("dark", "desk"), ("light", "phone"), ("dark", "phone")], ids="-".join)
def page(request: pytest.FixtureRequest, browser: Browser, report: Path) -> Iterator[Page]:
    """The page, which may ask nobody for anything and complain of nothing."""
    scheme: Literal["light", "dark"] = request.param[0]
    size: Any = DESK if request.param[1] == "desk" else PHONE
    context = browser.new_context(viewport=size, color_scheme=scheme)
    page = context.new_page()
    address = (report / "report.html").as_uri()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith((address, "data:")) else complaints.append(asked.url))
    page.goto(address, wait_until="networkidle")
    assert complaints == []
    yield page
    context.close()


def test_no_engine_finds_anything(page: Page) -> None:
    page.locator("details").evaluate_all("all => all.forEach(fold => { fold.open = true; })")
    assert page.locator("details table:visible").count() > 3
    report = Axe().run(page, options={"resultTypes": ["violations"]})
    assert [(broken["id"], broken["nodes"][0]["html"]) for broken in report.response["violations"]] == []
    assert sniffed(page) == []


def test_nothing_is_wider_than_the_page(page: Page) -> None:
    page.locator("details").evaluate_all("all => all.forEach(fold => { fold.open = true; })")
    assert page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0


def test_the_letters_of_a_figure_can_be_read(page: Page) -> None:
    heights = page.locator("svg text").evaluate_all("all => all.map(text => text.getBoundingClientRect().height)")
    assert min(heights) >= 11
    cut = page.locator("svg text").evaluate_all(
        """all => all.filter(text => { const [t, s] = [text, text.ownerSVGElement].map(e => e.getBoundingClientRect());
             return t.left < s.left - 1 || t.right > s.right + 1 || t.top < s.top - 1 || t.bottom > s.bottom + 1; })
           .map(text => text.textContent)"""
    )
    assert cut == []


def test_it_is_light_or_dark_as_the_reader_is(page: Page, request: pytest.FixtureRequest) -> None:
    ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    dark = "dark" in request.node.callspec.id
    assert ground == ("rgb(20, 24, 30)" if dark else "rgb(255, 255, 255)")


def test_what_was_found_stands_first_and_in_words(page: Page, report: Path) -> None:
    findings = json.loads((report / "report.json").read_text())["findings"]
    assert "memory-short" in {found["code"] for found in findings}
    articles = page.locator("main section").first.locator("article")
    assert articles.count() == len(findings)
    for article, finding in zip(articles.all(), findings, strict=True):
        text = article.inner_text()
        assert text.startswith(f"{ {'error': '✕', 'warning': '◐', 'note': '○'}[finding['severity']] } ")
        assert finding["severity"].capitalize() in text
        assert finding["sentence"] in text
        assert finding["remedy"] in text


def test_the_tab_key_reaches_folds_and_wide_tables(page: Page) -> None:
    stops = page.locator("summary, [tabindex='0']:visible").count()
    assert stops > 5
    reached = 0
    for _ in range(stops):
        page.keyboard.press("Tab")
        reached += bool(page.evaluate("() => document.activeElement.matches('summary, [tabindex]')"))
    assert reached == stops
