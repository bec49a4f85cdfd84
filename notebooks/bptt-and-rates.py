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
# (ch-bptt)=
# # Backpropagation through time, and the effective learning rate
#
# Plain gradient descent has one learning rate $\mu$. How much of it reaches a
# weight that was used $\ell$ steps before a mistake? In a gated network the
# answer depends on *which* neuron used the weight, and on *when*.
#
# The answer comes in three parts. The gradient of every weight has a closed
# form. Its simplest part, errors carried back by the gates alone, is gradient
# descent with one learning rate for each neuron and each lag: the *effective
# learning rate* of {cite}`livi2025timescale`. For each time at which the loss
# looks, these rates are shares of **one budget**, which the gates divide and
# cannot enlarge. Over long lags constant gates drive the neurons **apart
# exponentially**.
#
# How much of the gradient this simple part leaves out is not for algebra to
# say. It is measured at the end, on trained networks, and it is a lot.
#
# The chapter generalises {ref}`ch-one-neuron` and uses the Jacobians of
# {ref}`ch-jacobians`. One formula, the first order of an expansion, is borrowed
# from {ref}`ch-products`, which derives it.

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters"}
profile = "ci"
seeds = 3  # trained networks for each gate
device = "auto"
out = "../artifacts/draft/bptt-and-rates"
longest_proof = 6  # steps written out in proofs by brute force
n_hidden = 24  # neurons of the networks that read digits
training_steps = 300
probes = 24  # digits along which the trained networks are measured

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the imports"}
from functools import partial
from itertools import pairwise, product

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import sympy as sp
import torch
from gatelr import jacobian, rates, symbolic, tasks, transport
from gatelr.cells import GATES
from gatelr.experiments import agreement, digits, order_zero
from gatelr.record import Chapter, figures

chapter = Chapter("bptt-and-rates")
prove = partial(chapter.prove, claim="C7")
LINES = {"kind": "line", "height": 2.6, "col": "gate"}
LINES["palette"] = figures.CYCLE[:4]

# %% [markdown]
# ## The gradient in closed form
#
# A loss $L$ reads the states $x_1, \dots, x_T$. Its **direct** gradient
# $\delta_t = \partial L / \partial x_t$ holds later states fixed. The
# **adjoint** $\lambda_k$ is the full gradient with respect to $x_k$: it counts
# everything that $x_k$ does later. The other symbols are those of the
# {ref}`notation` page, and $J_k$ is the Jacobian of {prf:ref}`thm-jacobian`.
#
# :::{prf:theorem} Backpropagation through time
# :label: thm-bptt
#
# For every gate of the family and every number of neurons, the adjoint runs
# backwards,
#
# $$ \lambda_T = \delta_T, \qquad
# \lambda_{k-1} = J_k^\top \lambda_k + \delta_{k-1}, $$ (eq-adjoint)
#
# and with the two signals $c_k = g_k \odot \varphi'(a_k) \odot \lambda_k$ (at
# the candidate) and
# $c^g_k = (\varphi_k - x_{k-1}) \odot g_k \odot (1 - g_k) \odot \lambda_k$ (at
# the gate)
#
# $$
# \begin{aligned}
# \nabla_{W_r} L &= \sum_k c_k\, x_{k-1}^\top, &
# \nabla_{W_i} L &= \sum_k c_k\, u_k^\top, &
# \nabla_b L &= \sum_k c_k, \\
# \nabla_{W_{rg}} L &= \sum_k c^g_k\, x_{k-1}^\top, &
# \nabla_{W_{ig}} L &= \sum_k c^g_k\, u_k^\top, &
# \nabla_{b_g} L &= \sum_k c^g_k .
# \end{aligned}
# $$ (eq-gradients)
#
# For a scalar gate, $c^g_k$ is first summed over the neurons.
# :::
#
# The proof has two parts: what one step does to one weight, and how steps are
# chained.
#
# ### One step, every weight, every $n$
#
# SymPy differentiates neuron $q$ of one update with respect to each weight,
# with the sums over neurons left as sums, as in {ref}`ch-jacobians`. Row $i$ of
# a weight touches only neuron $i$, so a Kronecker delta appears. The one row of
# a scalar gate touches every neuron, and there is none.

# %%
for gate in GATES:
    claims, name = symbolic.weight_derivatives(gate), f"one-step-{gate}"
    facts = (symbolic.by_weight(gate, w) - claims[w] for w in claims)
    statement = f"one step's derivatives by its {len(claims)} weights, {gate}"
    prove(name, statement, *map(sp.expand, facts), scope="every n and m")

# %% [markdown]
# ### Chaining the steps
#
# Let $s_k = \mathrm{d}x_k/\mathrm{d}\theta$ be all that a weight $\theta$ did
# to the state so far, and $f_k$ what it does in step $k$ alone. Forwards in
# time, $s_k = J_k s_{k-1} + f_k$ with $s_0 = 0$. The gradient is
# $\sum_t \delta_t^\top s_t$. The claim is that it equals
# $\sum_k \lambda_k^\top f_k$. One line is the bridge:
#
# $$
# \lambda_k^\top s_k - \lambda_{k-1}^\top s_{k-1} + \delta_{k-1}^\top s_{k-1}
# = \lambda_k^\top f_k .
# $$ (eq-telescope)
#
# Sum it over $k$: the $\lambda_k$ terms telescope to
# $\lambda_T^\top s_T = \delta_T^\top s_T$, and what remains on the left is the
# gradient. SymPy checks the line with symbols that do not commute, since
# matrices must not change places. Then it writes out the whole sum for six
# steps, with nothing telescoped, in three ways: forwards, backwards, and with
# $\lambda_k = \sum_{t \ge k} M_{t,k}^\top \delta_t$. (Fewer steps are six
# of which the loss does not read the last.)

# %%
lam, J, s, f, delta = sp.symbols("lambda J s f delta", commutative=False)
new_s, old_lam = J * s + f, lam * J + delta  # rows: λᵀ and δᵀ
fact = sp.expand(lam * new_s - old_lam * s + delta * s - lam * f)
statement = (
    r"$\lambda_k^\top s_k - \lambda_{k-1}^\top s_{k-1} + \delta_{k-1}^\top "
    r"s_{k-1} = \lambda_k^\top f_k$ for matrices"
)
prove("telescope", statement, fact, scope="every n and k")


