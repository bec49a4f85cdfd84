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
# (ch-gru-lstm)=
# # GRU and LSTM
#
# Somebody trains a GRU, prints its gates, and finds both of them shut:
# $z = r = 0$ at every step. Nothing should get through. Yet the gradient does
# not vanish. Why?
#
# The answer depends on whose GRU it is. In PyTorch {cite}`paszke2019pytorch`,
# $z$ is the fraction of the state that is *kept*. With $z = r = 0$ nothing is kept,
# and what is written does not hear the old state. The gradient does vanish. In
# other texts {cite}`chung2014gru`, $z$ is the fraction that is *written*. With
# $z = 0$ nothing is written, so everything is kept. The gradient arrives whole.
#
# So far this book was about a small family of networks. People train
# `torch.nn.GRU` {cite}`cho2014gru` and `torch.nn.LSTM` {cite}`hochreiter1997lstm`.
# What are the gates, the learning rates and the Jacobians of these two?
#
# :::{admonition} What this chapter shows
# - For every number of neurons, the Jacobians of both layers are **leak** plus
#   **recurrent** plus **gate** term, as in {ref}`ch-jacobians`.
# - The book's family sits **inside** `torch.nn.GRU`: certain weights give each of
#   its gates. An LSTM's cell obeys the family's rule if its input gate is one minus
#   its forget gate, but what it reads differs.
# - The effective learning rates of a GRU share one **budget**. Those of an LSTM
#   have none.
# :::

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters"}
profile = "ci"
seeds = 3  # random layers of each kind
device = "auto"
out = "../artifacts/draft/gru-and-lstm"
n_hidden = 7  # of the layers that are compared with autograd
n_inputs = 3
n_projected = 4
steps = 30

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the imports"}
from copy import deepcopy
from functools import partial
from itertools import product
from textwrap import fill

import pandas as pd
import seaborn as sns
import sympy as sp
import torch
from gatelr import jacobian, networks, symbolic
from gatelr.experiments import agreement, torch_layers
from gatelr.experiments.agreement import discrepancy
from gatelr.record import Chapter, figures, show
from gatelr.symbolic import gru, lstm, p, q
from torch import Tensor, nn

chapter = Chapter("gru-and-lstm")
prove = partial(chapter.prove, claim="C16", scope="every n")
sp.init_printing(
    use_latex="mathjax", latex_printer=lambda value, **_: symbolic.latex(value)
)

# %% [markdown]
# ## One unit, two conventions
#
# Take one unit and hold its gates fixed. The candidate is
# $\varphi = \tanh(a + r\,w\,h)$. One convention keeps the fraction $z$ of the old
# state, the other writes the fraction $z$ of the candidate. SymPy
# {cite}`meurer2017sympy` differentiates both.

# %%
z, r, w, a, old = sp.symbols("z r w a h")
phi = sp.tanh(a + r * w * old)
keeps = ((1 - z) * phi + z * old).diff(old)  # torch: z keeps
writes = (z * phi + (1 - z) * old).diff(old)  # other texts: z writes
show(r"\frac{dh'}{dh}", keeps)
both_shut = {z: 0, r: 0}
statement = "with $z = r = 0$ the slope is 0 where $z$ keeps, and 1 where it writes"
facts = keeps.subs(both_shut), writes.subs(both_shut) - 1
prove("both-shut", statement, *facts, scope="n = 1, gates held fixed")

# %% [markdown]
# The slope has two ways through the step. What is kept passes with the factor
# $z$. What is written passes through the weight $w$, with the factor
# $(1-z)\,r\,\varphi'$. Shut gates close the second way in both conventions. The
# first way is closed in one of them and wide open in the other.
#
# From here on we follow torch: $z$ keeps. The gate $g$ of this book, the fraction
# written, is $g = 1 - z$.
#
# ## The GRU, for every $n$
#
# This is the step of `torch.nn.GRU`. It carries two biases where one would do,
# and its reset gate $r$ multiplies the *product* $W_{hn} h$, with the bias
# $b_{hn}$:
#
# $$
# \begin{aligned}
# r_t &= \sigma(W_{ir} u_t + b_{ir} + W_{hr} h_{t-1} + b_{hr}), \\
# z_t &= \sigma(W_{iz} u_t + b_{iz} + W_{hz} h_{t-1} + b_{hz}), \\
# v_t &= W_{hn} h_{t-1} + b_{hn}, \qquad
#   \varphi_t = \tanh(W_{in} u_t + b_{in} + r_t \odot v_t), \\
# h_t &= (1 - z_t) \odot \varphi_t + z_t \odot h_{t-1} .
# \end{aligned}
# $$ (eq-gru)
#
# torch calls the candidate $n$. Here $n$ counts neurons, so the candidate is
# $\varphi$. As in {ref}`ch-jacobians`, one neuron $q$ of the step is written with
# sums over neurons, and SymPy differentiates it by neuron $p$ of the old state.
# Nothing is assumed about $n$. These are the terms that the theorem below claims, in
# the same notation:

# %%
derived, claimed = gru.jacobian(), gru.closed_form()
for name, term in claimed._asdict().items():
    show(rf"\text{{{name}}}^{{qp}}", gru.abbreviate(term))

