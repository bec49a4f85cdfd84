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
# How does the state of a gated network answer to a small push of the state before it? The answer is one matrix a step,
# the Jacobian $J_t = \partial x_t / \partial x_{t-1}$, and everything in this book is made of it: gradients are sums of
# products of Jacobians, and so are the {term}`effective learning rates <effective learning rate>` that the gates set {cite}`livi2025timescale`.
#
# This chapter derives $J_t$ for the whole family, for *every* number of neurons at once, and finds that it always falls
# into the same three pieces: what **leaks** through, what **recurs** through the weights, and what moves because the
# **gate** itself moves. SymPy {cite}`meurer2017sympy` does the differentiation; every sentence that claims something is
# followed by a cell that would fail if it were false.

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters"}
profile = "ci"
seeds = 3  # random networks per gate whose terms are added up; the first multi-gate one is drawn
device = "auto"
out = "../artifacts/draft/02-exact-jacobians"
sizes = [2, 3]  # numbers of neurons for the entry-by-entry proof
n_drawn = 12  # neurons in the picture of the three terms

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the imports"}
import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import sympy as sp
import torch
from gatelr import cells, jacobian, symbolic
from gatelr.record import devices, figures, ledger
from gatelr.symbolic import n, p, q
from IPython.display import Markdown, Math, display

TITLE = "Exact Jacobians"
parameters = {
    "profile": profile,
    "seeds": seeds,
    "device": device,
    "sizes": sizes,
    "n_drawn": n_drawn,
}
record = ledger.Ledger("02-exact-jacobians", TITLE, out, parameters)

# %% [markdown]
# ## One update rule, four gates
#
# All networks here rewrite a fraction $g_t$ of their state at each step and keep the rest (see {ref}`notation`):
#
# $$
# x_t = (1 - g_t) \odot x_{t-1} + g_t \odot \varphi(a_t), \qquad a_t = W_r x_{t-1} + W_i u_t + b, \qquad \varphi = \tanh .
# $$ (eq-update)
#
# The four members differ only in the gate: `none` has $g = 1$ and is the vanilla recurrent network; `constant` has a fixed
# $g = \alpha$, one number or one per neuron; `scalar` has one learned gate $g_t = \sigma(w_{rg}^\top x_{t-1} + \dots)$ for
# all neurons; `multi` has one learned gate per neuron.
#
# To prove something for *every* $n$ we write one component, neuron $q$, with the sums over neurons left as sums. In
# SymPy that is an `IndexedBase` per weight and a `Sum` over an index whose range is the symbol $n$:

# %%
phi_q, g_q = sp.tanh(symbolic.preactivation()), symbolic.gate("multi")
display(Math(r"a^q = " + symbolic.latex(symbolic.preactivation())))
display(Math(r"g^q = " + symbolic.latex(g_q) + r"\qquad\text{(multi)}"))

# %% [markdown]
# The logistic function enters as a SymPy function whose derivative is $\sigma' = \sigma(1-\sigma)$. That rule is ours, so
# it is the first thing to check, against the definition $\sigma(z) = 1/(1+e^{-z})$; the same for $\tanh' = 1 - \tanh^2$.

# %%
z = sp.symbols("z", real=True)
logistic = symbolic.sigmoid(z)
sigma_rule = sp.simplify(
    logistic.diff(z).rewrite(sp.exp) - logistic.rewrite(sp.exp).diff(z)
)
tanh_rule = sp.simplify((1 - sp.tanh(z) ** 2 - sp.tanh(z).diff(z)).rewrite(sp.exp))
record.check(
    "sigma-rule",
    "C2",
    r"$\sigma' = \sigma(1 - \sigma)$",
    sigma_rule == 0,
    kind="symbolic",
)
record.check(
    "tanh-rule", "C2", r"$\tanh' = 1 - \tanh^2$", tanh_rule == 0, kind="symbolic"
)

