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
# Gates give neurons learning rates of their own, so directions that last and directions that fade part ways as the lag grows ({ref}`ch-bptt`). Adam also treats coordinates unequally ({ref}`ch-optimisers`). The paper compares the two: gated networks trained by plain SGD are found
# to show "directional concentration of gradient flow, with multi-gate models matching or exceeding the anisotropic structure produced by Adam" {cite}`livi2025timescale`. Its evidence sets a *vanilla network trained by Adam* beside *gated networks trained by SGD*.
#
# Two things differ between those, the model and the optimiser, and a difference between them belongs to neither. This chapter adds the missing half of the design, every model under both optimisers, and so can say which does what.
#
# :::{admonition} The claim, and what it takes to judge it
# :class: important
#
# Multi-gates under SGD match or exceed the anisotropy of a vanilla network under Adam, and gates are the cause of it in the one as Adam is in the other. The first half is one contrast. The second needs three: what gates do under one optimiser, what Adam does to one model, and what was there before training.
# :::

# %% tags=["parameters"]
profile = "ci"
seeds = 3  # run here; the other seeds are read from the reference
device = "auto"
out = "../artifacts/draft/10-joint-anisotropy"
location = "../_build/cells"  # of what was computed; may be deleted at any time
tasks_here = ["adding"]  # run here
until = 400  # last training step here

# %% tags=["hide-input"]
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from gatelr import anisotropy, jacobian, transport
from gatelr import cells as networks
from gatelr.experiments import runs, statistics
from gatelr.record import devices, figures, ledger, references
from IPython.display import Markdown

READS = ["reference/e2-*.csv"]
TITLE = "Joint anisotropy"
parameters = {
    "profile": profile, "seeds": seeds, "device": device, "location": location,
    "tasks_here": tasks_here, "until": until,
}  # fmt: skip
record = ledger.Ledger("10-joint-anisotropy", TITLE, out, parameters)
where = devices.resolve(device)

# %% [markdown]
# ## The protocol
#
# Experiment E2, with fresh data at every step: adding, a second-order autoregression, a moving average, a sum of delayed inputs, and NARMA-10 {cite}`atiya2000narma`, over $120$ steps; $64$ neurons; batches of $64$; $1200$ steps of SGD at $0.01$ or of Adam at $0.001$; four checkpoints, before the step. A NARMA sequence that
# diverges is drawn again and counted.
#
# **Propagation.** For each of nine lags, $64$ transports $M_{t,k}$ along fresh sequences, products in float64, all $64$ singular values. **Update.** The gradient of each of $256$ sequences by all weights, the readout's included, as rows of a matrix, scaled to unit length and centred. Of each spectrum two numbers are taken:
#
# $$ \mathrm{AI} = \sigma_1 / \sigma_{10}, \qquad \mathrm{CE} = \frac{\sum_{i \le 10} \sigma_i^2}{\sum_{i} \sigma_i^2} , $$
#
# how far the first direction outgrows the tenth, and which share of the energy ten directions hold. Both are free of scale. CE counts *all* values; cut off at sixteen, as in the released code, it would be larger ({ref}`ch-replication`).

# %%
TASKS = ["adding", "ar2", "moving_average", "delay_sum", "narma10"]
NAMES = dict(zip(TASKS, ["adding", "AR(2)", "moving average", "delay-sum", "NARMA-10"], strict=True))  # fmt: skip
MODELS = list(product(["none", "scalar", "multi"], ["SGD", "Adam"]))
PUBLISHED = [("none", "Adam"), ("scalar", "SGD"), ("multi", "SGD")]
LAGS = [1, 2, 4, 8, 12, 16, 24, 32, 40]
CHECKPOINTS = (0, 400, 800, 1200)
cell = runs.cells(location)


def measured(task: str, gate: str, optimiser: str) -> runs.Tables:
    """One cell: all seeds of this run, up to the step that this run goes to."""
    reached = tuple(step for step in CHECKPOINTS if step <= until)
    found = cell(
        "E2", task, gate, optimiser, range(1, seeds + 1),
        steps=reached[-1], checkpoints=reached, device=str(where),
    )  # fmt: skip
    return {
        name: table.assign(task=task, gate=gate, optimiser=optimiser)
        for name, table in found.items()
    }


cells = [measured(task, *model) for task, model in product(tasks_here, MODELS)]
own = {
    name: pd.concat([tables[name] for tables in cells], ignore_index=True)
    for name in cells[0]
}

