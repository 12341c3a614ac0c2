"""Prompts and patterns with gaps -> known states: tokens that are given, K where one is to be drawn.

"To be, ___ not to be"      a run of three or more underscores is a gap of that many tokens
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from perrin.errors import PerrinError

Tokens = Callable[[str, str], np.ndarray]
"""(text, what it is) -> tokens."""

_GAP = re.compile("_{3,}")


def prompted(prompt: str, length: int, tokens: Tokens, categories: int, context: int) -> Tensor:
    """A prompt and what follows it, int64 [length].

    Raises:
        PerrinError: a prompt that is longer than the context or than the length, or no length.
    """
    if length < 1:
        raise PerrinError(f"a length of {length:,} tokens; write at least 1")
    given = tokens(prompt, "the prompt")
    for limit, what in ((context, "this model's context of"), (length, "the length of")):
        if len(given) > limit:
            raise PerrinError(f"the prompt has {len(given):,} tokens, more than {what} {limit:,}; shorten it")
    known = torch.full((length,), categories, dtype=torch.int64)
    known[: len(given)] = torch.from_numpy(given.astype(np.int64))
    return known


def infilled(pattern: str, gap: int | None, tokens: Tokens, categories: int, context: int) -> Tensor:
    """A pattern whose gaps are to be drawn, int64 [L], L the tokens of its text and its gaps.

    Args:
        gap: tokens of each gap, in the place of its number of underscores.

    Raises:
        PerrinError: no gap, a gap of no token, or more tokens than the context has.
    """
    gaps = list(_GAP.finditer(pattern))
    if not gaps:
        raise PerrinError(
            f"no gap in {_short(pattern)}; mark it with three or more underscores, a token each: ___"
        )
    if gap is not None and gap < 1:
        raise PerrinError(f"gap = {gap}; a gap has at least 1 token")
    parts, at = list[np.ndarray](), 0
    for found in gaps:
        size = gap or len(found[0])
        parts += [_part(pattern, at, found.start(), tokens), np.full(size, categories)]
        at = found.end()
    parts.append(_part(pattern, at, len(pattern), tokens))
    known = torch.from_numpy(np.concatenate([part.astype(np.int64) for part in parts]))
    if len(known) > context:
        raise PerrinError(
            f"the pattern has {len(known):,} tokens with its gaps, more than this model's context of "
            f"{context:,}; shorten it"
        )
    return known


def _part(pattern: str, start: int, stop: int, tokens: Tokens) -> np.ndarray:
    return tokens(pattern[start:stop], f"the pattern's part {_short(pattern[start:stop])}")


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