# %% [markdown]
# ## The derivation, for every $n$
#
# Differentiating neuron $q$ of {eq}`eq-update` with respect to neuron $p$ of the old state, SymPy turns
# $\partial x^r / \partial x^p$ into a Kronecker delta inside the sum, and `.doit()` collapses the sum: of
# $\sum_r W_r^{qr} \delta^{rp}$ only $W_r^{qp}$ is left.

# %%
inner = symbolic.preactivation().diff(symbolic.x[p])
display(
    Math(
        r"\frac{\partial a^q}{\partial x^p} = "
        + symbolic.latex(inner)
        + " = "
        + symbolic.latex(symbolic.W_r[q, p])
    )
)
collapsed = inner.doit()
display(Math(symbolic.latex(collapsed)))

# %% [markdown]
# SymPy is careful: it says $W_r^{qp}$ *provided that* $p \le n - 1$. That is what it means for $p$ to number a neuron (we
# count from 0), so `symbolic.jacobian` drops the condition, and drops nothing else: for every $n$ that we can write out
# the collapsed sum must be the entry itself.

# %%
written_out = all(
    collapsed.subs({q: row, p: column}).subs(n, size).doit()
    == symbolic.W_r[row, column]
    for size in range(1, 6)
    for row in range(size)
    for column in range(size)
)
record.check(
    "collapse",
    "C2",
    r"$\sum_r W_r^{qr}\,\delta^{rp} = W_r^{qp}$, written out for $n \le 5$",
    written_out,
    kind="symbolic",
)

# %% [markdown]
# Here is what SymPy finds for the multi-gate network, with the two long names $\varphi^q = \tanh a^q$ and $g^q$ put back in:

# %%
derived = {gate: symbolic.jacobian(gate) for gate in cells.GATES}
found = symbolic.abbreviate(sp.expand(derived["multi"]), "multi").as_ordered_terms()
lines = [symbolic.latex(sp.Add(*found[i : i + 4])) for i in range(0, len(found), 4)]
display(
    Math(r"\begin{aligned} J^{qp} ={}& " + r" \\ & {} ".join(lines) + r"\end{aligned}")
)

# %% [markdown]
# Sorted, these terms are three. This is the central statement of the chapter.
#
# :::{prf:theorem} Exact Jacobians of the gated family
# :label: thm-jacobian
#
# For any number of neurons $n$, any inputs and weights, and $D_t = \operatorname{diag}(\varphi'(a_t))$,
#
# $$
# J_t \;=\; \underbrace{\operatorname{diag}(1 - g_t)}_{\text{leak } \Lambda_t}
#      \;+\; \underbrace{\operatorname{diag}(g_t)\, D_t\, W_r}_{\text{recurrent } R_t}
#      \;+\; \underbrace{G_t}_{\text{gate}} ,
# $$ (eq-jacobian)
#
# evaluated at $x_{t-1}$, the state *before* the update, where the gate term is
#
# $$
# G_t = \begin{cases}
#   0 & \text{none, constant} \\
#   g_t (1 - g_t)\, (\varphi_t - x_{t-1})\, w_{rg}^\top & \text{scalar} \\
#   \operatorname{diag}\big((\varphi_t - x_{t-1}) \odot g_t \odot (1 - g_t)\big)\, W_{rg} & \text{multi.}
# \end{cases}
# $$ (eq-gate-term)
# :::
#
# The proof is one line per gate: the derivative that SymPy found, less the claim in index notation, expands to zero.

# %%
for gate in cells.GATES:
    claim = symbolic.closed_form(gate)
    display(
        Math(
            rf"\textit{{{gate}:}}\quad J^{{qp}} = "
            + " + ".join(
                symbolic.latex(symbolic.abbreviate(term, gate))
                for term in claim
                if term != 0
            )
        )
    )
    difference = sp.expand(derived[gate] - sum(claim))
    statement = rf"$J^{{qp}} - (\Lambda + R + G)^{{qp}} = 0$ for symbolic $n$, {gate}"
    record.check(f"index-{gate}", "C2", statement, difference == 0, kind="symbolic")

