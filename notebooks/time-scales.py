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
# (ch-time-scales)=
# # Time-scales: from a differential equation to a gate
#
# Where does a gate come from? {ref}`ch-one-neuron` took it for granted. In a
# gated network a second, small network decides at every step how much of the
# memory is rewritten. That looks like an engineer's trick. This chapter takes
# the long way round and finds that nothing was invented. A neuron leaks, as
# physics has it. A computer looks at it once a step. Its clock may run fast or
# slow. These three together are a gate.
#
# :::{admonition} What this chapter shows
# - One step of a leaky neuron rewrites a fraction $\alpha$ of its state, and
#   $\alpha$ is the step over the neuron's time-scale, to first order.
# - A neuron whose clock changes speed rewrites a fraction $g_t$ that changes
#   with it. The pre-activation of a sigmoid gate sets the speed of that clock.
# - Lag $\ell$ learns fastest with the constant gate $1/(\ell+1)$. Its rate is
#   close to $1/(e\ell)$, and no constant gate does better.
# :::
#
# The paper that this book follows asks how the time-scales of the states, which
# the gates set, act on what gradient descent does to the parameters
# {cite}`livi2025timescale`. This chapter is about the first half of that
# question, the time-scales. It proves claims C1 and C10 of the
# {ref}`notation page <notation>`. SymPy {cite}`meurer2017sympy` does the algebra
# in front of you, and a ✓ under a cell says that a statement held when this page
# was made.

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters"}
profile = "ci"
seeds = 3  # independent networks in the numerical check
device = "auto"
out = "../artifacts/draft/time-scales"
steps = [0.2, 0.5, 1.0, 1.5]  # the four steps Δ/τ of the second figure
gates = [0.3, 0.03, 0.003]  # constant gates to compare at every lag
longest_lag = 1000

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the imports"}
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import sympy as sp
from gatelr import rates, symbolic
from gatelr.experiments.agreement import discrepancy, random_case
from gatelr.record import Chapter, figures, show
from scipy.signal import lfilter

chapter = Chapter("time-scales")
sp.init_printing(use_latex="mathjax", ln_notation=True)
check = partial(chapter.check, claim="C1", scope="the steps drawn")
prove = partial(chapter.prove, claim="C1", scope="every step")
prove_gate = partial(prove, scope="every α, every gate")
prove_rate = partial(chapter.prove, claim="C10", scope="every lag")
in_the_limit = partial(prove_rate, scope="ℓ → ∞")

# %% [markdown]
# ## A neuron that leaks
#
# Leave a neuron alone and its state decays. Drive it and its state creeps
# towards the drive:
#
# $$ \tau\,\dot x = -x + \varphi(a). $$ (eq-ode)
#
# Here $x$ is the state and $\varphi(a)$ the **candidate** it is pulled towards.
# The **time-scale** $\tau$ says how slowly: after a time $\tau$ a fraction $1/e$
# of an old state is left. A computer visits the neuron once every $\Delta$.
# There are two honest ways to step from one visit to the next.
#
# *Forward Euler* draws the tangent at the start and follows it for a time
# $\Delta$. The *exponential integrator* {cite}`hochbruck2010exponential` freezes
# only the candidate over the step and solves the rest exactly. Both give the
# **leaky integrator** {cite}`jaeger2007leaky`. Only the number $\alpha$ differs.
#
# :::{prf:theorem} Discretisation
# :label: thm-discretisation
#
# One step $\Delta$ of {eq}`eq-ode` with the candidate $\varphi$ held at its
# value at the start is
#
# $$ x_t = (1-\alpha)\,x_{t-1} + \alpha\,\varphi, $$ (eq-leaky)
#
# where forward Euler has $\alpha = \Delta/\tau$ and the exponential integrator
# has $\alpha = 1 - e^{-\Delta/\tau}$.
# :::
#
# The proof is one line for Euler and one call of `dsolve` for the other.
# `chapter.prove` asks SymPy to simplify a difference to 0, and keeps the answer.

# %%
tau, Delta, t = sp.symbols("tau Delta t", positive=True)
x_0, phi = sp.symbols("x_0 varphi", real=True)
x = sp.Function("x")


def leaky(alpha: sp.Expr) -> sp.Expr:
    """One step of the leaky integrator from the state x_0."""
    return (1 - alpha) * x_0 + alpha * phi


euler = x_0 + Delta * (-x_0 + phi) / tau  # the start, plus Δ times its slope
solution = sp.dsolve(tau * x(t).diff(t) + x(t) - phi, x(t), ics={x(0): x_0})
show("x(t)", solution.rhs)
statement = r"Forward Euler is the leaky update with $\alpha = \Delta/\tau$"
prove("euler-update", statement, euler - leaky(Delta / tau))
statement = r"The exponential integrator has $\alpha = 1 - e^{-\Delta/\tau}$"
exponential, kept = solution.rhs.subs(t, Delta), sp.exp(-Delta / tau)
prove("exponential-update", statement, exponential - leaky(1 - kept))


