"""GRU and LSTM of torch with random weights: J by symbol and by autograd, and the book's family written as a GRU."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gatelr import networks, symbolic
from gatelr.cells import GatedRNN
from gatelr.jacobian import Terms
from gatelr.networks.gru import GRU
from gatelr.networks.lstm import LSTM
from gatelr.networks.state import State
from gatelr.symbolic import gru, lstm

if TYPE_CHECKING:
    import sympy as sp

#: The order in which torch stacks the weights of the gates, by its own letters.
ORDER = {kind.kind: kind.letters for kind in (GRU, LSTM)}

_STACKED = {"weight_ih": "W_i", "weight_hh": "W_h", "bias_ih": "b_i", "bias_hh": "b_h"}


def draw(
    kind: type[nn.GRU] | type[nn.LSTM],
    n_inputs: int,
    n_hidden: int,
    seed: int,
    *,
    scale: float = 1.0,
    device: torch.device | str = "cpu",
    **options: Any,
) -> nn.GRU | nn.LSTM:
    r"""A layer in double precision whose weights are torch's own, even between :math:`\pm 1/\sqrt n`, times a scale.

    Args:
        kind: ``torch.nn.GRU`` or ``torch.nn.LSTM``.
        n_inputs, n_hidden: its sizes.
        seed: of the weights.
        scale: 1 for torch's own initialisation.
        device: where it is to be.
        options: what else the layer takes, such as ``num_layers``.
    """
    source = torch.Generator().manual_seed(seed)
    module = kind(n_inputs, n_hidden, **options).double().requires_grad_(False)
    for weight in module.parameters():
        weight.uniform_(-1, 1, generator=source).mul_(scale / math.sqrt(n_hidden))
    return module.to(device)


def by_gate(module: nn.GRU | nn.LSTM, layer: int = 0) -> dict[str, Tensor]:
    """The weights and biases of each gate, by their names in torch's formulas, such as ``W_hz``."""
    values, gates = dict[str, Tensor](), ORDER[module.mode]
    for stacked, name in _STACKED.items():
        parts = getattr(module, f"{stacked}_l{layer}").detach().chunk(len(gates))
        values |= {name + gate: part for gate, part in zip(gates, parts, strict=True)}
    return values


def terms_by_symbol(module: nn.GRU | nn.LSTM, run: State, layer: int = 0) -> Terms:
    r"""Leak, recurrent and gate term from :mod:`gatelr.symbolic`, printed to torch (claim C16).

    Args:
        module: a layer with biases.
        run: what ``networks.run`` returned for that layer.
        layer: which one, from 0.

    Returns:
        ``Terms(leak, recurrent, gate)``, each ``(T, B, d, d)``.
    """
    values = by_gate(module, layer) | {"u": run.u}
    n = module.hidden_size
    if run.kind == "GRU":
        values["h"] = run.x_prev
        return Terms(*(_printed(term, values, "h", (n, n)) for term in gru.closed_form()))
    widths = {"h": module.proj_size or n, "c": n}
    values["h"], values["c"] = run.x_prev.split([*widths.values()], -1)
    whole = []
    for term in ("leak", "recurrent", "gate"):
        blocks = {
            block: _printed(getattr(claim, term), values, "c", (n, widths[block[1]]))
            for block, claim in lstm.closed_form().items()
        }
        if module.proj_size:  # h = W_hr (o ⊙ ψ), and W_hr does not depend on the state
            projection = getattr(module, f"weight_hr_l{layer}").detach()
            blocks |= {block: projection @ blocks[block] for block in ("hh", "hc")}
        whole.append(torch.cat([torch.cat([blocks[to + source] for source in "hc"], -1) for to in "hc"], -2))
    return Terms(*whole)


def _printed(term: sp.Expr, values: dict[str, Tensor], state: str, shape: tuple[int, int]) -> Tensor:
    """An entry (q, p) in index notation as matrices of numbers."""
    matrix = symbolic.to_torch(term, list(values), state=state)(*values.values())
    like = values["u"]
    return torch.as_tensor(matrix, dtype=like.dtype, device=like.device).expand(*like.shape[:-1], *shape)


def blocks_by_autograd(module: nn.GRU | nn.LSTM, u: Float[Tensor, "T B m"], layer: int = 0) -> Float[Tensor, "T B d d"]:
    """J by ``torch.func.jacrev`` of torch's own step, every step at once: time becomes a batch axis.

    Samples do not reach each other, so the Jacobian of their sum has that of each. It is computed on the CPU, wherever
    the module is, so that the reference does not depend on the device.

    Args:
        module: a layer that takes time first.
        u: its inputs.
        layer: which layer's states are moved, from 0; those of the others stay.
    """
    there, module, u = u.device, deepcopy(module).cpu(), u.cpu()
    before = [networks.run(module, u, each).x_prev.flatten(0, 1) for each in range(module.num_layers)]
    inputs, widths = u.flatten(0, 1).unsqueeze(0), [module.proj_size or module.hidden_size, module.hidden_size]

    def summed(x: Tensor) -> Tensor:
        states = torch.stack([*before[:layer], x, *before[layer + 1 :]])
        if module.mode == "GRU":
            return module(inputs, states)[1][layer].sum(0)
        h, c = (part.contiguous() for part in states.split(widths, -1))
        return torch.cat(module(inputs, (h, c))[1], -1)[layer].sum(0)

    J: Tensor = torch.func.jacrev(summed)(before[layer])
    return J.movedim(0, -2).unflatten(0, u.shape[:2]).to(there)


@torch.no_grad()
def as_gru(model: GatedRNN) -> nn.GRU:
    r"""A network of the book's family, written as ``torch.nn.GRU``: the same states at every step.

    The reset gate rests at 1/2, and W_hn is twice W_r. The update gate keeps what the family's gate does not write,
    :math:`z = σ(-a^g) = 1 - g`. A scalar gate has the same row for every neuron; a constant one has no weights, and the
    bias :math:`\ln((1-α)/α)`.

    Args:
        model: with a constant, scalar or multi gate, and no replicas.

    Returns:
        The GRU, in the dtype and on the device of the model.

    Raises:
        ValueError: for gate ``"none"``, which writes all, as no logistic function does; for α = 1; or for replicas.
    """
    if model.gate == "none" or (model.alpha is not None and max(model.alpha) >= 1):
        raise ValueError("got a gate that is 1, expected one below 1: the update gate of a GRU never is exactly 0")
    if model.replicas is not None:
        raise ValueError(f"got {model.replicas} replicas, expected a single network: torch's GRU has none")
    like = model.W_r
    module = nn.GRU(model.n_inputs, model.n_hidden, dtype=like.dtype, device=like.device).requires_grad_(False)
    for weight in module.parameters():
        weight.zero_()
    weights = by_gate(module)
    weights["W_hn"].copy_(2 * model.W_r)
    named: dict[str, Tensor | None] = {"W_in": model.W_i, "b_in": model.b}
    if model.alpha is None:
        named |= {"W_hz": model.W_rg, "W_iz": model.W_ig, "b_iz": model.b_g}
    else:
        named["b_iz"] = torch.logit(torch.tensor(model.alpha, dtype=like.dtype, device=like.device))
    for name, of_family in named.items():
        if of_family is not None:
            weights[name].copy_(-of_family if "z" in name else of_family)  # z keeps, the family's gate writes
    return module
