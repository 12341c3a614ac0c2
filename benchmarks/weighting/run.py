"""Loss weights against the uniform-weight noise loss: at which share of its steps is its feature distance reached?

    python benchmarks/weighting/run.py --out runs/weighting [--seeds 0 1 2]

Every row is a training of its own, with its own learning-rate schedule to its own end. A finished one leaves its
figures in JSON and is not repeated.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path
from typing import Any

import table
import torch

import perrin
from perrin.evaluate.feature_cache import feature_extractor
from perrin.evaluate.states import reference
from perrin.metrics import frechet_distance
from perrin.training import recipe as recipes
from perrin.training.setup import open_data

STEPS = 1400
SHARES = (0.8, 0.6)
SAMPLES = 1000
TIMES = {"name": "uniform_time", "schedule": "vp"}
# the mean is the learned weight's paper's; the std is wide enough for a noise network
LOGNORMAL = {"name": "lognormal", "mean": -0.4, "std": 1.4}
BASELINE = "noise loss"
OBJECTIVES: dict[str, dict[str, Any]] = {
    BASELINE: {"law": TIMES, "weight": {"name": "simple"}},
    "min-SNR 5": {"law": TIMES, "weight": {"name": "min_snr", "gamma": 5.0}},
    # the law decides alone where a learned weight puts the effort
    "learned, lognormal law": {"law": LOGNORMAL, "weight": {"name": "learned", "base": {"name": "simple"}}},
    "noise loss, lognormal law": {"law": LOGNORMAL, "weight": {"name": "simple"}},  # the control of it
    "learned": {"law": TIMES, "weight": {"name": "learned", "base": {"name": "simple"}}},
}


def recipe(weight: str, share: float, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """The recipe of one training: the digits recipe with a noise network, uniform times of VP, and one EMA."""
    return recipes.merge(
        recipes.read(given.recipe),
        {
            "data": {} if given.data is None else {"path": str(given.data)},
            "parameterisation": {"name": "noise"},
            "objective": OBJECTIVES[weight],
            "training": {
                "steps": round(share * given.steps),
                "cpu_seconds": None,
                "seed": seed,
                "ema": [0.1],
                "sample_every": None,
            },
            "sampling": {"guidance": 1.0},
        },
    )


def distances(folder: Path, samples: int) -> dict[str, float]:
    """Feature distance of a run's samples to the real digits held out, and what it took to train."""
    started = time.process_time()
    model = perrin.load(folder)
    real = reference(open_data(recipes.validate(recipes.read(folder / "recipe.yaml"))), model.codec, folder)
    extractor = feature_extractor(real.train, real.train_labels, seed=0)
    drawn = extractor.features(model.sample(samples, seed=0).state)
    return {
        "test": frechet_distance(drawn, extractor.features(real.test)),
        "train": frechet_distance(drawn, extractor.features(real.train)),
        "train_cpu_seconds": float(model.about["train_cpu_seconds"]),
        "judge_cpu_seconds": time.process_time() - started,
    }


def measure(weight: str, share: float, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """One training and its figures, unless they are there."""
    folder: Path = given.out / f"{re.sub('[^a-zA-Z0-9]+', '-', weight)}_{share:g}_seed{seed}"
    kept = folder.with_suffix(folder.suffix + ".json")
    if not kept.exists():
        started = (folder / "state" / "latest.json").exists()
        what: Any = str(folder) if started else recipe(weight, share, seed, given)
        perrin.train(what, out=folder, resume=started, overwrite=not started)
        found = {"weight": weight, "share": share, "seed": seed, **distances(folder, given.samples)}
        kept.write_text(json.dumps(found, indent=1))
    found = json.loads(kept.read_text())
    print(json.dumps(found), flush=True)
    return dict(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, required=True)
    add("--recipe", default="digits", help="whose network, batch and learning rate to use")
    add("--data", type=Path, help="data.path of the recipe, where it has none")
    add("--steps", type=int, default=STEPS, help="of the whole training")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--shares", type=float, nargs="+", default=list(SHARES))
    add("--ways", nargs="+", choices=list(OBJECTIVES)[1:], default=list(OBJECTIVES)[1:])
    add("--samples", type=int, default=SAMPLES)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    trainings = [(BASELINE, 1.0)]
    trainings += [(way, share) for way in given.ways for share in given.shares]
    rows = [measure(way, share, seed, given) for way, share in trainings for seed in given.seeds]
    print(table.table(rows, BASELINE))


if __name__ == "__main__":
    main()
