# ---
# jupytext:
#   text_representation: {extension: .py, format_name: percent}
# kernelspec:
#   display_name: Python 3
#   language: python
#   name: python3
# ---

# %% [markdown]
# (ch-time-scales)=
# # Time-scales: from a differential equation to a gate
#
# A gated network looks like an engineer's trick: a second small network decides, at every step, how much of the memory
# is rewritten. This chapter takes the long way round and finds that nothing was invented. Start from a neuron that
# leaks, as physics has it; look at it once a step; let its clock run fast or slow: a gate is what you get.
#
# The paper that this book follows closely traces what gates do to learning to "the coupling between state-space time
# scales—parametrized by the gates—and parameter-space dynamics during gradient descent" {cite}`livi2025timescale`.
# This chapter is about the words between the dashes. It proves claims C1 and C10 of the
# {ref}`notation page <notation>`, and everything it says, a cell below checks: SymPy {cite}`meurer2017sympy`
# does the algebra in front of you, and the ledger at the end keeps the score.

# %% tags=["parameters"]
profile = "ci"
seeds = 3  # independent networks in the numerical check
device = "auto"
out = "../artifacts/draft/01-time-scales"
steps = [0.2, 0.5, 1.0, 1.5]  # the four steps Δ/τ of the first figure
gates = [0.3, 0.03, 0.003]  # constant gates to compare at every lag
longest_lag = 1000

# %% tags=["hide-input"]
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sympy as sp
import torch
from IPython.display import Markdown, display

from gatelr import cells, figures, ledger

record = ledger.Ledger(
    "01-time-scales",
    "Time-scales: from a differential equation to a gate",
    out,
    dict(profile=profile, seeds=seeds, device=device, steps=steps, gates=gates, longest_lag=longest_lag),
)


def zero(expression: sp.Expr) -> bool:
    """Whether SymPy can show that an expression vanishes identically."""
    return sp.simplify(expression) == 0


# %% [markdown]
# ## A neuron that leaks
#
# Leave a neuron alone and its state decays; drive it and its state creeps towards the drive:
#
# $$ \tau\,\dot x = -x + \varphi(a). $$ (eq-ode)
#
# Here $x$ is the state, $\varphi(a)$ the **candidate** it is pulled towards, and $\tau$ the **time-scale**: what is left
# of an old state after a time $\tau$ is a fraction $1/e$ of it. A computer visits the neuron once every $\Delta$. There
# are two honest ways to step from one visit to the next.
#
# *Forward Euler* draws the tangent at the start and follows it for a time $\Delta$. The *exponential integrator*
# {cite}`hochbruck2010exponential` freezes only the candidate over the step and solves the rest exactly. Both
# give the **leaky integrator** {cite}`jaeger2007leaky`, and only the number $\alpha$ differs.
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
# The proof is two lines for Euler and one call of `dsolve` for the other.

# %%
tau, Delta, t = sp.symbols("tau Delta t", positive=True)
x_0, phi = sp.symbols("x_0 varphi", real=True)
x = sp.Function("x")

euler = sp.expand(x_0 + Delta * (-x_0 + phi) / tau)  # the start plus Δ times the slope there
solution = sp.dsolve(sp.Eq(tau * x(t).diff(t), -x(t) + phi), x(t), ics={x(0): x_0})
exponential = sp.expand(solution.rhs.subs(t, Delta))
display(solution)

alpha_euler, alpha_exp = euler.coeff(phi), exponential.coeff(phi)
display(sp.Eq(sp.Symbol(r"\alpha_{\mathrm{Euler}}"), alpha_euler))
display(sp.Eq(sp.Symbol(r"\alpha_{\mathrm{exp}}"), alpha_exp))


def leaky(alpha: sp.Expr) -> sp.Expr:
    """The leaky integrator's step from x_0."""
    return (1 - alpha) * x_0 + alpha * phi


record.check(
    "euler-update",
    "C1",
    r"forward Euler is the leaky update with $\alpha = \Delta/\tau$",
    zero(euler - leaky(Delta / tau)),
    kind="symbolic",
)
record.check(
    "exponential-update",
    "C1",
    r"the exponential integrator is the leaky update with $\alpha = 1 - e^{-\Delta/\tau}$",
    zero(exponential - leaky(1 - sp.exp(-Delta / tau))),
    kind="symbolic",
)

# %% [markdown]
# ## How far do the two agree?
#
# Only the ratio $h = \Delta/\tau$ matters, the step measured in time-scales. Both numbers start as $h$. The
# difference is of second order, and it has a sign: Euler always writes *more* than the neuron would. The sign follows
# from a lemma about logarithms so useful that this chapter needs it three times.
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
# All three vanish at $u = 0$, and the slopes obey the same order for $u>0$. The cell computes the two differences of
# slopes and asks SymPy for their sign.
# :::
#
# Put $h = \ln(1+u)$, which reaches every $h>0$ as $u$ runs through the positive numbers. Then Euler's $\alpha$
# *is* the logarithm and the exponential integrator's is the left side, $u/(1+u)$: so
# $\alpha_{\mathrm{exp}} < \alpha_{\mathrm{Euler}}$, whatever the step.

# %%
h, u = sp.symbols("h u", positive=True)

