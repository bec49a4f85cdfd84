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
# (ch-effective)=
# # Small, persistent, effective
#
# A gate that reads the state adds a term $G_t$ to the step Jacobian ({ref}`ch-jacobians`), and through it a term to every gradient. The paper's abstract says of these gate-induced corrections that "though small, [they] are persistent and effective" {cite}`livi2025timescale`. Three words, and no published figure measures any of
# them. This chapter does.
#
# :::{admonition} The claim, and what would refute it
# :class: important
#
# Let $c = \nabla L - \nabla L|_{G=0}$ be the correction: the gradient minus what backpropagation gives when the gate term is left out of the transport.
#
# 1. **Small**: its norm is less than a tenth of the gradient's.
# 2. **Persistent**: its direction lasts. Corrections of iterations some way apart have a positive cosine, which independent directions do not have.
# 3. **Effective**: networks that are trained without it end with a larger loss on fresh data, and by more than other data alone would shift the mean: the upper end of that null's interval.
#
# All three thresholds were set before the twenty seeds were run.
# :::

# %% tags=["parameters"]
profile = "ci"
seeds = 3  # run here; the other seeds are read from the reference
device = "auto"
out = "../artifacts/draft/12-small-persistent-effective"
location = "../_build/cells"  # of what was computed; may be deleted at any time
settings_here = ["moving average", "adding, 50"]  # run here
until = 1000  # last training step here

# %% tags=["hide-input"]
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from gatelr import adjoint, rates, tasks
from gatelr.cells import GatedRNN
from gatelr.experiments import corrections, runs, statistics
from gatelr.kernels.sweep import BACKWARD
from gatelr.record import devices, figures, ledger, references
from IPython.display import Markdown
from matplotlib.ticker import MaxNLocator, NullLocator

READS = ["reference/e3-*.csv"]
TITLE = "Small, persistent, effective"
parameters = {
    "profile": profile, "seeds": seeds, "device": device, "location": location,
    "settings_here": settings_here, "until": until,
}  # fmt: skip
record = ledger.Ledger("12-small-persistent-effective", TITLE, out, parameters)
where = devices.resolve(device)

# %% [markdown]
# ## Four backward passes
#
# Backpropagation through time hands the adjoint from step to step, $\lambda_{k-1} = J_k^{\top} \lambda_k + \delta_{k-1}$, with $J = \Lambda + R + G$ (C7). Leave a part of $J$ out of that product, and nothing else, and there are four ways to train one network:
#
# | backward pass | carries | known as |
# |:---|:---|:---|
# | `full` | $\Lambda + R + G$ | backpropagation through time |
# | `gate dropped` | $\Lambda + R$ | the gate's input detached from the state |
# | `diagonal` | $\Lambda + \operatorname{diag}(R + G)$ | e-prop {cite}`bellec2020eprop` |
# | `order 0` | $\Lambda$ | RFLO {cite}`murray2019rflo` |
#
# Within a step nothing changes: every weight, the gate's own too, keeps its local gradient. The correction is the difference of the first two. That it is *exactly* this, autograd can say: through a network whose gate reads a state that it cannot see.

# %%
task = tasks.get("adding", steps=12)
draw = torch.Generator().manual_seed(0)
data = task.draw(16, draw, torch.float64)


class BlindGate(GatedRNN):
    """The same network; autograd does not see that the gate reads the state."""

    def _affine(self, x, weight, *rest, **options):
        seen = x.detach() if weight is self.W_rg else x
        return super()._affine(seen, weight, *rest, **options)


gaps = []
for gate in ("scalar", "multi"):
    model = GatedRNN(task.n_inputs, 8, gate, generator=draw, dtype=torch.float64)
    correction = corrections.split(model, task, data).correction
    blind = BlindGate(task.n_inputs, 8, gate, dtype=torch.float64)
    blind.load_state_dict(model.state_dict())
    by_autograd = {}
    for network in (model, blind):
        last = network.run(data.u).x[-1]
        loss = task.loss(last @ network.W_o.mT, data.target)
        weights = [getattr(network, name) for name in correction]
        by_autograd[network] = torch.autograd.grad(loss, weights)
    for name, a, b in zip(
        correction, by_autograd[model], by_autograd[blind], strict=True
    ):
        gaps.append(float((correction[name] - (a - b)).abs().max() / a.abs().max()))
record.check(
    "gate-dropped-exact", "C7",
    "the correction is what autograd loses when the gate's input is detached from the state: scalar and multi, every weight, relative",
    max(gaps), 1e-10,
)  # fmt: skip

# %% [markdown]
# ## The experiment
#
# All of this needs networks that learn something: under the published settings most do not ({ref}`ch-profiles`). So networks have $32$ neurons, batches $32$ fresh sequences, and settings were sought under which, on trial seeds, the full gradient beats the best constant prediction fivefold on data never seen; how far each came is counted in {numref}`tab-correction-times`. Where that can be had with plain SGD, as in the paper, it is plain SGD: on a moving
# average, on delay-sum, and on adding over $20$ steps. Adding over $50$ steps and digits, read pixel by pixel, have Adam.

# %%
SETTINGS = {
    "moving average": {
        "task": "moving_average", "task_options": {"steps": 12, "n_inputs": 2},
        "optimiser": "SGD", "rate": 0.3, "steps": 1000,
    },
    "delay-sum": {
        "task": "delay_sum", "task_options": {"steps": 8, "n_inputs": 2, "delays": (1, 3, 5)},
        "optimiser": "SGD", "rate": 0.4, "steps": 2400,
    },
    "adding, 20": {
        "task": "adding", "task_options": {"steps": 20},
        "optimiser": "SGD", "rate": 0.2, "steps": 2400,
    },
    "adding, 50": {
        "task": "adding", "task_options": {"steps": 50},
        "optimiser": "Adam", "rate": 0.01, "steps": 1000,
    },
    "digits": {"task": "digits", "optimiser": "Adam", "rate": 0.005, "steps": 2400},
}  # fmt: skip
GATES = ["scalar", "multi"]
MODELS = list(product(SETTINGS, GATES))
#: The four backward passes, and the null: the full one on other training data.
RUNS = {name: {"backward": name} for name in BACKWARD} | {"other data": {"data": 321}}
MEASURES = {"window": 64, "every": 7}  # odd, since SGD may swing with a period of two
PARTS = 16  # checkpoints of the loss

cell = runs.cells(location)


