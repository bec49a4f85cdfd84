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
# (ch-against)=
# # Gates against optimisers
#
# On paper, a moving gate is a learning-rate schedule, a gated trace is momentum, and a gate for each neuron is a preconditioner of the same kind as Adam's ({ref}`ch-optimisers`). The paper goes on from there: gates "spontaneously" show "properties of
# learning-rate schedules, momentum, and adaptive methods such as Adam" {cite}`livi2025timescale`. An identity at order 0 says what a gate *can* do. What does the gate of a trained network do, and which part of an optimiser is it?
#
# :::{admonition} The claims, and what each must beat
# :class: important
#
# 1. **Schedule.** Training moves the gates, so that the rate of a lag changes along training, by more than with gates whose weights are frozen.
# 2. **Momentum.** The eligibility trace of a trained gate is close to textbook momentum, with one fixed $\beta$ for each neuron.
# 3. **Adam.** Neurons to which the gate gives large steps are those to which Adam would give large steps, more than by chance.
# 4. **Complementary.** Gates and Adam together do better than either alone.
# :::
#
# All thresholds below were written down before the run of twenty seeds.

# %% tags=["parameters"]
profile = "ci"
seeds = 3  # run here; the other seeds are read from the reference
device = "auto"
out = "../artifacts/draft/13-gates-against-optimisers"
location = "../_build/cells"  # of what was computed; may be deleted at any time
tasks_here = ["adding"]  # trained here
training_steps = 3000
grid_here = False  # whether the search for learning rates is run here
identity_steps = 200  # of the two experiments on identities

# %% tags=["hide-input"]
from itertools import product

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from gatelr import adjoint, rates, tasks, training
from gatelr import cells as networks
from gatelr.experiments import runs, statistics
from gatelr.record import devices, figures, ledger, references
from IPython.display import Markdown
from torch import Tensor

READS = ["reference/e4-*.csv"]
TITLE = "Gates against optimisers"
parameters = {
    "profile": profile, "seeds": seeds, "device": device, "location": location,
    "tasks_here": tasks_here, "training_steps": training_steps,
    "grid_here": grid_here, "identity_steps": identity_steps,
}  # fmt: skip
record = ledger.Ledger("13-gates-against-optimisers", TITLE, out, parameters)
where = devices.resolve(device)

# %% [markdown]
# ## One multiplier for every method
#
# Gates and optimisers can be compared if one says, for each, *by what a step multiplies a contribution*. A contribution is what step $k = T - \ell$ adds to the gradient at the coordinate $(q, p)$ of $W_r$, with the gate's factor taken out, $c = \varphi'(a^q_k)\, \delta^q_T\, x^p_{k-1}$. The
# step of SGD enters it with
#
# | method | multiplier of a contribution of lag $\ell$ at $(q, p)$ |
# |:---|:---|
# | SGD, no gate | $\mu$ |
# | a schedule | $\mu(s)$, moving with the training step |
# | momentum | $\mu$, spread over iterations by $\beta^j$ |
# | Adam | $\mu / (\sqrt{\hat v_{qp}} + \epsilon)$ |
# | constant gate | $\mu\, \alpha (1 - \alpha)^{\ell}$ |
# | scalar gate | $\mu\, g_k \prod_j (1 - g_j)$ |
# | multi-gate | $\mu\, g^q_k \prod_j (1 - g^q_j)$ |
#
# and with the product of two where both are in use. For the gated networks this is order 0 (C8); a network without a gate has no order 0, and its contributions hold the whole adjoint. Steps of one network are compared over coordinates after a mean over sequences and lags, weighted by $|c|$: a factor counts where it has something to act on.
#
# **A shadow.** A gated network under SGD and a plain network under Adam end at different weights, and coordinates of different weights do not correspond. So an Adam looks over the shoulder of every run: it sees the same gradients, keeps its second moments, and moves nothing. Its rates are those that Adam would use at *these* weights.
#
# ```python
# shadow = preconditioners.Shadow(optimiser, model.W_r)   # sees each gradient
# run = training.train(model, task, optimiser, steps, generators)
# f = preconditioners.factors(model, trajectory)          # g P, (T, B, n)
# c = preconditioners.signals(model, trajectory, delta)   # φ' δ, likewise
# gate = preconditioners.gate_steps(f, c, trajectory.x_prev)
# preconditioners.agreement(gate.coordinates, shadow.rates())
# ```

# %%
METHODS = [("none", "SGD"), ("none", "cosine"), ("none", "momentum"), ("none", "Adam"),
           ("constant", "SGD"), ("scalar", "SGD"), ("multi", "SGD"), ("multi", "Adam")]  # fmt: skip
FROZEN = ("multi, frozen", "SGD")  # the null of a gate that training moves
GRID = {
    "SGD": (0.03, 0.1, 0.3, 1.0, 3.0), "cosine": (0.03, 0.1, 0.3, 1.0, 3.0),
    "momentum": (0.003, 0.01, 0.03, 0.1, 0.3), "Adam": (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1),
}  # fmt: skip
#: Where no grid has been run yet: a first guess.
GUESS = {"SGD": 0.1, "cosine": 0.1, "momentum": 0.01, "Adam": 0.003}
NAMES = {"adding": "adding", "moving_average": "moving average"}
TASKS = list(NAMES)
cell = runs.cells(location)


def measured(
    task: str, method: tuple[str, str], rate: float, which, checkpoints
) -> runs.Tables:
    """One cell: all seeds of one method at one rate."""
    gate, optimiser = method
    options = {"frozen": True} if method == FROZEN else {}
    found = cell(
        "E4", task, gate.removesuffix(", frozen"), optimiser, which, rate=rate,
        steps=training_steps, checkpoints=checkpoints, task_options={"steps": 20}, device=str(where), **options,
    )  # fmt: skip
    labels = {"task": task, "gate": gate, "optimiser": optimiser, "rate": rate}
    return {name: table.assign(**labels) for name, table in found.items()}


# %% [markdown]
# Two tasks over $20$ steps that can be learned: adding, and a moving average over eight steps. Networks of $32$ neurons without biases, batches of $32$ fresh sequences, the constant gate at $\alpha = 0.2$, momentum and Adam's first moment at $\beta = 0.9$, a cosine schedule to zero.
#
# ### Each method at its best rate
#
# A method judged at another's learning rate is not judged. Each has a rate of its own for each task: the one of a small grid with the smallest mean logarithm of the loss on fresh data, on three seeds that occur nowhere else. A run that diverges counts as a hundred times worse than the best constant, here and below.

# %%
KEYS = ["task", "gate", "optimiser", "seed", "step"]


def scored(rows: pd.DataFrame) -> pd.Series:
    """log10 of the loss over the constant's; 2 for a run that diverged."""
    score = np.log10(rows.loss / rows.constant)
    return score.replace(np.inf, 2.0).fillna(2.0).clip(upper=2.0)


GRID_KEYS = ["task", "gate", "optimiser", "rate", "seed"]
searched = [
    measured(task, method, rate, (101, 102, 103), (training_steps,))["training"]
    for task, method in product(tasks_here if grid_here else [], METHODS)
    for rate in GRID[method[1]]
]
columns = [*GRID_KEYS, "score"]
if searched:
    grid = pd.concat(searched)
    grid = grid.assign(score=scored(grid))[columns]
else:
    kinds = dict(zip(columns, (str, str, str, float, int, float), strict=True))
    grid = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})
settled = references.settle(
    grid, "e4-grid", GRID_KEYS, {"score": (0.1, 0.0)}, folder="../reference", out=out
)
if settled.shared:
    record.check("reference-grid", "C8", f"this run's search for rates and the committed one agree, {settled.shared} rows that both have, largest difference over its tolerance", settled.gap, 1.0)  # fmt: skip
search = settled.rows


def chosen(task: str, method: tuple[str, str]) -> float:
    """The rate with the best mean score over the seeds of the grid."""
    rows = search[(search.task == task) & (search.gate == method[0]) & (search.optimiser == method[1])]  # fmt: skip
    scores = rows.score.astype(float).groupby(rows.rate).mean()
    return float(scores.idxmin()) if len(scores) else GUESS[method[1]]


def at_edge(task: str, method: tuple[str, str]) -> bool:
    """Whether the rate chosen is the lowest or the highest that was tried: a better one may lie beyond."""
    return chosen(task, method) in (min(GRID[method[1]]), max(GRID[method[1]]))


record.number("at-edge", sum(at_edge(task, method) for task, method in product(TASKS, METHODS)))  # fmt: skip

# %% tags=["hide-input"]
record.table(
    pd.DataFrame(
        [
            (" + ".join(method), *(f"{chosen(task, method):g}" + (" (edge)" if at_edge(task, method) else "") for task in TASKS), ", ".join(f"{rate:g}" for rate in GRID[method[1]]))
            for method in METHODS
        ],
        columns=["method", *NAMES.values(), "grid"],
    ),
    "against-rates",
    caption="Learning rates: the best of the grid on seeds 101 to 103. *Edge*: the lowest or highest rate tried, so that a better one may lie beyond. Multi-gates with frozen weights run at the rate of those that learn.",
)  # fmt: skip

