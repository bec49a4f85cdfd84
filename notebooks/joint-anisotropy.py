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
# (ch-anisotropy)=
# # Joint anisotropy
#
# Do gates treat directions as unequally as Adam does? Gates give neurons
# learning rates of their own. So some directions last and others fade, the more
# so the longer the lag ({ref}`ch-bptt`). Adam treats coordinates unequally too
# ({ref}`ch-optimisers`). The paper compares the two. From its second version
# on, it finds "directional concentration of gradient flow, with multi-gate
# models matching or exceeding the anisotropic structure produced by Adam"
# {cite}`livi2025timescale`. Its evidence sets a *vanilla network trained by
# Adam* beside *gated networks trained by SGD*.
#
# These networks differ in two things, the model and the optimiser. A difference
# between them may come from either. This chapter adds the missing half of the
# design, every model under both optimisers. So it can say which of the two does
# what.
#
# The answer depends on the object. By AI, the first of two measures below, the
# *updates* of gated networks under SGD match or exceed those of a vanilla
# network under Adam in {result}`joint-anisotropy/matches-adam-update-ai.supported`
# settings. Part of that is Adam's doing, since Adam makes the updates of the
# vanilla network less anisotropic on
# {result}`joint-anisotropy/adam-lowers-update` tasks. In their *propagation*,
# gated networks match it in
# {result}`joint-anisotropy/matches-adam-propagation-ai.supported` settings.
#
# :::{admonition} The claim, and what it takes to judge it
# :class: important
#
# Multi-gates under SGD match or exceed the anisotropy of a vanilla network
# under Adam. In the first, gates are the cause of it; in the second, Adam is.
# To judge the first sentence takes one contrast. To judge the second takes
# three: what gates do under one optimiser, what Adam does to one model, and
# what was there before training.
# :::

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters"}
profile = "ci"
seeds = 2  # run here; the other seeds are read from the reference
block = 0  # seeds a run; 0: all in one
device = "auto"
out = "../artifacts/draft/joint-anisotropy"
tasks_here = ["adding", "ar2", "moving_average", "delay_sum", "narma10"]
until = 1200  # last training step here

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the imports"}
from itertools import product

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
from gatelr import anisotropy, jacobian, judgement, transport
from gatelr.cells import GatedRNN
from gatelr.experiments import joint_anisotropy, joint_anisotropy_claims, runs
from gatelr.experiments.joint_anisotropy import KEYS, PUBLISHED, TASKS
from gatelr.experiments.joint_anisotropy_claims import CONTRASTS, MEASURES, contrast
from gatelr.experiments.tables import by_lag, quartiles
from gatelr.record import Chapter, figures, reference

READS = ["reference/e2-*.csv", "reference/spread.csv"]
chapter = Chapter("joint-anisotropy")

# %% [markdown]
# ## The protocol
#
# Five tasks, with fresh data at every step: adding, a second-order
# autoregression, a moving average, a sum of delayed inputs, and NARMA-10
# {cite}`atiya2000narma`, over $120$ steps. Networks have $64$ neurons and see
# batches of $64$. They take $1200$ steps of SGD at $0.01$ or of Adam at
# $0.001$. They are measured at four checkpoints, before the step. A NARMA
# sequence that diverges is drawn again and counted.
#
# **Propagation.** For each of nine lags, $64$ transports $M_{t,k}$ along fresh
# sequences, products in float64, all $64$ singular values.
#
# **Update.** The gradients of $256$ sequences by all weights, the readout's
# included, are the rows of a matrix. Rows are scaled to unit length and
# centred.
#
# Of each spectrum two numbers are taken:
#
# $$ \mathrm{AI} = \sigma_1 / \sigma_{10}, \qquad \mathrm{CE} = \frac{\sum_{i \le 10} \sigma_i^2}{\sum_{i} \sigma_i^2} , $$
#
# AI says how far the first direction outgrows the tenth. CE says which share of
# the energy ten directions hold. Both are free of scale. CE counts *all*
# values; cut off at sixteen, as in the released code, it would be larger
# ({ref}`ch-replication`).

