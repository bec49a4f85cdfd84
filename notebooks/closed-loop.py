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
# (ch-closed-loop)=
# # The closed loop: when the gate learns too
#
# A gate sets the learning rate of every lag. Learning moves the gate. So the
# rates change what is learned, and what is learned changes the rates. What
# comes out of this loop?
#
# The first version of the paper's abstract says that gates "act as data-driven
# preconditioners that adapt optimization trajectories in parameter space"
# {cite}`livi2025timescale`. This chapter takes the one neuron of
# {ref}`ch-one-neuron`, closes the loop, and asks three things. What does
# *adapt trajectories* mean there? Does a gate make a long memory easier to
# learn? And why do today's fast-weight networks call *another* gate a learning
# rate?
#
# :::{admonition} What this chapter shows
# - The weight learns along one pattern over lags, which the gate chooses. What
#   the pattern cannot say is learned only by moving the gate.
# - Where the gate moves, every lag gets a learning-rate schedule that nobody
#   wrote.
# - The longer the memory, the sharper the loss. The factor $g$ before the input
#   tames the scale. Relative to the output it tames nothing. The sigmoid does.
# :::

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters"}
profile = "ci"
seeds = 3  # trained neurons
device = "auto"
out = "../artifacts/draft/closed-loop"
training_steps = 800
rate = 0.5  # of gradient descent

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the imports"}
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import sympy as sp
import torch
from gatelr import rates
from gatelr.experiments import agreement, closed_loop
from gatelr.record import Chapter, figures, show
from scipy.integrate import solve_ivp

chapter = Chapter("closed-loop")
prove = partial(chapter.prove, claim="C18", scope="every w and g")
prove_sharp = partial(chapter.prove, claim="C19", scope="every ρ in (0, 1)")

# %% [markdown]
# ## A neuron and its teacher
#
# The neuron $x_t = (1-g)\,x_{t-1} + g\,w\,u_t$ is to imitate another one, its
# teacher, which has the weight $w^*$ and the gate $g^*$. Inputs are white
# noise of variance one. At lag $\ell$ the neuron weighs the input with
# $w\,g\,(1-g)^\ell$. White inputs do not mix lags, so the loss is a plain sum,
#
# $$
# L = \tfrac12 \sum_{\ell \ge 0}
# \big( w\,g(1-g)^\ell - w^* g^*(1-g^*)^\ell \big)^2 .
# $$ (eq-loop-loss)
#
# Multiply out, and three geometric series are left. Each is the same function of
# two neurons, their *overlap* $\sum_\ell w\,g(1-g)^\ell\, v\,h(1-h)^\ell$.

# %%
w, g, v, h, r = sp.symbols("w g w^* g^* r", positive=True)
N = sp.Symbol("N", integer=True, nonnegative=True)


def overlap(w: sp.Expr, g: sp.Expr, v: sp.Expr, h: sp.Expr) -> sp.Expr:
    """Sum over lags of what two neurons make of an impulse."""
    return w * g * v * h / (g + h - g * h)


partial_sum = (1 - r**N) / (1 - r)  # of r^ℓ, ℓ < N
prove(
    "overlap",
    r"with $r = (1-g)(1-h)$, the overlap $\sum_\ell w g\, v h\, r^\ell$ is "
    r"$w g\, v h/(g + h - g h)$: the geometric sum by induction, and its limit",
    partial_sum.subs(N, 0),
    sp.simplify(partial_sum.subs(N, N + 1) - partial_sum - r**N),
    sp.simplify(w * g * v * h / (1 - (1 - g) * (1 - h)) - overlap(w, g, v, h)),
)
L = (overlap(w, g, w, g) + overlap(v, h, v, h)) / 2 - overlap(w, g, v, h)
show("L", L)

