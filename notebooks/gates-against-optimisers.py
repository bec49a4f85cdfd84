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
# (ch-against)=
# # Gates against optimisers
#
# On paper, a moving gate is a learning-rate schedule, a gated trace is
# momentum, and a gate for each neuron rescales steps as Adam does
# ({ref}`ch-optimisers`). The abstract of the paper's first version goes on from
# "formal analogies with learning-rate schedules, momentum, and adaptive methods
# such as Adam" to say "that these optimization behaviors emerge naturally from
# gating" {cite}`livi2025timescale`. An identity at order 0 says what a gate
# *can* do. What does the gate of a *trained* network do, and which part of an
# optimiser is it?
#
# {numref}`fig-against-one-page` has the answer in one picture. What a gate does
# to a step depends on the lag and, if the gate is learned, on the sequence at
# hand. What Adam does depends on the coordinate and on the history of training.
#
# The likenesses were tried on three tasks. The schedule of a gate that learns
# brings its gain back to a frozen gate in
# {result}`gates-against-optimisers/schedule.supported` settings. Momentum
# explains a gate's trace better than the gates in random order do in
# {result}`gates-against-optimisers/momentum.supported`. Neurons to which a gate
# gives large steps are Adam's in
# {result}`gates-against-optimisers/adam.supported`. Gates and Adam together beat
# the better of the two in
# {result}`gates-against-optimisers/complementary.supported`.
#
# :::{admonition} The claims, and what each must beat
# :class: important
#
# 1. **Schedule.** Frozen gates are given the rates of lags that training makes.
#    The final loss falls, and more than with these rates at other lags.
# 2. **Momentum.** Textbook momentum, with one fixed $\beta$ for each neuron,
#    explains the trace of a trained gate better than the same gates in random
#    order.
# 3. **Adam.** Neurons to which the gate gives large steps are those to which
#    Adam would give large steps.
#
# These three decide ({ref}`rules`). All others are exploratory, among them that
# gates and Adam are complementary. A setting is one task with one kind of gate.
#
# Seeds 1 to 20 were a pilot. After it the first claim was replaced, the second
# got its null, and the smallest effects were chosen: a tenth of a decade of
# loss, $0.1$ of $R^2$, a rank correlation of $0.2$. The runs below have fresh
# seeds.
# :::

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters"}
profile = "ci"
seeds = 2  # run here; the other seeds are read from the reference
device = "auto"
block = 0  # seeds a run; 0: all in one
out = "../artifacts/draft/gates-against-optimisers"
tasks_here = ["adding", "moving_average", "delay_sum"]  # trained here
training_steps = 2000
grid_here = False  # whether the search for learning rates is run here
identity_steps = 200  # of the two experiments on identities

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the imports"}
from functools import partial

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
from gatelr import statistics, tasks, training
from gatelr.cells import GatedRNN
from gatelr.experiments import against_optimisers as experiment
from gatelr.experiments import against_optimisers_claims as results
from gatelr.experiments import against_optimisers_exploratory as exploratory
from gatelr.experiments import against_optimisers_page as pages
from gatelr.experiments import identities, optimiser_steps, runs, step_structure
from gatelr.experiments.against_optimisers_claims import ARM_KEYS, KEYS, NAMES
from gatelr.record import Chapter, figures
from gatelr.record.tables import by_setting

READS = ["reference/e4-*.csv", "reference/spread.csv"]
chapter = Chapter("gates-against-optimisers")

# %% [markdown]
# ## One multiplier for every method
#
# Gates and optimisers can be compared if one says, for each, *by what a step
# multiplies a contribution*. A contribution is what step $k = T - \ell$ adds to
# the gradient at the coordinate $(q, p)$ of $W_r$, with the gate's factor taken
# out, $c = \varphi'(a^q_k)\, \delta^q_T\, x^p_{k-1}$. The step of SGD enters it
# with
#
# | method | multiplier of a contribution of lag $\ell$ at $(q, p)$ |
# |:---|:---|
# | SGD, no gate | $\mu$ |
# | a schedule | $\mu(s)$, moving with the training step |
# | momentum | $\mu$, spread over iterations by $\beta^j$ |
# | Adam | $\mu / (\sqrt{\hat v_{qp}} + \epsilon)$ |
# | constant gate | $\mu\, \alpha (1 - \alpha)^{\ell}$ |
# | scalar gate | $\mu\, g_k \prod_j (1 - g_j)$ |
# | multi-gate | $\mu\, g^q_k \prod_j (1 - g^q_j)$ |
#
# and with the product of two where both are in use. For gated networks this is
# order 0 (C8). A network without a gate has no order 0, so its contributions
# hold the whole adjoint. Coordinates are compared by one number each, the mean
# factor over sequences and lags. The mean is weighted by $|c|$, so that a
# factor counts where it has something to act on. These weights hide the sign:
# the mean of positive factors is positive by construction, while the factor of
# the *summed* gradient can be negative (C8, C13; {ref}`ch-optimisers`).
#
# **A shadow.** A gated network under SGD and a plain network under Adam end at
# different weights, and coordinates of different weights do not correspond. So
# an Adam looks over the shoulder of every run. It sees the same gradients,
# keeps its second moments, and moves nothing. Its rates are those that Adam
# would use at *these* weights.
#
# ```python
# shadow = optimiser_steps.Shadow(optimiser, model.W_r)  # sees each gradient
# run = training.train(model, task, optimiser, steps, generators)
# f = preconditioners.factors(model, trajectory)         # g P, (T, B, n)
# c = preconditioners.signals(model, trajectory, delta)  # φ' δ, likewise
# gate = preconditioners.gate_steps(f, c, trajectory.x_prev)
# step_structure.agreement(gate.coordinates, shadow.rates())
# ```
#
# ## The experiment
#
# Three tasks over 20 steps that can be learned: adding, a moving average over
# eight steps, and delay-sum, the mean of the inputs of one, three and five
# steps ago. Networks have 32 neurons and no biases, batches 32 fresh sequences,
# the constant gate $\alpha = 0.2$, momentum and Adam's first moment
# $\beta = 0.9$. The cosine schedule ends at zero.
#
# Every method needs a learning rate that suits it. So each has its own rate for
# each task, the best of a small grid. Best is the smallest mean logarithm of
# the loss on fresh data, on three seeds that occur nowhere else. A run that
# diverges counts as a hundred times worse than the best constant.