def three_ways(J: list, f: list, delta: list) -> list[sp.Expr]:
    """The gradient by s_t, by λ_k, and as Σ_t Σ_{k≤t} δ_t M_{t,k} f_k."""
    s = lam = by_s = by_lam = summed = 0
    for t in range(len(J)):
        s = J[t] * s + f[t]
        by_s += delta[t] * s
        for k in range(t + 1):
            summed += delta[t] * sp.prod(J[t:k:-1]) * f[k]
    for k in reversed(range(len(J))):
        lam += delta[k]
        by_lam += lam * f[k]
        lam *= J[k]
    return [sp.expand(way) for way in (by_s, by_lam, summed)]


letters = (f"{letter}_1:{longest_proof + 1}" for letter in ("J", "f", "d"))
chain = (sp.symbols(letter, commutative=False) for letter in letters)
by_s, by_lam, summed = three_ways(*chain)
facts, scope = (by_s - by_lam, by_lam - summed), f"every n, T ≤ {longest_proof}"
statement = (
    r"the chained gradient, and $\lambda_k = \sum_t M_{t,k}^\top \delta_t$, "
    rf"written out for $T \le {longest_proof}$"
)
prove("written-out", statement, *facts, scope=scope)

# %% [markdown]
# ### Nothing hidden: the unrolled network
#
# Both parts used structure. This check does not. `symbolic.unrolled` writes a
# network of two neurons as one nested expression, every weight a symbol, and
# lets `diff` loose on it. ($\tanh$ enters by its rule alone, which
# {ref}`ch-jacobians` checked.) Beside each derivative it puts what the theorem
# says, and the difference must expand to zero. For three steps the polynomials
# are too long to expand. They are compared at one rational point, in exact
# arithmetic.

# %%
for gate in GATES:
    facts = [
        (sp.expand if T < 3 else symbolic.at_a_point)(derivative - claim)
        for T in (1, 2, 3)
        for derivative, claim in symbolic.unrolled(gate, T)
    ]
    statement = f"all {len(facts)} derivatives of the unrolled network, "
    statement += rf"$T \le 3$, {gate}"
    about = {"scope": "n = 2, T ≤ 3"}
    about["note"] = "expanded for T up to 2, at a rational point for T = 3"
    prove(f"unrolled-{gate}", statement, *facts, **about)

# %% [markdown]
# ### The library and autograd
#
# `adjoint.gradients` is the theorem in torch. Against it stands autograd
# {cite}`paszke2019pytorch`, which differentiates the run itself. The loss
# $\frac12 \sum_t \lVert x_t - y_t \rVert^2$ reads every state of a random
# network: along one sequence, along a batch, and in {term}`replicas <replica>`
# with their own weights. *Each* means the gradient of each sequence by itself,
# for which autograd needs a loop. {numref}`tab-gradient-agreement` has the
# largest discrepancy.

# %%
gradients = agreement.compare_gradients(5, 2, 9, device=chapter.device)
worst = gradients.groupby("samples").gap.max()
chapter.number("gradient-gap", float(worst.max()), f"{worst.max():.1e}")
scope = "every gate, n = 5, T = 9"
for samples, words in {"sum": "summed", "each": "per sample"}.items():
    statement = "`adjoint.gradients` and autograd agree, every weight"
    name, statement = f"autograd-{samples}", f"{statement}, {words}"
    gap = worst[samples]
    chapter.check(name, statement, gap, 1e-10, claim="C7", scope=scope)

# %% tags=["hide-input"]
printed = gradients.pivot_table(
    "gap", ["gate", "samples"], "weight", aggfunc="max", sort=False
).map("{:.1e}".format, na_action="ignore")
chapter.table("gradient-agreement", printed.fillna("–").reset_index())

# %% [markdown]
# :::{table-file} /artifacts/bptt-and-rates/tables/gradient-agreement.csv
# :name: tab-gradient-agreement
#
# The library's gradient is autograd's, to rounding. Largest discrepancy,
# relative to the largest entry, over all shapes of batch: summed over
# sequences, and for each sequence by itself.
# :::
#
# ## What the gates do to a learning rate
#
# The adjoint sums over everything that can happen between $k$ and $t$: the
# factors $J_{k+1}, \dots, J_t$, each with its leak, recurrent and gate term.
# Keep the leaks only. In the language of {ref}`ch-products` this is order 0 of
# the leak {term}`splitting`: $M_{t,k}$ becomes
# $\operatorname{diag}(P_{t,k})$, with the retention
# $P^q_{t,k} = \prod_{j=k+1}^{t} (1 - g^q_j)$.
#
# :::{prf:theorem} Effective learning rates
# :label: thm-effective-rates
#
# One step of gradient descent at rate $\mu$, with errors carried back by the
# leaks alone, is
#
# $$
# \Delta W_r = - \sum_t \sum_{k \le t} \operatorname{diag}(\mu_{t,k})\, D_k\,
# \delta_t\, x_{k-1}^\top, \qquad \mu^q_{t,k} = \mu\, g^q_k\, P^q_{t,k} .
# $$ (eq-effective)
#
# The factor in front is $\mu\,\alpha (1 - \alpha)^{\ell}$ for a constant gate,
# $\mu\, g_k \prod_{j>k} (1 - g_j)$ for a scalar one, and one number per neuron
# and lag for a multi gate. For each pair $(t, k)$ it acts on the weights,
# written row by row, as $\operatorname{diag}(\mu_{t,k}) \otimes I$: a diagonal
# preconditioner, positive as long as gates are in $(0, 1)$, and set by the
# data where the gate is learned.
# :::
#
# The sum over pairs is another matter. Its terms have signs, so the whole step
# is not the gradient times a positive diagonal matrix: {ref}`ch-optimisers` has
# the counter-example.
#
# Other weights have their rates too. $W_i$ and $b$ carry the same $\mu_{t,k}$.
# The readout $W_o$ is used at $t$ alone and carries the factor 1. The gate's
# own weights $W_{rg}$, $W_{ig}$ and $b_g$ carry
# $\mu\,(\varphi_k - x_{k-1})\, g_k (1 - g_k)\, P_{t,k}$, whose sign is not fixed.
#
# *Proof.* With $J = \Lambda$ neurons do not mix, so one neuron will do:
# $\lambda_{k-1} = (1 - g_k) \lambda_k + \delta_{k-1}$. If
# $\lambda_k = \sum_{t \ge k} P_{t,k} \delta_t$, then the same holds one step
# earlier, since $P_{t,k-1} = (1 - g_k) P_{t,k}$ and $P_{k-1,k-1} = 1$. Put it
# into $c_k$, sort by $t$, and $g_k P_{t,k}$ stands before
# $\varphi'(a_k)\, \delta_t$. SymPy takes the induction step for any $T$.

