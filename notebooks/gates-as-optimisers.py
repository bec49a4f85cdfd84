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
# (ch-optimisers)=
# # Gates as optimisers
#
# {ref}`ch-bptt` found that gates hand out learning rates. That invites a comparison with the tools that
# people use for the same end: a learning-rate **schedule**, **momentum** {cite}`polyak1964momentum`, and
# **Adam** {cite}`kingma2015adam`. The paper behind this book draws "formal analogies with learning-rate
# schedules, momentum, and adaptive methods such as Adam" {cite}`livi2025timescale`. How far does each
# of them reach? A likeness can mean three things, and this chapter keeps them apart:
#
# * **identity**: the two are the same, term by term, and SymPy can show it;
# * **analogy**: they share some properties and lack others, both of which can be listed;
# * **false**: a single counter-example shows that they are not the same.
#
# All three occur. Everything here is about order 0, the part of the gradient that the leaks carry back
# ({prf:ref}`thm-effective-rates`); that this is not the whole gradient was measured there, and is
# measured here once more.

# %% tags=["parameters", "hide-input"] mystnb={"code_prompt_show": "Show the parameters"}
profile = "ci"
seeds = 3  # trained networks
device = "auto"
out = "../artifacts/draft/07-gates-as-optimisers"
longest_proof = 6  # steps written out in proofs by brute force
n_hidden = 24  # neurons of the networks that read digits
training_steps = 250
probes = 24  # digits along which the trained networks are measured
lags = [0, 4, 16, 32]  # lags whose schedule is drawn

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the imports"}
import copy

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sympy as sp
import torch
from gatelr import adjoint, cells, jacobian, rates, tasks, training
from gatelr.record import devices, figures, ledger
from IPython.display import Markdown, display
from torch import Tensor
from torch.nn.functional import cosine_similarity

parameters = {
    "profile": profile, "seeds": seeds, "device": device,
    "longest_proof": longest_proof, "n_hidden": n_hidden,
    "training_steps": training_steps, "probes": probes, "lags": lags,
}  # fmt: skip
record = ledger.Ledger("07-gates-as-optimisers", "Gates as optimisers", out, parameters)
where = devices.resolve(device)
lengths = range(1, longest_proof + 1)

# %% [markdown]
# ## A schedule for each lag
#
# Let training move the gate: at training step $s$ a constant gate has the value $g(s)$. Then the rate at
# which lag $\ell$ learns moves with it.
#
# :::{prf:theorem} A moving gate is a schedule for every lag
# :label: thm-schedule
#
# At order 0, lag $\ell$ learns at training step $s$ at the rate
#
# $$ \mu_\ell(s) = \mu\, g(s)\, \big(1 - g(s)\big)^{\ell} . $$ (eq-schedule)
#
# Opening the gate a little raises the rate of lag $\ell$ if and only if $g < 1/(\ell + 1)$. So a gate that
# sweeps from one end to the other warms up every lag and then cools it down, with the peak where the gate
# matches the lag ({prf:ref}`thm-matched`): long lags first if it opens, short lags first if it closes.
# :::
#
# *Proof.* The first line is {eq}`eq-effective` with all gates equal. The rest is in the sign of one factor:

# %%
g, mu = sp.symbols("g mu", positive=True)
ell = sp.Symbol("ell", nonnegative=True)
rate = g * (1 - g) ** ell
slope = (1 - g) ** (ell - 1) * (1 - (ell + 1) * g)
display(sp.Eq(sp.Derivative(rate, g), slope, evaluate=False))
room = sp.Symbol("r", positive=True)  # 1 - g, above 0
record.check(
    "schedule-slope",
    "C11",
    r"$\frac{d}{dg}\, g(1-g)^{\ell} = (1-g)^{\ell-1}\,(1 - (\ell+1) g)$",
    sp.simplify((rate.diff(g) - slope).subs(g, 1 - room)) == 0,
    kind="symbolic",
)
(turn,) = sp.solve(1 - (ell + 1) * g, g)
factor = slope.subs(g, 1 - room) / (1 - (ell + 1) * g).subs(g, 1 - room)
record.check(
    "schedule-sign",
    "C10",
    r"opening a gate raises the rate of lag $\ell$ if and only if $g < 1/(\ell+1)$",
    sp.simplify(turn - 1 / (ell + 1)) == 0
    and bool(sp.simplify(factor).is_positive)  # so the bracket decides
    and sp.diff(1 - (ell + 1) * g, g).is_negative,
    kind="symbolic",
)

# %% [markdown]
# A schedule in the usual sense multiplies *everything* by one factor $c(s)$. Is a moving gate such a
# schedule, in disguise? Under a common factor two lags keep their ratio. Under a gate it is
# $(1-g)^{\ell' - \ell}$, which moves whenever $g$ does: the statement is false.

# %%
longer = ell + sp.Symbol("d", positive=True)  # a longer lag
ratio = (1 - g) ** (longer - ell)  # of the two rates
moves = sp.simplify(ratio.diff(g).subs(g, 1 - room))
record.check(
    "schedule-not-global",
    "C11",
    "a moving gate changes the ratio of any two lags, which no common schedule can",
    sp.simplify(rate.subs(ell, longer) / rate - ratio) == 0 and bool(moves.is_negative),
    kind="symbolic",
)

# %% [markdown]
# ### A gate that training moves
#
# To see it happen, take a scalar gate that reads nothing: with $w_{rg} = w_{ig} = 0$ held fixed by a learning rate
# of zero, its bias alone decides, $g(s) = \sigma(b_g(s))$, and training on digits, read pixel by pixel, may move it.
# It starts nearly shut. At every fifth step `training.train` stops to read the rates off the network, and they are
# compared with {eq}`eq-schedule`. Replica $i$ takes its weights from seed $i$, and its digits from seed $123 + i$.

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that trains one gate and watches it"}
task = tasks.get("digits")
test = tasks.digits(split="test", dtype=torch.float64, device=where)
STEPS, CLASSES = task.steps, task.n_outputs


def network(gate: str, n: int) -> cells.GatedRNN:
    return cells.GatedRNN(
        1, n, gate, n_outputs=CLASSES, bias=True, replicas=seeds,
        generator=training.generators(range(seeds)), dtype=torch.float64, device=where,
    )  # fmt: skip


def for_each_seed(u: Tensor) -> Tensor:
    """The same sequences for every replica: (T, B, m) -> (T, S, B, m)."""
    return u.unsqueeze(1).expand(-1, seeds, -1, -1)


