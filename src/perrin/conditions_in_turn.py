"""What seeds are under while a plan is fitted to a model: its classes, or prompts, in turn."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from perrin.contracts import Outlines
from perrin.denoise.prediction import Condition, Denoiser, Prediction
from perrin.errors import PerrinError
from perrin.guide.wrapper import Guide
from perrin.model import Model
from perrin.process.state import State

PROMPTS = (
    "a photo of a dog in a meadow",
    "a portrait of an old woman, oil on canvas",
    "a red car in a street at night",
    "a bowl of fruit on a wooden table",
    "mountains behind a lake in the morning",
    "a cat asleep on a chair",
    "a drawing of a castle in pencil",
    "a man who rides a bicycle in the rain",
    "an astronaut on a horse",
    "a living room with large windows",
    "a bird on a branch, close up",
    "a city from above, isometric",
)
"""What a model of texts is tuned under where nobody says what it will draw."""
ROW = "row"
"""The condition's entry that says which of the conditions a seed is under, [B]."""


class UnderRows(Guide):
    """A denoiser under rows of conditions [M, ...], which are in memory once, however many seeds are under them."""

    def __init__(self, denoiser: Denoiser, conditions: Mapping[str, Tensor]) -> None:
        super().__init__(denoiser)
        self.conditions = conditions

    def forward(self, x: State, level: Tensor, condition: Condition = None) -> Prediction:
        """The prediction at x [B, ...] under the rows that `condition` names."""
        assert condition is not None
        rows = condition[ROW]
        own = {name: value[rows.to(value.device)].to(level.device) for name, value in self.conditions.items()}
        return self.denoiser(x, level, own)


def of_texts(model: Model) -> bool:
    """Whether a model's pictures are told of in texts."""
    return isinstance(model.codec, Outlines) and getattr(model.codec, "text", None) is not None


def in_turn(
    model: Model, seed: int, prompts: Sequence[str] | None, negative: str | None, guidance: float | None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The conditions [M, ...] that seeds are under in turn, and what the plan says of them; see `fitting.tune`.

    Raises:
        PerrinError: prompts for a model of no texts, or none of them; guidance that is in the weights.
    """
    codec, classes = model.codec, model.codec.classes
    if not of_texts(model):
        if prompts is not None or negative is not None:
            raise PerrinError("prompts are for models of texts, which this model is not")
        told = {"label": torch.arange(len(classes))} if classes else {}
        return told, {"conditions": "classes in turn" if classes else None}
    if getattr(codec, "distilled", None) is not None and guidance is not None:
        raise PerrinError(
            "this network has guidance in its weights: it is tuned at its own, without guidance="
        )
    own = [prompts] if isinstance(prompts, str) else list(PROMPTS if prompts is None else prompts)
    if not own:
        raise PerrinError("prompts are none; give one at least")
    asked: dict[str, Any] = {"prompt": own} | ({} if negative is None else {"negative": negative})
    named = hashlib.sha256("\n".join(own).encode()).hexdigest()[:12]
    said = {"conditions": f"{len(own)} prompts{' of Perrin' if prompts is None else ''} in turn ({named})"}
    assert isinstance(codec, Outlines)
    return codec.outline(len(own), seed, 0, **asked).condition, said | {"negative": negative}