# %% [markdown]
# ### The runs

# %%
WATCHED = [0, 1, 2, 4, 8, 12, 16]  # lags whose factor is kept


def by_lag(lags: pd.DataFrame) -> pd.DataFrame:
    """One row a network and checkpoint: log10 of the mean factor by lag, and agreement with Adam."""
    lags = lags[lags.lag.isin(WATCHED) & (lags.gate != "none")]
    wide = lags.assign(factor=np.log10(lags.factor)).pivot(
        index=KEYS, columns="lag", values=["factor", "rows like Adam"]
    )
    wide.columns = [f"{name} @{lag}" for name, lag in wide.columns]
    return wide.reset_index()


quarters = tuple(round(training_steps * part / 4) for part in range(5))
cells = [
    measured(task, method, chosen(task, method), range(1, seeds + 1), quarters)
    for task, method in product(tasks_here, METHODS)
] + [
    measured(task, FROZEN, chosen(task, ("multi", "SGD")), range(1, seeds + 1), quarters)
    for task in tasks_here
]  # fmt: skip
own = {
    name: pd.concat([tables[name] for tables in cells], ignore_index=True)
    for name in cells[0]
}
KEPT = ["rate now", "log step", "spread", "even", "rows", "Adam spread", "Adam rows", "Adam columns", "normalised",
        "rows normalised", "step like Adam", "rows like Adam", "rows like Adam, foreign", "rows cosine",
        "rows cosine, null", "all like Adam", "all cosine", "all cosine, null", "along the sequence",
        "along iterations", "over sequences", "fixed beta", "shuffled gates",
        "last credit"]  # fmt: skip
tables = {
    "training": own["training"][[*KEYS, "loss", "constant"]],
    "steps": own["steps"][[*KEYS, *KEPT]],
    "lags": by_lag(own["lags"]),
}
TOLERANCES = {
    "training": {"loss": (0.0, 0.1)},
    "steps": dict.fromkeys(("spread", "rows", "Adam rows", "rows like Adam", "over sequences", "fixed beta"), (0.05, 0.0)),
    "lags": {f"factor @{lag}": (0.02, 0.02) for lag in WATCHED},
}  # fmt: skip
evidence = {}
for name, table in tables.items():
    settled = references.settle(
        table, f"e4-{name}", KEYS, TOLERANCES[name], folder="../reference", out=out
    )
    evidence[name] = settled.rows
    record.check(f"reference-{name}", "C13", f"this run and the committed one agree: {name}, {settled.shared} rows that both have, largest difference over its tolerance", settled.gap, 1.0)  # fmt: skip

# %%
END = int(evidence["training"].step.max())
QUARTERS = [round(END * part / 4) for part in range(5)]
evidence = {name: rows[rows.step.isin(QUARTERS)] for name, rows in evidence.items()}
evidence["training"] = evidence["training"].assign(
    ratio=lambda rows: 10 ** -scored(rows)
)
last = {name: rows[rows.step == END] for name, rows in evidence.items()}
present = [task for task in TASKS if (last["training"].task == task).any()]
SEEDS = int(last["training"].groupby(KEYS[:3]).seed.nunique().min())
record.number("seeds", SEEDS)
record.number("seeds-here", seeds)
diverged = int((own["run"].diverged >= 0).sum())
record.number("diverged", diverged)
Markdown(
    f"The figures show **{SEEDS} seeds** on {len(present)} task{'s' if len(present) > 1 else ''} after {END} steps. This run trained {seeds} of them on {len(tasks_here)} task{'s' if len(tasks_here) > 1 else ''} for {training_steps} steps; the others are read from `reference/`, "
    f"and what both have agrees (above). {diverged or 'No'} network{'s' if diverged != 1 else ''} of this run diverged; no seed is dropped."
)

# %% [markdown]
# ## Is anything learned?

# %% tags=["hide-input"]
LINES = {"SGD": "-", "cosine": ":", "momentum": "-.", "Adam": "--"}


def look(gate: str, optimiser: str) -> dict:
    """Colour and marker of the gate, line of the optimiser; open markers for Adam."""
    fill = {"markerfacecolor": "white"} if optimiser == "Adam" else {}
    return figures.GATES[gate] | {"linestyle": LINES[optimiser]} | fill


def of(rows: pd.DataFrame, task: str, gate: str, optimiser: str) -> pd.DataFrame:
    """The rows of one method on one task."""
    return rows[(rows.task == task) & (rows.gate == gate) & (rows.optimiser == optimiser)]  # fmt: skip


with figures.style():
    fig, axes = plt.subplots(1, len(present), figsize=(8.2, 3.6), sharey=True, squeeze=False)  # fmt: skip
    for ax, task in zip(axes[0], present, strict=True):
        for method in METHODS:
            series = of(evidence["training"], task, *method).pivot(index="step", columns="seed", values="ratio")  # fmt: skip
            ax.plot(series.index, series, color=figures.GATES[method[0]]["color"], linewidth=0.3, alpha=0.3)  # fmt: skip
            ax.plot(series.index, series.median(axis=1), label=" + ".join(method), **look(*method))  # fmt: skip
        ax.axhline(1, color=figures.INK, linewidth=0.8, linestyle=":")
        ax.axhline(5, color=figures.INK, linewidth=0.8, linestyle="--")
        ax.set(yscale="log", xlabel="training step", title=NAMES[task])
    axes[0, 0].set_ylabel("constant's loss / loss")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)  # fmt: skip
figures.save(
    fig, "against-loss", evidence["training"][[*KEYS, "loss", "constant", "ratio", "here"]],
    caption=f"How many times better than the best constant prediction, on fresh data: {SEEDS} seeds (thin) and their medians, each method at its own best rate. On the dotted line nothing is learned; above the dashed one a network is at least five times better.",
    alt="Panels of the ratio of losses over training steps on a logarithmic axis, eight methods each. Thin lines are seeds, thick ones medians.",
    chapter="13-gates-against-optimisers", out=out,
)  # fmt: skip

# %% tags=["hide-input"]
middle = last["training"].groupby(KEYS[:3]).ratio.median()
for task, (gate, optimiser) in product(present, METHODS):
    record.number(f"ratio-{task}-{gate}-{optimiser}".lower().replace("_", "-"), float(middle[(task, gate, optimiser)]))  # fmt: skip
said = [
    f"{NAMES[task]}: " + ", ".join(f"{gate} + {optimiser} {middle[(task, gate, optimiser)]:.3g}" for gate, optimiser in METHODS)
    for task in present
]  # fmt: skip
Markdown("The best constant's loss over the network's, medians. " + "; ".join(said) + ".")  # fmt: skip

# %%
TRIO = [("multi", "SGD"), ("none", "Adam"), ("multi", "Adam")]
tests = []


def judge(
    name: str, word: str, statement: str, values: pd.Series, *, threshold: float = 0.0, null: float = 0.0,
    greater: bool = True, unit: str = "", note: str = "",
) -> statistics.Estimate:  # fmt: skip
    """Record a claim from one number a seed."""
    found = statistics.estimate(values.to_numpy(dtype=float), threshold=threshold)
    verdict = record.claim(
        name, word, statement, found.mean, found.interval, threshold=threshold, null=float(null),
        seeds=found.seeds, greater=greater, unit=unit, note=f"mean over seeds, BCa bootstrap. {note}".strip(),
    )  # fmt: skip
    tests.append((name, found.mean, *found.interval, threshold, found.p, verdict))
    return found


for task in present:
    weakest = pd.concat([of(last["training"], task, *m) for m in TRIO]).groupby("seed").ratio.min()  # fmt: skip
    judge(
        f"learns-{task}".replace("_", "-"), "trained",
        f"{NAMES[task]}: the weakest of multi + SGD, none + Adam and multi + Adam of a seed is, in the mean over seeds, at least five times better than the best constant ($\\log_{{10}}$ of the ratio)",
        np.log10(weakest), threshold=float(np.log10(5)), note="a constant prediction has 0",
    )  # fmt: skip

# %% [markdown]
# ## Schedule
#
# ### The identity, as an experiment
#
# Let a constant gate open along training as prescribed, from $0.1$ to $0.6$. By C11, what one lag learns is what a network learns whose contributions enter *without* the gate's factor, under `torch.optim.lr_scheduler.LambdaLR` with $\mu(s) = \mu\, \alpha(s) (1 - \alpha(s))^{\ell}$. Then the likeness is taken apart, rung by rung: all lags at once, for which no single schedule can be right; the whole
# gradient; and the ungated network's own forward pass. From the second rung on, the ungated side gets a single schedule fitted step by step: the factor that brings its gradient closest to the gated one, found along the gated run.


