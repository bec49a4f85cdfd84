"""Where the marks of a figure stand, in the units of its SVG; the page's template draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

#: The picture and its margins. It is narrow, so that its letters can be read on a phone.
WIDTH, HEIGHT = 400, 248
#: The edges of what is drawn inside it.
LEFT, RIGHT, TOP, BOTTOM = 58, 388, 34, 204
#: No curve has more points, and no table more rows.
POINTS, ROWS = 200, 40
#: A logarithmic axis reaches this many powers of ten below its largest number.
DECADES = 12
#: Time constants from here on share a bar.
LONGEST = 4096


@dataclass(frozen=True)
class Mark:
    """A place on an axis, and what is written there.

    Attributes:
        at: the place.
        label: what is written.
    """

    at: float
    label: str


@dataclass(frozen=True)
class Bar:
    """A bar of a histogram: its box, and the numbers that it stands for.

    Attributes:
        x: the left edge.
        y: the upper edge.
        width: of the box.
        height: of the box.
        label: the numbers.
        count: how many there are.
    """

    x: float
    y: float
    width: float
    height: float
    label: str
    count: int


@dataclass(frozen=True)
class Figure:
    """Axes with lines or bars.

    Attributes:
        x: marks along the horizontal axis.
        y: marks along the vertical axis.
        lines: the points of each unbroken piece of a curve, as SVG writes them.
        bars: those of a histogram.
        rules: vertical lines, such as the lag that matters.
        rows: the numbers as a table, each row the texts of its cells.
        left_out: how many numbers the table leaves out.
    """

    x: list[Mark]
    y: list[Mark]
    lines: list[str] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    rules: list[Mark] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    left_out: int = 0


def number(value: int | float | str) -> str:
    """A number as a reader writes it, in three digits."""
    value = float(value)
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "∞" if value > 0 else "−∞"
    text = f"{value:.3g}"
    digits, _, exponent = text.partition("e")
    if exponent:
        text = f"{digits}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}10{_raised(int(exponent))}"
    return text.replace("-", "−")


def curve(values: Sequence[float | str], rules: Mapping[str, int | None]) -> Figure | None:
    """A curve over lags 0, 1, …, on a logarithmic vertical axis.

    Args:
        values: one for each lag; what is not above 0 or not finite leaves a gap.
        rules: lags to be marked by a vertical line, by what is written there; those that are None or lie outside are
            left out.

    Returns:
        The figure; None if no number can be drawn.
    """
    numbers = [float(value) for value in values]
    drawn = [value for value in numbers if 0 < value < math.inf]
    if not drawn:
        return None
    top = math.ceil(math.log10(max(drawn)))
    bottom = max(math.floor(math.log10(min(drawn))), top - DECADES)
    top = max(top, bottom + 1)
    last = max(len(numbers) - 1, 1)

    def across(lag: int | float) -> float:
        return round(LEFT + (RIGHT - LEFT) * lag / last, 1)

    def up(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (math.log10(value) - bottom) / (top - bottom), 1)

    pieces: list[list[str]] = [[]]
    for lag in evenly(len(numbers), POINTS):
        if 10.0**bottom <= numbers[lag] < math.inf:
            pieces[-1].append(f"{across(lag)},{up(numbers[lag])}")
        elif pieces[-1]:
            pieces.append([])
    table = early(len(numbers), ROWS)
    every = math.ceil((top - bottom) / 6)
    return Figure(
        x=[Mark(across(lag), f"{lag:g}") for lag in steps(last)],
        y=[Mark(up(10.0**power), f"10{_raised(power)}") for power in range(bottom, top + 1, every)],
        # A piece of one point is drawn as a dot: a line that ends where it starts, with round ends.
        lines=[" ".join(piece * 2 if len(piece) == 1 else piece) for piece in pieces if piece],
        rules=[
            Mark(across(lag), label) for label, lag in rules.items() if lag is not None and 0 <= lag <= len(numbers) - 1
        ],
        rows=[[str(lag), number(numbers[lag])] for lag in table],
        left_out=len(numbers) - len(table),
    )


def histogram(values: Sequence[float | str]) -> Figure:
    """How many time constants lie between 0, 1, 2, 4, … steps.

    Args:
        values: of each unit, in steps, at least 0.

    Returns:
        The figure; its last bar has all that are longer than :data:`LONGEST`, infinite ones too.
    """
    numbers = [float(value) for value in values]
    finite = [value for value in numbers if value < LONGEST]
    powers = math.floor(math.log2(max([1.0, *finite]))) + 1
    edges = [0.0, *(2.0**power for power in range(powers + 1))]
    if len(finite) < len(numbers):
        edges = [0.0, *(2.0**power for power in range(13)), math.inf]
    counts = [sum(low <= value < high for value in numbers) for low, high in pairwise(edges)]
    counts[-1] += sum(value == math.inf for value in numbers)
    most, wide = max(counts), (RIGHT - LEFT) / len(counts)

    def up(count: int | float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * count / max(most, 1), 1)

    bars = [
        Bar(
            round(LEFT + wide * at + 1, 1),
            up(count),
            round(wide - 2, 1),
            round(BOTTOM - up(count), 1),
            f"{low:g} to {high:g}" if high < math.inf else f"{low:g} or more",
            count,
        )
        for at, (low, high, count) in enumerate(zip(edges, edges[1:], counts, strict=False))
    ]
    return Figure(
        x=[
            Mark(round(LEFT + wide * at, 1), f"{edges[at]:g}")
            for at in range(0, len(counts) + 1, 1 + len(counts) // 8)
            if edges[at] < math.inf
        ],
        y=[Mark(up(count), f"{count:g}") for count in steps(most) if count == int(count)],
        bars=bars,
        rows=[[bar.label, str(bar.count)] for bar in bars],
    )


def evenly(count: int, most: int) -> list[int]:
    """At most ``most`` of the indices 0 … count - 1, equally far apart, with the first and the last."""
    if count <= most:
        return list(range(count))
    return [round(at * (count - 1) / (most - 1)) for at in range(most)]


def early(count: int, most: int) -> list[int]:
    """At most ``most`` of the indices 0 … count - 1, each further from the last one than that from its own."""
    if count <= most:
        return list(range(count))
    return sorted({0, *(round((count - 1) ** (at / (most - 2))) for at in range(most - 1))})


def steps(last: int) -> list[float]:
    """Round numbers from 0 up to ``last``, six at most."""
    size = 10.0 ** math.floor(math.log10(max(last, 1)))
    width = next(size * part for part in (0.2, 0.5, 1, 2) if size * part * 5.5 >= last)
    return [width * at for at in range(int(last / width) + 1)]


def _raised(power: int) -> str:
    return str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
