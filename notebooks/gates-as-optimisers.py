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
# (ch-optimisers)=
# # Gates as optimisers
#
# Gates hand out learning rates ({ref}`ch-bptt`). People have tools for the same end: a learning-rate
# **schedule**, **momentum** {cite}`polyak1964momentum` and **Adam** {cite}`kingma2015adam`. How much does
# a gate have in common with each of them? The paper behind this book draws "formal analogies with
# learning-rate schedules, momentum, and adaptive methods such as Adam" (abstract, first version,
# {cite}`livi2025timescale`). It also says that gates "act as data-driven preconditioners". This chapter
# asks of each likeness how far it reaches:
#
# * **identity**: the two are the same, term by term, and that can be proved;
# * **analogy**: they share some properties and lack others, and both can be listed;
# * **false**: a counter-example shows that they are not the same.
#
# All three occur. A gate is a schedule for each lag, and not for training as a whole. It is momentum
# within a sequence, and not between sequences. It is a positive diagonal preconditioner for each pair of
# steps, and not for their sum. Like Adam it is driven by data; in four other ways it is not Adam.
# {numref}`tab-verdicts` has the full list.
#
# Everything here is about order 0, the part of the gradient that the leaks carry back
# ({prf:ref}`thm-effective-rates`). It is not the whole gradient. {numref}`tab-online-rules` measures how
# much of it is missing.

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters"}
profile = "ci"
seeds = 3  # trained networks
device = "auto"
out = "../artifacts/draft/gates-as-optimisers"
n_hidden = 24  # neurons of the networks that read digits
training_steps = 250
probes = 24  # digits along which the trained networks are measured
lags = [0, 4, 16, 32]  # lags whose schedule is drawn

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the imports"}
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import sympy as sp
import torch
from gatelr import GatedRNN, adjoint, rates
from gatelr.experiments import agreement, digits, moving_gate
from gatelr.experiments import online_rules as rules
from gatelr.experiments import preconditioners as scaling
from gatelr.experiments.agreement import discrepancy, random_case
from gatelr.experiments.optimiser_steps import adam_on, last_step
from gatelr.experiments.step_structure import between_rows
from gatelr.record import Chapter, figures, show, tables
from torch.optim import SGD, Adam

chapter = Chapter("gates-as-optimisers")
GATES = ("constant", "scalar", "multi")
small_case, trained = "every gate, n = 5, T = 12", "trained networks"

# %% [markdown]
# ## A schedule for each lag
#
# Let training move the gate: at training step $s$ a constant gate has the value $g(s)$. Then the rate
# at which lag $\ell$ learns moves with it.
#
# :::{prf:theorem} A moving gate is a schedule for every lag
# :label: thm-schedule
#
# At order 0, lag $\ell$ learns at training step $s$ at the rate
#
# $$ \mu_\ell(s) = \mu\, g(s)\, \big(1 - g(s)\big)^{\ell} . $$ (eq-schedule)
#
# Opening the gate a little raises the rate of lag $\ell$ if and only if $g < 1/(\ell + 1)$. So a gate
# that opens from 0 to 1 warms up every lag from 1 on and then cools it down. The peak is where the gate
# matches the lag ({prf:ref}`thm-matched`), so long lags have theirs first. Lag 0 only warms up. A gate
# that closes does all this backwards.
# :::
#
# *Proof.* The first line is {eq}`eq-effective` with all gates equal. The rest is in the sign of one
# factor of the slope. A schedule in the usual sense multiplies *everything* by one factor, and a
# moving gate is no such schedule in disguise. Under a common factor two lags keep the ratio of their
# rates. Under a gate the ratio is $(1-g)^{\ell' - \ell}$, which moves whenever $g$ does.

# %%
g, kept, more = sp.symbols("g kept more", positive=True)  # 1 - g; a lag more
ell = sp.Symbol("ell", nonnegative=True)
rate, bracket = g * (1 - g) ** ell, 1 - (ell + 1) * g
slope = (1 - g) ** (ell - 1) * bracket
show(r"\frac{d}{dg}\, g (1 - g)^{\ell}", slope)
prove_schedule = partial(chapter.prove, claim="C11", scope="every n and ℓ")
text = r"$\frac{d}{dg} g(1-g)^\ell$ is $(1-g)^{\ell-1} (1 - (\ell+1) g)$"
prove_schedule("schedule-slope", text, (rate.diff(g) - slope).subs(g, 1 - kept))

front = sp.simplify((slope / bracket).subs(g, 1 - kept)).is_positive
facts = front, bracket.diff(g).is_negative, bracket.subs(g, 1 / (ell + 1))
text = r"opening a gate raises the rate of lag $\ell$ if and only if $g < 1/(\ell+1)$"
prove_schedule("schedule-sign", text, *facts, claim="C10")

ratio = (1 - g) ** more  # of the rates of lag ℓ + more and of lag ℓ
falls = sp.simplify(ratio.diff(g).subs(g, 1 - kept)).is_negative
text = "a moving gate changes the ratio of the rates of any two lags, which no "
text += "common factor can"
facts = rate.subs(ell, ell + more) / rate - ratio, falls
prove_schedule("schedule-not-global", text, *facts)

# %% [markdown]
# ### A gate that training moves
#
# To see it happen, take a scalar gate that reads nothing. Its two weight vectors are zero, and a learning
# rate of zero keeps them there. So its bias alone decides: $g(s) = \sigma(b_g(s))$. The gate starts
# nearly shut. Training on digits, read pixel by pixel, may move it. At every fifth step
# `moving_gate.watch` reads the rate of each lag off the network.
#
# Two things must hold. The rates must be those of {eq}`eq-schedule`. And between two readings on the same
# side of a lag's {term}`matched gate`, its rate must have moved as {prf:ref}`thm-schedule` says.

# %%
schedule = moving_gate.watch(lags, seeds, training_steps, chapter.device)
gate, lag = schedule.gate, schedule.lag
deviation = float((schedule.rate - gate * (1 - gate) ** lag).abs().max())
check = partial(chapter.check, scope="networks in training, four lags")
text = r"rates of a network in training are $g(s)(1 - g(s))^{\ell}$"
check("schedule-numbers", text, deviation, 1e-12, claim="C11")

wrong, readings = moving_gate.wrong_way(schedule)
text = (
    f"of {readings} readings on one side of the matched gate, none moved the wrong way"
)
check("schedule-direction", text, wrong, claim="C10")

# %% tags=["hide-input"]
means = gate[lag == lags[0]].groupby(schedule.step).mean()
for name, value in {"start": means.iloc[0], "end": means.iloc[-1]}.items():
    chapter.number(f"gate-{name}", float(value), f"{value:.2f}")
