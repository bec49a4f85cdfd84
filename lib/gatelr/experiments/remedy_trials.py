"""Does the remedy of a finding help? The same network trained with and without it, seeds paired, case by case.

The cases are what people who train recurrent networks have reported, at sizes that train in seconds. Both networks of a
pair draw their weights and data from one seed. A table, a row a pair, is written as it comes: a killed run goes on.

``python -m gatelr.experiments.remedy_trials`` makes it in ``reference/diagnosis``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatelr import tasks
from gatelr.experiments import runs
from gatelr.experiments.diagnosis_trials import Row, Table
from gatelr.experiments.healthy_networks import seeded
from gatelr.networks import Diagnosis, diagnose, remedies

#: Seeds of each case, the norm at which gradients are clipped, and the sequences that are diagnosed.
SEEDS, CLIP, PROBE = 12, 1.0, 64
#: Inputs and targets of a number of sequences, a generator and a split.
Draw = Callable[..., tuple[Tensor, Tensor]]


class Reader(nn.Module):
    """A recurrent layer with a readout of its last state; gradients end at the borders of windows, if there are any."""

    def __init__(self, layer: nn.RNNBase, n_outputs: int, time: int = 0, window: int | None = None) -> None:
        super().__init__()
        self.layer, self.readout = layer, nn.Linear(layer.hidden_size, n_outputs)
        self.time, self.window = time, window

    def forward(self, u: Tensor) -> Tensor:
        """The readout of the last state along the axis that is taken for time."""
        if self.window is None:
            return self.readout(self.layer(u)[0].select(self.time, -1))
        state = None
        for part in u.split(self.window):  # the state goes on, the gradient ends
            state = None if state is None else tuple(s.detach() for s in state)
            states, state = self.layer(part, state)
        return self.readout(states[-1])


class OwnTimeConstants(nn.Module):
    """A leaky readout of an RNN, whose time constants are parameters; unless ``safe``, one below 1 has no root."""

    def __init__(self, n: int, safe: bool) -> None:
        super().__init__()
        self.layer, self.readout, self.safe = nn.RNN(2, n), nn.Linear(n, 1), safe
        tau = torch.linspace(1.05, 5.0, n)
        self.tau = nn.Parameter((tau - 1).expm1().log() if safe else tau)

    def forward(self, u: Tensor) -> Tensor:
        """The readout of units that keep the layer's states, each as long as its time constant."""
        tau = 1 + F.softplus(self.tau) if self.safe else self.tau
        states, kept, x = self.layer(u)[0], (1 - 1 / tau).sqrt(), u.new_zeros(())
        for state in states:
            x = kept * x + (1 - kept) * state
        return self.readout(x)


def recall(batch: int, generator: torch.Generator, split: str = "train") -> tuple[Tensor, Tensor]:
    """White noise of 24 steps, of which the value 20 steps before the last is asked."""
    u = torch.randn(24, batch, 3, generator=generator)
    return u, u[3, :, :1]


def adding(batch: int, generator: torch.Generator, split: str = "train") -> tuple[Tensor, Tensor]:
    """The adding problem over 40 steps, scaled so that the best constant has a squared error of 1/24."""
    u, target = tasks.adding(40, batch, generator, n_inputs=2)
    return u, target / 2


def pixels(batch: int, generator: torch.Generator, split: Any = "train") -> tuple[Tensor, Tensor]:
    """Digits as 64 pixels."""
    u, target = tasks.digits(batch, generator, split=split)
    return u, target


def rows(batch: int, generator: torch.Generator, split: str = "train") -> tuple[Tensor, Tensor]:
    """Digits as 8 rows of 8 pixels, time first."""
    u, target = pixels(batch, generator, split)
    return u.view(8, 8, batch).transpose(1, 2).contiguous(), target


def samples_first(batch: int, generator: torch.Generator, split: str = "train") -> tuple[Tensor, Tensor]:
    """Digits as rows, samples first."""
    u, target = rows(batch, generator, split)
    return u.transpose(0, 1).contiguous(), target


