"""A restoration on its way out: one folder of files as the given one was, a picture of all, and what is to be known.

mean          as the file was: .png, .nii.gz, DICOM, .npy, .csv, .wav
std           .png with its colour bar, and numbers in the file's units: .npy, .nii.gz, .csv
low, high     ends of the 90 % interval of every value
samples/      every sample
samples.npz   measurement and all samples [n, K, ...] in the units of the model's data, unrounded
overview.png, restore.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from perrin.editing.overview import overview, std_map
from perrin.editing.restoring import Restoration
from perrin.errors import PerrinError
from perrin.kinds.images.gallery import save_png
from perrin.kinds.provenance import write_sidecar
from perrin.saving import replacing, write_text

RAW = "samples.npz"


def save(found: Restoration, folder: Path) -> list[Path]:
    """Write everything and return the files.

    Raises:
        PerrinError: a file in the place of the folder, or what cannot be written.
    """
    if folder.is_file() or folder.suffix.lower() in (".png", ".npy", ".nii", ".gz", ".dcm", ".wav", ".csv"):
        raise PerrinError(f"a restoration is saved to a folder, not '{folder}'")
    made = described(found)
    files = []
    for name, values in found.quantities().items():
        files += found.form.write(name, values, folder, made)
    files += _pictures(found, folder, made)
    for k in range(found.samples.shape[1]):
        one = {**made, "sample": k}
        files += found.form.write(f"{k:03d}", found.samples[:, k], folder / "samples", one)
    write_raw(found, folder / RAW, made)
    write_text(folder / "restore.json", json.dumps({**made, **found.about}, indent=1) + "\n")
    return [*files, folder / RAW, folder / "restore.json"]


def described(found: Restoration) -> dict[str, Any]:
    """How it was made, JSON-able; nothing of the file's name or place."""
    first = dict(found.restored.provenance[0])
    del first["index"]
    left = found.form.stripped()
    return {"made_by": "restore", **first, **({} if left is None else {"stripped": left})}


def _pictures(found: Restoration, folder: Path, made: Mapping[str, Any]) -> list[Path]:
    drawn: dict[str, Image.Image | None] = {"overview": overview(found)}
    if "std" in found.quantities():
        drawn["std"] = std_map(found.restored.spread(), getattr(found.restored.codec, "units", ""))
    return [
        save_png(image, folder / f"{name}.png", made) for name, image in drawn.items() if image is not None
    ]


def write_raw(found: Restoration, path: Path, made: Mapping[str, Any]) -> Path:
    """Measurement, samples and the arrays of the task's options as `.npz`, all else in the JSON file beside it."""
    arrays = {
        name: np.asarray(value) for name, value in found.damage.options.items() if isinstance(value, Tensor)
    }
    held: dict[str, Any] = {
        "measurement": np.asarray(found.measurement),
        "samples": found.samples.numpy().astype(np.float32),
    }
    held |= {} if found.truth is None else {"truth": found.truth.numpy().astype(np.float32)}
    held |= {f"option_{name}": array for name, array in arrays.items()}
    with replacing(path) as part, part.open("wb") as out:
        np.savez_compressed(out, **held)
    plain = {name: value for name, value in found.damage.options.items() if name not in arrays}
    about = {name: found.about[name] for name in ("folder", "sigma", "scale")}
    write_sidecar(path, {**made, **about, "task": found.damage.task, "task_options": plain})
    return path
