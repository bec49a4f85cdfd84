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
# (ch-benchmarks)=
# # How fast, and against what
#
# Why write a backward pass by hand, when autograd differentiates any network?
# The reason must be speed. Experiments train twenty seeds, and need quantities
# that autograd does not give directly. So here the library of this book is
# compared with its *peers*: what one would otherwise write or use.
#
# :::{admonition} What this chapter shows
# - The library keeps as many numbers for the way back as autograd does. Its
#   plain loop runs fewer operators and takes no new memory, and its compiled loop
#   runs none of PyTorch's operators.
# - Whether that saves time is measured against each peer. Of
#   {result}`benchmarks/targets` targets written down beforehand
#   {result}`benchmarks/targets-met` are met ({numref}`tab-benchmark-targets`).
# :::
#
# The chapter has two halves. The first *counts* operators and memory. With the
# same PyTorch, counts are the same on every machine; this run made them. The
# second is about *seconds*, which belong to one machine on one day. It draws the
# files in `benchmarks/results/`, one for each kind of processor that was
# measured, and measures nothing itself. No check of this book depends on a time.

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters"}
profile = "ci"
seeds = 3  # networks that are trained side by side in the counts
device = "auto"
out = "../artifacts/draft/benchmarks"
n_hidden = 16
batch = 8
steps = 20  # counts compare sequences of this length and half of it

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the imports"}
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
from gatelr import GatedRNN
from gatelr.experiments import timings
from gatelr.experiments.agreement import discrepancy
from gatelr.experiments.counting import Counting, kept
from gatelr.kernels import plain as without_kernel
from gatelr.kernels import sweep
from gatelr.record import Chapter, figures
from matplotlib.ticker import LogLocator
from torch import Tensor

chapter = Chapter("benchmarks")

# %% [markdown]
# ## What one would otherwise write
#
# The plain version of a multi-gate network is a few lines, and autograd does the
# rest. The one below is written with care, as are all the peers in
# `benchmarks/peers/`, since anyone can beat a careless loop. Candidate and gate
# share one product, the inputs of all steps another. All seeds are trained side
# by side, and no line of the loop indexes a large tensor.


# %%
def readout(W: Tensor, W_in: Tensor, W_o: Tensor, u: Tensor) -> Tensor:
    """The readout of the last state, (S, B, 1), for inputs (T, S, B, m)."""
    x = u.new_zeros(*u.shape[1:-1], W.shape[-2])
    for z in (u @ W_in).unbind():
        a, a_g = torch.baddbmm(z, x, W).chunk(2, -1)
        x = torch.lerp(x, torch.tanh(a), torch.sigmoid(a_g))
    return x @ W_o


# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the networks, the data and the loss"}
def networks(dtype: torch.dtype, T: int):
    """Network, inputs, targets, and the weights as the plain version wants."""
    draw = torch.Generator().manual_seed(0)
    kind = {"replicas": seeds, "generator": [draw] * seeds, "dtype": dtype}
    model = GatedRNN(3, n_hidden, "multi", **kind)
    u = torch.rand(T, seeds, batch, 3, generator=draw, dtype=dtype)
    target = torch.rand(seeds, batch, 1, generator=draw, dtype=dtype)
    model, u, target = (each.to(chapter.device) for each in (model, u, target))
    pairs = [(model.W_r, model.W_rg), (model.W_i, model.W_ig), (model.W_o,)]
    weights = [torch.cat(pair, -2).mT.detach().contiguous() for pair in pairs]
    return model, u, target, [weight.requires_grad_() for weight in weights]


def loss(answer: Tensor, target: Tensor) -> Tensor:
    return (answer - target).square().mean((-2, -1)).sum()


# %% [markdown]
# Both must have the same gradient, or their times would mean nothing.

# %%
model, u, target, weights = networks(torch.float64, steps)
loss(model(u), target).backward()
plain = torch.autograd.grad(loss(readout(*weights, u), target), weights)
closed = [torch.cat([model.W_r.grad, model.W_rg.grad], -2).mT]
closed += [torch.cat([model.W_i.grad, model.W_ig.grad], -2).mT]
closed += [model.W_o.grad.mT]
gap, scope = max(map(discrepancy, closed, plain)), "one random network"
statement = "The library and the plain version have the same gradient of every weight"
chapter.check("same-gradient", statement, gap, 1e-12, claim="C7", scope=scope)

