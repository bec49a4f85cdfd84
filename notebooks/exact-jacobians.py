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
# (ch-jacobians)=
# # Exact Jacobians
#
# How does the state of a gated network answer to a small push of the state
# before it? The answer is one matrix a step, the Jacobian
# $J_t = \partial x_t / \partial x_{t-1}$. The rest of this book is built on it.
# Gradients are sums of products of Jacobians, and so are the
# {term}`effective learning rates <effective learning rate>` that the gates set
# {cite}`livi2025timescale`.
#
# :::{admonition} What this chapter shows
# - For every number of neurons and every kind of gate, $J_t$ is the sum of three
#   terms: what **leaks** through, what **recurs** through the weights, and what
#   moves because the **gate** itself moves.
# - The gate's term is exactly what is lost when one treats the gate as a number
#   that does not depend on the state.
# - One gate that all neurons share adds a single direction: a term of rank one.
# :::
#
# SymPy {cite}`meurer2017sympy` does the differentiation. Each formula is followed
# by a cell that would fail if it were wrong.

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters"}
profile = "ci"
seeds = 3  # random networks per gate whose terms are added up
device = "auto"
out = "../artifacts/draft/exact-jacobians"
sizes = [2, 3]  # numbers of neurons for the entry-by-entry proof
n_drawn = 12  # neurons in the picture of the three terms

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the imports"}
from functools import partial
from itertools import product

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import sympy as sp
import torch
from gatelr import jacobian, symbolic
from gatelr.cells import GATES, GatedRNN, Trajectory
from gatelr.record import Chapter, figures, show
from gatelr.symbolic import n, p, q
from IPython.display import Math

chapter = Chapter("exact-jacobians")
prove = partial(chapter.prove, claim="C2", scope="every n")
sp.init_printing(
    use_latex="mathjax", latex_printer=lambda value, **_: symbolic.latex(value)
)


# %% [markdown]
# ## One neuron first
#
# The smallest gated network is one neuron. It keeps a part of its state and
# writes a part of something new, the candidate $\varphi$:
# $x' = (1-g)\,x + g\,\varphi$. Both $g$ and $\varphi$ depend on the old state
# $x$. The product rule then gives
#
# $$
# \frac{dx'}{dx} = (1 - g) \;+\; g\,\frac{d\varphi}{dx}
#                  \;+\; (\varphi - x)\,\frac{dg}{dx}.
# $$ (eq-one-neuron)
#
# These are the three terms already. The first is there without any weight. The
# second is what a network without a gate would have, scaled by the gate. The
# third is there because the gate looks at the state: when $g$ moves, the neuron
# goes a little more or a little less of the way from $x$ to $\varphi$.

# %%
state = sp.symbols("x")
g, phi = sp.Function("g")(state), sp.Function("varphi")(state)
slope = ((1 - g) * state + g * phi).diff(state)
claimed = (1 - g) + g * phi.diff(state) + (phi - state) * g.diff(state)
statement = "One neuron's slope has three terms"
prove("one-neuron", statement, slope - claimed, scope="n = 1")

# %% [markdown]
# `prove` asks SymPy to simplify a difference to 0, and a ✓ says that it did. The
# rest of the chapter says the same for $n$ neurons, where the three terms become
# matrices.
#
# ## One update rule, four gates
#
# All networks of this book rewrite a fraction $g_t$ of their state at each step
# and keep the rest (see {ref}`notation`):
#
# $$
# \begin{aligned}
# x_t &= (1 - g_t) \odot x_{t-1} + g_t \odot \varphi(a_t), \qquad
#        \varphi = \tanh, \\
# a_t &= W_r x_{t-1} + W_i u_t + b.
# \end{aligned}
# $$ (eq-update)
#
# The four networks of this family differ only in the gate:
#
# - `none` has $g = 1$ and is the vanilla recurrent network;
# - `constant` has a fixed $g = \alpha$, one number or one per neuron;
# - `scalar` has one learned gate for all neurons,
#   $g_t = \sigma(w_{rg}^\top x_{t-1} + \dots)$;
# - `multi` has one learned gate per neuron.
#
# To prove something for *every* $n$ we write one component, neuron $q$, with the
# sums over neurons left as sums. In SymPy a weight is then an `IndexedBase`, and
# a matrix product is a `Sum` over an index whose range is the symbol $n$.

