# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# (ch-bptt)=
# # Backpropagation through time, and the effective learning rate
#
# Plain gradient descent has one learning rate $\mu$. Yet when it trains a gated network, a mistake made
# now moves the weights by very different amounts, depending on *when* the weight was used and on
# *which* neuron used it. This chapter works out by how much. First the exact gradient, in closed form
# and for every weight. Then its simplest part: if the gates alone carried errors back in time, each
# neuron and each lag would learn at a rate of its own, and the gates would be what sets it. This is
# the "effective learning rate" of {cite}`livi2025timescale`.
#
# Two facts about these rates can be proved in a few lines and are the heart of the chapter. They are
# shares of **one budget**, which gates can divide as they like but never enlarge. And they drift
# **apart exponentially** with the lag as soon as neurons have gates of their own. How much of the
# gradient this simple picture leaves out is not for algebra to say; it is measured at the end, on
# trained networks, and it is a lot.

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters"}
profile = "ci"
seeds = 3  # trained networks for each gate
device = "auto"
out = "../artifacts/draft/06-bptt-and-rates"
longest_proof = 6  # steps written out in proofs by brute force
n_hidden = 24  # neurons of the networks that read digits
training_steps = 300
probes = 12  # digits along which the trained networks are measured

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the imports"}
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sympy as sp
import torch
from gatelr import (
    adjoint,
    cells,
    expansion,
    jacobian,
    rates,
    symbolic,
    tasks,
    training,
    transport,
)
from gatelr.record import devices, figures, ledger
from gatelr.symbolic import m, n, q
from IPython.display import Markdown, Math, display
from torch import Tensor
from torch.nn.functional import cross_entropy

TITLE = "Backpropagation through time, and the effective learning rate"
parameters = {
    "profile": profile, "seeds": seeds, "device": device,
    "longest_proof": longest_proof, "n_hidden": n_hidden,
    "training_steps": training_steps, "probes": probes,
}  # fmt: skip
record = ledger.Ledger("06-bptt-and-rates", TITLE, out, parameters)
where = devices.resolve(device)

# %% [markdown]
# ## The gradient in closed form
#
# A loss $L$ reads the states $x_1, \dots, x_T$; $\delta_t = \partial L / \partial x_t$ is its **direct**
# gradient, later states held fixed. The **adjoint** $\lambda_k$ is the full gradient with respect to
# $x_k$, with everything that $x_k$ does later. Symbols are those of the {ref}`notation` page, and
# $J_k$ is the Jacobian of {prf:ref}`thm-jacobian`.
#
# :::{prf:theorem} Backpropagation through time
# :label: thm-bptt
#
# For every gate of the family and every number of neurons, the adjoint runs backwards,
#
# $$ \lambda_T = \delta_T, \qquad \lambda_{k-1} = J_k^\top \lambda_k + \delta_{k-1}, $$ (eq-adjoint)
#
# and with the two signals $c_k = g_k \odot \varphi'(a_k) \odot \lambda_k$ (at the candidate) and
# $c^g_k = (\varphi_k - x_{k-1}) \odot g_k \odot (1 - g_k) \odot \lambda_k$ (at the gate)
#
# $$
# \begin{aligned}
# \nabla_{W_r} L &= \sum_k c_k\, x_{k-1}^\top, & \nabla_{W_i} L &= \sum_k c_k\, u_k^\top, &
# \nabla_b L &= \sum_k c_k, \\
# \nabla_{W_{rg}} L &= \sum_k c^g_k\, x_{k-1}^\top, & \nabla_{W_{ig}} L &= \sum_k c^g_k\, u_k^\top, &
# \nabla_{b_g} L &= \sum_k c^g_k .
# \end{aligned}
# $$ (eq-gradients)
#
# For a scalar gate, $c^g_k$ is first summed over the neurons.
# :::
#
# The proof has two parts: what one step does to one weight, and how steps are chained.
#
# ### One step, every weight, every $n$
#
# As in {ref}`ch-jacobians` we write neuron $q$ of one update with its sums left as sums, and let SymPy
# differentiate, this time with respect to weights. Row $i$ of a weight touches only neuron $i$, so a
# Kronecker delta appears; the one row of a scalar gate touches every neuron, and there is none.

# %%
i, j = sp.Idx("i", n), sp.Idx("j", n)  # row and column of a recurrent weight
c = sp.Idx("c", m)  # column of an input weight
x, u = symbolic.x, symbolic.u


def collapsed(derivative: sp.Expr) -> sp.Expr:
    """Sums over a Kronecker delta done; the condition "j numbers a neuron" dropped."""
    return derivative.doit().replace(
        lambda e: isinstance(e, sp.Piecewise), lambda e: e.args[0].expr
    )


def claimed(gate: str) -> dict[sp.Expr, sp.Expr]:
    """The derivative of neuron q with respect to each weight, as the theorem has it."""
    g, phi = symbolic.gate(gate), sp.tanh(symbolic.preactivation())
    own = sp.KroneckerDelta(q, i)
    at_candidate = own * g * (1 - phi**2)
    at_gate = g * (1 - g) * (phi - x[q])
    weights = {
        symbolic.W_r[i, j]: at_candidate * x[j],
        symbolic.W_i[i, c]: at_candidate * u[c],
        symbolic.b[i]: at_candidate,
    }
    if gate == "multi":
        weights[symbolic.W_rg[i, j]] = own * at_gate * x[j]
        weights[symbolic.W_ig[i, c]] = own * at_gate * u[c]
        weights[symbolic.b_g[i]] = own * at_gate
    if gate == "scalar":
        weights[symbolic.w_rg[j]] = at_gate * x[j]
        weights[symbolic.w_ig[c]] = at_gate * u[c]
        weights[symbolic.b_g[0]] = at_gate
    return weights


for gate in cells.GATES:
    found = {w: collapsed(symbolic.update(gate).diff(w)) for w in claimed(gate)}
    record.check(
        f"one-step-{gate}",
        "C7",
        f"one step's derivatives by its {len(found)} weights, symbolic $n$, {gate}",
        all(sp.expand(found[w] - claim) == 0 for w, claim in claimed(gate).items()),
        kind="symbolic",
    )
for weight in (symbolic.W_r[i, j], symbolic.W_rg[i, j]):
    name = rf"\frac{{\partial x_t^q}}{{\partial {symbolic.latex(weight)}}}"
    entry = symbolic.abbreviate(claimed("multi")[weight], "multi")
    display(Math(f"{name} = {symbolic.latex(entry)}"))

# %% [markdown]
# The two lines are for the multi gate: the factors of $c_k$ and of $c^g_k$, each times the state that the
# weight read.
#
# ### Chaining the steps
#
# Let $s_k = \mathrm{d}x_k/\mathrm{d}\theta$ be all that a weight $\theta$ did to the state so far, and
# $f_k$ what it does in step $k$ alone. Forwards in time, $s_k = J_k s_{k-1} + f_k$ with $s_0 = 0$. The
# gradient is $\sum_t \delta_t^\top s_t$; the claim is that it equals $\sum_k \lambda_k^\top f_k$. The
# bridge is one line, in which matrices must not change places, so the symbols do not commute:
#
# $$
# \lambda_k^\top s_k - \lambda_{k-1}^\top s_{k-1} + \delta_{k-1}^\top s_{k-1} = \lambda_k^\top f_k .
# $$ (eq-telescope)
#
# Sum it over $k$: the $\lambda$ terms telescope to $\lambda_T^\top s_T = \delta_T^\top s_T$, and what is
# left on the left is the gradient. SymPy checks the line, and then, with nothing telescoped, the whole
# sum written out for up to six steps, together with $\lambda_k = \sum_{t \ge k} M_{t,k}^\top \delta_t$.

# %%
lam, J, s, f, delta = sp.symbols("lambda J s f delta", commutative=False)
new_s, old_lam = J * s + f, lam * J + delta  # rows: λᵀ and δᵀ
bridge = lam * new_s - old_lam * s + delta * s - lam * f
record.check(
    "telescope",
    "C7",
    r"$\lambda_k^\top s_k - \lambda_{k-1}^\top s_{k-1} + \delta_{k-1}^\top s_{k-1} "
    r"= \lambda_k^\top f_k$ for matrices",
    sp.expand(bridge) == 0,
    kind="symbolic",
)


def sequence(name: str, T: int) -> list[sp.Symbol]:
    return sp.symbols(f"{name}_1:{T + 1}", commutative=False)


