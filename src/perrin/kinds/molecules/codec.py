"""Molecules <-> states of several leaves: positions, atoms, and where asked for charges and bonds; see `layout`.

Positions are in angstrom without their mean. Of an item of which a piece is given (`scaffolds`) it is the mean of that
piece, so that the model sees a scaffold where sampling puts it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from perrin.contracts import Batch, Dataset, Item, Outline
from perrin.errors import PerrinError
from perrin.kinds.conditions import label_condition
from perrin.kinds.labels import find_label
from perrin.kinds.molecules import saving
from perrin.kinds.molecules.chemistry import with_bonds
from perrin.kinds.molecules.depict import sheet
from perrin.kinds.molecules.elements import NUMBERS
from perrin.kinds.molecules.encoding import Encoding
from perrin.kinds.molecules.layout import Layout
from perrin.kinds.molecules.measuring import in_space, spatial, spread
from perrin.kinds.molecules.molecule import Molecule
from perrin.kinds.molecules.outlining import outlined
from perrin.kinds.molecules.targets import Targets, measured
from perrin.kinds.molecules.view import save_history
from perrin.registry import unknown

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class MoleculeCodec:
    """Codec of the kind `molecules` (`contracts.Codec`).

    Args:
        atoms: the most that a state holds.
        classes: class names, index = label; None for data without labels.
        layout: the elements, charges and whether there are bonds.
        sigma_data: standard deviation of the positions, in the subspace where their mean is zero.
        targets: sizes and properties of the training molecules.
        scaffolds: of how many items a piece is given in training, a share.
        rotate: whether an item is turned at random, for networks that are not equivariant.
    """

    atoms: int
    classes: list[str] | None
    layout: Layout
    sigma_data: float
    targets: Targets
    scaffolds: float = 0.0
    rotate: bool = False

    kind: ClassVar[str] = "molecules"

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        *,
        atoms: int | None = None,
        bonds: bool = False,
        properties: list[str] | None = None,
        scaffolds: float = 0.0,
        rotate: bool = False,
        labels: bool = True,
    ) -> Self:
        """Choose the elements and charges from the training molecules, and measure sizes, spread and properties.

        Args:
            atoms: the most of a molecule, larger ones being left out; default: of the largest.
            bonds: make the bonds a part of the state; those that a file does not say are perceived from positions.
            properties: what the model is told, among those that the data were opened with; default: all of them.
            scaffolds: the share of items of which a piece is given, so that the model learns to complete scaffolds.
            rotate: turn items at random; an equivariant network has no need of it.
            labels: False makes states without classes; the data keep their labels, for splits and judging.

        Raises:
            PerrinError: an empty dataset, molecules without positions in three dimensions, none that is small enough.
        """
        if not 0 <= scaffolds <= 1:
            raise PerrinError(f"scaffolds = {scaffolds:g} is a share of the items, from 0 to 1")
        molecules = list(spatial(dataset, atoms, bonds))
        sizes = [len(molecule) for molecule in molecules]
        most = max(sizes)
        elements = sorted(
            {e for molecule in molecules for e in molecule.elements}, key=lambda e: NUMBERS.get(e, 0)
        )
        charges = sorted({0}.union(*(molecule.charges for molecule in molecules)))
        offered = list(dataset.description.get("properties", ()))
        for name in properties or ():
            if name not in offered:
                raise unknown("property of the data", name, offered)
        chosen = offered if properties is None else list(properties)
        return cls(
            atoms or most,
            dataset.classes if labels else None,
            Layout(tuple(elements), tuple(charges), bonds),
            spread(molecules),
            measured(chosen, sizes, [molecule.properties for molecule in molecules], atoms or most),
            scaffolds,
            rotate,
        )

    @property
    def shape(self) -> dict[str, tuple[int, ...]]:
        """Of the leaves of the largest state."""
        return self.layout.shape(self.atoms)

    @property
    def categories(self) -> dict[str, int]:
        """How many values each leaf of tokens has."""
        return self.layout.categories

    @property
    def processes(self) -> dict[str, dict[str, Any]]:
        """Positions are noised in the subspace without a mean, tokens by masking."""
        return {"positions": {"name": "centred"}, **{leaf: {"name": "masked"} for leaf in self.categories}}

    @property
    def elements(self) -> tuple[str, ...]:
        """Symbols, in the order of the states' numbers."""
        return self.layout.elements

    @property
    def charges(self) -> tuple[int, ...]:
        """Formal charges, in the order of the states' numbers."""
        return self.layout.charges

    @property
    def properties(self) -> list[str]:
        """Names of what the condition's `vector` tells, in its order."""
        return self.targets.names

    @property
    def lattice(self) -> None:
        """None: positions are continuous."""
        return None

    @property
    def augments(self) -> bool:
        """Whether seeds change what `encode` gives: where pieces or some properties are given, or items are turned."""
        return self.rotate or self.scaffolds > 0 or len(self.properties) > 1

    def encode(self, items: Sequence[Item], seeds: Sequence[int] | None = None) -> Batch:
        """Molecules to a batch with `masks.valid`, and `observed` where pieces are given (`scaffolds`).

        With seeds half of the items are told all of several properties and the others each by the toss of a coin, so
        that some can be asked for without the rest.

        Raises:
            PerrinError: no positions, too many atoms, elements or charges that the model lacks.
        """
        chosen = seeds if seeds is not None else [None] * len(items)
        made = Encoding(self.layout, self.atoms, self.scaffolds, self.rotate)
        rows = [
            made.item(self._checked(item), f"'{item['name']}'", seed)
            for item, seed in zip(items, chosen, strict=True)
        ]
        state, masks, condition = made.stacked(rows)
        if self.properties:
            vectors = [
                _some(self.targets.vector(item["value"].properties), seed)
                for item, seed in zip(items, chosen, strict=True)
            ]
            condition["vector"] = torch.from_numpy(np.stack(vectors))
        return Batch(state, {**condition, **(label_condition(items, self.classes) or {})} or None, masks)

    def _checked(self, item: Item) -> Molecule:
        molecule = in_space(item)
        if len(molecule) > self.atoms:
            raise PerrinError(
                f"'{item['name']}' has {len(molecule)} atoms; this model holds molecules of up to {self.atoms}"
            )
        return with_bonds(molecule) if self.layout.bonds else molecule

    def decode(self, state: Mapping[str, Tensor]) -> list[Molecule]:
        """States, leaf -> [B, ...], to molecules.

        Raises:
            PerrinError: positions that are not finite.
        """
        rows = {leaf: value.detach().cpu().numpy() for leaf, value in state.items()}
        finite = np.isfinite(rows["positions"]).all((1, 2))
        if not finite.all():
            bad = np.flatnonzero(~finite)
            raise PerrinError(f"state {bad[0]} holds NaN or infinity ({len(bad)} of {len(finite)} do)")
        return [
            self.layout.molecule({leaf: value[item] for leaf, value in rows.items()})
            for item in range(len(finite))
        ]

    def length(self, u: float) -> int:
        """The quantile `u` in [0, 1] of the numbers of atoms of the training molecules."""
        return self.targets.size(u)

    def cut(self, dataset: Dataset) -> Dataset:
        """The molecules that states can hold; others are left out (`description["outside"]`)."""
        kept = [index for index in range(len(dataset)) if self._holds(dataset[index])]
        if len(kept) == len(dataset) or not hasattr(dataset, "take"):
            return dataset
        found: Dataset = dataset.take(np.array(kept, np.int64), outside=len(dataset) - len(kept))
        return found

    def _holds(self, item: Item) -> bool:
        molecule: Molecule = item["value"]
        return len(molecule) <= self.atoms and self.layout.fault(molecule) is None

    def outline(self, n: int, seed: int, first: int, **wanted: Any) -> Outline:
        """What is settled of samples (seed, first) .. (seed, first + n - 1); see `outlining.outlined`.

        Warns:
            UserWarning: a scaffold for a model that has learned from whole molecules alone.
        """
        if wanted.get("scaffold") is not None and not self.scaffolds:
            warnings.warn(
                "this model has never completed a scaffold, and does it badly; train one with codec.scaffolds: 0.5",
                stacklevel=2,
            )
        return outlined(self.layout, self.targets, self.classes, n, seed, first, **wanted)

    def save(
        self, decoded: Sequence[Molecule], path: Path, provenance: Sequence[dict[str, Any]]
    ) -> list[Path]:
        """Write molecules with their provenance; see `saving.save_molecules`."""
        return saving.save_molecules(decoded, Path(path), provenance, self.classes)

    def picture(self, decoded: Sequence[Molecule], columns: int | None = None) -> Image | None:
        """A sheet of drawings; see `depict.sheet`."""
        return sheet(decoded, columns)

    def save_trajectory(
        self, states: Sequence[Mapping[str, Tensor]], path: str | Path, provenance: Sequence[dict[str, Any]]
    ) -> Path:
        """Write an HTML page of the states at the start and after every step; see `view.save_history`."""
        frames = [self.decode(state) for state in states]
        made = {"items": [dict(one) for one in provenance]}
        return save_history(list(zip(*frames, strict=True)), path, made)

    def label(self, name: str | int) -> int:
        """The index of a class by its name, or by its index; the nearest name in the error."""
        return find_label(self.classes, name)

    def log_det(self) -> float:
        """0: positions stay in angstrom, and the rest is counted."""
        return 0.0

    def config(self) -> dict[str, Any]:
        """JSON-able, complete."""
        return {
            "kind": self.kind,
            "atoms": self.atoms,
            "classes": self.classes,
            "elements": list(self.elements),
            "charges": list(self.charges),
            "bonds": self.layout.bonds,
            "sigma_data": self.sigma_data,
            "targets": self.targets.config(),
            "scaffolds": self.scaffolds,
            "rotate": self.rotate,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The codec that wrote this `config()`."""
        options = {key: value for key, value in config.items() if key != "kind"}
        layout = Layout(tuple(options.pop("elements")), tuple(options.pop("charges")), options.pop("bonds"))
        targets = Targets.from_config(options.pop("targets"))
        for key in options:
            if key not in cls.__dataclass_fields__:
                raise unknown("codec option", key, cls.__dataclass_fields__)
        return cls(**options, layout=layout, targets=targets)


def _some(vector: np.ndarray, seed: int | None) -> np.ndarray:
    """All properties of an item, or with a seed some of them, the others NaN."""
    if seed is None or len(vector) < 2:
        return vector
    generator = np.random.default_rng([seed % 2**64, 1])  # apart from that of pieces and turns
    whole, coins = generator.random() < 0.5, generator.random(len(vector)) < 0.5
    return vector if whole else np.where(coins, vector, np.nan).astype(vector.dtype)