# %% [markdown]
# ## What the difference is made of
#
# A training step is a loop over time, forwards and backwards. PyTorch can tell
# us each operator that runs in it, and whether its result lies in memory that
# had to be taken for it. Views are not counted, since they compute nothing. The
# difference between two lengths of sequence, over the difference in length, is
# what one step of the loop costs.
#
# The library has two loops that do the same. Where there is a C++ compiler the
# loop is compiled, and then PyTorch sees one call instead of operators. Its other
# loop is written in PyTorch's operators. That one is counted here, because it is
# the same everywhere.


# %%
def counts(way: str, T: int) -> pd.Series:
    """What a training step over T steps costs."""
    model, u, target, weights = networks(torch.float32, T)
    workspace = sweep.Workspace(record=False)

    def forwards() -> Tensor:
        if way == "library":
            return loss(model(u, workspace=workspace), target)
        return loss(readout(*weights, u), target)

    forwards().backward()  # makes the workspace, as a run's first step does
    with Counting() as counted:
        forwards().backward()
    neurons = seeds * batch * n_hidden
    cost = {"operators": counted.operators.total()}
    cost["kept for the way back"] = kept(forwards) / neurons
    cost["memory taken"] = counted.taken / neurons
    return pd.Series(cost)


ways, more = ("library", "plain"), steps - steps // 2
with without_kernel():
    cost = {way: counts(way, steps) - counts(way, steps // 2) for way in ways}
cost = (pd.DataFrame(cost) / more).rename_axis("quantity")
short = cost.set_axis(["operators", "kept", "taken"]).stack()
for (name, way), value in short.items():
    chapter.number(f"{name}-{way}", value)

# %% tags=["hide-input"]
with figures.style():
    where = {"x": "value", "y": "way", "hue": "way", "col": "quantity"}
    look = {"palette": figures.CYCLE[1::-1], "saturation": 1, "sharex": False}
    shown = cost.melt(var_name="way", ignore_index=False).reset_index()
    look |= {"kind": "bar", "height": 1.9, "aspect": 1.3}
    grid = sns.catplot(shown, **where, **look)
    for ax in grid.axes.flat:
        for bars in ax.containers:
            ax.bar_label(bars, fmt="%.3g", padding=3)
        ax.margins(x=0.25)
    grid.set_titles("{col_name}").set_axis_labels("numbers a neuron", "")
    grid.axes.flat[0].set_xlabel("operators")
chapter.figure("cost-of-a-step", grid.figure, cost.reset_index())

# %% [markdown]
# :::{figure} /artifacts/benchmarks/figures/cost-of-a-step.svg
# :name: fig-cost-of-a-step
# :alt: Three small bar charts that compare the library with plain autograd for
# :  one step of time. Fewer operators for the library; equal bars for the numbers
# :  kept; and for memory taken no bar for the library beside a long one for
# :  plain autograd.
#
# The library computes with fewer operators and takes no new memory in its loop.
# The bars count what one step of time costs in a training step, forwards and
# backwards; memory is counted in numbers a neuron. Both ways keep the same for
# the way back.
# :::
#
# What is kept for the way back is the same to the last number: both keep what the
# chain rule needs, and autograd wastes nothing. The library wins by what it need
# not do. Its plain loop has {result}`benchmarks/operators-library` operators a
# step instead of {result}`benchmarks/operators-plain`. The gradient of the weights,
# for example, is summed inside the product that makes it. In a step the library
# takes new memory for {result}`benchmarks/taken-library` numbers a neuron instead
# of {result}`benchmarks/taken-plain`. What a step computes on the way goes into the
# same small arrays at every step. The trajectory goes into a workspace, which is
# kept from one training step to the next and spares the operating system the
# making of fresh pages.
#
# The compiled loop does the same sums in another order of work. One thread takes
# a few sequences of one network through all steps, so that their states and the
# weights stay in the nearest cache. The plain loop takes all sequences through
# one step, then through the next.
#
# ## How the seconds were taken
#
# In one process, on the same data, in turn
# : All rows of a comparison are warmed up and then timed in rounds, each in an
#   order drawn anew, so that a busy moment of the machine falls on all of them.
#   A ratio is taken within a round; dots are medians over rounds and bars are
#   quartiles. Garbage is collected between rounds.
#
# Each at its best
# : The same precision, float32 unless a row says otherwise, and the same number
#   of threads. JAX is compiled ahead. It takes its seeds together by `vmap`, and
#   in another row in turn by `lax.map`. `torch.compile` compiles the update of one
#   step; for the whole loop it takes minutes. The released code is run as it is,
#   from a clone, one seed at a time as its scripts do; its time a seed is that of
#   one. Everything that a training loop does once is left out: weights copied,
#   optimiser made, code compiled. What compiling took stands in
#   {numref}`tab-benchmark-rates`.
#
# Whose loops
# : The library's hot loops are C++: the two sweeps of a training step
#   ({py:mod}`gatelr.kernels.compiled`) and the norms of all transports
#   ({py:mod}`gatelr.kernels.lanczos`). They are compiled when they are first used,
#   where there is a compiler, and kept for later. Else PyTorch's operators serve.
#   {numref}`tab-benchmark-machines` says which did.
#
# A kind of processor
# : What counts is how many numbers a processor handles with one instruction. One
#   that has wide vectors can be told to use narrower ones. It then stands for a
#   processor that has no more. Library, PyTorch, JAX and the libraries below them
#   are all told so.
#
# The same work
# : Before a row is timed, its result is compared with the library's, and the
#   discrepancy is written down beside the time. Rows of the released code that
#   compute something else are marked. `torch.nn.GRU` is another model, with one
#   gate more. It is timed at the same sizes, because it is what a reader would
#   otherwise use, and nothing of it is compared but its time.
#
# Memory
# : Each peer trains in a process of its own, and the system says how far its
#   resident set rose above what it was before the first step. It is given as a
#   multiple of the trajectory, $3 \, T S n$ numbers for each sequence: every
#   state, candidate and gate once. Whoever takes the seeds in turn holds one of
#   them at a time.
#
# The ceiling
# : A training step is mostly matrix products. So the rate at which PyTorch
#   multiplies matrices of that shape, with nothing else to do, says how much is
#   left to win with its products. Operations are those that the step needs:
#   forward, back to the state, and the gradient of the weights.
#
# Not compared: `torch.compile` over the whole loop, kernels written for one kind
# of GPU, such as those of cuDNN, and frameworks other than PyTorch and JAX. No
# file says anything about a GPU unless it names one.
#
# ## What was found
#
# {numref}`tab-benchmark-machines` names the machines, and
# {numref}`tab-benchmark-targets` says what was wanted of them. How fast the
# library was meant to be was written down before it was measured. Of
# {result}`benchmarks/targets` targets {result}`benchmarks/targets-measured` were
# measured, and {result}`benchmarks/targets-met` are met. A target that is missed
# stays in the table.

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that reads the measurements"}
READS = [
    "benchmarks/schema.json",
    "benchmarks/results/*.json",
    "benchmarks/results/costs/ci.json",
]
machines = timings.read(Path("..") / "benchmarks")
rows = timings.table(machines)
chapter.number("machines", len(machines))


def table(name: str, data: pd.DataFrame) -> None:
    """A table, with the machine only where there are several."""
    one = len(machines) == 1
    chapter.table(name, data.drop(columns="machine") if one else data)


described = []
for content in machines.values():
    machine = content["machine"]
    memory = f"{machine['memory_bytes'] / 2**30:.0f} GB"
    threads = f"{machine['threads']} of {machine['cores']}"
    line = {"processor": machine["cpu"], "vectors": machine["level"]}
    line |= {"threads": threads, "memory": memory}
    described.append(line | timings.provenance(content))
chapter.table("benchmark-machines", pd.DataFrame(described))

targets = [
    {"machine": name, **target}
    for name, content in machines.items()
    for target in content["targets"]
]
targets = pd.DataFrame(targets).astype({"met": "boolean"})
chapter.number("targets", len(targets))
chapter.number("targets-measured", int(targets["met"].notna().sum()))
chapter.number("targets-met", int(targets["met"].sum()))
targets["wanted"] = targets["sense"] + " " + targets["bound"].map("{:g}".format)
targets["found"] = targets["found"].map("{:.3g}".format, "ignore").fillna("–")
words = {True: "met", False: "not met"}
targets["verdict"] = targets["met"].map(words).fillna("not measured")
columns = ["machine", "target", "wanted", "found", "verdict"]
targets = targets.rename(columns={"statement": "target"})[columns]
table("benchmark-targets", targets)

# %% [markdown]
# :::{table-file} /artifacts/benchmarks/tables/benchmark-machines.csv
# :name: tab-benchmark-machines
#
# The kinds of processors that were measured, and with what. *Vectors* are the
# instructions in use, *kernel* is what served the library. The commit of each
# group of rows is in the file.
# :::
#
# :::{table-file} /artifacts/benchmarks/tables/benchmark-targets.csv
# :name: tab-benchmark-targets
#
# Targets, and what was found. *A over ours* is how many times longer A takes.
# :::
#
# What was timed had to be the same work. A training step is compared by the
# update that it makes, which in float32 is a small difference of two large
# numbers, and therefore with a wider tolerance.

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that compares what the peers computed"}
same = {
    "timed-steps": ("training step", "update of the weights", 1e-2, "C7"),
    "timed-gradients": ("per-sample gradients", "gradients", 1e-4, "C7"),
    "timed-blocks": ("Jacobian blocks", "Jacobians", 1e-5, "C2"),
}
for name, (group, result, tolerance, claim) in same.items():
    exact = rows[(rows["group"] == group) & rows["agreement exact"].eq(True)]
    worst = exact["agreement discrepancy"].max()
    statement = f"Every peer said to be exact had the library's {result}"
    scope = f"{group}: what was timed"
    chapter.check(name, statement, worst, tolerance, claim=claim, scope=scope)

# %% [markdown]
# {numref}`fig-benchmark-ratios` is the comparison. Look for what lies left of
# the line of equal times. There the peer is faster, and
# {numref}`tab-benchmark-rates` lists these rows. Then compare, for each gate, the
# row of one seed with that of twenty, which are trained side by side.

# %% tags=["hide-input"]
PEERS = {
    "ours": ("vermilion", "o", "library"),
    "ours, no workspace": ("muted", "v", "library, no workspace"),
    "autograd": ("blue", "s", "autograd"),
    "functorch": ("green", "^", "torch.func"),
    "torch.compile": ("ink", "<", "torch.compile"),
    "jax": ("purple", "D", "JAX, vmap"),
    "jax, seeds in turn": ("purple", "d", "JAX, in turn"),
    "nn.GRU": ("ink", "*", "nn.GRU"),
    "svdvals": ("ink", "P", "decompositions"),
    "released": ("ochre", "X", "released code"),
}
label = {peer: text for peer, (_, _, text) in PEERS.items()}
color = {text: figures.PALETTE[hue][0] for hue, _, text in PEERS.values()}
marker = {text: sign for _, sign, text in PEERS.values()}
rows["label"] = rows["peer"].map(label)


def title(row: pd.Series) -> str:
    if row["group"] == "training step":
        count = "1 seed" if row["S"] == 1 else f"{int(row['S'])} seeds"
        return f"training, {row['gate']}, {count}"
    if row["group"] == "sensitivities":
        return f"norms of all lags, {row['dtype']}"
    return row["group"]


step = rows[rows["group"] == "training step"]
timed = rows[rows["ratio"].notna()]
trained = timings.at_base(step, machines, "gate", "S")
# those that every peer took part in; the others are for the next figure
together = trained[trained["peer"] == "released"][["machine", "gate", "S"]]
trained = trained[trained["ratio"].notna()].merge(together)
trained = trained[trained["S"].isin([trained["S"].min(), trained["S"].max()])]
ratios = pd.concat([trained, timed[timed["group"] != "training step"]])
ratios = ratios[ratios["peer"] != "ours"]
ratios["row"] = ratios.apply(title, axis=1)
order = list(ratios["row"].unique())


def draw(data: pd.DataFrame, **look) -> None:
    middle = data["ratio"]
    ends = [middle - data["lower quartile"], data["upper quartile"] - middle]
    height = data["row"].map(order.index)
    plt.errorbar(middle, height, xerr=ends, linestyle="", **look)


with figures.style():
    shown = [text for text in label.values() if text in set(ratios["label"])]
    hue = {"hue": "label", "hue_order": shown, "palette": color}
    hue["hue_kws"] = {"marker": [marker[text] for text in shown]}
    size = {"height": 3.3, "aspect": 1.7, "despine": False}
    grid = sns.FacetGrid(ratios, row="machine", **hue, **size)
    grid.map_dataframe(draw).add_legend(title="")
    grid.set(xscale="log", yticks=range(len(order)), yticklabels=order)
    grid.set_titles("{row_name}").set_axis_labels("time over the library's", "")
    grid.axes.flat[0].invert_yaxis()
    for ax in grid.axes.flat:
        ax.axvline(1, color=figures.INK, linewidth=1)
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()
    grid.tight_layout()
columns = ["machine", "row", "peer", "ratio"]
columns += ["lower quartile", "upper quartile"]
chapter.figure("benchmark-ratios", grid.figure, ratios[columns])

# %% [markdown]
# :::{figure} /artifacts/benchmarks/figures/benchmark-ratios.svg
# :name: fig-benchmark-ratios
# :alt: A dot plot with a logarithmic axis. Each line is one piece of work, such as
# :  a training step of twenty seeds; each dot a peer, which is autograd, torch dot
# :  func, JAX, decompositions or the released code, at its time over that of the
# :  library. A vertical line marks equal times.
#
# How many times longer a peer takes than the library: right of the line the
# library is faster, left of it slower. Training steps are compared by the time
# of one seed, per-sample gradients by that of one sequence. The released code's
# Jacobian blocks and norms are not the same quantities, and `torch.nn.GRU` is
# not the same model.
# :::
#
# {numref}`fig-benchmark-scaling` changes one size at a time. The first two panels
# rise for everyone, since there is more to compute. In the third, follow the line
# of the library. Where it falls, a seed becomes cheaper because more seeds share a
# step.

# %% tags=["hide-input"]
drawn = {"ours": "library", "autograd": "autograd", "jax": "JAX, the better way"}
ways = drawn | {"jax, seeds in turn": drawn["jax"]}
multi = step[(step["gate"] == "multi") & step["ratio"].notna()]
multi = multi.assign(label=multi["peer"].map(ways)).dropna(subset="label")
multi = multi.sort_values("seconds each")  # of two ways the faster stays
multi = multi.drop_duplicates(["machine", "label", "T", "n", "S"])
scaling = []
for axis in ("T", "n", "S"):
    some = timings.at_base(multi, machines, axis)
    scaling.append(some.assign(axis=axis, at=some[axis].astype(int)))
scaling = pd.concat(scaling)
with figures.style():
    shown = scaling.assign(milliseconds=1e3 * scaling["seconds each"])
    look = {"x": "at", "y": "milliseconds", "col": "axis", "row": "machine"}
    look |= {"hue": "label", "style": "label", "dashes": False, "kind": "line"}
    look["palette"] = {text: color[label[peer]] for peer, text in drawn.items()}
    look["markers"] = {text: marker[label[peer]] for peer, text in drawn.items()}
    look["row_order"] = list(machines)
    facets = {"sharex": False, "despine": False}
    grid = sns.relplot(shown, height=2.2, aspect=1, facet_kws=facets, **look)
    grid.set(xscale="log", yscale="log")
    grid.set_titles("")
    for machine, axes in zip(machines, grid.axes, strict=True):
        axes[0].set_ylabel("\n".join([*machine.split(", "), "ms a seed"]))
    names = {"T": "steps $T$", "n": "neurons $n$", "S": "seeds $S$"}
    for (_, axis), ax in grid.axes_dict.items():
        ticks = sorted(set(scaling.loc[scaling["axis"] == axis, "at"]))
        ax.set_xticks(ticks, ticks)
        ax.set_xlabel(names[axis])
        ax.minorticks_off()
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
    grid.legend.set_title("")
    grid.tight_layout()
columns = ["machine", "peer", "axis", "at", "seconds each"]
chapter.figure("benchmark-scaling", grid.figure, scaling[columns])
sizes = timings.sizes(next(iter(machines.values())))
names = {"T": "steps", "n": "neurons", "S": "seeds", "B": "batch"}
for axis, name in names.items():
    chapter.number(f"base-{name}", sizes[axis])

# %% [markdown]
# :::{figure} /artifacts/benchmarks/figures/benchmark-scaling.svg
# :name: fig-benchmark-scaling
# :alt: Three panels with logarithmic axes, milliseconds a seed against the number
# :  of steps, of neurons and of seeds. Each has a line for the library, for
# :  autograd and, where it was measured, for JAX.
#
# What a seed costs when one size changes and the others stay. Time of a training
# step for each seed, multi gate; the others stay at
# {result}`benchmarks/base-steps` steps, {result}`benchmarks/base-neurons`
# neurons, {result}`benchmarks/base-seeds` seeds and a batch of
# {result}`benchmarks/base-batch`.
# :::
#
# How far do these lines go? {numref}`tab-benchmark-growth` follows the library
# alone to larger sizes, along the four paths that this book takes: a recorded
# run, a training step, the norms of all transports, and their singular values at
# one lag. An exponent of 1 means that twice the size costs twice as much. The
# last column is where the fitted law of memory passes 8 GB.

# %% tags=["hide-input"]
growth = timings.growth(machines)
axis = growth["axis"].astype(object).fillna("–").astype(str)
shown = growth[["machine", "path"]].assign(
    size=axis + " to " + growth["largest"].map("{:.0f}".format),
    seconds=growth["seconds"].map("{:.2g}".format),
    time=axis + "^" + growth["time_exponent"].map("{:.2f}".format),
    memory=axis + "^" + growth["memory_exponent"].map("{:.2f}".format),
)
limit = growth["at_limit"].astype(float).map(lambda at: f"{float(f'{at:.2g}'):,.0f}")
shown["8 GB"] = (axis + " = " + limit).where(growth["at_limit"].notna(), "never")
shown.loc[growth["axis"].isna(), "size":] = "–"
table("benchmark-growth", shown)

# %% [markdown]
# :::{table-file} /artifacts/benchmarks/tables/benchmark-growth.csv
# :name: tab-benchmark-growth
#
# How time and memory grow with steps $T$, neurons $n$ and seeds $S$, when one of
# them changes. Exponents are fitted to the three largest sizes, and *seconds* are
# those of the largest. Runs and training steps are of
# {result}`benchmarks/base-seeds` seeds, transports of one sequence. The norms of
# all transports are $T^2$ numbers, of which these lengths show little. Over $T$
# their last column is where the norms alone would fill 8 GB.
# :::
#
# Memory is another price ({numref}`fig-benchmark-memory`). Whoever keeps all seeds
# at once needs at least one trajectory of each, which is the line in the figure.

# %% tags=["hide-input"]
memory = rows[rows["times_trajectory"].notna()].copy()
for when, name in {"first": "first step", "later": "a later step"}.items():
    memory[name] = memory[f"{when}_bytes"] / memory["trajectory_bytes"]
when = ["first step", "a later step"]
with figures.style():
    shown = memory.melt(["machine", "label"], when, "when", "times")
    order = [text for text in label.values() if text in set(memory["label"])]
    bars = {"kind": "bar", "order": order, "saturation": 1, "aspect": 2.4}
    where = {"x": "times", "y": "label", "hue": "when", "row": "machine"}
    grid = sns.catplot(shown, **where, **bars, height=2.2)
    grid.refline(x=1, color=figures.INK, linestyle="-").set_titles("{row_name}")
    grid.set_axis_labels("peak memory over the trajectory", "")
    grid.legend.set_title("")
memory = memory[["machine", "peer", *when, "trajectory_bytes"]]
chapter.figure("benchmark-memory", grid.figure, memory)

# %% [markdown]
# :::{figure} /artifacts/benchmarks/figures/benchmark-memory.svg
# :name: fig-benchmark-memory
# :alt: Horizontal bars, two for each peer, the peak memory of the first and of a
# :  later training step, over the size of the trajectory, which a vertical line
# :  marks at one.
#
# How much memory a training step needs, beside its trajectory (the line). Peak
# memory of a step of all seeds, multi gate, as a multiple of the trajectory. A
# peer far below the line takes its seeds in turn, and holds one at a time.
# :::
#
# How much is there to win? {numref}`fig-benchmark-ceiling` compares each peer
# with the rate of its matrix products alone, and {numref}`tab-benchmark-rates`
# has the rates of the machine.

# %% tags=["hide-input"]
shares, rates = [], []
compiling = rows.reindex(columns=rows.columns.union(["compile_seconds"]))
for name, content in machines.items():
    here = rows["machine"] == name
    top = rows[here & (rows["group"] == "ceiling")]
    rate = top["operations_per_second"].max()
    a_seed = top["operations"].max() / timings.sizes(content)["S"]
    peers = timings.at_base(step[step["machine"] == name], machines)
    peers = peers[peers["agreement exact"].eq(True)]
    shares.append(peers.assign(share=a_seed / peers["seconds each"] / rate))
    most = 1 / shares[-1].set_index("peer").loc["ours", "share"]
    ahead = ratios[(ratios["machine"] == name) & (ratios["ratio"] < 1)]
    ahead = ahead["label"] + " (" + ahead["row"] + ")"
    absent = rows.loc[here & rows["absent"].notna(), "label"]
    took = compiling[here].groupby("label")["compile_seconds"].median().dropna()
    took = [f"{peer} {seconds:.0f}" for peer, seconds in took.items()]
    copied = top["bytes_per_second"].max()
    facts = {
        "products, thousand million operations a second": f"{rate / 1e9:.0f}",
        "a copy, read and written, GB a second": f"{copied / 1e9:.1f}",
        "the library's step, by its products alone, faster by": f"{most:.2f}",
        "to compile before the first step, seconds": "; ".join(took) or "–",
        "faster than the library": "; ".join(ahead) or "none",
        "not measured": "; ".join(absent.unique()) or "none",
    }
    rates += [(name, what, value) for what, value in facts.items()]
rates = pd.DataFrame(rates, columns=["machine", "what", "found"])
table("benchmark-rates", rates)
shares = pd.concat(shares)
with figures.style():
    order = [text for text in label.values() if text in set(shares["label"])]
    where = {"x": "percent", "y": "label", "hue": "label", "row": "machine"}
    bars = {"kind": "bar", "order": order, "saturation": 1, "aspect": 2.6}
    bars |= {"palette": color, "legend": False, "height": 2.1}
    shown = shares.assign(percent=100 * shares["share"])
    grid = sns.catplot(shown, **where, **bars)
    for ax in grid.axes.flat:
        for bar in ax.containers:
            ax.bar_label(bar, fmt="%.0f %%", padding=3)
    widest = max(100, 1.2 * shown.percent.max())  # with room for its label
    grid.set(xlim=(0, widest)).set_titles("{row_name}")
    grid.refline(x=100, linestyle=":", zorder=0)
    grid.set_axis_labels("% of the product's own rate", "")
shares = shares[["machine", "peer", "share"]]
chapter.figure("benchmark-ceiling", grid.figure, shares)

# %% [markdown]
# :::{figure} /artifacts/benchmarks/figures/benchmark-ceiling.svg
# :name: fig-benchmark-ceiling
# :alt: Horizontal bars, one for each peer, the share of the machine's own rate of
# :  matrix products that a training step reaches, with a line at one hundred per
# :  cent.
#
# How near a training step comes to the rate of PyTorch's matrix products alone.
# Multi gate, all seeds: the operations that a step needs over the time that it
# takes. Below the line, the rest of the time goes to everything else: gates, memory,
# and the way from one operator to the next. A step beyond it multiplies faster than
# PyTorch does on that processor.
# :::
#
# :::{table-file} /artifacts/benchmarks/tables/benchmark-rates.csv
# :name: tab-benchmark-rates
#
# What a machine can do at best, and who is faster than the library. The row *by
# its products alone* says how many times as fast a training step would be if it
# had nothing but PyTorch's own products to do.
# :::
#
# Two tables remain. {numref}`tab-benchmark-norms` is about a quantity that
# autograd does not give directly, the norms of all transports. It has errors beside
# times. {numref}`tab-benchmark-protocols` says how long the paper's experiments
# take from end to end.

# %% tags=["hide-input"]
norms = rows[rows["error median"].notna()]
shown = norms[["machine", "label", "dtype"]]
shown = shown.set_axis(["machine", "norms by", "precision"], axis=1)
shown["milliseconds"] = (1e3 * norms["seconds"]).map("{:.4g}".format)
for which in ("median", "largest"):
    shown[f"{which} error"] = norms[f"error {which}"].map("{:.1e}".format)
table("benchmark-norms", shown)
columns = rows.columns.union(["gpu"])  # named where there is one
protocols = rows[rows["group"] == "protocol"].reindex(columns=columns)
shown = protocols[["machine", "protocol"]].assign(
    device=protocols["gpu"].astype(object).fillna("CPU"),
    seeds=protocols["seeds"].astype(int),
    minutes=(protocols["seconds"] / 60).map("{:.1f}".format),
)
table("benchmark-protocols", shown)

# %% [markdown]
# :::{table-file} /artifacts/benchmarks/tables/benchmark-norms.csv
# :name: tab-benchmark-norms
#
# The norms of the transports over all lags: time, and relative error against
# singular value decompositions in double precision at a few lags. The released
# code takes a few power iterations, and products in the other order.
# :::
#
# :::{table-file} /artifacts/benchmarks/tables/benchmark-protocols.csv
# :name: tab-benchmark-protocols
#
# The paper's two protocols from the first draw to the last probe. On a CPU they
# run as the workflow runs them, with cells of half of the seeds side by side and
# a thread for each. E1: effective rates on one task, three gates. E2: joint
# anisotropy on one task, three models.
# :::
#
# ## What the build costs
#
# The same question can be asked of this book: where does a build spend its time?
# {numref}`tab-benchmark-costs` has its ten largest costs, with what was done about
# each. A cost is one chapter, or all training runs of one experiment.

# %% tags=["hide-input"]
costs = timings.costs(Path("..") / READS[-1])
costs["seconds"] = costs["seconds"].map("{:.0f}".format)
costs["share"] = costs["share"].map("{:.0%}".format)
chapter.table("benchmark-costs", costs)

# %% [markdown]
# :::{table-file} /artifacts/benchmarks/tables/benchmark-costs.csv
# :name: tab-benchmark-costs
#
# The ten largest costs of a build in the profile `ci`. *Seconds* are those that a
# job takes from its start to its end, *share* is of all jobs together.
# :::
#
# ## On your machine
#
# ```console
# $ make bench                 # every row but those of the protocols
# $ make bench PROTOCOLS=1     # the paper's protocols, 20 seeds; on CUDA too
# $ make bench QUICK=1         # does it run at all? Tiny sizes, one round
# $ .venv/bin/python -m benchmarks --level avx2    # as a processor with no more
# $ .venv/bin/python -m benchmarks.costs           # of the last `make book`
# $ .venv/bin/python -m benchmarks.report
# ```
#
# The machine should have nothing else to do. A run writes one file in
# `benchmarks/results/`, named after processor, vectors and threads. Measuring a
# part again, with `.venv/bin/python -m benchmarks --only memory`, replaces that part. When the
# file has all parts, `make book` runs this chapter again and draws it.
#
# JAX and the released code are no dependencies of this book. A row whose peer is
# missing says so. To have them:
#
# ```console
# $ .venv/bin/pip install jax   # or jax[cuda12]
# $ git clone https://github.com/lorenzolivi/effective-learning-rates
# $ make bench GATELR_RELEASED="$PWD/effective-learning-rates"
# ```
#
# ## Checks
#
# {numref}`tab-benchmarks-validation` has the checks of this chapter.

# %% tags=["hide-input"]
chapter.validation()
chapter.close()

# %% [markdown]
# :::{table-file} /artifacts/benchmarks/tables/benchmarks-validation.csv
# :name: tab-benchmarks-validation
#
# The checks of this chapter. None of them is about time.
# :::
#
# ## In two sentences
#
# A backward pass written by hand saves operators and memory, and these can be
# counted. What it saves in time depends on the machine, the peer and the number
# of seeds, and {numref}`fig-benchmark-ratios` says how much on those measured.
