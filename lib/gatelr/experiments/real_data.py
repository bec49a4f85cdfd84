r"""Real data (experiment E5): do effective rates tell from which lags a network has learned, on the layers people use?

Three data sets that ship in packages or are made from a seed; an RNN, a GRU and an LSTM of torch, and this book's
family with learned gates. What a network has learned from a lag is how much worse it gets on unseen sequences when the
inputs at that lag are masked. Lags are taken in bins of neighbours, since one pixel or week alone says little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import lr_scheduler

from gatelr import anisotropy, jacobian, networks, rates, training
from gatelr.cells import GatedRNN
from gatelr.experiments import protocol
from gatelr.experiments.learned_lags import Answer, input_gradient, linear_reader, masked
from gatelr.experiments.protocol import Records
from gatelr.experiments.runs import Run
from gatelr.experiments.stacked_layers import KINDS, StackedLayers
from gatelr.tasks import Task

#: The layers of torch, then the family.
MODELS = (*KINDS, "scalar", "multi")

#: Those with a gate that decides what is kept, and so with effective rates at more than lag 0.
GATED = ("GRU", "LSTM", "scalar", "multi")

#: By data set how many updates, the learning rate that Adam starts with, which falls to zero as a cosine does, and
#: how many lags a bin has.
SETTINGS: dict[str, dict[str, Any]] = {
    "digits": {"steps": 500, "rate": 1e-2, "width": 4},
    "mnist1d": {"steps": 1000, "rate": 1e-2, "width": 4},
    "co2": {"steps": 120, "rate": 1e-2, "width": 13},
}

#: Where another learning rate is taken, since with that of the others eight of ten LSTMs stay at chance.
RATES = {("mnist1d", "LSTM"): 3e-3}

#: Neurons, sequences a step, unseen sequences, how many of these have their transports taken, and how many
#: sequences of the training part the linear reader learns from.
NEURONS, BATCH, FRESH, PROBED, KNOWN = 32, 32, 256, 4, 1000


def plan(parameters: Mapping[str, Any]) -> list[Run]:
    """The runs of a chapter with these parameters.

    Args:
        parameters: ``seeds``, how many; ``data_here``; and ``updates``, which share of them, in percent.
    """
    seeds = tuple(range(1, parameters["seeds"] + 1))
    runs = []
    for data, model in product(parameters["data_here"], MODELS):
        settings = SETTINGS[data] | {"rate": RATES.get((data, model), SETTINGS[data]["rate"])}
        settings["steps"] = settings["steps"] * parameters["updates"] // 100
        settings["checkpoints"] = [0, settings["steps"] // 2, settings["steps"]]
        runs.append(Run("real_data", data, model, "Adam", seeds, settings, {"data": data, "model": model}))
    return runs


def measure(setup: protocol.Setup, *, width: int = 4) -> training.Run:
    """Train, and measure before, halfway and after what each lag gives and what has been learned from it.

    Args:
        setup: with a gate that is a layer of torch, or one of the family's.
        width: how many lags a bin has; the last bin may have fewer.

    Returns:
        The run; each of its probes holds records ``"training"`` (seed; the loss on unseen sequences, those of the best
        constant and of a linear reader, and of classes the shares that are named correctly), ``"lags"`` (seed, bin, the
        lags from and to, and the columns of :func:`by_lag`) and ``"memory"`` (seed; quartiles over units of their time
        constants, in steps).
    """
    task, unseen = setup.task, setup.draw(FRESH, protocol.FRESH)
    known = setup.draw(KNOWN, protocol.PROBE)
    linear = [linear_reader(task, known.u[:, s], known.target[s]).to(setup.device) for s in range(len(setup.seeds))]
    bins = torch.arange(task.steps).split(width)

    def probe(step: int, model: GatedRNN | StackedLayers) -> Records:
        records: Records = {"training": [], "lags": [], "memory": []}
        for s, seed in enumerate(setup.seeds):
            u, target = unseen.u[:, s].to(setup.device), unseen.target[s].to(setup.device)
            reading = read(model, s, u.double())
            scores = {"seed": seed, "constant": task.constant_loss}
            answers: dict[str, Answer] = {"": reading.answer, "linear ": linear[s]}
            for name, answer in answers.items():
                with torch.no_grad():
                    out = answer(u)
                scores[f"{name}loss"] = float(task.loss(out, target))
                right = out.argmax(-1) == target if task.kind == "cross-entropy" else torch.full((1,), torch.nan)
                scores[f"{name}accuracy"] = float(right.float().mean())
            records["training"].append(scores)
            measured = by_lag(reading, linear[s], task, u, target, bins)
            columns = {name: values.tolist() for name, values in measured.items()}
            for b, lags in enumerate(bins):
                place = {"seed": seed, "bin": b, "from": int(lags[0]), "to": int(lags[-1])}
                records["lags"].append(place | {name: values[b] for name, values in columns.items()})
            quartiles = reading.memory.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).tolist()
            records["memory"].append({"seed": seed} | dict(zip(("low", "median", "high"), quartiles, strict=True)))
        return records

    model: GatedRNN | StackedLayers
    if setup.gate in KINDS:
        sizes = (task.n_inputs, NEURONS, task.n_outputs)
        model = StackedLayers(setup.gate, *sizes, training.generators(setup.seeds), setup.device)
    else:
        model = protocol.network(task, setup.gate, setup.seeds, NEURONS, bias=True, device=setup.device)
    engine = protocol.optimised(model, setup.optimiser, setup.rate)
    cosine = lr_scheduler.CosineAnnealingLR(engine, max(setup.steps, 1))
    return setup.train(model, probe, engine=engine, schedule=cosine, batch=BATCH)


class Reading(NamedTuple):
    """One network, and what it did while it read some sequences.

    Attributes:
        answer: the readout of the last state as a function of inputs in the dtype of training.
        rates: the effective rate of each lag in units of the learning rate, mean over units and sequences.
        read_rates: the same with units weighted by how much the readout takes from them.
        even: the same of one constant gate that writes and keeps as much as these do on average.
        memory: time constants of the units, in steps.
        blocks: the Jacobians along the first sequences.
    """

    answer: Answer
    rates: Float[Tensor, " T"]
    read_rates: Float[Tensor, " T"]
    even: Float[Tensor, " T"]
    memory: Float[Tensor, " n"]
    blocks: Float[Tensor, "T P d d"]


def read(model: GatedRNN | StackedLayers, s: int, u: Float[Tensor, "T B m"]) -> Reading:
    """Let one replica read sequences.

    Args:
        model: the networks.
        s: which of them.
        u: the sequences, in float64.
    """
    few = u[:, :PROBED]
    if isinstance(model, StackedLayers):
        layer, readout = model.replica(s)
        state = networks.run(layer, u)
        budget, written, kept = networks.budget(state), state.written, state.retained
        memory, blocks = networks.time_constants(state), networks.blocks(layer, few)
        read_from = readout.weight.norm(dim=0)
        layer, readout = layer.to(model.W_o), readout.to(model.W_o)

        def answer(u: Tensor) -> Tensor:
            out: Tensor = readout(layer(u)[0][-1])
            return out

    else:
        network = protocol.in_float64(model).replica(s)
        run = network.run(u)
        budget, written, kept = rates.shares(run).flip(0), run.g, 1 - run.g
        memory = -1 / kept.log().mean((0, 1)).expand(run.x.shape[-1])
        blocks = jacobian.blocks(network, network.run(few))
        read_from = network.W_o.norm(dim=0)
        answer = model.replica(s).requires_grad_(False)
    lag = torch.arange(len(u), device=u.device)
    even = written.mean() * kept.mean() ** lag
    by_unit = budget.mean(1)
    read_rates = (by_unit * read_from).sum(1) / read_from.sum()
    return Reading(answer, by_unit.mean(1), read_rates, even, memory, blocks)


def by_lag(
    reading: Reading,
    linear: Answer,
    task: Task,
    u: Tensor,
    target: Tensor,
    bins: Sequence[Tensor],
) -> dict[str, Tensor]:
    """What each bin of lags gives to one network, and what the network has learned from it.

    Args:
        reading: of the network.
        linear: a reader that has all lags before it at once.
        task, u, target: unseen sequences and their loss.
        bins: lags from the end of a sequence.

    Returns:
        For each bin: ``"masked"``, how much the loss grows when its inputs are replaced by their mean over sequences;
        ``"linear"``, the same of the linear reader, which shows what the data have there; ``"rate"``,
        ``"read rate"`` and ``"even"``, sums of effective rates; ``"gradient"``, the size of the loss's gradient with
        respect to its inputs; ``"sensitivity"`` and ``"directions"``, of the transport over the middle lag the norm and
        how many directions it carries, medians over sequences.
    """
    steps = [len(u) - 1 - lags for lags in bins]
    sigma = spectra(reading.blocks, [int(lags[len(lags) // 2]) for lags in bins])
    gradient = input_gradient(reading.answer, task, u, target)
    return {
        "masked": masked(reading.answer, task, u, target, steps),
        "linear": masked(linear, task, u, target, steps),
        "rate": torch.stack([reading.rates[lags].sum() for lags in bins]),
        "read rate": torch.stack([reading.read_rates[lags].sum() for lags in bins]),
        "even": torch.stack([reading.even[lags].sum() for lags in bins]),
        "gradient": torch.stack([gradient[at].square().sum().sqrt() for at in steps]),
        "sensitivity": sigma[..., 0].median(-1).values,
        "directions": anisotropy.participation_ratio(sigma).median(-1).values,
    }


def spectra(blocks: Float[Tensor, "T P d d"], lags: list[int]) -> Float[Tensor, "L P d"]:
    """Singular values of the transport from each lag to the end.

    Args:
        blocks: Jacobians, index j that of step j + 1.
        lags: in ascending order, from 0.
    """
    wanted, M = set(lags), torch.eye(blocks.shape[-1], dtype=blocks.dtype, device=blocks.device).expand_as(blocks[0])
    sigma = []
    for lag in range(lags[-1] + 1):
        if lag in wanted:
            sigma.append(torch.linalg.svdvals(M))
        M = M @ blocks[-1 - lag]  # the newest factor stands on the left
    return torch.stack(sigma)