# %%
plan = experiment.plan(chapter.parameters)
records = runs.load(plan, block=block, device=chapter.device)
keys = [*KEYS[:3], "rate", "seed"]
search = results.searched(records)
search = chapter.compare(search, "e4-grid", keys, {})
words = "every method runs at the best rate of the search: how many do not"
scope = f"{len(search)} rows of the search"
chapter.check("rates-are-the-best", words, results.not_best(search), scope=scope)
evidence = {}
for name, rows in results.tables(records).items():
    keys = ARM_KEYS if name == "arms" else KEYS
    evidence[name] = chapter.compare(rows, f"e4-{name}", keys)

# %% tags=["hide-input"]
chapter.table("against-rates", results.rates_table())
methods = experiment.METHODS
edges = [results.at_edge(task, m) for task in NAMES for m in methods]
chapter.number("at-edge", sum(edges))

# %% [markdown]
# :::{table-file} /artifacts/gates-against-optimisers/tables/against-rates.csv
# :name: tab-against-rates
#
# Learning rates: the best of the grid on seeds 101 to 103. *Edge*: the lowest
# or highest rate tried, so that a better one may lie beyond. Frozen gates run at
# the rate of those that learn.
# :::
#
# Seeds that were not run here are read from the committed tables. So every
# figure stands on {result}`gates-against-optimisers/seeds` seeds. This run
# trained {result}`gates-against-optimisers/seeds-here` of them, with every
# method on every task. The number of networks that diverged here is
# {result}`gates-against-optimisers/diverged`. No seed is dropped. A network that
# diverged has a loss, but no steps and no trace to compare.

# %% tags=["hide-input"]
evidence = results.at_quarters(evidence)
curves, last = evidence["training"], results.at_end(evidence["steps"])
final = results.losses(curves)
arms = results.arms(results.at_end(evidence["arms"]))
ratios = (10**-final).groupby("task").median()
for (gate, optimiser), of_task in ratios.items():
    for task, ratio in of_task.items():
        name = f"ratio {task} {gate} {optimiser}".lower().replace(" ", "-")
        chapter.number(name, float(ratio))
chapter.number("seeds", int(final.groupby("task").size().min()))
chapter.number("seeds-here", seeds)
chapter.number("diverged", int((records["run"].diverged >= 0).sum()))

# %% [markdown]
# ## Is anything learned?

# %% tags=["hide-input"]
COLOURS = {gate: figures.GATES[gate]["color"] for gate in figures.GATES}
LINE = {"color": figures.INK, "linewidth": 0.8, "linestyle": ":"}
BY_TASK = {"col": "task", "col_order": [*NAMES.values()], "palette": COLOURS}
BY_TASK |= {"height": 2.9, "aspect": 0.95}
with figures.style():
    look = {"kind": "line", "hue": "gate", "style": "optimiser", **BY_TASK}
    look |= {"estimator": "median", "errorbar": None}
    grid = sns.relplot(curves.replace(NAMES), x="step", y="ratio", **look)
    grid.refline(y=5, **LINE)
    grid.set(yscale="log").set_titles("{col_name}")
    grid.set_axis_labels("training step", "constant's loss / loss")
curves = curves[[*KEYS, "loss", "constant", "ratio", "here"]]
chapter.figure("against-loss", grid.figure, curves)

# %% [markdown]
# :::{figure} /artifacts/gates-against-optimisers/figures/against-loss.svg
# :name: fig-against-loss
# :alt: One panel for each task, the ratio of losses over training steps on a
# :  logarithmic axis, eight rising curves each. On adding they end far apart,
# :  multi-gates under Adam highest. On delay-sum gates under plain SGD end lowest.
#
# Adding needs a learned gate, momentum or Adam; delay-sum is learned better
# without a gate than with one, unless Adam is used; on the moving average every
# method works. How many times
# better than the best constant prediction on fresh data, each method at its own
# best rate: medians of {result}`gates-against-optimisers/seeds` seeds. Above
# the dotted line a network is at least five times better.
# :::

# %% tags=["hide-input"]
for name, claim in exploratory.learned(final).items():
    chapter.claim(name, **claim)

