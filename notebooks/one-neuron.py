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
# (ch-one-neuron)=
# # One neuron: the idea in five minutes
#
# A neuron makes a mistake now. What caused it lies some steps back. How much
# does the mistake change the weight that read that old input?
#
# Take the smallest neuron that remembers. At each step it keeps a part of its
# state and writes the rest anew. The **gate** $g$ is the fraction that it
# writes. With $g = \tfrac14$ an input of 1 leaves a state of $\tfrac14$. One
# step later $\tfrac34$ of that is left, then $\tfrac34$ of the rest, and so on.
# In symbols, with a weight $w$ that reads the input $u_t$,
#
# $$ x_t = (1 - g)\, x_{t-1} + g\, w\, u_t, \qquad x_0 = 0 . $$ (eq-one-update)
#
# Now let a loss look at the last state $x_T$. Gradient descent asks how $x_T$
# answers to the weight. The weight was used at every step, so every step has
# its part.
#
# :::{prf:proposition} One neuron
# :label: prop-one-neuron
#
# $$
# \frac{\partial x_T}{\partial w} = \sum_{k=1}^{T} g\,(1-g)^{T-k}\, u_k .
# $$ (eq-one-gradient)
#
# With $\delta_T = \partial L / \partial x_T$, a step of gradient descent at the
# rate $\mu$ changes the weight by
#
# $$
# \Delta w = -\,\delta_T \sum_{\ell=0}^{T-1}
# \underbrace{\mu\, g\,(1-g)^{\ell}}_{\text{rate of lag } \ell}\, u_{T-\ell} .
# $$ (eq-one-step)
# :::
#
# That is the idea of this book. There is one learning rate $\mu$, and yet the
# input of $\ell$ steps ago is learned from at the rate $\mu\,g\,(1-g)^\ell$.
# **The gate decides what the neuron remembers, and by the same numbers what it
# learns from.**

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters"}
profile = "ci"
seeds = 3  # random input sequences in the numerical check
device = "auto"
out = "../artifacts/draft/one-neuron"
longest_lag = 50  # of the figures

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the imports"}
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import sympy as sp
import torch
from gatelr import rates
from gatelr.cells import GatedRNN
from gatelr.record import Chapter, figures, show
from scipy.optimize import minimize_scalar

chapter = Chapter("one-neuron")

# %% [markdown]
# ## The derivative, in five lines
#
# SymPy {cite}`meurer2017sympy` runs the neuron over four inputs that are
# symbols, and differentiates. Read it from the newest input: $u_4$ comes with
# $g$ alone, and each older one stands inside one more factor $1 - g$.

# %%
g, w = sp.symbols("g w", positive=True)
inputs, x = sp.symbols("u_1:5"), sp.Integer(0)
for u in inputs:
    x = (1 - g) * x + g * w * u
show(r"\partial x_4/\partial w", x.diff(w))

# %% [markdown]
# Four steps are an example. For any number of steps one more line is enough.
# Differentiate a single update: what the weight did before shrinks by $1 - g$,
# and the new input adds $g\,u_T$. So if {eq}`eq-one-gradient` holds after
# $T - 1$ steps, every old term gets one more factor $1 - g$, and the new term
# appears with none. The sum starts empty.

# %%
T, k = sp.symbols("T k", integer=True, positive=True)
u_T, before = sp.Symbol("u_T"), sp.Function("x")(w)  # the state one step earlier
one_step = ((1 - g) * before + g * w * u_T).diff(w)
weight = g * (1 - g) ** (T - k)  # of the input u_k, after T steps
chapter.prove(
    "gradient",
    r"$\partial x_T/\partial w = \sum_k g(1-g)^{T-k} u_k$: one update turns the "
    "sum for $T - 1$ steps into the sum for $T$",
    one_step - ((1 - g) * before.diff(w) + g * u_T),
    sp.powsimp((1 - g) * weight.subs(T, T - 1) - weight),  # each old term
    weight.subs(k, T) - g,  # the new one
    claim="C8",
    scope="every T and g",
    note="induction over T, summand by summand",
)

# %% [markdown]
# Does automatic differentiation agree? On the left side of the check, autograd
# {cite}`paszke2019pytorch` differentiates the loop itself. On the right side
# stand the rates that the library reads from a network with this gate.