below, above = sp.log(1 + u) - u / (1 + u), u - sp.log(1 + u)
slopes = [sp.factor(difference.diff(u)) for difference in (below, above)]
display(sp.Eq(sp.Derivative(below, u), slopes[0]), sp.Eq(sp.Derivative(above, u), slopes[1]))
record.check(
    "logarithm-lemma",
    "C1",
    r"$u/(1+u) < \ln(1+u) < u$ for all $u > 0$",
    all(d.subs(u, 0) == 0 and slope.is_positive for d, slope in zip((below, above), slopes, strict=True)),
    kind="symbolic",
    note="equal at 0, and each difference has a positive slope",
)

a_euler, a_exp = h, 1 - sp.exp(-h)
difference = a_euler - a_exp
display(sp.Eq(sp.Symbol(r"\alpha_{\mathrm{Euler}} - \alpha_{\mathrm{exp}}"), sp.series(difference, h, 0, 5)))
record.check(
    "order-of-agreement",
    "C1",
    r"the two $\alpha$ differ by $h^2/2 + O(h^3)$",
    zero(sp.series(difference, h, 0, 3).removeO() - h**2 / 2),
    kind="symbolic",
)
record.check(
    "euler-overshoots",
    "C1",
    r"$\alpha_{\mathrm{exp}} = u/(1+u)$ where $\alpha_{\mathrm{Euler}} = \ln(1+u)$",
    zero(a_exp.subs(h, sp.log(1 + u)) - u / (1 + u)) and zero(a_euler.subs(h, sp.log(1 + u)) - sp.log(1 + u)),
    kind="symbolic",
    note="with the lemma: Euler's is the larger for every step",
)

# %% [markdown]
# An error of second order in each step, made $1/h$ times in a unit of time, leaves an error of first order in the
# trajectory. To see it, drive the neuron with something whose answer is known: a candidate that stands still, and one
# that moves.

# %% tags=["hide-input"]
s = sp.symbols("s", nonnegative=True)  # time in units of τ
drives = {"constant": sp.Integer(1), "moving": sp.sin(s)}
step_sizes = 0.5 ** np.arange(2, 13)
rows = []
for drive, candidate in drives.items():
    known = sp.dsolve(sp.Eq(x(s).diff(s), candidate - x(s)), x(s), ics={x(0): 0}).rhs
    exact, drawn = sp.lambdify(s, known), sp.lambdify(s, candidate)
    for step in step_sizes:
        for method, alpha in (("Euler", step), ("exponential", -np.expm1(-step))):
            state, worst = 0.0, 0.0
            for k in range(round(4 / step)):
                state = (1 - alpha) * state + alpha * float(drawn(k * step))
                worst = max(worst, abs(state - float(exact((k + 1) * step))))
            rows.append((f"{method}, {drive}", step, worst))
errors = pd.DataFrame(rows, columns=["curve", "step", "error"])
one_step = pd.DataFrame({"curve": "difference of α", "step": step_sizes, "error": step_sizes + np.expm1(-step_sizes)})
trajectories = {
    name: errors[errors["curve"] == name] for name in ("exponential, moving", "Euler, moving", "Euler, constant")
}


def order(points: pd.DataFrame) -> float:
    """Slope on log-log axes over the four smallest steps, where the leading order is all that is left."""
    small = points.nsmallest(4, "step")
    return float(np.polyfit(np.log(small["step"]), np.log(small["error"]), 1)[0])


record.check("local-order", "C1", r"the two $\alpha$ differ with slope 2 in $h$", abs(order(one_step) - 2), 2e-3)
for name, points in trajectories.items():
    record.check(
        "global-order-" + name.replace(", ", "-").lower(),
        "C1",
        f"the trajectory's error has slope 1 in $h$ ({name} candidate)",
        abs(order(points) - 1),
        1e-2,
    )
rounding = float(errors.loc[errors["curve"] == "exponential, constant", "error"].max())
record.check(
    "exponential-exact", "C1", "under a constant candidate the exponential integrator makes no error", rounding, 1e-12
)

with figures.style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.5), width_ratios=[1, 1.05])
    left.loglog(one_step["step"], one_step["step"] ** 2 / 2, color=figures.GRID, lw=4)
    left.loglog(one_step["step"], one_step["error"], "o-", color=figures.INK, lw=1)
    left.annotate("one step: $h^2/2$", (2**-7, 2**-15), (8, -10), textcoords="offset points")
    for (name, points), colour, marker in zip(trajectories.items(), figures.CYCLE, "^sD", strict=False):
        left.loglog(points["step"], points["error"], marker=marker, color=colour, lw=1, ms=3.5)
        right.semilogx(points["step"], points["error"] / points["step"], marker=marker, color=colour)
        right.annotate(
            f"{name} candidate",
            (points["step"].min(), (points["error"] / points["step"]).iloc[-1]),
            (0, 6),
            textcoords="offset points",
            color=colour,
        )
    left.annotate("a trajectory: slope 1", (2**-7, 2**-9), (0, 12), textcoords="offset points", ha="right")
    left.set(title="Orders are slopes", xlabel=r"step $h = \Delta/\tau$", ylabel="error")
    right.set(title="What stands before the order", xlabel=r"step $h = \Delta/\tau$", ylabel="trajectory's error / $h$")
    right.set_ylim(0, None)
