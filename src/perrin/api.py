"""The verbs of the library, `load`, `train`, `distill`, `tune`, `forecast`, `impute`, `backtest`: names wired to rooms."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from perrin.errors import PerrinError
from perrin.fitting import Tuned, tune
from perrin.model import Model
from perrin.saving import write_text
from perrin.training import recipe as recipes
from perrin.training.distributed import group
from perrin.training.log import Log
from perrin.training.loop import Trainer
from perrin.training.recipe import Recipe
from perrin.training.setup import Progress, Setup, prepare
from perrin.training.students import distillation_recipe

if TYPE_CHECKING:
    from perrin.forecasting.drawing import Likelihood
    from perrin.forecasting.drawing import Progress as Parts
    from perrin.forecasting.futures import Forecast
    from perrin.forecasting.imputing import Imputation
    from perrin.forecasting.trials import Trial
    from perrin.kinds.series.parts import SeriesData

RUNS = Path("runs")
"""Where runs lie by default."""


@dataclass(frozen=True)
class Run:
    """A folder that training wrote.

    Attributes:
        folder: with recipe.yaml, model.safetensors, ema/, state/, log.jsonl, samples/, README.md.
    """

    folder: Path

    @cached_property
    def model(self) -> Model:
        """The trained model."""
        return Model.load(self.folder)

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of log.jsonl."""
        return Log(self.folder / "log.jsonl").read()

    @cached_property
    def recipe(self) -> Recipe:
        """The resolved recipe."""
        return recipes.validate(recipes.read(self.folder / "recipe.yaml"))


def load(path_or_id: str | Path, *, device: str | torch.device = "cpu") -> Model:
    """Load a model.

    Args:
        path_or_id: a run folder, a model folder, a Hub id such as "someone/digits"; a name alone, such as "digits", is
            also that of the run `runs/digits`, where `train` writes by default.
        device: where the network goes.

    Raises:
        PerrinError: no such model, a damaged one, or one with a pickle in it.

    Example:
        >>> import perrin
        >>> perrin.load("no-such-model")
        Traceback (most recent call last):
        ...
        perrin.errors.PerrinError: no model at 'no-such-model': no such folder
    """
    path = Path(path_or_id)
    if path.is_dir():
        return Model.load(path, device)
    if len(path.parts) == 1 and (RUNS / path).is_dir():
        return Model.load(RUNS / path, device)
    if path.is_file():
        raise PerrinError(f"{path} is a file; give the model's folder")
    from perrin import hub

    # "runs/digits" beside an existing folder "runs" is a path with a slip in it, not the name of a model far away
    if hub.is_id(str(path_or_id)) and not path.parent.is_dir():
        return Model.load(hub.download(str(path_or_id)), device)
    raise PerrinError(f"no model at {str(path_or_id)!r}: no such folder")


def train(
    recipe: str | Path | Mapping[str, Any],
    *,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    start: str | Path | None = None,
    device: str = "cpu",
    progress: Progress | None = None,
    **overrides: Any,
) -> Run:
    """Train a model.

    Args:
        recipe: a built-in recipe ("digits"), a YAML file, or a mapping; with `resume`, a run folder.
        out: the run folder; runs/NAME by default.
        resume: continue the run in `recipe` (or `out`) exactly where it was saved.
        overwrite: replace a run that is there.
        start: a model whose weights to start from.
        device: cpu, cuda, ...
        progress: called with (steps done, steps in all, note).
        overrides: sections laid over the recipe, such as `training={"steps": 100}` or `data={"path": "photos"}`.

    Raises:
        PerrinError: a recipe or data that cannot be used, or training that went wrong.
    """
    if resume:
        folder = Path(out or str(recipe))
        if not (folder / "recipe.yaml").is_file():
            raise PerrinError(f"{folder} is not a run: it has no recipe.yaml to resume")
        chosen = recipes.validate(recipes.read(folder / "recipe.yaml"))
    else:
        chosen = recipes.validate(recipes.merge(recipes.read(recipe), overrides))
        folder = Path(out or RUNS / chosen.name)
    with group(device, chosen.training.batch) as members:
        if not resume:
            _refuse_to_replace(folder, overwrite)
        setup = prepare(chosen, folder if resume else None, device, progress)
        trainer = Trainer(setup, folder, members, progress)
        if resume:
            trainer.resume()
        elif start is not None:
            source = load(start)
            trainer.begin_with((source.folder or Path(start)) / "model.safetensors")
        members.wait()  # every process has seen the folder as it was
        if not resume:
            if members.first:  # only now is all known to be well, and an old run may go
                _clear(folder)
                write_text(folder / "recipe.yaml", recipes.dump(setup.recipe))
                if setup.keep is not None:
                    setup.keep(folder)
            trainer.save()  # from its first moment a run can be resumed
        model = trainer.run()
        if members.first:
            write_text(folder / "README.md", card(setup, model))
        members.wait()
    return Run(folder)