# %% [markdown]
# :::{prf:theorem} The Jacobian of the GRU
# :label: thm-gru
#
# For every $n$, with $\varphi'_t = 1 - \varphi_t^2$,
#
# $$
# J_t = \underbrace{\operatorname{diag}(z_t)}_{\text{leak}}
#  + \underbrace{\operatorname{diag}\big((1 - z_t) \odot \varphi'_t \odot r_t\big)\,
#    W_{hn}}_{\text{recurrent}}
#  + \underbrace{G^z_t + G^r_t}_{\text{gate}},
# $$ (eq-gru-jacobian)
#
# where the two gates that read the state add
#
# $$
# \begin{aligned}
# G^z_t &= \operatorname{diag}\big((h_{t-1} - \varphi_t) \odot z_t \odot (1 - z_t)\big)
#   \, W_{hz}, \\
# G^r_t &= \operatorname{diag}\big((1 - z_t) \odot \varphi'_t \odot v_t \odot r_t
#   \odot (1 - r_t)\big)\, W_{hr} .
# \end{aligned}
# $$ (eq-gru-gate)
# :::
#
# The proof is one line: the derivative that SymPy found, less the sum of the
# claimed terms, expands to zero. The second check says what the split means. Hold
# both gates fixed, as numbers, and differentiate again: what is left is leak plus
# recurrent term. So the gate term is exactly what is lost if the gates are
# treated as given.


# %%
def held_fixed(
    step: gru.Step | lstm.Step, gates: str, new: str, old: sp.Expr
) -> sp.Expr:
    """The slope of a new state by an old one if the gates are numbers."""
    numbers = {getattr(step, gate): sp.IndexedBase(gate)[q] for gate in gates}
    slope = symbolic.by_state(getattr(step, new).xreplace(numbers), old)
    return slope.xreplace({number: gate for gate, number in numbers.items()})


statement = "$J^{qp}$ is leak + recurrent + gate term: GRU of torch"
prove("gru", statement, sp.expand(derived - sum(claimed)))
given = held_fixed(gru.step(), "rz", "h", gru.h)
statement = "gates held fixed lose the gate term and nothing else: GRU of torch"
prove("gru-held", statement, sp.expand(given - claimed.leak - claimed.recurrent))

# %% [markdown]
# Now the opening question can be answered for every $n$, with gates that do read
# the state. Each gate moves by $z(1-z)$ or $r(1-r)$, which vanishes at both ends.
# So in the limit of shut gates all terms are gone, and with $z = 1$ only the
# identity is left.

# %%
letters = gru.abbreviate(sum(claimed))
z_q, r_q = (sp.IndexedBase(name)[q] for name in "zr")
statement = "torch's GRU: $z = r = 0$ gives $J = 0$, and $z = 1$ gives $J = I$"
facts = letters.subs({z_q: 0, r_q: 0}), letters.subs(z_q, 1) - sp.KroneckerDelta(q, p)
prove("gru-corners", statement, *facts, scope="every n, gates at their ends")

# %% [markdown]
# ### The reset gate on the other side
#
# In the paper that introduced the GRU {cite}`cho2014gru`, the reset gate acts
# *before* the product: $v_t = W_{hn}(r_t \odot h_{t-1}) + b_{hn}$. It looks like a
# detail. In torch a neuron's reset gate decides whether *it* listens. Before the
# product it decides whether *the others hear it*. Row $q$ of the recurrent term
# is scaled in the first case, column $p$ in the second.
#
# :::{prf:proposition} The reset gate before the product
# :label: prop-gru-before
#
# Leak and $G^z_t$ stay as they are. With $s_t = (1 - z_t) \odot \varphi'_t$ the
# recurrent term and the reset gate's become, for every $n$,
#
# $$
# \begin{aligned}
# R_t &= \operatorname{diag}(s_t)\, W_{hn} \operatorname{diag}(r_t), \\
# G^r_t &= \operatorname{diag}(s_t)\, W_{hn}
#   \operatorname{diag}\big(h_{t-1} \odot r_t \odot (1 - r_t)\big)\, W_{hr} .
# \end{aligned}
# $$ (eq-gru-before)
# :::
#
# The way through the reset gate now passes two matrices in one step. Weights that
# were trained in one convention do not fit the other. The second check makes that
# slip on purpose: it puts $r^q$ in the place of $r^p$, and the proof fails.

# %%
before = gru.closed_form(reset_after=False)
derived = gru.jacobian(reset_after=False)
show("G^{qp}", gru.abbreviate(before.gate, reset_after=False))
statement = "$J^{qp}$ is leak + recurrent + gate term: reset gate before the product"
prove("gru-before", statement, sp.expand(derived - sum(before)))
reset = gru.step(reset_after=False).r
slip = before._replace(
    recurrent=before.recurrent.xreplace({reset.xreplace({q: p}): reset})
)
statement = "the proof notices a reset gate that scales rows in place of columns"
prove("gru-sides", statement, sp.expand(derived - sum(slip)) != 0)

# %% [markdown]
# ## The LSTM, for every $n$
#
# An LSTM carries two vectors from step to step, the cell $c$ and what it shows of
# it, $h$. Together they are its state, so we write the **joint state** $(h, c)$,
# $h$ first. torch calls the candidate $g$. Here $g$ is the fraction written, so
# the candidate is $\varphi$ again:
#
# $$
# \begin{aligned}
# i_t &= \sigma(W_{ii} u_t + b_{ii} + W_{hi} h_{t-1} + b_{hi}), \\
# f_t &= \sigma(W_{if} u_t + b_{if} + W_{hf} h_{t-1} + b_{hf}), \\
# o_t &= \sigma(W_{io} u_t + b_{io} + W_{ho} h_{t-1} + b_{ho}), \\
# \varphi_t &= \tanh(W_{ig} u_t + b_{ig} + W_{hg} h_{t-1} + b_{hg}), \\
# c_t &= f_t \odot c_{t-1} + i_t \odot \varphi_t, \\
# h_t &= o_t \odot \psi_t, \qquad \psi_t = \tanh(c_t) .
# \end{aligned}
# $$ (eq-lstm)
#
# The joint Jacobian has four blocks. SymPy derives each. This one leads from the
# old $h$ to the new cell:

# %%
derived_blocks, claimed_blocks = lstm.jacobian(), lstm.closed_form()
show(
    r"\frac{\partial c_t^q}{\partial h_{t-1}^p}", lstm.abbreviate(derived_blocks["ch"])
)

# %% [markdown]
# :::{prf:theorem} The Jacobian of the LSTM
# :label: thm-lstm
#
# For every $n$, with $\varphi'_t = 1 - \varphi_t^2$ and
# $s_t = o_t \odot (1 - \psi_t^2)$, by which a change of the cell goes on to $h$,
# the Jacobian of the joint state $(h, c)$ is
#
# $$
# \begin{aligned}
# J_t ={}& \underbrace{\begin{pmatrix}
#   0 & \operatorname{diag}(s_t \odot f_t) \\ 0 & \operatorname{diag}(f_t)
# \end{pmatrix}}_{\text{leak}}
# + \underbrace{\begin{pmatrix}
#   \operatorname{diag}(s_t \odot i_t \odot \varphi'_t)\, W_{hg} & 0 \\
#   \operatorname{diag}(i_t \odot \varphi'_t)\, W_{hg} & 0
# \end{pmatrix}}_{\text{recurrent}} \\
# &+ \underbrace{\begin{pmatrix}
#   \operatorname{diag}(s_t)\, G^c_t + G^o_t & 0 \\ G^c_t & 0
# \end{pmatrix}}_{\text{gate}},
# \end{aligned}
# $$ (eq-lstm-jacobian)
#
# where the gates that read the state add
#
# $$
# \begin{aligned}
# G^c_t &= \operatorname{diag}\big(c_{t-1} \odot f_t \odot (1 - f_t)\big)\, W_{hf} \\
#   &\quad + \operatorname{diag}\big(\varphi_t \odot i_t \odot (1 - i_t)\big)\,
#   W_{hi}, \\
# G^o_t &= \operatorname{diag}\big(\psi_t \odot o_t \odot (1 - o_t)\big)\, W_{ho} .
# \end{aligned}
# $$ (eq-lstm-gate)
# :::
#
# Read it by columns. What leaves the old *cell* meets no weight: it is scaled by
# $f_t$, and shown in $h$ or not. What leaves the old $h$ passes through a weight
# matrix, always. A gradient that stays in the cell is scaled by $\prod f$ and by
# nothing else. This is what the LSTM was built for.

# %%
for block, terms in claimed_blocks.items():
    statement = f"$J$ is leak + recurrent + gate term: LSTM of torch, block {block}"
    prove(f"lstm-{block}", statement, sp.expand(derived_blocks[block] - sum(terms)))
    new, source = block[0], getattr(lstm, block[1])
    given = held_fixed(lstm.step(), "ifo", new, source)
    statement = f"gates held fixed lose the gate term: LSTM of torch, block {block}"
    difference = sp.expand(given - terms.leak - terms.recurrent)
    prove(f"lstm-{block}-held", statement, difference)

# %% [markdown]
# With `proj_size` torch shows a projection of the cell: $h_t = W_{hr}
# (o_t \odot \psi_t)$ has `proj_size` entries, and the joint state has
# `proj_size` $+\ n$. The matrix $W_{hr}$ does not depend on the state, so it
# multiplies the upper row of {eq}`eq-lstm-jacobian` from the left. That is all that
# changes. What the leak carries on to $h$ then passes $W_{hr}$, and is no longer
# diagonal. (torch's name for it is also that of a GRU's reset weights.)
#
# ## From symbol to torch
#
# A proof says nothing about code. So the closed forms are printed to torch by the
# library's printer, as in {ref}`ch-agreement`, and compared with two others on
# random layers: with `networks.terms`, written by hand, and with
# `torch.func.jacrev`, which differentiates torch's own module.
#
# This is what the printer makes of the GRU's leak, and this how torch stacks the
# weights of its gates:

# %%
code = symbolic.torch_code(claimed.leak, state="h")
print(fill(code, 72, break_on_hyphens=False))
pd.Series(torch_layers.ORDER).map(", ".join).rename("order of the gates").to_frame()

# %% [markdown]
# `terms_by_symbol` cuts the stacked matrices into gates, in that order, and runs
# the printed code. `blocks_by_autograd` gives torch's module one step from every
# state of a run at once. Weights are drawn as torch draws them, evenly between
# $\pm 1/\sqrt n$, and made three times larger, so that every term matters.

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show how layers and inputs are drawn"}
draw_layer = partial(torch_layers.draw, device=chapter.device)


def white(seed: int, length: int = steps, batch: int = 4) -> Tensor:
    """Inputs that are white noise."""
    draw = torch.Generator().manual_seed(100 + seed)
    u = torch.randn(length, batch, n_inputs, generator=draw, dtype=torch.float64)
    return u.to(chapter.device)