def written_out(T: int) -> bool:
    """Gradient forwards and backwards over T steps, and λ as a sum over transports."""
    Js, fs, ds = (sequence(name, T) for name in ("J", "f", "delta"))
    s, forwards = sp.Integer(0), sp.Integer(0)
    for J_k, f_k, d_k in zip(Js, fs, ds, strict=True):
        s = J_k * s + f_k
        forwards += d_k * s
    lam, backwards, sums = sp.Integer(0), sp.Integer(0), True
    for k in range(T, 0, -1):
        lam = (lam * Js[k] if k < T else 0) + ds[k - 1]
        backwards += lam * fs[k - 1]
        transported = sum(
            ds[t - 1] * sp.prod(Js[l] for l in range(t - 1, k - 1, -1))
            for t in range(k, T + 1)
        )
        sums &= sp.expand(lam - transported) == 0
    return sums and sp.expand(forwards - backwards) == 0


record.check(
    "written-out",
    "C7",
    rf"the chained gradient, and $\lambda_k = \sum_t M_{{t,k}}^\top \delta_t$, "
    rf"written out for $T \le {longest_proof}$",
    all(written_out(T) for T in range(1, longest_proof + 1)),
    kind="symbolic",
)

# %% [markdown]
# ### Nothing hidden: the unrolled network
#
# Both parts used structure. This one does not: two neurons, every weight a symbol, the network unrolled
# as one nested expression, and `diff` let loose on it. ($\tanh$ enters by its rule alone, which
# {ref}`ch-jacobians` checked.) The result is a polynomial in the weights, the
# inputs and the values of $\tanh$ and $\sigma$; name those values, run {eq}`eq-adjoint` and
# {eq}`eq-gradients` on the names, and the difference must expand to zero. For three steps the
# polynomials are too long to expand, and are compared at one rational point instead, in exact
# arithmetic.


# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that unrolls the network in symbols"}
def matrix(name: str, rows: int, columns: int = 1) -> sp.Matrix:
    return sp.Matrix(rows, columns, lambda i, j: sp.Symbol(f"{name}_{i}{j}"))


class squash(sp.Function):
    """tanh, known only by its rule: SymPy's own asks each argument whether it is special."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return 1 - self**2


def times(*factors: sp.Matrix) -> sp.Matrix:
    """The product entry by entry."""
    product = factors[0]
    for factor in factors[1:]:
        product = product.multiply_elementwise(factor)
    return product


def unrolled(gate: str, T: int, size: int = 2):
    """Weights, the record of each step and the nested loss Σ_t δ_tᵀ x_t, for one input."""
    h = {"scalar": 1, "multi": size}.get(gate, 0)
    W = {"W_r": matrix("W_r", size, size), "W_i": matrix("W_i", size, 1)}
    W["b"] = matrix("b", size)
    if h:
        W |= {"W_rg": matrix("W_rg", h, size), "W_ig": matrix("W_ig", h, 1)}
        W["b_g"] = matrix("b_g", h)
    x, ones, steps, loss = matrix("x", size), sp.ones(size, 1), [], sp.Integer(0)
    for t in range(1, T + 1):
        u, delta = matrix(f"u{t}", 1), matrix(f"delta{t}", size)
        phi = (W["W_r"] * x + W["W_i"] * u + W["b"]).applyfunc(squash)
        if h:
            g = (W["W_rg"] * x + W["W_ig"] * u + W["b_g"]).applyfunc(symbolic.sigmoid)
            g = ones * g if h == 1 else g
        else:
            g = ones if gate == "none" else matrix("alpha", size)
        steps.append((x, u, phi, g, delta))
        x = times(ones - g, x) + times(g, phi)
        loss += (delta.T * x)[0]
    return W, steps, loss


def backwards(gate: str, W: dict, steps: list) -> dict[str, sp.Matrix]:
    """The theorem, transcribed."""
    size = W["W_r"].rows
    ones, lam = sp.ones(size, 1), sp.zeros(size, 1)
    found = {name: sp.zeros(*weight.shape) for name, weight in W.items()}
    for x, u, phi, g, delta in reversed(steps):
        lam = lam + delta
        signal = times(g, ones - times(phi, phi), lam)
        at_gate = times(g, ones - g, phi - x, lam)
        if gate == "scalar":
            at_gate = sp.Matrix([sum(at_gate)])
        lam = times(ones - g, lam) + W["W_r"].T * signal
        pairs = {"W_r": (signal, x), "W_i": (signal, u), "b": (signal, sp.ones(1, 1))}
        if "W_rg" in W:
            lam += W["W_rg"].T * at_gate
            pairs |= {"W_rg": (at_gate, x), "W_ig": (at_gate, u)}
            pairs["b_g"] = (at_gate, sp.ones(1, 1))
        for name, (left, right) in pairs.items():
            found[name] += left * right.T
    return found


# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that differentiates it by brute force"}
def brute_force(gate: str, T: int) -> tuple[int, bool]:
    """How many derivatives were compared, and whether all were what the theorem says."""
    W, steps, loss = unrolled(gate, T)
    names = {  # outermost first: xreplace works from the outside in
        value: sp.Symbol(f"{name}{t}_{k if gate != 'scalar' or name == 'phi' else 0}")
        for t, (_, _, phi, g, _) in enumerate(steps, 1)
        for name, values in (("phi", phi), ("g", g))
        for k, value in enumerate(values)
        if value.func in (squash, symbolic.sigmoid)
    }
    short = [tuple(part.xreplace(names) for part in step) for step in steps]
    claim, wrong, count = backwards(gate, W, short), 0, 0
    for name, weight in W.items():
        for entry in range(len(weight)):
            derivative = loss.diff(weight[entry]).xreplace(names)
            difference = derivative - claim[name][entry]
            if T < 3:
                wrong += sp.expand(difference) != 0
            else:
                symbols = sorted(difference.free_symbols, key=str)
                point = {
                    v: sp.Rational(7919 * k % 1013 - 506, 1013)
                    for k, v in enumerate(symbols, 1)
                }
                wrong += difference.xreplace(point) != 0
            count += 1
    return count, wrong == 0


for gate in cells.GATES:
    counts, agree = zip(*(brute_force(gate, T) for T in (1, 2, 3)), strict=True)
    record.check(
        f"unrolled-{gate}",
        "C7",
        f"all {sum(counts)} derivatives of the unrolled network, $T \\le 3$, {gate}",
        all(agree),
        kind="symbolic",
        note="expanded for T up to 2, at a rational point for T = 3",
    )

# %% [markdown]
# ### The library and autograd
#
# `adjoint.gradients` is the theorem in torch. Against it stands autograd {cite}`paszke2019pytorch`, which
# differentiates the run itself: every gate, one sequence, a batch, and replicas with their own
# weights; the loss $\frac12 \sum_t \lVert x_t - y_t \rVert^2$ reads every state. *Per sample* means
# the gradient of each sequence by itself, for which autograd needs a loop.

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that compares library and autograd, shape by shape"}
SHAPES = {"one": ((), None), "batch": ((4,), None), "replicas": ((4,), 3)}
T_random, n_random, m_random = 9, 5, 2


def drawn(gate: str, batch: tuple, replicas: int | None):
    """A random network with biases, inputs and targets for every state."""
    draw = torch.Generator().manual_seed(0)
    alpha = torch.linspace(0.1, 0.9, n_random) if gate == "constant" else None
    options = {"replicas": replicas, "dtype": torch.float64, "device": where}
    model = cells.GatedRNN(
        m_random, n_random, gate, alpha=alpha, bias=True, generator=draw, **options
    )
    lead = (T_random, *batch) if replicas is None else (T_random, replicas, *batch)
    u, y = (
        torch.randn(*lead, size, generator=draw, dtype=torch.float64).to(where)
        for size in (m_random, n_random)
    )
    return model, u, y


def by_autograd(model: cells.GatedRNN, u: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Gradients of the loss with respect to all weights that make states."""
    weights = {k: w for k, w in model.named_parameters() if k not in ("W_o", "b_o")}
    loss = ((model.run(u).x - y) ** 2).sum() / 2
    found = torch.autograd.grad(loss, list(weights.values()))
    return dict(zip(weights, found, strict=True))


def one_by_one(model: cells.GatedRNN, u: Tensor, y: Tensor) -> dict[str, Tensor]:
    """The same for each sequence by itself, in a loop over the batch."""
    alone = [by_autograd(model, u[..., k, :], y[..., k, :]) for k in range(u.shape[-2])]
    axis = 0 if model.replicas is None else 1
    return {name: torch.stack([g[name] for g in alone], axis) for name in alone[0]}


def discrepancy(found: Tensor, reference: Tensor) -> float:
    return float((found - reference).abs().max() / reference.abs().max())


