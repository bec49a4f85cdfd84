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
# When is the effective learning rate the whole story? For one neuron it is
# ({ref}`ch-one-neuron`). In a network whose neurons read each other it is an approximation.
# *Order 0* sees how much each neuron keeps, the retention $P$, and is blind to what neurons
# tell each other through their candidates ($R$) and their gates ($G$). {ref}`ch-jacobians`
# derives these terms, {ref}`ch-products` expands in them, and {ref}`ch-validity` measures how
# far order 0 carries. This chapter needs only their names.
#
# In one family of networks nothing has to be measured. In minGRU {cite}`feng2024mingru`, in the
# linear recurrent unit {cite}`orvieto2023lru` and in the selective state-space models of Mamba
# {cite}`gu2023mamba`, gate and candidate read the input and *not* the state. Order 0 is then the
# whole product of Jacobians, and the effective rates $\mu\, g_k P_{t,k}$ ({ref}`ch-bptt`) are
# backpropagation itself.
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
# two directions. The first leads to the state-space models of today: their step is our gate, written
# differently. The second leads back to gated networks: the recurrence is turned on little by little,
# and we measure how order 0 fails. The last part shows what the theorem does *not* cover, which is
# depth.

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
import seaborn as sns
import sympy as sp
import torch
from gatelr import expansion, jacobian, rates, symbolic, transport
from gatelr.experiments import diagonal
from gatelr.experiments.agreement import discrepancy
from gatelr.experiments.digits import for_each_seed
from gatelr.record import Chapter, figures, show
from gatelr.symbolic import W_r, W_rg, over_neurons, p, q, r, x
from torch.nn.functional import softplus

chapter = Chapter("diagonal-recurrences")
prove = partial(chapter.prove, claim="C15")
prove_budget = partial(chapter.prove, claim="C9", scope="every step")
on_digits = f"{seeds} networks, {probes} digits"  # the scope of what is measured
check = partial(chapter.check, claim="C15", scope=on_digits)
check_budget = partial(chapter.check, claim="C9", scope=on_digits)

# %% [markdown]
# ## Why order 0 is the product
#
# Take the update rule of the whole family, {eq}`eq-update`. Cut the two wires that run from the
# state to the gate and to the candidate: $W_{rg} = 0$ and $W_r = 0$. SymPy differentiates the
# update, and in index notation the cut is one replacement. It leaves nothing but the leak.

# %%
cut = {W[q, i]: sp.Integer(0) for W in (W_r, W_rg) for i in (p, r)}
whole = symbolic.closed_form("multi")
leak, recurrent, gate = (term.xreplace(cut).doit() for term in whole)
slope = symbolic.update("multi").xreplace(cut).diff(x[p]).doit()
statement = r"gate and candidate blind to the state: $R = G = 0$ and $J = \Lambda$"
prove("terms-vanish", statement, recurrent, gate, slope - leak, scope="every n")

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
# $$ \mathcal{E}_K(j) = (A_j + \varepsilon B_j) \mathcal{E}_K(j-1) + \varepsilon^{K+1} B_j M^{(K)}_{j-1} . $$
#
# With $B_j = 0$ it stays there. *Converse.* At lag 1 the remainder of order 0 is
# $J_t - \Lambda_t$. For the whole network, before any wire is cut, that is $R_t + G_t$, and
# SymPy's derivative of the update confirms it.
# :::

# %%
g, phi, P = map(sp.IndexedBase, ("g", "phi", "P"))  # no x inside
one_step = symbolic.by_state((1 - g[q]) * x[q] + g[q] * phi[q])
leak = sp.KroneckerDelta(q, p) * (1 - g[q])
longer = over_neurons(leak.subs(p, r) * sp.KroneckerDelta(r, p) * P[r])
statement = r"$M_{t,k} = \mathrm{diag}(P_{t,k})$ is kept by one more step"
facts = one_step - leak, longer - leak * P[p]
scope = "every n and ℓ, any g(u) and φ(u)"
prove("order-zero-is-the-product", statement, *facts, scope=scope)
at_lag_one = symbolic.jacobian("multi") - whole.leak - whole.recurrent - whole.gate
statement = "at lag 1 the remainder of order 0 is $R + G$"
prove("and-only-then", statement, sp.expand(at_lag_one), scope="every n, ℓ = 1")

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
# {result}`diagonal-recurrences/accuracy-guess` %. So it has learned something. It sees one pixel at a
# time. What its neurons still keep is all it knows of the pixels before.
#
# ### The theorem in numbers
#
# From here on everything is measured in double precision. First comes the expansion. Its remainder
# must be *exactly* zero, so the tolerance is zero. Then comes the product of Jacobians, up to the
# length of the sequence.

