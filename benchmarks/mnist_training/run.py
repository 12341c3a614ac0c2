"""Train Perrin, diffusers and denoising-diffusion-pytorch on MNIST for the same CPU-seconds and print
a table.

    python benchmarks/mnist_training/run.py --data mnist.npz --out runs/mnist_race [--cpu-seconds 1800]

Every contender runs as a process of its own with one thread: three learning rates at a fifth of the
budget, then the learning rate with the least Frechet distance for the whole of it. A finished run
leaves `run.json` and its samples in a folder of its own and is not repeated, so a race that was
interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import peers_environment
import table
from judge import Judge

HERE = Path(__file__).resolve().parent
PEERS_ENVIRONMENT = HERE.parents[1] / ".venv-peers"
LEARNING_RATES = ("3e-4", "1e-3", "3e-3")
SEARCH_SAMPLES = 500


@dataclass(frozen=True)
class Entry:
    """One contender: its script, and the guidance weights of its samples at the end."""

    name: str
    script: str
    peer: bool = True
    guidance: tuple[str, ...] = ("1", "1.5")
    learning_rates: tuple[str, ...] = field(default=LEARNING_RATES)


ENTRIES = {
    entry.name: entry
    for entry in (
        Entry("diffusers", "peer_diffusers.py"),
        Entry("denoising-diffusion-pytorch", "peer_ddpm_pytorch.py"),
        # its rate was chosen before, by runs at a fifth of the budget as well
        Entry("perrin", "ours.py", peer=False, learning_rates=("2e-3",), guidance=("1", "1.2", "1.5")),
    )
}


class Race:
    """Runs what has not been run yet, judges it and keeps the report up to date."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.judge = given, Judge(given.data, given.out)
        self.records: list[dict[str, Any]] = []

    def run(self, entries: list[Entry]) -> None:
        """Every search first, then the whole budget, the most promising contender ahead."""
        searched = [(entry, *self.search(entry)) for entry in entries]
        for entry, lr, _ in sorted(searched, key=lambda found: found[2]):
            self.train(entry, lr, self.given.cpu_seconds, search=False)

    def search(self, entry: Entry) -> tuple[str, float]:
        """The learning rate with the least Frechet distance at a fifth of the budget, and that distance."""
        fifth = self.given.cpu_seconds / 5
        distances = {}
        for lr in entry.learning_rates:
            distances[lr] = table.best(self.train(entry, lr, fifth, search=True))["frechet_distance"]
        return min(distances.items(), key=lambda pair: pair[1])

    def train(self, entry: Entry, lr: str, seconds: float, search: bool) -> dict[str, Any]:
        """One process, unless its run is there; returns its judged record."""
        folder = self.given.out / f"{entry.name}_{lr}_{seconds:g}s_seed{self.given.seed}"
        if not (folder / "run.json").exists():
            command = self.command(entry, lr, seconds, folder, search)
            subprocess.run(command, env=peers_environment.variables(PEERS_ENVIRONMENT), check=True)
        return self.report(folder, entry, search)

    def report(self, folder: Path, entry: Entry, search: bool) -> dict[str, Any]:
        """Judge one finished run and write the report anew."""
        self.records.append(self.judge.run(folder) | {"search": search, "peer": entry.peer})
        (self.given.out / "REPORT.md").write_text(table.report(self.records, self.judge))
        return self.records[-1]

    def report_finished(self, entries: list[Entry]) -> None:
        """Judge what has been run so far and start nothing."""
        fifth = self.given.cpu_seconds / 5
        for entry in entries:
            for seconds in (fifth, self.given.cpu_seconds):
                pattern = f"{entry.name}_*_{seconds:g}s_seed{self.given.seed}/run.json"
                for finished in sorted(self.given.out.glob(pattern)):
                    self.report(finished.parent, entry, search=seconds == fifth)

    def command(self, entry: Entry, lr: str, seconds: float, folder: Path, search: bool) -> list[str]:
        python = str(peers_environment.make(PEERS_ENVIRONMENT)) if entry.peer else sys.executable
        command = [python, str(HERE / entry.script), "--data", str(self.given.data), "--out", str(folder)]
        command += ["--lr", lr, "--cpu-seconds", f"{seconds:g}", "--seed", str(self.given.seed)]
        if search:
            return [*command, "--samples", str(min(SEARCH_SAMPLES, self.given.samples))]
        checkpoints = 1 if entry.peer else self.given.checkpoints
        command += ["--samples", str(self.given.samples), "--checkpoints", str(checkpoints)]
        return [*command, "--guidance", *entry.guidance]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="an .npz with train_images, test_labels, ...")
    add("--out", type=Path, required=True, help="folder of the runs, the judge and REPORT.md")
    add("--cpu-seconds", type=float, default=1800)
    add("--samples", type=int, default=2000)
    add("--checkpoints", type=int, default=4, help="of ours: 4 is 1/8, 1/4, 1/2 and all")
    add("--seed", type=int, default=0)
    add("--only", nargs="+", choices=list(ENTRIES), default=list(ENTRIES))
    add("--report-only", action="store_true", help="judge the finished runs, start none")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    race, entries = Race(given), [ENTRIES[name] for name in given.only]
    if given.report_only:
        race.report_finished(entries)
    else:
        race.run(entries)
    print((given.out / "REPORT.md").read_text())


if __name__ == "__main__":
    main()
