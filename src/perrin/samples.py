"""Drawing from a model in chunks that fit, and what comes of it: states, decoded values, files with provenance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

import perrin
from perrin.contracts import Codec, DecodesGiven, Outline
from perrin.denoise.until import UNTIL, stops
from perrin.errors import PerrinError
from perrin.guide import ClassifierFree, Remembered
from perrin.guide.contrast import WEIGHT
from perrin.guide.wrapper import ITEM
from perrin.mixing import once
from perrin.process.categorical import ABSENT
from perrin.process.state import State, batch_size, entries, map_leaves, single
from perrin.sample import Plan, Tick, Trace, run
from perrin.sample.chunking import in_chunks
from perrin.sample.midway import noised
from perrin.steering import Steering, guided
from perrin.windowed import fill, windows

if TYPE_CHECKING:
    from PIL.Image import Image

    from perrin.model import Model

ENTRIES_AT_A_TIME = 2_000_000
"""Default size of a chunk: so many numbers of state, and at most 256 samples."""


@dataclass
class Samples:
    """Samples of a model.

    Attributes:
        state: [n, *shape], in the model's own clean coordinates; of tokens int64 [n, L], -1 beyond a sample's end; or
            leaf -> such a tensor.
        labels: class index each, -1 for none; None where the model has no classes.
        provenance: for each sample, all that is needed to make it again.
        codec: turns states into the user's format.
        evaluations: of the denoiser, per sample (guidance's two branches count once), their mean where samples differ, as
            those of tokens do, since steps that change nothing need none.
        means: predicted clean states after every evaluation, where a trace was asked for; of tokens and of several leaves
            the states themselves, after every step.
        condition: what the samples of several leaves were drawn under, n rows each.
    """

    state: Any  # Tensor | dict[str, Tensor]: every kind knows which
    labels: Tensor | None
    provenance: list[dict[str, Any]]
    codec: Codec
    evaluations: float
    means: list[Any] = field(default_factory=list)
    condition: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return batch_size(self.state)

    @property
    def tuned(self) -> bool:
        """Whether fitted plans drew them all."""
        return all("fitted" in made["plan"] for made in self.provenance)

    @cached_property
    def decoded(self) -> list[Any]:
        """The samples in the user's format (images: uint8 arrays)."""
        return self._values(self.state)

    def _values(self, state: Any) -> list[Any]:
        if isinstance(self.codec, DecodesGiven):
            return self.codec.decode_given(state, self.condition)
        return self.codec.decode(state)

    def picture(self, columns: int | None = None) -> Image | None:
        """All samples in one picture; None where the kind has none."""
        return self.codec.picture(self.decoded, columns)

    def save(self, path: str | Path) -> list[Path]:
        """Write the samples (a folder, or one file where the kind has such), each with its provenance."""
        return self.codec.save(self.decoded, Path(path), self.provenance)

    def save_trajectory(self, path: str | Path) -> Path:
        """Write the denoising, of which `sample(..., trace=True)` kept a trace: an animated GIF, or of texts a page.

        Raises:
            PerrinError: no trace, or a kind without pictures.
        """
        if not self.means:
            raise PerrinError("there is no trajectory without a trace: sample(..., trace=True)")
        given = {"condition": self.condition} if isinstance(self.codec, DecodesGiven) else {}
        return self.codec.save_trajectory(self.means, Path(path), self.provenance, **given)

    def trajectory(self, columns: int | None = None) -> list[Image]:
        """A picture of the predicted clean states after every evaluation; empty without a trace."""
        pictures = (self.codec.picture(self._values(mean), columns) for mean in self.means)
        return [picture for picture in pictures if picture is not None]


@dataclass(frozen=True)
class Request:
    """What to draw, all settled: see `Model.sample`.

    Attributes:
        plans, weights: of each of n samples, its plan and the weight of its guidance; keys: its (seed, index).
        labels: int64 [n] or None; marks: of tokens, int64 [n, L] with the places to be drawn.
        outline: of states with several leaves. steering: what guidance does besides its weight.
    """

    plans: Sequence[Plan]
    weights: Sequence[float]
    keys: Sequence[tuple[int, int]]
    labels: Tensor | None
    trace: bool = False
    classifier: Model | None = None
    reuse: int = 1
    marks: Tensor | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    outline: Outline | None = None
    steering: Steering = field(default_factory=Steering)

    @property
    def n(self) -> int:
        """How many."""
        return len(self.keys)


def draw(
    model: Model, asked: Request, batch: int | None, progress: Callable[[int, int], None] | None
) -> Samples:
    """The samples, a chunk at a time; see `Model.sample`."""
    n, size = asked.n, batch or _chunk_size(model, asked)
    if asked.trace and any(plan is not asked.plans[0] for plan in asked.plans):
        raise PerrinError("a trace is of samples on one plan: draw those with other steps or solvers apart")
    evaluations = [plan.nfe * _windows(model, asked) for plan in asked.plans]
    counted = 0.0

    def work(rows: slice) -> tuple[State, list[State]]:
        nonlocal counted
        report = _reporter(progress, sum(evaluations[: rows.start]), sum(evaluations))
        state, chunk, count = _chunk(model, asked, rows, report)
        counted += sum(evaluations[rows]) if count is None else count
        return state, chunk

    parts = in_chunks(n, size, work)
    states, means = [state for state, _ in parts], [chunk for _, chunk in parts]
    traced = [joined(frames) for frames in zip(*means, strict=True)]
    labels = None if asked.labels is None else asked.labels.clone()
    made = _provenance(model, asked)
    mean = counted / n
    return Samples(
        joined(states),
        labels,
        made,
        model.codec,
        int(mean) if mean % 1 == 0 else mean,
        traced,
        {} if asked.outline is None else asked.outline.condition,
    )


def _chunk_size(model: Model, asked: Request) -> int:
    """How many samples at a time: a state's entries, of tokens with their probabilities."""
    categories = model.codec.categories
    count = entries(model.codec.shape if asked.outline is None else asked.outline.shape)
    count *= max(categories.values(), default=1) if isinstance(categories, Mapping) else categories or 1
    return max(1, min(256, ENTRIES_AT_A_TIME // count))


def _windows(model: Model, asked: Request) -> int:
    return 1 if asked.marks is None else windows(asked.marks.shape[1], single(model.codec.shape)[0])


def _chunk(
    model: Model, asked: Request, rows: slice, report: Callable[[Tick], object]
) -> tuple[State, list[State], float | None]:
    device = model.device
    keys, plans, weights = list(asked.keys[rows]), asked.plans[rows], asked.weights[rows]
    plan = plans[0] if all(one is plans[0] for one in plans) else plans
    condition = {} if asked.labels is None else {"label": asked.labels[rows].to(device)}
    if (
        asked.reuse != 1 or asked.marks is not None or asked.outline is not None
    ):  # whose wrappers remember each sample
        condition[ITEM] = torch.arange(rows.start, rows.stop, device=device)
    if getattr(model.module, "takes_until", False):
        condition[UNTIL] = stops([one.grid for one in plans]).to(device)
    way, told = asked.steering, (asked.temperature, asked.top_p)
    weight: float | Tensor = weights[0]
    if any(one != weight for one in weights):
        weight = condition[WEIGHT] = torch.tensor(weights, dtype=torch.float64, device=device)
    denoiser = guided(model, weight, way, asked.classifier, asked.reuse, *told)
    if asked.outline is not None and asked.outline.steer is not None:
        denoiser = asked.outline.steer(denoiser)
    if asked.marks is not None:
        marks = asked.marks[rows].to(device)
        marks = marks[:, : int((marks != ABSENT).sum(1).max())] if bool((marks == ABSENT).any()) else marks
        process, context = model.design.categorical, single(model.codec.shape)[0]
        assert process is not None
        frames: list[Tensor] | None = [] if asked.trace else None
        state = fill(plan, denoiser, process, marks, keys, context, condition, report, frames)
        return state.cpu(), [frame.cpu() for frame in frames or ()], _evaluated(denoiser, weights)
    record = Trace() if asked.trace else None
    given: dict[str, Any] = {"shape": model.codec.shape}
    if asked.outline is not None:
        given = _outlined(model, asked.outline, rows, device)
        condition |= given.pop("condition")
        if asked.outline.start is not None:
            given["start"] = _noised(asked.outline.start[rows].to(device), plan, keys)
    found = run(
        plan,
        denoiser,
        seeds=keys,
        condition=condition or None,
        trace=record,
        callback=report,
        device=device,
        **given,
    )
    kept = [] if record is None else record.means if asked.outline is None else record.states
    return map_leaves(Tensor.cpu, found), [map_leaves(Tensor.cpu, m) for m in kept], None


def _outlined(model: Model, outline: Outline, rows: slice, device: torch.device) -> dict[str, Any]:
    """What `run` is told of some samples whose states have several leaves."""

    def some(value: Tensor) -> Tensor:
        return value[rows].to(device)

    return {
        "shape": outline.shape,
        "process": model.design.product,
        "masks": outline.masks.map(some),
        "known": None if outline.known is None else map_leaves(some, outline.known),
        "condition": {name: some(value) for name, value in outline.condition.items()},
    }


def _noised(clean: Tensor, plan: Plan | Sequence[Plan], keys: Sequence[tuple[int, int]]) -> Tensor:
    """Clean states [B, *shape] at the first level of each one's plan."""
    if isinstance(plan, Plan):
        return noised(clean, plan, keys)
    rows = zip(clean, plan, keys, strict=True)
    return torch.cat([noised(one[None], own, [key]) for one, own, key in rows])


def _evaluated(denoiser: nn.Module, weights: Sequence[float]) -> float | None:
    """Evaluations of all samples where steps that change nothing need none; None: one a step."""
    kept = [m for m in denoiser.modules() if isinstance(m, Remembered)]
    twice = any(isinstance(m, ClassifierFree) for m in denoiser.modules())
    branches = sum(1 + (twice and w not in (0, 1)) for w in weights) / len(weights)
    return kept[0].rows / branches if kept else None


def joined(parts: Sequence[State]) -> State:
    """States one after another; items of different sizes are filled up, tokens with absent ones and numbers with 0."""
    return map_leaves(lambda *values: torch.cat(_even(values)), *parts)


def _even(parts: Sequence[Tensor]) -> list[Tensor]:
    if len({p.shape for p in parts}) == 1:
        return list(parts)
    longest, nothing = max(p.shape[1] for p in parts), 0.0 if parts[0].is_floating_point() else ABSENT
    return [
        torch.nn.functional.pad(p, (0, 0) * (p.dim() - 2) + (0, longest - p.shape[1]), value=nothing)
        for p in parts
    ]


def _reporter(progress: Callable[[int, int], None] | None, done: int, total: int) -> Callable[[Tick], object]:
    def report(tick: Tick) -> object:
        nonlocal done
        done += len(tick.items)
        return None if progress is None else progress(min(total, done), total)

    return report


def drawn_by(model: Model, plan: Plan) -> dict[str, Any]:
    """What all provenance says: versions, model and plan; no path, which may name a person."""
    return {
        "perrin": perrin.__version__,
        "torch": torch.__version__,
        "model": str(model.about.get("name", "")) or (model.folder.name if model.folder else ""),
        "model_hash": model.hash,
        "plan": plan.recipe(),
    }


def _provenance(model: Model, asked: Request) -> list[dict[str, Any]]:
    distilled = model.sampling.distilled_guidance  # asked for again, it is what the weights hold
    shared: dict[str, Any] = {"folder": str(model.folder) if model.folder else None, "interval": None}
    if asked.reuse != 1:
        shared["reuse"] = asked.reuse
    if "dtype" in model.about:  # of pretrained weights, which may be rounded
        shared["dtype"] = model.about["dtype"]
    if model.about.get("changes"):
        shared["changes"] = model.about["changes"]
    if asked.classifier is not None:
        folder = str(asked.classifier.folder) if asked.classifier.folder else None
        shared |= {"classifier": folder, "classifier_hash": asked.classifier.hash}
    if asked.marks is not None:
        shared |= {"temperature": asked.temperature, "top_p": asked.top_p}
    classes = (asked.classifier or model).codec.classes or []
    settled = zip(asked.plans, asked.weights, strict=True)
    ways = once(lambda plan, weight: {**drawn_by(model, plan), **_steered(asked, weight)}, settled)
    made = []
    for i, (seed, index) in enumerate(asked.keys):
        one = {**shared, **ways[i], "seed": seed, "index": index}
        one["guidance"] = asked.weights[i] if distilled is None else distilled
        if asked.labels is not None:
            index = int(asked.labels[i])
            one["label"] = index
            one["class"] = "none" if index < 0 else classes[index]
        if asked.marks is not None:
            one |= _marked(asked.marks[i], single(model.codec.categories) or 0)
        if asked.outline is not None and asked.outline.about:
            one["wanted"] = asked.outline.about[i]
        made.append(one)
    return made


def _steered(asked: Request, weight: float) -> dict[str, Any]:
    """What guidance did besides its weight, where it did anything."""
    facts, weak = asked.steering.facts, asked.steering.weaker
    if weak is not None:
        facts |= {"weaker": str(weak.folder) if weak.folder else None, "weaker_hash": weak.hash}
    if weight == 1.0:
        kept = ("energy", "interval") if asked.classifier else ("energy",)
        return {name: value for name, value in facts.items() if name in kept}
    return facts


def _marked(marks: Tensor, classes: int) -> dict[str, Any]:
    """How a sample of tokens began: its length, or the tokens that were known."""
    own = marks[marks != ABSENT]
    return {"length": len(own)} if bool(own.eq(classes).all()) else {"known": own.tolist()}
