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
# A gated network looks like an engineer's trick: a second small network decides, at every step, how much of the
# memory is rewritten. This chapter takes the long way round and finds that nothing was invented. Start from a
# neuron that leaks, as physics has it; look at it once a step; let its clock run fast or slow: a gate is what you
# get.
#
# The paper that this book follows closely traces what gates do to learning to "the coupling between state-space
# time scales—parametrized by the gates—and parameter-space dynamics during gradient descent"
# {cite}`livi2025timescale`. This chapter is about the words between the dashes. It proves claims C1 and C10 of the
# {ref}`notation page <notation>`, and everything it says, a cell below checks: SymPy {cite}`meurer2017sympy` does
# the algebra in front of you, and the ledger at the end keeps the score.

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters"}
profile = "ci"
seeds = 3  # independent networks in the numerical check
device = "auto"
out = "../artifacts/draft/01-time-scales"
steps = [0.2, 0.5, 1.0, 1.5]  # the four steps Δ/τ of the first figure
gates = [0.3, 0.03, 0.003]  # constant gates to compare at every lag
longest_lag = 1000

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the imports, and how this chapter proves"}
from itertools import accumulate

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sympy as sp
import torch
from gatelr import cells, symbolic
from gatelr.record import devices, figures, ledger
from IPython.display import Markdown, display

record = ledger.Ledger(
    "01-time-scales",
    "Time-scales: from a differential equation to a gate",
    out,
    {
        "profile": profile,
        "seeds": seeds,
        "device": device,
        "steps": steps,
        "gates": gates,
        "longest_lag": longest_lag,
    },
)


sp.init_printing(use_latex="mathjax", ln_notation=True)


def zero(expression: sp.Expr) -> bool:
    """Whether SymPy can show that an expression vanishes identically."""
    return sp.simplify(expression) == 0


def prove(
    name: str, statement: str, *facts: bool, claim: str = "C1", note: str = ""
) -> None:
    """Put a statement on record as proved if all its facts hold; what SymPy cannot decide does not hold."""
    record.check(name, claim, statement, all(facts), kind="symbolic", note=note)


def show(name: str, *values: sp.Expr) -> None:
    """Print ``name = value`` as mathematics."""
    for value in values:
        display(sp.Eq(sp.Symbol(f"{{{name}}}"), value, evaluate=False))


# %% [markdown]
# ## A neuron that leaks
#
# Leave a neuron alone and its state decays; drive it and its state creeps towards the drive:
#
# $$ \tau\,\dot x = -x + \varphi(a). $$ (eq-ode)
#
# Here $x$ is the state, $\varphi(a)$ the **candidate** it is pulled towards, and $\tau$ the **time-scale**: what is
# left of an old state after a time $\tau$ is a fraction $1/e$ of it. A computer visits the neuron once every
# $\Delta$. There are two honest ways to step from one visit to the next.
#
# *Forward Euler* draws the tangent at the start and follows it for a time $\Delta$. The *exponential integrator*
# {cite}`hochbruck2010exponential` freezes only the candidate over the step and solves the rest exactly. Both give
# the **leaky integrator** {cite}`jaeger2007leaky`, and only the number $\alpha$ differs.
#
# :::{prf:theorem} Discretisation
# :label: thm-discretisation
#
# One step $\Delta$ of {eq}`eq-ode` with the candidate $\varphi$ held at its value at the start is
#
# $$ x_t = (1-\alpha)\,x_{t-1} + \alpha\,\varphi, $$ (eq-leaky)
#
# where forward Euler has $\alpha = \Delta/\tau$ and the exponential integrator has $\alpha = 1 - e^{-\Delta/\tau}$.
# :::
#
# The proof is one line for Euler and one call of `dsolve` for the other. In this chapter `zero` asks SymPy to
# simplify a difference to 0, `prove` writes the answer into the ledger, and ✓ under a cell says that it was yes.

# %%
tau, Delta, t = sp.symbols("tau Delta t", positive=True)
x_0, phi = sp.symbols("x_0 varphi", real=True)
x = sp.Function("x")


def leaky(alpha: sp.Expr) -> sp.Expr:
    """The leaky integrator's step from x_0."""
    return (1 - alpha) * x_0 + alpha * phi


euler = x_0 + Delta * (-x_0 + phi) / tau  # the start, plus Δ times the slope there
solution = sp.dsolve(tau * x(t).diff(t) + x(t) - phi, x(t), ics={x(0): x_0})
exponential = solution.rhs.subs(t, Delta)

display(solution)
show(r"\alpha_{\mathrm{Euler}}", sp.expand(euler).coeff(phi))
show(r"\alpha_{\mathrm{exp}}", sp.expand(exponential).coeff(phi))
prove(
    "euler-update",
    r"Forward Euler is the leaky update with $\alpha = \Delta/\tau$",
    zero(euler - leaky(Delta / tau)),
)
prove(
    "exponential-update",
    r"The exponential integrator is one with $\alpha = 1 - e^{-\Delta/\tau}$",
    zero(exponential - leaky(1 - sp.exp(-Delta / tau))),
)

# %% [markdown]
# ## How far do the two agree?
#
# Only the ratio $h = \Delta/\tau$ matters, the step measured in time-scales. Both numbers start as $h$. The
# difference is of second order, and it has a sign: Euler always writes *more* than the neuron would. The sign
# follows from a lemma about logarithms so useful that this chapter needs it three times.
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
# All three vanish at $u = 0$, and the slopes obey the same order for $u>0$. The cell computes the two differences
# of slopes and asks SymPy for their sign.
# :::
#
# Put $h = \ln(1+u)$, which reaches every $h>0$ as $u$ runs through the positive numbers. Then Euler's $\alpha$ *is*
# the logarithm and the exponential integrator's is the left side, $u/(1+u)$: so $\alpha_{\mathrm{exp}} <
# \alpha_{\mathrm{Euler}}$, whatever the step.