# %% [markdown]
# Gradient flow is gradient descent with small steps. Its time $s$ is the rate
# times the number of steps, and $\dot w = -\partial L/\partial w$. The gate is a
# sigmoid, $g = \sigma(a)$, and what learns is $a$. So
# $\dot g = -\big(g(1-g)\big)^2\, \partial L/\partial g$.
#
# SciPy solves these two equations. Beside them, the library's smallest network
# is trained on fresh random inputs by plain gradient descent. It knows nothing
# of the formulas: it runs the recurrence and takes the gradient through time.
# The neuron starts with the weight of its teacher and a gate that is too open.

# %%
START, TEACHER = (1.0, 0.5), (1.0, 0.1)  # weight and gate
dw, da = -L.diff(w), -L.diff(g) * g * (1 - g)
velocity = sp.lambdify((w, g, v, h), [dw, da * g * (1 - g)])
path = closed_loop.train(
    START, TEACHER, steps=training_steps, rate=rate, seeds=range(seeds)
)  # fresh sequences at every step
times = np.unique(path.time)
flow = solve_ivp(
    lambda s, state: velocity(*state, *TEACHER),
    (0, times[-1]),
    START,
    t_eval=times,
    rtol=1e-10,
    atol=1e-12,
)
trained = path.groupby("time")[["weight", "gate"]].mean().to_numpy().T
for name, miss in zip(("weight", "gate"), abs(trained - flow.y).max(1), strict=True):
    chapter.check(
        f"flow-{name}",
        f"the {name} of trained neurons, mean over seeds, follows the solution of "
        "the gradient flow: largest distance along training",
        miss,
        0.05,
        claim="C18",
        scope="one teacher, one start",
    )

# %% [markdown]
# ## Every lag gets a schedule
#
# The teacher remembers for about ten steps. At first the neuron remembers for
# about one.
# {numref}`fig-loop-rates` shows what training does to the rates of a few lags.
# As the gate closes, the rate of the present falls and that of the past grows.
# Look at lag 4: it rises first and falls later.

# %% tags=["hide-input"]
lags, fine = [0, 4, 16], flow.y[1]
rows = [
    (lag, s, gate * (1 - gate) ** lag)
    for lag in lags
    for s, gate in zip(times, fine, strict=True)
]
solved = pd.DataFrame(rows, columns=["lag", "time", "rate"])
dots = path.groupby("time").gate.mean().iloc[::25].reset_index()
dots = pd.concat(
    {lag: dots.gate * (1 - dots.gate) ** lag for lag in lags}, names=["lag"]
)
dots = dots.rename("trained").reset_index("lag")
dots["time"] = path.time.unique()[::25][dots.index]
with figures.style():
    fig, ax = plt.subplots(figsize=(6.4, 3.4))
    for color, (lag, line) in zip(figures.CYCLE, solved.groupby("lag"), strict=False):
        points = dots[dots.lag == lag]
        ax.plot(line.time, line.rate, color=color)
        ax.plot(points.time, points.trained, "o", color=color)
        end = (times[-1] * 1.02, line.rate.iloc[-1])
        ax.text(*end, f"lag {lag}", color=color, va="top" if lag else "bottom")
    ax.set(yscale="log", ylim=(5e-5, 1), xlabel="training time $s$")
    ax.set_ylabel(r"rate $g(1-g)^\ell$")
chapter.figure("loop-rates", fig, solved.merge(dots, "left", ["lag", "time"]))

# %% [markdown]
# :::{figure} /artifacts/closed-loop/figures/loop-rates.svg
# :name: fig-loop-rates
# :alt: Three curves of rate over training time on a logarithmic axis, with dots
# :  on them. The rate of lag 0 falls slowly to one tenth. That of lag 4 rises,
# :  passes a low peak and falls a little. That of lag 16 climbs by orders of
# :  magnitude and levels off.
#
# A gate that learns gives each lag a learning-rate schedule of its own. Rates
# of three lags, in units of $\mu$: gradient flow (lines) and trained neurons
# (dots, means over {result}`closed-loop/seeds` seeds).
# :::
#
# The turn of lag 4 is the matched gate of {prf:ref}`thm-matched` again.
#
# :::{prf:proposition} Where a lag's rate turns
# :label: prop-turn
#
# If the gate moves at the speed $\dot g$, the rate of lag $\ell$ moves at
#
# $$
# \frac{\mathrm d}{\mathrm ds}\, g(1-g)^\ell
# = (1-g)^{\ell-1} \big( 1 - (\ell+1)\, g \big)\, \dot g .
# $$ (eq-turn)
#
# While the gate closes, the rate of every lag shorter than $1/g - 1$ falls, and
# that of every longer one grows.
# :::

