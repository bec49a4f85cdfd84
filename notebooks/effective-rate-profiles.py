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
# (ch-profiles)=
# # Effective-rate profiles
#
# A gate that keeps a fraction $1 - g_j$ of the state at each step hands the gradient of step $t$ back to step $k$ with the factor $P_{t,k} = \prod_j (1 - g_j)$: a learning
# rate for each lag ({ref}`ch-bptt`). That is exact at order 0, and order 0 is not the network ({ref}`ch-validity`). So the question is one for
# measurements. Do gates *predict* how sensitive a state of a trained network is to an earlier one?
#
# The paper says yes {cite}`livi2025timescale`: "gates induce lag-dependent effective learning rates", and it shows fits of sensitivity against a product of gates that
# leave almost nothing unexplained. Here the same fits stand beside two things that they need. A **baseline**: anything that decays
# with the lag fits well, so the lag itself must be beaten. And two **nulls**: gates shuffled over time have the same decay, keep each sequence's mean gate, and lose the timing;
# gates of another sequence keep what depends on time alone. A predictor must beat both.
#
# :::{admonition} The claim, in three parts
# :class: important
#
# 1. Sensitivity falls with the lag, at a rate that depends on the gates.
# 2. The product $\prod (1-g)$ explains it better than the lag alone.
# 3. Within one lag, gates tell which pairs of steps are more sensitive than others, better than both nulls do.
# :::
#
# Each part can fail, and each gets a verdict.

# %% tags=["parameters"]
profile = "ci"
seeds = 3  # run here; the other seeds are read from the reference
device = "auto"
out = "../artifacts/draft/09-effective-rate-profiles"
location = "../_build/cells"  # of what was computed; may be deleted at any time
tasks_here = ["adding"]  # of the paper's protocol, run here
paper_until = 200  # last training step here, published protocol
trained_until = 300  # the same, trained protocol

# %% tags=["hide-input"]
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from gatelr import tasks
from gatelr.experiments import runs, statistics
from gatelr.record import devices, figures, ledger, references
from IPython.display import Markdown

READS = ["reference/e1-*.csv"]
TITLE = "Effective-rate profiles"
parameters = {
    "profile": profile, "seeds": seeds, "device": device, "location": location,
    "tasks_here": tasks_here, "paper_until": paper_until, "trained_until": trained_until,
}  # fmt: skip
record = ledger.Ledger("09-effective-rate-profiles", TITLE, out, parameters)
GATES = ["constant", "scalar", "multi"]

# %% [markdown]
# ## Two protocols
#
# The **paper's protocol** (experiment E1): four tasks over $80$ steps, networks of $64$ neurons without biases, a constant gate of $\alpha = 0.8$, a scalar gate, a multi-gate; plain SGD at the rate
# $0.01$ for $800$ steps on batches of $64$ fresh sequences; at six checkpoints, before the step, all transports along twelve sequences.
#
# That protocol has a weakness that {numref}`fig-effective-rate-loss` shows. At its end the loss of the best constant prediction, over that of the median network with a scalar gate, is
# {result}`09-effective-rate-profiles/ratio-adding-scalar` on adding, {result}`09-effective-rate-profiles/ratio-recall-scalar` on recall, {result}`09-effective-rate-profiles/ratio-sinmix-scalar` on sinmix and
# {result}`09-effective-rate-profiles/ratio-short-scalar` on short. Where that is one, "during training" means "on the way to a constant prediction". So a second one stands beside it,
# the **trained protocol**: the same networks and the same probes, with settings chosen so that every model beats the best constant prediction at least fivefold, in the median over seeds, on data it has never seen. One task is long-range and has
# become learnable by being shorter and by Adam; the other is the published one, with plain SGD, five times its rate and more steps.

# %%
SETTINGS = {
    ("paper", task): {"task": task, "until": paper_until, "checkpoints": (0, 50, 200, 400, 600, 800)}
    for task in ("adding", "recall", "sinmix", "short")
} | {
    ("trained", "adding, 30 steps, Adam"): {
        "task": "adding", "task_options": {"steps": 30}, "optimiser": "Adam", "rate": 3e-3,
        "until": trained_until, "checkpoints": (0, 300, 1000, 3000),
    },
    ("trained", "short, SGD at 0.05"): {
        "task": "short", "rate": 5e-2, "until": trained_until, "checkpoints": (0, 300, 600, 1200),
    },
}  # fmt: skip
ORDER = list(SETTINGS)  # in which settings are drawn

where = devices.resolve(device)
cell = runs.cells(location)


def measured(setting: tuple[str, str], gate: str) -> runs.Tables:
    """One cell: all seeds of this run, up to the step that this run goes to."""
    options = dict(SETTINGS[setting])
    until = options.pop("until")
    reached = tuple(step for step in options.pop("checkpoints") if step <= until)
    task, optimiser = options.pop("task"), options.pop("optimiser", "SGD")
    found = cell(
        "E1", task, gate, optimiser, range(1, seeds + 1),
        steps=reached[-1], checkpoints=reached, device=str(where), **options,
    )  # fmt: skip
    return {
        name: table.assign(protocol=setting[0], setting=setting[1], gate=gate)
        for name, table in found.items()
    }


run_here = [s for s in SETTINGS if s[0] == "trained" or s[1] in tasks_here]
cells = [measured(setting, gate) for setting, gate in product(run_here, GATES)]
own = {
    name: pd.concat([tables[name] for tables in cells], ignore_index=True)
    for name in cells[0]
}

# %% [markdown]
# The sensitivity of $x_t$ to $x_k$ is $S_{t,k} = \lVert M_{t,k} \rVert_2$, for *all* pairs, with the products of Jacobians in float64 and norms that are exact to six digits. Five predictors are to explain $\log S$ by a
# straight line:
#
# | name | predictor | why |
# |:---|:---|:---|
# | lag | $-\ell$ | the baseline: says only that things decay |
# | published | mean over neurons of $\prod g_j$ | what the released code computes; $g$ is what is *written* |
# | order 0 | $\max_q \prod (1 - g^q_j)$ | the norm of the transport at order 0 |
# | order 0, mean | mean over neurons of $\prod (1 - g_j)$ | the same product, averaged as the paper averages |
# | order 1 | order 0 with $P^q (1 + \sum_i [R_i + G_i]_{qq} / (1 - g^q_i))$ | each neuron's own first-order correction (C8) |
#
# Everything is fitted twice. **Pooled** over all pairs, as published. And **within lags**: with the mean of each lag taken out of both sides, only what is special about a pair is left. For the constant gate, order 0 is a function of the lag
# and has nothing to say within one.
#
# :::{dropdown} The code that a reader would write for it
# ```python
# terms, run = jacobian.terms(model, run), model.run(u)
# S = transport.sensitivities(jacobian.blocks(model, run))     # (T+1, T+1, B)
# log_P = torch.log1p(-run.g).cumsum(0)                        # differences are log P
# for lag in range(1, T):
#     x = (log_P[lag:] - log_P[:-lag]).amax(-1)                # order 0, t > lag
#     y = S.diagonal(-lag).T[1:].log()
# ```
# `gatelr.experiments.profiles` does the same for all predictors, with their nulls.
# :::

# %%
KEYS = ["protocol", "setting", "gate", "seed", "step"]
LAGS = [2, 4, 8, 16, 28, 64]


