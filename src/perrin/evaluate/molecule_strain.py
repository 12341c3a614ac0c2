"""How strained a geometry is: the energy that relaxing it to the nearest minimum gives back.

    strain = E(geometry) - E(the same, relaxed),   kcal/mol, by MMFF94 (Halgren 1996, doi:10.1002/jcc.540170502)

Real relaxed molecules have little of it, what remains being the force field's difference from quantum chemistry;
a molecule can be right in its bonds and impossible in its places.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rdkit.Chem import Mol

ITERATIONS = 2000


class Strain(NamedTuple):
    """kcal/mol, or None and why."""

    value: float | None
    problem: str = ""


def strain(mol: Mol, iterations: int = ITERATIONS) -> Strain:
    """The strain energy of a sanitised molecule with all hydrogens and a 3-D conformer, which is left as it is.

    One that has not come to rest after the iterations keeps the energy so far, which makes its strain too small.
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdForceFieldHelpers

    copy = Chem.Mol(mol)
    with rdBase.BlockLogs():
        parameters = rdForceFieldHelpers.MMFFGetMoleculeProperties(copy)
        if parameters is None:
            return Strain(None, "no MMFF parameters")
        try:
            field = rdForceFieldHelpers.MMFFGetMoleculeForceField(copy, parameters)
            before = field.CalcEnergy()
            field.Minimize(maxIts=iterations)
            value = before - field.CalcEnergy()
        except (RuntimeError, ValueError):
            return Strain(None, "the force field fails")
    return Strain(value) if math.isfinite(value) else Strain(None, "the force field fails")