def read_rates(step: int, model: cells.GatedRNN) -> list[tuple]:
    """The gate, and the rate of each lag at the end of one digit, for every seed."""
    with torch.no_grad():
        run = model.run(for_each_seed(test.u[:, :1]))
        gates = torch.sigmoid(model.b_g[:, 0]).tolist()
    return [
        (seed, step, lag, gates[seed], read)
        for lag in lags
        for seed, read in enumerate(
            rates.effective(run, 1.0, lag)[-1, :, 0, 0].tolist()
        )
    ]


model = network("scalar", 16)
with torch.no_grad():
    model.W_rg.zero_()
    model.W_ig.zero_()
    model.b_g.fill_(-4.0)
LEARNING_RATES = {"W_rg": 0.0, "W_ig": 0.0, "b_g": 5e-2}
optimiser = torch.optim.Adam(
    [
        {"params": [weight], "lr": LEARNING_RATES.get(name, 1e-2)}
        for name, weight in model.named_parameters()
    ]
)
history = training.train(
    model, task, optimiser, training_steps, training.generators(range(seeds), 123), batch=48,
    probe=read_rates, checkpoints=range(0, training_steps + 1, 5),
).probes  # fmt: skip
rows = [row for rows_of_step in history.values() for row in rows_of_step]
schedule = pd.DataFrame(rows, columns=["seed", "step", "lag", "gate", "rate"])
gap = (schedule.rate - schedule.gate * (1 - schedule.gate) ** schedule.lag).abs().max()
record.check(
    "schedule-numbers",
    "C11",
    r"rates read off a training network follow $g(s)(1 - g(s))^{\ell}$",
    float(gap),
    1e-12,
)

# %% [markdown]
# And the direction: between two readings on the same side of a lag's {term}`matched gate`, its rate must have moved as
# {prf:ref}`thm-schedule` says.

# %%
right = total = 0
for (_, lag), rows in schedule.groupby(["seed", "lag"]):
    side = np.sign(1 - (lag + 1) * rows.gate.to_numpy())
    same = (side[1:] == side[:-1]) & (side[1:] != 0)
    expected = np.sign(rows.gate.diff().to_numpy()[1:]) * side[1:]
    found = np.sign(rows.rate.diff().to_numpy()[1:])
    right += int((expected == found)[same].sum())
    total += int(same.sum())
record.check(
    "schedule-direction",
    "C10",
    rf"every lag's rate moved the way its matched gate says, {total} readings",
    total - right,
)

# %% tags=["hide-input"]
sweep = np.linspace(0, 1, 401)
with figures.style():
    fig, (theory, real) = plt.subplots(1, 2, figsize=(8.0, 3.3), sharey=True)
    for place, lag in enumerate(lags):
        hue = figures.CYCLE[place]
        curve = sweep * (1 - sweep) ** lag
        theory.plot(sweep, curve, color=hue)
        peak = 1 / (lag + 1)
        theory.plot(peak, peak * (1 - peak) ** lag, "os^D"[place], color=hue)
        rows = schedule[(schedule.seed == 0) & (schedule.lag == lag)]
        real.plot(rows.step, rows.rate, color=hue, marker="os^D"[place], markevery=6)
        real.annotate(
            rf"$\ell = {lag}$", (rows.step.iloc[-1], rows.rate.iloc[-1]), (5, 0),
            textcoords="offset points", va="center", color=hue,
        )  # fmt: skip
    rows = schedule[(schedule.seed == 0) & (schedule.lag == lags[0])]
    theory.set(xlabel="gate $g$, opening", ylabel=r"rate $\mu_\ell/\mu$", xlim=(0, 1))
    theory.set(yscale="log", ylim=(2e-4, 1.3), title="In theory")
    real.set(xlabel="training step $s$", title="In training")
    real.set_xlim(0, training_steps * 1.16)
figures.save(
    fig, "schedule-per-lag", schedule,
    caption=r"Left: the rate of each lag as a gate opens; markers at the matched gate $1/(\ell+1)$. Right: the rates read off a network "
    "while training on digits opens its gate, for one seed. The longest lags pass their peaks, the shorter ones are still warming up.",
    alt="Two panels with logarithmic rates, four lags each. Left, over a gate from zero to one, each lag rises to a peak and falls, longer lags "
    "earlier and lower; lag zero only rises. Right, over training steps, all dip at first; then lag zero and lag four rise and stay high, while the two longest lags rise a little, "
    "peak one after the other and fall.",
    chapter="07-gates-as-optimisers", out=out,
)  # fmt: skip

# %% tags=["hide-input"]
ends = schedule[schedule.lag == lags[0]].groupby("step").gate.mean()
record.number("gate-start", float(ends.iloc[0]), f"{ends.iloc[0]:.2f}")
record.number("gate-end", float(ends.iloc[-1]), f"{ends.iloc[-1]:.2f}")
peaks = (
    schedule.loc[schedule.groupby(["seed", "lag"]).rate.idxmax()]
    .groupby("lag")
    .step.median()
)
listed = ", ".join(
    f"at step {int(peaks[lag])} (lag {lag})" if peaks[lag] < 0.9 * training_steps
    else f"not before the last tenth of the steps (lag {lag})"
    for lag in lags
)  # fmt: skip
Markdown(
    f"Training took the gate from {record.numbers['gate-start']['text']} to {record.numbers['gate-end']['text']} (means of {seeds} networks). "
    f"The rates peaked {listed}, by the median. Nobody wrote this schedule down; it is a by-product of what the state found worth keeping."
)

# %% [markdown]
# ## Momentum, along the sequence
#
# Momentum averages: it keeps a buffer, lets it decay by $\beta$, adds what is new. Order-0 learning keeps a
# buffer too. It appears when the sums of {eq}`eq-effective` are done from the past to the present.
#
# :::{prf:theorem} The eligibility trace
# :label: thm-trace
#
# The sum of all past steps of a neuron's credit, each weighted by its effective rate,
#
# $$ E_t = \sum_{k \le t} \operatorname{diag}(g_k \odot P_{t,k})\, \varphi'(a_k)\, x_{k-1}^\top , $$
#
# obeys
#
# $$
# \begin{aligned}
# E_t &= \operatorname{diag}(1 - g_t)\, E_{t-1} \\
#     &\quad + \operatorname{diag}(g_t)\, \varphi'(a_t)\, x_{t-1}^\top , \qquad E_0 = 0,
# \end{aligned}
# $$ (eq-trace)
#
# and the order-0 gradient is $\sum_t \operatorname{diag}(\delta_t)\, E_t$. This is momentum in the form of an
# exponential moving average, with $\beta_t = 1 - g_t$ set by the data, running along the sequence.
# :::
#
# *Proof.* By induction, one entry at a time; $v_k$ stands for an entry of $\varphi'(a_k) x_{k-1}^\top$. Since
# $P_{t,k} = (1 - g_t) P_{t-1,k}$, all old terms shrink together. The written-out sums do not use it.

