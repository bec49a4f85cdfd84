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
# {ref}`ch-jacobians` proved what the Jacobian of a gated network is. Does the
# code that the rest of the book relies on compute that matrix? A proof says
# nothing about the code beside it, so this chapter compares.
#
# The same matrix is computed in four ways that share as little as possible, on
# the same numbers:
#
# 1. **symbol**: the expression that SymPy *derived*, printed to torch by a
#    program, never typed by a person;
# 2. **library**: `gatelr.jacobian.blocks`, the closed form of
#    {prf:ref}`thm-jacobian` written by hand;
# 3. **autograd**: `torch.func.jacrev` through the network's own update, the
#    reference {cite}`paszke2019pytorch`;
# 4. **differences**: central differences of the update, which know no calculus
#    at all.
#
# :::{prf:observation} Four ways, one matrix
# :label: obs-four-ways
#
# In all {result}`agreement/combinations` combinations of gate, precision and
# shape of batch that were tried, the four ways agree as far as rounding allows.
# In double precision the largest discrepancy between symbol, library and
# autograd is {result}`agreement/worst-float64` of the largest entry.
# :::
#
# The second half looks at Jacobians along real sequences. They are handwritten
# digits, read one pixel at a time by networks that have learned to name them. How
# large are the three terms there, and what does a gate do to the singular values?

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters"}
profile = "ci"
seeds = 3  # trained networks for each gate
device = "auto"
out = "../artifacts/draft/agreement"
n = 7  # neurons, inputs and steps of the random networks
m = 3
T = 5
n_hidden = 32  # neurons of the networks that read digits
training_steps = 400
probes = 24  # digits along which the trained networks are measured

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the imports"}
from itertools import product
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import sympy as sp
import torch
from gatelr import jacobian, symbolic, tasks
from gatelr.cells import GATES, GatedRNN, Trajectory
from gatelr.experiments import agreement, digits
from gatelr.experiments.agreement import discrepancy
from gatelr.record import Chapter, figures
from torch import Tensor

chapter = Chapter("agreement")

# %% [markdown]
# ## Four ways to one matrix
#
# ### From symbol to code
#
# `symbolic.to_torch` reads an expression in index notation and prints torch. A
# free index $q$ becomes the axis before last, and $p$ the last one. A sum of
# products becomes an `einsum`, a Kronecker delta an identity matrix. Nothing in
# it knows about gates. This is what it prints for the vanilla network:

# %%
code = symbolic.torch_code(symbolic.jacobian("none"))
print(fill(code, 72, break_on_hyphens=False))

# %% [markdown]
# `by_symbol` runs such code on a network. Weights go in by the names that they
# have in the expression.


# %%
def by_symbol(model: GatedRNN, run: Trajectory) -> Tensor:
    """J from SymPy's own expression."""
    axes = run.x.ndim - 2
    values = {k: model.per_step(w, axes) for k, w in model.named_parameters()}
    if model.gate == "scalar":  # one row of gate weights, there a vector
        for name in ("W_rg", "W_ig"):
            values[name.lower()] = values[name][..., 0, :]
    values |= {"x": run.x_prev, "u": run.u, "alpha": run.g.expand_as(run.x)}
    expression = symbolic.jacobian(model.gate)
    symbols = sorted(expression.atoms(sp.IndexedBase), key=str)
    code = symbolic.to_torch(expression, symbols)
    J = code(*(values[str(base)] for base in symbols))
    return J.expand(*run.x.shape, model.n_hidden)


# %% [markdown]
# ### Autograd, without a loop
#
# Once the states are known, all steps of all sequences are independent. So one
# step from every recorded state is one call of the network, with time as a
# batch axis. The Jacobian of the *sum* over samples then holds each sample's
# own Jacobian, and `jacrev` need not be called in a loop. Central differences
# need two such steps for each neuron that is nudged. Their error is of order
# $h^2$ from the cubic term, and of order $10^{-16}/h$ from rounding.


# %%
def one_step(model: GatedRNN, run: Trajectory, x: Tensor) -> Tensor:
    """x_t for every recorded step at once: time becomes a batch axis."""
    u, x = run.u.movedim(0, -2).unsqueeze(0), x.movedim(0, -2)
    return model.run(u, x).x[0].movedim(-2, 0)


