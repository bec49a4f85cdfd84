"""Recurrent layers of torch with a readout, S of them trained side by side as the replicas of one network.

``torch.func.vmap`` fails over recurrent layers, and on small ones nearly all the time goes into calls. So a step is
written here for S networks at once, in torch's convention, and each replica is handed out as torch's own module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gatelr.kernels.sweep import Backward, Workspace


def _rnn(a: Tensor, q: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    return (a + q).tanh(), c


def _gru(a: Tensor, q: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    (a_rz, a_n), (q_rz, q_n) = (part.tensor_split([2 * h.shape[-1]], -1) for part in (a, q))
    r, z = (a_rz + q_rz).sigmoid().chunk(2, -1)
    return torch.lerp((a_n + r * q_n).tanh(), h, z), c


def _lstm(a: Tensor, q: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = (a + q).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


#: A step of each layer, of what it reads of the input and of the state, then h and c, which the LSTM alone has.
STEPS = {"RNN": _rnn, "GRU": _gru, "LSTM": _lstm}

#: The layers, by torch's names.
#:
#: :meta hide-value:
KINDS: dict[str, type[nn.RNN | nn.GRU | nn.LSTM]] = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}


class StackedLayers(nn.Module):
    r"""S networks, each a layer of torch and a linear readout of its last state, with a leading axis S on every weight.

    Weights are drawn as torch draws those of a recurrent layer, uniform within :math:`1/\sqrt{n}`, those of the readout
    too. :func:`gatelr.training.train` takes it as it takes a :class:`gatelr.cells.GatedRNN` with replicas.

    Args:
        kind: ``"RNN"``, ``"GRU"`` or ``"LSTM"``.
        n_inputs, n_hidden, n_outputs: m, n and o.
        generators: sources of the weights, one for each replica.
        device: where the weights live; they are drawn where the generators live.

    Attributes:
        weight_ih_l0: of the inputs, as torch stacks the gates, ``(S, ·, m)``.
        weight_hh_l0: of the state, ``(S, ·, n)``.
        bias_ih_l0: the first bias, ``(S, ·)``.
        bias_hh_l0: the second, which adds to the first.
        W_o: the readout, ``(S, o, n)``.
        b_o: its bias, ``(S, o)``.

    Raises:
        ValueError: for another kind, or no generator.
    """

    def __init__(
        self,
        kind: str,
        n_inputs: int,
        n_hidden: int,
        n_outputs: int,
        generators: Sequence[torch.Generator],
        device: torch.device | str | None = None,
    ):
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"got kind={kind!r}, expected one of {', '.join(map(repr, KINDS))}")
        if not generators:
            raise ValueError("got no generator, expected a torch.Generator for each replica")
        self.kind, self.n_inputs, self.n_hidden, self.n_outputs = kind, n_inputs, n_hidden, n_outputs
        self.replicas: int | None = len(generators)
        shapes = {
            name: weight.shape for name, weight in KINDS[kind](n_inputs, n_hidden, device="meta").named_parameters()
        }
        for name, shape in {**shapes, "W_o": (n_outputs, n_hidden), "b_o": (n_outputs,)}.items():
            drawn = [torch.rand(shape, generator=source, device=source.device) for source in generators]
            within = (2 * torch.stack(drawn) - 1) / n_hidden**0.5
            self.register_parameter(name, nn.Parameter(within.to(device)))

    W_o: Tensor
    b_o: Tensor
    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor

    @property
    def W_r(self) -> Tensor:
        """The weights from state to state, those of gates among them."""
        return self.weight_hh_l0

    def forward(
        self, u: Float[Tensor, "T S B m"], *, workspace: Workspace | None = None, backward: Backward = "full"
    ) -> Float[Tensor, "S B o"]:
        """The readout of the last state.

        Args:
            u: the inputs of each replica.
            workspace: not used: torch keeps its own.
            backward: ``"full"``; torch's layers have no other.

        Raises:
            ValueError: for another backward pass.
        """
        if backward != "full":
            raise ValueError(f"got backward={backward!r}, expected 'full': torch's layers have no other backward pass")
        u = u.movedim(1, 0)
        from_input = u.flatten(1, 2) @ self.weight_ih_l0.mT + self.bias_ih_l0.unsqueeze(1)
        W, b = self.weight_hh_l0.mT, self.bias_hh_l0.unsqueeze(1)
        h = c = u.new_zeros(u.shape[0], u.shape[2], self.n_hidden)
        for a in from_input.unflatten(1, u.shape[1:3]).unbind(1):
            h, c = STEPS[self.kind](a, torch.baddbmm(b, h, W), h, c)
        return h @ self.W_o.mT + self.b_o.unsqueeze(1)

    def replica(self, s: int) -> tuple[nn.RNNBase, nn.Linear]:
        """One network as a user of torch would have it, in float64 and with weights of its own."""
        empty: dict[str, Any] = {"device": "meta", "dtype": torch.float64}
        layer = KINDS[self.kind](self.n_inputs, self.n_hidden, **empty).to_empty(device=self.W_o.device)
        own = {name: weight[s] for name, weight in self.named_parameters() if name not in ("W_o", "b_o")}
        layer.load_state_dict(own)
        readout = nn.Linear(self.n_hidden, self.n_outputs, **empty).to_empty(device=self.W_o.device)
        readout.load_state_dict({"weight": self.W_o[s], "bias": self.b_o[s]})
        return layer.requires_grad_(False), readout.requires_grad_(False)

    def extra_repr(self) -> str:
        """Its sizes."""
        sizes = f"n_inputs={self.n_inputs}, n_hidden={self.n_hidden}, n_outputs={self.n_outputs}"
        return f"{self.kind!r}, {sizes}, replicas={self.replicas}"