def measured(setting: str, gate: str, run: str) -> runs.Tables:
    """One cell: all seeds of this run, up to the step that this run goes to."""
    options = dict(SETTINGS[setting])
    steps, task, optimiser = (options.pop(k) for k in ("steps", "task", "optimiser"))
    reached = [steps * i // PARTS for i in range(PARTS + 1) if steps * i // PARTS <= until]  # fmt: skip
    options |= {"steps": reached[-1], "checkpoints": reached, "device": str(where)}
    if run == "full":  # what is small, and what lasts, is measured along this one
        starts = [steps * i // 4 - (64 if i == 4 else 0) for i in range(5)]
        options |= MEASURES | {
            "every": MEASURES["every"] if optimiser == "SGD" else 0,
            "sizes": reached[::4] if len(reached) > 4 else [0, reached[-1]],
            "windows": [s for s in starts if s + 64 <= reached[-1]],
        }
    found = cell("E3", task, gate, optimiser, range(1, seeds + 1), **options, **RUNS[run])  # fmt: skip
    return {
        name: table.assign(setting=setting, gate=gate, run=run)
        for name, table in found.items()
    }


cells = [
    measured(setting, gate, run)
    for (setting, gate), run in product(MODELS, RUNS)
    if setting in settings_here
]
own = {
    name: pd.concat([tables[name] for tables in cells if name in tables])
    for name in cells[0]
}

# %% [markdown]
# Rates were chosen once, with other seeds than those reported: see {ref}`below <effective-rates>`. Networks of one seed start from the same weights and, but for the null, see the same batches in the same order. Beside the four passes stands a fifth network: full, with the same weights at the start, on *other* training data. It says how much two equals differ.
#
# What is measured, and when:
#
# * **before the step, in float64, on a fresh batch**, at five times along training: $\lVert c \rVert / \lVert \nabla L \rVert$, and the norms of $G_t$ beside $\Lambda_t + R_t$, and of $M_{T,T-\ell}$ with and without $G$;
# * **on the training batches themselves**, in five windows of $64$ successive iterations: the cosine of $c_s$ and $c_{s+\Delta}$; and at every seventh iteration of the whole training, for the sums $\sum_s c_s$ and $\sum_s \nabla_s$;
# * **the loss on $500$ fresh sequences**, sixteen times along every run.

# %%
MODEL = ["setting", "gate", "seed"]


def wide(table: pd.DataFrame, keys: list[str], name: str, value: str) -> pd.DataFrame:
    """One row for each key, one column for each value of ``name``."""
    return table.pivot(index=keys, columns=name, values=value).rename(columns=str)


training_table = wide(own["training"], [*MODEL, "step"], "run", "loss").reset_index()
size_table = (
    own["size"].drop(columns="run").set_index([*MODEL, "step"])
    .join(wide(own["terms"], [*MODEL, "step"], "lag", "share").add_prefix("M @").rename(columns={"M @0": "G"}))
    .reset_index()
)  # fmt: skip
tables = {"training": training_table, "size": size_table}
if "persistence" in own:
    lasting = own["persistence"].assign(
        kind=lambda t: t.kind.map({"correction": "c", "gradient": "g"}) + " @" + t.distance.astype(str)
    )  # fmt: skip
    ends = own["resultant"].assign(kind=lambda t: t.kind.map({"correction": "c", "gradient": "g"}))  # fmt: skip
    shuffled = own["persistence"].assign(kind=lambda t: t.kind.map({"correction": "c", "gradient": "g"}) + " shuffled").drop_duplicates([*MODEL, "window", "kind"])  # fmt: skip
    keys = [*MODEL, "window"]
    tables["persistence"] = pd.concat(
        [
            wide(lasting, keys, "kind", "cosine"),
            wide(shuffled, keys, "kind", "shuffled"),
            wide(ends, keys, "kind", "resultant").add_suffix(" resultant"),
            wide(ends, keys, "kind", "random").add_suffix(" random"),
        ],
        axis=1,
    ).reset_index()
if "displacement" in own:
    tables["displacement"] = own["displacement"].drop(columns="run")
# %%
KEYS = {name: [*MODEL, "window" if name == "persistence" else "step"] for name in tables}  # fmt: skip
TOLERANCES = {
    "training": dict.fromkeys(RUNS, (0.0, 0.05)),
    "size": {"share": (0.005, 0.05), "G": (0.0, 0.05)},
    "persistence": dict.fromkeys(("c @1", "c @8", "c shuffled", "g @1"), (0.02, 0.0)),
    "displacement": dict.fromkeys(("length", "along", "steps"), (0.01, 0.05)),
}
evidence = {}
for name, table in tables.items():
    settled = references.settle(
        table, f"e3-{name}", KEYS[name], TOLERANCES[name], folder="../reference", out=out
    )  # fmt: skip
    evidence[name] = settled.rows
    record.check(
        f"reference-{name}", "C7",
        f"this run and the committed one agree: {name}, {settled.shared} rows that both have, largest difference over its tolerance",
        settled.gap, 1.0,
    )  # fmt: skip
models = [
    (setting, gate)
    for setting, gate in MODELS
    if ((evidence["training"].setting == setting) & (evidence["training"].gate == gate)).any()
]  # fmt: skip
constants = {
    name: tasks.get(each["task"], **each.get("task_options", {})).constant_loss
    for name, each in SETTINGS.items()
}


def at_end(name: str) -> pd.DataFrame:
    """The rows of a table at the last step of their setting."""
    rows = evidence[name]
    return rows[rows.step == rows.groupby("setting").step.transform("max")]


final = at_end("training")
SEEDS = int(final.groupby(["setting", "gate"]).seed.nunique().min())
record.number("seeds", SEEDS)
record.number("seeds-here", seeds)
diverged = int((own["run"].diverged >= 0).sum())
record.number("diverged", diverged)
ratio = {
    run: final.setting.map(constants) / final[run] for run in RUNS
}  # how many times better than the best constant
by_model = {
    model: ratio["full"][(final.setting == model[0]) & (final.gate == model[1])]
    for model in models
}
for (setting, gate), values in by_model.items():
    record.number(f"ratio-{setting}-{gate}".replace(",", "").replace(" ", "-"), float(values.median()), f"{values.median():.0f}")  # fmt: skip
worst = min(float(values.min()) for values in by_model.values())
record.number("worst-ratio", worst, f"{worst:.1f}")
Markdown(
    f"The figures show **{SEEDS} seeds**. This run trained {seeds} of them, in {len(settings_here)} of {len(SETTINGS)} settings, up to step {until}; the others are read from `reference/`. "
    f"{diverged or 'No'} network{'s' if diverged != 1 else ''} diverged; no seed is dropped. With the full gradient, the best constant's loss over the network's on fresh data is, by setting (median; scalar, multi): "
    + "; ".join(
        f"{setting} " + ", ".join(f"{by_model[m].median():.0f}" for m in models if m[0] == setting)
        for setting in dict.fromkeys(s for s, _ in models)
    )
    + f". The worst of all networks is at {worst:.1f}."
)  # fmt: skip

# %% [markdown]
# ## Is it small?
#
# A null would be of no use here, since every norm is larger than zero; a yardstick is. It is what the *leak alone* leaves out of the gradient, everything but $\Lambda$: that is how large a correction is that is not small.

# %% tags=["hide-input"]
size = evidence["size"]
shown = list(dict.fromkeys(setting for setting, _ in models))
learned = {
    setting: " · ".join(f"{by_model[m].median():.0f}" for m in models if m[0] == setting)
    for setting in shown
}  # fmt: skip
lags = [int(name[3:]) for name in size if name.startswith("M @")]
with figures.style():
    fig, axes = plt.subplots(2, len(shown), figsize=(8.4, 5.0), sharey="row", squeeze=False)  # fmt: skip
    for column, setting in enumerate(shown):
        top, bottom = axes[:, column]
        for gate in GATES:
            rows = size[(size.setting == setting) & (size.gate == gate)]
            look = figures.GATES[gate]
            series = rows.pivot(index="step", columns="seed", values="share")
            top.plot(series.index, series, color=look["color"], linewidth=0.4, alpha=0.35)  # fmt: skip
            top.plot(series.index, series.median(axis=1), label=f"{gate}: correction", **look)  # fmt: skip
            beyond = rows.pivot(index="step", columns="seed", values="beyond order 0").median(axis=1)  # fmt: skip
            top.plot(beyond.index, beyond, **look | {"linestyle": ":", "linewidth": 1.1, "markerfacecolor": "white"}, label=f"{gate}: all but the leak")  # fmt: skip
            last = rows[rows.step == rows.step.max()]
            by_lag = last[[f"M @{lag}" for lag in lags]].dropna(axis=1)
            reach = lags[: by_lag.shape[1]]
            low, mid, high = by_lag.quantile([0.25, 0.5, 0.75]).to_numpy()
            bottom.fill_between(reach, low, high, color=look["color"], alpha=0.15, linewidth=0)  # fmt: skip
            bottom.plot(reach, mid, **look)
        top.axhline(0.1, color=figures.INK, linewidth=0.8, linestyle="--")
        top.set(title=f"{setting}\n{learned[setting]}", xlabel="training step", yscale="log")  # fmt: skip
        bottom.set(xscale="log", yscale="log", xlabel=r"lag $\ell$")
        bottom.set_xticks(lags, [str(lag) for lag in lags])
        bottom.xaxis.set_minor_locator(NullLocator())
        top.xaxis.set_major_locator(MaxNLocator(3))
    axes[0, 0].set_ylabel("share of the gradient")
    axes[1, 0].set_ylabel("share of the transport")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)  # fmt: skip
figures.save(
    fig, "correction-small", size[[*MODEL, "step", "share", "beyond order 0", *[f"M @{lag}" for lag in lags]]],
    caption=f"How small. Above: the correction's norm over the gradient's along training, each of {SEEDS} seeds (thin) and medians; dotted, what the leak alone leaves out; dashed, the threshold. Below: the share of $M_{{T,T-\\ell}}$ that is due to the gate term, at the end of training, medians and quartiles. Under each name, how many "
    "times smaller the loss is than the best constant's (scalar · multi).",
    alt="Two rows of panels, one column for each task. Above, the correction's share of the gradient over training steps for the scalar and the multi-gate, beside a dotted yardstick above it and a dashed line at one tenth. Below, the share of the transport over the lag, which rises with the lag.",
    chapter="12-small-persistent-effective", out=out,
)  # fmt: skip

# %%
SMALL = 0.1  # of the gradient's norm
along = size[size.step > 0]
tests, found = [], {}


def per_seed(rows: pd.DataFrame, value: str) -> pd.Series:
    """One number a seed: the mean over steps or windows, then over models, which weigh alike."""
    return rows.groupby(["seed", "setting", "gate"])[value].mean().groupby("seed").mean()  # fmt: skip


def judge(name, word, statement, values, *, threshold, null, greater=True, note=""):
    """A claim of the ledger, and its row in the table of verdicts."""
    of = statistics.estimate(values.to_numpy(), threshold=threshold)
    verdict = record.claim(
        name, word, statement, of.mean, of.interval, threshold=threshold, null=null, seeds=of.seeds,
        greater=greater, note=note or "mean over models and seeds, BCa bootstrap over seeds",
    )  # fmt: skip
    for what, value in (("effect", of.mean), ("low", of.low), ("high", of.high)):
        record.number(f"{name}-{what}", value, f"{value:.2g}")
    tests.append((name, of, threshold, null, greater, verdict))
    found[name] = of
    return verdict


beyond = per_seed(along, "beyond order 0").mean()
judge(
    "small", "small",
    "along training, leaving out the gate term changes the gradient by less than a tenth of its norm",
    per_seed(along, "share"), threshold=SMALL, null=float(beyond), greater=False,
    note="mean over models, steps and seeds, BCa bootstrap over seeds; instead of a null, what the leak alone leaves out",
)  # fmt: skip

# %% [markdown]
# ## Is it persistent?
#
# A window holds the corrections of $64$ successive iterations, on the batches that training saw. Their mean cosine at a distance of $\Delta$ iterations,
#
# $$ a(\Delta) = \operatorname{mean}_s \cos(c_s, c_{s + \Delta}) , $$
#
# is zero for independent directions: that is the first null. The second is the same corrections in random order. A direction that is *always* there survives any order, so the second null separates two kinds of lasting: a common mean, and memory beyond it, $a(\Delta) - \bar a$. The same two numbers for the gradient itself are the yardstick. It is large or small for the same reasons: fresh batches
# make noise, and a loss that is not at its minimum makes a mean.
#
# And do corrections add up? Under plain SGD the way that training goes is $-\mu \sum_s \nabla_s$. Beside its length stands that of the summed corrections, $\lVert \sum c_s \rVert / \lVert \sum \nabla_s \rVert$. If they add up as gradients do, that is as large as the ratio step by step, $\sum \lVert c_s \rVert / \sum \lVert \nabla_s \rVert$; gradients cancel too, so it must also exceed what
# corrections of random sign would make. Neither is a part of the way: corrections may add up across it. The part along the way is $\langle \sum c_s, \sum \nabla_s \rangle / \lVert \sum \nabla_s \rVert^2$.

# %% tags=["hide-input"]
persistence, displacement = evidence["persistence"], at_end("displacement")
DISTANCES = sorted(int(name[3:]) for name in persistence if name.startswith("c @"))
WAYS = {"steps": ("step by step", "o"), "length": ("summed", "s"), "along": ("summed, along the way", "^"), "random": ("with random signs", "x")}  # fmt: skip
moving = [m for m in models if ((displacement.setting == m[0]) & (displacement.gate == m[1])).any()]  # fmt: skip
BEYOND = DISTANCES[-1] * 2  # where the bar of random order stands
with figures.style():
    fig, axes = plt.subplot_mosaic([shown, ["way"] * len(shown)], figsize=(8.6, 5.4))
    for setting in shown:
        ax = axes[setting]
        for gate in GATES:
            look = figures.GATES[gate]
            rows = persistence[(persistence.setting == setting) & (persistence.gate == gate)]  # fmt: skip
            seeds_of = rows.groupby("seed").mean(numeric_only=True)
            for kind, style in (("c", {}), ("g", {"linestyle": ":", "markerfacecolor": "white", "linewidth": 1.1})):  # fmt: skip
                values = seeds_of[[f"{kind} @{d}" for d in DISTANCES]]
                if kind == "c":
                    ax.plot(DISTANCES, values.T, color=look["color"], linewidth=0.4, alpha=0.35)  # fmt: skip
                ax.plot(DISTANCES, values.mean(), **look | style, label=f"{gate}: " + {"c": "correction", "g": "gradient"}[kind])  # fmt: skip
            ax.plot(BEYOND, seeds_of["c shuffled"].mean(), "_", color=look["color"], markersize=10)  # fmt: skip
        ax.axhline(0, color=figures.INK, linewidth=0.8, linestyle=":")
        ax.set(title=f"{setting}\n{learned[setting]}", xscale="log", xlabel=r"distance $\Delta$", ylim=(-0.8, 1.02))  # fmt: skip
        ax.set_xticks([1, 4, 16, BEYOND], ["1", "4", "16", "any"])
        ax.xaxis.set_minor_locator(NullLocator())
        if setting != shown[0]:
            ax.tick_params(labelleft=False)
    axes[shown[0]].set_ylabel(r"mean cosine $a(\Delta)$")
    ax = axes["way"]
    for (place, model), (shift, (name, (label, mark))) in product(
        enumerate(moving), zip(np.linspace(-0.27, 0.27, len(WAYS)), WAYS.items(), strict=True)
    ):  # fmt: skip
        part = displacement[(displacement.setting == model[0]) & (displacement.gate == model[1])]  # fmt: skip
        hue = figures.MUTED if name == "random" else figures.GATES[model[1]]["color"]
        ax.plot(np.full(len(part), place + shift), part[name], "_", color=hue, alpha=0.45, markersize=7)  # fmt: skip
        ax.plot(place + shift, part[name].mean(), mark, color=hue, markersize=6, label=label if place == 0 else None)  # fmt: skip
    ax.axhline(0, color=figures.INK, linewidth=0.8, linestyle=":")
    ax.set_xticks(
        range(len(moving)), [f"{setting}\n{gate}" for setting, gate in moving]
    )
    ax.set_ylabel("over the length of the way")
    ax.legend(loc="best", ncols=2, fontsize=8)
    fig.legend(*axes[shown[0]].get_legend_handles_labels(), loc="outside lower center", ncols=4)  # fmt: skip
figures.save(
    fig, "correction-persistent",
    pd.concat([persistence.drop(columns="here"), displacement.drop(columns="here")]),
    caption=f"How persistent. Above: mean cosine of corrections $\\Delta$ iterations apart, over all windows, each of {SEEDS} seeds (thin) and their mean; dotted with open markers, the gradient itself; *any*: all pairs, which is random order. Zero is what independent directions have. Under each name, how many times smaller the loss is than the best constant's (scalar · multi). Below, where training is plain SGD: the "
    "summed corrections beside the way that training went: their length over its length, their part along it, the ratio step by step, and the length with random signs; bars are seeds, markers means.",
    alt="One panel for each task with mean cosines over the distance in iterations, for corrections and gradients of both gates, with bars for random order at the right. Below them one wide panel with four kinds of markers for each task and gate under plain SGD.",
    chapter="12-small-persistent-effective", out=out,
)  # fmt: skip

# %%
lasting = persistence.assign(
    mean=persistence[[f"c @{d}" for d in DISTANCES]].mean(axis=1),
    gradient=persistence[[f"g @{d}" for d in DISTANCES]].mean(axis=1),
    memory=persistence["c @1"] - persistence["c shuffled"],
    far=persistence[f"c @{DISTANCES[-1]}"],
    above_random=persistence["c resultant"] - persistence["c random"],
)
lasting["above_gradient"] = lasting["mean"] - lasting["gradient"]
judge(
    "persistent", "persistent",
    "corrections of iterations 1 to 32 apart have a positive mean cosine",
    per_seed(lasting, "mean"), threshold=0.0, null=0.0,
    note="mean over distances, windows, models and seeds, BCa bootstrap over seeds; independent directions have 0",
)  # fmt: skip
judge(
    "persistent-far", "persistent",
    "the mean cosine is still positive 32 iterations apart",
    per_seed(lasting, "far"), threshold=0.0, null=0.0,
)  # fmt: skip
judge(
    "persistent-beyond-gradient", "persistent",
    "corrections are more alike than the gradients that they are part of: mean cosine 1 to 32 apart, minus the gradient's",
    per_seed(lasting, "above_gradient"), threshold=0.0, null=0.0,
)  # fmt: skip
judge(
    "persistent-memory", "persistent",
    "neighbours are more alike than the same corrections in random order: mean cosine at distance 1, minus that of all pairs",
    per_seed(lasting, "memory"), threshold=0.0, null=0.0,
)  # fmt: skip
judge(
    "persistent-resultant", "persistent",
    "the mean of a window's corrections is longer than with random signs, as a share of their mean norm",
    per_seed(lasting, "above_random"), threshold=0.0, null=0.0,
)  # fmt: skip
judge(
    "persistent-adds-up", "persistent",
    "over the whole of training corrections add up at least as gradients do: $\\log_{10}$ of their length over the way's, over the same ratio step by step",
    per_seed(displacement.assign(more=np.log10(displacement.length / displacement.steps)), "more"), threshold=0.0,
    null=float(per_seed(displacement.assign(more=np.log10(displacement.random / displacement.steps)), "more").mean()),
    note="mean over models and seeds; the null is the same with random signs",
)  # fmt: skip
judge(
    "persistent-beyond-random", "persistent",
    "over the whole of training corrections add up to more than they would with random signs: $\\log_{10}$ of the ratio of the two lengths",
    per_seed(displacement.assign(more=np.log10(displacement.length / displacement.random)), "more"), threshold=0.0, null=0.0,
)  # fmt: skip
yardstick = per_seed(lasting, "gradient").mean()
record.number("gradient-cosine", float(yardstick), f"{yardstick:.2g}")
way = {name: float(per_seed(displacement, name).mean()) for name in ("length", "along", "steps", "random")}  # fmt: skip
for name, value in way.items():
    record.number(f"way-{name}", value, f"{value:.2g}")


# %% tags=["hide-input"]
def by_models(rows: pd.DataFrame, value: str) -> dict[tuple[str, str], str]:
    """For each model the mean over seeds, with its interval."""
    cells = {}
    for model in models:
        part = rows[(rows.setting == model[0]) & (rows.gate == model[1])]
        if len(part):
            of = statistics.estimate(part.groupby("seed")[value].mean().to_numpy())
            cells[model] = f"{of.mean:.2f} ({of.low:.2f} to {of.high:.2f})"
    return cells


columns = {
    "share of the gradient": by_models(along, "share"),
    "the same for all but the leak": by_models(along, "beyond order 0"),
    "cosine, 1 to 32 apart": by_models(lasting, "mean"),
    "the gradient's cosine": by_models(lasting, "gradient"),
    "summed: length over the way's": by_models(displacement, "length"),
    "summed: part along the way": by_models(displacement, "along"),
}
record.table(
    pd.DataFrame(columns).reindex(models).fillna("–").rename_axis(["setting", "gate"]).reset_index(),
    "correction-models",
    caption=f"How small and how persistent, by model: means over {SEEDS} seeds with 95 % bootstrap intervals. The last two are of the summed corrections, where training is plain SGD.",
)  # fmt: skip

# %% [markdown]
# ## Is it effective?
#
# Now train without it. Same weights at the start, same batches, another backward pass.

# %% tags=["hide-input"]
LOOKS = {
    "full": {"color": figures.INK, "linestyle": "-"},
    "gate dropped": {"color": figures.CYCLE[1], "linestyle": "--"},
    "diagonal": {"color": figures.CYCLE[2], "linestyle": "-."},
    "order 0": {"color": figures.CYCLE[3], "linestyle": ":"},
    "other data": {"color": figures.MUTED, "linestyle": "-"},
}
curves = evidence["training"]
with figures.style():
    fig, axes = plt.subplots(len(GATES), len(shown), figsize=(8.4, 5.0), sharey="col", sharex="col", squeeze=False)  # fmt: skip
    for (row, gate), (column, setting) in product(enumerate(GATES), enumerate(shown)):
        ax = axes[row, column]
        rows = curves[(curves.setting == setting) & (curves.gate == gate)]
        for run, look in reversed(LOOKS.items()):
            series = constants[setting] / rows.pivot(index="step", columns="seed", values=run)  # fmt: skip
            ax.plot(series.index, series, color=look["color"], linewidth=0.3, alpha=0.2)
            ax.plot(series.index, series.median(axis=1), **look, label=run, linewidth=1.6)  # fmt: skip
        for level, line in ((1, ":"), (5, "--")):
            ax.axhline(level, color=figures.INK, linewidth=0.8, linestyle=line)
        ax.xaxis.set_major_locator(MaxNLocator(3))
        ax.set(yscale="log", title=f"{setting}\n{gate}")
        if row:
            ax.set_xlabel("training step")
    for ax in axes[0]:  # a column shares its axis
        ax.set_ylim(bottom=0.5)
    for ax in axes[:, 0]:
        ax.set_ylabel("constant's loss / loss")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=5)
