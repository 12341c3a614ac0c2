"""The samples of a restoration made again from the measurement that lies beside them, and an edit from its picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perrin.contracts import Decodes
from perrin.editing.repainting import edit_file, named
from perrin.editing.saving import RAW
from perrin.errors import PerrinError
from perrin.kinds import stacked
from perrin.kinds.images.gallery import read_png, save_images
from perrin.model import Model
from perrin.process.state import single
from perrin.restoration.drawing import restored
from perrin.restoration.problem import Problem
from perrin.restoration.tasks import build
from perrin.restoration.way import Way
from perrin.sample import Plan
from perrin.saving import replacing
from perrin.systems.latent.parameters import parameters

OPTION = "option_"


@dataclass(frozen=True)
class Again:
    """Samples [n, K, *shape] in the units of the model's data, and those that the file holds."""

    samples: np.ndarray
    held: np.ndarray

    def __len__(self) -> int:
        return len(self.samples)

    def save(self, path: str | Path) -> None:
        """Write them as `.npz`."""
        with replacing(Path(path)) as part, part.open("wb") as out:
            np.savez_compressed(out, samples=self.samples)


@dataclass(frozen=True)
class EditAgain:
    """One edit, uint8 [1, H, W] or [1, H, W, 3], what the file holds, and what it says of itself."""

    samples: np.ndarray
    held: np.ndarray
    provenance: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.samples)

    def save(self, path: str | Path) -> None:
        """Write it as `.png`."""
        save_images(list(self.samples), Path(path), [self.provenance], others=parameters)


def refuse_other_files(file: Path, said: Mapping[str, Any]) -> None:
    """Refuse all but the file that holds what is needed.

    Raises:
        PerrinError: saying which one does.
    """
    if "items" in said:
        raise PerrinError(f"{file} is a sheet of edits; perrin repro makes the single ones again")
    if said["made_by"] == "restore" and file.name != RAW:
        raise PerrinError(
            f"{file} was made of the samples in {RAW} of its folder: perrin repro makes that one again"
        )
    if said["made_by"] == "edit" and not ("edit" in said and "file" in said["image"]):
        raise PerrinError(
            f"{file} was edited in Python from pixels that are in no file; edit them again there"
        )


def edit_redone(model: Model, file: Path, said: Mapping[str, Any]) -> EditAgain:
    """An edit again, from the picture and the mask that it names.

    All that were drawn together are: in another batch a network may round otherwise.

    Raises:
        PerrinError: a picture or a mask that has changed or is gone.
    """
    places = {name: _unchanged(file, name, said[name]) for name in ("image", "mask") if name in said}
    asked = {"strength": None, **said["edit"]}
    found = edit_file(model, places["image"], places.get("mask"), progress=None, **asked)
    here = [made["index"] for made in found.samples.provenance].index(said["index"])
    made, held = found.pictures[here], read_png(file)
    if made.shape != held.shape:
        raise PerrinError(
            f"{file} holds pixels of shape {held.shape}, and its description gives {made.shape}"
        )
    return EditAgain(made[None], held[None], said)


def _unchanged(file: Path, what: str, said: Mapping[str, str]) -> Path:
    place = Path(said.get("file", ""))
    if "file" not in said or not place.is_file():
        raise PerrinError(f"{file} was edited from the {what} {place}, which is gone: put it back")
    if named(place)["hash"] != said["hash"]:
        raise PerrinError(f"{place} is no longer the {what} that {file} was edited from: put that one back")
    return place


def redone(model: Model, file: Path, said: dict[str, Any]) -> Again:
    """The samples again, of a `samples.npz` and what its sidecar says.

    Raises:
        PerrinError: a file that lacks something.
    """
    try:
        arrays = {name: np.array(stacked.open_npz(file, name)) for name in stacked.npz_keys(file)}
        options = {
            name[len(OPTION) :]: torch.from_numpy(v) for name, v in arrays.items() if name.startswith(OPTION)
        }
        guidance = said.get("guidance", 1.0)
        seen = model.codec.seen(guidance, 1.0, **said["wanted"]) if isinstance(model.codec, Decodes) else None
        codec = model.codec if seen is None else seen.codec
        operator = build(said["task"], single(codec.shape), {**said["task_options"], **options})
        problem = Problem.of_values(codec, operator, arrays["measurement"], said["sigma"] * said["scale"])
        particles = said["method"] == "particles"
        way = Way(
            Plan.from_recipe(said["plan"]), said["samples"], said["seed"],
            said["proposal"] if particles else said["method"], said.get("options", {}), said.get("label", -1),
            guidance, particles, seen,
        )  # fmt: skip
        held = arrays["samples"]
    except KeyError as error:
        raise PerrinError(f"{file} or its JSON file lacks {error}; it cannot be made again") from error
    found = restored(model, problem, way)
    return Again(found.values(found.state).numpy().astype(np.float32), held)
