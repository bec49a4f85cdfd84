r"""The gated recurrent family as an ``nn.Module``, and the record of a run.

One update rule, :math:`x_t = (1 - g_t) ⊙ x_{t-1} + g_t ⊙ φ_t` with :math:`φ_t = \tanh(W_r x_{t-1} + W_i u_t + b)`,
and four gates: ``none`` (g = 1), ``constant`` (g = α), ``scalar`` and ``multi``
(:math:`g_t = σ(W_{rg} x_{t-1} + W_{ig} u_t + b_g)`, one value or one per neuron).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gatelr import arguments
from gatelr.kernels import build, compiled, sweep
from gatelr.kernels.autograd import LastState, joined

#: What ``gate`` may be.
GATES = ("none", "constant", "scalar", "multi")


class Trajectory(NamedTuple):
    """A recorded run; index ``j`` holds step ``j + 1``, so ``x_prev[0]`` is the initial state.

    ``g`` and ``a_g`` have a last axis of 1 where one gate serves all neurons. ``g = σ(a_g)`` holds for the whole
    family: a fixed gate has ``a_g = logit(α)``, and the vanilla network ``a_g = inf``.

    Attributes:
        u: the inputs.
        x_prev: the state before each step.
        x: the state after each step.
        a: the candidate's pre-activation.
        phi: the candidate, ``tanh(a)``.
        g: the gate, the fraction written.
        a_g: the gate's pre-activation.
    """

    u: Float[Tensor, "T *batch m"]
    x_prev: Float[Tensor, "T *batch n"]
    x: Float[Tensor, "T *batch n"]
    a: Float[Tensor, "T *batch n"]
    phi: Float[Tensor, "T *batch n"]
    g: Float[Tensor, "T *batch h"]
    a_g: Float[Tensor, "T *batch h"]


class GatedRNN(nn.Module):
    r"""A gated recurrent network with a linear readout of the last state.

    Weights are drawn as ``torch.nn.Linear`` draws them, uniform within :math:`1/\sqrt{\text{fan-in}}`, in the order
    W_r, W_i, W_o, W_rg, W_ig, then biases; a replicated model draws replica by replica, so that replica ``i`` has the
    weights of a lone model made from the same generator.

    Args:
        n_inputs: m, at least 1.
        n_hidden: n, at least 1.
        gate: ``"none"``, ``"constant"``, ``"scalar"`` or ``"multi"``.
        alpha: for ``"constant"`` only: the gate, in (0, 1], one number or one per neuron.
        n_outputs: o, at least 1.
        bias: whether candidate, gate and readout have biases (``b``, ``b_g``, ``b_o``).
        replicas: S independent models trained side by side; every parameter then has a leading axis S, and inputs have
            it behind time, ``(T, S, *batch, m)``.
        generator: source of the initial weights, or S of them, one for each replica; by default torch's own.
        device: where the parameters live.
        dtype: their type, ``torch.float32`` or ``torch.float64``; by default torch's default.

    Raises:
        ValueError: for a size below 1, an unknown gate, an alpha that is missing, unwanted, of the wrong length or
            outside (0, 1], a number of generators other than S, or a device that is not there.
        TypeError: for a size that is no whole number, and whatever else is of another kind than stated.

    Example:
        >>> import torch
        >>> from gatelr.cells import GatedRNN
        >>> model = GatedRNN(2, 4, "scalar", generator=torch.Generator().manual_seed(0))
        >>> model
        GatedRNN(n_inputs=2, n_hidden=4, gate='scalar')
        >>> model.W_rg.shape  # one gate for all neurons
        torch.Size([1, 4])
        >>> u = torch.ones(10, 3, 2)  # T = 10 steps, a batch of 3, m = 2
        >>> model(u).shape
        torch.Size([3, 1])
        >>> GatedRNN(2, 4, "multi", replicas=5).W_rg.shape  # five seeds side by side
        torch.Size([5, 4, 4])

    Attributes:
        W_r: state to candidate, ``(n, n)``.
        W_i: input to candidate, ``(n, m)``.
        W_o: state to output, ``(o, n)``.
        W_rg: state to gate, ``(n, n)`` for ``"multi"`` and ``(1, n)`` for ``"scalar"``; None for a fixed gate.
        W_ig: input to gate, ``(n, m)`` or ``(1, m)``; None for a fixed gate.
        b: bias of the candidate, ``(n,)``; None without ``bias``, as the other two.
        b_g: bias of the gate, ``(n,)`` or ``(1,)``.
        b_o: bias of the readout, ``(o,)``.
    """

    def __init__(
        self,
        n_inputs: int,
        n_hidden: int,
        gate: str,
        *,
        alpha: float | Sequence[float] | Tensor | None = None,
        n_outputs: int = 1,
        bias: bool = False,
        replicas: int | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        n_inputs, n_hidden = arguments.whole("n_inputs", n_inputs, 1), arguments.whole("n_hidden", n_hidden, 1)
        n_outputs = arguments.whole("n_outputs", n_outputs, 1)
        replicas = None if replicas is None else arguments.whole("replicas", replicas, 1)
        if not isinstance(gate, str) or gate not in GATES:
            raise ValueError(f"got gate={gate!r}, expected one of {', '.join(map(repr, GATES))}")
        arguments.truth("bias", bias)
        arguments.dtype(torch.get_default_dtype() if dtype is None else dtype)
        arguments.device(device)
        self.n_inputs, self.n_hidden, self.n_outputs = n_inputs, n_hidden, n_outputs
        self.gate, self.replicas = gate, replicas
        self.alpha = _checked_alpha(gate, alpha, n_hidden)

        h = {"scalar": 1, "multi": n_hidden}.get(gate, 0)
        lead = () if replicas is None else (replicas,)
        shapes = {
            "W_r": (n_hidden, n_hidden),
            "W_i": (n_hidden, n_inputs),
            "W_o": (n_outputs, n_hidden),
            "W_rg": (h, n_hidden) if h else None,
            "W_ig": (h, n_inputs) if h else None,
            "b": (n_hidden,) if bias else None,
            "b_o": (n_outputs,) if bias else None,
            "b_g": (h,) if bias and h else None,
        }
        for name, shape in shapes.items():
            empty = None if shape is None else nn.Parameter(torch.empty(*lead, *shape, device=device, dtype=dtype))
            self.register_parameter(name, empty)
        self.reset_parameters(generator)

    W_r: Tensor
    W_i: Tensor
    W_o: Tensor
    W_rg: Tensor | None
    W_ig: Tensor | None
    b: Tensor | None
    b_g: Tensor | None
    b_o: Tensor | None

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | Sequence[torch.Generator] | None = None) -> None:
        """Draw all weights again, as the constructor does.

        Raises:
            ValueError: if a sequence of generators does not have one for each replica.
            TypeError: if one of them is no generator.
        """
        count = 1 if self.replicas is None else self.replicas
        if generator is None or isinstance(generator, torch.Generator):
            generators: list[torch.Generator | None] = [generator] * count
        else:
            generators = [*arguments.generators(generator)]
        if len(generators) != count:
            raise ValueError(f"got {len(generators)} generators, expected {count}, one for each replica")
        for s, source in enumerate(generators):
            for name, parameter in self.named_parameters():
                target = parameter if self.replicas is None else parameter[s]
                # Drawn where the generator lives, so that a seed gives the same network on every device.
                draw = torch.empty(target.shape, dtype=target.dtype, device=source.device if source else "cpu")
                if name.startswith("W"):
                    nn.init.kaiming_uniform_(draw, a=math.sqrt(5), generator=source)  # as nn.Linear, to the bit
                else:
                    nn.init.uniform_(draw, -(self.n_hidden**-0.5), self.n_hidden**-0.5, generator=source)
                target.copy_(draw)

    def forward(
        self,
        u: Float[Tensor, "T *batch m"],
        x0: Float[Tensor, "*batch n"] | None = None,
        *,
        workspace: sweep.Workspace | None = None,
        backward: sweep.Backward = "full",
    ) -> Float[Tensor, "*batch o"]:
        r"""Readout of the last state, :math:`W_o x_T + b_o`; its gradient is the closed form of claim C7.

        Args:
            u: inputs, time first; with replicas ``(T, S, *batch, m)``.
            x0: initial state; zero by default.
            workspace: memory to work in, kept from call to call by a training loop, so that it need not be taken
                anew. The backward pass of a call must come before the next call; otherwise autograd refuses it.
            backward: what the backward pass carries from step to step: ``"full"``, the Jacobian
                :math:`J = \Lambda + R + G`; ``"gate dropped"``, :math:`\Lambda + R`; ``"diagonal"``,
                :math:`\Lambda + \mathrm{diag}(R + G)`, as SnAp-1 does; ``"order 0"``, :math:`\Lambda` alone, as RFLO
                does. Only the first gives the gradient; the readout's weights have theirs in any case.

        Returns:
            The readout, ``(*batch, o)``. It can be differentiated once; for higher derivatives differentiate
            :meth:`run`, whose gradient is autograd's own. Inside a transform of ``torch.func`` it *is* that of
            :meth:`run`, so that ``vmap``, ``grad`` and ``jacrev`` work.

        Raises:
            ValueError: as :meth:`run`, or for an unknown ``backward``.
            TypeError: as :meth:`run`, or for a workspace that is none.

        Example:
            >>> import torch
            >>> from gatelr.cells import GatedRNN
            >>> model = GatedRNN(2, 4, "multi", generator=torch.Generator().manual_seed(0))
            >>> u = torch.ones(10, 3, 2)
            >>> last = model.run(u).x[-1]
            >>> torch.allclose(model(u), last @ model.W_o.T)
            True
        """
        check_backward(backward)
        if workspace is not None and not isinstance(workspace, sweep.Workspace):
            raise TypeError(f"got {arguments.kind(workspace)} as the workspace, expected a sweep.Workspace(), or None")
        if torch._C._are_functorch_transforms_active():
            if backward != "full":
                raise ValueError(f"got backward={backward!r} inside a torch.func transform, expected 'full'")
            return self._affine(self.run(u, x0).x[-1], self.W_o, self.b_o)
        u, x0 = self._checked(u, x0)
        alpha = None if self.gate == "none" else self._fixed_gate()
        last: Tensor = LastState.apply(u, x0, alpha, workspace, backward, *self._all_weights())
        return self._affine(last, self.W_o, self.b_o)

    def run(self, u: Float[Tensor, "T *batch m"], x0: Float[Tensor, "*batch n"] | None = None) -> Trajectory:
        """Run over a sequence and record everything (the symbols are those of book/notation.md).

        Plain tensor operations, so that autograd and every ``torch.func`` transform can look through it; wrap it in
        ``torch.no_grad()`` to measure without recording a graph.

        Args:
            u: inputs, time first; any number of batch axes; with replicas ``(T, S, *batch, m)``.
            x0: initial state ``(*batch, n)``; zero by default.

        Returns:
            The trajectory, each member ``(T, *batch, ·)``.

        Raises:
            ValueError: if a shape, dtype or device does not fit the model, or a value is NaN or infinite.
            TypeError: for what is no dense tensor: a list, a numpy array.

        Example:
            >>> import torch
            >>> from gatelr.cells import GatedRNN
            >>> model = GatedRNN(2, 4, "multi", generator=torch.Generator().manual_seed(0))
            >>> trajectory = model.run(torch.ones(10, 3, 2))
            >>> trajectory.x.shape
            torch.Size([10, 3, 4])
            >>> bool(((0 < trajectory.g) & (trajectory.g < 1)).all())
            True
            >>> kept = (1 - trajectory.g) * trajectory.x_prev
            >>> written = trajectory.g * trajectory.phi
            >>> torch.allclose(trajectory.x, kept + written)
            True
        """
        u, x = self._checked(u, x0)
        if not torch.is_grad_enabled() and not torch._C._are_functorch_transforms_active():
            return self._record(u, x)
        fixed = self._fixed_gate()
        records: list[tuple[Tensor, ...]] = []
        # The products with the inputs do not depend on the state: one large product beats T small ones.
        from_input = self._affine(u, self.W_i, self.b, time=True).unbind()
        gate_from_input = (
            [None] * len(u) if self.W_ig is None else self._affine(u, self.W_ig, self.b_g, time=True).unbind()
        )
        for a_in, a_g_in in zip(from_input, gate_from_input, strict=True):
            a = a_in + self._affine(x, self.W_r)
            phi = torch.tanh(a)
            if a_g_in is None:
                g = cast(Tensor, fixed).expand(*x.shape[:-1], -1)
                a_g = torch.logit(g)
            else:
                a_g = a_g_in + self._affine(x, cast(Tensor, self.W_rg))
                g = torch.sigmoid(a_g)
            x_next = (1 - g) * x + g * phi
            records.append((x, x_next, a, phi, g, a_g))
            x = x_next
        return Trajectory(u, *(torch.stack(member) for member in zip(*records, strict=True)))

    def _record(self, u: Tensor, x0: Tensor) -> Trajectory:
        """:meth:`run` where nobody differentiates: one of the two sweeps, the same numbers to rounding."""
        T, n, S, batch = len(u), self.n_hidden, self.replicas or 1, u.shape[1:-1]
        if not build.serves(self.W_r):
            return self._record_in_place(u, x0)
        rows = u.reshape(T, S, -1, self.n_inputs)
        alpha = None if self.gate == "none" else self._fixed_gate()
        W = joined(*self._all_weights())
        a = rows.new_empty(*rows.shape[:-1], W.shape[-2])
        swept = compiled.forward(rows, x0.reshape(S, -1, n), W, alpha, pre_activations=a)
        if self.W_rg is None:
            g = cast(Tensor, self._fixed_gate()).expand(*rows.shape[:-1], -1)
            a_g = torch.logit(g)
        else:
            g, a_g = swept.g, a[..., n:]
        phi = swept.phi if len(swept.phi) else swept.x[1:]
        return Trajectory(u, *(v.reshape(T, *batch, -1) for v in (swept.x[:-1], swept.x[1:], a[..., :n], phi, g, a_g)))

    def _record_in_place(self, u: Tensor, x0: Tensor) -> Trajectory:
        """:meth:`_record` on plain tensors."""
        T, n, S, batch = len(u), self.n_hidden, self.replicas or 1, u.shape[1:-1]
        x = x0.new_empty(T + 1, *x0.reshape(S, -1, n).shape)
        x[0] = x0.reshape(S, -1, n)
        a = self._affine(u, self.W_i, self.b, time=True).reshape(T, S, -1, n)
        phi = torch.empty_like(a)
        if self.W_rg is None or self.W_ig is None:
            g = cast(Tensor, self._fixed_gate()).expand(*a.shape[:-1], -1)
            a_g = torch.logit(g)
        else:
            a_g = self._affine(u, self.W_ig, self.b_g, time=True).reshape(T, S, a.shape[2], -1)
            g = torch.empty_like(a_g)
        to_a, to_a_g = (None if W is None else W.reshape(S, -1, n).mT for W in (self.W_r, self.W_rg))
        steps = zip(*(series.unbind() for series in (x[:-1], x[1:], a, phi, a_g, g)), strict=True)
        for x_t, x_next, a_t, phi_t, a_g_t, g_t in steps:
            torch.tanh(a_t.baddbmm_(x_t, to_a), out=phi_t)
            if to_a_g is not None:
                torch.sigmoid(a_g_t.baddbmm_(x_t, to_a_g), out=g_t)
            torch.lerp(x_t, phi_t, g_t.expand_as(x_t), out=x_next)
        return Trajectory(u, *(v.reshape(T, *batch, -1) for v in (x[:-1], x[1:], a, phi, g, a_g)))

    def replica(self, s: int) -> GatedRNN:
        """Network ``s`` of a replicated model, alone: a copy of its weights, without gradients.

        Raises:
            ValueError: if the model has no replicas, or not that one; they are counted from 0.
            TypeError: if ``s`` is no whole number.
        """
        if self.replicas is None:
            raise ValueError("got a model without replicas, expected one made with replicas=S: it is alone already")
        if not 0 <= (s := arguments.whole("s", s)) < self.replicas:
            raise ValueError(f"got s={s}, expected a replica from 0 to {self.replicas - 1}: they are counted from 0")
        alone = GatedRNN(
            self.n_inputs,
            self.n_hidden,
            self.gate,
            alpha=self.alpha,
            n_outputs=self.n_outputs,
            bias=self.b is not None,
            generator=torch.Generator(),  # what it draws is thrown away: not from the caller's
            device=self.W_r.device,
            dtype=self.W_r.dtype,
        )
        alone.load_state_dict({name: weight[s] for name, weight in self.state_dict().items()})
        return alone.requires_grad_(False)

    def extra_repr(self) -> str:
        """The sizes and the gate, as ``print(model)`` shows them."""
        parts = [f"n_inputs={self.n_inputs}", f"n_hidden={self.n_hidden}", f"gate={self.gate!r}"]
        parts += [] if self.alpha is None else [f"alpha={self.alpha[0] if len(self.alpha) == 1 else list(self.alpha)}"]
        parts += [] if self.replicas is None else [f"replicas={self.replicas}"]
        return ", ".join(parts)

    def per_step(self, weight: Tensor, batch_axes: int) -> Tensor:
        """A weight shaped to broadcast against ``(T, *batch, ·, ·)``: replicas stay in front of the batch axes.

        Raises:
            ValueError: if there are fewer axes than replicas need, or the weight has not S of them.
            TypeError: for what is no tensor, or no whole number of axes.
        """
        arguments.dense("a weight", weight)
        least = 0 if self.replicas is None else 1
        arguments.whole("batch_axes", batch_axes, least)
        if self.replicas is None:
            return weight
        if weight.shape[:1] != (self.replicas,):
            raise ValueError(f"got a weight of shape {tuple(weight.shape)}, expected S = {self.replicas} in front")
        return weight.reshape(self.replicas, *(1,) * (batch_axes - 1), *weight.shape[1:])

    def _all_weights(self) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """All but the readout's, as :func:`gatelr.kernels.autograd.joined` takes them."""
        return self.W_r, self.W_rg, self.W_i, self.W_ig, self.b, self.b_g

    def _fixed_gate(self) -> Tensor | None:
        """α as a tensor of the weights' dtype; kept as numbers, it is exact in float64 whatever the model was."""
        values = (1.0,) if self.gate == "none" else self.alpha
        if values is None:
            return None
        return self.W_r.new_full((1,), *values) if len(values) == 1 else self.W_r.new_tensor(values)

    def _affine(self, x: Tensor, weight: Tensor, bias: Tensor | None = None, time: bool = False) -> Tensor:
        """``x @ weightᵀ + bias`` for ``(*batch, ·)``, or with time in front; each replica uses its own weight."""
        if self.replicas is None:
            return nn.functional.linear(x, weight, bias)
        rows = x.reshape(*x.shape[: 1 + time], -1, x.shape[-1])
        out = rows @ weight.mT
        if bias is not None:
            out = out + bias.unsqueeze(-2)
        return out.reshape(*x.shape[:-1], weight.shape[-2])

    def _checked(self, u: Tensor, x0: Tensor | None) -> tuple[Tensor, Tensor]:
        arguments.dense("inputs u", u)
        axes = "T, S, *batch, m" if self.replicas else "T, *batch, m"
        if u.ndim < 2 + (self.replicas is not None) or u.shape[-1] != self.n_inputs or 0 in u.shape:
            raise ValueError(
                f"got inputs u of shape {tuple(u.shape)}, expected ({axes}) with m = {self.n_inputs}, no axis empty: "
                "time comes first and features last"
            )
        if self.replicas is not None and u.shape[1] != self.replicas:
            raise ValueError(
                f"got inputs u of shape {tuple(u.shape)}, expected ({axes}) with S = {self.replicas}: give each "
                "replica its inputs, or share them with u.unsqueeze(1).expand(-1, S, ...)"
            )
        _fits("inputs u", u, self.W_r)
        if x0 is None:
            return u, u.new_zeros(*u.shape[1:-1], self.n_hidden)
        arguments.dense("initial state x0", x0)
        expected = (*u.shape[1:-1], self.n_hidden)
        if x0.shape != expected:
            raise ValueError(
                f"got initial state x0 of shape {tuple(x0.shape)}, expected {expected}, as u's batch axes and n say"
            )
        _fits("initial state x0", x0, self.W_r)
        return u, x0