# %%
KEYS = ["task", "gate", "optimiser", "seed", "step"]
by_lag = own["propagation"].pivot(index=KEYS, columns="lag", values=["AI", "CE"])
by_lag.columns = [f"{measure} @{lag}" for measure, lag in by_lag.columns]
table = (
    own["training"][[*KEYS, "loss", "constant"]]
    .merge(
        own["update"].rename(columns={"AI": "update AI", "CE": "update CE"}), on=KEYS
    )
    .merge(by_lag.reset_index(), on=KEYS)
)
TOLERANCES = (
    {"loss": (0.0, 0.05), "update AI": (0.0, 0.05), "update CE": (0.01, 0.0)}
    | {f"AI @{lag}": (0.0, 0.05) for lag in LAGS}
    | {f"CE @{lag}": (0.01, 0.0) for lag in LAGS}
)
settled = references.settle(
    table, "e2-anisotropy", KEYS, TOLERANCES, folder="../reference", out=out
)
record.check(
    "reference-anisotropy",
    "C14",
    f"this run and the committed one agree: {settled.shared} rows that both have, "
    "largest difference over its tolerance",
    settled.gap,
    1.0,
)
evidence = settled.rows
evidence["ratio"] = evidence.constant / evidence.loss
final = evidence[evidence.step == evidence.step.max()]
before = evidence[evidence.step == 0]
present = [task for task in TASKS if (final.task == task).any()]
SEEDS = int(final.groupby(["task", "gate", "optimiser"]).seed.nunique().min())
STEP = int(final.step.max())
record.number("seeds", SEEDS)
record.number("seeds-here", seeds)
diverged, redrawn = int((own["run"].diverged >= 0).sum()), int(own["run"].redrawn.sum())
record.number("diverged", diverged)
record.number("redrawn", redrawn)
Markdown(
    f"The figures show **{SEEDS} seeds** at step {STEP}. This run trained {seeds} of them on {len(tasks_here)} of {len(TASKS)} tasks up to step {until}; the others are read from `reference/`, and what both have agrees (above). "
    f"{diverged or 'No'} network{'s' if diverged != 1 else ''} diverged; {redrawn or 'no'} sequence{'s' if redrawn != 1 else ''} had to be drawn again; no seed is dropped."
)

# %% [markdown]
# ## Is anything learned?
#
# {numref}`fig-anisotropy-loss` says how to read everything below: a network that has learned no more than which constant to say can say little about what learning does. On the autoregression nothing *can* be learned, since its inputs say nothing about its target.

# %% tags=["hide-input"]
STYLES = {"SGD": "-", "Adam": "--"}
middle = final.groupby(["task", "gate", "optimiser"]).ratio.median()
LEARNED = 2  # times better than the best constant, in the median over seeds
winners = {
    task: [f"{'vanilla' if gate == 'none' else gate} with {optimiser}" for gate, optimiser in MODELS if middle[task, gate, optimiser] >= LEARNED]
    for task in present
}  # fmt: skip


def who(task: str) -> str:
    """Which of the models learned a task, in words."""
    count = {0: "none of the six", len(MODELS): "all six"}
    return count.get(len(winners[task]), ", ".join(winners[task]))


def look(gate: str, optimiser: str) -> dict:
    """Colour and marker of the gate, line and filling of the optimiser."""
    fill = {} if optimiser == "SGD" else {"markerfacecolor": "white"}
    return figures.GATES[gate] | {"linestyle": STYLES[optimiser]} | fill


with figures.style():
    fig, axes = plt.subplots(1, len(present), figsize=(8.6, 2.9), sharey=True, squeeze=False)  # fmt: skip
    for ax, task in zip(axes[0], present, strict=True):
        for gate, optimiser in MODELS:
            rows = evidence[(evidence.task == task) & (evidence.gate == gate) & (evidence.optimiser == optimiser)]  # fmt: skip
            series = rows.pivot(index="step", columns="seed", values="ratio")
            ax.plot(series.index, series, color=figures.GATES[gate]["color"], linewidth=0.4, alpha=0.3)  # fmt: skip
            ax.plot(series.index, series.median(axis=1), label=f"{gate}, {optimiser}", **look(gate, optimiser))  # fmt: skip
        ax.axhline(1, color=figures.INK, linewidth=0.8, linestyle=":")
        ax.set(yscale="log", xlabel="training step", title=NAMES[task])
    axes[0, 0].set_ylabel("constant's loss / loss")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6)  # fmt: skip
figures.save(
    fig, "anisotropy-loss", evidence[[*KEYS, "loss", "constant", "ratio", "here"]],
    caption=f"How many times better than the best constant prediction, on fresh data, six models on {len(present)} task{'s' if len(present) > 1 else ''}: {SEEDS} seeds (thin) and medians. On the dotted line nothing is learned.",
    alt=f"{len(present)} panels of the ratio of losses over training steps for six models, on a logarithmic axis. At least {LEARNED} at the end: "
    + "; ".join(f"on {NAMES[task]} {who(task)}" for task in present) + ".",
    chapter="10-joint-anisotropy", out=out,
)  # fmt: skip

# %% tags=["hide-input"]
for (task, gate, optimiser), value in middle.items():
    record.number(f"ratio-{task}-{gate}-{optimiser}".lower().replace("_", "-"), float(value))  # fmt: skip
