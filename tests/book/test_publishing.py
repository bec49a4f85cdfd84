"""What a published book has beyond a local one: addresses, cards, a sitemap, a page for the lost, other versions."""

from __future__ import annotations

import functools
import os
import re
import shutil
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import pytest
import warm
from matplotlib.image import imread
from playwright.sync_api import Browser, expect

from .conftest import ROOT, Opened, Quiet, Server, open_page

HTML = ROOT / "_build" / "html"
HOME = "https://example.org/a/book/"

pytestmark = [pytest.mark.xdist_group("book")]

CONFIG = f"""
import sys

sys.path.insert(0, {str(ROOT / "book" / "_ext")!r})
extensions = ["myst_parser", "sphinx_book_theme", "sphinx-mathjax-offline", "publishing", "patches"]
templates_path = ["book/_templates"]
html_theme, html_title, html_logo = "sphinx_book_theme", "Tiny", "book/_static/logo.svg"
html_favicon = html_logo
html_static_path = ["book/_static"]
html_css_files = ["gatelr.css", "published.css"]
html_context = {{"default_mode": "auto"}}
myst_enable_extensions = ["dollarmath"]
"""
CHAPTER = r"""# One

A push at step $t$ is carried by $M_{t,k} = \prod_j (A_j + \varepsilon B_j)$, and no further.
"""


