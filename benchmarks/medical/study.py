"""What `mri.py` and `ct.py` share: measurements, rows of the table, the picture.

A finished row leaves a JSON file and its images and is not repeated.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import side_by_side
import torch
from measures import gain, pictures, shown, uncertainty
from torch import Tensor

import perrin
from perrin.guide.operators import Operator
from perrin.model import Model
from perrin.restoration.problem import measured_entries
from perrin.saving import load_tensors, save_tensors

Baseline = Callable[[Tensor, Any], Tensor]
"""(measurements of states, a setting) -> images."""
PICTURES = "psnr", "ssim"
UNCERTAINTY = "residual", "residual_mean", "coverage", "coverage_seen", "spearman", "spearman_seen"


class Study:
    """One operator, one noise, one model; `sets` are slices [n, 1, H, W] by name, and those of `choice` choose settings."""

    def __init__(
        self,
        given: argparse.Namespace,
        model: Model,
        operator: Operator,
        sets: dict[str, Tensor],
        choice: Tensor,
    ) -> None:
        self.given, self.model, self.operator, self.choice = given, model, operator, choice
        self.sets, self.noise = sets, float(given.noise)
        given.out.mkdir(parents=True, exist_ok=True)

    def measured(self, truth: Tensor, seed: int) -> Tensor:
        """y = A x + noise of states; nothing where nothing is measured."""
        x, generator = truth.double(), torch.Generator().manual_seed(seed)
        y = self.operator(x)
        parts = torch.view_as_real(y) if y.is_complex() else y
        noise = torch.randn(parts.shape, generator=generator, dtype=torch.float64)
        seen = measured_entries(self.operator)
        return y + self.noise * seen * (torch.view_as_complex(noise) if y.is_complex() else noise)

    def in_units(self, y: Tensor) -> Tensor:
        """The same of values in the user's units, as a scanner would give it."""
        offset, scale = self.model.codec.affine
        return scale * y + self.operator(torch.full((1, *self.operator.shape), offset, dtype=torch.float64))

    def baseline(self, name: str, method: Baseline, settings: Iterable[Any] = (None,)) -> None:
        """Rows of a classical method at the setting that is best on the slices of `choice`."""

        def chosen() -> dict[str, Any]:
            y, found = self.measured(self.choice, 1), {}
            for setting in settings:
                score = sum(pictures(method(y, setting), self.choice)["psnr"]) / len(y)
                found[str(setting)] = score
                if score < max(found.values()) - 0.5:
                    break
            return {"scores": found, "setting": max(found, key=lambda s: found[s])}

        best = once(self.given.out / f"{name}.json", chosen)["setting"]
        setting = next(s for s in settings if str(s) == best)
        for group, truth in self.sets.items():

            def row(truth: Tensor = truth) -> tuple[dict[str, Any], dict[str, Tensor]]:
                started = time.process_time()
                found = method(self.measured(truth, 0), setting)
                spent = (time.process_time() - started) / len(truth)
                return pictures(found, truth) | {"cpu_seconds": spent, "setting": best}, {"mean": found}

            self.row(group, name, row)

    def posterior(self) -> None:
        """Rows of the model's posterior mean."""
        for group, truth in self.sets.items():

            def row(truth: Tensor = truth) -> tuple[dict[str, Any], dict[str, Tensor]]:
                started, given = time.process_time(), self.given
                restored = self.model.restore(
                    self.in_units(self.measured(truth, 0)),
                    self.operator,
                    noise=self.noise * self.model.codec.affine[1],
                    samples=given.samples,
                    method=given.method,
                    solver=given.solver,
                    steps=given.steps,
                    settings=dict(given.setting),
                )
                spent = (time.process_time() - started) / len(truth)
                figures = pictures(restored.mean, truth) | uncertainty(restored, truth)
                figures |= {"sample_psnr": pictures(restored.state[:, 0], truth)["psnr"]}
                counted = {"cpu_seconds": spent, "evaluations": restored.evaluations}
                return figures | counted, {"mean": restored.mean, "std": restored.std, "truth": truth}

            self.row(group, "posterior mean", row)

    def row(
        self, group: str, name: str, make: Callable[[], tuple[dict[str, Any], dict[str, Tensor]]]
    ) -> None:
        """Measured now if its files are not there."""
        place = self.place(group, name)

        def kept() -> dict[str, Any]:
            figures, images = make()
            save_tensors(place.with_suffix(".safetensors"), images)
            return figures

        found = once(place, kept)
        print(f"{group}, {name}: PSNR {shown(found['psnr'])}", flush=True)

    def place(self, group: str, name: str) -> Path:
        """The row's JSON."""
        return self.given.out / f"{group}-{name}.json".replace(" ", "-")

    def report(self, rows: list[str]) -> str:
        """The tables of all sets."""
        parts = []
        for group, truth in self.sets.items():
            found = {name: json.loads(self.place(group, name).read_text()) for name in rows}
            lines = [
                f"{group}, {len(truth)} slices",
                "",
                "| | PSNR | SSIM | CPU-s a slice |",
                "| --- | --- | --- | --- |",
            ]
            for name, row in found.items():
                setting = "" if row.get("setting") in (None, "None") else f" ({row['setting']})"
                figures = " | ".join(shown(row[key], 2 + (key == "ssim")) for key in PICTURES)
                lines.append(f"| {name}{setting} | {figures} | {row['cpu_seconds']:.2f} |")
            mean, best = found["posterior mean"], max(rows[:-1], key=lambda name: sum(found[name]["psnr"]))
            lines += ["", f"posterior mean over {best}: {gain(mean, found[best])} dB; one sample: "
                      f"{shown(mean['sample_psnr'])} dB; {mean['evaluations']:.0f} evaluations a sample"]  # fmt: skip
            lines += [f"- {key}: {shown(mean[key], 3)}" for key in UNCERTAINTY]
            parts.append("\n".join(lines))
            side_by_side.sheet(self.images(group, rows), truth, self.given.out / f"{group}.png")
        text = "\n\n".join(parts) + "\n" + signature()
        (self.given.out / "REPORT.md").write_text(text)
        return text

    def images(self, group: str, rows: list[str]) -> dict[str, Tensor]:
        """What the rows made, and the standard deviation."""
        found = {name: load_tensors(self.place(group, name).with_suffix(".safetensors")) for name in rows}
        return {name: one["mean"] for name, one in found.items()} | {"std": found["posterior mean"]["std"]}


