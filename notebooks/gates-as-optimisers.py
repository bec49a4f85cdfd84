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
# Gates hand out learning rates ({ref}`ch-bptt`). How much do they have in common with the tools that
# people use for the same end: a learning-rate **schedule**, **momentum** {cite}`polyak1964momentum` and
# **Adam** {cite}`kingma2015adam`? The paper behind this book draws "formal analogies with learning-rate
# schedules, momentum, and adaptive methods such as Adam" (abstract, first version,
# {cite}`livi2025timescale`). This chapter asks of each likeness how far it reaches:
#
# * **identity**: the two are the same, term by term, and SymPy can show it;
# * **analogy**: they share some properties and lack others, and both can be listed;
# * **false**: a counter-example shows that they are not the same.
#
# All three occur. A gate is a schedule for each lag, and not for training as a whole. It is momentum
# within a sequence, and not between sequences. Like Adam it is diagonal, positive and driven by data;
# in four other ways it is not Adam. {numref}`tab-verdicts` has the full list.
#
# Everything here is about order 0, the part of the gradient that the leaks carry back
# ({prf:ref}`thm-effective-rates`). It is not the whole gradient, and {numref}`tab-online-rules` measures
# how much of it is missing.

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters"}
profile = "ci"
seeds = 3  # trained networks
device = "auto"
out = "../artifacts/draft/gates-as-optimisers"
longest_proof = 6  # steps written out in proofs by brute force
n_hidden = 24  # neurons of the networks that read digits
training_steps = 250
probes = 24  # digits along which the trained networks are measured
lags = [0, 4, 16, 32]  # lags whose schedule is drawn

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the imports"}
from functools import partial
from io import StringIO

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import sympy as sp
import torch
from gatelr import GatedRNN, adjoint, jacobian, rates, tasks
from gatelr.experiments import digits, moving_gate
from gatelr.experiments.agreement import discrepancy, gradients, random_case
from gatelr.experiments.online_rules import cosines, credits, online
from gatelr.record import Chapter, figures, show
from matplotlib.colors import LogNorm
from torch.optim import SGD, Adam

chapter = Chapter("gates-as-optimisers")

prove_trace = partial(chapter.prove, claim="C12")
check_trace = partial(chapter.check, claim="C12")
prove_adam = partial(chapter.prove, claim="C13", scope="one step, two lags")
check_adam = partial(chapter.check, claim="C13")

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
# that sweeps from one end to the other warms up every lag and then cools it down, with the peak where
# the gate matches the lag ({prf:ref}`thm-matched`): long lags first if it opens, short lags first if it
# closes.
# :::
#
# *Proof.* The first line is {eq}`eq-effective` with all gates equal. The rest is in the sign of one
# factor of the slope. A schedule in the usual sense multiplies *everything* by one factor $c(s)$, and a
# moving gate is no such schedule in disguise. Under a common factor two lags keep their ratio; under a
# gate it is $(1-g)^{\ell' - \ell}$, which moves whenever $g$ does.

# %%
g, r, d = sp.symbols("g r d", positive=True)  # r is 1 - g, d a lag more
ell = sp.Symbol("ell", nonnegative=True)
rate, bracket = g * (1 - g) ** ell, 1 - (ell + 1) * g
slope = (1 - g) ** (ell - 1) * bracket
show(r"\frac{d}{dg}\, g (1 - g)^{\ell}", slope)
factor = sp.simplify((slope / bracket).subs(g, 1 - r))
opens = [factor.is_positive, bracket.diff(g).is_negative]
opens.append(sp.solve(bracket, g)[0] - 1 / (ell + 1))
ratio = (1 - g) ** d  # of the rates of lag ell + d and lag ell
falls = sp.simplify(ratio.diff(g).subs(g, 1 - r)).is_negative
ratios = rate.subs(ell, ell + d) / rate - ratio, falls
slopes = (rate.diff(g) - slope).subs(g, 1 - r)
slope_is = r"$\frac{d}{dg} g(1-g)^\ell$ is $(1-g)^{\ell-1} (1 - (\ell+1) g)$"
chapter.prove("schedule-slope", slope_is, slopes, claim="C11")
opening = (
    r"opening a gate raises the rate of lag $\ell$ if and only if $g < " r"1/(\ell+1)$"
)
chapter.prove("schedule-sign", opening, *opens, claim="C10")
not_global = (
    r"a moving gate changes the ratio of any two lags, which no common " r"schedule can"
)
chapter.prove("schedule-not-global", not_global, *ratios, claim="C11")

