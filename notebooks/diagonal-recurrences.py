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
# When is the effective learning rate the whole story? In a gated network it is an
# approximation: order 0 sees how much each neuron keeps and is blind to what neurons tell
# each other ({ref}`ch-products`). How far it carries had to be measured ({ref}`ch-validity`).
#
# In one family of networks nothing has to be measured. In minGRU {cite}`feng2024mingru`, in the
# linear recurrent unit {cite}`orvieto2023lru` and in the selective state-space models of Mamba
# {cite}`gu2023mamba`, gate and candidate read the input and *not* the state. Order 0 is then not
# the first word of an expansion. It is the Jacobian product, and the effective rates
# ({ref}`ch-bptt`) are backpropagation itself.
#
# :::{prf:theorem} Order 0 is the product
# :label: thm-order-zero-exact
#
# If $g_t$ and $\varphi_t$ are functions of $u_t$ alone, any functions, then for all $t \ge k$
#
# $$ M_{t,k} = \operatorname{diag}(P_{t,k}), \qquad P_{t,k} = \prod_{j=k+1}^{t} (1 - g_j), $$ (eq-diag-product)
#
# and the {term}`remainder` of the leak {term}`splitting` ({ref}`claim C4 <claim-c4>`) is exactly
# zero at every order and every $\varepsilon$. Conversely, if order 0 is the product at every lag,
# then $R_t + G_t = 0$ at every step.
# :::
#
# This is claim C15 of the {ref}`notation page <notation>`. The chapter proves it and follows it in
# two directions. Forwards, to the state-space models of today: their step is our gate, written
# differently. Backwards, to gated networks: the recurrence is turned on little by little, and order
# 0 is watched as it fails. The last part shows what the theorem does *not* cover, which is depth.

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters"}
profile = "ci"
seeds = 3  # independent networks, trained side by side
device = "auto"
out = "../artifacts/draft/diagonal-recurrences"
n_hidden = 24
training_steps = 250
probes = 16  # digits on which gradients are compared
rates_of_decay = [1, 2, 4, 8, 16]  # ν, the states of one S6 channel
state_size = 16  # N in Mamba's own initialisation: its ν run from 1 to N
largest_step = 0.1  # and its largest initial step Δ

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the imports"}
from functools import partial
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import sympy as sp
import torch
from gatelr import adjoint, expansion, jacobian, rates, transport
from gatelr.experiments import diagonal
from gatelr.experiments.agreement import discrepancy
from gatelr.experiments.digits import for_each_seed
from gatelr.record import Chapter, figures, show
from gatelr.symbolic import W_r, W_rg, closed_form, n, p, q, r, update, x
from torch.nn.functional import softplus

chapter = Chapter("diagonal-recurrences")
prove = partial(chapter.prove, claim="C15")
check = partial(chapter.check, claim="C15")
prove_budget = partial(chapter.prove, claim="C9", scope="every step")
check_budget = partial(chapter.check, claim="C9")

# %% [markdown]
# ## Why order 0 is the product
#
# Take the update rule of the whole family, {eq}`eq-update`. Cut the two wires that run from the
# state to the gate and to the candidate: $W_{rg} = 0$ and $W_r = 0$. In index notation, as in
# {ref}`ch-jacobians`, that is one replacement. It leaves nothing but the leak.

# %%
cut = {W[q, i]: sp.Integer(0) for W in (W_r, W_rg) for i in (p, r)}
terms = (term.xreplace(cut).doit() for term in closed_form("multi"))
leak, recurrent, gate = terms
entry = update("multi").xreplace(cut).diff(x[p]).doit()
prove(
    "terms-vanish",
    (
        r"Gate and candidate blind to the state: $R = G = 0$, $J = \Lambda$, "
        r"every $n$"
    ),
    recurrent,
    gate,
    entry - leak,
)

# %% [markdown]
# One Jacobian is diagonal, so all products are. That is the proof, written out:
#
# :::{prf:proof}
# *Product.* By induction over $t$: $M_{k,k} = I$, and a diagonal matrix times a diagonal matrix
# is one,
#
# $$ \sum_r \delta^{qr}(1-g^q)\,\delta^{rp} P^r = \delta^{qp} (1-g^q) P^q , $$
#
# which SymPy sums below for symbolic $n$. *Remainder.* It starts at zero and obeys
#
# $$ R_K(j) = (A_j + \varepsilon B_j) R_K(j-1) + \varepsilon^{K+1} B_j M^{(K)}_{j-1} . $$
#
# With $B_j = 0$ it stays there. *Converse.* At lag 1 the remainder of order 0 is
# $J_t - \Lambda_t = R_t + G_t$.
# :::

# %%
g, phi, P = map(sp.IndexedBase, ("g", "phi", "P"))  # no x inside
entry = ((1 - g[q]) * x[q] + g[q] * phi[q]).diff(x[p]).doit()
delta_qr, delta_rp = sp.KroneckerDelta(q, r), sp.KroneckerDelta(r, p)
longer = sp.Sum(delta_qr * (1 - g[q]) * delta_rp * P[r], (r, 0, n - 1))
longer = longer.doit().args[0].expr  # p is the number of a neuron
step = sp.KroneckerDelta(q, p) * (1 - g[q])
facts = entry - step, longer - step * P[p]
prove(
    "order-zero-is-the-product",
    (
        r"$M_{t,k} = \operatorname{diag}(P_{t,k})$: induction step, symbolic "
        r"$n$, any $g(u)$, $\varphi(u)$"
    ),
    *facts,
)

A, B, before, M = sp.symbols("A_j B_j R M", commutative=False)
eps, K = sp.symbols("epsilon K", positive=True)
R = (A + eps * B) * before + eps ** (K + 1) * B * M
stays = sp.expand(R.subs({B: 0, before: 0}))
prove(
    "remainder-stays-zero",
    (
        r"With $B_j = 0$ a zero remainder stays zero, for every $K$ and "
        r"$\varepsilon$"
    ),
    stays,
)
first = sp.expand(R.subs({K: 0, eps: 1, M: 1, before: 0}))
prove(
    "and-only-then", r"At lag 1 the remainder of order 0 is $R + G$ itself", first - B
)

