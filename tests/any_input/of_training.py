"""Training."""

from __future__ import annotations

from typing import Any

import torch
from gatelr import training
from gatelr.cells import GatedRNN
from networks import Case
from torch import Tensor

from any_input.of_tasks import ADDING
from any_input.strange import (
    CHOICE,
    GENERATOR,
    NONE,
    WHOLE,
    WHOLES,
    Strange,
)
from any_input.subjects import Subject, close, subject


@subject
def training_generators(case: Case, place: int) -> Subject:
    seeds = [
        *WHOLES,
        Strange("a large one", "judged", lambda v, i: [2**64]),
        Strange("a large negative one", "judged", lambda v, i: [-(2**63) - 1]),
    ]

    def judge(made: list[torch.Generator], given: dict[str, Any]) -> None:
        sums = [seed + given["offset"] for seed in given["seeds"]]
        assert [each.initial_seed() for each in made] == [total % 2**64 for total in sums]

    given = {"seeds": [0, place], "offset": 3}
    return Subject(training.generators, given, {"seeds": seeds, "offset": WHOLE}, judge)


@subject
def training_train(case: Case, place: int) -> Subject:
    model = GatedRNN(4, 2, "multi", replicas=2, generator=training.generators([0, 1]))
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    nothing = [
        way for way in (*CHOICE, NONE) if way.fate == "refused" and way.what not in ("in capitals", "a list of it")
    ]
    callables = [way for way in nothing if way.what not in ("a class", "None")]
    given = {
        "model": model,
        "task": ADDING,
        "optimiser": optimiser,
        "steps": 3,
        "generators": training.generators([5, 6]),
        "batch": 2,
        "schedule": None,
        "backward": "full",
        "probe": None,
        "checkpoints": [0, 3],
        "save": None,
        "save_every": 2,
        "companions": None,
        "progress": False,
    }
    strange = {
        "model": nothing,
        "task": nothing,
        "optimiser": nothing,
        "steps": WHOLE,
        "generators": [*GENERATOR, NONE],
        "batch": WHOLE,
        "backward": CHOICE,
        "probe": callables,
        "checkpoints": WHOLES,
        "save_every": WHOLE,
        "schedule": [way for way in nothing if way is not NONE],
        "save": [w for w in nothing if w.what not in ("None", "a word", "empty")],
        "companions": [w for w in nothing if w is not NONE],
    }

    def judge(run: training.Run, arguments: dict[str, Any]) -> None:
        steps = arguments["steps"]
        assert run.losses.shape == (steps, 2)
        assert all(0 <= step <= steps for step in arguments["checkpoints"])
        sources, weights = training.generators([5, 6]), {name: w.clone() for name, w in before.items()}
        for step in range(steps):
            batches = [ADDING.draw(arguments["batch"], source) for source in sources]
            leaves = {name: w.clone().requires_grad_() for name, w in weights.items()}
            losses = []
            for s, (u, target) in enumerate(batches):
                alone = GatedRNN(4, 2, "multi")
                x = torch.func.functional_call(_Run(alone), {f"net.{n}": w[s] for n, w in leaves.items()}, (u,))
                losses.append(((x @ leaves["W_o"][s].T - target) ** 2).mean())
            close(run.losses[step], torch.stack(losses))
            grads = torch.autograd.grad(sum(losses), list(leaves.values()))
            weights = {name: w - 0.1 * g for (name, w), g in zip(weights.items(), grads, strict=True)}
        close(dict(model.named_parameters()), weights)

    return Subject(training.train, given, strange, judge)


class _Run(torch.nn.Module):
    """The last state, as a module that functional_call can take."""

    def __init__(self, net: GatedRNN):
        super().__init__()
        self.net = net

    def forward(self, u: Tensor) -> Tensor:
        return self.net.run(u).x[-1]