# %%
gs, ds, Ps = (sp.IndexedBase(name) for name in ("g", "delta", "P"))
t, k, T_end = sp.symbols("t k T", integer=True, positive=True)
kept = 1 - gs[k]
earlier = sp.Sum(kept * Ps[t] * ds[t], (t, k, T_end))  # P_{t,k-1} δ_t
fact = earlier - kept * sp.Sum(Ps[t] * ds[t], (t, k, T_end))
fact, scope = sp.factor_terms(fact), "every T"
statement = (
    r"if $\lambda_k = \sum_t P_{t,k} \delta_t$, then "
    r"$(1 - g_k) \lambda_k = \sum_{t \ge k} P_{t,k-1} \delta_t$, any $T$"
)
chapter.prove("order-0-induction", statement, fact, claim="C8", scope=scope)

# %% [markdown]
# ### In numbers: a network that sees only its leak
#
# What would autograd say in a network whose $J$ *is* its leak?
# `agreement.leak_only` detaches the state wherever the candidate and the gate
# read it. The values stay the same, and the only road back in time is
# $(1 - g_t)\, x_{t-1}$. `rates.signal` adds up the errors, each times
# `rates.effective`, lag by lag, and `rates.gradients` makes a gradient of every
# weight from them. Both sides must agree, for all weights that make states.

# %%
gaps, options = [], {"batch": (4,), "device": chapter.device}
for gate in GATES:
    model, u, y = agreement.random_case(gate, 5, 2, 9, **options)
    loss = ((agreement.leak_only(model, u) - y) ** 2).sum() / 2
    with torch.no_grad():
        run = model.run(u)
        made = rates.gradients(model, run, rates.signal(run, run.x - y))
    exact = torch.autograd.grad(loss, [getattr(model, name) for name in made])
    gaps += [
        agreement.discrepancy(*pair) for pair in zip(made.values(), exact, strict=True)
    ]
statement = "effective rates give the gradient of a network that sees only its "
statement += "leak, by every weight that makes states"
scope, gap = "every gate, n = 5, T = 9", max(gaps)
chapter.check("order-0-numbers", statement, gap, 1e-12, claim="C8", scope=scope)

# %% [markdown]
# ### One order further
#
# The first correction of the leak splitting couples neurons. It is not diagonal
# any more, and no learning rate of a neuron can express it. Its diagonal can be
# kept, and gives a corrected rate.
#
# :::{prf:proposition} Corrected rate
# :label: prop-corrected
#
# The diagonal of orders 0 and 1 together is
#
# $$
# P^q_{t,k} \Big( 1 + \sum_{i=k+1}^{t} \frac{[R_i + G_i]_{qq}}{1 - g^q_i}
# \Big),
# $$ (eq-corrected)
#
# so that the learning rate of neuron $q$ over the lag, corrected to first
# order, is $\mu\, g^q_k$ times it.
# :::
#
# It needs $g^q_i \neq 1$, and it may be negative.
#
# *Proof.* Order 1 in {eq}`eq-leak-order-one` sums, over the step $i$ that leaves
# the diagonal, $P^q_{t,i}\, [R_i + G_i]_{qp}\, P^p_{i-1,k}$. For $p = q$ the two
# retentions together are $P^q_{t,k}$ without its factor $1 - g^q_i$. The cell
# writes $P_{t,k}$ as a ratio of two products that start at step 1, which is
# possible for every lag.

# %%
i, entry = sp.Symbol("i", integer=True), sp.Symbol("[R_i+G_i]_{qq}")
upto = sp.Function("Q", positive=True)  # Q(t): the product of 1 - g_j for j up to t
kept_since_i, kept_until_i = upto(t) / upto(i), upto(i - 1) / upto(k)
kept_at_i = upto(i) / upto(i - 1)  # 1 - g_i
of_order_1 = kept_since_i * entry * kept_until_i  # at q = p
fact = sp.simplify(of_order_1 - upto(t) / upto(k) * entry / kept_at_i)
statement = (
    r"at $p = q$ each term of order 1 is $P_{t,k}\,[R_i+G_i]_{qq}/(1 - g_i)$, "
    "as long as no gate is 1"
)
scope = "every n and ℓ"
chapter.prove("corrected-rate", statement, fact, claim="C8", scope=scope)

# %% [markdown]
# ## One budget
#
# At step $t$, how much learning rate is handed out to all steps before it? Add
# up $g_k P_{t,k}$.
#
# :::{prf:theorem} The budget
# :label: thm-budget
#
# For any gates, fixed or learned, and for every neuron,
#
# $$ \sum_{k=1}^{t} g_k\, P_{t,k} = 1 - P_{t,0} . $$ (eq-budget)
#
# With the part that still belongs to the initial state, the shares add to one:
# for each loss time $t$ the gates divide one learning rate $\mu$ over lags.
# :::
#
# *Proof.* Call the sum $S_t$. Since $P_{t,k} = (1 - g_t) P_{t-1,k}$, all old
# shares shrink by $1 - g_t$ and the new one is $g_t$:
# $S_t = (1 - g_t) S_{t-1} + g_t$. The right side, $1 - P_{t,0}$, obeys the same
# recursion, and both start at 0. The budget is a stick from which $g_t$ of the
# *whole rest* is broken off, newest step first.
#
# The budget belongs to a loss time $t$. A *step* $k$ has none: if the loss reads
# several states, step $k$ is taught by all later ones. For constant gates these
# rates add up to at most 1. For gates that vary they can add up to $T - k + 1$,
# which exercise 2 shows.
#
# Within the budget everything is possible. Name the shares you want,
# non-negative and adding to at most one. Breaking the stick accordingly,
# $g_k = s_k \,/\, (1 - \sum_{j>k} s_j)$, gives gates in $[0, 1]$ that produce
# exactly them.