# %%
a_q, g_q = symbolic.preactivation(), symbolic.gate("multi")
phi_q, x_q, x_p = sp.tanh(a_q), symbolic.x[q], symbolic.x[p]
show("a^q", a_q)
show(r"g^q_{\mathrm{multi}}", g_q)

# %% [markdown]
# The logistic function enters as a SymPy function whose derivative is
# $\sigma' = \sigma(1-\sigma)$, because that keeps Jacobians short. The rule is
# ours, so it is the first thing to check, against the definition
# $\sigma(z) = 1/(1+e^{-z})$. The same is done for $\tanh' = 1 - \tanh^2$.

# %%
z = sp.symbols("z", real=True)
logistic, tanh = symbolic.sigmoid(z), sp.tanh(z)
difference = logistic.diff(z).rewrite(sp.exp) - logistic.rewrite(sp.exp).diff(z)
statement = r"$\sigma' = \sigma(1 - \sigma)$"
prove("sigma-rule", statement, difference, scope="every z")
difference = (1 - tanh**2 - tanh.diff(z)).rewrite(sp.exp)
statement = r"$\tanh' = 1 - \tanh^2$"
prove("tanh-rule", statement, difference, scope="every z")


# %% [markdown]
# ## The derivation, for every $n$
#
# Differentiate neuron $q$ of {eq}`eq-update` with respect to neuron $p$ of the
# old state. Inside the sum, $\partial x^r / \partial x^p$ becomes a Kronecker
# delta, and `.doit()` collapses the sum: of $\sum_r W_r^{qr} \delta^{rp}$ only
# $W_r^{qp}$ is left.

# %%
collapsed = a_q.diff(x_p).doit()
show(r"\frac{\partial a^q}{\partial x^p}", a_q.diff(x_p), collapsed)

# %% [markdown]
# SymPy is careful. It says $W_r^{qp}$ *provided that* $p \le n - 1$, which is
# what it means for $p$ to number a neuron when one counts from 0. So
# `symbolic.jacobian` drops the condition, and drops nothing else. For every $n$
# that we write out, the collapsed sum must be the entry itself.

# %%
statement = r"$\sum_r W_r^{qr}\,\delta^{rp} = W_r^{qp}$, written out"
entries = [
    collapsed.subs({q: i, p: j}).subs(n, size) - symbolic.W_r[i, j]
    for size in range(1, 6)
    for i, j in product(range(size), repeat=2)
]
prove("collapse", statement, *entries, scope="n ≤ 5")

# %% [markdown]
# Here is what SymPy finds for the multi-gate network, with two long names put
# back in: $\varphi^q$ for $\tanh a^q$, and $g^q$ for the gate.

# %%
derived = {gate: symbolic.jacobian(gate) for gate in GATES}
expanded = symbolic.abbreviate(sp.expand(derived["multi"]), "multi")
terms = [symbolic.latex(term) for term in expanded.as_ordered_terms()]
lines = ["+".join(terms[i : i + 3]) for i in range(0, len(terms), 3)]
aligned = r"\\ &+".join(lines).replace("+-", "-")
Math(rf"\begin{{aligned}} J^{{qp}} ={{}}& {aligned} \end{{aligned}}")

# %% [markdown]
# Sorted, they are three terms. This is the central statement of the chapter.
#
# :::{prf:theorem} Exact Jacobians of the gated family
# :label: thm-jacobian
#
# For any number of neurons $n$, any inputs and weights, and
# $D_t = \operatorname{diag}(\varphi'(a_t))$,
#
# $$
# J_t \;=\; \underbrace{\operatorname{diag}(1 - g_t)}_{\text{leak } \Lambda_t}
#  \;+\; \underbrace{\operatorname{diag}(g_t)\, D_t\, W_r}_{\text{recurrent } R_t}
#  \;+\; \underbrace{G_t}_{\text{gate}} ,
# $$ (eq-jacobian)
#
# evaluated at $x_{t-1}$, the state *before* the update, where the gate term is
#
# $$
# G_t = \begin{cases}
#   0 & \text{none, constant} \\
#   g_t (1 - g_t)\, (\varphi_t - x_{t-1})\, w_{rg}^\top & \text{scalar} \\
#   \operatorname{diag}\big((\varphi_t - x_{t-1}) \odot g_t \odot (1 - g_t)\big)\,
#     W_{rg} & \text{multi.}
# \end{cases}
# $$ (eq-gate-term)
# :::
#
# The proof is one line per gate. `symbolic.closed_form` is the theorem in index
# notation. The derivative that SymPy found, less its sum, expands to zero.

