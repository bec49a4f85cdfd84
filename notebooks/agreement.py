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
# (ch-agreement)=
# # Symbol, code and autograd agree
#
# {ref}`ch-jacobians` proved what the Jacobian of a gated network is. A proof says nothing about the code beside it. So
# here the same matrix is computed in four ways that share as little as possible, on the same numbers:
#
# 1. **symbol**: the expression that SymPy *derived*, printed to torch by a program, never typed by a person;
# 2. **library**: `gatelr.jacobian.blocks`, the closed form of {prf:ref}`thm-jacobian` written by hand, which the rest of the
#    book relies on;
# 3. **autograd**: `torch.func.jacrev` through the network's own update, the reference {cite}`paszke2019pytorch`;
# 4. **differences**: central differences of the update, which know no calculus at all.
#
# Then we leave random numbers behind and look at Jacobians along real sequences: handwritten digits, read one pixel at a
# time by networks that have learned to name them.

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters"}
profile = "ci"
seeds = 3  # trained networks for each gate
device = "auto"
out = "../artifacts/draft/03-agreement"
n = 7  # neurons, inputs and steps of the random networks
m = 3
T = 5
n_hidden = 32  # neurons of the networks that read digits
training_steps = 400
probes = 24  # digits along which the trained networks are measured

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the imports"}
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sympy as sp
import torch
from gatelr import cells, jacobian, symbolic, tasks, training
from gatelr.record import devices, figures, ledger
from IPython.display import Markdown
from torch import Tensor

parameters = {
    "profile": profile, "seeds": seeds, "device": device, "n": n, "m": m, "T": T,
    "n_hidden": n_hidden, "training_steps": training_steps, "probes": probes,
}  # fmt: skip
record = ledger.Ledger(
    "03-agreement", "Symbol, code and autograd agree", out, parameters
)
where = devices.resolve(device)

# %% [markdown]
# ## Four ways to one matrix
#
# ### From symbol to code
#
# `symbolic.to_torch` reads an expression in index notation and prints torch: a free index $q$ becomes the axis before last,
# $p$ the last one, a sum of products an `einsum`, a Kronecker delta an identity matrix. Nothing in it knows about gates. This is
# what it prints for the vanilla network:

# %%
print(symbolic.torch_code(symbolic.jacobian("none")))

# %%
SYMBOLS = {gate: symbolic.jacobian(gate) for gate in cells.GATES}


def by_symbol(model: cells.GatedRNN, run: cells.Trajectory) -> Tensor:
    """J from SymPy's own expression; weights go in by the names they have in it."""
    weights = {
        k: model.per_step(w, run.x.ndim - 2) for k, w in model.named_parameters()
    }
    values = weights | {"x": run.x_prev, "u": run.u, "alpha": run.g.expand_as(run.x)}
    if (
        model.gate == "scalar"
    ):  # its one row of gate weights is a vector in the expression
        values |= {k.lower(): weights[k][..., 0, :] for k in ("W_rg", "W_ig")}
    expression = SYMBOLS[model.gate]
    symbols = sorted(expression.atoms(sp.IndexedBase), key=str)
    J = symbolic.to_torch(expression, symbols)(*(values[str(base)] for base in symbols))
    return J.expand(*run.x.shape, n)


# %% [markdown]
# ### Autograd, without a loop
#
# All steps of all sequences are independent once their states are known, so one step from every recorded state is one call.
# The Jacobian of the *sum* over samples then holds each sample's own Jacobian, and `jacrev` need not be called in a loop.


# %%
def one_step(model: cells.GatedRNN, run: cells.Trajectory, x: Tensor) -> Tensor:
    """x_t for every recorded step at once: time becomes a batch axis."""
    u, x = run.u.movedim(0, -2).unsqueeze(0), x.movedim(0, -2)
    return model.run(u, x).x[0].movedim(-2, 0)


def by_autograd(model: cells.GatedRNN, run: cells.Trajectory) -> Tensor:
    """J by reverse-mode differentiation of the update."""
    rows = torch.func.jacrev(lambda x: one_step(model, run, x).flatten(0, -2).sum(0))(
        run.x_prev
    )
    return rows.movedim(0, -2)