figures.save(
    fig, "correction-curves", curves[[*MODEL, "step", *RUNS]],
    caption=f"Learning with four backward passes and, in grey, with the full one on other data: how many times better than the best constant prediction, on fresh data; {SEEDS} seeds (thin) and medians. On the dotted line nothing is learned; the dashed one, five times better, is the threshold of {{numref}}`tab-correction-times`. The diagonal and order 0 often coincide.",
    alt="Two rows of panels, one a gate, and one column for each task: the ratio of losses over training steps on logarithmic axes, five curves in each. All start below one and rise.",
    chapter="12-small-persistent-effective", out=out,
)  # fmt: skip

# %%
OTHERS = [run for run in RUNS if run != "full"]
effect = final[MODEL].copy()
for (
    run
) in OTHERS:  # a run that diverged has no finite loss here, and must not be averaged
    effect[run] = np.log10(final[run] / final["full"])
null = statistics.estimate(per_seed(effect, "other data").to_numpy())
margin = max(
    0.0, null.high
)  # the rule was set before the runs: above zero, and above the null
apart = float(per_seed(effect.assign(apart=effect["other data"].abs()), "apart").mean())
record.number("null-effect", null.mean, f"{null.mean:.2g}")
record.number("null-high", null.high, f"{null.high:.2g}")
record.number("null-apart", apart, f"{apart:.2g}")
judge(
    "effective-beside-null", "effective",
    "training without the gate term costs more than other data do, seed by seed: difference of the two $\\log_{10}$ ratios to the full gradient's",
    per_seed(effect.assign(more=effect["gate dropped"] - effect["other data"]), "more"), threshold=0.0, null=0.0,
)  # fmt: skip
judge(
    "effective-at-all", "effective",
    "training without the gate term ends with a larger loss on fresh data at all: $\\log_{10}$ of the ratio to the full gradient's",
    per_seed(effect, "gate dropped"), threshold=0.0, null=null.mean,
)  # fmt: skip
for run, name, statement in (
    ("gate dropped", "effective", "training without the gate term ends with a larger loss on fresh data"),
    ("diagonal", "effective-diagonal", "training with the diagonal alone ends with a larger loss"),
    ("order 0", "effective-order-0", "training with the leak alone ends with a larger loss"),
):  # fmt: skip
    judge(
        name, "effective",
        f"{statement}, and by more than other data make: $\\log_{{10}}$ of the ratio to the full gradient's",
        per_seed(effect, run), threshold=margin, null=null.mean,
        note="mean over models and paired seeds, BCa bootstrap over seeds; the threshold is the upper end of the null's interval, or zero",
    )  # fmt: skip

