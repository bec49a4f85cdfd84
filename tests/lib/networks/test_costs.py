"""What long sequences cost in memory, each in a process of its own: what one freed would hide another's."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import warm

MEASURE = r"""
import re, sys, torch
from gatelr import networks
torch.set_num_threads(1)
kind, noun = sys.argv[1:]
module = getattr(torch.nn, kind)(8, 128, dtype=torch.float64)
u = torch.randn(10_000, 1, 8, dtype=torch.float64)
networks.lyapunov(module, u[:4], k=2), networks.gradient_by_lag(module, u[:4])  # what is loaded once
# not getrusage: that remembers the process which this one was forked from
peak = lambda: 2**10 * int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])
before = peak()
if noun == "rates":
    state = networks.run(module, u)
    networks.budget(state), networks.time_constants(state), networks.effective(state, 0.1, 100)
elif noun == "gradient":
    networks.gradient_by_lag(module, u, lambda y: y[-1].square().sum())
elif noun == "transport":
    networks.sensitivities(module, u, [1, 100, 300])
elif noun == "exponents":
    networks.lyapunov(module, u, k=4, skip=100)
print((peak() - before) / 1e9)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("noun", ["rates", "gradient", "transport", "exponents"])
@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_ten_thousand_steps_need_less_than_a_gigabyte(kind: str, noun: str) -> None:
    """All Jacobians of an LSTM would be 5 GB."""
    done = warm.run(["-c", MEASURE, kind, noun], Path.cwd(), os.environ)
    assert done.returncode == 0, done.stderr
    assert 0 < float(done.stdout) <= 1
