r"""Stability: how fast a small push grows or dies, per step, and where one random Jacobian begins to let it grow.

The Lyapunov exponents of :math:`M_{T,0} = J_T \cdots J_1` say it for the whole run; the eigenvalues of one J say it for
a state that stays where it is. Under a drive the two are different things (claim C17).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from gatelr import arguments, trajectories
from gatelr.cells import Trajectory


@torch.no_grad()
def lyapunov(
    J: Float[Tensor, "T *batch n n"], k: int | None = None, *, start: Float[Tensor, "... n c"] | None = None
) -> Float[Tensor, "*batch c"]:
    r"""Lyapunov exponents of a product of Jacobians, by QR (claim C17).

    .. math:: J_t Q_{t-1} = Q_t U_t, \qquad χ_i = \frac1T \sum_{t=1}^T \ln |(U_t)_{ii}|

    They are those of T steps. A constant J whose eigenvalues differ in size has them within O(1/T) of
    :math:`\ln |\text{eigenvalue}|`: the columns of Q need some steps to find the directions that grow most. To lessen
    that transient, leave out the first steps of a run, which also frees the states from where they began.

    All n columns are followed from the identity, even if fewer exponents are wanted: c columns of the identity may
    belong to neurons that never touch the fastest direction. A ``start`` with c columns is c/n of the work.

    Args:
        J: step Jacobians, oldest first.
        k: how many to return, the largest ones; all by default.
        start: the first block of columns, any with full rank; such as random ones, where c exponents of a large network
            are enough.

    Returns:
        ``(*batch, k)`` in nats a step, descending, without gradient. Their sum over all n is the mean of
        :math:`\ln |\det J_t|`. An exponent is −inf where a factor takes a direction away altogether: what is left of a
        column is no more than rounding.

    Raises:
        ValueError: for Jacobians that are not square or not finite, k outside 1 … c, or a start of another shape, or
            one whose columns depend on each other.
        TypeError: for Jacobians that are no tensor of float32 or float64, or a k that is no whole number.

    Example:
        >>> import torch
        >>> from gatelr import stability
        >>> J = torch.diag(torch.tensor([0.5, 2.0, 1.0])).expand(50, 3, 3)
        >>> stability.lyapunov(J)  # ln 2, 0, -ln 2
        tensor([ 0.6931,  0.0000, -0.6931])
    """
    arguments.jacobians("Jacobians", J)
    arguments.finite("the Jacobians", J, "look at the trajectory first")
    n = J.shape[-1]
    rounding = n * torch.finfo(J.dtype).eps
    Q = torch.eye(n, dtype=J.dtype, device=J.device) if start is None else _orthonormal(start, J, rounding)
    columns = Q.shape[-1]
    if k is not None and not 1 <= (k := arguments.whole("k", k)) <= columns:
        raise ValueError(f"got k={k}, expected 1 to the {columns} exponents that are followed")
    return follow(J, Q)[1].mean(0).sort(-1, descending=True).values[..., :k]


@torch.no_grad()
def follow(
    J: Float[Tensor, "T *batch n n"], frame: Float[Tensor, "... n c"]
) -> tuple[Float[Tensor, "... n c"], Float[Tensor, "T *batch c"]]:
    r"""Carry a frame through some steps: where it ends, and how much each step stretches each of its directions.

    Args:
        J: step Jacobians, oldest first.
        frame: orthonormal columns, one frame for all sequences or one for each.

    Returns:
        The frame after the last step, and :math:`\ln |(U_t)_{ii}|` of every step; −inf for what is mere rounding.

    Raises:
        ValueError: for Jacobians that are not square or not finite, or a frame of another shape or dtype, or whose
            columns are not orthonormal.
        TypeError: for what are no tensors of float32 or float64.
    """
    arguments.jacobians("Jacobians", J)
    arguments.finite("the Jacobians", J, "look at the trajectory first")
    _check_frame(frame, J)
    if frame.dtype != J.dtype or frame.device != J.device:
        raise ValueError(f"got a frame in {frame.dtype} on {frame.device}, expected {J.dtype} on {J.device} as J")
    if not ((frame.mT @ frame - torch.eye(frame.shape[-1]).to(frame)).abs() <= 1e-3).all():
        raise ValueError("got a frame whose columns are not orthonormal, expected such: take Q of torch.linalg.qr")
    rounding = J.shape[-1] * torch.finfo(J.dtype).eps
    logs = J.new_empty(len(J), *J.shape[1:-2], frame.shape[-1])
    for t, J_t in enumerate(J):
        pushed = J_t @ frame
        frame, R = torch.linalg.qr(pushed)
        stretch = R.diagonal(dim1=-2, dim2=-1).abs()
        lost = stretch <= rounding * pushed.norm(dim=-2)
        logs[t] = stretch.log().masked_fill(lost, -torch.inf)
    return frame, logs


def _orthonormal(start: Tensor, J: Tensor, rounding: float) -> Tensor:
    """An orthonormal basis of what the columns of a start span."""
    _check_frame(start, J)
    Q, R = torch.linalg.qr(start.to(J))
    if bool((R.diagonal(dim1=-2, dim2=-1).abs() <= rounding * R.norm(dim=-2)).any()):
        raise ValueError("got a start whose columns depend on each other, expected full rank: draw them at random")
    return Q


def _check_frame(start: Tensor, J: Tensor) -> None:
    """Refuse columns that the Jacobians cannot push."""
    arguments.tensor("a start", start)
    batch, n = J.shape[1:-2], J.shape[-1]
    if start.ndim < 2 or start.shape[-2] != n or not 1 <= start.shape[-1] <= n or start.shape[:-2] not in ((), batch):
        raise ValueError(f"got a start of shape {tuple(start.shape)}, expected {(*batch, n)} and 1 to {n} columns")
    arguments.finite("the start", start, "draw its columns at random")


@torch.no_grad()
def retention_exponents(trajectory: Trajectory) -> Float[Tensor, "*batch n"]:
    r"""The exponents of order 0, at which the leak alone forgets: :math:`\frac1T \sum_t \ln(1 - g^q_t)` (claim C17).

    Args:
        trajectory: what ``model.run`` returned.

    Returns:
        ``(*batch, n)``, in descending order; −inf without a gate.

    Raises:
        ValueError: if the members of the trajectory do not fit each other.
        TypeError: for what is no trajectory.

    Example:
        >>> import torch
        >>> from gatelr import stability
        >>> from gatelr.cells import GatedRNN
        >>> trajectory = GatedRNN(2, 4, "constant", alpha=0.1).run(torch.ones(10, 2))
        >>> stability.retention_exponents(trajectory)  # ln 0.9
        tensor([-0.1054, -0.1054, -0.1054, -0.1054])
    """
    trajectories.check(trajectory)
    kept = torch.log1p(-trajectory.g).mean(0)
    return kept.expand(trajectory.x.shape[1:]).sort(-1, descending=True).values


def rightmost(
    leak: Float[Tensor, "*batch n"], strength: Float[Tensor, "*batch n"], iterations: int = 200
) -> Float[Tensor, "*batch"]:
    r"""Where the eigenvalues of one J with independent Gaussian weights end on the right, for many neurons (claim C17).

    .. math:: \frac1n \sum_q \frac{s_q}{(z - l_q)^2} = 1, \qquad z > \max_q l_q

    Row q of :math:`J - \mathrm{diag}(l)` has independent entries of variance :math:`s_q/n`: for weights of gains γ and
    γ_g, :math:`l = 1 - g` and :math:`s = (γ g φ')^2 + (γ_g g (1-g) (φ-x))^2`.

    Args:
        leak: l.
        strength: s, not negative.
        iterations: halvings of the interval that holds z.

    Returns:
        z, ``(*batch,)``: the solution is unique, since the left side falls from infinity to 0. It is ``max(l)`` where
        all strengths vanish.

    Raises:
        ValueError: for two shapes or dtypes, no neurons, a strength that is negative, numbers that are not finite, or
            no iteration.
        TypeError: for what are no tensors of float32 or float64, or no whole number of iterations.

    Example:
        >>> import torch
        >>> from gatelr import stability
        >>> leak, gain = torch.full((50,), 0.9), 1.5  # α = 0.1 and φ' = 1
        >>> stability.rightmost(leak, (0.1 * gain * torch.ones(50)) ** 2)  # 1 - α + αγ
        tensor(1.0500)
    """
    arguments.tensor("the leak", leak)
    arguments.alike("the strength", strength, "the leak", leak)
    iterations = arguments.whole("iterations", iterations, 1)
    for what, values in (("the leak", leak), ("the strength", strength)):
        arguments.finite(what, values, "look at the run first")
    if leak.ndim < 1 or 0 in leak.shape or not (strength >= 0).all():
        raise ValueError(
            f"got a leak of shape {tuple(leak.shape)} and a least strength of "
            f"{float(strength.min()) if strength.numel() else None}, expected (*batch, n), no axis empty, and at least "
            "0: a strength is a variance"
        )
    low = leak.amax(-1)
    high = low + strength.mean(-1).sqrt()  # every z - l is at least z - max(l)
    for _ in range(iterations):
        middle = (low + high) / 2
        beyond = (strength / (middle.unsqueeze(-1) - leak).square()).nan_to_num(0.0).mean(-1) > 1
        low, high = torch.where(beyond, middle, low), torch.where(beyond, high, middle)
    return high


def outlier_condition(
    z: Tensor, rest: Float[Tensor, "n n"], column: Float[Tensor, " n"], row: Float[Tensor, " n"]
) -> Tensor:
    r"""What vanishes at the eigenvalues that a scalar gate adds to one J (claim C17).

    .. math:: 1 - w_{rg}^\top (z - Λ - R)^{-1} s, \qquad s = g (1-g) (φ - x), \qquad G = s\, w_{rg}^\top

    Args:
        z: where, any complex numbers but the eigenvalues of ``rest``.
        rest: Λ + R.
        column: s.
        row: w_rg.

    Returns:
        Complex, in the shape of z: 0 at each eigenvalue of ``rest + outer(column, row)`` that is not one of ``rest``.

    Raises:
        ValueError: for shapes, dtypes or devices that do not fit, or a z at which ``rest`` has an eigenvalue.
        TypeError: for what are no tensors of float32 or float64; z may be complex.

    Example:
        >>> import torch
        >>> from gatelr import stability
        >>> rest, s, w = torch.diag(torch.tensor([0.5, 0.2])), torch.ones(2), torch.ones(2)
        >>> z = torch.linalg.eigvals(rest + torch.outer(s, w))
        >>> bool(stability.outlier_condition(z, rest, s, w).abs().max() < 1e-5)
        True
    """
    arguments.tensor("z", z.real if isinstance(z, Tensor) and z.is_complex() else z)
    arguments.tensor("the rest", rest)
    if rest.ndim != 2 or rest.shape[0] != rest.shape[1] or 0 in rest.shape:
        raise ValueError(f"got a rest of shape {tuple(rest.shape)}, expected (n, n) with n of at least 1")
    for what, vector in (("the column", column), ("the row", row)):
        arguments.alike(what, vector, "a row of the rest", rest[0])
    if z.device != rest.device:
        raise ValueError(f"got z on {z.device}, expected {rest.device} as the rest: move it with .to('{rest.device}')")
    z = z.to(torch.promote_types(torch.promote_types(z.dtype, rest.dtype), torch.complex64))
    shifted = z[..., None, None] * torch.eye(len(rest), dtype=z.dtype, device=z.device) - rest
    # one column for each z: of a single column for a batch, solve might take rows for right sides
    right = column.to(z.dtype).expand(*z.shape, -1).unsqueeze(-1)
    solved, singular = torch.linalg.solve_ex(shifted, right)
    if bool(singular.any()):
        raise ValueError("got a z that is an eigenvalue of the rest, expected others: there is nothing to vanish there")
    return 1 - solved.squeeze(-1) @ row.to(z.dtype)
