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
# A push of the state at step $k$ reaches step $t$ multiplied by one Jacobian
# for every step between. We call that product the **transport**,
#
# $$ M_{t,k} = J_t\, J_{t-1} \cdots J_{k+1}, $$ (eq-transport)
#
# with the newest factor on the left, $M_{k,k} = I$, and the lag $\ell = t - k$.
# Gradients through time are sums of such products. {ref}`ch-jacobians` found
# that each factor is itself a sum, $J = \Lambda + R + G$: a leak, a recurrent
# term and a term through the gate. So the question of this chapter is: *what
# does one of these terms do to the whole product?*
#
# The answer comes in three steps. A product of sums is a sum of products, which
# we sort by how often the term enters; one sweep computes every part. What is
# left out when one stops early has a sweep of its own, so it is known exactly.
# For the leak, the first two parts can even be written down by hand, and they
# read as a story about time-scales {cite}`livi2025timescale`: a gradient waits
# in one neuron, crosses once, and waits in another.
#
# Matrices do not commute, so neither do the symbols here: SymPy
# {cite}`meurer2017sympy` keeps the factors in their order. We prove claims C3,
# C4, C5 and C6 of the {ref}`notation page <notation>`. Whether the expansion is
# any *good* is no question of algebra; {ref}`ch-validity` measures it.

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters"}
profile = "ci"
seeds = 3  # random networks for each gate, and trained networks for each gate
device = "auto"
out = "../artifacts/draft/products-expanded"
longest_word = 6  # lags up to this one are multiplied out by brute force
n = 9  # neurons of the random networks
T = 12  # and their steps
n_hidden = 32  # neurons of the networks that read digits
training_steps = 150
probes = 16  # digits along which the trained networks are measured
drawn_lag = 16  # the lag of the last figure

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the imports"}
from functools import reduce
from itertools import combinations
from itertools import product as every
from math import comb, log10

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import sympy as sp
import torch
from gatelr import cells, expansion, jacobian, symbolic, tasks
from gatelr.experiments import agreement, digits, expansions
from gatelr.record import Chapter, figures, show
from matplotlib.colors import LogNorm
from torch import Tensor

chapter = Chapter("products-expanded")
short, low = f"ℓ ≤ {longest_word}", f"every ℓ, K ≤ {longest_word}"  # scopes
EVERY = "every n and ℓ"

# %% [markdown]
# ## Words
#
# Begin with four steps. Split every Jacobian into a part $A_j$ that we keep and
# a part $B_j$ that we treat as a correction. A bookkeeping number $\varepsilon$
# stands in front of the correction:
#
# $$ J_j(\varepsilon) = A_j + \varepsilon B_j . $$ (eq-split)
#
# The true Jacobian is at $\varepsilon = 1$; at $\varepsilon = 0$ only $A$ is
# left. Multiplying out four factors gives sixteen **words** of four letters,
# and the power of $\varepsilon$ counts the letters $B$ in each.
# {numref}`fig-expansion-words` sorts them by that count. All words with $r$
# letters $B$ together are the **order** $r$, written $M^{(r)}$.

# %% tags=["hide-input"]
letters = expansions.words(4)
places = letters.assign(column=5 * letters.order + letters.place)
places = places.pivot(index="row", columns="column").reindex(range(6))
filled = places["is_B"].reindex(columns=range(24)).astype(float)
labels = places["label"].reindex(columns=range(24)).astype(object).fillna("")
with figures.style():
    fig, ax = plt.subplots(figsize=(7.2, 2.2))
    look = {"linewidths": 2, "cbar": False, "cmap": figures.CYCLE[:2], "alpha": 0.3}
    look |= {"annot": labels, "fmt": "", "yticklabels": False, "square": True}
    sns.heatmap(filled, ax=ax, annot_kws={"color": figures.INK}, **look)
    ax.set_xticks(range(2, 27, 5), [f"order {r}" for r in range(5)], rotation=0)
    ax.set(xlabel="", ylabel="")
    ax.tick_params(length=0, labeltop=True, labelbottom=False, grid_alpha=0)
chapter.figure("expansion-words", fig, letters)

# %% [markdown]
# :::{figure} /artifacts/products-expanded/figures/expansion-words.svg
# :name: fig-expansion-words
# :alt: Five columns of words of four letters. Order 0 has one word without B,
# :  order 1 has four with the B in each of the four places, order 2 has six,
# :  order 3 has four, and order 4 has the one word of four letters B.
#
# Each column is one order of the expansion. These are the sixteen words of lag
# 4, newest step on the left, sorted by how often the correction $B$ takes the
# place of $A$. Order $r$ is the sum of its column, times $\varepsilon^r$.
# :::
#
# At lag 64 there are $2^{64}$ words, too many to add up one by one. There is no
# need to. One more factor either prolongs a word of the same order by $A$, or a
# word of one order less by $B$:
#
# :::{prf:theorem} Expansion to any order
# :label: thm-expansion
#
# For any square matrices $A_j, B_j$ and any number $\varepsilon$, with $j$
# running from $k+1$ to $t$, the transport $M_{t,k}(\varepsilon)$ is
#
# $$ \prod_j (A_j + \varepsilon B_j)
# = \sum_{r=0}^{\ell} \varepsilon^r M^{(r)}_{t,k}, $$ (eq-series)
#
# and one sweep computes all orders, from $M^{(0)}_k = I$ and $M^{(r)}_k = 0$
# for $r > 0$:
#
# $$ M^{(r)}_j = A_j\, M^{(r)}_{j-1} + B_j\, M^{(r-1)}_{j-1} . $$ (eq-orders)
#
# Order 1 is the Fréchet derivative of the product in the direction $B$:
#
# $$ M^{(1)}_{t,k}
# = \sum_{i} \prod_{j>i} A_j \; B_i \prod_{j<i} A_j . $$ (eq-frechet)
# :::
#
# ### By brute force
#
# Up to lag six nothing needs to be believed. On one side SymPy multiplies out
# the product of symbols that do not commute. On the other side runs the sweep
# {eq}`eq-orders`, which never sees the product. Here is what it makes of order
# 2 at lag 3, all three words:

