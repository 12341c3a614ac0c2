"""Twisted sequential Monte Carlo on a mixture in the plane, of which one number is seen: what guidance alone gets wrong
of the shares of its parts goes away as particles grow. Prints a table of the bias of the posterior mean.

    python benchmarks/restoration/particles.py
"""

from __future__ import annotations

import time

import torch

from perrin.denoise import exact
from perrin.guide.operators import Mask
from perrin.guide.particles import particles
from perrin.guide.restoring import MMPS, PiGDM, Proximal
from perrin.process import edm
from perrin.sample import make_plan

MEANS = torch.tensor([[-1.0, -1.0], [1.0, 0.5], [0.5, -1.2]], dtype=torch.float64)
STDS, SHARES = (torch.tensor(v, dtype=torch.float64) for v in ([0.2, 0.25, 0.15], [0.5, 0.3, 0.2]))
SEEN, NOISE, TOTAL = 0.6, 0.3, 8_192
PLAN = make_plan("ddpm", edm(sigma_min=0.01, sigma_max=20.0), steps=150, grid="karras")


def posterior_mean() -> torch.Tensor:
    """The closed form: every part conditioned on what is seen, by its new share."""
    variance = NOISE**2 + STDS**2
    off = SEEN - MEANS[:, 0]
    share = torch.softmax(torch.log(SHARES) - 0.5 * off**2 / variance - 0.5 * torch.log(variance), 0)
    first = MEANS[:, 0] + STDS**2 / variance * off
    return (share[:, None] * torch.stack([first, MEANS[:, 1]], 1)).sum(0)


def main() -> None:
    torch.set_num_threads(1)
    prior, operator = exact.Mixture(MEANS, STDS, SHARES), Mask((2,), torch.tensor([True, False]))
    seen, right = torch.tensor([[SEEN, 0.0]], dtype=torch.float64), posterior_mean()
    deviation = float((SHARES @ (MEANS**2 + STDS[:, None] ** 2) - (SHARES @ MEANS) ** 2).mean().sqrt())
    print(
        f"bias of the posterior mean, in deviations of the prior ({deviation:.2f}), its standard error, CPU-seconds\n"
    )
    print(
        "| particles | "
        + " | ".join(m.__name__ for m in (MMPS, PiGDM, Proximal))
        + " |\n| --- | --- | --- | --- |"
    )
    for count in (1, 4, 16, 64, 256):
        cells = []
        for method in (MMPS, PiGDM, Proximal):
            start, runs = time.process_time(), TOTAL // count
            guide = method(prior, operator, seen, NOISE, 1.0)
            means = particles(
                PLAN, guide, seeds=range(runs), shape=(2,), count=count, dtype=torch.float64
            ).mean()
            bias = float((means.mean(0) - right).norm()) / deviation
            error = float((means.var(0).sum() / runs).sqrt()) / deviation
            cells.append(f"{bias:.3f} +- {error:.3f} ({time.process_time() - start:.0f})")
        print(f"| {count} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