# %%
gs, vs, Ps = (sp.IndexedBase(name) for name in ("g", "v", "P"))
t, k = sp.symbols("t k", integer=True, positive=True)
past = sp.Sum(gs[k] * Ps[k] * vs[k], (k, 1, t - 1))  # E_{t-1}, with P for P_{t-1,k}
now = sp.Sum((1 - g) * gs[k] * Ps[k] * vs[k], (k, 1, t - 1)) + g * vs[t]
record.check(
    "trace-induction",
    "C12",
    "the trace's recursion, induction step for any $t$",
    sp.simplify(sp.factor_terms(now - (1 - g) * past - g * vs[t])) == 0,
    kind="symbolic",
)


def by_sum(t: int) -> sp.Expr:
    def kept(k: int) -> sp.Expr:
        return sp.prod(1 - gs[j] for j in range(k + 1, t + 1))

    return sum(gs[k] * kept(k) * vs[k] for k in range(1, t + 1))


def by_recursion(t: int) -> sp.Expr:
    return (1 - gs[t]) * by_recursion(t - 1) + gs[t] * vs[t] if t else sp.Integer(0)


record.check(
    "trace-written-out",
    "C12",
    rf"sum and recursion agree, multiplied out for $t \le {longest_proof}$",
    all(sp.expand(by_sum(t) - by_recursion(t)) == 0 for t in lengths),
    kind="symbolic",
)

# %% [markdown]
# For a constant gate $\beta = 1 - \alpha$ never changes, and the trace is textbook momentum over $t$: the moving
# average as it stands, or $\alpha$ times Polyak's heavy-ball buffer $h_t = \beta h_{t-1} + v_t$.

# %%
alpha = sp.Symbol("alpha", positive=True)


def heavy_ball(t: int) -> sp.Expr:
    return 0 if t == 0 else (1 - alpha) * heavy_ball(t - 1) + vs[t]


constant = {gs[j]: alpha for j in lengths}
record.check(
    "trace-heavy-ball",
    "C12",
    r"constant gate: $E_t = \alpha\, h_t$ with heavy-ball $\beta = 1 - \alpha$, "
    rf"$t \le {longest_proof}$",
    all(
        sp.expand(by_sum(t).subs(constant) - alpha * heavy_ball(t)) == 0
        for t in lengths
    ),
    kind="symbolic",
)

# %% [markdown]
# ### PyTorch's own momentum computes it
#
# An identity can be put to work. Give `torch.optim.SGD` the credit $\varphi'(a_t) x_{t-1}^\top$ of each step as if it
# were a gradient, set `momentum` and `dampening` to $1 - g_t$ before each step, one parameter group per neuron,
# and its buffer must *be* the trace of `rates.eligibility`, for every gate.


# %%
T_random, n_random, m_random = 12, 5, 2


def drawn(gate: str, batch: tuple = ()):
    """A random network with biases, inputs, and targets for every state."""
    draw = torch.Generator().manual_seed(0)
    alpha = torch.linspace(0.1, 0.9, n_random) if gate == "constant" else None
    options = {"generator": draw, "dtype": torch.float64, "device": where}
    model = cells.GatedRNN(m_random, n_random, gate, alpha=alpha, bias=True, **options)
    u, y = (
        torch.randn(T_random, *batch, size, generator=draw, dtype=torch.float64)
        for size in (m_random, n_random)
    )
    return model, u.to(where), y.to(where)


def credits(run: cells.Trajectory) -> Tensor:
    """φ'(a_t) x_{t-1}ᵀ for every step: what momentum averages."""
    return (1 - run.phi**2).unsqueeze(-1) * run.x_prev.unsqueeze(-2)


def by_torch_momentum(run: cells.Trajectory) -> Tensor:
    """Buffers of torch.optim.SGD, one row of weights a group."""
    rows = [torch.zeros_like(run.x[0]) for _ in range(run.x.shape[-1])]
    groups = [{"params": [row]} for row in rows]
    optimiser = torch.optim.SGD(groups, lr=0.0, momentum=0.5, dampening=0.5)
    for row in rows:
        row.grad = torch.zeros_like(row)
    optimiser.step()  # torch starts a buffer at the first gradient: let that be zero
    for credit, g_t in zip(credits(run), run.g.expand_as(run.x), strict=True):
        for group, row, own, g_q in zip(
            optimiser.param_groups, rows, credit, g_t.tolist(), strict=True
        ):
            group["momentum"] = group["dampening"] = 1 - g_q
            row.grad = own
        optimiser.step()
    return torch.stack([optimiser.state[row]["momentum_buffer"] for row in rows])


def discrepancy(found: Tensor, reference: Tensor) -> float:
    return float((found - reference).abs().max() / reference.abs().max())


GATED = ("constant", "scalar", "multi")
gap = []
for gate in GATED:
    model, u_random, _ = drawn(gate)
    with torch.no_grad():
        run = model.run(u_random)
        gap.append(discrepancy(by_torch_momentum(run), rates.eligibility(model, run)))
record.check(
    "trace-torch-momentum",
    "C12",
    "the buffer of `torch.optim.SGD`, momentum $1 - g_t$, is the trace, three gates",
    max(gap),
    1e-12,
)

# %% [markdown]
# ### Not along iterations
#
# Optimisers carry momentum from one *training step* to the next. Does a gate? Here is the test: two networks with
# different pasts, one trained on a batch A and one on B, then set to the same weights and given the same batch
# C. If the past matters, their next steps differ.


# %%
def next_step(past: Tensor, momentum: float) -> Tensor:
    """The step on batch C after a step on another batch, from the same weights."""
    model, u_random, y = drawn("multi", (3,))
    start = copy.deepcopy(model.state_dict())
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum)
    for inputs in (past, u_random):
        model.load_state_dict(start)
        optimiser.zero_grad()
        ((model.run(inputs).x - y) ** 2).sum().backward()
        optimiser.step()
    return (model.W_r - start["W_r"]).detach()


_, batch_c, _ = drawn("multi", (3,))
gate_memory, momentum_memory = (
    discrepancy(next_step(batch_c.flip(0), beta), next_step(-batch_c, beta))
    for beta in (0.0, 0.9)
)
record.check(
    "trace-no-iterations",
    "C12",
    "gated network under plain SGD: the next step does not know the last batch",
    gate_memory,
)
record.check(
    "momentum-iterations",
    "C12",
    "under heavy-ball momentum it does: next steps differ by more than a tenth",
    momentum_memory > 0.1,
)