def by_autograd(model: GatedRNN, run: Trajectory) -> Tensor:
    """J by reverse-mode differentiation of the update."""

    def summed(x: Tensor) -> Tensor:
        return one_step(model, run, x).flatten(0, -2).sum(0)

    return torch.func.jacrev(summed)(run.x_prev).movedim(0, -2)


def by_differences(model: GatedRNN, run: Trajectory, h: float = 1e-5) -> Tensor:
    """J by central differences, one column for each neuron."""
    columns = []
    for p in range(model.n_hidden):
        nudge = torch.zeros_like(run.x_prev)
        nudge[..., p] = h
        after = one_step(model, run, run.x_prev + nudge)
        before = one_step(model, run, run.x_prev - nudge)
        columns.append((after - before) / (2 * h))
    return torch.stack(columns, -1)


# %% [markdown]
# ### The table
#
# Sizes are odd and differ on purpose, so that a transposed index would be seen.
# Every gate is tried in two precisions and four shapes of batch, the last with
# three {term}`replicas <replica>`, each with its own weights. A discrepancy is
# the largest difference between two matrices over the largest entry.

# %%
SHAPES = {"one": {}, "batch": {"batch": (5,)}, "two axes": {"batch": (2, 3)}}
SHAPES["replicas"] = {"batch": (4,), "replicas": 3}
DTYPES, rows = (torch.float64, torch.float32), []
for gate, dtype, shape in product(GATES, DTYPES, SHAPES):
    options = {"fastest": 1.0, "dtype": dtype, "device": chapter.device}
    options |= SHAPES[shape]
    model, u, _ = agreement.random_case(gate, n, m, T, **options)
    with torch.no_grad():
        run = model.run(u)
        J, autograd = jacobian.blocks(model, run), by_autograd(model, run)
        row = {"gate": gate, "precision": str(dtype).removeprefix("torch.")}
        row |= {"shape": shape, "symbol": discrepancy(by_symbol(model, run), J)}
        row |= {"autograd": discrepancy(J, autograd)}
        if dtype == torch.float64:
            row["differences"] = discrepancy(J, by_differences(model, run))
    rows.append(row)
table = pd.DataFrame(rows)

# %% tags=["hide-input"]
NAMES = {"symbol": "symbol − library", "autograd": "library − autograd"}
NAMES["differences"] = "library − differences"
printed = table.rename(columns=NAMES)
printed[[*NAMES.values()]] = printed[[*NAMES.values()]].map(
    lambda gap: "–" if np.isnan(gap) else f"{gap:.1e}" if gap else "0"
)
chapter.table("agreement", printed)

# %% [markdown]
# :::{table-file} /artifacts/agreement/tables/agreement.csv
# :name: tab-agreement
#
# The four ways agree to rounding, for every gate, precision and shape. Largest
# discrepancy between two ways to the same Jacobian, relative to its largest
# entry. Differences are taken in double precision only, where they can tell an
# error from rounding.
# :::
#
# Look down a column of {numref}`tab-agreement`: no gate and no shape stands
# out. Double precision rounds at about $10^{-16}$ and single at about
# $10^{-7}$, and a few operations cost a few roundings. The tolerances are four
# orders above one rounding in double precision and two above in single. Central
# differences have an error of their own, so they get a wider one.

# %%
TOLERANCES = {
    ("symbol", "float64"): 1e-12,
    ("autograd", "float64"): 1e-12,
    ("symbol", "float32"): 1e-5,
    ("autograd", "float32"): 1e-5,
    ("differences", "float64"): 1e-8,
}
worst = table.groupby("precision")[[*NAMES]].max()
scope = f"four gates, four shapes of batch, n = {n}, m = {m}, T = {T}"
for (way, precision), tolerance in TOLERANCES.items():
    statement = f"{NAMES[way].replace(' − ', ' and ')} agree, {precision}"
    name, gap = f"{way}-{precision}", worst.loc[precision, way]
    chapter.check(name, statement, gap, tolerance, claim="C2", scope=scope)
chapter.number("combinations", len(table))
largest = float(worst.loc["float64", ["symbol", "autograd"]].max())
chapter.number("worst-float64", largest, f"{largest:.1e}")