best = {task: float(middle[task].max()) for task in present}
Markdown(
    f"**Who learned:** at least {LEARNED} times better than the best constant, in the median over {SEEDS} seeds, are: "
    + "; ".join(f"on {NAMES[task]}, {who(task)}" for task in present)
    + ". How many times better the best of the six is: "
    + ", ".join(f"{NAMES[task]} {value:.2f}" for task, value in best.items())
    + "."
)

# %% [markdown]
# ## Propagation

# %% tags=["hide-input"]
frames = []
with figures.style():
    fig, axes = plt.subplots(2, len(present), figsize=(8.6, 4.8), sharey="row", sharex=True, squeeze=False)  # fmt: skip
    for (row, measure), (column, task) in product(enumerate(("AI", "CE")), enumerate(present)):  # fmt: skip
        ax = axes[row, column]
        for gate, optimiser in MODELS:
            rows = final[(final.task == task) & (final.gate == gate) & (final.optimiser == optimiser)]  # fmt: skip
            values = rows[[f"{measure} @{lag}" for lag in LAGS]].to_numpy()
            low, centre, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
            ax.plot(LAGS, centre, label=f"{gate}, {optimiser}", **look(gate, optimiser))
            ax.fill_between(LAGS, low, high, color=figures.GATES[gate]["color"], alpha=0.15, linewidth=0)  # fmt: skip
            frames.append(
                pd.DataFrame({"task": task, "gate": gate, "optimiser": optimiser, "measure": measure, "lag": LAGS,
                              "lower quartile": low, "median": centre, "upper quartile": high})
            )  # fmt: skip
        if measure == "AI":
            ax.set(yscale="log", title=NAMES[task])
            learned = [f"{middle[(task, *model)]:.2f}" for model in PUBLISHED]
            ax.annotate(" · ".join(learned), (0.03, 0.92), xycoords="axes fraction", fontsize=7.5)  # fmt: skip
        else:
            ax.set(ylim=(0, 1.03), xlabel=r"lag $\ell$")
    axes[0, 0].set_ylabel(r"AI $= \sigma_1/\sigma_{10}$")
    axes[1, 0].set_ylabel("CE, top ten of all")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6)  # fmt: skip
figures.save(
    fig, "anisotropy-propagation", pd.concat(frames),
    caption=f"Anisotropy of propagation by lag at step {STEP}: medians of {SEEDS} seeds and their quartiles. Filled markers and full lines: SGD; open markers and dashed lines: Adam. In each panel above, how many times smaller the loss is than the best constant's for the three published pairs (none with Adam · scalar "
    "with SGD · multi with SGD).",
    alt="Two rows of panels over the lag for six models, a column for each task. "
    + " ".join(f"{measure}, {axis}: the median over all goes from {final[f'{measure} @{LAGS[0]}'].median():.3g} at lag {LAGS[0]} to {final[f'{measure} @{LAGS[-1]}'].median():.3g} at lag {LAGS[-1]}."
               for measure, axis in (("AI", "upper row, logarithmic"), ("CE", "lower row"))),
    chapter="10-joint-anisotropy", out=out,
)  # fmt: skip

# %% [markdown]
# AI and CE are two numbers of sixty-four. The whole spectra, of the seeds of this run, are in {numref}`fig-anisotropy-spectra`.

# %% tags=["hide-input"]
spectra = own["spectra"]
spectra = spectra[(spectra.step == spectra.step.max()) & (spectra.task == tasks_here[0])]  # fmt: skip
chosen = [1, 8, 40]
with figures.style():
    fig, axes = plt.subplots(1, 3, figsize=(8.2, 3.0), sharey=True)
    for ax, lag in zip(axes, chosen, strict=True):
        for gate, optimiser in MODELS:
            part = spectra[(spectra.lag == lag) & (spectra.gate == gate) & (spectra.optimiser == optimiser)]  # fmt: skip
            ax.plot(part["index"], part.log10, label=f"{gate}, {optimiser}", **(look(gate, optimiser) | {"marker": ""}))  # fmt: skip
        ax.axvline(10, color=figures.INK, linewidth=0.8, linestyle=":")
        ax.axhspan(-20, -15.5, color=figures.GRID, alpha=0.6, linewidth=0)
        ax.set(title=f"lag {lag}", xlabel="index $i$", ylim=(-17, 0.5))
    axes[0].set_ylabel(r"$\log_{10} \sigma_i/\sigma_1$")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)  # fmt: skip
figures.save(
    fig, "anisotropy-spectra", spectra[spectra.lag.isin(chosen)][["task", "gate", "optimiser", "step", "lag", "index", "log10"]],
    caption=f"All singular values of transports relative to the first, {NAMES[tasks_here[0]]}, medians over pairs and the {seeds} seeds of this run at step {int(spectra.step.max())}. AI reads the dotted line. In the shaded range a product in float64 is rounding.",
    alt="Three panels of singular values in descending order over their index, relative to the first and on a logarithmic axis. "
    + "Median of the tenth: " + "; ".join(f"lag {lag}, ten to the {spectra[(spectra.lag == lag) & (spectra['index'] == 10)].log10.median():.1f}" for lag in chosen) + ".",
    chapter="10-joint-anisotropy", out=out,
)  # fmt: skip

