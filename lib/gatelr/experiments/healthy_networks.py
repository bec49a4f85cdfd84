"""Networks of torch that have learned: what a diagnosis should find nothing wrong with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatelr import tasks

_Made = TypeVar("_Made", bound=nn.Module)
#: The layers that are trained.
#:
#: :meta hide-value:
KINDS: dict[str, type[nn.RNN | nn.GRU | nn.LSTM]] = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}
#: Hidden units.
SIZES = (8, 16, 32)
#: A network is healthy if its loss on fresh sequences is less than one in so many of the best constant's.
FACTOR = 2.0
#: Training ends when the loss is one in so many of it, or after so many steps of Adam at this rate.
ENOUGH, STEPS, RATE, CLIP = 4.0, 400, 1e-2, 1.0
#: Sequences of a batch, and of the one that is diagnosed.
BATCH, PROBE = 32, 64
#: Symbols of the task that has an embedding.
SYMBOLS = 6


@dataclass(frozen=True)
class Task:
    """One thing to learn.

    Attributes:
        steps: T.
        n_inputs: m; of symbols, the size of the embedding.
        n_outputs: o.
        lag: the lag that matters, if it is one.
        draw: inputs, time first, and targets, of a number of sequences and a generator.
        loss: of output and target.
        symbols: whether inputs are whole numbers, which are embedded.
        every_step: whether every state is read, and not the last alone.
    """

    steps: int
    n_inputs: int
    n_outputs: int
    lag: int | None
    draw: Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
    loss: Callable[[Tensor, Tensor], Tensor]
    symbols: bool = False
    every_step: bool = False


def _sum(batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    u = torch.rand(16, batch, 2, generator=generator)
    return u, u[-4:, :, :1].sum(0)


def _mean(batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    u = torch.randn(40, batch, 1, generator=generator)
    return u, u.sum(0) / 40**0.5


def _delay(batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    u = torch.randn(16, batch, 1, generator=generator)
    return u, u[-6]


def _rows(batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    u, target = tasks.digits(batch, generator, split="train")
    return u.view(8, 8, batch).transpose(1, 2).contiguous(), target


def _first(batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    u = torch.randint(SYMBOLS, (8, batch), generator=generator)
    return u, u[0]


def _wave(batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    period = 6 + 14 * torch.rand(batch, generator=generator)
    phase = 6.2832 * torch.rand(batch, generator=generator)
    wave = torch.sin(6.2832 * torch.arange(21).unsqueeze(-1) / period + phase)
    noisy = (wave + 0.05 * torch.randn(21, batch, generator=generator)).unsqueeze(-1)
    return noisy[:-1], noisy[1:]


#: The tasks of the trials, by name.
TASKS = {
    "sum of the last four": Task(16, 2, 1, None, _sum, F.mse_loss),
    "mean of forty": Task(40, 1, 1, None, _mean, F.mse_loss),
    "five steps back": Task(16, 1, 1, 5, _delay, F.mse_loss),
    "digits by rows": Task(8, 8, 10, None, _rows, F.cross_entropy),
    "first symbol": Task(8, 4, SYMBOLS, 7, _first, F.cross_entropy, symbols=True),
    "next value of a wave": Task(20, 1, 1, None, _wave, F.mse_loss, every_step=True),
}


class Learner(nn.Module):
    """A recurrent layer with a readout of its last state, or of every one; of symbols, with an embedding before it."""

    def __init__(self, task: Task, kind: str, n: int, layers: int = 1) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, task.n_inputs) if task.symbols else None
        self.layer = KINDS[kind](task.n_inputs, n, layers)
        self.readout = nn.Linear(n, task.n_outputs)
        self.every_step = task.every_step

    def forward(self, u: Tensor) -> Tensor:
        """The readout of the last state, or of every state."""
        x = u if self.embedding is None else self.embedding(u)
        states, _ = self.layer(x)
        return self.readout(states if self.every_step else states[-1])


def seeded(seed: int, make: Callable[[], _Made]) -> _Made:
    """A module whose weights torch draws from this seed; the state of torch's own generator is put back."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return make()


def constant_loss(task: Task, target: Tensor) -> float:
    """The loss of the best constant output for these targets."""
    if target.is_floating_point():
        return float((target - target.mean()).square().mean())
    shares = target.bincount(minlength=task.n_outputs) / len(target)
    return float(-(shares * shares.clamp(min=1e-12).log()).sum())


def train(name: str, kind: str, n: int, seed: int) -> tuple[Learner, torch.optim.Optimizer, float]:
    """Train one network.

    Args:
        name: one of :data:`TASKS`.
        kind: one of :data:`KINDS`.
        n: hidden units.
        seed: of weights and data.

    Returns:
        The network, its optimiser, and how many times better its loss on fresh sequences is than the best constant's.
    """
    task, generator = TASKS[name], torch.Generator().manual_seed(seed)
    model = seeded(seed, lambda: Learner(task, kind, n))
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    fresh, target = task.draw(4 * PROBE, torch.Generator().manual_seed(10_000 + seed))
    baseline, ratio = constant_loss(task, target), 0.0
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        u, wanted = task.draw(BATCH, generator)
        task.loss(model(u), wanted).backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        if step % 25 == 0:
            with torch.no_grad():
                ratio = baseline / float(task.loss(model(fresh), target))
            if ratio >= ENOUGH:
                break
    return model, optimizer, ratio
