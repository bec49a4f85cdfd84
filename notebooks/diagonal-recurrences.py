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
# (ch-diagonal)=
# # Diagonal recurrences, where order 0 is everything
#
# So far order 0 was an approximation: it sees how much each neuron keeps and is blind to what
# neurons tell each other ({ref}`ch-products`), and how far it carries had to be measured
# ({ref}`ch-validity`). There is a family of networks for which nothing has to be measured. In
# minGRU {cite}`feng2024mingru`, in the linear recurrent unit {cite}`orvieto2023lru` and in the
# selective state-space models of Mamba {cite}`gu2023mamba`, gate and candidate read the input and
# *not* the state. Then order 0 is not the first word of an expansion: it is the Jacobian product,
# and the effective learning rate ({ref}`ch-bptt`) is the whole story.
#
# This chapter proves that (claim C15 of the {ref}`notation page <notation>`), and follows it in
# both directions: towards today's state-space models, whose steps turn out to be our gate in
# other clothes; and back to gated networks, by turning the recurrence on little by little. It
# ends with what the theory does *not* say, which is anything about depth, until one counts depth
# as an order.

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters"}
profile = "ci"
seeds = 3  # independent networks, trained side by side
device = "auto"
out = "../artifacts/draft/08-diagonal-recurrences"
n_hidden = 24
training_steps = 250
probes = 16  # digits on which gradients are compared
rates_of_decay = [1, 2, 4, 8, 16]  # ν, the states of one S6 channel
state_size = 16  # N in Mamba's own initialisation, whose ν run from 1 to N
largest_step = 0.1  # and its largest initial step Δ

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the imports, and how this chapter proves"}
from functools import reduce
from itertools import product

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
    transport,
)
from gatelr.record import devices, figures, ledger
from gatelr.symbolic import n, p, q, r
from IPython.display import Markdown, Math, display
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

TITLE = "Diagonal recurrences, where order 0 is everything"
parameters = {
    "profile": profile,
    "seeds": seeds,
    "device": device,
    "n_hidden": n_hidden,
    "training_steps": training_steps,
    "probes": probes,
    "rates_of_decay": rates_of_decay,
    "state_size": state_size,
    "largest_step": largest_step,
}
record = ledger.Ledger("08-diagonal-recurrences", TITLE, out, parameters)
where = devices.resolve(device)


def zero(expression: sp.Expr) -> bool:
    """Whether SymPy can show that an expression vanishes identically."""
    return sp.simplify(expression) == 0


def prove(name: str, statement: str, *facts: bool, claim: str = "C15") -> None:
    """Put a statement on record as proved if all its facts hold."""
    record.check(name, claim, statement, all(facts), kind="symbolic")


