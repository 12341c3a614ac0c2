"""The peers' own environment: their packages beside the project's torch, and nothing of theirs in
ours.

denoising-diffusion-pytorch imports torchvision for its data loader, which the race does not use;
torchvision would bring a second torch, so an empty stand-in is put on the path instead. k-diffusion
needs more of the kind; `benchmarks/solvers` loads its sampling module alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

TORCH = "torch==2.13.0"
PACKAGES = ["diffusers==0.35.2", "accelerate", "einops", "ema-pytorch", "numpy", "scipy", "pillow", "tqdm"]
PACKAGES += ["pydantic", "pyyaml"]  # what our trainer needs where it takes turns with theirs
WITHOUT_DEPENDENCIES = ["denoising-diffusion-pytorch==2.3.4", "k-diffusion==0.1.1"]


def python_in(folder: Path) -> Path:
    """The interpreter of an environment; absent where the environment has not been made."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def make(folder: Path) -> Path:
    """Make the environment unless it is there with all that is listed here; returns its interpreter."""
    python, complete = python_in(folder), folder / "complete"
    wanted = "\n".join([TORCH, *PACKAGES, *WITHOUT_DEPENDENCIES])
    if not complete.exists() or complete.read_text() != wanted:
        print(f"making the peers' environment in {folder}", file=sys.stderr)
        if not python.exists():
            venv.create(folder, with_pip=True)
        install = [str(python), "-m", "pip", "install", "-q", TORCH]
        subprocess.run([*install, *PACKAGES], check=True)
        subprocess.run([*install[:-1], "--no-deps", *WITHOUT_DEPENDENCIES], check=True)
        stand_in(folder / "stand_in" / "torchvision")
        complete.write_text(wanted)
    return python


def stand_in(package: Path) -> None:
    """A torchvision whose `transforms` and `utils` can be imported and hold nothing."""
    package.mkdir(parents=True, exist_ok=True)
    for module in ("__init__", "transforms", "utils"):
        (package / f"{module}.py").touch()


def variables(folder: Path) -> dict[str, str]:
    """The process environment of a contender: one thread, and the stand-in on the path."""
    path = os.pathsep.join(filter(None, [str(folder / "stand_in"), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": path}