# %%
g_t, old = sp.symbols("g_t P", positive=True)
shares_then = sp.Sum(gs[k] * Ps[k], (k, 1, t - 1))
shares_now = sp.Sum((1 - g_t) * gs[k] * Ps[k], (k, 1, t - 1)) + g_t
facts = [sp.factor_terms(shares_now - (1 - g_t) * shares_then - g_t)]
facts += [sp.expand((1 - (1 - g_t) * old) - ((1 - g_t) * (1 - old) + g_t))]
statement = (
    r"$S_t = (1 - g_t) S_{t-1} + g_t$, and $1 - P_{t,0}$ obeys the same "
    "recursion, any $t$"
)
scope = "every t"
chapter.prove("budget-induction", statement, *facts, claim="C9", scope=scope)
facts, given, rest = [], 0, 1  # of the stick
for share in reversed(sp.symbols(f"s_1:{longest_proof + 1}")):
    g_k = share / (1 - given)
    facts.append(sp.cancel(g_k * rest - share))
    given, rest = given + share, rest * (1 - g_k)
lag, count = sp.symbols("lag N", integer=True, positive=True)
given_by = sp.summation((1 - g_t) ** (lag - 1) * g_t, (lag, 1, count))
fact = sp.simplify(given_by - (1 - (1 - g_t) ** count))
statement = "what N loss times give one step through a constant gate, in all: "
statement += "$1 - (1-g)^N$, less than 1"
chapter.prove("budget-of-a-step", statement, fact, claim="C9", scope="every N and g")
statement = r"gates $g_k = s_k / (1 - \sum_{j>k} s_j)$ produce the shares $s_k$"
statement += f", {longest_proof} of them"
scope = f"{longest_proof} steps"
chapter.prove("budget-any-split", statement, *facts, claim="C9", scope=scope)

# %% [markdown]
# A constant gate has no such freedom: one number sets all shares.
# {numref}`fig-one-gate` lets you move it.
#
# ## Neurons drift apart
#
# Two questions sound alike. How much more of an error does one neuron *pass
# back* over a lag than another? That is the condition number of order-0
# transport, $\kappa(\ell) = \max_q P^q / \min_q P^q$. How much more does one
# neuron *learn* from the lag than another? That is the condition number of the
# preconditioner, $\kappa_\mu(\ell) = \max_q g^q P^q / \min_q g^q P^q$. At lag 0 the
# first is 1, since nothing has been forgotten. The second is not: a fast neuron
# writes more, and learns most.
#
# :::{prf:theorem} Anisotropy grows with the lag
# :label: thm-kappa
#
# With constant gates $\alpha_q$, one for each neuron,
#
# $$
# \kappa(\ell) = \Big( \frac{1 - \alpha_{\min}}{1 - \alpha_{\max}}
# \Big)^{\ell} .
# $$ (eq-kappa)
#
# The rates of two of them, $\alpha_1 > \alpha_2$, are equal at
#
# $$
# \ell^* = \frac{\ln(\alpha_1/\alpha_2)}{\ln\big((1-\alpha_2)/(1-\alpha_1)\big)} .
# $$ (eq-crossing)
#
# Before $\ell^*$ the faster one learns more, beyond it the slower one. With the
# largest and the smallest $\alpha$ in it, $\kappa_\mu$ falls up to $\ell^*$ and
# grows from there on. For one gate shared by all neurons, constant or learned,
# $\kappa = \kappa_\mu = 1$ at every lag.
# :::
#
# *Proof.* $(1 - \alpha)^\ell$ falls with $\alpha$, so the largest retention
# belongs to the smallest $\alpha$. The logarithm of a rate,
# $\ln \alpha + \ell \ln(1-\alpha)$, is a straight line in $\ell$, steeper for
# larger $\alpha$, and two such lines cross at {eq}`eq-crossing`. At a given $\ell$
# it is concave in $\alpha$, so the lowest rate belongs to an extreme: to the
# smallest $\alpha$ before $\ell^*$, to the largest beyond. Before $\ell^*$ the
# highest line falls faster than that lowest one, and $\kappa_\mu$ falls. Beyond,
# the lowest line falls fastest, and $\kappa_\mu$ grows. A shared gate gives every
# neuron the same $g$ and $P$.

# %%
fast, slow, ell, z = sp.symbols("alpha_1 alpha_2 ell z", positive=True)
log_kept = ell * sp.log(1 - fast)
log_rate = sp.log(fast) + log_kept
apart = log_rate - log_rate.subs(fast, slow)
crossing = (sp.log(fast) - sp.log(slow)) / (sp.log(1 - slow) - sp.log(1 - fast))
any_gate = {fast: 1 / (1 + z)}  # reaches all of (0, 1)
facts = [
    log_kept.diff(fast).subs(any_gate).factor().is_negative,
    sp.simplify(apart.subs(ell, crossing)),
    log_rate.diff(fast, 2).subs(any_gate).factor().is_negative,
]
statement = (
    r"what is kept falls with $\alpha$; the rates of two constants are equal at "
    r"$\ell^*$; the logarithm of a rate is concave in $\alpha$"
)
chapter.prove("kappa-constant", statement, *facts, claim="C14", scope="every ℓ and α")

# %% [markdown]
# ## On real sequences
#
# So far gates were symbols. Now they are learned. Handwritten digits
# {cite}`alpaydin1998digits` are read pixel by pixel by networks with a constant gate
# (one $\alpha$ per neuron, spread evenly on a logarithmic scale), a scalar and
# a multi gate. The training is short. It is there to have gates that respond to
# something, not to win.

# %%
LEARNED = ("constant", "scalar", "multi")
double = {"dtype": torch.float64, "device": chapter.device}
train = tasks.digits(split="train", **double)
test = tasks.digits(split="test", **double)
seen = digits.for_each_seed(test.u[:, :probes], seeds)
alphas = torch.logspace(-2, -0.05, n_hidden)
options = {"learning_rate": 2e-2, "batch": 48, "device": chapter.device}
STEPS = len(seen)
models, runs, terms, scores = {}, {}, {}, {}
for gate in LEARNED:
    model = digits.train(gate, n_hidden, seeds, training_steps, alpha=alphas, **options)
    models[gate] = model.double()  # measured in double precision
    with torch.no_grad():
        runs[gate] = model.run(seen)
        terms[gate] = jacobian.terms(model, runs[gate])
        answer = model(digits.for_each_seed(test.u, seeds)).argmax(-1)
    scores[gate] = (answer == test.target).double().mean()