def by_differences(
    model: cells.GatedRNN, run: cells.Trajectory, h: float = 1e-5
) -> Tensor:
    """J by central differences: error of order h² from the cubic term, and of order 1e-16/h from rounding."""
    columns = []
    for p in range(run.x.shape[-1]):
        nudge = torch.zeros_like(run.x_prev)
        nudge[..., p] = h
        columns.append(
            (
                one_step(model, run, run.x_prev + nudge)
                - one_step(model, run, run.x_prev - nudge)
            )
            / (2 * h)
        )
    return torch.stack(columns, -1)


# %% [markdown]
# ### The table
#
# Odd sizes on purpose: a transposed index would be seen. Every gate, two precisions, four shapes of batch, the last with three
# {term}`replicas <replica>`, each with its own weights. A discrepancy is the largest difference between two matrices over the largest entry.

# %%
SHAPES = {
    "one": ((), None),
    "batch": ((5,), None),
    "two axes": ((2, 3), None),
    "replicas": ((4,), 3),
}


def discrepancy(J: Tensor, reference: Tensor) -> float:
    return float((J - reference).abs().max() / reference.abs().max())


def drawn(gate: str, dtype: torch.dtype, batch: tuple, replicas: int | None):
    """A random network of this kind, and random inputs for it."""
    draw = torch.Generator().manual_seed(0)
    alpha = torch.linspace(0.1, 1.0, n) if gate == "constant" else None
    options = {"replicas": replicas, "dtype": dtype, "device": where}
    model = cells.GatedRNN(
        m, n, gate, alpha=alpha, bias=True, generator=draw, **options
    )
    lead = batch if replicas is None else (replicas, *batch)
    return model, torch.randn(T, *lead, m, generator=draw, dtype=dtype).to(where)


rows = []
for gate in cells.GATES:
    for dtype in (torch.float64, torch.float32):
        for shape, (batch, replicas) in SHAPES.items():
            model, u = drawn(gate, dtype, batch, replicas)
            with torch.no_grad():
                run = model.run(u)
                J, autograd = jacobian.blocks(model, run), by_autograd(model, run)
                row = {"gate": gate, "precision": str(dtype).removeprefix("torch.")}
                row |= {"shape": shape, "symbol": discrepancy(by_symbol(model, run), J)}
                row |= {"autograd": discrepancy(J, autograd)}
                if dtype == torch.float64:
                    row |= {"differences": discrepancy(J, by_differences(model, run))}
            rows.append(row)
agreement = pd.DataFrame(rows)

# %% tags=["hide-input"]
shown = agreement.copy()
for column in ("symbol", "autograd", "differences"):
    shown[column] = [
        ("–" if np.isnan(value) else f"{value:.1e}" if value else "0")
        for value in agreement[column]
    ]
record.table(
    shown.rename(
        columns={
            "symbol": "symbol − library",
            "autograd": "library − autograd",
            "differences": "library − differences",
        }
    ),
    "agreement",
    caption="Largest discrepancy between two ways to the same Jacobian, relative to its largest entry. Differences are taken in "
    "double precision only, where they can tell an error from rounding.",
)

# %% [markdown]
# Double precision rounds at about $10^{-16}$ and single at about $10^{-7}$; a few operations cost a few roundings. The tolerances
# are four orders above one rounding in double precision and two above in single; central differences are granted their own
# error.

# %%
TOLERANCE = {
    ("symbol", "float64"): 1e-12,
    ("autograd", "float64"): 1e-12,
    ("symbol", "float32"): 1e-5,
    ("autograd", "float32"): 1e-5,
    ("differences", "float64"): 1e-8,
}
BETWEEN = {
    "symbol": "symbol and library",
    "autograd": "library and autograd",
    "differences": "library and differences",
}
worst = agreement.groupby("precision")[list(BETWEEN)].max()
worst_float64 = float(worst.loc["float64", ["symbol", "autograd"]].max())
record.number("worst-float64", worst_float64, f"{worst_float64:.1e}")
record.number("combinations", len(agreement))
for (way, precision), tolerance in TOLERANCE.items():
    statement = f"{BETWEEN[way]} agree: every gate, every shape, {precision}"
    value = float(worst.loc[precision, way])
    record.check(f"{way}-{precision}", "C2", statement, value, tolerance)