def _checked_alpha(gate: str, alpha: float | Sequence[float] | Tensor | None, n: int) -> tuple[float, ...] | None:
    """α as plain numbers, one or n of them; None for the other gates."""
    if gate != "constant":
        if alpha is not None:
            raise ValueError(
                f"got alpha={alpha!r} with gate={gate!r}, expected none: only gate='constant' takes an alpha"
            )
        return None
    if alpha is None:
        raise ValueError("got no alpha with gate='constant', expected a number in (0, 1], or one for each neuron")
    wanted = "expected a number in (0, 1], or one for each neuron"
    try:
        dtype = str(getattr(alpha, "dtype", type(alpha)))
        values = torch.as_tensor(alpha, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError, NotImplementedError):
        raise TypeError(f"got {arguments.kind(alpha)} as alpha, {wanted}") from None
    if "bool" in dtype or "complex" in dtype:
        raise TypeError(f"got alpha={alpha!r}, {wanted}")
    if values.ndim > 1 or values.numel() not in (1, n):
        raise ValueError(
            f"got alpha of shape {tuple(values.shape)}, expected one number or one for each of {n} neurons"
        )
    flat = [float(v) for v in values.reshape(-1)]
    wrong = [v for v in flat if not 0 < v <= 1]  # NaN is wrong too
    if wrong:
        raise ValueError(
            f"got alpha = {wrong[0]}, expected numbers in (0, 1]: alpha is the fraction of the state rewritten per step"
        )
    return tuple(flat)


