"""Error against evaluations on exact denoisers: every deterministic rule, and the samplers of diffusers and k-diffusion.

    python benchmarks/solvers/run.py --out runs/solvers [--targets digits mixture] [--seeds 4096]

Every sampler's best grid at each number of evaluations is chosen on seeds of its own; the table shows it on the unseen
ones. A finished measurement leaves its errors in the output folder and is not repeated.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ours
import table
import torch
from targets import CHOOSING, TARGETS, UNSEEN, Target, distances, solve

from perrin.denoise.exact import Mixture
from perrin.process import ddpm_linear

sys.path.insert(0, str(Path(__file__).parents[1] / "mnist_training"))
import peers_environment

EVALUATIONS, FURTHER = (4, 5, 6, 8, 10, 15, 20), (30, 40, 60)
DECIDING = 10
ALWAYS = ("diffusers", "UniPC 2", "trailing")
"""Shown beside the best: the figures that other tables give for diffusers are of this grid."""
Contender = tuple[str, str, str]
"""(library, sampler, grid)"""


class Study:
    """The measurements of one output folder."""

    def __init__(self, target: Target, out: Path, peers: Path) -> None:
        self.target, self.out = target, out / "errors" / target.name
        self.python, self.variables = peers_environment.make(peers), peers_environment.variables(peers)
        source = str(Path(__file__).parents[2] / "src")
        self.variables["PYTHONPATH"] = os.pathsep.join([source, self.variables["PYTHONPATH"]])

    def contenders(self) -> list[Contender]:
        """All of them; the peers' own list comes from their environment."""
        theirs = json.loads(self.worker())
        return ours.contenders() + [(c["library"], c["sampler"], c["grid"]) for c in theirs]

    def worker(self, *arguments: str) -> str:
        command = [str(self.python), str(Path(__file__).with_name("peers.py")), *arguments]
        return subprocess.run(command, env=self.variables, check=True, capture_output=True, text=True).stdout

    def kept(self, who: Contender, evaluations: int, seeds: Sequence[int]) -> Path:
        name = "_".join(who).replace(" ", "-").replace(",", "")
        return self.out / f"{name}_{evaluations}_{seeds[0]}_{len(seeds)}.npz"

    def measure(self, asked: list[tuple[Contender, int]], seeds: Sequence[int]) -> None:
        """Leave the errors of each contender at each number of evaluations, where they are not there yet."""
        self.out.mkdir(parents=True, exist_ok=True)
        missing = [(who, n) for who, n in asked if not self.kept(who, n, seeds).exists()]
        for who, n in missing:
            if who[0] in (ours.UNTUNED, ours.FITTED):
                self._ours(who, n, seeds)
        theirs = [(who, n) for who, n in missing if who[0] not in (ours.UNTUNED, ours.FITTED)]
        if theirs:
            self._theirs(theirs, seeds)

    def _ours(self, who: Contender, n: int, seeds: Sequence[int]) -> None:
        plan = ours.plan_of(who[1], who[2], self.target, n)
        if plan is None:
            self._keep(who, n, seeds, torch.zeros(0), 0)
        else:
            found = distances(solve(plan, self.target, seeds), self.target, seeds, plan.levels[0])
            self._keep(who, n, seeds, found, plan.nfe)

    def _theirs(self, asked: list[tuple[Contender, int]], seeds: Sequence[int]) -> None:
        """In their environment, from the level of diffusers' timestep 999."""
        folder = self.out / f"states_{os.getpid()}"
        folder.mkdir()
        exact = self.target.denoiser
        assert isinstance(exact, Mixture)
        np.savez(folder / "target.npz", means=exact.means.numpy(), std=float(exact.stds[0]))
        np.savez(folder / "start.npz", start=self.target.start(seeds).numpy())
        jobs: dict[str, Any] = {"target": str(folder / "target.npz"), "start": str(folder / "start.npz")}
        jobs["jobs"] = [
            {
                "library": w[0],
                "sampler": w[1],
                "grid": w[2],
                "evaluations": n,
                "out": str(folder / f"{i}.npz"),
            }
            for i, (w, n) in enumerate(asked)
        ]
        (folder / "jobs.json").write_text(json.dumps(jobs))
        self.worker(str(folder / "jobs.json"))
        level = float(ddpm_linear().level(999.0))
        for i, (who, n) in enumerate(asked):
            states, calls = torch.zeros(0), 0
            if (folder / f"{i}.npz").exists():
                with np.load(folder / f"{i}.npz") as held:
                    states, calls = torch.from_numpy(held["states"]), int(held["calls"])
            found = distances(states, self.target, seeds, level) if calls else states
            self._keep(who, n, seeds, found, calls)
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()

    def _keep(
        self, who: Contender, n: int, seeds: Sequence[int], found: torch.Tensor, evaluations: int
    ) -> None:
        place = self.kept(who, n, seeds)
        np.savez(place.with_suffix(".part.npz"), errors=found.numpy(), evaluations=evaluations)
        place.with_suffix(".part.npz").rename(place)

    def errors(self, who: Contender, n: int, seeds: Sequence[int]) -> tuple[torch.Tensor, int]:
        """(errors [B], counted evaluations); empty where it has no such sampler."""
        with np.load(self.kept(who, n, seeds)) as held:
            return torch.from_numpy(held["errors"]), int(held["evaluations"])

    def score(self, who: Contender, n: int, seeds: Sequence[int]) -> float:
        """Root mean square: what the best of several grids has least of. A median alone hides lost seeds."""
        found, _ = self.errors(who, n, seeds)
        worth = float(found.square().mean().sqrt()) if len(found) else math.inf
        return worth if math.isfinite(worth) else math.inf