# %% [markdown]
# ## Updates

# %% tags=["hide-input"]
frames = []
with figures.style():
    fig, axes = plt.subplots(1, 2, figsize=(8.2, 4.6), sharey=True)
    for ax, measure in zip(axes, ("update AI", "update CE"), strict=True):
        for place, task in enumerate(present):
            for shift, (gate, optimiser) in zip(np.linspace(-0.35, 0.35, 6), MODELS, strict=True):  # fmt: skip
                rows = final[(final.task == task) & (final.gate == gate) & (final.optimiser == optimiser)]  # fmt: skip
                values = rows[measure]
                drawn = look(gate, optimiser)
                ax.plot(values, np.full(len(values), place + shift), "|", color=drawn["color"], alpha=0.6, markersize=5)  # fmt: skip
                ax.plot(values.median(), place + shift, label=f"{gate}, {optimiser}" if place == 0 else None, **(drawn | {"linestyle": ""}))  # fmt: skip
                frames.append(rows[[*KEYS, measure]].rename(columns={measure: "value"}).assign(measure=measure))  # fmt: skip
        ax.set(xlabel={"update AI": r"AI $= \sigma_1/\sigma_{10}$", "update CE": "CE, top ten of all"}[measure])  # fmt: skip
    axes[0].set_xscale("log")
    axes[0].set_yticks(range(len(present)), [f"{NAMES[task]}\n" + " · ".join(f"{middle[(task, *model)]:.2f}" for model in PUBLISHED) for task in present])  # fmt: skip
    axes[0].invert_yaxis()
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)  # fmt: skip
figures.save(
    fig, "anisotropy-update", pd.concat(frames),
    caption=f"Anisotropy of updates at step {STEP}, from the gradients of 256 fresh sequences: each tick is one of {SEEDS} seeds, markers are medians. Under the names, how many times smaller the loss is than the best constant's for the three published pairs.",
    alt="Two panels, AI and CE, with a row for each task and in it six groups of ticks, one a model, with a marker at the median: filled under SGD, open under Adam.",
    chapter="10-joint-anisotropy", out=out,
)  # fmt: skip

# %% [markdown]
# ## Model or optimiser?
#
# Now the contrasts. For propagation, a seed gives one number a task: $\log_{10}$ AI, or CE, averaged over the nine lags. For updates the number itself. Tasks are averaged, seeds are paired. Each contrast is the difference of two cells of the design:
#
# * **published**: multi under SGD minus none under Adam;
# * **gates under SGD**, **gates under Adam**: multi minus none, the optimiser held fixed;
# * **Adam in none**, **in scalar**, **in multi**: Adam minus SGD, the model held fixed.
#
# The published contrast is *gates under SGD* minus *Adam in none*. Beside every contrast stands what it was *before training*: gates differ from none by their architecture alone, and that part is no effect of learning.

# %%
MEASURES = {
    "propagation AI": lambda rows: np.log10(rows[[f"AI @{lag}" for lag in LAGS]]).mean(axis=1),
    "propagation CE": lambda rows: rows[[f"CE @{lag}" for lag in LAGS]].mean(axis=1),
    "update AI": lambda rows: np.log10(rows["update AI"]),
    "update CE": lambda rows: rows["update CE"],
}  # fmt: skip
CONTRASTS = {
    "published": (("multi", "SGD"), ("none", "Adam")),
    "scalar, published": (("scalar", "SGD"), ("none", "Adam")),
    "gates under SGD": (("multi", "SGD"), ("none", "SGD")),
    "gates under Adam": (("multi", "Adam"), ("none", "Adam")),
    "Adam in none": (("none", "Adam"), ("none", "SGD")),
    "Adam in scalar": (("scalar", "Adam"), ("scalar", "SGD")),
    "Adam in multi": (("multi", "Adam"), ("multi", "SGD")),
}


def by_task(rows: pd.DataFrame, measure: str, name: str) -> pd.Series:
    """One number a task and seed: the difference of two cells."""
    values = rows.assign(value=MEASURES[measure](rows)).set_index(["gate", "optimiser", "task", "seed"]).sort_index().value  # fmt: skip
    more, less = CONTRASTS[name]
    return values.loc[more] - values.loc[less]


def contrast(rows: pd.DataFrame, measure: str, name: str) -> pd.Series:
    """One number a seed: the same, mean over tasks."""
    return by_task(rows, measure, name).groupby("seed").mean()


found, frames = {}, []
for measure, name in product(MEASURES, CONTRASTS):
    trained = contrast(final, measure, name)
    at_start = contrast(before, measure, name)
    found[measure, name] = statistics.estimate(trained), float(at_start.mean())
    frames.append(
        pd.DataFrame({"measure": measure, "contrast": name, "seed": trained.index, "after": trained.values,
                      "before": at_start.reindex(trained.index).values})
    )  # fmt: skip