def distill(
    model: str | Path,
    *,
    method: str = "trajectory",
    data: str | Path | None = None,
    guidance: float | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
    **overrides: Any,
) -> Run:
    """Make a model of one to four evaluations from a trained one, which it starts from.

    Args:
        model: the teacher's run or model folder.
        method: 'trajectory' (regression on the teacher's own trajectories) or 'consistency' (from data).
        data: where the data are, when the teacher's folder has no recipe that says it; 'trajectory' only needs them to
            be judged.
        guidance: the weight under which to distil, which becomes part of the student; the teacher's own by default.
        out: the run folder; runs/NAME-METHOD by default. overwrite, device, progress: as in `train`.
        overrides: sections laid over the recipe, such as `training={"cpu_seconds": 600}`.

    Raises:
        PerrinError: a model that cannot teach, data that cannot be read, or training that went wrong.
    """
    folder = load(model).folder or Path(model)
    content = distillation_recipe(folder, method, None if data is None else str(data), guidance)
    return train(
        recipes.merge(content, overrides), out=out, overwrite=overwrite, device=device, progress=progress
    )


def forecast(
    data: str | Path,
    model: str | Path | Model | None = None,
    *,
    horizon: int | None = None,
    samples: int = 200,
    seed: int = 0,
    events: Sequence[str] = (),
    scenario: str | None = None,
    likelihood: Likelihood | None = "bound",
    recipe: str | Path | Mapping[str, Any] = "series",
    budget: float | None = None,
    changes: Sequence[str] = (),
    of: str | None = None,
    drawing: Mapping[str, Any] | None = None,
    device: str = "cpu",
    progress: Parts | None = None,
    **options: Any,
) -> Forecast:
    """Many futures of the series in a file, from its end on, each with its log-density.

    Args:
        data: .csv, .csv.gz, .tsv or .parquet.
        model: of such data; by default one is trained on all of them, in runs/forecast-NAME-..., or found there again
            where data, recipe and options are the same.
        horizon: steps ahead; the model's own by default. Long ones are drawn block after block.
        samples, seed: path i is a function of (seed, i).
        events: such as "max(load) > 120"; scenario: one towards which the paths are guided.
        likelihood: "bound", "ode", "both" or None.
        recipe, budget, changes: of the training: CPU-seconds, and single values such as "training.lr=1e-3".
        of: the series, where the data hold several.
        drawing: options of `Model.sample`, such as {"steps": 20}.
        progress: called with (what, done, in all).
        options: how to read the data: see `kinds.series.open_series`.

    Raises:
        PerrinError: data, a horizon, an event or other options that cannot be used.
    """
    from perrin.forecasting import drawing as futures
    from perrin.forecasting import runs

    loaded = load(model, device=device) if isinstance(model, str | Path) else model
    opened, read = runs.opened(data, loaded, options)
    window = runs.chosen(opened, of, loaded)
    runs.check_samples(samples)
    runs.check_horizon(horizon, window)
    asked = futures.parsed(events, window.names, horizon)
    told = opened.facts["notes"]
    if loaded is None:
        content = runs.recipe_of(
            recipe, data, read, rows=window.shape[1], horizon=horizon, budget=budget, changes=changes
        )
        loaded, note = _trained(content, opened, device, progress)
        told = [*told, note]
    found = futures.forecast(
        loaded, window, horizon=horizon, samples=samples, seed=seed, events=asked, scenario=scenario,
        likelihood=likelihood, progress=progress, **(drawing or {}),
    )  # fmt: skip
    found.about.update(notes=told, model=str(loaded.folder or found.about["model"]), data=str(data))
    return found


