r"""What a recurrent layer of torch has to say of itself: its step, its record and its Jacobian.

Each kind owns these in a file of its own. They see one layer in one direction, whose inputs are time-major and whose
state is one vector, an LSTM's as h and c side by side.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from gatelr.jacobian import Terms
from gatelr.networks.state import State, mask


class Parts(NamedTuple):
    """The parts of a record that one kind computes and another does not have.

    Attributes:
        gates: by torch's letters.
        candidate: what may be written.
        written: the fraction of it that is.
        retained: the fraction of itself that a unit keeps.
    """

    gates: dict[str, Tensor]
    candidate: Float[Tensor, "T B n"]
    written: Float[Tensor, "T B n"]
    retained: Float[Tensor, "T B n"]


@dataclass(frozen=True)
class Recurrence(ABC):
    """One layer in one direction: torch's own weights, stacked gate by gate in torch's order.

    Attributes:
        W_ih: input to all gates.
        W_hh: state to all gates.
        b_ih: bias beside the input, or None.
        b_hh: bias beside the state, or None; torch adds the two.
        W_hr: an LSTM's projection, or None.
        nonlinearity: ``"tanh"``, or ``"relu"`` of an RNN.
        kind: ``"RNN"``, ``"GRU"`` or ``"LSTM"``.
        letters: torch's letters of the gates and the candidate, in the order in which weights are stacked.
    """

    W_ih: Float[Tensor, "k m"]
    W_hh: Float[Tensor, "k p"]
    b_ih: Float[Tensor, " k"] | None
    b_hh: Float[Tensor, " k"] | None
    W_hr: Float[Tensor, "p n"] | None = None
    nonlinearity: str = "tanh"

    kind: ClassVar[str]
    letters: ClassVar[str]

    @property
    def units(self) -> int:
        """The number of units, n, which is how many values a gate has."""
        return len(self.W_hh) // len(self.letters)

    @property
    def outputs(self) -> int:
        """How many values the layer hands on and its next step reads; n, or the size of a projection."""
        return self.W_hh.shape[1]

    @property
    def size(self) -> int:
        """The size of the state, d."""
        return self.outputs

    def flat(self) -> list[Tensor]:
        """The weights as torch's own functions take them."""
        return [w for w in (self.W_ih, self.W_hh, self.b_ih, self.b_hh, self.W_hr) if w is not None]

    @abstractmethod
    def states(self, u: Float[Tensor, "T B m"], x0: Float[Tensor, "B d"]) -> Float[Tensor, "T B d"]:
        """The state after each step, by torch's own function."""

    @abstractmethod
    def parts(self, u: Float[Tensor, "T B m"], x_prev: Float[Tensor, "T B d"]) -> Parts:
        """The gates of each step and what they do, from the state before it."""

    @abstractmethod
    def terms(self, state: State) -> Terms:
        """Leak, recurrent and gate term of each step (claim C16)."""

    @abstractmethod
    def blocks(self, state: State) -> Float[Tensor, "T B d d"]:
        """Their sum, in less memory."""

    @abstractmethod
    def pull(self, state: State) -> Callable[[int, Tensor], Tensor]:
        r"""What carries a gradient back over step j, from λ to :math:`J_{j+1}^\top λ`, without the Jacobian."""

    @abstractmethod
    def to_input(self, state: State, adjoint: Float[Tensor, "T B d"]) -> Float[Tensor, "T B m"]:
        """The gradient with respect to each input, from that with respect to each state."""

    def record(
        self,
        u: Float[Tensor, "T B m"],
        x0: Float[Tensor, "B d"],
        lengths: Tensor | None,
        recorded: Float[Tensor, "T B d"] | None = None,
    ) -> State:
        """A run from x0, or along states that were recorded elsewhere.

        Args:
            u: the inputs in the order in which this direction reads them.
            x0: the initial state.
            lengths: of every sequence; None where all have T.
            recorded: states after each step.

        Returns:
            The record, zero in padding.
        """
        x = self.states(u, x0) if recorded is None else recorded
        x_prev = torch.cat([x0.unsqueeze(0), x[:-1]])
        state = State(self.kind, u, x_prev, x, *self.parts(u, x_prev), lengths)
        if lengths is None:
            return state
        valid = mask(len(u), lengths).unsqueeze(-1)
        return state.apply(lambda v: v.masked_fill(~valid, 0), lengths)


@contextmanager
def unadvised() -> Iterator[None]:
    """Without torch's advice on speed: one layer of several is no chunk of memory, and oneDNN has no projections."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")
        warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")
        yield
