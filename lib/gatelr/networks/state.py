r"""The record of one recurrent layer's run: what every noun here starts from.

torch's networks are read as the family of this book: a unit keeps a fraction of itself and writes a fraction of its
candidate. A GRU keeps z and writes 1 - z; an LSTM's cell keeps f and writes i, two gates that are free of each other; a
plain RNN keeps nothing and writes all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class State(NamedTuple):
    r"""A recorded run of one layer in one direction; index ``j`` holds the ``j + 1``-th step that the layer takes.

    d is the size of the state and n that of the gates. They are the same for RNN and GRU. An LSTM's state is joint, h
    first and then c: d = n + n, or ``proj_size`` + n with a projection. Beyond the end of a shorter sequence every
    entry is zero. B is 1 for an input without a batch axis.

    Attributes:
        kind: ``"RNN"``, ``"GRU"`` or ``"LSTM"``.
        u: the layer's own inputs; for a layer above the first, the outputs below it, with dropout as it was drawn.
        x_prev: the state before each step.
        x: the state after each step.
        gates: each gate by torch's letter: r and z of a GRU, i, f and o of an LSTM, none of an RNN.
        candidate: torch's n of a GRU, g of an LSTM, the new state itself of an RNN.
        written: the fraction of the candidate that is written: 1 - z, i, or one.
        retained: the fraction of itself that a unit keeps: z, f, or zero.
        lengths: the number of steps of every sequence; None where all have T.
    """

    kind: str
    u: Float[Tensor, "T B m"]
    x_prev: Float[Tensor, "T B d"]
    x: Float[Tensor, "T B d"]
    gates: dict[str, Tensor]
    candidate: Float[Tensor, "T B n"]
    written: Float[Tensor, "T B n"]
    retained: Float[Tensor, "T B n"]
    lengths: Int[Tensor, " B"] | None

    def valid(self) -> Bool[Tensor, "T B"]:
        """Which steps belong to their sequence, and are not padding."""
        T, B = self.x.shape[:2]
        if self.lengths is None:
            return torch.ones(T, B, dtype=torch.bool, device=self.x.device)
        return mask(T, self.lengths)

    def ends(self) -> Int[Tensor, " B"]:
        """The number of steps of every sequence, T where no lengths were given."""
        if self.lengths is not None:
            return self.lengths
        T, B = self.x.shape[:2]
        return torch.full((B,), T, device=self.x.device)

    def between(self, start: int, stop: int) -> State:
        """The record of some consecutive steps alone.

        Args:
            start: how many steps to leave out at the front.
            stop: the last step that is kept, counted from 1.

        Returns:
            Views of this record, not copies.
        """
        lengths = None if self.lengths is None else (self.lengths - start).clamp(0, stop - start)
        return self.apply(lambda v: v[start:stop], lengths)

    def by_lag(self) -> State:
        """The record with every sequence read from its end, so that index ``j`` holds what happened at lag ``j``."""
        return self.apply(lambda v: reverse(v, self.lengths), self.lengths)

    def apply(self, change: Callable[[Tensor], Tensor], lengths: Tensor | None) -> State:
        """The record with every one of its tensors changed in the same way.

        Args:
            change: what is done to each.
            lengths: of the sequences after it.
        """
        gates = {name: change(gate) for name, gate in self.gates.items()}
        others = (self.u, self.x_prev, self.x, self.candidate, self.written, self.retained)
        u, x_prev, x, candidate, written, retained = map(change, others)
        return State(self.kind, u, x_prev, x, gates, candidate, written, retained, lengths)


def mask(T: int, lengths: Int[Tensor, " B"]) -> Bool[Tensor, "T B"]:
    """Which of T steps belong to sequences of these lengths.

    Args:
        T: the number of steps of the padded batch.
        lengths: of every sequence, 1 … T.

    Returns:
        ``(T, B)``; False in padding.
    """
    return torch.arange(T, device=lengths.device).unsqueeze(-1) < lengths


def reverse(v: Float[Tensor, "T B c"], lengths: Int[Tensor, " B"] | None) -> Float[Tensor, "T B c"]:
    """Every sequence from its own last step to its first; padding stays behind it.

    Args:
        v: numbers for each step, time first.
        lengths: of every sequence; None where all have T.

    Returns:
        The same numbers, in the order of a backward direction, or by lag from the end.
    """
    if lengths is None:
        return v.flip(0)
    step = torch.arange(len(v), device=v.device).unsqueeze(-1)
    source = torch.where(step < lengths, lengths - 1 - step, step)
    return v.gather(0, source.unsqueeze(-1).expand_as(v))
