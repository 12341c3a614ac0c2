"""The states of unCLIP's prior: embeddings of pictures, standardised, drawn from what a prompt says.

e = mean + std x
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from perrin.contracts import Outline
from perrin.kinds.arrays.codec import ArrayCodec
from perrin.process.state import Masks
from perrin.systems.latent.said import NEGATIVE, of_texts
from perrin.systems.latent.text import TextEncoder


@dataclass(frozen=True)
class Embeddings(ArrayCodec):
    """Codec of embeddings (`contracts.Codec`, `contracts.Outlines`).

    Args:
        text: encodes prompts. steer: what the prior's own chain puts around the guided denoiser, such as a threshold.
    """

    text: TextEncoder | None = None
    steer: Callable[[nn.Module], nn.Module] | None = None

    empty_is_zero: ClassVar[bool] = False
    wordless: ClassVar[bool] = False
    distilled: ClassVar[None] = None
    hears: ClassVar[frozenset[str]] = frozenset({"prompt"})
    processes: ClassVar[Mapping[str, dict[str, Any]]] = {}
    properties: ClassVar[Sequence[str]] = ()

    def outline(self, n: int, seed: int, first: int, *, prompt: str | Sequence[str] | None = None) -> Outline:
        """What the pictures show whose embeddings are drawn: one prompt for all, or one for each.

        Raises:
            PerrinError: a missing or an empty prompt, one too many.
        """
        condition, about = of_texts(self, n, prompt, None)
        return Outline(self.shape, Masks(), condition=condition, about=about, steer=self.steer)

    def null(self, condition: Mapping[str, Tensor] | None) -> dict[str, Tensor] | None:
        """The condition of the unguided branch: that of the empty text."""
        if condition is None:
            return None
        return {name: condition[NEGATIVE + name] for name in condition if NEGATIVE + name in condition}

    def config(self) -> dict[str, Any]:
        """What it is; not enough to rebuild it, which needs the folder."""
        return {"kind": self.kind, "shape": list(self.shape)}