# %%
for gate in GATES:
    claimed = sum(symbolic.closed_form(gate))
    show(rf"J^{{qp}}_{{\mathrm{{{gate}}}}}", symbolic.abbreviate(claimed, gate))
    statement = rf"$J^{{qp}} = (\Lambda + R + G)^{{qp}}$, gate: {gate}"
    prove(f"index-{gate}", statement, sp.expand(derived[gate] - claimed))

# %% [markdown]
# A check that cannot fail proves nothing. So let us slip on purpose and evaluate
# the gate term at the state *after* the update. That is an easy mistake, since
# $\varphi_t - x_t = (1 - g_t)(\varphi_t - x_{t-1})$ looks much the same. The
# difference must not vanish. The formula below the cell shows what is left of
# it. The second check says what the slip does to the gate term: it shrinks it by
# exactly the factor that the gate keeps.

# %%
gate_term = symbolic.closed_form("multi").gate
slip = gate_term.subs(x_q, symbolic.update("multi"))  # x_t for x_{t-1}
left_over = sp.factor(symbolic.abbreviate(gate_term - slip, "multi"))
shrunk = symbolic.abbreviate(slip - (1 - g_q) * gate_term, "multi")
show(r"G^{qp} - G^{qp}\big|_{x_t}", left_over)
statement = "The proof notices a gate term at the state after the update"
prove("slip-seen", statement, left_over != 0, scope="every n, multi gate")
statement = "Such a slip shrinks the gate term by exactly the factor $1 - g^q$"
prove("slip-size", statement, sp.expand(shrunk), scope="every n, multi gate")

# %% [markdown]
# ## The same, entry by entry
#
# Index notation is compact, and compact notation can hide a mistake. So we do it
# once more with every entry written out. For small networks every weight is a
# symbol of its own. The update is a column of expressions, and `Matrix.jacobian`
# differentiates it entry by entry. The theorem is stated in matrix notation,
# independently of the indices above.

# %%
for gate, size in product(GATES, sizes):
    written = symbolic.explicit(gate, size)
    claimed = written.leak + written.recurrent + written.gate
    difference = written.update.jacobian(written.state) - claimed
    statement = rf"All {size**2} entries of $J - \Lambda - R - G$ vanish, gate: {gate}"
    difference, scope = difference.applyfunc(sp.expand), f"n = {size}"
    prove(f"entries-{gate}-n{size}", statement, difference, scope=scope)

# %% [markdown]
# For two neurons the matrices fit on a page. This is the gate term of the scalar
# gate. Its columns are multiples of each other, which brings us to its rank.

# %% tags=["hide-input"]
two = symbolic.explicit("scalar", 2)
names = {two.g[0]: sp.Symbol("g")}
names |= {two.phi[i]: sp.Symbol(rf"\varphi_{i}") for i in range(2)}
show("G", two.gate.subs(names))

# %% [markdown]
# ## The scalar gate adds one direction
#
# :::{prf:proposition} Rank of the scalar gate's term
# :label: prop-rank
#
# The gate term of the scalar gate has rank at most one, for every $n$:
# $G_t = v_t\, w_{rg}^\top$ with $v_t = g_t (1 - g_t)(\varphi_t - x_{t-1})$. Its
# rank is one unless $w_{rg} = 0$ or $\varphi_t = x_{t-1}$.
# :::
#
# So a push $\delta x$ of the old state reaches the shared gate through one
# number, $w_{rg}^\top \,\delta x$, and comes out along one direction, $v_t$. A
# gate per neuron has no such bottleneck.
#
# *Proof.* A matrix has rank at most one exactly if all its 2-by-2 minors vanish.
# Take any two rows $q, q'$ and any two columns $p, p'$, as symbols. For the
# scalar gate the minor is zero; for the multi gate it is not.