# %% [markdown]
# ## Schedule
#
# ### The identity, as an experiment
#
# Let a constant gate open along training as prescribed, from $0.1$ to $0.6$. By
# C11, what one lag learns is what a network learns whose contributions enter
# *without* the gate's factor, under `torch.optim.lr_scheduler.LambdaLR` with
# $\mu(s) = \mu\, \alpha(s) (1 - \alpha(s))^{\ell}$.
#
# The next rungs ask for more: first all lags at once, then the whole gradient,
# then the ungated network's own forward pass. Different lags need different
# schedules, so no single one can be right. From the second rung on, the ungated
# side gets the best single schedule there is. It is fitted step by step, as the
# factor that brings the ungated gradient closest to the gated one.

# %%
ladder, deviation = identities.ladder(seeds, identity_steps, chapter.device)
words = "one lag at order 0: steps with a gate that opens, and without its factor "
words += "under the predicted schedule, largest relative difference of weights"
check = {"claim": "C11", "scope": f"{identity_steps} steps, {seeds} networks"}
chapter.check("schedule-identity", words, deviation, 1e-10, **check)
ladder = chapter.compare(ladder, "e4-ladder", ["rung", "seed", "step"])
distances = ladder[ladder.step == ladder.step.max()]
distances = distances.groupby("rung", sort=False).apart
words = "with all lags, or the whole gradient, or its own forward pass, no single "
words += "schedule does: all networks end more than a hundredth of the way apart"
parted = bool((distances.min()[1:] > 0.01).all())
chapter.check("schedule-parts", words, parted, **check)
for rung, distance in distances.median().items():
    name = f"apart-{rung}".replace(",", "").replace(" ", "-")
    chapter.number(name, float(distance))

# %% tags=["hide-input"]
with figures.style():
    look = {"kind": "line", "hue": "rung", "style": "rung", "markers": True}
    look |= {"dashes": False, "estimator": "median", "errorbar": ("pi", 100)}
    look |= {"height": 3, "aspect": 1.8}
    grid = sns.relplot(ladder, x="step", y="apart", **look)
    grid.set(xscale="log", yscale="log", ylim=(1e-17, 10))
    grid.set_axis_labels("training step", "distance of weights / way gone")
chapter.figure("against-ladder", grid.figure, ladder)

# %% [markdown]
# :::{figure} /artifacts/gates-against-optimisers/figures/against-ladder.svg
# :name: fig-against-ladder
# :alt: Four curves over training steps on logarithmic axes. One stays at
# :  rounding, the others lie many orders of magnitude higher.
#
# For one lag a moving gate is a schedule, to rounding; for anything more it is
# not. How far the weights of the two networks are apart, relative to the way
# that training has gone: medians and full range over seeds.
# :::
#
# The figure measures a distance as a share of the way that training has gone.
# After the last step it is
# {result}`gates-against-optimisers/apart-one-lag-order-0` for one lag. For all
# lags at once it is {result}`gates-against-optimisers/apart-all-lags-order-0`.
# With its own forward pass, the ungated network ends
# {result}`gates-against-optimisers/apart-its-own-forward-pass` of the way
# apart. A schedule multiplies everything by the same number, and a gate does
# not.
#
# ### Does training make a schedule?
#
# The rate of lag $\ell$ is $\mu\, E[g_k P_{T,k}]$, a mean over sequences and
# neurons. A gate reads the state, so this rate can move although no gate weight
# does. The null is therefore a network whose gate weights stay as they were
# drawn while the others learn. Over lags 1 to 16, the rate must move by $0.1$
# decades (a quarter) more than in the null.
#
# ### Is it the schedule that helps?
#
# A gate that learns changes two things at once: what the network computes, and
# the rates at which lags are learned. An intervention tells them apart. Four
# networks of each seed begin with the same weights and see the same data. In
# the first the gate learns. In the second it is *frozen*: its weights stay as
# drawn. The third is frozen too, but the rates of the first are *imposed* on it.
# At every training step, what its leaks carry back over lag $\ell$ is multiplied
# by one number. It is chosen so that the mean rate of that lag is the one that
# the first network has at this step, on this batch. The rest of its gradient
# stays as it is.
#
# If the schedule is what helps, the gain of learning comes back. The fourth
# network is the null. It gets the same rates at *other lags*, in an order drawn
# for each seed, and its steps are as long as they would be with the rates in
# their places. The imposed rates must beat both the frozen gate and the null, by
# a tenth of a decade of loss.

# %%
for name, claim in exploratory.schedule(evidence["arms"], arms).items():
    chapter.claim(name, **claim)
rival = arms[["frozen", "permuted"]].min(axis=1)
words = "given the rates by lag of a gate that learns, a frozen gate ends with a "
words += "smaller loss than with its own, and with the rates at other lags "
words += "($\\log_{10}$ of the ratio to the better of the two)"
about = {"about": "schedule", "smallest": 0.1, "note": results.PILOT}
chapter.claim(
    "schedule", words, rival - arms["imposed"], unit="decades", primary=True, **about
)
chapter.table("against-imposed", results.imposed_table(arms))


# %% [markdown]
# :::{table-file} /artifacts/gates-against-optimisers/tables/against-imposed.csv
# :name: tab-against-imposed
#
# What a frozen gate gains. Decades by which the final loss lies below that of
# the same network with its gate frozen: if the gate learns, if only its rates by
# lag are imposed, and if they are imposed at other lags. Means with 95 %
# intervals over {result}`gates-against-optimisers/seeds` seeds.
# :::


# %% tags=["hide-input"]
def interval(values):
    return statistics.estimate(values).interval


