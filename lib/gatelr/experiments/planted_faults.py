"""Networks of torch with one fault planted in each, from mild to strong: what a diagnosis should find.

Each fault draws its network's kind and size from its seed. Three strengths are what its number says: a bias, a share of
units, a factor. The fault is there by construction; nothing here reads a threshold of the diagnosis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatelr.experiments.healthy_networks import KINDS, SIZES, seeded
from gatelr.networks import remedies


@dataclass(frozen=True)
class Planted:
    """A network with a fault, and how it is diagnosed.

    Attributes:
        module: the network.
        u: its inputs.
        options: further arguments of :func:`~gatelr.networks.diagnosis.diagnose.diagnose`.
    """

    module: nn.Module
    u: Tensor
    options: dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        code: the finding that names it.
        meaning: what the strength is.
        strengths: mild, medium, strong.
        plant: makes a network with it, from a seed and a strength.
    """

    code: str
    meaning: str
    strengths: tuple[float, float, float]
    plant: Callable[[int, float], Planted]


class Readout(nn.Module):
    """A recurrent layer and a readout of its last state."""

    def __init__(self, layer: nn.RNNBase, time: int = 0) -> None:
        super().__init__()
        self.layer, self.readout, self.time = layer, nn.Linear(layer.hidden_size, 1), time

    def forward(self, u: Tensor) -> Tensor:
        """The readout of the last state."""
        return self.readout(self.layer(u)[0].select(self.time, -1))