# %% tags=["hide-input"]
frames, rows_of = [], []
with figures.style():
    fig, ax = plt.subplots(figsize=(7.6, 0.62 * len(models) + 1.3))
    for place, (setting, gate) in enumerate(models):
        part = effect[(effect.setting == setting) & (effect.gate == gate)]
        for shift, run in zip(np.linspace(-0.3, 0.3, len(OTHERS)), OTHERS, strict=True):
            of = statistics.estimate(part[run].to_numpy())
            hue = LOOKS[run]["color"]
            ax.plot(part[run], np.full(len(part), place + shift), "|", color=hue, alpha=0.5, markersize=6)  # fmt: skip
            ax.plot(of.interval, [place + shift] * 2, color=hue, linewidth=2.4, label=run if place == 0 else None)  # fmt: skip
            ax.plot(of.mean, place + shift, "o", color=hue)
            strength = statistics.power(part[run].to_numpy())
            rows_of.append({"setting": setting, "gate": gate, "run": run, "of": of, "power": strength})  # fmt: skip
            frames.append(part[[*MODEL, run]].rename(columns={run: "log10 ratio"}).assign(run=run))  # fmt: skip
    ax.axvline(0, color=figures.INK, linewidth=0.8, linestyle=":")
    ax.set_yticks(range(len(models)), [f"{s}, {g}" for s, g in models])
    ax.set_xscale("symlog", linthresh=0.1)
    reached = effect[OTHERS].to_numpy()
    ticks = [t for t in (-1, -0.3, -0.1, -0.05, 0, 0.05, 0.1, 0.3, 1, 3) if reached.min() * 1.1 <= t <= reached.max() * 1.1]  # fmt: skip
    ax.set(xlim=(reached.min() * 1.15, reached.max() * 1.15), ylim=(len(models) - 0.5, -0.5))  # fmt: skip
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel(r"$\log_{10}$ of final loss over the full gradient's")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=4)
figures.save(
    fig, "correction-effective", pd.concat(frames),
    caption=f"How effective: final loss on fresh data with each backward pass, relative to the full one of the same seed. Ticks are {SEEDS} paired seeds, dots their means with 95 % bootstrap intervals; right of the dotted line the loss is larger. The axis is linear up to 0.1 and logarithmic beyond. Grey is the null: the full gradient on other data. The full gradient's own losses are at least {worst:.1f} times smaller than the best constant's.",
    alt="A row for each task and gate with four groups of ticks, dots and intervals. The grey ones of the null lie around zero; how far the others lie to the right of it differs from pass to pass.",
    chapter="12-small-persistent-effective", out=out,
)  # fmt: skip