BARS = {"kind": "line", "errorbar": interval, "err_style": "bars"}
with figures.style():
    look = {"kind": "line", "hue": "gate", "style": "arm", **BY_TASK}
    look |= {"estimator": "median", "errorbar": ("pi", 50)}
    changes = results.changes(evidence["arms"])
    changes = changes[changes.arm.isin(["learns", "frozen"])]
    grid = sns.relplot(changes, x="lag", y="change", **look)
    grid.refline(y=0, **LINE)
    grid.set(xticks=experiment.LAGS).set_titles("{col_name}")
    grid.set_axis_labels(r"lag $\ell$", "change of the rate, decades")
chapter.figure("against-schedule", grid.figure, changes)

# %% [markdown]
# :::{figure} /artifacts/gates-against-optimisers/figures/against-schedule.svg
# :name: fig-against-schedule
# :alt: One panel for each task with the change of the rate over the lag. On
# :  adding the curves of learning gates rise steeply with the lag. On delay-sum
# :  that of the scalar gate falls. On the moving average curves are flat at zero.
#
# On adding, training raises the rates of long lags; on delay-sum it lowers those
# of scalar gates; on the moving average it leaves them alone. Change of
# $\log_{10}$ of the effective rate from before training to after, gates under
# SGD: medians and quartiles of {result}`gates-against-optimisers/seeds` seeds.
# Dashed: gates whose own weights stay as drawn.
# :::
#
# ## Momentum
#
# ### The identity, as an experiment
#
# By C12, `torch.optim.SGD(momentum=β, dampening=β)` that is fed with
# $\varphi'(a_t)\, x_{t-1}^\top$ keeps the eligibility trace of a gate
# $g = 1 - \beta$ in its buffer. So networks can *learn while they read*, one
# update at each step of an endless input, in two ways: by the gate's trace,
# $\delta_t \odot E_t$, and by an ungated trace without memory under torch's
# momentum.
#
# Call $c_t = \varphi'(a_t)\, x_{t-1}^\top$ a *credit*: what the weights have
# just done to the state. Momentum averages $\delta_t\, c_t$, errors and credits
# together. The gate averages the credits and multiplies by the error of now. If
# the error never changes, both give the same. If it changes, they differ:
# momentum remembers old errors, and a gate remembers old credits only.
#
# Two knobs pull them apart. The first is the correlation time of the target,
# which sets how fast errors change. The second is a scalar gate that the data
# move, around $0.2$. With torch's $\beta$ set to $1 - g_t$ at each step, the
# two still agree. With the best fixed $\beta$ they do not.

# %%
updates = 2 * identity_steps
parted, deviations = identities.momentum(seeds, updates, chapter.device)
statements = {
    "momentum-identity": "a loss that is linear in the state: a fixed gate's "
    "trace and torch's momentum make the same weights, relative difference",
    "momentum-moving": r"with torch's $\beta$ set to $1 - g_t$ at every step, the "
    "same for gates that the data move, largest relative difference of the weights",
}
for name, deviation in zip(statements, deviations.values(), strict=True):
    check = {"claim": "C12", "scope": f"{updates} updates, {seeds} networks"}
    chapter.check(name, statements[name], deviation, 1e-10, **check)
parted = chapter.compare(parted, "e4-momentum", ["cause", "place", "seed"])

# %% tags=["hide-input"]
knob = parted.groupby(["cause", "place"]).knob.transform("mean")
with figures.style():
    look = {"col": "cause", "height": 3, "aspect": 1.1, "marker": "o", **BARS}
    look |= {"facet_kws": {"sharex": False}}
    grid = sns.relplot(parted, x=knob, y="apart", **look)
    grid.set(yscale="log").set_titles("{col_name}")
    left, right = grid.axes.flat
    left.set_xscale("symlog", linthresh=2)
    left.set_xticks(identities.TIMES, [f"{t:g}" for t in identities.TIMES])
    left.axvline(1 / identities.ALPHA, **LINE)
    left.set(xlim=(-0.3, 800), xlabel="correlation time of the target, steps")
    right.set(xscale="log", xlabel="standard deviation of the gate over time")
    right.set_xticks([0.03, 0.1, 0.3], ["0.03", "0.1", "0.3"])
    right.minorticks_off()
    grid.set_ylabels("distance of weights / way gone")
chapter.figure("against-momentum", grid.figure, parted.drop(columns="place"))

# %% [markdown]
# :::{figure} /artifacts/gates-against-optimisers/figures/against-momentum.svg
# :name: fig-against-momentum
# :alt: Two panels on logarithmic axes. Left, the distance falls as the
# :  correlation time of the target grows past the gate's time constant. Right,
# :  it rises with the standard deviation of the gate.
#
# A gate's trace and momentum differ when errors change quickly or gates swing.
# How far the weights are apart at the end, relative to the way gone: means over
# seeds with 95 % intervals. Left, a fixed gate and a squared loss, so that
# errors move; dotted, the gate's own time constant. Right, an error that never
# moves, and gates that do.
# :::
#
# ### In trained networks
#
# In these tasks the loss reads the last state only, so a sequence has one
# error, $\delta_T$, and errors that change play no part. Gates that move
# remain. How much of the variance of a trained network's trace $E_T$ does
# textbook momentum explain, with one $\beta$ for each neuron? It is fitted on
# half of the probe's sequences and judged on the other half.
#
# A large $R^2$ alone says little. Gates that hardly vary are explained by nearly
# any $\beta$, and even by the same gates in a random order of time. So momentum
# must explain more than they do: the gain in $R^2$ must exceed $0.1$. In the
# pilot, multi-gates had $R^2$ near one with their gates in either order.
#
# Two exploratory claims ask for less. Does momentum explain nine tenths of the
# trace? And does it explain more than the last credit alone, times the best
# number for each neuron? That would be a trace without memory.

