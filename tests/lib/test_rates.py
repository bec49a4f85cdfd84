"""C8, C9, C12, C14 in numbers: retention, rates, the budget, the trace, the correction."""

import math
import re
from itertools import pairwise

import pytest
import sympy as sp
import torch
from gatelr import adjoint, expansion, jacobian, rates
from gatelr.cells import GATES, GatedRNN
from gatelr.experiments import agreement
from hypothesis import given
from hypothesis import strategies as st
from networks import Case, cases, relative


@given(cases, st.data())
def test_retention_and_effective_rates_by_definition(case: Case, data: st.DataObject) -> None:
    model, (u, x0) = case.model(), case.inputs()
    with torch.no_grad():
        run = model.run(u, x0)
    g = run.g.expand_as(run.x)
    lag = data.draw(st.integers(0, case.T))
    P = rates.retention(run, lag)
    assert P.shape == (case.T - lag + 1, *run.x.shape[1:])
    for i in range(case.T - lag + 1):
        assert torch.allclose(P[i], (1 - g[i : i + lag]).prod(0), rtol=1e-13, atol=1e-300)
    if lag < case.T:
        mu = rates.effective(run, 0.3, lag)
        assert mu.shape == (case.T - lag, *run.x.shape[1:])
        for i in range(case.T - lag):  # t = lag + 1 + i, k = i + 1: the gate of step k has index k - 1 = i
            expected = 0.3 * g[i] * (1 - g[i + 1 : i + 1 + lag]).prod(0)
            assert torch.allclose(mu[i], expected, rtol=1e-13, atol=1e-300)


@given(cases)
def test_the_budget_is_one(case: Case) -> None:
    """C9: the shares and what is left of the stick."""
    model, (u, x0) = case.model(), case.inputs()
    with torch.no_grad():
        run = model.run(u, x0)
    left = rates.retention(run, case.T)[0]
    assert (rates.shares(run).sum(0) + left - 1).abs().max() <= 1e-14
    for lag in range(case.T):
        assert torch.allclose(rates.effective(run, 1.0, lag)[-1], rates.shares(run)[case.T - 1 - lag], rtol=1e-13)