# %% [markdown]
# ## How far do the two agree?
#
# Only the ratio $h = \Delta/\tau$ matters, the step measured in time-scales.
# Both numbers start as $h$. Their difference is of second order, and it has a
# sign: Euler always writes *more* than the neuron would. The sign follows from a
# lemma about logarithms that this chapter needs three times.
#
# :::{prf:lemma} Two sides of a logarithm
# :label: lem-logarithm
#
# For every $u > 0$,
#
# $$ \frac{u}{1+u} \;<\; \ln(1+u) \;<\; u. $$ (eq-logarithm)
# :::
#
# :::{prf:proof}
# All three vanish at $u = 0$, and the slopes obey the same order for $u>0$. The
# cell computes the two differences of slopes and asks SymPy for their sign.
# :::
#
# Put $h = \ln(1+u)$, which reaches every $h>0$ as $u$ runs through the positive
# numbers. Euler's $\alpha$ is then the logarithm, and the exponential
# integrator's is the left side, $u/(1+u)$. So $\alpha_{\mathrm{exp}} <
# \alpha_{\mathrm{Euler}}$, whatever the step.

# %%
h, u = sp.symbols("h u", positive=True)
below, above = sp.log(1 + u) - u / (1 + u), u - sp.log(1 + u)
slopes = [gap.diff(u).factor() for gap in (below, above)]
show(r"\text{slope}", *slopes)
prove(
    "logarithm-lemma",
    r"$u/(1+u) < \ln(1+u) < u$ for all $u > 0$",
    *(gap.subs(u, 0) for gap in (below, above)),
    *(slope.is_positive for slope in slopes),
    note="equal at 0, and each gap has a positive slope",
)
a_euler, a_exp = h, 1 - sp.exp(-h)
apart = sp.series(a_euler - a_exp, h, 0, 4).removeO()
statement = r"The two $\alpha$ differ by $h^2/2 - h^3/6 + O(h^4)$"
prove("order-of-agreement", statement, apart - (h**2 / 2 - h**3 / 6), scope="h → 0")
prove(
    "euler-overshoots",
    r"The exponential $\alpha$ is $u/(1+u)$ where Euler's is $\ln(1+u)$",
    a_exp.subs(h, sp.log(1 + u)) - u / (1 + u),
    note="with the lemma: Euler's, h = ln(1+u), is the larger",
)

# %% [markdown]
# An error of second order in each step, made $1/h$ times in a unit of time,
# leaves an error of first order in the trajectory. To see it, drive the neuron
# with something whose answer is known: a candidate that stands still, and one
# that moves like a sine. {numref}`fig-order-of-agreement` shows, on the left,
# lines of slope 1 for trajectories and a line of slope 2 for one step.

# %% tags=["hide-input"]
s = sp.symbols("s", nonnegative=True)  # time in units of τ
methods = {"Euler": lambda h: h, "exponential": lambda h: -np.expm1(-h)}
sizes = 0.5 ** np.arange(2, 13)
rows = [("difference of α", size, size + np.expm1(-size)) for size in sizes]
drives = {"constant": sp.Integer(1), "moving": sp.sin(s)}
for drive, candidate in drives.items():
    ode = sp.Eq(x(s).diff(s), candidate - x(s))
    exact = sp.lambdify(s, sp.dsolve(ode, x(s), ics={x(0): 0}).rhs)
    for size in sizes:
        visits = np.arange(1, round(4 / size) + 1) * size
        held = sp.lambdify(s, candidate)(visits - size) * np.ones_like(visits)
        for method, weight in methods.items():
            # the leaky integrator is a filter with one pole
            path = lfilter([weight(size)], [1, weight(size) - 1], held)
            worst = np.abs(path - exact(visits)).max()
            rows.append((f"{method}, {drive}", size, worst))
errors = pd.DataFrame(rows, columns=["curve", "step", "error"])
wide = errors.pivot(index="step", columns="curve", values="error")
rounding = wide.pop("exponential, constant").max()  # all its error is rounding
relative = wide.div(wide.index, axis=0).drop(columns="difference of α")
wide = wide[[*relative, "difference of α"]]

with figures.style():
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.5))
    sns.lineplot(wide, markers=True, dashes=False, ax=left)
    sns.lineplot(relative, markers=True, dashes=False, ax=right, legend=False)
    label = r"step $h = \Delta/\tau$"
    left.set(xscale="log", yscale="log", xlabel=label, ylabel="error")
    right.set(xscale="log", ylim=(0, 0.4), xlabel=label, ylabel="error / $h$")
chapter.figure("order-of-agreement", fig, errors)

# %% [markdown]
# :::{figure} /artifacts/time-scales/figures/order-of-agreement.svg
# :name: fig-order-of-agreement
# :alt: Left: on log-log axes, dots on a line of slope two, and three nearly
# :  parallel lines of slope one above them. Right: the errors divided by the
# :  step, three almost flat lines; the exponential integrator with a moving
# :  candidate lies highest, Euler with a constant candidate lowest.
#
# Euler and the exponential integrator agree to first order. *Left*: in one step
# their $\alpha$ differ by $h^2/2$; along four time-scales each method's worst
# error is of first order, under a constant candidate and under one that moves.
# *Right*: the trajectories' errors divided by $h$. One curve is missing, because
# it would be rounding alone: the exponential integrator under a constant
# candidate.
# :::
#
# The checks measure these slopes where the leading order is all that is left,
# over the four smallest steps.

