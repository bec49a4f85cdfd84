"""Chapters taken away: read without Sphinx, run in a folder with nothing around it, opened in Colab and Binder."""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from html import unescape
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat
import pytest
import warm
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from playwright.sync_api import Page, expect

from workflow import toc

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
DOWNLOADS = HTML / "downloads"
CHAPTERS = list(toc.chapters())
# Enough to see that it works: one that proves, and one that reads data. Every week all are tried.
TRIED = CHAPTERS if os.environ.get("GATELR_EVERY_CHAPTER") else ["exact-jacobians", "benchmarks"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

pytestmark = [pytest.mark.xdist_group("book")]

sys.path.append(str(ROOT / "workflow"))
import plain  # noqa: E402
import portable  # noqa: E402
import publish_notebooks  # noqa: E402

LOCK = (ROOT / "requirements.lock").read_text()
FOLDER = f"gatelr-{PROJECT['version']}"
chapters = pytest.mark.parametrize("chapter", CHAPTERS)


# Prose


def said(role: str) -> str:
    """A resolver that any test can foresee."""
    name, text = re.fullmatch(r"\{(.+)\}`(.+)`", role, flags=re.DOTALL).groups()
    return "(4.2)" if name == "eq" else f"<{name} {text}>"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a {ref}`b`", ["{ref}`b`"]),
        ("> - {cite}`b`", ["{cite}`b`"]),
        (":::{note}\nMind.\n:::", ["{note}"]),
        ("```{math}\nx\n```", ["{math}"]),
        ("$$ x $$ (eq-x)", ["(eq-x)"]),
        ("(ch-x)=\n# X", ["(ch-x)="]),
        ("`{ref}` $x$ [a](b)\n\n```python\n```", []),
    ],
)
def test_what_only_sphinx_understands_is_seen(text: str, what: list[str]) -> None:
    assert plain.foreign(text) == what


@pytest.mark.parametrize(
    ("text", "soft"),
    [
        ("See {ref}`a` and {numref}`b`.", "See <ref a> and <numref b>."),
        ("- one\n- see {ref}`the\n  page <a>`, then go", "- one\n- see <ref the\npage <a>>, then go"),
        ("`{ref}` is code, and so is ``{ref}`a` ``", "`{ref}` is code, and so is ``{ref}`a` ``"),
        ("$a_{ref}`b`$ {ref}`b`", "$a_{ref}`b`$ <ref b>"),
        ("| a |\n| - |\n| {ref}`x` |", "| a |\n| - |\n| <ref x> |"),
        ("| a |\n| - |\n| $\\\\|x\\\\|$ {ref}`x` |", "| a |\n| - |\n| $\\\\|x\\\\|$ <ref x> |"),
        ("(ch-one)=\n# One\n\n% a remark\n\nText", "# One\n\n\nText"),
        ("$$ x = 1 $$ (eq-x)", "$$\nx = 1 \\tag{4.2}\n$$"),
        ("$$ x = 1 $$", "$$ x = 1 $$"),
        ("one\n: what it\n  means\n\ntwo\n: more", "**one**\n\nwhat it\n  means\n\n**two**\n\nmore"),
        (":::{table} A *b*\n:name: t\n\n| a |\n| - |\n| 1 |\n:::", "**<numref t>.** A *b*\n\n| a |\n| - |\n| 1 |"),
        (":::{figure} /a.svg\n:name: fig-a\n:alt: A\n\nIt falls.\n:::", "**<numref fig-a>.** It falls."),
        (":::{figure} /a.svg\n:name: fig-a\n:alt: A\n:  line\n\nIt falls.\n:::", "**<numref fig-a>.** It falls."),
        (":::{table-file} /a.csv\n:name: tab-a\n\nHow {ref}`a`.\n:::", "**<numref tab-a>.** How <ref a>."),
        (":::{container} check\n:name: c\n\n✓ fine\n:::", "✓ fine"),
        ("```{code-block} python\nx = 1\n```", "```python\nx = 1\n```"),
        ("```python\nx = 1\n```", "```python\nx = 1\n```"),
        (":::{prf:proof}\nBy {ref}`a`.\n:::", "> *Proof.* By <ref a>. ∎"),
        (":::{note}\nMind.\n:::", "> **Note**\n> \n> Mind."),
    ],
)  # fmt: skip
def test_myst_becomes_markdown(text: str, soft: str) -> None:
    assert plain.soften(text, said) == soft