# %%
gate, draw = 0.2, torch.Generator().manual_seed(0)
u = torch.randn(40, seeds, generator=draw, dtype=torch.float64)
w_now = torch.full((seeds,), 0.7, dtype=torch.float64, requires_grad=True)
state = torch.zeros(seeds, dtype=torch.float64)
for u_t in u:
    state = (1 - gate) * state + gate * w_now * u_t
(by_autograd,) = torch.autograd.grad(state.sum(), w_now)
network = GatedRNN(1, 1, "constant", alpha=gate, dtype=torch.float64)
with torch.no_grad():
    rate_by_step = rates.shares(network.run(u.unsqueeze(-1))).squeeze(-1)
chapter.check(
    "autograd",
    "autograd's derivative of the last state by the weight is the sum of the "
    "inputs times the library's rates, random inputs",
    float((by_autograd - (rate_by_step * u).sum(0)).abs().max()),
    1e-14,
    claim="C8",
    scope="g = 0.2, T = 40",
)

# %% [markdown]
# ## One budget
#
# Add up the rates of all lags, in units of $\mu$:
#
# $$ \sum_{\ell=0}^{T-1} g\,(1-g)^\ell = 1 - (1-g)^T . $$ (eq-one-budget)
#
# Whatever the gate, the sum never exceeds one. {numref}`fig-one-budget` shows
# three gates. Each row of bars spends the same budget. A large gate spends it
# at once. A small gate spreads it thin. None can give more to old inputs
# without giving less to new ones.

# %%
total = sp.Sum(weight, (k, 1, T))
chapter.prove(
    "budget",
    "the rates of all lags add to $1 - (1-g)^T$",
    sp.simplify(total.doit() - (1 - (1 - g) ** T)),
    claim="C9",
    scope="every T and g",
)

# %% tags=["hide-input"]
lags, rows = np.arange(31), []
for gate in (0.5, 0.2, 0.05):
    network = GatedRNN(1, 1, "constant", alpha=gate)
    shares = rates.shares(network.run(torch.zeros(200, 1)))[:, 0].flip(0)
    rows += [(gate, lag, float(shares[lag])) for lag in lags]
budgets = pd.DataFrame(rows, columns=["gate", "lag", "rate"])
notes = {
    0.5: "writes half: learns from the last few steps",
    0.2: "writes a fifth: learns from the last dozen",
    0.05: "writes a twentieth: learns a little from each",
}
with figures.style():
    fig, axes = plt.subplots(3, 1, figsize=(6.8, 3.0), sharex=True)
    for ax, color, (gate, note) in zip(
        axes, figures.CYCLE, notes.items(), strict=False
    ):
        row = budgets[budgets.gate == gate]
        ax.bar(row.lag, row.rate, width=0.8, color=color)
        ax.text(30.5, 0.38, f"$g = {gate:g}$", ha="right", color=color)
        ax.text(30.5, 0.22, note, ha="right", color=color)
        ax.set(ylim=(0, 0.52), yticks=[0, 0.5])
        ax.grid(visible=False, axis="x")
    axes[1].set_ylabel(r"learning rate $/\,\mu$")
    axes[2].set_xlabel(r"steps into the past, $\ell$")
chapter.figure("one-budget", fig, budgets)

# %% [markdown]
# :::{figure} /artifacts/one-neuron/figures/one-budget.svg
# :name: fig-one-budget
# :alt: Three rows of bars, the learning rate over the steps into the past. With
# :  the gate at one half the first bar is tall and the rest vanish within five
# :  steps. At one fifth the bars start lower and reach back about fifteen. At
# :  one twentieth all bars are low and nearly equal.
#
# One learning rate becomes one for each lag, and the gate sets how they share.
# Rate at which a neuron with a constant gate learns from the input of $\ell$
# steps ago. In every row the bars, with those beyond the right edge, add to one.
# :::
#
# ## Move the gate
#
# Three things hang on the same number. The **memory** of lag $\ell$ is what is
# kept of a state, $(1-g)^\ell$. The **rate** is $g(1-g)^\ell$. The **budget
# spent** up to that lag is $1-(1-g)^{\ell+1}$. {numref}`fig-one-gate` reads all
# three from networks, and not from the formulas. Online it has sliders. Move
# $g$ and watch the three change together.

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the measurement"}
lags, measured = np.arange(longest_lag + 1), {}
for gate in (0.02, 1 / 11, 0.4):  # too slow for lag 10, matched, too fast
    network = GatedRNN(1, 1, "constant", alpha=gate, dtype=torch.float64)
    run = network.run(torch.zeros(len(lags), 1, dtype=torch.float64))
    memory = [float(rates.retention(run, lag)[-1]) for lag in lags]
    rate = [float(rates.effective(run, 1.0, lag)[-1]) for lag in lags]
    measured[gate] = pd.DataFrame({"memory": memory, "rate": rate})
    measured[gate]["envelope"] = (lags / (lags + 1.0)) ** lags / (lags + 1)
    measured[gate]["spent"] = np.cumsum(rate)