# %% [markdown]
# A proof that cannot fail proves nothing. Evaluate the gate term at the state *after* the update, an easy slip since
# $\varphi_t - x_t = (1 - g_t)(\varphi_t - x_{t-1})$ looks so alike, and the difference must not vanish.

# %%
claim = symbolic.closed_form("multi")
slip = claim.gate.subs(
    symbolic.x[q], symbolic.update("multi")
)  # x_t in place of x_{t-1}
left_over = sp.factor(symbolic.abbreviate(claim.gate - slip, "multi"))
display(Math(r"G^{qp} - G^{qp}\big|_{x_t} = " + symbolic.latex(left_over)))
shrunk = sp.expand(symbolic.abbreviate(slip - (1 - g_q) * claim.gate, "multi"))
record.check(
    "slip-seen",
    "C2",
    "the proof notices a gate term at the state after the update",
    left_over != 0,
    kind="symbolic",
)
record.check(
    "slip-size",
    "C2",
    "such a slip shrinks the gate term by exactly $1 - g^q$",
    shrunk == 0,
    kind="symbolic",
)

# %% [markdown]
# ## The same, entry by entry
#
# Index notation is compact, and compact notation hides mistakes. So once more with nothing hidden: for small networks
# every weight is a symbol of its own, the update is a column of expressions, `Matrix.jacobian` differentiates
# entry by entry, and the claim is stated in matrix notation, independently of the indices above.

# %%
for gate in cells.GATES:
    for size in sizes:
        written = symbolic.explicit(gate, size)
        difference = (
            written.update.jacobian(written.state)
            - written.leak
            - written.recurrent
            - written.gate
        )
        record.check(
            f"entries-{gate}-n{size}",
            "C2",
            rf"all {size * size} entries of $J - \Lambda - R - G$ vanish, {gate}, $n = {size}$",
            difference.applyfunc(sp.expand) == sp.zeros(size, size),
            kind="symbolic",
        )

# %% [markdown]
# For two neurons the matrices fit on a page. This is the gate term of the scalar gate; its columns are multiples of each
# other, which brings us to its rank.

# %%
two = symbolic.explicit("scalar", 2)
short = {two.gate.atoms(symbolic.sigmoid).pop(): sp.Symbol("g")}
for i, argument in enumerate(sorted(two.recurrent.atoms(sp.tanh), key=str)):
    short[argument] = sp.Symbol(f"varphi_{i}")
display(sp.Eq(sp.Symbol("G"), two.gate.subs(short), evaluate=False))

# %% [markdown]
# ## The scalar gate adds one direction
#
# :::{prf:proposition} Rank of the scalar gate's term
# :label: prop-rank
#
# The gate term of the scalar gate has rank at most one, for every $n$: $G_t = v_t\, w_{rg}^\top$ with
# $v_t = g_t (1 - g_t)(\varphi_t - x_{t-1})$. Its rank is one unless $w_{rg} = 0$ or $\varphi_t = x_{t-1}$.
# :::
#
# *Proof.* A matrix has rank at most one exactly if all its 2-by-2 minors vanish. Take any two rows $q, q'$ and any two
# columns $p, p'$, as symbols:

# %%
q2, p2 = sp.Idx("q'", n), sp.Idx("p'", n)


def minor(entry: sp.Expr) -> sp.Expr:
    """The 2-by-2 minor of a matrix given by its entry (q, p), for symbolic rows q, q' and columns p, p'."""

    def at(row: sp.Idx, column: sp.Idx) -> sp.Expr:
        return entry.subs({q: row, p: column}, simultaneous=True)

    return sp.expand(at(q, p) * at(q2, p2) - at(q, p2) * at(q2, p))