# %% [markdown]
# ### Would the table notice a mistake?
#
# Give the library the state *after* the update, the slip of
# {ref}`ch-jacobians`, and compare with autograd again. The discrepancy must be
# far beyond any tolerance above.

# %%
with torch.no_grad():  # the last network of the table: multi gate, replicas
    slip = jacobian.blocks(model, run._replace(x_prev=run.x))
caught = discrepancy(slip, autograd)
chapter.number("slip", 100 * caught, f"{100 * caught:.0f}", "%")
rejected = caught > 1e3 * TOLERANCES["autograd", "float32"]
statement = "autograd rejects a Jacobian evaluated after the update"
one = f"one network, n = {n}, T = {T}"
chapter.check("slip-caught", statement, rejected, claim="C2", scope=one)

# %% [markdown]
# Evaluated after the update, this Jacobian is wrong by
# {result}`agreement/slip` of its largest entry.
#
# ## Real sequences
#
# Random weights are a fair test of algebra and a poor picture of a network at
# work. So networks with each of the four gates learn to name handwritten digits
# from scikit-learn {cite}`pedregosa2011sklearn`. An image of 8 by 8 is fed as a
# sequence of 64 pixels, and the answer is read from the last state.
#
# `digits.train` hands the library's closed-form gradient to Adam and trains all
# seeds side by side, as replicas of one model. Replica $i$ draws its weights
# from seed $i$ and its digits from seed $123 + i$. The last images of the set
# are held out.

# %%
train = tasks.digits(split="train", device=chapter.device)
test = tasks.digits(split="test", device=chapter.device)
options = {"alpha": 0.1, "device": chapter.device}
models = {
    gate: digits.train(gate, n_hidden, seeds, training_steps, **options)
    for gate in GATES
}

# %% tags=["hide-input"]
rows = []
for gate, model in models.items():
    scores = digits.accuracy(model, test.u, test.target)
    each = ", ".join(f"{100 * score:.1f}" for score in scores.tolist())
    mean = 100 * float(scores.mean())
    rows.append({"gate": gate, "mean": f"{mean:.1f} %", "each seed": each})
    chapter.number(f"accuracy-{gate}", mean, f"{mean:.0f}", "%")
guess = (test.target == train.target.mode().values).float().mean()
guess = 100 * float(guess)
chapter.number("accuracy-guess", guess, f"{guess:.0f}", "%")
chapter.table("digits", pd.DataFrame(rows))

# %% [markdown]
# :::{table-file} /artifacts/agreement/tables/digits.csv
# :name: tab-digits
#
# All networks learned something. Digits named correctly among those that were
# not trained on. Always saying the commonest digit scores
# {result}`agreement/accuracy-guess`.
# :::
#
# {numref}`tab-digits` is no contest between gates, with so few steps and seeds.
# It only makes sure that what follows is about networks that work. The
# agreement must survive learned weights and real inputs. From here on networks
# are measured in double precision, whatever they were trained in.

# %%
chosen = digits.for_each_seed(test.u[:, :probes].double(), seeds)
runs, terms, scope = {}, {}, f"{seeds} trained networks a gate, n = {n_hidden}"
for gate, model in models.items():
    model = model.double()
    with torch.no_grad():
        runs[gate] = model.run(chosen)
        terms[gate] = jacobian.terms(model, runs[gate])
        J = jacobian.blocks(model, runs[gate])
        gap = discrepancy(J, by_autograd(model, runs[gate]))
    statement = f"library and autograd agree on digits, every seed: {gate}"
    name = f"digits-{gate}"
    chapter.check(name, statement, gap, 1e-12, claim="C2", scope=scope)

# %% [markdown]
# ### The gates, reading
#
# {numref}`fig-gate-traces` follows one digit. Each row of the middle panel is
# the gate of one neuron. Dark means that the neuron keeps what it has, bright
# that it is being rewritten. Look for stripes that begin where the pen begins
# in the top panel: these neurons answer to the ink.