# %%
of_gates = partial(results.of_gates, last)  # by task, gate and seed
gain = of_gates("fixed beta") - of_gates("shuffled gates")
words = "one fixed $\\beta$ for each neuron explains more of the trace of a trained "
words += "gate than the same gates in random order (difference of $R^2$)"
about = {"about": "momentum", "smallest": 0.1, "note": results.PILOT}
chapter.claim("momentum", words, gain, primary=True, **about)
for name, claim in exploratory.momentum(last).items():
    chapter.claim(name, **claim)

# %% [markdown]
# ## Adam
#
# A row of $W_r$ holds the weights into one neuron. Each row has two numbers:
# the gate's mean factor, and the geometric mean of the shadow Adam's rates.
# Spearman's rank correlation over the neurons of one network asks whether the
# two are large in the same rows. Permuted rows give zero in the mean. A second
# null takes the gates of *another* network. The smallest correlation that
# matters is $0.2$: the claim is supported where the correlation is surely
# larger, and agreement is absent where its size is surely smaller.
#
# There are two warnings. The mean factor has the weights $|c|$, which hide the
# sign: the factor of a neuron's summed gradient can be negative, so this
# compares the sizes of factors and not the directions of steps (C8, C13). And
# contributions reach different rows at different lags. So even a *constant*
# gate, one number for all neurons, has row factors that differ and that may
# agree with Adam's. Learned gates must therefore also beat the constant one.
#
# At one lag and in one sequence, a gate gives a whole row the same factor. So
# it can at best supply the part of Adam that differs between rows. How large is
# that part? It is the share of the variance of
# $\log 1/(\sqrt{\hat v_{qp}} + \epsilon)$ that lies between rows. *Threshold:*
# one half.
#
# The last claim is an intervention. Take the row factors of a trained
# multi-gate, and give them to a network without a gate that starts from the same
# weights: each row of its gradient is multiplied by the factor of that row, over
# their geometric mean. The rate is that of plain SGD without a gate. The null
# gives the same factors to other rows. The loss must fall by a tenth of a
# decade against equal rows and against the null.

# %%
words = "gates give large steps to the neurons to which Adam would (rank "
words += "correlation of row steps, multi + SGD)"
alike = of_gates("rows like Adam", ["multi"])
about = {"about": "Adam", "smallest": 0.2, "note": results.PILOT}
chapter.claim("adam", words, alike, primary=True, **about)
others = exploratory.adam(last) | exploratory.preconditioned(final, arms)
for name, claim in others.items():
    chapter.claim(name, **claim)

spreads = results.row_spreads(last).stack().items()
for (task, who), spread in spreads:
    name = f"spread {who} {task}".lower().replace(" ", "-")
    chapter.number(name, float(spread), f"{spread:.2g}")

# %% [markdown]
# A rank has no size. Over the rows of one network on adding, the gate's factors
# have a standard deviation of
# {result}`gates-against-optimisers/spread-gate-adding` decades, and Adam's rates
# one of {result}`gates-against-optimisers/spread-adam-adding`. On delay-sum it
# is {result}`gates-against-optimisers/spread-gate-delay-sum` against
# {result}`gates-against-optimisers/spread-adam-delay-sum`.
#
# The next figure takes one lag at a time. Then no lags are averaged, and a
# constant gate has nothing to differ by.

# %% tags=["hide-input"]
lags = results.by_lag(evidence["lags"])
lags = results.at_end(lags[lags.optimiser == "SGD"])
ranks = lags[lags.gate == "multi"][["task", "seed", "lag", "rank"]]
factors = lags[lags.gate.isin(COLOURS)].groupby(["gate", "seed", "lag"])
factors = factors.factor.mean().reset_index()
factors["factor"] = 10**factors.factor
with figures.style():
    fig, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.4))
    look = {"hue": "gate", "style": "gate", "palette": COLOURS, "ax": left}
    look |= {"estimator": "median", "errorbar": ("pi", 50)}
    sns.lineplot(factors, x="lag", y="factor", **look)
    left.axhline(1, **LINE)
    left.text(16, 0.8, "any optimiser", ha="right", va="top")
    left.set(yscale="log", ylabel="factor of a contribution")
    look = {"hue": "task", "style": "task", "palette": figures.CYCLE[1:4]}
    look |= {"errorbar": interval, "err_style": "bars", "ax": right}
    sns.lineplot(ranks, x="lag", y="rank", **look)
    right.axhline(0, **LINE)
    right.set(ylim=(-1, 1), ylabel="rank correlation with Adam")
    for ax in (left, right):
        ax.set(xlabel=r"lag $\ell$", xticks=experiment.LAGS)
chapter.figure("against-lags", fig, pd.concat([factors, ranks]))
for (task, lag), each in ranks.groupby(["task", "lag"])["rank"]:
    if lag in (0, 8):
        rank = float(each.to_numpy().mean())
        name = f"adam-lag-{lag}-{task}".replace(" ", "-")
        chapter.number(name, rank, f"{rank:.2f}")