def apart(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, relative to the largest entry wanted."""
    return float((found - wanted).abs().max() / wanted.abs().max())


# %% [markdown]
# ## Nothing but leak
#
# Take the update rule of the whole family, {eq}`eq-update`, and cut the two wires that run from
# the state to the gate and to the candidate: $W_{rg} = 0$ and $W_r = 0$. In index notation, as in
# {ref}`ch-jacobians`, that is one replacement:

# %%
cut = (symbolic.W_r, symbolic.W_rg)


def without_recurrence(e: sp.Expr) -> sp.Expr:
    """The expression with all weights that read the state set to zero."""
    return e.replace(
        lambda part: isinstance(part, sp.Indexed) and part.base in cut,
        lambda part: sp.Integer(0),
    ).doit()


update = without_recurrence(symbolic.update("multi"))
entry = update.diff(symbolic.x[p]).doit()
display(Math(r"x_t^q = " + symbolic.latex(update)))
display(Math(r"J^{qp} = " + symbolic.latex(entry)))
leak, recurrent, gate_term = map(without_recurrence, symbolic.closed_form("multi"))
prove(
    "terms-vanish",
    r"Gate and candidate blind to the state: $R = G = 0$, $J = \Lambda$, every $n$",
    recurrent == 0,
    gate_term == 0,
    zero(entry - leak),
)

# %% [markdown]
# One Jacobian is diagonal, so all products are, and order 0 has nothing left to be corrected by.
#
# :::{prf:theorem} Order 0 is the product
# :label: thm-order-zero-exact
#
# If $g_t$ and $\varphi_t$ are functions of $u_t$ alone, any functions, then for all $t \ge k$
#
# $$ M_{t,k} = \operatorname{diag}(P_{t,k}), \qquad P_{t,k} = \prod_{j=k+1}^{t} (1 - g_j), $$ (eq-diag-product)
#
# and the {term}`remainder` of the leak {term}`splitting` ({ref}`claim C4 <claim-c4>`) is exactly zero at every
# order and every $\varepsilon$. Conversely, if order 0 is the product at every lag, then
# $R_t + G_t = 0$ at every step.
# :::
#
# :::{prf:proof}
# *Product.* By induction over $t$: $M_{k,k} = I$, and a diagonal matrix times a diagonal matrix
# is one,
#
# $$ \sum_r \delta^{qr}(1-g^q)\,\delta^{rp} P^r = \delta^{qp} (1-g^q) P^q , $$
#
# which the cell lets SymPy sum for symbolic $n$. *Remainder.* It starts at zero and obeys
#
# $$ R_K(j) = (A_j + \varepsilon B_j) R_K(j-1) + \varepsilon^{K+1} B_j M^{(K)}_{j-1} : $$
#
# with
# $B_j = 0$ it stays there. *Converse.* At lag 1 the remainder of order 0 is
# $J_t - \Lambda_t = R_t + G_t$.
# :::

# %%
g, phi, P = (sp.IndexedBase(name) for name in ("g", "phi", "P"))
any_update = (1 - g[q]) * symbolic.x[q] + g[q] * phi[q]  # g and φ: no x inside
any_entry = any_update.diff(symbolic.x[p]).doit()
delta_qr, delta_rp = sp.KroneckerDelta(q, r), sp.KroneckerDelta(r, p)
summed = sp.Sum(delta_qr * (1 - g[q]) * delta_rp * P[r], (r, 0, n - 1)).doit()
summed = summed.args[0].expr  # for p ≤ n - 1: p is the number of a neuron
display(Math(r"\sum_r J_t^{qr} M_{t-1,k}^{rp} = " + symbolic.latex(summed)))

A_j, B_j, R_before, M_K = sp.symbols("A_j B_j R_{j-1} M^{(K)}", commutative=False)
eps = sp.Symbol("epsilon")
K = sp.Symbol("K", integer=True, nonnegative=True)
remainder = (A_j + eps * B_j) * R_before + eps ** (K + 1) * B_j * M_K
prove(
    "order-zero-is-the-product",
    r"$M_{t,k} = \operatorname{diag}(P_{t,k})$: "
    r"induction step, symbolic $n$, any $g(u)$, $\varphi(u)$",
    any_entry == sp.KroneckerDelta(q, p) * (1 - g[q]),
    zero(summed - sp.KroneckerDelta(q, p) * (1 - g[q]) * P[q].subs(q, p)),
)
prove(
    "remainder-stays-zero",
    r"With $B_j = 0$ a zero remainder stays zero, for every $K$ and $\varepsilon$",
    sp.expand(remainder.subs({B_j: 0, R_before: 0})) == 0,
)
prove(
    "and-only-then",
    "At lag 1 the remainder of order 0 is $R + G$ itself",
    sp.expand(remainder.subs({K: 0, eps: 1, M_K: 1, R_before: 0}) - B_j) == 0,
)

# %% [markdown]
# Nothing was assumed about $\varphi$: minGRU has a linear candidate, our library has a hyperbolic
# tangent, and the theorem does not care. Nor does it ask the gate to be smooth. It asks one
# thing, that nobody looks at the state.

# %% [markdown]
# ## A selective network on real sequences
#
# In the library such a network is a `multi` network whose two recurrent weights are zero and stay
# zero. We train one, in $S$ replicas, on the handwritten digits of {ref}`ch-agreement`, read
# pixel by pixel. The gates' biases start as minus the logarithm of a lag between one step and the
# whole sequence, which is the matched gate of {ref}`ch-time-scales`.

# %%
STEPS, CLASSES = tasks.DIGIT_STEPS, tasks.DIGIT_CLASSES
draws = [torch.Generator().manual_seed(seed) for seed in range(seeds)]
options = {"n_outputs": CLASSES, "bias": True, "replicas": seeds, "device": where}
model = cells.GatedRNN(1, n_hidden, "multi", generator=draws, **options)
drawn = model.W_r.detach().double(), model.W_rg.detach().double()  # for later
with torch.no_grad():
    model.W_r.zero_()
    model.W_rg.zero_()
    lags_wanted = torch.logspace(0, np.log10(STEPS), n_hidden, device=where)
    model.b_g.copy_(-lags_wanted.log().expand_as(model.b_g))
learned = [w for name, w in model.named_parameters() if name not in ("W_r", "W_rg")]

order = torch.Generator().manual_seed(0)
u, target = tasks.digits(len(tasks.digits().target), order, device=where)
train = tasks.Batch(u[:, :1297], target[:1297])
test = tasks.Batch(u[:, 1297:], target[1297:])

optimiser = torch.optim.Adam(learned, lr=2e-2)
for _ in range(training_steps):
    batch = [torch.randint(len(train.target), (64,), generator=draw) for draw in draws]
    batch = torch.stack(batch).to(where)
    answer, wanted = model(train.u[:, batch]), train.target[batch]
    loss = cross_entropy(answer.flatten(0, 1), wanted.flatten(), reduction="sum") / 64
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

# %% tags=["hide-input"]
with torch.no_grad():
    said = model(test.u.unsqueeze(1).expand(-1, seeds, -1, -1)).argmax(-1)
accuracy = 100 * float((said == test.target).double().mean())
guess = 100 * float((test.target == train.target.bincount().argmax()).double().mean())
record.number("accuracy", accuracy, f"{accuracy:.0f}", "%")
record.number("accuracy-guess", guess, f"{guess:.0f}", "%")
model = model.double()  # measured in double precision from here on
chosen = test.u[:, :probes].double().unsqueeze(1).expand(-1, seeds, -1, -1)
labels = test.target[:probes].expand(seeds, -1)
with torch.no_grad():
    run = model.run(chosen)
Markdown(
    f"After {training_steps} steps it names {accuracy:.0f} % of the digits that it was not trained on (always saying "
    f"the commonest one: {guess:.0f} %). No record, but a network at work: it sees one pixel at a time and has no "
    "other way to know where on the page it is than what its neurons still remember."
)

# %% [markdown]
# ### The claims in numbers
#
# First the terms and the expansion. The remainder must be *exactly* zero, so its tolerance is
# zero: no rounding is allowed for.

# %%
with torch.no_grad():
    terms, blocks = jacobian.terms(model, run), jacobian.blocks(model, run)
A, B = expansion.split(terms, "leak")
left_out = max(
    float(expansion.remainder(A[-lag:], B[-lag:], K, eps).abs().max())
    for lag in (1, 8, STEPS)
    for K in (0, 1)
    for eps in (1.0, 1e-6)
)
record.check(
    "remainder-zero",
    "C15",
    "remainder of the expansion, orders 0 and 1, on digits: exactly zero",
    left_out,
    0.0,
)
worst = max(
    apart(M, torch.diag_embed(rates.retention(run, lag)))
    for lag, M in transport.lags(blocks, STEPS)
    if lag in (1, 8, STEPS)
)
record.check(
    "product-is-retention",
    "C15",
    r"product of Jacobians against $\operatorname{diag}(P_{t,k})$, lags up to $T$",
    worst,
    1e-12,
)

# %% [markdown]
# Now the gradient. If order 0 is the transport, then the effective rates *are* backpropagation:
# what reaches step $k$ from all later losses is $s_k = \sum_{t \ge k} \mu_{t,k} \odot \delta_t$
# with $\mu_{t,k} = g_k P_{t,k}$, and
#
# $$
# \begin{aligned}
# \nabla_{W_i} L &= \sum_k \big(\varphi'(a_k) \odot s_k\big)\, u_k^\top, \\
# \nabla_{W_{ig}} L &= \sum_k \big((\varphi_k - x_{k-1}) \odot (1 - g_k) \odot s_k\big)\, u_k^\top ,
# \end{aligned}
# $$ (eq-diag-gradient)
#
# with no sweep backwards anywhere. The gate's own weights learn at the same effective rates,
# times how much there was to change. Even $W_r$ and $W_{rg}$, which are zero, have a gradient, by
# the same formula with $x_{k-1}$ for $u_k$: order 0 is exact there too.


# %%
def signal(run: cells.Trajectory, delta: Tensor) -> Tensor:
    """s_k, the sum over all lags of effective rate times loss gradient."""
    s = torch.zeros_like(run.x)
    for lag in range(STEPS):
        s[: STEPS - lag] += rates.effective(run, 1.0, lag) * delta[lag:]
    return s


def gradients(run: cells.Trajectory, s: Tensor) -> dict[str, Tensor]:
    """The gradient of every weight from the signal that reached each step."""
    one = torch.ones_like(run.x[..., :1])
    to_candidate = (1 - run.phi**2) * s
    to_gate = (run.phi - run.x_prev) * (1 - run.g) * s
    pairs = {
        "W_r": (to_candidate, run.x_prev),
        "W_i": (to_candidate, run.u),
        "b": (to_candidate, one),
        "W_rg": (to_gate, run.x_prev),
        "W_ig": (to_gate, run.u),
        "b_g": (to_gate, one),
    }
    summed = {w: torch.einsum("tsbq,tsbp->sqp", *pair) for w, pair in pairs.items()}
    return {w: grad.squeeze(-1) if w[0] == "b" else grad for w, grad in summed.items()}


draw = torch.Generator().manual_seed(1)
delta = torch.randn(run.x.shape, generator=draw, dtype=torch.float64).to(where)
names = ("W_r", "W_i", "b", "W_rg", "W_ig", "b_g")
weights = [getattr(model, name) for name in names]
loss = (model.run(chosen).x * delta).sum()  # a loss that reads every state
by_autograd = dict(zip(names, torch.autograd.grad(loss, weights), strict=True))
with torch.no_grad():
    by_rates = gradients(run, signal(run, delta))
    by_adjoint = adjoint.gradients(model, run, delta)
    last = torch.zeros_like(delta)
    last[-1] = delta[-1]  # a loss that reads the last state only
    by_sample = adjoint.gradients(model, run, last, per_sample=True)["W_r"]
    by_trace = last[-1].unsqueeze(-1) * rates.eligibility(model, run)

# %% tags=["hide-input"]
rows = []
for name in names:
    row = {
        "weight": f"`{name}`",
        "effective rates": apart(by_rates[name], by_autograd[name]),
        "adjoint sweep": apart(by_adjoint[name], by_autograd[name]),
    }
    rows.append(row)
worst_rates = max(row["effective rates"] for row in rows)
worst_adjoint = max(row["adjoint sweep"] for row in rows)
display(
    record.table(
        pd.DataFrame(rows).map(lambda v: v if isinstance(v, str) else f"{v:.1e}"),
        "diagonal-gradients",
        caption="Three ways to one gradient: relative distance from autograd, for a loss that reads every state of "
        "every digit. The effective rates use no backward sweep.",
    )
)
record.check(
    "gradient-by-rates",
    "C15",
    "gradient summed from effective rates against autograd, every weight",
    worst_rates,
    1e-12,
)
record.check(
    "gradient-by-adjoint",
    "C15",
    "adjoint sweep against autograd, every weight",
    worst_adjoint,
    1e-12,
)
record.check(
    "gradient-by-trace",
    "C15",
    "order-0 eligibility trace against the adjoint, per sample",
    apart(by_trace, by_sample),
    1e-12,
)

# %% [markdown]
# The last row of checks deserves a second look: the trace of {ref}`claim C12 <claim-c12>` is
# computed *forwards*, in the memory of one matrix, and for a diagonal network it is the exact
# gradient of a loss at the last step. What is an approximation for the GRU is simply true here.
#
# ### What the gates bet on
#
# {numref}`fig-selective-rates` shows the rates themselves, for one digit: how the last state's
# learning rate is divided over all pixels that were read.

# %% tags=["hide-input"]
seed, digit = 0, 0
share = rates.shares(run)[:, seed, digit].cpu()
gate_of = run.g[:, seed, digit].cpu()
pixels = chosen[:, seed, digit, 0].cpu()
by_speed = gate_of.mean(0).argsort()
three = by_speed[[int(f * (n_hidden - 1)) for f in (0.15, 0.3, 0.5)]].tolist()
steps_axis = np.arange(1, STEPS + 1)
edges = np.arange(1, STEPS + 2) - 0.5
frames = []
with figures.style():
    fig, (top, middle, bottom) = plt.subplots(
        3, 1, figsize=(7.2, 5.2), sharex=True, height_ratios=[0.4, 2.6, 2]
    )
    top.pcolormesh(edges, [0, 1], pixels[None], cmap="gray_r", rasterized=True)
    top.set(yticks=[], title=f"The digit {int(labels[0, digit])}, pixel by pixel")
    mesh = middle.pcolormesh(
        edges,
        np.arange(n_hidden + 1),
        share.T[by_speed],
        norm=mpl.colors.LogNorm(1e-4, 1),
        rasterized=True,
    )
    middle.set(ylabel="neuron, by mean gate", title="Effective rate of every neuron")
    fig.colorbar(mesh, ax=middle, label=r"$g_k P_{T,k}$", pad=0.01, extend="min")
    for neuron, colour, marker, name in zip(
        three, figures.CYCLE, "o^s", ("slow", "middling", "faster"), strict=False
    ):
        constant = float(gate_of[:, neuron].mean())
        steady = constant * (1 - constant) ** (STEPS - steps_axis)
        bottom.plot(
            steps_axis,
            share[:, neuron],
            color=colour,
            marker=marker,
            markevery=7,
            label=f"{name} neuron",
        )
        bottom.plot(steps_axis, steady, color=colour, ls=":", lw=1.2)
        frames.append(
            pd.DataFrame(
                {
                    "series": name,
                    "step": steps_axis,
                    "rate": share[:, neuron],
                    "constant": steady,
                }
            )
        )
    bottom.set(
        yscale="log",
        ylim=(1e-4, 1),
        xlim=(0.5, STEPS + 0.5),
        xticks=range(8, STEPS + 1, 8),
        xlabel=f"step $k$ (lag ${STEPS}-k$)",
        ylabel="rate",
        title="Three neurons; dotted: a constant gate of the same mean",
    )
    fig.legend(*bottom.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    for ax in (top, middle):
        ax.grid(False)
grid = (
    pd.DataFrame(share.numpy(), index=steps_axis, columns=range(n_hidden))
    .rename_axis("step")
    .reset_index()
    .melt("step", var_name="neuron", value_name="rate")
    .assign(series="(neuron)")
)
strip = pd.DataFrame({"series": "(pixel)", "step": steps_axis, "pixel": pixels})
display(
    figures.save(
        fig,
        "selective-rates",
        pd.concat([*frames, grid, strip], ignore_index=True),
        caption=r"""A selective network divides its learning rate. *Top*: the pixels. *Middle*: the effective rate
        $g_k P_{T,k}$ at the last step for every pixel and neuron, on a logarithmic scale; slow neurons at the bottom.
        *Bottom*: three of the neurons, beside constant gates of the same mean. These rates are not an approximation:
        they are the Jacobian products of this network.""",
        alt="""Three panels over 64 steps. A strip of grey pixels; below it a heat map with one row per neuron, where
        vertical bands follow the strokes of the digit and rows at the top fade quickly towards early steps; below that
        three curves on a logarithmic axis that jump up and down with the pixels around three smooth dotted
        lines.""",
        chapter=record.chapter,
        out=out,
    )
)
strays = [frame["rate"] / frame["constant"] for frame in frames]
spread = float(
    np.median([ratio.quantile(0.9) / ratio.quantile(0.1) for ratio in strays])
)
record.number("selective-spread", spread)
budget = rates.shares(run).sum(0) + rates.retention(run, STEPS)[0]
record.check(
    "budget-selective",
    "C9",
    r"shares and what is left add to one, every neuron, digit and seed",
    float((budget - 1).abs().max()),
    1e-12,
)
Markdown(
    f"Divide the rates of these three neurons by those of their constant gates: over the pixels, the ninth decile of "
    f"that ratio is {spread:.2g} times the first (median of the three). The sum over pixels cannot move: it is one, less "
    "what is left of the initial state."
)

# %% [markdown]
# ## The step of a selective state-space model
#
# S6, the layer inside Mamba, does not begin with a gate. It begins with a differential equation
# for each channel and each of its $N$ states, $\dot x = -\nu\, x + B u$ with $\nu > 0$ (the paper
# writes $A = -\nu$), and a step size $\Delta_t = \operatorname{softplus}(z_t)$ that the input
# sets. Holding the input over the step, *zero-order hold*, is the exponential integrator of
# {ref}`ch-time-scales`. SymPy solves it:

# %%
nu, Delta, drive = sp.symbols("nu Delta varphi", positive=True)
x_0, z, t = sp.symbols("x_0 z t", real=True)
state = sp.Function("x")
ode = sp.Eq(state(t).diff(t), -nu * state(t) + nu * drive)  # φ = B u / ν
held = sp.expand(sp.dsolve(ode, state(t), ics={state(0): x_0}).rhs.subs(t, Delta))
display(Math(r"x_t = " + sp.latex(sp.collect(held, [x_0, drive]))))

kept, written = held.coeff(x_0), held.coeff(drive)
prove(
    "zero-order-hold",
    r"Zero-order hold keeps $e^{-\nu\Delta}$ and writes $1 - e^{-\nu\Delta}$ "
    r"of $\varphi = B u/\nu$",
    zero(kept - sp.exp(-nu * Delta)),
    zero(written - (1 - sp.exp(-nu * Delta))),
)

# %% [markdown]
# :::{prf:theorem} S6 is this gate
# :label: thm-s6-gate
#
# With $\Delta = \operatorname{softplus}(z) = \ln(1 + e^z)$ and zero-order hold, a state with
# decay $\nu$ obeys $x_t = (1 - g)\, x_{t-1} + g\, \varphi_t$ with the gate
#
# $$ g^{(\nu)} = 1 - \big(1 - \sigma(z)\big)^{\nu} . $$ (eq-s6-gate)
#
# For $\nu = 1$ that is $g = \sigma(z)$, Theorem 1 of Gu and Dao {cite}`gu2023mamba`. For $N$
# states with decays $\nu_1, \dots, \nu_N$ that share $\Delta$,
#
# $$ P^{(\nu)}_{t,k} = \big(P^{(1)}_{t,k}\big)^{\nu} : $$ (eq-s6-retention)
#
# one time warp that the data drive, seen through $N$ time-scales whose ratios they cannot change.
# :::
#
# The identity behind it was met in {ref}`ch-time-scales`:
# $-\ln(1 - \sigma(z)) = \operatorname{softplus}(z)$, the clock's speed is the softplus of the
# gate's pre-activation.

# %%
sigma, soft = 1 / (1 + sp.exp(-z)), sp.log(1 + sp.exp(z))
g_nu = 1 - (1 - sigma) ** nu
one_minus = sp.exp(-nu * soft)  # what zero-order hold keeps


def same_power(left: sp.Expr, right: sp.Expr) -> bool:
    """Whether two positive expressions agree, by their logarithms."""
    gap = sp.log(left) - sp.log(right)
    return zero(sp.expand_log(gap, force=True))


prove(
    "s6-sigmoid",
    r"$1 - e^{-\operatorname{softplus}(z)} = \sigma(z)$: Theorem 1 of Gu and Dao",
    zero(1 - one_minus.subs(nu, 1) - sigma),
)
prove(
    "s6-power",
    r"$e^{-\nu\operatorname{softplus}(z)} = (1 - \sigma(z))^\nu$",
    zero(soft + sp.log(sp.simplify(1 - sigma))),
    same_power(one_minus, (1 / (1 + sp.exp(z))) ** nu),
    zero(sp.simplify(1 - sigma) - 1 / (1 + sp.exp(z))),
)
z_1, z_2 = sp.symbols("z_1 z_2", real=True)
two_steps = one_minus.subs(z, z_1) * one_minus.subs(z, z_2)
prove(
    "s6-one-warp",
    r"$P^{(\nu)} = (P^{(1)})^\nu$: one more step multiplies both sides alike",
    same_power(two_steps, two_steps.subs(nu, 1) ** nu),
)
memory = -1 / sp.expand_log(sp.log(one_minus), force=True)  # steps, as in chapter 1
prove(
    "s6-time-scales",
    r"Time-scale $-1/\ln(1-g^{(\nu)}) = 1/(\nu\Delta)$: ratios between states are fixed",
    zero(memory - 1 / (nu * soft)),
    zero(memory / memory.subs(nu, 1) - 1 / nu),
)

# %% [markdown]
# In numbers: run the trained network's own gates through an S6 step,
# $\Delta = \operatorname{softplus}(a^g)$, and the states must be those of `GatedRNN`; and the
# power law must hold on its retention.

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that runs the network's own gates through an S6 step"}
with torch.no_grad():
    Delta_t = softplus(run.a_g)
    states, x_t = [], torch.zeros_like(run.x[0])
    for step, candidate in zip(Delta_t, run.phi, strict=True):
        x_t = torch.exp(-step) * x_t - torch.expm1(-step) * candidate
        states.append(x_t)
    decays = torch.tensor(rates_of_decay, dtype=torch.float64, device=where)
    warp = Delta_t.flip(0).cumsum(0).flip(0)[0]  # Σ Δ over the whole sequence
    through_gate = rates.retention(run, STEPS)[0]
    powers = through_gate.unsqueeze(-1) ** decays
    held_through = torch.exp(-decays * warp.unsqueeze(-1))
record.check(
    "s6-is-gated-rnn",
    "C15",
    "states of an S6 step with $A=-1$ against the library's network, on digits",
    apart(torch.stack(states), run.x),
    1e-12,
)
record.check(
    "s6-power-numbers",
    "C15",
    r"$e^{-\nu\sum\Delta}$ against $(P^{(1)})^\nu$ over whole digits, every $\nu$",
    apart(held_through, powers),
    1e-12,
)

# %% [markdown]
# ### A budget kept, and one overspent
#
# The budget theorem ({ref}`claim C9 <claim-c9>`) never asked where the gate comes from.
#
# :::{prf:theorem} The budget of a diagonal recurrence
# :label: thm-diagonal-budget
#
# Let $\kappa_1, \kappa_2, \dots \in [0,1]$ be any fractions kept and let step $k$ write with
# weight $w_k$. Then $S_t = \sum_{k \le t} w_k \prod_{j=k+1}^{t} \kappa_j$ obeys
# $S_t = \kappa_t S_{t-1} + w_t$. If $w_k = 1 - \kappa_k$ at every step, then
#
# $$ S_t = 1 - \kappa_1 \kappa_2 \cdots \kappa_t . $$ (eq-diag-budget)
#
# If instead $w_k = c_k (1 - \kappa_k)$, then $S_t / (1 - \prod_{j \le t} \kappa_j)$ is a weighted
# mean of $c_1, \dots, c_t$.
# :::
#
# :::{prf:proof}
# By induction over $t$ from $S_0 = 0$, the next cell: in the first case the step turns $1 - Q$
# into $1 - \kappa_t Q$; in the second, a mean of the weights before into a mean with one more.
# :::
#
# Zero-order hold is the first case. The released code of Mamba discretises $A$ by zero-order hold
# and $B$ by Euler's rule, writing $\Delta B u$ (its authors
# [explain](https://github.com/state-spaces/mamba/issues/114) that this is simpler and does not
# change the results). In units of the candidate $\varphi = B u/\nu$ that is a weight
# $h = \nu\Delta$ where the gate would have $1 - e^{-h}$: the second case, with
#
# $$ c(h) = \frac{h}{1 - e^{-h}} > 1 . $$ (eq-overspent)

# %%
kappa, w, c, S, Q, mean = sp.symbols("kappa w c S Q m", positive=True)
h = sp.symbols("h", positive=True)
unrolled = kappa * S + w
prove(
    "budget-induction",
    r"$w = 1-\kappa$: from $S = 1 - Q$ follows $\kappa S + w = 1 - \kappa Q$",
    zero(unrolled.subs({S: 1 - Q, w: 1 - kappa}) - (1 - kappa * Q)),
    claim="C9",
)
new_mean = unrolled.subs({S: mean * (1 - Q), w: c * (1 - kappa)}) / (1 - kappa * Q)
theta = kappa * (1 - Q) / (1 - kappa * Q)  # the weight of the mean so far
prove(
    "budget-weighted-mean",
    r"$w = c(1-\kappa)$: the new mean is $\theta\,\bar c + (1-\theta)\,c$, "
    r"with $0 \le \theta \le 1$",
    zero(new_mean - theta * mean - (1 - theta) * c),
    zero((1 - theta) - (1 - kappa) / (1 - kappa * Q)),
    claim="C9",
)
overspent = h / (1 - sp.exp(-h))
series = sp.series(overspent, h, 0, 3).removeO()
display(Math(r"c(h) = " + sp.latex(series) + r" + O(h^3)"))
gap = sp.exp(h) * (h - 1 + sp.exp(-h))  # positive if c > 1; 0 at h = 0
prove(
    "euler-overspends",
    r"$c(h) = 1 + h/2 + h^2/12 + \dots$, and $c(h) > 1$ for every $h > 0$",
    zero(series - (1 + h / 2 + h**2 / 12)),
    zero((overspent - 1) * (1 - sp.exp(-h)) - gap * sp.exp(-h)),
    sp.limit(gap, h, 0) == 0,
    zero(gap.diff(h) - h * sp.exp(h)),  # its slope is positive
    claim="C9",
)
rise = sp.simplify(overspent.diff(h) * (1 - sp.exp(-h)) ** 2)
prove(
    "euler-grows",
    "$c(h)$ grows with $h$: a wider step hands out more",
    rise.subs(h, 0) == 0,
    zero(rise.diff(h) - h * sp.exp(-h)),  # so the rise is positive
    claim="C9",
)

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that measures what Euler's rule spends too much"}
with torch.no_grad():
    h_t = Delta_t.unsqueeze(-1) * decays  # (T, S, B, n, N)
    overspend = h_t / -torch.expm1(-h_t)
    zoh = eul = torch.zeros_like(h_t[0])
    for step in h_t:
        zoh = torch.exp(-step) * zoh - torch.expm1(-step)
        eul = torch.exp(-step) * eul + step
    room = -torch.expm1(-h_t.sum(0))  # 1 - P
    ratio = eul / room
record.check(
    "zoh-budget",
    "C9",
    "zero-order hold: spent against $1-P$, every state",
    apart(zoh, room),
    1e-12,
)
outside = torch.maximum(overspend.amin(0) - ratio, ratio - overspend.amax(0))
record.check(
    "euler-budget-between",
    "C9",
    r"Euler's $B$: spent over $1-P$ lies between the least and the largest $c(h_k)$",
    max(0.0, float(outside.max())),
    1e-12,
)
record.check(
    "euler-budget-broken",
    "C9",
    "Euler's $B$ overspends every budget: states with a ratio of at most one",
    float((ratio <= 1).double().mean()),
    0.0,
)

# %% tags=["hide-input"]
text = {}
for index, decay in enumerate(rates_of_decay):
    value = float(ratio[..., index].median())
    text[decay] = record.number(f"overspent-{decay}", value)
corner = state_size * largest_step
corner_text = record.number(
    "overspent-corner",
    float(overspent.subs(h, corner)),
    f"{float(overspent.subs(h, corner)):.2f}",
)
Markdown(
    "On the digits, with the gates of the trained network as $\\Delta$, Euler's $B$ hands out "
    + ", ".join(f"{text[d]}" for d in rates_of_decay)
    + " times the budget (medians, for $\\nu = "
    + ", ".join(map(str, rates_of_decay))
    + f"$). Where Mamba starts, with decays up to {state_size} and steps drawn up to {largest_step:g}, it is at most "
    f"{corner_text} times. Is that a fault? Not by itself: the factor $c(h_k)$ depends on the input as $B$ does, and "
    "a network can learn to make up for it. But then the sum over lags is no longer the fixed number that it is for a "
    "gate: opening the gate of such a layer raises the total rate, where a gate can only move it between lags."
)

# %% [markdown]
# {numref}`fig-s6-scales` draws all of this: what one pre-activation does to the gates of all
# states, how long each state remembers a real digit, and what the two discretisations spend.

# %% tags=["hide-input"]
neuron = three[0]
z_axis = np.linspace(-8, 4, 121)
soft_axis = np.log1p(np.exp(z_axis))
lag_axis = np.arange(STEPS + 1)
back = Delta_t[:, seed, digit, neuron].flip(0).cumsum(0).cpu().numpy()
warped = np.concatenate([[0.0], back])
h_axis = np.logspace(-2, 1, 61)
lines, markers = ("-", "--", "-.", ":", "-"), "os^Dv"
frames = []
with figures.style():
    fig, panels = plt.subplot_mosaic(
        "AB;CC", figsize=(6.4, 5.4), height_ratios=[1.5, 1]
    )
    left, middle, right = (panels[name] for name in "ABC")
    looks = zip(rates_of_decay, figures.CYCLE, lines, markers, strict=False)
    for decay, colour, line, marker in looks:
        look = {"color": colour, "ls": line, "marker": marker}
        gates = -np.expm1(-decay * soft_axis)
        keeps = np.exp(-decay * warped)
        left.plot(z_axis, gates, **look, markevery=20, label=rf"$\nu={decay}$")
        middle.plot(lag_axis, keeps, **look, markevery=8)
        rows = {"gate": (z_axis, gates), "retention": (lag_axis, keeps)}
        for panel, (across, up_axis) in rows.items():
            points = {"panel": panel, "nu": decay, "x": across, "y": up_axis}
            frames.append(pd.DataFrame(points))
    left.set(xlabel="$z$", ylabel=r"gate $g^{(\nu)}$", title="One signal, many gates")
    fig.legend(loc="outside upper center", ncols=len(rates_of_decay))
    middle.set(
        yscale="log",
        ylim=(1e-6, 1.5),
        xlabel=r"lag $\ell$",
        ylabel=r"kept, $P^{(\nu)}$",
        title="One digit, many memories",
    )
    spends = {"hold": np.ones_like(h_axis), "Euler": h_axis / -np.expm1(-h_axis)}
    right.semilogx(h_axis, spends["hold"], color=figures.INK, ls="--")
    right.semilogx(h_axis, spends["Euler"], color=figures.CYCLE[1])
    for name, spent in spends.items():
        points = {"panel": f"budget, {name}", "x": h_axis, "y": spent}
        frames.append(pd.DataFrame(points))
    right.axvline(corner, color=figures.MUTED, ls=":", lw=1)
    notes = {
        "zero-order hold": ((0.011, 1), (0, 6), "left", figures.INK),
        "Euler's $B$": ((4, 4.1), (-8, 2), "right", figures.CYCLE[1]),
        "Mamba starts left of here": ((corner, 7.5), (-5, 0), "right", figures.MUTED),
    }
    for note, (point, offset, side, colour) in notes.items():
        right.annotate(
            note, point, offset, textcoords="offset points", ha=side, color=colour
        )
    right.set(
        xlabel=r"$h = \nu\Delta$",
        ylabel="spent / budget",
        title="What a constant step hands out",
        ylim=(0, 9),
    )
display(
    figures.save(
        fig,
        "s6-scales",
        pd.concat(frames, ignore_index=True),
        caption=r"""One channel of S6. *Upper left*: one pre-activation $z$ sets the gates of all states; the decay $\nu$
        shifts and sharpens the sigmoid. *Upper right*: what each state keeps of the past of a real digit; on this axis
        the curves are multiples of one another, so their steps, where the network rewrites, are shared. *Below*: the
        learning-rate budget that a constant $h$ hands out, with zero-order hold and with Euler's rule for $B$.""",
        alt="""Upper left: five sigmoid curves, moving to the left as the decay grows. Upper right: five falling staircases
        over the lag on a logarithmic axis, steeper for larger decay, with steps at the same lags. Below: a flat dashed
        line at one for zero-order hold, and a curve for Euler that leaves it at h near one tenth and then rises in
        proportion to h.""",
        chapter=record.chapter,
        out=out,
    )
)

