"""Images per CPU-second of training: the same network, weights, pictures, batch and thread under either loop.

python training.py [--rounds 24]                    (in the peers' environment; prints JSON)

Every contender has a process of its own, as its user would, and takes a turn of some steps when it is told to.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pictures
import torch
from contenders import BATCH, CONTENDERS, HALF_ONLY
from contenders import network as build

NETWORKS: dict[str, tuple[tuple[int, ...], int, int]] = {
    "28 x 28, channels 24 48 112": ((24, 48, 112), 28, 2),
    "8 x 8, channels 32 64": ((32, 64), 8, 8),
}
"""Channels, side of the pictures, steps of a turn."""

PLAIN = "diffusers"


class Kind(NamedTuple):
    """A contender in a precision."""

    name: str
    half: bool

    @property
    def precision(self) -> str:
        return "bfloat16" if self.half else "float32"


class Turns:
    """A contender's process, waiting for its turn."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.first = self.told()  # CPU-seconds of the first two steps

    def told(self) -> float:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a contender ended early: {self.process.args!r}")
        return float(line)

    def take(self) -> float:
        """CPU-seconds of a turn."""
        assert self.process.stdin is not None
        print(file=self.process.stdin, flush=True)
        return self.told()


@contextmanager
def contender(kind: Kind, network: str, folder: Path) -> Iterator[Turns]:
    """The process of a contender."""
    options = [
        "--contender",
        kind.name,
        "--precision",
        kind.precision,
        "--network",
        network,
        "--data",
        str(folder),
    ]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, __file__, *options], **pipes) as process:
        try:
            yield Turns(process)
        finally:
            process.kill()


def measure(rounds: int, names: list[str]) -> list[dict[str, Any]]:
    """Images per CPU-second of every contender, over rounds in which they take turns, and the cost of beginning."""
    rows = []
    kinds = [Kind(n, half) for half in (False, True) for n in names if half or n not in HALF_ONLY]
    for network, (_, size, steps) in NETWORKS.items():
        with tempfile.TemporaryDirectory() as made, ExitStack() as stack:
            folder = pictures.write(Path(made), size)
            running = {kind: stack.enter_context(contender(kind, network, folder)) for kind in kinds}
            spent = [{kind: running[kind].take() / steps for kind in kinds} for _ in range(rounds)]
        about = {"network": network, "batch": BATCH}
        rows += [{**about, **figures(kind, spent), "first_two_steps": running[kind].first} for kind in kinds]
    return rows


def figures(kind: Kind, spent: list[dict[Kind, float]]) -> dict[str, Any]:
    """Images per CPU-second, of all rounds and of the best; the speed beside the plain example, also in float32."""
    own = [turn[kind] for turn in spent]
    plain, whole = Kind(PLAIN, kind.half), Kind(PLAIN, False)
    ratios = sorted(turn[plain] / turn[kind] for turn in spent)
    return {
        "contender": kind.name,
        "precision": kind.precision,
        "mean": BATCH / statistics.mean(own),
        "most": BATCH / min(own),
        "ratio": statistics.mean(turn[plain] for turn in spent) / statistics.mean(own),
        "ratio_of_the_most": min(turn[plain] for turn in spent) / min(own),
        "quartiles": [ratios[len(ratios) // 4], ratios[(3 * len(ratios)) // 4]],
        "ratio_to_float32": statistics.mean(turn[whole] for turn in spent) / statistics.mean(own),
    }


def serve(name: str, half: bool, network: str, folder: Path) -> None:
    """Be a contender: print the CPU-seconds of beginning, then those of a turn for every line that is read."""
    torch.set_num_threads(1)
    channels, size, steps = NETWORKS[network]
    made = CONTENDERS[name](build(channels, size), folder, half)

    def turn(count: int) -> None:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)  # a compiler's own processes
        own = time.process_time()
        for _ in range(count):
            made.step()
        own, after = time.process_time() - own, resource.getrusage(resource.RUSAGE_CHILDREN)
        print(own + after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, flush=True)

    turn(2)
    for _ in sys.stdin:
        turn(steps)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--contender", choices=list(CONTENDERS), help=argparse.SUPPRESS)
    parser.add_argument("--precision", help=argparse.SUPPRESS)
    parser.add_argument("--network", help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contender is not None:
        serve(given.contender, given.precision == "bfloat16", given.network, given.data)
    else:
        print(json.dumps(measure(given.rounds, list(dict.fromkeys([PLAIN, *given.contenders])))))