def wide_fits(fits: pd.DataFrame) -> pd.DataFrame:
    """One row a network and checkpoint: what each predictor explains, with true gates and with wrong ones."""
    true = fits[fits.gates == "true"]
    parts = [
        table.pivot(index=KEYS, columns="predictor", values=value).add_suffix(f" {value}")
        for table, value in ((true, "slope"), (true, "r2"), (true, "within r"))
    ] + [
        fits[fits.gates == null].pivot(index=KEYS, columns="predictor", values="within r").add_suffix(f" {null} r")
        for null in ("shuffled", "foreign")
    ]  # fmt: skip
    return pd.concat(parts, axis=1).drop(columns=["lag within r"]).reset_index()


def wide_profiles(profiles: pd.DataFrame) -> pd.DataFrame:
    """One row a network and checkpoint: log10 of medians, relative to lag 1, and correlations within lags."""
    series = ["S", "published", "order 0", "order 1"]
    logs = np.log10(profiles.set_index([*KEYS, "lag"])[series]).unstack("lag")
    columns = {}
    for name, lag in product(series, LAGS):
        if (name, lag) in logs:
            columns[f"{name} @{lag}"] = logs[name, lag] - logs[name, 1]
    r = profiles.set_index([*KEYS, "lag"]).unstack("lag")
    for name, lag in product(["true", "shuffled"], LAGS):
        columns[f"r {name} @{lag}"] = r[f"r order 0 {name}", lag]
    return pd.DataFrame(columns).reset_index()


# %% [markdown]
# ### Which numbers are this run's
#
# The published figures rest on twenty seeds, and so do those here. A run of twenty takes long; this one ran some, and reads the others from tables that a full run has left in `reference/`. What was run again must agree with what is
# written there, seed by seed, or the build fails.

# %%
TOLERANCES = {
    "training": {"loss": (0.0, 0.05), "mean gate": (0.005, 0.0)},
    "fits": dict.fromkeys(("order 0 slope", "order 1 slope", "published slope", "lag slope"), (0.02, 0.02))
    | dict.fromkeys(("order 0 r2", "published r2", "lag r2"), (0.003, 0.0))
    | dict.fromkeys(("order 0 within r", "order 0 shuffled r", "order 0 foreign r"), (0.05, 0.0)),
    "profiles": {f"S @{lag}": (0.02, 0.02) for lag in LAGS[:-1]},
}  # fmt: skip
tables = {
    "training": own["training"][
        [*KEYS, "loss", "constant", "mean gate", "gate spread"]
    ],
    "fits": wide_fits(own["fits"]),
    "profiles": wide_profiles(own["profiles"]),
}
evidence = {}
for name, table in tables.items():
    settled = references.settle(
        table, f"e1-{name}", KEYS, TOLERANCES[name], folder="../reference", out=out
    )
    evidence[name] = settled.rows
    record.check(
        f"reference-{name}",
        "C8",
        f"this run and the committed one agree: {name}, {settled.shared} rows that both have, "
        "largest difference over its tolerance",
        settled.gap,
        1.0,
    )
final = {
    name: rows[rows.step == rows.groupby(["protocol", "setting"]).step.transform("max")]
    for name, rows in evidence.items()
}
counted = final["fits"].groupby(["protocol", "setting", "gate"]).seed.nunique()
SEEDS = int(counted.min()) if len(counted) else seeds
record.number("seeds", SEEDS)
record.number("seeds-here", seeds)
diverged = int((own["run"].diverged >= 0).sum())
left_out = int(own["spread"]["left out"].sum())
record.number("diverged", diverged)
Markdown(
    f"The figures show **{SEEDS} seeds**. This run trained {seeds} of them, on {len(run_here)} of {len(SETTINGS)} settings, up to step {paper_until} (paper) and {trained_until} (trained). "
    f"{diverged or 'No'} network{'s' if diverged != 1 else ''} diverged, and {left_out or 'no'} pair{'s' if left_out != 1 else ''} had to be left out of a fit; no seed is dropped."
)

# %% [markdown]
# ## Is anything learned?

# %% tags=["hide-input"]
ends = final["training"].assign(ratio=lambda rows: rows.constant / rows.loss)
by_model = ends.groupby(["protocol", "setting", "gate"]).ratio
middle, worst = by_model.median(), by_model.min()
ratio_of = {
    key: f"{value:.2g}" if value < 100 else f"{value:.0f}"
    for key, value in middle.items()
}


def losses(setting: tuple[str, str]) -> str:
    """The median ratios of a setting, for a title."""
    return " · ".join(ratio_of.get((*setting, gate), "–") for gate in GATES)


training = evidence["training"].assign(ratio=lambda rows: rows.constant / rows.loss)
with figures.style():
    fig, axes = plt.subplots(2, 3, figsize=(8.2, 4.6), sharey=True)
    for ax, setting in zip(axes.flat, ORDER, strict=True):
        rows = training[
            (training.protocol == setting[0]) & (training.setting == setting[1])
        ]
        for gate in GATES:
            table = rows[rows.gate == gate].pivot(index="step", columns="seed", values="ratio")  # fmt: skip
            look = figures.GATES[gate]
            if len(table):
                ax.plot(table.index, table, color=look["color"], linewidth=0.4, alpha=0.35)  # fmt: skip
                ax.plot(table.index, table.median(axis=1), label=gate, **look)
        ax.axhline(1, color=figures.INK, linewidth=0.8, linestyle=":")
        ax.axhline(5, color=figures.INK, linewidth=0.8, linestyle="--")
        ax.set(yscale="log", title=setting[1])
    for ax in axes[:, 0]:
        ax.set_ylabel("constant's loss / loss")
    for ax in axes[1]:
        ax.set_xlabel("training step")
    axes[0, 0].set_yticks([1, 5, 10, 100, 1000], ["1", "5", "10", "100", "1000"])
    handles, labels = axes[1, 2].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper right", ncols=3)
figures.save(
    fig, "effective-rate-loss", training[[*KEYS, "loss", "constant", "ratio", "here"]],
    caption=f"How many times better than the best constant prediction, on fresh data: {SEEDS} seeds (thin) and their median. On the dotted line a network is no better than a constant; above the dashed one it "
    "is at least five times better. The constant's loss is an expectation and a network's is a mean over drawn sequences, so ratios scatter around one where nothing is learned. "
    "The first four panels are the paper's protocol, the last two the trained one.",
    alt="Six panels of the ratio of losses over training steps on a logarithmic axis, three gates each. The medians end at (constant, scalar, multi gate): "
    + "; ".join(f"{s[1]} ({s[0]}) {losses(s)}" for s in ORDER) + ".",
    chapter="09-effective-rate-profiles", out=out,
)  # fmt: skip

# %% tags=["hide-input"]
learned = [s for s in ORDER if all(middle.get((*s, gate), 0) >= 5 for gate in GATES)]
record.number("learned-settings", len(learned))
for setting, gate in product(ORDER, GATES):
    if (*setting, gate) in middle:
        slug = setting[1].lower().replace(",", "").replace(" ", "-").replace(".", "-")
        record.number(f"ratio-{slug}-{gate}", float(middle[(*setting, gate)]))
