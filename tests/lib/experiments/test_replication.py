"""Each departure's measure against its definition, on networks that are small, and tables made by hand."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from gatelr import anisotropy, jacobian, tasks, transport
from gatelr.experiments import emulation, released, replication
from networks import relative

KEYS = list(product(("constant", "scalar", "multi"), (1, 2)))


@pytest.fixture(scope="module")
def networks() -> emulation.Networks:
    return emulation.effective_rate_runs((1, 2), (0,), length=8, n=5, probed=3)[1]


@pytest.fixture(scope="module")
def snapshots() -> emulation.Snapshots:
    return emulation.anisotropy_runs((1,), (0,))[1]


def test_the_released_gate_term_is_smaller_by_what_is_kept(networks: emulation.Networks) -> None:
    terms = replication.gate_terms(networks, step=3)
    assert list(zip(terms.gate, terms.seed, strict=True)) == KEYS[2:]
    assert terms.deviation.max() <= 1e-12
    assert ((terms.halved > 0) & (terms.halved < 1) & (terms.error > 1e-3)).all()


def test_reversals_compare_the_other_order_with_the_transport(networks: emulation.Networks) -> None:
    apart = replication.reversals(networks, 3).query("gate == 'multi' and seed == 2").reset_index()
    model, _, run = networks["multi", 2].in_float64()
    J = jacobian.blocks(model, run)[:, 1]
    M, R = J[3] @ J[2] @ J[1], J[1] @ J[2] @ J[3]
    assert apart.matrix[1] == pytest.approx(float((R - M).norm() / M.norm()))
    norms = [torch.linalg.matrix_norm(part, 2) for part in (R, M)]
    assert apart.norm[1] == pytest.approx(float((norms[0] / norms[1] - 1).abs()))


def test_a_radius_is_no_more_than_the_norm(networks: emulation.Networks) -> None:
    S = replication.estimates(networks)
    shares = replication.shares_of_norm(S)
    assert len(shares) == len(KEYS) * 7
    assert (shares.lowest <= shares["share"]).all()
    assert shares["share"].max() <= 1 + 1e-5
    defined = transport.sensitivities(jacobian.blocks(*networks["scalar", 1][::2]))
    assert relative(S["scalar", 1, "norm"][5, 2], defined[6, 3]) <= 1e-4


def test_the_last_stations_are_the_definition(networks: emulation.Networks) -> None:
    S, defined = replication.estimates(networks), replication.fits_as_defined(networks)
    slopes = replication.slopes(networks, S, defined)
    assert list(slopes.stage.unique()) == [*replication.STATIONS, "as defined"]
    at = slopes.set_index(["gate", "seed", "stage"]).slope
    network = networks["multi", 1]
    assert (
        at["multi", 1, "as released"] == emulation.slope(network, S["multi", 1, "as released"], released.AS_RELEASED)[0]
    )
    assert at["multi", 1, "no trimming"] == emulation.slope(network, S["multi", 1, "norm"], released.AS_DEFINED)[0]
    fit = defined.query("gate == 'multi' and seed == 1 and predictor == 'order 0'").iloc[0]
    assert at["multi", 1, "as defined"] == fit.slope


def test_the_constant_is_judged_on_the_same_sequences() -> None:
    networks = emulation.effective_rate_runs((1, 2), (0,), length=80, n=2, probed=1)[1]
    rows = replication.beside_constant(networks, 16).set_index(["gate", "seed"])
    assert rows.loss["scalar", 1] == rows.loss["multi", 1] != rows.loss["multi", 2]
    unseen = tasks.get("adding").draw(16, torch.Generator().manual_seed(2 + 555))
    loss = float(((networks["multi", 2].model(unseen.u) - unseen.target) ** 2).mean())
    assert rows.ratio["multi", 2] == pytest.approx(rows.loss["multi", 2] / loss, rel=1e-4)


def test_concentration_is_larger_among_fewer_values(snapshots: emulation.Snapshots) -> None:
    CE = replication.concentrations(snapshots, (1,))
    assert (CE.sixteen > CE["all"]).all()
    sigma = emulation.spectra(snapshots["fresh", "multi", 0].replica(0), 1, 0, lags=(1,))[1]
    assert CE["all"].iloc[-1] == float(anisotropy.energy_concentration(sigma, 10).median())


def test_anisotropy_at_the_first_and_the_last_station(snapshots: emulation.Snapshots) -> None:
    moved = replication.first_step(snapshots, (1,), lags=(1, 2))
    assert (moved != 0).all()
    stations = replication.anisotropies(snapshots, (1,), 0, lags=(1, 2), rows=64).set_index(["gate", "stage"])
    before, after = (
        emulation.spectra(snapshots["one batch", "multi", step].replica(0), 1, step, lags=(2,))[2] for step in (0, 1)
    )
    AI = [float(anisotropy.anisotropy_index(sigma, 10).median()) for sigma in (before, after)]
    assert moved["multi", 1, 2] == pytest.approx(AI[1] / AI[0] - 1)
    at = stations.loc["multi"]
    assert at["AI @2"]["float64, all values"] == pytest.approx(AI[0])  # before any update all networks are the same
    assert at["CE @2"]["as released"] > at["CE @2"]["float64, all values"]
    assert at["update AI"]["order"] == at["update AI"]["float64, all values"]


def test_ratios_of_kept_networks_of_all_and_as_defined() -> None:
    rows = replication.ratios(3).set_index(["gate", "stage"])
    assert rows.networks["multi", "all seeds"] == 3 >= rows.networks["multi", "as released"]
    expected = torch.cat([released.ratios(*released.appendix("multi", seed)) for seed in range(3)]).median()
    assert rows["median"]["multi", "all seeds"] == float(expected)
    assert (rows["median"][:, "state before the update"] > rows["median"][:, "all seeds"]).all()


def test_any_correction_has_a_slope_of_two() -> None:
    rows = replication.truncation_slopes()
    assert set(rows.corrections) == {"true", "shuffled", "random"}
    assert rows.slope.to_numpy() == pytest.approx(2, abs=0.02)


def by_hand() -> tuple[pd.DataFrame, ...]:
    """Two seeds at both ends of every line."""
    two = product(("as released", "as defined"), ("constant", "scalar", "multi"), (1, 2))
    slopes = pd.DataFrame([{"stage": a, "gate": g, "seed": s, "slope": float(s)} for a, g, s in two])
    two = product(("as released", "float64, all values"), emulation.PAIRS, (1, 2))
    measures = ("AI @40", "CE @1", "update AI", "update CE")
    anisotropies = pd.DataFrame(
        [{"stage": a, "gate": g, "seed": s} | dict.fromkeys(measures, 100.0**s) for a, g, s in two]
    )
    two = product(("as released", "state before the update"), ("scalar", "multi"))
    return slopes, anisotropies, pd.DataFrame([{"stage": a, "gate": g, "median": 0.5} for a, g in two])


def test_both_ends_are_means_over_seeds_and_of_ai_geometric_ones() -> None:
    ends = replication.ends(*by_hand()).set_index(["quantity", "gate"])
    assert len(ends) == 3 + 4 * 3 + 2
    assert ends.defined["pooled slope", "multi"] == 1.5
    assert ends.released["AI at lag 40", "none"] == pytest.approx(1000)
    assert ends.released["CE at lag 1", "none"] == pytest.approx(5050)
    assert ends.optimiser["update AI", "none"] == " under Adam"


def test_the_waterfall_has_every_quantity_at_every_station() -> None:
    rows = replication.waterfall(*by_hand())
    assert list(rows) == ["stage", "seed", "value", "gate", "quantity"]
    assert len(rows) == 2 * 3 * 2 + 3 * 2 * 3 * 2 + 2 * 2
    assert not rows.value.isna().any()


def test_what_is_set_beside_the_released_run_is_seed_one() -> None:
    _, anisotropies, _ = by_hand()
    lags = {"AI @1": 3.0, "AI @12": 3.0, "CE @12": 3.0}
    theirs = pd.DataFrame([{"gate": "none", "step": 400, "quantity": "CE @1", "value": 80.0}])
    both = replication.beside_released(anisotropies.assign(**lags), theirs, 400)
    assert both.to_dict("records") == [
        {"gate": "none", "quantity": "CE @1", "emulated": 100.0, "released": 80.0, "off": 0.25}
    ]
    assert replication.beside_released(anisotropies.assign(**lags), theirs, 0).empty


def test_departures_are_numbered_and_filled_in() -> None:
    names = {name for text in replication.DEPARTURES.values() for name in re.findall(r"{([a-z0-9-]+)", text)}
    numbers = {name: {"value": np.float64(0.12345), "text": "some"} for name in names}
    rows = replication.departures(numbers)
    assert list(rows["#"]) == list(range(1, 13))
    assert "median 0.123, with all seeds 0.123" in rows["measured here"][9]
    assert not rows["measured here"].str.contains("{", regex=False).any()
    with pytest.raises(KeyError, match="order-norms"):
        replication.departures({name: number for name, number in numbers.items() if name != "order-norms"})