def impute(
    data: str | Path,
    model: str | Path | Model | None = None,
    *,
    samples: int = 50,
    seed: int = 0,
    recipe: str | Path | Mapping[str, Any] = "series",
    budget: float | None = None,
    changes: Sequence[str] = (),
    drawing: Mapping[str, Any] | None = None,
    device: str = "cpu",
    progress: Parts | None = None,
    **options: Any,
) -> list[Imputation]:
    """Fill the gaps of the series in a file many times; every series that has gaps. See `forecast` for the arguments.

    Raises:
        PerrinError: no gaps, or data or options that cannot be used.
    """
    from perrin.forecasting import imputing, runs

    loaded = load(model, device=device) if isinstance(model, str | Path) else model
    opened, read = runs.opened(data, loaded, options)
    runs.check_samples(samples)
    gappy = runs.with_gaps(opened, loaded)
    told = opened.facts["notes"]
    if loaded is None:
        rows = max(part.window.shape[1] for part in opened.parts)
        content = runs.recipe_of(
            recipe, data, read, rows=rows, budget=budget, tasks=runs.FILLING, changes=changes
        )
        loaded, note = _trained(content, opened, device, progress)
        told = [*told, note]
    found = [
        imputing.impute(loaded, one, samples=samples, seed=seed, progress=progress, **(drawing or {}))
        for one in gappy
    ]
    for one in found:
        one.about.update(notes=told, model=str(loaded.folder), data=str(data))
    return found


