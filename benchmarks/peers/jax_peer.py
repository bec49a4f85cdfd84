"""JAX: ``jit`` of ``lax.scan``, compiled ahead. An optional extra, so it is imported when first needed.

A float64 model needs ``with jax.enable_x64(True):`` around both the factory and the calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from gatelr.cells import GatedRNN
from torch import Tensor

from . import Step, fixed_gate, named, single, stacked


@cache
def _jax() -> Any:
    try:
        import jax
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("JAX is not installed: pip install 'jax[cpu]', or 'jax[cuda12]' for a GPU") from error
    return jax


def _array(tensor: Tensor) -> Any:
    """The tensor in JAX, on the same kind of device."""
    jax = _jax()
    if tensor.dtype == torch.float64 and not jax.config.jax_enable_x64:
        raise ValueError(
            "got a model in torch.float64, but JAX would compute in float32: put `with jax.enable_x64(True):` around"
        )
    return jax.device_put(tensor.detach().cpu().numpy(), jax.devices("gpu" if tensor.is_cuda else "cpu")[0])


def _compiled(function: Callable[..., Any], *arguments: Any) -> Any:
    jax = _jax()
    # as torch: on a GPU, JAX would otherwise round the factors of a float32 product
    with jax.default_matmul_precision("highest"):
        return jax.jit(function).lower(*arguments).compile()


def update(z: Any, x: Any, alpha: Any) -> Any:
    """The next state from the pre-activations ``z (..., k)`` and the state ``x (..., n)``."""
    jax, n = _jax(), x.shape[-1]
    phi = jax.numpy.tanh(z[..., :n])
    g = jax.nn.sigmoid(z[..., n:]) if alpha is None else alpha
    return phi if isinstance(g, float) and g == 1 else (1 - g) * x + g * phi


def _loss(alpha: Any) -> Callable[..., Any]:
    """The loss of one network, for any batch axes or none."""
    jax = _jax()

    def loss(weights: Any, u: Any, target: Any) -> Any:
        W, W_in, W_o = weights
        x0 = jax.numpy.zeros((*u.shape[1:-1], len(W)), u.dtype)
        x, _ = jax.lax.scan(lambda x, z: (update(z + x @ W, x, alpha), None), x0, u @ W_in, unroll=2)
        return ((x @ W_o - target) ** 2).mean()

    return loss


def _fixed(model: GatedRNN) -> Any:
    alpha = fixed_gate(model)
    return _array(alpha) if isinstance(alpha, Tensor) else alpha


def training_step(model: GatedRNN, u: Tensor, target: Tensor, lr: float, *, in_parallel: bool = True) -> Step:
    """One step of SGD in one compiled function; replicas by ``vmap``, as one would write it, or in turn by ``lax.map``.

    XLA's batched products are slow on a CPU, so that ``vmap`` takes up to three times as long there, except for small
    networks and few sequences.
    """
    jax = _jax()
    weights, inputs, wanted = tuple(map(_array, stacked(model))), _array(u), _array(target)
    one = jax.value_and_grad(_loss(_fixed(model)))

    def in_turn(weights: Any, u: Any, target: Any) -> Any:
        return jax.lax.map(lambda of_one: one(*of_one), (weights, u.swapaxes(0, 1), target))

    def compiled_with(gradient: Callable[..., Any]) -> Callable[..., Any]:
        def step(weights: Any, u: Any, target: Any) -> Any:
            losses, gradients = gradient(weights, u, target)
            return losses, jax.tree.map(lambda w, g: w - lr * g, weights, gradients)

        return _compiled(step, weights, inputs, wanted)

    many = jax.vmap(one, in_axes=(0, 1, 0)) if in_parallel else in_turn
    begin = time.perf_counter()
    step = compiled_with(one if model.replicas is None else many)
    seconds = time.perf_counter() - begin

    def run() -> Any:
        nonlocal weights
        losses, weights = jax.block_until_ready(step(weights, inputs, wanted))
        return losses

    def now() -> dict[str, Tensor]:
        W, W_in, W_o = (torch.tensor(jax.device_get(w)) for w in weights)
        return named(model, (W, W_in, W_o))

    return Step(run, now, seconds)


def per_sample(model: GatedRNN, u: Tensor, target: Tensor) -> Callable[[], Any]:
    """Every gradient, ``(B, P)``, by ``vmap(grad)``."""
    jax = _jax()
    arguments = tuple(map(_array, stacked(single(model)))), _array(u), _array(target)
    every = jax.vmap(jax.grad(_loss(_fixed(model))), in_axes=(None, 1, 0))

    def rows(*arguments: Any) -> Any:
        return jax.numpy.concatenate([g.reshape(len(g), -1) for g in every(*arguments)], 1)

    compiled = _compiled(rows, *arguments)
    return lambda: compiled(*arguments).block_until_ready()


def jacobian_blocks(model: GatedRNN, u: Tensor) -> Callable[[], Any]:
    """All step Jacobians, ``(T, B, n, n)``, by ``jacfwd``, here several times faster than ``jacrev``."""
    jax, alpha = _jax(), _fixed(single(model))
    W, W_in, _ = stacked(model)
    with torch.no_grad():
        arguments = _array(W), _array(model.run(u).x_prev), _array(u @ W_in)

    def blocks(W: Any, x: Any, z: Any) -> Any:
        one = jax.jacfwd(lambda x, z: update(z + x @ W, x, alpha))
        return jax.vmap(jax.vmap(one))(x, z)

    compiled = _compiled(blocks, *arguments)
    return lambda: compiled(*arguments).block_until_ready()
