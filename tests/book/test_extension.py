"""The book's own Sphinx extension, in a book of two pages: numbers quoted from results, and figures for a dark page."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import warm
from gatelr.record.figures import PALETTE

EXTENSION = Path(__file__).resolve().parents[2] / "book" / "_ext"

CONF = (
    f"import sys\nsys.path.insert(0, {str(EXTENSION)!r})\nextensions = ['myst_parser', 'gatelr_book']\nnumfig = True\n"
)
FIGURE = "```{figure} /artifacts/01-one/figures/curve.svg\n:name: fig-curve\n:alt: A falling curve\n\nIt falls.\n```\n"
CHAPTER = f"# One\n\n{FIGURE}\n"
LIGHT, DARK = PALETTE["blue"]
SVG = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path stroke="{LIGHT}" d="M0 0L9 9"/></svg>'


class Tiny:
    """A book whose index says what a test wants, and one chapter with results and a figure."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "notebooks").mkdir()
        (root / "artifacts" / "01-one" / "figures").mkdir(parents=True)
        (root / "conf.py").write_text(CONF)
        (root / "notebooks" / "01-one.md").write_text(CHAPTER)
        (root / "artifacts" / "01-one" / "figures" / "curve.svg").write_text(SVG)
        self.results("1.2e-14")

    def results(self, worst: str) -> None:
        checks = [
            {"kind": "symbolic", "general": True, "passed": True},
            {"kind": "symbolic", "general": False, "passed": True},
            {"kind": "numeric", "general": False, "passed": True},
        ]
        claim = {
            "id": "small",
            "verdict": "refuted",
            "effect": 0.3,
            "interval": [0.2, 0.41],
            "null": 0.0,
            "seeds": 20,
            "p": 0.01,
        }
        content = {
            "checks": checks,
            "claims": [claim],
            "numbers": {"worst": {"value": float(worst), "text": worst, "unit": ""}},
        }
        (self.root / "artifacts" / "01-one" / "results.json").write_text(json.dumps(content))

    def index(self, text: str) -> None:
        (self.root / "index.md").write_text(f"# Tiny\n\n{text}\n\n```{{toctree}}\nnotebooks/01-one\n```\n")

    def build(self, builder: str = "html", jobs: int = 1) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON", "COV"))}
        environment["GATELR_JOBS"] = str(jobs)
        command = ["-m", "sphinx", "-W", "-q", "-b", builder, ".", f"_build/{builder}"]
        return warm.run(command, self.root, environment)

    def page(self, name: str) -> str:
        return (self.root / "_build" / "html" / f"{name}.html").read_text()


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return Tiny(tmp_path)


def test_prose_quotes_a_number_and_follows_it(tiny: Tiny) -> None:
    tiny.index("At most {result}`01-one/worst`, in {result}`checks/total` checks, {result}`checks/proofs` proofs.")
    assert tiny.build().returncode == 0
    assert '<span class="result">1.2e-14</span>, in <span class="result">3</span>' in tiny.page("index")
    assert '<span class="result">1</span> proofs' in tiny.page("index"), "one size is not every n"

    tiny.results("3.4e-14")  # the page is as it was; the chapter has run again
    assert tiny.build().returncode == 0
    assert '<span class="result">3.4e-14</span>' in tiny.page("index")


def test_prose_quotes_what_a_claim_came_to(tiny: Tiny) -> None:
    tiny.index(
        "It is {result}`01-one/small.verdict`: {result}`01-one/small.effect` ({result}`01-one/small.interval`; null "
        "{result}`01-one/small.null`) over {result}`01-one/small.seeds` seeds, from {result}`01-one/small.low` to "
        "{result}`01-one/small.high`, p {result}`01-one/small.p`; {result}`claims/refuted` of {result}`claims/total` "
        "refuted."
    )
    assert tiny.build().returncode == 0
    text = re.sub("<[^>]*>", "", tiny.page("index"))
    assert "It is refuted: 0.3 (0.2 to 0.41; null 0) over 20 seeds, from 0.2 to 0.41, p 0.01; 1 of 1 refuted." in text


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("01-one/small.colour", "chapter 01-one has no number 'small.colour'"),
        ("claims/red", "expected one of supported, refuted, absent, mixed, undecided, total"),
        ("01-one/best", "chapter 01-one has no number 'best', expected one of worst"),
        ("02-two/worst", "there is no artifacts/02-two/results.json"),
        ("checks/red", "expected one of total, passed, proofs, cases, numeric, 01-one"),
    ],
)
def test_a_number_that_there_is_not_stops_the_book(tiny: Tiny, asked: str, answer: str) -> None:
    tiny.index(f"At most {{result}}`{asked}`.")
    built = tiny.build()
    assert built.returncode != 0
    assert answer in built.stderr
    assert "index.md:3" in built.stderr


def test_a_figure_has_a_twin_in_the_colours_of_a_dark_page(tiny: Tiny) -> None:
    tiny.index("See {numref}`fig-curve`.")
    assert tiny.build().returncode == 0
    light = '<img alt="A falling curve" class="only-light" src="../_images/curve.svg" />'
    dark = '<img alt="A falling curve" class="only-dark" src="../_images/curve.dark.svg" />'
    # The span keeps the caption from being a sibling of the twin that the theme hides.
    assert f'<span class="twins">{light}{dark}</span><figcaption>' in tiny.page("notebooks/01-one")
    assert "Fig. 1" in tiny.page("index")
    images = tiny.root / "_build" / "html" / "_images"
    assert (images / "curve.svg").read_text() == SVG
    assert (images / "curve.dark.svg").read_text() == SVG.replace(LIGHT, DARK)


def test_elsewhere_than_in_html_a_figure_is_one_image(tiny: Tiny) -> None:
    tiny.index("See {numref}`fig-curve`.")
    assert tiny.build("xml").returncode == 0
    assert (tiny.root / "_build" / "xml" / "notebooks" / "01-one.xml").read_text().count("<image ") == 1


def test_pages_that_two_processes_read_and_write_are_those_of_one(tiny: Tiny) -> None:
    conf = tiny.root / "conf.py"
    conf.write_text(f"{conf.read_text()}extensions += ['patches']\n")
    for number in range(12):  # below six it is not worth it to Sphinx
        other = (number + 5) % 12
        page = f"# Page {number}\n\n(sec-{number})=\n## Its end\n\n{{numref}}`fig-curve`, {{ref}}`sec-{other}`\n"
        (tiny.root / "notebooks" / f"page-{number}.md").write_text(page)
    tiny.index("It is so.\n\n```{toctree}\n:glob:\nnotebooks/page-*\n```")
    built = []
    for jobs in (1, 2):
        done = tiny.build(jobs=jobs)
        assert done.returncode == 0, done.stderr
        pages = (tiny.root / "_build" / "html").rglob("*")
        built.append({page: page.read_bytes() for page in sorted(pages) if page.suffix in (".html", ".js", ".css")})
        shutil.rmtree(tiny.root / "_build")
    assert len(built[0]) > 13
    assert built[0] == built[1]

    last = tiny.root / "notebooks" / "page-9.md"
    last.write_text(f"{last.read_text()}\n{{ref}}`nowhere`\n")
    done = tiny.build(jobs=2)
    assert done.returncode != 0
    assert "page-9.md" in done.stderr
    assert "nowhere" in done.stderr