# %%
ell, s = sp.symbols("ell s", positive=True)
moving = sp.Function("g")(s)
speed = (moving * (1 - moving) ** ell).diff(s)
turn = (1 - moving) ** (ell - 1) * (1 - (ell + 1) * moving) * moving.diff(s)
chapter.prove(
    "turn",
    r"the rate of lag $\ell$ moves at $(1-g)^{\ell-1}(1 - (\ell+1)g)\,\dot g$",
    sp.simplify(speed / turn - 1),  # 1 - g is not zero
    claim="C11",
    scope="every ℓ and every path of g",
)
chapter.number("seeds", seeds)
peak = int((flow.y[1] * (1 - flow.y[1]) ** 4).argmax())
before, gate_there, after = flow.y[1][peak - 1 : peak + 2]
chapter.number("gate-at-peak", float(gate_there), f"{gate_there:.2f}")
chapter.check(
    "turn-measured",
    "the rate of lag 4 is largest where the gate passes 1/5: its distance at the "
    "record of the peak, over the gate's move from the record before to the next",
    float(abs(gate_there - 0.2) / (before - after)),
    1.0,
    claim="C11",
    scope="one teacher, one start",
)

# %% [markdown]
# The peak of lag 4 is where the gate is at {result}`closed-loop/gate-at-peak`.
# Nobody wrote this schedule. It follows from the loss, through the gate.
#
# ## What the weight can learn, and what only the gate can
#
# How does a step on one sequence change the output on another? To first order
# that is the **tangent kernel** {cite}`jacot2018ntk`, the product of two
# gradients. For the weight,
#
# $$
# K(u, u') = f(u)\, f(u'), \qquad
# f(u) = \sum_\ell g\,(1-g)^\ell\, u_{T-\ell} .
# $$ (eq-kernel)
#
# One weight has one gradient, so $K$ has rank one. A step changes the output
# along $f$ and in no other way. The gate decides what $f$ is.
#
# :::{prf:proposition} One pattern
# :label: prop-pattern
#
# With the gate held fixed, $w$ is learned at the speed
# $\sum_\ell \big(g(1-g)^\ell\big)^2 = g/(2-g)$, of which
# $\big(g(1-g)^\ell\big)^2$ is the share of lag $\ell$. The loss ends at
# $\tfrac12\, w^{*2} \frac{g^*}{2-g^*}\, \sin^2\theta$, where $\theta$ is
# the angle between the two patterns over lags. It is zero only for $g = g^*$.
# :::
#
# The cell proves it, and asks the library for the gradients of a trained
# neuron on random inputs.

# %%
cosine_squared = overlap(1, g, 1, h) ** 2 / (overlap(1, g, 1, g) * overlap(1, h, 1, h))
(best,) = sp.solve(L.diff(w), w)
left = overlap(v, h, v, h) / 2 * (1 - cosine_squared)
prove(
    "one-pattern",
    r"$w$ is learned at the speed $g/(2-g)$; the loss that is left is "
    r"$\frac12 w^{*2} g^*/(2-g^*)\,\sin^2\theta$, and $\sin^2\theta$ has the factor "
    r"$(g - g^*)^2$",
    sp.simplify(L.diff(w, 2) - g / (2 - g)),
    sp.simplify(L.subs(w, best) - left),
    sp.simplify(1 - cosine_squared - (g - h) ** 2 / (g + h - g * h) ** 2),
)
u = torch.randn(80, 32, generator=torch.Generator().manual_seed(0)).double()
gate_now = float(path.gate.iloc[-1])
by_library = closed_loop.features(1.0, gate_now, u)["weight"]
lag = torch.arange(79, -1, -1, dtype=torch.float64).unsqueeze(-1)
by_formula = (gate_now * (1 - gate_now) ** lag * u).sum(0)
chapter.check(
    "kernel",
    r"the tangent kernel of the library's neuron on 32 random sequences is "
    r"$f(u) f(u')$: largest difference, relative",
    agreement.discrepancy(by_library.outer(by_library), by_formula.outer(by_formula)),
    1e-8,
    claim="C18",
    scope="one trained gate, T = 80",
)
at_start = float(left.subs({g: START[1], v: TEACHER[0], h: TEACHER[1]}))
share = at_start / float(L.subs({w: 0, v: TEACHER[0], h: TEACHER[1]}))
chapter.number("left-by-weight", 100 * share, f"{100 * share:.0f}", "%")

