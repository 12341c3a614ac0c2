"""`judge`: sample a model, compare with the data it was trained on, and write figures and report into its folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perrin.contracts import Codec, Dataset
from perrin.errors import PerrinError
from perrin.evaluate.comparison import figures
from perrin.evaluate.feature_cache import feature_extractor
from perrin.evaluate.pictures import class_grid, nearest_pairs
from perrin.evaluate.report import write_report
from perrin.evaluate.texts import text_figures
from perrin.evaluate.tunes import distribution_picture, tune_figures
from perrin.kinds.conditions import label_condition
from perrin.kinds.music.codec import MusicCodec
from perrin.kinds.text.codec import TextCodec
from perrin.metrics import class_accuracy
from perrin.model import Model
from perrin.samples import Samples
from perrin.saving import write_json
from perrin.training import recipe as recipes
from perrin.training.log import Log
from perrin.training.setup import Data, open_data

TUNES = {"": "model", "_ceiling": "real, held out", "_baseline": "5-grams"}
ROLLS = 8  # tunes of which a report shows piano rolls

Progress = Callable[[str, int, int], None]
"""(what is being done, done, in all)."""


def encoded(dataset: Dataset, codec: Codec) -> tuple[Tensor, Tensor | None]:
    """All states of a dataset [N, *shape] and their labels [N] (None without classes), a model's own or not."""
    states, labels = [], []
    for start in range(0, len(dataset), 1024):
        items = [dataset[i] for i in range(start, min(start + 1024, len(dataset)))]
        states.append(codec.encode(items).state)
        # of the data, not of the codec: an unconditional model is judged in the same features
        known = label_condition(items, dataset.classes)
        if known is not None:
            labels.append(known["label"])
    return torch.cat(states), torch.cat(labels) if labels else None