# %% [markdown]
# ### A gate that training moves
#
# To see it happen, take a scalar gate that reads nothing. Its two weight vectors are zero and are held
# there by a learning rate of zero, so that its bias alone decides: $g(s) = \sigma(b_g(s))$. It starts
# nearly shut, and training on digits, read pixel by pixel, may move it. At every fifth step the rate of
# each lag is read off the network (`moving_gate.watch` in the library).
#
# These rates must be those of {eq}`eq-schedule`. And between two readings on the same side of a lag's
# {term}`matched gate`, its rate must have moved as {prf:ref}`thm-schedule` says.

# %%
schedule = moving_gate.watch(lags, seeds, training_steps, chapter.device)
gate, lag = schedule.gate, schedule.lag
gap = float((schedule.rate - gate * (1 - gate) ** lag).abs().max())
side = np.sign(1 - (lag + 1) * gate)
lines = schedule.assign(side=side).groupby(["seed", "lag"])
same_side = (side == lines.side.shift()) & (side != 0)
expected = np.sign(lines.gate.diff()) * side
wrong = int((np.sign(lines.rate.diff()) != expected)[same_side].sum())
follows = r"rates of a network in training are $g(s)(1 - g(s))^{\ell}$"
moved = f"rates that moved the wrong way, of {same_side.sum()} readings"
chapter.check("schedule-numbers", follows, gap, 1e-12, claim="C11")
chapter.check("schedule-direction", moved, wrong, claim="C10")
means = gate[lag == lags[0]].groupby(schedule.step).mean()
for name, value in {"start": means.iloc[0], "end": means.iloc[-1]}.items():
    chapter.number(f"gate-{name}", float(value), f"{value:.2f}")

# %% tags=["hide-input"]
sweep = np.linspace(0, 1, 401)
with figures.style():
    fig, (theory, real) = plt.subplots(1, 2, figsize=(8, 3.3), sharey=True)
    hues = dict(zip(lags, figures.CYCLE, strict=False))
    for lag, hue in hues.items():
        peak = 1 / (lag + 1)
        theory.plot(sweep, sweep * (1 - sweep) ** lag, color=hue)
        theory.plot(peak, peak * (1 - peak) ** lag, "o", color=hue)
        end = 1.03 * training_steps, schedule.rate[schedule.lag == lag].iloc[-1]
        real.text(*end, rf"$\ell = {lag}$", color=hue, va="center")
    look = {"hue": "lag", "palette": hues, "legend": False, "ax": real}
    look |= {"units": "seed", "estimator": None, "lw": 1}
    sns.lineplot(schedule, x="step", y="rate", **look)
    theory.set(yscale="log", ylim=(2e-4, 1.3), title="In theory")
    theory.set(xlabel="gate $g$, opening", ylabel=r"rate $\mu_\ell/\mu$")
    real.set(xlim=(0, training_steps * 1.2), title="In training")
    real.set(xlabel="training step $s$")
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
# Since $P_{t,k} = (1 - g_t) P_{t-1,k}$, all old terms shrink together. For a constant gate $\beta = 1 -
# \alpha$ never changes, and the trace is textbook momentum: $\alpha$ times Polyak's heavy-ball buffer
# $h_t = \beta h_{t-1} + v_t$. The sums that are written out below do not use the induction.

# %%
gs, vs, Ps = map(sp.IndexedBase, ("g", "v", "P"))
t, k = sp.symbols("t k", integer=True, positive=True)
past = sp.Sum(gs[k] * Ps[k] * vs[k], (k, 1, t - 1))  # P for P_{t-1,k}
shrunk = sp.Sum((1 - g) * gs[k] * Ps[k] * vs[k], (k, 1, t - 1))
induction = sp.factor_terms(shrunk - (1 - g) * past)


alpha, E, h = sp.Symbol("alpha", positive=True), sp.S.Zero, sp.S.Zero
written, balls = [], []
for step in range(1, longest_proof + 1):
    E = (1 - gs[step]) * E + gs[step] * vs[step]
    h = (1 - alpha) * h + vs[step]
    by_sum = sum(  # over past steps, each with its effective rate
        gs[k] * sp.prod(1 - gs[j] for j in range(k + 1, step + 1)) * vs[k]
        for k in range(1, step + 1)
    )
    constant = {gs[j]: alpha for j in range(1, step + 1)}
    written.append(sp.expand(by_sum - E))
    balls.append(sp.expand(by_sum.subs(constant) - alpha * h))
short, ball = (
    f"t up to {longest_proof}",
    (
        r"constant gate: $E_t = \alpha\, h_t$ with heavy-ball $\beta = 1 - "
        r"\alpha$, $t \le 6$"
    ),
)
prove_trace(
    "trace-induction", r"the trace's recursion, induction step for any $t$", induction
)
prove_trace(
    "trace-written-out",
    r"sum and recursion agree, multiplied out for $t \le 6$",
    *written,
    scope=short,
)
prove_trace("trace-heavy-ball", ball, *balls, scope=short)

