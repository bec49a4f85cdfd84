"""A reader's word for a device, and what is said to a wrong one."""

import pytest
import torch
from gatelr.record import devices


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices.resolve("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert devices.resolve("auto") == devices.resolve("cuda") == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.resolve("auto") == torch.device("cpu")


def test_what_cannot_be_had_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="got device 'tpu', expected one of 'auto', 'cpu', 'cuda'"):
        devices.resolve("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="got device 'cuda', expected a CUDA device that torch can see"):
        devices.resolve("cuda")