# %%
rows, columns = (q, sp.Idx("q'", n)), (p, sp.Idx("p'", n))


def minor(entry: sp.Expr) -> sp.Expr:
    """The 2-by-2 minor of a matrix given by its entry (q, p)."""
    corner = sp.Matrix(2, 2, lambda i, j: entry.xreplace({q: rows[i], p: columns[j]}))
    return sp.expand(corner.det())


minors = {g: minor(symbolic.closed_form(g).gate) for g in ("scalar", "multi")}
statement = "Every 2-by-2 minor of the scalar gate's term vanishes"
prove("rank-one", statement, minors["scalar"])
statement = "Minors of the multi gate's term do not vanish"
prove("rank-multi", statement, minors["multi"] != 0, scope="n ≥ 2, generic weights")

# %% [markdown]
# The entry itself is a product of three factors and vanishes only with one of
# them. The factor $g(1-g)$ never does, since a logistic function takes neither
# the value 0 nor 1. So the term is zero only where $w_{rg}$ or $\varphi - x$ is.

# %%
g_one = symbolic.gate("scalar")
direction = g_one * (1 - g_one) * (phi_q - x_q)  # v, free of the column p
statement = r"$G^{qp} = v^q\, w_{rg}^p$ with $v$ free of $p$"
outer = symbolic.closed_form("scalar").gate - direction * symbolic.w_rg[p]
prove("outer-product", statement, outer, not direction.has(p))
shut, open_ = (e.rewrite(sp.exp).simplify() for e in (logistic, 1 - logistic))
statement = r"$0 < \sigma(z) < 1$ for every real $z$"
facts = shut.is_positive, open_.is_positive
prove("never-shut", statement, *facts, scope="every z")

# %% [markdown]
# ## Three terms, three roles
#
# The **leak** $\Lambda_t$ is diagonal. Each neuron passes its own past on, scaled
# by what its gate keeps. It has no weights in it. A product of leaks over a
# stretch of time is the time-scale of {ref}`ch-time-scales`.
#
# The **recurrent** term $R_t$ is the vanilla network's Jacobian $D_t W_r$,
# written with the gate: row $q$ is scaled by $g^q$.
#
# The **gate** term $G_t$ is there because the gate reads the state. It is the
# only term that knows the gate's weights $W_{rg}$. It is also exactly what is
# lost if the gate is treated as a given number. The cell holds the gate fixed,
# differentiates, and compares.

# %%
for gate in ("scalar", "multi"):
    number = sp.IndexedBase("g")[q]  # a gate that does not read the state
    frozen = symbolic.by_state((1 - number) * x_q + number * phi_q)
    lost = derived[gate] - frozen.subs(number, symbolic.gate(gate))
    statement = f"A gate held fixed loses $G$ and nothing else, gate: {gate}"
    difference = sp.expand(lost - symbolic.closed_form(gate).gate)
    prove(f"frozen-{gate}", statement, difference)

# %% [markdown]
# Now open and shut a scalar gate. With the gate fully open the network is
# vanilla. With the gate shut nothing is written and $J = I$. In both limits the
# gate's own sensitivity is gone, since $g(1-g)$ vanishes at both ends. That
# factor is largest in between, at $g = 1/2$.

# %%
g = sp.Symbol("g")
terms = sp.Matrix(symbolic.closed_form("scalar"))
terms = terms.applyfunc(lambda term: symbolic.abbreviate(term, "scalar"))
vanilla = (1 - sp.IndexedBase("phi")[q] ** 2) * symbolic.W_r[q, p]
identity = sp.KroneckerDelta(q, p)
left_over = terms.subs(g, 1) - sp.Matrix([0, vanilla, 0])
limits = {"scope": "every n, scalar gate"}
prove("open", "Gate open: $J = D W_r$", left_over, **limits)
left_over = terms.subs(g, 0) - sp.Matrix([identity, 0, 0])
prove("shut", "Gate shut: $J = I$", left_over, **limits)
bump = g * (1 - g)
facts = sp.solve(bump.diff(g), g) == [sp.S.Half], bump.diff(g, 2) < 0
statement = "$g(1-g)$ is largest at $g = 1/2$"
prove("half-open", statement, *facts, scope="every g")