contrasts = pd.concat(frames)

# %% tags=["hide-input"]
UNITS = {"propagation AI": r"$\Delta \log_{10}$ AI, propagation", "propagation CE": r"$\Delta$ CE, propagation",
         "update AI": r"$\Delta \log_{10}$ AI, update", "update CE": r"$\Delta$ CE, update"}  # fmt: skip
with figures.style():
    fig, axes = plt.subplots(1, 4, figsize=(8.8, 3.4), sharey=True)
    for ax, measure in zip(axes, MEASURES, strict=True):
        for place, name in enumerate(CONTRASTS):
            of, start = found[measure, name]
            part = contrasts[(contrasts.measure == measure) & (contrasts.contrast == name)]  # fmt: skip
            hue = figures.CYCLE[0] if "published" in name else figures.CYCLE[1] if "gates" in name else figures.CYCLE[2]  # fmt: skip
            ax.plot(part.after, np.full(len(part), place + 0.22), "|", color=hue, alpha=0.5, markersize=5)  # fmt: skip
            ax.plot([of.low, of.high], [place, place], color=hue, linewidth=2.4)
            ax.plot(of.mean, place, "o", color=hue, label="after training" if place == 0 else None)  # fmt: skip
            ax.plot(start, place, "x", color=figures.MUTED, label="before" if place == 0 else None)  # fmt: skip
        ax.axvline(0, color=figures.INK, linewidth=0.8, linestyle=":")
        ax.set_xlabel(UNITS[measure])
    axes[0].set_yticks(range(len(CONTRASTS)), list(CONTRASTS))
    axes[0].invert_yaxis()
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
figures.save(
    fig, "anisotropy-contrasts", contrasts,
    caption=f"What model and optimiser do: differences of cells of the design at step {STEP}, means over {len(present)} task{'s' if len(present) > 1 else ''} with 95 % bootstrap intervals over {SEEDS} paired seeds (ticks). Crosses: the same before training. Right of the dotted line the first-named cell is more anisotropic. On this scale, "
    f"losses are {min(middle):.2f} to {max(middle):.2f} times better than the best constant's.",
    alt=f"Four panels, one a measure, with {len(CONTRASTS)} contrasts each, as dots with intervals and crosses. The crosses of the contrasts that change the optimiser alone lie on the dotted line, since nothing differs before training; those of the others need not.",
    chapter="10-joint-anisotropy", out=out,
)  # fmt: skip

# %% [markdown]
# A mean over tasks can hide that they disagree. {numref}`tab-anisotropy-by-task` has the same contrasts task by task.

# %% tags=["hide-input"]
apart = {key: by_task(final, *key) for key in product(MEASURES, [name for name in CONTRASTS if name != "scalar, published"])}  # fmt: skip
record.table(
    pd.DataFrame(
        [
            {"measure": measure, "contrast": name}
            | {NAMES[task]: f"{values[task].mean():+.3f} ({int((values[task] > 0).sum())})" for task in present}
            for (measure, name), values in apart.items()
        ]
    ),
    "anisotropy-by-task",
    caption=f"The contrasts by task at step {STEP}: differences of $\\log_{{10}}$ AI or of CE, means over {SEEDS} seeds, and in brackets in how many seeds the difference is above zero.",
)  # fmt: skip

# %% [markdown]
# ## Verdicts
#
# *Matching* needs a margin, set before the runs: not more than a tenth less in AI, not more than a hundredth less in CE.

# %%
MARGINS = {"AI": float(np.log10(0.9)), "CE": -0.01}
tests = []


def judge(
    name: str,
    word: str,
    statement: str,
    values: pd.Series,
    null: float,
    threshold: float = 0.0,
) -> str:
    of = statistics.estimate(values.to_numpy(), threshold=threshold)
    verdict = record.claim(
        name, word, statement, of.mean, of.interval, threshold=threshold, null=null, seeds=of.seeds,
        note="mean over tasks and seeds, BCa bootstrap over seeds; the null is the same contrast before training",
    )  # fmt: skip
    tests.append((name, of.mean, *of.interval, threshold, of.p, verdict))
    return verdict


for measure in MEASURES:
    slug, kind = measure.lower().replace(" ", "-"), measure[-2:]
    unit = "difference of $\\log_{10}$ AI" if kind == "AI" else "difference of CE"
    for who, name in (("multi", "published"), ("scalar", "scalar, published")):
        judge(
            f"matches-adam-{slug}-{who}", "anisotropy",
            f"a {who} gate under SGD matches or exceeds none under Adam: {measure} ({unit})",
            contrast(final, measure, name), found[measure, name][1], MARGINS[kind],
        )  # fmt: skip
    judge(
        f"gates-{slug}", "anisotropy",
        f"with the optimiser held fixed, multi-gates are more anisotropic than none: {measure} ({unit}, mean over SGD and Adam)",
        (contrast(final, measure, "gates under SGD") + contrast(final, measure, "gates under Adam")) / 2,
        (found[measure, "gates under SGD"][1] + found[measure, "gates under Adam"][1]) / 2,
    )  # fmt: skip
    judge(
        f"adam-{slug}", "anisotropy",
        f"with the model held fixed, Adam makes none more anisotropic than SGD does: {measure} ({unit})",
        contrast(final, measure, "Adam in none"), found[measure, "Adam in none"][1],
    )  # fmt: skip
    change = contrast(final, measure, "gates under SGD") - contrast(before, measure, "gates under SGD")  # fmt: skip
    judge(
        f"learned-{slug}", "anisotropy",
        f"training under SGD makes the gates' part larger than it was at initialisation: {measure} ({unit})",
        change.dropna(), 0.0,
    )  # fmt: skip