# %% [markdown]
# The trace starts at $E_0 = 0$ with every sequence. Momentum smooths the noise between batches; the trace assigns credit
# within a sequence. They are the same recursion on different clocks, and *a gate is momentum for the weights* is false.
#
# ### Learning while reading
#
# A trace needs no backward pass: at each step multiply it by the error, add, go on. It takes $n^2$ numbers a sequence,
# however long, where backpropagation keeps a record of $T$ steps (so it saves memory when sequences are long,
# and not otherwise). For a loss at every step, online and batch must agree:


# %%
def online(run: cells.Trajectory, delta: Tensor, decay: Tensor) -> Tensor:
    """Σ_t diag(δ_t) E_t, one step at a time; the trace decays by ``decay``."""
    E = total = torch.zeros_like(run.x[0]).unsqueeze(-1) * run.x[0].unsqueeze(-2)
    write = run.g.expand_as(run.x).unsqueeze(-1)
    for t, credit in enumerate(credits(run)):
        E = decay[t].unsqueeze(-1) * E + write[t] * credit
        total = total + delta[t].unsqueeze(-1) * E
    return total


def batch_order_0(run: cells.Trajectory, delta: Tensor) -> Tensor:
    """The adjoint, back in time through the leaks alone."""
    lam, total = torch.zeros_like(delta[0]), 0.0
    for t in range(len(run.x) - 1, -1, -1):
        lam = lam + delta[t]
        signal = run.g[t] * (1 - run.phi[t] ** 2) * lam
        total = total + signal.unsqueeze(-1) * run.x_prev[t].unsqueeze(-2)
        lam = (1 - run.g[t]) * lam
    return total


gap = []
for gate in GATED:
    model, u_random, y = drawn(gate, (4,))
    with torch.no_grad():
        run = model.run(u_random)
        here = online(run, run.x - y, 1 - run.g)
        gap.append(discrepancy(here, batch_order_0(run, run.x - y)))
record.check(
    "online-batch",
    "C12",
    "online by the trace and batch by the adjoint: the same order-0 gradient",
    max(gap),
    1e-12,
)

# %% [markdown]
# ### Two learning rules from neuroscience
#
# **RFLO** {cite}`murray2019rflo`, *random feedback local online* learning, was proposed as something that a brain could do.
# Its rule for a leaky network with time-scale $\tau$ (in steps) has a trace per synapse,
#
# $$
# \begin{aligned}
# p_{ab}(t) &= \tfrac1\tau\, \varphi'(u_a(t))\, h_b(t-1) \\
#           &\quad + \big(1 - \tfrac1\tau\big)\, p_{ab}(t-1), \\
# \Delta W_{ab} &= \eta\, [B\, \varepsilon(t)]_a\, p_{ab}(t) ,
# \end{aligned}
# $$ (eq-rflo)
#
# with a fixed random matrix $B$ in place of the transposed readout. The trace is {eq}`eq-trace` with
# $\alpha = 1/\tau$. Written as in that paper, synapse by synapse, with nothing of ours:

# %%
_, u_random, _ = drawn("constant")
one_tau = cells.GatedRNN(
    m_random, n_random, "constant", alpha=0.2, bias=True, dtype=torch.float64,
    generator=torch.Generator().manual_seed(1), device=where,
)  # fmt: skip
tau = 5
with torch.no_grad():
    run = one_tau.run(u_random)
    h, pre = run.x_prev.tolist(), run.a.tolist()
    p = [[0.0] * n_random for _ in range(n_random)]
    for h_t, u_t in zip(h, pre, strict=True):
        for a in range(n_random):
            for b in range(n_random):
                fresh = (1 - np.tanh(u_t[a]) ** 2) * h_t[b]
                p[a][b] = fresh / tau + (1 - 1 / tau) * p[a][b]
    gap = discrepancy(run.x.new_tensor(p), rates.eligibility(one_tau, run))
record.check(
    "rflo-trace",
    "C12",
    r"RFLO's trace is $E_t$ of a constant gate $\alpha = 1/\tau$",
    gap,
    1e-12,
)

# %% [markdown]
# **e-prop** {cite}`bellec2020eprop` keeps more: a trace that decays by the derivative of a neuron's state with respect to *its own*
# previous state. In our family, where a neuron's state is also what other neurons see, that is the diagonal of
# $J_t$: the leak and the diagonal of $R_t + G_t$,
#
# $$
# \begin{aligned}
# \epsilon_t &= \big(\Lambda_t + \operatorname{diag}(R_t + G_t)\big)\, \epsilon_{t-1} \\
#            &\quad + \operatorname{diag}(g_t)\, \varphi'(a_t)\, x_{t-1}^\top .
# \end{aligned}
# $$ (eq-eprop)
#
# The brute-force reference is autograd in a network where every neuron sees *itself*, and sees all others detached.


# %%
def own_state_only(model: cells.GatedRNN, u: Tensor) -> Tensor:
    """All states, when a neuron's gradient may pass through its own past only."""
    x, states = u.new_zeros(*u.shape[1:-1], model.n_hidden), []
    for u_t in u:
        # row q is the state as neuron q sees it
        view = torch.diag_embed(x - x.detach()) + x.detach().unsqueeze(-2)
        phi = torch.tanh((model.W_r * view).sum(-1) + u_t @ model.W_i.T + model.b)
        if model.W_rg is None:
            g = model.run(u[:1]).g[0]
        else:
            a_g = (model.W_rg * view).sum(-1) + u_t @ model.W_ig.T + model.b_g
            g = torch.sigmoid(a_g)
        x = (1 - g) * x + g * phi
        states.append(x)
    return torch.stack(states)


gap, apart = [], []
for gate in GATED:
    model, u_random, y = drawn(gate, (4,))
    loss = ((own_state_only(model, u_random) - y) ** 2).sum() / 2
    (reference,) = torch.autograd.grad(loss, [model.W_r])
    with torch.no_grad():
        run = model.run(u_random)
        diagonal = jacobian.blocks(model, run).diagonal(dim1=-2, dim2=-1)
        found = online(run, run.x - y, diagonal).sum(0)
        order_0 = online(run, run.x - y, 1 - run.g).sum(0)
    gap.append(discrepancy(found, reference))
    apart.append(discrepancy(order_0, reference))
record.check(
    "eprop-trace",
    "C12",
    r"the trace that decays by $\mathrm{diag}(J_t)$ gives autograd's gradient through own states",
    max(gap),
    1e-12,
)
record.check(
    "eprop-is-not-order-0",
    "C12",
    "and the order-0 trace does not: the two differ by more than a hundredth",
    min(apart) > 1e-2,
)

