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
# (ch-products)=
# # Products of Jacobians, expanded
#
# A push of the state at step $k$ arrives at step $t$ multiplied by one Jacobian for every step between. We call that
# product the **transport**,
#
# $$ M_{t,k} = J_t\, J_{t-1} \cdots J_{k+1}, $$ (eq-transport)
#
# with the newest factor on the left, $M_{k,k} = I$, and the lag $\ell = t - k$. Gradients through time are sums of such products, so whoever wants to know what
# a gate does to learning must know what it does to them. {ref}`ch-jacobians` found that each factor is a sum,
# $J = \Lambda + R + G$. A product of sums is a sum of products, and a long one: this chapter sorts it, finds one sweep
# that computes all of it, sorted by how often the correction enters, says exactly what is left out when one stops early, and then reads the first
# two orders as a statement about time-scales {cite}`livi2025timescale`.
#
# Matrices do not commute, and neither do the symbols here: SymPy {cite}`meurer2017sympy` keeps the factors in their
# order. Proved below: claims C3, C4, C5 and C6 of the {ref}`notation page <notation>`. Whether the expansion is any
# *good*, which no algebra can tell, is the question of {ref}`ch-validity`.

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters"}
profile = "ci"
seeds = 3  # random networks for each gate, and trained networks for each gate
device = "auto"
out = "../artifacts/draft/04-products-expanded"
longest_word = 6  # lags up to this one are multiplied out by brute force
n = 9  # neurons of the random networks
T = 12  # and their steps
n_hidden = 32  # neurons of the networks that read digits
training_steps = 150
probes = 16  # digits along which the trained networks are measured
drawn_lag = 16  # the lag of the last figure

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the imports, and how this chapter proves"}
from itertools import product as every
from math import comb, log10

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import sympy as sp
import torch
from gatelr import cells, expansion, jacobian, tasks, training
from gatelr import transport as transports
from gatelr.record import devices, figures, ledger
from IPython.display import Markdown, Math, display
from torch import Tensor

TITLE = "Products of Jacobians, expanded"
parameters = {
    "profile": profile, "seeds": seeds, "device": device, "longest_word": longest_word,
    "n": n, "T": T, "n_hidden": n_hidden, "training_steps": training_steps,
    "probes": probes, "drawn_lag": drawn_lag,
}  # fmt: skip
record = ledger.Ledger("04-products-expanded", TITLE, out, parameters)
where = devices.resolve(device)


def prove(name: str, claim: str, statement: str, *facts: bool, note: str = "") -> None:
    """Put a statement on record as proved if all its facts hold."""
    record.check(name, claim, statement, all(facts), kind="symbolic", note=note)


# %% [markdown]
# ## Words
#
# Split every Jacobian into a part $A_j$ that we keep and a part $B_j$ that we treat as a correction, and put a
# bookkeeping number $\varepsilon$ in front of the correction:
#
# $$ J_j(\varepsilon) = A_j + \varepsilon B_j . $$ (eq-split)
#
# The true Jacobian is at $\varepsilon = 1$; at $\varepsilon = 0$ only $A$ is left. Multiplying out $\ell$ such
# factors gives $2^\ell$ **words** of $\ell$ letters, $A$ or $B$ at each step, and $\varepsilon$ counts the letters $B$.
# All words with $r$ of them together are the **order** $r$, written $M^{(r)}$.

