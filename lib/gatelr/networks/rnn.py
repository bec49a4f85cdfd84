r"""``torch.nn.RNN``: it keeps nothing and writes all (claim C16).

.. math:: x_t = φ(W_{ih} u_t + b_{ih} + W_{hh} x_{t-1} + b_{hh}), \qquad J_t = \mathrm{diag}(φ'_t) W_{hh}

The two biases add. The whole Jacobian is recurrent; leak and gate term are zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from gatelr.jacobian import Terms
from gatelr.networks.recurrence import Parts, Recurrence, unadvised
from gatelr.networks.state import State


@dataclass(frozen=True)
class RNN(Recurrence):
    """A plain layer with tanh or relu."""

    kind = "RNN"
    letters = "n"

    def states(self, u: Float[Tensor, "T B m"], x0: Float[Tensor, "B d"]) -> Float[Tensor, "T B d"]:
        """The state after each step, by torch's own function."""
        function = torch.rnn_tanh if self.nonlinearity == "tanh" else torch.rnn_relu
        with unadvised():
            return function(u, x0.unsqueeze(0), self.flat(), self.b_ih is not None, 1, 0.0, False, False, False)[0]

    def parts(self, u: Float[Tensor, "T B m"], x_prev: Float[Tensor, "T B d"]) -> Parts:
        """No gate; the candidate is the new state."""
        a = linear(u, self.W_ih, self.b_ih) + linear(x_prev, self.W_hh, self.b_hh)
        candidate = a.tanh_() if self.nonlinearity == "tanh" else a.relu_()
        return Parts({}, candidate, torch.ones_like(candidate), torch.zeros_like(candidate))

    def terms(self, state: State) -> Terms:
        """All of it is recurrent."""
        J = self.blocks(state)
        return Terms(torch.zeros_like(J), J, torch.zeros_like(J))

    def blocks(self, state: State) -> Float[Tensor, "T B d d"]:
        """The slope times the weights."""
        return self._slope(state).unsqueeze(-1) * self.W_hh

    def pull(self, state: State) -> Callable[[int, Tensor], Tensor]:
        """One product with the weights a step."""
        slope = self._slope(state).unbind()
        return lambda j, adjoint: (slope[j] * adjoint) @ self.W_hh

    def to_input(self, state: State, adjoint: Float[Tensor, "T B d"]) -> Float[Tensor, "T B m"]:
        """Through the candidate."""
        return (self._slope(state) * adjoint) @ self.W_ih

    def _slope(self, state: State) -> Tensor:
        """φ' at the candidate, zero in padding, where nothing is written."""
        if self.nonlinearity == "tanh":
            return state.written - state.candidate.square()
        return (state.candidate > 0).to(state.candidate.dtype)
