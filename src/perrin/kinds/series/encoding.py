r"""Windows <-> states: transformed, then standardised by what is given of the window alone.

    x = transform(y),   state = (x - location) / scale,   log |d state / d y| = log |dx/dy| - sum of log scale

over the drawn entries. `location` and `scale` are functions of the given values, which the condition carries, so that a
state can be brought back without its window. See `transforms` and `robust`. The steps of a walk are centred by the training
data's median: that of a window's own steps says little, and summed over a horizon its error would be a drift that is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.kinds.series.frequency import shown
from perrin.kinds.series.robust import location_scale
from perrin.kinds.series.transforms import Chain

MOST = 10.0
"""Deviations from the middle, beyond which what is observed looks alike to a network."""


class Scaled(NamedTuple):
    """Of a batch: `x` [B, C, T], `observed` and `valid` bool [B, C, T], `location` and `scale` [B, C]."""

    x: np.ndarray
    valid: np.ndarray
    observed: np.ndarray
    location: np.ndarray
    scale: np.ndarray

    @property
    def state(self) -> Tensor:
        """float32 [B, C, T], 0 where there is nothing; what is observed of it within +-MOST."""
        z = (self.x - self.location[..., None]) / self.scale[..., None]
        # of what is given a network is told enough, and decoding takes the values themselves
        z = np.where(self.observed, np.clip(z, -MOST, MOST), z)
        return torch.from_numpy(np.where(self.valid, z, 0)).float()


@dataclass(frozen=True)
class Scaling:
    """Transforms of the columns, and location and scale [C] of the training data's transformed values."""

    chains: tuple[Chain, ...]
    location: np.ndarray
    scale: np.ndarray

    def forward(self, extended: np.ndarray) -> np.ndarray:
        """`[B, C, 1 + T]`, a row before the window and the window, to transformed values `[B, C, T]`."""
        columns = [chain.forward(extended[:, c]) for c, chain in enumerate(self.chains)]
        return np.stack(columns, 1)

    def scaled(self, values: np.ndarray, before: np.ndarray, given: np.ndarray) -> Scaled:
        """Windows [B, C, T] in the user's units, of which `given` is given, and the row before them [B, C]."""
        x = self.forward(np.concatenate([before[..., None], values], -1))
        shown = self.forward(np.concatenate([before[..., None], np.where(given, values, np.nan)], -1))
        observed = ~np.isnan(shown)
        walks = np.array([chain.walks for chain in self.chains])
        location, scale = location_scale(x, observed, self.location, self.scale, walks)
        location = np.where(walks, self.location, location)
        return Scaled(x, ~np.isnan(x), observed, location, scale)

    def given(self, values: np.ndarray, before: np.ndarray) -> Scaled:
        """Of what is given alone, [B, C, T] with NaN elsewhere: the same location and scale."""
        return self.scaled(values, before, ~np.isnan(values))

    def decoded(self, state: Tensor, values: np.ndarray, before: np.ndarray) -> Tensor:
        """States [B, C, T] to the user's units, float64; given `values` (NaN: not given) stay, to the bit."""
        return self.decoder(values, before, state.device)(state)

    def decoder(
        self, values: np.ndarray, before: np.ndarray, device: torch.device
    ) -> Callable[[Tensor], Tensor]:
        """`decoded` of windows whose given values are known, differentiable, also where no array can be read."""
        shown = self.given(values, before)
        location, scale, held = (
            torch.from_numpy(part).to(device)
            for part in (shown.location, shown.scale, np.concatenate([before[..., None], values], -1))
        )

        def decode(state: Tensor) -> Tensor:
            x = location[..., None] + scale[..., None] * state.to(torch.float64)
            return torch.stack([chain.inverse(x[:, c], held[:, c]) for c, chain in enumerate(self.chains)], 1)

        return decode

    def log_det(self, values: np.ndarray, given: np.ndarray, before: np.ndarray) -> np.ndarray:
        """`log |d state / d value|` [B] of the values [B, C, T] that are not `given` (NaN there), in nats."""
        shown = self.given(given, before)
        extended = np.concatenate([before[..., None], values], -1)
        x = self.forward(extended)
        drawn_x = ~np.isnan(x) & ~shown.observed
        drawn_y = ~np.isnan(values) & np.isnan(given)
        total = -(drawn_x.sum(-1) * np.log(shown.scale)).sum(-1)
        for c, chain in enumerate(self.chains):
            total = total + chain.log_det(extended[:, c], drawn_y[:, c], drawn_x[:, c])
        found: np.ndarray = total
        return found

    def refuse(self, values: np.ndarray, names: Sequence[str], times: np.ndarray, where: str) -> None:
        """Refuse values [C, T] that a transform does not take, with the row and the way out.

        Raises:
            PerrinError: a value that is not positive under a log or box_cox.
        """
        for c, chain in enumerate(self.chains):
            bad = np.flatnonzero((values[c] <= 0) & chain.positive)
            if len(bad):
                first = int(bad[0])
                more = f" and {len(bad) - 1:,} more" if len(bad) > 1 else ""
                raise PerrinError(
                    f"{where}: column {names[c]!r} is {values[c][first]:g} at {shown(times[first])} (row {first + 1}){more}"
                    f"; {chain.inner[0].name} takes positive values alone. Write the transform asinh, which takes either "
                    "sign, or difference, which takes changes as they are"
                )


def stacked(parts: Sequence[np.ndarray], what: str) -> np.ndarray:
    """Arrays of one shape as a batch.

    Raises:
        PerrinError: windows of different lengths.
    """
    shapes = {part.shape for part in parts}
    if len(shapes) > 1:
        raise PerrinError(f"{what} of one batch must have one shape, found {sorted(shapes)}")
    return np.stack(parts)


def plain(condition: Mapping[str, Tensor], name: str) -> np.ndarray:
    """A tensor of a condition as an array on the CPU."""
    if name not in condition:
        raise PerrinError(f"the condition says nothing of {name!r}, without which a state has no units")
    found: np.ndarray = condition[name].detach().cpu().numpy()
    return found
