r"""``torch.nn.LSTM`` in closed form, on its joint state: h first, then c (claim C16).

.. math::
    i_t, f_t, o_t &= σ(W_{i·} u_t + b_{i·} + W_{h·} h_{t-1} + b_{h·}), \qquad
    g_t = \tanh(W_{ig} u_t + b_{ig} + W_{hg} h_{t-1} + b_{hg}) \\
    c_t &= f_t ⊙ c_{t-1} + i_t ⊙ g_t, \qquad h_t = W_{hr} (o_t ⊙ \tanh c_t)

torch stacks the gates in the order i, f, g, o, where g is the candidate. Its two biases **add**: both set to 1 give a
forget gate a bias of 2. :math:`W_{hr}` is there with ``proj_size`` alone.

The **leak** is what the cell carries on with all gates and the candidate held fixed, :math:`\mathrm{diag}(f)` from c to
c and :math:`\mathrm{diag}(o \tanh'(c) f)` from c to h. It reads no weight but a projection, which it passes on its way
to h. The **recurrent** term goes through the candidate with all gates held fixed. The **gate** term is all that goes
through a gate: i and f by way of the cell, and o.
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
    """What multiplies each gate's weights on the way to the cell, or to h for o; and the way from the cell to h."""

    i: Tensor
    f: Tensor
    g: Tensor
    o: Tensor
    out: Tensor


@dataclass(frozen=True)
class LSTM(Recurrence):
    """A long short-term memory in torch's convention, with or without a projection."""

    kind = "LSTM"
    letters = "ifgo"

    @property
    def size(self) -> int:
        """The size of the joint state, d."""
        return self.outputs + self.units

    def states(self, u: Float[Tensor, "T B m"], x0: Float[Tensor, "B d"]) -> Float[Tensor, "T B d"]:
        """The joint state after each step: h by torch's own function, which hands out no c, and c from the gates."""
        p = self.outputs
        start = tuple(part.unsqueeze(0).contiguous() for part in x0.split([p, self.units], -1))
        with unadvised():
            h = torch.lstm(u, start, self.flat(), self.b_ih is not None, 1, 0.0, False, False, False)[0]
        i, f, g, _ = self._gates(u, torch.cat([x0[:, :p].unsqueeze(0), h[:-1]]))
        x = h.new_empty(*h.shape[:2], self.size)
        x[..., :p] = h
        new, c = (i * g).unbind(), x0[:, p:]
        for f_t, new_t, into in zip(f.unbind(), new, x[..., p:].unbind(), strict=True):
            c = torch.addcmul(new_t, f_t, c, out=into)
        return x

    def parts(self, u: Float[Tensor, "T B m"], x_prev: Float[Tensor, "T B d"]) -> Parts:
        """The gates i, f and o, and the candidate g."""
        i, f, g, o = self._gates(u, x_prev[..., : self.outputs])
        return Parts({"i": i, "f": f, "o": o}, g, i, f)

    def terms(self, state: State) -> Terms:
        """Leak, recurrent and gate term of each step."""
        p, by = self.outputs, self._factors(state)
        W_hi, W_hf, W_hg, W_ho = self.W_hh.chunk(4)
        leak, recurrent, gate = (state.x.new_zeros(*state.x.shape, self.size) for _ in range(3))
        self._fill_leak(leak, state, by)
        recurrent[..., p:, :p] = to_cell = by.g.unsqueeze(-1) * W_hg
        recurrent[..., :p, :p] = self._project(by.out.unsqueeze(-1) * to_cell)
        to_cell = by.i.unsqueeze(-1) * W_hi + by.f.unsqueeze(-1) * W_hf
        gate[..., p:, :p] = to_cell
        gate[..., :p, :p] = self._project(by.out.unsqueeze(-1) * to_cell + by.o.unsqueeze(-1) * W_ho)
        return Terms(leak, recurrent, gate)

    def blocks(self, state: State) -> Float[Tensor, "T B d d"]:
        """Their sum; each part is written to its place."""
        p, by = self.outputs, self._factors(state)
        W_hi, W_hf, W_hg, W_ho = self.W_hh.chunk(4)
        J = state.x.new_zeros(*state.x.shape, self.size)
        self._fill_leak(J, state, by)
        to_cell = torch.mul(by.i.unsqueeze(-1), W_hi, out=J[..., p:, :p])
        to_cell.addcmul_(by.f.unsqueeze(-1), W_hf).addcmul_(by.g.unsqueeze(-1), W_hg)
        J[..., :p, :p] = self._project((to_cell * by.out.unsqueeze(-1)).addcmul_(by.o.unsqueeze(-1), W_ho))
        return J

    def pull(self, state: State) -> Callable[[int, Tensor], Tensor]:
        """One product with all weights a step, and the cell's leak."""
        steps = [_Factors(*each) for each in zip(*(v.unbind() for v in self._factors(state)), strict=True)]
        kept = state.retained.unbind()

        def back(j: int, adjoint: Tensor) -> Tensor:
            signal, cell = self._signal(steps[j], adjoint)
            return torch.cat([signal @ self.W_hh, kept[j] * cell], -1)

        return back

    def to_input(self, state: State, adjoint: Float[Tensor, "T B d"]) -> Float[Tensor, "T B m"]:
        """Through all gates and the candidate."""
        return self._signal(self._factors(state), adjoint)[0] @ self.W_ih

    def _gates(self, u: Tensor, h_prev: Tensor) -> tuple[Tensor, ...]:
        i, f, g, o = (linear(u, self.W_ih, self.b_ih) + linear(h_prev, self.W_hh, self.b_hh)).chunk(4, -1)
        return i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()

    def _factors(self, state: State) -> _Factors:
        i, f, o = (state.gates[letter] for letter in "ifo")
        g, c_prev = state.candidate, state.x_prev[..., self.outputs :]
        # the cell of this step, which a recorded state need not hold
        squashed = torch.addcmul(f * c_prev, i, g).tanh_()
        to_i, to_f, to_g = g * i * (1 - i), c_prev * f * (1 - f), i * (1 - g.square())
        return _Factors(to_i, to_f, to_g, squashed * o * (1 - o), o * (1 - squashed.square()))

    def _signal(self, by: _Factors, adjoint: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient at the pre-activations of all gates, and at the new cell by every way."""
        to_h, to_c = adjoint.split([self.outputs, self.units], -1)
        if self.W_hr is not None:
            to_h = to_h @ self.W_hr
        cell = torch.addcmul(to_c, by.out, to_h)
        return torch.cat([by.i * cell, by.f * cell, by.g * cell, by.o * to_h], -1), cell

    def _fill_leak(self, J: Tensor, state: State, by: _Factors) -> None:
        p = self.outputs
        J[..., p:, p:].diagonal(dim1=-2, dim2=-1).copy_(state.retained)
        through = by.out * state.retained
        if self.W_hr is None:
            J[..., :p, p:].diagonal(dim1=-2, dim2=-1).copy_(through)
        else:
            J[..., :p, p:] = self.W_hr * through.unsqueeze(-2)

    def _project(self, rows: Tensor) -> Tensor:
        return rows if self.W_hr is None else self.W_hr @ rows