# %% tags=["hide-input"]
adjusted = statistics.holm([p for *_, p, _ in tests])
record.table(
    pd.DataFrame(
        [
            (f"`{name}`", f"{mean:.3g}", f"{low:.3g} to {high:.3g}", f"{threshold:.2g}", f"{p:.2g}", verdict)
            for (name, mean, low, high, threshold, _, verdict), p in zip(tests, adjusted, strict=True)
        ],
        columns=["claim", "effect", "95 % interval", "needs more than", "p, after Holm", "verdict"],
    ),
    "anisotropy-verdicts",
    caption=f"All claims of this chapter, {SEEDS} seeds. The p value is that of a sign-flip test against the threshold, adjusted for the number of rows; the verdict follows from the interval alone.",
)  # fmt: skip

# %% [markdown]
# ## The answer
#
# Do multi-gates match or exceed the anisotropy that Adam induces?

# %% tags=["hide-input"]
verdicts = {name: verdict for name, *_, verdict in tests}


def factor(measure: str, name: str) -> str:
    """A contrast in words: a factor for AI, a difference for CE."""
    of, start = found[measure, name]
    slug = f"{measure}-{name}".lower().replace(",", "").replace(" ", "-")
    if measure.endswith("AI"):
        text = record.number(slug, 10**of.mean, f"{10**of.mean:.2g}")
        return f"a factor of {text} ({10**of.low:.2g} to {10**of.high:.2g}; before training {10**start:.2g})"
    text = record.number(slug, of.mean, f"{of.mean:+.3f}")
    return f"{text} ({of.low:+.3f} to {of.high:+.3f}; before training {start:+.3f})"


lines = []
for measure in MEASURES:
    slug = measure.lower().replace(" ", "-")
    lines.append(
        f"* **{measure.capitalize()}**: *{verdicts[f'matches-adam-{slug}-multi']}*. Multi under SGD against none under Adam: {factor(measure, 'published')}. Taken apart: gates under SGD {factor(measure, 'gates under SGD')}, "
        f"gates under Adam {factor(measure, 'gates under Adam')}; Adam in none {factor(measure, 'Adam in none')}, Adam in multi {factor(measure, 'Adam in multi')}."
    )
Markdown("\n".join(lines))

# %% [markdown]
# ## What it means
#
# The published contrast moves two things at once, and {numref}`fig-anisotropy-contrasts` pulls them apart.

# %% tags=["hide-input"]
WAY = {"supported": "**more** anisotropic", "refuted": "**less** anisotropic", "undecided": "neither clearly more nor clearly less anisotropic"}  # fmt: skip


def listed(names: list[str]) -> str:
    """Some names in words; those of all tasks in two."""
    if len(names) == len(present) > 1:
        return "every task"
    return " and ".join([", ".join(names[:-1])] * (len(names) > 1) + names[-1:])


def sides(measure: str, name: str) -> dict[str, list[str]]:
    """Tasks whose own 95 % interval of a contrast lies above zero, below, or around it."""
    found = {"larger": [], "smaller": [], "undecided": []}
    for task in present:
        low, high = statistics.estimate(apart[measure, name][task]).interval
        found["larger" if low > 0 else "smaller" if high < 0 else "undecided"].append(NAMES[task])  # fmt: skip
    return found


def told(measure: str, name: str) -> str:
    """The same in words."""
    return ", ".join(f"{word} on {listed(names)}" for word, names in sides(measure, name).items() if names)  # fmt: skip


def size(measure: str, value: float) -> str:
    """A difference in words: a factor for AI, as it is for CE."""
    return f"a factor of {10**value:.2g}" if measure.endswith("AI") else f"{value:+.3f}"


def ends(measure: str, name: str = "gates under SGD") -> str:
    """What a contrast was before training, with its interval, and is after."""
    start = statistics.estimate(contrast(before, measure, name))
    low, high = (f"{10**end:.2g}" if measure.endswith("AI") else f"{end:+.3f}" for end in start.interval)  # fmt: skip
    return f"{size(measure, start.mean)} before, interval {low} to {high}; {size(measure, found[measure, name][0].mean)} after"


