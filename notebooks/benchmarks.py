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
# Autograd differentiates any network, and the library of this book writes its backward pass by hand. That
# needs a reason, and the reason is speed: twenty seeds of every experiment, and quantities that autograd
# does not give at all. So here it is compared with what one would otherwise write or use.
#
# The chapter has two halves. The first *counts*: operators, and memory taken. With the same PyTorch, counts are
# the same on every machine; this run made them. The second is about *seconds*, which belong to one machine on
# one day: it draws the files in `benchmarks/results/`, one for each machine that was measured, and measures
# nothing itself. No check of this book depends on a time.

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters"}
profile = "ci"
seeds = 3  # networks that are trained side by side in the counts
device = "auto"
out = "../artifacts/draft/90-benchmarks"
n_hidden = 16
batch = 8
steps = 20  # counts compare sequences of this length and half of it

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the imports"}
import json
from collections import Counter
from pathlib import Path

import jsonschema
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from gatelr import cells
from gatelr.kernels import sweep
from gatelr.record import devices, figures, ledger
from IPython.display import Markdown, display
from matplotlib.ticker import LogLocator
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

parameters = {
    "profile": profile, "seeds": seeds, "device": device,
    "n_hidden": n_hidden, "batch": batch, "steps": steps,
}  # fmt: skip
record = ledger.Ledger("90-benchmarks", "How fast, and against what", out, parameters)
where = devices.resolve(device)

# %% [markdown]
# ## What one would otherwise write
#
# The plain version of a multi-gate network is a few lines, and autograd does the rest. The one below is
# written with care, as are all the peers in `benchmarks/peers/`: candidate and gate share one product, the
# inputs of all steps another, all seeds are trained side by side, and no line of the loop indexes a large
# tensor. A comparison with a careless loop would be won by anyone.


# %%
def readout(W: Tensor, W_in: Tensor, W_o: Tensor, u: Tensor) -> Tensor:
    """The readout of the last state, (S, B, 1), for inputs (T, S, B, m)."""
    x = u.new_zeros(*u.shape[1:-1], W.shape[-2])
    for z in (u @ W_in).unbind():
        a, a_g = torch.baddbmm(z, x, W).chunk(2, -1)
        x = torch.lerp(x, torch.tanh(a), torch.sigmoid(a_g))
    return x @ W_o


def networks(dtype: torch.dtype, T: int):
    """Networks, inputs, targets, and the weights as the plain version wants them."""
    draw = torch.Generator().manual_seed(0)
    model = cells.GatedRNN(
        3, n_hidden, "multi", replicas=seeds, generator=[draw] * seeds, dtype=dtype
    )
    u = torch.rand(T, seeds, batch, 3, generator=draw, dtype=dtype)
    target = torch.rand(seeds, batch, 1, generator=draw, dtype=dtype)
    pairs = [(model.W_r, model.W_rg), (model.W_i, model.W_ig), (model.W_o,)]
    weights = [torch.cat(pair, -2).mT.detach().to(where) for pair in pairs]
    return (
        model.to(where),
        u.to(where),
        target.to(where),
        [w.contiguous().requires_grad_() for w in weights],
    )


def loss(answer: Tensor, target: Tensor) -> Tensor:
    return (answer - target).square().mean((-2, -1)).sum()


# %% [markdown]
# Both must have the same gradient, or their times would mean nothing:

# %%
model, u, target, weights = networks(torch.float64, steps)
loss(model(u), target).backward()
plain = torch.autograd.grad(loss(readout(*weights, u), target), weights)
closed = [
    torch.cat([model.W_r.grad, model.W_rg.grad], -2).mT,
    torch.cat([model.W_i.grad, model.W_ig.grad], -2).mT,
    model.W_o.grad.mT,
]
gap = max(
    float((a - b).abs().max() / b.abs().max())
    for a, b in zip(closed, plain, strict=True)
)
record.check(
    "same-gradient",
    "C7",
    "the library and the plain version have the same gradient of every weight",
    gap,
    1e-12,
)

