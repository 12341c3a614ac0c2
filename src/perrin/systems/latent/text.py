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
        pools: whether an encoder without a projection gives its pooled text (FLUX).
        cut: whether texts end after 75 tokens, for networks that attend to all of a text, filled up or not (SD3, FLUX).
    """

    def __init__(
        self, tokenizer: Any, encoder: Any, layer: int = -1, pools: bool = False, cut: bool = False
    ) -> None:
        self.tokenizer, self.encoder, self.layer = tokenizer, encoder, layer
        self.pools, self.cut = pools, cut

    def modules_of(self) -> Sequence[nn.Module]:
        return [self.encoder]

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Weighted texts of any length, encoded 75 tokens at a time, one after another.

        Returns:
            `prompt` [n, 77 k, width]; `pooled` [n, projection] of the first 75 tokens, where the encoder projects or pools;
            `tokens` bool [n, 77 k], which are there, where texts take different numbers of parts k.
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
        pooled = found.pooler_output if self.pools else getattr(found, "text_embeds", None)
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
        if self.cut:
            ids = ids[:size]
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
    """T5's encoder, of texts of at most `length` tokens.

    Args:
        plain: in small letters, as PixArt was trained.
        filled: what follows a text up to `length` counts as text, as SD3 and FLUX were trained.
    """

    def __init__(
        self, tokenizer: Any, encoder: Any, length: int, plain: bool = False, filled: bool = False
    ) -> None:
        self.tokenizer, self.encoder, self.length = tokenizer, encoder, length
        self.plain, self.filled = plain, filled

    def modules_of(self) -> Sequence[nn.Module]:
        return [self.encoder]

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """`prompt` [n, length, width], weighted, and unless all are text `tokens` bool [n, length], which are there."""
        ids, weights, counts = zip(*(self._tokens(text) for text in texts), strict=True)
        device = next(self.encoder.parameters()).device
        there = torch.arange(self.length) < torch.tensor(counts)[:, None]
        mask = None if self.filled else there.long().to(device)
        found = self.encoder(torch.tensor(ids, device=device), attention_mask=mask)[0]
        weight = torch.tensor(weights, device=device)[..., None]
        # the mean is about nought, so that there is none to put back
        told = {"prompt": found if bool((weight == 1).all()) else found * weight.to(found)}
        return told if self.filled else {**told, "tokens": there.to(device)}

    def _tokens(self, text: str) -> tuple[list[int], list[float], int]:
        """Token ids and weights of a text, filled up, and how many there are; one too long is cut, with a warning."""
        if not isinstance(text, str):
            raise PerrinError(f"a prompt is a text, not {text!r}")
        ids, weights, own = list[int](), list[float](), self.tokenizer
        for piece in pieces(text.lower().strip() if self.plain else text):
            found = own(piece.text, add_special_tokens=False, verbose=False).input_ids
            ids += found
            weights += [piece.weight] * len(found)
        if len(ids) >= self.length:
            said = f"a prompt of {len(ids) + 1} tokens is cut to {self.length}: {text[:40]!r} ..."
            warnings.warn(said, stacklevel=2)
        ids, weights = ids[: self.length - 1], weights[: self.length - 1]
        rest = self.length - len(ids) - 1
        filling = [own.eos_token_id, *[own.pad_token_id] * rest]
        return [*ids, *filling], [*weights, *[1.0] * len(filling)], len(ids) + 1