# %%
h, u = sp.symbols("h u", positive=True)

below = sp.log(1 + u) - u / (1 + u)
above = u - sp.log(1 + u)
show(r"\frac{d}{du}\left[\ln(1+u) - \frac{u}{1+u}\right]", sp.factor(below.diff(u)))
show(r"\frac{d}{du}\left[u - \ln(1+u)\right]", sp.factor(above.diff(u)))
prove(
    "logarithm-lemma",
    r"$u/(1+u) < \ln(1+u) < u$ for all $u > 0$",
    below.subs(u, 0) == above.subs(u, 0) == 0,
    sp.factor(below.diff(u)).is_positive,
    sp.factor(above.diff(u)).is_positive,
    note="equal at 0, and each gap has a positive slope",
)

half = sp.Rational(1, 2)
a_euler, a_exp = h, 1 - sp.exp(-h)
apart = sp.series(a_euler - a_exp, h, 0, 4)
show(r"\alpha_{\mathrm{Euler}} - \alpha_{\mathrm{exp}}", apart)
prove(
    "order-of-agreement",
    r"The two $\alpha$ differ by $h^2/2 - h^3/6 + O(h^4)$",
    zero(apart.removeO() - (h**2 / 2 - h**3 / 6)),
)
prove(
    "euler-overshoots",
    r"$\alpha_{\mathrm{exp}} = u/(1+u)$ where $\alpha_{\mathrm{Euler}} = \ln(1+u)$",
    zero(a_euler.subs(h, sp.log(1 + u)) - sp.log(1 + u)),
    zero(a_exp.subs(h, sp.log(1 + u)) - u / (1 + u)),
    note="with the lemma: Euler's is the larger for every step",
)

# %% [markdown]
# An error of second order in each step, made $1/h$ times in a unit of time, leaves an error of first order in the
# trajectory. To see it, drive the neuron with something whose answer is known: a candidate that stands still, and
# one that moves.

# %% tags=["hide-input"]
s = sp.symbols("s", nonnegative=True)  # time in units of τ
drives = {"constant": sp.Integer(1), "moving": sp.sin(s)}
step_sizes = 0.5 ** np.arange(2, 13)
rows = []
for drive, candidate in drives.items():
    known = sp.dsolve(sp.Eq(x(s).diff(s), candidate - x(s)), x(s), ics={x(0): 0}).rhs
    exact, drawn = sp.lambdify(s, known), sp.lambdify(s, candidate)
    for step in step_sizes:
        visits = np.arange(round(4 / step) + 1) * step
        held = np.broadcast_to(drawn(visits[:-1]), visits[:-1].shape).tolist()
        for method, alpha in (("Euler", step), ("exponential", -np.expm1(-step))):
            path = accumulate(
                held,
                lambda state, phi, alpha=alpha: (1 - alpha) * state + alpha * phi,
                initial=0.0,
            )
            worst = float(np.abs(np.fromiter(path, float) - exact(visits)).max())
            rows.append((f"{method}, {drive}", step, worst))
errors = pd.DataFrame(rows, columns=["curve", "step", "error"])
one_step = pd.DataFrame(
    {
        "curve": "difference of α",
        "step": step_sizes,
        "error": step_sizes + np.expm1(-step_sizes),
    }
)
trajectories = {
    name: errors[errors["curve"] == name]
    for name in ("exponential, moving", "Euler, moving", "Euler, constant")
}


def order(points: pd.DataFrame) -> float:
    """Slope on log-log axes over the four smallest steps, where the leading order is all that is left."""
    small = points.nsmallest(4, "step")
    return float(np.polyfit(np.log(small["step"]), np.log(small["error"]), 1)[0])


record.check(
    "local-order",
    "C1",
    r"The two $\alpha$ differ with slope 2 in $h$: distance from 2",
    abs(order(one_step) - 2),
    2e-3,
)
for name, points in trajectories.items():
    record.check(
        "global-order-" + name.replace(", ", "-").lower(),
        "C1",
        f"The trajectory's error has slope 1 in $h$ ({name} candidate): distance from 1",
        abs(order(points) - 1),
        1e-2,
    )
rounding = float(errors.loc[errors["curve"] == "exponential, constant", "error"].max())
record.check(
    "exponential-exact",
    "C1",
    "Under a constant candidate the exponential integrator makes no error",
    rounding,
    1e-12,
)

with figures.style():
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(7.2, 3.5), width_ratios=[1, 1.05]
    )
    left.loglog(one_step["step"], one_step["step"] ** 2 / 2, color=figures.GRID, lw=4)
    left.loglog(one_step["step"], one_step["error"], "o-", color=figures.INK, lw=1)
    left.annotate(
        "one step: $h^2/2$", (2**-7, 2**-15), (8, -10), textcoords="offset points"
    )
    for (name, points), colour, marker in zip(
        trajectories.items(), figures.CYCLE, "^sD", strict=False
    ):
        constant = points["error"] / points["step"]
        left.loglog(
            points["step"], points["error"], marker=marker, color=colour, lw=1, ms=3.5
        )
        right.semilogx(points["step"], constant, marker=marker, color=colour)
        at = (points["step"].min(), constant.iloc[-1])
        right.annotate(
            f"{name} candidate", at, (0, 6), textcoords="offset points", color=colour
        )
    left.annotate(
        "a trajectory: slope 1",
        (2**-7, 2**-9),
        (0, 12),
        textcoords="offset points",
        ha="right",
    )
    left.set(
        title="Orders are slopes", xlabel=r"step $h = \Delta/\tau$", ylabel="error"
    )
    right.set(title="What stands before the order", xlabel=r"step $h = \Delta/\tau$")
    right.set(ylabel="error of the trajectory / $h$", ylim=(0, None))