def judge(
    folder: str | Path,
    *,
    samples: int | None = None,
    seed: int | None = None,
    steps: int | None = None,
    solver: str | None = None,
    guidance: float | None = None,
    out: str | Path | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> tuple[dict[str, Any], Path]:
    """Judge the model of a run against its own data; writes metrics.json, report.html and a picture of samples.

    Args:
        folder: a run folder; its recipe says where the data are.
        samples: how many to draw; seed: which; steps, solver, guidance: how, instead of the model's own.
        out: where to write; the run itself, or, with settings of another kind than its own, a folder in it that
            is named after them.

    Returns:
        The figures, each with baseline, ceiling and control where there are such, and the seconds taken; and
        the folder that was written to.

    Raises:
        PerrinError: no recipe, no held-out data, or data that have gone.
    """
    folder = Path(folder)
    model = Model.load(folder, device)
    if not (folder / "recipe.yaml").is_file():
        raise PerrinError(f"{folder} has no recipe.yaml, so there is nothing to judge it against")
    recipe = recipes.validate(recipes.read(folder / "recipe.yaml"))
    data = open_data(recipe)
    test = _held_out(data, folder)
    asked = {"samples": samples, "seed": seed, "steps": steps, "solver": solver, "guidance": guidance}
    target = Path(out) if out is not None else folder / _name(asked)
    count = samples or recipe.evaluation.samples
    options: dict[str, Any] = {"steps": steps, "solver": solver}
    options["seed"] = recipe.evaluation.seed if seed is None else seed

    started = time.process_time()
    drawn = model.sample(count, **options, guidance=guidance, progress=_told(progress, "sampling"))
    sampled = time.process_time() - started
    if isinstance(model.codec, MusicCodec):
        found, judged = tune_figures(drawn.decoded, model.codec, data.train, test, seed=options["seed"])
        laws = distribution_picture({TUNES[suffix]: one for suffix, one in judged.items()})
        rolls = model.codec.picture(drawn.decoded[:ROLLS])
        shown: dict[str, Any] = {"pictures": {"Samples": rolls, "Metres, keys and bar lengths": laws}}
        shown["texts"] = {"Samples": drawn.decoded[:ROLLS]}
    elif isinstance(model.codec, TextCodec):
        seen = [part for part in (data.train, data.validation) if part is not None]
        found, texts = text_figures(model, drawn, seen, test, seed=options["seed"], progress=progress)
        shown = {"pictures": {"Samples": drawn.picture()}, "texts": texts}
    else:
        real = reference(data, model.codec, folder)
        labelled = real.train_labels is not None
        plain = _without_guidance(model, count, options, progress) if labelled else None
        if progress is not None:
            progress("judging", 0, 1)
        found = compare(drawn, plain, real, recipe.evaluation.k)
        shown = {"pictures": _pictures(model, drawn, real.train, real.test, found["nearest"])}
    found |= {
        "train_seconds": model.about.get("train_cpu_seconds"),
        "sample_seconds": round(sampled, 2),
        "samples": count,
        "evaluations_per_sample": drawn.evaluations,
        "model_hash": model.hash,
    }
    _write(target, folder, drawn, found, recipe, shown)
    if progress is not None:
        progress("judging", 1, 1)
    return found, target


def _name(asked: dict[str, Any]) -> str:
    """The folder of an evaluation with other settings than the run's own; '' (the run itself) for its own."""
    given = [f"{key}-{value}" for key, value in asked.items() if value is not None]
    return "-".join(["evaluation", *given]) if given else ""


@dataclass(frozen=True)
class Reference:
    """What samples are compared with: states that the model was trained beside, and states it never met."""

    train: Tensor
    train_labels: Tensor | None
    test: Tensor
    test_labels: Tensor | None


def reference(data: Data, codec: Codec, folder: Path) -> Reference:
    """The real data of a run. What was held out to watch the training counts with the training data, not the test."""
    test = _held_out(data, folder)
    seen = [encoded(part, codec) for part in (data.train, data.validation) if part is not None]
    labels = [part for _, part in seen if part is not None]
    train_labels = torch.cat(labels) if len(labels) == len(seen) else None
    return Reference(torch.cat([states for states, _ in seen]), train_labels, *encoded(test, codec))


def _held_out(data: Data, folder: Path) -> Dataset:
    if data.test is None:
        raise PerrinError(
            f"{folder}: the recipe holds no data out (held_out or test); nothing honest to judge against"
        )
    return data.test


def compare(drawn: Samples, plain: Samples | None, real: Reference, k: int) -> dict[str, Any]:
    """`figures` of samples, and the class accuracy of others that were drawn without guidance."""
    extractor = feature_extractor(real.train, real.train_labels, seed=0)
    found = figures(
        drawn.state,
        drawn.labels,
        real.train,
        real.train_labels,
        real.test,
        real.test_labels,
        k=k,
        extractor=extractor,
    )
    if plain is not None and plain.labels is not None:
        read = extractor.predict(plain.state)
        found["class_accuracy_unguided"] = None if read is None else class_accuracy(read, plain.labels)
    return found


def _told(progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(what, done, total)


def _without_guidance(
    model: Model, count: int, options: dict[str, Any], progress: Progress | None
) -> Samples | None:
    if model.sampling.guidance == 1.0:
        return None
    return model.sample(count, **options, guidance=1.0, progress=_told(progress, "sampling without guidance"))


def _pictures(model: Model, drawn: Samples, train: Tensor, test: Tensor, nearest: Any) -> dict[str, Any]:
    def picture(states: Tensor) -> Any:
        return model.codec.picture(model.codec.decode(states))

    if len(model.codec.shape) < 3:  # points and series are plotted together; a plot of one says nothing
        return {"Samples": drawn.picture(), "Held-out data": picture(test[: len(drawn)])}
    return {
        "Samples": class_grid(drawn.state, drawn.labels, model.codec.classes, picture),
        "Nearest training items: generated left, nearest right": nearest_pairs(
            drawn.state, train, nearest, picture
        ),
    }


def _write(
    target: Path,
    folder: Path,
    drawn: Samples,
    found: dict[str, Any],
    recipe: recipes.Recipe,
    shown: dict[str, Any],
) -> None:
    write_json(target / "metrics.json", found)
    write_report(
        target / "report.html",
        title=recipe.name,
        figures=found,
        log=Log(folder / "log.jsonl").read(),
        settings=recipe.model_dump(mode="json"),
        **shown,
    )
    drawn.save(_samples_file(drawn, target))


def _samples_file(drawn: Samples, target: Path) -> Path:
    """Where the samples of an evaluation are written: a picture where there is one, else texts or arrays."""
    if isinstance(drawn.codec, MusicCodec):
        return target / "samples.abc"
    if drawn.picture() is not None:
        return target / "samples.png"
    return target / ("samples.txt" if isinstance(drawn.codec, TextCodec) else "samples.npy")