# %% tags=["hide-input"]
traces = pd.DataFrame(runs["multi"].g[:, 0, 0].cpu().numpy())
single = runs["scalar"].g[:, 0, 0, 0].cpu().numpy()
pixels = chosen[:, 0, 0, 0].cpu().numpy()
steps = np.arange(1, len(pixels) + 1)
edges, order = np.arange(len(pixels) + 1) + 0.5, traces.mean().argsort()
with figures.style():
    fig, (top, middle, bottom) = plt.subplots(
        3, 1, figsize=(7.2, 4.6), sharex=True, height_ratios=[0.5, 3, 1.3]
    )
    look = {"rasterized": True, "vmin": 0, "vmax": 1}
    top.pcolormesh(edges, [0, 1], pixels[None], cmap="gray_r", rasterized=True)
    name = int(test.target[0])
    top.set(yticks=[], title=f"The digit {name}, pixel by pixel")
    neurons = np.arange(n_hidden + 1)
    mesh = middle.pcolormesh(edges, neurons, traces[order].T, **look)
    middle.set(ylabel="neuron, by mean gate", title="Multi: one gate a neuron")
    fig.colorbar(mesh, ax=middle, label="gate $g$", pad=0.01)
    drawn = {"scalar": single, "constant": 0.1 + 0 * single}
    for gate, values in drawn.items():
        look = figures.GATES[gate] | {"marker": ""}
        bottom.plot(steps, values, **look)
        place = values[:8].max() + 0.05
        bottom.text(1, place, gate, color=look["color"])
    bottom.set(ylim=(0, 1), xticks=range(8, 65, 8), xlabel="step $t$")
    bottom.set(ylabel="gate $g$", title="Scalar: one learned; constant: fixed")
    for ax in (top, middle):
        ax.grid(False)
many = traces.set_axis(steps).stack().rename("g")
many = many.rename_axis(["step", "neuron"]).reset_index().assign(gate="multi")
few = {"scalar": single, "(pixel)": pixels}
few = [pd.DataFrame({"step": steps, "g": g, "gate": k}) for k, g in few.items()]
chapter.figure("gate-traces", fig, pd.concat([many, *few]))

# %% [markdown]
# :::{figure} /artifacts/agreement/figures/gate-traces.svg
# :name: fig-gate-traces
# :alt: Three panels over 64 steps. The top strip shows the grey values of the
# :  pixels. The middle heat map shows one row per neuron, from dark rows of
# :  nearly shut gates at the bottom to bright rows of open gates at the top,
# :  with stripes that follow the pixels. The lowest panel shows the single
# :  learned gate moving with the pixels, and the constant gate as a flat line.
#
# Learned gates open and shut with the pixels, each neuron's in its own way.
# Gates along one handwritten digit, in trained networks; a row of the image has
# eight steps. Neurons of the multi-gate network are sorted by their mean gate,
# the slowest at the bottom.
# :::
#
# ### The three terms along a sequence
#
# The Jacobian is the sum of leak, recurrent and gate term. How large is each
# along a digit? {numref}`fig-terms-along` shows their spectral norms. Compare
# the gate term with the other two.

# %%
rows = []
levels = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
for gate in GATES:
    for term, values in terms[gate]._asdict().items():
        norms = torch.linalg.matrix_norm(values, 2).flatten(1).cpu()
        quartiles = norms.quantile(levels, 1).T.tolist()
        rows += [(gate, term, t, *q) for t, q in enumerate(quartiles, 1)]
keys, columns = ["gate", "term", "step"], ["lower quartile", "median"]
sizes = pd.DataFrame(rows, columns=[*keys, *columns, "upper quartile"])
for gate in ("scalar", "multi"):
    leak, recurrent, gate_term = terms[gate]
    rest = torch.linalg.matrix_norm(leak + recurrent, 2)
    ratio = (torch.linalg.matrix_norm(gate_term, 2) / rest).flatten()
    chapter.number(f"ratio-{gate}", float(ratio.median()))
    chapter.number(f"ratio-p99-{gate}", float(ratio.quantile(0.99)))

