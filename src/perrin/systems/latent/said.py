"""Texts and classes of n samples as the condition of a network, and what provenance says of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.mixing import each
from perrin.systems.latent.shortage import enough_to_read

if TYPE_CHECKING:
    from perrin.systems.latent.codec import LatentCodec
    from perrin.systems.latent.scales import Distilled
    from perrin.systems.latent.text import TextEncoder

NEGATIVE = "negative/"
"""Before the name of a condition's entry: what the unguided branch is told in its place."""

Told = tuple[dict[str, Tensor], list[dict[str, Any]]]
"""A condition, and for each sample what gives it again."""


class UnderTexts(Protocol):
    """A codec whose samples are told of in texts; see `LatentCodec` for what it says of them."""

    @property
    def text(self) -> TextEncoder | None: ...
    @property
    def empty_is_zero(self) -> bool: ...
    @property
    def wordless(self) -> bool: ...
    @property
    def distilled(self) -> Distilled | None: ...


def of_words(
    codec: LatentCodec, n: int, first: int, words: Mapping[str, Any], others: Collection[str]
) -> Told:
    """What prompts or classes say.

    Args:
        words: prompt, negative, label, variation_of. others: those of them that a model which comes before hears.
    """
    if words["variation_of"] is not None and "variation_of" not in others:
        raise PerrinError("this model draws no variations of pictures; it takes image, to begin at")
    if codec.text is None:
        if "prompt" not in others and (words["prompt"] is not None or words["negative"] is not None):
            raise PerrinError("this model knows no texts; it takes " + ("label" if codec.classes else "none"))
        passed = "label" in others and codec.classes is None
        return of_classes(codec, n, first, None if passed else words["label"])
    if words["label"] is not None and "label" not in others:
        raise PerrinError("this model knows texts, no classes: prompt=")
    return of_texts(codec, n, words["prompt"], words["negative"])


def of_texts(
    codec: UnderTexts, n: int, prompt: str | Sequence[str] | None, negative: str | Sequence[str | None] | None
) -> Told:
    """Prompts, and under `negative/` what is told in their place; see `LatentCodec.outline`."""
    if prompt is None and not codec.wordless:
        raise PerrinError("this model draws what a prompt says; give one")
    prompts = each(n, "" if prompt is None else prompt, "prompts")
    negatives = each(n, negative, "negative prompts")
    for text in prompts:
        if prompt is not None and not text.strip():
            raise PerrinError("the prompt is empty; say what the picture shows")
    without = torch.tensor([text is None for text in negatives])
    if (
        bool(without.all()) and codec.distilled is not None
    ):  # no unguided branch, and texts take long to encode
        told, other = _encoded(codec, prompts), {}
    elif bool(without.all()) and codec.empty_is_zero:
        told = _encoded(codec, prompts)
        other = {name: _nothing(value) for name, value in told.items()}
    else:
        texts = [*prompts, *(text or "" for text in negatives)]
        both = _encoded(codec, texts)  # together, so that both have as many tokens
        told, other = ({k: v[part] for k, v in both.items()} for part in (slice(n), slice(n, None)))
        if codec.empty_is_zero:
            for name, value in other.items():
                value[without.to(value.device)] = _nothing(told[name][without.to(value.device)])
    about = [
        ({} if prompt is None else {"prompt": p}) | ({} if q is None else {"negative": q})
        for p, q in zip(prompts, negatives, strict=True)
    ]
    return told | {NEGATIVE + name: value for name, value in other.items()}, about


@torch.no_grad()
def _encoded(codec: UnderTexts, texts: Sequence[str]) -> dict[str, Tensor]:
    """Each text once, however many samples it is for."""
    assert codec.text is not None
    unique = list(dict.fromkeys(texts))
    rows = torch.tensor([unique.index(text) for text in texts])
    with enough_to_read(codec.text.modules_of(), len(unique)):
        found = codec.text(unique)
    return {name: value[rows.to(value.device)] for name, value in found.items()}


def of_classes(codec: LatentCodec, n: int, first: int, label: Any) -> Told:
    """Classes, in turn where none is asked for; a model without classes is told nothing."""
    if codec.classes is None:
        if label is not None:
            raise PerrinError("this model was trained without classes; it takes no label")
        return {}, [{}] * n
    if label is None:
        chosen = [(first + i) % len(codec.classes) for i in range(n)]
    else:
        names = each(n, label, "labels")
        chosen = [-1 if name in ("none", -1) else codec.label(name) for name in names]
    about = [{"label": "none" if i < 0 else i} for i in chosen]
    return {"label": torch.tensor(chosen)}, about


def _nothing(value: Tensor) -> Tensor:
    """Zeros, that are attended to as the prompt is."""
    return value if value.dtype == torch.bool else torch.zeros_like(value)