sweep = np.linspace(0, 1, 401)
curves = pd.DataFrame({lag: sweep * (1 - sweep) ** lag for lag in lags}, index=sweep)
with figures.style():
    fig, (theory, real) = plt.subplots(1, 2, figsize=(8, 3.3), sharey=True)
    hues = dict(zip(lags, figures.CYCLE, strict=False))
    sns.lineplot(curves, palette=hues, dashes=False, legend=False, ax=theory)
    theory.scatter(1 / (curves.columns + 1), curves.max(), c=hues.values())
    look = {"hue": "lag", "palette": hues, "ax": real}
    look |= {"units": "seed", "estimator": None, "lw": 1}
    sns.lineplot(schedule, x="step", y="rate", **look)
    theory.set(yscale="log", ylim=(2e-4, 1.3), title="In theory")
    theory.set(xlabel="gate $g$, opening", ylabel=r"rate $\mu_\ell/\mu$")
    real.legend(title=r"lag $\ell$", loc="lower left", ncols=len(lags))
    real.set(xlabel="training step $s$", title="In training")
chapter.figure("schedule-per-lag", fig, schedule)

# %% [markdown]
# :::{figure} /artifacts/gates-as-optimisers/figures/schedule-per-lag.svg
# :name: fig-schedule-per-lag
# :alt: Two panels with logarithmic rates, four lags each. Left, over a gate from zero to one, each lag rises to a peak
#   and falls, longer lags earlier and lower; lag zero only rises. Right, over training steps, one thin line a network:
#   the short lags rise and stay high, while the two longest rise a little, pass a peak and fall.
#
# One gate is one schedule for each lag. *Left*: the rate of each lag as a gate opens, with a marker at
# the matched gate $1/(\ell+1)$. *Right*: the rates read off networks while training on digits opens
# their gates, one line a network.
# :::
#
# Training took the gate from {result}`gates-as-optimisers/gate-start` to
# {result}`gates-as-optimisers/gate-end`, in the mean over networks. {numref}`fig-schedule-per-lag` shows
# what that did: the longer the lag, the sooner its rate is past its peak. Nobody wrote
# this schedule down. It is a by-product of what the state found worth keeping.
#
# ## Momentum, along the sequence
#
# Momentum averages: it keeps a buffer, lets it decay by $\beta$ and adds what is new. Order-0 learning
# keeps a buffer too. It appears when the sums of {eq}`eq-effective` are done from the past to the
# present.
#
# :::{prf:theorem} The eligibility trace
# :label: thm-trace
#
# The sum of all past steps of a neuron's credit, each weighted by its effective rate,
#
# $$ E_t = \sum_{k \le t} \operatorname{diag}(g_k \odot P_{t,k})\, \varphi'(a_k)\, x_{k-1}^\top , $$
#
# obeys
#
# $$
# \begin{aligned}
# E_t &= \operatorname{diag}(1 - g_t)\, E_{t-1} \\
#     &\quad + \operatorname{diag}(g_t)\, \varphi'(a_t)\, x_{t-1}^\top , \qquad E_0 = 0,
# \end{aligned}
# $$ (eq-trace)
#
# and the order-0 gradient is $\sum_t \operatorname{diag}(\delta_t)\, E_t$. This is momentum in the form
# of an exponential moving average, with $\beta_t = 1 - g_t$ set by the data, running along the sequence.
# :::
#
# *Proof.* By induction, one entry at a time; $v_k$ stands for an entry of $\varphi'(a_k) x_{k-1}^\top$.
# Write $P_{t,k}$ as $C_t / C_k$ with the product $C_t = P_{t,0}$ of all that is kept up to $t$. From step
# $t - 1$ to step $t$ every old term is multiplied by $C_t / C_{t-1} = 1 - g_t$, and one new term comes in.
# (That takes gates below one. A gate of exactly one forgets all old terms, and both sides are the new one.)
#
# For a constant gate $\beta = 1 - \alpha$ never changes. The trace is then textbook momentum: $\alpha$
# times Polyak's heavy-ball buffer $h_t = \beta h_{t-1} + v_t$.

# %%
vs, C = sp.IndexedBase("v"), sp.IndexedBase("C")
t, k = sp.symbols("t k", integer=True, positive=True)
term = (1 - C[k] / C[k - 1]) * C[t] / C[k] * vs[k]  # g_k P_{t,k} v_k
before, now = sp.Sum(term.subs(t, t - 1), (k, 1, t - 1)), sp.Sum(term, (k, 1, t - 1))
old = sp.factor_terms(now) - C[t] / C[t - 1] * sp.factor_terms(before)
new = term.subs(k, t) - (1 - C[t] / C[t - 1]) * vs[t]
prove_trace = partial(chapter.prove, claim="C12", scope="every n and t")
text = "from step to step, old terms shrink by $1 - g_t$ and $g_t v_t$ comes in"
prove_trace("trace-induction", text, old, new)

alpha, h, v = sp.symbols("alpha h v", positive=True)
trace = (1 - alpha) * (alpha * h) + alpha * v  # if the last one was α h
text = r"a constant gate's trace is $\alpha$ times a heavy-ball buffer, "
text += r"$\beta = 1 - \alpha$"
prove_trace("trace-heavy-ball", text, trace - alpha * ((1 - alpha) * h + v))

# %% [markdown]
# ### PyTorch's own momentum computes it
#
# An identity can be put to work. Give `torch.optim.SGD` the credit $\varphi'(a_t) x_{t-1}^\top$ of each
# step as if it were a gradient. Set `momentum` and `dampening` to $1 - g_t$ before each step, with one
# parameter group for each neuron. That is what `online_rules.torch_momentum` does. Its buffer must then
# *be* the trace of `rates.eligibility`, for every gate.

# %%
traces = rules.deviations(5, 2, 12, device=chapter.device).max()
check = partial(chapter.check, claim="C12", scope=small_case)
text = r"the buffer of `torch.optim.SGD` with momentum $1 - g_t$ is the trace"
check("trace-torch-momentum", text, traces["torch's momentum"], 1e-12)

# %% [markdown]
# ### Not along iterations
#
# Optimisers carry momentum from one *training step* to the next. Does a gate? Train one network on one
# batch, and its twin on another. Then set both to the same weights and give both the same third batch.
# If the past matters, their next steps differ. Under plain SGD they must not. Under heavy-ball momentum
# they must.

# %%
small, u, y = random_case("multi", 5, 2, 12, batch=(3,))
batches = u.flip(0), -u, u
one, other, third = (agreement.gradients(small, b, y)["W_r"] for b in batches)
plain = (last_step(SGD, past, third) for past in (one, other))
heavy = (last_step(SGD, past, third, momentum=0.9) for past in (one, other))
check = partial(chapter.check, claim="C12", scope="a multi-gate network, n = 5")
text = "the next step of a gated network under plain SGD does not know the last batch"
check("trace-no-iterations", text, discrepancy(*plain))
text = "under heavy-ball momentum its next steps differ by more than a tenth"
check("momentum-iterations", text, discrepancy(*heavy) > 0.1)