# %% [markdown]
# ### How long it takes
#
# A final loss depends on when one stops. So here is the other question: at which of the checkpoints is the loss on fresh data first below a fifth of the constant's? A network that never gets there is counted as such. The table describes and tests nothing: checkpoints are a sixteenth of training apart.

# %% tags=["hide-input"]
times = []
for setting, gate in models:
    rows = curves[(curves.setting == setting) & (curves.gate == gate)]
    for run in RUNS:
        series = rows.pivot(index="seed", columns="step", values=run)
        below = series < constants[setting] / 5
        first = below.idxmax(axis=1).where(below.any(axis=1))
        times.append(
            {"setting": setting, "gate": gate, "run": run, "reached": int(below.any(axis=1).sum()), "of": len(series),
             "median": float(first.fillna(np.inf).median())}
        )  # fmt: skip
times = pd.DataFrame(times)
never = int((times.of - times.reached)[times.run == "full"].sum())
record.number("never-full", never)
record.number("never-dropped", int((times.of - times.reached)[times.run == "gate dropped"].sum()))  # fmt: skip
record.table(
    times.assign(
        cell=lambda t: t["median"].map(lambda v: f"{v:.0f}" if np.isfinite(v) else "never") + " (" + t.reached.astype(str) + "/" + t.of.astype(str) + ")"
    )
    .pivot(index=["setting", "gate"], columns="run", values="cell")[list(RUNS)]
    .reindex(models).reset_index(),
    "correction-times",
    caption=f"Median step at which the loss on fresh data is first below a fifth of the best constant's, {SEEDS} seeds; in brackets how many of them get there. A network that does not counts as later than all others.",
)  # fmt: skip

