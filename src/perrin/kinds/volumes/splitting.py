"""The dataset of volumes: cases in memory or mapped, split by patients; a single case is split by its slices.

Slices of one patient on both sides of a split would make a copy look like a discovery, so no split is ever between
neighbouring slices but that of a single case, whose uppermost ones are held out in one piece.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from perrin.contracts import Item
from perrin.errors import PerrinError
from perrin.kinds.selection import Selection
from perrin.kinds.volumes.cases import VolumeCase
from perrin.kinds.volumes.volume import Volume


@dataclass(frozen=True)
class CaseFiles:
    """Cases as a source: `volumes` holds what was read, its values mapped from the cache where they are many."""

    cases: list[VolumeCase]
    volumes: list[Volume | None]
    labels: np.ndarray | None
    classes: list[str] | None
    patients: list[str]
    part: tuple[float, float] | None = None

    def __len__(self) -> int:
        return len(self.cases)

    def name(self, index: int) -> str:
        """Its path below the folder."""
        return self.cases[index].name

    def read(self, index: int) -> Volume:
        """The volume, or the part of it that was asked for."""
        volume = self.volumes[index]
        if volume is None:
            raise PerrinError(f"'{self.name(index)}' could not be read when the folder was opened")
        return volume if self.part is None or volume.flat else between(volume, self.part, self.name(index))


@dataclass(frozen=True)
class VolumeData(Selection):
    """A dataset of volumes. `bounds`: of a split of the only case by its slices, the share that is this part's."""

    bounds: tuple[float, float] = field(default=(0.0, 1.0))

    def __getitem__(self, index: int) -> Item:
        if not -len(self) <= index < len(self):  # iteration ends by it
            raise IndexError(index)
        item = super().__getitem__(index)
        if self.bounds == (0.0, 1.0):
            return item
        return {**item, "value": between(item["value"], self.bounds, item["name"])}

    def split(self, held_out: float | int, seed: int) -> tuple[Self, Self]:
        """(training, held out): whole patients are held out; of a single case its uppermost slices.

        Args:
            held_out: a share or a number of cases; of a single case of slices.

        Raises:
            PerrinError: nothing would be left for training.
        """
        if len(self) == 1 and held_out:
            return self._split_slices(held_out)
        source = self.source
        patients = source.patients if isinstance(source, CaseFiles) else []
        own = [patients[i] for i in self.indices.tolist()] if patients else []
        if held_out and 1 < len(set(own)) < len(own):  # one name for all is no name
            return self._split_patients(held_out, seed, own)
        return super().split(held_out, seed)

    def _split_slices(self, held_out: float | int) -> tuple[Self, Self]:
        count = self[0]["value"].standard().stack.shape[1]
        low, high = self.bounds
        away = round(held_out * count) if isinstance(held_out, float) else held_out
        if not 0 < away < count:
            raise PerrinError(
                f"cannot hold out {held_out!r} of {count:,} slices; write a share below 1.0 or a number of slices"
            )
        at = low + (high - low) * (count - away) / count
        facts = {"held_out": held_out, "by": "slices"}
        lower = replace(self, bounds=(low, at), facts={**self.facts, "split": {"part": "train", **facts}})
        upper = replace(self, bounds=(at, high), facts={**self.facts, "split": {"part": "held out", **facts}})
        return lower, upper

    def _split_patients(self, held_out: float | int, seed: int, own: list[str]) -> tuple[Self, Self]:
        """Every patient on one side alone: cases are held out patient by patient, in a shuffled order."""
        names = sorted(set(own))
        wanted = round(held_out * len(own)) if isinstance(held_out, float) else held_out
        chosen: set[str] = set()
        for place in np.random.default_rng(seed).permutation(len(names)).tolist():
            if sum(one in chosen for one in own) >= max(1, wanted):
                break
            chosen.add(names[place])
        away = np.array([one in chosen for one in own])
        if away.all():
            raise PerrinError(
                f"cannot hold out {held_out!r} of {len(own):,} cases of {len(names)} patients: none would be left"
            )
        facts = {"held_out": held_out, "seed": seed, "by": "patients"}
        everything = np.arange(len(own))
        return self.take(everything[~away], split={"part": "train", **facts}), self.take(
            everything[away], split={"part": "held out", **facts}
        )


def between(volume: Volume, part: tuple[float, float], name: str) -> Volume:
    """The slices between two shares of a volume's height, from the feet, in the standard orientation.

    Raises:
        PerrinError: none lie there.
    """
    upright = volume.standard()
    count = upright.stack.shape[1]
    low, high = (round(share * count) for share in part)
    if low >= high:
        raise PerrinError(f"part {list(part)} of {name}, which has {count} slices, holds none")
    return upright.slices(low, high)
