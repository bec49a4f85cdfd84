"""Write requirements.lock anew: the newest packages that pyproject.toml allows, as pip resolves them today.

    python workflow/relock.py                  # every package but torch, of which a build for one machine may be chosen
    python workflow/relock.py --torch 2.14.1

Nothing is installed. `make env` does that afterwards, and `make test-all` says whether the book stands it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
#: All that a build and its tests need.
EXTRAS = "book,experiments,record,symbolic,test"


def read(text: str) -> dict[str, str]:
    """The version of each package of a lock file."""
    pairs = (line.partition("==") for line in text.splitlines() if line.strip())
    return {name: version for name, _, version in pairs}


def resolved(torch: str) -> dict[str, str]:
    """The version of each package that pip would install into an empty environment.

    Raises:
        subprocess.CalledProcessError: if there is no solution, or no network; pip says which on standard error.
    """
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        asked = ["--ignore-installed", "--report", str(report), f"{ROOT}[{EXTRAS}]", f"torch=={torch}"]
        subprocess.run([*pip, *asked], check=True)
        found = [each["metadata"] for each in json.loads(report.read_text())["install"]]
    return {each["name"]: each["version"].partition("+")[0] for each in found if each["name"] != "gatelr"}


def written(packages: dict[str, str]) -> str:
    """The lock file of some packages."""
    return "\n".join(sorted((f"{name}=={version}" for name, version in packages.items()), key=str.lower)) + "\n"


def main() -> int:
    """Write the file, and say what changed; 1 if pip found no solution."""
    before = read(LOCK.read_text())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", default=before["torch"], help="its version (default: as it is locked, %(default)s)")
    args = parser.parse_args()
    try:
        after = resolved(args.torch)
    except subprocess.CalledProcessError:
        print("pip found no set of packages, as it says above: requirements.lock stays as it is", file=sys.stderr)
        return 1
    LOCK.write_text(written(after))
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            print(f"{name}: {before.get(name, 'new')} -> {after.get(name, 'gone')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