rows, blind = [], {}
for gate in cells.GATES:
    for shape, (batch, replicas) in SHAPES.items():
        model, u_random, y = drawn(gate, batch, replicas)
        with torch.no_grad():
            run = model.run(u_random)
        for each in (False, True) if batch else (False,):
            twin = (one_by_one if each else by_autograd)(model, u_random, y)
            with torch.no_grad():
                ours = adjoint.gradients(model, run, run.x - y, per_sample=each)
            assert ours.keys() == twin.keys()
            rows += [
                (
                    gate,
                    shape,
                    "each" if each else "sum",
                    k,
                    discrepancy(ours[k], twin[k]),
                )
                for k in twin
            ]
    with torch.no_grad():
        dropped = adjoint.gradients(model, run, run.x - y, gate_sensitivity=0)
    total = by_autograd(model, u_random, y)
    blind[gate] = discrepancy(dropped["W_r"], total["W_r"])
gaps = pd.DataFrame(rows, columns=["gate", "shape", "samples", "weight", "gap"])

# %% tags=["hide-input"]
shown = gaps.pivot_table(
    index=["gate", "samples"], columns="weight", values="gap", aggfunc="max", sort=False
).reset_index()
shown = shown.map(
    lambda v: v if isinstance(v, str) else "–" if np.isnan(v) else f"{v:.1e}"
)
record.table(
    shown, "gradient-agreement",
    caption="Largest discrepancy between the library's gradient and autograd's, relative to the largest entry, over all "
    "shapes of batch: summed over sequences, and for each sequence by itself.",
)  # fmt: skip

# %%
worst = gaps.groupby("samples").gap.max()
for samples, words in (("sum", "summed over the batch"), ("each", "per sample")):
    record.check(
        f"autograd-{samples}",
        "C7",
        f"`adjoint.gradients` and autograd agree, every gate, weight and shape, {words}",
        float(worst[samples]),
        1e-10,
    )
record.number("gradient-gap", float(worst.max()), f"{worst.max():.1e}")
record.check(
    "autograd-notices",
    "C7",
    "autograd notices an adjoint without the gate term, and finds none where there is none",
    min(blind["scalar"], blind["multi"]) > 1e-3
    and max(blind["none"], blind["constant"]) < 1e-10,
)

# %% [markdown]
# ## What the gates do to a learning rate
#
# The adjoint sums over everything that can happen between $k$ and $t$: $J_{k+1}, \dots, J_t$, each with
# its leak, recurrent and gate term. Keep the leaks only. In the language of {ref}`ch-products` this is
# order 0 of the leak {term}`splitting`: $M_{t,k}$ becomes $\operatorname{diag}(P_{t,k})$, with the retention
# $P^q_{t,k} = \prod_{j=k+1}^{t} (1 - g^q_j)$.
#
# :::{prf:theorem} Effective learning rates
# :label: thm-effective-rates
#
# One step of gradient descent at rate $\mu$, with errors carried back by the leaks alone, is
#
# $$
# \Delta W_r = - \sum_t \sum_{k \le t} \operatorname{diag}(\mu_{t,k})\, D_k\, \delta_t\, x_{k-1}^\top,
# \qquad \mu^q_{t,k} = \mu\, g^q_k\, P^q_{t,k} .
# $$ (eq-effective)
#
# The factor in front is $\mu\,\alpha (1 - \alpha)^{\ell}$ for a constant gate, $\mu\, g_k \prod_{j>k} (1 - g_j)$
# for a scalar one, and one number per neuron and lag for a multi gate. On the weights written row by
# row it acts as $\operatorname{diag}(\mu_{t,k}) \otimes I$: a diagonal preconditioner, positive as long
# as gates are in $(0, 1)$, and set by the data.
# :::
#
# *Proof.* With $J = \Lambda$ neurons do not mix, so one neuron will do: $\lambda_{k-1} = (1 - g_k)
# \lambda_k + \delta_{k-1}$. If $\lambda_k = \sum_{t \ge k} P_{t,k} \delta_t$, then the same holds one step
# earlier, since $P_{t,k-1} = (1 - g_k) P_{t,k}$ and $P_{k-1,k-1} = 1$. Put it into $c_k$, sort by $t$, and
# $g_k P_{t,k}$ stands before $\varphi'(a_k)\, \delta_t$. SymPy takes the induction step for any $T$, and
# the whole sum, with nothing inducted, up to six steps.

# %%
gs, ds, Ps = (sp.IndexedBase(name) for name in ("g", "delta", "P"))
t, k, T_end = sp.symbols("t k T", integer=True, positive=True)
kept = 1 - gs[k]
earlier = sp.Sum(kept * Ps[t] * ds[t], (t, k, T_end))  # P_{t,k-1} = (1 - g_k) P_{t,k}
inductive = earlier - kept * sp.Sum(Ps[t] * ds[t], (t, k, T_end))
record.check(
    "order-0-induction",
    "C8",
    r"if $\lambda_k = \sum_t P_{t,k} \delta_t$, then "
    r"$(1 - g_k) \lambda_k = \sum_{t \ge k} P_{t,k-1} \delta_t$, any $T$",
    sp.simplify(sp.factor_terms(inductive)) == 0,
    kind="symbolic",
)


def P(t: int, k: int) -> sp.Expr:
    """The retention from step k to step t."""
    return sp.prod(1 - gs[step] for step in range(k + 1, t + 1))


def step_by_adjoint(T: int) -> sp.Expr:
    """Σ_k g_k λ_k w_k, where w_k stands for φ'(a_k) x_{k-1}, λ by the leaks alone."""
    w, lam, total = sp.IndexedBase("w"), sp.Integer(0), sp.Integer(0)
    for step in range(T, 0, -1):
        lam = (1 - gs[step + 1]) * lam + ds[step]
        total += gs[step] * lam * w[step]
    return total


def step_by_rates(T: int) -> sp.Expr:
    """Σ_t Σ_{k≤t} g_k P_{t,k} δ_t w_k."""
    w = sp.IndexedBase("w")
    pairs = ((t, k) for t in range(1, T + 1) for k in range(1, t + 1))
    return sum(gs[k] * P(t, k) * ds[t] * w[k] for t, k in pairs)


lengths = range(1, longest_proof + 1)
record.check(
    "order-0-step",
    "C8",
    rf"the order-0 step sums $g_k P_{{t,k}} \delta_t$, written out for $T \le {longest_proof}$",
    all(sp.expand(step_by_adjoint(T) - step_by_rates(T)) == 0 for T in lengths),
    kind="symbolic",
)
alpha, ell = sp.symbols("alpha ell", positive=True)
steps_alike = {gs[step]: alpha for step in range(2 * longest_proof)}
constant = [
    (gs[k] * P(k + lag, k)).subs(steps_alike) - alpha * (1 - alpha) ** lag
    for lag in range(longest_proof)
    for k in (1, 4)
]
record.check(
    "constant-rate",
    "C8",
    r"constant gate: $\mu_{t,k} = \mu \alpha (1-\alpha)^{\ell}$, "
    f"lags below {longest_proof}",
    all(sp.expand(e) == 0 for e in constant),
    kind="symbolic",
)

# %% [markdown]
# The preconditioner in matrices, for three neurons: rows of the raw step $V = D_k \delta_t x_{k-1}^\top$
# are scaled, and no entry is scaled differently from its row.

# %%
mu, V = matrix("mu", 3), matrix("v", 3, 3)
raw = sp.Matrix(9, 1, list(V))  # row by row, as torch flattens
scaled = sp.Matrix(9, 1, list(sp.diag(*mu) * V))
kronecker = sp.kronecker_product(sp.diag(*mu), sp.eye(3))
record.check(
    "preconditioner",
    "C8",
    r"$\mathrm{vec}(\mathrm{diag}(\mu) V) = (\mathrm{diag}(\mu) \otimes I)\, \mathrm{vec}(V)$, "
    "rows stacked",
    scaled == kronecker * raw and kronecker.is_diagonal(),
    kind="symbolic",
)

# %% [markdown]
# ### In numbers: a network that sees only its leak
#
# What would autograd say in a network whose $J$ *is* its leak? Detach the state wherever the candidate
# and the gate read it: the values stay the same, and the only road back in time is $(1 - g_t)\, x_{t-1}$.
# Its gradient must be the sum over all lags of `rates.effective` times the raw steps.


# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that differentiates a network that sees only its leak"}
def leak_only(model: cells.GatedRNN, u: Tensor) -> Tensor:
    """All states, with the state detached wherever candidate and gate read it."""
    x, states = u.new_zeros(*u.shape[1:-1], model.n_hidden), []
    for u_t in u:
        seen = x.detach()
        phi = torch.tanh(seen @ model.W_r.T + u_t @ model.W_i.T + model.b)
        if model.W_rg is None:
            g = model.run(u[:1]).g[0]  # the fixed one
        else:
            a_g = seen @ model.W_rg.T + u_t @ model.W_ig.T + model.b_g
            g = torch.sigmoid(a_g)
        x = (1 - g) * x + g * phi
        states.append(x)
    return torch.stack(states)