# %% [markdown]
# ### How many seeds it takes
#
# With twenty seeds an effect can go unseen because it is not there or because it is too small for twenty. {numref}`tab-correction-power` says which: the least effect that these seeds would show with a probability of four fifths, and how many seeds the effect that was found would have needed.


# %% tags=["hide-input"]
def count(seeds_needed: float) -> str:
    return f"{np.ceil(seeds_needed):.0f}" if seeds_needed < 1e4 else "over 10 000"


power_rows = [row for row in rows_of if row["run"] in ("gate dropped", "order 0")]
p_values = statistics.holm([row["of"].p for row in power_rows])
strength = statistics.power(
    per_seed(effect, "gate dropped").to_numpy() - margin
)  # of what the claim says: from the null, not from zero
record.number("seeds-needed", min(float(np.ceil(strength.seeds_needed)), 1e6), count(strength.seeds_needed))  # fmt: skip
record.number("detectable", strength.detectable, f"{strength.detectable:.2g}")
record.table(
    pd.DataFrame(
        [
            (row["setting"], row["gate"], row["run"], f"{row['of'].mean:+.3f}", f"{row['of'].low:+.3f} to {row['of'].high:+.3f}",
             f"{p:.2g}", f"{row['power'].detectable:.2g}", count(row["power"].seeds_needed))
            for row, p in zip(power_rows, p_values, strict=True)
        ],
        columns=["setting", "gate", "backward pass", "effect", "95 % interval", "p, after Holm", "least effect seen", "seeds needed"],
    ),
    "correction-power",
    caption=f"The effect on the final loss by model ($\\log_{{10}}$ of the ratio to the full gradient's, {SEEDS} paired seeds), the p value of its sign-flip test against zero, the least effect that as many seeds show with a probability of 80 % (paired t test at 5 %), and how many seeds the effect found would need for that.",
)  # fmt: skip

# %% [markdown]
# ## Verdicts

# %% tags=["hide-input"]
adjusted = statistics.holm([of.p for _, of, *_ in tests])
record.table(
    pd.DataFrame(
        [
            (f"`{name}`", f"{of.mean:.3g}", f"{of.low:.3g} to {of.high:.3g}", f"{'more' if greater else 'less'} than {threshold:.2g}", f"{null_value:.2g}", f"{p:.2g}", verdict)
            for (name, of, threshold, null_value, greater, verdict), p in zip(tests, adjusted, strict=True)
        ],
        columns=["claim", "effect", "95 % interval", "needs", "null", "p, after Holm", "verdict"],
    ),
    "correction-verdicts",
    caption=f"All claims of this chapter, {SEEDS} seeds, {len(models)} models. The p value is that of a sign-flip test against the threshold, adjusted for the number of rows; the verdict follows from the interval alone. For `small` the null stands for a yardstick, what the leak alone leaves out.",
)  # fmt: skip