# %% tags=["hide-input"]
# three numbers a step: the middle one is the line, the others are the band
curves = sizes[sizes["upper quartile"] > 0].melt(keys, value_name="norm")
LINES = {"kind": "line", "height": 2.6, "aspect": 0.8, "col": "gate"}
with figures.style():
    look = LINES | {"hue": "term", "style": "term", "estimator": "median"}
    look |= {"errorbar": ("pi", 100), "palette": figures.CYCLE[:3]}
    look |= dict.fromkeys(("hue_order", "style_order"), ("leak", "recurrent", "gate"))
    grid = sns.relplot(curves, x="step", y="norm", **look)
    grid.set(xlabel="step $t$", ylabel="spectral norm", xticks=[1, 32, 64])
    grid.set(ylim=(0, None)).set_titles("{col_name}")
chapter.figure("terms-along", grid.figure, sizes)

# %% [markdown]
# :::{figure} /artifacts/agreement/figures/terms-along.svg
# :name: fig-terms-along
# :alt: Four panels, one per gate, of norms over 64 steps. The vanilla network
# :  has a recurrent term only. The constant network has a flat leak near one
# :  and a recurrent term. The scalar and multi networks have all three terms,
# :  which move with the pixels of each image row.
#
# A learned gate adds a third term to each step. Here it is smaller than the
# recurrent one, and too large to be ignored. Spectral norms of the three terms
# of $J_t$ along digits, in trained networks: median and quartiles over digits
# and seeds. A term that is identically zero is not drawn.
# :::
#
# How large is the gate term's norm beside that of leak and recurrent term
# together? On these digits the median ratio is {result}`agreement/ratio-scalar`
# for the scalar gate. For the multi gate it is {result}`agreement/ratio-multi`. In
# one step of a hundred the ratio exceeds {result}`agreement/ratio-p99-scalar` with
# the scalar gate, and {result}`agreement/ratio-p99-multi` with the multi gate. That
# is one task, a short training, and a number for single steps only. Whether the
# term may be called *small*, and for what, is measured in {ref}`ch-effective`,
# over tasks, seeds and lags.
#
# ### Singular values
#
# The singular values of $J_t$ say by how much one step can stretch a small push
# and by how much it can shrink it. {numref}`fig-singular-values` shows their
# spread. Look at the thick line, the middle of the spectrum. On the dotted line a
# step neither stretches nor shrinks: how far is the thick one from it?

