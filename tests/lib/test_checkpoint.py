"""What moves beside a network is saved with it and comes back."""

from __future__ import annotations

import hashlib
import inspect
import io
import pickle
import random
from pathlib import Path

import pytest
import torch
from gatelr import checkpoint, tasks, training
from gatelr.cells import GatedRNN

TASK = tasks.get("adding", steps=6)


def fit(save: Path | None, stop: int = -1) -> tuple[checkpoint.Kept, float]:
    """Train for 10 steps with a probe that sums weights; raises KeyboardInterrupt before step ``stop``."""
    model = GatedRNN(TASK.n_inputs, 3, "multi", generator=torch.Generator().manual_seed(1))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    kept = checkpoint.Kept(total=torch.zeros(3, 3), steps=[])

    def probe(step: int, model: GatedRNN) -> None:
        if step == stop:
            raise KeyboardInterrupt
        kept["total"] = kept["total"] + model.W_r.detach()
        kept["steps"].append(step)

    source, options = torch.Generator().manual_seed(2), {"save": save, "save_every": 4, "companions": {"kept": kept}}
    run = training.train(model, TASK, optimiser, 10, source, probe=probe, checkpoints=range(10), **options)
    return kept, float(run.losses[-1, 0])


def test_a_companion_goes_on_with_the_run(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    try:
        fit(path, stop=7)
    except KeyboardInterrupt:
        assert torch.load(path)["step"] == 4
    kept, loss = fit(path)
    whole, expected = fit(None)
    assert kept["steps"] == whole["steps"] == [*range(10)]
    assert torch.equal(kept["total"], whole["total"])
    assert loss == expected


class Evil:
    """What runs code of its own when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("import pathlib; pathlib.Path('was-here').touch()",))


@pytest.mark.parametrize("as_torch_does", [False, True])
def test_a_pickled_object_is_refused_unseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_torch_does: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    buffer = io.BytesIO()
    if as_torch_does:
        torch.save({"identity": {}, "step": Evil()}, buffer)
    else:
        pickle.dump(Evil(), buffer, protocol=2)
    saved = buffer.getvalue()
    Path("run.checkpoint").write_bytes(saved + hashlib.sha256(saved).digest())  # the digest is no secret
    with pytest.raises(ValueError, match="got a file that holds no run in"):
        fit(Path("run.checkpoint"))
    assert not Path("was-here").exists()


def test_a_damaged_file_gives_no_numbers(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        fit(path, stop=7)
    whole, draw = path.read_bytes(), random.Random(0)
    for trial in range(60):
        data = bytearray(whole)
        if trial % 2:
            del data[draw.randrange(len(data)) :]
        else:
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(bytes(data))
        with pytest.raises(ValueError, match=r"got a file that holds no run in .* expected one that train"):
            fit(path)


def test_what_is_kept_can_be_replaced() -> None:
    kept = checkpoint.Kept(a=1)
    kept.load_state_dict({"b": [2.0]})
    assert kept.state_dict() == {"b": [2.0]}


def test_runs_have_one_identity_until_something_differs() -> None:
    def identity(seed: int, backward: str = "full") -> dict[str, str]:
        source = torch.Generator().manual_seed(seed)
        model = GatedRNN(TASK.n_inputs, 3, "multi", generator=torch.Generator().manual_seed(1))
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        return checkpoint.identity(model, TASK, optimiser, None, 10, 4, [source], (), backward)  # type: ignore[arg-type]

    assert identity(1) == identity(1)
    differs = [name for name, value in identity(1).items() if identity(2, "order 0")[name] != value]
    assert differs == ["model", "digest of the data generators"]


def test_what_is_asked_of_a_model_is_found_where_python_looks() -> None:
    """From Python 3.12 on, isinstance with a protocol looks past ``__getattr__``, which finds a module's weights."""
    asked = {name for each in checkpoint.Trainable.__mro__[:2] for name in [*vars(each), *each.__annotations__]}
    members = {name for name in asked if not name.startswith("_")} | {"__call__"}
    assert {"n_inputs", "replicas", "parameters", "load_state_dict"} <= members
    model = GatedRNN(1, 3, "scalar", generator=torch.Generator().manual_seed(0))
    for name in members:
        inspect.getattr_static(model, name)
    with pytest.raises(AttributeError):
        inspect.getattr_static(model, "W_r")
