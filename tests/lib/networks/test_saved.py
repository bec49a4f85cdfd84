"""Networks and data from files: every kind comes back as it was, a mismatch gives one sentence, and no code runs."""

from __future__ import annotations

import collections
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gatelr.networks import saved, tensor_files
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

MODULES: dict[str, Callable[[], nn.Module]] = {
    "rnn": lambda: nn.RNN(3, 5, 2),
    "gru": lambda: nn.GRU(3, 5, 3, bias=False),
    "lstm": lambda: nn.LSTM(3, 5, bidirectional=True),
    "projected": lambda: nn.LSTM(3, 5, 2, proj_size=2, bidirectional=True).double(),
    "one unit": lambda: nn.GRU(1, 1),
    "float64": lambda: nn.LSTM(3, 5).double(),
}


def write_safetensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """As the format is defined: a length, a header in JSON, the numbers in little-endian order."""
    dtypes = {torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.int64: "I64"}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    numbers = b""
    for name, tensor in tensors.items():
        content = tensor.contiguous().numpy().tobytes()
        header[name] = {
            "dtype": dtypes[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [len(numbers), len(numbers) + len(content)],
        }
        numbers += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + numbers)


def read(path: Path, prefix: str | None = None, **options: Any) -> nn.RNNBase:
    stored = tensor_files.tensors(path)
    return saved.module(saved.weights(stored, saved.choose(stored, prefix)), **options)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("name", MODULES)
def test_a_module_comes_back_as_it_was(tmp_path: Path, name: str, suffix: str) -> None:
    module = MODULES[name]()
    write = write_safetensors if suffix == ".safetensors" else lambda path, state: torch.save(state, path)
    write(tmp_path / f"model{suffix}", dict(module.state_dict()))
    state = torch.get_rng_state()
    back = read(tmp_path / f"model{suffix}")
    assert torch.equal(torch.get_rng_state(), state)
    assert repr(back) == repr(module)
    assert not back.training
    u = torch.randn(4, 2, back.input_size, dtype=back.weight_hh_l0.dtype)
    assert torch.equal(back(u)[0], module(u)[0])


@pytest.mark.parametrize("cell", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_a_cell_becomes_a_module_of_one_layer(tmp_path: Path, cell: type[nn.RNNCellBase]) -> None:
    loop = nn.ModuleDict({"cell": cell(3, 5).double()})
    torch.save(loop.state_dict(), tmp_path / "model.pt")
    module = read(tmp_path / "model.pt")
    u, state = torch.randn(4, 2, 3, dtype=torch.float64), None
    for step in u:
        state = loop["cell"](step, state)
    last = state[0] if isinstance(state, tuple) else state
    assert torch.allclose(module(u)[0][-1], last)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 3)
        self.encoder, self.decoder = nn.ModuleDict({"lstm": nn.LSTM(3, 5)}), nn.GRU(3, 4)


def test_a_layer_is_found_by_its_name(tmp_path: Path) -> None:
    model = Model()
    torch.save({"epoch": 3, "state_dict": model.state_dict(), "args": {"lr": 0.1}}, tmp_path / "checkpoint.pt")
    for prefix in ("encoder.lstm", "lstm", "state_dict.encoder.lstm"):
        module = read(tmp_path / "checkpoint.pt", prefix)
        assert torch.equal(module.weight_ih_l0, model.encoder["lstm"].weight_ih_l0)
    with pytest.raises(ValueError, match=r"2 recurrent modules.*'state_dict.decoder', 'state_dict.encoder.lstm'"):
        read(tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="got the prefix 'stm', expected"):
        read(tmp_path / "checkpoint.pt", "stm")


def test_what_a_wrapper_puts_in_front_needs_no_prefix(tmp_path: Path) -> None:
    torch.save(nn.DataParallel(nn.GRU(3, 4)).state_dict(), tmp_path / "model.pt")
    assert repr(read(tmp_path / "model.pt", batch_first=True)) == "GRU(3, 4, batch_first=True)"


def test_half_precision_is_widened(tmp_path: Path) -> None:
    torch.save(nn.GRU(3, 4).half().state_dict(), tmp_path / "model.pt")
    assert read(tmp_path / "model.pt").weight_hh_l0.dtype == torch.float32


def test_a_relu_has_to_be_said(tmp_path: Path) -> None:
    torch.save(nn.RNN(3, 4, nonlinearity="relu").state_dict(), tmp_path / "model.pt")
    assert read(tmp_path / "model.pt", nonlinearity="relu").nonlinearity == "relu"


@given(
    st.sampled_from([nn.RNN, nn.GRU, nn.LSTM]), st.integers(1, 6), st.integers(1, 6), st.integers(1, 3), st.booleans()
)
def test_sizes_are_those_of_the_shapes(kind: type[nn.RNNBase], m: int, n: int, layers: int, both: bool) -> None:
    module = kind(m, n, layers, bidirectional=both, bias=both)
    read = saved.sizes(saved.weights(module.state_dict(), ""))
    assert read == saved.Sizes(kind.__name__, m, n, layers, 0, both, both)


