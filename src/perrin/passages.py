r"""How likely a model of tokens finds documents of any length: passage by passage, each with its left context.

    log p(document) >= sum over passages of  bound on log p(passage | the tokens before it that the context still holds)

A document that fits the context is one passage. In a longer one every passage has half a context of its own, and the
half before it in sight; with `left=0` passages stand alone. All of these are bounds of the same log p.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from perrin.contracts import Item
from perrin.errors import PerrinError
from perrin.likelihood import LogProb, bound
from perrin.process.categorical import ABSENT, Categorical
from perrin.process.state import Masks, single
from perrin.sample.noise import Key, seed_of

if TYPE_CHECKING:
    from perrin.model import Model

Conditioned = Callable[[Sequence[int]], dict[str, Tensor] | None]
"""Indices of items to the condition of each."""
SAMPLES = 128
"""Network evaluations of a document, unless it has so many passages that two of each are more."""


@dataclass(frozen=True)
class Passage:
    """Some tokens [L] of a document: its `number`-th passage, of which the first `held` tokens belong to those before.

    `last`: whether it is the document's last one.
    """

    document: int
    number: int
    tokens: Tensor
    held: int
    last: bool


def passages(documents: Sequence[Tensor], context: int, left: int) -> Iterator[Passage]:
    """The passages of documents of tokens [L]: together they have every token as their own once."""
    for document, tokens in enumerate(documents):
        starts = [0, *range(context - left, len(tokens) - left, context - left)]
        for number, start in enumerate(starts):
            held = left if number else 0
            last = number == len(starts) - 1
            yield Passage(document, number, tokens[start : start + context], held, last)


def token_log_prob(
    model: Model,
    process: Categorical,
    items: Sequence[Item],
    conditioned: Conditioned,
    seed: int,
    batch: int | None,
    progress: Callable[[int], None] | None,
    *,
    samples: int | None = None,
    left: int | None = None,
    **options: Any,
) -> LogProb:
    """The bound of every item, in nats.

    Args:
        conditioned: the condition of some items by their indices; samples: evaluations of an item, at least two a
            passage; left: tokens of left context of every passage but the first, half the context by default.
        options: of `perrin.likelihood.bound`.

    Raises:
        PerrinError: no data, tokens that the model does not have, a left context that leaves no room.
    """
    context = single(model.codec.shape)[0]
    left = context // 2 if left is None else left
    if not 0 <= left < context:
        raise PerrinError(f"left = {left} tokens of left context must lie between 0 and {context - 1}")
    if not len(items):
        raise PerrinError("there are no data")
    parts = list(passages([_tokens(model, items[i]) for i in range(len(items))], context, left))
    device = next(model.module.parameters()).device
    values, variances = torch.zeros(2, len(items), dtype=torch.float64).unbind()
    calls = 0
    for each, chunk in _chunks(parts, samples or SAMPLES, batch or 64):
        rows = torch.tensor([part.document for part in chunk])
        state = torch.nn.utils.rnn.pad_sequence([part.tokens for part in chunk], True, ABSENT)
        observed = torch.arange(state.shape[1]) < torch.tensor([part.held for part in chunk])[:, None]
        condition = conditioned(rows.tolist())
        found = bound(
            model.denoiser,
            state.to(device),
            process=process,
            samples=each,
            masks=Masks(observed=observed.to(device)),
            seeds=[_key(seed, part) for part in chunk],
            condition=None if condition is None else {n: v.to(device) for n, v in condition.items()},
            **options,
        )
        values.index_add_(0, rows, found.value.cpu())
        variances.index_add_(0, rows, found.stderr.cpu().square())
        calls += found.evaluations
        if progress is not None:
            progress(sum(part.last for part in chunk))
    return LogProb(values, variances.sqrt(), torch.isfinite(values), {"diffusion": values}, calls)


def _chunks(parts: list[Passage], samples: int, size: int) -> Iterator[tuple[int, list[Passage]]]:
    """Passages that are given as many evaluations each, `size` at a time: (evaluations, passages)."""
    counts = Counter(part.document for part in parts)
    for each, group in groupby(parts, lambda part: max(2, samples // counts[part.document])):
        rest = list(group)
        for start in range(0, len(rest), size):
            yield each, rest[start : start + size]


def _tokens(model: Model, item: Item) -> Tensor:
    """All tokens [L] of a document, or those of a window of one."""
    if isinstance(item["value"], str):
        codec: Any = model.codec  # of texts: what is read as a text has tokens
        return torch.from_numpy(codec.tokens(item["value"], item["name"]))
    state: Tensor = model.codec.encode([item]).state[0]
    return state[state != ABSENT]


def _key(seed: int, part: Passage) -> Key:
    key = (seed, part.document)
    return key if part.number == 0 else seed_of(key, "", "passage", part.number)
