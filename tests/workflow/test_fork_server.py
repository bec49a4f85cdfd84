"""A program that the server forks is to the one who called it the program itself, and never one of older code."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import psutil
import pytest

from .conftest import REPOSITORY

pytestmark = [
    pytest.mark.xdist_group("workflow"),
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no server"),
]

PROGRAM = """\
import json
import os
import signal
import sys
import time
from pathlib import Path

import fork_server

if __name__ == "__main__":
    fork_server.hand_over(["there_is_none", "costly"])
    import costly

    words = [costly.VALUE, sys.argv[1:], os.environ["WORD"], os.getcwd()]
    print(json.dumps([os.getpid(), costly.IMPORTED_BY, costly.draw(), *words]))
    sys.stdout.flush()
    match sys.argv[1]:
        case "exit":
            sys.exit(int(sys.argv[2]))
        case "raise":
            raise ValueError("as it was meant to")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "wait":
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
            time.sleep(600)
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout of one program and one module."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "workflow").mkdir()
    shutil.copy(REPOSITORY / "workflow" / "fork_server.py", tmp_path / "workflow")
    (tmp_path / "workflow" / "program.py").write_text(PROGRAM)
    (tmp_path / "lib" / "costly.py").write_text(
        "import os\n\nfrom numpy.random import random as draw\n\nIMPORTED_BY = os.getpid()\nVALUE = 1\n"
    )
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start the program while there is a server."""
    spec = spec_from_file_location("the_fork_server", folder / "workflow" / "fork_server.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)

    programs = []

    def start(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(folder / "workflow" / "program.py"), *words]
        environment = os.environ | {"WORD": words[-1], "PYTHONPATH": str(folder / "lib")}
        program = subprocess.Popen(
            command, env=environment, cwd=folder / "lib", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        programs.append(program)
        return program

    variables = {"PYTHONPATH": str(folder / "lib")}
    with (folder / "log").open("w") as log, module.started(variables, log) as held:
        assert len(held) == 1
        yield start
        for program in programs:
            program.kill()
            program.communicate()


def said(program: subprocess.Popen[str]) -> tuple[int, int, list[object]]:
    """Its process, the one that imported, and all that it said of how it was called."""
    assert program.stdout is not None
    process, imported, _, *more = json.loads(program.stdout.readline())
    return process, imported, more


def server() -> psutil.Process:
    """The one that there is."""
    there = []
    for each in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # one that is just ending
            there += [each] if each.cmdline()[-1:] and each.cmdline()[-1].endswith("fork_server.py") else []
    (one,) = there
    return one


def gone(process: int) -> bool:
    """Whether it ends within ten seconds."""
    end = time.monotonic() + 10
    while psutil.pid_exists(process) and time.monotonic() < end:
        time.sleep(0.01)
    return not psutil.pid_exists(process)


def test_a_fork_is_called_as_the_program_was_and_ends_as_it_would(start: Start, folder: Path) -> None:
    for words, status in ((("exit", "0"), 0), (("exit", "3"), 3), (("die", "now"), -signal.SIGKILL)):
        program = start(*words)
        process, imported, called = said(program)
        assert process != program.pid
        assert imported == server().pid
        assert called == [1, list(words), words[-1], str(folder / "lib")]
        assert program.wait() == status
        assert gone(process)
    program = start("raise")
    assert program.wait() == 1
    assert program.stderr is not None
    assert "ValueError: as it was meant to" in program.stderr.read()


def test_several_are_forked_side_by_side(start: Start) -> None:
    waiting, brief = start("wait"), start("exit", "0")
    process, *_ = said(waiting)
    assert brief.wait() == 0
    assert psutil.pid_exists(process)
    waiting.kill()


def test_no_two_forks_draw_the_same(start: Start) -> None:
    drawn = [json.loads(start("exit", "0").communicate()[0])[2] for _ in range(2)]
    assert drawn[0] != drawn[1]


def test_a_signal_reaches_the_fork_and_a_kill_too(start: Start) -> None:
    told, killed = start("wait"), start("wait")
    processes = [said(told)[0], said(killed)[0]]
    time.sleep(0.2)
    told.terminate()
    assert told.wait() == 7
    killed.kill()
    assert all(map(gone, processes))


def test_edited_code_is_run_by_the_program_itself(start: Start, folder: Path) -> None:
    assert said(start("exit", "0"))[1] == server().pid
    module = folder / "lib" / "costly.py"
    module.write_text(module.read_text().replace("VALUE = 1", "VALUE = 22"))
    program = start("exit", "5")
    process, imported, called = said(program)
    assert process == imported == program.pid
    assert called[0] == 22
    assert program.wait() == 5


def test_with_its_server_killed_a_program_ends_and_the_next_is_run_by_itself(start: Start) -> None:
    program = start("wait")
    process, *_ = said(program)
    server().kill()
    assert program.wait() == -signal.SIGKILL
    assert gone(process)
    program = start("exit", "4")
    assert said(program)[0] == program.pid
    assert program.wait() == 4