# %%
eps = sp.Symbol("varepsilon")
A = sp.symbols(f"A_1:{longest_word + 1}", commutative=False)
B = sp.symbols(f"B_1:{longest_word + 1}", commutative=False)
J = [A_j + eps * B_j for A_j, B_j in zip(A, B, strict=True)]


def next_orders(A_j, B_j, M):
    """One factor more: A prolongs a word, B one of the order below."""
    pairs = zip(M, [0, *M[:-1]], strict=True)
    return [sp.expand(A_j * here + B_j * below) for here, below in pairs]


swept = {0: [sp.Integer(1)] + [sp.Integer(0)] * longest_word}
for lag in range(1, longest_word + 1):
    swept[lag] = next_orders(A[lag - 1], B[lag - 1], swept[lag - 1])
show("M^{(2)}", swept[3][2])

# %% [markdown]
# Collect each power of $\varepsilon$ in the product, subtract the order that
# the sweep gives, and nothing may remain. We do this for every lag up to six,
# and count the words as well: order $r$ must have $\binom{\ell}{r}$.


# %%
def ordered(factors):
    """The product of the factors, newest on the left."""
    return sp.prod(factors[::-1])


lags, counts = range(1, longest_word + 1), []
for lag in lags:
    product = sp.expand(ordered(J[:lag]))
    facts = [product.coeff(eps, r) - M for r, M in enumerate(swept[lag])]
    statement = rf"the sweep gives the words of the product, $\ell = {lag}$"
    name, scope = f"orders-lag-{lag}", f"ℓ = {lag}"
    chapter.prove(name, statement, *facts, claim="C3", scope=scope)
    numbers = [len(sp.Add.make_args(M)) for M in swept[lag][: lag + 1]]
    counts.append(numbers == [comb(lag, r) for r in range(lag + 1)])
statement = r"order $r$ of lag $\ell$ has $\binom{\ell}{r}$ words"
chapter.prove("word-count", statement, *counts, claim="C3", scope=short)

# %% [markdown]
# Order 1 has a second reading. Differentiate the product with respect to
# $\varepsilon$, factors still unexpanded, and set $\varepsilon = 0$. By the
# product rule each factor in turn is replaced by its $B$. That is
# {eq}`eq-frechet`, and it must equal order 1 of the sweep.

# %%
facts = []
for lag in lags:
    a = A[:lag]
    words = [ordered(a[i + 1 :]) * B[i] * ordered(a[:i]) for i in range(lag)]
    derivative = ordered(J[:lag]).diff(eps).subs(eps, 0)
    facts += [sp.expand(sum(words) - M) for M in (derivative, swept[lag][1])]
statement = "order 1 is the Fréchet derivative of the product"
chapter.prove("frechet", statement, *facts, claim="C3", scope=short)

# %% [markdown]
# Would a wrong sweep be noticed? Multiply the correction from the wrong side,
# $M^{(r-1)}_{j-1} B_j$, as one may when thinking of numbers. At lag 2 the words
# come out scrambled, and what is left over is a commutator:

# %%
left_over = sp.expand(A[1] * B[0] + A[0] * B[1] - swept[2][1])  # M B for B M
show(r"\text{left over}", left_over)
facts = left_over != 0, left_over - (A[0] * B[1] - B[1] * A[0])
statement = "a factor from the wrong side leaves $[A_1, B_2]$ over"
chapter.prove("side-noticed", statement, *facts, claim="C3", scope="ℓ = 2")

# %% [markdown]
# ### For every lag
#
# Brute force ends at lag six; induction does not. At lag 0 the product is $I$,
# which is the start of the sweep. Suppose that the transport to $j-1$ is
# $\sum_r \varepsilon^r M^{(r)}_{j-1}$, with matrices about which nothing else
# is known. Then one more factor must produce {eq}`eq-orders`. We check this step
# for **symbolic** $r$. The coefficient of $\varepsilon^r$ is a sum over all
# orders $s$ of the product so far. A Kronecker delta says which of them each
# letter needs: $A$ leaves the order as it is, and $B$ adds one. SymPy carries out
# the sum, entry by entry, inside the sum over the inner neuron $i$.

# %%
q, i, p, s = sp.symbols("q i p s", integer=True)
r = sp.Symbol("r", integer=True, positive=True)
a, b, M = map(sp.IndexedBase, "ABM")
delta = sp.KroneckerDelta
letter = a[q, i] * delta(s, r) + b[q, i] * delta(s + 1, r)
collected = sp.Sum(sp.expand(letter * M[s, i, p]), (s, 0, sp.oo)).doit()
fact = collected - a[q, i] * M[r, i, p] - b[q, i] * M[r - 1, i, p]
statement = r"the coefficient of $\varepsilon^r$ is $A M^{(r)} + B M^{(r-1)}$"
chapter.prove("step-any-order", statement, sp.expand(fact), claim="C3", scope=EVERY)

# %% [markdown]
# With the start and the step, {prf:ref}`thm-expansion` holds for every lag.
# $\square$
#
# ## What is left out
#
# Stop after order $K$. The rest is
#
# $$ \mathcal{E}_K = M(\varepsilon) - \sum_{r \le K} \varepsilon^r M^{(r)}, $$ (eq-rest)
#
# and computing it like that is a trap. For small $\varepsilon$ two nearly equal
# matrices are subtracted, and what remains is rounding. No subtraction is
# needed, because the rest has a sweep of its own.
#
# :::{prf:theorem} The remainder, exactly
# :label: thm-remainder
#
# From $\mathcal{E}_K(k) = 0$,
#
# $$
# \begin{aligned}
# \mathcal{E}_K(j) ={}& (A_j + \varepsilon B_j)\, \mathcal{E}_K(j-1) \\
# &{}+ \varepsilon^{K+1} B_j\, M^{(K)}_{j-1} .
# \end{aligned}
# $$ (eq-remainder)
# :::
#
# *Proof.* The start is $\mathcal{E}_K(k) = I - I = 0$. For the step, let $P$ be the
# transport to $j-1$, *any* matrix. Put the definition {eq}`eq-rest` on both
# sides and use {eq}`eq-orders` on the left. Both sides must be the same
# combination of words, for each $K$. As a test of the test, the same comparison
# with $\varepsilon^K$ in place of $\varepsilon^{K+1}$ must fail.


# %%
def series(M):
    return sum(eps**r * M_r for r, M_r in enumerate(M))


