"""Sequences to learn from: what is drawn, what is to be said at the end, and what a constant would score.

Every task returns a :class:`Batch` of time-major inputs and targets. Draws come from the generator that is passed in,
on the device where it lives, so that one seed means one data set.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from sklearn import datasets
from torch import Tensor

#: Steps in a digit sequence, and the number of classes: 8 x 8 pixels, read row by row.
DIGIT_STEPS, DIGIT_CLASSES = 64, 10


class Batch(NamedTuple):
    """Inputs ``u`` (T, B, m) and targets: ``(B, o)`` numbers, or ``(B,)`` class labels."""

    u: Float[Tensor, "T B m"]
    target: Tensor


def adding(
    steps: int,
    batch: int,
    generator: torch.Generator,
    *,
    n_inputs: int = 4,
    dtype: torch.dtype = torch.float32,
) -> Batch:
    r"""The adding problem (Hochreiter & Schmidhuber 1997): the sum of channel 0 at two marked steps.

    Channels 0 … m-2 are noise, uniform in [0, 1); the last is zero but for a 1 at two steps, one drawn from each
    half of the sequence. The target is the sum of two independent uniform numbers, so the best constant is 1, with a
    mean squared error of :math:`2 · 1/12 = 1/6`; the best attainable loss is 0.

    Args:
        steps: T, at least 2.
        batch: B, at least 1.
        generator: where the draws come from; noise first, then the mark of the first half, then of the second.
        n_inputs: m, at least 2.
        dtype: of the inputs and targets.

    Returns:
        ``u`` (T, B, m) and ``target`` (B, 1), on the generator's device.

    Raises:
        ValueError: if a size is too small.
    """
    for name, size, least in (("steps", steps, 2), ("batch", batch, 1), ("n_inputs", n_inputs, 2)):
        if size < least:
            raise ValueError(f"got {name}={size}, expected at least {least} for the adding problem")
    device, half = generator.device, steps // 2
    noise = torch.rand(batch, steps, n_inputs - 1, generator=generator, device=device, dtype=dtype)
    marks = torch.stack(
        [
            torch.randint(low, high, (batch,), generator=generator, device=device)
            for low, high in ((0, half), (half, steps))
        ],
        dim=1,
    )
    marker = torch.zeros(batch, steps, 1, device=device, dtype=dtype).scatter_(1, marks.unsqueeze(-1), 1.0)
    target = noise[..., 0].gather(1, marks).sum(1, keepdim=True)
    return Batch(torch.cat([noise, marker], -1).transpose(0, 1).contiguous(), target)


def digits(
    batch: int | None = None,
    generator: torch.Generator | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Batch:
    r"""Handwritten digits, read pixel by pixel: 1,797 images of 8 x 8 grey values, a real data set inside scikit-learn.

    The UCI test set of optical digits (Alpaydin & Kaynak 1998), row by row from the upper left, scaled from 0 … 16 to
    [0, 1]. The ten classes are near balance, so the best constant guess is wrong about nine times in ten, with a
    cross entropy of about ln 10.

    Args:
        batch: how many sequences to draw without replacement; all of them, in their order, by default.
        generator: where the draw comes from; needed with ``batch``.
        dtype: of the inputs.
        device: where the batch is wanted.

    Returns:
        ``u`` (64, B, 1) and ``target`` (B,), whole numbers 0 … 9.

    Raises:
        ValueError: if ``batch`` is not between 1 and the size of the set, or comes without a generator.
    """
    images, labels = _digits()
    if batch is not None:
        if not 1 <= batch <= len(labels):
            raise ValueError(f"got batch={batch}, expected between 1 and the {len(labels)} digits there are")
        if generator is None:
            raise ValueError(
                "got a batch of digits to draw but no generator, expected a torch.Generator with your seed"
            )
        chosen = torch.randperm(len(labels), generator=generator, device=generator.device)[:batch].cpu()
        images, labels = images[chosen], labels[chosen]
    u = images.to(device=device, dtype=dtype).T.unsqueeze(-1).contiguous()
    return Batch(u, labels.to(device))


@cache
def _digits() -> tuple[Tensor, Tensor]:
    data = datasets.load_digits()
    return torch.from_numpy(data.data / 16.0), torch.from_numpy(data.target)