display(
    figures.save(
        figure,
        "order-of-agreement",
        pd.concat([one_step, errors], ignore_index=True),
        caption=r"""Euler against the exponential integrator. *Left*: in one step their $\alpha$ differ by $h^2/2$ (dots
        on the grey line); along four time-scales each method's worst error is of first order. *Right*: the same
        errors divided by $h$. One curve is missing, because it would be rounding alone: the exponential integrator
        under a constant candidate.""",
        alt="""Left: on log-log axes, dots on the line h squared over two, and three nearly parallel lines of slope one
        above them. Right: the errors divided by h, three almost flat lines; the exponential integrator with a moving
        candidate lies highest, Euler with a constant candidate lowest.""",
        chapter=record.chapter,
        out=out,
    )
)
leading = {
    name: float((points["error"] / points["step"]).iloc[-1])
    for name, points in trajectories.items()
}
record.check(
    "euler-closer-when-moving",
    "C1",
    "Under the moving candidate Euler comes closer: its error over the exponential integrator's",
    leading["Euler, moving"] / leading["exponential, moving"],
    1.0,
)
exp_moves, euler_moves, still = (
    record.number("error-" + name.replace(", ", "-").lower(), value, f"{value:.2f}")
    for name, value in leading.items()
)
Markdown(
    f"""{{numref}}`fig-order-of-agreement` holds a small surprise. Under a candidate that stands still the exponential
integrator is exact, and Euler errs by {still} $h$. Under this moving one it is Euler that comes closer,
{euler_moves} $h$ against {exp_moves} $h$: both are late because they hold the candidate back, and Euler's overshoot
makes up for a part of it. To be exact about the leak is not to be exact about the rest. What the exponential integrator
buys is something else, and comes next."""
)

# %% [markdown]
# ## Which numbers may α be?
#
# {eq}`eq-leaky` is an average of the old state and the candidate only while both weights are at least zero and
# something is written, $0 < \alpha \le 1$. An average cannot leave the range of what it averages: with $\varphi =
# \tanh$, states that start in $[-1, 1]$ stay there. Beyond 1, the old state comes back with the wrong sign: the
# neuron swings around its target. The swing dies out up to $\alpha = 2$ and grows from there. The exponential
# integrator cannot go there at all: for every step and every time-scale its $\alpha$ lies strictly between 0 and 1.

# %%
alpha = sp.symbols("alpha", real=True)
kept = 1 - alpha  # what a step without a candidate multiplies the state by

average = sp.reduce_inequalities([alpha > 0, kept >= 0], alpha).as_set()
decays = sp.solveset(sp.Abs(kept) < 1, alpha, sp.Reals)
grows = sp.solveset(sp.Abs(kept) > 1, alpha, sp.Reals)
swings = sp.solveset(kept < 0, alpha, sp.Reals)
show(r"\text{average}", average)
show(r"\text{swings, yet decays}", swings & decays)
prove(
    "alpha-average",
    r"The update is an average exactly for $\alpha \in (0, 1]$",
    average == sp.Interval.Lopen(0, 1),
)
prove(
    "alpha-stable",
    r"The leak decays exactly for $\alpha \in (0, 2)$, "
    r"swings beyond 1, and grows beyond 2",
    decays == sp.Interval.open(0, 2),
    swings & decays == sp.Interval.open(1, 2),
    sp.Interval.open(2, sp.oo).is_subset(grows),
)

v, w = sp.symbols("v w", nonnegative=True)  # how far state and candidate are below 1
some_alpha = u / (1 + u)  # any number in (0, 1)
prove(
    "alpha-bounded",
    r"States and candidates of at most 1 make a state of at most 1",
    sp.factor(1 - ((1 - some_alpha) * (1 - v) + some_alpha * (1 - w))).is_nonnegative,
    note="change all signs for -1; at α = 1 the new state is the candidate",
)

written = sp.simplify(a_exp.subs(h, sp.log(1 + u)))  # u > 0 reaches every h > 0
prove(
    "exponential-range",
    r"$0 < 1 - e^{-h} < 1$ for every $h > 0$",
    written.is_positive,
    sp.simplify(1 - written).is_positive,
)

# %% [markdown]
# So the book keeps $\alpha$, and later every gate, in $(0, 1]$. At $\alpha = 1$ nothing is kept and the leaky
# integrator is the vanilla network.
#
# ## How long is the memory?
#
# Without a candidate $t$ steps leave $(1-\alpha)^t$ of a state. The **memory constant** $\tau_{\mathrm{mem}}$ is
# the number of steps that leave $1/e$.
#
# :::{prf:theorem} Memory constant
# :label: thm-memory
#
# For $0 < \alpha < 1$
#
# $$ \tau_{\mathrm{mem}} = \frac{-1}{\ln(1-\alpha)}. $$ (eq-memory)
#
# For the exponential integrator this is $\tau/\Delta$ exactly, the time-scale counted in steps. For forward Euler
# it is $\tau/\Delta - \tfrac12 - O(\Delta/\tau)$, at least half a step short when steps are fine. It falls to 0 as
# $\alpha \to 1$ and grows as $1/\alpha - \tfrac12$ as $\alpha \to 0$.
# :::
#
# The cell proves it, and {numref}`fig-impulse-responses` below shows all of this at once: the candidate is 1 during
# one step and 0 ever after.

# %%
steps_left, a = sp.symbols(r"tau_mem alpha", positive=True)
(tau_mem,) = sp.solve(sp.Eq((1 - a) ** steps_left, sp.exp(-1)), steps_left)
of_euler, of_exp = (sp.simplify(tau_mem.subs(a, value)) for value in (a_euler, a_exp))