# %% [markdown]
# The trace starts at $E_0 = 0$ with every sequence. Momentum smooths the noise between batches; the trace
# assigns credit within a sequence. They are the same recursion on different clocks, and *a gate is
# momentum for the weights* is false.
#
# ### Learning while reading
#
# A trace needs no backward pass: at each step multiply it by the error, add, go on. It takes $n^2$
# numbers a sequence, however long. Backpropagation keeps a record of $T$ steps. So a trace saves memory
# when sequences are long, and not otherwise. Three published rules are traces of this family.
#
# **RFLO** {cite}`murray2019rflo`, *random feedback local online* learning, was proposed as something that
# a brain could do. Its rule for a leaky network with time-scale $\tau$ (in steps) has a trace for each
# synapse,
#
# $$
# \begin{aligned}
# p_{ab}(t) &= \tfrac1\tau\, \varphi'(u_a(t))\, h_b(t-1) \\
#           &\quad + \big(1 - \tfrac1\tau\big)\, p_{ab}(t-1), \\
# \Delta W_{ab} &= \eta\, [F\, e(t)]_a\, p_{ab}(t) ,
# \end{aligned}
# $$ (eq-rflo)
#
# with that paper's $h$ for the state and $u$ for the pre-activation, the error $e$ of the output, and a fixed
# random matrix $F$ in place of the transposed readout. The trace is {eq}`eq-trace` with $\alpha = 1/\tau$.
# The library also has it as the paper writes it, synapse by synapse, to compare.
#
# **SnAp-1** {cite}`menick2021snap` keeps what a weight does to its own neuron. So its trace decays by the
# derivative of a neuron's state with respect to *its own* previous state. That is the diagonal of $J_t$:
# the leak, and the diagonal of $R_t + G_t$,
#
# $$
# \begin{aligned}
# \tilde E_t &= \big(\Lambda_t + \operatorname{diag}(R_t + G_t)\big)\, \tilde E_{t-1} \\
#            &\quad + \operatorname{diag}(g_t)\, \varphi'(a_t)\, x_{t-1}^\top .
# \end{aligned}
# $$ (eq-eprop)
#
# **e-prop** {cite}`bellec2020eprop` also follows a neuron's own past. It tells apart what a neuron keeps
# inside and what others see of it, such as spikes, and follows the inside alone. In our family the two
# are one number. Count both roads, and e-prop is SnAp-1. Count the inside alone, and only the leak is
# left: that is order 0.
#
# One function, `online_rules.online`, runs them all, with the decay as its argument, and
# `online_rules.deviations` compares. For a loss at every step the rules must agree with the backward sweep
# of the library that carries the leaks alone, or the diagonal alone. (A test of the library holds the second
# to autograd, in a network where every neuron sees all others detached.)

# %%
check = partial(chapter.check, claim="C12", scope=small_case)
text = "online by the trace and batch by the adjoint: the same order-0 gradient"
check("online-batch", text, traces["order 0"], 1e-12)
text = r"the trace that decays by $J_t$'s diagonal is the gradient through own states"
check("eprop-trace", text, traces["diagonal"], 1e-12)
apart = rules.deviations(5, 2, 12, device=chapter.device).apart.min()
text = "the order-0 trace is not: the two differ by more than a hundredth"
check("eprop-is-not-order-0", text, bool(apart > 1e-2))

draw = torch.Generator().manual_seed(1)
leaky = GatedRNN(2, 5, "constant", alpha=0.2, bias=True, generator=draw).to(u)
run = leaky.requires_grad_(False).run(u[:, 0])
deviation = discrepancy(rules.rflo(run, tau=5), rates.eligibility(leaky, run))
text = r"RFLO's trace is $E_t$ of a constant gate $\alpha = 1/\tau$"
chapter.check("rflo-trace", text, deviation, 1e-12, claim="C12", scope="τ = 5, n = 5")

# %% [markdown]
# ### How good are they?
#
# Identities say what a rule computes, and not whether that is worth having. So networks are trained on
# digits with each kind of gate, for the rest of this chapter. For each digit the exact gradient
# $\nabla_{W_r} L$ of its loss is compared with three online rules: the order-0 trace, the trace with the
# diagonal, and the order-0 trace with random feedback in place of the readout, as in RFLO.

# %%
sizes = n_hidden, seeds, training_steps, probes
networks = digits.readings(GATES, *sizes, device=chapter.device)
quality = rules.quality(networks)

# %% tags=["hide-input"]
for gate, rule, value in quality[["gate", "rule", "cosine"]].to_numpy():
    slug = rule.replace(",", "").replace(" ", "-")
    chapter.number(f"cosine-{gate}-{slug}", value, f"{value:.2f}")
printed = quality.map(lambda c: c if isinstance(c, str) else f"{c:.2f}")
chapter.table("online-rules", printed)

# %% [markdown]
# :::{table-file} /artifacts/gates-as-optimisers/tables/online-rules.csv
# :name: tab-online-rules
#
# The cheap rules follow the gradient in part. Cosine between an online rule's gradient and the exact one
# with respect to $W_r$, for each digit: median and quartiles over digits and trained networks. The loss
# is read from the last state.
# :::
#
# The order-0 trace has a cosine of {result}`gates-as-optimisers/cosine-scalar-order-0-trace` with the
# true gradient in the scalar network. In the multi-gate network it is
# {result}`gates-as-optimisers/cosine-multi-order-0-trace`. The rows of {numref}`tab-online-rules` say what
# the neuron's own diagonal adds, and what random feedback costs. That the rules are cheap and local is an
# identity; that they follow the gradient is true in part only. (These networks were trained by exact
# gradients. Networks that are trained by random feedback can align their readout with it, which is not
# tested here.)
#
# {numref}`fig-trace-and-momentum` shows one trace at work. Where the gate shuts ($\beta_t$ near one), the
# trace holds its level. Where it opens, the trace is rewritten within a step or two. A moving average
# with one fixed $\beta$, the mean of the gate's, can do neither.

