"""Several text encoders of one model: their numbers side by side or one after another, as SDXL, SD3 and FLUX have them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perrin.systems.latent.text import T5, Clip


class SideBySide:
    """SDXL's two encoders: their numbers one after another, the second one's pooled text."""

    def __init__(self, first: Clip, second: Clip) -> None:
        self.first, self.second = first, second

    def modules_of(self) -> Sequence[nn.Module]:
        return [self.first.encoder, self.second.encoder]

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """`prompt` [n, 77, width of both], `pooled` [n, projection]."""
        one, two = self.first(texts), self.second(texts)
        return {**two, "prompt": torch.cat([one["prompt"], two["prompt"]], -1)}


class Three:
    """SD3's three encoders: both of CLIP side by side, and then T5's tokens, which may be missing (zeros)."""

    def __init__(self, first: Clip, second: Clip, third: T5 | None, width: int, length: int) -> None:
        self.first, self.second, self.third = first, second, third
        self.width, self.length = width, length

    def modules_of(self) -> Sequence[nn.Module]:
        own = [self.first.encoder, self.second.encoder]
        return own if self.third is None else [*own, self.third.encoder]

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """`prompt` [n, 77 + length, width], `pooled` [n, both projections]."""
        one, two = self.first(texts), self.second(texts)
        clip = torch.cat([one["prompt"], two["prompt"]], -1)
        if self.third is None:
            rest = clip.new_zeros(len(clip), self.length, self.width)
        else:
            rest = self.third(texts)["prompt"].to(clip)
        clip = nn.functional.pad(clip, (0, rest.shape[-1] - clip.shape[-1]))
        pooled = torch.cat([one["pooled"], two["pooled"]], -1)
        return {"prompt": torch.cat([clip, rest], 1), "pooled": pooled}


class PooledAndTokens:
    """FLUX's two encoders: CLIP's pooled text, and the tokens of T5."""

    def __init__(self, first: Clip, second: T5) -> None:
        self.first, self.second = first, second

    def modules_of(self) -> Sequence[nn.Module]:
        return [self.first.encoder, self.second.encoder]

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """`prompt` [n, length, width of T5], `pooled` [n, width of CLIP]."""
        return {**self.second(texts), "pooled": self.first(texts)["pooled"]}