# %% [markdown]
# ## What they look like
#
# The library computes the terms by {eq}`eq-jacobian`. `jacobian.terms` is a
# transcription of the theorem into three lines of torch. Here it is asked for
# random networks of every gate, with weights strong enough for every term to be
# visible.


# %%
def network(gate: str, seed: int) -> tuple[GatedRNN, Trajectory]:
    """A random network, and eight steps of it."""
    draw = torch.Generator().manual_seed(seed)
    kind = {"gate": gate, "alpha": 0.3 if gate == "constant" else None}
    model = GatedRNN(3, n_drawn, **kind, generator=draw, dtype=torch.float64)
    u = torch.randn(8, 3, generator=draw, dtype=torch.float64)
    model, u = model.to(chapter.device), u.to(chapter.device)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.5)
        path = model.run(u)
    return model.requires_grad_(False), path


worst = 0.0
for gate, seed in product(GATES, range(seeds)):
    model, path = network(gate, seed)
    total = sum(jacobian.terms(model, path))
    difference = total - jacobian.blocks(model, path)
    worst = max(worst, float(difference.abs().max()))
scope = f"{seeds} random networks for each gate, n = {n_drawn}, 8 steps"
statement = "The library's three terms add up to its $J$, every gate and seed"
chapter.check("sum-of-terms", statement, worst, 1e-15, claim="C2", scope=scope)

# %% [markdown]
# {numref}`fig-three-terms` draws one step of a multi-gate network. Look at the
# rows: in the second and third panel a row is pale or dark as a whole, because
# each neuron's gate scales its row. The diagonal of the last panel is the leak.

# %% tags=["hide-input"]
model, path = network("multi", 0)
parts = [term[-1].cpu() for term in jacobian.terms(model, path)]
parts = dict(zip(("leak", "recurrent", "gate"), parts, strict=True))
parts["jacobian"] = jacobian.blocks(model, path)[-1].cpu()
limit = max(float(part.abs().max()) for part in parts.values())
norm = mpl.colors.AsinhNorm(linear_width=0.05, vmin=-limit, vmax=limit)
titles = [r"leak $\Lambda_t$", "+ recurrent $R_t$", "+ gate $G_t$", "= $J_t$"]
bar = {"ticks": [-0.5, -0.1, 0, 0.1, 0.5], "format": "{x:g}", "label": "entry"}
look = {"norm": norm, "cmap": figures.DIVERGING, "square": True}
look["cbar_kws"] = bar
ends = {"xticklabels": n_drawn - 1, "yticklabels": n_drawn - 1}
with figures.style():
    fig, axes = plt.subplots(1, 4, figsize=(8.2, 2.35), sharey=True)
    for ax, part, title in zip(axes, parts.values(), titles, strict=True):
        sns.heatmap(part, ax=ax, cbar=ax is axes[-1], **look, **ends)
        ax.set(title=title, xlabel="from neuron $p$")
    axes[0].set(ylabel="to neuron $q$")
entries = {name: pd.DataFrame(part).stack() for name, part in parts.items()}
entries = pd.concat(entries, names=["term", "q", "p"]).rename("value")
chapter.figure("three-terms", fig, entries.reset_index())
others = torch.linalg.matrix_norm(parts["leak"] + parts["recurrent"], 2)
share = torch.linalg.matrix_norm(parts["gate"], 2) / others
chapter.number("gate-share", float(share))

