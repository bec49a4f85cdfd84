"""Which tests stay together when several workers share them."""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# These edit one tiny project, which is built once for all of them.
TOGETHER = ("tests/workflow/test_incremental.py", "tests/workflow/test_failures.py")


class Grouped(LoadScopeScheduling):
    """What shares something that takes long to make goes to one worker, the rest where there is room.

    A file of the book's tests looks at pages that it has opened once; the book itself lies there for all workers.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file in TOGETHER:
            return "tests/workflow"
        return file if file.startswith(("tests/book/", "tests/workflow/")) else nodeid


# `--dist loadgroup` would do this by marks, but pytest 9.2 no longer lets pytest-xdist 3.8 see them, and says nothing
# (pytest-xdist issue 1386).
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return Grouped(config, log)
