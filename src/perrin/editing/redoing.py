"""The samples of a restoration made again from the measurement that lies beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perrin.editing.saving import RAW
from perrin.errors import PerrinError
from perrin.kinds import stacked
from perrin.model import Model
from perrin.process.state import single
from perrin.restoration.drawing import Way, restored
from perrin.restoration.problem import Problem
from perrin.restoration.tasks import build
from perrin.sample import Plan
from perrin.saving import replacing

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


def refuse_other_files(file: Path, made_by: str) -> None:
    """Refuse all but the file that holds what is needed.

    Raises:
        PerrinError: saying which one does.
    """
    if made_by == "edit":
        raise PerrinError(
            f"{file} was edited from a picture that is not in it; run perrin edit on that picture again: the same seed "
            "gives the same edit"
        )
    if file.name != RAW:
        raise PerrinError(
            f"{file} was made of the samples in {RAW} of its folder: perrin repro makes that one again"
        )


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
        operator = build(said["task"], single(model.codec.shape), {**said["task_options"], **options})
        problem = Problem.of_values(
            model.codec, operator, arrays["measurement"], said["sigma"] * said["scale"]
        )
        particles = said["method"] == "particles"
        way = Way(
            Plan.from_recipe(said["plan"]), said["samples"], said["seed"],
            said["proposal"] if particles else said["method"], said.get("options", {}), said.get("label", -1),
            said.get("guidance", 1.0), particles,
        )  # fmt: skip
        held = arrays["samples"]
    except KeyError as error:
        raise PerrinError(f"{file} or its JSON file lacks {error}; it cannot be made again") from error
    found = restored(model, problem, way)
    return Again(found.values(found.state).numpy().astype(np.float32), held)
