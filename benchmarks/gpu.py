"""What ``make gpu`` does on a machine with a CUDA device: the tests, then the training step beside its peers.

Peers are plain autograd, cuDNN's GRU (``torch.nn.GRU`` on CUDA, which is another model) and, where it is installed,
FlashRNN's. Then one task of the second protocol. Made to take less than eight minutes: every row has its budget.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from gatelr import files
from gatelr.cells import GatedRNN
from torch import Tensor

from . import contests, ours, protocols, record
from .peers import Step, autograd, gru
from .timing import Effort, ratios, rotate, summary

#: The sizes of the paper's second experiment, with one network and with twenty; FlashRNN has one network at a time.
REPLICAS = (None, 20)
EFFORT = Effort(rounds=15, budget=4.0)
#: Seconds after which the tests are given up.
TESTS_AT_MOST = 180


def flashrnn(model: GatedRNN, u: Tensor, target: Tensor, lr: float) -> Step:
    """One step of SGD with FlashRNN's GRU kernel, whose inputs come multiplied: three gates of four read them.

    Raises:
        ModuleNotFoundError: where the package is not installed, or if the model has replicas.
    """
    if importlib.util.find_spec("flashrnn") is None:
        raise ModuleNotFoundError("flashrnn is not installed: see https://github.com/NX-AI/flashrnn")
    if model.replicas is not None:
        raise ModuleNotFoundError("FlashRNN has no axis for replicas")
    from flashrnn import flashrnn as kernel  # type: ignore[import-not-found]

    n, m, kind = model.n_hidden, model.n_inputs, {"device": u.device, "dtype": u.dtype}
    bound = n**-0.5
    W_i, R, b = (torch.empty(s, **kind).uniform_(-bound, bound) for s in ((3 * n, m), (3, 1, n, n), (4, 1, n)))
    W_o = torch.empty(model.n_outputs, n, **kind).uniform_(-bound, bound)
    weights = [w.requires_grad_() for w in (W_i, R, b, W_o)]
    optimiser = torch.optim.SGD(weights, lr=lr)

    def run() -> Tensor:
        optimiser.zero_grad()
        from_input = (u.transpose(0, 1) @ W_i.mT).unflatten(-1, (3, 1, n))
        states, _ = kernel(from_input, R, b, function="gru", backend="cuda", dtype="float32")
        loss = (states[0][:, -1, 0] @ W_o.mT - target).square().mean()
        loss.backward()
        optimiser.step()
        return loss.detach()

    return Step(run, dict)


#: By name, and whether it computes what the library computes.
PEERS: dict[str, tuple[Callable[..., Step], bool]] = {
    "ours": (ours.training_step, True),
    "autograd": (autograd.training_step, True),
    "cuDNN GRU": (gru.training_step, False),
    "FlashRNN GRU": (flashrnn, False),
}


def training_steps() -> list[dict[str, Any]]:
    """Seconds of a step for each peer, after its update was compared with the library's where it should be the same."""
    rows = []
    for replicas in REPLICAS:
        model = contests.network("multi", contests.SIZES, replicas).to("cuda")
        u, target = (tensor.to("cuda") for tensor in contests.data(contests.SIZES, replicas))
        parameters = {"gate": "multi", "S": replicas or 1, **contests.SIZES, "dtype": "float32"}
        steps: dict[str, Step] = {}
        for name, (prepare, _) in PEERS.items():
            try:
                steps[name] = prepare(model, u, target, contests.RATE)
            except ModuleNotFoundError as error:
                rows.append({"peer": name, "parameters": parameters, "absent": str(error)})
        after: dict[str, dict[str, Tensor]] = {}
        for name, step in list(steps.items()):
            try:
                step()
            except RuntimeError as error:
                if PEERS[name][1]:
                    raise
                rows.append({"peer": name, "parameters": parameters, "absent": str(error).splitlines()[0]})
                del steps[name]
                continue
            after[name] = {key: weight.detach().clone() for key, weight in step.weights().items()}
        before = dict(model.named_parameters())
        seconds = rotate({name: partial(_waited, step) for name, step in steps.items()}, EFFORT)
        for name in steps:
            row = {"peer": name, "parameters": parameters, "exact": PEERS[name][1], "seconds": summary(seconds[name])}
            row["ratio"] = summary(ratios(seconds[name], seconds["ours"]))
            if PEERS[name][1]:
                row["discrepancy"] = max(_discrepancy(after[name][k], after["ours"][k], before[k]) for k in before)
            rows.append(row)
    return rows


def _waited(step: Step) -> None:
    step()
    torch.cuda.synchronize()


def _discrepancy(after: Tensor, expected: Tensor, before: Tensor) -> float:
    """Of two updates, over the largest entry."""
    return float((after - expected).abs().max() / (expected - before.detach()).abs().max())


def tests() -> dict[str, Any]:
    """The tests that ask for a CUDA device: what pytest says last."""
    command = [sys.executable, "-m", "pytest", "-q", str(record.ROOT / "tests" / "lib" / "test_cuda.py")]
    try:
        done = subprocess.run(command, cwd=record.ROOT, capture_output=True, text=True, timeout=TESTS_AT_MOST)
    except subprocess.TimeoutExpired:
        return {"passed": False, "said": f"given up after {TESTS_AT_MOST} seconds"}
    return {"passed": done.returncode == 0, "said": (done.stdout.strip().splitlines() or ["nothing"])[-1]}


def main() -> int:
    """Test, measure, and write one file; 2 where there is no CUDA device, 1 where a test fails."""
    if not torch.cuda.is_available():
        print("There is no CUDA device here that PyTorch can use: nothing was tested or timed.", file=sys.stderr)
        return 2
    begin = time.perf_counter()
    name = torch.cuda.get_device_name()
    print(f"Tests on {name} …", flush=True)
    tested = tests()
    print(f"{tested['said']}\nTraining steps …", flush=True)
    rows = training_steps()
    print("Protocol E2 with the multi gate and twenty seeds …", flush=True)
    of_e2 = protocols.seconds("E2", "multi", "SGD", range(20), "cuda", False)
    content = {
        "gpu": name,
        "memory_bytes": torch.cuda.get_device_properties(0).total_memory,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "machine": record.machine(torch.get_num_threads()),
        "measured": record.provenance(time.perf_counter() - begin),
        "tests": tested,
        "training step": rows,
        "protocol": {"protocol": "E2", "gate": "multi", "optimiser": "SGD", "seeds": 20, "seconds": of_e2},
    }
    out = record.RESULTS / "gpu" / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(out, content)
    for row in rows:
        said = row.get("absent") or f"{1e3 * row['seconds']['median']:.2f} ms, {row['ratio']['median']:.2f} times ours"
        print(f"S = {row['parameters']['S']:2}, {row['peer']}: {said}")
    print(f"E2: {of_e2:.0f} s\n\nWritten to {out}")
    return 0 if tested["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