trained_worst = float(worst.loc["trained"].min()) if "trained" in worst.index else 0.0
record.number("trained-worst", trained_worst, f"{trained_worst:.1f}")
# a seed draws its test sequences once, for all gates: what its gates share near one is that draw
by_gate = ends.pivot(index=["protocol", "setting", "seed"], columns="gate", values="ratio")  # fmt: skip
nearest = (by_gate.median(axis=1).groupby(level=[0, 1]).median() - 1).abs().idxmin()
near_one = by_gate.loc[nearest]
alike = near_one.corr().to_numpy()[np.triu_indices(len(GATES), 1)].min()
scatter = float(near_one.std().max())
record.number("ratio-scatter", scatter, f"{scatter:.2f}")
lines = "; ".join(
    f"{setting[1]}: {losses(setting)}" for setting in ORDER if setting[0] == "paper"
)
Markdown(
    f"At the end of the paper's protocol, the best constant's loss over the network's (median; constant, scalar, multi gate): {lines}. In the trained protocol the *worst* of all networks is "
    f"{trained_worst:.1f} times better than the constant.\n\nA ratio near one has an error: the constant's loss is an expectation, and a network's is a mean over sequences that its seed has drawn. On {nearest[1]}, where ratios are nearest to one, "
    f"they have a standard deviation of {scatter:.2f} over seeds, and the three gates of a seed, tested on the same sequences, go together (least correlation {alike:.2f}). A ratio that is nearer to one than that cannot be told from one."
)

# %%
for setting in [s for s in ORDER if s[0] == "trained"]:
    rows = ends[(ends.protocol == setting[0]) & (ends.setting == setting[1])]
    weakest = np.log10(rows.groupby("seed").ratio.min())
    found = statistics.estimate(weakest, threshold=np.log10(5))
    record.claim(
        "learns-adding" if "adding" in setting[1] else "learns-short", "trained",
        f"trained protocol, {setting[1]}: the weakest of the three models of a seed is, in the mean over seeds, at least five times better than the best constant on fresh data ($\\log_{{10}}$ of the ratio)",
        found.mean, found.interval, threshold=float(np.log10(5)), null=0.0, seeds=found.seeds,
        note="mean over seeds; BCa bootstrap; a constant prediction has 0",
    )  # fmt: skip

# %% [markdown]
# ## The profiles
#
# {numref}`fig-effective-rate-profiles` is the published figure, done by the definitions: the median of $S_{t,k}$ over all pairs of a lag, relative to lag 1, beside the medians of the predictors.

# %% tags=["hide-input"]
LOOKS = {
    "S": {"color": figures.INK, "linestyle": "-", "marker": "o"},
    "order 0": {"color": figures.CYCLE[1], "linestyle": "--", "marker": "s"},
    "order 1": {"color": figures.CYCLE[2], "linestyle": "-.", "marker": "^"},
    "published": {"color": figures.CYCLE[3], "linestyle": ":", "marker": "D"},
}
WORDS = {"S": "sensitivity", "order 0": r"order 0, $\prod(1-g)$", "order 1": "order 1", "published": r"published, $\prod g$"}  # fmt: skip


def draw_profiles(settings: list) -> tuple:
    """A row for each gate, a column for each setting."""
    fig, axes = plt.subplots(
        len(GATES), len(settings), figsize=(1.0 + 1.9 * len(settings), 5.6), sharey="row", squeeze=False
    )  # fmt: skip
    frames = []
    for (row, gate), (column, setting) in product(
        enumerate(GATES), enumerate(settings)
    ):
        ax = axes[row, column]
        rows = final["profiles"]
        rows = rows[(rows.protocol == setting[0]) & (rows.setting == setting[1]) & (rows.gate == gate)]  # fmt: skip
        for name, look in LOOKS.items():
            columns = [c for c in (f"{name} @{lag}" for lag in LAGS) if c in rows and rows[c].notna().any()]  # fmt: skip
            if not columns:
                continue
            at = [1] + [int(c.partition("@")[2]) for c in columns]
            values = 10 ** np.column_stack([np.zeros(len(rows)), rows[columns]])
            low, centre, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
            ax.plot(at, centre, label=WORDS[name], **look)
            ax.fill_between(at, low, high, color=look["color"], alpha=0.2, linewidth=0)
            frames.append(
                pd.DataFrame({"protocol": setting[0], "setting": setting[1], "gate": gate, "series": name,
                              "lag": at, "lower quartile": low, "median": centre, "upper quartile": high})
            )  # fmt: skip
        ratio = ratio_of.get((*setting, gate), "–")
        ax.set(yscale="log", ylim=(1e-13, 3))
        ax.set_title(
            f"constant / loss = {ratio}", fontsize=8.5, fontweight="normal", loc="right"
        )
        if row == 0:
            ax.annotate(setting[1], (0, 1.2), xycoords="axes fraction", fontweight="bold", fontsize=9)  # fmt: skip
        if row == len(GATES) - 1:
            ax.set_xlabel(r"lag $\ell$")
        if column == 0:
            ax.set_ylabel(f"{gate}\nrelative to lag 1")
    fig.legend(*axes[-1, -1].get_legend_handles_labels(), loc="outside lower center", ncols=min(4, len(settings)))  # fmt: skip
    return fig, pd.concat(frames)


def where_it_falls(drawn: pd.DataFrame) -> str:
    """For who cannot see the panels: which median lies below that of the sensitivity, and whether that falls."""
    at = drawn[drawn.lag == 16].pivot(index=["setting", "gate"], columns="series", values="median")  # fmt: skip
    below = ", ".join(
        f"{name} in {int((at[name] < at.S).sum())}" for name in list(LOOKS)[1:]
    )
    return (
        f"At lag 16 the median sensitivity is below that at lag 1 in {int((at.S < 1).sum())} of {len(at)} panels. "
        f"Below the sensitivity lie {below} of them."
    )


# %% tags=["hide-input"]
with figures.style():
    fig, drawn = draw_profiles([s for s in ORDER if s[0] == "paper" and (final["profiles"].setting == s[1]).any()] or ORDER[4:])  # fmt: skip
figures.save(
    fig, "effective-rate-profiles", drawn,
    caption=f"Paper's protocol, at its last step: median sensitivity by lag and what is to predict it, all relative to lag 1; medians over {SEEDS} seeds, shaded between the quartiles. "
    "Above each panel, how many times smaller the network's loss is than the best constant's. Curves below $10^{-13}$ leave the panel.",
    alt=f"Panels for three gates by four tasks, of sensitivity and three predictors over the lag, on a logarithmic axis. {where_it_falls(drawn)}",
    chapter="09-effective-rate-profiles", out=out,
)  # fmt: skip

# %% tags=["hide-input"]
with figures.style():
    fig, drawn = draw_profiles([s for s in ORDER if s[0] == "trained"])
figures.save(
    fig, "effective-rate-profiles-trained", drawn,
    caption=f"The same in the trained protocol, where the median network of every gate is at least {middle.loc['trained'].min():.1f} times better than the best constant, and the worst of all {trained_worst:.1f} times; {SEEDS} seeds.",
    alt=f"Six panels, three gates by two tasks, of sensitivity and three predictors over the lag, on a logarithmic axis. {where_it_falls(drawn)}",
    chapter="09-effective-rate-profiles", out=out,
)  # fmt: skip

# %% [markdown]
# A median hides that $S$ is a function of two times. {numref}`fig-effective-rate-maps` shows all of it, for one network and one sequence each. Along a diagonal the lag is the same: what varies along diagonals is what is left to predict within a lag.

# %%
PLACE = ["protocol", "setting", "gate", "step", "t"]
maps = own["map"].assign(log10=lambda rows: np.log10(rows.S).round(2))
reached = maps.groupby(["protocol", "setting"]).step.transform("max")
maps = maps[(maps.step == reached) & (maps.t % 2 == 0)]
wide = maps.pivot(index=PLACE, columns="k", values="log10").add_prefix("k = ")
if "k = 79" not in wide:  # the long tasks were not run here
    wide = wide.reindex(columns=[f"k = {k}" for k in range(80)])
maps = references.settle(
    wide.reset_index(), "e1-maps", PLACE, {}, folder="../reference", out=out
).rows
maps = maps[maps.step == maps.groupby(["protocol", "setting"]).step.transform("max")]