def test_a_theorem_keeps_its_formulas_whole() -> None:
    # Jupyter takes what stands between two dollar signs before it sees that a line is quoted.
    text = "For $a =\nb$ and\n\n$$\nx\n= 1\n$$ (eq-x)\n\n- one,\n  two\n- three"
    assert plain.soften(f":::{{prf:theorem}} Name\n:label: thm-a\n\n{text}\n:::", said).split("\n") == [
        "> **<prf:ref thm-a>** (Name)",
        "> ",
        "> For $a = b$ and",
        "> ",
        r"> $$ x = 1 \tag{4.2} $$",
        "> ",
        "> - one, two",
        "> - three",
    ]


# What the book gives


@functools.lru_cache(maxsize=2)
def downloaded(chapter: str) -> nbformat.NotebookNode:
    return nbformat.read(DOWNLOADS / f"{chapter}.ipynb", as_version=4)


@pytest.fixture(scope="module")
def read(book: str) -> Callable[[str], Any]:
    """A downloaded notebook."""
    return downloaded


@chapters
def test_a_download_is_a_notebook_of_modest_size(read: Callable[[str], Any], chapter: str) -> None:
    nbformat.validate(read(chapter))
    # the largest draw every one of twenty seeds, in pictures that they carry with them
    assert 50_000 < (DOWNLOADS / f"{chapter}.ipynb").stat().st_size < 4_000_000


@chapters
def test_it_begins_with_the_cell_that_makes_it_run(read: Callable[[str], Any], chapter: str) -> None:
    first, second, *_ = read(chapter).cells
    assert first.source.startswith("# @title Set up: run this cell first\n# ")
    assert first.metadata.jupyter.source_hidden
    assert first.metadata.cellView == "form"
    assert not first.outputs
    assert second.source.startswith("# ")
    ast.parse(first.source)
    assert max(map(len, first.source.splitlines())) <= 150


@chapters
def test_its_code_is_the_chapter_s_own(read: Callable[[str], Any], chapter: str) -> None:
    own = nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4)
    expected = [ast.dump(ast.parse(cell.source)) for cell in own.cells if cell.cell_type == "code"]
    got = [ast.dump(ast.parse(cell.source)) for cell in read(chapter).cells if cell.cell_type == "code"]
    assert got[1:] == expected
    assert (DOWNLOADS / f"{chapter}.py").read_bytes() == (ROOT / "notebooks" / f"{chapter}.py").read_bytes()


@chapters
def test_nothing_in_it_needs_sphinx_or_this_machine(read: Callable[[str], Any], chapter: str) -> None:
    notebook = read(chapter)
    outputs = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    prose += [data["text/markdown"] for data in outputs if "text/markdown" in data]
    for text in prose:
        assert plain.foreign(text) == []
    assert "artifacts/" not in "".join(prose)
    # A picture is in the notebook, not beside it.
    pictures = sum("image/png" in data for data in outputs)
    assert pictures == len(json.loads((ROOT / "artifacts" / chapter / "results.json").read_text())["figures"])
    everything = (DOWNLOADS / f"{chapter}.ipynb").read_text()
    assert not re.findall(rf"{ROOT}|{Path.home()}/|/tmp/", everything)


def test_references_are_said_as_the_page_says_them(read: Callable[[str], Any]) -> None:
    text = "\n".join(cell.source for cell in read("time-scales").cells if cell.cell_type == "markdown")
    assert "([Livi, 2025](https://arxiv.org/abs/2508.12121))" in text
    assert "> **Theorem 2.1** (Discretisation)" in text
    assert r"\tag{2.1}" in text
    assert "**Figure 2.1.** " in text


def names(text: str) -> set[str]:
    """The packages of what pip reads."""
    return {canonicalize_name(Requirement(line).name) for line in text.splitlines()}


def test_what_is_installed_is_what_is_locked(book: str) -> None:
    assert (DOWNLOADS / "constraints.txt").read_text() == LOCK
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in LOCK.splitlines()), "pins, and no index's address"
    needed = names((DOWNLOADS / "requirements.txt").read_text())
    assert needed <= names(LOCK)
    assert names("\n".join(PROJECT["dependencies"])) <= needed
    assert "jsonschema" in needed  # of a chapter
    assert "networkx" in names(LOCK)  # in turn
    assert not {"sphinx", "snakemake", "papermill"} & needed
    # All that these need in turn is in the book's own environment, in versions that suit each other.
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--quiet"]
    command += ["--constraint", DOWNLOADS / "constraints.txt", "--requirement", DOWNLOADS / "requirements.txt"]
    tried = subprocess.run(command, capture_output=True, text=True)
    assert (tried.returncode, tried.stdout) == (0, ""), tried.stderr


