"""The measurements of the expansion, in small networks and beside plain library calls."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch
from gatelr import expansion, jacobian, transport
from gatelr.cells import GatedRNN
from gatelr.experiments import expansions
from networks import relative

SMALL = {"n": 5, "m": 2, "T": 8}


def test_words_are_sorted_by_their_letters_b() -> None:
    """C3: order r of lag ℓ has ℓ over r words."""
    letters = expansions.words(4)
    assert letters.groupby("order").row.nunique().tolist() == [1, 4, 6, 4, 1]
    word = letters[(letters.order == 1) & (letters.row == 0)]
    assert word.label.tolist() == ["$A_{4}$", "$A_{3}$", "$A_{2}$", "$B_{1}$"]
    assert word.is_B.tolist() == [False, False, False, True]


def test_crossing_weights_are_order_one_for_couplings_of_one() -> None:
    """C6: with all entries of B equal to one, order 1 is ℓ times the mean weight."""
    kept = torch.rand(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kept = kept[:, kept.prod(0).argsort(descending=True)]
    M = expansion.orders(torch.diag_embed(kept), torch.ones(5, 3, 3, dtype=torch.float64), 1)
    assert relative(5 * expansions.crossing_weights(kept), M[1]) <= 1e-12
    assert relative(expansions.crossing_weights(kept.flip(1)), M[1] / 5) <= 1e-12


@pytest.mark.slow
def test_trials_of_the_bound() -> None:
    trials = expansions.bound_trials(torch.Generator().manual_seed(0), draws=2)
    assert len(trials) == 2 * 3 * 4 * 4 * 5
    assert (trials.norm <= trials.bound * (1 + 1e-12)).all()
    numbers = trials[(trials["size"] == 1) & (trials.lag == 8) & (trials.K == 0)]
    assert (numbers.norm > 0.99 * numbers.bound).any(), "positive numbers attain it"


def test_norms_of_orders_are_relative_to_the_product() -> None:
    A, B = torch.randn(2, 6, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    norms = expansions.order_norms(A, B, lags=(1, 3), starts=(2,))
    M = expansion.orders(A[2:5], B[2:5], 3)
    share = torch.linalg.matrix_norm(M[1], 2) / torch.linalg.matrix_norm(M.sum(0), 2)
    row = norms[(norms.lag == 3) & (norms.order == 1)]["relative norm"].item()
    assert abs(row / float(share.median()) - 1) <= 1e-5
    assert norms[(norms.lag == 1) & (norms.order > 1)]["relative norm"].eq(0).all(), "one letter has one B at most"


def test_an_untrained_network_is_the_same_whatever_the_count() -> None:
    for gate in ("constant", "multi"):
        (two, u, run), (one, v, _) = (expansions.untrained(gate, 0.5, count, **SMALL) for count in (2, 1))
        assert torch.equal(two.W_r[0], one.W_r[0])
        assert torch.equal(u[:, 0], v[:, 0])
        assert run.x.shape == (8, 2, 5)
        assert two.W_r.dtype == torch.float64
        later, w, _ = expansions.untrained(gate, 0.5, 1, first=1, **SMALL)
        assert torch.equal(two.W_r[1], later.W_r[0])
        assert torch.equal(u[:, 1], w[:, 0])


def factors(splitting: str) -> tuple[torch.Tensor, torch.Tensor]:
    model, _, run = expansions.untrained("multi", 0.5, 2, **SMALL)
    return expansion.split(jacobian.terms(model, run), splitting)


def test_diagonal_factors_are_kept_as_vectors() -> None:
    leak, gates_given = factors("leak")[0], factors("gate")[0]
    assert torch.equal(expansions.lean(leak), leak.diagonal(dim1=-2, dim2=-1))
    assert expansions.lean(gates_given) is gates_given
    for A in (leak, gates_given):
        assert relative(expansions.step_norms(A), torch.linalg.matrix_norm(A, 2)) <= 1e-5


def test_ratios_of_all_steps_and_their_quantiles() -> None:
    A, B = factors("gate")
    table = expansions.ratios({("gate", "multi"): (A, B), ("leak", "multi"): factors("leak")})
    assert len(table) == 2 * 8 * 2
    own = table[(table.splitting == "gate") & (table.network == 1)].ratio
    norms = torch.linalg.matrix_norm(B[:, 1], 2) / torch.linalg.matrix_norm(A[:, 1], 2)
    assert relative(torch.tensor(own.to_numpy()), norms) <= 1e-5
    assert table.groupby("splitting").fraction.max().eq(1).all()
    quantiles = expansions.ratio_quantiles(table)
    assert quantiles.loc[("gate", "multi"), "largest"] == table[table.splitting == "gate"].ratio.max()


def test_a_network_far_from_the_others_would_be_dropped() -> None:
    case = {"splitting": "gate", "gate": "multi"}
    rows = [case | {"network": k, "ratio": 10.0 if k == 5 else 1 + k / 10} for k in range(6)]
    assert expansions.ratio_quantiles(pd.DataFrame(rows)).iloc[0, -1] == 1


def test_errors_vanish_once_the_orders_reach_the_lag() -> None:
    A, B = factors("leak")
    truth = {lag: transport.products((A + B)[:lag], lag)[0] for lag in (2, 4)}
    errors = expansions.errors(A, B, truth, 3)
    assert len(errors) == 2 * 4 * 2
    assert (errors[errors.lag <= errors.K].error <= 1e-12).all()
    missed = expansions.size(truth[4] - expansion.orders(A[:4], B[:4], 1).sum(0)) / expansions.size(truth[4])
    rows = errors[(errors.lag == 4) & (errors.K == 1)].sort_values("network")
    assert relative(torch.tensor(rows.error.to_numpy()), missed) <= 1e-12
    M = expansion.orders(A[:4], B[:4], 1)
    added = expansions.size(M[1]) / expansions.size(M[0])
    assert relative(torch.tensor(rows.added.to_numpy()), added) <= 1e-12
    assert (errors[errors.K == 0].added == 1).all()


def test_the_rule_is_exact_for_small_numbers() -> None:
    """C4: factors 1 + r with ℓ r held fixed, for which order 1 is ℓ r times order 0."""
    A, B = torch.ones(1000, 1, 1, 1, dtype=torch.float64), torch.full((1000, 1, 1, 1), 2e-3, dtype=torch.float64)
    row = expansions.errors(A, B, {1000: transport.products(A + B, 1000)[0]}, 1).query("K == 1").iloc[0]
    assert abs(row.added - 2) <= 1e-12
    predicted = expansions.rule(pd.Series([row.added, 1e-3]))
    assert abs(predicted[0] - row.error) <= 2e-3
    assert abs(predicted[1] / (1e-6 / 2) - 1) <= 1e-3, "it begins as x²/2"


def test_one_backward_pass_with_copies_and_jacrev_agree() -> None:
    for gate in ("constant", "scalar", "multi"):
        model, u, run = expansions.untrained(gate, 0.5, 2, **SMALL)

        def last(x: torch.Tensor, model: GatedRNN = model, u: torch.Tensor = u) -> torch.Tensor:
            return model.run(u[4:6], x).x[-1].sum(0)  # networks do not feel each other

        rows = torch.func.jacrev(last)(run.x[3])
        by_copies = expansions.by_autograd(model, u[4:6], run.x[3], copies=2)
        assert relative(by_copies, rows.movedim(0, -2)) <= 1e-12


def test_bounds_hold() -> None:
    A, B = factors("gate")
    bounds = expansions.bounds(A, B, (2, 5), 2)
    assert len(bounds) == 2 * (2 + 3)
    assert (bounds.remainder <= bounds.bound * (1 + 1e-9)).all()


def test_the_map_has_a_row_a_case_scale_and_lag() -> None:
    cells = expansions.error_map([0.1, 0.5], [1, 3], 2, 2, [("gate", "multi"), ("leak", "constant")], **SMALL)
    assert len(cells) == 2 * 2 * 2
    assert (cells[cells.lag == 1].error <= 1e-12).all(), "order 1 of one step is exact"
    assert (cells[cells.lag == 3].error > 0).all()
    assert (cells.typical < cells.ratio).all(), "a typical push is stretched less than the worst one"
    assert (cells.added > 0).all()


def test_the_three_readings_of_the_rule_are_one_for_numbers() -> None:
    cells = pd.DataFrame({"lag": [2, 5], "ratio": [0.1, 0.2], "typical": [0.1, 0.2], "added": [0.2, 1.0]})
    table = expansions.predictions(cells).pivot(index="lag", columns="reading", values="predicted")
    assert table.shape == (2, 3)
    assert (table.std(axis=1) <= 1e-15).all()
    assert abs(table.loc[5, "worst case"] - (1 - 2 / math.e)) <= 1e-15


def test_shares_of_cells_within_a_factor_count_useful_cells_only() -> None:
    cells = pd.DataFrame({"error": [0.1, 0.1, 0.9], "predicted": [0.2, 0.5, 0.9]})
    shares = expansions.within(cells.assign(reading="r", splitting="leak"), 3.0)
    assert shares.loc["r", "leak"] == 0.5