# %% [markdown]
# ## A gate that turns: the linear recurrent unit
#
# The LRU {cite}`orvieto2023lru` has no data-dependent gate at all, but its state is complex:
#
# $$ x_t = \lambda\, x_{t-1} + \gamma\, B u_t $$ (eq-lru)
#
# with one $\lambda = e^{-\nu + i\theta}$ for each neuron. Every Jacobian is the same diagonal
# matrix, so {prf:ref}`thm-order-zero-exact` holds *over the complex numbers*: the effective rate
# at lag $\ell$ is $\gamma\lambda^\ell$, of modulus $\gamma |\lambda|^\ell$ and with a phase that
# turns by $\theta$ a step. As two real neurons it is a rotation that shrinks, and there the leak
# is only the diagonal, $|\lambda|\cos\theta$: the rest is recurrence. Order 0 is exact in the
# basis that diagonalises the network, and, unless $\theta$ is a multiple of $\pi$, not in this
# one.

# %%
rho, theta_1, ell = sp.symbols("rho theta ell", positive=True)


def turned(lag: sp.Expr) -> sp.Matrix:
    """λ^lag as a matrix on (Re x, Im x)."""
    cos, sin = sp.cos(lag * theta_1), sp.sin(lag * theta_1)
    return rho**lag * sp.Matrix([[cos, -sin], [sin, cos]])