P, facts, wrong = sp.Symbol("P", commutative=False), [], []
for K in range(longest_word + 1):
    M = sp.symbols(f"M_0:{K + 1}", commutative=False)
    rest, fed = P - series(M), B[0] * M[K]
    next_rest = J[0] * P - series(next_orders(A[0], B[0], M))
    facts.append(sp.expand(next_rest - J[0] * rest - eps ** (K + 1) * fed))
    wrong.append(sp.expand(next_rest - J[0] * rest - eps**K * fed) != 0)
statement = "the remainder's recursion, generic matrices"
chapter.prove("remainder-step", statement, *facts, claim="C4", scope=low)
statement = r"with $\varepsilon^K$ for $\varepsilon^{K+1}$ the recursion would fail"
chapter.prove("remainder-power-noticed", statement, *wrong, claim="C4", scope=low)

# %% [markdown]
# The sums telescope in the same way for every $K$. One side has
# $\sum_{r \le K} \varepsilon^{r+1} B M^{(r)}$, the other
# $\sum_{r \le K} \varepsilon^r B M^{(r-1)}$. Only the last term of the first
# has no partner, and that is the term that feeds the remainder.
#
# As a second pair of eyes, run the remainder's sweep from its start. It must
# give the words of all orders above $K$ and no others. The largest of these,
# for small $\varepsilon$, is $\varepsilon^{K+1} M^{(K+1)}$; from $K = \ell$ on
# nothing is left.

# %%
above, leading = [], []
for K in range(longest_word):
    R = sp.Integer(0)
    for lag, (J_j, B_j) in enumerate(zip(J, B, strict=True), 1):
        R = sp.expand(J_j * R + eps ** (K + 1) * B_j * swept[lag - 1][K])
        left_out = series(swept[lag]) - series(swept[lag][: K + 1])
        above.append(sp.expand(R - left_out))
        leading.append(sp.expand(R.coeff(eps, K + 1) - swept[lag][K + 1]))
statement = "the recursion gives the words of orders above $K$ and no other"
chapter.prove("remainder-words", statement, *above, claim="C4", scope=short)
statement = r"$\mathcal{E}_K = \varepsilon^{K+1} M^{(K+1)} + O(\varepsilon^{K+2})$"
chapter.prove("remainder-leading", statement, *leading, claim="C4", scope=short)

# %% [markdown]
# ### A certified bound
#
# The sweep also says how large the remainder *can* be. Replace every matrix by
# its norm, and every equation by the triangle inequality and
# $\|XY\| \le \|X\|\,\|Y\|$:
#
# :::{prf:theorem} Certified bound
# :label: thm-bound
#
# With $a_j = \|A_j\|$, $b_j = \|B_j\|$ in any norm with
# $\|XY\| \le \|X\| \|Y\|$ and $\|I\| = 1$, let
#
# $$
# \begin{aligned}
# m^{(r)}_j ={}& a_j m^{(r)}_{j-1} + b_j m^{(r-1)}_{j-1}, \\
# e_j ={}& (a_j + |\varepsilon| b_j)\, e_{j-1} \\
# &{}+ |\varepsilon|^{K+1} b_j\, m^{(K)}_{j-1},
# \end{aligned}
# $$ (eq-bound)
#
# from $m^{(0)} = 1$, all others 0. Then $\|M^{(r)}_j\| \le m^{(r)}_j$ and
# $\|\mathcal{E}_K(j)\| \le e_j$.
# :::
#
# *Proof.* Induction over $j$. Suppose that the bounds hold at $j-1$ with some
# slack, $\|\mathcal{E}_K\| = e - s$ and $\|M^{(r)}\| = m^{(r)} - s_r$, where no slack
# is negative. Write down what the two inequalities guarantee at $j$, and
# subtract it from {eq}`eq-bound`. The difference must be a sum of products of
# numbers that are not negative. SymPy decides that, and refuses when a sign is
# turned.

# %%
a, b, eps_size, e, s = sp.symbols(r"a b |\varepsilon| e s", nonnegative=True)
m, m_1, s_m, s_m1 = sp.symbols("m m_1 s_m s_m1", nonnegative=True)
slack_before = {e: e - s, m: m - s_m, m_1: m_1 - s_m1}
slacks = []
for K in range(-1, longest_word + 1):  # -1 stands for the orders themselves
    fed = eps_size ** (K + 1) * b * m
    bound = (a + eps_size * b) * e + fed if K >= 0 else a * m + b * m_1
    guaranteed = bound.subs(slack_before, simultaneous=True)
    slacks.append(sp.expand(bound - guaranteed))
show(r"e_j - \|\mathcal{E}_1(j)\| \;\ge\; ", slacks[2])
statement = "the bound's slack stays a sum of products of nonnegative numbers"
facts = [slack.is_nonnegative for slack in slacks]
chapter.prove("bound-step", statement, *facts, claim="C4", scope=low)
signs = [sp.expand(slack - 2 * eps_size * b * s).is_nonnegative for slack in slacks]
noticed = True not in signs
statement = "with a sign turned, SymPy does not call the slack nonnegative"
chapter.prove("bound-sign-noticed", statement, noticed, claim="C4", scope=low)

# %% [markdown]
# The library follows {eq}`eq-orders`, {eq}`eq-remainder` and {eq}`eq-bound`
# line by line, in `expansion.orders`, `expansion.remainder` and
# `expansion.remainder_bound`. Random matrices now try to break the bound, over
# lags, sizes, orders and thirteen decades of $\varepsilon$. Half of them have
# positive entries, so that nothing cancels. Positive numbers attain the bound,
# so one that was $1\,\%$ smaller would fail.

# %%
trials = expansions.bound_trials(torch.Generator().manual_seed(0))
chapter.number("bound-cases", len(trials))
holds = (trials.norm <= trials.bound * (1 + 1e-12)).all()  # up to rounding
statement = rf"$\|\mathcal{{E}}_K\| \le e_K$ in each of {len(trials)} random cases"
chapter.check("bound-holds", statement, holds, claim="C4", scope="n ≤ 5, ℓ ≤ 8")
trials["used"] = (trials.norm / trials.bound).where(trials.norm > 0)
attained = (trials.used > 0.99).any()
statement = "positive numbers attain the bound; 1 % less would be violated"
scope = "n = 1, 2 and 5, ℓ ≤ 8"
chapter.check("bound-attained", statement, attained, claim="C4", scope=scope)
used = trials.groupby(["size", "lag"]).used.median()
chapter.number("bound-used", used[5, 8])