leading = {name: float((points["error"] / points["step"]).iloc[-1]) for name, points in trajectories.items()}
display(
    figures.save(
        figure,
        "order-of-agreement",
        pd.concat([one_step, errors], ignore_index=True),
        caption=r"""Euler against the exponential integrator. *Left*: in one step their $\alpha$ differ by $h^2/2$ (dots
        on the grey line); along four time-scales each method's worst error is of first order. *Right*: the same errors
        divided by $h$. Only one curve is missing: the exponential integrator under a constant candidate errs by rounding
        alone.""",
        alt="""Left: on log-log axes, dots on the line h squared over two, and three nearly parallel lines of slope one above
        them. Right: the errors divided by h, three almost flat lines; the exponential integrator with a moving
        candidate lies highest, Euler with a constant candidate lowest.""",
        chapter=record.chapter,
        out=out,
    )
)
text = {
    name: record.number("error-" + name.replace(", ", "-").lower(), value, f"{value:.2f}")
    for name, value in leading.items()
}
Markdown(
    f"""{{numref}}`fig-order-of-agreement` holds a small surprise. Under a candidate that stands still the exponential
integrator is exact, and Euler errs by {text["Euler, constant"]} $h$. Under one that moves, it is Euler that comes closer,
{text["Euler, moving"]} $h$ against {text["exponential, moving"]} $h$: both are late because they hold the candidate back, and Euler's
overshoot makes up for a part of it. To be exact about the leak is not to be exact about the rest. What the exponential
integrator buys is something else, and comes next."""
)

# %% [markdown]
# ## Which numbers may α be?
#
# {eq}`eq-leaky` is an average of the old state and the candidate only while both weights are at least zero and something
# is written, $0 < \alpha \le 1$. Beyond 1, the old state comes back with the wrong sign: the neuron swings
# around its target. The swing dies out up to $\alpha = 2$ and grows from there. The exponential integrator cannot go
# there at all: for every step and every time-scale its $\alpha$ lies strictly between 0 and 1.

# %%
alpha = sp.symbols("alpha", real=True)
kept = 1 - alpha  # what a step without a candidate multiplies the state by

average = sp.reduce_inequalities([alpha > 0, kept >= 0], alpha).as_set()
stable = sp.solve_univariate_inequality(sp.Abs(kept) < 1, alpha, relational=False)
swings = sp.reduce_inequalities([sp.Abs(kept) < 1, kept < 0], alpha).as_set()
for word, interval in {"average": average, "decays": stable, "swings, yet decays": swings}.items():
    display(sp.Eq(sp.Symbol(rf"\alpha_{{\text{{{word}}}}}"), interval, evaluate=False))

record.check(
    "alpha-average",
    "C1",
    r"the update is an average exactly for $\alpha \in (0, 1]$",
    average == sp.Interval.Lopen(0, 1),
    kind="symbolic",
)
record.check(
    "alpha-stable",
    "C1",
    r"the leak decays exactly for $\alpha \in (0, 2)$, and changes sign in $(1, 2)$",
    stable == sp.Interval.open(0, 2) and swings == sp.Interval.open(1, 2),
    kind="symbolic",
)
written = sp.simplify(a_exp.subs(h, sp.log(1 + u)))  # every h > 0 is ln(1 + u) for one u > 0
record.check(
    "exponential-range",
    "C1",
    r"$0 < 1 - e^{-h} < 1$ for every $h > 0$",
    bool(written.is_positive and sp.simplify(1 - written).is_positive),
    kind="symbolic",
)

# %% [markdown]
# So the book keeps $\alpha$, and later every gate, in $(0, 1]$. At $\alpha = 1$ nothing is kept and the leaky
# integrator is the vanilla network. An average also cannot leave the range of what it averages: with
# $\varphi = \tanh$, states that start in $[-1, 1]$ stay there.
#
# ## How long is the memory?
#
# Without a candidate $t$ steps leave $(1-\alpha)^t$ of a state. The **memory constant** $\tau_{\mathrm{mem}}$ is the
# number of steps that leave $1/e$.
#
# :::{prf:theorem} Memory constant
# :label: thm-memory
#
# $$ \tau_{\mathrm{mem}} = \frac{-1}{\ln(1-\alpha)}. $$ (eq-memory)
#
# For the exponential integrator this is $\tau/\Delta$ exactly, the time-scale counted in steps. For forward Euler it is
# $\tau/\Delta - \tfrac12 - O(\Delta/\tau)$: half a step short, and more for coarse steps. It falls to 0 as
# $\alpha \to 1$ and grows as $1/\alpha - \tfrac12$ as $\alpha \to 0$.
# :::

# %%
steps_left, a = sp.symbols(r"tau_mem alpha", positive=True)
(tau_mem,) = sp.solve(sp.Eq((1 - a) ** steps_left, sp.exp(-1)), steps_left)
display(sp.Eq(steps_left, tau_mem))

of_euler, of_exp = (sp.simplify(tau_mem.subs(a, value)) for value in (a_euler, a_exp))
display(sp.Eq(sp.Symbol(r"\tau_\mathrm{mem}^\mathrm{exp}"), of_exp))
display(sp.Eq(sp.Symbol(r"\tau_\mathrm{mem}^\mathrm{Euler}"), sp.series(of_euler, h, 0, 3)))