def backtest(
    data: str | Path,
    model: str | Path | Model | Literal[False] | None = None,
    *,
    horizon: int | None = None,
    windows: int = 50,
    share: float | None = None,
    methods: Sequence[str] | None = None,
    paths: int = 100,
    ranks: int = 0,
    season: int | None = None,
    seed: int = 0,
    recipe: str | Path | Mapping[str, Any] = "series",
    budget: float | None = None,
    changes: Sequence[str] = (),
    of: str | None = None,
    drawing: Mapping[str, Any] | None = None,
    device: str = "cpu",
    progress: Parts | None = None,
    **options: Any,
) -> Trial:
    """Forecasts of the past beside those of simple methods: the same windows, errors over them. See also `forecast`.

    Args:
        model: one that learned earlier rows; False for none; by default one is trained on the rows before the first window.
        horizon: steps ahead; the model's own by default, or a season or 30.
        windows, share: so many, in this last share of the rows: .2, or what the model has not learned.
        methods: of `registry.forecasters`; the six of `evaluate.backtesting.SIMPLE` by default.
        paths: a window; ranks: of how many of them the log-densities are measured and ranked.
        season: steps of the main cycle, for the simple methods; from the times by default.

    Raises:
        PerrinError: windows that the model learned from, or data or options that cannot be used.
    """
    from perrin.evaluate.backtesting import SIMPLE
    from perrin.forecasting import runs, trials

    loaded = load(model, device=device) if isinstance(model, str | Path) else (model or None)
    opened, read = runs.opened(data, loaded, options)
    window = runs.chosen(opened, of, loaded)
    rows, usual = window.shape[1], opened.frequency.season
    codec: Any = loaded.codec if loaded else None
    steps = horizon or (codec.horizon if codec else min(usual if 2 < usual <= 60 else 30, rows // 5))
    runs.check_horizon(steps, window)
    origins = trials.origins_of(window, steps, windows, share, loaded)
    told = list(opened.facts["notes"])
    if model is None:
        content = runs.recipe_of(recipe, data, read, rows=rows, horizon=steps, budget=budget, changes=changes)
        content |= {"held_out": rows - int(origins[0]), "name": f"backtest-{Path(data).name.split('.')[0]}"}
        loaded, note = _trained(content, opened, device, progress)
        told.append(note)
    found = trials.tried(
        window, steps, origins, model=loaded, methods=SIMPLE if methods is None else methods,
        season=usual if season is None else season, paths=paths, seed=seed, ranked=ranks, drawing=drawing,
        progress=progress,
    )  # fmt: skip
    found.about.update(notes=told, data=str(data), model=str(loaded.folder) if loaded else None)
    return found


def _trained(
    content: Mapping[str, Any], data: SeriesData, device: str, progress: Parts | None
) -> tuple[Model, str]:
    """(a model of these data by this recipe, what was done for it): found again, finished, or trained."""
    from perrin.forecasting import runs

    folder = RUNS / runs.run_name(content, data)
    if (folder / "README.md").is_file():  # which is written last
        return Model.load(folder, device), f"{folder} was trained on these data by this recipe: used again"
    budget, began = content.get("training", {}).get("cpu_seconds"), time.process_time()

    def report(done: int, total: int, note: str) -> None:
        if progress is not None and budget:  # which ends long before the steps do
            done, total = min(round(time.process_time() - began), round(budget)), round(budget)
        if progress is not None:
            progress("training", done, total)

    begun = (folder / "recipe.yaml").is_file()
    run = train(folder if begun else content, out=folder, resume=begun, device=device, progress=report)
    spent = float(run.model.about.get("train_cpu_seconds") or 0)
    return run.model.to(
        device
    ), f"{folder} was {'finished' if begun else 'trained'} in {spent:.0f} CPU-seconds"


def _refuse_to_replace(folder: Path, overwrite: bool) -> None:
    if folder.is_file():
        raise PerrinError(f"{folder} is a file; choose a folder with --out")
    if not (folder / "recipe.yaml").exists():
        if folder.exists() and any(folder.iterdir()):
            raise PerrinError(f"{folder} holds other files; choose an empty or new folder with --out")
    elif not overwrite:
        raise PerrinError(
            f"{folder} holds a run already: perrin train --resume {folder} continues it, --overwrite replaces it"
        )


def _clear(folder: Path) -> None:
    if not folder.is_dir():
        return
    for path in (
        *(folder / name for name in ("state", "ema", "samples", "plans")),
        *folder.glob("evaluation-*"),
    ):
        shutil.rmtree(path, ignore_errors=True)
    for name in (
        "log.jsonl",
        "model.safetensors",
        "model.json",
        "report.html",
        "metrics.json",
        "samples.png",
        "README.md",
    ):
        (folder / name).unlink(missing_ok=True)


def card(setup: Setup, model: Model) -> str:
    """The model card: data, licence, how it was trained and how to use it."""
    facts = setup.data.train.description
    codec, recipe = model.codec, setup.recipe
    parameters = sum(p.numel() for p in model.module.parameters())
    lines = [
        f"# {recipe.name}",
        "",
        recipe.about or "A diffusion model trained with Perrin.",
        "",
        "| | |",
        "| --- | --- |",
        f"| data | {facts.get('path', '?')}, {len(setup.data.train)} items, sha256 {str(facts.get('sha256', '?'))[:16]} |",
        f"| licence of the data | {facts.get('licence') or 'not stated: add it here before sharing'} |",
        f"| state | {' x '.join(str(s) for s in codec.shape)} |",
        f"| classes | {', '.join(codec.classes) if codec.classes else 'none'} |",
        f"| network | {setup.design.net['name']}, {parameters:,} parameters, hash {model.hash} |",
        f"| training | {model.about.get('step')} steps of {recipe.training.batch}, "
        f"{model.about.get('train_cpu_seconds')} CPU-seconds, EMA {model.about.get('ema')} |",
        "",
        "```python",
        "import perrin",
        "",
        'model = perrin.load("this folder or its Hub id")',
        'other.sample(16, label=0, classifier=model, guidance=4).save("samples")  # other: a model of these data'
        if recipe.task == "classifier"
        else 'model.sample(16, seed=0).save("samples")',
        "```",
        "",
    ]
    return "\n".join(lines)


__all__ = ["Run", "Tuned", "distill", "forecast", "impute", "load", "train", "tune"]
