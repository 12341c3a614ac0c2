"""What a folder in the diffusers layout holds, and what is refused before anything of it is loaded.

`model_index.json` names the pipeline and, for each component, the library and class that its sub-folder is of. Classes
are looked up by name in a list of ours; nothing in the folder is ever run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perrin.errors import PerrinError

INDEX = "model_index.json"
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".msgpack", ".h5")
LIBRARIES = ("diffusers", "transformers", "stable_diffusion", "unclip")
_NUMBERS = re.compile(r"-\d+-of-\d+")
UNUSED = ("safety_checker", "watermarker")
"""Components that judge or mark pictures afterwards."""


@dataclass(frozen=True)
class Layout:
    """A folder in the diffusers layout.

    Attributes:
        folder: where it is. pipeline: the class that wrote it. classes: component -> class name.
        options: what else the index says, such as whether empty prompts are zeros.
    """

    folder: Path
    pipeline: str
    classes: Mapping[str, str]
    options: Mapping[str, Any]

    def of(self, component: str) -> Path:
        """The folder of a component.

        Raises:
            PerrinError: it is missing.
        """
        place = self.folder / component
        if component not in self.classes or not place.is_dir():
            said = "model_index.json does not name it" if component not in self.classes else "no such folder"
            raise PerrinError(f"{self.folder} lacks its {component} ({said}); download the whole repository")
        return place


def is_layout(folder: Path) -> bool:
    """Whether a folder is in the diffusers layout."""
    return (folder / INDEX).is_file()


def read(folder: Path) -> Layout:
    """The layout of a folder.

    Raises:
        PerrinError: an index that is none, components of code in the folder itself or of unknown libraries.
    """
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        pipeline = index["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PerrinError(f"{folder / INDEX} cannot be read as the index of a pipeline: {error!r}") from error
    if not isinstance(pipeline, str):
        raise PerrinError(f"{folder} asks for code of its own ({pipeline}), which Perrin never runs")
    classes, options = {}, {}
    for name, value in index.items():
        if name.startswith("_"):
            continue
        if not isinstance(value, list):
            options[name] = value
        elif value != [None, None] and name not in UNUSED:
            classes[name] = _class_of(folder, name, value)
    return Layout(folder, pipeline, classes, options)


def _class_of(folder: Path, name: str, value: list[Any]) -> str:
    if len(value) != 2 or not all(isinstance(part, str) for part in value):
        raise PerrinError(f"{folder / INDEX}: the component {name} is not [library, class] but {value}")
    library, kind = value
    if library not in LIBRARIES:
        raise PerrinError(
            f"{folder}: the component {name} is of {library!r}, code that Perrin does not know and does not run"
        )
    return str(kind)


def weights_of(folder: Path) -> list[Path]:
    """The safetensors files of a component.

    Raises:
        PerrinError: none, or only pickles, which may run code when they are read.
    """
    found = sorted(folder.glob("*.safetensors"))
    if found:
        return found
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles:
        raise PerrinError(
            f"{folder} holds its weights as {pickles[0]}, a pickle, which can run code when it is read: load it once in "
            "diffusers, on a machine that may, and save_pretrained(..., safe_serialization=True)"
        )
    raise PerrinError(f"{folder} holds no weights (*.safetensors)")


def variant_of(files: Sequence[Path]) -> str | None:
    """Such as fp16 where there are no other weights than `model.fp16.safetensors`; None: plain ones."""
    names = (_NUMBERS.sub("", file.name).removesuffix(".safetensors") for file in files)
    found = {name.partition(".")[2] for name in names}
    return None if "" in found else min(found, key=lambda name: (name != "fp16", name))