# %% [markdown]
# ### PyTorch's own momentum computes it
#
# An identity can be put to work. Give `torch.optim.SGD` the credit $\varphi'(a_t) x_{t-1}^\top$ of each
# step as if it were a gradient. Set `momentum` and `dampening` to $1 - g_t$ before each step, with one
# parameter group for each neuron. Its buffer must then *be* the trace of `rates.eligibility`, for every
# gate.


# %%
def by_torch_momentum(run):
    """Buffers of torch.optim.SGD, one row of weights a group."""
    fresh, keep = credits(run), 1 - run.g.expand_as(run.x)
    fresh[0] *= 1 - keep[0].unsqueeze(-1)  # a buffer's first is not dampened
    rows = [torch.zeros_like(row) for row in fresh[0]]
    sgd = SGD([{"params": [row]} for row in rows], lr=0.0, momentum=0.5)
    for credit, beta in zip(fresh, keep.tolist(), strict=True):
        for q, group in enumerate(sgd.param_groups):
            group["momentum"] = group["dampening"] = beta[q]
            rows[q].grad = credit[q]
        sgd.step()
    return torch.stack([sgd.state[row]["momentum_buffer"] for row in rows])


gaps = []
for gate in ("constant", "scalar", "multi"):
    small, u, _ = random_case(gate, 5, 2, 12, device=chapter.device)
    run = torch.no_grad()(small.requires_grad_(False).run)(u)
    E = rates.eligibility(small, run)
    gaps.append(discrepancy(by_torch_momentum(run), E))
check_trace(
    "trace-torch-momentum",
    (
        r"the buffer of `torch.optim.SGD`, momentum $1 - g_t$, is the trace, "
        r"three gates"
    ),
    max(gaps),
    1e-12,
)

# %% [markdown]
# ### Not along iterations
#
# Optimisers carry momentum from one *training step* to the next. Does a gate? Take two networks with
# different pasts: one is trained on a batch A and one on B. Set both to the same weights and give both
# the same batch C. If the past matters, their next steps differ.


# %%
def last_step(optimiser, *gradients, **options):
    """The last step of an optimiser of torch, each step made from zero."""
    weight = torch.zeros_like(gradients[0], requires_grad=True)
    optimiser = optimiser([weight], lr=1e-2, **options)
    for gradient in gradients:
        weight.data, weight.grad = torch.zeros_like(gradient), gradient.clone()
        optimiser.step()
    return weight.detach()


small, u, y = random_case("multi", 5, 2, 12, batch=(3,))
A, B, C = (gradients(small, v, y)["W_r"] for v in (u.flip(0), -u, u))
forgets, knows = (
    discrepancy(*(last_step(SGD, past, C, momentum=beta) for past in (A, B)))
    for beta in (0.0, 0.9)
)
check_trace(
    "trace-no-iterations",
    (r"gated network under plain SGD: the next step does not know the last " r"batch"),
    forgets,
)
check_trace(
    "momentum-iterations",
    (r"under heavy-ball momentum it does: next steps differ by more than a " r"tenth"),
    knows > 0.1,
)

# %% [markdown]
# The trace starts at $E_0 = 0$ with every sequence. Momentum smooths the noise between batches; the trace
# assigns credit within a sequence. They are the same recursion on different clocks, and *a gate is
# momentum for the weights* is false.
#
# ### Learning while reading
#
# A trace needs no backward pass: at each step multiply it by the error, add, go on. It takes $n^2$
# numbers a sequence, however long, where backpropagation keeps a record of $T$ steps. So it saves memory
# when sequences are long, and not otherwise. Two learning rules from neuroscience are traces of this
# family.
#
# **e-prop** {cite}`bellec2020eprop` lets the trace decay by the derivative of a neuron's state with
# respect to *its own* previous state. In our family, where a neuron's state is also what other neurons
# see, that is the diagonal of $J_t$: the leak and the diagonal of $R_t + G_t$,
#
# $$
# \begin{aligned}
# \epsilon_t &= \big(\Lambda_t + \operatorname{diag}(R_t + G_t)\big)\, \epsilon_{t-1} \\
#            &\quad + \operatorname{diag}(g_t)\, \varphi'(a_t)\, x_{t-1}^\top .
# \end{aligned}
# $$ (eq-eprop)
#
# One function, `online`, runs both, with the decay as its argument. For a loss at every step it must
# agree with the backward sweep of the library that carries the leaks alone, or the diagonal alone. (A test
# of the library holds the second to autograd, in a network where every neuron sees all others detached.)