# %% tags=["hide-input"]
lines = rules.one_entry(networks["multi"].run)
multi, fixed = (figures.GATES[gate]["color"] for gate in ("multi", "constant"))
with figures.style():
    shape = {"sharex": True, "height_ratios": [2.2, 1], "figsize": (7.4, 4.2)}
    fig, (top, bottom) = plt.subplots(2, 1, **shape)
    look = {"palette": [figures.MUTED, multi, fixed], "ax": top}
    look["dashes"] = [(1, 1), "", (4, 2)]
    sns.lineplot(lines.drop(columns="beta").set_index("step"), **look)
    top.set(ylabel="one entry of $E_t$", xlim=(0.5, len(lines) + 0.5))
    top.legend(ncols=3, loc="lower left")
    bottom.step(lines.step, lines.beta, where="mid", color=multi)
    bottom.axhline(lines.beta.mean(), color=fixed, linestyle="--")
    bottom.set(xlabel="step $t$", ylabel=r"$\beta_t$", ylim=(0, 1.05))
chapter.figure("trace-and-momentum", fig, lines)

# %% [markdown]
# :::{figure} /artifacts/gates-as-optimisers/figures/trace-and-momentum.svg
# :name: fig-trace-and-momentum
# :alt: Two stacked panels over the steps of a digit. Above, a jagged grey line of credit, a line of the trace that holds
#   its level in places and jumps in others, and a moving average that follows smoothly. Below, the decay factor swings
#   between values near zero and near one, around its dashed mean.
#
# A trace holds and rewrites, as its gate decides. One entry of the eligibility trace along a handwritten
# digit, in a trained multi-gate network, beside the credit that it averages and a moving average with the
# neuron's mean $\beta$. Below, the $\beta_t$ that the gate chose.
# :::
#
# ## A preconditioner, pair by pair
#
# A *preconditioner* is a matrix that multiplies the gradient before the step is taken. Take a loss at
# step $t$ and one earlier step $k$. By {prf:ref}`thm-effective-rates` the gates multiply the credit of
# this pair by $\operatorname{diag}(\mu_{t,k})$, which is diagonal, positive, and set by the data. The
# same proof goes for every weight. Only what the weight reads changes:
#
# | weight | credit of the pair $(t, k)$ | its rate |
# |:---|:---|:---|
# | $W_r$ | $D_k \delta_t\, x_{k-1}^\top$ | $\mu\, g_k \odot P_{t,k}$ |
# | $W_i$ | $D_k \delta_t\, u_k^\top$ | the same |
# | $b$ | $D_k \delta_t$ | the same |
# | $W_{rg}$, $W_{ig}$, $b_g$ | $\delta_t\, x_{k-1}^\top$, $\delta_t\, u_k^\top$, $\delta_t$ | $\mu\, (\varphi_k - x_{k-1}) \odot g_k \odot (1 - g_k) \odot P_{t,k}$ |
# | $W_o$ | the error of the output at $t$, times $x_t^\top$ | $\mu$ |
#
# The factor of the gate's own weights has no fixed sign. It is positive where the candidate lies above the
# state, and negative where it lies below. So for these weights a gate is no positive preconditioner, not
# even for a single pair.
#
# The table is checked weight by weight. Rates that are summed lag by lag must give the gradient that the
# closed-form sweep gives when it carries the leaks alone. For $W_o$ autograd has the answer.

# %%
gaps = agreement.compare_order_0(5, 2, 12, device=chapter.device)
worst = gaps.groupby("weight").gap.max()
check = partial(chapter.check, claim="C8", scope=small_case)
text = "$W_r$, $W_i$ and $b$ carry the rates $g_k P_{t,k}$: the closed form at order 0"
check("rates-of-weights", text, worst[["W_r", "W_i", "b"]].max(), 1e-12)
text = r"$W_{rg}$, $W_{ig}$ and $b_g$ carry $(\varphi_k - x_{k-1}) g_k (1-g_k) P_{t,k}$"
check("rates-of-gate-weights", text, worst[["W_rg", "W_ig", "b_g"]].max(), 1e-12)
text = "$W_o$ carries the rate 1: autograd's gradient is the errors times the states"
check("rates-of-readout", text, worst["W_o"], 1e-12)

change = networks["multi"].run.phi - networks["multi"].run.x_prev
negative = float((change < 0).double().mean())
text = "of the factors of multi gates' own weights a tenth or more has either sign"
either = 0.1 <= negative <= 0.9
chapter.check("gate-factor-signs", text, either, claim="C8", scope=trained)

# %% [markdown]
# ### What the sum loses
#
# A step of training adds up all pairs. Write $V_{t,k} = D_k \delta_t x_{k-1}^\top$ for the credit of one
# pair. With all rates one, the sum is $v = \sum_{t,k} V_{t,k}$. With the gates' rates it is the order-0
# gradient $c = \sum_{t,k} \operatorname{diag}(g_k \odot P_{t,k})\, V_{t,k}$. Is $c$ some
# preconditioner times $v$? Take the two numbers 1 and $-3/4$. Their sum is positive. Weighted with 1/4 and
# 1/2, it is negative. The weights are positive, and still the sum has turned its sign.
#
# :::{prf:proposition} When the sum is a preconditioned gradient
# :label: prop-preconditioner
#
# Let $v \ne 0$.
#
# 1. $c = Q v$ with a positive diagonal matrix $Q$ if and only if $c$ and $v$ have the same sign in every
#    coordinate.
# 2. $c = Q v$ with a symmetric positive definite $Q$ if and only if $\langle c, v \rangle > 0$. One such
#    matrix is $Q = c c^\top / \langle c, v \rangle + I - v v^\top / \lVert v \rVert^2$.
# 3. Gates guarantee neither.
# 4. No $Q$ that is fixed by the forward pass serves every $\delta$.
# :::
#
# *Proof of 1.* A positive factor keeps the sign of a number. In return, if all signs agree, put the
# quotients $c/v$ on the diagonal, and 1 where both numbers are zero.
#
# *Proof of 2.* If $Q$ is positive definite, then $\langle c, v \rangle = v^\top Q v > 0$. In return, take
# one axis along $v$ and the next along what is left of $c$. On all other axes the $Q$ above is the
# identity. On these two it has four entries. SymPy finds that it takes $v$ to $c$, and that its leading
# minors are positive.
#
# *Proof of 3 and 4.* One linear neuron is enough, $x_t = (1 - g)\, x_{t-1} + g\, w\, u_t$. Let it read two
# inputs, $u_1 = 1$ and $u_2 = -r$. If the loss reads $x_2$, then
#
# $$ c / v = g - \frac{g^2}{1 - r} , $$ (eq-turned)
#
# which is $-1/2$ at $g = 1/2$ and $r = 3/4$. These are the two numbers from above: the fresh input has the
# larger rate and the opposite sign, so it wins the weighted sum and loses the plain one. If the loss reads
# $x_1$ instead, then $c / v = g$. The forward pass is the same, and $Q$ would have to be two numbers at once.

