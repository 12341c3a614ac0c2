"""`judge`: sample a model, compare with the data it was trained on, and write figures and report into its folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

from perrin.errors import PerrinError
from perrin.evaluate.case import Case, Judged, Progress
from perrin.evaluate.report import write_report
from perrin.evaluate.states import held_out
from perrin.model import Model
from perrin.registry import judges
from perrin.saving import write_json
from perrin.systems.latent.layout import is_layout
from perrin.training import recipe as recipes
from perrin.training.log import Log
from perrin.training.setup import open_data


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
    asked: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], Path]:
    """Judge the model of a run against its own data; writes metrics.json, report.html and a picture of samples.

    Args:
        folder: a run folder; its recipe says where the data are.
        samples: how many to draw; seed: which; steps, solver, guidance: how, instead of the model's own.
        out: where to write; the run itself, or, with settings of another kind than its own, a folder in it that
            is named after them.
        asked: what is asked of this kind of data alone: of molecules `filter` (a `Filter`).

    Returns:
        The figures, each with baseline, ceiling and control where there are such, and the seconds taken; and
        the folder that was written to.

    Raises:
        PerrinError: no recipe, no held-out data, or data that have gone.
    """
    folder = Path(folder)
    if is_layout(folder):
        raise PerrinError(
            f"{folder} is a pretrained folder, which does not say what it was trained on: give --data PATH, pictures to "
            "judge it beside"
        )
    model = Model.load(folder, device)
    if not (folder / "recipe.yaml").is_file():
        raise PerrinError(
            f"{folder} has no recipe.yaml, so there is nothing to judge it against: give --data PATH"
        )
    recipe = recipes.validate(recipes.read(folder / "recipe.yaml"))
    data = open_data(recipe)
    test = held_out(data, folder)
    given = {"samples": samples, "seed": seed, "steps": steps, "solver": solver, "guidance": guidance}
    target = Path(out) if out is not None else folder / name_of(given)
    count = samples or recipe.evaluation.samples
    options: dict[str, Any] = {"steps": steps, "solver": solver, "guidance": guidance}
    options["seed"] = recipe.evaluation.seed if seed is None else seed
    judged = judges[model.codec.kind if model.codec.kind in judges else "arrays"]
    _check(judged, asked or {}, model.codec.kind)

    case = Case(model, data, test, count, recipe.evaluation.k, options, progress)
    shown = judged(case, **(asked or {}))
    count_up(shown, case)
    settings = recipe.model_dump(mode="json")
    write(target, shown, recipe.name, settings, Log(folder / "log.jsonl").read())
    return shown.figures, target


def count_up(shown: Judged, case: Case) -> None:
    """Put into the figures what the samples cost, and whose they are."""
    shown.figures.update(
        train_seconds=case.model.about.get("train_cpu_seconds"),
        sample_seconds=round(case.seconds or 0.0, 2),
        samples=len(shown.drawn),
        evaluations_per_sample=shown.drawn.evaluations,
        model_hash=case.model.hash,
    )


def name_of(given: Mapping[str, Any]) -> str:
    """The folder of an evaluation with other settings than the run's own; '' (the run itself) for its own."""
    parts = [f"{key}-{value}" for key, value in given.items() if value is not None]
    return "-".join(["evaluation", *parts]) if parts else ""


def _check(judged: Callable[..., Judged], asked: Mapping[str, Any], kind: str) -> None:
    """Refuse what the judge of a kind does not know, before anything is sampled."""
    known = [name for name in signature(judged).parameters if name != "case"]
    for name in asked:
        if name not in known:
            has = f"only {', '.join(known)}" if known else "none of its own"
            raise PerrinError(f"the evaluation of {kind} has no option {name!r}, but {has}")


def write(
    target: Path,
    shown: Judged,
    title: str,
    settings: Mapping[str, Any],
    log: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write metrics.json, report.html with settings and loss curves, and the samples."""
    write_json(target / "metrics.json", shown.figures)
    write_report(
        target / "report.html",
        title=title,
        figures=shown.figures,
        pictures=shown.pictures,
        texts=shown.texts,
        fragments=shown.fragments,
        log=log,
        settings=settings,
    )
    shown.drawn.save(target / f"samples{shown.suffix}")
    if shown.write is not None:
        shown.write(target)