def _source(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _pick(choices: Any, source: torch.Generator) -> Any:
    return list(choices)[int(torch.randint(len(choices), (), generator=source))]


def _layer(seed: int, source: torch.Generator, kinds: tuple[str, ...], layers: int = 1, **options: Any) -> nn.RNNBase:
    kind, n = _pick(kinds, source), _pick(SIZES, source)
    return seeded(seed, lambda: KINDS[kind](3, n, layers, **options))


def _noise(T: int, B: int, source: torch.Generator) -> Tensor:
    return torch.randn(T, B, 3, generator=source)


def short_memory(seed: int, time_constant: float) -> Planted:
    """All units forget much faster than the lag of 30 that matters."""
    source = _source(seed)
    layer = _layer(seed, source, ("GRU", "LSTM"))
    remedies.set_timescales(layer, (time_constant / 2, time_constant))
    return Planted(layer, _noise(40, 16, source), {"lag": 30})


def hidden_lag(seed: int, lag: float) -> Planted:
    """The same, where the lag is not given: it has to be found in what the untrained network gets wrong."""
    source = _source(seed)
    layer = _layer(seed, source, ("RNN", "GRU", "LSTM"))
    u = _noise(40, 64, source)
    model = seeded(seed, lambda: Readout(layer))
    return Planted(model, u, {"loss": F.mse_loss, "target": u[-1 - int(lag), :, :1]})


def saturated_gates(seed: int, share: float) -> Planted:
    """A gate stands at 0 or 1 in a share of the units."""
    source = _source(seed)
    layer = _layer(seed, source, ("GRU", "LSTM"))
    n, gates = layer.hidden_size, 3 if isinstance(layer, nn.GRU) else 4
    gate = _pick((0, 1) if gates == 3 else (0, 1, 3), source)
    sign = _pick((-8.0, 8.0), source)
    units = torch.randperm(n, generator=source)[: round(share * n)]
    with torch.no_grad():
        layer.get_parameter("bias_hh_l0")[gate * n + units] = sign
    return Planted(layer, _noise(30, 16, source), {})


def large_inputs(seed: int, scale: float) -> Planted:
    """Inputs of a scale at which tanh units stand at an end."""
    source = _source(seed)
    layer = _layer(seed, source, ("RNN",))
    return Planted(layer, scale * (1 + 0.1 * _noise(30, 16, source)), {})


def dead_units(seed: int, share: float) -> Planted:
    """A share of the units has no weights to read anything by."""
    source = _source(seed)
    layer = _layer(seed, source, ("RNN", "GRU", "LSTM"))
    n = layer.hidden_size
    units = torch.randperm(n, generator=source)[: max(1, round(share * n))]
    with torch.no_grad():
        for weight in layer.parameters():
            for block in weight.split(n):
                block[units] = 0.0
    return Planted(layer, _noise(30, 16, source), {})


def uneven_bias(seed: int, value: float) -> Planted:
    """The forget bias is set in one layer of two or three, in one of the two biases or in both together."""
    source = _source(seed)
    layer = _layer(seed, source, ("LSTM",), layers=_pick((2, 3), source))
    n, chosen = layer.hidden_size, int(torch.randint(layer.num_layers, (), generator=source))
    with torch.no_grad():
        if _pick((True, False), source):
            layer.get_parameter(f"bias_hh_l{chosen}")[n : 2 * n] = value
        else:
            layer.get_parameter(f"bias_ih_l{chosen}")[n : 2 * n] = value
            layer.get_parameter(f"bias_hh_l{chosen}")[n : 2 * n] = 0.0
    return Planted(layer, _noise(30, 16, source), {})


def doubled_bias(seed: int, value: float) -> Planted:
    """Both biases of every forget gate have the value that their sum was to have."""
    source = _source(seed)
    layer = _layer(seed, source, ("LSTM",), layers=_pick((1, 2), source))
    n = layer.hidden_size
    with torch.no_grad():
        for name, bias in layer.named_parameters():
            if "bias" in name:
                bias[n : 2 * n] = value
    return Planted(layer, _noise(30, 16, source), {})


def swapped_axes(seed: int, told: float) -> Planted:
    """batch_first was forgotten: 1 tells inputs alone, 2 a loss as well, 3 a model that returns one output a sample."""
    source = _source(seed)
    layer = _layer(seed, source, ("RNN", "GRU", "LSTM"))
    phase, period = 6.3 * torch.rand(40, 1, 3, generator=source), 8 + 8 * torch.rand(40, 1, 3, generator=source)
    u = torch.sin(6.3 * torch.arange(20).view(1, -1, 1) / period + phase)  # 40 samples of 20 steps
    target = u[:, -1, :1]
    if told == 1:
        return Planted(layer, u, {})
    model = seeded(seed, lambda: Readout(layer, time=1))
    if told == 2:
        return Planted(layer, u, {"loss": lambda states: F.mse_loss(model.readout(states[:, -1]), target)})
    return Planted(model, u, {"loss": F.mse_loss, "target": target})


def short_window(seed: int, window: float) -> Planted:
    """Time constants up to 60 steps, and a window of truncation that is shorter."""
    source = _source(seed)
    layer = _layer(seed, source, ("GRU", "LSTM"))
    remedies.set_timescales(layer, (20, 60))
    return Planted(layer, _noise(60, 16, source), {"window": int(window)})


def large_step(seed: int, ratio: float) -> Planted:
    """Adam's first step is as many times the weights' usual size as the strength says."""
    source = _source(seed)
    layer = _layer(seed, source, ("RNN", "GRU", "LSTM"))
    u = _noise(20, 32, source)
    model = seeded(seed, lambda: Readout(layer))
    usual = (3 * layer.hidden_size) ** -0.5  # root mean square of a uniform number within 1/√n
    return Planted(model, u, {"loss": F.mse_loss, "target": u[-3, :, :1], "optimizer": "adam", "lr": ratio * usual})


class OwnTimeConstants(nn.Module):
    """A leaky layer whose time constants are parameters, written so that a step too far leaves the numbers."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.layer, self.readout = nn.RNN(3, n), nn.Linear(n, 1)
        self.tau = nn.Parameter(torch.linspace(1.05, 4.0, n))

    def forward(self, u: Tensor) -> Tensor:
        """The readout of units that keep the layer's states, each as long as its time constant."""
        states, kept, x = self.layer(u)[0], (1 - 1 / self.tau).sqrt(), 0.0
        for state in states:
            x = kept * x + (1 - kept) * state
        return self.readout(x)


def runs_away(seed: int, lr: float) -> Planted:
    """A time constant that is a parameter falls below 1, where its root is no number: drawn anew where it does not."""
    source = _source(seed)
    while True:
        n, drawn = _pick(SIZES, source), int(torch.randint(2**31, (), generator=source))
        u = _noise(20, 32, source)
        trained, model = (seeded(drawn, lambda n=n: OwnTimeConstants(n)) for _ in range(2))  # type: ignore[misc]
        optimizer = torch.optim.Adam(trained.parameters(), lr=lr)
        for _ in range(60):
            optimizer.zero_grad()
            F.mse_loss(trained(u), u[-1, :, :1]).backward()
            optimizer.step()
        if not trained.tau.isfinite().all():
            return Planted(model, u, {"loss": F.mse_loss, "target": u[-1, :, :1], "optimizer": "adam", "lr": lr})


def tight_clip(seed: int, factor: float) -> Planted:
    """A clipping threshold below the gradient's norm by a factor."""
    source = _source(seed)
    layer = _layer(seed, source, ("RNN", "GRU", "LSTM"))
    u = _noise(20, 32, source)
    model = seeded(seed, lambda: Readout(layer))
    target = u[-3, :, :1]
    grads = torch.autograd.grad(F.mse_loss(model(u), target), list(model.parameters()))
    norm = float(torch.stack([g.square().sum() for g in grads]).sum().sqrt())
    return Planted(model, u, {"loss": F.mse_loss, "target": target, "clip": norm / factor})


def explosion(seed: int, gain: float) -> Planted:
    """Gaussian recurrent weights of a gain at which an RNN of many units is chaotic."""
    source = _source(seed)
    n = _pick((48, 64, 96), source)
    layer = seeded(seed, lambda: nn.RNN(3, n))
    with torch.no_grad():
        layer.get_parameter("weight_hh_l0").copy_(gain / n**0.5 * torch.randn(n, n, generator=source))
    return Planted(layer, 0.1 * _noise(80, 16, source), {})


def nothing_learned(seed: int, noise: float) -> Planted:
    """A readout that explains next to nothing: the target is noise, but for a part of it."""
    source = _source(seed)
    layer = _layer(seed, source, ("RNN", "GRU", "LSTM"))
    u = _noise(20, 256, source)
    model = seeded(seed, lambda: Readout(layer))
    told = (1 - noise**2) ** 0.5
    with torch.no_grad():
        raw = model(u)
        said = (raw - raw.mean()) / raw.std(correction=0)
        drawn = torch.randn(said.shape, generator=source)
        drawn = drawn - drawn.mean() - said * (said * drawn).mean()  # uncorrelated with what the network says
        target = told * said + noise * drawn / drawn.std(correction=0)
        # the readout says the best multiple, so that the loss is noise² of the best constant's
        model.readout.weight.mul_(told / raw.std(correction=0))
        model.readout.bias.sub_(raw.mean()).mul_(told / raw.std(correction=0))
    return Planted(model, u, {"loss": F.mse_loss, "target": target})


#: All faults, by name.
FAULTS = {
    "short memory": Fault("memory-short", "time constant, for a lag of 30", (9.0, 5.0, 2.0), short_memory),
    "hidden lag": Fault("memory-short", "lag that matters", (15.0, 20.0, 30.0), hidden_lag),
    "saturated gates": Fault("gates-saturated", "share of units", (0.4, 0.7, 1.0), saturated_gates),
    "large inputs": Fault("units-saturated", "scale of the inputs", (20.0, 50.0, 200.0), large_inputs),
    "dead units": Fault("units-dead", "share of units", (0.125, 0.25, 0.5), dead_units),
    "uneven bias": Fault("forget-bias-uneven", "bias", (0.75, 1.0, 2.0), uneven_bias),
    "doubled bias": Fault("forget-bias-doubled", "bias", (0.8, 1.0, 2.0), doubled_bias),
    "swapped axes": Fault("axes-swapped", "1 inputs alone, 2 a loss, 3 a model", (1.0, 2.0, 3.0), swapped_axes),
    "short window": Fault("window-short", "window", (30.0, 20.0, 8.0), short_window),
    "large step": Fault("step-large", "step beside the usual weight", (1.0, 3.0, 10.0), large_step),
    "runs away": Fault("runs-to-nan", "learning rate", (0.01, 0.03, 0.1), runs_away),
    "tight clip": Fault("clip-always", "norm beside the threshold", (20.0, 100.0, 1000.0), tight_clip),
    "explosion": Fault("exploding-and-vanishing", "gain", (2.5, 3.5, 5.0), explosion),
    "nothing learned": Fault("loss-not-better", "share of noise in the target", (0.97, 0.985, 1.0), nothing_learned),
}