# %% [markdown]
# The claims are means over models. Does any *one* model have all three properties? {numref}`tab-correction-three` asks each with the same thresholds, its own interval and its own null.


# %% tags=["hide-input"]
def side(values: pd.Series, threshold: float, greater: bool = True) -> str:
    """On which side of the threshold the whole interval lies."""
    of = statistics.estimate(values.to_numpy())
    if of.low <= threshold <= of.high:
        return "open"
    return "yes" if (of.low > threshold) is greater else "no"


rows = []
for setting, gate in models:
    mine = {
        name: table[(table.setting == setting) & (table.gate == gate)].groupby("seed")
        for name, table in (("along", along), ("lasting", lasting), ("effect", effect))
    }
    other = statistics.estimate(mine["effect"]["other data"].mean().to_numpy())
    rows.append(
        {"setting": setting, "gate": gate, "small": side(mine["along"]["share"].mean(), SMALL, greater=False),
         "persistent": side(mine["lasting"]["mean"].mean(), 0.0),
         "effective": side(mine["effect"]["gate dropped"].mean(), max(0.0, other.high))}
    )  # fmt: skip
three = pd.DataFrame(rows)
all_three = int(
    (three[["small", "persistent", "effective"]] == "yes").all(axis=1).sum()
)
record.number("all-three", all_three)
record.number("models", len(models))
for word in ("small", "persistent", "effective"):
    record.number(f"models-{word}", int((three[word] == "yes").sum()))
record.table(
    three, "correction-three",
    caption=f"Which model has which property, {SEEDS} seeds: *yes* or *no* if its whole 95 % interval lies on that side of the threshold, *open* otherwise. Not adjusted for the number of rows.",
)  # fmt: skip

# %% [markdown]
# ## The answer

# %% tags=["hide-input"]
verdict_of = {name: verdict for name, *_, verdict in tests}


def said(name: str, form: str = ".2f") -> str:
    """An effect with its interval."""
    of = found[name]
    return f"{of.mean:{form}} ({of.low:{form}} to {of.high:{form}})"


percent = {name: 100 * (10 ** found[name].mean - 1) for name in found if name.startswith("effective")}  # fmt: skip
record.number(
    "effective-percent", percent["effective"], f"{percent['effective']:+.0f} %"
)
Markdown(
    f"On {SEEDS} seeds of {len(models)} models: **small** is *{verdict_of['small']}*: the correction's norm is {said('small')} of the gradient's, where the leak alone leaves out {beyond:.2f}. "
    f"**Persistent** is *{verdict_of['persistent']}*: corrections 1 to 32 iterations apart have a mean cosine of {said('persistent')} against 0 for independent directions, and the gradient itself has {yardstick:.2f} (difference {said('persistent-beyond-gradient')}: *{verdict_of['persistent-beyond-gradient']}*). The cosine of neighbours minus that of random pairs is {said('persistent-memory', '.3f')}. "
    f"Summed over training, corrections reach {way['length']:.2f} of the length of the way, with random signs {way['random']:.2f}; along the way lies {way['along']:.3f}. "
    f"**Effective** is *{verdict_of['effective']}*: without the correction the final loss on fresh data changes by {percent['effective']:+.0f} % ($\\log_{{10}}$ of the ratio {said('effective', '+.3f')}), where other data change it by {null.mean:+.3f} ({null.low:+.3f} to {null.high:+.3f}). A single pair of equals lies {apart:.2f} apart, to either side. "
    f"The diagonal alone costs {said('effective-diagonal', '+.3f')}, the leak alone {said('effective-order-0', '+.3f')}. The {SEEDS} seeds show a distance of {strength.detectable:.2g} from that null with a probability of four fifths; the distance found would have needed {count(strength.seeds_needed)}. "
    f"All three words hold together in **{all_three} of {len(models)}** models; *small* in {(three.small == 'yes').sum()}, *persistent* in {(three.persistent == 'yes').sum()}, *effective* in {(three.effective == 'yes').sum()}."
)  # fmt: skip

# %% [markdown]
# ## What it means
#
# The three words belong to three different things, and one does not imply the next. *Small* is said of a vector, at one point of weight space. *Persistent* is said of a stream of vectors. A stream of gradients has a mean as long as there is something to learn, and with few examples a batch it has noise; a term of that gradient may inherit both, so the cosine of
# corrections must be read beside that of gradients. {numref}`fig-correction-persistent` draws them together, and `persistent-beyond-gradient` in {numref}`tab-correction-verdicts` compares them. Nor is the cosine of neighbours special: plain SGD at a rate at which it learns in good time swings across the valley, and what is swung across changes sign from one iteration to the next. *Effective* is said of networks, and only a network that was trained otherwise can tell.
#
# Whether the words hold *together* is therefore a question of its own, and {numref}`tab-correction-three` answers it model by model. Size depends on the lag: in {numref}`fig-correction-small` the gate's share of the transport is larger the further the gradient has to travel, since a product of many factors collects the gate terms of all of them. A task that needs short lags has a small correction, and one that needs long lags need not.
#
# Two comparisons put an effect in its place. One is the null: the same network on other data. Where learning sets in suddenly, as on adding, any nudge moves the moment at which it does, and the final losses of two equals lie far apart; a single pair of runs shows nothing there. The other is what else can be left out. The diagonal and the leak alone are what biologically plausible learning rules use, and how much they cost
# says how much room there was for $G$ to matter.
#
# None of this says that *gates* do not matter, or that they do. Every network here has one, and its leak is in all four backward passes; what is dropped is one term of the derivative. And it is measured in small networks, on short tasks that they learn.
#
# (effective-rates)=
# ## How the settings were chosen
#
# On seeds from $101$ on, with the full backward pass only, so that no pass but the reference was tuned. Plain SGD was tried first, at rates from $0.1$ to $3$. A rate of $1$ diverged on every task within some twenty steps, and on adding so did smaller ones in some trial networks; the rate taken is the largest of those tried that left all trial networks alive, and the updates are as many as bring them
# under a fifth of the constant's loss. Delay-sum has fewer and shorter delays than the published task: with four of them, up to eight steps, plain SGD took too long. On digits SGD did not get far, and Adam at $0.01$ was unsteady; at half of that it learns, but not every network comes below a fifth of the constant's loss.