induction = (turned(sp.Integer(1)) * turned(ell) - turned(ell + 1)).applyfunc(
    lambda e: sp.simplify(sp.expand_trig(sp.powsimp(sp.expand(e))))
)
B_real = turned(sp.Integer(1)) - rho * sp.cos(theta_1) * sp.eye(2)
prove(
    "lru-rotation",
    r"$\lambda^\ell$ on real pairs: modulus $\lvert\lambda\rvert^\ell$, phase $\ell\theta$",
    induction == sp.zeros(2, 2),
    zero((turned(ell).T * turned(ell) - rho ** (2 * ell) * sp.eye(2)).norm()),
)
prove(
    "lru-real-order-zero",
    r"Over the reals order 0 misses a part of size $\lvert\lambda\sin\theta\rvert$ a step",
    zero((B_real.T * B_real - (rho * sp.sin(theta_1)) ** 2 * sp.eye(2)).norm()),
)

# %% [markdown]
# Its normalisation $\gamma = \sqrt{1 - |\lambda|^2}$ (the value at which the LRU starts) is a
# budget, too, of another kind.
#
# :::{prf:proposition} A budget of squares
# :label: prop-lru-budget
#
# If $\gamma^2 = 1 - |\lambda|^2$, then
#
# $$ \sum_{k=0}^{t-1} \gamma^2 |\lambda|^{2k} = 1 - |\lambda|^{2t} . $$ (eq-lru-budget)
#
# More generally, if $\lambda_t$ is set by the data and $\gamma_t^2 = 1 - |\lambda_t|^2$, as in
# the recurrent unit of Griffin {cite}`de2024griffin`, then
# $\sum_k \gamma_k^2 \prod_{j>k} |\lambda_j|^2 = 1 - \prod_j |\lambda_j|^2$.
# :::
#
# It is {prf:ref}`thm-diagonal-budget` once more, with $\kappa = |\lambda|^2$. A gate makes the
# *weights* of the past add to one, and so keeps the size of a constant input. The LRU makes their
# *squares* add to one, and so keeps the variance of white noise. Whoever normalises one sum gives
# up the other:

# %%
k, T_sym = sp.symbols("k T", integer=True, nonnegative=True)
square = sp.summation((1 - rho**2) * rho ** (2 * k), (k, 0, T_sym - 1))
square = square.args[-1].expr if isinstance(square, sp.Piecewise) else square
prove(
    "lru-budget",
    r"$\sum_{k<t} (1-\rho^2)\rho^{2k} = 1 - \rho^{2t}$ with $\rho = \lvert\lambda\rvert$",
    zero(square - (1 - rho ** (2 * T_sym))),
    claim="C9",
)
g_0 = sp.Symbol("g", positive=True)
gamma_rates = sp.sqrt(1 - rho**2) / (1 - rho)  # Σ γ|λ|^k over all lags
gate_squares = (1 - rho) ** 2 / (1 - rho**2)  # Σ g²(1-g)^{2k} over all lags
prove(
    "two-budgets",
    r"LRU: rates sum to $\sqrt{(1+\rho)/(1-\rho)}$; a gate's squares to $g/(2-g)$",
    zero(gamma_rates**2 - (1 + rho) / (1 - rho)),
    zero(gate_squares.subs(rho, 1 - g_0) - g_0 / (2 - g_0)),
    sp.limit((gamma_rates**2 * (1 - rho)), rho, 1, "-") == 2,
    claim="C9",
)

# %%
draw = torch.Generator().manual_seed(2)
modulus, phase = torch.rand(2, STEPS, 100, generator=draw, dtype=torch.float64)
lam = torch.polar(modulus**0.1, 2 * torch.pi * phase)  # set by chance, and slow
gamma = (1 - lam.abs() ** 2).sqrt()
later = torch.cat([torch.ones_like(lam[:1]), lam.flip(0)[:-1].cumprod(0)]).flip(0)
spent = ((gamma * later).abs() ** 2).sum(0)  # Σ |γ_k ∏_{j>k} λ_j|²
record.check(
    "lru-budget-numbers",
    "C9",
    r"squares of complex, data-dependent rates against $1 - \prod\lvert\lambda_j\rvert^2$",
    float((spent - (1 - (lam.abs() ** 2).prod(0))).abs().max()),
    1e-12,
)

# %% [markdown]
# ## Why such models train fast
#
# A step of a diagonal recurrence is a pair: what is kept, and what is added,
# $(\kappa, v) = (1 - g,\, g \odot \varphi)$. Two steps in a row are again such a pair,
#
# $$ (\kappa_2, v_2) \circ (\kappa_1, v_1) = (\kappa_2 \kappa_1,\, \kappa_2 v_1 + v_2) , $$ (eq-scan)
#
# whose first member is order 0 of the transport and whose second is the state that was written
# meanwhile.
#
# :::{prf:theorem} Steps compose associatively
# :label: thm-scan
#
# The operation {eq}`eq-scan` is associative and has the unit $(1, 0)$; it is not commutative. So
# all prefixes of a sequence of $T$ steps can be computed in about $\log_2 T$ rounds
# {cite}`blelloch1990scan`, *if the pairs are known beforehand*.
# :::
#
# The proof below uses non-commutative symbols, so it covers matrices as well. What singles out
# the diagonal networks is the last condition. A pair of theirs is a function of the input and can
# be written down before the first step is made, and its product costs $n$ multiplications where
# full Jacobians need $n^3$. In a network with recurrence the pair of step $t$ depends on the
# state that only the loop can tell.