def became(measure: str, name: str = "gates under SGD") -> str:
    """What training made of a difference."""
    start, after = statistics.estimate(contrast(before, measure, name)), found[measure, name][0].mean  # fmt: skip
    if start.low <= 0 <= start.high:
        return "opens a difference where before none can be told from zero"
    if start.mean * after < 0:
        return "reverses the difference that was there"
    return f"{'widens' if abs(after) > abs(start.mean) else 'narrows'} the difference that was there"


mixed = [key for key in apart if all(sides(*key)[way] for way in ("larger", "smaller"))]  # fmt: skip
gates_part, adam_part = (apart["update AI", name].groupby("task").mean() for name in ("gates under SGD", "Adam in none"))  # fmt: skip
mostly = {
    "the optimiser's": [NAMES[task] for task in present if -adam_part[task] > gates_part[task]],
    "the gates'": [NAMES[task] for task in present if -adam_part[task] <= gates_part[task]],
}  # fmt: skip
larger = ", ".join(f"{whose} on {listed(names)}" for whose, names in mostly.items() if names)  # fmt: skip
matched = [measure for measure in MEASURES if verdicts[f"matches-adam-{measure.lower().replace(' ', '-')}-multi"] == "supported"]  # fmt: skip
adding = "".join(
    f" On adding, losses are {middle['adding', 'multi', 'Adam']:.1f} times better than the constant's for multi-gates under Adam, {middle['adding', 'multi', 'SGD']:.1f} times for multi-gates under SGD, and {middle['adding', 'none', 'Adam']:.1f} times for none under Adam."
    for task in present if task == "adding"
)  # fmt: skip
Markdown(
    f"*Propagation.* In the mean over tasks and optimisers, gates make it {WAY[verdicts['gates-propagation-ai']]} by AI and {WAY[verdicts['gates-propagation-ce']]} by CE. In AI, training under SGD {became('propagation AI')} ({ends('propagation AI')}); in CE it {became('propagation CE')} ({ends('propagation CE')}). "
    f"What Adam does to the AI of a vanilla network is *{verdicts['adam-propagation-ai']}* as a mean over tasks; task by task AI is {told('propagation AI', 'Adam in none')}. Effects of different sign cancel in such a mean.\n\n"
    "Why gates do this to propagation is not measured here. One might say that the identity in a Jacobian keeps directions together. The first exercise warns against it: among powers of $(1-g) I + g W$ with random weights, anisotropy is largest for a gate in between, so that a gate can raise it as well as lower it.\n\n"
    f"*Updates.* In the mean over tasks and optimisers, gates make networks whose gradients are {WAY[verdicts['gates-update-ai']]} by AI and {WAY[verdicts['gates-update-ce']]} by CE. Task by task, with gates AI is {told('update AI', 'gates under SGD')} under SGD; {told('update AI', 'gates under Adam')} under Adam. "
    f"With Adam the AI of gradients is {told('update AI', 'Adam in none')} in a vanilla network; {told('update AI', 'Adam in scalar')} with a scalar gate; {told('update AI', 'Adam in multi')} with multi-gates.\n\n"
    f"The published contrast is what gates do under SGD, less what Adam does to a vanilla network. For the AI of updates those two parts are {size('update AI', found['update AI', 'gates under SGD'][0].mean)} and {size('update AI', -found['update AI', 'Adam in none'][0].mean)} in the mean over tasks. "
    f"The larger of the two is {larger}. A comparison of “gates” with “Adam” measures both at once.\n\n"
    f"*Before training.* The third contrast asks what of the gates' part was there already. In the AI of updates, under SGD: {ends('update AI')}; that training makes it larger is *{verdicts['learned-update-ai']}*. In CE: {ends('update CE')}, and there the same is *{verdicts['learned-update-ce']}*. The first of each pair is architecture and initialisation, not learning.\n\n"
    f"The gradients of single sequences are compared before any optimiser has touched them: what differs between columns of the design is where in weight space an optimiser has gone. And the task matters: {len(mixed)} of the {len(apart)} contrasts of {{numref}}`tab-anisotropy-by-task` lie above zero on one task and below it on another, each with its own interval.\n\n"
    f"“Complementary but not equivalent”, as the paper says of gates and Adam, survives in this sense: the two act on different objects ({{ref}}`ch-optimisers`).{adding} “Matching or exceeding” is supported for {' and '.join(matched) or 'no measure'}, each a mean over tasks, and for nothing else."
)

# %% [markdown]
# ## What it cost
#
# The cells note what they took. This run's stand beside those of the run of twenty seeds that filled `reference/`, on the machine that it names.

