"""The compiled sweep against the plain one, in all sizes."""

from collections.abc import Iterator

import pytest
import torch
from gatelr import adjoint, training
from gatelr.cells import GATES, GatedRNN
from gatelr.kernels import compiled, plain, sweep, which
from hypothesis import given
from networks import Case, and_the_smallest, cases, relative
from torch import Tensor

TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}
#: Beside the random ones: whole vectors, one more and one less, batches of several slices, a width beyond a panel.
SIZES = [(16, 4, 32), (17, 1, 33), (15, 3, 31), (64, 4, 64), (65, 7, 97), (130, 2, 5)]


@pytest.fixture(autouse=True)
def a_compiler() -> None:
    assert which().startswith("compiled"), which()


@pytest.fixture
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def each(gradients: sweep.Gradients) -> list[Tensor]:
    """At the input, the initial state and all weights there are."""
    assert gradients.u is not None
    return [gradients.u, gradients.x0, *(part for part in gradients.W if part.numel())]


def arguments(gate: str, n: int, m: int, B: int, dtype: torch.dtype, bias: bool, S: int = 2) -> list[Tensor | None]:
    generator = torch.Generator().manual_seed(n + m + B)
    h = {"scalar": 1, "multi": n}.get(gate, 0)
    W = torch.randn(S, n + h, n + m + bias, generator=generator, dtype=torch.float64) / n**0.5
    u = torch.randn(9, S, B, m, generator=generator, dtype=torch.float64)
    x0 = torch.randn(S, B, n, generator=generator, dtype=torch.float64)
    alpha = torch.rand(n, generator=generator, dtype=torch.float64) if gate == "constant" else None
    return [None if v is None else v.to(dtype) for v in (u, x0, W, alpha)]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("gate", GATES)
