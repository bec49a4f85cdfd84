"""Random recurrent modules of torch and their inputs for the tests, and one layer of a module alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import example
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

KINDS: dict[str, tuple[type[nn.RNNBase], dict[str, str]]] = {
    "tanh": (nn.RNN, {}),
    "relu": (nn.RNN, {"nonlinearity": "relu"}),
    "gru": (nn.GRU, {}),
    "lstm": (nn.LSTM, {}),
}
CELLS = {"tanh": nn.RNNCell, "relu": nn.RNNCell, "gru": nn.GRUCell, "lstm": nn.LSTMCell}


@dataclass(frozen=True)
class Recurrent:
    """A module and its inputs, rebuilt from numbers that hypothesis can shrink."""

    kind: str
    m: int = 3
    n: int = 4
    layers: int = 1
    bias: bool = True
    batch_first: bool = False
    bidirectional: bool = False
    projected: bool = False
    dropout: float = 0.0
    T: int = 5
    B: int | None = 2
    lengths: str = "none"
    start: bool = True
    seed: int = 0
    dtype: torch.dtype = torch.float64

    @property
    def proj_size(self) -> int:
        return max(1, self.n // 2) if self.projected and self.kind == "lstm" and self.n > 1 else 0

    @property
    def p(self) -> int:
        """How many values a layer hands on in one direction."""
        return self.proj_size or self.n

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def batch(self) -> int:
        return self.B or 1

    def module(self, layers: int | None = None) -> nn.RNNBase:
        cls, extra = KINDS[self.kind]
        size: dict[str, Any] = {"proj_size": self.proj_size} if self.proj_size else {}
        torch.manual_seed(self.seed)
        module = cls(
            self.m,
            self.n,
            layers or self.layers,
            bias=self.bias,
            batch_first=self.batch_first,
            bidirectional=self.bidirectional,
            dropout=self.dropout if (layers or self.layers) > 1 else 0.0,
            dtype=self.dtype,
            **extra,
            **size,
        )
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(1.7)  # away from the linear regime, so that every term of J matters
        return module

    def inputs(self) -> tuple[Tensor | PackedSequence, Any, dict[str, Any], list[int]]:
        """Inputs and initial state as the module takes them, what else the library is told, and all lengths."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        u = torch.randn(self.T, self.batch, self.m, generator=generator, dtype=self.dtype)
        shape = (self.layers * self.directions, self.batch)
        h0 = [torch.randn(*shape, size, generator=generator, dtype=self.dtype) for size in (self.p, self.n)]
        if self.B is None:
            u, h0 = u.squeeze(1), [h.squeeze(1) for h in h0]
        elif self.batch_first:
            u = u.transpose(0, 1)
        initial = (tuple(h0) if self.kind == "lstm" else h0[0]) if self.start else None
        if self.B is None or self.lengths == "none":
            return u, initial, {}, [self.T] * self.batch
        ends = torch.randint(1, self.T + 1, (self.B,), generator=generator)
        if self.lengths == "padded":
            return u, initial, {"lengths": ends}, ends.tolist()
        packed = pack_padded_sequence(u, ends, batch_first=self.batch_first, enforce_sorted=False)
        return packed, initial, {}, ends.tolist()


recurrents = st.builds(
    Recurrent,
    kind=st.sampled_from(list(KINDS)),
    m=st.integers(1, 4),
    n=st.integers(1, 6),
    layers=st.integers(1, 3),
    bias=st.booleans(),
    batch_first=st.booleans(),
    bidirectional=st.booleans(),
    projected=st.booleans(),
    T=st.integers(1, 5),
    B=st.none() | st.integers(1, 3),
    lengths=st.sampled_from(["none", "padded", "packed"]),
    start=st.booleans(),
    seed=st.integers(0, 2**31),
)
#: The odd ones, which random search may miss.
ODD = [Recurrent(kind, m=1, n=1, T=1, B=None) for kind in KINDS] + [
    Recurrent("lstm", n=5, layers=2, projected=True, bidirectional=True, lengths="packed", B=3),
    Recurrent("gru", n=5, layers=2, bias=False, bidirectional=True, lengths="padded", batch_first=True, B=3),
]


def and_the_odd(test: Callable[..., None]) -> Callable[..., None]:
    """Runs a hypothesis test on every case of ODD too."""
    for case in ODD:
        test = example(case)(test)
    return test


@torch.no_grad()
def called(module: nn.RNNBase, case: Recurrent) -> tuple[Tensor, Any]:
    """What the module itself returns, its output time-major and padded."""
    u, h0, told, ends = case.inputs()
    if told:
        u = pack_padded_sequence(u, told["lengths"], batch_first=case.batch_first, enforce_sorted=False)
    output, last = module(u, h0)
    if isinstance(output, PackedSequence):
        return pad_packed_sequence(output, total_length=max(ends))[0], last
    if case.B is None:
        return output.unsqueeze(1), last
    return (output.transpose(0, 1) if case.batch_first else output), last


@torch.no_grad()
def below(module: nn.RNNBase, case: Recurrent, layer: int) -> Tensor:
    """What reaches a layer, time-major and padded: the output of a module of torch that has only the layers below."""
    u, h0, told, ends = case.inputs()
    if layer:
        short = case.module(layer)
        short.load_state_dict({name: module.state_dict()[name] for name in short.state_dict()})
        rows = layer * case.directions
        if h0 is not None:
            h0 = tuple(h[:rows] for h in h0) if isinstance(h0, tuple) else h0[:rows]
        if told:
            u = pack_padded_sequence(u, told["lengths"], batch_first=case.batch_first, enforce_sorted=False)
        u = short(u, h0)[0]
    if isinstance(u, PackedSequence):
        return pad_packed_sequence(u, total_length=max(ends))[0]
    if case.B is None:
        return u.unsqueeze(1)
    return u.transpose(0, 1) if case.batch_first else u


def alone(module: nn.RNNBase, case: Recurrent, layer: int, direction: int) -> nn.RNNBase:
    """One layer in one direction as a module of torch of its own."""
    cls, extra = KINDS[case.kind]
    size: dict[str, Any] = {"proj_size": case.proj_size} if case.proj_size else {}
    width = case.m if layer == 0 else case.p * case.directions
    single = cls(width, case.n, bias=case.bias, dtype=case.dtype, **extra, **size)
    end = f"_l{layer}{'_reverse' * direction}"
    weights = {name: module.state_dict()[name.removesuffix("_l0") + end] for name in single.state_dict()}
    single.load_state_dict(weights)
    return single


def step(single: nn.RNNBase, u: Tensor, states: Tensor) -> Tensor:
    """One step of a module on each of some states, which are joint: h first, then c."""
    if not isinstance(single, nn.LSTM):
        return single(u.unsqueeze(0), states.unsqueeze(0))[1].squeeze(0)
    p = single.proj_size or single.hidden_size
    h, c = (part.unsqueeze(0).contiguous() for part in (states[:, :p], states[:, p:]))
    return torch.cat([part.squeeze(0) for part in single(u.unsqueeze(0), (h, c))[1]], -1)


def initial(case: Recurrent, layer: int, direction: int) -> Tensor:
    """The initial state of one layer in one direction, (B, d), joint."""
    _, h0, _, _ = case.inputs()
    parts = 2 if case.kind == "lstm" else 1
    if h0 is None:
        return torch.zeros(case.batch, case.p + (case.n if parts == 2 else 0), dtype=case.dtype)
    row = layer * case.directions + direction
    return torch.cat([h[row].reshape(case.batch, -1) for h in (h0 if parts == 2 else (h0,))], -1)