# %%
gaps, apart = {"order 0": [], "diagonal": []}, []
for gate in ("constant", "scalar", "multi"):
    small, u, y = random_case(gate, 5, 2, 12, batch=(4,))
    run = torch.no_grad()(small.requires_grad_(False).run)(u)
    own = jacobian.blocks(small, run).diagonal(dim1=-2, dim2=-1)
    order_0 = online(run, run.x - y, 1 - run.g).sum(0)
    eprop = online(run, run.x - y, own).sum(0)
    for carried, ours in {"order 0": order_0, "diagonal": eprop}.items():
        swept = adjoint.gradients(small, run, run.x - y, backward=carried)
        gaps[carried].append(discrepancy(ours, swept["W_r"]))
    apart.append(discrepancy(order_0, eprop))
batch = r"online by the trace and batch by the adjoint: the same order-0 " r"gradient"
check_trace("online-batch", batch, max(gaps["order 0"]), 1e-12)
eprop = (
    r"the trace that decays by $\mathrm{diag}(J_t)$ gives autograd's "
    r"gradient through own states"
)
check_trace("eprop-trace", eprop, max(gaps["diagonal"]), 1e-12)
check_trace(
    "eprop-is-not-order-0",
    (r"and the order-0 trace does not: the two differ by more than a " r"hundredth"),
    min(apart) > 1e-2,
)

# %% [markdown]
# **RFLO** {cite}`murray2019rflo`, *random feedback local online* learning, was proposed as something that
# a brain could do. Its rule for a leaky network with time-scale $\tau$ (in steps) has a trace for each
# synapse,
#
# $$
# \begin{aligned}
# p_{ab}(t) &= \tfrac1\tau\, \varphi'(u_a(t))\, h_b(t-1) \\
#           &\quad + \big(1 - \tfrac1\tau\big)\, p_{ab}(t-1), \\
# \Delta W_{ab} &= \eta\, [B\, \varepsilon(t)]_a\, p_{ab}(t) ,
# \end{aligned}
# $$ (eq-rflo)
#
# with a fixed random matrix $B$ in place of the transposed readout. The trace is {eq}`eq-trace` with
# $\alpha = 1/\tau$. Written as in that paper, synapse by synapse, with nothing of ours:

# %%
tau, n, draw = 5, 5, torch.Generator().manual_seed(1)
double = {"dtype": torch.float64, "device": chapter.device}
options = {"bias": True, "generator": draw, **double}
leaky = GatedRNN(2, n, "constant", alpha=1 / tau, **options)
_, u, _ = random_case("constant", n, 2, 12, device=chapter.device)
run, p = leaky.requires_grad_(False).run(u), np.zeros((n, n))
for h, u_t in zip(run.x_prev.tolist(), run.a.tolist(), strict=True):
    for a, b in np.ndindex(n, n):
        fresh = (1 - np.tanh(u_t[a]) ** 2) * h[b]
        p[a, b] = fresh / tau + (1 - 1 / tau) * p[a, b]
gap = discrepancy(run.x.new_tensor(p), rates.eligibility(leaky, run))
check_trace(
    "rflo-trace",
    r"RFLO's trace is $E_t$ of a constant gate $\alpha = 1/\tau$",
    gap,
    1e-12,
)

# %% [markdown]
# ### How good are they?
#
# Identities say what a rule computes, and not whether that is worth having. So a scalar-gate and a
# multi-gate network are trained on digits. For each digit the exact gradient $\nabla_{W_r} L$ of its loss
# is compared with three online rules: the order-0 trace, the trace with the diagonal, and the order-0
# trace with random feedback in place of the readout, as in RFLO.

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that trains two networks and follows each rule"}
test, rows = tasks.digits(split="test", **double), []
u, target = test.u[:, :probes], test.target[:probes]
options = {"learning_rate": 2e-2, "batch": 48, **double}
for gate in ("scalar", "multi"):
    model = digits.train(gate, n_hidden, seeds, training_steps, **options)
    with torch.no_grad():
        run = model.requires_grad_(False).run(digits.for_each_seed(u, seeds))
    by_rule, delta = cosines(model, run, target)
    for rule, cosine in by_rule.items():
        quartiles = cosine.new_tensor([0.5, 0.25, 0.75])
        values = cosine.flatten().quantile(quartiles).tolist()
        texts = [f"{value:.2f}".replace("-", "−") for value in values]
        rows.append((gate, rule, *texts))
        name = f"cosine-{gate}-{rule.replace(',', '').replace(' ', '-')}"
        chapter.number(name, values[0], texts[0])
columns = ["gate", "rule", "cosine", "lower quartile", "upper quartile"]
chapter.table("online-rules", pd.DataFrame(rows, columns=columns))

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
# true gradient in the scalar network, and of {result}`gates-as-optimisers/cosine-multi-order-0-trace` in
# the multi-gate network. Compare the rows of {numref}`tab-online-rules`: what the neuron's own diagonal
# adds, and what random feedback costs. That the rules are cheap and local is an identity; that they follow the
# gradient is true in part only. (These networks were trained by exact gradients. Networks that are trained
# by random feedback can align their readout with it, which is not tested here.)
#
# {numref}`fig-trace-and-momentum` shows one trace at work. Where the gate shuts ($\beta_t$ near one), the
# trace holds its level. Where it opens, the trace is rewritten within a step or two. A moving average
# with one fixed $\beta$, the mean of the gate's, can do neither.