# %%
model, digits = model.double(), unseen[:, :, :probes].double()
with torch.no_grad():
    run = model.run(digits)
J = jacobian.blocks(model, run)
A, B = expansion.split(jacobian.terms(model, run), "leak")
T, lags = len(J), (1, 8, len(J))
remainders = [
    expansion.remainder(A[-lag:], B[-lag:], K, eps).abs().max()
    for lag, K, eps in product(lags, (0, 1), (1.0, 1e-6))
]
statement = "the remainder of the expansion after orders 0 and 1 is exactly zero"
scope = f"{on_digits}, ℓ = 1, 8 and {T}, ε = 1 and 1e-6"
check("remainder-zero", statement, float(max(remainders)), scope=scope)
diagonals = {lag: torch.diag_embed(rates.retention(run, lag)) for lag in lags}
products = {lag: M for lag, M in transport.lags(J, T) if lag in lags}
apart = max(discrepancy(products[lag], diagonals[lag]) for lag in lags)
statement = r"products of Jacobians against $\operatorname{diag}(P_{t,k})$, lags to $T$"
check("product-is-retention", statement, apart, 1e-12)

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
# $\varphi_k - x_{k-1}$, which is how much there was to change. Even $W_r$ and $W_{rg}$, which are zero,
# have a gradient. It has the same form with $x_{k-1}$ for $u_k$, and order 0 is exact there too.
#
# So there are three ways to one gradient: the rates, the backward sweep of the library, and autograd.
# `diagonal.compare_gradients` takes all three, for a loss that reads every state.

# %%
draw = torch.Generator().manual_seed(1)
delta = torch.randn(run.x.shape, generator=draw, dtype=torch.float64).to(run.x)
distances = diagonal.compare_gradients(model, digits, delta)
shown = distances.map("{:.1e}".format).rename("`{}`".format)
chapter.table("diagonal-gradients", shown.reset_index())
for way, gap in distances.max().items():
    name = "gradient-by-" + ("rates" if "rates" in way else "adjoint")
    check(name, f"the gradient by {way} against autograd, every weight", gap, 1e-12)

# %% [markdown]
# :::{table-file} /artifacts/diagonal-recurrences/tables/diagonal-gradients.csv
# :name: tab-diagonal-gradients
#
# Rates, sweep and autograd give one gradient: relative distance from autograd, for a loss that reads
# every state of every digit. The effective rates use no backward sweep.
# :::
#
# The trace of {ref}`claim C12 <claim-c12>` is a fourth way. It is computed *forwards*, in the memory of
# one matrix. In a network of this family with recurrence it leaves $R$ and $G$ out. In a diagonal
# network there is nothing to leave out, and the trace gives the exact gradient of a loss at the last
# step.
#
# ### What the rates look like
#
# {numref}`fig-selective-rates` shows how the last state's learning rate is divided over all pixels of
# one digit. Look at the slow neuron. Its rate jumps where the pen was, and is low where the page is
# white. A constant gate of the same mean could only decay.

# %% tags=["hide-input"]
order = run.g[:, 0, 0].mean(0).argsort().tolist()
ranks = {"slow": 0.15, "middling": 0.3, "faster": 0.5}
neurons = {name: order[int(f * (n_hidden - 1))] for name, f in ranks.items()}
curves = diagonal.divided(run, neurons)
with figures.style():
    shape = {"sharex": True, "height_ratios": [0.3, 3], "figsize": (7.2, 3.8)}
    fig, (top, bottom) = plt.subplots(2, 1, **shape)
    pixels, span = digits[:, 0, 0].cpu().T, (0.5, T + 0.5, 0, 1)
    top.imshow(pixels, cmap="gray_r", aspect="auto", extent=span)
    top.set(yticks=[], title="One digit, pixel by pixel")
    top.grid(False)
    look = {"x": "step", "hue": "series", "ax": bottom}
    sns.lineplot(curves, y="constant", ls=":", legend=False, **look)
    sns.lineplot(curves, y="rate", **look)
    bottom.set(xlabel=f"step $k$ (lag ${T}-k$)", ylabel="rate $g_k P_{T,k}$")
    bottom.set(yscale="log", ylim=(1e-4, 1), xticks=range(8, T + 1, 8))
    bottom.legend(title="neuron; dotted: constant gate", ncols=3)