# %% [markdown]
# Nothing was assumed about $\varphi$. minGRU has a linear candidate and our library a hyperbolic
# tangent; the theorem holds for both. The gate need not even be smooth. Only one thing counts: no
# gate and no candidate looks at the state.
#
# ## A selective network on real sequences
#
# In the library such a network is a `multi` network whose two recurrent weights are zero and stay
# zero. Train one, in $S$ replicas, on the handwritten digits of {ref}`ch-agreement`, read pixel by
# pixel. The biases of its gates start as minus the logarithm of a lag between one step and the
# whole sequence, which is the {term}`matched gate` of {ref}`ch-time-scales`.

# %%
selective = diagonal.train(n_hidden, seeds, training_steps, chapter.device)
model, unseen = selective.model, for_each_seed(selective.u, seeds)
right = model(unseen).argmax(-1) == selective.target
always = selective.target == selective.guess
for name, hits in {"accuracy": right, "accuracy-guess": always}.items():
    percent = 100 * float(hits.double().mean())
    chapter.number(name, percent, f"{percent:.0f}", "%")

# %% [markdown]
# After training it names {result}`diagonal-recurrences/accuracy` % of the digits that it was not
# trained on. Always saying the commonest one would name
# {result}`diagonal-recurrences/accuracy-guess` %. That is no record, but a network at work: it sees
# one pixel at a time, and all that it knows of where it is on the page is what its neurons still
# keep.
#
# ### The theorem in numbers
#
# From here on everything is measured in double precision. First the expansion. Its remainder must
# be *exactly* zero, so the tolerance is zero: no rounding is allowed for. Then the product of
# Jacobians, up to the length of the sequence.

# %%
model, digits = model.double(), unseen[:, :, :probes].double()
with torch.no_grad():
    run = model.run(digits)
terms, J = jacobian.terms(model, run), jacobian.blocks(model, run)
A, B = expansion.split(terms, "leak")
T, lags = len(J), (1, 8, len(J))
remainders = [
    expansion.remainder(A[-lag:], B[-lag:], K, eps).abs().max()
    for lag, K, eps in product(lags, (0, 1), (1.0, 1e-6))
]
P_lag = {lag: torch.diag_embed(rates.retention(run, lag)) for lag in lags}
M_lag = {lag: M for lag, M in transport.lags(J, T) if lag in lags}
apart = max(discrepancy(M_lag[lag], P_lag[lag]) for lag in lags)
check(
    "remainder-zero",
    r"remainder of the expansion, orders 0 and 1, on digits: exactly zero",
    float(max(remainders)),
)
check(
    "product-is-retention",
    (
        r"product of Jacobians against $\operatorname{diag}(P_{t,k})$, lags up "
        r"to $T$"
    ),
    apart,
    1e-12,
)

# %% [markdown]
# Now the gradient. If order 0 is the transport, then the effective rates *are* backpropagation.
# What reaches step $k$ from all later losses is $s_k = \sum_{t \ge k} \mu_{t,k} \odot \delta_t$
# with $\mu_{t,k} = g_k P_{t,k}$, and
#
# $$
# \begin{aligned}
# \nabla_{W_i} L &= \sum_k \big(\varphi'(a_k) \odot s_k\big)\, u_k^\top, \\
# \nabla_{W_{ig}} L &= \sum_k \big((\varphi_k - x_{k-1}) \odot (1 - g_k) \odot s_k\big)\, u_k^\top ,
# \end{aligned}
# $$ (eq-diag-gradient)
#
# with no sweep backwards anywhere. The gate's own weights learn at the same effective rates, times
# how much there was to change. Even $W_r$ and $W_{rg}$, which are zero, have a gradient, by the same
# formula with $x_{k-1}$ for $u_k$. Order 0 is exact there too. So there are three ways to one
# gradient, for a loss that reads every state: the rates, the backward sweep of the library, and
# autograd.

# %%
draw = torch.Generator().manual_seed(1)
delta = torch.randn(run.x.shape, generator=draw, dtype=torch.float64).to(run.x)
s = torch.zeros_like(run.x)
for lag in range(T):
    s[: T - lag] += rates.effective(run, 1.0, lag) * delta[lag:]
ways = {"effective rates": rates.gradients(model, run, s)}
ways["adjoint sweep"] = adjoint.gradients(model, run, delta)
loss = (model.requires_grad_().run(digits).x * delta).sum()
names = [*ways["effective rates"]]
exact = torch.autograd.grad(loss, [getattr(model, name) for name in names])
model.requires_grad_(False)
gaps = {
    way: list(map(discrepancy, map(found.get, names), exact))
    for way, found in ways.items()
}
distances = pd.DataFrame(gaps, [f"`{name}`" for name in names])
printed = distances.map("{:.1e}".format).rename_axis("weight")
chapter.table("diagonal-gradients", printed.reset_index())
for way, gap in distances.max().items():
    name = "gradient-by-" + ("rates" if "rates" in way else "adjoint")
    check(name, f"{way} against autograd, every weight", gap, 1e-12)

# %% [markdown]
# :::{table-file} /artifacts/diagonal-recurrences/tables/diagonal-gradients.csv
# :name: tab-diagonal-gradients
#
# Rates, sweep and autograd give one gradient: relative distance from autograd, for a loss that reads
# every state of every digit. The effective rates use no backward sweep.
# :::
#
# The trace of {ref}`claim C12 <claim-c12>` is a fourth way, computed *forwards* in the memory of one
# matrix. For a GRU it approximates the gradient. For a diagonal network it is the exact gradient of a
# loss at the last step, which a test of the library holds it to.
#
# ### What the gates bet on
#
# {numref}`fig-selective-rates` shows the rates themselves, for one digit: how the last state's
# learning rate is divided over all pixels that were read. Look at the slow neuron. Its rate jumps
# where the pen was, and is low where the page is white; a constant gate of the same mean could only
# decay.