# %% tags=["hide-input"]
keep, fresh = 1 - run.g[:, 0, 0].cpu(), credits(run)[:, 0, 0].cpu()
neuron = int(keep.std(0).argmax())  # the neuron whose gate moves most
source = int(fresh[:, neuron].abs().mean(0).argmax())
mean, E, M, rows = float(keep.mean(0)[neuron]), 0.0, 0.0, []
pairs = torch.stack([keep[:, neuron], fresh[:, neuron, source]], 1)
for step, (beta, v) in enumerate(pairs.tolist(), 1):
    E, M = beta * E + (1 - beta) * v, mean * M + (1 - mean) * v
    rows.append((step, v, E, M, beta))
columns = ["credit", "trace", "moving average"]
lines = pd.DataFrame(rows, columns=["step", *columns, "beta"])
multi, fixed = (figures.GATES[gate]["color"] for gate in ("multi", "constant"))
with figures.style():
    shape = {"sharex": True, "height_ratios": [2.2, 1], "figsize": (7.4, 4.2)}
    fig, (top, bottom) = plt.subplots(2, 1, **shape)
    look = {"palette": [figures.MUTED, multi, fixed], "ax": top}
    look["dashes"] = [(1, 1), "", (4, 2)]
    sns.lineplot(lines.set_index("step")[columns], **look)
    top.set(ylabel="one entry of $E_t$", xlim=(0.5, len(lines) + 0.5))
    top.legend(ncols=3, loc="lower left")
    bottom.step(lines.step, lines.beta, where="mid", color=multi)
    bottom.axhline(mean, color=fixed, linestyle="--")
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
# ## Adam: what is shared, and what is not
#
# Adam {cite}`kingma2015adam` divides each coordinate of a running mean of gradients by the root of a
# running mean of their squares: its step is
# $-\mu\, \operatorname{diag}(1/(\sqrt{\hat v} + \epsilon))\, \hat m$. The gate's is
# $-\operatorname{diag}(\mu_{t,k}) \otimes I$ on the raw credit of each pair of steps. Both are
# **diagonal**, **positive** and **driven by data**. They act at different places: Adam on the gradient
# after all lags are summed, from past gradients; a gate on each pair before the sum, from the forward
# pass. And they differ in four ways.
#
# :::{prf:theorem} A gate is not Adam
# :label: thm-not-adam
#
# At order 0, for one pair of steps $(t, k)$ and gates in $(0, 1)$:
#
# 1. *Rows.* A gate scales all weights into a neuron alike. Two coordinates of a row keep the ratio of
#    their credits; under Adam's first step, with $\epsilon = 0$, any two move equally far.
# 2. *Lags.* A gate treats lags differently. Under Adam all lags of a coordinate share one factor.
# 3. *Scale.* Multiply the loss by $c > 0$: Adam's steps with $\epsilon = 0$ do not change, the gate's are
#    multiplied by $c$.
# 4. *Budget.* A gate's factors add to at most $\mu$ over the lags, and each is below $\mu$. Adam's have
#    no upper bound.
# :::
#
# The first statement holds pair by pair, and it matters to say so. Summed over lags, a coordinate's
# factor is the mean of the rates, weighted by its own credits, and two coordinates of a row may weigh
# them differently. *A gate rescales whole rows of the gradient* is therefore true at each lag, and false
# for their sum. Here is Adam in SymPy, for one coordinate and any gradients.

# %%
beta1, beta2 = sp.symbols("beta_1 beta_2", positive=True)


def moments(gradients):
    """Adam's bias-corrected moments of one coordinate's gradients."""
    m = v = sp.Integer(0)
    for gradient in gradients:
        m = beta1 * m + (1 - beta1) * gradient
        v = beta2 * v + (1 - beta2) * gradient**2
    steps = len(gradients)
    return m / (1 - beta1**steps), v / (1 - beta2**steps)


def first_adam(gradient):
    """Adam's first step in units of -μ, with ε = 0."""
    m, v = map(sp.simplify, moments([gradient]))
    return sp.simplify(m / sp.sqrt(v))


# %% [markdown]
# And here are the four statements, and the fifth about sums. A row has two coordinates with credits
# $c_1, c_2$; a coordinate has two lags, near and far, with rates $\mu_n, \mu_f$.

