"""Texts that a later stage of a cascade leaves to the encoder of the stage before it: T5 is larger than the networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from perrin.errors import PerrinError
from perrin.systems.latent.before import Before
from perrin.systems.latent.text import T5


@dataclass(frozen=True)
class Borrowed:
    """The text encoder of a model that comes before (`text.TextEncoder`).

    Args:
        folder: of the model that has none. before: whose is taken; None: there is none yet.
    """

    folder: Path
    before: Before | None = None

    def modules_of(self) -> Sequence[nn.Module]:
        """None of its own."""
        return []

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """What the other encoder says.

        Raises:
            PerrinError: there is none.
        """
        lent = None if self.before is None else getattr(self.before.model.codec, "text", None)
        if not isinstance(lent, T5 | Borrowed):
            raise PerrinError(
                f"{self.folder} has no text encoder: put a stage that has one before it, after(BASE), or download its own"
            )
        return lent(texts)