def tiny(root: Path, url: str, *, more: bool = False) -> Path:
    """Build a book of an index and a chapter for an address; one page more if that is asked for."""
    for folder in ("_static", "_templates"):
        shutil.copytree(ROOT / "book" / folder, root / "book" / folder)
    (root / "notebooks").mkdir()
    (root / "conf.py").write_text(CONFIG)
    (root / "index.md").write_text("# Tiny\n\nA book.\n\n```{toctree}\n:glob:\nnotebooks/*\n```\n")
    (root / "notebooks" / "01-one.md").write_text(CHAPTER)
    if more:
        (root / "notebooks" / "02-two.md").write_text("# Two\n\nNew.\n")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON", "COV", "GATELR"))}
    built = warm.run(["-m", "sphinx", "-n", "-W", "-q", ".", "html"], root, environment | {"GATELR_URL": url})
    assert built.returncode == 0, built.stderr
    return root / "html"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release and the newest state beside it, as they are deployed."""
    folder = tmp_path_factory.mktemp("published")
    main = tiny(folder / "newest", f"{HOME}main/", more=True)
    release = tiny(folder / "release", f"{HOME}v0.1.0/")
    shutil.move(release, folder / "packed" / "v0.1.0")
    archive = shutil.make_archive(str(folder / "book-v0.1.0"), "zip", folder / "packed", "v0.1.0")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "workflow"))
        import_module("assemble").assemble(HOME, main, [Path(archive)], folder / "served" / "a" / "book")
    return folder / "served" / "a" / "book"


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    """The host of the site, which answers for what it has not as GitHub Pages does: with the 404 page of the root."""

    class Pages(Quiet):
        def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
            self.send_response(code)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write((site / "404.html").read_bytes())

    with Server(("127.0.0.1", 0), functools.partial(Pages, directory=site.parents[1])) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def opened(browser: Browser, served: str) -> Iterator[Opened]:
    """A chapter of the release, as a reader who followed a citation has it."""
    opened = open_page(browser, served, "a/book/v0.1.0/notebooks/01-one")
    yield opened
    opened.page.context.close()


def test_a_page_says_where_it_stands_and_what_it_is_about(site: Path) -> None:
    for version in ("v0.1.0", "main"):
        page = (site / version / "notebooks" / "01-one.html").read_text()
        address = f"{HOME}{version}/notebooks/01-one.html"
        assert f'<link rel="canonical" href="{address}" />' in page
        assert f'<meta property="og:url" content="{address}" />' in page
        assert '<meta property="og:title" content="One" />' in page
        assert '<meta property="og:site_name" content="Tiny" />' in page
        # A formula is spelt as text: nobody typesets a description.
        about = "A push at step t is carried by M_t,k = ∏_j (A_j + ε B_j), and no further."
        assert f'<meta name="description" content="{about}" />' in page


def test_a_card_of_its_own_goes_with_each_page(site: Path) -> None:
    pages = [site / "v0.1.0" / name for name in ("index.html", "notebooks/01-one.html")]
    cards = [re.findall(r'og:image" content="([^"]*)"', page.read_text()) for page in pages]
    assert len({card for [card] in cards}) == 2
    for [card] in cards:
        height, width, _ = imread(site / card.removeprefix(HOME)).shape
        assert 1.85 < width / height < 1.95
        assert width > 1100


def test_the_sitemap_lists_the_pages_that_somebody_wrote(site: Path) -> None:
    found = [e.text for e in ElementTree.parse(site / "main" / "sitemap.xml").iter() if e.tag.endswith("loc")]
    pages = ("index.html", "notebooks/01-one.html", "notebooks/02-two.html")
    assert sorted(map(str, found)) == [f"{HOME}main/{page}" for page in pages]


def test_a_reader_goes_from_a_version_to_another(opened: Opened) -> None:
    page = opened.page
    switch = page.get_by_role("button", name="Version switcher list")
    expect(switch).to_have_text("v0.1.0 (newest)")
    assert opened.complaints == []
    switch.click()
    expect(page.locator(".version-switcher__menu a")).to_have_text(["v0.1.0 (newest)", "main (unreleased)"])
    page.get_by_role("option", name="main (unreleased)").click()
    page.wait_for_url("**/a/book/main/notebooks/01-one.html")
    expect(page.locator(".version-switcher__button")).to_have_text("main (unreleased)")


def test_a_page_that_the_other_version_has_not_leads_to_its_first_page(browser: Browser, served: str) -> None:
    opened = open_page(browser, served, "a/book/main/notebooks/02-two")
    opened.page.locator(".version-switcher__button").click()
    opened.page.get_by_role("option", name=re.compile(r"v0\.1\.0")).click()
    opened.page.wait_for_url("**/a/book/v0.1.0/")
    opened.page.context.close()


def test_without_the_list_of_versions_there_is_no_dead_switch(browser: Browser, site: Path) -> None:
    """Somebody reads a copy of one version, which is all there is."""
    with Server(("127.0.0.1", 0), functools.partial(Quiet, directory=site / "v0.1.0")) as server:
        threading.Thread(target=server.serve_forever).start()
        opened = open_page(browser, f"http://127.0.0.1:{server.server_port}", "notebooks/01-one")
        expect(opened.page.locator(".version-switcher__button")).to_be_hidden()
        opened.page.context.close()
        server.shutdown()


@pytest.mark.parametrize("lost", ["a/book/v0.1.0/notebooks/03-three", "a/book/nowhere/at/all/index", "a/book/x"])
def test_who_is_lost_finds_the_way(browser: Browser, served: str, lost: str) -> None:
    opened = open_page(browser, served, lost)
    page = opened.page
    expect(page.get_by_role("heading", name="This page is not here")).to_be_visible()
    expect(page.locator(".version-switcher__button")).to_have_count(0)
    # Only the page itself is missing: its styles, scripts and pictures are found from any depth.
    assert [said for said in opened.complaints if not said.endswith(f"/{lost}.html") and "404" not in said] == []
    assert [said for said in opened.complaints if said.startswith("404")] == [f"404: {served}/{lost}.html"]
    page.get_by_role("link", name="The first page").click()
    expect(page).to_have_url(f"{served}/a/book/v0.1.0/index.html")
    page.context.close()


def test_the_root_leads_to_the_newest_release(browser: Browser, served: str) -> None:
    page = browser.new_page()
    page.goto(f"{served}/a/book/")
    page.wait_for_url("**/a/book/v0.1.0/")
    page.close()


def test_a_local_book_claims_no_address(book: str) -> None:
    if os.environ.get("GATELR_URL"):
        pytest.skip("this book was built for an address")
    assert not (HTML / "sitemap.xml").exists()
    for file in HTML.rglob("*.html"):
        page = file.read_text()
        assert 'rel="canonical"' not in page
        assert 'property="og:' not in page
        assert "version-switcher" not in page


def test_the_book_has_a_page_for_the_lost_and_a_picture_for_the_tab(browser: Browser, book: str) -> None:
    opened = open_page(browser, book, "404")
    expect(opened.page.get_by_role("heading", name="This page is not here")).to_be_visible()
    assert opened.complaints == []
    icon = opened.page.locator("link[rel=icon]").get_attribute("href")
    assert icon == "/_static/logo.svg"
    assert (HTML / "_static" / "logo.svg").is_file()
    opened.page.context.close()