# %%
measured = runs.load(
    joint_anisotropy.plan(chapter.parameters), block=block, device=chapter.device
)
rows = joint_anisotropy.table(measured)
evidence = chapter.compare(rows, "e2-anisotropy", KEYS)
final = evidence[evidence.step == evidence.step.max()]
before = evidence[evidence.step == 0]

# %% tags=["hide-input"]
networks = final.groupby(["task", "gate", "optimiser"]).seed.nunique()
chapter.number("seeds", int(networks.min()))
chapter.number("seeds-here", seeds, reference.seeds_here(evidence))
chapter.number("last-step", int(final.step.max()))
chapter.number("diverged", int((measured["run"].diverged >= 0).sum()))
chapter.number("redrawn", int(measured["run"].redrawn.sum()))

# %% [markdown]
# The figures show {result}`joint-anisotropy/seeds` fresh seeds, from 21 on. An
# earlier version of this chapter had the seeds 1 to 20. Those are the pilot: the
# rules of judgement were written when they had been seen ({ref}`rules`). The last
# step is {result}`joint-anisotropy/last-step`. This build trained these seeds
# again, on every task and with every model, to the last step:
# {result}`joint-anisotropy/seeds-here`. The rest is read from `reference/`, and
# the rows that both have must agree. Networks that diverged here:
# {result}`joint-anisotropy/diverged`. Sequences drawn again here:
# {result}`joint-anisotropy/redrawn`. No seed is dropped.
#
# ## Is anything learned?
#
# A network that has learned only which constant to say tells little about what
# learning does. So look first at {numref}`fig-anisotropy-loss`. On the
# autoregression nothing *can* be learned, since its inputs say nothing about
# its target.

# %% tags=["hide-input"]
evidence["ratio"] = evidence.constant / evidence.loss
last = evidence[evidence.step == evidence.step.max()]
ratios = last.groupby(["task", "gate", "optimiser"]).ratio.median()
for (task, gate, optimiser), ratio in ratios.items():
    name = f"ratio-{task}-{gate}-{optimiser}".lower().replace("_", "-")
    chapter.number(name, ratio)
printed = ratios.map(lambda r: f"{r:.{2 if r < 10 else 0}f}")
titles = {  # of panels: the task, and how well the published pairs learned it
    task: f"{words}\n" + " · ".join(printed[task, *model] for model in PUBLISHED)
    for task, words in TASKS.items()
}
names = [", ".join(model) for model in joint_anisotropy.MODELS]
gates, optimisers = zip(*joint_anisotropy.MODELS, strict=True)
HUES = [figures.GATES[gate]["color"] for gate in gates]
MARKERS = [figures.GATES[gate]["marker"] for gate in gates]
BY_MODEL = {"hue": "model", "hue_order": names, "palette": HUES}
STYLE = {"style": "model", "style_order": names, "markers": MARKERS}
STYLE["dashes"] = ["" if name == "SGD" else (3, 1.5) for name in optimisers]