def total(batch: int, generator: torch.Generator, split: str = "train") -> tuple[Tensor, Tensor]:
    """White noise of 64 steps, and its sum."""
    u = torch.randn(64, batch, 1, generator=generator)
    return u, u.sum(0) / 8


def echo(batch: int, generator: torch.Generator, split: str = "train") -> tuple[Tensor, Tensor]:
    """White noise of 20 steps, of which the last value is asked."""
    u = torch.randn(20, batch, 2, generator=generator)
    return u, u[-1, :, :1]


@dataclass(frozen=True)
class Case:
    """One report, and what is tried against it.

    Attributes:
        code: the finding that names it.
        remedy: what is done.
        make: the network of a seed, without the remedy or with it.
        draw: inputs and targets of a number of sequences, a generator and a split.
        steps: for how many Adam trains both.
        lr: at which rate.
        told: what a diagnosis is told beside loss and target.
        cured: where the remedy is no change of the network: what it changes in what a diagnosis is told.
    """

    code: str
    remedy: str
    make: Callable[[int, bool], nn.Module]
    draw: Draw
    steps: int
    lr: float = 1e-2
    told: dict[str, Any] = field(default_factory=dict)
    cured: dict[str, Any] = field(default_factory=dict)


def _spread(
    kind: type[nn.GRU | nn.LSTM], n_inputs: int, n: int, n_outputs: int, longest: int
) -> Callable[[int, bool], nn.Module]:
    """Makes a network as torch draws it, or with its time constants spread from 1 to the longest."""

    def make(seed: int, mended: bool) -> nn.Module:
        model = seeded(seed, lambda: Reader(kind(n_inputs, n), n_outputs))
        if mended:
            remedies.set_timescales(model, (1, longest))
        return model

    return make


def _forget_one(seed: int, mended: bool) -> nn.Module:
    model = seeded(seed, lambda: Reader(nn.LSTM(1, 32), 10))
    if mended:
        remedies.set_forget_bias(model, 1.0)
    return model


def _axes(seed: int, mended: bool) -> nn.Module:
    return seeded(seed, lambda: Reader(nn.LSTM(8, 32, batch_first=mended), 10, time=1))


def _windowed(n_inputs: int, lags: tuple[int, int]) -> Callable[[int, bool], nn.Module]:
    def make(seed: int, mended: bool) -> nn.Module:
        model = seeded(seed, lambda: Reader(nn.LSTM(n_inputs, 16), 1, window=64 if mended else 8))
        remedies.set_timescales(model, lags)
        return model

    return make


def _own(seed: int, mended: bool) -> nn.Module:
    return seeded(seed, lambda: OwnTimeConstants(8, safe=mended))


def _cases() -> Iterator[tuple[str, Case]]:
    spread_out, whole = ("memory-short", "time constants spread"), ("window-short", "whole sequences")
    at_20, at_48 = {"lag": 20}, {"lag": 48}
    windows: dict[str, Any] = {"told": {"window": 8}, "cured": {"window": 64}}
    yield "recall", Case(*spread_out, _spread(nn.LSTM, 3, 32, 1, 20), recall, 250, told=at_20)
    yield "adding", Case(*spread_out, _spread(nn.LSTM, 2, 24, 1, 40), adding, 250, 2e-2, told=at_20)
    yield "adding, GRU", Case(*spread_out, _spread(nn.GRU, 2, 24, 1, 40), adding, 250, 2e-2, told=at_20)
    yield "pixels", Case(*spread_out, _spread(nn.LSTM, 1, 32, 10, 64), pixels, 150, told=at_48)
    yield "pixels, bias 1", Case("memory-short", "forget bias of 1", _forget_one, pixels, 150, told=at_48)
    yield "axes", Case("axes-swapped", "batch_first=True", _axes, samples_first, 120)
    yield "window, sum", Case(*whole, _windowed(1, (4, 64)), total, 120, **windows)
    yield "window, recall", Case(*whole, _windowed(3, (1, 20)), recall, 250, **windows)
    yield "own time constants", Case("runs-to-nan", "constants kept above 1", _own, echo, 100)