# %% tags=["hide-input"]
shown = [s for s in ORDER if ((maps.protocol == s[0]) & (maps.setting == s[1])).any()]
frames = []
with figures.style():
    fig, axes = plt.subplots(len(GATES), len(shown), figsize=(1.2 + 1.35 * len(shown), 4.6), squeeze=False)  # fmt: skip
    for (row, gate), (column, setting) in product(enumerate(GATES), enumerate(shown)):
        ax = axes[row, column]
        part = maps[(maps.protocol == setting[0]) & (maps.setting == setting[1]) & (maps.gate == gate)]  # fmt: skip
        table = part.set_index("t").filter(regex="^k = ").dropna(axis=1, how="all")
        table.columns = [int(name[4:]) for name in table]
        mesh = ax.pcolormesh(table.columns, table.index, table, vmin=-8, vmax=0.5, rasterized=True, shading="nearest")  # fmt: skip
        ax.invert_yaxis()
        ax.grid(False)
        ax.set_aspect("equal")
        ax.tick_params(labelsize=7)
        if row == 0:
            ax.set_title(setting[1].replace(", ", "\n", 1), fontsize=8.5)  # fmt: skip
        if row == len(GATES) - 1:
            ax.set_xlabel("from $k$")
        if column == 0:
            ax.set_ylabel(f"{gate}\nto $t$")
        long = table.reset_index().melt("t", var_name="k", value_name="log10 S").dropna()  # fmt: skip
        frames.append(long.assign(protocol=setting[0], setting=setting[1], gate=gate, step=int(part.step.iloc[0])))  # fmt: skip
    fig.colorbar(mesh, ax=axes, label=r"$\log_{10} S_{t,k}$", extend="min", shrink=0.6)
figures.save(
    fig, "effective-rate-maps", pd.concat(frames),
    caption="The sensitivity of every state to every earlier one along one sequence, for seed 1 at the last step: rows are gates, columns settings. Time runs downwards and to the right; the diagonal is lag 0. "
    "How many times smaller the losses are than the best constant's: " + "; ".join(f"{s[1]} {losses(s)}" for s in shown) + ".",
    alt="Heat maps of a lower triangle, three gates by up to six settings. One diagonal holds one lag: how colours change away from the main diagonal is the profile, and how they change along a diagonal is what is left to predict within a lag.",
    chapter="09-effective-rate-profiles", out=out,
)  # fmt: skip

# %% [markdown]
# ## Pooled: the lag is hard to beat
#
# The published evidence is the slope and the $R^2$ of the pooled fit. {numref}`fig-effective-rate-slopes` follows the slope over training. A predictor that were right, and not only proportional in logarithms, would have slope 1.

# %% tags=["hide-input"]
fits = evidence["fits"]
frames = []
with figures.style():
    fig, axes = plt.subplots(2, 3, figsize=(8.2, 4.6), sharey=True)
    for ax, setting in zip(axes.flat, ORDER, strict=True):
        rows = fits[(fits.protocol == setting[0]) & (fits.setting == setting[1])]
        for gate, predictor in product(GATES, ("order 0", "published")):
            table = rows[rows.gate == gate].pivot(index="step", columns="seed", values=f"{predictor} slope")  # fmt: skip
            if not len(table):
                continue
            look = dict(figures.GATES[gate])
            if predictor == "published":
                look |= {"markerfacecolor": "none", "linewidth": 0.8, "alpha": 0.7}
            centre = table.median(axis=1)
            ax.plot(table.index, centre, label=f"{gate}, {predictor}", **look)
            low, high = table.quantile(0.25, axis=1), table.quantile(0.75, axis=1)
            ax.fill_between(table.index, low, high, color=look["color"], alpha=0.15, linewidth=0)  # fmt: skip
            frames.append(
                pd.DataFrame({"protocol": setting[0], "setting": setting[1], "gate": gate, "predictor": predictor,
                              "step": table.index, "lower quartile": low, "median": centre, "upper quartile": high})
            )  # fmt: skip
        for level, line in ((1, ":"), (0, "-")):
            ax.axhline(level, color=figures.INK, linewidth=0.8, linestyle=line)
        ax.set(title=f"{setting[1]}\n", ylim=(-0.2, 3))
        ax.annotate(f"constant / loss: {losses(setting)}", (0, 1.02), xycoords="axes fraction", fontsize=8)  # fmt: skip
    for ax in axes[:, 0]:
        ax.set_ylabel("slope")
    for ax in axes[1]:
        ax.set_xlabel("training step")
    fig.legend(*axes[1, 2].get_legend_handles_labels(), loc="outside lower center", ncols=3)  # fmt: skip
slopes = pd.concat(frames)
slope_range = "; ".join(
    f"{gate}, {predictor}: {centre.min():.2f} to {centre.max():.2f}"
    for (gate, predictor), centre in slopes.groupby(["gate", "predictor"])["median"]
)
figures.save(
    fig, "effective-rate-slopes", slopes,
    caption=f"The slope of $\\log S$ on the logarithm of order 0 (filled) and of the published predictor (open) over training: medians and quartiles of {SEEDS} seeds. A slope of 1 (dotted) would mean that the predictor is right up to a factor; below 0, sensitivity falls where the predictor rises. "
    "Above each panel, how many times smaller the losses are than the best constant's (constant · scalar · multi, at the end).",
    alt=f"Six panels of slopes over training steps for three gates and two predictors. Over all panels and steps the medians run from and to: {slope_range}.",
    chapter="09-effective-rate-profiles", out=out,
)  # fmt: skip

# %% [markdown]
# An $R^2$ close to 1 looks like proof. {numref}`fig-effective-rate-unexplained` shows what it is worth, by plotting what is *left*: the share of the variance of $\log S$ that a straight line in the predictor does not explain, for the lag as well as for the gates.

# %% tags=["hide-input"]
PREDICTORS = ["lag", "published", "order 0", "order 0, mean", "order 1"]
COLOURS = dict(zip(PREDICTORS, [figures.INK, *(figures.CYCLE[i] for i in (3, 1, 4, 2))], strict=True))  # fmt: skip
MARKS = dict(zip(PREDICTORS, "oDsv^", strict=True))
LEARNED = ["scalar", "multi"]
present = [s for s in ORDER if (final["fits"].setting == s[1]).any()]
frames = []
with figures.style():
    fig, axes = plt.subplots(1, 2, figsize=(8.2, 4.2), sharey=True, sharex=True)
    for ax, gate in zip(axes, LEARNED, strict=True):
        for place, setting in enumerate(present):
            rows = final["fits"]
            rows = rows[(rows.setting == setting[1]) & (rows.protocol == setting[0]) & (rows.gate == gate)]  # fmt: skip
            for shift, predictor in zip(np.linspace(-0.3, 0.3, 5), PREDICTORS, strict=True):  # fmt: skip
                left = 1 - rows[f"{predictor} r2"]
                ax.plot(left, np.full(len(left), place + shift), "|", color=COLOURS[predictor], alpha=0.5, markersize=6)  # fmt: skip
                ax.plot(left.median(), place + shift, MARKS[predictor], color=COLOURS[predictor], label=predictor if place == 0 else None)  # fmt: skip
                frames.append(
                    pd.DataFrame({"protocol": setting[0], "setting": setting[1], "gate": gate, "predictor": predictor,
                                  "seed": rows.seed, "unexplained": left})
                )  # fmt: skip
        ax.set(xscale="log", title=gate, xlabel=r"unexplained, $1 - R^2$")
    axes[0].set_yticks(range(len(present)), [f"{s[1]}\n{losses(s)}" for s in present])
    axes[0].invert_yaxis()
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=5)
unexplained = pd.concat(frames)
medians = unexplained[unexplained.predictor.isin(["lag", "order 0"])].groupby(["setting", "gate", "predictor"], sort=False).unexplained.median().unstack()  # fmt: skip
figures.save(
    fig, "effective-rate-unexplained", unexplained,
    caption=f"What a straight line in each predictor leaves unexplained of the variance of $\\log S$, pooled over all pairs, at the last step; each tick is one of {SEEDS} seeds, markers are medians. Further left is better. Under the names, how "
    "many times smaller the losses are than the best constant's.",
    alt="Two panels, scalar and multi-gate, with a row for each setting and five kinds of markers on a logarithmic axis. Medians of what the lag and order 0 leave: "
    + "; ".join(f"{setting}, {gate}, {row['lag']:.2g} and {row['order 0']:.2g}" for (setting, gate), row in medians.iterrows()) + ".",
    chapter="09-effective-rate-profiles", out=out,
)  # fmt: skip

