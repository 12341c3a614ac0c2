"""What a codec of molecules measures in its training data: which molecules fit, and how far their atoms spread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from perrin.contracts import Dataset, Item
from perrin.errors import PerrinError
from perrin.kinds.molecules.chemistry import with_bonds
from perrin.kinds.molecules.molecule import Molecule


def in_space(item: Item) -> Molecule:
    """The molecule of an item that has positions.

    Raises:
        PerrinError: one that has none.
    """
    molecule: Molecule = item["value"]
    if molecule.positions is None:
        raise PerrinError(
            f"'{item['name']}' has no positions in three dimensions (SMILES and drawings have none); write "
            "embed: true among the data's options to have some computed"
        )
    return molecule


def spatial(dataset: Dataset, atoms: int | None, bonds: bool) -> Iterator[Molecule]:
    """The molecules that states of so many atoms can hold, with bonds where they are asked for.

    Raises:
        PerrinError: an empty dataset, molecules without positions, none that is small enough.
    """
    if not len(dataset):
        raise PerrinError("the dataset is empty")
    smallest = 0
    for index in range(len(dataset)):
        molecule = in_space(dataset[index])
        if atoms is None or len(molecule) <= atoms:
            smallest = -1
            yield with_bonds(molecule) if bonds else molecule
        elif smallest >= 0:
            smallest = min(smallest or len(molecule), len(molecule))
    if smallest >= 0:
        raise PerrinError(f"atoms = {atoms} is too few: the smallest molecule has {smallest}")


def spread(molecules: Sequence[Molecule]) -> float:
    """The deviation of positions about their mean, of n atoms over their 3 (n - 1) degrees of freedom."""
    squares, freedom = 0.0, 0
    for molecule in molecules:
        assert molecule.positions is not None
        squares += float(((molecule.positions - molecule.positions.mean(0)) ** 2).sum())
        freedom += 3 * (len(molecule) - 1)
    return float(np.sqrt(squares / freedom)) if squares else 1.0