# %% [markdown]
# ## What the difference is made of
#
# A training step is a loop over time, forwards and backwards. PyTorch can tell us each operator that runs in
# it, and whether its result lies in memory that had to be taken for it. Views are not counted, since they
# compute nothing. The difference between two lengths of sequence, over the difference in length, is what one
# step of the loop costs.


# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that counts the operators and the memory of one step"}
class Counting(TorchDispatchMode):
    """Counts operators that compute, and the numbers they take memory for."""

    def __init__(self):
        super().__init__()
        self.operators, self.numbers = Counter(), 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if not function.is_view:
            self.operators[str(function.overloadpacket).removeprefix("aten.")] += 1
            tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
            given = {t.untyped_storage().data_ptr() for t in tensors}
            for t in tree_leaves(result):
                if (
                    isinstance(t, Tensor)
                    and t.untyped_storage().data_ptr() not in given
                ):
                    self.numbers += t.untyped_storage().nbytes() // t.element_size()
        return result


def kept(step) -> int:
    """How many different numbers the forward pass keeps for the way back."""
    storages = {}

    def pack(t: Tensor) -> Tensor:
        storages[t.untyped_storage().data_ptr()] = (
            t.untyped_storage().nbytes() // t.element_size()
        )
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        answer = step()  # alive until they are counted
    return sum(storages.values()) if answer.requires_grad else 0


def counts(way: str, T: int) -> dict[str, float]:
    model, u, target, weights = networks(torch.float32, T)
    workspace = sweep.Workspace(record=False)

    def forwards() -> Tensor:
        if way == "library":
            return loss(model(u, workspace=workspace), target)
        return loss(readout(*weights, u), target)

    forwards().backward()  # makes the workspace, as the first step of a run does
    with Counting() as seen:
        forwards().backward()
    return {
        "operators": seen.operators.total(),
        "kept for the way back": kept(forwards) / (seeds * batch * n_hidden),
        "memory taken": seen.numbers / (seeds * batch * n_hidden),
    }