one_gate = pd.concat(measured, names=["gate", "lag"]).reset_index()
kept = (1 - one_gate.gate) ** one_gate.lag
formulas = {"memory": kept, "rate": one_gate.gate * kept}
formulas["spent"] = 1 - (1 - one_gate.gate) * kept
gap = max((one_gate[c] - v).abs().max() / v.max() for c, v in formulas.items())
chapter.check(
    "one-gate",
    "networks with a constant gate have memory $(1-g)^\\ell$, rate "
    "$g(1-g)^\\ell$, and have spent $1 - (1-g)^{\\ell+1}$ of the budget",
    gap,
    1e-12,
    claim="C9",
    scope="three constant gates, ℓ ≤ 50",
)

# %% tags=["hide-input"]
TITLES = {
    "memory": r"Memory  $(1-g)^\ell$",
    "rate": r"Rate  $g(1-g)^\ell$",
    "spent": r"Budget spent  $1-(1-g)^{\ell+1}$",
}
curves = one_gate.rename(columns=TITLES).melt(["gate", "lag"], TITLES.values())
curves["gate"] = curves.gate.map("$g$ = {:.2g}".format)
with figures.style():
    look = {"kind": "line", "height": 2.6, "col": "variable", "style": "gate"}
    look |= {"hue": "gate", "palette": figures.CYCLE[:3]}
    look |= {"facet_kws": {"sharey": False}}
    grid = sns.relplot(curves, x="lag", y="value", **look)
    grid.refline(x=10, color=figures.INK, linestyle=":")
    grid.set(xlabel=r"lag $\ell$", ylabel="").set_titles("{col_name}")
    ax, envelope = grid.axes[0, 1], measured[0.4].envelope
    ax.plot(lags, envelope, color=figures.GRID, linewidth=6, zorder=1)
    ax.annotate("envelope", (30, 0.02), color=figures.MUTED)
    ax.set(yscale="log", ylim=(1e-4, 1.3))
chapter.figure("one-gate", grid.figure, one_gate)

# %% [markdown]
# :::{figure} /artifacts/one-neuron/figures/one-gate.svg
# :name: fig-one-gate
# :alt: Three panels over lags up to fifty, with one curve for each of three
# :  gates and a dotted line at lag ten. Memory falls from one, slowly for the
# :  small gate and at once for the large one. The rates are straight lines on a
# :  logarithmic axis below a curved envelope; the middle gate's touches it at
# :  lag ten. The budget of the large gate is spent within a few steps; the
# :  small gate has spent a fifth of its own at lag ten.
#
# One constant gate serves one lag. *Memory*: what is kept of a state. *Rate*,
# in units of $\mu$: it touches the envelope, which no constant gate crosses, at
# the lag that it is matched to. *Budget spent*: the share given to all lags up
# to this one. The picture for print has three gates: too slow, matched and too
# fast for lag 10 (dotted).
# :::
#
# Try this. Set the lag to 10 and look for the gate that gives it the highest
# rate. A large gate has forgotten the input by then. A small one has hardly
# written it down. The best lies between, at
#
# $$ g^\star = \frac{1}{\ell + 1} , $$ (eq-one-match)
#
# and {prf:ref}`thm-matched` says why. Here a search over all gates finds it.
# Then match the gate to longer lags, one after the other. The rate that even
# the best gate can give falls about as one over the lag: **long memories are
# taught slowly**.

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the search"}
searched = [
    minimize_scalar(
        lambda gate, lag=lag: -gate * (1 - gate) ** lag,
        bounds=(0, 1),
        options={"xatol": 1e-10},
    ).x
    for lag in range(1, longest_lag + 1)
]
chapter.check(
    "matched",
    r"the gate with the highest rate at lag $\ell$, found by search, is "
    r"$1/(\ell+1)$",
    max(abs(best * (lag + 1) - 1) for lag, best in enumerate(searched, start=1)),
    1e-5,
    claim="C10",
    scope="1 ≤ ℓ ≤ 50",
)

