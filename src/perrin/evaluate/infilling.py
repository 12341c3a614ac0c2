"""How often a gap in real text is filled with what stood there, from both sides; beside n-grams, from the left alone.

A gap of one token is filled with the most probable one. A longer one is filled step by step, at each step the token
that the model is surest of; n-grams fill it from left to right.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perrin.denoise.tokens import TokenDenoiser
from perrin.kinds.selection import Selection
from perrin.kinds.text.codec import TextCodec
from perrin.kinds.text.windows import crop
from perrin.metrics.ngrams import NGrams
from perrin.model import Model
from perrin.process.categorical import ABSENT

PLACES = 200
GAP = 5
ORDER = 5  # of the n-grams
_BATCH = 25


def infilling(
    model: Model, codec: TextCodec, held_out: Selection, counted: NGrams, seed: int = 0
) -> dict[str, Any]:
    """Accuracies in 200 gaps of one token and of five, JSON-able; none of a model that does not mask.

    Args:
        held_out: windows that `codec.cut` made; counted: n-grams of the training tokens.

    Returns:
        `infill_accuracy` and `infill_gap_accuracy` (per token), each with `_stderr` and `_baseline`, the n-grams' at
        the same places.
    """
    denoiser = model.denoiser
    if not isinstance(denoiser, TokenDenoiser) or not denoiser.process.masks:
        return {}
    found: dict[str, Any] = {"infill_places": PLACES}
    for name, size in (("infill_accuracy", 1), ("infill_gap_accuracy", GAP)):
        states, labels, places = _gaps(codec, held_out, size, seed)
        if not len(states):
            return {}
        clean = states.gather(1, places)
        filled = torch.cat(
            [
                _filled(
                    denoiser, states[at], labels[at] if codec.classes else None, places[at], codec.categories
                )
                for at in (slice(i, i + _BATCH) for i in range(0, len(states), _BATCH))
            ]
        )
        right = (filled == clean).double().mean(1)
        from_left = (_from_left(counted, states, places) == clean).double().mean()
        found |= {
            name: float(right.mean()),
            f"{name}_stderr": float(right.std() / math.sqrt(len(right))),
            f"{name}_baseline": float(from_left),
        }
    return found


def _gaps(codec: TextCodec, held_out: Selection, size: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """States [N, L], labels [N] and the places [N, size] of a gap in the middle half of each."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(held_out))
    states, labels, places = list[np.ndarray](), list[int](), list[np.ndarray]()
    for turn in range(PLACES):
        item = held_out[int(order[turn % len(order)])]
        tokens = crop(item["value"], codec.context, None)
        room = len(tokens) // 2 - size + 1
        if room < 1:
            continue
        start = len(tokens) // 4 + int(generator.integers(room))
        states.append(
            np.pad(tokens.astype(np.int64), (0, codec.context - len(tokens)), constant_values=ABSENT)
        )
        labels.append(-1 if item["label"] is None else item["label"])
        places.append(np.arange(start, start + size))
    if not states:
        return torch.empty(0, 0), torch.empty(0), torch.empty(0, size)
    return torch.from_numpy(np.stack(states)), torch.tensor(labels), torch.from_numpy(np.stack(places))


@torch.no_grad()
def _filled(
    denoiser: TokenDenoiser, states: Tensor, labels: Tensor | None, places: Tensor, mask: int
) -> Tensor:
    """The tokens [N, size] that the model puts into the gaps, one a step, the surest first."""
    device = next(denoiser.parameters()).device
    x, places = states.to(device).scatter(1, places.to(device), mask), places.to(device)
    present = (x != ABSENT).sum(1)
    for left in range(places.shape[1], 0, -1):
        level = torch.log((present - left).double() / left)  # at which so large a share is masked
        condition = None if labels is None else {"label": labels.to(device)}
        logits = denoiser(x, level, condition).logits
        assert logits is not None
        chance = torch.softmax(logits.gather(1, places[..., None].expand(-1, -1, mask)), -1)
        sure, token = chance.max(-1)
        open_ = x.gather(1, places) == mask
        first = sure.masked_fill(~open_, -1.0).argmax(1, keepdim=True)
        x = x.scatter(1, places.gather(1, first), token.gather(1, first))
    return x.gather(1, places).cpu()


def _from_left(counted: NGrams, states: Tensor, places: Tensor) -> Tensor:
    """The tokens [N, size] that n-grams put into the gaps, from left to right."""
    row, order = states.numpy().copy(), min(ORDER, counted.order)
    back = np.arange(-(order - 1), 0)
    for column in places.numpy().T:
        at = column[:, None] + back
        contexts = np.where(at < 0, -1, np.take_along_axis(row, np.maximum(at, 0), 1))
        np.put_along_axis(row, column[:, None], counted.most_likely(contexts, order)[:, None], 1)
    return torch.from_numpy(row).gather(1, places)
