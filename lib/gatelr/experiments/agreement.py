"""Two ways to one number: random networks to try them on, autograd's way to a gradient, and how far two ways part."""

from __future__ import annotations

from itertools import product

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from gatelr import adjoint, rates
from gatelr.cells import GATES, GatedRNN


def random_case(
    gate: str,
    n: int,
    m: int,
    T: int,
    *,
    batch: tuple[int, ...] = (),
    replicas: int | None = None,
    fastest: float = 0.9,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> tuple[GatedRNN, Float[Tensor, "T *batch m"], Float[Tensor, "T *batch n"]]:
    """A random network with biases, inputs for it and targets for its states: the same ones for the same arguments.

    Constant gates have values from 0.1 to ``fastest``. The axes of the batch come behind that of replicas.
    """
    draw = torch.Generator().manual_seed(0)
    alpha = torch.linspace(0.1, fastest, n) if gate == "constant" else None
    model = GatedRNN(m, n, gate, alpha=alpha, bias=True, replicas=replicas, generator=draw, dtype=dtype, device=device)
    lead = (T, *batch) if replicas is None else (T, replicas, *batch)
    u, y = (torch.randn(*lead, size, generator=draw, dtype=dtype).to(device) for size in (m, n))
    return model, u, y


def discrepancy(value: Tensor, reference: Tensor) -> float:
    """The largest difference between two tensors, relative to the largest entry of the second."""
    return float((value - reference).abs().max() / reference.abs().max())


def gradients(model: GatedRNN, u: Tensor, y: Tensor, *, per_sample: bool = False) -> dict[str, Tensor]:
    r"""Autograd's gradients of :math:`\frac12 \sum_t \lVert x_t - y_t \rVert^2`, as of ``adjoint.gradients``."""
    if per_sample:
        alone = [gradients(model, u[..., k, :], y[..., k, :]) for k in range(u.shape[-2])]
        axis = 0 if model.replicas is None else 1
        return {name: torch.stack([each[name] for each in alone], axis) for name in alone[0]}
    weights = {name: weight for name, weight in model.named_parameters() if name not in ("W_o", "b_o")}
    loss = ((model.run(u).x - y) ** 2).sum() / 2
    return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))


def compare_gradients(n: int, m: int, T: int, *, device: torch.device | str = "cpu") -> pd.DataFrame:
    """The library's gradients against autograd's: every gate, for one sequence, a batch, and a batch of replicas.

    The ``gap`` is a discrepancy; ``samples`` are the ``"sum"`` over sequences, or ``"each"`` by itself.
    """
    rows = []
    for gate, (batch, replicas) in product(GATES, (((), None), ((4,), None), ((4,), 3))):
        model, u, y = random_case(gate, n, m, T, batch=batch, replicas=replicas, device=device)
        with torch.no_grad():
            run = model.run(u)
        for samples in ("sum", "each") if batch else ("sum",):
            reference = gradients(model, u, y, per_sample=samples == "each")
            with torch.no_grad():
                closed_form = adjoint.gradients(model, run, run.x - y, per_sample=samples == "each")
            rows += [(gate, samples, name, discrepancy(closed_form[name], twin)) for name, twin in reference.items()]
    return pd.DataFrame(rows, columns=["gate", "samples", "weight", "gap"])


def leak_only(model: GatedRNN, u: Tensor) -> Tensor:
    """The states of a network that autograd sees only the leak of: detached wherever candidate and gate read them.

    Values are those of ``model.run(u).x``; the one road back in time is :math:`(1 - g_t) x_{t-1}`.
    """
    x, states = u.new_zeros(*u.shape[1:-1], model.n_hidden), []
    for u_t in u.split(1):
        step = model.run(u_t, x.detach())
        x = (1 - step.g[0]) * x + step.g[0] * step.phi[0]
        states.append(x)
    return torch.stack(states)


def compare_order_0(n: int, m: int, T: int, *, device: torch.device | str = "cpu") -> pd.DataFrame:
    """Gradients made of effective rates against the sweep that carries the leaks alone; the readout against autograd.

    Of a loss that reads every state, and for ``W_o`` of one that reads every output; the ``gap`` is a discrepancy.
    """
    rows = []
    for gate in ("constant", "scalar", "multi"):
        model, u, y = random_case(gate, n, m, T, batch=(4,), device=device)
        with torch.no_grad():
            run = model.run(u)
            by_rates = rates.gradients(model, run, rates.signal(run, run.x - y))
            swept = adjoint.gradients(model, run, run.x - y, backward="order 0")
        rows += [(gate, name, discrepancy(by_rates[name], gradient)) for name, gradient in swept.items()]
        error = run.x @ model.W_o.mT - 1  # of a readout that should say 1
        (exact,) = torch.autograd.grad((error**2).sum() / 2, model.W_o)
        rows.append((gate, "W_o", discrepancy(torch.einsum("tbo,tbn->on", error.detach(), run.x), exact)))
    return pd.DataFrame(rows, columns=["gate", "weight", "gap"])
