"""Layers of torch side by side are the layers that they would be alone."""

import pytest
import torch
from gatelr import tasks, training
from gatelr.experiments.stacked_layers import KINDS, StackedLayers

SEEDS = (3, 5)
kinds = pytest.mark.parametrize("kind", KINDS)


def stacked(kind: str, seeds: tuple[int, ...] = SEEDS) -> StackedLayers:
    return StackedLayers(kind, 4, 6, 1, training.generators(seeds))


def trained(kind: str, seeds: tuple[int, ...]) -> tuple[StackedLayers, training.Run]:
    model, task = stacked(kind, seeds), tasks.get("adding", steps=6)
    engine = torch.optim.Adam(model.parameters(), lr=0.01)
    return model, training.train(model, task, engine, 8, training.generators(seeds, 123), batch=8, progress=False)


@kinds
def test_a_replica_says_what_the_layer_and_the_readout_say(kind: str) -> None:
    model = stacked(kind).double()
    u = torch.randn(7, 2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    out = model(u)
    assert out.shape == (2, 3, 1)
    for s in range(2):
        layer, readout = model.replica(s)
        assert type(layer) is KINDS[kind]
        torch.testing.assert_close(readout(layer(u[:, s])[0][-1]), out[s], rtol=1e-12, atol=1e-12)


@kinds
def test_a_replica_is_a_copy(kind: str) -> None:
    model = stacked(kind)
    layer, _ = model.replica(0)
    for weight in layer.parameters():
        weight.zero_()
    assert (model.W_r[0] != 0).all()


@kinds
def test_training_side_by_side_is_training_alone(kind: str) -> None:
    together, run = trained(kind, SEEDS)
    assert run.alive.all()
    for s, seed in enumerate(SEEDS):
        alone, lone = trained(kind, (seed,))
        torch.testing.assert_close(run.losses[:, s], lone.losses[:, 0])
        for weight, other in zip(together.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(weight[s], other[0])
        assert not torch.equal(stacked(kind).W_r[s], together.W_r[s])


def test_weights_are_drawn_as_torch_draws_them_and_from_their_own_generator() -> None:
    state = torch.get_rng_state()
    model = StackedLayers("GRU", 4, 25, 2, training.generators(SEEDS))
    assert torch.equal(torch.get_rng_state(), state)
    for weight in model.parameters():
        assert weight.abs().max() <= 0.2  # 1 over the root of 25
    assert model.W_r.shape == (2, 75, 25)
    assert float(model.W_r.detach().std()) == pytest.approx(0.2 / 3**0.5, rel=0.05)
    assert not torch.equal(model.W_r[0], model.W_r[1])


def test_bad_input_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="got kind='MGU', expected one of 'RNN', 'GRU', 'LSTM'"):
        StackedLayers("MGU", 1, 2, 1, training.generators(SEEDS))
    with pytest.raises(ValueError, match=r"got no generator, expected a torch\.Generator for each replica"):
        StackedLayers("GRU", 1, 2, 1, [])
    with pytest.raises(ValueError, match="got backward='order 0', expected 'full'"):
        stacked("GRU")(torch.zeros(3, 2, 1, 4), backward="order 0")
