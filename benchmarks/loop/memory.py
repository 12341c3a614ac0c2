"""Peak memory of one task by one library, in a process of its own: the resident set's peak above where it began.

python memory.py --library perrin --task dpmpp_2m    (in the peers' environment; prints JSON)
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
from pathlib import Path

import pictures
import torch
from contenders import CONTENDERS, network
from overhead import PAIRS, ours, theirs

from perrin.process import vp
from perrin.sample import make_plan

STATE = (64, 3, 256, 256)  # 48 MiB: what the loop itself keeps stands out
STEPS = 6
TASKS = (*PAIRS, "training")


def resident() -> float:
    """The peak of the resident set so far, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def measure(library: str, task: str, state: tuple[int, ...] = STATE) -> float:
    """MiB above what was there before the first step."""
    if task == "training":
        with tempfile.TemporaryDirectory() as folder:
            trainer = CONTENDERS[library](
                network((24, 48, 112), 28), pictures.write(Path(folder), 28), half=False
            )
            before = resident()
            for _ in range(20):
                trainer.step()
            return resident() - before
    plan, scheduler = make_plan(task, vp(), steps=STEPS), PAIRS[task](timestep_spacing="trailing")
    x = torch.randn(state)
    for part in (x[..., :1, :1], x):  # what is loaded on the first call is not the loop's
        before = resident()
        ours(plan, part) if library == "perrin" else theirs(scheduler, part, STEPS)
    return resident() - before


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", choices=list(CONTENDERS), required=True)
    parser.add_argument("--task", choices=TASKS, required=True)
    torch.set_num_threads(1)
    print(json.dumps({**vars(given := parser.parse_args()), "mebibytes": measure(given.library, given.task)}))
