"""``torch.compile``: the network of :mod:`.autograd`, its update compiled by inductor, forwards and backwards.

The loop over time stays in Python. Unrolled, it is one graph of all steps, for which inductor takes minutes.
"""

from __future__ import annotations

import os
import shutil
import time

import torch
from gatelr.cells import GatedRNN
from torch import Tensor

from . import Step, autograd


def training_step(model: GatedRNN, u: Tensor, target: Tensor, lr: float) -> Step:
    """One step of SGD; what compiling took is that of a first step, with an empty cache.

    Raises:
        FileNotFoundError: if there is no C++ compiler.
    """
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise FileNotFoundError(f"there is no {compiler} here, with which torch.compile compiles: name another in CXX")
    from torch._inductor.utils import fresh_cache  # two seconds, which each process of a benchmark would wait

    torch.compiler.reset()
    update = torch.compile(autograd.update, fullgraph=True, dynamic=False)
    begin = time.perf_counter()
    with fresh_cache():  # what an earlier run has compiled would come for nothing
        autograd.training_step(model, u, target, lr, update=update)()
    seconds = time.perf_counter() - begin
    step = autograd.training_step(model, u, target, lr, update=update)
    return Step(step.run, step.weights, seconds)