chapter.figure("selective-rates", fig, curves)
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
# median of the three. The sum over pixels cannot move. It is one, less what is left of the initial
# state.
#
# ## The step of a selective state-space model
#
# S6, the layer inside Mamba, does not begin with a gate. It begins with a differential equation for
# each channel and each of its $N$ states, $\dot x = -\nu\, x + W_i u$ with $\nu > 0$ (the paper
# writes $A = -\nu$ and $B$ for $W_i$), and a step size $\Delta_t = \operatorname{softplus}(a^g_t)$ that the input sets.
# Holding the input over the step, *zero-order hold*, is the exponential integrator of
# {ref}`ch-time-scales`. SymPy solves it:

# %%
nu, Delta, drive = sp.symbols("nu Delta varphi", positive=True)
x_0, z, t = sp.symbols("x_0 z t", real=True)
state = sp.Function("x")(t)
ode = sp.Eq(state.diff(t), -nu * state + nu * drive)  # φ = W_i u / ν
solution = sp.dsolve(ode, state, ics={state.subs(t, 0): x_0})
held = sp.collect(sp.expand(solution.rhs.subs(t, Delta)), [x_0, drive])
show("x_t", held)
keeps = sp.exp(-nu * Delta)
facts = held.coeff(x_0) - keeps, held.coeff(drive) - (1 - keeps)
statement = r"zero-order hold keeps $e^{-\nu\Delta}$ and writes the rest of $\varphi$"
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
# Behind it stands one identity: $-\ln(1 - \sigma(z)) = \operatorname{softplus}(z)$. The speed of the
# clock is the softplus of the gate's pre-activation. SymPy compares powers by their logarithms.

# %%
soft, shut = sp.log(1 + sp.exp(z)), 1 / (1 + sp.exp(z))  # Δ, 1 - σ(z)
kept = keeps.subs(Delta, soft)


def log(power):
    return sp.expand_log(sp.log(power), force=True)


prove_s6 = partial(prove, scope="every ν and z")
statement = r"$1 - e^{-\mathrm{softplus}(z)} = \sigma(z)$: Theorem 1 of Gu and Dao"
prove_s6("s6-sigmoid", statement, 1 - kept.subs(nu, 1) - 1 / (1 + sp.exp(-z)))
statement = r"$e^{-\nu\operatorname{softplus}(z)} = (1 - \sigma(z))^\nu$"
facts = shut - (1 - 1 / (1 + sp.exp(-z))), log(kept) - log(shut**nu)
prove_s6("s6-power", statement, *facts)
two_steps = kept * kept.subs(z, sp.Symbol("z_1", real=True))
statement = r"$P^{(\nu)} = (P^{(1)})^\nu$ over two steps with clocks of their own"
warp = log(two_steps) - log(two_steps.subs(nu, 1) ** nu)
prove_s6("s6-one-warp", statement, warp, scope="every ν, z and z₁, two steps")
memory = -1 / log(kept)  # in steps
statement = (
    r"time-scales $-1/\ln(1-g^{(\nu)})$ are $1/(\nu\Delta)$: their ratios are fixed"
)
facts = memory - 1 / (nu * soft), memory / memory.subs(nu, 1) - 1 / nu
prove_s6("s6-time-scales", statement, *facts)

# %% [markdown]
# In numbers: run the trained network's own gates through an S6 step,
# $\Delta = \operatorname{softplus}(a^g)$. The states must be those of `GatedRNN`, and the power law
# must hold on its retention.

# %%
statement = r"states of an S6 step with $A=-1$ against those of the library's network"
check("s6-is-gated-rnn", statement, discrepancy(diagonal.s6_states(run), run.x), 1e-12)
decays, clock = run.x.new_tensor(rates_of_decay), softplus(run.a_g)
kept_by = torch.exp(-decays * clock.sum(0).unsqueeze(-1))
gap = discrepancy(kept_by, rates.retention(run, T)[0].unsqueeze(-1) ** decays)
statement = (
    r"$e^{-\nu\sum\Delta}$ against $(P^{(1)})^\nu$ over whole digits, every $\nu$"
)
check("s6-power-numbers", statement, gap, 1e-12)

