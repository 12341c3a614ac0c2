"""Distilled against its teacher: feature distance of few evaluations as a multiple of the teacher's at fifty steps.

    python benchmarks/distillation/run.py --data mnist.npz --out runs/distillation

Every part leaves a JSON file and is not repeated; README.md beside this file says the rules.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import perrin
from perrin.evaluate.feature_cache import Features, feature_extractor
from perrin.evaluate.states import reference
from perrin.metrics import class_accuracy, frechet_distance
from perrin.model import Model
from perrin.training import recipe as recipes
from perrin.training.setup import open_data

TEACHER_STEPS = 50
FEW = (1, 2, 4)
SEED = 7


class Judge:
    """Features of a classifier of the real training data, and the real test data in them."""

    def __init__(self, teacher: Path, model: Model) -> None:
        recipe = recipes.validate(recipes.read(teacher / "recipe.yaml"))
        self.real = reference(open_data(recipe), model.codec, teacher)
        self.extractor: Features = feature_extractor(self.real.train, self.real.train_labels)
        self.test = self.extractor.features(self.real.test)

    def of(self, states: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
        """Distance to the test data and the share read as the class asked for."""
        predicted = self.extractor.predict(states)
        assert predicted is not None
        distance = frechet_distance(self.extractor.features(states), self.test)
        return {"feature_distance": distance, "class_accuracy": class_accuracy(predicted, labels)}

    def ceiling(self, count: int) -> dict[str, float]:
        """As many real training items."""
        rows = torch.randperm(len(self.real.train), generator=torch.Generator().manual_seed(0))[:count]
        assert self.real.train_labels is not None
        return self.of(self.real.train[rows], self.real.train_labels[rows])


def measured(model: Model, judge: Judge, count: int, steps: int) -> dict[str, float]:
    """Figures of `count` samples, with the rows that went through the network for each."""
    rows = 0

    def counted(net: torch.nn.Module, given: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        nonlocal rows
        rows += len(out)

    hook = model.module.net.register_forward_hook(counted)
    drawn = model.sample(count, seed=SEED, steps=steps, solver=model.sampling.solver)  # no fitted plan
    hook.remove()
    assert drawn.labels is not None
    return {**judge.of(drawn.state, drawn.labels), "network_rows_per_sample": rows / count}


def once(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The facts of a part: read where they are there, else made and written."""
    if path.is_file():
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    found = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1))
    return found


def trained(folder: Path, begin: Callable[[], Any]) -> Model:
    """The model of a run: begun, or continued where it was interrupted."""
    if (folder / "state" / "latest.json").is_file():
        about = Model.load(folder).about
        return Model.load(folder) if "ema" in about else perrin.train(folder, resume=True).model
    begin()
    return Model.load(folder)


def teacher_of(given: argparse.Namespace) -> Path:
    """The folder of the teacher, trained by the recipe `mnist` where none was given."""
    if given.teacher is not None:
        return Path(given.teacher)
    folder = given.out / "teacher"
    trained(folder, lambda: perrin.train("mnist", out=folder, overwrite=True, data={"path": str(given.data)}))
    return folder


def report(table: list[tuple[str, dict[str, Any]]], teacher: float) -> str:
    """The table as Markdown."""
    lines = ["| model | CPU-s | network rows per sample | feature distance | x teacher | class accuracy |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for name, f in table:
        lines.append(
            f"| {name} | {f.get('cpu_seconds') or ''} | {f.get('network_rows_per_sample', 0):.0f} "
            f"| {f['feature_distance']:.3f} | {f['feature_distance'] / teacher:.2f} | {f['class_accuracy']:.4f} |"
        )
    return "\n".join(lines)


def distilled(
    given: argparse.Namespace, teacher: Path, method: str, parts: Path
) -> tuple[Model, dict[str, Any]]:
    """A student, trained where it is not yet, and its cost: all CPU-seconds of `perrin.distill`, reading included."""
    run = given.out / f"{method}-{given.cpu_seconds:.0f}"
    training = {"cpu_seconds": given.cpu_seconds, "threads": 1}
    began = time.process_time()
    model = trained(
        run, lambda: perrin.distill(teacher, method=method, out=run, overwrite=True, training=training)
    )
    # after an interruption the run's own account, which leaves out reading and choosing
    whole = max(time.process_time() - began, float(model.about["train_cpu_seconds"]))
    made = {"cpu_seconds": round(whole), "training_steps": model.about["step"]}
    return model, once(parts / f"{run.name}-{model.hash}.json", lambda: made)


def main() -> None:
    """Train, distil, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="mnist.npz, for training the teacher")
    parser.add_argument("--teacher", type=Path, help="a trained run, instead")
    parser.add_argument("--out", type=Path, default=Path("runs/distillation"))
    parser.add_argument("--methods", nargs="*", default=["trajectory", "shortcut", "consistency"])
    parser.add_argument(
        "--cpu-seconds", type=float, default=1150.0, help="budget of each student, but for reading the data"
    )
    parser.add_argument("--samples", type=int, default=5000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    folder, count = teacher_of(given), given.samples
    teacher = Model.load(folder)
    judge = Judge(folder, teacher)
    parts = given.out / f"figures-{teacher.hash}-{count}"
    table = [("real training data", once(parts / "ceiling.json", lambda: judge.ceiling(count)))]
    for steps in (*FEW, TEACHER_STEPS):
        facts = once(parts / f"teacher-{steps}.json", lambda n=steps: measured(teacher, judge, count, n))
        table.append((f"teacher, {steps} steps", facts))
    whole = table[-1][1]["feature_distance"]
    for method in given.methods:
        student, cost = distilled(given, folder, method, parts)
        for steps in student.sampling.evaluations or ():
            facts = once(
                parts / f"{method}-{given.cpu_seconds:.0f}-{student.hash}-{steps}.json",
                lambda s=student, n=steps: measured(s, judge, count, n),
            )
            table.append((f"{method}, {steps}", {**facts, **cost}))
    page = report(table, whole)
    (given.out / "REPORT.md").write_text(page + "\n")
    print(page)


if __name__ == "__main__":
    main()