# %%
k_1, k_2, k_3, v_1, v_2, v_3 = sp.symbols("kappa_1:4 v_1:4", commutative=False)


def compose(newer: tuple, older: tuple) -> tuple:
    """Two stretches of steps as one."""
    return newer[0] * older[0], newer[0] * older[1] + newer[1]


one, two, three_ = (k_1, v_1), (k_2, v_2), (k_3, v_3)
right_first = compose(three_, compose(two, one))
left_first = compose(compose(three_, two), one)
unit = (sp.Integer(1), sp.Integer(0))
prove(
    "scan-associative",
    r"$(\kappa, v)$ compose associatively, with unit $(1, 0)$, matrices included",
    all(sp.expand(a - b) == 0 for a, b in zip(right_first, left_first, strict=True)),
    compose(unit, one) == one == compose(one, unit),
)
swapped = compose(one, two)[1] - compose(two, one)[1]
prove(
    "scan-not-commutative",
    "they do not commute, even where their entries do",
    sp.expand(swapped.subs({k_1: 1, k_2: 2})) != 0,
)


def scan(kept: Tensor, added: Tensor) -> Tensor:
    """All states from rest, in log2(T) rounds instead of T steps."""
    width = 1
    while width < len(kept):
        newer = kept[width:], added[width:]
        both = compose(newer, (kept[:-width], added[:-width]))
        kept, added = (
            torch.cat([old[:width], new])
            for old, new in zip((kept, added), both, strict=True)
        )
        width *= 2
    return added


in_rounds = scan(1 - run.g, run.g * run.phi)
record.check(
    "scan-numbers",
    "C15",
    "states by scan against states by the library's loop, on digits",
    apart(in_rounds, run.x),
    1e-12,
)

# %% [markdown]
# ## Turning the recurrence on
#
# Now back to gated recurrent networks. Keep the trained network's input weights, draw $W_r$ and
# $W_{rg}$ as `nn.Linear` would, and multiply them by a scale $\zeta$: at $\zeta = 0$ it is the
# diagonal network, at $\zeta = 1$ a gated recurrent network at its usual initialisation. The loss
# is the cross entropy at the last step. How wrong is the gradient at order 0, and how wrong with
# order 1 added? Order 1 of the adjoint is one more line in the backward sweep, the transpose of
# {ref}`claim C3 <claim-c3>`:
#
# $$
# \begin{aligned}
# \lambda^{(0)}_{k-1} &= \Lambda_k \lambda^{(0)}_k, \\
# \lambda^{(1)}_{k-1} &= \Lambda_k \lambda^{(1)}_k + (R_k + G_k)^\top \lambda^{(0)}_k .
# \end{aligned}
# $$ (eq-diag-adjoint)
#
# Beside the two stands a placebo: the effective rates of order 0, with the gates shuffled over
# time. It has the right gates in the wrong order, and must be wrong even where the truth is
# exact.


# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that turns the recurrence on"}
def switch_on(for_candidate: float, for_gate: float) -> None:
    """Recurrent weights: the same draw, scaled."""
    with torch.no_grad():
        model.W_r.copy_(for_candidate * drawn[0])
        model.W_rg.copy_(for_gate * drawn[1])


def loss_gradient(run: cells.Trajectory) -> Tensor:
    """δ of a cross entropy that reads the last state; zero at all other steps."""
    x_T = run.x[-1].clone().requires_grad_()
    answer = torch.einsum("sbq,soq->sbo", x_T, model.W_o) + model.b_o.unsqueeze(1)
    loss = cross_entropy(answer.flatten(0, 1), labels.flatten(), reduction="sum")
    delta = torch.zeros_like(run.x)
    (delta[-1],) = torch.autograd.grad(loss, x_T)
    return delta


@torch.no_grad()
def order_one(run: cells.Trajectory, delta: Tensor) -> Tensor:
    """g_k (λ⁽⁰⁾ + λ⁽¹⁾): the signal with one step of recurrence."""
    _, B = expansion.split(jacobian.terms(model, run), "leak")
    order0, order1 = delta[-1], torch.zeros_like(delta[-1])
    signals = []
    for g_k, B_k in zip(run.g.flip(0), B.flip(0), strict=True):
        signals.append(g_k * (order0 + order1))
        order1 = (1 - g_k) * order1 + torch.einsum("sbqp,sbq->sbp", B_k, order0)
        order0 = (1 - g_k) * order0
    return torch.stack(signals[::-1])


