"""SMILES <-> SELFIES, the spelling in which every row of symbols is a molecule.

A SELFIES is read from left to right with the valences that are still free: a bond that would exceed them is made
weaker or left out. Krenn et al. 2020, arXiv:1905.13741; Lo et al. 2023, arXiv:2302.03620 (`selfies` 2). How many bonds
an atom may have is the package's own table, and of elements that it does not know what RDKit accepts, so that RDKit
reads whatever is written.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from types import ModuleType

from perrin.errors import PerrinError
from perrin.kinds.smiles.parsing import molecule_of, molecule_or_none

_CHARGES = range(-3, 4)
_MOST = 8  # bonds
_lock, _within = threading.RLock(), threading.local()


def to_selfies(smiles: str, where: str = "the SMILES") -> list[str]:
    """The SELFIES symbols of a SMILES, its atoms in the same order.

    Raises:
        PerrinError: no molecule, or one that SELFIES cannot write: a wildcard, more bonds than the table has.
    """
    selfies = _selfies()
    try:
        with bonding():
            written: str = selfies.encoder(smiles)
    except selfies.EncoderError as error:
        molecule_of(smiles, where)  # which says better why it is no molecule at all
        said = (line.strip() for line in str(error).splitlines())
        reason = " ".join(line for line in said if line and not line.startswith(("SMILES:", "Errors:")))
        raise PerrinError(f"{where}: SELFIES cannot write '{smiles}': {reason}") from error
    return list(selfies.split_selfies(written))


def to_smiles(symbols: str) -> str:
    """The SMILES that symbols in a row spell, Kekule structures with the atoms in the same order; "" for no atom."""
    with bonding():
        found: str = _selfies().decoder(symbols)
    return found


@contextmanager
def bonding() -> Iterator[None]:
    """The table of `bonds` in force, and afterwards whatever was before; in a block many spellings cost it once.

    The package has one table for the whole process, so that one block runs at a time.
    """
    if getattr(_within, "block", False):
        yield
        return
    selfies = _selfies()
    with _lock:
        before = selfies.get_semantic_constraints()
        selfies.set_semantic_constraints(bonds())
        _within.block = True
        try:
            yield
        finally:
            _within.block = False
            selfies.set_semantic_constraints(before)


@cache
def bonds() -> dict[str, int]:
    """The most bonds of every element and charge, such as "N+1"; "?" stands for all others, which have none."""
    known: dict[str, int] = _selfies().get_preset_constraints("default")
    from selfies.constants import ELEMENTS

    atoms = [f"{name}{charge:+d}" if charge else name for name in sorted(ELEMENTS) for charge in _CHARGES]
    return {atom: known[atom] if atom in known else _accepted(atom) for atom in atoms} | {"?": 0}


def _accepted(atom: str) -> int:
    """The most single bonds with which RDKit takes such an atom, and all fewer."""
    fluorides = (f"[{atom}]" + "(F)" * n for n in range(1, _MOST + 1))
    return next((n for n, found in enumerate(fluorides) if molecule_or_none(found) is None), _MOST)


def _selfies() -> ModuleType:
    if find_spec("selfies") is None:
        raise PerrinError("SELFIES need selfies: pip install 'perrin[molecules]'")
    import selfies

    return selfies