# %% [markdown]
# Would the table notice a mistake? Give the library the state *after* the update, the slip of {ref}`ch-jacobians`, and compare with
# autograd again: the discrepancy must be far beyond any tolerance above.

# %%
with torch.no_grad():  # the last model of the loop above: multi gate, replicas
    slip = jacobian.blocks(model, run._replace(x_prev=run.x))
caught = discrepancy(slip, autograd)
record.check(
    "slip-caught",
    "C2",
    "autograd rejects a Jacobian evaluated after the update",
    caught > 1e3 * TOLERANCE["autograd", "float32"],
)
record.number("slip", 100 * caught, f"{100 * caught:.0f}", "%")
Markdown(
    f"Evaluated after the update, this Jacobian is wrong by {record.numbers['slip']['text']} % of its largest entry."
)

# %% [markdown]
# ## Real sequences
#
# Random weights are a fair test of algebra and a poor picture of a network at work. So networks with each of the four gates learn to
# name handwritten digits from scikit-learn {cite}`pedregosa2011sklearn`: 8 by 8 images fed as sequences of 64 pixels, the answer read
# from the last state. `training.train` draws new digits at each step and hands the library's closed-form gradient to an optimiser of
# PyTorch; all seeds are trained side by side, as replicas of one model. Seed $i$ draws the weights of replica $i$, and seed $123 + i$ its
# digits. The last images of the set are held out.

# %%
task = tasks.get("digits")
train, test = (tasks.digits(split=part, device=where) for part in ("train", "test"))
STEPS, CLASSES = task.steps, task.n_outputs


