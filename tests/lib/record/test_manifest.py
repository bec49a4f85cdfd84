"""With what a chapter was run."""

from __future__ import annotations

import torch
from gatelr.record.manifest import manifest


def test_it_says_what_another_run_needs() -> None:
    said = manifest("a-test", {"seeds": 3, "device": "cpu"}, "f" * 64)
    assert (said["chapter"], said["seeds"], said["source"], said["device"]) == ("a-test", 3, "f" * 64, "cpu")
    assert said["parameters"] == {"seeds": 3, "device": "cpu"}
    assert said["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]  # cpu, cu132
    assert said["machine"]["threads"] == torch.get_num_threads()