# %%
q, a, b = sp.symbols("q a b", positive=True)
v, sign = sp.symbols("v sign", real=True)
facts = sp.sign(q * v) - sp.sign(v), a / b * (sign * b) - sign * a
prove_sum = partial(chapter.prove, claim="C8", scope="every n")
text = "a positive diagonal $Q$ takes $v$ to $c$ if and only if all signs agree"
prove_sum("preconditioner-diagonal", text, *facts)

length, along = sp.symbols("length along", positive=True)  # of v; c along v
v, c = sp.Matrix([length, 0]), sp.Matrix([along, sp.Symbol("across", real=True)])
Q = c * c.T / c.dot(v) + sp.eye(2) - v * v.T / v.dot(v)
minors = Q[0, 0].is_positive, sp.simplify(Q.det()).is_positive
text = r"if $\langle c, v \rangle > 0$, the explicit $Q$ takes $v$ to $c$, is symmetric"
text += " and positive definite, in the plane of $v$ and $c$"
prove_sum("preconditioner-full", text, Q * v - c, Q - Q.T, *minors)

w, spare = sp.symbols("w spare", positive=True)  # spare is 1 - r
x_1 = g * w
x_2 = (1 - g) * x_1 + g * w * (spare - 1)
factor_1, factor_2 = x_1.diff(w), sp.expand(x_2.diff(w) / spare)
show("c/v", factor_2.subs(spare, 1 - sp.Symbol("r")))
half = sp.Rational(1, 2)
facts = factor_2 - (g - g**2 / spare), factor_2.subs({g: half, spare: half / 2}) + half
prove_neuron = partial(chapter.prove, claim="C8", scope="n = 1, T = 2")
text = "one linear neuron: $c/v = g - g^2/(1-r)$, or $-1/2$ at $g = 1/2$, $r = 3/4$"
prove_neuron("preconditioner-counter-example", text, *facts)
text = "the factors for a loss at step 1 and at step 2 differ, whatever the gate"
prove_neuron("preconditioner-every-loss", text, (factor_2 - factor_1).is_negative)

# %% [markdown]
# ### How often it happens
#
# Is that a curiosity of two steps? In the trained networks the *signed factor* $c/v$ can be read off for
# each weight of $W_r$, after the sum over steps and digits. If the gates were a positive diagonal
# preconditioner of the sum, it would be positive everywhere. If it were a mean of rates, it would also lie
# below one.

# %%
measured, factors = scaling.survey(networks)
turns = measured.negative.min() > 10 and measured.largest.min() > 1
text = "with every kind of gate the summed factor is negative for more than a tenth "
text += "of the weights of $W_r$, and its size is above one somewhere"
chapter.check("signed-factors", text, turns, claim="C8", scope=trained)

# %% tags=["hide-input"]
for (gate, name), value in measured[["negative", "against", "largest"]].stack().items():
    chapter.number(f"factor-{name}-{gate}", value, f"{value:,.0f}")
for name in ("true", "unit"):
    chapter.number(f"preconditioned-{name}", int(measured[name].sum()))
chapter.number("networks", len(GATES) * seeds)
with figures.style():
    fig, ax = plt.subplots()
    look = {gate: figures.GATES[gate]["color"] for gate in GATES}
    ax.axvspan(0, 1, color=figures.GRID, alpha=0.5, lw=0)
    sns.ecdfplot(factors, x="factor", hue="gate", palette=look, ax=ax)
    ax.set(xlim=(-0.5, 1.2), xlabel="signed factor $c/v$", ylabel="share of weights")
    ax.text(0.5, 0.06, "where a mean of rates would lie", ha="center")
chapter.figure("signed-factors", fig, factors)

# %% [markdown]
# :::{figure} /artifacts/gates-as-optimisers/figures/signed-factors.svg
# :name: fig-signed-factors
# :alt: Three rising curves, one for each gate, of the share of weights below a factor. All are well above the bottom where
#   they cross zero, that of the scalar gate highest and that of the constant gate lowest; they rise steeply just after.
#
# After the sum, many factors are negative. Share of the weights of $W_r$ whose gradient is multiplied by
# less than the number below, over all trained networks. Means of rates would lie in the shaded part
# only. Some weights lie outside the picture, on either side.
# :::
#
# The factor is negative for {result}`gates-as-optimisers/factor-negative-constant` % of the weights with
# constant gates, for {result}`gates-as-optimisers/factor-negative-scalar` % with scalar ones and for
# {result}`gates-as-optimisers/factor-negative-multi` % with multi gates. Its largest sizes are
# {result}`gates-as-optimisers/factor-largest-constant`,
# {result}`gates-as-optimisers/factor-largest-scalar` and
# {result}`gates-as-optimisers/factor-largest-multi`. Such sizes mean little by themselves: they occur where
# the plain sum $v$ nearly cancels. But no rate and no mean of rates is above one.
#
# An average of the rates with weights $|V_{t,k}|$ would show nothing of this. Weights without signs keep
# the average between the least and the largest rate, whatever the network does.
#
# Compare order 0 with the *true* gradient now. The two have opposite signs at
# {result}`gates-as-optimisers/factor-against-constant`, {result}`gates-as-optimisers/factor-against-scalar`
# and {result}`gates-as-optimisers/factor-against-multi` % of the weights (constant, scalar, multi). So no
# positive diagonal matrix leads from one to the other. A full symmetric one is another matter: by part 2 it
# takes a positive inner product. That holds against the true gradient in
# {result}`gates-as-optimisers/preconditioned-true` of {result}`gates-as-optimisers/networks` networks, and
# against $v$ in {result}`gates-as-optimisers/preconditioned-unit`.
#
# ### How unequal are the neurons?
#
# Within one pair the rates differ between neurons. Two numbers speak of that, and they are easily confused.
# The condition number of *transport*, $\max_q P^q / \min_q P^q$, says how unequally errors are passed back.
# That of the *preconditioner*, $\kappa_\mu = \max_q g^q P^q / \min_q g^q P^q$, says how unequally neurons
# learn.
#
# Take two constants. At lag 0 the fast neuron writes more, and learns more. Over a long lag it has forgotten,
# and the slow one learns more. They swap at the lag $\ell^*$ of {eq}`eq-crossing`, and
# {prf:ref}`thm-kappa` says what follows for $\kappa_\mu$ of any constants: it falls up to the $\ell^*$ of
# the slowest and the fastest, and grows from there on. The logarithm of a rate is a straight line over the
# lag, $\ln \alpha + \ell \ln(1 - \alpha)$, so $\log \kappa_\mu$ is a largest line less a smallest one,
# and convex.

