"""Molecules in three dimensions, trained for minutes on one CPU core: sound atoms, and properties that were asked for.

    python benchmarks/molecules/qm7.py --data qm7_3d.npz --out runs/qm7 [--model RUN] [--samples 1000] [--property logp]

Without `--model` the recipe `molecules` is trained first, for the CPU-seconds that it says, on molecules that come with
the property. A finished part leaves a JSON file and is not repeated. See README.md.
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

import perrin
from perrin.contracts import Dataset
from perrin.evaluate.molecule_reading import PROPERTIES, Reading, read_all
from perrin.evaluate.molecules import molecule_figures
from perrin.kinds.molecules.molecule import Molecule
from perrin.metrics import ratio
from perrin.model import Model
from perrin.training import recipe as recipes
from perrin.training.setup import open_data

SHARES = {
    "atom stability": "atom_stability",
    "molecule stability": "molecule_stability",
    "valid": "valid_share",
    "valid, one piece": "connected_share",
    "unique": "unique_share",
    "novel": "novel_share",
}
SETS = {"generated": "", "held out": "_ceiling", "jitter .05 A": "_control", "jitter .1 A": "_baseline"}


def once(path: Path, make: Callable[[], Any]) -> Any:
    """What a finished part left, or what it makes now."""
    if not path.exists():
        found = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1))
    return json.loads(path.read_text())


class Study:
    """The parts on one model."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.out = given, given.out
        folder = given.model or self.trained()
        self.model: Model = perrin.load(folder, device=given.device)
        recipe = recipes.validate(recipes.read(Path(folder) / "recipe.yaml"))
        here = {"data": {"path": str(given.data)}}
        self.data = open_data(recipes.validate(recipes.merge(recipe.model_dump(), here)))

    def trained(self) -> Path:
        """The recipe's run, on molecules that come with the property."""
        folder: Path = self.out / "run"
        if (folder / "README.md").exists():  # written last
            return folder
        if any((folder / "state").glob("*")):
            perrin.train(folder, resume=True, device=self.given.device)
        else:
            data = {"path": str(self.given.data), "properties": [self.given.property]}
            content = recipes.merge(recipes.read("molecules"), {"data": data})
            for change in self.given.set:
                content = recipes.set_value(content, change)
            perrin.train(content, out=folder, overwrite=True, device=self.given.device)
        return folder

    @property
    def training(self) -> list[Dataset]:
        """Everything that the model was made from."""
        return [part for part in (self.data.train, self.data.validation) if part is not None]

    def figures(self) -> dict[str, Any]:
        """Of samples that nothing was asked of, beside real and jittered molecules."""
        started = time.process_time()
        drawn = self.model.sample(self.given.samples, seed=0)
        spent = time.process_time() - started
        assert self.data.test is not None
        found, _ = molecule_figures(drawn.decoded, self.training, self.data.test)
        return found | {"cpu_seconds": spent, "evaluations": drawn.evaluations}

    def equivariance(self) -> float:
        """The largest change of a prediction, float32, where the molecule is turned, in units of the largest position."""
        device = self.given.device
        drawn = {name: value.to(device) for name, value in self.model.sample(16, seed=1).state.items()}
        turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0].to(device)
        worst = 0.0
        for level in (-4.0, 0.0, 4.0):
            levels = torch.full((16,), level, device=device)
            turned = {**drawn, "positions": drawn["positions"] @ turn}
            with torch.no_grad():
                one = self.model.denoiser(drawn, levels, None).mean["positions"] @ turn
                two = self.model.denoiser(turned, levels, None).mean["positions"]
            worst = max(worst, float((one - two).abs().max() / one.abs().max()))
        return worst

    def asked(self, shift: float, guidance: float, how: str) -> dict[str, Any]:
        """Samples of which "nothing" is asked, or to be "told" how many standard deviations from its mean the property is.

        A number of atoms is drawn with the property; of "sizes" these are given and nothing else is asked.
        """
        count, wanted = self.given.asked, {self.given.property: self.target(shift)}
        if how == "nothing":
            return self.read(self.model.sample(count, seed=2).decoded)
        if how == "told":
            return self.read(self.model.sample(count, seed=2, guidance=guidance, **wanted).decoded)
        codec: Any = self.model.codec
        sizes = [each["length"] for each in codec.outline(count, 2, 0, **wanted).about]
        return self.read(self.model.sample(count, seed=2, length=sizes).decoded)

    def target(self, shift: float) -> float:
        """The property that lies so many standard deviations from the training molecules' mean."""
        codec: Any = self.model.codec
        one = {p.name: p for p in codec.targets.properties}[self.given.property]
        return float(one.mean + shift * one.std)

    def read(self, molecules: list[Molecule]) -> dict[str, Any]:
        """Stability of all atoms; the property of what is valid and in one piece, standardised; both with errors."""
        readings = read_all(molecules)
        good = np.array([r.stable for r in readings if r.stable is not None], np.float64)
        share, error = ratio(good[:, 0], good[:, 1])
        values = self.values([r for r in readings if r.connected])
        return {
            "stability": [share, error],
            "shift": [float(values.mean()), float(values.std() / len(values) ** 0.5)],
            "read": len(values),
            "connected": len(values) / len(readings),
        }

    def values(self, readings: list[Reading]) -> np.ndarray:
        """The property of each, in standard deviations of the training molecules from their mean."""
        zero, one = self.target(0.0), self.target(1.0)
        place = PROPERTIES.index(self.given.property)
        found = [r.properties[place] for r in readings if r.properties is not None]
        return (np.array(found) - zero) / (one - zero)

    def table(self) -> str:
        """Everything as Markdown."""
        found = once(self.out / "figures.json", self.figures)
        text = "| | " + " | ".join(SETS) + " |\n" + "| --- " * (1 + len(SETS)) + "|\n"
        for title, name in SHARES.items():
            cells = [found.get(name + suffix) for suffix in SETS.values()]
            shown = ["" if cell is None else f"{cell:.3f}" for cell in cells]
            error = found.get(f"{name}_stderr")
            shown[0] += "" if error is None else f" +- {error:.3f}"
            text += f"| {title} | " + " | ".join(shown) + " |\n"
        text += f"\n{found['counts']['generated']} samples, {found['evaluations']:.0f} evaluations each, "
        text += f"{found['cpu_seconds']:.0f} CPU-s; equivariance error "
        text += f"{once(self.out / 'equivariance.json', self.equivariance):.1e} (float32)\n\n"
        return text + self.steered()

    def steered(self) -> str:
        """What was asked for against what came."""
        name = self.given.property
        if name not in getattr(self.model.codec, "properties", []):
            return f"this model was not told {name}\n"
        text = f"| {name} asked for | guidance | mean of samples | atom stability | valid, one piece |\n"
        text += "| --- " * 5 + "|\n"
        rows: list[tuple[str, float, float, str]] = [("nothing", 0.0, 1.0, "nothing")]
        for shift in self.given.shifts:
            rows.append((f"{shift:+g} std, sizes alone", shift, 1.0, "sizes"))
            rows += [(f"{shift:+g} std", shift, weight, "told") for weight in self.given.guidance]
        for title, shift, weight, how in rows:
            path = self.out / "asked" / f"{how}{shift:+g}-{weight:g}.json"
            row = once(path, lambda s=shift, w=weight, h=how: self.asked(s, w, h))
            text += f"| {title} | {weight:g} | {row['shift'][0]:+.2f} +- {row['shift'][1]:.2f} std | "
            text += f"{row['stability'][0]:.3f} +- {row['stability'][1]:.3f} | {row['connected']:.3f} |\n"
        return text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="qm7_3d.npz")
    add("--out", type=Path, required=True)
    add("--model", type=Path, help="a run of the recipe molecules with held_out: 0.1")
    add("--samples", type=int, default=1000)
    add("--property", choices=PROPERTIES, default="logp")
    add("--asked", type=int, default=500, help="samples for each property that is asked for")
    add("--shifts", type=float, nargs="+", default=[1.0, 2.0], help="in standard deviations")
    add("--guidance", type=float, nargs="+", default=[1.0, 2.0])
    add("--device", default="cpu", help="cuda, for the larger network that README.md names")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="changes a value of the recipe")
    given = parser.parse_args()
    torch.set_num_threads(1)
    text = Study(given).table()
    text += (
        f"\n{datetime.date.today()}, {platform.platform()}, one thread\n\n    python {' '.join(sys.argv)}\n"
    )
    (given.out / "QM7.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