# %%
LAG, SHORT, NEURONS, MU = 4, 12, 16, 0.5
short = tasks.get("adding", steps=SHORT)


def opening(step: int) -> float:
    """α(s), prescribed."""
    return 0.1 * 6 ** (step / identity_steps)


def pupil(gate: str, **options) -> networks.GatedRNN:
    """S networks; the readout stays as it is drawn, and W_r and W_i learn."""
    return networks.GatedRNN(
        4, NEURONS, gate, replicas=seeds, dtype=torch.float64, device=where,
        generator=training.generators(range(1, seeds + 1)), **options,
    ).requires_grad_(False)  # fmt: skip


def error(model, run, target) -> Tensor:
    """δ_T of the mean squared error."""
    return 2 * (run.x[-1] @ model.W_o.mT - target) @ model.W_o / target.shape[-2]


def contributions(factor):
    """The order-0 gradient, each step's contribution times ``factor(run)``."""

    def gradient(model, u, target) -> dict[str, Tensor]:
        run = model.run(u)
        left = factor(run) * (1 - run.phi**2) * error(model, run, target)
        return {
            "W_r": torch.einsum("tsbq,tsbp->sqp", left, run.x_prev),
            "W_i": torch.einsum("tsbq,tsbm->sqm", left, run.u),
        }

    return gradient


def whole(model, u, target) -> dict[str, Tensor]:
    """Backpropagation through time."""
    run = model.run(u)
    delta = torch.zeros_like(run.x)
    delta[-1] = error(model, run, target)
    return adjoint.gradients(model, run, delta)


def one_lag(run) -> Tensor:
    chosen = torch.zeros_like(run.x)
    chosen[-1 - LAG] = 1
    return chosen


def all_lags(run) -> Tensor:
    return torch.ones_like(run.x)


# what the gated side learns from, what the other side does, and the other side's network
RUNGS = {
    "one lag, order 0": (contributions(lambda run: one_lag(run) * rates.shares(run)), contributions(one_lag), "constant"),
    "all lags, order 0": (contributions(rates.shares), contributions(all_lags), "constant"),
    "the whole gradient": (whole, contributions(all_lags), "constant"),
    "its own forward pass": (whole, whole, "none"),
}  # fmt: skip

# %%
LEARNED = ("W_r", "W_i")


def learn(model, gradient, schedule: Tensor, watch=None) -> tuple[Tensor, list]:
    """All weights after every step, (steps, S, weights); and what ``watch`` says before each."""
    weights = [[getattr(model, name)[s] for name in LEARNED] for s in range(seeds)]
    optimiser = torch.optim.SGD([{"params": group} for group in weights], lr=MU)
    moves = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        [lambda step, s=s: float(schedule[step, s]) for s in range(seeds)],
    )
    data = training.generators(range(1, seeds + 1), 123)
    path, watched = [], []
    for step in range(identity_steps):
        if model.gate == "constant":
            model.alpha = (opening(step),)
        u, target = (v.to(where) for v in short.draw(16, data, torch.float64))
        found = gradient(model, u, target)
        if watch is not None:
            watched.append(watch(model, found, u, target))
        for s, group in enumerate(weights):
            for name, weight in zip(LEARNED, group, strict=True):
                weight.grad = found[name][s]
        optimiser.step()
        moves.step()
        path.append(flat(model).clone())
    return torch.stack(path), watched


def flat(model) -> Tensor:
    return torch.cat([getattr(model, name).flatten(1) for name in LEARNED], 1)


def climb(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of the gated and of the other side by step, and those that both began with."""
    gated_gradient, other_gradient, gate = RUNGS[name]
    gated, other = pupil("constant", alpha=opening(0)), pupil(gate, **({} if gate == "none" else {"alpha": 0.1}))  # fmt: skip
    begin = flat(gated).clone()

    def nearest(model, found, u, target) -> Tensor:
        """The factor of the other side's gradient that is closest to this one, for each seed."""
        for weight in LEARNED:
            getattr(other, weight).copy_(getattr(model, weight))
        other.alpha = model.alpha if gate == "constant" else None
        theirs = other_gradient(other, u, target)
        dot, square = (sum((theirs[w] * v[w]).sum((1, 2)) for w in LEARNED) for v in (found, theirs))  # fmt: skip
        return dot / square

    steady = torch.ones(identity_steps + 1, seeds, dtype=torch.float64)
    one, best = learn(gated, gated_gradient, steady, nearest)
    if name == "one lag, order 0":  # the prediction; the others must be fitted
        alpha = torch.tensor([opening(step) for step in range(identity_steps + 1)], dtype=torch.float64)  # fmt: skip
        schedule = (alpha * (1 - alpha) ** LAG).unsqueeze(1).expand_as(steady)
    else:
        schedule = torch.stack([*best, best[-1]])
    for weight, start in zip(LEARNED, begin.split([NEURONS**2, NEURONS * 4], 1), strict=True):  # fmt: skip
        getattr(other, weight).copy_(start.reshape(getattr(other, weight).shape))
    return one, learn(other, other_gradient, schedule)[0], begin


climbs = {name: climb(name) for name in RUNGS}

# %%
one, two, _ = climbs["one lag, order 0"]
record.check(
    "schedule-identity", "C11",
    rf"one lag at order 0: {identity_steps} steps with a gate that opens, and without its factor under the predicted schedule, largest relative difference of the weights",
    float(((one - two).abs().amax(2) / one.abs().amax(2)).max()), 1e-10,
    note=f"float64, lag {LAG}, {seeds} networks",
)  # fmt: skip
LOOKED = sorted({1, 3, 10, 30, 100, identity_steps} & set(range(identity_steps + 1)))
ladder = pd.DataFrame(
    [
        {"rung": name, "seed": s + 1, "step": step, "apart": float((one[step - 1, s] - two[step - 1, s]).norm() / (one[step - 1, s] - begin[s]).norm())}
        for name, (one, two, begin) in climbs.items()
        for step, s in product(LOOKED, range(seeds))
    ]
)  # fmt: skip
settled = references.settle(ladder, "e4-ladder", ["rung", "seed", "step"], {"apart": (1e-6, 0.05)}, folder="../reference", out=out)  # fmt: skip
record.check("reference-ladder", "C11", f"this run and the committed one agree: ladder, {settled.shared} rows that both have, largest difference over its tolerance", settled.gap, 1.0)  # fmt: skip
ladder = settled.rows
shared = ladder[ladder.rung != "one lag, order 0"]
record.check(
    "schedule-parts", "C11",
    "with all lags, or the whole gradient, or its own forward pass, no single schedule does: at the last step every network is more than a hundredth of its way apart",
    bool((shared[shared.step == shared.step.max()].apart > 0.01).all()),
)  # fmt: skip

# %% tags=["hide-input"]
with figures.style():
    fig, ax = plt.subplots(figsize=(7.2, 3.4))
    for (name, rows), colour, mark in zip(ladder.groupby("rung", sort=False), figures.CYCLE, "os^D", strict=False):  # fmt: skip
        series = rows.pivot(index="step", columns="seed", values="apart").clip(
            lower=1e-17
        )
        ax.plot(series.index, series, color=colour, linewidth=0.4, alpha=0.4)
        ax.plot(series.index, series.median(axis=1), color=colour, marker=mark, label=name)  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="training step", ylabel="distance of weights / way gone")  # fmt: skip
    ax.set_xticks(sorted(ladder.step.unique()), [f"{step}" for step in sorted(ladder.step.unique())])  # fmt: skip
    ax.set_xticks([], minor=True)
    fig.legend(loc="outside upper right", ncols=2)
figures.save(
    fig, "against-ladder", ladder[["rung", "seed", "step", "apart", "here"]],
    caption=f"A gate that opens along training, against the same network without the gate's factor under a schedule: how far their weights are apart, relative to the way that training has gone. {ladder.seed.nunique()} seeds (thin) and medians. The lowest curve is the identity; the others have a single schedule fitted step by step.",
    alt="Four curves over training steps on logarithmic axes. One stays at rounding, near ten to the minus fifteen. The others lie many orders of magnitude higher, between a hundredth and a few times the way gone, and rise.",
    chapter="13-gates-against-optimisers", out=out,
)  # fmt: skip

# %% tags=["hide-input"]
end = (
    ladder[ladder.step == ladder.step.max()].groupby("rung", sort=False).apart.median()
)
for name, value in end.items():
    record.number(f"apart-{name}".replace(",", "").replace(" ", "-"), float(value))
Markdown(
    f"After {identity_steps} steps the two are apart, in units of the way gone (medians): " + "; ".join(f"{name} {value:.2g}" for name, value in end.items())
    + ". The identity holds for one lag, to rounding. A schedule multiplies everything by the same number, and a gate does not."
)  # fmt: skip