# %%
c_1, c_2, mu, G, c, V, a = sp.symbols("c_1 c_2 mu G c V a", positive=True)
near, far, mu_n, mu_f = sp.symbols("c_n c_f mu_n mu_f", positive=True)
rows = mu * c_1 / (mu * c_2) - c_1 / c_2, first_adam(c_1) / first_adam(c_2) - 1
prove_adam(
    "adam-rows",
    (
        r"rows: a gate keeps the ratio of two coordinates in a row, Adam's "
        r"first step makes it 1"
    ),
    *rows,
)

by_adam, by_gate = a * (near + far), mu_n * near + mu_f * far
share_adam = a * far / by_adam - far / (near + far)
share_gate = sp.factor(mu_f * far / by_gate - far / (near + far))
unequal = share_adam, sp.solve(share_gate, mu_f) == [mu_n]
prove_adam(
    "adam-lags",
    (
        r"lags: Adam leaves each lag's share of a step as it is in the "
        r"gradient, a gate does not unless its rates are equal"
    ),
    *unequal,
)

seen = sp.symbols("G_1:5", real=True)
(m, v), (m_c, v_c) = moments(seen), moments([c * grad for grad in seen])
scaled = sp.expand(by_gate.subs({near: c * near, far: c * far}))
scale = [sp.cancel(m_c - c * m), sp.cancel(v_c - c**2 * v)]
scale += [sp.sqrt(c**2 * V) - c * sp.sqrt(V), sp.expand(scaled - c * by_gate)]
prove_adam(
    "adam-scale",
    (
        r"scale: with the loss times $c$, Adam's $\hat m \to c\,\hat m$ and "
        r"$\hat v \to c^2 \hat v$, so $\hat m/\sqrt{\hat v}$ stays, four "
        r"steps; the gate's step is multiplied by $c$"
    ),
    *scale,
    scope="four steps",
)
factor = sp.simplify(first_adam(G) / G)  # what Adam multiplies it by
budget = factor - 1 / G, sp.limit(factor, G, 0, "+") == sp.oo
prove_adam(
    "adam-budget",
    r"budget: Adam's first factor is $1/|G|$, unbounded as $G \to 0$",
    *budget,
)

k_11, k_12, k_21, k_22 = sp.symbols("k_11 k_12 k_21 k_22", positive=True)
one = (mu_n * k_11 + mu_f * k_21) / (k_11 + k_21)
other = (mu_n * k_12 + mu_f * k_22) / (k_12 + k_22)
uneven = sp.factor(one - other)
show("f_1 - f_2", uneven)
proportional = uneven.subs(k_22, k_21 * k_12 / k_11)
summed = uneven != 0, uneven.subs(mu_f, mu_n), proportional
prove_adam(
    "rows-not-summed",
    (
        r"summed over two lags, two coordinates of a row have different "
        r"factors, unless their credits are proportional or the rates equal"
    ),
    *summed,
)

# %% [markdown]
# ### On a real gradient
#
# Let `torch.optim.Adam` take its first step from the exact gradients of the trained multi-gate networks,
# on the mean loss over the digits. First the scale. Multiplied by $2^{10}$, a loss gives floating point
# no excuse to round differently.

# %%
exact = adjoint.gradients(model, run, delta / probes)["W_r"]
adam, sgd = last_step(Adam, exact, eps=0.0), last_step(SGD, exact)
gap = discrepancy(last_step(Adam, 1024 * exact, eps=0.0), adam)
check_adam(
    "adam-scale-torch",
    (
        r"`torch.optim.Adam`, $\epsilon = 0$: a loss $2^{10}$ times as large "
        r"gives the same step"
    ),
    gap,
    1e-12,
)
gap = discrepancy(last_step(SGD, 1024 * exact), 1024 * sgd)
check_adam(
    "gate-scale-torch",
    r"the gated network under SGD: a step $2^{10}$ times as large",
    gap,
    1e-12,
)

# %% [markdown]
# Then the rows. Take three factors for each weight in $W_r$: Adam's; the gates' at one digit and one lag;
# and the gates' over all lags and digits, $\sum \mu_{T,k} |c| / \sum |c|$ with the credits $c$ as
# weights. How much of the variance of their logarithm lies *between* rows? All of it would mean that whole
# rows are rescaled. For a matrix without row structure it would be near $1/n$; the {term}`placebo` is
# Adam's matrix with its entries shuffled.