#: The cases, by name.
CASES = dict(_cases())
#: The smallest gain in score that matters; chosen before the trials.
SMALLEST = 0.1


def loss_of(target: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Squared error of numbers, cross entropy of classes."""
    return F.mse_loss if target.is_floating_point() else F.cross_entropy


def train(case: Case, seed: int, mended: bool) -> nn.Module:
    """Train one network.

    Args:
        case: which.
        seed: of weights and data.
        mended: with the remedy.

    Returns:
        The network, in float64: so that two machines agree for longer.
    """
    model, data = case.make(seed, mended).double(), torch.Generator().manual_seed(10_000 + seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=case.lr)
    for _ in range(case.steps):
        optimizer.zero_grad()
        u, target = as_double(*case.draw(64, data))
        loss_of(target)(model(u), target).backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
    return model


def as_double(u: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs and numbers as float64; classes as they are."""
    return u.double(), target.double() if target.is_floating_point() else target


@torch.no_grad()
def score(case: Case, model: nn.Module, seed: int) -> float:
    """How much a network has learned, on sequences that training did not see.

    Returns:
        The share of classes named correctly; of numbers, one minus the squared error over that of the best constant.
        A network that is no number any more has learned nothing: 0.
    """
    u, target = as_double(*case.draw(256, torch.Generator().manual_seed(20_000 + seed), "test"))
    output = model(u)
    if not output.isfinite().all():
        return 0.0
    if not target.is_floating_point():
        return float((output.argmax(-1) == target).double().mean())
    return 1 - float(F.mse_loss(output, target) / target.var(correction=0))


def examine(name: str, seed: int = 0, mended: bool = False) -> Diagnosis:
    """Diagnose the untrained network of a case.

    Args:
        name: one of :data:`CASES`.
        seed: of weights and data.
        mended: with the remedy.
    """
    case = CASES[name]
    model = case.make(seed, mended)
    if isinstance(model, Reader):
        model.window = None  # what a window cuts is seen without it
    u, target = case.draw(PROBE, torch.Generator().manual_seed(30_000 + seed))
    told = case.told | (case.cured if mended else {})
    return diagnose(model, u, loss=loss_of(target), target=target, optimizer="adam", lr=case.lr, **told)


def pair(name: str, seed: int) -> Row:
    """Train the two networks of a seed.

    Args:
        name: one of :data:`CASES`.
        seed: of weights and data.

    Returns:
        The score without the remedy and with it, and whether the finding is there without it and with it.
    """
    case = CASES[name]
    default, mended = (score(case, train(case, seed, arm), seed) for arm in (False, True))
    before, after = ({f.code for f in examine(name, seed, arm).findings} for arm in (False, True))
    row = {"case": name, "seed": seed, "default": default, "remedy": mended}
    return row | {"found": int(case.code in before), "found after": int(case.code in after)}


def pairs(folder: Path, cases: Iterable[str], seeds: int) -> Table:
    """The table of all pairs; those that are there are not trained again.

    Args:
        folder: where ``remedies.csv`` is, or comes to be.
        cases: which of :data:`CASES`.
        seeds: of each.
    """
    table = Table(folder / "remedies.csv", ("case", "seed"), runs.code("remedy_trials"))
    for seed, name in product(range(seeds), cases):
        if table.find(name, seed) is None:
            row = pair(name, seed)
            table.add(row | {arm: f"{row[arm]:.5g}" for arm in ("default", "remedy")})
    return table


def main(arguments: list[str] | None = None) -> None:
    """Make or complete the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("reference/diagnosis"))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    pairs(args.out, CASES, args.seeds)


if __name__ == "__main__":
    main()
