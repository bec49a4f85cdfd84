"""Fork the processes of jobs from one that has imported already what each would import for seconds.

    python workflow/fork_server.py ipykernel_launcher -f connection.json

A run, a chapter and its kernel are a process each, and most of what a short one does is to import torch. ``make book``
starts a server, which ends when Snakemake does. A program calls :func:`hand_over` first: the server imports what is
asked for and forks, the fork goes on as that program, and the program itself only waits, hands signals on, and ends as
the fork does. Where there is no server, or code was edited since it began, the program goes on by itself.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import hashlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]
#: The variable that names the server's socket.
VARIABLE = "GATELR_FORK_SERVER"
#: How many threads a fork computes with: libraries read it when they are loaded.
THREADS = 1
#: Bytes in the name of a socket.
LONGEST = 100
#: Of prctl: a signal for this process when its parent ends.
PR_SET_PDEATHSIG = 1

#: Whether this process is a server's, or a fork of one.
_forking = False


# For the build


@contextlib.contextmanager
def started(variables: dict[str, str], log: IO[str], wanted: bool = True) -> Iterator[list[int]]:
    """A server, as long as this lasts and whoever has the file open that is yielded.

    Args:
        variables: of its environment, beside those of this process.
        log: for what it says.
        wanted: whether there is to be one at all.

    Yields:
        The descriptors for Snakemake to hold; none where there can be no server: elsewhere than on Linux.
    """
    with tempfile.TemporaryDirectory(prefix="gatelr-") as folder:
        name = f"{folder}/socket"
        if not wanted or sys.platform != "linux" or len(name) > LONGEST:
            yield []
            return
        os.environ[VARIABLE] = name
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(name)
            listener.listen()
            server = subprocess.Popen(
                [sys.executable, __file__],
                # figures of chapters are drawn as kernels say, and this is read as Matplotlib is imported
                env=os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"} | variables,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
                text=True,
            )
            assert server.stdin is not None
            server.stdin.write(f"{listener.fileno()}\n")
            server.stdin.flush()
        try:
            yield [server.stdin.fileno()]
        finally:
            del os.environ[VARIABLE]
            server.stdin.close()
            server.wait()


# For the programs


def hand_over(imports: Iterable[str], module: str = "") -> None:
    """Have this program done by a fork and end as that ends; return where it has to be done here.

    Args:
        imports: the modules that it is about to import, in their order; one that cannot be is left to the program.
        module: what is to run, if not the script that this process runs.
    """
    if _forking or VARIABLE not in os.environ:
        return
    words = [module or str(Path(sys.argv[0]).resolve()), *sys.argv[1 + bool(module) :]]
    asked = {"words": words, "cwd": str(Path.cwd()), "environment": dict(os.environ), "imports": list(imports)}
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(os.environ[VARIABLE])
            socket.send_fds(connection, [b"\0"], [0, 1, 2])
            connection.sendall(json.dumps(asked).encode() + b"\n")
            answers = connection.makefile()
            fork = answers.readline()
        except OSError:
            return
        if not fork:
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: _send(int(fork), number))
        try:
            status = int(answers.readline())
        except (OSError, ValueError):  # the server was killed, and its forks with it
            status = -signal.SIGKILL
        if status < 0:
            signal.signal(-status, signal.SIG_DFL) if -status != signal.SIGKILL else None
            os.kill(os.getpid(), -status)
        os._exit(status)


def _send(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def _end_with(parent: int) -> None:
    """Have this process killed when its parent ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        os._exit(1)


# The server


def _code() -> str:
    """A fingerprint of the code that forks have from the server."""
    files = sorted(path for folder in ("lib", "workflow") for path in (ROOT / folder).rglob("*.py"))
    return hashlib.sha256(b"\0".join(str(path).encode() + path.read_bytes() for path in files)).hexdigest()