def once(place: Path, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The content of a JSON file, measured now if it is not there."""
    if not place.exists():
        part = place.with_suffix(".part")
        part.write_text(json.dumps(measure(), indent=1))
        part.rename(place)
    found: dict[str, Any] = json.loads(place.read_text())
    return found


def arguments(description: str | None, noise: float, more: dict[str, str]) -> argparse.Namespace:
    """What the scripts of this folder are given; `more`: paths by their flags, with what they are."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", type=Path, required=True, help="a run folder with its recipe.yaml")
    for flag, what in more.items():
        parser.add_argument(f"--{flag}", type=Path, required=True, help=what)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--noise", type=float, default=noise, help="of the measurement, in states' units")
    parser.add_argument("--samples", type=int, default=20, help="of the posterior, a slice")
    parser.add_argument("--slices", type=int, default=24)
    parser.add_argument("--method", default="mmps")
    parser.add_argument("--solver", default="dpmpp_2m_sde")
    parser.add_argument(
        "--setting", type=setting, action="append", default=[], help="of the method, name=number"
    )
    parser.add_argument("--steps", type=int, default=16)
    given = parser.parse_args()
    torch.set_num_threads(1)
    return given


def setting(text: str) -> tuple[str, float]:
    """A method's option."""
    name, _, number = text.partition("=")
    return name, float(number)


def load(folder: Path) -> Model:
    """A run."""
    model = perrin.load(folder)
    assert isinstance(model, Model)
    return model


def signature() -> str:
    """When, where and how."""
    return (
        f"\n{datetime.date.today()}, {platform.platform()}, one thread\n\n    python {' '.join(sys.argv)}\n"
    )