WAYS = {"library": "the library", "plain": "plain autograd"}
cost = pd.DataFrame(
    {
        way: (
            pd.Series(counts(way, steps)) - pd.Series(counts(way, steps // 2))
        ) / (steps - steps // 2)
        for way in WAYS
    }
)  # fmt: skip
for way in WAYS:
    record.number(f"operators-{way}", float(cost.loc["operators", way]))
    record.number(f"kept-{way}", float(cost.loc["kept for the way back", way]))
    record.number(f"taken-{way}", float(cost.loc["memory taken", way]))

# %% tags=["hide-input"]
look = {
    "library": {"color": figures.PALETTE["vermilion"][0]},
    "plain": {"color": figures.PALETTE["blue"][0], "hatch": "//"},
}
UNIT = {
    "operators": "operators",
    "kept for the way back": "numbers a neuron",
    "memory taken": "numbers a neuron",
}
with figures.style():
    fig, axes = plt.subplots(1, 3, figsize=(7.2, 2.0), sharey=True)
    for ax, (quantity, values) in zip(axes, cost.iterrows(), strict=True):
        for i, way in enumerate(WAYS):
            bar = ax.barh(
                i, values[way], height=0.6, edgecolor="white", linewidth=0, **look[way]
            )
            ax.bar_label(bar, [f"{values[way]:.3g}"], padding=3)
        ax.set(title=quantity, xlabel=UNIT[quantity])
        ax.set_xlim(0, 1.25 * values.max())
        ax.grid(False, axis="y")
    axes[0].set(yticks=range(len(WAYS)), yticklabels=WAYS.values())
    axes[0].invert_yaxis()
figures.save(
    fig, "cost-of-a-step",
    cost.rename_axis("quantity").reset_index(),
    caption="What one step of time costs in a training step, forwards and backwards, counted. Both keep the same for the "
    "way back. The library writes into arrays that are there.",
    alt="Three small bar charts that compare the library with plain autograd for one step of time. Fewer operators for the library; equal bars for "
    "the numbers kept; and for memory taken no bar for the library beside a long one for plain autograd.",
    chapter="90-benchmarks", out=out,
)  # fmt: skip

# %% [markdown]
# What is kept for the way back is the same to the last number: the chain rule needs what it needs, and autograd is no
# spendthrift. The library wins by what it need not do. It has {result}`90-benchmarks/operators-library` operators a step
# instead of {result}`90-benchmarks/operators-plain`: the gradient of the weights, for one, is summed inside the product
# that makes it. And it takes memory for {result}`90-benchmarks/taken-library` numbers a neuron instead of
# {result}`90-benchmarks/taken-plain`: what a step computes on the way goes into the same small arrays at every step,
# and the trajectory into a workspace, which is kept from one training step to the next and spares the operating
# system the making of fresh pages.

# %% [markdown]
# ## How the seconds were taken
#
# In one process, on the same data, in turn
# : All rows of a comparison are warmed up and then timed in rounds, each in an order drawn anew, so that a
#   busy moment of the machine falls on all of them. A ratio is taken within a round; dots are medians over
#   rounds and bars are quartiles. Garbage is collected between rounds.
#
# Each at its best
# : The same precision, float32 unless a row says otherwise, and the same number of threads. JAX is compiled ahead,
#   and takes its seeds together by `vmap`, and in another row in turn by `lax.map`. The released code is run as
#   it is, from a clone, one seed at a time as its scripts do; its time a seed is that of one. Everything
#   that a training loop does once is left out: weights copied, optimiser made, code compiled.
#
# Whose products
# : PyTorch carries two libraries that multiply float32 matrices, and on some processors the one that it does not choose
#   is the faster. The library of this book takes it where a trial shows that nothing is rounded
#   ({py:mod}`gatelr.kernels.matmul`), and leaves the setting as it was. The other rows keep PyTorch's choice, as a reader's
#   code would; in one, autograd has the library's products, and what is left is the backward pass written by hand.
#
# Whose loops
# : The library is written in PyTorch's operators, with one exception. The norms of all transports take a few small steps
#   for each of very many small matrices, and an operator at a time would fetch all matrices from memory at each step; on
#   a CPU, numba compiles the steps, and each matrix is fetched once ({py:mod}`gatelr.kernels.lanczos_compiled`). What compiling takes,
#   once for an installation, is left out as JAX's compilation is.
#
# The same work
# : Before a row is timed, its result is compared with the library's, and the discrepancy is written down
#   beside the time. Rows of the released code that compute something else are marked.
#
# Memory
# : Each peer trains in a process of its own, and the system says how far its resident set rose above what it was before the first
#   step. It is given as a multiple of the trajectory, $3 \, T S B n$ numbers: every state, candidate and
#   gate once. Whoever takes the seeds in turn holds one of them at a time.
#
# The ceiling
# : A training step is mostly matrix products, so the rate at which this machine multiplies matrices of that
#   shape, in the faster of the two ways and with nothing else to do, is a bound. Operations are those that the step needs: forward, back to the
#   state, and the gradient of the weights.
#
# Not compared: `torch.compile`, kernels written for one device, and frameworks other than PyTorch and JAX. No file says anything
# about a GPU unless it names one.

# %% [markdown]
# ## What was found

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that reads the measurements"}
READS = ["benchmarks/schema.json", "benchmarks/results/*.json"]
files = {
    path.name: json.loads(path.read_text())
    for pattern in READS
    for path in sorted(Path("..").glob(pattern))
}
schema = files.pop("schema.json")
for content in files.values():
    jsonschema.validate(content, schema)
groups = set(schema["$defs"]["row"]["properties"]["group"]["enum"]) - {"protocol"}
partly = [file for file, content in files.items() if groups - set(content["measured"])]
for file in partly:
    files.pop(file)
    display(
        Markdown(f"`{file}` is not drawn: some of its groups have yet to be measured.")
    )
machines = {
    f"{content['machine']['cpu']}, {content['machine']['threads']} threads": content
    for content in files.values()
}
short = {name: Path(file).stem for name, file in zip(machines, files, strict=True)}
record.number("machines", len(machines))


def flat(machine: str, row: dict) -> dict:
    """A row of a file as a row of a table."""
    found = {"machine": machine, "group": row["group"], "peer": row["peer"]}
    found |= row["parameters"] | {"absent": row.get("absent")}
    if "seconds" in row:
        found["seconds"] = row["seconds"]["median"]
        found["seconds each"] = row.get("per", row["seconds"]).get("seconds")
    if "ratio" in row:
        found["ratio"] = row["ratio"]["median"]
        found["lower quartile"], found["upper quartile"] = row["ratio"]["quartiles"]
    found |= {f"error {k}": v for k, v in row.get("error", {}).items() if k != "lags"}
    found |= {f"agreement {k}": v for k, v in row.get("agreement", {}).items()}
    found |= row.get("memory", {}) | row.get("values", {})
    return found


rows = pd.DataFrame(
    [flat(name, row) for name, content in machines.items() for row in content["rows"]]
)
if not machines:
    display(
        Markdown(
            "No machine has been measured yet: `make bench` writes the first file, and this page then draws it."
        )
    )
if any(content["quick"] for content in machines.values()):
    display(
        Markdown(
            "**A file of a trial run is among them** (`make bench QUICK=1`): tiny sizes, one round. Its times mean nothing."
        )
    )

# %% tags=["hide-input"]
WITH = {"torch": "torch", "jax": "JAX", "released": "released code"}


def provenance(content: dict) -> dict[str, str]:
    """With what a machine was measured; more than one value where its groups were measured on several days."""
    runs = content["measured"].values()
    found = {"date": sorted({run["created"][:10] for run in runs})}
    found |= {
        WITH[p]: sorted({run["versions"][p] or "–" for run in runs})
        for p in ("torch", "jax")
    }
    found |= {"released code": sorted({(run["released"] or "–")[:10] for run in runs})}
    return {what: ", ".join(values) for what, values in found.items()}


if machines:
    shown = [
        {
            "processor": content["machine"]["cpu"],
            "threads": f"{content['machine']['threads']} of {content['machine']['cores']}",
            "memory": f"{content['machine']['memory_bytes'] / 2**30:.0f} GB",
        }
        | provenance(content)
        for content in machines.values()
    ]
    display(
        record.table(
            pd.DataFrame(shown),
            "benchmark-machines",
            caption="The machines that were measured, and with what. The commit of each group of rows is in the file.",
        )
    )

# %% tags=["hide-input"]
if machines:
    VERDICT = {True: "met", False: "not met", None: "not measured"}
    targets = pd.DataFrame(
        [
            {"machine": name, **t}
            for name, content in machines.items()
            for t in content["targets"]
        ]
    )
    met = int(targets["met"].eq(True).sum())
    record.number("targets", len(targets))
    record.number("targets-met", met)
    measured = int(targets["met"].notna().sum())
    record.number("targets-measured", measured)
    display(
        Markdown(
            "How fast it was meant to be was written down before it was measured. "
            f"Of {len(targets)} targets {measured} were measured, and {met} are met; a target that is missed stays in the table."
        )
    )
    shown = pd.DataFrame(
        {
            "machine": targets["machine"],
            "target": targets["statement"],
            "wanted": targets["sense"] + " " + targets["bound"].map("{:g}".format),
            "found": [
                "–" if pd.isna(found) else f"{found:.3g}" for found in targets["found"]
            ],
            "verdict": [
                VERDICT[None if pd.isna(met) else bool(met)] for met in targets["met"]
            ],
        }
    )
    display(
        record.table(
            shown if len(machines) > 1 else shown.drop(columns="machine"),
            "benchmark-targets",
            caption="Targets, and what was found. *A over ours* is how many times longer A takes.",
        )
    )

# %% [markdown]
# What was timed had to be the same work. A training step is compared by the update that it makes, which in
# float32 is a small difference of two large numbers, and therefore with a wider tolerance.


# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that compares what the peers computed"}
def same(group: str, name: str, claim: str, statement: str, tolerance: float) -> None:
    """Record the largest discrepancy of the rows of this group."""
    if machines:
        exact = rows[(rows["group"] == group) & rows["agreement exact"].eq(True)]
        worst = float(exact["agreement discrepancy"].max())
        record.check(name, claim, statement, worst, tolerance)


same(
    "training step",
    "timed-steps",
    "C7",
    "every peer timed that claims to be exact made the library's update of the weights",
    1e-2,
)
same(
    "per-sample gradients",
    "timed-gradients",
    "C7",
    "every peer timed that claims to be exact had the library's gradient of each sequence",
    1e-4,
)
same(
    "Jacobian blocks",
    "timed-blocks",
    "C2",
    "every peer timed that claims to be exact had the library's Jacobians",
    1e-5,
)

# %% tags=["hide-input"]
PEERS = {
    "ours": ("vermilion", "o", "library"),
    "ours, no workspace": ("muted", "v", "library, no workspace"),
    "autograd": ("blue", "s", "autograd"),
    "autograd, library's products": ("blue", "p", "autograd, library's products"),
    "functorch": ("green", "^", "torch.func"),
    "jax": ("purple", "D", "JAX, vmap"),
    "jax, seeds in turn": ("purple", "d", "JAX, in turn"),
    "svdvals": ("ink", "P", "decompositions"),
    "released": ("ochre", "X", "released code"),
}


def of_peer(peer: str) -> dict[str, str]:
    colour, marker, label = PEERS[peer]
    return {"color": figures.PALETTE[colour][0], "marker": marker, "label": label}


def base(name: str) -> dict:
    """The sizes from which the scaling starts."""
    return next(
        row["parameters"]
        for row in machines[name]["rows"]
        if row["group"] == "ceiling" and row["peer"] == "ours"
    )


def at_base(frame: pd.DataFrame, *but: str) -> pd.DataFrame:
    """The rows with those sizes, but for some."""
    keep = pd.Series(True, frame.index)
    for name in machines:
        here = frame["machine"] == name
        for axis, value in base(name).items():
            if axis not in but:
                keep &= ~here | (frame[axis] == value)
    return frame[keep]


def title(row: pd.Series) -> str:
    if row["group"] == "training step":
        count = "1 seed" if row["S"] == 1 else f"{int(row['S'])} seeds"
        return f"training, {row['gate']}, {count}"
    if row["group"] == "sensitivities":
        return f"norms of all lags, {row['dtype']}"
    return row["group"]


if machines:
    timed = rows[rows["ratio"].notna()]
    trained = at_base(rows[rows["group"] == "training step"], "gate", "S")
    # those that every peer took part in; the others are for the next figure
    together = trained[trained["peer"] == "released"][["machine", "gate", "S"]]
    trained = trained[trained["ratio"].notna()].merge(together)
    ratios = pd.concat([trained, timed[timed["group"] != "training step"]])
    ratios = ratios[ratios["peer"] != "ours"].assign(
        row=lambda f: f.apply(title, axis=1)
    )
    order = list(dict.fromkeys(ratios["row"]))
    with figures.style():
        fig, axes = plt.subplots(
            1, len(machines), figsize=(7.2, 0.8 + 0.33 * len(order)),
            sharey=True, sharex=True, squeeze=False,
        )  # fmt: skip
        for ax, name in zip(axes[0], machines, strict=True):
            here = ratios[ratios["machine"] == name]
            for peer in [p for p in PEERS if p in set(here["peer"])]:
                some = here[here["peer"] == peer]
                y = [order.index(row) for row in some["row"]]
                spread = [
                    some["ratio"] - some["lower quartile"],
                    some["upper quartile"] - some["ratio"],
                ]
                ax.errorbar(
                    some["ratio"], y, xerr=spread, linestyle="none", **of_peer(peer)
                )
            ax.axvline(1, color=figures.INK, linewidth=1)
            ax.set(xscale="log", xlabel="time over the library's")
            ax.set_title(name if len(machines) > 1 else "")
            ax.set_yticks(range(len(order)), order)
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.xaxis.set_major_formatter("{x:g}")
            ax.minorticks_off()
        axes[0, 0].invert_yaxis()
        handles, labels = axes[0, 0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper right", ncols=3)
    display(
        figures.save(
            fig,
            "benchmark-ratios",
            ratios[
                ["machine", "row", "peer", "ratio", "lower quartile", "upper quartile"]
            ],
            caption="How many times longer a peer takes than the library: right of the line the library is faster, left of it slower. Of a training step a seed "
            "is compared, of the per-sample gradients a sequence. The released code's Jacobian blocks and norms are not the same quantities.",
            alt="A dot plot with a logarithmic axis. Each line is one piece of work, such as a training step of twenty seeds; each dot a peer: autograd, "
            "torch dot func, JAX, decompositions or the released code, at its time over that of the library. A vertical line marks equal times.",
            chapter="90-benchmarks",
            out=out,
        )
    )
    for name in machines:
        here = ratios[(ratios["machine"] == name) & (ratios["ratio"] < 1)]
        slower = [f"{PEERS[r.peer][2]} ({r.row})" for r in here.itertuples()]
        record.number(f"slower-{short[name]}", len(slower))
        display(
            Markdown(
                f"{name}. Faster than the library: {', '.join(slower) or 'none of them'}."
            )
        )

# %% tags=["hide-input"]
# a sentence for each peer that was not there when a file was made
if machines:
    for (name, reason), some in rows.dropna(subset="absent").groupby(
        ["machine", "absent"]
    ):
        who = ", ".join(PEERS[peer][2] for peer in dict.fromkeys(some["peer"]))
        display(Markdown(f"{name}. Not measured: {who}. `{reason}`"))

# %% tags=["hide-input"]
AXES = {"T": "steps $T$", "n": "neurons $n$", "S": "seeds $S$"}
if machines:
    multi = timed[(timed["group"] == "training step") & (timed["gate"] == "multi")]
    scaling = pd.concat(
        [
            at_base(multi, axis).assign(
                axis=axis, at=lambda f, a=axis: f[a].astype(int)
            )
            for axis in AXES
        ]
    )
    drawn = ["ours", "autograd", "jax", "jax, seeds in turn"]
    scaling = scaling[scaling["peer"].isin(drawn)]
    with figures.style():
        fig, axes = plt.subplots(
            len(machines), 3, figsize=(7.2, 2.6 * len(machines)), sharey="row", squeeze=False
        )  # fmt: skip
        for line, name in zip(axes, machines, strict=True):
            for ax, axis in zip(line, AXES, strict=True):
                here = scaling[(scaling["machine"] == name) & (scaling["axis"] == axis)]
                for peer in [p for p in PEERS if p in set(here["peer"])]:
                    some = here[here["peer"] == peer].sort_values("at")
                    ax.plot(some["at"], 1e3 * some["seconds each"], **of_peer(peer))
                ax.set_xscale("log", base=2)
                ax.set_yscale("log")
                ax.set_xticks(sorted(set(here["at"])), sorted(set(here["at"])))
                ax.set_xlabel(AXES[axis])
                ax.minorticks_off()
            line[0].set_ylabel("milliseconds a seed")
            line[0].set_title(name if len(machines) > 1 else "")
            line[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            line[0].yaxis.set_major_formatter("{x:g}")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper right", ncols=4)
    sizes = base(next(iter(machines)))
    display(
        figures.save(
            fig,
            "benchmark-scaling",
            scaling[["machine", "peer", "axis", "at", "seconds each"]],
            caption=f"Time of a training step for each seed, multi gate. One size changes and the others stay: $T = {sizes['T']}$, $n = {sizes['n']}$, "
            f"$S = {sizes['S']}$, batch {sizes['B']}.",
            alt="Three panels with logarithmic axes: milliseconds a seed against the number of steps, of neurons and of seeds. Each has a line for the library, "
            "for autograd and, where it was measured, for JAX.",
            chapter="90-benchmarks",
            out=out,
        )
    )

# %% tags=["hide-input"]
if "times_trajectory" in rows:
    memory = rows[rows["times_trajectory"].notna()].copy()
    memory["first step"] = memory["first_bytes"] / memory["trajectory_bytes"]
    memory["a later step"] = memory["later_bytes"] / memory["trajectory_bytes"]
    peers = [p for p in PEERS if p in set(memory["peer"])]
    with figures.style():
        fig, axes = plt.subplots(
            1, len(machines), figsize=(7.2, 0.9 + 0.4 * len(peers)), sharey=True, squeeze=False
        )  # fmt: skip
        for ax, name in zip(axes[0], machines, strict=True):
            here = memory[memory["machine"] == name].set_index("peer").reindex(peers)
            y = np.arange(len(peers))
            ax.barh(
                y - 0.19, here["first step"], 0.36,
                color=figures.PALETTE["blue"][0], label="first step",
            )  # fmt: skip
            ax.barh(
                y + 0.19, here["a later step"], 0.36,
                color=figures.PALETTE["ochre"][0], hatch="//", edgecolor="white", linewidth=0,
                label="a later step",
            )  # fmt: skip
            ax.axvline(1, color=figures.INK, linewidth=1)
            ax.set(xlabel="peak memory over the trajectory")
            ax.set_title(name if len(machines) > 1 else "")
            ax.set_yticks(y, [PEERS[p][2] for p in peers])
            ax.grid(False, axis="y")
        axes[0, 0].invert_yaxis()
        handles, labels = axes[0, 0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper right", ncols=2)
    display(
        figures.save(
            fig,
            "benchmark-memory",
            memory[
                ["machine", "peer", "first step", "a later step", "trajectory_bytes"]
            ],
            caption="Peak memory of a training step of all seeds, multi gate, as a multiple of the trajectory (the line). A peer far below the line takes its seeds in "
            "turn, and holds one at a time.",
            alt="Horizontal bars, two for each peer: the peak memory of the first and of a later training step, over the size of the trajectory, which a "
            "vertical line marks at one.",
            chapter="90-benchmarks",
            out=out,
        )
    )

# %% tags=["hide-input"]
if machines:
    shares = []
    for name in machines:
        top = rows[(rows["machine"] == name) & (rows["group"] == "ceiling")]
        rate = top["operations_per_second"].max()
        a_seed = top["operations"].max() / base(name)["S"]
        here = at_base(
            rows[(rows["machine"] == name) & (rows["group"] == "training step")]
        )
        here = here[here["seconds each"].notna()]
        shares.append(here.assign(share=a_seed / here["seconds each"] / rate))
        copied = top["bytes_per_second"].max()
        products = record.number(
            f"products-{short[name]}", rate / 1e9, f"{rate / 1e9:.0f}"
        )
        copied = record.number(
            f"copy-{short[name]}", copied / 1e9, f"{copied / 1e9:.1f}"
        )
        ways = top.set_index("peer")["operations_per_second"].dropna()
        usual = ways.get("product, PyTorch's default", rate)
        gain = record.number(
            f"full-width-{short[name]}", rate / usual, f"{rate / usual:.2f}"
        )
        ours = shares[-1].set_index("peer").loc["ours", "share"]
        most = record.number(f"headroom-{short[name]}", 1 / ours, f"{1 / ours:.2f}")
        display(
            Markdown(
                f"{name}. Products of the hot loop's shape: {products} thousand million operations a second, "
                f"{gain} times as many as by PyTorch's own choice. A copy: {copied} GB a second, read and written. With nothing but its products to do, the "
                f"library's step would be {most} times as fast as it is: more cannot be won around them."
            )
        )
    shares = pd.concat(shares)
    peers = [p for p in PEERS if p in set(shares["peer"])]
    with figures.style():
        fig, axes = plt.subplots(
            1, len(machines), figsize=(7.2, 0.9 + 0.33 * len(peers)), sharey=True, squeeze=False
        )  # fmt: skip
        for ax, name in zip(axes[0], machines, strict=True):
            here = shares[shares["machine"] == name].set_index("peer").reindex(peers)
            bars = ax.barh(
                range(len(peers)), 100 * here["share"], 0.6,
                color=[of_peer(p)["color"] for p in peers],
            )  # fmt: skip
            ax.bar_label(bars, [f"{100 * s:.0f} %" for s in here["share"]], padding=3)
            ax.set(xlim=(0, 100), xlabel="% of the product's own rate")
            ax.set_title(name if len(machines) > 1 else "")
            ax.set_yticks(range(len(peers)), [PEERS[p][2] for p in peers])
            ax.grid(False, axis="y")
        axes[0, 0].invert_yaxis()
    display(
        figures.save(
            fig,
            "benchmark-ceiling",
            shares[["machine", "peer", "share"]],
            caption="How near a training step comes to the rate of its matrix products alone, multi gate, all seeds: the operations that it needs over the "
            "time that it takes. What is missing to the full is everything else: gates, memory, and the way from one operator to the next.",
            alt="Horizontal bars, one for each peer: the share of the machine's own rate of matrix products that a training step reaches, from nought to one "
            "hundred per cent.",
            chapter="90-benchmarks",
            out=out,
        )
    )

# %% tags=["hide-input"]
if machines:
    norms = rows[rows["error median"].notna()]
    shown = pd.DataFrame(
        {
            "machine": norms["machine"],
            "norms by": [PEERS[p][2] for p in norms["peer"]],
            "precision": norms["dtype"],
            "milliseconds": (1e3 * norms["seconds"]).map("{:.4g}".format),
            "median error": norms["error median"].map("{:.1e}".format),
            "largest error": norms["error largest"].map("{:.1e}".format),
        }
    )
    display(
        record.table(
            shown if len(machines) > 1 else shown.drop(columns="machine"),
            "benchmark-norms",
            caption="The norms of the transports over all lags: time, and relative error against singular value decompositions in double precision at a few "
            "lags. The released code takes a few power iterations, and products in the other order.",
        )
    )

# %% tags=["hide-input"]
if "protocol" in rows:
    protocols = rows[rows["group"] == "protocol"]
    shown = pd.DataFrame(
        {
            "machine": protocols["machine"],
            "protocol": protocols["protocol"],
            "device": [
                gpu if isinstance(gpu, str) else "CPU"
                for gpu in protocols.get("gpu", [None] * len(protocols))
            ],
            "seeds": protocols["seeds"].astype(int),
            "minutes": (protocols["seconds"] / 60).map("{:.1f}".format),
        }
    )
    display(
        record.table(
            shown if len(machines) > 1 else shown.drop(columns="machine"),
            "benchmark-protocols",
            caption="The paper's two protocols from the first draw to the last probe; on a CPU as the workflow runs them, with cells of half of the seeds side by side and a thread for each. E1: effective rates on one task, three gates. E2: joint anisotropy on one task, "
            "three models.",
        )
    )

# %% [markdown]
# ## On your machine
#
# ```console
# $ make bench                 # every row but those of the protocols
# $ make bench PROTOCOLS=1     # the paper's protocols, 20 seeds; on CUDA too
# $ make bench QUICK=1         # does it run at all? Tiny sizes, one round
# $ .venv/bin/python -m benchmarks.report
# ```
#
# The machine should have nothing else to do. A run writes one file in `benchmarks/results/`, named after processor and threads; measuring a part again,
# with `.venv/bin/python -m benchmarks --only memory`, replaces that part. When the file is there, `make book` runs this chapter again.
#
# JAX and the released code are no dependencies of this book. A row whose peer is missing says so. To have them:
#
# ```console
# $ .venv/bin/pip install jax   # or jax[cuda12]
# $ git clone https://github.com/lorenzolivi/effective-learning-rates
# $ make bench GATELR_RELEASED="$PWD/effective-learning-rates"
# ```
#
# ## Checks

# %% tags=["hide-input"]
record.validation(caption="The checks of this chapter. None of them is about time.")

# %% tags=["remove-cell"]
record.close()
