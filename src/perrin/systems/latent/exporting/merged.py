"""A changed pretrained model as a folder of its own, that diffusers' pipeline of the same class loads.

What was not changed is copied as it is. A component with a LoRA in it is written anew in the precision that it had, tensor
by tensor: those that are the same keep every digit. ControlNets become a component, and the pipeline the one that has it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from perrin.errors import PerrinError
from perrin.saving import weights_hash, write_json, write_text
from perrin.systems.latent.components import RENAMED, module, module_at
from perrin.systems.latent.control import SEVERAL, control_places, numbered
from perrin.systems.latent.exporting.folders import copied_folder, whole_folder
from perrin.systems.latent.exporting.merged_card import CONTROL, MERGED, card_of, merges, record
from perrin.systems.latent.exporting.natives import RECORD
from perrin.systems.latent.exporting.stored import pickled, plain, precision_of
from perrin.systems.latent.layout import INDEX, Layout, read

if TYPE_CHECKING:
    from perrin.systems.latent.folder_model import Pretrained

WITH_CONTROL = {
    "StableDiffusionPipeline": "StableDiffusionControlNetPipeline",
    "StableDiffusionImg2ImgPipeline": "StableDiffusionControlNetImg2ImgPipeline",
    "StableDiffusionInpaintPipeline": "StableDiffusionControlNetInpaintPipeline",
    "StableDiffusionXLPipeline": "StableDiffusionXLControlNetPipeline",
    "StableDiffusionXLImg2ImgPipeline": "StableDiffusionXLControlNetImg2ImgPipeline",
    "StableDiffusionXLInpaintPipeline": "StableDiffusionXLControlNetInpaintPipeline",
}
"""Pipeline -> the one that has a ControlNet beside the same components."""


def write_merged(model: Pretrained, folder: Path, card: str | None = None, overwrite: bool = False) -> Path:
    """Write a pretrained model in the layout of its folder; see `Pretrained.save`."""
    assert model.folder is not None
    layout, changes = read(model.folder), model.about.get("changes", [])
    added = _refuse(model, layout, folder, changes)
    index = json.loads((layout.folder / INDEX).read_text(encoding="utf-8"))
    with whole_folder(folder, overwrite) as part:
        rewritten = []
        for name, value in index.items():
            if name.startswith("_") or not isinstance(value, list) or value == [None, None]:
                continue
            source = layout.folder / name
            if not source.is_dir() or pickled(
                source
            ):  # a safety checker, say, without which it draws as well
                index[name] = [None, None]
            elif name in layout.classes and _rewritten(model, layout, name, part / name):
                rewritten.append(name)
            else:
                copied_folder(source, part / name)
        if index.get("safety_checker") == [None, None]:
            index["requires_safety_checker"] = False
        if merges(model) and not rewritten:
            raise PerrinError("the LoRAs of this model changed nothing in memory; there is nothing to save")
        controls = [*control_places(layout), *added]
        for i, place in enumerate(controls):
            if not (part / numbered(i)).exists():
                copied_folder(place, part / numbered(i))
        if added:
            index["controlnet"] = ["diffusers", SEVERAL if len(controls) > 1 else "ControlNetModel"]
            index["_class_name"] = WITH_CONTROL.get(layout.pipeline, layout.pipeline)
        index.pop("_name_or_path", None)
        _copy_beside(layout.folder, part)
        write_json(part / INDEX, index)
        write_json(part / RECORD, record(model, rewritten))
        write_text(part / "README.md", card or card_of(model, index, rewritten))
    return folder


def _refuse(model: Pretrained, layout: Layout, folder: Path, changes: list[dict[str, Any]]) -> list[Path]:
    """Refuse what cannot be written; the folders of the ControlNets that were put beside."""
    own, target = layout.folder.resolve(), folder.resolve()
    if target == own or own in target.parents or target in own.parents:
        raise PerrinError(
            f"{folder} is the folder of this model, within it or around it, which stays as it is"
        )
    for change in changes:
        if not {MERGED, CONTROL} & set(change):
            raise PerrinError(
                f"a model that is changed by {next(iter(change))!r} cannot be saved: no configuration of diffusers says "
                "it; save the model without, and change it again when it is loaded"
            )
    controls = [change for change in changes if CONTROL in change]
    if controls and layout.pipeline not in (*WITH_CONTROL, *WITH_CONTROL.values()):
        raise PerrinError(
            f"a ControlNet beside a {layout.pipeline} cannot be saved; beside {', '.join(WITH_CONTROL)} it can"
        )
    dtype = next(model.denoiser.net.parameters()).dtype
    return [_unchanged(Path(change[CONTROL]), change["hash"], dtype) for change in controls]


def _unchanged(place: Path, wanted: str, dtype: torch.dtype) -> Path:
    """The folder of a ControlNet, which is still the one that a model was changed by."""
    found = module_at(place, "ControlNetModel", dtype)
    if weights_hash(found.state_dict()) != wanted:
        raise PerrinError(f"{place} no longer holds the ControlNet {wanted} that this model was changed by")
    return place


def _rewritten(model: Pretrained, layout: Layout, name: str, target: Path) -> bool:
    """Write a component anew, if any tensor of it is not what its folder holds; whether it was.

    Raises:
        PerrinError: a model in a lower precision than its folder: what was merged has lost digits.
    """
    mine = components(model, layout).get(name)
    if mine is None:
        return False
    stored = precision_of(layout.of(name))
    fresh = module(layout, name, stored)
    found, changed = fresh.state_dict(), dict[str, Tensor]()
    for key, value in mine.state_dict().items():
        own = value.detach().cpu()
        if not torch.equal(found[key].to(own.dtype), own):
            changed[key] = own
    if not changed:
        return False
    low = next(iter(changed.values())).dtype
    if torch.finfo(low).eps > torch.finfo(stored).eps:
        raise PerrinError(
            f"this model was opened in {plain(low)} and {layout.folder} is in {plain(stored)}: open it with "
            f"dtype=torch.{plain(stored)} to save what was merged"
        )
    fresh.load_state_dict(found | {key: value.to(stored) for key, value in changed.items()})
    fresh.save_pretrained(target)
    shutil.copyfile(layout.of(name) / "config.json", target / "config.json")
    return True


def components(model: Pretrained, layout: Layout) -> dict[str, nn.Module]:
    """The networks in memory by their names in the folder: those that a LoRA may be merged into.

    Raises:
        PerrinError: a model with a LoRA in it whose networks are not all found in the folder.
    """
    net: Any = model.denoiser.net
    text = getattr(model.codec, "text", None)
    encoders = [] if text is None else list(text.modules_of())
    names = sorted(name for name in layout.classes if name.startswith("text_encoder"))
    kind = type(getattr(net, "net", None)).__name__
    own = [name for name, made in layout.classes.items() if RENAMED.get(made, made) == kind]
    if merges(model) and (len(own) != 1 or len(names) != len(encoders)):
        raise PerrinError(
            f"which parts of {layout.folder} a LoRA went into cannot be told; it cannot be saved"
        )
    return dict.fromkeys(own[:1], net.net) | dict(zip(names, encoders, strict=False))


def _copy_beside(source: Path, target: Path) -> None:
    """Licences as they are, and the card of the folder under another name."""
    for path in source.iterdir():
        if path.is_file() and path.name.upper().startswith(("LICENSE", "LICENCE", "NOTICE")):
            shutil.copyfile(path, target / path.name)
    if (source / "README.md").is_file():
        shutil.copyfile(source / "README.md", target / "README.base.md")