def learn(gate: str) -> cells.GatedRNN:
    options = {"n_outputs": CLASSES, "bias": True, "replicas": seeds, "device": where}
    options |= {"alpha": 0.1} if gate == "constant" else {}
    model = cells.GatedRNN(
        1, n_hidden, gate, generator=training.generators(range(seeds)), **options
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    training.train(
        model, task, optimiser, training_steps, training.generators(range(seeds), 123)
    )
    return model


models = {gate: learn(gate) for gate in cells.GATES}


# %% tags=["hide-input"]
def for_each_seed(u: Tensor) -> Tensor:
    """The same sequences for every replica: (T, B, m) -> (T, S, B, m)."""
    return u.unsqueeze(1).expand(-1, seeds, -1, -1)


commonest = int(train.target.bincount().argmax())
constant_guess = float((test.target == commonest).float().mean())
with torch.no_grad():
    scores = {
        g: (model(for_each_seed(test.u)).argmax(-1) == test.target).float().mean(-1)
        for g, model in models.items()
    }
for gate, score in scores.items():
    record.number(
        f"accuracy-{gate}",
        100 * float(score.mean()),
        f"{100 * float(score.mean()):.0f}",
        "%",
    )
record.number(
    "accuracy-guess", 100 * constant_guess, f"{100 * constant_guess:.0f}", "%"
)
shown = pd.DataFrame(
    [
        {
            "gate": gate,
            "mean": f"{100 * float(score.mean()):.1f} %",
            "each seed": ", ".join(f"{100 * a:.1f}" for a in score.tolist()),
        }
        for gate, score in scores.items()
    ]
)
record.table(
    shown, "digits",
    caption=f"Digits named correctly among {len(test.target)} that were not trained on. Always saying the commonest digit "
    f"scores {100 * constant_guess:.1f} %.",
)  # fmt: skip

# %% [markdown]
# With so few steps and seeds this is no contest between gates; it only makes sure that what follows is about networks that work. The
# agreement must survive learned weights and real inputs:

# %%
runs, learned = {}, {}
chosen = for_each_seed(test.u[:, :probes].double())
for gate, model in models.items():
    model = model.double()  # measured in double precision, whatever it was trained in
    with torch.no_grad():
        runs[gate] = model.run(chosen)
        learned[gate] = jacobian.terms(model, runs[gate])
        J = jacobian.blocks(model, runs[gate])
        gap = discrepancy(J, by_autograd(model, runs[gate]))
    statement = f"library and autograd agree on digits, every seed: {gate}"
    record.check(f"digits-{gate}", "C2", statement, gap, 1e-12)

# %% [markdown]
# ### The gates, reading
#
# {numref}`fig-gate-traces` follows one digit. Each row of the middle panel is a neuron's gate; dark means that the neuron keeps what it has,
# bright that it is being rewritten.

# %% tags=["hide-input"]
seed, digit = 0, 0
pixels = chosen[:, seed, digit, 0].cpu()
traces = runs["multi"].g[:, seed, digit].cpu()
order = traces.mean(0).argsort()  # slow neurons at the bottom
single = runs["scalar"].g[:, seed, digit, 0].cpu()
with figures.style():
    fig, (top, middle, bottom) = plt.subplots(
        3, 1, figsize=(7.2, 4.6), sharex=True, height_ratios=[0.5, 3, 1.3]
    )
    steps = np.arange(1, STEPS + 2) - 0.5
    top.pcolormesh(steps, [0, 1], pixels[None], cmap="gray_r", rasterized=True)
    top.set(yticks=[], title=f"The digit {int(test.target[digit])}, pixel by pixel")
    mesh = middle.pcolormesh(
        steps, np.arange(n_hidden + 1), traces.T[order], vmin=0, vmax=1, rasterized=True
    )
    middle.set(ylabel="neuron, by mean gate", title="Multi: one gate for each neuron")
    fig.colorbar(mesh, ax=middle, label="gate $g$", pad=0.01)
    bottom.plot(
        np.arange(1, STEPS + 1),
        single,
        **{k: v for k, v in figures.GATES["scalar"].items() if k != "marker"},
    )
    bottom.axhline(
        0.1, **{k: v for k, v in figures.GATES["constant"].items() if k != "marker"}
    )
    bottom.text(
        1, 0.13, "constant", color=figures.GATES["constant"]["color"], va="bottom"
    )
    bottom.text(
        1,
        float(single[:8].max()) + 0.03,
        "scalar",
        color=figures.GATES["scalar"]["color"],
        va="bottom",
    )
    bottom.set(
        ylim=(0, 1),
        xlim=(0.5, 64.5),
        xticks=range(8, 65, 8),
        xlabel="step $t$",
        ylabel="gate $g$",
        title="Scalar: one learned gate; constant: none",
    )
    for edge in range(8, 64, 8):
        bottom.axvline(edge + 0.5, color=figures.GRID, linewidth=0.7, zorder=0)
    for ax in (top, middle):
        ax.grid(False)
    bottom.grid(False, axis="x")
table = (
    pd.DataFrame(traces.numpy())
    .stack()
    .rename("g")
    .rename_axis(["step", "neuron"])
    .reset_index()
    .assign(gate="multi")
)
table = pd.concat(
    [
        table,
        pd.DataFrame({"step": range(STEPS), "g": single.numpy(), "gate": "scalar"}),
        pd.DataFrame({"step": range(STEPS), "g": pixels.numpy(), "gate": "(pixel)"}),
    ]
).assign(step=lambda frame: frame.step + 1)
figures.save(
    fig, "gate-traces", table,
    caption="Gates along one handwritten digit, in trained networks. Vertical lines end the rows of the image. Neurons of the multi-gate "
    "network are sorted by their mean gate, the slowest at the bottom.",
    alt="Three panels over 64 steps. The top strip shows the grey values of the pixels. The middle heat map shows one row per neuron, "
    "from dark rows of nearly shut gates at the bottom to bright rows of open gates at the top, with stripes that follow the pixels. The lowest "
    "panel shows the single learned gate moving with the pixels, and the constant gate as a flat line.",
    chapter="03-agreement", out=out,
)  # fmt: skip

# %% [markdown]
# ### The three terms along a sequence
#
# How large are leak, recurrent and gate term along a digit? {numref}`fig-terms-along` shows their spectral norms.

# %% tags=["hide-input"]
frames = []
for gate, terms in learned.items():
    for term, values in terms._asdict().items():
        size = (
            torch.linalg.matrix_norm(values, 2).flatten(1).cpu()
        )  # (T, seeds and digits)
        low, middle, high = (size.quantile(level, 1) for level in (0.25, 0.5, 0.75))
        frames.append(
            pd.DataFrame(
                {
                    "gate": gate,
                    "term": term,
                    "step": range(1, STEPS + 1),
                    "lower quartile": low,
                    "median": middle,
                    "upper quartile": high,
                }
            )
        )
norms = pd.concat(frames)
look = {
    "leak": ("green", "-"),
    "recurrent": ("blue", "--"),
    "gate": ("vermilion", "-."),
}
with figures.style():
    fig, axes = plt.subplots(1, 4, figsize=(8.2, 2.9), sharey=True, sharex=True)
    for ax, gate in zip(axes, cells.GATES, strict=True):
        for term, (colour, line) in look.items():
            if (gate, term) in {
                ("none", "leak"),
                ("none", "gate"),
                ("constant", "gate"),
            }:
                continue  # identically zero
            rows = norms[(norms.gate == gate) & (norms.term == term)]
            hue = figures.PALETTE[colour][0]
            ax.fill_between(
                rows.step,
                rows["lower quartile"],
                rows["upper quartile"],
                color=hue,
                alpha=0.2,
                linewidth=0,
            )
            ax.plot(rows.step, rows["median"], line, color=hue, label=term)
        ax.set(title=gate, xlabel="step $t$", xticks=[1, 32, 64])
    axes[0].set(ylabel="spectral norm", ylim=(0, None))
    handles, labels = axes[-1].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper right", ncols=3)
figures.save(
    fig, "terms-along", norms,
    caption="Spectral norms of the three terms of $J_t$ along digits, in trained networks: median and quartiles over "
    f"{probes} digits and {seeds} seeds. A term that is identically zero is not drawn.",
    alt="Four panels, one per gate, of norms over 64 steps. The vanilla network has a recurrent term only. The constant network has a flat leak "
    "near one and a recurrent term. The scalar and multi networks have all three terms, which move with the pixels of each image row.",
    chapter="03-agreement", out=out,
)  # fmt: skip

# %% tags=["hide-input"]
ratios = {}
for gate in ("scalar", "multi"):
    leak, recurrent, gate_term = learned[gate]
    ratios[gate] = (
        torch.linalg.matrix_norm(gate_term, 2)
        / torch.linalg.matrix_norm(leak + recurrent, 2)
    ).flatten()
    record.number(f"ratio-{gate}", float(ratios[gate].median()))
    record.number(f"ratio-p99-{gate}", float(ratios[gate].quantile(0.99)))
text = {name: entry["text"] for name, entry in record.numbers.items()}
Markdown(
    f"On these digits the gate term has a median norm of {text['ratio-scalar']} (scalar) and {text['ratio-multi']} (multi) times that of leak and "
    f"recurrent term together, and in one step of a hundred more than {text['ratio-p99-scalar']} and {text['ratio-p99-multi']} times. "
    "That is one task, a short training, and a number for single steps only. Whether the term may be called *small*, and for what, is measured "
    "later in the book, over tasks, seeds and lags; nothing is concluded here."
)

# %% [markdown]
# ### Singular values
#
# The singular values of $J_t$ say by how much one step can stretch a small push and by how much it can shrink it.
# {numref}`fig-singular-values` shows their spread.

# %% tags=["hide-input"]
spectra = []
for gate, terms in learned.items():
    values = (
        torch.linalg.svdvals(sum(terms)).flatten(1, 2).median(1).values.cpu()
    )  # (T, n), descending
    spectra.append(
        pd.DataFrame(
            values.numpy(), index=range(1, STEPS + 1), columns=range(1, n_hidden + 1)
        ).assign(gate=gate)
    )
spectra = (
    pd.concat(spectra)
    .rename_axis("step")
    .reset_index()
    .melt(["gate", "step"], var_name="rank", value_name="singular value")
)
with figures.style():
    fig, axes = plt.subplots(1, 4, figsize=(8.2, 2.9), sharey=True, sharex=True)
    highlight = {g: look["color"] for g, look in figures.GATES.items()} | {
        "none": figures.INK
    }
    for ax, gate in zip(axes, cells.GATES, strict=True):
        grid = spectra[spectra.gate == gate].pivot(
            index="step", columns="rank", values="singular value"
        )
        for rank in range(1, n_hidden + 1):
            shade = (
                highlight[gate]
                if rank in (1, n_hidden // 2, n_hidden)
                else figures.MUTED
            )
            ax.plot(
                grid.index,
                grid[rank],
                color=shade,
                linewidth=1.6 if shade != figures.MUTED else 0.5,
                alpha=1 if shade != figures.MUTED else 0.35,
            )
        ax.axhline(1, color=figures.INK, linewidth=0.8, linestyle=":")
        ax.set(title=gate, xlabel="step $t$", xticks=[1, 32, 64], yscale="log")
    axes[0].set_ylabel("singular value of $J_t$")
    axes[0].set_ylim(1e-4, None)
figures.save(
    fig, "singular-values", spectra,
    caption=f"Singular values of $J_t$ along digits, largest, middle and smallest of {n_hidden} in colour, the others in grey; medians over {probes} "
    f"digits and {seeds} seeds. On the dotted line a step neither stretches nor shrinks.",
    alt="Four panels with logarithmic axes, one per gate. Without a gate the singular values spread from above one down over orders of magnitude. "
    "With a constant gate all lie close to one. With a scalar gate they swing together with the rows of the image. With a multi gate most lie "
    "near one and a few reach far below.",
    chapter="03-agreement", out=out,
)  # fmt: skip

# %% tags=["hide-input"]
middles = (
    spectra[spectra["rank"] == n_hidden // 2].groupby("gate")["singular value"].median()
)
for gate, value in middles.items():
    record.number(f"middle-singular-value-{gate}", float(value))
Markdown(
    f"The middle singular value is {middles['none']:.2g} without a gate, and {middles['constant']:.2g}, {middles['scalar']:.2g} and "
    f"{middles['multi']:.2g} with a constant, scalar and multi gate. A spectrum near one is what a gate is *for* as a memory controller. "
    "What else it is for is the subject of this book."
)

# %% [markdown]
# ## What was checked

# %% tags=["hide-input"]
record.validation(
    caption="The checks of this chapter: four ways to the Jacobians of claim C2."
)

# %% [markdown]
# ## Try it
#
# 1. *Break the library.* In `by_symbol`, transpose `W_r`. Which shapes notice, and would $n = 1$?
# 2. *How small a step?* Plot the discrepancy of `by_differences` over $h$ from $10^{-1}$ to $10^{-12}$. Where is it least, and why there?
# 3. *Does depth of training matter?* Set `training_steps = 0` and see which of the figures keep their shape.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 1: break the library"}
# 1. Every shape notices unless n = 1, where a transpose changes nothing: a test with n = 1 alone would be worthless.
model = cells.GatedRNN(
    m, n, "none", generator=torch.Generator().manual_seed(1), dtype=torch.float64
)
with torch.no_grad():
    run = model.run(
        torch.randn(
            T, m, generator=torch.Generator().manual_seed(2), dtype=torch.float64
        )
    )
    right = jacobian.blocks(model, run)
    scale = (1 - run.phi**2).unsqueeze(-1)
    transposed = discrepancy(scale * model.W_r.T, right)
record.check(
    "exercise-transpose", "C2", "a transposed weight is noticed", transposed > 0.1
)

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 2: how small a step?"}
# 2. Cubic terms give an error of order h², rounding one of order eps/h: least near the cube root of eps, about 6e-6.
sizes = 10.0 ** np.arange(-1, -13, -1)
with torch.no_grad():
    errors = [discrepancy(by_differences(model, run, h), right) for h in sizes]
best = float(sizes[int(np.argmin(errors))])
record.check(
    "exercise-step",
    "C2",
    r"central differences are best within a decade of $\epsilon^{1/3}$",
    abs(np.log10(best / np.finfo(float).eps ** (1 / 3))),
    1.0,
)
pd.DataFrame({"h": sizes, "discrepancy": errors})

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 3: does depth of training matter?"}
# 3. The identities keep: they hold for any weights. The sizes do not: compare the gate term at initialisation.
fresh = cells.GatedRNN(
    1,
    n_hidden,
    "multi",
    n_outputs=10,
    bias=True,
    generator=torch.Generator().manual_seed(0),
    dtype=torch.float64,
    device=where,
)
with torch.no_grad():
    start = jacobian.terms(fresh, fresh.run(chosen))
    at_start = (
        torch.linalg.matrix_norm(start.gate, 2)
        / torch.linalg.matrix_norm(start.leak + start.recurrent, 2)
    ).median()
record.number("ratio-multi-untrained", float(at_start))
Markdown(
    f"Median ratio of the gate term before training: {float(at_start):.3g}; after: {text['ratio-multi']}."
)

# %% tags=["remove-cell"]
record.close()
