"""Arguments as nobody should give them, for the tests of any input.

A strange value comes with what must become of it: the same answer as for the plain value (``"same"``), an error that
the docstring names (``"refused"``), or either, if an answer is that of a plain reference (``"judged"``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from gatelr.cells import GATES, GatedRNN, Trajectory
from gatelr.jacobian import Terms
from hypothesis import strategies as st
from networks import Case
from torch import Tensor

Fate = Literal["same", "refused", "judged"]


class Strange(NamedTuple):
    """One way to spoil an argument.

    Attributes:
        what: in a word.
        fate: what must become of it.
        make: from the plain value, and a number that chooses where.
    """

    what: str
    fate: Fate
    make: Callable[[Any, int], Any]


def apart(x: Tensor) -> Tensor:
    """The same numbers, none beside the next in memory."""
    wide = torch.full((*x.shape, 3), 7, dtype=x.dtype)
    wide[..., 1] = x.detach()
    return wide[..., 1]


def turned(x: Tensor) -> Tensor:
    """The same numbers, axes stored in the opposite order."""
    axes = tuple(reversed(range(x.ndim)))
    return x.detach().permute(axes).contiguous().permute(axes)


def with_one(x: Tensor, where: int, value: float) -> Tensor:
    """The same but for one entry."""
    x = x.detach().clone()
    if x.numel():
        x.view(-1)[where % x.numel()] = value
    return x


def cut(x: Tensor, where: int, size: int) -> Tensor:
    """The first entries of one axis."""
    return x.detach().narrow(where % x.ndim, 0, min(size, x.shape[where % x.ndim])) if x.ndim else x


def _turned_grad(x: Tensor) -> Tensor:
    return x.detach().clone().requires_grad_() if x.is_floating_point() or x.is_complex() else x


#: What is given in place of anything at all, and is right nowhere.
NOTHINGS = [
    Strange("a word", "refused", lambda v, i: "three"),
    Strange("a dictionary", "refused", lambda v, i: {"a": 1}),
    Strange("an object", "refused", lambda v, i: object()),
    Strange("a class", "refused", lambda v, i: GatedRNN),
    Strange("a complex number", "refused", lambda v, i: 1j),
]
NONE = Strange("None", "refused", lambda v, i: None)

TENSOR = [
    *NOTHINGS,
    NONE,
    Strange("a list", "refused", lambda v, i: v.tolist()),
    Strange("a numpy array", "refused", lambda v, i: v.detach().numpy()),
    Strange("a number", "refused", lambda v, i: 0.5),
    Strange("a truth value", "refused", lambda v, i: True),
    Strange("integers", "refused", lambda v, i: v.detach().real.long()),
    Strange("truth values", "refused", lambda v, i: v.detach() != 0),
    Strange("half precision", "refused", lambda v, i: v.detach().real.half()),
    Strange("bfloat16", "refused", lambda v, i: v.detach().real.bfloat16()),
    Strange("on meta", "refused", lambda v, i: v.detach().to("meta")),
    Strange("sparse", "refused", lambda v, i: v.detach().to_sparse() if v.ndim else "sparse"),
    Strange("apart in memory", "same", lambda v, i: apart(v)),
    Strange("turned in memory", "same", lambda v, i: turned(v)),
    Strange("requires grad", "same", lambda v, i: _turned_grad(v)),
    Strange(
        "the other precision", "judged", lambda v, i: v.detach().float() if v.dtype == torch.double else v.double()
    ),
    Strange("one NaN", "judged", lambda v, i: with_one(v, i, torch.nan)),
    Strange("one infinity", "judged", lambda v, i: with_one(v, i, torch.inf)),
    Strange("one minus infinity", "judged", lambda v, i: with_one(v, i, -torch.inf)),
    Strange("one zero", "judged", lambda v, i: with_one(v, i, 0.0)),
    Strange("one negative", "judged", lambda v, i: with_one(v, i, -0.5)),
    Strange("all zero", "judged", lambda v, i: torch.zeros_like(v)),
    Strange("an empty axis", "judged", lambda v, i: cut(v, i, 0)),
    Strange("a shorter axis", "judged", lambda v, i: cut(v, i, 1)),
    Strange("one axis less", "judged", lambda v, i: v.detach()[0] if v.ndim and len(v) else v),
    Strange("one axis more", "judged", lambda v, i: v.detach().unsqueeze(i % (v.ndim + 1))),
    Strange("axes exchanged", "judged", lambda v, i: v.detach().transpose(0, i % v.ndim) if v.ndim else v),
    Strange("a scalar", "judged", lambda v, i: torch.tensor(0.5, dtype=v.dtype)),
]

WHOLE = [
    *NOTHINGS,
    NONE,
    Strange("True", "refused", lambda v, i: True),
    Strange("False", "refused", lambda v, i: False),
    Strange("numpy's True", "refused", lambda v, i: np.True_),
    Strange("torch's True", "refused", lambda v, i: torch.tensor(True)),
    Strange("the same as a float", "refused", lambda v, i: float(v)),
    Strange("a half more", "refused", lambda v, i: v + 0.5),
    Strange("numpy's float", "refused", lambda v, i: np.float64(v)),
    Strange("torch's float", "refused", lambda v, i: torch.tensor(float(v))),
    Strange("NaN", "refused", lambda v, i: float("nan")),
    Strange("a list of it", "refused", lambda v, i: [v, v]),
    Strange("two in a tensor", "refused", lambda v, i: torch.tensor([v, v])),
    Strange("numpy's", "same", lambda v, i: np.int64(v)),
    Strange("numpy's, short", "same", lambda v, i: np.int16(v)),
    Strange("torch's", "same", lambda v, i: torch.tensor(v)),
    Strange("one less", "judged", lambda v, i: v - 1),
    Strange("zero", "judged", lambda v, i: 0),
    Strange("one more", "judged", lambda v, i: v + 1),
    Strange("more", "judged", lambda v, i: v + 2 + i % 9),
    Strange("negative", "judged", lambda v, i: -1 - i % 5),
]

NUMBER = [
    *NOTHINGS,
    NONE,
    Strange("True", "refused", lambda v, i: True),
    Strange("NaN", "refused", lambda v, i: float("nan")),
    Strange("infinity", "refused", lambda v, i: float("inf")),
    Strange("a list of it", "refused", lambda v, i: [v]),
    Strange("two in a tensor", "refused", lambda v, i: torch.tensor([v, v])),
    Strange("numpy's", "same", lambda v, i: np.float64(v)),
    Strange("zero", "judged", lambda v, i: 0),
    Strange("negative", "judged", lambda v, i: -v),
    Strange("whole", "judged", lambda v, i: 2),
]

#: Words, where the right ones are few.
CHOICE = [
    *NOTHINGS,
    NONE,
    Strange("a number", "refused", lambda v, i: 1),
    Strange("a list of it", "refused", lambda v, i: [v]),
    Strange("a tensor", "refused", lambda v, i: torch.ones(2)),
    Strange("a numpy array", "refused", lambda v, i: np.ones(2)),
    Strange("in capitals", "refused", lambda v, i: v.upper()),
    Strange("empty", "refused", lambda v, i: ""),
]

TRUTH = [
    *NOTHINGS,
    NONE,
    Strange("a number", "refused", lambda v, i: 1),
    Strange("a tensor", "refused", lambda v, i: torch.ones(2)),
    Strange("the other", "judged", lambda v, i: not v),
]

GENERATOR = [
    *NOTHINGS,
    Strange("a seed", "refused", lambda v, i: 3),
    Strange("seeds", "refused", lambda v, i: [3, 4]),
    Strange("numpy's", "refused", lambda v, i: np.random.default_rng(0)),
    Strange("none in a list", "refused", lambda v, i: [None]),
    Strange("an empty list", "judged", lambda v, i: []),
]

DTYPE = [
    *NOTHINGS,
    Strange("in words", "refused", lambda v, i: "float32"),
    Strange("numpy's", "refused", lambda v, i: np.float32),
    Strange("integers", "refused", lambda v, i: torch.int64),
    Strange("half precision", "refused", lambda v, i: torch.float16),
    Strange("complex", "refused", lambda v, i: torch.complex64),
    Strange("the other", "judged", lambda v, i: torch.float64 if v == torch.float32 else torch.float32),
]

DEVICE = [
    Strange("a word", "refused", lambda v, i: "three"),
    Strange("a list", "refused", lambda v, i: ["cpu"]),
    Strange("one that is not here", "refused", lambda v, i: "xpu:7"),
    Strange("torch's", "same", lambda v, i: torch.device("cpu")),
]

#: Several whole numbers.
WHOLES = [
    *(each for each in NOTHINGS if each.what != "a dictionary"),
    Strange("one number", "refused", lambda v, i: 1),
    Strange("None", "refused", lambda v, i: None),
    Strange("floats", "refused", lambda v, i: [float(each) for each in v] or [0.5]),
    Strange("a truth value", "refused", lambda v, i: [True]),
    Strange("words", "refused", lambda v, i: ["1"]),
    Strange("two axes", "refused", lambda v, i: np.ones((2, 2), dtype=int)),
    Strange("a tuple", "same", lambda v, i: tuple(v)),
    Strange("numpy's", "same", lambda v, i: np.array(v, dtype=np.int64)),
    Strange("torch's", "same", lambda v, i: torch.tensor(v, dtype=torch.int64)),
    Strange("a negative one", "judged", lambda v, i: [*v, -1]),
    Strange("one beyond", "judged", lambda v, i: [*v, 99]),
    Strange("none at all", "judged", lambda v, i: []),
]


def _member(trajectory: Trajectory, where: int, change: Callable[[Tensor], Tensor]) -> Trajectory:
    name = trajectory._fields[where % len(trajectory._fields)]
    return trajectory._replace(**{name: change(getattr(trajectory, name))})


def _all(trajectory: Trajectory, change: Callable[[Tensor], Tensor]) -> Trajectory:
    return Trajectory(*(change(member) for member in trajectory))


#: A trajectory, where no network is there to compare it with.
TRAJECTORY = [
    *NOTHINGS,
    NONE,
    Strange("a tuple", "refused", lambda v, i: tuple(v)),
    Strange("a list", "refused", lambda v, i: list(v)),
    Strange("a tensor", "refused", lambda v, i: v.x),
    Strange("terms", "refused", lambda v, i: Terms(v.x, v.x, v.x)),
    Strange("a member that is a list", "refused", lambda v, i: _member(v, i, lambda x: x.tolist())),
    Strange("a numpy array in it", "refused", lambda v, i: _member(v, i, lambda x: x.detach().numpy())),
    Strange("None in it", "refused", lambda v, i: _member(v, i, lambda x: None)),
    Strange("integers in it", "refused", lambda v, i: _member(v, i, lambda x: x.detach().nan_to_num(posinf=1).long())),
    Strange("one on meta", "refused", lambda v, i: _member(v, i, lambda x: x.detach().to("meta"))),
    Strange(
        "one in the other precision", "refused", lambda v, i: _member(v, i, lambda x: x.detach().half().double()[:0])
    ),
    Strange("one member longer", "refused", lambda v, i: _member(v, i, lambda x: torch.cat([x, x[:1]]).detach())),
    Strange("an axis more", "refused", lambda v, i: _member(v, i, lambda x: x.detach().unsqueeze(0))),
    Strange("one in float32", "refused", lambda v, i: _member(v, i, lambda x: _other(x))),
    Strange("no step", "refused", lambda v, i: _all(v, lambda x: x[:0].detach())),
    Strange("apart in memory", "same", lambda v, i: _all(v, apart)),
    Strange("turned in memory", "same", lambda v, i: _all(v, turned)),
    Strange("requires grad", "same", lambda v, i: _all(v, _turned_grad)),
    Strange("a NaN in a gate", "judged", lambda v, i: v._replace(g=with_one(v.g, i, torch.nan))),
    Strange("gates of 0", "judged", lambda v, i: v._replace(g=torch.zeros_like(v.g))),
    Strange("gates of 1", "judged", lambda v, i: v._replace(g=torch.ones_like(v.g))),
]


def _other(x: Tensor) -> Tensor:
    return x.detach().float() if x.dtype == torch.float64 else x.detach().double()


def _of_another(case: Case, which: int) -> Trajectory:
    """A trajectory of other weights, or of another gate, at the same sizes."""
    gate = GATES[which % len(GATES)]
    other = Case(gate, case.n, case.m, case.T, case.batch, case.replicas, case.bias, case.seed + 1, case.dtype)
    with torch.no_grad():
        return other.model().run(*case.inputs())


def of_the_model(case: Case) -> list[Strange]:
    """A trajectory that must be that of a model: all of the above, and those of others."""
    wider = Case(case.gate, case.n + 1, case.m, case.T, case.batch, case.replicas, case.bias, case.seed, case.dtype)
    others = [
        Strange("of a wider network", "refused", lambda v, i: wider.model().run(*wider.inputs())),
        Strange("of the other precision", "refused", lambda v, i: _all(v, _other)),
    ]
    if case.T > 1 or case.gate != "none":
        others.append(Strange("of another network", "refused", lambda v, i: _of_another(case, i)))
    return [*TRAJECTORY, *others]


MODEL = [
    *NOTHINGS,
    NONE,
    Strange("another module", "refused", lambda v, i: torch.nn.Linear(2, 2)),
    Strange("its weights", "refused", lambda v, i: v.state_dict()),
    Strange("a wider one", "refused", lambda v, i: GatedRNN(v.n_inputs, v.n_hidden + 1, "multi", dtype=v.W_r.dtype)),
]

#: The terms of the Jacobian.
TERMS = [
    *NOTHINGS,
    NONE,
    Strange("a tuple", "refused", lambda v, i: tuple(v)),
    Strange("one term longer", "refused", lambda v, i: v._replace(gate=torch.cat([v.gate, v.gate[:1]]))),
    Strange("one in the other precision", "refused", lambda v, i: v._replace(leak=_other(v.leak))),
    Strange("None in it", "refused", lambda v, i: v._replace(recurrent=None)),
    Strange("not square", "refused", lambda v, i: Terms(*(term[..., :0] for term in v))),
    Strange("apart in memory", "same", lambda v, i: Terms(*map(apart, v))),
    Strange("requires grad", "same", lambda v, i: Terms(*map(_turned_grad, v))),
    Strange("a NaN", "judged", lambda v, i: v._replace(gate=with_one(v.gate, i, torch.nan))),
]

places = st.integers(0, 10_000)