def panelled(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the name of their model, and of the panel of their task."""
    rows = rows.assign(model=rows.gate + ", " + rows.optimiser)
    return rows.assign(panel=rows.task.map(titles))


def lines(rows: pd.DataFrame, x: str, y: str, **options) -> sns.FacetGrid:
    """Medians over seeds and their quartiles, a panel for each task."""
    where = {"col": "panel", "col_order": titles.values(), "kind": "line"}
    look = {"estimator": "median", "errorbar": ("pi", 50), "height": 2.0}
    look |= BY_MODEL | STYLE | where | options
    return sns.relplot(panelled(rows), x=x, y=y, **look).set_titles("{col_name}")


with figures.style():
    grid = lines(evidence, "step", "ratio", col_wrap=3, aspect=1.2)
    grid.refline(y=1, color=figures.INK, linestyle=":", linewidth=0.8)
    grid.set(yscale="log")
    grid.set_axis_labels("training step", "constant's loss / loss")
table = evidence[[*KEYS, "loss", "constant", "ratio", "here"]]
chapter.figure("anisotropy-loss", grid.figure, table)

# %% [markdown]
# :::{figure} /artifacts/joint-anisotropy/figures/anisotropy-loss.svg
# :name: fig-anisotropy-loss
# :alt: Five panels of the ratio of losses over training steps for six models,
# :  on a logarithmic axis. On AR(2) all end on the dotted line; on adding only
# :  gated networks under Adam leave it; on the moving average all do.
#
# Adding is learned by gates with Adam only, the moving average by all six. How
# many times better than the best constant prediction, on fresh data: medians of
# {result}`joint-anisotropy/seeds` seeds, shaded between the quartiles (this build
# trained seeds {result}`joint-anisotropy/seeds-here`). On the
# dotted line nothing is learned. Under each name, in every figure below, stand
# the ratios at the end for the three published pairs (none with Adam · scalar
# with SGD · multi with SGD).
# :::
#
# ## Propagation
#
# Look first at how steep the lines of {numref}`fig-anisotropy-propagation` are,
# with gates and without, and then at what the optimiser changes about one
# colour.

# %% tags=["hide-input"]
final = last
anisotropies = by_lag(final, KEYS, ["AI", "CE"])
with figures.style():
    facets = {"sharey": "row", "margin_titles": True}
    where = {"row": "series", "facet_kws": facets, "aspect": 0.78}
    grid = lines(anisotropies, "lag", "value", **where)
    grid.set_titles("", "", "{col_name}").set_axis_labels(r"lag $\ell$", "")
    grid.axes[0, 0].set(yscale="log", ylabel=r"AI $= \sigma_1/\sigma_{10}$")
    grid.axes[1, 0].set_ylabel("CE, top ten of all")
keys = ["task", "gate", "optimiser", "series", "lag"]
chapter.figure("anisotropy-propagation", grid.figure, quartiles(anisotropies, keys))

# %% [markdown]
# :::{figure} /artifacts/joint-anisotropy/figures/anisotropy-propagation.svg
# :name: fig-anisotropy-propagation
# :alt: Two rows of panels over the lag for six models, a column for each task.
# :  AI, the upper row on a logarithmic axis, rises with the lag, mostly most
# :  steeply without gates. CE, the lower row, rises to one.
#
# Propagation grows more anisotropic with the lag, mostly less so with gates
# than without. Medians of {result}`joint-anisotropy/seeds` seeds at step
# {result}`joint-anisotropy/last-step`, shaded between the quartiles; full lines
# are SGD, dashed ones Adam.
# :::
#
# AI and CE sum up sixty-four singular values in two numbers. The whole spectra,
# of the seeds of this run, are in {numref}`fig-anisotropy-spectra`.

# %% tags=["hide-input"]
spectra = measured["spectra"].query("lag in (1, 8, 40) and task == @tasks_here[0]")
spectra = spectra[spectra.step == spectra.step.max()]
with figures.style():
    look = {"col": "lag", "kind": "line", "height": 2.4, "estimator": "median"}
    look |= BY_MODEL | STYLE | {"markers": False, "errorbar": None}
    grid = sns.relplot(panelled(spectra), x="index", y="log10", **look)
    grid.refline(x=10, color=figures.INK, linestyle=":", linewidth=0.8)
    for ax in grid.axes.flat:
        ax.axhspan(-20, -15.5, color=figures.GRID, alpha=0.6, linewidth=0)
    grid.set(ylim=(-17, 0.5)).set_titles("lag {col_name}")
    grid.set_axis_labels("index $i$", r"$\log_{10} \sigma_i/\sigma_1$")
keys = ["task", "gate", "optimiser", "step", "lag", "index"]
table = spectra.groupby(keys, sort=False).log10.median().reset_index()
chapter.figure("anisotropy-spectra", grid.figure, table)

# %% [markdown]
# :::{figure} /artifacts/joint-anisotropy/figures/anisotropy-spectra.svg
# :name: fig-anisotropy-spectra
# :alt: Three panels of singular values in descending order over their index,
# :  relative to the first and on a logarithmic axis. The longer the lag, the
# :  steeper they fall, steepest without gates.
#
# The longer the lag, the fewer directions are left. All singular values of
# transports relative to the first, for the first task of this run at its last
# step: the median over pairs, then over its seeds. AI reads the dotted line. In
# the shaded range the values of a product in float64 are rounding errors.
# :::
#
# ## Updates

# %% tags=["hide-input"]
updates = final.melt(KEYS, ["update AI", "update CE"], "measure")
with figures.style():
    look = {"kind": "point", "estimator": "median", "errorbar": ("pi", 50)}
    look |= {"linestyle": "none", "dodge": 0.6, "err_kws": {"linewidth": 1.5}}
    look |= BY_MODEL | {"markers": MARKERS, "markersize": 5}
    where = {"col": "measure", "sharex": False, "height": 4.2, "aspect": 0.85}
    grid = sns.catplot(panelled(updates), x="value", y="panel", **look, **where)
    grid.set_titles("{col_name}").set(xlabel="", ylabel="")
    grid.axes[0, 0].set_xscale("log")
    for ax in grid.axes.flat:  # open under Adam, every second model
        for points in [line for line in ax.lines if line.get_marker() in MARKERS][1::2]:
            points.set_markerfacecolor("white")
    for handle in grid.legend.legend_handles[1::2]:
        handle.set_markerfacecolor("white")
chapter.figure("anisotropy-update", grid.figure, updates)

# %% [markdown]
# :::{figure} /artifacts/joint-anisotropy/figures/anisotropy-update.svg
# :name: fig-anisotropy-update
# :alt: Two panels, AI and CE, with a row for each task and in it six markers
# :  with bars, one a model, filled under SGD and open under Adam. In most rows
# :  the open markers lie left of the filled ones of the same colour.
#
# Gradients of gated networks are mostly more anisotropic, those of networks
# under Adam less. Medians and quartiles of {result}`joint-anisotropy/seeds`
# seeds at step {result}`joint-anisotropy/last-step`, from the gradients of
# $256$ fresh sequences; filled: SGD, open: Adam.
# :::
#
# ## Model or optimiser?
#
# A contrast is a difference between two models, taken within a task and a seed.
# For propagation, a seed gives one number a task: $\log_{10}$ AI, or CE, averaged
# over the nine lags. For updates there is no lag, and the number stands as it is.
# Each contrast is the difference of two cells of the design:
#
# * **published**: multi under SGD minus none under Adam;
# * **gates under SGD**, **gates under Adam**: multi minus none, the optimiser
#   held fixed;
# * **Adam in none**, **in scalar**, **in multi**: Adam minus SGD, the model
#   held fixed.
#
# The published contrast is *gates under SGD* minus *Adam in none*. Beside every
# contrast stands what it was *before training*: gates differ from none by their
# architecture alone, and that part is no effect of learning.

# %%
with_before = []
for measure, name in product(MEASURES, CONTRASTS):
    start = contrast(before, measure, name).groupby("task").mean()
    judged = judgement.judge(contrast(final, measure, name), threshold=0.0)
    for task in judged.settings:
        row = {"measure": measure, "contrast": name, "task": task.setting}
        row |= {"mean": task.mean, "low": task.low, "high": task.high}
        with_before.append(row | {"before": start[task.setting]})
contrasts = pd.DataFrame(with_before)

# %% tags=["hide-input"]
SHOWN = ["published", "gates under SGD", "gates under Adam", "Adam in none"]
SHOWN_MEASURES = ["propagation AI", "update AI"]
with figures.style():
    fig, axes = plt.subplots(1, 2, figsize=(8.6, 4.4), sharey=True)
    for ax, measure in zip(axes, SHOWN_MEASURES, strict=True):
        drawn = contrasts[contrasts.measure == measure]
        drawn = drawn[drawn.contrast.isin(SHOWN)]
        for i, task in enumerate(TASKS):
            rows = drawn[drawn.task == task]
            y = rows.contrast.map(SHOWN.index) + 0.16 * (i - 2)
            look = {"color": figures.CYCLE[i], "zorder": 3}
            ax.hlines(y, rows.low, rows.high, linewidth=2, **look)
            ax.plot(rows["mean"], y, "osD^v"[i], label=TASKS[task], **look)
            ax.plot(rows.before, y, "x", color=figures.MUTED, markersize=4)
        smallest = joint_anisotropy_claims.SMALLEST["AI"]
        ax.axvspan(-smallest, smallest, color=figures.GRID, linewidth=0)
        ax.axvline(0, color=figures.INK, linewidth=0.8, linestyle=":")
        ax.set(title=measure, xlabel=r"difference of $\log_{10}$ AI")
    axes[0].set_yticks(range(len(SHOWN)), SHOWN)
    axes[0].invert_yaxis()
    fig.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5
    )
drawn = contrasts[contrasts.contrast.isin(SHOWN)]
drawn = drawn[drawn.measure.isin(SHOWN_MEASURES)]
chapter.figure("anisotropy-contrasts", fig, drawn)

# %% [markdown]
# :::{figure} /artifacts/joint-anisotropy/figures/anisotropy-contrasts.svg
# :name: fig-anisotropy-contrasts
# :alt: Two panels, propagation and updates, with four contrasts each. In each
# :  contrast five tasks have a marker with an interval, and a cross for the same
# :  before training. A narrow band about zero is what is too small to matter.
#
# The published contrast adds up what gates do and what Adam undoes, and tasks
# differ. Differences of cells of the design by task at step
# {result}`joint-anisotropy/last-step`: means over
# {result}`joint-anisotropy/seeds` paired seeds, with intervals that hold for the
# five tasks together. Crosses: the same before training. Right of the dotted
# line the first-named cell is more anisotropic; in the grey band the difference
# is too small to matter.
# :::
#
# {numref}`tab-anisotropy-by-task` has the contrasts in all four measures.

# %% tags=["hide-input"]
marks = (contrasts.low > 0).map({True: " ↑", False: ""})
marks = marks.mask(contrasts.high < 0, " ↓")
contrasts["text"] = contrasts["mean"].map("{:+.3f}".format) + marks
table = contrasts.pivot(index=["measure", "contrast"], columns="task", values="text")
table = table.loc[list(product(MEASURES, CONTRASTS)), list(TASKS)]
chapter.table("anisotropy-by-task", table.rename(columns=TASKS).reset_index())

by_contrast = contrasts.groupby(["measure", "contrast"])
above = by_contrast.low.max() > 0
mixed = above & (by_contrast.high.min() < 0)
chapter.number("mixed-contrasts", int(mixed.sum()), f"{mixed.sum()} of {len(mixed)}")
lowered = contrasts.query("measure == 'update AI' and contrast == 'Adam in none'")
lowered = int((lowered.high < 0).sum())
chapter.number("adam-lowers-update", lowered, f"{lowered} of {len(TASKS)}")

# %% [markdown]
# :::{table-file} /artifacts/joint-anisotropy/tables/anisotropy-by-task.csv
# :name: tab-anisotropy-by-task
#
# The contrasts by task at step {result}`joint-anisotropy/last-step`: differences
# of $\log_{10}$ AI or of CE, means over {result}`joint-anisotropy/seeds` seeds. An
# arrow says that the whole interval lies above zero (↑) or below it (↓).
# :::
#
# Of these contrasts, {result}`joint-anisotropy/mixed-contrasts` lie above zero
# on one task and below it on another, each with its whole interval. Effects of
# different sign would cancel in a mean over tasks. So no mean decides here.
#
# (tab-anisotropy-answer)=
# ## Verdicts
#
# Each claim is judged in every setting by itself ({ref}`rules`). A setting is a
# task with what the last column of a row names: the gate of a gated network under
# SGD, the optimiser that is held fixed, or the model that is.
#
# *Matching* needs a margin, and that was set before any run: not more than a
# tenth less in AI, not more than a hundredth less in CE. The same sizes are the
# smallest effects that matter in the other claims. That was decided after the
# pilot had been seen.
#
# Three claims are primary. Two are about the published contrast, in propagation
# and in updates. The third is what gates do to updates with the optimiser held
# fixed. All others are exploratory.

# %%
for claim in joint_anisotropy_claims.claims(final, before):
    chapter.claim(**claim)

# %% tags=["hide-input"]
chapter.verdicts("anisotropy-verdicts")

# %% [markdown]
# :::{table-file} /artifacts/joint-anisotropy/tables/anisotropy-verdicts.csv
# :name: tab-anisotropy-verdicts
#
# All claims of this chapter, {result}`joint-anisotropy/seeds` seeds. The effect is
# the mean over settings, and decides nothing. The null is the same contrast
# before training. A setting is supported if its own interval lies beyond what the
# claim needs.
# :::
#
# ## The answer
#
# Do gated networks under SGD match or exceed the anisotropy of a vanilla network
# under Adam?
#
# * **Propagation.** By AI they do in
#   {result}`joint-anisotropy/matches-adam-propagation-ai.supported` settings, and
#   fall short in {result}`joint-anisotropy/matches-adam-propagation-ai.refuted`.
#   By CE they do in
#   {result}`joint-anisotropy/matches-adam-propagation-ce.supported`.
# * **Update.** By AI they do in
#   {result}`joint-anisotropy/matches-adam-update-ai.supported` settings. By CE
#   they do in {result}`joint-anisotropy/matches-adam-update-ce.supported`.
#
# ## What it means
#
# The published contrast changes two things at once, and
# {numref}`fig-anisotropy-contrasts` takes them one by one.
#
# *Propagation.* Hold the optimiser fixed and add gates. By AI, propagation grows
# more anisotropic in {result}`joint-anisotropy/gates-propagation-ai.supported`
# settings. It does not in
# {result}`joint-anisotropy/gates-propagation-ai.refuted`. By CE the claim holds in
# {result}`joint-anisotropy/gates-propagation-ce.supported` settings. What Adam does
# to propagation depends on the task and the model: it raises AI in
# {result}`joint-anisotropy/adam-propagation-ai.supported` settings.
#
# Why gates lower the anisotropy of propagation is not measured here. One might
# say that the identity in a Jacobian keeps directions together. The first
# exercise warns against this explanation. It takes powers of $(1-g) I + g W$
# with random weights. Their anisotropy is largest for a gate in between, so a
# gate can raise it as well as lower it.
#
# *Updates.* Hold the optimiser fixed and add gates. By AI, gradients grow more
# anisotropic in {result}`joint-anisotropy/gates-update-ai.supported` settings. By
# CE they do in {result}`joint-anisotropy/gates-update-ce.supported`, and in
# {result}`joint-anisotropy/gates-update-ce.absent` the difference is too small to
# matter. Adam, with the model held fixed, makes gradients more anisotropic by AI in
# {result}`joint-anisotropy/adam-update-ai.supported` settings and does not in
# {result}`joint-anisotropy/adam-update-ai.refuted`. So the published contrast has
# two parts, what gates add and what Adam takes away. Which part is larger depends
# on the task.
#
# These are gradients of single sequences, before any optimiser has touched
# them. So an optimiser can change them in one way only, by where in weight
# space it has gone.
#
# *Before training.* Gates make a difference before anything is learned. That
# part comes from architecture and initialisation. Training makes it larger, for
# the AI of updates, in {result}`joint-anisotropy/learned-update-ai.supported`
# settings. For their CE it does in
# {result}`joint-anisotropy/learned-update-ce.supported`.
#
# The paper's second version calls gates and Adam "complementary but not
# equivalent" {cite}`livi2025timescale`. They are not equivalent: the two act on
# different objects ({ref}`ch-optimisers`). They are complementary on adding.
# There, multi-gates under Adam are
# {result}`joint-anisotropy/ratio-adding-multi-adam` times better than the
# constant. Multi-gates under SGD reach
# {result}`joint-anisotropy/ratio-adding-multi-sgd`. None under Adam reaches
# {result}`joint-anisotropy/ratio-adding-none-adam`. On the moving average gates
# do not help Adam: none under Adam reaches
# {result}`joint-anisotropy/ratio-moving-average-none-adam`. Multi-gates under
# Adam reach {result}`joint-anisotropy/ratio-moving-average-multi-adam`. The
# learning rates are the published ones. {ref}`ch-against` gives every method a
# rate of its own.
#
# ## What it cost
#
# The runs note what they took. The table shows the run that filled `reference/`.
# The runs of this build took {result}`joint-anisotropy/minutes` minutes of one
# core.

# %% tags=["hide-input"]
cost = measured["cost"].assign(seeds=seeds, until=until)
names = ["task", "gate", "optimiser", "seeds", "until"]
chapter.compare(cost, "e2-cost", names, {})
full = pd.read_csv("../reference/e2-cost.csv")
pairs = pd.MultiIndex.from_frame(full[["gate", "optimiser"]]).isin(PUBLISHED)
minutes = float(cost.cpu_seconds.sum()) / 60
chapter.clock("minutes", minutes, f"{minutes:.1f}", "min")
for name, rows in {"minutes-published": full[pairs], "minutes-full": full}.items():
    minutes = float(rows.cpu_seconds.sum()) / 60
    chapter.number(name, minutes, f"{minutes:.0f}", "min")
full["CPU minutes"] = full.cpu_seconds / 60
by_task = full.groupby(["seeds", "task"], sort=False)
table = by_task.agg({"CPU minutes": "sum", "machine": "first"}).reset_index()
table["CPU minutes"] = table["CPU minutes"].map("{:.1f}".format)
chapter.table("anisotropy-cost", table)

# %% [markdown]
# :::{table-file} /artifacts/joint-anisotropy/tables/anisotropy-cost.csv
# :name: tab-anisotropy-cost
#
# What the runs took when they were computed, all seeds of a run side by side,
# training and probes of all six models together.
# :::
#
# ## Try it
#
# 1. *The identity's share.* Draw random matrices $W$ with entries of variance
#    $1/3n$, as the networks have them, and compute AI of $((1-g) I + g W)^{10}$
#    for $g$ from $0.05$ to 1. Where is it largest, and what happens at both
#    ends?
# 2. *A measure that cannot be fooled by ten.* AI compares with the tenth value
#    only. Does the participation ratio of the first exercise's products tell
#    the same story?
# 3. *Rows that are not normalised.* Scale one of two hundred and fifty-six
#    random gradients by a thousand. What happens to update CE with, and
#    without, unit rows?
#
# :::{dropdown} Solutions
# 1. It is largest in between. A slow gate leaves nearly the identity, which
#    treats all directions alike, so AI is near one. An open gate leaves powers
#    of $W$ alone, and many directions fade together. In between, the
#    eigenvalues of $(1-g) I + g W$ lie in a disc about $1-g$. The few near its
#    outer edge outlast all others.
# 2. Yes. The participation ratio counts how many directions share the energy,
#    and it uses all singular values. It is smallest for a gate in between.
# 3. Without unit rows the loud gradient holds nearly all of the energy. CE is
#    then close to one, whatever the others do. With unit rows it is one of
#    many, and CE is small. That is why rows are scaled before CE is taken.
#
# The cells below compute all three.
# :::

# %% tags=["hide-cell"]
draw = torch.Generator().manual_seed(1)
n = 64
W = torch.randn(16, n, n, generator=draw, dtype=torch.float64) / (3 * n) ** 0.5
identity = torch.eye(n, dtype=torch.float64)
rows = {}
for g in (0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0):
    power = torch.linalg.matrix_power((1 - g) * identity + g * W, 10)
    sigma = torch.linalg.svdvals(power)
    rows[g] = {
        "log10 AI": float(anisotropy.anisotropy_index(sigma, 10).log10().mean()),
        "directions": float(anisotropy.participation_ratio(sigma).mean()),
    }
grown = pd.DataFrame(rows).T
ai = grown["log10 AI"]
about = {"claim": "C14", "scope": f"n = {n}, 16 random W, power 10, seven gates"}
chapter.check(
    "exercise-identity",
    "the anisotropy of powers of $(1-g)I + gW$ is largest for a gate between 0 and 1",
    bool(0.1 < ai.idxmax() < 1 and ai[0.05] < ai[1.0]),
    **about,
)
chapter.check(
    "exercise-participation",
    "the participation ratio is smallest for a gate between 0 and 1",
    bool(0.1 < grown.directions.idxmin() < 1),
    **about,
)
grown.rename_axis("g").round(2)

# %% tags=["hide-cell"]
gradients = torch.randn(256, 500, generator=draw, dtype=torch.float64)
loud = gradients.clone()
loud[0] *= 1000
bare = torch.linalg.svdvals(loud - loud.mean(0))
unit = anisotropy.update_spectrum(loud)
shares = [float(anisotropy.energy_concentration(s, 10)) for s in (bare, unit)]
chapter.check(
    "exercise-rows",
    "a single loud gradient takes all the energy, unless rows are scaled to "
    "unit length",
    shares[0] > 0.99 and shares[1] < 0.2,
    claim="C14",
    scope="256 random gradients of 500 weights",
)

# %% [markdown]
# ## What was checked
#
# Beside the measured spectra stands the closed form behind C14: with constant
# gates and no recurrent weights, the leak alone makes transport anisotropic.

# %% tags=["hide-cell"]
alpha = torch.linspace(0.1, 0.6, 8, dtype=torch.float64)
generator = torch.Generator().manual_seed(0)
options = {"alpha": alpha, "generator": generator, "dtype": torch.float64}
model = GatedRNN(2, 8, "constant", **options).requires_grad_(False)
model.W_r.zero_()
run = model.run(torch.zeros(12, 1, 2, dtype=torch.float64))
sigma = transport.spectra(jacobian.blocks(model, run), [10])[10]
grown = anisotropy.anisotropy_index(sigma, 8).max()
expected = ((1 - alpha[0]) / (1 - alpha[-1])) ** 10
chapter.check(
    "leak-alone",
    "without recurrent weights AI is "
    r"$((1-\alpha_{\min})/(1-\alpha_{\max}))^{\ell}$",
    float(abs(grown / expected - 1)),
    1e-12,
    claim="C14",
    scope="n = 8, one set of constants, lag 10",
)
chapter.validation()

# %% [markdown]
# :::{table-file} /artifacts/joint-anisotropy/tables/joint-anisotropy-validation.csv
# :name: tab-joint-anisotropy-validation
#
# The checks of this chapter: this run against the committed one, the leak's own
# anisotropy, and the exercises.
# :::
#
# ## In two sentences
#
# By AI, gated networks under SGD match or exceed the anisotropy of a vanilla
# network under Adam in {result}`joint-anisotropy/matches-adam-update-ai.supported`
# settings for updates, and in
# {result}`joint-anisotropy/matches-adam-propagation-ai.supported` for propagation.
# With the optimiser held fixed, gates make updates more anisotropic in
# {result}`joint-anisotropy/gates-update-ai.supported` settings and propagation in
# {result}`joint-anisotropy/gates-propagation-ai.supported`.

# %% tags=["hide-input"]
chapter.close()
