"""A teacher's own trajectories as a data set: states from noise to sample along its probability flow, drawn once.

Item i belongs to the key (seed, i) with a negative seed, which no sample that a user draws by default has; classes
take turns, and every twentieth item has none where the teacher knows classes. States are kept in half precision, a
thousandth of their size being less than the network sees.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from perrin.contracts import Batch, Codec, Item
from perrin.errors import PerrinError
from perrin.learn.trajectory_loss import PLACES
from perrin.model import Model
from perrin.sample import Plan, Trace, run
from perrin.sample.running import prior
from perrin.saving import load_tensors, read_json, save_tensors, write_json
from perrin.training.precision import choose_precision
from perrin.training.setup import Progress

UNLABELLED = 20
"""One item in so many is drawn without its class."""

AT_A_TIME = 128


class Trajectories:
    """Trajectories as a `Dataset`.

    Args:
        states: [N, K + 1, *shape], half precision: K states, rising in level, and the sample that they lead to.
        labels: [N], -1 for none; None where the teacher knows no classes.
        spent: CPU-seconds that drawing them took.
    """

    skipped: ClassVar[list[str]] = []

    def __init__(
        self, states: Tensor, labels: Tensor | None, classes: list[str] | None, spent: float
    ) -> None:
        self.states, self.labels, self.classes, self.spent = states, labels, classes, spent
        self.description: dict[str, Any] = {"path": "the teacher's trajectories", "count": len(states)}

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, index: int) -> Item:
        label = None if self.labels is None else int(self.labels[index])
        return {"value": self.states[index].numpy(), "label": label, "name": f"trajectory {index}"}

    def split(self, held_out: float | int, seed: int) -> tuple[Trajectories, Trajectories]:
        """All but the last ones, and these; trajectories come in no order, so the seed decides nothing."""
        count = len(self) - (held_out if isinstance(held_out, int) else round(held_out * len(self)))
        if not 0 < count < len(self):
            raise PerrinError(f"{len(self)} trajectories cannot spare {held_out} to watch the training")
        return self._part(slice(0, count)), self._part(slice(count, None))

    def _part(self, rows: slice) -> Trajectories:
        labels = None if self.labels is None else self.labels[rows]
        return Trajectories(self.states[rows], labels, self.classes, self.spent)

    def save(self, path: Path) -> None:
        """Write them for a run that resumes."""
        labels = {} if self.labels is None else {"labels": self.labels}
        save_tensors(path, {"states": self.states, **labels})
        write_json(path.with_suffix(".json"), {"cpu_seconds": self.spent})

    @staticmethod
    def load(path: Path, classes: list[str] | None) -> Trajectories:
        """What `save` wrote."""
        held = load_tensors(path)
        spent = float(read_json(path.with_suffix(".json"), "cost of the trajectories")["cpu_seconds"])
        return Trajectories(held["states"], held.get("labels"), classes, spent)


class TrajectoryReader:
    """Encodes trajectories: the samples as states, and what led to them in the condition's entry "trajectory"."""

    augments = False

    def __init__(self, codec: Codec, places: int) -> None:
        self.shape = (places + 1, *codec.shape)  # of all that an item holds

    def encode(self, items: list[Item], seeds: list[int] | None = None) -> Batch:
        """Items to a batch, float32."""
        states = torch.from_numpy(np.stack([item["value"] for item in items])).float()
        condition = {PLACES: states[:, :-1]}
        if items[0]["label"] is not None:
            condition["label"] = torch.tensor([item["label"] for item in items])
        return Batch(states[:, -1], condition)


def draw_trajectories(
    teacher: Model,
    plan: Plan,
    levels: tuple[float, ...],
    count: int,
    weight: float,
    seed: int,
    precision: str,
    device: str,
    progress: Progress | None = None,
) -> Trajectories:
    """Solve the teacher's flow from `count` noises and keep the states at some levels of the plan, and the ends.

    Args:
        plan: deterministic; levels: among its base levels.
        weight: of guidance; seed: of the noises; precision: as a recipe says it.
    """
    began = time.process_time()
    classes = teacher.codec.classes
    labels = None if not classes else torch.arange(count) % len(classes)
    if labels is not None:
        labels[UNLABELLED - 1 :: UNLABELLED] = -1
    places = [plan.base_levels.index(level) for level in levels]
    guided = teacher.to(device).guided(weight)
    half = choose_precision(precision, device) == "bfloat16"
    parts = []
    for start in range(0, count, AT_A_TIME):
        rows = range(start, min(start + AT_A_TIME, count))
        condition = None if labels is None else {"label": labels[rows.start : rows.stop].to(device)}
        noise = prior(
            [(-1 - seed, i) for i in rows], teacher.codec.shape, torch.float32, torch.device(device)
        )
        trace = Trace()
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=half):
            end = run(plan, guided, seeds=list(rows), start=noise, condition=condition, trace=trace)
        states = [noise, *trace.states]
        kept = torch.stack([*(states[place] for place in places), end], dim=1)  # type: ignore[list-item]
        parts.append(kept.half().cpu())
        if progress is not None:
            progress(rows.stop, count, "trajectories of the teacher")
    return Trajectories(torch.cat(parts), labels, classes, time.process_time() - began)