# %% [markdown]
# ### In trained networks
#
# Does training make such a schedule by itself? The rate of lag $\ell$ is $\mu\, E[g_k P_{T,k}]$, a mean over sequences and neurons. It also moves when only the states move, so the null is a network whose gate weights stay as they were drawn and whose other weights learn as before. *Threshold:* over lags 1 to 16, the rate must move by $0.1$ decades (a quarter) more than in the null.

# %%
MOVED = [lag for lag in WATCHED if lag]


def moved(task: str, method: tuple[str, str]) -> pd.DataFrame:
    """Change of log10 of the factor from start to end; a row a seed, a column a lag."""
    rows = of(evidence["lags"], task, *method).set_index(["step", "seed"])
    rows = rows[[f"factor @{lag}" for lag in WATCHED]]
    return rows.loc[rows.index.levels[0].max()] - rows.loc[0]


def beyond_null(task: str) -> pd.Series:
    learned, frozen = (
        moved(task, m)[[f"factor @{lag}" for lag in MOVED]].abs().mean(axis=1)
        for m in (("multi", "SGD"), FROZEN)
    )
    return (learned - frozen).dropna()


per_task = {task: beyond_null(task) for task in present}
still = {task: float(moved(task, FROZEN)[[f"factor @{lag}" for lag in MOVED]].abs().mean(axis=1).mean()) for task in present}  # fmt: skip
for task in present:
    judge(
        f"schedule-{task}".replace("_", "-"), "schedule",
        f"{NAMES[task]}: training moves the rates of lags 1 to 16 by more than a quarter beyond what frozen gates do (multi + SGD)",
        per_task[task], threshold=0.1, unit="decades", note=f"With frozen gates the rates move by {still[task]:.2g} decades, which is taken off.",
    )  # fmt: skip
found = judge(
    "schedule", "schedule",
    "training moves the rates of lags 1 to 16 by more than a quarter beyond what frozen gates do (multi + SGD, mean over tasks)",
    pd.DataFrame(per_task).mean(axis=1), threshold=0.1, unit="decades",
    note="Mean of the absolute change of log10 over lags, less that of the same network with frozen gate weights.",
)  # fmt: skip


def summary(name: str, of: statistics.Estimate) -> None:
    """The numbers of a summary claim, for pages that quote them."""
    for part, value in (("effect", of.mean), ("low", of.low), ("high", of.high)):
        record.number(f"{name}-{part}", value, f"{value:.2f}")
    record.number(f"{name}-seeds", of.seeds)


summary("schedule", found)

# %% tags=["hide-input"]
frames = []
with figures.style():
    fig, axes = plt.subplots(1, len(present), figsize=(8.2, 3.1), sharey=True, squeeze=False)  # fmt: skip
    for ax, task in zip(axes[0], present, strict=True):
        for method, label, colour in [(("multi", "SGD"), "gates learn", figures.GATES["multi"]["color"]), (FROZEN, "gates frozen", figures.MUTED)]:  # fmt: skip
            change = moved(task, method)
            estimates = [statistics.estimate(change[column]) for column in change]
            ax.plot(WATCHED, change.T, color=colour, linewidth=0.4, alpha=0.4)
            centre = [e.mean for e in estimates]
            ax.errorbar(WATCHED, centre, [[e.mean - e.low for e in estimates], [e.high - e.mean for e in estimates]], color=colour, marker="D", capsize=2, label=label)  # fmt: skip
            frames.append(change.rename(columns=lambda name: int(name.split("@")[1])).stack().rename("change").rename_axis(["seed", "lag"]).reset_index().assign(task=task, gates=label))  # fmt: skip
        ax.axhline(0, color=figures.INK, linewidth=0.8, linestyle=":")
        ax.set_xticks(WATCHED, [f"{lag}" for lag in WATCHED])
        ax.set(xlabel=r"lag $\ell$", title=f"{NAMES[task]}: constant / loss {middle[(task, 'multi', 'SGD')]:.3g}")  # fmt: skip
    axes[0, 0].set_ylabel("change of the rate, decades")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)  # fmt: skip
figures.save(
    fig, "against-schedule", pd.concat(frames),
    caption=f"By how much training changes the effective rate of each lag, multi-gates under SGD: $\\log_{{10}}$ of the rate after training less that before; {SEEDS} seeds (thin), means with 95 % intervals. Grey: the same networks with gate weights that stay as drawn. Panel titles give how many times better than the best constant these networks are.",
    alt="Panels of the change of the rate over the lag. One curve with intervals is of gates that learn, a grey one of frozen gates.",
    chapter="13-gates-against-optimisers", out=out,
)  # fmt: skip

# %% [markdown]
# ## Momentum
#
# ### The identity, as an experiment
#
# By C12, `torch.optim.SGD(momentum=β, dampening=β)` that is fed with $\varphi'(a_t)\, x_{t-1}^\top$ keeps the eligibility trace of a gate $g = 1 - \beta$ in its buffer. (torch does not dampen the first gradient; let that one be zero.) So networks can *learn while they read*, one update at each step of an endless input, in two ways: by the gate's trace, $\delta_t \odot E_t$, and by an ungated trace of no memory under torch's momentum. If
# $\delta$ never changes, momentum averages $\delta\, c_t$ and the gate multiplies $\delta$ by the average of $c_t$, which is the same. If $\delta$ moves, it is not: momentum remembers old *errors*, a gate only old *credits*. The knob is the correlation time of the target.

# %%
READING, ALPHA = 2 * identity_steps, 0.2


def streams(correlation: float) -> tuple[Tensor, Tensor]:
    """White inputs, and targets that forget with the given time constant: (T, S, ·)."""
    sources = training.generators(range(1, seeds + 1), 123)
    drawn = torch.stack([torch.randn(READING, 4 + NEURONS, generator=g, dtype=torch.float64) for g in sources], 1)  # fmt: skip
    u, noise = drawn.split([4, NEURONS], -1)
    keep = 0.0 if correlation == 0 else float(np.exp(-1 / correlation))
    target = [noise[0]]
    for fresh in noise[1:]:
        target.append(keep * target[-1] + (1 - keep**2) ** 0.5 * fresh)
    return u.to(where), torch.stack(target).to(where)


def read(
    model, u: Tensor, delta, betas=None, rate: float = 0.01
) -> tuple[Tensor, Tensor]:
    """Learn W_r while reading, by the gate's trace or (``betas``) by torch's momentum; W_r and all gates."""
    rows = list(model.W_r)  # one group a seed
    optimiser = torch.optim.SGD([{"params": [row]} for row in rows], lr=rate, momentum=0.5, dampening=0.5)  # fmt: skip
    for row in rows:
        row.grad = torch.zeros_like(row)
    optimiser.step()  # a buffer of zeros to begin with
    x, E, gates = u.new_zeros(seeds, NEURONS), torch.zeros_like(model.W_r), []
    for t in range(len(u)):
        run = model.run(u[t : t + 1], x)
        x, g = run.x[0], run.g[0].expand_as(run.x[0])
        gates.append(g[:, 0])
        credit = (1 - run.phi[0] ** 2).unsqueeze(-1) * run.x_prev[0].unsqueeze(-2)
        signal = delta(t, x).unsqueeze(-1)
        if betas is None:
            E = torch.lerp(E, credit, g.unsqueeze(-1))
            model.W_r -= rate * signal * E
            continue
        for s, (row, group) in enumerate(zip(rows, optimiser.param_groups, strict=True)):  # fmt: skip
            beta = float(1 - g[s, 0]) if betas == "moving" else float(betas[s])
            group["momentum"] = group["dampening"] = beta
            row.grad = (signal * credit)[s]
        optimiser.step()
    return model.W_r.clone(), torch.stack(gates)


def gap(one: Tensor, two: Tensor, begin: Tensor) -> Tensor:
    """Distance of weights over the way gone, for each seed."""
    return (one - two).flatten(1).norm(dim=1) / (one - begin).flatten(1).norm(dim=1)


start = pupil("constant", alpha=ALPHA).W_r.clone()
still_error = streams(0.0)[1][0]  # δ that never changes
u = streams(0.0)[0]
by_gate, _ = read(pupil("constant", alpha=ALPHA), u, lambda t, x: still_error)
by_torch, _ = read(
    pupil("constant", alpha=ALPHA), u, lambda t, x: still_error, [1 - ALPHA] * seeds
)
record.check(
    "momentum-identity", "C12",
    rf"a loss that is linear in the state: {READING} online updates by a fixed gate's trace and by torch's momentum, largest relative difference of the weights",
    float((by_gate - by_torch).abs().max() / by_gate.abs().max()), 1e-10, note=f"float64, {seeds} networks",
)  # fmt: skip

# %% [markdown]
# A second knob: a scalar gate that the data move, $g_t = \sigma(w_{ig} u_t + b_g)$ around $0.2$, under the linear loss. Momentum with torch's $\beta$ set to $1 - g_t$ at each step is still the same; momentum with the best fixed $\beta$, one minus the mean gate, is not.

