"""Beside the network: overhead per step, training throughput and peak memory, of Perrin and of diffusers.

    python benchmarks/loop/run.py --out runs/loop [--parts overhead training memory kept]

A finished part leaves its figures in the output folder and is not repeated. The report is printed, and kept there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import report

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.append(str(HERE.parent / "mnist_training"))  # one environment for the peers of every benchmark

import peers_environment  # noqa: E402

PEERS = ROOT / ".venv-peers"
PARTS = ("overhead", "training", "memory", "kept")
TASKS = ("ddim", "dpmpp_2m", "unipc_2", "training")


def worker(script: str, *options: str) -> Any:
    """What a script of this folder prints, run in the peers' environment on one thread."""
    environment = peers_environment.variables(PEERS)
    environment["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # else by processes whose time is not seen
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), environment["PYTHONPATH"]])
    command = [str(peers_environment.make(PEERS)), str(HERE / script), *options]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def part(name: str) -> Any:
    """The figures of one part."""
    if name == "memory":
        return [
            worker("memory.py", "--library", library, "--task", task)
            for task in TASKS
            for library in ("perrin", "diffusers")
        ]
    return worker(f"{name}.py")


def main() -> None:
    """Measure what has not been measured, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    pages = []
    for name in given.parts:
        file = given.out / f"{name}.json"
        if not file.exists():
            file.write_text(json.dumps(part(name), indent=1) + "\n")
        pages.append(report.PAGES[name](json.loads(file.read_text())))
    (given.out / "REPORT.md").write_text("\n".join(pages))
    print("\n".join(pages))


if __name__ == "__main__":
    main()