def error(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> Tensor:
    """Relative error of all weights that read the input, one number a replica."""

    def flat(gradient: dict[str, Tensor]) -> Tensor:
        return torch.cat(
            [gradient[w].flatten(1) for w in ("W_i", "W_ig", "b", "b_g")], 1
        )

    return (flat(found) - flat(wanted)).norm(dim=1) / flat(wanted).norm(dim=1)


shuffled = torch.randperm(STEPS, generator=torch.Generator().manual_seed(3))
scales = [0.0, *(10.0 ** np.arange(-4, 0.51, 0.25))]
variants = {"both": (1, 1), "candidate only": (1, 0), "gate only": (0, 1)}
found = []
for variant, (on_candidate, on_gate) in variants.items():
    for scale in scales:
        switch_on(scale * on_candidate, scale * on_gate)
        with torch.no_grad():
            live = model.run(chosen)
        delta = loss_gradient(live)
        truth = adjoint.gradients(model, live, delta)
        wrong = {"order 0": rates.shares(live) * delta[-1]}
        if variant == "both":
            wrong["order 1"] = order_one(live, delta)
            stirred = live._replace(g=live.g[shuffled])
            wrong["shuffled"] = rates.shares(stirred) * delta[-1]
        for name, s in wrong.items():
            for seed, value in enumerate(error(gradients(live, s), truth).tolist()):
                found.append((variant, scale, name, seed, value))
switch_on(0, 0)
errors = pd.DataFrame(found, columns=["recurrence", "scale", "signal", "seed", "error"])

# %% tags=["hide-input"]
at = errors.groupby(["recurrence", "signal", "scale"])["error"].median()
small = [scale for scale in scales if 1e-4 <= scale <= 1.001e-2]


def slope(signal: str) -> float:
    """Slope of the median error on log-log axes, for scales of 1e-4 to 1e-2."""
    line = at["both", signal].loc[small]
    return float(np.polyfit(np.log(small), np.log(line), 1)[0])


at_zero = errors[(errors.scale == 0) & (errors.signal != "shuffled")]
record.check(
    "switched-off",
    "C15",
    "no recurrence: orders 0 and 1 against the gradient, every seed",
    float(at_zero["error"].max()),
    1e-12,
)
placebo = errors[(errors.signal == "shuffled") & (errors.scale == 0)]["error"]
record.check(
    "shuffled-fails",
    "C15",
    "placebo, no recurrence: shuffled gates fail that test in every seed (share that passes)",
    float((placebo <= 1e-12).mean()),
    0.0,
)
record.number("placebo-least", float(placebo.min()))
record.number("placebo-median", float(placebo.median()))
record.number("placebo-tenth", float((placebo >= 0.1).mean()), f"{100 * float((placebo >= 0.1).mean()):.0f}", "%")  # fmt: skip
for degree, name in enumerate(("order 0", "order 1")):
    record.check(
        f"slope-{name.replace(' ', '-')}",
        "C3",
        f"{name} degrades with slope {degree + 1} in the recurrence's scale: distance from {degree + 1}",
        abs(slope(name) - degree - 1),
        0.05,
    )


def reaches(variant: str, signal: str, level: float) -> str:
    """The scale at which the median error first reaches a level, between two scales on log axes."""
    line = at[variant, signal].loc[lambda e: e.index > 0]
    above = line[line >= level]
    if above.empty:
        return f"beyond {max(scales):.2g}"
    if above.index[0] == line.index[0]:
        return "every scale"
    before = line.index[line.index.get_loc(above.index[0]) - 1]
    x, y = np.log([before, above.index[0]]), np.log([line[before], above.iloc[0]])
    return f"{np.exp(np.interp(np.log(level), y, x)):.2g}"


one_scale = min(scales, key=lambda scale: abs(scale - 1))
summary = [
    {
        "recurrence": variant,
        "signal": signal,
        "10 % wrong at": reaches(variant, signal, 0.1),
        "100 % wrong at": reaches(variant, signal, 1.0),
        "error at scale 1": f"{at[variant, signal][one_scale]:.2g}",
    }
    for variant, signal in (
        ("both", "order 0"),
        ("both", "order 1"),
        ("candidate only", "order 0"),
        ("gate only", "order 0"),
        ("both", "shuffled"),
    )
]
display(
    record.table(
        pd.DataFrame(summary),
        "diagonal-degrades",
        caption="How far the diagonal picture reaches: the scale of the recurrent weights at which the gradient (of "
        "all weights that read the input) is wrong by a tenth, and by all of it. Scale 1 is the usual initialisation. "
        f"Medians over {seeds} {'seed' if seeds == 1 else 'seeds'}.",
    )
)
record.number("order-0-at-one", float(at["both", "order 0"][one_scale]))
record.number("order-1-at-one", float(at["both", "order 1"][one_scale]))
record.number("shuffled-at-one", float(at["both", "shuffled"][one_scale]))
overtaken = [
    scale
    for scale in scales
    if at["both", "order 0"][scale] >= at["both", "shuffled"][scale]
]
if overtaken:
    record.number("placebo-overtakes", overtaken[0], f"{overtaken[0]:.2g}")

# %% tags=["hide-input"]
looks = {
    ("both", "order 0"): ("vermilion", "-", "D", "order 0"),
    ("both", "order 1"): ("blue", "-", "^", "order 1"),
    ("candidate only", "order 0"): ("green", "--", "s", "order 0, only $W_r$ on"),
    ("gate only", "order 0"): ("purple", "-.", "v", r"order 0, only $W_{rg}$ on"),
    ("both", "shuffled"): ("muted", ":", "o", "gates shuffled"),
}
with figures.style():
    fig, ax = plt.subplots(figsize=(7.2, 4))
    for (variant, name), (hue, line, marker, label) in looks.items():
        chosen_rows = errors[(errors.recurrence == variant) & (errors.signal == name) & (errors.scale > 0)]  # fmt: skip
        band = chosen_rows.groupby("scale")["error"].agg(["min", "median", "max"])
        colour = figures.PALETTE[hue][0]
        ax.fill_between(band.index, band["min"], band["max"], color=colour, alpha=0.15, lw=0)  # fmt: skip
        ax.loglog(band.index, band["median"], color=colour, ls=line, marker=marker, markevery=2, label=label)  # fmt: skip
    ax.axhline(0.1, color=figures.MUTED, lw=0.8)
    ax.annotate("a tenth", (1e-4, 0.1), (2, 3), textcoords="offset points", fontsize=8.5, color=figures.MUTED)  # fmt: skip
    ax.axvline(1, color=figures.MUTED, lw=0.8)
    ax.annotate("usual initialisation", (1, 1e-8), (-4, 0), textcoords="offset points", rotation=90, ha="right", fontsize=8.5, color=figures.MUTED)  # fmt: skip
    ax.set(xlabel=r"scale $\zeta$ of the recurrent weights", ylabel="relative error of the gradient")  # fmt: skip
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
display(
    figures.save(
        fig,
        "recurrence-switched-on",
        errors,
        caption=rf"""From a state-space model to a gated recurrent network, on digits. As the recurrent weights grow from
        nothing, the gradient at order 0 departs in proportion to them, order 1 with their square. Lines are medians,
        bands the range over {seeds} {"seed" if seeds == 1 else "seeds"}. The placebo has the same gates in shuffled
        order.""",
        alt="""On log-log axes five curves of the gradient's relative error over the scale of the recurrent weights. Order
        0 rises with slope one and order 1 with slope two from far below; both flatten where the scale reaches one. With
        only the candidate's or only the gate's weights on, order 0 rises in parallel. The placebo is a flat line near
        the top.""",
        chapter=record.chapter,
        out=out,
    )
)
text = {name: entry["text"] for name, entry in record.numbers.items()}
Markdown(
    f"""The bridge between the two kinds of network has no step in it: order 0 is exact on one side and leaves it with
slope one. The placebo is nowhere near: with no recurrence at all it misses the gradient by {text["placebo-median"]} of
its norm (median; at least {text["placebo-least"]}, and by a tenth or more in {text["placebo-tenth"]} % of the seeds). At
the usual initialisation order 0 is off by {text["order-0-at-one"]}, with order 1 added by {text["order-1-at-one"]};
shuffled gates miss by {text["shuffled-at-one"]}. """
    + (
        "At no scale drawn is order 0 as wrong as its placebo."
        if not overtaken
        else f"From a scale of {text['placebo-overtakes']} on, order 0 is no better than its placebo: there the gates "
        "no longer tell what reaches where."
    )
    + " These are the weights of one task with slow gates and a reading at the last step; {ref}`ch-validity` maps the "
    "same departure over lags and scales."
)

# %% [markdown]
# ## Depth is an order
#
# What does the theory say about a *stack* of diagonal layers, which is what every such model is?
# Not that it is diagonal. Layer 2 reads layer 1, at the same step, so a push of the old state of
# layer 1 reaches the new state of layer 2. In the joint state of two layers
#
# $$
# J_t = \underbrace{\begin{pmatrix} \Lambda^1_t & 0 \\ 0 & \Lambda^2_t \end{pmatrix}}_{A}
#     + \underbrace{\begin{pmatrix} 0 & 0 \\ V^2_t \Lambda^1_t & 0 \end{pmatrix}}_{B} , \quad
# V^2_t = \frac{\partial x^2_t}{\partial x^1_t} .
# $$ (eq-stack)
#
# $V$ is dense: it holds the weights between the layers. Order 0 of the stack is wrong wherever
# they talk. But $B$ is *strictly below* the diagonal, and that ends the expansion.
#
# :::{prf:theorem} A stack of $L$ diagonal layers is exact at order $L - 1$
# :label: thm-depth-order
#
# Let each layer be diagonal in its own state and read only layers below it, at the same step
# (skip connections allowed). Then in the leak splitting $M^{(r)}_{t,k} = 0$ for all $r \ge L$,
# and $M_{t,k} = \sum_{r=0}^{L-1} M^{(r)}_{t,k}$ exactly. In general order $L - 2$ is not exact.
# :::
#
# :::{prf:proof}
# A factor $A$ stays on its floor; a factor $B$ goes up at least one. A product with $r$ factors
# $B$ goes up at least $r$ floors, and there are only $L - 1$ to climb. The cell multiplies out
# all words of $A$ and $B$ up to length 5 for stacks of 2, 3 and 4 layers, with a non-commutative
# symbol for every block.
# :::


# %%
def stack(layers: int, step: int) -> tuple[sp.Matrix, sp.Matrix]:
    """A and B of one step: a symbol for every block."""
    A = sp.diag(*sp.symbols(f"Lambda^1:{layers + 1}_{step}", commutative=False))
    B = sp.Matrix(
        layers,
        layers,
        lambda i, j: sp.Symbol(f"V_{step}^{i}{j}", commutative=False) if i > j else 0,
    )
    return A, B


climbs, needed = [], []
for layers in (2, 3, 4):
    factors = [stack(layers, step) for step in range(5)]
    for length in range(1, 6):
        for word in product((0, 1), repeat=length):
            pieces = [factors[j][letter] for j, letter in enumerate(word)]
            vanishes = reduce(lambda M, F: F * M, pieces).is_zero_matrix
            if sum(word) >= layers:
                climbs.append(vanishes)
            if sum(word) == layers - 1:
                needed.append(not vanishes)
prove(
    "depth-is-order",
    r"all words with $L$ or more factors $B$ vanish, $L = 2, 3, 4$, length up to 5",
    *climbs,
)
prove(
    "depth-needs-order",
    r"no word with exactly $L - 1$ factors $B$ does: order $L-2$ is not enough",
    *needed,
)

# %% [markdown]
# So a state-space model of $L$ layers has $L$ orders and no more. Order $r$ collects all paths
# that climb $r$ times; for two layers {ref}`claim C6 <claim-c6>` gives the one that is missing in
# closed form, $\sum_i P^2_{t,i}\, V^2_i \Lambda^1_i\, P^1_{i-1,k}$: down in layer 1 at its rate,
# up once at step $i$, on in layer 2 at another rate. Check it with real layers, each a network of
# the library with its recurrent weights cut, against autograd:

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that stacks three layers and expands them"}
width, floors, span = 6, 3, 12
draw = torch.Generator().manual_seed(4)
options = {"bias": True, "generator": draw, "dtype": torch.float64}
tower = [cells.GatedRNN(width, width, "multi", **options) for _ in range(floors)]
for layer in tower:
    layer.requires_grad_(False)
    layer.W_r.zero_()
    layer.W_rg.zero_()
noise = torch.randn(span, width, generator=draw, dtype=torch.float64)


def up(states: Tensor, u_t: Tensor) -> Tensor:
    """One step of the whole stack: (L n) old states to (L n) new ones."""
    new = []
    for layer, x_l in zip(tower, states.split(width), strict=True):
        u_t = layer.run(u_t[None], x_l).x[0]
        new.append(u_t)
    return torch.cat(new)


A = torch.zeros(span, floors * width, floors * width, dtype=torch.float64)
B = torch.zeros_like(A)
x_t, by_jacrev = torch.zeros(floors * width, dtype=torch.float64), []
blocks = [slice(width * i, width * (i + 1)) for i in range(floors)]
for t, u_t in enumerate(noise):
    by_jacrev.append(torch.func.jacrev(up)(x_t, u_t))
    below = u_t
    for i, (layer, here) in enumerate(zip(tower, blocks, strict=True)):
        live = layer.run(below[None], x_t[here])
        A[t, here, here] = jacobian.terms(layer, live).leak[0]
        phi_t, g_t, x_old = live.phi[0], live.g[0], live.x_prev[0]
        to_candidate = (g_t * (1 - phi_t**2)).unsqueeze(-1) * layer.W_i
        to_gate = (g_t * (1 - g_t) * (phi_t - x_old)).unsqueeze(-1) * layer.W_ig
        for floor in blocks[:i]:  # V times what the layer below answers
            J_below = (A + B)[t, blocks[i - 1], floor]
            B[t, here, floor] = (to_candidate + to_gate) @ J_below
        below = live.x[0]
    x_t = up(x_t, u_t)
record.check(
    "stack-jacobian",
    "C15",
    "Jacobian of three stacked layers, $A + B$, against autograd",
    apart(A + B, torch.stack(by_jacrev)),
    1e-12,
)

# %% tags=["hide-input"]
M = transport.products(A + B, span)[0]
rows = []
for layers in range(1, floors + 1):
    size = layers * width
    part = A[:, :size, :size], B[:, :size, :size]
    norm = float(torch.linalg.matrix_norm(M[:size, :size], 2))
    gaps = [
        float(torch.linalg.matrix_norm(expansion.remainder(*part, K, 1.0), 2))
        for K in range(floors)
    ]
    rows.append(
        {"layers": layers}
        | {
            f"order {K}": "exactly 0" if gap == 0 else f"{gap / norm:.2g}"
            for K, gap in enumerate(gaps)
        }
    )
    record.check(
        f"stack-{layers}-exact",
        "C15",
        f"remainder of order {layers - 1} in a stack of {layers}: exactly zero",
        gaps[layers - 1],
        0.0,
    )
    if layers > 1:
        record.check(
            f"stack-{layers}-needed",
            "C15",
            f"remainder of order {layers - 2} in a stack of {layers} is not zero",
            gaps[layers - 2] > 1e-6 * norm,
        )
        record.number(f"stack-{layers}-order-0", gaps[0] / norm)
display(
    record.table(
        pd.DataFrame(rows),
        "depth-orders",
        caption=f"What is left of the joint transport over {span} steps after each order, relative to its norm, in "
        "stacks of diagonal layers with random weights. A layer more costs an order more.",
    )
)
Markdown(
    f"In a stack of two, order 0 misses {record.numbers['stack-2-order-0']['text']} of the joint transport's norm. "
    "That is the counter-example to any sentence that begins *in a state-space model the effective learning rate is "
    "the whole story* and goes on without *of one layer*."
)

# %% [markdown]
# ## What the theory says about today's state-space models, and what it does not
#
# It says that inside one layer of minGRU, LRU or S6 the coupling between gates and learning is
# not a metaphor and not small-gate asymptotics. The rate at which neuron $q$ learns from lag
# $\ell$ *is* $\mu\, g^q_k P^q_{t,k}$, exactly, for every weight of the layer, on every sequence.
# With zero-order hold it comes out of a fixed budget; with Euler's $B$ out of one that grows with
# the step; in an LRU out of one for squares. The $N$ states of an S6 channel are $N$ readings of
# one clock. And it can all be computed forwards.
#
# It does not say that a *model* is diagonal. Layers mix neurons, and each layer of depth adds one
# order ({prf:ref}`thm-depth-order`); projections, normalisation and output gates stand between
# the layers and enter through $V$. A short convolution over time, which Mamba puts before each S6
# layer, is a memory of its own, a shift register, and outside the theorem. It does not speak of
# $B_t$ and $C_t$, which Mamba also lets the input choose and which weigh what is written and read
# but carry nothing through time. And it says nothing of what an *optimiser* makes of these
# gradients, for which see {ref}`ch-optimisers`: such models are trained with Adam, not with the
# plain descent that the word *rate* here refers to.
#
# ## What to try
#
# 1. **Diagonal is not enough.** Give the network a *diagonal* $W_r$, so that each neuron reads
#    itself. All its Jacobians are diagonal. Is order 0 exact? Is the corrected rate of
#    {ref}`claim C8 <claim-c8>`?
# 2. **A third discretisation.** The bilinear rule keeps $\kappa = (1 - h/2)/(1 + h/2)$ and writes
#    $h/(1 + h/2)$. Does it keep the budget? For which $h$ is $\kappa$ a fraction kept?
# 3. **Cheating the scan.** With cumulative products,
#    $x_t = P_{t,0} \sum_k g_k \varphi_k / P_{k,0}$ takes two lines. Try it on a network with fast
#    gates. Why does nobody do it?
#
# The solutions are folded below; they run with the chapter.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 1: diagonal is not enough"}
# R is diagonal but not zero: products stay diagonal, order 0 is off, all orders together are exact.
with torch.no_grad():
    model.W_r.copy_(torch.diag_embed(drawn[0].diagonal(dim1=-2, dim2=-1)))
    live = model.run(chosen)
    own = jacobian.terms(model, live)
    lag = 16
    truth = transport.products(jacobian.blocks(model, live), lag)
    diagonal = truth.diagonal(dim1=-2, dim2=-1)
    off = float((truth - torch.diag_embed(diagonal)).abs().max())
    order0_error = apart(rates.retention(live, lag), diagonal)
    order1_error = apart(rates.corrected(own, lag), diagonal)
    A, B = (part[-lag:] for part in expansion.split(own, "leak"))
    all_orders = expansion.orders(A, B, lag).sum(0)
switch_on(0, 0)
record.check("try-still-diagonal", "C15", "diagonal $W_r$: products off the diagonal", off, 0.0)  # fmt: skip
record.check(
    "try-order-zero-off",
    "C15",
    "diagonal $W_r$: order 0 is off, order 1 is closer, neither is exact",
    order0_error > order1_error > 1e-12,
)
record.check("try-all-orders", "C3", "all orders together are exact again", apart(all_orders, truth[-1]), 1e-12)  # fmt: skip
first, second = record.number("try-order-0", order0_error), record.number("try-order-1", order1_error)  # fmt: skip
Markdown(f"At lag {lag} order 0 is off by {first}, the corrected rate by {second}.")

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 2: a third discretisation"}
# What it keeps and what it writes add to one, so the budget is kept; κ ≥ 0 needs h ≤ 2.
keeps, writes = (1 - h / 2) / (1 + h / 2), h / (1 + h / 2)
prove(
    "try-bilinear",
    r"Bilinear: $w = 1 - \kappa$, a budget kept; $\kappa$ changes sign at $h = 2$",
    zero(keeps + writes - 1),
    sp.solve(keeps, h) == [2],
    claim="C9",
)

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 3: cheating the scan"}
# P runs out of floating-point numbers, and 0/0 is not a state. The scan never divides.
fast = torch.full((400, 1), 0.9, dtype=torch.float64)
candidates = torch.ones_like(fast)
cumulative = (1 - fast).cumprod(0)
cheated = cumulative * (fast * candidates / cumulative).cumsum(0)
honest = scan(1 - fast, fast * candidates)
finite_steps = int(cheated.isfinite().sum())
record.check("try-cheat-fails", "C15", "the division breaks down within 400 fast steps", finite_steps < 400)  # fmt: skip
record.check("try-scan-holds", "C15", "the scan does not: last state against one", abs(float(honest[-1]) - 1), 1e-12)  # fmt: skip
Markdown(f"The cumulative product lasts for {finite_steps} steps.")

# %% [markdown]
# ## The ledger
#
# Symbolic rows are proofs by computer algebra, numeric rows are measurements against a tolerance.
# A tolerance of 0 means what it says: not one bit.

# %% tags=["hide-input"]
display(
    record.validation(caption="Everything this chapter claims, and whether it holds.")
)
record.close()