# %% [markdown]
# The bound holds in each of {result}`products-expanded/bound-cases` cases. How
# tight it is depends on cancellation. Of the bound for matrices of size 5 over
# eight steps, the remainder uses a fraction of
# {result}`products-expanded/bound-used` in the median; the rest is caution.
#
# ## Two splittings
#
# The theorems hold for *any* two parts. Two choices mean something (claim C5):
#
# :::{prf:definition} Leak splitting and gate splitting
# :label: def-splittings
#
# * **Leak splitting**: $A = \Lambda$, $B = R + G$. Order 0 is what the
#   time-scales carry alone; each higher order lets the signal pass once more
#   from neuron to neuron.
# * **Gate splitting**: $A = \Lambda + R$, $B = G$. Order 0 treats the gates as
#   given numbers; each higher order uses once more that the gate itself reads
#   the state. This is the perturbation of {cite}`livi2025timescale`.
# :::
#
# In the library they are `expansion.split(terms, "leak")` and
# `expansion.split(terms, "gate")`.
#
# ## The leak splitting in closed form
#
# The leak is diagonal, and diagonal matrices multiply like numbers. So the
# first two orders can be written down. Let
#
# $$ P^q_{t,k} = \prod_{j=k+1}^{t} (1 - g^q_j) $$ (eq-retention)
#
# be what neuron $q$ keeps from step $k$ to step $t$.
#
# :::{prf:theorem} Leak splitting in closed form
# :label: thm-leak
#
# For every number of neurons and every lag,
# $M^{(0)}_{t,k} = \operatorname{diag}(P_{t,k})$ and
#
# $$
# \big[M^{(1)}_{t,k}\big]_{qp}
# = \sum_{i=k+1}^{t} P^q_{t,i}\; [R_i + G_i]_{qp}\; P^p_{i-1,k} .
# $$ (eq-leak-order-one)
# :::
#
# Read it from the right. The push waits in neuron $p$ and loses what $p$'s gate
# overwrites. At *one* step $i$ it crosses to neuron $q$. There it waits out the
# rest on $q$'s clock. All possible steps of crossing are added up.
#
# *Proof*, for symbolic $n$. First the sums over neurons collapse, since the
# leak has the entries $A^{qr} = \rho^q \delta^{qr}$ and order 0 the entries
# $M^{(0)\,rp} = \delta^{rp} P^p$. As in {ref}`ch-jacobians`, SymPy keeps the
# condition that $q$ and $p$ number a neuron; it holds and is dropped.

# %%
q, p, r = symbolic.q, symbolic.p, symbolic.r
lam, P, M, b = map(sp.IndexedBase, ("rho", "P", "M", "B"))
leak, order_0 = lam[q] * delta(q, r), delta(r, p) * P[p]
order_1 = symbolic.over_neurons(leak * M[r, p])
order_1 += symbolic.over_neurons(b[q, r] * order_0)
statement = r"order 0 stays diagonal, $\delta^{qp} \rho^q P^p$"
fact = symbolic.over_neurons(leak * order_0) - delta(q, p) * lam[q] * P[p]
chapter.prove("collapse-order-0", statement, fact, claim="C6", scope=EVERY)
statement = r"$M_j^{(1)\,qp} = \rho^q M_{j-1}^{(1)\,qp} + B^{qp} P^p$"
fact = order_1 - lam[q] * M[q, p] - b[q, p] * P[p]
chapter.prove("collapse-order-1", statement, fact, claim="C6", scope=EVERY)

# %% [markdown]
# Order 0 is thus the product {eq}`eq-retention`. For order 1 the sum
# {eq}`eq-leak-order-one` must obey the collapsed sweep. One step more, and each
# old crossing must gain exactly the factor $\rho_{t+1}^q$; the new crossing,
# at $i = t+1$, must be $B_{t+1}^{qp} P^p_{t,k}$. SymPy has the retentions as
# products with symbolic limits, and multiplies neighbouring ones into one.

# %%
t, i, j, k = sp.symbols("t i j k", integer=True)
lam_q, lam_p = map(sp.Function, ("rho^q", "rho^p"))
b_qp = sp.Function("B^{qp}")


def P(kept, t, k):
    """The retention from k to t, for what is kept at each step."""
    return sp.Product(kept(j), (j, k + 1, t))


def crossing(t, i):
    """The crossing at step i, seen from step t."""
    return P(lam_q, t, i) * b_qp(i) * P(lam_p, i - 1, k)


one_more = sp.simplify(P(lam_q, t + 1, t) * crossing(t, i))
new = crossing(t + 1, t + 1).doit() - b_qp(t + 1) * P(lam_p, t, k)
facts = P(lam_q, t + 1, t).doit() - lam_q(t + 1), one_more - crossing(t + 1, i), new
statement = r"one step more turns the sum over crossings to $t$ into that to $t+1$"
chapter.prove("order-1-induction", statement, *facts, claim="C6", scope=EVERY)

# %% [markdown]
# That is the induction. A cross-check shares nothing with it: explicit matrices
# of symbols, nothing collapsed, are multiplied as matrices by {eq}`eq-orders`
# and compared with the theorem entry by entry.

# %%
for size, lag in ((2, 2), (2, 4), (3, 2), (3, 4)):
    *swept_orders, order_0, order_1 = symbolic.leak_orders(size, lag)
    facts = swept_orders[0] - order_0, swept_orders[1] - order_1
    name, scope = f"entries-n{size}-lag-{lag}", f"n = {size}, ℓ = {lag}"
    statement = rf"all entries of orders 0 and 1, $n = {size}$, $\ell = {lag}$"
    chapter.prove(name, statement, *facts, claim="C6", scope=scope)