def order_0_step(run: cells.Trajectory, delta: Tensor, mu: float = 1.0) -> Tensor:
    """-Σ_t Σ_{k≤t} diag(μ_{t,k}) D_k δ_t x_{k-1}ᵀ for each sequence, lag by lag."""
    T, slope, step = len(run.x), 1 - run.phi**2, 0.0
    for lag in range(T):
        older = slice(0, T - lag)  # the steps k = t - lag
        rows = rates.effective(run, mu, lag) * slope[older] * delta[lag:]
        step = step - torch.einsum("t...q,t...p->...qp", rows, run.x_prev[older])
    return step


gap, unlike = {}, {}
for gate in cells.GATES:
    model, u_random, y = drawn(gate, (4,), None)
    loss = ((leak_only(model, u_random) - y) ** 2).sum() / 2
    (reference,) = torch.autograd.grad(loss, [model.W_r])
    with torch.no_grad():
        run = model.run(u_random)
        step = order_0_step(run, run.x - y, mu=0.25).sum(0)
    gap[gate] = discrepancy(step, -0.25 * reference)
    unlike[gate] = discrepancy(reference, by_autograd(model, u_random, y)["W_r"])
record.check(
    "order-0-numbers",
    "C8",
    "effective rates give the gradient of a network that sees only its leak, every gate",
    max(gap.values()),
    1e-12,
)
record.check(
    "order-0-is-not-all",
    "C8",
    "and that is not the true gradient: the two differ by more than a hundredth",
    min(unlike.values()) > 1e-2,
)

# %% [markdown]
# ### One order further
#
# The first correction of the leak splitting couples neurons: it is not diagonal any more, and no
# learning rate of a neuron can express it. Its diagonal can be kept, and gives a corrected rate.
#
# :::{prf:proposition} Corrected rate
# :label: prop-corrected
#
# The diagonal of orders 0 and 1 together is
#
# $$
# P^q_{t,k} \Big( 1 + \sum_{i=k+1}^{t} \frac{[R_i + G_i]_{qq}}{1 - g^q_i} \Big),
# $$ (eq-corrected)
#
# so that the learning rate of neuron $q$ over the lag, corrected to first order, is $\mu\, g^q_k$ times it.
# :::
#
# By brute force on two neurons, for lags up to four: multiply the factors, collect one power of
# $\varepsilon$, read off the diagonal. The library computes it on diagonals only; the second check
# compares with the diagonal of the full matrices of `expansion.orders`.

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that multiplies out and reads off the diagonal"}
eps = sp.Symbol("epsilon")


def corrected(lag: int) -> bool:
    """Whether orders 0 and 1 of the product have the claimed diagonal, two neurons."""
    product, change = sp.eye(2), [0, 0]
    keep = [1, 1]
    for step in range(1, lag + 1):
        leak = [1 - sp.Symbol(f"g{step}_{row}") for row in range(2)]
        B = matrix(f"B{step}", 2, 2)
        product = ((sp.diag(*leak) + eps * B) * product).applyfunc(sp.expand)
        product = product.applyfunc(lambda e: e.coeff(eps, 0) + eps * e.coeff(eps, 1))
        keep = [old * new for old, new in zip(keep, leak, strict=True)]
        change = [change[row] + B[row, row] / leak[row] for row in range(2)]
    claim = [keep[row] * (1 + eps * change[row]) for row in range(2)]
    return all(sp.cancel(product[row, row] - claim[row]) == 0 for row in range(2))


record.check(
    "corrected-diagonal",
    "C8",
    r"the diagonal of orders 0 and 1 is $P\,(1 + \sum_i [R_i + G_i]_{qq} / (1 - g_i))$, lags up to four",
    all(corrected(lag) for lag in range(1, 5)),
    kind="symbolic",
)
model, u_random, y = drawn("multi", (4,), None)
with torch.no_grad():
    run = model.run(u_random)
    terms = jacobian.terms(model, run)
    A, B = expansion.split(terms, "leak")
    gap = [
        discrepancy(
            rates.corrected(terms, lag)[-1],
            expansion.orders(A[-lag:], B[-lag:], 1).sum(0).diagonal(dim1=-2, dim2=-1),
        )
        for lag in range(1, T_random + 1)
    ]
record.check(
    "corrected-numbers",
    "C8",
    "`rates.corrected` is the diagonal of orders 0 and 1, every lag",
    max(gap),
    1e-12,
)

# %% [markdown]
# ## One budget
#
# At step $t$, how much learning rate is handed out to all steps before it? Add up $g_k P_{t,k}$.
#
# :::{prf:theorem} The budget
# :label: thm-budget
#
# For any gates, fixed or learned, and for every neuron,
#
# $$ \sum_{k=1}^{t} g_k\, P_{t,k} = 1 - P_{t,0} . $$ (eq-budget)
#
# With the part that still belongs to the initial state, the shares add to one: the gates divide one
# learning rate $\mu$ over lags, and never create any.
# :::
#
# *Proof.* Call the sum $S_t$. Since $P_{t,k} = (1 - g_t) P_{t-1,k}$, all old shares shrink by $1 - g_t$ and the
# new one is $g_t$: $S_t = (1 - g_t) S_{t-1} + g_t$. The right side, $1 - P_{t,0}$, obeys the same recursion,
# and both start at 0. It is a stick from which $g_t$ of the *whole rest* is broken off, newest step first.

# %%
g_t, old = sp.symbols("g_t P", positive=True)
shares_then = sp.Sum(gs[k] * Ps[k], (k, 1, t - 1))
shares_now = sp.Sum((1 - g_t) * gs[k] * Ps[k], (k, 1, t - 1)) + g_t
left_side = shares_now - ((1 - g_t) * shares_then + g_t)
right_side = (1 - (1 - g_t) * old) - ((1 - g_t) * (1 - old) + g_t)
record.check(
    "budget-induction",
    "C9",
    r"$S_t = (1 - g_t) S_{t-1} + g_t$, and $1 - P_{t,0}$ obeys the same recursion, any $t$",
    sp.simplify(sp.factor_terms(left_side)) == 0 and sp.expand(right_side) == 0,
    kind="symbolic",
)
totals = [
    sp.expand(sum(gs[k] * P(t, k) for k in range(1, t + 1)) - (1 - P(t, 0)))
    for t in lengths
]
record.check(
    "budget-written-out",
    "C9",
    rf"the shares add to $1 - P_{{t,0}}$, multiplied out for $t \le {longest_proof}$",
    totals == [0] * len(lengths),
    kind="symbolic",
)

# %% [markdown]
# Within the budget everything is possible. Name the shares you want, non-negative and adding to at most
# one; breaking the stick accordingly, $g_k = s_k \,/\, (1 - \sum_{j>k} s_j)$, gives gates in $[0, 1]$ that
# produce exactly them. For shares as symbols:

# %%
wanted = sp.symbols(f"s_1:{longest_proof + 1}", positive=True)
gates = {
    gs[k]: wanted[k - 1] / (1 - sum(wanted[k:])) for k in range(1, longest_proof + 1)
}
given = [
    sp.cancel((gs[k] * P(longest_proof, k)).subs(gates) - wanted[k - 1])
    for k in lengths
]
record.check(
    "budget-any-split",
    "C9",
    r"gates $g_k = s_k / (1 - \sum_{j>k} s_j)$ produce the shares $s_k$, "
    f"{longest_proof} of them",
    given == [0] * len(lengths),
    kind="symbolic",
)

# %% [markdown]
# ### One gate, one lag
#
# A constant gate has no such freedom: one number sets all shares. Of a state it keeps $(1-\alpha)^\ell$ over a lag;
# it gives the lag the rate $\mu\,\alpha(1-\alpha)^\ell$; and up to the lag it spends the share
# $1-(1-\alpha)^{\ell+1}$ of the budget. From a network, not from the formulas:

# %%
served, longest = 10, 50  # the lag to serve, and the longest one shown
own = torch.tensor([0.02, 1 / (served + 1), 0.4], dtype=torch.float64)
with torch.no_grad():
    silence = torch.zeros(longest + 1, 1, dtype=torch.float64)
    neurons = cells.GatedRNN(1, 3, "constant", alpha=own, dtype=torch.float64)
    steady = neurons.run(silence)
back = range(longest + 1)
memory = torch.stack([rates.retention(steady, lag)[-1] for lag in back])
rate = torch.stack([rates.effective(steady, 1.0, lag)[-1] for lag in back])
kept = (1 - own) ** torch.arange(longest + 2, dtype=torch.float64).unsqueeze(1)
record.check(
    "one-gate",
    "C9",
    r"constant gates: memory $(1-\alpha)^\ell$, rate $\mu\,\alpha(1-\alpha)^\ell$, and "
    rf"$1 - (1-\alpha)^{{\ell+1}}$ of the budget spent, lags up to {longest}",
    max(
        discrepancy(memory, kept[:-1]),
        discrepancy(rate, own * kept[:-1]),
        discrepancy(rate.cumsum(0), 1 - kept[1:]),
    ),
    1e-12,
)

