"""Drawing from a model in chunks that fit, and what comes of it: states, decoded values, files with provenance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import perrin
from perrin.contracts import Codec
from perrin.errors import PerrinError
from perrin.guide.wrapper import ITEM
from perrin.process.state import State
from perrin.sample import Plan, Tick, Trace, run
from perrin.sample.device import out_of_memory

if TYPE_CHECKING:
    from PIL.Image import Image

    from perrin.model import Model

ENTRIES_AT_A_TIME = 2_000_000
"""Default size of a chunk: so many numbers of state, and at most 256 samples."""


@dataclass
class Samples:
    """Samples of a model.

    Attributes:
        state: [n, *shape], in the model's own clean coordinates.
        labels: class index each, -1 for none; None where the model has no classes.
        provenance: for each sample, all that is needed to make it again.
        codec: turns states into the user's format.
        evaluations: of the denoiser, per sample (guidance's two branches count once).
        means: predicted clean states after every evaluation, where a trace was asked for.
    """

    state: Tensor
    labels: Tensor | None
    provenance: list[dict[str, Any]]
    codec: Codec
    evaluations: int
    means: list[Tensor] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.state)

    @property
    def tuned(self) -> bool:
        """Whether a fitted plan drew them."""
        return "fitted" in self.provenance[0]["plan"]

    @cached_property
    def decoded(self) -> list[Any]:
        """The samples in the user's format (images: uint8 arrays)."""
        return self.codec.decode(self.state)

    def picture(self, columns: int | None = None) -> Image | None:
        """All samples in one picture; None where the kind has none."""
        return self.codec.picture(self.decoded, columns)

    def save(self, path: str | Path) -> list[Path]:
        """Write the samples (a folder, or one file where the kind has such), each with its provenance."""
        return self.codec.save(self.decoded, Path(path), self.provenance)

    def trajectory(self, columns: int | None = None) -> list[Image]:
        """A picture of the predicted clean states after every evaluation; empty without a trace."""
        pictures = (self.codec.picture(self.codec.decode(mean), columns) for mean in self.means)
        return [picture for picture in pictures if picture is not None]


def draw(
    model: Model,
    plan: Plan,
    n: int,
    seed: int,
    first: int,
    labels: Tensor | None,
    weight: float,
    batch: int | None,
    progress: Callable[[int, int], None] | None,
    trace: bool,
    classifier: Model | None = None,
    reuse: int = 1,
) -> Samples:
    """The samples (seed, first) .. (seed, first + n - 1), a chunk at a time; see `Model.sample`."""
    size = batch or max(1, min(256, ENTRIES_AT_A_TIME // math.prod(model.codec.shape)))
    states, means, start = list[Tensor](), list[list[Tensor]](), 0
    while start < n:
        count = min(size, n - start)
        rows = slice(start, start + count)
        part = None if labels is None else labels[rows]
        report = _reporter(progress, start * plan.nfe, count, n * plan.nfe)
        try:
            state, chunk = _chunk(
                model, plan, seed, first + start, count, part, weight, report, trace, classifier, reuse
            )
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if count == 1:
                raise PerrinError("there is not enough memory for a single sample of this model") from error
            size = count // 2
            continue
        states.append(state)
        means.append(chunk)
        start += count
    joined = [torch.cat(parts) for parts in zip(*means, strict=True)]
    kept = None if labels is None else labels.clone()
    return Samples(
        torch.cat(states),
        kept,
        _provenance(model, plan, n, seed, first, labels, weight, classifier, reuse),
        model.codec,
        plan.nfe,
        joined,
    )


def _chunk(
    model: Model,
    plan: Plan,
    seed: int,
    first: int,
    count: int,
    labels: Tensor | None,
    weight: float,
    report: Callable[[Tick], object],
    trace: bool,
    classifier: Model | None,
    reuse: int,
) -> tuple[Tensor, list[Tensor]]:
    device = next(model.denoiser.parameters()).device
    condition = {} if labels is None else {"label": labels.to(device)}
    if reuse != 1:
        condition[ITEM] = first + torch.arange(count, device=device)
    record = Trace() if trace else None
    state = run(
        plan,
        model.guided(weight, classifier, reuse),
        seeds=[(seed, first + i) for i in range(count)],
        shape=model.codec.shape,
        condition=condition or None,
        trace=record,
        callback=report,
        device=device,
    )
    return _tensor(state).cpu(), [_tensor(m).cpu() for m in record.means] if record else []


def _tensor(state: State) -> Tensor:
    assert isinstance(state, Tensor)
    return state


def _reporter(
    progress: Callable[[int, int], None] | None, before: int, count: int, total: int
) -> Callable[[Tick], object]:
    def report(tick: Tick) -> object:
        return None if progress is None else progress(min(total, before + tick.count * count), total)

    return report


def _provenance(
    model: Model,
    plan: Plan,
    n: int,
    seed: int,
    first: int,
    labels: Tensor | None,
    weight: float,
    classifier: Model | None,
    reuse: int,
) -> list[dict[str, Any]]:
    distilled = model.sampling.distilled_guidance  # asked for again, it is what the weights hold
    shared: dict[str, Any] = {
        "perrin": perrin.__version__,
        "torch": torch.__version__,
        "model": str(model.about.get("name", "")) or (model.folder.name if model.folder else ""),
        "folder": str(model.folder) if model.folder else None,
        "model_hash": model.hash,
        "plan": plan.recipe(),
        "guidance": weight if distilled is None else distilled,
        "interval": model.sampling.interval if weight != 1.0 or classifier else None,
    }
    if reuse != 1:
        shared["reuse"] = reuse
    if classifier is not None:
        folder = str(classifier.folder) if classifier.folder else None
        shared |= {"classifier": folder, "classifier_hash": classifier.hash}
    classes = (classifier or model).codec.classes or []
    made = []
    for i in range(n):
        one = {**shared, "seed": seed, "index": first + i}
        if labels is not None:
            index = int(labels[i])
            one["label"] = index
            one["class"] = "none" if index < 0 else classes[index]
        made.append(one)
    return made