scalar_minor, multi_minor = (
    minor(symbolic.closed_form(gate).gate) for gate in ("scalar", "multi")
)
record.check(
    "rank-one",
    "C2",
    "every 2-by-2 minor of the scalar gate's term vanishes",
    scalar_minor == 0,
    kind="symbolic",
)
record.check(
    "rank-multi",
    "C2",
    "those of the multi gate's term do not",
    multi_minor != 0,
    kind="symbolic",
)

# %% [markdown]
# The entry itself is a product of three factors, and vanishes only with one of them: $g(1-g)$ never does, since a logistic
# function takes neither the value 0 nor 1; so the term is zero only where $w_{rg}$ or $\varphi - x$ is.

# %%
entry = symbolic.closed_form("scalar").gate
direction = (
    symbolic.gate("scalar") * (1 - symbolic.gate("scalar")) * (phi_q - symbolic.x[q])
)
factored = sp.simplify(entry / symbolic.w_rg[p] - direction) == 0 and not direction.has(
    p
)
record.check(
    "outer-product",
    "C2",
    r"$G^{qp} = v^q\, w_{rg}^p$ with $v$ free of $p$",
    factored,
    kind="symbolic",
)
positive = (
    sp.simplify(logistic.rewrite(sp.exp)).is_positive
    and sp.simplify((1 - logistic).rewrite(sp.exp)).is_positive
)
record.check(
    "never-shut",
    "C2",
    r"$0 < \sigma(z) < 1$ for every real $z$",
    bool(positive),
    kind="symbolic",
)

# %% [markdown]
# ## Three terms, three roles
#
# **Leak** $\Lambda_t$ is diagonal: each neuron passes its own past on, scaled by what its gate keeps. It has no weights in
# it. A product of leaks over a stretch of time is the time-scale of {ref}`ch-time-scales`.
#
# **Recurrent** $R_t$ is the vanilla network's Jacobian $D_t W_r$, written with the gate: row $q$ is scaled by $g^q$.
#
# **Gate** $G_t$ is there because the gate reads the state. It is the only term that knows the gate's weights
# $W_{rg}$, and it is exactly what is lost if the gate is treated as a given number:

# %%
for gate in ("scalar", "multi"):
    g = sp.Symbol("g") if gate == "scalar" else sp.IndexedBase("g")[q]
    frozen = ((1 - g) * symbolic.x[q] + g * phi_q).diff(symbolic.x[p]).doit()
    frozen = frozen.replace(
        lambda e: isinstance(e, sp.Piecewise), lambda e: e.args[0].expr
    )
    rest = sp.expand(
        derived[gate]
        - frozen.subs(g, symbolic.gate(gate))
        - symbolic.closed_form(gate).gate
    )
    record.check(
        f"frozen-{gate}",
        "C2",
        f"a gate held fixed loses $G$ and nothing else, {gate}",
        rest == 0,
        kind="symbolic",
    )

# %% [markdown]
# The limits tell the same story. With the gate fully open the network is vanilla; with the gate shut nothing is
# written and $J = I$; and in both limits the gate's own sensitivity is gone, since $g(1-g)$ vanishes at both ends and is
# largest in between, at $g = 1/2$.

# %%
gate_symbol = sp.Symbol("g", real=True)
terms = [
    symbolic.abbreviate(t, "scalar").subs(sp.Symbol("g"), gate_symbol)
    for t in symbolic.closed_form("scalar")
]
delta, slope = sp.KroneckerDelta(q, p), 1 - sp.IndexedBase("phi")[q] ** 2
opened, shut = ([t.subs(gate_symbol, value) for t in terms] for value in (1, 0))
record.check(
    "open",
    "C2",
    "gate open: $J = D W_r$",
    opened == [0, slope * symbolic.W_r[q, p], 0],
    kind="symbolic",
)
record.check("shut", "C2", "gate shut: $J = I$", shut == [delta, 0, 0], kind="symbolic")
bump = gate_symbol * (1 - gate_symbol)
peak = sp.solve(bump.diff(gate_symbol), gate_symbol)
largest = peak == [sp.Rational(1, 2)] and bump.diff(gate_symbol, 2) < 0
record.check(
    "half-open",
    "C2",
    "$g(1-g)$ is largest at $g = 1/2$",
    bool(largest),
    kind="symbolic",
)