# %%
share, LAG = rates.shares(run), 4
size = ((1 - run.phi**2) * delta[-1]).abs()  # |D_k δ_T|
weighted, weight = (
    torch.einsum("tsbq,tsbp->sqp", size * rate, run.x_prev.abs())
    for rate in (share, torch.ones_like(share))
)
one_lag = share[-1 - LAG, :, 0].unsqueeze(-1).expand_as(exact)
by_adam = adam.abs() / 1e-2 / exact.abs()
factors = {"Adam": by_adam, "gates, one lag": one_lag}
factors["gates, all lags"] = weighted / weight
order = torch.randperm(n_hidden**2, generator=draw.manual_seed(0))
by_adam = by_adam.flatten(1)
factors["Adam, shuffled"] = by_adam[:, order].reshape_as(exact)
explained = {}
for name, values in factors.items():
    logs = values.cpu().log()
    row_means = logs.mean(-1, keepdim=True).expand_as(logs)
    between = row_means.var((-2, -1)) / logs.var((-2, -1))
    explained[name] = float(between.mean())
    percent = 100 * explained[name]
    slug = name.lower().replace(",", "").replace(" ", "-")
    chapter.number(f"between-rows-{slug}", percent, f"{percent:.0f}", "%")
over = 100 * float((by_adam > 1).double().mean())
largest = float(by_adam.max())
chapter.number("adam-over-budget", over, f"{over:.0f}", "%")
chapter.number("adam-largest", largest, f"{largest:,.0f}")
uneven = abs(1 - explained["gates, one lag"])
check_adam(
    "rows-one-lag",
    r"at one lag all variance of the gates' factors is between rows",
    uneven,
    1e-12,
)
bounded = share.sum(0), share, factors["gates, all lags"]
excess = max(float(part.max()) - 1 for part in bounded)
check_adam(
    "gates-within-budget",
    (
        r"on digits the gates' factors add to at most $\mu$ over the lags, and "
        r"none exceeds it"
    ),
    excess,
    1e-12,
)

# %% tags=["hide-input"]
order = one_lag[0, :, 0].argsort(descending=True)
numbers, panels = range(1, n_hidden + 1), {}
bar = {"orientation": "horizontal", "extend": "both"}
bar |= {"label": r"factor$\,/\mu$", "pad": 0.02}
look = {"square": True, "cmap": figures.SEQUENTIAL, "rasterized": True}
with figures.style():
    fig, axes = plt.subplots(1, 3, figsize=(8.3, 4.1))
    for ax, name in zip(axes, list(factors)[:3], strict=True):
        shown = factors[name][0][order].cpu()
        norm = LogNorm(*(float(shown.quantile(end)) for end in (0.02, 0.98)))
        grid = pd.DataFrame(shown.numpy(), numbers, numbers)
        sns.heatmap(grid, norm=norm, ax=ax, cbar_kws=bar, **look)
        ax.set(title=name, xlabel="from neuron $p$", xticks=[], yticks=[])
        panels[name] = grid.stack().rename("factor")
    axes[0].set_ylabel("to neuron $q$, by gate rate")
panels = pd.concat(panels, names=["panel", "row", "column"])
chapter.figure("adam-and-gate-rows", fig, panels.reset_index())

# %% [markdown]
# :::{figure} /artifacts/gates-as-optimisers/figures/adam-and-gate-rows.svg
# :name: fig-adam-and-gate-rows
# :alt: Three square heat maps over the weights. Adam's is speckled, each weight for itself. The gates' at one lag is made
#   of uniform rows. The gates' over all lags is woven of rows and columns.
#
# Adam treats each weight for itself, a gate whole rows, at one lag. By how much each weight of $W_r$ has
# its gradient multiplied: by Adam's first step; by the gates at one lag of one digit; by the gates over all
# lags and digits. One trained network; each panel has its own logarithmic scale.
# :::
#
# Rows explain {result}`gates-as-optimisers/between-rows-adam` % of the variance of Adam's log factors, and
# {result}`gates-as-optimisers/between-rows-adam-shuffled` % once its entries are shuffled. So Adam is not
# free of rows, since a neuron with small gradients has them in its whole row, but it is not made of them.
# Rows explain {result}`gates-as-optimisers/between-rows-gates-one-lag` % of the gates' factors at one lag, and
# {result}`gates-as-optimisers/between-rows-gates-all-lags` % over all lags, where columns appear, of states
# that were large at well-paid lags.
#
# As for the budget, Adam multiplies {result}`gates-as-optimisers/adam-over-budget` % of the coordinates by
# more than one, the largest by {result}`gates-as-optimisers/adam-largest`; gates never do. (Adam's factors
# scale with one over the loss, which is the point.)
#
# ## Verdicts
#
# Each verdict of {numref}`tab-verdicts` names the checks that decide it. The cell refuses a verdict whose
# checks do not hold.

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the verdicts and what decides them"}
DECIDED = r"""statement, at order 0;verdict;decided by
A moving gate is a schedule for each lag;identity;schedule-slope \
schedule-numbers
Opening it raises lag $\ell$ iff $g < 1/(\ell+1)$;identity;schedule-sign \
schedule-direction
A moving gate schedules the global rate;false;schedule-not-global
The trace is a moving average, $\beta_t = 1 - g_t$;identity;trace-induction \
trace-written-out trace-torch-momentum
A constant gate's trace is heavy-ball momentum;identity;trace-heavy-ball
A gate is momentum along training iterations;false;trace-no-iterations \
momentum-iterations
Online and batch order-0 gradients are the same;identity;online-batch
RFLO's trace is that of a constant gate;identity;rflo-trace
e-prop's trace decays by the diagonal of $J_t$;identity;eprop-trace \
eprop-is-not-order-0
A gate is a diagonal preconditioner, as Adam is;analogy;adam-rows adam-lags
A gate rescales rows of the credit of one lag;identity;adam-rows rows-one-lag
A gate rescales whole rows of the gradient;false;rows-not-summed
A gate adapts single coordinates, as Adam does;false;adam-rows rows-one-lag
Adam treats lags differently, as gates do;false;adam-lags
A gate normalises the step, as Adam does;false;adam-scale adam-scale-torch \
gate-scale-torch
Adam divides a bounded budget, as gates do;false;adam-budget gates-within-budget
"""
verdicts = pd.read_csv(StringIO(DECIDED.replace("\\\n", "")), sep=";")
deciding = verdicts["decided by"].str.split()
passed = {check["id"] for check in chapter.checks if check["passed"]}
rests = bool(deciding.map(passed.issuperset).all())
check_adam("verdicts", "every verdict rests on checks that hold", rests)
verdicts["verdict"] = "**" + verdicts.verdict + "**"
verdicts["decided by"] = "`" + deciding.str.join("`, `") + "`"
chapter.table("verdicts", verdicts)