@given(cases)
def test_the_trace_is_its_own_sum_and_makes_the_order_0_gradient(case: Case) -> None:
    """C12: E_T = Σ_k diag(g_k P_{T,k}) φ'(a_k) x_{k-1}ᵀ, and δᵀE is the gradient with transport at order 0."""
    model, (u, x0) = case.model(), case.inputs()
    with torch.no_grad():
        run = model.run(u, x0)
        E = rates.eligibility(model, run)
        weights = rates.shares(run) * (1 - run.phi**2)
        expected = torch.einsum("t...q,t...p->...qp", weights, run.x_prev)
        assert relative(E, expected) <= 1e-12

        # the same gradient from the adjoint, in a network whose Jacobian is its leak
        delta = torch.randn(run.x.shape[1:], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        lam, total = delta, torch.zeros_like(E)
        for t in range(case.T - 1, -1, -1):
            total += (run.g[t] * (1 - run.phi[t] ** 2) * lam).unsqueeze(-1) * run.x_prev[t].unsqueeze(-2)
            lam = (1 - run.g[t]) * lam
        assert relative(delta.unsqueeze(-1) * E, total) <= 1e-12


def test_order_0_is_the_gradient_where_nothing_recurs() -> None:
    """C15: without recurrent weights the trace gives the whole gradient."""
    model = GatedRNN(2, 3, "multi", generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        model.W_r.zero_()
        assert model.W_rg is not None
        model.W_rg.zero_()
        run = model.run(torch.randn(7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
        delta = torch.zeros_like(run.x)
        delta[-1] = 1.0
        gradient = adjoint.gradients(model, run, delta)["W_r"]
        assert relative(rates.eligibility(model, run), gradient) <= 1e-14


@given(cases)
def test_gradients_from_the_adjoint_are_those_of_the_sweep(case: Case) -> None:
    """C7: the signal g ⊙ λ gives what the backward sweep sums, for every weight that there is."""
    model, (u, x0) = case.model(), case.inputs()
    with torch.no_grad():
        run = model.run(u, x0)
        delta = torch.randn(run.x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        ours = rates.gradients(model, run, run.g * adjoint.costates(model, run, delta)[1:])
    theirs = adjoint.gradients(model, run, delta)
    assert ours.keys() == theirs.keys()
    assert all(relative(ours[name], theirs[name]) <= 1e-12 for name in theirs)


@given(cases, st.data())
def test_the_corrected_rate_is_the_diagonal_of_the_first_order(case: Case, data: st.DataObject) -> None:
    model, (u, x0) = case.model(), case.inputs()
    lag = data.draw(st.integers(0, case.T))
    with torch.no_grad():
        terms = jacobian.terms(model, model.run(u, x0))
        ours = rates.corrected(terms, lag)
        A, B = expansion.split(terms, "leak")
        for i in range(case.T - lag + 1):
            if lag:
                M = expansion.orders(A[i : i + lag], B[i : i + lag], 1)
                # the first order's diagonal also holds no products of two off-diagonal entries: one factor B each
                assert relative(ours[i], (M[0] + M[1]).diagonal(dim1=-2, dim2=-1)) <= 1e-12
            else:
                assert torch.equal(ours[i], torch.ones_like(ours[i]))


def test_the_corrected_rate_by_brute_force() -> None:
    """C8: the diagonal of orders 0 and 1 is P (1 + Σ B_qq / (1 - g)), two neurons, lags up to four."""
    eps = sp.Symbol("epsilon")
    M, retained, correction = sp.eye(2), sp.eye(2), sp.zeros(2)
    for step in range(1, 5):
        leak = sp.diag(*sp.symbols(f"k{step}_:2"))
        B = sp.Matrix(2, 2, sp.symbols(f"B{step}_:2:2"))
        M, retained = (leak + eps * B) * M, leak * retained
        correction += leak.inv() * B
        rest = (M - retained * (sp.eye(2) + eps * correction)).diagonal()
        for part in (rest, rest.diff(eps)):
            assert part.subs(eps, 0).expand().is_zero_matrix


def test_shares_written_out() -> None:
    """C8, C9 for six steps, with nothing inducted: the order-0 step, the constant gate's rate, the budget."""
    T = 6
    g, delta, w = (sp.symbols(f"{name}_1:{T + 1}") for name in ("g", "delta", "w"))
    alpha = sp.Symbol("alpha")

    def share(t: int, k: int) -> sp.Expr:
        return g[k - 1] * sp.prod(1 - g[j - 1] for j in range(k + 1, t + 1))

    by_adjoint, adjoint_k = sp.Integer(0), sp.Integer(0)
    for k in range(T, 0, -1):  # λ by the leaks alone
        adjoint_k += delta[k - 1]
        by_adjoint += g[k - 1] * adjoint_k * w[k - 1]
        adjoint_k *= 1 - g[k - 1]
    by_rates = sum(share(t, k) * delta[t - 1] * w[k - 1] for t in range(1, T + 1) for k in range(1, t + 1))
    assert sp.expand(by_adjoint - by_rates) == 0
    for t in range(1, T + 1):
        assert sp.expand(sum(share(t, k) for k in range(1, t + 1)) + sp.prod(1 - x for x in g[:t]) - 1) == 0
        for k in range(1, t + 1):
            assert share(t, k).subs(dict.fromkeys(g, alpha)) == alpha * (1 - alpha) ** (t - k)
    taught = sum(share(t, 1) for t in range(1, T + 1))  # over t there is no budget
    assert taught.subs({g[0]: 1} | dict.fromkeys(g[1:], 0)) == T


def test_the_preconditioner_scales_rows() -> None:
    """C8: vec(diag(μ) V) = (diag(μ) ⊗ I) vec(V), rows stacked as torch flattens them."""
    mu, V = sp.symbols("mu:3"), sp.Matrix(3, 3, sp.symbols("v:3:3"))
    kronecker = sp.kronecker_product(sp.diag(*mu), sp.eye(3))
    assert list(kronecker * sp.Matrix(list(V))) == list(sp.diag(*mu) * V)
    assert kronecker.is_diagonal()


@pytest.mark.parametrize("gate", GATES)
def test_the_step_is_that_of_a_network_that_sees_only_its_leak(gate: str) -> None:
    """C8, and it is not the true gradient."""
    model, u, y = agreement.random_case(gate, 5, 2, 9, batch=(4,))
    assert torch.equal(agreement.leak_only(model, u), model.run(u).x)
    (seen,) = torch.autograd.grad(((agreement.leak_only(model, u) - y) ** 2).sum() / 2, [model.W_r])
    with torch.no_grad():
        run = model.run(u)
        step = rates.step(run, run.x - y, 0.25)
    assert agreement.discrepancy(step.sum(0), -0.25 * seen) <= 1e-12
    assert agreement.discrepancy(seen, agreement.gradients(model, u, y)["W_r"]) > 1e-2


@given(cases, st.data())
def test_the_budget_at_every_step(case: Case, data: st.DataObject) -> None:
    """C9 at step t, from the rates themselves; the first half of the steps gets P_{T,T/2} (1 - P_{T/2,0})."""
    model, (u, x0) = case.model(), case.inputs()
    with torch.no_grad():
        run = model.run(u, x0)
    t = data.draw(st.integers(1, case.T))
    given_out = sum(rates.effective(run, 1.0, t - k)[k - 1] for k in range(1, t + 1))
    assert (given_out + rates.retention(run, t)[0] - 1).abs().max() <= 1e-12
    half = case.T // 2
    older = rates.shares(run)[:half].sum(0)
    later = rates.retention(run, case.T - half)[-1]
    assert (older - later * (1 - rates.retention(run, half)[0])).abs().max() <= 1e-12


def test_no_constant_gate_beats_the_envelope() -> None:
    """C10 in numbers: ℓ^ℓ / (ℓ+1)^(ℓ+1) is the most that a constant gate gives to lag ℓ."""
    alpha = torch.linspace(0.001, 1, 1000, dtype=torch.float64)
    model = GatedRNN(1, 1000, "constant", alpha=alpha, dtype=torch.float64)
    with torch.no_grad():
        run = model.run(torch.zeros(49, 1, dtype=torch.float64))
    for lag in (1, 4, 16, 48):
        best = lag**lag / (lag + 1) ** (lag + 1)
        assert float(rates.effective(run, 1.0, lag).max()) <= best * (1 + 1e-12)


def test_condition_number_of_constant_gates() -> None:
    """C14: ((1-α_min)/(1-α_max))^lag; one for a scalar gate; infinite once a neuron keeps nothing."""
    alphas = [0.05, 0.2, 0.4, 0.6, 0.75]
    noise = torch.randn(40, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        run = GatedRNN(2, 5, "constant", alpha=alphas, dtype=torch.float64).run(noise)
        scalar = GatedRNN(2, 5, "scalar", dtype=torch.float64).run(noise)
    for lag in range(41):
        expected = ((1 - 0.05) / (1 - 0.75)) ** lag
        assert (rates.condition(run, lag) / expected - 1).abs().max() <= 1e-12
        assert torch.equal(rates.condition(scalar, lag), torch.ones(41 - lag, dtype=torch.float64))
    shut = GatedRNN(1, 2, "constant", alpha=[1.0, 0.5], dtype=torch.float64).run(torch.zeros(2, 1, dtype=torch.float64))
    assert math.isinf(float(rates.condition(shut, 1)[0]))


@given(cases, st.data())
def test_preconditioner_condition_by_definition(case: Case, data: st.DataObject) -> None:
    """C14: the largest over the smallest of g_k ∏ (1 - g_j), written out, in the shape of the rates without neurons."""
    model, (u, x0) = case.model(), case.inputs()
    with torch.no_grad():
        run = model.run(u, x0)
    g, lag = run.g.expand_as(run.x), data.draw(st.integers(0, case.T - 1))
    kappa = rates.preconditioner_condition(run, lag)
    assert kappa.shape == (case.T - lag, *run.x.shape[1:-1])
    for k in range(case.T - lag):
        rate = g[k] * (1 - g[k + 1 : k + 1 + lag]).prod(0)
        expected = rate.max(-1).values / rate.min(-1).values
        finite = expected.isfinite()
        assert torch.allclose(kappa[k][finite], expected[finite], rtol=1e-12)
        assert torch.equal(kappa[k].isfinite(), finite)


def test_preconditioner_condition_of_constants_falls_to_the_crossing_and_then_grows() -> None:
    """C14: the 24 log-spaced constants; one at every lag for a shared gate; both numbers differ at every lag."""
    alphas = torch.logspace(-2, -0.05, 24, dtype=torch.float64)
    noise = torch.randn(12, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        run = GatedRNN(1, 24, "constant", alpha=alphas, dtype=torch.float64).run(noise)
        scalar = GatedRNN(1, 24, "scalar", dtype=torch.float64).run(noise)
    kappa = [float(rates.preconditioner_condition(run, lag)[-1]) for lag in range(12)]
    slow, fast = float(alphas[0]), float(alphas[-1])
    crossing = math.log(slow / fast) / math.log((1 - fast) / (1 - slow))
    assert 2 < crossing < 3
    assert [round(value) for value in kappa[:5]] == [89, 25, 15, 91, 655]
    falls = [after < before for before, after in pairwise(kappa)]
    assert falls == [lag + 1 <= crossing for lag in range(11)]
    assert all(kappa[lag] != float(rates.condition(run, lag)[-1]) for lag in range(12))
    for lag in range(12):
        assert torch.equal(rates.preconditioner_condition(scalar, lag), torch.ones(12 - lag, dtype=torch.float64))
    shut = GatedRNN(1, 2, "constant", alpha=[1.0, 0.5], dtype=torch.float64).run(noise)
    assert math.isinf(float(rates.preconditioner_condition(shut, 1)[0]))


@pytest.mark.parametrize("gate", GATES)
def test_the_signal_of_the_rates_makes_every_order_0_gradient(gate: str) -> None:
    """C8 for W_r, W_i, b, W_rg, W_ig and b_g: rates lag by lag, the closed sweep, and autograd through the leaks."""
    model, u, y = agreement.random_case(gate, 5, 2, 9, batch=(4,))
    weights = {name: weight for name, weight in model.named_parameters() if name not in ("W_o", "b_o")}
    loss = ((agreement.leak_only(model, u) - y) ** 2).sum() / 2
    by_autograd = torch.autograd.grad(loss, list(weights.values()))
    with torch.no_grad():
        run = model.run(u)
        delta = run.x - y
        by_rates = rates.gradients(model, run, rates.signal(run, delta))
        swept = adjoint.gradients(model, run, delta, backward="order 0")
    assert by_rates.keys() == swept.keys() == weights.keys()
    for name, reference in zip(weights, by_autograd, strict=True):
        assert relative(by_rates[name], reference) <= 1e-12
        assert relative(swept[name], reference) <= 1e-12


@pytest.mark.usefixtures("as_installed")
def test_bad_input_is_refused() -> None:
    case = Case("multi", n=3, m=2, T=4, batch=(), replicas=None, bias=False, seed=0)
    model, (u, x0) = case.model(), case.inputs()
    run = model.run(u, x0)
    other = Case("multi", n=2, m=2, T=4, batch=(), replicas=None, bias=False, seed=0).model()
    for call, sentence in (
        (lambda: rates.retention(run, -1), "got lag=-1, expected a lag from 0 to the 4 steps"),
        (lambda: rates.retention(run, 5), "got lag=5, expected"),
        (lambda: rates.effective(run, 0.1, 4), "got lag=4, expected a lag from 0 to 3"),
        (lambda: rates.effective(run, -0.1, 1), "got lr=-0.1, expected a learning rate of at least 0"),
        (lambda: rates.effective(run, math.nan, 1), "got lr=nan"),
        (lambda: rates.preconditioner_condition(run, 4), "got lag=4, expected a lag from 0 to 3"),
        (lambda: rates.signal(run, run.x[1:]), "got delta of shape (3, 3), expected (4, 3), one for each state"),
        (lambda: rates.step(run, run.x, -0.1), "got lr=-0.1, expected a learning rate of at least 0"),
        (lambda: rates.corrected(jacobian.terms(model, run), 5), "got lag=5, expected"),
        (lambda: rates.gradients(model, run, run.g[1:]), "got a signal of shape (3, 3), expected (4, 3)"),
        (lambda: rates.eligibility(other, run), "got a trajectory of states (4, 3), expected n = 2"),
    ):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            call()


def test_the_state_of_a_constant_gate_is_a_sum_with_powers_as_weights() -> None:
    """C1: x_T = (1 - g)^T x_0 + Σ_k g (1 - g)^{T-k} φ_k, wherever the candidates come from."""
    g, age = 0.3, torch.arange(79.0, -1, -1).double()
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        model = GatedRNN(3, 16, "constant", alpha=g, generator=generator).double()
        u = torch.randn(80, 3, generator=generator, dtype=torch.float64)
        x0 = torch.rand(16, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            run = model.run(u, x0)
        expected = (g * (1 - g) ** age) @ run.phi + (1 - g) ** 80 * x0
        assert (expected - run.x[-1]).norm() <= 1e-13 * run.x[-1].norm()


def test_no_constant_gate_is_above_the_envelope() -> None:
    """C10: g (1 - g)^ℓ < 1/(eℓ) at the gates and lags that the book draws."""
    gate = torch.logspace(math.log10(3e-4), math.log10(0.999), 120, dtype=torch.float64)
    lag = torch.logspace(0, 3, 100, dtype=torch.float64)[:, None]
    assert (gate * (1 - gate) ** lag * math.e * lag < 1).all()
