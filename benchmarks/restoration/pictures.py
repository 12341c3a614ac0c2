"""Restoration of pictures by any image model, beside classical methods that are tuned for it.

    python benchmarks/restoration/pictures.py --model RUN --data mnist.npz --out runs/restoration-mnist

Every finished row leaves a JSON file and is not repeated. See README.md for the rules.
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
from classical import Classical, classical
from degradations import Degradation, degradations
from prototypes import PROTOTYPES
from torch import Tensor

import perrin
from perrin.evaluate.feature_cache import Features, feature_extractor
from perrin.guide.restoring import descent
from perrin.model import Model
from perrin.process import levels
from perrin.registry import methods
from perrin.restoration.asking import method_of
from perrin.sample import Plan, run
from perrin.training import recipe as recipes
from perrin.training.setup import open_data

OTHERS = ("mmps", "pigdm", "proximal", "matched", "dps")
CHOSEN = 16  # pictures of the validation split that settings are chosen by
JUDGED_BY = 20_000  # training pictures that the classifier of the feature distance learns from


class Study:
    """One model, its held-out pictures and the folder of the results."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.out = given, given.out
        model = perrin.load(given.model)
        assert isinstance(model, Model)
        self.model = model.to(given.device)
        raw = recipes.read(given.model / "recipe.yaml")
        if given.data is not None:
            raw["data"]["path"] = str(given.data)
        data = open_data(recipes.validate(raw))
        assert data.test is not None
        assert data.validation is not None
        self.truth, self.labels = self._states(data.test, given.pictures)
        self.choice = self._states(data.validation, CHOSEN)[0]
        self.training = data.train
        self.judge: Features | None = None

    def _states(self, data: Any, count: int) -> tuple[Tensor, Tensor | None]:
        found = self.model.codec.encode([data[i] for i in range(min(count, len(data)))])
        return found.state.float(), found.condition.get("label")

    def once(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """A part's figures, measured now if its file is not there."""
        place = self.out / f"{name.replace(' ', '-')}.json"
        if not place.exists():
            part = place.with_suffix(".part")
            part.write_text(json.dumps(measure(), indent=1))
            part.rename(place)
        found: dict[str, Any] = json.loads(place.read_text())
        return found

    def figures(self, found: Tensor, truth: Tensor) -> dict[str, list[float]]:
        """Of every picture: PSNR in dB, and the distance of features relative to that of two strangers."""
        if self.judge is None:
            states, labels = self._states(self.training, JUDGED_BY)
            self.judge = feature_extractor(states, labels)
        found = found.cpu().clamp(-1, 1)
        mine, right = self.judge.features(found), self.judge.features(truth)
        strangers = (right - right.roll(1, 0)).norm(dim=1).mean()
        return {
            "psnr": psnr(found, truth),
            "features": ((mine - right).norm(dim=1) / strangers).tolist(),
        }

    def classical(self, of: Degradation, method: Classical) -> dict[str, Any]:
        """A classical method at its best setting."""
        seen = of.measured(self.choice, 1)
        scores = {}
        for number, setting in enumerate(method.settings):
            scores[number] = float(np.mean(psnr(method.restore(of, seen, setting).clamp(-1, 1), self.choice)))
        best = method.settings[max(scores, key=lambda n: scores[n])]
        started = time.process_time()
        found = method.restore(of, of.measured(self.truth, 0), best)
        spent = (time.process_time() - started) / len(found)
        return {"mean": self.figures(found, self.truth), "cpu_seconds": spent, "setting": best}

    def posterior(self, of: Degradation, name: str, plan: Plan, count: int) -> dict[str, Any]:
        """The mean of K samples, and the first of them."""
        truth, k = self.truth[:count], self.given.samples
        y = of.measured(self.truth, 0)[:count].to(self.given.device)
        passes, started, clock = Passes(self.model), time.process_time(), time.perf_counter()
        parts = [self._drawn(of, name, plan, y, i) for i in range(0, count, self.given.batch)]
        sampled = torch.cat(parts).cpu()
        spent, wall = (time.process_time() - started) / count, (time.perf_counter() - clock) / count
        apart = (sampled.mean(1) - truth).square().mean() - sampled.var(1).mean() / k
        missed = of.operator(sampled.flatten(0, 1)) - y.cpu().repeat_interleave(k, 0)
        return {
            "mean": self.figures(sampled.mean(1), truth),
            "one": self.figures(sampled[:, 0], truth),
            "residual": float(missed.square().sum() / missed[:1].numel() / len(missed) / seen_share(of))
            ** 0.5,
            "spread": float(sampled.var(1).mean() / apart),
            "cpu_seconds": spent,
            "wall_seconds": wall,
            "evaluations": passes.close() / count / k,
        }

    def _drawn(self, of: Degradation, name: str, plan: Plan, y: Tensor, first: int) -> Tensor:
        """Samples [n, K, *shape] of a batch of pictures."""
        k, shape = self.given.samples, self.model.codec.shape
        y = y[first : first + self.given.batch]
        condition = None
        if self.model.codec.classes:
            condition = {"label": torch.full((len(y) * k,), -1, device=y.device)}
        make = PROTOTYPES[name](plan) if name in PROTOTYPES else methods[name]
        guide = make(
            self.model.guided(1.0), of.operator, y.repeat_interleave(k, 0), of.noise, self.model.codec.sigma_data
        )  # fmt: skip
        keys = [(first + i, j) for i in range(len(y)) for j in range(k)]
        found = run(plan, guide, seeds=keys, shape=shape, condition=condition, device=y.device)
        assert isinstance(found, Tensor)
        return found.view(len(y), k, *shape)

    def one_evaluation(self, of: Degradation) -> dict[str, Any]:
        """Of pictures with white noise: the network's own mean at the level of that noise."""
        y = of.measured(self.truth, 0).to(self.given.device)
        level = torch.full((len(y),), float(levels.level_of_ratio(of.noise)), dtype=torch.float64)
        x = float(levels.alpha(level[:1])) * y
        condition = (
            {"label": torch.full((len(y),), -1, device=y.device)} if self.model.codec.classes else None
        )
        started = time.process_time()
        with torch.no_grad():
            found = self.model.guided(1.0)(x, level, condition).mean
        assert isinstance(found, Tensor)
        spent = (time.process_time() - started) / len(y)
        return {"mean": self.figures(found, self.truth), "cpu_seconds": spent, "evaluations": 1}


class Passes:
    """Counts the rows that go forward through a model's network."""

    def __init__(self, model: Model) -> None:
        self.rows = 0
        self.hook = model.denoiser.net.register_forward_hook(self._count)

    def _count(self, _: Any, given: tuple[Any, ...], __: Any) -> None:
        self.rows += len(given[0])

    def close(self) -> int:
        """How many there were."""
        self.hook.remove()
        return self.rows


def seen_share(of: Degradation) -> float:
    """Of the measurement's entries, how many say something."""
    return float(of.keep.float().mean())


def psnr(found: Tensor, truth: Tensor) -> list[float]:
    """dB of every picture, of values from -1 to 1."""
    found_: list[float] = (10 * (4 / (found - truth).square().flatten(1).mean(1)).log10()).tolist()
    return found_


def shown(values: Any, digits: int = 2) -> str:
    """The mean over pictures with its 95 % bootstrap interval."""
    array = np.asarray(values)
    drawn = array[np.random.default_rng(0).integers(0, len(array), (4000, len(array)))].mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{array.mean():.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def table(study: Study, of: Degradation) -> str:
    """All rows of one degradation."""
    given, plan = study.given, descent(study.model.codec.sigma_data)
    rows = {
        m.name: study.once(f"{of.name} {m.name}", lambda m=m: study.classical(of, m)) for m in classical(of)
    }
    best = max(rows, key=lambda name: np.mean(rows[name]["mean"]["psnr"]))
    count = len(study.truth)
    default = method_of(of.operator, of.noise)
    rows[default] = study.once(f"{of.name} {default}", lambda: study.posterior(of, default, plan, count))
    if of.name.startswith("denoise"):
        rows["one evaluation"] = study.once(f"{of.name} one", lambda: study.one_evaluation(of))
    others = [name for name in OTHERS if given.others and name != default]
    for name in others:
        chosen = descent(study.model.codec.sigma_data, rule="ddpm") if name == "dps" else plan
        rows[name] = study.once(
            f"{of.name} {name}", lambda n=name, p=chosen: study.posterior(of, n, p, min(given.others, count))
        )
    lines = [
        f"**{of.name}**, noise {of.noise}",
        "",
        "| method | mean, dB | one sample, dB | features | spread | residual | CPU-s | evaluations |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in rows.items():
        number = len(row["mean"]["psnr"])
        title = f"{name} ({row['setting']})" if row.get("setting") is not None else name
        lines.append(
            f"| {title}{'' if number == count else f', first {number}'} | {shown(row['mean']['psnr'])} | "
            f"{shown(row['one']['psnr']) if 'one' in row else ''} | {np.mean(row['mean']['features']):.2f} | "
            f"{format(row['spread'], '.2f') if 'spread' in row else ''} | "
            f"{format(row['residual'] / of.noise, '.2f') if 'residual' in row else ''} | {row['cpu_seconds']:.2f} | "
            f"{format(row['evaluations'], '.0f') if 'evaluations' in row else ''} |"
        )
    gain = np.subtract(rows[default]["mean"]["psnr"], rows[best]["mean"]["psnr"])
    lines += ["", f"{default} over {best}: {shown(gain)} dB"]
    for name in others:
        other = rows[name]["mean"]["psnr"]
        against = np.subtract(rows[default]["mean"]["psnr"][: len(other)], other)
        lines.append(f"{default} over {name}: {shown(against)} dB")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a run folder with its recipe.yaml")
    parser.add_argument("--data", type=Path, help="instead of the recipe's data.path")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--samples", type=int, default=8, help="K of every picture")
    parser.add_argument(
        "--others", type=int, default=16, help="pictures that the other methods restore; 0: none"
    )
    parser.add_argument("--only", help="degradations whose name begins so")
    parser.add_argument("--batch", type=int, default=8, help="pictures at a time")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    study = Study(given)
    parts = []
    for of in degradations(study.model.codec.shape):
        if of.name.startswith(given.only or ""):
            parts.append(table(study, of))
            print(parts[-1], "\n", flush=True)
    signature = f"{datetime.date.today()}, {platform.platform()}, python {' '.join(sys.argv)}"
    (given.out / "REPORT.md").write_text("\n\n".join([*parts, signature]) + "\n")


if __name__ == "__main__":
    main()
