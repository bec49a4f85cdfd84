r"""``torch.nn.GRU`` in closed form (claim C16).

.. math::
    r_t &= σ(W_{ir} u_t + b_{ir} + W_{hr} x_{t-1} + b_{hr}) \\
    z_t &= σ(W_{iz} u_t + b_{iz} + W_{hz} x_{t-1} + b_{hz}) \\
    n_t &= \tanh(W_{in} u_t + b_{in} + r_t ⊙ q_t), \qquad q_t = W_{hn} x_{t-1} + b_{hn} \\
    x_t &= (1 - z_t) ⊙ n_t + z_t ⊙ x_{t-1}

torch stacks the gates in the order r, z, n. Its z **keeps**, so that the fraction written is g = 1 - z; others have z
write. Its r acts **after** the product with :math:`W_{hn}`, and on the bias :math:`b_{hn}` too; in the other convention
it acts on the state before the product. All other pairs of biases simply add. With :math:`n' = 1 - n^2`

.. math::
    J_t = \underbrace{\mathrm{diag}(z)}_{\text{leak}} + \underbrace{\mathrm{diag}((1-z) n' r) W_{hn}}_{\text{recurrent}}
        + \underbrace{\mathrm{diag}((1-z) n' q\, r (1-r)) W_{hr} + \mathrm{diag}((x - n) z (1-z)) W_{hz}}_{\text{gate}}
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from gatelr.jacobian import Terms
from gatelr.networks.recurrence import Parts, Recurrence, unadvised
from gatelr.networks.state import State


class _Factors(NamedTuple):
    """What each row of the Jacobian multiplies: W_hr, W_hz and W_hn by the first three, W_in by the last."""

    reset: Tensor
    keep: Tensor
    candidate: Tensor
    input: Tensor


@dataclass(frozen=True)
class GRU(Recurrence):
    """A gated recurrent unit in torch's convention."""

    kind = "GRU"
    letters = "rzn"

    def states(self, u: Float[Tensor, "T B m"], x0: Float[Tensor, "B d"]) -> Float[Tensor, "T B d"]:
        """The state after each step, by torch's own function."""
        with unadvised():
            return torch.gru(u, x0.unsqueeze(0), self.flat(), self.b_ih is not None, 1, 0.0, False, False, False)[0]

    def parts(self, u: Float[Tensor, "T B m"], x_prev: Float[Tensor, "T B d"]) -> Parts:
        """The gates r and z, and the candidate n."""
        from_input = linear(u, self.W_ih, self.b_ih).chunk(3, -1)
        from_state = linear(x_prev, self.W_hh, self.b_hh).chunk(3, -1)
        r, z = ((a + b).sigmoid_() for a, b in zip(from_input[:2], from_state[:2], strict=True))
        n = torch.addcmul(from_input[2], r, from_state[2]).tanh_()
        return Parts({"r": r, "z": z}, n, 1 - z, z)

    def terms(self, state: State) -> Terms:
        """Leak, recurrent and gate term of each step."""
        W_hr, W_hz, W_hn = self.W_hh.chunk(3)
        by = self._factors(state)
        gate = by.reset.unsqueeze(-1) * W_hr
        gate.addcmul_(by.keep.unsqueeze(-1), W_hz)
        return Terms(torch.diag_embed(state.retained), by.candidate.unsqueeze(-1) * W_hn, gate)

    def blocks(self, state: State) -> Float[Tensor, "T B d d"]:
        """Their sum, added in place."""
        W_hr, W_hz, W_hn = self.W_hh.chunk(3)
        by = self._factors(state)
        J = by.candidate.unsqueeze(-1) * W_hn
        J.addcmul_(by.reset.unsqueeze(-1), W_hr).addcmul_(by.keep.unsqueeze(-1), W_hz)
        J.diagonal(dim1=-2, dim2=-1).add_(state.retained)
        return J

    def pull(self, state: State) -> Callable[[int, Tensor], Tensor]:
        """One product with all weights a step, and the leak."""
        by = self._factors(state)
        factors = torch.stack([by.reset, by.keep, by.candidate], -2).unbind()
        kept = state.retained.unbind()

        def back(j: int, adjoint: Tensor) -> Tensor:
            signal = (factors[j] * adjoint.unsqueeze(-2)).flatten(-2)
            return torch.addmm(kept[j] * adjoint, signal, self.W_hh)

        return back

    def to_input(self, state: State, adjoint: Float[Tensor, "T B d"]) -> Float[Tensor, "T B m"]:
        """Through both gates and the candidate; the reset gate does not act on what the candidate reads of inputs."""
        by = self._factors(state)
        signal = torch.cat([by.reset * adjoint, by.keep * adjoint, by.input * adjoint], -1)
        return signal @ self.W_ih

    def _factors(self, state: State) -> _Factors:
        r, z, n = state.gates["r"], state.gates["z"], state.candidate
        q = linear(state.x_prev, self.W_hh.chunk(3)[2], None if self.b_hh is None else self.b_hh.chunk(3)[2])
        through = state.written * (1 - n.square())
        return _Factors(through * q * r * (1 - r), (state.x_prev - n) * z * (1 - z), through * r, through)