# %% [markdown]
# ### A budget kept, and one overspent
#
# The budget theorem ({ref}`claim C9 <claim-c9>`) never asked where the gate comes from.
#
# :::{prf:theorem} The budget of a diagonal recurrence
# :label: thm-diagonal-budget
#
# Let $\rho_1, \rho_2, \dots \in [0,1]$ be any fractions kept and let step $k$ write with
# weight $w_k$. Then $S_t = \sum_{k \le t} w_k \prod_{j=k+1}^{t} \rho_j$ obeys
# $S_t = \rho_t S_{t-1} + w_t$. If $w_k = 1 - \rho_k$ at every step, then
#
# $$ S_t = 1 - \rho_1 \rho_2 \cdots \rho_t . $$ (eq-diag-budget)
#
# If instead $w_k = c_k (1 - \rho_k)$, then $S_t / (1 - \prod_{j \le t} \rho_j)$ is a weighted
# mean of $c_1, \dots, c_t$.
# :::
#
# :::{prf:proof}
# By induction over $t$ from $S_0 = 0$, in the next cell. In the first case the step turns $1 - Q$
# into $1 - \rho_t Q$. In the second it turns a mean of the weights so far into a mean with one
# more.
# :::
#
# Zero-order hold is the first case. The released code of Mamba discretises $\nu$ by zero-order
# hold and $W_i$ by Euler's rule, writing $\Delta W_i u$ (its authors
# [explain](https://github.com/state-spaces/mamba/issues/114) that this is simpler and does not
# change the results). In units of the candidate $\varphi = W_i u/\nu$ that is a weight
# $h = \nu\Delta$ where the gate would have $1 - e^{-h}$. This is the second case, with
#
# $$ c(h) = \frac{h}{1 - e^{-h}} > 1 . $$ (eq-overspent)

# %%
rho, c, Q, mean, h = sp.symbols("rho c Q m h", positive=True)
kept_one = rho * (1 - Q) + (1 - rho) - (1 - rho * Q)
theta = rho * (1 - Q) / (1 - rho * Q)  # the weight of the mean so far
new_mean = (rho * mean * (1 - Q) + c * (1 - rho)) / (1 - rho * Q)
averages = [new_mean - theta * mean - (1 - theta) * c]
averages += [(1 - theta) - (1 - rho) / (1 - rho * Q)]
statement = r"from $S = 1 - Q$ follows $\rho S + (1-\rho) = 1 - \rho Q$"
prove_budget("budget-induction", statement, kept_one)
statement = r"a mean $m$ becomes $\theta m + (1-\theta) c$ with $0 \le \theta \le 1$"
prove_budget("budget-weighted-mean", statement, *averages)
overspent = h / (1 - sp.exp(-h))
begins = sp.series(overspent, h, 0, 3).removeO() - (1 + h / 2 + h**2 / 12)
excess = sp.exp(h) * (h - 1 + sp.exp(-h))  # has the sign of c - 1
same = (overspent - 1) * (1 - sp.exp(-h)) - excess * sp.exp(-h)
rises = sp.limit(excess, h, 0), excess.diff(h) - h * sp.exp(h)  # from 0, upwards
statement = r"$c(h) = 1 + h/2 + h^2/12 + \dots$, and $c(h) > 1$ for every $h > 0$"
prove_budget("euler-overspends", statement, begins, same, *rises, scope="every h > 0")
slope = sp.simplify(overspent.diff(h) * (1 - sp.exp(-h)) ** 2)
facts = slope.subs(h, 0), slope.diff(h) - h * sp.exp(-h)
statement = r"$c(h)$ grows with $h$: a wider step hands out more"
prove_budget("euler-grows", statement, *facts, scope="every h > 0")

# %% [markdown]
# On the digits, let the gates of the trained network be $\Delta$, and add up what the two rules
# write for each state.

# %%
h_t = clock.unsqueeze(-1) * decays  # (T, S, B, n, N)
spent = diagonal.spent(h_t)
statement = "zero-order hold: what is spent against $1-P$, every state"
check_budget("zoh-budget", statement, discrepancy(spent.hold, spent.budget), 1e-12)
c_h, ratio = h_t / -torch.expm1(-h_t), spent.euler / spent.budget
outside = torch.maximum(c_h.amin(0) - ratio, ratio - c_h.amax(0)).max().clamp(min=0)
statement = "Euler's ratio is between the least and the largest $c(h_k)$"
check_budget("euler-budget-between", statement, outside, 1e-12)
statement = "by Euler's rule every state overspends (share that does not)"
check_budget("euler-budget-broken", statement, float((ratio <= 1).double().mean()))
for index, decay in enumerate(rates_of_decay):
    chapter.number(f"overspent-{decay}", float(ratio[..., index].median()))