scores["guess"] = (test.target == train.target.mode().values).double().mean()
for name, score in scores.items():
    percent = 100 * float(score)
    chapter.number(f"accuracy-{name}", percent, f"{percent:.0f}", "%")

# %% [markdown]
# They name {result}`bptt-and-rates/accuracy-constant` (constant),
# {result}`bptt-and-rates/accuracy-scalar` (scalar) and
# {result}`bptt-and-rates/accuracy-multi` (multi) of the digits that they did
# not train on. Always saying the commonest digit scores
# {result}`bptt-and-rates/accuracy-guess`. What follows is measured along some
# of these digits.
#
# ### The rate of every lag and neuron
#
# {numref}`fig-rates-by-lag-and-neuron` shows $\mu_{T,k}/\mu$ at the end of one
# digit. A constant gate gives each neuron one exponential, whatever the digit.
# A scalar gate moves with the digit, and moves all neurons together. Only a
# multi gate does both: look for rows that differ *and* are broken by stripes.

# %% tags=["hide-input"]
by_lag = {}
for gate, run in runs.items():
    order = run.g[:, 0, 0].expand(-1, n_hidden).mean(0).argsort()
    share = rates.shares(run)[:, 0, 0, order].flip(0).T.cpu()
    by_lag[gate] = pd.DataFrame(share.numpy(), index=range(1, n_hidden + 1))
with figures.style():
    fig, axes = plt.subplots(1, 3, figsize=(6.8, 3.0), sharey=True)
    scale = mpl.colors.LogNorm(1e-6, 1)
    for ax, (gate, table) in zip(axes, by_lag.items(), strict=True):
        mesh = ax.pcolormesh(table.clip(1e-6), norm=scale, rasterized=True)
        ax.set(title=gate, xlabel=r"lag $\ell = T - k$", xticks=[0, 32, 63])
        ax.grid(False)
    axes[0].set_ylabel("neuron, by mean gate")
    bar = fig.colorbar(mesh, ax=axes, pad=0.01, extend="min")
    bar.set_label(r"effective rate $\mu_{T,k}/\mu$")
plotted = pd.concat(by_lag, names=["gate", "neuron"]).rename_axis(columns="lag")
plotted = plotted.stack().rename("rate").reset_index()
chapter.figure("rates-by-lag-and-neuron", fig, plotted)

# %% [markdown]
# :::{figure} /artifacts/bptt-and-rates/figures/rates-by-lag-and-neuron.svg
# :name: fig-rates-by-lag-and-neuron
# :alt: Three heat maps of rate over lag and neuron. In the constant network
# :  every row is a smooth decay, slow at the bottom and fast at the top. In the
# :  scalar network all rows are the same, and dark beyond short lags. In the
# :  multi network the rows differ and are broken into stripes that follow the
# :  rows of the image; a few rows at the bottom stay bright over many lags.
#
# Only with a multi gate do rates differ by neuron and follow the digit.
# Effective learning rate of every lag and neuron at the end of one handwritten
# digit, in trained networks. Neurons are sorted by their mean gate, slow ones
# at the bottom; the scale is logarithmic and cut below one millionth.
# :::
#
# ### The budget, divided
#
# {prf:ref}`thm-budget` says that each neuron's shares and what is left of its
# past add to one. On the trained networks they do, for every neuron.

# %%
gaps = []
for run in runs.values():
    total = rates.shares(run).sum(0) + rates.retention(run, STEPS)[0]
    gaps.append(float((total - 1).abs().max()))
statement = "shares and rest add to one on digits: every gate, neuron, seed"
scope, gap = "trained networks", max(gaps)
chapter.check("budget-numbers", statement, gap, 1e-12, claim="C9", scope=scope)

# %% [markdown]
# {numref}`fig-budget-bars` shows what a few neurons do with their budget. Look
# at the bottom bar of each group, the fastest neuron, and then at the top one.

