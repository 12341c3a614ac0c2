"""Conformers <-> states: the dihedral angles of a molecule's torsions, {"torsions": [B, M]} in radians, 0 where absent.

Everything else, lengths and angles of bonds and the shapes of rings, is a local structure in the condition, whose
torsions are set. To train, the torsions of one conformer go with the local structure of another, since a model is to
work with structures whose torsions are not the answer (Jing et al. 2022, section 4.3, who match the two instead).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from torch import Tensor

from perrin.contracts import Batch, Dataset, Item, Outline
from perrin.errors import PerrinError
from perrin.kinds.conformers.ensemble import Ensemble
from perrin.kinds.conformers.outlining import outlined
from perrin.kinds.conformers.padding import NAMES, padded
from perrin.kinds.conformers.rebuilding import rebuilt
from perrin.kinds.labels import find_label
from perrin.kinds.molecules.depict import sheet
from perrin.kinds.molecules.elements import NUMBERS, symbol_of
from perrin.kinds.molecules.molecule import Molecule
from perrin.kinds.molecules.saving import save_molecules
from perrin.kinds.molecules.view import save_history
from perrin.nets.turning import dihedrals, turned
from perrin.process.state import Masks
from perrin.registry import unknown

if TYPE_CHECKING:
    from PIL.Image import Image

EXAMPLES = 4


@dataclass(frozen=True)
class ConformerCodec:
    """Codec of the kind `conformers` (`contracts.Codec`).

    Args:
        atoms: the most heavy atoms of a molecule; torsions: the most torsions.
        elements: symbols that the training molecules have.
        examples: SMILES of some of them, drawn where no other molecule is asked for.
        hydrogens: whether decoded molecules have explicit hydrogens, placed about their heavy atoms.
    """

    atoms: int
    torsions: int
    elements: list[str]
    examples: list[str]
    hydrogens: bool = True

    kind: ClassVar[str] = "conformers"

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        *,
        atoms: int | None = None,
        torsions: int | None = None,
        hydrogens: bool = True,
    ) -> Self:
        """Measure the sizes and elements of the training molecules.

        Args:
            atoms, torsions: the most of a molecule, larger ones being left out; default: of the largest.
            hydrogens: give conformers with explicit hydrogens.

        Raises:
            PerrinError: an empty dataset, or one of no molecules that are small enough and have torsions.
        """
        held = [_ensemble(dataset[i]) for i in range(len(dataset))]
        if not held:
            raise PerrinError("the dataset is empty")
        sizes = np.array([(len(e.molecule), len(e.graph.quadruples)) for e in held])
        largest = atoms or int(sizes[:, 0].max())
        fits = sizes[:, 0] <= largest
        most = (largest, torsions or int(sizes[fits, 1].max(initial=0)))
        fits &= sizes[:, 1] <= most[1]
        if not sizes[fits, 1].any():
            raise PerrinError(
                f"none of the molecules of at most {most[0]} heavy atoms has between 1 and {most[1]} bonds that turn"
            )
        kept = [ensemble for ensemble, fit in zip(held, fits, strict=True) if fit]
        numbers = sorted({int(number) for ensemble in kept for number in ensemble.graph.numbers})
        shown = [e.molecule.smiles for e in kept if len(e.graph.quadruples) and e.molecule.smiles]
        return cls(*most, [symbol_of(number) for number in numbers], shown[:EXAMPLES], hydrogens)

    @property
    def shape(self) -> dict[str, tuple[int, ...]]:
        """Of a state, without the batch."""
        return {"torsions": (self.torsions,)}

    @property
    def classes(self) -> None:
        """None: molecules have no labels here."""
        return None

    @property
    def sigma_data(self) -> float:
        """1: angles have no scale."""
        return 1.0

    @property
    def processes(self) -> dict[str, dict[str, Any]]:
        """Angles are noised around the circle."""
        return {"torsions": {"name": "torus"}}

    @property
    def properties(self) -> list[str]:
        """None: the molecule is all that the model is told."""
        return []

    @property
    def lattice(self) -> None:
        """None: angles are continuous."""
        return None

    @property
    def categories(self) -> dict[str, int]:
        """Of no leaf: angles are continuous."""
        return {}

    @property
    def augments(self) -> bool:
        """Whether seeds change what `encode` gives: which conformers it takes."""
        return True

    def encode(self, items: Sequence[Item], seeds: Sequence[int] | None = None) -> Batch:
        """Of each molecule the torsions of one conformer and the local structure of another, by its seed.

        Without seeds the torsions are the first conformer's and the structure the last one's.

        Raises:
            PerrinError: a molecule that is larger than the model's, or of other elements.
        """
        held = [_ensemble(item) for item in items]
        for ensemble, item in zip(held, items, strict=True):
            self.refuse(ensemble.molecule, item["name"], len(ensemble.graph.quadruples))
        chosen: Sequence[int | None] = seeds if seeds is not None else [None] * len(held)
        pairs = [_pair(len(e.positions), seed) for e, seed in zip(held, chosen, strict=True)]
        graphs = [ensemble.graph for ensemble in held]
        local = [ensemble.positions[pair[1]] for ensemble, pair in zip(held, pairs, strict=True)]
        condition = padded(graphs, local, self.atoms, self.torsions)
        known = [ensemble.positions[pair[0]] for ensemble, pair in zip(held, pairs, strict=True)]
        source = padded(graphs, known, self.atoms, self.torsions)
        angles = dihedrals(source["positions"].double(), source["quadruples"]).float()
        valid = condition["quadruples"][:, :, 0] >= 0
        return Batch({"torsions": angles}, condition, Masks(valid={"torsions": valid}))

    def refuse(self, molecule: Molecule, name: str, torsions: int) -> None:
        """Refuse a molecule that the model does not hold."""
        outside = self._outside(molecule, torsions)
        if outside:
            raise PerrinError(f"{name} {outside}")

    def _outside(self, molecule: Molecule, torsions: int) -> str:
        strange = sorted(set(molecule.elements) - set(self.elements), key=lambda e: NUMBERS.get(e, 0))
        if strange:
            return f"has atoms of {', '.join(strange)}; this model knows {', '.join(self.elements)}"
        if len(molecule) > self.atoms or torsions > self.torsions:
            return (
                f"has {len(molecule)} heavy atoms and {torsions} bonds that turn; this model holds molecules of up to "
                f"{self.atoms} and {self.torsions}"
            )
        return ""

    def cut(self, dataset: Dataset) -> Dataset:
        """The molecules that the model holds; others are left out (`description["outside"]`)."""
        kept = [index for index in range(len(dataset)) if self._holds(dataset[index])]
        if len(kept) == len(dataset) or not hasattr(dataset, "take"):
            return dataset
        found: Dataset = dataset.take(np.array(kept, np.int64), outside=len(dataset) - len(kept))
        return found

    def _holds(self, item: Item) -> bool:
        ensemble = _ensemble(item)
        return not self._outside(ensemble.molecule, len(ensemble.graph.quadruples))

    def length(self, u: float) -> int:
        """The number of torsions of a state, absent ones among them: all states are of one length."""
        return self.torsions

    def outline(self, n: int, seed: int, first: int, **wanted: Any) -> Outline:
        """What is settled of conformers (seed, first) .. of a molecule, `smiles="..."`; see `outlining.outlined`."""
        return outlined(self, n, seed, first, **wanted)

    def decode(self, state: Any) -> list[Molecule]:
        """Refused: angles do not say of which molecule they are; see `decode_given`."""
        raise PerrinError(
            "torsions are not a molecule; decode_given(state, condition) is told which they are of"
        )

    def decode_given(self, state: Mapping[str, Tensor], condition: Mapping[str, Tensor]) -> list[Molecule]:
        """The molecules of a condition at the torsions of a state, {"torsions": [B, M]}.

        Raises:
            PerrinError: a state with NaN.
        """
        torsions = state["torsions"].detach().double().cpu()
        if not torsions.isfinite().all():
            raise PerrinError("a torsion is not finite; such a state is no conformer")
        told = {name: condition[name].detach().cpu() for name in NAMES}
        places = turned(told["positions"].double(), torsions, told["quadruples"], told["moves"]).numpy()
        numbers, features, bonds = (told[name].numpy() for name in ("atoms", "features", "bonds"))
        return [rebuilt(*row, self.hydrogens) for row in zip(numbers, features, bonds, places, strict=True)]

    def save(
        self, decoded: Sequence[Molecule], path: Path, provenance: Sequence[dict[str, Any]]
    ) -> list[Path]:
        """Write conformers with their provenance; see `kinds.molecules.saving`."""
        return save_molecules(decoded, Path(path), provenance)

    def picture(self, decoded: Sequence[Molecule], columns: int | None = None) -> Image | None:
        """A sheet of drawings, one of each molecule: a drawing does not tell its conformers apart."""
        return sheet(list({molecule.smiles: molecule for molecule in decoded}.values()), columns)

    def save_trajectory(
        self,
        states: Sequence[Mapping[str, Tensor]],
        path: str | Path,
        provenance: Sequence[dict[str, Any]],
        condition: Mapping[str, Tensor] | None = None,
    ) -> Path:
        """Write an HTML page of the states at the start and after every step; see `kinds.molecules.view`.

        Raises:
            PerrinError: no condition, which says whose torsions they are.
        """
        if condition is None:
            raise PerrinError("torsions alone do not say of which molecule they are; no page can show them")
        frames = [self.decode_given(state, condition) for state in states]
        made = {"items": [dict(one) for one in provenance]}
        return save_history(list(zip(*frames, strict=True)), path, made)

    def label(self, name: str | int) -> int:
        """The index of a class by its name: there are none."""
        return find_label(None, name)

    def log_det(self) -> float:
        """0: angles stay in radians."""
        return 0.0

    def config(self) -> dict[str, Any]:
        """JSON-able, complete."""
        return {
            "kind": self.kind,
            "atoms": self.atoms,
            "torsions": self.torsions,
            "elements": self.elements,
            "examples": self.examples,
            "hydrogens": self.hydrogens,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The codec that wrote this `config()`."""
        options = {key: value for key, value in config.items() if key != "kind"}
        for key in options:
            if key not in cls.__dataclass_fields__:
                raise unknown("codec option", key, cls.__dataclass_fields__)
        return cls(**options)


def _pair(count: int, seed: int | None) -> tuple[int, int]:
    """Which conformer gives the torsions, and which the local structure; another one where there is."""
    if seed is None or count == 1:
        return 0, count - 1
    chosen = np.random.Generator(np.random.PCG64(seed % 2**64)).choice(count, 2, replace=False)
    return int(chosen[0]), int(chosen[1])


def _ensemble(item: Item) -> Ensemble:
    value = item["value"]
    if isinstance(value, Molecule) and value.positions is not None:
        return Ensemble.of([value])
    if not isinstance(value, Ensemble):
        raise PerrinError(f"{item['name']} is {type(value).__name__}, not a molecule with conformers")
    return value