corner = float(overspent.subs(h, state_size * largest_step))
chapter.number("overspent-corner", corner, f"{corner:.2f}")

# %% [markdown]
# Euler's rule hands out {result}`diagonal-recurrences/overspent-1` times the budget to the slowest
# state ($\nu = 1$). To the fastest ($\nu = 16$) it hands out
# {result}`diagonal-recurrences/overspent-16` times. Both are medians over neurons and digits. Where
# Mamba starts, with the largest decay and the largest step of its initialisation, it is at most
# {result}`diagonal-recurrences/overspent-corner` times.
#
# Is that a fault? Not by itself. The factor $c(h_k)$ depends on the input as $W_i u$ does, and a network
# can learn to make up for it. But the sum over lags is no longer fixed. Opening the gate of such a
# layer raises the total rate. With a budget it could only move the rate between lags.
#
# {numref}`fig-s6-scales` shows one clock and many memories. On the left all states take their gate
# from one pre-activation. On the right, along a real digit, their curves are multiples of one another
# on the logarithmic axis. They share the steps at which the network rewrites.

# %% tags=["hide-input"]
own = clock[:, 0, 0, neurons["slow"]]
curves = diagonal.clocks(own, rates_of_decay, np.linspace(-8, 4, 121))
look = {"col": "panel", "hue": "nu", "style": "nu", "kind": "line", "height": 2.8}
look |= {"palette": figures.CYCLE[:5], "facet_kws": {"sharex": False, "sharey": False}}
with figures.style():
    grid = sns.relplot(curves, x="x", y="y", **look)
    left, right = grid.axes.flat
    left.set(xlabel="$z$", ylabel=r"gate $g^{(\nu)}$", title="Many gates")
    right.set(xlabel=r"lag $\ell$", ylabel=r"kept, $P^{(\nu)}$", title="Many memories")
    right.set(yscale="log", ylim=(1e-6, 1.5))
    grid.legend.set_title(r"$\nu$")
    grid.figure.subplots_adjust(wspace=0.35)
chapter.figure("s6-scales", grid.figure, curves)

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
# $$ x_t = \rho\, e^{i\theta}\, x_{t-1} + \gamma\, W_i u_t $$ (eq-lru)
#
# with $\rho = e^{-\nu}$ and one $\nu$ and $\theta$ for each neuron. Every Jacobian is the same diagonal
# matrix, so {prf:ref}`thm-order-zero-exact` holds *over the complex numbers*. The effective rate
# at lag $\ell$ is $\gamma \rho^\ell e^{i\ell\theta}$. Its modulus is $\gamma \rho^\ell$, and its phase
# turns by $\theta$ a step. Written as two real neurons, the unit is a rotation that shrinks. There the
# leak is only the diagonal, $\rho\cos\theta$, and the rest is recurrence. So order 0 is exact in
# the basis that diagonalises the network. In the real basis it is exact only where $\theta$ is a
# multiple of $\pi$.

# %%
rho, theta, ell = sp.symbols("rho theta ell", positive=True)


def turned(lag):
    """(ρ e^{iθ})^lag as a matrix on (Re x, Im x)."""
    cos, sin = sp.cos(lag * theta), sp.sin(lag * theta)
    return rho**lag * sp.Matrix([[cos, -sin], [sin, cos]])


one_step, identity = turned(sp.Integer(1)), sp.eye(2)
longer = (one_step * turned(ell) - turned(ell + 1)).applyfunc(sp.expand_trig)
modulus = turned(ell).T * turned(ell) - rho ** (2 * ell) * identity
missed = one_step - rho * sp.cos(theta) * identity
missed = missed.T * missed - (rho * sp.sin(theta)) ** 2 * identity
statement = r"on real pairs $\ell$ steps have modulus $\rho^\ell$, phase $\ell\theta$"
prove("lru-rotation", statement, longer, modulus, scope="every ρ, θ and ℓ")
statement = r"over the reals order 0 misses a part of size $\rho\,|\sin\theta|$ a step"
prove("lru-real-order-zero", statement, missed, scope="every ρ and θ, ℓ = 1")

