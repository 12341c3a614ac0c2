r"""`Model.edit`: repaint a part of an image towards a class, or all of it from its own blurred memory.

Inside a mask it is restoration of what is outside, under the class's guidance (no noise: outside is known), and at the end
outside is put back to the bit. Without one it begins at the noised image; see `strength`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from perrin.errors import PerrinError, check_counts
from perrin.guide.operators import Mask
from perrin.process.state import entries
from perrin.registry import methods
from perrin.restoration.asking import METHOD, class_and_weight, plan_of
from perrin.restoration.drawing import ENTRIES_AT_A_TIME
from perrin.restoration.problem import scale_of
from perrin.restoration.strength import STRENGTH, starting
from perrin.sample import Plan, run
from perrin.sample.chunking import in_chunks
from perrin.sample.midway import noised
from perrin.sample.noise import Key
from perrin.sample.running import prior
from perrin.samples import Samples, drawn_by

if TYPE_CHECKING:
    from perrin.model import Model


@dataclass(frozen=True)
class Edit:
    """What is asked for, all settled.

    Attributes:
        clean: the state, [1, *shape]. hole: bool, of its last axes, what is repainted; None: all.
        plan: from its level on. begins: whether it begins at the noised image rather than at noise.
    """

    clean: Tensor
    hole: Tensor | None
    plan: Plan
    begins: bool
    samples: int
    seed: int
    label: int
    weight: float
    method: str = METHOD
    options: Mapping[str, Any] = field(default_factory=dict)


def edit(
    model: Model,
    image: Any,
    *,
    mask: Any = None,
    label: Any = "none",
    strength: float | None = None,
    guidance: float | None = None,
    samples: int = 4,
    method: str | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    steps: int | None = None,
    solver: str | None = None,
    batch: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Samples:
    """Repaint a part of an image, towards a class if given; or without a mask all of it, by `strength`.

    Args:
        image: a value in the user's format, such as pixels, or a state [*shape].
        mask: bool, of the state's last axes, True where it is repainted; nothing else changes, to the bit.
        label: a class; guidance: its weight, the model's own by default.
        strength: the share of the plan that is run from the noised image on: small ones keep more of it. With a mask 1
            by default, which is to begin at noise; without .6.
        samples: sample k is a function of (seed, k).
        method, settings: of the restoration behind the mask, see `restore`; steps, solver, batch, progress: as in
            `sample`.

    Raises:
        PerrinError: a mask of another size, a strength that is none, a kind without a linear scale.
    """
    check_counts(samples=samples, batch=1 if batch is None else batch)
    model.refuse_distilled("editing")
    scale_of(model.codec)  # refuses other kinds
    index, weight = class_and_weight(model, label, guidance)
    hole = None if mask is None else _hole(mask, model.codec.shape)
    far = (1.0 if hole is not None else STRENGTH) if strength is None else float(strength)
    if hole is None:
        whole = model.plan(solver, steps, weight, fitted=False)
    else:
        whole = plan_of(model.codec.sigma_data, False, solver, steps)
    plan = starting(whole, far)
    methods[method or METHOD]  # refuses a name that is not known
    clean = model.states(image[None] if isinstance(image, Tensor) else [image])
    asked = Edit(clean, hole, plan, far < 1, samples, seed, index, weight, method or METHOD, settings or {})
    return edited(model, asked, batch, progress)


def edited(
    model: Model, asked: Edit, batch: int | None = None, progress: Callable[[int, int], None] | None = None
) -> Samples:
    """Samples of an edit; sample k is a function of (seed, k)."""
    n, evaluations, done = asked.samples, asked.plan.nfe, 0
    size = batch or max(1, min(256, ENTRIES_AT_A_TIME // entries(model.codec.shape)))

    def work(rows: slice) -> Tensor:
        nonlocal done

        def report(*_: object) -> None:
            nonlocal done
            done += rows.stop - rows.start
            if progress is not None:
                progress(min(done, n * evaluations), n * evaluations)

        return _chunk(model, asked, range(rows.start, rows.stop), report)

    states = torch.cat(in_chunks(n, size, work))
    labels = None if asked.label < 0 else torch.full((n,), asked.label)
    made = [_provenance(model, asked, k) for k in range(n)]
    return Samples(states, labels, made, model.codec, float(evaluations))


def _chunk(model: Model, asked: Edit, rows: range, report: Callable[..., object]) -> Tensor:
    device = model.device
    keys: list[Key] = [(asked.seed, k) for k in rows]
    clean = asked.clean.to(device, torch.float32)
    condition = (
        {"label": torch.full((len(rows),), asked.label, device=device)} if model.codec.classes else None
    )
    start = (
        noised(clean, asked.plan, keys)
        if asked.begins
        else prior(keys, model.codec.shape, clean.dtype, device)
    )
    found = run(
        asked.plan,
        _denoiser(model, asked, clean),
        seeds=keys,
        start=start,
        condition=condition,
        callback=report,
    )
    assert isinstance(found, Tensor)
    return (found if asked.hole is None else torch.where(asked.hole.to(device), found, clean)).cpu()


def _denoiser(model: Model, asked: Edit, clean: Tensor) -> nn.Module:
    denoiser = model.guided(asked.weight)
    if asked.hole is None:
        return denoiser
    operator = Mask(tuple(clean.shape[1:]), ~asked.hole)
    made: nn.Module = methods[asked.method](
        denoiser, operator, operator(clean), 0.0, model.codec.sigma_data, **asked.options
    )
    return made


def _hole(mask: Any, shape: Any) -> Tensor:
    """bool of a state's last axes.

    Raises:
        PerrinError: another size, or a mask that keeps or repaints everything.
    """
    hole = torch.as_tensor(mask).bool()
    if hole.dim() > len(shape) or tuple(hole.shape) != tuple(shape)[len(shape) - hole.dim() :]:
        raise PerrinError(
            f"the mask has shape {tuple(hole.shape)}; the state is {tuple(shape)}, or its last axes"
        )
    refuse_one_colour(hole)
    return hole


def refuse_one_colour(hole: Tensor) -> None:
    """Refuse a mask that keeps or repaints everything."""
    if not bool(hole.any()) or bool(hole.all()):
        raise PerrinError(
            "the mask repaints nothing"
            if not bool(hole.any())
            else "the mask repaints everything; give strength instead"
        )


def _provenance(model: Model, asked: Edit, index: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "made_by": "edit",
        **drawn_by(model, asked.plan),
        "guidance": asked.weight,
        "seed": asked.seed,
        "index": index,
    }
    if asked.hole is not None:
        made |= {
            "method": asked.method,
            "options": dict(asked.options),
            "repainted": float(asked.hole.float().mean()),
        }
    if asked.label >= 0:
        made |= {"label": asked.label, "class": (model.codec.classes or [])[asked.label]}
    return made
