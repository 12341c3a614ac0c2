"""What keeping freed memory saves: CPU-seconds and page faults of sampling and training, with it and without.

python kept.py [--repeats 5]                        (in the peers' environment; prints JSON)

Every row is a process of its own; with and without take turns.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

TASKS = {
    "sampling 128 x 28 x 28, guided DiT, 10 steps": 1,
    "training a U-Net, 28 x 28, batch 16": 10,
}
"""Repetitions of each within a row."""


def sampling() -> Callable[[], object]:
    """A batch of the network of the recipe `mnist`, with fresh weights."""
    import torch

    from perrin.denoise import wrap
    from perrin.guide import ClassifierFree
    from perrin.process import edm
    from perrin.registry import nets
    from perrin.sample import make_plan, run
    from perrin.training import recipe as recipes

    net = nets.build({**recipes.read("mnist")["net"], "shape": (1, 28, 28), "classes": 10})
    denoiser = ClassifierFree(wrap(net, "edm"), 1.5)
    plan, condition = make_plan("dpmpp_2m", edm(), steps=10), {"label": torch.arange(128) % 10}
    return lambda: run(plan, denoiser, seeds=range(128), shape=(1, 28, 28), condition=condition)


def training() -> Callable[[], object]:
    """Our trainer as in `contenders.py`."""
    import pictures
    from contenders import Perrin, network

    folder = pictures.write(Path(tempfile.mkdtemp()), 28)
    return Perrin(network((24, 48, 112), 28), folder, half=False).step


def row(task: str, keep: bool) -> dict[str, float]:
    """CPU-seconds, those of the system, and page faults of a repetition, after one that is not counted."""
    import torch

    from perrin import heap

    torch.set_num_threads(1)
    if not keep:
        heap._gnu = lambda: None  # type: ignore[assignment]
    one = sampling() if task.startswith("sampling") else training()
    one()
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.process_time()
    for _ in range(TASKS[task]):
        one()
    spent, after = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cpu_seconds": spent / TASKS[task],
        "of_the_system": (after.ru_stime - before.ru_stime) / TASKS[task],
        "page_faults": (after.ru_minflt - before.ru_minflt) / TASKS[task],
        "peak_mebibytes": after.ru_maxrss / 2**10,
    }


def measure(repeats: int) -> list[dict[str, Any]]:
    """Medians over processes."""
    rows = []
    for task in TASKS:
        found: dict[str, list[dict[str, float]]] = {"kept": [], "given back": []}
        for _ in range(repeats):
            for name, values in found.items():
                command = [sys.executable, __file__, "--task", task, "--keep", name]
                values.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
        for name, values in found.items():
            rows.append({"task": task, "freed memory": name})
            rows[-1] |= {key: statistics.median(v[key] for v in values) for key in values[0]}
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--task", choices=list(TASKS), help=argparse.SUPPRESS)
    parser.add_argument("--keep", help=argparse.SUPPRESS)
    given = parser.parse_args()
    print(json.dumps(row(given.task, given.keep == "kept") if given.task else measure(given.repeats)))
