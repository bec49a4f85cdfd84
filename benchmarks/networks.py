"""Every step's Jacobian of a layer of torch: the closed form beside a loop of ``torch.func.jacrev``.

``python -m benchmarks.networks`` prints medians in seconds. The loop differentiates the module's own step, at states
of a run that is not timed; the closed form runs the module as well.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from gatelr import networks
from torch import Tensor, nn

INPUTS = 8


def by_jacrev(module: nn.RNNBase, u: Tensor, before: Tensor) -> Tensor:
    """The Jacobian of every step, one after the other, at the states before them."""
    n = module.hidden_size

    def step(u_t: Tensor, state: Tensor) -> Tensor:
        parts = tuple(part.reshape(1, 1, n) for part in state.split(n))
        last = module(u_t.reshape(1, 1, -1), parts if len(parts) == 2 else parts[0])[1]
        return torch.cat([part.reshape(n) for part in (last if isinstance(last, tuple) else (last,))])

    jacobian = torch.func.jacrev(step, argnums=1)
    return torch.stack([jacobian(u_t, state) for u_t, state in zip(u[:, 0], before[:, 0], strict=True)])


def median(call: Callable[[], Tensor], repeats: int) -> float:
    """The median time of a call, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])


def main() -> None:
    """Print a row for each kind."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--hidden", type=int, default=128)
    arguments.add_argument("--steps", type=int, default=200)
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=1)
    told = arguments.parse_args()
    torch.set_num_threads(told.threads)
    print(f"n = {told.hidden}, T = {told.steps}, one sequence, float64, {told.threads} thread(s)")
    print(f"{'':6}{'jacrev':>10}{'blocks':>10}{'terms':>10}{'times faster':>14}{'difference':>12}")
    for kind in (nn.RNN, nn.GRU, nn.LSTM):
        module = kind(INPUTS, told.hidden, dtype=torch.float64).requires_grad_(False)
        u = torch.randn(told.steps, 1, INPUTS, dtype=torch.float64)
        before = networks.run(module, u).x_prev
        difference = (by_jacrev(module, u, before) - networks.blocks(module, u)[:, 0]).abs().max()
        loop = median(lambda m=module, v=u, x=before: by_jacrev(m, v, x), told.repeats)
        ours = median(lambda m=module, v=u: networks.blocks(m, v), told.repeats)
        split = median(lambda m=module, v=u: networks.terms(m, v).gate, told.repeats)
        print(f"{kind.__name__:6}{loop:10.3f}{ours:10.4f}{split:10.4f}{loop / ours:14.1f}{float(difference):12.1e}")


if __name__ == "__main__":
    main()