# %%
CASES = {"GRU": (nn.GRU, {}), "LSTM": (nn.LSTM, {})}
CASES |= {f"{k}, second layer": (c, {"num_layers": 2}) for k, (c, _) in CASES.items()}
CASES["LSTM, projected"] = (nn.LSTM, {"proj_size": n_projected})
rows = []
for (name, (kind, options)), seed in product(CASES.items(), range(seeds)):
    module = draw_layer(kind, n_inputs, n_hidden, seed, scale=3.0, **options)
    u, top = white(seed), module.num_layers - 1
    run, terms = networks.run(module, u, top), networks.terms(module, u, top)
    symbol = torch_layers.terms_by_symbol(module, run, top)
    autograd = torch_layers.blocks_by_autograd(module, u, top)
    row = {"layer": name, "size of the state": autograd.shape[-1]}
    for term in terms._fields:
        row[term] = discrepancy(getattr(symbol, term), getattr(terms, term))
    row["autograd"] = discrepancy(networks.blocks(module, u, top), autograd)
    rows.append(row)
three_ways = pd.DataFrame(rows).groupby("layer", sort=False).max()

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the checks"}
scope = f"{seeds} random layers, n = {n_hidden}, m = {n_inputs}, T = {steps}"
for name, row in three_ways.iterrows():
    slug = name.lower().replace(",", "").replace(" ", "-")
    about = {"claim": "C16", "scope": scope}
    statement = f"symbol and library agree on leak, recurrent and gate term: {name}"
    apart = row[["leak", "recurrent", "gate"]].max()
    chapter.check(f"symbol-{slug}", statement, apart, 1e-12, **about)
    statement = f"library and autograd agree on J, every step of torch's module: {name}"
    chapter.check(f"autograd-{slug}", statement, row["autograd"], 1e-12, **about)
columns = {term: f"symbol, {term}" for term in ("leak", "recurrent", "gate")}
shown = three_ways.rename(columns=columns).reset_index()
numbers = shown.columns[2:]
shown[numbers] = shown[numbers].map("{:.1e}".format)
chapter.table("torch-three-ways", shown.astype({"size of the state": int}))

# %% [markdown]
# :::{table-file} /artifacts/gru-and-lstm/tables/torch-three-ways.csv
# :name: tab-torch-three-ways
#
# Three ways, one matrix, for both layers of torch. Largest difference from the
# library over the largest entry: of each term by symbol, and of $J$ by autograd
# through torch's own module.
# :::
#
# Would {numref}`tab-torch-three-ways` notice a mistake? The likeliest one is to
# take the gates in the wrong order. So the reset and the update gate of a GRU
# change places, and the comparison is made again.

# %%
module, u = draw_layer(nn.GRU, n_inputs, n_hidden, 0, scale=3.0), white(0)
swapped, run = deepcopy(module), networks.run(module, u)
for weight in swapped.parameters():
    reset, update, candidate = weight.clone().chunk(3)
    weight.copy_(torch.cat([update, reset, candidate]))
wrong = sum(torch_layers.terms_by_symbol(swapped, run))
caught = discrepancy(wrong, networks.blocks(module, u)) > 0.01
statement = "reset and update gate in the wrong order are noticed"
one_layer = f"one random layer, n = {n_hidden}, T = {steps}"
chapter.check("order-seen", statement, caught, claim="C16", scope=one_layer)

# %% [markdown]
# ## Where the family sits
#
# The family of this book has one gate, $g$, and a candidate that reads the whole
# state. The GRU has a second gate. Can it be put out of the way? Opening it,
# $r = 1$, takes an infinite bias. It is simpler to leave it half open. Without
# weights and biases $r = \sigma(0) = \tfrac12$, at every step, exactly. Then
# $W_{hn} = 2\,W_r$ makes up for the half.
#
# :::{prf:proposition} The family is a GRU
# :label: prop-family-gru
#
# Let $W_{hn} = 2 W_r$, $W_{in} = W_i$, $b_{in} = b$, and let the update gate have
# the family's gate weights with their signs turned: $W_{hz} = -W_{rg}$,
# $W_{iz} = -W_{ig}$, $b_{iz} = -b_g$. All other weights and biases are 0. Then the
# GRU is the network with a gate for each neuron (`multi`): the same states, and
# leak, recurrent and gate term are the same, each by itself.
#
# Two gates are special cases of `multi`. With the same gate row for every neuron it
# is the network with one shared gate (`scalar`). With no gate weights and
# $b_{iz} = \ln\frac{1-\alpha}{\alpha}$ it is the leaky integrator (`constant`), for
# every $\alpha < 1$. The vanilla network (`none`) is the limit
# $b_{iz} \to -\infty$, which no finite weights reach.
# :::
#
# The proof puts these weights into the step and its Jacobian. Two facts about
# $\sigma$ are all that it needs: $\sigma(-a) = 1 - \sigma(a)$, and
# $\sigma(0) = \tfrac12$.

# %%
number, alpha = sp.symbols("a", real=True), sp.symbols("alpha", positive=True)
sigma = symbolic.sigmoid
turned = sigma(-number) - (1 - sigma(number))
resting, rest = sigma(0) - sp.S.Half, sigma(sp.log((1 - alpha) / alpha)) - (1 - alpha)
statement = (
    r"$\sigma(-a) = 1 - \sigma(a)$, $\sigma(0) = 1/2$, and the bias of a constant"
)
facts = [fact.rewrite(sp.exp) for fact in (turned, resting, rest)]
prove("sigma-facts", statement, *facts, scope="every a and α")

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the weights put in"}
SETTING = {gru.h: (1, symbolic.x), symbolic.u: (1, symbolic.u)}
SETTING |= {gru.W_hn: (2, symbolic.W_r), gru.W_in: (1, symbolic.W_i)}
SETTING |= {gru.W_hz: (-1, symbolic.W_rg), gru.W_iz: (-1, symbolic.W_ig)}
SETTING |= {gru.b_in: (1, symbolic.b), gru.b_iz: (-1, symbolic.b_g)}


