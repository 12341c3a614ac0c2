"""States of tokens with places to be drawn, and how they are filled: at once, or window by window where they are long.

A place to be drawn is marked by K, the mask of the masked process; -1 is no place at all. A state longer than the
model's context is filled in windows that move on by half of it, so that every token is drawn with the half before it
in sight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from perrin.contracts import Codec, Cuts
from perrin.denoise.prediction import Condition, Denoiser
from perrin.errors import PerrinError
from perrin.process.categorical import ABSENT, Categorical
from perrin.process.state import Masks, State, single
from perrin.sample import Plan, Tick, Trace, run
from perrin.sample.noise import Key, seed_of, seed_tensor, uniforms


def blanks(
    codec: Codec,
    keys: Sequence[tuple[int, int]],
    known: Tensor | None,
    length: int | Sequence[int] | None,
) -> Tensor:
    """States int64 [n, L] with places to be drawn, of samples with n keys.

    Args:
        known: [L] or [n, L], tokens that are given and K where one is to be drawn.
        length: tokens of each sample, or one number for all; of the training data's lengths by default, where sample i
            takes the one that its key draws.

    Raises:
        PerrinError: both, sizes that do not fit, or nothing to draw.
    """
    classes, n = codec.categories, len(keys)
    assert isinstance(classes, int)
    if known is not None:
        if length is not None:
            raise PerrinError("give either the known tokens, which have a length, or a length")
        marks = (known.expand(n, -1) if known.dim() == 1 else known).to(torch.int64).clone()
        if marks.dim() != 2 or len(marks) != n:
            raise PerrinError(
                f"known has shape {tuple(known.shape)}; give [L], or [n, L] with n = {n} samples"
            )
        if bool(((marks < ABSENT) | (marks > classes)).any()):
            raise PerrinError(
                f"known holds {int(marks.min())} to {int(marks.max())}; tokens are 0 to {classes - 1}, {classes} is to "
                f"be drawn and {ABSENT} no place"
            )
        return marks
    lengths = _lengths(codec, keys, length)
    marks = torch.full((n, int(lengths.max())), classes, dtype=torch.int64)
    return marks.masked_fill(torch.arange(marks.shape[1]) >= lengths[:, None], ABSENT)


def _lengths(codec: Codec, keys: Sequence[tuple[int, int]], length: int | Sequence[int] | None) -> Tensor:
    n = len(keys)
    if length is None:
        if not isinstance(codec, Cuts):
            return torch.full((n,), single(codec.shape)[0])
        seeds = seed_tensor([seed_of(key, "", "length") for key in keys])
        return torch.tensor([codec.length(float(u)) for u in uniforms(seeds, 1)[:, 0]])
    given = [length] * n if isinstance(length, int) else list(length)
    if len(given) != n or not all(isinstance(v, int) and v >= 1 for v in given):
        raise PerrinError(
            f"length = {length!r}: give a number of tokens of at least 1, or one for each of {n} samples"
        )
    return torch.tensor(given)


def fill(
    plan: Plan | Sequence[Plan],
    denoiser: Denoiser,
    process: Categorical,
    marks: Tensor,
    keys: Sequence[Key],
    context: int,
    condition: Condition,
    callback: Callable[[Tick], object] | None = None,
    frames: list[Tensor] | None = None,
) -> Tensor:
    """Draw what `marks` [B, L] leaves to be drawn, in windows of at most `context` tokens.

    A sample is a function of its key, marks and condition. `frames` is given the states [B, L] at the start and after
    every step.
    """
    state, stride = marks, max(1, context // 2)
    if frames is not None:
        frames.append(marks)
    for window in range(windows(marks.shape[1], context)):
        before, place, after = state.tensor_split([window * stride, window * stride + context], 1)
        named = list(keys) if window == 0 else [seed_of(key, "", "window", window) for key in keys]
        record = None if frames is None else Trace()
        done = _filled(plan, denoiser, process, place, named, condition, callback, record)
        if frames is not None and record is not None:
            frames += [torch.cat([before, _tensor(found), after], 1) for found in record.states]
        state = torch.cat([before, done, after], 1)
    return state


def windows(length: int, context: int) -> int:
    """How many windows a state of that length takes."""
    stride = max(1, context // 2)
    return len(range(0, max(1, length - context + stride), stride))


def _filled(
    plan: Plan | Sequence[Plan],
    denoiser: Denoiser,
    process: Categorical,
    marks: Tensor,
    keys: Sequence[Key],
    condition: Condition,
    callback: Callable[[Tick], object] | None,
    trace: Trace | None,
) -> Tensor:
    start, observed = marks, marks != process.classes
    if not process.masks:
        seeds = seed_tensor([seed_of(key, "", "start") for key in keys], marks.device)
        start = torch.where(observed, marks, process.prior(uniforms(seeds, marks.shape[1])))
    options: dict[str, Any] = {"condition": condition, "callback": callback, "trace": trace}
    return _tensor(
        run(
            plan,
            denoiser,
            seeds=keys,
            start=start,
            process=process,
            masks=Masks(observed=observed),
            **options,
        )
    )


def _tensor(state: State) -> Tensor:
    assert isinstance(state, Tensor)
    return state