# %% [markdown]
# Its normalisation $\gamma = \sqrt{1 - \rho^2}$ (the value at which the LRU starts) is a
# budget, too, of another kind.
#
# :::{prf:proposition} A budget of squares
# :label: prop-lru-budget
#
# If $\gamma^2 = 1 - \rho^2$, then
#
# $$ \sum_{k=0}^{t-1} \gamma^2 \rho^{2k} = 1 - \rho^{2t} . $$ (eq-lru-budget)
#
# More generally, if $\rho_t$ is set by the data and $\gamma_t^2 = 1 - \rho_t^2$, as in
# the recurrent unit of Griffin {cite}`de2024griffin`, then
# $\sum_k \gamma_k^2 \prod_{j>k} \rho_j^2 = 1 - \prod_j \rho_j^2$.
# :::
#
# It is {prf:ref}`thm-diagonal-budget` once more, with $\rho^2$ for $\rho$. A gate makes the
# *weights* of the past add to one, and so keeps the size of a constant input. The LRU makes their
# *squares* add to one, and so keeps the variance of white noise. No rule does both. Over all lags the
# rates of an LRU sum to $\sqrt{(1+\rho)/(1-\rho)}$, which grows without bound
# as $\rho$ nears one. The squares of a gate's rates sum to $g/(2-g)$, which is below one.

# %%
k, steps = sp.symbols("k T", integer=True, nonnegative=True)
squares = sp.summation((1 - rho**2) * rho ** (2 * k), (k, 0, steps - 1))
statement = r"$\sum_{k<t} (1-\rho^2)\rho^{2k} = 1 - \rho^{2t}$, every $\rho$"
fact = squares - (1 - rho ** (2 * steps))
prove_budget("lru-budget", statement, fact, scope="every ρ and t")

below_one = 1 / (1 + sp.Symbol("s", positive=True))  # ρ, with s > 0
summed = {sp.sqrt(1 - rho**2) * rho**k: (1 + rho) / (1 - rho)}  # γ ρ^k: its square
summed[((1 - rho) * rho**k) ** 2] = ((1 - rho) / (1 + rho)) ** 2  # (g P)², g = 1 - ρ
summed = [[e.subs(rho, below_one) for e in pair] for pair in summed.items()]
facts = [sp.summation(term, (k, 0, sp.oo)) ** 2 - square for term, square in summed]
statement = (
    r"LRU rates sum to $\sqrt{(1+\rho)/(1-\rho)}$, a gate's squares to $g/(2-g)$"
)
prove_budget("two-budgets", statement, *facts, scope="every ρ in (0, 1) and lag")

# %% [markdown]
# ## Why such models train fast
#
# A step of a diagonal recurrence is a pair: what is kept, and what is added,
# $(\rho, v) = (1 - g,\, g \odot \varphi)$. Two steps in a row are again such a pair,
#
# $$ (\rho_2, v_2) \circ (\rho_1, v_1) = (\rho_2 \rho_1,\, \rho_2 v_1 + v_2) . $$ (eq-scan)
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
# diagonal networks is the last condition. Their pairs are functions of the input, so they are known
# before the first step is made. A product of two costs $n$ multiplications, where full Jacobians
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
statement = r"$(\rho, v)$ compose associatively, with the unit $(1, 0)$"
prove("scan-associative", statement, *gaps, unit, scope="every n, matrices included")
statement = "two steps do not commute, even where their entries do"
prove("scan-not-commutative", statement, differ, scope="one case, n = 1")
gap = discrepancy(scan(1 - run.g, run.g * run.phi), run.x)
check("scan-numbers", "states by scan against states by the loop", gap, 1e-12)

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
for order in (0, 1):
    line = median["both", f"order {order}"].loc[0.9e-4:1.1e-2]
    fitted = np.polyfit(np.log(line.index), np.log(line), 1)[0]
    statement = f"order {order} departs from the gradient with slope {order + 1}"
    gap, scope = abs(fitted - order - 1), f"{on_digits}, ζ from 1e-4 to 1e-2, medians"
    check(f"slope-order-{order}", statement, gap, 0.05, claim="C3", scope=scope)
statement = "no recurrence: orders 0 and 1 against the gradient, every seed"
check("switched-off", statement, orders.max(), 1e-12)
statement = "no recurrence: shuffled gates fail that test (share of seeds that pass)"
check("shuffled-fails", statement, float((placebo <= 1e-12).mean()))

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that sums up how far each order reaches"}
chapter.table("diagonal-degrades", diagonal.reach(errors))
at_one = median["both"].xs(1.0, level="scale")
for name, error in at_one.items():
    chapter.number(f"{name.replace(' ', '-')}-at-one", float(error))
