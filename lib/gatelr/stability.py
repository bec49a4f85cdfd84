r"""Stability: how fast a small push grows or dies, per step, and where one random Jacobian begins to let it grow.

The Lyapunov exponents of :math:`M_{T,0} = J_T \cdots J_1` say it for the whole run; the eigenvalues of one J say it for
a state that stays where it is. Under a drive the two are different things (claim C17).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

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
        ValueError: for Jacobians that are not square or not finite, k outside 1 … c, or a start of another shape.
        TypeError: for Jacobians in another dtype than ``float32`` and ``float64``.

    Example:
        >>> import torch
        >>> from gatelr import stability
        >>> J = torch.diag(torch.tensor([0.5, 2.0, 1.0])).expand(50, 3, 3)
        >>> stability.lyapunov(J)  # ln 2, 0, -ln 2
        tensor([ 0.6931,  0.0000, -0.6931])
    """
    if J.ndim < 3 or J.shape[-1] != J.shape[-2] or 0 in J.shape:
        raise ValueError(
            f"got Jacobians of shape {tuple(J.shape)}, expected (T, *batch, n, n) with no axis empty: "
            "pass what jacobian.blocks returned"
        )
    if J.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"got Jacobians in {J.dtype}, expected float32 or float64: convert them with .double()")
    if not torch.stack(torch.aminmax(J)).isfinite().all():  # in one pass; a NaN is both
        raise ValueError("got NaN or infinity in the Jacobians, expected finite numbers: look at the trajectory first")
    batch, n = J.shape[1:-2], J.shape[-1]
    Q = torch.eye(n, dtype=J.dtype, device=J.device) if start is None else start
    columns = Q.shape[-1]
    if Q.shape[-2:] != (n, columns) or not 1 <= columns <= n or Q.ndim - 2 not in (0, len(batch)):
        raise ValueError(f"got a start of shape {tuple(Q.shape)}, expected {(*batch, n)} and 1 to {n} columns")
    if k is not None and not 1 <= k <= columns:
        raise ValueError(f"got k={k}, expected 1 to the {columns} exponents that are followed")
    if start is not None:
        Q = torch.linalg.qr(Q.to(J)).Q
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
        The frame after the last step, and :math:`\ln |(U_t)_{ii}|` of every step; −inf for what is no more than rounding.
    """
    rounding = J.shape[-1] * torch.finfo(J.dtype).eps
    logs = J.new_empty(len(J), *J.shape[1:-2], frame.shape[-1])
    for t, J_t in enumerate(J):
        pushed = J_t @ frame
        frame, R = torch.linalg.qr(pushed)
        stretch = R.diagonal(dim1=-2, dim2=-1).abs()
        lost = stretch <= rounding * pushed.norm(dim=-2)
        logs[t] = stretch.log().masked_fill(lost, -torch.inf)
    return frame, logs


@torch.no_grad()
def retention_exponents(trajectory: Trajectory) -> Float[Tensor, "*batch n"]:
    r"""The exponents of order 0, at which the leak alone forgets: :math:`\frac1T \sum_t \ln(1 - g^q_t)` (claim C17).

    Args:
        trajectory: what ``model.run`` returned.

    Returns:
        ``(*batch, n)``, in descending order; −inf without a gate.

    Example:
        >>> import torch
        >>> from gatelr import stability
        >>> from gatelr.cells import GatedRNN
        >>> trajectory = GatedRNN(2, 4, "constant", alpha=0.1).run(torch.ones(10, 2))
        >>> stability.retention_exponents(trajectory)  # ln 0.9
        tensor([-0.1054, -0.1054, -0.1054, -0.1054])
    """
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

    Example:
        >>> import torch
        >>> from gatelr import stability
        >>> leak, gain = torch.full((50,), 0.9), 1.5  # α = 0.1 and φ' = 1
        >>> stability.rightmost(leak, (0.1 * gain * torch.ones(50)) ** 2)  # 1 - α + αγ
        tensor(1.0500)
    """
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
        z: where, any complex numbers.
        rest: Λ + R.
        column: s.
        row: w_rg.

    Returns:
        Complex, in the shape of z: 0 at each eigenvalue of ``rest + outer(column, row)`` that is not one of ``rest``.

    Example:
        >>> import torch
        >>> from gatelr import stability
        >>> rest, s, w = torch.diag(torch.tensor([0.5, 0.2])), torch.ones(2), torch.ones(2)
        >>> z = torch.linalg.eigvals(rest + torch.outer(s, w))
        >>> bool(stability.outlier_condition(z, rest, s, w).abs().max() < 1e-5)
        True
    """
    shifted = z[..., None, None] * torch.eye(len(rest), dtype=z.dtype, device=z.device) - rest
    solved = torch.linalg.solve(shifted, column.to(z.dtype).unsqueeze(-1)).squeeze(-1)
    return 1 - solved @ row.to(z.dtype)