# %% tags=["hide-input"]
record.table(
    pd.DataFrame(
        [
            (name, chosen["task"], str(each.steps), chosen["optimiser"], f"{chosen['rate']:g}", str(chosen["steps"]),
             f"{each.constant_loss:.4g}")
            for name, chosen in SETTINGS.items()
            for each in [tasks.get(chosen["task"], **chosen.get("task_options", {}))]
        ],
        columns=["setting", "task", "T", "optimiser", "rate", "updates", "constant's loss"],
    ),
    "correction-settings",
    caption="The settings: networks of 32 neurons without biases, batches of 32.",
)  # fmt: skip

# %% [markdown]
# ## What it cost

# %% tags=["hide-input"]
cost = own["cost"]
minutes = float(cost.cpu_seconds.sum()) / 60
record.number("cpu-minutes", minutes, f"{minutes:.1f}", "min")
record.table(
    cost.groupby(["setting", "gate"])
    .agg(seconds=("seconds", "sum"), cpu=("cpu_seconds", "sum"), machine=("machine", "first"))
    .reset_index()
    .assign(
        seconds=lambda t: t.seconds.map("{:.0f}".format),
        cpu=lambda t: t.cpu.map("{:.0f}".format),
    )
    .rename(columns={"cpu": "CPU seconds"}),
    "correction-cost",
    caption=f"What the cells of this run took when they were computed, {seeds} seeds side by side: the four backward passes, the null, and what is measured along the full one.",
)  # fmt: skip

# %% [markdown]
# ## What was checked

# %% tags=["hide-cell"]
# The two sweeps of the library, that of training and that of measuring, agree on every backward pass.
model = GatedRNN(task.n_inputs, 8, "multi", generator=draw, dtype=torch.float64)
run = model.run(data.u)
error = (run.x[-1] @ model.W_o.mT - data.target).detach() * 2 / len(data.target)
delta = torch.zeros_like(run.x)
delta[-1] = error @ model.W_o.detach()
gaps = []
for backward in BACKWARD:
    loss = task.loss(model(data.u, backward=backward), data.target)
    closed = adjoint.gradients(model, run, delta, backward=backward)
    for name, gradient in closed.items():
        (trained,) = torch.autograd.grad(loss, getattr(model, name), retain_graph=True)
        gaps.append(float((gradient - trained).detach().abs().max()))
record.check(
    "two-sweeps", "C7",
    "the backward pass of training and the one that is measured with agree, all four, every weight",
    max(gaps), 1e-12,
)  # fmt: skip
dropped = adjoint.gradients(model, run, delta, backward="gate dropped")
weighed = adjoint.gradients(model, run, delta, gate_sensitivity=0.0)
record.check(
    "sensitivity-zero", "C7",
    "dropping the gate term is giving it the weight 0",
    max(float((dropped[name] - weighed[name]).abs().max()) for name in dropped),
)  # fmt: skip

# %% tags=["hide-input"]
record.validation(caption="The checks of this chapter: the four backward passes, and this run against the committed one.")  # fmt: skip

# %% [markdown]
# ## Try it
#
# 1. *RFLO is the eligibility trace.* At order 0 the gradient of a loss of the last state needs no backward pass at all: it is $\operatorname{diag}(\delta_T) E_T$, with the eligibility $E$ of C12. Check it against `backward="order 0"`.
# 2. *A mean under noise.* Let $c_s = m + \xi_s$ with a fixed $m$ and independent noise $\xi_s$ of length $\sigma$. What are $a(\Delta)$ and, for a window of $64$, the length of the mean over the mean length (the *resultant*)? Which $\sigma$ makes a cosine of one tenth?
# 3. *Half a gate.* `adjoint.gradients` takes any weight of the gate term. How far is the gradient with the weight $s$ from the full one, for $s$ between 0 and 1? Is it linear in $s$?

# %% tags=["hide-cell"]
# 1. The trace runs forward with the network, and holds all that order 0 needs.
trace = rates.eligibility(model, run)  # one for each sequence
online = (delta[-1].unsqueeze(-1) * trace).sum(0)
order_0 = adjoint.gradients(model, run, delta, backward="order 0")["W_r"]
record.check(
    "exercise-rflo", "C12",
    r"at order 0 the gradient of W_r is $\operatorname{diag}(\delta_T) E_T$, summed over sequences",
    float((online - order_0).detach().abs().max() / order_0.detach().abs().max()),
    1e-12,
)  # fmt: skip

# %% tags=["hide-cell"]
# 2. Both are the mean's share of the energy: a = 1/(1 + σ²/|m|²) at every distance, so that σ = 3 |m| makes a tenth; and
#    the resultant is its root, but for the little that noise adds to a mean of 64.
noise = 3.0
width = 4000
mean = torch.zeros(width, dtype=torch.float64)
mean[0] = 1.0
noisy = mean + noise * torch.randn(64, 1, width, generator=draw, dtype=torch.float64) / width**0.5  # fmt: skip
lasts = corrections.persistence(noisy, [1, 8, 32])
expected = 1 / (1 + noise**2)
resultant = ((1 + noise**2 / 64) / (1 + noise**2)) ** 0.5
record.check(
    "exercise-mean", "C7",
    "a fixed mean under independent noise has the cosine 1/(1 + σ²) at every distance, and the resultant that follows from it",
    max(*(abs(float(a) - expected) for a in lasts.cosine.values()), abs(float(lasts.resultant) - resultant)),
    0.02,
)  # fmt: skip
pd.Series({"expected": expected, **{f"at {d}": float(a) for d, a in lasts.cosine.items()}}).round(3)  # fmt: skip

# %% tags=["hide-cell"]
# 3. The distance falls with s, and it is not quite linear: a product of T factors is a polynomial of degree T in s.
whole = adjoint.gradients(model, run, delta)["W_r"]
distance = {
    s: float((adjoint.gradients(model, run, delta, gate_sensitivity=s)["W_r"] - whole).detach().norm() / whole.detach().norm())
    for s in (0.0, 0.25, 0.5, 0.75, 1.0)
}  # fmt: skip
record.check(
    "exercise-half", "C7",
    "the more of the gate term is kept, the nearer the gradient is to the full one",
    all(a > b for a, b in zip(distance.values(), list(distance.values())[1:], strict=False)) and distance[1.0] == 0.0,
)  # fmt: skip
pd.Series(distance, name="distance").rename_axis("s").round(4)

# %% tags=["hide-input"]
record.close()
