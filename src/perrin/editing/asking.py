"""What someone says of the damage (files of masks, numbers, gaps) as the options of a restoration task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from perrin.contracts import Codec
from perrin.editing import masks
from perrin.editing.form import Form
from perrin.editing.lengthy import Long
from perrin.editing.numerals import Numbers
from perrin.errors import PerrinError
from perrin.guide.operators import Operator
from perrin.kinds import stacked
from perrin.process.state import single
from perrin.restoration.tasks import build, gaps


class Damage(NamedTuple):
    """A task with the options that `restoration.tasks` makes its operator of."""

    task: str
    options: dict[str, Any]
    operator: Operator


def damage_of(task: str, form: Form, codec: Codec, said: Mapping[str, Any], measured: bool) -> Damage:
    """What was done to the file.

    Args:
        said: options as on the command line: `mask` and `coils` files, `gaps` a text, and numbers; None for what was not
            said.
        measured: whether the file is what was measured, from which a sampling mask can be read; else a clean one.

    Raises:
        PerrinError: a task or an option that is not known or missing, files that do not fit.
    """
    options = {name: value for name, value in said.items() if value is not None}
    held = form.beside if isinstance(form, Numbers) else {}
    if task == "mri":
        options |= _k_space(form, codec, options, held, measured)
    elif task == "inpaint":
        options |= _hole(form, options)
    elif task == "ct" and "angles" not in options and "angles" in held:
        options["angles"] = held["angles"].ravel().tolist()
    if "gaps" in options:
        options["spans"] = masks.spans(options.pop("gaps"))
    if task == "gaps" and isinstance(form, Long) and "spans" in options:
        known = gaps(form.size, spans=options.pop("spans"))
        task, options = "inpaint", {**options, "mask": form.filled(~known.keep.numpy())}
    if task == "gaps" and "spans" not in options and isinstance(form, Numbers) and form.missing is not None:
        task, options = "inpaint", {**options, "mask": form.filled(form.missing)}
    operator = build(task, single(codec.shape), options)
    if task != "inpaint" and same_grid(operator) and isinstance(form, Numbers) and form.missing is not None:
        raise PerrinError(
            f"'{form.where}' misses {int(form.missing.sum())} values (NaN); --task inpaint fills them, {task} does not"
        )
    return Damage(task, options, operator)


def same_grid(operator: Operator) -> bool:
    """Whether measurements lie as states do, so that files of them are read as training data are."""
    return operator.measured == operator.shape and not operator.complex_valued


def _hole(form: Form, options: Mapping[str, Any]) -> dict[str, Tensor]:
    """Where nothing is missing and no mask says that it is."""
    holes = []
    if "mask" in options:
        holes.append(masks.read_hole(Path(options["mask"]), form.size, form.where))
    elif isinstance(form, Numbers) and "mask" in form.beside:
        holes.append(form.beside["mask"].astype(bool))
    if isinstance(form, Numbers) and form.missing is not None:
        holes.append(form.missing)
    if not holes:
        raise PerrinError(
            "the task inpaint needs --mask, a black picture in which white marks what is to be filled"
        )
    return {"mask": form.filled(np.logical_or.reduce(holes))}


def _k_space(
    form: Form, codec: Codec, options: Mapping[str, Any], held: Mapping[str, np.ndarray], measured: bool
) -> dict[str, Tensor]:
    shape = single(codec.shape)
    found: dict[str, Tensor] = {}
    if "coils" in options or "coils" in held:
        coils = np.array(stacked.open_npy(Path(options["coils"]))) if "coils" in options else held["coils"]
        found["coils"] = torch.from_numpy(coils.astype(np.complex64))
    if "mask" in options:
        found["mask"] = torch.from_numpy(masks.read_pattern(Path(options["mask"]), shape[-2:]))
    elif "mask" in held:
        found["mask"] = torch.from_numpy(held["mask"].astype(bool))
    elif measured and "acceleration" not in options and isinstance(form, Numbers):
        found["mask"] = _measured(form, shape[-2:], "coils" in found)
    return found


def _measured(form: Numbers, size: tuple[int, ...], coils: bool) -> Tensor:
    """Which entries of k-space are not zero, in any coil or slice."""
    array = form.array
    if array.shape[-2:] != size:
        raise PerrinError(
            f"'{form.where}' has shape {array.shape}; k-space for this model is complex, {size} or (coils, {size[0]}, "
            f"{size[1]}), with 0 where nothing was measured"
        )
    if array.ndim == 3 and len(array) > 1 and not coils:
        raise PerrinError(
            f"'{form.where}' has shape {array.shape}: of {len(array)} coils the sensitivities are needed, complex in the "
            "same shape: --coils FILE.npy"
        )
    return torch.from_numpy((array.reshape(-1, *size) != 0).any(0))