# %%
small = np.log(wide.reset_index().head(4))
for curve in wide:
    slope, _ = np.polyfit(small["step"], small[curve], 1)
    name, order, tolerance = "local-order", 2, 2e-3
    if curve in relative:
        short = curve.replace(", ", "-").lower()
        name, order, tolerance = f"global-order-{short}", 1, 1e-2
        leading = relative[curve].iloc[0]
        chapter.number(f"error-{short}", leading, f"{leading:.2f}")
    statement = f"The error's slope in $h$, {curve}: distance from {order}"
    check(name, statement, abs(slope - order), tolerance)
statement = "The exponential integrator's error under a constant candidate"
check("exponential-exact", statement, rounding, 1e-12)
statement = "Euler's error over the exponential integrator's, moving candidate"
ratio = relative["Euler, moving"] / relative["exponential, moving"]
check("euler-closer-when-moving", statement, ratio.iloc[0], 1.0)

# %% [markdown]
# The right panel holds a small surprise. Under a candidate that stands still the
# exponential integrator is exact, and Euler errs by
# {result}`time-scales/error-euler-constant` $h$. Under the moving candidate
# Euler comes closer. It errs by {result}`time-scales/error-euler-moving` $h$, and
# the exponential integrator errs by
# {result}`time-scales/error-exponential-moving` $h$. Both are late, because they
# hold the candidate still during a step. Euler's overshoot makes up for a part of
# the delay. So a method can be exact about the leak and still err in the rest.
# The next section shows what the exponential integrator is good for.
#
# ## Which numbers may α be?
#
# {eq}`eq-leaky` is an average of the old state and the candidate only if both
# weights are at least zero and something is written: $0 < \alpha \le 1$. An
# average cannot leave the range of what it averages. With $\varphi = \tanh$,
# states that start in $[-1, 1]$ stay there. Beyond 1 the old state comes back
# with the wrong sign, and the neuron swings around its target. The swing dies
# out up to $\alpha = 2$ and grows from there. The exponential integrator cannot
# go there at all: for every step and every time-scale its $\alpha$ lies strictly
# between 0 and 1.

# %%
alpha = sp.symbols("alpha", real=True)
kept = 1 - alpha  # what a step without a candidate multiplies the state by
averages = sp.reduce_inequalities([alpha > 0, kept >= 0], alpha).as_set()
decays, grows, swings = (
    sp.solveset(condition, alpha, sp.Reals)
    for condition in (abs(kept) < 1, abs(kept) > 1, kept < 0)
)
statement = r"The update is an average exactly for $\alpha \in (0, 1]$"
prove_gate("alpha-average", statement, averages == sp.Interval.Lopen(0, 1))
prove_gate(
    "alpha-stable",
    r"The leak decays for $\alpha \in (0, 2)$, swings beyond 1, grows beyond 2",
    decays == sp.Interval.open(0, 2),
    swings & decays == sp.Interval.open(1, 2),
    sp.Interval.open(2, sp.oo).is_subset(grows),
)
v, w = sp.symbols("v w", nonnegative=True)  # how far both are below 1
some = sp.simplify(a_exp.subs(h, sp.log(1 + u)))  # u/(1+u), any of (0, 1)
prove_gate(
    "alpha-bounded",
    "States and candidates of at most 1 make a state of at most 1",
    (1 - (1 - some) * (1 - v) - some * (1 - w)).factor().is_nonnegative,
    note="change all signs for -1; at α = 1 the new state is the candidate",
)
rest = sp.simplify(1 - some)  # u > 0 reaches every h > 0
statement = "$0 < 1 - e^{-h} < 1$ for every $h > 0$"
prove("exponential-range", statement, some.is_positive, rest.is_positive)


# %% [markdown]
# So the book keeps $\alpha$, and later every gate, in $(0, 1]$. At $\alpha = 1$
# nothing is kept and the leaky integrator is the vanilla network.
#
# ## How long is the memory?
#
# Without a candidate $t$ steps leave $(1-\alpha)^t$ of a state. The **memory
# constant** $\tau_{\mathrm{mem}}$ is the number of steps that leave $1/e$.
#
# :::{prf:theorem} Memory constant
# :label: thm-memory
#
# For $0 < \alpha < 1$
#
# $$ \tau_{\mathrm{mem}} = \frac{-1}{\ln(1-\alpha)}. $$ (eq-memory)
#
# For the exponential integrator this is $\tau/\Delta$ exactly, the time-scale
# counted in steps. For forward Euler it is $\tau/\Delta - \tfrac12 -
# O(\Delta/\tau)$, at least half a step short when steps are fine. It falls to 0
# as $\alpha \to 1$ and grows as $1/\alpha - \tfrac12$ as $\alpha \to 0$.
# :::

# %%
steps_left, a = sp.symbols(r"tau_mem alpha", positive=True)
(tau_mem,) = sp.solve(sp.Eq((1 - a) ** steps_left, sp.exp(-1)), steps_left)
of_euler = sp.series(tau_mem.subs(a, a_euler), h, 0, 2).removeO()
show(r"\tau_{\mathrm{mem}}", tau_mem)
statement = r"$(1-\alpha)^t = 1/e$ at $t = -1/\ln(1-\alpha)$"
prove_gate("memory-constant", statement, tau_mem + 1 / sp.log(1 - a))
statement = r"The exponential integrator remembers $\tau/\Delta$ steps, exactly"
prove("memory-exponential", statement, tau_mem.subs(a, a_exp) - 1 / h)
statement = "Euler remembers $1/h - 1/2 - h/12 + O(h^2)$ steps"
euler_apart = of_euler - (1 / h - sp.S.Half - h / 12)
prove("memory-euler", statement, euler_apart, scope="h → 0")
statement = r"The memory is 0 at $\alpha = 1$ and nears $1/\alpha - 1/2$ at 0"
full, none = sp.limit(tau_mem, a, 1, "-"), sp.limit(tau_mem - 1 / a, a, 0, "+")
prove("memory-limits", statement, full, none + sp.S.Half, scope="α → 0 and α → 1")


