"""Which tests stay together when several workers share them."""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# One worker builds the book and reads it; one builds the tiny project of the workflow's tests.
TOGETHER = ("tests/book/", "tests/workflow/")


class ByFolder(LoadScopeScheduling):
    """Folders of TOGETHER go to one worker each, the longest first; any other test goes where there is room."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid)


# `--dist loadgroup` would do this by marks, but pytest 9.2 no longer lets pytest-xdist 3.8 see them, and says nothing
# (pytest-xdist issue 1386).
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return ByFolder(config, log)