show(r"\tau_{\mathrm{mem}}", tau_mem)
show(r"\tau_{\mathrm{mem}}^{\mathrm{exp}}", of_exp)
show(r"\tau_{\mathrm{mem}}^{\mathrm{Euler}}", sp.series(of_euler, h, 0, 3))
prove(
    "memory-constant",
    r"$(1-\alpha)^t = 1/e$ at $t = -1/\ln(1-\alpha)$",
    zero(tau_mem + 1 / sp.log(1 - a)),
)
prove(
    "memory-exponential",
    r"The exponential integrator remembers $\tau/\Delta$ steps, exactly",
    zero(of_exp - 1 / h),
)
prove(
    "memory-euler",
    r"Euler remembers $1/h - 1/2 - h/12 + O(h^2)$ steps",
    zero(sp.series(of_euler, h, 0, 2).removeO() - (1 / h - half - h / 12)),
)
prove(
    "memory-limits",
    r"$\tau_{\mathrm{mem}} \to 0$ as $\alpha \to 1$; "
    r"$\tau_{\mathrm{mem}} - 1/\alpha \to -1/2$ as $\alpha \to 0$",
    sp.limit(tau_mem, a, 1, "-") == 0,
    sp.limit(tau_mem - 1 / a, a, 0, "+") == -half,
)

# %% tags=["hide-input"]
count = 10
lag = np.arange(count + 1)
fine = np.linspace(0, count, 401)
# While the candidate is 1 the neuron rises towards it, afterwards it decays: the exact solution of the equation.
rows, panels = [], []
for step in steps:
    ode = np.where(
        fine <= 1,
        -np.expm1(-fine * step),
        -np.expm1(-step) * np.exp(-(fine - 1) * step),
    )
    values = {}
    for method, weight in (("Euler", step), ("exponential", -np.expm1(-step))):
        values[method] = np.array(
            [0.0] + [weight * (1 - weight) ** k for k in range(count)]
        )
        rows += [
            (step, method, weight, k, v)
            for k, v in zip(lag, values[method], strict=True)
        ]
    rows += [
        (step, "differential equation", np.nan, k, v)
        for k, v in zip(fine, ode, strict=True)
    ]
    panels.append((step, ode, values))