# %% [markdown]
# ## Try it
#
# *A gate that moves.* So far $g$ was the same at every step. Let it differ:
# $x_t = (1 - g_t)\,x_{t-1} + g_t\,w\,u_t$. What is the rate of step $k$ now?
# Can you choose ten gates so that the oldest input gets the *whole* budget?
#
# :::{admonition} Solution
# :class: dropdown
#
# The input of step $k$ is written with $g_k$. After that each step keeps its
# own $1 - g_j$. So the rate of step $k$ is
# $\mu\, g_k \prod_{j > k} (1 - g_j)$.
#
# To give everything to the first input, write all of it, and then write nothing
# any more: $g_1 = 1$ and $g_2 = \dots = g_{10} = 0$. The budget has not grown.
# It is still one. But a gate that *moves* may spend all of it on one moment,
# where the best constant gate has less than $1/(e\,\ell)$ for lag $\ell$.
#
# This is why learned gates are worth having: a gate that sees the input can
# open for what matters and shut for the rest. It is also where the trouble
# starts, since such a gate is itself changed by learning.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Check the solution"}
moving, x = sp.symbols("g_1:11"), sp.Integer(0)
inputs = sp.symbols("u_1:11")
for g_t, u_t in zip(moving, inputs, strict=True):
    x = (1 - g_t) * x + g_t * w * u_t
per_step = [x.diff(w).diff(u_k) for u_k in inputs]
products = [
    g_k * sp.prod(1 - g_j for g_j in moving[k:]) for k, g_k in enumerate(moving, 1)
]
whole = dict(zip(moving, [1] + [0] * 9, strict=True))
chapter.prove(
    "try-moving",
    "ten gates that differ: step k has the rate $g_k \\prod_{j>k}(1 - g_j)$; a "
    "gate that opens once gives the first input the whole budget",
    *(sp.expand(a - b) for a, b in zip(per_step, products, strict=True)),
    x.diff(w).subs(whole) - inputs[0],
    claim="C8",
    scope="T = 10",
)

# %% [markdown]
# ## What the rest of the book does
#
# **Every later chapter is this neuron, made more general.** The constant
# becomes a gate that is learned and sees the input and the state. The one
# neuron becomes a network, whose neurons also reach each other. Then the rate
# $g\,(1-g)^\ell$ is no longer the whole gradient, and the question is how much
# of it is left: {ref}`ch-bptt` has the general formula and measures what it
# misses, {ref}`ch-diagonal` has the networks for which it misses nothing, and
# {ref}`ch-closed-loop` has the gate that learns.
#
# | here | in the book |
# |:---|:---|
# | $g$, fixed | $g_t$: fixed, one for all neurons, or one for each |
# | input $w\,u_t$ | candidate $\varphi_t = \tanh(W_r x_{t-1} + W_i u_t + b)$ |
# | memory $(1-g)^\ell$ | retention $P_{t,k} = \prod_{j=k+1}^{t} (1-g_j)$ |
# | rate $\mu\,g\,(1-g)^\ell$ | effective rate $\mu_{t,k} = \mu\,g_k\,P_{t,k}$ |
# | exact | one term of an expansion |
#
# ## What was checked

# %% tags=["hide-input"]
chapter.validation()

# %% [markdown]
# :::{table-file} /artifacts/one-neuron/tables/one-neuron-validation.csv
# :name: tab-one-neuron-validation
#
# The checks of this chapter: the gradient (C8), its budget (C9) and the matched
# gate (C10).
# :::
#
# ## In two sentences
#
# A neuron that writes the fraction $g$ of its state learns from the input of
# $\ell$ steps ago at the rate $\mu\,g\,(1-g)^\ell$. These rates share one budget,
# so that a gate which remembers longer learns less from each moment.

# %% tags=["remove-cell"]
chapter.close()