# %% [markdown]
# :::{figure} /artifacts/gates-against-optimisers/figures/against-lags.svg
# :name: fig-against-lags
# :alt: Left, three falling curves over the lag on a logarithmic axis and a
# :  flat line at one. Right, rank correlations over the lag for each task with
# :  intervals; one falls from positive to negative, the other stays near zero.
#
# A gate's factor falls with the lag, which no optimiser's does. On adding, its
# likeness to Adam changes sign with the lag. Left, what a step multiplies a
# contribution by, after training: medians and quartiles over seeds, mean over
# tasks. Right, rank correlation of the multi-gate's row factors at one lag with
# the shadow's row rates: means with 95 % intervals; permuted rows give zero.
# :::
#
# On adding, rows with a large factor at lag 0 tend to be those to which Adam
# would give large steps: the rank correlation is
# {result}`gates-against-optimisers/adam-lag-0-adding`. At lag 8 it is the other
# rows: the correlation is {result}`gates-against-optimisers/adam-lag-8-adding`.
# On the moving average there is little of this: at lag 0 the correlation is
# {result}`gates-against-optimisers/adam-lag-0-moving-average`.

# %% tags=["hide-input"]
chapter.table("against-adam-course", pages.course(evidence["steps"]))

# %% [markdown]
# :::{table-file} /artifacts/gates-against-optimisers/tables/against-adam-course.csv
# :name: tab-against-adam-course
#
# Multi-gates under SGD and their shadow Adam along training: means over tasks
# and seeds with 95 % intervals. Spread is the standard deviation of $\log_{10}$
# over coordinates; rows and columns, the shares of Adam's variance between
# them.
# :::
#
# ## Complementary?
#
# If a gate did what Adam does, a gated network would have no use for Adam. The
# paper's second version calls the two "complementary but not equivalent
# mechanisms" {cite}`livi2025timescale`. Two comparisons of losses, paired by
# seed, test the first half. The first sets multi-gates under Adam against the
# *better* of multi-gates under SGD and no gate under Adam. The second is the
# interaction of the two-by-two design. It is negative if gates and Adam help
# more together than the sum of what each does alone.

# %%
for name, claim in exploratory.complementary(final).items():
    chapter.claim(name, **claim)

# %% tags=["hide-input"]
decades = "log10 of constant / loss"
ends = (-final).stack(["gate", "optimiser"]).rename(decades).reset_index()
with figures.style():
    method = (ends.gate + " + " + ends.optimiser).rename("method")
    look = {"kind": "point", "linestyle": "none", "hue": "gate", **BY_TASK}
    look |= {"errorbar": interval, "markersize": 5}
    grid = sns.catplot(ends, x=decades, y=method, **look)
    grid.refline(x=0, **LINE)
    grid.set_axis_labels(r"$\log_{10}$ (constant's loss / loss)", "")
    grid.set_titles("{col_name}")
chapter.figure("against-complementary", grid.figure, ends)

# %% [markdown]
# :::{figure} /artifacts/gates-against-optimisers/figures/against-complementary.svg
# :name: fig-against-complementary
# :alt: One panel for each task with eight methods as rows and dots with
# :  intervals along an axis of decades. On adding, multi-gates under Adam lie
# :  farthest to the right. On the others momentum without a gate lies as far.
#
# On adding, multi-gates under Adam end lowest; on the other two tasks, momentum
# without a gate does about as well. Decades below the best constant's loss on
# fresh data after training, each method at its own best rate: means over
# {result}`gates-against-optimisers/seeds` seeds with 95 % intervals.
# :::
#
# ## Which part of Adam does a gate give?
#
# Read {numref}`fig-against-one-page` column by column. A number without an
# interval holds by construction. *All alike* means that the multiplier is the
# same everywhere, so that there is nothing to measure. The constant gate's
# numbers about coordinates and rows come from the weighting over lags alone. A
# learned gate must exceed them. *Drift* is the change of the mean multiplier
# from the first to the third quarter of training. *Memory along iterations* is
# the share of the next step that earlier gradients decide.

# %% tags=["hide-input"]
page = pages.one_page(evidence["steps"], evidence["lags"])
text = pages.page_text(page)
size = page.pivot(index="property", columns="method", values="mean").abs()
size = size.div(size.max(axis=1), axis=0).fillna(0.0).reindex_like(text)
with figures.style():
    fig, ax = plt.subplots(figsize=(8.4, 6.4))
    look = {"cmap": sns.light_palette(COLOURS["constant"], as_cmap=True)}
    look |= {"annot": text.replace(r" \(", "\n(", regex=True), "fmt": ""}
    look |= {"cbar": False, "linewidths": 2, "vmax": 2.2, "annot_kws": {"size": 8}}
    sns.heatmap(size, ax=ax, **look)
    ax.axvline(3, color=figures.INK)
    ax.xaxis.tick_top()
    ax.set(xlabel="", ylabel="")
    ax.set_yticklabels([name.replace(": ", "\n") for name in size.index])
chapter.figure("against-one-page", fig, page)
chapter.table("against-one-page-numbers", text.reset_index())