responses = pd.DataFrame(rows, columns=["step", "method", "alpha", "time", "state"])
on_grid = max(
    np.abs(values["exponential"] - ode[:: len(fine) // count]).max()
    for _, ode, values in panels
)
record.check(
    "impulse-on-the-grid",
    "C1",
    "At every visit the exponential integrator's impulse response is the neuron's: largest difference",
    on_grid,
    1e-14,
)

with figures.style():
    figure, grid = plt.subplots(
        2, -(-len(steps) // 2), figsize=(7.2, 4.6), sharex=True, squeeze=False
    )
    blue, vermilion = figures.CYCLE[:2]
    for axes in grid.flat[len(steps) :]:
        axes.set_visible(False)
    for axes, (step, ode, values) in zip(grid.flat, panels, strict=False):
        low, high = min(0, values["Euler"].min()), values["Euler"].max()
        axes.axhline(0, color=figures.MUTED, lw=0.8)
        axes.plot(fine, ode, color=blue, lw=1.4)
        axes.plot(lag, values["exponential"], "o", color=blue)
        axes.plot(lag, values["Euler"], "s:", color=vermilion, lw=1)
        axes.set(ylim=(low - 0.08 * high, 1.15 * high))
        axes.set_title(f"Δ/τ = {step:g}")
    for axes in grid[-1]:
        axes.set_xlabel(r"time in steps, $t/\Delta$")
    for axes in grid[:, 0]:
        axes.set_ylabel("state $x$")
    last, (step, _, values) = grid.flat[len(steps) - 1], panels[-1]
    last.annotate(
        "Euler", (1, step), (8, -6), textcoords="offset points", color=vermilion
    )
    last.annotate(
        "neuron (line) and\nexponential integrator (dots)",
        (2, values["exponential"][2]),
        (0.36, 0.62),
        textcoords="axes fraction",
        color=blue,
        arrowprops={"arrowstyle": "-", "color": blue, "lw": 0.8, "shrinkB": 4},
    )
figures.save(
    figure,
    "impulse-responses",
    responses,
    caption=r"""Response of the leaky neuron to a candidate that is 1 during the first step and 0 afterwards, for four
    steps $\Delta/\tau$. The exponential integrator (dots) is on the differential equation's solution (line) at every
    visit. Euler (squares) writes too much and forgets too fast; at $\Delta/\tau = 1$ it keeps nothing, and beyond it
    swings through zero.""",
    alt="""Four panels of decaying curves. With a short step Euler's squares lie close above the smooth curve; with a
    longer step they start higher and fall faster; at a step of one time-scale they drop to zero at once; at one and a
    half they jump to one and a half and alternate in sign. The exponential integrator's dots stay on the curve.""",
    chapter=record.chapter,
    out=out,
)

# %% [markdown]
# ## Let the clock run
#
# A recording may be played fast or slow, and the same neuron should still understand it. Give it a clock: at
# outside time $t$ its own time is $s(t)$, which runs at the speed $c(t) = s'(t) > 0$. Tallec and Ollivier
# {cite}`tallec2018warp` saw what this does to {eq}`eq-ode`: the speed becomes a factor in front, and after
# discretisation the factor is a gate.
#
# :::{prf:theorem} A gate is a time warp
# :label: thm-warp
#
# A neuron on the clock $s(t)$ obeys $\tau\dot x = c(t)\,(\varphi - x)$. With the candidate held over a step, the
# state moves as
#
# $$
# \begin{aligned}
# x_t &= (1-g_t)\,x_{t-1} + g_t\,\varphi,\\
# g_t &= 1 - e^{-\bar c_t \Delta/\tau},
# \end{aligned}
# $$ (eq-gate)
#
# exactly, where $\bar c_t$ is the clock's mean speed over the step. Gates in $(0, 1)$ and speeds in $(0, \infty)$
# correspond one to one, $\bar c_t = -\tfrac{\tau}{\Delta}\ln(1-g_t)$. If the gate is a sigmoid, $g_t = \sigma(z)$,
# the speed is a softplus:
#
# $$ \bar c_t = \tfrac{\tau}{\Delta}\,\ln(1 + e^{z}). $$ (eq-softplus)
# :::
#
# With forward Euler instead, $g_t = c_t\Delta/\tau$, and keeping the gate below 1 sets the clock a speed limit of
# $\tau/\Delta$.

# %%
clock = sp.Function("s")(t)
warped = solution.rhs.subs(t, clock)  # the neuron's solution, read off its own clock
prove(
    "warped-equation",
    r"On the clock $s(t)$ the neuron obeys $\tau\dot x = s'(t)\,(\varphi - x)$",
    zero(tau * warped.diff(t) - clock.diff(t) * (phi - warped)),
)

start, c = sp.symbols("s_0 c", positive=True)  # the clock at the start, its speed
before, after = (solution.rhs.subs(t, time) for time in (start, start + c * Delta))
gate = 1 - sp.exp(-c * Delta / tau)
prove(
    "warp-is-gate",
    r"One step is the gated update with $g = 1 - e^{-\bar c\Delta/\tau}$",
    zero(after - ((1 - gate) * before + gate * phi)),
    note="for any clock: only its mean speed over the step counts",
)
prove(
    "warp-euler",
    r"With forward Euler one step is the gated update with $g = c\Delta/\tau$",
    zero(x_0 + Delta * c * (phi - x_0) / tau - leaky(c * Delta / tau)),
)

# %%
g, z = sp.symbols("g", positive=True), sp.symbols("z", real=True)
speed = -tau * sp.log(1 - g) / Delta
show(r"\bar c", speed)
prove(
    "gate-speed",
    r"Gates in $(0, 1)$ and speeds in $(0, \infty)$ correspond one to one, "
    r"and rise together",
    zero(gate.subs(c, speed) - g),
    gate.diff(c).is_positive,
    gate.subs(c, 0) == 0,
    sp.limit(gate, c, sp.oo) == 1,
)

sigmoid, softplus = symbolic.sigmoid(z).rewrite(sp.exp), sp.log(1 + sp.exp(z))
show(r"-\ln(1-\sigma(z))", sp.simplify(-sp.log(1 - sigmoid)))
prove(
    "softplus",
    r"$-\ln(1-\sigma(z)) = \ln(1+e^z)$, which nears $e^z$ "
    r"as $z \to -\infty$ and is unbounded",
    zero(-sp.log(1 - sigmoid) - softplus),
    sp.limit(softplus / sp.exp(z), z, -sp.oo) == 1,
    sp.limit(softplus, z, sp.oo) == sp.oo,
)
prove(
    "softplus-memory",
    r"A sigmoid gate's memory constant is $1/\ln(1+e^z)$",
    zero(1 / tau_mem.subs(a, sigmoid) - softplus),
)

# %% [markdown]
# Read {eq}`eq-softplus` once more: *the pre-activation of a sigmoid gate sets the speed of a clock*. The clock is
# slow for $z \ll 0$, where its speed is close to $e^{z}$ time-scales a step, and has no upper limit. At each moment
# the memory constant is $1/\ln(1+e^{z})$ steps. State-space models use the same softplus for their step, and Gu and
# Dao {cite}`gu2023mamba` prove that their selective recurrence, in its simplest form, is this very gate.
#
# ## What the state remembers
#
# A state is a weighted record of everything ever written. For a constant gate $g$ the weights have a closed form.
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
# By induction. At $t = 0$ the sum is empty. A step multiplies all weights by $1-g$, which must turn the weight of
# each $\varphi_k$ at $t$ into its weight at $t+1$, and it adds $\varphi_{t+1}$ with weight $g$, which must be the
# newest one's. SymPy does not merge two sums with different limits, so the cell compares them summand by summand.
# :::

# %%
T, k = sp.symbols("t k", integer=True, positive=True)


def weight(t: sp.Expr, k: sp.Expr) -> sp.Expr:
    """What of the candidate written at step k is left at step t."""
    return g * (1 - g) ** (t - k)


prove(
    "past-induction",
    r"$x_t = \sum_k g(1-g)^{t-k}\varphi_k + (1-g)^t x_0$",
    (1 - g) ** sp.Integer(0) == 1,  # at t = 0 there is only the initial state
    zero((1 - g) * (1 - g) ** T - (1 - g) ** (T + 1)),  # and its weight at t + 1
    zero((1 - g) * weight(T, k) - weight(T + 1, k)),  # the old candidates
    zero(g - weight(T + 1, T + 1)),  # the new one
    note="induction over t, summand by summand",
)
total = sp.simplify(sp.summation(weight(T, k), (k, 1, T)))
show(r"\sum_{k=1}^{t} g(1-g)^{t-k}", total)
prove("past-sum", r"The weights sum to $1 - (1-g)^t$", zero(total - (1 - (1 - g) ** T)))

# %% [markdown]
# The library's network must be this sum, too. Its candidates depend on its states, but {eq}`eq-past` does not ask
# where the candidates come from.

# %%
where, worst = devices.resolve(device), 0.0
for seed in range(seeds):
    generator = torch.Generator().manual_seed(seed)
    model = cells.GatedRNN(3, 16, "constant", alpha=gates[0], generator=generator)
    model = model.double().to(where)
    inputs = torch.randn(80, 3, generator=generator, dtype=torch.float64).to(where)
    x0 = torch.rand(16, generator=generator, dtype=torch.float64).to(where)
    with torch.no_grad():
        path = model.run(inputs, x0)
    age = torch.arange(80, device=where).flip(0)
    weights = gates[0] * (1 - gates[0]) ** age.double()
    state = weights @ path.phi + (1 - gates[0]) ** 80 * x0
    worst = max(worst, float((state - path.x[-1]).norm() / path.x[-1].norm()))
record.check(
    "past-library",
    "C1",
    f"The library's run is this sum: relative error, worst of {seeds} networks",
    worst,
    1e-13,
)

# %% [markdown]
# ## The gate that fits a lag
#
# Look at one weight of {eq}`eq-past`: what was written $\ell$ steps ago counts with
#
# $$ r_\ell(g) = g\,(1-g)^{\ell}. $$ (eq-rate)
#
# The same number travels backwards. By the chain rule a gradient at $x_t$ reaches the candidate of $\ell$ steps ago
# along the leak with the factor $r_\ell(g)$, and a learning rate $\mu$ is felt there as $\mu\,r_\ell(g)$; claim C8,
# which a later chapter derives, makes this precise. So: **which constant gate teaches lag $\ell$ best?** A large
# one writes much and keeps little, a small one keeps all of almost nothing.
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
# and the matched gate remembers as long as the lag is, to within a step: $\ell < \tau_{\mathrm{mem}} < \ell+1$.
# :::
#
# Everything is in a logarithm, $\ln r_\ell = \ln g + \ell\ln(1-g)$, which is strictly concave: one stationary
# point, and that is the maximum.

# %%
ell = sp.symbols("ell", positive=True)
rate = g * (1 - g) ** ell
(matched,) = sp.solve(sp.Eq(rate.diff(g), 0), g)
best = ell**ell / (ell + 1) ** (ell + 1)
curvature = sp.log(g).diff(g, 2) + (ell * sp.log(1 - g)).diff(g, 2)

show(r"g^\star", matched)
show(r"\frac{d^2}{dg^2}\ln r_\ell", curvature)
prove(
    "matched-gate",
    r"$r_\ell'(g) = 0$ in $(0, 1)$ only at $g^\star = 1/(\ell+1)$",
    zero(matched - 1 / (ell + 1)),
    claim="C10",
)
prove(
    "matched-unique",
    r"$\ln r_\ell$ is strictly concave on $(0,1)$, so $g^\star$ is the maximum",
    sp.factor(curvature.subs(g, 1 / (1 + u))).is_negative,  # any g in (0, 1)
    sp.simplify(rate.diff(g, 2).subs(g, matched)).is_negative,
    claim="C10",
    note="the second derivative is negative at g = 1/(1+u) for every u > 0",
)
prove(
    "matched-value",
    r"$r_\ell(g^\star) = \ell^\ell/(\ell+1)^{\ell+1}$",
    zero(rate.subs(g, matched) - best),
    claim="C10",
)

# %% [markdown]
# The envelope and the memory constant come from {prf:ref}`lem-logarithm` with $u = 1/\ell$, and from nothing else.
# Taking logarithms, the upper side of {eq}`eq-envelope` says $(\ell+1)\ln(1+1/\ell) > 1$, which is the left side of
# {eq}`eq-logarithm`; the lower one says $\ell\ln(1+1/\ell) < 1$, which is its right side. The memory constant is
# $1/\ln(1+1/\ell)$, which both sides enclose.

# %%
log_best = ell * sp.log(ell) - (ell + 1) * sp.log(ell + 1)
to_upper = -1 - sp.log(ell) - log_best  # from the best rate to 1/(eℓ), in logarithms
to_lower = log_best + 1 + sp.log(ell + 1)  # from 1/(e(ℓ+1)) to the best rate
prove(
    "envelope",
    r"$1/(e(\ell+1)) < \max_g r_\ell(g) < 1/(e\ell)$",
    zero(sp.expand_log(sp.log(best), force=True) - log_best),
    zero(to_upper.subs(ell, 1 / u) - (1 + 1 / u) * below),
    zero(to_lower.subs(ell, 1 / u) - above / u),
    claim="C10",
    note="in logarithms, each gap is a positive multiple of one of the lemma's",
)
prove(
    "envelope-limit",
    r"$\ell\,\max_g r_\ell(g) \to 1/e$ for long lags",
    sp.limit(ell * best, ell, sp.oo) == sp.exp(-1),
    claim="C10",
)

memory = tau_mem.subs(a, matched)
series = sp.series(1 / sp.log(1 + u), u, 0, 2)
show(r"\left.\tau_{\mathrm{mem}}\right|_{\ell = 1/u}", series)
prove(
    "matched-memory",
    r"At the matched gate $1/\tau_{\mathrm{mem}} = \ln(1+1/\ell)$, "
    r"so $\ell < \tau_{\mathrm{mem}} < \ell+1$, nearing $\ell + 1/2$",
    zero(1 / memory - sp.log(1 + 1 / ell)),
    zero(series.removeO() - (1 / u + half - u / 12)),
    claim="C10",
    note="the lemma at u = 1/ℓ",
)

lags = np.arange(1, 10**6 + 1)
at_match = np.exp(lags * np.log1p(-1 / (lags + 1))) / (lags + 1)  # g*(1 - g*)^ℓ
outside = (at_match >= 1 / (np.e * lags)) | (at_match <= 1 / (np.e * (lags + 1)))
record.check(
    "envelope-numeric",
    "C10",
    "The envelope holds at every whole lag up to a million, in float64",
    outside.sum(),
)

# %% tags=["hide-input"]
gate_axis = np.logspace(np.log10(0.3 / longest_lag), np.log10(0.999), 120)
lag_axis = np.logspace(0, np.log10(longest_lag), 100)
rates = gate_axis * (1 - gate_axis) ** lag_axis[:, None]
over = int((rates * np.e * lag_axis[:, None] >= 1).sum())
record.check(
    "envelope-figure",
    "C10",
    f"None of the {rates.size} points of the figure is above the envelope",
    over,
)
floor = 0.01 / longest_lag
navy = mpl.colormaps[figures.SEQUENTIAL](0.0)

with figures.style():
    figure, (plane, side) = plt.subplots(
        1, 2, figsize=(7.2, 4.2), sharey=True, width_ratios=[1.2, 1]
    )
    shades = mpl.colors.LogNorm(floor, 0.25)  # 1/4 is the best rate at lag 1
    mesh = plane.pcolormesh(
        gate_axis,
        lag_axis,
        np.maximum(rates, floor),
        norm=shades,
        shading="gouraud",
        rasterized=True,
    )
    plane.grid(False)
    plane.plot(1 / (lag_axis + 1), lag_axis, color=navy, lw=1.6)
    plane.set(xscale="log", yscale="log", xlim=(gate_axis[0], 1), ylim=(1, longest_lag))
    plane.set(
        xlabel="gate $g$", ylabel=r"lag $\ell$ in steps", title="Rate over gate and lag"
    )
    middle = longest_lag**0.4
    # White and navy lie on the colour map, which is the same on a light and on a dark page.
    plane.annotate(
        "matched gate\n" + r"$g^\star = 1/(\ell+1)$",
        (1 / (middle + 1), middle),
        (-8, -4),
        textcoords="offset points",
        ha="right",
        va="top",
        color=navy,
    )
    bar = plane.inset_axes((0.58, 0.86, 0.34, 0.035))
    figure.colorbar(
        mesh, cax=bar, orientation="horizontal", ticks=mpl.ticker.LogLocator(numticks=4)
    )
    bar.set_title(
        r"rate $g(1-g)^\ell$",
        color="white",
        fontsize=8.5,
        fontweight="normal",
        loc="center",
        pad=4,
    )
    bar.tick_params(colors="white", labelcolor="white", labelsize=8)

    side.plot(
        1 / (np.e * lag_axis), lag_axis, color=figures.GRID, lw=6, solid_capstyle="butt"
    )
    for one, colour, line in zip(
        gates, figures.CYCLE, ("-", "--", "-.", ":", "-"), strict=False
    ):
        side.plot(one * (1 - one) ** lag_axis, lag_axis, color=colour, ls=line)
        served = 1 / one - 1
        if 1 <= served <= longest_lag:
            top = one * (1 - one) ** served
            side.plot(top, served, "o", color=colour)
            side.annotate(
                f"$g = {one:g}$",
                (top, served),
                (8, 2),
                textcoords="offset points",
                color=colour,
            )
            plane.plot(one, served, "o", color="white", mec=navy)
    side.set(
        xscale="log",
        xlim=(0.03 / longest_lag, 2),
        xlabel="rate",
        title="Gates under the envelope",
    )
    beside = longest_lag**0.25
    side.annotate(
        r"$1/(e\ell)$",
        (1 / (np.e * beside), beside),
        (9, 2),
        textcoords="offset points",
        color=figures.MUTED,
    )
    side.tick_params(left=False, which="both")
table = pd.DataFrame(
    rates,
    index=pd.Index(lag_axis, name="lag"),
    columns=pd.Index(gate_axis, name="gate"),
)
figures.save(
    figure,
    "rate-over-gate-and-lag",
    table.stack().rename("rate").reset_index(),
    caption=r"""What a constant gate grants to a lag. *Left*: the rate $g(1-g)^\ell$; the ridge is the matched gate
    $g^\star = 1/(\ell+1)$. To its left too little is written, to its right too little is kept. *Right*: constant gates
    along the lag axis; each comes closest to the envelope $1/(e\ell)$ (grey) near its own lag $1/g - 1$ (dots, also on
    the ridge) and falls off exponentially beyond.""",
    alt="""Left: a map over gate and lag on log axes with a bright ridge falling from large gates at short lags to small
    gates at long lags, and darkness where a large gate meets a long lag. Right: three curves, one for each constant
    gate; each touches the straight grey line of the envelope at one lag and then drops away.""",
    chapter=record.chapter,
    out=out,
)

# %% [markdown]
# ## What it means
#
# **A gate is a bet on a lag.** A constant gate serves one lag best, and the bet is lopsided. Take the gate that is
# matched to a long lag $\ell$ and look at a lag $\kappa$ times as long: of the best rate that any gate has there,
# it keeps the share
#
# $$ \kappa\, e^{\,1-\kappa}. $$ (eq-share)
#
# Neighbours do well, shorter lags lose in proportion, longer ones exponentially.

# %%
kappa = sp.symbols("kappa", positive=True)


def log_rate(g: sp.Expr, lag: sp.Expr) -> sp.Expr:
    """ln of the rate that a gate grants to a lag."""
    return sp.log(g) + lag * sp.log(1 - g)


there = kappa * ell
best_there = log_rate(matched.subs(ell, there), there)
share = sp.exp(sp.limit(log_rate(matched, there) - best_there, ell, sp.oo))
prove(
    "matched-share",
    r"At $\kappa$ times its own lag, if long, a matched gate "
    r"has the share $\kappa e^{1-\kappa}$ of the best rate",
    zero(share - kappa * sp.exp(1 - kappa)),
    claim="C10",
)
shares = [f"{float(share.subs(kappa, value)):.2%}" for value in (half, 2, 10)]
Markdown(
    "The share is {} at half the lag, {} at twice and {} at ten times.".format(*shares)
)

# %% [markdown]
# Long memories are taught at a price that no constant avoids: the envelope falls as $1/\ell$. To do better at one
# lag, at one moment, a gate must *move*: write when there is something to write, and keep otherwise. That is what
# learned gates are for, and what the rest of the book is about.
#
# **A bias is a bet, too.** In terms of the pre-activation, the matched gate is a clean logarithm,
#
# $$ \sigma(z) = \frac{1}{\ell+1} \iff z = -\ln \ell. $$ (eq-chrono)
#
# Tallec and Ollivier recommend drawing a gate's bias as minus the logarithm of the lags that one expects (plus, for
# a gate that keeps), and call it chrono initialisation {cite}`tallec2018warp`. They argue from forgetting times;
# the matched gate arrives at the same rule from rates.

# %%
(bias,) = sp.solve(sp.Eq(sigmoid, matched), z)
show("z", bias)
prove(
    "chrono",
    r"$\sigma(z) = 1/(\ell+1)$ at $z = -\ln\ell$, "
    r"where the clock's speed is $\ln(1+1/\ell)$",
    zero(bias + sp.log(ell)),
    zero(sigmoid.subs(z, -sp.log(ell)) - matched),
    zero(softplus.subs(z, -sp.log(ell)) - sp.log(1 + 1 / ell)),
    claim="C10",
)

# %% [markdown]
# ## What to try
#
# 1. **Step too far.** Add `2.5` to `steps`. What will Euler's squares do, and what the dots? Predict before you
#    run.
# 2. **A third discretisation.** The trapezoidal rule averages the slopes at both ends of the step, $x_t = x_{t-1} +
#    \tfrac{h}{2}\,(-x_{t-1} - x_t + 2\varphi)$. What is its $\alpha$? How well does it agree with the exponential
#    one, and for which steps is it an average? Draw it into {numref}`fig-impulse-responses`.
# 3. **One gate for a window.** Instead of one lag, serve all from 1 to $L$: which constant gate makes
#    $\sum_{\ell=1}^{L} r_\ell(g)$ largest? How far is it from the matched gate of lag $L$? Change `longest_lag` and
#    see.
#
# The solutions are folded below; they run with the chapter.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 1: step too far"}
# Each of Euler's steps multiplies the state by -3/2: it swings and grows.
too_far = sp.Rational(5, 2)
show(r"1-\alpha_{\mathrm{Euler}}", 1 - a_euler.subs(h, too_far))
show(r"1-\alpha_{\mathrm{exp}}", 1 - a_exp.subs(h, too_far))
prove(
    "try-step-too-far",
    r"At $h = 5/2$ Euler grows and the exponential integrator decays",
    abs(1 - a_euler.subs(h, too_far)) > 1,
    abs(1 - a_exp.subs(h, too_far)) < 1,
)

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 2: a third discretisation"}
# Solve for the new state; the candidate's weight is α, an average up to h = 2.
new = sp.symbols("x_1")
(trapezoidal,) = sp.solve(sp.Eq(new, x_0 + h / 2 * (-x_0 - new + 2 * phi)), new)
a_trapezoidal = sp.factor(sp.expand(trapezoidal).coeff(phi))
show(r"\alpha_{\mathrm{trapezoidal}}", a_trapezoidal)
apart = sp.series(a_trapezoidal - a_exp, h, 0, 4)
show(r"\alpha_{\mathrm{trapezoidal}} - \alpha_{\mathrm{exp}}", apart)
prove(
    "try-trapezoidal",
    r"The trapezoidal $\alpha = 2h/(2+h)$ agrees to $h^3/12$, an average for $h \le 2$",
    zero(trapezoidal.subs({x_0: 1, phi: 1}) - 1),  # the weights sum to 1
    zero(a_trapezoidal - 2 * h / (2 + h)),
    zero(apart.removeO() - h**3 / 12),
    zero(1 - a_trapezoidal - (2 - h) / (2 + h)),
)

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 3: one gate for a window"}
# With y = 1 - g the sum telescopes to y - y^(L+1), which is concave in y.
y, L = sp.symbols("y L", positive=True)
whole_L, whole_ell = sp.symbols("L ell", integer=True, positive=True)
window = y - y ** (L + 1)
summed = sp.summation((1 - y) * y**whole_ell, (whole_ell, 1, whole_L))
(keep,) = sp.solve(sp.Eq(window.diff(y), 0), y)
show(r"g_{\mathrm{window}}", 1 - keep)
prove(
    "try-window",
    r"$\sum_{\ell=1}^{L} r_\ell$ is largest at $g = 1 - (L+1)^{-1/L} \sim \ln(L+1)/L$",
    zero(summed.subs(whole_L, L) - window),
    zero(keep - (L + 1) ** (-1 / L)),
    sp.simplify(window.diff(y, 2)).is_negative,
    sp.limit((1 - keep) * L / sp.log(L + 1), L, sp.oo) == 1,
    claim="C10",
)
window_gate = 1 - float(keep.subs(L, longest_lag))
ratio = window_gate * (longest_lag + 1)
best_text = record.number("window-gate", window_gate)
ratio_text = record.number("window-ratio", ratio, f"{ratio:.1f}")
Markdown(
    f"For lags up to {longest_lag} the best gate is {best_text}, "
    f"{ratio_text} times the matched gate of the longest lag."
)

# %% [markdown]
# ## The ledger
#
# Symbolic rows are proofs by computer algebra; where a step is not SymPy's, the text names it: the sign of a gap
# from its slope, an induction summand by summand, a substitution that reaches every case. Their value is 0 if all
# parts hold and 1 if not. Numeric rows are measurements against a tolerance. If one row turns red, neither this
# chapter nor the book builds.

# %% tags=["hide-input"]
display(
    record.validation(caption="Everything this chapter claims, and whether it holds.")
)
record.close()