# %%
run, alphas = networks["constant"].run, np.array(networks["constant"].model.alpha)
condition = [rates.preconditioner_condition(run, lag).max() for lag in range(9)]
kappa = np.array(condition, dtype=float)
by_lag = [alphas * (1 - alphas) ** lag for lag in range(9)]
deviation = max(abs(kappa / [rate.max() / rate.min() for rate in by_lag] - 1))
check = partial(chapter.check, claim="C14", scope="log-spaced constants, ℓ ≤ 8")
text = r"`rates.preconditioner_condition` is the ratio of rates $\alpha(1-\alpha)^\ell$"
check("preconditioner-condition", text, deviation, 1e-12)

slow, fast = alphas.min(), alphas.max()
crossing = np.log(slow / fast) / np.log((1 - fast) / (1 - slow))
slopes = np.diff(np.log(kappa))
turns = [(slopes[: int(crossing)] < 0).all(), (slopes[int(crossing) + 1 :] > 0).all()]
text = r"$\log \kappa_\mu$ falls up to $\ell^*$, grows beyond it, and is convex"
check("condition-turns", text, all(turns) and (np.diff(slopes) > -1e-12).all())

# %% tags=["hide-input"]
chapter.number("constants", n_hidden)
chapter.number("crossing", crossing, f"{crossing:.2f}")
for lag in range(5):
    learned = rates.preconditioner_condition(networks["multi"].run, lag).median()
    for gate, value in {"constant": kappa[lag], "multi": float(learned)}.items():
        chapter.number(f"condition-{gate}-{lag}", value, f"{value:.0f}")

# %% [markdown]
# The {result}`gates-as-optimisers/constants` constants cross at
# $\ell^* =$ {result}`gates-as-optimisers/crossing`. Their $\kappa_\mu$ at lags 0 to 4 is
# {result}`gates-as-optimisers/condition-constant-0`, {result}`gates-as-optimisers/condition-constant-1`,
# {result}`gates-as-optimisers/condition-constant-2`, {result}`gates-as-optimisers/condition-constant-3` and
# {result}`gates-as-optimisers/condition-constant-4`. Not every set of constants shows such a fall: where
# $\ell^*$ is below about one half, it is over before lag 1.
#
# Learned gates promise nothing. In these networks $\kappa_\mu$ goes from
# {result}`gates-as-optimisers/condition-multi-0` at lag 0 to {result}`gates-as-optimisers/condition-multi-1`
# at lag 1 and {result}`gates-as-optimisers/condition-multi-2` at lag 2. With one gate for all neurons both
# numbers are 1 at every lag.
#
# ## Adam: what is shared, and what is not
#
# Adam {cite}`kingma2015adam` divides each coordinate of a running mean of gradients by the root of a
# running mean of their squares: its step is
# $-\mu\, \operatorname{diag}(1/(\sqrt{\hat v} + \epsilon))\, \hat m$. The gate's is
# $-\operatorname{diag}(\mu_{t,k}) \otimes I$ on the raw credit of each pair of steps. Both factors are
# **diagonal**, **positive** and **driven by data**, the gate's for each pair. They act at different places.
# Adam acts on the gradient after all lags are summed, and its factor comes from past gradients. A gate acts
# on each pair before the sum, and its factor comes from the forward pass. Neither of the two can promise
# that a coordinate moves against its gradient: a gate because the sum may turn its sign
# ({prf:ref}`prop-preconditioner`), Adam because the running mean $\hat m$ may still point along an older
# gradient. And they differ in four ways.
#
# :::{prf:theorem} A gate is not Adam
# :label: thm-not-adam
#
# At order 0, for one pair of steps $(t, k)$ and gates in $(0, 1)$:
#
# 1. *Rows.* A gate scales all weights into a neuron alike. Two coordinates of a row keep the ratio of
#    their credits; under Adam's first step, with $\epsilon = 0$, any two move equally far.
# 2. *Lags.* A gate treats lags differently. Under Adam all lags of a coordinate share one factor.
# 3. *Scale.* Multiply the loss by a positive number: Adam's steps with $\epsilon = 0$ do not change, the
#    gate's are multiplied by it.
# 4. *Budget.* For each loss time a gate's factors add to at most $\mu$ over the lags, and each is below
#    $\mu$. Adam's have no upper bound.
# :::
#
# The first statement holds pair by pair. Summed over lags, a coordinate weighs the rates by its own
# credits, and two coordinates of a row may weigh them differently. *A gate rescales whole rows of the
# gradient* is therefore true at each lag, and false for their sum.
#
# Here are the four statements, the one about sums, and the one about signs. A row has two coordinates with
# credits $c_1, c_2$. A coordinate has two lags, near and far, with rates $\mu_n, \mu_f$; over both, its
# factor depends on the ratio of the two credits, which may be negative. For the sign, the second of
# two gradients points back, with a size below $\beta_1$ times the first. `adam_moments` gives Adam's
# $\hat m$ and $\hat v$ after any gradients of one coordinate.


# %%
def adam_moments(gradients: list, beta_1: sp.Expr, beta_2: sp.Expr) -> tuple:
    """Adam's bias-corrected moments of one coordinate after these gradients."""
    m = v = sp.Integer(0)
    for gradient in gradients:
        m = beta_1 * m + (1 - beta_1) * gradient
        v = beta_2 * v + (1 - beta_2) * gradient**2
    steps = len(gradients)
    return sp.cancel(m / (1 - beta_1**steps)), sp.cancel(v / (1 - beta_2**steps))


betas = sp.symbols("beta_1 beta_2", positive=True)
c_1, c_2, mu, times = sp.symbols("c_1 c_2 mu times", positive=True)
m, v = adam_moments([c_1], *betas)
first = m / sp.sqrt(v)  # Adam's first step in units of -μ, with ε = 0
prove_adam = partial(chapter.prove, claim="C13")
text = "rows: a gate keeps the ratio of two coordinates in a row; Adam's first step "
facts = mu * c_1 / (mu * c_2) - c_1 / c_2, first - 1
prove_adam("adam-rows", text + "has size one in both", *facts, scope="one step")
facts = first / c_1 - 1 / c_1, sp.limit(first / c_1, c_1, 0, "+") == sp.oo
text = "budget: Adam's first factor is one over the gradient's size, without a bound"
prove_adam("adam-budget", text, *facts, scope="the first step")

near, far, mu_n, mu_f = sp.symbols("c_n c_f mu_n mu_f", positive=True)
by_adam, by_gate = a * (near + far), mu_n * near + mu_f * far
share = far / (near + far)
equal = sp.solve(mu_f * far / by_gate - share, mu_f) == [mu_n]
text = "lags: Adam leaves each lag's share of a step as it is in the gradient, a gate "
text += "does not unless its rates are equal"
prove_adam("adam-lags", text, a * far / by_adam - share, equal, scope="two lags")

