"""The family, its record of a run, and what it says to bad input."""

import re

import pytest
import torch
from gatelr.cells import GATES, GatedRNN
from hypothesis import given
from networks import Case, and_the_smallest, cases, reference_step, relative


@and_the_smallest
@given(cases)
def test_run_follows_the_update_rule(case: Case) -> None:
    """Every member of the trajectory, step by step, against the notation page."""
    model, (u, x0) = case.model(), case.inputs()
    with torch.no_grad():
        run = model.run(u, x0)
        assert torch.equal(run.x_prev[0], x0)
        assert torch.equal(run.x_prev[1:], run.x[:-1])
        assert torch.allclose(run.phi, torch.tanh(run.a), rtol=1e-15, atol=0)
        assert torch.allclose(run.g, torch.sigmoid(run.a_g), rtol=1e-14, atol=0)
        assert torch.allclose(run.x, (1 - run.g) * run.x_prev + run.g * run.phi, rtol=1e-14, atol=1e-15)
        assert run.g.shape[-1] == (case.n if case.gate in ("multi", "constant") else 1)

        S = case.replicas or 1
        flat_u, flat_x = u.reshape(case.T, S, -1, case.m), run.x.reshape(case.T, S, -1, case.n)
        before = x0.reshape(S, -1, case.n)
        for t in range(case.T):
            for i in range(S):
                for j in range(before.shape[1]):
                    expected = reference_step(model, i if case.replicas else None, flat_u[t, i, j], before[i, j])
                    assert relative(flat_x[t, i, j], expected) <= 1e-13
            before = flat_x[t]