# %% [markdown]
# ### How good are they?
#
# Identities say what a rule computes, and not whether that is worth having. So a multi-gate and a scalar-gate network are trained on
# digits, and for each digit the exact gradient $\nabla_{W_r} L$ of its loss is compared with the three online rules: the
# order-0 trace, the trace with the diagonal, and the order-0 trace with random feedback in place of the readout,
# as in RFLO.

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that trains two networks and follows each rule"}
models, runs = {}, {}
for gate in ("scalar", "multi"):
    model = models[gate] = network(gate, n_hidden)
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-2)
    training.train(
        model,
        task,
        optimiser,
        training_steps,
        training.generators(range(seeds), 123),
        batch=48,
    )
    with torch.no_grad():
        runs[gate] = model.run(for_each_seed(test.u[:, :probes]))


def errors(gate: str, feedback: Tensor | None = None) -> Tensor:
    """δ_T of each digit's cross entropy, sent back through W_oᵀ or another matrix."""
    model, run = models[gate], runs[gate]
    answer = run.x[-1] @ model.W_o.mT + model.b_o.unsqueeze(1)
    wanted = torch.nn.functional.one_hot(test.target[:probes], CLASSES)
    return (answer.softmax(-1) - wanted) @ (model.W_o if feedback is None else feedback)


def at_the_end(run: cells.Trajectory, delta: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(run.x[:-1]), delta.unsqueeze(0)])


rows = []
with torch.no_grad():
    for gate, run in runs.items():
        delta = at_the_end(run, errors(gate))
        exact = adjoint.gradients(models[gate], run, delta, per_sample=True)["W_r"]
        B = torch.randn(
            seeds, CLASSES, n_hidden, generator=torch.Generator().manual_seed(0),
            dtype=torch.float64,
        ).to(where)  # fmt: skip
        own = jacobian.blocks(models[gate], run).diagonal(dim1=-2, dim2=-1)
        rules = {
            "order-0 trace": online(run, delta, 1 - run.g),
            "trace with the diagonal": online(run, delta, own),
            "order-0 trace, random feedback": online(
                run, at_the_end(run, errors(gate, B)), 1 - run.g
            ),
        }
        for rule, found in rules.items():
            cosine = cosine_similarity(found.flatten(2), exact.flatten(2), dim=-1)
            low, middle, high = cosine.flatten().quantile(
                cosine.new_tensor([0.25, 0.5, 0.75])
            ).tolist()  # fmt: skip
            rows.append((gate, rule, middle, low, high))
online_rules = pd.DataFrame(
    rows, columns=["gate", "rule", "cosine", "lower quartile", "upper quartile"]
)

# %% tags=["hide-input"]
for gate, rule, middle, *_ in rows:
    slug = rule.replace(",", "").replace(" ", "-")
    record.number(f"cosine-{gate}-{slug}", middle, f"{middle:.2f}".replace("-", "−"))
shown = online_rules.copy()
for column in ("cosine", "lower quartile", "upper quartile"):
    shown[column] = [f"{value:.2f}".replace("-", "−") for value in online_rules[column]]
record.table(
    shown, "online-rules",
    caption=r"Cosine between an online rule's gradient and the exact one with respect to $W_r$, per digit: median and quartiles over "
    f"{probes} digits and {seeds} trained networks. The loss is read from the last state.",
)  # fmt: skip

# %% [markdown]
# {numref}`fig-trace-and-momentum` shows one trace at work. Where the gate shuts, the trace holds; where it opens, the trace is
# rewritten within a step or two. A moving average with one fixed $\beta$, the mean of the gate's, can do neither.

# %% tags=["hide-input"]
with torch.no_grad():
    run = runs["multi"]
    keep, fresh = 1 - run.g[:, 0, 0], credits(run)[:, 0, 0]
    E, M, mean = torch.zeros_like(fresh[0]), torch.zeros_like(fresh[0]), keep.mean(0)
    traces, averages = [], []
    for beta, credit in zip(keep, fresh, strict=True):
        E = beta.unsqueeze(-1) * E + (1 - beta).unsqueeze(-1) * credit
        M = mean.unsqueeze(-1) * M + (1 - mean).unsqueeze(-1) * credit
        traces.append(E)
        averages.append(M)
    traces, averages = torch.stack(traces).cpu(), torch.stack(averages).cpu()
neuron = int(keep.std(0).argmax())  # the neuron whose gate moves most
source = int(fresh[:, neuron].abs().mean(0).cpu().argmax())
lines = pd.DataFrame(
    {
        "step": range(1, STEPS + 1),
        "credit": fresh[:, neuron, source].cpu(),
        "trace": traces[:, neuron, source],
        "moving average": averages[:, neuron, source],
        "beta": keep[:, neuron].cpu(),
    }
)
with figures.style():
    fig, (top, bottom) = plt.subplots(
        2, 1, figsize=(7.4, 4.2), sharex=True, height_ratios=[2.2, 1]
    )
    looks = {
        "credit": {"color": figures.MUTED, "linewidth": 0.9, "marker": "."},
        "trace": {"color": figures.GATES["multi"]["color"]},
        "moving average": {
            "color": figures.GATES["constant"]["color"],
            "linestyle": "--",
        },
    }
    names = {
        "credit": "credit of the step",
        "trace": r"trace, $\beta_t = 1 - g_t$",
        "moving average": r"moving average, mean $\beta$",
    }
    for column, look in looks.items():
        top.plot(lines.step, lines[column], label=names[column], **look)
    top.set(ylabel="one entry of $E_t$", title="Momentum along the sequence")
    bottom.step(
        lines.step, lines.beta, where="mid", color=figures.GATES["multi"]["color"]
    )
    bottom.axhline(
        float(mean[neuron]), color=figures.GATES["constant"]["color"], linestyle="--"
    )
    bottom.set(ylim=(0, 1.05), xlim=(0.5, STEPS + 0.5), xticks=range(8, 65, 8))
    bottom.set(xlabel="step $t$", ylabel=r"$\beta_t$")
    handles, labels = top.get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=3)
figures.save(
    fig, "trace-and-momentum", lines,
    caption="One entry of the eligibility trace along a handwritten digit, in a trained multi-gate network, beside the credit that it averages and "
    r"a moving average with the neuron's mean $\beta$. Below, the $\beta_t$ that the gate chose.",
    alt="Two stacked panels over 64 steps. Above, a jagged grey line of credit, a solid line of the trace that holds its level in places and jumps "
    "in others, and a dashed moving average that follows smoothly. Below, the decay factor swings between values near zero and near one, around "
    "its dashed mean.",
    chapter="07-gates-as-optimisers", out=out,
)  # fmt: skip