# %% tags=["hide-input"]
lags = np.arange(longest + 1)
envelope = (lags / (lags + 1.0)) ** lags / (lags + 1)
looks = [("blue", "-.", "too slow"), ("vermilion", "-", "matched"), ("green", "--", "too fast")]  # fmt: skip
panels = {
    "Memory": (memory, r"$(1-\alpha)^\ell$"),
    "Effective rate": (rate, r"$\alpha(1-\alpha)^\ell$"),
    "Budget spent": (rate.cumsum(0), r"$1-(1-\alpha)^{\ell+1}$"),
}
with figures.style():
    fig, axes = plt.subplots(1, 3, figsize=(8.2, 3.0))
    for ax, (title, (values, formula)) in zip(axes, panels.items(), strict=True):
        ax.axvline(served, color=figures.INK, linewidth=0.9, linestyle=":")
        for value, (colour, line, name), constant in zip(
            values.T, looks, own, strict=True
        ):
            hue = figures.PALETTE[colour][0]
            label = rf"$\alpha = {float(constant):.2g}$, {name}"
            ax.plot(lags, value, line, color=hue, label=label)
            ax.plot(served, value[served], "o", color=hue)
        ax.set(
            title=f"{title}  {formula}", xlabel=r"lag $\ell$", xticks=range(0, 51, 10)
        )
    axes[1].plot(lags, envelope, color=figures.GRID, lw=6, zorder=1, label="envelope")
    axes[1].plot(lags, envelope, color=figures.MUTED, lw=0.8, zorder=1)
    axes[1].set(yscale="log", ylim=(1e-4, 1.3))
    axes[1].minorticks_off()
    handles, labels = axes[1].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=4)
figures.save(
    fig, "one-gate",
    pd.concat(
        pd.DataFrame({
            "gate": float(constant), "lag": lags, "memory": memory[:, place], "rate": rate[:, place],
            "envelope": envelope, "spent": rate.cumsum(0)[:, place],
        })
        for place, constant in enumerate(own)
    ),
    caption=r"What one constant gate gives to every lag. *Memory*: what is kept of a state. *Effective rate*, in units of $\mu$: it touches the "
    r"envelope, which no constant gate crosses, at the lag that it is matched to. *Budget spent*: the share given to all lags up to this one. "
    rf"The picture for print has three gates: too slow, matched and too fast for lag {served} (dotted).",
    alt="Three panels over lags up to fifty, with one curve for each of three gates and a dotted line at lag ten. Memory falls from one, slowly for the small gate and "
    "at once for the large one. The rates are straight lines on a logarithmic axis below a curved envelope; the middle gate's touches it at lag ten. The budget "
    "of the large gate is spent within a few steps; the small gate has spent a fifth of its own at lag ten.",
    chapter="06-bptt-and-rates", out=out,
)  # fmt: skip

# %% [markdown]
# Online, {numref}`fig-one-gate` has sliders. Find the gate that serves lag 10 best, and compare it with
# {prf:ref}`thm-matched`. Set the time constant to ten steps: how much does that miss by? Then match the gate to longer
# lags, one after the other, and watch what it leaves for those beyond: it tends to $1/e$ of the budget.

# %% [markdown]
# ## Neurons drift apart
#
# A preconditioner is judged by its condition number, here $\kappa(\ell) = \max_q P^q / \min_q P^q$: how much
# more of an error one neuron passes back over a lag than another.
#
# :::{prf:theorem} Anisotropy grows with the lag
# :label: thm-kappa
#
# With constant gates $\alpha_q$, one for each neuron,
#
# $$ \kappa(\ell) = \Big( \frac{1 - \alpha_{\min}}{1 - \alpha_{\max}} \Big)^{\ell} . $$ (eq-kappa)
#
# For one gate shared by all neurons, constant or learned, $\kappa = 1$ at every lag.
# :::
#
# *Proof.* $(1 - \alpha)^\ell$ falls with $\alpha$, so the largest retention belongs to the smallest
# $\alpha$. A shared gate gives every neuron the same $P$.

# %%
low, gap_ = sp.symbols("alpha_min d", positive=True)
room = sp.Symbol("r", positive=True)  # 1 - α, above 0
falls = sp.diff((1 - alpha) ** ell, alpha).subs(alpha, 1 - room)
ratio = (1 - low) ** ell / (1 - low - gap_) ** ell
power = ((1 - low) / (1 - low - gap_)) ** ell
samples = [(ratio - power).subs(ell, lag) for lag in range(longest_proof + 1)]
record.check(
    "kappa-constant",
    "C14",
    r"$(1-\alpha)^{\ell}$ falls with $\alpha$, so $\kappa$ of constants is "
    r"$((1 - \alpha_{\min})/(1 - \alpha_{\max}))^{\ell}$",
    bool(sp.simplify(falls).is_negative) and all(sp.cancel(e) == 0 for e in samples),
    kind="symbolic",
)

# %%
alphas = torch.tensor([0.05, 0.2, 0.4, 0.6, 0.75], dtype=torch.float64)
options = {"generator": torch.Generator().manual_seed(0), "dtype": torch.float64}
noise = torch.randn(40, 2, generator=options["generator"], dtype=torch.float64)
with torch.no_grad():
    per_neuron = cells.GatedRNN(2, 5, "constant", alpha=alphas, **options).run(noise)
    shared = cells.GatedRNN(2, 5, "scalar", **options).run(noise)
ratio = (1 - alphas.min()) / (1 - alphas.max())
gap = [
    float((rates.condition(per_neuron, lag) / ratio**lag - 1).abs().max())
    for lag in range(1, 41)
]
record.check(
    "kappa-numbers",
    "C14",
    r"`rates.condition` is that power for five constants, forty lags",
    max(gap),
    1e-12,
)
record.check(
    "kappa-scalar",
    "C14",
    r"scalar gate: $\kappa = 1$ at every lag, without rounding",
    max(float((rates.condition(shared, lag) - 1).abs().max()) for lag in range(41)),
)

# %% [markdown]
# ## On real sequences
#
# So far gates were symbols. Now they are learned: the digits of {ref}`ch-agreement`, read pixel by pixel by
# networks with a constant gate (one $\alpha$ per neuron, spread evenly on a logarithmic scale), a scalar and a
# multi gate. The training is short; it is there to have gates that respond to something, not to win. Replica $i$
# takes its weights from seed $i$, and `training.train` draws its digits from seed $123 + i$.

# %%
task = tasks.get("digits")
train, test = (
    tasks.digits(split=part, dtype=torch.float64, device=where)
    for part in ("train", "test")
)
STEPS, CLASSES = task.steps, task.n_outputs
LEARNED = ("constant", "scalar", "multi")


def learn(gate: str) -> cells.GatedRNN:
    alpha = torch.logspace(-2, -0.05, n_hidden) if gate == "constant" else None
    options = {"n_outputs": CLASSES, "bias": True, "replicas": seeds, "device": where}
    model = cells.GatedRNN(
        1,
        n_hidden,
        gate,
        alpha=alpha,
        generator=training.generators(range(seeds)),
        **options,
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-2)
    training.train(
        model,
        task,
        optimiser,
        training_steps,
        training.generators(range(seeds), 123),
        batch=48,
    )
    return model


def for_each_seed(u: Tensor) -> Tensor:
    """The same sequences for every replica: (T, B, m) -> (T, S, B, m)."""
    return u.unsqueeze(1).expand(-1, seeds, -1, -1)


models, runs, terms, scores = {}, {}, {}, {}
for gate in LEARNED:
    model = models[gate] = learn(gate).double()  # measured in double precision
    with torch.no_grad():
        answer = model(for_each_seed(test.u)).argmax(-1)
        scores[gate] = float((answer == test.target).double().mean())
        runs[gate] = model.run(for_each_seed(test.u[:, :probes]))
        terms[gate] = jacobian.terms(model, runs[gate])

# %% tags=["hide-input"]
for gate, score in scores.items():
    record.number(f"accuracy-{gate}", 100 * score, f"{100 * score:.0f}", "%")
commonest = train.target.bincount().argmax()
guess = float((test.target == commonest).double().mean())
record.number("accuracy-guess", 100 * guess, f"{100 * guess:.0f}", "%")
quoted = {name: entry["text"] for name, entry in record.numbers.items()}
Markdown(
    f"They name {quoted['accuracy-constant']} % (constant), {quoted['accuracy-scalar']} % (scalar) and "
    f"{quoted['accuracy-multi']} % (multi) of the digits that they did not train on, where always saying the commonest "
    f"one scores {quoted['accuracy-guess']} %. What follows is measured along {probes} such digits, for {seeds} networks each."
)