def as_family(expression: sp.Expr) -> sp.Expr:
    """The GRU's expression with the weights of the proposition."""

    def entry(e: sp.Indexed) -> sp.Expr:
        factor, base = SETTING.get(e.base, (0, e.base))
        return factor * base[e.indices]

    def factor_out(e: sp.Sum) -> sp.Expr:
        factor, rest = e.function.as_coeff_Mul()
        return factor * sp.Sum(rest, *e.limits)

    by_entry = expression.replace(lambda e: isinstance(e, sp.Indexed), entry)
    by_sum = by_entry.replace(lambda e: isinstance(e, sp.Sum), factor_out)
    gate = symbolic.gate("multi").xreplace({symbolic.r: symbolic.j})
    kept = {sigma(sp.expand(-gate.args[0])): 1 - gate, sigma(0): sp.S.Half}
    return by_sum.xreplace(kept).xreplace({symbolic.j: symbolic.r})


# %%
statement = "the GRU with these weights has the state of the family, multi gate"
difference = as_family(gru.step().h) - symbolic.update("multi")
prove("family-state", statement, sp.expand(difference))
family = symbolic.closed_form("multi")
for term in family._fields:
    difference = as_family(getattr(claimed, term)) - getattr(family, term)
    statement = f"the GRU with these weights has the {term} term of the family"
    prove(f"family-{term}", statement, sp.expand(difference))

# %% [markdown]
# The same on numbers: `as_gru` fills a `torch.nn.GRU` with the weights of a network
# of the family. Both then read the same inputs.

# %%
for gate in ("constant", "scalar", "multi"):
    options = {"batch": (4,), "device": chapter.device}
    model, u, _ = agreement.random_case(gate, n_hidden, n_inputs, steps, **options)
    module = torch_layers.as_gru(model)
    with torch.no_grad():
        run = model.run(u)
        states = discrepancy(module(u)[0], run.x)
        pairs = zip(networks.terms(module, u), jacobian.terms(model, run), strict=True)
        largest = jacobian.blocks(model, run).abs().max()
    apart = max(float((ours - theirs).abs().max() / largest) for ours, theirs in pairs)
    statement = f"torch's GRU has the states and the three terms of the family: {gate}"
    about = {
        "claim": "C16",
        "scope": f"one random network, n = {n_hidden}, T = {steps}",
    }
    chapter.check(f"as-gru-{gate}", statement, max(states, apart), 1e-12, **about)

# %% [markdown]
# And the LSTM? Couple its two gates, $i = 1 - f$, by turning the signs of all
# weights and biases of one {cite}`greff2017odyssey`. Then the *cell* obeys the
# family's rule, with $g = i$:
#
# $$ c_t = (1 - i_t) \odot c_{t-1} + i_t \odot \varphi_t . $$ (eq-coupled)
#
# That holds exactly. What does not hold is what candidate and gates *read*. In the
# family they read the state itself. In the LSTM they read $h = o \odot \tanh(c)$,
# and no output gate turns that into $c$. Since $0 < o < 1$ and
# $|\tanh c| \le |c|$, what is shown is always smaller than the cell, unless both
# are 0. So a coupled LSTM, taken as a network whose state is $c$, has the family's
# leak and its rates, and a recurrence of its own.

# %%
cell = sp.symbols("c", positive=True)
falls_short = cell - sp.tanh(cell)
facts = falls_short.subs(cell, 0), falls_short.diff(cell) - sp.tanh(cell) ** 2
statement = r"$c - \tanh c$ starts at 0 and has the slope $\tanh^2 c > 0$"
prove("output-gate", statement, *facts, sp.tanh(cell).is_positive, scope="every c > 0")
i, f, phi, o, new, psi, _ = lstm.step()
statement = "an LSTM with $f = 1 - i$ has the family's rule for its cell, $g = i$"
rule = (1 - i) * lstm.c[q] + i * phi
prove("coupled-cell", statement, sp.expand(new.xreplace({f: 1 - i}) - rule))

# %% [markdown]
# ## One budget, or none
#
# What the GRU writes in step $k$ is $(1 - z_k) \odot \varphi_k$, and
# $\prod_{j>k} z_j$ is kept of it. As in {prf:ref}`thm-effective-rates`, the weights
# $W_{in}$ of the candidate therefore learn from step $k$ at the **effective rate**
# $\mu\,(1 - z_k) \prod_{j>k} z_j$, if errors travel through the leak alone. For
# $W_{hn}$ there is one more factor, $r_k$.
#
# :::{prf:theorem} The GRU's budget
# :label: thm-gru-budget
#
# For all gates, every unit and every $t$,
#
# $$
# \sum_{k=1}^{t} (1 - z_k) \prod_{j=k+1}^{t} z_j \;=\; 1 - \prod_{j=1}^{t} z_j .
# $$ (eq-gru-budget)
# :::
#
# *Proof.* Let $P_k = \prod_{j>k} z_j$, so that $P_{k-1} = z_k P_k$ and $P_t = 1$.
# Then each summand is $(1 - z_k) P_k = P_k - P_{k-1}$, and the sum telescopes.