def test_both_sweeps_agree(gate: str, size: tuple[int, int, int], bias: bool, dtype: torch.dtype) -> None:
    args = arguments(gate, *size, dtype, bias)
    ours, theirs = compiled.forward(*args), sweep.forward(*args)
    assert relative(ours.x.mT, theirs.x[:, :, : size[0]]) <= TOLERANCE[dtype]
    last = torch.randn(args[1].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    every = torch.randn(9, *last.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)
    for delta in (last, every):
        for backward in sweep.BACKWARD:
            mine = compiled.adjoint(ours, delta, input_gradient=True, backward=backward)
            other = sweep.adjoint(theirs, delta, input_gradient=True, backward=backward)
            for a, b in zip(each(mine), each(other), strict=True):
                assert relative(a, b) <= TOLERANCE[dtype], (backward, a.shape)


@given(cases)
@and_the_smallest
def test_run_and_readout_in_random_networks(case: Case) -> None:
    model, (u, x0) = case.model(), case.inputs()
    with torch.no_grad():
        ours = model.run(u, x0)
        with plain():
            theirs = model.run(u, x0)
    for name, a, b in zip(ours._fields, ours, theirs, strict=True):
        assert torch.equal(a, b) or relative(a, b) <= 1e-12, name  # equal: without a gate a_g is infinite


@pytest.mark.parametrize("gate", GATES)
def test_gradcheck_at_its_defaults(gate: str) -> None:
    generator = torch.Generator().manual_seed(3)
    alpha = 0.3 if gate == "constant" else None
    model = GatedRNN(3, 5, gate, alpha=alpha, bias=True, generator=generator, dtype=torch.float64)
    u = torch.randn(6, 4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    x0 = torch.randn(4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in model.named_parameters()]

    def readout(u: Tensor, x0: Tensor, *weights: Tensor) -> Tensor:
        return torch.func.functional_call(model, dict(zip(names, weights, strict=True)), (u, x0))

    assert torch.autograd.gradcheck(readout, (u, x0, *model.parameters()))


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("S", [1, 3])
def test_threads_change_no_bit(S: int) -> None:
    args = arguments("multi", 33, 4, 70, torch.float32, True, S)
    delta = torch.randn(args[1].shape, generator=torch.Generator().manual_seed(1))
    two = compiled.forward(*args), compiled.adjoint(compiled.forward(*args), delta, input_gradient=True)
    torch.set_num_threads(1)
    one = compiled.forward(*args), compiled.adjoint(compiled.forward(*args), delta, input_gradient=True)
    assert torch.equal(one[0].x, two[0].x)
    assert all(torch.equal(a, b) for a, b in zip(each(one[1]), each(two[1]), strict=True))


def test_a_replica_does_not_feel_its_neighbours() -> None:
    u, x0, W, _ = arguments("multi", 17, 3, 40, torch.float32, False, 5)
    delta = torch.randn(x0.shape, generator=torch.Generator().manual_seed(1))
    together = compiled.adjoint(compiled.forward(u, x0, W, None), delta).W
    for s in range(5):
        part = slice(s, s + 1)
        alone = compiled.adjoint(compiled.forward(u[:, part], x0[part], W[part], None), delta[part]).W
        assert all(torch.equal(a[0], b[s]) for a, b in zip(alone, together, strict=True))


def test_a_replica_that_overflows_is_left_to_the_plain_sweep_and_disturbs_nobody() -> None:
    u, x0, W, _ = arguments("multi", 12, 3, 8, torch.float32, False, 3)
    delta = torch.randn(x0.shape, generator=torch.Generator().manual_seed(1))
    healthy = compiled.adjoint(compiled.forward(u, x0, W, None), delta).W
    for spoilt in (torch.nan, torch.inf, 1e30):
        wrong = delta.clone()
        wrong[1] *= spoilt
        with_it = compiled.adjoint(compiled.forward(u, x0, W, None), wrong)
        assert all(torch.equal(a[::2], b[::2]) for a, b in zip(with_it.W, healthy, strict=True))
        expected = sweep.adjoint(sweep.forward(u, x0, W, None), wrong)
        assert all(torch.equal(a[1].isfinite(), b[1].isfinite()) for a, b in zip(with_it.W, expected.W, strict=True))
        weights = W.clone()
        weights[1, 0, 0] = spoilt
        states = compiled.forward(u, x0, weights, None).x[-1]
        assert torch.equal(states.isfinite(), sweep.forward(u, x0, weights, None).states[-1].mT.isfinite())


def test_a_workspace_filled_anew_is_refused() -> None:
    model, workspace = GatedRNN(2, 4, "multi", generator=torch.Generator().manual_seed(0)), sweep.Workspace()
    first = model(torch.ones(5, 3, 2), workspace=workspace)
    model(torch.zeros(5, 3, 2), workspace=workspace)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        first.sum().backward()


@pytest.mark.parametrize(("rows", "n"), [(1, 1), (95, 16), (97, 33), (300, 64)])
def test_tall_products(rows: int, n: int) -> None:
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.float64, 1e-15)):
        left, right = (torch.randn(2, k, n, generator=torch.Generator().manual_seed(k), dtype=dtype) for k in (rows, n))
        out = torch.full((2, rows + 1, n), torch.nan, dtype=dtype)
        compiled.tall_products(left, right, out[:, 1:])
        assert relative(out[:, 1:].double(), left.double() @ right.double()) <= tolerance
        assert out[:, 0].isnan().all()


def test_training_with_either_ends_in_the_same_network() -> None:
    from gatelr import tasks

    task, ends = tasks.get("adding", steps=12), []
    for without in (False, True):
        model = GatedRNN(
            task.n_inputs, 8, "multi", replicas=2, generator=training.generators([0, 1]), dtype=torch.float64
        )
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        data = training.generators([0, 1], offset=123)
        if without:
            with plain():
                training.train(model, task, optimiser, 20, data, progress=False)
        else:
            training.train(model, task, optimiser, 20, data, progress=False)
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert relative(*ends) <= 1e-11


@pytest.mark.parametrize("steps", [1, 9, 40])
def test_a_nan_that_comes_back_through_time_stays(steps: int) -> None:
    """What is flushed for being small is small: a comparison with NaN is false either way."""
    model = GatedRNN(2, 3, "none", generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        trajectory = model.run(torch.ones(steps, 4, 2))
    delta = torch.zeros(steps, 4, 3)
    delta[-1, 1, 0] = torch.nan
    costates = adjoint.costates(model, trajectory, delta)
    assert costates[:-1, 1].isnan().all()
    assert costates[:, [0, 2, 3]].isfinite().all()