# %% [markdown]
# ### The rate of every lag and neuron
#
# {numref}`fig-rates-by-lag-and-neuron` shows $\mu_{T,k}/\mu$ at the end of one digit. A constant gate gives each
# neuron one exponential, whatever the digit. A scalar gate moves with the digit, and moves all neurons
# together. Only a multi gate does both.

# %% tags=["hide-input"]
seed, digit, floor = 0, 0, 1e-6
frames = []
with figures.style():
    fig, axes = plt.subplots(1, 3, figsize=(6.8, 3.0), sharey=True)
    for ax, gate in zip(axes, LEARNED, strict=True):
        g = runs[gate].g[:, seed, digit].cpu().expand(-1, n_hidden)
        order = g.mean(0).argsort()
        share = rates.shares(runs[gate])[:, seed, digit].cpu()[:, order]
        by_lag = share.flip(0).T  # (neuron, lag)
        mesh = ax.pcolormesh(
            np.arange(STEPS + 1) - 0.5, np.arange(n_hidden + 1) + 0.5,
            by_lag.clamp_min(floor), norm=mpl.colors.LogNorm(floor, 1), rasterized=True,
        )  # fmt: skip
        ax.grid(False)
        ax.set(title=gate, xlabel=r"lag $\ell = T - k$", xticks=[0, 16, 32, 48, 63])
        frames.append(
            pd.DataFrame(by_lag.numpy(), index=range(1, n_hidden + 1))
            .stack().rename("rate").rename_axis(["neuron", "lag"]).reset_index()
            .assign(gate=gate)
        )  # fmt: skip
    axes[0].set_ylabel("neuron, by mean gate")
    fig.colorbar(
        mesh, ax=axes, label=r"effective rate $\mu_{T,k}/\mu$", pad=0.01, extend="min"
    )
figures.save(
    fig, "rates-by-lag-and-neuron", pd.concat(frames)[["gate", "neuron", "lag", "rate"]],
    caption="Effective learning rate of every lag and neuron at the end of one handwritten digit, in trained networks. "
    "Neurons are sorted by their mean gate, slow ones at the bottom; the scale is logarithmic and cut below one millionth.",
    alt="Three heat maps of rate over lag and neuron. In the constant network every row is a smooth decay, slow at the bottom and "
    "fast at the top. In the scalar network all rows are the same, and dark beyond short lags. In the multi network the rows "
    "differ and are broken into stripes that follow the rows of the image; a few rows at the bottom stay bright over many lags.",
    chapter="06-bptt-and-rates", out=out,
)  # fmt: skip

# %% [markdown]
# ### The budget, divided
#
# {prf:ref}`thm-budget` says that each neuron's shares and what is left of its past add to one. On the trained
# networks, for every neuron of every gate:

# %%
total = {
    gate: rates.shares(run).sum(0) + rates.retention(run, STEPS)[0]
    for gate, run in runs.items()
}
record.check(
    "budget-numbers",
    "C9",
    "shares and rest add to one on digits: every gate, neuron, seed",
    max(float((sum_ - 1).abs().max()) for sum_ in total.values()),
    1e-12,
)
early = {  # the same at other steps than the last, from the rates themselves
    (gate, t): sum(rates.effective(run, 1.0, t - k)[k - 1] for k in range(1, t + 1))
    + rates.retention(run, t)[0]
    for gate, run in runs.items()
    for t in (1, 10, 33)
}
record.check(
    "budget-every-step",
    "C9",
    "and at earlier steps, added up from `rates.effective` lag by lag",
    max(float((sum_ - 1).abs().max()) for sum_ in early.values()),
    1e-12,
)

# %% tags=["hide-input"]
GROUPS = {"now": (0, 1), "1–3": (1, 4), "4–15": (4, 16), "16–63": (16, STEPS)}
picks = {
    "slowest": 0,
    "slow": n_hidden // 4,
    "middle": n_hidden // 2,
    "fastest": n_hidden - 1,
}
bars = []
for gate in ("scalar", "constant", "multi"):
    run = runs[gate]
    back = torch.arange(STEPS, -1, -1, dtype=torch.float64)  # the initial state last
    whole = torch.cat([rates.retention(run, STEPS), rates.shares(run)])[:, seed].cpu()
    order = torch.einsum("tbn,t->n", whole, back).argsort(descending=True)
    chosen = {"all neurons": 0} if gate == "scalar" else picks
    for label, place in chosen.items():
        neuron = int(order[place])
        share = rates.shares(run)[:, seed, :, neuron].flip(0).mean(1).cpu()
        parts = {name: float(share[a:b].sum()) for name, (a, b) in GROUPS.items()}
        left = rates.retention(run, STEPS)[0, seed, :, neuron].mean().cpu()
        parts["not given out"] = float(left)
        bars += [(gate, label, name, value) for name, value in parts.items()]
budget = pd.DataFrame(bars, columns=["gate", "neuron", "lags", "share"])
tints = mpl.colormaps[figures.SEQUENTIAL]([0.95, 0.65, 0.35, 0.05])
with figures.style():
    fig, ax = plt.subplots(figsize=(7.6, 3.9))
    y, ticks, names = 0.0, [], []
    for (gate, label), rows in budget.groupby(["gate", "neuron"], sort=False):
        if ticks and label in ("all neurons", "slowest"):
            y += 0.6
        start = 0.0
        for place, (name, share) in enumerate(zip(rows.lags, rows.share, strict=True)):
            rest = name == "not given out"
            ax.barh(
                y, share, 0.78, start, label=name if not ticks else None,
                color="none" if rest else tints[place], hatch="////" if rest else None,
                edgecolor=figures.MUTED if rest else "none", linewidth=0.6,
            )  # fmt: skip
            if share > 0.075 and not rest:
                ax.text(
                    start + share / 2, y, f"{share:.0%}", ha="center", va="center",
                    color="black" if place < 2 else "white", fontsize=8.5,
                )  # fmt: skip
            start += share
        ticks.append(y)
        names.append(f"{gate}, {label}")
        y += 1
    ax.set(
        yticks=ticks,
        yticklabels=names,
        xlim=(0, 1),
        xlabel="share of the learning rate",
    )
    ax.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    ax.invert_yaxis()
    ax.grid(False)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    handles, labels = ax.get_legend_handles_labels()
    fig.legend(
        handles, labels, title="lag in steps", loc="outside upper center", ncols=5
    )
figures.save(
    fig, "budget-bars", budget,
    caption=f"How neurons divide the learning rate of the last step over lags: means over {probes} digits, one trained network "
    "for each gate. Neurons are ordered by how far back their budget reaches. Every bar adds to one; the hatched part belongs to the initial state and is not given out.",
    alt="Nine stacked bars of equal length. The scalar gate gives more than half to the current step and nearly all of the rest to the three before. "
    "With constant gates the slow neurons keep most of their budget for lags beyond sixteen, or do not give it out, and the fastest spends almost "
    "everything at once. Multi gates lie in between: the slowest reaches beyond sixteen steps, the fastest spends most on the current step.",
    chapter="06-bptt-and-rates", out=out,
)  # fmt: skip

# %% [markdown]
# ### The spectrum of the preconditioner
#
# The eigenvalues of $\operatorname{diag}(\mu_{T,k}) \otimes I$ are the rates, each $n$ times.
# {numref}`fig-preconditioner-spectrum` sorts them at a few lags.