# %% [markdown]
# ## What they look like
#
# {numref}`fig-three-terms` draws the terms of one step of a multi-gate network with random weights. The library computes
# them by {eq}`eq-jacobian`; `jacobian.terms` is a transcription of the theorem into three lines of torch.

# %%
where = devices.resolve(device)
worst = 0.0
for gate in cells.GATES:
    for seed in range(seeds):
        draw = torch.Generator().manual_seed(seed)
        alpha = 0.3 if gate == "constant" else None
        model = cells.GatedRNN(
            3,
            n_drawn,
            gate,
            alpha=alpha,
            generator=draw,
            dtype=torch.float64,
            device=where,
        )
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1.5)  # strong enough weights for every term to be visible
            run = model.run(
                torch.randn(8, 3, generator=draw, dtype=torch.float64).to(where)
            )
            terms, blocks = jacobian.terms(model, run), jacobian.blocks(model, run)
        worst = max(worst, float((sum(terms) - blocks).abs().max()))
        if (gate, seed) == ("multi", 0):
            leak, recurrent, gate_term, J = (
                matrix[-1].cpu() for matrix in (*terms, blocks)
            )
record.check(
    "sum-of-terms",
    "C2",
    r"the library's three terms add up to its $J$, every gate and seed",
    worst,
    1e-15,
)

# %% tags=["hide-input"]
parts = {
    r"leak $\Lambda_t$": leak,
    r"recurrent $R_t$": recurrent,
    r"gate $G_t$": gate_term,
    r"Jacobian $J_t$": J,
}
limit = max(float(part.abs().max()) for part in parts.values())
with figures.style():
    fig, axes = plt.subplots(1, 4, figsize=(8.2, 2.35), sharey=True)
    for ax, (name, part), sign in zip(
        axes, parts.items(), ("+", "+", "=", ""), strict=True
    ):
        norm = mpl.colors.AsinhNorm(linear_width=0.05, vmin=-limit, vmax=limit)
        image = ax.imshow(part, cmap=figures.DIVERGING, norm=norm)
        ax.set(
            title=name,
            xlabel="from neuron $p$",
            xticks=[0, n_drawn - 1],
            yticks=[0, n_drawn - 1],
        )
        ax.grid(False)
        ax.text(
            1.09,
            0.5,
            sign,
            transform=ax.transAxes,
            ha="center",
            va="center",
            fontsize=15,
        )
    axes[0].set_ylabel("to neuron $q$")
    fig.colorbar(
        image, ax=axes, label="entry", ticks=[-0.5, -0.1, 0, 0.1, 0.5], format="{x:g}"
    )
entries = pd.concat(
    pd.DataFrame(part.numpy())
    .stack()
    .rename("value")
    .rename_axis(["q", "p"])
    .reset_index()
    .assign(term=term)
    for term, part in zip(
        ("leak", "recurrent", "gate", "jacobian"), parts.values(), strict=True
    )
)
figures.save(
    fig, "three-terms", entries[["term", "q", "p", "value"]],
    caption="One step of a multi-gate network with random weights. The leak is diagonal; the recurrent term carries the "
    "pattern of $W_r$, each row scaled by its gate; the gate term carries that of $W_{rg}$. All panels share one colour scale, stretched around zero.",
    alt="Four square heat maps on one colour scale, joined by plus and equals signs. The first has entries on its diagonal "
    "only. The second and third are full, with a visible row structure; the third is fainter. The fourth is their sum.",
    chapter="02-exact-jacobians", out=out,
)  # fmt: skip