for name, value in {"least": placebo.min(), "median": placebo.median()}.items():
    chapter.number(f"placebo-{name}", float(value))
worse = median["both", "order 0"] >= median["both", "shuffled"]
overtakes = float(worse.idxmax()) if worse.any() else "none"
chapter.number("placebo-overtakes", overtakes)

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
# {numref}`fig-recurrence-switched-on` shows no jump between the two kinds of network. Order 0 is exact
# without recurrence and departs from the gradient with slope one. The placebo is nowhere near. With no
# recurrence at all it misses the gradient by {result}`diagonal-recurrences/placebo-median` of its norm,
# in the median over seeds. No seed misses by less than {result}`diagonal-recurrences/placebo-least`.
#
# At the usual initialisation order 0 is off by {result}`diagonal-recurrences/order-0-at-one`. With
# order 1 added the error is {result}`diagonal-recurrences/order-1-at-one`. Shuffled gates miss by
# {result}`diagonal-recurrences/shuffled-at-one`. The first scale drawn at which order 0 is no better
# than its placebo is {result}`diagonal-recurrences/placebo-overtakes`. From there on the gates no longer
# tell what reaches where. {numref}`tab-diagonal-degrades` turns the two weights on one by one. All this
# holds for one task with slow gates, read at the last step. {ref}`ch-validity` maps the same departure
# over lags and weights.
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
prove_words = partial(prove, scope="L = 2, 3, 4, words of up to 5 letters")
statement = "all words with $L$ or more factors $B$ vanish"
prove_words("depth-is-order", statement, *climbs)
statement = (
    "no word with exactly $L - 1$ factors $B$ vanishes: order $L-2$ is not enough"
)
prove_words("depth-needs-order", statement, *needed)

# %% [markdown]
# So a state-space model of $L$ layers has $L$ orders and no more. Order $r$ collects all paths
# that climb $r$ times. For two layers {ref}`claim C6 <claim-c6>` gives order 1 in closed form,
# $\sum_i P^2_{t,i}\, V^2_i \Lambda^1_i\, P^1_{i-1,k}$. Read from the right, a push waits in layer 1 at
# its rate, goes up once at step $i$, and waits in layer 2 at another rate. The table has three layers,
# each a network of the library with its recurrent weights cut.

# %%
width, depth, span = 6, 3, 12
draw = torch.Generator().manual_seed(4)
layers = diagonal.layers(width, depth, draw)
noise = torch.randn(span, width, generator=draw, dtype=torch.float64)
A, B = diagonal.stacked(layers, noise)
missed = diagonal.left_out(A, B, width)
for L in missed.index:
    scope = f"one stack of random layers of {width} neurons, ℓ = {span}"
    statement = f"the remainder of order {L - 1} in a stack of {L} is exactly zero"
    check(f"stack-{L}-exact", statement, missed.loc[L, L - 1], scope=scope)
    if L > 1:
        statement = f"order {L - 2} in a stack of {L} is not exact"
        off = missed.loc[L, L - 2] > 1e-6
        check(f"stack-{L}-needed", statement, off, scope=scope)
        chapter.number(f"stack-{L}-order-0", missed.loc[L, 0])
shown = missed.map(lambda error: f"{error:.2g}" if error else "exactly 0")
chapter.table("depth-orders", shown.rename(columns="order {}".format).reset_index())

# %% [markdown]
# :::{table-file} /artifacts/diagonal-recurrences/tables/depth-orders.csv
# :name: tab-depth-orders
#
# A layer more costs an order more. What is left of the joint transport over twelve steps after each
# order, relative to its norm, in stacks of diagonal layers with random weights.
# :::
#
# In a stack of two, order 0 misses {result}`diagonal-recurrences/stack-2-order-0` of the joint
# transport's norm. So the effective learning rate is the whole story in *one layer* of a state-space
# model, and not in a stack of them.
#
# ## Try it
#
# 1. **Diagonal is not enough.** Give the network a *diagonal* $W_r$, so that each neuron reads
#    itself. All its Jacobians are diagonal. Is order 0 exact? Is the corrected rate of
#    {ref}`claim C8 <claim-c8>`?
# 2. **A third discretisation.** The bilinear rule keeps $\rho = (1 - h/2)/(1 + h/2)$ and writes
#    $h/(1 + h/2)$. Does it keep the budget? For which $h$ is $\rho$ a fraction kept?
# 3. **Cheating the scan.** With cumulative products,
#    $x_t = P_{t,0} \sum_k g_k \varphi_k / P_{k,0}$ takes two lines. Try it on a network with fast
#    gates. Why does nobody do it?