# %%
k, t = sp.symbols("k t", integer=True, positive=True)
P, keep = sp.Function("P"), sp.Symbol("z_k")
older = keep * P(k)  # P of k - 1
telescoped = sp.Sum(P(k) - P(k - 1), (k, 1, t)).doit() - (P(t) - P(0))
statement = r"$\sum_k (1 - z_k) \prod_{j>k} z_j = 1 - \prod_j z_j$"
facts = sp.expand((1 - keep) * P(k) - (P(k) - older)), telescoped
prove("gru-budget", statement, *facts, claim="C9", scope="every t and all gates")

# %% [markdown]
# The LSTM's cell writes $i_k$ and keeps $f_j$. So its candidate's weights learn from
# step $k$ at the rate $\mu\, i_k \prod_{j>k} f_j$, and $i$ and $f$ are free of each
# other. Let both be constant. Over a long sequence the rates $i f^\ell$ add up to
# $i/(1-f)$, which can be anything: for every number $s > 0$ the gates
# $i = f = s/(1+s)$ give the sum $s$. There is no budget, and we claim none.

# %%
i, f, s = sp.symbols("i f s", positive=True)
whole = i / (1 - f)
finite = i * (1 - f**t) / (1 - f)  # the lags below t
gates = {i: s / (1 + s), f: s / (1 + s)}
facts = [
    sp.simplify(finite.subs(t, t + 1) - finite - i * f**t),  # one lag more
    finite.subs(t, 1) - i,
    sp.simplify(whole.subs(gates) - s),
    gates[i].is_positive,
    sp.simplify(1 - gates[i]).is_positive,
]
statement = "the rates $i f^\\ell$ of constant gates can add up to every number $s > 0$"
prove("lstm-no-budget", statement, *facts, scope="every s > 0")

# %% [markdown]
# How do they add up in layers as torch starts them, on white noise? Some get larger
# biases: 1 in each of the two that add up, which makes 2. {numref}`tab-torch-budgets`
# has their sums.


# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the layers"}
def layer_with(kind: str, seed: int, **biases: float) -> nn.GRU | nn.LSTM:
    """A layer as torch starts it, some of its biases set."""
    module = draw_layer(getattr(nn, kind), n_inputs, 32, seed)
    weights = torch_layers.by_gate(module)
    for name, value in biases.items():
        weights[name].fill_(value)
    return module


def coupled(seed: int) -> nn.LSTM:
    """An LSTM with i = 1 - f."""
    module = layer_with("LSTM", seed, b_if=2.0)
    weights = torch_layers.by_gate(module)
    for name in ("W_i", "W_h", "b_i", "b_h"):
        weights[name + "i"].copy_(-weights[name + "f"])
    return module


# %%
LAYERS = {
    "GRU": partial(layer_with, "GRU"),
    "GRU, update bias 2": partial(layer_with, "GRU", b_iz=1.0, b_hz=1.0),
    "LSTM": partial(layer_with, "LSTM"),
    "LSTM, forget bias 2": partial(layer_with, "LSTM", b_if=1.0, b_hf=1.0),
    "LSTM, coupled": coupled,
}
shares, gaps = {}, {}
for name, make in LAYERS.items():
    runs = [networks.run(make(seed), white(seed, 100)) for seed in range(seeds)]
    shares[name] = torch.stack([networks.budget(run) for run in runs])
    kept = torch.stack([networks.unspent(run) for run in runs])
    gaps[name] = float((shares[name].sum(1) + kept - 1).abs().max())
for name in ("GRU", "GRU, update bias 2", "LSTM, coupled"):
    slug = name.lower().replace(",", "").replace(" ", "-")
    statement = f"rates of all lags and what is left of the start add to one: {name}"
    scope = f"{seeds} random layers, 32 units, 4 sequences, T = 100"
    chapter.check(
        f"budget-{slug}", statement, gaps[name], 1e-12, claim="C9", scope=scope
    )

# %% tags=["hide-input"]
totals = {name: rate.sum(1).flatten().cpu().numpy() for name, rate in shares.items()}
totals = pd.DataFrame(totals)
spread = totals.quantile([0, 0.5, 1]).T.set_axis(["least", "median", "most"], axis=1)
spread = spread.map("{:.2f}".format).rename_axis("layer").reset_index()
chapter.table("torch-budgets", spread)
chapter.number("sum-forget-bias", float(totals["LSTM, forget bias 2"].median()))
rows = []
for name, rate in shares.items():
    unit = rate[0, :, 0, 0].cpu()
    label = f"{name} ({float(unit.sum()):.2f})"
    row = {"unit": name.partition(",")[0], "layer (sum of rates)": label}
    rows += [row | {"lag": lag, "rate": float(unit[lag])} for lag in range(21)]
by_lag = pd.DataFrame(rows)
with figures.style():
    look = {"kind": "line", "height": 2.9, "aspect": 1.05, "col": "unit"}
    look |= {"hue": "layer (sum of rates)", "style": "layer (sum of rates)"}
    grid = sns.relplot(by_lag, x="lag", y="rate", palette=figures.CYCLE, **look)
    grid.set_titles("One unit: {col_name}")
    grid.set(xlabel=r"lag $\ell$", ylabel=r"effective rate $/\,\mu$", ylim=(0, None))
chapter.figure("torch-rates", grid.figure, by_lag)

