"""The released experiments that train networks, run as released and with their departures mended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from gatelr import training
from gatelr.cells import GatedRNN
from gatelr.experiments import departures, emulation, protocol, released
from gatelr.experiments.departures import ESTIMATED
from gatelr.experiments.effective_rates import GATES
from gatelr.experiments.emulation import ALPHA, DATA, PAIRS, PROBED
from gatelr.experiments.joint_anisotropy import CHECKPOINTS, LAGS
from gatelr.experiments.protocol import Records
from gatelr.experiments.released import AS_RELEASED
from gatelr.experiments.runs import Run

#: The released scripts that train networks.
SCRIPTS = ("effective rates", "anisotropy")


def plan(parameters: Mapping[str, Any]) -> list[Run]:
    """The runs of a chapter with these parameters.

    Args:
        parameters: ``seeds``, how many; ``slopes_until`` and ``anisotropy_until``, the last steps of the two scripts;
            and ``tasks_here``, those of the script for anisotropy. Networks are trained on fresh data for adding alone.
    """
    seeds = tuple(range(1, parameters["seeds"] + 1))
    steps = [step for step in PROBED if step <= parameters["slopes_until"]]
    settings: dict[str, Any] = {"script": SCRIPTS[0], "steps": steps[-1], "checkpoints": steps}
    runs = [Run("replication", "adding", gate, "SGD", seeds, settings, {"gate": gate}) for gate in GATES]
    steps = [step for step in CHECKPOINTS if step <= parameters["anisotropy_until"]]
    settings = {"script": SCRIPTS[1], "steps": steps[-1], "checkpoints": steps, "task_options": {"steps": 120}}
    trained = [(task, data) for task in parameters["tasks_here"] for data in DATA[: 2 if task == "adding" else 1]]
    for (task, data), (gate, optimiser) in product(trained, PAIRS.items()):
        labels = {"task": task, "data": data, "gate": gate}
        runs.append(Run("replication", task, gate, optimiser, seeds, settings | {"data": data}, labels))
    return runs


def measure(
    setup: protocol.Setup,
    *,
    script: str = SCRIPTS[0],
    data: str = DATA[0],
    n: int = 64,
    batch: int = 64,
    probed: int = 12,
    fresh: int = 512,
    lags: Sequence[int] = LAGS,
    pairs: int = 64,
    rows: int = 256,
    r: int = 10,
) -> training.Run:
    """Train as a released script does, and measure as it does and with its departures mended.

    Args:
        setup: one model of a script; networks are trained on a CPU, as those of the released runs were.
        script: one of :data:`SCRIPTS`.
        data: one of :data:`~gatelr.experiments.emulation.DATA`, for the script for anisotropy.
        n, batch: neurons, and sequences a step.
        probed: sequences of a fit.
        fresh: sequences for the loss, which training never sees.
        lags, pairs: of transports, and how many of each.
        rows: sequences whose gradients are taken.
        r: the singular value that the first is compared with, and how many make the top.

    Returns:
        The run. Probes of effective rates hold ``"slopes"``, and the last one ``"gate terms"``, ``"reversals"``,
        ``"shares"``, ``"fits"``, ``"stations"`` and ``"constant"``; those of anisotropy hold ``"losses"``, and at
        checkpoints ``"spectra"``, ``"first step"`` and ``"concentrations"``.
    """
    setup = replace(setup, device="cpu")
    if script == SCRIPTS[0]:
        return _effective_rates(setup, n=n, batch=batch, probed=probed, fresh=fresh)
    return _anisotropy(setup, data, n=n, fresh=fresh, rows=rows, batch=batch, r=r, pairs=pairs, lags=lags)


def _effective_rates(setup: protocol.Setup, *, n: int, batch: int, probed: int, fresh: int) -> training.Run:
    u = setup.draw(probed, protocol.PROBE).u

    def probe(step: int, model: GatedRNN) -> Records:
        networks = emulation.networks(setup, model, u)
        streams = dict(zip(networks, emulation.starts(setup, step, n=n, probed=probed), strict=True))
        S = departures.estimates(networks, streams, ESTIMATED if step == setup.steps else ESTIMATED[:1])
        records: Records = {"slopes": []}
        for (gate, seed), network in networks.items():
            fit = emulation.slope(network, S[gate, seed, ESTIMATED[0]], AS_RELEASED)
            records["slopes"].append({"seed": seed} | fit._asdict())
        if step == setup.steps:
            tables = {
                "gate terms": departures.gate_terms(networks, setup.task.steps // 2),
                "reversals": departures.reversals(networks, setup.task.steps - 1),
                "shares": departures.shares_of_norm(S),
                "fits": (defined := departures.fits_as_defined(networks)),
                "stations": departures.slopes(networks, S, defined),
                "constant": departures.beside_constant(networks, setup.task, fresh),
            }
            for name, table in tables.items():
                records[name] = [dict(zip(map(str, table), row, strict=True)) for row in table.itertuples(index=False)]
        return records

    return setup.train(setup.network(n, ALPHA), probe, batch=batch)


def _anisotropy(
    setup: protocol.Setup, data: str, *, n: int, fresh: int, rows: int, batch: int, **sizes: Any
) -> training.Run:
    task, seeds, checkpoints = (
        released.drawn_as_released(setup.task.name, setup.task.steps),
        setup.seeds,
        setup.checkpoints,
    )
    around = {step + late for step in checkpoints for late in (0, 1)} | {*range(0, setup.steps, 100)}
    setup = replace(setup, task=task, steps=setup.steps + 1, checkpoints=sorted(around))  # one more update, as released
    sizes |= {"batch": batch}
    held = {
        "the one batch": released.one_batch(task).draw(batch, training.generators(seeds)),
        "fresh data": setup.draw(fresh, protocol.FRESH),
    }

    def probe(step: int, model: GatedRNN) -> Records:
        losses = {name: protocol.losses(model, task, part) for name, part in held.items()}
        records: Records = {"losses": protocol.by_seed(seeds, losses), "spectra": []}
        for checkpoint, late in product(checkpoints if data == DATA[0] else checkpoints[-1:], (0, 1)):
            if checkpoint + late == step:
                records["spectra"] += departures.spectra(setup, model, data, checkpoint, late, rows=rows, **sizes)
        if step < 2 and data == DATA[0]:
            records["first step"] = departures.indices(setup, model, step, **sizes)
        if step == 0 and data == DATA[1]:
            records["concentrations"] = departures.concentrations(setup, model, **sizes)
        return records

    return emulation.train_for_anisotropy(setup, probe, data, n=n, batch=batch)
