"""A release, rehearsed in a clean clone before its tag is pushed: what `make release-check` calls.

    python workflow/release.py --profile ci     rehearse, and say whether the version can be released
    python workflow/release.py --tag v0.1.0     say only whether the sources are those of this tag

The second is what the Release workflow asks before there is an environment: it needs Python alone, so that the rest is
imported where it is used. The rehearsal takes its commands from the workflows, without what only GitHub can do. The
exit status is 0 for a version that can be released, 1 for one that cannot yet, 2 for sources that no rehearsal helps.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
#: Where the rehearsal happens; what its commands said stands there too.
OUT = ROOT / "_build" / "release"
#: A repository and an address that nobody has.
REPOSITORY, SITE = "example/book", "https://example.org/book/"
#: Who stands for the authors until people write down their names.
PLACEHOLDER = "The Gates as Learning Rates authors"


class Failed(Exception):
    """A step of the rehearsal did not end well; the message says which command, and the last that it said."""


def version(root: Path) -> str:
    """The version in pyproject.toml."""
    return str(tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"])


def wrong(root: Path, tag: str | None = None) -> list[str]:
    """What forbids to release a checkout, a sentence each.

    Args:
        root: the checkout.
        tag: the tag that is being released; None before there is one.
    """
    wanted, faults = version(root), []
    if edited := git(root, "status", "--porcelain"):
        files = ", ".join(line[3:] for line in edited[:3]) + (" …" if len(edited) > 3 else "")
        faults.append(
            f"got files that are not committed ({files}), expected a clean working tree: commit them or put "
            "them aside with `git stash -u`"
        )
    cited = re.search(r"^version: *['\"]?([^\s'\"]+)", (root / "CITATION.cff").read_text(), re.MULTILINE)
    if (said := cited[1] if cited else "none") != wanted:
        faults.append(
            f"got version {said} in CITATION.cff, expected {wanted} as in pyproject.toml: write one into both"
        )
    if tag is None and git(root, "tag", "--list", f"v{wanted}"):
        faults.append(f"got version {wanted}, expected one without a tag v{wanted}: give what changed a new version")
    if tag not in (None, f"v{wanted}"):
        faults.append(f"got the tag {tag}, expected v{wanted} as in pyproject.toml: tag the commit of that version")
    return faults


def unfilled(root: Path) -> list[str]:
    """What people have still to fill in by hand, a sentence each; a rehearsal is of use before."""
    wanted, faults = version(root), []
    changes = (root / "CHANGELOG.md").read_text()
    if not re.search(rf"^## \[{re.escape(wanted)}\] - \d{{4}}-\d\d-\d\d$", changes, re.MULTILINE):
        heading = re.search(rf"^## \[{re.escape(wanted)}\].*", changes, re.MULTILINE)
        faults.append(
            f"got {heading.group() if heading else 'no heading'!r} in CHANGELOG.md, expected the day of the release: "
            f"write '## [{wanted}] - ' and a date such as 2026-12-01"
        )
    if PLACEHOLDER in (root / "CITATION.cff").read_text():
        faults.append(
            f"got the authors {PLACEHOLDER!r} in CITATION.cff, expected the names of people: write them there and run "
            "`make test`, which says where else they stand"
        )
    return faults


def git(root: Path, *asked: str) -> list[str]:
    """What git answers, line by line.

    Raises:
        Failed: if it does not.
    """
    done = subprocess.run(["git", *asked], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(
            f"got no answer to `git {' '.join(asked)}`, expected a clone of the repository: {done.stderr.strip()}"
        )
    return done.stdout.splitlines()


def script(root: Path, workflow: str, word: str) -> str:
    """The one script of a workflow that has this word in it, without the lines that only GitHub can run."""
    import yaml

    jobs = yaml.safe_load((root / ".github" / "workflows" / workflow).read_text())["jobs"].values()
    [command] = [step["run"] for job in jobs for step in job["steps"] if word in step.get("run", "")]
    return "".join(line for line in command.splitlines(keepends=True) if not line.startswith("gh "))


def run(*command: str | Path, at: Path, **variables: str) -> None:
    """Run a command, which writes into the log.

    Raises:
        Failed: if it does not end well.
    """
    with (OUT / "log").open("a+") as log:
        done = subprocess.run(command, cwd=at, env=os.environ | variables, stdout=log, stderr=log, check=False)
        if done.returncode:
            log.seek(0)
            said = "".join(log.readlines()[-15:])
            raise Failed(
                f"`{' '.join(map(str, command))}` ended with {done.returncode}:\n{said}(all of it: {log.name})"
            )


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is done, and in the end the seconds it took."""
    print(f"{what:<60}", end="", flush=True)
    begin = time.perf_counter()
    try:
        yield
    except Failed:
        print(" failed")
        raise
    print(f"{time.perf_counter() - begin:7.1f} s", flush=True)