# %% tags=["hide-input"]
quoted = {name: entry["text"] for name, entry in record.numbers.items()}
Markdown(
    f"Along the true gradient's direction the order-0 trace has a cosine of {quoted['cosine-scalar-order-0-trace']} (scalar) and "
    f"{quoted['cosine-multi-order-0-trace']} (multi); the neuron's own diagonal changes that to {quoted['cosine-scalar-trace-with-the-diagonal']} and "
    f"{quoted['cosine-multi-trace-with-the-diagonal']}, and random feedback to "
    f"{quoted['cosine-scalar-order-0-trace-random-feedback']} and {quoted['cosine-multi-order-0-trace-random-feedback']}. That they are cheap and "
    "local is an identity; that they follow the gradient is true in part only. (These networks were trained by exact gradients. Networks that are "
    "trained by random feedback can align their readout with it, which is not tested here.)"
)

# %% [markdown]
# ## Adam: what is shared, and what is not
#
# Adam {cite}`kingma2015adam` divides each coordinate of a running mean of gradients by the root of a running mean of their
# squares: its step is $-\mu\, \operatorname{diag}(1/(\sqrt{\hat v} + \epsilon))\, \hat m$. The gate's is
# $-\operatorname{diag}(\mu_{t,k}) \otimes I$ on the raw credit of each pair of steps. Both are **diagonal**, **positive** and
# **driven by data**. There the likeness ends, in four places.
#
# :::{prf:theorem} A gate is not Adam
# :label: thm-not-adam
#
# At order 0, for one pair of steps $(t, k)$ and gates in $(0, 1)$:
#
# 1. *Rows.* A gate scales all weights into a neuron alike. Two coordinates of a row keep the ratio of their credits; under
#    Adam's first step, with $\epsilon = 0$, any two move equally far.
# 2. *Lags.* A gate treats lags differently. Under Adam all lags of a coordinate share one factor.
# 3. *Scale.* Multiply the loss by $c > 0$: Adam's steps with $\epsilon = 0$ do not change, the gate's are
#    multiplied by $c$.
# 4. *Budget.* A gate's factors add to at most $\mu$ over the lags, and each is below $\mu$. Adam's have no upper bound.
# :::
#
# Here is Adam in SymPy, for one coordinate and any gradients, and the four statements.


# %%
beta1, beta2 = sp.symbols("beta_1 beta_2", positive=True)


def moments(gradients: list[sp.Expr]) -> tuple[sp.Expr, sp.Expr]:
    """Adam's bias-corrected moments after these gradients of one coordinate."""
    m = v = sp.Integer(0)
    for gradient in gradients:
        m = beta1 * m + (1 - beta1) * gradient
        v = beta2 * v + (1 - beta2) * gradient**2
    steps = len(gradients)
    return m / (1 - beta1**steps), v / (1 - beta2**steps)


def adam(gradients: list[sp.Expr]) -> sp.Expr:
    """Adam's step in units of -μ, with ε = 0."""
    m, v = moments(gradients)
    return sp.simplify(m) / sp.sqrt(sp.simplify(v))


one, two = sp.symbols("c_1 c_2", positive=True)  # credits of two coordinates in a row
rate_now = sp.Symbol("mu_tk", positive=True)
gate_ratio, adam_ratio = rate_now * one / (rate_now * two), adam([one]) / adam([two])
record.check(
    "adam-rows",
    "C13",
    "rows: a gate keeps the ratio of two coordinates in a row, Adam's first step makes it 1",
    sp.simplify(gate_ratio - one / two) == 0 and sp.simplify(adam_ratio) == 1,
    kind="symbolic",
)
near, far = sp.symbols("c_near c_far", positive=True)  # one coordinate, two lags
rate_near, rate_far = sp.symbols("mu_near mu_far", positive=True)
factor = sp.Symbol("a", positive=True)  # Adam's, whatever it is
by_adam, by_gate = factor * (near + far), rate_near * near + rate_far * far
share_adam = sp.simplify(factor * far / by_adam - far / (near + far))
share_gate = sp.factor(rate_far * far / by_gate - far / (near + far))
record.check(
    "adam-lags",
    "C13",
    "lags: Adam leaves each lag's share of a step as it is in the gradient, a gate does not "
    "unless its rates are equal",
    share_adam == 0 and sp.solve(share_gate, rate_far) == [rate_near],
    kind="symbolic",
)
c = sp.Symbol("c", positive=True)
seen_gradients = sp.symbols("G_1:5", real=True)
m_plain, v_plain = moments(seen_gradients)
m_scaled, v_scaled = moments([c * gradient for gradient in seen_gradients])
V_plain = sp.Symbol("v", positive=True)
record.check(
    "adam-scale",
    "C13",
    r"scale: with the loss times $c$, Adam's $\hat m \to c\,\hat m$ and $\hat v \to c^2 \hat v$, "
    r"so $\hat m/\sqrt{\hat v}$ stays, four steps; the gate's step is multiplied by $c$",
    sp.cancel(m_scaled - c * m_plain) == 0
    and sp.cancel(v_scaled - c**2 * v_plain) == 0
    and sp.sqrt(c**2 * V_plain) == c * sp.sqrt(V_plain)
    and sp.expand(by_gate.subs({near: c * near, far: c * far}) - c * by_gate) == 0,
    kind="symbolic",
)
gradient = sp.Symbol("G", positive=True)
adam_factor = sp.simplify(adam([gradient]) / gradient)  # what Adam multiplies it by
record.check(
    "adam-budget",
    "C13",
    r"budget: Adam's first factor is $1/|G|$, unbounded as $G \to 0$",
    sp.simplify(adam_factor - 1 / gradient) == 0
    and sp.limit(adam_factor, gradient, 0, "+") == sp.oo,
    kind="symbolic",
    note="that a gate's factors add to at most μ is the budget theorem, C9",
)

# %% [markdown]
# The first statement holds pair by pair, and it matters to say so. Summed over lags, a coordinate's factor is the mean of the rates,
# weighted by its own credits, and two coordinates of a row may weigh them differently. *A gate rescales whole rows of the gradient*
# is therefore true at each lag, and false for their sum:

# %%
credit = sp.Matrix(2, 2, sp.symbols("c_11 c_12 c_21 c_22", positive=True))
mean_1, mean_2 = (
    (rate_near * credit[0, col] + rate_far * credit[1, col])
    / (credit[0, col] + credit[1, col])
    for col in range(2)
)
uneven = sp.factor(mean_1 - mean_2)
display(sp.Eq(sp.Symbol("{f_1 - f_2}"), uneven, evaluate=False))
record.check(
    "rows-not-summed",
    "C13",
    "summed over two lags, two coordinates of a row have different factors, unless "
    "their credits are proportional or the rates equal",
    uneven != 0
    and uneven.subs(rate_far, rate_near) == 0
    and sp.simplify(
        uneven.subs(credit[1, 1], credit[1, 0] * credit[0, 1] / credit[0, 0])
    )
    == 0,
    kind="symbolic",
)