# %% tags=["hide-input"]
costs = references.settle(
    own["cost"].assign(seeds=seeds, until=until), "e2-cost", ["task", "gate", "optimiser", "seeds", "until"], {},
    folder="../reference", out=out,
).rows  # fmt: skip
full = costs[costs.seeds == costs.seeds.max()]
minutes = float(own["cost"].cpu_seconds.sum()) / 60
record.number("minutes", minutes, f"{minutes:.1f}", "min")
published = full[[pair in PUBLISHED for pair in zip(full.gate, full.optimiser, strict=True)]].cpu_seconds.sum() / 60  # fmt: skip
record.number("minutes-published", float(published), f"{published:.0f}", "min")
record.number("minutes-full", float(full.cpu_seconds.sum()) / 60, f"{full.cpu_seconds.sum() / 60:.0f}", "min")  # fmt: skip
record.table(
    costs.groupby(["seeds", "task"], sort=False)
    .agg(minutes=("cpu_seconds", lambda t: f"{t.sum() / 60:.1f}"), machine=("machine", "first"))
    .reset_index()
    .rename(columns={"minutes": "CPU minutes"}),
    "anisotropy-cost",
    caption="What the cells took when they were computed, all seeds of a cell side by side, training and probes of all six models together.",
)  # fmt: skip

# %% [markdown]
# ## What was checked

# %% tags=["hide-cell"]
# The closed form behind C14, beside the measured spectra: constant gates alone.
alpha = torch.linspace(0.1, 0.6, 8, dtype=torch.float64)
model = networks.GatedRNN(2, 8, "constant", alpha=alpha, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_(False)  # fmt: skip
model.W_r.zero_()
run = model.run(torch.zeros(12, 1, 2, dtype=torch.float64))
sigma = transport.spectra(jacobian.blocks(model, run), [10])[10]
grown = anisotropy.anisotropy_index(sigma, 8).max()
expected = ((1 - alpha[0]) / (1 - alpha[-1])) ** 10
record.check(
    "leak-alone", "C14",
    r"without recurrent weights AI is $((1-\alpha_{\min})/(1-\alpha_{\max}))^{\ell}$",
    float(abs(grown / expected - 1)),
    1e-12,
)  # fmt: skip

# %% tags=["hide-input"]
record.validation(caption="The checks of this chapter: this run against the committed one, and the leak's own anisotropy.")  # fmt: skip

# %% [markdown]
# ## Try it
#
# 1. *The identity's share.* Draw random matrices $W$ with entries of variance $1/3n$, as the networks have them, and compute AI of $((1-g) I + g W)^{10}$ for $g$ from $0.05$ to 1. Where is it largest, and what happens at both ends?
# 2. *A measure that cannot be fooled by ten.* AI compares with the tenth value only. Does the participation ratio of the first exercise's products tell the same story?
# 3. *Rows that are not normalised.* Scale one of two hundred and fifty-six random gradients by a thousand. What happens to update CE with, and without, unit rows?

# %% tags=["hide-cell"]
# 1. In between. A slow gate leaves nearly the identity, which treats all directions alike; an open one leaves W, whose
#    directions fade at much the same rate. In between, the few that W supports outlast all others.
draw = torch.Generator().manual_seed(1)
n = 64
W = torch.randn(16, n, n, generator=draw, dtype=torch.float64) / (3 * n) ** 0.5
identity = torch.eye(n, dtype=torch.float64)
spectra_of = {
    g: torch.linalg.svdvals(torch.linalg.matrix_power((1 - g) * identity + g * W, 10))
    for g in (0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
}
grown = {g: float(anisotropy.anisotropy_index(s, 10).log10().mean()) for g, s in spectra_of.items()}  # fmt: skip
record.check(
    "exercise-identity", "C14",
    "the anisotropy of powers of $(1-g)I + gW$ is largest for a gate between 0 and 1",
    0.1 < max(grown, key=grown.get) < 1 and grown[0.05] < grown[1.0],
)  # fmt: skip
pd.Series({g: 10**v for g, v in grown.items()}, name="AI").rename_axis("g").round(2)

# %% tags=["hide-cell"]
# 2. Yes: fewest directions share the energy for a gate in between.
directions = {g: float(anisotropy.participation_ratio(s).mean()) for g, s in spectra_of.items()}  # fmt: skip
record.check(
    "exercise-participation", "C14",
    "the participation ratio is smallest for a gate between 0 and 1",
    0.1 < min(directions, key=directions.get) < 1,
)  # fmt: skip
pd.Series(directions, name="directions").rename_axis("g").round(1)

# %% tags=["hide-cell"]
# 3. Without unit rows a single sequence is the whole spectrum; with them it is one of many.
rows = torch.randn(256, 500, generator=draw, dtype=torch.float64)
loud = rows.clone()
loud[0] *= 1000
bare = torch.linalg.svdvals(loud - loud.mean(0))
shares_of = {
    "unit rows": float(anisotropy.energy_concentration(anisotropy.update_spectrum(loud), 10)),
    "as they are": float(anisotropy.energy_concentration(bare, 10)),
}  # fmt: skip
record.check(
    "exercise-rows", "C14",
    "a single loud gradient takes all the energy, unless rows are scaled to unit length",
    shares_of["as they are"] > 0.99 and shares_of["unit rows"] < 0.2,
)  # fmt: skip
pd.Series(shares_of, name="CE").round(3)

# %% tags=["hide-input"]
record.close()
