"""pyproject.toml, requirements.lock, environment.yml and what is installed tell one story."""

from __future__ import annotations

import platform
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
LINES = (ROOT / "requirements.lock").read_text().splitlines()
LOCK = {canonicalize_name(line.split("==")[0]): line.split("==")[-1] for line in LINES}


def declared() -> list[Requirement]:
    texts = dict.fromkeys([*PROJECT["dependencies"], *(text for extra in EXTRAS.values() for text in extra)])
    return [requirement for requirement in map(Requirement, texts) if requirement.name != PROJECT["name"]]


def test_a_line_of_the_lock_is_a_name_and_an_exact_version() -> None:
    # Nothing else: no address, no index, no marker, and no local version such as 2.13.0+cpu, which PyPI has not.
    exact = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==([^\s;@+]+)")
    assert [line for line in LINES if not exact.fullmatch(line)] == []
    assert all(Version(version) for version in LOCK.values())


def test_the_lock_names_no_package_twice() -> None:
    assert len(LOCK) == len(LINES)


@pytest.mark.parametrize("requirement", declared(), ids=str)
def test_the_lock_pins_what_pyproject_asks_for(requirement: Requirement) -> None:
    name = canonicalize_name(requirement.name)
    assert name in LOCK, f"{name} is in pyproject.toml but not in requirements.lock"
    assert requirement.specifier.contains(LOCK[name]), f"{name}=={LOCK[name]} is outside {requirement.specifier}"


def test_pyproject_names_no_package_with_two_ranges() -> None:
    names = [canonicalize_name(r.name) for r in declared()]
    assert len(names) == len(set(names))


def test_an_extra_names_no_package_twice() -> None:
    for extra in EXTRAS.values():
        assert len({canonicalize_name(Requirement(text).name) for text in extra}) == len(extra)


def test_who_builds_or_tests_has_what_the_library_can_need() -> None:
    for name in ("book", "test"):
        (own,) = [r for r in map(Requirement, EXTRAS[name]) if r.name == PROJECT["name"]]
        assert own.extras == EXTRAS.keys() - {"book", "test"}


def test_conda_gets_the_same() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert conda == [f"python{PROJECT['requires-python']}", "pip"]
    assert pip == {"pip": ["-r requirements.lock", f"-e .[{','.join(sorted(EXTRAS))}]"]}


def test_what_is_installed_is_what_is_locked() -> None:
    installed = {name: Version(metadata.version(name)).public for name in LOCK}
    assert installed == LOCK, "run `make env`, or write the lock anew"


def test_the_lock_is_closed() -> None:
    # Builds of torch differ in what they bring for a GPU, and torch pins that exactly itself.
    for name in sorted(set(LOCK) - {"torch"}):
        for text in metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                needed = canonicalize_name(requirement.name)
                assert needed in LOCK, f"{name} needs {needed}, which requirements.lock lacks"
                assert requirement.specifier.contains(LOCK[needed], prereleases=True)


def test_the_python_that_runs_is_one_that_is_declared() -> None:
    assert SpecifierSet(PROJECT["requires-python"]).contains(platform.python_version())
