"""Which tests stay together when several workers share them, and that each worker has one core."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from xdist.scheduler import LoadScopeScheduling

# Of the programs that tests run, too: two workers with two threads each would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# These edit one tiny project, which is built once for all of them. The last takes long: alone it would come at the end.
TOGETHER = tuple(f"tests/workflow/test_{name}.py" for name in ("incremental", "failures", "same_numbers"))
TOC = yaml.safe_load((Path(__file__).parent / "_toc.yml").read_text())
PAGES = {TOC["root"], *(page["file"] for part in TOC["parts"] for page in part["chapters"])}
#: A test of the built book that is asked of each page in turn: the page, and what else it is asked with.
PAGE = re.compile(r"tests/book/.*\[([\w/-]+?)(?:-(?:light|dark))?\]")


class Grouped(LoadScopeScheduling):
    """What shares something that takes long to make goes to one worker, the rest where there is room.

    All tests of one page of the book look at it in one window; the book itself lies there for all workers.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if asked := PAGE.fullmatch(nodeid):
            for page in (asked[1], f"notebooks/{asked[1]}"):
                if page in PAGES:
                    return page
        if file in TOGETHER:
            return "tests/workflow"
        return file if file.startswith(("tests/book/", "tests/workflow/")) else nodeid


# `--dist loadgroup` would do this by marks, but pytest 9.2 no longer lets pytest-xdist 3.8 see them, and says nothing
# (pytest-xdist issue 1386).
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return Grouped(config, log)