# %% [markdown]
# :::{dropdown} Solution 1: diagonal is not enough
# No to both. $R$ is diagonal, but it is not zero. The products stay diagonal, with factors
# $1 - g + R^{qq}$ in place of $1 - g$. Order 0 leaves $R^{qq}$ out altogether. The corrected rate has it
# once, in order 1, while the product has all powers of it. Over sixteen steps order 0 is off by
# {result}`diagonal-recurrences/try-order-0`. The corrected rate is off by
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
statement = "diagonal $W_r$: order 0 is off, order 1 is closer, neither is exact"
scope = f"{on_digits}, ℓ = {lag}"
check("try-order-zero-off", statement, order_0 > order_1 > 1e-12, scope=scope)
chapter.number("try-order-0", order_0)
chapter.number("try-order-1", order_1)

# %% [markdown]
# :::{dropdown} Solution 2: a third discretisation
# What it keeps and what it writes add to one:
# $\rho + w = (1 - h/2 + h)/(1 + h/2) = 1$. So {prf:ref}`thm-diagonal-budget` applies, and the budget
# is kept. But $\rho$ is a fraction only up to $h = 2$. There the step forgets everything, and beyond
# it the state changes sign at every step.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "The code of solution 2"}
keeps, writes = (1 - h / 2) / (1 + h / 2), h / (1 + h / 2)
facts = keeps + writes - 1, sp.solve(keeps, h)[0] - 2
statement = r"bilinear: $w = 1 - \rho$, a budget kept; $\rho$ changes sign at $h = 2$"
prove_budget("try-bilinear", statement, *facts, scope="every h > 0")

# %% [markdown]
# :::{dropdown} Solution 3: cheating the scan
# A gate of nine tenths keeps a tenth a step, so $P_{k,0} = 10^{-k}$. Double precision ends near
# $10^{-324}$. After that $P_{k,0}$ is zero, and the formula asks for $0/0$. It lasts for
# {result}`diagonal-recurrences/try-cheat-steps` steps. The scan never divides: it only multiplies what
# stretches keep, and a product that falls to zero is then simply a past that is forgotten.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "The code of solution 3"}
fast = torch.full((400, 1), 0.9, dtype=torch.float64)
cumulative = (1 - fast).cumprod(0)
cheated = cumulative * (fast / cumulative).cumsum(0)  # candidates of one
finite = int(cheated.isfinite().sum())
gap = abs(float(scan(1 - fast, fast)[-1]) - 1)
chapter.number("try-cheat-steps", finite)
scope = "400 steps, g = 0.9"
statement = "with a division the states break down within 400 fast steps"
check("try-cheat-fails", statement, finite < 400, scope=scope)
statement = "with a scan they do not: last state against one"
check("try-scan-holds", statement, gap, 1e-12, scope=scope)

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
# Inside one layer of minGRU, LRU or S6 the coupling between gates and learning is exact. A push of
# neuron $q$ at step $k$ reaches step $t$ multiplied by $P^q_{t,k}$, on every sequence. So the effective
# rates $\mu\, g^q_k P^q_{t,k}$ give the whole gradient of every weight of the layer. With zero-order hold
# they come out of a fixed budget. With Euler's rule the budget grows with the step. In an LRU it is a
# budget of squares. The $N$ states of an S6 channel are $N$ readings of one clock. All of it can be
# computed forwards.
#
# A *model* is not diagonal. Layers mix neurons, and each further layer adds one order
# ({prf:ref}`thm-depth-order`). Projections, normalisation and output gates stand between the layers and
# enter through $V$. Mamba puts a short convolution over time before each S6 layer. It is a memory of
# its own and outside the theorem. So are the weights with which a state is
# written and read. Mamba lets the input choose them too. They
# weigh what is written and read, but carry nothing through time. Nor does the theorem say what an
# *optimiser* makes of these gradients ({ref}`ch-optimisers`). Such models are trained with Adam, and
# the word *rate* refers to plain gradient descent here.
#
# To take home: where no gate and no candidate reads the state, the effective learning rates are the
# whole of backpropagation. Recurrent weights spoil this in proportion to their size while they are
# small, and depth by one order a layer.

# %% tags=["hide-input"]
chapter.validation()
chapter.close()