# %%
TIMES, SWINGS = [0.0, 2.0, 8.0, 32.0, 128.0, 512.0], [0.25, 0.5, 1.0, 2.0, 4.0]
rows = []
for time in TIMES:
    u, target = streams(time)
    one, two = (read(pupil("constant", alpha=ALPHA), u, lambda t, x, y=target: x - y[t], b)[0] for b in (None, [1 - ALPHA] * seeds))  # fmt: skip
    rows += [("errors that move", time, s + 1, value) for s, value in enumerate(gap(one, two, start).tolist())]  # fmt: skip


def swinging(size: float) -> networks.GatedRNN:
    """A scalar gate around 0.2 that follows the inputs, the more the larger ``size``."""
    model = pupil("scalar", bias=True)
    for weight, value in ((model.W_rg, 0.0), (model.b, 0.0), (model.b_g, float(np.log(0.25)))):  # fmt: skip
        weight.fill_(value)
    model.W_ig.mul_(size)
    return model


u, exact = streams(0.0)[0], []
for size in SWINGS:
    one, gates = read(swinging(size), u, lambda t, x: still_error)
    mean = (1 - gates.mean(0)).tolist()
    two, _ = read(swinging(size), u, lambda t, x: still_error, mean)
    same, _ = read(swinging(size), u, lambda t, x: still_error, "moving")
    exact.append(float((one - same).abs().max() / one.abs().max()))
    rows += [("gates that move", float(spread), s + 1, value) for s, (spread, value) in enumerate(zip(gates.std(0), gap(one, two, start).tolist(), strict=True))]  # fmt: skip
record.check(
    "momentum-moving", "C12",
    r"with torch's $\beta$ set to $1 - g_t$ at every step, the same for gates that the data move, largest relative difference of the weights",
    max(exact), 1e-10,
)  # fmt: skip
parting = pd.DataFrame(rows, columns=["cause", "knob", "seed", "apart"])
parting["place"] = parting.groupby(["cause", "seed"]).cumcount()
settled = references.settle(parting, "e4-momentum", ["cause", "place", "seed"], {"apart": (0.01, 0.05)}, folder="../reference", out=out)  # fmt: skip
record.check("reference-momentum", "C12", f"this run and the committed one agree: momentum, {settled.shared} rows that both have, largest difference over its tolerance", settled.gap, 1.0)  # fmt: skip
parting = settled.rows

# %% tags=["hide-input"]
with figures.style():
    fig, axes = plt.subplots(1, 2, figsize=(8.2, 3.2), sharey=True)
    for ax, cause in zip(axes, ("errors that move", "gates that move"), strict=True):
        part = parting[parting.cause == cause]
        ax.plot(part.knob, part.apart, "|", color=figures.CYCLE[0], alpha=0.5)
        groups = part.groupby("place")
        estimates = [statistics.estimate(rows.apart) for _, rows in groups]
        ax.errorbar(groups.knob.mean(), [e.mean for e in estimates], [[e.mean - e.low for e in estimates], [e.high - e.mean for e in estimates]], color=figures.CYCLE[0], marker="o", capsize=2)  # fmt: skip
        ax.set(title=cause.capitalize(), yscale="log")
    axes[0].set(xscale=mpl.scale.SymmetricalLogScale(None, linthresh=2), xlabel="correlation time of the target, steps")  # fmt: skip
    axes[0].set_xticks(TIMES, [f"{time:g}" for time in TIMES])
    axes[0].set_xlim(-0.3, 800)
    axes[0].axvline(1 / ALPHA, color=figures.INK, linewidth=0.8, linestyle=":")
    axes[1].set(xscale="log", xlabel="standard deviation of the gate over time")
    axes[1].set_xticks([0.02, 0.05, 0.1, 0.2, 0.4], ["0.02", "0.05", "0.1", "0.2", "0.4"])  # fmt: skip
    axes[1].set_xticks([], minor=True)
    axes[0].set_ylabel("distance of weights / way gone")
figures.save(
    fig, "against-momentum", parting[["cause", "knob", "seed", "apart", "here"]],
    caption=f"A gate's trace against torch's momentum with one fixed $\\beta$, learning online: how far the weights are apart after {READING} updates, relative to the way gone. Ticks are {parting.seed.nunique()} seeds, markers means with 95 % intervals. Left: a fixed gate and a squared loss, so that errors move; dotted, the gate's own time constant. Right: an error that never moves, and gates that do.",
    alt="Two panels on logarithmic axes. Left, the distance falls as the correlation time of the target grows past the gate's time constant. Right, it rises with the standard deviation of the gate.",
    chapter="13-gates-against-optimisers", out=out,
)  # fmt: skip

# %% [markdown]
# ### In trained networks
#
# The first obstacle, errors that move, is absent where the loss reads the last state only: within a sequence there is one $\delta_T$. The second remains. How much of the variance of a trained network's trace $E_T$ does textbook momentum explain, with one $\beta$ for each neuron? $\beta$ is fitted on half of the probe's sequences and judged on the other half, with the mean of each coordinate taken out. *Threshold:* nine tenths. The null has the network's own gates in a random order of time; and since a trace that hardly remembers is easy to imitate, fixed momentum must also beat the last credit alone, times the best number for each neuron.


# %%
def mean_of(column: str, gate="multi", optimiser="SGD", rows=None) -> pd.Series:
    """One number a seed, the mean over tasks, after training or from the rows given."""
    rows = last["steps"] if rows is None else rows
    by_task = {task: of(rows, task, gate, optimiser).set_index("seed")[column] for task in present}  # fmt: skip
    return pd.DataFrame(by_task).dropna().mean(axis=1)


fixed, random = mean_of("fixed beta"), mean_of("shuffled gates")
found = judge(
    "momentum", "momentum",
    "one fixed $\\beta$ for each neuron explains at least nine tenths of the trace of a trained multi-gate ($R^2$, mean over tasks)",
    fixed, threshold=0.9, null=random.mean(), note="The null: R² of the same gates in a random order.",
)  # fmt: skip
summary("momentum", found)
judge(
    "momentum-over-shuffled", "momentum",
    "one fixed $\\beta$ explains more of the trace than the same gates in a random order do (difference of $R^2$)",
    fixed - random,
)  # fmt: skip
judge(
    "momentum-remembers", "momentum",
    "there is a memory to explain: one fixed $\\beta$ explains more of the trace than the last credit alone (difference of $R^2$)",
    fixed - mean_of("last credit"), note=f"The last credit alone has R² = {mean_of('last credit').mean():.2g}.",
)  # fmt: skip
judge(
    "momentum-scalar", "momentum",
    "the same for a scalar gate ($R^2$)",
    mean_of("fixed beta", "scalar"), threshold=0.9, null=mean_of("shuffled gates", "scalar").mean(),
)  # fmt: skip
for task in present:
    judge(
        f"momentum-scalar-{task}".replace("_", "-"), "momentum",
        f"{NAMES[task]}: the same for a scalar gate ($R^2$)",
        of(last["steps"], task, "scalar", "SGD").set_index("seed")["fixed beta"], threshold=0.9,
        null=of(last["steps"], task, "scalar", "SGD")["shuffled gates"].mean(),
    )  # fmt: skip

# %% [markdown]
# ## Adam
#
# The gate's steps on the rows of $W_r$, and the shadow's: the geometric mean of Adam's rates over a row. Spearman's rank correlation over the neurons of one network asks whether the two are large in the same places; with the rows of one permuted it is zero in the mean, exactly. A second null takes the gates of *another* network. *Threshold:* zero, and the interval must exclude it. (Such a rule can support or leave open; that there is *no* agreement it cannot say, but the interval bounds what there may be.)
#
# There is a catch. What a step multiplies is a mean over lags, weighted by how large the contributions are, and contributions reach different rows at different lags. So even a *constant* gate, one number for all neurons, has row steps that differ and that may agree with Adam's. Gates must therefore also beat the constant one. And one lag at a time, where nothing is weighted, needs no such yardstick: {numref}`fig-against-lags`.
#
# A gate can at best agree with the part of Adam that is row structure. So a second number: how much of the variance of $\log 1/(\sqrt{\hat v_{qp}} + \epsilon)$ lies between rows, which no rate for each neuron can exceed. *Threshold:* one half.

# %%
found = judge(
    "adam", "Adam",
    "gates give large steps to the neurons to which Adam would: rank correlation of row steps, multi + SGD against its shadow, mean over tasks",
    mean_of("rows like Adam"), null=0.0, note="The null: rows permuted, exactly 0 in the mean.",
)  # fmt: skip
summary("adam", found)
agreement = found
for task in present:
    judge(
        f"adam-{task}".replace("_", "-"), "Adam",
        f"{NAMES[task]}: gates give large steps to the neurons to which Adam would (rank correlation of row steps, multi + SGD)",
        of(last["steps"], task, "multi", "SGD").set_index("seed")["rows like Adam"],
    )  # fmt: skip
