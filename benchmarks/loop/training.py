"""Images per CPU-second of training: the same network, weights, batch, thread and precision under either loop.

python training.py [--repeats 16]                    (in the peers' environment; prints JSON)
"""

from __future__ import annotations

import argparse
import copy
import json
import resource
import statistics
import time
from typing import Any

import torch
from contenders import CONTENDERS, HALF_ONLY, network
from torch import Tensor

BATCH = 16  # the example's default
NETWORKS: dict[str, tuple[tuple[int, ...], int, int]] = {
    "28 x 28, channels 24 48 112": ((24, 48, 112), 28, 1),
    "8 x 8, channels 32 64": ((32, 64), 8, 1),
}


def measure(repeats: int, contenders: list[str]) -> list[dict[str, Any]]:
    """Images per CPU-second of every contender, over repeats in which they take turns, and the cost of compiling."""
    rows = []
    for name, (channels, size, colours) in NETWORKS.items():
        torch.compiler.reset()
        net = network(channels, size, colours)
        images = torch.randn(BATCH, colours, size, size).clamp(-1, 1)
        kinds = [(c, half) for half in (False, True) for c in contenders if half or c not in HALF_ONLY]
        made = {kind: CONTENDERS[kind[0]](copy.deepcopy(net), kind[1]) for kind in kinds}
        first = {kind: beginning(made[kind], images) for kind in kinds}
        rounds = [{kind: seconds(made[kind], images) for kind in kinds} for _ in range(repeats)]
        about = {"network": name, "parameters": sum(p.numel() for p in net.parameters()), "batch": BATCH}
        rows += [{**about, **figures(kind, rounds), "first_two_steps": first[kind]} for kind in kinds]
    return rows


def seconds(contender: Any, images: Tensor) -> float:
    """CPU-seconds of one step."""
    start = time.process_time()
    contender.step(images)
    return time.process_time() - start


def beginning(contender: Any, images: Tensor) -> float:
    """CPU-seconds of the first two steps, a compiler's own processes included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = seconds(contender, images) + seconds(contender, images)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own + after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def figures(kind: tuple[str, bool], rounds: list[dict[tuple[str, bool], float]]) -> dict[str, Any]:
    """Most and median images per CPU-second; the speed beside the plain example, by the most and round by round."""
    contender, half = kind
    spent = [turn[kind] for turn in rounds]
    ratios = sorted(turn["diffusers", half] / turn[kind] for turn in rounds)
    return {
        "contender": contender,
        "precision": "bfloat16" if half else "float32",
        "most": BATCH / min(spent),
        "median": BATCH / statistics.median(spent),
        "ratio": min(turn["diffusers", half] for turn in rounds) / min(spent),
        "ratio_of_a_round": {
            "median": statistics.median(ratios),
            "quartiles": [ratios[len(ratios) // 4], ratios[(3 * len(ratios)) // 4]],
        },
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=16)
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps(measure(given.repeats, list(dict.fromkeys(["diffusers", *given.contenders])))))