# %% [markdown]
# :::{table-file} /artifacts/gates-as-optimisers/tables/verdicts.csv
# :name: tab-verdicts
#
# What a gate is as an optimiser: what is an identity, what an analogy, and what is false.
# :::
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
# Below 1/11 both rise, above 1/2 both fall. In between lag 1 rises and lag 10 falls: there a gate trades
# one for the other.
# :::
#
# :::{dropdown} Solution 2: a large ε
# For $c \to 0$ the step approaches $c\,G/\epsilon$: plain gradient descent with the rate
# $\mu/\epsilon$. Adam forgets to normalise.
# :::
#
# :::{dropdown} Solution 3: an optimiser with rows
# Only the first: ratios within a row return. Scale, lags and budget stay Adam's.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "The code of the solutions"}
both = sp.Matrix([slope.subs(ell, lag) for lag in (1, 10)])
scope = "1/20, 1/4, 3/4"
signs = [tuple(both.subs(g, at).applyfunc(sp.sign)) for at in sp.sympify(scope)]
parted = signs == [(1, 1), (1, -1), (-1, -1)]
asked = "lags 1 and 10: both rise, then they part, then both fall"
chapter.prove("exercise-two-lags", asked, parted, claim="C10", scope=scope)
eps = sp.Symbol("epsilon", positive=True)
step = c * G / (sp.sqrt(c**2 * G**2) + eps)  # the first, loss times c
small = sp.limit(step / (c * G / eps), c, 0, "+") - 1
large = sp.limit(step, c, sp.oo) - 1
prove_adam(
    "exercise-epsilon",
    (
        r"for tiny losses Adam with $\epsilon > 0$ is plain SGD at the rate "
        r"$\mu/\epsilon$"
    ),
    small,
    large,
)

row_adam, row_scaled = (
    step / (step**2).mean(-1, keepdim=True).sqrt() for step in (exact, 1024 * exact)
)
within, raw = (step[..., 1:] / step[..., :-1] for step in (row_adam, exact))
gap = max(discrepancy(within, raw), discrepancy(row_scaled, row_adam))
by_rows = "one moment per row keeps ratios within it, and ignores the scale"
check_adam("exercise-row-adam", by_rows, gap, 1e-12)

# %% [markdown]
# ## What was checked
#
# :::{table-file} /artifacts/gates-as-optimisers/tables/gates-as-optimisers-validation.csv
# :name: tab-gates-as-optimisers-validation
#
# The checks of this chapter: matched gates (C10), schedules (C11), momentum (C12) and Adam (C13).
# :::
#
# ## What it means
#
# A gate schedules lags, not training. It is momentum within a sequence, not between sequences. And it is a
# preconditioner of the same broad kind as Adam, with almost none of what makes Adam *Adam*: the
# normalisation, the independence of single weights, the memory of earlier batches.
#
# All of this is about order 0. A statement that is an identity at order 0 is still an approximation in a
# trained network; {ref}`ch-validity` says where it is a good one.
#
# To take home: gates and optimisers are no substitutes, and a gated network still has use for a schedule,
# for momentum and for Adam. What its gates add is something that none of the three has: a learning rate
# that depends on the lag, chosen anew at every step by the data.

# %% tags=["hide-input"]
chapter.validation()
chapter.close()