# %% tags=["hide-input"]
lag = 4
words = sorted(every("AB", repeat=lag), key=lambda word: (word.count("B"), word))
rows = []
with figures.style():
    fig, ax = plt.subplots(figsize=(7.2, 2.2))
    height = dict.fromkeys(range(lag + 1), 0)
    for word in words:
        order = word.count("B")
        row, height[order] = height[order], height[order] + 1
        for place, letter in enumerate(word):
            hue = figures.PALETTE["blue" if letter == "A" else "vermilion"][0]
            left, bottom = order * (lag + 1.2) + place, -row
            ax.add_patch(
                mpl.patches.FancyBboxPatch(
                    (left + 0.05, bottom + 0.1), 0.9, 0.8, linewidth=2 if letter == "B" else 0.9, edgecolor=hue,
                    facecolor=mpl.colors.to_rgba(hue, 0.22 if letter == "B" else 0),
                    boxstyle="round,pad=0,rounding_size=0.12",
                )
            )  # fmt: skip
            ax.text(
                left + 0.5, bottom + 0.48, f"${letter}_{lag - place}$", fontsize=9,
                ha="center", va="center", color=figures.INK if letter == "B" else hue,
            )  # fmt: skip
        rows.append({"order": order, "word": "".join(word), "row": row})
    for order in range(lag + 1):
        power = ("1", r"\varepsilon")[order] if order < 2 else rf"\varepsilon^{order}"
        ax.text(
            order * (lag + 1.2) + lag / 2,
            1.3,
            f"order {order}:  ${power}$",
            ha="center",
        )
    ax.set(
        xlim=(-0.2, (lag + 1) * (lag + 1.2) - 1), ylim=(-comb(lag, lag // 2) + 0.9, 1.9)
    )
    ax.set_aspect("equal")
    ax.axis("off")
figures.save(
    fig, "expansion-words", pd.DataFrame(rows),
    caption="The sixteen words of lag 4, newest step on the left, sorted by order: how often the correction $B$ (filled) takes "
    "the place of $A$ (outlined). Order $r$ is the sum of all words in its column.",
    alt="Five columns of words of four letters. Order 0 has one word without B, order 1 has four with the B in each of the four "
    "places, order 2 has six, order 3 has four, and order 4 has the one word of four letters B.",
    chapter="04-products-expanded", out=out,
)  # fmt: skip

# %% [markdown]
# There are too many words to add up one by one at lag 64. There is no need to. Multiplying by one more factor either
# prolongs a word of the same order by $A$, or a word of one order less by $B$:
#
# :::{prf:theorem} Expansion to any order
# :label: thm-expansion
#
# For any square matrices $A_j, B_j$ and any number $\varepsilon$, with $j$ running from $k+1$ to $t$,
# the transport $M_{t,k}(\varepsilon)$ is
#
# $$ \prod_j (A_j + \varepsilon B_j) = \sum_{r=0}^{\ell} \varepsilon^r M^{(r)}_{t,k}, $$ (eq-series)
#
# and one sweep computes all orders, from $M^{(0)}_k = I$ and $M^{(r)}_k = 0$ for $r > 0$:
#
# $$ M^{(r)}_j = A_j\, M^{(r)}_{j-1} + B_j\, M^{(r-1)}_{j-1} . $$ (eq-orders)
#
# Order 1 is the Fréchet derivative of the product in the direction $B$:
#
# $$ M^{(1)}_{t,k} = \sum_{i} \prod_{j>i} A_j \; B_i \prod_{j<i} A_j . $$ (eq-frechet)
# :::
#
# ### By brute force
#
# Up to lag six nothing needs to be believed. On one side SymPy multiplies out the product of symbols that do not commute
# and collects each power of $\varepsilon$; on the other runs the sweep {eq}`eq-orders`, which never sees the product.

# %%
eps = sp.Symbol("varepsilon")
A, B = (
    [sp.Symbol(f"{name}_{j}", commutative=False) for j in range(longest_word + 1)]
    for name in "AB"
)  # index 0 is not used: the first factor is A_1 + ε B_1


def multiplied_out(lag: int) -> sp.Expr:
    """All words of the product, newest factor on the left."""
    return sp.expand(sp.Mul(*[A[j] + eps * B[j] for j in range(lag, 0, -1)]))


def sweep(lag: int) -> list[sp.Expr]:
    """Orders 0 … ℓ by the recursion; each is a sum of words."""
    M = [sp.Integer(1)] + [sp.Integer(0)] * lag
    for j in range(1, lag + 1):
        below = [sp.Integer(0), *M[:-1]]
        M = [sp.expand(A[j] * M[r] + B[j] * below[r]) for r in range(lag + 1)]
    return M


for r, order in enumerate(sweep(3)):
    display(Math(rf"M^{{({r})}} = " + sp.latex(order)))

# %%
series = {lag: multiplied_out(lag) for lag in range(1, longest_word + 1)}
swept = {lag: sweep(lag) for lag in series}
for lag, whole in series.items():
    prove(
        f"orders-lag-{lag}",
        "C3",
        rf"all orders of the sweep are the words of the product, $\ell = {lag}$",
        *(sp.expand(whole.coeff(eps, r) - swept[lag][r]) == 0 for r in range(lag + 1)),
        note=f"{2**lag} words",
    )
counted = all(
    len(sp.Add.make_args(order)) == comb(lag, r)
    for lag in swept
    for r, order in enumerate(swept[lag])
)
prove(
    "word-count", "C3", r"order $r$ of lag $\ell$ has $\binom{\ell}{r}$ words", counted
)

# %% [markdown]
# Order 1 as a derivative: SymPy differentiates the product, factors still unexpanded, at $\varepsilon = 0$.

# %%
facts = []
for lag in series:
    factors = sp.Mul(*[A[j] + eps * B[j] for j in range(lag, 0, -1)])
    frechet = sp.Add(
        *(
            sp.Mul(*A[lag:i:-1]) * B[i] * sp.Mul(*A[i - 1 : 0 : -1])
            for i in range(1, lag + 1)
        )
    )
    derivative = factors.diff(eps).subs(eps, 0)
    facts.append(sp.expand(derivative - frechet) == 0)
    facts.append(sp.expand(frechet - swept[lag][1]) == 0)
prove(
    "frechet",
    "C3",
    rf"order 1 is the Fréchet derivative, each lag $\ell \le {longest_word}$",
    *facts,
)

# %% [markdown]
# Would a wrong sweep be noticed? Multiply the correction from the wrong side, $M^{(r-1)}_{j-1} B_j$, as one may when
# thinking of numbers: the words come out scrambled, and what is left over is a commutator.

# %%
wrong = sp.expand(A[2] * B[1] + A[1] * B[2])  # M B in place of B M at the second step
left_over = sp.expand(wrong - swept[2][1])
display(Math(r"\text{left over at lag 2: }\quad " + sp.latex(left_over)))
prove(
    "side-noticed",
    "C3",
    "a factor multiplied from the wrong side leaves $[A_1, B_2]$ over",
    left_over != 0,
    sp.expand(left_over - (A[1] * B[2] - B[2] * A[1])) == 0,
)

# %% [markdown]
# ### For every lag
#
# *Induction.* At lag 0 the product is $I$, which is the start of the sweep. Suppose that the transport to $j-1$ is
# $\sum_r \varepsilon^r M^{(r)}_{j-1}$, with matrices about which nothing else is known. The next factor must then produce
# {eq}`eq-orders`. The cell checks it twice: with generic symbols for series of up to seven terms, and for **symbolic**
# $r$, where the coefficient of $\varepsilon^r$ is a sum over all orders with a Kronecker delta for each letter: $A$ leaves the
# order as it is, $B$ adds one.

# %%
A_j, B_j = A[1], B[1]
facts = []
for K in range(longest_word + 1):
    M = [sp.Symbol(f"M^{{({r})}}", commutative=False) for r in range(K + 1)]
    before = sp.Add(*(eps**r * M[r] for r in range(K + 1)))
    here, below = [*M, 0], [0, *M]  # orders that do not exist are zero
    after = sp.Add(*(eps**r * (A_j * here[r] + B_j * below[r]) for r in range(K + 2)))
    facts.append(sp.expand((A_j + eps * B_j) * before - after) == 0)
prove(
    "step-generic",
    "C3",
    rf"induction step for series up to each order $K \le {longest_word}$, generic terms",
    *facts,
)

# %%
q, i, p, s = sp.symbols("q i p s", integer=True)
r = sp.Symbol("r", integer=True, positive=True)
a, b, M = (sp.IndexedBase(name) for name in "ABM")
one_inner_neuron = sp.Sum(
    a[q, i] * M[s, i, p] * sp.KroneckerDelta(s, r)
    + b[q, i] * M[s, i, p] * sp.KroneckerDelta(s + 1, r),
    (s, 0, sp.oo),
)
collected = one_inner_neuron.doit()
display(
    Math(
        r"[\varepsilon^r]\;\sum_{s} (A + \varepsilon B)^{qi}\, \varepsilon^s "
        r"M^{(s)\,ip} \;=\; A^{qi} M^{(r)\,ip} + B^{qi} M^{(r-1)\,ip}"
    )
)
prove(
    "step-any-order",
    "C3",
    r"the coefficient of $\varepsilon^r$ is $A M^{(r)} + B M^{(r-1)}$, symbolic $r$",
    sp.expand(collected - a[q, i] * M[r, i, p] - b[q, i] * M[r - 1, i, p]) == 0,
    note="entry by entry, inside the sum over the inner neuron i",
)

# %% [markdown]
# With the start and the step, {prf:ref}`thm-expansion` holds for every lag. $\square$
#
# ## What is left out
#
# Stop after order $K$. The rest is
#
# $$ R_K = M(\varepsilon) - \sum_{r \le K} \varepsilon^r M^{(r)}, $$ (eq-rest)
#
# and computing it like that is a trap: for small $\varepsilon$ two nearly equal matrices are subtracted, and what remains is
# rounding. There is no need for a subtraction, since the rest has a sweep of its own.
#
# :::{prf:theorem} The remainder, exactly
# :label: thm-remainder
#
# From $R_K(k) = 0$,
#
# $$
# \begin{aligned}
# R_K(j) ={}& (A_j + \varepsilon B_j)\, R_K(j-1) \\ &{}+ \varepsilon^{K+1} B_j\, M^{(K)}_{j-1} .
# \end{aligned}
# $$ (eq-remainder)
# :::
#
# *Proof.* Let $P$ be the transport to $j-1$, *any* matrix. Put the definition {eq}`eq-rest` on both sides and use
# {eq}`eq-orders` on the left. Both sides must be the same combination of words, for each $K$:

# %%
P = sp.Symbol("P", commutative=False)
facts = []
for K in range(longest_word + 1):
    M = [sp.Symbol(f"M^{{({r})}}", commutative=False) for r in range(K + 1)]
    kept = [A_j * M[r] + B_j * (M[r - 1] if r else 0) for r in range(K + 1)]
    new = (A_j + eps * B_j) * P - sp.Add(*(eps**r * kept[r] for r in range(K + 1)))
    old = P - sp.Add(*(eps**r * M[r] for r in range(K + 1)))
    claimed = (A_j + eps * B_j) * old + eps ** (K + 1) * B_j * M[K]
    facts.append(sp.expand(new - claimed) == 0)
prove(
    "remainder-step",
    "C4",
    rf"the remainder's recursion for generic matrices, each $K \le {longest_word}$",
    *facts,
)
prove(
    "remainder-power-noticed",
    "C4",
    r"with $\varepsilon^K$ in place of $\varepsilon^{K+1}$ it would not hold",
    sp.expand(new - claimed + (eps ** (K + 1) - eps**K) * B_j * M[K]) != 0,
)

# %% [markdown]
# The base case is $R_K(k) = I - I = 0$. The sums telescope in the same way for every $K$: of
# $\sum_{r \le K} \varepsilon^{r+1} B M^{(r)}$ on one side and $\sum_{r \le K} \varepsilon^r B M^{(r-1)}$ on the other only the last
# term of the first has no partner, and that is the term that feeds the remainder. As a second pair of eyes, the sweep
# run from its start against the words that order $K$ leaves out:


# %%
def left_out(lag: int, K: int) -> sp.Expr:
    """R_K by its recursion."""
    R, M = sp.Integer(0), [sp.Integer(1)] + [sp.Integer(0)] * K
    for j in range(1, lag + 1):
        R = sp.expand((A[j] + eps * B[j]) * R + eps ** (K + 1) * B[j] * M[K])
        M = [
            sp.expand(A[j] * M[r] + B[j] * (M[r - 1] if r else 0)) for r in range(K + 1)
        ]
    return R


cases = [(lag, K) for lag in range(1, 6) for K in range(lag + 2)]
rest = {
    (lag, K): sp.Add(*(eps**r * swept[lag][r] for r in range(K + 1, lag + 1)))
    for lag, K in cases
}
prove(
    "remainder-words",
    "C4",
    r"the recursion gives the words of orders above $K$ and no other, $\ell \le 5$",
    *(sp.expand(left_out(*case) - rest[case]) == 0 for case in cases),
    note=f"{len(cases)} pairs of lag and order",
)
prove(
    "remainder-leading",
    "C4",
    r"$R_K = \varepsilon^{K+1} M^{(K+1)} + O(\varepsilon^{K+2})$",
    *(
        sp.expand(left_out(lag, K).coeff(eps, K + 1) - swept[lag][K + 1]) == 0
        for lag, K in cases
        if lag > K
    ),
    *(left_out(lag, K) == 0 for lag, K in cases if lag <= K),
    note="and zero from K = ℓ on: the series ends",
)

# %% [markdown]
# ### A certified bound
#
# The sweep also says how large the remainder *can* be. Replace every matrix by its norm, every equation by the triangle
# inequality and $\|XY\| \le \|X\|\,\|Y\|$:
#
# :::{prf:theorem} Certified bound
# :label: thm-bound
#
# With $a_j = \|A_j\|$, $b_j = \|B_j\|$ in any norm with $\|XY\| \le \|X\| \|Y\|$ and $\|I\| = 1$, let
#
# $$
# \begin{aligned}
# m^{(r)}_j ={}& a_j m^{(r)}_{j-1} + b_j m^{(r-1)}_{j-1}, \\
# \rho_j ={}& (a_j + |\varepsilon| b_j)\, \rho_{j-1} \\ &{}+ |\varepsilon|^{K+1} b_j\, m^{(K)}_{j-1},
# \end{aligned}
# $$ (eq-bound)
#
# from $m^{(0)} = 1$, all others 0. Then $\|M^{(r)}_j\| \le m^{(r)}_j$ and $\|R_K(j)\| \le \rho_j$.
# :::
#
# *Proof.* Induction over $j$. Suppose that the bounds hold at $j-1$ with some slack, $\|R_K\| = \rho - s$,
# $\|M^{(r)}\| = m^{(r)} - s_r$, slacks not negative. What the two inequalities give at $j$ is then the right-hand sides of
# {eq}`eq-bound` *minus* products of numbers that are not negative:

# %%
a_j, b_j, e, rho, slack = sp.symbols("a b e rho s", nonnegative=True)
m_r, m_below, s_r, s_below = sp.symbols("m m_1 s_r s_1", nonnegative=True)
sure_M = a_j * (m_r - s_r) + b_j * (m_below - s_below)
gap_M = sp.expand(a_j * m_r + b_j * m_below - sure_M)
display(Math(r"m_j - \|\cdot\|:\quad " + sp.latex(gap_M)))
facts = [gap_M.is_nonnegative]
for K in range(longest_word + 1):
    sure = (a_j + e * b_j) * (rho - slack) + e ** (K + 1) * b_j * (m_r - s_r)
    gap = sp.expand((a_j + e * b_j) * rho + e ** (K + 1) * b_j * m_r - sure)
    facts.append(gap.is_nonnegative)
display(Math(rf"\rho_j - \|\cdot\|:\quad {sp.latex(gap)} \qquad (K = {K})"))
prove(
    "bound-step",
    "C4",
    r"the slack of the bound stays a sum of products of nonnegative numbers, $K \le 6$",
    *(fact is True for fact in facts),
)
prove(
    "bound-sign-noticed",
    "C4",
    "with a sign turned, SymPy does not call the slack nonnegative",
    sp.expand(gap - 2 * e * b_j * slack).is_nonnegative is not True,
)

# %% [markdown]
# The library follows {eq}`eq-orders`, {eq}`eq-remainder` and {eq}`eq-bound` line by line. Random matrices try to break the bound:
# lags, sizes, orders and $\varepsilon$ over thirteen decades. Numbers that are positive attain it, so a bound
# that was any smaller would fail here; the cell makes it smaller to see.

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that tries to break the bound"}
SIZES, LAGS, ORDERS = (1, 2, 5), (1, 2, 4, 8), (0, 1, 2, 3)
SCALES = (1e-12, 1e-6, 1e-2, 1.0, 10.0)
draw = torch.Generator().manual_seed(0)
frames = []
for size, lag, K, scale in every(SIZES, LAGS, ORDERS, SCALES):
    shape = (lag, 20, size, size)
    X, Y = (torch.randn(shape, generator=draw, dtype=torch.float64) for _ in "AB")
    Y[:, ::2] = Y[:, ::2].abs()  # half the cases without cancellation
    X[:, ::2] = X[:, ::2].abs()
    norm = torch.linalg.matrix_norm(expansion.remainder(X, Y, K, scale), 2)
    bound = expansion.remainder_bound(X, Y, K, scale)
    frames.append(pd.DataFrame({"size": size, "lag": lag, "K": K, "eps": scale,
                                "norm": norm, "bound": bound}))  # fmt: skip
trials = pd.concat(frames, ignore_index=True)
record.number("bound-cases", len(trials))
excess = float((trials.norm - trials.bound * (1 + 1e-12)).max())
record.check(
    "bound-holds",
    "C4",
    rf"$\|R_K\| \le \rho$ in each of {len(trials)} random cases",
    bool((trials.norm <= trials.bound * (1 + 1e-12)).all()) and len(trials) >= 1000,
    note="1e-12 relative for the rounding of both sides",
)
beyond = trials[trials.norm > 0]
record.check(
    "bound-attained",
    "C4",
    "positive numbers attain the bound; one that is 1 % smaller would be violated",
    bool((beyond.norm > 0.99 * beyond.bound).any()),
)
shown = beyond.assign(used=beyond.norm / beyond.bound).groupby(["size", "lag"]).used
Markdown(
    "How much of the bound the remainder uses, median over all cases: "
    + "; ".join(
        f"{size} by {size}: "
        + ", ".join(f"{shown.median()[size, lag]:.2f} (lag {lag})" for lag in LAGS)
        for size in SIZES
    )
    + "."
)

# %% [markdown]
# ## Two splittings
#
# The theorems hold for *any* two parts. Two choices mean something (claim C5):
#
# :::{prf:definition} Leak splitting and gate splitting
# :label: def-splittings
#
# * **Leak splitting**: $A = \Lambda$, $B = R + G$. Order 0 is what the time-scales carry alone; each higher order lets the
#   signal pass once more from neuron to neuron.
# * **Gate splitting**: $A = \Lambda + R$, $B = G$. Order 0 treats the gates as given numbers; each higher order uses once
#   more that the gate itself reads the state. This is the perturbation of {cite}`livi2025timescale`.
# :::
#
# In the library they are `expansion.split(terms, "leak")` and `expansion.split(terms, "gate")`. Nothing may get lost: the
# parts must add to $J$, and all orders up to the lag to the transport.

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that adds up parts and orders in random networks"}
KINDS = {
    "none": ("none", None),
    "constant": ("constant", 0.3),
    "constant, one per neuron": ("constant", torch.linspace(0.05, 0.95, n)),
    "scalar": ("scalar", None),
    "multi": ("multi", None),
}


def random_network(gate: str, alpha: float | Tensor | None) -> tuple:
    """A network of this kind for every seed, and a run of each along random inputs."""
    draws = [torch.Generator().manual_seed(seed) for seed in range(seeds)]
    model = cells.GatedRNN(
        3, n, gate, alpha=alpha, bias=True, replicas=seeds, generator=draws,
        dtype=torch.float64, device=where,
    )  # fmt: skip
    u = torch.randn(T, seeds, 2, 3, generator=draws[0], dtype=torch.float64)
    with torch.no_grad():
        return model, model.run(u.to(where))


def relative(X: Tensor, reference: Tensor) -> float:
    """The largest difference, over the largest entry."""
    return float((X - reference).abs().max() / reference.abs().max())


runs = {kind: random_network(*options) for kind, options in KINDS.items()}
terms, J, M = {}, {}, {}
with torch.no_grad():
    for kind, (model, run) in runs.items():
        terms[kind], J[kind] = jacobian.terms(model, run), jacobian.blocks(model, run)
        M[kind] = transports.products(J[kind], T)[0]
for splitting in expansion.SPLITTINGS:
    parts = {kind: expansion.split(terms[kind], splitting) for kind in KINDS}
    record.check(
        f"parts-{splitting}",
        "C5",
        f"$A + B = J$, all gates, {splitting} splitting",
        max(relative(sum(parts[kind]), J[kind]) for kind in KINDS),
        1e-14,
    )
    totals = {kind: expansion.orders(*parts[kind], T).sum(0) for kind in KINDS}
    record.check(
        f"series-{splitting}",
        "C3",
        f"all {T + 1} orders of lag {T} add to the transport, {splitting} splitting",
        max(relative(totals[kind], M[kind]) for kind in KINDS),
        1e-12,
    )

# %% [markdown]
# ## The leak splitting in closed form
#
# The leak is diagonal, and diagonal matrices multiply like numbers. So the first two orders can be written down. Let
#
# $$ P^q_{t,k} = \prod_{j=k+1}^{t} (1 - g^q_j) $$ (eq-retention)
#
# be what neuron $q$ keeps from step $k$ to step $t$.
#
# :::{prf:theorem} Leak splitting in closed form
# :label: thm-leak
#
# For every number of neurons and every lag, $M^{(0)}_{t,k} = \operatorname{diag}(P_{t,k})$ and
#
# $$
# \big[M^{(1)}_{t,k}\big]_{qp} = \sum_{i=k+1}^{t} P^q_{t,i}\; [R_i + G_i]_{qp}\; P^p_{i-1,k} .
# $$ (eq-leak-order-one)
# :::
#
# Read it from the right: the push waits in neuron $p$, losing what $p$'s gate overwrites; at *one* step $i$ it crosses to
# neuron $q$; there it waits out the rest on $q$'s clock. All possible steps of crossing are added up.
#
# *Proof*, for symbolic $n$. First the collapse: with $A^{qr} = \lambda^q \delta^{qr}$ and
# $M^{(0)\,rp} = \delta^{rp} P^p$, both products of {eq}`eq-orders` lose their sum over neurons. As in {ref}`ch-jacobians`, the condition
# that $q$ and $p$ number a neuron holds and is dropped.

# %%
size = sp.Symbol("n", integer=True, positive=True)
q, p, r = (sp.Idx(name, size) for name in "qpr")
lam, P, M_1, b = (sp.IndexedBase(name) for name in ("lambda", "P", "M", "B"))


def over_neurons(summand: sp.Expr) -> sp.Expr:
    """Sum over r = 0 … n-1, with q and p known to be neurons."""
    total = sp.Sum(summand, (r, 0, size - 1)).doit()
    inside = {size >= q + 1, size >= p + 1}
    return total.replace(
        lambda x: isinstance(x, sp.Piecewise) and x.args[0].cond in inside,
        lambda x: x.args[0].expr,
    )


def delta(u: sp.Idx, v: sp.Idx) -> sp.Expr:
    return sp.KroneckerDelta(u, v)


order_0 = over_neurons(lam[q] * delta(q, r) * delta(r, p) * P[p])
order_1 = over_neurons(lam[q] * delta(q, r) * M_1[r, p]) + over_neurons(
    b[q, r] * delta(r, p) * P[p]
)
display(Math(r"\sum_r A^{qr} M^{(0)\,rp} = " + r"\delta^{qp}\,\lambda^q P^p"))
display(Math(r"M^{(1)\,qp}_j = \lambda^q M^{(1)\,qp}_{j-1} + B^{qp} P^p"))
prove(
    "collapse-order-0",
    "C6",
    r"$(A M^{(0)})^{qp} = \delta^{qp} \lambda^q P^p$: order 0 stays diagonal, any $n$",
    sp.expand(order_0 - delta(q, p) * lam[q] * P[p]) == 0,
)
prove(
    "collapse-order-1",
    "C6",
    r"$M_j^{(1)\,qp} = \lambda^q M_{j-1}^{(1)\,qp} + B^{qp} P^p$, any $n$",
    sp.expand(order_1 - lam[q] * M_1[q, p] - b[q, p] * P[p]) == 0,
)

# %% [markdown]
# Order 0 is thus the running product {eq}`eq-retention`. For order 1 the sum {eq}`eq-leak-order-one` must obey the collapsed sweep. One
# step on, each old term ($i < j$) must gain exactly the factor $\lambda_j^q$, and the new term ($i = j$) must be
# $B_j^{qp} P^p_{j-1,k}$. With running products $\Pi_j = \Pi_{j-1}\,\lambda_j$ from the start of the sequence,
# $P_{j,i} = \Pi_j / \Pi_i$, both are checked for symbolic $i$, $j$, $k$; then the sweep is run against the sum for each explicit lag.

# %%
i, j, k = sp.symbols("i j k", integer=True)
Pi_q, Pi_p = sp.Function("Pi^q"), sp.Function("Pi^p")
lam_q, lam_p, b_qp = (sp.Function(f) for f in ("lambda^q", "lambda^p", "B^{qp}"))


def term(j: sp.Expr, i: sp.Expr) -> sp.Expr:
    """The crossing at step i, seen from step j."""
    return Pi_q(j) / Pi_q(i) * b_qp(i) * Pi_p(i - 1) / Pi_p(k)


running = {Pi_q(j): Pi_q(j - 1) * lam_q(j)}
prove(
    "order-1-old-terms",
    "C6",
    r"each old crossing gains the factor $\lambda_j^q$, symbolic lag",
    sp.simplify((term(j, i) - lam_q(j) * term(j - 1, i)).subs(running)) == 0,
)
prove(
    "order-1-new-term",
    "C6",
    r"the new crossing is $B_j^{qp} P^p_{j-1,k}$, symbolic lag",
    sp.simplify(term(j, j) - b_qp(j) * Pi_p(j - 1) / Pi_p(k)) == 0,
)


def written_sum(lag: int) -> sp.Expr:
    """The closed form with k = 0, all products written out."""
    kept = [
        sp.Mul(*(lam_q(h) for h in range(i + 1, lag + 1)))
        * b_qp(i)
        * sp.Mul(*(lam_p(h) for h in range(1, i)))
        for i in range(1, lag + 1)
    ]
    return sp.Add(*kept)


value, facts = sp.Integer(0), []
for lag in range(1, longest_word + 1):
    waited = sp.Mul(*(lam_p(h) for h in range(1, lag)))
    value = sp.expand(lam_q(lag) * value + b_qp(lag) * waited)
    facts.append(sp.expand(value - written_sum(lag)) == 0)
prove(
    "order-1-explicit",
    "C6",
    rf"the collapsed sweep gives the closed form, any $n$, $\ell \le {longest_word}$",
    *facts,
)

# %% [markdown]
# And once more with nothing collapsed: explicit matrices of symbols, multiplied as matrices, entry by entry.

# %%
for size_n, lag in ((2, 2), (2, 4), (3, 2), (3, 4)):
    leak = [sp.symbols(f"l_{j}_:{size_n}") for j in range(lag)]
    corr = [
        sp.Matrix(size_n, size_n, sp.symbols(f"b_{j}_:{size_n}_:{size_n}"))
        for j in range(lag)
    ]
    M_0, M_1 = sp.eye(size_n), sp.zeros(size_n, size_n)
    for l_j, b_j in zip(leak, corr, strict=True):
        M_0, M_1 = sp.diag(*l_j) * M_0, sp.diag(*l_j) * M_1 + b_j * M_0

    def kept(neuron: int, first: int, last: int, leak: list = leak) -> sp.Expr:
        return sp.Mul(*(leak[h][neuron] for h in range(first, last)))

    closed = sp.Matrix(
        size_n,
        size_n,
        lambda q, p: sum(
            kept(q, i + 1, lag) * corr[i][q, p] * kept(p, 0, i)  # noqa: B023
            for i in range(lag)  # noqa: B023
        ),
    )
    prove(
        f"entries-n{size_n}-lag-{lag}",
        "C6",
        rf"all entries of orders 0 and 1, $n = {size_n}$, $\ell = {lag}$",
        (M_1 - closed).applyfunc(sp.expand) == sp.zeros(size_n, size_n),
        sp.diag(*(kept(q, 0, lag) for q in range(size_n))) == M_0,
    )

# %% [markdown]
# ### Three special cases
#
# With one **constant** $\alpha$, $P_{t,i} = (1-\alpha)^{t-i}$, and the powers left and right of the crossing add up to $\ell - 1$
# wherever it happens. With a **scalar** gate the two waits have the same clock, and together make $P_{t,k}$ but for the step
# of the crossing. Only the **multi** gate, with a clock for each neuron, needs the sum in full.
#
# :::{prf:corollary} Order 1 of the leak splitting
# :label: cor-leak
#
# $$
# \begin{aligned}
# &\text{constant:} \\ &\quad (1-\alpha)^{\ell-1}\, \alpha \textstyle\sum_i D_i W_r \\
# &\text{scalar:} \\ &\quad P_{t,k} \textstyle\sum_i (R_i + G_i)/(1 - g_i) \\
# &\text{multi:} \\ &\quad \textstyle\sum_i P_{t,i} \odot (R_i + G_i) \odot P_{i-1,k}^{\top}
# \end{aligned}
# $$ (eq-leak-cases)
#
# where $P_{t,i}$, a column, scales rows, and $P_{i-1,k}^\top$, a row, scales columns.
# :::

# %%
alpha, g = sp.Symbol("alpha", positive=True), sp.Function("g")
lag = sp.Symbol("ell", integer=True, positive=True)
Pi, D_W = sp.Function("Pi"), sp.Function("D")  # D(i) stands for an entry of D_i W_r
constant_term = (1 - alpha) ** (lag - i) * alpha * D_W(i) * (1 - alpha) ** (i - 1)
one_clock = sp.simplify(constant_term / ((1 - alpha) ** (lag - 1) * alpha * D_W(i)))
prove(
    "constant-case",
    "C6",
    r"constant: every crossing weighs $(1-\alpha)^{\ell-1}\alpha$, symbolic lag",
    one_clock == 1,
)
scalar_term = Pi(lag) / Pi(i) * b_qp(i) * Pi(i - 1) / Pi(0)
scalar_term = scalar_term.subs(Pi(i), Pi(i - 1) * (1 - g(i)))
prove(
    "scalar-case",
    "C6",
    r"scalar: a crossing at step $i$ weighs $P_{t,k}/(1-g_i)$, symbolic lag",
    sp.simplify(scalar_term - Pi(lag) / Pi(0) * b_qp(i) / (1 - g(i))) == 0,
)

# %% [markdown]
# A worked case shows what different clocks do. Let each neuron have a constant of its own, keep $\kappa_q = 1 - \alpha_q$, and hold
# $B$ still. Then the sum over crossings is a geometric one:
#
# :::{prf:proposition} The slower of two
# :label: prop-slower
#
# $$ \sum_{i=1}^{\ell} \kappa_q^{\ell-i}\,\kappa_p^{i-1} = \frac{\kappa_q^\ell - \kappa_p^\ell}{\kappa_q - \kappa_p} , $$ (eq-slower)
#
# so that from one lag to the next the coupling of two neurons shrinks, in the limit, by $\max(\kappa_q, \kappa_p)$.
# :::
#
# *Proof.* Multiplied by $\kappa_q - \kappa_p$, each term is a difference of neighbours, and the sum telescopes. The limit follows.

# %%
k_q, k_p, u = sp.symbols("kappa_q kappa_p u", positive=True)


def f(i: sp.Expr) -> sp.Expr:
    return k_q ** (lag - i) * k_p**i


summand = k_q ** (lag - i) * k_p ** (i - 1)
telescopes = sp.powsimp(sp.expand((k_q - k_p) * summand - (f(i - 1) - f(i))))
ends = f(0) - f(lag) - (k_q**lag - k_p**lag)
closed = (k_q**lag - k_p**lag) / (k_q - k_p)
# Let q be the slower, κ_p = κ_q / (1 + u): what one more step leaves of the coupling
one_more = closed.subs(lag, lag + 1) / closed
left = k_q * (1 - (1 + u) ** (-lag - 1)) / (1 - (1 + u) ** (-lag))
display(sp.Eq(sp.Symbol(r"\text{one more step}"), left, evaluate=False))
prove(
    "slower-sum",
    "C6",
    "the sum over crossings telescopes, symbolic lag",
    sp.simplify(telescopes) == 0,
    sp.simplify(ends) == 0,
)
prove(
    "slower-limit",
    "C6",
    "the coupling decays at the pace of the slower neuron",
    sp.simplify(one_more.subs(k_p, k_q / (1 + u)) - left) == 0,
    sp.limit(left, lag, sp.oo) == k_q,
    sp.simplify(closed - closed.subs({k_q: k_p, k_p: k_q}, simultaneous=True)) == 0,
    note="for q the slower; the sum is symmetric in q and p",
)

# %% [markdown]
# So the diagonal of the transport forgets at each neuron's own pace, but a fast neuron that is *coupled* to a slow one, in either
# direction, hears about the distant past at the slow one's pace. Order 0 cannot show that.
#
# ## The gate splitting in closed form
#
# Here $A_j = \Lambda_j + R_j$ is a full matrix, and nothing collapses: with $Q_{t,k} = \prod_j (\Lambda_j + R_j)$, {prf:ref}`thm-expansion` says
#
# $$
# \begin{aligned}
# M^{(0)} &= Q_{t,k}, \\ M^{(1)} &= \textstyle\sum_{i=k+1}^{t} Q_{t,i}\, G_i\, Q_{i-1,k} .
# \end{aligned}
# $$ (eq-gate-cases)
#
# For a scalar gate $G_i = v_i w_{rg}^\top$ has rank one ({prf:ref}`prop-rank`), so its order 1 is a sum of $\ell$ matrices of rank
# one: at short lags, what the gate's sensitivity adds lives in few directions.
#
# ## Symbols and numbers
#
# Now the closed forms as a reader would write them, against the library's sweep, for random networks with each gate.


# %%
def retention(kept: Tensor) -> tuple[Tensor, Tensor]:
    """P_{t,i} after each step i, and P_{i-1,k} before it, from 1 - g, time first."""
    one = torch.ones_like(kept[:1])
    after = torch.cat([kept[1:].flip(0).cumprod(0).flip(0), one])
    before = torch.cat([one, kept[:-1].cumprod(0)])
    return after, before


def leak_order_one(kept: Tensor, B: Tensor) -> Tensor:
    after, before = retention(kept)
    return (after[..., :, None] * B * before[..., None, :]).sum(0)


def product(factors: Tensor) -> Tensor:
    """Time-ordered, newest on the left."""
    M = torch.eye(factors.shape[-1], dtype=factors.dtype, device=factors.device)
    for factor in factors:
        M = factor @ M
    return M


errors = []
with torch.no_grad():
    for kind, (_, run) in runs.items():
        kept = (1 - run.g).expand_as(run.x)
        A_leak, B_leak = expansion.split(terms[kind], "leak")
        A_gate, B_gate = expansion.split(terms[kind], "gate")
        for lag in (1, 2, 5, T):
            swept = expansion.orders(A_leak[:lag], B_leak[:lag], 1)
            row = {"gate": kind, "lag": lag}
            if kind != "none":  # there order 0 is zero, and order 1 too beyond lag 1
                P = torch.diag_embed(kept[:lag].prod(0))
                row["leak, order 0"] = relative(P, swept[0])
                closed = leak_order_one(kept[:lag], B_leak[:lag])
                row["leak, order 1"] = relative(closed, swept[1])
            swept = expansion.orders(A_gate[:lag], B_gate[:lag], 1)
            row["gate, order 0"] = relative(product(A_gate[:lag]), swept[0])
            if kind in ("scalar", "multi"):  # the others have no gate term
                crossings = [
                    product(A_gate[i + 1 : lag]) @ B_gate[i] @ product(A_gate[:i])
                    for i in range(lag)
                ]
                row["gate, order 1"] = relative(sum(crossings), swept[1])
            errors.append(row)
errors = pd.DataFrame(errors)
columns = [c for c in errors if "order" in c]

# %% tags=["hide-input"]
shown = errors.astype({"lag": str})
for column in columns:
    shown[column] = [
        "–" if pd.isna(e) else f"{e:.0e}" if e else "0" for e in errors[column]
    ]
record.table(
    shown, "closed-forms",
    caption="Closed forms of both splittings against the library's sweep, in float64: largest difference over the largest entry. A dash "
    "stands where there is nothing to compare: both sides are zero.",
)  # fmt: skip

# %%
for column in columns:
    splitting, order = column.split(", ")
    claim = "C6" if splitting == "leak" else "C5"
    record.check(
        f"closed-{splitting}-{order.replace(' ', '-')}",
        claim,
        f"{splitting} splitting, {order}: closed form and sweep agree, all gates",
        float(errors[column].max()),
        1e-12,
    )

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that compares the three special cases"}
with torch.no_grad():
    special = {}
    run, alpha_0 = runs["constant"][1], KINDS["constant"][1]
    W_r = runs["constant"][0].W_r.unsqueeze(1)  # a row for each seed, then the batch
    D_W = ((1 - run.phi**2).unsqueeze(-1) * W_r).sum(0)
    special["constant"] = (1 - alpha_0) ** (T - 1) * alpha_0 * D_W
    run, (_, R, G) = runs["scalar"][1], terms["scalar"]
    kept = 1 - run.g.unsqueeze(-1)
    special["scalar"] = kept.prod(0) * ((R + G) / kept).sum(0)
    for kind, closed in special.items():
        swept = expansion.orders(*expansion.split(terms[kind], "leak"), 1)[1]
        record.check(
            f"special-{kind}",
            "C6",
            rf"the special case for the {kind} gate and the sweep agree, lag {T}",
            relative(closed, swept),
            1e-12,
        )
    ranks, lag = {}, 3
    for kind in ("scalar", "multi"):
        A_gate, B_gate = expansion.split(terms[kind], "gate")
        values = torch.linalg.svdvals(
            expansion.orders(A_gate[:lag], B_gate[:lag], 1)[1]
        )
        ranks[kind] = float((values[..., lag] / values[..., 0]).max())
record.check(
    "gate-rank",
    "C5",
    rf"scalar gate, gate splitting: order 1 of lag {lag} has rank at most {lag}",
    ranks["scalar"],
    1e-12,
)
record.check(
    "gate-rank-multi",
    "C5",
    f"that of the multi gate has rank above {lag}",
    ranks["multi"] > 1e-6,
)

# %% [markdown]
# ## In networks at work
#
# How large are the orders in networks that have learned something? As in {ref}`ch-agreement`, networks with each gate learn to
# name handwritten digits read pixel by pixel {cite}`pedregosa2011sklearn`, this time for a shorter while: `training.train` takes
# them there, replica $i$ with weights from seed $i$ and digits from seed $123 + i$. Then the transports along digits that they were
# not trained on are expanded.

# %% tags=["hide-input"]
task = tasks.get("digits")
test = tasks.digits(split="test", device=where)


def learn(gate: str) -> cells.GatedRNN:
    options = {"n_outputs": task.n_outputs, "bias": True, "replicas": seeds}
    options |= {"alpha": 0.1} if gate == "constant" else {}
    model = cells.GatedRNN(
        1,
        n_hidden,
        gate,
        generator=training.generators(range(seeds)),
        device=where,
        **options,
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    training.train(
        model, task, optimiser, training_steps, training.generators(range(seeds), 123)
    )
    return model


gates = ("constant", "scalar", "multi")
trained, digit_runs, digit_terms = {}, {}, {}
seen = test.u[:, :probes].unsqueeze(1).expand(-1, seeds, -1, -1).double()
for gate in gates:
    model = learn(gate)
    with torch.no_grad():
        guessed = model(test.u.unsqueeze(1).expand(-1, seeds, -1, -1)).argmax(-1)
        hits = 100 * float((guessed == test.target).float().mean())
        record.number(f"accuracy-{gate}", hits, f"{hits:.0f}", "%")
        model = model.double()
        digit_runs[gate] = model.run(seen)
        digit_terms[gate] = jacobian.terms(model, digit_runs[gate])
text = {name: entry["text"] for name, entry in record.numbers.items()}
Markdown(
    f"After {training_steps} steps they name {text['accuracy-constant']} % (constant), {text['accuracy-scalar']} % (scalar) and "
    f"{text['accuracy-multi']} % (multi) of new digits; guessing names about one in ten. Not finished networks, but working ones."
)

# %% [markdown]
# {numref}`fig-order-norms` shows the norm of each order beside that of the whole product, at $\varepsilon = 1$.

# %% tags=["hide-input"]
shown_lags, starts, top = (1, 2, 4, 8, 12, 16, 24, 32), (8, 16, 24), 3
frames = []
with torch.no_grad():
    for gate, splitting in every(gates, expansion.SPLITTINGS):
        if (gate, splitting) == ("constant", "gate"):
            continue  # no gate term
        parts = expansion.split(digit_terms[gate], splitting)
        for lag in shown_lags:
            A_w, B_w = (
                torch.stack([part[k : k + lag] for k in starts], 1) for part in parts
            )
            M_r = expansion.orders(A_w, B_w, top)
            whole = transports.spectral_norm(product(A_w + B_w))
            sizes = transports.spectral_norm(M_r) / whole
            frames += [
                {"gate": gate, "splitting": splitting, "lag": lag, "order": order,
                 "relative norm": float(sizes[order].median())}
                for order in range(top + 1)
            ]  # fmt: skip
norms = pd.DataFrame(frames)
lines = ["-", "--", "-.", ":"]
with figures.style():
    panels = [(g, s) for s in expansion.SPLITTINGS for g in gates if (g, s) in
              set(zip(norms.gate, norms.splitting, strict=True))]  # fmt: skip
    fig, axes = plt.subplots(1, 5, figsize=(8.4, 2.9), sharey=True, sharex=True)
    for ax, (gate, splitting) in zip(axes, panels, strict=True):
        part = norms[(norms.gate == gate) & (norms.splitting == splitting)]
        for order, style in enumerate(lines):
            rows = part[part.order == order]
            rows = rows[
                rows.lag >= order
            ]  # shorter words do not have so many letters B
            ax.plot(
                rows.lag, rows["relative norm"], style, marker="osD^"[order],
                color=figures.CYCLE[order], label=f"order {order}",
            )  # fmt: skip
        ax.axhline(1, color=figures.INK, linewidth=0.8, linestyle=":")
        ax.set(xscale="log", yscale="log", xlabel=r"lag $\ell$", xticks=[1, 4, 16])
        ax.set_xticklabels(["1", "4", "16"])
        ax.set_xticks([], minor=True)
        ax.set_title(f"{splitting} splitting\n{gate}", fontsize=9.5)
    axes[0].set_ylabel(r"$\|M^{(r)}\| \; / \; \|M\|$")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=4)
figures.save(
    fig, "order-norms", norms,
    caption="Spectral norms of the orders of the expansion over that of the whole product, by lag, along digits in trained networks: medians over "
    f"{probes} digits, {len(starts)} stretches and {seeds} seeds. On the dotted line an order is as large as the whole.",
    alt="Five panels with logarithmic axes, three for the leak splitting and two for the gate splitting. In the leak splitting "
    "all orders fall behind the whole as the lag grows, order 0 first and furthest, by many decades in the scalar network. In the gate splitting "
    "order 0 stays near the whole and the higher orders lie below it in turn.",
    chapter="04-products-expanded", out=out,
)  # fmt: skip

# %% tags=["hide-input"]
table = norms.pivot(
    index=["splitting", "gate", "order"], columns="lag", values="relative norm"
)
for gate in gates:
    record.number(f"leak-order-0-{gate}", float(table.loc[("leak", gate, 0), 8]))
    record.number(f"leak-order-1-{gate}", float(table.loc[("leak", gate, 1), 8]))
for gate in ("scalar", "multi"):
    record.number(f"gate-order-1-{gate}", float(table.loc[("gate", gate, 1), 8]))
text = {name: entry["text"] for name, entry in record.numbers.items()}
Markdown(
    "At lag 8, order 0 of the leak splitting has a median norm of "
    + ", ".join(f"{text[f'leak-order-0-{g}']} ({g})" for g in gates)
    + " times that of the whole product, and order 1 of "
    + ", ".join(f"{text[f'leak-order-1-{g}']} ({g})" for g in gates)
    + " times. Order 1 of the gate splitting has "
    + ", ".join(f"{text[f'gate-order-1-{g}']} ({g})" for g in ("scalar", "multi"))
    + " times. Norms do not say whether a truncated sum is close to the whole, since orders can cancel; {ref}`ch-validity` measures that."
)

# %% [markdown]
# ## Clocks on rows and columns
#
# What {eq}`eq-leak-order-one` multiplies the coupling $[R_i + G_i]_{qp}$ by, averaged over the step of crossing, is a matrix that depends on gates
# only: $\frac{1}{\ell} \sum_i P^q_{t,i} P^p_{i-1,k}$. {numref}`fig-crossing-weights` draws it along one digit. One constant and one scalar gate give every pair
# of neurons the same weight. In the multi gate the slow neurons form a cross: a pair is well connected over the lag as soon as *one* of the
# two is slow, as {prf:ref}`prop-slower` has it for constant clocks. This is where anisotropy enters.

# %% tags=["hide-input"]
weights, frames = {}, []
for gate in gates:
    kept = (1 - digit_runs[gate].g).expand_as(digit_runs[gate].x)[:, 0, 0].cpu()
    kept = kept[8 : 8 + drawn_lag]
    pace = kept.prod(0).argsort(descending=True)  # slow neurons first
    after, before = retention(kept[:, pace])
    weights[gate] = (after[:, :, None] * before[:, None, :]).mean(0)
    frames.append(
        pd.DataFrame(weights[gate].numpy())
        .rename_axis(index="q", columns="p")
        .stack()
        .rename("weight")
        .reset_index()
        .assign(gate=gate)
    )
low = min(float(w.min()) for w in weights.values())
with figures.style():
    fig, axes = plt.subplots(1, 3, figsize=(7.6, 2.9), sharey=True)
    norm = mpl.colors.LogNorm(max(low, 1e-8), 1)
    for ax, gate in zip(axes, gates, strict=True):
        mesh = ax.pcolormesh(weights[gate], norm=norm, rasterized=True)
        ax.set(title=gate, xlabel="from neuron $p$, slow to fast", aspect="equal")
        ax.invert_yaxis()
        ax.grid(False)
    axes[0].set_ylabel("to neuron $q$, slow to fast")
    fig.colorbar(
        mesh, ax=axes, label="mean weight of a crossing", pad=0.01, extend="min"
    )
figures.save(
    fig, "crossing-weights", pd.concat(frames),
    caption=f"What the gates let through at order 1 over a lag of {drawn_lag} steps: the mean over crossings of $P^q_{{t,i}} P^p_{{i-1,k}}$ for each pair of "
    "neurons, along one digit, in trained networks. Neurons are sorted from slow to fast.",
    alt="Three heat maps on one logarithmic colour scale. Those of the constant and the scalar gate have a single colour. That of the multi gate is bright "
    "in its first rows and its first columns, which belong to slow neurons, and dark where both neurons are fast.",
    chapter="04-products-expanded", out=out,
)  # fmt: skip

# %% tags=["hide-input"]
spread = {gate: float(w.max() / w.min()) for gate, w in weights.items()}
for gate in ("constant", "scalar"):
    record.check(
        f"one-clock-{gate}",
        "C6",
        f"{gate}: every pair of neurons has the same crossing weight, on digits",
        spread[gate] - 1,
        1e-12,
    )
record.check(
    "many-clocks",
    "C6",
    "multi: the pairs of neurons differ in their crossing weight",
    spread["multi"] > 1.01,
)
record.number("crossing-spread", spread["multi"], f"{spread['multi']:.1e}")
Markdown(
    f"In the multi-gate network the best and the worst connected pair differ by a factor of about $10^{{{round(log10(spread['multi']))}}}$ "
    "at this lag: the worst pairs are as good as cut off."
)

# %% [markdown]
# ## What it means
#
# The first two orders of the leak splitting are a reading of backpropagation in terms of clocks. Order 0: a gradient
# stays where it is and fades at its neuron's own pace. Order 1: it changes neurons once, through the couplings
# $[R_i + G_i]_{qp}$ of a single step, and fades on two clocks. How the *lag* enters is in both orders a matter of
# clocks alone. *If* these orders were the whole story, gates would act on learning by rescaling, and {ref}`ch-bptt`
# reads off the rates.
#
# The *if* is large. The algebra of this chapter is exact at every order, and for the sum of all of them; it does not say that the sum may be
# cut short. The remainder can now be computed exactly, which is what the next chapter does.
#
# ## What was checked

# %% tags=["hide-input"]
record.validation(
    caption="The checks of this chapter: the expansion, its remainder and bound, and both splittings in closed form."
)

# %% [markdown]
# ## Try it
#
# 1. *Where is the crowd?* At $\varepsilon = 1$ and with all matrices equal to the number 1, what is the size of order $r$ at lag 64, and how many
#    orders hold nine tenths of the sum? What does that say about cutting the series?
# 2. *A third splitting.* Expand around the recurrent term: $A = R$, $B = \Lambda + G$. Do all orders still add to the transport? Which splitting has
#    the smaller error at order 1 in the random multi-gate networks above, over one step and over twelve?
# 3. *Commuting factors.* If all $A_j$ and $B_j$ are diagonal, order 1 must be $P \sum_i B_i / A_i$. Show it with the sweep, and find out from which
#    case of {prf:ref}`cor-leak` it is familiar.

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 1: where is the crowd?"}
# 1. Order r is binomial(64, r): the crowd is around r = 32. An expansion is useful only
#    if B is small enough against A to outweigh the number of words.
sizes = [comb(64, r) for r in range(65)]
largest = sorted(sizes, reverse=True)
needed = next(c for c in range(66) if sum(largest[:c]) >= 0.9 * 2**64)
record.check(
    "exercise-crowd",
    "C3",
    "all orders of equal ones add to $2^{64}$, and most of it is near order 32",
    sum(sizes) == 2**64 and sizes.index(max(sizes)) == 32,
)
Markdown(f"{needed} orders around 32 hold nine tenths of the sum.")

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 2: a third splitting"}
# 2. Any splitting adds up; how soon it does is another matter.
leak, R, G = terms["multi"]
parts = {"leak": (leak, R + G), "gate": (leak + R, G), "recurrent": (R, leak + G)}
rows = []
for name, (A_x, B_x) in parts.items():
    for lag in (1, T):
        M_x = product((A_x + B_x)[:lag])
        orders = expansion.orders(A_x[:lag], B_x[:lag], lag)
        rows.append({"A": name, "lag": lag, "error at order 1":
                     f"{relative(orders[:2].sum(0), M_x):.2g}",
                     "error of all": f"{relative(orders.sum(0), M_x):.0e}"})  # fmt: skip
        record.check(
            f"exercise-splitting-{name}-{lag}",
            "C5",
            f"around {name}, lag {lag}: all orders add to the transport",
            relative(orders.sum(0), M_x),
            1e-12,
        )
pd.DataFrame(rows)

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 3: commuting factors"}
# 3. It is the scalar case: a scalar gate's leak commutes with everything.
A_d, B_d = (torch.rand(5, 4, generator=draw, dtype=torch.float64) + 0.1 for _ in "AB")
swept = expansion.orders(torch.diag_embed(A_d), torch.diag_embed(B_d), 1)[1]
by_hand = torch.diag_embed(A_d.prod(0) * (B_d / A_d).sum(0))
record.check(
    "exercise-commuting",
    "C6",
    r"diagonal factors: order 1 is $P \sum_i B_i / A_i$",
    relative(swept, by_hand),
    1e-12,
)

# %% tags=["remove-cell"]
record.close()
