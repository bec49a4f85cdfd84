"""A chapter's source is read, not run."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from gatelr.record import source

GOOD = """# ---
# jupyter: {}
# ---

# %% [markdown]
# (ch-x)=
# # Time-scales: a `title`
#
# # Another heading

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show"}
seeds = 3  # for the reader
width: float = 0.5
(seeds, other)

# %%
elsewhere = 1

# %% [markdown]
# Prose.
#
# ::::{admonition} Box
# :::{figure} /artifacts/x/figures/a-b.svg
# :name: fig-a-b
# :alt: Curves that fall: the first
# :  faster than the second.
#
# They *fall*.
# Both: {numref}`tab-c`.
# :::
# ::::
#
# ```{table-file} /artifacts/x/tables/c.csv
# :name: tab-c
#
# Numbers.
# ```
#
# :::{csv-table} All on one line.
# :file: /artifacts/x/tables/d.csv
# :name: tab-d
# :::
#
# :::{figure} /elsewhere.svg
# Without a name.
# :::
"""


def read(folder: Path, text: str) -> source.Source:
    (folder / "x.py").write_text(text)
    return source.read(folder / "x.py")


def test_title_parameters_and_captions(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD)
    assert found.title == "Time-scales: a `title`"
    assert found.parameters == ("seeds", "width")
    assert found.digest == hashlib.sha256(GOOD.encode()).hexdigest()
    assert list(found.captions) == ["fig-a-b", "tab-c", "tab-d"]
    figure = found.captions["fig-a-b"]
    assert figure.path == "/artifacts/x/figures/a-b.svg"
    assert figure.alt == "Curves that fall: the first faster than the second."
    assert figure.text == "They *fall*. Both: {numref}`tab-c`."
    assert found.captions["tab-c"].text == "Numbers."
    assert (found.captions["tab-d"].text, found.captions["tab-d"].path) == (
        "All on one line.",
        "/artifacts/x/tables/d.csv",
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (GOOD.replace("# # ", "# ## "), "x.py has no title"),
        (GOOD.replace('"parameters", ', ""), "x.py has no cell of parameters"),
        (GOOD.replace("tab-d", "tab-c"), "x.py has two directives named 'tab-c': rename one of them"),
    ],
)
def test_what_a_source_must_have(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read(tmp_path, text)


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"got chapter 'lost', but there is no lost\.py in .*: correct"):
        source.read(tmp_path / "lost.py")
