"""What is settled of molecules before they are drawn: sizes, properties, and a scaffold that they contain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perrin.contracts import Outline
from perrin.errors import PerrinError
from perrin.kinds.labels import UNLABELLED, find_label
from perrin.kinds.molecules.encoding import masks_of
from perrin.kinds.molecules.layout import Layout
from perrin.kinds.molecules.scaffold import Scaffold, scaffold
from perrin.kinds.molecules.targets import Targets
from perrin.process.categorical import ABSENT
from perrin.process.state import Masks
from perrin.sample.noise import seed_of, seed_tensor, uniforms

Length = int | Sequence[int] | None


def outlined(
    layout: Layout,
    targets: Targets,
    classes: Sequence[str] | None,
    n: int,
    seed: int,
    first: int,
    *,
    length: Length = None,
    scaffold: str | None = None,
    label: Any = None,
    **properties: Any,
) -> Outline:
    """The outline of samples (seed, first) .. (seed, first + n - 1), each a function of its own number.

    Args:
        length: atoms of a sample, or of each; by default drawn from those of training molecules with such properties
            that have room for the scaffold.
        scaffold: a SMILES whose heavy atoms every sample has, at its beginning.
        label: a class, or one for each sample; "none" for no class. By default classes take turns.
        properties: what each sample should have, such as `logp=2.5`.

    Raises:
        PerrinError: a property that the model was not told of, an impossible one, a scaffold or a size that does not fit.
    """
    asked = {name: value for name, value in properties.items() if value is not None}
    wanted = targets.checked(asked)
    given = None if scaffold is None else _scaffold(scaffold, layout, targets)
    sizes = _sizes(targets, wanted, given, n, seed, first, length)
    room = max(sizes)
    present = torch.arange(room) < torch.tensor(sizes)[:, None]
    condition = _condition(targets, wanted, classes, label, n, first)
    masks, known = Masks(valid=masks_of(layout, present)), None
    if given is not None:
        observed = (torch.arange(room) < len(given.molecule)).expand(n, -1)
        condition["observed"] = observed
        masks = Masks(masks.valid, masks_of(layout, observed))
        known = _known(layout, given, room, present)
    told = {**wanted, **({} if scaffold is None else {"scaffold": scaffold})}
    each: list[dict[str, Any]] = [{"length": size, **told} for size in sizes]
    if "label" in condition:
        each = [{**one, "label": int(index)} for one, index in zip(each, condition["label"], strict=True)]
    return Outline(layout.shape(room), masks, known, condition, each)


def _scaffold(smiles: str, layout: Layout, targets: Targets) -> Scaffold:
    made = scaffold(smiles)
    fault = layout.fault(made.molecule)
    if fault is not None:
        raise PerrinError(f"scaffold {smiles!r} {fault}")
    largest = len(targets.sizes) - 1
    if _room(made, layout) > largest:
        raise PerrinError(
            f"scaffold {smiles!r} has {_room(made, layout)} atoms; this model holds molecules of up to {largest}"
        )
    return made


def _room(given: Scaffold, layout: Layout) -> int:
    """The fewest atoms of a molecule with the scaffold: its own, and its hydrogens where they are atoms."""
    return given.full if "H" in layout.elements else len(given.molecule)


def _sizes(
    targets: Targets,
    wanted: dict[str, float],
    given: Scaffold | None,
    n: int,
    seed: int,
    first: int,
    length: Length,
) -> list[int]:
    largest = len(targets.sizes) - 1
    if length is None:
        least = 1 if given is None else given.full
        seeds = seed_tensor([seed_of((seed, first + i), "", "length") for i in range(n)])
        return [targets.size(float(u), wanted, min(least, largest)) for u in uniforms(seeds, 1)[:, 0]]
    sizes = [length] * n if isinstance(length, int) else [int(one) for one in length]
    if len(sizes) != n:
        raise PerrinError(f"{len(sizes)} lengths for {n} samples; give one number of atoms, or one each")
    least = 1 if given is None else len(given.molecule)
    for size in sizes:
        if not least <= size <= largest:
            what = "1" if given is None else f"the {least} of the scaffold"
            raise PerrinError(f"length = {size} atoms: this model draws from {what} to {largest}")
    return sizes


def _condition(
    targets: Targets, wanted: dict[str, float], classes: Sequence[str] | None, label: Any, n: int, first: int
) -> dict[str, Tensor]:
    found = dict[str, Tensor]()
    if targets.properties and wanted:
        found["vector"] = torch.from_numpy(targets.vector(wanted)).expand(n, -1).clone()
    if classes:
        found["label"] = _labels(classes, label, n, first)
    elif label is not None:
        raise PerrinError("this model was trained without classes; it takes no label")
    return found


def _labels(classes: Sequence[str], asked: Any, n: int, first: int) -> Tensor:
    if asked is None:
        return (torch.arange(n) + first) % len(classes)
    each = [asked] * n if isinstance(asked, str | int) else list(asked)
    if len(each) != n:
        raise PerrinError(f"{len(each)} labels for {n} samples; give one, or one each")
    return torch.tensor(
        [UNLABELLED if one in ("none", UNLABELLED) else find_label(classes, one) for one in each]
    )


def _known(layout: Layout, given: Scaffold, room: int, present: Tensor) -> dict[str, Tensor]:
    """The scaffold's atoms first, tokens beyond them 0 where there are any and -1 where there are none."""
    rows = layout.rows(given.molecule, room, "the scaffold")
    places = masks_of(layout, present)
    found = {"positions": torch.from_numpy(rows["positions"]).float().expand(len(present), -1, -1).clone()}
    for leaf in layout.categories:
        values = torch.from_numpy(np.maximum(rows[leaf], 0)).expand(len(present), -1)
        found[leaf] = torch.where(places[leaf], values, ABSENT)
    return found