# %% [markdown]
# :::{figure} /artifacts/gates-against-optimisers/figures/against-one-page.svg
# :name: fig-against-one-page
# :alt: A table of numbers with nine properties as rows and six methods as
# :  columns. Left of a line three optimisers, right of it three gates. Rows of
# :  coordinates and gradient size are coloured under Adam, those of lags and
# :  sequences under the gates.
#
# Gates act along lags and sequences, Adam on coordinates. Left of the line
# three optimisers on a network without a gate, right of it three gates under
# plain SGD; properties of what a step multiplies contributions by, after
# training. Means over tasks and {result}`gates-against-optimisers/seeds` seeds,
# with 95 % intervals; the stronger the colour, the larger the number within its
# row. The multi-gates' loss on adding is
# {result}`gates-against-optimisers/ratio-adding-multi-sgd` times smaller than
# the best constant's.
# :::
#
# :::{table-file} /artifacts/gates-against-optimisers/tables/against-one-page-numbers.csv
# :name: tab-against-one-page-numbers
#
# The numbers of {numref}`fig-against-one-page`, for those who read on a phone
# or aloud.
# :::
#
# ## Verdicts
#
# Each setting is judged by itself, and a claim by its settings ({ref}`rules`).
# The effect in the table is a mean over settings. It decides nothing where there
# is more than one.

# %% tags=["hide-input"]
chapter.verdicts("against-verdicts")
main = [claim for claim in chapter.claims if claim["primary"]]
chapter.table("against-settings", by_setting(main))
for name, (value, text) in results.quoted(chapter.claims).items():
    chapter.number(name, value, text)

# %% [markdown]
# :::{table-file} /artifacts/gates-against-optimisers/tables/against-verdicts.csv
# :name: tab-against-verdicts
#
# All claims of this chapter.
# :::
#
# :::{table-file} /artifacts/gates-against-optimisers/tables/against-settings.csv
# :name: tab-against-settings
#
# The three claims that decide, setting by setting. The intervals hold together at
# 95 %. A setting is supported if its whole interval lies beyond the smallest
# effect that matters, and absent if it lies within it.
# :::
#
# ## What it means
#
# **Schedule.** Training moves the rates of lags in
# {result}`gates-against-optimisers/schedule-moves.supported` settings:
# {result}`gates-against-optimisers/schedule-moves-where`. There a gate *has* a
# schedule for each lag (C11). A gate that learns ends surely lower than a frozen
# one in {result}`gates-against-optimisers/schedule-gap.supported` settings:
# {result}`gates-against-optimisers/schedule-gap-where`. Imposed on a frozen gate,
# its rates beat the frozen gate and the null in
# {result}`gates-against-optimisers/schedule.supported` settings
# ({numref}`tab-against-imposed`). On adding with a multi-gate, learning gains
# {result}`gates-against-optimisers/schedule-gap-adding-multi` decades, and its
# rates alone gain
# {result}`gates-against-optimisers/schedule-gain-adding-multi`. So the schedule
# is not what helps there. A gate that learns also changes what the network
# computes, and the rest of its gradient. On adding with a scalar gate some
# networks diverge, and the intervals are wide. This intervention changes order 0
# only. In a pilot on adding, multiplying the whole backward signal instead made
# networks diverge.
#
# **Momentum.** Textbook momentum explains more than the same gates in random
# order in {result}`gates-against-optimisers/momentum.supported` settings:
# {result}`gates-against-optimisers/momentum-where`. It explains nine tenths of
# the trace in {result}`gates-against-optimisers/momentum-explains.supported`
# settings. But where it explains that much, gates in random order do nearly as
# well, because they hardly vary over a sequence. Where a scalar gate has learned
# to add, it varies, and momentum explains
# {result}`gates-against-optimisers/momentum-explains-adding-scalar` of the
# trace.
#
# **Adam.** That multi-gates give large steps to the neurons to which Adam would
# is supported in {result}`gates-against-optimisers/adam.supported` settings
# (*{result}`gates-against-optimisers/adam.verdict`*). The rank correlation is
# {result}`gates-against-optimisers/adam-adding-multi` on adding,
# {result}`gates-against-optimisers/adam-moving-average-multi` on the moving
# average and {result}`gates-against-optimisers/adam-delay-sum-multi` on
# delay-sum. More than half of the variance of Adam's log rates lies between rows
# in {result}`gates-against-optimisers/adam-rows.supported` settings, and no more
# than that part could come from one rate for each neuron. A gate's row steps
# help a network without a gate in
# {result}`gates-against-optimisers/adam-rows-help.supported` settings
# (*{result}`gates-against-optimisers/adam-rows-help.verdict`*). They differ too
# little to matter.
#
# **Complementary.** Multi-gates and Adam together beat the better of the two in
# {result}`gates-against-optimisers/complementary.supported` settings:
# {result}`gates-against-optimisers/complementary-where`. The gain is
# {result}`gates-against-optimisers/complementary-adding` decades of loss on
# adding, {result}`gates-against-optimisers/complementary-moving-average` on the
# moving average and {result}`gates-against-optimisers/complementary-delay-sum`
# on delay-sum ({numref}`fig-against-complementary`). Momentum without a gate
# does about as well as both together, except on adding. The number of learning
# rates at the edge of their grid is
# {result}`gates-against-optimisers/at-edge`.
#
# The multipliers of gates are those of order 0, in networks of one size on three
# short tasks. How much of the gradient order 0 holds is measured in
# {ref}`ch-validity`.

# %% tags=["hide-cell"]
minutes = float(records["cost"].query("not search").cpu_seconds.sum()) / 60
chapter.clock("minutes", minutes, f"{minutes:.1f}", "min")

