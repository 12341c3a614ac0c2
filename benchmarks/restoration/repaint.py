"""Holes in pictures, known pixels without noise: blended replacement and RePaint beside the methods that were kept.

    python benchmarks/restoration/repaint.py --model runs/mnist --data mnist.npz

Blended replacement (Avrahami et al. 2022) puts the known pixels, noised to the level, into the state after every ancestral
row. RePaint (Lugmayr et al. 2022) does so U times a row, noised back to the row's first level in between, so that what is
filled comes to terms with what is known; U = 1 is blended replacement. Prints a table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from degradations import degradations
from torch import Tensor

import perrin
from perrin.denoise.prediction import Denoiser
from perrin.guide.operators import Mask
from perrin.guide.restoring import descent
from perrin.model import Model
from perrin.process import gaussian, levels
from perrin.process.state import single
from perrin.restoration.drawing import Way, restored
from perrin.restoration.problem import Problem, measured_entries


def repaint(model: Model, known: Tensor, keep: Tensor, rows: int, times: int, seed: int) -> Tensor:
    """States like `known` [B, ...], of which `keep` is given, by `times` visits of every one of `rows` rows of ddpm."""
    plan, draw = descent(model.codec.sigma_data, rows, "ddpm"), torch.Generator().manual_seed(seed)
    denoiser: Denoiser = model.guided(1.0)
    condition = {"label": torch.full((len(known),), -1)} if model.codec.classes else None

    def noise() -> Tensor:
        return torch.randn(known.shape, generator=draw)

    x = noise()
    for here, after in zip(plan.evaluated, plan.base_levels[1:], strict=True):
        for visit in range(times):
            level = torch.full((len(x),), here, dtype=torch.float64)
            mean = single(denoiser(x, level, condition).mean)
            c_x, c_clean, std = (float(v) for v in gaussian.posterior(here, after))
            x = c_x * x + c_clean * mean + std * noise()
            alpha, sigma = (float(f(torch.tensor(after))) for f in (levels.alpha, levels.sigma))
            x = torch.where(keep, alpha * known + sigma * noise(), x)
            if visit + 1 < times and np.isfinite(after):
                scale, back = (float(v) for v in gaussian.transition(after, here))
                x = scale * x + back * noise()
    return x


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="an .npz with test_images")
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--samples", type=int, default=8)
    given = parser.parse_args()
    model = perrin.load(given.model)
    assert isinstance(model, Model)
    with np.load(given.data) as held:
        truth = model.states(list(held["test_images"][: given.pictures]))
    shape, count = tuple(truth.shape[1:]), given.samples

    def by_repaint(rows: int, times: int) -> Callable[[Mask], Tensor]:
        def run(mask: Mask) -> Tensor:
            with torch.no_grad():
                found = repaint(model, truth.repeat_interleave(count, 0), mask.keep, rows, times, 0)
            return found.view(len(truth), count, *shape)

        return run

    def by_method(name: str, rows: int) -> Callable[[Mask], Tensor]:
        def run(mask: Mask) -> Tensor:
            problem = Problem(mask, mask(truth.double()), 0.0, measured_entries(mask))
            return restored(model, problem, Way(descent(model.codec.sigma_data, rows), count, 0, name)).state

        return run

    ways = {
        "mmps, 40 rows": by_method("mmps", 40),
        "proximal, 40 rows": by_method("proximal", 40),
        "blended replacement, 40 rows": by_repaint(40, 1),
        "blended replacement, 200 rows": by_repaint(200, 1),
        "RePaint, 40 rows of 5 visits": by_repaint(40, 5),
        "RePaint, 40 rows of 10 visits": by_repaint(40, 10),
    }
    holes = [d for d in degradations(shape) if d.name.startswith("inpaint")]
    print(
        "PSNR of the mean and of one sample of what is filled, dB, with standard errors; CPU-seconds a picture\n"
    )
    print("| method | " + " | ".join(d.name for d in holes) + " |\n| --- |" + " --- |" * len(holes))
    for name, way in ways.items():
        cells = []
        for hole in holes:
            assert isinstance(hole.operator, Mask)
            start, lost = time.process_time(), ~hole.operator.keep
            found = way(hole.operator)
            spent = (time.process_time() - start) / len(truth)
            one = [
                10 * torch.log10(4 / (v.clamp(-1, 1) - truth).square()[:, lost].mean(1))
                for v in (found.mean(1), found[:, 0])
            ]
            error = float(one[0].std()) / len(truth) ** 0.5
            cells.append(
                f"{float(one[0].mean()):.2f} +- {error:.2f}, {float(one[1].mean()):.2f} ({spent:.1f})"
            )
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
