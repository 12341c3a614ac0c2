"""Properties that RDKit computes, by name: what chemists filter and aim for.

logp: Crippen (Wildman and Crippen 1999); qed: drug-likeness, 0 to 1 (Bickerton et al. 2012); tpsa: polar surface in
square angstrom (Ertl et al. 2000); sa: synthetic accessibility, 1 easy to 10 hard (Ertl and Schuffenhauer 2009);
weight in dalton; the rest are counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

from perrin.errors import PerrinError
from perrin.kinds.molecules.library import need_rdkit
from perrin.registry import unknown

if TYPE_CHECKING:
    from rdkit.Chem import Mol

COMPUTED = (
    "logp", "qed", "tpsa", "weight", "sa", "donors", "acceptors", "rotatable_bonds", "rings", "heavy_atoms",
)  # fmt: skip
LIMITS = {"qed": (0.0, 1.0), "sa": (1.0, 10.0), "tpsa": (0.0, float("inf")), "weight": (0.0, float("inf"))}
"""What a property cannot be outside of, whatever the molecule."""


def describe(mol: Mol, names: Iterable[str] = COMPUTED) -> dict[str, float]:
    """Properties of a sanitised molecule; hydrogens may be atoms of it or not.

    Raises:
        UnknownName: no such property. PerrinError: `sa` where this RDKit comes without it.
    """
    need_rdkit("computing properties")
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        plain = Chem.RemoveHs(mol)
        return {name: float(_function(name)(plain)) for name in names}


@cache
def _function(name: str) -> Callable[[Mol], float]:
    from rdkit.Chem import QED, rdMolDescriptors

    found: dict[str, Callable[[Mol], float]] = {
        "logp": lambda mol: rdMolDescriptors.CalcCrippenDescriptors(mol)[0],
        "qed": QED.qed,
        "tpsa": rdMolDescriptors.CalcTPSA,
        "weight": rdMolDescriptors._CalcMolWt,
        "sa": lambda mol: _sa_score()(mol),
        "donors": rdMolDescriptors.CalcNumHBD,
        "acceptors": rdMolDescriptors.CalcNumHBA,
        "rotatable_bonds": rdMolDescriptors.CalcNumRotatableBonds,
        "rings": rdMolDescriptors.CalcNumRings,
        "heavy_atoms": lambda mol: mol.GetNumHeavyAtoms(),
    }
    if name not in found:
        raise unknown("property", name, COMPUTED)
    return found[name]


@cache
def _sa_score() -> Callable[[Mol], float]:
    """The function of RDKit's contributed `sascorer`, which lies beside the package and not in it."""
    from rdkit import RDConfig

    file = Path(RDConfig.RDContribDir) / "SA_Score" / "sascorer.py"
    spec = spec_from_file_location("perrin_sascorer", file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise PerrinError("this RDKit comes without Contrib/SA_Score, so property 'sa' cannot be computed")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    score: Callable[[Mol], float] = module.calculateScore
    return score