# %% [markdown]
# ### On a real gradient
#
# `torch.optim.Adam` takes its first step from the exact gradients of the trained multi-gate networks, on the mean loss over the digits. First the
# scale: multiplied by $2^{10}$, a loss gives floating point no excuse to round differently.

# %%
model, run = models["multi"], runs["multi"]
with torch.no_grad():
    delta = at_the_end(run, errors("multi"))
    exact = adjoint.gradients(model, run, delta / probes)["W_r"]


def first_step(optimiser: type, gradient: Tensor, **options) -> Tensor:
    """The step that an optimiser of torch makes from zero on this gradient."""
    weight = torch.zeros_like(gradient, requires_grad=True)
    weight.grad = gradient.clone()
    optimiser([weight], lr=1e-2, **options).step()
    return weight.detach()


adams = [first_step(torch.optim.Adam, c * exact, eps=0.0) for c in (1, 1024)]
plain = [first_step(torch.optim.SGD, c * exact) for c in (1, 1024)]
record.check(
    "adam-scale-torch",
    "C13",
    r"`torch.optim.Adam`, $\epsilon = 0$: a loss $2^{10}$ times as large gives the same step",
    discrepancy(adams[1], adams[0]),
    1e-12,
)
record.check(
    "gate-scale-torch",
    "C13",
    r"the gated network under SGD: a step $2^{10}$ times as large",
    discrepancy(plain[1], 1024 * plain[0]),
    1e-12,
)

# %% [markdown]
# Then the rows. Three factors for each weight in $W_r$: Adam's; the gates' at one digit and one lag; and the gates' over all lags and
# digits, $\sum \mu_{T,k} |c| / \sum |c|$ with the credits $c$ as weights. How much of the variance of their logarithm lies *between* rows?
# All of it would mean that whole rows are rescaled. For a matrix without row structure it would be near $1/n$; the {term}`placebo` is Adam's
# matrix with its entries shuffled.

# %% tags=["hide-input"] mystnb={"code_prompt_show": "Show the code that takes the factors of Adam and of the gates"}
with torch.no_grad():
    share = rates.shares(run)
    size = ((1 - run.phi**2) * delta[-1]).abs()  # |D_k δ_T|, times |x_{k-1}| below
    weighted, weight = (
        torch.einsum("tsbq,tsbp->sqp", size * rate, run.x_prev.abs())
        for rate in (share, torch.ones_like(share))
    )
    adam_factors = adams[0].abs() / 1e-2 / exact.abs()
    LAG = 4
    one_pair = share[STEPS - 1 - LAG, :, 0].unsqueeze(-1).expand_as(exact)
shuffled = adam_factors.flatten(1)[
    :, torch.randperm(n_hidden**2, generator=torch.Generator().manual_seed(0))
].reshape_as(exact)
FACTORS = {
    "Adam": adam_factors,
    "gates, one lag": one_pair,
    "gates, all lags": weighted / weight,
    "Adam, shuffled": shuffled,
}


def between_rows(factors: Tensor) -> float:
    """Share of the variance of log factors that row means explain, mean over networks."""
    logs = factors.log()
    rows = logs.mean(-1, keepdim=True).expand_as(logs)
    return float((rows.var((-2, -1)) / logs.var((-2, -1))).mean())


explained = {name: between_rows(values.cpu()) for name, values in FACTORS.items()}
record.check(
    "rows-one-lag",
    "C13",
    "at one lag all variance of the gates' factors is between rows",
    abs(1 - explained["gates, one lag"]),
    1e-12,
)
record.check(
    "gates-within-budget",
    "C13",
    r"on digits the gates' factors add to at most $\mu$ over the lags, and none exceeds it",
    max(float(part.max()) - 1 for part in (share.sum(0), share, weighted / weight)),
    1e-12,
)

# %% tags=["hide-input"]
panels = ["Adam", "gates, one lag", "gates, all lags"]
frames = []
with figures.style():
    fig, axes = plt.subplots(1, 3, figsize=(8.3, 3.5), sharey=True)
    order = one_pair[0, :, 0].argsort(descending=True).cpu()
    for ax, name in zip(axes, panels, strict=True):
        shown = FACTORS[name][0].cpu()[order]
        mesh = ax.pcolormesh(
            np.arange(n_hidden + 1) + 0.5, np.arange(n_hidden + 1) + 0.5, shown,
            norm=mpl.colors.LogNorm(float(shown.quantile(0.02)), float(shown.quantile(0.98))),
            rasterized=True,
        )  # fmt: skip
        ax.invert_yaxis() if ax is axes[0] else None
        ax.grid(False)
        ax.set(
            title=name,
            xlabel="from neuron $p$",
            xticks=[1, n_hidden],
            yticks=[1, n_hidden],
        )
        ax.set_aspect("equal")
        fig.colorbar(
            mesh,
            ax=ax,
            orientation="horizontal",
            label=r"factor$\,/\mu$",
            extend="both",
        )
        frames.append(
            pd.DataFrame(shown.numpy(), index=range(1, n_hidden + 1), columns=range(1, n_hidden + 1))
            .stack().rename("factor").rename_axis(["row", "column"]).reset_index().assign(panel=name)
        )  # fmt: skip
    axes[0].set_ylabel("to neuron $q$, by gate rate")
figures.save(
    fig, "adam-and-gate-rows", pd.concat(frames)[["panel", "row", "column", "factor"]],
    caption=rf"By how much each weight of $W_r$ has its gradient multiplied: by Adam's first step; by the gates at lag {LAG} of one digit; by the "
    "gates over all lags and digits. One trained network; each panel has its own logarithmic scale.",
    alt="Three square heat maps over the weights. Adam's is speckled, each weight for itself. The gates' at one lag is made of uniform rows. The gates' "
    "over all lags is woven of rows and columns.",
    chapter="07-gates-as-optimisers", out=out,
)  # fmt: skip

# %% tags=["hide-input"]
over = float((adam_factors > 1).double().mean())
record.number("adam-over-budget", 100 * over, f"{100 * over:.0f}", "%")
record.number(
    "adam-largest", float(adam_factors.max()), f"{float(adam_factors.max()):,.0f}"
)
for name, value in explained.items():
    slug = name.lower().replace(",", "").replace(" ", "-")
    record.number(f"between-rows-{slug}", 100 * value, f"{100 * value:.0f}", "%")