# %% [markdown]
# With the gate where it starts, the best weight still leaves
# {result}`closed-loop/left-by-weight` of the loss that a silent neuron, one with
# $w = 0$, has. The rest takes a change of the gate. So this is what *adapt
# trajectories* means here, and it is more than a rescaling. A preconditioner that
# only rescales $w$ would change how fast the weight arrives, but not where. The
# gate turns the direction along which the weight learns.
#
# In a network the kernel of $W_i$ at order 0 sums over pairs of lags as well, and
# over neurons with their slopes. Its rank is higher. The proposition is about
# one neuron.
#
# ## Memory makes learning sharp
#
# Now the gate itself. A small change of a long memory is a large change of the
# output, since it is felt at every lag. Zucchet and Orvieto
# {cite}`zucchet2024curse` call it the curse of memory. Write
# $\rho = 1 - g$ for what is kept. With white inputs, the expected squared
# derivative measures how sharp the loss is in $\rho$. Where the neuron matches
# its teacher, it is the second derivative of $\tfrac12 E(x - x^*)^2$ by $\rho$.
# The sharper a loss, the smaller the steps that gradient descent can take.
#
# :::{prf:theorem} Sharpness
# :label: thm-sharpness
#
# | neuron | $E(\partial x/\partial\rho)^2$ | as $\rho \to 1$ |
# |:---|:---|:---|
# | $x_t = \rho x_{t-1} + u_t$ | $(1+\rho^2)/(1-\rho^2)^3$ | $(1-\rho)^{-3}/4$ |
# | $x_t = \rho x_{t-1} + (1-\rho)u_t$ | $2/((1-\rho)(1+\rho)^3)$ | $(1-\rho)^{-1}/4$ |
#
# Relative to the variance of $x$ itself, both grow as
# $\tfrac12 (1-\rho)^{-2}$.
# :::
#
# The factor $g = 1 - \rho$ in front of the input turns the third power into
# the first. That looks like a cure. But the same factor also shrinks the
# output. Whoever needs an output of size one will make up for it with a larger
# weight. So what counts is the ratio, and in the ratio nothing is gained.

# %%
rho, q = sp.symbols("rho q", positive=True)
plain = 1 / (1 - q)  # Σ q^ℓ, of which the next two are derivatives
once, twice = q * plain.diff(q), (q * plain.diff(q)).diff(q)  # Σ ℓ q^ℓ, Σ ℓ² q^(ℓ-1)
keep = {q: rho**2}
bare = twice.subs(keep)  # of weights ρ^ℓ
gated = plain - 2 * (1 - rho) / rho * once + (1 - rho) ** 2 * twice
gated = sp.factor(gated.subs(keep))  # of weights (1-ρ) ρ^ℓ
variance = plain.subs(keep)
relative = {"without": bare / variance, "with": gated / (variance * (1 - rho) ** 2)}
prove_sharp(
    "sharpness",
    r"$E(\partial x/\partial\rho)^2$ is $(1+\rho^2)/(1-\rho^2)^3$, and "
    r"$2/((1-\rho)(1+\rho)^3)$ with the factor; limits $\frac14$",
    sp.simplify(bare - (1 + rho**2) / (1 - rho**2) ** 3),
    sp.simplify(gated - 2 / ((1 - rho) * (1 + rho) ** 3)),
    sp.limit(bare * (1 - rho) ** 3, rho, 1) - sp.Rational(1, 4),
    sp.limit(gated * (1 - rho), rho, 1) - sp.Rational(1, 4),
)
prove_sharp(
    "nothing-gained",
    r"over the variance of $x$ both grow as $\frac12(1-\rho)^{-2}$, and with "
    "the factor the ratio is the larger one",
    *(
        sp.limit(ratio * (1 - rho) ** 2, rho, 1) - sp.S.Half
        for ratio in relative.values()
    ),
    sp.simplify(relative["with"] - relative["without"] - 1 / (1 - rho**2)),
)
for name, ratio in relative.items():
    at = float(ratio.subs(rho, sp.Rational(97, 100)))
    chapter.number(f"sharp-{name}", at, f"{at:.0f}")