# %% [markdown]
# ### Three special cases
#
# How much of the sum survives depends on how many clocks there are. With one
# **constant** $\alpha$, $P_{t,i} = (1-\alpha)^{t-i}$, and the powers left and
# right of the crossing add up to $\ell - 1$ wherever it happens. With a
# **scalar** gate the two waits have the same clock, and together make $P_{t,k}$
# but for the step of the crossing. Only the **multi** gate, with a clock for
# each neuron, needs the sum in full.
#
# :::{prf:corollary} Order 1 of the leak splitting
# :label: cor-leak
#
# $$
# \begin{aligned}
# &\text{constant:} \\
# &\quad (1-\alpha)^{\ell-1}\, \alpha \textstyle\sum_i D_i W_r \\
# &\text{scalar:} \\
# &\quad P_{t,k} \textstyle\sum_i (R_i + G_i)/(1 - g_i) \\
# &\text{multi:} \\
# &\quad \textstyle\sum_i P_{t,i} \odot (R_i + G_i) \odot P_{i-1,k}^{\top}
# \end{aligned}
# $$ (eq-leak-cases)
#
# where $P_{t,i}$, a column, scales rows, and $P_{i-1,k}^\top$, a row, scales
# columns.
# :::
#
# The second line needs $g_i \ne 1$, since it divides by what is kept. It also
# holds on the diagonal of every multi gate, where $q = p$ and both waits have one
# clock. There it gives the corrected retention of {ref}`claim C8 <claim-c8>`, for
# every $n$ and $\ell$.

# %%
alpha, g = sp.Symbol("alpha", positive=True), sp.Function("g")
kept = sp.Lambda(j, 1 - alpha)
constant = (P(kept, t, i) * P(kept, i - 1, k)).doit() - (1 - alpha) ** (t - k - 1)
statement = r"constant: the waits of every crossing multiply to $(1-\alpha)^{\ell-1}$"
chapter.prove("constant-case", statement, sp.powsimp(constant), claim="C6", scope=EVERY)
kept = sp.Lambda(j, 1 - g(j))
joined = sp.simplify(P(kept, t, i) * P(kept, i, i - 1))
joined = sp.simplify(joined * P(kept, i - 1, k))
facts = P(kept, i, i - 1).doit() - kept(i), joined - P(kept, t, k)
statement = r"one clock: the waits of a crossing, times $1 - g_i$, are $P_{t,k}$"
chapter.prove("scalar-case", statement, *facts, claim="C6", scope=EVERY)

# %% [markdown]
# A worked case shows what different clocks do. Give each neuron a constant of
# its own, so that it keeps $\rho_q = 1 - \alpha_q$ a step, and hold $B$
# still. Then the sum over crossings is a geometric one:
#
# :::{prf:proposition} The slower of two
# :label: prop-slower
#
# $$ \sum_{i=1}^{\ell} \rho_q^{\ell-i}\,\rho_p^{i-1}
# = \frac{\rho_q^\ell - \rho_p^\ell}{\rho_q - \rho_p}
# \quad (\rho_q \ne \rho_p) , $$ (eq-slower)
#
# and $\ell \rho^{\ell-1}$ for two neurons with one clock,
# $\rho_q = \rho_p = \rho$. In both cases, from one lag to the next the
# coupling of order 1 shrinks, in the limit, by $\max(\rho_q, \rho_p)$.
# :::
#
# *Proof.* At lag 1 every sum is 1. One more step multiplies the old terms by
# $\rho_q$ and adds $\rho_p^\ell$, and so do the closed forms. For the limit let
# $q$ be the slower of the two, $\rho_p = \rho_q/(1+u)$ with $u > 0$; the sum is
# symmetric in $q$ and $p$, so nothing is lost. What one more step leaves of the coupling then tends
# to $\rho_q$. With one clock all $\ell$ terms are equal, and one more step
# leaves $\rho\,(\ell+1)/\ell$.

# %%
k_q, k_p, u = sp.symbols("rho_q rho_p u", positive=True)
lag = sp.Symbol("ell", integer=True, positive=True)
closed, equal = (k_q**lag - k_p**lag) / (k_q - k_p), lag * k_q ** (lag - 1)
facts = []
for total, newest in ((closed, k_p**lag), (equal, k_q**lag)):
    facts += [total.subs(lag, 1) - 1, total.subs(lag, lag + 1) - k_q * total - newest]
statement = "the sum over crossings, with two clocks and with one, by induction"
scope = "constant clocks, every ℓ"
chapter.prove("slower-sum", statement, *facts, claim="C6", scope=scope)

one_more = (closed.subs(lag, lag + 1) / closed).subs(k_p, k_q / (1 + u))
left = k_q * (1 - (1 + u) ** (-lag - 1)) / (1 - (1 + u) ** (-lag))
swapped = closed.subs({k_q: k_p, k_p: k_q}, simultaneous=True)
facts = [one_more - left, sp.limit(left, lag, sp.oo) - k_q, closed - swapped]
facts.append(sp.limit(equal.subs(lag, lag + 1) / equal, lag, sp.oo) - k_q)
statement = "the coupling of order 1 decays at the pace of the slower neuron"
scope = "constant clocks, long lags"
chapter.prove("slower-limit", statement, *facts, claim="C6", scope=scope)

# %% [markdown]
# So at order 1 a fast neuron that is *coupled* to a slow one, in either
# direction, hears about the distant past at the slow one's pace. Order 0 cannot
# show that.
#
# And what does a neuron remember of *itself*? At orders 0 and 1 the diagonal of
# the transport forgets at the neuron's own pace, since with $q = p$ both waits
# have its clock. **From order 2 on that is no longer so.** A push can leave a fast
# neuron, wait in a slow one, and come back. Take two neurons that keep
# $\rho_q = 0.3$ and $\rho_p = 0.95$ a step, with couplings of $0.05$ both
# ways, over forty steps. The fast neuron's own entry of the transport is
# {result}`products-expanded/return-whole`. Orders 0 and 1 together give
# {result}`products-expanded/return-first-two`. Order 2 is
# {result}`products-expanded/return-order-2`: one way there and one way back.
#
# In general order 2 of the diagonal is
# $\sum_{i<j} \rho_q^{\ell-j}\, b_{qp}\, \rho_p^{j-i-1}\, b_{pq}\,
# \rho_q^{i-1}$. It is $b_{qp} b_{pq}$ times the derivative of
# {eq}`eq-slower` by $\rho_q$. If $p$ is the slower one, it decays at the pace of
# $p$: divided by $\rho_p^{\ell-2}$ it tends to a positive number.