quoted = {name: entry["text"] for name, entry in record.numbers.items()}
Markdown(
    f"Rows explain {quoted['between-rows-adam']} % of the variance of Adam's log factors, {quoted['between-rows-gates-one-lag']} % of the gates' at one lag "
    f"and {quoted['between-rows-gates-all-lags']} % over all lags; shuffled, Adam's fall to {quoted['between-rows-adam-shuffled']} %. So Adam is not "
    "free of rows, since a neuron with small gradients has them in its whole row, but it is not made of them; and the sum over lags has columns too, "
    "of states that were large at well-paid lags. As for the budget, Adam multiplies "
    f"{quoted['adam-over-budget']} % of the coordinates by more than one, the largest by {quoted['adam-largest']}; gates never do. (The factors scale with one over the loss, which is the point.)"
)

# %% [markdown]
# ## Verdicts
#
# Each verdict of {numref}`tab-verdicts` names the checks that decide it; the cell refuses a verdict whose checks do not hold.

# %% tags=["hide-input"]
VERDICTS = [
    ("A moving constant gate is a learning-rate schedule for each lag", "identity", "schedule-slope schedule-numbers"),
    ("Opening it raises the rate of lag $\\ell$ exactly if $g < 1/(\\ell+1)$", "identity", "schedule-sign schedule-direction"),
    ("A moving gate is a schedule of the global rate", "false", "schedule-not-global"),
    ("The order-0 trace is a moving average with $\\beta_t = 1 - g_t$ along the sequence", "identity",
     "trace-induction trace-written-out trace-torch-momentum"),
    ("A constant gate's trace is heavy-ball momentum along the sequence", "identity", "trace-heavy-ball"),
    ("A gate is momentum along training iterations", "false", "trace-no-iterations momentum-iterations"),
    ("Online and batch order-0 gradients are the same", "identity", "online-batch"),
    ("RFLO's trace is that of a constant gate", "identity", "rflo-trace"),
    ("e-prop's trace, with own states, decays by the diagonal of $J_t$", "identity", "eprop-trace eprop-is-not-order-0"),
    ("A gate is a diagonal, positive, data-driven preconditioner, as Adam is", "analogy", "adam-rows adam-lags"),
    ("A gate rescales whole rows of the credit of one lag", "identity", "adam-rows rows-one-lag"),
    ("A gate rescales whole rows of the gradient", "false", "rows-not-summed"),
    ("A gate adapts single coordinates, as Adam does", "false", "adam-rows rows-one-lag"),
    ("Adam treats lags differently, as gates do", "false", "adam-lags"),
    ("A gate normalises the step, as Adam does", "false", "adam-scale adam-scale-torch gate-scale-torch"),
    ("Adam divides a bounded budget, as gates do", "false", "adam-budget gates-within-budget"),
]  # fmt: skip
passed = {check["id"] for check in record.checks if check["passed"]}
decided = all(set(by.split()) <= passed for *_, by in VERDICTS)
record.check("verdicts", "C13", "every verdict rests on checks that hold", decided)
counts = pd.Series([verdict for _, verdict, _ in VERDICTS]).value_counts()
record.table(
    pd.DataFrame(
        [(s, f"**{v}**", ", ".join(f"`{i}`" for i in by.split())) for s, v, by in VERDICTS],
        columns=["statement, at order 0", "verdict", "decided by"],
    ),
    "verdicts",
    caption=f"What a gate is as an optimiser: {counts['identity']} identities, {counts['analogy']} analogy, {counts['false']} statements that are false.",
)  # fmt: skip

# %% [markdown]
# ## What it means
#
# A gate schedules lags, not training. It is momentum within a sequence, not between sequences. And it is a preconditioner of the same
# broad kind as Adam, with almost none of what makes Adam *Adam*: the normalisation, the independence of single weights, the memory of
# earlier batches. So gates and optimisers are not substitutes. A gated network still has use for a schedule, for momentum and for Adam, and
# what its gates add is something that none of the three has: a learning rate that depends on the lag, chosen anew at every step by the
# data.
#
# All of this is about order 0, whose part in the real gradient {numref}`tab-online-rules` shows. A statement about gates and optimisers that is an
# identity at order 0 is still an approximation in a trained network; {ref}`ch-validity` says where it is a good one.
#
# ## What was checked

# %% tags=["hide-input"]
record.validation(
    caption="The checks of this chapter: matched gates (C10), schedules (C11), momentum (C12) and Adam (C13)."
)

# %% [markdown]
# ## Try it
#
# 1. *Two lags, one gate.* For which gates can opening raise the rate of lag 1 and of lag 10 at once? Lower both? Move them apart?
# 2. *A large* $\epsilon$. Adam with $\epsilon > 0$ is not quite indifferent to the scale of the loss. What does its step become for tiny
#    losses?
# 3. *An optimiser with rows.* Give Adam the gate's structure: one second moment per row, the mean over its columns. Which of the four
#    differences go away?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 1: two lags, one gate"}
# 1. Below 1/11 both rise, above 1/2 both fall, in between lag 1 rises and lag 10 falls: there a gate trades one for the other.
signs = {
    point: tuple(sp.sign(slope.subs({ell: lag, g: point})) for lag in (1, 10))
    for point in (sp.Rational(1, 20), sp.Rational(1, 4), sp.Rational(3, 4))
}
record.check(
    "exercise-two-lags",
    "C10",
    "lags 1 and 10: both rise at 1/20, they part at 1/4, both fall at 3/4",
    list(signs.values()) == [(1, 1), (1, -1), (-1, -1)],
    kind="symbolic",
)

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 2: a large \u03b5"}
# 2. For c -> 0 the step approaches c G/ε: plain gradient descent with the rate μ/ε. Adam forgets to normalise.
eps = sp.Symbol("epsilon", positive=True)
step = (
    c * gradient / (sp.sqrt(c**2 * gradient**2) + eps)
)  # the first, for c times the loss
record.check(
    "exercise-epsilon",
    "C13",
    r"for tiny losses Adam with $\epsilon > 0$ is plain SGD at the rate $\mu/\epsilon$",
    sp.limit(step / (c * gradient / eps), c, 0, "+") == 1
    and sp.limit(step, c, sp.oo) == 1,
    kind="symbolic",
)

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 3: an optimiser with rows"}
# 3. Only the first: ratios within a row return. Scale, lags and budget stay Adam's.
row_moment = (exact**2).mean(-1, keepdim=True)
row_adam, row_scaled = (c * exact / (c**2 * row_moment).sqrt() for c in (1, 1024))
ratio_kept = discrepancy(
    row_adam[..., 1:] / row_adam[..., :-1], exact[..., 1:] / exact[..., :-1]
)
record.check(
    "exercise-row-adam",
    "C13",
    "Adam with one moment per row keeps ratios within a row, and still ignores the scale",
    max(ratio_kept, discrepancy(row_scaled, row_adam)),
    1e-12,
)

# %% tags=["remove-cell"]
record.close()