def _serve() -> dict[str, Any]:
    """Fork for each program that asks; return in a fork, with what was asked."""
    global _forking
    _forking = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a build that is stopped waits for its jobs, which hear of it
    gc.disable()  # imports make nothing that could be freed, and would be looked through again and again
    code, server = _code(), os.getpid()
    listener = socket.socket(fileno=int(sys.stdin.readline()))
    forks: dict[socket.socket, tuple[int, int]] = {}
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ, "program")
    selector.register(0, selectors.EVENT_READ, "end")
    serving = True
    while serving or forks:
        for key, _ in selector.select():
            if key.data == "end":  # Snakemake and the build have ended; what they left behind is seen to its end
                serving = False
                selector.unregister(0)
                selector.unregister(listener)
                listener.close()
            elif key.data == "program" and serving:
                connection = listener.accept()[0]
                asked = _asked(connection)
                fork = None
                with contextlib.suppress(OSError):  # no memory, or a file that is just being saved
                    if asked is not None and _ready(asked["imports"]) and _code() == code:
                        fork = os.fork()
                if fork == 0:
                    selector.close()
                    for other in (listener, connection, *forks):
                        other.close()
                    os.setpgid(0, 0)  # a signal for the whole group of the build comes once, through the program
                    _end_with(server)
                    assert asked is not None
                    return asked
                for descriptor in asked["descriptors"] if asked else ():
                    os.close(descriptor)  # whoever reads from a pipe waits until all have closed it
                if fork is None:
                    connection.close()
                    continue
                with contextlib.suppress(OSError):
                    os.setpgid(fork, fork)  # as it does itself, sooner or later
                _say(connection, fork)
                forks[connection] = fork, os.pidfd_open(fork)
                selector.register(connection, selectors.EVENT_READ, "gone")
                selector.register(forks[connection][1], selectors.EVENT_READ, connection)
            elif key.data == "gone" and key.fileobj in forks:  # the program was killed
                selector.unregister(key.fileobj)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(forks[key.fileobj][0], signal.SIGKILL)
            elif isinstance(key.data, socket.socket):
                fork, descriptor = forks.pop(key.data)
                _say(key.data, os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]))
                selector.unregister(descriptor)
                os.close(descriptor)
                with contextlib.suppress(KeyError):
                    selector.unregister(key.data)
                key.data.close()
    os._exit(0)


def _asked(connection: socket.socket) -> dict[str, Any] | None:
    """What a program asks for; None if it ended before it had said so."""
    descriptors: list[int] = []
    try:
        _, descriptors, *_ = socket.recv_fds(connection, 1, 3)
        with connection.makefile() as file:
            return dict(json.loads(file.readline())) | {"descriptors": descriptors}
    except (OSError, ValueError):
        for descriptor in descriptors:
            os.close(descriptor)
        return None


def _say(connection: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(f"{number}\n".encode())


def _ready(imports: Iterable[str]) -> bool:
    """Import; whether this process can be forked, which one with several threads can not."""
    before = len(sys.modules)
    for name in imports:
        with contextlib.suppress(BaseException):  # the fork will say so, in its own words
            import_module(name)
    if "torch" in sys.modules:
        import_module("torch._dynamo")  # as the first optimiser does that is made
    if len(sys.modules) > before:
        gc.freeze()  # so that a fork does not look through all that, and copy it
    return len(os.listdir("/proc/self/task")) == 1


def _become(asked: dict[str, Any], path: list[str]) -> NoReturn:
    """Go on as the program, and end."""
    gc.enable()
    for descriptor, stream in zip(asked["descriptors"], (0, 1, 2), strict=True):
        os.dup2(descriptor, stream)
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()  # or all forks draw the same; random and tempfile see to it themselves
    program, *_ = sys.argv = asked["words"]
    status = 0
    try:
        if program.endswith(".py"):
            sys.path[:] = [str(Path(program).parent), *path[1:]]
            runpy.run_path(program, run_name="__main__")
        else:
            sys.path[:] = [asked["cwd"], *path[1:]]
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if not isinstance(ended.code, int | None):
            raise
        status = ended.code or 0
    # What else is raised ends the process as always. Here Python would take all modules apart, one by one.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(status)


def main() -> None:
    """Serve; or, with the name of a module and its arguments, run it."""
    if len(sys.argv) == 1:
        path = [*sys.path]
        _become(_serve(), path)
    _end_with(int(os.environ.get("JPY_PARENT_PID") or os.getppid()))
    hand_over([sys.argv[1]], sys.argv[1])
    os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])


if __name__ == "__main__":
    import fork_server  # not this copy of it, which no program would find

    fork_server.main()