judge(
    "adam-over-constant", "Adam",
    "row steps of a multi-gate agree with its shadow better than those of a constant gate do (difference of rank correlations, paired seeds, mean over tasks)",
    mean_of("rows like Adam") - mean_of("rows like Adam", "constant"),
    note=f"The constant gate, the same for all neurons, has {mean_of('rows like Adam', 'constant').mean():.2g}.",
)  # fmt: skip
foreign = mean_of("rows like Adam, foreign")
judge(
    "adam-own-gates", "Adam",
    "a network's own gates agree with its shadow better than the gates of another network do (difference of rank correlations)",
    mean_of("rows like Adam") - foreign, note=f"The gates of another network have {foreign.mean():.2g}.",
)  # fmt: skip
share = judge(
    "adam-rows", "Adam",
    "at least half of the variance of Adam's log rates lies between rows, where a gate could supply it",
    mean_of("Adam rows"), threshold=0.5, null=1 / 33, note="The null: a matrix without structure.",
)  # fmt: skip
record.number("adam-rows-percent", 100 * share.mean, f"{100 * share.mean:.0f}", "%")
judge(
    "adam-normalises", "Adam",
    "a gate's row steps are smaller where contributions are larger, as Adam's are (rank correlation with the root mean square of what they multiply)",
    mean_of("rows normalised"), null=0.0, greater=False,
)  # fmt: skip
for task in present:
    normalised = {gate: of(last["steps"], task, gate, "SGD").set_index("seed")["rows normalised"] for gate in ("multi", "constant")}  # fmt: skip
    judge(
        f"adam-normalises-over-constant-{task}".replace("_", "-"), "Adam",
        f"{NAMES[task]}: a multi-gate's row steps go against the size of contributions more than a constant gate's do (difference of rank correlations, paired seeds)",
        (normalised["multi"] - normalised["constant"]).dropna(), greater=False,
        note=f"Multi {normalised['multi'].mean():.2g}, constant {normalised['constant'].mean():.2g}.",
    )  # fmt: skip
judge(
    "adam-coordinates", "Adam",
    "coordinate by coordinate, the gate's steps agree with Adam's (rank correlation)",
    mean_of("all like Adam"), null=0.0,
)  # fmt: skip

# %% [markdown]
# {numref}`fig-against-lags` has the lags apart. Left, the property that no optimiser has: a factor that falls with the lag. Right, whether the rows to which one lag's factor is kind are those to which Adam would be.

# %% tags=["hide-input"]
frames = []
with figures.style():
    fig, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.5))
    for gate in ("constant", "scalar", "multi"):
        values = np.stack([of(last["lags"], task, gate, "SGD").sort_values("seed")[[f"factor @{lag}" for lag in WATCHED]] for task in present]).mean(0)  # fmt: skip
        low, centre, high = np.quantile(10**values, [0.25, 0.5, 0.75], axis=0)
        left.plot(WATCHED, centre, label=f"{gate} + SGD", **figures.GATES[gate])
        left.fill_between(WATCHED, low, high, color=figures.GATES[gate]["color"], alpha=0.15, linewidth=0)  # fmt: skip
        frames.append(pd.DataFrame({"panel": "factor", "series": gate, "lag": WATCHED, "lower quartile": low, "middle": centre, "upper quartile": high}))  # fmt: skip
    left.plot(WATCHED, np.ones(len(WATCHED)), color=figures.MUTED, linestyle="--", label="any optimiser")  # fmt: skip
    left.set(yscale="log", ylabel=r"factor of a contribution", xlabel=r"lag $\ell$")
    for task, mark in zip(present, "Do", strict=False):
        values = of(last["lags"], task, "multi", "SGD")[[f"rows like Adam @{lag}" for lag in WATCHED]]  # fmt: skip
        estimates = [statistics.estimate(values[column]) for column in values]
        low, centre, high = (np.array([getattr(e, part) for e in estimates]) for part in ("low", "mean", "high"))  # fmt: skip
        colour = figures.CYCLE[1] if mark == "D" else figures.CYCLE[2]
        right.plot(WATCHED, values.T, color=colour, linewidth=0.3, alpha=0.4)
        right.errorbar(WATCHED, centre, [centre - low, high - centre], color=colour, marker=mark, capsize=2, label=NAMES[task])  # fmt: skip
        frames.append(pd.DataFrame({"panel": "rank correlation", "series": task, "lag": WATCHED, "lower end": low, "middle": centre, "upper end": high}))  # fmt: skip
    right.axhline(0, color=figures.INK, linewidth=0.8, linestyle=":")
    right.set(ylim=(-1, 1), xlabel=r"lag $\ell$", ylabel="rank correlation with Adam")
    for ax in (left, right):
        ax.set_xticks(WATCHED, [f"{lag}" for lag in WATCHED])
        ax.legend()
ratios = ", ".join(f"{NAMES[task]} {middle[(task, 'multi', 'SGD')]:.3g}" for task in present)  # fmt: skip
figures.save(
    fig, "against-lags", pd.concat(frames),
    caption=f"After training. Left: what a step multiplies a contribution by, over its lag, medians and quartiles of {SEEDS} seeds, mean over tasks. Right: rank correlation of the multi-gate's row factors at one lag with the shadow Adam's row rates, {SEEDS} seeds (thin), means with 95 % intervals; permuted rows give zero. "
    f"Networks are better than the best constant by (medians, multi + SGD): {ratios}.",
    alt="Left, three falling curves over the lag on a logarithmic axis and one flat line at one. Right, rank correlation over the lag for each task, within minus one and one, with intervals.",
    chapter="13-gates-against-optimisers", out=out,
)  # fmt: skip

# %% tags=["hide-input"]
course = evidence["steps"]
course = course[(course.gate == "multi") & (course.optimiser == "SGD")].assign(
    excess=lambda rows: rows["all cosine"] - rows["all cosine, null"]
)
over_time = []
for step, rows in course.groupby("step"):
    line = {"training step": f"{step}"}
    for name, column in (("rank, rows", "rows like Adam"), ("rank, coordinates", "all like Adam"), ("cosine over its null", "excess"),
                         ("gate: spread", "spread"), ("Adam: spread", "Adam spread"), ("Adam: rows", "Adam rows"), ("Adam: columns", "Adam columns")):  # fmt: skip
        e = statistics.estimate(rows.groupby("seed")[column].mean())
        line[name] = f"{e.mean:.2f} ({e.low:.2f}, {e.high:.2f})"
    over_time.append(line)
record.table(
    pd.DataFrame(over_time), "against-adam-course",
    caption=f"Multi-gates under SGD and their shadow Adam along training: means over tasks and {SEEDS} seeds with 95 % intervals. Spread is the standard deviation of $\\log_{{10}}$ over coordinates; rows and columns, the shares of Adam's variance between them.",
)  # fmt: skip

# %% [markdown]
# ## Complementary?
#
# If a gate did what Adam does, a gated network would have no use for Adam. Losses on fresh data at the end, each method at its own rate, paired by seed: multi-gates under Adam against the *better* of multi-gates under SGD and no gate under Adam; and the interaction of the two-by-two design in $\log_{10}$ of the loss, which is zero if the two help independently and negative if together they help more.

# %%
final = last["training"].assign(log=scored(last["training"]))


def logs(task: str, gate: str, optimiser: str) -> pd.Series:
    return of(final, task, gate, optimiser).set_index("seed").log


def over_tasks(of_task) -> pd.Series:
    return pd.DataFrame({task: of_task(task) for task in present}).dropna().mean(axis=1)


def gain(task: str) -> pd.Series:
    alone = np.minimum(logs(task, "multi", "SGD"), logs(task, "none", "Adam"))
    return alone - logs(task, "multi", "Adam")


def interaction(task: str) -> pd.Series:
    by_adam = logs(task, "multi", "Adam") - logs(task, "none", "Adam")
    return by_adam - (logs(task, "multi", "SGD") - logs(task, "none", "SGD"))


for task in present:
    judge(
        f"complementary-{task}".replace("_", "-"), "complementary",
        f"{NAMES[task]}: gates and Adam together end with a smaller loss than the better of the two alone ($\\log_{{10}}$ of the ratio)",
        gain(task), unit="decades",
    )  # fmt: skip
found = judge(
    "complementary", "complementary",
    "gates and Adam together end with a smaller loss than the better of the two alone ($\\log_{10}$ of the ratio, mean over tasks)",
    over_tasks(gain), unit="decades", note="Fresh data, paired seeds.",
)  # fmt: skip
summary("complementary", found)
judge(
    "more-than-additive", "complementary",
    "together they help more than the sum of what each does alone (interaction in $\\log_{10}$ of the loss, mean over tasks)",
    over_tasks(interaction), greater=False, unit="decades",
)  # fmt: skip