def not_installed(source: str) -> list[str]:
    """What a chapter imports that its set-up cell does not install."""
    needed, providers = names(portable.requirements()), metadata.packages_distributions()
    modules: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.add(node.module.partition(".")[0])
    others = sorted(modules - sys.stdlib_module_names - {"gatelr"})
    return [module for module in others if not needed & set(map(canonicalize_name, providers.get(module, [])))]


@chapters
def test_a_chapter_imports_only_what_is_installed(chapter: str) -> None:
    missing = not_installed((ROOT / "notebooks" / f"{chapter}.py").read_text())
    assert not missing, (
        f"name {missing} in an extra of pyproject.toml that portable.EXTRAS has, and in requirements.lock"
    )


def test_an_import_of_what_is_not_installed_is_seen() -> None:
    assert not_installed("import nowhere.at_all\nfrom sphinx import util") == ["nowhere", "sphinx"]
    assert not_installed("import json, jsonschema\nimport numpy as np\nfrom gatelr import cells") == []
    assert "jsonschema>=4.20\n" in portable.requirements()


def test_the_download_menu_works_by_keyboard(visit: Callable[..., Page], book: str) -> None:
    page = visit(f"notebooks/{CHAPTERS[0]}")
    page.get_by_role("button", name="Download this page").focus()
    page.keyboard.press("Enter")
    for suffix in ("ipynb", "py"):
        page.keyboard.press("ArrowDown")
        link = page.locator(":focus")
        expect(link).to_be_visible()
        expect(link).to_have_text(re.compile(rf"\.{suffix}"))
        target = link.evaluate("link => link.href")
        assert target == f"{book}/downloads/{CHAPTERS[0]}.{suffix}"
        answer = page.request.get(target)
        assert answer.status == 200
        assert answer.body() == (DOWNLOADS / f"{CHAPTERS[0]}.{suffix}").read_bytes()
    assert not (HTML / "_sources").exists(), "there is one notebook to take away, not two"


def test_a_page_that_is_no_chapter_offers_paper_only(visit: Callable[..., Page]) -> None:
    menu = visit("book/notation").locator(".dropdown-download-buttons")
    expect(menu.locator("li")).to_have_count(1)
    expect(menu.locator("li button")).to_have_text(re.compile(r"\.pdf"))


# Somewhere else


#: In the place of pip: says what it was asked, installs another NumPy or fails.
PIP = """
import os, pathlib, sys
with open("asked", "a") as asked:
    print(*sys.argv[1:], file=asked)
if "numpy" in os.environ["DOES"]:
    metadata = pathlib.Path(__file__).parents[1] / "numpy-2.0.2.dist-info" / "METADATA"
    metadata.write_text("Name: numpy\\nVersion: 3.0")
sys.exit("no such index" if "fail" in os.environ["DOES"] else 0)
"""