# %% tags=["hide-input"]
SHOWN = [0, 2, 8, 32]
spectrum = []
with figures.style():
    fig, axes = plt.subplots(1, 3, figsize=(8.2, 3.1), sharey=True)
    for ax, gate in zip(axes, LEARNED, strict=True):
        share = rates.shares(runs[gate]).flip(0).cpu()
        for place, lag in enumerate(SHOWN):
            descending = share[lag].sort(-1, descending=True).values
            middle = descending.flatten(0, 1).median(0).values.numpy()
            hue = figures.CYCLE[place]
            rank = np.arange(1, n_hidden + 1)
            ax.plot(rank, middle, color=hue, marker="os^D"[place], markevery=4)
            if gate == "scalar":
                ax.annotate(
                    rf"$\ell = {lag}$", (n_hidden, middle[-1]), (0, 4 if lag != 2 else -4),
                    textcoords="offset points", ha="right", color=hue,
                    va="bottom" if lag != 2 else "top",
                )  # fmt: skip
            spectrum += [(gate, lag, r, v) for r, v in zip(rank, middle, strict=True)]
        ax.set(title=gate, xlabel="neurons, by rate", yscale="log", ylim=(1e-12, 2))
        ax.set_xticks([1, n_hidden // 2, n_hidden])
    axes[0].set_ylabel(r"rate $\mu^q_{T,k}/\mu$")
figures.save(
    fig, "preconditioner-spectrum", pd.DataFrame(spectrum, columns=["gate", "lag", "rank", "rate"]),
    caption="The preconditioner's eigenvalues at the lags named in the middle panel: rates of all neurons from the largest to the smallest, "
    f"medians over {probes} digits and {seeds} networks; the axis is cut below. One shared gate keeps the spectrum flat and lowers it as a "
    "whole; gates of their own tilt it, the more the longer the lag.",
    alt="Three panels of sorted rates on a logarithmic axis, four curves each for growing lags. In the scalar panel the curves are flat "
    "and sink with the lag. In the constant and the multi panel they tilt: the top rates stay high while the bottom ones fall "
    "over many orders of magnitude as the lag grows.",
    chapter="06-bptt-and-rates", out=out,
)  # fmt: skip

# %% [markdown]
# ### Condition number by lag
#
# For constants {prf:ref}`thm-kappa` promises an exponential. Learned multi gates promise nothing: if at each step
# *other* neurons were slow, differences would average out. A placebo shows how that would look: the same
# gate values, dealt out anew to the neurons at each step.

# %%
dealer = torch.Generator().manual_seed(0)
g = runs["multi"].g.cpu()
deal = torch.rand(g.shape, generator=dealer).argsort(-1)  # other neurons at each step
dealt = runs["multi"]._replace(g=g.gather(-1, deal).to(where))
lags = [1, 2, 4, 8, 16, 32, 63]
kappa = pd.DataFrame(
    [
        (name, lag, *rates.condition(run, lag).flatten().cpu().log10().quantile(
            torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).tolist())
        for name, run in {**runs, "multi, dealt anew": dealt}.items()
        for lag in lags
    ],
    columns=["gate", "lag", "lower quartile", "median", "upper quartile"],
)  # fmt: skip
alphas = torch.tensor(models["constant"].alpha, dtype=torch.float64)
exact = torch.log10((1 - alphas.min()) / (1 - alphas.max()))
constants = kappa[kappa.gate == "constant"]
gap = np.abs(constants["median"] / (constants.lag * float(exact)) - 1).max()
record.check(
    "kappa-digits",
    "C14",
    r"on digits $\log\kappa$ of the constants is $\ell$ times that of one step",
    float(gap),
    1e-12,
)

# %% tags=["hide-input"]
with figures.style():
    fig, ax = plt.subplots(figsize=(7.2, 3.5))
    for name, rows in kappa.groupby("gate", sort=False):
        look = figures.GATES.get(name, figures.GATES["none"])
        ax.plot(rows.lag, rows["median"], **look)
        ax.fill_between(
            rows.lag, rows["lower quartile"], rows["upper quartile"],
            color=look["color"], alpha=0.18, linewidth=0,
        )  # fmt: skip
        ax.text(
            64, rows["median"].iloc[-1], f" {name}", color=look["color"], va="center"
        )
    ax.set(xlabel=r"lag $\ell$", ylabel=r"$\log_{10} \kappa(\ell)$", xlim=(0, 82))
    ax.set_xticks([1, 8, 16, 32, 63])
figures.save(
    fig, "kappa-by-lag", kappa,
    caption=r"Order-0 condition number over lag, decimal logarithm: median and quartiles over steps, digits and networks. Straight "
    "lines are exponentials. The dotted placebo deals the multi gate's values out anew to the neurons at each step.",
    alt="Lines of the logarithm of the condition number over lag. The scalar gate stays at zero. The constant gate rises on a straight line to about "
    "sixty. The multi gate rises nearly straight as well, to a somewhat lower end; its placebo with shuffled neurons rises far more slowly and bends.",
    chapter="06-bptt-and-rates", out=out,
)  # fmt: skip

# %% tags=["hide-input"]
last = kappa[kappa.lag == 63].set_index("gate")["median"]
fit = kappa[kappa.gate == "multi"]
growth = float((fit["median"] * fit.lag).sum() / (fit.lag**2).sum())
record.number("kappa-multi-per-step", 10**growth, f"{10**growth:.2g}")
record.number("kappa-multi-63", float(last["multi"]), f"{last['multi']:.0f}")
record.number(
    "kappa-dealt-63",
    float(last["multi, dealt anew"]),
    f"{last['multi, dealt anew']:.0f}",
)
exact = torch.linalg.svdvals(transport.products(sum(terms["scalar"]), 8))
spread = float((exact[..., 0] / exact[..., n_hidden // 2]).median())
record.number("spread-scalar-8", spread, f"{spread:.0f}")
quoted = {name: entry["text"] for name, entry in record.numbers.items()}
Markdown(
    f"In the trained multi-gate networks $\\kappa$ grows by a factor of about {quoted['kappa-multi-per-step']} with each step of lag, to "
    f"$10^{{{quoted['kappa-multi-63']}}}$ over the longest; with gates dealt anew it would end at $10^{{{quoted['kappa-dealt-63']}}}$. Being slow "
    "or fast is a lasting trait of a neuron, and that is what makes the anisotropy grow exponentially. A number of this size also says how "
    "to read it: over long lags the fastest neurons pass back nothing at all *through their leak*, and what reaches them comes by other "
    "roads, which order 0 does not see. Nor does $\\kappa = 1$ make a scalar gate isotropic: of the exact transport over eight steps in those "
    f"networks, the largest singular value is {quoted['spread-scalar-8']} times the middle one, by the median, and all of that comes from $R$ and $G$."
)

# %% [markdown]
# ## What order 0 leaves out
#
# Rates are read off the diagonal of transport, with the recurrent and the gate term left out. So there are two
# questions. How well is the *diagonal* of $M_{t,k}$ met, and does the first-order correction help? And how
# much of $M_{t,k}$ is not on the diagonal at all? A correction made from *another digit's* $R + G$ is the
# placebo: if it does as well, the correction knows nothing about this sequence.

# %%
rows = []
for gate in LEARNED:
    J = sum(terms[gate])
    wrong_leak, recurrent, gate_term = terms[gate]
    other = jacobian.Terms(wrong_leak, recurrent.roll(1, 2), gate_term.roll(1, 2))
    for lag in (1, 2, 4, 8, 16, 32):
        M = transport.products(J, lag)
        diagonal = M.diagonal(dim1=-2, dim2=-1)
        size = diagonal.norm(dim=-1)
        estimate = {
            "order 0": rates.retention(runs[gate], lag),
            "corrected": rates.corrected(terms[gate], lag),
            "placebo": rates.corrected(other, lag),
        }
        row = {"gate": gate, "lag": lag}
        for name, value in estimate.items():
            row[name] = float(((value - diagonal).norm(dim=-1) / size).median())
        off = (M - torch.diag_embed(diagonal)).flatten(-2).norm(dim=-1)
        row["off the diagonal"] = float((off / M.flatten(-2).norm(dim=-1)).median())
        rows.append(row)
diagonals = pd.DataFrame(rows)

# %% tags=["hide-input"]
LOOKS = {
    "order 0": ("blue", "-", "o"), "corrected": ("vermilion", "--", "D"),
    "placebo": ("ochre", ":", "s"), "off the diagonal": ("green", "-.", "^"),
}  # fmt: skip
with figures.style():
    fig, axes = plt.subplots(1, 3, figsize=(8.2, 3.3), sharey=True)
    for ax, gate in zip(axes, LEARNED, strict=True):
        rows = diagonals[diagonals.gate == gate]
        for name, (colour, line, marker) in LOOKS.items():
            hue = figures.PALETTE[colour][0]
            ax.plot(rows.lag, rows[name], line, color=hue, marker=marker, label=name)
        ax.axhline(1, color=figures.INK, linewidth=0.8, linestyle=":")
        ax.set(title=gate, xlabel=r"lag $\ell$", xscale="log", ylim=(0, 1.1))
        ax.set_xticks([1, 2, 4, 8, 16, 32], [1, 2, 4, 8, 16, 32])
        ax.minorticks_off()
    axes[0].set_ylabel("relative size")
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=4)
figures.save(
    fig, "diagonal-by-lag", diagonals,
    caption=r"Error of the effective rate on the diagonal of transport, relative to that diagonal, at order 0, with the first-order "
    "correction, and with the correction of another digit (placebo); and the share of transport's norm that is off the diagonal. Medians "
    "over steps, digits and networks. On the dotted line the error is as large as what it is an error of.",
    alt="Three panels, one per gate, with lag on the horizontal axis and four curves each. The share off the diagonal is the largest over short lags "
    "and ends near one. The corrected error starts at zero, stays below that of order 0 over short lags, and meets it later. In the "
    "constant network the errors stay below a quarter up to lag sixteen; in the scalar network they come close to one by lag four.",
    chapter="06-bptt-and-rates", out=out,
)  # fmt: skip

# %% tags=["hide-input"]
at = diagonals.set_index(["gate", "lag"])
for gate in LEARNED:
    for column in ("order 0", "corrected", "off the diagonal"):
        record.number(
            f"{column.replace(' ', '-')}-{gate}-8", float(at.loc[(gate, 8), column])
        )


def sentence(gate: str, lag: int) -> str:
    order_0, first, _, off = at.loc[(gate, lag)]
    return f"{order_0:.2g} at order 0 and {first:.2g} corrected, with {off:.2g} of transport off the diagonal ({gate})"


better = diagonals[diagonals.corrected < diagonals[["order 0", "placebo"]].min(axis=1)]
useful = [
    f"{', '.join(map(str, better[better.gate == gate].lag)) or 'none'} ({gate})"
    for gate in LEARNED
]
Markdown(
    "Over eight steps the error on the diagonal is "
    + "; ".join(sentence(gate, 8) for gate in LEARNED)
    + f". Of the six lags, the correction beats both order 0 and its placebo at {'; '.join(useful)}. It helps "
    "at short lags, where order 0 was least wrong."
)

# %% [markdown]
# (Over a single step order 1 is all there is, so the correction is exact there and proves nothing.)
#
# Now the gradient itself. The loss is the cross entropy of the last state, and each digit has its own exact
# gradient $\nabla_{W_r} L$ from `adjoint.gradients`. Beside it three imitations, all made of rates: order 0, the
# corrected rate, and order 0 with the rates of *another digit*.


# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that measures the gradient that order 0 gives"}
def errors_at_the_end(gate: str) -> Tensor:
    """δ_t of the cross entropy: zero but at the last step."""
    model, run = models[gate], runs[gate]
    last = run.x[-1].clone().requires_grad_()
    answer = torch.einsum("sbn,son->sbo", last, model.W_o) + model.b_o.unsqueeze(1)
    wanted = test.target[:probes].repeat(seeds)
    loss = cross_entropy(answer.flatten(0, 1), wanted, reduction="sum")
    delta = torch.zeros_like(run.x)
    delta[-1] = torch.autograd.grad(loss, last)[0]
    return delta


def by_rates(gate: str, rate: Tensor, delta: Tensor) -> Tensor:
    """Σ_k diag(rate_k) D_k δ_T x_{k-1}ᵀ per digit, for rates of every step k."""
    run = runs[gate]
    rows = rate * (1 - run.phi**2) * delta[-1]
    return torch.einsum("tsbq,tsbp->sbqp", rows, run.x_prev)


rows = []
for gate in LEARNED:
    run, delta = runs[gate], errors_at_the_end(gate)
    with torch.no_grad():
        exact = adjoint.gradients(models[gate], run, delta, per_sample=True)["W_r"]
        share = rates.shares(run)
        corrected_share = run.g * torch.stack(
            [rates.corrected(terms[gate], STEPS - k)[-1] for k in range(1, STEPS + 1)]
        )
    for name, rate in {
        "order 0": share,
        "corrected": corrected_share,
        "another digit": share.roll(1, 2),
    }.items():
        found, wanted = (v.flatten(-2) for v in (by_rates(gate, rate, delta), exact))
        off = (found - wanted).norm(dim=-1) / wanted.norm(dim=-1)
        cosine = torch.nn.functional.cosine_similarity(found, wanted, dim=-1)
        rows.append((gate, name, float(off.median()), float(cosine.median())))
imitations = pd.DataFrame(rows, columns=["gate", "rates", "relative error", "cosine"])

# %% tags=["hide-input"]
for gate, name, off, cosine in rows:
    slug = f"{name.replace(' ', '-')}-{gate}"
    record.number(f"gradient-error-{slug}", off, f"{off:.2f}")
    record.number(f"gradient-cosine-{slug}", cosine, f"{cosine:.2f}")
shown = imitations.copy()
for column in ("relative error", "cosine"):
    shown[column] = [f"{value:.2f}" for value in imitations[column]]
record.table(
    shown, "imitated-gradients",
    caption="How well a gradient made of effective rates imitates the exact gradient of each digit's loss with respect to $W_r$: medians "
    "over digits and networks. A relative error of 1 is what a gradient of zero would have; a cosine of 1 is the same direction.",
)  # fmt: skip

# %% tags=["hide-input"]
quoted = {name: entry["text"] for name, entry in record.numbers.items()}
fields = [
    f"{quoted[f'gradient-cosine-order-0-{g}']} ({g}, relative error {quoted[f'gradient-error-order-0-{g}']})"
    for g in LEARNED
]
Markdown(
    f"The order-0 gradient points in the direction of the exact one with a cosine of {', '.join(fields)}. With the corrected rate it is "
    f"{quoted['gradient-cosine-corrected-constant']}, {quoted['gradient-cosine-corrected-scalar']} and "
    f"{quoted['gradient-cosine-corrected-multi']}; with the rates of another digit {quoted['gradient-cosine-another-digit-constant']} "
    "(a constant gate has the same rates for every digit, so that nothing can change), "
    f"{quoted['gradient-cosine-another-digit-scalar']} and {quoted['gradient-cosine-another-digit-multi']}."
)

# %% [markdown]
# ## What it means
#
# **What holds exactly.** Every gradient of the family is {eq}`eq-gradients`. Its leak-only part is gradient descent
# with one learning rate per neuron and lag; these rates are set by the gates, add to one budget, and spread
# exponentially with the lag when neurons have gates of their own.
#
# **What holds in part.** The effective rate is the order-0 term of an expansion, not the gradient. In these
# networks most of transport is off the diagonal after a few steps, and most of the gradient's norm is not in
# its order-0 part; the direction is shared in part. So *the effective learning rate of lag $\ell$* should be
# read as "the rate at which a neuron learns from its own leak", and not as the rate at which the weights move.
# Dealing one digit the rates of another costs little to nothing here, so most of what the rates know on this task is
# about neurons, not about sequences. {ref}`ch-validity` maps where the picture is good: near-diagonal networks, weak weights,
# short lags; {ref}`ch-diagonal` finds the networks for which it is exact at every lag.
#
# ## What was checked

# %% tags=["hide-input"]
record.validation(
    caption="The checks of this chapter: gradients (C7), effective rates (C8), budget (C9) and anisotropy (C14)."
)

# %% [markdown]
# ## Try it
#
# 1. *Half the sequence.* Before running anything: which part of the budget goes to the first half of a
#    sequence? Write it with two retentions, and check it on the digits.
# 2. *A loss at every step.* If the loss reads every state, step $k$ is taught by all later steps together. Add up
#    $\mu_{t,k}$ over $t$ instead of over $k$. Is there a budget for it?
# 3. *Beating the constants.* By {prf:ref}`thm-matched` no constant gate gives lag $\ell$ more than
#    $\ell^\ell / (\ell + 1)^{\ell + 1}$. How often do learned gates, which can open and shut, beat that?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 1: half the sequence"}
# 1. The first half is what the second half leaves, P_{T,h}, less what nobody gets, P_{T,0}.
half = STEPS // 2
gap = []
for run in runs.values():
    older = rates.shares(run)[:half].sum(0)
    later, first = (rates.retention(run, half)[place] for place in (-1, 0))
    gap.append(float((older - later * (1 - first)).abs().max()))
record.check(
    "exercise-half",
    "C9",
    r"the first half gets $P_{T,T/2}\,(1 - P_{T/2,0})$",
    max(gap),
    1e-12,
)

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 2: a loss at every step"}
# 2. No. Shut after step k, a gate lets all later steps teach it: g_k Σ_t P_{t,k} can be as large as T - k + 1.
taught = gs[1] * sum(P(t, 1) for t in range(1, longest_proof + 1))
shut = {gs[1]: 1} | {gs[k]: 0 for k in range(2, longest_proof + 1)}
record.check(
    "exercise-columns",
    "C9",
    r"over $t$ there is no budget: $\sum_t g_1 P_{t,1}$ reaches the number of steps",
    taught.subs(shut) == longest_proof,
    kind="symbolic",
)
measured = {
    gate: float(sum(rates.effective(run, 1.0, lag)[0] for lag in range(STEPS)).max())
    for gate, run in runs.items()
}
pd.DataFrame([measured]).rename(columns="largest, {}".format)

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 3: beating the constants"}
# 3. The share of (step, digit, neuron) cells above the best constant gate, lag by lag.
beaten = []
for lag in (1, 4, 16, 48):
    best = lag**lag / (lag + 1) ** (lag + 1)
    row = {"lag": lag, "best constant rate": f"{best:.2g}"}
    for gate, run in runs.items():
        above = (rates.effective(run, 1.0, lag) > best * (1 + 1e-12)).double().mean()
        row[gate] = f"{100 * float(above):.1f} %"
    beaten.append(row)
record.check(
    "exercise-envelope",
    "C9",
    "no constant gate beats the envelope",
    all(row["constant"] == "0.0 %" for row in beaten),
)
pd.DataFrame(beaten)

# %% tags=["remove-cell"]
record.close()