# %% tags=["hide-input"]
frames = []
with figures.style():
    fig, axes = plt.subplots(1, len(present), figsize=(8.2, 3.4), sharey=True, squeeze=False)  # fmt: skip
    for ax, task in zip(axes[0], present, strict=True):
        for place, method in enumerate(METHODS):
            better = -logs(task, *method)
            e, drawn = statistics.estimate(better), look(*method)
            ax.plot(better, np.full(len(better), place + 0.25), "|", color=drawn["color"], alpha=0.6)  # fmt: skip
            ax.plot(
                [e.low, e.high], [place, place], color=drawn["color"], linewidth=2.4
            )
            ax.plot(e.mean, place, **(drawn | {"linestyle": ""}))
            frames.append(pd.DataFrame({"task": task, "gate": method[0], "optimiser": method[1], "seed": better.index, "log10 of constant / loss": better.values}))  # fmt: skip
        ax.axvline(0, color=figures.INK, linewidth=0.8, linestyle=":")
        ax.set(title=NAMES[task], xlabel=r"$\log_{10}$ (constant's loss / loss)")
    axes[0, 0].set_yticks(range(len(METHODS)), [" + ".join(method) for method in METHODS])  # fmt: skip
    axes[0, 0].invert_yaxis()
figures.save(
    fig, "against-complementary", pd.concat(frames),
    caption=f"Which method ends where, on fresh data after {END} steps, each at its own best rate: decades below the best constant's loss; ticks are {SEEDS} seeds, markers means with 95 % intervals. Open markers: Adam.",
    alt="Panels with eight methods as rows, dots with intervals and ticks along an axis of decades. Open markers, Adam, stand in the fourth and the last row.",
    chapter="13-gates-against-optimisers", out=out,
)  # fmt: skip

# %% [markdown]
# ## Which part of Adam does a gate give?
#
# One page, in {numref}`fig-against-one-page`. Each number is measured on the networks of this chapter; an empty cell has nothing to measure, because the method treats all coordinates alike, and a number without an interval holds by construction. A constant gate has one factor for all neurons: what stands in its column about coordinates and rows comes from the weighting over lags, and another gate must exceed it. *Drift* is the change of the mean
# multiplier, weighted by what it multiplies, from the first to the third quarter of training: what changes before that, or at lags from which little arrives, does not show there. *Memory along iterations* is the share of the next step that earlier gradients decide, found by taking that step once with the gradient and once without.

# %%
COLUMNS = {
    "schedule": ("none", "cosine"), "momentum": ("none", "momentum"), "Adam": ("none", "Adam"),
    "constant": ("constant", "SGD"), "scalar": ("scalar", "SGD"), "multi": ("multi", "SGD"),
}  # fmt: skip


def of_steps(column: str):
    return lambda method: mean_of(column, *method)


def falls(method: tuple[str, str]) -> pd.Series:
    """Decades from lag 0 to lag 8; without a gate every lag has the factor 1."""
    if method[0] == "none":
        return 0 * mean_of("spread", *method)
    rows = mean_of("factor @0", *method, last["lags"])
    return rows - mean_of("factor @8", *method, last["lags"])


def drift(method: tuple[str, str]) -> pd.Series:
    steps = evidence["steps"].assign(
        whole=lambda rows: (
            rows["log step"] + np.log10(rows["rate now"].clip(lower=1e-300))
        )
    )
    early, late = (mean_of("whole", *method, steps[steps.step == QUARTERS[q]]) for q in (1, 3))  # fmt: skip
    return late - early


PROPERTIES = {
    "differs over coordinates: sd of log₁₀": of_steps("spread"),
    "… of which between rows: share": of_steps("rows"),
    "follows gradient size: rank r, −1 normalises": of_steps("normalised"),
    "rows agree with Adam: rank r": of_steps("step like Adam"),
    "falls with the lag: decades, lag 0 to 8": falls,
    "depends on the sequence: sd of log₁₀": of_steps("over sequences"),
    "drifts over training: decades, ¼ to ¾": drift,
    "memory along sequence: mean of 1 − g": of_steps("along the sequence"),
    "memory along iterations: share of the step": of_steps("along iterations"),
}
page = []
for (name, measure), (column, method) in product(PROPERTIES.items(), COLUMNS.items()):
    values = measure(method)
    entry = {"property": name, "method": column, "seeds": len(values)}
    if len(values) > 1:
        e = statistics.estimate(values)
        entry |= {"mean": e.mean, "low": e.low, "high": e.high}
    page.append(entry)
page = pd.DataFrame(page)

# %% tags=["hide-input"]
shown = page.pivot(index="property", columns="method", values=["mean", "low", "high"])
shown = shown.reindex(index=page.property.unique())
with figures.style():
    fig, ax = plt.subplots(figsize=(7.4, 7.6))
    for i, name in enumerate(shown.index):
        largest = np.nanmax(np.abs(shown["mean"].loc[name].to_numpy(dtype=float)))
        for j, column in enumerate(COLUMNS):
            mean, low, high = (shown[part].loc[name, column] for part in ("mean", "low", "high"))  # fmt: skip
            if np.isnan(mean):
                ax.text(j, i, "all alike", ha="center", va="center", color=figures.MUTED, fontsize=8)  # fmt: skip
                continue
            strength = abs(mean) / largest if largest > 0 else 0.0
            ax.add_patch(plt.Rectangle((j - 0.47, i - 0.45), 0.94, 0.9, color=figures.PALETTE["ochre"][0], alpha=0.5 * strength, linewidth=0))  # fmt: skip
            ax.text(j, i - 0.1, f"{mean:.2f}".replace("-", "−"), ha="center", va="center", fontsize=11)  # fmt: skip
            if high - low > 1e-9:
                ax.text(j, i + 0.24, f"{low:.2f} … {high:.2f}".replace("-", "−"), ha="center", va="center", fontsize=6.5)  # fmt: skip
    ax.set(xlim=(-0.5, len(COLUMNS) - 0.5), ylim=(len(shown) - 0.5, -0.5))
    ax.set_xticks(range(len(COLUMNS)), [f"{c}\n{'no gate' if COLUMNS[c][0] == 'none' else 'gate'}" for c in COLUMNS], fontsize=10)  # fmt: skip
    ax.set_yticks(range(len(shown)), [name.replace(": ", "\n") for name in shown.index], fontsize=8.5)  # fmt: skip
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.axvline(2.5, color=figures.INK, linewidth=1)
figures.save(
    fig, "against-one-page", page,
    caption=f"Which part of an optimiser is a gate? Columns: three optimisers on a network without a gate, three gates under plain SGD. Rows: properties of what a step multiplies contributions by, measured after {END} steps; means over {len(present)} task{'s' if len(present) > 1 else ''} and {SEEDS} seeds, with 95 % intervals below. The stronger the colour, the larger the number within its row. "
    f"Losses beside the best constant's: {ratios} times smaller (multi + SGD).",
    alt="A table of numbers with nine properties as rows and six methods as columns. Left of a line three optimisers, right of it three gates. The rows of coordinates and gradient size are coloured under Adam, those of lags and sequences under the gates.",
    chapter="13-gates-against-optimisers", out=out,
)  # fmt: skip

# %% [markdown]
# The same as a table, for those who read on a phone or aloud.

# %% tags=["hide-input"]
text = page.assign(cell=[
    "all alike" if np.isnan(row["mean"]) else f"{row['mean']:.2f}" + (f" ({row['low']:.2f}, {row['high']:.2f})" if row["high"] - row["low"] > 1e-9 else "")
    for _, row in page.iterrows()
])  # fmt: skip
record.table(
    text.pivot(index="property", columns="method", values="cell").reindex(index=shown.index, columns=list(COLUMNS)).reset_index(),
    "against-one-page-numbers",
    caption=f"The numbers of {{numref}}`fig-against-one-page`: means over {SEEDS} seeds with 95 % intervals.",
)  # fmt: skip

# %% [markdown]
# ## Verdicts
#
# The unit is the seed; tasks are averaged first. Intervals are bootstraps over seeds {cite}`efron1987bca`, p values those of sign-flip tests against the threshold, adjusted after Holm {cite}`holm1979`.

# %% tags=["hide-input"]
adjusted = statistics.holm([p for *_, p, _ in tests])
record.table(
    pd.DataFrame(
        [
            (f"`{name}`", f"{mean:.3g}", f"{low:.3g} to {high:.3g}", f"{threshold:.3g}", f"{p:.2g}", verdict)
            for (name, mean, low, high, threshold, _, verdict), p in zip(tests, adjusted, strict=True)
        ],
        columns=["claim", "effect", "95 % interval", "threshold", "p, after Holm", "verdict"],
    ),
    "against-verdicts", caption=f"All claims of this chapter, {SEEDS} seeds. The verdict follows from the interval alone; p, beside it, is adjusted for the number of rows.",
)  # fmt: skip

