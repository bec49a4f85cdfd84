"""What a citer gets: four files a figure, in colours that can be seen on both pages."""

import hashlib
import re
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pypdf
import pytest
from gatelr.cells import GATES
from gatelr.record import figures
from matplotlib import colors
from matplotlib.figure import Figure
from PIL import Image

PAGES = ("#ffffff", "#121212")  # the theme's page, light and dark


def draw() -> Figure:
    with figures.style():
        fig, ax = plt.subplots(figsize=(3, 2))
        for gate, look in figures.GATES.items():
            ax.plot([0, 1], [0, len(gate)], label=gate, **look)
        ax.set(xlabel="$x$", title="A title")
        ax.legend()
    return fig


def write(out: Path, alt: str = "Four lines.") -> bytes:
    return figures.write(draw(), "a-figure", pd.DataFrame({"x": [0, 1]}), alt=alt, chapter="a-test", out=out)


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    channels = np.array(colors.to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_four_files_a_figure(tmp_path: Path) -> None:
    svg = write(tmp_path)
    folder = tmp_path / "figures"
    assert sorted(p.name for p in folder.iterdir()) == [f"a-figure.{s}" for s in ("csv", "pdf", "png", "svg")]
    assert (folder / "a-figure.pdf").read_bytes().startswith(b"%PDF")
    assert (folder / "a-figure.png").read_bytes().startswith(b"\x89PNG")
    assert pd.read_csv(folder / "a-figure.csv").x.tolist() == [0, 1]
    assert (folder / "a-figure.svg").read_bytes() == svg
    assert not plt.get_fignums()


def test_the_files_say_what_they_are_and_how_to_cite_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script = b"# the source\n"
    Path("a-test.py").write_bytes(script)
    write(tmp_path, alt="Four lines & more: ℓ ≤ 3.")
    folder = tmp_path / "figures"

    dublin = {
        element.tag.rpartition("}")[2]: " ".join("".join(element.itertext()).split())
        for element in ElementTree.parse(folder / "a-figure.svg").iterfind(
            ".//cc:Work/*", {"cc": "http://creativecommons.org/ns#"}
        )
    }
    with Image.open(folder / "a-figure.png") as image:
        chunks = image.info
    info = pypdf.PdfReader(folder / "a-figure.pdf").metadata
    assert info is not None

    cite = "authors: Gates as Learning Rates, version 0.1.0, chapter a-test, figure fig-a-figure"
    source = f"a-test.py, SHA-256 {hashlib.sha256(script).hexdigest()}"
    titles = {dublin["title"], chunks["Title"], info.title}
    assert titles == {"Gates as Learning Rates: a-test/fig-a-figure"}
    assert {dublin["description"], chunks["Description"], info.subject} == {"Four lines & more: ℓ ≤ 3."}
    assert {dublin["creator"], chunks["Author"], info.author} == {figures.__author__}
    assert dublin["identifier"] == "a-test/fig-a-figure"
    for said in (dublin["relation"], chunks["Comment"], info["/Keywords"]):
        assert cite in said
    for said in (dublin["source"], chunks["Source"], info["/Keywords"]):
        assert source in said
    for said in (dublin["rights"], chunks["Copyright"], info["/Keywords"]):
        assert "MIT licence" in said


def test_a_figure_drawn_far_from_its_source_names_it_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    svg = (tmp_path / "figures" / "a-figure.svg").read_text()
    assert "<dc:source>a-test.py</dc:source>" in svg


def test_the_same_figure_is_the_same_file(tmp_path: Path) -> None:
    for run in ("one", "two"):
        write(tmp_path / run)
    for suffix in ("svg", "png", "pdf"):
        one, two = ((tmp_path / run / "figures" / f"a-figure.{suffix}").read_bytes() for run in ("one", "two"))
        assert one == two, suffix


def test_the_style_leaves_matplotlib_as_it_was() -> None:
    before = dict(mpl.rcParams)
    plt.close(draw())
    assert dict(mpl.rcParams) == before


def test_every_colour_can_be_seen_on_its_page() -> None:
    for name, pair in figures.PALETTE.items():
        least = {"ink": 7.0, "muted": 4.5, "grid": 1.1}.get(name, 3.0)
        for colour, page in zip(pair, PAGES, strict=True):
            assert contrast(colour, page) >= least, (name, colour, page)


def test_gates_differ_by_more_than_colour() -> None:
    assert set(figures.GATES) == set(GATES)
    for mark in ("color", "linestyle", "marker"):
        assert len({look[mark] for look in figures.GATES.values()}) == len(GATES), mark


def test_dark_exchanges_the_palette_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path)
    light = (tmp_path / "figures" / "a-figure.svg").read_text()
    dark = figures.dark(light)
    used = {c.lower() for c in re.findall(r"#[0-9a-fA-F]{6}\b", light)}
    assert used <= {pair[0] for pair in figures.PALETTE.values()}, "a colour outside the palette has no dark twin"
    assert not any(colour in dark for colour in used)
    back = dark
    for pair in figures.PALETTE.values():
        back = back.replace(pair[1], pair[0])
    assert back == light


def test_a_figure_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="figure 'empty' got no data"):
        figures.write(draw(), "empty", pd.DataFrame(), alt="a", chapter="a-test", out=tmp_path)
    assert not (tmp_path / "figures").exists()
    plt.close("all")
