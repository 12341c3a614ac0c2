"""Texts by their likelihood: which of some sentences a model finds the most natural, and which the least."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from perrin.contracts import Dataset
from perrin.likelihood import LogProb
from perrin.model import Model

SHOWN = 60  # characters of a text in a line of the ranking


def token_counts(model: Model, data: Dataset) -> list[int]:
    """How many tokens every text has."""
    codec: Any = model.codec  # of texts
    return [len(codec.tokens(data[i]["value"], data[i]["name"])) for i in range(len(data))]


def ranked(data: Dataset, result: LogProb, counts: Sequence[int], rank: int) -> list[str]:
    """Lines: the likeliest texts, then the least likely ones, with nats and bits per token.

    Longer texts have fewer nats by length alone; sentences of like length are compared by nats, others per token.
    """
    bits = [-float(v) / max(1, n) / math.log(2) for v, n in zip(result.value, counts, strict=True)]
    order = sorted(range(len(bits)), key=bits.__getitem__)
    best, worst = order[:rank], order[max(rank, len(order) - rank) :]
    lines = [f"{'bits a token':>12}  {'nats':>18}  text"]
    for i in best + worst:
        if worst and i == worst[0]:
            lines.append(f"{'...':>12}")
        nats = f"{float(result.value[i]):.1f} +- {float(result.stderr[i]):.1f}"
        lines.append(f"{bits[i]:>12.3f}  {nats:>18}  {_short(data[i]['value'])}")
    return lines


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 3] + "..."
