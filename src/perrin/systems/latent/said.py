"""Texts and classes of n samples as the condition of a network, and what provenance says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from perrin.errors import PerrinError

if TYPE_CHECKING:
    from perrin.systems.latent.codec import LatentCodec

NEGATIVE = "negative/"
"""Before the name of a condition's entry: what the unguided branch is told in its place."""

Told = tuple[dict[str, Tensor], list[dict[str, Any]]]
"""A condition, and for each sample what gives it again."""


def of_texts(
    codec: LatentCodec, n: int, prompt: str | Sequence[str] | None, negative: str | Sequence[str] | None
) -> Told:
    """Prompts, and under `negative/` what is told in their place; see `LatentCodec.outline`."""
    if prompt is None:
        raise PerrinError("this model draws what a prompt says; give one")
    prompts, negatives = _each(n, prompt, "prompt"), _each(n, negative or "", "negative prompt")
    for text in prompts:
        if not text.strip():
            raise PerrinError("the prompt is empty; say what the picture shows")
    if negative is None and codec.empty_is_zero:
        told = _encoded(codec, prompts)
        other = {name: _nothing(value) for name, value in told.items()}
    else:
        both = _encoded(codec, [*prompts, *negatives])  # together, so that both have as many tokens
        told, other = ({k: v[part] for k, v in both.items()} for part in (slice(n), slice(n, None)))
    about = [
        {"prompt": p, **({} if negative is None else {"negative": q})}
        for p, q in zip(prompts, negatives, strict=True)
    ]
    return told | {NEGATIVE + name: value for name, value in other.items()}, about


@torch.no_grad()
def _encoded(codec: LatentCodec, texts: Sequence[str]) -> dict[str, Tensor]:
    """Each text once, however many samples it is for."""
    assert codec.text is not None
    unique = list(dict.fromkeys(texts))
    rows = torch.tensor([unique.index(text) for text in texts])
    return {name: value[rows.to(value.device)] for name, value in codec.text(unique).items()}


def of_classes(codec: LatentCodec, n: int, first: int, label: Any) -> Told:
    """Classes, in turn where none is asked for; a model without classes is told nothing."""
    if codec.classes is None:
        if label is not None:
            raise PerrinError("this model was trained without classes; it takes no label")
        return {}, [{}] * n
    if label is None:
        chosen = [(first + i) % len(codec.classes) for i in range(n)]
    else:
        names = [label] * n if isinstance(label, str | int) else list(label)
        if len(names) != n:
            raise PerrinError(f"{len(names)} labels for {n} samples; give one, or one each")
        chosen = [-1 if name in ("none", -1) else codec.label(name) for name in names]
    about = [{"label": "none" if i < 0 else i} for i in chosen]
    return {"label": torch.tensor(chosen)}, about


def _nothing(value: Tensor) -> Tensor:
    """Zeros, that are attended to as the prompt is."""
    return value if value.dtype == torch.bool else torch.zeros_like(value)


def _each(n: int, texts: str | Sequence[str], what: str) -> list[str]:
    found = [texts] * n if isinstance(texts, str) else list(texts)
    if len(found) != n:
        raise PerrinError(f"{len(found)} {what}s for {n} samples; give one, or one each")
    return found