# %% [markdown]
# :::{table-file} /artifacts/gru-and-lstm/tables/torch-budgets.csv
# :name: tab-torch-budgets
#
# The rates of a GRU add up to one, those of an LSTM to what its gates happen to be.
# Sum over the rates of all lags at the last of 100 steps, over the units and
# sequences of random layers.
# :::
#
# :::{figure} /artifacts/gru-and-lstm/figures/torch-rates.svg
# :name: fig-torch-rates
# :alt: Two panels of falling curves, the rate over the lag. The GRU has two: one
# :  starts high and falls fast, one starts low and falls slowly. The LSTM has three.
# :  With the larger forget bias the curve starts as high as without it and falls
# :  slowly, so that the area below it is larger. The coupled LSTM's curve starts low.
#
# A GRU pays for a longer memory at short lags, and an LSTM does not. A larger update
# bias spreads one budget over more lags. A larger forget bias raises the rates of
# long lags and leaves those of short ones. One unit of each layer, one sequence, the
# rates at the last step; the legend has their sums.
# :::
#
# {numref}`fig-torch-rates` shows what the table counts, for one unit. This is no
# verdict on the LSTM. With a forget bias of 2 the rates of a unit add up to
# {result}`gru-and-lstm/sum-forget-bias` in the median, so that its candidate learns
# from the past at that many times $\mu$ in all. A forget bias is a memory, and it is
# a learning rate as well.
#
# ## Three terms in two layers
#
# How large are the three terms? {numref}`fig-torch-terms` has their norms for layers
# as torch starts them, at 1, and with all weights made larger.

# %%
rows = []
for (kind, scale), seed in product(
    product(("GRU", "LSTM"), (1, 2, 3, 4, 6)), range(seeds)
):
    module = draw_layer(getattr(nn, kind), n_inputs, 32, seed, scale=scale)
    terms = networks.terms(module, white(seed, 12, batch=2))
    for term, matrices in terms._asdict().items():
        norm = float(torch.linalg.matrix_norm(matrices[4:], 2).median())
        rows.append(
            {"layer": kind, "scale": scale, "seed": seed, "term": term, "norm": norm}
        )
norms = pd.DataFrame(rows)

# %% tags=["hide-input"]
with figures.style():
    look = {"kind": "line", "height": 2.9, "aspect": 1.15, "col": "layer"}
    look |= {"hue": "term", "style": "term", "palette": figures.CYCLE[:3]}
    look |= {"units": "seed", "estimator": None, "linewidth": 1}
    grid = sns.relplot(norms, x="scale", y="norm", **look)
    grid.set_titles("{col_name}").set(
        xlabel="all weights times", ylabel="spectral norm"
    )
chapter.figure("torch-terms", grid.figure, norms)
start = norms[norms.scale == 1].pivot(index=["layer", "seed"], columns="term")["norm"]
statement = (
    "as torch starts a layer, the gate term has the least norm of the three, every seed"
)
smallest = bool((start.idxmin(axis=1) == "gate").all())
scope = f"{seeds} random layers of each kind, 32 units"
chapter.check("gate-smallest", statement, smallest, claim="C16", scope=scope)
for kind, row in start.groupby("layer").median().iterrows():
    share = 100 * row.gate / row.leak
    chapter.number(f"gate-over-leak-{kind.lower()}", share, f"{share:.0f}", "%")

# %% [markdown]
# :::{figure} /artifacts/gru-and-lstm/figures/torch-terms.svg
# :name: fig-torch-terms
# :alt: Two panels, GRU and LSTM, with three bundles of lines over the scale of the
# :  weights. At scale one the leak is highest and the gate term lowest. The recurrent
# :  and the gate term grow with the scale and pass the leak, which stays below one or
# :  near it.
#
# Larger weights raise the recurrent and the gate term, and hardly the leak. Spectral
# norm of the three terms, median over steps, against the factor that multiplies all
# weights. One line a seed; no layer has been trained.
# :::
#
# As torch starts them, the gate term is the smallest of the three. It has
# {result}`gru-and-lstm/gate-over-leak-gru` of the leak's norm in the GRU, and
# {result}`gru-and-lstm/gate-over-leak-lstm` in the LSTM. With weights a few times
# larger it outgrows the leak.
#
# ## Conventions, and where they bite
#
# This list has what torch does, and what goes wrong where one expects something else.
#
# ```{list-table}
# :header-rows: 1
#
# * - torch
#   - where it bites
# * - Gates are stacked $r, z, n$ (GRU) and $i, f, g, o$ (LSTM).
#   - A bias meant for the forget gate lands on another gate. The forget gate's rows
#     are the second quarter.
# * - There are two biases, and they add up.
#   - A forget bias of 1 in both is a bias of 2.
# * - Each layer has weights of its own, `_l0`, `_l1`, …
#   - A forget bias set in layer 0 leaves the layers above as they were.
# * - $z$ keeps.
#   - Papers in which $z$ writes need $1 - z$, which turns the sign of all its weights.
# * - $r$ acts after the product and has the bias $b_{hn}$ inside.
#   - Weights from a library in which it acts before do not fit.
# * - Time comes first, unless `batch_first=True`.
#   - A batch that comes first is read as time, and states run from sample to sample.
# * - With `proj_size` the state $h$ has as many entries as that, and the cell has $n$.
#   - The joint Jacobian has `proj_size` $+\ n$ rows and columns.
# ```
#
# Two of the lines as checks:

# %%
module = nn.LSTM(n_inputs, n_hidden, num_layers=2, dtype=torch.float64)
module = module.to(chapter.device).requires_grad_(False)
for weight in module.parameters():
    weight.zero_()
forget = slice(n_hidden, 2 * n_hidden)  # the second quarter
for bias in (module.bias_ih_l0, module.bias_hh_l0):
    bias[forget] = 1.0
