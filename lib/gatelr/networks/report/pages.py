"""A diagnosis as one page that stands alone, in the book's look."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from gatelr.networks.report import figures
from gatelr.networks.report.figures import number

_PAGES = jinja2.Environment(
    loader=jinja2.PackageLoader("gatelr.networks.report", ""),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
)
_PAGES.filters["number"] = number

#: Names and what they are.
Facts = list[tuple[str, str]]


def page(content: Mapping[str, Any]) -> str:
    """The page in HTML.

    Args:
        content: what :func:`~gatelr.networks.report.data.content` returned, or what its JSON gives back.

    Returns:
        The text of the page. It asks no other host for anything and has no script.
    """
    marks = {"the lag that matters": content["lag"], "window": content["window"]}
    used = content["used_by_lag"]
    return _PAGES.get_template("page.html.jinja").render(
        d=content,
        box=figures,
        title=_title(content),
        summary=_summary(content),
        used=None if used is None else figures.curve(used, marks),
        layers=[_layer(layer, marks) for layer in content["layers"]],
        norms=_norms(content["gradient_norms"], content["clip"]),
        steps=[_step(parameter) for parameter in content["parameters"]],
        given=_given(content),
    )


def _title(content: Mapping[str, Any]) -> str:
    kinds = {layer["kind"] for layer in content["layers"]}
    kind = kinds.pop() if len(kinds) == 1 else "recurrent network"
    return f"Diagnosis of {'an' if kind in ('LSTM', 'RNN') else 'a'} {kind}"


def _summary(content: Mapping[str, Any]) -> str:
    count = Counter(finding["severity"] for finding in content["findings"])
    said = [f"{count[name]} {name}{'s' * (count[name] > 1)}" for name in ("error", "warning", "note") if count[name]]
    return f"Findings: {', '.join(said)}." if said else "Nothing was found."


def _layer(layer: Mapping[str, Any], marks: Mapping[str, int | None]) -> dict[str, Any]:
    """A layer with what is drawn and written of it."""
    times = sorted(float(value) for value in layer["time_constants"])
    largest = max((float(value) for value in layer["lyapunov"]), default=math.nan)
    facts = [("Units", str(len(times)))]
    if layer["kind"] != "RNN":
        facts.append(
            ("Time constants", f"{number(_quantile(times, 0.5))} steps in the middle, {number(times[-1])} at most")
        )
    facts.append(("Sum of the rates", number(layer["budget_total"])))
    if not math.isnan(largest):
        said = f"{number(largest)}: a small change becomes {number(math.exp(largest))} of itself in a step"
        facts.append(("Largest Lyapunov exponent", said))
    gates = {name: sorted(float(value) for value in means) for name, means in layer["gates"].items()}
    return {
        **layer,
        "facts": facts,
        "times": figures.histogram(times),
        "rates": figures.curve(layer["budget"], marks),
        "gradient": figures.curve(layer["gradient_by_lag"], marks),
        "saturated_units": [unit for unit, is_so in enumerate(layer["saturated"]) if is_so],
        "dead_units": [unit for unit, is_so in enumerate(layer["dead"]) if is_so],
        "gate_rows": [
            [name, number(math.fsum(means) / len(means)), number(means[0]), number(means[-1])]
            for name, means in gates.items()
        ],
        "exponents": [[str(at), number(value)] for at, value in enumerate(layer["lyapunov"], start=1)],
    }


def _norms(norms: Sequence[float | str] | None, clip: float | None) -> Facts:
    """What is said of the gradients' norms, and of a threshold."""
    if not norms:
        return []
    ordered = sorted(float(norm) for norm in norms)
    facts = [
        ("Norm of a sequence's gradient", f"{number(_quantile(ordered, 0.5))} in the middle"),
        ("The largest norm", number(ordered[-1])),
    ]
    if clip is not None:
        above = sum(norm > clip for norm in ordered)
        facts.append(("Norms above the clipping threshold", f"{above} of {len(ordered)}"))
    return facts


def _step(parameter: Mapping[str, Any]) -> list[str]:
    return [parameter["name"], *(number(parameter[key]) for key in ("weight", "gradient", "step", "ratio"))]


def _given(content: Mapping[str, Any]) -> Facts:
    """What was diagnosed and with what, one line each."""
    options = {"Lag that matters": content["lag"], "Window": content["window"], "Clipping threshold": content["clip"]}
    return [
        *((name[:1].upper() + name[1:], said) for name, said in content["given"].items()),
        ("Sequences", str(content["sequences"])),
        ("Steps", str(content["steps"])),
        *((name, number(value)) for name, value in options.items() if value is not None),
        ("Versions", ", ".join(f"{name} {version}" for name, version in content["versions"].items())),
    ]


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
