"""Models of the recipes `load`, `epidemic` and `prices` against six simple methods, at the same windows of the past.

    python benchmarks/forecasting/run.py --data FOLDER --out runs/forecasting [--only wti] [--simple]

A finished part leaves its file and is not repeated; training that was stopped goes on from its last state. See README.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tasks import TASKS, Task

import perrin
from perrin import api
from perrin.evaluate.backtesting import SIMPLE, Answers, Backtest, backtest, figures_of, simple
from perrin.forecasting.calibration import calibration, in_words
from perrin.forecasting.forecaster import ModelForecaster
from perrin.forecasting.trial_charts import pit_chart, window_chart
from perrin.forecasting.trials import MODEL, Trial, likelihood_ranks
from perrin.model import Model
from perrin.training import recipe as recipes


def once(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a finished part left, arrays in `.npz` or all else in `.json`, or what it makes now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        part = path.with_name(f"part-{path.name}")
        found = make()
        if path.suffix == ".npz":
            np.savez_compressed(part, **found)
        else:
            part.write_text(json.dumps(found, indent=1))
        part.replace(path)
    if path.suffix == ".json":
        return json.loads(path.read_text())
    with np.load(path) as held:
        return dict(held)


class Study:
    """One task: the simple methods' answers, the model and its answers, the figures of both."""

    def __init__(self, task: Task, given: argparse.Namespace) -> None:
        self.task, self.given, self.out = task, given, given.out / task.name
        self.window = task.open(given.data)
        self.origins = task.origins(self.window, given.windows)
        self.scored = task.scored(self.window.values)

    def simple(self, name: str) -> dict[str, Any]:
        """Paths of a simple method, fitted on the rows before the first window."""
        began = time.process_time()
        made = simple(self.scored, self.origins, self.task.season, [name])
        fit = time.process_time() - began
        result = backtest(self.scored, made, self.origins, horizon=self.task.horizon, paths=self.given.paths)
        own = result.answers[name]
        return {"paths": own.paths, "seconds": own.seconds, "fit": fit, "origins": self.origins}

    def trained(self) -> Model:
        """The recipe's model of the rows before the first window."""
        folder: Path = self.given.out / (self.task.run or self.task.name) / "run"
        if not (folder / "README.md").exists():  # written last
            if any((folder / "state").glob("*")):
                api.train(folder, resume=True, device=self.given.device)
            else:
                api.train(self.recipe(), out=folder, overwrite=True, device=self.given.device)
        return perrin.load(folder, device=self.given.device)

    def recipe(self) -> dict[str, Any]:
        """The built-in recipe with these data; nothing from the first window on is learned, nor looked at."""
        own = {
            "data": {"path": str(self.given.data / self.task.file)},
            "held_out": self.window.shape[1] - int(self.origins[0]),
            "codec": {"horizon": self.task.horizon},
        }
        content = recipes.merge(recipes.read(self.given.recipe or self.task.recipe), own)
        for change in [*self.task.changes, *self.given.set]:
            content = recipes.set_value(content, change)
        return content

    def model(self) -> dict[str, Any]:
        """The model's paths of the columns."""
        own = ModelForecaster.of(self.trained(), self.window)
        result = backtest(
            self.window.values, {MODEL: own}, self.origins, horizon=self.task.horizon, paths=self.given.paths,
            progress=lambda name, done, total: print(f"{self.task.name}: {done}/{total}", file=sys.stderr),
        )  # fmt: skip
        answers = result.answers[MODEL]
        return {"paths": answers.paths, "seconds": answers.seconds, "origins": self.origins}

    def ranks(self) -> dict[str, Any]:
        """Ranks of log-densities: what came true among the model's own paths."""
        own = ModelForecaster.of(self.trained(), self.window)
        truth = np.stack([self.window.values[:, o : o + self.task.horizon] for o in self.origins])
        asked = Backtest(self.origins, truth, {})
        return {"ranks": likelihood_ranks(own, self.window.values, asked, self.given.ranks, 0).tolist()}

    def answers(self, held: dict[str, Any]) -> Answers:
        """Paths of what is scored, with their figures."""
        truth = np.stack([self.scored[:, o : o + self.task.horizon] for o in self.origins])
        deviation = np.nanstd(self.scored[:, : self.origins[0]], axis=1)
        scale = np.where(deviation > 0, deviation, 1.0)
        return Answers(held["paths"], figures_of(held["paths"], truth, scale), float(held["seconds"]))

    def trial(self) -> Trial:
        """All answers."""
        found = {}
        for name in SIMPLE:
            found[name] = self.answers(once(self.out / f"{name}.npz", lambda n=name: self.simple(n)))
        ranks = None
        if not self.given.simple:
            source = self.given.out / (self.task.run or self.task.name)
            held = once(source / "model.npz", self.model)
            paths = self.task.scored_paths(held["paths"], self.window.values, self.origins)
            found = {MODEL: self.answers({**held, "paths": paths}), **found}
            if self.given.ranks:
                ranks = np.array(once(source / "ranks.json", self.ranks)["ranks"])
        truth = np.stack([self.scored[:, o : o + self.task.horizon] for o in self.origins])
        shown = self.window.__class__(**{**self.window.__dict__, "values": self.scored})
        return Trial(shown, Backtest(self.origins, truth, found), ranks)


