"""Data sets that are read step by step, from packages that bring them or make them: nothing is downloaded."""

from __future__ import annotations

import random
from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gatelr import arguments
from gatelr.tasks.contract import Batch, Source, _sources

#: Steps in a digit sequence, 8 x 8 pixels read row by row, and the number of classes.
DIGIT_STEPS, DIGIT_CLASSES = 64, 10

#: Weeks in a sequence of carbon dioxide, which are four years, and how many weeks ahead the target looks.
CO2_STEPS, CO2_AHEAD = 208, 13


def digits(
    batch: int | None = None,
    generator: Source | None = None,
    *,
    split: Literal["all", "train", "test"] = "all",
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Batch:
    r"""Handwritten digits, read pixel by pixel: 1,797 images of 8 x 8 grey values, a real data set inside scikit-learn.

    The UCI test set of optical digits (Alpaydin & Kaynak 1998), row by row from the upper left, scaled from 0 … 16 to
    [0, 1]. The ten classes are near balance, so the best constant guess is wrong about nine times in ten; its cross
    entropy is the entropy of the class frequencies, about ln 10. The best attainable loss is not known. Used in
    experiment E5.

    Args:
        batch: how many sequences to draw without replacement; all of them, in their order, by default.
        generator: where the draw comes from, one or S; needed with ``batch``.
        split: the first 1,297 in their order to train, the other 500 to test, or all.
        dtype: of the inputs.
        device: where the batch is wanted; the generator's device by default, or the CPU if there is none.

    Returns:
        ``u`` ``(64, B, 1)`` and ``target`` ``(B,)``, or ``(64, S, B, 1)`` and ``(S, B)``, whole numbers 0 … 9.

    Raises:
        ValueError: if ``batch`` is not between 1 and the size of the set, or comes without a generator, or if there is
            no such split or device.
        TypeError: for a batch that is no whole number, another dtype than float32 and float64, or no generator.
    """
    return _drawn("digits", split, batch, generator, dtype, device)


def mnist1d(
    batch: int | None = None,
    generator: Source | None = None,
    *,
    split: Literal["all", "train", "test"] = "train",
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Batch:
    r"""MNIST-1D (Greydanus & Kobak 2024): ten shapes on a line, stretched, moved, sheared and noisy, 40 steps each.

    The package ``mnist1d`` makes the published 4,000 training and 1,000 test sequences from their seed, and downloads
    nothing: they equal the published file to 1e-15. The ten classes are near balance, so the best constant guess is
    wrong about nine times in ten; its cross entropy is the entropy of the class frequencies, about ln 10. The best
    attainable loss is not known. Used in experiment E5.

    Args:
        batch, generator, dtype, device: as for :func:`.digits`.
        split: the published training part, the test part, or both.

    Returns and Raises as for :func:`.digits`, with sequences of 40 steps.
    """
    return _drawn("mnist1d", split, batch, generator, dtype, device)


def co2(
    batch: int | None = None,
    generator: Source | None = None,
    *,
    split: Literal["all", "train", "test"] = "train",
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Batch:
    r"""Weekly carbon dioxide at Mauna Loa, 1958 to 2001: four years of weeks in, the change over the next quarter out.

    The record of Keeling & Whorf (2004) inside statsmodels, 2,284 weeks, of which 59 lack a value and are interpolated.
    A sequence has the :data:`CO2_STEPS` latest changes from week to week. The target is the change over the next
    :data:`CO2_AHEAD` weeks. Both are in units of their standard deviation in the training part, where the best constant
    therefore has a mean squared error of 1. The season makes the target predictable, but not from the latest weeks
    alone. The best attainable loss is not known. Used in experiment E5.

    Args:
        batch, generator, dtype, device: as for :func:`.digits`.
        split: windows whose targets lie in the first seven tenths of the time, in the rest, or both. Neighbouring
            windows share most of their weeks.

    Returns:
        ``u`` ``(208, B, 1)`` and ``target`` ``(B, 1)``, or ``(208, S, B, 1)`` and ``(S, B, 1)``.

    Raises:
        ValueError: as :func:`.digits`.
        TypeError: as :func:`.digits`.
    """
    return _drawn("co2", split, batch, generator, dtype, device)


def _drawn(
    name: str,
    split: str,
    batch: int | None,
    generator: Source | None,
    dtype: torch.dtype,
    device: torch.device | str | None,
) -> Batch:
    """All sequences of a split of a data set, or a draw of them without replacement."""
    parts = _data(name)
    arguments.dtype(dtype)
    arguments.device(device)
    if not isinstance(split, str) or split not in (*parts, "all"):
        raise ValueError(f"got split={split!r}, expected 'all', 'train' or 'test': name the part that you want")
    chosen = list(parts.values()) if split == "all" else [parts[split]]
    sequences, labels = (torch.cat(part) for part in zip(*chosen, strict=True))
    redrawn: Tensor | int = 0
    noun = "digits" if name == "digits" else f"{name} sequences"
    if batch is not None:
        if not 1 <= (batch := arguments.whole("batch", batch)) <= len(labels):
            raise ValueError(f"got batch={batch}, expected between 1 and the {len(labels)} {noun} there are")
        if generator is None:
            raise ValueError(
                f"got a batch of {noun} to draw but no generator, expected a torch.Generator with your seed"
            )
        sources = _sources(generator)
        device = sources[0].device if device is None else device
        draws = [torch.randperm(len(labels), generator=source, device=source.device)[:batch] for source in sources]
        index = draws[0].cpu() if isinstance(generator, torch.Generator) else torch.stack(draws).cpu()
        sequences, labels = sequences[index], labels[index]
        redrawn = torch.zeros(index.shape[:-1], dtype=torch.int64, device=device)
    device = "cpu" if device is None else device
    u = sequences.to(device=device, dtype=dtype).movedim(-1, 0).unsqueeze(-1).contiguous()
    labels = labels.to(device=device, dtype=dtype if labels.is_floating_point() else None)
    return Batch(u, labels, redrawn)


@cache
def _data(name: str) -> dict[str, tuple[Tensor, Tensor]]:
    """Sequences (N, T) in float64 and labels (N,), or numbers (N, 1), of the two parts of a data set."""
    if name == "digits":
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise ImportError("the digits need scikit-learn: pip install 'gatelr[experiments]'") from error
        images = load_digits()
        x, y = torch.from_numpy(images.data / 16.0), torch.from_numpy(images.target)
        return {"train": (x[:1297], y[:1297]), "test": (x[1297:], y[1297:])}
    if name == "co2":
        return _co2_windows()
    try:
        from mnist1d.data import get_dataset_args, make_dataset
    except ImportError as error:
        raise ImportError("MNIST-1D needs mnist1d: pip install 'gatelr[experiments]'") from error

    # it seeds and uses the two global generators, which are the caller's
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        made = make_dataset(get_dataset_args())
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
    parts = {"train": ("x", "y"), "test": ("x_test", "y_test")}
    return {part: (torch.from_numpy(made[x]), torch.from_numpy(made[y])) for part, (x, y) in parts.items()}


def _co2_windows() -> dict[str, tuple[Tensor, Tensor]]:
    """Weekly changes in windows, and the change that follows each, cut into two parts by the time of the target."""
    try:
        from statsmodels.datasets import co2 as record
    except ImportError as error:
        raise ImportError("the carbon dioxide record needs statsmodels: pip install 'gatelr[experiments]'") from error
    level = torch.tensor(record.load().data["co2"].interpolate().to_numpy(dtype=float))
    change, ahead = level.diff(), level[CO2_AHEAD:] - level[:-CO2_AHEAD]
    # window w has the changes w … w + T - 1; the last of them leads to the level at w + T, where the target starts
    target = ahead[CO2_STEPS:]
    windows = change.unfold(0, CO2_STEPS, 1)[: len(target)]
    cut = int(0.7 * len(target))
    known = slice(0, cut - CO2_AHEAD)  # a target of the training part has ended before one of the test part begins
    seen = change[: known.stop + CO2_STEPS - 1]
    x = (windows - seen.mean()) / seen.std()
    y = ((target - target[known].mean()) / target[known].std(correction=0)).unsqueeze(-1)
    return {"train": (x[known], y[known]), "test": (x[cut:], y[cut:])}