# %% [markdown]
# At $\rho = 97/100$ the relative sharpness is
# {result}`closed-loop/sharp-without` without the factor. With it, it is
# {result}`closed-loop/sharp-with`. The factor tames the scale. It does not tame
# the sharpness.
#
# The *sigmoid* does. What learns is $a$, with $g = \sigma(a)$, and a step of $a$
# moves a slow gate by little: $\mathrm dg/\mathrm da = g(1-g)$. Squared, this
# has two factors $g = 1 - \rho$, which cancel the two factors $1/(1-\rho)$ of
# the relative sharpness.
#
# :::{prf:proposition} The sigmoid tames
# :label: prop-sigmoid
#
# In terms of the pre-activation $a$ the relative sharpness is
# $2\rho^2/(1+\rho)^2$ with the factor $g$, and
# $\rho^2(1+\rho^2)/(1+\rho)^2$ without. Both stay below $\tfrac12$ for
# every memory, however long.
# :::

# %%
slope = (rho * (1 - rho)) ** 2  # (dg/da)²
in_a = {name: sp.factor(ratio * slope) for name, ratio in relative.items()}
z = sp.Symbol("z", positive=True)
gaps = [(sp.S.Half - ratio).subs(rho, 1 / (1 + z)) for ratio in in_a.values()]
prove_sharp(
    "sigmoid",
    r"by $a$ the relative sharpness is $2\rho^2/(1+\rho)^2$ with the factor, "
    r"$\rho^2(1+\rho^2)/(1+\rho)^2$ without; both are below $\frac12$",
    sp.simplify(in_a["with"] - 2 * rho**2 / (1 + rho) ** 2),
    sp.simplify(in_a["without"] - rho**2 * (1 + rho**2) / (1 + rho) ** 2),
    *(sp.factor(gap).is_positive for gap in gaps),
)
kept_most, T = 0.97, 800
impulses = closed_loop.features(1.0, 1 - kept_most, torch.eye(T, dtype=torch.float64))
by_a, state = impulses["pre-activation"], impulses["state"]
measured = float((by_a**2).sum() / (state**2).sum())
expected = float(in_a["with"].subs(rho, sp.Float(kept_most)))
chapter.check(
    "sigmoid-library",
    "the library's derivative by the pre-activation, squared and summed over the "
    "responses to an impulse at each step, relative to the output's, is "
    r"$2\rho^2/(1+\rho)^2$",
    abs(measured / expected - 1),
    1e-6,
    claim="C19",
    scope="ρ = 0.97, T = 800",
)

