"""Anisotropy and stability."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gatelr import alignment, anisotropy, stability
from gatelr.cells import Trajectory
from networks import Case
from torch import Tensor

from any_input import plain
from any_input.of_rates import along
from any_input.strange import (
    TENSOR,
    WHOLE,
    Strange,
)
from any_input.subjects import Subject, against, close, matrices, optional, plainly, subject


def spectrum(case: Case) -> Tensor:
    generator = torch.Generator().manual_seed(case.seed)
    values = torch.rand(*case.batch, case.n, generator=generator, dtype=case.dtype)
    return values.sort(-1, descending=True).values


def _measure(case: Case, place: int, function: Callable[..., Tensor], name: str, counted: bool) -> Subject:
    given: dict[str, Any] = {"s": spectrum(case)} | ({"r": 1 + place % case.n} if counted else {})
    strange = {"s": TENSOR, "r": WHOLE} if counted else {"s": TENSOR}
    return Subject(function, given, strange, against(lambda s, r=1: plain.measures(s, r)[name]))


@subject
def anisotropy_index(case: Case, place: int) -> Subject:
    return _measure(case, place, anisotropy.anisotropy_index, "index", True)


@subject
def anisotropy_energy(case: Case, place: int) -> Subject:
    return _measure(case, place, anisotropy.energy_concentration, "energy", True)


@subject
def anisotropy_participation(case: Case, place: int) -> Subject:
    return _measure(case, place, anisotropy.participation_ratio, "participation", False)


@subject
def anisotropy_rank(case: Case, place: int) -> Subject:
    return _measure(case, place, anisotropy.effective_rank, "rank", False)


@subject
def anisotropy_sample_matrix(case: Case, place: int) -> Subject:
    generator = torch.Generator().manual_seed(case.seed)
    W, b = (torch.randn(3, *shape, generator=generator, dtype=case.dtype) for shape in ((2, case.n), (case.n,)))
    kinds = [way for way in TENSOR if way.what not in ("a class", "an object", "a dictionary")]
    dictionaries = [
        *(Strange(f"W: {way.what}", way.fate, lambda v, i, way=way: v | {"W": way.make(v["W"], i)}) for way in kinds),
        Strange("a list", "refused", lambda v, i: list(v.values())),
        Strange("none", "judged", lambda v, i: {}),
        Strange("nothing at all", "refused", lambda v, i: None),
    ]

    def judge(G: Tensor, given: dict[str, Any]) -> None:
        axes, parts = given["batch_axes"], [plainly(v) for v in given["gradients"].values()]
        assert parts
        assert axes >= 1
        lead = parts[0].shape[:axes]
        assert all(part.shape[:axes] == lead and part.ndim > axes for part in parts)
        assert len({part.dtype for part in parts}) == 1
        rows = [np.concatenate([part[where].flatten().numpy() for part in parts]) for where in np.ndindex(*lead)]
        assert np.array_equal(G.detach().flatten().numpy(), np.concatenate(rows or [np.zeros(0)]), equal_nan=True)

    given = {"gradients": {"W": W, "b": b}, "batch_axes": 1}
    return Subject(anisotropy.sample_matrix, given, {"gradients": dictionaries, "batch_axes": WHOLE}, judge)


@subject
def anisotropy_update_spectrum(case: Case, place: int) -> Subject:
    generator = torch.Generator().manual_seed(case.seed)
    G = torch.randn(*case.batch, 2 + place % 3, case.n + 1, generator=generator, dtype=case.dtype)
    return Subject(
        anisotropy.update_spectrum,
        {"gradients": G},
        {"gradients": TENSOR},
        against(lambda gradients: plain.update_spectrum(gradients)),
    )


@subject
def alignment_overlaps(case: Case, place: int) -> Subject:
    generator = torch.Generator().manual_seed(case.seed)
    M = torch.randn(*case.batch, case.n, case.n, generator=generator, dtype=case.dtype)
    delta = torch.randn(2, *case.batch, case.n, generator=generator, dtype=case.dtype)

    def judge(answer: tuple[Tensor, ...], given: dict[str, Any]) -> None:
        expected, determined = plain.overlaps(**given)
        for ours, theirs, known in zip(answer, expected, determined, strict=True):
            assert ours.dtype == given["M"].dtype
            close(torch.where(known, ours.double(), 0.0), torch.where(known, theirs, 0.0), [given["M"]])

    strange = {"M": TENSOR, "delta": TENSOR, "r": WHOLE}
    return Subject(alignment.overlaps, {"M": M, "delta": delta, "r": 1 + place % case.n}, strange, judge)


@subject
def alignment_expected_right(case: Case, place: int) -> Subject:
    """All shares add to one, and two directions have a closed form."""

    def judge(answer: Tensor, given: dict[str, Any]) -> None:
        s, r = given["s"], given["r"]
        energy = plain.measures(s, r)["energy"]
        assert torch.equal(answer.isnan(), energy.isnan())
        good = ~answer.isnan()
        assert (answer[good] <= energy.to(answer)[good] + 1e-6).all()
        if r == s.shape[-1]:
            close(answer[good], torch.ones_like(answer[good]), [s])
        elif s.shape[-1] == 2:
            close(answer[good], (s[..., 0] / s.sum(-1))[good], [s])

    given = {"s": spectrum(case), "r": 1 + place % case.n}
    return Subject(alignment.expected_right, given, {"s": TENSOR, "r": WHOLE}, judge)


@subject
def stability_lyapunov(case: Case, place: int) -> Subject:
    generator = torch.Generator().manual_seed(case.seed + 1)
    start = torch.randn(case.n, 1 + place % case.n, generator=generator, dtype=case.dtype)

    def reference(J: Tensor, k: int | None, start: Tensor) -> Tensor:
        if (
            start.ndim < 2
            or start.shape[-2] != J.shape[-1]
            or bool((torch.linalg.matrix_rank(start) < start.shape[-1]).any())
        ):
            raise ValueError
        return plain.exponents(J, k, start)

    return Subject(
        stability.lyapunov,
        {"J": matrices(case), "k": 1, "start": start},
        {"J": TENSOR, "k": optional(WHOLE), "start": optional(TENSOR)},
        against(reference),
    )


@subject
def stability_follow(case: Case, place: int) -> Subject:
    generator = torch.Generator().manual_seed(case.seed + 1)
    start = torch.randn(case.n, 1 + place % case.n, generator=generator, dtype=torch.float64)
    frame = torch.linalg.qr(start).Q.to(case.dtype)

    def judge(answer: tuple[Tensor, Tensor], given: dict[str, Any]) -> None:
        J, frame = given.values()
        assert (frame.mT @ frame - torch.eye(frame.shape[-1]).to(frame)).abs().max() < 2e-3
        ends, logs = answer
        mean = logs.mean(0).sort(-1, descending=True).values
        close(mean, plain.exponents(J, None, frame), [J])
        assert ends.shape == (*J.shape[1:-2], *frame.shape[-2:])

    given = {"J": matrices(case), "frame": frame}
    return Subject(stability.follow, given, {"J": TENSOR, "frame": TENSOR}, judge)


@subject
def stability_retention_exponents(case: Case, place: int) -> Subject:
    def reference(trajectory: Trajectory) -> Tensor:
        kept = torch.log1p(-trajectory.g.detach().double()).expand(trajectory.x.shape)
        return torch.stack(list(kept)).mean(0).sort(-1, descending=True).values

    return along(case, place, stability.retention_exponents, reference)


@subject
def stability_rightmost(case: Case, place: int) -> Subject:
    generator = torch.Generator().manual_seed(case.seed)
    leak, strength = torch.rand(2, *case.batch, case.n, generator=generator, dtype=case.dtype)
    return Subject(
        stability.rightmost,
        {"leak": leak, "strength": strength, "iterations": 200},
        # with few halvings it is not yet there, as it says
        {"leak": TENSOR, "strength": TENSOR, "iterations": [w for w in WHOLE if w.fate != "judged"]},
        against(lambda leak, strength, iterations: plain.rightmost(leak, strength)),
    )


@subject
def stability_outlier(case: Case, place: int) -> Subject:
    generator = torch.Generator().manual_seed(case.seed)
    rest = matrices(case)[(0,) * (1 + len(case.batch))]
    s, w = torch.randn(2, case.n, generator=generator, dtype=case.dtype)
    z = torch.randn(2, generator=generator, dtype=case.dtype) + 1j * torch.randn(
        2, generator=generator, dtype=case.dtype
    )
    kinds = [way for way in TENSOR if way.what not in ("the other precision", "integers", "half precision", "bfloat16")]
    return Subject(
        stability.outlier_condition,
        {"z": z, "rest": rest, "column": s, "row": w},
        {"z": kinds, "rest": TENSOR, "column": TENSOR, "row": TENSOR},
        against(plain.outlier),
    )