# %% [markdown]
# ## Within a lag: the test with power
#
# What remains when each lag's mean is taken out is what *no* function of the lag can account for. How well does the product of gates explain it, with the true gates, with the gates of the same sequence in another order (*shuffled*), and with those of
# another sequence (*foreign*)? {numref}`fig-effective-rate-within` is the answer to the third part of the claim.
#
# The two nulls keep different things. A shuffled sequence keeps its mean gate, and at a long lag, where most of the sequence lies between $k$ and $t$, the product is then nearly the true one. Gates of another sequence keep what all sequences share at the same time:
# a gate that closes in the course of every sequence, say. What is left above both is the timing of this one.

# %% tags=["hide-input"]
KINDS = {
    "order 0, true gates": ("order 0 within r", figures.CYCLE[1], "s"),
    "mean of order 0, true gates": ("order 0, mean within r", figures.CYCLE[4], "v"),
    "order 1, true gates": ("order 1 within r", figures.CYCLE[2], "^"),
    r"published $\prod g$, true gates": ("published within r", figures.CYCLE[3], "D"),
    "order 0, shuffled": ("order 0 shuffled r", figures.MUTED, "x"),
    "order 0, foreign": ("order 0 foreign r", figures.MUTED, "+"),
}
frames = []
with figures.style():
    fig, axes = plt.subplots(1, 2, figsize=(8.2, 4.6), sharey=True, sharex=True)
    for ax, gate in zip(axes, LEARNED, strict=True):
        for place, setting in enumerate(present):
            rows = final["fits"]
            rows = rows[(rows.setting == setting[1]) & (rows.protocol == setting[0]) & (rows.gate == gate)]  # fmt: skip
            for shift, (kind, (column, colour, mark)) in zip(np.linspace(-0.35, 0.35, 6), KINDS.items(), strict=True):  # fmt: skip
                r = rows[column]
                ax.plot(r, np.full(len(r), place + shift), "|", color=colour, alpha=0.5, markersize=5)  # fmt: skip
                ax.plot(r.mean(), place + shift, mark, color=colour, label=kind if place == 0 else None)  # fmt: skip
                frames.append(
                    pd.DataFrame({"protocol": setting[0], "setting": setting[1], "gate": gate, "kind": kind,
                                  "seed": rows.seed, "correlation": r})
                )  # fmt: skip
        ax.axvline(0, color=figures.INK, linewidth=0.8, linestyle=":")
        ax.set(title=gate, xlabel="correlation within lags", xlim=(-1, 1))
    axes[0].set_yticks(range(len(present)), [f"{s[1]}\n{losses(s)}" for s in present])
    axes[0].invert_yaxis()
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
within_r = pd.concat(frames)
centres = within_r.groupby(["kind", "setting", "gate"], sort=False).correlation.mean()
plain = {kind: kind.replace(r" $\prod g$", "") for kind in KINDS}
spans = "; ".join(
    f"{plain[kind]}: {of.min():+.2f} to {of.max():+.2f}"
    for kind, of in centres.groupby(level="kind", sort=False)
)
figures.save(
    fig, "effective-rate-within", within_r,
    caption=f"Correlation of $\\log S$ with the logarithm of a predictor, within lags, at the last step; each tick is one of {SEEDS} seeds, markers are means. Gates that predicted with the sign of order 0 would be on the right; with any sign, they must be away from both nulls (grey).",
    alt=f"Two panels, scalar and multi-gate, with a row for each setting and six kinds of markers along an axis from minus one to one. The means over seeds run, over settings and gates, from and to: {spans}.",
    chapter="09-effective-rate-profiles", out=out,
)  # fmt: skip

# %% tags=["hide-input"]
frames = []
with figures.style():
    fig, axes = plt.subplots(2, 3, figsize=(8.2, 4.4), sharey=True)
    for ax, setting in zip(axes.flat, ORDER, strict=True):
        rows = final["profiles"]
        rows = rows[(rows.setting == setting[1]) & (rows.protocol == setting[0])]
        for gate, kind in product(LEARNED, ("true", "shuffled")):
            part = rows[rows.gate == gate]
            at = [lag for lag in LAGS if f"r {kind} @{lag}" in part and part[f"r {kind} @{lag}"].notna().any()]  # fmt: skip
            if not at:
                continue
            values = part[[f"r {kind} @{lag}" for lag in at]].to_numpy()
            low, centre, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
            look = dict(figures.GATES[gate]) if kind == "true" else figures.GATES[gate] | {"color": figures.MUTED, "linewidth": 0.9}  # fmt: skip
            ax.plot(at, centre, label=f"{gate}, {kind}", **look)
            ax.fill_between(at, low, high, color=look["color"], alpha=0.15, linewidth=0)
            frames.append(
                pd.DataFrame({"protocol": setting[0], "setting": setting[1], "gate": gate, "gates": kind, "lag": at,
                              "lower quartile": low, "median": centre, "upper quartile": high})
            )  # fmt: skip
        ax.axhline(0, color=figures.INK, linewidth=0.8, linestyle=":")
        ax.set(title=f"{setting[1]}\n", xscale="log", ylim=(-1, 1))
        ax.annotate(f"constant / loss: {losses(setting)}", (0, 1.02), xycoords="axes fraction", fontsize=8)  # fmt: skip
        ax.set_xticks(LAGS, [str(lag) for lag in LAGS])
        ax.set_xticks([], minor=True)
    for ax in axes[:, 0]:
        ax.set_ylabel("correlation")
    for ax in axes[1]:
        ax.set_xlabel(r"lag $\ell$")
    fig.legend(*axes[1, 2].get_legend_handles_labels(), loc="outside lower center", ncols=4)  # fmt: skip
by_lag = pd.concat(frames)
ends_of = "; ".join(
    f"{kind} gates at lag {lag}: {centre.min():+.2f} to {centre.max():+.2f}"
    for kind, lag in product(("shuffled", "true"), (2, 28))
    for centre in [by_lag[(by_lag.gates == kind) & (by_lag.lag == lag)]["median"]]
)
figures.save(
    fig, "effective-rate-within-by-lag", by_lag,
    caption=f"The correlation of order 0 with the sensitivity at each lag by itself, true gates (coloured) and shuffled (grey): medians and quartiles of {SEEDS} seeds at the last step. The longer the lag, the more of a sequence lies inside the window, and the less there is for shuffling to change.",
    alt=f"Six panels of correlation over the lag for scalar and multi-gate, true and shuffled. Over the panels the medians run from and to: {ends_of}.",
    chapter="09-effective-rate-profiles", out=out,
)  # fmt: skip