record.check(
    "memory-constant",
    "C1",
    r"$(1-\alpha)^t = 1/e$ at $t = -1/\ln(1-\alpha)$",
    zero(tau_mem + 1 / sp.log(1 - a)),
    kind="symbolic",
)
record.check(
    "memory-exponential",
    "C1",
    r"the exponential integrator remembers $\tau/\Delta$ steps, exactly",
    zero(of_exp - 1 / h),
    kind="symbolic",
)
record.check(
    "memory-euler",
    "C1",
    r"Euler remembers $1/h - 1/2 - h/12 + O(h^2)$ steps",
    zero(sp.series(of_euler, h, 0, 2).removeO() - (1 / h - sp.Rational(1, 2) - h / 12)),
    kind="symbolic",
)
record.check(
    "memory-limits",
    "C1",
    r"$\tau_{\mathrm{mem}} \to 0$ as $\alpha \to 1$; $\tau_{\mathrm{mem}} - 1/\alpha \to -1/2$ as $\alpha \to 0$",
    sp.limit(tau_mem, a, 1, "-") == 0 and sp.limit(tau_mem - 1 / a, a, 0, "+") == -sp.Rational(1, 2),
    kind="symbolic",
)

# %% [markdown]
# {numref}`fig-impulse-responses` shows all of this at once. The candidate is 1 during one step and 0 ever after.

# %% tags=["hide-input"]
count = 10
lag = np.arange(count + 1)
fine = np.linspace(0, count, 401)
# While the candidate is 1 the neuron rises towards it, afterwards it decays: the exact solution of the equation.
rows, panels = [], []
for step in steps:
    ode = np.where(fine <= 1, -np.expm1(-fine * step), -np.expm1(-step) * np.exp(-(fine - 1) * step))
    values = {}
    for method, weight in (("Euler", step), ("exponential", -np.expm1(-step))):
        values[method] = np.array([0.0] + [weight * (1 - weight) ** k for k in range(count)])
        rows += [(step, method, weight, k, v) for k, v in zip(lag, values[method], strict=True)]
    rows += [(step, "differential equation", np.nan, k, v) for k, v in zip(fine, ode, strict=True)]
    panels.append((step, ode, values))