one, other = sp.symbols("one other", real=True)  # near over far, two coordinates
factor = (mu_n * one + mu_f) / (one + 1)
uneven = (mu_n - mu_f) * (one - other) / ((one + 1) * (other + 1))
text = "summed over two lags, two coordinates of a row have different factors, unless "
text += "their credits are proportional or the rates equal"
two_lags = factor - factor.subs(one, other) - uneven
prove_adam("rows-not-summed", text, two_lags, scope="two lags")

seen = sp.symbols("d_1:5", real=True)
(m, v), (m_s, v_s) = (adam_moments([s * d for d in seen], *betas) for s in (1, times))
scaled = by_gate.subs({near: times * near, far: times * far}) - times * by_gate
facts = sp.cancel(m_s - times * m), sp.cancel(v_s - times**2 * v), sp.expand(scaled)
text = r"scale: a loss $s$ times as large makes Adam's $\hat m$ and $\hat v$ $s$ and "
text += r"$s^2$ times as large, so $\hat m/\sqrt{\hat v}$ stays; the gate's step is "
prove_adam("adam-scale", text + "$s$ times as large", *facts, scope="four steps")

z, beta = sp.Symbol("z", positive=True), betas[0]
m, _ = adam_moments([1, -beta / (1 + z)], *betas)  # any size below β₁
text = r"sign: after a gradient 1, Adam moves along a second, $-r$, if $r < \beta_1$"
positive = sp.factor(m * (1 + beta)).is_positive
prove_adam("adam-sign", text, positive, scope="two steps")

# %% [markdown]
# ### On a real gradient
#
# Let `torch.optim.Adam` take its first step from the exact gradients of the trained multi-gate networks,
# on the mean loss over the digits. First the scale. Multiplied by $2^{10}$, a loss gives floating point
# no excuse to round differently. Then the budget, which the gates must keep for each digit, and the sign,
# where the second gradient is minus half the first.

# %%
model, run, _, delta = networks["multi"]
exact = adjoint.gradients(model, run, delta / probes)["W_r"]
adam = adam_on(exact)
check = partial(chapter.check, claim="C13", scope=trained)
text = "`torch.optim.Adam`, ε = 0: a loss $2^{10}$ times as large gives the same step"
check("adam-scale-torch", text, adam["scaled"], 1e-12)
text = "the gated network under SGD: its step is $2^{10}$ times as large"
check("gate-scale-torch", text, adam["SGD scaled"], 1e-12)
text = "`torch.optim.Adam`: every weight steps along a second gradient of minus half"
check("adam-sign-torch", text + " the first", exact.numel() - adam["against"])
share = rates.shares(run)
excess = max(float(part.max()) - 1 for part in (share, share.sum(0)))
text = "on digits the gates' rates for the last loss time add to at most one, and none "
check("gates-within-budget", text + "is above one", excess, 1e-12)

# %% [markdown]
# Then the rows. Take three factors for each weight in $W_r$: Adam's; the gates' at one digit and one lag;
# and the signed factor of the gates' sum. How much of the variance of the logarithm of their size lies
# *between* rows? All of it would mean that whole rows are rescaled. For a matrix without row structure it
# would be near $1/n$; the {term}`placebo` is Adam's matrix with its entries shuffled.

# %%
pair = torch.zeros_like(delta)
pair[-5, :, :1] = delta[-1, :, :1]  # what the last step of one digit teaches lag 4
one_lag, unit = (rates.gradients(model, run, s)["W_r"] for s in (share * pair, pair))
first = last_step(Adam, exact, eps=0.0) / exact
factors = {"Adam": first, "gates, one lag": one_lag / unit}
factors["gates, all lags"] = scaling.signed(model, run, delta).factor
order = torch.randperm(n_hidden**2, generator=draw.manual_seed(0))
factors["Adam, shuffled"] = first.flatten(1)[:, order].reshape_as(first)
explained = {name: between_rows(values) for name, values in factors.items()}
text = "at one lag all variance of the gates' log factors is between rows"
check("rows-one-lag", text, abs(1 - explained["gates, one lag"]), 1e-12)

# %% tags=["hide-input"]
for name, value in explained.items():
    slug = name.lower().replace(",", "").replace(" ", "-")
    chapter.number(f"between-rows-{slug}", 100 * value, f"{100 * value:.0f}", "%")
over, most = 100 * float((first.abs() > 1).double().mean()), float(first.abs().max())
chapter.number("adam-over-budget", over, f"{over:.0f}", "%")
chapter.number("adam-largest", most, f"{most:,.0f}")
order, panels = factors["gates, one lag"][0, :, 0].argsort(descending=True), {}
bar = {"orientation": "horizontal", "extend": "both", "pad": 0.02}
look = {"robust": True, "square": True, "rasterized": True, "cmap": figures.SEQUENTIAL}
look["cbar_kws"] = bar | {"label": r"$\log_{10}$ |factor|"}
with figures.style():
    fig, axes = plt.subplots(1, 3, figsize=(8.3, 3.7))
    for ax, (name, values) in zip(axes, factors.items(), strict=False):
        panels[name] = pd.DataFrame(values[0][order].abs().log10().cpu().numpy())
        sns.heatmap(panels[name], ax=ax, **look)
        ax.set(title=name, xlabel="from neuron $p$", xticks=[], yticks=[])
    axes[0].set_ylabel("to neuron $q$, by gate rate")
panels = pd.concat(panels, names=["panel", "row"]).rename_axis(columns="column")
chapter.figure("adam-and-gate-rows", fig, panels.stack().rename("log").reset_index())