# %% [markdown]
# The runs of this chapter took {result}`gates-against-optimisers/minutes` minutes
# of one core when they were made, training and probes together. Seeds were
# trained side by side.
#
# ## Try it
#
# 1. *Two lags.* Is a schedule right for two lags at once, if the gate moves?
#    And if it does not?
# 2. *Heavy ball.* torch's momentum without dampening is larger by
#    $1/(1-\beta)$. Which learning rate makes it the gate's trace again?
# 3. *A gate that normalises.* Make row steps that are one over the root mean
#    square of each row's gradient. How do they agree with Adam's row rates, and
#    how much of the spread of Adam's rates do they leave?
#
# **Solution 1.** No, in both cases. The gate multiplies what comes from lag 0
# by $\alpha$, and what comes from lag $\ell$ by $\alpha (1 - \alpha)^\ell$. A
# schedule multiplies both by the same number. It can match one of the two
# factors and then misses the other, whether or not the gate moves.

# %% tags=["hide-cell"]
lags = partial(identities.contributions, lags=(0, identities.LAG))
rung = identities.Rung(partial(lags, gated=True), partial(lags, gated=False))
distances = []
for alpha in (None, lambda step: 0.3):  # opening, and standing still
    options = {"alpha": alpha, "device": chapter.device}
    sides = identities.climb(rung, seeds, identity_steps, **options)
    distances.append(identities.apart(sides[0][-1], sides[1][-1], sides[2]))
words = "two lags: no single schedule is right, with a gate that moves or not"
parted = bool((torch.stack(distances) > 1e-3).all())
scope = f"lags 0 and {identities.LAG}, {identity_steps} steps, {seeds} networks"
chapter.check("exercise-two-lags", words, parted, claim="C11", scope=scope)

# %% [markdown]
# **Solution 2.** The rate $\alpha\mu$. Both buffers keep the fraction
# $\beta = 1 - \alpha$ at each step. The gate's trace adds $\alpha$ times the
# new gradient, and heavy ball adds all of it. So the heavy-ball buffer is
# $1/\alpha$ times the trace, and a rate smaller by $\alpha$ makes up for it.
# One detail: torch puts the very first gradient into the buffer whole. The cell
# therefore feeds a zero first, so that both buffers start empty.

# %% tags=["hide-cell"]
draw = torch.Generator().manual_seed(0)
stream = torch.randn(30, 3, generator=draw, dtype=torch.float64)
weights, alpha = torch.zeros(2, 3, dtype=torch.float64), identities.ALPHA
sides = ((1.0, 1 - alpha), (alpha, 0.0))  # the gate's, and heavy ball
for weight, (rate, dampening) in zip(weights, sides, strict=True):
    options = {"momentum": 1 - alpha, "dampening": dampening}
    optimiser = torch.optim.SGD([weight], lr=0.1 * rate, **options)
    for gradient in [torch.zeros_like(weight), *stream]:
        weight.grad = gradient
        optimiser.step()
gap = (weights[0] - weights[1]).abs().max() / weights[0].abs().max()
words = r"momentum without dampening at the rate $\alpha\mu$ makes the steps of "
words += r"the moving average at $\mu$"
about = {"claim": "C12", "scope": "one stream of 30 random gradients"}
chapter.check("exercise-heavy-ball", words, float(gap), 1e-12, **about)

# %% [markdown]
# **Solution 3.** The ranks agree almost perfectly. Where gradients of a row are
# large, both rules make the steps of that row small. Dividing by a row's root
# mean square removes what differs between rows. What differs within a row
# stays, and one number for each row cannot reach it.

# %% tags=["hide-cell"]
task, pair = tasks.get("adding", steps=20), training.generators((1, 2))
model = GatedRNN(task.n_inputs, 32, "multi", replicas=2, generator=pair)
descent = torch.optim.SGD(model.parameters(), lr=0.1)
shadow = optimiser_steps.Shadow(descent, model.W_r)
data = training.generators((1, 2), 123)
training.train(model, task, descent, 60, data, batch=32, progress=False)
adam = shadow.rates()[0]
by_row = 1 / (1 / adam).square().mean(1).sqrt()
rank = step_structure.agreement(by_row, experiment.row_rates(adam)).rank
before = step_structure.structure(adam).spread
remaining = step_structure.structure(adam / by_row.unsqueeze(1)).spread
words = "one second moment a row ranks neurons as Adam does, and leaves a part of "
words += "the spread"
holds = rank > 0.9 and 0 < remaining < before
scope = "two multi-gate networks, n = 32, 60 steps"
chapter.check("exercise-row-adam", words, holds, claim="C13", scope=scope)

# %% tags=["hide-cell"]
chapter.validation()

# %% [markdown]
# :::{table-file} /artifacts/gates-against-optimisers/tables/gates-against-optimisers-validation.csv
# :name: tab-gates-against-optimisers-validation
#
# The checks of this chapter: the identities of C11 and C12, and this run
# against the committed one.
# :::
#
# ## In two sentences
#
# A gate multiplies a contribution by a number that depends on its lag and, if
# it is learned, on the sequence; Adam multiplies it by one that depends on the
# coordinate and on past gradients. As a schedule, as momentum and as Adam the
# gate held in {result}`gates-against-optimisers/schedule.supported`,
# {result}`gates-against-optimisers/momentum.supported` and
# {result}`gates-against-optimisers/adam.supported` settings, and together with
# Adam it beat either alone in
# {result}`gates-against-optimisers/complementary.supported`.

# %% tags=["remove-cell"]
chapter.close()
