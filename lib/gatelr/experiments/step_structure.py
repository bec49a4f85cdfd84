"""How steps differ over the coordinates of a matrix, and whether two sets of them are large in the same places."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats
from torch import Tensor


class Structure(NamedTuple):
    r"""How positive steps differ over the coordinates of a matrix.

    The shares of rows, columns and rest add to one, and are NaN for steps all alike.

    Attributes:
        spread: the standard deviation of their log10.
        even: the share of coordinates among which an even split would be as concentrated,
            :math:`(\sum s)^2 / (n^2 \sum s^2)`.
        rows: the share of the variance of log10 that lies between rows.
        columns: the share that lies between columns.
        rest: the share that neither explains.
    """

    spread: float
    even: float
    rows: float
    columns: float
    rest: float


def structure(steps: Float[Tensor, "n p"]) -> Structure:
    r"""Spread and concentration of steps over coordinates, and the part that one rate a row could supply.

    The two-way analysis of variance of :math:`\log_{10} s^{qp}`. Of a matrix without structure rows explain
    :math:`1/(n + 1)` for n columns and rows.

    Args:
        steps: positive numbers, rows the neurons that are written to.

    Raises:
        ValueError: for a number that is not positive and finite.
    """
    if not (steps.isfinite().all() and (steps > 0).all()):
        raise ValueError("got steps that are not positive and finite, expected multipliers: take their absolute value")
    log = steps.double().log10()
    even = float(steps.sum() ** 2 / steps.square().sum() / steps.numel())
    total = float(log.var(correction=0))
    if total <= 1e-24:
        return Structure(0.0, even, np.nan, np.nan, np.nan)
    rows, columns = (float(log.mean(axis).var(correction=0)) / total for axis in (1, 0))
    return Structure(total**0.5, even, rows, columns, 1 - rows - columns)


def between_rows(steps: Float[Tensor, "*S n p"]) -> float:
    """The share of the variance of log sizes that lies between rows, a mean over replicas; signs are left out."""
    return float(np.mean([structure(each.abs()).rows for each in steps.flatten(0, -3)]))


class Agreement(NamedTuple):
    """How two sets of steps agree.

    Attributes:
        rank: Spearman's correlation, whose mean over permutations is 0.
        cosine: of the two vectors.
        cosine_null: its mean over permutations.
    """

    rank: float
    cosine: float
    cosine_null: float


def agreement(a: Float[Tensor, "*n"], b: Float[Tensor, "*n"]) -> Agreement:
    r"""Whether steps are large in the same places; with the null of permuted places.

    Positive numbers always have a large cosine; that over random places is
    :math:`n \bar a \bar b / (\|a\| \|b\|)`, exactly.

    Args:
        a, b: steps for the same places.

    Returns:
        The correlation (NaN where one of the two is the same everywhere), the cosine and its null (NaN where one is
        zero everywhere).

    Raises:
        ValueError: if the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"got steps of shapes {tuple(a.shape)} and {tuple(b.shape)}, expected the same places")
    x, y = (v.detach().double().cpu().numpy().ravel() for v in (a, b))
    x, y = (v / (np.abs(v).max() or 1.0) for v in (x, y))  # squares of steps over long lags would underflow
    if not (x.any() and y.any()):
        return Agreement(np.nan, np.nan, np.nan)
    norms = np.linalg.norm(x) * np.linalg.norm(y)
    cosine, null = float(x @ y / norms), float(x.size * x.mean() * y.mean() / norms)
    if min(np.ptp(x), np.ptp(y)) <= 1e-12:
        return Agreement(np.nan, cosine, null)
    return Agreement(float(stats.spearmanr(x, y).statistic), cosine, null)