# %% tags=["hide-input"]
neurons = run.g[:, 0, 0].mean(0).argsort()
ranks = [int(f * (n_hidden - 1)) for f in (0.15, 0.3, 0.5)]
neurons, names = neurons[ranks], ["slow", "middling", "faster"]
steps = pd.RangeIndex(1, T + 1, name="step")
share = rates.shares(run)[:, 0, 0, neurons].cpu()
curves = pd.DataFrame(share, steps, names).rename_axis(columns="series")
curves = curves.unstack().rename("rate").reset_index("series")
mean = run.g[:, 0, 0, neurons].mean(0).cpu().numpy()
constant = mean * (1 - mean) ** (T - steps.to_numpy()[:, None])
curves["constant"] = constant.T.ravel()
pixels = digits[:, 0, 0].cpu().T
with figures.style():
    shape = {"sharex": True, "height_ratios": [0.3, 3], "figsize": (7.2, 3.8)}
    fig, (top, bottom) = plt.subplots(2, 1, **shape)
    span = (0.5, T + 0.5, 0, 1)
    top.imshow(pixels, cmap="gray_r", aspect="auto", extent=span)
    top.set(yticks=[], title="One digit, pixel by pixel")
    top.grid(False)
    look = {"x": "step", "hue": "series", "ax": bottom}
    sns.lineplot(curves, y="constant", ls=":", legend=False, **look)
    sns.lineplot(curves, y="rate", **look)
    bottom.set(xlabel=f"step $k$ (lag ${T}-k$)", ylabel="rate $g_k P_{T,k}$")
    bottom.set(yscale="log", ylim=(1e-4, 1), xticks=range(8, T + 1, 8))
    bottom.legend(title="neuron; dotted: constant gate", ncols=3)
chapter.figure("selective-rates", fig, curves.reset_index())
ratio = (curves.rate / curves.constant).groupby(curves.series)
spread = ratio.quantile(0.9) / ratio.quantile(0.1)
chapter.number("selective-spread", float(spread.median()))

# %% [markdown]
# :::{figure} /artifacts/diagonal-recurrences/figures/selective-rates.svg
# :name: fig-selective-rates
# :alt: A strip of grey pixels over the steps of one digit. Below it three curves on a logarithmic axis, each around a
#   smooth dotted line. The curve of the slow neuron jumps up at dark pixels and down between them; the others follow
#   their dotted lines closely.
#
# A selective network divides its learning rate by what it reads. *Top*: the pixels of a digit.
# *Bottom*: the effective rate at the last step, for every pixel and three neurons (solid), beside
# constant gates of the same mean (dotted). These rates are no approximation: they are the Jacobian
# products of this network.
# :::
#
# Divide the rates of the three neurons by those of their constant gates. Over the pixels, the ninth
# decile of that ratio is {result}`diagonal-recurrences/selective-spread` times the first, in the
# median of the three. The sum over pixels cannot move: it is one, less what is left of the initial
# state.
#
# ## The step of a selective state-space model
#
# S6, the layer inside Mamba, does not begin with a gate. It begins with a differential equation for
# each channel and each of its $N$ states, $\dot x = -\nu\, x + B u$ with $\nu > 0$ (the paper
# writes $A = -\nu$), and a step size $\Delta_t = \operatorname{softplus}(z_t)$ that the input sets.
# Holding the input over the step, *zero-order hold*, is the exponential integrator of
# {ref}`ch-time-scales`. SymPy solves it:

# %%
nu, Delta, drive = sp.symbols("nu Delta varphi", positive=True)
x_0, z, t = sp.symbols("x_0 z t", real=True)
state = sp.Function("x")(t)
ode = sp.Eq(state.diff(t), -nu * state + nu * drive)  # φ = B u / ν
solution = sp.dsolve(ode, state, ics={state.subs(t, 0): x_0})
held = sp.collect(sp.expand(solution.rhs.subs(t, Delta)), [x_0, drive])
show("x_t", held)
keeps = sp.exp(-nu * Delta)
facts = held.coeff(x_0) - keeps, held.coeff(drive) - (1 - keeps)
statement = (
    r"Zero-order hold keeps $e^{-\nu\Delta}$ and writes $1 - "
    r"e^{-\nu\Delta}$ of $\varphi = B u/\nu$"
)
prove("zero-order-hold", statement, *facts, scope="every ν and Δ")

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
# $-\ln(1 - \sigma(z)) = \operatorname{softplus}(z)$. The speed of the clock is the softplus of the
# gate's pre-activation. Powers are compared by their logarithms.

# %%
soft, shut = sp.log(1 + sp.exp(z)), 1 / (1 + sp.exp(z))  # Δ, 1 - σ(z)
kept = keeps.subs(Delta, soft)


def log(power):
    return sp.expand_log(sp.log(power), force=True)


prove_s6 = partial(prove, scope="every ν and z")
sigma = 1 / (1 + sp.exp(-z))
sigmoid = 1 - kept.subs(nu, 1) - sigma
prove_s6(
    "s6-sigmoid",
    (r"$1 - e^{-\operatorname{softplus}(z)} = \sigma(z)$: Theorem 1 of Gu " r"and Dao"),
    sigmoid,
)
power = shut - (1 - sigma), log(kept) - log(shut**nu)
prove_s6(
    "s6-power", r"$e^{-\nu\operatorname{softplus}(z)} = (1 - \sigma(z))^\nu$", *power
)
two_steps = kept * kept.subs(z, sp.Symbol("z_1", real=True))
warp = log(two_steps) - log(two_steps.subs(nu, 1) ** nu)
prove_s6(
    "s6-one-warp",
    (r"$P^{(\nu)} = (P^{(1)})^\nu$: one more step multiplies both sides " r"alike"),
    warp,
)
memory = -1 / log(kept)  # in steps
scales = memory - 1 / (nu * soft), memory / memory.subs(nu, 1) - 1 / nu
prove_s6(
    "s6-time-scales",
    (
        r"Time-scale $-1/\ln(1-g^{(\nu)}) = 1/(\nu\Delta)$: ratios between "
        r"states are fixed"
    ),
    *scales,
)

