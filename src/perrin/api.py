"""`train`, `distill` and `tune`: the verbs of the library, wiring names to rooms."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from perrin.errors import PerrinError
from perrin.fitting import Tuned, tune
from perrin.loading import RUNS, load, place_of
from perrin.model import Model
from perrin.saving import write_text
from perrin.systems.latent.layout import is_layout
from perrin.training import recipe as recipes
from perrin.training.distributed import group
from perrin.training.log import Log
from perrin.training.loop import Trainer
from perrin.training.recipe import Recipe
from perrin.training.setup import Progress, Setup, prepare
from perrin.training.students import distillation_recipe


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
    if start is not None:
        _refuse_pretrained(start, "it cannot be trained on as it is")
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
        method: 'trajectory' (regression on the teacher's own trajectories), 'shortcut' (long steps from two of half the
            length) or 'consistency', these two from data.
        data: where the data are, when the teacher's folder has no recipe that says it; 'trajectory' only needs them to
            be judged.
        guidance: the weight under which to distil, which becomes part of the student; the teacher's own by default.
        out: the run folder; runs/NAME-METHOD by default. overwrite, device, progress: as in `train`.
        overrides: sections laid over the recipe, such as `training={"cpu_seconds": 600}`.

    Raises:
        PerrinError: a model that cannot teach, data that cannot be read, or training that went wrong.
    """
    _refuse_pretrained(
        model, f"it cannot teach; perrin tune {model} --steps 8 makes fewer steps of it without training"
    )
    folder = load(model).folder or Path(model)
    content = distillation_recipe(folder, method, None if data is None else str(data), guidance)
    return train(
        recipes.merge(content, overrides), out=out, overwrite=overwrite, device=device, progress=progress
    )


def _refuse_pretrained(place: str | Path, why: str) -> None:
    """Refuse a folder of another library's layout where a network of Perrin's own is needed."""
    if is_layout(place_of(place)):
        raise PerrinError(
            f"{place} is a pretrained folder in the layout of diffusers: {why}. perrin import {place} --out MODEL makes a "
            "model of Perrin's own of a DiT or a DDPM U-Net, which can be trained"
        )


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


__all__ = ["Run", "Tuned", "distill", "load", "train", "tune"]
