"""One look for every figure, and the files that a citer needs: SVG, PNG, PDF and the plotted numbers.

The look has two faces. A figure is drawn once, in the colours of ``PALETTE`` for a light page and on a transparent
ground; :func:`dark` exchanges those colours, and no others, for their twins on a dark page. The hues are those of
Okabe and Ito (2008), darkened or lightened until each has a contrast of at least 3:1 against its page; gates also
differ in line style and marker, so that nothing rests on colour alone.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from cycler import cycler
from matplotlib.figure import Figure

from gatelr import __author__, __license__, __title__, __version__, files

#: The colours by name, each as it is on a light page and on a dark one.
PALETTE: dict[str, tuple[str, str]] = {
    "ink": ("#24292f", "#e6edf3"),
    "muted": ("#656d76", "#9aa4af"),
    "grid": ("#d8dee4", "#30363d"),
    "blue": ("#0072b2", "#58b1ee"),
    "vermilion": ("#c8500a", "#ff9a57"),
    "green": ("#007f5f", "#3dcca1"),
    "purple": ("#a3478a", "#e596c8"),
    "ochre": ("#946700", "#ecbc45"),
}

#: The colours of text, of what stands back, and of grids.
INK, MUTED, GRID = (PALETTE[name][0] for name in ("ink", "muted", "grid"))
#: The hues in the order in which lines take them.
CYCLE = [PALETTE[name][0] for name in ("blue", "vermilion", "green", "purple", "ochre")]

#: How each gate is drawn everywhere, in colour, line style and marker.
GATES: dict[str, dict[str, str]] = {
    "none": {"color": MUTED, "linestyle": ":", "marker": "o"},
    "constant": {"color": PALETTE["ochre"][0], "linestyle": "--", "marker": "s"},
    "scalar": {"color": PALETTE["blue"][0], "linestyle": "-.", "marker": "^"},
    "multi": {"color": PALETTE["vermilion"][0], "linestyle": "-", "marker": "D"},
}

#: Colour maps of even lightness, safe for colour-blind readers, of a quantity from low to high and of one around zero.
SEQUENTIAL, DIVERGING = "cividis", "PuOr"

_RC: dict[Any, Any] = {
    "figure.figsize": (7.2, 3.4),
    "figure.constrained_layout.use": True,
    "figure.dpi": 110,
    "savefig.dpi": 220,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same figure
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.prop_cycle": cycler(color=CYCLE),
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.7,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "image.cmap": SEQUENTIAL,
    "svg.fonttype": "path",
    "svg.hashsalt": "gatelr",  # element ids that do not change from run to run
    "pdf.fonttype": 42,
}


@contextmanager
def style() -> Iterator[None]:
    """The book's look for the figures drawn inside the ``with`` block; matplotlib's settings return afterwards."""
    with mpl.rc_context(_RC), warnings.catch_warnings():
        # seaborn's grids lay themselves out
        warnings.filterwarnings("ignore", "The figure layout has changed to tight")
        yield


def write(
    figure: Figure,
    name: str,
    data: pd.DataFrame,
    *,
    alt: str,
    chapter: str,
    out: str | Path,
) -> bytes:
    """Write a figure as SVG, PNG and PDF beside the numbers it plots, and return the SVG.

    The files are ``<out>/figures/<name>.{svg,png,pdf,csv}``. SVG, PNG and PDF say within what they show, whose they
    are, how to cite them and, by its digest, which source drew them; they hold no date and no commit, so that the same
    figure is the same file. The commit stands in ``manifest.json``.

    Args:
        figure, name, data: as for ``Chapter.figure``.
        alt: what one would see, for a reader who cannot; plain text.
        chapter, out: the chapter's id, and its artefact folder of this run.

    Raises:
        ValueError: if there are no data.
        OSError: if the disk is full.
    """
    if data.empty:
        raise ValueError(f"figure {name!r} got no data: pass the plotted numbers as a DataFrame, one row a point")
    folder = Path(out) / "figures"
    rendered = {suffix: _render(figure, suffix, says) for suffix, says in _metadata(name, chapter, alt).items()}
    plt.close(figure)
    files.write(folder / f"{name}.csv", data.to_csv(index=False))
    for suffix, content in rendered.items():
        files.write(folder / f"{name}.{suffix}", content)
    return rendered["svg"]


def dark(svg: str) -> str:
    """The same figure in its dark-page colours: every colour of ``PALETTE`` is exchanged for its twin."""
    twins = dict(PALETTE.values())
    pattern = re.compile("|".join(twins), flags=re.IGNORECASE)
    return pattern.sub(lambda match: twins[match.group().lower()], svg)


def _metadata(name: str, chapter: str, alt: str) -> dict[str, dict[str, Any]]:
    """What the SVG (Dublin Core), the PNG (its registered keywords) and the PDF (its info fields) say of themselves."""
    identifier = f"{chapter}/fig-{name}"
    cite = f"Cite as: {__author__}: {__title__}, version {__version__}, chapter {chapter}, figure fig-{name}"
    licence = f"{__license__} licence, {__author__}"
    script = f"{chapter}.py"
    digest = files.digest(script)  # chapters run in the folder where they lie
    source = f"{script}, SHA-256 {digest}" if digest else script
    title = {"Title": f"{__title__}: {identifier}"}
    svg = {"Description": alt, "Creator": __author__, "Rights": licence, "Identifier": identifier, "Source": source}
    png = {"Description": alt, "Author": __author__, "Copyright": licence, "Source": source, "Comment": cite}
    pdf = {"Subject": alt, "Author": __author__, "Keywords": f"{cite}; {licence}; made by {source}"}
    undated: dict[str, Any] = title | svg | {"Relation": cite, "Date": None}
    return {"svg": undated, "png": title | png, "pdf": title | pdf | {"CreationDate": None}}


def _render(figure: Figure, suffix: str, metadata: dict[str, Any]) -> bytes:
    buffer, ground = io.BytesIO(), {"transparent": True} if suffix == "svg" else {"facecolor": "white"}
    with mpl.rc_context(_RC):  # hashsalt and font types are read when a figure is saved, not when it is drawn
        figure.savefig(buffer, format=suffix, metadata=metadata, **ground)
    return buffer.getvalue()
