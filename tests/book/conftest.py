"""The built book, served on a port of its own, and a browser to read it with: `make book` comes first."""

from __future__ import annotations

import functools
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from workflow.browser import NoBrowser, launch

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a word about each of them."""

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing of a reader who turned the page before it had all arrived; the browser notes what it lacks."""


#: Wait until nothing more has arrived for a tenth of a second. ("networkidle" is half a second, for each page anew.)
QUIET = """async () => {
  const arrived = () => performance.getEntriesByType("resource").length;
  let before;
  do {
    before = arrived();
    await new Promise(done => setTimeout(done, 100));
  } while (arrived() !== before);
}"""

#: So many pages stay open that tests only look at.
WINDOWS = 4

#: What `make test` leaves to `make test-all`: paper, each page in each light, and downloads in fresh environments.
WEEKLY = re.compile(
    r"/test_pdf\.py::"
    r"|::test_no_(violation(_in_the_dark|_on_a_phone)?|error_of_the_second_engine)\["
    r"|::test_a_download_runs_in_an_empty_folder\["
)
#: Of those, what `make test` looks at all the same: one page of each kind, and the first two in each light.
EVERY_TIME = re.compile(
    r"::test_no_(violation|error_of_the_second_engine)\[(book/index|notebooks/time-scales|book/generated/ledger|book/cite)\]"
    r"|::test_no_violation_(in_the_dark|on_a_phone)\[(book/index|notebooks/time-scales)\]"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes long."""
    for item in items:
        if WEEKLY.search(item.nodeid) and not EVERY_TIME.search(item.nodeid):
            item.add_marker("weekly")


def made(path: Path, by: str) -> Path:
    """A file of the book, which no test makes."""
    if not path.exists():
        pytest.fail(f"there is no {path.relative_to(ROOT)}: run `{by}` first")
    return path


@pytest.fixture(scope="session")
def book() -> Iterator[str]:
    """The address of the book as it stands in _build."""
    made(HTML / "index.html", "make book")
    with Server(("127.0.0.1", 0), functools.partial(Quiet, directory=HTML)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        try:
            browser = launch(playwright, why="read the book with")
        except NoBrowser as reason:
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(reason))
        yield browser
        browser.close()


@dataclass
class Opened:
    """A page of the book as the browser shows it, all that went wrong while it loaded, and what it asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)


def open_page(
    browser: Browser, book: str, name: str, scheme: str = "light", width: int = 1280, height: int = 844
) -> Opened:
    """Open a page such as "book/index" for a reader who comes for the first time, and wait until it is typeset."""
    context = browser.new_context(base_url=book, reduced_motion="reduce")
    return in_window(context, book, name, scheme, width, height, quiet=True)


def in_window(
    context: BrowserContext,
    book: str,
    name: str,
    scheme: str = "light",
    width: int = 1280,
    height: int = 844,
    *,
    quiet: bool = False,
) -> Opened:
    """Open a page in a new window and wait until it is typeset, and if need be until it asks for nothing any more."""
    context.set_default_timeout(15_000)
    opened = Opened(context.new_page())
    page, complaints = opened.page, opened.complaints
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    page.on("response", lambda got: complaints.append(f"{got.status}: {got.url}") if got.status >= 400 else None)
    home = (f"{book}/", "data:", "blob:")
    page.on("request", lambda asked: None if asked.url.startswith(home) else complaints.append(asked.url))
    page.goto(f"{book}/{name}.html")
    # a page that leads elsewhere is on its way, and nothing can be asked of it
    page.wait_for_function("() => !document.querySelector('meta[http-equiv=refresh]')")
    page.evaluate("() => window.MathJax?.startup?.promise")  # a page without mathematics does not load it
    if quiet:
        page.evaluate(QUIET)
    opened.fetched = page.evaluate("() => performance.getEntriesByType('resource').map(entry => entry.name)")
    return opened


@pytest.fixture(scope="session")
def context(browser: Browser, book: str) -> Iterator[BrowserContext]:
    """A reader who has read other pages before, so that what pages share is in the browser's cache."""
    context = browser.new_context(base_url=book, reduced_motion="reduce")
    yield context
    context.close()


@pytest.fixture
def visit(context: BrowserContext, book: str) -> Iterator[Callable[..., Page]]:
    """Open a page for one test, which may do with it what a reader does.

    A phone's page is opened at the width of a phone, as a phone opens it: a page made narrow afterwards is still
    moving (the sidebar leaves, the lines break anew) when the test reads where things stand.
    """
    pages: list[Page] = []

    def visit(name: str, **how: Any) -> Page:
        pages.append(in_window(context, book, name, **how).page)
        return pages[-1]

    yield visit
    for page in pages:
        page.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")  # what this reader chose
        page.close()


@pytest.fixture(scope="session")
def look(context: BrowserContext, book: str) -> Callable[[str], Opened]:
    """Open a page once for all tests that only look at it; they leave it as it was."""
    opened: dict[str, Opened] = {}

    def look(name: str) -> Opened:
        if name not in opened:
            if len(opened) == WINDOWS:
                opened.pop(next(iter(opened))).page.close()
            opened[name] = in_window(context, book, name, quiet=True)
        opened[name].page.bring_to_front()  # a page behind another is drawn once a second
        return opened[name]

    return look


@pytest.fixture(scope="session")
def paper(book: str, browser: Browser) -> Path:
    """The book as one PDF."""
    return made(ROOT / "_build" / "gates-as-learning-rates.pdf", "make pdf")