# %% [markdown]
# {numref}`fig-impulse-responses` shows all of this at once. The candidate is 1
# during one step and 0 ever after. Look at the orange squares from panel to
# panel: Euler starts too high, forgets too fast, and in the last panel swings.

# %% tags=["hide-input"]
lag, fine = np.arange(11.0), np.linspace(0, 10, 401)
rows = []
for step in steps:
    for method, weight in (("Euler", step), ("exponential", -np.expm1(-step))):
        state = [0.0] + [weight * (1 - weight) ** k for k in range(10)]
        rows.append((step, method, weight, lag, state))
    # up while the candidate is 1, down afterwards
    up, down = -np.expm1(-fine * step), np.exp(-(fine - 1) * step)
    state = np.where(fine <= 1, up, -np.expm1(-step) * down)
    rows.append((step, "differential equation", np.nan, fine, state))
columns = ["step", "method", "alpha", "time", "state"]
responses = pd.DataFrame(rows, columns=columns).explode(["time", "state"])
responses = responses.astype({"time": float, "state": float})

with figures.style():
    blue, vermilion = figures.CYCLE[:2]
    look = {"marker": ["s", "o", ""], "ls": [":", "", "-"]}
    hue = {"hue": "method", "palette": [vermilion, blue, blue], "hue_kws": look}
    facets = {"col": "step", "col_wrap": 2, "sharey": False, "aspect": 1.4}
    grid = sns.FacetGrid(responses, height=2.3, **facets, **hue)
    grid.map(plt.plot, "time", "state").add_legend(title="")
    grid.set_axis_labels(r"time in steps, $t/\Delta$", "state $x$")
    grid.set_titles(r"$\Delta/\tau = {col_name:g}$")
chapter.figure("impulse-responses", grid.figure, responses)

# %% [markdown]
# :::{figure} /artifacts/time-scales/figures/impulse-responses.svg
# :name: fig-impulse-responses
# :alt: Four panels of decaying curves. With a short step Euler's squares lie
# :  close above the smooth curve; with a longer step they start higher and
# :  fall faster; at a step of one time-scale they drop to zero at once; at one
# :  and a half they jump to one and a half and alternate in sign. The
# :  exponential integrator's dots stay on the curve.
#
# The exponential integrator (dots) is on the differential equation's solution
# (line) at every visit; Euler (squares) writes too much and forgets too fast.
# Each panel is the response of the leaky neuron to a candidate that is 1 during
# the first step and 0 afterwards. At $\Delta/\tau = 1$ Euler keeps nothing, and
# beyond it swings through zero.
# :::

# %%
paths = responses.pivot_table("state", ["step", "time"], "method").dropna()
distance = paths["exponential"] - paths["differential equation"]
statement = "At every visit the exponential integrator is on the neuron's path"
check("impulse-on-the-grid", statement, distance.abs().max(), 1e-14)

# %% [markdown]
# ## Let the clock run
#
# A recording may be played fast or slow, and the same neuron should still
# understand it. Give it a clock: at outside time $t$ its own time is $s(t)$,
# which runs at the speed $c(t) = s'(t) > 0$. Tallec and Ollivier
# {cite}`tallec2018warp` showed what this does to {eq}`eq-ode`. The speed becomes
# a factor in front, and after discretisation the factor is a gate.
#
# :::{prf:theorem} A gate is a time warp
# :label: thm-warp
#
# A neuron on the clock $s(t)$ obeys $\tau\dot x = c(t)\,(\varphi - x)$. With the
# candidate held over a step, the state moves as
#
# $$
# \begin{aligned}
# x_t &= (1-g_t)\,x_{t-1} + g_t\,\varphi,\\
# g_t &= 1 - e^{-\bar c_t \Delta/\tau},
# \end{aligned}
# $$ (eq-gate)
#
# exactly, where $\bar c_t$ is the clock's mean speed over the step. Gates in
# $(0, 1)$ and speeds in $(0, \infty)$ correspond one to one, $\bar c_t =
# -\tfrac{\tau}{\Delta}\ln(1-g_t)$. If the gate is a sigmoid, $g_t = \sigma(z)$,
# the speed is a softplus:
#
# $$ \bar c_t = \tfrac{\tau}{\Delta}\,\ln(1 + e^{z}). $$ (eq-softplus)
# :::
#
# With forward Euler instead, $g_t = c_t\Delta/\tau$, and a gate below 1 sets the
# clock a speed limit of $\tau/\Delta$. In the cell the neuron's solution is read
# off its own clock, so its time is replaced by $s(t)$.