def rehearse(tag: str, profile: str, cores: str) -> list[str]:
    """All that happens between the tag and the page, in a clone of HEAD; what is wrong with what came out.

    Raises:
        Failed: if a step does not end well.
    """
    import environment

    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    clone, branch, bare = OUT / "clone", OUT / "notebooks", OUT / "notebooks.git"
    make: list[str | Path] = ["make", "book", f"PROFILE={profile}", f"CORES={cores}"]
    # The clone's own library, though the environment that it borrows has installed ours.
    variables = {"GATELR_REPOSITORY": REPOSITORY, "PYTHONPATH": str(clone / "lib"), "TAG": tag, "RUNNER_TEMP": str(OUT)}
    with step("clone of HEAD"):
        # Not as `origin`: what a workflow pushes there must never come back here.
        run("git", "clone", "--quiet", "--origin", "here", ROOT, clone, at=ROOT)
        if same := not environment.changed(clone / "requirements.lock"):
            (clone / ".venv").symlink_to(ROOT / ".venv")
            (clone / ".git" / "info" / "exclude").write_text(".venv\n")  # .gitignore has folders alone, and not a link
            make += ["-o", ".venv/.ready"]  # never made again, though its stamps are older than the clone's files
    with step(f"book of {tag}, PROFILE={profile}{'' if same else ', and its own .venv'}"):
        run(*make, at=clone, GATELR_URL=f"{SITE}{tag}/", **variables)
    with step(f"book-{tag}.zip"):
        run("bash", "-ec", script(clone, "release.yml", "zip"), at=clone, **variables)
    with step("book of main, of the same artefacts"):
        run(*make, at=clone, GATELR_URL=f"{SITE}main/", **variables)
    python = clone / ".venv" / "bin" / "python"
    with step("site"):
        run(python, "workflow/assemble.py", "--url", SITE, "--releases", "_build", at=clone, **variables)
    with step("branch of the notebooks"):
        run(python, "workflow/publish_notebooks.py", at=clone, **variables)
        run("git", "init", "--quiet", "--bare", bare, at=OUT)
        run("git", "remote", "add", "origin", bare, at=clone)
        run("bash", "-ec", script(clone, "notebooks.yml", "commit-tree"), at=clone, **variables)
        run("git", "clone", "--quiet", "--branch", "notebooks", bare, branch, at=OUT)
    with step("what came out"):
        return faults(clone, clone / "_build" / "site", branch, tag)


def faults(root: Path, site: Path, branch: Path, tag: str) -> list[str]:
    """What is wrong with a site, the branch of its notebooks, the archive beside it, and what Zenodo reads."""
    import nbformat
    import toc

    faults = []
    if not (site / tag / "index.html").is_file():
        faults.append(f"the site has no {tag}/index.html")
    if (first := json.loads((site / "versions.json").read_text())[0]["version"]) != tag:
        faults.append(f"versions.json lists {first} first, expected {tag}")
    for notebook in [f"{name}/notebooks/{chapter}.ipynb" for name in (tag, "main") for chapter in toc.chapters(root)]:
        try:
            nbformat.validate(json.loads((branch / notebook).read_text()))
        except (OSError, ValueError, nbformat.ValidationError) as error:
            faults.append(f"{notebook} on the branch is no notebook: {str(error).splitlines()[0]}")
    with zipfile.ZipFile(site.parent / f"book-{tag}.zip") as archive:
        if (folders := {name.partition("/")[0] for name in archive.namelist()}) != {tag}:
            faults.append(f"book-{tag}.zip holds {', '.join(sorted(folders))}, expected one folder {tag}")
    tool = Path(sys.executable).with_name("check-jsonschema")
    command = (tool, "--builtin-schema", "vendor.citation-file-format", root / "CITATION.cff")
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    if checked.returncode:
        faults.append(f"CITATION.cff is not valid: {(checked.stdout + checked.stderr).strip()}")
    if (root / ".zenodo.json").exists():
        faults.append("there is a .zenodo.json, which Zenodo would read in place of CITATION.cff: remove it")
    if edited := git(root, "status", "--porcelain"):
        faults.append(f"the build changed {edited[0][3:]}, so that its pages say *with local changes*")
    return faults + lost(site / tag, runpy.run_path(str(root / "book" / "_ext" / "moved.py")))


def lost(book: Path, moved: dict[str, Any]) -> list[str]:
    """Which old addresses of chapters and figures lead nowhere in a book, a sentence each.

    Args:
        book: as it was built.
        moved: what book/_ext/moved.py says of them.
    """
    pages = {page.stem: page.read_text() for page in (book / "notebooks").glob("*.html")}
    faults = []
    for old, new in moved["CHAPTERS"].items():
        if new not in pages or f"url={new}.html" not in pages.get(old, ""):
            faults.append(f"notebooks/{old}.html does not lead to {new}.html")
            continue
        labels = sorted(file.stem for file in (book / "files" / old).glob("fig-*.svg"))
        # the figure itself, or what leads to the chapter that has it now
        faults += [
            f"{old}.html#{label} leads nowhere" for label in labels if not re.search(f'["#]{label}"', pages[new])
        ]
    for label, (old, new) in moved["FIGURES"].items():
        if f"{new}.html#{label}" not in pages.get(old, "") or f'id="{label}"' not in pages.get(new, ""):
            faults.append(f"{old}.html#{label} does not lead to {new}.html")
        if not (book / "files" / old / f"{label}.svg").is_file():
            faults.append(f"files/{old}/{label}.svg is gone")
    return faults


def main() -> int:
    """Check the sources, rehearse, and say what is still to be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tag", help="check the sources of this tag and rehearse nothing")
    parser.add_argument("--profile", default="ci")
    parser.add_argument("--cores", default=str(os.cpu_count()))
    args = parser.parse_args()
    tag, missing = f"v{version(ROOT)}", list[str]()
    try:
        refused, missing = wrong(ROOT, args.tag), unfilled(ROOT)
        if refused or (args.tag is not None and missing):
            print(*refused, *missing, sep="\n", file=sys.stderr)
            return 2
        if args.tag is not None:
            return 0
        missing += rehearse(tag, args.profile, args.cores)
    except Failed as error:
        missing.append(str(error))
    if missing:
        print(f"\n{tag} is not ready to be released. Still to be done:", *(f"- {each}" for each in missing), sep="\n")
        return 1
    print(f"\n{tag} can be released: git tag {tag} && git push origin {tag}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