# %% [markdown]
# In numbers: run the trained network's own gates through an S6 step,
# $\Delta = \operatorname{softplus}(a^g)$. The states must be those of `GatedRNN`, and the power law
# must hold on its retention.

# %%
decays = run.x.new_tensor(rates_of_decay)
clock = softplus(run.a_g)  # Δ
states, x_t = [], torch.zeros_like(run.x[0])
for step, candidate in zip(clock, run.phi, strict=True):
    x_t = torch.exp(-step) * x_t - torch.expm1(-step) * candidate
    states.append(x_t)
elapsed = clock.flip(0).cumsum(0)[-1].unsqueeze(-1)
powers = rates.retention(run, T)[0].unsqueeze(-1) ** decays
gap = discrepancy(torch.stack(states), run.x)
check(
    "s6-is-gated-rnn",
    (r"states of an S6 step with $A=-1$ against the library's network, on " r"digits"),
    gap,
    1e-12,
)
gap = discrepancy(torch.exp(-decays * elapsed), powers)
check(
    "s6-power-numbers",
    (
        r"$e^{-\nu\sum\Delta}$ against $(P^{(1)})^\nu$ over whole digits, "
        r"every $\nu$"
    ),
    gap,
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
# By induction over $t$ from $S_0 = 0$, in the next cell. In the first case the step turns $1 - Q$
# into $1 - \kappa_t Q$. In the second it turns a mean of the weights so far into a mean with one
# more.
# :::
#
# Zero-order hold is the first case. The released code of Mamba discretises $A$ by zero-order hold
# and $B$ by Euler's rule, writing $\Delta B u$ (its authors
# [explain](https://github.com/state-spaces/mamba/issues/114) that this is simpler and does not
# change the results). In units of the candidate $\varphi = B u/\nu$ that is a weight
# $h = \nu\Delta$ where the gate would have $1 - e^{-h}$. This is the second case, with
#
# $$ c(h) = \frac{h}{1 - e^{-h}} > 1 . $$ (eq-overspent)

# %%
kappa, c, Q, mean, h = sp.symbols("kappa c Q m h", positive=True)
kept_one = kappa * (1 - Q) + (1 - kappa) - (1 - kappa * Q)
theta = kappa * (1 - Q) / (1 - kappa * Q)  # the weight of the mean so far
new_mean = (kappa * mean * (1 - Q) + c * (1 - kappa)) / (1 - kappa * Q)
averages = [new_mean - theta * mean - (1 - theta) * c]
averages += [(1 - theta) - (1 - kappa) / (1 - kappa * Q)]
overspent = h / (1 - sp.exp(-h))
overspends = [sp.series(overspent, h, 0, 3).removeO() - (1 + h / 2 + h**2 / 12)]
excess = sp.exp(h) * (h - 1 + sp.exp(-h))  # has the sign of c - 1
overspends += [(overspent - 1) * (1 - sp.exp(-h)) - excess * sp.exp(-h)]
# its slope is above 0, so the excess is
overspends += [sp.limit(excess, h, 0), excess.diff(h) - h * sp.exp(h)]
rise = sp.simplify(overspent.diff(h) * (1 - sp.exp(-h)) ** 2)
grows = rise.subs(h, 0), rise.diff(h) - h * sp.exp(-h)
prove_budget(
    "budget-induction",
    (r"$w = 1-\kappa$: from $S = 1 - Q$ follows $\kappa S + w = 1 - \kappa " r"Q$"),
    kept_one,
)
prove_budget(
    "budget-weighted-mean",
    (
        r"$w = c(1-\kappa)$: the new mean is $\theta\,\bar c + (1-\theta)\,c$, "
        r"with $0 \le \theta \le 1$"
    ),
    *averages,
)
prove_budget(
    "euler-overspends",
    r"$c(h) = 1 + h/2 + h^2/12 + \dots$, and $c(h) > 1$ for every $h > 0$",
    *overspends,
)
prove_budget(
    "euler-grows", r"$c(h)$ grows with $h$: a wider step hands out more", *grows
)

# %% [markdown]
# On the digits, let the gates of the trained network be $\Delta$, and add up what the two rules
# write for each state.

# %%
h_t = clock.unsqueeze(-1) * decays  # (T, S, B, n, N)
hold = euler = torch.zeros_like(h_t[0])
for step in h_t:
    hold = torch.exp(-step) * hold - torch.expm1(-step)
    euler = torch.exp(-step) * euler + step
room = -torch.expm1(-h_t.sum(0))  # 1 - P
c_h, ratio = h_t / -torch.expm1(-h_t), euler / room
outside = torch.maximum(c_h.amin(0) - ratio, ratio - c_h.amax(0)).max()
gap, within = discrepancy(hold, room), float((ratio <= 1).double().mean())
check_budget(
    "zoh-budget", r"zero-order hold: spent against $1-P$, every state", gap, 1e-12
)
gap = outside.clamp(min=0)
between = "Euler's ratio is between the least and the largest $c(h_k)$"
check_budget("euler-budget-between", between, gap, 1e-12)
check_budget(
    "euler-budget-broken",
    (r"Euler's $B$ overspends every budget: states with a ratio of at most " r"one"),
    within,
)
for index, decay in enumerate(rates_of_decay):
    chapter.number(f"overspent-{decay}", float(ratio[..., index].median()))
corner = float(overspent.subs(h, state_size * largest_step))
chapter.number("overspent-corner", corner, f"{corner:.2f}")

# %% [markdown]
# Euler's $B$ hands out {result}`diagonal-recurrences/overspent-1` times the budget to the slowest
# state ($\nu = 1$), and {result}`diagonal-recurrences/overspent-16` times to the fastest
# ($\nu = 16$; medians over neurons and digits). Where Mamba starts, with the largest decay and the
# largest step of its initialisation, it is at most {result}`diagonal-recurrences/overspent-corner`
# times.
#
# Is that a fault? Not by itself: the factor $c(h_k)$ depends on the input as $B$ does, and a network
# can learn to make up for it. But the sum over lags is no longer fixed, as it is for a gate. Opening
# the gate of such a layer raises the total rate; a gate can only move it between lags.
#
# {numref}`fig-s6-scales` shows one clock and many memories. All states take their gate from one
# pre-activation (left). On a real digit (right) their curves are multiples of one another on the
# logarithmic axis: the steps, where the network rewrites, are shared.

# %% tags=["hide-input"]
z_axis, lag_axis = np.linspace(-8, 4, 121), np.arange(T + 1)
back = clock[:, 0, 0, neurons[0]].flip(0).cumsum(0).cpu().numpy()
frames = []
for nu in rates_of_decay:
    gates = -np.expm1(-nu * np.log1p(np.exp(z_axis)))
    keeps = np.exp(-nu * np.r_[0.0, back])
    rows = {"gate": (z_axis, gates), "retention": (lag_axis, keeps)}
    for panel, (across, up) in rows.items():
        points = {"panel": panel, "nu": nu, "x": across, "y": up}
        frames.append(pd.DataFrame(points))
curves = pd.concat(frames)
look = {"x": "x", "y": "y", "hue": "nu", "style": "nu"}
with figures.style():
    fig, axes = plt.subplots(1, 2, figsize=(7.2, 3))
    for ax, (_, rows) in zip(axes, curves.groupby("panel"), strict=True):
        sns.lineplot(rows, **look, palette=figures.CYCLE, ax=ax)
    axes[0].set(xlabel="$z$", ylabel=r"gate $g^{(\nu)}$", title="Many gates")
    axes[1].set(xlabel=r"lag $\ell$", ylabel=r"kept, $P^{(\nu)}$")
    axes[1].set(yscale="log", ylim=(1e-6, 1.5), title="Many memories")
    axes[0].legend(title=r"$\nu$")
    axes[1].get_legend().remove()
chapter.figure("s6-scales", fig, curves)

# %% [markdown]
# :::{figure} /artifacts/diagonal-recurrences/figures/s6-scales.svg
# :name: fig-s6-scales
# :alt: Left, five sigmoid curves over the pre-activation, the further left the larger the decay. Right, five falling
#   staircases over the lag on a logarithmic axis, the steeper the larger the decay, with steps at the same lags.
#
# One channel of S6 is one clock, read by many states. *Left*: one pre-activation $z$ sets the gates
# of all states; the decay $\nu$ shifts and sharpens the sigmoid. *Right*: what each state keeps of
# the past of a real digit.
# :::
#
# ## A gate that turns: the linear recurrent unit
#
# The LRU {cite}`orvieto2023lru` has no data-dependent gate at all, but its state is complex:
#
# $$ x_t = \lambda\, x_{t-1} + \gamma\, B u_t $$ (eq-lru)
#
# with one $\lambda = e^{-\nu + i\theta}$ for each neuron. Every Jacobian is the same diagonal
# matrix, so {prf:ref}`thm-order-zero-exact` holds *over the complex numbers*. The effective rate
# at lag $\ell$ is $\gamma\lambda^\ell$: its modulus is $\gamma |\lambda|^\ell$, and its phase
# turns by $\theta$ a step. As two real neurons the unit is a rotation that shrinks. There the leak
# is only the diagonal, $|\lambda|\cos\theta$, and the rest is recurrence. Order 0 is exact in the
# basis that diagonalises the network, and not in this one, unless $\theta$ is a multiple of $\pi$.

# %%
rho, theta, ell = sp.symbols("rho theta ell", positive=True)


def turned(lag):
    """λ^lag as a matrix on (Re x, Im x)."""
    cos, sin = sp.cos(lag * theta), sp.sin(lag * theta)
    return rho**lag * sp.Matrix([[cos, -sin], [sin, cos]])


one_step, identity = turned(sp.Integer(1)), sp.eye(2)
longer = (one_step * turned(ell) - turned(ell + 1)).applyfunc(sp.expand_trig)
modulus = turned(ell).T * turned(ell) - rho ** (2 * ell) * identity
missed = one_step - rho * sp.cos(theta) * identity
missed = missed.T * missed - (rho * sp.sin(theta)) ** 2 * identity
prove(
    "lru-rotation",
    (
        r"$\lambda^\ell$ on real pairs: modulus $\lvert\lambda\rvert^\ell$, "
        r"phase $\ell\theta$"
    ),
    longer,
    modulus,
    scope="every ℓ",
)
misses = (
    r"Over the reals order 0 misses a part of size "
    r"$\lvert\lambda\sin\theta\rvert$ a step"
)
prove("lru-real-order-zero", misses, missed, scope="every λ")

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
# up the other: the rates of an LRU sum to $\sqrt{(1+\rho)/(1-\rho)}$ with $\rho = |\lambda|$, and the
# squares of a gate's to $g/(2-g)$.

# %%
k, steps = sp.symbols("k T", integer=True, nonnegative=True)
squares = sp.summation((1 - rho**2) * rho ** (2 * k), (k, 0, steps - 1))
squares = squares - (1 - rho ** (2 * steps))
lru_rates = sp.sqrt(1 - rho**2) / (1 - rho)  # Σ γ|λ|^k over all lags
gate_squares = (1 - rho) ** 2 / (1 - rho**2)  # Σ g²(1-g)^{2k}, g = 1 - ρ
g_0 = sp.Symbol("g", positive=True)
two = [lru_rates**2 - (1 + rho) / (1 - rho)]
two += [gate_squares.subs(rho, 1 - g_0) - g_0 / (2 - g_0)]
two += [sp.limit(lru_rates**2 * (1 - rho), rho, 1, "-") - 2]
prove_budget(
    "lru-budget",
    (
        r"$\sum_{k<t} (1-\rho^2)\rho^{2k} = 1 - \rho^{2t}$ with $\rho = "
        r"\lvert\lambda\rvert$"
    ),
    squares,
)
prove_budget(
    "two-budgets",
    (
        r"LRU: rates sum to $\sqrt{(1+\rho)/(1-\rho)}$; a gate's squares to "
        r"$g/(2-g)$"
    ),
    *two,
)

# %% [markdown]
# ## Why such models train fast
#
# A step of a diagonal recurrence is a pair: what is kept, and what is added,
# $(\kappa, v) = (1 - g,\, g \odot \varphi)$. Two steps in a row are again such a pair,
#
# $$ (\kappa_2, v_2) \circ (\kappa_1, v_1) = (\kappa_2 \kappa_1,\, \kappa_2 v_1 + v_2) . $$ (eq-scan)
#
# Its first member is order 0 of the transport. Its second is the state that was written meanwhile.
#
# :::{prf:theorem} Steps compose associatively
# :label: thm-scan
#
# The operation {eq}`eq-scan` is associative and has the unit $(1, 0)$; it is not commutative. So
# all prefixes of a sequence of $T$ steps can be computed in about $\log_2 T$ rounds
# {cite}`blelloch1990scan`, *if the pairs are known beforehand*.
# :::
#
# The proof uses non-commutative symbols, so it covers matrices as well. What singles out the
# diagonal networks is the last condition. Their pairs are functions of the input and can be written
# down before the first step is made, and a product costs $n$ multiplications where full Jacobians
# need $n^3$. In a network with recurrence the pair of step $t$ depends on a state that only the loop
# can tell.


# %%
def compose(newer, older):
    """Two stretches of steps as one."""
    return newer[0] * older[0], newer[0] * older[1] + newer[1]


def scan(kept, added):
    """All states from rest, in log2(T) rounds instead of T steps."""
    for width in 2 ** np.arange(len(kept).bit_length()):
        older = kept[:-width], added[:-width]
        both = compose((kept[width:], added[width:]), older)
        kept = torch.cat([kept[:width], both[0]])
        added = torch.cat([added[:width], both[1]])
    return added


k_1, k_2, k_3, v_1, v_2, v_3 = sp.symbols("k_1:4 v_1:4", commutative=False)
one, two, three_steps = (k_1, v_1), (k_2, v_2), (k_3, v_3)
right_first = compose(three_steps, compose(two, one))
left_first = compose(compose(three_steps, two), one)
gaps = [sp.expand(right_first[i] - left_first[i]) for i in (0, 1)]
unit = compose((1, 0), one) == one == compose(one, (1, 0))
swapped = compose(one, two)[1] - compose(two, one)[1]
differ = sp.expand(swapped.subs({k_1: 1, k_2: 2})) != 0
every = {"scope": "every n, matrices included"}
prove(
    "scan-associative",
    (r"$(\kappa, v)$ compose associatively, with unit $(1, 0)$, matrices " r"included"),
    *gaps,
    unit,
    **every,
)
prove(
    "scan-not-commutative",
    r"they do not commute, even where their entries do",
    differ,
    scope="one case",
)
gap = discrepancy(scan(1 - run.g, run.g * run.phi), run.x)
check(
    "scan-numbers",
    r"states by scan against states by the library's loop, on digits",
    gap,
    1e-12,
)

# %% [markdown]
# ## Turning the recurrence on
#
# Now back to gated recurrent networks. Keep the trained network's input weights, draw $W_r$ and
# $W_{rg}$ as `nn.Linear` would, and multiply them by a scale $\zeta$. At $\zeta = 0$ it is the
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
# (`diagonal.order_one` in the library.) Beside the two stands a {term}`placebo`: the effective rates
# of order 0, with the gates shuffled over time. It has the right gates in the wrong order, so it
# must be wrong even where the truth is exact.

# %%
scales = [0.0, *(10.0 ** np.arange(-4, 0.51, 0.25))]
labels = selective.target[:probes]
errors = diagonal.switched_on(selective, digits, labels, scales)
median = errors.groupby(["recurrence", "signal", "scale"])["error"].median()
off = errors[errors.scale == 0].set_index("signal")["error"]
placebo, orders = off.loc[["shuffled"]], off.drop("shuffled")
passes = float((placebo <= 1e-12).mean())
for order in (0, 1):
    line = median["both", f"order {order}"].loc[0.9e-4:1.1e-2]
    fitted = np.polyfit(np.log(line.index), np.log(line), 1)[0]
    slope = f"order {order} departs with slope {order + 1}: distance"
    gap, name = abs(fitted - order - 1), f"slope-order-{order}"
    check(name, slope, gap, 0.05, claim="C3")
check(
    "switched-off",
    r"no recurrence: orders 0 and 1 against the gradient, every seed",
    orders.max(),
    1e-12,
)
check(
    "shuffled-fails",
    (
        r"placebo, no recurrence: shuffled gates fail that test in every seed "
        r"(share that passes)"
    ),
    passes,
)

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that sums up how far each order reaches"}
chapter.table("diagonal-degrades", diagonal.reach(errors))
at_one = median["both"].xs(1.0, level="scale")
for name, error in at_one.items():
    chapter.number(f"{name.replace(' ', '-')}-at-one", float(error))
chapter.number("placebo-least", float(placebo.min()))
chapter.number("placebo-median", float(placebo.median()))
tenth = float((placebo >= 0.1).mean())
chapter.number("placebo-tenth", tenth, f"{100 * tenth:.0f}", "%")
worse = median["both", "order 0"] >= median["both", "shuffled"]
overtakes = float(worse.idxmax()) if worse.any() else "none"
text = f"{overtakes:.2g}" if worse.any() else overtakes
chapter.number("placebo-overtakes", overtakes, text)

# %% tags=["hide-input"]
with figures.style():
    fig, ax = plt.subplots(figsize=(7.2, 3.6))
    drawn = errors[(errors.recurrence == "both") & (errors.scale > 0)]
    look = {"x": "scale", "y": "error", "hue": "signal", "style": "signal"}
    look |= {"estimator": "median", "errorbar": ("pi", 100), "ax": ax}
    hues = [*figures.CYCLE[:2], figures.MUTED]
    sns.lineplot(drawn, **look, palette=hues, legend=False)
    ax.set(xscale="log", yscale="log", ylabel="relative error of the gradient")
    ax.set_xlabel(r"scale $\zeta$ of the recurrent weights")
    ax.axvline(1, color=figures.MUTED, lw=0.8)
    ax.text(0.9, 1e-8, "usual initialisation", rotation=90, ha="right")
    for name, y in (("shuffled", 0.4), ("order 0", 3e-3), ("order 1", 8e-6)):
        ax.text(2e-3, y, name)
chapter.figure("recurrence-switched-on", fig, errors)

# %% [markdown]
# :::{figure} /artifacts/diagonal-recurrences/figures/recurrence-switched-on.svg
# :name: fig-recurrence-switched-on
# :alt: Three curves of the gradient's relative error over the scale of the recurrent weights, on logarithmic axes.
#   Order 0 rises with slope one and order 1 with slope two from far below; both flatten where the scale reaches one.
#   The placebo is a flat line near the top.
#
# As the recurrent weights grow from nothing, order 0 departs from the gradient in proportion to
# them, order 1 with their square. Lines are medians, bands the range over seeds. The placebo has the
# same gates in shuffled order. The file of plotted numbers also has each of the two recurrent weights
# alone.
# :::
#
# :::{table-file} /artifacts/diagonal-recurrences/tables/diagonal-degrades.csv
# :name: tab-diagonal-degrades
#
# How far the diagonal picture reaches: the scale of the recurrent weights at which the gradient (of
# all weights that read the input) is wrong by a tenth, and by all of it. Scale 1 is the usual
# initialisation. Medians over seeds.
# :::
#
# {numref}`fig-recurrence-switched-on` shows no step between the two kinds of network: order 0 is
# exact on one side and leaves it with slope one. The placebo is nowhere near. With no recurrence at
# all it misses the gradient by {result}`diagonal-recurrences/placebo-median` of its norm in the
# median, and by {result}`diagonal-recurrences/placebo-least` at least.
#
# At the usual initialisation order 0 is off by {result}`diagonal-recurrences/order-0-at-one`. With
# order 1 added it is off by {result}`diagonal-recurrences/order-1-at-one`, and shuffled gates miss by
# {result}`diagonal-recurrences/shuffled-at-one`. The first scale drawn at which order 0 is no better
# than its placebo: {result}`diagonal-recurrences/placebo-overtakes`. Beyond such a scale the gates no
# longer tell what reaches where. {numref}`tab-diagonal-degrades` turns the two weights on one by one.
# All this holds for one task with slow gates and a reading at the last step; {ref}`ch-validity` maps
# the same departure over lags and scales.
#
# ## Depth is an order
#
# What does the theory say about a *stack* of diagonal layers, which is what every such model is?
# Not that it is diagonal. Layer 2 reads layer 1 at the same step, so a push of the old state of
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
def letters(layers, step):
    """A and B of one step: a symbol for every block."""
    leaks = sp.symbols(f"L_{step}^:{layers}", commutative=False)
    blocks = f"V_{step}^(:{layers})(:{layers})"
    V = sp.Matrix(layers, layers, sp.symbols(blocks, commutative=False))
    return sp.diag(*leaks), V.lower_triangular(-1)


climbs, needed = [], []
for L, length in product((2, 3, 4), range(1, 6)):
    steps = [letters(L, step) for step in reversed(range(length))]
    for word in product((0, 1), repeat=length):
        M = sp.prod(step[k] for step, k in zip(steps, word, strict=True))
        climbs += [M.is_zero_matrix] * (sum(word) >= L)
        needed += [not M.is_zero_matrix] * (sum(word) == L - 1)
scope = {"scope": "L = 2, 3, 4, words up to 5 letters"}
prove(
    "depth-is-order",
    (
        r"all words with $L$ or more factors $B$ vanish, $L = 2, 3, 4$, length "
        r"up to 5"
    ),
    *climbs,
    **scope,
)
prove(
    "depth-needs-order",
    (r"no word with exactly $L - 1$ factors $B$ does: order $L-2$ is not " r"enough"),
    *needed,
    **scope,
)

# %% [markdown]
# So a state-space model of $L$ layers has $L$ orders and no more. Order $r$ collects all paths
# that climb $r$ times. For two layers {ref}`claim C6 <claim-c6>` gives the one that is missing in
# closed form, $\sum_i P^2_{t,i}\, V^2_i \Lambda^1_i\, P^1_{i-1,k}$: down in layer 1 at its rate,
# up once at step $i$, on in layer 2 at another rate. The table has three real layers, each a network
# of the library with its recurrent weights cut; that $A + B$ is their Jacobian is a test of the
# library, against autograd.

# %%
width, depth, span = 6, 3, 12
draw = torch.Generator().manual_seed(4)
layers = diagonal.layers(width, depth, draw)
noise = torch.randn(span, width, generator=draw, dtype=torch.float64)
A, B = diagonal.stacked(layers, noise)
rows = []
for L in range(1, depth + 1):
    own = A[:, : L * width, : L * width], B[:, : L * width, : L * width]
    norm = torch.linalg.matrix_norm(transport.products(sum(own), span)[0], 2)
    left_out = [expansion.remainder(*own, K, 1.0) for K in range(depth)]
    sizes = torch.linalg.matrix_norm(torch.stack(left_out), 2) / norm
    rows.append([L, *(f"{e:.2g}" if e else "exactly 0" for e in sizes)])
    exact = f"remainder of order {L - 1} in a stack of {L}: exactly zero"
    check(f"stack-{L}-exact", exact, sizes[L - 1])
    if L > 1:
        off, statement = (
            bool(sizes[L - 2] > 1e-6),
            f"order {L - 2} in a stack of {L} is not exact",
        )
        check(f"stack-{L}-needed", statement, off)
        chapter.number(f"stack-{L}-order-0", float(sizes[0]))
columns = ["layers", *(f"order {K}" for K in range(depth))]
chapter.table("depth-orders", pd.DataFrame(rows, columns=columns))

# %% [markdown]
# :::{table-file} /artifacts/diagonal-recurrences/tables/depth-orders.csv
# :name: tab-depth-orders
#
# A layer more costs an order more. What is left of the joint transport over twelve steps after each
# order, relative to its norm, in stacks of diagonal layers with random weights.
# :::
#
# In a stack of two, order 0 misses {result}`diagonal-recurrences/stack-2-order-0` of the joint
# transport's norm. That is the counter-example to any sentence that begins *in a state-space model
# the effective learning rate is the whole story* and goes on without *of one layer*.
#
# ## Try it
#
# 1. **Diagonal is not enough.** Give the network a *diagonal* $W_r$, so that each neuron reads
#    itself. All its Jacobians are diagonal. Is order 0 exact? Is the corrected rate of
#    {ref}`claim C8 <claim-c8>`?
# 2. **A third discretisation.** The bilinear rule keeps $\kappa = (1 - h/2)/(1 + h/2)$ and writes
#    $h/(1 + h/2)$. Does it keep the budget? For which $h$ is $\kappa$ a fraction kept?
# 3. **Cheating the scan.** With cumulative products,
#    $x_t = P_{t,0} \sum_k g_k \varphi_k / P_{k,0}$ takes two lines. Try it on a network with fast
#    gates. Why does nobody do it?

# %% [markdown]
# :::{dropdown} Solution 1: diagonal is not enough
# $R$ is diagonal but not zero. Products stay diagonal, order 0 is off, and all orders together are
# exact, as for any network ({ref}`claim C3 <claim-c3>`). Over sixteen steps order 0 is off by
# {result}`diagonal-recurrences/try-order-0`, the corrected rate by
# {result}`diagonal-recurrences/try-order-1`.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "The code of solution 1"}
lag, own = 16, selective.drawn[0].diagonal(dim1=-2, dim2=-1)
model.W_r.copy_(torch.diag_embed(own))
live = model.run(digits)
J, terms = jacobian.blocks(model, live), jacobian.terms(model, live)
kept = transport.products(J, lag).diagonal(dim1=-2, dim2=-1)
order_0 = discrepancy(rates.retention(live, lag), kept)
order_1 = discrepancy(rates.corrected(terms, lag), kept)
check(
    "try-order-zero-off",
    r"diagonal $W_r$: order 0 is off, order 1 is closer, neither is exact",
    order_0 > order_1 > 1e-12,
)
chapter.number("try-order-0", order_0)
chapter.number("try-order-1", order_1)

# %% [markdown]
# :::{dropdown} Solution 2: a third discretisation
# What it keeps and what it writes add to one, so the budget is kept. The fraction kept changes sign at
# $h = 2$, so the step needs $h \le 2$.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "The code of solution 2"}
keeps, writes = (1 - h / 2) / (1 + h / 2), h / (1 + h / 2)
facts = keeps + writes - 1, sp.solve(keeps, h)[0] - 2
prove_budget(
    "try-bilinear",
    (
        r"Bilinear: $w = 1 - \kappa$, a budget kept; $\kappa$ changes sign at "
        r"$h = 2$"
    ),
    *facts,
)

# %% [markdown]
# :::{dropdown} Solution 3: cheating the scan
# The cumulative product runs out of floating-point numbers, and $0/0$ is not a state. With a gate of
# nine tenths it lasts for {result}`diagonal-recurrences/try-cheat-steps` steps. The scan never
# divides.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "The code of solution 3"}
fast = torch.full((400, 1), 0.9, dtype=torch.float64)
cumulative = (1 - fast).cumprod(0)
cheated = cumulative * (fast / cumulative).cumsum(0)  # candidates of one
finite = int(cheated.isfinite().sum())
gap = abs(float(scan(1 - fast, fast)[-1]) - 1)
chapter.number("try-cheat-steps", finite)
check(
    "try-cheat-fails", r"the division breaks down within 400 fast steps", finite < 400
)
check("try-scan-holds", r"the scan does not: last state against one", gap, 1e-12)

# %% [markdown]
# ## What was checked
#
# Symbolic rows are proofs by computer algebra, numeric rows are measurements against a tolerance. A
# tolerance of 0 means what it says: not one bit.
#
# :::{table-file} /artifacts/diagonal-recurrences/tables/diagonal-recurrences-validation.csv
# :name: tab-diagonal-recurrences-validation
#
# Everything this chapter claims, and whether it holds.
# :::
#
# ## What the theory says about today's state-space models, and what it does not
#
# Inside one layer of minGRU, LRU or S6 the coupling between gates and learning is no metaphor and no
# approximation for small gates. The rate at which neuron $q$ learns from lag $\ell$ *is*
# $\mu\, g^q_k P^q_{t,k}$, exactly, for every weight of the layer, on every sequence. With zero-order
# hold it comes out of a fixed budget; with Euler's $B$ out of one that grows with the step; in an LRU
# out of one for squares. The $N$ states of an S6 channel are $N$ readings of one clock. All of it can
# be computed forwards.
#
# A *model* is not diagonal. Layers mix neurons, and each layer of depth adds one order
# ({prf:ref}`thm-depth-order`); projections, normalisation and output gates stand between the layers
# and enter through $V$. A short convolution over time, which Mamba puts before each S6 layer, is a
# memory of its own and outside the theorem. So are $B_t$ and $C_t$, which Mamba also lets the input
# choose: they weigh what is written and read, but carry nothing through time. Nor does the theorem say
# what an *optimiser* makes of these gradients ({ref}`ch-optimisers`): such models are trained with
# Adam, not with the plain descent that the word *rate* refers to here.
#
# To take home: where no gate and no candidate reads the state, the effective learning rate is not an
# approximation of backpropagation but the whole of it. Recurrence spoils this in proportion to its
# size, and depth by one order a layer.

# %% tags=["hide-input"]
chapter.validation()
chapter.close()