# %%
clock = sp.Function("s")(t)
warped = solution.rhs.subs(t, clock)
statement = r"On the clock $s(t)$: $\tau\dot x = s'(t)\,(\varphi - x)$"
difference = tau * warped.diff(t) - clock.diff(t) * (phi - warped)
prove("warped-equation", statement, difference, scope="every clock")
start, c = sp.symbols("s_0 c", positive=True)  # the clock's start and speed
before, after = (solution.rhs.subs(t, s) for s in (start, start + c * Delta))
gate = 1 - sp.exp(-c * Delta / tau)
prove(
    "warp-is-gate",
    r"One step is the gated update with $g = 1 - e^{-\bar c\Delta/\tau}$",
    after - ((1 - gate) * before + gate * phi),
    note="for any clock: only its mean speed over the step counts",
)
statement = r"With forward Euler the gate is $g = c\Delta/\tau$"
euler = x_0 + Delta * c * (phi - x_0) / tau
prove("warp-euler", statement, euler - leaky(c * Delta / tau))

# %% [markdown]
# Solving for the speed gives the other direction, and a sigmoid gives the
# softplus.

# %%
g, z = sp.symbols("g", positive=True), sp.symbols("z", real=True)
sigmoid, softplus = symbolic.sigmoid(z).rewrite(sp.exp), sp.log(1 + sp.exp(z))
prove_gate(
    "gate-speed",
    r"Gates in $(0, 1)$ and speeds in $(0, \infty)$ correspond one to one",
    gate.subs(c, -tau * sp.log(1 - g) / Delta) - g,
    gate.diff(c).is_positive,
    gate.subs(c, 0),
    sp.limit(gate, c, sp.oo) - 1,
)
prove_gate(
    "softplus",
    r"$-\ln(1-\sigma) = \ln(1+e^z)$, which nears $e^z$ below and has no bound",
    -sp.log(1 - sigmoid) - softplus,
    sp.limit(softplus / sp.exp(z), z, -sp.oo) - 1,
    sp.limit(softplus, z, sp.oo) == sp.oo,
)
statement = r"A sigmoid gate's memory constant is $1/\ln(1+e^z)$"
prove_gate("softplus-memory", statement, 1 / tau_mem.subs(a, sigmoid) - softplus)

# %% [markdown]
# Read {eq}`eq-softplus` once more: *the pre-activation of a sigmoid gate sets
# the speed of a clock*. The clock is slow for $z \ll 0$, where its speed is close
# to $e^{z}$ time-scales a step, and it has no upper limit. At each moment the
# memory constant is $1/\ln(1+e^{z})$ steps. State-space models use the same
# softplus for their step. Gu and Dao {cite}`gu2023mamba` prove that their
# selective recurrence, in its simplest form, is this very gate.
#
# ## What the state remembers
#
# A state is a weighted record of everything ever written. For a constant gate
# $g$ the weights have a closed form.
#
# :::{prf:theorem} Weight of the past
# :label: thm-past
#
# For every sequence of candidates $\varphi_1, \varphi_2, \dots$
#
# $$
# \begin{aligned}
# x_t &= (1-g)^t x_0 + \sum_{k=1}^{t} r_{t-k} \varphi_k\\
# r_\ell &= g(1-g)^\ell
# \end{aligned}
# $$ (eq-past)
#
# and the weights of the candidates sum to $1 - (1-g)^t$.
# :::
#
# :::{prf:proof}
# By induction. At $t = 0$ the sum is empty. A step multiplies all weights by
# $1-g$, which must turn the weight of each $\varphi_k$ at $t$ into its weight at
# $t+1$. It adds $\varphi_{t+1}$ with weight $g$, which must be the newest one's.
# SymPy does not merge two sums with different limits, so the cell compares them
# summand by summand.
# :::

# %%
T, k = sp.symbols("t k", integer=True, positive=True)
left = (1 - g) ** T  # the weight of the initial state, at step t
weight = g * (1 - g) ** (T - k)  # and of the candidate of step k
prove_gate(
    "past-induction",
    r"$x_t = \sum_k g(1-g)^{t-k}\varphi_k + (1-g)^t x_0$",
    left.subs(T, 0) - 1,  # at t = 0 there is only the initial state
    (1 - g) * left - left.subs(T, T + 1),  # one step later
    (1 - g) * weight - weight.subs(T, T + 1),  # the old candidates
    weight.subs(T, k) - g,  # the new one
    note="induction over t, summand by summand",
)
total = sp.summation(weight, (k, 1, T))
prove_gate("past-sum", "The weights sum to $1 - (1-g)^t$", total - (1 - left))


# %% [markdown]
# The library's network must be this sum, too. Its candidates depend on its
# states, but {eq}`eq-past` does not ask where the candidates come from.

# %%
model, u_t, y_t = random_case(
    "constant", 16, 3, 80, replicas=seeds, device=chapter.device
)
path = model.requires_grad_(False).run(u_t, y_t[0])  # from a random state
total = (rates.shares(path) * path.phi).sum(0)
total += rates.retention(path, lag=80)[0] * y_t[0]
apart = discrepancy(total, path.x[-1])
statement = "The library's last state is this sum, random networks and gates"
check("past-library", statement, apart, 1e-13, scope="n = 16, 80 steps")


