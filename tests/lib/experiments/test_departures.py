"""Each departure's measure against its definition, on networks that are small."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from gatelr import anisotropy, jacobian, tasks, transport
from gatelr.experiments import departures, emulation, joint_anisotropy, protocol, released
from networks import relative

KEYS = list(product(("constant", "scalar", "multi"), (1, 2)))
SIZES: dict[str, Any] = {"batch": 8, "pairs": 4, "lags": (1, 2)}


@pytest.fixture(scope="module")
def networks() -> emulation.Networks:
    return emulation.effective_rate_runs((1, 2), (0,), length=8, n=5, probed=3)[1]


def streams() -> dict[tuple[str, int], torch.Generator]:
    return {key: torch.Generator().manual_seed(key[1]) for key in KEYS}


def setup(gate: str = "multi", name: str = "delay_sum") -> protocol.Setup:
    return protocol.Setup(released.drawn_as_released(name, 40), gate, emulation.PAIRS[gate], (1, 2), 1, (0, 1))


def test_the_released_gate_term_is_smaller_by_what_is_kept(networks: emulation.Networks) -> None:
    terms = departures.gate_terms(networks, 3)
    assert list(zip(terms.gate, terms.seed, strict=True)) == KEYS[2:]
    assert terms.deviation.max() <= 1e-12
    assert ((terms.halved > 0) & (terms.halved < 1) & (terms.error > 1e-3)).all()


def test_reversals_compare_the_other_order_with_the_transport(networks: emulation.Networks) -> None:
    apart = departures.reversals(networks, 3).query("gate == 'multi' and seed == 2").reset_index()
    model, _, run = networks["multi", 2].in_float64()
    J = jacobian.blocks(model, run)[:, 1]
    M, R = J[3] @ J[2] @ J[1], J[1] @ J[2] @ J[3]
    assert apart.matrix[1] == pytest.approx(float((R - M).norm() / M.norm()))
    norms = [torch.linalg.matrix_norm(part, 2) for part in (R, M)]
    assert apart.norm[1] == pytest.approx(float((norms[0] / norms[1] - 1).abs()))


def test_a_radius_is_no_more_than_the_norm(networks: emulation.Networks) -> None:
    S = departures.estimates(networks, streams())
    shares = departures.shares_of_norm(S)
    assert len(shares) == len(KEYS) * 7
    assert (shares.lowest <= shares["share"]).all()
    assert shares["share"].max() <= 1 + 1e-5
    defined = transport.sensitivities(jacobian.blocks(*networks["scalar", 1][::2]))
    assert relative(S["scalar", 1, "norm"][5, 2], defined[6, 3]) <= 1e-4


def test_every_station_begins_where_the_streams_are(networks: emulation.Networks) -> None:
    S = departures.estimates(networks, streams())
    for station in departures.ESTIMATED:
        stream = torch.Generator().manual_seed(2)
        expected = emulation.sensitivities(networks["multi", 2], stream, departures.STATIONS[station])
        assert torch.equal(S["multi", 2, station], expected)
    first = departures.estimates(networks, streams(), departures.ESTIMATED[:1])
    assert len(first) == len(KEYS)


def test_the_last_stations_are_the_definition(networks: emulation.Networks) -> None:
    S, defined = departures.estimates(networks, streams()), departures.fits_as_defined(networks)
    slopes = departures.slopes(networks, S, defined)
    assert list(slopes.stage.unique()) == [*departures.STATIONS, departures.PREDICTOR_FIRST, "as defined"]
    at = slopes.set_index(["gate", "seed", "stage"]).slope
    network, expected = networks["multi", 1], {}
    expected["as released"] = S["multi", 1, "as released"], released.AS_RELEASED
    expected["no trimming"] = S["multi", 1, "norm"], released.AS_DEFINED
    mended = released.AS_RELEASED.without("state_after", "reversed_order", "gate_product")
    expected[departures.PREDICTOR_FIRST] = S["multi", 1, "order"], mended
    for station, (estimate, on) in expected.items():
        assert at["multi", 1, station] == emulation.slope(network, estimate, on).slope
    fit = defined.query("gate == 'multi' and seed == 1 and predictor == 'order 0'").iloc[0]
    assert at["multi", 1, "as defined"] == fit.slope


def test_the_constant_is_judged_on_the_same_sequences() -> None:
    task = tasks.get("adding")
    networks = emulation.effective_rate_runs((1, 2), (0,), n=2, probed=1)[1]
    rows = departures.beside_constant(networks, task, 16).set_index(["gate", "seed"])
    assert rows.loss["scalar", 1] == rows.loss["multi", 1] != rows.loss["multi", 2]
    unseen = task.draw(16, torch.Generator().manual_seed(2 + 555))
    loss = float(((networks["multi", 2].model(unseen.u) - unseen.target) ** 2).mean())
    assert rows.ratio["multi", 2] == pytest.approx(rows.loss["multi", 2] / loss, rel=1e-4)


def test_concentration_is_larger_among_fewer_values() -> None:
    model = setup().network(20)
    rows = departures.concentrations(setup(), model, r=3, **SIZES)
    sigma = emulation.spectra(model.replica(1), 2, 0, task=setup().task, **SIZES)[1]
    assert rows[1]["seed"] == 2
    assert rows[1]["all"] == pytest.approx(float(np.median(anisotropy.energy_concentration(sigma, 3))))
    assert rows[1]["sixteen"] > rows[1]["all"]


def test_spectra_of_a_probe_are_those_of_its_stations() -> None:
    model, stations = setup().network(20), departures.ANISOTROPY_STATIONS.items()
    rows = departures.spectra(setup(), model, "fresh", 400, 0, rows=12, r=3, **SIZES)
    of_the_probe = [name for name, (*probed, _) in stations if probed == ["fresh", 0]]
    assert [row["stage"] for row in rows] == [name for name in of_the_probe for _ in (1, 2)]
    first, last = rows[1], rows[-1]
    assert (last["seed"], last["checkpoint"]) == (2, 400)
    AI = anisotropy.anisotropy_index(emulation.spectra(model.replica(1), 2, 400, task=setup().task, **SIZES)[2], 3)
    assert last["AI @2"] == pytest.approx(float(AI.sort().values[1:3].mean()))  # the middle two of four
    assert first["CE @2"] >= last["CE @2"]
    assert departures.spectra(setup(), model, "one batch", 400, 0, rows=12, r=3, **SIZES) == []


def test_gradients_are_those_of_the_sequences_of_the_script() -> None:
    rows = departures.spectra(setup(), setup().network(20), "fresh", 400, 0, rows=12, r=3, **SIZES)
    draws = [setup().task.draw(8, torch.Generator().manual_seed(2 + 100_000 + 400 + 2000 + done)) for done in (0, 8)]
    u, target = torch.cat([d.u for d in draws], 1)[:, :12], torch.cat([d.target for d in draws])[:12]
    batch = tasks.Batch(u.unsqueeze(1).double(), target.unsqueeze(0).double())
    alone = protocol.network(setup().task, "multi", (2,), 20)
    AI = anisotropy.anisotropy_index(joint_anisotropy.update(alone, setup().task, batch)[0], 3)
    assert rows[-1]["update AI"] == rows[1]["update AI"] == pytest.approx(float(AI))


def test_indices_are_as_defined() -> None:
    model = setup().network(20)
    rows = departures.indices(setup(), model, 0, r=3, **SIZES)
    assert [(row["seed"], row["lag"]) for row in rows] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    sigma = emulation.spectra(model.replica(0), 1, 0, task=setup().task, **SIZES)[2]
    assert rows[1]["AI"] == pytest.approx(float(np.median(anisotropy.anisotropy_index(sigma, 3))))