@pytest.fixture
def set_up(read: Callable[[str], Any], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a set-up cell where there is a NumPy, a PyTorch for CUDA and something that stands in for pip."""
    for name, version in {"numpy": "2.0.2", "torch": "2.9.0+cu126"}.items():
        (tmp_path / "site" / f"{name}-{version}.dist-info").mkdir(parents=True)
        (tmp_path / "site" / f"{name}-{version}.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: {version}")
    (tmp_path / "site" / "numpy.py").touch()
    (tmp_path / "site" / "pip").mkdir()
    (tmp_path / "site" / "pip" / "__main__.py").write_text(PIP)
    (tmp_path / "here").mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)

    def run(does: str = "", before: str = "") -> subprocess.CompletedProcess[str]:
        variables = stranger(tmp_path) | {"PYTHONPATH": str(tmp_path / "site"), "DOES": does}
        code = f"{before}\n{read('benchmarks').cells[0].source}"
        command = [tmp_path / "bare" / "bin" / "python", "-"]
        return subprocess.run(command, input=code, cwd=tmp_path / "here", env=variables, capture_output=True, text=True)

    return run


def test_what_is_here_is_given_no_pin(set_up: Callable[..., Any], tmp_path: Path) -> None:
    # Colab has its own NumPy and a PyTorch for its GPU, and a pin would have pip put others in their place.
    done = set_up()
    assert done.returncode == 0, done.stderr
    assert f"Ready: gatelr {PROJECT['version']}; files go to {tmp_path / 'here' / FOLDER}" in done.stdout
    folder = tmp_path / "here" / FOLDER
    assert names((folder / "constraints.txt").read_text()) == names(LOCK) - {"numpy", "torch"}
    assert (folder / "requirements.txt").read_text() == (DOWNLOADS / "requirements.txt").read_text()
    [asked] = (tmp_path / "here" / "asked").read_text().splitlines()
    assert asked.startswith("install ")
    assert asked.endswith(f"--constraint {folder / 'constraints.txt'} --requirement {folder / 'requirements.txt'}")
    # The library, the source and the data lie in the folder, and nothing lies beside it.
    assert {path.name for path in (tmp_path / "here").iterdir()} == {"asked", FOLDER}
    assert (folder / "lib" / "gatelr" / "cells.py").read_bytes() == (ROOT / "lib" / "gatelr" / "cells.py").read_bytes()
    assert (folder / "notebooks" / "benchmarks.py").read_bytes() == (DOWNLOADS / "benchmarks.py").read_bytes()
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        assert (folder / path.relative_to(ROOT)).read_bytes() == path.read_bytes()


def test_where_pip_fails_the_cell_says_so(set_up: Callable[..., Any], tmp_path: Path) -> None:
    done = set_up("fail")
    assert done.returncode != 0
    assert done.stderr.endswith("Do it by hand, then run this cell again. It said:\nno such index\n\n")
    with_pins, without = (tmp_path / "here" / "asked").read_text().splitlines()
    assert "--constraint" in with_pins
    assert "--constraint" not in without, "where the book's versions cannot be had, newer ones will do"


def test_what_was_replaced_under_a_running_kernel_asks_for_a_new_one(set_up: Callable[..., Any]) -> None:
    done = set_up("numpy", before="import numpy")
    assert done.returncode != 0
    assert "numpy had to be replaced: restart the kernel, then run this cell again" in done.stderr


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with what runs a notebook, and nothing of the book."""
    folder = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", folder / "environment"], check=True)
    python = folder / "environment" / "bin" / "python"
    command = [python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "requirements.lock"]
    tried = subprocess.run([*command, "ipykernel", "papermill"], env=stranger(folder), capture_output=True, text=True)
    if tried.returncode:
        reason = f"packages cannot be installed here, which a downloaded notebook needs:\n{tried.stderr[-500:]}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    return folder


def stranger(folder: Path) -> dict[str, str]:
    """The variables of somebody who has never heard of the book; how packages are reached is the machine's matter."""
    mine = ("PYTEST", "PYTHON", "COV", "JUPYTER", "GATELR", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    return kept | {
        "HOME": str(folder),
        "OMP_NUM_THREADS": "1",
        "PIP_NO_COMPILE": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


@pytest.mark.parametrize("chapter", TRIED)
def test_a_download_runs_in_an_empty_folder(book: str, fresh: Path, chapter: str) -> None:
    empty = fresh / f"{chapter} here"
    empty.mkdir()
    profile = yaml.safe_load((ROOT / "profiles.yaml").read_text())["quick"]
    parameters = {"profile": "quick", **profile["shared"], **profile["chapters"].get(chapter, {})}
    command = [
        fresh / "environment" / "bin" / "papermill",
        "--no-progress-bar",
        "--parameters_yaml",
        yaml.safe_dump(parameters),
    ]
    run = subprocess.run(
        [*command, "--kernel", "python3", DOWNLOADS / f"{chapter}.ipynb", empty / "run.ipynb"],
        cwd=empty, env=stranger(fresh), capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    assert {path.name for path in empty.iterdir()} == {"run.ipynb", FOLDER}

    results = empty / FOLDER / "artifacts" / "draft" / chapter
    assert json.loads((results / "results.json").read_text())["passed"]
    manifest = json.loads((results / "manifest.json").read_text())
    own = json.loads((ROOT / "artifacts" / chapter / "manifest.json").read_text())
    assert manifest["source"] == own["source"]
    # What was missing came in the book's versions, and the library from the notebook.
    assert manifest["versions"].items() <= own["versions"].items()
    assert manifest["versions"]["gatelr"] == own["versions"]["gatelr"]
    where = subprocess.run(
        [fresh / "environment" / "bin" / "python", "-c", "import gatelr"], env=stranger(fresh), capture_output=True
    )
    assert where.returncode != 0, "the library is in the notebook's folder, not in the reader's environment"


# Colab and Binder


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """A chapter's page of a book of two pages, built as the environment says."""
    root = tmp_path_factory.mktemp("launch")
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell("# One")],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    (root / "notebooks").mkdir()
    nbformat.write(notebook, root / "notebooks" / "01-one.ipynb")
    (root / "index.md").write_text("# Tiny\n\n```{toctree}\nnotebooks/01-one\n```\n")
    (root / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT / 'book' / '_ext')!r})\n"
        "extensions = ['myst_nb', 'downloads', 'patches']\nnb_execution_mode = 'off'\nhtml_copy_source = False\n"
        "exclude_patterns = ['_build', 'jupyter_execute']\n"
        "html_theme = 'sphinx_book_theme'\n"
    )

    def build(**variables: str) -> str:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON", "COV", "GATELR"))}
        # Without the downloads, which want a chapter that has run: the buttons are the same in every kind of HTML.
        run = warm.run(["-m", "sphinx", "-W", "-q", "-E", "-b", "dirhtml", ".", "_build"], root, clean | variables)
        assert run.returncode == 0, run.stderr
        return unescape((root / "_build" / "notebooks" / "01-one" / "index.html").read_text())

    return build