# %% [markdown]
# ## The gate that fits a lag
#
# Look at one weight of {eq}`eq-past`. What was written $\ell$ steps ago counts
# with
#
# $$ r_\ell(g) = g\,(1-g)^{\ell}. $$ (eq-rate)
#
# The same number travels backwards. By the chain rule a gradient at $x_t$
# reaches the candidate of $\ell$ steps ago along the leak with the factor
# $r_\ell(g)$. A learning rate $\mu$ is felt there as $\mu\,r_\ell(g)$; claim C8,
# derived in {ref}`ch-bptt`, makes this precise. So **which constant gate teaches
# lag $\ell$ best?** A large one writes much and keeps little of it. A small one
# keeps nearly all of the little that it writes.
#
# :::{prf:theorem} Matched gate
# :label: thm-matched
#
# For $\ell > 0$ the rate $r_\ell$ has one maximum on $(0,1)$, at
#
# $$
# \begin{aligned}
# g^\star &= \frac{1}{\ell+1},\\[1ex]
# r_\ell(g^\star) &= \frac{\ell^{\,\ell}}{(\ell+1)^{\ell+1}}.
# \end{aligned}
# $$ (eq-matched)
#
# No constant gate escapes the envelope:
#
# $$ \frac{1}{e(\ell+1)} < \max_g r_\ell < \frac{1}{e\ell}, $$ (eq-envelope)
#
# and the matched gate remembers as long as the lag is, to within a step:
# $\ell < \tau_{\mathrm{mem}} < \ell+1$.
# :::
#
# The proof takes the logarithm, $\ln r_\ell = \ln g + \ell\ln(1-g)$. It is
# strictly concave, so it has one stationary point, and that point is the maximum.

# %%
ell = sp.symbols("ell", positive=True)
rate = g * (1 - g) ** ell
(matched,) = sp.solve(sp.Eq(rate.diff(g), 0), g)
best = ell**ell / (ell + 1) ** (ell + 1)
log_rate = sp.log(g) + ell * sp.log(1 - g)
statement = r"$r_\ell'(g) = 0$ in $(0, 1)$ only at $g^\star = 1/(\ell+1)$"
prove_rate("matched-gate", statement, matched - 1 / (ell + 1))
prove_rate(
    "matched-unique",
    r"$\ln r_\ell$ is strictly concave, so $g^\star$ is the maximum",
    log_rate.diff(g, 2).subs(g, 1 / (1 + u)).factor().is_negative,  # any g
    sp.simplify(rate.diff(g, 2).subs(g, matched)).is_negative,
)
statement = r"$r_\ell(g^\star) = \ell^\ell/(\ell+1)^{\ell+1}$"
prove_rate("matched-value", statement, rate.subs(g, matched) - best)

# %% [markdown]
# The envelope and the memory constant come from {prf:ref}`lem-logarithm` with
# $u = 1/\ell$, and from nothing else. In logarithms the upper side of
# {eq}`eq-envelope` says $(\ell+1)\ln(1+1/\ell) > 1$, which is the left side of
# {eq}`eq-logarithm`. The lower one says $\ell\ln(1+1/\ell) < 1$, which is its
# right side. The memory constant is $1/\ln(1+1/\ell)$, which both sides enclose.
# A numerical check goes through every whole lag up to a million.

# %%
log_best = ell * sp.log(ell) - (ell + 1) * sp.log(ell + 1)
to_upper = -1 - sp.log(ell) - log_best  # from the best rate to 1/(eℓ)
to_lower = log_best + 1 + sp.log(ell + 1)  # from 1/(e(ℓ+1)) to the best rate
prove_rate(
    "envelope",
    r"$1/(e(\ell+1)) < \max_g r_\ell(g) < 1/(e\ell)$",
    sp.expand_log(sp.log(best), force=True) - log_best,
    to_upper.subs(ell, 1 / u) - (1 + 1 / u) * below,
    to_lower.subs(ell, 1 / u) - above / u,
    note="in logarithms, each gap is a positive multiple of one of the lemma's",
)
statement = r"$\ell\,\max_g r_\ell(g) \to 1/e$ for long lags"
limit = sp.limit(ell * best, ell, sp.oo)
in_the_limit("envelope-limit", statement, limit - sp.exp(-1))
in_the_limit(
    "matched-memory",
    r"The matched gate's memory, $1/\ln(1+1/\ell)$, nears $\ell + 1/2$",
    1 / tau_mem.subs(a, matched) - sp.log(1 + 1 / ell),
    sp.series(1 / sp.log(1 + u), u, 0, 2).removeO() - (1 / u + sp.S.Half - u / 12),
    note="between ℓ and ℓ + 1 by the lemma at u = 1/ℓ",
)
lags = np.arange(1, 10**6 + 1)
at_match = np.exp(lags * np.log1p(-1 / (lags + 1))) / (lags + 1)
upper, lower = 1 / (np.e * lags), 1 / (np.e * (lags + 1))
outside = ((at_match >= upper) | (at_match <= lower)).sum()
statement = "No whole lag up to a million escapes the envelope, in float64"
check("envelope-numeric", statement, outside, claim="C10", scope="ℓ ≤ 10⁶")

# %% [markdown]
# {numref}`fig-rate-over-gate-and-lag` draws the rate for all gates and lags. On
# the left, follow the dark line: it is the ridge, where gate and lag match.