# %%
derivative, facts = closed.diff(k_q), []
for steps in range(2, longest_word + 1):
    pairs = combinations(range(1, steps + 1), 2)  # out at i, back at j
    total = sum(k_q ** (steps - j + i - 1) * k_p ** (j - i - 1) for i, j in pairs)
    facts.append(total - derivative.subs(lag, steps))
statement = "order 2 of the diagonal is the derivative of the sum over crossings"
scope = f"n = 2, constant clocks, {short}"
chapter.prove("return-sum", statement, *facts, claim="C6", scope=scope)
v = sp.Symbol("v", positive=True)  # ρ_q over ρ_p
scaled = derivative.subs(k_q, v * k_p) / k_p ** (lag - 2)
ratio = (1 - v**lag - lag * v ** (lag - 1) * (1 - v)) / (1 - v) ** 2
tends = sp.limit(ratio.subs(v, 1 / (1 + u)), lag, sp.oo) - (1 + 1 / u) ** 2
statement = r"order 2 over $\rho_p^{\ell-2}$ tends to $b_{qp} b_{pq}/(1-v)^2$"
statement += r" with $v = \rho_q/\rho_p < 1$"
facts = sp.expand(sp.powsimp((scaled - ratio) * (1 - v) ** 2)), tends
scope = "constant clocks, long lags"
chapter.prove("return-limit", statement, *facts, claim="C6", scope=scope)

A_2 = torch.diag(torch.tensor([0.3, 0.95], dtype=torch.float64)).expand(40, 2, 2)
B_2 = 0.05 * (1 - torch.eye(2, dtype=torch.float64)).expand(40, 2, 2)
own = expansion.orders(A_2, B_2, 40)[:, 0, 0]
sums = {"first-two": own[:2].sum(), "order-2": own[2], "whole": own.sum()}
for name, value in sums.items():
    chapter.number(f"return-{name}", float(value), f"{value:.1e}")
statement = "the fast neuron's own entry is far above its orders 0 and 1"
scope = "ρ = 0.3 and 0.95, couplings 0.05, ℓ = 40"
above = bool(sums["whole"] > 1e12 * sums["first-two"])
chapter.check("return-noticed", statement, above, claim="C6", scope=scope)

# %% [markdown]
# ## The gate splitting in closed form
#
# Here $A_j = \Lambda_j + R_j$ is a full matrix, and nothing collapses. With
# $Q_{t,k} = \prod_j (\Lambda_j + R_j)$, {prf:ref}`thm-expansion` says
#
# $$
# \begin{aligned}
# M^{(0)} &= Q_{t,k}, \\
# M^{(1)} &= \textstyle\sum_{i=k+1}^{t} Q_{t,i}\, G_i\, Q_{i-1,k} .
# \end{aligned}
# $$ (eq-gate-cases)
#
# For a scalar gate $G_i = v_i w_{rg}^\top$ has rank one ({prf:ref}`prop-rank`),
# so its order 1 is a sum of $\ell$ matrices of rank one. At short lags, what
# the gate's sensitivity adds lives in few directions.
#
# ## Symbols and numbers
#
# Now the closed forms as a reader would write them, against the library's
# sweep. The test bed are random networks with every kind of gate. Among them is
# a constant gate with another $\alpha$ for every neuron.

# %%
sizes = {"n": n, "m": 3, "T": T, "batch": (2,), "replicas": seeds}
runs, terms = {}, {}
for gate in cells.GATES:
    model, inputs, _ = agreement.random_case(gate, **sizes, device=chapter.device)
    with torch.no_grad():
        runs[gate] = model.run(inputs)
        terms[gate] = jacobian.terms(model, runs[gate])

# %% [markdown]
# Each closed form takes what the neurons keep, $1 - g$, and the two parts, time
# first. `expansions.waits` gives the two retentions of {eq}`eq-leak-order-one` for every
# step of crossing at once.


# %%
def leak_order_1(kept: Tensor, A: Tensor, B: Tensor) -> Tensor:
    after, before = expansions.waits(kept)
    return (after[..., :, None] * B * before[..., None, :]).sum(0)


def in_order(factors: Tensor) -> Tensor:
    """The product of the factors, newest on the left."""
    unit = torch.eye(factors.shape[-1]).to(factors)
    return reduce(lambda M, factor: factor @ M, factors, unit)


def gate_order_1(kept: Tensor, A: Tensor, B: Tensor) -> Tensor:
    steps = range(len(A))
    return sum(in_order(A[i + 1 :]) @ B[i] @ in_order(A[:i]) for i in steps)


closed_forms = {
    "leak, order 0": lambda kept, A, B: torch.diag_embed(kept.prod(0)),
    "leak, order 1": leak_order_1,
    "gate, order 0": lambda kept, A, B: in_order(A),
    "gate, order 1": gate_order_1,
}

# %% [markdown]
# {numref}`tab-closed-forms` compares them with the sweep for each gate and four
# lags, and finds nothing beyond rounding.

# %%
rows = []
for gate, lag, name in every(runs, (1, 2, 5, T), closed_forms):
    run, splitting, order = runs[gate], name[:4], int(name[-1])
    A_j, B_j = (part[:lag] for part in expansion.split(terms[gate], splitting))
    swept = expansion.orders(A_j, B_j, 1)[order]
    closed = closed_forms[name]((1 - run.g).expand_as(run.x)[:lag], A_j, B_j)
    if swept.any() or closed.any():
        rows.append((gate, lag, name, agreement.discrepancy(closed, swept)))
errors = pd.DataFrame(rows, columns=["gate", "lag", "form", "error"])
scope = f"n = {n}, ℓ ≤ {T}"
for form, error in errors.groupby("form").error.max().items():
    name = "closed-" + form.replace(", ", "-").replace(" ", "-")
    claim = "C6" if form.startswith("leak") else "C5"
    statement = f"{form}: closed form and sweep agree, all gates"
    chapter.check(name, statement, error, 1e-12, claim=claim, scope=scope)
errors["error"] = [f"{error:.0e}" if error else "0" for error in errors.error]
shown = errors.set_index(["gate", "lag", "form"]).error.unstack(sort=False)
shown = shown[list(closed_forms)].fillna("–").reset_index()
chapter.table("closed-forms", shown)