# %% tags=["hide-input"]
steps_kept = np.logspace(0.3, 3, 60)
curves = {"no factor, by ρ": bare, "factor g, by ρ": gated}
ratios = {"no factor, by ρ": relative["without"], "factor g, by ρ": relative["with"]}
ratios["factor g, by a"] = in_a["with"]
panels = {"absolute": curves, "relative to the output's variance": ratios}
rows = [
    (panel, name, steps, float(value))
    for panel, lines in panels.items()
    for name, line in lines.items()
    for steps, value in zip(
        steps_kept, sp.lambdify(rho, line)(1 - 1 / steps_kept), strict=True
    )
]
sharp = pd.DataFrame(rows, columns=["panel", "neuron", "memory", "sharpness"])
with figures.style():
    look = {"kind": "line", "col": "panel", "hue": "neuron", "style": "neuron"}
    look |= {"palette": figures.CYCLE[:3], "height": 2.9, "aspect": 1.05}
    grid = sns.relplot(sharp, x="memory", y="sharpness", **look)
    grid.set(xscale="log", yscale="log").set_titles("{col_name}")
    grid.set_axis_labels(r"memory $1/(1-\rho)$ in steps", "sharpness")
    grid.legend.set_title("")
chapter.figure("loop-sharpness", grid.figure, sharp)

# %% [markdown]
# :::{figure} /artifacts/closed-loop/figures/loop-sharpness.svg
# :name: fig-loop-sharpness
# :alt: Two panels on logarithmic axes, sharpness over memory. On the left a
# :  steep line without the factor and a flat one with it. On the right these
# :  two lie on each other and rise together, and a third one, by the
# :  pre-activation, is flat.
#
# The factor $g$ tames the scale, the sigmoid tames the sharpness. *Left*:
# expected squared derivative of the state by $\rho$. *Right*: the same over
# the variance of the state, where the factor makes no difference, and by the
# pre-activation $a$, where it stays below one half.
# :::
#
# ## The other gate that is called a learning rate
#
# There is another literature in which a gate *is* a learning rate, and it means
# something else. Read the update as a step of gradient descent on the *state*.
# With the target $\varphi$ held fixed,
#
# $$
# x + g\,(\varphi - x) = x - g\, \nabla_x\, \tfrac12 \lVert x - \varphi
# \rVert^2 .
# $$ (eq-state-step)
#
# The state is what learns, the candidate is its target, and $g$ is the rate.
# With a gate for each neuron the rate is $\operatorname{diag}(g)$.
#
# Fast-weight networks do the same with a matrix $S$ that stores pairs of a key
# $k$ and a value $v$. What is stored under a key is read as $S k$. The *delta
# rule* is a step at the rate $\beta$ on $\tfrac12 \lVert S k - v \rVert^2$.
# Gated DeltaNet {cite}`yang2025gateddelta` takes that step from a state that has
# decayed first, $\alpha S$. Longhorn {cite}`liu2025longhorn` takes it
# implicitly: the new $S$ is the one that best trades the old $S$ against the new
# pair. The rate that comes out is $\beta/(1 + \beta \lVert k \rVert^2)$. However
# large $\beta$ is, such a step does not overshoot its target. (The published
# layer then keeps only the diagonal of $k k^\top$.) In both papers $\beta_t$ is
# computed from the input, as a learned gate is.

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the algebra"}
beta, alpha = sp.symbols("beta alpha", positive=True)
S, new = (sp.Matrix(2, 2, sp.symbols(f"{name}_1:5")) for name in ("S", "N"))
key, value = (sp.Matrix(sp.symbols(f"{name}_1:3")) for name in ("k", "v"))
states, phi, gate = (sp.Matrix(sp.symbols(f"{n}_1:3")) for n in ("x", "varphi", "g"))


def gradient(loss: sp.Expr, by: sp.Matrix) -> sp.Matrix:
    return by.applyfunc(lambda entry: loss.diff(entry))


def miss(S: sp.Matrix) -> sp.Expr:
    """Half the squared error of what is stored under the key."""
    return ((S * key - value).T * (S * key - value))[0] / 2