# %% tags=["hide-input"]
gate_axis = np.logspace(np.log10(0.3 / longest_lag), np.log10(0.999), 120)
lag_axis = np.logspace(0, np.log10(longest_lag), 100)
rates = gate_axis * (1 - gate_axis) ** lag_axis[:, None]
shown = np.maximum(rates, 0.01 / longest_lag)
with figures.style():
    fig, (plane, side) = plt.subplots(1, 2, figsize=(7.2, 4.2), sharey=True)
    mesh = plane.pcolormesh(gate_axis, lag_axis, shown, norm="log")
    mesh.set_rasterized(True)
    # white and navy lie on the colour map, which both kinds of page share
    bar = plane.inset_axes((0.55, 0.87, 0.4, 0.03))
    fig.colorbar(mesh, cax=bar, orientation="horizontal")
    bar.set_title(r"rate $g(1-g)^\ell$", color="white", loc="center")
    bar.tick_params(colors="white", which="both", labelcolor="white")
    navy = plt.get_cmap(figures.SEQUENTIAL)(0.0)
    plane.plot(1 / (lag_axis + 1), lag_axis, color=navy)
    plane.text(2e-3, 3, r"matched gate $1/(\ell+1)$", color=navy)
    plane.set(xscale="log", xlabel="gate $g$", ylabel=r"lag $\ell$ in steps")
    side.plot(1 / (np.e * lag_axis), lag_axis, color=figures.GRID, lw=6)
    for one in gates:
        (line,) = side.plot(one * (1 - one) ** lag_axis, lag_axis)
        served = 1 / one - 1  # the lag that this gate matches
        top, color = one * (1 - one) ** served, line.get_color()
        side.plot(top, served, "o", color=color)
        side.text(1.3 * top, served, f"$g = {one:g}$", color=color)
    side.set(xscale="log", yscale="log", xlabel="rate", xlim=(1e-5, 2))
rates = pd.DataFrame(rates, lag_axis, gate_axis).stack().rename("rate")
rates = rates.rename_axis(["lag", "gate"]).reset_index()
chapter.figure("rate-over-gate-and-lag", fig, rates)

# %% [markdown]
# :::{figure} /artifacts/time-scales/figures/rate-over-gate-and-lag.svg
# :name: fig-rate-over-gate-and-lag
# :alt: Left: a map over gate and lag on log axes with a bright ridge falling from
# :  large gates at short lags to small gates at long lags, and darkness where
# :  a large gate meets a long lag. Right: three curves, one for each constant
# :  gate; each touches the straight grey line of the envelope at one lag and
# :  then drops away.
#
# Each constant gate serves one lag best. *Left*: the rate $g(1-g)^\ell$; the
# ridge is the matched gate $g^\star = 1/(\ell+1)$. To its left too little is
# written, to its right too little is kept. *Right*: constant gates along the lag
# axis. Each comes closest to the envelope $1/(e\ell)$ (grey) near its own lag
# $1/g - 1$ (dots) and falls off exponentially beyond.
# :::

# %% [markdown]
# ## What it means
#
# **A gate is a bet on a lag**, and the bet is lopsided. Take the gate that is
# matched to a long lag $\ell$ and look at a lag $v$ times as long. There this
# gate reaches only a share of the best rate that any gate has:
#
# $$ v\, e^{\,1-v}. $$ (eq-share)

# %%
v = sp.symbols("v", positive=True)
there = log_rate.subs(ell, v * ell)  # at v times the lag
best_there = there.subs(g, matched.subs(ell, v * ell))
share = sp.exp(sp.limit(there.subs(g, matched) - best_there, ell, sp.oo))
statement = r"At $v$ times a long lag its gate keeps $v e^{1-v}$"
in_the_limit("matched-share", statement, share - v * sp.exp(1 - v))
for name, value in {"half": sp.S.Half, "twice": 2, "ten-times": 10}.items():
    there = float(share.subs(v, value))
    chapter.number(f"share-{name}", there, f"{there:.2%}")

# %% [markdown]
# At half the lag the share is {result}`time-scales/share-half`. At twice the lag
# it is {result}`time-scales/share-twice`, and at ten times the lag
# {result}`time-scales/share-ten-times`. So nearby lags do well. Much shorter lags
# lose in proportion, and longer ones exponentially.
#
# **Long memories are taught at a price** that no constant avoids: the envelope
# falls as $1/\ell$. To do better at one lag, at one moment, a gate must *move*:
# write when there is something to write, and keep otherwise. That is what
# learned gates can do, and what the rest of the book is about.
#
# **A bias is a bet, too.** The pre-activation of the matched gate is a logarithm
# of the lag:
#
# $$ \sigma(z) = \frac{1}{\ell+1} \iff z = -\ln \ell. $$ (eq-chrono)
#
# Tallec and Ollivier recommend drawing a gate's bias as minus the logarithm of
# the lags that one expects (plus, for a gate that keeps), and call it chrono
# initialisation {cite}`tallec2018warp`. They argue from forgetting times. The
# matched gate arrives at the same rule from rates.

# %%
prove_rate(
    "chrono",
    r"$\sigma(z) = 1/(\ell+1)$ at $z = -\ln\ell$, a speed of $\ln(1+1/\ell)$",
    sp.solve(sp.Eq(sigmoid, matched), z)[0] + sp.log(ell),
    sigmoid.subs(z, -sp.log(ell)) - matched,
    softplus.subs(z, -sp.log(ell)) - sp.log(1 + 1 / ell),
)

