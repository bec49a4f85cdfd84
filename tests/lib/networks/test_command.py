"""``gatelr diagnose``: from files to a page, JSON and a text, or to one sentence and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gatelr import command, networks
from torch import nn

T, B, M, N = 12, 5, 3, 8

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in an empty folder, and say its code and what it wrote on each stream."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = command.main(["diagnose", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def gru(run: Run) -> nn.GRU:
    """A network and a batch of data in the folder, and the network itself."""
    module = nn.GRU(M, N).double()
    torch.save(module.state_dict(), "model.pt")
    np.save("data.npy", np.random.default_rng(0).normal(size=(T, B, M)))
    return module


def strict(path: str) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    content: dict[str, Any] = json.loads(Path(path).read_text(), parse_constant=refuse)
    return content


def test_it_says_what_the_library_says(run: Run, gru: nn.GRU) -> None:
    sizes = ("--module", "GRU", "--hidden", str(N), "--layers", "1", "--proj-size", "0")
    code, out, err = run("model.pt", "data.npy", *sizes, "--lag", "9", "-o", "report.html", "--json", "report.json")
    assert (code, err) == (0, "")
    gru.eval()
    diagnosis = networks.diagnose(gru, torch.from_numpy(np.load("data.npy")), lag=9)
    written = strict("report.json")
    assert [found["code"] for found in written["findings"]] == [found.code for found in diagnosis.findings]
    assert written["layers"][0]["time_constants"] == diagnosis.layers[0].time_constants.tolist()
    assert written["given"]["model file"] == "model.pt"
    assert out.startswith(str(diagnosis))
    assert out.endswith("written: report.html\nwritten: report.json\n")
    page = Path("report.html").read_text()
    assert all(found.sentence.replace("'", "&#39;") in page for found in diagnosis.findings)
    assert sorted(path.name for path in Path().iterdir()) == ["data.npy", "model.pt", "report.html", "report.json"]


def test_without_a_place_to_write_it_prints_alone(run: Run, gru: nn.GRU) -> None:
    assert run("model.pt", "data.npy")[0] == 0
    assert sorted(path.name for path in Path().iterdir()) == ["data.npy", "model.pt"]


def test_findings_do_not_change_the_exit_code(run: Run, gru: nn.GRU) -> None:
    code, out, _ = run("model.pt", "data.npy", "--lag", "11", "--window", "2")
    assert code == 0
    assert re.search(r"^\[(note|warning|error)\]", out, flags=re.MULTILINE)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_layer_inside_a_larger_model(run: Run, kind: str) -> None:
    model = nn.ModuleDict(
        {"embedding": nn.Embedding(7, M), "encoder": nn.ModuleDict({"rnn": getattr(nn, kind)(M, N, 2)})}
    )
    torch.save({"epoch": 1, "state_dict": model.state_dict()}, "model.pt")
    torch.save(torch.randn(B, T, M), "data.pt")
    code, out, err = run(
        "model.pt", "data.pt", "--module", kind, "--batch-first", "--prefix", "encoder.rnn", "--json", "report.json"
    )
    assert (code, err) == (0, "")
    assert out.startswith(f"{B} sequences of {T} steps")
    assert strict("report.json")["given"]["model file"] == "model.pt, state_dict.encoder.rnn"
    assert len(strict("report.json")["layers"]) == 2


@pytest.mark.parametrize("lengths", ["12,3,4,5,1", "lengths.npy"])
def test_padded_sequences_have_lengths(run: Run, gru: nn.GRU, lengths: str) -> None:
    np.save("lengths.npy", np.array([12, 3, 4, 5, 1]))
    data = np.load("data.npy")
    for sequence, length in enumerate((12, 3, 4, 5, 1)):
        data[length:, sequence] = 1e6  # padding is never read
    np.save("data.npy", data)
    assert run("model.pt", "data.npy", "--lengths", lengths, "--json", "report.json")[0] == 0
    diagnosis = networks.diagnose(gru.eval(), torch.from_numpy(data), lengths=[12, 3, 4, 5, 1])
    assert strict("report.json")["layers"][0]["budget"] == diagnosis.layers[0].budget.tolist()


TARGETS: dict[str, tuple[int, Callable[[np.random.Generator], np.ndarray[Any, Any]], tuple[str, ...]]] = {
    "one number at the end": (1, lambda draw: draw.normal(size=B), ()),
    "numbers at the end": (2, lambda draw: draw.normal(size=(B, 2)), ("--loss", "mse")),
    "numbers at every step": (2, lambda draw: draw.normal(size=(T, B, 2)), ()),
    "a class at the end": (4, lambda draw: draw.integers(0, 4, size=B), ()),
    "a class at every step": (4, lambda draw: draw.integers(0, 4, size=(T, B)), ("--loss", "cross-entropy")),
}


@pytest.mark.parametrize("batch_first", [False, True], ids=["time first", "batch first"])
@pytest.mark.parametrize("lengths", [None, [12, 3, 4, 5, 1]], ids=["whole", "padded"])
@pytest.mark.parametrize("name", TARGETS)
def test_with_a_target_it_knows_the_loss(run: Run, name: str, lengths: list[int] | None, batch_first: bool) -> None:
    outputs, draw, options = TARGETS[name]
    model = nn.ModuleDict({"rnn": nn.GRU(M, N), "head": nn.Linear(N, outputs)}).double()
    torch.save(model.state_dict(), "model.pt")
    u, target = torch.randn(T, B, M).double(), torch.from_numpy(draw(np.random.default_rng(0)))
    said = model["head"](model["rnn"](u)[0])
    ends = torch.tensor(lengths or [T] * B)
    if "every" in name:
        real = torch.arange(T)[:, None] < ends
        said, aim = said[real], target[real]
    else:
        said, aim = said[ends - 1, torch.arange(B)], target
    expected = nn.functional.cross_entropy(said, aim) if outputs == 4 else ((said - aim.view_as(said)) ** 2).mean()
    if batch_first:
        u, target = u.transpose(0, 1), target.transpose(0, 1) if "every" in name else target
        options = (*options, "--batch-first")
    torch.save({"u": u, "y": target}, "data.pt")
    if lengths is not None:
        options = (*options, "--lengths", ",".join(map(str, lengths)))
    given = ("--key", "u", "--target", "data.pt", "--target-key", "y", "--readout", "head")
    code, _, err = run("model.pt", "data.pt", *given, *options, "--lr", "0.1", "--clip", "1", "--json", "report.json")
    assert (code, err) == (0, "")
    written = strict("report.json")
    assert written["loss"] == pytest.approx(expected.item(), rel=1e-12)
    assert written["baseline"] is not None
    assert {parameter["name"] for parameter in written["parameters"]} == {
        name for name, _ in nn.GRU(M, N).named_parameters()
    }


def test_weights_that_ran_to_nan_are_a_finding_and_no_mistake(run: Run, gru: nn.GRU) -> None:
    state = gru.state_dict()
    state["weight_hh_l0"][0, 0] = torch.nan
    torch.save(state, "model.pt")
    code, out, err = run("model.pt", "data.npy", "-o", "report.html", "--json", "report.json")
    assert (code, err) == (0, "")
    assert "[error]" in out
    assert "<h1>Diagnosis of a recurrent network</h1>" in Path("report.html").read_text()
    assert strict("report.json")["layers"] == []


def save(path: str, array: Any) -> Callable[[], None]:
    return lambda: np.save(path, array, allow_pickle=True)


def spoil(index: tuple[int, ...], value: float) -> Callable[[], None]:
    def spoil() -> None:
        data = np.load("data.npy")
        data[index] = value
        np.save("data.npy", data)

    return spoil


def write(path: str, content: bytes) -> Callable[[], object]:
    return lambda: Path(path).write_bytes(content)


MISTAKES: dict[str, tuple[Callable[[], object], tuple[str, ...], str]] = {
    "no such model": (lambda: None, ("none.pt", "data.npy"), "none.pt: No such file or directory"),
    "no such data": (lambda: None, ("model.pt", "none.npy"), "none.npy: No such file or directory"),
    "a folder as data": (lambda: Path("d").mkdir(), ("model.pt", "d"), "d: Is a directory"),
    "a whole model": (lambda: torch.save(nn.GRU(M, N), "whole.pt"), ("whole.pt", "data.npy"), "pickled objects"),
    "a text": (write("text.pt", b"weights"), ("text.pt", "data.npy"), "cannot be read without running code"),
    "swapped files": (lambda: None, ("data.npy", "model.pt"), "got no tensor named weight_hh_l0"),
    "objects as data": (save("o.npy", np.array([{}])), ("model.pt", "o.npy"), "holds no plain numbers"),
    "words as data": (save("w.npy", np.array(["a"])), ("model.pt", "w.npy"), "holds no plain numbers"),
    "several arrays": (
        lambda: np.savez("two.npz", x=np.ones(1), y=np.ones(1)),
        ("model.pt", "two.npz"),
        "got 2 arrays in two.npz",
    ),
    "another key": (lambda: np.savez("x.npz", x=np.ones(1)), ("model.pt", "x.npz", "--key", "u"), "got no array 'u'"),
    "another kind": (
        lambda: None,
        ("model.pt", "data.npy", "--module", "LSTM"),
        r"got --module LSTM, but .* \(24, 8\)",
    ),
    "another size": (lambda: None, ("model.pt", "data.npy", "--hidden", "128"), "got --hidden 128, but .*hidden=8"),
    "more layers": (lambda: None, ("model.pt", "data.npy", "--layers", "2"), "got --layers 2, but"),
    "a projection": (lambda: None, ("model.pt", "data.npy", "--proj-size", "2"), "got --proj-size 2, but"),
    "two directions": (lambda: None, ("model.pt", "data.npy", "--bidirectional"), "got --bidirectional, but"),
    "a relu for a GRU": (
        lambda: None,
        ("model.pt", "data.npy", "--nonlinearity", "relu"),
        "for .*GRU.*, expected it for an",
    ),
    "another prefix": (lambda: None, ("model.pt", "data.npy", "--prefix", "lstm"), "got the prefix 'lstm'"),
    "another width": (save("w.npy", np.ones((T, B, 4))), ("model.pt", "w.npy"), r"\(12, 5, 4\) .* m = 3"),
    "axes in another order": (save("w.npy", np.ones((M, T, B))), ("model.pt", "w.npy"), r"\(3, 12, 5\) .* m = 3"),
    "tokens": (save("t.npy", np.ones((T, B), dtype=int)), ("model.pt", "t.npy"), "embed tokens first"),
    "four axes": (save("w.npy", np.ones((T, B, 1, M))), ("model.pt", "w.npy"), r"expected \(T, B, m\) or \(T, m\)"),
    "no steps": (save("w.npy", np.ones((0, B, M))), ("model.pt", "w.npy"), "expected at least one step"),
    "complex data": (save("w.npy", np.ones((T, B, M), dtype=complex)), ("model.pt", "w.npy"), "real numbers"),
    "NaN in the data": (spoil((4, 2, 0), np.nan), ("model.pt", "data.npy"), r"1 entries that are NaN .* \(4, 2, 0\)"),
    "infinite data": (spoil((0, 0, 1), np.inf), ("model.pt", "data.npy"), "NaN or infinite"),
    "words as lengths": (
        lambda: None,
        ("model.pt", "data.npy", "--lengths", "a,b"),
        "got --lengths a,b, expected whole",
    ),
    "too few lengths": (lambda: None, ("model.pt", "data.npy", "--lengths", "3,4"), "got 2 lengths from 3 to 4"),
    "too long": (lambda: None, ("model.pt", "data.npy", "--lengths", "13,1,1,1,1"), "got 5 lengths from 1 to 13"),
    "broken lengths": (save("l.npy", np.full(B, 1.5)), ("model.pt", "data.npy", "--lengths", "l.npy"), "whole numbers"),
    "a negative lag": (lambda: None, ("model.pt", "data.npy", "--lag", "-1"), "got lag=-1, expected"),
    "no window": (lambda: None, ("model.pt", "data.npy", "--window", "0"), "got window=0, expected"),
    "a negative threshold": (lambda: None, ("model.pt", "data.npy", "--clip", "-1"), "got clip=-1.0, expected"),
    "a rate that is no number": (lambda: None, ("model.pt", "data.npy", "--lr", "nan"), "got lr=nan, expected"),
    "a readout without a target": (lambda: None, ("model.pt", "data.npy", "--readout", "head"), "without --target"),
    "no such readout": (
        save("y.npy", np.ones(B)),
        ("model.pt", "data.npy", "--target", "y.npy", "--readout", "head"),
        "got 0 tensors named head.weight",
    ),
    "another target": (
        save("y.npy", np.ones((B, 3))),
        ("model.pt", "data.npy", "--target", "y.npy"),
        r"got a target of shape \(5, 3\), expected \(5, 8\) for the last step or \(12, 5, 8\) for every step",
    ),
    "too many classes": (
        save("y.npy", np.full(B, 8)),
        ("model.pt", "data.npy", "--target", "y.npy"),
        "expected classes from 0 to 7",
    ),
    "NaN in the target": (
        save("y.npy", np.full((B, N), np.nan)),
        ("model.pt", "data.npy", "--target", "y.npy"),
        "got a target with NaN",
    ),
    "another optimiser": (
        save("y.npy", np.ones((B, N))),
        ("model.pt", "data.npy", "--target", "y.npy", "--optimizer", "adm", "--lr", "1"),
        "got optimizer='adm', expected",
    ),
    "no such folder": (lambda: None, ("model.pt", "data.npy", "-o", "none/page.html"), "there is no folder none"),
    "a folder as a page": (lambda: Path("d").mkdir(), ("model.pt", "data.npy", "-o", "d"), "which is a folder"),
    "a page over the model": (lambda: None, ("model.pt", "data.npy", "-o", "model.pt"), "to write and to read"),
    "one name for two": (lambda: None, ("model.pt", "data.npy", "-o", "x", "--json", "./x"), "expected two names"),
}


@pytest.mark.usefixtures("as_installed", "gru")
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gives_one_sentence_and_no_file(run: Run, name: str) -> None:
    prepare, arguments, sentence = MISTAKES[name]
    prepare()
    before = {path: path.stat().st_mtime_ns for path in Path().iterdir()}
    places = () if "-o" in arguments else ("-o", "report.html", "--json", "report.json")
    code, out, err = run(*arguments, *places)
    assert (code, out) == (2, "")
    assert re.search(f"^gatelr diagnose: .*{sentence}", err), err
    assert err.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in Path().iterdir()} == before


@pytest.mark.parametrize(
    "arguments", [(), ("model.pt",), ("model.pt", "data.npy", "--module", "CNN"), ("--hidden", "x")]
)
def test_what_is_no_command_line_exits_with_two(run: Run, arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as left:
        run(*arguments)
    assert left.value.code == 2


def test_help_and_version_do_not_wait_for_torch() -> None:
    for arguments, said in ((["--version"], "gatelr 0.1.0"), (["diagnose", "--help"], "exit code: 0 if")):
        code = (
            "import sys; from gatelr.command import main\n"
            f"try: main({arguments})\n"
            "except SystemExit as left: assert left.code == 0\n"
            "assert 'torch' not in sys.modules"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert said in done.stdout


@pytest.mark.slow
def test_it_runs_as_a_module(gru: nn.GRU) -> None:
    command_line = [sys.executable, "-m", "gatelr", "diagnose", "model.pt", "data.npy"]
    done = subprocess.run(command_line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith(f"{B} sequences of {T} steps")


def test_an_interrupted_page_leaves_the_earlier_one(run: Run, gru: nn.GRU, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("report.html").write_text("earlier")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    code, _, err = run("model.pt", "data.npy", "-o", "report.html")
    assert code == 2
    assert "no space left" in err
    assert Path("report.html").read_text() == "earlier"
    assert len(list(Path().iterdir())) == 3