# %% [markdown]
# ## What it means

# %% tags=["hide-input"]
result = {name: (mean, low, high, verdict) for name, mean, low, high, *_, verdict in tests}  # fmt: skip


def told(name: str) -> str:
    mean, low, high, verdict = result[name]
    return f"{mean:.3g} ({low:.3g} to {high:.3g}; {verdict})"


def by_task(name: str) -> str:
    """A claim of each task."""
    return "; ".join(f"{NAMES[task]} {told(f'{name}-{task}'.replace('_', '-'))}" for task in present)  # fmt: skip


def at_lags(task: str, *lags: int) -> str:
    """The multi-gate's agreement with Adam by rows, at single lags."""
    of_lag = {lag: statistics.estimate(of(last["lags"], task, "multi", "SGD")[f"rows like Adam @{lag}"]) for lag in lags}  # fmt: skip
    for lag, e in of_lag.items():
        record.number(f"adam-lag-{lag}-{task}".replace("_", "-"), e.mean, f"{e.mean:.2f}")  # fmt: skip
    return f"{NAMES[task]} " + ", ".join(f"{e.mean:.2f} ({e.low:.2f} to {e.high:.2f}) at lag {lag}" for lag, e in of_lag.items())  # fmt: skip


def rates_at(task: str, *lags: int) -> str:
    """By how much training moves the rate of single lags."""
    change = moved(task, ("multi", "SGD"))
    return f"{NAMES[task]} " + ", ".join(f"{change[f'factor @{lag}'].mean():+.2f} at lag {lag}" for lag in lags)  # fmt: skip


def best_of(task: str) -> str:
    """The method with the smallest mean logarithm of the loss."""
    scores = {method: logs(task, *method).mean() for method in METHODS}
    return f"{NAMES[task]} " + " + ".join(min(scores, key=scores.get))


Markdown(
    f"""**Schedule.** Beyond what frozen gates do, training moves the rates of the lags by {told("schedule")} decades. The tasks differ: {by_task("schedule")}. So do the lags; the change is, in decades, {"; ".join(rates_at(task, 2, 16) for task in present)}. It is a schedule for each lag, as C11 says, and no single schedule can stand for it.

**Momentum.** One fixed $\\beta$ a neuron explains this part of the variance of a trained trace: {told("momentum")}. With the gates in a random order it would be {random.mean():.3g}, so the test is weak: what it says of these multi-gates is that they hardly vary in time. Without any memory it would be {mean_of("last credit").mean():.3g}. For one gate that all neurons share it is {by_task("momentum-scalar")}.

**Adam.** Row steps of gate and shadow have the rank correlation {told("adam")}: if they agree in the mean, then by less than {max(abs(agreement.low), abs(agreement.high)):.2g}. By task: {by_task("adam")}. A constant gate, which knows no neurons, has {mean_of("rows like Adam", "constant").mean():.2g}, and the multi-gate differs from it by {told("adam-over-constant")}. One lag at a time: {"; ".join(at_lags(task, 0, 8) for task in present)}. Against the size of what they multiply, the gate's row steps have {told("adam-normalises")}, where Adam's are near $-1$; beyond the constant gate, {by_task("adam-normalises-over-constant")}. Of the variance of Adam's rates {told("adam-rows")} lies between rows.

**Complementary.** Together, gates and Adam beat the better of the two by {told("complementary")} decades of loss ({by_task("complementary")}); the interaction is {told("more-than-additive")}. The smallest mean loss of all methods: {", ".join(best_of(task) for task in present)}. Of the {len(present) * len(METHODS)} rates, {sum(at_edge(task, method) for task, method in product(present, METHODS))} lie at the edge of their grid."""
)

# %% [markdown]
# Read the columns of {numref}`fig-against-one-page` rather than its cells. What Adam does to a step depends on the *coordinate* and on the *history of training*; what a schedule and momentum do, on the latter alone. What a gate does depends on the *lag* and, if the gate is learned, on the *sequence at hand*. The word "preconditioner" covers both, and little else does.
#
# All of this is order 0, in networks of one size on two short tasks. How much of the gradient order 0 holds is measured in {ref}`ch-validity`.
#
# ## What it cost

# %% tags=["hide-input"]
cost = own["cost"]
record.number("minutes", float(cost.cpu_seconds.sum()) / 60, f"{float(cost.cpu_seconds.sum()) / 60:.1f}", "min")  # fmt: skip
record.table(
    cost.groupby(["task", "gate", "optimiser"], sort=False)
    .agg(cpu=("cpu_seconds", "sum"), machine=("machine", "first"))
    .reset_index()
    .assign(cpu=lambda t: t.cpu.map("{:.0f}".format))
    .rename(columns={"cpu": "CPU seconds"}),
    "against-cost",
    caption=f"What the cells of this run took when they were computed, {seeds} seeds side by side, training and probes.",
)  # fmt: skip

# %% [markdown]
# ## What was checked

# %% tags=["hide-input"]
record.validation(
    caption="The checks of this chapter: the identities of C11 and C12, and this run against the committed one."
)

# %% [markdown]
# ## Try it
#
# 1. *Two lags.* Is a schedule right for two lags at once, if the gate moves? And if it does not?
# 2. *Heavy ball.* torch's momentum without dampening is larger by $1/(1-\beta)$. Which learning rate makes it the gate's trace again?
# 3. *A gate that normalises.* Make row steps that are one over the root mean square of each row's gradient. How do they agree with Adam's row rates, and how much of the spread of Adam's rates do they leave?


# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 1: two lags"}
# 1. Neither: the factors α(1-α)^ℓ of two lags differ, so one number cannot be both, whether or not they move.
def two_lags(run) -> Tensor:
    chosen = one_lag(run)
    chosen[-1] = 1
    return chosen


RUNGS["two lags"] = (contributions(lambda run: two_lags(run) * rates.shares(run)), contributions(two_lags), "constant")  # fmt: skip
one, two, begin = climb("two lags")
apart = gap(one[-1], two[-1], begin)
opening_was, opening = opening, lambda step: 0.3
one, two, begin = climb("two lags")
standing = gap(one[-1], two[-1], begin)
opening = opening_was
record.check(
    "exercise-two-lags", "C11",
    "two lags: no single schedule is right, with a gate that moves or one that stands still",
    bool((apart > 1e-3).all() and (standing > 1e-3).all()),
)  # fmt: skip
Markdown(f"Apart, relative to the way gone: {float(apart.mean()):.2g} with a moving gate, {float(standing.mean()):.2g} with a fixed one.")  # fmt: skip

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 2: heavy ball"}
# 2. α times the gate's rate, since the gate's trace is α times the heavy-ball buffer.
draw = torch.Generator().manual_seed(0)
stream = torch.randn(30, 3, generator=draw, dtype=torch.float64)
weights = torch.zeros(2, 3, dtype=torch.float64)
dampened, heavy = (
    torch.optim.SGD([w], lr=lr, momentum=1 - ALPHA, dampening=d)
    for w, lr, d in ((weights[0], 0.1, 1 - ALPHA), (weights[1], 0.1 * ALPHA, 0.0))
)
for gradient in [torch.zeros(3, dtype=torch.float64), *stream]:
    for optimiser in (dampened, heavy):
        optimiser.param_groups[0]["params"][0].grad = gradient
        optimiser.step()
record.check(
    "exercise-heavy-ball", "C12",
    r"momentum without dampening at the rate $\alpha\mu$ makes the steps of the moving average at $\mu$",
    float((weights[0] - weights[1]).abs().max() / weights[0].abs().max()), 1e-12,
)  # fmt: skip

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Solution 3: a gate that normalises"}
# 3. The ranks agree almost perfectly; what is left is what lies within rows, most of it between columns.
from gatelr.experiments import preconditioners

task = tasks.get("adding", steps=20)
pair = networks.GatedRNN(4, 32, "multi", replicas=2, generator=training.generators((1, 2)))  # fmt: skip
descent = torch.optim.SGD(pair.parameters(), lr=0.1)
shadow = preconditioners.Shadow(descent, pair.W_r)
training.train(pair, task, descent, 60, training.generators((1, 2), 123), batch=32, progress=False)  # fmt: skip
adam = shadow.rates()[0]
by_row = 1 / (1 / adam).square().mean(1).sqrt()
rank = preconditioners.agreement(by_row, adam.log().mean(1).exp()).rank
before = preconditioners.structure(adam).spread
after = preconditioners.structure(adam / by_row.unsqueeze(1)).spread
record.check(
    "exercise-row-adam", "C13",
    "one second moment a row ranks neurons as Adam does, and leaves a part of the spread",
    rank > 0.9 and 0 < after < before,
)  # fmt: skip
Markdown(f"Rank correlation {rank:.2f}; the standard deviation of $\\log_{{10}}$ falls from {before:.2f} to {after:.2f}.")  # fmt: skip

# %% tags=["remove-cell"]
record.close()