responses = pd.DataFrame(rows, columns=["step", "method", "alpha", "time", "state"])
on_grid = max(np.abs(values["exponential"] - ode[:: len(fine) // count]).max() for _, ode, values in panels)
record.check(
    "impulse-on-the-grid",
    "C1",
    "on the grid the exponential integrator's impulse response is the neuron's",
    on_grid,
    1e-14,
)

with figures.style():
    figure, grid = plt.subplots(2, -(-len(steps) // 2), figsize=(7.2, 4.6), sharex=True, squeeze=False)
    blue, vermilion = figures.CYCLE[:2]
    for axes, (step, ode, values) in zip(grid.flat, panels, strict=False):
        axes.axhline(0, color=figures.MUTED, lw=0.8)
        axes.plot(fine, ode, color=blue, lw=1.4)
        axes.plot(lag, values["exponential"], "o", color=blue)
        axes.plot(lag, values["Euler"], "s:", color=vermilion, lw=1)
        axes.set_title(rf"$\Delta/\tau = {step:g}$")
        axes.set_ylim(min(0, values["Euler"].min()) - 0.06, values["Euler"].max() * 1.18)
    first = grid.flat[0]
    for axes in grid[-1]:
        axes.set_xlabel(r"time in steps, $t/\Delta$")
    for axes in grid[:, 0]:
        axes.set_ylabel("state $x$")
    last, (step, ode, values) = grid.flat[len(steps) - 1], panels[-1]
    last.annotate("Euler", (1, step), (8, -4), textcoords="offset points", color=vermilion)
    last.annotate(
        "neuron (line) and\nexponential integrator (dots)",
        (2, values["exponential"][2]),
        (26, 24),
        textcoords="offset points",
        color=blue,
        arrowprops={"arrowstyle": "-", "color": blue, "lw": 0.8},
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
    half they jump to one and a half and alternate in sign. The exponential integrator's dots are on the curve in all.""",
    chapter=record.chapter,
    out=out,
)

# %% [markdown]
# ## Let the clock run
#
# A recording may be played fast or slow, and the same neuron should still understand it. Give it a clock: at
# outside time $t$ its own time is $s(t)$, which runs at the speed $c(t) = s'(t) > 0$. Tallec and Ollivier
# {cite}`tallec2018warp` saw what this does to {eq}`eq-ode`: the speed becomes a factor in front, and after discretisation
# the factor is a gate.
#
# :::{prf:theorem} A gate is a time warp
# :label: thm-warp
#
# A neuron on the clock $s(t)$ obeys $\tau\dot x = c(t)\,(\varphi - x)$. With the candidate held over a step, the state moves as
#
# $$ x_t = (1-g_t)\,x_{t-1} + g_t\,\varphi,\qquad g_t = 1 - e^{-\bar c_t \Delta/\tau}, $$ (eq-gate)
#
# exactly, where $\bar c_t$ is the clock's mean speed over the step. Gates in $(0, 1)$ and speeds in
# $(0, \infty)$ correspond one to one, $\bar c_t = -\tfrac{\tau}{\Delta}\ln(1-g_t)$. If the gate is a sigmoid,
# $g_t = \sigma(z)$, the speed is a softplus:
#
# $$ \bar c_t = \tfrac{\tau}{\Delta}\,\ln(1 + e^{z}). $$ (eq-softplus)
# :::
#
# With forward Euler instead, $g_t = c_t\Delta/\tau$, and keeping the gate below 1 sets the clock a speed
# limit of $\tau/\Delta$.

# %%
clock = sp.Function("s")
warped = solution.rhs.subs(t, clock(t))  # the neuron's solution, read off its own clock
speed = clock(t).diff(t)
display(sp.Eq(tau * sp.Derivative(x(t), t), sp.factor(sp.simplify(tau * warped.diff(t)))))
record.check(
    "warped-equation",
    "C1",
    r"on the clock $s(t)$ the neuron obeys $\tau\dot x = s'(t)(\varphi - x)$",
    zero(tau * warped.diff(t) - speed * (phi - warped)),
    kind="symbolic",
)

start, c = sp.symbols("s_0 c", positive=True)  # clock at the start of the step, mean speed over it
before, after = (solution.rhs.subs(t, time) for time in (start, start + c * Delta))
gate = 1 - sp.exp(-c * Delta / tau)
record.check(
    "warp-is-gate",
    "C1",
    r"one step of outside time is the gated update with $g = 1 - e^{-\bar c\Delta/\tau}$",
    zero(after - ((1 - gate) * before + gate * phi)),
    kind="symbolic",
    note="any clock: only its mean speed over the step counts",
)

g, z = sp.symbols("g", positive=True), sp.symbols("z", real=True)
(speed_of_gate,) = sp.solve(sp.Eq(gate, g), c)
display(sp.Eq(sp.Symbol(r"\bar c"), speed_of_gate))
record.check(
    "gate-speed",
    "C1",
    r"gate and speed determine each other; $g$ rises from 0 to 1 as $\bar c$ runs from 0 to $\infty$",
    zero(gate.subs(c, speed_of_gate) - g)
    and bool(gate.diff(c).is_positive)
    and gate.subs(c, 0) == 0
    and sp.limit(gate, c, sp.oo) == 1,
    kind="symbolic",
)

sigmoid, softplus = 1 / (1 + sp.exp(-z)), sp.log(1 + sp.exp(z))
display(sp.Eq(-sp.log(1 - sigmoid), softplus, evaluate=False))
record.check(
    "softplus", "C1", r"$-\ln(1-\sigma(z)) = \ln(1+e^z)$", zero(-sp.log(1 - sigmoid) - softplus), kind="symbolic"
)

# %% [markdown]
# Read {eq}`eq-softplus` once more: *the pre-activation of a sigmoid gate sets the speed of a clock*, slow for $z \ll 0$
# where the speed is about $e^{z}$, and without a limit above. The local memory constant is $1/\ln(1+e^{z})$ steps. The same
# softplus is how state-space models parametrise their step, and Gu and Dao {cite}`gu2023mamba` prove that their
# selective recurrence then contains this very gate.
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
# $$ x_t = \sum_{k=1}^{t} g\,(1-g)^{t-k}\,\varphi_k + (1-g)^t\,x_0, $$ (eq-past)
#
# and the weights of the candidates sum to $1 - (1-g)^t$.
# :::
#
# :::{prf:proof}
# By induction. At $t = 0$ the sum is empty. A step multiplies all weights by $1-g$, which must turn the weight of
# each $\varphi_k$ at $t$ into its weight at $t+1$, and it adds $\varphi_{t+1}$ with weight $g$, which must be the newest
# one's. SymPy does not merge two sums with different limits, so the cell compares them summand by summand.
# :::

# %%
T, k = sp.symbols("t k", integer=True, positive=True)


def weight(t: sp.Expr, k: sp.Expr) -> sp.Expr:
    """What of the candidate written at step k is left at step t."""
    return g * (1 - g) ** (t - k)


record.check(
    "past-induction",
    "C1",
    r"$x_t = \sum_k g(1-g)^{t-k}\varphi_k + (1-g)^t x_0$",
    zero((1 - g) * weight(T, k) - weight(T + 1, k))  # the old candidates
    and zero(weight(T + 1, T + 1) - g)  # the new one
    and zero((1 - g) * (1 - g) ** T - (1 - g) ** (T + 1))  # the initial state
    and (1 - g) ** sp.Integer(0) == 1,  # the start of the induction
    kind="symbolic",
    note="induction over t, summand by summand",
)
total = sp.simplify(sp.summation(weight(T, k), (k, 1, T)))
display(sp.Eq(sp.Sum(weight(T, k), (k, 1, T)), total))
record.check("past-sum", "C1", r"the weights sum to $1 - (1-g)^t$", zero(total - (1 - (1 - g) ** T)), kind="symbolic")

# The library's network, run over random inputs from a random state, against the sum.
worst = 0.0
for seed in range(seeds):
    generator = torch.Generator().manual_seed(seed)
    model = cells.GatedRNN(3, 16, "constant", alpha=gates[0], generator=generator, dtype=torch.float64)
    inputs = torch.randn(80, 3, generator=generator, dtype=torch.float64)
    x0 = torch.rand(16, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        path = model.run(inputs, x0)
    ages = torch.arange(len(inputs) - 1, -1, -1, dtype=torch.float64)
    powers = gates[0] * (1 - gates[0]) ** ages
    summed = (powers[:, None] * path.phi).sum(0) + (1 - gates[0]) ** len(inputs) * x0
    worst = max(worst, float((summed - path.x[-1]).norm() / path.x[-1].norm()))
record.check("past-library", "C1", "the library's run is this sum (float64, relative error)", worst, 1e-13)

# %% [markdown]
# ## The gate that fits a lag
#
# Look at one weight of {eq}`eq-past`: what was written $\ell = t-k$ steps ago counts with
#
# $$ r_\ell(g) = g\,(1-g)^{\ell}. $$ (eq-rate)
#
# The same number travels backwards. By the chain rule a gradient at $x_t$ reaches $\varphi_{t-\ell}$ along the leak
# with the factor $r_\ell(g)$; a learning rate $\mu$ is felt at lag $\ell$ as $\mu\,r_\ell(g)$ (claim C8, which a later chapter
# derives). So: **which constant gate teaches lag $\ell$ best?** A large one writes much and keeps little, a small one
# keeps all of almost nothing.
#
# :::{prf:theorem} Matched gate
# :label: thm-matched
#
# For $\ell > 0$ the rate $r_\ell$ has one maximum on $(0,1)$, at
#
# $$ g^\star = \frac{1}{\ell+1}, \qquad r_\ell(g^\star) = \frac{\ell^{\,\ell}}{(\ell+1)^{\ell+1}}. $$ (eq-matched)
#
# No constant gate escapes the envelope:
#
# $$ \frac{1}{e\,(\ell+1)} \;<\; \max_g\, r_\ell(g) \;<\; \frac{1}{e\,\ell}, $$ (eq-envelope)
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
display(sp.Eq(sp.Symbol(r"g^\star"), matched))

curvature = sp.factor(
    sp.log(rate).expand(force=True).diff(g, 2).subs(g, 1 / (1 + u))
)  # u > 0 makes g any number in (0, 1)
display(sp.Eq(sp.Symbol(r"(\ln r_\ell)''"), curvature))
record.check(
    "matched-gate",
    "C10",
    r"$r_\ell'(g) = 0$ only at $g^\star = 1/(\ell+1)$",
    zero(matched - 1 / (ell + 1)),
    kind="symbolic",
)
record.check(
    "matched-unique",
    "C10",
    r"$\ln r_\ell$ is strictly concave on $(0,1)$, so $g^\star$ is the maximum",
    bool(curvature.is_negative),
    kind="symbolic",
    note="its second derivative is negative at g = 1/(1+u) for every u > 0",
)
record.check(
    "matched-value",
    "C10",
    r"$r_\ell(g^\star) = \ell^\ell/(\ell+1)^{\ell+1}$",
    zero(rate.subs(g, matched) - best),
    kind="symbolic",
)

# %% [markdown]
# The envelope and the memory constant come from {prf:ref}`lem-logarithm` with $u = 1/\ell$, and from nothing else. Taking
# logarithms, the upper side of {eq}`eq-envelope` says $(\ell+1)\ln(1+1/\ell) > 1$, which is the left side of
# {eq}`eq-logarithm`; the lower one says $\ell\ln(1+1/\ell) < 1$, which is its right side. The memory constant is
# $1/\ln(1+1/\ell)$, which both sides enclose.

# %%
log_best = ell * sp.log(ell) - (ell + 1) * sp.log(ell + 1)
upper = -1 - sp.log(ell) - log_best  # ln of the envelope 1/(eℓ), less ln of the best rate
lower = log_best + 1 + sp.log(ell + 1)  # ln of the best rate, less ln of 1/(e(ℓ+1))
memory = tau_mem.subs(a, matched)

record.check(
    "envelope",
    "C10",
    r"$1/(e(\ell+1)) < \max_g r_\ell(g) < 1/(e\ell)$",
    zero(sp.expand_log(sp.log(best), force=True) - log_best)
    and zero(upper.subs(ell, 1 / u) - (1 + 1 / u) * below)
    and zero(lower.subs(ell, 1 / u) - above / u),
    kind="symbolic",
    note="in logarithms, each gap is a positive multiple of one of the lemma's two differences",
)
record.check(
    "matched-memory",
    "C10",
    r"at the matched gate $1/\tau_{\mathrm{mem}} = \ln(1+1/\ell)$, so $\ell < \tau_{\mathrm{mem}} < \ell+1$",
    zero(1 / memory - sp.log(1 + 1 / ell)),
    kind="symbolic",
    note="the lemma at u = 1/ℓ",
)
limit = sp.limit(ell * best, ell, sp.oo)
display(sp.Eq(sp.Limit(ell * best, ell, sp.oo), limit))
record.check("envelope-limit", "C10", r"$\ell\,\max_g r_\ell(g) \to 1/e$", zero(limit - sp.exp(-1)), kind="symbolic")
expansion = sp.series(1 / sp.log(1 + u), u, 0, 2)
display(
    sp.Eq(sp.Symbol(r"\tau_\mathrm{mem}"), expansion.removeO().subs(u, 1 / ell) + sp.Order(1 / ell**2, (ell, sp.oo)))
)
record.check(
    "matched-memory-series",
    "C10",
    r"at the matched gate $\tau_{\mathrm{mem}} = \ell + 1/2 - 1/(12\ell) + \dots$",
    zero(expansion.removeO() - (1 / u + sp.Rational(1, 2) - u / 12)),
    kind="symbolic",
)

lags = np.arange(1, 10**6 + 1)
at_match = np.exp(lags * np.log1p(-1 / (lags + 1))) / (lags + 1)
outside = int(np.sum((at_match >= 1 / (np.e * lags)) | (at_match <= 1 / (np.e * (lags + 1)))))
record.check("envelope-numeric", "C10", "whole lags up to a million at which the envelope fails", outside)

# %% tags=["hide-input"]
gate_axis = np.logspace(np.log10(0.3 / longest_lag), np.log10(0.999), 120)
lag_axis = np.logspace(0, np.log10(longest_lag), 100)
rates = gate_axis * (1 - gate_axis) ** lag_axis[:, None]
excess = float((rates * np.e * lag_axis[:, None]).max())
record.check(
    "envelope-figure",
    "C10",
    "no gate of the figure exceeds the envelope: largest rate less envelope, relative",
    max(0.0, excess - 1),
)
floor = 1e-6
navy = mpl.colormaps[figures.SEQUENTIAL](0.0)

with figures.style():
    figure, (plane, side) = plt.subplots(1, 2, figsize=(7.2, 4.2), sharey=True, width_ratios=[1.25, 1])
    mesh = plane.pcolormesh(
        gate_axis,
        lag_axis,
        np.maximum(rates, floor),
        norm=mpl.colors.LogNorm(floor, 1),
        shading="gouraud",
        rasterized=True,
    )
    plane.grid(False)
    plane.plot(1 / (lag_axis + 1), lag_axis, color=navy, lw=1.6)
    plane.set(
        xscale="log", yscale="log", xlabel="gate $g$", ylabel=r"lag $\ell$ in steps", title="Rate over gate and lag"
    )
    plane.set(xlim=(gate_axis[0], 1), ylim=(1, longest_lag))
    middle = longest_lag**0.42
    # White and navy lie on the colour map, which is the same on a light and on a dark page.
    plane.annotate(
        r"matched gate" + "\n" + r"$g^\star = 1/(\ell+1)$",
        (1 / (middle + 1), middle),
        (-8, -4),
        textcoords="offset points",
        ha="right",
        va="top",
        color=navy,
    )
    bar = plane.inset_axes((0.60, 0.88, 0.34, 0.035))
    figure.colorbar(mesh, cax=bar, orientation="horizontal", ticks=[1e-6, 1e-3, 1])
    bar.set_title(r"rate $g(1-g)^\ell$", color="white", fontsize=8.5, fontweight="normal", loc="center", pad=4)
    bar.tick_params(colors="white", labelcolor="white", labelsize=8)

    side.plot(1 / (np.e * lag_axis), lag_axis, color=figures.GRID, lw=6, solid_capstyle="butt")
    styles = zip(gates, figures.CYCLE, ("-", "--", "-."), strict=False)
    for constant_gate, colour, line in styles:
        side.plot(constant_gate * (1 - constant_gate) ** lag_axis, lag_axis, color=colour, ls=line)
        fitting = 1 / constant_gate - 1
        if 1 <= fitting <= longest_lag:
            touch = constant_gate * (1 - constant_gate) ** fitting
            side.plot(touch, fitting, "o", color=colour)
            side.annotate(
                f"$g = {constant_gate:g}$", (touch, fitting), (7, 3), textcoords="offset points", color=colour
            )
            plane.plot(constant_gate, fitting, "o", color="white", mec=navy)
    side.set(xscale="log", xlim=(3e-5, 1), xlabel="rate", title="Constant gates touch an envelope")
    side.annotate(
        r"envelope $1/(e\ell)$", (1 / (np.e * 2), 2), (-70, 10), textcoords="offset points", color=figures.MUTED
    )
data = pd.DataFrame(rates, index=pd.Index(lag_axis, name="lag"), columns=gate_axis).stack().rename_axis(["lag", "gate"])
figures.save(
    figure,
    "rate-over-gate-and-lag",
    data.rename("rate").reset_index(),
    caption=r"""What a constant gate grants to a lag. *Left*: the rate $g(1-g)^\ell$; the ridge is the matched gate
    $g^\star = 1/(\ell+1)$. To its left too little is written, to its right too little is kept. *Right*: three constant
    gates along the lag axis; each touches the envelope $1/(e\ell)$ at its own lag $1/g - 1$ (dots, also on the ridge), and falls
    off exponentially beyond.""",
    alt="""Left: a map over gate and lag on log axes with a bright ridge falling from large gates at short lags to small
    gates at long lags, and darkness where a large gate meets a long lag. Right: three curves, one for each constant gate; each
    touches the straight grey line of the envelope at one lag and then drops away.""",
    chapter=record.chapter,
    out=out,
)

# %% [markdown]
# ## What it means
#
# **A gate is a bet on a lag.** A constant gate serves one lag well, keeps within reach of the envelope for lags around it, and gives
# later ones an exponentially small share. Long memories are taught at a price that nobody can avoid by a cleverer
# constant: the envelope falls as $1/\ell$. To do better at one lag, at one moment, a gate must *move*: write when there is
# something to write, and keep otherwise. That is what learned gates are for.
#
# **A bias is a bet, too.** In terms of the pre-activation, the matched gate is a clean logarithm,
#
# $$ \sigma(z) = \frac{1}{\ell+1} \iff z = -\ln \ell. $$ (eq-chrono)
#
# Tallec and Ollivier recommend drawing gate biases as minus (or, for a gate that keeps, plus) the logarithm of the lags one
# expects, and call it chrono initialisation {cite}`tallec2018warp`. They argue from forgetting times. The matched gate
# arrives at the same rule from learning rates, without an approximation.

# %%
(bias,) = sp.solve(sp.Eq(sigmoid, matched), z)
display(sp.Eq(z, bias))
record.check(
    "chrono",
    "C10",
    r"$\sigma(z) = 1/(\ell+1)$ exactly at $z = -\ln\ell$",
    zero(bias + sp.log(ell)) and zero(sigmoid.subs(z, -sp.log(ell)) - matched),
    kind="symbolic",
)
record.check(
    "chrono-clock",
    "C10",
    r"the matched clock's speed is $\ln(1+1/\ell)$ time-scales a step",
    zero(softplus.subs(z, -sp.log(ell)) - sp.log(1 + 1 / ell)),
    kind="symbolic",
)

# %% [markdown]
# ## What to try
#
# 1. **Step too far.** Put 2.5 into `steps`. What will Euler's squares do, and what the dots? Predict before you run.
# 2. **A third discretisation.** The trapezoidal rule averages the slopes at both ends of the step,
#    $x_t = x_{t-1} + \tfrac{h}{2}\,(-x_{t-1} - x_t + 2\varphi)$. What is its $\alpha$? How well does it agree with the
#    exponential one, and for which steps is it an average?
# 3. **One gate for a window.** Instead of one lag, serve all from 1 to $L$: which constant gate makes
#    $\sum_{\ell=1}^{L} r_\ell(g)$ largest? Is it nearer to the matched gate of lag 1 or to that of lag $L$? Change
#    `longest_lag` and see.
#
# The solutions are folded below; they run with the chapter.

# %% tags=["hide-cell"]
# Solution 1. At Δ/τ = 5/2 Euler multiplies the state by 1 − 5/2 = −3/2 in each step: it swings and grows.
too_far = sp.Rational(5, 2)
factor_euler, factor_exp = (1 - value.subs(h, too_far) for value in (a_euler, a_exp))
display(
    sp.Eq(sp.Symbol(r"1-\alpha_{\mathrm{Euler}}"), factor_euler),
    sp.Eq(sp.Symbol(r"1-\alpha_{\mathrm{exp}}"), factor_exp),
)
record.check(
    "try-step-too-far",
    "C1",
    r"at $h = 5/2$ Euler grows, and the exponential integrator decays",
    bool(abs(factor_euler) > 1) and bool(0 < factor_exp < 1),
    kind="symbolic",
)

# %% tags=["hide-cell"]
# Solution 2. Solve the rule for the new state; the weight of the candidate is its α.
new = sp.symbols("x_1")
(trapezoidal,) = sp.solve(sp.Eq(new, x_0 + h / 2 * (-x_0 - new + 2 * phi)), new)
a_trapezoidal = sp.factor(sp.expand(trapezoidal).coeff(phi))
display(sp.Eq(sp.Symbol(r"\alpha_{\mathrm{trapezoidal}}"), a_trapezoidal))
display(
    sp.Eq(
        sp.Symbol(r"\alpha_{\mathrm{trapezoidal}} - \alpha_{\mathrm{exp}}"), sp.series(a_trapezoidal - a_exp, h, 0, 5)
    )
)
display(
    sp.Eq(
        sp.Symbol(r"h_{\mathrm{average}}"),
        sp.solveset(a_trapezoidal <= 1, h, sp.Interval.open(0, sp.oo)),
        evaluate=False,
    )
)
record.check(
    "try-trapezoidal",
    "C1",
    r"the trapezoidal rule has $\alpha = 2h/(2+h)$ and agrees to $h^3/12$",
    zero(a_trapezoidal - 2 * h / (2 + h)) and zero(sp.series(a_trapezoidal - a_exp, h, 0, 4).removeO() - h**3 / 12),
    kind="symbolic",
)

# %% tags=["hide-cell"]
# Solution 3. With y = 1 − g kept per step the sum telescopes to y − y^(L+1).
y, L = sp.symbols("y L", positive=True)
whole_L, whole_ell = sp.symbols("L ell", integer=True, positive=True)
window = sp.simplify(sp.summation((1 - y) * y**whole_ell, (whole_ell, 1, whole_L))).subs(whole_L, L)
(kept_best,) = sp.solve(sp.Eq(sp.diff(y - y ** (L + 1), y), 0), y)
display(sp.Eq(sp.Symbol(r"g_{\mathrm{window}}"), 1 - kept_best))
record.check(
    "try-window",
    "C10",
    r"$\sum_{\ell=1}^{L} r_\ell$ is largest at $g = 1 - (L+1)^{-1/L}$, which nears $\ln(L+1)/L$",
    zero(window - (y - y ** (L + 1)))
    and zero(kept_best - (L + 1) ** (-1 / L))
    and bool(sp.simplify(sp.diff(y - y ** (L + 1), y, 2)).is_negative)
    and sp.limit((1 - kept_best) * L / sp.log(L + 1), L, sp.oo) == 1,
    kind="symbolic",
)
window_gate = 1 - float(kept_best.subs(L, longest_lag))
Markdown(
    f"For lags up to {longest_lag} the best gate is {record.number('window-gate', window_gate)}, about "
    f"{record.number('window-ratio', window_gate * (longest_lag + 1), f'{window_gate * (longest_lag + 1):.1f}')} times "
    "the matched gate of the last lag: on a log scale it is much nearer to the far end of the window than to the near one."
)

# %% [markdown]
# ## The ledger
#
# Symbolic rows are proofs by computer algebra, with the step that is not SymPy's named in the text: the sign of a
# difference from its slope, an induction summand by summand, a substitution that reaches every case. Their value is 0
# when the identity holds and 1 when it does not. Numeric rows are measurements against a tolerance. If one row turns red,
# this chapter, and the book with it, does not build.

# %% tags=["hide-input"]
display(record.validation(caption="Everything this chapter claims, and whether it holds."))
record.close()