# %% [markdown]
# :::{figure} /artifacts/exact-jacobians/figures/three-terms.svg
# :name: fig-three-terms
# :alt: Four square heat maps on one colour scale, joined by plus and equals
# :  signs. The first has entries on its diagonal only. The second and third are
# :  full, with a visible row structure; the third is fainter. The fourth is
# :  their sum.
#
# Each of the three terms has a pattern of its own. The leak is diagonal. The
# recurrent term carries the pattern of $W_r$, each row scaled by its gate. The
# gate term carries that of $W_{rg}$. The network is a multi-gate one with random
# weights, at one step; all panels share one colour scale, stretched around zero.
# :::
#
# ## What it means
#
# In this one step the gate term has {result}`exact-jacobians/gate-share` times
# the spectral norm of the other two together. Whether it is small in networks at
# work is a question for measurement. {ref}`ch-validity` measures it before
# training, and {ref}`ch-effective` along training. The algebra says where
# to look. A neuron's own time-scale sits in the leak alone. Everything that the
# gate adds by *moving* sits in the gate term alone.
#
# ## Try it
#
# 1. *A fifth gate.* Couple the gates in pairs: neurons $2k$ and $2k+1$ share one.
#    What rank can the gate term have?
# 2. *Another nonlinearity.* Replace $\tanh$ by a function that you like. Which of
#    the three terms change?
# 3. *A larger network.* Set `sizes = [2, 3, 4]` in the parameters cell. What does
#    SymPy's work grow with?
#
# :::{admonition} Solution 1
# :class: dropdown
#
# Neurons $2k$ and $2k+1$ share a gate, so rows $2k$ and $2k+1$ of $W_{rg}$ are
# equal. The gate term only scales the rows of $W_{rg}$. So these two rows of it
# are multiples of each other, and at most $n/2$ rows are independent. So its rank
# is at most $n/2$. The cell finds exactly that for random weights.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Check solution 1"}
model, path = network("multi", 0)
for weight in (model.W_rg, model.W_ig):
    weight[1::2] = weight[::2]
gate_term = jacobian.terms(model, model.run(path.u)).gate[-1]
rank = int(torch.linalg.matrix_rank(gate_term))
statement = "Gates shared by pairs of neurons: rank $n/2$, not $n$"
missed, scope = abs(rank - n_drawn // 2), f"one random network, n = {n_drawn}"
chapter.check("exercise-pairs", statement, missed, claim="C2", scope=scope)

# %% [markdown]
# :::{admonition} Solution 2
# :class: dropdown
#
# The leak does not contain $\varphi$, so it stays. The recurrent term comes from
# the slope of the candidate: it has $\varphi'(a)$ in place of $1 - \tanh^2 a$. The
# gate term comes from moving between $x$ and the candidate: it has $\varphi(a)$ in
# place of $\tanh a$. Nothing else changes, for any differentiable function.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Check solution 2"}
f, y = sp.Function("f"), sp.Dummy("y")
general = symbolic.by_state(symbolic.update("multi").replace(sp.tanh, f))
claim = symbolic.closed_form("multi")
recurrent = g_q * f(y).diff(y).subs(y, a_q) * symbolic.W_r[q, p]
claimed = claim.leak + recurrent + claim.gate.replace(sp.tanh, f)
statement = r"The theorem holds for any differentiable $\varphi$"
difference, scope = sp.expand((general - claimed).doit()), "every n, multi gate"
prove("exercise-phi", statement, difference, scope=scope)

# %% [markdown]
# :::{admonition} Solution 3
# :class: dropdown
#
# There are $n^2$ entries. Each is a sum over neurons, so its length grows with $n$
# as well. For large $n$ the work grows as $n^3$. The cell counts the operations of
# $J$ for up to four neurons. The proof in index notation does not grow at all.
# That is why the theorem rests on it and not on the matrices.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Count for solution 3"}
operations = pd.Series(dtype=int)
for size in range(1, 5):
    written = symbolic.explicit("multi", size)
    entries = written.update.jacobian(written.state)
    operations[size] = sum(entry.count_ops() for entry in entries)
operations.rename_axis("neurons").to_frame("operations in J")

# %% [markdown]
# ## What was proved
#
# {numref}`tab-exact-jacobians-validation` lists every check of this chapter.
# Symbolic rows are identities: their value is 0 if SymPy reduced the difference
# to zero, and there is no rounding to tolerate.

# %% tags=["hide-input"]
chapter.validation()
chapter.close()

# %% [markdown]
# :::{table-file} /artifacts/exact-jacobians/tables/exact-jacobians-validation.csv
# :name: tab-exact-jacobians-validation
#
# The checks of this chapter: the exact Jacobians of claim C2.
# :::
#
# ## In two sentences
#
# The Jacobian of a gated network is leak plus recurrence plus the gate's own
# sensitivity, for every number of neurons. Without the last term it is the
# Jacobian of a network whose gates are given numbers.