# %% [markdown]
# :::{table-file} /artifacts/products-expanded/tables/closed-forms.csv
# :name: tab-closed-forms
#
# Closed forms and sweep agree to rounding, for both splittings and every gate:
# largest difference over the largest entry, in float64. A dash stands where
# both sides are zero.
# :::
#
# ## In networks at work
#
# How large are the orders in networks that have learned something? As in
# {ref}`ch-agreement`, networks with each gate learn to name handwritten digits
# read pixel by pixel {cite}`pedregosa2011sklearn`, this time for a shorter
# while. Then the transports are expanded along digits that they were not
# trained on.

# %%
gates = ("constant", "scalar", "multi")
test = tasks.digits(split="test", device=chapter.device)
seen = digits.for_each_seed(test.u[:, :probes], seeds).double()
digit_runs, digit_terms = {}, {}
for gate in gates:
    options = {"alpha": 0.1, "device": chapter.device}
    model = digits.train(gate, n_hidden, seeds, training_steps, **options)
    score = 100 * float(digits.accuracy(model, test.u, test.target).mean())
    chapter.number(f"accuracy-{gate}", score, f"{score:.0f}", "%")
    with torch.no_grad():
        digit_runs[gate] = model.double().run(seen)
        digit_terms[gate] = jacobian.terms(model, digit_runs[gate])

# %% [markdown]
# With a constant gate they name {result}`products-expanded/accuracy-constant` % of
# the new digits. A scalar gate names {result}`products-expanded/accuracy-scalar` %,
# and multi gates {result}`products-expanded/accuracy-multi` %. Guessing names about
# one in ten. These networks are not finished, but they work.
#
# Along sixteen digits and from three starting steps we take the norm of each
# order and divide it by that of the whole product, at $\varepsilon = 1$.

# %%
lags, starts = (1, 2, 4, 8, 12, 16, 24, 32), (8, 16, 24)
norms = []
for gate, splitting in every(gates, expansion.SPLITTINGS):
    if (gate, splitting) != ("constant", "gate"):  # it has no gate term
        A_j, B_j = expansion.split(digit_terms[gate], splitting)
        medians = expansions.order_norms(A_j, B_j, lags, starts)
        norms.append(medians.assign(splitting=splitting, gate=gate))
norms = pd.concat(norms, ignore_index=True)
for row in norms[norms.lag == 8].to_dict("records"):
    name = "{splitting}-order-{order}-{gate}".format(**row)
    chapter.number(name, row["relative norm"])

# %% tags=["hide-input"]
drawn = norms[norms.lag >= norms.order]  # a shorter word has fewer letters B
drawn = drawn.assign(panel=drawn.splitting + " splitting\n" + drawn.gate)
drawn = drawn.sort_values("splitting", ascending=False, kind="stable")
axes_of = {"x": "lag", "y": "relative norm", "col": "panel", "kind": "line"}
lines = {"hue": "order", "style": "order", "size": "order"}
lines |= {"palette": figures.CYCLE[:4], "sizes": [2.8, 1.4, 1.4, 1.4]}
with figures.style():
    grid = sns.relplot(drawn, **axes_of, **lines, height=2.5, aspect=0.66)
    grid.refline(y=1, color=figures.INK, linewidth=0.8)
    grid.set(xscale="log", yscale="log", ylim=(1e-4, 3))
    grid.set(xticks=[1, 4, 16], xticklabels=[1, 4, 16])
    grid.set_axis_labels(r"lag $\ell$", r"$\|M^{(r)}\| \; / \; \|M\|$")
    grid.set_titles("{col_name}")
chapter.figure("order-norms", grid.figure, norms)

# %% [markdown]
# :::{figure} /artifacts/products-expanded/figures/order-norms.svg
# :name: fig-order-norms
# :alt: Five panels with logarithmic axes, three for the leak splitting and two
# :  for the gate splitting, with one line for each order, order 0 thick. In the
# :  leak splitting order 0 falls with the lag, in the scalar network out of the
# :  panel, and the higher orders follow. In the gate splitting order 0 stays
# :  near the line of the whole and the higher orders lie below it in turn.
#
# Order 0 of the leak splitting falls far behind the product as the lag grows;
# order 0 of the gate splitting does not. Norm of each order over that of the
# whole product along digits, in trained networks: medians over digits, starting
# steps and seeds. On the dashed line an order is as large as the whole.
# :::
#
# In {numref}`fig-order-norms` look at the thick lines. In the leak splitting
# order 0 falls behind the whole in every network. At lag 8 its norm is
# {result}`products-expanded/leak-order-0-multi` times that of the whole in the
# multi network. In the scalar one it is
# {result}`products-expanded/leak-order-0-scalar` times. Where all four lines are
# low, the product consists of words with more than three letters $B$.
#
# In the gate splitting order 0 stays about as large as the whole. Order 1 of the
# multi network has {result}`products-expanded/gate-order-1-multi` times the norm
# of the whole at lag 8, and higher orders have less. Norms do not say whether a
# sum cut short is *close* to the whole, since orders can cancel.
# {ref}`ch-validity` measures that.
#
# ## Clocks on rows and columns
#
# By what does {eq}`eq-leak-order-one` multiply the coupling $[R_i + G_i]_{qp}$?
# By two retentions, which depend on gates only. Averaged over the step of
# crossing they are one weight for each pair of neurons,
# $\frac{1}{\ell} \sum_i P^q_{t,i} P^p_{i-1,k}$. {numref}`fig-crossing-weights`
# draws it along one digit, with neurons sorted from slow to fast.

# %%
weights = {}
for gate, run in digit_runs.items():
    kept = (1 - run.g).expand_as(run.x)[8 : 8 + drawn_lag, 0, 0].cpu()
    weights[gate] = pd.DataFrame(expansions.crossing_weights(kept).numpy())
tidy = pd.concat(weights, names=["gate", "q"]).rename_axis(columns="p").stack()

# %% tags=["hide-input"]
with figures.style():
    ratios = {"width_ratios": [1, 1, 1, 0.06]}
    fig, axes = plt.subplots(1, 4, figsize=(7.6, 2.7), gridspec_kw=ratios)
    norm = LogNorm(max(tidy.min(), 1e-8), 1)
    bar = {"label": "mean weight of a crossing", "extend": "min"}
    for ax, (gate, weight) in zip(axes, weights.items(), strict=False):
        options = {"norm": norm, "cmap": figures.SEQUENTIAL, "rasterized": True}
        options |= {"square": True, "xticklabels": False, "yticklabels": False}
        sns.heatmap(weight, ax=ax, cbar_ax=axes[3], cbar_kws=bar, **options)
        ax.set(title=gate, xlabel="from $p$, slow to fast")
    axes[0].set_ylabel("to $q$, slow to fast")