def test_a_replica_is_the_lone_model() -> None:
    """Same generator, same weights to the bit; same inputs, same states to rounding."""
    for gate in GATES:
        alpha = 0.3 if gate == "constant" else None
        generators = [torch.Generator().manual_seed(seed) for seed in (4, 5, 6)]
        together = GatedRNN(2, 5, gate, alpha=alpha, bias=True, replicas=3, generator=generators, dtype=torch.float64)
        u = torch.randn(7, 3, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        for i, seed in enumerate((4, 5, 6)):
            source = torch.Generator().manual_seed(seed)
            alone = GatedRNN(2, 5, gate, alpha=alpha, bias=True, generator=source, dtype=torch.float64)
            for name, parameter in alone.named_parameters():
                assert torch.equal(parameter, getattr(together, name)[i]), name
            with torch.no_grad():
                assert relative(together.run(u).x[:, i], alone.run(u[:, i]).x) <= 1e-14


def test_weights_are_drawn_as_linear_layers_draw_them() -> None:
    """The released code makes bias-free nn.Linear modules in this order; a seed must mean the same network here."""
    model = GatedRNN(4, 8, "multi", generator=torch.Generator().manual_seed(7))
    with torch.random.fork_rng():
        torch.manual_seed(7)
        for name, sizes in (("W_r", (8, 8)), ("W_i", (4, 8)), ("W_o", (8, 1)), ("W_rg", (8, 8)), ("W_ig", (4, 8))):
            assert torch.equal(torch.nn.Linear(*sizes, bias=False).weight, getattr(model, name)), name


def test_parameters_by_name_and_shape() -> None:
    shapes = {name: tuple(p.shape) for name, p in GatedRNN(3, 5, "scalar", n_outputs=2, bias=True).named_parameters()}
    assert shapes == {
        "W_r": (5, 5), "W_i": (5, 3), "W_o": (2, 5), "W_rg": (1, 5),
        "W_ig": (1, 3), "b": (5,), "b_o": (2,), "b_g": (1,),
    }  # fmt: skip
    assert set(dict(GatedRNN(3, 5, "constant", alpha=0.5).named_parameters())) == {"W_r", "W_i", "W_o"}
    assert all(p.shape[0] == 2 for p in GatedRNN(3, 5, "multi", bias=True, replicas=2).parameters())


def test_the_readout_is_the_last_state_read() -> None:
    model = GatedRNN(1, 4, "multi", bias=True, n_outputs=3, generator=torch.Generator().manual_seed(1))
    u = torch.randn(6, 2, 1, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(model(u), model.run(u).x[-1] @ model.W_o.T + model.b_o, atol=1e-6)


def test_alpha_is_exact_in_float64_after_conversion() -> None:
    model = GatedRNN(1, 2, "constant", alpha=0.8).double()
    assert float(model.run(torch.zeros(1, 1, dtype=torch.float64)).g) == 0.8


def test_float32_stays_float32_and_ungated_models_forget_at_once() -> None:
    run = GatedRNN(1, 3, "none").run(torch.zeros(2, 1), torch.ones(3))
    assert {member.dtype for member in run} == {torch.float32}
    assert torch.equal(run.x, run.phi)


def test_the_second_derivative_is_refused_not_wrong() -> None:
    model = GatedRNN(1, 3, "multi", dtype=torch.float64)
    u = torch.randn(4, 1, dtype=torch.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"closed form that cannot be differentiated: differentiate model.run\(u\)"):
        torch.autograd.grad(model(u).sum(), u, create_graph=True)
    (slope,) = torch.autograd.grad(model.run(u).x[-1].sum(), u, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), u)
    assert curvature.abs().max() > 0


def test_func_transforms_see_through_run() -> None:
    model = GatedRNN(2, 3, "multi", dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    u = torch.randn(5, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    one = torch.func.vmap(lambda v: model.run(v).x[-1], in_dims=1)(u)
    assert torch.allclose(one, model.run(u).x[-1], atol=1e-15)


SENTENCES = [
    ({"gate": "lstm"}, "got gate='lstm', expected one of 'none', 'constant', 'scalar', 'multi'"),
    ({"n_hidden": 0}, "got n_hidden=0, expected a whole number of at least 1"),
    ({"n_inputs": -1}, "got n_inputs=-1, expected"),
    ({"replicas": 0}, "got replicas=0, expected"),
    ({"gate": "constant"}, "got no alpha with gate='constant', expected a number in (0, 1]"),
    ({"gate": "constant", "alpha": 0.0}, "got alpha = 0.0, expected numbers in (0, 1]"),
    ({"gate": "constant", "alpha": 1.5}, "got alpha = 1.5, expected numbers in (0, 1]"),
    ({"gate": "constant", "alpha": float("nan")}, "got alpha = nan, expected numbers in (0, 1]"),
    ({"gate": "constant", "alpha": [0.5, 0.5]}, "got alpha of shape (2,), expected one number or one for each of 4"),
    ({"gate": "multi", "alpha": 0.5}, "only gate='constant' takes an alpha"),
    ({"replicas": 2, "generator": [torch.Generator()]}, "got 1 generators, expected 2"),
]


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize(("arguments", "sentence"), SENTENCES, ids=[s for _, s in SENTENCES])
def test_a_bad_network_is_refused(arguments: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        GatedRNN(**({"n_inputs": 3, "n_hidden": 4, "gate": "multi"} | arguments))


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize("method", ["run", "forward"])
def test_bad_inputs_are_refused(method: str) -> None:
    model = GatedRNN(3, 4, "multi")
    replicated = GatedRNN(3, 4, "multi", replicas=2)
    nan = torch.zeros(5, 2, 3)
    nan[1, 1, 1] = torch.nan
    refused = [
        (model, torch.zeros(5, 2, 2), None, "got inputs u of shape (5, 2, 2), expected (T, *batch, m) with m = 3"),
        (model, torch.zeros(3), None, "got inputs u of shape (3,), expected"),
        (model, torch.zeros(0, 2, 3), None, "no axis empty"),
        (
            model,
            torch.zeros(5, 2, 3, dtype=torch.float64),
            None,
            "got inputs u of torch.float64, expected torch.float32",
        ),
        (model, torch.zeros(5, 2, 3, dtype=torch.long), None, "got inputs u of torch.int64, expected torch.float32"),
        (model, torch.zeros(5, 2, 3, device="meta"), None, "got inputs u on meta, expected cpu"),
        (model, nan, None, "got NaN or infinity in inputs u"),
        (model, torch.zeros(5, 2, 3), torch.zeros(4), "got initial state x0 of shape (4,), expected (2, 4)"),
        (model, torch.zeros(5, 2, 3), torch.full((2, 4), torch.inf), "got NaN or infinity in initial state x0"),
        (
            replicated,
            torch.zeros(5, 3, 3),
            None,
            "got inputs u of shape (5, 3, 3), expected (T, S, *batch, m) with S = 2",
        ),
    ]
    for network, u, x0, sentence in refused:
        with pytest.raises(ValueError, match=re.escape(sentence)):
            getattr(network, method)(u, x0)


@and_the_smallest
@given(cases)
def test_a_run_is_the_same_with_and_without_gradients(case: Case) -> None:
    """Without them it is written in place, another path through the same formulas."""
    model, (u, x0) = case.model(), case.inputs()
    kept = u.clone(), x0.clone()
    with torch.no_grad():
        recorded = model.run(u, x0)
        mapped = torch.func.vmap(lambda v: model.run(v, x0))(u.unsqueeze(0))
    live = model.run(u, x0)
    assert live.x.requires_grad
    for name, ours, theirs, third in zip(live._fields, recorded, live, mapped, strict=True):
        assert ours.shape == theirs.shape, name
        assert torch.allclose(ours, theirs, rtol=1e-13, atol=1e-14), name
        assert torch.allclose(third[0], theirs, rtol=1e-13, atol=1e-14), name
    assert torch.equal(u, kept[0])
    assert torch.equal(x0, kept[1])


@pytest.mark.parametrize("gate", GATES)
def test_a_replica_alone_is_the_replica(gate: str) -> None:
    alpha = 0.3 if gate == "constant" else None
    options = {"alpha": alpha, "n_outputs": 2, "bias": True}
    draws = [torch.Generator().manual_seed(seed) for seed in (3, 5)]
    model = GatedRNN(4, 3, gate, replicas=2, generator=draws, **options)
    alone = GatedRNN(4, 3, gate, generator=torch.Generator().manual_seed(5), **options)
    found = model.replica(1)
    assert found.replicas is None
    for name, weight in alone.named_parameters():
        assert torch.equal(found.get_parameter(name), weight)
        assert not found.get_parameter(name).requires_grad


def test_a_lone_model_has_no_replica() -> None:
    with pytest.raises(ValueError, match="alone already"):
        GatedRNN(4, 3, "none").replica(0)


@pytest.mark.parametrize("gate", GATES)
def test_func_transforms_see_through_the_readout(gate: str) -> None:
    alpha = 0.3 if gate == "constant" else None
    model = GatedRNN(2, 3, gate, alpha=alpha, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    u = torch.randn(5, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert relative(torch.func.vmap(model, in_dims=1)(u), model(u)) <= 1e-14
    by_vmap = torch.func.vmap(torch.func.grad(lambda v: model(v).sum()), in_dims=1, out_dims=1)(u)
    (whole,) = torch.autograd.grad(model(v := u.clone().requires_grad_()).sum(), v)
    assert relative(by_vmap, whole) <= 1e-13
    slopes = torch.func.jacrev(model)(u[:, 0])
    assert relative(slopes[0], whole[:, 0]) <= 1e-13
    weights = dict(model.named_parameters())
    by_func = torch.func.grad(lambda w: torch.func.functional_call(model, w, (u,)).sum())(weights)
    model(u).sum().backward()
    for name, parameter in model.named_parameters():
        assert relative(by_func[name], parameter.grad) <= 1e-13, name