def table(task: Task, trial: Trial) -> str:
    """The figures of a task as Markdown."""
    answers, rivals = trial.result.answers, trial.rivals
    best = trial.result.best("loss", rivals)
    text = f"### {task.title}\n\n"
    text += (
        "| method | quantile loss | below the best simple method | in 80 % | in 50 % | energy | s/window |\n"
    )
    text += "| --- " * 7 + "|\n"
    for name in sorted(answers, key=lambda n: answers[n].figures["loss"].value):
        own = answers[name].figures
        gain = trial.result.gain(name, best)
        said = "" if name == best else f"{gain.value:+.1%} ± {gain.stderr:.1%}"
        text += f"| {name} | {own['loss'].value:.4f} ± {own['loss'].stderr:.4f} | {said} | "
        text += f"{own['coverage_80'].value:.3f} ± {own['coverage_80'].stderr:.3f} | {own['coverage_50'].value:.3f} | "
        text += f"{own['energy'].value:.4g} ± {own['energy'].stderr:.2g} | {answers[name].seconds:.3f} |\n"
    if trial.modelled:
        text += f"\nTrue values: {in_words(calibration(trial.pit()))}.\n"
    if trial.ranks is not None:
        text += f"\nLog-densities: {in_words(calibration(trial.ranks), 'densities')}.\n"
    return text


def pictures(task: Task, trial: Trial, folder: Path) -> None:
    """Windows with what came true, and histograms of transforms."""
    if trial.modelled:
        window_chart(trial).save(folder / "windows.png")
        histograms = {"True values": calibration(trial.pit())}
        if trial.ranks is not None:
            histograms["Log-densities of the truth"] = calibration(trial.ranks)
        pit_chart(histograms).save(folder / "calibration.png")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="the folder of the tables")
    add("--out", type=Path, required=True)
    add("--only", nargs="+", choices=[task.name for task in TASKS], help="these tasks alone")
    add("--simple", action="store_true", help="the simple methods alone")
    add("--windows", type=int, default=50)
    add("--paths", type=int, default=100, help="of every window and method")
    add("--ranks", type=int, default=20, help="paths a window whose log-densities are measured; 0 for none")
    add("--recipe", help="in the place of the task's own")
    add("--device", default="cpu")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="changes a value of the recipe")
    given = parser.parse_args()
    torch.set_num_threads(1)
    text = ""
    for task in TASKS:
        if given.only is None or task.name in given.only:
            study = Study(task, given)
            trial = study.trial()
            part = table(task, trial)
            pictures(task, trial, study.out)
            print(part, flush=True)
            text += part + "\n"
    text += f"{datetime.date.today()}, {platform.platform()}, one thread\n\n    python {' '.join(sys.argv)}\n"
    name = "FORECASTING.md" if given.only is None else f"{'-'.join(given.only)}.md"
    (given.out / name).write_text(text)


if __name__ == "__main__":
    main()