# %% [markdown]
# ## What to try
#
# 1. **Step too far.** Add `2.5` to `steps`. What will Euler's squares do, and
#    what the dots? Predict before you run.
# 2. **A third discretisation.** The trapezoidal rule averages the slopes at both
#    ends of the step, $x_t = x_{t-1} + \tfrac{h}{2}\,(-x_{t-1} - x_t +
#    2\varphi)$. What is its $\alpha$? How well does it agree with the
#    exponential one, and for which steps is it an average?
# 3. **One gate for a window.** Instead of one lag, serve all from 1 to $L$.
#    Which constant gate makes $\sum_{\ell=1}^{L} r_\ell(g)$ largest? How far is
#    it from the matched gate of lag $L$?
#
# :::{admonition} Solution 1
# :class: dropdown
#
# Each of Euler's steps multiplies the state by $1 - 5/2 = -3/2$: it swings and
# grows. The tangent at the start points down steeply, and after two and a half
# time-scales it has gone far below zero, where no neuron would go. The
# exponential integrator does not follow a tangent. It multiplies by $e^{-5/2}$,
# as the neuron does, and decays.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Check solution 1"}
euler_keeps, exp_keeps = (1 - a.subs(h, 5 * sp.S.Half) for a in (a_euler, a_exp))
statement = "At $h = 5/2$ Euler grows and the exponential integrator decays"
facts = abs(euler_keeps) > 1, abs(exp_keeps) < 1
prove("try-step-too-far", statement, *facts, scope="h = 5/2")

# %% [markdown]
# :::{admonition} Solution 2
# :class: dropdown
#
# The new state stands on both sides. Solve for it, and read off the candidate's
# weight: $\alpha = 2h/(2+h)$. To leading order it differs from the exponential
# one by $h^3/12$. That is one order better than Euler's, since the mean of the
# slopes at both ends takes account of how the slope changes. What it keeps,
# $(2-h)/(2+h)$, is positive up to $h = 2$, and up to there the new state is an
# average. Beyond, it swings, but never grows.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Check solution 2"}
new, slope = sp.symbols("x_1"), (-x_0 - sp.Symbol("x_1") + 2 * phi) / 2
(trapezoidal,) = sp.solve(sp.Eq(new, x_0 + h * slope), new)
a_trapezoidal = trapezoidal.expand().coeff(phi).factor()
prove(
    "try-trapezoidal",
    r"The trapezoidal $\alpha = 2h/(2+h)$ agrees to $h^3/12$",
    trapezoidal.subs({x_0: 1, phi: 1}) - 1,  # the weights sum to 1
    a_trapezoidal - 2 * h / (2 + h),
    sp.series(a_trapezoidal - a_exp, h, 0, 4).removeO() - h**3 / 12,
    1 - a_trapezoidal - (2 - h) / (2 + h),  # an average for h ≤ 2
)

# %% [markdown]
# :::{admonition} Solution 3
# :class: dropdown
#
# Write $y = 1 - g$ for what is kept. Each term is $g\,y^\ell = y^\ell -
# y^{\ell+1}$, so in the sum all but the first and the last cancel, and $y -
# y^{L+1}$ is left. It is concave in $y$, so the zero of its slope is the maximum.
# That is at $g = 1 - (L+1)^{-1/L}$, close to $\ln(L+1)/L$ for long windows. For
# the lags of {numref}`fig-rate-over-gate-and-lag` this gate is
# {result}`time-scales/window-gate`. It is {result}`time-scales/window-ratio`
# times the matched gate of the longest lag, since the many shorter lags together
# weigh more than the longest one.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Check solution 3"}
y, L = sp.symbols("y L", positive=True)
window = y - y ** (L + 1)
summed = sp.summation((1 - y) * y**k, (k, 1, T))
(keep,) = sp.solve(sp.Eq(window.diff(y), 0), y)
prove_rate(
    "try-window",
    r"The best gate for lags up to $L$: $1 - (L+1)^{-1/L} \sim \ln(L+1)/L$",
    summed.subs(T, L) - window,
    keep - (L + 1) ** (-1 / L),
    sp.simplify(window.diff(y, 2)).is_negative,
    sp.limit((1 - keep) * L / sp.log(L + 1), L, sp.oo) - 1,
)
window_gate = 1 - float(keep.subs(L, longest_lag))
ratio = window_gate * (longest_lag + 1)
chapter.number("window-gate", window_gate)
chapter.number("window-ratio", ratio, f"{ratio:.1f}")

# %% [markdown]
# ## The ledger
#
# {numref}`tab-time-scales-validation` lists every check of this chapter.
# Symbolic rows are proofs by computer algebra. Where a step is not SymPy's, the
# text names it: the sign of a gap from its slope, an induction summand by
# summand, a substitution that reaches every case. Their value is 0 if all parts
# hold and 1 if not. Numeric rows are measurements against a tolerance. If one
# row fails, neither this chapter nor the book builds.

# %% tags=["hide-input"]
chapter.validation()
chapter.close()

# %% [markdown]
# :::{table-file} /artifacts/time-scales/tables/time-scales-validation.csv
# :name: tab-time-scales-validation
#
# Everything that this chapter proves and checks.
# :::
#
# ## In two sentences
#
# A gate is what a leaky neuron becomes when a computer looks at it step by step
# and its clock may change speed. A constant gate fits one lag, about the
# reciprocal of the gate, and pays for every longer one.