first, second = (networks.run(module, white(0), layer).gates["f"] for layer in (0, 1))
apart = (first - torch.tensor(2.0).double().sigmoid()).abs().max()
about = {"claim": "C16", "scope": f"one layer without weights, n = {n_hidden}"}
statement = r"a forget bias of 1 in both biases of torch makes $f = \sigma(2)$"
chapter.check("two-biases", statement, float(apart), 1e-12, **about)
statement = r"a forget bias in layer 0 alone leaves layer 1 at $f = \sigma(0) = 1/2$"
chapter.check(
    "every-layer", statement, float((second - 0.5).abs().max()), 1e-12, **about
)

# %% [markdown]
# ## Try it
#
# 1. *A bias for a memory.* A forget gate that rests at $f = \sigma(b)$ has the time
#    constant $\tau = -1/\ln f$. Which bias $b$ holds a memory for $\tau$ steps?
# 2. *Half a Jacobian.* Let the output gate not read the state, $W_{ho} = 0$. What
#    rank can the joint Jacobian of an LSTM with $n$ units have?
# 3. *The opening question, asked of torch.* Give `torch.nn.GRU` biases that shut or
#    open its gates. What is the derivative of the last state by the first?
#
# :::{admonition} Solution 1
# :class: dropdown
#
# From $\sigma(b) = e^{-1/\tau}$ follows $b = -\ln(e^{1/\tau} - 1)$. For long memories
# that is close to $\ln \tau$. It is the rule of the chrono initialisation
# {cite}`tallec2018warp`. The cell sets such biases, and asks the library for the
# time constants of the layer.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Check solution 1"}
wanted = torch.tensor([2.0, 5.0, 20.0, 100.0], dtype=torch.float64)
module = nn.LSTM(n_inputs, 4, dtype=torch.float64).requires_grad_(False)
for weight in module.parameters():
    weight.zero_()
torch_layers.by_gate(module)["b_if"].copy_(-torch.log(torch.expm1(1 / wanted)))
run = networks.run(module, white(0).cpu())
apart = (networks.time_constants(run) / wanted - 1).abs().max()
statement = r"$b = -\ln(e^{1/\tau} - 1)$ gives the time constant $\tau$"
scope = "τ = 2, 5, 20, 100"
chapter.check("try-bias", statement, float(apart), 1e-12, claim="C16", scope=scope)

# %% [markdown]
# :::{admonition} Solution 2
# :class: dropdown
#
# At most $n$, half of its size. Without $G^o_t$ the upper rows of
# {eq}`eq-lstm-jacobian` are the lower ones, each multiplied by $s_t$. So they add
# nothing to the rank. The symbols say it entry by entry: $J^{hh} = s\,J^{ch}$ and
# $J^{hc} = s\,J^{cc}$. A gradient may point anywhere in the joint state. What
# comes back through one step lies in $n$ of its $2n$ directions.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Check solution 2"}
names = lstm.step()
onward = names.o * (1 - names.psi**2)
silent = {lstm.W_ho[q, p]: sp.Integer(0)}  # W_ho stays inside o, as a number
upper = [sum(claimed_blocks[b]).xreplace(silent) for b in ("hh", "hc")]
lower = [onward * sum(claimed_blocks[b]) for b in ("ch", "cc")]
statement = "without the output gate's term, upper rows are multiples of lower ones"
facts = [sp.expand(a - b) for a, b in zip(upper, lower, strict=True)]
prove("try-rank", statement, *facts)
module = draw_layer(nn.LSTM, n_inputs, n_hidden, 0, scale=3.0)
torch_layers.by_gate(module)["W_ho"].zero_()
rank = int(torch.linalg.matrix_rank(networks.blocks(module, white(0))).max())
statement = "with $W_{ho} = 0$ the joint Jacobian has rank n"
chapter.check(
    "try-rank-drawn", statement, abs(rank - n_hidden), claim="C16", scope=one_layer
)

# %% [markdown]
# :::{admonition} Solution 3
# :class: dropdown
#
# With $z$ and $r$ shut, the derivative is 0 to rounding: nothing of the first state
# is left after one step. With $z$ open it is the identity, after thirty steps as after
# one. Autograd says so, and no formula of ours is used.
# :::

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Check solution 3"}
for end in (0, 1):
    module = torch_layers.draw(nn.GRU, n_inputs, n_hidden, 0)
    u = white(0, batch=1).cpu()
    weights = torch_layers.by_gate(module)
    weights["b_iz"].fill_(80.0 * end - 40.0)
    weights["b_ir"].fill_(-40.0)
    first = torch.zeros(1, 1, n_hidden).to(u)
    M = torch.func.jacrev(lambda h, u, gru: gru(u, h)[0][-1, 0])(first, u, module)
    apart = float((M.squeeze() - end * torch.eye(n_hidden).to(u)).abs().max())
    statement = (
        f"torch's GRU, $r = 0$, $z = {end}$: the last state by the first is ${end} I$"
    )
    about = {"claim": "C16", "scope": one_layer}
    chapter.check(f"try-ends-{end}", statement, apart, 1e-12, **about)

# %% [markdown]
# ## What was checked

# %% tags=["hide-input"]
chapter.validation()
chapter.close()

# %% [markdown]
# :::{table-file} /artifacts/gru-and-lstm/tables/gru-and-lstm-validation.csv
# :name: tab-gru-and-lstm-validation
#
# The checks of this chapter: GRU and LSTM (C16), and the GRU's budget (C9).
# :::
#
# ## In two sentences
#
# The Jacobians of torch's GRU and LSTM are leak, recurrent and gate term, for every
# number of neurons, and the book's family is a GRU with certain weights. The GRU
# shares one learning rate among all lags, while the LSTM's two gates may spend any
# amount.