# %%
spectra = []
for gate in GATES:
    values = torch.linalg.svdvals(sum(terms[gate])).flatten(1, 2)
    medians = pd.DataFrame(values.median(1).values.cpu().numpy())
    steps, ranks = range(1, len(medians) + 1), range(1, n_hidden + 1)
    spectra.append(medians.set_axis(steps).set_axis(ranks, axis=1))
    middle = float(medians[n_hidden // 2 - 1].median())
    chapter.number(f"middle-singular-value-{gate}", middle)
spectra = pd.concat(spectra, keys=GATES, names=["gate", "step"]).reset_index()
spectra = spectra.melt(["gate", "step"], var_name="rank", value_name="singular value")

# %% tags=["hide-input"]
with figures.style():
    look = LINES | {"x": "step", "y": "singular value", "estimator": "median"}
    grid = sns.relplot(spectra, errorbar=("pi", 100), **look)
    grid.refline(y=1, color=figures.INK, linestyle=":")
    grid.set(xlabel="step $t$", xticks=[1, 32, 64], yscale="log")
    grid.set(ylim=(1e-4, None)).set_titles("{col_name}")
    grid.set_ylabels("singular value of $J_t$").tight_layout()
chapter.figure("singular-values", grid.figure, spectra)

# %% [markdown]
# :::{figure} /artifacts/agreement/figures/singular-values.svg
# :name: fig-singular-values
# :alt: Four panels with logarithmic axes, one per gate. Without a gate the
# :  singular values spread from above one down over orders of magnitude, and
# :  their middle lies far below one. With a constant gate all lie close to one.
# :  With a scalar gate they swing together with the rows of the image. With a
# :  multi gate the middle lies near one and the band reaches far below.
#
# A gate moves the middle of the spectrum towards one. Singular values of $J_t$
# along digits: the line is their middle, the band reaches from the smallest to
# the largest; medians over digits and seeds. On the dotted line a step neither
# stretches nor shrinks.
# :::
#
# The middle singular value is
# {result}`agreement/middle-singular-value-none` without a gate. With a constant
# gate it is {result}`agreement/middle-singular-value-constant`. With a scalar gate
# it is {result}`agreement/middle-singular-value-scalar`, and with a multi gate
# {result}`agreement/middle-singular-value-multi`. A singular value of one keeps a
# push as it is, and keeping is what a gate was invented for. The rest of the book
# asks what a gate does besides.
#
# ## What it means
#
# The closed form that all chapters use is the one that was derived, and it is
# the derivative of the code that runs. This was seen on random networks of every
# shape that was tried and on trained ones, at single steps. What the terms do
# over many steps is the subject of {ref}`ch-products`.
#
# ## Try it
#
# 1. *Break the library.* In `by_symbol`, transpose `W_r`. Which shapes notice,
#    and would a network with $n = 1$?
# 2. *How small a step?* Compute the discrepancy of `by_differences` over $h$
#    from $10^{-1}$ to $10^{-12}$. Where is it least, and why there?
# 3. *Does the length of training matter?* Set `training_steps = 0` and see which of
#    the figures keep their shape.
#
# :::{dropdown} Solution 1: break the library
# Every shape notices. The transpose puts $W_r^{pq}$ where $W_r^{qp}$ belongs, and
# for random weights these two differ. With $n = 1$ there is a single weight, and a
# transpose changes nothing. That is why a test with $n = 1$ alone is worthless.
# :::
#
# :::{dropdown} Solution 2: how small a step?
# The cubic term of the update's Taylor series gives an error of order $h^2$. It
# falls with $h$. Rounding gives one of order $\epsilon / h$, where $\epsilon$ is
# the precision of the numbers, and it grows as $h$ falls. Their sum is least where
# both are about equal, near $h = \epsilon^{1/3}$. In double precision that is about
# $6 \cdot 10^{-6}$. The cell below finds the best power of ten.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Check solution 2"}
draws = (torch.Generator().manual_seed(seed) for seed in (1, 2))
model = GatedRNN(m, n, "none", generator=next(draws), dtype=torch.float64)
sizes = 10.0 ** np.arange(-1, -13, -1)
with torch.no_grad():
    u = torch.randn(T, m, generator=next(draws), dtype=torch.float64)
    run = model.run(u)
    J = jacobian.blocks(model, run)
    errors = [discrepancy(by_differences(model, run, h), J) for h in sizes]
best = sizes[np.argmin(errors)]
gap = abs(np.log10(best / np.finfo(float).eps ** (1 / 3)))
statement = r"central differences are best within a decade of $\epsilon^{1/3}$"
chapter.check("exercise-step", statement, gap, 1.0, claim="C2", scope=one)

# %% [markdown]
# :::{dropdown} Solution 3: does the length of training matter?
# The agreement stays, since the identities hold for any weights. The sizes of the
# terms change. In a
# multi-gate network with fresh weights the gate term has a median norm of
# {result}`agreement/ratio-multi-untrained` times that of leak and recurrent
# term together. After training it was {result}`agreement/ratio-multi`.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Check solution 3"}
options = {"n_outputs": 10, "bias": True, "device": chapter.device}
options["generator"] = torch.Generator().manual_seed(0)
fresh = GatedRNN(1, n_hidden, "multi", **options, dtype=torch.float64)
with torch.no_grad():
    leak, recurrent, gate_term = jacobian.terms(fresh, fresh.run(chosen))
rest = torch.linalg.matrix_norm(leak + recurrent, 2)
ratio = torch.linalg.matrix_norm(gate_term, 2) / rest
chapter.number("ratio-multi-untrained", float(ratio.median()))

# %% [markdown]
# ## What was checked

# %% tags=["hide-input"]
chapter.validation()

# %% [markdown]
# :::{table-file} /artifacts/agreement/tables/agreement-validation.csv
# :name: tab-agreement-validation
#
# The checks of this chapter: four ways to the Jacobians of claim C2.
# :::
#
# ## In two sentences
#
# What SymPy derived, what the library computes and what autograd finds are the
# same matrix, to rounding, on random networks and on trained ones. Along digits
# the gate term is a sizeable part of one step, and a gate brings the middle of
# the step's spectrum nearer to one.

# %% tags=["remove-cell"]
chapter.close()
