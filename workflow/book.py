"""Build the pages from the executed notebooks, with every warning an error."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import failures

LOG = Path("_build/book.log")


def main() -> int:
    """Build, saying one line; on failure say what was wrong with which page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1, help="how many processes may read and write pages at a time")
    args = parser.parse_args()
    print("book  typesetting", flush=True)
    begin = time.perf_counter()
    # From scratch: Sphinx does not repeat the warnings of pages that it has read before, and it keeps the
    # pages of chapters that are gone.
    for folder in ("_build/html", "_build/.doctrees"):
        shutil.rmtree(folder, ignore_errors=True)
    LOG.parent.mkdir(exist_ok=True)
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", "-n", "-W", "--keep-going", "."]
    environment = os.environ | {"GATELR_JOBS": str(args.jobs)}  # see book/_ext/side_by_side.py
    with LOG.open("w") as log:
        status = subprocess.run(command, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    if status == 0:
        print(f"book  done in {time.perf_counter() - begin:.1f} s", flush=True)
        return 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", LOG.read_text()).splitlines()
    here = f"{Path.cwd()}/"
    telling = [line.replace(here, "") for line in lines if re.search(r"WARNING|ERROR|Error:", line)]
    failures.record("book", "\n    ".join([*(telling or lines[-20:]), f"(all that Sphinx said: {LOG})"]))
    return 1


if __name__ == "__main__":
    sys.exit(main())
