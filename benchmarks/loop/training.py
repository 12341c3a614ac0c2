"""Images per CPU-second of training: the same network, weights, batch, thread and precision under either loop.

python training.py [--repeats 12]                    (in the peers' environment; prints JSON)
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from typing import Any

import torch
from contenders import CONTENDERS, network

BATCH = 16  # the example's default
NETWORKS: dict[str, tuple[tuple[int, ...], int, int]] = {
    "28 x 28, channels 24 48 112": ((24, 48, 112), 28, 1),
    "8 x 8, channels 32 64": ((32, 64), 8, 1),
}


def measure(repeats: int) -> list[dict[str, Any]]:
    """Most and median images per CPU-second over interleaved steps, the first of which is left out."""
    rows = []
    for name, (channels, size, colours) in NETWORKS.items():
        net = network(channels, size, colours)
        images = torch.randn(BATCH, colours, size, size).clamp(-1, 1)
        kinds = [(library, half) for half in (False, True) for library in CONTENDERS]
        made = {kind: CONTENDERS[kind[0]](copy.deepcopy(net), kind[1]) for kind in kinds}
        times: dict[tuple[str, bool], list[float]] = {kind: [] for kind in kinds}
        for _ in range(repeats + 1):
            for kind in kinds:
                start = time.process_time()
                made[kind].step(images)
                times[kind].append(time.process_time() - start)
        for (library, half), spent in times.items():
            found = {"most": BATCH / min(spent[1:]), "median": BATCH / statistics.median(spent[1:])}
            about = {"network": name, "parameters": sum(p.numel() for p in net.parameters()), "batch": BATCH}
            precision = "bfloat16" if half else "float32"
            rows.append({**about, "library": library, "precision": precision, **found})
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=12)
    torch.set_num_threads(1)
    print(json.dumps(measure(parser.parse_args().repeats)))
