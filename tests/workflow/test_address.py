"""Where the book is published: what the environment may say, and what it may not."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

WORKFLOW = Path(__file__).resolve().parents[2] / "workflow"


@pytest.fixture(scope="module")
def address() -> ModuleType:
    sys.path.insert(0, str(WORKFLOW))
    try:
        return importlib.import_module("address")
    finally:
        sys.path.pop(0)


def test_nothing_is_known_of_a_local_book(address: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, ""):
        for name in ("GATELR_REPOSITORY", "GATELR_URL"):
            monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
        assert (address.repository(), address.url()) == (None, None)


@pytest.mark.parametrize("name", ["owner/name", "an-owner/a.name_2", "o/n"])
def test_a_repository_is_an_owner_and_a_name(address: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("GATELR_REPOSITORY", name)
    assert address.repository() == name


@pytest.mark.parametrize(
    "name", ["name", "/name", "owner/", "a/b/c", "https://x.org/a/b", "-o/n", "o/..", "o/n m", " "]
)
def test_another_repository_is_refused(address: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("GATELR_REPOSITORY", name)
    with pytest.raises(address.BadInput, match=r"got GATELR_REPOSITORY=.*expected .*'owner/name': correct or unset it"):
        address.repository()


@pytest.mark.parametrize(
    ("text", "root"),
    [
        ("https://example.org/book/main", "https://example.org/book/main/"),
        ("https://example.org/book/v0.1.0/", "https://example.org/book/v0.1.0/"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/"),
    ],
)
def test_the_address_is_that_of_a_folder(
    address: ModuleType, monkeypatch: pytest.MonkeyPatch, text: str, root: str
) -> None:
    monkeypatch.setenv("GATELR_URL", text)
    assert address.url() == root


@pytest.mark.parametrize(
    "text",
    ["example.org/book", "/book/", "ftp://x.org/", "https://", "https://x.org/?a=1", "https://x.org/#a", " ",
     "https://x.org/a b/", "https://x.org/index.html", "https://x.org:port/", "https://[x/", 'https://x.org/">'],
)  # fmt: skip
def test_another_address_is_refused(address: ModuleType, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("GATELR_URL", text)
    with pytest.raises(address.BadInput, match=r"got GATELR_URL=.*expected the public address of a folder.*unset it"):
        address.url()


def test_the_version_is_that_of_the_citation_file(address: ModuleType) -> None:
    assert f"\nversion: {address.version()}\n" in (WORKFLOW.parent / "CITATION.cff").read_text()
