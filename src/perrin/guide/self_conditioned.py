"""Self-conditioning: the denoiser is told what it said of each sample at the step before (Chen et al. 2023, "Analog bits").

The network was trained with its own first guess in the condition's entries `previous.<leaf>` for a share of the items and
NaN, not given, for the others (`learn.Denoising(previous=...)`); the first step of a sample has none.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser, Prediction
from perrin.errors import PerrinError
from perrin.guide.wrapper import ITEM, Guide
from perrin.process.state import State, leaves


class SelfConditioned(Guide):
    """A denoiser that is given its last prediction of every sample.

    The condition's entry "item" int64 [B] says which sample each row is; rows may leave, join and change places between
    calls. Use one of these for each run.

    Raises:
        PerrinError: rows without a name.
    """

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__(denoiser)
        self._last: dict[str, Tensor] = {}
        self._places: dict[int, int] = {}

    def forward(self, x: State, level: Tensor, condition: Condition = None) -> Prediction:
        """The prediction at x [B, ...], `condition["item"]` [B]."""
        given = dict(condition or {})
        item = given.pop(ITEM, None)
        if item is None:
            raise PerrinError(
                f"self-conditioning must know which sample each row is: give condition[{ITEM!r}], int64 [B]"
            )
        names: list[int] = item.tolist()
        places = torch.tensor([self._places.get(name, -1) for name in names])
        # before the first prediction the entries are missing, which networks take as not given
        found = self.denoiser(x, level, {**given, **self._told(places)} or None)
        self._last = {name: v.detach() for name, v in leaves(found.mean).items()}
        self._places = {name: i for i, name in enumerate(names)}
        return found

    def _told(self, places: Tensor) -> dict[str, Tensor]:
        told = {}
        for name, last in self._last.items():
            here = places.to(last.device)
            rows = last[here.clamp(min=0)]
            new = (here < 0).reshape(-1, *[1] * (last.dim() - 1))
            told[f"previous.{name}"] = rows.masked_fill(new, torch.nan)
        return told