# %% tags=["hide-input"]
places = {"slowest": 0, "slow": n_hidden // 4, "middle": n_hidden // 2}
places |= {"fastest": n_hidden - 1}
tables = {}
for gate in ("scalar", "constant", "multi"):
    by_reach = order_zero.budget_by_lag(runs[gate], [0, 1, 4, 16, STEPS])
    chosen = {"all neurons": 0} if gate == "scalar" else places
    tables[gate] = by_reach.iloc[[*chosen.values()]].set_axis([*chosen])
bars = pd.concat(tables, names=["gate", "neuron"]).rename_axis(columns="lags")
tints = mpl.colormaps[figures.SEQUENTIAL]([0.95, 0.65, 0.35, 0.05])
with figures.style():
    fig, ax = plt.subplots(figsize=(7.6, 3.9))
    look = {"stacked": True, "width": 0.8, "color": [*tints, "none"]}
    named = bars.set_axis(bars.index.map(", ".join))[::-1]
    named.plot.barh(**look, legend=False, ax=ax)
    for place, group in enumerate(ax.containers[:-1]):
        texts = [f"{v:.0%}" if v > 0.075 else "" for v in group.datavalues]
        color = "black" if place < 2 else "white"
        ax.bar_label(group, texts, label_type="center", color=color, size=8.5)
    plt.setp(ax.containers[-1], hatch="////", edgecolor=figures.MUTED)
    ax.set(xlim=(0, 1), xlabel="share of the learning rate", ylabel="")
    ax.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    ax.grid(False)
    fig.legend(title="lag in steps", loc="outside upper center", ncols=5)
chapter.figure("budget-bars", fig, bars.stack().rename("share").reset_index())

# %% [markdown]
# :::{figure} /artifacts/bptt-and-rates/figures/budget-bars.svg
# :name: fig-budget-bars
# :alt: Nine stacked bars of equal length. The scalar gate gives more than half
# :  to the current step and nearly all of the rest to the three before. With
# :  constant gates the slow neurons keep most of their budget for lags beyond
# :  sixteen, or do not give it out, and the fastest spends almost everything at
# :  once. Multi gates lie in between: the slowest reaches beyond sixteen steps,
# :  the fastest spends most on the current step.
#
# Every neuron divides one learning rate, each in its own way. How neurons
# divide the rate of the last step over lags: means over digits, one trained
# network for each gate. Neurons are ordered by how far back their budget
# reaches. Every bar adds to one; the hatched part belongs to the initial state
# and is not given out.
# :::
#
# ### The spectrum of the preconditioner
#
# For one pair $(T, k)$ the eigenvalues of
# $\operatorname{diag}(\mu_{T,k}) \otimes I$ are the rates, each $n$ times.
# {numref}`fig-preconditioner-spectrum` sorts them at a few lags. The steeper a
# line, the more the preconditioner of this lag prefers some neurons.

# %% tags=["hide-input"]
rows = []
for gate, lag in product(LEARNED, (0, 2, 8, 32)):
    share = rates.shares(runs[gate])[-1 - lag].flatten(0, 1).cpu()
    middle = share.sort(-1, descending=True).values.median(0).values
    rows += [(gate, lag, r, v) for r, v in enumerate(middle.tolist(), 1)]
spectrum = pd.DataFrame(rows, columns=["gate", "lag", "rank", "rate"])
with figures.style():
    look = LINES | {"hue": "lag", "style": "lag"}
    grid = sns.relplot(spectrum, x="rank", y="rate", **look)
    grid.set(yscale="log", ylim=(1e-12, 2), xticks=[1, 12, 24])
    grid.set_titles("{col_name}").set_xlabels("neurons, by rate")
    grid.set_ylabels(r"effective rate / $\mu$")
chapter.figure("preconditioner-spectrum", grid.figure, spectrum)

# %% [markdown]
# :::{figure} /artifacts/bptt-and-rates/figures/preconditioner-spectrum.svg
# :name: fig-preconditioner-spectrum
# :alt: Three panels of sorted rates on a logarithmic axis, four curves each for
# :  growing lags. In the scalar panel the curves are flat and sink with the
# :  lag. In the constant and the multi panel they tilt: over the two long lags
# :  the bottom rates fall over many orders of magnitude.
#
# Over long lags gates of their own tilt the spectrum of the preconditioner; one
# shared gate keeps it flat and lowers it as a whole. Rates of all neurons from
# the largest to the smallest at four lags, medians over digits and networks;
# the axis is cut below. For the constants lag 2 is tilted less than lag 0: it
# lies next to the crossing $\ell^*$ of {prf:ref}`thm-kappa`.
# :::
#
# ### Condition number by lag
#
# For constants {prf:ref}`thm-kappa` promises an exponential. Learned multi
# gates promise nothing: if at each step *other* neurons were slow, differences
# would average out. A placebo shows how that would look. It has the same gate
# values, dealt out anew to the neurons at each step.

# %%
dealt = order_zero.deal_anew(runs["multi"], torch.Generator().manual_seed(0))
levels = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
rows = []
for name, run in {**runs, "multi, dealt anew": dealt}.items():
    for lag in (1, 2, 4, 8, 16, 32, 63):
        logarithm = rates.condition(run, lag).flatten().cpu().log10()
        rows.append((name, lag, *logarithm.quantile(levels).tolist()))
columns = ["gate", "lag", "lower quartile", "median", "upper quartile"]
kappa = pd.DataFrame(rows, columns=columns)
alphas = torch.tensor(models["constant"].alpha, dtype=torch.float64)
one_step = float(torch.log10((1 - alphas.min()) / (1 - alphas.max())))
swap = float(crossing.subs({fast: float(alphas.max()), slow: float(alphas.min())}))
learn = [
    float(rates.preconditioner_condition(runs["constant"], lag)[-1].max())
    for lag in range(6)
]
chapter.number("crossing", swap, f"{swap:.1f}")
for lag in (0, 2, 5):
    chapter.number(f"kappa-learn-{lag}", learn[lag], f"{learn[lag]:.0f}")
wrong = 0
for lag, (now, then) in enumerate(pairwise(learn)):
    wrong += (lag + 1 <= swap and then >= now) or (lag >= swap and then <= now)
statement = r"$\kappa_\mu$ of the constants, as the library measures it, falls from "
statement += r"lag to lag before $\ell^*$ and grows beyond: lags up to 5"
scope = "trained networks"
chapter.check("kappa-learn-turns", statement, wrong, claim="C14", scope=scope)
constants = kappa[kappa.gate == "constant"]
gap = (constants["median"] / (constants.lag * one_step) - 1).abs().max()
statement = r"on digits $\log\kappa$ of the constants is $\ell$ times that of "
statement += "one step"
scope = "trained networks"
chapter.check("kappa-digits", statement, gap, 1e-12, claim="C14", scope=scope)

# %% tags=["hide-input"]
with figures.style():
    fig, ax = plt.subplots()
    for name, table in kappa.groupby("gate", sort=False):
        look = figures.GATES.get(name, figures.GATES["none"])
        low, middle, high = (table[column] for column in columns[2:])
        ax.plot(table.lag, middle, **look)
        ax.fill_between(table.lag, low, high, color=look["color"], alpha=0.18)
        ax.text(64, middle.iloc[-1], name, color=look["color"], va="center")
    ax.set(xlabel=r"lag $\ell$", ylabel=r"$\log_{10} \kappa(\ell)$")
    ax.set(xlim=(0, 82), xticks=[1, 8, 16, 32, 63])
chapter.figure("kappa-by-lag", fig, kappa)
at_63 = kappa[kappa.lag == 63].set_index("gate")["median"]
multi = kappa[kappa.gate == "multi"]
slope = float((multi["median"] * multi.lag).sum() / (multi.lag**2).sum())
chapter.number("kappa-multi-per-step", 10**slope, f"{10**slope:.2g}")
for slug, name in {"multi": "multi", "dealt": "multi, dealt anew"}.items():
    chapter.number(f"kappa-{slug}-63", at_63[name], f"{at_63[name]:.0f}")
values = torch.linalg.svdvals(transport.products(sum(terms["scalar"]), 8))
spread = float((values[..., 0] / values[..., n_hidden // 2]).median())
chapter.number("spread-scalar-8", spread, f"{spread:.0f}")

# %% [markdown]
# :::{figure} /artifacts/bptt-and-rates/figures/kappa-by-lag.svg
# :name: fig-kappa-by-lag
# :alt: Lines of the logarithm of the condition number over lag. The scalar gate
# :  stays at zero. The constant gate rises on a straight line to about sixty.
# :  The multi gate rises nearly straight as well, to a somewhat lower end; its
# :  placebo with shuffled neurons rises far more slowly and bends.
#
# Neurons with gates of their own drift apart exponentially with the lag.
# Order-0 condition number over lag, decimal logarithm: median and quartiles
# over steps, digits and networks. Straight lines are exponentials. The dotted
# placebo deals the multi gate's values out anew to the neurons at each step.
# :::
#
# How unequally neurons *learn* is the other number. For these constants
# $\ell^*$ is {result}`bptt-and-rates/crossing`. The fastest-learning neuron learns
# {result}`bptt-and-rates/kappa-learn-0` times as fast as the slowest at lag 0,
# {result}`bptt-and-rates/kappa-learn-2` times at lag 2, and
# {result}`bptt-and-rates/kappa-learn-5` times at lag 5.
#
# In the trained multi-gate networks $\kappa$ grows by a factor of about
# {result}`bptt-and-rates/kappa-multi-per-step` with each step of lag. Over 63
# steps its logarithm reaches {result}`bptt-and-rates/kappa-multi-63` decades.
# With gates dealt anew it ends at {result}`bptt-and-rates/kappa-dealt-63`. The
# difference is what lasts: being slow or fast is a trait of a neuron.
#
# Two warnings. A number of this size means that the fastest neurons pass back
# nothing at all *through their leak*; what reaches them comes by other roads,
# which order 0 does not see. And $\kappa = 1$ does not make a scalar gate
# isotropic. Of the exact transport over eight steps in those networks, the
# largest singular value is {result}`bptt-and-rates/spread-scalar-8` times the
# middle one, by the median, and all of that comes from $R$ and $G$.
#
# ## What order 0 leaves out
#
# Rates are read off the diagonal of transport, with the recurrent and the gate
# term left out. So there are two questions. How well is the *diagonal* of
# $M_{t,k}$ met, and does the first-order correction help? And how much of
# $M_{t,k}$ is not on the diagonal at all? A correction made from *another
# digit's* $R + G$ is the placebo: if it does as well, the correction knows
# nothing about this sequence.

# %%
rows = []
for gate, lag in product(LEARNED, (1, 2, 4, 8, 16, 32)):
    errors = order_zero.diagonal_errors(runs[gate], terms[gate], lag)
    medians = {name: float(error.median()) for name, error in errors.items()}
    rows.append({"gate": gate, "lag": lag} | medians)
diagonals = pd.DataFrame(rows)
at_8 = diagonals[diagonals.lag == 8].set_index("gate")
told = at_8[["order 0", "corrected", "off the diagonal"]].stack()
for (gate, name), value in told.items():
    chapter.number(f"{name.replace(' ', '-')}-{gate}-8", float(value))

# %% tags=["hide-input"]
curves = diagonals.melt(["gate", "lag"], var_name="share", value_name="size")
with figures.style():
    look = LINES | {"hue": "share", "style": "share", "markers": True}
    grid = sns.relplot(curves, x="lag", y="size", **look)
    grid.refline(y=1, color=figures.INK, linestyle=":")
    grid.set(ylim=(0, 1.1), xscale="log", ylabel="relative size")
    grid.set(xticks=[1, 2, 4, 8, 16, 32], xticklabels=[1, 2, 4, 8, 16, 32])
    grid.set_titles("{col_name}").set_xlabels(r"lag $\ell$")
    grid.legend.set_title("")
chapter.figure("diagonal-by-lag", grid.figure, diagonals)

# %% [markdown]
# :::{figure} /artifacts/bptt-and-rates/figures/diagonal-by-lag.svg
# :name: fig-diagonal-by-lag
# :alt: Three panels, one per gate, with lag on the horizontal axis and four
# :  curves each. The share off the diagonal is the largest over short lags and
# :  ends near one. The corrected error starts at zero, stays below that of
# :  order 0 over short lags, and meets it later. In the constant network the
# :  errors stay below a quarter up to lag sixteen; in the scalar network they
# :  come close to one by lag four.
#
# Most of transport is soon off the diagonal, where no rate can reach it. Error
# of the effective rate on the diagonal of transport, relative to that diagonal,
# at order 0, with the first-order correction, and with the correction of
# another digit (placebo); and the share of transport's norm that is off the
# diagonal. Medians over steps, digits and networks. On the dotted line the
# error is as large as what it is an error of.
# :::
#
# Look at lag 8 in {numref}`fig-diagonal-by-lag`. In the constant network the
# error on the diagonal is {result}`bptt-and-rates/order-0-constant-8` at order
# 0 and {result}`bptt-and-rates/corrected-constant-8` with the correction, but
# {result}`bptt-and-rates/off-the-diagonal-constant-8` of transport is off the
# diagonal. In the multi network order 0 misses
# {result}`bptt-and-rates/order-0-multi-8` of the diagonal. In the scalar
# network it misses {result}`bptt-and-rates/order-0-scalar-8`, which is as much
# as there is. The correction is worth having only where its curve is below both
# order 0 and the placebo. (Over a single step order 1 is all there is, so the
# correction is exact there and proves nothing.)
#
# Now the gradient itself. The loss is the cross entropy of the last state, and
# each digit has its own exact gradient $\nabla_{W_r} L$ from
# `adjoint.gradients`. Beside it stand two imitations made of rates: order 0,
# and the corrected rate. A cosine says little alone, so three nulls stand below
# them. *Lag 0 alone* is the one term of order 0 that knows no time-scale: the
# step at which the loss looks. *Mean gates* puts in place of each gate its mean
# over steps and digits. *Another digit* takes the rates from another digit.

# %%
rows, added = [], {}
target = test.target[:probes]
for gate in LEARNED:
    imitations = order_zero.imitations(models[gate], runs[gate], terms[gate], target)
    for name, (error, cosine) in imitations.items():
        rows.append((gate, name, float(error.median()), float(cosine.median())))
        slug = f"{name.replace(' ', '-')}-{gate}"
        for what, value in zip(("error", "cosine"), rows[-1][2:], strict=True):
            chapter.number(f"gradient-{what}-{slug}", value, f"{value:.2f}")
    beyond = imitations["order 0"][1] - imitations["lag 0 alone"][1]
    added[gate] = pd.Series(beyond.median(-1).values.tolist())
added = pd.concat(added, names=["gate", "seed"])
for gate, value in [*added.groupby("gate").mean().items(), ("mean", added.mean())]:
    chapter.number(f"time-scales-add-{gate}", value, f"{value:.2f}")
columns = ["gate", "rates", "relative error", "cosine"]
imitated = pd.DataFrame(rows, columns=columns)
imitated[columns[2:]] = imitated[columns[2:]].map("{:.2f}".format)
chapter.table("imitated-gradients", imitated)
chapter.claim(
    "time-scales-add",
    "the order-0 gradient is closer in direction to the exact one than its newest "
    "term alone: cosine minus that of lag 0 alone",
    added,
    about="C8",
    smallest=0.1,
    primary=True,
    note="median over digits; lag 0 alone is the null; smallest effect after a pilot",
)

# %% [markdown]
# :::{table-file} /artifacts/bptt-and-rates/tables/imitated-gradients.csv
# :name: tab-imitated-gradients
#
# A gradient made of effective rates shares the direction of the exact one in
# part, little more of it than its nulls do, and little of its size. Each digit's
# loss, with respect to $W_r$; medians over digits and networks. A relative error
# of 1 is what a gradient of zero would have; a cosine of 1 is the same direction.
# :::
#
# {numref}`tab-imitated-gradients` says three things.
#
# *Size.* The relative error of order 0 is near that of a gradient of zero: it is
# {result}`bptt-and-rates/gradient-error-order-0-multi` with a multi gate.
#
# *Direction.* With a multi gate the order-0 gradient has a cosine of
# {result}`bptt-and-rates/gradient-cosine-order-0-multi` to the exact one. But
# lag 0 alone has {result}`bptt-and-rates/gradient-cosine-lag-0-alone-multi`, and
# lag 0 knows nothing of time-scales. Digit by digit, these add to the cosine
# {result}`bptt-and-rates/time-scales-add-constant` with the constant gate,
# {result}`bptt-and-rates/time-scales-add-scalar` with the scalar one and
# {result}`bptt-and-rates/time-scales-add-multi` with the multi gate. They do add:
# the claim is *{result}`bptt-and-rates/time-scales-add.verdict`*. But it is little
# beside what lag 0 knows alone.
#
# *Which digit.* Multi gates fixed at their means reach
# {result}`bptt-and-rates/gradient-cosine-mean-gates-multi`: so much is known from
# which neurons are slow, without knowing when. The rates of another digit reach
# {result}`bptt-and-rates/gradient-cosine-another-digit-multi`: the right neurons
# at the wrong times. With one gate for all, its mean has
# {result}`bptt-and-rates/gradient-cosine-mean-gates-scalar`, and the gate itself
# {result}`bptt-and-rates/gradient-cosine-order-0-scalar`. (A constant gate is its
# own mean and has the same rates for every digit.)
#
# ## What it means
#
# **What holds exactly.** Every gradient of the family is {eq}`eq-gradients`.
# Its leak-only part is gradient descent with one learning rate for each neuron
# and pair $(t, k)$. The gates set these rates. For each loss time they share one
# budget. With constant gates of their own, neurons forget at rates that part
# exponentially with the lag.
#
# **What holds in part.** The effective rate is the order-0 term of an
# expansion, not the gradient. So *the effective learning rate of lag $\ell$*
# should be read as *the rate at which a neuron learns from its own leak*, and
# not as the rate at which the weights move. On this task the order-0 gradient is
# little better than its own newest term.
#
# **Where to go on.** {ref}`ch-validity` maps where the picture is good:
# near-diagonal networks, weak weights, short lags. {ref}`ch-diagonal` finds the
# networks for which it is exact at every lag.
#
# ## Try it
#
# 1. *Half the sequence.* Before running anything: which part of the budget goes
#    to the first half of a sequence? Write it with two retentions, and check it
#    on the digits.
# 2. *A loss at every step.* If the loss reads every state, step $k$ is taught
#    by all later steps together. Add up $\mu_{t,k}$ over $t$ instead of over
#    $k$. Is there a budget for it?
# 3. *Beating the constants.* By {prf:ref}`thm-matched` no constant gate gives
#    lag $\ell$ more than $\ell^\ell / (\ell + 1)^{\ell + 1}$. How often do
#    learned gates, which can open and shut, beat that?
#
# :::{dropdown} Solution 1: half the sequence
# Think of the stick. The second half of the sequence breaks off first, and
# leaves $P_{T,T/2}$. The first half then breaks its part off this rest and leaves
# $P_{T,0}$, which nobody gets. So the first half gets the difference,
# $P_{T,T/2} - P_{T,0} = P_{T,T/2}\,(1 - P_{T/2,0})$. The first factor says how
# much is left for the far half at all. The second is the budget of a sequence
# that ends at $T/2$. Summing `rates.shares` over the first half gives the same.
# :::
#
# :::{dropdown} Solution 2: a loss at every step
# No, not in general. A budget is what *one* loss time hands out. Step $k$
# receives from every later one, $g_k \sum_{t \ge k} P_{t,k}$ in all. A gate that
# writes at step $k$ and is shut afterwards has $g_k = 1$ and $P_{t,k} = 1$, so it
# receives $T - k + 1$, the number of steps from $k$ to the end. A constant gate
# cannot do that: what it keeps it also pays for, and
# $\alpha \sum_\ell (1-\alpha)^\ell$ stays below 1. Over all pairs together the
# sum is at most $T$, one budget for each loss time.
# :::
#
# :::{dropdown} Solution 3: beating the constants
# Count the triples of step, digit and neuron whose rate is above the best
# constant's:
#
# ```python
# best = lag**lag / (lag + 1) ** (lag + 1)
# (rates.effective(runs["multi"], 1.0, lag) > best).double().mean()
# ```
#
# A gate that writes and then shuts can give a long lag almost everything, so a
# learned gate can be far above `best`. It pays elsewhere: while it is shut it
# learns nothing from the present. The constant gates of this chapter give none
# of their triples more than `best`, and that is {prf:ref}`thm-matched`.
# :::

# %% [markdown]
# ## What was checked

# %% tags=["hide-input"]
chapter.validation()

# %% [markdown]
# :::{table-file} /artifacts/bptt-and-rates/tables/bptt-and-rates-validation.csv
# :name: tab-bptt-and-rates-validation
#
# The checks of this chapter: gradients (C7), effective rates (C8), budget (C9)
# and anisotropy (C14).
# :::
#
# ## In two sentences
#
# Gates turn one learning rate into one for each neuron and each lag, and for each
# loss time these share one budget. That is exact for what the leaks carry back;
# in the networks of this chapter, which read digits, that part is hardly closer
# to the true gradient than its newest term alone.

# %% tags=["remove-cell"]
chapter.close()
