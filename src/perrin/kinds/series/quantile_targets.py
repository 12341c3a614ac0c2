"""Quantiles that a statistic of the paths is to have: `q10(WTI[30]) = 60 and q90(WTI[30]) = 95`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from perrin.kinds.series.event_text import Words
from perrin.kinds.series.events import Statistic, read_statistic


@dataclass(frozen=True)
class Targets:
    """Of one statistic: the share `levels[i]` of paths is to lie below `values[i]`; both rise. `str` writes them."""

    statistic: Statistic
    levels: tuple[float, ...]
    values: tuple[float, ...]

    def __str__(self) -> str:
        pairs = zip(self.levels, self.values, strict=True)
        return " and ".join(f"q{100 * q:.12g}({self.statistic}) = {v:.15g}" for q, v in pairs)


def parse_targets(text: str, names: Sequence[str]) -> Targets:
    """The targets that a text says, of columns `names`.

    Raises:
        PerrinError: what cannot be read, targets of several statistics, or ones that do not rise.

    Example:
        >>> parse_targets("q90([3]) = 40", ["OT"]).levels
        (0.9,)
    """
    words = Words(text)
    found = [_target(words, names)]
    while (joint := words.take()) is not None:
        if joint != "and":
            raise words.error(f"{joint!r} stands where 'and' or the end should")
        found.append(_target(words, names))
    if len({statistic for statistic, _, _ in found}) > 1:
        raise words.error(
            f"quantiles of {found[0][0]} and of {found[1][0]} do not settle how the two go together; give those of one, "
            "and what is to hold of the other as a scenario"
        )
    pairs = sorted((level, value) for _, level, value in found)
    for (level, value), (next_level, next_value) in pairwise(pairs):
        if not (level < next_level and value < next_value):
            raise words.error(
                f"q{100 * level:g} = {value:g} and q{100 * next_level:g} = {next_value:g} do not rise"
            )
    return Targets(found[0][0], tuple(q for q, _ in pairs), tuple(v for _, v in pairs))


def _target(words: Words, names: Sequence[str]) -> tuple[Statistic, float, float]:
    word = words.take() or ""
    said = re.fullmatch(r"q(\d+(?:\.\d+)?)", word)
    level = float(said.group(1)) / 100 if said else 0.0
    if not 0 < level < 1:
        raise words.error(
            f"{word!r} is no quantile; write q90(NAME[step]) = 40, with a number between 0 and 100 after q"
        )
    if words.take() != "(":
        raise words.error(f"{word} is of what? Write {word}(NAME[step])")
    statistic = read_statistic(words, names)
    if words.take() != ")" or words.take() != "=":
        raise words.error(f"{word}({statistic} is not followed by ) = and a number")
    return statistic, level, words.number(f"{word}({statistic}) =")