def study(
    target: Target, out: Path, peers: Path, seeds: Sequence[int], top: int, further: Sequence[int]
) -> str:
    """Choose every sampler's grid, measure it on unseen seeds, and tell."""
    made = Study(target, out, peers)
    everyone = made.contenders()
    made.measure([(who, n) for who in everyone for n in EVALUATIONS], CHOOSING)
    best: dict[tuple[str, str], dict[int, Contender]] = {}
    for library, sampler in dict.fromkeys(who[:2] for who in everyone):
        grids = [who for who in everyone if who[:2] == (library, sampler)]
        best[library, sampler] = {
            n: min(grids, key=lambda w, n=n: made.score(w, n, CHOOSING)) for n in EVALUATIONS
        }
    best = {name: best[name] for name in leaders(made, best, top)}
    for name in leaders(made, best, 1):
        best[name] |= dict.fromkeys(further, best[name][EVALUATIONS[-1]])
    best["diffusers", "UniPC 2, trailing"] = dict.fromkeys((*EVALUATIONS, *further), ALWAYS)
    made.measure([(who, n) for chosen in best.values() for n, who in chosen.items()], seeds)
    rows = {
        name: {n: (who[2], *made.errors(who, n, seeds)) for n, who in chosen.items()}
        for name, chosen in best.items()
    }
    return table.report(target.name, rows, len(seeds))


def leaders(
    made: Study, best: dict[tuple[str, str], dict[int, Contender]], top: int
) -> list[tuple[str, str]]:
    """The best samplers of each library at `DECIDING` evaluations, `top` of each."""
    found = []
    for library in dict.fromkeys(library for library, _ in best):
        names = [name for name in best if name[0] == library]
        found += sorted(names, key=lambda n: made.score(best[n][DECIDING], DECIDING, CHOOSING))[:top]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, required=True)
    add("--targets", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    add("--seeds", type=int, default=len(UNSEEN), help="unseen seeds of the table")
    add(
        "--top", type=int, default=99, help="rows of each library: its best at ten evaluations on other seeds"
    )
    add("--further", type=int, nargs="*", default=FURTHER, help="evaluations of each library's best alone")
    add("--peers", type=Path, default=Path(__file__).parents[2] / ".venv-peers")
    given = parser.parse_args()
    torch.set_num_threads(1)
    text = ""
    for name in given.targets:
        target = TARGETS[name](given.out / "references")
        text += study(target, given.out, given.peers, UNSEEN[: given.seeds], given.top, given.further)
    (given.out / "REPORT.md").write_text(text + table.signature())
    print(text)


if __name__ == "__main__":
    main()