# %% [markdown]
# ## Verdicts
#
# The unit is the seed. The four tasks of the paper's protocol are averaged within a seed; the two of the trained protocol, which were learned in different ways, are judged by themselves. The interval is a bootstrap over seeds {cite}`efron1987bca`, and where two predictors are compared, they are compared on the same networks. The threshold was set before the runs: the interval must lie wholly on one side of zero. P values are adjusted after Holm {cite}`holm1979`.
#
# Signs need care twice. $R^2$ does not see the sign of a slope, so each comparison with the lag is made a second time, where a slope below zero counts as explaining nothing. And a correlation far below zero predicts as well as one far above: whether gates predict *at all* is asked of $|r|$,
# and whether they do so with the sign of the claim is asked of $r$. These claims, those on foreign gates, and those on the rate of decay were added after the runs had been seen; the threshold is the same.

# %%
GROUPS = {
    "paper": ("paper's protocol", [s for s in ORDER if s[0] == "paper"]),
    "adding": ("trained, adding", [("trained", "adding, 30 steps, Adam")]),
    "short": ("trained, short", [("trained", "short, SGD at 0.05")]),
}
GROUPS = {
    name: (words, [s for s in settings if s in present])
    for name, (words, settings) in GROUPS.items()
    if set(settings) & set(present)
}
tests = []
judged = final["fits"].copy()
for name in ("order 0", "lag"):
    judged[f"{name} forward"] = judged[f"{name} r2"].where(judged[f"{name} slope"] > 0, 0.0)  # fmt: skip
for gates in ("within", "shuffled", "foreign"):
    judged[f"order 0 {gates} |r|"] = judged[f"order 0 {gates} r"].abs()


