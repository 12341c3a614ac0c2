"""Every restoration method against Bayes' rule, on priors whose posteriors are known in closed form.

    python benchmarks/restoration/exact.py --out runs/restoration-exact

A smooth Gaussian and a mixture, each of 16 entries, five operators with noise 0.1; minutes on one core. See README.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perrin.denoise.exact import Correlated, Mixture
from perrin.guide.operators import Compressed, Downsample, Mask, Operator, gaussian_blur
from perrin.guide.particles import particles
from perrin.guide.restoring import MMPS, PiGDM, Proximal, descent
from perrin.sample import run

D, NOISE, STEPS, ROWS = 16, 0.1, 40, 100
SHAPE = (1, D)
AT = torch.arange(D, dtype=torch.float64)
METHODS: dict[str, Callable[..., Any]] = {
    "mmps, 20 iterations": lambda *given: MMPS(*given, iterations=20),
    "mmps": MMPS,
    "pigdm": PiGDM,
    "proximal": Proximal,
}
OPERATORS: dict[str, Operator] = {
    "mask": Mask(SHAPE, AT % 3 == 0),
    "blur": gaussian_blur(SHAPE, 1.5),
    "downsample": Downsample(SHAPE, 4),
    "compressed": Compressed(SHAPE, 6),
    "one entry": Mask(SHAPE, AT == 0),  # of which two of the mixture's components say the same
}


@dataclass(frozen=True)
class Prior:
    """A mixture of Gaussians: shares [K], means [K, D], covariances [K, D, D]; and its exact denoiser."""

    name: str
    denoiser: Any
    shares: Tensor
    means: Tensor
    covariances: Tensor

    def moments(self, shares: Tensor, means: Tensor, covariances: Tensor) -> tuple[Tensor, Tensor]:
        """Of a mixture."""
        mean = shares @ means
        apart = means - mean
        return mean, torch.einsum("k,kij->ij", shares, covariances + apart[:, :, None] * apart[:, None])

    @property
    def deviation(self) -> float:
        """Root mean variance of an entry."""
        return float(self.moments(self.shares, self.means, self.covariances)[1].diagonal().mean().sqrt())

    def posterior(self, operator: Operator, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Shares, means and covariances given y [M], as `matrix` orders it."""
        a = matrix(operator)
        eye = torch.eye(len(a), dtype=a.dtype)
        spread = a @ self.covariances @ a.T + NOISE**2 * eye
        gain = self.covariances @ a.T @ torch.linalg.inv(spread)
        missed = y - self.means @ a.T
        means = self.means + torch.einsum("kij,kj->ki", gain, missed)
        log = torch.distributions.MultivariateNormal(self.means @ a.T, spread).log_prob(y) + self.shares.log()
        return torch.softmax(log, 0), means, self.covariances - gain @ a @ self.covariances


def matrix(operator: Operator) -> Tensor:
    """[M, D]: rows of entries that are measured at all."""
    a = operator(torch.eye(D, dtype=torch.float64)[:, None]).flatten(1).T
    return a[a.abs().sum(1) > 0]


def priors() -> list[Prior]:
    """One that guidance by a Gaussian gets right, and one that it does not."""
    smooth, wave = torch.exp(-(AT[:, None] - AT).abs() / 4), torch.sin(AT / 3)
    one = torch.ones(1, dtype=torch.float64)
    gaussian = Prior("Gaussian", Correlated(wave[None], smooth), one, wave[None], smooth[None])
    means = torch.stack([torch.sin(AT / 3), torch.cos(AT / 4), -torch.sin(AT / 2) * 0.8])
    stds, shares = torch.tensor([0.3, 0.4, 0.25]).double(), torch.tensor([0.5, 0.3, 0.2]).double()
    covariances = stds[:, None, None] ** 2 * torch.eye(D, dtype=torch.float64)
    mixture = Prior("mixture", Mixture(means[:, None], stds, shares), shares, means, covariances)
    return [gaussian, mixture]


def measurement(prior: Prior, operator: Operator) -> Tensor:
    """y [1, *measured] of a draw from the prior."""
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(D, generator=generator, dtype=torch.float64)
    clean = prior.means[0] + torch.linalg.cholesky(prior.covariances[0]) @ z
    y = operator(clean[None, None])
    noise = NOISE * torch.randn(y.shape, generator=generator, dtype=torch.float64)
    return torch.where(operator(torch.ones(1, *SHAPE).double()) == 0, 0.0, y + noise)


def compared(prior: Prior, operator: Operator, x: Tensor) -> dict[str, float]:
    """Samples [N, D] against the closed form, in units of the prior's standard deviation."""
    y = measurement(prior, operator)
    seen = operator(torch.eye(D, dtype=torch.float64)[:, None]).flatten(1).abs().sum(0) > 0
    mean, covariance = prior.moments(*prior.posterior(operator, y.flatten()[seen]))
    unit, found = prior.deviation, torch.cov(x.T)
    std = found.diagonal().sqrt() - covariance.diagonal().sqrt()
    whole = prior.moments(prior.shares, prior.means, prior.covariances)[1]
    return {
        "mean": float((x.mean(0) - mean).square().mean().sqrt()) / unit,
        "std": float(std.square().mean().sqrt()) / unit,
        "covariance": float((found - covariance).norm() / whole.norm()),
    }


