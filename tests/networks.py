"""Random networks and sequences for the tests, and the autograd twin of the Jacobian."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from gatelr.cells import GATES, GatedRNN
from hypothesis import example
from hypothesis import strategies as st
from torch import Tensor


@dataclass(frozen=True)
class Case:
    """One network and one batch of sequences, rebuilt from numbers that hypothesis can shrink."""

    gate: str
    n: int
    m: int
    T: int
    batch: tuple[int, ...]
    replicas: int | None
    bias: bool
    seed: int
    dtype: torch.dtype = torch.float64

    def model(self) -> GatedRNN:
        generator = torch.Generator().manual_seed(self.seed)
        alpha = None
        if self.gate == "constant":
            alpha = (torch.rand(self.n, generator=generator, dtype=torch.float64) * 0.98 + 0.02).tolist()
        model = GatedRNN(
            self.m,
            self.n,
            self.gate,
            alpha=alpha,
            n_outputs=2,
            bias=self.bias,
            replicas=self.replicas,
            generator=generator,
            dtype=self.dtype,
        )
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.7)  # away from the linear regime, so that every term of J matters
        return model

    def inputs(self) -> tuple[Tensor, Tensor]:
        """Inputs (T, *batch, m) and an initial state (*batch, n)."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        batch = (self.replicas, *self.batch) if self.replicas else self.batch
        u = torch.randn(self.T, *batch, self.m, generator=generator, dtype=self.dtype)
        return u, torch.randn(*batch, self.n, generator=generator, dtype=self.dtype)


cases = st.builds(
    Case,
    gate=st.sampled_from(GATES),
    n=st.integers(1, 6),
    m=st.integers(1, 4),
    T=st.integers(1, 6),
    batch=st.lists(st.integers(1, 3), max_size=2).map(tuple),
    replicas=st.none() | st.integers(1, 3),
    bias=st.booleans(),
    seed=st.integers(0, 2**31),
)


#: The odd ones, which random search may miss: one neuron, one step, no batch; one replica of it.
SMALLEST = [Case(gate, 1, 1, 1, (), replicas, True, 0) for gate in GATES for replicas in (None, 1)]


def and_the_smallest(test: Callable[..., None]) -> Callable[..., None]:
    """Runs a hypothesis test on every case of SMALLEST too."""
    for case in SMALLEST:
        test = example(case)(test)
    return test


def reference_step(model: GatedRNN, s: int | None, u: Tensor, x: Tensor) -> Tensor:
    """One update of one replica on one vector, written straight from the notation page: nothing shared with lib."""

    def pick(name: str) -> Tensor | None:
        parameter = getattr(model, name)
        return parameter if parameter is None or s is None else parameter[s]

    def affine(W: Tensor | None, U: Tensor | None, b: Tensor | None) -> Tensor:
        assert W is not None
        assert U is not None
        return W @ x + U @ u + (0 if b is None else b)

    phi = torch.tanh(affine(pick("W_r"), pick("W_i"), pick("b")))
    if model.gate == "none":
        return phi
    if model.gate == "constant":
        g = torch.tensor(model.alpha, dtype=x.dtype)
    else:
        g = torch.sigmoid(affine(pick("W_rg"), pick("W_ig"), pick("b_g")))
    return (1 - g) * x + g * phi


def relative(a: Tensor, b: Tensor) -> float:
    """Largest difference over largest entry of the reference ``b``."""
    a, b = a.detach(), b.detach()
    return float((a - b).abs().max() / b.abs().max().clamp_min(torch.finfo(b.dtype).tiny))


class BlindGate(GatedRNN):
    """The same network, whose gate reads a state that autograd cannot see through."""

    def _affine(self, x: Tensor, weight: Tensor, bias: Tensor | None = None, time: bool = False) -> Tensor:
        return super()._affine(x.detach() if weight is self.W_rg else x, weight, bias, time)


class OnlyLeak(GatedRNN):
    """The same network, in which autograd sees the state through the leak alone."""

    def _affine(self, x: Tensor, weight: Tensor, bias: Tensor | None = None, time: bool = False) -> Tensor:
        recurrent = weight is self.W_rg or weight is self.W_r
        return super()._affine(x.detach() if recurrent else x, weight, bias, time)