def check_backward(backward: str) -> None:
    """Refuse what is not among the backward passes of ``gatelr.kernels.sweep.BACKWARD``.

    Raises:
        ValueError: for anything else.
    """
    if not isinstance(backward, str) or backward not in sweep.BACKWARD:
        raise ValueError(
            f"got backward={backward!r}, expected one of {', '.join(map(repr, sweep.BACKWARD))}: "
            "say what the backward pass carries from step to step"
        )


def _fits(what: str, tensor: Tensor, like: Tensor) -> None:
    if tensor.dtype != like.dtype:
        raise ValueError(
            f"got {what} of {tensor.dtype}, expected {like.dtype} as the weights: convert it with .to({like.dtype}), "
            "or the model with .to(dtype)"
        )
    if tensor.device != like.device:
        raise ValueError(
            f"got {what} on {tensor.device}, expected {like.device} as the weights: move it with .to('{like.device}')"
        )
    if tensor.is_meta:
        raise ValueError(f"got {what} on meta, where a tensor has no numbers, expected another device")
    try:
        # One pass over the numbers: a sum shows NaN and infinity; only if it overflows must each be looked at.
        finite = math.isfinite(tensor.sum().item()) or bool(tensor.isfinite().all())
    except RuntimeError:  # inside torch.func.vmap no single value can be looked at
        return
    if not finite:
        raise ValueError(f"got NaN or infinity in {what}, expected finite numbers: look for them with torch.isfinite")
