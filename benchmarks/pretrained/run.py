"""Pretrained folders, in Perrin and in diffusers' own pipeline: loading, memory, and what a step costs beside the network.

    python benchmarks/pretrained/run.py --out runs/pretrained

Makes a Stable Diffusion folder with random weights, and prints a table. Every figure is of a process of its own, in turns,
medians over rounds; see README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

IMPORTS = {
    "perrin": "import perrin.cli.entry, perrin.loading",
    "diffusers": "from diffusers import DiffusionPipeline",
}

LOADING = {
    "perrin": "import perrin\nmodel = perrin.load(FOLDER)",
    "diffusers": "from diffusers import StableDiffusionPipeline\n"
    "pipeline = StableDiffusionPipeline.from_pretrained(FOLDER, use_safetensors=True, safety_checker=None)",
}

# a network that costs nothing, so that what is left is the loop; two numbers of steps, so that the rest cancels
STEPS = {
    "perrin": """
import perrin
model = perrin.load(FOLDER)
model.denoiser.net.net.forward = cheap
def draw(steps):
    model.sample(1, prompt="a", steps=steps, solver="ddim", guidance=5.0)
""",
    "diffusers": """
from diffusers import DDIMScheduler, StableDiffusionPipeline
pipeline = StableDiffusionPipeline.from_pretrained(FOLDER, use_safetensors=True, safety_checker=None)
pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
pipeline.set_progress_bar_config(disable=True)
pipeline.unet.forward = cheap
def draw(steps):
    pipeline("a", num_inference_steps=steps, guidance_scale=5.0, height=64, width=64)
""",
}

COMMON = """
import json, resource, time, torch
torch.set_num_threads(1)
def cheap(x, *args, return_dict=True, **told):
    return (x,)
"""

TAIL = """
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss / 1024}))
"""

# the least of several repetitions, since what else the machine does only adds; new: a number of steps not seen before
PER_STEP = """
draw(4)
def seconds(steps):
    start = time.process_time()
    draw(steps)
    return time.process_time() - start
def per_step(pairs):
    few, many = zip(*[(seconds(a), seconds(b)) for a, b in pairs])
    return (min(many) - min(few)) / 200 * 1e6
new = per_step([(20 + i, 220 + i) for i in range(8)])
print(json.dumps({"new": new, "again": per_step([(20, 220)] * 8)}))
"""


def measured(code: str, folder: Path) -> dict[str, float]:
    """What a process of its own prints last."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    run = subprocess.run(
        [sys.executable, "-c", f"FOLDER = {str(folder)!r}\n{code}"],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    found: dict[str, float] = json.loads(run.stdout.strip().splitlines()[-1])
    return found


def in_turns(codes: dict[str, str], folder: Path, key: str, rounds: int) -> dict[str, float]:
    """Medians over rounds, who goes first alternating."""
    found: dict[str, list[float]] = {name: [] for name in codes}
    for turn in range(rounds):
        for name in sorted(codes, reverse=turn % 2 == 1):
            found[name].append(measured(codes[name], folder)[key])
    return {name: statistics.median(values) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--width", type=int, default=128, help="channels of the U-Net's first level")
    given = parser.parse_args()
    folder = given.out / f"stable-diffusion-{given.width}"
    if not (folder / "model_index.json").is_file():
        subprocess.run([sys.executable, HERE / "making.py", folder, str(given.width)], check=True)
    loading = {name: COMMON + code + TAIL for name, code in LOADING.items()}
    bare = COMMON.replace(", torch", "").replace("torch.set_num_threads(1)", "")
    steps = {name: COMMON + code + PER_STEP for name, code in STEPS.items()}
    codes = {
        "import, CPU-seconds": ("cpu", {name: bare + code + TAIL for name, code in IMPORTS.items()}),
        "loading, imports included, CPU-seconds": ("cpu", loading),
        "loading, peak memory, MB": ("peak", loading),
        "a guided step beside the network, microseconds": ("again", steps),
        "the same, of a number of steps that was not asked for before": ("new", steps),
    }
    rows = {name: in_turns(own, folder, key, given.rounds) for name, (key, own) in codes.items()}
    print("| | perrin | diffusers | ratio |\n| --- | --- | --- | --- |")
    for name, row in rows.items():
        print(
            f"| {name} | {row['perrin']:.4g} | {row['diffusers']:.4g} | {row['perrin'] / row['diffusers']:.2f} |"
        )


if __name__ == "__main__":
    main()
