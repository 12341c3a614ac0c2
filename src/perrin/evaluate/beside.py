"""`judge_beside`: a model without a run, such as a pretrained folder, judged beside data that are given.

One half of the data, stratified by class, stands where a run has its training data: features and the baseline are fitted
to it, and copies are looked for in it. Samples are compared with the other half, in the states of the model: the latents
of pictures where it has an autoencoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perrin.conditions_in_turn import of_texts
from perrin.errors import PerrinError
from perrin.evaluate.case import Case, Progress
from perrin.evaluate.judging import count_up, name_of, write
from perrin.evaluate.states import judged
from perrin.kinds.files import few
from perrin.kinds.matching import matched
from perrin.model import Model
from perrin.registry import kinds
from perrin.training.schema import check_options
from perrin.training.setup import Data

KINDS = ("images", "arrays")
HALF = 0.5
MOST = 1000
"""Samples by default, and no more than are held out."""
NEIGHBOURS = 5
"""k of the figures that compare neighbourhoods."""


@dataclass(frozen=True)
class Words:
    """What samples are told: of models of texts `prompts` in turn and `negative`; of unlabelled data a class `label`."""

    prompts: Sequence[str] | None = None
    negative: str | None = None
    label: str | None = None


def judge_beside(
    model: Model,
    data: Mapping[str, Any],
    words: Words | None = None,
    *,
    samples: int | None = None,
    seed: int | None = None,
    steps: int | None = None,
    solver: str | None = None,
    guidance: float | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], Path]:
    """Judge a model of images or arrays; writes metrics.json, report.html and a picture of samples.

    Args:
        data: how its kind opens the data: path, and options such as subset.
        words: what samples are told. Of labelled data a model of classes is asked for the same classes in turn.
        samples: how many to draw; by default as many as are held out, up to `MOST`.
        seed, steps, solver, guidance: as in `judging.judge`.
        out: where to write; by default a folder that is named after data and settings, in the model's own or, where that
            is a pretrained one, in FOLDER.perrin beside it.

    Returns:
        The figures, and the folder that was written to.

    Raises:
        PerrinError: a model of another kind; data that are too few, or of classes that it does not know; prompts for a
            model of no texts, or none for one of texts.
    """
    kind, words = model.codec.kind, words or Words()
    if kind not in KINDS:
        raise PerrinError(f"--data is for models of {' and of '.join(KINDS)}; this is a model of {kind}")
    whole = kinds[kind].open(**check_options(kinds[kind].open, data, "--data"))
    seen, test = whole.split(HALF, 0)
    count = samples or min(len(test), MOST)
    if min(len(seen), len(test), count) <= NEIGHBOURS:
        raise PerrinError(
            f"{count} samples beside {len(whole)} items are too few to judge: give at least {NEIGHBOURS + 1} and "
            f"{2 * (NEIGHBOURS + 1)}"
        )
    told, asked = _told(model, words, whole.classes, count)
    given = {"samples": samples, "seed": seed, "steps": steps, "solver": solver, "guidance": guidance}
    options = {**given, **told, "seed": seed or 0}
    options.pop("samples")
    case = Case(model, Data(seen, None, test), test, count, NEIGHBOURS, options, progress, asked=asked)
    shown = judged(case)
    count_up(shown, case)
    target = (
        Path(out) if out is not None else _place(model) / name_of({"of": Path(data["path"]).stem, **given})
    )
    settings = {"model": str(model.folder or "in memory"), "data": dict(data), **asdict(words), **given}
    write(target, shown, str(model.about.get("name") or model.folder), settings)
    return shown.figures, target


def _told(
    model: Model, words: Words, classes: Sequence[str] | None, n: int
) -> tuple[dict[str, Any], Tensor | None]:
    """What n samples are told, and the class of the data that each is asked for, None where it is none of them."""
    name = str(model.folder or "this model")
    if of_texts(model):
        if words.label is not None:
            raise PerrinError(f"{name} is told of pictures in texts, not in classes: --prompts FILE")
        if words.prompts is None:
            raise PerrinError(
                f"{name} draws what prompts say: give --prompts FILE, a file with one a line that says what the data show"
            )
        told = {"prompt": _in_turn(words.prompts, n)}
        return told | ({} if words.negative is None else {"negative": words.negative}), None
    if words.prompts is not None or words.negative is not None:
        raise PerrinError(f"--prompts and --negative are for models of texts, which {name} is not")
    if words.label is not None:
        if classes is not None:
            raise PerrinError(
                f"the data have classes ({few(classes)}), which are asked for in turn: --label is for data without, or "
                "read them with --data labels=false"
            )
        return {"label": words.label}, None
    if not model.codec.classes:
        return {}, None
    indices = matched(model.codec.classes, classes, name)
    if indices is None:
        return {}, None
    return {"label": _in_turn(indices, n)}, torch.arange(n) % len(indices)


def _in_turn(values: Sequence[Any], n: int) -> list[Any]:
    return [values[i % len(values)] for i in range(n)]


def _place(model: Model) -> Path:
    """Where what belongs to a model lies: its own folder, or FOLDER.perrin; the working folder of one in memory."""
    return Path() if model.plans is None else model.plans.parent
