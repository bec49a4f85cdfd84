"""Two things that the pages need of Sphinx: numbers quoted from a chapter's results, and figures for a dark page.

``{result}`agreement/worst-float64``` prints a number as the chapter wrote it down, so that prose never types one.
``{result}`checks/total``` counts the checks of every chapter, and ``{result}`checks/agreement``` those of one chapter.
Also ``passed``; ``proofs``, by computer algebra for every n and ℓ; ``cases``, by computer algebra at stated sizes; and
``numeric``. ``{result}`gate-corrections/small.verdict``` is what a claim about
training came to; also ``effect``, ``interval``, ``low``, ``high``, ``p``, ``null`` and ``seeds``; ``supported``,
``refuted`` and ``absent`` say in how many settings it came to that; and
``{result}`claims/supported``` counts them over all chapters. What does not exist is a warning: the build fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.nodes import Node, system_message
from gatelr import files
from gatelr.record import figures
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole
from sphinx.util.osutil import relative_uri

logger = logging.getLogger(__name__)


class Result(SphinxRole):
    """``{result}`chapter/name```: the text of a number in ``artifacts/<chapter>/results.json``, or ``run.json``."""

    def run(self) -> tuple[list[Node], list[system_message]]:
        chapter, _, name = self.text.partition("/")
        try:
            count = {"checks": _checks, "claims": _claims}.get(chapter)
            text = count(self.env, name) if count else _quote(self.env, chapter, name)
        except LookupError as error:
            logger.warning("%s", error.args[0], location=self.get_location(), type="gatelr", subtype="result")
            text = f"[{self.text}]"
        return [nodes.inline(self.rawtext, text, classes=["result"])], []


def _quote(env: BuildEnvironment, chapter: str, name: str) -> str:
    results = _results(env, chapter)
    claims = {claim["id"]: claim for claim in results.get("claims", [])}
    claim, _, part = name.rpartition(".")
    if claim in claims and part in PARTS:
        return PARTS[part](claims[claim])
    numbers = results["numbers"] | _clock(env, chapter)
    if name not in numbers:
        raise LookupError(
            f"chapter {chapter} has no number {name!r}, expected one of {', '.join(sorted(numbers)) or '(none)'}: "
            "record it with chapter.number in the chapter"
        )
    return str(numbers[name]["text"])


def _short(value: float) -> str:
    """Three digits, and no more than four places: the ledger has the rest."""
    return f"{value:.3g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.4f}"


def _settings(claim: dict[str, Any], verdict: str) -> str:
    """In how many of its settings a claim came to a verdict."""
    return f"{sum(row['verdict'] == verdict for row in claim['by setting'])} of {claim['settings']}"


#: What can be quoted of a claim, and how it is written.
PARTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "verdict": lambda claim: str(claim["verdict"]),
    "effect": lambda claim: _short(claim["effect"]),
    "interval": lambda claim: " to ".join(_short(end) for end in claim["interval"]),
    "low": lambda claim: _short(claim["interval"][0]),
    "high": lambda claim: _short(claim["interval"][1]),
    "p": lambda claim: _short(claim["p"]),
    "null": lambda claim: _short(claim["null"]),
    "seeds": lambda claim: str(claim["seeds"]),
    "settings": lambda claim: str(claim["settings"]),
    "supported": lambda claim: f"{claim['supported in']} of {claim['settings']}",
    "refuted": lambda claim: _settings(claim, "refuted"),
    "absent": lambda claim: _settings(claim, "absent"),
    "smallest": lambda claim: _short(claim["smallest"]),
    "threshold": lambda claim: _short(claim["threshold"]),
}


def _chapters(env: BuildEnvironment) -> list[str]:
    return sorted(Path(doc).name for doc in env.found_docs if doc.startswith("notebooks/"))


def _claims(env: BuildEnvironment, what: str) -> str:
    verdicts = [claim["verdict"] for chapter in _chapters(env) for claim in _results(env, chapter).get("claims", [])]
    counts = {verdict: verdicts.count(verdict) for verdict in ("supported", "refuted", "absent", "mixed", "undecided")}
    counts["total"] = len(verdicts)
    if what not in counts:
        raise LookupError(f"got a count of claims {what!r}, expected one of {', '.join(counts)}")
    return str(counts[what])


def _checks(env: BuildEnvironment, what: str) -> str:
    chapters = _chapters(env)
    if what in chapters:
        return str(len(_results(env, what)["checks"]))
    checks = [check for chapter in chapters for check in _results(env, chapter)["checks"]]
    counts = {
        "total": len(checks),
        "passed": sum(check["passed"] for check in checks),
        "proofs": sum(check["kind"] == "symbolic" and check["general"] for check in checks),
        "cases": sum(check["kind"] == "symbolic" and not check["general"] for check in checks),
        "numeric": sum(check["kind"] == "numeric" for check in checks),
    }
    if what not in counts:
        raise LookupError(f"got a count of checks {what!r}, expected one of {', '.join([*counts, *chapters])}")
    return str(counts[what])


def _results(env: BuildEnvironment, chapter: str) -> dict[str, Any]:
    file = f"artifacts/{chapter}/results.json"
    env.note_dependency(file)  # the page is read again when the chapter has run again
    path = Path(env.srcdir) / file
    if not path.exists():
        raise LookupError(f"there is no {file}: run the chapter, or correct its name in the {{result}} role")
    results: dict[str, Any] = json.loads(path.read_text())
    return results


def _clock(env: BuildEnvironment, chapter: str) -> dict[str, Any]:
    """The numbers that a clock gave, which no two runs have alike."""
    path = Path(env.srcdir) / f"artifacts/{chapter}/run.json"
    return dict(json.loads(path.read_text()).get("clock", {})) if path.exists() else {}


class DarkTwins(SphinxPostTransform):
    """Beside each figure of a chapter stands its twin in the colours of a dark page; the theme shows one of the two."""

    default_priority = 500
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for image in list(self.document.findall(nodes.image)):
            uri = image["uri"]
            if uri.startswith(("artifacts/", "book/generated/")) and uri.endswith(".svg"):
                self._pair(image, uri)

    def _pair(self, image: nodes.image, uri: str) -> None:
        builder = self.app.builder
        # A figure's name holds no full stop, so that no other figure can have the twin's.
        name = f"{Path(self.env.images[uri][1]).stem}.dark.svg"
        svg = (Path(self.env.srcdir) / uri).read_text()
        files.write(Path(builder.outdir) / builder.imagedir / name, figures.dark(svg))

        folder = relative_uri(builder.get_target_uri(self.env.docname), builder.imagedir)
        light, twin = image.deepcopy(), image.deepcopy()
        twin["uri"] = f"{folder}/{name}"
        twin["candidates"] = {"?": twin["uri"]}  # an address of its own, which Sphinx leaves as it is
        twin["ids"], twin["names"] = [], []
        light["classes"].append("only-light")
        twin["classes"].append("only-dark")
        # The theme hides a caption that stands beside an image of the other colour scheme; inside a span none does.
        image.parent.replace(image, nodes.inline("", "", light, twin, classes=["twins"]))


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_role("result", Result())
    app.add_post_transform(DarkTwins)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
