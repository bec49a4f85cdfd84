"""The site of all versions: what was published stays, and nothing is published twice."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import links
import pytest

WORKFLOW = Path(__file__).resolve().parents[2] / "workflow"
URL = "https://example.org/a/book/"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """workflow/assemble.py."""
    monkeypatch.syspath_prepend(str(WORKFLOW))
    return import_module("assemble")


def book(folder: Path, version: str, text: str = "") -> Path:
    """A book of one chapter, as built for its address."""
    (folder / "book").mkdir(parents=True)
    (folder / "index.html").write_text('<meta http-equiv="Refresh" content="0; url=book/index.html">')
    (folder / "book" / "index.html").write_text(f'<h1 id="top">{version} {text}</h1><a href="../404.html">lost</a>')
    (folder / "404.html").write_text(f'<p>{version}</p><a href="/a/book/{version}/book/index.html#top">home</a>')
    (folder / "sitemap.xml").write_text(f"<urlset><url><loc>{URL}{version}/book/index.html</loc></url></urlset>")
    return folder


def archive(folder: Path, version: str, text: str = "") -> Path:
    """A release, as its workflow packs it."""
    built = book(folder / version / version, version, text)
    target = folder / f"book-{version}.zip"
    with zipfile.ZipFile(target, "w") as packed:
        for file in sorted(p for p in built.rglob("*") if p.is_file()):
            packed.write(file, file.relative_to(folder / version))
    return target


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, WORKFLOW / "assemble.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_before_the_first_release_the_root_leads_to_main(site: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "site"
    assert site.assemble(URL, book(tmp_path / "main", "main"), [], out) == []
    assert 'content="0; url=main/"' in (out / "index.html").read_text()
    assert (out / "404.html").read_bytes() == (out / "main" / "404.html").read_bytes()
    assert json.loads((out / "versions.json").read_text()) == [
        {"version": "main", "url": "/a/book/main/", "name": "main (unreleased)"}
    ]
    assert links.dead(out, "/a/book/") == []


def test_a_version_keeps_its_address_and_its_contents(site: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "site"
    first = archive(tmp_path, "v0.9.0")
    site.assemble(URL, book(tmp_path / "main", "main"), [first], out)
    before = everything(out / "v0.9.0")
    assert f"{URL}v0.9.0/sitemap.xml" in (out / "sitemap.xml").read_text()

    later = book(tmp_path / "later", "main", "later")
    releases = site.assemble(URL, later, [first, archive(tmp_path, "v0.10.0")], out, live=["v0.9.0", "main"])
    assert releases == ["v0.10.0", "v0.9.0"]
    assert everything(out / "v0.9.0") == before
    assert everything(out / "main") == everything(later)

    listed = json.loads((out / "versions.json").read_text())
    assert [entry["version"] for entry in listed] == ["v0.10.0", "v0.9.0", "main"]
    assert [entry.get("preferred", False) for entry in listed] == [True, False, False]
    assert all((out / entry["url"].removeprefix("/a/book/") / "index.html").is_file() for entry in listed)
    assert 'content="0; url=v0.10.0/"' in (out / "index.html").read_text()
    assert "v0.10.0" in (out / "404.html").read_text()
    assert links.dead(out, "/a/book/") == []


def test_a_search_engine_is_told_of_the_current_version_alone(site: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "site"
    versions = [archive(tmp_path, "v0.1.0"), archive(tmp_path, "v0.2.0")]
    site.assemble(URL, book(tmp_path / "main", "main"), versions, out)
    index = ElementTree.parse(out / "sitemap.xml")
    assert [e.text for e in index.iter() if e.tag.endswith("loc")] == [f"{URL}v0.2.0/sitemap.xml"]
    assert (out / "v0.2.0" / "sitemap.xml").is_file()
    assert f"Sitemap: {URL}sitemap.xml\n" in (out / "robots.txt").read_text()


def test_a_published_version_cannot_vanish(site: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(
        site.BadInput, match=r"v0\.1\.0 is published now and has no archive here.*book-v0\.1\.0\.zip again"
    ):
        site.assemble(URL, book(tmp_path / "main", "main"), [], tmp_path / "site", live=["v0.1.0", "main"])


def test_a_book_built_for_another_address_is_refused(site: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(site.BadInput, match=r"build it with GATELR_URL=https://example\.org/elsewhere/main/"):
        site.assemble("https://example.org/elsewhere/", book(tmp_path / "main", "main"), [], tmp_path / "site")


@pytest.mark.parametrize(
    ("name", "file", "answer"),
    [
        (
            "book-v0.1.0.zip",
            "v0.2.0/index.html",
            r"book-v0\.1\.0\.zip holds v0\.2\.0/index\.html, expected .* v0\.1\.0/",
        ),
        ("book-v0.1.0.zip", "../index.html", r"holds \.\./index\.html"),
        ("book-v0.1.0.zip", "v0.1.0/readme.txt", r"holds no index\.html"),
        ("book-draft.zip", "draft/index.html", r"got a release named 'draft', expected a name such as 'v0\.1\.0'"),
    ],
)
def test_an_archive_that_is_not_its_release_is_refused(
    site: ModuleType, tmp_path: Path, name: str, file: str, answer: str
) -> None:
    with zipfile.ZipFile(tmp_path / name, "w") as packed:
        packed.writestr(file, "")
    with pytest.raises(site.BadInput, match=answer):
        site.assemble(URL, book(tmp_path / "main", "main"), [tmp_path / name], tmp_path / "site")


def test_the_command_that_the_workflow_calls(tmp_path: Path) -> None:
    main, out, releases = book(tmp_path / "main", "main"), tmp_path / "site", tmp_path / "releases"
    releases.mkdir()
    archive(releases, "v0.1.0")
    how = ("--url", URL.rstrip("/"), "--main", main, "--releases", releases, "--out", out)
    done = run(*how)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{out}: v0.1.0, main\n"

    live = tmp_path / "versions.json"
    live.write_text(json.dumps([*json.loads((out / "versions.json").read_text()), {"version": "v0.0.9"}]))
    done = run(*how, "--live", live)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("v0.0.9 is published now")

    done = run("--url", "example.org", "--releases", releases)
    assert done.returncode == 2
    assert done.stderr.startswith("got --url 'example.org', expected an address")