def drawn(prior: Prior, method: str, count: int, operator: Operator) -> dict[str, float]:
    """A method's samples."""
    given = prior.denoiser, operator, measurement(prior, operator), NOISE, prior.deviation
    started = time.process_time()
    x = run(
        descent(prior.deviation, STEPS), METHODS[method](*given), shape=SHAPE, dtype=torch.float64,
        seeds=[(0, i) for i in range(count)],
    )  # fmt: skip
    assert isinstance(x, Tensor)
    return compared(prior, operator, x.flatten(1)) | {"cpu_seconds": time.process_time() - started}


def exactly(prior: Prior, count: int, operator: Operator) -> dict[str, float]:
    """Draws from the posterior itself: what is left is chance."""
    y = measurement(prior, operator)
    seen = operator(torch.eye(D, dtype=torch.float64)[:, None]).flatten(1).abs().sum(0) > 0
    shares, means, covariances = prior.posterior(operator, y.flatten()[seen])
    generator = torch.Generator().manual_seed(2)
    of = torch.multinomial(shares, count, replacement=True, generator=generator)
    z = torch.randn(count, D, generator=generator, dtype=torch.float64)
    root = torch.linalg.cholesky(covariances + 1e-12 * torch.eye(D, dtype=torch.float64))
    return compared(prior, operator, means[of] + torch.einsum("nij,nj->ni", root[of], z)) | {
        "cpu_seconds": 0.0
    }


def weighed(prior: Prior, number: int, total: int, operator: Operator) -> dict[str, float]:
    """Twisted sequential Monte Carlo: the mean of total / P runs of P particles."""
    given = prior.denoiser, operator, measurement(prior, operator), NOISE, prior.deviation
    started, runs = time.process_time(), total // number
    found = particles(
        descent(prior.deviation, ROWS, "ddpm"), PiGDM(*given), seeds=range(runs), shape=SHAPE,
        count=number, dtype=torch.float64,
    )  # fmt: skip
    every = found.resampled(range(runs)).flatten(0, 1).flatten(1)
    return compared(prior, operator, every) | {"cpu_seconds": time.process_time() - started}


def once(place: Path, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """A row, measured now if its file is not there."""
    if not place.exists():
        part = place.with_suffix(".part")
        part.write_text(json.dumps(measure(), indent=1))
        part.rename(place)
    found: dict[str, float] = json.loads(place.read_text())
    return found


def ways(prior: Prior, count: int) -> dict[str, Callable[[Operator], dict[str, float]]]:
    """The rows of the table."""
    rows: dict[str, Callable[[Operator], dict[str, float]]] = {}
    rows["draws of the posterior itself"] = partial(exactly, prior, count)
    for method in METHODS:
        rows[method] = partial(drawn, prior, method, count)
    for number in (1, 4, 16, 64):
        rows[f"{number} particles of pigdm"] = partial(weighed, prior, number, count)
    return rows


def rows_of(prior: Prior, out: Path, count: int) -> dict[str, list[dict[str, float]]]:
    """Every row's cells, one for each operator; those whose files are there are not measured again."""

    def place(row: str, operator: str) -> Path:
        return out / f"{prior.name}-{operator}-{row}.json".replace(" ", "-").replace(",", "")

    return {
        row: [once(place(row, name), partial(make, operator)) for name, operator in OPERATORS.items()]
        for row, make in ways(prior, count).items()
    }


def table(title: str, rows: dict[str, list[dict[str, float]]]) -> str:
    """mean / std / covariance of every operator, and CPU-seconds in all."""
    lines = [
        f"**{title}**",
        "",
        f"| | {' | '.join(OPERATORS)} | CPU-s |",
        "| --- " * (len(OPERATORS) + 2) + "|",
    ]
    for name, row in rows.items():
        cells = [f"{r['mean']:.3f} / {r['std']:.3f} / {r['covariance']:.3f}" for r in row]
        lines.append(f"| {name} | {' | '.join(cells)} | {sum(r['cpu_seconds'] for r in row):.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=1000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    parts = []
    for prior in priors():
        rows = rows_of(prior, given.out, given.samples)
        parts.append(table(f"{prior.name} (deviation {prior.deviation:.2f}), mean / std / covariance", rows))
        print(parts[-1], "\n", flush=True)
    signature = f"{datetime.date.today()}, {platform.platform()}, python {' '.join(sys.argv)}"
    (given.out / "REPORT.md").write_text("\n\n".join([*parts, signature]) + "\n")


if __name__ == "__main__":
    main()