one_step = states - sp.diag(*gate) * gradient(
    (states - phi).dot(states - phi) / 2, states
)
decayed = gradient(miss(S), S).subs(
    dict(zip(S, alpha * S, strict=True)), simultaneous=True
)
published = S * alpha * (sp.eye(2) - beta * key * key.T) + beta * value * key.T
implicit = beta / (1 + beta * key.dot(key))
longhorn = S * (sp.eye(2) - implicit * key * key.T) + implicit * value * key.T
trade = ((new - S).T * (new - S)).trace() / 2 + beta * miss(new)
stationary = gradient(trade, new).subs(dict(zip(new, longhorn, strict=True)))
chapter.prove(
    "state-step",
    r"$x + g(\varphi - x)$ is a gradient step at the rate $\operatorname{diag}(g)$ "
    r"on $\frac12\|x - \varphi\|^2$",
    sp.expand(one_step - (states + gate.multiply_elementwise(phi - states))),
    claim="C20",
    scope="n = 2",
)
chapter.prove(
    "delta-rule",
    r"gated DeltaNet's update is a step at the rate $\beta$ on "
    r"$\frac12\|Sk - v\|^2$ from $\alpha S$; Longhorn's minimises "
    r"$\frac12\|N - S\|^2 + \frac\beta2\|Nk - v\|^2$ over the new state $N$",
    sp.expand(alpha * S - beta * decayed - published),
    sp.simplify(stationary),
    claim="C20",
    scope="2 × 2 states",
)

# %% [markdown]
# The two senses have one number in common. By {prf:ref}`thm-past` the state is a weighted
# record of candidates, and the weight of $\varphi_k$ in $x_t$ is
# $g_k P_{t,k}$. By {prf:ref}`thm-effective-rates` the effective learning rate
# of that step is $\mu\, g_k P_{t,k}$. At order 0 the weights learn from step $k$
# in proportion to what the state still holds of it.

# %%
model, inputs, _ = agreement.random_case("multi", 6, 2, 30, device=chapter.device)
with torch.no_grad():
    run = model.run(inputs)
    weighed = sum(
        rates.effective(run, 1.0, lag)[-1] * run.phi[29 - lag] for lag in range(30)
    )
chapter.check(
    "same-number",
    "the last state is the sum of the candidates, each times the effective "
    "learning rate of its step at μ = 1: random gates, one for each neuron",
    agreement.discrepancy(weighed, run.x[-1]),
    1e-13,
    claim="C20",
    scope="n = 6, T = 30",
)

# %% [markdown]
# They differ in nearly all else.
#
# | asked | rate of the state, $g_t$ or $\beta_t$ | effective rate, $\mu\,g_k P_{t,k}$ |
# |:---|:---|:---|
# | what moves | the state | the weights |
# | when | at each step, after training too | at each update of training |
# | towards | this step's candidate or value | a lower loss |
# | direction in time | forwards | the loss at $t$, back to step $k$ |
# | exact | always | at order 0 |
#
# ## Try it
#
# *An impatient teacher.* Let the teacher have $g^* = \tfrac12$ and the neuron
# start at $g = \tfrac1{10}$, with the weights at 1. Will the rate of lag 4 rise
# first and then fall, as in {numref}`fig-loop-rates`? Predict with
# {eq}`eq-turn` before you run it.
#
# :::{admonition} Solution
# :class: dropdown
#
# Now the gate opens, from one tenth to one half, so $\dot g > 0$. By
# {eq}`eq-turn` the rate of lag 4 grows as long as $g < \tfrac15$ and falls from
# there on. So the answer is yes. A lag's rate is largest when the gate passes the
# value matched to that lag, and it does not matter whether the gate is opening or
# closing. What differs is the pace. The gate's speed has the factor
# $\big(g(1-g)\big)^2$, so a nearly closed gate is slow to open.
# :::
#
# ## What was checked

# %% tags=["hide-input"]
chapter.validation()

# %% [markdown]
# :::{table-file} /artifacts/closed-loop/tables/closed-loop-validation.csv
# :name: tab-closed-loop-validation
#
# The checks of this chapter: the closed loop (C18 and C11), sharpness (C19) and
# the rate of the state (C20).
# :::
#
# ## In two sentences
#
# In one neuron, a gate that learns turns the direction along which the weight
# learns, and gives every lag a learning-rate schedule. Its factor $g$ does not
# make a long memory less sharp relative to the output; its sigmoid does.

# %% tags=["remove-cell"]
chapter.close()