def of_group(group: str, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of a group's settings."""
    settings = pd.MultiIndex.from_frame(rows[["protocol", "setting"]])
    return rows[settings.isin(GROUPS[group][1])]


def by_seed(group: str, gate: str, column: str) -> pd.Series:
    """One number a seed: the mean over the group's tasks."""
    rows = of_group(group, judged)
    return rows[rows.gate == gate].groupby("seed")[column].mean()


def judge(
    name: str, word: str, statement: str, values: pd.Series, null: float = 0.0
) -> None:
    found = statistics.estimate(values.to_numpy())
    verdict = record.claim(
        name, word, statement, found.mean, found.interval, threshold=0.0, null=float(null), seeds=found.seeds,
        note="mean over seeds; BCa bootstrap",
    )  # fmt: skip
    tests.append((name, found.mean, *found.interval, found.p, verdict))


for group, gate in product(GROUPS, LEARNED):
    who = f"{GROUPS[group][0]}, {gate} gate"
    true = {name: by_seed(group, gate, name) for name in judged.columns if name not in KEYS and name != "here"}  # fmt: skip
    judge(
        f"more-than-lag-{group}-{gate}", "lag-dependent",
        f"{who}: $\\prod(1-g)$ explains more of $\\log S$ than the lag alone (difference of $R^2$, which does not see the sign of a slope)",
        true["order 0 r2"] - true["lag r2"],
    )  # fmt: skip
    judge(
        f"more-than-lag-forward-{group}-{gate}", "lag-dependent",
        f"{who}: $\\prod(1-g)$ explains more of $\\log S$ than the lag alone, where a slope below zero counts as explaining nothing (difference of $R^2$)",
        true["order 0 forward"] - true["lag forward"],
    )  # fmt: skip
    judge(
        f"order-one-{group}-{gate}", "C8",
        f"{who}: the first-order correction explains more than order 0 (difference of $R^2$, which does not see the sign of a slope)",
        true["order 1 r2"] - true["order 0 r2"],
    )  # fmt: skip
    judge(
        f"kept-not-written-{group}-{gate}", "C8",
        f"{who}: $\\prod(1-g)$ explains more than $\\prod g$ (difference of $R^2$, which does not see the sign of a slope)",
        true["order 0 r2"] - true["published r2"],
    )  # fmt: skip

# %% [markdown]
# Within lags, against both nulls:

# %%
for group, gate in product(GROUPS, LEARNED):
    who = f"{GROUPS[group][0]}, {gate} gate"
    r = by_seed(group, gate, "order 0 within r")
    size = by_seed(group, gate, "order 0 within |r|")
    judge(
        f"within-sign-{group}-{gate}", "lag-dependent",
        f"{who}: within a lag, sensitivity rises with $\\prod(1-g)$ (correlation)",
        r, null=by_seed(group, gate, "order 0 shuffled r").mean(),
    )  # fmt: skip
    for null, whose in (
        ("shuffled", "shuffled gates"),
        ("foreign", "those of another sequence"),
    ):
        judge(
            f"within-{null}-{group}-{gate}", "lag-dependent",
            f"{who}: within a lag, the correlation of sensitivity with $\\prod(1-g)$ is more positive with the true gates than with {whose} (difference of correlations)",
            r - by_seed(group, gate, f"order 0 {null} r"),
        )  # fmt: skip
        judge(
            f"predicts-{null}-{group}-{gate}", "lag-dependent",
            f"{who}: within a lag, the true gates predict sensitivity better than {whose} do, whichever the sign (difference of $|r|$)",
            size - by_seed(group, gate, f"order 0 {null} |r|"),
        )  # fmt: skip

# %% [markdown]
# Does the profile *itself* depend on the gates and on training? Part 1 has it that sensitivity falls with the lag in every network, at a rate that depends on the gates. The seeds of one task and gate differ in how much they keep: where the product of gates falls more slowly
# with the lag, does sensitivity fall more slowly too? That is a correlation over seeds, and a seed's number is what it adds to it. And what does training change?


# %%
def follows(group: str, gate: str) -> pd.Series:
    """What each seed adds to the correlation of two falls up to lag 16: S's and order 0's.

    With standard scores x and y, whose mean product is r, that is r + xy - r (x² + y²) / 2. Its mean over seeds is r,
    and its spread, to first order, that of r. Mean over tasks.
    """
    rows = of_group(group, final["profiles"])
    rows = rows[rows.gate == gate].set_index(["setting", "seed"])
    rows = rows[["S @16", "order 0 @16"]]
    grouped = rows.groupby("setting")
    x, y = ((rows - grouped.transform("mean")) / grouped.transform("std", ddof=0)).to_numpy().T  # fmt: skip
    both = pd.DataFrame({"xy": x * y, "squares": (x**2 + y**2) / 2}, rows.index)
    r = both.xy.groupby("setting").transform("mean")
    return (r + both.xy - r * both.squares).groupby("seed").mean()


def at_16(group: str, rows: pd.DataFrame) -> pd.DataFrame:
    """log10 of S at lag 16 over S at lag 1: a row for each seed, a column for each gate, mean over tasks."""
    return of_group(group, rows).groupby(["seed", "gate"])["S @16"].mean().unstack()


for group in GROUPS:
    end = at_16(group, final["profiles"])
    start = at_16(group, evidence["profiles"][evidence["profiles"].step == 0])
    judge(
        f"falls-{group}", "lag-dependent",
        f"{GROUPS[group][0]}: lag 16 is less sensitive than lag 1, for the gate of each seed where it falls least ($-\\log_{{10}}$ of the ratio)",
        (-end).min(axis=1),
    )  # fmt: skip
    for gate in LEARNED:
        judge(
            f"follows-gates-{group}-{gate}", "lag-dependent",
            f"{GROUPS[group][0]}, {gate} gate: between seeds, sensitivity falls more slowly up to lag 16 where $\\prod(1-g)$ does (correlation of the two falls; mean over tasks)",
            follows(group, gate),
        )  # fmt: skip
    for gate in GATES:
        judge(
            f"reaches-{group}-{gate}", "lag-dependent",
            f"{GROUPS[group][0]}, {gate} gate: training makes lag 16 more sensitive relative to lag 1 (change of $\\log_{{10}}$)",
            (end - start)[gate],
        )  # fmt: skip


# %% tags=["hide-input"]
# a mean over tasks may hide that they differ
def out_of(true: pd.Series) -> str:
    return f"{int(true.sum())} of {len(true)}"


rows_reach, rows_within = [], []
both = evidence["profiles"].set_index(["protocol", "setting", "gate", "seed"]).sort_index()  # fmt: skip
for setting, gate in product(present, GATES):
    part = both.loc[(*setting, gate)]
    start = part[part.step == 0]["S @16"]
    end = part[part.step == part.step.max()]["S @16"]
    kept = part[part.step == part.step.max()]["order 0 @16"]
    follow = f"{end.corr(kept):+.2f}" if gate in LEARNED else "–"
    names = {"protocol": setting[0], "task": setting[1], "gate": gate, "constant / loss": ratio_of.get((*setting, gate), "–")}  # fmt: skip
    rows_reach.append(
        {**names, "untrained": f"{start.mean():+.2f}", "at the end": f"{end.mean():+.2f}",
         "change": f"{(end - start).mean():+.2f}", "seeds that rise": out_of(end > start), "follows gates": follow}
    )  # fmt: skip
    if gate in LEARNED:
        of = judged[(judged.protocol == setting[0]) & (judged.setting == setting[1]) & (judged.gate == gate)]  # fmt: skip
        true, *nulls = (of[f"order 0 {gates} r"] for gates in ("within", "shuffled", "foreign"))  # fmt: skip
        rows_within.append(
            {**names, "R² − lag's": f"{(of['order 0 r2'] - of['lag r2']).mean():+.3g}", "slope > 0": out_of(of["order 0 slope"] > 0),
             "r": f"{true.mean():+.2f}", "shuffled": f"{nulls[0].mean():+.2f}", "foreign": f"{nulls[1].mean():+.2f}",
             "beats shuffled": out_of(true.abs() > nulls[0].abs()), "beats foreign": out_of(true.abs() > nulls[1].abs())}
        )  # fmt: skip
record.table(
    pd.DataFrame(rows_within), "effective-rate-tasks-within",
    caption=f"The same by task, means over {SEEDS} seeds at the last step: by how much $\\prod(1-g)$ explains more than the lag, pooled, and in how many seeds with a positive slope; its correlation with $\\log S$ within lags, with true, shuffled and foreign gates; and in how many seeds $|r|$ is larger with the true gates.",
)  # fmt: skip

# %% tags=["hide-input"]
record.table(
    pd.DataFrame(rows_reach), "effective-rate-tasks-reach",
    caption=f"How far the gradient reaches, by task: $\\log_{{10}}$ of the sensitivity at lag 16 over that at lag 1, means over {SEEDS} seeds, before training and at its end, and over seeds its correlation with the same of $\\prod(1-g)$. Beside each gate stands how many times smaller the median loss is than the best constant's.",
)  # fmt: skip

# %% tags=["hide-input"]
adjusted = statistics.holm([p for *_, p, _ in tests])
summary = pd.DataFrame(
    [
        (f"`{name}`", f"{mean:.3g}", f"{low:.3g} to {high:.3g}", f"{p:.2g}", verdict)
        for (name, mean, low, high, _, verdict), p in zip(tests, adjusted, strict=True)
    ],
    columns=["claim", "effect", "95 % interval", "p, after Holm", "verdict"],
)
record.table(
    summary, "effective-rate-verdicts",
    caption=f"All claims of this chapter about profiles, {SEEDS} seeds. The last but one column is the p value of a sign-flip test against zero, adjusted for the number of rows; the verdict follows from the interval alone.",
)  # fmt: skip

# %% [markdown]
# ## What it means

# %% tags=["hide-input"]
verdict_of = {name: verdict for name, *_, verdict in tests}
effect_of = {name: mean for name, mean, *_ in tests}


def tell(group: str, name: str, gates: list[str] = LEARNED) -> str:
    """Effect and verdict of a claim for some gates."""
    keys = [f"{name}-{group}-{gate}" for gate in gates]
    return "; ".join(
        f"{gate} {effect_of[key]:+.2g}, {verdict_of[key]}"
        for gate, key in zip(gates, keys, strict=True)
    )


INTROS = {
    "paper": "**In the paper's protocol**",
    "adding": "**Trained on adding**",
    "short": "**Trained on short**",
}
for group, gate in product(GROUPS, LEARNED):
    for name in ("more-than-lag", "within-sign"):
        record.number(f"{name}-{group}-{gate}", effect_of[f"{name}-{group}-{gate}"])
    rising = of_group(group, judged)
    rising = rising[rising.gate == gate]["order 0 slope"] > 0
    record.number(f"positive-slopes-{group}-{gate}", int(rising.sum()), out_of(rising))
Markdown(
    "\n\n".join(
        f"{INTROS[group]} (constant's loss over the network's: {'; '.join(f'{s[1]} {losses(s)}' for s in settings)}):\n\n"
        f"- *All sensitivities, the product of gates against the lag:* {tell(group, 'more-than-lag')} (difference of $R^2$); with a slope below zero counted as nothing: {tell(group, 'more-than-lag-forward')}. "
        f"The first-order correction on top: {tell(group, 'order-one')}.\n"
        f"- *Within a lag:* {tell(group, 'within-sign')} (correlation). More positive than with shuffled gates: {tell(group, 'within-shuffled')}; than with foreign ones: {tell(group, 'within-foreign')} (differences).\n"
        f"- *Within a lag, whichever the sign:* better than shuffled gates: {tell(group, 'predicts-shuffled')}; than foreign ones: {tell(group, 'predicts-foreign')} (differences of $|r|$).\n"
        f"- *The rate of decay:* follows the gates from seed to seed: {tell(group, 'follows-gates')} (correlation); training makes lag 16 more sensitive: {tell(group, 'reaches', GATES)} (change of $\\log_{{10}}$)."
        for group, (_, settings) in GROUPS.items()
    )
)

# %% [markdown]
# Three things come out of it.

# %% tags=["hide-input"]
of_task = judged[judged.gate.isin(LEARNED)].groupby(["protocol", "setting", "gate"], sort=False)  # fmt: skip
left_by = {name: 1 - of_task[f"{name} r2"].median() for name in ("lag", "order 0")}
r_of = of_task["order 0 within r"].mean()
better = of_task["order 0 r2"].median() > of_task["lag r2"].median()
r_lowest, r_highest = r_of.idxmin(), r_of.idxmax()
adding_30 = ("trained", "adding, 30 steps, Adam")
far = final["profiles"].groupby(["protocol", "setting", "gate"])["S @28"].median()
far = " · ".join(f"{10 ** far[(*adding_30, gate)]:.2g}" for gate in GATES)
scalar_30 = judged[(judged.setting == adding_30[1]) & (judged.gate == "scalar")]
Markdown(
    f"*A high pooled $R^2$ says little.* The lag by itself leaves between {left_by['lag'].loc['paper'].min():.2g} and {left_by['lag'].loc['paper'].max():.2g} of the variance unexplained in the paper's protocol (medians by task and gate), "
    f"and the product of gates between {left_by['order 0'].loc['paper'].min():.2g} and {left_by['order 0'].loc['paper'].max():.2g} ({{numref}}`fig-effective-rate-unexplained`); over both protocols the product has the higher median $R^2$ in {out_of(better)} models. Two things that fall with the lag fit each other, whether or not one follows the other. "
    f"Nor does $R^2$ know a sign: of the scalar-gated networks that have learned to add, {out_of(scalar_30['order 0 slope'] > 0)} have a positive slope. So compare within lags, against both nulls, as {{numref}}`fig-effective-rate-within` does.\n\n"
    f"*A profile can change without a gate that learns.* In a network that has learned to add over thirty steps the sensitivity at lag 28 is {far} times that at lag 1 (constant · scalar · multi gate; {{numref}}`fig-effective-rate-profiles-trained`). "
    f"The constant gate cannot learn. What training changes there, {effect_of['reaches-adding-constant']:+.2f} decades at lag 16 where the scalar gate has {effect_of['reaches-adding-scalar']:+.2f} and the multi-gate {effect_of['reaches-adding-multi']:+.2f}, is the work of the other weights: "
    "with the leak fixed, the recurrent weights must carry the gradient. So a profile that changes is no evidence for gates. What gates add must be shown within lags, and against both nulls.\n\n"
    f"*What gates predict depends on the task and on the gate.* The mean correlation within lags runs from {r_of.min():+.2f} ({r_lowest[1]}, {r_lowest[0]} protocol, {r_lowest[2]} gate) to {r_of.max():+.2f} ({r_highest[1]}, {r_highest[0]} protocol, {r_highest[2]} gate), and is positive in {out_of(r_of > 0)} models ({{numref}}`tab-effective-rate-tasks-within`). "
    "Read with {ref}`ch-validity`, either sign is possible: the recurrent term is not the smaller part of these Jacobians, and a gate that opens keeps less of the state *and* lets more of the recurrent term in. Which of the two wins is for the weights to say. "
    f"And a correlation need not be timing. For the scalar gate on the trained adding task it is {scalar_30['order 0 within r'].mean():+.2f}, and the gates of another sequence give {scalar_30['order 0 foreign r'].mean():+.2f}: what those have is position in time alone."
)

# %% [markdown]
# ## What it cost
#
# The cells note what they took. This run's stand beside those of the run of twenty seeds that filled `reference/`, on the machine that it names.

# %% tags=["hide-input"]
spent = own["cost"].assign(seeds=seeds, until=own["cost"].protocol.map({"paper": paper_until, "trained": trained_until}))  # fmt: skip
costs = references.settle(
    spent, "e1-cost", ["protocol", "setting", "gate", "seeds", "until"], {}, folder="../reference", out=out
).rows  # fmt: skip
full = costs[costs.seeds == costs.seeds.max()]
minutes = float(own["cost"].cpu_seconds.sum()) / 60
record.number("minutes", minutes, f"{minutes:.1f}", "min")
published = full[(full.protocol == "paper") & (full.setting == "adding")].cpu_seconds.sum() / 60  # fmt: skip
record.number("minutes-published", float(published), f"{published:.0f}", "min")
record.number("minutes-full", float(full.cpu_seconds.sum()) / 60, f"{full.cpu_seconds.sum() / 60:.0f}", "min")  # fmt: skip
record.table(
    costs.groupby(["seeds", "protocol", "setting"], sort=False)
    .agg(minutes=("cpu_seconds", lambda t: f"{t.sum() / 60:.1f}"), machine=("machine", "first"))
    .reset_index()
    .rename(columns={"minutes": "CPU minutes"}),
    "effective-rate-cost",
    caption="What the cells took when they were computed, all seeds of a cell side by side, training and probes of all three gates together.",
)  # fmt: skip

# %% [markdown]
# ## What was checked

# %% tags=["hide-input"]
record.validation(
    caption="The checks of this chapter: this run against the committed one."
)

# %% [markdown]
# ## Try it
#
# 1. *A perfect fit of nothing.* Take random numbers for gates, uniform between $0.4$ and $0.6$, and fit the sensitivities of a network that never saw them. What is the pooled $R^2$?
# 2. *When order 0 is the whole story.* Scale $W_r$ and $W_{rg}$ of a scalar-gated network by a hundredth. What is the correlation within lags now, and with shuffled gates?
# 3. *Slower gates.* Give the gates of three multi-gated networks a bias of $-3$. What becomes of the correlation within lags, and why?

# %% tags=["hide-cell"]
# 1. Near one: any product of numbers below one falls with the lag.
import torch
from gatelr import cells as networks
from gatelr import jacobian, transport
from gatelr.experiments import profiles

draw = torch.Generator().manual_seed(0)


def explained(model: networks.GatedRNN, strangers: bool = False) -> dict:
    """Pooled R² and correlation within lags of order 0, along twelve sequences of adding."""
    u = tasks.adding(60, 12, draw, dtype=torch.float64).u
    run = model.run(u)
    S = transport.sensitivities(jacobian.blocks(model, run))
    if strangers:
        g = 0.4 + 0.2 * torch.rand(run.g.shape, generator=draw, dtype=torch.float64)
        run = run._replace(g=g)
    found = profiles.measure(S, model, run, draw)["fits"]
    return {(f["predictor"], f["gates"]): f for f in found}


def fresh(gate: str = "scalar", **options) -> networks.GatedRNN:
    return networks.GatedRNN(
        4, 32, gate, generator=draw, dtype=torch.float64, **options
    ).requires_grad_(False)


nothing = explained(fresh(), strangers=True)["order 0", "true"]
record.number("exercise-r2", nothing["r2"], f"{nothing['r2']:.3f}")
record.check(
    "exercise-nothing", "C8",
    "random numbers for gates explain nine tenths of the variance, pooled",
    nothing["r2"] > 0.9,
)  # fmt: skip
Markdown(f"Pooled $R^2 = {nothing['r2']:.3f}$; within lags the correlation is {nothing['within r']:.2f}.")  # fmt: skip

# %% tags=["hide-cell"]
# 2. Order 0 is then all there is, and timing is everything.
model = fresh()
model.W_r.mul_(0.01)
model.W_rg.mul_(0.01)
model.W_ig.mul_(5.0)  # gates that move
alone = explained(model)
record.check(
    "exercise-order-zero", "C8",
    "with weak recurrent weights order 0 is right within lags, and shuffled gates are not",
    alone["order 0", "true"]["within r"] > 0.95 > alone["order 0", "shuffled"]["within r"] + 0.2,
)  # fmt: skip
Markdown(
    f"True gates {alone['order 0', 'true']['within r']:.3f}, shuffled {alone['order 0', 'shuffled']['within r']:.2f}, foreign {alone['order 0', 'foreign']['within r']:.2f}."
)


# %% tags=["hide-cell"]
# 3. It rises: slow gates write little, so R and G are small beside the leak, and the leak splitting begins to hold.
def within(bias: float) -> list:
    found = []
    for seed in range(3):
        draw.manual_seed(seed)
        model = fresh("multi", bias=True)
        model.b_g.fill_(bias)
        found.append(explained(model)["order 0", "true"]["within r"])
    return found


slow, quick = within(-3.0), within(0.0)
record.check(
    "exercise-slow-gates", "C8",
    "slow multi-gates predict within lags better than gates near one half, in each of three networks",
    all(a > b for a, b in zip(slow, quick, strict=True)),
)  # fmt: skip
Markdown(
    f"Slow gates: {', '.join(f'{r:.2f}' for r in slow)}; gates near one half: {', '.join(f'{r:.2f}' for r in quick)}."
)

# %% tags=["hide-input"]
record.close()
