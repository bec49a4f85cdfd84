"""Products of Jacobians, and their expansions."""

from __future__ import annotations

from typing import Any

import torch
from gatelr import expansion, transport
from gatelr.jacobian import Terms
from networks import Case
from torch import Tensor

from any_input import plain
from any_input.strange import (
    CHOICE,
    NUMBER,
    TENSOR,
    TERMS,
    WHOLE,
    WHOLES,
)
from any_input.subjects import Subject, against, close, matrices, optional, subject


@subject
def transport_windows(case: Case, place: int) -> Subject:
    eye = torch.eye(case.n, dtype=case.dtype)
    return Subject(
        lambda factors, lag, unit: transport.windows(factors, lag, torch.matmul, unit),
        {"factors": matrices(case), "lag": place % (case.T + 1), "unit": eye},
        # values and lags are judged at `products`: here it is the caller who says what a product is
        {
            "factors": [w for w in TENSOR if w.fate != "judged"],
            "lag": WHOLE,
            "unit": [w for w in TENSOR if w.fate != "judged"],
        },
        against(lambda factors, lag, unit: plain.products(factors, lag)),
        transport.windows,
    )


@subject
def transport_products(case: Case, place: int) -> Subject:
    return Subject(
        transport.products,
        {"J": matrices(case), "lag": place % (case.T + 1)},
        {"J": TENSOR, "lag": WHOLE},
        against(plain.products),
    )


@subject
def transport_lags(case: Case, place: int) -> Subject:
    def every(J: Tensor, longest: int | None) -> list[tuple[int, Tensor]]:
        last = len(J) if longest is None else longest
        if not 0 <= last <= len(J):
            raise ValueError
        return [(lag, plain.products(J, lag)) for lag in range(1, last + 1)]

    return Subject(
        lambda J, longest: list(transport.lags(J, longest)),
        {"J": matrices(case), "longest": place % (case.T + 1)},
        {"J": TENSOR, "longest": optional(WHOLE)},
        against(every),
        transport.lags,
    )


@subject
def transport_sensitivities(case: Case, place: int) -> Subject:
    return Subject(
        transport.sensitivities,
        {"J": matrices(case), "memory": 10**6},
        {"J": TENSOR, "memory": [w for w in optional(WHOLE) if w.what != "numpy's, short"]},
        lambda answer, given: close(answer.float(), plain.sensitivities(given["J"])),
    )


@subject
def transport_spectral_norm(case: Case, place: int) -> Subject:
    def norms(M: Tensor) -> Tensor:
        if M.ndim < 2 or M.shape[-1] != M.shape[-2] or 0 in M.shape:
            raise ValueError
        bad = ~M.isfinite().all(-1).all(-1)
        return torch.linalg.matrix_norm(M.nan_to_num(0, 0, 0), 2).masked_fill(bad, torch.inf)

    return Subject(
        transport.spectral_norm,
        {"M": matrices(case)},
        {"M": TENSOR},
        lambda answer, given: close(answer.float(), norms(given["M"])),
    )


@subject
def transport_spectra(case: Case, place: int) -> Subject:
    def every(J: Tensor, at: list[int], memory: int | None) -> dict[int, Tensor]:
        return {lag: torch.linalg.svdvals(plain.products(J, lag)) for lag in at}

    return Subject(
        transport.spectra,
        {"J": matrices(case), "at": [place % (case.T + 1)], "memory": 10**6},
        {"J": TENSOR, "at": WHOLES, "memory": [w for w in optional(WHOLE) if w.what != "numpy's, short"]},
        against(every),
    )


@subject
def expansion_split(case: Case, place: int) -> Subject:
    terms = Terms(*matrices(case, 3))
    parts = {"leak": lambda t: (t.leak, t.recurrent + t.gate), "gate": lambda t: (t.leak + t.recurrent, t.gate)}
    return Subject(
        expansion.split,
        {"terms": terms, "splitting": ("leak", "gate")[place % 2]},
        {"terms": TERMS, "splitting": CHOICE},
        against(lambda terms, splitting: parts[splitting](terms)),
    )


def factors(case: Case, place: int) -> dict[str, Any]:
    A, B = matrices(case, 2)
    return {"A": A, "B": B, "order": place % 3}


@subject
def expansion_orders(case: Case, place: int) -> Subject:
    strange = {"A": TENSOR, "B": TENSOR, "order": WHOLE}
    return Subject(expansion.orders, factors(case, place), strange, against(plain.orders))


@subject
def expansion_orders_at(case: Case, place: int) -> Subject:
    def every(A: Tensor, B: Tensor, order: int, at: list[int]) -> list[tuple[int, Tensor]]:
        A = torch.diag_embed(A) if A.shape == B.shape[:-1] else A
        if not at or not 1 <= min(at) <= max(at) <= len(B):
            raise ValueError
        return [(lag, plain.orders(A[:lag], B[:lag], order)) for lag in sorted(set(at))]

    return Subject(
        lambda A, B, order, at: list(expansion.orders_at(A, B, order, at)),
        factors(case, place) | {"at": [1 + place % case.T]},
        {"A": TENSOR, "B": TENSOR, "order": WHOLE, "at": WHOLES},
        against(every),
        expansion.orders_at,
    )


@subject
def expansion_remainder(case: Case, place: int) -> Subject:
    return Subject(
        expansion.remainder,
        factors(case, place) | {"eps": 0.3},
        {"A": TENSOR, "B": TENSOR, "order": WHOLE, "eps": NUMBER},
        against(plain.remainder),
    )


@subject
def expansion_remainder_bound(case: Case, place: int) -> Subject:
    def judge(bound: Tensor, given: dict[str, Any]) -> None:
        left = torch.linalg.matrix_norm(plain.remainder(**given), 2)
        assert (left <= bound * (1 + 1e-4) + 1e-12).all()

    return Subject(
        expansion.remainder_bound,
        factors(case, place) | {"eps": 0.3},
        {"A": TENSOR, "B": TENSOR, "order": WHOLE, "eps": NUMBER},
        judge,
    )
