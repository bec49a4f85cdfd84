"""JupyterLab as `make lab` opens it: a source is saved as a pair, and the book's own notebooks stay as they are."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted(path.name for path in (ROOT / "notebooks").glob("*.py"))

Contents = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources, and a notebook of the book beside the first of them."""
    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    folder.mkdir()
    for path in [*(ROOT / "notebooks").glob("*.py"), *(ROOT / "notebooks").glob("*.toml")]:
        shutil.copy(path, folder)
    (folder / CHAPTERS[0]).with_suffix(".ipynb").write_text("the book's")
    return folder


@pytest.fixture(scope="module")
def contents(folder: Path) -> Iterator[Contents]:
    """The server's contents, asked as the page in the browser asks."""
    (started,) = re.findall(r"jupyter (lab .*) notebooks$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyter", *started.split(), str(folder), "--no-browser", "--allow-root"]
    command += ["--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=test"]
    home = {"HOME": str(folder.parent)}
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON", "COV", "JUPYTER"))}
    log = folder.parent / "server.log"

    def ask(path: str, content: Any = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/{path}",
            data=None if content is None else json.dumps(content).encode(),
            headers={"Authorization": "token test"},
            method="GET" if content is None else "PUT",
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            pytest.fail(f"{path}: {error.code} {error.read().decode()}\n{log.read_text()}")

    with log.open("w") as said:
        server = subprocess.Popen(command, cwd=ROOT, env=environment | home, stdout=said, stderr=said)
    try:
        for _ in range(240):
            try:
                ask("status")
                break
            except urllib.error.URLError:
                assert server.poll() is None, log.read_text()
                time.sleep(0.25)
        yield ask
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_saving_a_source_as_it_is_changes_nothing(contents: Contents, folder: Path, chapter: str) -> None:
    before = (folder / chapter).read_text()
    opened = contents(f"contents/{chapter}?type=notebook")
    contents(f"contents/{chapter}", {"type": "notebook", "format": "json", "content": opened["content"]})
    assert (folder / chapter).read_text() == before


def test_a_save_writes_the_text_and_the_outputs_each_to_its_file(contents: Contents, folder: Path) -> None:
    chapter = CHAPTERS[0]
    source, draft = folder / chapter, folder / "drafts" / Path(chapter).with_suffix(".ipynb")
    before = source.read_text()
    opened = contents(f"contents/{chapter}?type=notebook")["content"]
    cell = next(cell for cell in opened["cells"] if "parameters" in cell["metadata"].get("tags", []))
    cell["source"] += "\nmore = 1"
    cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "an output"}]
    cell["execution_count"] = 1
    contents(f"contents/{chapter}", {"type": "notebook", "format": "json", "content": opened})

    added = set(source.read_text().splitlines()) - set(before.splitlines())
    assert added == {"more = 1"}
    assert "an output" in draft.read_text()
    # Opened again it has both, though the outputs are the newer file.
    os.utime(source, (0, 0))
    again = contents(f"contents/{chapter}?type=notebook")["content"]
    (seen,) = [c for c in again["cells"] if "more = 1" in c["source"]]
    assert seen["outputs"][0]["text"] == "an output"
    assert source.with_suffix(".ipynb").read_text() == "the book's"


def test_git_ignores_the_outputs() -> None:
    path = f"notebooks/drafts/{Path(CHAPTERS[0]).with_suffix('.ipynb')}"
    ignored = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False)
    if ignored.returncode == 128:
        pytest.skip("this is no git repository, so that nothing can be ignored")
    assert ignored.returncode == 0