# %% [markdown]
# :::{figure} /artifacts/gates-as-optimisers/figures/adam-and-gate-rows.svg
# :name: fig-adam-and-gate-rows
# :alt: Three square heat maps over the weights. Adam's is speckled, each weight for itself. The gates' at one lag is made
#   of uniform rows. That of the gates' sum is speckled, as Adam's is.
#
# Adam treats each weight for itself, a gate whole rows, but only at one lag. By how much each weight of
# $W_r$ has its gradient multiplied: by Adam's first step; by the gates at one lag of one digit; by the gates
# once all lags and digits are summed (its sign is left out here). One trained network; each panel has its
# own logarithmic scale.
# :::
#
# Rows explain {result}`gates-as-optimisers/between-rows-adam` % of the variation of Adam's factors (of the
# variance of their logarithm), since a neuron with small gradients tends to have them in its whole row. Once
# Adam's entries are shuffled it is {result}`gates-as-optimisers/between-rows-adam-shuffled` %. Rows explain
# {result}`gates-as-optimisers/between-rows-gates-one-lag` % of the gates' factors at one lag. After the sum
# they explain {result}`gates-as-optimisers/between-rows-gates-all-lags` % of their size: most of the row
# structure is lost there, as the signs are.
#
# As for the budget, Adam multiplies {result}`gates-as-optimisers/adam-over-budget` % of the coordinates by
# more than one, the largest by {result}`gates-as-optimisers/adam-largest`. That depends on the scale of the
# loss, which is the point: Adam's factors grow as gradients shrink. The rates of a gate are never above one.
#
# ## Verdicts
#
# Each verdict of {numref}`tab-verdicts` names the checks that decide it. The cell refuses a verdict whose
# checks do not hold.

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the verdicts and what decides them"}
DECIDED = r"""
A moving gate is a schedule for each lag;identity;schedule-slope schedule-numbers
Opening raises lag $\ell$ iff $g < 1/(\ell+1)$;identity;schedule-sign schedule-direction
A moving gate schedules the global rate;false;schedule-not-global
The trace is a moving average;identity;trace-induction trace-torch-momentum
A constant gate's trace is heavy-ball momentum;identity;trace-heavy-ball
A gate is momentum along iterations;false;trace-no-iterations momentum-iterations
Online and batch order-0 gradients are the same;identity;online-batch
RFLO's trace is that of a constant gate;identity;rflo-trace
SnAp-1's trace decays by $J_t$'s diagonal;identity;eprop-trace eprop-is-not-order-0
For one pair a gate is a positive preconditioner;identity;rates-of-weights
For its own weights a gate is one;false;rates-of-gate-weights gate-factor-signs
For the sum a gate is one;false;preconditioner-counter-example signed-factors
Neurons learn more unequally with each lag;false;condition-turns
A gate is a diagonal preconditioner, as Adam is;analogy;adam-rows adam-lags
A gate rescales rows of the credit of one lag;identity;adam-rows rows-one-lag
A gate rescales whole rows of the gradient;false;rows-not-summed
A gate adapts single coordinates, as Adam does;false;adam-rows rows-one-lag
Adam treats lags differently, as gates do;false;adam-lags
A gate normalises the step, as Adam does;false;adam-scale-torch gate-scale-torch
Adam divides a bounded budget, as gates do;false;adam-budget gates-within-budget
Adam always steps against the current gradient;false;adam-sign adam-sign-torch
"""
columns = ["statement, at order 0", "verdict", "decided by"]
verdicts, rests = tables.decided(DECIDED, columns, chapter.checks)
text = "every verdict rests on checks that hold"
chapter.check("verdicts", text, rests, scope="this table")
chapter.table("verdicts", verdicts)

# %% [markdown]
# :::{table-file} /artifacts/gates-as-optimisers/tables/verdicts.csv
# :name: tab-verdicts
#
# What a gate is as an optimiser: what is an identity, what an analogy, and what is false.
# :::
#
# ## What it means
#
# A gate schedules lags, not training. It is momentum within a sequence, not between sequences. For one
# pair of steps it is a preconditioner of the same broad kind as Adam. It has almost none of what makes
# Adam *Adam*: the normalisation, the independence of single weights, the memory of earlier batches. And
# what is true of one pair need not be true of the sum, which is what moves the weights.
#
# All of this is about order 0. A statement that is an identity at order 0 is still an approximation in a
# trained network; {ref}`ch-validity` says where it is a good one.
#
# ## Try it
#
# 1. *Two lags, one gate.* For which gates can opening raise the rate of lag 1 and of lag 10 at once? Lower
#    both? Move them apart?
# 2. *A large* $\epsilon$. Adam with $\epsilon > 0$ is not quite indifferent to the scale of the loss. What
#    does its step become for tiny losses?
# 3. *An optimiser with rows.* Give Adam the gate's structure: one second moment per row, the mean over its
#    columns. Which of the four differences go away?
#
# :::{dropdown} Solution 1: two lags, one gate
# Each lag has its own turning point, $1/(\ell + 1)$: 1/2 for lag 1 and 1/11 for lag 10. Below a turning
# point opening helps the lag, above it opening hurts. So below 1/11 both rates rise, and above 1/2 both
# fall. In between lag 1 rises and lag 10 falls: there a gate can serve one only at the cost of the other.
# Try 1/20, 1/4 and 3/4.
# :::
#
# :::{dropdown} Solution 2: a large ε
# The first step is $d / (|d| + \epsilon)$ for a gradient $d$. When the loss is tiny, $|d|$ is small beside
# $\epsilon$, and what is left is $d / \epsilon$. That is plain gradient descent at the rate
# $\mu/\epsilon$: Adam forgets to normalise. When the loss is large, $\epsilon$ does not matter, and the step
# has size one. So $\epsilon$ says which gradients Adam takes for zero.
# :::
#
# :::{dropdown} Solution 3: an optimiser with rows
# Only the first. All weights of a row are now divided by the same number, so they keep their ratio, as
# under a gate. But this number still comes from gradients: multiply the loss by ten and it is ten times as
# large, so the scale still drops out and there is still no bound. And it is applied after the sum over
# lags, so all lags share it.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "The code of the solutions"}
scope = "1/20, 1/4, 3/4"
points = [{ell: lag, g: at} for lag in (1, 10) for at in sp.sympify(scope)]
parted = [sp.sign(bracket.subs(at)) for at in points] == [1, 1, -1, 1, -1, -1]
text = "lags 1 and 10: both rise, then they part, then both fall"
chapter.prove("exercise-two-lags", text, parted, claim="C10", scope=scope)
eps = sp.Symbol("epsilon", positive=True)
step = times * c_1 / (times * c_1 + eps)  # the first, loss times a number
tiny = sp.limit(step * eps / (times * c_1), times, 0, "+") - 1
text = r"for tiny losses Adam with $\epsilon > 0$ is plain SGD at the rate "
text += r"$\mu/\epsilon$, for large ones its step has size one"
large = step.limit(times, sp.oo) - 1
prove_adam("exercise-epsilon", text, tiny, large, scope="one step")
text = "one moment per row keeps ratios within it, and ignores the scale"
check("exercise-row-adam", text, adam["by row"], 1e-12)

# %% [markdown]
# ## What was checked

# %% tags=["hide-input"]
chapter.validation()

# %% [markdown]
# :::{table-file} /artifacts/gates-as-optimisers/tables/gates-as-optimisers-validation.csv
# :name: tab-gates-as-optimisers-validation
#
# The checks of this chapter: rates of weights and of sums (C8), matched gates (C10), schedules (C11),
# momentum (C12), Adam (C13) and condition numbers (C14).
# :::
#
# ## In two sentences
#
# A gate adds what no schedule, no momentum and no Adam has, a learning rate that depends on the lag and is
# chosen anew by the data at every step; so gates and optimisers do not replace each other. For one pair of
# steps this rate is positive and within a budget, and after the sum over steps it is neither.

# %% tags=["remove-cell"]
chapter.close()