@pytest.mark.parametrize(("url", "version"), [("", "main"), ("https://example.org/book/v0.1.0/", "v0.1.0")])
def test_launch_buttons_open_the_notebook_of_this_version(page: Callable[..., str], url: str, version: str) -> None:
    html = page(GATELR_REPOSITORY="owner/name", GATELR_URL=url)
    path = f"{version}/notebooks/01-one.ipynb"
    colab = f"https://colab.research.google.com/github/owner/name/blob/notebooks/{path}"
    binder = f"https://mybinder.org/v2/gh/owner/name/notebooks?urlpath=lab/tree/{path}"
    assert re.findall(r'href="(https://(?:colab|mybinder)[^"]*)"', html) == [binder, colab]
    assert (publish_notebooks.binder("owner/name", path), publish_notebooks.colab("owner/name", path)) == (
        binder,
        colab,
    )


def test_without_a_repository_there_is_nothing_to_launch(page: Callable[..., str]) -> None:
    html = page()
    assert "colab" not in html
    assert "mybinder" not in html
    assert "launch" not in html
    assert "downloads/01-one.ipynb" in html


def test_the_branch_has_what_the_buttons_open(book: str, tmp_path: Path) -> None:
    site, out = tmp_path / "site", tmp_path / "branch"
    for version in ("main", "v0.9.1", "v0.10.0"):
        (site / version).mkdir(parents=True)
        (site / version / "downloads").symlink_to(DOWNLOADS)
    assert publish_notebooks.lay_out(site, out, "owner/name") == ["main", "v0.10.0", "v0.9.1"]

    assert {path.name for path in out.iterdir()} == {
        "main", "v0.9.1", "v0.10.0", "README.md", "LICENSE", "requirements.txt", "requirements.lock", "binder",
    }  # fmt: skip
    for chapter in CHAPTERS:
        path = f"main/notebooks/{chapter}.ipynb"
        assert (out / path).read_bytes() == (DOWNLOADS / f"{chapter}.ipynb").read_bytes()
        assert publish_notebooks.colab("owner/name", path) in (out / "README.md").read_text()
    assert os.access(out / "binder" / "postBuild", os.X_OK)
    assert (out / "requirements.txt").read_text() == (DOWNLOADS / "requirements.txt").read_text()
    assert (out / "requirements.lock").read_text() == (DOWNLOADS / "constraints.txt").read_text() == LOCK
    assert "[Time-scales: from a differential equation to a gate](main/notebooks/" in (out / "README.md").read_text()


def test_the_branch_is_not_laid_out_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no notebook in .*: build the book"):
        publish_notebooks.lay_out(tmp_path / "site", tmp_path / "branch", None)


def test_binder_has_the_versions_of_the_lock() -> None:
    environment = yaml.safe_load((ROOT / "binder" / "environment.yml").read_text())
    (torch,) = [text for text in PROJECT["dependencies"] if Requirement(text).name == "torch"]
    python, pip, pytorch = environment["dependencies"]
    assert pip == "pip"
    # The one package that is not pinned: its build for processors is conda-forge's, in a version that will do.
    assert pytorch == torch.replace("torch", "pytorch-cpu")
    assert python.split("=")[1] in (ROOT / ".github" / "workflows" / "pages.yml").read_text()
    post = (ROOT / "binder" / "postBuild").read_text()
    assert "-r <(grep -v '^torch==' requirements.lock)" in post
    assert "-c <(grep -v '^torch==' requirements.lock) -r requirements.txt" in post
    assert "==" not in post.replace("^torch==", ""), "versions stand in requirements.lock"
    assert os.access(ROOT / "binder" / "postBuild", os.X_OK)


def test_one_workflow_pushes_what_another_has_built() -> None:
    flows = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}
    assert flows["notebooks"][True]["workflow_run"]["workflows"] == [flows["pages"]["name"]]
    steps = [step.get("run", "") for step in flows["notebooks"]["jobs"]["push"]["steps"]]
    assert any("workflow/publish_notebooks.py" in step for step in steps)
    assert any(f"refs/heads/{publish_notebooks.BRANCH}" in step for step in steps)