def altered(change: Callable[[dict[str, Tensor]], Any]) -> dict[str, Tensor]:
    state = dict(nn.GRU(3, 4, 2).state_dict())
    change(state)
    return state


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({}, "got no tensor named weight_hh_l0"),
        (dict(nn.Linear(3, 4).state_dict()), "the first names here are bias, weight"),
        (
            altered(lambda s: s.pop("bias_hh_l1")),
            r"got no bias_hh_l1, expected all weights of GRU\(3, 4, num_layers=2\)",
        ),
        (altered(lambda s: s.pop("weight_ih_l0")), "without a matrix weight_ih_l0"),
        (altered(lambda s: s.update(weight_hh_l0=torch.zeros(8, 4))), r"of shape \(8, 4\), expected 1, 3 or 4 times"),
        (altered(lambda s: s.update(weight_hh_l0=torch.zeros(4))), r"of shape \(4,\), expected 1, 3 or 4 times"),
        (
            altered(lambda s: s.update(weight_ih_l1=torch.zeros(12, 3))),
            r"\(12, 3\) in torch.float32, expected \(12, 4\)",
        ),
        (
            altered(lambda s: s.update(bias_ih_l0=torch.zeros(12).long())),
            r"in torch.int64, expected \(12,\) in floating",
        ),
    ],
    ids=range(8),
)
def test_weights_that_are_no_module_are_refused(state: dict[str, Tensor], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        saved.module(saved.weights(state, saved.choose(state)))


ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.ones((2, 2), dtype=np.float32)}


def test_arrays_come_back_from_every_format(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", ARRAYS["a"])
    np.savez(tmp_path / "two.npz", **ARRAYS)
    tensors = {name: torch.from_numpy(array) for name, array in ARRAYS.items()}
    torch.save(tensors["a"], tmp_path / "one.pt")
    torch.save({"x": {"y": tensors["a"]}}, tmp_path / "nested.pt")
    write_safetensors(tmp_path / "two.safetensors", tensors | {"empty": torch.zeros(0, 3), "number": torch.tensor(1.0)})
    for file, key in (
        ("one.npy", None),
        ("two.npz", "a"),
        ("one.pt", None),
        ("nested.pt", None),
        ("two.safetensors", "a"),
    ):
        back = tensor_files.tensor(tmp_path / file, key)
        assert torch.equal(back, tensors["a"]), file
        assert back.dtype == torch.float64
    assert tensor_files.tensor(tmp_path / "nested.pt", "x.y").shape == (2, 3)
    assert tensor_files.tensor(tmp_path / "two.safetensors", "empty").shape == (0, 3)
    assert tensor_files.tensor(tmp_path / "two.safetensors", "number").shape == ()
    with pytest.raises(ValueError, match=r"got 2 arrays in .*two.npz, expected one: .* 'a', 'b'"):
        tensor_files.tensor(tmp_path / "two.npz")
    with pytest.raises(ValueError, match=r"got no array 'c' in .*two.npz, expected one of 'a', 'b'"):
        tensor_files.tensor(tmp_path / "two.npz", "c")


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("suffix", [".pt", ".npy", ".npz"])
def test_code_in_a_file_does_not_run(tmp_path: Path, suffix: str) -> None:
    trap, ran = tmp_path / f"trap{suffix}", tmp_path / "ran"
    objects = np.array([Trap(ran)], dtype=object)
    {
        ".pt": lambda: torch.save({"weight_hh_l0": torch.zeros(3, 1), "more": Trap(ran)}, trap),
        ".npy": lambda: np.save(trap, objects, allow_pickle=True),
        ".npz": lambda: np.savez(trap, a=objects),
    }[suffix]()
    with pytest.raises(ValueError, match=r"without (running code|objects)") as refused:
        tensor_files.tensors(trap)
    assert not ran.exists()
    assert "\n" not in str(refused.value)
    assert "weights_only" not in str(refused.value)  # torch's own advice is to switch it off


def test_a_whole_model_is_refused(tmp_path: Path) -> None:
    torch.save(nn.GRU(3, 4), tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"pickled objects, or damaged.*torch.save\(model.state_dict\(\), path\)"):
        tensor_files.tensors(tmp_path / "model.pt")


def test_an_ordered_dictionary_is_no_code(tmp_path: Path) -> None:
    torch.save(collections.OrderedDict(nn.GRU(3, 4).state_dict()), tmp_path / "model.pt")
    assert saved.prefixes(tensor_files.tensors(tmp_path / "model.pt")) == [""]


@pytest.mark.parametrize("suffix", [".pt", ".npy", ".npz", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"\x00" * 7, b"not at all what the name says, and long enough for a header"])
def test_a_damaged_file_is_refused_in_a_sentence(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^got .*file") as refused:
        tensor_files.tensors(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("suffix", [".pt", ".npy", ".npz", ".safetensors"])
def test_a_file_that_was_cut_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"file{suffix}"
    array = np.random.default_rng(0).normal(size=(50, 50))
    {
        ".pt": lambda: torch.save(torch.from_numpy(array), path),
        ".npy": lambda: np.save(path, array),
        ".npz": lambda: np.savez(path, a=array),
        ".safetensors": lambda: write_safetensors(path, {"a": torch.from_numpy(array)}),
    }[suffix]()
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"^got "):
        tensor_files.tensors(path)


def test_numbers_of_an_unknown_type_are_refused(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "file.safetensors", {"a": torch.ones(2)})
    content = (tmp_path / "file.safetensors").read_bytes()
    (tmp_path / "file.safetensors").write_bytes(content.replace(b'"F32"', b'"F8X"'))
    with pytest.raises(ValueError, match="a has numbers of the type F8X"):
        tensor_files.tensors(tmp_path / "file.safetensors")


def test_what_is_not_there_is_said_by_the_system(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pt", tmp_path):
        with pytest.raises(OSError, match=str(path)):
            tensor_files.tensors(path)