# %% tags=["hide-input"]
share = {
    name: float(torch.linalg.matrix_norm(part, 2))
    for name, part in zip(("leak", "recurrent", "gate"), parts.values(), strict=False)
}
record.number(
    "gate-share", share["gate"] / float(torch.linalg.matrix_norm(leak + recurrent, 2))
)
Markdown(
    f"In this one step the gate term has {record.numbers['gate-share']['text']} times the spectral norm of the other two "
    "together. Whether it stays small in trained networks on real sequences is a question for measurement, not for "
    "algebra; {ref}`ch-agreement` takes a first look."
)

# %% [markdown]
# ## What was proved
#
# Every row of {numref}`tab-02-exact-jacobians-validation` is a cell above. Symbolic rows are identities: their value is 0
# if SymPy reduced the difference to zero, and there is no rounding to tolerate.

# %% tags=["hide-input"]
record.validation(
    caption="The checks of this chapter: the exact Jacobians of claim C2."
)

# %% [markdown]
# ## Try it
#
# 1. *A fifth gate.* Couple the gates in pairs: neurons $2k$ and $2k+1$ share one. What rank can the gate term have?
# 2. *Another nonlinearity.* Replace $\tanh$ by a function that you like. Which of the three terms change?
# 3. *A larger network.* Set `sizes = [2, 3, 4]` in the parameters cell. What does SymPy's work grow with?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 1: a fifth gate"}
# 1. Rows 2k and 2k+1 of W_rg are equal, so the gate term is a row-scaled matrix with n/2 different rows: rank n/2.
paired = symbolic.explicit("multi", 4)
tie = {
    sp.Symbol(f"W_rg_{2 * k + 1}{j}"): sp.Symbol(f"W_rg_{2 * k}{j}")
    for k in range(2)
    for j in range(4)
}
ties = tie | {
    sp.Symbol(f"W_ig_{2 * k + 1}"): sp.Symbol(f"W_ig_{2 * k}") for k in range(2)
}
numbers = {
    s: sp.Rational((7 * i) % 11 - 5, 9)
    for i, s in enumerate(sorted(paired.gate.free_symbols, key=str))
}
paired_term = sp.Matrix(
    4, 4, [entry.subs(ties).subs(numbers).evalf(30) for entry in paired.gate]
)
rank = paired_term.rank(iszerofunc=lambda e: abs(e) < 1e-20)
record.check(
    "exercise-pairs",
    "C2",
    "gates shared by pairs of four neurons: rank two, not four",
    abs(rank - 2),
)

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 2: another nonlinearity"}
# 2. For any φ the recurrent term has φ'(a) and the gate term φ(a); the leak does not know φ.
f = sp.Function("f")
general = symbolic.update("multi").replace(sp.tanh, f).diff(symbolic.x[p]).doit()
general = general.replace(
    lambda e: isinstance(e, sp.Piecewise), lambda e: e.args[0].expr
)
a = symbolic.preactivation()
dummy = sp.Dummy("a")
slope_f = f(dummy).diff(dummy).subs(dummy, a)
claimed = (
    sp.KroneckerDelta(q, p) * (1 - g_q) + g_q * slope_f * symbolic.W_r[q, p]
    + g_q * (1 - g_q) * (f(a) - symbolic.x[q]) * symbolic.W_rg[q, p]
)  # fmt: skip
statement = r"the theorem holds for any differentiable $\varphi$"
record.check(
    "exercise-phi",
    "C2",
    statement,
    sp.expand((general - claimed).doit()) == 0,
    kind="symbolic",
)

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 3: a larger network"}
# 3. With the number of entries, n², times the length of each, which grows with n: about n³. The index proof does not grow.
pd.DataFrame(
    [
        {
            "n": size,
            "operations in J": int(
                sum(e.count_ops() for e in written.update.jacobian(written.state))
            ),
        }
        for size in (1, 2, 3, 4)
        for written in [symbolic.explicit("multi", size)]
    ]
)

# %% tags=["remove-cell"]
record.close()
