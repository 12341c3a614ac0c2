"""Texts as the numbers that a network attends to: CLIP's and T5's encoders, alone or side by side."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from perrin.errors import PerrinError
from perrin.systems.latent.prompting import pieces


class TextEncoder(Protocol):
    """Texts to the entries of a condition, each [n, ...]."""

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]: ...

    def modules_of(self) -> Sequence[nn.Module]:
        """The networks in it, which move between devices."""
        ...


class Clip:
    """CLIP's text encoder.

    Args:
        layer: -1: the last layer, normalised (Stable Diffusion 1 and 2); -2: the last but one, as it is (SDXL, SD3).
    """

    def __init__(self, tokenizer: Any, encoder: Any, layer: int = -1) -> None:
        self.tokenizer, self.encoder, self.layer = tokenizer, encoder, layer

    def modules_of(self) -> Sequence[nn.Module]:
        return [self.encoder]

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Weighted texts of any length, encoded 75 tokens at a time, one after another.

        Returns:
            `prompt` [n, 77 k, width]; `pooled` [n, projection] of the first 75 tokens, where the encoder projects; `tokens`
            bool [n, 77 k], which are there, where texts take different numbers of parts k.
        """
        parts = [self._parts(text) for text in texts]
        device = next(self.encoder.parameters()).device
        ids = torch.tensor([ids for own in parts for ids, _ in own], device=device)
        found = self.encoder(ids, attention_mask=self._mask(ids), output_hidden_states=self.layer != -1)
        prompt = found.last_hidden_state if self.layer == -1 else found.hidden_states[self.layer]
        prompt = _weighed(prompt, torch.tensor([w for own in parts for _, w in own], device=device))
        counts = [len(own) for own in parts]
        each = prompt.split(counts)
        long = max(counts)
        told = {"prompt": torch.stack([_filled(one, long) for one in each])}
        if min(counts) < long:
            size = prompt.shape[1]
            told["tokens"] = torch.tensor(
                [[i < k * size for i in range(long * size)] for k in counts], device=device
            )
        pooled = getattr(found, "text_embeds", None)
        if pooled is not None:
            told["pooled"] = torch.stack([one[0] for one in pooled.split(counts)])
        return told

    def _parts(self, text: str) -> list[tuple[list[int], list[float]]]:
        """(token ids, weights) of every 75 tokens of a text, with the signs of beginning and end about them."""
        if not isinstance(text, str):
            raise PerrinError(f"a prompt is a text, not {text!r}")
        ids, weights, tokenizer = list[int](), list[float](), self.tokenizer
        for piece in pieces(text):
            own = tokenizer(piece.text, add_special_tokens=False, truncation=False, verbose=False).input_ids
            ids += own
            weights += [piece.weight] * len(own)
        size = tokenizer.model_max_length - 2
        found = []
        for start in range(0, max(len(ids), 1), size):
            own, weight = ids[start : start + size], weights[start : start + size]
            rest = size - len(own)
            found.append(
                (
                    [tokenizer.bos_token_id, *own, tokenizer.eos_token_id, *[tokenizer.pad_token_id] * rest],
                    [1.0, *weight, *[1.0] * (rest + 1)],
                )
            )
        return found

    def _mask(self, ids: Tensor) -> Tensor | None:
        """Where there are tokens, for encoders that were trained with it."""
        if not getattr(self.encoder.config, "use_attention_mask", False):
            return None
        end = (ids == self.tokenizer.eos_token_id).int().argmax(1, keepdim=True)
        return (torch.arange(ids.shape[1], device=ids.device) <= end).long()


def _weighed(prompt: Tensor, weight: Tensor) -> Tensor:
    """Tokens [n, T, width] times their weights [n, T], each text's mean put back to what it was."""
    if bool((weight == 1).all()):
        return prompt
    made = prompt * weight[..., None].to(prompt)
    ratio = prompt.mean((1, 2), keepdim=True) / made.mean((1, 2), keepdim=True)
    plain = (weight == 1).all(1)[:, None, None]
    return torch.where(plain, prompt, made * ratio)


def _filled(parts: Tensor, count: int) -> Tensor:
    """Parts [k, T, width] one after another, zeros in the place of those that are missing, [count T, width]."""
    return nn.functional.pad(parts.flatten(0, 1), (0, 0, 0, (count - len(parts)) * parts.shape[1]))


class T5:
    """T5's encoder, of texts of at most `length` tokens; `plain`: in small letters, as PixArt was trained."""

    def __init__(self, tokenizer: Any, encoder: Any, length: int, plain: bool = False) -> None:
        self.tokenizer, self.encoder, self.length, self.plain = tokenizer, encoder, length, plain

    def modules_of(self) -> Sequence[nn.Module]:
        return [self.encoder]

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """`prompt` [n, length, width], and `tokens` bool [n, length], which are there."""
        told = self._tokens([text.lower().strip() if self.plain else text for text in texts])
        device = next(self.encoder.parameters()).device
        there = told["attention_mask"].to(device)
        found = self.encoder(told["input_ids"].to(device), attention_mask=there)[0]
        return {"prompt": found, "tokens": there.bool()}

    def _tokens(self, texts: Sequence[str]) -> Any:
        """Token ids and mask [n, length], filled up; a text that is too long is cut, with a warning."""
        whole = self.tokenizer(list(texts), verbose=False).input_ids
        for text, ids in zip(texts, whole, strict=True):
            if len(ids) > self.length:
                warnings.warn(
                    f"a prompt of {len(ids)} tokens is cut to {self.length}: {text[:40]!r} ...", stacklevel=2
                )
        return self.tokenizer(
            list(texts), padding="max_length", max_length=self.length, truncation=True, return_tensors="pt"
        )


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
