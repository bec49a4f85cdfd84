"""The cards of the first page: a word that is said, or one that a chapter measured."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import warm

EXTENSION = Path(__file__).resolve().parents[2] / "book" / "_ext"
CONF = f"import sys\nsys.path.insert(0, {str(EXTENSION)!r})\nextensions = ['myst_parser', 'gatelr_verdicts']\n"


def build(root: Path, word: str) -> tuple[subprocess.CompletedProcess[str], str]:
    verdicts = ("supported", "refuted", "absent", "undecided")
    claims = [{"id": f"is-{verdict}", "verdict": verdict, "settings": 1, "supported in": 0} for verdict in verdicts]
    claims.append({"id": "is-mixed", "verdict": "mixed", "settings": 10, "supported in": 2})
    found = [{"verdict": verdict} for verdict in ["supported"] * 2 + ["absent"] * 5 + ["undecided"] * 3]
    claims.append({"id": "is-told", "verdict": "mixed", "settings": 10, "supported in": 2, "by setting": found})
    claims.append({"id": "is-open", "verdict": "undecided", "settings": 10, "supported in": 0})
    claims.append({"id": "is-nowhere", "verdict": "refuted", "settings": 10, "supported in": 0})
    (root / "artifacts" / "12-one").mkdir(parents=True)
    (root / "artifacts" / "12-one" / "results.json").write_text(json.dumps({"claims": claims}))
    (root / "conf.py").write_text(CONF)
    card = f"```{{verdict}} {word}\n:question: Is it **small**?\n\nIn one line.\n```\n"
    (root / "index.md").write_text(f"# Tiny\n\n{card}")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON", "COV"))}
    built = warm.run(["-m", "sphinx", "-W", "-q", "-b", "html", ".", "_build"], root, environment)
    page = root / "_build" / "index.html"
    return built, page.read_text() if page.exists() else ""


@pytest.mark.parametrize(
    ("word", "says", "kind"),
    [
        ("not yet measured", "Not yet measured", "not-yet-measured"),
        ("partly", "Partly", "partly"),
        ("12-one/is-supported", "Holds", "holds"),
        ("12-one/is-refuted", "No", "no"),
        ("12-one/is-undecided", "Undecided", "undecided"),
        ("12-one/is-absent", "Absent", "no"),
        ("12-one/is-mixed", "In 2 of 10 settings", "partly"),
        ("12-one/is-nowhere", "In none of 10 settings", "no"),
        ("12-one/is-open", "Undecided, in 0 of 10 settings", "undecided"),
    ],
)
def test_a_card_says_its_verdict_in_a_word(tmp_path: Path, word: str, says: str, kind: str) -> None:
    built, page = build(tmp_path, word)
    assert built.returncode == 0, built.stderr
    assert f'class="verdict {kind} ' in page
    assert f'<p class="verdict-word">{says}</p>' in page
    assert '<p class="verdict-question">Is it <strong>small</strong>?</p>' in page


def test_a_card_says_what_the_other_settings_say(tmp_path: Path) -> None:
    built, page = build(tmp_path, "12-one/is-told")
    assert built.returncode == 0, built.stderr
    assert '<p class="verdict-word">In 2 of 10 settings</p>' in page
    assert '<p class="verdict-rest">elsewhere 5 absent, 3 undecided</p>' in page


@pytest.mark.parametrize("word", ["maybe", "12-one/is-lost", "13-two/is-supported"])
def test_a_verdict_that_there_is_not_stops_the_book(tmp_path: Path, word: str) -> None:
    built, _ = build(tmp_path, word)
    assert built.returncode != 0
    assert f"got the verdict '{word}', expected one of holds, partly, no" in built.stderr
    assert "index.md:3" in built.stderr