chapter.figure("crossing-weights", fig, tidy.rename("weight").reset_index())

# %% [markdown]
# :::{figure} /artifacts/products-expanded/figures/crossing-weights.svg
# :name: fig-crossing-weights
# :alt: Three heat maps on one logarithmic colour scale. Those of the constant
# :  and the scalar gate have a single colour. That of the multi gate is bright
# :  in its first rows and its first columns, which belong to slow neurons, and
# :  dark where both neurons are fast.
#
# Only the multi gate treats pairs of neurons differently: a pair is well
# connected as soon as one of the two is slow. Mean over crossings of
# $P^q_{t,i} P^p_{i-1,k}$ for each pair, along one digit, in trained networks.
# :::
#
# One constant and one scalar gate give every pair of neurons the same weight.
# In the multi gate the slow neurons form a cross, as {prf:ref}`prop-slower` has
# it for constant clocks. The best and the worst connected pair differ by about
# {result}`products-expanded/crossing-decades` orders of magnitude, so the worst
# pairs are as good as cut off. This is where anisotropy enters.

# %%
scope = f"one digit, ℓ = {drawn_lag}"
spread = {gate: w.max().max() / w.min().min() for gate, w in weights.items()}
for gate in ("constant", "scalar"):
    statement = f"{gate}: every pair of neurons has the same crossing weight"
    name, value = f"one-clock-{gate}", spread[gate] - 1
    chapter.check(name, statement, value, 1e-12, claim="C6", scope=scope)
statement = "multi: the pairs of neurons differ in their crossing weight"
differ = spread["multi"] > 1.01
chapter.check("many-clocks", statement, differ, claim="C6", scope=scope)
chapter.number("crossing-spread", spread["multi"], f"{spread['multi']:.1e}")
chapter.number("crossing-decades", round(log10(spread["multi"])))

# %% [markdown]
# ## What was checked

# %%
chapter.validation()

# %% [markdown]
# :::{table-file} /artifacts/products-expanded/tables/products-expanded-validation.csv
# :name: tab-products-expanded-validation
#
# The checks of this chapter: the expansion, its remainder and bound, and both
# splittings in closed form.
# :::
#
# ## Try it
#
# 1. *Where is the crowd?* At $\varepsilon = 1$ and with all matrices equal to
#    the number 1, what is the size of order $r$ at lag 64, and how many orders
#    hold nine tenths of the sum? What does that say about cutting the series?
# 2. *A third splitting.* Expand around the recurrent term: $A = R$,
#    $B = \Lambda + G$. Do all orders still add to the transport? Which
#    splitting has the smallest error at order 1 in the random multi-gate
#    networks above, over one step and over twelve?
# 3. *Commuting factors.* If all $A_j$ and $B_j$ are diagonal, order 1 must be
#    $P \sum_i B_i / A_i$. Show it with the sweep, and find out from which case
#    of {prf:ref}`cor-leak` it is familiar.
#
# :::{admonition} Solution 1: where is the crowd?
# :class: dropdown
#
# Order $r$ is the number of its words, $\binom{64}{r}$. The crowd is near
# $r = 32$, and {result}`products-expanded/exercise-orders` orders around it
# hold nine tenths of the sum. So it is not the power of $\varepsilon$ that
# makes an expansion useful: $B$ must be small enough against $A$ to outweigh
# the number of words.
# :::
#
# :::{admonition} Solution 2: a third splitting
# :class: dropdown
#
# Any splitting adds up, since {prf:ref}`thm-expansion` asks nothing of $A$ and
# $B$. How soon it does is another matter. Over one step order 1 is exact by
# itself. Over twelve its error is
# {result}`products-expanded/exercise-error-gate` around $\Lambda + R$,
# {result}`products-expanded/exercise-error-recurrent` around $R$ and
# {result}`products-expanded/exercise-error-leak` around $\Lambda$, as largest
# difference over largest entry.
# :::
#
# :::{admonition} Solution 3: commuting factors
# :class: dropdown
#
# If everything commutes, the crossing at step $i$ is the product of all $A_j$
# with $A_i$ exchanged for $B_i$: $P\, B_i / A_i$. It is the scalar case of
# {prf:ref}`cor-leak`, where the leak is a multiple of the identity and commutes
# with everything.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solutions' code"}
sizes = pd.Series([comb(64, r) / 2**64 for r in range(65)])
crowd = sizes.sum() == 1 and sizes.idxmax() == 32
statement = "all orders of ones add to $2^{64}$, most of it near order 32"
chapter.check("exercise-crowd", statement, crowd, claim="C3", scope="ℓ = 64")
held = sizes.sort_values(ascending=False).cumsum()
chapter.number("exercise-orders", int((held < 0.9).sum()) + 1)

leak, R, G = terms["multi"]
for name, B_j in {"leak": R + G, "gate": G, "recurrent": leak + G}.items():
    first = expansion.orders(leak + R + G - B_j, B_j, 1).sum(0)
    missed = agreement.discrepancy(first, in_order(leak + R + G))
    chapter.number(f"exercise-error-{name}", missed, f"{missed:.2g}")

# %% [markdown]
# ## What it means
#
# The first two orders of the leak splitting read backpropagation in terms of
# clocks. At order 0 a gradient stays where it is and fades at its neuron's own
# pace. At order 1 it changes neurons once, through the couplings
# $[R_i + G_i]_{qp}$ of a single step, and fades on two clocks. From order 2 on it
# can come back. Then even what a neuron remembers of itself no longer fades at its
# own pace. *If* order 0 were the whole, gates would act on learning by rescaling
# alone. {ref}`ch-bptt` reads off these rates.
#
# To take home: a product of Jacobians can be sorted by how often one term enters,
# with one sweep for all orders and one for what is left out. That is exact for the
# sum of *all* orders and promises nothing about the first two; {ref}`ch-validity`
# measures what they miss.

# %% tags=["remove-cell"]
chapter.close()
